//! The checks of [`EventLog`].

use std::time::Duration;

use futures_util::future::join_all;
use model::TenantId;

use super::{Engine, batch, event, expected, offsets, read_all, store, stored, tenant};
use crate::{Batch, Bounds, NewEvent, Offset, Outcome, ReadLimits};

/// More than any log holds in these checks.
const PLENTY: ReadLimits = ReadLimits { entries_max: 1_000, bytes_max: 1 << 20 };

/// Nothing can be read, and both bounds are one position.
pub async fn an_empty_log_holds_nothing(engine: &mut dyn Engine) {
    let log = engine.log();
    let Bounds { first, end } = log.bounds().await.expect("bounds");
    assert_eq!(first, end);
    assert_eq!(*log.end().borrow(), end);
    assert_eq!(log.read(Offset::default(), PLENTY).await.expect("read").entries, []);
    assert_eq!(log.offset_at(engine.clock().now()).await.expect("offset"), end);
    assert_eq!(log.refusal(), None);
}

/// Entries come back whole, with ascending offsets, in the order of the batches and within them.
pub async fn what_is_stored_is_read_in_the_order_of_acceptance(engine: &mut dyn Engine) {
    let log = engine.log();
    let now = engine.clock().now();
    let first = batch(engine, vec![event(1), event(2), event(3)]);
    let second = batch(engine, vec![event(4), event(5)]);
    let times = (first.received_at, second.received_at);
    assert!(times.0 >= now);
    let mut outcomes = log.append(first).await.expect("append");
    outcomes.append(&mut log.append(second).await.expect("append"));

    let stored: Vec<Offset> = outcomes.iter().map(stored).collect();
    assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?}");
    let entries = read_all(log.as_ref()).await;
    let wanted: Vec<_> = (1..=5)
        .zip(&stored)
        .map(|(number, offset)| {
            expected(number, *offset, if number < 4 { times.0 } else { times.1 })
        })
        .collect();
    assert_eq!(entries, wanted);

    let bounds = log.bounds().await.expect("bounds");
    assert_eq!(bounds, Bounds { first: stored[0], end: stored[4].next() });
    let rest = log.read(stored[3], PLENTY).await.expect("read");
    assert_eq!((offsets(&rest.entries), rest.next), (stored[3..].to_vec(), bounds.end));
    assert_eq!(log.read(bounds.end, PLENTY).await.expect("read").entries, []);
}

/// A page has no more entries than wanted, stops once it has the bytes, and has one however long.
pub async fn reading_goes_page_by_page_within_its_limits(engine: &mut dyn Engine) {
    let stored = store(engine, 1..=6).await;
    let log = engine.log();
    let length = event(1).envelope.len();
    for (entries_max, bytes_max, wanted) in
        [(2, 1 << 20, 2), (6, 1, 1), (6, 2 * length, 2), (6, 2 * length + 1, 3), (9, 1 << 20, 6)]
    {
        let limits = ReadLimits { entries_max, bytes_max };
        let page = log.read(stored[0], limits).await.expect("read");
        assert_eq!(offsets(&page.entries), stored[..wanted], "{limits:?}");
        assert_eq!(page.next, stored[wanted - 1].next(), "{limits:?}");
    }
}

/// The first answer is given again, whatever identifier the repetition came with.
pub async fn a_repetition_is_stored_once_under_its_first_identifier(engine: &mut dyn Engine) {
    let first = store(engine, [1, 2]).await;
    let again = NewEvent { id: "another".into(), ..event(1) };
    let log = engine.log();
    let outcomes = log.append(batch(engine, vec![again, event(3)])).await.expect("append");
    assert_eq!(outcomes[0], Outcome::Duplicate { offset: first[0], id: event(1).id });
    let third = stored(&outcomes[1]);
    assert_eq!(offsets(&read_all(log.as_ref()).await), [first[0], first[1], third]);
}

/// The same key with other content is refused, and the other event named.
pub async fn another_event_under_a_known_key_is_a_conflict(engine: &mut dyn Engine) {
    let first = store(engine, [1]).await;
    let other = NewEvent { key: event(1).key, ..event(2) };
    let log = engine.log();
    let outcomes = log.append(batch(engine, vec![other])).await.expect("append");
    assert_eq!(outcomes, [Outcome::Conflict { offset: first[0], id: event(1).id }]);
    assert_eq!(offsets(&read_all(log.as_ref()).await), first);
}

/// Repetitions and conflicts are found within one batch too.
pub async fn a_batch_can_repeat_itself(engine: &mut dyn Engine) {
    let repetition = NewEvent { id: "another".into(), ..event(1) };
    let other = NewEvent { key: event(1).key, ..event(2) };
    let log = engine.log();
    let events = vec![event(1), repetition, other, event(3)];
    let outcomes = log.append(batch(engine, events)).await.expect("append");
    let (offset, id) = (stored(&outcomes[0]), event(1).id);
    assert_eq!(outcomes[1], Outcome::Duplicate { offset, id: id.clone() });
    assert_eq!(outcomes[2], Outcome::Conflict { offset, id });
    assert_eq!(offsets(&read_all(log.as_ref()).await), [offset, stored(&outcomes[3])]);
}

/// What came without a key is stored as often as it came.
pub async fn events_without_a_key_are_never_repetitions(engine: &mut dyn Engine) {
    let log = engine.log();
    let keyless = || NewEvent { key: None, ..event(1) };
    let outcomes = log.append(batch(engine, vec![keyless(), keyless()])).await.expect("append");
    let more = log.append(batch(engine, vec![keyless()])).await.expect("append");
    let stored: Vec<Offset> = outcomes.iter().chain(&more).map(stored).collect();
    assert_eq!(offsets(&read_all(log.as_ref()).await), stored);
    assert_eq!(stored.len(), 3);
}

/// Of repetitions that are under way at the same time one is stored, and all are answered with it, durably.
pub async fn one_of_many_simultaneous_repetitions_is_stored(engine: &mut dyn Engine) {
    let log = engine.log();
    let repetitions = (0..8).map(|number: u32| {
        let repetition = NewEvent { id: format!("attempt-{number}").into(), ..event(1) };
        log.append(batch(engine, vec![repetition]))
    });
    let answers = join_all(repetitions).await;
    let mut first = None;
    let mut duplicates = Vec::new();
    for (number, answer) in answers.into_iter().enumerate() {
        match answer.expect("append").remove(0) {
            Outcome::Stored { offset } => {
                assert_eq!(first, None, "stored twice");
                first = Some((offset, format!("attempt-{number}").into_boxed_str()));
            }
            Outcome::Duplicate { offset, id } => duplicates.push((offset, id)),
            other => panic!("not a conflict: {other:?}"),
        }
    }
    let first = first.expect("one is stored");
    assert_eq!(duplicates, vec![first.clone(); 7]);
    assert_eq!(offsets(&read_all(log.as_ref()).await), [first.0]);
}

/// An entry says whose it is.
pub async fn tenants_share_the_log_and_not_their_names(engine: &mut dyn Engine) {
    let log = engine.log();
    let other = TenantId::new("other-team").expect("a name");
    store(engine, [1]).await;
    let events = vec![event(2)];
    let theirs = Batch { tenant: other.clone(), ..batch(engine, events) };
    log.append(theirs).await.expect("append");
    let tenants: Vec<TenantId> =
        read_all(log.as_ref()).await.into_iter().map(|entry| entry.tenant).collect();
    assert_eq!(tenants, [tenant(), other]);
}

/// Who watches the end is told of events, and can read them then.
pub async fn the_end_is_seen_to_move_once_an_event_is_durable(engine: &mut dyn Engine) {
    let log = engine.log();
    let mut end = log.end();
    let before = *end.borrow_and_update();
    let events = batch(engine, vec![event(1)]);
    let (appended, seen) = futures_util::future::join(log.append(events), async {
        let moved = *end.wait_for(|end| *end > before).await.expect("the log is open");
        (moved, log.read(before, PLENTY).await.expect("read").entries)
    })
    .await;
    let offset = stored(&appended.expect("append")[0]);
    assert_eq!((seen.0, offsets(&seen.1)), (offset.next(), vec![offset]));
}

/// Positions are found by the time of arrival.
pub async fn a_time_leads_to_the_first_event_that_arrived_then_or_later(engine: &mut dyn Engine) {
    let pause = Duration::from_millis(50);
    let before = engine.clock().now();
    let first = store(engine, [1, 2]).await;
    engine.advance(pause).await;
    let between = engine.clock().now();
    engine.advance(pause).await;
    let second = store(engine, [3, 4]).await;
    engine.advance(pause).await;
    let after = engine.clock().now();
    let log = engine.log();
    let end = log.bounds().await.expect("bounds").end;
    for (time, wanted) in [(before, first[0]), (between, second[0]), (after, end)] {
        assert_eq!(log.offset_at(time).await.expect("offset"), wanted, "{time}");
    }
}

/// Entries, offsets and keys are those of before; what is stored next comes behind.
pub async fn a_restart_changes_nothing(engine: &mut dyn Engine) {
    let first = store(engine, 1..=5).await;
    let before = read_all(engine.log().as_ref()).await;
    let bounds = engine.log().bounds().await.expect("bounds");
    engine.restart().await;

    let log = engine.log();
    assert_eq!(log.bounds().await.expect("bounds"), bounds);
    assert_eq!(*log.end().borrow(), bounds.end);
    assert_eq!(read_all(log.as_ref()).await, before);
    let again = NewEvent { id: "another".into(), ..event(2) };
    let other = NewEvent { key: event(3).key, ..event(9) };
    let events = vec![again, other, event(6)];
    let outcomes = log.append(batch(engine, events)).await.expect("append");
    assert_eq!(outcomes[0], Outcome::Duplicate { offset: first[1], id: event(2).id });
    assert_eq!(outcomes[1], Outcome::Conflict { offset: first[2], id: event(3).id });
    assert!(stored(&outcomes[2]) >= bounds.end);
    assert_eq!(read_all(log.as_ref()).await.len(), 6);
}

/// Accepted is stored plus duplicate plus conflict.
pub async fn the_log_counts_what_became_of_events(engine: &mut dyn Engine) {
    let log = engine.log();
    let other = NewEvent { key: event(1).key, ..event(2) };
    let events = vec![event(1), event(1), other, event(3), event(3), event(4)];
    log.append(batch(engine, events)).await.expect("append");
    let stats = log.stats();
    assert_eq!((stats.stored, stats.duplicates, stats.conflicts), (3, 2, 1));
    assert_eq!((stats.in_flight, stats.connected), (0, true));
    assert_eq!(stats.bounds, log.bounds().await.expect("bounds"));
}
