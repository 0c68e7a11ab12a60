//! Durations as people write them.

/// Units with their milliseconds, the longest first.
const UNITS: [(&str, u64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// Returns the milliseconds of `14d`, `1h30m` or `0`, as Prometheus reads durations: whole numbers with units,
/// each unit at most once, the longest first. A day has 24 hours, a year 365 days.
/// `None` for anything else, more than `i64::MAX` milliseconds included.
#[must_use]
pub fn parse_duration_ms(text: &str) -> Option<u64> {
    if text == "0" {
        return Some(0);
    }
    let (mut rest, mut units, mut total) = (text, &UNITS[..], 0_u64);
    while !rest.is_empty() {
        let (digits, tail) = rest.split_at(rest.bytes().take_while(u8::is_ascii_digit).count());
        let (unit, tail) = tail.split_at(tail.bytes().take_while(u8::is_ascii_alphabetic).count());
        let position = units.iter().position(|(name, _)| *name == unit)?;
        let (_, millis) = units.get(position)?;
        units = units.get(position + 1..)?;
        total = total.checked_add(digits.parse::<u64>().ok()?.checked_mul(*millis)?)?;
        rest = tail;
    }
    (!text.is_empty() && i64::try_from(total).is_ok()).then_some(total)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn durations_are_sums_of_counts_with_units_the_longest_first() {
        for (text, expected) in [
            ("0", Some(0)),
            ("500ms", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("14d", Some(1_209_600_000)),
            ("1s500ms", Some(1_500)),
            ("", None),
            ("5", None),
            ("d", None),
            ("1.5h", None),
            ("-1h", None),
            ("30m1h", None),
            ("1h1h", None),
            ("99999999999999999999y", None),
            ("400000000y", None),
        ] {
            assert_eq!(parse_duration_ms(text), expected, "{text}");
        }
    }
}
