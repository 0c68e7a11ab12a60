//! What every request leaves behind: an identifier, a log line, a span, and counts.

use std::fmt;
use std::sync::{Arc, OnceLock};
use std::time::Duration;

use access::Principal;
use axum::extract::{MatchedPath, Request};
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode};
use model::TenantId;
use platform::{Clock, Rng};
use tracing::{Instrument as _, Span, field};

use crate::endpoint::Class;
use crate::failure::CODE_HEADER;
use crate::parts::App;
use crate::profiles::Profiler;
use crate::serve::ConnectionInfo;
use crate::stats::{ApiStats, Finished, NOWHERE, PAGE};

/// Carries a request's identifier, in both directions.
pub(crate) const ID_HEADER: HeaderName = HeaderName::from_static("x-request-id");
/// The longest identifier that is taken from a client, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What the program says about itself as a page of metrics.
pub trait Exposition: Send + Sync + fmt::Debug {
    /// Returns the page as OpenMetrics 1.0. Blocking.
    fn open_metrics(&self) -> Arc<str>;

    /// Returns the page in Prometheus' text format 0.0.4. Blocking.
    fn plain(&self) -> String;
}

/// Joins requests with the traces that they belong to.
pub trait TraceContext: Send + Sync + fmt::Debug {
    /// Makes `span` a part of the trace that the headers of its request name, if they do.
    fn adopt(&self, span: &Span, headers: &HeaderMap);
}

/// How requests are observed.
#[derive(Clone, Debug)]
pub struct Observability {
    /// Counts requests.
    pub stats: Arc<ApiStats>,
    /// What `/metrics` answers.
    pub exposition: Arc<dyn Exposition>,
    /// What `/debug/pprof/…` answers.
    pub profiler: Arc<dyn Profiler>,
    /// Whether `/metrics` answers everybody.
    pub metrics_public: bool,
    /// Where spans go, unless they go nowhere.
    pub traces: Option<Arc<dyn TraceContext>>,
    /// From how long on a request is logged as a warning.
    pub slow_request: Duration,
}

/// The identifier of a request, for those who handle it.
#[derive(Clone, Debug)]
pub(crate) struct RequestId(pub(crate) HeaderValue);

impl RequestId {
    /// Returns what the client calls the request, if it is harmless, or a UUID of version 7.
    fn of(headers: &HeaderMap, clock: &dyn Clock, rng: &dyn Rng) -> Self {
        let given = headers.get(ID_HEADER).filter(|value| is_harmless(value.as_bytes()));
        Self(given.cloned().unwrap_or_else(|| new_id(clock, rng)))
    }

    fn as_str(&self) -> &str {
        self.0.to_str().unwrap_or_default()
    }
}

fn is_harmless(id: &[u8]) -> bool {
    let harmless = |byte: &u8| byte.is_ascii_alphanumeric() || b"-_.:/+=@".contains(byte);
    (1..=ID_BYTES_MAX).contains(&id.len()) && id.iter().all(harmless)
}

/// Returns a UUID of version 7 (RFC 9562): sorted by time, unguessable.
fn new_id(clock: &dyn Clock, rng: &dyn Rng) -> HeaderValue {
    let mut random = [0; 10];
    rng.fill(&mut random);
    let millis = u64::try_from(clock.now().as_millis()).unwrap_or(0);
    let id = uuid::Builder::from_unix_timestamp_millis(millis, &random).into_uuid();
    // Hexadecimal digits and dashes are always a header's value.
    HeaderValue::try_from(id.hyphenated().to_string()).unwrap_or(HeaderValue::from_static("none"))
}

/// What enforcement finds out about a request.
#[derive(Clone, Debug)]
pub(crate) struct Notes {
    noted: Arc<OnceLock<Noted>>,
    /// The request's spans in the log and in the trace.
    spans: [Span; 2],
}

#[derive(Clone, Debug)]
struct Noted {
    class: Class,
    caller: Option<(TenantId, Arc<Principal>)>,
}

impl Notes {
    /// Remembers what a request is and who sent it; in the log's and the trace's span as well.
    pub(crate) fn note(&self, class: Class, caller: Option<(&TenantId, &Arc<Principal>)>) {
        if let Some((tenant, principal)) = caller {
            for span in &self.spans {
                span.record("tenant", tenant.as_str());
                span.record("principal", field::display(principal));
            }
        }
        let caller = caller.map(|(tenant, principal)| (tenant.clone(), Arc::clone(principal)));
        // Noted once: enforcement runs once for a request.
        drop(self.noted.set(Noted { class, caller }));
    }
}

/// Wraps everything else.
pub(crate) async fn observe(app: Arc<App>, mut request: Request, next: Next) -> Response {
    let begun = app.clock.monotonic();
    let _in_flight = app.observability.stats.in_flight.enter();
    let id = RequestId::of(request.headers(), app.clock.as_ref(), app.rng.as_ref());
    let seen = Seen::of(&request);
    let route = seen.route.as_ref().map_or(NOWHERE, MatchedPath::as_str);
    // Names that a proxy or a client gives are in here only where the log escapes them.
    let context = tracing::info_span!(
        "request",
        request_id = id.as_str(),
        tenant = field::Empty,
        principal = field::Empty
    );
    let span = context.in_scope(|| trace_span(&app, &seen, route, request.headers()));
    let notes = Notes { noted: Arc::default(), spans: [context.clone(), span.clone()] };
    request.extensions_mut().insert(notes.clone());
    request.extensions_mut().insert(id.clone());
    let mut response = next.run(request).instrument(span.clone()).instrument(context).await;
    let status = response.status();
    span.record("http.response.status_code", status.as_u16());
    if status.is_server_error() {
        span.record("otel.status_code", "ERROR");
    }
    let at = app.clock.monotonic();
    let took = at.saturating_sub(begun);
    let is_page = seen.route.is_none() && !status.is_client_error();
    let code = response.headers().get(CODE_HEADER).cloned();
    let finished = Finished {
        route: if is_page { PAGE } else { route },
        method: &seen.method,
        status,
        code: code.as_ref().and_then(|code| code.to_str().ok()),
        took,
        received_bytes: seen.bytes,
        sent_bytes: http_body::Body::size_hint(response.body()).exact().unwrap_or(0),
        at,
    };
    app.observability.stats.finished(finished);
    log(&app, &id, &seen, &finished, notes.noted.get());
    response.headers_mut().insert(ID_HEADER, id.0);
    response
}

/// What is remembered of a request while it is handled.
struct Seen {
    method: http::Method,
    route: Option<MatchedPath>,
    peer: Option<std::net::SocketAddr>,
    bytes: u64,
}

impl Seen {
    fn of(request: &Request) -> Self {
        let extensions = request.extensions();
        Self {
            method: request.method().clone(),
            route: extensions.get::<MatchedPath>().cloned(),
            peer: extensions.get::<ConnectionInfo>().map(|connection| connection.peer),
            bytes: http_body::Body::size_hint(request.body()).lower(),
        }
    }
}

/// Begins the request's part of a trace. Spans of traces have a target of their own, so that they cost nothing where
/// they go nowhere, and do not show in the log.
fn trace_span(app: &App, seen: &Seen, route: &str, headers: &HeaderMap) -> Span {
    let Some(traces) = &app.observability.traces else { return Span::none() };
    let span = tracing::info_span!(
        target: "trace",
        "request",
        otel.name = format!("{} {route}", seen.method),
        otel.kind = "server",
        otel.status_code = field::Empty,
        http.request.method = seen.method.as_str(),
        http.route = route,
        http.response.status_code = field::Empty,
        tenant = field::Empty,
        principal = field::Empty,
    );
    traces.adopt(&span, headers);
    span
}

/// Writes the request's line of the log.
fn log(app: &App, id: &RequestId, seen: &Seen, done: &Finished<'_>, noted: Option<&Noted>) {
    let caller = noted.and_then(|noted| noted.caller.as_ref());
    let tenant = caller.map(|(tenant, _)| tenant.as_str());
    let principal = caller.map(|(_, principal)| field::display(principal));
    // To the microsecond: more digits are noise of the division.
    let latency_ms = (done.took.as_secs_f64() * 1e6).round() / 1e3;
    macro_rules! line {
        ($level:ident, $message:literal) => {
            tracing::$level!(
                parent: None,
                request_id = id.as_str(),
                route = done.route,
                method = seen.method.as_str(),
                status = done.status.as_u16(),
                code = done.code,
                latency_ms,
                tenant,
                principal,
                peer = seen.peer.map(field::display),
                received_bytes = done.received_bytes,
                sent_bytes = done.sent_bytes,
                $message
            )
        };
    }
    let is_live = done.status == StatusCode::SWITCHING_PROTOCOLS;
    let class = noted.map(|noted| noted.class);
    // Thousands of agents say once a second that all is as expected.
    let is_usual = class == Some(Class::Report) && done.status.is_success();
    let is_probe = class == Some(Class::Probe);
    if done.took >= app.observability.slow_request && !is_live {
        line!(warn, "slow request");
    } else if is_probe || is_usual || done.route == PAGE {
        line!(debug, "request");
    } else {
        line!(info, "request");
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use platform::{SimClock, SimRng};

    use super::*;

    fn id_for(given: Option<&[u8]>) -> String {
        let mut headers = HeaderMap::new();
        if let Some(given) = given {
            headers.insert(ID_HEADER, HeaderValue::from_bytes(given).expect("a header"));
        }
        let clock = SimClock::new(Timestamp::from_millis(1_732_000_000_000));
        RequestId::of(&headers, &clock, SimRng::new(1).as_ref()).as_str().to_owned()
    }

    #[test]
    fn a_harmless_identifier_is_kept_and_any_other_replaced() {
        let longest = [b'a'; ID_BYTES_MAX];
        for kept in [&b"abc-1_2.3:4"[..], &longest] {
            assert_eq!(id_for(Some(kept)).as_bytes(), kept);
        }
        let too_long = [b'a'; ID_BYTES_MAX + 1];
        for replaced in [
            None,
            Some(&b""[..]),
            Some(b"a b"),
            Some(b"a\"b"),
            Some(b"\xe2\x80\xae"),
            Some(&too_long),
        ] {
            let id = id_for(replaced);
            assert_eq!((id.len(), &id[..8], &id[14..15]), (36, "0193433e", "7"), "{replaced:?}");
        }
    }
}
