//! Dead letters that fail in one respect: that shows what the checks notice.

use std::future::ready;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::{TenantId, Timestamp};
use platform::{Clock, SimClock, SimFs};

use super::model_log::passes;
use super::{DeadLetterEngine, Engine};
use crate::{
    DeadLetter, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetters,
    DeadLettersConfig, EmbeddedDeadLetters, EventLog, LogError, NewDeadLetter,
};

/// What dead letters do wrong.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Fault {
    LosesHeaders,
    ListsTheOldestFirst,
    ListsAllConsumers,
    ReachesOthers,
    DiscardsNothing,
    ReplaysForAnybody,
    GivesNothingBack,
    CountsNothing,
    ForgetsAtRestart,
    KeepsOneOfMany,
}

#[derive(Debug)]
struct Faulty {
    fault: Fault,
    letters: EmbeddedDeadLetters,
}

impl DeadLetters for Faulty {
    fn put(&self, mut letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>> {
        match self.fault {
            Fault::LosesHeaders => letter.headers.clear(),
            Fault::KeepsOneOfMany if letter.attempts > 1 => {
                return ready(Ok(DeadLetterId(u64::from(letter.attempts)))).boxed();
            }
            _ => {}
        }
        self.letters.put(letter)
    }

    fn list(&self, mut query: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>> {
        if self.fault == Fault::ListsAllConsumers {
            query.consumer = None;
        }
        async move {
            let mut page = self.letters.list(query).await?;
            if self.fault == Fault::ListsTheOldestFirst {
                page.letters.reverse();
            }
            Ok(page)
        }
        .boxed()
    }

    fn get(
        &self,
        tenant: TenantId,
        id: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>> {
        self.letters.get(tenant, id)
    }

    fn discard(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        match self.fault {
            Fault::DiscardsNothing => ready(Ok(true)).boxed(),
            Fault::ReachesOthers => async move {
                let owners = self.depths().into_iter().map(|depth| depth.tenant);
                let mut found = false;
                for owner in owners {
                    found |= self.letters.discard(owner, id).await?;
                }
                Ok(found)
            }
            .boxed(),
            _ => self.letters.discard(tenant, id),
        }
    }

    fn replay(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        self.letters.replay(tenant, id)
    }

    fn replaying(
        &self,
        consumer: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>> {
        let consumer = if self.fault == Fault::ReplaysForAnybody { "rules" } else { consumer };
        self.letters.replaying(consumer, limit)
    }

    fn give_back(&self, id: DeadLetterId, error: String) -> BoxFuture<'_, Result<(), LogError>> {
        if self.fault == Fault::GivesNothingBack {
            return ready(Ok(())).boxed();
        }
        self.letters.give_back(id, error)
    }

    fn depths(&self) -> Vec<DeadLetterDepth> {
        if self.fault == Fault::CountsNothing { Vec::new() } else { self.letters.depths() }
    }
}

#[derive(Debug)]
struct FaultyEngine {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    letters: Option<Arc<Faulty>>,
}

impl FaultyEngine {
    fn new(fault: Fault) -> Self {
        let clock = SimClock::new(Timestamp::from_millis(1_700_000_000_000));
        let mut engine = Self { fs: SimFs::new(), clock, letters: None };
        engine.open(fault);
        engine
    }

    fn open(&mut self, fault: Fault) {
        let config = DeadLettersConfig::default();
        let opened =
            EmbeddedDeadLetters::open(self.fs.clone(), Path::new("/dead"), self.clock(), config);
        self.letters = Some(Arc::new(Faulty { fault, letters: opened.expect("open").0 }));
    }
}

impl Engine for FaultyEngine {
    fn log(&self) -> Arc<dyn EventLog> {
        unreachable!("the checks of dead letters need no log")
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(self.clock.clone())
    }

    fn restart(&mut self) -> BoxFuture<'_, ()> {
        if let Some(before) = self.letters.take() {
            if before.fault == Fault::ForgetsAtRestart {
                self.fs = SimFs::new();
            }
            let fault = before.fault;
            drop(before);
            self.open(fault);
        }
        ready(()).boxed()
    }

    fn advance(&self, step: Duration) -> BoxFuture<'_, ()> {
        self.clock.advance(step);
        tokio::task::yield_now().boxed()
    }
}

impl DeadLetterEngine for FaultyEngine {
    fn delivers_settled_again(&self) -> bool {
        false
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.letters.clone().expect("they are open")
    }

    fn plant(&mut self, _bytes: Bytes) -> BoxFuture<'_, ()> {
        unreachable!("the checks of dead letters need no log")
    }
}

macro_rules! passes {
    ($check:ident, $fault:ident) => {{
        let mut engine = FaultyEngine::new(Fault::$fault);
        passes(crate::contract::$check(&mut engine)).await
    }};
}

#[tokio::test]
async fn every_check_notices_dead_letters_that_are_wrong() {
    let passed = [
        passes!(a_dead_letter_is_kept_whole, LosesHeaders),
        passes!(dead_letters_are_listed_page_by_page, ListsTheOldestFirst),
        passes!(dead_letters_are_listed_by_consumer, ListsAllConsumers),
        passes!(dead_letters_of_others_are_out_of_reach, ReachesOthers),
        passes!(a_discarded_dead_letter_is_gone, DiscardsNothing),
        passes!(a_replayed_dead_letter_goes_to_its_consumer, ReplaysForAnybody),
        passes!(a_dead_letter_that_is_given_back_waits_again, GivesNothingBack),
        passes!(depths_follow_what_is_kept, CountsNothing),
        passes!(dead_letters_survive_a_restart, ForgetsAtRestart),
        passes!(simultaneous_dead_letters_are_all_kept, KeepsOneOfMany),
    ];
    assert_eq!(passed, [false; 10]);
}
