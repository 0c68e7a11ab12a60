//! Finding series in the head and in the blocks.

use std::collections::BTreeSet;
use std::sync::Arc;

use model::{Cancellation, Matcher, Series, SourceError, TimeRange};
use parking_lot::{RwLock, RwLockReadGuard};

use super::blocks::BlockSet;
use super::merge::HeadSeries;
use super::state::State;
use crate::head::Generation;
use crate::index::Index;

/// How many series are copied before writers get a turn.
const SERIES_PER_TURN: usize = 1_000;
/// How often copying begins anew because samples moved meanwhile, before writers have to wait.
const TURNS_MAX: usize = 3;

/// The head and the blocks as of one moment.
pub(super) struct View {
    /// Series of the head, its active part first; each ascending by labels.
    pub(super) head: Vec<Vec<Arc<dyn Series>>>,
    pub(super) blocks: BlockSet,
}

impl State {
    /// Returns the parts of the head, the active one first. Until the epoch changes, a place in this list means the
    /// same part, whatever is appended.
    fn parts(&self) -> impl Iterator<Item = (&Index, &Generation)> {
        let active = (&self.index, &self.active);
        let frozen = self
            .frozen
            .as_ref()
            .map(|frozen| (frozen.index.as_ref().unwrap_or(&self.index), &frozen.generation));
        [Some(active), frozen].into_iter().flatten()
    }

    /// Returns for each part of the head the series that match and may have samples within `range`.
    pub(super) fn find(&self, matchers: &[Matcher], range: TimeRange) -> Vec<Vec<u32>> {
        self.parts().map(|(index, part)| selected(index, part, matchers, range)).collect()
    }

    /// Copies series that [`State::find`] found in the part at this place; `None` when there is no such part any more.
    pub(super) fn copy(&self, place: usize, series: &[u32]) -> Option<Vec<Arc<dyn Series>>> {
        let (index, part) = self.parts().nth(place)?;
        let copied = part.snapshot(series).into_iter().map(|(series, samples)| {
            Arc::new(HeadSeries { labels: index.labels(series), samples }) as Arc<dyn Series>
        });
        Some(copied.collect())
    }

    /// Returns the names of labels of matching series in the head.
    pub(super) fn label_names(&self, matchers: &[Matcher], range: TimeRange) -> BTreeSet<String> {
        let mut names = BTreeSet::new();
        for (index, part) in self.parts().filter(|(_, part)| part.overlaps(range)) {
            let found = if matchers.is_empty() {
                index.names(|series| part.may_overlap(series, range))
            } else {
                index.names_of(selected(index, part, matchers, range).into_iter())
            };
            names.extend(found.into_iter().map(str::to_owned));
        }
        names
    }

    /// Returns the values of a label of matching series in the head.
    pub(super) fn label_values(
        &self,
        name: &str,
        matchers: &[Matcher],
        range: TimeRange,
    ) -> BTreeSet<String> {
        let mut values = BTreeSet::new();
        for (index, part) in self.parts().filter(|(_, part)| part.overlaps(range)) {
            let found = if matchers.is_empty() {
                index.values(name, |series| part.may_overlap(series, range))
            } else {
                index.values_of(name, selected(index, part, matchers, range).into_iter())
            };
            values.extend(found.into_iter().map(str::to_owned));
        }
        values
    }
}

fn selected(index: &Index, part: &Generation, matchers: &[Matcher], range: TimeRange) -> Vec<u32> {
    if !part.overlaps(range) {
        return Vec::new();
    }
    let mut series = index.select(matchers);
    series.retain(|series| part.may_overlap(*series, range));
    series
}

/// Copies what matches out of the head, letting writers in from time to time.
pub(super) fn view(
    state: &RwLock<State>,
    matchers: &[Matcher],
    range: TimeRange,
    cancellation: &Cancellation,
) -> Result<View, SourceError> {
    for _ in 0..TURNS_MAX {
        if let Some(view) = try_view(state, matchers, range, cancellation, Turns::Given)? {
            return Ok(view);
        }
    }
    let view = try_view(state, matchers, range, cancellation, Turns::Denied)?;
    Ok(view.expect("nothing moves while the lock is held"))
}

/// Whether writers get a turn between two portions.
#[derive(Clone, Copy, PartialEq, Eq)]
enum Turns {
    Given,
    Denied,
}

/// Returns `None` when samples moved from the head to a block meanwhile: parts of the copy may lack them.
fn try_view(
    state: &RwLock<State>,
    matchers: &[Matcher],
    range: TimeRange,
    cancellation: &Cancellation,
    turns: Turns,
) -> Result<Option<View>, SourceError> {
    let mut state = state.read();
    let epoch = state.epoch;
    let blocks = state.blocks.clone();
    let found = state.find(matchers, range);
    let mut head = Vec::new();
    for (place, found) in found.iter().enumerate() {
        let mut copied: Vec<Arc<dyn Series>> = Vec::with_capacity(found.len());
        for portion in found.chunks(SERIES_PER_TURN) {
            cancellation.check()?;
            if turns == Turns::Given {
                RwLockReadGuard::bump(&mut state);
                if state.epoch != epoch {
                    return Ok(None);
                }
            }
            let Some(portion) = state.copy(place, portion) else { return Ok(None) };
            copied.extend(portion);
        }
        head.push(copied);
    }
    drop(state);
    for series in &mut head {
        series.sort_by(|left, right| left.labels().cmp(right.labels()));
    }
    Ok(Some(View { head, blocks }))
}
