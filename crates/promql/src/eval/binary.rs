//! Operators between two expressions.

use model::Labels;

use super::group::Grouping;
use super::{ABSENT, Evaluator, Grid, Row, Sink, execution, has_value, is_absent, unsupported};
use crate::ast::{BinaryExpr, BinaryOp, Expr, ValueType, VectorMatching};
use crate::engine::QueryError;

mod matching;
mod sets;

impl Evaluator<'_> {
    /// Pushes the rows of an operator with at least one vector.
    pub(super) fn binary_rows(
        &self,
        binary: &BinaryExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        if matches!(binary.op, BinaryOp::TrimUpper | BinaryOp::TrimLower) {
            let operator = binary.op.as_str();
            return Err(unsupported(format!("the operator '{operator}' on native histograms")));
        }
        let is_scalar = |side: &Expr| side.value_type() == ValueType::Scalar;
        match (is_scalar(&binary.left), is_scalar(&binary.right)) {
            (true, true) => Err(execution("expected instant vector, got scalar")),
            (false, true) => {
                self.vector_scalar_rows(binary, (&binary.left, &binary.right, false), grid, sink)
            }
            (true, false) => {
                self.vector_scalar_rows(binary, (&binary.right, &binary.left, true), grid, sink)
            }
            (false, false) => match &binary.matching {
                Some(matching) if binary.op.is_set() => self.set_rows(binary, matching, grid, sink),
                Some(matching) => self.matched_rows(binary, matching, grid, sink),
                None => Err(execution("operator between vectors without a matching")),
            },
        }
    }

    /// Returns the values of an operator between scalars.
    pub(super) fn binary_scalar(
        &self,
        binary: &BinaryExpr,
        grid: &Grid,
    ) -> Result<Vec<f64>, QueryError> {
        let mut result = self.scalar(&binary.left, grid)?;
        let right = self.scalar(&binary.right, grid)?;
        let operation = operation(binary.op)?;
        for (left, right) in result.iter_mut().zip(right) {
            *left = match operation {
                Operation::Arithmetic(function) => function(*left, right),
                Operation::Comparison(function) => f64::from(u8::from(function(*left, right))),
            };
        }
        Ok(result)
    }

    fn vector_scalar_rows(
        &self,
        binary: &BinaryExpr,
        (vector, scalar, is_swapped): (&Expr, &Expr, bool),
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let scalars = self.scalar(scalar, grid)?;
        let operation = operation(binary.op)?;
        let drops_name = matches!(operation, Operation::Arithmetic(_)) || binary.return_bool;
        self.rows(vector, grid, &mut |row| {
            for (value, scalar) in row.values.iter_mut().zip(&scalars) {
                if is_absent(*value) {
                    continue;
                }
                let (left, right) = if is_swapped { (*scalar, *value) } else { (*value, *scalar) };
                *value = operation.apply(left, right, *value, binary.return_bool);
            }
            if !has_value(row.values) {
                return Ok(());
            }
            sink(Row { drop_name: row.drop_name || drops_name, ..row })
        })
    }
}

/// What an operator does with two numbers.
#[derive(Clone, Copy)]
enum Operation {
    Arithmetic(fn(f64, f64) -> f64),
    Comparison(fn(f64, f64) -> bool),
}

impl Operation {
    /// Returns the result; a comparison that fails is [`ABSENT`], one that holds is `kept`.
    #[inline]
    fn apply(self, left: f64, right: f64, kept: f64, returns_bool: bool) -> f64 {
        match self {
            Self::Arithmetic(function) => function(left, right),
            Self::Comparison(function) if returns_bool => {
                f64::from(u8::from(function(left, right)))
            }
            Self::Comparison(function) if function(left, right) => kept,
            Self::Comparison(_) => ABSENT,
        }
    }
}

fn operation(op: BinaryOp) -> Result<Operation, QueryError> {
    Ok(match op {
        BinaryOp::Add => Operation::Arithmetic(|left, right| left + right),
        BinaryOp::Sub => Operation::Arithmetic(|left, right| left - right),
        BinaryOp::Mul => Operation::Arithmetic(|left, right| left * right),
        BinaryOp::Div => Operation::Arithmetic(|left, right| left / right),
        BinaryOp::Mod => Operation::Arithmetic(|left, right| left % right),
        BinaryOp::Pow => Operation::Arithmetic(f64::powf),
        BinaryOp::Atan2 => Operation::Arithmetic(f64::atan2),
        BinaryOp::Eq => Operation::Comparison(|left, right| left == right),
        BinaryOp::Ne => Operation::Comparison(|left, right| left != right),
        BinaryOp::Lt => Operation::Comparison(|left, right| left < right),
        BinaryOp::Le => Operation::Comparison(|left, right| left <= right),
        BinaryOp::Gt => Operation::Comparison(|left, right| left > right),
        BinaryOp::Ge => Operation::Comparison(|left, right| left >= right),
        BinaryOp::TrimUpper
        | BinaryOp::TrimLower
        | BinaryOp::And
        | BinaryOp::Or
        | BinaryOp::Unless => {
            let operator = op.as_str();
            return Err(execution(format!("operator '{operator}' not allowed between numbers")));
        }
    })
}

impl VectorMatching {
    /// Returns the part of a series' labels that has to agree on both sides.
    fn signature(&self, labels: &Labels) -> Labels {
        let grouping =
            if self.on { Grouping::By(&self.labels) } else { Grouping::Without(&self.labels) };
        grouping.labels_of(labels)
    }
}
