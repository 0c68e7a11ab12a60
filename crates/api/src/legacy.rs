//! The routes below `/v1` that TinyObs has always had.

mod ingest;
mod latest;

mod promql;
mod samples;
mod schema;
mod status;

pub(crate) use latest::write_latest;

use access::Permission;
use axum::response::Response;
use http::StatusCode;
use model::{Labels, METRIC_NAME, MetricType, Sample};

use crate::body::json_response;
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::failure::Failure;
use crate::json::Json;
use crate::openapi::{Description, Kind};
use crate::params::Params;
use crate::time::{format_rfc3339, parse_time};

use self::ingest::ingest;
use self::promql::{execute, instant};
use self::samples::{range, samples};
use self::schema::{
    CardinalityAnswer, ExecuteAnswer, ExecuteRequest, IngestAnswer, IngestRequest, MetricsAnswer,
    PointsAnswer, SamplesAnswer, StatsAnswer, StorageAnswer,
};
use self::status::{cardinality, metrics_list, stats, storage};

/// Returns the endpoints below `/v1` that TinyObs has always had.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let read = (Access::Needs(Permission::MetricsRead), Class::Query);
    let write = (Access::Needs(Permission::MetricsWrite), Class::Write);
    vec![
        Endpoint::new(Verb::Post, "/v1/ingest", write, ingest).describe(
            about("Store samples")
                .details("All are stored, or none.")
                .takes::<IngestRequest>()
                .answers::<IngestAnswer>("They are on stable storage."),
        ),
        Endpoint::new(Verb::Get, "/v1/query", read, samples).describe(
            span_of(about("List samples as they were sent"))
                .query("metric", Kind::Text, "Only this metric.")
                .answers::<SamplesAnswer>("The samples, within the bounds inclusive."),
        ),
        Endpoint::new(Verb::Get, "/v1/query/range", read, range).describe(
            span_of(about("List the points of a metric's series"))
                .required("metric", Kind::Text, "The metric.")
                .query("maxPoints", Kind::Integer, "1 to 5000 points per series; 1000 by default.")
                .answers::<PointsAnswer>("The points; means where there are too many."),
        ),
        Endpoint::new(Verb::Post, "/v1/query/execute", read, execute).describe(
            about("Evaluate a query over a range")
                .takes::<ExecuteRequest>()
                .answers::<ExecuteAnswer>("The result."),
        ),
        Endpoint::get_or_form("/v1/query/instant", read, instant).describe(
            about("Evaluate a query at one time")
                .required("query", Kind::Text, "PromQL.")
                .query("time", Kind::Text, TIME)
                .answers::<ExecuteAnswer>("The result."),
        ),
        Endpoint::new(Verb::Get, "/v1/metrics/list", read, metrics_list).describe(
            about("List the metrics of the last 24 hours").answers::<MetricsAnswer>("Their names."),
        ),
        Endpoint::new(Verb::Get, "/v1/stats", read, stats)
            .describe(about("Tell sizes and counts").answers::<StatsAnswer>("Sizes and counts.")),
        Endpoint::new(Verb::Get, "/v1/cardinality", read, cardinality).describe(
            about("Tell how many series there are and may be")
                .answers::<CardinalityAnswer>("Numbers of series."),
        ),
        Endpoint::new(Verb::Get, "/v1/storage", read, storage)
            .describe(about("Tell the disk space in use").answers::<StorageAnswer>("Bytes.")),
    ]
}

const TIME: &str = "RFC 3339 or Unix seconds; now by default.";

fn about(summary: &'static str) -> Description {
    Description::new("metrics", summary)
}

fn span_of(description: Description) -> Description {
    description
        .query("start", Kind::Text, "RFC 3339 or Unix seconds; an hour ago by default.")
        .query("end", Kind::Text, TIME)
}

const HOUR_MS: i64 = 3_600_000;

/// Returns an answer with the newline that these routes end with.
fn respond(mut json: Json) -> Response {
    json.raw("\n");
    json_response(StatusCode::OK, json)
}

/// Returns the span that `start` and `end` say; without them the last hour.
fn span(caller: &Caller, params: &Params) -> Result<model::TimeRange, Failure> {
    let now = caller.app.clock.now();
    let bound = |name: &str, otherwise: model::Timestamp| match params.get(name) {
        None => Ok(otherwise),
        Some(text) => parse_time(text).ok_or_else(|| {
            let forms = "seconds since 1970 or RFC 3339";
            Failure::bad_data(format!("invalid {name}: {text:?} is not a time; use {forms}"))
        }),
    };
    let start = bound("start", now.saturating_add_millis(-HOUR_MS))?;
    Ok(model::TimeRange::new(start, bound("end", now)?))
}

/// Writes a label set as an object without the metric's name.
fn write_labels(json: &mut Json, labels: &Labels) {
    let others = labels.iter().filter(|(name, _)| *name != METRIC_NAME);
    json.list(["{", "}"], others, |json, (name, value)| {
        json.string(name);
        json.raw(":");
        json.string(value);
    });
}

/// Writes a sample as it was ingested.
fn write_metric(json: &mut Json, labels: &Labels, kind: &str, sample: Sample) {
    json.raw(r#"{"name":"#);
    json.string(labels.metric_name().unwrap_or_default());
    json.raw(r#","type":"#);
    json.string(kind);
    json.raw(r#","value":"#);
    json.float(sample.value);
    if labels.iter().any(|(name, _)| name != METRIC_NAME) {
        json.raw(r#","labels":"#);
        write_labels(json, labels);
    }
    json.raw(r#","timestamp":"#);
    json.string(&format_rfc3339(sample.timestamp));
    json.raw("}");
}

/// Returns the declared type of the metric; empty when it is unknown.
fn declared_type(caller: &Caller, metric: &str) -> &'static str {
    let entries = caller.store().metadata(Some(metric));
    let declared = entries.first().map(|(_, metadata)| metadata.metric_type);
    let known = declared.filter(|declared| *declared != MetricType::Unknown);
    known.map_or("", MetricType::as_str)
}
