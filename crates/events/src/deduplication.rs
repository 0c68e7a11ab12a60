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
//! younger. Each file notes how far the wall clock was away when it was written, by which the next start corrects
//! the times in it. What remains: a clock that is set back while the program is stopped lets keys live longer, by as
//! much; one that is set ahead, or was wrong until shortly before the start, cannot be told from a long pause, and
//! keys are forgotten early by as much.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use model::Timestamp;
use platform::{Clock, Fs, FsError};
use uuid::Uuid;

use crate::{EventKey, Offset};

mod slot;

use slot::{Slot, Table};

/// Keys in the table when it is frozen: what 2^18 buckets hold, 57 bytes each, 15 MB together.
const TABLE_KEYS_MAX: usize = (1 << 18) / 8 * 7;

/// Frozen tables that wait to be written. When all of them wait, new keys are refused.
const FROZEN_MAX: usize = 4;

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
    config: DeduplicationConfig,
    clock: Arc<dyn Clock>,
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
}

/// A full table.
#[derive(Debug)]
struct Frozen {
    table: Table,
    /// The first and the last offset whose keys are in it.
    offsets: RangeInclusive<Offset>,
}

impl Deduplication {
    /// Opens the index in `dir`, created if missing, for a log that ends at `end`.
    ///
    /// The log has to [replay](Deduplication::replay) everything behind [`Deduplication::covered`] before the first
    /// key is looked up.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`].
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: DeduplicationConfig,
        clock: Arc<dyn Clock>,
        end: Offset,
    ) -> Result<Self, DeduplicationError> {
        fs.create_dir_all(dir)?;
        let started = (clock.now(), clock.monotonic());
        let covered = Offset(0).min(end);
        Ok(Self {
            config,
            clock,
            started,
            pending: Table::default(),
            pending_order: VecDeque::new(),
            table: Table::default(),
            confirmed: covered,
            frozen: VecDeque::new(),
            covered,
        })
    }

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

    /// Returns how many keys are remembered, those included whose time is over and that were not removed yet.
    pub(crate) fn keys(&self) -> u64 {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.table.len()).sum();
        (self.pending.len() + self.table.len() + frozen) as u64
    }

    /// Returns the memory that the keys take, in bytes.
    pub(crate) fn memory_bytes(&self) -> u64 {
        let frozen: usize = self.frozen.iter().map(|frozen| frozen.table.memory_bytes()).sum();
        let order = self.pending_order.capacity() * size_of::<(Offset, EventKey)>();
        (self.pending.memory_bytes() + order + self.table.memory_bytes() + frozen) as u64
    }

    fn find(&self, key: EventKey) -> Result<Option<Slot>, DeduplicationError> {
        let tables = || {
            let frozen = self.frozen.iter().rev().map(|frozen| &frozen.table);
            std::iter::once(&self.table).chain(frozen)
        };
        Ok(tables().find_map(|table| table.get(key)).copied())
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

    /// Removes what is over; if that is less than half of it, freezes the table.
    fn make_room(&mut self) {
        let (now, window) = (self.now(), millis(self.config.window));
        self.table.retain(|slot| now.millis_since(slot.at) < window);
        if self.table.len() > self.config.table_keys_max / 2 {
            self.freeze();
        }
    }

    fn freeze(&mut self) {
        let before = self.frozen.back().map_or(self.covered, |frozen| *frozen.offsets.end());
        let offsets = before.next()..=self.confirmed;
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

#[cfg(test)]
mod tests {
    use platform::{SimClock, SimFs};

    use super::*;

    const WINDOW: Duration = Duration::from_secs(600);

    fn open(clock: &Arc<SimClock>) -> Deduplication {
        let config = DeduplicationConfig { table_keys_max: 4, ..DeduplicationConfig::new(WINDOW) };
        let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
        Deduplication::open(SimFs::new(), Path::new("/d"), config, clock, Offset(0)).expect("open")
    }

    fn clock() -> Arc<SimClock> {
        SimClock::new(Timestamp::from_millis(1_700_000_000_000))
    }

    fn reserve(keys: &mut Deduplication, key: u128, offset: u64) {
        let at = keys.now();
        keys.reserve(&KeyEntry {
            key: EventKey(key),
            fingerprint: 1,
            offset: Offset(offset),
            at,
            id: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        });
    }

    fn check(keys: &Deduplication, key: u128) -> Check {
        keys.check(EventKey(key), 1, keys.now()).expect("checked")
    }

    fn at(offset: u64) -> Known {
        let id = Uuid::try_parse("0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b").expect("uuid");
        Known { offset: Offset(offset), id: KnownId::Uuid(id), same_content: true }
    }

    #[test]
    fn a_key_is_pending_until_it_is_confirmed_and_new_when_it_is_forgotten() {
        let mut keys = open(&clock());
        assert_eq!(check(&keys, 7), Check::New);
        reserve(&mut keys, 7, 1);
        reserve(&mut keys, 8, 2);
        reserve(&mut keys, 9, 5);
        assert_eq!(check(&keys, 7), Check::Pending(at(1)));
        keys.confirm(Offset(1));
        assert_eq!(check(&keys, 7), Check::Known(at(1)));
        assert_eq!(check(&keys, 8), Check::Pending(at(2)));
        keys.forget(Offset(2)..=Offset(4));
        assert_eq!(check(&keys, 8), Check::New);
        assert_eq!(check(&keys, 9), Check::Pending(at(5)));
    }

    #[test]
    fn another_fingerprint_is_other_content() {
        let mut keys = open(&clock());
        reserve(&mut keys, 7, 1);
        let other = |keys: &Deduplication| keys.check(EventKey(7), 2, keys.now()).expect("checked");
        assert_eq!(other(&keys), Check::Pending(Known { same_content: false, ..at(1) }));
        keys.confirm(Offset(1));
        assert_eq!(other(&keys), Check::Known(Known { same_content: false, ..at(1) }));
    }

    #[test]
    fn a_key_is_new_again_once_the_window_is_over_and_not_before() {
        let clock = clock();
        let mut keys = open(&clock);
        reserve(&mut keys, 7, 1);
        keys.confirm(Offset(1));
        clock.advance(WINDOW - Duration::from_millis(1));
        assert_eq!(check(&keys, 7), Check::Known(at(1)));
        clock.advance(Duration::from_millis(1));
        assert_eq!(check(&keys, 7), Check::New);
        reserve(&mut keys, 7, 2);
        keys.forget(Offset(2)..=Offset(2));
        assert_eq!(check(&keys, 7), Check::New, "what is over stays over");
    }

    #[test]
    fn steps_of_the_wall_clock_make_no_key_older_or_younger() {
        for step in [-86_400_000, 86_400_000] {
            let clock = clock();
            let mut keys = open(&clock);
            reserve(&mut keys, 7, 1);
            keys.confirm(Offset(1));
            clock.set_now(Clock::now(&clock).saturating_add_millis(step));
            clock.advance(WINDOW - Duration::from_millis(1));
            assert_eq!(check(&keys, 7), Check::Known(at(1)), "{step}");
            clock.advance(Duration::from_millis(1));
            assert_eq!(check(&keys, 7), Check::New, "{step}");
        }
    }

    #[test]
    fn new_keys_are_refused_while_all_tables_are_full_and_known_ones_are_not() {
        let mut keys = open(&clock());
        let most = 4 * (FROZEN_MAX as u64 + 1);
        for offset in 1..=most {
            assert_eq!(check(&keys, offset.into()), Check::New);
            reserve(&mut keys, offset.into(), offset);
            if offset % 3 == 0 {
                keys.confirm(Offset(offset));
            }
        }
        assert_eq!(check(&keys, 99), Check::Full);
        keys.confirm(Offset(most));
        assert_eq!((keys.room(), keys.keys()), (0, most));
        assert_eq!(check(&keys, 99), Check::Full);
        assert_eq!(check(&keys, 1), Check::Known(at(1)));
        assert_eq!(check(&keys, most.into()), Check::Known(at(most)));
    }

    #[test]
    fn what_is_over_makes_room() {
        let clock = clock();
        let mut keys = open(&clock);
        for offset in 1..=1_000 {
            reserve(&mut keys, offset.into(), offset);
            keys.confirm(Offset(offset));
            clock.advance(WINDOW / 2);
        }
        assert!(keys.keys() <= 4, "{}", keys.keys());
        assert_eq!(keys.room(), 4 * (FROZEN_MAX + 1) - usize::try_from(keys.keys()).expect("few"));
    }
}
