//! Reading a block.

use std::collections::{BTreeSet, HashMap};
use std::fmt;
use std::io::Read as _;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Cancellation, Labels, Matcher, SampleColumns, Series, SourceError, TimeRange};
use parking_lot::Mutex;
use platform::{File, Fs};

use super::index::{ChunkRef, Entry, Index, take_text};
use super::{
    BlockMeta, CRC_BYTES, FOOTER_BYTES_MAX, MAGIC, SECTION_BYTES_MAX, SECTIONS, TAIL_BYTES, codec,
};
use crate::{StoreError, varint};

/// Most numbers in the columns of times of a block that are kept decoded; then all are forgotten.
const CACHED_TIMES_MAX: usize = 1 << 20;
/// How many series are visited between two looks at the cancellation.
const SERIES_PER_CHECK: u32 = 1024;

/// An open block. Clones share everything. The file may be removed meanwhile: it is read until the last one is dropped.
#[derive(Clone, Debug)]
pub(crate) struct Block {
    shared: Arc<Shared>,
}

struct Shared {
    path: PathBuf,
    file: Box<dyn File>,
    meta: BlockMeta,
    index: Index,
    times: Mutex<TimesCache>,
}

#[derive(Default)]
struct TimesCache {
    columns: HashMap<u32, Arc<[i64]>>,
    len: usize,
}

impl fmt::Debug for Shared {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Block").field("path", &self.path).finish_non_exhaustive()
    }
}

impl Block {
    /// Opens a block and reads its index.
    ///
    /// # Errors
    ///
    /// The file cannot be read, or its ends or its index are damaged. Chunks are checked when they are read.
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, StoreError> {
        let file = fs.open(path)?;
        let (meta, index) = load(&*file, path)?;
        let times = Mutex::default();
        Ok(Self { shared: Arc::new(Shared { path: path.to_owned(), file, meta, index, times }) })
    }

    /// Returns what the block says about itself.
    pub(crate) fn meta(&self) -> &BlockMeta {
        &self.shared.meta
    }

    /// Returns the number of distinct columns of times.
    #[cfg(test)]
    pub(crate) fn columns_len(&self) -> u32 {
        self.shared.index.columns_len()
    }

    /// Returns whether any sample may lie within `range`.
    pub(crate) fn overlaps(&self, range: TimeRange) -> bool {
        let meta = self.meta();
        meta.oldest <= range.end.as_millis() && range.start.as_millis() <= meta.newest
    }

    /// Returns the series that match and may have samples within `range`, ascending by labels.
    ///
    /// # Errors
    ///
    /// Cancelled, or a label set is impossible.
    pub(crate) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<BlockSeries>, SourceError> {
        let mut found = Vec::new();
        let mut scratch = Vec::new();
        self.visit(matchers, range, cancellation, |index, entry| {
            let labels =
                index.labels(entry, &mut scratch).map_err(|reason| self.broken(&reason))?;
            let chunks = entry.chunks.as_slice().into();
            found.push(BlockSeries { block: Arc::clone(&self.shared), labels, chunks });
            Ok(())
        })?;
        Ok(found)
    }

    fn visit(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
        mut visit: impl FnMut(&Index, &Entry) -> Result<(), SourceError>,
    ) -> Result<(), SourceError> {
        cancellation.check()?;
        if !self.overlaps(range) {
            return Ok(());
        }
        let index = &self.shared.index;
        let mut visited = 0;
        index.visit(index.select(matchers), |_, entry| {
            visited += 1;
            if visited % SERIES_PER_CHECK == 0 {
                cancellation.check()?;
            }
            if entry.chunks.iter().any(|chunk| self.shared.chunk_overlaps(chunk, range)) {
                visit(index, entry)?;
            }
            Ok(())
        })
    }

    /// Adds the names of labels of matching series.
    ///
    /// # Errors
    ///
    /// Cancelled.
    pub(crate) fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
        names: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        if matchers.is_empty() && self.is_within(range) {
            names.extend(self.shared.index.names().map(str::to_owned));
            return Ok(());
        }
        self.visit(matchers, range, cancellation, |index, entry| {
            for name in index.names_of(entry) {
                if !names.contains(name) {
                    names.insert(name.to_owned());
                }
            }
            Ok(())
        })
    }

    /// Adds the values of a label among matching series.
    ///
    /// # Errors
    ///
    /// Cancelled.
    pub(crate) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
        values: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        if matchers.is_empty() && self.is_within(range) {
            values.extend(self.shared.index.values(name).map(str::to_owned));
            return Ok(());
        }
        self.visit(matchers, range, cancellation, |index, entry| {
            if let Some(value) = index.value_of(entry, name)
                && !values.contains(value)
            {
                values.insert(value.to_owned());
            }
            Ok(())
        })
    }

    fn is_within(&self, range: TimeRange) -> bool {
        let meta = self.meta();
        range.start.as_millis() <= meta.oldest && meta.newest <= range.end.as_millis()
    }

    /// Returns the series with this number, ascending by labels; `None` after the last one.
    ///
    /// # Errors
    ///
    /// The index is impossible.
    pub(crate) fn series_at(&self, number: u32) -> Result<Option<BlockSeries>, SourceError> {
        let index = &self.shared.index;
        if number >= index.series_count() {
            return Ok(None);
        }
        let mut found = None;
        index.visit([number], |_, entry| {
            let labels = index.labels(entry, &mut Vec::new()).map_err(|e| self.broken(&e))?;
            let chunks = entry.chunks.as_slice().into();
            found = Some(BlockSeries { block: Arc::clone(&self.shared), labels, chunks });
            Ok::<_, SourceError>(())
        })?;
        Ok(found)
    }

    /// Reads and checks everything.
    ///
    /// # Errors
    ///
    /// The first thing that is damaged.
    pub(crate) fn verify(&self) -> Result<(), StoreError> {
        let shared = &self.shared;
        let damaged = |reason: String| StoreError::Damaged { path: shared.path.clone(), reason };
        shared.index.check_postings().map_err(|reason| damaged(reason.to_owned()))?;
        let (mut samples, mut last) = (0, None);
        for number in 0..shared.index.series_count() {
            let series = self.series_at(number).map_err(|error| damaged(error.to_string()))?;
            let Some(series) = series else { break };
            let mut columns = SampleColumns::new();
            series
                .read(TimeRange::ALL, &mut columns)
                .map_err(|error| damaged(error.to_string()))?;
            samples += columns.len() as u64;
            if last.is_some_and(|last| last >= series.labels) {
                return Err(damaged("series do not ascend".to_owned()));
            }
            last = Some(series.labels);
        }
        if samples != shared.meta.samples
            || u64::from(shared.index.series_count()) != shared.meta.series
        {
            return Err(damaged("counts differ from the content".to_owned()));
        }
        Ok(())
    }

    fn broken(&self, reason: &str) -> SourceError {
        self.shared.broken(reason)
    }
}

impl Shared {
    fn broken(&self, reason: &str) -> SourceError {
        SourceError::Storage { reason: format!("'{}' is damaged: {reason}", self.path.display()) }
    }

    fn chunk_overlaps(&self, chunk: &ChunkRef, range: TimeRange) -> bool {
        self.index.column(chunk.column).is_some_and(|column| {
            column.oldest <= range.end.as_millis() && range.start.as_millis() <= column.newest
        })
    }

    /// Reads a chunk into `bytes`, without its checksum.
    fn read_chunk(&self, offset: u64, len: u32, bytes: &mut Vec<u8>) -> Result<(), SourceError> {
        bytes.resize(len as usize, 0);
        self.file.read_exact_at(bytes, offset).map_err(|error| {
            use std::error::Error as _;
            let source = error.source().map(|source| format!(": {source}")).unwrap_or_default();
            SourceError::Storage { reason: format!("{error}{source}") }
        })?;
        let split = bytes.split_last_chunk::<CRC_BYTES>();
        if split.is_none_or(|(chunk, crc)| crc32c::crc32c(chunk) != u32::from_le_bytes(*crc)) {
            return Err(self.broken(&format!("checksum of the chunk at byte {offset}")));
        }
        bytes.truncate(bytes.len() - CRC_BYTES);
        Ok(())
    }

    fn times(&self, number: u32) -> Result<Arc<[i64]>, SourceError> {
        if let Some(times) = self.times.lock().columns.get(&number) {
            return Ok(Arc::clone(times));
        }
        let column = self.index.column(number).ok_or_else(|| self.broken("no such column"))?;
        let mut bytes = Vec::new();
        self.read_chunk(column.offset, column.bytes, &mut bytes)?;
        let mut times = Vec::with_capacity(column.samples as usize);
        let decoded = codec::decode_times(&bytes, column.samples as usize, &mut times);
        let at = column.offset;
        decoded.map_err(|reason| self.broken(&format!("chunk at byte {at}: {reason}")))?;
        if (times.first(), times.last()) != (Some(&column.oldest), Some(&column.newest)) {
            return Err(
                self.broken(&format!("times of the chunk at byte {at} differ from the index"))
            );
        }
        let times: Arc<[i64]> = times.into();
        let mut cache = self.times.lock();
        if cache.len + times.len() > CACHED_TIMES_MAX {
            *cache = TimesCache::default();
        }
        if cache.columns.insert(number, Arc::clone(&times)).is_none() {
            cache.len += times.len();
        }
        Ok(times)
    }
}

/// One series of a block.
#[derive(Clone, Debug)]
pub(crate) struct BlockSeries {
    block: Arc<Shared>,
    labels: Labels,
    chunks: Box<[ChunkRef]>,
}

impl Series for BlockSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError> {
        let (mut bytes, mut values) = (Vec::new(), Vec::new());
        for chunk in &self.chunks {
            if !self.block.chunk_overlaps(chunk, range) {
                continue;
            }
            let times = self.block.times(chunk.column)?;
            let start = times.partition_point(|time| *time < range.start.as_millis());
            let end = times.partition_point(|time| *time <= range.end.as_millis());
            if start >= end {
                continue;
            }
            self.block.read_chunk(chunk.offset, chunk.bytes, &mut bytes)?;
            values.clear();
            codec::decode_values(&bytes, times.len(), &mut values).map_err(|reason| {
                self.block.broken(&format!("chunk at byte {}: {reason}", chunk.offset))
            })?;
            let (Some(times), Some(values)) = (times.get(start..end), values.get(start..end))
            else {
                return Err(self.block.broken("fewer values than times"));
            };
            columns.extend_from_slices(times, values);
        }
        Ok(())
    }
}

/// Reads both ends and the index of a file.
fn load(file: &dyn File, path: &Path) -> Result<(BlockMeta, Index), StoreError> {
    let damaged =
        |reason: &str| StoreError::Damaged { path: path.to_owned(), reason: reason.to_owned() };
    let len = file.byte_len()?;
    let mut head = [0; MAGIC.len()];
    let mut tail = [0; TAIL_BYTES];
    let tail_start = len.checked_sub(TAIL_BYTES as u64).ok_or_else(|| damaged("too short"))?;
    file.read_exact_at(&mut head, 0)?;
    file.read_exact_at(&mut tail, tail_start)?;
    let ([length, crc, magic @ ..], []) = tail.as_chunks::<4>() else {
        return Err(damaged("no footer"));
    };
    if head != MAGIC || magic.as_flattened() != MAGIC {
        return Err(damaged("not a block, or of a version that is not known"));
    }
    let footer_len = u32::from_le_bytes(*length) as usize;
    let footer_start = tail_start
        .checked_sub(footer_len as u64)
        .filter(|_| footer_len <= FOOTER_BYTES_MAX)
        .ok_or_else(|| damaged("impossible length of the footer"))?;
    let mut footer = vec![0; footer_len];
    file.read_exact_at(&mut footer, footer_start)?;
    let expected = crc32c::crc32c_append(crc32c::crc32c(&footer), length);
    if expected != u32::from_le_bytes(*crc) {
        return Err(damaged("checksum of the footer"));
    }
    let (data_end, places, meta) =
        parse_footer(&footer, len).ok_or_else(|| damaged("impossible footer"))?;
    let index_bytes: u64 = places.iter().map(|place| place.packed).fold(0, u64::saturating_add);
    if data_end.checked_add(index_bytes) != Some(footer_start) || data_end < MAGIC.len() as u64 {
        return Err(damaged("sections do not fill the file"));
    }
    let mut sections: [Vec<u8>; SECTIONS] = Default::default();
    let mut offset = data_end;
    for (place, section) in places.iter().zip(&mut sections) {
        *section = read_section(file, offset, place)?
            .map_err(|reason| damaged(&format!("index at byte {offset}: {reason}")))?;
        offset += place.packed;
    }
    let index = Index::parse(sections, &(MAGIC.len() as u64..data_end))
        .map_err(|reason| damaged(&format!("index: {reason}")))?;
    Ok((meta, index))
}

/// A section as the footer describes it.
#[derive(Clone, Copy, Default)]
struct Place {
    packed: u64,
    unpacked: u64,
    crc: u64,
}

fn parse_footer(footer: &[u8], len: u64) -> Option<(u64, [Place; SECTIONS], BlockMeta)> {
    let mut rest = footer;
    let data_end = varint::take_u64(&mut rest)?;
    let mut places = [Place::default(); SECTIONS];
    for place in &mut places {
        place.packed = varint::take_u64(&mut rest)?;
        place.unpacked = varint::take_u64(&mut rest)?;
        place.crc = varint::take_u64(&mut rest)?;
    }
    let mut meta = BlockMeta {
        oldest: varint::take_i64(&mut rest)?,
        newest: varint::take_i64(&mut rest)?,
        samples: varint::take_u64(&mut rest)?,
        series: varint::take_u64(&mut rest)?,
        level: varint::take_u32(&mut rest)?,
        bytes: len,
        journal: varint::take_u64(&mut rest)?,
        sources: Vec::new(),
    };
    for _ in 0..varint::take_u32(&mut rest)? {
        meta.sources.push(take_text(&mut rest)?.to_owned());
    }
    rest.is_empty().then_some((data_end, places, meta))
}

fn read_section(
    file: &dyn File,
    offset: u64,
    place: &Place,
) -> Result<Result<Vec<u8>, &'static str>, StoreError> {
    let Ok(packed_len) = u32::try_from(place.packed) else { return Ok(Err("too long")) };
    // The footer was checked against the length of the file, so this is no more than is there.
    let mut packed = vec![0; packed_len as usize];
    file.read_exact_at(&mut packed, offset)?;
    if u64::from(crc32c::crc32c(&packed)) != place.crc {
        return Ok(Err("checksum"));
    }
    let Ok(decoder) = zstd::stream::read::Decoder::with_buffer(packed.as_slice()) else {
        return Ok(Err("cannot be decompressed"));
    };
    let mut section = Vec::new();
    let limit = place.unpacked.min(SECTION_BYTES_MAX);
    if decoder.take(limit.saturating_add(1)).read_to_end(&mut section).is_err() {
        return Ok(Err("cannot be decompressed"));
    }
    section.shrink_to_fit();
    if section.len() as u64 == place.unpacked { Ok(Ok(section)) } else { Ok(Err("wrong length")) }
}
