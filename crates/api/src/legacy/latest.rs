//! The newest sample of every series, for `/v1/ws`.

use model::{Cancellation, SampleColumns, SeriesSource as _, TimeRange, is_stale};

use super::{declared_type, write_metric};
use crate::caller::Caller;
use crate::failure::Failure;
use crate::json::Json;

/// Most series in one message.
const SERIES_MAX: usize = 1000;
/// How old a sample may be.
const AGE_MAX_MS: i64 = 60_000;

/// Returns the message with the newest samples; `None` when there was none within the last minute. Blocking.
pub(crate) fn write_latest(
    caller: &Caller,
    cancellation: &Cancellation,
) -> Result<Option<Json>, Failure> {
    let now = caller.app.clock.now();
    let range = TimeRange::new(now.saturating_add_millis(-AGE_MAX_MS), now);
    let mut metrics = Json::new();
    let mut count = 0_usize;
    let mut kind = (String::new(), "");
    let mut columns = SampleColumns::new();
    for series in caller.store().select(&[], range, cancellation)? {
        cancellation.check()?;
        columns.clear();
        series.read(range, &mut columns)?;
        let Some(newest) = columns.iter().last().filter(|sample| !is_stale(sample.value)) else {
            continue;
        };
        let metric = series.labels().metric_name().unwrap_or_default();
        if kind.0 != metric {
            kind = (metric.to_owned(), declared_type(caller, metric));
        }
        if count > 0 {
            metrics.raw(",");
        }
        write_metric(&mut metrics, series.labels(), kind.1, newest);
        count += 1;
        if count == SERIES_MAX {
            break;
        }
    }
    if count == 0 {
        return Ok(None);
    }
    let mut json = Json::new();
    json.raw(r#"{"count":"#);
    json.display(count);
    json.raw(r#","metrics":["#);
    json.append(metrics);
    json.raw(r#"],"timestamp":"#);
    json.display(now.as_millis().div_euclid(1000));
    json.raw(r#","type":"metrics_update"}"#);
    Ok(Some(json))
}
