//! Which function is evaluated how.

use model::Labels;

use super::{
    ABSENT, Evaluator, Grid, Row, Sink, execution, has_value, instant_functions, is_absent,
    map_present, strip_parens, unsupported,
};
use crate::ast::{CallExpr, Expr, ExprKind, Span, ValueType};
use crate::engine::QueryError;

/// Returns whether a function gives different results at different times for the same arguments.
pub(super) fn depends_on_time(name: &str) -> bool {
    matches!(name, "time" | "timestamp" | "predict_linear")
        || instant_functions::date_part(name).is_some()
}

impl Evaluator<'_> {
    /// Pushes the rows that a function returns.
    pub(super) fn call_rows(
        &self,
        span: Span,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let name = call.function.name;
        if let Some(function) = instant_functions::simple(name) {
            return self.mapped_rows(call, grid, sink, function);
        }
        if let Some(part) = instant_functions::date_part(name) {
            return self.date_rows(call, grid, sink, part);
        }
        match name {
            "clamp" | "clamp_min" | "clamp_max" => self.clamp_rows(call, grid, sink),
            "round" => self.round_rows(call, grid, sink),
            "timestamp" => self.timestamp_rows(call, grid, sink),
            "vector" => {
                let mut values = self.scalar(argument(call, 0)?, grid)?;
                sink(Row { labels: Labels::empty(), drop_name: false, values: &mut values })
            }
            "absent" => self.absent_rows(call, grid, sink),
            "absent_over_time" => self.absent_over_time_rows(call, grid, sink),
            "label_replace" => self.label_replace_rows(call, grid, sink),
            "label_join" => self.label_join_rows(call, grid, sink),
            "sort" | "sort_desc" | "sort_by_label" | "sort_by_label_desc" => {
                self.sorted_rows(span, call, grid, sink)
            }
            "histogram_quantile" => self.histogram_quantile_rows(call, grid, sink),
            "histogram_quantiles" => self.histogram_quantiles_rows(call, grid, sink),
            "histogram_fraction" => self.histogram_fraction_rows(call, grid, sink),
            "info" => self.info_rows(call, grid, sink),
            _ if call.args.iter().any(|arg| arg.value_type() == ValueType::RangeVector) => {
                self.range_call_rows(call, grid, sink)
            }
            _ => Err(unsupported(format!("the function '{name}'"))),
        }
    }

    /// Returns the values of a function that returns a scalar.
    pub(super) fn call_scalar(&self, call: &CallExpr, grid: &Grid) -> Result<Vec<f64>, QueryError> {
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let constant = |value: f64| Ok(vec![value; grid.count]);
        match call.function.name {
            "time" => Ok((0..grid.count).map(|index| seconds(grid.time(index))).collect()),
            "pi" => constant(std::f64::consts::PI),
            "start" => constant(seconds(self.times.start)),
            "end" => constant(seconds(self.times.end)),
            "range" => constant(seconds(self.times.end.saturating_sub(self.times.start))),
            "step" => constant(seconds(self.times.step)),
            "min_of" => self.combined_scalars(call, grid, instant_functions::propagating_min),
            "max_of" => self.combined_scalars(call, grid, instant_functions::propagating_max),
            "scalar" => self.only_values(argument(call, 0)?, grid),
            other => Err(unsupported(format!("the function '{other}'"))),
        }
    }

    fn combined_scalars(
        &self,
        call: &CallExpr,
        grid: &Grid,
        combine: fn(f64, f64) -> f64,
    ) -> Result<Vec<f64>, QueryError> {
        let mut result = self.scalar(argument(call, 0)?, grid)?;
        let others = self.scalar(argument(call, 1)?, grid)?;
        for (value, other) in result.iter_mut().zip(others) {
            *value = combine(*value, other);
        }
        Ok(result)
    }

    /// Returns at each step the value of the only series that has one, otherwise NaN.
    fn only_values(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, QueryError> {
        let mut found = vec![0_u8; grid.count];
        let mut result = vec![f64::NAN; grid.count];
        self.rows(expr, grid, &mut |row| {
            for ((value, found), into) in row.values.iter().zip(&mut found).zip(&mut result) {
                if !is_absent(*value) {
                    *into = if *found == 0 { *value } else { f64::NAN };
                    *found = 1;
                }
            }
            Ok(())
        })?;
        Ok(result)
    }

    fn timestamp_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let arg = strip_parens(argument(call, 0)?);
        if let ExprKind::Vector(selector) = &arg.kind {
            return self
                .sample_time_rows(selector, grid, &mut |row| sink(Row { drop_name: true, ..row }));
        }
        self.rows(arg, grid, &mut |row| {
            for (index, value) in row.values.iter_mut().enumerate() {
                if !is_absent(*value) {
                    *value = grid.time(index) as f64 / 1000.0;
                }
            }
            sink(Row { drop_name: true, ..row })
        })
    }

    fn absent_rows(&self, call: &CallExpr, grid: &Grid, sink: Sink<'_>) -> Result<(), QueryError> {
        let arg = argument(call, 0)?;
        self.check_grid(grid)?;
        let mut values = vec![1.0; grid.count];
        self.rows(arg, grid, &mut |row| {
            for (value, into) in row.values.iter().zip(&mut values) {
                if !is_absent(*value) {
                    *into = ABSENT;
                }
            }
            Ok(())
        })?;
        if !has_value(&values) {
            return Ok(());
        }
        let labels = super::label_functions::labels_of_absent(arg);
        sink(Row { labels, drop_name: false, values: &mut values })
    }

    fn mapped_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
        function: fn(f64) -> f64,
    ) -> Result<(), QueryError> {
        self.rows(argument(call, 0)?, grid, &mut |row| {
            map_present(row.values, function);
            sink(Row { drop_name: true, ..row })
        })
    }
}

/// Returns an argument.
pub(super) fn argument(call: &CallExpr, index: usize) -> Result<&Expr, QueryError> {
    let name = call.function.name;
    let missing = || execution(format!("{name} lacks its argument {}", index + 1));
    call.args.get(index).ok_or_else(missing)
}

/// Returns an argument that is a text.
pub(super) fn text_argument(call: &CallExpr, index: usize) -> Result<&str, QueryError> {
    match &strip_parens(argument(call, index)?).kind {
        ExprKind::String(text) => Ok(text),
        _ => {
            let name = call.function.name;
            Err(execution(format!("{name} needs a text as its argument {}", index + 1)))
        }
    }
}
