//! The messages of OTLP, as far as we use them: for protobuf by `prost`, for JSON by `serde`.
//!
//! Field numbers and names are those of `opentelemetry.proto.metrics.v1`.
//! The alternatives of a `oneof` are optional fields, of which a valid message sets one.

use serde::Deserialize;

use super::json;

/// What a point with this flag says: the series has no value any more.
pub(super) const NO_RECORDED_VALUE: u32 = 1;

/// The only temporality that Prometheus knows.
pub(super) const CUMULATIVE: i32 = 2;
/// The temporality of differences.
pub(super) const DELTA: i32 = 1;

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Request {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "resource_metrics", deserialize_with = "json::nullable")]
    pub(super) resource_metrics: Vec<ResourceMetrics>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ResourceMetrics {
    #[prost(message, optional, tag = "1")]
    pub(super) resource: Option<Resource>,
    #[prost(message, repeated, tag = "2")]
    #[serde(alias = "scope_metrics", deserialize_with = "json::nullable")]
    pub(super) scope_metrics: Vec<ScopeMetrics>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Resource {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) attributes: Vec<KeyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ScopeMetrics {
    #[prost(message, repeated, tag = "2")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) metrics: Vec<Metric>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Metric {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) description: String,
    #[prost(string, tag = "3")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) unit: String,
    #[prost(message, optional, tag = "5")]
    pub(super) gauge: Option<Gauge>,
    #[prost(message, optional, tag = "7")]
    pub(super) sum: Option<Sum>,
    #[prost(message, optional, tag = "9")]
    pub(super) histogram: Option<Histogram>,
    #[prost(message, optional, tag = "10")]
    #[serde(alias = "exponential_histogram")]
    pub(super) exponential_histogram: Option<ExponentialHistogram>,
    #[prost(message, optional, tag = "11")]
    pub(super) summary: Option<Summary>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Gauge {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "data_points", deserialize_with = "json::nullable")]
    pub(super) data_points: Vec<NumberDataPoint>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Sum {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "data_points", deserialize_with = "json::nullable")]
    pub(super) data_points: Vec<NumberDataPoint>,
    #[prost(int32, tag = "2")]
    #[serde(alias = "aggregation_temporality", deserialize_with = "json::temporality")]
    pub(super) aggregation_temporality: i32,
    #[prost(bool, tag = "3")]
    #[serde(alias = "is_monotonic", deserialize_with = "json::nullable")]
    pub(super) is_monotonic: bool,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Histogram {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "data_points", deserialize_with = "json::nullable")]
    pub(super) data_points: Vec<HistogramDataPoint>,
    #[prost(int32, tag = "2")]
    #[serde(alias = "aggregation_temporality", deserialize_with = "json::temporality")]
    pub(super) aggregation_temporality: i32,
}

/// Its points are counted, because they are refused.
#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ExponentialHistogram {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "data_points", deserialize_with = "json::nullable")]
    pub(super) data_points: Vec<Counted>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Summary {
    #[prost(message, repeated, tag = "1")]
    #[serde(alias = "data_points", deserialize_with = "json::nullable")]
    pub(super) data_points: Vec<SummaryDataPoint>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NumberDataPoint {
    #[prost(fixed64, tag = "3")]
    #[serde(alias = "time_unix_nano", deserialize_with = "json::integer")]
    pub(super) time_unix_nano: u64,
    #[prost(double, optional, tag = "4")]
    #[serde(alias = "as_double", deserialize_with = "json::optional_double")]
    pub(super) as_double: Option<f64>,
    #[prost(message, repeated, tag = "5")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) exemplars: Vec<Counted>,
    #[prost(sfixed64, optional, tag = "6")]
    #[serde(alias = "as_int", deserialize_with = "json::optional_integer")]
    pub(super) as_int: Option<i64>,
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::integer")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct HistogramDataPoint {
    #[prost(fixed64, tag = "3")]
    #[serde(alias = "time_unix_nano", deserialize_with = "json::integer")]
    pub(super) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::integer")]
    pub(super) count: u64,
    #[prost(double, optional, tag = "5")]
    #[serde(deserialize_with = "json::optional_double")]
    pub(super) sum: Option<f64>,
    #[prost(fixed64, repeated, tag = "6")]
    #[serde(alias = "bucket_counts", deserialize_with = "json::integers")]
    pub(super) bucket_counts: Vec<u64>,
    #[prost(double, repeated, tag = "7")]
    #[serde(alias = "explicit_bounds", deserialize_with = "json::doubles")]
    pub(super) explicit_bounds: Vec<f64>,
    #[prost(message, repeated, tag = "8")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) exemplars: Vec<Counted>,
    #[prost(message, repeated, tag = "9")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "10")]
    #[serde(deserialize_with = "json::integer")]
    pub(super) flags: u32,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct SummaryDataPoint {
    #[prost(fixed64, tag = "3")]
    #[serde(alias = "time_unix_nano", deserialize_with = "json::integer")]
    pub(super) time_unix_nano: u64,
    #[prost(fixed64, tag = "4")]
    #[serde(deserialize_with = "json::integer")]
    pub(super) count: u64,
    #[prost(double, tag = "5")]
    #[serde(deserialize_with = "json::double")]
    pub(super) sum: f64,
    #[prost(message, repeated, tag = "6")]
    #[serde(alias = "quantile_values", deserialize_with = "json::nullable")]
    pub(super) quantile_values: Vec<ValueAtQuantile>,
    #[prost(message, repeated, tag = "7")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) attributes: Vec<KeyValue>,
    #[prost(uint32, tag = "8")]
    #[serde(deserialize_with = "json::integer")]
    pub(super) flags: u32,
}

#[derive(Clone, Copy, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ValueAtQuantile {
    #[prost(double, tag = "1")]
    #[serde(deserialize_with = "json::double")]
    pub(super) quantile: f64,
    #[prost(double, tag = "2")]
    #[serde(deserialize_with = "json::double")]
    pub(super) value: f64,
}

/// A message of which only the number matters. Takes no memory.
#[derive(Clone, Copy, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(super) struct Counted {}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct KeyValue {
    #[prost(string, tag = "1")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) key: String,
    #[prost(message, optional, tag = "2")]
    pub(super) value: Option<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct AnyValue {
    #[prost(string, optional, tag = "1")]
    #[serde(alias = "string_value")]
    pub(super) string_value: Option<String>,
    #[prost(bool, optional, tag = "2")]
    #[serde(alias = "bool_value")]
    pub(super) bool_value: Option<bool>,
    #[prost(int64, optional, tag = "3")]
    #[serde(alias = "int_value", deserialize_with = "json::optional_integer")]
    pub(super) int_value: Option<i64>,
    #[prost(double, optional, tag = "4")]
    #[serde(alias = "double_value", deserialize_with = "json::optional_double")]
    pub(super) double_value: Option<f64>,
    #[prost(message, optional, tag = "5")]
    #[serde(alias = "array_value")]
    pub(super) array_value: Option<ArrayValue>,
    #[prost(message, optional, tag = "6")]
    #[serde(alias = "kvlist_value")]
    pub(super) kvlist_value: Option<KeyValueList>,
    #[prost(bytes = "vec", optional, tag = "7")]
    #[serde(alias = "bytes_value", deserialize_with = "json::optional_bytes")]
    pub(super) bytes_value: Option<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(super) struct ArrayValue {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) values: Vec<AnyValue>,
}

#[derive(Clone, PartialEq, prost::Message, Deserialize)]
#[serde(default)]
pub(super) struct KeyValueList {
    #[prost(message, repeated, tag = "1")]
    #[serde(deserialize_with = "json::nullable")]
    pub(super) values: Vec<KeyValue>,
}

/// `ExportMetricsServiceResponse`.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Response {
    #[prost(message, optional, tag = "1")]
    pub(super) partial_success: Option<PartialSuccess>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct PartialSuccess {
    #[prost(int64, tag = "1")]
    pub(super) rejected_data_points: i64,
    #[prost(string, tag = "2")]
    pub(super) error_message: String,
}

/// `google.rpc.Status`, without its code, which OTLP over HTTP does not use.
#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Status {
    #[prost(string, tag = "2")]
    pub(super) message: String,
}
