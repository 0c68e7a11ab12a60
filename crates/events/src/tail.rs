//! Following the log: reading it again and again for many at once, each at a position of its own.

use std::collections::VecDeque;
use std::fmt;
use std::sync::{Arc, OnceLock};

use bytes::Bytes;
use model::{TenantId, Timestamp};
use parking_lot::Mutex;
use tokio::sync::{Semaphore, watch};

use crate::{Entry, EventFilter, EventLog, LogError, Offset, ReadLimits};

/// How much is read at once.
const PAGE_LIMITS: ReadLimits = ReadLimits { entries_max: 512, bytes_max: 256 << 10 };
/// Most pages that are read at a time, for all who follow.
const READS_MAX: usize = 2;
/// Most pages that are kept for others who come by.
const PAGES_KEPT_MAX: usize = 4;

/// An event as those see it who follow the log.
#[derive(Debug)]
pub struct TailEvent {
    /// Where it is in the log.
    pub offset: Offset,
    /// Whose it is.
    pub tenant: TenantId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// Its app.
    pub app: Box<str>,
    /// Its category, such as `screen`.
    pub category: &'static str,
    /// Its type, such as `view`.
    pub event_type: Box<str>,
    /// Its device.
    pub device: Box<str>,
    envelope: Bytes,
    /// Made when first needed, once for all.
    json: OnceLock<String>,
}

impl TailEvent {
    /// Reads what an entry holds.
    ///
    /// # Errors
    ///
    /// It is no event.
    fn read(entry: Entry) -> Result<Self, schema::Invalid> {
        let event = schema::inspect(&entry.envelope, &schema::Limits::NONE)?;
        Ok(Self {
            offset: entry.offset,
            tenant: entry.tenant,
            received_at: entry.received_at,
            app: event.app_id.into(),
            category: event.category(),
            event_type: event.event_type.into(),
            device: event.device_id.into(),
            envelope: entry.envelope,
            json: OnceLock::new(),
        })
    }

    /// Returns the event in its JSON form; `null` should it have none.
    #[must_use]
    pub fn json(&self) -> &str {
        let json =
            || schema::envelope_to_json(&self.envelope).unwrap_or_else(|_| "null".to_owned());
        self.json.get_or_init(json)
    }
}

/// A part of the log.
#[derive(Debug)]
struct TailPage {
    /// From where on it was read.
    from: Offset,
    events: Vec<TailEvent>,
    /// Of each entry that is no event: where it is, and whose.
    unreadable: Vec<(Offset, TenantId)>,
    /// Entries that are lost for everybody.
    skipped: u64,
    next: Offset,
}

/// Reads the log for all who follow it. Who is at the same position shares what was read and decoded.
pub struct Tails {
    log: Arc<dyn EventLog>,
    reading: Semaphore,
    /// The newest last. Never held across an await.
    pages: Mutex<VecDeque<Arc<TailPage>>>,
}

impl fmt::Debug for Tails {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tails").field("log", &self.log).finish_non_exhaustive()
    }
}

impl Tails {
    /// Returns what reads `log`.
    #[must_use]
    pub fn new(log: Arc<dyn EventLog>) -> Arc<Self> {
        Arc::new(Self { log, reading: Semaphore::new(READS_MAX), pages: Mutex::default() })
    }

    /// Returns the log.
    #[must_use]
    pub fn log(&self) -> &Arc<dyn EventLog> {
        &self.log
    }

    /// Begins to follow the log from a position on.
    #[must_use]
    pub fn follow(self: &Arc<Self>, filter: EventFilter, from: Offset) -> Tail {
        let end = self.log.end();
        Tail { tails: Arc::clone(self), filter: Arc::new(filter), next: from, end }
    }

    async fn page(&self, from: Offset) -> Result<Arc<TailPage>, LogError> {
        if let Some(page) = self.kept(from) {
            return Ok(page);
        }
        let _permit = self.reading.acquire().await.map_err(|_| LogError::Closed)?;
        if let Some(page) = self.kept(from) {
            return Ok(page);
        }
        let read = self.log.read(from, PAGE_LIMITS).await?;
        let (skipped, next) = (read.skipped, read.next);
        let decoded = tokio::task::spawn_blocking(move || {
            let (mut events, mut unreadable) = (Vec::with_capacity(read.entries.len()), Vec::new());
            for entry in read.entries {
                let whose = (entry.offset, entry.tenant.clone());
                match TailEvent::read(entry) {
                    Ok(event) => events.push(event),
                    Err(_) => unreadable.push(whose),
                }
            }
            TailPage { from, events, unreadable, skipped, next }
        });
        let page = Arc::new(decoded.await.map_err(|error| LogError::Damaged {
            reason: format!("events from {from} on cannot be decoded: {error}"),
        })?);
        if next > from {
            let mut pages = self.pages.lock();
            if pages.len() == PAGES_KEPT_MAX {
                pages.pop_front();
            }
            pages.push_back(Arc::clone(&page));
        }
        Ok(page)
    }

    fn kept(&self, from: Offset) -> Option<Arc<TailPage>> {
        self.pages.lock().iter().find(|page| page.from == from).map(Arc::clone)
    }
}

/// A position in the log, and which events are wanted from there on.
///
/// Nothing waits in memory for whoever follows: what they did not ask for yet is read when they ask.
#[derive(Debug)]
pub struct Tail {
    tails: Arc<Tails>,
    filter: Arc<EventFilter>,
    next: Offset,
    end: watch::Receiver<Offset>,
}

/// What came next.
#[derive(Debug)]
pub struct TailBatch {
    page: Option<Arc<TailPage>>,
    /// Which of its events are wanted.
    wanted: Vec<usize>,
    /// Positions that were passed over without being read: removed, damaged, or no events.
    pub skipped: u64,
}

impl TailBatch {
    /// Iterates over the events in the order of the log.
    pub fn events(&self) -> impl ExactSizeIterator<Item = &TailEvent> {
        let events = self.page.as_ref().map_or(&[][..], |page| &page.events);
        self.wanted.iter().map(move |index| &events[*index])
    }

    /// Returns whether there is nothing to tell.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.wanted.is_empty() && self.skipped == 0
    }
}

impl Tail {
    /// Returns the position behind what was returned or passed over.
    #[must_use]
    pub const fn position(&self) -> Offset {
        self.next
    }

    /// Returns whether there is more to read now.
    pub fn has_more(&mut self) -> bool {
        self.next < *self.end.borrow_and_update()
    }

    /// Returns when there is more to read. Cancellation safe.
    ///
    /// # Errors
    ///
    /// The log is closed.
    pub async fn more(&mut self) -> Result<(), LogError> {
        let next = self.next;
        let moved = self.end.wait_for(|end| *end > next).await;
        moved.map(drop).map_err(|_| LogError::Closed)
    }

    /// Reads on by one page of bounded size, and returns up to `events_max` of what is wanted of it: nothing when
    /// nothing on the page is wanted, or when there is nothing more. Cancellation safe: then it is read again.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the position stays.
    pub async fn read(&mut self, events_max: usize) -> Result<TailBatch, LogError> {
        let first = self.tails.log.stats().bounds.first;
        let removed = first.0.saturating_sub(self.next.0);
        let from = self.next.max(first);
        if from >= *self.end.borrow_and_update() {
            self.next = from;
            return Ok(TailBatch { page: None, wanted: Vec::new(), skipped: removed });
        }
        let page = self.tails.page(from).await?;
        let (filter, shown) = (Arc::clone(&self.filter), Arc::clone(&page));
        let chosen = tokio::task::spawn_blocking(move || {
            let events = shown.events.iter().enumerate();
            let wanted = events.filter(|(_, event)| filter.admits(event)).map(|(index, _)| index);
            wanted.take(events_max).collect::<Vec<usize>>()
        });
        let wanted = chosen.await.map_err(|error| LogError::Damaged {
            reason: format!("events from {from} on cannot be searched: {error}"),
        })?;
        let mut skipped = removed;
        // When there was no room for more, what lies behind the last one is read another time.
        let last = wanted.last().filter(|_| wanted.len() == events_max);
        if let Some(last) = last.and_then(|last| page.events.get(*last)) {
            self.next = last.offset.next();
        } else {
            self.next = page.next.max(from);
            skipped += page.skipped;
        }
        let tenant = &self.filter.tenant;
        let unreadable = page.unreadable.iter();
        let own = unreadable.filter(|(offset, whose)| whose == tenant && *offset < self.next);
        skipped += own.count() as u64;
        Ok(TailBatch { page: Some(page), wanted, skipped })
    }
}

#[cfg(test)]
mod tests;
