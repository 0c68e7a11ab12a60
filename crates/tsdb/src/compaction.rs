//! Which blocks are merged, and how.

use model::{Labels, SampleColumns, Series as _, SourceError, TimeRange};

use crate::block::{Block, BlockMeta, BlockSeries};
use crate::store::merge::merge;

/// Blocks are merged within spans of this length, aligned to the epoch, in milliseconds.
pub(crate) const WINDOW_MS: i64 = 24 * 3_600_000;
/// So many blocks of one level in one window are merged.
const FAN_IN: usize = 4;
/// In a window that is over, blocks are merged once the smaller ones have this part of the samples of the largest.
const REMAINDER_PART: u64 = 4;

/// Returns which blocks to merge next, as ascending positions in `blocks`; `None` when nothing is due.
///
/// `blocks` are in the order of their writing, older ones first. The result can take the place of its last source:
/// no block between the first and the last of them that stays behind shares any time with them.
/// Depends on nothing but the arguments.
pub(crate) fn plan(blocks: &[BlockMeta]) -> Option<Vec<usize>> {
    let newest_window = blocks.iter().map(|block| window(block.newest)).max()?;
    let mut windows: Vec<i64> = blocks.iter().map(|block| window(block.oldest)).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.into_iter().find_map(|number| {
        let members: Vec<(usize, &BlockMeta)> =
            blocks.iter().enumerate().filter(|(_, block)| window(block.oldest) == number).collect();
        let is_over = number < newest_window;
        let chosen = same_level(&members).or_else(|| is_over.then(|| rest(&members)).flatten())?;
        is_in_order(blocks, &chosen).then_some(chosen)
    })
}

fn window(time: i64) -> i64 {
    time.div_euclid(WINDOW_MS)
}

/// Chooses the oldest blocks of the lowest level that has enough of them.
fn same_level(members: &[(usize, &BlockMeta)]) -> Option<Vec<usize>> {
    let mut levels: Vec<u32> = members.iter().map(|(_, block)| block.level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels.into_iter().find_map(|level| {
        let same = members.iter().filter(|(_, block)| block.level == level);
        let chosen: Vec<usize> = same.map(|(position, _)| *position).take(FAN_IN).collect();
        (chosen.len() == FAN_IN).then_some(chosen)
    })
}

/// Chooses all blocks of a window when that does not rewrite much for little.
fn rest(members: &[(usize, &BlockMeta)]) -> Option<Vec<usize>> {
    let largest = members.iter().map(|(_, block)| block.samples).max()?;
    let sum: u64 = members.iter().map(|(_, block)| block.samples).sum();
    let is_worth = (sum - largest).saturating_mul(REMAINDER_PART) >= largest;
    (members.len() > 1 && is_worth).then(|| members.iter().map(|(position, _)| *position).collect())
}

fn is_in_order(blocks: &[BlockMeta], chosen: &[usize]) -> bool {
    let (Some(first), Some(last)) = (chosen.first(), chosen.last()) else { return false };
    let of_chosen = || chosen.iter().filter_map(|position| blocks.get(*position));
    let oldest = of_chosen().map(|block| block.oldest).min().unwrap_or(i64::MAX);
    let newest = of_chosen().map(|block| block.newest).max().unwrap_or(i64::MIN);
    blocks
        .iter()
        .enumerate()
        .take(*last)
        .skip(*first)
        .filter(|(position, _)| !chosen.contains(position))
        .all(|(_, block)| block.newest < oldest || newest < block.oldest)
}

/// The series of several blocks, ascending by labels, each once. Of samples at the same time that of the later
/// block is kept. Holds one series of each block in memory.
#[derive(Debug)]
pub(crate) struct MergedBlocks {
    /// Blocks with older writes first, each with its next series and that one's number.
    inputs: Vec<(Block, u32, Option<BlockSeries>)>,
    oldest: i64,
}

impl MergedBlocks {
    /// Begins with the first series; samples before `oldest`, in milliseconds, are left out.
    ///
    /// # Errors
    ///
    /// A block cannot be read.
    pub(crate) fn new(blocks: &[Block], oldest: i64) -> Result<Self, SourceError> {
        let first = |block: &Block| Ok((block.clone(), 0, block.series_at(0)?));
        Ok(Self { inputs: blocks.iter().map(first).collect::<Result<_, _>>()?, oldest })
    }

    /// Returns the next series with its samples, of which there may be none.
    ///
    /// # Errors
    ///
    /// A block cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<(Labels, SampleColumns)>, SourceError> {
        let heads = self.inputs.iter().filter_map(|(_, _, series)| series.as_ref());
        let Some(labels) = heads.map(|series| series.labels()).min().cloned() else {
            return Ok(None);
        };
        let start = model::Timestamp::from_millis(self.oldest);
        let range = TimeRange::new(start, TimeRange::ALL.end);
        let mut merged = SampleColumns::new();
        for (block, number, head) in &mut self.inputs {
            let Some(series) = head.take_if(|series| *series.labels() == labels) else { continue };
            let mut newer = SampleColumns::new();
            series.read(range, &mut newer)?;
            merged = merge(merged, newer);
            *number += 1;
            *head = block.series_at(*number)?;
        }
        Ok(Some((labels, merged)))
    }
}
