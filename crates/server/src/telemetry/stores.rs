//! The stores of all tenants: what they hold, and what they do.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, HistogramSnapshot};
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use tsdb::{Cardinality, Store, StoreActivity, StoreHealth, StoreStats, Stores};

use super::encode::{Labels, Metric, Writer};

const APPENDED: Metric = Metric::new("samples_appended", "Samples that the store took.");
const REJECTED: Metric =
    Metric::new("samples_rejected", "Samples that the store refused, by reason.");
const OUT_OF_ORDER: Metric = Metric::new(
    "samples_out_of_order",
    "Samples that were older than the newest one of their series.",
);
const REPLACED: Metric =
    Metric::new("samples_replaced", "Samples that replaced another value at the same time.");
const METADATA_DROPPED: Metric = Metric::new(
    "metadata_dropped",
    "Descriptions of metrics that were not remembered because there are too many.",
);
const SAMPLES: Metric = Metric::new("samples", "Samples in the store.");
const SERIES: Metric = Metric::new("series", "Series that count towards the limit.");
const SERIES_LIMIT: Metric = Metric::new("series_limit", "Most series that are allowed.");
const HEAD_SERIES: Metric = Metric::new("head_series", "Series in memory.");
const HEAD_SAMPLES: Metric = Metric::new("head_samples", "Samples in memory.");
const HEAD_BYTES: Metric = Metric::new("head_bytes", "Memory that the head takes up.");
const BLOCKS: Metric = Metric::new("blocks", "Blocks on disk.");
const STORAGE_BYTES: Metric = Metric::new("storage_bytes", "Disk space that the metrics take up.");
const READ_ONLY: Metric = Metric::new("storage_read_only", "Whether the store refuses writes.");
const DAMAGED: Metric = Metric::new("storage_damaged_files", "Damaged files that were found.");
const FLUSHED: Metric = Metric::new("samples_flushed", "Samples written from memory to blocks.");
const WRITTEN: Metric = Metric::new("blocks_written", "Blocks written from memory.");
const COMPACTED: Metric = Metric::new("blocks_compacted", "Blocks replaced by larger ones.");
const EXPIRED: Metric = Metric::new("blocks_expired", "Blocks deleted because of their age.");
const MAINTENANCE_FAILURES: Metric =
    Metric::new("maintenance_failures", "Steps of maintenance that failed.");
const LAST_MAINTENANCE: Metric = Metric::new(
    "maintenance_last_success_timestamp_seconds",
    "When maintenance last succeeded, in seconds since the epoch.",
);
const JOURNAL_BYTES: Metric =
    Metric::new("journal_committed_bytes", "Bytes that were made durable in the journal.");
const JOURNAL_FAILURES: Metric =
    Metric::new("journal_failures", "Writes to the journal that the disk refused.");
const PENDING_RECORDS: Metric =
    Metric::new("journal_pending_records", "Records that wait to be made durable.");
const PENDING_BYTES: Metric =
    Metric::new("journal_pending_bytes", "Bytes of records that wait to be made durable.");
const COMMIT_RECORDS: Metric =
    Metric::new("journal_commit_records", "How many records share a commit.");
const COMMITS: Metric =
    Metric::new("journal_commit_duration_seconds", "How long commits take, sync included.");
const MAINTENANCE: Metric = Metric::new(
    "maintenance_duration_seconds",
    "How long it takes to write blocks from memory, and to merge them.",
);

/// How long sizes on disk are remembered: measuring them walks the data folder.
const MEASURED_KEPT: Duration = Duration::from_secs(10);

/// Reads what stores count. Distributions are those of all tenants together.
#[derive(Debug)]
pub(crate) struct StoresCollector {
    stores: Stores,
    clock: Arc<dyn Clock>,
    /// Bytes on disk, and when they were measured. Never held across an await.
    measured: Mutex<BTreeMap<TenantId, (Duration, u64)>>,
}

/// What one store says.
struct Report {
    tenant: TenantId,
    stats: StoreStats,
    cardinality: Cardinality,
    health: StoreHealth,
    activity: StoreActivity,
}

impl StoresCollector {
    /// Returns a collector of what `stores` hold.
    pub(crate) fn new(clock: Arc<dyn Clock>, stores: Stores) -> Self {
        Self { stores, clock, measured: Mutex::new(BTreeMap::new()) }
    }

    fn reports(&self) -> Vec<Report> {
        let stores = self.stores.all();
        let mut measured = self.measured.lock();
        measured.retain(|tenant, _| stores.iter().any(|(known, _)| known == tenant));
        let now = self.clock.monotonic();
        let report = |(tenant, store): (TenantId, Arc<Store>)| {
            let bytes = match measured.get(&tenant) {
                Some((at, bytes)) if now.saturating_sub(*at) < MEASURED_KEPT => *bytes,
                _ => {
                    let bytes = store.bytes_on_disk();
                    measured.insert(tenant.clone(), (now, bytes));
                    bytes
                }
            };
            Report {
                tenant,
                stats: store.stats_with(bytes),
                cardinality: store.cardinality(),
                health: store.health(),
                activity: store.activity(),
            }
        };
        stores.into_iter().map(report).collect()
    }
}

impl Collector for StoresCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        let reports = self.reports();
        contents(&mut writer, &reports)?;
        activity(&mut writer, &reports)?;
        distributions(&mut writer, &reports)
    }
}

type Value = fn(&Report) -> u64;

fn by_tenant(reports: &[Report], value: Value) -> impl Iterator<Item = (Labels<'_, 1>, u64)> {
    reports.iter().map(move |report| ([("tenant", report.tenant.as_str())], value(report)))
}

fn contents(writer: &mut Writer<'_>, reports: &[Report]) -> fmt::Result {
    let gauges: [(Metric, Value); 10] = [
        (SAMPLES, |report| report.stats.samples),
        (SERIES, |report| report.cardinality.total_series),
        (SERIES_LIMIT, |report| report.cardinality.series_limit),
        (HEAD_SERIES, |report| report.stats.head_series),
        (HEAD_SAMPLES, |report| report.stats.head_samples),
        (HEAD_BYTES, |report| report.stats.head_bytes),
        (BLOCKS, |report| report.stats.blocks),
        (STORAGE_BYTES, |report| report.stats.bytes_on_disk),
        (READ_ONLY, |report| u64::from(report.health.read_only.is_some())),
        (DAMAGED, |report| report.health.quarantined.len() as u64),
    ];
    for (metric, value) in gauges {
        writer.gauges(metric, by_tenant(reports, value))?;
    }
    Ok(())
}

fn activity(writer: &mut Writer<'_>, reports: &[Report]) -> fmt::Result {
    let counters: [(Metric, Value); 11] = [
        (APPENDED, |report| report.stats.samples_appended_total),
        (OUT_OF_ORDER, |report| report.stats.samples_out_of_order_total),
        (REPLACED, |report| report.stats.samples_replaced_total),
        (METADATA_DROPPED, |report| report.stats.metadata_dropped_total),
        (FLUSHED, |report| report.activity.maintained.samples_flushed),
        (WRITTEN, |report| report.activity.maintained.blocks_written),
        (COMPACTED, |report| report.activity.maintained.blocks_compacted),
        (EXPIRED, |report| report.activity.maintained.blocks_expired),
        (MAINTENANCE_FAILURES, |report| report.activity.maintenance_failures),
        (JOURNAL_BYTES, |report| report.activity.journal.committed_bytes),
        (JOURNAL_FAILURES, |report| report.activity.journal.failures),
    ];
    for (metric, value) in counters {
        writer.counters(metric, by_tenant(reports, value))?;
    }
    let rejected = reports.iter().flat_map(|report| {
        let tenant = report.tenant.as_str();
        let by_reason = report.stats.samples_rejected_total.iter();
        by_reason
            .map(move |(reason, samples)| ([("reason", *reason), ("tenant", tenant)], *samples))
    });
    writer.counters(REJECTED, rejected)?;
    writer.gauges(
        PENDING_RECORDS,
        by_tenant(reports, |report| report.activity.journal.pending_records),
    )?;
    writer.gauges(
        PENDING_BYTES,
        by_tenant(reports, |report| report.activity.journal.pending_bytes),
    )?;
    let succeeded = reports.iter().filter_map(|report| {
        let millis = report.activity.last_maintenance?.as_millis();
        #[expect(clippy::cast_precision_loss, reason = "milliseconds below 2^53 are exact")]
        let seconds = millis as f64 / 1_000.0;
        Some(([("tenant", report.tenant.as_str())], seconds))
    });
    writer.gauges(LAST_MAINTENANCE, succeeded)
}

fn distributions(writer: &mut Writer<'_>, reports: &[Report]) -> fmt::Result {
    let sum = |part: fn(&StoreActivity) -> &HistogramSnapshot| {
        let mut sum = HistogramSnapshot::default();
        reports.iter().for_each(|report| sum.merge(part(&report.activity)));
        sum
    };
    writer.counts(COMMIT_RECORDS, [([], sum(|activity| &activity.journal.commit_records))])?;
    writer.durations(COMMITS, [([], sum(|activity| &activity.commits))])?;
    let stages = [
        ([("stage", "compact")], sum(|activity| &activity.compactions)),
        ([("stage", "flush")], sum(|activity| &activity.flushes)),
    ];
    writer.durations(MAINTENANCE, stages)
}
