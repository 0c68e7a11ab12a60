//! A file system that counts what is done with it.

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use super::{DirEntry, DiskSpace, File, Fs, FsError, FsErrorKind, FsOperation};
use crate::{Clock, Histogram, HistogramSnapshot};

/// What was done with a file system since the start.
#[derive(Debug)]
pub struct FsStats {
    clock: Arc<dyn Clock>,
    operations: [OperationStats; FsOperation::ALL.len()],
    bytes_read: AtomicU64,
    bytes_written: AtomicU64,
}

#[derive(Debug)]
struct OperationStats {
    failed: AtomicU64,
    durations: Histogram,
}

impl FsStats {
    fn new(clock: Arc<dyn Clock>) -> Self {
        let empty =
            || OperationStats { failed: AtomicU64::new(0), durations: Histogram::of_durations() };
        Self {
            clock,
            operations: std::array::from_fn(|_| empty()),
            bytes_read: AtomicU64::new(0),
            bytes_written: AtomicU64::new(0),
        }
    }

    /// Returns how long the operations of a kind took, in nanoseconds, failed ones included.
    #[must_use]
    pub fn durations(&self, operation: FsOperation) -> HistogramSnapshot {
        self.of(operation).durations.snapshot()
    }

    /// Returns how many operations of a kind the disk refused. That a file is missing, is there already or is locked
    /// is an answer, not a failure.
    #[must_use]
    pub fn failed(&self, operation: FsOperation) -> u64 {
        self.of(operation).failed.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were read.
    #[must_use]
    pub fn bytes_read(&self) -> u64 {
        self.bytes_read.load(Ordering::Relaxed)
    }

    /// Returns how many bytes were appended.
    #[must_use]
    pub fn bytes_written(&self) -> u64 {
        self.bytes_written.load(Ordering::Relaxed)
    }

    fn of(&self, operation: FsOperation) -> &OperationStats {
        &self.operations[operation as usize]
    }

    fn measure<T>(
        &self,
        operation: FsOperation,
        work: impl FnOnce() -> Result<T, FsError>,
    ) -> Result<T, FsError> {
        let begun = self.clock.monotonic();
        let done = work();
        self.count(operation, self.clock.monotonic().saturating_sub(begun), done.as_ref().err());
        done
    }

    fn count(&self, operation: FsOperation, took: Duration, error: Option<&FsError>) {
        let stats = self.of(operation);
        stats.durations.add_duration(took);
        let answers = [FsErrorKind::NotFound, FsErrorKind::AlreadyExists, FsErrorKind::Locked];
        if error.is_some_and(|error| !answers.contains(&error.kind)) {
            stats.failed.fetch_add(1, Ordering::Relaxed);
        }
    }
}

/// Passes everything on to another file system and counts it. An operation costs two looks at the clock more.
#[derive(Debug)]
pub struct MeteredFs {
    inner: Arc<dyn Fs>,
    stats: Arc<FsStats>,
}

impl MeteredFs {
    /// Returns a file system that is `inner`, counted.
    #[must_use]
    pub fn new(inner: Arc<dyn Fs>, clock: Arc<dyn Clock>) -> Arc<Self> {
        Arc::new(Self { inner, stats: Arc::new(FsStats::new(clock)) })
    }

    /// Returns what was counted so far, and will be.
    #[must_use]
    pub fn stats(&self) -> Arc<FsStats> {
        Arc::clone(&self.stats)
    }

    fn metered(&self, file: Box<dyn File>) -> Box<dyn File> {
        Box::new(MeteredFile { inner: file, stats: Arc::clone(&self.stats) })
    }
}

impl Fs for MeteredFs {
    fn create_dir_all(&self, path: &Path) -> Result<(), FsError> {
        self.stats.measure(FsOperation::CreateDir, || self.inner.create_dir_all(path))
    }

    fn create(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let file = self.stats.measure(FsOperation::Create, || self.inner.create(path))?;
        Ok(self.metered(file))
    }

    fn create_private(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let file = self.stats.measure(FsOperation::Create, || self.inner.create_private(path))?;
        Ok(self.metered(file))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let file = self.stats.measure(FsOperation::Open, || self.inner.open(path))?;
        Ok(self.metered(file))
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        let file = self.stats.measure(FsOperation::Open, || self.inner.open_append(path))?;
        Ok(self.metered(file))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FsError> {
        let read = self.stats.measure(FsOperation::Read, || self.inner.read(path, bytes_max))?;
        self.stats.bytes_read.fetch_add(read.len() as u64, Ordering::Relaxed);
        Ok(read)
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, FsError> {
        self.stats.measure(FsOperation::List, || self.inner.list(path))
    }

    fn exists(&self, path: &Path) -> Result<bool, FsError> {
        self.stats.measure(FsOperation::Stat, || self.inner.exists(path))
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Rename, || self.inner.rename(from, to))
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Remove, || self.inner.remove_file(path))
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Remove, || self.inner.remove_dir_all(path))
    }

    fn sync_dir(&self, path: &Path) -> Result<(), FsError> {
        self.stats.measure(FsOperation::SyncDir, || self.inner.sync_dir(path))
    }

    fn allocated_bytes(&self, path: &Path) -> Result<u64, FsError> {
        self.stats.measure(FsOperation::Stat, || self.inner.allocated_bytes(path))
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, FsError> {
        self.stats.measure(FsOperation::Stat, || self.inner.space(path))
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn fmt::Debug + Send + Sync>, FsError> {
        self.stats.measure(FsOperation::Lock, || self.inner.lock(path))
    }
}

#[derive(Debug)]
struct MeteredFile {
    inner: Box<dyn File>,
    stats: Arc<FsStats>,
}

impl File for MeteredFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Append, || self.inner.append(bytes))?;
        self.stats.bytes_written.fetch_add(bytes.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn sync_data(&mut self) -> Result<(), FsError> {
        self.stats.measure(FsOperation::SyncData, || self.inner.sync_data())
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Read, || self.inner.read_exact_at(buffer, offset))?;
        self.stats.bytes_read.fetch_add(buffer.len() as u64, Ordering::Relaxed);
        Ok(())
    }

    fn byte_len(&self) -> Result<u64, FsError> {
        self.stats.measure(FsOperation::Stat, || self.inner.byte_len())
    }

    fn truncate(&mut self, len: u64) -> Result<(), FsError> {
        self.stats.measure(FsOperation::Truncate, || self.inner.truncate(len))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{SimClock, SimFs, Timestamp};

    #[test]
    fn operations_bytes_and_failures_are_counted_by_kind() {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let disk = SimFs::new();
        let fs = MeteredFs::new(disk.clone(), Arc::new(clock));
        let stats = fs.stats();
        let path = Path::new("/file");
        let mut file = fs.create(path).expect("created");
        file.append(b"twelve bytes").expect("appended");
        file.read_exact_at(&mut [0; 4], 2).expect("read");
        assert_eq!(fs.read(path, 100).expect("read").len(), 12);
        let missing = fs.open(Path::new("/missing")).expect_err("nothing is there");
        assert_eq!(missing.kind, FsErrorKind::NotFound);
        assert_eq!((stats.bytes_written(), stats.bytes_read()), (12, 16));
        assert_eq!(stats.durations(FsOperation::Read).count(), 2);
        assert_eq!(stats.durations(FsOperation::Append).count(), 1);
        assert_eq!(stats.durations(FsOperation::Open).count(), 1);
        assert_eq!(stats.failed(FsOperation::Open), 0, "an answer is no failure");

        disk.fail_next(FsOperation::Append, std::io::ErrorKind::StorageFull);
        file.append(b"more").expect_err("the disk is full");
        assert_eq!(stats.failed(FsOperation::Append), 1);
        assert_eq!(stats.bytes_written(), 12);
    }

    #[test]
    fn each_kind_has_a_place_and_a_name_of_its_own() {
        for (index, operation) in FsOperation::ALL.into_iter().enumerate() {
            assert_eq!(operation as usize, index);
        }
        let mut names: Vec<&str> = FsOperation::ALL.iter().map(|one| one.as_str()).collect();
        names.sort_unstable();
        names.dedup();
        assert_eq!(names.len(), FsOperation::ALL.len());
    }
}
