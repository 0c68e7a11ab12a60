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

    pub(super) fn counter(&mut self, metric: Metric, value: u64) -> fmt::Result {
        self.counters(metric, [([], value)])
    }

    pub(super) fn counters<'l, const N: usize>(
        &mut self,
        metric: Metric,
        series: impl IntoIterator<Item = (Labels<'l, N>, u64)>,
    ) -> fmt::Result {
        self.series(metric, MetricType::Counter, series, |mut encoder, value| {
            encoder.encode_counter::<NoLabelSet, _, u64>(&value, None)
        })
    }

    pub(super) fn counter_seconds(&mut self, metric: Metric, value: f64) -> fmt::Result {
        self.series(metric, MetricType::Counter, [([], value)], |mut encoder, value| {
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
        self.series(metric, MetricType::Gauge, series, |mut encoder, value| {
            encoder.encode_gauge(&value)
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

    /// Writes a distribution of milliseconds as seconds.
    pub(super) fn histogram_millis(
        &mut self,
        metric: Metric,
        snapshot: HistogramSnapshot,
    ) -> fmt::Result {
        self.histograms(metric, 1e3, [([], snapshot)])
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
        self.series(metric, MetricType::Histogram, series, |mut encoder, snapshot| {
            let buckets = buckets(&snapshot, units_per_one);
            let sum = approximate(snapshot.sum) / units_per_one;
            encoder.encode_histogram::<NoLabelSet>(sum, snapshot.count(), &buckets, None)
        })
    }

    /// Writes a family with each of its series.
    fn series<'l, const N: usize, V>(
        &mut self,
        metric: Metric,
        metric_type: MetricType,
        series: impl IntoIterator<Item = (Labels<'l, N>, V)>,
        write: impl Fn(MetricEncoder<'_>, V) -> fmt::Result,
    ) -> fmt::Result {
        let mut encoder = self.0.encode_descriptor(metric.name, metric.help, None, metric_type)?;
        if N == 0 {
            // Asked for an empty set of labels, the encoder would write braces.
            return series.into_iter().next().map_or(Ok(()), |(_, value)| write(encoder, value));
        }
        series.into_iter().try_for_each(|(labels, value)| {
            write(encoder.encode_family(&LabelPairs(&labels))?, value)
        })
    }
}

fn buckets(snapshot: &HistogramSnapshot, units_per_one: f64) -> Vec<(f64, u64)> {
    let bounds = snapshot.bounds.iter().map(|bound| approximate(*bound) / units_per_one);
    bounds.chain([f64::INFINITY]).zip(snapshot.buckets.iter().copied()).collect()
}

#[expect(clippy::cast_precision_loss, reason = "exact below 2^53, close enough above")]
pub(crate) const fn approximate(value: u64) -> f64 {
    value as f64
}
