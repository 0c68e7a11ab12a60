//! What can go wrong while the store works on its files.

use std::path::PathBuf;

use journal::JournalError;
use platform::FsError;

/// A failed operation of the store.
#[derive(Debug, thiserror::Error)]
pub enum StoreError {
    /// Another process works on the folder.
    #[error("data folder '{}' is in use by another process", path.display())]
    Locked {
        /// The folder.
        path: PathBuf,
    },
    /// The file system refused.
    #[error("metrics store")]
    Fs(#[from] FsError),
    /// The journal cannot be opened or written.
    #[error("journal of the metrics store")]
    Journal(#[from] JournalError),
    /// A newer version of this program wrote the store.
    #[error("'{}' is of a version that this program does not know: use a newer one", path.display())]
    UnknownVersion {
        /// The file that says so.
        path: PathBuf,
    },
    /// A file is not what it has to be.
    #[error("'{}' is damaged: {reason}", path.display())]
    Damaged {
        /// The file.
        path: PathBuf,
        /// What is wrong with it.
        reason: String,
    },
    /// Blocks are not merged because the disk might be full before that is done.
    #[error("merging blocks takes up to {needed_bytes} bytes, and {available_bytes} are free")]
    NoRoom {
        /// What has to be free, in bytes.
        needed_bytes: u64,
        /// What is free, in bytes.
        available_bytes: u64,
    },
    /// Nothing can be written any more.
    #[error("store is read-only: {reason}")]
    ReadOnly {
        /// What happened.
        reason: String,
    },
}
