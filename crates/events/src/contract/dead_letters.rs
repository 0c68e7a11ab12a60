//! The checks of [`DeadLetters`].

use std::collections::BTreeMap;
use std::time::Duration;

use futures_util::future::join_all;
use model::TenantId;

use super::{DeadLetterEngine, tenant};
use crate::{
    DeadLetter, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState,
    NewDeadLetter, Offset,
};

/// How often a check looks before it gives up, and how long it waits between.
const LOOKS_MAX: usize = 100;
const LOOK_WAIT: Duration = Duration::from_millis(20);

fn letter(number: u32) -> NewDeadLetter {
    let header = |name: &str| (name.to_owned(), format!("value {number}"));
    NewDeadLetter {
        tenant: tenant(),
        consumer: "sink".to_owned(),
        subject: format!("events.shop.custom.type_{number}"),
        headers: BTreeMap::from([header("X-One"), header("X-Two")]),
        offset: Some(Offset(u64::from(number))),
        bytes: vec![0, 0xFF, u8::try_from(number).unwrap_or_default()].into(),
        error: format!("\u{fc}ble Sache {number}"),
        attempts: number,
    }
}

fn of(consumer: &str, number: u32) -> NewDeadLetter {
    NewDeadLetter { consumer: consumer.to_owned(), ..letter(number) }
}

async fn put(engine: &dyn DeadLetterEngine, letter: NewDeadLetter) -> DeadLetterId {
    engine.dead_letters().put(letter).await.expect("put")
}

async fn put_some(engine: &dyn DeadLetterEngine, numbers: &[u32]) -> Vec<DeadLetterId> {
    let mut ids = Vec::new();
    for number in numbers {
        ids.push(put(engine, letter(*number)).await);
    }
    ids
}

fn all() -> DeadLetterQuery {
    DeadLetterQuery { tenant: tenant(), consumer: None, before: None, limit: 100 }
}

async fn list(engine: &dyn DeadLetterEngine, query: DeadLetterQuery) -> DeadLetterPage {
    engine.dead_letters().list(query).await.expect("list")
}

async fn get(engine: &dyn DeadLetterEngine, id: DeadLetterId) -> Option<DeadLetter> {
    engine.dead_letters().get(tenant(), id).await.expect("get")
}

async fn replaying(engine: &dyn DeadLetterEngine, limit: usize) -> Vec<DeadLetter> {
    engine.dead_letters().replaying("sink", limit).await.expect("replaying")
}

fn ids(letters: &[DeadLetter]) -> Vec<DeadLetterId> {
    letters.iter().map(|letter| letter.id).collect()
}

async fn expect_depths(engine: &dyn DeadLetterEngine, wanted: &[(&TenantId, &str, u64)]) {
    let depth = |(tenant, consumer, count): &(&TenantId, &str, u64)| DeadLetterDepth {
        tenant: (*tenant).clone(),
        consumer: (*consumer).to_owned(),
        count: *count,
    };
    let wanted: Vec<DeadLetterDepth> = wanted.iter().map(depth).collect();
    for _ in 0..LOOKS_MAX {
        if engine.dead_letters().depths() == wanted {
            return;
        }
        engine.advance(LOOK_WAIT).await;
    }
    assert_eq!(engine.dead_letters().depths(), wanted);
}

/// Nothing of a letter is lost, with an offset or without.
pub async fn a_dead_letter_is_kept_whole(engine: &mut dyn DeadLetterEngine) {
    let before = engine.clock().now();
    let bare = NewDeadLetter {
        consumer: "gateway".to_owned(),
        headers: BTreeMap::new(),
        offset: None,
        bytes: Vec::new().into(),
        ..letter(2)
    };
    for wanted in [letter(1), bare] {
        let id = put(engine, wanted.clone()).await;
        let DeadLetter { id: named, at, state, letter } =
            get(engine, id).await.expect("it is there");
        assert_eq!((named, state, letter), (id, DeadLetterState::Waiting, wanted));
        assert!(at >= before && at <= engine.clock().now());
    }
    assert_eq!(get(engine, DeadLetterId(1_000_000)).await, None);
}

/// The newest first, page by page.
pub async fn dead_letters_are_listed_page_by_page(engine: &mut dyn DeadLetterEngine) {
    assert_eq!(list(engine, all()).await, DeadLetterPage::default());
    let stored = put_some(engine, &[1, 2, 3, 4, 5]).await;
    assert!(stored.is_sorted_by(|a, b| a < b), "{stored:?}");
    let mut newest_first = stored.clone();
    newest_first.reverse();
    let page = list(engine, all()).await;
    assert_eq!((ids(&page.letters), page.more), (newest_first.clone(), false));
    let wanted: Vec<NewDeadLetter> = (1..=5).rev().map(letter).collect();
    assert_eq!(page.letters.into_iter().map(|letter| letter.letter).collect::<Vec<_>>(), wanted);

    let mut seen = Vec::new();
    for more in [true, true, false] {
        let before = seen.last().copied();
        let page = list(engine, DeadLetterQuery { before, limit: 2, ..all() }).await;
        assert_eq!(page.more, more);
        seen.append(&mut ids(&page.letters));
    }
    assert_eq!(seen, newest_first);
}

/// Those of one consumer, or of all.
pub async fn dead_letters_are_listed_by_consumer(engine: &mut dyn DeadLetterEngine) {
    let mut stored = Vec::new();
    for (number, consumer) in (0..).zip(["sink", "rules", "sink", "rules", "gateway"]) {
        stored.push(put(engine, of(consumer, number)).await);
    }
    let query = |consumer: &str, limit| DeadLetterQuery {
        consumer: Some(consumer.to_owned()),
        limit,
        ..all()
    };
    let page = list(engine, query("sink", 9)).await;
    assert_eq!((ids(&page.letters), page.more), (vec![stored[2], stored[0]], false));
    let page = list(engine, query("rules", 1)).await;
    assert_eq!((ids(&page.letters), page.more), (vec![stored[3]], true));
    assert_eq!(list(engine, query("nobody", 9)).await, DeadLetterPage::default());
}

/// A tenant sees, replays and discards its own only.
pub async fn dead_letters_of_others_are_out_of_reach(engine: &mut dyn DeadLetterEngine) {
    let other = TenantId::new("other-team").expect("a name");
    let own = put(engine, letter(1)).await;
    let theirs = put(engine, NewDeadLetter { tenant: other.clone(), ..letter(2) }).await;
    assert_eq!(ids(&list(engine, all()).await.letters), [own]);
    let of_other = DeadLetterQuery { tenant: other.clone(), ..all() };
    assert_eq!(ids(&list(engine, of_other).await.letters), [theirs]);
    assert_eq!(get(engine, theirs).await, None);
    let letters = engine.dead_letters();
    assert!(!letters.replay(tenant(), theirs).await.expect("replay"));
    assert!(!letters.discard(tenant(), theirs).await.expect("discard"));
    let still = letters.get(other.clone(), theirs).await.expect("get").expect("it is there");
    assert_eq!(still.state, DeadLetterState::Waiting);
    expect_depths(engine, &[(&tenant(), "sink", 1), (&other, "sink", 1)]).await;
}

/// What is discarded is gone.
pub async fn a_discarded_dead_letter_is_gone(engine: &mut dyn DeadLetterEngine) {
    let stored = put_some(engine, &[1, 2, 3]).await;
    let letters = engine.dead_letters();
    assert!(letters.discard(tenant(), stored[1]).await.expect("discard"));
    assert!(!letters.discard(tenant(), stored[1]).await.expect("discard"));
    assert_eq!(get(engine, stored[1]).await, None);
    assert_eq!(ids(&list(engine, all()).await.letters), [stored[2], stored[0]]);
    expect_depths(engine, &[(&tenant(), "sink", 2)]).await;
}

/// What is replayed is handed to the consumer that gave it up, the oldest first, until it is discarded.
pub async fn a_replayed_dead_letter_goes_to_its_consumer(engine: &mut dyn DeadLetterEngine) {
    let stored = put_some(engine, &[1, 2, 3]).await;
    let of_others = put(engine, of("rules", 4)).await;
    assert_eq!(replaying(engine, 9).await, []);
    let letters = engine.dead_letters();
    for id in [stored[2], of_others, stored[0]] {
        assert!(letters.replay(tenant(), id).await.expect("replay"));
    }
    assert!(letters.replay(tenant(), stored[0]).await.expect("replay"), "again");
    assert!(!letters.replay(tenant(), DeadLetterId(1_000_000)).await.expect("replay"));
    let back = replaying(engine, 9).await;
    assert_eq!(ids(&back), [stored[0], stored[2]]);
    assert_eq!((back[0].state, &back[0].letter), (DeadLetterState::Replaying, &letter(1)));
    assert_eq!(ids(&replaying(engine, 1).await), [stored[0]]);
    assert_eq!(
        get(engine, stored[2]).await.expect("it is there").state,
        DeadLetterState::Replaying
    );
    assert!(letters.discard(tenant(), stored[0]).await.expect("discard"));
    assert_eq!(ids(&replaying(engine, 9).await), [stored[2]]);
}

/// What failed again waits again, and says why.
pub async fn a_dead_letter_that_is_given_back_waits_again(engine: &mut dyn DeadLetterEngine) {
    let id = put(engine, letter(3)).await;
    let before = get(engine, id).await.expect("it is there");
    let letters = engine.dead_letters();
    assert!(letters.replay(tenant(), id).await.expect("replay"));
    letters.give_back(id, "failed again".to_owned()).await.expect("give back");
    let letter = NewDeadLetter { error: "failed again".to_owned(), attempts: 4, ..letter(3) };
    assert_eq!(get(engine, id).await, Some(DeadLetter { letter, ..before }));
    assert_eq!(replaying(engine, 9).await, []);
    assert_eq!(ids(&list(engine, all()).await.letters), [id]);
    assert!(letters.discard(tenant(), id).await.expect("discard"));
    letters.give_back(id, "too late".to_owned()).await.expect("nothing happens");
    assert_eq!(get(engine, id).await, None);
    expect_depths(engine, &[]).await;
}

/// How many there are, by tenant and consumer, goes up and down.
pub async fn depths_follow_what_is_kept(engine: &mut dyn DeadLetterEngine) {
    expect_depths(engine, &[]).await;
    let other = TenantId::new("another-team").expect("a name");
    let mut stored = Vec::new();
    for consumer in ["sink", "rules", "sink"] {
        stored.push(put(engine, of(consumer, 1)).await);
    }
    put(engine, NewDeadLetter { tenant: other.clone(), ..letter(1) }).await;
    let own = tenant();
    expect_depths(engine, &[(&other, "sink", 1), (&own, "rules", 1), (&own, "sink", 2)]).await;
    let letters = engine.dead_letters();
    assert!(letters.replay(tenant(), stored[0]).await.expect("replay"));
    assert!(letters.discard(tenant(), stored[1]).await.expect("discard"));
    expect_depths(engine, &[(&other, "sink", 1), (&own, "sink", 2)]).await;
}

/// Letters, states and depths are those of before, and new letters have new identifiers.
pub async fn dead_letters_survive_a_restart(engine: &mut dyn DeadLetterEngine) {
    let stored = put_some(engine, &[1, 2, 3, 4, 5]).await;
    let letters = engine.dead_letters();
    for id in &stored[1..4] {
        assert!(letters.replay(tenant(), *id).await.expect("replay"));
    }
    letters.give_back(stored[2], "failed again".to_owned()).await.expect("give back");
    assert!(letters.discard(tenant(), stored[3]).await.expect("discard"));
    assert!(letters.discard(tenant(), stored[4]).await.expect("discard"));
    let before = list(engine, all()).await;
    drop(letters);
    engine.restart().await;

    assert_eq!(list(engine, all()).await, before);
    assert_eq!(ids(&before.letters), [stored[2], stored[1], stored[0]]);
    assert_eq!(ids(&replaying(engine, 9).await), [stored[1]]);
    expect_depths(engine, &[(&tenant(), "sink", 3)]).await;
    let new = put(engine, letter(6)).await;
    assert!(new > stored[4], "{new:?} is not one of {stored:?}");
}

/// Consumers give up at the same time.
pub async fn simultaneous_dead_letters_are_all_kept(engine: &mut dyn DeadLetterEngine) {
    let letters = engine.dead_letters();
    let put = join_all((1..=20).map(|number| letters.put(letter(number)))).await;
    let mut stored: Vec<DeadLetterId> = put.into_iter().map(|id| id.expect("put")).collect();
    stored.sort_unstable_by(|a, b| b.cmp(a));
    let page = list(engine, all()).await;
    assert_eq!(ids(&page.letters), stored);
    let mut attempts: Vec<u32> = page.letters.iter().map(|letter| letter.letter.attempts).collect();
    attempts.sort_unstable();
    assert_eq!(attempts, (1..=20).collect::<Vec<_>>());
}
