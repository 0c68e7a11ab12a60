//! The accept loop and what it allows, over real sockets and with simulated time.

use std::convert::Infallible;
use std::net::SocketAddr;
use std::time::Duration;

use axum::Extension;
use axum::routing::get;
use bytes::Bytes;
use http::Response;
use http_body_util::Empty;
use hyper::body::Incoming;
use hyper::client::conn::http2;
use hyper_util::rt::{TokioExecutor, TokioIo};
use platform::Tasks;
use tokio::io::{AsyncRead, AsyncReadExt as _, AsyncWrite, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{Notify, Semaphore};

use super::*;
use crate::serve::Upgrades;
use crate::{ConnectionInfo, ServeLimits, ServeStats, Transport, serve};

/// Longer than any window that a client begins with.
const LARGE_BYTES: usize = 4 << 20;

/// A server with a few routes of its own.
pub(super) struct Served {
    pub(super) address: SocketAddr,
    pub(super) clock: Arc<SimClock>,
    pub(super) stats: Arc<ServeStats>,
    stop: watch::Sender<bool>,
    /// Answers one request for `/slow`.
    go: Arc<Semaphore>,
    /// Told when a request for `/slow` has come.
    slow_came: Arc<Notify>,
}

/// Serves while `client` runs, and then until everything has drained.
pub(super) async fn served(
    clock: Arc<SimClock>,
    configure: impl FnOnce(&mut Transport),
    client: impl AsyncFnOnce(&Served),
) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let (stop, shutdown) = watch::channel(false);
    let mut transport = Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&clock)));
    configure(&mut transport);
    let served = Served {
        address: listener.local_addr().expect("an address"),
        clock,
        stats: Arc::clone(&transport.stats),
        stop,
        go: Arc::new(Semaphore::new(0)),
        slow_came: Arc::default(),
    };
    let (go, came) = (Arc::clone(&served.go), Arc::clone(&served.slow_came));
    let slow = async move || {
        came.notify_one();
        go.acquire().await.expect("never closed").forget();
        "done"
    };
    let router = Router::new()
        .route("/info", get(async |Extension(info): Extension<ConnectionInfo>| describe(&info)))
        .route("/large", get(async || vec![b'x'; LARGE_BYTES]))
        .route("/slow", get(slow))
        .route("/upgrade", get(upgrade));
    let serving = serve(listener, router, transport, shutdown);
    let talking = async {
        client(&served).await;
        served.stop.send_replace(true);
    };
    let (ended, ()) = tokio::join!(serving, talking);
    ended.expect("no error");
    let counts = served.stats.counts();
    assert_eq!(
        (counts.connections_open, counts.upgraded_open),
        (0, 0),
        "everything was given back"
    );
}

fn describe(info: &ConnectionInfo) -> String {
    let name = info.certificate.as_ref().map(|certificate| certificate.common_name.clone());
    format!("{} tls={} client={name:?}", info.peer.ip(), info.tls)
}

/// Becomes a connection on which nobody ever says anything.
async fn upgrade(
    Extension(upgrades): Extension<Upgrades>,
    mut request: Request<Body>,
) -> Response<Body> {
    let upgraded = hyper::upgrade::on(&mut request);
    let work = async move {
        let _connection = upgraded.await;
        std::future::pending().await
    };
    upgrades.hand_over(work).await;
    let response = Response::builder().status(StatusCode::SWITCHING_PROTOCOLS);
    let response = response.header("connection", "upgrade").header("upgrade", "silence");
    response.body(Body::empty()).expect("a response")
}

fn started() -> Arc<SimClock> {
    SimClock::new(Timestamp::from_millis(NOW_MS))
}

impl Served {
    pub(super) async fn connect(&self) -> TcpStream {
        let stream = TcpStream::connect(self.address).await.expect("connect");
        // Simulated time does not wait for the kernel to collect bytes.
        stream.set_nodelay(true).expect("an option of TCP");
        stream
    }

    /// Runs `work` while simulated time passes.
    pub(super) async fn in_time<T>(&self, work: impl Future<Output = T>) -> T {
        let passing = async {
            loop {
                for _ in 0..100 {
                    tokio::task::yield_now().await;
                }
                self.clock.advance(Duration::from_secs(1));
            }
        };
        tokio::select! {
            biased;
            done = work => done,
            () = passing => unreachable!("time passes for ever"),
        }
    }

    /// Waits until the server has no connection.
    async fn in_time_all_closed(&self) {
        let closed = async {
            while self.stats.counts().connections_open > 0 {
                tokio::task::yield_now().await;
            }
        };
        self.in_time(closed).await;
    }
}

/// Sends a request over HTTP/1.1 and returns the status line and the body.
pub(super) async fn ask1(
    stream: &mut (impl AsyncRead + AsyncWrite + Unpin),
    path: &str,
) -> (String, String) {
    let request = format!("GET {path} HTTP/1.1\r\nhost: x\r\n\r\n");
    stream.write_all(request.as_bytes()).await.expect("write");
    answer1(stream).await
}

async fn answer1(stream: &mut (impl AsyncRead + Unpin)) -> (String, String) {
    let mut head = Vec::new();
    while !head.ends_with(b"\r\n\r\n") {
        head.push(stream.read_u8().await.expect("the head of the answer"));
    }
    let head = String::from_utf8(head).expect("text");
    let length = head.lines().find_map(|line| line.strip_prefix("content-length: "));
    let length = length.map_or(0, |length| length.parse().expect("a length"));
    let mut body = vec![0; length];
    stream.read_exact(&mut body).await.expect("the body");
    let status = head.lines().next().expect("a status line").to_owned();
    (status, String::from_utf8(body).expect("text"))
}

/// A client of HTTP/2.
pub(super) struct Client2 {
    sender: http2::SendRequest<Empty<Bytes>>,
    /// Drives the connection.
    tasks: Tasks,
}

impl Client2 {
    pub(super) async fn new(stream: impl AsyncRead + AsyncWrite + Send + Unpin + 'static) -> Self {
        let mut builder = http2::Builder::new(TokioExecutor::new());
        builder.initial_stream_window_size(65_535).initial_connection_window_size(65_535);
        builder.max_header_list_size(1 << 20);
        let (sender, connection) = builder.handshake(TokioIo::new(stream)).await.expect("HTTP/2");
        let mut tasks = Tasks::new();
        tasks.spawn("client", async move {
            // How it ends shows in the requests.
            drop(connection.await);
        });
        Self { sender, tasks }
    }

    fn request(path: &str) -> Request<Empty<Bytes>> {
        let uri = format!("http://localhost{path}");
        Request::get(uri).body(Empty::new()).expect("a request")
    }

    async fn send(&mut self, request: Request<Empty<Bytes>>) -> hyper::Result<Response<Incoming>> {
        self.sender.ready().await?;
        self.sender.send_request(request).await
    }

    pub(super) async fn ask(&mut self, path: &str) -> String {
        let response = self.send(Self::request(path)).await.expect("an answer");
        assert_eq!(response.status(), StatusCode::OK);
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        String::from_utf8(body.to_vec()).expect("text")
    }

    /// Completes once the connection has ended.
    async fn ended(&mut self) {
        self.tasks.join_next().await.expect("one task").expect("no panic");
    }
}

#[tokio::test]
async fn both_versions_are_spoken_on_one_port_and_requests_know_their_peer() {
    served(
        started(),
        |_| {},
        async |server| {
            let expected = "127.0.0.1 tls=false client=None";
            let mut first = server.connect().await;
            assert_eq!(ask1(&mut first, "/info").await.1, expected);
            let mut second = Client2::new(server.connect().await).await;
            assert_eq!(second.ask("/info").await, expected);
            assert_eq!(second.ask("/large").await.len(), LARGE_BYTES);
            let counts = server.stats.counts();
            assert_eq!((counts.connections_http1, counts.connections_http2), (1, 1));
            assert_eq!((counts.connections_open, counts.connections_accepted), (2, 2));
        },
    )
    .await;
}

#[tokio::test]
async fn an_opening_that_could_become_either_version_is_not_waited_for_long() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut stream = server.connect().await;
            stream.write_all(b"P").await.expect("write");
            assert_eq!(server.in_time(stream.read(&mut [0])).await.expect("closed"), 0);
            assert_eq!(server.stats.counts().connections_silent, 1);
        },
    )
    .await;
}

#[tokio::test]
async fn a_head_that_never_ends_is_cut_off() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut stream = server.connect().await;
            ask1(&mut stream, "/info").await;
            stream.write_all(b"GET /info HTTP/1.1\r\nho").await.expect("write");
            let mut rest = Vec::new();
            server.in_time(stream.read_to_end(&mut rest)).await.expect("closed");
            assert_eq!(String::from_utf8_lossy(&rest), "");
        },
    )
    .await;
}

#[tokio::test]
async fn heads_above_the_limits_are_refused() {
    let limits = ServeLimits::default();
    let long = format!("x: {}\r\n", "y".repeat(limits.header_bytes_max));
    let many = "x: y\r\n".repeat(limits.headers_max);
    let most = "x: y\r\n".repeat(limits.headers_max - 1);
    served(
        started(),
        |_| {},
        async |server| {
            for (headers, status) in [(&long, "431"), (&many, "431"), (&most, "200")] {
                let mut stream = server.connect().await;
                let request = format!("GET /info HTTP/1.1\r\nhost: x\r\n{headers}\r\n");
                stream.write_all(request.as_bytes()).await.expect("write");
                let (found, _) = answer1(&mut stream).await;
                assert!(found.starts_with(&format!("HTTP/1.1 {status} ")), "{found}");
            }
            let mut client = Client2::new(server.connect().await).await;
            let mut request = Client2::request("/info");
            for number in 0..8 {
                let name: http::HeaderName = format!("x-{number}").parse().expect("a name");
                let value = "y".repeat(limits.header_bytes_max / 8);
                request.headers_mut().insert(name, value.parse().expect("a value"));
            }
            let status = client.send(request).await.expect("an answer").status();
            assert_eq!(status, StatusCode::REQUEST_HEADER_FIELDS_TOO_LARGE);
        },
    )
    .await;
}

#[tokio::test]
async fn a_connection_beyond_the_limit_of_its_address_is_closed_at_once() {
    let limit = |transport: &mut Transport| transport.limits.connections_per_address_max = 2;
    served(started(), limit, async |server| {
        let mut first = server.connect().await;
        let mut second = server.connect().await;
        ask1(&mut first, "/info").await;
        ask1(&mut second, "/info").await;
        let mut third = server.connect().await;
        assert_eq!(third.read(&mut [0]).await.unwrap_or_default(), 0);
        assert_eq!(server.stats.counts().connections_refused_address, 1);
        drop(first);
        while server.stats.counts().connections_open == 2 {
            tokio::task::yield_now().await;
        }
        let mut fourth = server.connect().await;
        ask1(&mut fourth, "/info").await;
    })
    .await;
}

#[tokio::test]
async fn an_http2_connection_that_asks_nothing_ends() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut client = Client2::new(server.connect().await).await;
            client.ask("/info").await;
            server.in_time(client.ended()).await;
            assert_eq!(server.stats.counts().connections_idle, 1);
        },
    )
    .await;
}

#[tokio::test]
async fn an_http2_connection_that_waits_for_its_answer_is_not_idle() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut client = Client2::new(server.connect().await).await;
            let answering = async {
                server.slow_came.notified().await;
                let until = server.clock.monotonic() + 3 * ServeLimits::default().header_timeout;
                server.in_time(server.clock.sleep_until(until)).await;
                server.go.add_permits(1);
            };
            let (answer, ()) = tokio::join!(client.ask("/slow"), answering);
            assert_eq!(answer, "done");
        },
    )
    .await;
}

#[tokio::test]
async fn an_http2_peer_that_leaves_its_answer_unread_is_cut_off() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut client = Client2::new(server.connect().await).await;
            let unread = client.send(Client2::request("/large")).await.expect("an answer");
            server.in_time(client.ended()).await;
            drop(unread);
            assert_eq!(server.stats.counts().connections_stalled, 1);
        },
    )
    .await;
}

#[tokio::test]
async fn requests_that_have_begun_are_answered_when_the_program_stops() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut first = server.connect().await;
            let mut second = Client2::new(server.connect().await).await;
            let stopping = async {
                server.slow_came.notified().await;
                server.slow_came.notified().await;
                server.stop.send_replace(true);
                while TcpStream::connect(server.address).await.is_ok() {
                    tokio::task::yield_now().await;
                }
                server.go.add_permits(2);
            };
            let asking = async { ask1(&mut first, "/slow").await.1 };
            let (one, two, ()) = tokio::join!(asking, second.ask("/slow"), stopping);
            assert_eq!((one.as_str(), two.as_str()), ("done", "done"));
            second.ended().await;
        },
    )
    .await;
}

#[tokio::test]
async fn an_upgraded_connection_has_a_place_and_is_cut_off_when_it_does_not_end() {
    served(started(), |_| {}, async |server| {
        let mut stream = server.connect().await;
        let request = b"GET /upgrade HTTP/1.1\r\nhost: x\r\nconnection: upgrade\r\nupgrade: silence\r\n\r\n";
        stream.write_all(request).await.expect("write");
        let (status, _) = answer1(&mut stream).await;
        assert!(status.contains(" 101 "), "{status}");
        let counts = server.stats.counts();
        assert_eq!((counts.connections_open, counts.upgraded_open), (1, 1));
        server.stop.send_replace(true);
        assert_eq!(server.in_time(stream.read(&mut [0])).await.expect("closed"), 0);
        server.in_time_all_closed().await;
    })
    .await;
}

#[tokio::test]
async fn a_panic_in_an_http2_stream_leaves_the_others_alone() {
    let clock = started();
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let (stop, shutdown) = watch::channel(false);
    let boom = get(async || -> Result<&'static str, Infallible> { std::panic::panic_any("boom") });
    let router = Router::new().route("/boom", boom).route("/calm", get(async || "calm"));
    let transport = Transport::new(ServeLimits::default(), Arc::new(clock));
    let talking = async {
        let stream = TcpStream::connect(address).await.expect("connect");
        let mut client = Client2::new(stream).await;
        client.send(Client2::request("/boom")).await.expect_err("the stream is reset");
        assert_eq!(client.ask("/calm").await, "calm");
        stop.send_replace(true);
    };
    let (ended, ()) = tokio::join!(serve(listener, router, transport, shutdown), talking);
    ended.expect("no error");
}

/// Returns a frame of HTTP/2.
fn frame(kind: u8, flags: u8, stream: u32, content: &[u8]) -> Vec<u8> {
    let length = u32::try_from(content.len()).expect("a short frame").to_be_bytes();
    [&length[1..], &[kind, flags], &stream.to_be_bytes(), content].concat()
}

#[tokio::test]
async fn a_peer_that_resets_what_it_asks_for_is_sent_away() {
    served(
        started(),
        |_| {},
        async |server| {
            let mut stream = server.connect().await;
            let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
            bytes.extend(frame(4, 0, 0, &[]));
            for stream in (1..200).step_by(2) {
                // GET http:/ in the static table; it is all there is of the request.
                bytes.extend(frame(1, 0x05, stream, &[0x82, 0x86, 0x84]));
                bytes.extend(frame(3, 0, stream, &8_u32.to_be_bytes()));
            }
            stream.write_all(&bytes).await.expect("write");
            let mut answer = Vec::new();
            // The end may be a reset.
            drop(server.in_time(stream.read_to_end(&mut answer)).await);
            let mut frames = Vec::new();
            let mut rest = &answer[..];
            while let [high, middle, low, kind, _flags, _, _, _, _, after @ ..] = rest {
                let length = u32::from_be_bytes([0, *high, *middle, *low]);
                let (content, after) = after.split_at(usize::try_from(length).expect("a length"));
                frames.push((*kind, content));
                rest = after;
            }
            let (kind, content) = frames.last().expect("a frame");
            // The connection ends, and the peer is to calm down.
            assert_eq!((*kind, &content[4..8]), (7, &11_u32.to_be_bytes()[..]), "{frames:?}");
        },
    )
    .await;
}
