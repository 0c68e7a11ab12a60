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
    /// The updates since then; some may be of other pulls than asked for.
    Since(Vec<Arc<Update>>),
    /// The ring does not reach back so far.
    TooFarBehind,
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

    /// Returns the updates after the one with number `after`.
    pub(super) fn since(&self, after: u64) -> News {
        let oldest = self.oldest();
        let Some(skipped) = (after + 1).checked_sub(oldest) else { return News::TooFarBehind };
        let skipped = usize::try_from(skipped).unwrap_or(usize::MAX).min(self.ring.len());
        News::Since(self.ring.range(skipped..).flatten().cloned().collect())
    }

    /// As [`Self::since`], of a node that is followed. Costs what the node's updates cost.
    pub(super) fn since_on(&self, node: &str, after: u64) -> News {
        let Some(node) = self.nodes.get(node) else { return self.since(after) };
        let begin = node.numbers.partition_point(|number| *number <= after);
        let is_gone = |number: &u64| *number < self.oldest();
        if after < node.forgotten || node.numbers.get(begin).is_some_and(is_gone) {
            return News::TooFarBehind;
        }
        let numbers = node.numbers.range(begin..);
        News::Since(numbers.filter_map(|number| self.get(*number)).cloned().collect())
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
