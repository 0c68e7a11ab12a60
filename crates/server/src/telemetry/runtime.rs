//! The program itself: its version, and the tasks that it runs.

use std::fmt;

use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tokio::runtime::Handle;

use super::encode::{Metric, Writer};

const BUILD: Metric = Metric::new("build_info", "The version of this program; always 1.");
const WORKERS: Metric = Metric::new("runtime_workers", "Threads that run tasks.");
const TASKS: Metric = Metric::new("runtime_tasks", "Tasks that have not ended.");
const QUEUED: Metric =
    Metric::new("runtime_queued_tasks", "Tasks that wait for a thread to take them.");

/// Reads tokio's counts.
#[derive(Debug)]
pub(crate) struct RuntimeCollector {
    runtime: Handle,
}

impl RuntimeCollector {
    pub(crate) const fn new(runtime: Handle) -> Self {
        Self { runtime }
    }
}

impl Collector for RuntimeCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        writer.gauges(BUILD, [([("version", env!("CARGO_PKG_VERSION"))], 1_u64)])?;
        let runtime = self.runtime.metrics();
        writer.gauge(WORKERS, runtime.num_workers() as u64)?;
        writer.gauge(TASKS, runtime.num_alive_tasks() as u64)?;
        writer.gauge(QUEUED, runtime.global_queue_depth() as u64)
    }
}
