//! Reading a journal back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::Fs;

use crate::frame::{HEADER_BYTES, HeaderCheck};
use crate::segment::{SegmentFile, SegmentReader, damaged_path, list_segments};
use crate::{JournalError, Sequence};

/// What opening a journal found and did.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Recovery {
    /// The records that were visited.
    pub records: u64,
    /// The segments that were read.
    pub segments: u64,
    /// The sequence of the last record; that of the last one ever if all were removed since.
    pub last: Sequence,
    /// The bytes of unfinished writes that were cut from the end of the last segment.
    pub torn_bytes: u64,
    /// The damage that was found, in the order of the sequences. Reported at every opening until
    /// [`Journal::remove_before`](crate::Journal::remove_before) has passed it.
    pub set_aside: Vec<SetAside>,
}

/// A stretch of a journal that could not be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct SetAside {
    /// The segment in which it is, under its present name: `….damaged`, unless the segment itself is sound
    /// and those before it are missing.
    pub path: PathBuf,
    /// Where in the segment, in bytes from its beginning.
    pub offset: u64,
    /// What is wrong there.
    pub kind: DamageKind,
    /// The sequence of the first record that is missing.
    pub first_missing: Sequence,
    /// The sequence of the next record that is there, if there is one in the segment.
    pub next_valid: Option<Sequence>,
}

/// A sort of damage.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum DamageKind {
    /// The header of the segment is not valid, or not that of this segment.
    Header,
    /// Bytes that are not a valid record.
    Frame,
    /// A valid record whose sequence is behind a gap.
    Gap,
    /// A valid record whose sequence was there before.
    Duplicate,
}

impl fmt::Display for DamageKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Header => "segment header is not valid",
            Self::Frame => "record is not valid",
            Self::Gap => "records are missing",
            Self::Duplicate => "record was there before",
        })
    }
}

/// What [`verify`] found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// The segments that were read.
    pub segments: u64,
    /// The valid records.
    pub records: u64,
    /// The bytes of an unfinished write at the end, which the next opening will cut.
    pub torn_bytes: u64,
    /// The damage, in the order of the sequences.
    pub damage: Vec<SetAside>,
}

/// Checks every segment of the journal in `dir`, visits every valid record and changes nothing. A folder that is not
/// there is an empty journal.
///
/// # Errors
///
/// [`JournalError::UnknownVersion`], and [`JournalError::Fs`] when a file cannot be read.
pub fn verify(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    visit: &mut dyn FnMut(Sequence, &[u8]),
) -> Result<VerifyReport, JournalError> {
    if !fs.exists(dir)? {
        return Ok(VerifyReport::default());
    }
    let scan = scan(fs.as_ref(), dir, Sequence::ZERO, visit)?;
    let torn_bytes = scan.segments.iter().map(|segment| segment.torn_bytes).sum();
    Ok(VerifyReport {
        segments: scan.segments.len() as u64,
        records: scan.records,
        torn_bytes,
        damage: scan.damage,
    })
}

/// What reading found at a place of a segment.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Finding {
    /// The file ends within or with a header that is not valid.
    ShortHeader,
    /// There is more than a header, and the header is not valid or names another segment.
    InvalidHeader,
    /// The segment before ends too early.
    MissingBefore,
    /// An invalid frame, and no valid one behind it in the segment.
    InvalidToEnd,
    /// An invalid frame, and a valid one behind it.
    InvalidThenValid,
    /// A valid frame whose sequence leaves some out.
    Gap,
    /// A valid frame whose sequence was there before.
    Duplicate,
}

/// What is done about a [`Finding`].
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Action {
    /// The file is removed: its header was never synced, so it cannot hold an acknowledged record.
    Remove,
    /// The file is cut there.
    Cut,
    /// The damage is reported and the file renamed; reading goes on behind the damage.
    SetAside(DamageKind),
    /// The damage is reported; the file is sound.
    Report(DamageKind),
}

/// The decision table of recovery. "Last" is the segment that was being written: the one with the highest
/// sequence, unless it was set aside before.
///
/// | finding | last | other | why |
/// |---|---|---|---|
/// | file not longer than a header, header invalid | remove | set aside | the header is synced before any record |
/// | file longer than a header, header invalid | set aside | set aside | the header was whole once |
/// | segment before ends too early | report | report | this file is sound |
/// | invalid to the end of the file | cut | set aside | only the last segment can have been left in the middle of a write |
/// | invalid, then a valid frame | set aside | set aside | a torn write leaves nothing behind it |
/// | gap in the sequences | set aside | set aside | sequences are contiguous within a segment |
/// | sequence that was there before | set aside | set aside | the same; the record is not visited again |
///
/// The sync of a segment before the next one is created makes the column "other" true.
fn decide(finding: Finding, last: bool) -> Action {
    match (finding, last) {
        (Finding::ShortHeader, true) => Action::Remove,
        (Finding::ShortHeader, false) | (Finding::InvalidHeader, _) => {
            Action::SetAside(DamageKind::Header)
        }
        (Finding::MissingBefore, _) => Action::Report(DamageKind::Gap),
        (Finding::InvalidToEnd, true) => Action::Cut,
        (Finding::InvalidToEnd, false) | (Finding::InvalidThenValid, _) => {
            Action::SetAside(DamageKind::Frame)
        }
        (Finding::Gap, _) => Action::SetAside(DamageKind::Gap),
        (Finding::Duplicate, _) => Action::SetAside(DamageKind::Duplicate),
    }
}

/// The most stretches of damage that are reported one by one; what is beyond is set aside all the same.
const REPORTS_MAX: usize = 1_000;

/// What reading the whole journal found; nothing is changed yet.
#[derive(Debug, Default)]
pub(crate) struct Scan {
    pub(crate) segments: Vec<ScannedSegment>,
    pub(crate) records: u64,
    pub(crate) last: Sequence,
    pub(crate) damage: Vec<SetAside>,
}

/// One segment and what has to be done to it.
#[derive(Debug)]
pub(crate) struct ScannedSegment {
    pub(crate) file: SegmentFile,
    /// The last sequence that the segments before it hold or account for, as far as its header tells.
    pub(crate) preceding: Sequence,
    /// The last sequence that it holds or accounts for.
    pub(crate) end: Sequence,
    /// Where its valid content ends, in bytes.
    pub(crate) valid_bytes: u64,
    pub(crate) torn_bytes: u64,
    pub(crate) set_aside: bool,
    pub(crate) remove: bool,
}

/// Reads the segments in `dir` in order and visits every valid record from `from` on once.
///
/// Of a segment that lies before `from` as a whole, and is neither the last one nor set aside, only the header is read.
pub(crate) fn scan(
    fs: &dyn Fs,
    dir: &Path,
    from: Sequence,
    visit: &mut dyn FnMut(Sequence, &[u8]),
) -> Result<Scan, JournalError> {
    let mut scan = Scan::default();
    let files = list_segments(fs, dir)?;
    let visit = &mut |sequence: Sequence, record: &[u8]| {
        if sequence >= from {
            visit(sequence, record);
        }
    };
    for (index, file) in files.iter().enumerate() {
        let following = files.get(index.saturating_add(1));
        if let Some(following) = following.filter(|following| following.first <= from)
            && scan.trust(fs, file, following)?
        {
            continue;
        }
        let last = following.is_none() && !file.damaged;
        scan.segment(fs, file.clone(), Place { first: index == 0, last }, visit)?;
    }
    Ok(scan)
}

#[derive(Clone, Copy, Debug)]
struct Place {
    first: bool,
    last: bool,
}

impl Scan {
    /// Takes a segment as whole if its header and that of the following one say nothing else; returns whether they do.
    fn trust(
        &mut self,
        fs: &dyn Fs,
        file: &SegmentFile,
        following: &SegmentFile,
    ) -> Result<bool, JournalError> {
        let mut reader = SegmentReader::open_beginning(fs, &file.path)?;
        let Some(HeaderCheck::Valid(header)) = reader.header()? else { return Ok(false) };
        let next = SegmentReader::open_beginning(fs, &following.path)?.header()?;
        let Some(HeaderCheck::Valid(next)) = next else { return Ok(false) };
        let contiguous = self.segments.is_empty() || header.preceding <= self.last;
        let whole = header.first == file.first && next.preceding.next() >= header.first;
        if file.damaged || !contiguous || !whole {
            return Ok(false);
        }
        self.last = self.last.max(next.preceding);
        self.segments.push(ScannedSegment {
            file: file.clone(),
            preceding: header.preceding,
            end: self.last,
            valid_bytes: reader.byte_len(),
            torn_bytes: 0,
            set_aside: false,
            remove: false,
        });
        Ok(true)
    }

    fn segment(
        &mut self,
        fs: &dyn Fs,
        file: SegmentFile,
        place: Place,
        visit: &mut dyn FnMut(Sequence, &[u8]),
    ) -> Result<(), JournalError> {
        let mut reader = SegmentReader::open(fs, &file.path)?;
        let mut segment = ScannedSegment {
            preceding: Sequence(file.first.0.saturating_sub(1)),
            file,
            end: self.last,
            valid_bytes: HEADER_BYTES as u64,
            torn_bytes: 0,
            set_aside: false,
            remove: false,
        };
        self.header(&mut reader, &mut segment, place)?;
        if !segment.remove {
            self.frames(&mut reader, &mut segment, place, visit)?;
        }
        if segment.set_aside || segment.file.damaged {
            // At least this one was given out: its name must not be given to another segment.
            self.last = self.last.max(segment.file.first);
        }
        segment.end = self.last;
        self.segments.push(segment);
        Ok(())
    }

    fn header(
        &mut self,
        reader: &mut SegmentReader,
        segment: &mut ScannedSegment,
        place: Place,
    ) -> Result<(), JournalError> {
        match reader.header()? {
            Some(HeaderCheck::UnknownVersion(version)) => {
                return Err(JournalError::UnknownVersion {
                    path: segment.file.path.clone(),
                    version,
                });
            }
            Some(HeaderCheck::Valid(header)) if header.first == segment.file.first => {
                if !place.first && header.preceding > self.last {
                    self.missing_before(segment, header.first, place);
                }
                segment.preceding = header.preceding;
                self.last = self.last.max(Sequence(header.first.0.saturating_sub(1)));
                return Ok(());
            }
            _ => {}
        }
        let finding = if reader.byte_len() <= HEADER_BYTES as u64 {
            Finding::ShortHeader
        } else {
            Finding::InvalidHeader
        };
        if place.first {
            self.last = Sequence(segment.file.first.0.saturating_sub(1));
        }
        if decide(finding, place.last) == Action::Remove {
            segment.torn_bytes = reader.byte_len();
        }
        self.apply(decide(finding, place.last), segment, 0, None);
        Ok(())
    }

    /// Notes what is missing before a segment, once: if the damage that swallowed it is known, it is completed.
    fn missing_before(&mut self, segment: &mut ScannedSegment, first: Sequence, place: Place) {
        let missing = self.last.next();
        match self.damage.last_mut() {
            Some(known) if known.next_valid.is_none() && known.first_missing <= missing => {
                known.next_valid = Some(first);
            }
            _ => {
                let action = decide(Finding::MissingBefore, place.last);
                self.apply(action, segment, 0, Some(first));
            }
        }
    }

    fn frames(
        &mut self,
        reader: &mut SegmentReader,
        segment: &mut ScannedSegment,
        place: Place,
        visit: &mut dyn FnMut(Sequence, &[u8]),
    ) -> Result<(), JournalError> {
        let mut offset = HEADER_BYTES as u64;
        // What was already said about the frames from here on: damage before the frame, or duplicates in a row.
        let (mut resumed, mut repeating) = (segment.set_aside, false);
        while offset < reader.byte_len() {
            let Some(frame) = reader.frame_at(offset)? else {
                let Some(next) = reader.next_frame(offset, self.last)? else {
                    self.invalid_to_end(segment, offset, reader.byte_len(), place);
                    return Ok(());
                };
                let valid = reader.frame_at(next)?.map(|frame| frame.sequence);
                let action = decide(Finding::InvalidThenValid, place.last);
                self.apply(action, segment, offset, valid);
                offset = next;
                (resumed, repeating) = (true, false);
                continue;
            };
            if frame.sequence <= self.last {
                if !repeating {
                    let action = decide(Finding::Duplicate, place.last);
                    self.apply(action, segment, offset, Some(frame.sequence));
                }
                repeating = true;
            } else {
                if frame.sequence != self.last.next() && !resumed {
                    let action = decide(Finding::Gap, place.last);
                    self.apply(action, segment, offset, Some(frame.sequence));
                }
                visit(frame.sequence, reader.body(frame)?);
                self.records += 1;
                self.last = frame.sequence;
                (resumed, repeating) = (false, false);
            }
            offset = frame.end;
            segment.valid_bytes = offset;
        }
        Ok(())
    }

    fn invalid_to_end(
        &mut self,
        segment: &mut ScannedSegment,
        offset: u64,
        byte_len: u64,
        place: Place,
    ) {
        // A file that is set aside is evidence: nothing is cut from it.
        let action = decide(Finding::InvalidToEnd, place.last && !segment.set_aside);
        if action == Action::Cut {
            segment.torn_bytes = byte_len.saturating_sub(offset);
        }
        self.apply(action, segment, offset, None);
    }

    fn apply(
        &mut self,
        action: Action,
        segment: &mut ScannedSegment,
        offset: u64,
        next_valid: Option<Sequence>,
    ) {
        let kind = match action {
            Action::Remove => {
                segment.remove = true;
                return;
            }
            Action::Cut => return,
            Action::SetAside(kind) => {
                segment.set_aside = true;
                kind
            }
            Action::Report(kind) => kind,
        };
        if self.damage.len() < REPORTS_MAX {
            self.damage.push(SetAside {
                path: segment.file.path.clone(),
                offset,
                kind,
                first_missing: self.last.next(),
                next_valid,
            });
        }
    }
}

/// Does to the files what the scan decided, and makes it durable. Returns the segments that are left, oldest first.
pub(crate) fn repair(
    fs: &dyn Fs,
    dir: &Path,
    scan: &mut Scan,
) -> Result<Vec<ScannedSegment>, JournalError> {
    let mut kept = Vec::with_capacity(scan.segments.len());
    for mut segment in std::mem::take(&mut scan.segments) {
        if segment.remove {
            fs.remove_file(&segment.file.path)?;
            continue;
        }
        if segment.set_aside && !segment.file.damaged {
            let path = damaged_path(fs, dir, segment.file.first)?;
            fs.rename(&segment.file.path, &path)?;
            for report in scan.damage.iter_mut().filter(|report| report.path == segment.file.path) {
                report.path.clone_from(&path);
            }
            segment.file.path = path;
            segment.file.damaged = true;
        }
        if segment.torn_bytes > 0 {
            fs.open_append(&segment.file.path)?.truncate(segment.valid_bytes)?;
        }
        kept.push(segment);
    }
    // What was read may be in the memory of the system only; from here on it counts as durable.
    if let Some(last) = kept.last() {
        fs.open_append(&last.file.path)?.sync_data()?;
    }
    fs.sync_dir(dir)?;
    Ok(kept)
}
