//! The segments as readers see them: what of each is durable, and where in it to begin.

use std::collections::VecDeque;
use std::path::{Path, PathBuf};

use parking_lot::Mutex;

use crate::Sequence;
use crate::frame::HEADER_BYTES;

/// How far apart two entries of a segment's index are at least, in bytes: what a reader scans at most to find a record
/// in a part that was read before. An entry takes 16 bytes, so that the index of 1 GiB takes 64 KiB.
const INDEX_STRIDE_BYTES: u64 = 256 << 10;

/// The most places at which readers stopped that are remembered, so that going on costs nothing but what is new.
const POSITIONS_MAX: usize = 64;

/// A segment, as an owner decides about it.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct SegmentInfo {
    /// The sequence of its first record; where there is none yet, that of the next record.
    pub first: Sequence,
    /// The last sequence that it holds or accounts for; below `first` while it holds none.
    pub end: Sequence,
    /// Its durable length, in bytes.
    pub bytes: u64,
}

/// A segment of which readers may read `bytes` bytes.
#[derive(Clone, Debug)]
pub(crate) struct View {
    pub(crate) path: PathBuf,
    pub(crate) first: Sequence,
    /// The last sequence that the segments before it hold or account for.
    pub(crate) preceding: Sequence,
    pub(crate) end: Sequence,
    pub(crate) bytes: u64,
    /// Whether nothing is before it, so that what is missing there was removed.
    pub(crate) oldest: bool,
}

/// What the writer knows and readers share. Its lock is held for moments only, never during file work.
#[derive(Debug, Default)]
pub(crate) struct Catalog {
    shared: Mutex<Shared>,
}

#[derive(Debug, Default)]
struct Shared {
    /// Oldest first; their ends ascend.
    segments: VecDeque<Segment>,
    bytes: u64,
    positions: VecDeque<Position>,
}

#[derive(Debug)]
pub(crate) struct Segment {
    path: PathBuf,
    first: Sequence,
    preceding: Sequence,
    end: Sequence,
    bytes: u64,
    /// Where some frames begin, ascending; filled by those who read.
    index: Vec<(Sequence, u64)>,
    /// Damage before this place was reported.
    reported: u64,
}

/// Where a reader stopped: the frame of `next` begins at `offset`, once it is there.
#[derive(Debug)]
struct Position {
    next: Sequence,
    path: PathBuf,
    offset: u64,
}

impl Segment {
    pub(crate) fn new(path: PathBuf, first: Sequence, preceding: Sequence) -> Self {
        Self {
            path,
            first,
            preceding,
            end: Sequence(first.0.saturating_sub(1)),
            bytes: HEADER_BYTES as u64,
            index: Vec::new(),
            reported: 0,
        }
    }

    pub(crate) fn holding(self, end: Sequence, bytes: u64) -> Self {
        Self { end, bytes, ..self }
    }
}

impl Catalog {
    pub(crate) fn push(&self, segment: Segment) {
        let mut shared = self.shared.lock();
        shared.bytes = shared.bytes.saturating_add(segment.bytes);
        shared.segments.push_back(segment);
    }

    /// Notes that the newest segment holds the records up to `end`, durably, in `bytes` bytes.
    pub(crate) fn grow(&self, end: Sequence, bytes: u64) {
        let mut shared = self.shared.lock();
        let Some(newest) = shared.segments.back_mut() else { return };
        let more = bytes.saturating_sub(newest.bytes);
        (newest.end, newest.bytes) = (end, bytes);
        shared.bytes = shared.bytes.saturating_add(more);
    }

    /// Takes the oldest segment away, before its file goes.
    pub(crate) fn take_oldest(&self) -> Option<Segment> {
        let mut shared = self.shared.lock();
        let oldest = shared.segments.pop_front()?;
        shared.bytes = shared.bytes.saturating_sub(oldest.bytes);
        shared.positions.retain(|position| position.path != oldest.path);
        Some(oldest)
    }

    /// Forgets the newest segment, which holds no record.
    pub(crate) fn take_newest(&self) {
        let mut shared = self.shared.lock();
        let bytes = shared.segments.pop_back().map_or(0, |segment| segment.bytes);
        shared.bytes = shared.bytes.saturating_sub(bytes);
    }

    /// Puts a segment back whose file could not be removed.
    pub(crate) fn put_back(&self, segment: Segment) {
        let mut shared = self.shared.lock();
        shared.bytes = shared.bytes.saturating_add(segment.bytes);
        shared.segments.push_front(segment);
    }

    pub(crate) fn bytes(&self) -> u64 {
        self.shared.lock().bytes
    }

    pub(crate) fn segments(&self) -> Vec<SegmentInfo> {
        let shared = self.shared.lock();
        let info = |s: &Segment| SegmentInfo { first: s.first, end: s.end, bytes: s.bytes };
        shared.segments.iter().map(info).collect()
    }

    /// Returns the segment that accounts for `sequence` or, if none does, the first one behind it.
    pub(crate) fn find(&self, sequence: Sequence) -> Option<View> {
        let shared = self.shared.lock();
        let index = shared.segments.partition_point(|segment| segment.end < sequence);
        shared.segments.get(index).map(|segment| View {
            path: segment.path.clone(),
            first: segment.first,
            preceding: segment.preceding,
            end: segment.end,
            bytes: segment.bytes,
            oldest: index == 0,
        })
    }

    pub(crate) fn contains(&self, view: &View) -> bool {
        self.shared.lock().segment(&view.path, view.first).is_some()
    }

    /// Returns where to begin in a segment to find `sequence`, and the sequence of the frame there or a lower one.
    pub(crate) fn start(&self, view: &View, sequence: Sequence) -> (Sequence, u64) {
        let mut shared = self.shared.lock();
        let stopped = |p: &Position| p.next == sequence && p.path == view.path;
        if let Some(at) = shared.positions.iter().position(stopped)
            && let Some(position) = shared.positions.remove(at)
        {
            return (sequence, position.offset);
        }
        let indexed = shared.segment(&view.path, view.first).and_then(|segment| {
            let behind = segment.index.partition_point(|(first, _)| *first <= sequence);
            segment.index.get(behind.checked_sub(1)?).copied()
        });
        indexed.unwrap_or((view.first, HEADER_BYTES as u64))
    }

    /// Notes where a reader goes on with `next`.
    pub(crate) fn stopped(&self, view: &View, next: Sequence, offset: u64) {
        let mut shared = self.shared.lock();
        if shared.segment(&view.path, view.first).is_none() {
            return;
        }
        if shared.positions.len() >= POSITIONS_MAX {
            shared.positions.pop_front();
        }
        shared.positions.push_back(Position { next, path: view.path.clone(), offset });
    }

    /// Notes where frames begin.
    pub(crate) fn found(&self, view: &View, found: &[(Sequence, u64)]) {
        let mut shared = self.shared.lock();
        let Some(segment) = shared.segment(&view.path, view.first) else { return };
        for (sequence, offset) in found {
            let at = segment.index.partition_point(|(before, _)| before <= sequence);
            let before = at.checked_sub(1).and_then(|at| segment.index.get(at));
            if before.is_none_or(|(_, place)| is_far(*offset, *place))
                && segment.index.get(at).is_none_or(|(_, place)| is_far(*place, *offset))
            {
                segment.index.insert(at, (*sequence, *offset));
            }
        }
    }

    /// Returns whether damage at this place was not reported before.
    pub(crate) fn report(&self, view: &View, offset: u64) -> bool {
        let mut shared = self.shared.lock();
        let Some(segment) = shared.segment(&view.path, view.first) else { return false };
        let new = offset >= segment.reported;
        segment.reported = segment.reported.max(offset.saturating_add(1));
        new
    }
}

impl Shared {
    fn segment(&mut self, path: &Path, first: Sequence) -> Option<&mut Segment> {
        let from = self.segments.partition_point(|segment| segment.first < first);
        self.segments
            .range_mut(from..)
            .take_while(|segment| segment.first == first)
            .find(|segment| segment.path == path)
    }
}

/// Returns whether a frame is so far behind another one that both are worth an entry.
pub(crate) fn is_far(offset: u64, last: u64) -> bool {
    offset >= last.saturating_add(INDEX_STRIDE_BYTES)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn catalog() -> (Catalog, View) {
        let catalog = Catalog::default();
        let segment = Segment::new(PathBuf::from("/1"), Sequence(1), Sequence::ZERO);
        catalog.push(segment.holding(Sequence(1 << 20), 1 << 30));
        let view = catalog.find(Sequence(1)).expect("there");
        (catalog, view)
    }

    #[test]
    fn the_index_keeps_its_stride() {
        let (catalog, view) = catalog();
        let all: Vec<_> = (0..10_000_u64).map(|i| (Sequence(i + 1), 32 + i * 1_000)).collect();
        catalog.found(&view, &all);
        catalog.found(&view, &all);
        let entries = catalog.shared.lock().segments[0].index.len() as u64;
        assert_eq!(entries, 10_000_000 / INDEX_STRIDE_BYTES + 1);
        let (sequence, offset) = catalog.start(&view, Sequence(5_000));
        assert!(sequence <= Sequence(5_000), "{sequence}");
        assert!(4_999_032 - offset <= INDEX_STRIDE_BYTES + 1_000, "{offset}");
    }

    #[test]
    fn the_places_where_readers_stopped_are_limited() {
        let (catalog, view) = catalog();
        for next in 1..=POSITIONS_MAX as u64 + 1 {
            catalog.stopped(&view, Sequence(next), next * 1_000);
        }
        assert_eq!(catalog.shared.lock().positions.len(), POSITIONS_MAX);
        assert_eq!(catalog.start(&view, Sequence(1)).1, HEADER_BYTES as u64, "forgotten");
        assert_eq!(catalog.start(&view, Sequence(2)), (Sequence(2), 2_000));
    }
}
