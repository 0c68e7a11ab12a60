//! Arithmetic and number formats that must agree with Prometheus.

use std::cmp::Ordering;

/// A sum with the error that rounding has left behind (Kahan's algorithm as improved by Neumaier).
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct KahanSum {
    /// The rounded sum.
    pub(crate) sum: f64,
    /// What the sum lacks.
    pub(crate) compensation: f64,
}

impl KahanSum {
    /// Returns this sum with `value` added.
    #[inline]
    pub(crate) fn plus(self, value: f64) -> Self {
        let sum = self.sum + value;
        let compensation = if sum.is_infinite() {
            0.0
        } else if self.sum.abs() >= value.abs() {
            self.compensation + ((self.sum - sum) + value)
        } else {
            self.compensation + ((value - sum) + self.sum)
        };
        Self { sum, compensation }
    }

    /// Returns the compensated sum.
    #[inline]
    pub(crate) fn total(self) -> f64 {
        self.sum + self.compensation
    }
}

/// A mean: the sum divided by the count, or, once the sum would overflow, kept as a running mean.
#[derive(Clone, Copy, Debug)]
pub(crate) struct KahanMean {
    sum: KahanSum,
    count: f64,
    is_running_mean: bool,
}

impl KahanMean {
    /// Returns the mean of one value.
    #[inline]
    pub(crate) fn of(first: f64) -> Self {
        let sum = KahanSum { sum: first, compensation: 0.0 };
        Self { sum, count: 1.0, is_running_mean: false }
    }

    /// Adds a value.
    #[inline]
    pub(crate) fn add(&mut self, value: f64) {
        self.count += 1.0;
        if !self.is_running_mean {
            let next = self.sum.plus(value);
            if !next.sum.is_infinite() {
                self.sum = next;
                return;
            }
            self.is_running_mean = true;
            self.sum.sum /= self.count - 1.0;
            self.sum.compensation /= self.count - 1.0;
        }
        let weight = (self.count - 1.0) / self.count;
        let scaled =
            KahanSum { sum: weight * self.sum.sum, compensation: weight * self.sum.compensation };
        self.sum = scaled.plus(value / self.count);
    }

    /// Returns the mean.
    #[inline]
    pub(crate) fn mean(&self) -> f64 {
        if self.is_running_mean {
            self.sum.total()
        } else {
            self.sum.sum / self.count + self.sum.compensation / self.count
        }
    }
}

/// Compares values with NaN before everything else.
pub(crate) fn nan_first(left: f64, right: f64) -> Ordering {
    match (left.is_nan(), right.is_nan()) {
        (true, true) => Ordering::Equal,
        (true, false) => Ordering::Less,
        (false, true) => Ordering::Greater,
        (false, false) => left.partial_cmp(&right).unwrap_or(Ordering::Equal),
    }
}

/// Returns the `q`-quantile of `values`, which are sorted on the way, interpolated between neighbours.
///
/// NaN counts as the smallest value. Without values or with `q` NaN the result is NaN,
/// with `q` below 0 or above 1 an infinity.
pub(crate) fn quantile(q: f64, values: &mut [f64]) -> f64 {
    if values.is_empty() || q.is_nan() {
        return f64::NAN;
    }
    if q < 0.0 {
        return f64::NEG_INFINITY;
    }
    if q > 1.0 {
        return f64::INFINITY;
    }
    values.sort_unstable_by(|left, right| nan_first(*left, *right));
    let rank = q * (values.len() - 1) as f64;
    let lower = (rank.floor() as usize).min(values.len() - 1);
    let upper = (lower + 1).min(values.len() - 1);
    let weight = rank - rank.floor();
    values[lower] * (1.0 - weight) + values[upper] * weight
}

/// Returns whether two numbers differ by less than `tolerance`, relative to their sum.
pub(crate) fn almost_equal(left: f64, right: f64, tolerance: f64) -> bool {
    if left == right || (left.is_nan() && right.is_nan()) {
        return true;
    }
    let difference = (left - right).abs();
    let scale = left.abs() + right.abs();
    if left == 0.0 || right == 0.0 || scale < f64::MIN_POSITIVE {
        return difference < tolerance * f64::MIN_POSITIVE;
    }
    difference / scale.min(f64::MAX) < tolerance
}

/// Writes a number without exponent: `1`, `0.5`, `NaN`, `+Inf`.
pub(crate) fn format_plain(value: f64) -> String {
    if value.is_infinite() {
        return if value > 0.0 { "+Inf".to_owned() } else { "-Inf".to_owned() };
    }
    value.to_string()
}

/// Writes a number with an exponent when it is very small or very large, as C's `%g` but with all digits.
pub(crate) fn format_general(value: f64) -> String {
    let magnitude = value.abs();
    if value == 0.0 || !value.is_finite() || (1e-4..1e21).contains(&magnitude) {
        return format_plain(value);
    }
    with_exponent(&format!("{value:e}"))
}

/// Writes a number with two significant digits, as C's `%.2g`.
pub(crate) fn format_two_digits(value: f64) -> String {
    if value == 0.0 || !value.is_finite() {
        return format_plain(value);
    }
    let rounded = format!("{value:.1e}");
    let exponent: i32 =
        rounded.rsplit_once('e').and_then(|(_, digits)| digits.parse().ok()).unwrap_or(0);
    if (-4..2).contains(&exponent) {
        let decimals = usize::try_from(1 - exponent).unwrap_or(0);
        let fixed = format!("{value:.decimals$}");
        return if fixed.contains('.') {
            fixed.trim_end_matches('0').trim_end_matches('.').to_owned()
        } else {
            fixed
        };
    }
    with_exponent(&rounded.replace(".0e", "e"))
}

/// Writes a number as OpenMetrics does: like [`format_general`], but never as an integer.
pub(crate) fn format_openmetrics(value: f64) -> String {
    let text = format_general(value);
    if value.is_finite() && !text.contains(['.', 'e']) { text + ".0" } else { text }
}

/// Turns `1e5` into `1e+05`.
fn with_exponent(scientific: &str) -> String {
    let Some((mantissa, exponent)) = scientific.split_once('e') else {
        return scientific.to_owned();
    };
    let (sign, digits) = match exponent.strip_prefix('-') {
        Some(digits) => ('-', digits),
        None => ('+', exponent),
    };
    format!("{mantissa}e{sign}{digits:0>2}")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn sums_keep_what_rounding_loses() {
        let sum = |values: &[f64]| {
            values.iter().fold(KahanSum::default(), |sum, value| sum.plus(*value)).total()
        };
        assert_eq!(sum(&[2.0, 8.0, 1e100, -1e100]), 10.0);
        assert_eq!(sum(&[1.0, f64::INFINITY]), f64::INFINITY);
        assert!(sum(&[f64::NEG_INFINITY, f64::INFINITY]).is_nan());
    }

    #[test]
    fn means_survive_an_overflowing_sum() {
        let large = 9.9e307;
        let mut mean = KahanMean::of(large);
        mean.add(large);
        mean.add(large);
        assert!(almost_equal(mean.mean(), large, 1e-12));
        let mut mean = KahanMean::of(52.0);
        for _ in 0..11 {
            mean.add(52.0);
        }
        assert_eq!(mean.mean(), 52.0);
    }

    #[test]
    fn quantiles_interpolate_and_take_nan_as_smallest() {
        let check = |q: f64, values: &[f64], expected: f64| {
            let actual = quantile(q, &mut values.to_vec());
            assert!(almost_equal(actual, expected, 1e-12), "{q} of {values:?}: {actual}");
        };
        check(0.8, &[2.0, 0.0, 1.0], 1.6);
        check(0.8, &[0.0, 1.0, f64::NAN], 0.6);
        check(0.2, &[0.0, 1.0, f64::NAN], f64::NAN);
        check(1.0, &[3.0], 3.0);
        check(-0.1, &[3.0], f64::NEG_INFINITY);
        check(1.1, &[3.0], f64::INFINITY);
        check(0.5, &[], f64::NAN);
    }

    #[test]
    fn numbers_are_written_as_prometheus_writes_them() {
        assert_eq!(format_plain(1e21), "1000000000000000000000");
        assert_eq!(format_general(1e21), "1e+21");
        assert_eq!(format_general(0.00001), "1e-05");
        assert_eq!(format_general(-0.1), "-0.1");
        assert_eq!(format_general(f64::NAN), "NaN");
        assert_eq!(format_openmetrics(1.0), "1.0");
        assert_eq!(format_openmetrics(f64::INFINITY), "+Inf");
        assert_eq!(format_two_digits(10.0), "10");
        assert_eq!(format_two_digits(0.123), "0.12");
        assert_eq!(format_two_digits(123.0), "1.2e+02");
        assert_eq!(format_two_digits(1e-9), "1e-09");
    }
}
