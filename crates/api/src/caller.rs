//! Whoever sends a request, and the data that the request is for.

use std::sync::Arc;
use std::time::Duration;

use access::{Demand, Now, Paying, Principal, TenantUsage, Unit, WriteCharge};
use axum::extract::FromRequestParts;
use http::request::Parts;
use model::{AppendReceipt, Cancellation, TenantId, Timestamp, WriteBatch};
use parking_lot::Mutex;
use promql::ast::Expr;
use promql::{Engine, EngineConfig, QueryError, QueryOutcome, QueryRange};
use tokio::sync::Semaphore;
use tsdb::Store;

use crate::breaker::Breaker;
use crate::failure::{Failure, Kind, NativeFailure};
use crate::identity::Known;
use crate::live::Snapshot;
use crate::parts::App;
use crate::stale::LastAnswers;

/// How long sizes on disk are remembered: measuring them walks the data folder.
const STATS_KEPT: Duration = Duration::from_secs(10);

/// Whoever sends a request, and the tenant that it is for. Only enforcement makes one, so a handler that takes it runs
/// behind a rule. Cheap to clone.
#[derive(Clone, Debug)]
pub(crate) struct Caller {
    pub(crate) app: Arc<App>,
    pub(crate) principal: Arc<Principal>,
    /// How the principal is known.
    pub(crate) known: Known,
    pub(crate) tenant: Arc<Tenant>,
    /// Whose limits hold.
    pub(crate) paying: Paying,
}

impl Caller {
    /// Returns the metrics of the tenant.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.tenant.store
    }

    /// Evaluates a query at one time over the tenant's metrics. Blocks.
    pub(crate) fn query_instant(
        &self,
        text: &str,
        expr: &Expr,
        at: Timestamp,
        cancellation: &Cancellation,
    ) -> Result<QueryOutcome, QueryError> {
        let store = self.tenant.store.as_ref();
        self.counted(self.engine().query_instant(store, text, expr, at, cancellation))
    }

    /// Evaluates a query at the steps of a range over the tenant's metrics. Blocks.
    pub(crate) fn query_range(
        &self,
        text: &str,
        expr: &Expr,
        range: QueryRange,
        cancellation: &Cancellation,
    ) -> Result<QueryOutcome, QueryError> {
        let store = self.tenant.store.as_ref();
        self.counted(self.engine().query_range(store, text, expr, range, cancellation))
    }

    fn counted(
        &self,
        outcome: Result<QueryOutcome, QueryError>,
    ) -> Result<QueryOutcome, QueryError> {
        outcome.inspect(|outcome| {
            self.paying.count_samples_read(outcome.samples_read);
            self.app.observability.stats.queries.read(outcome.samples_read);
        })
    }

    /// Returns the evaluator of queries, with the tenant's own limit of samples when that is lower.
    fn engine(&self) -> Engine {
        let config = *self.app.engine.config();
        let own = self.paying.tenant_limits.query_samples_max.unwrap_or(u64::MAX);
        Engine::new(EngineConfig { samples_max: config.samples_max.min(own), ..config })
    }

    /// Asks before its body is read whether a write of samples or events can be allowed at all.
    pub(crate) fn may_write(&self, unit: Unit, bytes: u64) -> Result<(), Failure> {
        let now = Now::of(self.app.clock.as_ref());
        Ok(self.paying.may_write(unit, bytes.max(1), now)?)
    }

    /// Takes the samples of a write, and the bytes of its body as sent, from what is allowed: all of it, or nothing.
    pub(crate) fn charge(
        &self,
        batch: &WriteBatch<'_>,
        sent_bytes: usize,
    ) -> Result<Charge, Failure> {
        let samples = batch.sample_count() as u64;
        self.take(Demand { samples, events: 0, bytes: sent_bytes as u64 })
    }

    /// As [`Caller::charge`], for events.
    pub(crate) fn charge_events(&self, count: usize, sent_bytes: usize) -> Result<Charge, Failure> {
        self.take(Demand { samples: 0, events: count as u64, bytes: sent_bytes as u64 })
    }

    fn take(&self, demand: Demand) -> Result<Charge, Failure> {
        let now = Now::of(self.app.clock.as_ref());
        Ok(Charge { taken: self.paying.write(demand, now)?, bytes: demand.bytes })
    }

    /// Returns the bytes on disk of the tenant as they were at most ten seconds ago. Blocking.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let now = self.app.clock.monotonic();
        let mut measured = self.tenant.measured.lock();
        match *measured {
            Some((at, bytes)) if now.saturating_sub(at) < STATS_KEPT => bytes,
            _ => {
                let bytes = self.tenant.store.stats().bytes_on_disk;
                *measured = Some((now, bytes));
                bytes
            }
        }
    }
}

/// What a write has taken. Without being kept it is given back.
pub(crate) struct Charge {
    taken: WriteCharge,
    bytes: u64,
}

impl Charge {
    /// Counts what was stored.
    pub(crate) fn keep(self, receipt: &AppendReceipt) {
        let samples = receipt.stored_samples as u64;
        self.taken.keep(Demand { samples, events: 0, bytes: self.bytes });
    }

    /// Counts how many events were stored.
    pub(crate) fn keep_events(self, events: u64) {
        self.taken.keep(Demand { samples: 0, events, bytes: self.bytes });
    }
}

impl FromRequestParts<Arc<App>> for Caller {
    type Rejection = NativeFailure;

    async fn from_request_parts(parts: &mut Parts, _: &Arc<App>) -> Result<Self, NativeFailure> {
        let caller = parts.extensions.get::<Self>().cloned();
        // A handler behind a public rule that asks for a caller is our mistake; refusing is the safe side of it.
        caller.ok_or_else(|| Failure::new(Kind::Internal, "this route has no caller").into())
    }
}

/// What requests of one tenant share.
#[derive(Debug)]
pub(crate) struct Tenant {
    pub(crate) id: TenantId,
    pub(crate) store: Arc<Store>,
    pub(crate) usage: Arc<TenantUsage>,
    pub(crate) snapshot: Snapshot,
    pub(crate) breaker: Breaker,
    pub(crate) last_answers: LastAnswers,
    /// Held while a page of events is read and searched for somebody who follows them.
    pub(crate) tailing: Semaphore,
    /// Held while the folder is walked, so that it is walked once. Never held across an await.
    measured: Mutex<Option<(Duration, u64)>>,
}

impl Tenant {
    pub(crate) fn new(id: TenantId, store: Arc<Store>, usage: Arc<TenantUsage>) -> Self {
        Self {
            id,
            store,
            usage,
            snapshot: Snapshot::default(),
            breaker: Breaker::default(),
            last_answers: LastAnswers::default(),
            tailing: Semaphore::new(1),
            measured: Mutex::new(None),
        }
    }
}
