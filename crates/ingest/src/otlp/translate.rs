//! Makes Prometheus series of OTLP metrics, as Prometheus' own OTLP endpoint does by default.

use std::borrow::Cow;

use model::{METRIC_NAME, MetricMetadata, MetricType, Sample, Timestamp, stale_nan};
use smallvec::SmallVec;

use super::message::{
    AnyValue, CUMULATIVE, DELTA, Histogram, HistogramDataPoint, KeyValue, Metric,
    NO_RECORDED_VALUE, NumberDataPoint, Request, Resource, ResourceMetrics, SummaryDataPoint,
};
use super::names::{self, Kind};
use super::{OtlpError, OtlpMetrics, value};

const SERVICE_NAME: &str = "service.name";
const SERVICE_NAMESPACE: &str = "service.namespace";
const SERVICE_INSTANCE: &str = "service.instance.id";

const TARGET_INFO: &str = "target_info";
/// Half of the usual lookback: `target_info` is then found wherever a sample of its resource is.
const TARGET_INFO_STEP_MS: i64 = 150_000;
/// The most samples of `target_info` for one resource; the older ones are left out.
const TARGET_INFO_SAMPLES_MAX: usize = 1_000;

/// Why a data point cannot become a correct sample.
const DELTA_TEMPORALITY: &str =
    "delta temporality is not supported, configure the sender for cumulative temporality";
const NO_TEMPORALITY: &str = "the aggregation temporality is not specified";
const EXPONENTIAL: &str =
    "exponential histograms are not supported, configure the sender for explicit buckets";
const NO_TIME: &str = "the data point has no time";
const NO_VALUE: &str = "the data point has no value";
const NO_NAME: &str = "the metric has no name";
const EMPTY_KEY: &str = "an attribute has an empty key";
const BUCKETS: &str = "bounds and buckets of the histogram do not fit together";

/// Translates a request. Data points that cannot become correct samples are counted in the result.
///
/// # Errors
///
/// The labels of all series take too much memory.
pub(super) fn translate(request: &Request) -> Result<OtlpMetrics, OtlpError> {
    let targets: Vec<Target> = request.resource_metrics.iter().map(Target::new).collect();
    let mut translation = Translation { output: OtlpMetrics::default(), labels: Labels::default() };
    for (resource, target) in request.resource_metrics.iter().zip(&targets) {
        translation.resource(resource, target)?;
    }
    Ok(translation.output)
}

/// What was made so far, and the labels of the current data point, which borrow from the request.
struct Translation<'a> {
    output: OtlpMetrics,
    labels: Labels<'a>,
}

/// What all data points of a metric share.
struct Family<'n, 'a> {
    name: &'n str,
    target: &'a Target,
}

impl<'a> Translation<'a> {
    fn resource(
        &mut self,
        message: &'a ResourceMetrics,
        target: &'a Target,
    ) -> Result<(), OtlpError> {
        let mut span = None;
        for metric in message.scope_metrics.iter().flat_map(|scope| &scope.metrics) {
            self.metric(metric, target, &mut span)?;
        }
        match (&message.resource, span) {
            (Some(resource), Some(span)) => self.target_info(resource, target, span),
            _ => Ok(()),
        }
    }

    fn metric(
        &mut self,
        metric: &'a Metric,
        target: &'a Target,
        span: &mut Option<Span>,
    ) -> Result<(), OtlpError> {
        let (metric_type, kind) = types(metric);
        let name = names::metric_name(&metric.name, &metric.unit, kind);
        let family = Family { name: &name, target };
        let mut kept = None;
        if let Some(gauge) = &metric.gauge {
            for point in &gauge.data_points {
                let result = self.number(&family, point)?;
                self.note(metric, result, &mut kept);
            }
        }
        if let Some(sum) = &metric.sum {
            let temporality = check_temporality(sum.aggregation_temporality);
            for point in &sum.data_points {
                let result = match temporality {
                    Ok(()) => self.number(&family, point)?,
                    Err(reason) => Err(reason),
                };
                self.note(metric, result, &mut kept);
            }
        }
        if let Some(Histogram { data_points, aggregation_temporality }) = &metric.histogram {
            let temporality = check_temporality(*aggregation_temporality);
            for point in data_points {
                let result = match temporality {
                    Ok(()) => self.histogram(&family, point)?,
                    Err(reason) => Err(reason),
                };
                self.note(metric, result, &mut kept);
            }
        }
        if let Some(summary) = &metric.summary {
            for point in &summary.data_points {
                let result = self.summary(&family, point)?;
                self.note(metric, result, &mut kept);
            }
        }
        if let Some(histogram) = &metric.exponential_histogram {
            for _ in &histogram.data_points {
                self.note(metric, Err(EXPONENTIAL), &mut kept);
            }
        }
        if let Some(kept) = kept {
            *span = Some(span.map_or(kept, |span| span.union(kept)));
            let unit = names::unit_name(&metric.unit);
            let help = metric.description.clone();
            self.output.metadata.push((name, MetricMetadata { metric_type, help, unit }));
        }
        Ok(())
    }

    /// Counts a data point, and widens the span of the kept ones or remembers why it was refused.
    fn note(
        &mut self,
        metric: &Metric,
        result: Result<Timestamp, &'static str>,
        kept: &mut Option<Span>,
    ) {
        self.output.data_points += 1;
        match result {
            Ok(at) => {
                let point = Span { first: at, last: at };
                *kept = Some(kept.map_or(point, |span| span.union(point)));
            }
            Err(reason) => self.output.reject(reason, &metric.name),
        }
    }

    fn number(
        &mut self,
        family: &Family<'_, 'a>,
        point: &'a NumberDataPoint,
    ) -> Result<Result<Timestamp, &'static str>, OtlpError> {
        self.output.exemplars += point.exemplars.len() as u64;
        let stale = point.flags & NO_RECORDED_VALUE != 0;
        let value = match (point.as_double, point.as_int) {
            _ if stale => stale_nan(),
            (Some(double), _) => double,
            (None, Some(integer)) => integer as f64,
            (None, None) => return Ok(Err(NO_VALUE)),
        };
        let at = match self.begin(family, &point.attributes, point.time_unix_nano) {
            Ok(at) => at,
            Err(reason) => return Ok(Err(reason)),
        };
        self.push(family.name, None, Sample::new(at, value))?;
        Ok(Ok(at))
    }

    fn histogram(
        &mut self,
        family: &Family<'_, 'a>,
        point: &'a HistogramDataPoint,
    ) -> Result<Result<Timestamp, &'static str>, OtlpError> {
        self.output.exemplars += point.exemplars.len() as u64;
        if !buckets_fit(point) {
            return Ok(Err(BUCKETS));
        }
        let at = match self.begin(family, &point.attributes, point.time_unix_nano) {
            Ok(at) => at,
            Err(reason) => return Ok(Err(reason)),
        };
        let sample = recorded(at, point.flags);
        let suffixed = |suffix| format!("{}{suffix}", family.name);
        if let Some(sum) = point.sum {
            self.push(&suffixed("_sum"), None, sample(sum))?;
        }
        self.push(&suffixed("_count"), None, sample(point.count as f64))?;
        let bucket = suffixed("_bucket");
        let mut cumulative = 0_u64;
        for (bound, count) in point.explicit_bounds.iter().zip(&point.bucket_counts) {
            cumulative = cumulative.saturating_add(*count);
            if *bound < f64::INFINITY {
                let bound = bound.to_string();
                self.push(&bucket, Some(("le", &bound)), sample(cumulative as f64))?;
            }
        }
        self.push(&bucket, Some(("le", "+Inf")), sample(point.count as f64))?;
        Ok(Ok(at))
    }

    fn summary(
        &mut self,
        family: &Family<'_, 'a>,
        point: &'a SummaryDataPoint,
    ) -> Result<Result<Timestamp, &'static str>, OtlpError> {
        let at = match self.begin(family, &point.attributes, point.time_unix_nano) {
            Ok(at) => at,
            Err(reason) => return Ok(Err(reason)),
        };
        let sample = recorded(at, point.flags);
        self.push(&format!("{}_sum", family.name), None, sample(point.sum))?;
        self.push(&format!("{}_count", family.name), None, sample(point.count as f64))?;
        for quantile in &point.quantile_values {
            let label = quantile.quantile.to_string();
            self.push(family.name, Some(("quantile", &label)), sample(quantile.value))?;
        }
        Ok(Ok(at))
    }

    /// Prepares the labels of a data point. Returns its time, or why it is refused.
    fn begin(
        &mut self,
        family: &Family<'_, 'a>,
        attributes: &'a [KeyValue],
        time_unix_nano: u64,
    ) -> Result<Timestamp, &'static str> {
        if family.name.is_empty() {
            return Err(NO_NAME);
        }
        if time_unix_nano == 0 {
            return Err(NO_TIME);
        }
        if !self.labels.set_attributes(attributes.iter()) {
            return Err(EMPTY_KEY);
        }
        self.labels.set_target(family.target);
        let millis = i64::try_from(time_unix_nano / 1_000_000).map_err(|_| NO_TIME)?;
        Ok(Timestamp::from_millis(millis))
    }

    /// Adds a sample with the prepared labels, a name and perhaps one more label.
    fn push(
        &mut self,
        name: &str,
        extra: Option<(&str, &str)>,
        sample: Sample,
    ) -> Result<(), OtlpError> {
        let extra = [Some((METRIC_NAME, name)), extra];
        let replaced = |label: &str| extra.iter().flatten().any(|(name, _)| *name == label);
        let prepared = self.labels.iter().filter(|(label, _)| !replaced(label));
        for (name, value) in prepared.chain(extra.iter().flatten().copied()) {
            self.output.arena.push((name.as_bytes(), value.as_bytes()))?;
        }
        self.output.arena.finish_set();
        self.output.samples.push(sample);
        Ok(())
    }

    /// Adds the series that holds the attributes of a resource, once for every while that it was there.
    fn target_info(
        &mut self,
        resource: &'a Resource,
        target: &'a Target,
        span: Span,
    ) -> Result<(), OtlpError> {
        let identifying = [SERVICE_NAME, SERVICE_NAMESPACE, SERVICE_INSTANCE];
        let attributes = resource
            .attributes
            .iter()
            .filter(|attribute| !identifying.contains(&attribute.key.as_str()));
        if attributes.clone().next().is_none() || target.is_unknown() {
            return Ok(());
        }
        let attributes = attributes.filter(|attribute| !attribute.key.is_empty());
        self.labels.set_attributes(attributes);
        self.labels.set_target(target);
        let mut times = vec![span.last];
        let mut at = span.last;
        while at > span.first && times.len() < TARGET_INFO_SAMPLES_MAX {
            at = at.saturating_add_millis(-TARGET_INFO_STEP_MS).max(span.first);
            times.push(at);
        }
        for at in times.into_iter().rev() {
            self.push(TARGET_INFO, None, Sample::new(at, 1.0))?;
        }
        Ok(())
    }
}

/// A span of time, both ends inclusive.
#[derive(Clone, Copy)]
struct Span {
    first: Timestamp,
    last: Timestamp,
}

impl Span {
    fn union(self, other: Self) -> Self {
        Self { first: self.first.min(other.first), last: self.last.max(other.last) }
    }
}

/// The labels that say which process a series is about.
#[derive(Default)]
struct Target {
    job: String,
    instance: String,
}

impl Target {
    fn new(message: &ResourceMetrics) -> Self {
        let attributes = message.resource.as_ref().map_or(&[][..], |resource| &resource.attributes);
        let text = |key: &str| {
            let attribute = attributes.iter().find(|attribute| attribute.key == key)?;
            Some(attribute_text(attribute.value.as_ref()).into_owned())
        };
        let job = match (text(SERVICE_NAMESPACE), text(SERVICE_NAME)) {
            (Some(namespace), Some(name)) => format!("{namespace}/{name}"),
            (None, Some(name)) => name,
            (_, None) => String::new(),
        };
        Self { job, instance: text(SERVICE_INSTANCE).unwrap_or_default() }
    }

    fn is_unknown(&self) -> bool {
        self.job.is_empty() && self.instance.is_empty()
    }
}

/// The labels that the series of a data point share, each name once.
#[derive(Default)]
struct Labels<'a> {
    pairs: Vec<(Cow<'a, str>, Cow<'a, str>)>,
}

impl<'a> Labels<'a> {
    /// Replaces all labels by those of `attributes`. Values whose names become equal are joined by a semicolon, in
    /// the order of the attributes' keys. Returns false when an attribute has an empty key.
    fn set_attributes(&mut self, attributes: impl Iterator<Item = &'a KeyValue>) -> bool {
        self.pairs.clear();
        let mut sorted: SmallVec<[&KeyValue; 32]> = attributes.collect();
        sorted.sort_by(|a, b| a.key.cmp(&b.key));
        for attribute in sorted {
            let name = names::label_name(&attribute.key);
            if name.is_empty() {
                return false;
            }
            let text = attribute_text(attribute.value.as_ref());
            match self.pairs.iter_mut().find(|(present, _)| *present == name) {
                Some((_, present)) => {
                    let present = present.to_mut();
                    present.push(';');
                    present.push_str(&text);
                }
                None => self.pairs.push((name, text)),
            }
        }
        true
    }

    fn set_target(&mut self, target: &'a Target) {
        for (name, value) in [("job", &target.job), ("instance", &target.instance)] {
            if !value.is_empty() {
                self.pairs.retain(|(present, _)| present != name);
                self.pairs.push((name.into(), value.into()));
            }
        }
    }

    fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_ref(), value.as_ref()))
    }
}

fn attribute_text(value: Option<&AnyValue>) -> Cow<'_, str> {
    match value {
        None => "".into(),
        Some(AnyValue { string_value: Some(text), .. }) => text.into(),
        Some(value) => value::to_text(value).into(),
    }
}

/// Returns what makes a sample at `at` of a value, or of the fact that there is none.
fn recorded(at: Timestamp, flags: u32) -> impl Fn(f64) -> Sample {
    let stale = flags & NO_RECORDED_VALUE != 0;
    move |value| Sample::new(at, if stale { stale_nan() } else { value })
}

fn types(metric: &Metric) -> (MetricType, Kind) {
    match metric {
        Metric { sum: Some(sum), .. } if sum.is_monotonic => (MetricType::Counter, Kind::Counter),
        Metric { sum: Some(_), .. } => (MetricType::Gauge, Kind::Other),
        Metric { gauge: Some(_), .. } => (MetricType::Gauge, Kind::Gauge),
        Metric { histogram: Some(_), .. } => (MetricType::Histogram, Kind::Other),
        Metric { summary: Some(_), .. } => (MetricType::Summary, Kind::Other),
        _ => (MetricType::Unknown, Kind::Other),
    }
}

const fn check_temporality(temporality: i32) -> Result<(), &'static str> {
    match temporality {
        CUMULATIVE => Ok(()),
        DELTA => Err(DELTA_TEMPORALITY),
        _ => Err(NO_TEMPORALITY),
    }
}

/// Returns whether there is a bucket for each bound and one more, or none at all, and bounds ascend.
fn buckets_fit(point: &HistogramDataPoint) -> bool {
    let bounds = &point.explicit_bounds;
    let none = bounds.is_empty() && point.bucket_counts.is_empty();
    let fit = none || point.bucket_counts.len() == bounds.len() + 1;
    // Written so that a NaN does not pass.
    fit && bounds.is_sorted_by(|a, b| a < b) && bounds.iter().all(|bound| !bound.is_nan())
}
