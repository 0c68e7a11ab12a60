//! Where pulls go that ended.

use std::fmt::Debug;
use std::sync::Arc;

use futures_util::future::BoxFuture;
use model::TenantId;

use crate::error::SinkError;
use crate::view::PullView;

/// Takes pulls that ended, as events into the log.
///
/// At least once each, also across restarts: the pull's id tells repetitions.
pub trait PullSink: Send + Sync + Debug {
    /// Publishes pulls of a tenant that ended, in the order in which they did. All are published when it returns `Ok`.
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        ended: &'a [Arc<PullView>],
    ) -> BoxFuture<'a, Result<(), SinkError>>;
}

/// Drops what ended.
#[derive(Clone, Copy, Debug)]
pub struct NoSink;

impl PullSink for NoSink {
    fn publish<'a>(
        &'a self,
        _: &'a TenantId,
        _: &'a [Arc<PullView>],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        Box::pin(std::future::ready(Ok(())))
    }
}
