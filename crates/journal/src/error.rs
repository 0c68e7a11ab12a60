//! What can go wrong.

use std::path::PathBuf;

use platform::FsError;

use crate::Sequence;

/// A refused or failed operation of a journal.
#[derive(Debug, thiserror::Error)]
pub enum JournalError {
    /// The queue is full: try again once a commit has emptied it.
    #[error("journal queue is full: {limit_bytes} bytes are waiting for the disk, try again later")]
    Overloaded {
        /// The limit of the queue, in bytes.
        limit_bytes: usize,
    },
    /// The record is longer than the configuration allows.
    #[error("record of {bytes} bytes is longer than the limit of {limit_bytes}")]
    RecordTooLarge {
        /// Its length.
        bytes: usize,
        /// The longest that is allowed.
        limit_bytes: usize,
    },
    /// A write failed, so that what the disk holds is not known: nothing is written until the journal is opened again.
    #[error("journal refuses writes until it is opened again: {reason}")]
    Poisoned {
        /// What failed.
        reason: String,
    },
    /// The disk was full: nothing is written until [`Journal::resume`](crate::Journal::resume) succeeds.
    #[error("journal refuses writes because the disk is full, free some space: {reason}")]
    Full {
        /// What failed.
        reason: String,
    },
    /// The record will never be durable: the commit that should have written it failed, or it was never appended.
    #[error("record {sequence} was not made durable: {reason}")]
    NotDurable {
        /// Which.
        sequence: Sequence,
        /// Why.
        reason: String,
    },
    /// The journal was closed.
    #[error("journal is closed")]
    Closed,
    /// A segment was written by a newer version of this program.
    #[error("segment '{}' has format version {version}, which this program does not know: use a newer one", path.display())]
    UnknownVersion {
        /// The segment.
        path: PathBuf,
        /// Its version.
        version: u32,
    },
    /// There is no sequence number left.
    #[error("journal has used up its sequence numbers")]
    Exhausted,
    /// A file operation failed.
    #[error("journal file operation failed")]
    Fs(#[from] FsError),
}
