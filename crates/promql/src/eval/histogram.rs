//! Quantiles and fractions of classic histograms: series per bucket, told apart by the label `le`.

use model::Labels;

use super::call::{argument, text_argument};
use super::group::GroupIndex;
use super::label_functions::with_label;
use super::{ABSENT, Evaluator, Grid, Merger, OwnedRow, Sink, is_absent, strip_parens};
use crate::annotations::{MonotonicityExtent, Remark};
use crate::ast::{CallExpr, Expr, Span};
use crate::engine::QueryError;
use crate::numeric::{almost_equal, format_openmetrics};

/// Counts that differ by less than this part of themselves are taken for equal.
const COUNT_TOLERANCE: f64 = 1e-12;

impl Evaluator<'_> {
    /// Pushes a quantile of each histogram.
    pub(super) fn histogram_quantile_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let quantile_arg = strip_parens(argument(call, 0)?);
        let quantiles = self.scalar(quantile_arg, grid)?;
        self.remark_quantiles(&quantiles, quantile_arg.span);
        let buckets_arg = strip_parens(argument(call, 1)?);
        let (histograms, points) = self.histograms(buckets_arg, grid)?;
        let mut merger = Merger::default();
        for histogram in &histograms {
            self.cancellation.check()?;
            let values = self.quantiles_of(histogram, &quantiles, grid, buckets_arg.span);
            merger.add(histogram.labels.clone(), true, values)?;
        }
        merger.emit(sink)?;
        self.release(points);
        Ok(())
    }

    /// Pushes several quantiles of each histogram, told apart by a label.
    pub(super) fn histogram_quantiles_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let buckets_arg = strip_parens(argument(call, 0)?);
        let label = text_argument(call, 1)?;
        let mut all_quantiles = Vec::new();
        for arg in call.args.iter().skip(2).map(strip_parens) {
            let quantiles = self.scalar(arg, grid)?;
            self.remark_quantiles(&quantiles, arg.span);
            all_quantiles.push(quantiles);
        }
        let (histograms, points) = self.histograms(buckets_arg, grid)?;
        let mut merger = Merger::default();
        for quantiles in &all_quantiles {
            for histogram in &histograms {
                self.cancellation.check()?;
                let values = self.quantiles_of(histogram, quantiles, grid, buckets_arg.span);
                for (labels, values) in
                    split_by_quantile(&histogram.labels, label, quantiles, values)?
                {
                    merger.add(labels, true, values)?;
                }
            }
        }
        merger.emit(sink)?;
        self.release(points);
        Ok(())
    }

    /// Pushes which part of the observations of each histogram lies between two values.
    pub(super) fn histogram_fraction_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let lower = self.scalar(argument(call, 0)?, grid)?;
        let upper = self.scalar(argument(call, 1)?, grid)?;
        let (histograms, points) = self.histograms(strip_parens(argument(call, 2)?), grid)?;
        let mut merger = Merger::default();
        for histogram in &histograms {
            self.cancellation.check()?;
            let mut values = vec![ABSENT; grid.count];
            let mut buckets = Vec::new();
            for (step, value) in values.iter_mut().enumerate() {
                if histogram.at(step, &mut buckets) {
                    *value = fraction(lower[step], upper[step], &mut buckets);
                }
            }
            merger.add(histogram.labels.clone(), true, values)?;
        }
        merger.emit(sink)?;
        self.release(points);
        Ok(())
    }

    fn histograms(
        &self,
        expr: &Expr,
        grid: &Grid,
    ) -> Result<(Vec<ClassicHistogram>, usize), QueryError> {
        let (rows, points) = self.collect(expr, grid)?;
        let mut index = GroupIndex::default();
        let mut histograms: Vec<ClassicHistogram> = Vec::new();
        for row in rows {
            let le = row.labels.get("le").unwrap_or_default();
            let Ok(bound) = le.parse::<f64>() else {
                let metric = row.labels.metric_name().unwrap_or_default().to_owned();
                self.remark(Remark::BadBucketLabel { le: le.to_owned(), metric }, expr.span);
                continue;
            };
            let labels = row.labels.filtered(|name| name != "le");
            let (number, is_new) = index.number(&labels);
            if is_new {
                histograms.push(ClassicHistogram { labels, buckets: Vec::new() });
            }
            if let Some(histogram) = histograms.get_mut(number) {
                histogram.buckets.push((bound, row));
            }
        }
        for histogram in &mut histograms {
            histogram.buckets.sort_by(|(left, _), (right, _)| left.total_cmp(right));
        }
        Ok((histograms, points))
    }

    fn quantiles_of(
        &self,
        histogram: &ClassicHistogram,
        quantiles: &[f64],
        grid: &Grid,
        span: Span,
    ) -> Vec<f64> {
        let mut extent: Option<MonotonicityExtent> = None;
        let mut values = vec![ABSENT; grid.count];
        let mut buckets = Vec::new();
        for (step, value) in values.iter_mut().enumerate() {
            if !histogram.at(step, &mut buckets) {
                continue;
            }
            let (quantile, correction) = quantile(quantiles[step], &mut buckets);
            *value = quantile;
            if let Some(correction) = correction {
                let at_step = correction.at(grid.time(step));
                match &mut extent {
                    Some(extent) => extent.merge(&at_step),
                    None => extent = Some(at_step),
                }
            }
        }
        if let Some(extent) = extent {
            let metric = histogram.labels.metric_name().unwrap_or_default().to_owned();
            self.remark(Remark::ForcedMonotonicity { metric, extent }, span);
        }
        values
    }
}

/// The buckets of one histogram, ascending by upper bound.
#[derive(Debug)]
struct ClassicHistogram {
    labels: Labels,
    buckets: Vec<(f64, OwnedRow)>,
}

impl ClassicHistogram {
    /// Stores the buckets that have a value at a step, those with equal bounds joined; returns whether there is any.
    fn at(&self, step: usize, into: &mut Vec<Bucket>) -> bool {
        into.clear();
        for (bound, row) in &self.buckets {
            let Some(count) = row.values.get(step).copied().filter(|count| !is_absent(*count))
            else {
                continue;
            };
            match into.last_mut().filter(|last| last.bound == *bound) {
                Some(last) => last.count += count,
                None => into.push(Bucket { bound: *bound, count }),
            }
        }
        !into.is_empty()
    }
}

/// Observations up to an upper bound, those of lower buckets included.
#[derive(Clone, Copy, Debug)]
struct Bucket {
    bound: f64,
    count: f64,
}

/// How far counts had to be raised.
#[derive(Clone, Copy, Debug)]
struct Correction {
    bound_min: f64,
    bound_max: f64,
    difference_max: f64,
}

impl Correction {
    fn at(self, time_ms: i64) -> MonotonicityExtent {
        MonotonicityExtent {
            bucket_min: self.bound_min,
            bucket_max: self.bound_max,
            difference_max: self.difference_max,
            first_ms: time_ms,
            last_ms: time_ms,
            samples: 1,
        }
    }
}

/// Returns the `q`-quantile of a histogram, interpolated linearly within a bucket.
///
/// In the highest bucket it is its lower bound; the lowest one begins at 0, or, when its bound is not
/// positive, counts as a whole.
fn quantile(q: f64, buckets: &mut [Bucket]) -> (f64, Option<Correction>) {
    if q.is_nan() {
        return (f64::NAN, None);
    }
    if q < 0.0 {
        return (f64::NEG_INFINITY, None);
    }
    if q > 1.0 {
        return (f64::INFINITY, None);
    }
    let has_total = buckets.last().is_some_and(|last| last.bound == f64::INFINITY);
    if !has_total {
        return (f64::NAN, None);
    }
    let correction = make_monotonic(buckets);
    let [.., second_last, last] = &*buckets else {
        return (f64::NAN, None);
    };
    if last.count == 0.0 {
        return (f64::NAN, None);
    }
    let rank = q * last.count;
    let position = buckets[..buckets.len() - 1].partition_point(|bucket| bucket.count < rank);
    if position == buckets.len() - 1 {
        return (second_last.bound, correction);
    }
    let bucket = buckets[position];
    if position == 0 && bucket.bound <= 0.0 {
        return (bucket.bound, correction);
    }
    let below = match position.checked_sub(1) {
        Some(before) => buckets[before],
        None => Bucket { bound: 0.0, count: 0.0 },
    };
    let part = (rank - below.count) / (bucket.count - below.count);
    (below.bound + (bucket.bound - below.bound) * part, correction)
}

/// Returns which part of the observations lies between two values, interpolated linearly within a bucket.
///
/// Buckets of infinite width are not interpolated.
fn fraction(lower: f64, upper: f64, buckets: &mut [Bucket]) -> f64 {
    let Some(last) = buckets.last().filter(|last| last.bound == f64::INFINITY) else {
        return f64::NAN;
    };
    let total = last.count;
    if total == 0.0 || lower.is_nan() || upper.is_nan() {
        return f64::NAN;
    }
    if lower >= upper {
        return 0.0;
    }
    let lower_rank = rank_of(lower, buckets).min(total);
    let upper_rank = rank_of(upper, buckets).min(total);
    (upper_rank - lower_rank) / total
}

/// Returns how many observations are below a value.
fn rank_of(value: f64, buckets: &[Bucket]) -> f64 {
    let mut start = match buckets.first() {
        Some(first) if first.bound <= 0.0 => f64::NEG_INFINITY,
        _ => 0.0,
    };
    let mut rank = 0.0;
    for bucket in buckets {
        if start >= value {
            return rank;
        }
        if bucket.bound > value {
            return if start.is_infinite() {
                bucket.count
            } else {
                rank + (bucket.count - rank) * (value - start) / (bucket.bound - start)
            };
        }
        rank = bucket.count;
        start = bucket.bound;
    }
    rank
}

/// Raises counts that are less than the one below, and evens out differences that come from rounding.
fn make_monotonic(buckets: &mut [Bucket]) -> Option<Correction> {
    let mut correction: Option<Correction> = None;
    let mut previous = buckets.first()?.count;
    for bucket in &mut buckets[1..] {
        let count = bucket.count;
        if count == previous {
            continue;
        }
        if almost_equal(previous, count, COUNT_TOLERANCE) {
            bucket.count = previous;
        } else if count < previous {
            bucket.count = previous;
            let difference = previous - count;
            let known = correction.get_or_insert(Correction {
                bound_min: bucket.bound,
                bound_max: bucket.bound,
                difference_max: difference,
            });
            known.bound_max = bucket.bound;
            known.difference_max = known.difference_max.max(difference);
        } else {
            previous = count;
        }
    }
    correction
}

/// Splits a column into one row for each different quantile, labelled with it.
fn split_by_quantile(
    labels: &Labels,
    label: &str,
    quantiles: &[f64],
    values: Vec<f64>,
) -> Result<Vec<(Labels, Vec<f64>)>, QueryError> {
    let mut parts: Vec<(u64, Labels, Vec<f64>)> = Vec::new();
    for (step, (q, value)) in quantiles.iter().zip(&values).enumerate() {
        if is_absent(*value) {
            continue;
        }
        let bits = q.to_bits();
        let position = match parts.iter().position(|(known, _, _)| *known == bits) {
            Some(position) => position,
            None => {
                let labels = with_label(labels, label, &format_openmetrics(*q))?;
                parts.push((bits, labels, vec![ABSENT; values.len()]));
                parts.len() - 1
            }
        };
        parts[position].2[step] = *value;
    }
    Ok(parts.into_iter().map(|(_, labels, values)| (labels, values)).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn buckets(pairs: &[(f64, f64)]) -> Vec<Bucket> {
        pairs.iter().map(|(bound, count)| Bucket { bound: *bound, count: *count }).collect()
    }

    fn check_quantile(q: f64, pairs: &[(f64, f64)], expected: f64) {
        let actual = quantile(q, &mut buckets(pairs)).0;
        assert!(almost_equal(actual, expected, 1e-12), "{q} of {pairs:?}: {actual}");
    }

    #[test]
    fn quantiles_are_interpolated_within_buckets() {
        let positive = [(0.1, 50.0), (0.2, 70.0), (1.0, 110.0), (f64::INFINITY, 120.0)];
        check_quantile(0.0, &positive, 0.0);
        check_quantile(0.2, &positive, 0.048);
        check_quantile(0.5, &positive, 0.15);
        check_quantile(1.0, &positive, 1.0);
        check_quantile(-0.1, &positive, f64::NEG_INFINITY);
        check_quantile(f64::NAN, &positive, f64::NAN);
        check_quantile(0.0, &[(-0.2, 1.0), (f64::INFINITY, 2.0)], -0.2);
    }

    #[test]
    fn histograms_without_total_or_observations_have_no_quantile() {
        check_quantile(0.5, &[(1.0, 1.0), (2.0, 2.0)], f64::NAN);
        check_quantile(0.5, &[(f64::INFINITY, 2.0)], f64::NAN);
        check_quantile(0.5, &[(1.0, 0.0), (f64::INFINITY, 0.0)], f64::NAN);
    }

    #[test]
    fn falling_counts_are_raised_and_told() {
        let mut counts = buckets(&[(0.1, 20.0), (1.0, 10.0), (10.0, 50.0), (f64::INFINITY, 45.0)]);
        let correction = make_monotonic(&mut counts).expect("counts fall");
        assert_eq!(
            counts.iter().map(|bucket| bucket.count).collect::<Vec<_>>(),
            [20.0, 20.0, 50.0, 50.0]
        );
        assert_eq!((correction.bound_min, correction.bound_max), (1.0, f64::INFINITY));
        assert_eq!(correction.difference_max, 10.0);
    }

    #[test]
    fn rounding_errors_are_evened_out_silently() {
        let mut counts = buckets(&[(1.0, 1.0), (2.0, 1.0 - 1e-15), (f64::INFINITY, 1.0 + 1e-15)]);
        assert!(make_monotonic(&mut counts).is_none());
        assert!(counts.iter().all(|bucket| bucket.count == 1.0));
    }

    #[test]
    fn fractions_do_not_interpolate_infinite_buckets() {
        let check = |lower: f64, upper: f64, pairs: &[(f64, f64)], expected: f64| {
            let actual = fraction(lower, upper, &mut buckets(pairs));
            assert!(almost_equal(actual, expected, 1e-12), "{lower} to {upper}: {actual}");
        };
        let positive = [(1.0, 1.0), (2.0, 3.0), (3.0, 6.0), (f64::INFINITY, 100.0)];
        check(0.0, 1.5, &positive, 0.02);
        check(2.0, 5.0, &positive, 0.03);
        check(4.0, 5.0, &positive, 0.0);
        check(400.0, f64::INFINITY, &positive, 0.94);
        check(3.0, 2.0, &positive, 0.0);
        check(f64::NAN, 1.0, &positive, f64::NAN);
        let negative = [(-3.0, 10.0), (-2.0, 12.0), (-1.0, 15.0), (f64::INFINITY, 100.0)];
        check(-4.0, -2.0, &negative, 0.02);
        check(f64::NEG_INFINITY, -1.5, &negative, 0.135);
    }
}
