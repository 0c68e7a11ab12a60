//! What the agent says of itself: whether it works, and its metrics.

use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicI64, AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{Method, Request, Response, StatusCode, header};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use platform::{Clock, Tasks, Timestamp};
use tokio::net::{TcpListener, TcpStream};

use crate::Snapshot;
use crate::reporter::AnswerKind;

#[cfg(test)]
mod tests;

/// How long the agent may take for what it should have done before it counts as stuck. Idle, it looks every 5 s.
const STUCK_AFTER: Duration = Duration::from_secs(60);

/// Most connections at a time. Further ones wait.
const CONNECTIONS_MAX: usize = 16;

/// The longest that a connection is kept. Each is for one answer, so that those who say nothing hold up a probe for less
/// than it waits.
const CONNECTION_TIME_MAX: Duration = Duration::from_secs(2);

/// The pause after a connection could not be taken, as without free file descriptors.
const ACCEPT_PAUSE: Duration = Duration::from_millis(100);

/// What is known of the agent's own work. Times are monotonic milliseconds where nothing else is said.
#[derive(Debug)]
pub(crate) struct Statistics {
    looks: AtomicU64,
    look_errors: AtomicU64,
    looked_at: AtomicU64,
    looks_well: AtomicBool,
    reports: [AtomicU64; AnswerKind::ALL.len()],
    reported_bytes: AtomicU64,
    /// When the next report should be over.
    report_by: AtomicU64,
    reports_well: AtomicBool,
    /// By the wall clock, in milliseconds; 0 is never.
    accepted_at: AtomicI64,
    /// By the wall clock, in milliseconds; 0 is never.
    seen_at: AtomicI64,
    active: AtomicU64,
}

impl Statistics {
    /// Returns the statistics of an agent that begins at `now`.
    pub(crate) fn new(now: Duration) -> Self {
        Self {
            looks: AtomicU64::new(0),
            look_errors: AtomicU64::new(0),
            looked_at: AtomicU64::new(millis(now)),
            looks_well: AtomicBool::new(false),
            reports: std::array::from_fn(|_| AtomicU64::new(0)),
            reported_bytes: AtomicU64::new(0),
            report_by: AtomicU64::new(millis(now)),
            reports_well: AtomicBool::new(false),
            accepted_at: AtomicI64::new(0),
            seen_at: AtomicI64::new(0),
            active: AtomicU64::new(0),
        }
    }

    pub(crate) fn looked(&self, (now, wall): (Duration, Timestamp), snapshot: &Snapshot) {
        let well = snapshot.error.is_empty();
        self.looks.fetch_add(1, Ordering::Relaxed);
        self.look_errors.fetch_add(u64::from(!well), Ordering::Relaxed);
        self.looked_at.store(millis(now), Ordering::Relaxed);
        self.looks_well.store(well, Ordering::Relaxed);
        if well {
            self.seen_at.store(wall.as_millis(), Ordering::Relaxed);
        }
        let active = snapshot.pulls.iter().filter(|pull| pull.ended_at.is_none()).count();
        self.active.store(active as u64, Ordering::Relaxed);
    }

    pub(crate) fn answered(&self, wall: Timestamp, kind: AnswerKind) {
        let at = AnswerKind::ALL.iter().position(|known| *known == kind);
        if let Some(count) = at.and_then(|at| self.reports.get(at)) {
            count.fetch_add(1, Ordering::Relaxed);
        }
        let well = kind == AnswerKind::Accepted;
        self.reports_well.store(well, Ordering::Relaxed);
        if well {
            self.accepted_at.store(wall.as_millis(), Ordering::Relaxed);
        }
    }

    pub(crate) fn sent(&self, bytes: usize) {
        self.reported_bytes.fetch_add(bytes as u64, Ordering::Relaxed);
    }

    /// Says when the next report should be over.
    pub(crate) fn expect_report_by(&self, time: Duration) {
        self.report_by.store(millis(time), Ordering::Relaxed);
    }

    /// Returns why the agent is stuck, if it is: a restart may help.
    fn stuck(&self, now: Duration) -> Option<&'static str> {
        let late = |since: &AtomicU64| {
            millis(now).saturating_sub(since.load(Ordering::Relaxed)) > millis(STUCK_AFTER)
        };
        if late(&self.looked_at) {
            return Some("the agent does not look any more");
        }
        late(&self.report_by).then_some("the agent does not report any more")
    }

    /// Returns why nothing is to be expected of the agent at the moment, if so.
    fn unready(&self, now: Duration) -> Option<&'static str> {
        if let Some(stuck) = self.stuck(now) {
            return Some(stuck);
        }
        if !self.looks_well.load(Ordering::Relaxed) {
            return Some("the last look failed, or there was none");
        }
        let well = self.reports_well.load(Ordering::Relaxed);
        (!well).then_some("the last report was not accepted, or there was none")
    }

    /// Returns the metrics in the text format of Prometheus.
    fn metrics(&self) -> String {
        let mut text = String::new();
        let mut metric = |name: &str, kind: &str, help: &str, values: &[(&str, f64)]| {
            let name = format!("tinyobs_agent_{name}");
            text.push_str(&format!("# HELP {name} {help}\n# TYPE {name} {kind}\n"));
            for (labels, value) in values {
                text.push_str(&format!("{name}{labels} {value}\n"));
            }
        };
        let count = |count: &AtomicU64| count.load(Ordering::Relaxed) as f64;
        let seconds = |time: &AtomicI64| time.load(Ordering::Relaxed) as f64 / 1_000.0;
        let version = concat!("{version=\"", env!("CARGO_PKG_VERSION"), "\"}");
        metric("build_info", "gauge", "The version.", &[(version, 1.0)]);
        metric("looks_total", "counter", "Looks at the pulls.", &[("", count(&self.looks))]);
        let failed = [("", count(&self.look_errors))];
        metric("look_errors_total", "counter", "Looks that failed.", &failed);
        let seen = [("", seconds(&self.seen_at))];
        metric(
            "last_look_success_timestamp_seconds",
            "gauge",
            "The last look that did not fail.",
            &seen,
        );
        let labels = AnswerKind::ALL.map(|kind| format!("{{result=\"{}\"}}", kind.as_str()));
        let reports: Vec<(&str, f64)> =
            labels.iter().zip(&self.reports).map(|(label, n)| (label.as_str(), count(n))).collect();
        metric("reports_total", "counter", "Reports by what became of them.", &reports);
        let bytes = [("", count(&self.reported_bytes))];
        metric("report_bytes_total", "counter", "Bytes of reports before compression.", &bytes);
        let accepted = [("", seconds(&self.accepted_at))];
        metric(
            "last_report_success_timestamp_seconds",
            "gauge",
            "The last report that was accepted.",
            &accepted,
        );
        let active = [("", count(&self.active))];
        metric("pulls_active", "gauge", "Pulls that run.", &active);
        text
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

/// Answers on `listener` until it is dropped.
pub(crate) async fn serve(
    listener: TcpListener,
    statistics: Arc<Statistics>,
    clock: Arc<dyn Clock>,
) {
    let mut connections = Tasks::new();
    loop {
        let accepted = tokio::select! {
            biased;
            // A connection that ended badly is a matter of its client.
            _ended = connections.join_next(), if !connections.is_empty() => continue,
            accepted = listener.accept(), if connections.len() < CONNECTIONS_MAX => accepted,
        };
        match accepted {
            Ok((stream, _)) => {
                let (statistics, clock) = (Arc::clone(&statistics), Arc::clone(&clock));
                connections.spawn("health connection", converse(stream, statistics, clock));
            }
            Err(error) => {
                tracing::warn!(%error, "cannot take a connection");
                clock.sleep_until(clock.monotonic() + ACCEPT_PAUSE).await;
            }
        }
    }
}

async fn converse(stream: TcpStream, statistics: Arc<Statistics>, clock: Arc<dyn Clock>) {
    let end = clock.sleep_until(clock.monotonic() + CONNECTION_TIME_MAX);
    let answers = service_fn(|request: Request<Incoming>| {
        let now = clock.monotonic();
        let answer = answer(request.method(), request.uri().path(), &statistics, now);
        async move { Ok::<_, std::convert::Infallible>(answer) }
    });
    let connection =
        http1::Builder::new().keep_alive(false).serve_connection(TokioIo::new(stream), answers);
    tokio::select! {
        biased;
        () = end => {}
        // What goes wrong with it is a matter of the client.
        _ended = connection => {}
    }
}

fn answer(
    method: &Method,
    path: &str,
    statistics: &Statistics,
    now: Duration,
) -> Response<Full<Bytes>> {
    let state = |problem: Option<&str>| match problem {
        None => (StatusCode::OK, "ok\n".to_owned()),
        Some(problem) => (StatusCode::SERVICE_UNAVAILABLE, format!("{problem}\n")),
    };
    let (status, body) = match path {
        _ if method != Method::GET && method != Method::HEAD => {
            (StatusCode::METHOD_NOT_ALLOWED, "only GET and HEAD are answered\n".to_owned())
        }
        "/healthz" => state(statistics.stuck(now)),
        "/readyz" => state(statistics.unready(now)),
        "/metrics" => (StatusCode::OK, statistics.metrics()),
        _ => (StatusCode::NOT_FOUND, "there are /healthz, /readyz and /metrics\n".to_owned()),
    };
    let kind = if path == "/metrics" && status == StatusCode::OK {
        "text/plain; version=0.0.4; charset=utf-8"
    } else {
        "text/plain; charset=utf-8"
    };
    let mut response = Response::new(Full::new(body.into()));
    *response.status_mut() = status;
    response.headers_mut().insert(header::CONTENT_TYPE, header::HeaderValue::from_static(kind));
    response
}
