//! How much in how much time: the token bucket, as one number.
//!
//! The bucket is kept as the time at which it is full again (the *generic cell rate algorithm* of ATM): spending moves
//! that time into the future, waiting lets it come nearer, and nothing has to be refilled. One bucket is one atomic
//! number, and a check is one compare-and-swap: about ten nanoseconds when nobody else spends from the same bucket, no
//! lock and no allocation.

mod keyed;

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

pub use keyed::KeyedLimiter;

/// A rate that is allowed on average, and what may be spent at once.
#[derive(Clone, Copy, Debug, PartialEq)]
pub struct RateLimit {
    per_second: f64,
    burst: u64,
}

/// Why two numbers are no rate limit.
#[derive(Clone, Copy, Debug, PartialEq, thiserror::Error)]
pub enum RateLimitError {
    /// The rate is no number in range.
    #[error(
        "a rate is between {} and {} a second, not {per_second}",
        RateLimit::PER_SECOND_MIN,
        RateLimit::PER_SECOND_MAX
    )]
    PerSecond {
        /// What was asked for.
        per_second: f64,
    },
    /// The burst is no number in range.
    #[error("a burst is between 1 and {}, not {burst}", RateLimit::BURST_MAX)]
    Burst {
        /// What was asked for.
        burst: u64,
    },
}

impl RateLimit {
    /// The least rate.
    pub const PER_SECOND_MIN: f64 = 0.001;
    /// The greatest rate. Times are kept in nanoseconds.
    pub const PER_SECOND_MAX: f64 = 1e9;
    /// The greatest burst.
    pub const BURST_MAX: u64 = 1_000_000_000_000;

    /// Returns the limit of `per_second` on average and `burst` at once.
    ///
    /// # Errors
    ///
    /// A number is out of range.
    pub fn new(per_second: f64, burst: u64) -> Result<Self, RateLimitError> {
        if !(Self::PER_SECOND_MIN..=Self::PER_SECOND_MAX).contains(&per_second) {
            return Err(RateLimitError::PerSecond { per_second });
        }
        if !(1..=Self::BURST_MAX).contains(&burst) {
            return Err(RateLimitError::Burst { burst });
        }
        Ok(Self { per_second, burst })
    }

    /// Returns what may be spent a second on average.
    #[must_use]
    pub const fn per_second(self) -> f64 {
        self.per_second
    }

    /// Returns what may be spent at once after a pause.
    #[must_use]
    pub const fn burst(self) -> u64 {
        self.burst
    }

    /// Returns the nanoseconds in which `cost` is earned. Rounded down: otherwise a full bucket, spent in small
    /// amounts, would be empty too early.
    #[expect(
        clippy::cast_precision_loss,
        clippy::cast_possible_truncation,
        clippy::cast_sign_loss,
        reason = "at most BURST_MAX, which a f64 holds exactly; the quotient is positive and saturates"
    )]
    fn nanos_to_earn(self, cost: u64) -> u64 {
        (cost as f64 * 1e9 / self.per_second) as u64
    }
}

/// Why something may not be spent.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Exceeded {
    /// After this time the same will be allowed, when nothing else is spent meanwhile. More than zero.
    RetryAfter(Duration),
    /// It is more than the burst: it will never be allowed at once.
    Forever {
        /// What may be spent at once.
        burst: u64,
    },
}

/// One bucket. Full when new.
///
/// The limit is given with every check, so it may change at any time: what was spent stays spent, but never more than
/// one whole burst of the new limit.
#[derive(Debug, Default)]
pub struct Limiter {
    /// The monotonic time in nanoseconds at which the bucket is full again.
    full_at: AtomicU64,
}

impl Limiter {
    /// Returns a full bucket.
    #[must_use]
    pub const fn new() -> Self {
        Self { full_at: AtomicU64::new(0) }
    }

    /// Spends `cost` at the monotonic time `now`: all of it, or nothing.
    ///
    /// A `now` that lies before that of an earlier check, as threads that overtake each other have it, finds the bucket
    /// no emptier than one burst can make it.
    ///
    /// # Errors
    ///
    /// There is too little in the bucket.
    pub fn check(&self, limit: RateLimit, cost: u64, now: Duration) -> Result<(), Exceeded> {
        self.update(|full_at| spend(full_at, limit, cost, now))
    }

    /// Returns whether `cost` could be spent now, and spends nothing.
    ///
    /// # Errors
    ///
    /// There is too little in the bucket.
    pub fn probe(&self, limit: RateLimit, cost: u64, now: Duration) -> Result<(), Exceeded> {
        self.update(|full_at| {
            let unspent = bounded(full_at, limit, now);
            (unspent, spend(unspent, limit, cost, now).1)
        })
    }

    /// Gives back what was spent for nothing.
    pub fn give_back(&self, limit: RateLimit, cost: u64) {
        let nanos = limit.nanos_to_earn(cost);
        self.update(|full_at| (full_at.saturating_sub(nanos), ()));
    }

    /// Returns whether the bucket is full.
    #[must_use]
    pub fn is_full(&self, now: Duration) -> bool {
        self.full_at.load(Ordering::Relaxed) <= nanos(now)
    }

    fn update<T>(&self, step: impl Fn(u64) -> (u64, T)) -> T {
        // Nothing else is published with the number: any order will do.
        let order = Ordering::Relaxed;
        let mut seen = self.full_at.load(order);
        loop {
            let (next, result) = step(seen);
            if next == seen {
                return result;
            }
            match self.full_at.compare_exchange_weak(seen, next, order, order) {
                Ok(_) => return result,
                Err(current) => seen = current,
            }
        }
    }
}

/// Returns when the bucket is full again after `cost` was spent, or was not.
fn spend(full_at: u64, limit: RateLimit, cost: u64, now: Duration) -> (u64, Result<(), Exceeded>) {
    if cost > limit.burst {
        return (full_at, Err(Exceeded::Forever { burst: limit.burst }));
    }
    let unspent = bounded(full_at, limit, now);
    let next = unspent.saturating_add(limit.nanos_to_earn(cost));
    let empty = nanos(now).saturating_add(limit.nanos_to_earn(limit.burst));
    match next.checked_sub(empty) {
        None | Some(0) => (next, Ok(())),
        // What lies beyond a burst is forgotten for good. Otherwise it would be found again at every check.
        Some(wait) => (unspent, Err(Exceeded::RetryAfter(Duration::from_nanos(wait)))),
    }
}

/// Returns when the bucket is full again, at least `now`, and at most one burst from now: beyond that is only what a
/// smaller limit, or a time that went back, left there.
fn bounded(full_at: u64, limit: RateLimit, now: Duration) -> u64 {
    let now = nanos(now);
    full_at.clamp(now, now.saturating_add(limit.nanos_to_earn(limit.burst)))
}

/// Returns the nanoseconds of a monotonic time; they last for 584 years.
fn nanos(time: Duration) -> u64 {
    u64::try_from(time.as_nanos()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::*;

    fn limit(per_second: f64, burst: u64) -> RateLimit {
        RateLimit::new(per_second, burst).expect("a limit")
    }

    const fn at(millis: u64) -> Duration {
        Duration::from_millis(millis)
    }

    const fn retry(millis: u64) -> Result<(), Exceeded> {
        Err(Exceeded::RetryAfter(Duration::from_millis(millis)))
    }

    /// Spends `(time in ms, cost)` one after the other from a bucket of 10 a second, 5 at once.
    fn check(steps: &[(u64, u64)], expected: &[Result<(), Exceeded>]) {
        let bucket = Limiter::new();
        let found: Vec<_> = steps
            .iter()
            .map(|(time, cost)| bucket.check(limit(10.0, 5), *cost, at(*time)))
            .collect();
        assert_eq!(found, expected, "{steps:?}");
    }

    #[test]
    fn a_burst_is_allowed_and_then_the_rate() {
        check(
            &[(0, 5), (0, 1), (99, 1), (100, 1), (100, 1)],
            &[Ok(()), retry(100), retry(1), Ok(()), retry(100)],
        );
    }

    #[test]
    fn a_long_pause_earns_one_burst() {
        check(&[(1_000_000, 5), (1_000_000, 1)], &[Ok(()), retry(100)]);
    }

    #[test]
    fn a_full_bucket_can_be_spent_in_small_amounts() {
        let bucket = Limiter::new();
        for _ in 0..3 {
            assert_eq!(bucket.check(limit(3.0, 3), 1, at(0)), Ok(()));
        }
    }

    #[test]
    fn what_is_refused_costs_nothing() {
        check(&[(0, 3), (0, 3), (0, 2)], &[Ok(()), retry(100), Ok(())]);
    }

    #[test]
    fn more_than_the_burst_is_never_allowed() {
        check(&[(0, 6), (u64::MAX >> 10, 6)], &[Err(Exceeded::Forever { burst: 5 }); 2]);
    }

    #[test]
    fn time_that_goes_back_costs_at_most_one_burst() {
        check(&[(3_600_000, 5), (0, 5), (500, 5)], &[Ok(()), retry(500), Ok(())]);
    }

    #[test]
    fn a_changed_limit_holds_at_once() {
        let bucket = Limiter::new();
        assert_eq!(bucket.check(limit(0.001, 5), 5, at(0)), Ok(()));
        assert_eq!(bucket.check(limit(10.0, 5), 1, at(0)), retry(100));
        assert_eq!(bucket.check(limit(10.0, 5), 1, at(100)), Ok(()));
        assert_eq!(bucket.check(limit(10.0, 1), 2, at(200)), Err(Exceeded::Forever { burst: 1 }));
    }

    #[test]
    fn what_is_given_back_can_be_spent_again() {
        let bucket = Limiter::new();
        assert_eq!(bucket.check(limit(10.0, 5), 5, at(1_000)), Ok(()));
        bucket.give_back(limit(10.0, 5), 5);
        assert!(bucket.is_full(at(1_000)));
        // More than was spent fills the bucket, and no more.
        bucket.give_back(limit(10.0, 5), 5);
        assert_eq!(bucket.check(limit(10.0, 5), 5, at(1_000)), Ok(()));
        assert_eq!(bucket.check(limit(10.0, 5), 1, at(1_000)), retry(100));
        assert!(!bucket.is_full(at(1_499)) && bucket.is_full(at(1_500)));
    }

    #[test]
    fn limits_out_of_range_are_refused() {
        for (per_second, burst, valid) in [
            (0.001, 1, true),
            (1e9, RateLimit::BURST_MAX, true),
            (0.000_9, 1, false),
            (1.1e9, 1, false),
            (f64::NAN, 1, false),
            (f64::INFINITY, 1, false),
            (-1.0, 1, false),
            (1.0, 0, false),
            (1.0, RateLimit::BURST_MAX + 1, false),
        ] {
            assert_eq!(RateLimit::new(per_second, burst).is_ok(), valid, "{per_second} {burst}");
        }
    }

    /// The same bucket as everybody would write it.
    struct Model {
        level: f64,
        last: f64,
    }

    proptest! {
        #[test]
        fn a_bucket_is_what_it_says(
            rate in 0.01_f64..1e6,
            burst in 1_u64..10_000,
            steps in vec((0_u64..2_000_000, 0_u64..12_000), 1..200),
        ) {
            let limit = limit(rate, burst);
            let bucket = Limiter::new();
            #[expect(clippy::cast_precision_loss, reason = "small numbers")]
            let full = burst as f64;
            let mut model = Model { level: full, last: 0.0 };
            let mut now = Duration::ZERO;
            for (pause_micros, cost) in steps {
                now += Duration::from_micros(pause_micros);
                let seconds = now.as_secs_f64();
                model.level = full.min(model.level + (seconds - model.last) * rate);
                model.last = seconds;
                #[expect(clippy::cast_precision_loss, reason = "small numbers")]
                let wanted = cost as f64;
                // Where the model itself is only just enough, rounding decides.
                let margin = 1e-6 * full + 1e-6 * rate;
                if (model.level - wanted).abs() < margin { continue }
                match bucket.check(limit, cost, now) {
                    Ok(()) => {
                        prop_assert!(model.level > wanted, "allowed at {} of {wanted}", model.level);
                        model.level -= wanted;
                    }
                    Err(Exceeded::Forever { .. }) => prop_assert!(cost > burst),
                    Err(Exceeded::RetryAfter(wait)) => {
                        prop_assert!(model.level < wanted, "refused at {} of {wanted}", model.level);
                        prop_assert!(wait > Duration::ZERO);
                        prop_assert_eq!(bucket.probe(limit, cost, now + wait), Ok(()));
                        let early = now + wait - Duration::from_nanos(1);
                        prop_assert!(bucket.probe(limit, cost, early).is_err());
                    }
                }
            }
        }

        #[test]
        fn no_times_and_limits_panic(
            steps in vec((any::<u64>(), any::<u64>(), 0.001_f64..1e9, 1_u64..RateLimit::BURST_MAX), 1..50),
        ) {
            let bucket = Limiter::new();
            for (nanos, cost, rate, burst) in steps {
                let limit = limit(rate, burst);
                if let Err(Exceeded::RetryAfter(wait)) = bucket.check(limit, cost, Duration::from_nanos(nanos)) {
                    prop_assert!(wait <= Duration::from_nanos(limit.nanos_to_earn(burst)));
                }
                bucket.give_back(limit, cost);
            }
        }
    }
}
