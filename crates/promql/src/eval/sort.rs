//! Orders of instant queries.

use std::cmp::Ordering;

use super::call::{argument, text_argument};
use super::{Evaluator, Grid, OwnedRow, Sink, emit_all};
use crate::annotations::Remark;
use crate::ast::{CallExpr, Span};
use crate::engine::QueryError;

impl Evaluator<'_> {
    /// Pushes rows in the order that the function asks for; over several steps there is none to keep.
    pub(super) fn sorted_rows(
        &self,
        span: Span,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let arg = argument(call, 0)?;
        if grid.count > 1 {
            self.remark(Remark::SortInRangeQuery, span);
            return self.rows(arg, grid, sink);
        }
        let labels: Vec<&str> = (1..call.args.len())
            .map(|index| text_argument(call, index))
            .collect::<Result<_, _>>()?;
        let (mut rows, points) = self.collect(arg, grid)?;
        match call.function.name {
            "sort" => rows.sort_by(|left, right| by_value(left, right, false)),
            "sort_desc" => rows.sort_by(|left, right| by_value(left, right, true)),
            "sort_by_label" => rows.sort_by(|left, right| by_labels(left, right, &labels)),
            _ => rows.sort_by(|left, right| by_labels(right, left, &labels)),
        }
        emit_all(rows, sink)?;
        self.release(points);
        Ok(())
    }
}

/// NaN comes last in both directions.
fn by_value(left: &OwnedRow, right: &OwnedRow, is_descending: bool) -> Ordering {
    let first = |row: &OwnedRow| row.values.first().copied().unwrap_or(f64::NAN);
    let (left, right) = (first(left), first(right));
    let by_nan = left.is_nan().cmp(&right.is_nan());
    let by_value = left.partial_cmp(&right).unwrap_or(Ordering::Equal);
    by_nan.then(if is_descending { by_value.reverse() } else { by_value })
}

fn by_labels(left: &OwnedRow, right: &OwnedRow, names: &[&str]) -> Ordering {
    names
        .iter()
        .map(|name| {
            let value = |row: &OwnedRow| row.labels.get(name).unwrap_or_default().to_owned();
            compare_naturally(&value(left), &value(right))
        })
        .find(|order| order.is_ne())
        .unwrap_or_else(|| left.labels.cmp(&right.labels))
}

/// Compares texts with runs of digits as numbers: `node2` before `node10`.
fn compare_naturally(left: &str, right: &str) -> Ordering {
    let mut left_rest = left;
    let mut right_rest = right;
    while !left_rest.is_empty() && !right_rest.is_empty() {
        let left_run = take_run(&mut left_rest);
        let right_run = take_run(&mut right_rest);
        let order = match (as_number(left_run), as_number(right_run)) {
            (Some(left), Some(right)) => left.cmp(&right),
            _ => left_run.cmp(right_run),
        };
        if order.is_ne() {
            return order;
        }
    }
    // Equal numbers may be written differently, and the order must be total.
    left_rest.len().cmp(&right_rest.len()).then_with(|| left.cmp(right))
}

fn take_run<'t>(rest: &mut &'t str) -> &'t str {
    let is_number = rest.starts_with(|character: char| character.is_ascii_digit());
    let end =
        rest.find(|character: char| character.is_ascii_digit() != is_number).unwrap_or(rest.len());
    let (run, after) = rest.split_at(end);
    *rest = after;
    run
}

fn as_number(run: &str) -> Option<u64> {
    run.parse().ok().filter(|_| run.starts_with(|character: char| character.is_ascii_digit()))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_within_texts_are_compared_as_numbers() {
        let check = |left, right| assert_eq!(compare_naturally(left, right), Ordering::Less);
        check("node2", "node10");
        check("a", "b");
        check("1", "a");
        check("", "a");
        check("v1.2", "v1.10");
        check("01", "1");
        assert_eq!(compare_naturally("a1", "a1"), Ordering::Equal);
    }
}
