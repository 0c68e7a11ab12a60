//! Queries.

use std::time::Duration;

use axum::extract::Request;
use axum::response::Response;
use model::Timestamp;
use promql::{QueryError, QueryOutcome, QueryRange, QueryValue};

use super::success;
use crate::caller::Caller;
use crate::expression::parse_query;
use crate::failure::{Failure, PrometheusFailure};
use crate::gate;
use crate::json::Json;
use crate::params::Params;
use crate::stale;
use crate::time::{parse_duration, parse_time};

/// What is warned of when `limit` cut the answer.
pub(super) const TRUNCATED: &str = "results truncated due to limit";

/// Evaluates a query at one time.
pub(crate) async fn query(caller: Caller, request: Request) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let limit = limit(&params)?;
    let at = match params.get("time") {
        Some(text) => time(text, "time")?,
        None => caller.app.clock.now(),
    };
    let timeout = timeout(&caller, &params)?;
    let text = params.get("query").unwrap_or_default().to_owned();
    let response =
        gate::answer(&caller, stale::key(&params), timeout, move |caller, cancellation| {
            let expr = parse_query(&text)?;
            let outcome = caller.query_instant(&text, &expr, at, cancellation)?;
            Ok(answer(outcome, limit))
        });
    Ok(response.await?)
}

/// Evaluates a query at the steps of a range.
pub(crate) async fn query_range(
    caller: Caller,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let limit = limit(&params)?;
    let start = time(params.get("start").unwrap_or_default(), "start")?;
    let end = time(params.get("end").unwrap_or_default(), "end")?;
    if end < start {
        let reason = "end timestamp must not be before start time";
        return Err(Failure::parameter("end", reason).into());
    }
    let step_ms = duration(params.get("step").unwrap_or_default(), "step")?;
    if step_ms <= 0 {
        let reason = "zero or negative query resolution step widths are not accepted. Try a \
                      positive integer";
        return Err(Failure::parameter("step", reason).into());
    }
    let timeout = timeout(&caller, &params)?;
    let text = params.get("query").unwrap_or_default().to_owned();
    let range = QueryRange { start, end, step_ms };
    let response =
        gate::answer(&caller, stale::key(&params), timeout, move |caller, cancellation| {
            let expr = parse_query(&text)?;
            let outcome = caller.query_range(&text, &expr, range, cancellation).map_err(
                |error| match error {
                    QueryError::InvalidRange { reason } if !reason.starts_with("exceeded") => {
                        Failure::parameter("query", reason)
                    }
                    other => other.into(),
                },
            )?;
            Ok(answer(outcome, limit))
        });
    Ok(response.await?)
}

/// Returns a query as it is usually written.
pub(crate) async fn format(
    caller: Caller,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let text = params.get("query").unwrap_or_default().to_owned();
    let response = gate::run(&caller, caller.app.limits.query_timeout, move |_, _| {
        let expr = parse_query(&text)?;
        let mut json = Json::new();
        json.string(&expr.to_string());
        Ok(success(json, &[], &[]))
    });
    Ok(response.await?)
}

/// Writes `{"resultType":…,"result":…}`.
fn write_value(json: &mut Json, value: &QueryValue) {
    let kind = match value {
        QueryValue::Scalar { .. } => "scalar",
        QueryValue::String { .. } => "string",
        QueryValue::Vector(_) => "vector",
        QueryValue::Matrix(_) => "matrix",
    };
    json.raw(r#"{"resultType":"#);
    json.string(kind);
    json.raw(r#","result":"#);
    match value {
        QueryValue::Scalar { timestamp, value } => json.sample(timestamp.as_millis(), *value),
        QueryValue::String { timestamp, value } => {
            json.raw("[");
            json.seconds(timestamp.as_millis());
            json.raw(",");
            json.string(value);
            json.raw("]");
        }
        QueryValue::Vector(samples) => json.list(["[", "]"], samples, |json, sample| {
            json.raw(r#"{"metric":"#);
            json.labels(&sample.labels);
            json.raw(r#","value":"#);
            json.sample(sample.timestamp.as_millis(), sample.value);
            json.raw("}");
        }),
        QueryValue::Matrix(series) => json.list(["[", "]"], series, |json, series| {
            json.raw(r#"{"metric":"#);
            json.labels(&series.labels);
            json.raw(r#","values":"#);
            json.samples(&series.points);
            json.raw("}");
        }),
    }
    json.raw("}");
}

fn answer(mut outcome: QueryOutcome, limit: usize) -> Response {
    let truncated = match &mut outcome.value {
        QueryValue::Vector(samples) => truncate(samples, limit),
        QueryValue::Matrix(series) => truncate(series, limit),
        QueryValue::Scalar { .. } | QueryValue::String { .. } => false,
    };
    let mut warnings = outcome.annotations.warnings;
    if truncated {
        warnings.push(TRUNCATED.to_owned());
    }
    let mut json = Json::new();
    write_value(&mut json, &outcome.value);
    success(json, &warnings, &outcome.annotations.infos)
}

/// Cuts a list to `limit` entries, 0 meaning all; returns whether there were more.
pub(super) fn truncate<T>(items: &mut Vec<T>, limit: usize) -> bool {
    let truncated = limit > 0 && items.len() > limit;
    if truncated {
        items.truncate(limit);
    }
    truncated
}

/// Returns the parameter `limit`; 0 means none.
pub(super) fn limit(params: &Params) -> Result<usize, Failure> {
    let Some(text) = params.get("limit") else { return Ok(0) };
    let invalid = || {
        let reason = format!("cannot parse {text:?} to a valid limit, a number of at least 0");
        Failure::parameter("limit", reason)
    };
    text.parse().map_err(|_| invalid())
}

/// Returns how long the query may take.
pub(super) fn timeout(caller: &Caller, params: &Params) -> Result<Duration, Failure> {
    let longest = caller.app.limits.query_timeout;
    let Some(text) = params.get("timeout") else { return Ok(longest) };
    let millis = duration(text, "timeout")?;
    Ok(Duration::from_millis(u64::try_from(millis).unwrap_or(0)).min(longest))
}

/// Returns the time that a parameter says.
pub(super) fn time(text: &str, name: &str) -> Result<Timestamp, Failure> {
    parse_time(text).ok_or_else(|| {
        Failure::parameter(name, format_args!("cannot parse {text:?} to a valid timestamp"))
    })
}

fn duration(text: &str, name: &str) -> Result<i64, Failure> {
    parse_duration(text).ok_or_else(|| {
        Failure::parameter(name, format_args!("cannot parse {text:?} to a valid duration"))
    })
}
