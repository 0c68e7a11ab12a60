//! What a tenant uses.

use std::collections::BTreeMap;

use access::{Actor, Day};
use axum::Extension;
use axum::extract::Request;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use super::tenants::TenantLimitsShape;
use super::{MANAGE, about, object, private};
use crate::body::json_of;
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};
use crate::openapi::Kind;
use crate::params::Params;

/// Days where nothing is said.
const DAYS: i64 = 30;
/// Most days of one answer.
const DAYS_MAX: i64 = 366;

/// What a tenant uses.
#[derive(Serialize, ToSchema)]
struct Usage {
    tenant: String,
    /// Active series.
    series: u64,
    /// Bytes on disk.
    storage_bytes: u64,
    /// The days on which something was used, ascending.
    days: Vec<DayUsage>,
    limits: TenantLimitsShape,
}

/// What was used on a day of UTC.
#[derive(Serialize, ToSchema)]
struct DayUsage {
    /// Such as `2026-11-21`.
    day: String,
    /// How much, by kind: `requests`, `refused`, `samples`, `events`, `bytes_in`, `queries`, `samples_read`.
    #[serde(flatten)]
    amounts: BTreeMap<&'static str, u64>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/usage", MANAGE, usage).describe(
            about("Tell what the tenant uses, by day")
                .query("days", Kind::Integer, "How many days, up to 366; 30 by default.")
                .answers::<Usage>("The usage, today's included."),
        ),
    ]
}

async fn usage(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let days = match params.get("days") {
        None => DAYS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|days| (1..=DAYS_MAX).contains(days))
            .ok_or_else(|| Failure::parameter("days", "say a number from 1 to 366"))?,
    };
    let now = caller.app.clock.now();
    let today = Day::of(now);
    let first = Day::from_number(today.number().saturating_sub(days - 1));
    let id = &caller.tenant.id;
    let stored = caller.app.access.usage(&actor, id, first, today).await?;
    let mut by_day: BTreeMap<i64, BTreeMap<&'static str, u64>> = BTreeMap::new();
    for sum in stored.iter().filter(|sum| sum.day != today) {
        by_day.entry(sum.day.number()).or_default().insert(sum.kind.as_str(), sum.amount);
    }
    // What this server knows of today is newer than what is stored.
    let report = caller.tenant.usage.report(now);
    let amounts = report.today.into_iter().map(|(kind, amount)| (kind.as_str(), amount));
    by_day.insert(today.number(), amounts.collect());

    let blocking = caller.clone();
    let storage_bytes = tokio::task::spawn_blocking(move || blocking.bytes_on_disk());
    let directory = caller.app.access.directory();
    let limits = directory.tenant(id).map(|tenant| tenant.limits.to_json()).unwrap_or_default();
    let answer = Usage {
        tenant: id.to_string(),
        series: caller.store().cardinality().total_series,
        storage_bytes: storage_bytes.await.unwrap_or_default(),
        days: by_day
            .into_iter()
            .map(|(day, amounts)| DayUsage { day: date(day), amounts })
            .collect(),
        limits: TenantLimitsShape(object(&limits)),
    };
    Ok(private(json_of(StatusCode::OK, &answer)))
}

/// Returns the date of a day, such as `2026-11-21`.
fn date(day: i64) -> String {
    let midnight = model::Timestamp::from_millis(day.saturating_mul(86_400_000));
    let text = crate::time::format_rfc3339(midnight);
    text.split('T').next().unwrap_or_default().to_owned()
}
