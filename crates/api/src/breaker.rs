//! Keeps requests away from a storage that fails, so that they neither wait for it nor keep it from recovering.

use std::time::Duration;

use parking_lot::Mutex;

use crate::failure::Kind;

/// Failures in a row that open the breaker.
const FAILURES_MAX: u32 = 3;
/// How long it stays open.
const OPEN: Duration = Duration::from_secs(30);

/// A circuit breaker around what reads a tenant's storage.
///
/// Three failures in a row open it for 30 seconds. After that one request may try; the next success closes it, a
/// failure opens it again. Writes need none: a journal that failed refuses at once until it is opened again.
#[derive(Debug, Default)]
pub(crate) struct Breaker {
    /// Never held across an await.
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    failures: u32,
    open_until: Option<Duration>,
}

impl Breaker {
    /// Returns for how long the storage is not to be asked; `None` when it may be.
    pub(crate) fn open_for(&self, now: Duration) -> Option<Duration> {
        let mut state = self.state.lock();
        let until = state.open_until?;
        if now < until {
            return Some(until.saturating_sub(now));
        }
        // This request tries; the others wait for what becomes of it.
        state.open_until = Some(now.saturating_add(OPEN));
        None
    }

    /// Returns whether it is open. Unlike [`Breaker::open_for`], this lets nobody try.
    pub(crate) fn is_open(&self, now: Duration) -> bool {
        self.state.lock().open_until.is_some_and(|until| now < until)
    }

    /// Learns from what became of a request: nothing, or why it was refused.
    pub(crate) fn learn(&self, refused: Option<Kind>, now: Duration) {
        match refused {
            Some(Kind::StorageFailed) => self.failed(now),
            // Ended before the storage had said anything: it may be it that hangs.
            Some(Kind::Timeout | Kind::Canceled) => {}
            // It answered, whatever the evaluation made of that.
            _ => *self.state.lock() = State::default(),
        }
    }

    fn failed(&self, now: Duration) {
        let mut state = self.state.lock();
        state.failures = state.failures.saturating_add(1);
        if state.failures >= FAILURES_MAX {
            state.open_until = Some(now.saturating_add(OPEN));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn at(seconds: u64) -> Duration {
        Duration::from_secs(seconds)
    }

    #[test]
    fn three_failures_in_a_row_open_it_and_one_try_may_close_it() {
        let breaker = Breaker::default();
        breaker.failed(at(0));
        breaker.failed(at(1));
        breaker.learn(None, at(0));
        breaker.failed(at(2));
        breaker.failed(at(3));
        assert_eq!(breaker.open_for(at(4)), None, "two in a row are not enough");
        breaker.failed(at(4));
        assert_eq!(breaker.open_for(at(10)), Some(at(24)));
        assert_eq!(breaker.open_for(at(34)), None, "one may try");
        assert_eq!(breaker.open_for(at(34)), Some(at(30)), "the others wait");
        breaker.failed(at(35));
        assert_eq!(breaker.open_for(at(36)), Some(at(29)));
        assert_eq!(breaker.open_for(at(65)), None);
        breaker.learn(None, at(0));
        assert!(!breaker.is_open(at(66)) && breaker.open_for(at(66)).is_none());
    }

    #[test]
    fn it_is_open_as_long_as_requests_are_refused() {
        let breaker = Breaker::default();
        for _ in 0..3 {
            breaker.learn(Some(Kind::StorageFailed), at(0));
        }
        assert!(breaker.is_open(at(29)));
        assert!(!breaker.is_open(at(30)), "the next request is let through");
    }

    #[test]
    fn requests_that_end_early_say_nothing_about_the_storage() {
        let breaker = Breaker::default();
        for kind in [Kind::StorageFailed, Kind::Timeout, Kind::StorageFailed, Kind::Canceled] {
            breaker.learn(Some(kind), at(0));
        }
        assert!(!breaker.is_open(at(1)));
        breaker.learn(Some(Kind::StorageFailed), at(0));
        assert!(breaker.is_open(at(1)), "three failures, no success between them");
        breaker.learn(Some(Kind::Execution), at(40));
        assert_eq!(breaker.open_for(at(41)), None, "the storage was read");
    }
}
