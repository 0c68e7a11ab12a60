//! Storing, recognising and reading.

use events::Page;

use super::*;
use crate::testing::NatsServer;

#[tokio::test]
async fn a_batch_is_read_back_as_it_was_stored() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let events: Vec<_> =
        (0..100_u64).map(|n| event(n % 7, Some(n.into()), &n.to_string())).collect();
    let outcomes = stream.log.append(batch(events.clone())).await.expect("stored");
    let offsets = stored(&outcomes);

    let page = stream.log.read(Offset(0), EVERYTHING).await.expect("a page");
    assert_eq!(page.next, Offset(101));
    for (event, offset) in events.iter().zip(&offsets) {
        let found = page.entries.iter().find(|entry| entry.offset == *offset).expect("an entry");
        assert_eq!(found.envelope, event.envelope);
        assert_eq!((found.tenant.as_str(), found.lane), ("team", event.lane));
        assert_eq!(found.received_at, Timestamp::from_millis(1_000));
    }
    for lane in 0..7 {
        let of_lane = events.iter().zip(&offsets).filter(|(event, _)| event.lane == Lane(lane));
        let offsets: Vec<_> = of_lane.map(|(_, offset)| *offset).collect();
        assert!(offsets.is_sorted(), "{offsets:?}");
    }
    let bounds = stream.log.bounds().await.expect("bounds");
    assert_eq!((bounds.first, bounds.end), (Offset(1), Offset(101)));
    assert_eq!(*stream.log.end().borrow(), Offset(101));
    assert_eq!(stream.log.stats().stored, 100);
}

#[tokio::test]
async fn a_repetition_gets_the_first_answer_from_every_gateway_and_another_event_is_a_conflict() {
    let Some(server) = NatsServer::start() else { return };
    let one = open(settings(&server.url())).await;
    let other = open(settings(&server.url())).await;
    let first = event(1, Some(7), "a");
    let offset = stored(&one.log.append(batch(vec![first.clone()])).await.expect("stored"))[0];

    let repetition = NewEvent { id: "another".into(), ..first.clone() };
    let conflict = event(1, Some(7), "b");
    let outcomes = other.log.append(batch(vec![repetition, conflict])).await.expect("recognised");
    assert_eq!(
        outcomes,
        [
            Outcome::Duplicate { offset, id: first.id.clone() },
            Outcome::Conflict { offset, id: first.id.clone() },
        ]
    );
    drop(one);
    let again = open(settings(&server.url())).await;
    let outcomes = again.log.append(batch(vec![first.clone()])).await.expect("recognised");
    assert_eq!(outcomes, [Outcome::Duplicate { offset, id: first.id }]);
    assert_eq!(envelopes(&again).await.len(), 1);
    let stats = other.log.stats();
    assert_eq!((stats.stored, stats.duplicates, stats.conflicts), (0, 1, 1));
}

#[tokio::test]
async fn a_key_that_comes_twice_in_a_batch_is_stored_for_the_first_of_them() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    for round in 0..20_u128 {
        let events =
            vec![event(1, Some(round), "a"), event(2, Some(round), "a"), event(1, None, "c")];
        let outcomes = stream.log.append(batch(events)).await.expect("stored");
        let Outcome::Stored { offset } = outcomes[0] else { panic!("{outcomes:?}") };
        assert_eq!(outcomes[1], Outcome::Duplicate { offset, id: "1-a".into() });
        assert!(matches!(outcomes[2], Outcome::Stored { .. }));
    }
}

#[tokio::test]
async fn an_event_of_another_publisher_is_the_default_tenants_and_its_key_counts() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let client = async_nats::connect(server.url()).await.expect("a connection");
    let context = async_nats::jetstream::new(client);
    let foreign = event(1, None, "foreign");
    let mut headers = async_nats::HeaderMap::new();
    headers.insert("Nats-Msg-Id", format!("{:032x}", 5).as_str());
    let sent = context.publish_with_headers("events.shop.x.y", headers, foreign.envelope.clone());
    sent.await.expect("sent").await.expect("stored");
    context.publish("anomalies.shop.x", "{}".into()).await.expect("sent").await.expect("stored");
    let broken = context.publish("events.shop.x.y", "\u{1}".into());
    broken.await.expect("sent").await.expect("stored");

    let page = stream.log.read(Offset(0), EVERYTHING).await;
    // The log hears of what others stored.
    eventually("the end is seen", || async { *stream.log.end().borrow() == Offset(4) }).await;
    drop(page);
    let Page { entries, next, skipped } =
        stream.log.read(Offset(0), EVERYTHING).await.expect("a page");
    assert_eq!((entries.len(), next, skipped), (1, Offset(4), 1));
    assert_eq!(entries[0].tenant, TenantId::default_tenant());
    assert_eq!(entries[0].envelope, foreign.envelope);

    let fingerprint = crate::envelope::Facts::read(&foreign.envelope).expect("facts").fingerprint();
    let same = NewEvent { key: Some(EventKey(5)), fingerprint, ..foreign.clone() };
    let other = NewEvent { key: Some(EventKey(5)), fingerprint: 1, ..foreign };
    let outcomes = stream.log.append(batch(vec![same, other])).await.expect("recognised");
    let (offset, id) = (Offset(1), Box::from("1-foreign"));
    assert_eq!(
        outcomes,
        [Outcome::Duplicate { offset, id: Box::clone(&id) }, Outcome::Conflict { offset, id }]
    );
}

#[tokio::test]
async fn pages_end_at_their_limits_and_go_on_behind_gaps() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let events = (0..20_u64).map(|n| event(1, None, &n.to_string())).collect();
    stream.log.append(batch(events)).await.expect("stored");
    let raw =
        async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connected"));
    let raw = raw.get_stream("CAUSALITY_EVENTS").await.expect("a stream");
    for gone in [5, 6, 12, 20] {
        raw.delete_message(gone).await.expect("deleted");
    }
    raw.purge().sequence(3).await.expect("purged");

    let mut from = Offset(0);
    let mut offsets = Vec::new();
    let mut pages = 0;
    while from < Offset(21) {
        let limits = ReadLimits { entries_max: 4, bytes_max: 1 << 20 };
        let page = stream.log.read(from, limits).await.expect("a page");
        assert!(page.entries.len() <= 4 && page.next > from);
        offsets.extend(page.entries.iter().map(|entry| entry.offset.0));
        from = page.next;
        pages += 1;
    }
    assert_eq!(offsets, [3, 4, 7, 8, 9, 10, 11, 13, 14, 15, 16, 17, 18, 19]);
    assert!(pages <= 6, "{pages}");
    let small = ReadLimits { entries_max: 100, bytes_max: 1 };
    let page = stream.log.read(Offset(0), small).await.expect("a page");
    assert_eq!((page.entries.len(), page.next), (1, Offset(4)));
    let page = stream.log.read(Offset(21), EVERYTHING).await.expect("a page");
    assert_eq!((page.entries.len(), page.next), (0, Offset(21)));
}

#[tokio::test]
async fn a_page_ends_after_so_many_messages_that_are_no_events() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let client = async_nats::connect(server.url()).await.expect("connected");
    for _ in 0..2_099 {
        client.publish("requests.shop.x", "{}".into()).await.expect("sent");
    }
    let raw = async_nats::jetstream::new(client);
    let last = raw.publish("requests.shop.x", "{}".into()).await.expect("sent");
    assert_eq!(last.await.expect("stored").sequence, 2_100);
    stream.log.append(batch(vec![event(1, None, "a")])).await.expect("stored");
    let page = stream.log.read(Offset(0), EVERYTHING).await.expect("a page");
    assert_eq!((page.entries.len(), page.next), (0, Offset(2_049)));
    let page = stream.log.read(page.next, EVERYTHING).await.expect("a page");
    assert_eq!((page.entries.len(), page.next), (1, Offset(2_102)));
}

#[tokio::test]
async fn a_time_is_found_by_bisection() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    assert_eq!(stream.log.offset_at(Timestamp::from_millis(0)).await, Ok(Offset(1)));
    for n in 0..10_u64 {
        let mut batch = batch(vec![event(1, None, &n.to_string())]);
        batch.received_at = Timestamp::from_millis(i64::try_from(n).expect("small") * 100);
        stream.log.append(batch).await.expect("stored");
    }
    for (time, expected) in [(-1, 1), (0, 1), (1, 2), (100, 2), (450, 6), (900, 10), (901, 11)] {
        let found = stream.log.offset_at(Timestamp::from_millis(time)).await;
        assert_eq!(found, Ok(Offset(expected)), "{time}");
    }
}

#[tokio::test]
async fn an_event_that_no_message_can_hold_is_refused_before_anything_is_stored() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let mut long = event(1, None, "a");
    long.envelope = vec![0; (1 << 20) - 4_096 + 1].into();
    let longest = NewEvent { envelope: long.envelope.slice(1..), ..long.clone() };
    let refused = stream.log.append(batch(vec![event(2, None, "b"), long])).await;
    let limit_bytes = (1 << 20) - 4_096;
    assert_eq!(refused, Err(events::LogError::TooLarge { bytes: limit_bytes + 1, limit_bytes }));
    assert!(envelopes(&stream).await.is_empty());
    stored(&stream.log.append(batch(vec![longest])).await.expect("stored"));
}
