//! The event log on a journal of this machine.
//!
//! Every event is one record, whose sequence is the event's offset (`docs/formats/event-log.md`). The log has no thread
//! of its own: its owner commits, and maintains it from time to time.

mod config;
pub(crate) mod consumers;
mod core;
mod cursor;
mod dead_letters;
mod reading;
mod record;
mod retention;
mod source;
#[cfg(test)]
mod tests;
mod upkeep;
mod verify;

use std::fmt;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::Ordering;

use futures_util::future::BoxFuture;
use journal::{Journal, JournalConfig, JournalError, Recovery, Sequence};
use model::Timestamp;
use parking_lot::Mutex;
use platform::{Clock, Fs, FsError};
use tokio::sync::watch;

use crate::deduplication::{Deduplication, DeduplicationConfig, DeduplicationError, KeyEntry};
use crate::{
    Batch, Bounds, Consumer, ConsumerConfig, EventLog, LogError, LogStats, Offset, Outcome, Page,
    ReadLimits,
};

pub use config::EmbeddedConfig;
pub use dead_letters::{
    DeadLettersConfig, DeadLettersMaintenance, DeadLettersOpening, DeadLettersStats,
    EmbeddedDeadLetters,
};
pub use upkeep::LogMaintenance;
pub use verify::{LogVerifyReport, verify};

use self::core::{Core, Counts, Intake, unavailable};
use consumers::Consumers;
use reading::read_to_end;
use record::{RECORD_HEADER_BYTES, Record};
use retention::Retention;
use source::LogSource;
use upkeep::Backoff;

/// The folder of the journal within that of the log.
pub(crate) const LOG_DIR: &str = "log";

/// The folder of the deduplication within that of the log.
const DEDUPLICATION_DIR: &str = "deduplication";

/// The folder of the consumers within that of the log.
const CONSUMERS_DIR: &str = "consumers";

/// What a record can be longer than its envelope: its header and the texts before the envelope.
const RECORD_OVERHEAD_BYTES: usize = RECORD_HEADER_BYTES + u8::MAX as usize + u16::MAX as usize;

/// The part of the bytes that the log may have which one segment takes at most: so much is removed at once.
const SEGMENTS_PER_LOG: u64 = 8;

/// The event log in a folder of its own.
///
/// Its owner calls [`commit_pending`](Self::commit_pending) in a loop with [`wait_for_pending`](Self::wait_for_pending)
/// on one thread, and [`maintain`](Self::maintain) every few seconds on another.
///
/// # Failures
///
/// While the disk is full or fails, events are refused with [`LogError::Unavailable`], and reading goes on. Maintaining
/// lets the log go on by itself: as soon as there is room, or once the disk takes what is written again, which is
/// tried at growing intervals. What was refused is gone then; what was acknowledged never is.
///
/// # Time
///
/// Segments are removed by the wall clock. One that jumps ahead is believed after an hour, one that is set back at
/// once; events that arrived while it was wrong are kept for too long, or shorter by what one segment spans.
#[derive(Debug)]
pub struct EmbeddedLog {
    core: Arc<Core>,
    _lock: Box<dyn fmt::Debug + Send + Sync>,
}

/// What opening a log found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogOpening {
    /// Segments of the log.
    pub segments: u64,
    /// Entries that were read to know their keys.
    pub entries_read: u64,
    /// Bytes of unfinished writes that were cut from the end.
    pub torn_bytes: u64,
    /// What is damaged, each with the file and the reason.
    pub damage: Vec<String>,
}

/// Why a log could not be opened.
#[derive(Debug, thiserror::Error)]
pub enum OpenError {
    /// The journal could not be opened or read.
    #[error("journal of the event log")]
    Journal(#[from] JournalError),
    /// The folder could not be used.
    #[error("folder of the event log")]
    Fs(#[from] FsError),
    /// The keys could not be read.
    #[error("deduplication of the event log: {reason}")]
    Deduplication {
        /// Why.
        reason: String,
    },
}

impl EmbeddedLog {
    /// Opens the log in `dir`, created if missing.
    ///
    /// Reads the last segment, and of the others what arrived within the window of deduplication and is not in its
    /// files; of the rest only headers.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`platform::FsErrorKind::Locked`] when it is open already.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: Arc<dyn Clock>,
        config: EmbeddedConfig,
    ) -> Result<(Self, LogOpening), OpenError> {
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("lock"))?;
        let (journal, recovery) = Journal::open_from(
            Arc::clone(&fs),
            &dir.join(LOG_DIR),
            journal_config(&config),
            Sequence(u64::MAX),
            &mut |_, _| {},
        )?;
        let last = Offset(recovery.last.0);
        let consumers =
            Consumers::open(Arc::clone(&fs), &dir.join(CONSUMERS_DIR), Arc::clone(&clock))?;
        let keys = Deduplication::open(
            Arc::clone(&fs),
            &dir.join(DEDUPLICATION_DIR),
            DeduplicationConfig::new(config.deduplication_window),
            Arc::clone(&clock),
            last.next(),
        )?;
        let core = Arc::new(Core {
            intake: Mutex::new(Intake::new(keys, last)),
            journal,
            retention: Mutex::new(Retention::new(clock.as_ref())),
            clock,
            config,
            end: watch::Sender::new(last.next()),
            consumers,
            held: Mutex::new(None),
            times: Mutex::default(),
            backoff: Mutex::new(Backoff::new()),
            counts: Counts::default(),
        });
        let entries_read = core.replay()?;
        let opening = LogOpening { entries_read, ..opening(&recovery) };
        Ok((Self { core, _lock: lock }, opening))
    }

    /// Blocks until something waits for the disk, and returns true; false once the log is closed.
    #[must_use]
    pub fn wait_for_pending(&self) -> bool {
        self.core.journal.wait_for_pending_or_close()
    }

    /// Makes durable what waits, with one write and one sync, on the caller's thread. Removes the oldest segments when
    /// the log has become too large.
    ///
    /// # Errors
    ///
    /// [`LogError`]; those who wait are told too. It need not be called again before something waits.
    pub fn commit_pending(&self) -> Result<(), LogError> {
        let committed = self.core.journal.commit();
        self.core.settle();
        committed.map_err(unavailable)?;
        self.core.keep_within_bytes()
    }

    /// Lets the log go on after a failure of the disk, removes what is too old or too much, and writes keys. Blocks.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the next call tries again.
    pub fn maintain(&self) -> Result<LogMaintenance, LogError> {
        self.core.maintain()
    }

    /// Makes durable what waits and refuses everything from then on. Reading goes on. Blocks.
    pub fn close(&self) {
        self.core.journal.close();
        self.core.settle();
        if let Err(error) = self.core.write_keys() {
            tracing::warn!(error = %error, "keys not written, the next start reads them from the log");
        }
    }
}

impl EventLog for EmbeddedLog {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Vec<Outcome>, LogError>> {
        Box::pin(Arc::clone(&self.core).append(batch))
    }

    fn bounds(&self) -> BoxFuture<'_, Result<Bounds, LogError>> {
        Box::pin(std::future::ready(Ok(self.core.bounds())))
    }

    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Page, LogError>> {
        Box::pin(Arc::clone(&self.core).read(from, limits))
    }

    fn offset_at(&self, time: Timestamp) -> BoxFuture<'_, Result<Offset, LogError>> {
        Box::pin(Arc::clone(&self.core).offset_at(time))
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.core.end.subscribe()
    }

    fn consumer(
        &self,
        config: ConsumerConfig,
    ) -> BoxFuture<'_, Result<Box<dyn Consumer>, LogError>> {
        let source = Arc::new(LogSource(Arc::clone(&self.core)));
        Box::pin(self.core.consumers.consumer(config, source))
    }

    fn stats(&self) -> LogStats {
        let core = &self.core;
        let bounds = core.bounds();
        let intake = core.intake.lock();
        LogStats {
            bounds,
            bytes: core.journal.bytes(),
            stored: core.counts.stored.load(Ordering::Relaxed),
            duplicates: core.counts.duplicates.load(Ordering::Relaxed),
            conflicts: core.counts.conflicts.load(Ordering::Relaxed),
            keys: intake.keys.keys(),
            keys_memory_bytes: intake.keys.memory_bytes(),
            in_flight: intake.events as u64,
            consumer_lag: core.consumers.lag(bounds.end),
            redelivered: core.consumers.redelivered(),
            connected: true,
        }
    }

    fn refusal(&self) -> Option<String> {
        let held = || self.core.held.lock().as_ref().map(|held| held.error().to_string());
        self.core.journal.poisoned().or_else(held)
    }
}

impl Core {
    /// Reads the keys that the deduplication does not have; returns how many entries that took.
    fn replay(&self) -> Result<u64, OpenError> {
        let mut intake = self.intake.lock();
        let keys = &mut intake.keys;
        let now = keys.now();
        let covered = Sequence(keys.covered().next().0);
        let mut from = covered;
        for segment in self.journal.segments().iter().rev() {
            let window = self.config.deduplication_window;
            let first = self
                .first_at(segment)
                .map_err(|error| OpenError::Deduplication { reason: error.to_string() })?;
            from = covered.max(segment.first);
            if from == covered || first.is_some_and(|at| retention::before(now, window) > at) {
                break;
            }
        }
        let mut entries = 0_u64;
        let mut failed = None;
        read_to_end(&self.journal, from, &mut |sequence, bytes| {
            let Ok(record) = Record::decode(bytes) else { return };
            entries = entries.saturating_add(1);
            let Some(key) = record.key else { return };
            let replayed = keys.replay(&KeyEntry {
                key,
                fingerprint: record.fingerprint,
                offset: Offset(sequence.0),
                at: record.received_at,
                id: record.id,
            });
            if let Err(error) = replayed {
                failed.get_or_insert(error);
            }
        })?;
        keys.confirm(Offset(self.journal.durable_sequence().0));
        match failed {
            Some(error) => Err(error.into()),
            None => Ok(entries),
        }
    }
}

impl From<DeduplicationError> for OpenError {
    fn from(error: DeduplicationError) -> Self {
        match error {
            DeduplicationError::Fs(error) => Self::Fs(error),
            error @ DeduplicationError::Damaged { .. } => {
                Self::Deduplication { reason: error.to_string() }
            }
        }
    }
}

fn journal_config(config: &EmbeddedConfig) -> JournalConfig {
    let whole = config.bytes_max.unwrap_or(u64::MAX);
    JournalConfig {
        segment_bytes_max: config.segment_bytes_max.min(whole / SEGMENTS_PER_LOG),
        record_bytes_max: config.event_bytes_max.saturating_add(RECORD_OVERHEAD_BYTES),
        // What is in flight is bounded by the log; the journal adds its frames.
        pending_bytes_max: usize::MAX,
        durability: config.durability,
    }
}

fn opening(recovery: &Recovery) -> LogOpening {
    let damage =
        |set_aside: &journal::SetAside| format!("{}: {}", set_aside.path.display(), set_aside.kind);
    LogOpening {
        segments: recovery.segments,
        entries_read: 0,
        torn_bytes: recovery.torn_bytes,
        damage: recovery.set_aside.iter().map(damage).collect(),
    }
}
