//! What there is and how it is.

use axum::extract::Request;
use axum::response::Response;
use model::{METRIC_NAME, SeriesSource as _, TimeRange, Timestamp};

use super::{HOUR_MS, respond};
use crate::caller::Caller;
use crate::failure::NativeFailure;
use crate::gate;
use crate::json::Json;
use crate::time::format_rfc3339;

/// What clients know as "no time".
const NO_TIME: &str = "0001-01-01T00:00:00Z";

/// Lists the names of metrics of the last 24 hours.
pub(crate) async fn metrics_list(
    caller: Caller,
    _request: Request,
) -> Result<Response, NativeFailure> {
    let response = gate::run(&caller, caller.app.limits.query_timeout, |caller, cancellation| {
        let now = caller.app.clock.now();
        let range = TimeRange::new(now.saturating_add_millis(-24 * HOUR_MS), now);
        let names = caller.store().label_values(METRIC_NAME, &[], range, cancellation)?;
        let mut json = Json::new();
        json.raw(r#"{"metrics":"#);
        json.strings(names.iter().map(String::as_str));
        json.raw(r#","count":"#);
        json.display(names.len());
        json.raw("}");
        Ok(respond(json))
    });
    Ok(response.await?)
}

/// Tells sizes and counts.
pub(crate) async fn stats(caller: Caller, _request: Request) -> Result<Response, NativeFailure> {
    let response = gate::run(&caller, caller.app.limits.query_timeout, |caller, _| {
        let stats = caller.store().stats();
        let time = |time: Option<Timestamp>| time.map_or(NO_TIME.to_owned(), format_rfc3339);
        let mut json = Json::new();
        json.display(format_args!(
            r#"{{"TotalMetrics":{},"TotalSeries":{},"SizeBytes":{},"OldestMetric":"{}","NewestMetric":"{}"}}"#,
            stats.samples,
            stats.series,
            stats.bytes_on_disk,
            time(stats.oldest),
            time(stats.newest),
        ));
        Ok(respond(json))
    });
    Ok(response.await?)
}

/// Tells how many series there are and may be.
pub(crate) async fn cardinality(
    caller: Caller,
    _request: Request,
) -> Result<Response, NativeFailure> {
    let response = gate::run(&caller, caller.app.limits.query_timeout, |caller, _| {
        let cardinality = caller.store().cardinality();
        let limit = cardinality.series_limit.max(1);
        let percent = cardinality.total_series as f64 * 100.0 / limit as f64;
        let mut json = Json::new();
        json.display(format_args!(
            r#"{{"total_series":{},"unique_metrics":{},"max_series_metric":"#,
            cardinality.total_series, cardinality.unique_metrics,
        ));
        json.string(&cardinality.max_series_metric);
        json.display(format_args!(
            r#","max_series_count":{},"series_limit":{},"per_metric_limit":{},"utilization_percent":"#,
            cardinality.max_series_count, cardinality.series_limit, cardinality.per_metric_limit,
        ));
        json.float(percent);
        json.raw("}");
        Ok(respond(json))
    });
    Ok(response.await?)
}

/// Tells the bytes on disk and how many there may be, 0 for no limit.
pub(crate) async fn storage(caller: Caller, _request: Request) -> Result<Response, NativeFailure> {
    let response = gate::run(&caller, caller.app.limits.query_timeout, |caller, _| {
        let (used, limit) = (caller.bytes_on_disk(), caller.app.limits.storage_bytes_max);
        let mut json = Json::new();
        json.display(format_args!(r#"{{"used_bytes":{used},"max_bytes":{limit}}}"#));
        Ok(respond(json))
    });
    Ok(response.await?)
}
