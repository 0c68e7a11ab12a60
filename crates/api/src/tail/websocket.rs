//! Events over WebSocket: a message each.

use std::sync::Arc;
use std::time::Duration;

use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::response::Response;
use events::TailBatch;
use futures_util::StreamExt as _;
use platform::Clock;

use super::follower::{End, Follower, Step};
use super::spelling;
use crate::json::Json;
use crate::live::into_text;
use crate::serve::Upgrades;

/// How often a connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a connection may be silent; it answers every ping.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a message may take to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message of a client, in bytes; what it says is ignored.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most bytes that wait for a client: the longest message has to fit.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// Returns the answer that begins a WebSocket.
pub(super) fn answer(
    upgrade: WebSocketUpgrade,
    upgrades: Upgrades,
    follower: Follower,
) -> Response {
    let upgrade = upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .max_write_buffer_size(WAITING_BYTES_MAX);
    // The accept loop owns the connection from here on.
    upgrade.on_upgrade(move |socket| upgrades.hand_over(run(socket, follower)))
}

async fn run(socket: WebSocket, follower: Follower) {
    let clock = Arc::clone(&follower.caller().app.clock);
    let mut connection = Connection::new(socket, clock);
    let end = connection.pass_on(follower).await;
    let close = match end {
        Ok(End::Done) => Some((close_code::NORMAL, "there is no more")),
        Ok(End::Stopping) => Some((close_code::AWAY, "the server is stopping")),
        Ok(End::Refused(code)) => Some((close_code::POLICY, code)),
        Ok(End::Failed) => Some((close_code::ERROR, "events could not be read")),
        Err(Gone) => None,
    };
    if let Some((code, reason)) = close {
        let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
        // A client that is gone needs no goodbye.
        drop(connection.send(Message::Close(Some(frame))).await);
    }
}

/// The client went away, or does not read.
struct Gone;

/// What happens on a connection.
enum Happening {
    Step(Box<Follower>, Step),
    Received(Option<Result<Message, axum::Error>>),
    Due,
}

struct Connection {
    socket: WebSocket,
    clock: Arc<dyn Clock>,
    next_ping: Duration,
    last_heard: Duration,
}

impl Connection {
    fn new(socket: WebSocket, clock: Arc<dyn Clock>) -> Self {
        let now = clock.monotonic();
        Self { socket, clock, next_ping: now + PING_INTERVAL, last_heard: now }
    }

    /// Sends what happens until it is over.
    async fn pass_on(&mut self, follower: Follower) -> Result<End, Gone> {
        let mut stepping = Box::pin(step(Box::new(follower)));
        loop {
            let due = self.next_ping.min(self.last_heard + SILENCE_MAX);
            let happening = tokio::select! {
                biased;
                (follower, step) = stepping.as_mut() => Happening::Step(follower, step),
                received = self.socket.next() => Happening::Received(received),
                () = self.clock.sleep_until(due) => Happening::Due,
            };
            match happening {
                Happening::Step(_, Step::End(end)) => return Ok(end),
                Happening::Step(follower, Step::Batch(batch)) => {
                    self.send_all(&batch).await?;
                    stepping = Box::pin(step(follower));
                }
                // Pings say that the connection lives.
                Happening::Step(follower, Step::Beat) => stepping = Box::pin(step(follower)),
                Happening::Received(Some(Ok(Message::Close(_)) | Err(_)) | None) => {
                    return Err(Gone);
                }
                Happening::Received(Some(Ok(_))) => self.last_heard = self.clock.monotonic(),
                Happening::Due => self.ping().await?,
            }
        }
    }

    async fn ping(&mut self) -> Result<(), Gone> {
        let now = self.clock.monotonic();
        if now >= self.last_heard + SILENCE_MAX {
            return Err(Gone);
        }
        self.next_ping = now + PING_INTERVAL;
        self.send(Message::Ping(bytes::Bytes::new())).await
    }

    async fn send_all(&mut self, batch: &TailBatch) -> Result<(), Gone> {
        let mut json = Json::new();
        spelling::gap(&mut json, batch, ["", ""]);
        if !json.is_empty() {
            self.send(into_message(json)).await?;
        }
        for event in batch.events() {
            let mut json = Json::new();
            spelling::event(&mut json, event);
            self.send(into_message(json)).await?;
        }
        Ok(())
    }

    async fn send(&mut self, message: Message) -> Result<(), Gone> {
        let deadline = self.clock.monotonic() + SEND_TIMEOUT;
        tokio::select! {
            biased;
            sent = self.socket.send(message) => sent.map_err(|_| Gone),
            () = self.clock.sleep_until(deadline) => Err(Gone),
        }
    }
}

/// Keeps the follower while it waits: what it has begun to read is not lost when the client says something.
async fn step(mut follower: Box<Follower>) -> (Box<Follower>, Step) {
    let step = follower.step().await;
    (follower, step)
}

fn into_message(json: Json) -> Message {
    Message::Text(into_text(json))
}
