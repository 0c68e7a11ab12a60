//! What is removed when it is too old or too much.

use std::time::Duration;

use model::Timestamp;
use platform::{Clock, Fs, SimCrash};

use super::client::{Client, append, event, numbers};
use crate::{
    ConsumerConfig, EmbeddedConfig, EmbeddedLog, EventLog, FetchLimits, LogError, Settlement,
};

const MINUTE: Duration = Duration::from_mins(1);

/// One segment per event.
fn config() -> EmbeddedConfig {
    EmbeddedConfig {
        segment_bytes_max: 1,
        retention: None,
        bytes_max: None,
        deduplication_window: MINUTE,
        ..EmbeddedConfig::default()
    }
}

/// Stores events, a minute each.
async fn store(client: &Client, log: &EmbeddedLog, events: std::ops::RangeInclusive<u64>) {
    for number in events {
        append(log, &client.clock, vec![event(number)]).await.expect("stored");
        client.clock.advance(MINUTE);
    }
}

#[tokio::test]
async fn events_older_than_the_retention_are_removed_also_after_a_restart() {
    let client = Client::new(EmbeddedConfig { retention: Some(5 * MINUTE), ..config() });
    let log = client.open();
    store(&client, &log, 1..=8).await;
    let removed = log.maintain().expect("maintained").segments_removed;
    // It is minute 8 now: event 3 is six minutes old, and what follows it is five.
    assert_eq!((removed, numbers(&log).await), (2, (3..=8).collect()));
    assert_eq!(log.bounds().await.expect("bounds").first.0, 3);
    drop(log);
    client.fs.restart(&SimCrash::PowerLoss);
    let log = client.open();
    client.clock.advance(MINUTE);
    assert_eq!(log.maintain().expect("maintained").segments_removed, 1);
    client.clock.advance(100 * MINUTE);
    log.maintain().expect("maintained");
    client.clock.advance(6 * MINUTE);
    log.maintain().expect("maintained");
    assert!(numbers(&log).await.is_empty(), "also what came last, though nothing follows");
    store(&client, &log, 20..=20).await;
    assert_eq!(numbers(&log).await, [20]);
}

#[tokio::test]
async fn a_full_disk_has_room_again_once_old_events_are_removed() {
    let client = Client::new(EmbeddedConfig { retention: Some(5 * MINUTE), ..config() });
    let log = client.open();
    store(&client, &log, 1..=3).await;
    let dir = std::path::Path::new(super::engine::DIR);
    client.fs.set_space(Some(client.fs.allocated_bytes(dir).expect("used")));
    append(&log, &client.clock, vec![event(4)]).await.expect_err("full");
    log.maintain().expect_err("still full");
    client.clock.advance(5 * MINUTE);
    log.maintain().expect_err("full when it was tried");
    assert_eq!(numbers(&log).await, [3], "removed all the same");
    assert!(log.maintain().expect("maintained").resumed);
    append(&log, &client.clock, vec![event(4)]).await.expect("room again");
}

#[tokio::test]
async fn the_segment_being_written_is_closed_after_a_part_of_the_retention() {
    let retention = Some(80 * MINUTE);
    let client = Client::new(EmbeddedConfig { retention, segment_bytes_max: 1 << 20, ..config() });
    let log = client.open();
    for number in 1..=40 {
        store(&client, &log, number..=number).await;
        log.maintain().expect("maintained");
    }
    let segments = log.core.journal.segments().len();
    assert!((4..=5).contains(&segments), "{segments}");
}

#[tokio::test]
async fn the_oldest_events_are_removed_when_there_are_too_many_bytes() {
    let client = Client::new(EmbeddedConfig { bytes_max: Some(1_000), ..config() });
    let log = client.open();
    store(&client, &log, 1..=40).await;
    let left = numbers(&log).await;
    assert_eq!(left, (41 - left.len() as u64..=40).collect::<Vec<_>>());
    assert!((3..12).contains(&left.len()), "{left:?}");
    assert!(log.stats().bytes <= 1_000, "{}", log.stats().bytes);
}

#[tokio::test]
async fn a_log_that_a_consumer_holds_is_full_until_the_consumer_goes_on() {
    let client = Client::new(EmbeddedConfig { bytes_max: Some(1_000), ..config() });
    let log = client.open();
    let consumer = log.consumer(ConsumerConfig::new("sink")).await.expect("opened");
    let mut stored = 0;
    let error = loop {
        match append(&log, &client.clock, vec![event(stored + 1)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        client.clock.advance(MINUTE);
        assert!(stored < 50, "never full");
    };
    assert_eq!(error, LogError::Full { consumer: "sink".to_owned() });
    assert!(log.refusal().is_some_and(|reason| reason.contains("sink")));
    log.maintain().expect("maintained");
    assert_eq!(numbers(&log).await.len() as u64, stored, "nothing it needs is removed");

    let limits = FetchLimits { entries_max: 2, bytes_max: 1 << 20, wait_max: Duration::ZERO };
    for delivery in consumer.fetch(limits).await.expect("fetched") {
        consumer.settle(delivery.offset, Settlement::Done).await.expect("settled");
    }
    consumer.flush().await.expect("flushed");
    log.maintain().expect("maintained");
    assert_eq!(log.refusal(), None);
    append(&log, &client.clock, vec![event(stored + 1)]).await.expect("room again");
    assert!(numbers(&log).await.starts_with(&[3]) || numbers(&log).await.starts_with(&[2]));
}

#[tokio::test]
async fn the_window_of_deduplication_is_never_removed() {
    let window = 10 * MINUTE;
    let limits = EmbeddedConfig { bytes_max: Some(1_000), ..config() };
    let client = Client::new(EmbeddedConfig { deduplication_window: window, ..limits });
    let log = client.open();
    let mut stored = 0;
    let error = loop {
        match append(&log, &client.clock, vec![event(stored + 1)]).await {
            Ok(_) => stored += 1,
            Err(error) => break error,
        }
        assert!(stored < 50, "never full");
    };
    assert!(matches!(error, LogError::Unavailable { .. }), "{error}");
    assert_eq!(numbers(&log).await.len() as u64, stored);
    client.clock.advance(2 * window);
    log.maintain().expect("maintained");
    append(&log, &client.clock, vec![event(99)]).await.expect("room again");

    let old = Some(MINUTE);
    let client = Client::new(EmbeddedConfig { retention: old, bytes_max: None, ..client.config });
    let log = client.open();
    store(&client, &log, 1..=5).await;
    log.maintain().expect("maintained");
    assert_eq!(numbers(&log).await.len(), 5);
}

#[tokio::test]
async fn a_clock_that_jumps_ahead_for_a_while_removes_nothing() {
    let client = Client::new(EmbeddedConfig { retention: Some(30 * MINUTE), ..config() });
    let log = client.open();
    store(&client, &log, 1..=5).await;
    let right = Clock::now(&client.clock);
    client.clock.set_now(right.saturating_add_millis(1 << 40));
    append(&log, &client.clock, vec![event(6)]).await.expect("stored");
    assert_eq!(log.maintain().expect("maintained").segments_removed, 0);
    client.clock.set_now(right);
    store(&client, &log, 7..=9).await;
    log.maintain().expect("maintained");
    assert_eq!(numbers(&log).await, (1..=9).collect::<Vec<_>>());
}

#[tokio::test]
async fn positions_are_found_by_time_across_segments() {
    let client = Client::new(config());
    let log = client.open();
    let start = Clock::now(&client.clock);
    store(&client, &log, 1..=9).await;
    drop(log);
    let log = client.open();
    for minute in 0..9_i64 {
        let at = start.saturating_add_millis(minute * 60_000);
        let just_before = at.saturating_add_millis(-1);
        for time in [at, just_before] {
            let offset = log.offset_at(time).await.expect("found");
            assert_eq!(i64::try_from(offset.0), Ok(minute + 1), "{time}");
        }
    }
    assert_eq!(log.offset_at(Timestamp::MAX).await.expect("end").0, 10);
    assert_eq!(log.offset_at(Timestamp::MIN).await.expect("oldest").0, 1);
}

#[tokio::test]
async fn keys_are_known_after_a_restart_for_as_long_as_the_window() {
    let client = Client::new(EmbeddedConfig { deduplication_window: 5 * MINUTE, ..config() });
    let log = client.open();
    store(&client, &log, 1..=20).await;
    drop(log);
    client.fs.restart(&SimCrash::Kill);
    let clock: std::sync::Arc<dyn Clock> = std::sync::Arc::new(client.clock.clone());
    let dir = std::path::Path::new(super::engine::DIR);
    let (log, opening) =
        EmbeddedLog::open(client.fs.clone(), dir, clock, client.config.clone()).expect("open");
    assert!((5..=7).contains(&opening.entries_read), "{opening:?}");
    // Minute 20 now: event 16 is four minutes old at least, event 15 more than five.
    let again = append(&log, &client.clock, vec![event(17), event(14)]).await.expect("answered");
    assert!(matches!(again[0], crate::Outcome::Duplicate { .. }), "{again:?}");
    assert!(matches!(again[1], crate::Outcome::Stored { .. }), "{again:?}");
}
