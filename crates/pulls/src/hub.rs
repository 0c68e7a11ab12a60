//! Updates, and those who follow them.

use std::sync::Arc;

use crate::update::{Update, UpdateId};

/// What a subscriber is told at once.
#[derive(Clone, Debug, Default)]
pub struct Batch {
    /// Whether something was missed: then `updates` are of all pulls that run, and of those that ended since. What else
    /// the subscriber knows is gone.
    pub resync: bool,
    /// The updates, in order.
    pub updates: Vec<Arc<Update>>,
    /// To go on from after an interruption; at least the id of the last update.
    pub position: Option<UpdateId>,
}

/// Somebody who follows pulls. Dropping it ends that.
#[derive(Debug)]
pub struct Subscription {
    pub(crate) first: Option<Batch>,
}

impl Subscription {
    /// Waits for the next batch. The first comes at once, and holds all pulls in memory, or what was missed since the
    /// update that was named. Then there are at most as many in a second as the settings say.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Batch {
        match self.first.take() {
            Some(batch) => batch,
            None => std::future::pending().await,
        }
    }
}
