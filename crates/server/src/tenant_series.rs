//! What the program counts for tenants, as series in the metrics of each.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use model::{
    AppendMode, Labels, MetricMetadata, MetricType, Sample, SampleSink, SeriesKey, TenantId,
    Timestamp, WriteBatch,
};

/// How often they are stored.
pub(crate) const INTERVAL: Duration = Duration::from_secs(5);

/// A metric with its series.
#[derive(Debug)]
pub(crate) struct Family {
    pub(crate) name: &'static str,
    pub(crate) help: &'static str,
    pub(crate) metric_type: MetricType,
    /// The labels, the name among them, each set once.
    pub(crate) series: Vec<(Labels, f64)>,
}

/// Stores families, round after round.
#[derive(Debug)]
pub(crate) struct TenantSeries {
    /// The counters that have a sample already, by tenant.
    known: BTreeMap<TenantId, BTreeSet<Labels>>,
    /// When the round before this one was.
    last: Timestamp,
}

impl TenantSeries {
    /// Returns the series of a program that counted nothing before `now`.
    pub(crate) const fn new(now: Timestamp) -> Self {
        Self { known: BTreeMap::new(), last: now }
    }

    /// Stores a tenant's families as they are `now`.
    ///
    /// A new counter begins with a zero at the time of the round before, so that its first counts show in rates. What a
    /// store refuses, for it has a limit of series, is in its own counts of refusals.
    pub(crate) fn store(
        &mut self,
        tenant: &TenantId,
        families: &[Family],
        now: Timestamp,
        sink: &dyn SampleSink,
    ) {
        let known = self.known.entry(tenant.clone()).or_default();
        let mut batch = WriteBatch::new();
        for family in families {
            let metadata = MetricMetadata {
                metric_type: family.metric_type,
                help: family.help.to_owned(),
                unit: String::new(),
            };
            batch.push_metadata(family.name.to_owned(), metadata);
            for (labels, value) in &family.series {
                batch.start_series(SeriesKey::canonical(labels));
                let counts = family.metric_type != MetricType::Gauge;
                if counts && self.last < now && !known.contains(labels) {
                    batch.push_sample(Sample::new(self.last, 0.0));
                }
                batch.push_sample(Sample::new(now, *value));
            }
        }
        match sink.append(&batch, AppendMode::Partial) {
            Ok(_) => {
                let counters =
                    families.iter().filter(|family| family.metric_type != MetricType::Gauge);
                for (labels, _) in counters.flat_map(|family| &family.series) {
                    if !known.contains(labels) {
                        known.insert(labels.clone());
                    }
                }
            }
            // Counts go on; the next ones say the same and more. Health shows why the store takes nothing.
            Err(error) => tracing::debug!(error = %error, "counts were not stored"),
        }
    }

    /// Ends the round of `now`.
    pub(crate) const fn end_round(&mut self, now: Timestamp) {
        self.last = now;
    }
}
