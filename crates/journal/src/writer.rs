//! The file work of a journal: one at a time, under the journal's outer lock.

use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::{File, Fs, FsError, FsErrorKind};

use crate::catalog::{Catalog, Segment};
use crate::frame::{HEADER_BYTES, SegmentHeader};
use crate::recovery::ScannedSegment;
use crate::segment::{SegmentFile, damaged_path, segment_path};
use crate::{Durability, JournalConfig, JournalError, Sequence};

/// The folder in the journal's folder for damaged segments whose records are not needed any more.
const SET_ASIDE_DIR: &str = "damaged";

/// Why a write did not happen.
#[derive(Debug)]
pub(crate) enum WriteFailure {
    /// The disk is full, and the files are as durable and as whole as before the write.
    Full(FsError),
    /// What the disk holds is not known.
    Unknown(FsError),
}

#[derive(Debug)]
pub(crate) struct Writer {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    segment_bytes_max: u64,
    durability: Durability,
    /// Segments that are not written any more, oldest first.
    closed: Vec<ClosedSegment>,
    active: Option<Active>,
    /// A segment that was begun and failed before it took a record: gone before writing goes on.
    unfinished: Option<PathBuf>,
    /// The last sequence that the segments hold or account for.
    end: Sequence,
    catalog: Arc<Catalog>,
}

#[derive(Debug)]
struct ClosedSegment {
    file: SegmentFile,
    end: Sequence,
}

#[derive(Debug)]
struct Active {
    first: Sequence,
    /// What its header says of the segments before it.
    preceding: Sequence,
    file: Box<dyn File>,
    bytes: u64,
}

impl Writer {
    pub(crate) fn new(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: &JournalConfig,
        mut kept: Vec<ScannedSegment>,
        end: Sequence,
    ) -> Result<Self, FsError> {
        let catalog = Arc::new(Catalog::default());
        for s in &kept {
            let segment = Segment::new(s.file.path.clone(), s.file.first, s.preceding);
            catalog.push(segment.holding(s.end, s.valid_bytes));
        }
        let whole = kept.pop_if(|s| !s.file.damaged && s.valid_bytes < config.segment_bytes_max);
        let active = match whole {
            None => None,
            Some(segment) => Some(Active {
                first: segment.file.first,
                preceding: segment.preceding,
                file: fs.open_append(&segment.file.path)?,
                bytes: segment.valid_bytes,
            }),
        };
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            segment_bytes_max: config.segment_bytes_max,
            durability: config.durability,
            closed: kept
                .into_iter()
                .map(|segment| ClosedSegment { file: segment.file, end: segment.end })
                .collect(),
            active,
            unfinished: None,
            end,
            catalog,
        })
    }

    /// Returns what readers know of the segments.
    pub(crate) fn catalog(&self) -> Arc<Catalog> {
        Arc::clone(&self.catalog)
    }

    /// Returns the first sequence of the segment being written, if it holds no record yet.
    pub(crate) fn empty_segment(&self) -> Option<Sequence> {
        self.active.as_ref().filter(|active| active.is_empty()).map(|active| active.first)
    }

    /// Appends the frames of the records from `first` to `last`, and makes them durable.
    pub(crate) fn write(
        &mut self,
        frames: &[u8],
        first: Sequence,
        last: Sequence,
    ) -> Result<(), WriteFailure> {
        let is_long =
            |active: &Active| active.bytes >= self.segment_bytes_max && !active.is_empty();
        if self.active.as_ref().is_none_or(is_long) {
            self.begin_segment(first)?;
        }
        let Some(active) = self.active.as_mut() else { return Ok(()) };
        match active.file.append(frames) {
            Err(error) if error.kind == FsErrorKind::NoSpace => {
                return Err(match active.cut_back() {
                    Ok(()) => WriteFailure::Full(error),
                    Err(error) => WriteFailure::Unknown(error),
                });
            }
            written => written.map_err(WriteFailure::Unknown)?,
        }
        if self.durability == Durability::Fsync {
            active.file.sync_data().map_err(WriteFailure::Unknown)?;
        }
        active.bytes = active.bytes.saturating_add(frames.len() as u64);
        self.end = last;
        self.catalog.grow(last, active.bytes);
        Ok(())
    }

    /// Closes the segment being written and begins the one of which `first` is the first record.
    ///
    /// The old segment is synced before the new one exists, so that only the last one can have a torn tail;
    /// the new one is synced with its entry before it takes a record. An old one without records is removed after that,
    /// so that a disk that is full again and again is not filled with them.
    pub(crate) fn begin_segment(&mut self, first: Sequence) -> Result<(), WriteFailure> {
        if let Some(active) = self.active.as_mut() {
            active.file.sync_data().map_err(WriteFailure::Unknown)?;
        }
        let path = segment_path(&self.dir, first);
        let created = self.fs.create(&path);
        // What was there before is not ours to remove.
        let ours = !matches!(&created, Err(error) if error.kind == FsErrorKind::AlreadyExists);
        self.unfinished = ours.then(|| path.clone());
        let mut file = created.map_err(|error| match error.kind {
            FsErrorKind::NoSpace => WriteFailure::Full(error),
            _ => WriteFailure::Unknown(error),
        })?;
        let empty = self.active.as_ref().filter(|active| active.is_empty());
        let preceding = empty.map_or(self.end, |active| active.preceding);
        let header = SegmentHeader { first, preceding };
        if let Err(error) = file.append(&header.encode()) {
            if error.kind != FsErrorKind::NoSpace {
                return Err(WriteFailure::Unknown(error));
            }
            self.fs.remove_file(&path).map_err(WriteFailure::Unknown)?;
            self.fs.sync_dir(&self.dir).map_err(WriteFailure::Unknown)?;
            return Err(WriteFailure::Full(error));
        }
        file.sync_data().map_err(WriteFailure::Unknown)?;
        self.fs.sync_dir(&self.dir).map_err(WriteFailure::Unknown)?;
        if let Some(active) = self.active.take() {
            self.retire(active);
        }
        self.catalog.push(Segment::new(path, first, preceding));
        self.active = Some(Active { first, preceding, file, bytes: HEADER_BYTES as u64 });
        self.end = Sequence(first.0.saturating_sub(1));
        self.unfinished = None;
        Ok(())
    }

    /// Closes a segment that another one has followed.
    fn retire(&mut self, active: Active) {
        let path = segment_path(&self.dir, active.first);
        if active.is_empty() && self.fs.remove_file(&path).is_ok() {
            self.catalog.take_newest();
            return;
        }
        let file = SegmentFile { first: active.first, path, damaged: false };
        self.closed.push(ClosedSegment { file, end: self.end });
    }

    /// Undoes what a failed write or sync may have left, durably, and begins a segment of which `first` is the first
    /// record.
    ///
    /// The segment being written is opened anew, cut back to what is durable, and synced: the bytes whose sync failed
    /// are gone from memory and disk alike, so that this sync proves all that it has to.
    pub(crate) fn restore(&mut self, first: Sequence) -> Result<(), WriteFailure> {
        if let Some(path) = &self.unfinished {
            match self.fs.remove_file(path) {
                Err(error) if error.kind != FsErrorKind::NotFound => {
                    return Err(WriteFailure::Unknown(error));
                }
                _ => self.fs.sync_dir(&self.dir).map_err(WriteFailure::Unknown)?,
            }
            self.unfinished = None;
        }
        if let Some(active) = self.active.as_mut() {
            let path = segment_path(&self.dir, active.first);
            active.file = self.fs.open_append(&path).map_err(WriteFailure::Unknown)?;
            active.cut_back().map_err(WriteFailure::Unknown)?;
        }
        self.begin_segment(first)
    }

    /// Removes closed segments that end before `sequence`, each durably before the next, so that a crash
    /// leaves no gap. Damaged ones are moved to a folder of their own instead.
    pub(crate) fn remove_before(&mut self, sequence: Sequence) -> Result<u64, JournalError> {
        let mut removed = 0;
        while self.closed.first().is_some_and(|segment| segment.end < sequence) {
            // Readers know first: who misses the file then finds that the segment is gone.
            let hidden = self.catalog.take_oldest();
            match self.remove_oldest() {
                Ok(count) => removed += count,
                Err(error) => {
                    hidden.into_iter().for_each(|segment| self.catalog.put_back(segment));
                    return Err(error);
                }
            }
            self.closed.remove(0);
            self.fs.sync_dir(&self.dir)?;
        }
        Ok(removed)
    }

    /// Removes the file of the oldest segment, or moves it if it is damaged; returns how many were removed.
    fn remove_oldest(&self) -> Result<u64, JournalError> {
        let Some(oldest) = self.closed.first() else { return Ok(0) };
        let file = &oldest.file;
        if file.damaged {
            let attic = self.dir.join(SET_ASIDE_DIR);
            self.fs.create_dir_all(&attic)?;
            let target = damaged_path(self.fs.as_ref(), &attic, file.first)?;
            self.fs.rename(&file.path, &target)?;
            self.fs.sync_dir(&attic)?;
            return Ok(0);
        }
        match self.fs.remove_file(&file.path) {
            Err(error) if error.kind != FsErrorKind::NotFound => Err(error.into()),
            _ => Ok(1),
        }
    }

    /// Makes the segment being written durable.
    pub(crate) fn sync(&mut self) -> Result<(), WriteFailure> {
        match self.active.as_mut() {
            Some(active) => active.file.sync_data().map_err(WriteFailure::Unknown),
            None => Ok(()),
        }
    }
}

impl Active {
    /// Returns whether it holds no record.
    fn is_empty(&self) -> bool {
        self.bytes == HEADER_BYTES as u64
    }

    /// Undoes an append that failed for want of space, durably.
    fn cut_back(&mut self) -> Result<(), FsError> {
        self.file.truncate(self.bytes)?;
        self.file.sync_data()
    }
}
