//! Keeps requests away from a storage that fails, so that they neither wait for it nor keep it from recovering.

use std::time::Duration;

use parking_lot::Mutex;

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
    pub(crate) fn is_open(&self) -> bool {
        self.state.lock().open_until.is_some()
    }

    /// Says that the storage answered.
    pub(crate) fn succeeded(&self) {
        *self.state.lock() = State::default();
    }

    /// Says that the storage failed.
    pub(crate) fn failed(&self, now: Duration) {
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
        breaker.succeeded();
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
        breaker.succeeded();
        assert!(!breaker.is_open() && breaker.open_for(at(66)).is_none());
    }
}
