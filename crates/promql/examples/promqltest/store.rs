//! Series in memory, as scripts load them.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use model::{
    Cancellation, Labels, METRIC_NAME, Matcher, SampleColumns, Series, SeriesSource, SourceError,
    TimeRange, Timestamp,
};

use crate::points::{Point, SeriesPoints};

/// What a series says when a native histogram is among the samples that it is asked for.
pub(crate) const HISTOGRAM_SAMPLE: &str = "native histogram sample";

/// All series that are loaded.
#[derive(Debug, Default)]
pub(crate) struct Store {
    series: BTreeMap<Labels, MemorySeries>,
}

/// The samples of a series by time; `None` stands for a native histogram.
#[derive(Clone, Debug, Default)]
struct MemorySeries {
    labels: Option<Labels>,
    samples: BTreeMap<i64, Option<f64>>,
}

impl Store {
    /// Adds points at 0, `step_ms`, …; the first sample at a time stays.
    pub(crate) fn load(&mut self, step_ms: i64, loaded: &SeriesPoints) {
        let series = self.series.entry(loaded.labels.clone()).or_default();
        series.labels = Some(loaded.labels.clone());
        let mut time = 0;
        for point in &loaded.points {
            match point {
                Point::Missing => {}
                Point::Value(value) => {
                    series.samples.entry(time).or_insert(Some(*value));
                }
                Point::Histogram => {
                    series.samples.entry(time).or_insert(None);
                }
            }
            time += step_ms;
        }
    }

    /// Adds a native histogram wherever the bucket of a classic one has a sample.
    pub(crate) fn load_as_histogram(&mut self, step_ms: i64, bucket: &SeriesPoints) {
        let name = bucket.labels.metric_name().and_then(|name| name.strip_suffix("_bucket"));
        let (Some(name), Some(_)) = (name, bucket.labels.get("le")) else {
            return;
        };
        let mut builder = bucket.labels.to_builder();
        builder.set(METRIC_NAME, name).remove("le");
        let Ok(labels) = builder.build() else {
            return;
        };
        let points = bucket.points.iter().map(|point| match point {
            Point::Missing => Point::Missing,
            Point::Value(_) | Point::Histogram => Point::Histogram,
        });
        self.load(step_ms, &SeriesPoints { labels, points: points.collect() });
    }

    fn matching(&self, matchers: &[Matcher]) -> impl Iterator<Item = &MemorySeries> {
        self.series.iter().filter_map(move |(labels, series)| {
            let matches =
                |matcher: &Matcher| matcher.matches(labels.get(matcher.name()).unwrap_or_default());
            matchers.iter().all(matches).then_some(series)
        })
    }
}

impl Series for MemorySeries {
    fn labels(&self) -> &Labels {
        static EMPTY: std::sync::LazyLock<Labels> = std::sync::LazyLock::new(Labels::empty);
        self.labels.as_ref().unwrap_or(&EMPTY)
    }

    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError> {
        if range.start > range.end {
            return Ok(());
        }
        let times = range.start.as_millis()..=range.end.as_millis();
        for (time, value) in self.samples.range(times) {
            let Some(value) = value else {
                return Err(SourceError::Storage { reason: HISTOGRAM_SAMPLE.to_owned() });
            };
            columns.push(*time, *value);
        }
        Ok(())
    }
}

impl SeriesSource for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<Arc<dyn Series>>, SourceError> {
        let is_within = |series: &&MemorySeries| {
            let within = |time: &i64| range.contains(Timestamp::from_millis(*time));
            series.samples.keys().any(within)
        };
        Ok(self
            .matching(matchers)
            .filter(is_within)
            .map(|series| Arc::new(series.clone()) as Arc<dyn Series>)
            .collect())
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        _: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        let names: BTreeSet<String> = self
            .matching(matchers)
            .flat_map(|series| series.labels().iter())
            .map(|(name, _)| name.to_owned())
            .collect();
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        _: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        let values: BTreeSet<String> = self
            .matching(matchers)
            .filter_map(|series| series.labels().get(name))
            .map(str::to_owned)
            .collect();
        Ok(values.into_iter().collect())
    }
}
