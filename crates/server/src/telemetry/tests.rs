//! The registry over real parts.

mod deployed;

use std::collections::BTreeSet;
use std::path::Path;

use ::events::{
    CustomSchemas, DeadLettersConfig, EmbeddedConfig, EmbeddedDeadLetters, EmbeddedLog, Gateway,
    GatewaySettings,
};
use ::pulls::{NoSink, Pulls, PullsParts, PullsSettings};
use access::{Meters, RefusalReason, TenantLimits};
use api::LimitsInForce;
use model::{TenantId, Timestamp};
use platform::{Fs, MeteredFs, SimClock, SimFs, SimRng, SystemFs};
use state::{Database, StateUrl};
use tokio::runtime::Runtime;
use tsdb::{Store, StoreConfig, Stores};

use super::*;
use crate::logging::{Sampler, Sampling};

fn telemetry() -> Arc<Telemetry> {
    let clock: Arc<dyn Clock> = Arc::new(SimClock::new(Timestamp::from_millis(1_000)));
    let disk = MeteredFs::new(SimFs::new(), Arc::clone(&clock));
    let file_stats = disk.stats();
    let (store, _) = Store::open(
        disk as Arc<dyn Fs>,
        Arc::clone(&clock),
        SimRng::new(1),
        Path::new("/data/metrics"),
        StoreConfig::default(),
    )
    .expect("a store");
    let stores = Stores::new();
    stores.add(TenantId::default_tenant(), store);
    let sampling = Sampling { lines_max: 1, interval: Duration::from_secs(1) };
    let meters = Arc::new(Meters::new(1, 1));
    let usage = meters.tenant(&TenantId::default_tenant(), clock.now()).expect("room");
    usage.count_refusal(RefusalReason::QuotaBytes);
    let quota = TenantLimits { bytes_per_day_max: Some(7), ..TenantLimits::default() };
    usage.set_limits(Arc::new(quota));
    let runtime = Runtime::new().expect("a runtime");
    let state = tempfile::tempdir().expect("a folder");
    let url = StateUrl::Sqlite { path: state.path().join("state.sqlite") };
    let files = SystemFs::new();
    let opened = Database::open(url, files.as_ref(), Arc::clone(&clock));
    let database = runtime.block_on(opened).expect("a database");
    let (parts, settings) = (Arc::clone(&clock), PullsSettings::default());
    let parts =
        PullsParts { clock: parts, database: database.clone(), settings, sink: Arc::new(NoSink) };
    let pulls = runtime.block_on(Pulls::open(parts)).expect("pulls");
    Telemetry::new(
        Arc::clone(&clock),
        ProcessCollector::new(SystemFs::new()),
        PullsCollector(pulls),
        vec![
            Box::new(events(&runtime, &clock, database)),
            Box::new(RuntimeCollector::new(runtime.handle().clone())),
            Box::new(FilesCollector::new(file_stats)),
            Box::new(StoresCollector::new(Arc::clone(&clock), stores)),
            Box::new(RequestsCollector::new(Arc::default(), Arc::default(), Arc::clone(&clock))),
            Box::new(UsageCollector::new(meters, LimitsInForce::default(), Arc::clone(&clock))),
            Box::new(CertificateCollector::new(None)),
            Box::new(TracesCollector::new(Arc::default())),
            Box::new(LogCollector::new(Arc::new(Sampler::new(sampling, clock)))),
        ],
    )
}

fn events(runtime: &Runtime, clock: &Arc<dyn Clock>, database: Database) -> EventsCollector {
    let (fs, folder): (Arc<dyn Fs>, _) = (SimFs::new(), Path::new("/data/events"));
    let config = EmbeddedConfig::default();
    let (log, _) = EmbeddedLog::open(Arc::clone(&fs), folder, Arc::clone(clock), config)
        .expect("an event log");
    let (folder, config) = (folder.join("dead-letters"), DeadLettersConfig::default());
    let (letters, _) =
        EmbeddedDeadLetters::open(fs, &folder, Arc::clone(clock), config).expect("dead letters");
    let schemas = CustomSchemas::open(database, Arc::clone(clock));
    let schemas = runtime.block_on(schemas).expect("schemas");
    let (log, dead_letters) = (Arc::new(log), Arc::new(letters));
    let gateway = Gateway::new(
        Arc::clone(&log) as _,
        Arc::clone(&dead_letters) as _,
        schemas,
        Arc::clone(clock),
        SimRng::new(1),
        GatewaySettings::default(),
    );
    EventsCollector { gateway: Arc::new(gateway), log, dead_letters }
}

/// Returns the names of all families of a page.
fn families(page: &str) -> Vec<&str> {
    let types = page.lines().filter_map(|line| line.strip_prefix("# TYPE "));
    types.filter_map(|line| line.split(' ').next()).collect()
}

#[test]
fn both_formats_are_read_by_our_own_parser_and_say_the_same() {
    use ingest::{Entry, ExpositionFormat, parse_exposition};
    let telemetry = telemetry();
    let samples = |page: &str, format| {
        let read = parse_exposition(page, format).map(|entry| entry.expect("valid"));
        let samples = read.filter_map(|entry| match entry {
            Entry::Sample(sample) => Some(format!("{:?} {}", sample.series.labels(), sample.value)),
            _ => None,
        });
        samples.collect::<Vec<_>>()
    };
    let open_metrics = samples(&telemetry.open_metrics(), ExpositionFormat::OpenMetrics);
    assert!(open_metrics.len() > 100, "{open_metrics:?}");
    assert_eq!(open_metrics, samples(&telemetry.plain(), ExpositionFormat::Prometheus));
}

#[test]
fn no_family_is_said_twice_and_each_help_is_a_sentence() {
    let page = telemetry().plain();
    let names = families(&page);
    assert_eq!(names.iter().collect::<BTreeSet<_>>().len(), names.len());
    for line in page.lines().filter(|line| line.starts_with("# HELP ")) {
        assert!(line.ends_with('.') && !line.contains(['"', '\\']), "{line}");
    }
}

#[test]
fn what_the_page_and_dashboards_stand_on_is_there() {
    let page = telemetry().plain();
    for series in [
        "tinyobs_build_info{version=",
        "tinyobs_head_series{tenant=\"default\"} 0",
        "tinyobs_tenant_usage_total{kind=\"refused\",tenant=\"default\"} 1",
        "tinyobs_tenant_usage_today{kind=\"refused\",tenant=\"default\"} 1",
        "tinyobs_tenant_quota{kind=\"bytes_in\",tenant=\"default\"} 7",
        "tinyobs_tenant_requests_refused_total{reason=\"quota_bytes\",tenant=\"default\"} 1",
        "tinyobs_tenant_queries_running{tenant=\"default\"} 0",
        "tinyobs_samples_appended_total{tenant=\"default\"} 0",
        "tinyobs_samples_rejected_total{reason=\"too_old\",tenant=\"default\"} 0",
        "tinyobs_storage_operations_total{operation=\"sync_dir\"} ",
        "tinyobs_storage_operation_duration_seconds_bucket{le=\"0.0001\",operation=\"read\"} ",
        "tinyobs_journal_commit_records_bucket{le=\"+Inf\"} 0",
        "tinyobs_ingest_requests_total{protocol=\"otlp\"} 0",
        "tinyobs_query_duration_seconds_count 0",
        "tinyobs_http_error_ratio 0.0",
        "tinyobs_log_lines_total{level=\"error\"} 0",
        "process_resident_memory_bytes ",
        "pulltrace_pulls_active 0",
    ] {
        assert!(page.contains(series), "{series} in\n{}", page);
    }
}

#[test]
fn a_page_is_made_once_for_all_who_ask_at_the_same_time() {
    let telemetry = telemetry();
    let (first, second) = (telemetry.open_metrics(), telemetry.open_metrics());
    assert!(Arc::ptr_eq(&first, &second));
}

/// What dashboards and alerts of Pulltrace stand on: names, kinds and buckets are as it had them.
#[test]
fn the_series_of_pulltrace_are_as_it_had_them() {
    let page = telemetry().plain();
    for (name, kind, help) in [
        ("pulltrace_pulls_active", "gauge", "Number of currently active image pulls."),
        ("pulltrace_pulls_total", "counter", "Total number of image pulls observed."),
        ("pulltrace_pull_duration_seconds", "histogram", "Duration of image pulls in seconds."),
        ("pulltrace_pull_bytes_total", "counter", "Total bytes downloaded across all pulls."),
        ("pulltrace_pull_errors_total", "counter", "Total number of pull errors."),
        ("pulltrace_agent_reports_total", "counter", "Total agent reports received."),
        ("pulltrace_sse_clients_active", "gauge", "Number of active SSE client connections."),
        ("pulltrace_agents_connected", "gauge", "Number of agents that report."),
    ] {
        assert!(page.contains(&format!("# TYPE {name} {kind}\n")), "{name} in\n{page}");
        assert!(page.contains(&format!("# HELP {name} {help}\n")), "{name} in\n{page}");
    }
    for bound in ["1.0", "5.0", "10.0", "30.0", "60.0", "120.0", "300.0", "600.0", "+Inf"] {
        let bucket = format!("pulltrace_pull_duration_seconds_bucket{{le=\"{bound}\"}} 0");
        assert!(page.contains(&bucket), "{bucket} in\n{page}");
    }
}
