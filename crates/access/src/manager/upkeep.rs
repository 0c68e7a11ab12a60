//! What is done as time passes.

use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use platform::Timestamp;
use state::{StateError, Statement, Value};
use tokio::sync::watch;

use super::{Access, Attempt, describe};
use crate::audit;
use crate::directory::millis;
use crate::failure::AccessError;
use crate::records::Actor;
use crate::usage::{Day, DaySum, TenantUsage, UsageKind};

/// How often it is asked whether somebody else has changed something.
const POLL_EVERY: Duration = Duration::from_millis(500);

/// How often last uses and usage are stored.
const WRITE_EVERY: Duration = Duration::from_secs(60);

/// How often everything is read again, whatever the revisions say, and what is old is removed. Other servers store last
/// uses without a new revision.
const SWEEP_EVERY: Duration = Duration::from_secs(600);

/// How long keys that have ended can still be seen.
const ENDED_KEYS_KEPT: Duration = Duration::from_hours(90 * 24);

/// Most statements of one transaction: others wait for its end.
const STATEMENTS_MAX: usize = 500;

const DAY_MS: i64 = 86_400_000;

impl Access {
    /// Follows the database, stores last uses and usage, and removes what is old, until `shutdown` says true or its
    /// sender is gone.
    pub async fn run(self: Arc<Self>, mut shutdown: watch::Receiver<bool>) {
        let mut written = self.clock.monotonic();
        let mut swept = written;
        while !*shutdown.borrow_and_update() {
            let poll = self.clock.sleep_until(self.clock.monotonic() + POLL_EVERY);
            tokio::select! {
                biased;
                changed = shutdown.changed() => if changed.is_err() { break },
                () = poll => {
                    self.follow().await;
                    let now = self.clock.monotonic();
                    if now.saturating_sub(written) >= WRITE_EVERY {
                        written = now;
                        self.write_back().await;
                    }
                    if now.saturating_sub(swept) >= SWEEP_EVERY {
                        swept = now;
                        self.sweep().await;
                    }
                }
            }
        }
        self.write_back().await;
    }

    /// Returns what a tenant used on the days from `first` to `last`, as far as it is stored: up to a minute ago.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant, or the database fails.
    pub async fn usage(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        first: Day,
        last: Day,
    ) -> Result<Vec<DaySum>, AccessError> {
        let attempt = Attempt { action: "usage.read", target: tenant.as_str() };
        self.check_admin(actor, tenant, attempt).await?;
        Ok(self.stored_usage(tenant, first, last).await?)
    }

    /// Takes what was used today before the program started: quotas go on.
    pub(super) async fn load_usage(&self) -> Result<(), AccessError> {
        let now = self.now();
        let today = Day::of(now);
        for tenant in self.directory.tenants() {
            let sums = self.stored_usage(&tenant.id, today, today).await?;
            // More tenants than the settings allow: those beyond have no usage.
            let Ok(usage) = self.meters.tenant(&tenant.id, now) else { break };
            for sum in sums {
                usage.load(sum, now);
            }
        }
        Ok(())
    }

    async fn stored_usage(
        &self,
        tenant: &TenantId,
        first: Day,
        last: Day,
    ) -> Result<Vec<DaySum>, StateError> {
        let values = [tenant.as_str().into(), first.number().into(), last.number().into()];
        let rows = self.database.query(SELECT_USAGE, &values).await?;
        let mut sums = Vec::with_capacity(rows.len());
        for row in rows {
            let name = row.text(1)?;
            // A newer program may have counted more.
            let kind = UsageKind::ALL.into_iter().find(|kind| kind.as_str() == name);
            let Some(kind) = kind else { continue };
            let amount = u64::try_from(row.integer(2)?).unwrap_or_default();
            sums.push(DaySum { day: Day::from_number(row.integer(0)?), kind, amount });
        }
        Ok(sums)
    }

    /// Stores last uses and usage, and remembers why that failed. What cannot be stored is stored the next time.
    pub(super) async fn write_back(&self) {
        let failed = self.try_write_back().await.err().map(|error| describe(&error));
        *self.unwritten.lock() = failed;
    }

    /// A database that does not answer is not asked again for each tenant: the end of the program would wait for all of
    /// that.
    async fn try_write_back(&self) -> Result<(), StateError> {
        let mut result = self.write_uses().await;
        if let Err(error) = &result {
            tracing::warn!(
                error = describe(error),
                "last uses of keys and sessions cannot be stored"
            );
        }
        for (tenant, usage) in self.meters.tenants() {
            if result.as_ref().is_err_and(StateError::is_retryable) {
                break;
            }
            if let Err(error) = self.write_usage(&tenant, &usage).await {
                tracing::warn!(
                    error = describe(&error),
                    tenant = tenant.as_str(),
                    "usage cannot be stored"
                );
                result = Err(error);
            }
        }
        result
    }

    async fn write_uses(&self) -> Result<(), StateError> {
        let (keys, sessions) = (self.directory.all_keys(), self.directory.all_sessions());
        let keys = keys.values().map(|key| (WRITE_KEY_USE, &key.id, &key.used));
        let sessions =
            sessions.values().map(|session| (WRITE_SESSION_USE, &session.id, &session.used));
        let used = keys.chain(sessions).filter_map(|(sql, id, used)| {
            used.unwritten().map(|at| (sql, Arc::clone(id), Arc::clone(used), at))
        });
        let mut used: Vec<_> = used.collect();
        // Two servers that lock rows in different orders would wait for each other.
        used.sort_by(|one, other| (one.0, &one.1).cmp(&(other.0, &other.1)));
        for batch in used.chunks(STATEMENTS_MAX) {
            let statement = |(sql, id, _, at): &(&'static str, Arc<str>, _, Timestamp)| {
                Statement::new(sql, [Value::from(&**id), at.as_millis().into()])
            };
            self.database.transaction(&batch.iter().map(statement).collect::<Vec<_>>()).await?;
            for (_, _, used, at) in batch {
                used.learn(Some(*at));
            }
        }
        Ok(())
    }

    async fn write_usage(&self, tenant: &TenantId, usage: &TenantUsage) -> Result<(), StateError> {
        let sums = usage.take_unsaved(self.now());
        let statement = |sum: &DaySum| {
            let amount = i64::try_from(sum.amount).unwrap_or(i64::MAX);
            let values = [
                tenant.as_str().into(),
                sum.day.number().into(),
                sum.kind.as_str().into(),
                amount.into(),
            ];
            Statement::new(ADD_USAGE, values)
        };
        let statements: Vec<Statement> = sums.iter().map(statement).collect();
        if statements.is_empty() {
            return Ok(());
        }
        self.database.transaction(&statements).await.map(drop).inspect_err(|_| usage.put_back(sums))
    }

    /// Removes what is old, and reads everything again.
    pub(super) async fn sweep(&self) {
        let now = self.now();
        let before =
            |age: Duration| Value::from(now.saturating_add_millis(-millis(age)).as_millis());
        let now_value = Value::from(now.as_millis());
        let kept = &self.settings;
        let first_day = Day::of(now).number() - millis(kept.audit_retention) / DAY_MS;
        let statements = [
            Statement::new(DELETE_SESSIONS, [now_value, before(kept.session_idle_max)]),
            Statement::new(DELETE_KEYS, [before(ENDED_KEYS_KEPT)]),
            Statement::new(audit::DELETE_OLD, [before(kept.audit_retention)]),
            Statement::new("DELETE FROM usage WHERE day < $1", [first_day.into()]),
        ];
        if let Err(error) = self.database.transaction(&statements).await {
            tracing::warn!(
                error = describe(&error),
                "old keys, sessions and entries cannot be removed"
            );
        }
        self.seen.lock().await.clear();
        self.follow().await;
    }
}

const SELECT_USAGE: &str = "SELECT day, kind, amount FROM usage WHERE tenant = $1 AND day >= $2 AND day <= $3 ORDER BY day, kind";

const ADD_USAGE: &str = "INSERT INTO usage (tenant, day, kind, amount) VALUES ($1, $2, $3, $4) \
     ON CONFLICT (tenant, day, kind) DO UPDATE SET amount = usage.amount + excluded.amount";

const WRITE_KEY_USE: &str =
    "UPDATE api_keys SET last_used_at = $2 WHERE id = $1 AND COALESCE(last_used_at, 0) < $2";

const WRITE_SESSION_USE: &str =
    "UPDATE sessions SET last_seen_at = $2 WHERE id = $1 AND last_seen_at < $2";

const DELETE_SESSIONS: &str = "DELETE FROM sessions WHERE expires_at <= $1 OR last_seen_at <= $2";

const DELETE_KEYS: &str = "DELETE FROM api_keys WHERE COALESCE(revoked_at, expires_at) < $1";
