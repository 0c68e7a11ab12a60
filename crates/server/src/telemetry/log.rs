//! The log's own lines.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};
use crate::logging::Sampler;

const LINES: Metric = Metric::new("log_lines", "Lines that were logged, by level.");
const SUPPRESSED: Metric = Metric::new(
    "log_lines_suppressed",
    "Lines that were counted instead of logged because there were too many of their kind.",
);

/// Reads what the log counts.
#[derive(Debug)]
pub(crate) struct LogCollector {
    sampler: Arc<Sampler>,
}

impl LogCollector {
    pub(crate) const fn new(sampler: Arc<Sampler>) -> Self {
        Self { sampler }
    }
}

impl Collector for LogCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        let shown = self.sampler.shown();
        writer.counters(LINES, shown.map(|(level, lines)| ([("level", level)], lines)))?;
        writer.counter(SUPPRESSED, self.sampler.suppressed())
    }
}
