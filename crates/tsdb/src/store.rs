//! The store: everything above in one object.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{
    AppendError, AppendMode, AppendReceipt, Cancellation, CommitSequence, Durable, Matcher,
    MetricMetadata, SampleSink, Series, SeriesSource, SourceError, TimeRange, WriteBatch,
};
use platform::{Clock, Fs, FsErrorKind, Rng};

use crate::{
    Cardinality, Maintenance, RecoveryReport, StoreConfig, StoreError, StoreHealth, StoreStats,
};

/// A time-series database in a folder.
///
/// Blocking, except for [`SampleSink::append`]: reads and maintenance wait for the disk.
/// Appended batches become durable when some thread calls [`Store::commit`].
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    dir: PathBuf,
    fs: Arc<dyn Fs>,
    _lock: Box<dyn std::fmt::Debug + Send + Sync>,
}

impl Store {
    /// Opens the store in the folder `dir`, which is created if need be, and reads back what the journal holds.
    ///
    /// # Errors
    ///
    /// The folder is in use, or cannot be read or written. Damaged files are no error: they are put aside and
    /// named in the report.
    pub fn open(
        fs: Arc<dyn Fs>,
        _clock: Arc<dyn Clock>,
        _rng: Arc<dyn Rng>,
        dir: &Path,
        config: StoreConfig,
    ) -> Result<(Arc<Self>, RecoveryReport), StoreError> {
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("lock")).map_err(|error| match error.kind {
            FsErrorKind::Locked => StoreError::Locked { path: dir.to_owned() },
            _ => error.into(),
        })?;
        let store = Self { config, dir: dir.to_owned(), fs, _lock: lock };
        Ok((Arc::new(store), RecoveryReport::default()))
    }

    /// Makes everything appended so far durable, on the caller's thread, and wakes those who wait for it.
    ///
    /// # Errors
    ///
    /// The disk refused; the store is read-only from now on.
    pub fn commit(&self) -> Result<CommitSequence, AppendError> {
        Err(AppendError::ReadOnly { reason: "nothing can be stored yet".to_owned() })
    }

    /// Waits until something is to be committed; false once the store is closed.
    ///
    /// `while store.wait_for_pending() { store.commit() }` is the loop of the thread that commits.
    #[must_use]
    pub fn wait_for_pending(&self) -> bool {
        false
    }

    /// Does what is due: cuts and writes the head, merges blocks, deletes what retention no longer keeps.
    ///
    /// One step at a time; call it every few seconds. A failure leaves the store serving and shows in
    /// [`Store::health`]; the next call tries again.
    ///
    /// # Errors
    ///
    /// The disk refused.
    pub fn maintain(&self) -> Result<Maintenance, StoreError> {
        Ok(Maintenance::default())
    }

    /// Returns what is known about a metric, or about all of them, ascending by name.
    #[must_use]
    pub fn metadata(&self, _metric: Option<&str>) -> Vec<(String, MetricMetadata)> {
        Vec::new()
    }

    /// Returns sizes and counts. Walks the folder: not for every request.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        let bytes_on_disk = self.fs.allocated_bytes(&self.dir).unwrap_or(0);
        StoreStats { bytes_on_disk, ..StoreStats::default() }
    }

    /// Returns how many series there are. O(number of metric names).
    #[must_use]
    pub fn cardinality(&self) -> Cardinality {
        Cardinality {
            series_limit: self.config.series_max,
            per_metric_limit: self.config.series_per_metric_max,
            ..Cardinality::default()
        }
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        StoreHealth::default()
    }

    /// Commits and ends [`Store::wait_for_pending`]. Reads go on; writes are refused.
    pub fn close(&self) {}
}

impl SampleSink for Store {
    fn append(
        &self,
        _batch: &WriteBatch<'_>,
        _mode: AppendMode,
    ) -> Result<AppendReceipt, AppendError> {
        Err(AppendError::ReadOnly { reason: "nothing can be stored yet".to_owned() })
    }

    fn durable(&self, _sequence: CommitSequence) -> Durable {
        Box::pin(async {
            Err(AppendError::ReadOnly { reason: "nothing can be stored yet".to_owned() })
        })
    }
}

impl SeriesSource for Store {
    fn select(
        &self,
        _matchers: &[Matcher],
        _range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<Arc<dyn Series>>, SourceError> {
        cancellation.check().map(|()| Vec::new())
    }

    fn label_names(
        &self,
        _matchers: &[Matcher],
        _range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        cancellation.check().map(|()| Vec::new())
    }

    fn label_values(
        &self,
        _name: &str,
        _matchers: &[Matcher],
        _range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        cancellation.check().map(|()| Vec::new())
    }
}
