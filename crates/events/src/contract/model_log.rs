//! A log in memory that does what it should, or fails to in one respect: that shows what the checks notice.

use std::collections::BTreeMap;
use std::future::ready;
use std::panic::AssertUnwindSafe;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Timestamp;
use parking_lot::Mutex;
use platform::{Clock, SimClock, SimFs};
use tokio::sync::watch;

use super::Engine;
use crate::embedded::consumers::{Consumers, Found, Source};
use crate::{
    Batch, Body, Bounds, Consumer, ConsumerConfig, Delivery, Entry, EventKey, EventLog,
    FetchLimits, LogError, LogStats, NewEvent, Offset, Outcome, Page, ReadLimits, Settlement,
};

/// What a log does wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    None,
    SeesNoRepetition,
    SeesNoConflict,
    ForgetsKeysAtRestart,
    LosesTheLastAtRestart,
    ReadsBackwards,
    IgnoresLimits,
    TakesAllForOneTenant,
    TakesNoKeyForAKey,
    KeepsItsEndToItself,
    FindsNoTime,
    CountsNothing,
    AnswersBeforeStoring,
    IsNeverEmpty,
    DeliversSettledAgain,
    RetriesAtOnce,
    HandsOutTooMuch,
    ForgetsPositions,
    OpensTwice,
    TakesAnyName,
    SharesPositions,
    LosesGivenUpFetches,
    TakesProgressForFailure,
    SkipsTheFirst,
    DoesNotWait,
}

#[derive(Debug)]
struct ModelLog {
    model: Arc<Model>,
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    consumers: Consumers,
}

#[derive(Debug)]
struct Model {
    fault: Fault,
    held: Mutex<Held>,
    end: watch::Sender<Offset>,
}

#[derive(Clone, Debug, Default)]
struct Held {
    entries: Vec<Entry>,
    keys: BTreeMap<Option<EventKey>, (Offset, Box<str>, u64)>,
    stats: LogStats,
}

impl Model {
    fn new(fault: Fault, held: Held) -> Self {
        let end = watch::Sender::new(held.end());
        Self { fault, held: Mutex::new(held), end }
    }

    fn store(&self, batch: Batch) -> Vec<Outcome> {
        let mut held = self.held.lock();
        let Batch { tenant, received_at, events } = batch;
        let mut outcomes = Vec::new();
        for NewEvent { envelope, id, key, fingerprint, lane } in events {
            let keyed = key.is_some() || self.fault == Fault::TakesNoKeyForAKey;
            let known = held.keys.get(&key).filter(|_| keyed).cloned();
            match known.filter(|_| self.fault != Fault::SeesNoRepetition) {
                Some((offset, id, first))
                    if first == fingerprint || self.fault == Fault::SeesNoConflict =>
                {
                    held.stats.duplicates += 1;
                    outcomes.push(Outcome::Duplicate { offset, id });
                }
                Some((offset, id, _)) => {
                    held.stats.conflicts += 1;
                    outcomes.push(Outcome::Conflict { offset, id });
                }
                None => {
                    // Leaves gaps, as an engine may.
                    let offset = held.end().next();
                    let tenant = match self.fault {
                        Fault::TakesAllForOneTenant => super::tenant(),
                        _ => tenant.clone(),
                    };
                    held.keys.insert(key, (offset, id, fingerprint));
                    held.entries.push(Entry { offset, tenant, received_at, lane, envelope });
                    held.stats.stored += 1;
                    outcomes.push(Outcome::Stored { offset });
                }
            }
        }
        if self.fault != Fault::KeepsItsEndToItself {
            self.end.send_replace(held.end());
        }
        outcomes
    }

    fn page(&self, from: Offset, limits: ReadLimits) -> Page {
        let held = self.held.lock();
        let mut page = Page { next: from, ..Page::default() };
        let mut bytes = 0;
        for entry in held.entries.iter().filter(|entry| entry.offset >= from) {
            let full = page.entries.len() >= limits.entries_max || bytes >= limits.bytes_max;
            if full && self.fault != Fault::IgnoresLimits {
                break;
            }
            bytes += entry.envelope.len();
            page.next = entry.offset.next();
            page.entries.push(entry.clone());
        }
        if self.fault == Fault::ReadsBackwards {
            page.entries.reverse();
        }
        page
    }

    fn restarted(&self) -> Self {
        let mut held = self.held.lock().clone();
        held.stats = LogStats::default();
        match self.fault {
            Fault::ForgetsKeysAtRestart => held.keys.clear(),
            Fault::LosesTheLastAtRestart => drop(held.entries.pop()),
            _ => {}
        }
        Self::new(self.fault, held)
    }
}

impl Held {
    fn end(&self) -> Offset {
        self.entries.last().map_or(Offset(3), |last| last.offset.next())
    }

    fn first(&self) -> Offset {
        self.entries.first().map_or(self.end(), |first| first.offset)
    }
}

impl ModelLog {
    fn open(model: Model, fs: Arc<SimFs>, clock: Arc<SimClock>) -> Self {
        let consumers = open_consumers(&fs, &clock);
        Self { model: Arc::new(model), fs, clock, consumers }
    }
}

fn open_consumers(fs: &Arc<SimFs>, clock: &Arc<SimClock>) -> Consumers {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    Consumers::open(fs.clone(), Path::new("/consumers"), clock).expect("consumers")
}

impl Source for Model {
    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Found, LogError>> {
        let Page { entries, next, skipped } = self.page(from, limits);
        let bodies = entries.into_iter().map(|entry| (entry.offset, Body::Entry(entry)));
        Box::pin(ready(Ok(Found { bodies: bodies.collect(), next, missing: skipped })))
    }

    fn first(&self) -> Offset {
        self.held.lock().first()
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }
}

impl EventLog for ModelLog {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Vec<Outcome>, LogError>> {
        Box::pin(async move {
            if self.model.fault == Fault::AnswersBeforeStoring {
                let offset = self.model.held.lock().end();
                return Ok(batch.events.iter().map(|_| Outcome::Stored { offset }).collect());
            }
            Ok(self.model.store(batch))
        })
    }

    fn bounds(&self) -> BoxFuture<'_, Result<Bounds, LogError>> {
        let held = self.model.held.lock();
        let first = if self.model.fault == Fault::IsNeverEmpty { Offset(0) } else { held.first() };
        Box::pin(ready(Ok(Bounds { first, end: held.end() })))
    }

    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Page, LogError>> {
        Box::pin(ready(Ok(self.model.page(from, limits))))
    }

    fn offset_at(&self, time: Timestamp) -> BoxFuture<'_, Result<Offset, LogError>> {
        let held = self.model.held.lock();
        let time = if self.model.fault == Fault::FindsNoTime { Timestamp::MAX } else { time };
        let found = held.entries.iter().find(|entry| entry.received_at >= time);
        Box::pin(ready(Ok(found.map_or(held.end(), |entry| entry.offset))))
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.model.end.subscribe()
    }

    fn consumer(
        &self,
        mut config: ConsumerConfig,
    ) -> BoxFuture<'_, Result<Box<dyn Consumer>, LogError>> {
        Box::pin(async move {
            let fault = self.model.fault;
            match fault {
                Fault::HandsOutTooMuch => config.in_flight_max = usize::MAX,
                Fault::TakesAnyName => config.name = format!("name-{}", config.name.len()),
                Fault::SharesPositions => config.name = "shared".to_owned(),
                _ => {}
            }
            let source = self.model.clone();
            let consumer = match fault {
                Fault::OpensTwice => {
                    open_consumers(&self.fs, &self.clock).consumer(config, source).await?
                }
                _ => self.consumers.consumer(config, source).await?,
            };
            Ok(Box::new(ModelConsumer { fault, consumer }) as Box<dyn Consumer>)
        })
    }

    fn stats(&self) -> LogStats {
        let held = self.model.held.lock();
        let bounds = Bounds { first: held.first(), end: held.end() };
        let consumer_lag = self.consumers.lag(held.end());
        let redelivered = self.consumers.redelivered();
        let counts = held.stats.clone();
        let stats = LogStats { bounds, consumer_lag, redelivered, connected: true, ..counts };
        if self.model.fault == Fault::CountsNothing { LogStats::default() } else { stats }
    }

    fn refusal(&self) -> Option<String> {
        None
    }
}

#[derive(Debug)]
struct ModelConsumer {
    fault: Fault,
    consumer: Box<dyn Consumer>,
}

impl Consumer for ModelConsumer {
    fn fetch(&self, mut limits: FetchLimits) -> BoxFuture<'_, Result<Vec<Delivery>, LogError>> {
        Box::pin(async move {
            if self.fault == Fault::DoesNotWait {
                limits.wait_max = Duration::ZERO;
            }
            let mut deliveries = self.consumer.fetch(limits).await?;
            if self.fault == Fault::LosesGivenUpFetches {
                tokio::task::yield_now().await;
            }
            if self.fault == Fault::SkipsTheFirst {
                deliveries.retain(|delivery| delivery.offset > Offset(4));
            }
            Ok(deliveries)
        })
    }

    fn settle(
        &self,
        offset: Offset,
        settlement: Settlement,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        let at_once = Settlement::Retry { delay: Duration::ZERO };
        let settlement = match (self.fault, settlement) {
            (Fault::DeliversSettledAgain, Settlement::Done) => at_once,
            (Fault::RetriesAtOnce, Settlement::Retry { .. }) => at_once,
            (Fault::TakesProgressForFailure, Settlement::InProgress) => at_once,
            _ => settlement,
        };
        self.consumer.settle(offset, settlement)
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.consumer.flush()
    }
}

#[derive(Debug)]
struct ModelEngine {
    log: Arc<ModelLog>,
    clock: Arc<SimClock>,
}

impl ModelEngine {
    fn new(fault: Fault) -> Self {
        let clock = SimClock::new(Timestamp::from_millis(1_700_000_000_000));
        let model = Model::new(fault, Held::default());
        Self { log: Arc::new(ModelLog::open(model, SimFs::new(), clock.clone())), clock }
    }
}

impl Engine for ModelEngine {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    fn restart(&mut self) -> BoxFuture<'_, ()> {
        let model = self.log.model.restarted();
        let fs = match model.fault {
            Fault::ForgetsPositions => SimFs::new(),
            _ => Arc::clone(&self.log.fs),
        };
        self.log = Arc::new(ModelLog::open(model, fs, self.clock.clone()));
        Box::pin(ready(()))
    }

    fn advance(&self, step: Duration) -> BoxFuture<'_, ()> {
        self.clock.advance(step);
        Box::pin(tokio::task::yield_now())
    }
}

async fn sound() -> ModelEngine {
    ModelEngine::new(Fault::None)
}

crate::event_log_contract!(sound);
crate::consumer_contract!(sound);

/// Whether a check lets a log with this fault pass.
macro_rules! passes {
    ($check:ident, $fault:ident) => {{
        let mut engine = ModelEngine::new(Fault::$fault);
        passes(crate::contract::$check(&mut engine)).await
    }};
}

/// Whether a check returns, and in time.
pub(super) async fn passes(check: impl Future<Output = ()>) -> bool {
    let limited = tokio::time::timeout(Duration::from_millis(100), check);
    matches!(AssertUnwindSafe(limited).catch_unwind().await, Ok(Ok(())))
}

#[tokio::test]
async fn every_check_notices_a_log_that_is_wrong() {
    let passed = [
        passes!(an_empty_log_holds_nothing, IsNeverEmpty),
        passes!(what_is_stored_is_read_in_the_order_of_acceptance, ReadsBackwards),
        passes!(what_is_stored_is_read_in_the_order_of_acceptance, AnswersBeforeStoring),
        passes!(reading_goes_page_by_page_within_its_limits, IgnoresLimits),
        passes!(a_repetition_is_stored_once_under_its_first_identifier, SeesNoRepetition),
        passes!(another_event_under_a_known_key_is_a_conflict, SeesNoConflict),
        passes!(a_batch_can_repeat_itself, SeesNoRepetition),
        passes!(events_without_a_key_are_never_repetitions, TakesNoKeyForAKey),
        passes!(one_of_many_simultaneous_repetitions_is_stored, SeesNoRepetition),
        passes!(tenants_share_the_log_and_not_their_names, TakesAllForOneTenant),
        passes!(the_end_is_seen_to_move_once_an_event_is_durable, KeepsItsEndToItself),
        passes!(a_time_leads_to_the_first_event_that_arrived_then_or_later, FindsNoTime),
        passes!(a_restart_changes_nothing, ForgetsKeysAtRestart),
        passes!(a_restart_changes_nothing, LosesTheLastAtRestart),
        passes!(the_log_counts_what_became_of_events, CountsNothing),
    ];
    assert_eq!(passed, [false; 15]);
}

#[tokio::test]
async fn every_check_notices_consumers_that_are_wrong() {
    let passed = [
        passes!(a_new_consumer_begins_with_the_oldest_entry_and_goes_on_in_order, SkipsTheFirst),
        passes!(entries_are_delivered_as_they_arrive, DoesNotWait),
        passes!(
            what_was_not_settled_is_delivered_again_after_a_restart_in_order,
            DeliversSettledAgain
        ),
        passes!(what_was_not_settled_is_delivered_again_after_a_restart_in_order, ForgetsPositions),
        passes!(a_retry_is_delivered_after_its_delay, RetriesAtOnce),
        passes!(attempts_are_counted_across_a_restart, ForgetsPositions),
        passes!(no_more_is_in_flight_than_allowed, HandsOutTooMuch),
        passes!(progress_keeps_an_entry_from_being_delivered_again, TakesProgressForFailure),
        passes!(one_consumer_of_a_name_is_open_at_a_time, OpensTwice),
        passes!(a_name_that_is_not_valid_is_refused, TakesAnyName),
        passes!(consumers_have_positions_of_their_own, SharesPositions),
        passes!(a_fetch_that_is_given_up_loses_nothing, LosesGivenUpFetches),
        passes!(lag_is_what_was_not_settled, CountsNothing),
    ];
    assert_eq!(passed, [false; 13]);
}
