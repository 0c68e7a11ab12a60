//! What could not be processed, on a stream of its own.
//!
//! A dead letter is a message under `dlq.` and the subject that it was published to; one that is on its way back is a
//! message under `dlq.replay.`, the consumer and that subject. Moving it is publishing it anew and then deleting the old
//! message, so that a crash in between leaves it twice, not nowhere; whoever reads the stream next deletes the older one.
//! It keeps its identifier, the position of its first message, in a header.

mod index;
mod letter;

use std::sync::Arc;
use std::time::Duration;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use events::{
    DeadLetter, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState,
    DeadLetters, LogError, NewDeadLetter,
};
use futures_util::future::BoxFuture;
use futures_util::{FutureExt as _, StreamExt as _, TryStreamExt as _, stream};
use model::TenantId;
use parking_lot::Mutex;
use serde_json::{Value, json};
use tracing::{info, warn};

use self::index::{Index, Slot};
use crate::connection::{Acknowledgement, ApiError, Connection, RETRY_AFTER};
use crate::consumer::pull::{Pull, PullRequest, Pulled};
use crate::message::Stored;
use crate::settings::Settings;
use crate::streams::{self, StreamState};

/// How many letters are fetched at once.
const FETCH_AHEAD: usize = 32;

/// Bytes of letters after which no further one is returned.
const PAGE_BYTES_MAX: usize = 16 << 20;

/// How many messages of the stream one request asks for when it is read as a whole.
const SCAN_MESSAGES: usize = 1_000;

/// How many bytes, of headers: bodies stay where they are.
const SCAN_BYTES: usize = 8 << 20;

/// Bytes of a message that are kept free for headers: more than those of a letter can be.
const HEADERS_BYTES_MAX: usize = 8_192;

/// The longest pause before a letter is sent again.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);

/// JetStream could not store a message, most often because the stream is full.
const STORE_FAILED: u64 = 10_077;

/// So begins what it says when that is a limit of the stream, and not its disk.
const LIMIT_REACHED: &str = "maximum ";

/// Most letters that go to make room for one: a long one can need the room of several short ones.
const DISPLACED_MAX: usize = 64;

/// How long the server keeps the reader of a scan that is not used any more.
const SCAN_INACTIVE_MAX: Duration = Duration::from_secs(30);

/// [`DeadLetters`] on a stream of JetStream.
///
/// Which letters there are is kept in memory, and asked for every few seconds, since others put and discard them, too.
///
/// When there are too many, the oldest of the tenant with the most goes, and the log says so, as in the embedded engine:
/// refusing the new one would stop the consumer that gives it up, for all tenants.
#[derive(Debug)]
pub struct JetStreamDeadLetters {
    connection: Arc<Connection>,
    settings: Settings,
    index: Mutex<Index>,
}

impl JetStreamDeadLetters {
    pub(crate) fn new(connection: Arc<Connection>, settings: Settings) -> Self {
        Self { connection, settings, index: Mutex::default() }
    }

    fn stream_name(&self) -> &str {
        &self.settings.dead_letters.name
    }

    /// Reads which letters there are from the whole stream.
    pub(crate) async fn rebuild(&self) -> Result<(), ApiError> {
        let state = streams::state(&self.connection, self.stream_name()).await?;
        let mut index = Index::default();
        let superseded = self.scan(&mut index, &state).await?;
        *self.index.lock() = index;
        for sequence in superseded {
            self.delete(sequence).await?;
        }
        Ok(())
    }

    /// Reads which letters came and went since.
    pub(crate) async fn refresh(&self) -> Result<(), ApiError> {
        let state = streams::state(&self.connection, self.stream_name()).await?;
        let mut index = self.index.lock().clone();
        if index.agrees_with(&state) {
            return Ok(());
        }
        let superseded = self.scan(&mut index, &state).await?;
        if !superseded.is_empty() || !index.agrees_with(&state) {
            // Something in the middle is gone, or there twice.
            return self.rebuild().await;
        }
        // What this process did meanwhile is in the index already and not in the copy.
        self.index.lock().merge(index);
        Ok(())
    }

    /// Adds what is behind the last message that the index has seen; returns the positions of messages that a newer one
    /// stands for.
    async fn scan(&self, index: &mut Index, state: &StreamState) -> Result<Vec<u64>, ApiError> {
        let mut superseded = Vec::new();
        let from = index.scanned_to.max(state.first);
        if from >= state.end {
            index.scanned_to = state.end;
            return Ok(superseded);
        }
        let request = json!({
            "stream_name": self.stream_name(),
            "config": {
                "deliver_policy": "by_start_sequence",
                "opt_start_seq": from,
                "ack_policy": "none",
                "replay_policy": "instant",
                "headers_only": true,
                "mem_storage": true,
                "inactive_threshold": i64::try_from(SCAN_INACTIVE_MAX.as_nanos()).unwrap_or(i64::MAX),
            },
        });
        let create = format!("CONSUMER.CREATE.{}", self.stream_name());
        let answer = self.connection.api(&create, &request).await?;
        let consumer = answer["name"].as_str().unwrap_or_default().to_owned();
        'scan: loop {
            let request = PullRequest {
                stream: self.stream_name(),
                consumer: &consumer,
                count: SCAN_MESSAGES,
                bytes: SCAN_BYTES,
                wait: Duration::ZERO,
            };
            let mut pull = Pull::begin(&self.connection, request).await?;
            let mut count = 0_usize;
            loop {
                match pull.next(&self.connection).await {
                    Pulled::Message(arrival) => {
                        count += 1;
                        let message = arrival.message;
                        superseded.extend(index.add(Slot::of(&message)));
                        index.scanned_to = message.sequence.saturating_add(1);
                        if index.scanned_to >= state.end {
                            break 'scan;
                        }
                    }
                    Pulled::Failed(error) => return Err(ApiError::NoAnswer(error.to_string())),
                    Pulled::End | Pulled::Busy if count == 0 => break 'scan,
                    Pulled::End | Pulled::Busy => break,
                }
            }
        }
        index.scanned_to = index.scanned_to.max(state.end);
        let delete = format!("CONSUMER.DELETE.{}.{consumer}", self.stream_name());
        self.connection.api(&delete, &Value::Null).await?;
        Ok(superseded)
    }

    async fn ready(&self) -> Result<(), LogError> {
        let deadline = self.connection.deadline(self.settings.request_timeout);
        self.connection.usable(deadline).await.map(|_epoch| ())
    }

    async fn put_letter(&self, letter: NewDeadLetter) -> Result<DeadLetterId, LogError> {
        let at = self.connection.clock.now();
        let mut unique = [0; 16];
        self.connection.rng.fill(&mut unique);
        let message_id = format!("dead:{:032x}", u128::from_le_bytes(unique));
        let subject = letter::subject_of(&letter, DeadLetterState::Waiting);
        let (headers, bytes) = self.message(&letter, None, at);
        let sent = self.store(&subject, &headers, &bytes, &message_id).await?;
        let slot = Slot {
            id: DeadLetterId(sent.sequence),
            sequence: sent.sequence,
            tenant: letter.tenant,
            consumer: letter.consumer.into(),
            state: DeadLetterState::Waiting,
        };
        let mut index = self.index.lock();
        let id = slot.id;
        if index.get(id).is_none() {
            index.add(slot);
        }
        Ok(id)
    }

    /// Publishes a letter anew in another state, and deletes the message that it was.
    async fn transfer(
        &self,
        slot: &Slot,
        letter: DeadLetter,
        state: DeadLetterState,
    ) -> Result<(), LogError> {
        let subject = letter::subject_of(&letter.letter, state);
        let (headers, bytes) = self.message(&letter.letter, Some(slot.id), letter.at);
        let message_id = format!("move:{}:{}", slot.id.0, slot.sequence);
        let sent = self.store(&subject, &headers, &bytes, &message_id).await?;
        self.index.lock().add(Slot { sequence: sent.sequence, state, ..slot.clone() });
        self.delete(slot.sequence).await.map_err(ApiError::into_unavailable)?;
        Ok(())
    }

    /// Returns headers and body of a letter's message. What is too long for a message is cut, and says so.
    fn message(
        &self,
        letter: &NewDeadLetter,
        id: Option<DeadLetterId>,
        at: model::Timestamp,
    ) -> (HeaderMap, Bytes) {
        let limit = self.connection.client().max_payload().saturating_sub(HEADERS_BYTES_MAX);
        let stream = &self.settings.stream.name;
        if letter.bytes.len() <= limit {
            return (letter::headers(letter, stream, id, at), letter.bytes.clone());
        }
        let error = format!("{} (cut from {} bytes)", letter.error, letter.bytes.len());
        let cut = NewDeadLetter { error, ..letter.clone() };
        (letter::headers(&cut, stream, id, at), letter.bytes.slice(..limit))
    }

    async fn store(
        &self,
        subject: &str,
        headers: &HeaderMap,
        bytes: &Bytes,
        message_id: &str,
    ) -> Result<Acknowledgement, LogError> {
        let mut headers = headers.clone();
        headers.insert(NATS_MESSAGE_ID, message_id);
        let deadline = self.connection.deadline(self.settings.append_timeout);
        let (mut failures, mut displaced) = (0_u32, 0);
        loop {
            self.connection.usable(deadline).await?;
            match self.connection.publish(subject, headers.clone(), bytes.clone()).await {
                Ok(acknowledgement) => return Ok(acknowledgement),
                Err(ApiError::Refused { code: STORE_FAILED, description, .. }) => {
                    let is_full = description.starts_with(LIMIT_REACHED);
                    if is_full && displaced < DISPLACED_MAX && self.displace().await? {
                        displaced += 1;
                        continue;
                    }
                    return Err(LogError::Unavailable {
                        reason: format!("the stream of dead letters takes nothing: {description}"),
                        retry_after: RETRY_AFTER,
                    });
                }
                Err(ApiError::TooLarge { limit_bytes }) => {
                    return Err(LogError::TooLarge { bytes: bytes.len(), limit_bytes });
                }
                Err(error) => {
                    let wait = self.connection.backoff(failures, RETRY_WAIT_MAX);
                    failures = failures.saturating_add(1);
                    if self.connection.clock.monotonic().saturating_add(wait) >= deadline {
                        return Err(error.into_unavailable());
                    }
                    self.connection.sleep(wait).await;
                }
            }
        }
    }

    /// Lets a letter go to make room: the oldest of the tenant with the most. Returns false if there is none.
    async fn displace(&self) -> Result<bool, LogError> {
        let Some(slot) = self.index.lock().oldest_of_most() else { return Ok(false) };
        self.delete(slot.sequence).await.map_err(ApiError::into_unavailable)?;
        self.index.lock().remove(&slot);
        let tenant = slot.tenant.as_str();
        warn!(tenant, id = slot.id.0, "dead letter went because there are too many");
        Ok(true)
    }

    /// Returns the message at a position, as the leader knows it.
    async fn fetch(&self, sequence: u64) -> Result<Option<Stored>, LogError> {
        streams::message(&self.connection, self.stream_name(), sequence)
            .await
            .map_err(ApiError::into_unavailable)
    }

    /// Deletes a message; returns whether it was there.
    async fn delete(&self, sequence: u64) -> Result<bool, ApiError> {
        let subject = format!("STREAM.MSG.DELETE.{}", self.stream_name());
        let request = json!({ "seq": sequence });
        match self.connection.again(|| self.connection.api(&subject, &request)).await {
            Ok(answer) => Ok(answer["success"].as_bool() == Some(true)),
            // No message is found, or none can be deleted because there is none.
            Err(ApiError::Refused { code: 10_037 | 10_043 | 10_057, .. }) => Ok(false),
            Err(error) => Err(error),
        }
    }

    /// Returns where a letter is; of one that is not known it is asked whether it came lately.
    async fn find(&self, id: DeadLetterId) -> Result<Option<Slot>, LogError> {
        self.ready().await?;
        if let Some(slot) = self.index.lock().get(id).cloned() {
            return Ok(Some(slot));
        }
        self.refresh().await.map_err(ApiError::into_unavailable)?;
        Ok(self.index.lock().get(id).cloned())
    }

    async fn find_of(&self, tenant: &TenantId, id: DeadLetterId) -> Result<Option<Slot>, LogError> {
        Ok(self.find(id).await?.filter(|slot| slot.tenant == *tenant))
    }

    /// Returns the letter of a slot; `None` when somebody decided on it meanwhile.
    async fn read(&self, slot: &Slot) -> Result<Option<DeadLetter>, LogError> {
        match self.fetch(slot.sequence).await? {
            Some(message) => Ok(Some(letter::read(&message))),
            None => {
                self.index.lock().remove(slot);
                Ok(None)
            }
        }
    }

    /// Reads letters as far as the bytes of a page go; returns whether some were left.
    async fn read_some(&self, slots: Vec<Slot>) -> Result<(Vec<DeadLetter>, bool), LogError> {
        let read = stream::iter(slots).map(|slot| async move { self.read(&slot).await });
        let mut read = read.buffered(FETCH_AHEAD);
        let (mut letters, mut bytes) = (Vec::new(), 0_usize);
        while let Some(letter) = read.try_next().await? {
            if bytes >= PAGE_BYTES_MAX {
                return Ok((letters, true));
            }
            let Some(letter) = letter else { continue };
            bytes = bytes.saturating_add(letter.letter.bytes.len());
            letters.push(letter);
        }
        Ok((letters, false))
    }
}

impl DeadLetters for JetStreamDeadLetters {
    fn put(&self, letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>> {
        self.put_letter(letter).boxed()
    }

    fn list(&self, query: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>> {
        async move {
            self.ready().await?;
            self.refresh().await.map_err(ApiError::into_unavailable)?;
            let (slots, more) = self.index.lock().page(&query);
            let (letters, cut) = self.read_some(slots).await?;
            Ok(DeadLetterPage { letters, more: more || cut })
        }
        .boxed()
    }

    fn get(
        &self,
        tenant: TenantId,
        id: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>> {
        async move {
            match self.find_of(&tenant, id).await? {
                Some(slot) => self.read(&slot).await,
                None => Ok(None),
            }
        }
        .boxed()
    }

    fn discard(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        async move {
            let Some(slot) = self.find_of(&tenant, id).await? else { return Ok(false) };
            let deleted = self.delete(slot.sequence).await.map_err(ApiError::into_unavailable)?;
            self.index.lock().remove(&slot);
            Ok(deleted)
        }
        .boxed()
    }

    fn replay(&self, tenant: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        async move {
            let Some(slot) = self.find_of(&tenant, id).await? else { return Ok(false) };
            if slot.state == DeadLetterState::Replaying {
                return Ok(true);
            }
            let Some(letter) = self.read(&slot).await? else { return Ok(false) };
            self.transfer(&slot, letter, DeadLetterState::Replaying).await?;
            info!(consumer = &*slot.consumer, id = id.0, "dead letter goes back to its consumer");
            Ok(true)
        }
        .boxed()
    }

    fn replaying(
        &self,
        consumer: &str,
        limit: usize,
    ) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>> {
        let slots = self.index.lock().replaying(consumer, limit);
        async move {
            if slots.is_empty() {
                return Ok(Vec::new());
            }
            self.ready().await?;
            Ok(self.read_some(slots).await?.0)
        }
        .boxed()
    }

    fn give_back(&self, id: DeadLetterId, error: String) -> BoxFuture<'_, Result<(), LogError>> {
        async move {
            let Some(slot) = self.find(id).await? else { return Ok(()) };
            if slot.state == DeadLetterState::Waiting {
                return Ok(());
            }
            let Some(mut letter) = self.read(&slot).await? else { return Ok(()) };
            letter.letter.attempts = letter.letter.attempts.saturating_add(1);
            letter.letter.error = error;
            self.transfer(&slot, letter, DeadLetterState::Waiting).await
        }
        .boxed()
    }

    fn depths(&self) -> Vec<DeadLetterDepth> {
        self.index.lock().depths()
    }
}
