//! What is found on disk at the start.

use std::collections::VecDeque;
use std::ops::RangeInclusive;
use std::path::Path;
use std::sync::Arc;

use platform::{Clock, Fs, FsErrorKind};

use super::file::{KeyFile, NEW_NAME, file_name, offsets_of};
use super::manifest::Manifest;
use super::slot::Table;
use super::{Deduplication, DeduplicationConfig, DeduplicationError};
use crate::Offset;

/// What the last file that was found damaged is renamed to.
const DAMAGED_NAME: &str = "damaged";

impl Deduplication {
    /// Opens the index in `dir`, created if missing, for a log that ends at `end`: behind its last durable entry.
    ///
    /// The log has to [replay](Deduplication::replay) everything behind [`Deduplication::covered`] before the first
    /// key is looked up. Reads what is kept in memory of the files, 2.2 bytes a key.
    ///
    /// A file that is missing, damaged or goes beyond the end of the log is left out with all after it, so that more
    /// has to be replayed. The last damaged file is kept as `damaged`.
    ///
    /// # Errors
    ///
    /// [`DeduplicationError::Fs`], when the folder cannot be listed or changed.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        config: DeduplicationConfig,
        clock: Arc<dyn Clock>,
        end: Offset,
    ) -> Result<Self, DeduplicationError> {
        fs.create_dir_all(dir)?;
        let (files, covered) = load(fs.as_ref(), dir, end)?;
        let started = (clock.now(), clock.monotonic());
        Ok(Self {
            fs,
            dir: dir.to_owned(),
            config,
            clock,
            started,
            pending: Table::default(),
            pending_order: VecDeque::new(),
            table: Table::default(),
            confirmed: covered,
            frozen: VecDeque::new(),
            covered,
            files,
            noted_clock_ms: 0,
            busy: false,
        })
    }
}

/// Returns the files that can be used, and the offset up to which they hold everything.
fn load(
    fs: &dyn Fs,
    dir: &Path,
    end: Offset,
) -> Result<(Vec<Arc<KeyFile>>, Offset), DeduplicationError> {
    let mut manifest = Manifest::read(fs, dir).unwrap_or_else(|error| {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "list of deduplication files is lost, the keys are read from the log"
        );
        None
    });
    let manifest = manifest.get_or_insert_default();
    let last = Offset(end.0.saturating_sub(1));
    let mut files = Vec::with_capacity(manifest.files.len());
    let mut covered = manifest.covered.min(last);
    for named in &manifest.files {
        let shift_ms = named.shift_ms.saturating_add(manifest.clock_ms);
        let file = (*named.offsets.end() <= last)
            .then(|| open_file(fs, dir, &named.offsets, shift_ms))
            .flatten();
        let Some(file) = file else {
            covered = Offset(named.offsets.start().0.saturating_sub(1));
            break;
        };
        files.push(Arc::new(file));
    }
    if (files.len(), covered) != (manifest.files.len(), manifest.covered) {
        // Times and clock stay as they are: they belong together.
        manifest.files.truncate(files.len());
        manifest.covered = covered;
        manifest.write(fs, dir)?;
    }
    remove_leftovers(fs, dir, &files)?;
    Ok((files, covered))
}

/// Opens a file; sets it aside when that is not possible.
fn open_file(
    fs: &dyn Fs,
    dir: &Path,
    offsets: &RangeInclusive<Offset>,
    shift_ms: i64,
) -> Option<KeyFile> {
    let error = match KeyFile::open(fs, dir, offsets, shift_ms) {
        Ok(file) => return Some(file),
        Err(error) => error,
    };
    tracing::warn!(
        error = &error as &dyn std::error::Error,
        "deduplication file is left out, its keys are read from the log"
    );
    let missing =
        matches!(&error, DeduplicationError::Fs(error) if error.kind == FsErrorKind::NotFound);
    if !missing
        && let Err(error) = fs.rename(&dir.join(file_name(offsets)), &dir.join(DAMAGED_NAME))
    {
        tracing::warn!(
            error = &error as &dyn std::error::Error,
            "damaged deduplication file is not set aside"
        );
    }
    None
}

/// Removes files of ours that are in no use.
fn remove_leftovers(
    fs: &dyn Fs,
    dir: &Path,
    files: &[Arc<KeyFile>],
) -> Result<(), DeduplicationError> {
    for entry in fs.list(dir)? {
        let used = files.iter().any(|file| file_name(&file.offsets) == entry.name);
        if entry.name == NEW_NAME || (offsets_of(&entry.name).is_some() && !used) {
            fs.remove_file(&dir.join(&entry.name))?;
        }
    }
    Ok(())
}
