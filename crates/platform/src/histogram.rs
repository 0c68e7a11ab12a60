//! How values are distributed: counts by bucket that many threads add to without a lock.

use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

/// Upper bounds of buckets for how long things take, in nanoseconds: 100 µs to 10 s.
pub const DURATION_BOUNDS: &[u64] = &[
    100_000,
    500_000,
    1_000_000,
    2_500_000,
    5_000_000,
    10_000_000,
    25_000_000,
    50_000_000,
    100_000_000,
    250_000_000,
    500_000_000,
    1_000_000_000,
    2_500_000_000,
    5_000_000_000,
    10_000_000_000,
];

/// A distribution of values of one unit.
///
/// Adding costs three atomic additions and takes no lock. A snapshot that is taken meanwhile may miss parts of values
/// that are being added, never parts of earlier ones.
#[derive(Debug)]
pub struct Histogram {
    bounds: &'static [u64],
    /// One for each bound, and one for what is above all.
    buckets: Box<[AtomicU64]>,
    sum: AtomicU64,
}

/// What a [`Histogram`] held at a moment.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct HistogramSnapshot {
    /// The inclusive upper bounds, ascending.
    pub bounds: &'static [u64],
    /// Values in each bucket, not cumulative; one more than there are bounds.
    pub buckets: Vec<u64>,
    /// The sum of all values.
    pub sum: u64,
}

impl Histogram {
    /// Returns an empty distribution whose buckets end with the inclusive `bounds`, ascending.
    #[must_use]
    pub fn new(bounds: &'static [u64]) -> Self {
        let buckets = (0..=bounds.len()).map(|_| AtomicU64::new(0)).collect();
        Self { bounds, buckets, sum: AtomicU64::new(0) }
    }

    /// Returns an empty distribution of durations, with [`DURATION_BOUNDS`].
    #[must_use]
    pub fn of_durations() -> Self {
        Self::new(DURATION_BOUNDS)
    }

    /// Adds a value.
    pub fn add(&self, value: u64) {
        let bucket = self.bounds.partition_point(|bound| *bound < value);
        if let Some(bucket) = self.buckets.get(bucket) {
            bucket.fetch_add(1, Ordering::Relaxed);
        }
        self.sum.fetch_add(value, Ordering::Relaxed);
    }

    /// Adds a duration, in nanoseconds.
    pub fn add_duration(&self, duration: Duration) {
        self.add(u64::try_from(duration.as_nanos()).unwrap_or(u64::MAX));
    }

    /// Returns what it holds.
    #[must_use]
    pub fn snapshot(&self) -> HistogramSnapshot {
        let read = |value: &AtomicU64| value.load(Ordering::Relaxed);
        HistogramSnapshot {
            bounds: self.bounds,
            buckets: self.buckets.iter().map(read).collect(),
            sum: read(&self.sum),
        }
    }
}

impl HistogramSnapshot {
    /// Returns how many values there are.
    #[must_use]
    pub fn count(&self) -> u64 {
        self.buckets.iter().sum()
    }

    /// Adds what another distribution over the same bounds holds; one over others is left out.
    pub fn merge(&mut self, other: &Self) {
        if self.buckets.is_empty() {
            self.clone_from(other);
        } else if self.bounds == other.bounds {
            for (own, more) in self.buckets.iter_mut().zip(&other.buckets) {
                *own += more;
            }
            self.sum += other.sum;
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_value_falls_into_the_first_bucket_that_is_not_below_it() {
        let histogram = Histogram::new(&[10, 20]);
        for value in [0, 10, 11, 20, 21, 1_000] {
            histogram.add(value);
        }
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.buckets.as_slice(), snapshot.sum), ([2, 2, 2].as_slice(), 1_062));
        assert_eq!(snapshot.count(), 6);
    }

    #[test]
    fn durations_are_counted_in_nanoseconds() {
        let histogram = Histogram::of_durations();
        histogram.add_duration(Duration::from_micros(100));
        histogram.add_duration(Duration::from_secs(11));
        let snapshot = histogram.snapshot();
        assert_eq!((snapshot.buckets[0], snapshot.buckets.last()), (1, Some(&1)));
        assert_eq!(snapshot.sum, 11_000_100_000);
    }

    #[test]
    fn distributions_over_the_same_bounds_add_up() {
        let histogram = Histogram::new(&[1]);
        histogram.add(1);
        let mut sum = HistogramSnapshot::default();
        sum.merge(&histogram.snapshot());
        sum.merge(&histogram.snapshot());
        sum.merge(&Histogram::new(&[2]).snapshot());
        assert_eq!((sum.buckets.as_slice(), sum.sum), ([2, 0].as_slice(), 2));
    }
}
