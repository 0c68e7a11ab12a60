//! Writing a block, series by series.

use std::collections::HashMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use model::{Labels, SampleColumns};
use platform::{File, Fs};
use xxhash_rust::xxh3::xxh3_64;

use super::index::{ChunkRef, Column, push_column, push_entry};
use super::{BlockMeta, CHUNK_SAMPLES_MAX, MAGIC, SECTION_BYTES_MAX, SECTIONS, codec};
use crate::{StoreError, varint};

/// Bytes that are gathered before they are written.
const BUFFER_BYTES: usize = 1 << 20;
/// Most numbers in the columns of times that are remembered to be shared; then all are forgotten.
const SHARED_TIMES_MAX: usize = 4 << 20;
/// How hard the sections of the index are compressed.
const ZSTD_LEVEL: i32 = 6;
/// Stands between name and value of a pair in memory: no UTF-8 text has it.
const PAIR_SEPARATOR: u8 = 0xff;

/// Where the samples of a new block come from.
#[derive(Clone, Debug, Default)]
pub(crate) struct BlockOrigin {
    /// See [`BlockMeta`].
    pub(crate) level: u32,
    pub(crate) journal: u64,
    pub(crate) sources: Vec<String>,
}

/// A column of times and its number.
type SharedTimes = (Arc<[i64]>, u32);

/// Writes one block. What is not finished is not a block; the file is then to be removed.
///
/// Memory: the index, and a bounded part of the rest.
#[derive(Debug)]
pub(crate) struct BlockWriter {
    path: PathBuf,
    file: Box<dyn File>,
    /// What is not written yet.
    buffer: Vec<u8>,
    /// The length of the file with the buffer.
    offset: u64,
    meta: BlockMeta,
    last: Option<Labels>,
    /// Label pairs, numbered as they appear.
    pairs: HashMap<Box<[u8]>, u32>,
    columns: Vec<Column>,
    /// Columns of times by their hash.
    shared: HashMap<u64, Vec<SharedTimes>>,
    shared_times: usize,
    /// For every series the number of its pairs and the pairs.
    entry_pairs: Vec<u8>,
    /// For every series the number of its chunks and the chunks.
    entry_chunks: Vec<u8>,
    chunks_end: u64,
    scratch: Vec<u8>,
}

impl BlockWriter {
    /// Creates the file.
    ///
    /// # Errors
    ///
    /// The disk refused, or there is such a file.
    pub(crate) fn create(fs: &dyn Fs, path: &Path) -> Result<Self, StoreError> {
        let file = fs.create(path)?;
        Ok(Self {
            path: path.to_owned(),
            file,
            buffer: MAGIC.to_vec(),
            offset: MAGIC.len() as u64,
            meta: BlockMeta { oldest: i64::MAX, newest: i64::MIN, ..BlockMeta::default() },
            last: None,
            pairs: HashMap::new(),
            columns: Vec::new(),
            shared: HashMap::new(),
            shared_times: 0,
            entry_pairs: Vec::new(),
            entry_chunks: Vec::new(),
            chunks_end: MAGIC.len() as u64,
            scratch: Vec::new(),
        })
    }

    /// Appends a series; one without samples is left out.
    ///
    /// # Errors
    ///
    /// The disk refused, or the labels are not after those before.
    pub(crate) fn append(
        &mut self,
        labels: &Labels,
        samples: &SampleColumns,
    ) -> Result<(), StoreError> {
        if samples.is_empty() {
            return Ok(());
        }
        if self.last.as_ref().is_some_and(|last| last >= labels) {
            return Err(self.refused("series do not ascend"));
        }
        self.last = Some(labels.clone());
        let times = samples.timestamps().chunks(CHUNK_SAMPLES_MAX);
        let values = samples.values().chunks(CHUNK_SAMPLES_MAX);
        varint::push_u64(&mut self.entry_chunks, times.len() as u64);
        for (times, values) in times.zip(values) {
            let column = self.column(times)?;
            let mut bytes = std::mem::take(&mut self.scratch);
            bytes.clear();
            codec::encode_values(values, &mut bytes);
            let (offset, len) = self.append_chunk(&bytes)?;
            self.scratch = bytes;
            varint::push_u64(&mut self.entry_chunks, u64::from(column));
            varint::push_u64(&mut self.entry_chunks, u64::from(len));
            varint::push_u64(&mut self.entry_chunks, offset - self.chunks_end);
            self.chunks_end = offset + u64::from(len);
        }
        self.append_pairs(labels)?;
        self.meta.series += 1;
        self.meta.samples += samples.len() as u64;
        Ok(())
    }

    fn append_pairs(&mut self, labels: &Labels) -> Result<(), StoreError> {
        varint::push_u64(&mut self.entry_pairs, labels.len() as u64);
        let mut key = Vec::new();
        for (name, value) in labels.iter() {
            key.clear();
            key.extend_from_slice(name.as_bytes());
            key.push(PAIR_SEPARATOR);
            key.extend_from_slice(value.as_bytes());
            let next = u32::try_from(self.pairs.len())
                .map_err(|_| self.refused("more label pairs than can be numbered"))?;
            let pair = match self.pairs.get(key.as_slice()) {
                Some(pair) => *pair,
                None => *self.pairs.entry(key.as_slice().into()).or_insert(next),
            };
            varint::push_u64(&mut self.entry_pairs, u64::from(pair));
        }
        Ok(())
    }

    /// Returns the number of a column of times, which is written unless it was already.
    fn column(&mut self, times: &[i64]) -> Result<u32, StoreError> {
        self.scratch.clear();
        self.scratch.extend(times.iter().flat_map(|time| time.to_le_bytes()));
        let hash = xxh3_64(&self.scratch);
        let known = self.shared.get(&hash).into_iter().flatten();
        if let Some((_, number)) = known.into_iter().find(|(known, _)| **known == *times) {
            return Ok(*number);
        }
        let mut bytes = std::mem::take(&mut self.scratch);
        bytes.clear();
        codec::encode_times(times, &mut bytes);
        let (offset, len) = self.append_chunk(&bytes)?;
        self.scratch = bytes;
        let number = u32::try_from(self.columns.len())
            .map_err(|_| self.refused("more columns of times than can be numbered"))?;
        let oldest = times.first().copied().unwrap_or_default();
        let newest = times.last().copied().unwrap_or_default();
        let samples = times.len() as u32;
        self.columns.push(Column { offset, bytes: len, samples, oldest, newest });
        self.meta.oldest = self.meta.oldest.min(oldest);
        self.meta.newest = self.meta.newest.max(newest);
        if self.shared_times + times.len() > SHARED_TIMES_MAX {
            self.shared.clear();
            self.shared_times = 0;
        }
        self.shared_times += times.len();
        self.shared.entry(hash).or_default().push((Arc::from(times), number));
        Ok(number)
    }

    /// Appends a chunk and its checksum; returns where it begins and how long it is.
    fn append_chunk(&mut self, bytes: &[u8]) -> Result<(u64, u32), StoreError> {
        let start = self.offset;
        self.put(bytes)?;
        self.put(&crc32c::crc32c(bytes).to_le_bytes())?;
        let len = u32::try_from(self.offset - start).map_err(|_| self.refused("chunk too long"))?;
        Ok((start, len))
    }

    fn put(&mut self, bytes: &[u8]) -> Result<(), StoreError> {
        self.buffer.extend_from_slice(bytes);
        self.offset += bytes.len() as u64;
        if self.buffer.len() >= BUFFER_BYTES {
            self.file.append(&self.buffer)?;
            self.buffer.clear();
        }
        Ok(())
    }

    /// Returns the number of series so far.
    pub(crate) fn series(&self) -> u64 {
        self.meta.series
    }

    /// Writes the index and makes the content durable. The entry in the folder is the caller's to sync.
    ///
    /// # Errors
    ///
    /// The disk refused, or the index is longer than a block can have.
    pub(crate) fn finish(mut self, origin: BlockOrigin) -> Result<BlockMeta, StoreError> {
        self.shared = HashMap::new();
        let data_end = self.offset;
        let sections = self.sections()?;
        let mut footer = Vec::new();
        varint::push_u64(&mut footer, data_end);
        for section in &sections {
            if section.len() as u64 > SECTION_BYTES_MAX {
                return Err(self.refused("index too long"));
            }
            let packed = zstd::bulk::compress(section, ZSTD_LEVEL)
                .map_err(|_| self.refused("index cannot be compressed"))?;
            varint::push_u64(&mut footer, packed.len() as u64);
            varint::push_u64(&mut footer, section.len() as u64);
            varint::push_u64(&mut footer, u64::from(crc32c::crc32c(&packed)));
            self.put(&packed)?;
        }
        let BlockOrigin { level, journal, sources } = origin;
        self.meta = BlockMeta { level, journal, sources, ..self.meta };
        push_meta(&mut footer, &self.meta);
        let len = u32::try_from(footer.len()).map_err(|_| self.refused("footer too long"))?;
        footer.extend_from_slice(&len.to_le_bytes());
        footer.extend_from_slice(&crc32c::crc32c(&footer).to_le_bytes());
        footer.extend_from_slice(&MAGIC);
        self.put(&footer)?;
        self.file.append(&self.buffer)?;
        self.file.sync_data()?;
        Ok(BlockMeta { bytes: self.offset, ..self.meta })
    }

    fn sections(&mut self) -> Result<[Vec<u8>; SECTIONS], StoreError> {
        let (pairs, numbers) = sort_pairs(std::mem::take(&mut self.pairs));
        let (series, by_pair) = self
            .series_section(&numbers)
            .ok_or_else(|| self.refused("the index was not built as expected"))?;
        let mut columns = Vec::new();
        let mut end = MAGIC.len() as u64;
        for column in &self.columns {
            push_column(&mut columns, column, &mut end);
        }
        Ok([pairs_section(&pairs), postings_section(&by_pair), columns, series])
    }

    /// Returns the series with the final numbers of pairs, and the series of every pair.
    fn series_section(&mut self, numbers: &[u32]) -> Option<(Vec<u8>, Postings)> {
        let entry_pairs = std::mem::take(&mut self.entry_pairs);
        let entry_chunks = std::mem::take(&mut self.entry_chunks);
        let mut postings = Postings::count(&entry_pairs, numbers)?;
        let (mut rest, mut rest_chunks) = (entry_pairs.as_slice(), entry_chunks.as_slice());
        let mut series = Vec::new();
        let (mut chunks_end, mut end) = (MAGIC.len() as u64, MAGIC.len() as u64);
        let mut number = 0_u32;
        let (mut pairs, mut chunks) = (Vec::new(), Vec::new());
        while !rest.is_empty() {
            pairs.clear();
            for _ in 0..varint::take_u32(&mut rest)? {
                pairs.push(*numbers.get(varint::take_u32(&mut rest)? as usize)?);
            }
            pairs.sort_unstable();
            for pair in &pairs {
                postings.push(*pair, number)?;
            }
            chunks.clear();
            for _ in 0..varint::take_u32(&mut rest_chunks)? {
                let column = varint::take_u32(&mut rest_chunks)?;
                let bytes = varint::take_u32(&mut rest_chunks)?;
                let offset = chunks_end + varint::take_u64(&mut rest_chunks)?;
                chunks_end = offset + u64::from(bytes);
                chunks.push(ChunkRef { column, bytes, offset });
            }
            push_entry(&mut series, &pairs, &chunks, &mut end);
            number += 1;
        }
        Some((series, postings))
    }

    fn refused(&self, reason: &str) -> StoreError {
        StoreError::Damaged { path: self.path.clone(), reason: format!("not written: {reason}") }
    }
}

/// The series of every pair, one list after another.
struct Postings {
    /// Where the list of each pair begins; the last is where all end.
    starts: Vec<usize>,
    used: Vec<u32>,
    series: Vec<u32>,
}

impl Postings {
    fn count(entry_pairs: &[u8], numbers: &[u32]) -> Option<Self> {
        let mut starts = vec![0_usize; numbers.len() + 1];
        let mut rest = entry_pairs;
        while !rest.is_empty() {
            for _ in 0..varint::take_u32(&mut rest)? {
                let pair = *numbers.get(varint::take_u32(&mut rest)? as usize)? as usize;
                *starts.get_mut(pair + 1)? += 1;
            }
        }
        let mut sum = 0;
        for start in &mut starts {
            sum += *start;
            *start = sum;
        }
        Some(Self { starts, used: vec![0; numbers.len()], series: vec![0; sum] })
    }

    fn push(&mut self, pair: u32, series: u32) -> Option<()> {
        let pair = pair as usize;
        let used = self.used.get_mut(pair)?;
        *self.series.get_mut(self.starts.get(pair)? + *used as usize)? = series;
        *used += 1;
        Some(())
    }
}

fn postings_section(postings: &Postings) -> Vec<u8> {
    let mut bytes = Vec::new();
    for ends in postings.starts.windows(2) {
        let [start, end] = ends else { continue };
        let list = postings.series.get(*start..*end).unwrap_or_default();
        varint::push_u64(&mut bytes, list.len() as u64);
        let mut last = 0;
        for series in list {
            varint::push_u64(&mut bytes, u64::from(series - last));
            last = *series;
        }
    }
    bytes
}

/// Returns the pairs ascending by name and value, and the place of each by its number.
fn sort_pairs(pairs: HashMap<Box<[u8]>, u32>) -> (Vec<Box<[u8]>>, Vec<u32>) {
    let mut sorted: Vec<(Box<[u8]>, u32)> = pairs.into_iter().collect();
    sorted.sort_unstable_by(|(left, _), (right, _)| split_pair(left).cmp(&split_pair(right)));
    let mut numbers = vec![0; sorted.len()];
    for (place, (_, number)) in (0..).zip(&sorted) {
        if let Some(slot) = numbers.get_mut(*number as usize) {
            *slot = place;
        }
    }
    (sorted.into_iter().map(|(pair, _)| pair).collect(), numbers)
}

fn split_pair(pair: &[u8]) -> (&[u8], &[u8]) {
    let at = pair.iter().position(|byte| *byte == PAIR_SEPARATOR).unwrap_or(pair.len());
    let (name, value) = pair.split_at(at);
    (name, value.get(1..).unwrap_or_default())
}

fn pairs_section(pairs: &[Box<[u8]>]) -> Vec<u8> {
    let mut bytes = Vec::new();
    for group in pairs.chunk_by(|left, right| split_pair(left).0 == split_pair(right).0) {
        let name = group.first().map_or(&[][..], |pair| split_pair(pair).0);
        push_bytes(&mut bytes, name);
        varint::push_u64(&mut bytes, group.len() as u64);
        let mut last: &[u8] = &[];
        for pair in group {
            let (_, value) = split_pair(pair);
            let shared = last.iter().zip(value).take_while(|(left, right)| left == right).count();
            varint::push_u64(&mut bytes, shared as u64);
            push_bytes(&mut bytes, value.get(shared..).unwrap_or_default());
            last = value;
        }
    }
    bytes
}

fn push_meta(bytes: &mut Vec<u8>, meta: &BlockMeta) {
    varint::push_i64(bytes, meta.oldest);
    varint::push_i64(bytes, meta.newest);
    varint::push_u64(bytes, meta.samples);
    varint::push_u64(bytes, meta.series);
    varint::push_u64(bytes, u64::from(meta.level));
    varint::push_u64(bytes, meta.journal);
    varint::push_u64(bytes, meta.sources.len() as u64);
    for source in &meta.sources {
        push_bytes(bytes, source.as_bytes());
    }
}

fn push_bytes(bytes: &mut Vec<u8>, text: &[u8]) {
    varint::push_u64(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}
