//! What the store says about itself.

use model::Timestamp;

/// Sizes and counts of a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreStats {
    /// Samples that are kept: in blocks and in the head.
    pub samples: u64,
    /// Series that are kept: those of the head, or those of the block with the most when that has more.
    pub series: u64,
    /// Allocated bytes of all files, the journal included.
    pub bytes_on_disk: u64,
    /// The time of the oldest sample.
    pub oldest: Option<Timestamp>,
    /// The time of the newest sample.
    pub newest: Option<Timestamp>,
    /// Series with samples in the head.
    pub head_series: u64,
    /// Samples in the head, those included that are being written as a block.
    pub head_samples: u64,
    /// Memory of the head, in bytes.
    pub head_bytes: u64,
    /// Blocks on disk.
    pub blocks: u64,
    /// Samples that were taken in since the start.
    pub samples_appended_total: u64,
    /// Samples of them that were older than the newest one of their series.
    pub samples_out_of_order_total: u64,
    /// Samples of them that replaced another value at the same time.
    pub samples_replaced_total: u64,
    /// Samples that were refused since the start, by reason; reasons ascending, all of them always present.
    pub samples_rejected_total: Vec<(&'static str, u64)>,
    /// Descriptions of metrics that were not remembered because there are too many.
    pub metadata_dropped_total: u64,
}

/// How many series there are, and how many there may be.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Cardinality {
    /// Series that count towards the limits.
    pub total_series: u64,
    /// Different metric names among them.
    pub unique_metrics: u64,
    /// The metric with the most series; empty when there is none.
    pub max_series_metric: String,
    /// How many it has.
    pub max_series_count: u64,
    /// Most series that are allowed.
    pub series_limit: u64,
    /// Most series of one metric that are allowed.
    pub per_metric_limit: u64,
}

/// What is wrong with a store.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct StoreHealth {
    /// Why nothing is accepted any more.
    pub read_only: Option<String>,
    /// Damaged files, each with the reason: those that were set aside, and blocks of which a part cannot be read.
    /// The rest is served.
    pub quarantined: Vec<String>,
    /// Why the last maintenance failed; empty again after the next success.
    pub last_maintenance_error: Option<String>,
}

/// What a step of maintenance has done.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Maintenance {
    /// Samples written from the head to blocks.
    pub samples_flushed: u64,
    /// Blocks written from the head.
    pub blocks_written: u64,
    /// Blocks replaced by larger ones.
    pub blocks_compacted: u64,
    /// Blocks deleted because retention no longer keeps what they hold.
    pub blocks_expired: u64,
}

/// What was found when a store was opened.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct RecoveryReport {
    /// Batches read back from the journal.
    pub records: u64,
    /// Samples read back from the journal.
    pub samples: u64,
    /// Series of the head afterwards.
    pub series: u64,
    /// Bytes of an unfinished write that were cut off the journal's end.
    pub torn_bytes: u64,
    /// Blocks that are served.
    pub blocks: u64,
    /// Damaged files that were set aside, each with the reason.
    pub quarantined: Vec<String>,
}
