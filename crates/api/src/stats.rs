//! What the API counts about itself. Others give it names: this module knows no format.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use http::{Method, StatusCode};
use model::TenantId;
use parking_lot::Mutex;
use platform::{Histogram, HistogramSnapshot};

use crate::routes::endpoints;

/// The methods that are told apart; any other is the last one.
const METHODS: [&str; 7] = ["GET", "HEAD", "POST", "PUT", "PATCH", "DELETE", "other"];
/// The classes of statuses.
const CLASSES: [&str; 5] = ["1xx", "2xx", "3xx", "4xx", "5xx"];
/// The route of the page's files.
pub(crate) const PAGE: &str = "page";
/// The route of what is nowhere.
pub(crate) const NOWHERE: &str = "none";
/// How long the parts of the last minute are, and how many there are.
const PART: Duration = Duration::from_secs(5);
const PARTS: usize = 12;

/// A protocol that brings samples.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Protocol {
    /// `/v1/ingest`.
    Json,
    /// Prometheus remote write.
    RemoteWrite,
    /// OpenTelemetry.
    Otlp,
}

impl Protocol {
    /// All protocols, in order.
    pub const ALL: [Self; 3] = [Self::Json, Self::RemoteWrite, Self::Otlp];

    /// Returns the name.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Json => "json",
            Self::RemoteWrite => "remote_write",
            Self::Otlp => "otlp",
        }
    }

    /// Returns the protocol of a route.
    fn of_route(route: &str) -> Option<Self> {
        match route {
            "/v1/ingest" => Some(Self::Json),
            "/api/v1/write" => Some(Self::RemoteWrite),
            "/api/v1/otlp/v1/metrics" | "/v1/metrics" => Some(Self::Otlp),
            _ => None,
        }
    }
}

/// A number that goes up and down.
#[derive(Debug, Default)]
pub(crate) struct Gauge(AtomicU64);

/// One that is counted by a [`Gauge`] until it is dropped.
#[derive(Debug)]
pub(crate) struct Entered<'a>(&'a Gauge);

impl Gauge {
    /// Counts one more until the result is dropped.
    pub(crate) fn enter(&self) -> Entered<'_> {
        self.0.fetch_add(1, Ordering::Relaxed);
        Entered(self)
    }

    fn get(&self) -> u64 {
        self.0.load(Ordering::Relaxed)
    }
}

impl Drop for Entered<'_> {
    fn drop(&mut self) {
        self.0.0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// What a live connection travels on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LiveTransport {
    /// An answer that goes on.
    Stream,
    WebSocket,
}

/// A live connection that is counted until it is dropped.
#[derive(Debug)]
pub(crate) struct LiveConnection {
    stats: Arc<ApiStats>,
    transport: LiveTransport,
}

impl LiveConnection {
    /// Counts one more until the result is dropped.
    pub(crate) fn enter(stats: &Arc<ApiStats>, transport: LiveTransport) -> Self {
        stats.live_gauge(transport).0.fetch_add(1, Ordering::Relaxed);
        Self { stats: Arc::clone(stats), transport }
    }
}

impl Drop for LiveConnection {
    fn drop(&mut self) {
        self.stats.live_gauge(self.transport).0.fetch_sub(1, Ordering::Relaxed);
    }
}

/// Counts requests, queries and writes. Adding takes a few atomic additions, and for a moment a lock of its own.
#[derive(Debug)]
pub struct ApiStats {
    routes: BTreeMap<&'static str, Route>,
    pub(crate) in_flight: Gauge,
    recent: Mutex<Recent>,
    protocols: [ProtocolStats; Protocol::ALL.len()],
    pub(crate) queries: QueryStats,
    pub(crate) live: Gauge,
    live_streams: Gauge,
    /// Refusals by code. The codes are ours, so there are few.
    refused: Mutex<BTreeMap<String, u64>>,
    /// Tenants whose storage is left alone because it fails.
    breakers_open: Mutex<BTreeSet<TenantId>>,
}

#[derive(Debug)]
struct Route {
    requests: [[AtomicU64; CLASSES.len()]; METHODS.len()],
    durations: Histogram,
    received_bytes: AtomicU64,
    sent_bytes: AtomicU64,
}

/// The requests of the last minute in parts, the newest last.
#[derive(Debug, Default)]
struct Recent {
    parts: [Part; PARTS],
}

#[derive(Clone, Copy, Debug, Default)]
struct Part {
    /// Which stretch of [`PART`] since the start; 0 for none.
    number: u64,
    requests: u64,
    failed: u64,
}

#[derive(Debug, Default)]
struct ProtocolStats {
    requests: AtomicU64,
    failed: AtomicU64,
    bytes: AtomicU64,
    samples: AtomicU64,
}

/// What is counted of the work behind the gate.
#[derive(Debug)]
pub(crate) struct QueryStats {
    pub(crate) waiting: Gauge,
    pub(crate) running: Gauge,
    durations: Histogram,
    samples_read: AtomicU64,
    failed: Mutex<BTreeMap<&'static str, u64>>,
}

/// What happened in a request.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Finished<'a> {
    pub(crate) route: &'a str,
    pub(crate) method: &'a Method,
    pub(crate) status: StatusCode,
    /// The code of a refusal.
    pub(crate) code: Option<&'a str>,
    pub(crate) took: Duration,
    pub(crate) received_bytes: u64,
    pub(crate) sent_bytes: u64,
    /// The time when it ended, on the monotonic clock.
    pub(crate) at: Duration,
}

/// How many requests of one kind there were.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct RequestCount {
    /// The route's template, `page` or `none`; never a path that somebody asked for.
    pub route: &'static str,
    /// The method, or `other`.
    pub method: &'static str,
    /// The class of the status, such as `4xx`.
    pub status: &'static str,
    /// How many.
    pub requests: u64,
}

/// What is known of a route that was asked for.
#[derive(Clone, Debug)]
pub struct RouteCount {
    /// As in [`RequestCount`].
    pub route: &'static str,
    /// How long until the head of the answer was ready, in nanoseconds.
    pub durations: HistogramSnapshot,
    /// Bytes of bodies as they were announced.
    pub received_bytes: u64,
    /// Bytes of answers whose length was known.
    pub sent_bytes: u64,
}

/// What came in by one protocol.
#[derive(Clone, Copy, Debug)]
pub struct IngestCount {
    /// Which protocol.
    pub protocol: Protocol,
    /// Requests, the refused ones included.
    pub requests: u64,
    /// Requests that were refused, or that failed.
    pub failed: u64,
    /// Bytes of bodies as they were announced.
    pub bytes: u64,
    /// Samples that were stored.
    pub samples: u64,
}

/// What is known of queries and other reads.
#[derive(Clone, Debug)]
pub struct QueryCount {
    /// How long they waited and ran, in nanoseconds.
    pub durations: HistogramSnapshot,
    /// How many wait for their turn.
    pub waiting: u64,
    /// How many run.
    pub running: u64,
    /// Samples that they read.
    pub samples_read: u64,
    /// How many failed or were refused, by the code of the failure, ascending.
    pub failed: Vec<(&'static str, u64)>,
}

impl ApiStats {
    /// Returns counts of zero for every route.
    #[must_use]
    pub fn new() -> Self {
        let paths = endpoints().into_iter().map(|endpoint| endpoint.rule.path);
        Self {
            routes: paths.chain([PAGE, NOWHERE]).map(|path| (path, Route::new())).collect(),
            in_flight: Gauge::default(),
            recent: Mutex::default(),
            protocols: Default::default(),
            queries: QueryStats {
                waiting: Gauge::default(),
                running: Gauge::default(),
                durations: Histogram::of_durations(),
                samples_read: AtomicU64::new(0),
                failed: Mutex::default(),
            },
            live: Gauge::default(),
            live_streams: Gauge::default(),
            refused: Mutex::default(),
            breakers_open: Mutex::default(),
        }
    }

    /// Returns how many requests there were, by route, method and status; kinds that there were none of are left out.
    #[must_use]
    pub fn requests(&self) -> Vec<RequestCount> {
        let mut counts = Vec::new();
        for (route, stats) in &self.routes {
            for (method, by_class) in METHODS.iter().zip(&stats.requests) {
                for (status, requests) in CLASSES.iter().zip(by_class) {
                    let requests = requests.load(Ordering::Relaxed);
                    if requests > 0 {
                        counts.push(RequestCount { route, method, status, requests });
                    }
                }
            }
        }
        counts
    }

    /// Returns what is known of each route that was asked for, ascending.
    #[must_use]
    pub fn routes(&self) -> Vec<RouteCount> {
        let counts = self.routes.iter().map(|(route, stats)| RouteCount {
            route,
            durations: stats.durations.snapshot(),
            received_bytes: stats.received_bytes.load(Ordering::Relaxed),
            sent_bytes: stats.sent_bytes.load(Ordering::Relaxed),
        });
        counts.filter(|count| count.durations.count() > 0).collect()
    }

    /// Returns how many requests are being answered.
    #[must_use]
    pub fn in_flight(&self) -> u64 {
        self.in_flight.get()
    }

    /// Returns how many live connections there are by transport, ascending.
    #[must_use]
    pub fn live_connections(&self) -> [(&'static str, u64); 2] {
        [("stream", self.live_streams.get()), ("websocket", self.live.get())]
    }

    const fn live_gauge(&self, transport: LiveTransport) -> &Gauge {
        match transport {
            LiveTransport::Stream => &self.live_streams,
            LiveTransport::WebSocket => &self.live,
        }
    }

    /// Returns how many requests were refused or failed, by the code of the answer, ascending.
    #[must_use]
    pub fn refused(&self) -> Vec<(String, u64)> {
        self.refused.lock().iter().map(|(code, count)| (code.clone(), *count)).collect()
    }

    /// Returns the tenants whose storage is left alone because it fails, ascending.
    #[must_use]
    pub fn breakers_open(&self) -> Vec<TenantId> {
        self.breakers_open.lock().iter().cloned().collect()
    }

    /// Remembers whether a tenant's storage is left alone.
    pub(crate) fn breaker(&self, tenant: &TenantId, is_open: bool) {
        let mut open = self.breakers_open.lock();
        if is_open {
            open.insert(tenant.clone());
        } else {
            open.remove(tenant);
        }
    }

    /// Returns which share of the requests of the last minute failed by our fault (5xx); 0 when there was none.
    #[must_use]
    #[expect(clippy::cast_precision_loss, reason = "counts of a minute")]
    pub fn error_ratio(&self, now: Duration) -> f64 {
        let newest = part_number(now);
        let recent = self.recent.lock();
        let parts = recent.parts.iter().filter(|part| part.number + PARTS as u64 > newest);
        let (requests, failed) =
            parts.fold((0, 0), |sum, part| (sum.0 + part.requests, sum.1 + part.failed));
        if requests == 0 { 0.0 } else { failed as f64 / requests as f64 }
    }

    /// Returns what came in, by protocol.
    #[must_use]
    pub fn ingested(&self) -> [IngestCount; Protocol::ALL.len()] {
        Protocol::ALL.map(|protocol| {
            let stats = &self.protocols[protocol as usize];
            let read = |counter: &AtomicU64| counter.load(Ordering::Relaxed);
            IngestCount {
                protocol,
                requests: read(&stats.requests),
                failed: read(&stats.failed),
                bytes: read(&stats.bytes),
                samples: read(&stats.samples),
            }
        })
    }

    /// Returns what is known of queries and other reads.
    #[must_use]
    pub fn query_count(&self) -> QueryCount {
        let failed = self.queries.failed.lock();
        QueryCount {
            durations: self.queries.durations.snapshot(),
            waiting: self.queries.waiting.get(),
            running: self.queries.running.get(),
            samples_read: self.queries.samples_read.load(Ordering::Relaxed),
            failed: failed.iter().map(|(code, count)| (*code, *count)).collect(),
        }
    }

    /// Counts a request that was answered.
    pub(crate) fn finished(&self, done: Finished<'_>) {
        let failed = done.status.is_server_error();
        self.recent.lock().add(part_number(done.at), failed);
        if let Some(protocol) = Protocol::of_route(done.route) {
            let stats = &self.protocols[protocol as usize];
            stats.requests.fetch_add(1, Ordering::Relaxed);
            let refused = done.status.is_client_error() || failed;
            stats.failed.fetch_add(u64::from(refused), Ordering::Relaxed);
            stats.bytes.fetch_add(done.received_bytes, Ordering::Relaxed);
        }
        if let Some(code) = done.code {
            let mut refused = self.refused.lock();
            match refused.get_mut(code) {
                Some(count) => *count += 1,
                None => drop(refused.insert(code.to_owned(), 1)),
            }
        }
        let Some(route) = self.routes.get(done.route) else { return };
        route.durations.add_duration(done.took);
        route.received_bytes.fetch_add(done.received_bytes, Ordering::Relaxed);
        route.sent_bytes.fetch_add(done.sent_bytes, Ordering::Relaxed);
        let method = METHODS.iter().position(|method| *method == done.method.as_str());
        let class = usize::from(done.status.as_u16() / 100).saturating_sub(1);
        let by_class = &route.requests[method.unwrap_or(METHODS.len() - 1)];
        if let Some(requests) = by_class.get(class) {
            requests.fetch_add(1, Ordering::Relaxed);
        }
    }

    /// Counts samples that were stored.
    pub(crate) fn stored(&self, protocol: Protocol, samples: usize) {
        let stats = &self.protocols[protocol as usize];
        stats.samples.fetch_add(samples as u64, Ordering::Relaxed);
    }
}

impl Default for ApiStats {
    fn default() -> Self {
        Self::new()
    }
}

impl Route {
    fn new() -> Self {
        Self {
            requests: std::array::from_fn(|_| std::array::from_fn(|_| AtomicU64::new(0))),
            durations: Histogram::of_durations(),
            received_bytes: AtomicU64::new(0),
            sent_bytes: AtomicU64::new(0),
        }
    }
}

impl QueryStats {
    /// Counts work that ended, with the code of its failure.
    pub(crate) fn finished(&self, took: Duration, failure: Option<&'static str>) {
        self.durations.add_duration(took);
        if let Some(code) = failure {
            *self.failed.lock().entry(code).or_default() += 1;
        }
    }

    /// Counts samples that a query read.
    pub(crate) fn read(&self, samples: u64) {
        self.samples_read.fetch_add(samples, Ordering::Relaxed);
    }
}

impl Recent {
    fn add(&mut self, number: u64, failed: bool) {
        let index = usize::try_from(number % PARTS as u64).unwrap_or(0);
        let Some(part) = self.parts.get_mut(index) else { return };
        if part.number != number {
            *part = Part { number, ..Part::default() };
        }
        part.requests += 1;
        part.failed += u64::from(failed);
    }
}

/// Returns in which stretch of time a moment is; the first is 1 more than a minute, so that 0 is long ago.
fn part_number(at: Duration) -> u64 {
    at.as_secs() / PART.as_secs() + PARTS as u64 + 1
}

#[cfg(test)]
mod tests {
    use super::*;

    fn finish(stats: &ApiStats, route: &str, method: Method, status: u16, at_seconds: u64) {
        stats.finished(Finished {
            route,
            method: &method,
            status: StatusCode::from_u16(status).expect("a status"),
            code: (status == 429).then_some("rate_limited"),
            took: Duration::from_millis(3),
            received_bytes: 10,
            sent_bytes: 100,
            at: Duration::from_secs(at_seconds),
        });
    }

    #[test]
    fn requests_are_counted_by_route_method_and_class() {
        let stats = ApiStats::new();
        finish(&stats, "/v1/ingest", Method::POST, 200, 0);
        finish(&stats, "/v1/ingest", Method::POST, 201, 0);
        finish(&stats, "/v1/ingest", Method::POST, 429, 0);
        finish(&stats, "/etc/passwd", Method::GET, 404, 0);
        finish(&stats, NOWHERE, Method::TRACE, 404, 0);
        let count =
            |route, method, status, requests| RequestCount { route, method, status, requests };
        assert_eq!(
            stats.requests(),
            [
                count("/v1/ingest", "POST", "2xx", 2),
                count("/v1/ingest", "POST", "4xx", 1),
                count("none", "other", "4xx", 1),
            ]
        );
        let routes = stats.routes();
        let ingest = routes.first().expect("a route");
        assert_eq!(
            (ingest.durations.count(), ingest.received_bytes, ingest.sent_bytes),
            (3, 30, 300)
        );
        assert_eq!(stats.refused(), [("rate_limited".to_owned(), 1)]);
        let json = stats.ingested()[0];
        assert_eq!((json.requests, json.failed, json.bytes), (3, 1, 30));
    }

    #[test]
    fn the_error_ratio_is_that_of_the_last_minute() {
        let stats = ApiStats::new();
        let ratio = |seconds| stats.error_ratio(Duration::from_secs(seconds));
        assert_eq!(ratio(0), 0.0);
        finish(&stats, PAGE, Method::GET, 500, 0);
        finish(&stats, PAGE, Method::GET, 200, 30);
        finish(&stats, PAGE, Method::GET, 404, 30);
        finish(&stats, PAGE, Method::GET, 503, 31);
        assert_eq!(ratio(31), 0.5);
        assert_eq!(ratio(62), 1.0 / 3.0);
        assert_eq!(ratio(200), 0.0);
        finish(&stats, PAGE, Method::GET, 200, 600);
        assert_eq!(ratio(600), 0.0, "what was there a minute and more ago is forgotten");
    }

    #[test]
    fn what_runs_is_counted_until_it_ends() {
        let stats = ApiStats::new();
        let first = stats.in_flight.enter();
        let second = stats.in_flight.enter();
        assert_eq!(stats.in_flight(), 2);
        drop((first, second));
        assert_eq!(stats.in_flight(), 0);
    }
}
