//! Samples as they are stored: all of them, or few enough for a chart.

use axum::extract::Request;
use axum::response::Response;
use http::{HeaderValue, header};
use model::{METRIC_NAME, Matcher, SampleColumns, SeriesSource as _, is_stale};

use super::{declared_type, respond, span, write_labels, write_metric};
use crate::caller::Caller;
use crate::failure::{Failure, NativeFailure};
use crate::gate;
use crate::json::Json;
use crate::params::Params;

const METRIC_BYTES_MAX: usize = 256;
const POINTS_MAX: usize = 5000;
const POINTS_DEFAULT: usize = 1000;
const WINDOW_MAX_MS: i64 = 90 * 24 * 3_600_000;
/// Most samples that `/v1/query` returns.
const SAMPLES_MAX: usize = 1_000_000;

/// Returns all samples of a span, of one metric or of all.
pub(crate) async fn samples(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let range = span(&caller, &params)?;
    if range.start >= range.end {
        return Err(Failure::bad_data("start must be before end").into());
    }
    let matchers: Vec<Matcher> = params
        .get("metric")
        .map(|metric| Matcher::equal(METRIC_NAME, metric))
        .into_iter()
        .collect();
    let response =
        gate::run(&caller, caller.app.limits.query_timeout, move |caller, cancellation| {
            let mut metrics = Json::new();
            let mut count = 0_usize;
            let mut kind = (String::new(), "");
            let mut columns = SampleColumns::new();
            for series in caller.store().select(&matchers, range, cancellation)? {
                cancellation.check()?;
                columns.clear();
                series.read(range, &mut columns)?;
                let metric = series.labels().metric_name().unwrap_or_default();
                if kind.0 != metric {
                    kind = (metric.to_owned(), declared_type(caller, metric));
                }
                for sample in columns.iter().filter(|sample| !is_stale(sample.value)) {
                    if count == SAMPLES_MAX {
                        let message = format!("more than {SAMPLES_MAX} samples; ask for less");
                        return Err(Failure::new(crate::failure::Kind::Execution, message));
                    }
                    if count > 0 {
                        metrics.raw(",");
                    }
                    write_metric(&mut metrics, series.labels(), kind.1, sample);
                    count += 1;
                }
            }
            let mut json = Json::new();
            if count == 0 {
                json.raw(r#"{"metrics":null,"count":0}"#);
            } else {
                json.raw(r#"{"metrics":["#);
                json.append(metrics);
                json.raw(r#"],"count":"#);
                json.display(count);
                json.raw("}");
            }
            Ok(respond(json))
        });
    Ok(response.await?)
}

/// Returns the points of one metric for a chart.
pub(crate) async fn range(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let metric = params.get("metric").unwrap_or_default().to_owned();
    if metric.is_empty() {
        return Err(Failure::bad_data("metric parameter required").into());
    }
    if metric.len() > METRIC_BYTES_MAX {
        return Err(Failure::bad_data("metric name too long (max 256 chars)").into());
    }
    let range = span(&caller, &params)?;
    if range.end < range.start {
        return Err(Failure::bad_data("end must be after start").into());
    }
    if range.end.millis_since(range.start) > WINDOW_MAX_MS {
        return Err(Failure::bad_data("query window too large (max 90 days)").into());
    }
    let points_max = match params.get("maxPoints") {
        None => POINTS_DEFAULT,
        Some(text) => {
            let count: i64 = text.parse().map_err(|_| {
                Failure::bad_data(format!("invalid maxPoints: {text:?} is not an integer"))
            })?;
            let count = usize::try_from(count).unwrap_or(0);
            if count == 0 || count > POINTS_MAX {
                return Err(Failure::bad_data("maxPoints must be between 1 and 5000").into());
            }
            count
        }
    };
    let response =
        gate::run(&caller, caller.app.limits.query_timeout, move |caller, cancellation| {
            let matchers = [Matcher::equal(METRIC_NAME, metric)];
            let mut data = Json::new();
            let mut count = 0_usize;
            let mut columns = SampleColumns::new();
            for series in caller.store().select(&matchers, range, cancellation)? {
                cancellation.check()?;
                columns.clear();
                series.read(range, &mut columns)?;
                let points = columns.iter().filter(|sample| sample.value.is_finite());
                let points: Vec<(i64, f64)> =
                    points.map(|sample| (sample.timestamp.as_millis(), sample.value)).collect();
                if points.is_empty() {
                    continue;
                }
                if count > 0 {
                    data.raw(",");
                }
                count += 1;
                data.raw(r#"{"metric":"#);
                data.string(series.labels().metric_name().unwrap_or_default());
                let visible = series.labels().filtered(|name| !name.starts_with('_'));
                if !visible.is_empty() {
                    data.raw(r#","labels":"#);
                    write_labels(&mut data, &visible);
                }
                data.raw(r#","points":"#);
                data.list(["[", "]"], reduce(&points, points_max), |json, (time, value)| {
                    json.display(format_args!(r#"{{"t":{time},"v":"#));
                    json.float(value);
                    json.raw("}");
                });
                data.raw(r#","resolution":"raw"}"#);
            }
            let mut json = Json::new();
            if count == 0 {
                json.raw(r#"{"data":null}"#);
            } else {
                json.raw(r#"{"data":["#);
                json.append(data);
                json.raw("]}");
            }
            Ok(respond(json))
        });
    let mut response = response.await?;
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-cache"));
    Ok(response)
}

/// Returns at most `points_max` points: the first time and the mean of runs of equal length, but for one point.
fn reduce(points: &[(i64, f64)], points_max: usize) -> Vec<(i64, f64)> {
    if points.len() <= points_max {
        return points.to_vec();
    }
    let bound = |index: usize| index * points.len() / points_max;
    (0..points_max)
        .filter_map(|index| {
            let run = points.get(bound(index)..bound(index + 1))?;
            let (time, _) = run.first()?;
            let sum: f64 = run.iter().map(|(_, value)| value / run.len() as f64).sum();
            Some((*time, sum))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn never_more_points_than_asked_for() {
        for count in [0, 1, 999, 1000, 1001, 1999, 2000, 5001] {
            let points: Vec<_> = (0..count).map(|index| (index, 1.0)).collect();
            let reduced = reduce(&points, 1000);
            assert_eq!(reduced.len(), points.len().min(1000), "{count}");
            assert!(reduced.iter().all(|(_, value)| (value - 1.0).abs() < 1e-9));
        }
    }
}
