//! Shapes of requests and answers, for their description: what reads and writes them is the crate `schema`.

use serde_json::Value;
use utoipa::ToSchema;

/// A `causality.v1.IngestEventRequest`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the crate schema reads")]
pub(super) struct IngestRequest {
    event: EventEnvelope,
}

/// A `causality.v1.IngestEventBatchRequest`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what the crate schema reads")]
pub(super) struct BatchRequest {
    /// 1 to 1,000, or fewer where the server says so.
    #[schema(min_items = 1, max_items = 1000)]
    events: Vec<EventEnvelope>,
}

/// A `causality.v1.EventEnvelope`. It has exactly one payload, named by its kind, such as `screenView`,
/// `purchaseComplete` or `customEvent`; other fields are refused. Names in snake_case are understood, too.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the crate schema reads")]
pub(super) struct EventEnvelope {
    /// Made when it is left out.
    #[schema(nullable = false)]
    id: Option<String>,
    app_id: String,
    device_id: String,
    /// Milliseconds since the epoch, as number or text; the time of arrival when it is left out.
    #[schema(nullable = false)]
    timestamp_ms: Option<i64>,
    #[schema(nullable = false)]
    correlation_id: Option<String>,
    #[schema(value_type = Option<Object>, nullable = false)]
    device_context: Option<Value>,
    /// The same for every attempt to send the event: it is then stored once.
    #[schema(nullable = false)]
    idempotency_key: Option<String>,
    #[schema(value_type = Option<Object>, nullable = false)]
    custom_event: Option<Value>,
}

/// A `causality.v1.IngestEventResponse`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the crate schema writes")]
pub(super) struct IngestResponse {
    /// The identifier that the event was stored with, the first time.
    event_id: String,
    /// Always `accepted`.
    status: String,
}

/// A `causality.v1.IngestEventBatchResponse`. Numbers that are 0 are left out.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the crate schema writes")]
pub(super) struct BatchResponse {
    #[schema(nullable = false)]
    accepted_count: Option<i32>,
    #[schema(nullable = false)]
    rejected_count: Option<i32>,
    /// What became of each event, in the order in which they were sent.
    results: Vec<EventOutcome>,
}

/// A `causality.v1.EventResult`.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what the crate schema writes")]
pub(super) struct EventOutcome {
    /// The place of the event in the request; left out for the first.
    #[schema(nullable = false)]
    index: Option<i32>,
    /// The identifier that it was stored with, if it was.
    #[schema(nullable = false)]
    event_id: Option<String>,
    /// `accepted` or `rejected`.
    status: String,
    /// Why it was not stored.
    #[schema(nullable = false)]
    error: Option<String>,
}
