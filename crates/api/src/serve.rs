//! Puts the routes on a socket: limits connections, ends slow ones, drains when told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use platform::{Clock, Tasks};
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

mod activity;
mod connection;
mod info;
mod places;
mod stats;
mod timer;
mod upgrades;

pub use info::{ClientCertificate, ConnectionInfo};
pub use stats::{ServeCounts, ServeStats};
pub(crate) use upgrades::Upgrades;

use connection::Connection;
use places::Places;
use upgrades::Upgraded;

use crate::tls::Tls;

/// What is allowed on the socket.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// Most connections at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// Most connections at a time from one IPv4 address or IPv6 network (/64); further ones are closed at once.
    pub connections_per_address_max: usize,
    /// How long the first bytes of a connection may take, those that tell what it speaks.
    pub first_byte_timeout: Duration,
    /// How long a TLS handshake may take.
    pub handshake_timeout: Duration,
    /// How long the head of a request may take; also how long a connection may be idle.
    pub header_timeout: Duration,
    /// Longest head of a request, in bytes; at least 8 KiB.
    pub header_bytes_max: usize,
    /// Most header fields of an HTTP/1.1 request; those of HTTP/2 are bounded by their bytes.
    pub headers_max: usize,
    /// Most requests at a time on one HTTP/2 connection.
    pub streams_max: u32,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests may take to finish once the program stops.
    pub drain_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            connections_per_address_max: 256,
            first_byte_timeout: Duration::from_secs(10),
            handshake_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            header_bytes_max: 64 << 10,
            headers_max: 100,
            streams_max: 64,
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
        }
    }
}

/// How the routes are put on a socket.
#[derive(Clone, Debug)]
pub struct Transport {
    /// What is allowed.
    pub limits: ServeLimits,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// What happens is counted here.
    pub stats: Arc<ServeStats>,
    /// The certificate; without one, connections are not encrypted.
    pub tls: Option<Arc<Tls>>,
}

impl Transport {
    /// Returns a transport without encryption.
    #[must_use]
    pub fn new(limits: ServeLimits, clock: Arc<dyn Clock>) -> Self {
        Self { limits, clock, stats: Arc::default(), tls: None }
    }
}

/// Why serving ended by itself.
#[derive(Debug, thiserror::Error)]
pub enum ServeError {
    /// The socket is broken.
    #[error("accept connections")]
    Accept(#[source] io::Error),
}

/// How long to wait when the machine has no file handles left.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);
/// Most upgraded connections that wait for the accept loop to take them over.
const HANDED_OVER_MAX: usize = 16;

/// What all connections share.
struct Serving {
    router: Router,
    limits: ServeLimits,
    clock: Arc<dyn Clock>,
    stats: Arc<ServeStats>,
    tls: Option<Arc<Tls>>,
    upgraded: mpsc::Sender<Upgraded>,
}

/// Serves `router` on `listener` until `shutdown` becomes true, or its sender is gone.
///
/// HTTP/1.1 with upgrades to WebSocket, and HTTP/2, which a client asks for in the TLS handshake or, without TLS, by its
/// first bytes. Every request finds a [`ConnectionInfo`] among its extensions.
///
/// Once told to stop nothing is accepted any more, requests that have begun are answered, upgraded connections may say
/// goodbye, and what is not done within [`ServeLimits::drain_timeout`] is cut off.
///
/// # Errors
///
/// The socket is broken.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    transport: Transport,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let Transport { limits, clock, stats, tls } = transport;
    let (upgraded, mut handed_over) = mpsc::channel(HANDED_OVER_MAX);
    let places = Places::new(limits.connections_per_address_max, Arc::clone(&stats));
    let serving = Arc::new(Serving { router, limits, clock, stats, tls, upgraded });
    let clock = Arc::clone(&serving.clock);
    let mut connections = Tasks::new();
    loop {
        let room = connections.len() < serving.limits.connections_max;
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => log_failure(ended),
            // Its HTTP connection has ended, so this is not one more.
            Some(upgraded) = handed_over.recv() => connections.spawn("upgraded connection", upgraded),
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, peer)) => {
                    // Without a place the connection is closed at once.
                    let Some(place) = places.take(peer.ip()) else { continue };
                    let serving = Arc::clone(&serving);
                    let info = ConnectionInfo { peer, tls: false, certificate: None };
                    let connection = Connection { serving, place, info, shutdown: shutdown.clone() };
                    connections.spawn("connection", connection.run(stream));
                }
                Err(error) if is_transient(&error) => {
                    tracing::warn!(error = %error, "connection was not accepted");
                    clock.sleep_until(clock.monotonic() + ACCEPT_PAUSE).await;
                }
                Err(error) => return Err(ServeError::Accept(error)),
            }
        }
    }
    drop(listener);
    let timeout = serving.limits.drain_timeout;
    // The last connection closes the channel.
    drop(serving);
    drain(connections, handed_over, timeout, clock.as_ref()).await;
    Ok(())
}

/// Completes once the program stops.
async fn stopped(shutdown: &mut watch::Receiver<bool>) {
    // An error says that the sender is gone, which means the same.
    drop(shutdown.wait_for(|stopped| *stopped).await);
}

/// Returns whether the next connection may be accepted again: the peer is gone, or handles are short.
fn is_transient(error: &io::Error) -> bool {
    /// `ENFILE`, `EMFILE`, `ENOBUFS`, `ENOMEM`.
    const SHORTAGES: [i32; 4] = [23, 24, 105, 12];
    matches!(
        error.kind(),
        io::ErrorKind::ConnectionAborted
            | io::ErrorKind::ConnectionReset
            | io::ErrorKind::ConnectionRefused
            | io::ErrorKind::Interrupted
    ) || error.raw_os_error().is_some_and(|code| SHORTAGES.contains(&code))
}

fn log_failure(ended: Result<&'static str, platform::TaskFailure>) {
    if let Err(failure) = ended {
        tracing::error!(failure = %failure, "connection failed");
    }
}

/// Waits for all connections, also for those that are handed over meanwhile.
async fn drain(
    mut connections: Tasks,
    mut handed_over: mpsc::Receiver<Upgraded>,
    timeout: Duration,
    clock: &dyn Clock,
) {
    let deadline = clock.monotonic().saturating_add(timeout);
    let all = async {
        loop {
            tokio::select! {
                biased;
                Some(ended) = connections.join_next() => log_failure(ended),
                Some(upgraded) = handed_over.recv() => {
                    connections.spawn("upgraded connection", upgraded);
                }
                // Nobody is left who could hand anything over.
                else => return,
            }
        }
    };
    tokio::select! {
        biased;
        () = all => {}
        () = clock.sleep_until(deadline) => {
            tracing::warn!(connections = connections.len(), "connections were cut off");
            connections.abort_all();
        }
    }
}
