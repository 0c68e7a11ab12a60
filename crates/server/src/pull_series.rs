//! Image pulls as series in the metrics of their tenant: by registry, by node, by namespace.
//!
//! Each is a family of its own: a series for every node of every namespace of every registry would be too many.

use std::sync::Arc;

use model::{Labels, METRIC_NAME, MetricType, SampleSink, TenantId, Timestamp};
use pulls::{GroupTotals, TenantTotals};

use crate::telemetry::approximate;
use crate::tenant_series::{Family, TenantSeries};

/// Most nodes with series of their own; of the others there are only sums.
const NODES_MAX: usize = 1_000;

/// Stores what pulls of tenants are about.
#[derive(Debug)]
pub(crate) struct PullSeries {
    instance: String,
    series: TenantSeries,
}

impl PullSeries {
    /// Returns the series of this program, which `instance` tells from others; nothing was counted before `now`.
    pub(crate) const fn new(instance: String, now: Timestamp) -> Self {
        Self { instance, series: TenantSeries::new(now) }
    }

    /// Stores the figures as they are `now`, where `sink` takes them.
    pub(crate) fn store(
        &mut self,
        tenants: &[(TenantId, TenantTotals)],
        now: Timestamp,
        sink: impl Fn(&TenantId) -> Option<Arc<dyn SampleSink>>,
    ) {
        for (tenant, totals) in tenants {
            if let Some(sink) = sink(tenant) {
                let families = self.families(totals);
                self.series.store(tenant, &families, now, sink.as_ref());
            }
        }
        self.series.end_round(now);
    }

    fn families(&self, totals: &TenantTotals) -> Vec<Family> {
        let TenantTotals { registries, by_node, namespaces, .. } = totals;
        let nodes = by_node.get(..NODES_MAX.min(by_node.len())).unwrap_or_default();
        let counter = MetricType::Counter;
        let gauge = MetricType::Gauge;
        let mut families = vec![
            self.results(
                "tinyobs_pulls_total",
                "Image pulls that ended, by registry and result.",
                ("registry", registries),
            ),
            self.family(
                "tinyobs_pull_bytes_total",
                "Bytes that image pulls took over the network, by registry.",
                (counter, |group| approximate(group.transferred_bytes)),
                ("registry", registries),
            ),
            self.family(
                "tinyobs_pull_bytes_per_second",
                "Bytes per second of the image pulls that run, by registry.",
                (gauge, |group| group.bytes_per_second),
                ("registry", registries),
            ),
            self.results(
                "tinyobs_node_pulls_total",
                "Image pulls that ended, by node and result.",
                ("node", nodes),
            ),
            self.family(
                "tinyobs_node_pull_bytes_total",
                "Bytes that image pulls took over the network, by node.",
                (counter, |group| approximate(group.transferred_bytes)),
                ("node", nodes),
            ),
            self.family(
                "tinyobs_node_pulls_active",
                "Image pulls that run, by node.",
                (gauge, |group| approximate(group.active)),
                ("node", nodes),
            ),
            self.results(
                "tinyobs_namespace_pulls_total",
                "Image pulls that ended, by namespace of the pods that waited, and result.",
                ("namespace", namespaces),
            ),
            self.family(
                "tinyobs_namespace_pulls_active",
                "Image pulls that run, by namespace of the pods that wait.",
                (gauge, |group| approximate(group.active)),
                ("namespace", namespaces),
            ),
        ];
        let of_tenant = [
            ("tinyobs_pulls_active", "Image pulls that run.", totals.active),
            ("tinyobs_pulls_stalled", "Image pulls that run and have stalled.", totals.stalled),
            (
                "tinyobs_pulls_unknown",
                "Image pulls that ran when their agent fell silent.",
                totals.unknown,
            ),
            ("tinyobs_agents_connected", "Nodes whose agent reports.", totals.agents_connected),
            ("tinyobs_agents_known", "Nodes whose agent reported lately.", totals.nodes),
        ];
        families.extend(of_tenant.map(|(name, help, value)| {
            let series = self.labels(name, &[]).map(|labels| (labels, approximate(value)));
            Family { name, help, metric_type: gauge, series: series.into_iter().collect() }
        }));
        families
    }

    fn family(
        &self,
        name: &'static str,
        help: &'static str,
        (metric_type, value): (MetricType, fn(&GroupTotals) -> f64),
        (label, groups): (&'static str, &[GroupTotals]),
    ) -> Family {
        let series = groups
            .iter()
            .filter_map(|group| Some((self.labels(name, &[(label, &group.name)])?, value(group))));
        Family { name, help, metric_type, series: series.collect() }
    }

    fn results(
        &self,
        name: &'static str,
        help: &'static str,
        (label, groups): (&'static str, &[GroupTotals]),
    ) -> Family {
        let series = groups.iter().flat_map(|group| {
            let results = [("completed", group.completed), ("failed", group.failed)];
            results.into_iter().filter_map(|(result, count)| {
                let labels = self.labels(name, &[(label, &group.name), ("result", result)])?;
                Some((labels, approximate(count)))
            })
        });
        Family { name, help, metric_type: MetricType::Counter, series: series.collect() }
    }

    /// Returns the labels of a series; `None` when something of it is no value for a label.
    fn labels(&self, name: &str, pairs: &[(&str, &str)]) -> Option<Labels> {
        let own = [(METRIC_NAME, name), ("instance", &*self.instance), ("job", "tinyobs")];
        Labels::from_pairs(own.into_iter().chain(pairs.iter().copied()))
            .inspect_err(|error| tracing::debug!(error = %error, "count of pulls has no series"))
            .ok()
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use super::*;

    fn group(name: &str, completed: u64) -> GroupTotals {
        GroupTotals {
            name: name.into(),
            active: 2,
            bytes_per_second: 1.5,
            completed,
            failed: 1,
            transferred_bytes: 100,
        }
    }

    fn values(totals: &TenantTotals) -> BTreeMap<String, f64> {
        let series = PullSeries::new("here".to_owned(), Timestamp::from_millis(0));
        let families = series.families(totals);
        let series = families.iter().flat_map(|family| &family.series);
        series.map(|(labels, value)| (labels.to_string(), *value)).collect()
    }

    #[test]
    fn pulls_are_counted_by_registry_node_and_namespace() {
        let totals = TenantTotals {
            stalled: 3,
            registries: vec![group("ghcr.io", 7), group("docker.io", 8)],
            by_node: vec![group("west/node-1", 9)],
            namespaces: vec![group("shop", 10)],
            ..TenantTotals::default()
        };
        let values = values(&totals);
        for (labels, expected) in [
            (
                r#"{__name__="tinyobs_pulls_total", instance="here", job="tinyobs", registry="ghcr.io", result="completed"}"#,
                7.0,
            ),
            (
                r#"{__name__="tinyobs_pulls_total", instance="here", job="tinyobs", registry="docker.io", result="failed"}"#,
                1.0,
            ),
            (
                r#"{__name__="tinyobs_node_pulls_total", instance="here", job="tinyobs", node="west/node-1", result="completed"}"#,
                9.0,
            ),
            (
                r#"{__name__="tinyobs_node_pulls_active", instance="here", job="tinyobs", node="west/node-1"}"#,
                2.0,
            ),
            (
                r#"{__name__="tinyobs_namespace_pulls_total", instance="here", job="tinyobs", namespace="shop", result="completed"}"#,
                10.0,
            ),
            (
                r#"{__name__="tinyobs_pull_bytes_per_second", instance="here", job="tinyobs", registry="ghcr.io"}"#,
                1.5,
            ),
            (r#"{__name__="tinyobs_pulls_stalled", instance="here", job="tinyobs"}"#, 3.0),
        ] {
            assert_eq!(values.get(labels), Some(&expected), "{labels} in {values:#?}");
        }
    }

    #[test]
    fn no_more_nodes_than_allowed_have_series_of_their_own() {
        let nodes = (0..NODES_MAX + 5).map(|number| group(&format!("node-{number:05}"), 1));
        let totals = TenantTotals { by_node: nodes.collect(), ..TenantTotals::default() };
        let of_nodes = values(&totals);
        let active = of_nodes.keys().filter(|labels| labels.contains("tinyobs_node_pulls_active"));
        assert_eq!(active.count(), NODES_MAX);
    }
}
