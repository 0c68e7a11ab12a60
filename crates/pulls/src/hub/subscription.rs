//! Somebody who follows pulls.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use platform::Clock;
use tokio::sync::Notify;

use super::Hub;
use super::board::News;
use crate::error::TooManySubscribers;
use crate::filter::PullFilter;
use crate::pulls::Interest;
use crate::update::{Mark, Update, UpdateId, UpdateKind};

/// What a subscriber is told at once.
#[derive(Clone, Debug)]
pub struct Batch {
    /// Whether something was missed: then `updates` are of all pulls that run, and of those that ended since. What else
    /// the subscriber knows is gone.
    pub resync: bool,
    /// The updates, in order.
    pub updates: Vec<Arc<Update>>,
    /// To go on from after an interruption, once all updates were taken; until then, the id of the last one that was.
    pub position: UpdateId,
}

/// Somebody who follows pulls. Dropping it ends that.
///
/// It holds a position and a filter: what it costs does not depend on how far it is behind.
#[derive(Debug)]
pub struct Subscription {
    hub: Arc<Hub>,
    clock: Arc<dyn Clock>,
    filter: PullFilter,
    /// Shared with those who ask for the same image.
    mark: Option<Mark>,
    layers: bool,
    news: Arc<Notify>,
    begin: Option<Begin>,
    /// The number of the last update that was read.
    position: u64,
    /// When the next batch may leave.
    next_at: Duration,
    batch_interval: Duration,
    _counted: Counted,
}

/// Where a subscription begins.
#[derive(Clone, Copy, Debug)]
enum Begin {
    /// With everything in memory.
    Everything,
    /// After this update.
    After(UpdateId),
}

/// Counts a subscriber for as long as it lives.
#[derive(Debug)]
pub(crate) struct Counted(Arc<AtomicUsize>);

impl Counted {
    /// Counts a subscriber.
    ///
    /// # Errors
    ///
    /// There are `subscribers_max` already.
    pub(crate) fn new(
        count: &Arc<AtomicUsize>,
        subscribers_max: usize,
    ) -> Result<Self, TooManySubscribers> {
        let one_more = |count| (count < subscribers_max).then_some(count + 1);
        count
            .fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more)
            .map(|_| Self(Arc::clone(count)))
            .map_err(|_| TooManySubscribers { subscribers_max })
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.fetch_sub(1, Ordering::Relaxed);
    }
}

impl Subscription {
    pub(crate) fn new(
        hub: &Arc<Hub>,
        clock: &Arc<dyn Clock>,
        interest: Interest,
        batch_interval: Duration,
        counted: Counted,
    ) -> Self {
        let Interest { filter, layers, after } = interest;
        if layers {
            hub.layer_followers.fetch_add(1, Ordering::Relaxed);
        }
        let news = match &filter.node {
            Some(node) => hub.board.write().follow(node),
            None => Arc::clone(&hub.news),
        };
        let mark = filter.image.as_deref().and_then(|image| {
            let mut marks = hub.marks.lock();
            let newest = hub.board.read().position().number;
            marks.hold(image, newest)
        });
        Self {
            hub: Arc::clone(hub),
            clock: Arc::clone(clock),
            filter,
            mark,
            layers,
            news,
            begin: Some(after.map_or(Begin::Everything, Begin::After)),
            position: 0,
            next_at: Duration::ZERO,
            batch_interval,
            _counted: counted,
        }
    }

    /// Waits for the next batch. The first comes at once, and holds all pulls in memory, or what was missed since the
    /// update that was named. Then there is at most one in the interval of the settings, at once if there was none
    /// lately: of each pull only the newest progress, but every beginning and every end.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Batch {
        if let Some(begin) = self.begin.take() {
            let batch = self.begin(begin);
            self.next_at = self.clock.monotonic() + self.batch_interval;
            return batch;
        }
        loop {
            if self.clock.monotonic() < self.next_at {
                self.clock.sleep_until(self.next_at).await;
            }
            // Begun before looking: what comes in between is not missed.
            let news = Arc::clone(&self.news);
            let mut news = pin!(news.notified());
            news.as_mut().enable();
            if let Some(batch) = self.look() {
                self.next_at = self.clock.monotonic() + self.batch_interval;
                return batch;
            }
            news.await;
        }
    }

    fn begin(&mut self, begin: Begin) -> Batch {
        match begin {
            Begin::Everything => self.everything(0),
            Begin::After(id) => {
                let read = {
                    let board = self.hub.board.read();
                    let position = board.position();
                    let is_ours = id.run == position.run && id.number <= position.number;
                    (is_ours.then(|| board.since(id.number)), position)
                };
                match read {
                    (Some(News::Since(updates)), position) => {
                        self.position = position.number;
                        self.batch(updates, position)
                    }
                    (Some(News::TooFarBehind), _) => self.resync(id.number),
                    (None, _) => self.resync(0),
                }
            }
        }
    }

    /// Returns what is new, if there is anything.
    fn look(&mut self) -> Option<Batch> {
        let (news, position) = {
            let board = self.hub.board.read();
            let news = match &self.filter.node {
                Some(node) => board.since_on(node, self.position),
                None => board.since(self.position),
            };
            (news, board.position())
        };
        let News::Since(updates) = news else { return Some(self.resync(self.position)) };
        self.position = position.number;
        let batch = self.batch(updates, position);
        (!batch.updates.is_empty()).then_some(batch)
    }

    fn resync(&mut self, after: u64) -> Batch {
        self.hub.resyncs.fetch_add(1, Ordering::Relaxed);
        Batch { resync: true, ..self.everything(after) }
    }

    /// Returns the newest update of all pulls that run, and of those that ended after an update.
    fn everything(&mut self, after: u64) -> Batch {
        let (mut updates, position): (Vec<_>, _) = {
            let board = self.hub.board.read();
            let ended = board.ended().filter(|update| update.id.number > after);
            (board.running().chain(ended).cloned().collect(), board.position())
        };
        updates.sort_unstable_by_key(|update| update.id);
        self.position = position.number;
        self.batch(updates, position)
    }

    fn batch(&self, mut updates: Vec<Arc<Update>>, position: UpdateId) -> Batch {
        updates.retain(|update| self.wants(update));
        Batch { resync: false, updates, position }
    }

    fn wants(&self, update: &Update) -> bool {
        if update.kind.is_of_layer() && !self.layers {
            return false;
        }
        // Whoever asks for some states has to hear that a pull has left them for good.
        let whatever_state = update.kind.is_final() || update.kind == UpdateKind::PullRemoved;
        let pull = &update.pull;
        (whatever_state || self.filter.wants_state(pull.state))
            && match self.mark {
                Some(mark) => update.fits(mark, || self.filter.matches_image(pull)),
                None => self.filter.matches_image(pull),
            }
            && self.filter.matches_rest(pull)
    }
}

impl Drop for Subscription {
    fn drop(&mut self) {
        if let Some(mark) = self.mark {
            self.hub.marks.lock().release(mark);
        }
        if self.layers {
            self.hub.layer_followers.fetch_sub(1, Ordering::Relaxed);
        }
        if let Some(node) = &self.filter.node {
            self.hub.board.write().unfollow(node);
        }
    }
}
