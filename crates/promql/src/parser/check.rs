//! Whether the parts of an expression fit together.

use super::{ParseError, Parser};
use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, CallExpr, Expr, ExprKind, MatchCardinality, Span,
    ValueType, VectorMatching,
};

impl Expr {
    /// Returns what the expression evaluates to.
    #[must_use]
    pub fn value_type(&self) -> ValueType {
        match &self.kind {
            ExprKind::Number(_) => ValueType::Scalar,
            ExprKind::String(_) => ValueType::String,
            ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => inner.value_type(),
            ExprKind::Binary(binary) => {
                let scalar = |expr: &Expr| expr.value_type() == ValueType::Scalar;
                if scalar(&binary.left) && scalar(&binary.right) {
                    ValueType::Scalar
                } else {
                    ValueType::InstantVector
                }
            }
            ExprKind::Aggregate(_) | ExprKind::Vector(_) => ValueType::InstantVector,
            ExprKind::Call(call) => call.function.returns,
            ExprKind::Matrix(_) | ExprKind::Subquery(_) => ValueType::RangeVector,
        }
    }
}

impl Parser<'_> {
    fn expect_type(&self, expr: &Expr, wanted: ValueType, context: &str) -> Result<(), ParseError> {
        let found = expr.value_type();
        if found == wanted {
            return Ok(());
        }
        let (wanted, found) = (wanted.as_str(), found.as_str());
        let message = format!("expected type {wanted} in {context}, got {found}");
        Err(self.error(expr.span, message))
    }

    pub(super) fn check_unary(&self, inner: &Expr) -> Result<(), ParseError> {
        let found = inner.value_type();
        if matches!(found, ValueType::Scalar | ValueType::InstantVector) {
            return Ok(());
        }
        let message = format!(
            "unary expression only allowed on expressions of type scalar or instant vector, got {:?}",
            found.as_str()
        );
        Err(self.error(inner.span, message))
    }

    pub(super) fn check_subquery(&self, inner: &Expr) -> Result<(), ParseError> {
        let found = inner.value_type();
        if found == ValueType::InstantVector {
            return Ok(());
        }
        let message =
            format!("subquery is only allowed on instant vector, got {} instead", found.as_str());
        Err(self.error(inner.span, message))
    }

    pub(super) fn check_binary(
        &self,
        mut binary: BinaryExpr,
        matching: Option<VectorMatching>,
        span: Span,
    ) -> Result<BinaryExpr, ParseError> {
        let (left, right) = (binary.left.value_type(), binary.right.value_type());
        for side in [&binary.left, &binary.right] {
            if !matches!(side.value_type(), ValueType::Scalar | ValueType::InstantVector) {
                let message = "binary expression must contain only scalar and instant vector types";
                return Err(self.error(side.span, message));
            }
        }
        let vectors = left == ValueType::InstantVector && right == ValueType::InstantVector;
        if !vectors {
            if matching.is_some() {
                let message = "vector matching only allowed between instant vectors";
                return Err(self.error(span, message));
            }
            if binary.op.is_set() {
                let message = format!(
                    "set operator {:?} not allowed in binary scalar expression",
                    binary.op.as_str()
                );
                return Err(self.error(span, message));
            }
        }
        let scalars = left == ValueType::Scalar && right == ValueType::Scalar;
        if scalars && binary.op.is_comparison() && !binary.return_bool {
            return Err(self.error(span, "comparisons between scalars must use BOOL modifier"));
        }
        if vectors {
            let cardinality = if binary.op.is_set() {
                MatchCardinality::ManyToMany
            } else {
                MatchCardinality::OneToOne
            };
            binary.matching = Some(matching.unwrap_or(VectorMatching {
                cardinality,
                on: false,
                labels: Vec::new(),
                include: Vec::new(),
                fill_left: None,
                fill_right: None,
            }));
        }
        Ok(binary)
    }

    pub(super) fn check_aggregate(&self, aggregate: &AggregateExpr) -> Result<(), ParseError> {
        let vector = ValueType::InstantVector;
        self.expect_type(&aggregate.expr, vector, "aggregation expression")?;
        let Some(param) = &aggregate.param else { return Ok(()) };
        let wanted = match aggregate.op {
            AggregateOp::CountValues => ValueType::String,
            _ => ValueType::Scalar,
        };
        self.expect_type(param, wanted, "aggregation parameter")
    }

    pub(super) fn check_call(&self, call: &CallExpr, span: Span) -> Result<(), ParseError> {
        let CallExpr { function, args } = call;
        let (least, most, found) = (function.arguments_min(), function.arguments_max(), args.len());
        let bound = match most {
            Some(most) if most == least && found != most => Some(("", most)),
            Some(most) if found > most => Some(("at most ", most)),
            _ if found < least => Some(("at least ", least)),
            _ => None,
        };
        if let Some((bound, count)) = bound {
            let message = format!(
                "expected {bound}{count} argument(s) in call to {:?}, got {found}",
                function.name
            );
            return Err(self.error(span, message));
        }
        let context = format!("call to function {:?}", function.name);
        for (index, arg) in args.iter().enumerate() {
            if let Some(wanted) = function.param(index) {
                self.expect_type(arg, wanted, &context)?;
            }
        }
        Ok(())
    }
}
