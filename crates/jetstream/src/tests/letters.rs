//! Dead letters, where the contract of all engines does not reach.

use events::{DeadLetterId, DeadLetterQuery, DeadLetterState, DeadLetters as _, NewDeadLetter};

use super::*;
use crate::testing::NatsServer;

fn letter(tenant: &TenantId, bytes: Bytes) -> NewDeadLetter {
    NewDeadLetter {
        tenant: tenant.clone(),
        consumer: "warehouse-sink".to_owned(),
        subject: "events.shop.screen.view".to_owned(),
        headers: [("Trace".to_owned(), "t".to_owned())].into(),
        offset: Some(Offset(7)),
        bytes,
        error: "no disk".to_owned(),
        attempts: 5,
    }
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn query() -> DeadLetterQuery {
    DeadLetterQuery { tenant: tenant(), consumer: None, before: None, limit: 100 }
}

async fn ids(stream: &JetStream) -> Vec<u64> {
    let page = stream.dead_letters.list(query()).await.expect("a page");
    page.letters.iter().map(|letter| letter.id.0).collect()
}

#[tokio::test]
async fn what_one_gateway_puts_replays_and_discards_the_other_sees() {
    let Some(server) = NatsServer::start() else { return };
    let one = open(settings(&server.url())).await;
    let other = open(settings(&server.url())).await;
    let put = |n: u8| one.dead_letters.put(letter(&tenant(), Bytes::copy_from_slice(&[n])));
    let (first, second) = (put(1).await.expect("kept"), put(2).await.expect("kept"));
    let found = other.dead_letters.get(tenant(), second).await.expect("an answer");
    assert_eq!(found.expect("a letter").letter, letter(&tenant(), Bytes::from_static(&[2])));

    assert!(other.dead_letters.replay(tenant(), first).await.expect("replayed"));
    assert!(other.dead_letters.discard(tenant(), second).await.expect("discarded"));
    assert_eq!(ids(&one).await, [1]);
    eventually("the other one's replay is seen", || async {
        let replaying = one.dead_letters.replaying("warehouse-sink", 9).await.expect("an answer");
        replaying.len() == 1 && replaying[0].id == first
    })
    .await;
    assert_eq!(one.dead_letters.depths().len(), 1);
    assert_eq!(one.dead_letters.get(tenant(), second).await, Ok(None));
}

#[tokio::test]
async fn a_letter_that_a_crash_left_twice_is_there_once_and_the_older_message_goes() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let id = stream.dead_letters.put(letter(&tenant(), Bytes::new())).await.expect("kept");
    drop(stream);
    // Published as replayed, and then the program stopped before it deleted the old message.
    let raw =
        async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connected"));
    let dlq = raw.get_stream("CAUSALITY_DLQ").await.expect("a stream");
    let first = dlq.get_raw_message(1).await.expect("a message");
    let mut headers = first.headers.clone();
    headers.insert("Tinyobs-Letter", "1");
    headers.insert("Nats-Msg-Id", "another");
    let subject = "dlq.replay.warehouse-sink.events.shop.screen.view";
    let sent = raw.publish_with_headers(subject, headers, first.payload.clone()).await;
    sent.expect("sent").await.expect("stored");

    let stream = open(settings(&server.url())).await;
    let found = stream.dead_letters.get(tenant(), id).await.expect("an answer").expect("a letter");
    assert_eq!(found.state, DeadLetterState::Replaying);
    assert_eq!(ids(&stream).await, [1]);
    assert!(dlq.get_raw_message(1).await.is_err());
    stream.dead_letters.give_back(id, "again".to_owned()).await.expect("given back");
    let found = stream.dead_letters.get(tenant(), id).await.expect("an answer").expect("a letter");
    assert_eq!((found.state, found.letter.attempts), (DeadLetterState::Waiting, 6));
    assert_eq!(dlq.get_info().await.expect("info").state.messages, 1);
}

#[tokio::test]
async fn a_letter_of_the_original_is_listed_and_replayed() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let raw =
        async_nats::jetstream::new(async_nats::connect(server.url()).await.expect("connected"));
    let mut headers = async_nats::HeaderMap::new();
    for (name, value) in [
        ("X-DLQ-Original-Subject", "events.shop.x.y"),
        ("X-DLQ-Original-Stream", "CAUSALITY_EVENTS"),
        ("X-DLQ-Original-Consumer", "analysis-engine"),
        ("X-DLQ-Original-Sequence", "12"),
        ("X-DLQ-Deliveries", "3"),
    ] {
        headers.insert(name, value);
    }
    let sent = raw.publish_with_headers("dlq.events.shop.x.y", headers, "x".into()).await;
    sent.expect("sent").await.expect("stored");
    let page = stream.dead_letters.list(query()).await.expect("a page");
    let found = &page.letters[0].letter;
    assert_eq!(
        (found.subject.as_str(), found.consumer.as_str(), found.offset, found.attempts),
        ("events.shop.x.y", "analysis-engine", Some(Offset(12)), 3)
    );
    assert!(stream.dead_letters.replay(tenant(), DeadLetterId(1)).await.expect("replayed"));
    let back = stream.dead_letters.replaying("analysis-engine", 9).await.expect("an answer");
    assert_eq!(back[0].letter.bytes, Bytes::from_static(b"x"));
}

#[tokio::test]
async fn one_too_many_displaces_the_oldest_of_the_tenant_with_the_most() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.dead_letters.letters_max = 3;
    let stream = open(settings).await;
    let quiet = TenantId::new("quiet").expect("a tenant");
    let put = |whose: &TenantId| stream.dead_letters.put(letter(whose, Bytes::new()));
    for whose in [&quiet, &tenant(), &tenant(), &tenant(), &tenant()] {
        put(whose).await.expect("kept");
    }
    assert_eq!(ids(&stream).await, [5, 4]);
    let kept = stream.dead_letters.get(quiet, DeadLetterId(1)).await.expect("an answer");
    assert!(kept.is_some(), "it is not the one with the most");
    // A letter on its way back needs room for a moment, too.
    assert!(stream.dead_letters.replay(tenant(), DeadLetterId(5)).await.expect("replayed"));
    assert_eq!(ids(&stream).await, [5]);
}

#[tokio::test]
async fn a_long_letter_takes_the_room_of_several_short_ones() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.dead_letters.bytes_max = 64 << 10;
    let stream = open(settings).await;
    let put = |bytes: usize| stream.dead_letters.put(letter(&tenant(), vec![7; bytes].into()));
    for _ in 0..5 {
        put(10 << 10).await.expect("kept");
    }
    put(40 << 10).await.expect("kept");
    assert_eq!(ids(&stream).await.first(), Some(&6));
}

#[tokio::test]
async fn a_message_as_long_as_may_be_is_kept_cut() {
    let Some(server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let id = stream.dead_letters.put(letter(&tenant(), vec![7; 1 << 20].into())).await;
    let found = stream.dead_letters.get(tenant(), id.expect("kept")).await.expect("an answer");
    let found = found.expect("a letter").letter;
    assert_eq!(found.bytes.len(), (1 << 20) - 8_192);
    assert_eq!(found.error, "no disk (cut from 1048576 bytes)");
}

#[tokio::test]
async fn a_page_ends_after_so_many_bytes_and_says_that_there_is_more() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = settings(&server.url());
    settings.dead_letters.bytes_max = 1 << 26;
    let stream = open(settings).await;
    for _ in 0..20 {
        let put = stream.dead_letters.put(letter(&tenant(), vec![7; 1_000_000].into()));
        put.await.expect("kept");
    }
    let page = stream.dead_letters.list(query()).await.expect("a page");
    assert_eq!((page.letters.len(), page.more), (17, true));
    let before = page.letters.last().map(|letter| letter.id);
    let rest = DeadLetterQuery { before, ..query() };
    let page = stream.dead_letters.list(rest).await.expect("a page");
    assert_eq!((page.letters.len(), page.more), (3, false));
}

#[tokio::test]
async fn letters_survive_a_killed_server() {
    let Some(mut server) = NatsServer::start() else { return };
    let stream = open(settings(&server.url())).await;
    let mut kept = Vec::new();
    for n in 0..3_u8 {
        let id = stream.dead_letters.put(letter(&tenant(), Bytes::copy_from_slice(&[n]))).await;
        kept.push(id.expect("kept").0);
        server.kill();
        server.restart();
    }
    assert!(stream.dead_letters.replay(tenant(), DeadLetterId(kept[0])).await.expect("replayed"));
    kept.reverse();
    assert_eq!(ids(&stream).await, kept);
}
