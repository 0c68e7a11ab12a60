//! Puts the routes on a socket: limits connections, ends slow ones, drains when told to stop.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use hyper::server::conn::http1;
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::service::TowerToHyperService;
use platform::{Clock, Tasks};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use crate::socket::Socket;

/// What is allowed on the socket.
#[derive(Clone, Debug)]
pub struct ServeLimits {
    /// Most connections at a time; further ones wait to be accepted.
    pub connections_max: usize,
    /// How long the first byte of a connection may take.
    pub first_byte_timeout: Duration,
    /// How long the head of a request may take; also how long a connection may be idle.
    pub header_timeout: Duration,
    /// How long a client may leave an answer unread.
    pub write_timeout: Duration,
    /// How long requests may take to finish once the program stops.
    pub drain_timeout: Duration,
}

impl Default for ServeLimits {
    fn default() -> Self {
        Self {
            connections_max: 1024,
            first_byte_timeout: Duration::from_secs(10),
            header_timeout: Duration::from_secs(30),
            write_timeout: Duration::from_secs(30),
            drain_timeout: Duration::from_secs(5),
        }
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

/// Serves `router` on `listener` until `shutdown` becomes true, or its sender is gone.
///
/// Then nothing is accepted any more, requests that have begun are answered, and what is not done within
/// [`ServeLimits::drain_timeout`] is cut off. HTTP/1.1 and WebSocket.
///
/// # Errors
///
/// The socket is broken.
pub async fn serve(
    listener: TcpListener,
    router: Router,
    limits: ServeLimits,
    clock: Arc<dyn Clock>,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), ServeError> {
    let mut connections = Tasks::new();
    loop {
        let room = connections.len() < limits.connections_max;
        tokio::select! {
            biased;
            () = stopped(&mut shutdown) => break,
            Some(ended) = connections.join_next() => {
                if let Err(failure) = ended {
                    tracing::error!(failure = %failure, "connection failed");
                }
            }
            accepted = listener.accept(), if room => match accepted {
                Ok((stream, _)) => {
                    let service = TowerToHyperService::new(router.clone());
                    let connection =
                        connection(stream, service, limits.clone(), Arc::clone(&clock), shutdown.clone());
                    connections.spawn("connection", connection);
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
    drain(connections, limits.drain_timeout, &clock).await;
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

async fn connection(
    stream: TcpStream,
    service: TowerToHyperService<Router>,
    limits: ServeLimits,
    clock: Arc<dyn Clock>,
    mut shutdown: watch::Receiver<bool>,
) {
    if let Err(error) = stream.set_nodelay(true) {
        tracing::debug!(error = %error, "connection without TCP_NODELAY");
    }
    let deadline = clock.monotonic().saturating_add(limits.first_byte_timeout);
    let mut first = [0];
    tokio::select! {
        biased;
        // Nothing to see means that the peer is gone.
        peeked = stream.peek(&mut first) => if !matches!(peeked, Ok(1)) { return },
        () = stopped(&mut shutdown) => return,
        () = clock.sleep_until(deadline) => return,
    }
    let stream = Socket::new(stream, clock, limits.write_timeout);
    let mut builder = http1::Builder::new();
    builder.timer(TokioTimer::new()).header_read_timeout(limits.header_timeout);
    let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
    let mut connection = std::pin::pin!(connection);
    let ended = tokio::select! {
        biased;
        ended = connection.as_mut() => ended,
        () = stopped(&mut shutdown) => {
            connection.as_mut().graceful_shutdown();
            connection.await
        }
    };
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended early");
    }
}

async fn drain(mut connections: Tasks, timeout: Duration, clock: &Arc<dyn Clock>) {
    let deadline = clock.monotonic().saturating_add(timeout);
    tokio::select! {
        biased;
        () = async { while connections.join_next().await.is_some() {} } => {}
        () = clock.sleep_until(deadline) => {
            tracing::warn!(connections = connections.len(), "connections were cut off");
            connections.abort_all();
        }
    }
}
