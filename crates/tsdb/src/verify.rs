//! The check of a data folder, without changing it.

use std::path::Path;
use std::sync::Arc;

use platform::{Fs, FsErrorKind};

use crate::StoreError;
use crate::block::Block;
use crate::store::blocks::BLOCKS_DIR;
use crate::store::manifest::Manifest;
use crate::store::{JOURNAL_DIR, chain};

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct VerifyReport {
    /// Valid records of the journal.
    pub journal_records: u64,
    /// Intact blocks.
    pub blocks: u64,
    /// Samples in intact blocks.
    pub samples: u64,
    /// What is damaged, each with the file and the reason; empty when all is well.
    pub problems: Vec<String>,
}

/// Checks every record and every block below a store's folder. Changes nothing; reads everything.
///
/// # Errors
///
/// The folder cannot be read. Damage is no error but in the report.
pub fn verify(fs: &Arc<dyn Fs>, dir: &Path) -> Result<VerifyReport, StoreError> {
    fs.list(dir)?;
    let mut report = VerifyReport::default();
    let journal = journal::verify(fs, &dir.join(JOURNAL_DIR), &mut |_, _| {})?;
    report.journal_records = journal.records;
    for damage in &journal.damage {
        report.problems.push(format!("{}: {}", damage.path.display(), damage.kind));
    }
    match Manifest::read(&**fs, dir) {
        Ok(manifest) => {
            for name in manifest.unwrap_or(Manifest::EMPTY).blocks {
                verify_block(fs, &dir.join(BLOCKS_DIR).join(name), &mut report)?;
            }
        }
        Err(error) => report.add(error)?,
    }
    Ok(report)
}

fn verify_block(
    fs: &Arc<dyn Fs>,
    path: &Path,
    report: &mut VerifyReport,
) -> Result<(), StoreError> {
    let verified = Block::open(&**fs, path).and_then(|block| {
        block.verify()?;
        Ok(block.meta().samples)
    });
    match verified {
        Ok(samples) => {
            report.blocks += 1;
            report.samples += samples;
            Ok(())
        }
        Err(error) => report.add(error),
    }
}

impl VerifyReport {
    /// Adds damage; a file that is missing is damage too.
    fn add(&mut self, error: StoreError) -> Result<(), StoreError> {
        match error {
            StoreError::Damaged { .. } => self.problems.push(chain(&error)),
            StoreError::Fs(ref source) if source.kind == FsErrorKind::NotFound => {
                self.problems.push(chain(&error));
            }
            error => return Err(error),
        }
        Ok(())
    }
}
