//! Consumers, where the contract of all engines does not reach.

use events::{Body, Consumer, ConsumerConfig, Delivery, FetchLimits, LogError, Settlement};
use futures_util::StreamExt as _;
use serde_json::{Value, json};

use super::*;
use crate::testing::NatsServer;

/// Longer than a test takes: nothing is delivered again by itself.
const LONG: Duration = Duration::from_secs(600);

fn config(name: &str) -> ConsumerConfig {
    ConsumerConfig { ack_wait: LONG, ..ConsumerConfig::new(name) }
}

fn limits(entries_max: usize, wait_max: Duration) -> FetchLimits {
    FetchLimits { entries_max, bytes_max: 1 << 20, wait_max }
}

/// Fetches until there are so many, or fails.
async fn gather(consumer: &dyn Consumer, count: usize) -> Vec<Delivery> {
    let mut deliveries = Vec::new();
    let all = async {
        while deliveries.len() < count {
            let wait = Duration::from_millis(200);
            match consumer.fetch(limits(count - deliveries.len(), wait)).await {
                Ok(mut more) => deliveries.append(&mut more),
                Err(LogError::Unavailable { .. }) => {}
                Err(error) => panic!("{error}"),
            }
        }
    };
    tokio::time::timeout(PATIENCE, all).await.expect("entries are delivered");
    deliveries
}

async fn raw(server: &NatsServer) -> async_nats::jetstream::Context {
    async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connected"))
}

async fn info(raw: &async_nats::jetstream::Context, name: &str) -> Value {
    let subject = format!("$JS.API.CONSUMER.INFO.CAUSALITY_EVENTS.{name}");
    let answer = raw.client().request(subject, "".into()).await.expect("an answer");
    serde_json::from_slice(&answer.payload).expect("JSON")
}

#[tokio::test]
async fn a_consumer_of_the_original_is_taken_over_with_its_position() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let raw = raw(&server).await;
    let original = json!({"stream_name": "CAUSALITY_EVENTS", "config": {
        "durable_name": "warehouse-sink", "name": "warehouse-sink", "deliver_policy": "all",
        "ack_policy": "explicit", "ack_wait": 30_000_000_000_i64, "max_deliver": 5, "filter_subject": ">",
        "replay_policy": "instant", "max_ack_pending": 10_000,
    }});
    let created: Value = raw
        .request("CONSUMER.CREATE.CAUSALITY_EVENTS.warehouse-sink.>", &original)
        .await
        .expect("an answer");
    assert!(created.get("error").is_none(), "{created}");
    stream.log.append(batch(vec![event(1, None, "a"), event(1, None, "b")])).await.expect("stored");
    let original: async_nats::jetstream::consumer::PullConsumer = raw
        .get_consumer_from_stream("warehouse-sink", "CAUSALITY_EVENTS")
        .await
        .expect("a consumer");
    let mut first = original.fetch().max_messages(1).messages().await.expect("a batch");
    let first = first.next().await.expect("one").expect("a message");
    first.double_ack().await.expect("confirmed");

    let consumer = stream.log.consumer(config("warehouse-sink")).await.expect("a consumer");
    let deliveries = gather(&*consumer, 1).await;
    assert_eq!((deliveries[0].offset, deliveries[0].attempt), (Offset(2), 1));
    let info = info(&raw, "warehouse-sink").await;
    let config = &info["config"];
    assert_eq!(config["filter_subject"], "events.>");
    assert_eq!(config["max_deliver"], -1);
    assert_eq!(config["ack_wait"], 600_000_000_000_i64);
    assert_eq!(info["num_pending"], 0);
}

#[tokio::test]
async fn what_is_no_event_is_delivered_whole_and_alerts_are_not_delivered() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let raw = raw(&server).await;
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Trace", "t");
    for (subject, body) in [("anomalies.shop.x", "{}"), ("events.shop.x.y", "\u{1}")] {
        let sent = raw.publish_with_headers(subject, headers.clone(), body.into()).await;
        sent.expect("sent").await.expect("stored");
    }
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let deliveries = gather(&*consumer, 1).await;
    let Body::Undecodable { subject, headers, bytes, error } = &deliveries[0].body else {
        panic!("{deliveries:?}");
    };
    assert_eq!((subject.as_str(), &bytes[..]), ("events.shop.x.y", &b"\x01"[..]));
    assert_eq!(headers.get("Trace").map(String::as_str), Some("t"));
    assert!(error.contains("malformed"), "{error}");
    assert_eq!(consumer.fetch(limits(9, Duration::ZERO)).await, Ok(vec![]));
}

#[tokio::test]
async fn an_event_that_was_stored_twice_is_delivered_once() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.stream.duplicate_window = Duration::from_millis(100);
    let stream = open(settings).await;
    let twice = || batch(vec![event(1, Some(1), "a")]);
    stream.log.append(twice()).await.expect("stored");
    eventually("the server has forgotten the key", || async {
        matches!(stream.log.append(twice()).await.expect("stored")[0], Outcome::Stored { .. })
    })
    .await;
    stream.log.append(batch(vec![event(1, Some(2), "b")])).await.expect("stored");
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let deliveries = gather(&*consumer, 2).await;
    assert_eq!(deliveries.iter().map(|one| one.offset.0).collect::<Vec<_>>(), [1, 3]);
    for delivery in deliveries {
        consumer.settle(delivery.offset, Settlement::Done).await.expect("settled");
    }
    consumer.flush().await.expect("confirmed");
    // The skipped one is acknowledged as well: nothing is left.
    let raw = raw(&server).await;
    eventually("all is settled", || async {
        info(&raw, "reader").await["ack_floor"]["stream_seq"] == 3
    })
    .await;
}

#[tokio::test]
async fn another_event_that_was_stored_with_a_key_after_the_window_is_delivered() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.stream.duplicate_window = Duration::from_millis(100);
    let stream = open(settings).await;
    stream.log.append(batch(vec![event(1, Some(1), "a")])).await.expect("stored");
    eventually("the server has forgotten the key", || async {
        let other = batch(vec![event(1, Some(1), "b")]);
        matches!(stream.log.append(other).await.expect("answered")[0], Outcome::Stored { .. })
    })
    .await;
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let deliveries = gather(&*consumer, 2).await;
    assert_eq!(deliveries.iter().map(|one| one.offset.0).collect::<Vec<_>>(), [1, 2]);
}

#[tokio::test]
async fn a_killed_server_delivers_again_what_was_not_settled_and_nothing_is_missed() {
    let Some(mut server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let config = ConsumerConfig { ack_wait: Duration::from_millis(200), ..config("reader") };
    let consumer = stream.log.consumer(config).await.expect("a consumer");
    let mut seen = std::collections::BTreeSet::new();
    for round in 0..3_u64 {
        let events = (0..20).map(|n| event(n, None, &format!("{round}-{n}"))).collect();
        stream.log.append(batch(events)).await.expect("stored");
        for delivery in gather(&*consumer, 10).await {
            consumer.settle(delivery.offset, Settlement::Done).await.expect("settled");
            seen.insert(delivery.offset);
        }
        server.kill();
        server.restart();
    }
    let all = async {
        while seen.len() < 60 {
            for delivery in gather(&*consumer, 1).await {
                consumer.settle(delivery.offset, Settlement::Done).await.expect("settled");
                seen.insert(delivery.offset);
            }
        }
        consumer.flush().await.expect("confirmed");
    };
    tokio::time::timeout(PATIENCE, all).await.expect("all is delivered");
}

#[tokio::test]
async fn a_consumer_that_was_removed_is_made_again() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let raw = raw(&server).await;
    raw.delete_consumer_from_stream("reader", "CAUSALITY_EVENTS").await.expect("deleted");
    stream.log.append(batch(vec![event(1, None, "a")])).await.expect("stored");
    assert_eq!(gather(&*consumer, 1).await.len(), 1);
}

#[tokio::test]
async fn a_fetch_stops_at_its_bytes_and_takes_one_however_long() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    stream
        .log
        .append(batch((0..4).map(|n| event(1, None, &n.to_string())).collect()))
        .await
        .expect("stored");
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let small = FetchLimits { entries_max: 9, bytes_max: 1, wait_max: PATIENCE };
    for expected in 1..=4 {
        let deliveries = consumer.fetch(small).await.expect("fetched");
        assert_eq!(deliveries.len(), 1);
        assert_eq!(deliveries[0].offset, Offset(expected));
    }
}

#[tokio::test]
async fn a_fetch_that_waits_does_not_ask_again_and_again() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let client = async_nats::connect(server.url()).await.expect("connected");
    let mut requests = client.subscribe("$JS.API.CONSUMER.MSG.NEXT.>").await.expect("subscribed");
    client.flush().await.expect("flushed");
    // However late the first request comes, it is waited for.
    let fetching = consumer.fetch(limits(9, Duration::from_millis(500)));
    let (fetched, first) = futures_util::future::join(fetching, requests.next()).await;
    assert_eq!((fetched, first.is_some()), (Ok(vec![]), true));
    let last = "$JS.API.CONSUMER.MSG.NEXT.none.last";
    client.publish(last, "".into()).await.expect("sent");
    let mut count = 0;
    while requests.next().await.expect("a request").subject.as_str() != last {
        count += 1;
    }
    // The server may end its wait some moments before ours is over. Asking without waiting would make it hundreds.
    assert!(count <= 9, "{count}");
}

#[tokio::test]
async fn two_processes_under_one_name_share_the_events() {
    let Some(server) = NatsServer::start() else { return };
    let one = open(settings(&server.url())).await;
    let other = open(settings(&server.url())).await;
    let events = (0..40).map(|n| event(n, None, "a")).collect();
    one.log.append(batch(events)).await.expect("stored");
    let first = one.log.consumer(config("shared")).await.expect("a consumer");
    let second = other.log.consumer(config("shared")).await.expect("a consumer");
    let mut offsets = Vec::new();
    for consumer in [&first, &second, &first, &second] {
        offsets.extend(gather(&**consumer, 10).await.iter().map(|one| one.offset.0));
    }
    offsets.sort_unstable();
    assert_eq!(offsets, (1..=40).collect::<Vec<_>>());
}

#[tokio::test]
async fn what_a_dropped_consumer_held_is_delivered_again_at_once() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    stream.log.append(batch(vec![event(1, None, "a")])).await.expect("stored");
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    gather(&*consumer, 1).await;
    drop(consumer);
    let consumer = stream.log.consumer(config("reader")).await.expect("a consumer");
    let again = gather(&*consumer, 1).await;
    assert_eq!((again[0].offset, again[0].attempt), (Offset(1), 2));
    assert_eq!(stream.log.stats().redelivered.get("reader"), Some(&1));
}
