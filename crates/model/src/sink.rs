//! Where samples go: the seam between what receives metrics and what stores them.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use crate::{LabelError, Timestamp, WriteBatch};

/// What happens to the rest of a batch when a series or sample in it is refused.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum AppendMode {
    /// Everything else is stored.
    Partial,
    /// Nothing is stored, and the first refusal is the error.
    AllOrNothing,
}

/// A position in the log of writes.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord)]
pub struct CommitSequence(pub u64);

/// What became of a batch.
#[derive(Debug)]
pub struct AppendReceipt {
    /// The batch is durable once this sequence is; see [`SampleSink::durable`].
    pub sequence: CommitSequence,
    /// How many samples were stored, those included that were there already.
    pub stored_samples: usize,
    /// What was refused.
    pub rejections: Rejections,
}

/// Refused parts of a batch: all counted, the first few in detail.
#[derive(Debug, Default)]
pub struct Rejections {
    /// How many samples were refused.
    pub samples: usize,
    /// The first of them, at most [`Rejections::EXAMPLES_MAX`].
    pub examples: Vec<Rejection>,
}

impl Rejections {
    /// How many refusals are kept in detail.
    pub const EXAMPLES_MAX: usize = 8;

    /// Counts `samples` refused samples of the series at `series_index`.
    pub fn push(&mut self, series_index: usize, samples: usize, reason: RejectReason) {
        self.samples += samples;
        if self.examples.len() < Self::EXAMPLES_MAX {
            self.examples.push(Rejection { series_index, reason });
        }
    }

    /// Returns whether nothing was refused.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples == 0 && self.examples.is_empty()
    }
}

/// One refusal.
#[derive(Clone, Debug, PartialEq)]
pub struct Rejection {
    /// The index of the series entry within the batch.
    pub series_index: usize,
    /// Why.
    pub reason: RejectReason,
}

/// What a limit of series applies to.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum SeriesLimitScope {
    /// All series.
    Total,
    /// The series of one metric name.
    Metric,
}

/// Why a series or sample was refused.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum RejectReason {
    /// The labels are not a valid set or break a limit.
    #[error("{0}")]
    Labels(#[from] LabelError),
    /// The series is new and there are as many as are allowed.
    #[error(
        "cardinality limit exceeded: metric '{metric}' would get a new series, but {current} of {limit} {} exist; \
         its label with the most values is '{fastest_label}'",
        match scope { SeriesLimitScope::Total => "series", SeriesLimitScope::Metric => "series of this metric" }
    )]
    SeriesLimit {
        /// Which limit.
        scope: SeriesLimitScope,
        /// The metric of the refused series.
        metric: String,
        /// How many series there are.
        current: u64,
        /// How many there may be.
        limit: u64,
        /// The label of this metric with the most distinct values.
        fastest_label: String,
    },
    /// The sample is older than the newest one of its series by more than the out-of-order window.
    #[error(
        "out-of-order sample: {timestamp} is more than {window_ms} ms before {newest}, the newest sample of '{metric}'"
    )]
    OutOfOrder {
        /// The metric's name.
        metric: String,
        /// The sample's time.
        timestamp: Timestamp,
        /// The newest time of the series.
        newest: Timestamp,
        /// The window, in milliseconds.
        window_ms: i64,
    },
    /// The sample is older than what is kept.
    #[error("sample too old: {timestamp} is before {oldest}, the start of what retention keeps")]
    TooOld {
        /// The sample's time.
        timestamp: Timestamp,
        /// The earliest time that is accepted.
        oldest: Timestamp,
    },
    /// The sample is too far in the future.
    #[error(
        "sample too far in the future: {timestamp} is after {newest}; check the sender's clock"
    )]
    TooNew {
        /// The sample's time.
        timestamp: Timestamp,
        /// The latest time that is accepted.
        newest: Timestamp,
    },
}

/// Why a batch was not taken.
#[derive(Clone, Debug, PartialEq, thiserror::Error)]
pub enum AppendError {
    /// In [`AppendMode::AllOrNothing`], the first refusal.
    #[error("{}", .0.reason)]
    Rejected(Rejection),
    /// The store accepts no writes: a write to disk failed, or the disk is full.
    #[error("store is read-only: {reason}")]
    ReadOnly {
        /// What happened.
        reason: String,
    },
    /// The batch can never be taken as a whole; send smaller ones.
    #[error("batch takes up {bytes} bytes, the limit is {limit}; send fewer samples at a time")]
    TooLarge {
        /// Its length in the log, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// More is waiting to reach the disk than is allowed; try again later.
    #[error("too many writes are waiting for the disk")]
    Overloaded,
}

/// Resolves once a sequence is durable.
pub type Durable = Pin<Box<dyn Future<Output = Result<(), AppendError>> + Send>>;

/// Stores batches of samples.
pub trait SampleSink: Send + Sync + fmt::Debug {
    /// Takes a batch in: checks it, queues it for the disk, makes it visible to queries.
    ///
    /// Of two samples of a series with the same time the one that is appended later wins.
    /// The batch is **not durable** when this returns: acknowledge it only after [`SampleSink::durable`].
    /// Does not block on the disk.
    ///
    /// # Errors
    ///
    /// Nothing of the batch was taken.
    fn append(
        &self,
        batch: &WriteBatch<'_>,
        mode: AppendMode,
    ) -> Result<AppendReceipt, AppendError>;

    /// Waits until everything up to `sequence` is on stable storage. Dropping the future is safe.
    fn durable(&self, sequence: CommitSequence) -> Durable;
}
