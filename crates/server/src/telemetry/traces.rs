//! What becomes of spans.

use std::fmt;
use std::sync::Arc;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};
use crate::traces::Stats;

const EXPORTED: Metric =
    Metric::new("trace_spans_exported", "Spans that the receiver of traces took.");
const LOST: Metric = Metric::new("trace_spans_lost", "Spans that nobody took, by reason.");
const QUEUED: Metric = Metric::new("trace_spans_queued", "Spans that wait to be sent.");

/// Reads what the exporter of traces counts.
#[derive(Debug)]
pub(crate) struct TracesCollector {
    stats: Arc<Stats>,
}

impl TracesCollector {
    pub(crate) const fn new(stats: Arc<Stats>) -> Self {
        Self { stats }
    }
}

impl Collector for TracesCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        writer.counter(EXPORTED, self.stats.exported())?;
        let lost = [
            ([("reason", "queue_full")], self.stats.dropped()),
            ([("reason", "refused")], self.stats.failed()),
        ];
        writer.counters(LOST, lost)?;
        writer.gauge(QUEUED, self.stats.queued())
    }
}
