//! Somebody who follows pulls.

use std::pin::pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

use platform::Clock;
use tokio::sync::Notify;

use super::Hub;
use super::board::{News, Part, Walk};
use crate::error::TooManySubscribers;
use crate::filter::PullFilter;
use crate::pulls::Interest;
use crate::settings::PullsSettings;
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
    /// The newest updates of all pulls, as far as they were not told yet: then comes what is in the ring.
    walk: Option<Walk>,
    /// Until the first batch, after which update to begin; with everything where there is none.
    begin: Option<Option<UpdateId>>,
    /// Whether nothing was told before the walk.
    is_new: bool,
    /// From which update on it follows its node.
    follows_from: u64,
    /// What the next batch says even if it has no updates.
    says: Option<Says>,
    /// The number of the last update that was read.
    position: u64,
    /// When the next batch may leave.
    next_at: Duration,
    limits: Limits,
    _counted: Counted,
}

/// What a batch says beside its updates.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Says {
    /// That all that was known is told now.
    Begun,
    /// That something was missed.
    Missed,
}

/// Bounds of batches.
#[derive(Clone, Copy, Debug)]
struct Limits {
    interval: Duration,
    updates_max: usize,
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
        settings: &PullsSettings,
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
        let follows_from = hub.board.read().position().number;
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
            walk: None,
            is_new: false,
            follows_from,
            begin: Some(after),
            says: Some(Says::Begun),
            position: 0,
            next_at: Duration::ZERO,
            limits: Limits {
                interval: settings.batch_interval,
                updates_max: settings.batch_updates_max.max(1),
            },
            _counted: counted,
        }
    }

    /// Waits for the next batch. The first comes at once, and holds all pulls in memory, or what was missed since the
    /// update that was named. Then there is at most one in the interval of the settings, at once if there was none
    /// lately: of each pull only the newest progress, but every beginning and every end. What does not fit into a batch
    /// comes with the next one, at once.
    ///
    /// Dropping the future loses nothing.
    pub async fn next(&mut self) -> Batch {
        match self.begin.take() {
            Some(Some(id)) => self.go_on_after(id),
            Some(None) => {
                self.is_new = true;
                self.begin_walk(0);
            }
            None => {}
        }
        loop {
            if self.clock.monotonic() < self.next_at {
                self.clock.sleep_until(self.next_at).await;
            }
            // Begun before looking: what comes in between is not missed.
            let news = Arc::clone(&self.news);
            let mut news = pin!(news.notified());
            news.as_mut().enable();
            let (batch, has_more) = self.look();
            if !has_more && batch.is_some() {
                self.next_at = self.clock.monotonic() + self.limits.interval;
            }
            match batch {
                Some(batch) => return batch,
                // Nothing of this part was wanted: others get a turn.
                None if has_more => tokio::task::consume_budget().await,
                None => news.await,
            }
        }
    }

    fn go_on_after(&mut self, id: UpdateId) {
        let (newest, is_within_reach) = {
            let board = self.hub.board.read();
            (board.position(), matches!(board.since(id.number, 0), News::Since(_)))
        };
        let is_ours = id.run == newest.run && id.number <= newest.number;
        if is_ours && is_within_reach {
            self.position = id.number;
        } else {
            self.miss(if is_ours { id.number } else { 0 });
        }
    }

    /// Tells that something after an update was missed, and everything that is.
    fn miss(&mut self, after: u64) {
        self.hub.resyncs.fetch_add(1, Ordering::Relaxed);
        self.says = Some(Says::Missed);
        self.is_new = false;
        self.begin_walk(after);
    }

    fn begin_walk(&mut self, ended_after: u64) {
        let until = self.hub.board.read().position().number;
        self.walk = Some(Walk { from: 0, until, ended_after });
    }

    /// Returns what is to be told, if there is anything, and whether there is more.
    fn look(&mut self) -> (Option<Batch>, bool) {
        let (part, run) = match self.read() {
            (Some(part), run) => (part, run),
            (None, _) => {
                self.miss(self.position);
                return (None, true);
            }
        };
        // Whoever comes has not heard of any pull that has left the states asked for.
        let is_new = self.is_new && self.walk.is_some();
        let mut updates = part.updates;
        updates.retain(|update| {
            self.wants(update) && (!is_new || self.filter.wants_state(update.pull.state))
        });
        self.position = part.up_to;
        self.walk =
            self.walk.filter(|_| part.has_more).map(|walk| Walk { from: part.up_to, ..walk });
        if updates.is_empty() && self.says.is_none() {
            return (None, part.has_more);
        }
        let resync = self.says.take() == Some(Says::Missed);
        let position = UpdateId { run, number: part.up_to };
        (Some(Batch { resync, updates, position }), part.has_more)
    }

    /// Reads the next part from the hub; `None` where the ring does not reach back so far.
    fn read(&self) -> (Option<Part>, u64) {
        let updates_max = self.limits.updates_max;
        let board = self.hub.board.read();
        let run = board.position().run;
        let news = match (&self.walk, &self.filter.node) {
            (Some(walk), _) => return (Some(board.walk(walk, updates_max)), run),
            // What came before it began to follow is not among what is noted of the node.
            (None, Some(node)) if self.follows_from <= self.position => {
                board.since_on(node, self.position, updates_max)
            }
            (None, _) => board.since(self.position, updates_max),
        };
        match news {
            News::Since(part) => (Some(part), run),
            News::TooFarBehind => (None, run),
        }
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
