//! The built-in collector: this machine, named as node_exporter names it.
//!
//! It reads `/proc` through `platform::Fs`, so a test runs it over files of its own.
//! A part that cannot be read is left out and says so in `node_scrape_collector_success`.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{AppendError, AppendMode, SampleSink, WriteBatch};
use platform::{Clock, Fs, FsError};

use crate::page::{Metric, Page, push_series};

mod kernel;
mod storage;

/// The most that is read of one file below `/proc`.
const FILE_BYTES_MAX: u64 = 4 << 20;

const SUCCESS: Metric = Metric::gauge(
    "node_scrape_collector_success",
    "Whether a part of the collector could be read.",
);
const UP: Metric = Metric::gauge("up", "Whether the target could be read.");

/// Where to look and how to name what is found.
#[derive(Clone, Debug)]
pub struct HostCollectorConfig {
    /// The mount point of the proc file system.
    pub proc: PathBuf,
    /// The value of the label `instance`, such as the [`host_name`].
    pub instance: String,
}

/// Returns this machine's name; `localhost` if it has none.
#[must_use]
pub fn host_name(fs: &dyn Fs, proc: &Path) -> String {
    let name = fs.read(&proc.join("sys/kernel/hostname"), FILE_BYTES_MAX).unwrap_or_default();
    let name = String::from_utf8_lossy(&name);
    if name.trim().is_empty() { "localhost".to_owned() } else { name.trim().to_owned() }
}

/// Why a part of the machine could not be read.
#[derive(Debug, thiserror::Error)]
pub(crate) enum HostError {
    #[error(transparent)]
    Fs(#[from] FsError),
    #[error("'{}' is not as expected: {reason}", path.display())]
    Malformed { path: PathBuf, reason: &'static str },
}

/// Samples this machine.
pub struct HostCollector {
    host: Host,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn SampleSink>,
    instance: String,
}

impl fmt::Debug for HostCollector {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HostCollector").field("instance", &self.instance).finish_non_exhaustive()
    }
}

/// The files that say how the machine is doing.
#[derive(Debug)]
pub(crate) struct Host {
    fs: Arc<dyn Fs>,
    proc: PathBuf,
}

impl Host {
    fn path(&self, name: &str) -> PathBuf {
        self.proc.join(name)
    }

    fn read(&self, name: &str) -> Result<String, HostError> {
        let bytes = self.fs.read(&self.path(name), FILE_BYTES_MAX)?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn malformed(&self, name: &str, reason: &'static str) -> HostError {
        HostError::Malformed { path: self.path(name), reason }
    }
}

type Part = fn(&Host, &mut Page) -> Result<(), HostError>;

/// The parts of the machine by node_exporter's names of its collectors.
const PARTS: [(&str, Part); 9] = [
    ("stat", kernel::stat),
    ("meminfo", kernel::meminfo),
    ("loadavg", kernel::loadavg),
    ("uname", kernel::uname),
    ("filefd", kernel::filefd),
    ("vmstat", kernel::vmstat),
    ("netdev", kernel::netdev),
    ("diskstats", storage::diskstats),
    ("filesystem", storage::filesystem),
];

impl HostCollector {
    /// Returns a collector that appends to `sink`, as job `node`.
    #[must_use]
    pub fn new(
        config: HostCollectorConfig,
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn SampleSink>,
    ) -> Self {
        let host = Host { fs, proc: config.proc };
        Self { host, clock, sink, instance: config.instance }
    }

    /// Samples everything once, with the present time. Blocks on `/proc` for about a millisecond,
    /// and on a file system that does not answer for as long as the kernel waits for it.
    ///
    /// # Errors
    ///
    /// The sink takes nothing.
    pub fn sample(&self) -> Result<(), AppendError> {
        let now = self.clock.now();
        let mut host = Page::new();
        host.say(UP, 1.0);
        kernel::time(now, &mut host);
        for (name, part) in PARTS {
            let read = part(&self.host, &mut host);
            if let Err(error) = &read {
                tracing::debug!(part = name, error = %error, "part of the host is not readable");
            }
            host.say_with(SUCCESS, &[("collector", name)], f64::from(u8::from(read.is_ok())));
        }
        let series = match host.series(&[("instance", &self.instance), ("job", "node")]) {
            Ok(series) => series,
            Err(error) => {
                tracing::error!(error = %error, "collector says a label twice");
                return Ok(());
            }
        };
        let mut batch = WriteBatch::new();
        push_series(&mut batch, &series, now);
        host.push_metadata(&mut batch);
        self.sink.append(&batch, AppendMode::Partial)?;
        Ok(())
    }
}

/// Splits a line of `name: value kB`-like text at its first colon.
fn split_colon(line: &str) -> Option<(&str, &str)> {
    let (name, rest) = line.split_once(':')?;
    Some((name.trim(), rest.trim()))
}

fn number(text: &str) -> Option<f64> {
    text.parse().ok()
}

#[cfg(test)]
mod tests;
