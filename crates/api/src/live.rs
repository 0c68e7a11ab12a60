//! Live updates over WebSocket: what came in lately.
//!
//! `docs/live-updates.md` describes the message. Each connection is one task that alone reads and writes it, so a
//! client that does not read holds up nobody else.

use std::sync::Arc;
use std::time::Duration;

use access::Permission;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::ws::{CloseFrame, Message, Utf8Bytes, WebSocket, WebSocketUpgrade, close_code};
use axum::extract::{Extension, Request};
use axum::response::Response;
use futures_util::StreamExt as _;
use parking_lot::Mutex;
use tokio::sync::Semaphore;

use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::enforce::check_again;
use crate::failure::{Failure, NativeFailure};
use crate::gate;
use crate::legacy::write_latest;
use crate::openapi::Description;
use crate::serve::Upgrades;

/// Who may follow them.
const NEEDED: Access = Access::Needs(Permission::MetricsRead);
/// How often the newest samples are sent.
const UPDATE_INTERVAL: Duration = Duration::from_secs(5);
/// How often a connection is asked whether it lives.
const PING_INTERVAL: Duration = Duration::from_secs(30);
/// How long a connection may be silent; it answers every ping.
const SILENCE_MAX: Duration = Duration::from_secs(60);
/// How long a message may take to leave.
const SEND_TIMEOUT: Duration = Duration::from_secs(10);
/// Longest message of a client, in bytes; what it says is ignored.
const MESSAGE_BYTES_MAX: usize = 64 << 10;
/// Most bytes that wait for a client, above which it is dropped.
const WAITING_BYTES_MAX: usize = 32 << 20;

/// The newest samples as all connections get them, made once for all.
#[derive(Debug)]
pub(crate) struct Snapshot {
    /// Held by the connection that makes it: the others wait here, not among the queries.
    making: Semaphore,
    /// When it was made, and what it says. Never held across an await.
    made: Mutex<Option<(Duration, Option<Utf8Bytes>)>>,
}

impl Default for Snapshot {
    fn default() -> Self {
        Self { making: Semaphore::new(1), made: Mutex::new(None) }
    }
}

/// Returns the endpoint of live updates.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let rule = (NEEDED, Class::Live);
    let description = Description::new("metrics", "Follow the newest samples over WebSocket")
        .details("docs/live-updates.md describes the messages.")
        .answers_nothing(101, "The connection is a WebSocket now.");
    vec![Endpoint::new(Verb::Get, "/v1/ws", rule, connect).describe(description)]
}

/// Begins live updates.
pub(crate) async fn connect(
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    upgrades: Option<Extension<Upgrades>>,
    _request: Request,
) -> Result<Response, NativeFailure> {
    // Whoever can upgrade came over a socket.
    let (Ok(upgrade), Some(Extension(upgrades))) = (upgrade, upgrades) else {
        let message = "live updates need a WebSocket: send Upgrade: websocket";
        return Err(Failure::bad_data(message).into());
    };
    let place = Arc::clone(&caller.app.live)
        .try_acquire_owned()
        .map_err(|_| Failure::overloaded("too many live connections; try again later"))?;
    let upgrade = upgrade
        .max_message_size(MESSAGE_BYTES_MAX)
        .max_frame_size(MESSAGE_BYTES_MAX)
        .max_write_buffer_size(WAITING_BYTES_MAX);
    // The accept loop owns the connection from here on.
    Ok(upgrade.on_upgrade(move |socket| {
        upgrades.hand_over(async move {
            let app = Arc::clone(&caller.app);
            let _counted = app.observability.stats.live.enter();
            Connection::new(caller).run(socket).await;
            drop(place);
        })
    }))
}

struct Connection {
    caller: Caller,
    next_update: Duration,
    next_ping: Duration,
    last_heard: Duration,
}

/// Why a connection ends.
enum End {
    /// The client went away, or does not read.
    Gone,
    /// We end it, and say why.
    Told(u16, &'static str),
}

impl Connection {
    fn new(caller: Caller) -> Self {
        let now = caller.app.clock.monotonic();
        Self {
            caller,
            next_update: now + UPDATE_INTERVAL,
            next_ping: now + PING_INTERVAL,
            last_heard: now,
        }
    }

    async fn run(mut self, mut socket: WebSocket) {
        let end = loop {
            if let Err(end) = self.step(&mut socket).await {
                break end;
            }
        };
        if let End::Told(code, reason) = end {
            let frame = CloseFrame { code, reason: Utf8Bytes::from_static(reason) };
            // A client that is gone needs no goodbye.
            drop(self.send(&mut socket, Message::Close(Some(frame))).await);
        }
    }

    /// Waits for the next thing to happen, and does it.
    async fn step(&mut self, socket: &mut WebSocket) -> Result<(), End> {
        let clock = Arc::clone(&self.caller.app.clock);
        let due = self.next_update.min(self.next_ping).min(self.last_heard + SILENCE_MAX);
        let mut shutdown = self.caller.app.shutdown.clone();
        let received = tokio::select! {
            biased;
            () = async { drop(shutdown.wait_for(|stopped| *stopped).await) } => {
                return Err(End::Told(close_code::AWAY, "the server is stopping"));
            }
            received = socket.next() => Some(received),
            () = clock.sleep_until(due) => None,
        };
        match received {
            Some(Some(Ok(Message::Close(_)) | Err(_)) | None) => return Err(End::Gone),
            Some(Some(Ok(_))) => self.last_heard = clock.monotonic(),
            None => {}
        }
        let now = clock.monotonic();
        if now >= self.last_heard + SILENCE_MAX {
            return Err(End::Gone);
        }
        if now >= self.next_ping {
            self.next_ping = now + PING_INTERVAL;
            self.send(socket, Message::Ping(bytes::Bytes::new())).await?;
        }
        if now >= self.next_update {
            self.next_update = now + UPDATE_INTERVAL;
            // A key may have been revoked meanwhile, or a session have ended.
            check_again(&self.caller, NEEDED)
                .map_err(|failure| End::Told(close_code::POLICY, failure.kind.code()))?;
            if let Some(text) = self.latest().await {
                self.send(socket, Message::Text(text)).await?;
            }
        }
        Ok(())
    }

    /// Returns the newest samples, made at most once in the interval for all connections. If they cannot be made, all
    /// connections go without until the next interval.
    async fn latest(&self) -> Option<Utf8Bytes> {
        let snapshot = &self.caller.tenant.snapshot;
        let _making = snapshot.making.acquire().await.ok()?;
        let asked = self.caller.app.clock.monotonic();
        if let Some((at, text)) = &*snapshot.made.lock()
            && asked.saturating_sub(*at) < UPDATE_INTERVAL / 2
        {
            return text.clone();
        }
        let made = gate::run(
            &self.caller,
            self.caller.app.limits.query_timeout,
            |caller, cancellation| Ok(write_latest(caller, cancellation)?.map(into_text)),
        );
        let text = made.await.unwrap_or_else(|failure| {
            tracing::debug!(failure = failure.message, "live update was left out");
            None
        });
        *snapshot.made.lock() = Some((self.caller.app.clock.monotonic(), text.clone()));
        text
    }

    async fn send(&self, socket: &mut WebSocket, message: Message) -> Result<(), End> {
        let deadline = self.caller.app.clock.monotonic() + SEND_TIMEOUT;
        tokio::select! {
            biased;
            sent = socket.send(message) => sent.map_err(|_| End::Gone),
            () = self.caller.app.clock.sleep_until(deadline) => Err(End::Gone),
        }
    }
}

/// Returns JSON as the text of a message.
pub(crate) fn into_text(json: crate::json::Json) -> Utf8Bytes {
    // Only text is ever written to it; nothing is lost should that change.
    Utf8Bytes::from(String::from_utf8_lossy(&json.into_bytes()).into_owned())
}
