//! The machine's file system.
#![expect(clippy::disallowed_methods, clippy::disallowed_types, reason = "this is the door")]

use std::fmt;
use std::fs;
use std::io::{self, Read as _, Write as _};
use std::os::unix::fs::{FileExt as _, MetadataExt as _, OpenOptionsExt as _};
use std::path::{Path, PathBuf};
use std::sync::Arc;

use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};

use super::{DirEntry, DiskSpace, File, Fs, FsError, FsOperation};

/// Bytes of a block as `stat` counts them, whatever the file system's own block size is.
const STAT_BLOCK_BYTES: u64 = 512;

/// The machine's file system.
#[derive(Debug, Default)]
pub struct SystemFs;

impl SystemFs {
    /// Returns the machine's file system.
    ///
    /// Lets the process have as many files open as the system allows: a store keeps one open for each of its blocks,
    /// and the usual limit, 1,024, is that of three years of them.
    #[must_use]
    pub fn new() -> Arc<Self> {
        raise_open_files_limit();
        Arc::new(Self)
    }
}

fn raise_open_files_limit() {
    let limit = getrlimit(Resource::Nofile);
    if limit.current != limit.maximum {
        // Where it is refused, the limit that there is serves for long enough.
        _ = setrlimit(Resource::Nofile, Rlimit { current: limit.maximum, ..limit });
    }
}

impl Fs for SystemFs {
    fn create_dir_all(&self, path: &Path) -> Result<(), FsError> {
        let error = |source| FsError::new(FsOperation::CreateDir, path, source);
        let missing: Vec<&Path> = path
            .ancestors()
            .take_while(|ancestor| !ancestor.as_os_str().is_empty() && !ancestor.exists())
            .collect();
        for folder in missing.into_iter().rev() {
            match fs::create_dir(folder) {
                Err(source) if source.kind() != io::ErrorKind::AlreadyExists => {
                    return Err(error(source));
                }
                _ => self.sync_dir(parent_of(folder))?,
            }
        }
        if path.is_dir() { Ok(()) } else { Err(error(io::ErrorKind::NotADirectory.into())) }
    }

    fn create(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        open(
            path,
            FsOperation::Create,
            fs::OpenOptions::new().read(true).append(true).create_new(true),
        )
    }

    fn create_private(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        open(
            path,
            FsOperation::Create,
            fs::OpenOptions::new().read(true).append(true).create_new(true).mode(0o600),
        )
    }

    fn open(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        open(path, FsOperation::Open, fs::OpenOptions::new().read(true))
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        open(path, FsOperation::Open, fs::OpenOptions::new().read(true).append(true))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FsError> {
        let error = |source| FsError::new(FsOperation::Read, path, source);
        let mut content = Vec::new();
        let file = fs::File::open(path).map_err(error)?;
        file.take(bytes_max.saturating_add(1)).read_to_end(&mut content).map_err(error)?;
        if content.len() as u64 > bytes_max {
            return Err(error(io::ErrorKind::FileTooLarge.into()));
        }
        Ok(content)
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, FsError> {
        let error = |source| FsError::new(FsOperation::List, path, source);
        let mut entries = Vec::new();
        for entry in fs::read_dir(path).map_err(error)? {
            let entry = entry.map_err(error)?;
            let Ok(name) = entry.file_name().into_string() else { continue };
            let is_dir = entry.file_type().map_err(error)?.is_dir();
            entries.push(DirEntry { name, is_dir });
        }
        entries.sort();
        Ok(entries)
    }

    fn exists(&self, path: &Path) -> Result<bool, FsError> {
        path.try_exists().map_err(|source| FsError::new(FsOperation::Stat, path, source))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError> {
        fs::rename(from, to).map_err(|source| FsError::new(FsOperation::Rename, from, source))
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        fs::remove_file(path).map_err(|source| FsError::new(FsOperation::Remove, path, source))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), FsError> {
        fs::remove_dir_all(path).map_err(|source| FsError::new(FsOperation::Remove, path, source))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), FsError> {
        fs::File::open(path)
            .and_then(|folder| folder.sync_all())
            .map_err(|source| FsError::new(FsOperation::SyncDir, path, source))
    }

    fn allocated_bytes(&self, path: &Path) -> Result<u64, FsError> {
        let metadata = match fs::symlink_metadata(path) {
            Ok(metadata) => metadata,
            Err(source) if source.kind() == io::ErrorKind::NotFound => return Ok(0),
            Err(source) => return Err(FsError::new(FsOperation::Stat, path, source)),
        };
        let mut bytes = metadata.blocks() * STAT_BLOCK_BYTES;
        if metadata.is_dir() {
            let entries = match self.list(path) {
                Err(error) if error.kind == super::FsErrorKind::NotFound => return Ok(0),
                listed => listed?,
            };
            for entry in entries {
                bytes += self.allocated_bytes(&path.join(entry.name))?;
            }
        }
        Ok(bytes)
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, FsError> {
        let stat = rustix::fs::statvfs(path)
            .map_err(|errno| FsError::new(FsOperation::Stat, path, errno.into()))?;
        Ok(DiskSpace {
            total_bytes: stat.f_blocks * stat.f_frsize,
            free_bytes: stat.f_bfree * stat.f_frsize,
            available_bytes: stat.f_bavail * stat.f_frsize,
            files: stat.f_files,
            files_free: stat.f_ffree,
        })
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn fmt::Debug + Send + Sync>, FsError> {
        let error = |source| FsError::new(FsOperation::Lock, path, source);
        let file = fs::OpenOptions::new()
            .read(true)
            .write(true)
            .create(true)
            .truncate(false)
            .open(path)
            .map_err(error)?;
        // The kernel gives the lock back when the process ends, however it ends.
        rustix::fs::flock(&file, rustix::fs::FlockOperation::NonBlockingLockExclusive)
            .map_err(|errno| error(errno.into()))?;
        Ok(Box::new(file))
    }
}

fn open(
    path: &Path,
    operation: FsOperation,
    options: &fs::OpenOptions,
) -> Result<Box<dyn File>, FsError> {
    let file = options.open(path).map_err(|source| FsError::new(operation, path, source))?;
    Ok(Box::new(SystemFile { path: path.to_owned(), file }))
}

fn parent_of(path: &Path) -> &Path {
    match path.parent() {
        Some(parent) if !parent.as_os_str().is_empty() => parent,
        _ => Path::new("."),
    }
}

#[derive(Debug)]
struct SystemFile {
    path: PathBuf,
    file: fs::File,
}

impl SystemFile {
    fn error(&self, operation: FsOperation) -> impl FnOnce(io::Error) -> FsError + '_ {
        move |source| FsError::new(operation, &self.path, source)
    }
}

impl File for SystemFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        (&self.file).write_all(bytes).map_err(self.error(FsOperation::Append))
    }

    fn sync_data(&mut self) -> Result<(), FsError> {
        self.file.sync_data().map_err(self.error(FsOperation::SyncData))
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FsError> {
        self.file.read_exact_at(buffer, offset).map_err(self.error(FsOperation::Read))
    }

    fn byte_len(&self) -> Result<u64, FsError> {
        let metadata = self.file.metadata().map_err(self.error(FsOperation::Stat))?;
        Ok(metadata.len())
    }

    fn truncate(&mut self, len: u64) -> Result<(), FsError> {
        self.file.set_len(len).map_err(self.error(FsOperation::Truncate))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn as_many_files_may_be_open_as_the_system_allows() {
        let allowed = getrlimit(Resource::Nofile);
        setrlimit(Resource::Nofile, Rlimit { current: Some(256), ..allowed }).expect("lowered");
        drop(SystemFs::new());
        assert_eq!(getrlimit(Resource::Nofile).current, allowed.maximum);
    }
}
