//! What the store holds in memory, behind one lock.

use std::collections::{BTreeMap, HashMap};
use std::time::Duration;

use journal::Sequence;
use model::MetricMetadata;

use super::append::Scratch;
use super::blocks::BlockSet;
use super::keys::KeyCache;
use crate::hash::KeyedHash;
use crate::head::Generation;
use crate::index::Index;

/// Why samples are refused.
#[derive(Clone, Copy, Debug)]
pub(super) enum Reason {
    Labels,
    OutOfOrder,
    SeriesLimit,
    SeriesPerMetricLimit,
    TooNew,
    TooOld,
}

/// The names of the [`Reason`]s, in the same order.
pub(super) const REASONS: [&str; 6] =
    ["labels", "out_of_order", "series_limit", "series_per_metric_limit", "too_new", "too_old"];

/// Most metrics whose fastest growing label is remembered.
const FASTEST_LABELS_MAX: usize = 64;
/// Most series that are looked at to find it.
const FASTEST_LABEL_SERIES_MAX: usize = 20_000;

/// The head, the blocks, and what is counted.
#[derive(Debug)]
pub(super) struct State {
    pub(super) hash: KeyedHash,
    pub(super) index: Index,
    pub(super) keys: KeyCache,
    pub(super) active: Generation,
    pub(super) frozen: Option<Frozen>,
    pub(super) blocks: BlockSet,
    /// Changes whenever samples move from one place to another.
    pub(super) epoch: u64,
    pub(super) metadata: BTreeMap<String, MetricMetadata>,
    /// What the numbers of series in new records belong to: the first record that could have used them.
    pub(super) numbering: u64,
    /// The last record that was queued.
    pub(super) last_sequence: Sequence,
    /// Length of the records of the active generation, in bytes.
    pub(super) journal_bytes: u64,
    /// When the active generation got its first sample, on the monotonic clock.
    pub(super) active_since: Option<Duration>,
    /// When the active generation got its last sample, on the monotonic clock.
    pub(super) appended_at: Option<Duration>,
    /// Whether a series was refused since the last cut because there are too many.
    pub(super) series_refused: bool,
    pub(super) closed: bool,
    /// Why nothing is accepted for now: the disk is full.
    pub(super) suspended: Option<String>,
    pub(super) counters: Counters,
    pub(super) fastest_labels: HashMap<String, (u64, String)>,
    pub(super) scratch: Scratch,
}

/// A generation that is being written to blocks.
#[derive(Debug)]
pub(super) struct Frozen {
    pub(super) generation: Generation,
    /// The labels of its series, when its numbers are not those of the store's index any more.
    pub(super) index: Option<Index>,
    /// The first record that is not in it.
    pub(super) end: Sequence,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(super) struct Counters {
    pub(super) appended: u64,
    pub(super) out_of_order: u64,
    pub(super) replaced: u64,
    pub(super) rejected: [u64; REASONS.len()],
    pub(super) metadata_dropped: u64,
}

impl State {
    pub(super) fn new(hash: KeyedHash) -> Self {
        Self {
            index: Index::new(hash.clone()),
            hash,
            keys: KeyCache::default(),
            active: Generation::new(),
            frozen: None,
            blocks: BlockSet::default(),
            epoch: 0,
            metadata: BTreeMap::new(),
            numbering: 1,
            last_sequence: Sequence(0),
            journal_bytes: 0,
            active_since: None,
            appended_at: None,
            series_refused: false,
            closed: false,
            suspended: None,
            counters: Counters::default(),
            fastest_labels: HashMap::new(),
            scratch: Scratch::default(),
        }
    }

    /// Returns the label of a metric with the most values. Remembered until an eighth more series are there, so that
    /// a storm of refusals does not count them again each time.
    pub(super) fn fastest_label(&mut self, metric: &str) -> Option<String> {
        let series = self.index.metric_series(metric);
        if let Some((counted, label)) = self.fastest_labels.get(metric)
            && series >= *counted
            && series - counted <= counted / 8
        {
            return Some(label.clone());
        }
        let label = self.index.fastest_label(metric, FASTEST_LABEL_SERIES_MAX)?.to_owned();
        if self.fastest_labels.len() >= FASTEST_LABELS_MAX {
            self.fastest_labels.clear();
        }
        self.fastest_labels.insert(metric.to_owned(), (series, label.clone()));
        Some(label)
    }

    /// Applies samples that the journal holds.
    pub(super) fn apply(&mut self, samples: &[crate::wal::NumberedSample]) {
        use crate::head::Applied;
        for (series, time, bits) in samples {
            match self.active.apply(*series, *time, *bits) {
                Applied::InOrder | Applied::Known => {}
                Applied::Late => self.counters.out_of_order += 1,
                Applied::Replaced => self.counters.replaced += 1,
            }
        }
    }

    /// Adds a series that is new.
    pub(super) fn insert_series(&mut self, labels: &model::Labels) -> u32 {
        let series = self.index.insert(labels);
        self.active.push_series();
        series
    }

    /// Returns the memory of the head, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        let frozen = self.frozen.as_ref().map_or(0, |frozen| {
            frozen.generation.bytes() + frozen.index.as_ref().map_or(0, Index::bytes)
        });
        self.active.bytes() + self.index.bytes() + self.keys.bytes() + frozen
    }
}
