//! Aggregations that keep some of the series: the greatest, the least, or any.

use std::cmp::Ordering;

use crate::annotations::Remark;
use crate::ast::{AggregateExpr, AggregateOp, Span};
use crate::engine::QueryError;
use crate::eval::group::GroupIndex;
use crate::eval::{
    ABSENT, Evaluator, Grid, OwnedRow, Row, Sink, emit_all, execution, is_absent, strip_parens,
};
use crate::numeric::{format_general, nan_first};

impl Evaluator<'_> {
    /// Pushes the series that `topk`, `bottomk`, `limitk` or `limit_ratio` keep at each step.
    pub(super) fn selected_rows(
        &self,
        aggregate: &AggregateExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let Some(param) = &aggregate.param else {
            return Err(execution(format!("{} needs a parameter", aggregate.op.as_str())));
        };
        let param = strip_parens(param);
        let params = self.scalar(param, grid)?;
        let is_empty = if aggregate.op == AggregateOp::LimitRatio {
            self.check_ratios(&params, param.span)?
        } else {
            check_counts(&params)?
        };
        if is_empty {
            return Ok(());
        }
        let (rows, points) = self.collect(strip_parens(&aggregate.expr), grid)?;
        let mut index = GroupIndex::default();
        let mut members: Vec<Vec<usize>> = Vec::new();
        for (position, row) in rows.iter().enumerate() {
            let (number, is_new) = index.number(&aggregate.grouping().labels_of(&row.labels));
            if is_new {
                members.push(Vec::new());
            }
            if let Some(group) = members.get_mut(number) {
                group.push(position);
            }
        }
        let offsets: Vec<f64> = match aggregate.op {
            AggregateOp::LimitRatio => rows.iter().map(sampling_offset).collect(),
            _ => Vec::new(),
        };
        let mut selection = Selection { op: aggregate.op, rows: &rows, offsets: &offsets };
        self.emit_selected(&mut selection, &members, &params, grid, sink)?;
        self.release(points);
        Ok(())
    }

    fn emit_selected(
        &self,
        selection: &mut Selection<'_>,
        members: &[Vec<usize>],
        params: &[f64],
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let rows = selection.rows;
        let mut chosen = Vec::new();
        if grid.count == 1 {
            for group in members {
                selection.choose(group, 0, params[0], &mut chosen);
                for position in &chosen {
                    let OwnedRow { labels, drop_name, values } = rows[*position].clone();
                    let mut values = values;
                    sink(Row { labels, drop_name, values: &mut values })?;
                }
            }
            return Ok(());
        }
        let mut kept: Vec<OwnedRow> = rows
            .iter()
            .map(|row| OwnedRow { values: vec![ABSENT; grid.count], ..row.clone() })
            .collect();
        for (step, param) in params.iter().enumerate() {
            self.cancellation.check()?;
            for group in members {
                selection.choose(group, step, *param, &mut chosen);
                for position in &chosen {
                    kept[*position].values[step] = rows[*position].values[step];
                }
            }
        }
        emit_all(kept, sink)
    }

    /// Returns whether nothing is kept at any step.
    fn check_ratios(&self, ratios: &[f64], span: Span) -> Result<bool, QueryError> {
        if ratios.iter().any(|ratio| ratio.is_nan()) {
            return Err(execution("Ratio value is NaN"));
        }
        let greatest = ratios.iter().copied().fold(f64::NEG_INFINITY, f64::max);
        let least = ratios.iter().copied().fold(f64::INFINITY, f64::min);
        if greatest > 1.0 {
            self.remark(Remark::InvalidRatio { ratio: greatest, capped: 1.0 }, span);
        }
        if least < -1.0 {
            self.remark(Remark::InvalidRatio { ratio: least, capped: -1.0 }, span);
        }
        Ok(greatest == 0.0 && least == 0.0)
    }
}

/// Returns whether nothing is kept at any step.
fn check_counts(counts: &[f64]) -> Result<bool, QueryError> {
    let greatest = counts.iter().copied().fold(f64::NAN, f64::max);
    let least = counts.iter().copied().fold(f64::NAN, f64::min);
    if greatest < 1.0 {
        return Ok(true);
    }
    if counts.iter().any(|count| count.is_nan()) {
        return Err(execution("Parameter value is NaN"));
    }
    // 2^63, the first number that an i64 cannot hold.
    let limit = 9_223_372_036_854_775_808.0;
    if least <= -limit {
        let text = format_general(least);
        return Err(execution(format!("Scalar value {text} underflows int64")));
    }
    if greatest >= limit {
        let text = format_general(greatest);
        return Err(execution(format!("Scalar value {text} overflows int64")));
    }
    Ok(false)
}

#[derive(Debug)]
struct Selection<'s> {
    op: AggregateOp,
    rows: &'s [OwnedRow],
    offsets: &'s [f64],
}

impl Selection<'_> {
    /// Stores the positions of the rows of a group that are kept at a step, in their order.
    fn choose(&mut self, group: &[usize], step: usize, param: f64, chosen: &mut Vec<usize>) {
        let value = |position: usize| self.rows[position].values[step];
        chosen.clear();
        chosen.extend(group.iter().copied().filter(|position| !is_absent(value(*position))));
        let count = if param >= 1.0 { (param as usize).min(chosen.len()) } else { 0 };
        match self.op {
            AggregateOp::LimitRatio => {
                let ratio = param.clamp(-1.0, 1.0);
                chosen.retain(|position| is_sampled(ratio, self.offsets[*position]));
            }
            AggregateOp::Limitk => chosen.truncate(count),
            op => {
                let order = |left: &usize, right: &usize| {
                    let (left_value, right_value) = (value(*left), value(*right));
                    by_rank(op, left_value, right_value).then(left.cmp(right))
                };
                if count == 0 {
                    chosen.clear();
                } else if count < chosen.len() {
                    chosen.select_nth_unstable_by(count - 1, order);
                    chosen.truncate(count);
                }
                chosen.sort_unstable_by(order);
            }
        }
    }
}

/// Orders the wanted values first and NaN last.
fn by_rank(op: AggregateOp, left: f64, right: f64) -> Ordering {
    let ascending = match (left.is_nan(), right.is_nan()) {
        (false, false) => nan_first(left, right),
        (left_is_nan, right_is_nan) => return left_is_nan.cmp(&right_is_nan),
    };
    if op == AggregateOp::Topk { ascending.reverse() } else { ascending }
}

/// Returns a number from 0 to 1 that depends on the labels alone (FNV-1a, finished as in splitmix64).
fn sampling_offset(row: &OwnedRow) -> f64 {
    let mut hash = 0xcbf2_9ce4_8422_2325_u64;
    for byte in row.labels.as_bytes() {
        hash = (hash ^ u64::from(*byte)).wrapping_mul(0x0100_0000_01b3);
    }
    hash = (hash ^ (hash >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    hash = (hash ^ (hash >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    (hash ^ (hash >> 31)) as f64 / u64::MAX as f64
}

/// A negative ratio keeps what the ratio that is greater by one leaves out.
fn is_sampled(ratio: f64, offset: f64) -> bool {
    if ratio >= 0.0 { offset < ratio } else { offset >= 1.0 + ratio }
}
