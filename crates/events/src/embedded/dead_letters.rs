//! Dead letters on a journal of their own.

mod index;
mod record;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fmt;
use std::ops::ControlFlow;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use journal::{Durability, Journal, JournalConfig, JournalError, Sequence};
use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, Fs};

use super::OpenError;
use super::core::unavailable;
use super::reading::blocking;
use super::retention::{DoubtfulClock, before};
use super::upkeep::{Backoff, resume};
use crate::{
    DeadLetter, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState,
    DeadLetters, LogError, NewDeadLetter,
};
use index::{Index, Meta};
use record::{Letter, Record};

/// Most letters that are returned at once.
const PAGE_LETTERS_MAX: usize = 1_000;

/// Bytes of letters after which no further one is returned.
const PAGE_BYTES_MAX: u64 = 16 << 20;

/// The longest reason that is kept, in bytes; the rest is cut off.
const ERROR_BYTES_MAX: usize = 4 << 10;

/// The longest letter, in bytes of its record.
const LETTER_BYTES_MAX: usize = 16 << 20;

/// Most segments that one maintenance moves letters out of.
const SEGMENTS_MOVED_MAX: usize = 8;

/// How often a letter is looked for that is moved while it is read.
const READS_MAX: usize = 3;

/// The limits of [`EmbeddedDeadLetters`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct DeadLettersConfig {
    /// What it means that a letter is kept.
    pub durability: Durability,
    /// How long a letter is kept.
    pub retention: Duration,
    /// Most letters.
    pub letters_max: usize,
    /// Most bytes of letters. On disk they take up to twice as much, and two segments.
    pub bytes_max: u64,
    /// A new segment is begun once the current one has this many bytes.
    pub segment_bytes_max: u64,
}

impl Default for DeadLettersConfig {
    /// Returns 100,000 letters of 1 GiB together, for 30 days.
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            retention: Duration::from_hours(720),
            letters_max: 100_000,
            bytes_max: 1 << 30,
            segment_bytes_max: 16 << 20,
        }
    }
}

/// What dead letters say about themselves.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersStats {
    /// Letters that are kept.
    pub letters: u64,
    /// Bytes of those letters.
    pub letter_bytes: u64,
    /// Bytes on disk.
    pub bytes: u64,
    /// Letters that were put since the start.
    pub put: u64,
    /// Letters that were discarded since the start, after a replay or by somebody's decision.
    pub discarded: u64,
    /// Letters that went because they were too old, since the start.
    pub expired: u64,
    /// Letters that went because there were too many, by tenant, since the start.
    pub displaced: BTreeMap<TenantId, u64>,
}

/// What opening found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersOpening {
    /// Letters that are kept.
    pub letters: u64,
    /// Bytes of unfinished writes that were cut from the end.
    pub torn_bytes: u64,
    /// What is damaged, each with the place and the reason.
    pub damage: Vec<String>,
}

/// What one call of [`EmbeddedDeadLetters::maintain`] did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct DeadLettersMaintenance {
    /// Letters that were too old.
    pub expired: u64,
    /// Segments that were removed.
    pub segments_removed: u64,
    /// Whether letters are taken again after the disk was full or had failed.
    pub resumed: bool,
}

/// Dead letters in a folder of their own, with an index of about 200 bytes for each in memory.
///
/// # When there are too many
///
/// The oldest letter of the tenant with the most goes, whenever one comes that is too many: it is counted, by tenant,
/// and said in the log. Refusing the new one instead would stop the consumer that gives up, and so in the end everybody
/// who sends, because of letters that nobody has looked at for the longest time; and one tenant could so use up the
/// room of the others.
///
/// # Failures
///
/// While the disk is full or fails, changes are refused with [`LogError::Unavailable`], and reading goes on.
#[derive(Debug)]
pub struct EmbeddedDeadLetters {
    letters: Arc<Letters>,
    _lock: Box<dyn fmt::Debug + Send + Sync>,
}

impl EmbeddedDeadLetters {
    /// Opens the dead letters in `dir`, created if missing. Reads all of them.
    ///
    /// # Errors
    ///
    /// [`OpenError`]; [`platform::FsErrorKind::Locked`] when it is open already.
    pub fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: Arc<dyn Clock>,
        config: DeadLettersConfig,
    ) -> Result<(Self, DeadLettersOpening), OpenError> {
        fs.create_dir_all(dir)?;
        let lock = fs.lock(&dir.join("lock"))?;
        let (letters, opening) = Letters::open(fs, dir, clock, config)?;
        Ok((Self { letters: Arc::new(letters), _lock: lock }, opening))
    }

    /// Takes letters again after a failure of the disk, removes what is too old, and gives back the room of what went.
    /// Blocks. To be called every few seconds.
    ///
    /// # Errors
    ///
    /// [`LogError`]; the next call tries again.
    pub fn maintain(&self) -> Result<DeadLettersMaintenance, LogError> {
        self.letters.maintain()
    }

    /// Returns what they say about themselves, from memory.
    #[must_use]
    pub fn stats(&self) -> DeadLettersStats {
        self.letters.stats()
    }

    /// Returns why letters are not taken at present, if they are not.
    #[must_use]
    pub fn refusal(&self) -> Option<String> {
        self.letters.journal.poisoned()
    }

    /// Refuses every change from now on. Blocks.
    pub fn close(&self) {
        self.letters.journal.close();
    }

    async fn blocking<T: Send + 'static>(
        &self,
        work: impl FnOnce(&Letters) -> Result<T, LogError> + Send + 'static,
    ) -> Result<T, LogError> {
        let letters = Arc::clone(&self.letters);
        blocking(move || work(&letters)).await
    }
}

impl DeadLetters for EmbeddedDeadLetters {
    fn put(&self, letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>> {
        Box::pin(self.blocking(|letters| letters.put(letter)))
    }

    fn list(&self, query: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>> {
        Box::pin(self.blocking(move |letters| letters.list(query)))
    }

    fn get(
        &self,
        tenant: TenantId,
        id: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>> {
        Box::pin(self.blocking(move |letters| {
            let letter = letters.read(id)?;
            Ok(letter.filter(|letter| letter.letter.tenant == tenant))
        }))
    }

    fn discard(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        Box::pin(self.blocking(move |letters| letters.discard(&tenant, id)))
    }

    fn replay(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        Box::pin(self.blocking(move |letters| letters.replay(&tenant, id)))
    }

    fn replaying(
        &self,
        consumer: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>> {
        let limit = limit.min(PAGE_LETTERS_MAX);
        let ids = self.letters.index.lock().replaying(consumer, limit);
        Box::pin(async move {
            if ids.is_empty() {
                return Ok(Vec::new());
            }
            self.blocking(move |letters| Ok(letters.read_some(&ids)?.letters)).await
        })
    }

    fn give_back(&self, id: DeadLetterId, error: String) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.blocking(move |letters| letters.give_back(id, error)))
    }

    fn depths(&self) -> Vec<DeadLetterDepth> {
        self.letters.index.lock().depths()
    }
}

/// The letters behind the handle. Everything here blocks.
#[derive(Debug)]
struct Letters {
    // Lock order: `upkeep`, then `index`, then those of the journal. Who holds `upkeep` alone changes letters that are
    // there; who does not may only add letters, and displace them.
    upkeep: Mutex<Upkeep>,
    index: Mutex<Index>,
    journal: Journal,
    clock: Arc<dyn Clock>,
    config: DeadLettersConfig,
    put: AtomicU64,
    discarded: AtomicU64,
    expired: AtomicU64,
    displaced: Mutex<BTreeMap<TenantId, u64>>,
}

#[derive(Debug)]
struct Upkeep {
    clock: DoubtfulClock,
    backoff: Backoff,
}

impl Letters {
    fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: Arc<dyn Clock>,
        config: DeadLettersConfig,
    ) -> Result<(Self, DeadLettersOpening), JournalError> {
        let journal_config = JournalConfig {
            segment_bytes_max: config.segment_bytes_max,
            record_bytes_max: LETTER_BYTES_MAX,
            durability: config.durability,
            ..JournalConfig::default()
        };
        let mut index = Index::default();
        let mut damage = Vec::new();
        let (journal, recovery) =
            Journal::open(fs, dir, journal_config, &mut |sequence, bytes| {
                if !apply(&mut index, sequence, bytes) {
                    damage.push(format!("{}: record {sequence} is unknown", dir.display()));
                }
            })?;
        let set_aside = recovery.set_aside.iter();
        damage.extend(set_aside.map(|aside| format!("{}: {}", aside.path.display(), aside.kind)));
        let torn_bytes = recovery.torn_bytes;
        let opening = DeadLettersOpening { letters: index.len() as u64, torn_bytes, damage };
        let upkeep = Upkeep { clock: DoubtfulClock::new(clock.as_ref()), backoff: Backoff::new() };
        let letters = Self {
            upkeep: Mutex::new(upkeep),
            index: Mutex::new(index),
            journal,
            clock,
            config,
            put: AtomicU64::new(0),
            discarded: AtomicU64::new(0),
            expired: AtomicU64::new(0),
            displaced: Mutex::default(),
        };
        Ok((letters, opening))
    }

    fn put(&self, mut letter: NewDeadLetter) -> Result<DeadLetterId, LogError> {
        letter.error = cut(letter.error);
        let at = self.clock.now();
        let stored = Letter { id: None, at, state: DeadLetterState::Waiting, letter };
        let position = self.store(&stored)?;
        self.put.fetch_add(1, Ordering::Relaxed);
        self.displace();
        Ok(DeadLetterId(position.0))
    }

    fn list(&self, mut query: DeadLetterQuery) -> Result<DeadLetterPage, LogError> {
        query.limit = query.limit.min(PAGE_LETTERS_MAX);
        let (ids, more) = self.index.lock().list(&query);
        let page = self.read_some(&ids)?;
        Ok(DeadLetterPage { more: more || page.more, ..page })
    }

    fn discard(&self, tenant: &TenantId, id: DeadLetterId) -> Result<bool, LogError> {
        let _upkeep = self.upkeep.lock();
        if self.index.lock().of_tenant(tenant, id).is_none() {
            return Ok(false);
        }
        let sequence = self.append(&Record::Discarded(id).encode())?;
        self.commit(sequence)?;
        let was_there = self.index.lock().remove(id).is_some();
        self.discarded.fetch_add(u64::from(was_there), Ordering::Relaxed);
        Ok(was_there)
    }

    fn replay(&self, tenant: &TenantId, id: DeadLetterId) -> Result<bool, LogError> {
        let _upkeep = self.upkeep.lock();
        match self.index.lock().of_tenant(tenant, id) {
            None => return Ok(false),
            Some(meta) if meta.state == DeadLetterState::Replaying => return Ok(true),
            Some(_) => {}
        }
        let sequence = self.append(&Record::Replaying(id).encode())?;
        self.commit(sequence)?;
        self.index.lock().set_replaying(id);
        Ok(true)
    }

    fn give_back(&self, id: DeadLetterId, error: String) -> Result<(), LogError> {
        let _upkeep = self.upkeep.lock();
        let Some(DeadLetter { at, mut letter, .. }) = self.read(id)? else { return Ok(()) };
        letter.attempts = letter.attempts.saturating_add(1);
        letter.error = cut(error);
        let state = DeadLetterState::Waiting;
        self.store(&Letter { id: Some(id), at, state, letter })?;
        Ok(())
    }

    /// Returns a letter; `None` if there is none.
    fn read(&self, id: DeadLetterId) -> Result<Option<DeadLetter>, LogError> {
        let mut position = None;
        for _ in 0..READS_MAX {
            let Some(meta) = self.index.lock().get(id).cloned() else { return Ok(None) };
            if position == Some(meta.position) {
                break;
            }
            position = Some(meta.position);
            let mut found = None;
            let read = self.journal.read(meta.position, &mut |sequence, bytes| {
                if sequence == meta.position {
                    found = Record::decode(bytes);
                }
                ControlFlow::Break(())
            });
            read.map_err(unavailable)?;
            if let Some(Record::Letter(letter)) = found {
                // What became of it since is in later records, and in the index.
                let letter = Letter { state: meta.state, ..*letter };
                return Ok(Some(letter.with_id(id)));
            }
        }
        Err(LogError::Damaged { reason: format!("dead letter {} cannot be read", id.0) })
    }

    /// Returns those of the letters that are there and can be read, as far as the bytes of a page go.
    fn read_some(&self, ids: &[DeadLetterId]) -> Result<DeadLetterPage, LogError> {
        let mut page = DeadLetterPage::default();
        let mut bytes = 0;
        for id in ids {
            if bytes >= PAGE_BYTES_MAX {
                page.more = true;
                break;
            }
            match self.read(*id) {
                Ok(Some(letter)) => {
                    bytes += letter.letter.bytes.len() as u64;
                    page.letters.push(letter);
                }
                Ok(None) => {}
                Err(LogError::Damaged { reason }) => {
                    tracing::warn!(reason, "dead letter is left out of a list");
                }
                Err(error) => return Err(error),
            }
        }
        Ok(page)
    }

    /// Stores a letter durably and notes where; returns where.
    fn store(&self, letter: &Letter) -> Result<Sequence, LogError> {
        let record = Record::Letter(Box::new(letter.clone())).encode();
        let position = {
            // Nobody may remove the record between its being queued and its being known.
            let mut index = self.index.lock();
            let position = self.append(&record)?;
            index.begin(position);
            position
        };
        let committed = self.commit(position);
        let mut index = self.index.lock();
        index.end(position);
        committed?;
        let id = letter.id.unwrap_or(DeadLetterId(position.0));
        if letter.id.is_some() && index.get(id).is_none() {
            // Displaced meanwhile: what was just stored would be there again after a restart.
            self.append(&Record::Discarded(id).encode())?;
            return Ok(position);
        }
        index.insert(id, meta(letter, position, record.len()));
        Ok(position)
    }

    /// Queues a record; lets the journal go on first if only the disk was full.
    fn append(&self, record: &[u8]) -> Result<Sequence, LogError> {
        let appended = match self.journal.append(record) {
            Err(JournalError::Full { .. }) => {
                self.journal.resume().and_then(|()| self.journal.append(record))
            }
            appended => appended,
        };
        appended.map_err(|error| match error {
            JournalError::RecordTooLarge { bytes, limit_bytes } => {
                LogError::TooLarge { bytes, limit_bytes }
            }
            error => unavailable(error),
        })
    }

    /// Waits until a record is durable. Those who wait at the same time share a sync.
    fn commit(&self, sequence: Sequence) -> Result<(), LogError> {
        let committed = self.journal.commit();
        match self.journal.outcome(sequence) {
            Some(outcome) => outcome.map_err(unavailable),
            None => Err(committed.err().map_or(LogError::Closed, unavailable)),
        }
    }

    /// Lets letters go until there are not too many.
    fn displace(&self) {
        loop {
            let mut index = self.index.lock();
            let id = if index.len() > self.config.letters_max {
                index.oldest_of_most()
            } else if index.bytes() > self.config.bytes_max {
                index.oldest_of_largest()
            } else {
                None
            };
            let Some((id, meta)) = id.and_then(|id| Some((id, index.remove(id)?))) else { return };
            self.forget(id);
            drop(index);
            let tenant = meta.tenant.as_str();
            tracing::warn!(tenant, id = id.0, "dead letter went because there are too many");
            *self.displaced.lock().entry(meta.tenant).or_default() += 1;
        }
    }

    /// Says in the journal that a letter went. If that is lost with a crash, the letter goes again.
    fn forget(&self, id: DeadLetterId) {
        if let Err(error) = self.append(&Record::Discarded(id).encode()) {
            tracing::debug!(id = id.0, error = %error, "dead letter may come back after a restart");
        }
    }

    fn maintain(&self) -> Result<DeadLettersMaintenance, LogError> {
        let mut upkeep = self.upkeep.lock();
        let resumed = resume(&self.journal, &mut upkeep.backoff, self.clock.monotonic())
            .map_err(unavailable)?;
        let now = upkeep.clock.now(self.clock.as_ref());
        let old = self.index.lock().older_than(before(now, self.config.retention));
        for id in &old {
            if self.index.lock().remove(*id).is_some() {
                self.forget(*id);
            }
        }
        let expired = old.len() as u64;
        self.expired.fetch_add(expired, Ordering::Relaxed);
        self.displace();
        self.journal.commit().map_err(unavailable)?;
        let mut segments_removed = self.remove()?;
        for _ in 0..SEGMENTS_MOVED_MAX {
            let moved = if self.is_mostly_dead() { self.move_oldest()? } else { 0 };
            segments_removed = segments_removed.saturating_add(moved);
            if moved == 0 {
                break;
            }
        }
        Ok(DeadLettersMaintenance { expired, segments_removed, resumed })
    }

    /// Whether what went takes more room than what is there.
    fn is_mostly_dead(&self) -> bool {
        let live = self.index.lock().bytes();
        let kept = live.saturating_mul(2).saturating_add(self.config.segment_bytes_max);
        self.journal.bytes() > kept
    }

    /// Moves the letters of the oldest segment behind all others; returns how many segments that sets free.
    fn move_oldest(&self) -> Result<u64, LogError> {
        let segments = self.journal.segments();
        let [oldest, _, ..] = segments.as_slice() else { return Ok(0) };
        let ids = self.index.lock().up_to(oldest.end);
        for id in ids {
            match self.read(id) {
                Ok(Some(DeadLetter { at, state, letter, .. })) => {
                    self.store(&Letter { id: Some(id), at, state, letter })?;
                }
                Ok(None) => {}
                // It keeps its segment, so that it can be looked into.
                Err(LogError::Damaged { .. }) => return Ok(0),
                Err(error) => return Err(error),
            }
        }
        self.remove()
    }

    /// Removes segments that hold nothing that is needed.
    fn remove(&self) -> Result<u64, LogError> {
        let needed = {
            let index = self.index.lock();
            index.first_needed().unwrap_or_else(|| self.journal.durable_sequence().next())
        };
        self.journal.remove_before(needed).map_err(unavailable)
    }

    fn stats(&self) -> DeadLettersStats {
        let (letters, letter_bytes) = {
            let index = self.index.lock();
            (index.len() as u64, index.bytes())
        };
        DeadLettersStats {
            letters,
            letter_bytes,
            bytes: self.journal.bytes(),
            put: self.put.load(Ordering::Relaxed),
            discarded: self.discarded.load(Ordering::Relaxed),
            expired: self.expired.load(Ordering::Relaxed),
            displaced: self.displaced.lock().clone(),
        }
    }
}

/// Notes what a record says; false if it says nothing that is known.
fn apply(index: &mut Index, sequence: Sequence, bytes: &[u8]) -> bool {
    match Record::decode(bytes) {
        Some(Record::Letter(letter)) => {
            let id = letter.id.unwrap_or(DeadLetterId(sequence.0));
            index.insert(id, meta(&letter, sequence, bytes.len()));
        }
        Some(Record::Discarded(id)) => drop(index.remove(id)),
        Some(Record::Replaying(id)) => index.set_replaying(id),
        None => return false,
    }
    true
}

fn meta(letter: &Letter, position: Sequence, bytes: usize) -> Meta {
    Meta {
        tenant: letter.letter.tenant.clone(),
        consumer: letter.letter.consumer.as_str().into(),
        at: letter.at,
        state: letter.state,
        position,
        bytes: bytes as u64,
    }
}

fn cut(mut error: String) -> String {
    error.truncate(error.floor_char_boundary(ERROR_BYTES_MAX));
    error
}
