//! Writes families of metrics in the order in which they are given.

use std::fmt;

use platform::HistogramSnapshot;
use prometheus_client::encoding::{
    DescriptorEncoder, EncodeGaugeValue, LabelSetEncoder, MetricEncoder, NoLabelSet,
};
use prometheus_client::metrics::MetricType;

const NANOS_PER_SECOND: f64 = 1e9;

/// A family's name, without the prefix and without `_total`, and its meaning.
#[derive(Clone, Copy, Debug)]
pub(super) struct Metric {
    name: &'static str,
    help: &'static str,
}

impl Metric {
    pub(super) const fn new(name: &'static str, help: &'static str) -> Self {
        Self { name, help }
    }
}

/// The labels of one series, in the order in which they are written.
pub(super) type Labels<'a, const N: usize> = [(&'static str, &'a str); N];

#[derive(Debug)]
struct LabelPairs<'a>(&'a [(&'static str, &'a str)]);

impl prometheus_client::encoding::EncodeLabelSet for LabelPairs<'_> {
    fn encode(&self, encoder: &mut LabelSetEncoder<'_>) -> fmt::Result {
        use prometheus_client::encoding::EncodeLabel as _;
        self.0.iter().try_for_each(|pair| pair.encode(encoder.encode_label()))
    }
}

/// Where collectors write.
#[derive(Debug)]
pub(super) struct Writer<'a>(DescriptorEncoder<'a>);

impl<'a> Writer<'a> {
    pub(super) const fn new(encoder: DescriptorEncoder<'a>) -> Self {
        Self(encoder)
    }

    fn family(
        &mut self,
        metric: Metric,
        metric_type: MetricType,
        write: impl FnOnce(MetricEncoder<'_>) -> fmt::Result,
    ) -> fmt::Result {
        write(self.0.encode_descriptor(metric.name, metric.help, None, metric_type)?)
    }

    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.family(metric, MetricType::Counter, |mut encoder| {
            series.into_iter().try_for_each(|(labels, value)| {
                let labels = LabelPairs(&labels);
                let mut encoder = encoder.encode_family(&labels)?;
                encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
            })
        })
    }

    pub(super) fn counter_seconds(&mut self, metric: Metric, value: f64) -> fmt::Result {
        self.family(metric, MetricType::Counter, |mut encoder| {
            encoder.encode_counter::<NoLabelSet, _, f64>(&value, None)
        })
    }

    pub(super) fn gauge(&mut self, metric: Metric, value: impl EncodeGaugeValue) -> fmt::Result {
        self.gauges(metric, [([], value)])
    }

    pub(super) fn gauges<'l, const N: usize, V: EncodeGaugeValue>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Labels<'l, N>, V)>,
    ) -> fmt::Result {
        self.family(metric, MetricType::Gauge, |mut encoder| {
            series.into_iter().try_for_each(|(labels, value)| {
                let labels = LabelPairs(&labels);
                encoder.encode_family(&labels)?.encode_gauge(&value)
            })
        })
    }

    /// Writes distributions of nanoseconds as seconds.
    pub(super) fn durations<'l, const N: usize>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Labels<'l, N>, HistogramSnapshot)>,
    ) -> fmt::Result {
        self.histograms(metric, NANOS_PER_SECOND, series)
    }

    /// Writes distributions of counts.
    pub(super) fn counts<'l, const N: usize>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Labels<'l, N>, HistogramSnapshot)>,
    ) -> fmt::Result {
        self.histograms(metric, 1.0, series)
    }

    fn histograms<'l, const N: usize>(
        &mut self,
        metric: Metric,
        units_per_one: f64,
        series: impl IntoIterator<Item = (Labels<'l, N>, HistogramSnapshot)>,
    ) -> fmt::Result {
        self.family(metric, MetricType::Histogram, |mut encoder| {
            series.into_iter().try_for_each(|(labels, snapshot)| {
                let labels = LabelPairs(&labels);
                let mut encoder = encoder.encode_family(&labels)?;
                let buckets = buckets(&snapshot, units_per_one);
                let sum = approximate(snapshot.sum) / units_per_one;
                encoder.encode_histogram::<NoLabelSet>(sum, snapshot.count(), &buckets, None)
            })
        })
    }
}

fn buckets(snapshot: &HistogramSnapshot, units_per_one: f64) -> Vec<(f64, u64)> {
    let bounds = snapshot.bounds.iter().map(|bound| approximate(*bound) / units_per_one);
    bounds.chain([f64::INFINITY]).zip(snapshot.buckets.iter().copied()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, close enough above")]
pub(super) const fn approximate(value: u64) -> f64 {
    value as f64
}
