//! A file of keys: sorted, immutable, found by a filter and one read.

use std::ops::RangeInclusive;
use std::path::{Path, PathBuf};
use std::sync::atomic::{AtomicBool, Ordering as AtomicOrdering};

use model::Timestamp;
use platform::{File, Fs};

use super::DeduplicationError;
use super::filter::{FILTER_BLOCK_BYTES, Filter};
use super::slot::{SLOT_BYTES, Slot, halves};
use crate::{EventKey, Offset};

const MAGIC: [u8; 8] = *b"TOBSKEYS";

/// The version of the format (`docs/formats/deduplication.md`).
const FORMAT_VERSION: u32 = 1;

/// Bytes of a block: what is read at once.
const BLOCK_BYTES: usize = 4096;

/// Keys in a block.
const BLOCK_KEYS: usize = (BLOCK_BYTES - BLOCK_TRAILER_BYTES) / SLOT_BYTES;

/// Number of keys and checksum.
const BLOCK_TRAILER_BYTES: usize = 8;

/// Bytes of a fence: the first key of a block.
const FENCE_BYTES: usize = 16;

const FOOTER_BYTES: usize = 68;

/// Bytes that are collected before they are written.
const WRITE_BYTES: usize = 256 << 10;

/// What the names of the files end with.
const EXTENSION: &str = "keys";

/// An open file of keys. Its filter and the first key of each block are in memory.
#[derive(Debug)]
pub(super) struct KeyFile {
    path: PathBuf,
    file: Box<dyn File>,
    /// The first and the last offset whose keys are in it.
    pub(super) offsets: RangeInclusive<Offset>,
    pub(super) keys: u64,
    /// From the oldest to the newest key, on the clock of this process.
    pub(super) times: RangeInclusive<Timestamp>,
    /// What is added to the times in the file to have them on the clock of this process, in milliseconds.
    pub(super) shift_ms: i64,
    filter: Filter,
    fences: Box<[EventKey]>,
    damaged: AtomicBool,
}

/// Returns the name of the file of these offsets.
pub(super) fn file_name(offsets: &RangeInclusive<Offset>) -> String {
    format!("{:020}-{:020}.{EXTENSION}", offsets.start().0, offsets.end().0)
}

/// Returns the offsets that a name stands for.
pub(super) fn offsets_of(name: &str) -> Option<RangeInclusive<Offset>> {
    let (first, last) = name.strip_suffix(EXTENSION)?.strip_suffix('.')?.split_once('-')?;
    let offsets = Offset(first.parse().ok()?)..=Offset(last.parse().ok()?);
    (file_name(&offsets) == name).then_some(offsets)
}

impl KeyFile {
    /// Opens the file of these offsets: reads all but the blocks.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError`].
    pub(super) fn open(
        fs: &dyn Fs,
        dir: &Path,
        offsets: &RangeInclusive<Offset>,
        shift_ms: i64,
    ) -> Result<Self, DeduplicationError> {
        let path = dir.join(file_name(offsets));
        let damaged = |reason| DeduplicationError::Damaged { path: path.clone(), reason };
        let file = fs.open(&path)?;
        let file_bytes = file.byte_len()?;
        let footer_at = file_bytes.checked_sub(FOOTER_BYTES as u64);
        let footer_at = footer_at.ok_or_else(|| damaged("it is shorter than its footer"))?;
        let mut bytes = [0; FOOTER_BYTES];
        file.read_exact_at(&mut bytes, footer_at)?;
        let footer = Footer::decode(&bytes).map_err(damaged)?;
        let index_at = footer.blocks().saturating_mul(BLOCK_BYTES as u64);
        if footer.offsets != *offsets
            || index_at.checked_add(footer.index_bytes()) != Some(footer_at)
        {
            return Err(damaged("its footer does not fit"));
        }
        let index_bytes = usize::try_from(footer.index_bytes());
        let mut index = vec![0; index_bytes.map_err(|_| damaged("it is too large"))?];
        file.read_exact_at(&mut index, index_at)?;
        if crc32c::crc32c(&index) != footer.index_checksum {
            return Err(damaged("the checksum of its index does not match"));
        }
        let filter_bytes = usize::try_from(footer.filter_blocks)
            .unwrap_or(usize::MAX)
            .saturating_mul(FILTER_BLOCK_BYTES)
            .min(index.len());
        let (filter, fences) = index.split_at(filter_bytes);
        let (fences, _) = fences.as_chunks::<FENCE_BYTES>();
        let shifted = |time: i64| Timestamp::from_millis(time).saturating_add_millis(shift_ms);
        Ok(Self {
            file,
            offsets: footer.offsets,
            keys: footer.keys,
            times: shifted(footer.oldest_ms)..=shifted(footer.newest_ms),
            shift_ms,
            filter: Filter::from_bytes(filter),
            fences: fences.iter().map(|fence| EventKey(u128::from_le_bytes(*fence))).collect(),
            damaged: AtomicBool::new(false),
            path,
        })
    }

    /// Returns what is remembered of a key. Reads one block, unless the filter knows that it is not there.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError`]; the file is [damaged](KeyFile::is_damaged) then.
    pub(super) fn find(&self, key: EventKey) -> Result<Option<Slot>, DeduplicationError> {
        if !self.filter.may_hold(halves(key)) {
            return Ok(None);
        }
        let Some(number) = self.fences.partition_point(|first| *first <= key).checked_sub(1) else {
            return Ok(None);
        };
        let slots = self.block(number)?;
        let found = slots.binary_search_by(|slot| slot.key().cmp(&key));
        Ok(found.ok().and_then(|index| slots.get(index)).copied())
    }

    /// Returns whether a block could not be read.
    pub(super) fn is_damaged(&self) -> bool {
        self.damaged.load(AtomicOrdering::Relaxed)
    }

    pub(super) fn path(&self) -> &Path {
        &self.path
    }

    /// Returns the memory that the file takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        size_of::<Self>() + self.filter.blocks() * FILTER_BLOCK_BYTES + size_of_val(&*self.fences)
    }

    /// Returns a reader of all keys, ascending.
    pub(super) fn reader(&self) -> Reader<'_> {
        Reader { file: self, next_block: 0, slots: Vec::new().into_iter() }
    }

    fn block(&self, number: usize) -> Result<Vec<Slot>, DeduplicationError> {
        self.read_block(number).inspect_err(|_| self.damaged.store(true, AtomicOrdering::Relaxed))
    }

    fn read_block(&self, number: usize) -> Result<Vec<Slot>, DeduplicationError> {
        let mut bytes = [0; BLOCK_BYTES];
        self.file.read_exact_at(&mut bytes, number as u64 * BLOCK_BYTES as u64)?;
        let reason = "the checksum of a block does not match";
        let damaged = || DeduplicationError::Damaged { path: self.path.clone(), reason };
        let (content, checksum) = bytes.split_last_chunk().ok_or_else(damaged)?;
        if block_checksum(number as u64, content) != u32::from_le_bytes(*checksum) {
            return Err(damaged());
        }
        let (content, count) = content.split_last_chunk().ok_or_else(damaged)?;
        let count = u32::from_le_bytes(*count) as usize;
        let (slots, _) = content.as_chunks::<SLOT_BYTES>();
        let slots = slots.get(..count).ok_or_else(damaged)?;
        Ok(slots.iter().map(|slot| Slot::decode(slot).shifted(self.shift_ms)).collect())
    }
}

/// Reads all keys of a file, ascending.
#[derive(Debug)]
pub(super) struct Reader<'a> {
    file: &'a KeyFile,
    next_block: usize,
    slots: std::vec::IntoIter<Slot>,
}

impl Reader<'_> {
    /// Returns the next key; `None` at the end.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError`]; the file is [damaged](KeyFile::is_damaged) then.
    pub(super) fn next(&mut self) -> Result<Option<Slot>, DeduplicationError> {
        if self.slots.as_slice().is_empty() && self.next_block < self.file.fences.len() {
            self.slots = self.file.block(self.next_block)?.into_iter();
            self.next_block += 1;
        }
        Ok(self.slots.next())
    }
}

/// Writes a file of keys.
///
/// Written under another name, synced, renamed, and the folder is synced: a file of the right name is whole.
#[derive(Debug)]
pub(super) struct Writer<'a> {
    fs: &'a dyn Fs,
    dir: &'a Path,
    path: PathBuf,
    file: Box<dyn File>,
    bytes: Vec<u8>,
    block: Vec<Slot>,
    fences: Vec<EventKey>,
    filter: Filter,
    keys: u64,
    times: Option<(Timestamp, Timestamp)>,
}

/// The name of a file that is being written.
pub(super) const NEW_NAME: &str = "new";

impl<'a> Writer<'a> {
    /// Begins a file of at most so many keys.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`].
    pub(super) fn new(
        fs: &'a dyn Fs,
        dir: &'a Path,
        keys_max: u64,
    ) -> Result<Self, DeduplicationError> {
        let path = dir.join(NEW_NAME);
        if fs.exists(&path)? {
            fs.remove_file(&path)?;
        }
        Ok(Self {
            fs,
            dir,
            file: fs.create(&path)?,
            path,
            bytes: Vec::with_capacity(WRITE_BYTES + BLOCK_BYTES),
            block: Vec::with_capacity(BLOCK_KEYS),
            fences: Vec::new(),
            filter: Filter::new(keys_max),
            keys: 0,
            times: None,
        })
    }

    /// Adds a key, which is above all before.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`].
    pub(super) fn push(&mut self, slot: Slot) -> Result<(), DeduplicationError> {
        let at = slot.at;
        let (oldest, newest) = self.times.unwrap_or((at, at));
        self.times = Some((oldest.min(at), newest.max(at)));
        self.filter.insert(halves(slot.key()));
        if self.block.is_empty() {
            self.fences.push(slot.key());
        }
        self.block.push(slot);
        self.keys += 1;
        if self.block.len() == BLOCK_KEYS {
            self.end_block();
        }
        if self.bytes.len() >= WRITE_BYTES {
            self.write()?;
        }
        Ok(())
    }

    /// Makes the file durable under its name and opens it; `None` if there are no keys.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`].
    pub(super) fn finish(
        mut self,
        offsets: RangeInclusive<Offset>,
    ) -> Result<Option<KeyFile>, DeduplicationError> {
        let Some((oldest, newest)) = self.times else {
            self.fs.remove_file(&self.path)?;
            return Ok(None);
        };
        self.end_block();
        self.write()?;
        self.filter.append_to(&mut self.bytes);
        for fence in &self.fences {
            self.bytes.extend_from_slice(&fence.0.to_le_bytes());
        }
        let footer = Footer {
            offsets: offsets.clone(),
            keys: self.keys,
            filter_blocks: self.filter.blocks() as u64,
            oldest_ms: oldest.as_millis(),
            newest_ms: newest.as_millis(),
            index_checksum: crc32c::crc32c(&self.bytes),
        };
        self.bytes.extend_from_slice(&footer.encode());
        self.write()?;
        self.file.sync_data()?;
        let path = self.dir.join(file_name(&offsets));
        self.fs.rename(&self.path, &path)?;
        self.fs.sync_dir(self.dir)?;
        Ok(Some(KeyFile {
            file: self.fs.open(&path)?,
            path,
            offsets,
            keys: self.keys,
            times: oldest..=newest,
            shift_ms: 0,
            filter: self.filter,
            fences: self.fences.into(),
            damaged: AtomicBool::new(false),
        }))
    }

    fn end_block(&mut self) {
        if self.block.is_empty() {
            return;
        }
        let start = self.bytes.len();
        for slot in &self.block {
            self.bytes.extend_from_slice(&slot.encode());
        }
        self.bytes.resize(start + BLOCK_BYTES - BLOCK_TRAILER_BYTES, 0);
        #[expect(clippy::cast_possible_truncation, reason = "a block holds few keys")]
        let count = self.block.len() as u32;
        self.bytes.extend_from_slice(&count.to_le_bytes());
        let number = self.fences.len() as u64 - 1;
        let checksum = block_checksum(number, self.bytes.get(start..).unwrap_or_default());
        self.bytes.extend_from_slice(&checksum.to_le_bytes());
        self.block.clear();
    }

    fn write(&mut self) -> Result<(), DeduplicationError> {
        self.file.append(&self.bytes)?;
        self.bytes.clear();
        Ok(())
    }
}

/// The checksum of a block covers its number: a block in the wrong place is damaged.
fn block_checksum(number: u64, content: &[u8]) -> u32 {
    crc32c::crc32c_append(crc32c::crc32c(&number.to_le_bytes()), content)
}

/// The end of a file: what the rest of it is.
#[derive(Clone, Debug, PartialEq, Eq)]
struct Footer {
    offsets: RangeInclusive<Offset>,
    keys: u64,
    filter_blocks: u64,
    oldest_ms: i64,
    newest_ms: i64,
    index_checksum: u32,
}

impl Footer {
    fn blocks(&self) -> u64 {
        self.keys.div_ceil(BLOCK_KEYS as u64)
    }

    fn index_bytes(&self) -> u64 {
        let filter = self.filter_blocks.saturating_mul(FILTER_BLOCK_BYTES as u64);
        filter.saturating_add(self.blocks().saturating_mul(FENCE_BYTES as u64))
    }

    fn encode(&self) -> Vec<u8> {
        let mut bytes = Vec::with_capacity(FOOTER_BYTES);
        bytes.extend_from_slice(&self.offsets.start().0.to_le_bytes());
        bytes.extend_from_slice(&self.offsets.end().0.to_le_bytes());
        bytes.extend_from_slice(&self.keys.to_le_bytes());
        bytes.extend_from_slice(&self.filter_blocks.to_le_bytes());
        bytes.extend_from_slice(&self.oldest_ms.to_le_bytes());
        bytes.extend_from_slice(&self.newest_ms.to_le_bytes());
        bytes.extend_from_slice(&self.index_checksum.to_le_bytes());
        bytes.extend_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes.extend_from_slice(&MAGIC);
        let checksum = crc32c::crc32c(&bytes);
        bytes.extend_from_slice(&checksum.to_le_bytes());
        bytes
    }

    fn decode(bytes: &[u8; FOOTER_BYTES]) -> Result<Self, &'static str> {
        let mut rest = bytes.as_slice();
        let first = Offset(u64::from_le_bytes(take(&mut rest)));
        let last = Offset(u64::from_le_bytes(take(&mut rest)));
        let footer = Self {
            offsets: first..=last,
            keys: u64::from_le_bytes(take(&mut rest)),
            filter_blocks: u64::from_le_bytes(take(&mut rest)),
            oldest_ms: i64::from_le_bytes(take(&mut rest)),
            newest_ms: i64::from_le_bytes(take(&mut rest)),
            index_checksum: u32::from_le_bytes(take(&mut rest)),
        };
        let version = u32::from_le_bytes(take(&mut rest));
        let magic: [u8; 8] = take(&mut rest);
        let checksum = u32::from_le_bytes(take(&mut rest));
        if magic != MAGIC {
            return Err("it does not end as a file of keys");
        }
        let (content, _) = bytes.split_at(FOOTER_BYTES - 4);
        if crc32c::crc32c(content) != checksum {
            return Err("the checksum of its footer does not match");
        }
        if version != FORMAT_VERSION {
            return Err("its format version is not known");
        }
        Ok(footer)
    }
}

/// Takes the first bytes off a slice; zeros when it is too short.
fn take<const N: usize>(bytes: &mut &[u8]) -> [u8; N] {
    let Some((first, rest)) = bytes.split_first_chunk::<N>() else { return [0; N] };
    *bytes = rest;
    *first
}

#[cfg(test)]
mod tests {
    use platform::{FsOperation, Rng, SimFs, SimRng};

    use super::super::KeyEntry;
    use super::*;

    fn slot(key: u128, offset: u64) -> Slot {
        Slot::new(&KeyEntry {
            key: EventKey(key),
            fingerprint: offset + 1,
            offset: Offset(offset),
            at: Timestamp::from_millis(1_000 + i64::try_from(offset).expect("small")),
            id: "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b",
        })
    }

    fn slots(count: u64) -> Vec<Slot> {
        let rng = SimRng::new(count);
        let key = |_| u128::from(rng.next_u64()) << 64 | u128::from(rng.next_u64());
        let mut slots: Vec<Slot> = (1..=count).map(|offset| slot(key(offset), offset)).collect();
        slots.sort_by_key(Slot::key);
        slots
    }

    fn write(fs: &SimFs, slots: &[Slot]) -> Option<KeyFile> {
        fs.create_dir_all(Path::new("/d")).expect("folder");
        let mut writer = Writer::new(fs, Path::new("/d"), slots.len() as u64).expect("begun");
        slots.iter().for_each(|slot| writer.push(*slot).expect("pushed"));
        writer.finish(offsets(slots.len())).expect("finished")
    }

    fn offsets(count: usize) -> RangeInclusive<Offset> {
        Offset(1)..=Offset(count as u64)
    }

    fn open(fs: &SimFs, count: usize, shift_ms: i64) -> Result<KeyFile, DeduplicationError> {
        KeyFile::open(fs, Path::new("/d"), &offsets(count), shift_ms)
    }

    #[test]
    fn what_was_written_is_found_and_nothing_else() {
        for count in [1, 2, 72, 73, 74, 146, 1_000] {
            let (fs, slots) = (SimFs::new(), slots(count));
            let written = write(&fs, &slots).expect("keys");
            let opened = open(&fs, slots.len(), 0).expect("opened");
            for file in [&written, &opened] {
                for slot in &slots {
                    assert_eq!(file.find(slot.key()).expect("read"), Some(*slot));
                    let other = EventKey(slot.key().0 ^ 1);
                    assert_eq!(file.find(other).expect("read"), None);
                }
                let mut reader = file.reader();
                let read = std::iter::from_fn(|| reader.next().expect("read"));
                assert!(read.eq(slots.iter().copied()), "{count}");
                assert_eq!(file.keys, count);
                assert_eq!(file.times.start().as_millis(), 1_001);
                assert_eq!(
                    file.times.end().as_millis(),
                    1_000 + i64::try_from(count).expect("few")
                );
            }
            assert_eq!(written.memory_bytes(), opened.memory_bytes());
        }
    }

    #[test]
    fn times_are_shifted() {
        let fs = SimFs::new();
        write(&fs, &[slot(7, 1)]).expect("keys");
        let file = open(&fs, 1, -500).expect("opened");
        let found = file.find(EventKey(7)).expect("read").expect("there");
        assert_eq!(found.at.as_millis(), 501);
        assert_eq!((file.times.start().as_millis(), file.times.end().as_millis()), (501, 501));
    }

    #[test]
    fn a_file_without_keys_is_not_there() {
        let fs = SimFs::new();
        assert!(write(&fs, &[]).is_none());
        assert!(fs.list(Path::new("/d")).expect("listed").is_empty());
    }

    #[test]
    fn each_damaged_byte_is_noticed_when_it_is_read() {
        let (fs, slots) = (SimFs::new(), slots(80));
        let path = write(&fs, &slots).expect("keys").path().to_owned();
        let len = fs.read(&path, 1 << 20).expect("read").len();
        for at in (0..len).step_by(13).chain(len - FOOTER_BYTES..len) {
            fs.corrupt(&path, at, 0x10);
            let Ok(file) = open(&fs, slots.len(), 0) else {
                assert!(at >= 2 * BLOCK_BYTES, "only the index is read at once, not byte {at}");
                fs.corrupt(&path, at, 0x10);
                continue;
            };
            assert!(at < 2 * BLOCK_BYTES, "{at}");
            let failed = slots.iter().filter(|slot| file.find(slot.key()).is_err()).count();
            assert_eq!(failed, if at < BLOCK_BYTES { BLOCK_KEYS } else { 80 - BLOCK_KEYS });
            assert!(file.is_damaged());
            fs.corrupt(&path, at, 0x10);
        }
    }

    #[test]
    fn a_file_that_is_cut_or_has_another_name_is_not_opened() {
        let (fs, slots) = (SimFs::new(), slots(80));
        let path = write(&fs, &slots).expect("keys").path().to_owned();
        let len = fs.read(&path, 1 << 20).expect("read").len() as u64;
        fs.rename(&path, &Path::new("/d").join(file_name(&offsets(81)))).expect("renamed");
        assert!(open(&fs, 81, 0).is_err());
        fs.rename(&Path::new("/d").join(file_name(&offsets(81))), &path).expect("renamed");
        for keep in [len - 1, len - BLOCK_BYTES as u64, FOOTER_BYTES as u64, 10, 0] {
            fs.open_append(&path).expect("opened").truncate(keep).expect("cut");
            assert!(open(&fs, 80, 0).is_err(), "{keep}");
        }
    }

    #[test]
    fn a_footer_that_claims_too_much_is_refused_before_anything_is_read() {
        let fs = SimFs::new();
        fs.create_dir_all(Path::new("/d")).expect("folder");
        let footer = Footer {
            offsets: offsets(80),
            keys: u64::MAX,
            filter_blocks: u64::MAX,
            oldest_ms: 0,
            newest_ms: 0,
            index_checksum: 0,
        };
        let mut file = fs.create(&Path::new("/d").join(file_name(&offsets(80)))).expect("created");
        file.append(&footer.encode()).expect("written");
        assert!(matches!(open(&fs, 80, 0), Err(DeduplicationError::Damaged { .. })));
    }

    #[test]
    fn a_failed_read_is_an_error_and_not_an_unknown_key() {
        let fs = SimFs::new();
        let file = write(&fs, &[slot(7, 1)]).expect("keys");
        fs.fail_next(FsOperation::Read, std::io::ErrorKind::Other);
        assert!(file.find(EventKey(7)).is_err());
    }

    #[test]
    fn names_and_offsets_stand_for_each_other() {
        let name = "00000000000000000001-00000000000000000250.keys";
        assert_eq!(offsets_of(name), Some(Offset(1)..=Offset(250)));
        for other in ["1-250.keys", "new", "00000000000000000001.keys", "manifest", ".keys"] {
            assert_eq!(offsets_of(other), None, "{other}");
        }
    }
}
