//! Sends spans to an OTLP receiver: a bounded queue, batches, and what does not fit or arrive is counted.

use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, HeaderValue, Method, header};
use opentelemetry::Context;
use opentelemetry_proto::tonic::collector::trace::v1::ExportTraceServiceRequest;
use opentelemetry_proto::transform::common::tonic::ResourceAttributesWithSchema;
use opentelemetry_proto::transform::trace::tonic::group_spans_by_resource_and_scope;
use opentelemetry_sdk::Resource;
use opentelemetry_sdk::error::OTelSdkResult;
use opentelemetry_sdk::trace::{Span, SpanData, SpanProcessor};
use platform::{Clock, HttpClient, HttpRequest};
use prost::Message as _;
use tokio::sync::{mpsc, watch};

/// Most spans that wait; further ones are dropped.
const QUEUE_SPANS_MAX: usize = 2_048;
/// Most spans in one request.
const BATCH_SPANS_MAX: usize = 512;
/// How long a span waits for others at most.
const BATCH_WAIT: Duration = Duration::from_secs(5);
/// The most that is read of an answer, in bytes; what it says is not looked at.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// What became of spans.
#[derive(Debug, Default)]
pub(crate) struct Stats {
    queued: AtomicU64,
    exported: AtomicU64,
    dropped: AtomicU64,
    failed: AtomicU64,
}

impl Stats {
    /// Returns how many spans wait.
    pub(crate) fn queued(&self) -> u64 {
        self.queued.load(Ordering::Relaxed)
    }

    /// Returns how many spans the receiver took.
    pub(crate) fn exported(&self) -> u64 {
        self.exported.load(Ordering::Relaxed)
    }

    /// Returns how many spans were lost because the queue was full.
    pub(crate) fn dropped(&self) -> u64 {
        self.dropped.load(Ordering::Relaxed)
    }

    /// Returns how many spans were lost because the receiver did not take them.
    pub(crate) fn failed(&self) -> u64 {
        self.failed.load(Ordering::Relaxed)
    }
}

/// Takes spans when they end, without waiting.
#[derive(Debug)]
pub(super) struct Queue {
    sender: mpsc::Sender<SpanData>,
    stats: Arc<Stats>,
}

impl Queue {
    /// Returns a queue and its other end.
    pub(super) fn new() -> (Self, mpsc::Receiver<SpanData>) {
        let (sender, receiver) = mpsc::channel(QUEUE_SPANS_MAX);
        (Self { sender, stats: Arc::default() }, receiver)
    }

    pub(super) fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }
}

impl SpanProcessor for Queue {
    fn on_start(&self, _: &mut Span, _: &Context) {}

    fn on_end(&self, span: SpanData) {
        // Counted before, so that the exporter never counts down what was not counted up.
        self.stats.queued.fetch_add(1, Ordering::Relaxed);
        if self.sender.try_send(span).is_err() {
            self.stats.queued.fetch_sub(1, Ordering::Relaxed);
            self.stats.dropped.fetch_add(1, Ordering::Relaxed);
        }
    }

    fn force_flush(&self) -> OTelSdkResult {
        Ok(())
    }

    fn shutdown_with_timeout(&self, _: Duration) -> OTelSdkResult {
        Ok(())
    }
}

/// Sends what a [`Queue`] took.
pub(crate) struct Exporter {
    spans: mpsc::Receiver<SpanData>,
    stats: Arc<Stats>,
    url: String,
    headers: HeaderMap,
    timeout: Duration,
    resource: ResourceAttributesWithSchema,
    is_failing: bool,
}

impl fmt::Debug for Exporter {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Exporter").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Exporter {
    pub(super) fn new(
        spans: mpsc::Receiver<SpanData>,
        stats: Arc<Stats>,
        (url, mut headers): (String, HeaderMap),
        timeout: Duration,
        resource: &Resource,
    ) -> Self {
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        let resource = resource.into();
        Self { spans, stats, url, headers, timeout, resource, is_failing: false }
    }

    /// Returns what became of spans so far, and will.
    pub(crate) fn stats(&self) -> Arc<Stats> {
        Arc::clone(&self.stats)
    }

    /// Sends spans until it is told to stop, and then those that are left.
    pub(crate) async fn run(
        mut self,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        mut stopped: watch::Receiver<bool>,
    ) {
        let mut batch = Vec::new();
        let mut stops = false;
        while !stops {
            let due = clock.monotonic().saturating_add(BATCH_WAIT);
            while batch.len() < BATCH_SPANS_MAX {
                let room = BATCH_SPANS_MAX - batch.len();
                let more = tokio::select! {
                    biased;
                    _ = stopped.wait_for(|stopped| *stopped) => { stops = true; false }
                    received = self.spans.recv_many(&mut batch, room) => received > 0,
                    () = clock.sleep_until(due) => false,
                };
                if !more {
                    break;
                }
            }
            self.send(&mut batch, http.as_ref()).await;
        }
        self.spans.close();
        while self.spans.recv_many(&mut batch, BATCH_SPANS_MAX).await > 0 {
            self.send(&mut batch, http.as_ref()).await;
        }
    }

    async fn send(&mut self, batch: &mut Vec<SpanData>, http: &dyn HttpClient) {
        if batch.is_empty() {
            return;
        }
        let spans = std::mem::take(batch);
        let count = spans.len() as u64;
        let resource_spans = group_spans_by_resource_and_scope(spans, &self.resource);
        let body = ExportTraceServiceRequest { resource_spans }.encode_to_vec();
        let request = HttpRequest {
            method: Method::POST,
            url: self.url.clone(),
            headers: self.headers.clone(),
            body: Bytes::from(body),
            timeout: self.timeout,
            response_bytes_max: ANSWER_BYTES_MAX,
        };
        let refused = match http.send(request).await {
            Ok(response) if response.status.is_success() => None,
            Ok(response) => Some(format!("it answered {}", response.status)),
            Err(error) => Some(error.to_string()),
        };
        self.stats.queued.fetch_sub(count, Ordering::Relaxed);
        match refused {
            None => {
                self.stats.exported.fetch_add(count, Ordering::Relaxed);
                self.is_failing = false;
            }
            Some(reason) => {
                self.stats.failed.fetch_add(count, Ordering::Relaxed);
                // Said once: a counter tells the rest.
                if !self.is_failing {
                    tracing::warn!(reason, spans = count, "traces could not be delivered");
                }
                self.is_failing = true;
            }
        }
    }
}
