//! The check of a log's folder, without changing it.

use std::path::Path;
use std::sync::Arc;

use platform::Fs;

use crate::embedded::record::Record;
use crate::embedded::{LOG_DIR, OpenError};

/// The most undecodable entries that are named one by one.
const NAMED_MAX: u64 = 100;

/// What a check has found.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct LogVerifyReport {
    /// Entries that can be read.
    pub entries: u64,
    /// Segments of the log.
    pub segments: u64,
    /// Bytes of an unfinished write at the end, which the next opening cuts.
    pub torn_bytes: u64,
    /// What is damaged, each with the file or the offset and the reason; empty when all is well.
    pub problems: Vec<String>,
}

/// Checks every entry of the event log in `dir`. Changes nothing; reads everything.
///
/// # Errors
///
/// The folder cannot be read. Damage is no error but in the report.
pub fn verify(fs: &Arc<dyn Fs>, dir: &Path) -> Result<LogVerifyReport, OpenError> {
    let mut report = LogVerifyReport::default();
    let mut undecodable = 0_u64;
    let journal = journal::verify(fs, &dir.join(LOG_DIR), &mut |sequence, record| {
        let Err(error) = Record::decode(record) else {
            report.entries = report.entries.saturating_add(1);
            return;
        };
        undecodable = undecodable.saturating_add(1);
        if undecodable <= NAMED_MAX {
            report.problems.push(format!("offset {sequence}: {error}"));
        }
    })?;
    if undecodable > NAMED_MAX {
        report.problems.push(format!("{} further entries", undecodable - NAMED_MAX));
    }
    report.segments = journal.segments;
    report.torn_bytes = journal.torn_bytes;
    for damage in &journal.damage {
        report.problems.push(format!("{}: {}", damage.path.display(), damage.kind));
    }
    Ok(report)
}
