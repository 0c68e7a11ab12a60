//! Samples and spans of time.

use crate::Timestamp;

/// The bits of the NaN that says "this series ended here", as in Prometheus.
///
/// No arithmetic produces it, and it must be kept bit for bit on its way through every format.
pub const STALE_NAN_BITS: u64 = 0x7ff0_0000_0000_0002;

/// Returns the staleness marker.
#[must_use]
pub const fn stale_nan() -> f64 {
    f64::from_bits(STALE_NAN_BITS)
}

/// Returns whether `value` is the staleness marker; other NaNs are not.
#[must_use]
pub const fn is_stale(value: f64) -> bool {
    value.to_bits() == STALE_NAN_BITS
}

/// One value at one time.
#[derive(Clone, Copy, Debug)]
pub struct Sample {
    /// When.
    pub timestamp: Timestamp,
    /// What. Any bits, the staleness marker included.
    pub value: f64,
}

impl Sample {
    /// Returns the sample of `value` at `timestamp`.
    #[must_use]
    pub const fn new(timestamp: Timestamp, value: f64) -> Self {
        Self { timestamp, value }
    }
}

impl PartialEq for Sample {
    /// Compares values by their bits: a staleness marker equals itself.
    fn eq(&self, other: &Self) -> bool {
        self.timestamp == other.timestamp && self.value.to_bits() == other.value.to_bits()
    }
}

/// Samples of one series as two columns of equal length, ascending in time, one value per time.
#[derive(Clone, Debug, Default)]
pub struct SampleColumns {
    timestamps: Vec<i64>,
    values: Vec<f64>,
}

impl SampleColumns {
    /// Returns empty columns.
    #[must_use]
    pub const fn new() -> Self {
        Self { timestamps: Vec::new(), values: Vec::new() }
    }

    /// Returns the times, in milliseconds since the epoch.
    #[must_use]
    pub fn timestamps(&self) -> &[i64] {
        &self.timestamps
    }

    /// Returns the values.
    #[must_use]
    pub fn values(&self) -> &[f64] {
        &self.values
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn len(&self) -> usize {
        self.timestamps.len()
    }

    /// Returns whether there is no sample.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.timestamps.is_empty()
    }

    /// Removes all samples, keeping the memory.
    pub fn clear(&mut self) {
        self.timestamps.clear();
        self.values.clear();
    }

    /// Appends a sample.
    ///
    /// # Panics
    ///
    /// In debug builds, when it is not later than the last one.
    pub fn push(&mut self, timestamp_ms: i64, value: f64) {
        debug_assert!(self.timestamps.last().is_none_or(|last| *last < timestamp_ms));
        self.timestamps.push(timestamp_ms);
        self.values.push(value);
    }

    /// Appends columns of equal length that are ascending and begin after the last sample.
    ///
    /// # Panics
    ///
    /// When the lengths differ.
    pub fn extend_from_slices(&mut self, timestamps_ms: &[i64], values: &[f64]) {
        assert_eq!(timestamps_ms.len(), values.len(), "columns of one series differ in length");
        self.timestamps.extend_from_slice(timestamps_ms);
        self.values.extend_from_slice(values);
    }

    /// Iterates over the samples.
    pub fn iter(&self) -> impl ExactSizeIterator<Item = Sample> + '_ {
        self.timestamps
            .iter()
            .zip(&self.values)
            .map(|(timestamp, value)| Sample::new(Timestamp::from_millis(*timestamp), *value))
    }
}

/// A span of time, both ends inclusive. Empty when the start is after the end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct TimeRange {
    /// The first instant.
    pub start: Timestamp,
    /// The last instant.
    pub end: Timestamp,
}

impl TimeRange {
    /// All of time.
    pub const ALL: Self = Self { start: Timestamp::MIN, end: Timestamp::MAX };

    /// Returns the span from `start` to `end`, both inclusive.
    #[must_use]
    pub const fn new(start: Timestamp, end: Timestamp) -> Self {
        Self { start, end }
    }

    /// Returns whether `timestamp` lies within.
    #[must_use]
    pub fn contains(self, timestamp: Timestamp) -> bool {
        self.start <= timestamp && timestamp <= self.end
    }

    /// Returns whether both spans share an instant.
    #[must_use]
    pub fn overlaps(self, other: Self) -> bool {
        self.start <= other.end && other.start <= self.end
    }
}
