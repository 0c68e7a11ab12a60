//! The program itself: with a real containerd and a server of a test, and with wrong settings.

use std::io::Read as _;
use std::net::SocketAddr;
use std::os::unix::net::UnixListener;
use std::process::{Child, Command, Output, Stdio};
use std::sync::Arc;

use agent::testing::{ContainerdProcess, Proxy, Registry, TestImage, TestLayer, can_pull, until};
use bytes::Bytes;
use flate2::read::GzDecoder;
use http::{Request, Response};
use http_body_util::{BodyExt as _, Empty};
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use parking_lot::Mutex;
use platform::Tasks;
use report::{LayerPhase, PullPhase, PullReport, Report};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

/// What a server of TinyObs does with reports, without doing anything with them.
struct Server {
    address: SocketAddr,
    reports: Arc<Mutex<Vec<Report>>>,
    _tasks: Tasks,
}

impl Server {
    async fn start() -> Self {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        let address = listener.local_addr().expect("an address");
        let reports = Arc::default();
        let mut tasks = Tasks::new();
        let kept = Arc::clone(&reports);
        tasks.spawn("server", async move {
            loop {
                let (stream, _) = listener.accept().await.expect("a connection");
                let take = service_fn(|request| take(request, &kept));
                // The program keeps one connection, and ends it when it ends.
                drop(http1::Builder::new().serve_connection(TokioIo::new(stream), take).await);
            }
        });
        Self { address, reports, _tasks: tasks }
    }

    /// Waits for a report of which this is so; those before the last such report are forgotten.
    async fn until(&self, what: &str, is_so: impl Fn(&Report) -> bool) -> Report {
        until(what, || {
            let mut reports = self.reports.lock();
            let found = reports.iter().position(&is_so).map(|at| reports.drain(..=at).next_back());
            std::future::ready(found.flatten())
        })
        .await
    }
}

async fn take(
    request: Request<Incoming>,
    reports: &Mutex<Vec<Report>>,
) -> Result<Response<Empty<Bytes>>, hyper::Error> {
    assert_eq!(request.uri().path(), "/api/v1/report");
    let compressed = request.headers().contains_key("content-encoding");
    let body = request.into_body().collect().await?.to_bytes();
    let mut json = Vec::new();
    if compressed {
        GzDecoder::new(&*body).read_to_end(&mut json).expect("gzip");
    } else {
        json = body.to_vec();
    }
    reports.lock().push(Report::from_json(&json).expect("a report"));
    let response = Response::builder().header("x-tinyobs-report", "2").body(Empty::new());
    Ok(response.expect("a response"))
}

/// The program while it runs. Dropping it kills it.
struct Program(Child);

impl Program {
    fn start(arguments: &[&str]) -> Self {
        Self(command(arguments).stderr(Stdio::inherit()).spawn().expect("the program"))
    }

    /// Asks it to stop, and returns its exit code.
    async fn stop(&mut self) -> Option<i32> {
        let process = self.0.id().to_string();
        assert!(Command::new("kill").arg(process).status().expect("kill").success());
        until("the program ends", || std::future::ready(self.0.try_wait().ok().flatten()))
            .await
            .code()
    }
}

impl Drop for Program {
    fn drop(&mut self) {
        // It may have ended already.
        drop(self.0.kill());
        drop(self.0.wait());
    }
}

fn command(arguments: &[&str]) -> Command {
    let mut command = Command::new(env!("CARGO_BIN_EXE_tinyobs-agent"));
    command.env_clear().args(arguments).stdin(Stdio::null());
    command
}

fn ended(arguments: &[&str]) -> Output {
    command(arguments).output().expect("the program")
}

async fn status(address: SocketAddr, path: &str) -> Option<u16> {
    let mut stream = TcpStream::connect(address).await.ok()?;
    let request = format!("GET {path} HTTP/1.1\r\nHost: agent\r\nConnection: close\r\n\r\n");
    stream.write_all(request.as_bytes()).await.ok()?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.ok()?;
    answer.strip_prefix("HTTP/1.1 ")?.get(..3)?.parse().ok()
}

/// Returns an address of this machine that nobody listens on.
fn free_address() -> SocketAddr {
    let listener = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    listener.local_addr().expect("an address")
}

#[tokio::test(flavor = "multi_thread")]
async fn the_program_reports_a_pull_from_begin_to_end_and_lives_on_without_containerd() {
    if !can_pull() {
        return;
    }
    let registry = Registry::start().await;
    let proxy = Proxy::start(registry.address()).await;
    let mut containerd = ContainerdProcess::start().await;
    let layers = [TestLayer::new("a", 4 << 20), TestLayer::new("b", 1 << 18)];
    let image = TestImage::new("team/app", "1.0", &layers);
    registry.push(&image).await;
    let name = format!("{}/team/app:1.0", proxy.address());

    let server = Server::start().await;
    let address = free_address();
    let socket = containerd.socket();
    let folder = socket.parent().expect("a folder").canonicalize().expect("it is there");
    let mut program = Program::start(&[
        "--server",
        &format!("http://{}", server.address),
        "--node",
        "worker-1",
        "--containerd-socket",
        &socket.display().to_string(),
        "--allow-socket-folder",
        &folder.display().to_string(),
        "--interval",
        "500ms",
        "--listen",
        &address.to_string(),
    ]);
    let first = server.until("an idle report", |_| true).await;
    assert_eq!((first.node_name.as_str(), first.sequence), ("worker-1", 1));
    assert!(first.runtime.starts_with("containerd "), "{first:?}");
    until("the program is ready", || async {
        status(address, "/readyz").await.filter(|status| *status == 200)
    })
    .await;
    assert_eq!(status(address, "/healthz").await, Some(200));
    assert_eq!(status(address, "/metrics").await, Some(200));

    let mut pause = proxy.pause(&layers[0].digest, 2 << 20);
    let mut pull = containerd.ctr_pull(&name);
    pause.reached().await;
    let half = |pull: &PullReport| {
        pull.layers.iter().any(|layer| layer.downloaded_bytes == 2 << 20 && layer.total_known)
    };
    server.until("half of the first layer", |report| report.pulls.iter().any(half)).await;
    pause.go_on();
    assert!(pull.ended().await);
    let completed = |pull: &PullReport| pull.phase == Some(PullPhase::Completed);
    let last = server.until("the end", |report| report.pulls.iter().any(completed)).await;
    let pull = last.pulls.iter().find(|pull| completed(pull)).expect("it ended");
    assert_eq!(pull.image_ref, name);
    assert!(pull.ended_at.is_some());
    let bytes: Vec<i64> = pull.layers.iter().map(|layer| layer.downloaded_bytes).collect();
    let expected: Vec<i64> = layers.iter().map(|layer| layer.bytes.len() as i64).collect();
    assert_eq!(bytes, expected, "{pull:?}");
    assert!(pull.layers.iter().all(|layer| layer.phase == Some(LayerPhase::Done)), "{pull:?}");
    server.until("the end was accepted and is forgotten", |report| report.pulls.is_empty()).await;

    containerd.kill();
    server.until("containerd is gone", |report| !report.error.is_empty()).await;
    assert_eq!(status(address, "/readyz").await, Some(503));
    assert_eq!(status(address, "/healthz").await, Some(200), "a restart would not help");
    containerd.restart().await;
    server.until("containerd is back", |report| report.error.is_empty()).await;

    server.reports.lock().clear();
    assert_eq!(program.stop().await, Some(0));
    assert!(!server.reports.lock().is_empty(), "a last report was sent");
}

#[test]
fn wrong_settings_are_told_together() {
    let output = ended(&["--server", "ftp://tinyobs", "--interval", "soon"]);
    assert_eq!(output.status.code(), Some(2));
    let text = String::from_utf8(output.stderr).expect("text");
    assert_eq!(text.lines().count(), 3, "{text}");
    assert!(text.lines().all(|line| line.starts_with("error: --")), "{text}");
    assert_eq!(ended(&["--unknown"]).status.code(), Some(2));
    assert_eq!(ended(&["--version"]).status.code(), Some(0));
}

#[test]
fn what_may_not_be_used_ends_the_program() {
    let folder = tempfile::tempdir().expect("a folder");
    let socket = folder.path().join("c.sock");
    drop(UnixListener::bind(&socket).expect("a socket"));
    let check = |arguments: &[&str], why: &str| {
        let always = ["--server", "https://localhost", "--node", "n"];
        let output = ended(&[&always, arguments].concat());
        assert_eq!(output.status.code(), Some(1), "{why}");
        let text = String::from_utf8(output.stderr).expect("text");
        assert!(text.contains(why), "{text}");
    };
    let socket = socket.display().to_string();
    check(&["--containerd-socket", &socket], "not in an allowed folder");
    check(&["--token-file", "/nowhere/token"], "read '/nowhere/token': No such file");
}
