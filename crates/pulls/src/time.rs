//! Two clocks: the server's, and what is known of an agent's.

use std::time::Duration;

use platform::{Clock, Timestamp};

/// How long the least delay counts that was seen.
const WINDOW: Duration = Duration::from_secs(300);

/// How long ago the earliest moment may be that an agent tells: no runtime pulls for so long. 7 days.
const PAST_MAX_MS: i64 = 7 * 86_400_000;

/// A moment by both clocks of the server.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Now {
    pub(crate) wall: Timestamp,
    pub(crate) monotonic: Duration,
}

impl Now {
    pub(crate) fn of(clock: &dyn Clock) -> Self {
        Self { wall: clock.now(), monotonic: clock.monotonic() }
    }
}

/// How far an agent's clock is ahead of the server's, as reports tell.
///
/// A report's time is older when it arrives than when it was made, by the delay between. The report with the smallest
/// delay of the last minutes tells most.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Skew {
    present: Option<i64>,
    before: Option<i64>,
    since: Duration,
}

impl Skew {
    /// Notes that a report that was made at `sent` by the agent's clock arrived now.
    pub(crate) fn note(&mut self, now: Now, sent: Option<Timestamp>) {
        let Some(sent) = sent.filter(is_told) else { return };
        if now.monotonic.saturating_sub(self.since) > WINDOW || self.present.is_none() {
            self.before = self.present.take();
            self.since = now.monotonic;
        }
        self.present = self.present.max(Some(sent.millis_since(now.wall)));
    }

    /// Returns how far the agent's clock is ahead, in milliseconds.
    pub(crate) fn ahead_millis(&self) -> Option<i64> {
        self.present.max(self.before)
    }

    /// Returns a time of the agent by the server's clock. What cannot be is moved: what has not come yet to now, what is too
    /// long ago to the earliest moment that may be.
    pub(crate) fn to_server(self, now: Now, time: Option<Timestamp>) -> Option<Timestamp> {
        let ahead = self.ahead_millis().unwrap_or(0);
        let time = time.filter(is_told)?;
        let time = Timestamp::from_millis(time.as_millis().saturating_sub(ahead));
        Some(time.clamp(now.wall.saturating_add_millis(-PAST_MAX_MS), now.wall))
    }
}

/// Agents written in Go say year 1 for a time that they do not know.
fn is_told(time: &Timestamp) -> bool {
    time.as_millis() > 0
}

#[cfg(test)]
mod tests {
    use super::*;

    fn now(wall: i64) -> Now {
        Now {
            wall: Timestamp::from_millis(wall),
            monotonic: Duration::from_millis(wall.unsigned_abs()),
        }
    }

    #[test]
    fn the_smallest_delay_tells_the_clock() {
        let mut skew = Skew::default();
        // The clock is 60 s ahead; delays are 500, 20 and 900 ms.
        for (arrived, sent) in [(1_000, 60_500), (2_000, 61_980), (3_000, 62_100)] {
            skew.note(now(arrived), Some(Timestamp::from_millis(sent)));
        }
        assert_eq!(skew.ahead_millis(), Some(59_980));
        let begun = skew.to_server(now(3_000), Some(Timestamp::from_millis(62_000)));
        assert_eq!(begun, Some(Timestamp::from_millis(2_020)));
    }

    #[test]
    fn what_was_seen_long_ago_does_not_count() {
        let mut skew = Skew::default();
        skew.note(now(1_000), Some(Timestamp::from_millis(61_000)));
        for minute in 1..=11 {
            let arrived = 1_000 + minute * 61_000;
            skew.note(now(arrived), Some(Timestamp::from_millis(arrived)));
        }
        assert_eq!(skew.ahead_millis(), Some(0));
    }

    #[test]
    fn no_time_is_in_the_future_or_year_one() {
        let mut skew = Skew::default();
        let year_one = Some(Timestamp::from_millis(-62_135_596_800_000));
        skew.note(now(1_000), year_one);
        assert_eq!(skew.ahead_millis(), None);
        assert_eq!(skew.to_server(now(1_000), year_one), None);
        let future = Some(Timestamp::from_millis(5_000));
        assert_eq!(skew.to_server(now(1_000), future), Some(Timestamp::from_millis(1_000)));
        let earliest = Some(Timestamp::from_millis(1_000 - PAST_MAX_MS));
        skew.note(now(1_000), Some(Timestamp::MAX));
        assert_eq!(skew.to_server(now(1_000), future), earliest);
    }
}
