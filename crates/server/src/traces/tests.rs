//! Spans from the program to a receiver.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use api::TraceContext as _;
use bytes::Bytes;
use http::StatusCode;
use model::Timestamp;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::tonic::trace::v1::Span as ProtoSpan;
use parking_lot::Mutex;
use platform::{HttpClient, HttpError, HttpRequest, HttpResponse, SimClock, SimRng};
use prost::Message as _;
use tokio::sync::watch;
use tracing_subscriber::layer::SubscriberExt as _;

use super::*;

/// Keeps requests and answers them with one status.
#[derive(Debug)]
struct Receiver(StatusCode, Mutex<Vec<HttpRequest>>);

impl HttpClient for Receiver {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        self.1.lock().push(request);
        let response =
            HttpResponse { status: self.0, headers: HeaderMap::new(), body: Bytes::new() };
        Box::pin(std::future::ready(Ok(response)))
    }
}

impl Receiver {
    fn answering(status: u16) -> Arc<Self> {
        let status = StatusCode::from_u16(status).expect("a status");
        Arc::new(Self(status, Mutex::default()))
    }

    /// Returns the spans that arrived, by name.
    fn spans(&self) -> BTreeMap<String, ProtoSpan> {
        let requests = self.1.lock();
        let decoded = requests.iter().map(|request| {
            ExportTraceServiceRequest::decode(request.body.clone()).expect("a valid request")
        });
        let resources = decoded.flat_map(|request| request.resource_spans);
        let scopes = resources.flat_map(|resource| resource.scope_spans);
        scopes.flat_map(|scope| scope.spans).map(|span| (span.name.clone(), span)).collect()
    }
}

fn config(headers: &str) -> TracesConfig {
    TracesConfig {
        endpoint: "http://collector:4318/".to_owned(),
        headers: Some(SecretString::from(headers.to_owned())),
        timeout: Duration::from_secs(10),
        sample_ratio: 1.0,
    }
}

/// Runs `work` with tracing on, stops, and returns what became of its spans.
fn traced(receiver: &Arc<Receiver>, work: impl FnOnce()) -> Arc<Stats> {
    let traces = open(&config("x-token: secret"), SimRng::new(1)).expect("valid").expect("on");
    let subscriber = tracing_subscriber::registry().with(vec![traces.layer]);
    tracing::subscriber::with_default(subscriber, work);
    let stats = traces.exporter.stats();
    let clock = SimClock::new(Timestamp::from_millis(0));
    let (_stop, stopped) = watch::channel(true);
    let runtime = tokio::runtime::Builder::new_current_thread().build().expect("a runtime");
    runtime.block_on(traces.exporter.run(Arc::clone(receiver) as _, Arc::new(clock), stopped));
    stats
}

const PARENT: &str = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01";

#[test]
fn spans_belong_to_the_trace_of_the_request_and_to_each_other() {
    let receiver = Receiver::answering(200);
    let stats = traced(&receiver, || {
        let request = tracing::info_span!(target: "trace", "request", otel.name = "GET /x");
        let headers = HeaderMap::from_iter([(
            HeaderName::from_static("traceparent"),
            HeaderValue::from_static(PARENT),
        )]);
        Propagation::default().adopt(&request, &headers);
        let _entered = request.enter();
        let _log = tracing::info_span!("only for the log").entered();
        let _query = tracing::info_span!(target: "trace", "query").entered();
    });
    let spans = receiver.spans();
    assert_eq!(spans.keys().collect::<Vec<_>>(), ["GET /x", "query"]);
    let (request, query) = (&spans["GET /x"], &spans["query"]);
    let hex = |bytes: &[u8]| bytes.iter().map(|byte| format!("{byte:02x}")).collect::<String>();
    assert_eq!(hex(&request.trace_id), "0af7651916cd43dd8448eb211c80319c");
    assert_eq!(hex(&request.parent_span_id), "b7ad6b7169203331");
    assert_eq!((&query.trace_id, &query.parent_span_id), (&request.trace_id, &request.span_id));
    assert_eq!((stats.exported(), stats.queued(), stats.failed()), (2, 0, 0));

    let requests = receiver.1.lock();
    let sent = requests.first().expect("a request");
    assert_eq!(sent.url, "http://collector:4318/v1/traces");
    assert_eq!(sent.headers["x-token"], "secret");
    assert!(!format!("{sent:?}").contains("secret"), "{sent:?}");
}

#[test]
fn what_the_receiver_refuses_and_what_does_not_fit_is_counted() {
    let receiver = Receiver::answering(503);
    let stats = traced(&receiver, || {
        for _ in 0..2_050 {
            drop(tracing::info_span!(target: "trace", "step"));
        }
    });
    assert_eq!((stats.failed(), stats.dropped(), stats.exported()), (2_048, 2, 0));
    assert_eq!((stats.queued(), receiver.1.lock().len()), (0, 4));
}

#[test]
fn outgoing_requests_say_which_trace_they_belong_to() {
    let (receiver, target) = (Receiver::answering(200), Receiver::answering(200));
    let client = PropagatingHttpClient::new(Arc::clone(&target) as _);
    let request = HttpRequest {
        method: http::Method::GET,
        url: "http://target/".to_owned(),
        headers: HeaderMap::new(),
        body: Bytes::new(),
        timeout: Duration::from_secs(1),
        response_bytes_max: 1,
    };
    traced(&receiver, || {
        drop(client.send(request.clone()));
        let _scrape = tracing::info_span!(target: "trace", "scrape").entered();
        drop(client.send(request));
    });
    let sent = target.1.lock();
    assert_eq!(sent[0].headers.get("traceparent"), None);
    let parent = sent[1].headers["traceparent"].to_str().expect("text");
    assert!(parent.starts_with("00-") && parent.ends_with("-01"), "{parent}");
}

#[test]
fn off_is_the_default_and_headers_are_checked() {
    let off = TracesConfig { endpoint: String::new(), ..config("") };
    assert!(open(&off, SimRng::new(1)).expect("valid").is_none());
    for headers in ["no colon", ": value", "na me: value", "name: va\u{7}lue"] {
        assert!(open(&config(headers), SimRng::new(1)).is_err(), "{headers}");
    }
    let two = config("a: 1\n\n b : 2 ").headers().expect("valid");
    assert_eq!((two.len(), &two["b"]), (2, &HeaderValue::from_static("2")));
}
