//! Time: the wall clock for what is stored, the monotonic clock for what is measured.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use parking_lot::Mutex;
use tokio::sync::Notify;

/// A point in time: milliseconds since 1970-01-01T00:00:00Z, negative before it.
///
/// Every `i64` is valid. Arithmetic saturates, so a query at the end of time is a narrow one, not a panic.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
#[repr(transparent)]
pub struct Timestamp(i64);

impl Timestamp {
    /// The earliest representable time.
    pub const MIN: Self = Self(i64::MIN);
    /// The latest representable time.
    pub const MAX: Self = Self(i64::MAX);

    /// Returns the time `millis` milliseconds after the epoch.
    #[must_use]
    pub const fn from_millis(millis: i64) -> Self {
        Self(millis)
    }

    /// Returns the milliseconds since the epoch.
    #[must_use]
    pub const fn as_millis(self) -> i64 {
        self.0
    }

    /// Returns this time moved by `millis` milliseconds, saturating at both ends.
    #[must_use]
    pub const fn saturating_add_millis(self, millis: i64) -> Self {
        Self(self.0.saturating_add(millis))
    }

    /// Returns `self - earlier` in milliseconds, saturating at both ends.
    #[must_use]
    pub const fn millis_since(self, earlier: Self) -> i64 {
        self.0.saturating_sub(earlier.0)
    }
}

impl fmt::Display for Timestamp {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let sign = if self.0 < 0 { "-" } else { "" };
        let millis = self.0.unsigned_abs();
        write!(f, "{sign}{}.{:03}", millis / 1000, millis % 1000)
    }
}

/// A source of time.
pub trait Clock: Send + Sync + fmt::Debug {
    /// Returns the wall-clock time. It may jump in either direction.
    fn now(&self) -> Timestamp;

    /// Returns the time since an arbitrary fixed point. It never goes back.
    fn monotonic(&self) -> Duration;

    /// Completes once [`Clock::monotonic`] has reached `deadline`. Dropping the future is safe.
    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>>;
}

/// The machine's clock.
#[derive(Debug)]
pub struct SystemClock {
    start: Instant,
}

impl SystemClock {
    /// Returns the machine's clock; its monotonic time starts at zero now.
    #[must_use]
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    pub fn new() -> Arc<Self> {
        Arc::new(Self { start: Instant::now() })
    }
}

impl Clock for SystemClock {
    #[expect(clippy::disallowed_methods, reason = "this is the door")]
    fn now(&self) -> Timestamp {
        let millis = match SystemTime::now().duration_since(UNIX_EPOCH) {
            Ok(after) => i64::try_from(after.as_millis()).unwrap_or(i64::MAX),
            Err(before) => {
                i64::try_from(before.duration().as_millis()).map_or(i64::MIN, |millis| -millis)
            }
        };
        Timestamp::from_millis(millis)
    }

    fn monotonic(&self) -> Duration {
        self.start.elapsed()
    }

    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let instant = tokio::time::Instant::from_std(self.start + deadline);
        // The timer is made when the future is first polled: only then there has to be a runtime.
        Box::pin(async move { tokio::time::sleep_until(instant).await })
    }
}

/// A clock that only a test moves.
#[derive(Debug)]
pub struct SimClock {
    state: Mutex<SimClockState>,
    moved: Notify,
}

#[derive(Debug)]
struct SimClockState {
    now: Timestamp,
    monotonic: Duration,
}

impl SimClock {
    /// Returns a clock that stands at `now`, with monotonic time zero.
    #[must_use]
    pub fn new(now: Timestamp) -> Arc<Self> {
        Arc::new(Self {
            state: Mutex::new(SimClockState { now, monotonic: Duration::ZERO }),
            moved: Notify::new(),
        })
    }

    /// Moves wall-clock and monotonic time forward by `step` and wakes sleepers.
    pub fn advance(&self, step: Duration) {
        {
            let mut state = self.state.lock();
            state.monotonic += step;
            let millis = i64::try_from(step.as_millis()).unwrap_or(i64::MAX);
            state.now = state.now.saturating_add_millis(millis);
        }
        self.moved.notify_waiters();
    }

    /// Sets the wall clock alone, as an administrator or NTP would.
    pub fn set_now(&self, now: Timestamp) {
        self.state.lock().now = now;
    }
}

impl Clock for Arc<SimClock> {
    fn now(&self) -> Timestamp {
        self.state.lock().now
    }

    fn monotonic(&self) -> Duration {
        self.state.lock().monotonic
    }

    fn sleep_until(&self, deadline: Duration) -> Pin<Box<dyn Future<Output = ()> + Send>> {
        let clock = Arc::clone(self);
        Box::pin(async move {
            loop {
                let moved = clock.moved.notified();
                tokio::pin!(moved);
                // Registered before the check: a step between both is not missed.
                moved.as_mut().enable();
                if clock.state.lock().monotonic >= deadline {
                    return;
                }
                moved.await;
            }
        })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn display_shows_seconds_with_three_decimals_also_before_the_epoch() {
        assert_eq!(Timestamp::from_millis(1_500).to_string(), "1.500");
        assert_eq!(Timestamp::from_millis(-1).to_string(), "-0.001");
        assert_eq!(Timestamp::MIN.to_string(), "-9223372036854775.808");
    }

    #[tokio::test]
    async fn a_sleeper_wakes_when_simulated_time_reaches_its_deadline() {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let sleeper = Clock::sleep_until(&clock, Duration::from_secs(2));
        tokio::pin!(sleeper);
        clock.advance(Duration::from_secs(1));
        assert!(futures_poll_once(sleeper.as_mut()).await.is_none());
        clock.advance(Duration::from_secs(1));
        sleeper.await;
        assert_eq!(Clock::now(&clock), Timestamp::from_millis(2_000));
    }

    async fn futures_poll_once<F: Future + Unpin>(mut future: F) -> Option<F::Output> {
        std::future::poll_fn(|context| match Pin::new(&mut future).poll(context) {
            std::task::Poll::Ready(output) => std::task::Poll::Ready(Some(output)),
            std::task::Poll::Pending => std::task::Poll::Ready(None),
        })
        .await
    }
}
