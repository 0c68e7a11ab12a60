//! Durations as Go writes them.

use std::time::Duration;

/// Units with their nanoseconds; those that begin with the letters of another come first.
const UNITS: [(&str, u64); 8] = [
    ("ns", 1),
    ("us", 1_000),
    ("µs", 1_000),
    ("μs", 1_000),
    ("ms", 1_000_000),
    ("s", 1_000_000_000),
    ("m", 60_000_000_000),
    ("h", 3_600_000_000_000),
];

/// Reads `1h30m`, `500ms`, `2.5s` or `0`. `None` for anything else, for what is negative, and for more than Go can say
/// (about 292 years).
pub(super) fn parse(text: &str) -> Option<Duration> {
    let mut rest = match text.strip_prefix('-') {
        // Zero is the same with either sign.
        Some(rest) if rest.starts_with(['+', '-']) => return None,
        Some(rest) => return parse(rest).filter(Duration::is_zero),
        None => text.strip_prefix('+').unwrap_or(text),
    };
    if rest == "0" {
        return Some(Duration::ZERO);
    }
    if rest.is_empty() || rest.starts_with(['+', '-']) {
        return None;
    }
    let mut nanos = 0_u64;
    while !rest.is_empty() {
        let (whole, after) = digits(rest);
        let (fraction, after) = after.strip_prefix('.').map_or(("", after), digits);
        if whole.is_empty() && fraction.is_empty() {
            return None;
        }
        let end = after.find(|c: char| c == '.' || c.is_ascii_digit()).unwrap_or(after.len());
        let (name, next) = after.split_at(end);
        let &(_, unit) = UNITS.iter().find(|(known, _)| *known == name)?;
        nanos = nanos.checked_add(part(whole, fraction, unit)?)?;
        rest = next;
    }
    (i64::try_from(nanos).is_ok()).then(|| Duration::from_nanos(nanos))
}

fn digits(text: &str) -> (&str, &str) {
    text.split_at(text.find(|c: char| !c.is_ascii_digit()).unwrap_or(text.len()))
}

fn part(whole: &str, fraction: &str, unit: u64) -> Option<u64> {
    let whole = if whole.is_empty() { 0 } else { whole.parse::<u64>().ok()? };
    let mut nanos = whole.checked_mul(unit)?;
    let mut place = unit;
    for digit in fraction.bytes() {
        // Digits below a nanosecond are cut off.
        place /= 10;
        nanos = nanos.checked_add(u64::from(digit - b'0') * place)?;
    }
    Some(nanos)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_read_as_go_reads_them() {
        let check = |text: &str, nanos: Option<u64>| {
            assert_eq!(parse(text), nanos.map(Duration::from_nanos), "{text}");
        };
        check("1s", Some(1_000_000_000));
        check("2.5s", Some(2_500_000_000));
        check("500ms", Some(500_000_000));
        check("1h30m", Some(5_400_000_000_000));
        check("1m1ms", Some(60_001_000_000));
        check("+5s", Some(5_000_000_000));
        check(".5s", Some(500_000_000));
        check("1.s", Some(1_000_000_000));
        check("3us4ns", Some(3_004));
        check("3µs", Some(3_000));
        check("3μs", Some(3_000));
        check("1.0000000019s", Some(1_000_000_001));
        check("0", Some(0));
        check("-0", Some(0));
        check("-0s", Some(0));
        check("9223372036854775807ns", Some(9_223_372_036_854_775_807));
        for wrong in [
            "",
            "+",
            "-",
            "1",
            "1.5",
            "s",
            ".s",
            "1 s",
            "1d",
            "1S",
            "-1s",
            "--0",
            "+-0",
            "1s-1s",
            "1sx",
            "9223372036854775808ns",
            "99999999999999999999h",
            "2562048h",
        ] {
            check(wrong, None);
        }
    }
}
