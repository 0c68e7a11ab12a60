//! What the program says about itself and its machine: gathered from the parts, written into the own store.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{ApiStats, Exposition as _, Observability, TraceContext};
use ingest::{HostCollector, HostCollectorConfig, OwnScrape, host_name};
use model::{SampleSink, TenantId};
use platform::Threads;
use prometheus_client::collector::Collector;
use tokio::sync::mpsc;

use crate::Failure;
use crate::config::Config;
use crate::event_series::EventSeries;
use crate::profiles::ProcessProfiler;
use crate::pull_series::PullSeries;
use crate::serve::Parts;
use crate::telemetry::{
    CertificateCollector, EventsCollector, FilesCollector, LogCollector, ProcessCollector,
    PullsCollector, RequestsCollector, RuntimeCollector, StoresCollector, Telemetry,
    TracesCollector, UsageCollector,
};
use crate::traces::Propagation;
use crate::{tenant_series, threads};

/// Gathers what the parts count, and how requests are observed. Must be called within the runtime.
pub(crate) fn telemetry(config: &Config, parts: &Parts) -> (Arc<Telemetry>, Observability) {
    let stores = parts.tenants.stores().clone();
    let stats = Arc::new(ApiStats::new());
    let requests = RequestsCollector::new(
        Arc::clone(&stats),
        Arc::clone(&parts.serve_stats),
        Arc::clone(&parts.clock),
    );
    let mut collectors: Vec<Box<dyn Collector>> = vec![
        Box::new(RuntimeCollector::new(tokio::runtime::Handle::current())),
        Box::new(FilesCollector::new(Arc::clone(&parts.file_stats))),
        Box::new(StoresCollector::new(Arc::clone(&parts.clock), stores)),
        Box::new(requests),
        Box::new(CertificateCollector::new(parts.tls.clone())),
        Box::new(UsageCollector::new(
            Arc::clone(parts.access.meters()),
            parts.limits.clone(),
            Arc::clone(&parts.clock),
        )),
        Box::new(LogCollector::new(parts.log.sampler())),
        Box::new(EventsCollector {
            gateway: Arc::clone(&parts.events.events.gateway),
            log: Arc::clone(&parts.events.events.log),
            dead_letters: Arc::clone(&parts.events.events.dead_letters),
        }),
    ];
    let mut traces: Option<Arc<dyn TraceContext>> = None;
    if let Some(exporter) = &parts.exporter {
        collectors.push(Box::new(TracesCollector::new(exporter.stats())));
        traces = Some(Arc::new(Propagation::default()));
    }
    let process = ProcessCollector::new(Arc::clone(&parts.fs));
    let pulls = PullsCollector(Arc::clone(&parts.pulls));
    let telemetry = Telemetry::new(Arc::clone(&parts.clock), process, pulls, collectors);
    let observability = Observability {
        stats,
        exposition: Arc::clone(&telemetry) as _,
        profiler: Arc::new(ProcessProfiler::new(
            Arc::clone(&parts.fs),
            parts.tenants.stores().clone(),
        )),
        metrics_public: config.metrics_public,
        traces,
        slow_request: Duration::from_millis(config.log.slow_request_ms),
    };
    (telemetry, observability)
}

/// Starts the thread that writes this machine and this program into the default tenant's store; unless it is off.
pub(crate) fn start(
    config: &Config,
    parts: &Parts,
    telemetry: Arc<Telemetry>,
    threads: &mut Threads,
    fatal: &mpsc::Sender<String>,
) -> Result<Option<threads::Stop>, Failure> {
    if !config.collector.enabled {
        return Ok(None);
    }
    let proc = Path::new("/proc");
    let instance = host_name(parts.fs.as_ref(), proc);
    let mut own =
        OwnScrape::new(&instance, Arc::clone(&parts.clock), Arc::clone(&parts.store) as _)
            .context("take the host's name as a label")?;
    let collector = HostCollector::new(
        HostCollectorConfig { proc: proc.to_owned(), instance },
        Arc::clone(&parts.fs),
        Arc::clone(&parts.clock),
        Arc::clone(&parts.store) as _,
    );
    let interval = Duration::from_millis(config.collector.interval_ms);
    let stop = threads::every("collector", interval, threads, fatal, move || {
        let own = own.store(|| telemetry.plain());
        if let Err(error) = collector.sample().and(own) {
            tracing::debug!(error = %error, "collected samples were not stored");
        }
    })?;
    Ok(Some(stop))
}

/// Starts the thread that stores what is counted for tenants, events and image pulls, in the metrics of each.
pub(crate) fn start_tenant_series(
    parts: &Parts,
    threads: &mut Threads,
    fatal: &mpsc::Sender<String>,
) -> Result<threads::Stop, Failure> {
    let instance = host_name(parts.fs.as_ref(), Path::new("/proc"));
    let (clock, stores) = (Arc::clone(&parts.clock), parts.tenants.stores().clone());
    let (gateway, pulls) = (Arc::clone(&parts.events.events.gateway), Arc::clone(&parts.pulls));
    let mut events = EventSeries::new(instance.clone(), clock.now());
    let mut of_pulls = PullSeries::new(instance, clock.now());
    threads::every("tenant-series", tenant_series::INTERVAL, threads, fatal, move || {
        let now = clock.now();
        let sink = |tenant: &TenantId| stores.get(tenant).map(|store| store as Arc<dyn SampleSink>);
        events.store(&gateway.kinds(), now, sink);
        of_pulls.store(&pulls.totals().tenants, now, sink);
    })
}
