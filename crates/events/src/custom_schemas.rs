//! JSON Schemas that custom events have to fit, by tenant, app and event name.
//!
//! They are in the state database, so that all servers on it hold to the same ones; each has all of them compiled in
//! memory and follows changes within a second.

mod compiled;
#[cfg(test)]
mod tests;

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::str::FromStr;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::{TenantId, Timestamp};
use parking_lot::Mutex;
use platform::Clock;
use schema::Violation;
use state::{Database, Row, StateError, Statement};
use tokio::sync::{Mutex as AsyncMutex, watch};

use compiled::Compiled;
pub use compiled::SchemaTextError;

/// How often it is asked whether somebody else has changed something.
const POLL_EVERY: Duration = Duration::from_millis(500);
/// Most schemas of one tenant.
pub const SCHEMAS_PER_TENANT_MAX: u32 = 1_000;
/// Longest schema, in bytes.
pub const SCHEMA_BYTES_MAX: usize = 64 << 10;
/// Longest app and event name, in bytes.
const NAME_BYTES_MAX: usize = 256;

/// What belongs to the schemas in the table of revisions.
const REVISION: &str = "SELECT number FROM revision WHERE area = 'event_schemas'";
const CHANGED: &str = "UPDATE revision SET number = number + 1 WHERE area = 'event_schemas'";
/// As [`CHANGED`], if there is room for one that is not there yet.
const ROOM: &str = "UPDATE revision SET number = number + 1 WHERE area = 'event_schemas' AND \
     (SELECT COUNT(*) FROM event_schemas WHERE tenant = $1 AND NOT (app = $2 AND event_name = $3)) < $4";
const ALL: &str = "SELECT tenant, app, event_name, mode, schema, updated_at FROM event_schemas \
     ORDER BY tenant, app, event_name";
const OF_TENANT: &str = "SELECT tenant, app, event_name, mode, schema, updated_at FROM event_schemas \
     WHERE tenant = $1 ORDER BY app, event_name";
const PUT: &str = "INSERT INTO event_schemas (tenant, app, event_name, mode, schema, updated_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (tenant, app, event_name) DO UPDATE SET \
     mode = excluded.mode, schema = excluded.schema, updated_at = excluded.updated_at";
const REMOVE: &str = "DELETE FROM event_schemas WHERE tenant = $1 AND app = $2 AND event_name = $3";

/// What happens to custom events that do not fit.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum SchemaMode {
    /// Nothing: the schema is kept and not looked at.
    Off,
    /// They are stored, and counted.
    Warn,
    /// They are not stored.
    Enforce,
}

impl SchemaMode {
    const ALL: [Self; 3] = [Self::Off, Self::Warn, Self::Enforce];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Off => "off",
            Self::Warn => "warn",
            Self::Enforce => "enforce",
        }
    }
}

impl fmt::Display for SchemaMode {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for SchemaMode {
    type Err = CustomSchemaError;

    fn from_str(name: &str) -> Result<Self, CustomSchemaError> {
        let found = Self::ALL.into_iter().find(|mode| mode.as_str() == name);
        found.ok_or(CustomSchemaError::Mode)
    }
}

/// A schema of the custom events of one name.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct CustomSchema {
    /// Whose it is.
    pub tenant: TenantId,
    /// The app of the events.
    pub app: String,
    /// Their name.
    pub event_name: String,
    /// What happens to those that do not fit.
    pub mode: SchemaMode,
    /// The JSON Schema, draft 2020-12, of an object with all parameters of an event.
    pub schema: String,
    /// When it was put there.
    pub updated_at: Timestamp,
}

/// Whether a custom event fits.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Verdict {
    /// It does, or nobody minds.
    Fits,
    /// It does not, and must not be stored.
    Refused(Vec<Violation>),
}

/// Why a schema cannot be kept.
#[derive(Debug, thiserror::Error)]
pub enum CustomSchemaError {
    /// There is no such mode.
    #[error("mode must be off, warn or enforce")]
    Mode,
    /// App or event name are empty, too long, or hold a NUL.
    #[error("{field} must have 1 to {NAME_BYTES_MAX} bytes without NUL")]
    Name {
        /// Which of them.
        field: &'static str,
    },
    /// The text is no schema, or none that is allowed.
    #[error("schema {0}")]
    Text(#[from] SchemaTextError),
    /// The tenant has as many as it may have.
    #[error("a tenant may have {SCHEMAS_PER_TENANT_MAX} schemas; remove one first")]
    TooMany,
    /// What the database holds cannot be read.
    #[error("column '{column}' of a row of event_schemas is damaged")]
    Damaged {
        /// Which part of the row.
        column: &'static str,
    },
    /// The database fails.
    #[error(transparent)]
    State(#[from] StateError),
}

/// The schemas of all tenants.
#[derive(Debug)]
pub struct CustomSchemas {
    database: Database,
    clock: Arc<dyn Clock>,
    snapshot: ArcSwap<Snapshot>,
    /// The revision that was read. Held while it is read again.
    seen: AsyncMutex<Option<i64>>,
    /// Why what is in memory may be out of date.
    problem: Mutex<Option<String>>,
    warnings: AtomicU64,
}

/// By tenant, app and event name.
type Snapshot = BTreeMap<TenantId, HashMap<String, HashMap<String, Arc<InForce>>>>;

/// A schema that is looked at.
#[derive(Debug)]
struct InForce {
    schema: CustomSchema,
    compiled: Compiled,
}

impl CustomSchemas {
    /// Opens the schemas.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn open(
        database: Database,
        clock: Arc<dyn Clock>,
    ) -> Result<Arc<Self>, CustomSchemaError> {
        let schemas = Self {
            database,
            clock,
            snapshot: ArcSwap::default(),
            seen: AsyncMutex::default(),
            problem: Mutex::default(),
            warnings: AtomicU64::new(0),
        };
        schemas.refresh().await?;
        Ok(Arc::new(schemas))
    }

    /// Follows the database until `shutdown` says true or its sender is gone.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        while !*shutdown.borrow_and_update() {
            let poll = self.clock.sleep_until(self.clock.monotonic() + POLL_EVERY);
            tokio::select! {
                biased;
                changed = shutdown.changed() => if changed.is_err() { break },
                () = poll => self.follow().await,
            }
        }
    }

    /// Returns why the schemas in memory may be out of date, if so: for the health check.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        self.problem.lock().clone()
    }

    /// Returns the schemas of a tenant, by app and event name.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn list(&self, tenant: &TenantId) -> Result<Vec<CustomSchema>, CustomSchemaError> {
        let rows = self.database.query(OF_TENANT, &[tenant.as_str().into()]).await?;
        rows.iter().map(read).collect()
    }

    /// Puts a schema in force, in place of the one that is there, together with `audit`. It counts in this process when
    /// the call returns, and in others on the same database within a second. Compiling takes milliseconds.
    ///
    /// # Errors
    ///
    /// It is not allowed, there are too many, or the database fails.
    pub async fn put(
        &self,
        schema: CustomSchema,
        audit: Statement,
    ) -> Result<(), CustomSchemaError> {
        check_name("app", &schema.app)?;
        check_name("event_name", &schema.event_name)?;
        let text = schema.schema.clone();
        let compiled = tokio::task::spawn_blocking(move || Compiled::new(&text).map(drop)).await;
        // The task is not cancelled; a text that makes the compiler panic is refused.
        compiled
            .unwrap_or_else(|error| Err(SchemaTextError::Invalid { reason: error.to_string() }))?;
        let key = key(&schema.tenant, &schema.app, &schema.event_name);
        let room = [&key[..], &[i64::from(SCHEMAS_PER_TENANT_MAX).into()]].concat();
        let values = [
            &key[..],
            &[
                schema.mode.as_str().into(),
                schema.schema.into(),
                schema.updated_at.as_millis().into(),
            ],
        ]
        .concat();
        let statements =
            [Statement::new(ROOM, room).affecting(1), Statement::new(PUT, values), audit];
        self.database.transaction(&statements).await.map_err(|error| match error {
            StateError::Unmet { statement: 0, .. } => CustomSchemaError::TooMany,
            error => CustomSchemaError::State(error),
        })?;
        self.follow().await;
        Ok(())
    }

    /// Removes a schema together with `audit`, and returns whether it was there.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn remove(
        &self,
        tenant: &TenantId,
        app: &str,
        event_name: &str,
        audit: Statement,
    ) -> Result<bool, CustomSchemaError> {
        if check_name("app", app).is_err() || check_name("event_name", event_name).is_err() {
            return Ok(false);
        }
        let statements = [
            Statement::new(CHANGED, []),
            Statement::new(REMOVE, key(tenant, app, event_name)).affecting(1),
            audit,
        ];
        match self.database.transaction(&statements).await {
            Ok(_) => {
                self.follow().await;
                Ok(true)
            }
            Err(StateError::Unmet { statement: 1, .. }) => Ok(false),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks a custom event: `payload` is a binary `causality.v1.CustomEvent`.
    ///
    /// From memory. Without a schema for it, nothing is decoded.
    #[must_use]
    pub fn check(&self, tenant: &TenantId, app: &str, event_name: &str, payload: &[u8]) -> Verdict {
        let snapshot = self.snapshot.load();
        let of_app = snapshot.get(tenant).and_then(|apps| apps.get(app));
        let Some(in_force) = of_app.and_then(|names| names.get(event_name)) else {
            return Verdict::Fits;
        };
        let violations = in_force.compiled.check(payload);
        if violations.is_empty() {
            return Verdict::Fits;
        }
        if in_force.schema.mode == SchemaMode::Enforce {
            return Verdict::Refused(violations);
        }
        self.warnings.fetch_add(1, Ordering::Relaxed);
        let first = violations.first();
        let field = first.map(|violation| violation.field.as_str()).unwrap_or_default();
        tracing::debug!(%tenant, app, event_name, field, "custom event does not fit its schema");
        Verdict::Fits
    }

    /// Returns how many events were let through since the start though they do not fit.
    #[must_use]
    pub fn warnings(&self) -> u64 {
        self.warnings.load(Ordering::Relaxed)
    }

    /// Reads again what has changed, and remembers what is wrong.
    async fn follow(&self) {
        let problem = self.refresh().await.err().map(|error| error.to_string());
        let mut known = self.problem.lock();
        match (&*known, &problem) {
            (None, Some(problem)) => {
                tracing::warn!(
                    problem,
                    "schemas of events cannot be read; going on with those known"
                );
            }
            (Some(_), None) => tracing::info!("schemas of events can be read again"),
            _ => {}
        }
        *known = problem;
    }

    async fn refresh(&self) -> Result<(), CustomSchemaError> {
        let mut seen = self.seen.lock().await;
        let rows = self.database.query(REVISION, &[]).await?;
        let revision = rows.first().map(|row| row.integer(0)).transpose()?;
        if *seen == revision && revision.is_some() {
            return Ok(());
        }
        let rows = self.database.query(ALL, &[]).await?;
        let known = self.snapshot.load_full();
        // Compiling all schemas of all tenants takes a while.
        let compiled = tokio::task::spawn_blocking(move || compile(&rows, &known)).await;
        // The task is not cancelled, and compiling does not panic; if it does, what is known goes on to count.
        if let Ok((snapshot, damaged)) = compiled {
            self.snapshot.store(Arc::new(snapshot));
            *seen = revision;
            return damaged.map_or(Ok(()), Err);
        }
        Ok(())
    }
}

/// Returns what is in force by the rows of all schemas, and what is wrong with one that cannot be read.
fn compile(rows: &[Row], known: &Snapshot) -> (Snapshot, Option<CustomSchemaError>) {
    let (mut snapshot, mut damaged) = (Snapshot::new(), None);
    for row in rows {
        let schema = match read(row) {
            Ok(schema) => schema,
            Err(error) => {
                damaged = Some(error);
                continue;
            }
        };
        if schema.mode == SchemaMode::Off {
            continue;
        }
        let apps = known.get(&schema.tenant).and_then(|apps| apps.get(&schema.app));
        let same = apps.and_then(|names| names.get(&schema.event_name));
        let in_force = match same.filter(|known| known.schema == schema) {
            Some(known) => Arc::clone(known),
            None => match Compiled::new(&schema.schema) {
                Ok(compiled) => Arc::new(InForce { schema, compiled }),
                Err(error) => {
                    // It was compiled when it was put there, by another version of this program.
                    let (app, event_name) = (&schema.app, &schema.event_name);
                    tracing::warn!(
                        tenant = %schema.tenant, app, event_name, error = %error,
                        "schema of a custom event is not looked at, it cannot be compiled"
                    );
                    continue;
                }
            },
        };
        let names = snapshot.entry(in_force.schema.tenant.clone()).or_default();
        let names = names.entry(in_force.schema.app.clone()).or_default();
        names.insert(in_force.schema.event_name.clone(), in_force);
    }
    (snapshot, damaged)
}

fn read(row: &Row) -> Result<CustomSchema, CustomSchemaError> {
    let damaged = |column| CustomSchemaError::Damaged { column };
    let [tenant, app, event_name, mode, schema] =
        [row.text(0)?, row.text(1)?, row.text(2)?, row.text(3)?, row.text(4)?];
    Ok(CustomSchema {
        tenant: TenantId::new(tenant).map_err(|_| damaged("tenant"))?,
        app: app.to_owned(),
        event_name: event_name.to_owned(),
        mode: mode.parse().map_err(|_| damaged("mode"))?,
        schema: schema.to_owned(),
        updated_at: Timestamp::from_millis(row.integer(5)?),
    })
}

fn key(tenant: &TenantId, app: &str, event_name: &str) -> [state::Value; 3] {
    [tenant.as_str().into(), app.into(), event_name.into()]
}

fn check_name(field: &'static str, name: &str) -> Result<(), CustomSchemaError> {
    if (1..=NAME_BYTES_MAX).contains(&name.len()) && !name.contains('\0') {
        Ok(())
    } else {
        Err(CustomSchemaError::Name { field })
    }
}
