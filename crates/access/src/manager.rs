//! The services behind the admin API and the command line.

use std::collections::HashMap;
use std::hash::Hash;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, Rng, Timestamp};
use secrecy::SecretString;
use state::{Database, Row, StateError, Statement};
use tokio::sync::Mutex as AsyncMutex;

use crate::audit::{self, AuditPage, AuditQuery, NewAuditEntry, Outcome};
use crate::certificate::{self, CertificateRule};
use crate::configured::ConfiguredKeys;
use crate::directory::{Directory, LastUse};
use crate::failure::AccessError;
use crate::identifier::Identifiers;
use crate::password::PasswordHasher;
use crate::permission::{Permission, PermissionSet};
use crate::principal::Principal;
use crate::rate::Limiter;
use crate::records::Actor;
use crate::rows;
use crate::throttle::Throttle;
use crate::usage::Meters;

mod keys;
mod sessions;
mod tenants;
#[cfg(test)]
mod tests;
mod upkeep;
mod users;

pub use sessions::LoginOrigin;

/// Longest name that people give something, in characters.
const NAME_CHARS_MAX: usize = 128;

/// What the services need to know.
#[derive(Clone, Debug)]
pub struct AccessSettings {
    /// A key that opens everything, from the configuration.
    pub bootstrap_key: Option<SecretString>,
    /// Keys that let agents report image pulls in the default tenant, from the configuration: at most 8 texts of 16 to
    /// 512 printable ASCII characters.
    pub agent_tokens: Vec<SecretString>,
    /// What the holders of client certificates may do.
    pub certificates: Vec<CertificateRule>,
    /// How long a session lasts, however much it is used.
    pub session_max: Duration,
    /// How long a session lasts without being used.
    pub session_idle_max: Duration,
    /// Sessions of one person; when there are more, the oldest end.
    pub sessions_per_user_max: u64,
    /// Keys of one tenant, those included that ended less than 90 days ago.
    pub keys_per_tenant_max: u64,
    /// People.
    pub users_max: u64,
    /// Tenants.
    pub tenants_max: u64,
    /// How long the audit log and the sums of usage are kept.
    pub audit_retention: Duration,
    /// Shortest password, in characters.
    pub password_chars_min: usize,
    /// Passwords that are hashed at the same time.
    pub password_hashes_max: usize,
}

impl Default for AccessSettings {
    fn default() -> Self {
        let day = Duration::from_hours(24);
        Self {
            bootstrap_key: None,
            agent_tokens: Vec::new(),
            certificates: Vec::new(),
            session_max: 7 * day,
            session_idle_max: day,
            sessions_per_user_max: 16,
            keys_per_tenant_max: 10_000,
            users_max: 10_000,
            tenants_max: 64,
            audit_retention: 365 * day,
            password_chars_min: crate::password::PASSWORD_CHARS_MIN,
            password_hashes_max: 2,
        }
    }
}

/// Keys, people, sessions, tenants, usage and the audit log.
///
/// Every change is checked against the rights of whoever asks, and stands in the audit log if and only if it was made.
/// What was changed counts in this process when the call returns, and in others on the same database within a second.
#[derive(Debug)]
pub struct Access {
    database: Database,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    identifiers: Identifiers,
    settings: AccessSettings,
    directory: Directory,
    hasher: PasswordHasher,
    throttle: Throttle,
    /// Failed logins that were noted in the audit log.
    failures: Limiter,
    meters: Arc<Meters>,
    /// What the directory was read at. Held while it is read again.
    seen: AsyncMutex<HashMap<String, i64>>,
    /// Why the directory may be out of date.
    problem: Mutex<Option<String>>,
    /// Why last uses and usage were not stored the last time.
    unwritten: Mutex<Option<String>>,
}

/// A part of the directory that is read as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Area {
    Tenants,
    Keys,
    People,
}

impl Area {
    const ALL: [Self; 3] = [Self::Tenants, Self::Keys, Self::People];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Tenants => "tenants",
            Self::Keys => "keys",
            Self::People => "people",
        }
    }

    /// Returns the statement that begins each change: the directory is read again, and changes wait for each other.
    fn changed(self) -> Statement {
        let sql = "UPDATE revision SET number = number + 1 WHERE area = $1";
        Statement::new(sql, [self.as_str().into()]).affecting(1)
    }
}

impl Access {
    /// Opens the services: makes the tenant `default` if need be and reads the directory.
    ///
    /// # Errors
    ///
    /// The database fails, or a key of the configuration is known to everybody or not of the form.
    pub async fn open(
        database: Database,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        settings: AccessSettings,
    ) -> Result<Arc<Self>, AccessError> {
        let configured =
            ConfiguredKeys::new(settings.bootstrap_key.as_ref(), &settings.agent_tokens)?;
        let count = |max: u64| usize::try_from(max).unwrap_or(usize::MAX);
        let access = Self {
            database,
            identifiers: Identifiers::new(Arc::clone(&clock), Arc::clone(&rng)),
            directory: Directory::new(configured, settings.session_idle_max),
            hasher: PasswordHasher::new(Arc::clone(&rng), settings.password_hashes_max)
                .with_chars_min(settings.password_chars_min),
            throttle: Throttle::default(),
            failures: Limiter::new(),
            meters: Arc::new(Meters::new(
                count(settings.tenants_max),
                count(settings.keys_per_tenant_max),
            )),
            seen: AsyncMutex::default(),
            problem: Mutex::default(),
            unwritten: Mutex::default(),
            clock,
            rng,
            settings,
        };
        access.ensure_default_tenant().await?;
        access.refresh().await?;
        access.load_usage().await?;
        Ok(Arc::new(access))
    }

    /// Returns who may come in.
    #[must_use]
    pub const fn directory(&self) -> &Directory {
        &self.directory
    }

    /// Returns who shows a client certificate with this common name; `None` when such a certificate opens nothing.
    /// Whether the certificate is to be believed is checked before, with the connection.
    #[must_use]
    pub fn certificate(&self, common_name: &str) -> Option<Principal> {
        certificate::principal(&self.settings.certificates, common_name)
    }

    /// Returns what tenants and keys use. It is stored each minute and at the end.
    #[must_use]
    pub const fn meters(&self) -> &Arc<Meters> {
        &self.meters
    }

    /// Returns why the directory may be out of date, or changes may fail, if so: for the health check.
    #[must_use]
    pub fn problem(&self) -> Option<String> {
        let problem = self.problem.lock().clone();
        problem.or_else(|| self.unwritten.lock().clone())
    }

    /// Adds an entry to the audit log.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn record(&self, actor: &Actor, entry: NewAuditEntry) -> Result<(), AccessError> {
        self.database.transaction(&[self.audited(actor, entry)]).await?;
        Ok(())
    }

    /// Returns what adds an entry to the audit log, for the transaction that makes the change.
    #[must_use]
    pub fn audit_statement(&self, actor: &Actor, entry: NewAuditEntry) -> Statement {
        self.audited(actor, entry)
    }

    /// Returns a page of the audit log. Administrators of one tenant see that tenant's entries.
    ///
    /// # Errors
    ///
    /// The actor is no administrator, or the database fails.
    pub async fn audit(&self, actor: &Actor, query: &AuditQuery) -> Result<AuditPage, AccessError> {
        let principal = &actor.principal;
        let may = principal.may(Permission::Admin)
            && (principal.all_tenants || query.tenant.as_ref() == Some(&principal.tenant));
        if !may {
            let reason = "only an administrator of the tenant reads its audit log";
            return Err(AccessError::Forbidden { reason });
        }
        let entries_max = match query.entries_max {
            0 => audit::AUDIT_PAGE_MAX,
            some => some.min(audit::AUDIT_PAGE_MAX),
        };
        let values = audit::select_values(query, entries_max);
        let rows = self.database.query(audit::SELECT, &values).await?;
        let mut entries = rows.iter().map(audit::entry).collect::<Result<Vec<_>, _>>()?;
        let more = entries.len() > entries_max;
        entries.truncate(entries_max);
        let next = entries.last().filter(|_| more).map(|last| last.id.clone());
        Ok(AuditPage { entries, next })
    }

    fn now(&self) -> Timestamp {
        self.clock.now()
    }

    fn audited(&self, actor: &Actor, entry: NewAuditEntry) -> Statement {
        audit::insert(self.identifiers.next(), self.now(), actor, entry)
    }

    /// Makes a change and lets the directory follow.
    async fn change(&self, statements: &[Statement]) -> Result<(), StateError> {
        self.database.transaction(statements).await?;
        // The change is made. When reading fails, that is the health check's business, and tried again soon.
        self.follow().await;
        Ok(())
    }

    /// Reads again what has changed, and remembers what is wrong.
    async fn follow(&self) {
        let problem = self.refresh().await.err().map(|error| describe(&error));
        let mut known = self.problem.lock();
        match (&*known, &problem) {
            (None, Some(problem)) => {
                tracing::warn!(
                    problem,
                    "the state database cannot be read; going on with what is known"
                );
            }
            (Some(_), None) => tracing::info!("the state database can be read again"),
            _ => {}
        }
        *known = problem;
    }

    /// Reads those areas again that have changed. A row that cannot be read is left out, and is an error in the end.
    async fn refresh(&self) -> Result<(), AccessError> {
        let mut seen = self.seen.lock().await;
        let mut damaged = None;
        for row in self.database.query(rows::REVISIONS, &[]).await? {
            let (name, number) = (row.text(0)?, row.integer(1)?);
            let area = Area::ALL.into_iter().find(|area| area.as_str() == name);
            let Some(area) = area.filter(|_| seen.get(name) != Some(&number)) else { continue };
            match self.load(area).await? {
                None => _ = seen.insert(name.to_owned(), number),
                problem => damaged = problem,
            }
        }
        damaged.map_or(Ok(()), Err)
    }

    /// Reads an area, and returns what is wrong with one of its rows.
    async fn load(&self, area: Area) -> Result<Option<AccessError>, AccessError> {
        match area {
            Area::Tenants => {
                let rows = self.database.query(rows::TENANTS, &[]).await?;
                let (tenants, damaged) = readable(&rows, rows::tenant);
                for tenant in &tenants {
                    // When there is no room for its usage, its requests are refused anyway.
                    if let Ok(usage) = self.meters.tenant(&tenant.id, self.now()) {
                        usage.set_limits(Arc::clone(&tenant.limits));
                    }
                }
                let named = tenants.into_iter().map(|tenant| (tenant.id.clone(), Arc::new(tenant)));
                self.directory.set_tenants(named.collect());
                Ok(damaged)
            }
            Area::Keys => {
                let rows = self.database.query(rows::KEYS, &[]).await?;
                let (mut keys, damaged) = readable(&rows, rows::key_grant);
                let known = self.directory.all_keys();
                for (hash, grant) in &mut keys {
                    keep_use(&mut grant.used, known.get(hash).map(|known| &known.used));
                }
                self.directory.set_keys(shared(keys));
                Ok(damaged)
            }
            Area::People => {
                let rows = self.database.query(rows::SESSIONS, &[]).await?;
                let (mut sessions, damaged) = readable(&rows, rows::session_grant);
                let known = self.directory.all_sessions();
                for (hash, grant) in &mut sessions {
                    keep_use(&mut grant.used, known.get(hash).map(|known| &known.used));
                }
                self.directory.set_sessions(shared(sessions));
                Ok(damaged)
            }
        }
    }

    /// Checks that somebody is an administrator of a tenant.
    async fn check_admin(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        attempt: Attempt<'_>,
    ) -> Result<(), AccessError> {
        let principal = &actor.principal;
        if principal.may(Permission::Admin)
            && (principal.all_tenants || principal.tenant == *tenant)
        {
            return Ok(());
        }
        let reason = "only an administrator of the tenant may do this";
        Err(self.refuse(actor, tenant, attempt, reason).await)
    }

    /// Checks that somebody has all the rights that they are about to give, take over or take away.
    async fn check_rights(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        attempt: Attempt<'_>,
        rights: Rights<'_>,
    ) -> Result<(), AccessError> {
        let principal = &actor.principal;
        if principal.permissions.contains_all(rights.permissions)
            && (principal.all_tenants || !rights.all_tenants)
            && (principal.app.is_none() || principal.app.as_deref() == rights.app)
        {
            return Ok(());
        }
        let reason = "nobody may give or change rights that they do not have themselves";
        Err(self.refuse(actor, tenant, attempt, reason).await)
    }

    /// Notes that somebody was not let. When that cannot be noted, they are not let either.
    async fn refuse(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        attempt: Attempt<'_>,
        reason: &'static str,
    ) -> AccessError {
        let entry = NewAuditEntry {
            tenant: tenant.clone(),
            action: attempt.action,
            target: attempt.target.to_owned(),
            outcome: Outcome::Refused,
            detail: serde_json::json!({ "reason": reason }),
        };
        match self.record(actor, entry).await {
            Ok(()) => AccessError::Forbidden { reason },
            Err(error) => error,
        }
    }
}

/// What somebody tries, for the audit log.
#[derive(Clone, Copy, Debug)]
struct Attempt<'a> {
    action: &'static str,
    target: &'a str,
}

/// Rights that are to be given.
#[derive(Clone, Copy, Debug)]
struct Rights<'a> {
    permissions: PermissionSet,
    all_tenants: bool,
    app: Option<&'a str>,
}

/// Returns what can be read, and what is wrong with the first row that cannot.
fn readable<T>(
    rows: &[Row],
    read: impl Fn(&Row) -> Result<T, AccessError>,
) -> (Vec<T>, Option<AccessError>) {
    let mut damaged = None;
    let mut items = Vec::with_capacity(rows.len());
    for row in rows {
        match read(row) {
            Ok(item) => items.push(item),
            Err(error) => damaged = damaged.or(Some(error)),
        }
    }
    (items, damaged)
}

/// Lets the last use outlive the snapshot: what was not written yet must not be lost.
fn keep_use(used: &mut Arc<LastUse>, known: Option<&Arc<LastUse>>) {
    if let Some(known) = known {
        known.learn(used.get());
        *used = Arc::clone(known);
    }
}

fn shared<K: Eq + Hash, V>(items: Vec<(K, V)>) -> HashMap<K, Arc<V>> {
    items.into_iter().map(|(key, value)| (key, Arc::new(value))).collect()
}

/// Returns an error with what led to it, in one line.
fn describe(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}

/// Checks a name that people see.
fn check_name(field: &'static str, name: &str) -> Result<(), AccessError> {
    let fits = (1..=NAME_CHARS_MAX).contains(&name.chars().count());
    if fits && !name.chars().any(char::is_control) && name.trim() == name {
        return Ok(());
    }
    let reason = format!(
        "it has 1 to {NAME_CHARS_MAX} characters, no control characters, and no space at its ends"
    );
    Err(AccessError::Invalid { field, reason })
}
