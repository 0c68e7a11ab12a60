//! One request for messages, and what comes of it.

use std::time::Duration;

use async_nats::jetstream;
use async_nats::{StatusCode, Subject, Subscriber};
use bytes::Bytes;
use events::LogError;
use futures_util::StreamExt as _;
use serde_json::json;

use crate::connection::{ApiError, Connection, RETRY_AFTER};
use crate::message::Stored;
use crate::streams;

/// How much longer than it was told the server may take to end a request.
const GRACE: Duration = Duration::from_secs(2);

/// What the server counts beside body and headers: subject, and where to acknowledge.
const OVERHEAD_BYTES: usize = 8_192;

/// What to ask for.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullRequest<'a> {
    pub(crate) stream: &'a str,
    pub(crate) consumer: &'a str,
    /// Most messages.
    pub(crate) count: usize,
    /// Most bytes, or those of one message where it is longer.
    pub(crate) bytes: usize,
    /// How long to wait for the first message.
    pub(crate) wait: Duration,
}

/// A request for messages: as many as there are, or the first ones that come.
pub(crate) struct Pull {
    subscriber: Subscriber,
    left: usize,
    epoch: u64,
    deadline: Duration,
    /// When somebody last looked at what came, by the monotonic clock.
    pub(crate) polled_at: Duration,
}

/// A message with where to say what became of it.
pub(crate) struct Arrival {
    pub(crate) message: Stored,
    pub(crate) reply: Subject,
    /// How often it was delivered, this time included.
    pub(crate) attempt: u32,
    /// When it came, by the monotonic clock.
    pub(crate) at: Duration,
}

/// What comes next.
pub(crate) enum Pulled {
    Message(Arrival),
    /// There is no more, or the time is over.
    End,
    /// As much as may be is delivered and not settled.
    Busy,
    Failed(LogError),
}

impl Pull {
    /// Asks for messages, and to wait for the first one.
    pub(crate) async fn begin(
        connection: &Connection,
        request: PullRequest<'_>,
    ) -> Result<Self, ApiError> {
        let PullRequest { stream, consumer, count, bytes, wait } = request;
        let client = connection.client();
        let epoch = connection.state().epoch;
        let inbox = client.new_inbox();
        let failed = |error: &dyn std::error::Error| ApiError::NoAnswer(error.to_string());
        let subscriber = client.subscribe(inbox.clone()).await.map_err(|error| failed(&error))?;
        // The server delivers nothing when the next message alone is longer.
        let bytes = bytes.max(client.max_payload()).saturating_add(OVERHEAD_BYTES);
        let bytes = i32::try_from(bytes).unwrap_or(i32::MAX);
        let mut request = json!({ "batch": count, "max_bytes": bytes, "no_wait": true });
        if !wait.is_zero() {
            let nanos = i64::try_from(wait.as_nanos()).unwrap_or(i64::MAX);
            request["expires"] = json!(nanos);
        }
        let subject = format!("$JS.API.CONSUMER.MSG.NEXT.{stream}.{consumer}");
        let payload = Bytes::from(request.to_string());
        client.publish_with_reply(subject, inbox, payload).await.map_err(|error| failed(&error))?;
        let deadline = connection.deadline(wait.saturating_add(GRACE));
        let polled_at = connection.clock.monotonic();
        Ok(Self { subscriber, left: count, epoch, deadline, polled_at })
    }

    /// Returns what comes next. Cancellation safe.
    pub(crate) async fn next(&mut self, connection: &Connection) -> Pulled {
        loop {
            if self.left == 0 {
                return Pulled::End;
            }
            let message = tokio::select! {
                biased;
                message = self.subscriber.next() => message,
                () = connection.lost(self.epoch) => {
                    return failed("the connection to NATS was lost");
                }
                () = connection.clock.sleep_until(self.deadline) => {
                    return failed("NATS does not answer");
                }
            };
            self.polled_at = connection.clock.monotonic();
            let Some(message) = message else {
                return failed("the connection to NATS is closed");
            };
            match message.status {
                None => {
                    self.left -= 1;
                    match arrival(message, connection) {
                        Ok(arrival) => return Pulled::Message(arrival),
                        Err(reason) => return failed(&reason),
                    }
                }
                Some(StatusCode::IDLE_HEARTBEAT) => {}
                Some(StatusCode::NOT_FOUND | StatusCode::TIMEOUT) => return Pulled::End,
                Some(status) => {
                    let reason = message.description.map(|text| text.to_string());
                    let reason = reason.unwrap_or_else(|| status.to_string());
                    if reason.contains("MaxAckPending") {
                        return Pulled::Busy;
                    }
                    if reason.contains("MaxBytes") || reason.contains("Batch Completed") {
                        return Pulled::End;
                    }
                    return failed(&format!("NATS delivers nothing: {reason}"));
                }
            }
        }
    }
}

fn failed(reason: &str) -> Pulled {
    Pulled::Failed(LogError::Unavailable { reason: reason.to_owned(), retry_after: RETRY_AFTER })
}

fn arrival(message: async_nats::Message, connection: &Connection) -> Result<Arrival, String> {
    let context = jetstream::new(connection.client().clone());
    let message = jetstream::Message { message, context };
    let info = message.info().map_err(|error| error.to_string())?;
    let sequence = info.stream_sequence;
    let attempt = u32::try_from(info.delivered).unwrap_or(u32::MAX);
    let published_at = streams::time(info.published);
    let message = message.message;
    let reply = message.reply.ok_or("a message without address for its acknowledgement")?;
    let stored = Stored {
        sequence,
        subject: message.subject.to_string(),
        headers: message.headers.unwrap_or_default(),
        payload: message.payload,
        at: published_at,
    };
    Ok(Arrival { message: stored, reply, attempt, at: connection.clock.monotonic() })
}
