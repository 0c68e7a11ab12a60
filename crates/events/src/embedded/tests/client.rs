//! A sender that repeats what was not acknowledged, and what it checks in the end.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt;
use model::TenantId;
use platform::{Clock, SimClock, SimFs};

use super::engine::{clock, open};
use crate::{
    Batch, EmbeddedConfig, EmbeddedLog, Entry, EventKey, EventLog, Lane, LogError, NewEvent,
    Offset, OpenError, Outcome, ReadLimits,
};

/// How often a sender repeats a batch before it takes the log for lost.
const TRIES_MAX: u32 = 8;

/// A disk, a clock and what was acknowledged.
pub(super) struct Client {
    pub(super) fs: Arc<SimFs>,
    pub(super) clock: Arc<SimClock>,
    pub(super) config: EmbeddedConfig,
    pub(super) acknowledged: BTreeMap<u64, Offset>,
}

/// Returns a log of small segments.
pub(super) fn small() -> EmbeddedConfig {
    EmbeddedConfig { segment_bytes_max: 600, ..EmbeddedConfig::default() }
}

/// Everything about an event follows from its number.
pub(super) fn event(number: u64) -> NewEvent {
    let id = if number.is_multiple_of(2) {
        format!("01900000-0000-7000-8000-{number:012x}")
    } else {
        format!("event-{number}")
    };
    NewEvent {
        envelope: format!("{number}").into(),
        id: id.into(),
        key: Some(EventKey(u128::from(number) + 1)),
        fingerprint: number,
        lane: Lane(number % 3),
    }
}

pub(super) fn number(entry: &Entry) -> u64 {
    std::str::from_utf8(&entry.envelope).expect("text").parse().expect("a number")
}

/// Appends, commits and answers, without a thread.
pub(super) async fn append(
    log: &EmbeddedLog,
    clock: &Arc<SimClock>,
    events: Vec<NewEvent>,
) -> Result<Vec<Outcome>, LogError> {
    let tenant = TenantId::default_tenant();
    let mut answer = log.append(Batch { tenant, received_at: Clock::now(clock), events });
    if let Some(answer) = (&mut answer).now_or_never() {
        return answer;
    }
    // The answer says it too.
    log.commit_pending().ok();
    answer.await
}

/// Reads everything, a page at a time; nothing is damaged.
pub(super) async fn read_all(log: &EmbeddedLog) -> Vec<Entry> {
    let limits = ReadLimits { entries_max: 7, bytes_max: 1 << 20 };
    let (mut entries, mut from) = (Vec::new(), Offset::default());
    loop {
        let mut page = log.read(from, limits).await.expect("read");
        assert_eq!(page.skipped, 0);
        if page.entries.is_empty() {
            return entries;
        }
        entries.append(&mut page.entries);
        from = page.next;
    }
}

pub(super) async fn numbers(log: &EmbeddedLog) -> Vec<u64> {
    read_all(log).await.iter().map(number).collect()
}

impl Client {
    pub(super) fn new(config: EmbeddedConfig) -> Self {
        Self { fs: SimFs::new(), clock: clock(), config, acknowledged: BTreeMap::new() }
    }

    pub(super) fn open(&self) -> EmbeddedLog {
        open(&self.fs, &self.clock, &self.config)
    }

    pub(super) fn try_open(&self) -> Result<EmbeddedLog, OpenError> {
        let clock: Arc<dyn Clock> = Arc::new(Arc::clone(&self.clock));
        let dir = std::path::Path::new(super::engine::DIR);
        EmbeddedLog::open(self.fs.clone(), dir, clock, self.config.clone()).map(|(log, _)| log)
    }

    /// Sends the events up to `last` in batches of up to three, each until it is acknowledged.
    pub(super) async fn send(&mut self, log: &EmbeddedLog, last: u64) -> Result<(), LogError> {
        let mut next = self.acknowledged.len() as u64 + 1;
        while next <= last {
            let batch: Vec<u64> = (next..=last.min(next + next % 3)).collect();
            self.send_batch(log, &batch).await?;
            next += batch.len() as u64;
            if next.is_multiple_of(5) {
                log.maintain().ok();
            }
        }
        Ok(())
    }

    async fn send_batch(&mut self, log: &EmbeddedLog, batch: &[u64]) -> Result<(), LogError> {
        let mut tries = 0;
        loop {
            let events = batch.iter().map(|number| event(*number)).collect();
            match append(log, &self.clock, events).await {
                Ok(outcomes) => {
                    for (number, outcome) in batch.iter().zip(outcomes) {
                        let offset = match outcome {
                            Outcome::Stored { offset } => offset,
                            Outcome::Duplicate { offset, id } => {
                                assert_eq!(id, event(*number).id);
                                offset
                            }
                            Outcome::Conflict { .. } => panic!("event {number} is no other one"),
                        };
                        self.acknowledged.insert(*number, offset);
                    }
                    return Ok(());
                }
                Err(error) if tries == TRIES_MAX => return Err(error),
                Err(_) => tries += 1,
            }
            self.clock.advance(Duration::from_secs(2));
            log.maintain().ok();
        }
    }

    /// Checks that the log holds each event up to `last` once, in order, where it was acknowledged.
    pub(super) async fn check(&self, log: &EmbeddedLog, last: u64, context: &str) {
        let entries = read_all(log).await;
        let found: Vec<u64> = entries.iter().map(number).collect();
        assert_eq!(found, (1..=last).collect::<Vec<_>>(), "{context}");
        for entry in &entries {
            let acknowledged = self.acknowledged.get(&number(entry));
            assert!(acknowledged.is_none_or(|offset| *offset == entry.offset), "{context}");
        }
    }
}

/// Lets an answer get as far as it does without the disk; it is not there yet.
pub(super) fn begin<T>(answer: &mut (impl Future<Output = T> + Unpin)) {
    assert!(answer.now_or_never().is_none(), "it waits for the disk");
}

/// Runs what needs a runtime, for tests that do so many times.
pub(super) fn block_on<T>(work: impl Future<Output = T>) -> T {
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(work.boxed_local())
}
