//! What the agent says of itself, and over HTTP.

use http_body_util::BodyExt as _;
use platform::SimClock;
use report::PullReport;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};

use super::*;

const WALL: Timestamp = Timestamp::from_millis(1_771_883_126_500);

fn seconds(seconds: u64) -> Duration {
    Duration::from_secs(seconds)
}

fn snapshot(error: &str) -> Snapshot {
    Snapshot { error: error.to_owned(), ..Snapshot::default() }
}

#[test]
fn an_agent_is_healthy_while_it_looks_and_reports_whatever_comes_of_it() {
    let statistics = Statistics::new(seconds(0));
    let check = |now, expected: Option<&str>| {
        assert_eq!(statistics.stuck(seconds(now)), expected, "{now}");
    };
    check(60, None);
    check(61, Some("the agent does not look any more"));
    statistics.looked((seconds(61), WALL), &snapshot("containerd is not there"));
    check(61, Some("the agent does not report any more"));
    statistics.expect_report_by(seconds(40));
    check(61, None);
    statistics.answered(WALL, AnswerKind::Unreachable);
    check(100, None);
    check(101, Some("the agent does not report any more"));
}

#[test]
fn an_agent_is_ready_while_it_sees_pulls_and_its_reports_are_accepted() {
    let statistics = Statistics::new(seconds(0));
    let ready = |statistics: &Statistics| statistics.unready(seconds(1)).is_none();
    assert!(!ready(&statistics));
    statistics.looked((seconds(1), WALL), &snapshot(""));
    assert!(!ready(&statistics));
    statistics.answered(WALL, AnswerKind::Accepted);
    assert!(ready(&statistics));
    statistics.answered(WALL, AnswerKind::RateLimited);
    assert!(!ready(&statistics));
    statistics.answered(WALL, AnswerKind::Accepted);
    statistics.looked((seconds(1), WALL), &snapshot("containerd is not there"));
    assert!(!ready(&statistics));
    statistics.looked((seconds(1), WALL), &snapshot(""));
    assert!(statistics.unready(seconds(62)).is_some(), "what is stuck is not ready");
}

#[test]
fn metrics_count_looks_and_reports() {
    let statistics = Statistics::new(seconds(0));
    let mut seen = snapshot("");
    seen.pulls =
        vec![PullReport::default(), PullReport { ended_at: Some(WALL), ..PullReport::default() }];
    statistics.looked((seconds(1), WALL), &snapshot("no"));
    statistics.looked((seconds(1), WALL), &seen);
    statistics.sent(100);
    statistics.answered(WALL, AnswerKind::Accepted);
    statistics.answered(WALL, AnswerKind::TimedOut);
    let text = statistics.metrics();
    for line in [
        "# TYPE tinyobs_agent_looks_total counter",
        "tinyobs_agent_looks_total 2",
        "tinyobs_agent_look_errors_total 1",
        "tinyobs_agent_last_look_success_timestamp_seconds 1771883126.5",
        "tinyobs_agent_reports_total{result=\"accepted\"} 1",
        "tinyobs_agent_reports_total{result=\"timed_out\"} 1",
        "tinyobs_agent_reports_total{result=\"unauthorized\"} 0",
        "tinyobs_agent_report_bytes_total 100",
        "tinyobs_agent_last_report_success_timestamp_seconds 1771883126.5",
        "tinyobs_agent_pulls_active 1",
        concat!("tinyobs_agent_build_info{version=\"", env!("CARGO_PKG_VERSION"), "\"} 1"),
    ] {
        assert!(text.lines().any(|found| found == line), "{line} is not in\n{text}");
    }
}

#[tokio::test]
async fn each_path_is_answered() {
    let statistics = Statistics::new(seconds(0));
    let check = async |method: Method, path: &str, now, status: u16, begins: &str| {
        let response = answer(&method, path, &statistics, seconds(now));
        assert_eq!(response.status().as_u16(), status, "{path}");
        let body = response.into_body().collect().await.expect("a body").to_bytes();
        assert!(body.starts_with(begins.as_bytes()), "{path}: {body:?}");
    };
    check(Method::GET, "/healthz", 1, 200, "ok\n").await;
    check(Method::GET, "/healthz", 61, 503, "the agent does not look any more\n").await;
    check(Method::GET, "/readyz", 1, 503, "the last look failed").await;
    check(Method::GET, "/metrics", 1, 200, "# HELP tinyobs_agent_").await;
    check(Method::GET, "/", 1, 404, "").await;
    check(Method::POST, "/metrics", 1, 405, "").await;
}

async fn ask(address: std::net::SocketAddr) -> String {
    let mut stream = TcpStream::connect(address).await.expect("a connection");
    stream.write_all(b"GET /metrics HTTP/1.1\r\nHost: agent\r\n\r\n").await.expect("sent");
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.expect("an answer, and an end");
    answer
}

#[tokio::test]
async fn it_answers_over_http_however_many_say_nothing() {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = SimClock::new(WALL);
    let statistics = Arc::new(Statistics::new(seconds(0)));
    let mut tasks = Tasks::new();
    tasks.spawn("health", serve(listener, statistics, Arc::new(Arc::clone(&clock))));
    assert!(ask(address).await.starts_with("HTTP/1.1 200 OK\r\n"));
    let mut silent = Vec::new();
    for _ in 0..CONNECTIONS_MAX {
        silent.push(TcpStream::connect(address).await.expect("a connection"));
    }
    let asking = ask(address);
    tokio::pin!(asking);
    // Whether or not all are served already, they are gone after their time.
    let answer = loop {
        tokio::select! {
            biased;
            answer = &mut asking => break answer,
            () = tokio::task::yield_now() => clock.advance(CONNECTION_TIME_MAX),
        }
    };
    assert!(answer.starts_with("HTTP/1.1 200 OK\r\n"), "{answer}");
}
