//! Times and durations as clients write them.

use model::{Timestamp, parse_duration_ms};

/// From 9995 to 9999, with the leap day of 9996.
const FOUR_YEARS_MS: i64 = 1_461 * 86_400_000;
/// What Prometheus' own clients send for "from the beginning".
const START_OF_TIME: &str = "-292273086-05-16T16:47:06Z";
/// What Prometheus' own clients send for "to the end".
const END_OF_TIME: &str = "292277025-08-18T07:12:54.999999999Z";

/// Returns the time of an RFC 3339 text.
#[must_use]
pub fn parse_rfc3339(text: &str) -> Option<Timestamp> {
    let is_rfc3339 = text.as_bytes().get(10).is_some_and(|byte| byte.eq_ignore_ascii_case(&b'T'))
        && !text.contains('[');
    if !is_rfc3339 {
        return None;
    }
    // The calendar's last year is cut short by a day; the year four before it has the same days.
    if let Some(rest) = text.strip_prefix("9999-") {
        let earlier = parse_rfc3339(&format!("9995-{rest}"))?;
        return Some(earlier.saturating_add_millis(FOUR_YEARS_MS));
    }
    let time: jiff::Timestamp = text.parse().ok()?;
    // Towards the past, also before 1970: a time never moves forward by being read.
    let millis = time.as_nanosecond().div_euclid(1_000_000);
    i64::try_from(millis).ok().map(Timestamp::from_millis)
}

/// Returns the time of seconds since the epoch or an RFC 3339 text, as Prometheus reads times.
pub(crate) fn parse_time(text: &str) -> Option<Timestamp> {
    match text.parse::<f64>() {
        Ok(seconds) => float_millis(seconds).map(Timestamp::from_millis),
        Err(_) if text == START_OF_TIME => Some(Timestamp::MIN),
        Err(_) if text == END_OF_TIME => Some(Timestamp::MAX),
        Err(_) => parse_rfc3339(text),
    }
}

/// Returns the milliseconds of seconds or of a duration such as `1h30m`.
pub(crate) fn parse_duration(text: &str) -> Option<i64> {
    match text.parse::<f64>() {
        Ok(seconds) => float_millis(seconds),
        Err(_) => parse_duration_ms(text).and_then(|millis| i64::try_from(millis).ok()),
    }
}

fn float_millis(seconds: f64) -> Option<i64> {
    let millis = (seconds * 1000.0).round();
    // Below 2^63, with room: every such float is a valid i64.
    (millis.is_finite() && millis.abs() < 9e18).then_some(millis as i64)
}

/// Returns the RFC 3339 text of a time; times beyond the years -9999 to 9999 as the nearest of them.
#[must_use]
pub fn format_rfc3339(time: Timestamp) -> String {
    nearest(time).to_string()
}

/// As [`format_rfc3339`], always with milliseconds.
pub(crate) fn format_rfc3339_millis(time: Timestamp) -> String {
    format!("{:.3}", nearest(time))
}

fn nearest(time: Timestamp) -> jiff::Timestamp {
    let millis = time.as_millis();
    let nearest = if millis < 0 { jiff::Timestamp::MIN } else { jiff::Timestamp::MAX };
    jiff::Timestamp::from_millisecond(millis).unwrap_or(nearest)
}

/// Returns a duration as Go spells it: `1h2m3.5s`, `350ms`, `0s`.
pub(crate) fn format_go_duration(duration: std::time::Duration) -> String {
    let seconds = duration.as_secs();
    if seconds == 0 {
        let millis = duration.as_millis();
        return if millis == 0 { "0s".to_owned() } else { format!("{millis}ms") };
    }
    let (hours, minutes) = (seconds / 3600, seconds / 60 % 60);
    let millis = seconds % 60 * 1000 + u64::from(duration.subsec_millis());
    let rest = millis as f64 / 1000.0;
    match (hours, minutes) {
        (0, 0) => format!("{rest}s"),
        (0, minutes) => format!("{minutes}m{rest}s"),
        (hours, minutes) => format!("{hours}h{minutes}m{rest}s"),
    }
}

/// Returns the milliseconds of a duration as Go writes it: `15s`, `1m30s`, `500ms`, `1.5h`.
pub(crate) fn parse_go_duration(text: &str) -> Option<i64> {
    let (negative, mut rest) = text
        .strip_prefix('-')
        .map_or((false, text.strip_prefix('+').unwrap_or(text)), |rest| (true, rest));
    if rest == "0" {
        return Some(0);
    }
    let mut seconds = 0.0;
    loop {
        let digits = rest.bytes().take_while(|byte| byte.is_ascii_digit() || *byte == b'.').count();
        let (number, tail) = rest.split_at(digits);
        let letters = tail.chars().take_while(|c| c.is_alphabetic()).map(char::len_utf8).sum();
        let (unit, tail) = tail.split_at(letters);
        let size = match unit {
            "ns" => 1e-9,
            "us" | "µs" | "μs" => 1e-6,
            "ms" => 1e-3,
            "s" => 1.0,
            "m" => 60.0,
            "h" => 3600.0,
            _ => return None,
        };
        seconds += number.parse::<f64>().ok()? * size;
        rest = tail;
        if rest.is_empty() {
            return float_millis(if negative { -seconds } else { seconds });
        }
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use super::*;

    #[test]
    fn times_are_seconds_or_rfc_3339() {
        for (text, expected) in [
            ("1435781451.781", Some(1_435_781_451_781)),
            ("-1", Some(-1_000)),
            ("1e3", Some(1_000_000)),
            ("2015-07-01T20:10:51.781Z", Some(1_435_781_451_781)),
            ("2015-07-01T22:10:51+02:00", Some(1_435_781_451_000)),
            ("1969-12-31T23:59:59.9999Z", Some(-1)),
            ("9999-12-31T23:59:59.999Z", Some(253_402_300_799_999)),
            ("9999-02-29T00:00:00Z", None),
            ("9999-01-01T00:00:00+01:00", Some(253_370_761_200_000)),
            ("-292273086-05-16T16:47:06Z", Some(i64::MIN)),
            ("292277025-08-18T07:12:54.999999999Z", Some(i64::MAX)),
            ("2015-07-01 20:10:51Z", None),
            ("2015-07-01T20:10:51Z[UTC]", None),
            ("2015-07-01", None),
            ("NaN", None),
            ("1e300", None),
            ("soon", None),
            ("", None),
        ] {
            assert_eq!(parse_time(text).map(Timestamp::as_millis), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_seconds_or_have_units() {
        for (text, expected) in [
            ("15", Some(15_000)),
            ("0.5", Some(500)),
            ("1h30m", Some(5_400_000)),
            ("x", None),
            ("1e30", None),
        ] {
            assert_eq!(parse_duration(text), expected, "{text}");
        }
        for (text, expected) in [
            ("15s", Some(15_000)),
            ("1m30s", Some(90_000)),
            ("1.5h", Some(5_400_000)),
            ("-1s", Some(-1_000)),
            ("0", Some(0)),
            ("15", None),
            ("1d", None),
            ("", None),
        ] {
            assert_eq!(parse_go_duration(text), expected, "{text}");
        }
    }

    #[test]
    fn durations_are_written_as_go_does() {
        for (millis, expected) in [
            (0, "0s"),
            (350, "350ms"),
            (3_500, "3.5s"),
            (120_000, "2m0s"),
            (3_723_456, "1h2m3.456s"),
        ] {
            assert_eq!(format_go_duration(Duration::from_millis(millis)), expected);
        }
        assert_eq!(format_rfc3339(Timestamp::from_millis(1_500)), "1970-01-01T00:00:01.5Z");
        for (millis, expected) in
            [(1_500, "1970-01-01T00:00:01.500Z"), (0, "1970-01-01T00:00:00.000Z")]
        {
            assert_eq!(format_rfc3339_millis(Timestamp::from_millis(millis)), expected);
        }
    }
}
