//! Calendar arithmetic in UTC.

/// A day of the proleptic Gregorian calendar with the time within it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Civil {
    /// The year; negative before the year 0.
    pub(crate) year: i64,
    /// 1 to 12.
    pub(crate) month: i64,
    /// 1 to 31.
    pub(crate) day: i64,
    /// 1 to 366.
    pub(crate) day_of_year: i64,
    /// 0 (Sunday) to 6.
    pub(crate) weekday: i64,
    /// 0 to 23.
    pub(crate) hour: i64,
    /// 0 to 59.
    pub(crate) minute: i64,
    /// 0 to 59.
    pub(crate) second: i64,
}

impl Civil {
    /// Returns the day and time of `seconds` after the epoch.
    pub(crate) fn from_seconds(seconds: i64) -> Self {
        let days = seconds.div_euclid(86_400);
        let rest = seconds.rem_euclid(86_400);
        let (year, month, day) = from_days(days);
        let day_of_year = days - to_days(year, 1, 1) + 1;
        Self {
            year,
            month,
            day,
            day_of_year,
            weekday: (days + 4).rem_euclid(7),
            hour: rest / 3600,
            minute: rest % 3600 / 60,
            second: rest % 60,
        }
    }

    /// Returns how many days the month has.
    pub(crate) fn days_in_month(self) -> i64 {
        let (year, month) =
            if self.month == 12 { (self.year + 1, 1) } else { (self.year, self.month + 1) };
        to_days(year, month, 1) - to_days(self.year, self.month, 1)
    }
}

/// Writes a time as `1970-01-01T00:00:00Z`, without fractions of a second.
pub(crate) fn format_rfc3339(time_ms: i64) -> String {
    let civil = Civil::from_seconds(time_ms.div_euclid(1000));
    format!(
        "{:04}-{:02}-{:02}T{:02}:{:02}:{:02}Z",
        civil.year, civil.month, civil.day, civil.hour, civil.minute, civil.second
    )
}

/// Eras of 400 years make the calendar periodic; years begin in March so that the leap day comes last.
fn from_days(days: i64) -> (i64, i64, i64) {
    let shifted = days + 719_468;
    let era = shifted.div_euclid(146_097);
    let day_of_era = shifted.rem_euclid(146_097);
    let year_of_era =
        (day_of_era - day_of_era / 1460 + day_of_era / 36_524 - day_of_era / 146_096) / 365;
    let day_of_year = day_of_era - (365 * year_of_era + year_of_era / 4 - year_of_era / 100);
    let shifted_month = (5 * day_of_year + 2) / 153;
    let day = day_of_year - (153 * shifted_month + 2) / 5 + 1;
    let month = if shifted_month < 10 { shifted_month + 3 } else { shifted_month - 9 };
    let year = year_of_era + era * 400 + i64::from(month <= 2);
    (year, month, day)
}

fn to_days(year: i64, month: i64, day: i64) -> i64 {
    let year = if month <= 2 { year - 1 } else { year };
    let era = year.div_euclid(400);
    let year_of_era = year.rem_euclid(400);
    let shifted_month = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * shifted_month + 2) / 5 + day - 1;
    let day_of_era = year_of_era * 365 + year_of_era / 4 - year_of_era / 100 + day_of_year;
    era * 146_097 + day_of_era - 719_468
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn days_are_found() {
        let check = |seconds: i64, date: (i64, i64, i64), day_of_year: i64, weekday: i64| {
            let civil = Civil::from_seconds(seconds);
            assert_eq!((civil.year, civil.month, civil.day), date, "{seconds}");
            assert_eq!((civil.day_of_year, civil.weekday), (day_of_year, weekday), "{seconds}");
        };
        check(0, (1970, 1, 1), 1, 4);
        check(-1, (1969, 12, 31), 365, 3);
        check(1_456_790_399, (2016, 2, 29), 60, 1);
        check(1_456_790_400, (2016, 3, 1), 61, 2);
        check(1_483_191_420, (2016, 12, 31), 366, 6);
        check(-62_135_596_800, (1, 1, 1), 1, 1);
    }

    #[test]
    fn months_know_their_length() {
        let length = |seconds| Civil::from_seconds(seconds).days_in_month();
        assert_eq!(length(1_454_284_800), 29);
        assert_eq!(length(1_485_907_200), 28);
        assert_eq!(length(1_483_191_420), 31);
    }

    #[test]
    fn times_are_written() {
        assert_eq!(format_rfc3339(1_136_239_445_999), "2006-01-02T22:04:05Z");
    }
}
