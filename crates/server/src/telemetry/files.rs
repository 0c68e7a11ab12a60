//! What is done with the data folder.

use std::fmt;
use std::sync::Arc;

use platform::{FsOperation, FsStats};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

const OPERATIONS: Metric =
    Metric::new("storage_operations", "File operations of the stores, by kind.");
const ERRORS: Metric =
    Metric::new("storage_errors", "File operations that the disk refused, by kind.");
const BYTES: Metric = Metric::new("storage_io_bytes", "Bytes read from and written to files.");
const DURATIONS: Metric =
    Metric::new("storage_operation_duration_seconds", "How long file operations take.");

/// The operations whose duration depends on the disk rather than on its cache.
const TIMED: [FsOperation; 4] =
    [FsOperation::Read, FsOperation::Append, FsOperation::SyncData, FsOperation::SyncDir];

/// Reads what a metered file system counted.
#[derive(Debug)]
pub(crate) struct FilesCollector {
    stats: Arc<FsStats>,
}

impl FilesCollector {
    pub(crate) const fn new(stats: Arc<FsStats>) -> Self {
        Self { stats }
    }
}

impl Collector for FilesCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        let stats = &self.stats;
        let by_kind = |value: &dyn Fn(FsOperation) -> u64| {
            FsOperation::ALL.map(|kind| ([("operation", kind.as_str())], value(kind)))
        };
        writer.counters(OPERATIONS, by_kind(&|kind| stats.durations(kind).count()))?;
        writer.counters(ERRORS, by_kind(&|kind| stats.failed(kind)))?;
        let directions = [
            ([("direction", "read")], stats.bytes_read()),
            ([("direction", "write")], stats.bytes_written()),
        ];
        writer.counters(BYTES, directions)?;
        let timed = TIMED.map(|kind| ([("operation", kind.as_str())], stats.durations(kind)));
        writer.durations(DURATIONS, timed)
    }
}
