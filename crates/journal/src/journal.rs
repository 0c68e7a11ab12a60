//! Appending.

use std::future::Future;
use std::mem;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use parking_lot::{Condvar, Mutex};
use platform::{Fs, Histogram, HistogramSnapshot};
use tokio::sync::watch;

use crate::catalog::Catalog;
use crate::frame::{FRAME_HEADER_BYTES, encode_frame};
use crate::progress::Progress;
use crate::reader::{ReadEnd, read};
use crate::recovery::{repair, scan};
use crate::writer::{WriteFailure, Writer};
use crate::{JournalConfig, JournalError, RECORD_BYTES_LIMIT, Recovery, SegmentInfo, Sequence};

/// What each of the two buffers keeps of its memory after a commit, in bytes.
const BUFFER_KEPT_BYTES: usize = 8 << 20;

/// A durable append-only log in a folder of its own.
///
/// Records are queued by [`Journal::append`] and written by [`Journal::commit`], which one thread calls in a loop
/// with [`Journal::wait_for_pending`]: all that was queued while the disk was busy shares one write and one sync.
/// Two buffers change places, so that appending goes on during the write.
///
/// # Failures
///
/// After a failed write or sync what the disk holds is not known, and a second sync could succeed without having
/// written anything. Nothing is retried: the journal is *poisoned*, and refuses writes until it is opened again.
/// A disk that is full at an append is the one exception, because it can be undone: the segment is cut back to its
/// durable length and synced, all queued records are refused, and the journal is *full* until
/// [`Journal::resume`]. Should any step of that fail, the journal is poisoned.
/// An owner for which refused records are of no further use can undo a poisoning the same way: [`Journal::restore`].
#[derive(Debug)]
pub struct Journal {
    // Lock order: `files`, then `queue`. The locks within `progress` and `catalog` are taken last and for moments only.
    files: Mutex<Files>,
    queue: Mutex<Queue>,
    pending: Condvar,
    progress: watch::Sender<Progress>,
    counts: Counts,
    fs: Arc<dyn Fs>,
    catalog: Arc<Catalog>,
    record_bytes_max: usize,
    pending_bytes_max: usize,
}

/// Upper bounds of the buckets for how many records share a commit.
const COMMIT_RECORD_BOUNDS: &[u64] = &[1, 2, 5, 10, 20, 50, 100, 200, 500, 1_000];

/// What was done since the journal was opened.
#[derive(Debug)]
struct Counts {
    commit_records: Histogram,
    committed_bytes: AtomicU64,
    failures: AtomicU64,
}

/// What a journal says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct JournalStats {
    /// How many records each commit made durable; commits of nothing are not counted.
    pub commit_records: HistogramSnapshot,
    /// Bytes of all commits.
    pub committed_bytes: u64,
    /// Writes that the disk refused or that left it in an unknown state.
    pub failures: u64,
    /// Bytes of records that wait for a commit.
    pub pending_bytes: u64,
    /// Records that wait for a commit.
    pub pending_records: u64,
}

#[derive(Debug)]
struct Files {
    writer: Writer,
    /// The buffer that is being written, empty between commits.
    frames: Vec<u8>,
}

#[derive(Debug)]
struct Queue {
    frames: Vec<u8>,
    /// The last sequence that was given out.
    last: Sequence,
    /// The last sequence that was handed to a commit or refused.
    taken: Sequence,
    state: State,
    closed: bool,
}

#[derive(Clone, Debug)]
enum State {
    Ready,
    Full(String),
    Poisoned(String),
    Closed,
}

impl State {
    fn require_ready(&self) -> Result<(), JournalError> {
        match self {
            Self::Ready => Ok(()),
            Self::Full(reason) => Err(JournalError::Full { reason: reason.clone() }),
            Self::Poisoned(reason) => Err(JournalError::Poisoned { reason: reason.clone() }),
            Self::Closed => Err(JournalError::Closed),
        }
    }
}

impl Journal {
    /// Recovers the journal in `dir`, created if missing: visits every valid record in order, then is ready to append.
    ///
    /// What was left of an unfinished write at the end of the last segment is cut. Damage is never cut: the segment
    /// is renamed to `….damaged` and stays readable, its valid records are visited, and it is reported now and at
    /// each opening until [`Journal::remove_before`] has passed it.
    /// Everything visited is durable once this returns. Reads each segment once; memory is bounded by the longest
    /// record. The owner sees to it that the folder is opened once at a time.
    ///
    /// # Errors
    ///
    /// [`JournalError::UnknownVersion`] for the segment of a newer program, before anything is changed, and
    /// [`JournalError::Fs`] when a file cannot be read or repaired.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: JournalConfig,
        visit: &mut dyn FnMut(Sequence, &[u8]),
    ) -> Result<(Self, Recovery), JournalError> {
        Self::open_from(fs, dir, config, Sequence::ZERO, visit)
    }

    /// As [`Journal::open`], but visits only the records from `from` on.
    ///
    /// Of a segment whose records are all before `from`, the header is checked and nothing else is read: damage in it
    /// is met by [`Journal::read`] or found by [`verify`](crate::verify). The last segment and those that were set
    /// aside are read in any case.
    ///
    /// # Errors
    ///
    /// As [`Journal::open`].
    pub fn open_from(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: JournalConfig,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[u8]),
    ) -> Result<(Self, Recovery), JournalError> {
        fs.create_dir_all(dir)?;
        let mut scan = scan(fs.as_ref(), dir, from, visit)?;
        let segments = scan.segments.len() as u64;
        let torn_bytes = scan.segments.iter().map(|segment| segment.torn_bytes).sum();
        let kept = repair(fs.as_ref(), dir, &mut scan)?;
        let writer = Writer::new(Arc::clone(&fs), dir, &config, kept, scan.last)?;
        let last = scan.last;
        let queue =
            Queue { frames: Vec::new(), last, taken: last, state: State::Ready, closed: false };
        let pending_bytes_max = config.pending_bytes_max;
        let journal = Self {
            catalog: writer.catalog(),
            fs,
            files: Mutex::new(Files { writer, frames: Vec::new() }),
            queue: Mutex::new(queue),
            pending: Condvar::new(),
            progress: watch::Sender::new(Progress::new(last)),
            counts: Counts {
                commit_records: Histogram::new(COMMIT_RECORD_BOUNDS),
                committed_bytes: AtomicU64::new(0),
                failures: AtomicU64::new(0),
            },
            record_bytes_max: config
                .record_bytes_max
                .min(RECORD_BYTES_LIMIT)
                .min(pending_bytes_max.saturating_sub(FRAME_HEADER_BYTES)),
            pending_bytes_max,
        };
        let set_aside = scan.damage;
        Ok((journal, Recovery { records: scan.records, segments, last, torn_bytes, set_aside }))
    }

    /// Queues a record and returns its sequence; never touches the disk. Copies the record once.
    ///
    /// The record is not durable before [`Journal::durable`] says so.
    ///
    /// # Errors
    ///
    /// [`JournalError::RecordTooLarge`], [`JournalError::Overloaded`] while the queue is full,
    /// [`JournalError::Poisoned`], [`JournalError::Full`], [`JournalError::Closed`]. Nothing is queued then.
    pub fn append(&self, record: &[u8]) -> Result<Sequence, JournalError> {
        let mut queue = self.queue.lock();
        let sequence = self.queue_record(&mut queue, record)?;
        drop(queue);
        self.pending.notify_one();
        Ok(sequence)
    }

    /// Queues records under contiguous sequences, all of them or none; returns the first and the last sequence, or
    /// `None` where there are no records. Otherwise as [`Journal::append`].
    ///
    /// They share one write, but a crash can leave the first ones of them: each record is whole or not there.
    ///
    /// # Errors
    ///
    /// As [`Journal::append`]. Nothing is queued then.
    pub fn append_all<'a>(
        &self,
        records: impl IntoIterator<Item = &'a [u8]>,
    ) -> Result<Option<(Sequence, Sequence)>, JournalError> {
        let mut queue = self.queue.lock();
        let (bytes, last) = (queue.frames.len(), queue.last);
        for record in records {
            if let Err(error) = self.queue_record(&mut queue, record) {
                queue.frames.truncate(bytes);
                queue.last = last;
                return Err(error);
            }
        }
        let appended = (queue.last > last).then(|| (last.next(), queue.last));
        drop(queue);
        if appended.is_some() {
            self.pending.notify_one();
        }
        Ok(appended)
    }

    fn queue_record(&self, queue: &mut Queue, record: &[u8]) -> Result<Sequence, JournalError> {
        let too_large = JournalError::RecordTooLarge {
            bytes: record.len(),
            limit_bytes: self.record_bytes_max,
        };
        if record.len() > self.record_bytes_max {
            return Err(too_large);
        }
        queue.state.require_ready()?;
        let room = self.pending_bytes_max.saturating_sub(queue.frames.len());
        if record.len().saturating_add(FRAME_HEADER_BYTES) > room {
            return Err(JournalError::Overloaded { limit_bytes: self.pending_bytes_max });
        }
        let sequence = queue.last.next();
        if sequence == queue.last {
            return Err(JournalError::Exhausted);
        }
        encode_frame(sequence, record, &mut queue.frames).ok_or(too_large)?;
        queue.last = sequence;
        Ok(sequence)
    }

    /// Writes and syncs all that is queued, on the caller's thread; returns the last record that is durable.
    ///
    /// One write call and one sync, whatever the number of records. Callers wait for each other.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] and [`JournalError::Poisoned`], now or before: the queued records are refused then.
    /// [`JournalError::Closed`].
    pub fn commit(&self) -> Result<Sequence, JournalError> {
        self.commit_queued(&mut self.files.lock())
    }

    /// Blocks until something is queued, and returns true; false once the journal is closed or poisoned,
    /// because there is nothing left to commit.
    pub fn wait_for_pending(&self) -> bool {
        let mut queue = self.queue.lock();
        loop {
            match queue.state {
                State::Closed | State::Poisoned(_) => return false,
                State::Ready if queue.taken < queue.last => return true,
                State::Ready | State::Full(_) => self.pending.wait(&mut queue),
            }
        }
    }

    /// As [`Journal::wait_for_pending`], for an owner that [restores](Journal::restore) the journal: goes on waiting
    /// while it is poisoned, and returns false only once it is closed.
    pub fn wait_for_pending_or_close(&self) -> bool {
        let mut queue = self.queue.lock();
        loop {
            match queue.state {
                _ if queue.closed => return false,
                State::Ready if queue.taken < queue.last => return true,
                _ => self.pending.wait(&mut queue),
            }
        }
    }

    /// Resolves once the record is durable, or once it is certain that this journal will not make it so.
    ///
    /// Cancellation safe: dropping the future changes nothing.
    ///
    /// # Errors
    ///
    /// [`JournalError::NotDurable`]. After [`JournalError::Full`] the record is not in the journal; after it was
    /// poisoned, the record may or may not be there when it is opened again.
    pub fn durable(
        &self,
        sequence: Sequence,
    ) -> impl Future<Output = Result<(), JournalError>> + Send + use<> {
        let mut progress = self.progress.subscribe();
        async move {
            match progress.wait_for(|progress| progress.outcome(sequence).is_some()).await {
                Ok(settled) => settled.outcome(sequence).unwrap_or(Err(JournalError::Closed)),
                Err(_) => Err(JournalError::Closed),
            }
        }
    }

    /// Returns at once what [`Journal::durable`] would resolve to, or `None` while that is open.
    pub fn outcome(&self, sequence: Sequence) -> Option<Result<(), JournalError>> {
        self.progress.borrow().outcome(sequence)
    }

    /// Visits durable records from `from` on, or from the oldest one if that is later, until the visitor wants no
    /// further one, damage was passed or there is no further one. Blocks; goes on beside appending, committing and
    /// removing.
    ///
    /// Going on where a call ended costs what is new; beginning elsewhere scans 256 KiB more, or the rest of a segment
    /// that was not read before. Damage is said in the log and skipped up to the next valid record; a segment that is
    /// removed meanwhile is passed over. The records and their sequences are as they were appended.
    ///
    /// # Errors
    ///
    /// [`JournalError::Fs`] when a file cannot be read; what was visited before was visited.
    pub fn read(
        &self,
        from: Sequence,
        visit: &mut dyn FnMut(Sequence, &[u8]) -> ControlFlow<()>,
    ) -> Result<ReadEnd, JournalError> {
        read(self.fs.as_ref(), &self.catalog, from, visit)
    }

    /// Returns the segments, the oldest first; the last one can be the one that is being written.
    pub fn segments(&self) -> Vec<SegmentInfo> {
        self.catalog.segments()
    }

    /// Returns the durable length of all segments, in bytes.
    pub fn bytes(&self) -> u64 {
        self.catalog.bytes()
    }

    /// Returns what was done since the journal was opened, and what waits.
    pub fn stats(&self) -> JournalStats {
        let (pending_bytes, pending_records) = {
            let queue = self.queue.lock();
            (queue.frames.len() as u64, queue.last.0.saturating_sub(queue.taken.0))
        };
        JournalStats {
            commit_records: self.counts.commit_records.snapshot(),
            committed_bytes: self.counts.committed_bytes.load(Ordering::Relaxed),
            failures: self.counts.failures.load(Ordering::Relaxed),
            pending_bytes,
            pending_records,
        }
    }

    /// Returns the last record that is durable.
    pub fn durable_sequence(&self) -> Sequence {
        self.progress.borrow().durable()
    }

    /// Commits, then begins a new segment; returns the first sequence of the new segment.
    ///
    /// Every record of a lower sequence is durable in the sense of the configuration, and can be removed with
    /// [`Journal::remove_before`] as soon as it is not needed. A segment without records is not followed by another.
    ///
    /// # Errors
    ///
    /// As [`Journal::commit`].
    pub fn cut(&self) -> Result<Sequence, JournalError> {
        let mut files = self.files.lock();
        let durable = self.commit_queued(&mut files)?;
        if let Some(first) = files.writer.empty_segment() {
            return Ok(first);
        }
        // Records that are queued meanwhile belong to the new segment.
        let first = self.queue.lock().taken.max(durable).next();
        match files.writer.begin_segment(first) {
            Ok(()) => Ok(first),
            Err(failure) => Err(self.fail(failure)),
        }
    }

    /// Deletes closed segments whose records are all before `sequence`, the oldest first; returns how many.
    ///
    /// Durable when it returns. Segments that were set aside are moved to the folder `damaged` and not counted.
    ///
    /// # Errors
    ///
    /// [`JournalError::Fs`]; it can be called again.
    pub fn remove_before(&self, sequence: Sequence) -> Result<u64, JournalError> {
        self.files.lock().writer.remove_before(sequence)
    }

    /// Returns why writes are refused, if they are: poisoned until opened again, or full until resumed.
    pub fn poisoned(&self) -> Option<String> {
        match &self.queue.lock().state {
            State::Full(reason) | State::Poisoned(reason) => Some(reason.clone()),
            State::Ready | State::Closed => None,
        }
    }

    /// Takes writes again after the disk was full, in a new segment whose header accounts for what was refused.
    ///
    /// Everything that was queued when the disk was full is lost, and [`Journal::durable`] says so for each record:
    /// an owner whose records depend on earlier ones must write those again. That is why this is not automatic.
    /// Does nothing if the journal takes writes.
    ///
    /// # Errors
    ///
    /// [`JournalError::Full`] while there is no space, [`JournalError::Poisoned`], [`JournalError::Closed`].
    pub fn resume(&self) -> Result<(), JournalError> {
        let mut files = self.files.lock();
        let first = {
            let queue = self.queue.lock();
            match &queue.state {
                State::Full(_) => queue.last.next(),
                state => return state.require_ready(),
            }
        };
        files.writer.begin_segment(first).map_err(|failure| self.fail(failure))?;
        self.queue.lock().state = State::Ready;
        Ok(())
    }

    /// Takes writes again after it was poisoned, in a new segment whose header accounts for what was refused.
    ///
    /// The segment being written is cut back to its durable length and synced. That is no second try at the sync that
    /// failed: the bytes that it was about are gone, and the ones before them were synced with success. Everything that
    /// was queued is lost, and [`Journal::durable`] says so for each record. Why that is safe, and when not:
    /// `docs/adr/0014-the-event-log-restores-its-journal.md`. Does nothing if the journal takes writes.
    ///
    /// # Errors
    ///
    /// [`JournalError::Poisoned`] when a step of it fails; it can be called again, better not at once.
    /// [`JournalError::Full`], which [`Journal::resume`] ends, and [`JournalError::Closed`].
    pub fn restore(&self) -> Result<(), JournalError> {
        let mut files = self.files.lock();
        let last = {
            let queue = self.queue.lock();
            match &queue.state {
                _ if queue.closed => return Err(JournalError::Closed),
                State::Poisoned(_) => queue.last,
                state => return state.require_ready(),
            }
        };
        if let Err(WriteFailure::Full(error) | WriteFailure::Unknown(error)) =
            files.writer.restore(last.next())
        {
            let reason = format!("{error}: {}", error.source);
            self.queue.lock().state = State::Poisoned(reason.clone());
            return Err(JournalError::Poisoned { reason });
        }
        // Before anything is appended: what comes now must not be taken for what was refused.
        self.progress.send_modify(|progress| progress.begin_again(last));
        self.queue.lock().state = State::Ready;
        Ok(())
    }

    /// Commits what is queued, syncs it whatever the durability, wakes all waiters and refuses everything from then on.
    ///
    /// A failure shows in [`Journal::durable`] and [`Journal::poisoned`]; closing twice does nothing.
    pub fn close(&self) {
        let mut files = self.files.lock();
        let synced = self
            .commit_queued(&mut files)
            .and_then(|_| files.writer.sync().map_err(|failure| self.fail(failure)));
        let mut queue = self.queue.lock();
        if let Err(error) = synced
            && !matches!(error, JournalError::Closed)
        {
            tracing::error!(error = %error, "journal closed without writing all records");
        }
        if matches!(queue.state, State::Ready | State::Full(_)) {
            queue.state = State::Closed;
        }
        // Appended between the commit and here: never written, and its waiters are told so.
        queue.frames = Vec::new();
        queue.taken = queue.last;
        queue.closed = true;
        drop(queue);
        self.pending.notify_all();
        self.progress.send_modify(|progress| progress.end("journal is closed"));
    }

    fn commit_queued(&self, files: &mut Files) -> Result<Sequence, JournalError> {
        let (first, last) = {
            let mut queue = self.queue.lock();
            queue.state.require_ready()?;
            if queue.taken == queue.last {
                return Ok(self.durable_sequence());
            }
            mem::swap(&mut queue.frames, &mut files.frames);
            let first = queue.taken.next();
            queue.taken = queue.last;
            (first, queue.last)
        };
        let bytes = files.frames.len() as u64;
        let written = files.writer.write(&files.frames, first, last);
        files.frames.clear();
        files.frames.shrink_to(BUFFER_KEPT_BYTES);
        match written {
            Ok(()) => {
                self.counts.commit_records.add((last.0 - first.0).saturating_add(1));
                self.counts.committed_bytes.fetch_add(bytes, Ordering::Relaxed);
                self.progress.send_modify(|progress| progress.advance(last));
                Ok(last)
            }
            Err(failure) => {
                // None of this batch is durable, whatever part of it reached the file.
                Err(self.fail_from(failure, first))
            }
        }
    }

    fn fail(&self, failure: WriteFailure) -> JournalError {
        let first = self.queue.lock().taken.next();
        self.fail_from(failure, first)
    }

    /// Refuses the records from `first` on that were given out, and writes until further notice.
    fn fail_from(&self, failure: WriteFailure, first: Sequence) -> JournalError {
        let (error, poisons) = match failure {
            WriteFailure::Full(error) => (error, false),
            WriteFailure::Unknown(error) => (error, true),
        };
        self.counts.failures.fetch_add(1, Ordering::Relaxed);
        let reason = format!("{error}: {}", error.source);
        let mut queue = self.queue.lock();
        queue.frames = Vec::new();
        queue.taken = queue.last;
        let last = queue.last;
        queue.state =
            if poisons { State::Poisoned(reason.clone()) } else { State::Full(reason.clone()) };
        drop(queue);
        self.pending.notify_all();
        self.progress.send_modify(|progress| {
            if poisons {
                progress.end(&reason);
            } else if first <= last {
                progress.refuse(first, last, "the disk was full");
            }
        });
        if poisons { JournalError::Poisoned { reason } } else { JournalError::Full { reason } }
    }
}
