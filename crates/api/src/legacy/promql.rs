//! PromQL in the shape of the old query language's answers.

use std::borrow::Cow;

use axum::extract::Request;
use axum::response::Response;
use model::{Labels, Timestamp};
use promql::{QueryRange, QueryValue};
use serde::Deserialize;

use super::{HOUR_MS, respond};
use crate::body;
use crate::caller::Caller;
use crate::failure::{Failure, NativeFailure};
use crate::gate;
use crate::json::Json;
use crate::params::Params;
use crate::time::{parse_go_duration, parse_rfc3339, parse_time};

const STEP_DEFAULT_MS: i64 = 15_000;

/// A request as clients send it.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
struct Execute<'a> {
    #[serde(borrow)]
    query: Option<Cow<'a, str>>,
    #[serde(borrow)]
    start: Option<Cow<'a, str>>,
    #[serde(borrow)]
    end: Option<Cow<'a, str>>,
    #[serde(borrow)]
    step: Option<Cow<'a, str>>,
}

/// Evaluates a query at the steps of a range.
pub(crate) async fn execute(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let (parts, body) = request.into_parts();
    let compression = body::compression(&parts.headers)?;
    let received = body::read(&caller.app, body, caller.app.limits.body_bytes_max).await?;
    let bytes = body::unpack(compression, received.bytes, caller.app.limits.body_bytes_max)?;
    let invalid =
        |error: &dyn std::fmt::Display| Failure::bad_data(format!("invalid JSON: {error}"));
    if bytes.trim_ascii_start().starts_with(b"[") {
        return Err(invalid(&"expected an object, not a list").into());
    }
    let asked: Execute<'_> = serde_json::from_slice(&bytes).map_err(|error| invalid(&error))?;
    let text = asked.query.unwrap_or_default().into_owned();
    if text.is_empty() {
        return Err(Failure::bad_data("query parameter is required").into());
    }
    let now = caller.app.clock.now();
    let time = |text: Option<Cow<'_, str>>, otherwise| match text {
        None => Ok(otherwise),
        Some(text) => parse_rfc3339(&text)
            .ok_or_else(|| invalid(&format_args!("parsing time {text:?}: use RFC 3339"))),
    };
    let start = time(asked.start, now.saturating_add_millis(-HOUR_MS))?;
    let end = time(asked.end, now)?;
    if start >= end {
        return Err(Failure::bad_data("start must be before end").into());
    }
    let step_ms = match asked.step.filter(|step| !step.is_empty()) {
        None => STEP_DEFAULT_MS,
        Some(step) => parse_go_duration(&step).ok_or_else(|| {
            let forms = "use 15s, 1m30s or 500ms";
            Failure::bad_data(format!("invalid step duration: {step:?}; {forms}"))
        })?,
    };
    let range = QueryRange { start, end, step_ms };
    let response =
        gate::run(&caller, caller.app.limits.query_timeout, move |caller, cancellation| {
            let expr = parse(&text)?;
            let outcome =
                caller.query_range(&text, &expr, range, cancellation).map_err(execution)?;
            Ok(answer(&outcome.value, "matrix", &text))
        });
    Ok(response.await?)
}

/// Evaluates a query at one time.
pub(crate) async fn instant(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let text = params.get("query").unwrap_or_default().to_owned();
    if text.is_empty() {
        return Err(Failure::bad_data("query parameter is required").into());
    }
    let at = match params.get("time") {
        None => caller.app.clock.now(),
        Some(text) => parse_time(text).ok_or_else(|| {
            Failure::bad_data(format!("invalid time: {text:?}; use RFC 3339 or seconds since 1970"))
        })?,
    };
    let response =
        gate::run(&caller, caller.app.limits.query_timeout, move |caller, cancellation| {
            let expr = parse(&text)?;
            let outcome =
                caller.query_instant(&text, &expr, at, cancellation).map_err(execution)?;
            Ok(answer(&outcome.value, "vector", &text))
        });
    Ok(response.await?)
}

fn parse(text: &str) -> Result<promql::ast::Expr, Failure> {
    promql::parse(text).map_err(|error| Failure::bad_data(format!("query parse error: {error}")))
}

fn execution(error: promql::QueryError) -> Failure {
    let failure = Failure::from(error);
    Failure { message: format!("query execution error: {}", failure.message), ..failure }
}

fn answer(value: &QueryValue, kind: &str, query: &str) -> Response {
    let mut json = Json::new();
    json.raw(r#"{"status":"success","data":{"resultType":"#);
    json.string(kind);
    json.raw(r#","result":"#);
    match value {
        QueryValue::Matrix(series) => json.list(["[", "]"], series, |json, series| {
            let points = series.points.iter();
            write_series(json, &series.labels, points.map(|point| (point.timestamp, point.value)));
        }),
        QueryValue::Vector(samples) => json.list(["[", "]"], samples, |json, sample| {
            write_series(json, &sample.labels, [(sample.timestamp, sample.value)]);
        }),
        QueryValue::Scalar { timestamp, value } => {
            json.raw("[");
            write_series(&mut json, &Labels::empty(), [(*timestamp, *value)]);
            json.raw("]");
        }
        // These answers have no place for texts.
        QueryValue::String { .. } => json.raw("[]"),
    }
    json.raw(r#"},"query":"#);
    json.string(query);
    json.raw("}");
    respond(json)
}

fn write_series(
    json: &mut Json,
    labels: &Labels,
    points: impl IntoIterator<Item = (Timestamp, f64)>,
) {
    json.raw(r#"{"metric":"#);
    if labels.is_empty() {
        json.raw("null");
    } else {
        json.labels(labels);
    }
    json.raw(r#","values":"#);
    json.list(["[", "]"], points, |json, (time, value)| {
        json.display(format_args!("[{},\"", time.as_millis().div_euclid(1000)));
        if value.is_finite() {
            json.display(format_args!("{value:.6}"));
        } else {
            json.raw(match value {
                f64::INFINITY => "+Inf",
                f64::NEG_INFINITY => "-Inf",
                _ => "NaN",
            });
        }
        json.raw("\"]");
    });
    json.raw("}");
}
