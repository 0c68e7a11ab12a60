//! The checks of [`Consumer`].

use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::join;

use super::{Engine, expected, store};
use crate::{Body, Consumer, ConsumerConfig, Delivery, FetchLimits, LogError, Offset, Settlement};

/// How long one fetch waits.
const WAIT: Duration = Duration::from_millis(50);

/// How often a check fetches before it gives up.
const FETCHES_MAX: usize = 100;

/// How long an entry of these checks may take.
const ACK_WAIT: Duration = Duration::from_secs(1);

const NAME: &str = "checker";

fn config() -> ConsumerConfig {
    ConsumerConfig { ack_wait: ACK_WAIT, ..ConsumerConfig::new(NAME) }
}

async fn open(engine: &dyn Engine, config: ConsumerConfig) -> Box<dyn Consumer> {
    engine.log().consumer(config).await.expect("a consumer")
}

/// Fetches once, and lets the time pass that the fetch may wait.
pub(super) async fn fetch(
    engine: &dyn Engine,
    consumer: &dyn Consumer,
    entries_max: usize,
) -> Vec<Delivery> {
    let limits = FetchLimits { entries_max, bytes_max: 1 << 20, wait_max: WAIT };
    // The fetch begins first, so that its time passes.
    join(consumer.fetch(limits), async { engine.advance(WAIT).await }).await.0.expect("fetch")
}

/// Fetches until there are so many deliveries.
async fn gather(engine: &dyn Engine, consumer: &dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    for _ in 0..FETCHES_MAX {
        deliveries.append(&mut fetch(engine, consumer, count - deliveries.len()).await);
        if deliveries.len() >= count {
            return deliveries;
        }
    }
    panic!("{} of {count} entries are delivered", deliveries.len());
}

async fn settle(consumer: &dyn Consumer, offsets: &[Offset], settlement: Settlement) {
    for offset in offsets {
        consumer.settle(*offset, settlement).await.expect("settle");
    }
}

fn positions(deliveries: &[Delivery]) -> Vec<(Offset, u32)> {
    deliveries.iter().map(|delivery| (delivery.offset, delivery.attempt)).collect()
}

fn attempts(offsets: &[Offset], attempt: u32) -> Vec<(Offset, u32)> {
    offsets.iter().map(|offset| (*offset, attempt)).collect()
}

/// All of it is delivered, whole, once.
pub async fn a_new_consumer_begins_with_the_oldest_entry_and_goes_on_in_order(
    engine: &mut dyn Engine,
) {
    let received_at = engine.clock().now();
    let stored = store(engine, 1..=5).await;
    let consumer = open(engine, config()).await;
    let mut deliveries = gather(engine, consumer.as_ref(), 3).await;
    deliveries.append(&mut gather(engine, consumer.as_ref(), 2).await);
    assert_eq!(positions(&deliveries), attempts(&stored, 1));
    for ((number, offset), delivery) in (1..).zip(&stored).zip(deliveries) {
        let Body::Entry(mut entry) = delivery.body else { panic!("{:?}", delivery.body) };
        assert!(entry.received_at >= received_at);
        entry.received_at = received_at;
        assert_eq!(entry, expected(number, *offset, received_at));
    }
    assert_eq!(fetch(engine, consumer.as_ref(), 5).await, []);
}

/// A fetch that waits returns what is stored meanwhile.
pub async fn entries_are_delivered_as_they_arrive(engine: &mut dyn Engine) {
    let consumer = open(engine, config()).await;
    assert_eq!(fetch(engine, consumer.as_ref(), 5).await, []);
    let limits = FetchLimits { entries_max: 5, bytes_max: 1 << 20, wait_max: 20 * ACK_WAIT };
    let (fetched, stored) = join(consumer.fetch(limits), store(engine, [1])).await;
    assert_eq!(positions(&fetched.expect("fetch")), attempts(&stored, 1));
}

/// Entries are settled in any order; the others come again.
pub async fn what_was_not_settled_is_delivered_again_after_a_restart_in_order(
    engine: &mut dyn Engine,
) {
    let stored = store(engine, 1..=6).await;
    let consumer = open(engine, config()).await;
    gather(engine, consumer.as_ref(), 6).await;
    settle(consumer.as_ref(), &[stored[4], stored[0], stored[2]], Settlement::Done).await;
    consumer.flush().await.expect("flush");
    drop(consumer);
    engine.restart().await;
    let more = store(engine, 7..=8).await;
    engine.advance(2 * ACK_WAIT).await;

    let consumer = open(engine, config()).await;
    let mut deliveries = gather(engine, consumer.as_ref(), 5).await;
    deliveries.sort_by_key(|delivery| delivery.attempt);
    let again = attempts(&[stored[1], stored[3], stored[5]], 2);
    assert_eq!(positions(&deliveries), [attempts(&more, 1), again].concat());
    settle(consumer.as_ref(), &stored, Settlement::Done).await;
    settle(consumer.as_ref(), &more, Settlement::Done).await;
    consumer.flush().await.expect("flush");
    drop(consumer);
    engine.restart().await;
    engine.advance(2 * ACK_WAIT).await;
    let consumer = open(engine, config()).await;
    assert_eq!(fetch(engine, consumer.as_ref(), 5).await, []);
}

/// Not before, and the entries behind it are not held up.
pub async fn a_retry_is_delivered_after_its_delay(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=3).await;
    let consumer = open(engine, config()).await;
    gather(engine, consumer.as_ref(), 2).await;
    let delay = Duration::from_millis(500);
    let clock = engine.clock();
    let asked_at = clock.monotonic();
    settle(consumer.as_ref(), &stored[..1], Settlement::Retry { delay }).await;
    settle(consumer.as_ref(), &stored[1..2], Settlement::Done).await;
    let others = gather(engine, consumer.as_ref(), 1).await;
    assert_eq!(positions(&others), attempts(&stored[2..], 1));
    settle(consumer.as_ref(), &stored[2..], Settlement::Done).await;
    let again = gather(engine, consumer.as_ref(), 1).await;
    let waited = clock.monotonic().saturating_sub(asked_at);
    assert_eq!(positions(&again), attempts(&stored[..1], 2));
    // Another process measures the delay on a clock of its own.
    assert!(waited + Duration::from_millis(10) >= delay, "{waited:?}");
}

/// How often an entry was delivered is not forgotten.
pub async fn attempts_are_counted_across_a_restart(engine: &mut dyn Engine) {
    let stored = store(engine, [1]).await;
    let consumer = open(engine, config()).await;
    let again = Settlement::Retry { delay: Duration::ZERO };
    for attempt in 1..=2 {
        let delivered = gather(engine, consumer.as_ref(), 1).await;
        assert_eq!(positions(&delivered), attempts(&stored, attempt));
        settle(consumer.as_ref(), &stored, again).await;
    }
    consumer.flush().await.expect("flush");
    drop(consumer);
    engine.restart().await;
    engine.advance(2 * ACK_WAIT).await;
    let consumer = open(engine, config()).await;
    let delivered = gather(engine, consumer.as_ref(), 1).await;
    assert_eq!(positions(&delivered), attempts(&stored, 3));
}

/// What is delivered and not settled is bounded.
pub async fn no_more_is_in_flight_than_allowed(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=4).await;
    // Nothing of this check may come again.
    let ack_wait = Duration::from_secs(60);
    let config = ConsumerConfig { in_flight_max: 2, ack_wait, ..config() };
    let consumer = open(engine, config).await;
    let delivered = gather(engine, consumer.as_ref(), 2).await;
    assert_eq!(positions(&delivered), attempts(&stored[..2], 1));
    assert_eq!(fetch(engine, consumer.as_ref(), 5).await, []);
    settle(consumer.as_ref(), &stored[1..2], Settlement::Done).await;
    let delivered = gather(engine, consumer.as_ref(), 1).await;
    assert_eq!(positions(&delivered), attempts(&stored[2..3], 1));
    assert_eq!(fetch(engine, consumer.as_ref(), 5).await, []);
}

/// Work that takes longer than the wait is not done twice.
pub async fn progress_keeps_an_entry_from_being_delivered_again(engine: &mut dyn Engine) {
    let stored = store(engine, [1]).await;
    let consumer = open(engine, config()).await;
    gather(engine, consumer.as_ref(), 1).await;
    for _ in 0..5 {
        engine.advance(ACK_WAIT * 3 / 10).await;
        settle(consumer.as_ref(), &stored, Settlement::InProgress).await;
        assert_eq!(fetch(engine, consumer.as_ref(), 1).await, []);
    }
    settle(consumer.as_ref(), &stored, Settlement::Done).await;
    engine.advance(2 * ACK_WAIT).await;
    assert_eq!(fetch(engine, consumer.as_ref(), 1).await, []);
}

/// Another of the same name would take the entries of the first.
pub async fn one_consumer_of_a_name_is_open_at_a_time(engine: &mut dyn Engine) {
    let first = open(engine, config()).await;
    let second = engine.log().consumer(config()).await;
    assert!(matches!(second, Err(LogError::Consumer { .. })), "{second:?}");
    drop(first);
    open(engine, config()).await;
}

/// Names become files and subjects.
pub async fn a_name_that_is_not_valid_is_refused(engine: &mut dyn Engine) {
    let longest = "a".repeat(64);
    let longer = "a".repeat(65);
    for name in ["", "a.b", "a/b", "..", "a b", "a*", "\u{e4}", &longer] {
        let opened = engine.log().consumer(ConsumerConfig::new(name)).await;
        assert!(matches!(opened, Err(LogError::Consumer { .. })), "'{name}': {opened:?}");
    }
    for name in ["Ab_9-", &longest] {
        open(engine, ConsumerConfig::new(name)).await;
    }
}

/// Each gets every entry.
pub async fn consumers_have_positions_of_their_own(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=3).await;
    for name in ["one", "two"] {
        let consumer = open(engine, ConsumerConfig::new(name)).await;
        let delivered = gather(engine, consumer.as_ref(), 3).await;
        assert_eq!(positions(&delivered), attempts(&stored, 1), "{name}");
        settle(consumer.as_ref(), &stored, Settlement::Done).await;
    }
}

/// What a dropped fetch had in its hands is delivered later.
pub async fn a_fetch_that_is_given_up_loses_nothing(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=4).await;
    let consumer = open(engine, config()).await;
    let mut fetched = gather(engine, consumer.as_ref(), 1).await;
    settle(consumer.as_ref(), &stored[..1], Settlement::Done).await;
    let limits = FetchLimits { entries_max: 1, bytes_max: 1 << 20, wait_max: ACK_WAIT };
    for polls in 1..=3 {
        let mut fetch = consumer.fetch(limits);
        for _ in 0..polls {
            if let Some(early) = (&mut fetch).now_or_never() {
                let mut early = early.expect("fetch");
                let offsets: Vec<Offset> = early.iter().map(|delivery| delivery.offset).collect();
                settle(consumer.as_ref(), &offsets, Settlement::Done).await;
                fetched.append(&mut early);
                break;
            }
            engine.advance(Duration::from_millis(1)).await;
        }
    }
    engine.advance(2 * ACK_WAIT).await;
    let count = stored.len() - fetched.len();
    fetched.append(&mut gather(engine, consumer.as_ref(), count).await);
    let mut offsets: Vec<Offset> = fetched.iter().map(|delivery| delivery.offset).collect();
    offsets.sort_unstable();
    assert_eq!(offsets, stored);
}

/// The log says how far behind each consumer is.
pub async fn lag_is_what_was_not_settled(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=4).await;
    let consumer = open(engine, config()).await;
    gather(engine, consumer.as_ref(), 4).await;
    settle(consumer.as_ref(), &stored[..2], Settlement::Done).await;
    consumer.flush().await.expect("flush");
    let mut seen = None;
    for _ in 0..FETCHES_MAX {
        seen = engine.log().stats().consumer_lag.get(NAME).copied();
        if seen == Some(2) {
            return;
        }
        engine.advance(WAIT).await;
    }
    panic!("two entries are not settled: {seen:?}");
}
