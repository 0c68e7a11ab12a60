//! The blocks of a store.

use std::collections::BTreeSet;
use std::path::Path;
use std::sync::Arc;

use model::{Cancellation, Labels, Matcher, SampleColumns, Series, SourceError, TimeRange};
use platform::Fs;

use super::Store;
use super::maintain::Upkeep;
use super::manifest::Manifest;
use crate::{Maintenance, RecoveryReport, StoreError};

/// A block that is served.
#[derive(Clone, Debug)]
pub(super) struct StoredBlock {}

impl StoredBlock {
    pub(super) fn samples(&self) -> u64 {
        0
    }

    pub(super) fn newest(&self) -> i64 {
        0
    }
}

/// The blocks that are served, those with older writes first.
#[derive(Clone, Debug, Default)]
pub(super) struct BlockSet {
    blocks: Vec<StoredBlock>,
}

/// What all blocks hold together.
#[derive(Debug, Default)]
pub(super) struct Summary {
    pub(super) samples: u64,
    pub(super) series_max: u64,
    pub(super) times: Option<(i64, i64)>,
}

impl BlockSet {
    pub(super) fn len(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.blocks.is_empty()
    }

    pub(super) fn names(&self) -> Vec<String> {
        Vec::new()
    }

    pub(super) fn extend(&mut self, blocks: Vec<StoredBlock>) {
        self.blocks.extend(blocks);
    }

    pub(super) fn split(self, mut keep: impl FnMut(&StoredBlock) -> bool) -> (Self, Self) {
        let (kept, gone) = self.blocks.into_iter().partition(|block| keep(block));
        (Self { blocks: kept }, Self { blocks: gone })
    }

    pub(super) fn summary(&self) -> Summary {
        Summary::default()
    }

    pub(super) fn select(
        &self,
        _matchers: &[Matcher],
        _range: TimeRange,
        _cancellation: &Cancellation,
    ) -> Result<Vec<Vec<Arc<dyn Series>>>, SourceError> {
        Ok(Vec::new())
    }

    pub(super) fn label_names(
        &self,
        _matchers: &[Matcher],
        _range: TimeRange,
        _cancellation: &Cancellation,
        _names: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        Ok(())
    }

    pub(super) fn label_values(
        &self,
        _name: &str,
        _matchers: &[Matcher],
        _range: TimeRange,
        _cancellation: &Cancellation,
        _values: &mut BTreeSet<String>,
    ) -> Result<(), SourceError> {
        Ok(())
    }
}

/// Opens the blocks that the manifest names.
pub(super) fn open(
    fs: &Arc<dyn Fs>,
    dir: &Path,
    _report: &mut RecoveryReport,
) -> Result<(Manifest, BlockSet), StoreError> {
    let manifest = match Manifest::read(&**fs, dir)? {
        Some(manifest) => manifest,
        None => {
            Manifest::EMPTY.write(&**fs, dir)?;
            Manifest::EMPTY
        }
    };
    Ok((manifest, BlockSet::default()))
}

pub(super) fn write(
    _store: &Store,
    _upkeep: &Upkeep,
    _end: journal::Sequence,
    _series: impl Iterator<Item = (Labels, SampleColumns)>,
) -> Result<Option<StoredBlock>, StoreError> {
    Err(StoreError::ReadOnly { reason: "blocks".to_owned() })
}

pub(super) fn remove(_store: &Store, _blocks: BlockSet) -> Result<(), StoreError> {
    Ok(())
}

pub(super) fn compact(
    _store: &Store,
    _upkeep: &mut Upkeep,
    _done: &mut Maintenance,
) -> Result<(), StoreError> {
    Ok(())
}

/// Whether blocks can be written yet.
pub(super) const WRITABLE: bool = false;
