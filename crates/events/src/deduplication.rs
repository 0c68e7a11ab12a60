//! Which keys were stored within the window: an exact index, bounded in memory, that survives restarts.
//!
//! A [`Deduplication`] is told of each key twice: it is [reserved](Deduplication::reserve) when its event gets an
//! offset, and [confirmed](Deduplication::confirm) once that event is durable, or [forgotten](Deduplication::forget)
//! when it never will be. In between, whoever asks learns that the answer is still open.
//!
//! The youngest keys lie in a table. A full table is *frozen*; a [`Task`] writes it as a sorted, immutable file, of
//! which only a filter and one key of each block stay in memory (`docs/formats/deduplication.md`). The files are a
//! cache: what they do not hold is read from the log again at the next start, and a damaged one costs no more than
//! that.
//!
//! # Time
//!
//! The age of a key is counted on a clock of its own, [`Deduplication::now`]: the wall clock as it was at the start,
//! carried on by the monotonic clock. So nothing that happens to the wall clock meanwhile makes a key older or
//! younger. How far the wall clock has moved away is written down beside the files, with all keys, as soon as a task
//! can, and the next start corrects their times by it. What remains: a clock that is set back while the program is
//! stopped, or just before, lets keys live longer, by as much; one that is set ahead then cannot be told from a long
//! pause, and keys are forgotten early by as much.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use platform::{Clock, Fs, FsError};
use uuid::Uuid;

use crate::{EventKey, Offset};

mod file;
mod filter;
mod manifest;
mod open;
mod slot;
mod task;
#[cfg(test)]
mod tests;

use file::KeyFile;
use slot::{Slot, Table};
use task::{Context, Work, to_merge};
pub(crate) use task::{Finished, Task};

/// Keys in the table when it is frozen: what 2^18 buckets hold, 57 bytes each, 15 MB together.
const TABLE_KEYS_MAX: usize = (1 << 18) / 8 * 7;

/// Frozen tables that wait to be written. When all of them wait, new keys are refused.
const FROZEN_MAX: usize = 4;

/// Files are not merged into one that spans more than this part of the window, so that what is over is removed soon.
const MERGED_PER_WINDOW: i64 = 4;

/// A difference between the clocks that is written down at once, in milliseconds.
const CLOCK_STEP_MS: u64 = 1_000;

/// How the keys are kept.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct DeduplicationConfig {
    /// How long a key is remembered.
    pub(crate) window: Duration,
    /// Keys in the table when it is frozen.
    pub(crate) table_keys_max: usize,
}

impl DeduplicationConfig {
    /// Returns the configuration for a window.
    pub(crate) fn new(window: Duration) -> Self {
        Self { window, table_keys_max: TABLE_KEYS_MAX }
    }
}

/// What is to be remembered of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct KeyEntry<'a> {
    /// What a repetition is recognised by.
    pub(crate) key: EventKey,
    /// What tells a repetition from another event of the same key.
    pub(crate) fingerprint: u64,
    /// Where the event is in the log.
    pub(crate) offset: Offset,
    /// From when on its age counts: [`Deduplication::now`], or the time of arrival of what is read from the log.
    pub(crate) at: Timestamp,
    /// The identifier of the event.
    pub(crate) id: &'a str,
}

/// What is known of a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Check {
    /// It was not stored within the window, and [`Deduplication::reserve`] can be called now.
    New,
    /// It was not stored within the window, but there is no room for it until a [`Task`] is finished.
    Full,
    /// Its event got an offset and is not durable yet.
    Pending(Known),
    /// Its event is stored, durably.
    Known(Known),
}

/// The event that has a key.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Known {
    /// Where it is in the log.
    pub(crate) offset: Offset,
    /// Its identifier.
    pub(crate) id: KnownId,
    /// Whether it is what was asked about, and not another event of the same key.
    pub(crate) same_content: bool,
}

/// The identifier of a known event.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum KnownId {
    /// A UUID, in its canonical form.
    Uuid(Uuid),
    /// Something else, which has to be read from the log.
    InLog,
}

impl KnownId {
    /// Returns the identifier, unless it has to be read from the log.
    pub(crate) fn text(self) -> Option<Box<str>> {
        match self {
            Self::Uuid(uuid) => Some(uuid.hyphenated().to_string().into()),
            Self::InLog => None,
        }
    }
}

/// Why a key could not be looked up, or the index not be kept.
#[derive(Debug, thiserror::Error)]
pub(crate) enum DeduplicationError {
    /// A file operation failed.
    #[error("deduplication file operation failed")]
    Fs(#[from] FsError),
    /// What a file holds is not what was written.
    #[error("deduplication file '{}' is damaged: {reason}", path.display())]
    Damaged {
        /// Which.
        path: PathBuf,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// The keys of the events that were stored within the window.
///
/// Exact: within the window a key is known if and only if it was confirmed, and once it is older it is new.
#[derive(Debug)]
pub(crate) struct Deduplication {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    config: DeduplicationConfig,
    clock: Arc<dyn Clock>,
    /// The wall clock and the monotonic clock at the start.
    started: (Timestamp, Duration),
    /// Reserved and neither confirmed nor forgotten.
    pending: Table,
    /// The keys of `pending`, by offset.
    pending_order: VecDeque<(Offset, EventKey)>,
    table: Table,
    /// Everything up to here is confirmed.
    confirmed: Offset,
    /// Full tables, the oldest first.
    frozen: VecDeque<Arc<Frozen>>,
    /// Everything up to here is in files, or older than the window.
    covered: Offset,
    /// Ascending by offset.
    files: Vec<Arc<KeyFile>>,
    /// How far the wall clock was away when that was last written down, in milliseconds.
    noted_clock_ms: i64,
    /// Whether a [`Task`] is out.
    busy: bool,
}

/// A full table.
#[derive(Debug)]
struct Frozen {
    table: Table,
    /// The first and the last offset whose keys are in it.
    offsets: RangeInclusive<Offset>,
}

impl Deduplication {
    /// Returns the offset up to which no entry has to be replayed, itself included.
    pub(crate) fn covered(&self) -> Offset {
        self.covered
    }

    /// Takes the key of a durable entry from the log, at the start, in the order of the log. What is
    /// [covered](Deduplication::covered) or older than the window is passed over.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`], when a full table could not be written.
    pub(crate) fn replay(&mut self, entry: &KeyEntry<'_>) -> Result<(), DeduplicationError> {
        if entry.offset <= self.confirmed || self.is_over(entry.at, self.now()) {
            return Ok(());
        }
        while self.room() == 0
            && let Some(task) = self.next_task()
        {
            self.finish(task.run())?;
        }
        self.put(Slot::new(entry));
        self.confirmed = entry.offset;
        Ok(())
    }

    /// Returns the time that ages are counted in. Never goes back.
    pub(crate) fn now(&self) -> Timestamp {
        let (wall, monotonic) = self.started;
        let elapsed = self.clock.monotonic().saturating_sub(monotonic);
        wall.saturating_add_millis(millis(elapsed))
    }

    /// Says whether a key was stored before. `now` is [`Deduplication::now`], asked for once for many keys.
    ///
    /// Touches the disk when the key is in a file, and for about one of a thousand keys that are not.
    ///
    /// # Errors
    ///
    /// A file could not be read: whether the key was stored is not known.
    pub(crate) fn check(
        &self,
        key: EventKey,
        fingerprint: u64,
        now: Timestamp,
    ) -> Result<Check, DeduplicationError> {
        if let Some(slot) = self.pending.get(key) {
            return Ok(Check::Pending(known(slot, fingerprint)));
        }
        match self.find(key)? {
            Some(slot) if !self.is_over(slot.at, now) => {
                Ok(Check::Known(known(&slot, fingerprint)))
            }
            _ if self.room() == 0 => Ok(Check::Full),
            _ => Ok(Check::New),
        }
    }

    /// Returns how many keys can be reserved now.
    pub(crate) fn room(&self) -> usize {
        let tables = FROZEN_MAX + 1 - self.frozen.len().min(FROZEN_MAX);
        let taken = self.table.len() + self.pending.len();
        tables.saturating_mul(self.config.table_keys_max).saturating_sub(taken)
    }

    /// Notes that an event got its offset: from now on its key is pending.
    ///
    /// # Panics
    ///
    /// When the offset is not behind all those before, or the key is pending already.
    pub(crate) fn reserve(&mut self, entry: &KeyEntry<'_>) {
        let last = self.pending_order.back().map_or(self.confirmed, |(offset, _)| *offset);
        assert!(entry.offset > last, "offset {} is reserved after {last}", entry.offset);
        assert!(self.pending.get(entry.key).is_none(), "a pending key is reserved again");
        self.pending.put(Slot::new(entry));
        self.pending_order.push_back((entry.offset, entry.key));
    }

    /// Notes that all events up to `through`, itself included, are durable, unless they were forgotten.
    pub(crate) fn confirm(&mut self, through: Offset) {
        while let Some((offset, key)) = self.pending_order.front().copied()
            && offset <= through
        {
            self.pending_order.pop_front();
            if let Some(slot) = self.pending.remove(key) {
                self.put(slot);
            }
            self.confirmed = offset;
        }
        self.confirmed = self.confirmed.max(through);
    }

    /// Notes that the pending events of these offsets will never be durable: their keys are what they were before.
    pub(crate) fn forget(&mut self, offsets: RangeInclusive<Offset>) {
        let first = self.pending_order.partition_point(|(offset, _)| offset < offsets.start());
        let end = self.pending_order.partition_point(|(offset, _)| offset <= offsets.end());
        if first >= end {
            return;
        }
        for (_, key) in self.pending_order.drain(first..end) {
            self.pending.remove(key);
        }
    }

    /// Returns what is to be done on disk; nothing while a task is out.
    ///
    /// To be called again and again, from a thread that may block: new keys are refused when full tables are not
    /// written.
    pub(crate) fn next_task(&mut self) -> Option<Task> {
        if self.busy {
            return None;
        }
        let (now, window) = (self.now(), millis(self.config.window));
        let over = now.saturating_add_millis(-window);
        let clock_ms = self.clock.now().millis_since(now);
        let stepped = clock_ms.abs_diff(self.noted_clock_ms) >= CLOCK_STEP_MS;
        if stepped {
            // Times that are read from the log again could not be corrected.
            self.freeze();
        }
        let work = if let Some(frozen) = self.frozen.front() {
            Work::Write(Arc::clone(frozen))
        } else if stepped || self.files.iter().any(|file| *file.times.end() <= over) {
            Work::List
        } else {
            let span = window / MERGED_PER_WINDOW;
            Work::Merge(to_merge(&self.files, self.config.table_keys_max, span)?)
        };
        self.busy = true;
        let context = Context {
            fs: Arc::clone(&self.fs),
            dir: self.dir.clone(),
            files: self.files.clone(),
            covered: self.covered,
            clock_ms,
            over,
        };
        Some(Task { context, work })
    }

    /// Returns what is to be done on disk until all keys are in files; nothing while a task is out.
    ///
    /// For the end of the program: the next start is faster.
    pub(crate) fn next_write(&mut self) -> Option<Task> {
        self.freeze();
        if self.frozen.is_empty() { None } else { self.next_task() }
    }

    /// Takes what a task has done.
    ///
    /// # Errors
    ///
    /// Why it failed; the index is what it was, and the next task tries again.
    pub(crate) fn finish(&mut self, finished: Finished) -> Result<(), DeduplicationError> {
        self.busy = false;
        let done = finished.result?;
        self.files = done.files;
        self.covered = done.covered;
        self.noted_clock_ms = done.clock_ms;
        if done.wrote {
            self.frozen.pop_front();
        }
        Ok(())
    }

    /// Returns how many keys are remembered, those included whose time is over and that were not removed yet.
    pub(crate) fn keys(&self) -> u64 {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.table.len()).sum();
        let files: u64 = self.files.iter().map(|file| file.keys).sum();
        (self.pending.len() + self.table.len() + frozen) as u64 + files
    }

    /// Returns the memory that the keys take, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.table.memory_bytes()).sum();
        let order = self.pending_order.capacity() * size_of::<(Offset, EventKey)>();
        let files: usize = self.files.iter().map(|file| file.memory_bytes()).sum();
        (self.pending.memory_bytes() + order + self.table.memory_bytes() + frozen + files) as u64
    }

    fn find(&self, key: EventKey) -> Result<Option<Slot>, DeduplicationError> {
        // The youngest first: of several entries of a key, the last one counts.
        let frozen = self.frozen.iter().rev().map(|frozen| &frozen.table);
        let mut tables = std::iter::once(&self.table).chain(frozen);
        if let Some(slot) = tables.find_map(|table| table.get(key)) {
            return Ok(Some(*slot));
        }
        for file in self.files.iter().rev() {
            if let Some(slot) = file.find(key)? {
                return Ok(Some(slot));
            }
        }
        Ok(None)
    }

    fn is_over(&self, at: Timestamp, now: Timestamp) -> bool {
        now.millis_since(at) >= millis(self.config.window)
    }

    /// Puts a durable key into the table, which is frozen when it is full.
    fn put(&mut self, slot: Slot) {
        if self.table.len() >= self.config.table_keys_max {
            self.make_room();
        }
        self.table.put(slot);
    }

    /// Freezes the table, full or not.
    fn freeze(&mut self) {
        if self.frozen.len() < FROZEN_MAX && self.confirmed > self.frozen_through() {
            self.freeze_table();
        }
    }

    /// Removes what is over; if that is less than half of it, freezes the table.
    fn make_room(&mut self) {
        let (now, window) = (self.now(), millis(self.config.window));
        self.table.retain(|slot| now.millis_since(slot.at) < window);
        if self.table.len() > self.config.table_keys_max / 2 {
            self.freeze_table();
        }
    }

    /// Returns the last offset whose keys are not in the table any more.
    fn frozen_through(&self) -> Offset {
        self.frozen.back().map_or(self.covered, |frozen| *frozen.offsets.end())
    }

    fn freeze_table(&mut self) {
        let offsets = self.frozen_through().next()..=self.confirmed;
        self.frozen.push_back(Arc::new(Frozen { table: std::mem::take(&mut self.table), offsets }));
    }
}

fn known(slot: &Slot, fingerprint: u64) -> Known {
    Known { offset: slot.offset, id: slot.id(), same_content: slot.fingerprint == fingerprint }
}

/// Returns a time in milliseconds, saturating.
fn millis(time: Duration) -> i64 {
    i64::try_from(time.as_millis()).unwrap_or(i64::MAX)
}
