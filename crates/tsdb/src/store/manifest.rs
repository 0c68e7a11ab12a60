//! The file that says what the store consists of.
//!
//! A text file, so that a person can read it:
//!
//! ```text
//! tinyobs metrics 1
//! journal 4711
//! block 0000000000000001
//! checksum 1a2b3c4d
//! ```
//!
//! `journal` is the first record that no block holds; `block` names a file below `blocks/`, oldest first;
//! `checksum` is the CRC-32C of all lines before it, in hexadecimal. It is replaced as a whole, which is what makes a
//! flush or a compaction happen or not happen: blocks that it does not name are leftovers.

use std::path::Path;

use journal::Sequence;
use platform::{Fs, FsErrorKind};

use crate::StoreError;

const FILE: &str = "manifest";
const FILE_NEW: &str = "manifest.new";
const HEADER: &str = "tinyobs metrics 1";
/// What the header of every version begins with.
const HEADER_START: &str = "tinyobs metrics ";
const BYTES_MAX: u64 = 16 << 20;

/// What the store consists of.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Manifest {
    /// The first record of the journal that no block holds.
    pub(crate) journal: Sequence,
    /// The names of the blocks, those with older writes first.
    pub(crate) blocks: Vec<String>,
}

impl Manifest {
    /// The manifest of an empty store.
    pub(crate) const EMPTY: Self = Self { journal: Sequence(1), blocks: Vec::new() };

    /// Reads the manifest of the store in `dir`; `None` when there is none.
    ///
    /// # Errors
    ///
    /// It cannot be read, is damaged, or was written by a newer version.
    pub(crate) fn read(fs: &dyn Fs, dir: &Path) -> Result<Option<Self>, StoreError> {
        let path = dir.join(FILE);
        let bytes = match fs.read(&path, BYTES_MAX) {
            Ok(bytes) => bytes,
            Err(error) if error.kind == FsErrorKind::NotFound => return Ok(None),
            Err(error) => return Err(error.into()),
        };
        let parsed = std::str::from_utf8(&bytes)
            .map_err(|_| ParseError::Damaged("not a text"))
            .and_then(Self::parse);
        parsed.map(Some).map_err(|error| match error {
            ParseError::UnknownVersion => StoreError::UnknownVersion { path },
            ParseError::Damaged(reason) => StoreError::Damaged { path, reason: reason.to_owned() },
        })
    }

    /// Replaces the manifest of the store in `dir`, durably.
    ///
    /// # Errors
    ///
    /// The disk refused; the old one may or may not be in place.
    pub(crate) fn write(&self, fs: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
        self.prepare(fs, dir)?;
        Self::put_in_place(fs, dir)
    }

    /// Writes the manifest beside the one of the store in `dir`, which stays what it is.
    ///
    /// # Errors
    ///
    /// The disk refused.
    pub(crate) fn prepare(&self, fs: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
        let new = dir.join(FILE_NEW);
        if fs.exists(&new)? {
            fs.remove_file(&new)?;
        }
        let mut file = fs.create(&new)?;
        file.append(self.to_text().as_bytes())?;
        file.sync_data()?;
        Ok(())
    }

    /// Puts what [`Manifest::prepare`] has written in the place of the manifest of the store in `dir`, durably.
    ///
    /// # Errors
    ///
    /// The disk refused; the old one may or may not be in place.
    pub(crate) fn put_in_place(fs: &dyn Fs, dir: &Path) -> Result<(), StoreError> {
        fs.rename(&dir.join(FILE_NEW), &dir.join(FILE))?;
        fs.sync_dir(dir)?;
        Ok(())
    }

    fn to_text(&self) -> String {
        let mut text = format!("{HEADER}\njournal {}\n", self.journal.0);
        for block in &self.blocks {
            text.extend(["block ", block, "\n"]);
        }
        let checksum = crc32c::crc32c(text.as_bytes());
        text.push_str(&format!("checksum {checksum:08x}\n"));
        text
    }

    fn parse(text: &str) -> Result<Self, ParseError> {
        let end = text.rfind("checksum ").ok_or(ParseError::Damaged("no checksum"))?;
        let (content, checksum) = text.split_at(end);
        let expected = format!("checksum {:08x}\n", crc32c::crc32c(content.as_bytes()));
        if checksum != expected {
            return Err(ParseError::Damaged("checksum does not match"));
        }
        let mut lines = content.lines();
        match lines.next() {
            Some(HEADER) => {}
            Some(other) if other.starts_with(HEADER_START) => {
                return Err(ParseError::UnknownVersion);
            }
            _ => return Err(ParseError::Damaged("not a manifest")),
        }
        let journal = lines.next().and_then(|line| line.strip_prefix("journal "));
        let journal = journal
            .and_then(|number| number.parse().ok())
            .ok_or(ParseError::Damaged("no journal position"))?;
        let names = lines.map(|line| line.strip_prefix("block ").filter(|name| is_name(name)));
        let blocks: Option<Vec<String>> = names.map(|name| name.map(str::to_owned)).collect();
        let blocks = blocks.ok_or(ParseError::Damaged("a line is not the name of a block"))?;
        Ok(Self { journal: Sequence(journal), blocks })
    }
}

/// Why a text is not a manifest.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum ParseError {
    /// It is intact, and of a version that is not known.
    UnknownVersion,
    Damaged(&'static str),
}

/// A name never leads out of the folder.
fn is_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_alphanumeric() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use platform::SimFs;
    use proptest::prelude::*;

    use super::*;

    fn example() -> Manifest {
        Manifest { journal: Sequence(4_711), blocks: vec!["01".to_owned(), "02-a".to_owned()] }
    }

    #[test]
    fn a_manifest_is_read_back_and_replaced() {
        let fs = SimFs::new();
        let dir = Path::new("/store");
        fs.create_dir_all(dir).expect("a folder");
        assert!(Manifest::read(&*fs, dir).expect("nothing to fail").is_none());
        for manifest in [Manifest::EMPTY, example()] {
            manifest.write(&*fs, dir).expect("written");
            assert_eq!(Manifest::read(&*fs, dir).expect("read"), Some(manifest));
        }
    }

    #[test]
    fn every_damaged_byte_is_noticed() {
        let text = example().to_text();
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 1;
            let damaged = String::from_utf8(bytes).expect("still ASCII");
            assert!(Manifest::parse(&damaged).is_err(), "byte {index}");
        }
        assert_eq!(Manifest::parse(&text), Ok(example()));
    }

    #[test]
    fn a_name_that_leads_elsewhere_is_refused() {
        let manifest = Manifest { blocks: vec!["../x".to_owned()], ..Manifest::EMPTY };
        assert!(Manifest::parse(&manifest.to_text()).is_err());
    }

    proptest! {
        #[test]
        fn arbitrary_text_never_panics(text in "\\PC{0,64}") {
            drop(Manifest::parse(&text));
        }

        #[test]
        fn what_is_read_is_what_would_be_written(
            lines in proptest::collection::vec(
                prop::sample::select(vec![
                    HEADER, "journal 7", "block 01", "block ../01", "checksum 00000000", "journal", "",
                ]),
                0..5,
            )
        ) {
            let mut text: String = lines.iter().flat_map(|line| [line, "\n"]).collect();
            let checksum = crc32c::crc32c(text.as_bytes());
            text.push_str(&format!("checksum {checksum:08x}\n"));
            if let Ok(manifest) = Manifest::parse(&text) {
                prop_assert_eq!(manifest.to_text(), text);
            }
        }
    }
}
