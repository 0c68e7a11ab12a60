//! Numbers as JSON spells them.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

/// A number of JSON in its parts.
struct Parts<'a> {
    negative: bool,
    integer: &'a str,
    fraction: &'a str,
    exponent: i64,
}

/// Takes a number of JSON apart; `None` if it is none.
fn parts(text: &str) -> Option<Parts<'_>> {
    let (negative, rest) = match text.strip_prefix('-') {
        Some(rest) => (true, rest),
        None => (false, text),
    };
    let (integer, rest) = digits(rest)?;
    if integer.len() > 1 && integer.starts_with('0') {
        return None;
    }
    let (fraction, rest) = match rest.strip_prefix('.') {
        Some(rest) => digits(rest)?,
        None => ("", rest),
    };
    let exponent = match rest.strip_prefix(['e', 'E']) {
        Some(rest) => {
            let (negative, rest) = match rest.strip_prefix('-') {
                Some(rest) => (true, rest),
                None => (false, rest.strip_prefix('+').unwrap_or(rest)),
            };
            let (exponent, "") = digits(rest)? else { return None };
            // One that does not fit is beyond every number there is.
            let exponent = exponent.parse::<u32>().map_or(i64::from(u32::MAX), i64::from);
            if negative { -exponent } else { exponent }
        }
        None if rest.is_empty() => 0,
        None => return None,
    };
    Some(Parts { negative, integer, fraction, exponent })
}

/// Splits off one digit or more.
fn digits(text: &str) -> Option<(&str, &str)> {
    let end = text.bytes().position(|byte| !byte.is_ascii_digit()).unwrap_or(text.len());
    if end == 0 { None } else { text.split_at_checked(end) }
}

/// Returns the integer that a number of JSON is, exactly, however it is spelt: `1000`, `1e3`, `1000.0`.
pub(crate) fn parse_integer(text: &str) -> Option<i64> {
    let Parts { negative, integer, fraction, exponent } = parts(text)?;
    if fraction.is_empty() && exponent == 0 {
        // Nothing is spelt in a way that Rust would not take, since `parts` took it.
        return text.parse().ok();
    }
    let mut value = 0_u64;
    // Zeros wait for another digit, since an exponent may take them away again.
    let mut zeros = 0_u32;
    for digit in integer.bytes().chain(fraction.bytes()) {
        let digit = digit - b'0';
        if digit == 0 {
            zeros = zeros.saturating_add(1);
        } else {
            let shift = if value == 0 { 1 } else { 10_u64.checked_pow(zeros.checked_add(1)?)? };
            value = value.checked_mul(shift)?.checked_add(u64::from(digit))?;
            zeros = 0;
        }
    }
    if value == 0 {
        return Some(0);
    }
    let shift =
        exponent.checked_sub(i64::try_from(fraction.len()).ok()?)?.checked_add(i64::from(zeros))?;
    let value = value.checked_mul(10_u64.checked_pow(u32::try_from(shift).ok()?)?)?;
    let value = i128::from(value);
    i64::try_from(if negative { -value } else { value }).ok()
}

/// Returns the number of double precision that is nearest to a number of JSON; where it is a text, also what has no
/// digits. `None` if it is none or too large.
pub(crate) fn parse_double(text: &str, quoted: bool) -> Option<f64> {
    match text {
        "NaN" if quoted => Some(f64::NAN),
        "Infinity" if quoted => Some(f64::INFINITY),
        "-Infinity" if quoted => Some(f64::NEG_INFINITY),
        _ => {
            parts(text)?;
            text.parse::<f64>().ok().filter(|value| value.is_finite())
        }
    }
}

/// Does what [`parse_double`] does, in single precision.
pub(crate) fn parse_float(text: &str, quoted: bool) -> Option<f32> {
    match text {
        "NaN" if quoted => Some(f32::NAN),
        "Infinity" if quoted => Some(f32::INFINITY),
        "-Infinity" if quoted => Some(f32::NEG_INFINITY),
        _ => {
            parts(text)?;
            text.parse::<f32>().ok().filter(|value| value.is_finite())
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(text: &str, expected: Option<i64>) {
        assert_eq!(parse_integer(text), expected, "{text}");
    }

    #[test]
    fn integers_are_exact_however_they_are_spelt() {
        check("0", Some(0));
        check("-0", Some(0));
        check("1000", Some(1_000));
        check("1e3", Some(1_000));
        check("1E+3", Some(1_000));
        check("1.0", Some(1));
        check("-1.50e1", Some(-15));
        check("1000e-3", Some(1));
        check("0e999999999999", Some(0));
        check("0.000", Some(0));
        check("100000000000000000000000e-20", Some(1_000));
        check("9223372036854775807", Some(i64::MAX));
        check("9223372036854775807.0", Some(i64::MAX));
        check("922337203685477580.7e1", Some(i64::MAX));
        check("-9223372036854775808", Some(i64::MIN));
        check("-9223372036854775808.00", Some(i64::MIN));
    }

    #[test]
    fn what_is_no_integer_of_64_bits_is_none() {
        for text in [
            "",
            "-",
            "+1",
            "01",
            "1.",
            ".5",
            "1e",
            "1e+",
            "1 ",
            " 1",
            "0x1",
            "1.5",
            "1e-1",
            "9223372036854775808",
            "-9223372036854775809",
            "9223372036854775808.0",
            "1e19",
            "1e999999999999",
            "1e-999999999999",
            "NaN",
            "Infinity",
            "null",
            "true",
            "\u{661}",
            "1.00000000000000000000000000000000000000000000001",
        ] {
            check(text, None);
        }
    }

    #[test]
    fn floating_point_numbers_are_the_nearest_and_finite() {
        assert_eq!(parse_double("0.1", false), Some(0.1));
        assert_eq!(parse_double("-1e308", true), Some(-1e308));
        assert_eq!(parse_double("1e309", false), None);
        assert_eq!(parse_double("Infinity", true), Some(f64::INFINITY));
        assert_eq!(parse_double("Infinity", false), None);
        assert!(parse_double("NaN", true).is_some_and(f64::is_nan));
        assert_eq!(parse_double("nan", true), None);
        assert_eq!(parse_double("+1", true), None);
        assert_eq!(parse_float("16777217", false), Some(16_777_216.0));
        assert_eq!(parse_float("3.5e38", false), None);
        assert_eq!(parse_float("-Infinity", true), Some(f32::NEG_INFINITY));
    }
}
