//! Consumers on a simulated disk that crashes, fails and rots.

use std::future::ready;

use futures_util::FutureExt;
use model::{TenantId, Timestamp};
use platform::{FsOperation, SimClock, SimCrash, SimFs, SimRng};

use super::*;
use crate::{Entry, Lane};

const DIR: &str = "/consumers";
const NAME: &str = "sink";

/// A log that holds an entry of four bytes at each position from `first` on.
#[derive(Debug)]
struct Positions {
    first: Mutex<u64>,
    end: watch::Sender<Offset>,
}

impl Positions {
    fn new(first: u64, end: u64) -> Arc<Self> {
        Arc::new(Self { first: Mutex::new(first), end: watch::Sender::new(Offset(end)) })
    }
}

impl Source for Positions {
    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Found, LogError>> {
        let from = from.0.max(*self.first.lock());
        let count = limits.entries_max.min(limits.bytes_max.div_ceil(4).max(1)) as u64;
        let next = from.saturating_add(count).min(self.end.borrow().0);
        let entry = |offset| Entry {
            offset: Offset(offset),
            tenant: TenantId::default_tenant(),
            received_at: Timestamp::from_millis(0),
            lane: Lane(0),
            envelope: vec![7; 4].into(),
        };
        let bodies = (from..next).map(|at| (Offset(at), Body::Entry(entry(at)))).collect();
        Box::pin(ready(Ok(Found { bodies, next: Offset(next), missing: 0 })))
    }

    fn first(&self) -> Offset {
        Offset(*self.first.lock())
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }
}

struct Machine {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
}

impl Machine {
    fn new() -> Self {
        Self { fs: SimFs::new(), clock: SimClock::new(Timestamp::from_millis(0)) }
    }

    fn consumers(&self) -> Result<Consumers, LogError> {
        let clock: Arc<dyn Clock> = Arc::new(self.clock.clone());
        let opened = Consumers::open(self.fs.clone(), Path::new(DIR), clock);
        opened.map_err(|error| unavailable(error.into()))
    }

    async fn open(
        &self,
        source: &Arc<Positions>,
    ) -> Result<(Consumers, Box<dyn Consumer>), LogError> {
        let consumers = self.consumers()?;
        let consumer = consumers.consumer(ConsumerConfig::new(NAME), source.clone()).await?;
        Ok((consumers, consumer))
    }
}

async fn fetch(consumer: &dyn Consumer, entries_max: usize) -> Result<Vec<(u64, u32)>, LogError> {
    let limits = FetchLimits { entries_max, bytes_max: 1 << 20, wait_max: Duration::ZERO };
    let deliveries = consumer.fetch(limits).await?;
    Ok(deliveries.iter().map(|delivery| (delivery.offset.0, delivery.attempt)).collect())
}

fn once(offsets: impl IntoIterator<Item = u64>) -> Vec<(u64, u32)> {
    offsets.into_iter().map(|offset| (offset, 1)).collect()
}

async fn done(consumer: &dyn Consumer, offset: u64) {
    consumer.settle(Offset(offset), Settlement::Done).await.expect("settle");
}

/// Delivers and settles with gaps, and notes what a flush has made durable; stops at the first error.
async fn script(
    machine: &Machine,
    settled: &mut Vec<u64>,
    flushed: &mut Vec<u64>,
) -> Result<(), LogError> {
    let source = Positions::new(1, 40);
    let (_consumers, consumer) = machine.open(&source).await?;
    for round in 0..4_u64 {
        for (offset, _) in fetch(consumer.as_ref(), 8).await? {
            if offset % 5 != round {
                done(consumer.as_ref(), offset).await;
                settled.push(offset);
            }
        }
        consumer.flush().await?;
        flushed.clone_from(settled);
    }
    Ok(())
}

async fn check_after_crash(crash: &SimCrash, torn: Option<Arc<SimRng>>, at: u64) -> bool {
    let machine = Machine::new();
    let (mut settled, mut flushed) = (Vec::new(), Vec::new());
    machine.fs.crash_at(at, torn);
    let finished = script(&machine, &mut settled, &mut flushed).await.is_ok();
    machine.fs.restart(crash);

    let source = Positions::new(1, 40);
    let (consumers, consumer) = machine.open(&source).await.expect("open");
    let (_, lowest) = consumers.lowest().expect("one");
    let delivered = fetch(consumer.as_ref(), 100).await.expect("fetch");
    let mut offsets: Vec<u64> = delivered.iter().map(|(offset, _)| *offset).collect();
    while let more @ [_, ..] = fetch(consumer.as_ref(), 100).await.expect("fetch").as_slice() {
        offsets.extend(more.iter().map(|(offset, _)| *offset));
    }
    assert!(offsets.is_sorted_by(|a, b| a < b), "crash at {at}: in order");
    for offset in 1..40 {
        let again = offsets.contains(&offset);
        assert!(again || settled.contains(&offset), "crash at {at}: {offset} is lost");
        assert!(!again || !flushed.contains(&offset), "crash at {at}: {offset} was flushed");
    }
    assert!(offsets.first().is_none_or(|first| *first >= lowest.0), "the log keeps {lowest}");
    finished
}

#[tokio::test]
async fn nothing_unsettled_is_lost_and_nothing_flushed_repeated_by_a_crash_at_any_operation() {
    let mut at = 0;
    while !check_after_crash(&SimCrash::Kill, None, at).await {
        check_after_crash(&SimCrash::PowerLoss, None, at).await;
        for seed in 0..4 {
            let rng = SimRng::new(seed << 32 | at);
            check_after_crash(&SimCrash::PowerLossTorn(rng.clone()), Some(rng), at).await;
        }
        at += 1;
    }
    assert!(at > 20, "the script has more operations than {at}");
}

#[tokio::test]
async fn a_new_consumer_holds_the_log_back_across_a_power_loss() {
    let machine = Machine::new();
    machine.open(&Positions::new(5, 40)).await.expect("open");
    machine.fs.restart(&SimCrash::PowerLoss);
    let consumers = machine.consumers().expect("consumers");
    assert_eq!(consumers.lowest(), Some((NAME.to_owned(), Offset(5))));
}

#[tokio::test]
async fn the_log_is_held_back_by_what_is_on_disk() {
    let machine = Machine::new();
    let (consumers, consumer) = machine.open(&Positions::new(1, 40)).await.expect("open");
    fetch(consumer.as_ref(), 9).await.expect("fetch");
    for offset in 1..=4 {
        done(consumer.as_ref(), offset).await;
    }
    let lowest = |offset| Some((NAME.to_owned(), Offset(offset)));
    assert_eq!(consumers.lowest(), lowest(1));
    machine.clock.advance(FLUSH_INTERVAL);
    done(consumer.as_ref(), 5).await;
    assert_eq!(consumers.lowest(), lowest(6), "the time had come");
    assert_eq!(consumers.lag(Offset(40)), BTreeMap::from([(NAME.to_owned(), 34)]));
}

#[tokio::test]
async fn a_fetch_without_entries_writes_the_position_in_its_time() {
    let machine = Machine::new();
    let (consumers, consumer) = machine.open(&Positions::new(1, 3)).await.expect("open");
    fetch(consumer.as_ref(), 9).await.expect("fetch");
    done(consumer.as_ref(), 1).await;
    done(consumer.as_ref(), 2).await;
    machine.clock.advance(FLUSH_INTERVAL);
    assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), []);
    assert_eq!(consumers.lowest(), Some((NAME.to_owned(), Offset(3))));
}

#[tokio::test]
async fn a_disk_that_fails_delays_the_position_and_not_the_entries() {
    let machine = Machine::new();
    let (consumers, consumer) = machine.open(&Positions::new(1, 40)).await.expect("open");
    for operation in [FsOperation::Create, FsOperation::SyncData, FsOperation::Rename] {
        machine.clock.advance(FLUSH_INTERVAL);
        machine.fs.fail_next(operation, std::io::ErrorKind::StorageFull);
        let [(offset, 1)] = fetch(consumer.as_ref(), 1).await.expect("fetch")[..] else {
            panic!("one entry is delivered");
        };
        done(consumer.as_ref(), offset).await;
        assert_eq!(consumers.lowest().expect("one").1, Offset(1), "{operation:?}");
    }
    consumer.flush().await.expect("the disk works again");
    assert_eq!(consumers.lowest().expect("one").1, Offset(4));
    machine.fs.fail_next(FsOperation::SyncData, std::io::ErrorKind::StorageFull);
    done(consumer.as_ref(), 4).await;
    fetch(consumer.as_ref(), 1).await.expect("fetch");
    let refused = consumer.flush().await;
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
}

#[tokio::test]
async fn a_fetch_that_is_dropped_while_the_position_is_written_takes_its_entries_back() {
    let machine = Machine::new();
    let (consumers, consumer) = machine.open(&Positions::new(1, 40)).await.expect("open");
    machine.clock.advance(FLUSH_INTERVAL);
    let limits = FetchLimits { entries_max: 3, bytes_max: 99, wait_max: Duration::ZERO };
    let held = Arc::clone(&consumers.by_name.lock()[NAME]);
    {
        let _slow = held.writing.lock();
        assert!(consumer.fetch(limits).now_or_never().is_none(), "it waits for the disk");
    }
    assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), once(1..=3));
    assert_eq!(fetch(consumer.as_ref(), 2).await.expect("fetch"), once(4..=5));
}

#[tokio::test]
async fn a_position_that_is_damaged_is_set_aside_and_everything_delivered_again() {
    let machine = Machine::new();
    let source = Positions::new(3, 9);
    for copies in 1..=2 {
        let (_consumers, consumer) = machine.open(&source).await.expect("open");
        for (offset, _) in fetch(consumer.as_ref(), 9).await.expect("fetch") {
            done(consumer.as_ref(), offset).await;
        }
        consumer.flush().await.expect("flush");
        machine.fs.corrupt(&Path::new(DIR).join(NAME), 30, 1);
        assert_eq!(machine.consumers().expect("open").lowest().expect("one").1, Offset(0));
        let (_consumers, consumer) = machine.open(&source).await.expect("open");
        assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), once(3..=8));
        let names = machine.fs.list(Path::new(DIR)).expect("list").into_iter();
        assert_eq!(names.filter(|entry| entry.name.contains(DAMAGED)).count(), copies);
    }
}

#[tokio::test]
async fn a_position_behind_the_end_of_the_log_goes_back_to_it() {
    let machine = Machine::new();
    let (_consumers, consumer) = machine.open(&Positions::new(1, 40)).await.expect("open");
    for (offset, _) in fetch(consumer.as_ref(), 30).await.expect("fetch") {
        done(consumer.as_ref(), offset).await;
    }
    consumer.flush().await.expect("flush");
    drop(consumer);
    let source = Positions::new(1, 20);
    let (_consumers, consumer) = machine.open(&source).await.expect("open");
    assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), []);
    source.end.send_replace(Offset(22));
    assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), once(20..22));
}

#[tokio::test]
async fn bytes_bound_what_is_delivered_the_first_time_and_again() {
    let machine = Machine::new();
    let source = Positions::new(1, 40);
    let limits = FetchLimits { entries_max: 10, bytes_max: 9, wait_max: Duration::ZERO };
    for counts in [[3, 3, 3], [3, 3, 2]] {
        let (_consumers, consumer) = machine.open(&source).await.expect("open");
        for count in counts {
            assert_eq!(consumer.fetch(limits).await.expect("fetch").len(), count);
        }
        done(consumer.as_ref(), 2).await;
        consumer.flush().await.expect("flush");
    }
}

#[tokio::test]
async fn what_was_retried_and_is_gone_is_passed_over() {
    let machine = Machine::new();
    let source = Positions::new(1, 6);
    let (consumers, consumer) = machine.open(&source).await.expect("open");
    fetch(consumer.as_ref(), 9).await.expect("fetch");
    for offset in 1..=5 {
        let again = Settlement::Retry { delay: Duration::ZERO };
        consumer.settle(Offset(offset), again).await.expect("settle");
    }
    *source.first.lock() = 4;
    assert_eq!(fetch(consumer.as_ref(), 9).await.expect("fetch"), [(4, 2), (5, 2)]);
    assert_eq!(consumers.lag(Offset(6)).get(NAME), Some(&2));
    assert_eq!(consumers.redelivered().get(NAME), Some(&2));
}
