//! What becomes of image pulls: under Pulltrace's names, and what it had no names for.

use std::fmt;
use std::sync::Arc;

use platform::HistogramSnapshot;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;
use pulls::{ClusterFigures, Connection, PULL_DURATION_BOUNDS, Pulls, TenantTotals, Totals};

use super::encode::{Metric, Writer};

const ACTIVE: Metric = Metric::new("pulls_active", "Number of currently active image pulls.");
const TOTAL: Metric = Metric::new("pulls", "Total number of image pulls observed.");
const DURATION: Metric =
    Metric::new("pull_duration_seconds", "Duration of image pulls in seconds.");
const BYTES: Metric = Metric::new("pull_bytes", "Total bytes downloaded across all pulls.");
const ERRORS: Metric = Metric::new("pull_errors", "Total number of pull errors.");
const REPORTS: Metric = Metric::new("agent_reports", "Total agent reports received.");
const CLIENTS: Metric =
    Metric::new("sse_clients_active", "Number of active SSE client connections.");
const CONNECTED: Metric = Metric::new("agents_connected", "Number of agents that report.");
const KNOWN: Metric = Metric::new("agents_known", "Number of agents that reported lately.");
const UNKNOWN: Metric =
    Metric::new("pulls_unknown", "Number of active image pulls whose agent is silent.");
const STALLED: Metric =
    Metric::new("pulls_stalled", "Number of active image pulls that have stalled.");
const FAILURES: Metric =
    Metric::new("pull_failures", "Total number of image pulls that failed, by reason.");
const CACHED: Metric =
    Metric::new("pull_cached_bytes", "Total bytes of layers that were there before.");
const REFUSED: Metric =
    Metric::new("agent_reports_refused", "Total agent reports that were refused.");
const PULLS_REFUSED: Metric = Metric::new(
    "pulls_refused",
    "Total image pulls that were not followed, because too many were active.",
);
const RESYNCS: Metric = Metric::new(
    "sse_resyncs",
    "Total times that a client fell behind and was brought up to date from memory.",
);
const CLUSTER: Metric = Metric::new(
    "cluster_connected",
    "Whether the pods of a Kubernetes cluster that is watched are known.",
);
const PODS: Metric = Metric::new("pods_waiting", "Number of pods with a container that waits.");
const PODS_DROPPED: Metric = Metric::new(
    "pods_dropped",
    "Total pods and pods with events that were not kept, because there were too many.",
);
const MESSAGES: Metric = Metric::new(
    "kubelet_messages_unknown",
    "Total events of kubelets about images whose text is not known.",
);
const QUEUED: Metric = Metric::new("history_queued", "Pulls that wait for the state database.");
const WRITTEN: Metric =
    Metric::new("history_written", "Total pulls written to the state database.");
const DROPPED: Metric = Metric::new(
    "history_dropped",
    "Total pulls not written to the state database, because too many waited.",
);
const PUBLISHED: Metric = Metric::new("history_published", "Total ended pulls that became events.");
const HISTORY_FAILURES: Metric = Metric::new(
    "history_failures",
    "Total times that the state database or the event log did not take pulls.",
);

/// Reads what becomes of image pulls.
#[derive(Debug)]
pub(crate) struct PullsCollector(pub(crate) Arc<Pulls>);

impl Collector for PullsCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let totals = self.0.totals();
        let sum = |of: fn(&TenantTotals) -> u64| -> u64 {
            totals.tenants.iter().map(|(_, tenant)| of(tenant)).sum()
        };
        let mut writer = Writer::new(encoder);
        writer.gauge(ACTIVE, sum(|tenant| tenant.active))?;
        writer.counter(TOTAL, sum(|tenant| tenant.started))?;
        writer.histogram_millis(DURATION, durations(&totals))?;
        writer.counter(BYTES, sum(|tenant| tenant.transferred_bytes))?;
        writer.counter(ERRORS, sum(failed))?;
        writer.counter(REPORTS, sum(|tenant| tenant.reports))?;
        writer.gauge(CLIENTS, totals.subscribers)?;
        writer.gauge(CONNECTED, sum(|tenant| tenant.agents_connected))?;
        writer.gauge(KNOWN, sum(|tenant| tenant.nodes))?;
        writer.gauge(UNKNOWN, sum(|tenant| tenant.unknown))?;
        writer.gauge(STALLED, sum(|tenant| tenant.stalled))?;
        let failures = totals.tenants.iter().flat_map(|(id, tenant)| {
            tenant.failed.iter().map(move |(reason, count)| {
                ([("reason", &**reason), ("tenant", id.as_str())], *count)
            })
        });
        writer.counters(FAILURES, failures)?;
        writer.counter(CACHED, sum(|tenant| tenant.cached_bytes))?;
        writer.counter(REFUSED, sum(|tenant| tenant.reports_refused))?;
        writer.counter(PULLS_REFUSED, sum(|tenant| tenant.pulls_refused))?;
        writer.counter(RESYNCS, sum(|tenant| tenant.resyncs))?;
        encode_clusters(&mut writer, &totals)?;
        writer.gauge(QUEUED, totals.history.queued)?;
        writer.counter(WRITTEN, totals.history.written)?;
        writer.counter(DROPPED, totals.history.dropped)?;
        writer.counter(PUBLISHED, totals.history.published)?;
        writer.counter(HISTORY_FAILURES, totals.history.failures)
    }
}

fn encode_clusters(writer: &mut Writer<'_>, totals: &Totals) -> fmt::Result {
    let clusters: Vec<_> = totals
        .tenants
        .iter()
        .flat_map(|(id, tenant)| tenant.clusters.iter().map(move |cluster| (id.as_str(), cluster)))
        .filter(|(_, cluster)| cluster.connection != Connection::Off)
        .collect();
    let each = |of: fn(&ClusterFigures) -> u64| {
        clusters.iter().map(move |(tenant, cluster)| {
            ([("cluster", &*cluster.name), ("tenant", *tenant)], of(cluster))
        })
    };
    writer.gauges(CLUSTER, each(|cluster| u64::from(cluster.connection == Connection::Live)))?;
    writer.gauges(PODS, each(|cluster| cluster.totals.pods as u64))?;
    writer.counters(
        PODS_DROPPED,
        each(|cluster| cluster.totals.pods_dropped + cluster.totals.pods_heard_of_dropped),
    )?;
    writer.counters(MESSAGES, each(|cluster| cluster.totals.unknown_messages))
}

fn failed(tenant: &TenantTotals) -> u64 {
    tenant.failed.iter().map(|(_, count)| count).sum()
}

/// Returns the distribution of all tenants together.
fn durations(totals: &Totals) -> HistogramSnapshot {
    let mut sum = HistogramSnapshot {
        bounds: PULL_DURATION_BOUNDS,
        buckets: vec![0; PULL_DURATION_BOUNDS.len() + 1],
        sum: 0,
    };
    for (_, tenant) in &totals.tenants {
        for (bucket, count) in sum.buckets.iter_mut().zip(&tenant.duration.buckets) {
            *bucket += count;
        }
        sum.sum += tenant.duration.sum;
    }
    sum
}
