//! What the store has done since it was opened, and how long that took.

use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use journal::JournalStats;
use model::Timestamp;
use platform::{Histogram, HistogramSnapshot};

use crate::Maintenance;

/// Counts that are added to without the store's lock.
#[derive(Debug)]
pub(super) struct Activity {
    pub(super) commits: Histogram,
    pub(super) flushes: Histogram,
    pub(super) compactions: Histogram,
    failures: AtomicU64,
    samples_flushed: AtomicU64,
    blocks_written: AtomicU64,
    blocks_compacted: AtomicU64,
    blocks_expired: AtomicU64,
    /// In milliseconds since the epoch; `i64::MIN` before the first.
    last_success: AtomicI64,
}

/// What a store has done since it was opened. Durations are in nanoseconds.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreActivity {
    /// How long commits took, those that failed or had nothing to do included.
    pub commits: HistogramSnapshot,
    /// How long it took to write the part of the head that was cut, failures included.
    pub flushes: HistogramSnapshot,
    /// How long it took to merge blocks, failures included.
    pub compactions: HistogramSnapshot,
    /// What maintenance has done in all.
    pub maintained: Maintenance,
    /// Steps of maintenance that failed.
    pub maintenance_failures: u64,
    /// When maintenance last succeeded, whether or not there was something to do.
    pub last_maintenance: Option<Timestamp>,
    /// What the journal has done.
    pub journal: JournalStats,
}

impl Activity {
    pub(super) fn new() -> Self {
        Self {
            commits: Histogram::of_durations(),
            flushes: Histogram::of_durations(),
            compactions: Histogram::of_durations(),
            failures: AtomicU64::new(0),
            samples_flushed: AtomicU64::new(0),
            blocks_written: AtomicU64::new(0),
            blocks_compacted: AtomicU64::new(0),
            blocks_expired: AtomicU64::new(0),
            last_success: AtomicI64::new(i64::MIN),
        }
    }

    /// Counts a step of maintenance that has `done` something, whether or not it failed later on.
    pub(super) fn maintained(&self, done: &Maintenance, is_failure: bool, now: Timestamp) {
        let add = |counter: &AtomicU64, more: u64| counter.fetch_add(more, Ordering::Relaxed);
        add(&self.samples_flushed, done.samples_flushed);
        add(&self.blocks_written, done.blocks_written);
        add(&self.blocks_compacted, done.blocks_compacted);
        add(&self.blocks_expired, done.blocks_expired);
        add(&self.failures, u64::from(is_failure));
        if !is_failure {
            self.last_success.store(now.as_millis(), Ordering::Relaxed);
        }
    }

    pub(super) fn snapshot(&self, journal: JournalStats) -> StoreActivity {
        let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let last_success = self.last_success.load(Ordering::Relaxed);
        StoreActivity {
            commits: self.commits.snapshot(),
            flushes: self.flushes.snapshot(),
            compactions: self.compactions.snapshot(),
            maintained: Maintenance {
                samples_flushed: read(&self.samples_flushed),
                blocks_written: read(&self.blocks_written),
                blocks_compacted: read(&self.blocks_compacted),
                blocks_expired: read(&self.blocks_expired),
            },
            maintenance_failures: read(&self.failures),
            last_maintenance: (last_success != i64::MIN)
                .then(|| Timestamp::from_millis(last_success)),
            journal,
        }
    }
}

/// Adds how long something took that began at `begun`, on the monotonic clock.
pub(super) fn add_since(durations: &Histogram, begun: Duration, now: Duration) {
    durations.add_duration(now.saturating_sub(begun));
}
