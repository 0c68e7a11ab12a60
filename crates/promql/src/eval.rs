//! Evaluation of an expression over a grid of times.
//!
//! Series are evaluated one by one over the whole grid: an operator pulls nothing, its operand pushes
//! complete rows (one series, one value per step) into it. An aggregation of a range function so never
//! holds more than the raw samples of one series and one column per group.

use std::cell::{Cell, RefCell};

use model::{Cancellation, Labels, SeriesSource, is_stale, stale_nan};
use std::collections::HashMap;

use crate::annotations::{Remark, Remarks};
use crate::ast::{Expr, ExprKind, Span, UnaryOp, ValueType};
use crate::engine::{EngineConfig, QueryError};

mod aggregate;
mod binary;
mod call;
mod duration;
mod extended;
mod group;
mod histogram;
mod info;
mod instant_functions;
mod label_functions;
mod over_time;
mod range;
mod rate;
mod selector;
mod sort;

pub(crate) use selector::RawSeries;

/// Most expressions within each other; a parser with a lower limit never lets this one be met.
const DEPTH_MAX: usize = 256;

/// The mark of a step without a value. No operation of ours yields these bits, and the staleness marker,
/// which has them, means the same.
pub(crate) const ABSENT: f64 = stale_nan();

/// Returns whether a step has no value.
#[inline]
pub(crate) fn is_absent(value: f64) -> bool {
    is_stale(value)
}

/// Times with equal distances.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Grid {
    /// The first time, in milliseconds.
    pub(crate) start: i64,
    /// The distance, in milliseconds; positive.
    pub(crate) step: i64,
    /// How many there are.
    pub(crate) count: usize,
}

impl Grid {
    /// Returns the grid of one time.
    pub(crate) const fn at(time_ms: i64) -> Self {
        Self { start: time_ms, step: 1, count: 1 }
    }

    /// Returns the time of a step.
    #[inline]
    pub(crate) fn time(&self, index: usize) -> i64 {
        let index = i64::try_from(index).unwrap_or(i64::MAX);
        self.start.saturating_add(self.step.saturating_mul(index))
    }
}

/// What the whole query asks for; the same within subqueries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryTimes {
    /// The first time, in milliseconds.
    pub(crate) start: i64,
    /// The last time, in milliseconds.
    pub(crate) end: i64,
    /// The distance of its times, in milliseconds; 0 when there is only one.
    pub(crate) step: i64,
}

/// One series of an instant vector over a grid.
#[derive(Debug)]
pub(crate) struct Row<'r> {
    /// Its labels, the metric's name included even when `drop_name` is set.
    pub(crate) labels: Labels,
    /// Whether the metric's name is to be removed in the end.
    pub(crate) drop_name: bool,
    /// A value or [`ABSENT`] for each step; whoever receives the row may change or take them.
    pub(crate) values: &'r mut Vec<f64>,
}

/// A row that is kept.
#[derive(Clone, Debug)]
pub(crate) struct OwnedRow {
    /// See [`Row::labels`].
    pub(crate) labels: Labels,
    /// See [`Row::drop_name`].
    pub(crate) drop_name: bool,
    /// See [`Row::values`].
    pub(crate) values: Vec<f64>,
}

/// Takes rows one by one.
pub(crate) type Sink<'s> = &'s mut dyn FnMut(Row<'_>) -> Result<(), QueryError>;

/// Evaluates the parts of one query.
#[derive(Debug)]
pub(crate) struct Evaluator<'q> {
    pub(crate) source: &'q dyn SeriesSource,
    pub(crate) config: &'q EngineConfig,
    pub(crate) times: QueryTimes,
    pub(crate) cancellation: &'q Cancellation,
    remarks: RefCell<Remarks>,
    samples_read: Cell<u64>,
    samples_held: Cell<u64>,
    depth: Cell<usize>,
}

impl<'q> Evaluator<'q> {
    pub(crate) fn new(
        source: &'q dyn SeriesSource,
        config: &'q EngineConfig,
        times: QueryTimes,
        cancellation: &'q Cancellation,
    ) -> Self {
        Self {
            source,
            config,
            times,
            cancellation,
            remarks: RefCell::default(),
            samples_read: Cell::new(0),
            samples_held: Cell::new(0),
            depth: Cell::new(0),
        }
    }

    /// Returns what was remarked and how many samples were read.
    pub(crate) fn finish(self) -> (Remarks, u64) {
        (self.remarks.into_inner(), self.samples_read.get())
    }

    pub(crate) fn remark(&self, remark: Remark, span: Span) {
        self.remarks.borrow_mut().add(remark, span);
    }

    /// Counts samples that were read from the source.
    pub(crate) fn count_read(&self, samples: usize) -> Result<(), QueryError> {
        let total = self.samples_read.get().saturating_add(samples as u64);
        self.samples_read.set(total);
        if total > self.config.samples_max {
            return Err(QueryError::TooManySamples { limit: self.config.samples_max });
        }
        self.cancellation.check()?;
        Ok(())
    }

    /// Counts points that are held until [`Evaluator::release`].
    pub(crate) fn hold(&self, points: usize) -> Result<(), QueryError> {
        let total = self.samples_held.get().saturating_add(points as u64);
        self.samples_held.set(total);
        if total > self.config.samples_max {
            return Err(QueryError::TooManySamples { limit: self.config.samples_max });
        }
        Ok(())
    }

    /// Forgets points that were counted by [`Evaluator::hold`].
    pub(crate) fn release(&self, points: usize) {
        self.samples_held.set(self.samples_held.get().saturating_sub(points as u64));
    }

    /// Fails when one column over `grid` would already be too large.
    pub(crate) fn check_grid(&self, grid: &Grid) -> Result<(), QueryError> {
        if grid.count as u64 > self.config.samples_max {
            return Err(QueryError::TooManySamples { limit: self.config.samples_max });
        }
        Ok(())
    }

    fn descend<T>(
        &self,
        evaluate: impl FnOnce() -> Result<T, QueryError>,
    ) -> Result<T, QueryError> {
        let depth = self.depth.get();
        if depth >= DEPTH_MAX {
            return Err(execution(format!("expression is nested deeper than {DEPTH_MAX} levels")));
        }
        self.depth.set(depth + 1);
        let result = evaluate();
        self.depth.set(depth);
        result
    }

    /// Pushes the rows of an instant vector into `sink`; none is without a value.
    pub(crate) fn rows(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), QueryError> {
        self.cancellation.check()?;
        if grid.count == 0 {
            return Ok(());
        }
        self.descend(|| self.rows_of(expr, grid, sink))
    }

    fn rows_of(&self, expr: &Expr, grid: &Grid, sink: Sink<'_>) -> Result<(), QueryError> {
        if grid.count > 1 && is_step_invariant(expr) {
            let single = Grid { count: 1, ..*grid };
            return self.rows(expr, &single, &mut |row| {
                let value = row.values.first().copied().unwrap_or(ABSENT);
                row.values.resize(grid.count, value);
                sink(row)
            });
        }
        match &expr.kind {
            ExprKind::Paren(inner) => self.rows(inner, grid, sink),
            ExprKind::Unary(UnaryOp::Plus, inner) => self.rows(inner, grid, sink),
            ExprKind::Unary(UnaryOp::Minus, inner) => self.rows(inner, grid, &mut |row| {
                map_present(row.values, |value| -value);
                sink(Row { drop_name: true, ..row })
            }),
            ExprKind::Binary(binary) => self.binary_rows(binary, grid, sink),
            ExprKind::Aggregate(aggregate) => self.aggregate_rows(aggregate, grid, sink),
            ExprKind::Call(call) => self.call_rows(expr.span, call, grid, sink),
            ExprKind::Vector(selector) => self.instant_rows(selector, grid, sink),
            ExprKind::Number(_)
            | ExprKind::String(_)
            | ExprKind::Matrix(_)
            | ExprKind::Subquery(_) => Err(unexpected(expr, ValueType::InstantVector)),
        }
    }

    /// Returns all rows of an instant vector and how many points they hold; release these when the rows go.
    pub(crate) fn collect(
        &self,
        expr: &Expr,
        grid: &Grid,
    ) -> Result<(Vec<OwnedRow>, usize), QueryError> {
        let mut rows = Vec::new();
        self.rows(expr, grid, &mut |row| {
            self.hold(row.values.len())?;
            let values = std::mem::take(row.values);
            rows.push(OwnedRow { labels: row.labels, drop_name: row.drop_name, values });
            Ok(())
        })?;
        let points = rows.iter().map(|row| row.values.len()).sum();
        Ok((rows, points))
    }

    /// Returns the values of a scalar over the grid.
    pub(crate) fn scalar(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, QueryError> {
        self.check_grid(grid)?;
        self.descend(|| self.scalar_of(expr, grid))
    }

    fn scalar_of(&self, expr: &Expr, grid: &Grid) -> Result<Vec<f64>, QueryError> {
        match &expr.kind {
            ExprKind::Number(value) => Ok(vec![*value; grid.count]),
            ExprKind::Paren(inner) | ExprKind::Unary(UnaryOp::Plus, inner) => {
                self.scalar(inner, grid)
            }
            ExprKind::Unary(UnaryOp::Minus, inner) => {
                let mut values = self.scalar(inner, grid)?;
                for value in &mut values {
                    *value = -*value;
                }
                Ok(values)
            }
            ExprKind::Binary(binary) => self.binary_scalar(binary, grid),
            ExprKind::Call(call) => self.call_scalar(call, grid),
            _ => Err(unexpected(expr, ValueType::Scalar)),
        }
    }
}

/// Removes metric names that are to be removed and joins series that became equal.
///
/// # Errors
///
/// Two of them have a value at the same time.
pub(crate) fn settle(rows: Vec<OwnedRow>) -> Result<Vec<OwnedRow>, QueryError> {
    let mut merger = Merger::default();
    for row in rows {
        let labels = if row.drop_name { without_metric_identity(&row.labels) } else { row.labels };
        merger.add(labels, false, row.values)?;
    }
    Ok(merger.rows)
}

/// Removes the name, the type and the unit of the metric.
pub(crate) fn without_metric_identity(labels: &Labels) -> Labels {
    labels.filtered(|name| !matches!(name, "__name__" | "__type__" | "__unit__"))
}

/// Joins rows with equal labels whose values are at different times.
#[derive(Debug, Default)]
pub(crate) struct Merger {
    /// The joined rows, in the order in which their labels were first seen.
    pub(crate) rows: Vec<OwnedRow>,
    positions: HashMap<Labels, usize>,
}

impl Merger {
    /// Adds a row.
    ///
    /// # Errors
    ///
    /// A row with these labels has a value at the same time.
    pub(crate) fn add(
        &mut self,
        labels: Labels,
        drop_name: bool,
        values: Vec<f64>,
    ) -> Result<(), QueryError> {
        if let Some(present) = self.positions.get(&labels).and_then(|at| self.rows.get_mut(*at)) {
            for (into, value) in present.values.iter_mut().zip(values) {
                if is_absent(value) {
                    continue;
                }
                if !is_absent(*into) {
                    return Err(duplicate_labelset());
                }
                *into = value;
            }
            return Ok(());
        }
        self.positions.insert(labels.clone(), self.rows.len());
        self.rows.push(OwnedRow { labels, drop_name, values });
        Ok(())
    }

    /// Pushes the rows on.
    pub(crate) fn emit(self, sink: Sink<'_>) -> Result<(), QueryError> {
        emit_all(self.rows, sink)
    }
}

/// Pushes kept rows on, leaving out those without a value.
pub(crate) fn emit_all(rows: Vec<OwnedRow>, sink: Sink<'_>) -> Result<(), QueryError> {
    for mut row in rows {
        if has_value(&row.values) {
            let OwnedRow { labels, drop_name, .. } = row;
            sink(Row { labels, drop_name, values: &mut row.values })?;
        }
    }
    Ok(())
}

/// Returns whether any step has a value.
#[inline]
pub(crate) fn has_value(values: &[f64]) -> bool {
    values.iter().any(|value| !is_absent(*value))
}

/// Replaces every value that is there.
#[inline]
pub(crate) fn map_present(values: &mut [f64], mut function: impl FnMut(f64) -> f64) {
    for value in values {
        if !is_absent(*value) {
            *value = function(*value);
        }
    }
}

/// Returns the expression within any number of parentheses.
pub(crate) fn strip_parens(mut expr: &Expr) -> &Expr {
    while let ExprKind::Paren(inner) = &expr.kind {
        expr = inner;
    }
    expr
}

/// Returns whether an expression has the same value at all times, because `@` pins all that it reads.
fn is_step_invariant(expr: &Expr) -> bool {
    match &expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => is_step_invariant(inner),
        ExprKind::Binary(binary) => {
            is_step_invariant(&binary.left) && is_step_invariant(&binary.right)
        }
        ExprKind::Aggregate(aggregate) => {
            is_step_invariant(&aggregate.expr)
                && aggregate.param.as_ref().is_none_or(is_step_invariant)
        }
        ExprKind::Call(call) => {
            !call::depends_on_time(call.function.name) && call.args.iter().all(is_step_invariant)
        }
        ExprKind::Vector(selector) => selector.at.is_some(),
        ExprKind::Matrix(matrix) => matrix.selector.at.is_some(),
        ExprKind::Subquery(subquery) => subquery.at.is_some(),
    }
}

pub(crate) fn execution(message: impl Into<String>) -> QueryError {
    QueryError::Execution { message: message.into() }
}

pub(crate) fn unsupported(feature: impl Into<String>) -> QueryError {
    QueryError::Unsupported { feature: feature.into() }
}

pub(crate) fn duplicate_labelset() -> QueryError {
    execution("vector cannot contain metrics with the same labelset")
}

/// The parser checks types; a tree made otherwise gets an error, not a panic.
pub(crate) fn unexpected(expr: &Expr, expected: ValueType) -> QueryError {
    execution(format!("expected {}, got {}", expected.as_str(), expr.value_type().as_str()))
}
