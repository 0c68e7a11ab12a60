//! Reading while others write.

use std::ops::ControlFlow;

use platform::{Fs, FsErrorKind};

use crate::catalog::{Catalog, View, is_far};
use crate::segment::SegmentReader;
use crate::{JournalError, Sequence};

/// Where reading came to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ReadEnd {
    /// Where to go on: behind the last record that was read, or behind what had to be skipped.
    pub next: Sequence,
    /// Records on the way that are missing because of damage. What was refused is not among them.
    pub skipped: u64,
}

/// One call of [`read`].
struct Reading<'a> {
    fs: &'a dyn Fs,
    catalog: &'a Catalog,
    visit: &'a mut dyn FnMut(Sequence, &[u8]) -> ControlFlow<()>,
    /// The next sequence that is wanted.
    next: Sequence,
    skipped: u64,
    /// Whether the visitor wants no more.
    enough: bool,
}

/// Visits durable records from `from` on, or from the oldest one if that is later.
pub(crate) fn read(
    fs: &dyn Fs,
    catalog: &Catalog,
    from: Sequence,
    visit: &mut dyn FnMut(Sequence, &[u8]) -> ControlFlow<()>,
) -> Result<ReadEnd, JournalError> {
    let next = from.max(Sequence(1));
    let mut reading = Reading { fs, catalog, visit, next, skipped: 0, enough: false };
    // Damage ends the call, so that looking for the next valid record is bounded by a segment.
    while !reading.enough && reading.skipped == 0 {
        let Some(view) = catalog.find(reading.next) else { break };
        reading.enter(&view);
        reading.segment(&view)?;
    }
    Ok(ReadEnd { next: reading.next, skipped: reading.skipped })
}

impl Reading<'_> {
    /// Accounts for what lies between the wanted record and the beginning of the segment that comes next.
    fn enter(&mut self, view: &View) {
        if !view.oldest {
            self.skip_to(view.preceding.next(), view, 0);
        }
        self.next = self.next.max(view.first);
    }

    fn segment(&mut self, view: &View) -> Result<(), JournalError> {
        let mut reader = match SegmentReader::open(self.fs, &view.path) {
            Ok(reader) => reader,
            // Removed since it was looked up: what is the oldest now comes next.
            Err(error) if error.kind == FsErrorKind::NotFound && !self.catalog.contains(view) => {
                return Ok(());
            }
            Err(error) if error.kind == FsErrorKind::NotFound => {
                self.skip_to(view.end.next(), view, 0);
                return Ok(());
            }
            Err(error) => return Err(error.into()),
        };
        reader.limit(view.bytes);
        let (first, mut offset) = self.catalog.start(view, self.next);
        // The last sequence before `offset`, as far as it is known.
        let mut last = Sequence(first.0.saturating_sub(1));
        let mut found = vec![];
        let mut indexed = 0;
        while offset < reader.byte_len() && !self.enough {
            let Some(frame) = reader.frame_at(offset)? else {
                self.report(view, offset);
                match reader.next_frame(offset, last)? {
                    Some(next) => offset = next,
                    None => offset = reader.byte_len(),
                }
                continue;
            };
            if frame.sequence > last {
                if frame.sequence >= self.next {
                    self.skip_to(frame.sequence, view, offset);
                    let body = reader.body(frame)?;
                    self.enough = (self.visit)(frame.sequence, body).is_break();
                    self.next = frame.sequence.next();
                }
                last = frame.sequence;
                if is_far(offset, indexed) {
                    found.push((frame.sequence, offset));
                    indexed = offset;
                }
            }
            offset = frame.end;
        }
        self.catalog.found(view, &found);
        if offset >= reader.byte_len() {
            self.skip_to(view.end.next(), view, offset);
        }
        if last.next() == self.next {
            self.catalog.stopped(view, self.next, offset);
        }
        Ok(())
    }

    /// Gives up on the records before `sequence` that were not found.
    fn skip_to(&mut self, sequence: Sequence, view: &View, offset: u64) {
        if sequence > self.next {
            self.report(view, offset);
            self.skipped = self.skipped.saturating_add(sequence.0.saturating_sub(self.next.0));
            self.next = sequence;
        }
    }

    fn report(&self, view: &View, offset: u64) {
        if self.catalog.report(view, offset) {
            tracing::error!(
                path = %view.path.display(),
                offset,
                first_missing = self.next.0,
                "journal record is damaged or missing, reading goes on behind it"
            );
        }
    }
}
