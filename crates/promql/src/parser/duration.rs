//! Lengths of time: literals, and arithmetic over them.

use super::ParseError;
use super::Parser;
use crate::ast::{BinaryOp, DurationExpr, DurationKind, Span};
use crate::lexer::{DURATION_MILLIS_MAX, TokenKind};

impl Parser<'_> {
    /// Reads what stands behind `offset`: a signed literal, a call, or a sum in parentheses.
    pub(super) fn offset_duration(&mut self) -> Result<DurationExpr, ParseError> {
        let start = self.token().span.start;
        if self.take_symbol("-") {
            return Ok(negated(start, self.nested(Self::offset_duration)?));
        }
        if self.take_symbol("+") {
            return self.nested(Self::offset_duration);
        }
        self.duration_primary()
    }

    /// Reads sums and differences.
    pub(super) fn duration_sum(&mut self) -> Result<DurationExpr, ParseError> {
        self.duration_chain(&[("+", BinaryOp::Add), ("-", BinaryOp::Sub)], Self::duration_product)
    }

    fn duration_product(&mut self) -> Result<DurationExpr, ParseError> {
        let ops = [("*", BinaryOp::Mul), ("/", BinaryOp::Div), ("%", BinaryOp::Mod)];
        self.duration_chain(&ops, Self::duration_signed)
    }

    /// Reads a sign, which binds tighter than products and less than powers.
    fn duration_signed(&mut self) -> Result<DurationExpr, ParseError> {
        let start = self.token().span.start;
        if self.take_symbol("-") {
            return Ok(negated(start, self.nested(Self::duration_signed)?));
        }
        if self.take_symbol("+") {
            return self.nested(Self::duration_signed);
        }
        let left = self.duration_primary()?;
        if !self.take_symbol("^") {
            return Ok(left);
        }
        let right = self.nested(Self::duration_signed)?;
        Ok(arithmetic(BinaryOp::Pow, left, right))
    }

    fn duration_chain(
        &mut self,
        ops: &[(&str, BinaryOp)],
        operand: fn(&mut Self) -> Result<DurationExpr, ParseError>,
    ) -> Result<DurationExpr, ParseError> {
        let mut left = self.nested(operand)?;
        let mut links = 0;
        while let Some((symbol, op)) = ops.iter().find(|(symbol, _)| self.is_symbol(symbol)) {
            self.take_symbol(symbol);
            links += 1;
            if self.depth + links > super::DEPTH_MAX {
                return Err(self.error_here("duration expression is too long"));
            }
            let right = self.nested(operand)?;
            left = arithmetic(*op, left, right);
        }
        Ok(left)
    }

    fn duration_primary(&mut self) -> Result<DurationExpr, ParseError> {
        let span = self.token().span;
        if self.take_symbol("(") {
            let inner = self.nested(Self::duration_sum)?;
            self.expect_symbol(")", "duration expression")?;
            return Ok(DurationExpr { kind: inner.kind, span: self.span_from(span.start) });
        }
        let kind = match self.peek().clone() {
            TokenKind::Duration(millis) => {
                self.advance();
                DurationKind::Millis(millis)
            }
            TokenKind::Number(seconds) => {
                let millis = (seconds * 1000.0).round();
                #[expect(clippy::cast_precision_loss, reason = "a limit of 44 bits")]
                if millis.is_nan() || millis.abs() > DURATION_MILLIS_MAX as f64 {
                    return Err(self.error_here("duration out of range"));
                }
                self.advance();
                #[expect(
                    clippy::cast_possible_truncation,
                    reason = "checked to be within the range"
                )]
                DurationKind::Millis(millis as i64)
            }
            TokenKind::Identifier(name) => self.duration_call(&name.to_ascii_lowercase())?,
            _ => {
                let expected = "number, duration, step(), or range()";
                return Err(self.unexpected("duration expression", expected));
            }
        };
        Ok(DurationExpr { kind, span: self.span_from(span.start) })
    }

    fn duration_call(&mut self, name: &str) -> Result<DurationKind, ParseError> {
        if !["step", "range", "min", "max", "min_of", "max_of"].contains(&name) {
            let expected = "number, duration, step(), or range()";
            return Err(self.unexpected("duration expression", expected));
        }
        self.advance();
        self.expect_symbol("(", "duration expression")?;
        let kind = match name {
            "step" => DurationKind::Step,
            "range" => DurationKind::Range,
            _ => {
                let left = Box::new(self.nested(Self::duration_sum)?);
                self.expect_symbol(",", "duration expression")?;
                let right = Box::new(self.nested(Self::duration_sum)?);
                if name.starts_with("min") {
                    DurationKind::Min(left, right)
                } else {
                    DurationKind::Max(left, right)
                }
            }
        };
        self.expect_symbol(")", "duration expression")?;
        Ok(kind)
    }

    /// Refuses a literal that is no length; arithmetic is checked when it is evaluated.
    pub(super) fn check_positive(&self, duration: &DurationExpr) -> Result<(), ParseError> {
        match duration.kind {
            DurationKind::Millis(millis) if millis <= 0 => {
                Err(self.error(duration.span, "duration must be greater than 0"))
            }
            _ => Ok(()),
        }
    }
}

fn negated(start: u32, inner: DurationExpr) -> DurationExpr {
    let span = Span { start, end: inner.span.end };
    let kind = match inner.kind {
        DurationKind::Millis(millis) => DurationKind::Millis(-millis),
        _ => DurationKind::Negate(Box::new(inner)),
    };
    DurationExpr { kind, span }
}

fn arithmetic(op: BinaryOp, left: DurationExpr, right: DurationExpr) -> DurationExpr {
    let span = Span { start: left.span.start, end: right.span.end };
    let kind = DurationKind::Arithmetic(op, Box::new(left), Box::new(right));
    DurationExpr { kind, span }
}
