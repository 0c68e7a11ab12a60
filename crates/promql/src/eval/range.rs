//! Functions that turn the windows of a range vector into values.

use model::Cancellation;

use super::{
    ABSENT, Evaluator, Grid, RawSeries, Row, Sink, execution, has_value, is_absent, strip_parens,
    unsupported,
};
use super::{extended, over_time, rate};
use crate::annotations::Remark;
use crate::ast::{CallExpr, Expr, RangeExtension, Span, ValueType};
use crate::engine::QueryError;
use crate::eval::selector::Windows;

/// After how many samples a kernel looks whether the query is cancelled.
const UNCHECKED_SAMPLES_MAX: usize = 8192;

/// What the kernels of range functions work on.
#[derive(Debug)]
pub(super) struct WindowInput<'s> {
    pub(super) timestamps: &'s [i64],
    pub(super) values: &'s [f64],
    pub(super) windows: &'s Windows,
    /// The steps at which the windows are evaluated.
    pub(super) grid: &'s Grid,
    /// The scalar arguments, one value per step.
    pub(super) scalars: &'s [Vec<f64>],
    pub(super) cancellation: &'s Cancellation,
    /// How far before a window its edge may take its value from, in milliseconds.
    pub(super) lookback_ms: i64,
}

impl WindowInput<'_> {
    /// As [`Windows::for_each`], but stops once the query is cancelled; whoever made the input has to check that.
    #[inline]
    pub(super) fn for_each(&self, mut visit: impl FnMut(usize, usize, usize)) {
        let mut unchecked = 0;
        let mut is_cancelled = false;
        self.windows.for_each(self.timestamps, |index, low, high| {
            unchecked += high - low;
            if unchecked > UNCHECKED_SAMPLES_MAX {
                unchecked = 0;
                is_cancelled = is_cancelled || self.cancellation.check().is_err();
            }
            if !is_cancelled {
                visit(index, low, high);
            }
        });
    }

    /// Stores the result of `function` over the values of each window that has any.
    #[inline]
    pub(super) fn over_values(&self, out: &mut [f64], mut function: impl FnMut(&[f64]) -> f64) {
        self.for_each(|index, low, high| {
            out[index] = function(&self.values[low..high]);
        });
    }
}

impl Evaluator<'_> {
    /// Pushes the results of a function over a range vector.
    pub(super) fn range_call_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let name = call.function.name;
        let Some(range_arg) =
            call.args.iter().find(|arg| arg.value_type() == ValueType::RangeVector)
        else {
            return Err(execution(format!("{name} needs a range vector")));
        };
        let range_span = strip_parens(range_arg).span;
        let extension = extended::extension_of(name, range_arg)?;
        let scalars = self.scalar_args(&call.args, grid)?;
        let keeps_name = matches!(name, "last_over_time" | "first_over_time");
        let is_counter_rate = matches!(name, "rate" | "increase");
        let mut values = Vec::new();
        self.raw_series(range_arg, grid, &mut |series, windows| {
            let RawSeries { labels, drop_name, timestamps, values: samples } = series;
            values.clear();
            values.resize(grid.count, ABSENT);
            let input = WindowInput {
                timestamps,
                values: samples,
                windows,
                grid,
                scalars: &scalars,
                cancellation: self.cancellation,
                lookback_ms: self.config.lookback_ms,
            };
            match extension {
                Some(extension) => apply_extended(name, extension, &input, &mut values),
                None => self.apply(name, &call.args, &input, &mut values)?,
            }
            self.cancellation.check()?;
            if !has_value(&values) {
                return Ok(());
            }
            if is_counter_rate {
                self.remark_non_counter(labels.metric_name(), range_span);
            }
            let drop_name = drop_name || !keeps_name;
            sink(Row { labels: labels.clone(), drop_name, values: &mut values })
        })
    }

    /// Pushes 1 for each step at which no series has a sample in its window.
    pub(super) fn absent_over_time_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let Some(arg) = call.args.first() else {
            return Err(execution("absent_over_time needs a range vector"));
        };
        extended::extension_of(call.function.name, arg)?;
        self.check_grid(grid)?;
        let mut values = vec![1.0; grid.count];
        self.raw_series(arg, grid, &mut |series, windows| {
            windows.for_each(series.timestamps, |index, _, _| values[index] = ABSENT);
            Ok(())
        })?;
        if !has_value(&values) {
            return Ok(());
        }
        let labels = super::label_functions::labels_of_absent(arg);
        sink(Row { labels, drop_name: true, values: &mut values })
    }

    /// Returns the values of all scalar arguments.
    pub(super) fn scalar_args(
        &self,
        args: &[Expr],
        grid: &Grid,
    ) -> Result<Vec<Vec<f64>>, QueryError> {
        args.iter()
            .filter(|arg| arg.value_type() == ValueType::Scalar)
            .map(|arg| self.scalar(arg, grid))
            .collect()
    }

    fn apply(
        &self,
        name: &str,
        args: &[Expr],
        input: &WindowInput<'_>,
        out: &mut [f64],
    ) -> Result<(), QueryError> {
        match name {
            "rate" => rate::extrapolated::<true, true>(input, out),
            "increase" => rate::extrapolated::<true, false>(input, out),
            "delta" => rate::extrapolated::<false, false>(input, out),
            "irate" => rate::of_last_two::<true>(input, out),
            "idelta" => rate::of_last_two::<false>(input, out),
            "deriv" => rate::slope(input, out),
            "predict_linear" => rate::prediction(input, out),
            "double_exponential_smoothing" => rate::smoothed(input, out)?,
            "changes" => over_time::changes(input, out),
            "resets" => over_time::resets(input, out),
            "avg_over_time" => over_time::mean(input, out),
            "sum_over_time" => over_time::sum(input, out),
            "min_over_time" => over_time::min(input, out),
            "max_over_time" => over_time::max(input, out),
            "count_over_time" => input.over_values(out, |values| values.len() as f64),
            "present_over_time" => input.over_values(out, |_| 1.0),
            "first_over_time" => input.over_values(out, |values| values[0]),
            "last_over_time" => input.over_values(out, |values| values[values.len() - 1]),
            "stddev_over_time" => {
                input.over_values(out, |values| over_time::variance(values).sqrt());
            }
            "stdvar_over_time" => input.over_values(out, over_time::variance),
            "mad_over_time" => over_time::median_deviation(input, out),
            "quantile_over_time" => {
                let span = args.first().map(|arg| strip_parens(arg).span).unwrap_or_default();
                self.quantile_over_time(input, span, out);
            }
            "ts_of_first_over_time" => over_time::time_of_first(input, out),
            "ts_of_last_over_time" => over_time::time_of_last(input, out),
            "ts_of_max_over_time" => over_time::time_of_max(input, out),
            "ts_of_min_over_time" => over_time::time_of_min(input, out),
            other => return Err(unsupported(format!("the function '{other}'"))),
        }
        Ok(())
    }

    fn quantile_over_time(&self, input: &WindowInput<'_>, span: Span, out: &mut [f64]) {
        let Some(quantiles) = input.scalars.first() else {
            return;
        };
        over_time::quantile(input, quantiles, out);
        let mut last_bits = None;
        for (q, value) in quantiles.iter().zip(out.iter()) {
            let is_invalid = q.is_nan() || !(0.0..=1.0).contains(q);
            if is_invalid && !is_absent(*value) && last_bits != Some(q.to_bits()) {
                last_bits = Some(q.to_bits());
                self.remark(Remark::InvalidQuantile { quantile: *q }, span);
            }
        }
    }

    fn remark_non_counter(&self, metric: Option<&str>, span: Span) {
        let Some(metric) = metric else {
            return;
        };
        let suffixes = ["_total", "_sum", "_count", "_bucket"];
        if !suffixes.iter().any(|suffix| metric.ends_with(suffix)) {
            self.remark(Remark::PossibleNonCounter { metric: metric.to_owned() }, span);
        }
    }
}

/// Applies one of the functions that [`extended::extension_of`] lets pass.
fn apply_extended(name: &str, extension: RangeExtension, input: &WindowInput<'_>, out: &mut [f64]) {
    match name {
        "rate" => extended::change::<true, true>(input, extension, out),
        "increase" => extended::change::<true, false>(input, extension, out),
        "delta" => extended::change::<false, false>(input, extension, out),
        "changes" => extended::count_steps(input, extension, out, over_time::is_change),
        _ => extended::count_steps(input, extension, out, over_time::is_reset),
    }
}
