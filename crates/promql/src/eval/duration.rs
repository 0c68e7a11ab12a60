//! Lengths of time, offsets and pinned times.

use super::{Evaluator, execution};
use crate::ast::{AtModifier, BinaryOp, DurationExpr, DurationKind};
use crate::engine::QueryError;

impl Evaluator<'_> {
    /// Returns a length in milliseconds, which may be negative.
    pub(super) fn duration(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        if let DurationKind::Millis(millis) = duration.kind {
            return Ok(millis);
        }
        let millis = (self.duration_seconds(duration)? * 1000.0).round();
        // i64::MAX as f64 is 2^63, which is one too many.
        if millis.is_nan() || millis < i64::MIN as f64 || millis >= i64::MAX as f64 {
            return Err(execution("duration is out of range"));
        }
        Ok(millis as i64)
    }

    /// Returns a length in milliseconds that has to be positive.
    pub(super) fn positive_duration(&self, duration: &DurationExpr) -> Result<i64, QueryError> {
        match self.duration(duration)? {
            millis if millis > 0 => Ok(millis),
            _ => Err(execution("duration must be greater than 0")),
        }
    }

    /// Returns an offset in milliseconds; 0 when there is none.
    pub(super) fn offset(&self, offset: Option<&DurationExpr>) -> Result<i64, QueryError> {
        offset.map_or(Ok(0), |offset| self.duration(offset))
    }

    /// Returns the time that `@` means, in milliseconds.
    pub(super) fn pinned(&self, at: Option<AtModifier>) -> Option<i64> {
        at.map(|at| match at {
            AtModifier::Timestamp(millis) => millis,
            AtModifier::Start => self.times.start,
            AtModifier::End => self.times.end,
        })
    }

    fn duration_seconds(&self, duration: &DurationExpr) -> Result<f64, QueryError> {
        Ok(match &duration.kind {
            DurationKind::Millis(millis) => *millis as f64 / 1000.0,
            DurationKind::Step => self.times.step as f64 / 1000.0,
            DurationKind::Range => self.times.end.saturating_sub(self.times.start) as f64 / 1000.0,
            DurationKind::Negate(inner) => -self.duration_seconds(inner)?,
            DurationKind::Min(left, right) => {
                self.duration_seconds(left)?.min(self.duration_seconds(right)?)
            }
            DurationKind::Max(left, right) => {
                self.duration_seconds(left)?.max(self.duration_seconds(right)?)
            }
            DurationKind::Arithmetic(op, left, right) => {
                let left = self.duration_seconds(left)?;
                let right = self.duration_seconds(right)?;
                match op {
                    BinaryOp::Add => left + right,
                    BinaryOp::Sub => left - right,
                    BinaryOp::Mul => left * right,
                    BinaryOp::Div if right == 0.0 => return Err(execution("division by zero")),
                    BinaryOp::Div => left / right,
                    BinaryOp::Mod if right == 0.0 => return Err(execution("modulo by zero")),
                    BinaryOp::Mod => left % right,
                    BinaryOp::Pow => left.powf(right),
                    other => {
                        let operator = other.as_str();
                        return Err(execution(format!("unexpected '{operator}' in a duration")));
                    }
                }
            }
        })
    }
}
