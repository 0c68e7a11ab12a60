//! The embedded log and its memory of keys together: whatever happens, each key is stored once within the window.

use std::collections::BTreeMap;
use std::io::ErrorKind;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use events::{
    Batch, EmbeddedConfig, EmbeddedLog, EventKey, EventLog, Lane, LogError, LogOpening, NewEvent,
    Offset, Outcome, ReadLimits,
};
use futures_util::future::{join, join_all};
use model::{TenantId, Timestamp};
use platform::{Clock, Fs, SimClock, SimCrash, SimFs, SimRng};
use proptest::prelude::*;

const DIR: &str = "/data/events";
const WINDOW: Duration = Duration::from_hours(24);

/// An event that somebody sends, perhaps not for the first time.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Sent {
    key: u8,
    content: u8,
}

impl Sent {
    /// Every repetition brings an identifier of its own.
    fn event(self, number: u64) -> NewEvent {
        let id = match self.content % 2 {
            0 => format!("0190a1b2-c3d4-7e5f-8a9b-{number:012x}"),
            _ => format!("own-{number}"),
        };
        NewEvent {
            envelope: Bytes::from(format!("{} {} {id}", self.key, self.content)),
            id: id.into(),
            key: Some(EventKey(u128::from(self.key) << 64 | u128::from(self.key))),
            fingerprint: u64::from(self.content),
            lane: Lane(0),
        }
    }

    fn read(envelope: &[u8]) -> (Self, Box<str>) {
        let text = std::str::from_utf8(envelope).expect("text");
        let mut parts = text.split(' ');
        let mut next = || parts.next().expect("part");
        let (key, content) = (next().parse().expect("key"), next().parse().expect("content"));
        (Self { key, content }, next().into())
    }
}

/// What is sent at once, and how many turns of the others it waits before.
type Sending = (u8, Vec<Sent>);

type Answer = Result<Vec<Outcome>, LogError>;

/// A log and everything that was said about it.
struct World {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    log: EmbeddedLog,
    opening: LogOpening,
    sent: u64,
    /// Entries before this one are older than the window.
    window_from: Offset,
}

impl World {
    fn new() -> Self {
        let fs = SimFs::new();
        let clock = SimClock::new(Timestamp::from_millis(1_800_000_000_000));
        let (log, opening) = open(&fs, &clock);
        Self { fs, clock, log, opening, sent: 0, window_from: Offset(0) }
    }

    fn restart(&mut self, crash: &SimCrash) {
        self.fs.restart(crash);
        (self.log, self.opening) = open(&self.fs, &self.clock);
    }

    fn batch(&mut self, events: &[Sent]) -> Batch {
        let first = self.sent;
        self.sent += events.len() as u64;
        Batch {
            tenant: TenantId::default_tenant(),
            received_at: Clock::now(&self.clock),
            events: (first..).zip(events).map(|(number, sent)| sent.event(number)).collect(),
        }
    }

    /// Sends batches at the same time, each after so many turns of the others; commits in every turn.
    async fn send(&mut self, batches: &[Sending]) -> Vec<Answer> {
        let prepared: Vec<(u8, Batch)> =
            batches.iter().map(|(turns, events)| (*turns, self.batch(events))).collect();
        let log = &self.log;
        let turns_max = batches.iter().map(|(turns, _)| *turns).max().unwrap_or(0);
        let appends = prepared.into_iter().map(|(turns, batch)| async move {
            for _ in 0..turns {
                tokio::task::yield_now().await;
            }
            log.append(batch).await
        });
        let commits = async {
            for _ in 0..=turns_max {
                // What fails shows in the answers.
                log.commit_pending().unwrap_or_default();
                tokio::task::yield_now().await;
            }
            log.commit_pending().unwrap_or_default();
        };
        join(join_all(appends), commits).await.0
    }

    /// Returns what the log holds of the window.
    async fn entries(&self) -> BTreeMap<Offset, (Sent, Box<str>)> {
        let limits = ReadLimits { entries_max: 1_000_000, bytes_max: usize::MAX };
        let page = self.log.read(self.window_from, limits).await.expect("read");
        page.entries.iter().map(|entry| (entry.offset, Sent::read(&entry.envelope))).collect()
    }

    /// Checks each answer with what is in the log.
    async fn verify(&self, batches: &[Sending], answers: &[Answer]) {
        let entries = self.entries().await;
        let mut by_key = BTreeMap::new();
        for (offset, (sent, id)) in &entries {
            let before = by_key.insert(sent.key, (*offset, *sent, id));
            assert_eq!(before, None, "key {} is stored twice", sent.key);
        }
        for ((_, events), outcomes) in batches.iter().zip(answers) {
            let Ok(outcomes) = outcomes else { continue };
            assert_eq!(outcomes.len(), events.len(), "each event has its outcome");
            for (sent, outcome) in events.iter().zip(outcomes) {
                let (at, first, first_id) = by_key.get(&sent.key).expect("stored");
                match outcome {
                    Outcome::Stored { offset } => assert_eq!((offset, sent), (at, first)),
                    Outcome::Duplicate { offset, id } => {
                        assert_eq!((offset, id, sent), (at, *first_id, first));
                    }
                    Outcome::Conflict { offset, id } => {
                        assert_eq!((offset, id), (at, *first_id));
                        assert_ne!(sent.content, first.content);
                    }
                }
            }
        }
    }
}

fn open(fs: &Arc<SimFs>, clock: &Arc<SimClock>) -> (EmbeddedLog, LogOpening) {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let fs: Arc<dyn Fs> = Arc::<SimFs>::clone(fs);
    let config = EmbeddedConfig { deduplication_window: WINDOW, ..EmbeddedConfig::default() };
    EmbeddedLog::open(fs, Path::new(DIR), clock, config).expect("open")
}

/// Counts answers: stored, duplicates, conflicts.
fn tally(answers: &[Answer]) -> (u64, u64, u64) {
    let mut tally = (0, 0, 0);
    for outcome in answers.iter().flatten().flatten() {
        match outcome {
            Outcome::Stored { .. } => tally.0 += 1,
            Outcome::Duplicate { .. } => tally.1 += 1,
            Outcome::Conflict { .. } => tally.2 += 1,
        }
    }
    tally
}

/// What happens around some batches.
#[derive(Clone, Copy, Debug)]
enum Event {
    Nothing,
    /// The program is told to end, and starts again.
    Close,
    /// The program is killed, and starts again.
    Kill,
    PowerLoss,
    Maintain,
    /// The wall clock is set.
    Step(i64),
    /// The window passes.
    Expire,
    /// The machine stops at a file operation of the batches.
    CrashAt {
        after: u64,
        seed: u64,
    },
    /// A file operation of the batches fails.
    FailAt {
        after: u64,
        full: bool,
    },
}

fn batches() -> impl Strategy<Value = Vec<Sending>> {
    let sent = (0..24_u8, 0..8_u8)
        .prop_map(|(key, content)| Sent { key, content: content.saturating_sub(5) });
    prop::collection::vec((0..4_u8, prop::collection::vec(sent, 1..8)), 1..8)
}

fn happening() -> impl Strategy<Value = Event> {
    prop_oneof![
        2 => Just(Event::Nothing),
        1 => Just(Event::Close),
        1 => Just(Event::Kill),
        1 => Just(Event::PowerLoss),
        1 => Just(Event::Maintain),
        1 => prop_oneof![Just(-3_600_000_i64), Just(7_200_000_i64)].prop_map(Event::Step),
        1 => Just(Event::Expire),
        2 => (0..6_u64, any::<u64>()).prop_map(|(after, seed)| Event::CrashAt { after, seed }),
        2 => (0..6_u64, any::<bool>()).prop_map(|(after, full)| Event::FailAt { after, full }),
    ]
}

async fn play(rounds: Vec<(Event, Vec<Sending>)>) {
    let mut world = World::new();
    let mut counted = world.log.stats();
    for (event, batches) in rounds {
        let mut restarted = true;
        match event {
            Event::Close => {
                world.log.close();
                world.restart(&SimCrash::PowerLoss);
                assert_eq!(world.opening.entries_read, 0, "all keys are in files");
            }
            Event::Kill => world.restart(&SimCrash::Kill),
            Event::PowerLoss => world.restart(&SimCrash::PowerLoss),
            _ => restarted = false,
        }
        match event {
            Event::Maintain => _ = world.log.maintain().expect("maintained"),
            Event::Step(millis) => {
                world.clock.set_now(Clock::now(&world.clock).saturating_add_millis(millis));
                world.log.maintain().expect("maintained");
            }
            Event::Expire => {
                world.clock.advance(WINDOW);
                world.window_from = *world.log.end().borrow();
            }
            Event::CrashAt { after, seed } => {
                world.fs.crash_at(world.fs.operations() + after, Some(SimRng::new(seed)));
            }
            Event::FailAt { after, full } => {
                let kind = if full { ErrorKind::StorageFull } else { ErrorKind::Other };
                world.fs.fail_at(world.fs.operations() + after, kind);
            }
            _ => {}
        }
        if restarted {
            counted = world.log.stats();
        }
        let answers = world.send(&batches).await;
        // What the batches did not meet is not to fail later.
        world.fs.fail_at(u64::MAX, ErrorKind::Other);
        let all = answers.iter().all(Result::is_ok);
        if all {
            // Received is stored, duplicates and conflicts together: of the answers as of the counts.
            let now = world.log.stats();
            let received = batches.iter().map(|(_, events)| events.len() as u64).sum::<u64>();
            let (stored, duplicates, conflicts) = tally(&answers);
            assert_eq!(stored + duplicates + conflicts, received);
            assert_eq!(now.stored - counted.stored, stored);
            assert_eq!(now.duplicates - counted.duplicates, duplicates);
            assert_eq!(now.conflicts - counted.conflicts, conflicts);
        }
        if let Event::CrashAt { seed, .. } = event {
            world.restart(&SimCrash::PowerLossTorn(SimRng::new(seed)));
        }
        // Senders that got no answer send the same again.
        for _ in 0..8 {
            if world.log.refusal().is_none() {
                break;
            }
            world.clock.advance(Duration::from_mins(2));
            // The next try may have to wait.
            world.log.maintain().unwrap_or_default();
        }
        world.verify(&batches, &answers).await;
        let again = world.send(&batches).await;
        assert!(again.iter().all(Result::is_ok), "{again:?}");
        world.verify(&batches, &again).await;
        if all {
            assert_eq!(tally(&again).0, 0, "nothing of it is new");
        }
        counted = world.log.stats();
        assert_eq!(counted.in_flight, 0);
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 256, failure_persistence: None, ..Default::default() })]

    #[test]
    fn each_key_is_stored_once_whatever_happens(
        rounds in prop::collection::vec((happening(), batches()), 1..8),
    ) {
        let runtime = tokio::runtime::Builder::new_current_thread().build().expect("runtime");
        runtime.block_on(play(rounds));
    }
}

#[tokio::test]
async fn many_at_once_with_one_key_store_one_and_all_learn_which() {
    let mut world = World::new();
    let same = Sent { key: 1, content: 0 };
    let other = Sent { key: 1, content: 2 };
    let batches: Vec<_> = (0..50)
        .map(|number| (number % 5, vec![if number % 7 == 3 { other } else { same }]))
        .collect();
    let answers = world.send(&batches).await;
    world.verify(&batches, &answers).await;
    assert_eq!(tally(&answers), (1, 42, 7));
}

#[tokio::test]
async fn keys_are_written_by_maintenance_when_the_clock_was_set_and_when_the_log_is_closed() {
    let mut world = World::new();
    let manifest = Path::new(DIR).join("deduplication/manifest");
    let batches = vec![(0, vec![Sent { key: 1, content: 1 }])];
    let answers = world.send(&batches).await;
    world.log.maintain().expect("maintained");
    assert!(!world.fs.exists(&manifest).expect("stat"), "one key is not worth a file");
    world.clock.set_now(Timestamp::from_millis(0));
    world.log.maintain().expect("maintained");
    assert!(world.fs.exists(&manifest).expect("stat"));
    assert_eq!(world.log.stats().keys, 1);
    world.log.close();
    world.restart(&SimCrash::PowerLoss);
    assert_eq!((world.opening.entries_read, world.log.stats().keys), (0, 1));
    world.verify(&batches, &answers).await;
    assert_eq!(tally(&world.send(&batches).await), (0, 1, 0));
}
