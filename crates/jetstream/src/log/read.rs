//! Reading the stream without a consumer: message by message, many at once.

use events::{LogError, Offset, Page, ReadLimits};
use futures_util::{StreamExt as _, stream};
use model::Timestamp;

use super::Shared;
use crate::connection::ApiError;
use crate::message::{EVENTS_FILTER, EVENTS_PREFIX, Stored};
use crate::streams;

/// How many messages are asked for at once.
const READ_AHEAD: usize = 256;

/// Most messages that one call passes over because they are no events: others publish to the stream, too.
const PASSED_MAX: usize = 8 * READ_AHEAD;

impl Shared {
    pub(super) async fn read(&self, from: Offset, limits: ReadLimits) -> Result<Page, LogError> {
        self.ready().await?;
        let mut end = self.end.borrow().0;
        let first = self.known.lock().stream.first;
        if from.0 < first || from.0 >= end {
            // Retention or another gateway may have moved them.
            end = self.bounds().await?.end.0;
        }
        let mut reading = Reading {
            page: Page { next: Offset(from.0.max(1)), ..Page::default() },
            limits,
            bytes: 0,
            passed: 0,
        };
        while reading.page.next.0 < end && !reading.is_full() {
            self.read_on(&mut reading, end).await?;
        }
        Ok(reading.page)
    }

    /// Reads on until the page is full, the end is reached, or there is a gap; behind a gap, it goes on the next time.
    async fn read_on(&self, reading: &mut Reading, end: u64) -> Result<(), LogError> {
        let start = reading.page.next.0;
        let count = (reading.limits.entries_max - reading.page.entries.len()) as u64;
        let sequences = start..end.min(start.saturating_add(count));
        let mut messages = stream::iter(sequences)
            .map(|sequence| async move {
                let name = &self.settings.stream.name;
                (sequence, streams::message_of_any(&self.connection, name, sequence).await)
            })
            .buffered(READ_AHEAD);
        while let Some((sequence, found)) = messages.next().await {
            let Some(message) = found.map_err(ApiError::into_unavailable)? else {
                drop(messages);
                // A server that lags behind has not got it yet: only the leader knows of gaps.
                let next = self.next_event(sequence).await?;
                let Some(next) = next.filter(|next| next.sequence < end) else {
                    reading.page.next = Offset(end);
                    return Ok(());
                };
                reading.page.next = Offset(next.sequence);
                reading.add(&next);
                return Ok(());
            };
            if !reading.add(&message) {
                return Ok(());
            }
        }
        Ok(())
    }

    /// Returns the message at a position, as the leader knows it.
    pub(super) async fn get(&self, sequence: u64) -> Result<Option<Stored>, LogError> {
        streams::message(&self.connection, &self.settings.stream.name, sequence)
            .await
            .map_err(ApiError::into_unavailable)
    }

    /// Returns the first event at a position or behind it, as the leader knows it.
    async fn next_event(&self, sequence: u64) -> Result<Option<Stored>, LogError> {
        let name = &self.settings.stream.name;
        streams::next_message(&self.connection, name, sequence, EVENTS_FILTER)
            .await
            .map_err(ApiError::into_unavailable)
    }

    /// Returns where the first event is whose time is `time` or later, by bisection: exact where times ascend, and as far
    /// off as the clocks of several gateways where they do not.
    pub(super) async fn offset_at(
        &self,
        time: Timestamp,
        time_of: fn(&Stored) -> Timestamp,
    ) -> Result<Offset, LogError> {
        let bounds = self.bounds().await?;
        let (mut low, mut high) = (bounds.first.0, bounds.end.0);
        // All before `low` are earlier; what is at `high` is not, or is the end.
        while low < high {
            let middle = low + (high - low) / 2;
            match self.next_event(middle).await?.filter(|event| event.sequence < high) {
                Some(event) if time_of(&event) < time => low = event.sequence + 1,
                _ => high = middle,
            }
        }
        // Messages that are no events, and gaps, are not where anything begins.
        match self.next_event(high).await? {
            Some(event) => Ok(Offset(event.sequence)),
            None => Ok(bounds.end),
        }
    }
}

/// A page that is being filled.
struct Reading {
    page: Page,
    limits: ReadLimits,
    bytes: usize,
    /// Messages that are no events.
    passed: usize,
}

impl Reading {
    fn is_full(&self) -> bool {
        self.page.entries.len() >= self.limits.entries_max
            || self.bytes >= self.limits.bytes_max
            || self.passed >= PASSED_MAX
    }

    /// Adds a message if there is room; returns whether there is for more.
    fn add(&mut self, message: &Stored) -> bool {
        if self.is_full() {
            return false;
        }
        self.page.next = Offset(message.sequence).next();
        if !message.subject.starts_with(EVENTS_PREFIX) {
            self.passed = self.passed.saturating_add(1);
            return !self.is_full();
        }
        match message.entry() {
            Ok(entry) => {
                self.bytes = self.bytes.saturating_add(entry.envelope.len());
                self.page.entries.push(entry);
            }
            Err(_) => {
                self.passed = self.passed.saturating_add(1);
                self.page.skipped = self.page.skipped.saturating_add(1);
            }
        }
        !self.is_full()
    }
}
