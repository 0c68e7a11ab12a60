//! The history: pulls in the state database.
//!
//! A pull is written when it begins and when it ends. Who reports or reads does not wait for that: what is to be written
//! lies in a queue, from which [`History::flush`] takes it in batches. A row that ended is marked until the sink took it,
//! so an end is published at least once, whatever happens between.

mod queue;
mod row;

use std::collections::HashMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use model::TenantId;
use platform::{Clock, Timestamp};
use state::{Database, Row, Statement, Value};
use tokio::sync::Mutex as AsyncMutex;

use crate::error::PullsError;
use crate::filter::{PullCursor, PullFilter, PullQuery};
use crate::settings::PullsSettings;
use crate::sink::PullSink;
use crate::totals::HistoryTotals;
use crate::view::PullView;

pub(crate) use queue::{Entry, Queue};
use row::{escaped, read, write};

/// Most rows of one transaction, and of one page that is read.
const BATCH_ROWS: usize = 500;
/// Most pages that are looked through for one page of an answer.
const PAGES_MAX: usize = 40;
/// Most pulls that are read when the server starts.
const RESTORED_MAX: usize = 200_000;
/// How often old rows are removed.
const EXPIRE_EVERY: Duration = Duration::from_secs(60);

const PUT: &str = "INSERT INTO pulls (tenant, id, cluster, node, names, pods, state, started_at, ended_at, \
     publish, detail) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11) \
     ON CONFLICT (tenant, id) DO UPDATE SET names = excluded.names, pods = excluded.pods, \
     state = excluded.state, started_at = excluded.started_at, ended_at = excluded.ended_at, \
     publish = excluded.publish, detail = excluded.detail";
const PUBLISHED: &str = "UPDATE pulls SET publish = 0 WHERE tenant = $1 AND id = $2";
const TENANTS_TO_PUBLISH: &str =
    "SELECT DISTINCT tenant FROM pulls WHERE publish = 1 ORDER BY tenant";
const TO_PUBLISH: &str = "SELECT tenant, id, cluster, node, started_at, ended_at, detail FROM pulls \
     WHERE publish = 1 AND tenant = $1 ORDER BY ended_at, id LIMIT $2";
const RUNNING: &str = "SELECT tenant, id, cluster, node, started_at, ended_at, detail FROM pulls \
     WHERE ended_at IS NULL AND (tenant, id) > ($1, $2) ORDER BY tenant, id LIMIT $3";
const RECENT: &str = "SELECT tenant, id, cluster, node, started_at, ended_at, detail FROM pulls \
     WHERE (ended_at, id) > ($1, $2) ORDER BY ended_at, id LIMIT $3";
const ONE: &str = "SELECT tenant, id, cluster, node, started_at, ended_at, detail FROM pulls \
     WHERE tenant = $1 AND id = $2";
/// Also those that could not be published for so long.
const EXPIRE: &str = "DELETE FROM pulls WHERE ended_at < $1";
/// Rows of pulls that never ended, because there was no room to follow them any more.
const EXPIRE_LOST: &str = "DELETE FROM pulls WHERE ended_at IS NULL AND started_at < $1";
const COUNTS: &str = "SELECT tenant, COUNT(*) FROM pulls GROUP BY tenant ORDER BY tenant";
/// The oldest rows of a tenant, but for as many as may stay.
const CUT: &str = "DELETE FROM pulls WHERE tenant = $1 AND publish = 0 AND ended_at IS NOT NULL AND \
     started_at <= (SELECT started_at FROM pulls WHERE tenant = $1 \
     ORDER BY started_at DESC LIMIT 1 OFFSET $2)";

/// A page of ended pulls; `$node` narrows it to what the index on nodes knows.
macro_rules! page {
    ($node:literal) => {
        concat!(
            "SELECT tenant, id, cluster, node, started_at, ended_at, detail FROM pulls ",
            "WHERE tenant = $1 AND ",
            $node,
            " AND ended_at IS NOT NULL AND (started_at, id) < ($3, $4) AND started_at >= $5 ",
            "AND $6 LIKE '%,' || state || ',%' AND names LIKE $7 ESCAPE '\\' AND pods LIKE $8 ESCAPE '\\' ",
            "ORDER BY started_at DESC, id DESC LIMIT $9"
        )
    };
}
const PAGE: &str = page!("$2 = ''");
const PAGE_OF_NODE: &str = page!("node = $2");

/// Pulls in the state database.
#[derive(Debug)]
pub(crate) struct History {
    clock: Arc<dyn Clock>,
    database: Database,
    sink: Arc<dyn PullSink>,
    age: Duration,
    rows_max: u64,
    pub(crate) queue: Queue,
    /// Held while something is written: one at a time. When rows were last expired.
    flushing: AsyncMutex<Option<Duration>>,
    /// Whether a row may wait to be published.
    to_publish: AtomicBool,
    written: AtomicU64,
    published: AtomicU64,
    failures: AtomicU64,
    /// Whether the last flush failed, so that only changes are logged.
    failing: AtomicBool,
}

/// A pull that was read from the state database.
#[derive(Debug)]
pub(crate) struct Stored {
    pub(crate) tenant: TenantId,
    pub(crate) entry: Entry,
}

impl History {
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        database: Database,
        sink: Arc<dyn PullSink>,
        settings: &PullsSettings,
    ) -> Self {
        Self {
            clock,
            database,
            sink,
            age: settings.history_age,
            rows_max: settings.history_rows_max,
            queue: Queue::new(settings.history_queue_max),
            flushing: AsyncMutex::new(None),
            to_publish: AtomicBool::new(true),
            written: AtomicU64::new(0),
            published: AtomicU64::new(0),
            failures: AtomicU64::new(0),
            failing: AtomicBool::new(false),
        }
    }

    /// Hands over the pulls that ran when the server stopped, and then those that ended after `since`, in order.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub(crate) async fn restore(
        &self,
        since: Timestamp,
        mut each: impl FnMut(Stored),
    ) -> Result<(), PullsError> {
        let limit = Value::from(BATCH_ROWS as i64);
        let (mut after, mut count) = (vec![Value::from(""), Value::from("")], 0);
        loop {
            let values = [&after[..], std::slice::from_ref(&limit)].concat();
            let rows = self.database.query(RUNNING, &values).await?;
            let Some(last) = rows.last() else { break };
            after = vec![last.text(0)?.into(), last.text(1)?.into()];
            count += rows.len();
            readable(&rows).for_each(&mut each);
            if count >= RESTORED_MAX {
                break;
            }
        }
        let mut after = vec![Value::from(since.as_millis()), Value::from("")];
        loop {
            let values = [&after[..], std::slice::from_ref(&limit)].concat();
            let rows = self.database.query(RECENT, &values).await?;
            let Some(last) = rows.last() else { break };
            after = vec![last.integer(5)?.into(), last.text(1)?.into()];
            count += rows.len();
            readable(&rows).for_each(&mut each);
            if count >= 2 * RESTORED_MAX {
                break;
            }
        }
        Ok(())
    }

    /// Writes what waits, and publishes what ended. What fails is tried again by the next call.
    pub(crate) async fn flush(&self) {
        let mut expired_at = self.flushing.lock().await;
        let done = self.write().await;
        if done.is_err() {
            return self.note(done);
        }
        let to_publish = self.to_publish.load(Ordering::Relaxed);
        let published = if to_publish { self.publish().await } else { Ok(()) };
        let now = self.clock.monotonic();
        let is_due = expired_at.is_none_or(|last| EXPIRE_EVERY <= now.saturating_sub(last));
        let expired = if is_due { self.expire().await } else { Ok(()) };
        if expired.is_ok() && is_due {
            *expired_at = Some(now);
        }
        self.note(published.and(expired));
    }

    fn note(&self, done: Result<(), FlushError>) {
        let was_failing = self.failing.swap(done.is_err(), Ordering::Relaxed);
        match done {
            Err(error) => {
                self.failures.fetch_add(1, Ordering::Relaxed);
                if !was_failing {
                    let error = &error as &dyn std::error::Error;
                    tracing::warn!(error, "history of pulls is not written; it is tried again");
                }
            }
            Ok(()) if was_failing => tracing::info!("history of pulls is written again"),
            Ok(()) => {}
        }
    }

    async fn write(&self) -> Result<(), FlushError> {
        loop {
            let batch = self.queue.oldest(BATCH_ROWS);
            let Some(last) = batch.last().map(|waiting| waiting.number) else { return Ok(()) };
            let count = batch.len();
            // Who began and ended meanwhile is written once.
            let mut newest = HashMap::new();
            for waiting in &batch {
                newest.insert((&waiting.tenant, &waiting.entry.view.id), waiting.number);
            }
            let is_newest = |waiting: &&queue::Waiting| {
                newest.get(&(&waiting.tenant, &waiting.entry.view.id)) == Some(&waiting.number)
            };
            let statements: Vec<Statement> = batch
                .iter()
                .filter(is_newest)
                .map(|waiting| Statement::new(PUT, write(&waiting.tenant, &waiting.entry)))
                .collect();
            self.database.transaction(&statements).await.map_err(PullsError::from)?;
            if batch.iter().any(|waiting| waiting.entry.view.ended_at.is_some()) {
                self.to_publish.store(true, Ordering::Relaxed);
            }
            self.queue.remove_up_to(last);
            self.written.fetch_add(statements.len() as u64, Ordering::Relaxed);
            if count < BATCH_ROWS {
                return Ok(());
            }
        }
    }

    /// Publishes what ended. What the sink does not take of one tenant holds up no other.
    async fn publish(&self) -> Result<(), FlushError> {
        self.to_publish.store(false, Ordering::Relaxed);
        let done = self.publish_each().await;
        if done.is_err() {
            self.to_publish.store(true, Ordering::Relaxed);
        }
        done
    }

    async fn publish_each(&self) -> Result<(), FlushError> {
        let tenants = self.database.query(TENANTS_TO_PUBLISH, &[]).await;
        let mut done = Ok(());
        for tenant in tenants.map_err(PullsError::from)? {
            let published = self.publish_of(tenant.text(0).map_err(PullsError::from)?).await;
            done = done.and(published);
        }
        done
    }

    async fn publish_of(&self, tenant: &str) -> Result<(), FlushError> {
        loop {
            let values = [tenant.into(), (BATCH_ROWS as i64).into()];
            let rows = self.database.query(TO_PUBLISH, &values).await.map_err(PullsError::from)?;
            if rows.is_empty() {
                return Ok(());
            }
            let ended: Vec<Stored> = readable(&rows).collect();
            if let Some(Stored { tenant, .. }) = ended.first() {
                let views: Vec<Arc<PullView>> =
                    ended.iter().map(|stored| Arc::clone(&stored.entry.view)).collect();
                self.sink.publish(tenant, &views).await?;
                self.published.fetch_add(views.len() as u64, Ordering::Relaxed);
            }
            // What cannot be read is not asked for again either.
            let published = rows
                .iter()
                .map(|row| Ok(Statement::new(PUBLISHED, [tenant.into(), row.text(1)?.into()])));
            let published = published.collect::<Result<Vec<_>, PullsError>>()?;
            self.database.transaction(&published).await.map_err(PullsError::from)?;
        }
    }

    async fn expire(&self) -> Result<(), FlushError> {
        let age = i64::try_from(self.age.as_millis()).unwrap_or(i64::MAX);
        let before = self.clock.now().saturating_add_millis(age.saturating_neg()).as_millis();
        let by_age =
            [EXPIRE, EXPIRE_LOST].map(|statement| Statement::new(statement, [before.into()]));
        self.database.transaction(&by_age).await.map_err(PullsError::from)?;
        let rows_max = i64::try_from(self.rows_max).unwrap_or(i64::MAX);
        for count in self.database.query(COUNTS, &[]).await.map_err(PullsError::from)? {
            if count.integer(1).map_err(PullsError::from)? > rows_max {
                let tenant = count.text(0).map_err(PullsError::from)?;
                let cut = self.database.execute(CUT, &[tenant.into(), rows_max.into()]).await;
                cut.map_err(PullsError::from)?;
            }
        }
        Ok(())
    }

    /// Returns a pull.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub(crate) async fn get(
        &self,
        tenant: &TenantId,
        id: &str,
    ) -> Result<Option<Arc<PullView>>, PullsError> {
        let rows = self.database.query(ONE, &[tenant.as_str().into(), id.into()]).await?;
        rows.first().map(|row| Ok(read(row)?.entry.view)).transpose()
    }

    /// Returns ended pulls that fit and are not in `known`, the newest first, at most `limit`; and where to go on, if there
    /// may be more.
    ///
    /// # Errors
    ///
    /// The state database fails.
    pub(crate) async fn search(
        &self,
        tenant: &TenantId,
        query: &PullQuery,
        limit: usize,
        known: impl Fn(&str) -> bool,
    ) -> Result<(Vec<Arc<PullView>>, Option<PullCursor>), PullsError> {
        let filter = &query.filter;
        let mut found = Vec::new();
        let mut after = query.cursor.clone();
        if let Some(until) = query.until
            && after.as_ref().is_none_or(|after| until < after.started_at)
        {
            after = Some(PullCursor { started_at: until, id: String::new() });
        }
        for _ in 0..PAGES_MAX {
            let (sql, values) = page_of(tenant, filter, query.since, after.as_ref());
            let rows = self.database.query(sql, &values).await?;
            for row in &rows {
                let view = match read(row) {
                    Ok(stored) => stored.entry.view,
                    Err(error) => {
                        tracing::warn!(error = %error, "a pull of the history cannot be read");
                        continue;
                    }
                };
                after = Some(view.cursor());
                if filter.matches(&view) && !known(&view.id) {
                    found.push(view);
                    if found.len() == limit {
                        return Ok((found, after));
                    }
                }
            }
            if rows.len() < BATCH_ROWS {
                return Ok((found, None));
            }
        }
        Ok((found, after))
    }

    pub(crate) fn totals(&self) -> HistoryTotals {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        HistoryTotals {
            queued: self.queue.len() as u64,
            written: read(&self.written),
            dropped: self.queue.dropped(),
            published: read(&self.published),
            failures: read(&self.failures),
        }
    }
}

/// Why a flush did not do everything.
#[derive(Debug, thiserror::Error)]
enum FlushError {
    #[error(transparent)]
    Pulls(#[from] PullsError),
    #[error(transparent)]
    Sink(#[from] crate::error::SinkError),
}

fn readable(rows: &[Row]) -> impl Iterator<Item = Stored> {
    rows.iter().filter_map(|row| {
        read(row)
            .inspect_err(
                |error| tracing::warn!(error = %error, "a pull of the history cannot be read"),
            )
            .ok()
    })
}

fn page_of(
    tenant: &TenantId,
    filter: &PullFilter,
    since: Option<Timestamp>,
    after: Option<&PullCursor>,
) -> (&'static str, Vec<Value>) {
    let states: String = if filter.states.is_empty() {
        ",completed,failed,".to_owned()
    } else {
        filter.states.iter().fold(",".to_owned(), |list, state| list + state.as_str() + ",")
    };
    let image = filter.image.as_deref().unwrap_or_default();
    let names = format!("%{}%", escaped(image));
    let pod = escaped(filter.pod.as_deref().unwrap_or_default());
    let pods = match &filter.namespace {
        Some(namespace) => format!("%\n{}/%{pod}%", escaped(namespace)),
        None => format!("%{pod}%"),
    };
    let values = vec![
        tenant.as_str().into(),
        filter.node.as_deref().unwrap_or_default().into(),
        after.map_or(i64::MAX, |after| after.started_at.as_millis()).into(),
        after.map_or("", |after| after.id.as_str()).into(),
        since.map_or(i64::MIN, Timestamp::as_millis).into(),
        states.into(),
        names.into(),
        pods.into(),
        (BATCH_ROWS as i64).into(),
    ];
    (if filter.node.is_some() { PAGE_OF_NODE } else { PAGE }, values)
}
