//! Where series come from: the seam between the query engine and what stores samples.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;

use platform::Clock;

use crate::{Labels, Matcher, SampleColumns, TimeRange};

/// Tells long work that nobody waits for it any more, or that its time is up.
///
/// Cheap to clone; all clones mean the same work. Check it at least every few thousand samples.
#[derive(Clone, Debug)]
pub struct Cancellation {
    cancelled: Arc<AtomicBool>,
    deadline: Option<(Arc<dyn Clock>, Duration)>,
}

impl Cancellation {
    /// Returns one that never fires by itself.
    #[must_use]
    pub fn never() -> Self {
        Self { cancelled: Arc::default(), deadline: None }
    }

    /// Returns one that fires when `clock` is monotonic past `deadline`.
    #[must_use]
    pub fn at(clock: Arc<dyn Clock>, deadline: Duration) -> Self {
        Self { cancelled: Arc::default(), deadline: Some((clock, deadline)) }
    }

    /// Fires.
    pub fn cancel(&self) {
        self.cancelled.store(true, Ordering::Relaxed);
    }

    /// Fails once it has fired.
    ///
    /// # Errors
    ///
    /// [`SourceError::Cancelled`] or [`SourceError::Timeout`].
    pub fn check(&self) -> Result<(), SourceError> {
        if self.cancelled.load(Ordering::Relaxed) {
            return Err(SourceError::Cancelled);
        }
        match &self.deadline {
            Some((clock, deadline)) if clock.monotonic() >= *deadline => Err(SourceError::Timeout),
            _ => Ok(()),
        }
    }
}

/// Why series could not be read.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SourceError {
    /// Whoever asked went away.
    #[error("query was cancelled")]
    Cancelled,
    /// The time limit passed.
    #[error("query timed out")]
    Timeout,
    /// The data could not be read.
    #[error("read from storage: {reason}")]
    Storage {
        /// What happened, with the file.
        reason: String,
    },
}

/// One series that was selected.
pub trait Series: Send + Sync + fmt::Debug {
    /// Returns its labels.
    fn labels(&self) -> &Labels;

    /// Appends its samples within `range` to `columns`, ascending in time, staleness markers included.
    ///
    /// # Errors
    ///
    /// The data could not be read; `columns` may hold a part of it.
    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError>;
}

/// Series that can be selected by their labels.
///
/// Blocking: call it from a thread that may wait for the disk. Matchers are all to be satisfied, and a label
/// that a series lacks counts as empty.
pub trait SeriesSource: Send + Sync + fmt::Debug {
    /// Returns the series that match and may have samples within `range`, ascending by labels, each once.
    ///
    /// # Errors
    ///
    /// Cancelled, or the index could not be read.
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<Arc<dyn Series>>, SourceError>;

    /// Returns the names of labels of matching series, ascending, each once. No matcher means all series.
    ///
    /// # Errors
    ///
    /// Cancelled, or the index could not be read.
    fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError>;

    /// Returns the values of a label among matching series, ascending, each once. No matcher means all series.
    ///
    /// # Errors
    ///
    /// Cancelled, or the index could not be read.
    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError>;
}
