//! The checks of [`Workers`] over the consumers and dead letters of an engine.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use platform::{SimRng, Tasks};
use tokio::sync::watch;

use super::{DeadLetterEngine, event, store, tenant};
use crate::{
    ConsumerConfig, DeadLetter, DeadLetterQuery, DeadLetterState, Entry, Handler, HandlerError,
    Lane, NewDeadLetter, Offset, WorkerParts, WorkerSettings, WorkerStats, Workers,
};

const NAME: &str = "rules";

/// How often a check looks before it gives up, and how much time passes between.
const LOOKS_MAX: usize = 1_000;
const LOOK_WAIT: Duration = Duration::from_millis(10);

fn settings() -> WorkerSettings {
    WorkerSettings {
        workers: 3,
        attempts_max: 3,
        backoff_min: Duration::from_millis(10),
        backoff_max: Duration::from_millis(40),
        progress_every: Duration::from_millis(200),
        replay_every: Duration::from_millis(20),
        stop_within: Duration::from_secs(2),
        ..WorkerSettings::default()
    }
}

/// What is to become of an entry.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fate {
    /// It fails so often.
    Fails(u32),
    /// It cannot be tried so often.
    Unavailable(u32),
    Invalid,
    Panics,
    /// It is never done.
    Hangs,
}

/// Notes what it is handed, in the order in which that is done.
#[derive(Debug, Default)]
struct Recorder {
    fates: Mutex<BTreeMap<Bytes, Fate>>,
    attempts: Mutex<BTreeMap<Bytes, u32>>,
    done: Mutex<Vec<(Lane, Bytes)>>,
}

impl Recorder {
    fn new(fates: &[(u64, Fate)]) -> Arc<Self> {
        let recorder = Self::default();
        for (number, fate) in fates {
            recorder.fates.lock().insert(event(*number).envelope, *fate);
        }
        Arc::new(recorder)
    }

    fn forgive(&self) {
        self.fates.lock().clear();
    }

    fn attempts(&self, number: u64) -> u32 {
        self.attempts.lock().get(&event(number).envelope).copied().unwrap_or_default()
    }

    /// Returns the numbers of the events that are done, in that order.
    fn done(&self) -> Vec<u64> {
        let number = |bytes: &Bytes| (1..100).find(|number| event(*number).envelope == bytes);
        self.done.lock().iter().filter_map(|(_, bytes)| number(bytes)).collect()
    }

    fn is_done(&self, numbers: impl IntoIterator<Item = u64>) -> bool {
        let done: BTreeSet<u64> = self.done().into_iter().collect();
        numbers.into_iter().all(|number| done.contains(&number))
    }
}

impl Handler for Recorder {
    fn handle<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), HandlerError>> {
        Box::pin(async move {
            let bytes = &entry.envelope;
            let attempts = {
                let mut attempts = self.attempts.lock();
                let count = attempts.entry(bytes.clone()).or_default();
                *count += 1;
                *count
            };
            let fate = self.fates.lock().get(bytes).copied();
            let reason = format!("attempt {attempts}");
            match fate {
                Some(Fate::Fails(times)) if attempts <= times => {
                    return Err(HandlerError::Failed { reason });
                }
                Some(Fate::Unavailable(times)) if attempts <= times => {
                    return Err(HandlerError::Unavailable { reason });
                }
                Some(Fate::Invalid) => return Err(HandlerError::Invalid { reason }),
                Some(Fate::Panics) => panic!("{reason}"),
                Some(Fate::Hangs) => std::future::pending().await,
                _ => {}
            }
            self.done.lock().push((entry.lane, bytes.clone()));
            Ok(())
        })
    }
}

/// Workers at work.
struct Running {
    workers: Workers,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

impl Running {
    async fn start(engine: &dyn DeadLetterEngine, handler: &Arc<Recorder>) -> Self {
        let ack_wait = Duration::from_secs(1);
        let config = ConsumerConfig { ack_wait, ..ConsumerConfig::new(NAME) };
        let parts = WorkerParts {
            name: NAME.to_owned(),
            consumer: engine.log().consumer(config).await.expect("a consumer"),
            dead_letters: engine.dead_letters(),
            handler: handler.clone(),
            clock: engine.clock(),
            rng: SimRng::new(7),
        };
        let workers = Workers::new(parts, settings());
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Tasks::new();
        let work = workers.clone();
        tasks.spawn("workers", async move { work.run(stopped).await.expect("no panic") });
        Self { workers, stop, tasks }
    }

    /// Stops the workers, and expects that they end in their time.
    async fn stop(mut self, engine: &dyn DeadLetterEngine) -> WorkerStats {
        let clock = engine.clock();
        let begun = clock.monotonic();
        self.stop.send_replace(true);
        let mut ended = None;
        until(engine, || {
            ended = futures_util::FutureExt::now_or_never(self.tasks.join_next()).flatten();
            ended.is_some()
        })
        .await;
        ended.expect("it ended").expect("no panic");
        // Another process, and the turns in which the check looks, take time too.
        let took = clock.monotonic().saturating_sub(begun);
        assert!(took <= settings().stop_within * 2, "{took:?}");
        self.workers.stats()
    }
}

/// Lets time pass until something is so.
async fn until(engine: &dyn DeadLetterEngine, mut is_so: impl FnMut() -> bool) {
    for _ in 0..LOOKS_MAX {
        if is_so() {
            return;
        }
        engine.advance(LOOK_WAIT).await;
    }
    panic!("what is waited for does not come");
}

/// Starts workers, waits until something is so, and stops them.
async fn work_until(
    engine: &dyn DeadLetterEngine,
    handler: &Arc<Recorder>,
    mut is_so: impl FnMut(WorkerStats) -> bool,
) -> WorkerStats {
    let running = Running::start(engine, handler).await;
    until(engine, || is_so(running.workers.stats())).await;
    running.stop(engine).await
}

async fn dead_letters(engine: &dyn DeadLetterEngine) -> Vec<DeadLetter> {
    let query = DeadLetterQuery { tenant: tenant(), consumer: None, before: None, limit: 100 };
    engine.dead_letters().list(query).await.expect("list").letters
}

fn dead(number: u64, offset: Offset, attempts: u32) -> NewDeadLetter {
    NewDeadLetter {
        tenant: tenant(),
        consumer: NAME.to_owned(),
        subject: "events.shop.user.login".to_owned(),
        headers: BTreeMap::new(),
        offset: Some(offset),
        bytes: event(number).envelope,
        error: format!("attempt {attempts}"),
        attempts,
    }
}

/// Restarts the log, and expects that workers find these left to do, and nothing else unless the engine says so.
async fn expect_left(engine: &mut dyn DeadLetterEngine, numbers: &[u64]) {
    engine.restart().await;
    engine.advance(Duration::from_secs(2)).await;
    let handler = Recorder::new(&[]);
    let running = Running::start(engine, &handler).await;
    until(engine, || handler.is_done(numbers.iter().copied())).await;
    for _ in 0..10 {
        engine.advance(LOOK_WAIT).await;
    }
    running.stop(engine).await;
    let mut done = handler.done();
    done.sort_unstable();
    if engine.delivers_settled_again() {
        done.retain(|number| numbers.contains(number));
    }
    assert_eq!(done, numbers);
}

fn lane_order(handler: &Recorder, lane: u64) -> Vec<u64> {
    handler.done().into_iter().filter(|number| number % 3 == lane).collect()
}

/// All of it, in the order of each lane, and none of it again.
pub async fn every_entry_is_processed_once_and_settled(engine: &mut dyn DeadLetterEngine) {
    store(engine, 1..=20).await;
    let handler = Recorder::new(&[]);
    let running = Running::start(engine, &handler).await;
    store(engine, 21..=40).await;
    until(engine, || running.workers.stats().processed == 40).await;
    let stats = running.stop(engine).await;
    assert_eq!(stats, WorkerStats { processed: 40, ..WorkerStats::default() });
    for lane in 0..3 {
        let wanted: Vec<u64> = (1..=40).filter(|number| number % 3 == lane).collect();
        assert_eq!(lane_order(&handler, lane), wanted);
    }
    assert_eq!(dead_letters(engine).await, []);
    expect_left(engine, &[]).await;
}

/// Lane 1 waits for entry 4, the other lanes are done before it.
pub async fn a_lane_waits_for_its_entry_that_is_retried_and_others_do_not(
    engine: &mut dyn DeadLetterEngine,
) {
    store(engine, 1..=12).await;
    let handler = Recorder::new(&[(4, Fate::Unavailable(u32::MAX))]);
    let running = Running::start(engine, &handler).await;
    until(engine, || handler.is_done([1, 2, 3, 5, 6, 8, 9, 11, 12])).await;
    until(engine, || handler.attempts(4) > 3).await;
    assert_eq!(lane_order(&handler, 1), [1]);
    handler.forgive();
    until(engine, || running.workers.stats().processed == 12).await;
    let stats = running.stop(engine).await;
    assert!(stats.retried >= 3, "{stats:?}");
    assert_eq!(lane_order(&handler, 1), [1, 4, 7, 10]);
    expect_left(engine, &[]).await;
}

/// After its last attempt it is kept with everything about it, and the lane goes on.
pub async fn an_entry_that_fails_too_often_becomes_a_dead_letter(
    engine: &mut dyn DeadLetterEngine,
) {
    let stored = store(engine, 1..=6).await;
    let handler = Recorder::new(&[(2, Fate::Fails(u32::MAX)), (3, Fate::Fails(2))]);
    let stats = work_until(engine, &handler, |stats| stats.processed == 5).await;
    assert_eq!((stats.dead_lettered, stats.retried), (1, 4));
    assert_eq!((handler.attempts(2), handler.attempts(3)), (3, 3));
    let letters = dead_letters(engine).await;
    assert_eq!(letters.len(), 1);
    assert_eq!(letters[0].letter, dead(2, stored[1], 3));
    assert_eq!(letters[0].state, DeadLetterState::Waiting);
    expect_left(engine, &[]).await;
}

/// Trying it again would be of no use.
pub async fn an_entry_that_will_never_succeed_becomes_a_dead_letter_at_once(
    engine: &mut dyn DeadLetterEngine,
) {
    let stored = store(engine, 1..=3).await;
    let handler = Recorder::new(&[(2, Fate::Invalid)]);
    let stats = work_until(engine, &handler, |stats| stats.processed == 2).await;
    assert_eq!((stats.dead_lettered, stats.retried, handler.attempts(2)), (1, 0, 1));
    assert_eq!(dead_letters(engine).await[0].letter, dead(2, stored[1], 1));
}

/// What cannot be decoded is kept as it is, and does not reach the handler.
pub async fn what_is_no_event_becomes_a_dead_letter(engine: &mut dyn DeadLetterEngine) {
    store(engine, [1]).await;
    let junk = Bytes::from_static(b"\xFFno event");
    engine.plant(junk.clone()).await;
    store(engine, [2]).await;
    let handler = Recorder::new(&[]);
    let done = |stats: WorkerStats| stats.processed == 2 && stats.dead_lettered == 1;
    work_until(engine, &handler, done).await;
    let letters = dead_letters(engine).await;
    assert_eq!(letters.len(), 1);
    let letter = &letters[0].letter;
    assert_eq!((&letter.bytes, letter.attempts, letter.consumer.as_str()), (&junk, 1, NAME));
    assert!(letter.offset.is_some() && !letter.error.is_empty(), "{letter:?}");
    assert_eq!(handler.attempts.lock().len(), 2);
    expect_left(engine, &[]).await;
}

/// However often it is tried.
pub async fn an_entry_is_not_given_up_because_something_else_is_unavailable(
    engine: &mut dyn DeadLetterEngine,
) {
    store(engine, 1..=2).await;
    let handler = Recorder::new(&[(1, Fate::Unavailable(12))]);
    let stats = work_until(engine, &handler, |stats| stats.processed == 2).await;
    assert_eq!((stats.dead_lettered, handler.attempts(1)), (0, 13));
}

/// It ends neither the workers nor the program.
pub async fn a_panic_of_the_handler_is_a_failed_attempt(engine: &mut dyn DeadLetterEngine) {
    let stored = store(engine, 1..=6).await;
    let handler = Recorder::new(&[(2, Fate::Panics)]);
    let stats = work_until(engine, &handler, |stats| stats.processed == 5).await;
    assert_eq!((stats.panics, stats.dead_lettered), (3, 1));
    let error = "panic: attempt 3".to_owned();
    let wanted = NewDeadLetter { error, ..dead(2, stored[1], 3) };
    assert_eq!(dead_letters(engine).await[0].letter, wanted);
}

/// Once it is processed it is gone.
pub async fn a_dead_letter_that_is_sent_back_is_processed(engine: &mut dyn DeadLetterEngine) {
    store(engine, 1..=3).await;
    let handler = Recorder::new(&[(2, Fate::Invalid)]);
    work_until(engine, &handler, |stats| stats.dead_lettered == 1 && stats.processed == 2).await;
    handler.forgive();
    let id = dead_letters(engine).await[0].id;
    assert!(engine.dead_letters().replay(tenant(), id).await.expect("replay"));
    let stats = work_until(engine, &handler, |stats| stats.replayed == 1).await;
    assert_eq!((stats.processed, stats.given_back), (0, 0));
    assert!(handler.is_done(1..=3));
    assert_eq!(dead_letters(engine).await, []);
}

/// It says why, and waits for another decision.
pub async fn a_dead_letter_that_fails_again_waits_again(engine: &mut dyn DeadLetterEngine) {
    let stored = store(engine, [1]).await;
    let handler = Recorder::new(&[(1, Fate::Invalid)]);
    work_until(engine, &handler, |stats| stats.dead_lettered == 1).await;
    let id = dead_letters(engine).await[0].id;
    assert!(engine.dead_letters().replay(tenant(), id).await.expect("replay"));
    let stats = work_until(engine, &handler, |stats| stats.given_back == 1).await;
    assert_eq!(stats.replayed, 0);
    let letters = dead_letters(engine).await;
    assert_eq!((letters[0].id, letters[0].state), (id, DeadLetterState::Waiting));
    assert_eq!(letters[0].letter, dead(1, stored[0], 2));
    assert_eq!(handler.attempts(1), 2);
}

/// A handler that hangs does not keep the workers from stopping, and its entry is delivered again with those behind it.
pub async fn stopping_leaves_what_is_not_done(engine: &mut dyn DeadLetterEngine) {
    store(engine, 1..=9).await;
    let handler = Recorder::new(&[(4, Fate::Hangs), (5, Fate::Unavailable(u32::MAX))]);
    let stats = work_until(engine, &handler, |stats| {
        stats.processed == 5 && handler.attempts(4) == 1 && handler.attempts(5) > 0
    })
    .await;
    assert_eq!((stats.processed, stats.dead_lettered), (5, 0));
    expect_left(engine, &[4, 5, 7, 8]).await;
    assert_eq!(dead_letters(engine).await, []);
}
