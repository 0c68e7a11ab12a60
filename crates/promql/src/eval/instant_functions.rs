//! Functions of single values.

use model::Labels;

use super::call::argument;
use super::{ABSENT, Evaluator, Grid, Row, Sink, has_value, is_absent, map_present};
use crate::ast::CallExpr;
use crate::engine::QueryError;
use crate::time::Civil;

/// Returns the function of one number with this name.
pub(super) fn simple(name: &str) -> Option<fn(f64) -> f64> {
    Some(match name {
        "abs" => f64::abs,
        "acos" => f64::acos,
        "acosh" => f64::acosh,
        "asin" => f64::asin,
        "asinh" => f64::asinh,
        "atan" => f64::atan,
        "atanh" => f64::atanh,
        "ceil" => f64::ceil,
        "cos" => f64::cos,
        "cosh" => f64::cosh,
        "deg" => |value| value * 180.0 / std::f64::consts::PI,
        "exp" => f64::exp,
        "floor" => f64::floor,
        "ln" => f64::ln,
        "log10" => f64::log10,
        "log2" => f64::log2,
        "rad" => |value| value * std::f64::consts::PI / 180.0,
        "sgn" => sign,
        "sin" => f64::sin,
        "sinh" => f64::sinh,
        "sqrt" => f64::sqrt,
        "tan" => f64::tan,
        "tanh" => f64::tanh,
        _ => return None,
    })
}

/// Returns the function with this name that takes a part out of a date.
pub(super) fn date_part(name: &str) -> Option<fn(Civil) -> i64> {
    Some(match name {
        "day_of_month" => |date| date.day,
        "day_of_week" => |date| date.weekday,
        "day_of_year" => |date| date.day_of_year,
        "days_in_month" => Civil::days_in_month,
        "hour" => |date| date.hour,
        "minute" => |date| date.minute,
        "month" => |date| date.month,
        "year" => |date| date.year,
        _ => return None,
    })
}

/// Returns the lesser number; NaN wins over all but negative infinity.
pub(super) fn propagating_min(left: f64, right: f64) -> f64 {
    if left == f64::NEG_INFINITY || right == f64::NEG_INFINITY {
        f64::NEG_INFINITY
    } else if left.is_nan() || right.is_nan() {
        f64::NAN
    } else {
        left.min(right)
    }
}

/// Returns the greater number; NaN wins over all but infinity.
pub(super) fn propagating_max(left: f64, right: f64) -> f64 {
    -propagating_min(-left, -right)
}

fn sign(value: f64) -> f64 {
    if value < 0.0 {
        -1.0
    } else if value > 0.0 {
        1.0
    } else {
        value
    }
}

impl Evaluator<'_> {
    /// Pushes a part of the dates that the argument holds, or of the evaluation times.
    pub(super) fn date_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
        part: fn(Civil) -> i64,
    ) -> Result<(), QueryError> {
        let Some(arg) = call.args.first() else {
            self.check_grid(grid)?;
            let part_at = |index| part(Civil::from_seconds(grid.time(index).div_euclid(1000)));
            let mut values: Vec<f64> = (0..grid.count).map(|index| part_at(index) as f64).collect();
            return sink(Row { labels: Labels::empty(), drop_name: false, values: &mut values });
        };
        self.rows(arg, grid, &mut |row| {
            map_present(row.values, |seconds| part(Civil::from_seconds(seconds as i64)) as f64);
            sink(Row { drop_name: true, ..row })
        })
    }

    /// Pushes values that are kept within bounds.
    pub(super) fn clamp_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let bound = |index| self.scalar(argument(call, index)?, grid);
        let (low, high) = match call.function.name {
            "clamp_min" => (bound(1)?, vec![f64::INFINITY; grid.count]),
            "clamp_max" => (vec![f64::NEG_INFINITY; grid.count], bound(1)?),
            _ => (bound(1)?, bound(2)?),
        };
        self.rows(argument(call, 0)?, grid, &mut |row| {
            for (value, (low, high)) in row.values.iter_mut().zip(low.iter().zip(&high)) {
                if high < low {
                    *value = ABSENT;
                } else if !is_absent(*value) {
                    *value = propagating_max(*low, propagating_min(*high, *value));
                }
            }
            if has_value(row.values) { sink(Row { drop_name: true, ..row }) } else { Ok(()) }
        })
    }

    /// Pushes values rounded to the nearest multiple of a number, ties upwards.
    pub(super) fn round_rows(
        &self,
        call: &CallExpr,
        grid: &Grid,
        sink: Sink<'_>,
    ) -> Result<(), QueryError> {
        let multiples = match call.args.get(1) {
            Some(arg) => self.scalar(arg, grid)?,
            None => vec![1.0; grid.count],
        };
        self.rows(argument(call, 0)?, grid, &mut |row| {
            for (value, multiple) in row.values.iter_mut().zip(&multiples) {
                if !is_absent(*value) {
                    // Dividing by the inverse is more precise for multiples such as 0.1.
                    let inverse = 1.0 / multiple;
                    *value = (*value * inverse + 0.5).floor() / inverse;
                }
            }
            sink(Row { drop_name: true, ..row })
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn extremes_prefer_nan_but_for_infinities() {
        assert!(propagating_min(f64::NAN, 3.0).is_nan());
        assert!(propagating_max(3.0, f64::NAN).is_nan());
        assert_eq!(propagating_max(f64::INFINITY, f64::NAN), f64::INFINITY);
        assert_eq!(propagating_min(f64::NEG_INFINITY, f64::NAN), f64::NEG_INFINITY);
        assert_eq!(propagating_min(-2.0, -5.0), -5.0);
        assert_eq!(propagating_max(-2.0, -5.0), -2.0);
    }
}
