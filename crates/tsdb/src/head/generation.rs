//! What the head holds between two cuts: the samples of every series, without their labels.

use std::collections::HashMap;
use std::ops::Range;
use std::sync::Arc;

use model::{SampleColumns, TimeRange};

use super::open_chunk::{ChunkArena, MIN_TIME, OpenChunk, OpenChunkReader};
use crate::pages::Paged;

/// Bytes that a late sample takes up, and a series that has any.
const LATE_BYTES: u64 = 16;
const LATE_SERIES_BYTES: u64 = 64;

/// The samples received between two cuts. Series are numbered as in the index.
#[derive(Debug)]
pub(crate) struct Generation {
    series: Paged<OpenChunk>,
    arena: ChunkArena,
    /// Samples that were not later than the newest one of their series, in order of arrival.
    late: HashMap<u32, Vec<(i64, u64)>>,
    late_samples: u64,
    /// Whether the journal has every sample that is here.
    is_journaled: bool,
    /// Samples, those that replace one another counted each.
    pub(crate) samples: u64,
    /// Series that have any.
    pub(crate) active_series: u64,
    /// The times of the oldest and the newest sample; the first is after the second when there is none.
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
}

/// What became of a sample.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Applied {
    /// It is the newest of its series.
    InOrder,
    /// It is older than the newest one.
    Late,
    /// It replaced the newest one.
    Replaced,
    /// It was there already.
    Known,
}

impl Generation {
    /// Returns an empty generation of no series.
    pub(crate) fn new() -> Self {
        Self {
            series: Paged::new(),
            arena: ChunkArena::default(),
            late: HashMap::new(),
            late_samples: 0,
            is_journaled: true,
            samples: 0,
            active_series: 0,
            oldest: i64::MAX,
            newest: MIN_TIME,
        }
    }

    /// Returns the empty generation that follows this one; `keep` says which series go on, by their old number.
    pub(crate) fn successor(&self, mut keep: impl FnMut(u32) -> bool) -> Self {
        let mut next = Self::new();
        for (number, chunk) in (0..).zip(self.series.iter()) {
            if keep(number) {
                next.series.push(OpenChunk::new(chunk.newest));
            }
        }
        next
    }

    /// Adds a series.
    pub(crate) fn push_series(&mut self) {
        self.series.push(OpenChunk::new(MIN_TIME));
    }

    /// Returns the end of a series.
    pub(crate) fn series(&self, series: u32) -> Option<&OpenChunk> {
        self.series.get(series)
    }

    /// Sets whether the journal of this generation says which labels a series has.
    pub(crate) fn set_journaled(&mut self, series: u32, journaled: bool) {
        if let Some(chunk) = self.series.get_mut(series) {
            chunk.journaled = journaled;
        }
    }

    /// Forgets that anything here is in the journal: what arrives again is journaled again, with its labels.
    pub(crate) fn distrust_journal(&mut self) {
        self.is_journaled = false;
        for series in 0..self.series.len() as u32 {
            self.set_journaled(series, false);
        }
    }

    /// Returns whether a sample is there already and nothing newer was written at its time.
    pub(crate) fn is_known(&self, series: u32, time: i64, bits: u64) -> bool {
        self.series.get(series).is_some_and(|chunk| {
            self.is_journaled
                && chunk.count > 0
                && chunk.newest == time
                && chunk.value_bits() == bits
                && !self.late.contains_key(&series)
        })
    }

    /// Returns whether a series has samples in this generation.
    pub(crate) fn has_samples(&self, series: u32) -> bool {
        self.series.get(series).is_some_and(|chunk| chunk.count > 0)
            || self.late.contains_key(&series)
    }

    /// Returns whether a series may have samples in this generation within `range`.
    pub(crate) fn may_overlap(&self, series: u32, range: TimeRange) -> bool {
        let (start, end) = (range.start.as_millis(), range.end.as_millis());
        let Some(chunk) = self.series.get(series) else { return false };
        if let Some(late) = self.late.get(&series)
            && late.iter().any(|(time, _)| (start..=end).contains(time))
        {
            return true;
        }
        chunk.newest >= start && self.arena.first_time(chunk).is_some_and(|first| first <= end)
    }

    /// Returns whether any sample may lie within `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        self.oldest <= range.end.as_millis() && range.start.as_millis() <= self.newest
    }

    /// Takes a sample in.
    pub(crate) fn apply(&mut self, series: u32, time: i64, bits: u64) -> Applied {
        let is_known = self.is_known(series, time, bits);
        let Some(chunk) = self.series.get_mut(series) else { return Applied::Known };
        if is_known {
            return Applied::Known;
        }
        if chunk.count == 0 && !self.late.contains_key(&series) {
            self.active_series += 1;
        }
        self.samples += 1;
        self.oldest = self.oldest.min(time);
        self.newest = self.newest.max(time);
        if time > chunk.newest {
            self.arena.append(chunk, time, bits);
            return Applied::InOrder;
        }
        let replaced = chunk.count > 0 && time == chunk.newest;
        self.late.entry(series).or_default().push((time, bits));
        self.late_samples += 1;
        if replaced { Applied::Replaced } else { Applied::Late }
    }

    /// Returns the memory that the samples take up, in bytes.
    pub(crate) fn sample_bytes(&self) -> u64 {
        let late = self.late_samples * LATE_BYTES + self.late.len() as u64 * LATE_SERIES_BYTES;
        self.arena.bytes() + late
    }

    /// Returns all the memory, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        self.sample_bytes() + self.series.bytes()
    }

    /// Copies the samples of some series, still compressed, so that they can be read without the lock.
    /// Series without samples are left out.
    pub(crate) fn snapshot(&self, series: &[u32]) -> Vec<(u32, Snapshot)> {
        let mut bytes = Vec::new();
        let mut parts = Vec::with_capacity(series.len());
        for number in series {
            let Some(chunk) = self.series.get(*number) else { continue };
            let late = self.late.get(number);
            if chunk.count == 0 && late.is_none() {
                continue;
            }
            let start = bytes.len();
            self.arena.copy(chunk, &mut bytes);
            parts.push((*number, start..bytes.len(), late.cloned().unwrap_or_default()));
        }
        let bytes = Arc::new(bytes);
        parts
            .into_iter()
            .map(|(number, range, late)| {
                (number, Snapshot { bytes: Arc::clone(&bytes), range, late })
            })
            .collect()
    }
}

/// The samples of one series at a moment, compressed.
#[derive(Clone, Debug)]
pub(crate) struct Snapshot {
    /// Shared by all series that were copied together.
    bytes: Arc<Vec<u8>>,
    range: Range<usize>,
    late: Vec<(i64, u64)>,
}

impl Snapshot {
    /// Appends the samples within `range`, ascending; of several at one time the one that arrived last.
    pub(crate) fn read(&self, range: TimeRange, columns: &mut SampleColumns) {
        let (start, end) = (range.start.as_millis(), range.end.as_millis());
        let within = |(time, _): &(i64, u64)| (start..=end).contains(time);
        let encoded = self.bytes.get(self.range.clone()).unwrap_or_default();
        let in_order = OpenChunkReader::new(encoded);
        if self.late.is_empty() {
            let samples = in_order.skip_while(|(time, _)| *time < start);
            for (time, bits) in samples.take_while(|(time, _)| *time <= end) {
                columns.push(time, f64::from_bits(bits));
            }
            return;
        }
        // Whatever is late arrived after the sample of the chain with the same time, and the sort is stable.
        let mut samples: Vec<_> =
            in_order.filter(within).chain(self.late.iter().copied().filter(within)).collect();
        samples.sort_by_key(|(time, _)| *time);
        for (index, (time, bits)) in samples.iter().enumerate() {
            if samples.get(index + 1).is_none_or(|(next, _)| next != time) {
                columns.push(*time, f64::from_bits(*bits));
            }
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn generation() -> Generation {
        let mut generation = Generation::new();
        generation.push_series();
        generation.push_series();
        generation
    }

    fn check(generation: &Generation, series: u32, expected: &[(i64, f64)]) {
        let mut columns = SampleColumns::new();
        for (_, snapshot) in generation.snapshot(&[series]) {
            snapshot.read(TimeRange::ALL, &mut columns);
        }
        let samples: Vec<_> =
            columns.iter().map(|sample| (sample.timestamp.as_millis(), sample.value)).collect();
        assert_eq!(samples, expected);
    }

    fn apply(generation: &mut Generation, time: i64, value: f64) -> Applied {
        generation.apply(0, time, value.to_bits())
    }

    #[test]
    fn late_samples_are_read_in_their_place_and_the_later_write_wins() {
        let mut generation = generation();
        assert_eq!(apply(&mut generation, 10, 1.0), Applied::InOrder);
        assert_eq!(apply(&mut generation, 30, 3.0), Applied::InOrder);
        assert_eq!(apply(&mut generation, 30, 3.0), Applied::Known);
        assert_eq!(apply(&mut generation, 20, 2.0), Applied::Late);
        assert_eq!(apply(&mut generation, 30, 4.0), Applied::Replaced);
        assert_eq!(apply(&mut generation, 30, 3.0), Applied::Replaced);
        assert_eq!(apply(&mut generation, 10, 9.0), Applied::Late);
        check(&generation, 0, &[(10, 9.0), (20, 2.0), (30, 3.0)]);
        check(&generation, 1, &[]);
    }

    #[test]
    fn a_successor_is_empty_but_knows_the_newest_times() {
        let mut generation = generation();
        apply(&mut generation, 10, 1.0);
        let mut next = generation.successor(|_| true);
        check(&next, 0, &[]);
        assert_eq!(apply(&mut next, 10, 2.0), Applied::Late);
        assert_eq!(apply(&mut next, 11, 3.0), Applied::InOrder);
        check(&next, 0, &[(10, 2.0), (11, 3.0)]);
        assert_eq!((next.active_series, next.samples), (1, 2));
    }

    #[test]
    fn overlap_is_judged_by_first_newest_and_late_samples() {
        let mut generation = generation();
        apply(&mut generation, 100, 1.0);
        apply(&mut generation, 200, 1.0);
        let overlaps = |generation: &Generation, start, end| {
            let at = model::Timestamp::from_millis;
            generation.may_overlap(0, TimeRange::new(at(start), at(end)))
        };
        assert!(overlaps(&generation, 200, 300));
        assert!(!overlaps(&generation, 201, 300));
        assert!(!overlaps(&generation, 0, 99));
        apply(&mut generation, 50, 1.0);
        assert!(overlaps(&generation, 0, 99));
    }
}
