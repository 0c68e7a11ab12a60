//! The files of a journal: their names, and reading one.

use std::path::{Path, PathBuf};

use platform::{File, Fs, FsError};

use crate::Sequence;
use crate::frame::{FRAME_HEADER_BYTES, FrameHeader, HEADER_BYTES, HeaderCheck, SegmentHeader};

/// What follows the first sequence in the name of a segment.
const EXTENSION: &str = ".journal";

/// What follows that in the name of a segment that was set aside.
const DAMAGED: &str = ".damaged";

/// The digits of a sequence in a name: those of the largest, so that names sort as their sequences do.
const NAME_DIGITS: usize = 20;

/// What a reader fetches at once, in bytes; more only for a longer record.
const WINDOW_BYTES: usize = 256 << 10;

/// What is fetched of a segment of which only the header is looked at, in bytes.
const BEGINNING_BYTES: usize = HEADER_BYTES;

/// A segment as the folder lists it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct SegmentFile {
    pub(crate) first: Sequence,
    pub(crate) path: PathBuf,
    pub(crate) damaged: bool,
}

/// Returns the path of the segment that begins with `first`.
pub(crate) fn segment_path(dir: &Path, first: Sequence) -> PathBuf {
    dir.join(format!("{:0NAME_DIGITS$}{EXTENSION}", first.0))
}

/// Returns a path in `dir` for the damaged segment that begins with `first` at which there is nothing yet.
pub(crate) fn damaged_path(fs: &dyn Fs, dir: &Path, first: Sequence) -> Result<PathBuf, FsError> {
    let mut path = segment_path(dir, first);
    path.as_mut_os_string().push(DAMAGED);
    let mut candidate = path.clone();
    let mut copies = 1_u32;
    while fs.exists(&candidate)? {
        copies = copies.saturating_add(1);
        candidate.clone_from(&path);
        candidate.as_mut_os_string().push(format!("-{copies}"));
    }
    Ok(candidate)
}

/// Returns the segments in `dir` in the order of their sequences. Files with other names are not ours.
pub(crate) fn list_segments(fs: &dyn Fs, dir: &Path) -> Result<Vec<SegmentFile>, FsError> {
    let entries = fs.list(dir)?.into_iter().filter(|entry| !entry.is_dir);
    Ok(entries
        .filter_map(|entry| {
            let (digits, rest) = entry.name.split_once(EXTENSION)?;
            let numeric = digits.len() == NAME_DIGITS && digits.bytes().all(|b| b.is_ascii_digit());
            let damaged = rest.starts_with(DAMAGED);
            let first = Sequence(digits.parse().ok()?);
            (numeric && (damaged || rest.is_empty())).then(|| SegmentFile {
                first,
                path: dir.join(&entry.name),
                damaged,
            })
        })
        .collect())
}

/// Reads a segment through a window, so that memory is bounded by the longest record and not by the file.
#[derive(Debug)]
pub(crate) struct SegmentReader {
    file: Box<dyn File>,
    bytes: u64,
    window: Vec<u8>,
    window_start: u64,
    window_bytes: usize,
}

/// A valid frame.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Frame {
    pub(crate) sequence: Sequence,
    pub(crate) body_bytes: usize,
    pub(crate) end: u64,
}

impl SegmentReader {
    pub(crate) fn open(fs: &dyn Fs, path: &Path) -> Result<Self, FsError> {
        let file = fs.open(path)?;
        let bytes = file.byte_len()?;
        let window_bytes = WINDOW_BYTES;
        Ok(Self { file, bytes, window: Vec::new(), window_start: 0, window_bytes })
    }

    /// Opens a segment to look at its header only.
    pub(crate) fn open_beginning(fs: &dyn Fs, path: &Path) -> Result<Self, FsError> {
        Ok(Self { window_bytes: BEGINNING_BYTES, ..Self::open(fs, path)? })
    }

    /// Takes the segment as no longer than `bytes`.
    pub(crate) fn limit(&mut self, bytes: u64) {
        self.bytes = self.bytes.min(bytes);
    }

    /// Returns what the header of the segment is; `None` if the segment is shorter than one.
    pub(crate) fn header(&mut self) -> Result<Option<HeaderCheck>, FsError> {
        Ok(self.bytes_at(0, HEADER_BYTES)?.map(SegmentHeader::check))
    }

    pub(crate) fn byte_len(&self) -> u64 {
        self.bytes
    }

    /// Returns `count` bytes from `offset` on, or `None` if the segment ends before.
    pub(crate) fn bytes_at(&mut self, offset: u64, count: usize) -> Result<Option<&[u8]>, FsError> {
        let Some(left) = self.bytes.checked_sub(offset).filter(|left| *left >= count as u64) else {
            return Ok(None);
        };
        let cached = |start: u64, len: usize| {
            let skip = usize::try_from(offset.checked_sub(start)?).ok()?;
            (skip.checked_add(count)? <= len).then_some(skip)
        };
        if cached(self.window_start, self.window.len()).is_none() {
            let fetched =
                usize::try_from(left).unwrap_or(usize::MAX).min(self.window_bytes.max(count));
            self.window.resize(fetched, 0);
            self.window_start = offset;
            if let Err(error) = self.file.read_exact_at(&mut self.window, offset) {
                self.window.clear();
                return Err(error);
            }
        }
        let skip = cached(self.window_start, self.window.len()).unwrap_or(0);
        Ok(self.window.get(skip..skip.saturating_add(count)))
    }

    /// Returns the frame at `offset` if a valid one is there.
    pub(crate) fn frame_at(&mut self, offset: u64) -> Result<Option<Frame>, FsError> {
        let header = self.bytes_at(offset, FRAME_HEADER_BYTES)?.and_then(FrameHeader::decode);
        let Some(header) = header else { return Ok(None) };
        let Some(frame) = self.bytes_at(offset, header.frame_bytes())? else { return Ok(None) };
        let valid = frame.get(FRAME_HEADER_BYTES..).is_some_and(|body| header.covers(body));
        Ok(valid.then(|| Frame {
            sequence: header.sequence,
            body_bytes: header.body_bytes,
            end: offset.saturating_add(header.frame_bytes() as u64),
        }))
    }

    /// Returns the body of a frame that [`SegmentReader::frame_at`] found.
    pub(crate) fn body(&mut self, frame: Frame) -> Result<&[u8], FsError> {
        let start = frame.end.saturating_sub(frame.body_bytes as u64);
        Ok(self.bytes_at(start, frame.body_bytes)?.unwrap_or_default())
    }

    /// Returns where the next valid frame behind the invalid one at `offset` begins, if there is one
    /// whose sequence is above `last` and no further on than the bytes between have room for.
    ///
    /// The frame behind the claimed length is tried first, so that damage within a body never leads into that body.
    /// Otherwise every offset is tried; the bound on the sequence keeps the checksums that this takes few.
    pub(crate) fn next_frame(
        &mut self,
        offset: u64,
        last: Sequence,
    ) -> Result<Option<u64>, FsError> {
        let room = self.bytes.saturating_sub(offset) / FRAME_HEADER_BYTES as u64;
        let plausible = last.next()..=Sequence(last.0.saturating_add(room).saturating_add(1));
        let claimed = self.bytes_at(offset, FRAME_HEADER_BYTES)?.and_then(FrameHeader::decode);
        if let Some(claimed) = claimed {
            let behind = offset.saturating_add(claimed.frame_bytes() as u64);
            if self.frame_at(behind)?.is_some_and(|frame| plausible.contains(&frame.sequence)) {
                return Ok(Some(behind));
            }
        }
        let mut candidate = offset.saturating_add(1);
        while let Some(bytes) = self.bytes_at(candidate, FRAME_HEADER_BYTES)? {
            let header = FrameHeader::decode(bytes);
            if header.is_some_and(|header| plausible.contains(&header.sequence))
                && self.frame_at(candidate)?.is_some()
            {
                return Ok(Some(candidate));
            }
            candidate = candidate.saturating_add(1);
        }
        Ok(None)
    }
}
