//! Files: only the operations that the project uses, with what each makes durable.

use std::fmt;
use std::io;
use std::path::{Path, PathBuf};

mod metered;
mod sim;
mod system;

pub use metered::{FsStats, MeteredFs};
pub use sim::{SimCrash, SimFs};
pub use system::SystemFs;

/// The operation that an [`FsError`] came from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FsOperation {
    /// Creating a folder.
    CreateDir,
    /// Creating a file.
    Create,
    /// Opening a file.
    Open,
    /// Reading.
    Read,
    /// Appending.
    Append,
    /// Making a file's data durable.
    SyncData,
    /// Making a folder's entries durable.
    SyncDir,
    /// Shortening a file.
    Truncate,
    /// Renaming.
    Rename,
    /// Removing.
    Remove,
    /// Listing a folder.
    List,
    /// Asking for a size or the free space.
    Stat,
    /// Taking the exclusive lock.
    Lock,
}

impl FsOperation {
    /// All operations, in order.
    pub const ALL: [Self; 13] = [
        Self::CreateDir,
        Self::Create,
        Self::Open,
        Self::Read,
        Self::Append,
        Self::SyncData,
        Self::SyncDir,
        Self::Truncate,
        Self::Rename,
        Self::Remove,
        Self::List,
        Self::Stat,
        Self::Lock,
    ];

    /// Returns the name, as in `sync_dir`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::CreateDir => "create_dir",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Append => "append",
            Self::SyncData => "sync_data",
            Self::SyncDir => "sync_dir",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Stat => "stat",
            Self::Lock => "lock",
        }
    }

    fn verb(self) -> &'static str {
        match self {
            Self::CreateDir => "create folder",
            Self::Create => "create",
            Self::Open => "open",
            Self::Read => "read",
            Self::Append => "append to",
            Self::SyncData => "sync",
            Self::SyncDir => "sync folder",
            Self::Truncate => "truncate",
            Self::Rename => "rename",
            Self::Remove => "remove",
            Self::List => "list",
            Self::Stat => "examine",
            Self::Lock => "lock",
        }
    }
}

/// What a caller can treat differently.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FsErrorKind {
    /// There is nothing at the path.
    NotFound,
    /// There is something at the path already.
    AlreadyExists,
    /// The disk or the quota is full.
    NoSpace,
    /// Another process holds the lock.
    Locked,
    /// The read goes beyond the end of the file.
    UnexpectedEnd,
    /// The device or the kernel failed, or access is denied.
    Io,
}

/// A failed file operation.
#[derive(Debug, thiserror::Error)]
#[error("{} '{}'", operation.verb(), path.display())]
pub struct FsError {
    /// What was tried.
    pub operation: FsOperation,
    /// On what.
    pub path: PathBuf,
    /// What to make of it.
    pub kind: FsErrorKind,
    /// The system's own words.
    #[source]
    pub source: io::Error,
}

impl FsError {
    fn new(operation: FsOperation, path: &Path, source: io::Error) -> Self {
        let kind = match source.kind() {
            io::ErrorKind::NotFound => FsErrorKind::NotFound,
            io::ErrorKind::AlreadyExists => FsErrorKind::AlreadyExists,
            io::ErrorKind::StorageFull | io::ErrorKind::QuotaExceeded => FsErrorKind::NoSpace,
            io::ErrorKind::WouldBlock => FsErrorKind::Locked,
            io::ErrorKind::UnexpectedEof => FsErrorKind::UnexpectedEnd,
            _ => FsErrorKind::Io,
        };
        Self { operation, path: path.to_owned(), kind, source }
    }
}

/// One entry of a folder.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct DirEntry {
    /// The name within the folder. Names that are not UTF-8 are not ours and are left out.
    pub name: String,
    /// Whether it is a folder.
    pub is_dir: bool,
}

/// The space of the file system that holds a path.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct DiskSpace {
    /// Its size, in bytes.
    pub total_bytes: u64,
    /// What is free, in bytes, the reserve for root included.
    pub free_bytes: u64,
    /// What an ordinary user can still write, in bytes.
    pub available_bytes: u64,
    /// The number of inodes.
    pub files: u64,
    /// The number of free inodes.
    pub files_free: u64,
}

/// A file system.
///
/// A change survives a crash of the process at once, but a power loss only once it is synced:
/// file contents by [`File::sync_data`], and creations, renames and removals by [`Fs::sync_dir`] on the folder.
pub trait Fs: Send + Sync + fmt::Debug {
    /// Creates a folder and its missing parents, and makes each of their entries durable.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn create_dir_all(&self, path: &Path) -> Result<(), FsError>;

    /// Creates a file that must not exist yet, for appending and reading.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::AlreadyExists`] and others.
    fn create(&self, path: &Path) -> Result<Box<dyn File>, FsError>;

    /// As [`Fs::create`], but no other user of the machine may read it.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::AlreadyExists`] and others.
    fn create_private(&self, path: &Path) -> Result<Box<dyn File>, FsError>;

    /// Opens an existing file for reading.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::NotFound`] and others.
    fn open(&self, path: &Path) -> Result<Box<dyn File>, FsError>;

    /// Opens an existing file for appending and reading.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::NotFound`] and others.
    fn open_append(&self, path: &Path) -> Result<Box<dyn File>, FsError>;

    /// Returns the whole content of a file, also of one that has no size, such as those below `/proc`.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::Io`] also when the content is longer than `bytes_max`.
    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FsError>;

    /// Returns the entries of a folder, sorted by name.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::NotFound`] and others.
    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, FsError>;

    /// Returns whether there is anything at the path.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn exists(&self, path: &Path) -> Result<bool, FsError>;

    /// Renames a file or folder, replacing a file at `to`. Atomic; durable after [`Fs::sync_dir`] on both parents.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError>;

    /// Removes a file.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn remove_file(&self, path: &Path) -> Result<(), FsError>;

    /// Removes a folder with all it holds. Not atomic.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn remove_dir_all(&self, path: &Path) -> Result<(), FsError>;

    /// Makes the entries of a folder durable.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`]. The entries' state on disk is then unknown.
    fn sync_dir(&self, path: &Path) -> Result<(), FsError>;

    /// Returns the bytes that a file or folder takes up on disk: allocated blocks, all levels.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`]. Entries that vanish meanwhile are not an error.
    fn allocated_bytes(&self, path: &Path) -> Result<u64, FsError>;

    /// Returns the space of the file system that holds `path`.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn space(&self, path: &Path) -> Result<DiskSpace, FsError>;

    /// Takes the exclusive lock that a file stands for, creating the file if need be; held until the guard is dropped.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::Locked`] when another holds it.
    fn lock(&self, path: &Path) -> Result<Box<dyn fmt::Debug + Send + Sync>, FsError>;
}

/// An open file.
pub trait File: Send + Sync + fmt::Debug {
    /// Appends all of `bytes`. After an error any prefix of them may be in the file.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn append(&mut self, bytes: &[u8]) -> Result<(), FsError>;

    /// Makes the file's content and length durable.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`]. What was appended since the last success may or may not be on disk, and
    /// **a second call can succeed without having written it**: never retry, treat the file as lost.
    fn sync_data(&mut self) -> Result<(), FsError>;

    /// Fills `buffer` from `offset` on.
    ///
    /// # Errors
    ///
    /// [`FsErrorKind::UnexpectedEnd`] when the file is shorter.
    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FsError>;

    /// Returns the length in bytes.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn byte_len(&self) -> Result<u64, FsError>;

    /// Cuts the file down to `len` bytes; appends go on from there.
    ///
    /// # Errors
    ///
    /// See [`FsErrorKind`].
    fn truncate(&mut self, len: u64) -> Result<(), FsError>;
}
