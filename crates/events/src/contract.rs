//! What every engine of the events part has to do, as tests.
//!
//! Each check takes an [`Engine`] with an empty log and panics when the engine does not do what it should. An engine's
//! tests name a function that makes one, and [`event_log_contract`](crate::event_log_contract) and its sisters make a
//! test of each check.

mod consumers;
mod dead_letters;
mod event_log;
#[cfg(test)]
mod model_dead_letters;
#[cfg(test)]
mod model_log;
mod workers;

use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::future::BoxFuture;
use model::{TenantId, Timestamp};
use platform::Clock;

pub use consumers::*;
pub use dead_letters::*;
pub use event_log::*;
pub use workers::*;

use crate::{
    Batch, DeadLetters, Entry, EventKey, EventLog, Lane, NewEvent, Offset, Outcome, Page,
    ReadLimits,
};

/// A log that can be stopped and started, and its time.
pub trait Engine: Send + fmt::Debug {
    /// Returns the log that is open at present.
    fn log(&self) -> Arc<dyn EventLog>;

    /// Returns the clock of the log.
    fn clock(&self) -> Arc<dyn Clock>;

    /// Ends the log and opens it again. What the check still holds of the old one is not used any more.
    fn restart(&mut self) -> BoxFuture<'_, ()>;

    /// Lets time pass, and everybody who waits for it go on.
    fn advance(&self, step: Duration) -> BoxFuture<'_, ()>;
}

/// A log with dead letters, which [`Engine::restart`] ends and opens too.
pub trait DeadLetterEngine: Engine {
    /// Returns the dead letters that are open at present.
    fn dead_letters(&self) -> Arc<dyn DeadLetters>;

    /// Returns whether an entry that was settled shortly before a restart may be delivered once more after it.
    fn delivers_settled_again(&self) -> bool;

    /// Puts something behind the last entry of the log that is no event. May restart the log.
    fn plant(&mut self, bytes: Bytes) -> BoxFuture<'_, ()>;
}

/// Makes a test of each check of the event log: `events::event_log_contract!(engine)`, where `engine` is an
/// asynchronous function that returns an [`Engine`] with an empty log. `optional engine` is one that returns `None` where
/// what the engine stands on is not installed.
#[macro_export]
macro_rules! event_log_contract {
    ($($engine:tt)+) => {
        $crate::contract_tests!(
            [$($engine)+],
            an_empty_log_holds_nothing,
            what_is_stored_is_read_in_the_order_of_acceptance,
            reading_goes_page_by_page_within_its_limits,
            a_repetition_is_stored_once_under_its_first_identifier,
            another_event_under_a_known_key_is_a_conflict,
            a_batch_can_repeat_itself,
            events_without_a_key_are_never_repetitions,
            one_of_many_simultaneous_repetitions_is_stored,
            tenants_share_the_log_and_not_their_names,
            the_end_is_seen_to_move_once_an_event_is_durable,
            a_time_leads_to_the_first_event_that_arrived_then_or_later,
            a_restart_changes_nothing,
            the_log_counts_what_became_of_events,
        );
    };
}

/// Makes a test of each check of consumers, as [`event_log_contract`](crate::event_log_contract) does of the log.
#[macro_export]
macro_rules! consumer_contract {
    ($($engine:tt)+) => {
        $crate::contract_tests!(
            [$($engine)+],
            a_new_consumer_begins_with_the_oldest_entry_and_goes_on_in_order,
            entries_are_delivered_as_they_arrive,
            what_was_not_settled_is_delivered_again_after_a_restart_in_order,
            a_retry_is_delivered_after_its_delay,
            attempts_are_counted_across_a_restart,
            no_more_is_in_flight_than_allowed,
            progress_keeps_an_entry_from_being_delivered_again,
            one_consumer_of_a_name_is_open_at_a_time,
            a_name_that_is_not_valid_is_refused,
            consumers_have_positions_of_their_own,
            a_fetch_that_is_given_up_loses_nothing,
            lag_is_what_was_not_settled,
        );
    };
}

/// Makes a test of each check of dead letters, as [`event_log_contract`](crate::event_log_contract) does of the log.
/// The engine is a [`DeadLetterEngine`].
#[macro_export]
macro_rules! dead_letter_contract {
    ($($engine:tt)+) => {
        $crate::contract_tests!(
            [$($engine)+],
            a_dead_letter_is_kept_whole,
            dead_letters_are_listed_page_by_page,
            dead_letters_are_listed_by_consumer,
            dead_letters_of_others_are_out_of_reach,
            a_discarded_dead_letter_is_gone,
            a_replayed_dead_letter_goes_to_its_consumer,
            a_dead_letter_that_is_given_back_waits_again,
            depths_follow_what_is_kept,
            dead_letters_survive_a_restart,
            simultaneous_dead_letters_are_all_kept,
        );
    };
}

/// Makes a test of each check of workers over the consumers and dead letters of an engine, as
/// [`event_log_contract`](crate::event_log_contract) does of the log. The engine is a [`DeadLetterEngine`].
#[macro_export]
macro_rules! worker_contract {
    ($($engine:tt)+) => {
        $crate::contract_tests!(
            [$($engine)+],
            every_entry_is_processed_once_and_settled,
            a_lane_waits_for_its_entry_that_is_retried_and_others_do_not,
            an_entry_that_fails_too_often_becomes_a_dead_letter,
            an_entry_that_will_never_succeed_becomes_a_dead_letter_at_once,
            what_is_no_event_becomes_a_dead_letter,
            an_entry_is_not_given_up_because_something_else_is_unavailable,
            a_panic_of_the_handler_is_a_failed_attempt,
            a_dead_letter_that_is_sent_back_is_processed,
            a_dead_letter_that_fails_again_waits_again,
            stopping_leaves_what_is_not_done,
        );
    };
}

/// Makes a test of each of the named checks.
#[doc(hidden)]
#[macro_export]
macro_rules! contract_tests {
    ([optional $engine:path], $($check:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                if let Some(mut engine) = $engine().await {
                    $crate::contract::$check(&mut engine).await;
                }
            }
        )+
    };
    ([$engine:path], $($check:ident),+ $(,)?) => {
        $(
            #[tokio::test]
            async fn $check() {
                let mut engine = $engine().await;
                $crate::contract::$check(&mut engine).await;
            }
        )+
    };
}

/// An event of the contract: everything about it follows from its number.
fn event(number: u64) -> NewEvent {
    let id = format!("01900000-0000-7000-8000-{number:012x}");
    NewEvent {
        envelope: envelope(&id, number),
        id: id.into(),
        key: Some(EventKey(0x5EED_0000_0000_0000 + u128::from(number))),
        fingerprint: number,
        lane: Lane(number % 3),
    }
}

/// The binary form of a login: `causality.v1.EventEnvelope` with the fields 1 id, 2 app_id, 3 device_id,
/// 4 timestamp_ms, 7 idempotency_key, 10 user_login (1 user_id).
fn envelope(id: &str, number: u64) -> Bytes {
    let mut bytes = Vec::new();
    text(1, id, &mut bytes);
    text(2, "shop", &mut bytes);
    text(3, &format!("device-{}", number % 3), &mut bytes);
    bytes.push(4 << 3);
    varint(1_700_000_000_000 + number, &mut bytes);
    text(7, &format!("key-{number}"), &mut bytes);
    let mut login = Vec::new();
    text(1, &format!("user-{number}"), &mut login);
    bytes.push(10 << 3 | 2);
    varint(login.len() as u64, &mut bytes);
    bytes.append(&mut login);
    bytes.into()
}

fn text(field: u8, value: &str, out: &mut Vec<u8>) {
    out.push(field << 3 | 2);
    varint(value.len() as u64, out);
    out.extend_from_slice(value.as_bytes());
}

fn varint(mut value: u64, out: &mut Vec<u8>) {
    while value > 0x7F {
        out.push(u8::try_from(value & 0x7F).unwrap_or_default() | 0x80);
        value >>= 7;
    }
    out.push(u8::try_from(value).unwrap_or_default());
}

fn tenant() -> TenantId {
    TenantId::default_tenant()
}

fn batch(engine: &dyn Engine, events: Vec<NewEvent>) -> Batch {
    Batch { tenant: tenant(), received_at: engine.clock().now(), events }
}

/// Stores the events with these numbers and returns where.
async fn store(engine: &dyn Engine, numbers: impl IntoIterator<Item = u64>) -> Vec<Offset> {
    let batch = batch(engine, numbers.into_iter().map(event).collect());
    let outcomes = engine.log().append(batch).await.expect("append");
    outcomes.iter().map(stored).collect()
}

fn stored(outcome: &Outcome) -> Offset {
    match outcome {
        Outcome::Stored { offset } => *offset,
        other => panic!("the event is new: {other:?}"),
    }
}

async fn read_all(log: &dyn EventLog) -> Vec<Entry> {
    let limits = ReadLimits { entries_max: 7, bytes_max: 1 << 20 };
    let mut entries = Vec::new();
    let mut from = Offset::default();
    loop {
        let Page { entries: mut more, next, skipped } = log.read(from, limits).await.expect("read");
        assert_eq!(skipped, 0, "nothing is damaged");
        if more.is_empty() {
            return entries;
        }
        assert!(next > from, "reading goes on");
        entries.append(&mut more);
        from = next;
    }
}

fn offsets(entries: &[Entry]) -> Vec<Offset> {
    entries.iter().map(|entry| entry.offset).collect()
}

fn expected(number: u64, offset: Offset, received_at: Timestamp) -> Entry {
    let NewEvent { envelope, lane, .. } = event(number);
    Entry { offset, tenant: tenant(), received_at, lane, envelope }
}
