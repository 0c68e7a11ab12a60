//! Workers over a consumer: in parallel, in order within a lane, nothing lost.

mod lanes;

use std::fmt;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, Rng, TaskFailure, Tasks, panic_message};
use tokio::sync::{Notify, watch};

use crate::{
    Body, Consumer, DeadLetter, DeadLetters, Entry, FetchLimits, Lane, LogError, NewDeadLetter,
    Offset, Settlement,
};
use lanes::{Lanes, Work};

/// How long one fetch waits for entries.
const FETCH_WAIT: Duration = Duration::from_secs(1);

/// Most dead letters that are fetched at once to be processed again.
const REPLAYS_MAX: usize = 16;

/// Failures in a row from which on the workers count as failing.
const FAILING_FROM: u32 = 5;

/// The part of the time to stop within that is left for the position of the consumer.
const FLUSH_PART: u32 = 4;

/// Processes entries.
///
/// It is handed the entries of a lane one after the other, and again from the first one that was not done. An entry can
/// come again after a restart, so what a handler does has to be the same when it is done twice.
/// A handler sees to its own deadlines: one that never returns holds up its lane.
pub trait Handler: Send + Sync + fmt::Debug {
    /// Processes an entry. A panic counts as a failed attempt. May be dropped when the program stops.
    ///
    /// # Errors
    ///
    /// [`HandlerError`], which says what is to become of the entry.
    fn handle<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), HandlerError>>;
}

/// Why an entry was not processed.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum HandlerError {
    /// Something that every entry needs does not work: the entry is tried again without end.
    #[error("{reason}")]
    Unavailable {
        /// What does not work.
        reason: String,
    },
    /// This entry failed: it is tried again, but not for ever.
    #[error("{reason}")]
    Failed {
        /// How.
        reason: String,
    },
    /// This entry will never succeed.
    #[error("{reason}")]
    Invalid {
        /// Why.
        reason: String,
    },
}

/// The limits of [`Workers`].
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct WorkerSettings {
    /// Entries that are processed at the same time.
    pub workers: usize,
    /// Most entries that are fetched and not settled.
    pub entries_max: usize,
    /// Bytes of entries that are fetched and not settled, above which nothing more is fetched.
    pub bytes_max: usize,
    /// Failed attempts after which an entry is given up.
    pub attempts_max: u32,
    /// Deliveries after which an entry is given up without another attempt: it seems to end the program each time.
    pub deliveries_max: u32,
    /// How long to wait after the first failure; twice as long after each further one.
    pub backoff_min: Duration,
    /// The longest wait.
    pub backoff_max: Duration,
    /// How often the log is told that an entry is being worked on: a third of the consumer's `ack_wait`, or less.
    pub progress_every: Duration,
    /// How often it is looked for dead letters that are to be processed again.
    pub replay_every: Duration,
    /// How long stopping may take. What is not done then is delivered again after a start.
    pub stop_within: Duration,
}

impl Default for WorkerSettings {
    /// Returns 8 workers on up to 1,000 entries of 16 MiB together, 8 attempts within about a minute.
    fn default() -> Self {
        Self {
            workers: 8,
            entries_max: 1_000,
            bytes_max: 16 << 20,
            attempts_max: 8,
            deliveries_max: 64,
            backoff_min: Duration::from_millis(500),
            backoff_max: Duration::from_secs(30),
            progress_every: Duration::from_secs(20),
            replay_every: Duration::from_secs(2),
            stop_within: Duration::from_secs(10),
        }
    }
}

/// What workers did since the start.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct WorkerStats {
    /// Entries that were processed.
    pub processed: u64,
    /// Attempts that are made again.
    pub retried: u64,
    /// Entries that became dead letters.
    pub dead_lettered: u64,
    /// Panics of the handler.
    pub panics: u64,
    /// Dead letters that were processed.
    pub replayed: u64,
    /// Dead letters that failed again.
    pub given_back: u64,
    /// Fetches that failed.
    pub fetch_failures: u64,
    /// Settlements and dead letters that could not be written at once.
    pub write_failures: u64,
    /// Entries that are fetched and not settled, at present.
    pub held: u64,
}

/// Takes entries from a consumer, hands them to a handler, and settles what is done.
///
/// Fetching goes on while entries are processed, within limits. The entries of one lane are processed one after the
/// other: while one is tried again, the later ones of its lane wait, and those of other lanes go on. What fails too
/// often, or cannot be decoded, is durably among the dead letters before it is settled. Dead letters that somebody
/// sends back are processed beside the others, out of the order of their lane.
///
/// When it stops, nothing is settled that is not done.
#[derive(Clone, Debug)]
pub struct Workers {
    pool: Arc<Pool>,
}

/// What workers stand on.
#[derive(Debug)]
pub struct WorkerParts {
    /// The name of the consumer, which dead letters bear.
    pub name: String,
    /// Where entries come from.
    pub consumer: Box<dyn Consumer>,
    /// Where they go that cannot be processed.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// Who processes them.
    pub handler: Arc<dyn Handler>,
    /// When to try again.
    pub clock: Arc<dyn Clock>,
    /// Spreads what is tried again.
    pub rng: Arc<dyn Rng>,
}

impl Workers {
    /// Returns workers that do nothing until they [run](Workers::run).
    #[must_use]
    pub fn new(parts: WorkerParts, settings: WorkerSettings) -> Self {
        Self {
            pool: Arc::new(Pool {
                parts,
                settings,
                lanes: Mutex::default(),
                ready: Notify::new(),
                room: Notify::new(),
                counts: Counts::default(),
                fetching: Trouble::default(),
                handling: Trouble::default(),
                writing: Trouble::default(),
            }),
        }
    }

    /// Works until `stop` is true, or its sender is gone, and returns within the time to stop.
    ///
    /// Must be called within a tokio runtime, once. When the future is dropped, work ends at once.
    ///
    /// # Errors
    ///
    /// A task of the workers themselves panicked; the others are stopped then.
    pub async fn run(&self, mut stop: watch::Receiver<bool>) -> Result<(), TaskFailure> {
        let mut tasks = Tasks::new();
        let pool = &self.pool;
        for _ in 0..pool.settings.workers.max(1) {
            tasks.spawn("event worker", Arc::clone(pool).work(stop.clone()));
        }
        tasks.spawn("event fetch", Arc::clone(pool).fetch(stop.clone()));
        tasks.spawn("event progress", Arc::clone(pool).report_progress(stop.clone()));
        tasks.spawn("event replay", Arc::clone(pool).replay(stop.clone()));
        tokio::select! {
            biased;
            () = stopped(&mut stop) => {}
            failure = first_failure(&mut tasks) => return failure,
        }
        let settings = &pool.settings;
        let deadline = pool.parts.clock.monotonic().saturating_add(settings.stop_within);
        let flush_from = deadline.saturating_sub(settings.stop_within / FLUSH_PART);
        let joined = tokio::select! {
            biased;
            joined = first_failure(&mut tasks) => joined,
            () = pool.parts.clock.sleep_until(flush_from) => {
                let left = pool.lanes.lock().len();
                tracing::warn!(consumer = pool.parts.name, left, "stopped before all was done");
                Ok(())
            }
        };
        drop(tasks);
        tokio::select! {
            biased;
            flushed = pool.parts.consumer.flush() => if let Err(error) = flushed {
                tracing::warn!(consumer = pool.parts.name, error = %error, "position is not durable");
            },
            () = pool.parts.clock.sleep_until(deadline) => {
                tracing::warn!(consumer = pool.parts.name, "position was not durable in time");
            }
        }
        joined
    }

    /// Returns what was done since the start.
    #[must_use]
    pub fn stats(&self) -> WorkerStats {
        let counts = &self.pool.counts;
        let count = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        WorkerStats {
            processed: count(&counts.processed),
            retried: count(&counts.retried),
            dead_lettered: count(&counts.dead_lettered),
            panics: count(&counts.panics),
            replayed: count(&counts.replayed),
            given_back: count(&counts.given_back),
            fetch_failures: count(&self.pool.fetching.failures),
            write_failures: count(&self.pool.writing.failures),
            held: self.pool.lanes.lock().len() as u64,
        }
    }

    /// Returns what does not work, once it has failed several times in a row.
    #[must_use]
    pub fn failing(&self) -> Option<String> {
        let pool = &self.pool;
        let troubles = [
            ("cannot fetch events", &pool.fetching),
            ("cannot process events", &pool.handling),
            ("cannot settle events", &pool.writing),
        ];
        troubles.into_iter().find_map(|(what, trouble)| {
            let reason = trouble.failing()?;
            Some(format!("consumer '{}' {what}: {reason}", pool.parts.name))
        })
    }
}

#[derive(Debug)]
struct Pool {
    parts: WorkerParts,
    settings: WorkerSettings,
    lanes: Mutex<Lanes>,
    /// A lane is ready, or waits for a new time.
    ready: Notify,
    /// Something was settled.
    room: Notify,
    counts: Counts,
    fetching: Trouble,
    handling: Trouble,
    writing: Trouble,
}

#[derive(Debug, Default)]
struct Counts {
    processed: AtomicU64,
    retried: AtomicU64,
    dead_lettered: AtomicU64,
    panics: AtomicU64,
    replayed: AtomicU64,
    given_back: AtomicU64,
}

/// Failures of one sort.
#[derive(Debug, Default)]
struct Trouble {
    failures: AtomicU64,
    in_a_row: AtomicU32,
    reason: Mutex<String>,
}

impl Trouble {
    /// Notes a failure and returns how many there were in a row.
    fn fail(&self, reason: &str) -> u32 {
        self.failures.fetch_add(1, Ordering::Relaxed);
        reason.clone_into(&mut self.reason.lock());
        self.in_a_row.fetch_add(1, Ordering::Relaxed).saturating_add(1)
    }

    fn succeed(&self) {
        if self.in_a_row.load(Ordering::Relaxed) > 0 {
            self.in_a_row.store(0, Ordering::Relaxed);
        }
    }

    fn failing(&self) -> Option<String> {
        let failing = self.in_a_row.load(Ordering::Relaxed) >= FAILING_FROM;
        failing.then(|| self.reason.lock().clone())
    }
}

impl Pool {
    async fn fetch(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        loop {
            let fetched = tokio::select! {
                biased;
                () = stopped(&mut stop) => return,
                fetched = self.fetch_once() => fetched,
            };
            match fetched {
                Ok(deliveries) => {
                    self.fetching.succeed();
                    let now = self.parts.clock.monotonic();
                    let mut lanes = self.lanes.lock();
                    for delivery in deliveries {
                        if lanes.push(delivery, now) {
                            self.ready.notify_one();
                        }
                    }
                }
                Err(error) => {
                    let failures = self.fetching.fail(&error.to_string());
                    let consumer = &self.parts.name;
                    tracing::warn!(consumer, error = %error, failures, "events are not fetched");
                    if !self.wait(self.backoff(failures), &mut stop).await {
                        return;
                    }
                }
            }
        }
    }

    /// Waits for room and fetches as much as there is.
    async fn fetch_once(&self) -> Result<Vec<crate::Delivery>, LogError> {
        loop {
            let (entries, bytes) = {
                let lanes = self.lanes.lock();
                (lanes.len(), lanes.bytes())
            };
            let entries_max = self.settings.entries_max.saturating_sub(entries);
            let bytes_max = self.settings.bytes_max.saturating_sub(bytes);
            // Fetches of little cost as much as those of much.
            let enough = entries_max > self.settings.entries_max / 4;
            if (enough || entries == 0) && bytes_max > 0 {
                let limits = FetchLimits { entries_max, bytes_max, wait_max: FETCH_WAIT };
                return self.parts.consumer.fetch(limits).await;
            }
            self.room.notified().await;
        }
    }

    async fn work(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        while let Some((lane, work)) = self.next(&mut stop).await {
            self.process(lane, work, &mut stop).await;
        }
    }

    /// Returns what is to be done next; `None` when it is time to stop.
    async fn next(&self, stop: &mut watch::Receiver<bool>) -> Option<(Lane, Work)> {
        loop {
            if *stop.borrow() {
                return None;
            }
            let now = self.parts.clock.monotonic();
            let due = {
                let mut lanes = self.lanes.lock();
                if let Some(taken) = lanes.take(now) {
                    // Another one goes on with what is left, or waits for the time that this one waited for.
                    if lanes.has_more() {
                        self.ready.notify_one();
                    }
                    return Some(taken);
                }
                lanes.next_due()
            };
            tokio::select! {
                biased;
                () = stopped(stop) => return None,
                () = self.ready.notified() => {}
                () = self.parts.clock.sleep_until(due.unwrap_or(now)), if due.is_some() => {}
            }
        }
    }

    async fn process(&self, lane: Lane, mut work: Work, stop: &mut watch::Receiver<bool>) {
        let outcome = match &work.delivery.body {
            Body::Undecodable { error, .. } => Err(HandlerError::Invalid { reason: error.clone() }),
            Body::Entry(_) if work.delivery.attempt > self.settings.deliveries_max => {
                let reason = format!(
                    "it was delivered {} times and not settled once",
                    work.delivery.attempt.saturating_sub(1)
                );
                Err(HandlerError::Invalid { reason })
            }
            Body::Entry(entry) => self.attempt(entry).await,
        };
        match outcome {
            Ok(()) => {
                self.counts.processed.fetch_add(1, Ordering::Relaxed);
            }
            Err(HandlerError::Unavailable { .. }) => {
                work.delays = work.delays.saturating_add(1);
                let failures = work.failures.saturating_add(work.delays);
                return self.retry(lane, work, failures);
            }
            Err(HandlerError::Failed { .. })
                if work.failures.saturating_add(1) < self.settings.attempts_max =>
            {
                work.failures = work.failures.saturating_add(1);
                work.delays = 0;
                let failures = work.failures;
                return self.retry(lane, work, failures);
            }
            // What fails while everything ends may succeed after a start.
            Err(HandlerError::Failed { .. }) if *stop.borrow() => return,
            Err(error) => {
                work.failures = work.failures.saturating_add(1);
                if !self.give_up(&work, &error, stop).await {
                    return;
                }
            }
        }
        if self.settle(work.delivery.offset, stop).await {
            let is_ready = self.lanes.lock().done(lane, &work);
            if is_ready {
                self.ready.notify_one();
            }
            self.room.notify_one();
        }
    }

    /// Hands an entry to the handler; a panic of it is a failure.
    async fn attempt(&self, entry: &Entry) -> Result<(), HandlerError> {
        let handled = async { self.parts.handler.handle(entry).await };
        let outcome = AssertUnwindSafe(handled).catch_unwind().await.unwrap_or_else(|panic| {
            self.counts.panics.fetch_add(1, Ordering::Relaxed);
            let reason = format!("panic: {}", panic_message(panic));
            tracing::error!(consumer = self.parts.name, reason, "handler of events panicked");
            Err(HandlerError::Failed { reason })
        });
        match &outcome {
            Err(HandlerError::Unavailable { reason }) => drop(self.handling.fail(reason)),
            _ => self.handling.succeed(),
        }
        outcome
    }

    fn retry(&self, lane: Lane, work: Work, failures: u32) {
        self.counts.retried.fetch_add(1, Ordering::Relaxed);
        let due = self.parts.clock.monotonic().saturating_add(self.backoff(failures));
        self.lanes.lock().retry(lane, work, due);
        // Somebody who waits may wait for a later time.
        self.ready.notify_one();
    }

    /// Makes a dead letter of it; false if that had to be left because it is time to stop.
    async fn give_up(
        &self,
        work: &Work,
        error: &HandlerError,
        stop: &mut watch::Receiver<bool>,
    ) -> bool {
        let letter = letter(&self.parts.name, work, error);
        let offset = work.delivery.offset;
        let put = || self.parts.dead_letters.put(letter.clone());
        if self.persist(stop, put).await.is_none() {
            return false;
        }
        self.counts.dead_lettered.fetch_add(1, Ordering::Relaxed);
        let consumer = &self.parts.name;
        tracing::warn!(consumer, %offset, attempts = letter.attempts, "event became a dead letter");
        true
    }

    async fn settle(&self, offset: Offset, stop: &mut watch::Receiver<bool>) -> bool {
        let settle = || self.parts.consumer.settle(offset, Settlement::Done);
        self.persist(stop, settle).await.is_some()
    }

    /// Does it until it succeeds; `None` if that had to be left because it is time to stop. It is tried once in any case.
    async fn persist<'a, T>(
        &self,
        stop: &mut watch::Receiver<bool>,
        write: impl Fn() -> BoxFuture<'a, Result<T, LogError>>,
    ) -> Option<T> {
        let mut failures = 0_u32;
        loop {
            match write().await {
                Ok(written) => {
                    self.writing.succeed();
                    return Some(written);
                }
                Err(error) => {
                    failures = failures.saturating_add(1);
                    self.writing.fail(&error.to_string());
                    let consumer = &self.parts.name;
                    tracing::warn!(consumer, error = %error, failures, "event is not settled yet");
                    if !self.wait(self.backoff(failures), stop).await {
                        return None;
                    }
                }
            }
        }
    }

    /// Tells the log of what takes long.
    async fn report_progress(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let every = self.settings.progress_every;
        while self.wait(every / 2, &mut stop).await {
            let now = self.parts.clock.monotonic();
            let silent = self.lanes.lock().silent_since(now.saturating_sub(every / 2), now);
            for offset in silent {
                if let Err(error) = self.parts.consumer.settle(offset, Settlement::InProgress).await
                {
                    self.writing.fail(&error.to_string());
                    tracing::debug!(%offset, error = %error, "progress is not reported");
                }
            }
        }
    }

    /// Processes dead letters that were sent back.
    async fn replay(self: Arc<Self>, mut stop: watch::Receiver<bool>) {
        let mut wait = self.settings.replay_every;
        let mut failures = 0_u32;
        while self.wait(wait, &mut stop).await {
            wait = match self.replay_some(&mut stop).await {
                Ok(0) => self.settings.replay_every,
                Ok(_) => Duration::ZERO,
                Err(reason) => {
                    failures = failures.saturating_add(1);
                    let consumer = &self.parts.name;
                    tracing::warn!(consumer, reason, failures, "dead letters are not processed");
                    self.backoff(failures).max(self.settings.replay_every)
                }
            };
            if wait <= self.settings.replay_every {
                failures = 0;
            }
        }
    }

    /// Returns how many it settled.
    async fn replay_some(&self, stop: &mut watch::Receiver<bool>) -> Result<u64, String> {
        let replaying = self.parts.dead_letters.replaying(&self.parts.name, REPLAYS_MAX).await;
        let mut settled = 0;
        for DeadLetter { id, at, letter, .. } in replaying.map_err(|error| error.to_string())? {
            if *stop.borrow() {
                break;
            }
            let entry = Entry {
                offset: letter.offset.unwrap_or_default(),
                tenant: letter.tenant.clone(),
                received_at: at,
                lane: Lane(id.0),
                envelope: letter.bytes,
            };
            let letters = &self.parts.dead_letters;
            let written = match self.attempt(&entry).await {
                Ok(()) => {
                    let discard = || letters.discard(letter.tenant.clone(), id);
                    let discarded = self.persist(stop, discard).await;
                    self.counts
                        .replayed
                        .fetch_add(u64::from(discarded.is_some()), Ordering::Relaxed);
                    discarded.is_some()
                }
                Err(HandlerError::Unavailable { reason }) => return Err(reason),
                Err(error) => {
                    let reason = error.to_string();
                    let given_back = self.persist(stop, || letters.give_back(id, reason.clone()));
                    let given_back = given_back.await.is_some();
                    self.counts.given_back.fetch_add(u64::from(given_back), Ordering::Relaxed);
                    given_back
                }
            };
            settled += u64::from(written);
        }
        Ok(settled)
    }

    /// Returns how long to wait after so many failures: up to half of it at random.
    fn backoff(&self, failures: u32) -> Duration {
        let doublings = failures.saturating_sub(1).min(31);
        let whole =
            self.settings.backoff_min.saturating_mul(1 << doublings).min(self.settings.backoff_max);
        let nanos = u64::try_from(whole.as_nanos()).unwrap_or(u64::MAX);
        whole - Duration::from_nanos(self.parts.rng.next_u64() % (nanos / 2).max(1))
    }

    /// Waits; false if it is time to stop.
    async fn wait(&self, time: Duration, stop: &mut watch::Receiver<bool>) -> bool {
        let due = self.parts.clock.monotonic().saturating_add(time);
        tokio::select! {
            biased;
            () = stopped(stop) => false,
            () = self.parts.clock.sleep_until(due) => true,
        }
    }
}

/// Resolves once it is time to stop.
async fn stopped(stop: &mut watch::Receiver<bool>) {
    // Who could say so is gone: that says so too.
    stop.wait_for(|stopped| *stopped).await.ok();
}

/// Waits until all tasks have ended, or one has panicked.
async fn first_failure(tasks: &mut Tasks) -> Result<(), TaskFailure> {
    while let Some(joined) = tasks.join_next().await {
        joined?;
    }
    Ok(())
}

fn letter(consumer: &str, work: &Work, error: &HandlerError) -> NewDeadLetter {
    let earlier = work.delivery.attempt.saturating_sub(1);
    let letter = NewDeadLetter {
        tenant: TenantId::default_tenant(),
        consumer: consumer.to_owned(),
        subject: String::new(),
        headers: std::collections::BTreeMap::new(),
        offset: Some(work.delivery.offset),
        bytes: bytes::Bytes::new(),
        error: error.to_string(),
        attempts: work.failures.saturating_add(earlier),
    };
    match &work.delivery.body {
        Body::Entry(entry) => NewDeadLetter {
            tenant: entry.tenant.clone(),
            subject: subject(&entry.envelope),
            bytes: entry.envelope.clone(),
            ..letter
        },
        Body::Undecodable { subject, headers, bytes, .. } => NewDeadLetter {
            subject: subject.clone(),
            headers: headers.clone(),
            bytes: bytes.clone(),
            ..letter
        },
    }
}

/// Returns what an event is published to, or an empty text if it is none.
fn subject(envelope: &[u8]) -> String {
    schema::inspect(envelope, &schema::Limits::default())
        .map(|event| schema::subject(event.app_id, event.category(), event.event_type))
        .unwrap_or_default()
}

#[cfg(test)]
mod tests;
