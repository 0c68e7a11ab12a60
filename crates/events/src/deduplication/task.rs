//! What is done on disk while keys are taken: writing tables, merging files, removing what is over.

use std::mem;
use std::ops::Range;
use std::path::PathBuf;
use std::sync::Arc;

use model::Timestamp;
use platform::Fs;

use super::file::{KeyFile, Reader, Writer};
use super::manifest::{Manifest, ManifestFile};
use super::slot::Slot;
use super::{DeduplicationError, Frozen};
use crate::Offset;

/// How many neighbours are merged at once.
const MERGE_FILES: usize = 8;

/// The most keys that are merged into one file, 1 GB: while that is written, full tables wait.
const MERGED_KEYS_MAX: u64 = 1 << 24;

/// A step on disk. Run it without any lock, then hand what it returns to
/// [`Deduplication::finish`](super::Deduplication::finish).
#[derive(Debug)]
pub(crate) struct Task {
    pub(super) context: Context,
    pub(super) work: Work,
}

/// What a task starts from.
#[derive(Debug)]
pub(super) struct Context {
    pub(super) fs: Arc<dyn Fs>,
    pub(super) dir: PathBuf,
    /// The files as they are, ascending by offset.
    pub(super) files: Vec<Arc<KeyFile>>,
    pub(super) covered: Offset,
    pub(super) clock_ms: i64,
    /// Keys are over whose time is this or earlier.
    pub(super) over: Timestamp,
}

/// What a task does besides writing down which files there are now, without those whose keys are all over.
#[derive(Debug)]
pub(super) enum Work {
    /// Writes a full table.
    Write(Arc<Frozen>),
    /// Merges neighbours.
    Merge(Range<usize>),
    /// Nothing.
    List,
}

/// What a task has done. The index goes on as before until it is [told](super::Deduplication::finish).
#[derive(Debug)]
#[must_use = "the index waits for it"]
pub(crate) struct Finished {
    pub(super) result: Result<Done, DeduplicationError>,
}

/// What has changed.
#[derive(Debug)]
pub(super) struct Done {
    pub(super) files: Vec<Arc<KeyFile>>,
    pub(super) covered: Offset,
    pub(super) clock_ms: i64,
    /// Whether the oldest frozen table is in the files now.
    pub(super) wrote: bool,
}

impl Task {
    /// Does it. Blocks on the disk; a merge for as long as it takes to read and write the files.
    pub(crate) fn run(self) -> Finished {
        Finished { result: self.context.run(self.work) }
    }
}

impl Context {
    fn run(&self, work: Work) -> Result<Done, DeduplicationError> {
        let mut files = self.files.clone();
        let (mut covered, mut wrote) = (self.covered, false);
        match work {
            Work::Write(frozen) => {
                files.extend(self.write(&frozen)?.map(Arc::new));
                covered = *frozen.offsets.end();
                wrote = true;
            }
            Work::Merge(range) => {
                let merged = self.merge(self.files.get(range.clone()).unwrap_or_default())?;
                files.splice(range, merged.map(Arc::new));
            }
            Work::List => {}
        }
        files.retain(|file| *file.times.end() > self.over);
        self.publish(files, covered, wrote)
    }

    /// Makes these the files, and removes those that are not among them any more.
    fn publish(
        &self,
        files: Vec<Arc<KeyFile>>,
        covered: Offset,
        wrote: bool,
    ) -> Result<Done, DeduplicationError> {
        let named = files
            .iter()
            .map(|file| ManifestFile { offsets: file.offsets.clone(), shift_ms: file.shift_ms });
        let manifest = Manifest { covered, clock_ms: self.clock_ms, files: named.collect() };
        manifest.write(self.fs.as_ref(), &self.dir)?;
        for old in &self.files {
            if files.iter().any(|file| file.path() == old.path()) {
                continue;
            }
            if let Err(error) = self.fs.remove_file(old.path()) {
                tracing::warn!(
                    error = &error as &dyn std::error::Error,
                    "old deduplication file not removed before the next start"
                );
            }
        }
        Ok(Done { files, covered, clock_ms: self.clock_ms, wrote })
    }

    /// Writes the keys of a table that are not over.
    fn write(&self, frozen: &Frozen) -> Result<Option<KeyFile>, DeduplicationError> {
        let mut slots: Vec<Slot> =
            frozen.table.iter().filter(|slot| slot.at > self.over).copied().collect();
        slots.sort_unstable_by_key(Slot::key);
        let mut writer = Writer::new(self.fs.as_ref(), &self.dir, slots.len() as u64)?;
        for slot in slots {
            writer.push(slot)?;
        }
        writer.finish(frozen.offsets.clone())
    }

    /// Merges neighbours into one file without the keys that are over. Of the entries of one key the youngest stays.
    fn merge(&self, files: &[Arc<KeyFile>]) -> Result<Option<KeyFile>, DeduplicationError> {
        let (Some(first), Some(last)) = (files.first(), files.last()) else { return Ok(None) };
        let offsets = *first.offsets.start()..=*last.offsets.end();
        let keys_max = files.iter().map(|file| file.keys).sum();
        let mut writer = Writer::new(self.fs.as_ref(), &self.dir, keys_max)?;
        let mut inputs = Vec::with_capacity(files.len());
        for file in files {
            inputs.push(Input::new(file)?);
        }
        while let Some(lowest) =
            inputs.iter().filter_map(|input| input.next).map(|slot| slot.key()).min()
        {
            let mut youngest = None;
            for input in &mut inputs {
                // The inputs ascend by offset.
                if input.next.is_some_and(|slot| slot.key() == lowest) {
                    youngest = input.advance()?;
                }
            }
            if let Some(slot) = youngest.filter(|slot| slot.at > self.over) {
                writer.push(slot)?;
            }
        }
        writer.finish(offsets)
    }
}

/// A file that is being merged.
struct Input<'a> {
    reader: Reader<'a>,
    next: Option<Slot>,
}

impl<'a> Input<'a> {
    fn new(file: &'a KeyFile) -> Result<Self, DeduplicationError> {
        let mut reader = file.reader();
        let next = reader.next()?;
        Ok(Self { reader, next })
    }

    /// Returns the key that was next.
    fn advance(&mut self) -> Result<Option<Slot>, DeduplicationError> {
        let following = self.reader.next()?;
        Ok(mem::replace(&mut self.next, following))
    }
}

/// Returns which neighbours to merge: the smallest eight that together span no more than `span_ms` and have no more
/// than [`MERGED_KEYS_MAX`] keys.
///
/// How often a key is merged is bounded by the sizes: files of about the same size are taken first. Afterwards any
/// eight neighbours are beyond one of the limits, which bounds their number.
pub(super) fn to_merge(
    files: &[Arc<KeyFile>],
    table_keys: usize,
    span_ms: i64,
) -> Option<Range<usize>> {
    let candidates = files.windows(MERGE_FILES).enumerate().filter(|(_, files)| {
        let oldest = files.iter().map(|file| *file.times.start()).min();
        let newest = files.iter().map(|file| *file.times.end()).max();
        let span = oldest.zip(newest).map(|(oldest, newest)| newest.millis_since(oldest));
        let keys: u64 = files.iter().map(|file| file.keys).sum();
        span.is_some_and(|span| span <= span_ms)
            && keys <= MERGED_KEYS_MAX
            && !files.iter().any(|file| file.is_damaged())
    });
    let tier = |files: &[Arc<KeyFile>]| {
        files.iter().map(|file| tier_of(file.keys, table_keys)).max().unwrap_or(0)
    };
    let (first, _) = candidates.min_by_key(|(_, files)| tier(files))?;
    Some(first..first + MERGE_FILES)
}

/// Returns how often the keys of a file were merged, judged by their number.
fn tier_of(keys: u64, table_keys: usize) -> u32 {
    let mut limit = (table_keys as u64).saturating_mul(MERGE_FILES as u64 / 2);
    let mut tier = 0;
    while keys >= limit && limit < u64::MAX {
        limit = limit.saturating_mul(MERGE_FILES as u64);
        tier += 1;
    }
    tier
}
