//! What kind of thing lies at a path, and whose it is.

use std::io;
use std::os::unix::fs::{FileTypeExt as _, MetadataExt as _};
use std::path::{Path, PathBuf};

/// A kind of file.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum FileKind {
    /// An ordinary file.
    File,
    /// A folder.
    Folder,
    /// A Unix socket.
    Socket,
    /// A device, a pipe or something else.
    Other,
}

/// What lies at a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct FileFacts {
    /// Its absolute path, without symbolic links and `..`.
    pub path: PathBuf,
    /// What it is.
    pub kind: FileKind,
    /// The number of the user who owns it.
    pub owner: u32,
}

impl FileFacts {
    /// Returns what lies at `path` now, following symbolic links. Blocking.
    ///
    /// # Errors
    ///
    /// There is nothing, or it cannot be reached.
    pub fn of(path: &Path) -> io::Result<Self> {
        let path = std::fs::canonicalize(path)?;
        // What is canonical has no link at its end, unless it was put there meanwhile: then it is of another kind.
        let metadata = std::fs::symlink_metadata(&path)?;
        let kind = match metadata.file_type() {
            kind if kind.is_file() => FileKind::File,
            kind if kind.is_dir() => FileKind::Folder,
            kind if kind.is_socket() => FileKind::Socket,
            _ => FileKind::Other,
        };
        Ok(Self { path, kind, owner: metadata.uid() })
    }
}

/// Returns the number of the user whose rights this process has.
#[must_use]
pub fn effective_user() -> u32 {
    rustix::process::geteuid().as_raw()
}
