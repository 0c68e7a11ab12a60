//! What a collector has to say at one moment: metrics with their values, ready to be appended.

use model::{
    LabelError, Labels, METRIC_NAME, MetricMetadata, MetricType, Sample, SeriesKey, Timestamp,
    WriteBatch,
};

/// Metrics at one moment, in the order in which they were said.
#[derive(Debug, Default)]
pub(crate) struct Page {
    families: Vec<Family>,
    samples: Vec<PageSample>,
}

#[derive(Debug)]
struct Family {
    name: &'static str,
    metric_type: MetricType,
    help: &'static str,
}

#[derive(Debug)]
struct PageSample {
    name: String,
    labels: Vec<(&'static str, String)>,
    value: f64,
}

/// A metric's name, type and meaning.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Metric {
    name: &'static str,
    metric_type: MetricType,
    help: &'static str,
}

impl Metric {
    /// Returns a counter.
    pub(crate) const fn counter(name: &'static str, help: &'static str) -> Self {
        Self { name, metric_type: MetricType::Counter, help }
    }

    /// Returns a gauge.
    pub(crate) const fn gauge(name: &'static str, help: &'static str) -> Self {
        Self { name, metric_type: MetricType::Gauge, help }
    }
}

impl Page {
    /// Returns an empty page.
    pub(crate) fn new() -> Self {
        Self::default()
    }

    /// Says the value of a metric without labels.
    pub(crate) fn say(&mut self, metric: Metric, value: f64) {
        self.say_with(metric, &[], value);
    }

    /// Says the value of one series of a metric.
    pub(crate) fn say_with(&mut self, metric: Metric, labels: &[(&'static str, &str)], value: f64) {
        let Metric { name, metric_type, help } = metric;
        if self.families.last().is_none_or(|family| family.name != name) {
            self.families.push(Family { name, metric_type, help });
        }
        self.say_named(name.to_owned(), labels, value);
    }

    /// Says the value of a series whose metric name is only known now; it has no metadata.
    pub(crate) fn say_named(&mut self, name: String, labels: &[(&'static str, &str)], value: f64) {
        let labels = labels.iter().map(|(label, value)| (*label, (*value).to_owned())).collect();
        self.samples.push(PageSample { name, labels, value });
    }

    /// Returns the series of this page, each with `common` labels added.
    ///
    /// # Errors
    ///
    /// A label was given twice.
    pub(crate) fn series(&self, common: &[(&str, &str)]) -> Result<Vec<(Labels, f64)>, LabelError> {
        let mut series = Vec::with_capacity(self.samples.len());
        for sample in &self.samples {
            let own = sample.labels.iter().map(|(label, value)| (*label, value.as_str()));
            let name = std::iter::once((METRIC_NAME, sample.name.as_str()));
            let labels = Labels::from_pairs(name.chain(own).chain(common.iter().copied()))?;
            series.push((labels, sample.value));
        }
        Ok(series)
    }

    /// Says in `batch` what is known about the metrics of this page.
    pub(crate) fn push_metadata(&self, batch: &mut WriteBatch<'_>) {
        for Family { name, metric_type, help } in &self.families {
            let metadata = MetricMetadata {
                metric_type: *metric_type,
                help: (*help).to_owned(),
                unit: String::new(),
            };
            batch.push_metadata((*name).to_owned(), metadata);
        }
    }
}

/// Pushes each series into `batch` with one sample at `now`.
pub(crate) fn push_series<'a>(
    batch: &mut WriteBatch<'a>,
    series: &'a [(Labels, f64)],
    now: Timestamp,
) {
    for (labels, value) in series {
        batch.push(SeriesKey::canonical(labels), Sample::new(now, *value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_page_becomes_series_with_the_common_labels() {
        const TEMPERATURE: Metric = Metric::gauge("temperature_celsius", "How warm it is.");
        let mut page = Page::new();
        page.say_with(TEMPERATURE, &[("room", "hall")], 19.5);
        page.say_with(TEMPERATURE, &[("room", "attic")], 25.0);
        let series = page.series(&[("job", "house")]).expect("labels");
        assert_eq!(
            series[0].0.to_string(),
            r#"{__name__="temperature_celsius", job="house", room="hall"}"#
        );
        let mut batch = WriteBatch::new();
        page.push_metadata(&mut batch);
        push_series(&mut batch, &series, Timestamp::from_millis(1));
        assert_eq!((batch.sample_count(), batch.metadata().len()), (2, 1));
    }
}
