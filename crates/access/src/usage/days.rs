//! Sums of days, until they are stored.

use std::time::Duration;

use platform::Timestamp;

use super::{Counts, UsageKind};

/// A day of UTC.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Day(i64);

const DAY_MS: i64 = 86_400_000;

impl Day {
    /// Returns the day with this number: 0 is 1970-01-01.
    #[must_use]
    pub const fn from_number(number: i64) -> Self {
        Self(number)
    }

    /// Returns the days since 1970-01-01.
    #[must_use]
    pub const fn number(self) -> i64 {
        self.0
    }

    /// Returns the day of a time.
    #[must_use]
    pub const fn of(time: Timestamp) -> Self {
        Self(time.as_millis().div_euclid(DAY_MS))
    }

    /// Returns how long the day of `time` lasts from then.
    #[must_use]
    pub const fn rest(time: Timestamp) -> Duration {
        let into = time.as_millis().rem_euclid(DAY_MS);
        Duration::from_millis((DAY_MS - into).cast_unsigned())
    }

    /// Returns the number for an atomic.
    pub(super) const fn bits(self) -> u64 {
        self.0.cast_unsigned()
    }
}

/// How much of a kind a tenant used on one day.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DaySum {
    /// The day.
    pub day: Day,
    /// What was used.
    pub kind: UsageKind,
    /// How much.
    pub amount: u64,
}

/// Most days whose sums wait to be stored. When it cannot be stored for longer, the oldest sums go to the next day:
/// nothing is lost, only when it was.
const DAYS_MAX: usize = 32;

/// What was used, by day.
#[derive(Debug)]
pub(super) struct Days {
    today: Day,
    /// The counts when the day began.
    begun: Counts,
    /// What was used today before the program started.
    loaded: Counts,
    /// The counts up to which everything was taken, or lies in `unsaved`.
    settled: Counts,
    /// In order, a day once.
    unsaved: Vec<(Day, Counts)>,
}

impl Days {
    pub(super) fn new(today: Day) -> Self {
        let [begun, loaded, settled] = [Counts::default(); 3];
        Self { today, begun, loaded, settled, unsaved: Vec::new() }
    }

    /// Ends the day, and returns whether another began.
    ///
    /// A clock that is set back a little, over midnight, does not bring back yesterday: its quotas would begin anew.
    pub(super) fn begin(&mut self, today: Day, counts: Counts) -> bool {
        if today == self.today || Some(today.0) == self.today.0.checked_sub(1) {
            return false;
        }
        self.settle(counts);
        self.today = today;
        self.begun = counts;
        self.loaded = Counts::default();
        true
    }

    /// Adds what was used before; returns whether it was today.
    pub(super) fn load(&mut self, sum: DaySum) -> bool {
        let is_today = sum.day == self.today;
        if is_today && let Some(loaded) = self.loaded.get_mut(sum.kind as usize) {
            *loaded = loaded.saturating_add(sum.amount);
        }
        is_today
    }

    /// Returns what was used today.
    pub(super) fn today(&self, counts: Counts) -> Counts {
        let mut today = self.loaded;
        for ((today, count), begun) in today.iter_mut().zip(counts).zip(self.begun) {
            *today = today.saturating_add(count - begun);
        }
        today
    }

    pub(super) fn take_unsaved(&mut self, counts: Counts) -> Vec<DaySum> {
        self.settle(counts);
        let days = std::mem::take(&mut self.unsaved).into_iter();
        let sums = days.flat_map(|(day, amounts)| {
            let amounts = UsageKind::ALL.into_iter().zip(amounts);
            amounts.map(move |(kind, amount)| DaySum { day, kind, amount })
        });
        sums.filter(|sum| sum.amount > 0).collect()
    }

    pub(super) fn put_back(&mut self, sums: Vec<DaySum>) {
        for DaySum { day, kind, amount } in sums {
            let mut amounts = Counts::default();
            if let Some(place) = amounts.get_mut(kind as usize) {
                *place = amount;
            }
            self.add(day, amounts);
        }
    }

    /// Books on today what was counted since the last time.
    fn settle(&mut self, counts: Counts) {
        let mut amounts = counts;
        for (amount, settled) in amounts.iter_mut().zip(self.settled) {
            *amount -= settled;
        }
        self.settled = counts;
        if amounts != Counts::default() {
            self.add(self.today, amounts);
        }
    }

    fn add(&mut self, day: Day, amounts: Counts) {
        let found = self.unsaved.binary_search_by_key(&day, |(day, _)| *day);
        let position = found.unwrap_or_else(|position| {
            self.unsaved.insert(position, (day, Counts::default()));
            position
        });
        merge(self.unsaved.get_mut(position), amounts);
        if self.unsaved.len() > DAYS_MAX {
            let (_, oldest) = self.unsaved.remove(0);
            merge(self.unsaved.first_mut(), oldest);
        }
    }
}

fn merge(place: Option<&mut (Day, Counts)>, amounts: Counts) {
    let Some((_, sums)) = place else { return };
    for (sum, amount) in sums.iter_mut().zip(amounts) {
        *sum = sum.saturating_add(amount);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn sum(day: i64, amount: u64) -> DaySum {
        DaySum { day: Day(day), kind: UsageKind::Samples, amount }
    }

    fn counts(samples: u64) -> Counts {
        let mut counts = Counts::default();
        counts[UsageKind::Samples as usize] = samples;
        counts
    }

    #[test]
    fn days_are_those_of_utc() {
        for (millis, day, rest) in
            [(0, 0, DAY_MS), (DAY_MS - 1, 0, 1), (DAY_MS, 1, DAY_MS), (-1, -1, 1)]
        {
            let time = Timestamp::from_millis(millis);
            let rest = Duration::from_millis(rest.cast_unsigned());
            assert_eq!((Day::of(time), Day::rest(time)), (Day(day), rest), "{millis}");
        }
    }

    #[test]
    fn what_is_counted_belongs_to_the_day_on_which_it_was() {
        let mut days = Days::new(Day(10));
        assert!(days.begin(Day(11), counts(5)));
        assert_eq!(days.take_unsaved(counts(7)), [sum(10, 5), sum(11, 2)]);
        assert_eq!(days.take_unsaved(counts(7)), []);
        assert_eq!(days.today(counts(8)), counts(3));
    }

    #[test]
    fn what_is_put_back_is_taken_again_with_what_came_since() {
        let mut days = Days::new(Day(10));
        let taken = days.take_unsaved(counts(5));
        days.put_back(taken);
        days.put_back(vec![sum(9, 1)]);
        assert_eq!(days.take_unsaved(counts(6)), [sum(9, 1), sum(10, 6)]);
    }

    #[test]
    fn a_clock_that_is_set_back_over_midnight_begins_no_day() {
        let mut days = Days::new(Day(10));
        assert!(!days.begin(Day(9), counts(1)));
        assert!(!days.begin(Day(10), counts(1)));
        assert!(days.begin(Day(8), counts(1)), "but one that was far off does");
    }

    #[test]
    fn too_many_days_that_cannot_be_stored_lose_nothing() {
        let mut days = Days::new(Day(0));
        let last = i64::try_from(DAYS_MAX).expect("a small number");
        for day in 1..=last {
            days.begin(Day(day), counts(day.cast_unsigned()));
        }
        let sums = days.take_unsaved(counts(last.cast_unsigned() + 1));
        assert_eq!(sums.len(), DAYS_MAX);
        assert_eq!(sums[..2], [sum(1, 2), sum(2, 1)]);
    }
}
