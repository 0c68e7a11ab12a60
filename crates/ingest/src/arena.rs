//! Memory for label sets that cannot be borrowed from a request.

use crate::pairs::{self, PAIRS, Pair};
use model::SeriesKey;

/// Memory for those label sets of a request that cannot be borrowed from its body.
///
/// Reuse it from request to request to reuse its memory; a decoder empties it first.
#[derive(Debug, Default)]
pub struct LabelArena {
    bytes: Vec<u8>,
    /// Where each set ends.
    ends: Vec<usize>,
}

/// The label sets of a request take too much memory together.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct ArenaFull;

impl LabelArena {
    /// The most bytes that the label sets of a request may take.
    pub(crate) const BYTES_MAX: usize = 128 << 20;

    /// Returns an empty arena. Does not allocate.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Forgets everything.
    pub(crate) fn clear(&mut self) {
        self.bytes.clear();
        self.ends.clear();
    }

    /// Adds a label to the set that is being built.
    #[inline]
    pub(crate) fn push(&mut self, pair: Pair<'_>) -> Result<(), ArenaFull> {
        if self.bytes.len() + pair.0.len() + pair.1.len() > Self::BYTES_MAX {
            return Err(ArenaFull);
        }
        pairs::push(&mut self.bytes, pair);
        Ok(())
    }

    /// Ends the set that is being built.
    pub(crate) fn finish_set(&mut self) {
        self.ends.push(self.bytes.len());
    }

    /// Forgets the set that is being built.
    pub(crate) fn drop_set(&mut self) {
        self.bytes.truncate(self.ends.last().copied().unwrap_or(0));
    }

    /// Iterates over the keys of the sets in the order in which they were built.
    pub(crate) fn keys(&self) -> impl Iterator<Item = SeriesKey<'_>> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| SeriesKey {
            encoding: &PAIRS,
            bytes: self.bytes.get(start..*end).unwrap_or_default(),
        })
    }
}
