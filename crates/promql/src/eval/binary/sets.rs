//! `and`, `or` and `unless`.

use super::super::group::GroupIndex;
use super::super::{ABSENT, Evaluator, Grid, Merger, OwnedRow, Sink, emit_all, is_absent};
use crate::ast::{BinaryExpr, BinaryOp, VectorMatching};
use crate::engine::QueryError;

impl Evaluator<'_> {
    /// Pushes the rows of a set operator.
    pub(super) fn set_rows(
        &self,
        binary: &BinaryExpr,
        matching: &VectorMatching,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let (mut left, left_points) = self.collect(&binary.left, grid)?;
        let (mut right, right_points) = self.collect(&binary.right, grid)?;
        match binary.op {
            BinaryOp::Or => {
                let present = Presence::of(&left, matching, grid.count);
                present.mask(&mut right, matching, false);
                let mut merger = Merger::default();
                for row in left.into_iter().chain(right) {
                    merger.add(row.labels, row.drop_name, row.values)?;
                }
                merger.emit(sink)?;
            }
            op => {
                let present = Presence::of(&right, matching, grid.count);
                present.mask(&mut left, matching, op == BinaryOp::And);
                emit_all(left, sink)?;
            }
        }
        self.release(left_points + right_points);
        Ok(())
    }
}

/// At which steps a signature is among the series of one side.
#[derive(Debug)]
struct Presence {
    index: GroupIndex,
    steps: Vec<Vec<bool>>,
}

impl Presence {
    fn of(rows: &[OwnedRow], matching: &VectorMatching, count: usize) -> Self {
        let mut index = GroupIndex::default();
        let mut steps: Vec<Vec<bool>> = Vec::new();
        for row in rows {
            let (number, is_new) = index.number(&matching.signature(&row.labels));
            if is_new {
                steps.push(vec![false; count]);
            }
            if let Some(present) = steps.get_mut(number) {
                for (present, value) in present.iter_mut().zip(&row.values) {
                    *present |= !is_absent(*value);
                }
            }
        }
        Self { index, steps }
    }

    /// Removes values at steps where their signature is not present, or, unless `keeps_present`, where it is.
    fn mask(&self, rows: &mut [OwnedRow], matching: &VectorMatching, keeps_present: bool) {
        for row in rows {
            let number = self.index.find(&matching.signature(&row.labels));
            match number.and_then(|number| self.steps.get(number)) {
                Some(present) => {
                    for (value, present) in row.values.iter_mut().zip(present) {
                        if *present != keeps_present {
                            *value = ABSENT;
                        }
                    }
                }
                None if keeps_present => row.values.fill(ABSENT),
                None => {}
            }
        }
    }
}
