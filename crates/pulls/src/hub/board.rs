//! What the lock of a hub guards.

use std::collections::{HashMap, VecDeque};
use std::sync::Arc;

use platform::Timestamp;
use tokio::sync::Notify;

use super::Change;
use crate::settings::PullsSettings;
use crate::update::{Update, UpdateId, UpdateKind};
use crate::view::PullView;

/// Most updates of a node that those who follow it may be behind.
pub(super) const NODE_UPDATES_KEPT_MAX: usize = 4_096;

/// Where a running pull is on the board.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Place(usize);

/// The newest state of pulls, and the updates that led there.
#[derive(Debug)]
pub(super) struct Board {
    run: u64,
    running_max: usize,
    ended_max: usize,
    kept_max: usize,
    /// The number of the newest update.
    newest: u64,
    /// The last updates, without those that newer ones replaced.
    ring: VecDeque<Option<Arc<Update>>>,
    /// Running pulls; places that are free hold nothing.
    running: Vec<Option<Running>>,
    free: Vec<usize>,
    /// The ends of pulls, the newest last.
    ended: VecDeque<Arc<Update>>,
    /// Nodes that somebody follows, by name.
    nodes: HashMap<Arc<str>, NodeNews>,
}

#[derive(Debug)]
struct Running {
    newest: Arc<Update>,
    /// The number of the newest update of each layer that tells progress; 0 where there is none.
    layers: Vec<u64>,
}

/// What those wait for who follow one node.
#[derive(Debug)]
struct NodeNews {
    followers: usize,
    /// The numbers of the node's last updates.
    numbers: VecDeque<u64>,
    /// The number of the newest update that may have been the node's and is not in `numbers`.
    forgotten: u64,
    news: Arc<Notify>,
}

/// What there is to read from a position on.
pub(super) enum News {
    /// The next updates; some may be of other pulls than asked for.
    Since(Part),
    /// The ring does not reach back so far.
    TooFarBehind,
}

/// A part of what there is to read.
pub(super) struct Part {
    pub(super) updates: Vec<Arc<Update>>,
    /// The number up to which nothing else is to be read.
    pub(super) up_to: u64,
    /// Whether there is more after that.
    pub(super) has_more: bool,
}

/// What is read by somebody who knows nothing, or not enough: the newest update of each pull.
#[derive(Clone, Copy, Debug)]
pub(super) struct Walk {
    /// Up to which number that was done.
    pub(super) from: u64,
    /// Up to which number it is done. What comes later is in the ring.
    pub(super) until: u64,
    /// Pulls that ended with this number or before are known.
    pub(super) ended_after: u64,
}

impl Board {
    pub(super) fn new(run: u64, settings: &PullsSettings) -> Self {
        Self {
            run,
            running_max: settings.active_pulls_max,
            ended_max: settings.recent_pulls_max,
            kept_max: settings.updates_kept_max.max(1),
            newest: 0,
            ring: VecDeque::new(),
            running: Vec::new(),
            free: Vec::new(),
            ended: VecDeque::new(),
            nodes: HashMap::new(),
        }
    }

    pub(super) fn begin(&mut self, at: Timestamp, view: &Arc<PullView>) -> Option<Place> {
        if self.running_count() >= self.running_max {
            return None;
        }
        let newest = self.push(at, UpdateKind::PullStarted, Arc::clone(view), None);
        let running = Running { newest, layers: Vec::new() };
        let place = self.free.pop().unwrap_or(self.running.len());
        match self.running.get_mut(place) {
            Some(free) => *free = Some(running),
            None => self.running.push(Some(running)),
        }
        Some(Place(place))
    }

    pub(super) fn apply(&mut self, at: Timestamp, change: Change) {
        let Change { place, kind, view, layer } = change;
        let Some(Some(before)) = self.running.get(place.0) else { return };
        if kind.is_of_layer() {
            self.apply_to_layer(at, place, kind, view, layer);
            return;
        }
        if before.newest.kind == UpdateKind::PullProgress {
            self.clear(before.newest.id.number);
        }
        let newest = self.push(at, kind, view, None);
        if kind.is_final() {
            self.running[place.0] = None;
            self.free.push(place.0);
            self.ended.push_back(newest);
            if self.ended.len() > self.ended_max {
                self.remove_oldest(at);
            }
        } else if let Some(Some(running)) = self.running.get_mut(place.0) {
            running.newest = newest;
        }
    }

    fn apply_to_layer(
        &mut self,
        at: Timestamp,
        place: Place,
        kind: UpdateKind,
        view: Arc<PullView>,
        layer: Option<usize>,
    ) {
        let update = self.push(at, kind, view, layer);
        let (Some(Some(running)), Some(layer)) = (self.running.get_mut(place.0), layer) else {
            return;
        };
        if running.layers.len() <= layer {
            running.layers.resize(layer + 1, 0);
        }
        let progress = if kind == UpdateKind::LayerProgress { update.id.number } else { 0 };
        let before = std::mem::replace(&mut running.layers[layer], progress);
        self.clear(before);
    }

    /// Forgets pulls that ended before `before`, and returns whether there were any.
    pub(super) fn expire(&mut self, at: Timestamp, before: Timestamp) -> bool {
        let count = self.ended.len();
        while self.ended.front().is_some_and(|oldest| oldest.pull.ended_at < Some(before)) {
            self.remove_oldest(at);
        }
        self.ended.len() < count
    }

    pub(super) fn restore_ended(&mut self, view: Arc<PullView>) {
        let kind =
            if view.failure.is_some() { UpdateKind::PullFailed } else { UpdateKind::PullCompleted };
        let update = self.push(view.updated_at, kind, view, None);
        self.ended.push_back(update);
        if self.ended.len() > self.ended_max {
            self.ended.pop_front();
        }
    }

    fn remove_oldest(&mut self, at: Timestamp) {
        if let Some(oldest) = self.ended.pop_front() {
            self.push(at, UpdateKind::PullRemoved, Arc::clone(&oldest.pull), None);
        }
    }

    pub(super) fn running(&self) -> impl Iterator<Item = &Arc<Update>> {
        self.running.iter().flatten().map(|running| &running.newest)
    }

    pub(super) fn ended(&self) -> impl ExactSizeIterator<Item = &Arc<Update>> {
        self.ended.iter()
    }

    pub(super) fn running_count(&self) -> usize {
        self.running.len() - self.free.len()
    }

    /// Returns the id of the newest update.
    pub(super) const fn position(&self) -> UpdateId {
        UpdateId { run: self.run, number: self.newest }
    }

    /// Returns the updates after the one with number `after`, at most `updates_max`.
    pub(super) fn since(&self, after: u64, updates_max: usize) -> News {
        let oldest = self.oldest();
        let Some(skipped) = (after + 1).checked_sub(oldest) else { return News::TooFarBehind };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.ring.len());
        News::Since(self.part(self.ring.range(skipped..).flatten(), updates_max))
    }

    /// As [`Self::since`], of a node that is followed. Costs what the node's updates cost.
    pub(super) fn since_on(&self, node: &str, after: u64, updates_max: usize) -> News {
        let Some(node) = self.nodes.get(node) else { return self.since(after, updates_max) };
        let begin = node.numbers.partition_point(|number| *number <= after);
        let is_gone = |number: &u64| *number < self.oldest();
        if after < node.forgotten || node.numbers.get(begin).is_some_and(is_gone) {
            return News::TooFarBehind;
        }
        let updates = node.numbers.range(begin..).filter_map(|number| self.get(*number));
        News::Since(self.part(updates, updates_max))
    }

    /// Returns the newest update of each pull that a walk has not come by, at most `updates_max`. Costs what all pulls in
    /// memory cost.
    pub(super) fn walk(&self, walk: &Walk, updates_max: usize) -> Part {
        let ended = self.ended.iter().filter(|update| walk.ended_after < update.id.number);
        let is_ahead =
            |update: &&Arc<Update>| walk.from < update.id.number && update.id.number <= walk.until;
        let mut ahead: Vec<&Arc<Update>> = self.running().chain(ended).filter(is_ahead).collect();
        let has_more = updates_max < ahead.len();
        if has_more {
            ahead.select_nth_unstable_by_key(updates_max, |update| update.id.number);
            ahead.truncate(updates_max);
        }
        ahead.sort_unstable_by_key(|update| update.id.number);
        let last = ahead.last().map(|update| update.id.number).filter(|_| has_more);
        let updates = ahead.into_iter().cloned().collect();
        Part { updates, up_to: last.unwrap_or(walk.until), has_more }
    }

    fn part<'a>(
        &self,
        mut updates: impl Iterator<Item = &'a Arc<Update>>,
        updates_max: usize,
    ) -> Part {
        let part: Vec<Arc<Update>> = updates.by_ref().take(updates_max).cloned().collect();
        let has_more = updates.next().is_some();
        let last = part.last().map(|update| update.id.number).filter(|_| has_more);
        Part { updates: part, up_to: last.unwrap_or(self.newest), has_more }
    }

    pub(super) fn follow(&mut self, node: &str) -> Arc<Notify> {
        let newest = self.newest;
        let node = self.nodes.entry(node.into()).or_insert_with(|| NodeNews {
            followers: 0,
            numbers: VecDeque::new(),
            forgotten: newest,
            news: Arc::default(),
        });
        node.followers += 1;
        Arc::clone(&node.news)
    }

    pub(super) fn unfollow(&mut self, name: &str) {
        if let Some(node) = self.nodes.get_mut(name) {
            node.followers -= 1;
            if node.followers == 0 {
                self.nodes.remove(name);
            }
        }
    }

    fn push(
        &mut self,
        at: Timestamp,
        kind: UpdateKind,
        view: Arc<PullView>,
        layer: Option<usize>,
    ) -> Arc<Update> {
        self.newest += 1;
        let update = Update::new(self.position(), kind, at, view, layer);
        if self.ring.len() == self.kept_max {
            self.ring.pop_front();
        }
        self.ring.push_back(Some(Arc::clone(&update)));
        if !self.nodes.is_empty()
            && let Some(node) = self.nodes.get_mut(&update.pull.node)
        {
            if node.numbers.len() == NODE_UPDATES_KEPT_MAX
                && let Some(forgotten) = node.numbers.pop_front()
            {
                node.forgotten = forgotten;
            }
            node.numbers.push_back(self.newest);
            node.news.notify_waiters();
        }
        update
    }

    /// Returns the number of the oldest update that the ring has a place for.
    fn oldest(&self) -> u64 {
        self.newest + 1 - self.ring.len() as u64
    }

    fn index(&self, number: u64) -> Option<usize> {
        usize::try_from(number.checked_sub(self.oldest())?).ok()
    }

    fn get(&self, number: u64) -> Option<&Arc<Update>> {
        self.ring.get(self.index(number)?)?.as_ref()
    }

    fn clear(&mut self, number: u64) {
        if let Some(index) = self.index(number)
            && let Some(slot) = self.ring.get_mut(index)
        {
            *slot = None;
        }
    }
}
