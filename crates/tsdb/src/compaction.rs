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
/// Those that `is_mergeable` refuses stay as they are.
///
/// `blocks` are in the order of their writing, older ones first. The result can take the place of its last source:
/// no block between the first and the last of them that stays behind shares any time with them.
/// Depends on nothing but the arguments.
pub(crate) fn plan(
    blocks: &[BlockMeta],
    is_mergeable: impl Fn(usize) -> bool,
) -> Option<Vec<usize>> {
    let newest_window = blocks.iter().map(|block| window(block.newest)).max()?;
    let mut windows: Vec<i64> = blocks.iter().map(|block| window(block.oldest)).collect();
    windows.sort_unstable();
    windows.dedup();
    windows.into_iter().find_map(|number| {
        let members: Vec<(usize, &BlockMeta)> = blocks
            .iter()
            .enumerate()
            .filter(|(position, block)| window(block.oldest) == number && is_mergeable(*position))
            .collect();
        let is_over = number < newest_window;
        let whole = || rest(&members).filter(|chosen| is_over && is_in_order(blocks, chosen));
        same_level(blocks, &members).or_else(whole)
    })
}

fn window(time: i64) -> i64 {
    time.div_euclid(WINDOW_MS)
}

/// Chooses the oldest neighbours of the lowest level that has enough of them.
fn same_level(blocks: &[BlockMeta], members: &[(usize, &BlockMeta)]) -> Option<Vec<usize>> {
    let mut levels: Vec<u32> = members.iter().map(|(_, block)| block.level).collect();
    levels.sort_unstable();
    levels.dedup();
    levels.into_iter().find_map(|level| {
        let same = members.iter().filter(|(_, block)| block.level == level);
        let same: Vec<usize> = same.map(|(position, _)| *position).collect();
        let chosen = same.windows(FAN_IN).find(|chosen| is_in_order(blocks, chosen));
        chosen.map(<[usize]>::to_vec)
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
}

/// A block that cannot be read.
#[derive(Debug)]
pub(crate) struct Unreadable {
    /// Its place among the inputs.
    pub(crate) input: usize,
    pub(crate) error: SourceError,
}

impl MergedBlocks {
    /// Begins with the first series.
    ///
    /// # Errors
    ///
    /// A block cannot be read.
    pub(crate) fn new(blocks: &[Block]) -> Result<Self, Unreadable> {
        let first = |(input, block): (usize, &Block)| {
            let series = block.series_at(0).map_err(|error| Unreadable { input, error })?;
            Ok((block.clone(), 0, series))
        };
        Ok(Self { inputs: blocks.iter().enumerate().map(first).collect::<Result<_, _>>()? })
    }

    /// Returns the next series with its samples.
    ///
    /// # Errors
    ///
    /// A block cannot be read.
    pub(crate) fn next(&mut self) -> Result<Option<(Labels, SampleColumns)>, Unreadable> {
        let heads = self.inputs.iter().filter_map(|(_, _, series)| series.as_ref());
        let Some(labels) = heads.map(|series| series.labels()).min().cloned() else {
            return Ok(None);
        };
        let mut merged = SampleColumns::new();
        for (input, (block, number, head)) in self.inputs.iter_mut().enumerate() {
            let unreadable = |error| Unreadable { input, error };
            let Some(series) = head.take_if(|series| *series.labels() == labels) else { continue };
            let mut newer = SampleColumns::new();
            series.read(TimeRange::ALL, &mut newer).map_err(unreadable)?;
            merged = merge(merged, newer);
            *number += 1;
            *head = block.series_at(*number).map_err(unreadable)?;
        }
        Ok(Some((labels, merged)))
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use model::Cancellation;
    use platform::SimFs;

    use super::*;
    use crate::block::{BlockOrigin, BlockWriter};

    fn meta(level: u32, hours: (i64, i64), samples: u64) -> BlockMeta {
        let (oldest, newest) = (hours.0 * 3_600_000, hours.1 * 3_600_000 - 1);
        BlockMeta { level, oldest, newest, samples, ..BlockMeta::default() }
    }

    fn check(blocks: &[BlockMeta], expected: Option<&[usize]>) {
        assert_eq!(plan(blocks, |_| true).as_deref(), expected);
    }

    #[test]
    fn four_blocks_of_a_level_are_merged() {
        let mut blocks: Vec<_> = (0..3).map(|n| meta(0, (n * 2, n * 2 + 2), 10)).collect();
        check(&[], None);
        check(&blocks, None);
        blocks.push(meta(0, (6, 8), 10));
        check(&blocks, Some(&[0, 1, 2, 3]));
        blocks[0].level = 1;
        check(&blocks, None);
        blocks.push(meta(0, (8, 10), 10));
        check(&blocks, Some(&[1, 2, 3, 4]));
        blocks[2].level = 1;
        blocks.extend((5..8).map(|n| meta(0, (n * 2, n * 2 + 2), 10)));
        check(&blocks, Some(&[3, 4, 5, 6]));
    }

    #[test]
    fn the_rest_is_merged_once_the_window_is_over() {
        let mut blocks = vec![meta(1, (0, 8), 100), meta(1, (8, 16), 100), meta(0, (16, 24), 20)];
        check(&blocks, None);
        blocks.push(meta(0, (24, 26), 10));
        check(&blocks, Some(&[0, 1, 2]));
    }

    #[test]
    fn a_large_block_is_not_written_again_for_a_few_late_samples() {
        let next_day = meta(0, (24, 26), 10);
        check(&[meta(2, (0, 24), 100), next_day.clone(), meta(0, (3, 4), 24)], None);
        check(&[meta(2, (0, 24), 100), next_day, meta(0, (3, 4), 25)], Some(&[0, 2]));
    }

    #[test]
    fn blocks_do_not_overtake_others_of_the_same_time() {
        let blocks = [meta(2, (0, 24), 50), meta(0, (20, 26), 10), meta(0, (-3, 27), 10)];
        check(&blocks, None);
        let late = [meta(2, (0, 24), 50), meta(0, (-30, 3), 1), meta(0, (5, 6), 50)];
        check(&[late.as_slice(), &[meta(0, (30, 31), 1)]].concat(), None);
    }

    #[test]
    fn a_block_that_cannot_be_merged_is_not_overtaken_by_the_others() {
        let mut blocks: Vec<_> = (0..6).map(|n| meta(0, (n * 2, n * 2 + 2), 10)).collect();
        assert_eq!(plan(&blocks, |position| position != 2), None);
        blocks.push(meta(0, (12, 14), 10));
        assert_eq!(plan(&blocks, |position| position != 2), Some(vec![3, 4, 5, 6]));
    }

    fn block(fs: &SimFs, path: &str, series: &[(&str, &[(i64, f64)])]) -> Block {
        let mut writer = BlockWriter::create(fs, Path::new(path)).expect("created");
        for (name, samples) in series {
            let mut columns = SampleColumns::new();
            samples.iter().for_each(|(time, value)| columns.push(*time, *value));
            let labels = Labels::from_pairs([("__name__", *name)]).expect("valid");
            writer.append(&labels, &columns).expect("appended");
        }
        writer.finish(BlockOrigin::default()).expect("finished");
        Block::open(fs, Path::new(path)).expect("opened")
    }

    #[test]
    fn series_are_joined_and_the_later_block_wins() {
        let fs = SimFs::new();
        let inputs = [
            block(&fs, "/1", &[("a", &[(1, 1.0), (3, 3.0)]), ("b", &[(0, 0.0)])]),
            block(&fs, "/2", &[("a", &[(3, 9.0), (4, 4.0)]), ("c", &[(7, 7.0)])]),
        ];
        let mut merged = MergedBlocks::new(&inputs).expect("begun");
        let mut found = Vec::new();
        while let Some((labels, columns)) = merged.next().expect("read") {
            let samples = columns.iter().map(|s| (s.timestamp.as_millis(), s.value));
            found.push((
                labels.metric_name().unwrap_or_default().to_owned(),
                samples.collect::<Vec<_>>(),
            ));
        }
        let expected = [
            ("a".to_owned(), vec![(1, 1.0), (3, 9.0), (4, 4.0)]),
            ("b".to_owned(), vec![(0, 0.0)]),
            ("c".to_owned(), vec![(7, 7.0)]),
        ];
        assert_eq!(found, expected);
        let all = inputs[0].select(&[], TimeRange::ALL, &Cancellation::never());
        assert_eq!(all.expect("selected").len(), 2);
    }
}
