//! Workers over a consumer and dead letters that do as they are told.

use std::collections::VecDeque;
use std::future::ready;

use model::Timestamp;
use platform::{SimClock, SimRng};

use super::*;
use crate::{
    DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, Delivery, NewDeadLetter,
};

const SECOND: Duration = Duration::from_secs(1);

fn failure() -> LogError {
    LogError::Unavailable { reason: "the disk is away".to_owned(), retry_after: SECOND }
}

/// Delivers what its script says, then nothing.
#[derive(Debug)]
struct Scripted {
    clock: Arc<SimClock>,
    script: Mutex<VecDeque<Result<Vec<Delivery>, LogError>>>,
    fetches: Mutex<Vec<(Duration, FetchLimits)>>,
    settled: Mutex<Vec<(Duration, Offset, Settlement)>>,
    settlements_failing: AtomicU32,
}

#[derive(Debug)]
struct Handle(Arc<Scripted>);

impl Consumer for Handle {
    fn fetch(&self, limits: FetchLimits) -> BoxFuture<'_, Result<Vec<Delivery>, LogError>> {
        let now = self.0.clock.monotonic();
        self.0.fetches.lock().push((now, limits));
        match self.0.script.lock().pop_front() {
            Some(mut fetched) => {
                if let Ok(deliveries) = &mut fetched {
                    let rest = deliveries.split_off(limits.entries_max.min(deliveries.len()));
                    if !rest.is_empty() {
                        self.0.script.lock().push_front(Ok(rest));
                    }
                }
                ready(fetched).boxed()
            }
            None => {
                let waited = self.0.clock.sleep_until(now + limits.wait_max);
                async move {
                    waited.await;
                    Ok(Vec::new())
                }
                .boxed()
            }
        }
    }

    fn settle(
        &self,
        offset: Offset,
        settlement: Settlement,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        let failing = &self.0.settlements_failing;
        if settlement == Settlement::Done && failing.load(Ordering::Relaxed) > 0 {
            failing.fetch_sub(1, Ordering::Relaxed);
            return ready(Err(failure())).boxed();
        }
        self.0.settled.lock().push((self.0.clock.monotonic(), offset, settlement));
        ready(Ok(())).boxed()
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), LogError>> {
        ready(Ok(())).boxed()
    }
}

/// Keeps letters in memory, after it has failed so often.
#[derive(Debug, Default)]
struct Letters {
    put: Mutex<Vec<NewDeadLetter>>,
    failing: AtomicU32,
}

impl DeadLetters for Letters {
    fn put(&self, letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>> {
        if self.failing.load(Ordering::Relaxed) > 0 {
            self.failing.fetch_sub(1, Ordering::Relaxed);
            return ready(Err(failure())).boxed();
        }
        self.put.lock().push(letter);
        ready(Ok(DeadLetterId(1))).boxed()
    }

    fn list(&self, _query: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>> {
        unreachable!("workers do not list")
    }

    fn get(
        &self,
        _tenant: TenantId,
        _id: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>> {
        unreachable!("workers do not look")
    }

    fn discard(&self, _: TenantId, _: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        unreachable!("nothing is sent back")
    }

    fn replay(&self, _: TenantId, _: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        unreachable!("workers do not replay")
    }

    fn replaying(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>> {
        ready(Ok(Vec::new())).boxed()
    }

    fn give_back(&self, _: DeadLetterId, _: String) -> BoxFuture<'_, Result<(), LogError>> {
        unreachable!("nothing is sent back")
    }

    fn depths(&self) -> Vec<DeadLetterDepth> {
        Vec::new()
    }
}

/// Does what is asked for once it is let go.
#[derive(Debug)]
struct Gate {
    open: watch::Sender<bool>,
    outcome: Result<(), HandlerError>,
    seen: Mutex<Vec<u64>>,
}

impl Gate {
    fn new(is_open: bool, outcome: Result<(), HandlerError>) -> Arc<Self> {
        let open = watch::Sender::new(is_open);
        Arc::new(Self { open, outcome, seen: Mutex::default() })
    }
}

impl Handler for Gate {
    fn handle<'a>(&'a self, entry: &'a Entry) -> BoxFuture<'a, Result<(), HandlerError>> {
        self.seen.lock().push(entry.offset.0);
        let mut open = self.open.subscribe();
        async move {
            open.wait_for(|open| *open).await.ok();
            self.outcome.clone()
        }
        .boxed()
    }
}

fn delivery(offset: u64, lane: u64, attempt: u32) -> Delivery {
    let entry = Entry {
        offset: Offset(offset),
        tenant: TenantId::default_tenant(),
        received_at: Timestamp::from_millis(0),
        lane: Lane(lane),
        envelope: vec![0; 10].into(),
    };
    Delivery { offset: Offset(offset), attempt, body: Body::Entry(entry) }
}

struct Bench {
    clock: Arc<SimClock>,
    consumer: Arc<Scripted>,
    letters: Arc<Letters>,
    workers: Workers,
    stop: watch::Sender<bool>,
    tasks: Tasks,
}

fn settings() -> WorkerSettings {
    WorkerSettings {
        backoff_min: SECOND,
        backoff_max: 30 * SECOND,
        progress_every: 20 * SECOND,
        ..WorkerSettings::default()
    }
}

impl Bench {
    fn new(
        script: Vec<Result<Vec<Delivery>, LogError>>,
        handler: &Arc<Gate>,
        settings: WorkerSettings,
    ) -> Self {
        let clock = SimClock::new(Timestamp::from_millis(0));
        let consumer = Arc::new(Scripted {
            clock: clock.clone(),
            script: Mutex::new(script.into()),
            fetches: Mutex::default(),
            settled: Mutex::default(),
            settlements_failing: AtomicU32::new(0),
        });
        let letters = Arc::new(Letters::default());
        let parts = WorkerParts {
            name: "sink".to_owned(),
            consumer: Box::new(Handle(consumer.clone())),
            dead_letters: letters.clone(),
            handler: handler.clone(),
            clock: Arc::new(clock.clone()),
            rng: SimRng::new(1),
        };
        let workers = Workers::new(parts, settings);
        let stop = watch::Sender::new(false);
        Self { clock, consumer, letters, workers, stop, tasks: Tasks::new() }
    }

    fn start(&mut self) {
        let (workers, stop) = (self.workers.clone(), self.stop.subscribe());
        self.tasks.spawn("workers", async move { workers.run(stop).await.expect("no panic") });
    }

    /// Lets so many seconds pass, in steps.
    async fn pass(&self, seconds: u32) {
        self.turn().await;
        for _ in 0..seconds * 4 {
            self.clock.advance(SECOND / 4);
            self.turn().await;
        }
    }

    /// Lets everybody do what can be done now.
    async fn turn(&self) {
        for _ in 0..40 {
            tokio::task::yield_now().await;
        }
    }

    fn done(&self) -> Vec<u64> {
        let settled = self.consumer.settled.lock();
        let done = settled.iter().filter(|(_, _, settlement)| *settlement == Settlement::Done);
        done.map(|(_, offset, _)| offset.0).collect()
    }
}

#[tokio::test]
async fn fetches_that_fail_are_further_apart_each_time_and_make_the_workers_fail() {
    let handler = Gate::new(true, Ok(()));
    let mut script: Vec<_> = (0..9).map(|_| Err(failure())).collect();
    script.push(Ok(vec![delivery(1, 1, 1)]));
    let mut bench = Bench::new(script, &handler, settings());
    bench.start();
    bench.pass(4).await;
    assert_eq!(bench.workers.failing(), None, "not yet");
    bench.pass(36).await;
    let failing = bench.workers.failing().expect("it failed more than five times");
    assert!(failing.contains("cannot fetch") && failing.contains("the disk is away"), "{failing}");
    bench.pass(160).await;
    assert_eq!(bench.done(), [1]);
    assert_eq!(bench.workers.failing(), None);
    assert_eq!(bench.workers.stats().fetch_failures, 9);
    let fetches = bench.consumer.fetches.lock();
    let apart = fetches.windows(2).map(|pair| pair[1].0 - pair[0].0);
    for (index, apart) in (0..9).zip(apart) {
        let whole = (SECOND * (1 << index)).min(30 * SECOND);
        let step = SECOND / 4;
        assert!(apart >= whole / 2 && apart <= whole + step, "{index}: {apart:?} of {whole:?}");
    }
}

#[tokio::test]
async fn an_entry_that_cannot_be_settled_is_settled_later_and_its_lane_waits() {
    let handler = Gate::new(true, Ok(()));
    let script = vec![Ok(vec![delivery(1, 1, 1), delivery(2, 1, 1)])];
    let mut bench = Bench::new(script, &handler, settings());
    bench.consumer.settlements_failing.store(3, Ordering::Relaxed);
    bench.start();
    bench.turn().await;
    assert_eq!((handler.seen.lock().clone(), bench.done()), (vec![1], vec![]));
    bench.pass(10).await;
    assert_eq!((handler.seen.lock().clone(), bench.done()), (vec![1, 2], vec![1, 2]));
    assert_eq!(bench.workers.stats().write_failures, 3);
}

#[tokio::test]
async fn nothing_is_settled_before_its_dead_letter_is_kept() {
    let handler = Gate::new(true, Err(HandlerError::Invalid { reason: "broken".to_owned() }));
    let mut bench = Bench::new(vec![Ok(vec![delivery(1, 1, 3)])], &handler, settings());
    bench.letters.failing.store(6, Ordering::Relaxed);
    bench.start();
    bench.pass(30).await;
    assert_eq!(bench.done(), Vec::<u64>::new());
    assert!(bench.workers.failing().expect("it fails").contains("cannot settle"));
    bench.pass(60).await;
    assert_eq!((bench.done(), bench.workers.failing()), (vec![1], None));
    let letters = bench.letters.put.lock();
    assert_eq!((letters.len(), letters[0].attempts), (1, 3), "two deliveries before, one attempt");
}

#[tokio::test]
async fn what_is_held_for_long_is_reported_to_be_in_progress() {
    let handler = Gate::new(false, Ok(()));
    let script = vec![Ok(vec![delivery(1, 1, 1), delivery(2, 1, 1)])];
    let mut bench = Bench::new(script, &handler, settings());
    bench.start();
    bench.pass(60).await;
    for offset in 1..=2 {
        let settled = bench.consumer.settled.lock();
        let reports = settled.iter().filter(|(_, reported, _)| *reported == Offset(offset));
        let mut last = Duration::ZERO;
        for (at, _, settlement) in reports {
            assert_eq!(*settlement, Settlement::InProgress);
            assert!(*at - last <= 21 * SECOND, "{at:?} after {last:?}");
            last = *at;
        }
        assert!(last >= 40 * SECOND, "{last:?}");
    }
    handler.open.send_replace(true);
    bench.turn().await;
    let before = bench.consumer.settled.lock().len();
    bench.pass(60).await;
    assert_eq!(bench.consumer.settled.lock().len(), before, "nothing is held any more");
}

#[tokio::test]
async fn no_more_is_held_than_allowed() {
    for (entries_max, bytes_max, held) in [(12, 1_000, 12), (1_000, 35, 10)] {
        let handler = Gate::new(false, Ok(()));
        let some = |from: u64| Ok((from..from + 10).map(|at| delivery(at, at, 1)).collect());
        let script = vec![some(0), some(10), some(20)];
        let settings = WorkerSettings { entries_max, bytes_max, ..settings() };
        let mut bench = Bench::new(script, &handler, settings);
        bench.start();
        bench.pass(5).await;
        let most = bench.workers.stats().held;
        assert!(most <= held && most >= held * 3 / 4, "{most} of {held}");
        for (_, limits) in bench.consumer.fetches.lock().iter() {
            assert!(limits.entries_max <= entries_max && limits.bytes_max <= bytes_max);
        }
        handler.open.send_replace(true);
        bench.pass(5).await;
        assert_eq!(bench.done().len(), 30, "what was settled made room");
    }
}

#[tokio::test]
async fn what_is_delivered_again_while_it_is_held_is_processed_once() {
    let handler = Gate::new(false, Ok(()));
    let script = vec![Ok(vec![delivery(1, 1, 1)]), Ok(vec![delivery(1, 1, 2)])];
    let mut bench = Bench::new(script, &handler, settings());
    bench.start();
    bench.pass(5).await;
    handler.open.send_replace(true);
    bench.pass(5).await;
    assert_eq!((handler.seen.lock().clone(), bench.done()), (vec![1], vec![1]));
}

#[tokio::test]
async fn what_was_delivered_too_often_is_given_up_without_an_attempt() {
    let handler = Gate::new(true, Ok(()));
    let script = vec![Ok(vec![delivery(1, 1, 64), delivery(2, 1, 65)])];
    let mut bench = Bench::new(script, &handler, settings());
    bench.start();
    bench.pass(1).await;
    assert_eq!((handler.seen.lock().clone(), bench.done()), (vec![1], vec![1, 2]));
    let letters = bench.letters.put.lock();
    assert_eq!(letters.len(), 1);
    assert!(letters[0].error.contains("64 times"), "{}", letters[0].error);
}

#[tokio::test]
async fn what_fails_or_cannot_be_kept_while_the_workers_stop_is_left() {
    let failed = HandlerError::Failed { reason: "cancelled".to_owned() };
    let handler = Gate::new(false, Err(failed));
    let settings = WorkerSettings { attempts_max: 1, ..settings() };
    let mut bench = Bench::new(vec![Ok(vec![delivery(1, 1, 1)])], &handler, settings);
    bench.start();
    bench.turn().await;
    bench.stop.send_replace(true);
    bench.turn().await;
    handler.open.send_replace(true);
    bench.turn().await;
    bench.tasks.join_next().await.expect("one").expect("no panic");
    assert_eq!((bench.done(), bench.letters.put.lock().len()), (vec![], 0));

    let handler = Gate::new(true, Err(HandlerError::Invalid { reason: "broken".to_owned() }));
    let mut bench = Bench::new(vec![Ok(vec![delivery(1, 1, 1)])], &handler, self::settings());
    bench.letters.failing.store(u32::MAX, Ordering::Relaxed);
    bench.start();
    bench.pass(2).await;
    bench.stop.send_replace(true);
    bench.tasks.join_next().await.expect("one").expect("no panic");
    assert_eq!(bench.done(), Vec::<u64>::new());
}

#[tokio::test]
async fn lanes_that_become_ready_together_are_all_worked_on() {
    let handler = Gate::new(false, Ok(()));
    let script = vec![Ok((1..=8).map(|at| delivery(at, at, 1)).collect())];
    let mut bench = Bench::new(script, &handler, settings());
    bench.start();
    bench.turn().await;
    assert_eq!(handler.seen.lock().len(), 8, "as many as there are workers");
}

#[tokio::test]
async fn a_worker_that_takes_work_wakes_another_one_for_what_is_left() {
    let handler = Gate::new(true, Ok(()));
    let bench = Bench::new(Vec::new(), &handler, settings());
    let (pool, mut stop) = (&bench.workers.pool, bench.stop.subscribe());
    let woken = || pool.ready.notified().now_or_never().is_some();
    for offset in 1..=2 {
        pool.lanes.lock().push(delivery(offset, offset, 1), Duration::ZERO);
    }
    let (lane, work) = pool.next(&mut stop).await.expect("work");
    assert!(woken(), "the other lane is ready");
    pool.lanes.lock().retry(lane, work, SECOND);
    pool.next(&mut stop).await.expect("work");
    assert!(woken(), "the first lane will be ready");
    bench.clock.advance(SECOND);
    pool.next(&mut stop).await.expect("work");
    assert!(!woken(), "nothing is left");
}

#[test]
fn waits_grow_to_their_limit_and_differ() {
    let handler = Gate::new(true, Ok(()));
    let bench = Bench::new(Vec::new(), &handler, settings());
    let mut waits = Vec::new();
    for failures in 1..=u32::BITS + 2 {
        let whole = (SECOND * (1 << (failures - 1).min(9))).min(30 * SECOND);
        let wait = bench.workers.pool.backoff(failures);
        assert!(wait > whole / 2 && wait <= whole, "{failures}: {wait:?} of {whole:?}");
        waits.push(wait);
    }
    waits.dedup();
    assert_eq!(waits.len(), 34);
}
