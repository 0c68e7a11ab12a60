//! Reading the log with a durable position.

use std::collections::BTreeMap;
use std::fmt;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;

use crate::{Entry, LogError, Offset};

/// What a consumer is called, and what it may hold.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ConsumerConfig {
    /// Its name: 1–64 of `[A-Za-z0-9_-]`.
    pub name: String,
    /// Most entries that are delivered and not settled; the embedded log has a limit of 100,000.
    pub in_flight_max: usize,
    /// How long an entry may take until it is delivered again, unless progress is reported meanwhile. Matters where
    /// the log is another process: within this one, what was not settled is delivered again after a restart.
    pub ack_wait: Duration,
}

impl ConsumerConfig {
    /// Returns the configuration of a consumer that holds up to 10,000 entries, for up to a minute each.
    #[must_use]
    pub fn new(name: impl Into<String>) -> Self {
        Self { name: name.into(), in_flight_max: 10_000, ack_wait: Duration::from_secs(60) }
    }
}

/// How much to fetch at once.
#[derive(Clone, Copy, Debug)]
pub struct FetchLimits {
    /// Most entries.
    pub entries_max: usize,
    /// Bytes after which no further entry is added.
    pub bytes_max: usize,
    /// How long to wait for the first entry.
    pub wait_max: Duration,
}

/// An entry for a consumer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Delivery {
    /// Where it is in the log.
    pub offset: Offset,
    /// How often it was delivered, this time included. Survives restarts.
    pub attempt: u32,
    /// What it is.
    pub body: Body,
}

/// What was delivered.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Body {
    /// An event.
    Entry(Entry),
    /// Something else that lies in the log.
    Undecodable {
        /// The subject that it was published to, or an empty text.
        subject: String,
        /// Its headers.
        headers: BTreeMap<String, String>,
        /// All of it.
        bytes: Bytes,
        /// What is wrong with it.
        error: String,
    },
}

/// What became of a delivered entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Settlement {
    /// It need not be delivered again.
    Done,
    /// Deliver it again, not before the delay is over.
    Retry {
        /// How long to wait.
        delay: Duration,
    },
    /// It is still being worked on.
    InProgress,
}

/// A reader of the log with a durable position.
///
/// Every entry is delivered at least once: what was not settled as done is delivered again.
pub trait Consumer: Send + Sync + fmt::Debug {
    /// Returns the next entries in the order of the log; none if there was none within the time.
    ///
    /// Cancellation safe: what was not returned is delivered later.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn fetch(&self, limits: FetchLimits) -> BoxFuture<'_, Result<Vec<Delivery>, LogError>>;

    /// Says what became of an entry. Entries are settled in any order; the durable position follows soon after.
    ///
    /// # Errors
    ///
    /// [`LogError`]; it can be said again, and if it is not, the entry is delivered again.
    fn settle(&self, offset: Offset, settlement: Settlement)
    -> BoxFuture<'_, Result<(), LogError>>;

    /// Makes the position durable now.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    fn flush(&self) -> BoxFuture<'_, Result<(), LogError>>;
}
