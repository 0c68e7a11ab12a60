//! The blocks of a store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use model::{Cancellation, Labels, Matcher, SampleColumns, Series, SourceError, TimeRange};
use platform::{Fs, FsErrorKind};

use super::manifest::Manifest;
use super::{Store, chain, maintain};
use crate::block::{Block, BlockMeta, BlockOrigin, BlockWriter};
use crate::compaction::{self, MergedBlocks, Unreadable};
use crate::{Maintenance, RecoveryReport, StoreError};

/// The folder of the blocks, one file each.
pub(crate) const BLOCKS_DIR: &str = "blocks";
/// The folder of blocks that could not be opened.
const QUARANTINE_DIR: &str = "quarantine";

/// A block that is served.
#[derive(Clone, Debug)]
pub(super) struct StoredBlock {
    name: String,
    block: Block,
}

impl StoredBlock {
    pub(super) fn samples(&self) -> u64 {
        self.block.meta().samples
    }

    pub(super) fn newest(&self) -> i64 {
        self.block.meta().newest
    }
}

/// The blocks that are served, those with older writes first.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockSet {
    blocks: Arc<Vec<StoredBlock>>,
}

/// What all blocks hold together.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) samples: u64,
    pub(super) series_max: u64,
    pub(super) times: Option<(i64, i64)>,
}

impl BlockSet {
    fn new(blocks: Vec<StoredBlock>) -> Self {
        Self { blocks: Arc::new(blocks) }
    }

    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn names(&self) -> Vec<String> {
        self.blocks.iter().map(|stored| stored.name.clone()).collect()
    }

    pub(super) fn extend(&mut self, blocks: Vec<StoredBlock>) {
        Arc::make_mut(&mut self.blocks).extend(blocks);
    }

    pub(super) fn split(self, mut keep: impl FnMut(&StoredBlock) -> bool) -> (Self, Self) {
        let (kept, gone) = self.blocks.iter().cloned().partition(|stored| keep(stored));
        (Self::new(kept), Self::new(gone))
    }

    pub(super) fn summary(&self) -> Summary {
        let metas = || self.blocks.iter().map(|stored| stored.block.meta());
        let oldest = metas().map(|meta| meta.oldest).min();
        let newest = metas().map(|meta| meta.newest).max();
        Summary {
            samples: metas().map(|meta| meta.samples).sum(),
            series_max: metas().map(|meta| meta.series).max().unwrap_or(0),
            times: oldest.zip(newest),
        }
    }

    /// Returns the matching series of each block, those with later writes first.
    pub(super) fn select(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
    ) -> Result<Vec<Vec<Arc<dyn Series>>>, SourceError> {
        let select = |stored: &StoredBlock| {
            let found = stored.block.select(matchers, range, cancellation)?;
            Ok(found.into_iter().map(|series| Arc::new(series) as Arc<dyn Series>).collect())
        };
        self.blocks.iter().rev().map(select).collect()
    }

    pub(super) fn label_names(
        &self,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
        names: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        self.blocks
            .iter()
            .try_for_each(|stored| stored.block.label_names(matchers, range, cancellation, names))
    }

    pub(super) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
        cancellation: &Cancellation,
        values: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        self.blocks.iter().try_for_each(|stored| {
            stored.block.label_values(name, matchers, range, cancellation, values)
        })
    }
}

/// Opens the blocks that the manifest names, sets damaged ones aside, and removes files that it does not name.
pub(super) fn open(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    report: &mut RecoveryReport,
) -> Result<(Manifest, BlockSet), StoreError> {
    report_put_aside(&**fs, dir, report)?;
    let folder = dir.join(BLOCKS_DIR);
    fs.create_dir_all(&folder)?;
    let mut manifest = match Manifest::read(&**fs, dir) {
        Ok(Some(manifest)) => manifest,
        Ok(None) if fs.list(&folder)?.is_empty() => {
            Manifest::EMPTY.write(&**fs, dir)?;
            Manifest::EMPTY
        }
        Ok(None) => rebuilt(fs, dir, "is missing", report)?,
        Err(StoreError::Damaged { reason, .. }) => rebuilt(fs, dir, &reason, report)?,
        Err(error) => return Err(error),
    };
    sweep(&**fs, dir, &manifest)?;
    let mut blocks = Vec::new();
    for name in &manifest.blocks {
        let path = folder.join(name);
        match Block::open(&**fs, &path) {
            Ok(block) => blocks.push(StoredBlock { name: name.clone(), block }),
            Err(StoreError::Fs(error)) if error.kind != FsErrorKind::NotFound => {
                return Err(error.into());
            }
            Err(error) => {
                put_aside(&**fs, dir, name)?;
                report.quarantined.push(format!("{}: {}", path.display(), chain(&error)));
            }
        }
    }
    let blocks = BlockSet::new(blocks);
    if blocks.len() < manifest.blocks.len() {
        manifest.blocks = blocks.names();
        manifest.write(&**fs, dir)?;
    }
    Ok((manifest, blocks))
}

/// Removes the files of blocks that the manifest, which is in place, does not name.
pub(super) fn sweep(fs: &dyn Fs, dir: &Path, manifest: &Manifest) -> Result<(), StoreError> {
    let folder = dir.join(BLOCKS_DIR);
    for entry in fs.list(&folder)? {
        if !manifest.blocks.contains(&entry.name) && !entry.is_dir {
            fs.remove_file(&folder.join(&entry.name))?;
        }
    }
    Ok(())
}

/// Makes a manifest of the blocks that are there, in place of one that is lost. What the journal holds is read again
/// whole: much of it is in blocks already, and the same samples twice are the same samples.
fn rebuilt(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    reason: &str,
    report: &mut RecoveryReport,
) -> Result<Manifest, StoreError> {
    report
        .quarantined
        .push(format!("manifest: {reason}; made anew from the blocks that are there"));
    let folder = dir.join(BLOCKS_DIR);
    let mut found = Vec::new();
    for entry in fs.list(&folder)? {
        match Block::open(&**fs, &folder.join(&entry.name)) {
            Ok(block) => found.push((block.meta().journal, entry.name, block)),
            Err(StoreError::Fs(error)) => return Err(error.into()),
            Err(error) => {
                put_aside(&**fs, dir, &entry.name)?;
                report.quarantined.push(format!("{}: {}", entry.name, chain(&error)));
            }
        }
    }
    found.sort_by(|(left, left_name, _), (right, right_name, _)| {
        (left, left_name).cmp(&(right, right_name))
    });
    let merged: BTreeSet<&String> =
        found.iter().flat_map(|(_, _, block)| &block.meta().sources).collect();
    let names = found.iter().map(|(_, name, _)| name);
    let blocks = names.filter(|name| !merged.contains(name)).cloned().collect();
    let manifest = Manifest { blocks, ..Manifest::EMPTY };
    manifest.write(&**fs, dir)?;
    Ok(manifest)
}

/// Reports what was set aside before: the store is not whole until somebody has looked and removed it.
fn report_put_aside(
    fs: &dyn Fs,
    dir: &Path,
    report: &mut RecoveryReport,
) -> Result<(), StoreError> {
    let quarantine = dir.join(QUARANTINE_DIR);
    if fs.exists(&quarantine)? {
        let paths = fs.list(&quarantine)?.into_iter().map(|entry| quarantine.join(entry.name));
        report
            .quarantined
            .extend(paths.map(|path| format!("{}: was set aside earlier", path.display())));
    }
    Ok(())
}

/// Moves a block out of the way, so that nothing of it is lost.
fn put_aside(fs: &dyn Fs, dir: &Path, name: &str) -> Result<(), StoreError> {
    let path = dir.join(BLOCKS_DIR).join(name);
    if !fs.exists(&path)? {
        return Ok(());
    }
    let quarantine = dir.join(QUARANTINE_DIR);
    fs.create_dir_all(&quarantine)?;
    fs.rename(&path, &quarantine.join(name))?;
    fs.sync_dir(&quarantine)?;
    fs.sync_dir(&dir.join(BLOCKS_DIR))?;
    Ok(())
}

/// Writes series, ascending by labels, as a block; `None` when there are none.
/// The block belongs to the store once the manifest names it.
pub(super) fn write(
    store: &Store,
    end: journal::Sequence,
    series: impl Iterator<Item = (Labels, SampleColumns)>,
) -> Result<Option<StoredBlock>, StoreError> {
    let origin = BlockOrigin { level: 0, journal: end.0, sources: Vec::new() };
    write_with(store, origin, |writer| {
        for (labels, columns) in series {
            writer.append(&labels, &columns)?;
        }
        Ok(())
    })
}

fn write_with<E: From<StoreError>>(
    store: &Store,
    origin: BlockOrigin,
    fill: impl FnOnce(&mut BlockWriter) -> Result<(), E>,
) -> Result<Option<StoredBlock>, E> {
    let fs = &*store.fs;
    let folder = store.dir.join(BLOCKS_DIR);
    let name = next_name(fs, &folder)?;
    let path = folder.join(&name);
    let mut writer = BlockWriter::create(fs, &path)?;
    let written = fill(&mut writer).and_then(|()| {
        if writer.series() == 0 {
            return Ok(None);
        }
        writer.finish(origin)?;
        fs.sync_dir(&folder).map_err(StoreError::from)?;
        Ok(Some(Block::open(fs, &path)?))
    });
    match written {
        Ok(Some(block)) => Ok(Some(StoredBlock { name, block })),
        Ok(None) => {
            fs.remove_file(&path).map_err(StoreError::from)?;
            Ok(None)
        }
        Err(error) => {
            // A full disk needs the space; a file that stays is removed by the next maintenance.
            if let Err(second) = fs.remove_file(&path) {
                tracing::warn!(error = %second, "unfinished block stays for now");
            }
            Err(error)
        }
    }
}

/// Returns the name after the last one: sixteen hexadecimal digits, so that names sort as the blocks were written.
fn next_name(fs: &dyn Fs, folder: &Path) -> Result<String, StoreError> {
    let names = fs.list(folder)?;
    let numbers = names.iter().filter_map(|entry| u64::from_str_radix(&entry.name, 16).ok());
    Ok(format!("{:016x}", numbers.max().map_or(1, |last| last.saturating_add(1))))
}

/// Deletes the files of blocks that the manifest does not name any more.
pub(super) fn remove(store: &Store, blocks: &BlockSet) -> Result<(), StoreError> {
    let folder = store.dir.join(BLOCKS_DIR);
    for stored in blocks.blocks.iter() {
        store.fs.remove_file(&folder.join(&stored.name))?;
    }
    store.fs.sync_dir(&folder)?;
    Ok(())
}

/// Merges the blocks for which it is due, once. A block that turns out to be unreadable is left as it is from then on.
pub(super) fn compact(
    store: &Store,
    upkeep: &mut maintain::Upkeep,
    done: &mut Maintenance,
) -> Result<(), StoreError> {
    let blocks = store.state.read().blocks.clone();
    let metas: Vec<BlockMeta> =
        blocks.blocks.iter().map(|stored| stored.block.meta().clone()).collect();
    let is_mergeable = |position: usize| {
        let stored = blocks.blocks.get(position);
        stored.is_some_and(|stored| !upkeep.unreadable.contains(&stored.name))
    };
    let Some(chosen) = compaction::plan(&metas, is_mergeable) else { return Ok(()) };
    let sources: Vec<&StoredBlock> =
        chosen.iter().filter_map(|position| blocks.blocks.get(*position)).collect();
    let _span = tracing::info_span!(target: "trace", "compact", blocks = sources.len()).entered();
    check_room(store, &sources)?;
    let merged = match merge(store, &sources) {
        Ok(merged) => merged,
        Err(MergeError::Unreadable(Unreadable { input, error })) => {
            let Some(stored) = sources.get(input) else { return Ok(()) };
            let reason = format!("{}: is not merged any more: {error}", stored.name);
            tracing::error!(reason, "block cannot be read");
            upkeep.unreadable.insert(stored.name.clone());
            store.condition.lock().quarantined.push(reason);
            return Ok(());
        }
        Err(MergeError::Store(error)) => return Err(error),
    };
    tracing::info!(blocks = sources.len(), "blocks merged");
    let mut all = Vec::new();
    for (position, stored) in blocks.blocks.iter().enumerate() {
        if chosen.last() == Some(&position) {
            all.extend(merged.clone());
        } else if !chosen.contains(&position) {
            all.push(stored.clone());
        }
    }
    let replaced = BlockSet::new(sources.iter().copied().cloned().collect());
    maintain::replace(store, upkeep, BlockSet::new(all))?;
    done.blocks_compacted += sources.len() as u64;
    remove(store, &replaced)
}

/// Checks that merging leaves space for what is written meanwhile.
fn check_room(store: &Store, sources: &[&StoredBlock]) -> Result<(), StoreError> {
    let bytes: u64 = sources.iter().map(|stored| stored.block.meta().bytes).sum();
    let needed_bytes = bytes.saturating_mul(2);
    let available_bytes = store.fs.space(&store.dir)?.available_bytes;
    if available_bytes < needed_bytes {
        return Err(StoreError::NoRoom { needed_bytes, available_bytes });
    }
    Ok(())
}

/// Why blocks could not be merged.
#[derive(Debug)]
enum MergeError {
    Unreadable(Unreadable),
    Store(StoreError),
}

impl From<Unreadable> for MergeError {
    fn from(unreadable: Unreadable) -> Self {
        Self::Unreadable(unreadable)
    }
}

impl From<StoreError> for MergeError {
    fn from(error: StoreError) -> Self {
        Self::Store(error)
    }
}

fn merge(store: &Store, sources: &[&StoredBlock]) -> Result<Option<StoredBlock>, MergeError> {
    let metas = || sources.iter().map(|stored| stored.block.meta());
    let origin = BlockOrigin {
        level: metas().map(|meta| meta.level).max().unwrap_or(0).saturating_add(1),
        journal: metas().map(|meta| meta.journal).max().unwrap_or(0),
        sources: sources.iter().map(|stored| stored.name.clone()).collect(),
    };
    let inputs: Vec<Block> = sources.iter().map(|stored| stored.block.clone()).collect();
    let mut merged = MergedBlocks::new(&inputs)?;
    write_with(store, origin, |writer| {
        while let Some((labels, columns)) = merged.next()? {
            writer.append(&labels, &columns)?;
        }
        Ok(())
    })
}
