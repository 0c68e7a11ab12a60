//! The limits of a store.

use journal::Durability;

/// How a [`Store`](crate::Store) behaves and what it refuses.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct StoreConfig {
    /// Most series that may be known at a time.
    pub series_max: u64,
    /// Most of them that may have the same metric name.
    pub series_per_metric_max: u64,
    /// How far behind the newest sample of its series a sample may be, in milliseconds.
    pub out_of_order_window_ms: i64,
    /// How long samples are kept, in milliseconds; 0 keeps them for ever and accepts them of any age.
    pub retention_ms: i64,
    /// How far in the future a sample may be, in milliseconds.
    pub future_ms_max: i64,
    /// Most labels of a series, the metric's name included.
    pub labels_max: usize,
    /// Longest label name, in bytes.
    pub label_name_bytes_max: usize,
    /// Longest label value, in bytes; also the longest metric name.
    pub label_value_bytes_max: usize,
    /// Most metric names with a type, help text or unit; further ones are not remembered.
    pub metadata_max: usize,
    /// Longest help text or unit, in bytes; longer ones are cut.
    pub metadata_text_bytes_max: usize,
    /// The span of data after which the head is cut, in milliseconds. It is cut when it holds one and a half of it.
    pub block_range_ms: i64,
    /// Most memory of the samples of the head, in bytes: it is cut at half of it, and at all of it writes are
    /// refused until the part that was cut is on disk.
    pub head_bytes_max: u64,
    /// The head is cut when its part of the journal is this long, in bytes: it bounds the time of recovery.
    pub journal_bytes_max: u64,
    /// The longest journal record, in bytes: the limit of one batch.
    pub record_bytes_max: usize,
    /// Most bytes that may wait for the disk before writes are refused.
    pub pending_bytes_max: usize,
    /// What it means that a batch is durable.
    pub durability: Durability,
}

impl Default for StoreConfig {
    fn default() -> Self {
        const HOUR_MS: i64 = 3_600_000;
        Self {
            series_max: 1_000_000,
            series_per_metric_max: 10_000,
            out_of_order_window_ms: HOUR_MS / 2,
            retention_ms: 14 * 24 * HOUR_MS,
            future_ms_max: HOUR_MS / 6,
            labels_max: 64,
            label_name_bytes_max: 1024,
            label_value_bytes_max: 4096,
            metadata_max: 20_000,
            metadata_text_bytes_max: 1024,
            block_range_ms: 2 * HOUR_MS,
            head_bytes_max: 512 << 20,
            journal_bytes_max: 512 << 20,
            record_bytes_max: 64 << 20,
            pending_bytes_max: 128 << 20,
            durability: Durability::Fsync,
        }
    }
}
