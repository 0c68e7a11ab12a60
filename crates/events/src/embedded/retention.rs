//! What is removed, and when: whole segments, the oldest first.

use std::collections::BTreeMap;
use std::time::Duration;

use journal::{SegmentInfo, Sequence};
use model::Timestamp;
use platform::Clock;

use crate::embedded::core::{Core, RETRY_AFTER, unavailable};
use crate::{LogError, Offset};

/// Into how many parts the time that events are kept is divided: a segment is closed after one of them, so that
/// events are kept at most that much longer.
const RETENTION_PARTS: u32 = 8;

/// How far the wall clock may be ahead of what was expected without being thought to have jumped.
const CLOCK_SLACK: Duration = Duration::from_mins(1);

/// How long the wall clock has to stay ahead until it is believed.
const CLOCK_DOUBT: Duration = Duration::from_hours(1);

/// What the log remembers from one removal to the next.
#[derive(Debug)]
pub(crate) struct Retention {
    clock: DoubtfulClock,
    /// Segments of which no entry can be read, by their first sequence, and when that was seen first.
    unread: BTreeMap<u64, Timestamp>,
}

/// What keeps the oldest segment although the log is as large as it may be.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Held {
    /// A consumer has not settled everything in it.
    Consumer(String),
    /// It is younger than the time for which keys are remembered.
    Window,
}

impl Held {
    /// Says so to a sender.
    pub(crate) fn error(&self) -> LogError {
        match self {
            Self::Consumer(consumer) => LogError::Full { consumer: consumer.clone() },
            Self::Window => {
                LogError::Unavailable { reason: self.to_string(), retry_after: RETRY_AFTER }
            }
        }
    }
}

impl std::fmt::Display for Held {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        match self {
            Self::Consumer(consumer) => {
                write!(f, "consumer '{consumer}' has not read the oldest events yet")
            }
            Self::Window => f.write_str(
                "all of its bytes hold events of the deduplication window, give it more bytes",
            ),
        }
    }
}

/// What decides about segments.
#[derive(Clone, Debug)]
struct Policy {
    /// Segments that end before this are removed.
    expired_before: Option<Timestamp>,
    /// Segments that end at this or later are kept, whatever their number.
    window_from: Timestamp,
    /// Bytes above which the oldest are removed.
    bytes_max: Option<u64>,
    /// Who needs which entries most.
    floor: Option<(String, Offset)>,
}

/// What is to be done.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
struct Decision {
    /// How many of the oldest segments go.
    segments: usize,
    /// Why too many bytes are left.
    held: Option<Held>,
}

/// A segment with a bound of the times in it.
#[derive(Clone, Copy, Debug)]
struct Aged {
    info: SegmentInfo,
    /// What is in it arrived before.
    before: Timestamp,
}

impl Retention {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { clock: DoubtfulClock::new(clock), unread: BTreeMap::new() }
    }
}

impl Core {
    /// Removes what is too old or too much; returns how many segments. Also begins a new segment when the current one
    /// has been written for a part of the time that events are kept.
    pub(crate) fn expire(&self) -> Result<u64, LogError> {
        let mut retention = self.retention.lock();
        let now = retention.clock.now(self.clock.as_ref());
        self.close_old_segment(now)?;
        let policy = Policy {
            expired_before: self.config.retention.map(|kept| before(now, kept)),
            window_from: before(now, self.config.deduplication_window),
            bytes_max: self.config.bytes_max,
            floor: self.consumers.lowest(),
        };
        let segments = self.aged(now, &mut retention.unread)?;
        let Decision { segments: count, held } = decide(&segments, self.journal.bytes(), &policy);
        let removed = match segments.get(count).filter(|_| count > 0) {
            Some(kept) => self.journal.remove_before(kept.info.first).map_err(unavailable)?,
            None => 0,
        };
        let kept = segments.get(count).map_or(0, |kept| kept.info.first.0);
        self.times.lock().retain(|first, _| *first >= kept);
        retention.unread.retain(|first, _| *first >= kept);
        *self.held.lock() = held;
        Ok(removed)
    }

    /// Removes what is too much, if there is too much.
    pub(crate) fn keep_within_bytes(&self) -> Result<(), LogError> {
        let over = self.config.bytes_max.is_some_and(|max| self.journal.bytes() > max);
        if over { self.expire().map(drop) } else { Ok(()) }
    }

    fn close_old_segment(&self, now: Timestamp) -> Result<(), LogError> {
        let Some(kept) = self.config.retention else { return Ok(()) };
        let Some(newest) = self.journal.segments().last().copied() else { return Ok(()) };
        let old = before(now, kept / RETENTION_PARTS);
        let is_old = || Ok(self.first_at(&newest)?.is_some_and(|first| first < old));
        // While the journal refuses writes, closed segments can still be removed.
        if newest.end < newest.first || self.journal.poisoned().is_some() || !is_old()? {
            return Ok(());
        }
        let cut = self.journal.cut();
        self.settle();
        cut.map(drop).map_err(unavailable)
    }

    /// Returns the segments with what their neighbours say of their age.
    ///
    /// What is in a segment arrived before the first entry of the following one, and after its own first one. A clock
    /// that was set back in between makes the former too early; the later of both times is then wrong by no more than
    /// what the segment spans.
    fn aged(
        &self,
        now: Timestamp,
        unread: &mut BTreeMap<u64, Timestamp>,
    ) -> Result<Vec<Aged>, LogError> {
        let infos = self.journal.segments();
        let mut aged = Vec::with_capacity(infos.len());
        let mut following = now;
        for info in infos.into_iter().rev() {
            let first = match self.first_at(&info)? {
                Some(first) => {
                    unread.remove(&info.first.0);
                    first
                }
                // Nothing is in it yet, and what comes arrives later than now: that is remembered until it does.
                None => *unread.entry(info.first.0).or_insert(now),
            };
            aged.push(Aged { info, before: first.max(following) });
            following = first;
        }
        aged.reverse();
        Ok(aged)
    }
}

/// Decides which of the oldest segments go. The last one is being written and stays.
fn decide(segments: &[Aged], bytes: u64, policy: &Policy) -> Decision {
    let mut left = bytes;
    let closed = segments.split_last().map_or(&[][..], |(_, closed)| closed);
    for (index, segment) in closed.iter().enumerate() {
        let too_much = policy.bytes_max.is_some_and(|max| left > max);
        let too_old = policy.expired_before.is_some_and(|expired| segment.before < expired);
        let held = policy.holds(segment);
        if held.is_some() || !(too_much || too_old) {
            return Decision { segments: index, held: held.filter(|_| too_much) };
        }
        left = left.saturating_sub(segment.info.bytes);
    }
    Decision { segments: closed.len(), held: None }
}

impl Policy {
    fn holds(&self, segment: &Aged) -> Option<Held> {
        if let Some((consumer, floor)) = &self.floor
            && segment.info.end >= Sequence(floor.0)
        {
            return Some(Held::Consumer(consumer.clone()));
        }
        (segment.before >= self.window_from).then_some(Held::Window)
    }
}

/// Returns the time that is this much before `now`.
pub(crate) fn before(now: Timestamp, time: Duration) -> Timestamp {
    now.saturating_add_millis(i64::try_from(time.as_millis()).map_or(i64::MIN, |millis| -millis))
}

/// The wall clock, doubted when it jumps ahead: a clock that is wrong for a while must not make everything old.
///
/// Jumps back are believed at once, because they only make events younger. What the clock says at the start is
/// believed too.
#[derive(Debug)]
pub(crate) struct DoubtfulClock {
    /// The wall clock less the monotonic one, in milliseconds, as it is believed.
    offset_ms: i64,
    /// Since when, on the monotonic clock, it has been further ahead.
    ahead_since: Option<Duration>,
}

impl DoubtfulClock {
    pub(crate) fn new(clock: &dyn Clock) -> Self {
        Self { offset_ms: offset_ms(clock), ahead_since: None }
    }

    pub(crate) fn now(&mut self, clock: &dyn Clock) -> Timestamp {
        let (offset_ms, monotonic) = (offset_ms(clock), clock.monotonic());
        if offset_ms <= self.offset_ms.saturating_add(millis(CLOCK_SLACK)) {
            (self.offset_ms, self.ahead_since) = (offset_ms, None);
        } else {
            let since = *self.ahead_since.get_or_insert(monotonic);
            if monotonic.saturating_sub(since) >= CLOCK_DOUBT {
                (self.offset_ms, self.ahead_since) = (offset_ms, None);
            }
        }
        Timestamp::from_millis(self.offset_ms.saturating_add(millis(monotonic)))
    }
}

fn offset_ms(clock: &dyn Clock) -> i64 {
    clock.now().as_millis().saturating_sub(millis(clock.monotonic()))
}

fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}

#[cfg(test)]
mod tests {
    use std::sync::Arc;

    use platform::SimClock;

    use super::*;

    /// Segments of ten records and 100 bytes, each of which ended at the given time; the last one is being written.
    fn segments(times: &[i64]) -> Vec<Aged> {
        let segment = |(index, time): (usize, &i64)| {
            let first = index as u64 * 10 + 1;
            let info = SegmentInfo { first: Sequence(first), end: Sequence(first + 9), bytes: 100 };
            Aged { info, before: Timestamp::from_millis(*time) }
        };
        times.iter().enumerate().map(segment).collect()
    }

    fn policy() -> Policy {
        Policy {
            expired_before: None,
            window_from: Timestamp::from_millis(1_000),
            bytes_max: None,
            floor: None,
        }
    }

    fn check(policy: &Policy, removed: usize, held: Option<Held>) {
        let decision = decide(&segments(&[10, 20, 30, 40, 50]), 500, policy);
        assert_eq!(decision, Decision { segments: removed, held }, "{policy:?}");
    }

    #[test]
    fn segments_go_by_age_and_by_bytes() {
        check(&policy(), 0, None);
        let at = |ms| Some(Timestamp::from_millis(ms));
        check(&Policy { expired_before: at(30), ..policy() }, 2, None);
        check(&Policy { expired_before: at(31), ..policy() }, 3, None);
        check(&Policy { expired_before: at(900), ..policy() }, 4, None);
        check(&Policy { bytes_max: Some(500), ..policy() }, 0, None);
        check(&Policy { bytes_max: Some(499), ..policy() }, 1, None);
        check(&Policy { bytes_max: Some(250), ..policy() }, 3, None);
        check(&Policy { bytes_max: Some(0), ..policy() }, 4, None);
    }

    #[test]
    fn consumers_and_the_window_hold_segments() {
        let expired = Policy { expired_before: Some(Timestamp::from_millis(900)), ..policy() };
        let floor = |offset| Some(("sink".to_owned(), Offset(offset)));
        check(&Policy { floor: floor(20), ..expired.clone() }, 1, None);
        check(&Policy { floor: floor(21), ..expired.clone() }, 2, None);
        let full = Policy { bytes_max: Some(100), ..policy() };
        check(&Policy { floor: floor(1), ..full.clone() }, 0, Some(Held::Consumer("sink".into())));
        let window_from = Timestamp::from_millis(20);
        check(&Policy { window_from, ..expired }, 1, None);
        check(&Policy { window_from, ..full }, 1, Some(Held::Window));
    }

    #[test]
    fn the_segment_being_written_stays() {
        let all = Policy { bytes_max: Some(0), ..policy() };
        assert_eq!(decide(&segments(&[10]), 100, &all), Decision::default());
        assert_eq!(decide(&[], 0, &all), Decision::default());
    }

    #[test]
    fn a_clock_that_jumps_ahead_is_believed_after_an_hour_and_back_at_once() {
        let sim = SimClock::new(Timestamp::from_millis(1_000_000));
        let clock: Arc<dyn Clock> = Arc::new(Arc::clone(&sim));
        let mut doubtful = DoubtfulClock::new(clock.as_ref());
        let ahead = Timestamp::from_millis(1_000_000_000_000);
        sim.set_now(ahead);
        assert_eq!(doubtful.now(clock.as_ref()), Timestamp::from_millis(1_000_000));
        sim.advance(CLOCK_DOUBT - Duration::from_millis(1));
        assert_eq!(doubtful.now(clock.as_ref()), Timestamp::from_millis(4_599_999));
        sim.advance(Duration::from_millis(1));
        assert_eq!(doubtful.now(clock.as_ref()), Clock::now(&sim));
        sim.set_now(Timestamp::from_millis(5));
        assert_eq!(doubtful.now(clock.as_ref()), Timestamp::from_millis(5));
        sim.set_now(Timestamp::from_millis(5 + millis(CLOCK_SLACK)));
        assert_eq!(doubtful.now(clock.as_ref()), Clock::now(&sim), "within the slack");
    }
}
