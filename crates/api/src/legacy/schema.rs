//! The shapes of what these routes take and answer, for the description of the API.
#![expect(dead_code, reason = "describes what is read and written by hand")]

use std::collections::BTreeMap;

use serde_json::Value;
use utoipa::ToSchema;

/// A sample of a metric.
#[derive(ToSchema)]
struct Metric {
    /// 1 to 256 bytes.
    #[schema(min_length = 1, max_length = 256)]
    name: String,
    /// Such as `counter` or `gauge`.
    #[schema(nullable = false)]
    r#type: Option<String>,
    value: f64,
    /// At most 20; names must not begin with two underscores.
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
    /// RFC 3339; without it, the time of arrival.
    #[schema(nullable = false)]
    timestamp: Option<String>,
}

/// Samples, all stored or none.
#[derive(ToSchema)]
pub(crate) struct IngestRequest {
    #[schema(max_items = 1000)]
    metrics: Vec<Metric>,
}

/// How many were stored.
#[derive(ToSchema)]
pub(crate) struct IngestAnswer {
    /// Always `success`.
    status: String,
    count: u64,
}

/// A stored sample.
#[derive(ToSchema)]
struct StoredMetric {
    name: String,
    /// What the metric was said to be, such as `counter`.
    r#type: String,
    /// `null` where it is no finite number.
    value: Option<f64>,
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
    /// RFC 3339.
    timestamp: String,
}

/// Samples as they were sent.
#[derive(ToSchema)]
pub(crate) struct SamplesAnswer {
    /// `null` when there is none.
    metrics: Option<Vec<StoredMetric>>,
    count: u64,
}

/// Points of a series.
#[derive(ToSchema)]
struct Points {
    metric: String,
    #[schema(nullable = false)]
    labels: Option<BTreeMap<String, String>>,
    points: Vec<Point>,
    /// `raw`, `5m` or `1h`.
    resolution: String,
}

/// A point.
#[derive(ToSchema)]
struct Point {
    /// Milliseconds since 1970.
    t: i64,
    /// The value; `null` where it is no finite number.
    v: Option<f64>,
}

/// Series with their points.
#[derive(ToSchema)]
pub(crate) struct PointsAnswer {
    /// `null` when there is none.
    data: Option<Vec<Points>>,
}

/// A query over a range.
#[derive(ToSchema)]
pub(crate) struct ExecuteRequest {
    /// PromQL.
    #[schema(min_length = 1)]
    query: String,
    /// RFC 3339; an hour ago by default.
    start: Option<String>,
    /// RFC 3339; now by default.
    end: Option<String>,
    /// A duration such as `15s`, the default.
    step: Option<String>,
}

/// A result: series with `[seconds,"number"]` pairs.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
struct ExecuteData {
    /// `matrix` or `vector`.
    result_type: String,
    result: Vec<Value>,
}

/// The answer to a query.
#[derive(ToSchema)]
pub(crate) struct ExecuteAnswer {
    /// Always `success`.
    status: String,
    data: ExecuteData,
    /// The query as it was sent.
    query: String,
}

/// Names of metrics, ascending.
#[derive(ToSchema)]
pub(crate) struct MetricsAnswer {
    metrics: Vec<String>,
    count: u64,
}

/// Sizes and counts.
#[derive(ToSchema)]
#[schema(rename_all = "PascalCase")]
pub(crate) struct StatsAnswer {
    /// Samples.
    total_metrics: u64,
    total_series: u64,
    size_bytes: u64,
    /// RFC 3339; `0001-01-01T00:00:00Z` when there is no sample.
    oldest_metric: String,
    newest_metric: String,
}

/// How many series there are and may be.
#[derive(ToSchema)]
pub(crate) struct CardinalityAnswer {
    total_series: u64,
    unique_metrics: u64,
    max_series_metric: String,
    max_series_count: u64,
    series_limit: u64,
    per_metric_limit: u64,
    utilization_percent: f64,
}

/// Disk space.
#[derive(ToSchema)]
pub(crate) struct StorageAnswer {
    used_bytes: u64,
    /// 0 is no limit.
    max_bytes: u64,
}
