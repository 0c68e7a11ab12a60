//! What the API counts: requests, queries, what comes in, connections.

use std::fmt;
use std::sync::Arc;

use api::{ApiStats, ServeStats};
use platform::Clock;
use prometheus_client::collector::Collector;
use prometheus_client::encoding::DescriptorEncoder;

use super::encode::{Metric, Writer};

const REQUESTS: Metric =
    Metric::new("http_requests", "Requests, by route, method and class of status.");
const DURATIONS: Metric = Metric::new(
    "http_request_duration_seconds",
    "How long it takes until the head of an answer is ready, by route.",
);
const RECEIVED: Metric =
    Metric::new("http_received_bytes", "Bytes of the bodies of requests, by route.");
const SENT: Metric = Metric::new("http_sent_bytes", "Bytes of the bodies of answers, by route.");
const REFUSED: Metric =
    Metric::new("http_errors", "Requests that were refused or failed, by the code of the answer.");
const BREAKERS: Metric = Metric::new(
    "storage_breakers_open",
    "Tenants whose storage is left alone for a while because it failed several times.",
);
const IN_FLIGHT: Metric =
    Metric::new("http_requests_in_flight", "Requests that are being answered.");
const ERROR_RATIO: Metric = Metric::new(
    "http_error_ratio",
    "Share of the requests of the last minute that failed by our fault.",
);
const LIVE: Metric = Metric::new("live_connections", "Clients of live updates, by transport.");
const QUERY_DURATIONS: Metric =
    Metric::new("query_duration_seconds", "How long queries wait and run.");
const QUERY_SAMPLES: Metric = Metric::new("query_samples_read", "Samples that queries read.");
const QUERIES_RUNNING: Metric = Metric::new("queries_running", "Queries that run.");
const QUERIES_WAITING: Metric = Metric::new("queries_waiting", "Queries that wait for a place.");
const QUERY_ERRORS: Metric =
    Metric::new("query_errors", "Queries that failed or were refused, by the code of the failure.");
const INGEST_REQUESTS: Metric =
    Metric::new("ingest_requests", "Requests that bring samples, by protocol.");
const INGEST_ERRORS: Metric = Metric::new(
    "ingest_errors",
    "Requests that bring samples and were refused or failed, by protocol.",
);
const INGEST_BYTES: Metric =
    Metric::new("ingest_bytes", "Bytes of requests that bring samples, by protocol.");
const INGEST_SAMPLES: Metric =
    Metric::new("ingest_samples", "Samples that were stored, by protocol.");
const CONNECTIONS: Metric = Metric::new("connections", "Connections that are open.");
const ACCEPTED: Metric = Metric::new("connections_accepted", "Connections that were accepted.");
const ENDED: Metric = Metric::new(
    "connections_ended",
    "Connections that were refused or ended by us before they were closed, by reason.",
);
const SPOKEN: Metric = Metric::new("connections_by_protocol", "Connections, by what they spoke.");
const HANDSHAKES: Metric = Metric::new("tls_handshakes", "TLS handshakes, by outcome.");

/// Reads what the API and its socket count.
#[derive(Debug)]
pub(crate) struct RequestsCollector {
    api: Arc<ApiStats>,
    socket: Arc<ServeStats>,
    clock: Arc<dyn Clock>,
}

impl RequestsCollector {
    pub(crate) const fn new(
        api: Arc<ApiStats>,
        socket: Arc<ServeStats>,
        clock: Arc<dyn Clock>,
    ) -> Self {
        Self { api, socket, clock }
    }

    fn requests(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let requests = self.api.requests();
        let requests = requests.iter().map(|count| {
            let labels =
                [("method", count.method), ("route", count.route), ("status", count.status)];
            (labels, count.requests)
        });
        writer.counters(REQUESTS, requests)?;
        let routes = self.api.routes();
        let bytes = |value: fn(&api::RouteCount) -> u64| {
            routes.iter().map(move |count| ([("route", count.route)], value(count)))
        };
        writer.counters(RECEIVED, bytes(|count| count.received_bytes))?;
        writer.counters(SENT, bytes(|count| count.sent_bytes))?;
        let durations =
            routes.iter().map(|count| ([("route", count.route)], count.durations.clone()));
        writer.durations(DURATIONS, durations)?;
        let refused = self.api.refused();
        let refused = refused.iter().map(|(code, count)| ([("code", code.as_str())], *count));
        writer.counters(REFUSED, refused)?;
        writer.gauge(BREAKERS, self.api.breakers_open().len() as u64)?;
        writer.gauge(IN_FLIGHT, self.api.in_flight())?;
        writer.gauge(ERROR_RATIO, self.api.error_ratio(self.clock.monotonic()))?;
        let live = self.api.live_connections();
        writer.gauges(LIVE, live.map(|(transport, count)| ([("transport", transport)], count)))
    }

    fn queries(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let queries = self.api.query_count();
        writer.durations(QUERY_DURATIONS, [([], queries.durations)])?;
        writer.counter(QUERY_SAMPLES, queries.samples_read)?;
        writer.gauge(QUERIES_RUNNING, queries.running)?;
        writer.gauge(QUERIES_WAITING, queries.waiting)?;
        let failed = queries.failed.iter().map(|(code, count)| ([("code", *code)], *count));
        writer.counters(QUERY_ERRORS, failed)
    }

    fn ingestion(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counts = self.api.ingested();
        let by_protocol = |value: fn(&api::IngestCount) -> u64| {
            counts.iter().map(move |count| ([("protocol", count.protocol.as_str())], value(count)))
        };
        writer.counters(INGEST_REQUESTS, by_protocol(|count| count.requests))?;
        writer.counters(INGEST_ERRORS, by_protocol(|count| count.failed))?;
        writer.counters(INGEST_BYTES, by_protocol(|count| count.bytes))?;
        writer.counters(INGEST_SAMPLES, by_protocol(|count| count.samples))
    }

    fn connections(&self, writer: &mut Writer<'_>) -> fmt::Result {
        let counts = self.socket.counts();
        writer.gauge(CONNECTIONS, counts.connections_open)?;
        writer.counter(ACCEPTED, counts.connections_accepted)?;
        let ended = [
            ([("reason", "idle")], counts.connections_idle),
            ([("reason", "not_tls")], counts.tls_missing),
            ([("reason", "silent")], counts.connections_silent),
            ([("reason", "stalled")], counts.connections_stalled),
            ([("reason", "too_many_of_address")], counts.connections_refused_address),
        ];
        writer.counters(ENDED, ended)?;
        let spoken = [
            ([("protocol", "http1")], counts.connections_http1),
            ([("protocol", "http2")], counts.connections_http2),
        ];
        writer.counters(SPOKEN, spoken)?;
        let handshakes = [
            ([("outcome", "failed")], counts.tls_handshakes_failed),
            ([("outcome", "succeeded")], counts.tls_handshakes),
            ([("outcome", "timed_out")], counts.tls_handshakes_timed_out),
        ];
        writer.counters(HANDSHAKES, handshakes)
    }
}

impl Collector for RequestsCollector {
    fn encode(&self, encoder: DescriptorEncoder<'_>) -> fmt::Result {
        let mut writer = Writer::new(encoder);
        self.requests(&mut writer)?;
        self.queries(&mut writer)?;
        self.ingestion(&mut writer)?;
        self.connections(&mut writer)
    }
}
