//! The newest state of a tenant's pulls, the order of its updates, and those who follow them.
//!
//! Every change of a pull is an update with a number. The updates lie in a ring that all subscribers read, each from a
//! position of its own; an update that only tells progress leaves the ring when a newer one of the same pull comes. So a
//! subscriber costs a few words, a slow one no more than a fast one, and nobody misses an end: who is further behind
//! than the ring reaches is told everything that runs and everything that ended since.

mod board;
mod marks;
mod subscription;

use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};

use parking_lot::{Mutex, RwLock};
use platform::Timestamp;
use tokio::sync::Notify;

use crate::settings::PullsSettings;
use crate::update::{Update, UpdateKind};
use crate::view::PullView;

use board::Board;
pub(crate) use board::Place;
use marks::Marks;
pub(crate) use subscription::Counted;
pub use subscription::{Batch, Subscription};

/// Something that happened to a running pull.
#[derive(Debug)]
pub(crate) struct Change {
    pub(crate) place: Place,
    pub(crate) kind: UpdateKind,
    pub(crate) view: Arc<PullView>,
    pub(crate) layer: Option<usize>,
}

/// The newest state of a tenant's pulls, and the order of its updates.
#[derive(Debug)]
pub(crate) struct Hub {
    /// Locked inside a node's lock, and never the other way round. Held for as long as it takes to move pointers.
    board: RwLock<Board>,
    /// Wakes those who follow all nodes. Who follows one node is woken by that.
    news: Arc<Notify>,
    layer_followers: AtomicUsize,
    /// Locked when somebody comes or goes.
    marks: Mutex<Marks>,
    resyncs: AtomicU64,
}

impl Hub {
    /// Returns a hub without pulls. `run` tells this run of the server from others.
    pub(crate) fn new(run: u64, settings: &PullsSettings) -> Self {
        Self {
            board: RwLock::new(Board::new(run, settings)),
            news: Arc::default(),
            layer_followers: AtomicUsize::new(0),
            marks: Mutex::default(),
            resyncs: AtomicU64::new(0),
        }
    }

    /// Adds a pull and tells that it began. Returns `None` where as many run as may.
    pub(crate) fn begin(&self, at: Timestamp, view: &Arc<PullView>) -> Option<Place> {
        let place = self.board.write().begin(at, view)?;
        self.wake();
        Some(place)
    }

    /// Tells what happened to pulls of one node, in order, and empties the list.
    pub(crate) fn publish(&self, at: Timestamp, changes: &mut Vec<Change>) {
        if changes.is_empty() {
            return;
        }
        {
            let mut board = self.board.write();
            for change in changes.drain(..) {
                board.apply(at, change);
            }
        }
        self.wake();
    }

    /// Adds a pull that ended in an earlier run. Nobody is told.
    pub(crate) fn restore_ended(&self, view: Arc<PullView>) {
        self.board.write().restore_ended(view);
    }

    /// Forgets pulls that ended before `before`.
    pub(crate) fn expire(&self, at: Timestamp, before: Timestamp) {
        if self.board.write().expire(at, before) {
            self.wake();
        }
    }

    /// Returns the newest update of each pull: those that run, then those that ended, in the order in which they did.
    pub(crate) fn all(&self) -> Vec<Arc<Update>> {
        let board = self.board.read();
        board.running().chain(board.ended()).cloned().collect()
    }

    /// Returns the newest update of each pull that runs.
    pub(crate) fn running(&self) -> Vec<Arc<Update>> {
        self.board.read().running().cloned().collect()
    }

    /// Returns how many pulls that ended are in memory.
    pub(crate) fn ended_count(&self) -> usize {
        self.board.read().ended().len()
    }

    /// Returns whether anybody wants to hear of layers.
    pub(crate) fn layers_are_followed(&self) -> bool {
        self.layer_followers.load(Ordering::Relaxed) > 0
    }

    /// Returns how often a subscriber fell behind.
    pub(crate) fn resyncs(&self) -> u64 {
        self.resyncs.load(Ordering::Relaxed)
    }

    fn wake(&self) {
        self.news.notify_waiters();
    }
}
