//! Times as RFC 3339, read as Go's `time.Time` reads them from JSON: a little less strictly than the standard.

use std::ops::RangeInclusive;

use platform::Timestamp;

/// What Go writes for a time that was never set.
const UNSET: &str = "0001-01-01T00:00:00Z";

/// The times that are neither unset nor beyond the years that RFC 3339 can write: those of the years 2 to 9999.
const SET: RangeInclusive<i64> = -62_104_060_800_000..=253_402_300_799_999;

const MILLIS_PER_DAY: i64 = 86_400_000;

/// Reads a time. `Some(None)` is one that was never set: in Go, the first moment of year 1, and here anything up to the
/// end of that year in UTC. `None` is not a time. Fractions below a millisecond are cut off.
pub(super) fn read(text: &str) -> Option<Option<Timestamp>> {
    let (date, time) = text.as_bytes().split_at_checked(11)?;
    if (date.get(4), date.get(7), date.get(10)) != (Some(&b'-'), Some(&b'-'), Some(&b'T')) {
        return None;
    }
    let year = digits(date, 0, 4)?;
    let (month, day) = (digits(date, 5, 2)?, digits(date, 8, 2)?);
    let hour_digits = if time.get(1) == Some(&b':') { 1 } else { 2 };
    let hour = digits(time, 0, hour_digits)?;
    let (time, rest) = time.get(hour_digits..)?.split_at_checked(6)?;
    if (time.first(), time.get(3)) != (Some(&b':'), Some(&b':')) {
        return None;
    }
    let (minute, second) = (digits(time, 1, 2)?, digits(time, 4, 2)?);
    let (millis, zone) = fraction(rest)?;
    let offset_minutes = offset(zone)?;
    let valid = (1..=12).contains(&month)
        && (1..=days_in_month(year, month)).contains(&day)
        && hour < 24
        && minute < 60
        && second < 60;
    if !valid {
        return None;
    }
    let seconds = hour * 3_600 + (minute - offset_minutes) * 60 + second;
    let time = days_since_epoch(year, month, day) * MILLIS_PER_DAY + seconds * 1_000 + millis;
    Some(SET.contains(&time).then_some(Timestamp::from_millis(time)))
}

/// Writes a time in UTC, without trailing zeros of the fraction. What RFC 3339 has no year for counts as never set.
pub(super) fn write(time: Option<Timestamp>) -> String {
    let Some(millis) = time.map(Timestamp::as_millis).filter(|millis| SET.contains(millis)) else {
        return UNSET.to_owned();
    };
    let (year, month, day) = civil(millis.div_euclid(MILLIS_PER_DAY));
    let of_day = millis.rem_euclid(MILLIS_PER_DAY);
    let (seconds, fraction) = (of_day / 1_000, of_day % 1_000);
    let (hour, minute, second) = (seconds / 3_600, seconds / 60 % 60, seconds % 60);
    let mut text = format!("{year:04}-{month:02}-{day:02}T{hour:02}:{minute:02}:{second:02}");
    if fraction != 0 {
        text.push_str(format!(".{fraction:03}").trim_end_matches('0'));
    }
    text.push('Z');
    text
}

fn digits(bytes: &[u8], at: usize, count: usize) -> Option<i64> {
    bytes.get(at..at + count)?.iter().try_fold(0, |number, &digit| {
        digit.is_ascii_digit().then(|| number * 10 + i64::from(digit - b'0'))
    })
}

/// Returns the milliseconds of an optional fraction and what follows it.
fn fraction(rest: &[u8]) -> Option<(i64, &[u8])> {
    let [b'.' | b',', fraction @ ..] = rest else { return Some((0, rest)) };
    let count = fraction.iter().take_while(|digit| digit.is_ascii_digit()).count();
    if count == 0 {
        return None;
    }
    let (digits, zone) = fraction.split_at(count);
    let millis = (0..3).fold(0, |millis, at| {
        millis * 10 + digits.get(at).map_or(0, |digit| i64::from(digit - b'0'))
    });
    Some((millis, zone))
}

fn offset(zone: &[u8]) -> Option<i64> {
    let sign = match zone {
        b"Z" => return Some(0),
        [b'+', _, _, b':', _, _] => 1,
        [b'-', _, _, b':', _, _] => -1,
        _ => return None,
    };
    let (hours, minutes) = (digits(zone, 1, 2)?, digits(zone, 4, 2)?);
    // Go lets people write whole days and hours as offsets.
    (hours <= 24 && minutes <= 60).then_some(sign * (hours * 60 + minutes))
}

const fn days_in_month(year: i64, month: i64) -> i64 {
    match month {
        2 if year % 4 == 0 && (year % 100 != 0 || year % 400 == 0) => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Counts in years that begin in March, so that a leap day ends one:
/// <https://howardhinnant.github.io/date_algorithms.html>.
const fn days_since_epoch(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let day_of_year = (153 * ((month + 9) % 12) + 2) / 5 + day - 1;
    era * 146_097 + year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year - 719_468
}

/// The inverse of [`days_since_epoch`].
const fn civil(days: i64) -> (i64, i64, i64) {
    let days = days + 719_468;
    let era = days.div_euclid(146_097);
    let of_era = days.rem_euclid(146_097);
    let year_of_era = (of_era - of_era / 1_460 + of_era / 36_524 - of_era / 146_096) / 365;
    let day_of_year = of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted = (5 * day_of_year + 2) / 153;
    let month = if shifted < 10 { shifted + 3 } else { shifted - 9 };
    let year = era * 400 + year_of_era + if month <= 2 { 1 } else { 0 };
    (year, month, day_of_year - (153 * shifted + 2) / 5 + 1)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn reads_what_go_reads() {
        let check = |text: &str, expected: Option<Option<i64>>| {
            let expected = expected.map(|time| time.map(Timestamp::from_millis));
            assert_eq!(read(text), expected, "{text}");
        };
        check("1970-01-01T00:00:00Z", Some(Some(0)));
        check("1969-12-31T23:59:59.999Z", Some(Some(-1)));
        check("2026-02-23T21:45:26.123456789Z", Some(Some(1_771_883_126_123)));
        check("2026-02-23T21:45:26.9999999999999Z", Some(Some(1_771_883_126_999)));
        check("2026-02-23T21:45:26.5Z", Some(Some(1_771_883_126_500)));
        check("2026-02-23T23:45:26+02:00", Some(Some(1_771_883_126_000)));
        check("2026-02-23T16:15:26-05:30", Some(Some(1_771_883_126_000)));
        check("2026-02-23T21:45:26,5Z", Some(Some(1_771_883_126_500)));
        check("2026-02-23T1:45:26Z", Some(Some(1_771_811_126_000)));
        check("2026-02-24T21:45:26+24:00", Some(Some(1_771_883_126_000)));
        check("2026-02-23T22:45:26+00:60", Some(Some(1_771_883_126_000)));
        check("2024-02-29T00:00:00Z", Some(Some(1_709_164_800_000)));
        check("0001-01-01T00:00:00Z", Some(None));
        check("0000-12-31T23:00:00-01:00", Some(None));
        check("0001-12-31T23:59:59.999Z", Some(None));
        check("0002-01-01T00:00:00Z", Some(Some(-62_104_060_800_000)));
        check("0002-01-01T00:00:00+00:01", Some(None));
        check("9999-12-31T23:59:59.999Z", Some(Some(253_402_300_799_999)));
        check("9999-12-31T23:59:59.999-00:01", Some(None));
        for wrong in [
            "",
            "2026-02-23",
            "2026-02-23 21:45:26Z",
            "2026-02-23t21:45:26Z",
            "2026-02-23T21:45:26z",
            "2026-02-23T21:45:26",
            "2026-02-23T21:45:26.Z",
            "2026-02-23T21:45:60Z",
            "2026-02-23T24:00:00Z",
            "2026-02-29T00:00:00Z",
            "2026-13-01T00:00:00Z",
            "2026-02-23T21:45:26+24:61",
            "2026-02-23T21:45:26-25:00",
            "2026-02-23T:45:26Z",
            "2026-02-23T121:45:26Z",
            "2026-02-23T21:45:26+0200",
            "2026-02-23T21:45:26Zé",
            "2026-02-23T21:45:é6Z",
            "+026-02-23T21:45:26Z",
        ] {
            check(wrong, None);
        }
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_again(millis in SET) {
            let time = Some(Timestamp::from_millis(millis));
            prop_assert_eq!(read(&write(time)), Some(time));
        }

        #[test]
        fn no_time_is_too_strange_to_be_written(millis in any::<i64>()) {
            prop_assert!(read(&write(Some(Timestamp::from_millis(millis)))).is_some());
        }

        #[test]
        fn no_text_is_too_strange_to_be_read(text in "\\PC*") {
            prop_assert!(read(&text).is_none_or(|_| text.len() >= 19));
        }
    }
}
