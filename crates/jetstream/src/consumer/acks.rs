//! Telling the server what became of messages, until it confirms.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::time::Duration;

use async_nats::jetstream::AckKind;
use async_nats::{HeaderMap, Subject};
use events::LogError;
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use parking_lot::Mutex;
use tokio::sync::{Notify, watch};
use tracing::warn;

use crate::connection::{Connection, RETRY_AFTER};

/// How many confirmations are waited for at once.
const IN_FLIGHT_MAX: usize = 256;

/// The longest pause before the server is told again.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// After so many attempts the log says that something is wrong.
const FAILURES_UNTIL_WARNING: u32 = 5;

/// How long [`Acks::flush`] waits.
const FLUSH_WAIT_MAX: Duration = Duration::from_secs(15);

/// What is to be told and was not confirmed. No more than the consumer may hold: each is an entry that was delivered.
#[derive(Debug)]
pub(super) struct Acks {
    connection: Arc<Connection>,
    state: Mutex<State>,
    work: Notify,
    /// How many are not confirmed.
    unconfirmed: watch::Sender<usize>,
}

#[derive(Debug, Default)]
struct State {
    queue: VecDeque<u64>,
    /// By offset; the generation tells a later word on the same entry.
    pending: BTreeMap<u64, Pending>,
    generation: u64,
    finished: bool,
}

#[derive(Clone, Debug)]
struct Pending {
    reply: Subject,
    kind: AckKind,
    generation: u64,
}

impl Acks {
    pub(super) fn new(connection: Arc<Connection>) -> Self {
        Self {
            connection,
            state: Mutex::default(),
            work: Notify::new(),
            unconfirmed: watch::Sender::new(0),
        }
    }

    /// Tells the server what became of an entry; the last word counts.
    pub(super) fn push(&self, offset: u64, reply: Subject, kind: AckKind) {
        let mut state = self.state.lock();
        state.generation = state.generation.wrapping_add(1);
        let generation = state.generation;
        state.pending.insert(offset, Pending { reply, kind, generation });
        state.queue.push_back(offset);
        self.unconfirmed.send_replace(state.pending.len());
        drop(state);
        self.work.notify_one();
    }

    /// Returns whether an entry was settled as done and the server may not know it yet.
    pub(super) fn is_done(&self, offset: u64) -> bool {
        let state = self.state.lock();
        state.pending.get(&offset).is_some_and(|pending| matches!(pending.kind, AckKind::Ack))
    }

    /// Waits until everything is confirmed.
    pub(super) async fn flush(&self) -> Result<(), LogError> {
        let mut unconfirmed = self.unconfirmed.subscribe();
        let deadline = self.connection.deadline(FLUSH_WAIT_MAX);
        tokio::select! {
            biased;
            _confirmed = unconfirmed.wait_for(|count| *count == 0) => Ok(()),
            () = self.connection.clock.sleep_until(deadline) => Err(LogError::Unavailable {
                reason: "NATS does not confirm acknowledgements".to_owned(),
                retry_after: RETRY_AFTER,
            }),
        }
    }

    /// Lets [`Acks::run`] end once everything is confirmed.
    pub(super) fn finish(&self) {
        self.state.lock().finished = true;
        self.work.notify_one();
    }

    pub(super) async fn run(self: Arc<Self>) {
        let mut watch = self.connection.watch();
        let mut running = FuturesUnordered::new();
        loop {
            while running.len() < IN_FLIGHT_MAX {
                let Some((offset, pending)) = self.next() else { break };
                running.push(self.tell(offset, pending));
            }
            if running.is_empty() && self.state.lock().finished {
                return;
            }
            tokio::select! {
                biased;
                _closed = watch.wait_for(|state| state.closed) => return,
                Some(()) = running.next(), if !running.is_empty() => {}
                () = self.work.notified() => {}
            }
        }
    }

    fn next(&self) -> Option<(u64, Pending)> {
        let mut state = self.state.lock();
        while let Some(offset) = state.queue.pop_front() {
            if let Some(pending) = state.pending.get(&offset) {
                return Some((offset, pending.clone()));
            }
        }
        None
    }

    /// Tells one thing until it is confirmed or there is a later word.
    async fn tell(&self, offset: u64, told: Pending) {
        let mut failures = 0_u32;
        while self.is_current(offset, &told) {
            let payload = told.kind.into();
            match self.connection.request(&told.reply, HeaderMap::new(), payload).await {
                Ok(_confirmation) => break,
                Err(error) => {
                    failures = failures.saturating_add(1);
                    if failures == FAILURES_UNTIL_WARNING {
                        warn!(%error, offset, "nats does not confirm an acknowledgement");
                    }
                    let wait = self.connection.backoff(failures.saturating_sub(1), RETRY_WAIT_MAX);
                    self.connection.sleep(wait).await;
                }
            }
        }
        let mut state = self.state.lock();
        if state.pending.get(&offset).is_some_and(|now| now.generation == told.generation) {
            state.pending.remove(&offset);
        }
        self.unconfirmed.send_replace(state.pending.len());
    }

    fn is_current(&self, offset: u64, told: &Pending) -> bool {
        let state = self.state.lock();
        state.pending.get(&offset).is_some_and(|now| now.generation == told.generation)
    }
}
