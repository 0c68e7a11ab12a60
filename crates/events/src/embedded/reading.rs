//! Reading: from the disk, on threads that may block.

use std::ops::ControlFlow;
use std::sync::Arc;

use bytes::Bytes;
use journal::{JournalError, ReadEnd, SegmentInfo, Sequence};
use model::{TenantId, Timestamp};

use crate::embedded::core::{Core, unavailable};
use crate::embedded::record::Record;
use crate::{Bounds, Entry, LogError, Offset, Page, ReadLimits};

/// Entries as they are read: the envelopes lie in one piece of memory, which the entries then share.
#[derive(Debug, Default)]
struct Collecting {
    heads: Vec<Head>,
    envelopes: Vec<u8>,
    tenant: Option<TenantId>,
    undecodable: u64,
}

/// An entry without its envelope.
#[derive(Debug)]
struct Head {
    offset: Offset,
    tenant: TenantId,
    received_at: Timestamp,
    lane: crate::Lane,
    /// Where its envelope ends.
    end: usize,
}

impl Core {
    /// Returns what the log holds.
    pub(crate) fn bounds(&self) -> Bounds {
        let end = *self.end.borrow();
        let first = self.journal.segments().first().map_or(end, |oldest| Offset(oldest.first.0));
        Bounds { first: first.min(end), end }
    }

    /// See [`EventLog::read`](crate::EventLog::read).
    pub(crate) async fn read(
        self: Arc<Self>,
        from: Offset,
        limits: ReadLimits,
    ) -> Result<Page, LogError> {
        if from >= *self.end.borrow() || limits.entries_max == 0 {
            return Ok(Page { next: from, ..Page::default() });
        }
        blocking(move || self.read_now(from, limits)).await
    }

    /// As [`Core::read`], on this thread.
    pub(crate) fn read_now(&self, from: Offset, limits: ReadLimits) -> Result<Page, LogError> {
        let mut collecting = Collecting::default();
        let read = self.journal.read(Sequence(from.0), &mut |sequence, record| {
            collecting.take(Offset(sequence.0), record);
            let full = collecting.heads.len() >= limits.entries_max
                || collecting.envelopes.len() >= limits.bytes_max
                || collecting.undecodable >= limits.entries_max as u64;
            if full { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        let ReadEnd { next, skipped } = read.map_err(unavailable)?;
        Ok(collecting.page(Offset(next.0), skipped))
    }

    /// Returns the identifier of the entry at an offset.
    pub(crate) async fn id_at(self: Arc<Self>, offset: Offset) -> Result<Box<str>, LogError> {
        blocking(move || {
            let mut id = None;
            let read = self.journal.read(Sequence(offset.0), &mut |sequence, record| {
                if sequence.0 == offset.0 {
                    id = Record::decode(record).ok().map(|record| record.id.into());
                }
                ControlFlow::Break(())
            });
            read.map_err(unavailable)?;
            let reason = || format!("the event at offset {offset} cannot be read");
            id.ok_or_else(|| LogError::Damaged { reason: reason() })
        })
        .await
    }

    /// See [`EventLog::offset_at`](crate::EventLog::offset_at).
    pub(crate) async fn offset_at(self: Arc<Self>, time: Timestamp) -> Result<Offset, LogError> {
        blocking(move || self.offset_at_now(time)).await
    }

    fn offset_at_now(&self, time: Timestamp) -> Result<Offset, LogError> {
        let segments = self.journal.segments();
        let (mut low, mut high) = (0, segments.len());
        // The last segment that begins before the time can hold the first entry that does not.
        while low < high {
            let middle = low.midpoint(high);
            let Some(segment) = segments.get(middle) else { break };
            if self.first_at(segment)?.is_none_or(|first| first >= time) {
                high = middle;
            } else {
                low = middle.saturating_add(1);
            }
        }
        let Some(segment) = segments.get(low.saturating_sub(1)) else {
            return Ok(self.bounds().end);
        };
        let mut found = None;
        let mut from = segment.first;
        loop {
            let read = self.journal.read(from, &mut |sequence, record| {
                match Record::decode(record) {
                    Ok(record) if record.received_at >= time => found = Some(Offset(sequence.0)),
                    _ => return ControlFlow::Continue(()),
                }
                ControlFlow::Break(())
            });
            let ReadEnd { next, .. } = read.map_err(unavailable)?;
            if let Some(offset) = found {
                return Ok(offset);
            }
            if next == from {
                return Ok(Offset(next.0).max(self.bounds().end));
            }
            from = next;
        }
    }

    /// Returns when the first entry of a segment arrived; `None` while it holds none that can be read.
    ///
    /// Reads the beginning of the segment, once.
    pub(crate) fn first_at(&self, segment: &SegmentInfo) -> Result<Option<Timestamp>, LogError> {
        if let Some(time) = self.times.lock().get(&segment.first.0) {
            return Ok(Some(*time));
        }
        let mut time = None;
        let read = self.journal.read(segment.first, &mut |sequence, record| {
            if sequence > segment.end {
                return ControlFlow::Break(());
            }
            time = Record::decode(record).ok().map(|record| record.received_at);
            if time.is_some() { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        });
        read.map_err(unavailable)?;
        if let Some(time) = time {
            self.times.lock().insert(segment.first.0, time);
        }
        Ok(time)
    }
}

/// Visits the records of a journal from `from` on to its end; returns how many are missing.
pub(crate) fn read_to_end(
    journal: &journal::Journal,
    from: Sequence,
    visit: &mut dyn FnMut(Sequence, &[u8]),
) -> Result<u64, JournalError> {
    let (mut from, mut missing) = (from, 0_u64);
    loop {
        let ReadEnd { next, skipped } = journal.read(from, &mut |sequence, record| {
            visit(sequence, record);
            ControlFlow::Continue(())
        })?;
        missing = missing.saturating_add(skipped);
        if next == from {
            return Ok(missing);
        }
        from = next;
    }
}

impl Collecting {
    fn take(&mut self, offset: Offset, record: &[u8]) {
        let Ok(record) = Record::decode(record) else {
            self.undecodable = self.undecodable.saturating_add(1);
            return;
        };
        // Entries of one tenant stand together more often than not.
        let known = self.tenant.take().filter(|tenant| tenant.as_str() == record.tenant);
        let Some(tenant) = known.or_else(|| TenantId::new(record.tenant).ok()) else {
            self.undecodable = self.undecodable.saturating_add(1);
            return;
        };
        self.envelopes.extend_from_slice(record.envelope);
        self.heads.push(Head {
            offset,
            tenant: tenant.clone(),
            received_at: record.received_at,
            lane: record.lane,
            end: self.envelopes.len(),
        });
        self.tenant = Some(tenant);
    }

    fn page(self, next: Offset, skipped: u64) -> Page {
        let envelopes = Bytes::from(self.envelopes);
        let mut start = 0;
        let entries = self.heads.into_iter().map(|head| {
            let envelope = envelopes.slice(start..head.end);
            start = head.end;
            let Head { offset, tenant, received_at, lane, .. } = head;
            Entry { offset, tenant, received_at, lane, envelope }
        });
        let skipped = skipped.saturating_add(self.undecodable);
        Page { entries: entries.collect(), next, skipped }
    }
}

/// Runs what touches the disk on a thread that may block.
pub(crate) async fn blocking<T: Send + 'static>(
    work: impl FnOnce() -> Result<T, LogError> + Send + 'static,
) -> Result<T, LogError> {
    match tokio::task::spawn_blocking(work).await {
        Ok(done) => done,
        Err(error) => match error.try_into_panic() {
            Ok(panic) => std::panic::resume_unwind(panic),
            Err(_) => Err(LogError::Closed),
        },
    }
}
