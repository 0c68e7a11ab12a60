//! Whoever sends a request, and the data that the request is for.

use std::sync::Arc;
use std::time::Duration;

use access::Principal;
use axum::extract::FromRequestParts;
use http::request::Parts;
use model::TenantId;
use parking_lot::Mutex;
use tsdb::Store;

use crate::breaker::Breaker;
use crate::failure::{Failure, Kind, NativeFailure};
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
    pub(crate) tenant: Arc<Tenant>,
}

impl Caller {
    /// Returns the metrics of the tenant.
    pub(crate) fn store(&self) -> &Arc<Store> {
        &self.tenant.store
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
    pub(crate) snapshot: Snapshot,
    pub(crate) breaker: Breaker,
    pub(crate) last_answers: LastAnswers,
    /// Held while the folder is walked, so that it is walked once. Never held across an await.
    measured: Mutex<Option<(Duration, u64)>>,
}

impl Tenant {
    pub(crate) fn new(id: TenantId, store: Arc<Store>) -> Self {
        Self {
            id,
            store,
            snapshot: Snapshot::default(),
            breaker: Breaker::default(),
            last_answers: LastAnswers::default(),
            measured: Mutex::new(None),
        }
    }
}
