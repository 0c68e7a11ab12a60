//! Appending.

use std::future::Future;
use std::path::Path;
use std::sync::Arc;

use platform::Fs;

use crate::{JournalConfig, JournalError, Recovery, Sequence};

/// A durable append-only log.
#[derive(Debug)]
pub struct Journal {}

impl Journal {
    /// Recovers: visits every valid record in order, then is ready to append.
    ///
    /// # Errors
    ///
    /// [`JournalError::UnknownVersion`] and [`JournalError::Fs`].
    pub fn open(
        _fs: Arc<dyn Fs>,
        _dir: &Path,
        _config: JournalConfig,
        _visit: &mut dyn FnMut(Sequence, &[u8]),
    ) -> Result<(Self, Recovery), JournalError> {
        Err(JournalError::Closed)
    }

    /// Queues a record; never touches the disk.
    ///
    /// # Errors
    ///
    /// Overloaded, `RecordTooLarge`, Poisoned, Full, Closed.
    pub fn append(&self, _record: &[u8]) -> Result<Sequence, JournalError> {
        Err(JournalError::Closed)
    }

    /// Writes and syncs all that is queued, on the caller's thread; returns what is durable.
    ///
    /// # Errors
    ///
    /// Poisoned, Full.
    pub fn commit(&self) -> Result<Sequence, JournalError> {
        Err(JournalError::Closed)
    }

    /// Blocks until something is queued; false once closed.
    pub fn wait_for_pending(&self) -> bool {
        false
    }

    /// Resolves once the record is durable, or never will be. Cancellation safe.
    pub fn durable(
        &self,
        _sequence: Sequence,
    ) -> impl Future<Output = Result<(), JournalError>> + Send + use<> {
        async { Err(JournalError::Closed) }
    }

    /// Returns the last durable record.
    pub fn durable_sequence(&self) -> Sequence {
        Sequence::ZERO
    }

    /// Commits, then begins a new segment; returns the first sequence of the new segment.
    ///
    /// # Errors
    ///
    /// As [`Journal::commit`].
    pub fn cut(&self) -> Result<Sequence, JournalError> {
        Err(JournalError::Closed)
    }

    /// Deletes whole segments whose records are all before `sequence`, the oldest first; returns how many.
    ///
    /// # Errors
    ///
    /// [`JournalError::Fs`].
    pub fn remove_before(&self, _sequence: Sequence) -> Result<u64, JournalError> {
        Err(JournalError::Closed)
    }

    /// Returns why writes are refused, if they are: poisoned until opened again, or full until resumed.
    pub fn poisoned(&self) -> Option<String> {
        None
    }

    /// Takes writes again after the disk was full, in a new segment.
    ///
    /// Everything that was queued when the disk was full is lost ([`Journal::durable`] says so for each record):
    /// an owner whose records depend on earlier ones must not count on those any more.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] while there is no space, [`JournalError::Poisoned`].
    pub fn resume(&self) -> Result<(), JournalError> {
        Err(JournalError::Closed)
    }

    /// Commits and wakes all waiters.
    pub fn close(&self) {}
}
