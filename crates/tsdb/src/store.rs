//! The store: head, journal and blocks as one object.

use std::error::Error;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use journal::{Journal, JournalConfig, Sequence};
use model::{
    AppendError, AppendMode, AppendReceipt, Cancellation, CommitSequence, Durable, Matcher,
    MetricMetadata, SampleSink, Series, SeriesSource, SourceError, TimeRange, Timestamp,
    WriteBatch,
};
use parking_lot::{Mutex, RwLock};
use platform::{Clock, Fs, FsErrorKind, Rng};

use crate::hash::KeyedHash;
use crate::{
    Cardinality, Maintenance, RecoveryReport, StoreConfig, StoreError, StoreHealth, StoreStats,
};
pub use activity::StoreActivity;

use activity::{Activity, add_since};
use append::Bounds;
use maintain::{Condition, Upkeep};
use recover::Replay;
use state::{REASONS, State};

mod activity;
mod append;
pub(crate) mod blocks;
mod keys;
mod maintain;
pub(crate) mod manifest;
pub(crate) mod merge;
mod read;
mod recover;
mod state;

/// A time-series database in a folder.
///
/// Blocking, except for [`SampleSink::append`]: reads and maintenance wait for the disk.
/// Appended batches become durable when some thread calls [`Store::commit`].
/// Of two samples of a series at the same time the one that was appended later is read.
#[derive(Debug)]
pub struct Store {
    config: StoreConfig,
    dir: PathBuf,
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    // Lock order: upkeep, state, the journal's own; nothing is locked while `condition` is.
    upkeep: Mutex<Upkeep>,
    condition: Mutex<Condition>,
    state: RwLock<State>,
    journal: Journal,
    activity: Activity,
    /// Most active series from now on.
    series_max: AtomicU64,
    /// As [`StoreConfig::retention_ms`].
    retention_ms: AtomicI64,
    _lock: Box<dyn std::fmt::Debug + Send + Sync>,
}

impl Store {
    /// Opens the store in the folder `dir`, which is created if need be, and reads back what the journal holds.
    ///
    /// # Errors
    ///
    /// The folder is in use, cannot be read or written, or the journal holds what this version cannot read.
    /// Damaged blocks are no error: they are set aside and named in the report.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        dir: &Path,
        config: StoreConfig,
    ) -> Result<(Arc<Self>, RecoveryReport), StoreError> {
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("lock")).map_err(|error| match error.kind {
            FsErrorKind::Locked => StoreError::Locked { path: dir.to_owned() },
            _ => error.into(),
        })?;
        let mut report = RecoveryReport::default();
        let (mut manifest, blocks) = blocks::open(&fs, dir, &mut report)?;
        let mut state = State::new(KeyedHash::new(&*rng));
        let journal_dir = dir.join(JOURNAL_DIR);
        let mut replay = Replay::new(&mut state, &mut report, manifest.journal);
        let (journal, recovery) = Journal::open(
            Arc::clone(&fs),
            &journal_dir,
            journal_config(&config),
            &mut |sequence, record| replay.visit(sequence, record),
        )?;
        replay
            .finish(recovery.last)
            .map_err(|reason| StoreError::Damaged { path: journal_dir, reason })?;
        if manifest.journal > recovery.last.next() {
            // Sequences are given out again: what has them now is not what blocks hold.
            report.quarantined.push(format!(
                "journal: ends with record {}, and record {} was written to blocks",
                recovery.last,
                manifest.journal.0.saturating_sub(1)
            ));
            manifest.journal = recovery.last.next();
            manifest.write(&*fs, dir)?;
        }
        report.torn_bytes = recovery.torn_bytes;
        for aside in &recovery.set_aside {
            report.quarantined.push(format!("{}: {}", aside.path.display(), aside.kind));
        }
        report.blocks = blocks.len() as u64;
        state.blocks = blocks;
        state.counters = state::Counters::default();
        state.active_since = (state.active.samples > 0).then(|| clock.monotonic());
        state.appended_at = state.active_since;
        let condition = Condition { quarantined: report.quarantined.clone(), last_error: None };
        let series_max = AtomicU64::new(config.series_max);
        let retention_ms = AtomicI64::new(config.retention_ms);
        let store = Self {
            config,
            dir: dir.to_owned(),
            fs,
            clock,
            upkeep: Mutex::new(Upkeep::new(manifest)),
            condition: Mutex::new(condition),
            state: RwLock::new(state),
            journal,
            activity: Activity::new(),
            series_max,
            retention_ms,
            _lock: lock,
        };
        Ok((Arc::new(store), report))
    }

    /// Says how many series may be active from now on; `None` for as many as the configuration says. Those that there
    /// are go on. Cheap, and forgotten when the store is closed.
    pub fn set_series_max(&self, series_max: Option<u64>) {
        self.series_max.store(series_max.unwrap_or(self.config.series_max), Ordering::Relaxed);
    }

    /// Says how long samples are kept from now on, 0 for ever; `None` for as long as the configuration says. What is
    /// older is deleted by later maintenance. Cheap, and forgotten when the store is closed.
    pub fn set_retention(&self, retention: Option<Duration>) {
        let retention_ms = retention.map_or(self.config.retention_ms, |retention| {
            i64::try_from(retention.as_millis()).unwrap_or(i64::MAX)
        });
        self.retention_ms.store(retention_ms, Ordering::Relaxed);
    }

    /// Makes everything appended so far durable, on the caller's thread, and wakes those who wait for it.
    ///
    /// # Errors
    ///
    /// The disk refused; the store is read-only from now on.
    pub fn commit(&self) -> Result<CommitSequence, AppendError> {
        let begun = self.clock.monotonic();
        let committed = self.journal.commit();
        add_since(&self.activity.commits, begun, self.clock.monotonic());
        let sequence = committed.map_err(|error| append::append_error(&error))?;
        Ok(CommitSequence(sequence.0))
    }

    /// Waits until something is to be committed; false once the store is closed.
    ///
    /// `while store.wait_for_pending() { store.commit() }` is the loop of the thread that commits.
    #[must_use]
    pub fn wait_for_pending(&self) -> bool {
        self.journal.wait_for_pending()
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
        maintain::run(self)
    }

    /// Returns what is known about a metric, or about all of them, ascending by name.
    #[must_use]
    pub fn metadata(&self, metric: Option<&str>) -> Vec<(String, MetricMetadata)> {
        let state = self.state.read();
        let owned = |(name, metadata): (&String, &MetricMetadata)| (name.clone(), metadata.clone());
        match metric {
            Some(metric) => state.metadata.get_key_value(metric).map(owned).into_iter().collect(),
            None => state.metadata.iter().map(owned).collect(),
        }
    }

    /// Returns sizes and counts. Walks the folder: not for every request.
    #[must_use]
    pub fn stats(&self) -> StoreStats {
        self.stats_with(self.bytes_on_disk())
    }

    /// Returns the allocated bytes of all files. Walks the folder: not for every request.
    #[must_use]
    pub fn bytes_on_disk(&self) -> u64 {
        self.fs.allocated_bytes(&self.dir).unwrap_or(0)
    }

    /// Returns sizes and counts for a caller who knows how many bytes are on disk. Cheap.
    #[must_use]
    pub fn stats_with(&self, bytes_on_disk: u64) -> StoreStats {
        let state = self.state.read();
        let parts = [Some(&state.active), state.frozen.as_ref().map(|frozen| &frozen.generation)];
        let parts: Vec<_> = parts.into_iter().flatten().filter(|part| part.samples > 0).collect();
        let blocks = state.blocks.summary();
        let head_samples = parts.iter().map(|part| part.samples).sum::<u64>();
        let head_series = parts.iter().map(|part| part.active_series).max().unwrap_or(0);
        let times = parts.iter().map(|part| (part.oldest, part.newest)).chain(blocks.times);
        let (oldest, newest): (Vec<i64>, Vec<i64>) = times.unzip();
        let oldest = oldest.into_iter().min().map(Timestamp::from_millis);
        StoreStats {
            samples: blocks.samples + head_samples,
            series: u64::from(state.index.series_count()).max(blocks.series_max),
            bytes_on_disk,
            oldest: oldest.map(|oldest| oldest.max(self.oldest_kept())),
            newest: newest.into_iter().max().map(Timestamp::from_millis),
            head_series,
            head_samples,
            head_bytes: state.bytes(),
            blocks: state.blocks.len() as u64,
            samples_appended_total: state.counters.appended,
            samples_out_of_order_total: state.counters.out_of_order,
            samples_replaced_total: state.counters.replaced,
            samples_rejected_total: REASONS.into_iter().zip(state.counters.rejected).collect(),
            metadata_dropped_total: state.counters.metadata_dropped,
        }
    }

    /// Returns how many series there are. O(number of metric names).
    #[must_use]
    pub fn cardinality(&self) -> Cardinality {
        let state = self.state.read();
        let metrics = state.index.metrics();
        // Of several with as many series, the first by name.
        let largest = metrics.max_by_key(|(name, series)| (*series, std::cmp::Reverse(*name)));
        let (name, count) = largest.unwrap_or_default();
        Cardinality {
            total_series: u64::from(state.index.series_count()),
            unique_metrics: state.index.metrics().count() as u64,
            max_series_metric: name.to_owned(),
            max_series_count: count,
            series_limit: self.series_max.load(Ordering::Relaxed),
            per_metric_limit: self.config.series_per_metric_max,
        }
    }

    /// Returns what was done since the store was opened. Cheap.
    #[must_use]
    pub fn activity(&self) -> StoreActivity {
        self.activity.snapshot(self.journal.stats())
    }

    /// Returns what is wrong.
    #[must_use]
    pub fn health(&self) -> StoreHealth {
        let suspended = self.state.read().suspended.clone();
        let condition = self.condition.lock();
        StoreHealth {
            read_only: self.journal.poisoned().or(suspended),
            quarantined: condition.quarantined.clone(),
            last_maintenance_error: condition.last_error.clone(),
        }
    }

    /// Commits and ends [`Store::wait_for_pending`]. Reads go on; writes are refused.
    pub fn close(&self) {
        self.state.write().closed = true;
        self.journal.close();
    }

    /// Returns the earliest time that is kept.
    fn oldest_kept(&self) -> Timestamp {
        match self.retention_ms.load(Ordering::Relaxed) {
            0 => Timestamp::MIN,
            retention_ms => self.clock.now().saturating_add_millis(retention_ms.saturating_neg()),
        }
    }

    fn kept(&self, range: TimeRange) -> TimeRange {
        TimeRange::new(range.start.max(self.oldest_kept()), range.end)
    }
}

impl SampleSink for Store {
    fn append(
        &self,
        batch: &WriteBatch<'_>,
        mode: AppendMode,
    ) -> Result<AppendReceipt, AppendError> {
        let newest = self.clock.now().saturating_add_millis(self.config.future_ms_max);
        let series_max = self.series_max.load(Ordering::Relaxed);
        let bounds = Bounds { oldest: self.oldest_kept(), newest, series_max };
        let mut state = self.state.write();
        if state.closed {
            return Err(AppendError::ReadOnly { reason: "the store is closed".to_owned() });
        }
        if let Some(reason) = self.journal.poisoned().or_else(|| state.suspended.clone()) {
            return Err(AppendError::ReadOnly { reason });
        }
        let frozen = state.frozen.as_ref().map_or(0, |frozen| frozen.generation.sample_bytes());
        if state.active.sample_bytes() + frozen >= self.config.head_bytes_max {
            return Err(AppendError::Overloaded);
        }
        let receipt = append::append(&mut state, &self.config, &self.journal, bounds, batch, mode)?;
        let now = self.clock.monotonic();
        state.appended_at = Some(now);
        if state.active_since.is_none() && state.active.samples > 0 {
            state.active_since = Some(now);
        }
        Ok(receipt)
    }

    fn durable(&self, sequence: CommitSequence) -> Durable {
        let durable = self.journal.durable(Sequence(sequence.0));
        Box::pin(async move { durable.await.map_err(|error| append::append_error(&error)) })
    }
}

impl SeriesSource for Store {
    fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<Arc<dyn Series>>, SourceError> {
        cancellation.check()?;
        let range = self.kept(range);
        let view = read::view(&self.state, matchers, range, cancellation)?;
        let mut sources = view.head;
        sources.extend(view.blocks.select(matchers, range, cancellation)?);
        Ok(merge::merge_sources(sources, self.oldest_kept()))
    }

    fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        cancellation.check()?;
        let range = self.kept(range);
        let (mut names, blocks) = {
            let state = self.state.read();
            (state.label_names(matchers, range), state.blocks.clone())
        };
        blocks.label_names(matchers, range, cancellation, &mut names)?;
        Ok(names.into_iter().collect())
    }

    fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        cancellation.check()?;
        let range = self.kept(range);
        let (mut values, blocks) = {
            let state = self.state.read();
            (state.label_values(name, matchers, range), state.blocks.clone())
        };
        blocks.label_values(name, matchers, range, cancellation, &mut values)?;
        Ok(values.into_iter().collect())
    }
}

/// The folder of the journal within that of the store.
pub(crate) const JOURNAL_DIR: &str = "journal";

fn journal_config(config: &StoreConfig) -> JournalConfig {
    JournalConfig {
        record_bytes_max: config.record_bytes_max,
        pending_bytes_max: config.pending_bytes_max,
        durability: config.durability,
        ..JournalConfig::default()
    }
}

/// Returns an error with all its causes in one line.
pub(crate) fn chain(error: &dyn Error) -> String {
    let mut text = error.to_string();
    let mut source = error.source();
    while let Some(error) = source {
        text.extend([": ", &error.to_string()]);
        source = error.source();
    }
    text
}

#[cfg(test)]
mod tests;
