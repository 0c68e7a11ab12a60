//! What this process uses, named as Prometheus' client libraries name it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use ingest::ProcessStats;
use platform::Fs;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

const CPU: Metric = Metric::new("cpu_seconds", "Seconds of CPU time that the process used.");
const THREADS: Metric = Metric::new("threads", "Number of threads.");
const START: Metric =
    Metric::new("start_time_seconds", "When the process started, in seconds since the epoch.");
const VIRTUAL: Metric = Metric::new("virtual_memory_bytes", "Address space that the process uses.");
const RESIDENT: Metric = Metric::new("resident_memory_bytes", "Memory that the process occupies.");
const OPEN_FILES: Metric = Metric::new("open_fds", "Number of open files.");

/// Reads `/proc/self`.
#[derive(Debug)]
pub(crate) struct ProcessCollector {
    fs: Arc<dyn Fs>,
}

impl ProcessCollector {
    pub(crate) const fn new(fs: Arc<dyn Fs>) -> Self {
        Self { fs }
    }
}

impl Collector for ProcessCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let stats = match ProcessStats::read(self.fs.as_ref(), Path::new("/proc")) {
            Ok(stats) => stats,
            Err(error) => {
                tracing::debug!(error = %error, "own process is not readable");
                return Ok(());
            }
        };
        let mut writer = Writer::new(encoder);
        writer.counter_seconds(CPU, stats.cpu_seconds)?;
        writer.gauge(THREADS, stats.threads)?;
        writer.gauge(START, stats.start_seconds)?;
        writer.gauge(VIRTUAL, stats.virtual_bytes)?;
        writer.gauge(RESIDENT, stats.resident_bytes)?;
        writer.gauge(OPEN_FILES, stats.open_files)
    }
}
