//! Remarks on a query that do not make it fail.

use crate::ast::Span;
use crate::numeric::{format_general, format_two_digits};
use crate::parser::line_and_column;
use crate::time::format_rfc3339;

/// Most different remarks that one query remembers.
const REMARKS_MAX: usize = 1000;

/// Remarks in the order in which they were first made, each once.
///
/// Their texts are those of Prometheus and end with the position in the query: `… (1:6)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The answer is probably not what was meant.
    pub warnings: Vec<String>,
    /// The answer is possibly not what was meant.
    pub infos: Vec<String>,
}

/// A remark without its position.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Remark {
    /// A quantile outside of 0 to 1.
    InvalidQuantile { quantile: f64 },
    /// A ratio outside of -1 to 1.
    InvalidRatio { ratio: f64, capped: f64 },
    /// A classic bucket whose `le` is no number.
    BadBucketLabel { le: String, metric: String },
    /// `rate` or `increase` of what is not named like a counter.
    PossibleNonCounter { metric: String },
    /// Classic buckets whose counts went down.
    ForcedMonotonicity { metric: String, extent: MonotonicityExtent },
    /// `sort` where the order is lost anyway.
    SortInRangeQuery,
}

/// Where and how much buckets had to be changed to grow.
#[derive(Clone, Copy, Debug, PartialEq)]
pub(crate) struct MonotonicityExtent {
    /// The least upper bound that was concerned.
    pub(crate) bucket_min: f64,
    /// The greatest upper bound that was concerned.
    pub(crate) bucket_max: f64,
    /// The greatest change.
    pub(crate) difference_max: f64,
    /// The first time, in milliseconds.
    pub(crate) first_ms: i64,
    /// The last time, in milliseconds.
    pub(crate) last_ms: i64,
    /// How many times.
    pub(crate) samples: u64,
}

impl MonotonicityExtent {
    /// Takes in what was noticed of other samples.
    pub(crate) fn merge(&mut self, other: &Self) {
        self.bucket_min = self.bucket_min.min(other.bucket_min);
        self.bucket_max = self.bucket_max.max(other.bucket_max);
        self.difference_max = self.difference_max.max(other.difference_max);
        self.first_ms = self.first_ms.min(other.first_ms);
        self.last_ms = self.last_ms.max(other.last_ms);
        self.samples += other.samples;
    }
}

impl Remark {
    fn is_warning(&self) -> bool {
        !matches!(self, Self::PossibleNonCounter { .. } | Self::ForcedMonotonicity { .. })
    }

    fn text(&self) -> String {
        match self {
            Self::InvalidQuantile { quantile } => format!(
                "PromQL warning: quantile value should be between 0 and 1, got {}",
                format_general(*quantile)
            ),
            Self::InvalidRatio { ratio, capped } => format!(
                "PromQL warning: ratio value should be between -1 and 1, got {}, capping to {}",
                format_general(*ratio),
                format_general(*capped)
            ),
            Self::BadBucketLabel { le, metric } => format!(
                "PromQL warning: bucket label \"le\" is missing or has a malformed value of {le:?}{}",
                for_metric(metric)
            ),
            Self::PossibleNonCounter { metric } => format!(
                "PromQL info: metric might not be a counter, name does not end in \
                 _total/_sum/_count/_bucket: {metric:?}"
            ),
            Self::ForcedMonotonicity { metric, extent } => format!(
                "PromQL info: input to histogram_quantile needed to be fixed for monotonicity (see \
                 https://prometheus.io/docs/prometheus/latest/querying/functions/#histogram_quantile)\
                 {}, from buckets {} to {}, with a max diff of {}, over {} samples from {} to {}",
                for_metric(metric),
                format_general(extent.bucket_min),
                format_general(extent.bucket_max),
                format_two_digits(extent.difference_max),
                extent.samples,
                format_rfc3339(extent.first_ms),
                format_rfc3339(extent.last_ms),
            ),
            Self::SortInRangeQuery => {
                "PromQL warning: sort is ineffective for range queries since \
                                       results are always ordered by labels"
                    .to_owned()
            }
        }
    }

    /// Takes in a remark that says the same of other samples.
    fn absorb(&mut self, other: &Self) -> bool {
        match (self, other) {
            (
                Self::ForcedMonotonicity { metric, extent },
                Self::ForcedMonotonicity { metric: other_metric, extent: other_extent },
            ) if metric == other_metric => {
                extent.merge(other_extent);
                true
            }
            (this, other) => this.text() == other.text(),
        }
    }
}

fn for_metric(metric: &str) -> String {
    if metric.is_empty() { String::new() } else { format!(" for metric name {metric:?}") }
}

/// Collects remarks while a query is evaluated.
#[derive(Debug, Default)]
pub(crate) struct Remarks {
    entries: Vec<(Remark, Span)>,
}

impl Remarks {
    /// Adds a remark about what stands at `span`.
    pub(crate) fn add(&mut self, remark: Remark, span: Span) {
        for (known, _) in &mut self.entries {
            if known.absorb(&remark) {
                return;
            }
        }
        if self.entries.len() < REMARKS_MAX {
            self.entries.push((remark, span));
        }
    }

    /// Returns at most `count_max` remarks of each kind on the query `text`, and then how many are left out.
    pub(crate) fn finish(self, text: &str, count_max: usize) -> Annotations {
        let mut annotations = Annotations::default();
        for (remark, span) in self.entries {
            let (line, column) = line_and_column(text, span.start);
            let list = if remark.is_warning() {
                &mut annotations.warnings
            } else {
                &mut annotations.infos
            };
            list.push(format!("{} ({line}:{column})", remark.text()));
        }
        for (list, kind) in
            [(&mut annotations.warnings, "warning"), (&mut annotations.infos, "info")]
        {
            if list.len() > count_max {
                let omitted = list.len() - count_max;
                list.truncate(count_max);
                list.push(format!("{omitted} more {kind} annotations omitted"));
            }
        }
        annotations
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn remarks_say_where_they_belong_to_and_come_once() {
        let mut remarks = Remarks::default();
        let span = Span { start: 4, end: 5 };
        for _ in 0..2 {
            remarks.add(Remark::InvalidQuantile { quantile: f64::NAN }, span);
        }
        let annotations = remarks.finish("a\nb c", 10);
        let expected = "PromQL warning: quantile value should be between 0 and 1, got NaN (2:3)";
        assert_eq!(annotations.warnings, [expected]);
        assert_eq!(annotations.infos, [""; 0]);
    }

    #[test]
    fn too_many_remarks_are_counted() {
        let mut remarks = Remarks::default();
        for metric in ["a", "b", "c"] {
            remarks.add(Remark::PossibleNonCounter { metric: metric.to_owned() }, Span::default());
        }
        let infos = remarks.finish("", 2).infos;
        assert_eq!(infos.len(), 3);
        assert_eq!(infos[2], "1 more info annotations omitted");
    }

    #[test]
    fn monotonicity_remarks_of_one_metric_are_merged() {
        let mut remarks = Remarks::default();
        for time_ms in [0, 60_000] {
            let extent = MonotonicityExtent {
                bucket_min: 1.0,
                bucket_max: 100.0,
                difference_max: 10.0,
                first_ms: time_ms,
                last_ms: time_ms,
                samples: 1,
            };
            remarks.add(
                Remark::ForcedMonotonicity { metric: "m".to_owned(), extent },
                Span::default(),
            );
        }
        let infos = remarks.finish("", 10).infos;
        assert_eq!(infos.len(), 1);
        let expected = " for metric name \"m\", from buckets 1 to 100, with a max diff of 10, over 2 \
                        samples from 1970-01-01T00:00:00Z to 1970-01-01T00:01:00Z (1:1)";
        assert!(infos[0].ends_with(expected), "{}", infos[0]);
    }
}
