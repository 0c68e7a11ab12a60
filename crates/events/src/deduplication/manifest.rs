//! The file that says which files of keys there are.
//!
//! A text file, so that a person can read it; `docs/formats/deduplication.md` describes it. It is replaced as a
//! whole, which is what makes a step of the index happen or not happen: files that it does not name are leftovers.

use std::fmt::Write as _;
use std::ops::RangeInclusive;
use std::path::Path;

use platform::{Fs, FsError, FsErrorKind};

use super::DeduplicationError;
use super::file::{file_name, offsets_of};
use crate::Offset;

const FILE: &str = "manifest";
const FILE_NEW: &str = "manifest.new";
const HEADER: &str = "tinyobs keys 1";
const BYTES_MAX: u64 = 1 << 20;

/// Which files there are.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Manifest {
    /// Everything up to here is in the files, or was older than the window.
    pub(super) covered: Offset,
    /// What is added to the clock that ages are counted on to have the wall clock, as it was when this was written.
    pub(super) clock_ms: i64,
    /// The files, ascending by offset.
    pub(super) files: Vec<ManifestFile>,
}

/// A file of keys.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct ManifestFile {
    /// The first and the last offset whose keys are in it: its name.
    pub(super) offsets: RangeInclusive<Offset>,
    /// What is added to its times to have them on the clock that ages are counted on.
    pub(super) shift_ms: i64,
}

impl Manifest {
    /// Reads the manifest in `dir`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError`], also for a version that is not known.
    pub(super) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, DeduplicationError> {
        let path = dir.join(FILE);
        let bytes = match fs.read(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == FsErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let manifest = std::str::from_utf8(&bytes).ok().and_then(Self::parse);
        let reason = "it is not an intact list of files";
        manifest.map(Some).ok_or(DeduplicationError::Damaged { path, reason })
    }

    /// Replaces the manifest in `dir`, durably.
    ///
    /// # Errors
    ///
    /// The disk refused; the old one may or may not be in place.
    pub(super) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), FsError> {
        let new = dir.join(FILE_NEW);
        if fs.exists(&new)? {
            fs.remove_file(&new)?;
        }
        let mut file = fs.create(&new)?;
        file.append(self.to_text().as_bytes())?;
        file.sync_data()?;
        fs.rename(&new, &dir.join(FILE))?;
        fs.sync_dir(dir)
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\ncovered {}\nclock {}\n", self.covered, self.clock_ms);
        for file in &self.files {
            let name = file_name(&file.offsets);
            // Writing to a text does not fail.
            writeln!(text, "file {name} {}", file.shift_ms).unwrap_or_default();
        }
        let checksum = crc32c::crc32c(text.as_bytes());
        writeln!(text, "checksum {checksum:08x}").unwrap_or_default();
        text
    }

    fn parse(text: &str) -> Option<Self> {
        let (content, checksum) = text.split_at_checked(text.rfind("checksum ")?)?;
        if checksum != format!("checksum {:08x}\n", crc32c::crc32c(content.as_bytes())) {
            return None;
        }
        let mut lines = content.lines();
        if lines.next()? != HEADER {
            return None;
        }
        let covered = Offset(lines.next()?.strip_prefix("covered ")?.parse().ok()?);
        let clock_ms = lines.next()?.strip_prefix("clock ")?.parse().ok()?;
        let files = lines.map(|line| {
            let (name, shift) = line.strip_prefix("file ")?.split_once(' ')?;
            Some(ManifestFile { offsets: offsets_of(name)?, shift_ms: shift.parse().ok()? })
        });
        Some(Self { covered, clock_ms, files: files.collect::<Option<_>>()? })
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn manifest() -> Manifest {
        let file = |first, last, shift_ms| ManifestFile {
            offsets: Offset(first)..=Offset(last),
            shift_ms,
        };
        Manifest {
            covered: Offset(5_000),
            clock_ms: -7_200_000,
            files: vec![file(1, 4_000, 12), file(4_001, 5_000, 0)],
        }
    }

    #[test]
    fn the_text_is_as_documented_and_read_back() {
        let text = manifest().to_text();
        let (content, checksum) = text.split_at(text.rfind("checksum").expect("checksum"));
        let expected = "tinyobs keys 1\ncovered 5000\nclock -7200000\n\
            file 00000000000000000001-00000000000000004000.keys 12\n\
            file 00000000000000004001-00000000000000005000.keys 0\n";
        assert_eq!(content, expected);
        assert_eq!(checksum, format!("checksum {:08x}\n", crc32c::crc32c(expected.as_bytes())));
        assert_eq!(Manifest::parse(&text), Some(manifest()));
        assert_eq!(Manifest::parse(&Manifest::default().to_text()), Some(Manifest::default()));
    }

    #[test]
    fn no_changed_or_cut_text_is_taken() {
        let text = manifest().to_text();
        for at in 0..text.len() {
            assert_eq!(Manifest::parse(&text[..at]), None, "{at}");
            let mut changed = text.clone().into_bytes();
            changed[at] ^= 1;
            let changed = String::from_utf8(changed).expect("ascii");
            assert_eq!(Manifest::parse(&changed), None, "{at}");
        }
    }

    #[test]
    fn another_version_is_not_taken() {
        let content = "tinyobs keys 2\ncovered 1\nclock 0\n";
        let text = format!("{content}checksum {:08x}\n", crc32c::crc32c(content.as_bytes()));
        assert_eq!(Manifest::parse(&text), None);
    }
}
