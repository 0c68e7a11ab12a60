//! The log, whatever it stands on.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use futures_util::future::BoxFuture;
use model::Timestamp;
use tokio::sync::watch;

use crate::{Batch, Consumer, ConsumerConfig, Entry, Offset};

/// A durable, ordered log of events, shared by all tenants.
pub trait EventLog: Send + Sync + fmt::Debug {
    /// Stores the events that are not there yet, and says of each what became of it, in the order of the batch.
    ///
    /// Returns once all of them are durable. Cancelling it leaves open what was stored.
    ///
    /// # Errors
    ///
    /// [`LogError`], when one of them could not be made durable. Others of the batch may have been stored; a sender
    /// that gave keys can repeat the whole batch.
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Vec<Outcome>, LogError>>;

    /// Returns what the log holds.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn bounds(&self) -> BoxFuture<'_, Result<Bounds, LogError>>;

    /// Returns entries from `from` on, or from the oldest one if that is later; none when there are none yet.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Page, LogError>>;

    /// Returns where the first entry is that arrived at `time` or later: the end of the log if there is none.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn offset_at(&self, time: Timestamp) -> BoxFuture<'_, Result<Offset, LogError>>;

    /// Returns where the end of the log is seen to move: the position behind the last durable entry.
    fn end(&self) -> watch::Receiver<Offset>;

    /// Opens a consumer: a durable position of this name, from the oldest entry on when it is new.
    ///
    /// One consumer of a name is open at a time in one process.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn consumer(
        &self,
        config: ConsumerConfig,
    ) -> BoxFuture<'_, Result<Box<dyn Consumer>, LogError>>;

    /// Returns what the log says about itself, from memory.
    fn stats(&self) -> LogStats;

    /// Returns why events are not taken at present, if they are not.
    fn refusal(&self) -> Option<String>;
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Outcome {
    /// It is stored, durably.
    Stored {
        /// Where.
        offset: Offset,
    },
    /// It was stored before, durably.
    Duplicate {
        /// Where.
        offset: Offset,
        /// The identifier that it was stored with.
        id: Box<str>,
    },
    /// Another event was stored with its key before. It is not stored.
    Conflict {
        /// Where the other one is.
        offset: Offset,
        /// The identifier of the other one.
        id: Box<str>,
    },
}

/// Why the log could not do what it was asked for.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LogError {
    /// It cannot store or read now; the same request can succeed later.
    #[error("the event log is unavailable: {reason}")]
    Unavailable {
        /// Why.
        reason: String,
        /// When to come again.
        retry_after: Duration,
    },
    /// Too much is under way.
    #[error("the event log is overloaded: {reason}")]
    Overloaded {
        /// What is at its limit.
        reason: String,
    },
    /// It is as large as it may be, and a consumer still needs the oldest entries.
    #[error("the event log is full: consumer '{consumer}' has not read its oldest events yet")]
    Full {
        /// The consumer that is furthest behind.
        consumer: String,
    },
    /// One event is longer than the log takes.
    #[error("event of {bytes} bytes is longer than the log takes, {limit_bytes} bytes")]
    TooLarge {
        /// Its length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit_bytes: usize,
    },
    /// What is stored there cannot be read.
    #[error("the event log is damaged: {reason}")]
    Damaged {
        /// Where and how.
        reason: String,
    },
    /// A consumer cannot be opened: its name is not valid, or it is open already.
    #[error("consumer '{name}' cannot be opened: {reason}")]
    Consumer {
        /// Its name.
        name: String,
        /// Why, and what to change.
        reason: String,
    },
    /// The program is stopping.
    #[error("the event log is closed")]
    Closed,
}

/// What the log holds.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Bounds {
    /// The oldest entry, or the end when there is none.
    pub first: Offset,
    /// Behind the last durable entry.
    pub end: Offset,
}

/// How much to read at once.
#[derive(Clone, Copy, Debug)]
pub struct ReadLimits {
    /// Most entries.
    pub entries_max: usize,
    /// Bytes of envelopes after which no further entry is added.
    pub bytes_max: usize,
}

/// What was read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Page {
    /// In the order of their offsets.
    pub entries: Vec<Entry>,
    /// Where to go on: behind the last entry, or behind what had to be skipped.
    pub next: Offset,
    /// How many entries on the way could not be decoded or are missing because of damage.
    pub skipped: u64,
}

/// What a log says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogStats {
    /// What the log holds, as far as this process knows.
    pub bounds: Bounds,
    /// Bytes of the log on disk.
    pub bytes: u64,
    /// Events that were stored, since the start.
    pub stored: u64,
    /// Events that had been stored before, since the start.
    pub duplicates: u64,
    /// Events with the key of another, since the start.
    pub conflicts: u64,
    /// Keys that are remembered.
    pub keys: u64,
    /// Bytes of memory that the keys take.
    pub keys_memory_bytes: u64,
    /// Events whose durability is waited for.
    pub in_flight: u64,
    /// Entries that each consumer has not settled yet, by name.
    pub consumer_lag: BTreeMap<String, u64>,
    /// Entries that were delivered again, since the start, by consumer.
    pub redelivered: BTreeMap<String, u64>,
    /// Whether the connection to the log's server stands; true where there is none.
    pub connected: bool,
}
