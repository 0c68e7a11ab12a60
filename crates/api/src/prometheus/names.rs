//! Series, labels and metadata.

use std::collections::BTreeSet;

use axum::extract::rejection::PathRejection;
use axum::extract::{Path, Request};
use axum::response::Response;
use model::{Labels, Matcher, SampleColumns, SeriesSource as _, TimeRange};

use super::query::{TRUNCATED, limit, time, timeout, truncate};
use super::success;
use crate::caller::Caller;
use crate::expression::parse_selector;
use crate::failure::{Failure, PrometheusFailure};
use crate::gate;
use crate::json::Json;
use crate::params::Params;
use crate::stale;

/// Most selectors of one request.
const SELECTORS_MAX: usize = 100;

/// Lists series.
pub(crate) async fn series(
    caller: Caller,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let wanted = Wanted::of(&params)?;
    if wanted.selectors.is_empty() {
        return Err(Failure::bad_data("no match[] parameter provided").into());
    }
    let response = gate::answer(
        &caller,
        stale::key(&params),
        timeout(&caller, &params)?,
        move |caller, cancellation| {
            let mut found = BTreeSet::<Labels>::new();
            let mut columns = SampleColumns::new();
            for matchers in &wanted.selectors {
                for series in caller.store().select(matchers, wanted.range, cancellation)? {
                    cancellation.check()?;
                    if found.contains(series.labels()) {
                        continue;
                    }
                    // Selection only promises that there may be samples.
                    if wanted.range != TimeRange::ALL {
                        columns.clear();
                        series.read(wanted.range, &mut columns)?;
                        if columns.is_empty() {
                            continue;
                        }
                    }
                    found.insert(series.labels().clone());
                }
            }
            let mut found: Vec<Labels> = found.into_iter().collect();
            let truncated = truncate(&mut found, wanted.limit);
            let mut json = Json::new();
            json.list(["[", "]"], &found, |json, labels| json.labels(labels));
            Ok(success(json, &warnings(truncated), &[]))
        },
    );
    Ok(response.await?)
}

/// Lists names of labels.
pub(crate) async fn labels(
    caller: Caller,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let wanted = Wanted::of(&params)?;
    let response = gate::answer(
        &caller,
        stale::key(&params),
        timeout(&caller, &params)?,
        move |caller, cancellation| {
            wanted.collect(|matchers| {
                Ok(caller.store().label_names(matchers, wanted.range, cancellation)?)
            })
        },
    );
    Ok(response.await?)
}

/// Lists values of a label.
pub(crate) async fn label_values(
    caller: Caller,
    name: Result<Path<String>, PathRejection>,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let Ok(Path(name)) = name else {
        return Err(Failure::bad_data("invalid label name: it is not UTF-8").into());
    };
    let name = unescape(&name);
    let params = Params::of(&caller.app, request).await?;
    let wanted = Wanted::of(&params)?;
    let response = gate::answer(
        &caller,
        stale::key(&params),
        timeout(&caller, &params)?,
        move |caller, cancellation| {
            wanted.collect(|matchers| {
                Ok(caller.store().label_values(&name, matchers, wanted.range, cancellation)?)
            })
        },
    );
    Ok(response.await?)
}

/// Tells types, help texts and units.
pub(crate) async fn metadata(
    caller: Caller,
    request: Request,
) -> Result<Response, PrometheusFailure> {
    let params = Params::of(&caller.app, request).await?;
    let count = |name: &str| -> Result<Option<usize>, Failure> {
        let Some(text) = params.get(name) else { return Ok(None) };
        let count = text.parse::<i64>();
        let count = count.map_err(|_| Failure::bad_data(format!("{name} must be a number")))?;
        // A negative number means all.
        Ok(usize::try_from(count).ok())
    };
    let limit = count("limit")?.unwrap_or(usize::MAX);
    // There is one description for each metric, and in Prometheus 0 means all: only its spelling matters.
    count("limit_per_metric")?;
    let metric = params.get("metric").map(str::to_owned);
    let response = gate::run(&caller, caller.app.limits.query_timeout, move |caller, _| {
        let known = caller.store().metadata(metric.as_deref());
        let mut json = Json::new();
        json.list(["{", "}"], known.iter().take(limit), |json, (name, metadata)| {
            json.string(name);
            json.raw(":[");
            json.raw(r#"{"type":"#);
            json.string(metadata.metric_type.as_str());
            json.raw(r#","help":"#);
            json.string(&metadata.help);
            json.raw(r#","unit":"#);
            json.string(&metadata.unit);
            json.raw("}]");
        });
        Ok(success(json, &[], &[]))
    });
    Ok(response.await?)
}

/// What a list is wanted of.
struct Wanted {
    selectors: Vec<Vec<Matcher>>,
    range: TimeRange,
    limit: usize,
}

impl Wanted {
    fn of(params: &Params) -> Result<Self, Failure> {
        let bound =
            |name, otherwise| params.get(name).map_or(Ok(otherwise), |text| time(text, name));
        let range = TimeRange::new(
            bound("start", TimeRange::ALL.start)?,
            bound("end", TimeRange::ALL.end)?,
        );
        if params.all("match[]").count() > SELECTORS_MAX {
            let reason = format!("more than {SELECTORS_MAX} selectors in one request");
            return Err(Failure::parameter("match[]", reason));
        }
        let selectors = params.all("match[]").map(parse_selector).collect::<Result<_, _>>()?;
        Ok(Self { selectors, range, limit: limit(params)? })
    }

    /// Collects the names that `find` returns for each selector, or for all series without one.
    fn collect(
        &self,
        find: impl Fn(&[Matcher]) -> Result<Vec<String>, Failure>,
    ) -> Result<Response, Failure> {
        let mut names = match self.selectors.as_slice() {
            [] => find(&[])?,
            [matchers] => find(matchers)?,
            several => {
                let mut names = BTreeSet::new();
                for matchers in several {
                    names.extend(find(matchers)?);
                }
                names.into_iter().collect()
            }
        };
        let truncated = truncate(&mut names, self.limit);
        let mut json = Json::new();
        json.strings(names.iter().map(String::as_str));
        Ok(success(json, &warnings(truncated), &[]))
    }
}

fn warnings(truncated: bool) -> Vec<String> {
    if truncated { vec![TRUNCATED.to_owned()] } else { Vec::new() }
}

/// Returns the name that `U__…` stands for; a name that is no valid escape stands for itself.
fn unescape(name: &str) -> String {
    name.strip_prefix("U__").and_then(unescape_tail).unwrap_or_else(|| name.to_owned())
}

fn unescape_tail(escaped: &str) -> Option<String> {
    let mut name = String::with_capacity(escaped.len());
    let mut rest = escaped;
    while let Some(start) = rest.find('_') {
        name.push_str(&rest[..start]);
        let after = &rest[start + 1..];
        let end = after.find('_')?;
        if end == 0 {
            name.push('_');
        } else {
            name.push(char::from_u32(u32::from_str_radix(&after[..end], 16).ok()?)?);
        }
        rest = &after[end + 1..];
    }
    name.push_str(rest);
    Some(name)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn escaped_names_are_read_back() {
        for (escaped, name) in [
            ("instance", "instance"),
            ("U__http_2e_status", "http.status"),
            ("U__a__b", "a_b"),
            ("U___1f600_", "😀"),
            ("U__broken_2e", "U__broken_2e"),
            ("U__broken_zz_", "U__broken_zz_"),
            ("U__", ""),
        ] {
            assert_eq!(unescape(escaped), name, "{escaped}");
        }
    }
}
