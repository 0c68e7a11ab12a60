//! One connection: what it speaks, and then its requests.

use std::future::Future;
use std::io;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::body::Body;
use bytes::BytesMut;
use futures_util::FutureExt as _;
use http::Request;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use platform::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio_rustls::TlsAcceptor;
use tower::Service as _;

use super::activity::{Activity, Verdict};
use super::info::ConnectionInfo;
use super::places::Place;
use super::stats::Event;
use super::timer::ClockTimer;
use super::upgrades::Upgrades;
use super::{Serving, stopped};
use crate::socket::Socket;
use crate::tls::{self, Tls};

/// What an HTTP/2 client says first.
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";
/// The first byte of a TLS handshake.
const TLS_HANDSHAKE: u8 = 0x16;
/// What who speaks plain HTTP to a TLS port is told.
const NOT_TLS: &[u8] = b"HTTP/1.1 400 Bad Request\r\ncontent-type: text/plain; charset=utf-8\r\n\
    content-length: 48\r\nconnection: close\r\n\r\nthis port speaks TLS only: ask it with https://\n";

/// Bytes of an HTTP/2 request body that may be under way, for one stream and for all of a connection.
const STREAM_WINDOW_BYTES: u32 = 256 << 10;
const CONNECTION_WINDOW_BYTES: u32 = 1 << 20;
/// Bytes of an HTTP/2 answer that wait to be written, for one stream.
const STREAM_SEND_BYTES_MAX: usize = 64 << 10;
/// Most HTTP/2 streams that were reset before anybody looked at them; more is an attack, and ends the connection.
const RESET_STREAMS_MAX: usize = 20;
/// Most HTTP/2 streams that we reset for the peer's mistakes before the connection ends.
const FAULTY_STREAMS_MAX: usize = 64;
/// How often a silent HTTP/2 peer is asked whether it lives, and how long the answer may take.
const PING_INTERVAL: Duration = Duration::from_secs(20);
const PING_TIMEOUT: Duration = Duration::from_secs(20);
/// How long an HTTP/2 connection that is told to end may take.
const GOODBYE: Duration = Duration::from_secs(5);

/// A connection that was accepted.
pub(super) struct Connection {
    pub(super) serving: Arc<Serving>,
    pub(super) place: Arc<Place>,
    pub(super) info: ConnectionInfo,
    pub(super) shutdown: watch::Receiver<bool>,
}

/// What the first bytes say.
enum Opening {
    Http1,
    Http2,
    Tls,
    /// Plain text where TLS is expected.
    NotTls,
}

impl Connection {
    /// Serves until the peer goes away, a limit is reached, or the program stops.
    pub(super) async fn run(mut self, mut stream: TcpStream) {
        if let Err(error) = stream.set_nodelay(true) {
            tracing::debug!(error = %error, "connection without TCP_NODELAY");
        }
        let timeout = self.serving.limits.first_byte_timeout;
        let with_tls = self.serving.tls.is_some();
        let mut first = BytesMut::with_capacity(PREFACE.len());
        let opening = self.within(timeout, opening(&mut stream, &mut first, with_tls)).await;
        let opening = match opening {
            Within::Done(Ok(Some(opening))) => opening,
            Within::Done(_) | Within::Stopped => return,
            Within::Late => return self.serving.stats.record(Event::Silent),
        };
        let limits = &self.serving.limits;
        let clock = Arc::clone(&self.serving.clock);
        let socket = Socket::new(stream, first.freeze(), clock, limits.write_timeout);
        match (opening, self.serving.tls.clone()) {
            (Opening::Tls, Some(tls)) => self.handshake(socket, &tls).await,
            (Opening::Http2, _) => self.http2(socket).await,
            (Opening::Http1 | Opening::Tls, _) => self.http1(socket).await,
            (Opening::NotTls, _) => {
                self.serving.stats.record(Event::NotTls);
                refuse_plain(socket).await;
            }
        }
    }

    async fn handshake(mut self, socket: Socket, tls: &Tls) {
        let accepting = TlsAcceptor::from(tls.config()).accept(socket).into_fallible();
        let stats = Arc::clone(&self.serving.stats);
        match self.within(self.serving.limits.handshake_timeout, accepting).await {
            Within::Done(Ok(stream)) => {
                stats.record(Event::Handshake);
                let (_, session) = stream.get_ref();
                let certificate = session.peer_certificates().and_then(|chain| chain.first());
                self.info.tls = true;
                self.info.certificate =
                    certificate.map(|der| Arc::new(tls::client_certificate(der)));
                if session.alpn_protocol() == Some(tls::ALPN_HTTP2) {
                    self.http2(stream).await;
                } else {
                    self.http1(stream).await;
                }
            }
            Within::Done(Err((error, mut socket))) => {
                stats.record(Event::HandshakeFailed);
                tracing::debug!(peer = %self.info.peer, error = %error, "TLS handshake failed");
                // Gently, so that the reason reaches the peer.
                drop(socket.shutdown().await);
            }
            Within::Late => {
                stats.record(Event::HandshakeTimedOut);
                tracing::debug!(peer = %self.info.peer, "TLS handshake took too long");
            }
            Within::Stopped => {}
        }
    }

    async fn http1(mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        self.serving.stats.record(Event::Http1);
        let limits = &self.serving.limits;
        let mut builder = http1::Builder::new();
        builder
            .timer(ClockTimer::new(Arc::clone(&self.serving.clock)))
            .header_read_timeout(limits.header_timeout)
            .max_buf_size(limits.header_bytes_max)
            .max_headers(limits.headers_max);
        let requests = self.requests();
        let service = service_fn(move |request| requests.call(request));
        let connection = builder.serve_connection(TokioIo::new(stream), service).with_upgrades();
        let mut connection = std::pin::pin!(connection);
        let ended = tokio::select! {
            biased;
            ended = connection.as_mut() => ended,
            () = stopped(&mut self.shutdown) => {
                connection.as_mut().graceful_shutdown();
                connection.await
            }
        };
        log_end(ended);
    }

    async fn http2(mut self, stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) {
        self.serving.stats.record(Event::Http2);
        let serving = Arc::clone(&self.serving);
        let (limits, clock) = (&serving.limits, &serving.clock);
        let mut builder = http2::Builder::new(Streams::default());
        builder
            .timer(ClockTimer::new(Arc::clone(clock)))
            .max_concurrent_streams(limits.streams_max)
            .max_header_list_size(u32::try_from(limits.header_bytes_max).unwrap_or(u32::MAX))
            .max_pending_accept_reset_streams(RESET_STREAMS_MAX)
            .max_local_error_reset_streams(FAULTY_STREAMS_MAX)
            .initial_stream_window_size(STREAM_WINDOW_BYTES)
            .initial_connection_window_size(CONNECTION_WINDOW_BYTES)
            .max_send_buf_size(STREAM_SEND_BYTES_MAX)
            .keep_alive_interval(PING_INTERVAL)
            .keep_alive_timeout(PING_TIMEOUT);
        let activity =
            Activity::new(Arc::clone(clock), limits.header_timeout, limits.write_timeout);
        let (requests, watched) = (self.requests(), Arc::clone(&activity));
        let service = service_fn(move |request| {
            let exchange = watched.begin();
            let answer = requests.call(request);
            async move {
                let response = answer.await?;
                Ok::<_, std::convert::Infallible>(response.map(|body| exchange.answer(body)))
            }
        });
        let connection = builder.serve_connection(TokioIo::new(stream), service);
        let mut connection = std::pin::pin!(connection);
        let verdict = tokio::select! {
            biased;
            ended = connection.as_mut() => return log_end(ended),
            () = stopped(&mut self.shutdown) => None,
            verdict = activity.watch() => Some(verdict),
        };
        connection.as_mut().graceful_shutdown();
        let patience = match verdict {
            // The accept loop has the time limit.
            None => return log_end(connection.await),
            Some(Verdict::Idle) => {
                serving.stats.record(Event::Idle);
                GOODBYE
            }
            Some(Verdict::Stalled) => {
                serving.stats.record(Event::Stalled);
                Duration::ZERO
            }
        };
        let deadline = clock.monotonic().saturating_add(patience);
        tokio::select! {
            biased;
            ended = connection.as_mut() => log_end(ended),
            () = clock.sleep_until(deadline) => {
                tracing::debug!(peer = %self.info.peer, ?verdict, "connection was cut off");tracing::debug!(peer = %self.info.peer, ?verdict, "connection was cut off");
            }
        }
    }

    fn requests(&self) -> Requests {
        let Self { serving, place, info, .. } = self;
        let upgrades =
            Upgrades::new(serving.upgraded.clone(), Arc::clone(place), Arc::clone(&serving.stats));
        Requests { router: serving.router.clone(), info: info.clone(), upgrades }
    }

    /// Waits for `work` within `timeout`, and while the program runs.
    async fn within<T>(&mut self, timeout: Duration, work: impl Future<Output = T>) -> Within<T> {
        let clock = &self.serving.clock;
        let deadline = clock.monotonic().saturating_add(timeout);
        tokio::select! {
            biased;
            done = work => Within::Done(done),
            () = stopped(&mut self.shutdown) => Within::Stopped,
            () = clock.sleep_until(deadline) => Within::Late,
        }
    }
}

enum Within<T> {
    Done(T),
    Stopped,
    Late,
}

fn log_end(ended: hyper::Result<()>) {
    if let Err(error) = ended {
        tracing::debug!(error = %error, "connection ended early");
    }
}

/// Reads until it is clear what the peer speaks; `None` when it says nothing.
async fn opening(
    stream: &mut TcpStream,
    first: &mut BytesMut,
    with_tls: bool,
) -> io::Result<Option<Opening>> {
    loop {
        if stream.read_buf(first).await? == 0 {
            return Ok((!first.is_empty()).then_some(Opening::Http1));
        }
        if with_tls {
            let is_tls = first.first() == Some(&TLS_HANDSHAKE);
            return Ok(Some(if is_tls { Opening::Tls } else { Opening::NotTls }));
        }
        if first.starts_with(PREFACE) {
            return Ok(Some(Opening::Http2));
        }
        if !PREFACE.starts_with(first) {
            return Ok(Some(Opening::Http1));
        }
    }
}

async fn refuse_plain(mut socket: Socket) {
    if socket.write_all(NOT_TLS).await.is_ok() {
        // The peer may be gone by now.
        drop(socket.shutdown().await);
    }
}

/// Hands the requests of a connection to the routes.
#[derive(Clone)]
struct Requests {
    router: Router,
    info: ConnectionInfo,
    upgrades: Upgrades,
}

impl Requests {
    fn call(
        &self,
        request: Request<Incoming>,
    ) -> axum::routing::future::RouteFuture<std::convert::Infallible> {
        let mut request = request.map(Body::new);
        request.extensions_mut().insert(self.info.clone());
        request.extensions_mut().insert(self.upgrades.clone());
        // The router is always ready.
        self.router.clone().call(request)
    }
}

/// The streams of an HTTP/2 connection as tasks; those that are left end with the connection.
#[derive(Clone, Debug, Default)]
struct Streams(Arc<Mutex<Tasks>>);

impl<F: Future<Output = ()> + Send + 'static> hyper::rt::Executor<F> for Streams {
    fn execute(&self, stream: F) {
        let mut tasks = self.0.lock();
        // Those that have ended are forgotten, so there are never many more than streams.
        while let Some(Some(ended)) = tasks.join_next().now_or_never() {
            if let Err(failure) = ended {
                tracing::error!(failure = %failure, "stream failed");
            }
        }
        tasks.spawn("stream", stream);
    }
}
