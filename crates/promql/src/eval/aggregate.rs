//! Aggregations over series.
//!
//! Those that need no more than a few numbers per group and step take the rows as they come.

use model::Labels;

use super::group::{GroupIndex, Grouping};
use super::{ABSENT, Evaluator, Grid, OwnedRow, Sink, emit_all, is_absent, strip_parens};
use crate::ast::{AggregateExpr, AggregateOp};
use crate::engine::QueryError;
use crate::numeric::{KahanMean, KahanSum};

mod select;
mod values;

impl AggregateExpr {
    fn grouping(&self) -> Grouping<'_> {
        if self.without { Grouping::Without(&self.labels) } else { Grouping::By(&self.labels) }
    }
}

impl Evaluator<'_> {
    /// Pushes the rows of an aggregation.
    pub(super) fn aggregate_rows(
        &self,
        aggregate: &AggregateExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        self.check_grid(grid)?;
        match aggregate.op {
            AggregateOp::Topk
            | AggregateOp::Bottomk
            | AggregateOp::Limitk
            | AggregateOp::LimitRatio => self.selected_rows(aggregate, grid, sink),
            AggregateOp::Quantile => self.quantile_rows(aggregate, grid, sink),
            AggregateOp::CountValues => self.count_values_rows(aggregate, grid, sink),
            AggregateOp::Sum
            | AggregateOp::Avg
            | AggregateOp::Count
            | AggregateOp::Min
            | AggregateOp::Max
            | AggregateOp::Group
            | AggregateOp::Stddev
            | AggregateOp::Stdvar => self.streamed_rows(aggregate, grid, sink),
        }
    }

    fn streamed_rows(
        &self,
        aggregate: &AggregateExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let grouping = aggregate.grouping();
        let mut index = GroupIndex::default();
        let mut groups: Vec<StreamedGroup> = Vec::new();
        let mut points = 0;
        self.rows(strip_parens(&aggregate.expr), grid, &mut |row| {
            let labels = grouping.labels_of(&row.labels);
            let (number, is_new) = index.number(&labels);
            if is_new {
                let group = StreamedGroup::new(aggregate.op, labels, grid.count);
                self.hold(grid.count)?;
                points += grid.count;
                groups.push(group);
            }
            if let Some(group) = groups.get_mut(number) {
                group.drop_name |= row.drop_name;
                group.state.add(row.values);
            }
            Ok(())
        })?;
        let rows = groups.into_iter().map(|group| group.finish(aggregate.op)).collect();
        emit_all(rows, sink)?;
        self.release(points);
        Ok(())
    }
}

#[derive(Debug)]
struct StreamedGroup {
    labels: Labels,
    drop_name: bool,
    state: State,
}

/// What a group has seen, per step.
#[derive(Debug)]
enum State {
    Sum { sums: Vec<f64>, compensations: Vec<f64> },
    Mean(Vec<Option<KahanMean>>),
    Count(Vec<f64>),
    Least(Vec<f64>),
    Greatest(Vec<f64>),
    Seen(Vec<f64>),
    Spread(Vec<Spread>),
}

/// Count, mean and sum of squared differences from the mean, by Welford's algorithm.
#[derive(Clone, Copy, Debug, Default)]
struct Spread {
    count: f64,
    mean: f64,
    squares: f64,
}

impl StreamedGroup {
    fn new(op: AggregateOp, labels: Labels, count: usize) -> Self {
        let absent = || vec![ABSENT; count];
        let state = match op {
            AggregateOp::Avg => State::Mean(vec![None; count]),
            AggregateOp::Count => State::Count(absent()),
            AggregateOp::Min => State::Least(absent()),
            AggregateOp::Max => State::Greatest(absent()),
            AggregateOp::Group => State::Seen(absent()),
            AggregateOp::Stddev | AggregateOp::Stdvar => {
                State::Spread(vec![Spread::default(); count])
            }
            _ => State::Sum { sums: absent(), compensations: vec![0.0; count] },
        };
        Self { labels, drop_name: false, state }
    }

    fn finish(self, op: AggregateOp) -> OwnedRow {
        let values = match self.state {
            State::Sum { mut sums, compensations } => {
                for (sum, compensation) in sums.iter_mut().zip(compensations) {
                    if !is_absent(*sum) {
                        *sum += compensation;
                    }
                }
                sums
            }
            State::Mean(means) => {
                means.into_iter().map(|mean| mean.map_or(ABSENT, |mean| mean.mean())).collect()
            }
            State::Count(values)
            | State::Least(values)
            | State::Greatest(values)
            | State::Seen(values) => values,
            State::Spread(spreads) => spreads.into_iter().map(|spread| spread.finish(op)).collect(),
        };
        OwnedRow { labels: self.labels, drop_name: self.drop_name, values }
    }
}

impl State {
    fn add(&mut self, values: &[f64]) {
        match self {
            Self::Sum { sums, compensations } => {
                for ((sum, compensation), value) in sums.iter_mut().zip(compensations).zip(values) {
                    if is_absent(*value) {
                        continue;
                    }
                    if is_absent(*sum) {
                        *sum = *value;
                        continue;
                    }
                    let next = KahanSum { sum: *sum, compensation: *compensation }.plus(*value);
                    *sum = next.sum;
                    *compensation = next.compensation;
                }
            }
            Self::Mean(means) => fold(means, values, |mean, value| match mean {
                Some(mean) => mean.add(value),
                None => *mean = Some(KahanMean::of(value)),
            }),
            Self::Count(counts) => fold(counts, values, |count, _| {
                *count = if is_absent(*count) { 1.0 } else { *count + 1.0 };
            }),
            Self::Least(least) => fold(least, values, |least, value| {
                if *least > value || least.is_nan() {
                    *least = value;
                }
            }),
            Self::Greatest(greatest) => fold(greatest, values, |greatest, value| {
                if *greatest < value || greatest.is_nan() {
                    *greatest = value;
                }
            }),
            Self::Seen(seen) => fold(seen, values, |seen, _| *seen = 1.0),
            Self::Spread(spreads) => fold(spreads, values, Spread::add),
        }
    }
}

impl Spread {
    fn add(&mut self, value: f64) {
        self.count += 1.0;
        if self.count == 1.0 {
            self.mean = value;
            self.squares = if value.is_finite() { 0.0 } else { f64::NAN };
            return;
        }
        let delta = value - self.mean;
        self.mean += delta / self.count;
        self.squares += delta * (value - self.mean);
    }

    fn finish(self, op: AggregateOp) -> f64 {
        if self.count == 0.0 {
            return ABSENT;
        }
        let variance = self.squares / self.count;
        if op == AggregateOp::Stddev { variance.sqrt() } else { variance }
    }
}

/// Calls `add` for every step that has a value.
#[inline]
fn fold<T>(states: &mut [T], values: &[f64], mut add: impl FnMut(&mut T, f64)) {
    for (state, value) in states.iter_mut().zip(values) {
        if !is_absent(*value) {
            add(state, *value);
        }
    }
}
