//! What the program says about itself: one registry, exposed at `/metrics` and written into the own store.
//!
//! Components count for themselves, with atomics and [`platform::Histogram`]; a collector here reads them and gives
//! them names. So no component depends on a metrics library, and all names are in this folder.

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use api::Exposition;
use parking_lot::Mutex;
use platform::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::text;
use prometheus_client::registry::Registry;

mod certificate;
mod encode;
mod events;
mod files;
mod log;
mod plain;
mod process;
mod pulls;
mod requests;
mod runtime;
mod stores;
mod traces;
mod usage;

pub(crate) use certificate::CertificateCollector;
pub(crate) use encode::approximate;
pub(crate) use events::EventsCollector;
pub(crate) use files::FilesCollector;
pub(crate) use log::LogCollector;
pub(crate) use process::ProcessCollector;
pub(crate) use pulls::PullsCollector;
pub(crate) use requests::RequestsCollector;
pub(crate) use runtime::RuntimeCollector;
pub(crate) use stores::StoresCollector;
pub(crate) use traces::TracesCollector;
pub(crate) use usage::UsageCollector;

/// How long a page is kept: what many ask for within this time is made once.
const PAGE_KEPT: Duration = Duration::from_millis(500);

/// Everything that the program counts.
pub(crate) struct Telemetry {
    registry: Registry,
    clock: Arc<dyn Clock>,
    /// Held while a page is made. Never held across an await.
    page: Mutex<Option<(Duration, Arc<str>)>>,
}

impl fmt::Debug for Telemetry {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Telemetry").finish_non_exhaustive()
    }
}

impl Telemetry {
    /// Returns what `collectors` say, those of this program under the prefix `tinyobs_`, image pulls under that of
    /// Pulltrace.
    pub(crate) fn new(
        clock: Arc<dyn Clock>,
        process: ProcessCollector,
        pulls: PullsCollector,
        collectors: Vec<Box<dyn Collector>>,
    ) -> Arc<Self> {
        let mut registry = Registry::default();
        registry.sub_registry_with_prefix("process").register_collector(Box::new(process));
        registry.sub_registry_with_prefix("pulltrace").register_collector(Box::new(pulls));
        let own = registry.sub_registry_with_prefix("tinyobs");
        for collector in collectors {
            own.register_collector(collector);
        }
        Arc::new(Self { registry, clock, page: Mutex::new(None) })
    }
}

impl Exposition for Telemetry {
    /// Returns what is counted now, or was a moment ago. Reads `/proc` and may walk data folders: blocking.
    fn open_metrics(&self) -> Arc<str> {
        let mut page = self.page.lock();
        let now = self.clock.monotonic();
        if let Some((at, text)) = &*page
            && now.saturating_sub(*at) < PAGE_KEPT
        {
            return Arc::clone(text);
        }
        let mut written = String::new();
        if text::encode(&mut written, &self.registry).is_err() {
            // Writing into a text does not fail; a collector that does must not take the others with it.
            tracing::error!("own metrics cannot be written");
        }
        let written: Arc<str> = written.into();
        *page = Some((now, Arc::clone(&written)));
        written
    }

    fn plain(&self) -> String {
        plain::from_open_metrics(&self.open_metrics())
    }
}

#[cfg(test)]
mod tests;
