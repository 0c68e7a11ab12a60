//! Reading a journal back.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use platform::Fs;

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

/// Checks every segment of the journal in `dir` and changes nothing. A folder that is not there is an empty journal.
///
/// # Errors
///
/// [`JournalError::UnknownVersion`], and [`JournalError::Fs`] when a file cannot be read.
pub fn verify(fs: &Arc<dyn Fs>, dir: &Path) -> Result<VerifyReport, JournalError> {
    let _ = fs.list(dir)?;
    Err(JournalError::Closed)
}
