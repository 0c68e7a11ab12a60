//! What is counted of a tenant's pulls.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::Mutex;
use platform::Histogram;
use report::ImageReference;

use crate::totals::{GROUPS_MAX, PULL_DURATION_BOUNDS};
use crate::view::{PullFailure, PullState, PullView};

/// The name of those that are too many to be counted one by one, and of those without a name.
const OTHER: &str = "other";
/// Most reasons of failures that are counted one by one.
const REASONS_MAX: usize = 64;

/// What is counted of a tenant's pulls, from when the program began.
#[derive(Debug)]
pub(crate) struct Counters {
    pub(crate) started: AtomicU64,
    pub(crate) completed: AtomicU64,
    pub(crate) transferred_bytes: AtomicU64,
    pub(crate) cached_bytes: AtomicU64,
    pub(crate) reports: AtomicU64,
    pub(crate) reports_refused: AtomicU64,
    pub(crate) pulls_refused: AtomicU64,
    pub(crate) duration: Histogram,
    pub(crate) grouped: Mutex<Grouped>,
}

/// Counts of pulls that ended, by what they have in common.
#[derive(Clone, Debug, Default)]
pub(crate) struct Grouped {
    /// Failures, by reason.
    pub(crate) reasons: BTreeMap<Arc<str>, u64>,
    pub(crate) registries: Groups,
    pub(crate) namespaces: Groups,
}

/// Counts of pulls that ended, by name.
#[derive(Clone, Debug, Default)]
pub(crate) struct Groups(pub(crate) BTreeMap<Arc<str>, Ended>);

/// Counts of pulls that ended.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct Ended {
    pub(crate) completed: u64,
    pub(crate) failed: u64,
    pub(crate) transferred_bytes: u64,
}

impl Default for Counters {
    fn default() -> Self {
        Self {
            started: AtomicU64::new(0),
            completed: AtomicU64::new(0),
            transferred_bytes: AtomicU64::new(0),
            cached_bytes: AtomicU64::new(0),
            reports: AtomicU64::new(0),
            reports_refused: AtomicU64::new(0),
            pulls_refused: AtomicU64::new(0),
            duration: Histogram::new(PULL_DURATION_BOUNDS),
            grouped: Mutex::default(),
        }
    }
}

impl Counters {
    /// Counts a pull that ended.
    pub(crate) fn ended(&self, pull: &PullView) {
        self.transferred_bytes.fetch_add(pull.transferred_bytes, Ordering::Relaxed);
        self.cached_bytes.fetch_add(pull.cached_bytes, Ordering::Relaxed);
        if pull.state == PullState::Completed {
            self.completed.fetch_add(1, Ordering::Relaxed);
            let millis = pull.ended_at.map_or(0, |ended| ended.millis_since(pull.started_at));
            self.duration.add(u64::try_from(millis).unwrap_or(0));
        }
        let registry = registry_of(&pull.image);
        let mut grouped = self.grouped.lock();
        if let (PullState::Failed, Some(PullFailure { reason, .. })) = (pull.state, &pull.failure) {
            let reason = name_in(&grouped.reasons, reason, REASONS_MAX);
            *grouped.reasons.entry(reason).or_default() += 1;
        }
        grouped.registries.add(&registry, pull);
        for (index, pod) in pull.pods.iter().enumerate() {
            let is_first = |pods: &[crate::cluster::PodReference]| {
                pods.iter().all(|before| before.namespace != pod.namespace)
            };
            if is_first(&pull.pods[..index]) {
                grouped.namespaces.add(&pod.namespace, pull);
            }
        }
    }
}

impl Groups {
    fn add(&mut self, name: &Arc<str>, pull: &PullView) {
        self.0.entry(name_in(&self.0, name, GROUPS_MAX)).or_default().add(pull);
    }
}

impl Ended {
    pub(crate) fn add(&mut self, pull: &PullView) {
        let is_completed = pull.state == PullState::Completed;
        self.completed += u64::from(is_completed);
        self.failed += u64::from(!is_completed);
        self.transferred_bytes = self.transferred_bytes.saturating_add(pull.transferred_bytes);
    }
}

/// Returns the registry of an image.
pub(crate) fn registry_of(image: &str) -> Arc<str> {
    ImageReference::parse(image).map_or_else(|_| OTHER.into(), |image| image.registry().into())
}

/// Returns a name, or the one of all others where the table is full.
pub(crate) fn name_in<T>(
    table: &BTreeMap<Arc<str>, T>,
    name: &Arc<str>,
    entries_max: usize,
) -> Arc<str> {
    if table.contains_key(name) || table.len() < entries_max {
        Arc::clone(name)
    } else {
        OTHER.into()
    }
}
