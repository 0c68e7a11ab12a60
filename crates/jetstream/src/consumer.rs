//! A reader of the stream whose position the server keeps.

mod acks;
pub(crate) mod pull;
mod seen;

use std::collections::{BTreeMap, BTreeSet, VecDeque};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use async_nats::Subject;
use async_nats::jetstream::AckKind;
use events::{Consumer, ConsumerConfig, Delivery, FetchLimits, LogError, Offset, Settlement};
use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use platform::Tasks;
use serde_json::{Value, json};
use tracing::{info, warn};

use self::acks::Acks;
use self::pull::{Arrival, Pull, PullRequest, Pulled};
use self::seen::Seen;
use crate::connection::{ApiError, Connection, RETRY_AFTER};
use crate::message::{EVENTS_FILTER, FINGERPRINT};
use crate::settings::Settings;

/// Most messages that one request to the server asks for.
const PULL_MESSAGES_MAX: usize = 1_000;

/// The longest pause after a request that failed.
const RETRY_WAIT_MAX: Duration = Duration::from_secs(2);

/// JetStream says that a consumer does not exist.
const CONSUMER_NOT_FOUND: u64 = 10_014;

/// A durable pull consumer with explicit acknowledgement.
///
/// What is settled as done is confirmed by the server in the background, again and again until it is;
/// [`Consumer::flush`] waits for it. Several processes can read under one name: each event goes to one of them, and the
/// order within a lane then holds in each process, not across them.
///
/// The server delivers in order and at least once. An event that was stored twice in spite of its key, because it came
/// again after the server's window, is delivered once where both are within the last [`seen::KEYS_MAX`] keys of this
/// reader's life; the rest is skipped and counted.
pub(crate) struct JetStreamConsumer {
    name: String,
    stream: String,
    config: ConsumerConfig,
    connection: Arc<Connection>,
    fetching: tokio::sync::Mutex<Fetching>,
    /// Where to say what became of an entry that was handed out and not settled, by offset.
    open: Mutex<BTreeMap<u64, Subject>>,
    acks: Arc<Acks>,
    redelivered: Arc<AtomicU64>,
    _name: OpenName,
}

/// The names under which this process reads.
pub(crate) type OpenNames = Arc<Mutex<BTreeSet<String>>>;

/// A name that nobody else in this process reads under until this is dropped.
struct OpenName {
    names: OpenNames,
    name: String,
}

impl OpenName {
    fn take(names: &OpenNames, name: &str) -> Result<Self, LogError> {
        if !names.lock().insert(name.to_owned()) {
            return Err(LogError::Consumer {
                name: name.to_owned(),
                reason: "it is open already".to_owned(),
            });
        }
        Ok(Self { names: Arc::clone(names), name: name.to_owned() })
    }
}

impl Drop for OpenName {
    fn drop(&mut self) {
        self.names.lock().remove(&self.name);
    }
}

/// What was fetched and not handed out; survives a fetch that is cancelled.
#[derive(Default)]
struct Fetching {
    pull: Option<Pull>,
    buffer: Buffer,
    seen: Seen,
    failures: u32,
}

/// What has come and was not handed out. As much as one request of [`Pull`] brings, and what a fetch left.
#[derive(Default)]
struct Buffer {
    arrivals: VecDeque<Arrival>,
    bytes: usize,
}

impl Buffer {
    fn is_empty(&self) -> bool {
        self.arrivals.is_empty()
    }

    fn is_full(&self, limits: FetchLimits) -> bool {
        let count = self.arrivals.len();
        count >= limits.entries_max.max(1) || (count > 0 && self.bytes >= limits.bytes_max)
    }

    /// Adds what has come; what comes again takes the place of what came before.
    fn push(&mut self, arrival: Arrival) {
        let sequence = arrival.message.sequence;
        if arrival.attempt > 1
            && let Some(known) =
                self.arrivals.iter_mut().find(|known| known.message.sequence == sequence)
        {
            *known = arrival;
            return;
        }
        self.bytes = self.bytes.saturating_add(arrival.message.payload.len());
        self.arrivals.push_back(arrival);
    }

    fn pop_if(&mut self, wanted: impl FnOnce(&Arrival) -> bool) -> Option<Arrival> {
        let arrival = self.arrivals.pop_front_if(|oldest| wanted(oldest))?;
        self.bytes = self.bytes.saturating_sub(arrival.message.payload.len());
        Some(arrival)
    }
}

impl fmt::Debug for JetStreamConsumer {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("JetStreamConsumer").field("name", &self.name).finish_non_exhaustive()
    }
}

impl Drop for JetStreamConsumer {
    fn drop(&mut self) {
        // What was not settled is delivered again at once, to whoever reads next under this name.
        let mut replies: Vec<_> = std::mem::take(self.open.get_mut()).into_iter().collect();
        let buffer = std::mem::take(&mut self.fetching.get_mut().buffer).arrivals;
        replies.extend(buffer.into_iter().map(|arrival| (arrival.message.sequence, arrival.reply)));
        for (offset, reply) in replies {
            self.acks.push(offset, reply, AckKind::Nak(None));
        }
        self.acks.finish();
    }
}

impl JetStreamConsumer {
    pub(crate) async fn open(
        connection: Arc<Connection>,
        settings: &Settings,
        config: ConsumerConfig,
        tasks: &Mutex<Option<Tasks>>,
        names: &OpenNames,
        redelivered: Arc<AtomicU64>,
    ) -> Result<Self, LogError> {
        let name = OpenName::take(names, &config.name)?;
        let stream = settings.stream.name.clone();
        ensure(&connection, &stream, &config).await?;
        let acks = Arc::new(Acks::new(Arc::clone(&connection)));
        // A task of the log, not of the consumer: what was settled last is confirmed also when the consumer is gone.
        match &mut *tasks.lock() {
            Some(tasks) => tasks.spawn("acknowledgements", Arc::clone(&acks).run()),
            None => return Err(LogError::Closed),
        }
        Ok(Self {
            name: config.name.clone(),
            stream,
            config,
            connection,
            fetching: tokio::sync::Mutex::default(),
            open: Mutex::default(),
            acks,
            redelivered,
            _name: name,
        })
    }

    async fn fetch_some(&self, limits: FetchLimits) -> Result<Vec<Delivery>, LogError> {
        let deadline = self.connection.deadline(limits.wait_max);
        let mut fetching = self.fetching.lock().await;
        self.let_go_of_stale(&mut fetching);
        loop {
            let is_at_rest = fetching.pull.is_none() && !fetching.buffer.is_empty();
            if is_at_rest || fetching.buffer.is_full(limits) {
                return Ok(self.hand_out(&mut fetching.buffer, limits));
            }
            let pulled = match &mut fetching.pull {
                Some(pull) => pull.next(&self.connection).await,
                None => match self.begin(&mut fetching, limits, deadline).await {
                    Ok(()) => continue,
                    Err(LogError::Closed) => return Err(LogError::Closed),
                    Err(error) => Pulled::Failed(error),
                },
            };
            let is_over = matches!(pulled, Pulled::End);
            let failure = match pulled {
                Pulled::Message(message) => {
                    fetching.failures = 0;
                    self.take_in(&mut fetching, message);
                    continue;
                }
                Pulled::End | Pulled::Busy => {
                    fetching.failures = 0;
                    None
                }
                Pulled::Failed(error) => {
                    fetching.failures = fetching.failures.saturating_add(1);
                    Some(error)
                }
            };
            fetching.pull = None;
            if !fetching.buffer.is_empty() {
                continue;
            }
            if self.connection.clock.monotonic() >= deadline {
                return failure.map_or_else(|| Ok(Vec::new()), Err);
            }
            if !is_over {
                // Where as much as may be is delivered, the server says so at once, however long it was to wait.
                let failures = fetching.failures.saturating_sub(1);
                self.connection.sleep(self.connection.backoff(failures, RETRY_WAIT_MAX)).await;
            }
        }
    }

    async fn begin(
        &self,
        fetching: &mut Fetching,
        limits: FetchLimits,
        deadline: Duration,
    ) -> Result<(), LogError> {
        self.connection.usable(deadline.max(self.connection.deadline(RETRY_AFTER))).await?;
        if fetching.failures > 0 {
            // A server says nothing to who asks for messages of a consumer that is gone.
            ensure(&self.connection, &self.stream, &self.config).await?;
        }
        let wait = deadline.saturating_sub(self.connection.clock.monotonic());
        let request = PullRequest {
            stream: &self.stream,
            consumer: &self.name,
            count: limits.entries_max.clamp(1, PULL_MESSAGES_MAX),
            bytes: limits.bytes_max,
            wait,
        };
        let pull = Pull::begin(&self.connection, request).await;
        fetching.pull = Some(pull.map_err(ApiError::into_unavailable)?);
        Ok(())
    }

    /// Lets go of what an earlier fetch left behind so long ago that the server is about to deliver it again: it would be
    /// handed out twice.
    fn let_go_of_stale(&self, fetching: &mut Fetching) {
        let now = self.connection.clock.monotonic();
        let is_stale = |since: Duration| now.saturating_sub(since) > self.config.ack_wait / 2;
        if fetching.pull.as_ref().is_some_and(|pull| is_stale(pull.polled_at)) {
            fetching.pull = None;
        }
        while let Some(arrival) = fetching.buffer.pop_if(|oldest| is_stale(oldest.at)) {
            self.acks.push(arrival.message.sequence, arrival.reply, AckKind::Nak(None));
        }
    }

    fn take_in(&self, fetching: &mut Fetching, arrival: Arrival) {
        let offset = arrival.message.sequence;
        if self.acks.is_done(offset) {
            // It came again because its acknowledgement was late or lost.
            self.acks.push(offset, arrival.reply, AckKind::Ack);
            return;
        }
        if let Some(id) = arrival.message.message_id()
            && fetching.seen.is_repetition(id, arrival.message.header(FINGERPRINT), offset)
        {
            let skipped = fetching.seen.skipped;
            if skipped.is_power_of_two() {
                warn!(
                    consumer = self.name,
                    offset, skipped, "skipped an event that was stored twice"
                );
            }
            self.acks.push(offset, arrival.reply, AckKind::Ack);
            return;
        }
        if arrival.attempt > 1 {
            self.redelivered.fetch_add(1, Ordering::Relaxed);
        }
        fetching.buffer.push(arrival);
    }

    fn hand_out(&self, buffer: &mut Buffer, limits: FetchLimits) -> Vec<Delivery> {
        let mut open = self.open.lock();
        let mut deliveries = Vec::new();
        let mut bytes = 0_usize;
        while deliveries.len() < limits.entries_max.max(1) {
            let Some(Arrival { message, reply, attempt, .. }) = buffer.pop_if(|_| true) else {
                break;
            };
            bytes = bytes.saturating_add(message.payload.len());
            let offset = Offset(message.sequence);
            open.insert(offset.0, reply);
            deliveries.push(Delivery { offset, attempt, body: message.body() });
            if bytes >= limits.bytes_max {
                break;
            }
        }
        deliveries
    }

    async fn settle_one(&self, offset: Offset, settlement: Settlement) -> Result<(), LogError> {
        if self.connection.state().closed {
            return Err(LogError::Closed);
        }
        let kind = match settlement {
            Settlement::Done => AckKind::Ack,
            Settlement::Retry { delay } => AckKind::Nak(Some(delay)),
            Settlement::InProgress => {
                let reply = self.open.lock().get(&offset.0).cloned();
                let Some(reply) = reply else { return Ok(()) };
                let sent = self.connection.client().publish(reply, AckKind::Progress.into()).await;
                return sent.map_err(|error| LogError::Unavailable {
                    reason: error.to_string(),
                    retry_after: RETRY_AFTER,
                });
            }
        };
        if let Some(reply) = self.open.lock().remove(&offset.0) {
            self.acks.push(offset.0, reply, kind);
        }
        Ok(())
    }
}

impl Consumer for JetStreamConsumer {
    fn fetch(&self, limits: FetchLimits) -> BoxFuture<'_, Result<Vec<Delivery>, LogError>> {
        self.fetch_some(limits).boxed()
    }

    fn settle(
        &self,
        offset: Offset,
        settlement: Settlement,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        self.settle_one(offset, settlement).boxed()
    }

    /// Waits until the server has confirmed everything that was settled, for as long as an append may take.
    fn flush(&self) -> BoxFuture<'_, Result<(), LogError>> {
        self.acks.flush().boxed()
    }
}

/// Makes the consumer, or changes the one that is there.
///
/// One that the original made delivers five times and waits half a minute; both lost events, so both are changed.
async fn ensure(
    connection: &Connection,
    stream: &str,
    config: &ConsumerConfig,
) -> Result<(), LogError> {
    let name = &config.name;
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'_' || byte == b'-';
    if name.is_empty() || name.len() > 64 || !name.bytes().all(valid) {
        return Err(LogError::Consumer {
            name: name.clone(),
            reason: "a name has 1 to 64 letters, digits, '_' and '-'".to_owned(),
        });
    }
    let info = format!("CONSUMER.INFO.{stream}.{name}");
    let existing = match connection.api(&info, &Value::Null).await {
        Ok(answer) => answer["config"].clone(),
        Err(ApiError::Refused { code: CONSUMER_NOT_FOUND, .. }) => Value::Null,
        Err(error) => return Err(error.into_unavailable()),
    };
    let wanted = wanted(&existing, config);
    if wanted == existing {
        return Ok(());
    }
    let request = json!({ "stream_name": stream, "config": wanted });
    let create = format!("CONSUMER.CREATE.{stream}.{name}.{EVENTS_FILTER}");
    connection.api(&create, &request).await.map_err(ApiError::into_unavailable)?;
    info!(consumer = name, changed = !existing.is_null(), "made a consumer");
    Ok(())
}

fn wanted(existing: &Value, config: &ConsumerConfig) -> Value {
    let mut wanted = match existing {
        Value::Object(existing) => existing.clone(),
        _ => serde_json::Map::new(),
    };
    for more in ["filter_subjects", "backoff"] {
        wanted.remove(more);
    }
    let ack_wait = i64::try_from(config.ack_wait.as_nanos()).unwrap_or(i64::MAX);
    for (setting, value) in [
        ("durable_name", json!(config.name)),
        ("name", json!(config.name)),
        ("filter_subject", json!(EVENTS_FILTER)),
        ("ack_policy", json!("explicit")),
        ("ack_wait", json!(ack_wait)),
        // Attempts are bounded by whoever reads, and what is given up goes to the dead letters first.
        ("max_deliver", json!(-1)),
        ("max_ack_pending", json!(config.in_flight_max)),
    ] {
        wanted.insert(setting.to_owned(), value);
    }
    for (setting, value) in [("deliver_policy", "all"), ("replay_policy", "instant")] {
        wanted.entry(setting).or_insert_with(|| json!(value));
    }
    Value::Object(wanted)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_consumer_of_the_original_loses_what_lost_events_and_keeps_the_rest() {
        let existing = json!({
            "durable_name": "warehouse-sink", "name": "warehouse-sink", "deliver_policy": "all",
            "ack_policy": "explicit", "ack_wait": 30_000_000_000_i64, "max_deliver": 5, "filter_subject": ">",
            "replay_policy": "instant", "max_waiting": 512, "max_ack_pending": 10_000, "backoff": [1],
        });
        let config = ConsumerConfig::new("warehouse-sink");
        let changed = wanted(&existing, &config);
        assert_eq!(
            changed,
            json!({
                "durable_name": "warehouse-sink", "name": "warehouse-sink", "deliver_policy": "all",
                "ack_policy": "explicit", "ack_wait": 60_000_000_000_i64, "max_deliver": -1,
                "filter_subject": "events.>", "replay_policy": "instant", "max_waiting": 512,
                "max_ack_pending": 10_000,
            })
        );
        assert_eq!(wanted(&changed, &config), changed);
    }
}
