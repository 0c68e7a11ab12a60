//! What waits to be written.

use std::collections::VecDeque;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::TenantId;
use parking_lot::Mutex;

use crate::identity::Key;
use crate::view::PullView;

/// A pull as the state database keeps it.
#[derive(Clone, Debug)]
pub(crate) struct Entry {
    /// What tells it from the others of its node, for when it is running and the server starts again.
    pub(crate) key: Key,
    pub(crate) view: Arc<PullView>,
    pub(crate) manifest_digest: Arc<str>,
}

/// A pull that waits to be written.
#[derive(Clone, Debug)]
pub(super) struct Waiting {
    pub(super) number: u64,
    pub(super) tenant: TenantId,
    pub(super) entry: Entry,
}

/// What waits to be written, in order. Where too much waits, beginnings go before ends.
#[derive(Debug)]
pub(crate) struct Queue {
    waiting: Mutex<Numbered>,
    entries_max: usize,
    dropped: AtomicU64,
}

#[derive(Debug, Default)]
struct Numbered {
    next: u64,
    entries: VecDeque<Waiting>,
}

impl Queue {
    pub(super) fn new(entries_max: usize) -> Self {
        Self { waiting: Mutex::default(), entries_max, dropped: AtomicU64::new(0) }
    }

    /// Adds a pull. Never waits.
    pub(crate) fn push(&self, tenant: &TenantId, entry: Entry) {
        let mut waiting = self.waiting.lock();
        if waiting.entries.len() >= self.entries_max {
            self.dropped.fetch_add(1, Ordering::Relaxed);
            if entry.view.ended_at.is_none() {
                return;
            }
            let begun = waiting.entries.iter().position(|old| old.entry.view.ended_at.is_none());
            waiting.entries.remove(begun.unwrap_or(0));
        }
        let number = waiting.next;
        waiting.next += 1;
        waiting.entries.push_back(Waiting { number, tenant: tenant.clone(), entry });
    }

    /// Returns the oldest entries, at most `entries_max`.
    pub(super) fn oldest(&self, entries_max: usize) -> Vec<Waiting> {
        self.waiting.lock().entries.iter().take(entries_max).cloned().collect()
    }

    /// Removes the entries up to a number.
    pub(super) fn remove_up_to(&self, number: u64) {
        let mut waiting = self.waiting.lock();
        while waiting.entries.front().is_some_and(|oldest| oldest.number <= number) {
            waiting.entries.pop_front();
        }
    }

    /// Returns an entry that waits and ended: it is not in the state database yet.
    pub(crate) fn len(&self) -> usize {
        self.waiting.lock().entries.len()
    }

    pub(super) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }
}
