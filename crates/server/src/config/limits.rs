//! The section `limits`: how much anybody may ask.

use std::sync::Arc;

use access::{
    ForwardedHeader, KeyLimits, RateLimit, RateLimitError, TenantLimits, TrustedProxies, Unit,
};
use api::RequestLimits;

use super::Reader;

/// Reads the section; a mistake leaves no limit and is collected by the reader.
pub(super) fn read(reader: &mut Reader<'_>) -> RequestLimits {
    RequestLimits {
        address: rate(reader, "limits.address.requests", Unit::Requests),
        logins: rate(reader, "limits.address.logins", Unit::Requests),
        keys: Arc::new(KeyLimits {
            requests: rate(reader, "limits.key.requests", Unit::Requests),
            samples: rate(reader, "limits.key.samples", Unit::Samples),
            events: rate(reader, "limits.key.events", Unit::Events),
        }),
        tenants: Arc::new(TenantLimits {
            requests: rate(reader, "limits.tenant.requests", Unit::Requests),
            samples: rate(reader, "limits.tenant.samples", Unit::Samples),
            events: rate(reader, "limits.tenant.events", Unit::Events),
            queries: rate(reader, "limits.tenant.queries", Unit::Queries),
            queries_concurrent_max: maximum(reader.number("limits.tenant.queries_concurrent")),
            samples_per_day_max: maximum(reader.number("limits.tenant.samples_per_day")),
            events_per_day_max: maximum(reader.number("limits.tenant.events_per_day")),
            bytes_per_day_max: maximum(reader.bytes("limits.tenant.bytes_per_day")),
            ..TenantLimits::default()
        }),
        proxies: proxies(reader),
        ..RequestLimits::default()
    }
}

/// Reads `…_per_second` and `…_burst`.
fn rate(reader: &mut Reader<'_>, path: &str, unit: Unit) -> Option<RateLimit> {
    let [per_second_path, burst_path] =
        ["per_second", "burst"].map(|part| format!("{path}_{part}"));
    let per_second = reader.parsed::<f64>(&per_second_path, "a number")?;
    let burst = reader.number(&burst_path);
    if per_second == 0.0 {
        return None;
    }
    match unit.limit(per_second, maximum(burst)) {
        Ok(limit) => Some(limit),
        Err(error) => {
            let path = match error {
                RateLimitError::PerSecond { .. } => &per_second_path,
                RateLimitError::Burst { .. } => &burst_path,
            };
            reader.mistake(path, &error.to_string());
            None
        }
    }
}

/// Returns no limit for zero.
fn maximum(number: u64) -> Option<u64> {
    (number != 0).then_some(number)
}

fn proxies(reader: &mut Reader<'_>) -> TrustedProxies {
    const PATH: &str = "limits.trusted_proxies";
    let header = reader.choice(
        "limits.forwarded_header",
        &[
            ("x-forwarded-for", ForwardedHeader::XForwardedFor),
            ("forwarded", ForwardedHeader::Forwarded),
        ],
    );
    let networks: Vec<String> = reader.list(PATH);
    match TrustedProxies::new(networks, header.unwrap_or_default()) {
        Ok(proxies) => proxies,
        Err(error) => {
            reader.mistake(PATH, &error.to_string());
            TrustedProxies::default()
        }
    }
}
