//! Servers that are killed, full, late or gone.

use std::collections::BTreeMap;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};

use events::{ConsumerConfig, FetchLimits, LogError, Settlement};
use futures_util::future::join_all;

use super::*;
use crate::testing::{NatsCluster, NatsServer};

/// Devices that send at the same time.
const DEVICES: u64 = 8;

/// Sends events of every device in small batches, repeating what was not acknowledged as a client does, until told to
/// stop; returns how many were acknowledged of each device.
async fn send_until(stream: &JetStream, stop: &AtomicBool, sent: &AtomicUsize) -> Vec<u64> {
    let devices = (0..DEVICES).map(|device| async move {
        let mut acknowledged = 0_u64;
        while !stop.load(Ordering::Relaxed) {
            let events = (acknowledged..acknowledged + 5)
                .map(|n| {
                    event(device, Some(u128::from(device) << 64 | u128::from(n)), &n.to_string())
                })
                .collect();
            match stream.log.append(batch(events)).await {
                Ok(outcomes) => {
                    let conflict = |outcome: &Outcome| matches!(outcome, Outcome::Conflict { .. });
                    assert!(!outcomes.iter().any(conflict), "{outcomes:?}");
                    acknowledged += 5;
                    sent.fetch_add(5, Ordering::Relaxed);
                }
                Err(LogError::Unavailable { .. } | LogError::Overloaded { .. }) => {
                    tokio::time::sleep(Duration::from_millis(5)).await;
                }
                Err(error) => panic!("{error}"),
            }
        }
        acknowledged
    });
    join_all(devices).await
}

/// Checks that everything acknowledged is there once, and each device's events in order.
async fn check_log(stream: &JetStream, acknowledged: &[u64]) {
    let page = stream.log.read(Offset(0), EVERYTHING).await.expect("a page");
    let mut found: BTreeMap<u64, Vec<String>> = BTreeMap::new();
    for entry in &page.entries {
        let facts = crate::envelope::Facts::read(&entry.envelope).expect("an event");
        found.entry(entry.lane.0).or_default().push(facts.id().to_owned());
    }
    for (device, count) in (0..DEVICES).zip(acknowledged) {
        let found = found.remove(&device).unwrap_or_default();
        // Of the last batch, some may be stored and not acknowledged.
        let expected: Vec<String> = (0..found.len().max(usize::try_from(*count).expect("few"))
            as u64)
            .map(|n| format!("{device}-{n}"))
            .collect();
        assert_eq!(found, expected, "device {device}");
    }
}

async fn sent_more(sent: &AtomicUsize, more: usize) {
    let target = sent.load(Ordering::Relaxed) + more;
    eventually("events are acknowledged", || async { sent.load(Ordering::Relaxed) >= target })
        .await;
}

#[tokio::test]
async fn what_is_acknowledged_while_the_server_is_killed_is_there_once_and_in_order() {
    let Some(mut server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.append_timeout = Duration::from_millis(500);
    let stream = open(settings).await;
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let killer = async {
        for _ in 0..5 {
            sent_more(&sent, 200).await;
            server.kill();
            server.restart();
        }
        sent_more(&sent, 200).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) =
        futures_util::future::join(send_until(&stream, &stop, &sent), killer).await;
    check_log(&stream, &acknowledged).await;
}

/// Takes about fifteen seconds: servers of NATS elect a new leader after four to nine, which no setting shortens.
#[tokio::test]
async fn a_cluster_keeps_what_it_acknowledged_while_its_nodes_are_killed_one_by_one() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let urls = cluster.urls();
    let mut settings = settings(&urls);
    settings.stream.replicas = 3;
    let name = settings.stream.name.clone();
    settings.request_timeout = Duration::from_secs(1);
    settings.append_timeout = Duration::from_secs(2);
    let stream = open(settings).await;
    let (stop, sent) = (AtomicBool::new(false), AtomicUsize::new(0));
    let killer = async {
        for node in &mut cluster.nodes {
            sent_more(&sent, 200).await;
            node.kill();
            // The others go on without it.
            sent_more(&sent, 200).await;
            node.restart();
            // One at a time is what three replicas survive: not the next one before this one has everything.
            caught_up(&urls, &name).await;
        }
        sent_more(&sent, 200).await;
        stop.store(true, Ordering::Relaxed);
    };
    let (acknowledged, ()) =
        futures_util::future::join(send_until(&stream, &stop, &sent), killer).await;
    check_log(&stream, &acknowledged).await;
}

/// Waits until every replica of a stream has what its leader has.
async fn caught_up(urls: &str, name: &str) {
    eventually("replicas have caught up", || async {
        let servers: Vec<_> = urls.split(',').map(str::to_owned).collect();
        let Ok(client) = async_nats::connect(servers).await else { return false };
        let Ok(stream) = async_nats::jetstream::new(client).get_stream(name).await else {
            return false;
        };
        stream.cached_info().cluster.as_ref().is_some_and(|cluster| {
            let replicas = &cluster.replicas;
            replicas.len() == 2 && replicas.iter().all(|each| each.current && !each.offline)
        })
    })
    .await;
}

#[tokio::test]
async fn a_server_that_comes_later_is_found() {
    let Some(mut server) = NatsServer::start() else { return };
    server.kill();
    let mut settings = settings(&server.url());
    settings.request_timeout = Duration::from_millis(50);
    settings.append_timeout = Duration::from_millis(50);
    let stream = connect(settings, SystemClock::new(), SystemRng::new()).await.expect("settings");
    let refusal = stream.log.refusal().expect("a reason");
    assert!(refusal.starts_with("there is no connection to NATS"), "{refusal}");
    let refused = stream.log.append(batch(vec![event(1, None, "a")])).await;
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    let refused = stream.log.read(Offset(0), EVERYTHING).await;
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    assert!(!stream.log.stats().connected);

    server.restart();
    ready(&stream).await;
    stored(&stream.log.append(batch(vec![event(1, None, "a")])).await.expect("stored"));
    assert!(stream.log.stats().connected);
}

#[tokio::test]
async fn a_stream_that_is_removed_is_made_again() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let raw =
        async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connected"));
    raw.delete_stream("CAUSALITY_EVENTS").await.expect("deleted");
    let outcomes = stream.log.append(batch(vec![event(1, Some(1), "a")])).await.expect("stored");
    assert_eq!(stored(&outcomes), [Offset(1)]);
}

#[tokio::test]
async fn a_full_stream_refuses_until_its_consumer_has_read_and_nothing_unread_is_removed() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.stream.bytes_max = 64 << 10;
    settings.stream.duplicate_window = Duration::from_millis(100);
    let stream = open(settings).await;
    let consumer = stream.log.consumer(ConsumerConfig::new("slow")).await.expect("a consumer");
    let mut count = 0_u64;
    let refused = loop {
        let events = (0..10).map(|n| event(n, None, &(count + n).to_string())).collect();
        match stream.log.append(batch(events)).await {
            Ok(_outcomes) => count += 10,
            Err(error) => break error,
        }
    };
    eventually("the consumer is named", || async {
        stream.log.refusal() == Some(LogError::Full { consumer: "slow".to_owned() }.to_string())
    })
    .await;
    assert!(matches!(refused, LogError::Unavailable { .. } | LogError::Full { .. }), "{refused}");

    // The first event is still there, and is read now, with all others.
    let limits = FetchLimits { entries_max: 1_000, bytes_max: 1 << 20, wait_max: Duration::ZERO };
    let mut read = 0;
    loop {
        let deliveries = consumer.fetch(limits).await.expect("fetched");
        if deliveries.is_empty() {
            break;
        }
        for delivery in &deliveries {
            consumer.settle(delivery.offset, Settlement::Done).await.expect("settled");
        }
        read += deliveries.len();
    }
    consumer.flush().await.expect("confirmed");
    assert!(read as u64 >= count, "{read} of {count}");
    eventually("there is room", || async {
        stream.log.append(batch(vec![event(1, None, "more")])).await.is_ok()
    })
    .await;
    assert_eq!(stream.log.refusal(), None);
    assert!(stream.log.bounds().await.expect("bounds").first > Offset(1));
}

#[tokio::test]
async fn more_than_may_wait_is_refused() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.queued_max = 10;
    settings.in_flight_max = 2;
    let stream = open(settings).await;
    let ten = || (0..10).map(|n| event(n, None, "a")).collect();
    let (first, second) = futures_util::future::join(
        stream.log.append(batch(ten())),
        stream.log.append(batch(vec![event(1, None, "b")])),
    )
    .await;
    stored(&first.expect("stored"));
    assert!(matches!(second, Err(LogError::Overloaded { .. })), "{second:?}");
    // One request alone is taken however long it is.
    stream.log.append(batch((0..20).map(|n| event(n, None, "c")).collect())).await.expect("stored");
}

#[tokio::test]
async fn a_closed_log_takes_nothing_and_has_lost_nothing() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let events = || batch((0..50).map(|n| event(n, None, "a")).collect());
    let (answer, closed) =
        futures_util::future::join(stream.log.append(events()), stream.log.close(PATIENCE)).await;
    assert!(closed);
    let offsets = stored(&answer.expect("what was under way is stored"));
    assert_eq!(stream.log.append(events()).await, Err(LogError::Closed));
    assert_eq!(stream.log.refusal().as_deref(), Some("the event log is closed"));
    let again = open(settings(&server.url())).await;
    assert_eq!(envelopes(&again).await.len(), offsets.len());
}
