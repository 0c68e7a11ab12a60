//! Reading series: the newest sample before each step, or all samples of windows.

use std::sync::Arc;

use model::{Labels, SampleColumns, Series, TimeRange, Timestamp};

use super::{
    ABSENT, Evaluator, Grid, Row, Sink, extended, has_value, is_absent, strip_parens, unexpected,
    unsupported,
};
use crate::ast::{
    Expr, ExprKind, MatrixSelector, RangeExtension, SubqueryExpr, ValueType, VectorSelector,
};
use crate::engine::QueryError;

/// Windows that end at equal distances: window `i` is `(end - range, end]` with `end` at step `i`.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Windows {
    /// The end of the first one, in milliseconds.
    pub(crate) first_end: i64,
    /// The distance, in milliseconds; 0 when `@` pins all of them.
    pub(crate) step: i64,
    /// How many there are.
    pub(crate) count: usize,
    /// How long each is, in milliseconds.
    pub(crate) range: i64,
}

impl Windows {
    /// Returns the last instant of a window.
    #[inline]
    pub(crate) fn end(&self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.first_end.saturating_add(self.step.saturating_mul(index))
    }

    /// Returns the instant before a window.
    #[inline]
    pub(crate) fn start(&self, index: usize) -> i64 {
        self.end(index).saturating_sub(self.range)
    }

    /// Calls `visit` with the index of each window that holds a sample and the half-open range of its samples.
    #[inline]
    pub(crate) fn for_each(&self, timestamps: &[i64], mut visit: impl FnMut(usize, usize, usize)) {
        let mut low = 0;
        let mut high = 0;
        for index in 0..self.count {
            let end = self.end(index);
            let start = end.saturating_sub(self.range);
            while timestamps.get(high).is_some_and(|timestamp| *timestamp <= end) {
                high += 1;
            }
            while low < high && timestamps.get(low).is_some_and(|timestamp| *timestamp <= start) {
                low += 1;
            }
            if low < high {
                visit(index, low, high);
            }
        }
    }

    fn last_end(&self) -> i64 {
        self.end(self.count.saturating_sub(1))
    }
}

/// The samples of one series of a range vector, without staleness markers.
#[derive(Debug)]
pub(crate) struct RawSeries<'s> {
    pub(crate) labels: &'s Labels,
    pub(crate) drop_name: bool,
    pub(crate) timestamps: &'s [i64],
    pub(crate) values: &'s [f64],
}

/// Takes series one by one, each with the windows over it.
pub(crate) type RawSink<'s> = &'s mut dyn FnMut(RawSeries<'_>, &Windows) -> Result<(), QueryError>;

impl Evaluator<'_> {
    /// Pushes the newest sample of each selected series before each step.
    pub(crate) fn instant_rows(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        self.newest(selector, grid, false, sink)
    }

    /// Pushes the time, in seconds, of the newest sample of each selected series before each step.
    pub(super) fn sample_time_rows(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        self.newest(selector, grid, true, sink)
    }

    fn newest(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        wants_time: bool,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        if selector.extension.is_some() {
            return self.interpolated_rows(selector, grid, sink);
        }
        self.check_grid(grid)?;
        let lookback = self.config.lookback_ms;
        let references = self.windows(selector, grid, lookback)?;
        let range = read_range(&references);
        let mut columns = SampleColumns::new();
        let mut values = Vec::new();
        for series in self.select(selector, range)? {
            columns.clear();
            series.read(range, &mut columns)?;
            self.count_read(columns.len())?;
            values.clear();
            values.resize(grid.count, ABSENT);
            let timestamps = columns.timestamps();
            let samples = columns.values();
            references.for_each(timestamps, |index, _, high| {
                let value = samples[high - 1];
                values[index] = if wants_time && !is_absent(value) {
                    timestamps[high - 1] as f64 / 1000.0
                } else {
                    value
                };
            });
            if has_value(&values) {
                let labels = series.labels().clone();
                sink(Row { labels, drop_name: false, values: &mut values })?;
            }
        }
        Ok(())
    }

    /// Pushes values interpolated between the samples around each step, up to the lookback away.
    fn interpolated_rows(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        if selector.extension == Some(RangeExtension::Anchored) {
            return Err(unsupported("the modifier 'anchored' without a range"));
        }
        self.check_grid(grid)?;
        let lookback = self.config.lookback_ms;
        let windows = self.windows(selector, grid, 0)?;
        let reach = extended::reach(&windows, RangeExtension::Smoothed, lookback);
        let range = read_range(&reach);
        let mut columns = SampleColumns::new();
        let mut present = (Vec::new(), Vec::new());
        let mut values = Vec::new();
        for series in self.select(selector, range)? {
            columns.clear();
            series.read(range, &mut columns)?;
            self.count_read(columns.len())?;
            copy_present(columns.timestamps(), columns.values(), &mut present);
            values.clear();
            values.resize(grid.count, ABSENT);
            extended::interpolated(&present.0, &present.1, &reach, lookback, &mut values);
            if has_value(&values) {
                let labels = series.labels().clone();
                sink(Row { labels, drop_name: false, values: &mut values })?;
            }
        }
        Ok(())
    }

    /// Pushes the samples of each series of a range vector; none is without samples.
    pub(crate) fn raw_series(
        &self,
        expr: &Expr,
        grid: &Grid,
        sink: RawSink<'_>,
    ) -> Result<(), QueryError> {
        match &strip_parens(expr).kind {
            ExprKind::Matrix(matrix) => self.matrix_series(matrix, grid, sink),
            ExprKind::Subquery(subquery) => self.subquery_series(subquery, grid, sink),
            _ => Err(unexpected(expr, ValueType::RangeVector)),
        }
    }

    fn matrix_series(
        &self,
        matrix: &MatrixSelector,
        grid: &Grid,
        sink: RawSink<'_>,
    ) -> Result<(), QueryError> {
        self.check_grid(grid)?;
        let length = self.positive_duration(&matrix.range)?;
        let windows = self.windows(&matrix.selector, grid, length)?;
        let range = match matrix.selector.extension {
            Some(extension) => {
                read_range(&extended::reach(&windows, extension, self.config.lookback_ms))
            }
            None => read_range(&windows),
        };
        let mut columns = SampleColumns::new();
        let mut fresh = (Vec::new(), Vec::new());
        for series in self.select(&matrix.selector, range)? {
            columns.clear();
            series.read(range, &mut columns)?;
            self.count_read(columns.len())?;
            let (timestamps, values) = if columns.values().iter().any(|value| is_absent(*value)) {
                copy_present(columns.timestamps(), columns.values(), &mut fresh);
                (fresh.0.as_slice(), fresh.1.as_slice())
            } else {
                (columns.timestamps(), columns.values())
            };
            if !timestamps.is_empty() {
                let labels = series.labels();
                sink(RawSeries { labels, drop_name: false, timestamps, values }, &windows)?;
            }
        }
        Ok(())
    }

    fn subquery_series(
        &self,
        subquery: &SubqueryExpr,
        grid: &Grid,
        sink: RawSink<'_>,
    ) -> Result<(), QueryError> {
        let range = self.positive_duration(&subquery.range)?;
        let offset = self.offset(subquery.offset.as_ref())?;
        let step = match &subquery.step {
            Some(step) => self.positive_duration(step)?,
            None => self.config.subquery_step_ms.max(1),
        };
        let windows = windows(self.pinned(subquery.at), offset, grid, range);
        let inner = aligned_grid(&windows, step);
        self.check_grid(&inner)?;
        let times: Vec<i64> = (0..inner.count).map(|index| inner.time(index)).collect();
        let mut present = (Vec::new(), Vec::new());
        self.rows(&subquery.expr, &inner, &mut |row| {
            copy_present(&times, row.values, &mut present);
            let (timestamps, values) = (&present.0, &present.1);
            let series =
                RawSeries { labels: &row.labels, drop_name: row.drop_name, timestamps, values };
            sink(series, &windows)
        })
    }

    fn windows(
        &self,
        selector: &VectorSelector,
        grid: &Grid,
        range: i64,
    ) -> Result<Windows, QueryError> {
        let offset = self.offset(selector.offset.as_ref())?;
        Ok(windows(self.pinned(selector.at), offset, grid, range))
    }

    fn select(
        &self,
        selector: &VectorSelector,
        range: TimeRange,
    ) -> Result<Vec<Arc<dyn Series>>, QueryError> {
        Ok(self.source.select(&selector.matchers, range, self.cancellation)?)
    }
}

fn windows(pinned: Option<i64>, offset: i64, grid: &Grid, range: i64) -> Windows {
    let reference = pinned.unwrap_or(grid.start);
    Windows {
        first_end: reference.saturating_sub(offset),
        step: if pinned.is_some() { 0 } else { grid.step },
        count: grid.count,
        range,
    }
}

/// Returns the span from the first instant of the first window to the end of the last one.
fn read_range(windows: &Windows) -> TimeRange {
    TimeRange::new(
        Timestamp::from_millis(windows.start(0).saturating_add(1)),
        Timestamp::from_millis(windows.last_end()),
    )
}

/// Returns the multiples of `step` that lie in any of the windows or between them.
fn aligned_grid(windows: &Windows, step: i64) -> Grid {
    let before = windows.start(0);
    let start = before.div_euclid(step).saturating_add(1).saturating_mul(step);
    let end = windows.last_end();
    let count = if start > end { 0 } else { end.saturating_sub(start) / step + 1 };
    Grid { start, step, count: usize::try_from(count).unwrap_or(usize::MAX) }
}

fn copy_present(timestamps: &[i64], values: &[f64], into: &mut (Vec<i64>, Vec<f64>)) {
    into.0.clear();
    into.1.clear();
    for (timestamp, value) in timestamps.iter().zip(values) {
        if !is_absent(*value) {
            into.0.push(*timestamp);
            into.1.push(*value);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn windows_of(first_end: i64, step: i64, count: usize, range: i64) -> Windows {
        Windows { first_end, step, count, range }
    }

    #[test]
    fn windows_exclude_their_start_and_include_their_end() {
        let mut seen = Vec::new();
        let windows = windows_of(20, 10, 3, 20);
        windows.for_each(&[0, 10, 20, 30], |index, low, high| seen.push((index, low, high)));
        assert_eq!(seen, [(0, 1, 3), (1, 2, 4), (2, 3, 4)]);
    }

    #[test]
    fn windows_without_samples_are_not_visited() {
        let mut seen = Vec::new();
        windows_of(0, 10, 5, 5).for_each(&[18], |index, _, _| seen.push(index));
        assert_eq!(seen, [2]);
    }

    #[test]
    fn subqueries_are_evaluated_at_multiples_of_their_step() {
        let times = |windows: Windows, step| {
            let grid = aligned_grid(&windows, step);
            (0..grid.count).map(|index| grid.time(index)).collect::<Vec<_>>()
        };
        assert_eq!(times(windows_of(100, 1, 1, 50), 25), [75, 100]);
        assert_eq!(times(windows_of(99, 1, 1, 50), 25), [50, 75]);
        assert_eq!(times(windows_of(-1, 1, 1, 50), 25), [-50, -25]);
        assert_eq!(times(windows_of(10, 1, 1, 5), 25), [0; 0]);
    }
}
