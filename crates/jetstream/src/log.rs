//! The log on a stream of JetStream.

mod append;
mod follow;
mod read;

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;

use events::{
    Batch, Bounds, Consumer, ConsumerConfig, EventLog, LogError, LogStats, Offset, Outcome, Page,
    ReadLimits,
};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::Timestamp;
use parking_lot::Mutex;
use platform::{Clock, Rng, Tasks};
use tokio::sync::{Notify, Semaphore, watch};

use crate::connection::{ApiError, Connection};
use crate::consumer::{JetStreamConsumer, OpenNames};
use crate::dead_letters::JetStreamDeadLetters;
use crate::settings::{Settings, SettingsError};
use crate::streams;

/// How many locks the lanes share. Two lanes of one lock wait for each other, which costs time, not order.
const LANE_LOCKS: usize = 4_096;

/// Most consumers whose repeated deliveries are counted.
const CONSUMERS_MAX: usize = 1_000;

/// The log and its dead letters.
#[derive(Debug)]
pub struct JetStream {
    /// The log.
    pub log: Arc<JetStreamLog>,
    /// The dead letters.
    pub dead_letters: Arc<JetStreamDeadLetters>,
}

/// Begins to connect to NATS and returns at once; until the connection stands and the streams are as they should be,
/// everything answers [`LogError::Unavailable`]. Must be called within a tokio runtime.
///
/// # Errors
///
/// What is wrong with the settings. A server that cannot be reached is no error.
pub async fn connect(
    settings: Settings,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
) -> Result<JetStream, SettingsError> {
    let limits = [
        ("in_flight_max", settings.in_flight_max),
        ("queued_max", settings.queued_max),
        ("replicas", settings.stream.replicas),
    ];
    if let Some((name, _)) = limits.into_iter().find(|(_, limit)| *limit == 0) {
        return Err(SettingsError::Zero { name });
    }
    let connection = Arc::new(Connection::open(&settings, clock, rng).await?);
    let dead_letters =
        Arc::new(JetStreamDeadLetters::new(Arc::clone(&connection), settings.clone()));
    let shared = Arc::new(Shared {
        in_flight: Semaphore::new(settings.in_flight_max),
        lanes: (0..LANE_LOCKS).map(|_| tokio::sync::Mutex::new(())).collect(),
        end: watch::Sender::new(Offset::default()),
        queued: AtomicUsize::new(0),
        drained: Notify::new(),
        closing: AtomicBool::new(false),
        counters: Counters::default(),
        known: Mutex::new(Known::default()),
        trim: Notify::new(),
        open: OpenNames::default(),
        full: AtomicBool::new(false),
        connection,
        settings,
    });
    let mut tasks = Tasks::new();
    tasks.spawn("jetstream", follow::follow(Arc::clone(&shared), Arc::clone(&dead_letters)));
    let log = Arc::new(JetStreamLog { shared, tasks: Mutex::new(Some(tasks)) });
    Ok(JetStream { log, dead_letters })
}

/// An [`EventLog`] on a stream of JetStream.
///
/// Order: an event is published once the one before it in its lane is acknowledged; lanes go side by side. Durability is
/// the server's: it acknowledges what a majority of the stream's servers has written.
pub struct JetStreamLog {
    shared: Arc<Shared>,
    tasks: Mutex<Option<Tasks>>,
}

impl fmt::Debug for JetStreamLog {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamLog").field("stats", &self.shared.stats()).finish_non_exhaustive()
    }
}

impl JetStreamLog {
    /// Takes no more events, waits for those that are on their way, and closes the connection. Consumers and dead letters
    /// answer [`LogError::Closed`] from then on. Returns after at most `timeout`, and whether nothing was left.
    pub async fn close(&self, timeout: Duration) -> bool {
        let shared = &self.shared;
        let deadline = shared.connection.deadline(timeout);
        shared.closing.store(true, Ordering::SeqCst);
        let idle = tokio::select! {
            biased;
            () = shared.idle() => true,
            () = shared.connection.clock.sleep_until(deadline) => false,
        };
        shared.connection.set_closed();
        let tasks = self.tasks.lock().take();
        if let Some(mut tasks) = tasks {
            tasks.abort_all();
            while tasks.join_next().await.is_some() {}
        }
        // What is on its way to the server gets there; nothing waits for an answer any more.
        let drained = tokio::select! {
            biased;
            drained = shared.connection.client().drain() => drained.is_ok(),
            () = shared.connection.clock.sleep_until(deadline) => false,
        };
        idle && drained
    }
}

impl EventLog for JetStreamLog {
    fn append(&self, batch: Batch) -> BoxFuture<'_, Result<Vec<Outcome>, LogError>> {
        self.shared.append(batch).boxed()
    }

    fn bounds(&self) -> BoxFuture<'_, Result<Bounds, LogError>> {
        async {
            self.shared.ready().await?;
            self.shared.bounds().await
        }
        .boxed()
    }

    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Page, LogError>> {
        self.shared.read(from, limits).boxed()
    }

    fn offset_at(&self, time: Timestamp) -> BoxFuture<'_, Result<Offset, LogError>> {
        async move {
            self.shared.ready().await?;
            self.shared.offset_at(time, crate::message::Stored::received_at).await
        }
        .boxed()
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.shared.end.subscribe()
    }

    fn consumer(
        &self,
        config: ConsumerConfig,
    ) -> BoxFuture<'_, Result<Box<dyn Consumer>, LogError>> {
        async move {
            self.shared.ready().await?;
            let redelivered = self.shared.redelivered(&config.name);
            let consumer = JetStreamConsumer::open(
                Arc::clone(&self.shared.connection),
                &self.shared.settings,
                config,
                &self.tasks,
                &self.shared.open,
                redelivered,
            )
            .await?;
            Ok(Box::new(consumer) as Box<dyn Consumer>)
        }
        .boxed()
    }

    fn stats(&self) -> LogStats {
        self.shared.stats()
    }

    fn refusal(&self) -> Option<String> {
        let state = self.shared.connection.state();
        if self.shared.closing.load(Ordering::Relaxed) {
            return Some(LogError::Closed.to_string());
        }
        if !state.is_usable() {
            return Some(state.refusal());
        }
        if self.shared.full.load(Ordering::Relaxed) {
            return Some(self.shared.full_error().to_string());
        }
        None
    }
}

#[derive(Debug)]
struct Shared {
    connection: Arc<Connection>,
    settings: Settings,
    /// One permit for each message whose acknowledgement is waited for.
    in_flight: Semaphore,
    /// Each lane has one of them, held while an event of it is on its way. Taken before `in_flight`.
    lanes: Box<[tokio::sync::Mutex<()>]>,
    end: watch::Sender<Offset>,
    /// Events in appends that have not returned.
    queued: AtomicUsize,
    /// Told when there are none.
    drained: Notify,
    /// Whether no more events are taken.
    closing: AtomicBool,
    counters: Counters,
    known: Mutex<Known>,
    /// Asks for room.
    trim: Notify,
    open: OpenNames,
    /// Whether the stream refused an event because it is full.
    full: AtomicBool,
}

#[derive(Debug, Default)]
struct Counters {
    stored: AtomicU64,
    duplicates: AtomicU64,
    conflicts: AtomicU64,
}

/// What was last heard of the stream.
#[derive(Debug, Default)]
struct Known {
    stream: streams::StreamState,
    lag: BTreeMap<String, u64>,
    /// Up to where each durable consumer has read, when last asked.
    read_to: BTreeMap<String, u64>,
    /// Who needs what would have to be removed to make room.
    blocked_by: Option<String>,
    redelivered: BTreeMap<String, Arc<AtomicU64>>,
}

impl Shared {
    /// Waits until the stream can be used, for as long as a request may take.
    async fn ready(&self) -> Result<u64, LogError> {
        self.connection.usable(self.connection.deadline(self.settings.request_timeout)).await
    }

    /// Completes once no append is under way.
    async fn idle(&self) {
        loop {
            let drained = self.drained.notified();
            tokio::pin!(drained);
            // Registered before the check, so that the last one to end is not missed.
            drained.as_mut().enable();
            if self.queued.load(Ordering::SeqCst) == 0 {
                return;
            }
            drained.await;
        }
    }

    async fn bounds(&self) -> Result<Bounds, LogError> {
        let state = streams::state(&self.connection, &self.settings.stream.name)
            .await
            .map_err(ApiError::into_unavailable)?;
        self.learn(state);
        Ok(Bounds { first: Offset(state.first), end: Offset(state.end) })
    }

    fn learn(&self, state: streams::StreamState) {
        self.known.lock().stream = state;
        self.advance(Offset(state.end));
    }

    /// Says that the log reaches up to `end`.
    fn advance(&self, end: Offset) {
        self.end.send_if_modified(|known| {
            let moved = end > *known;
            if moved {
                *known = end;
            }
            moved
        });
    }

    /// Returns what counts the repeated deliveries of a consumer, the same each time it is opened.
    fn redelivered(&self, consumer: &str) -> Arc<AtomicU64> {
        let mut known = self.known.lock();
        if !known.redelivered.contains_key(consumer) && known.redelivered.len() >= CONSUMERS_MAX {
            return Arc::default();
        }
        Arc::clone(known.redelivered.entry(consumer.to_owned()).or_default())
    }

    fn full_error(&self) -> LogError {
        match &self.known.lock().blocked_by {
            Some(consumer) => LogError::Full { consumer: consumer.clone() },
            None => LogError::Unavailable {
                reason: "the stream is full, and its oldest events are being removed".to_owned(),
                retry_after: crate::connection::RETRY_AFTER,
            },
        }
    }

    fn stats(&self) -> LogStats {
        let known = self.known.lock();
        let load = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
        let end = *self.end.borrow();
        let redelivered =
            known.redelivered.iter().map(|(name, count)| (name.clone(), load(count))).collect();
        LogStats {
            bounds: Bounds { first: Offset(known.stream.first), end },
            bytes: known.stream.bytes,
            stored: load(&self.counters.stored),
            duplicates: load(&self.counters.duplicates),
            conflicts: load(&self.counters.conflicts),
            // The server remembers them.
            keys: 0,
            keys_memory_bytes: 0,
            in_flight: self.queued.load(Ordering::Relaxed) as u64,
            consumer_lag: known.lag.clone(),
            redelivered,
            connected: self.connection.state().connected,
        }
    }
}
