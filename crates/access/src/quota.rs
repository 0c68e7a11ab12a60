//! What a tenant and a key are allowed, and how a refusal is told.

use std::fmt;
use std::time::Duration;

use serde::{Deserialize, Serialize};

use crate::rate::{Exceeded, RateLimit, RateLimitError};

/// What a tenant is allowed. `None` is no limit of its own: those of the server hold for everybody.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantLimits {
    /// Requests.
    pub requests: Option<RateLimit>,
    /// Samples that are sent.
    pub samples: Option<RateLimit>,
    /// Events that are sent.
    pub events: Option<RateLimit>,
    /// Queries that begin.
    pub queries: Option<RateLimit>,
    /// Most queries that run or wait at a time.
    pub queries_concurrent_max: Option<u64>,
    /// Most samples that one query may read.
    pub query_samples_max: Option<u64>,
    /// Most active series.
    pub series_max: Option<u64>,
    /// Most bytes of bodies of writes, as sent, that are taken in on one day of UTC.
    pub bytes_per_day_max: Option<u64>,
    /// Most samples that are taken in on one day of UTC.
    pub samples_per_day_max: Option<u64>,
    /// Most events that are taken in on one day of UTC.
    pub events_per_day_max: Option<u64>,
}

/// What a key is allowed, beside what its tenant is. `None` is no limit.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct KeyLimits {
    /// Requests.
    pub requests: Option<RateLimit>,
    /// Samples that are sent.
    pub samples: Option<RateLimit>,
    /// Events that are sent.
    pub events: Option<RateLimit>,
}

/// Why a text says no limits.
#[derive(Debug, thiserror::Error)]
pub enum LimitsError {
    /// It is no JSON object.
    #[error("limits are a JSON object")]
    NotObject,
    /// It is not JSON, or not of the known keys and numbers.
    #[error("limits cannot be read: {source}")]
    Invalid {
        /// What is wrong, and where.
        #[from]
        source: serde_json::Error,
    },
    /// A rate is out of range.
    #[error("invalid limit '{key}': {source}")]
    Rate {
        /// The key of the rate or of its burst.
        key: String,
        /// What is wrong.
        source: RateLimitError,
    },
    /// A burst stands without its rate.
    #[error("'{what}_burst' needs '{what}_per_second'")]
    BurstAlone {
        /// What is counted.
        what: Unit,
    },
    /// A maximum is zero, which would refuse everything.
    #[error("limit '{key}' is zero; leave it out for no limit, or disable the tenant")]
    Zero {
        /// The key.
        key: &'static str,
    },
}

/// Seconds of the rate that may come at once where no burst is said: requests come one by one, samples and events in
/// batches.
const BURST_SECONDS_SINGLE: f64 = 2.0;
const BURST_SECONDS_BATCH: f64 = 10.0;

/// The limits as the state database keeps them.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawTenantLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queries_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queries_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    queries_concurrent_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    query_samples_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    series_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    bytes_per_day_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_day_max: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_day_max: Option<u64>,
}

impl TenantLimits {
    /// Reads a JSON object with some of the keys `requests_per_second`, `requests_burst`, the same for `samples`,
    /// `events` and `queries`, and `queries_concurrent_max`, `query_samples_max`, `series_max`, `bytes_per_day_max`,
    /// `samples_per_day_max`, `events_per_day_max`. Without a burst, two seconds of requests and queries and ten seconds
    /// of samples and events may come at once.
    ///
    /// # Errors
    ///
    /// The text is no such object, a key is unknown, or a number out of range.
    pub fn from_json(text: &str) -> Result<Self, LimitsError> {
        let raw: RawTenantLimits = read(text)?;
        Ok(Self {
            requests: rate(Unit::Requests, raw.requests_per_second, raw.requests_burst)?,
            samples: rate(Unit::Samples, raw.samples_per_second, raw.samples_burst)?,
            events: rate(Unit::Events, raw.events_per_second, raw.events_burst)?,
            queries: rate(Unit::Queries, raw.queries_per_second, raw.queries_burst)?,
            queries_concurrent_max: some("queries_concurrent_max", raw.queries_concurrent_max)?,
            query_samples_max: some("query_samples_max", raw.query_samples_max)?,
            series_max: some("series_max", raw.series_max)?,
            bytes_per_day_max: some("bytes_per_day_max", raw.bytes_per_day_max)?,
            samples_per_day_max: some("samples_per_day_max", raw.samples_per_day_max)?,
            events_per_day_max: some("events_per_day_max", raw.events_per_day_max)?,
        })
    }

    /// Returns these limits with `defaults` where there are none.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            requests: self.requests.or(defaults.requests),
            samples: self.samples.or(defaults.samples),
            events: self.events.or(defaults.events),
            queries: self.queries.or(defaults.queries),
            queries_concurrent_max: self.queries_concurrent_max.or(defaults.queries_concurrent_max),
            query_samples_max: self.query_samples_max.or(defaults.query_samples_max),
            series_max: self.series_max.or(defaults.series_max),
            bytes_per_day_max: self.bytes_per_day_max.or(defaults.bytes_per_day_max),
            samples_per_day_max: self.samples_per_day_max.or(defaults.samples_per_day_max),
            events_per_day_max: self.events_per_day_max.or(defaults.events_per_day_max),
        }
    }

    /// Returns what [`TenantLimits::from_json`] reads back.
    #[must_use]
    pub fn to_json(&self) -> String {
        let [requests, samples, events, queries] =
            [self.requests, self.samples, self.events, self.queries].map(parts);
        to_json(&RawTenantLimits {
            requests_per_second: requests.0,
            requests_burst: requests.1,
            samples_per_second: samples.0,
            samples_burst: samples.1,
            events_per_second: events.0,
            events_burst: events.1,
            queries_per_second: queries.0,
            queries_burst: queries.1,
            queries_concurrent_max: self.queries_concurrent_max,
            query_samples_max: self.query_samples_max,
            series_max: self.series_max,
            bytes_per_day_max: self.bytes_per_day_max,
            samples_per_day_max: self.samples_per_day_max,
            events_per_day_max: self.events_per_day_max,
        })
    }
}

/// The limits of a key as the state database keeps them.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawKeyLimits {
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    requests_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    samples_burst: Option<u64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_per_second: Option<f64>,
    #[serde(skip_serializing_if = "Option::is_none")]
    events_burst: Option<u64>,
}

impl KeyLimits {
    /// Reads a JSON object with some of the keys `requests_per_second`, `requests_burst`, and the same for `samples` and
    /// `events`. Without a burst as [`TenantLimits::from_json`].
    ///
    /// # Errors
    ///
    /// The text is no such object, a key is unknown, or a number out of range.
    pub fn from_json(text: &str) -> Result<Self, LimitsError> {
        let raw: RawKeyLimits = read(text)?;
        Ok(Self {
            requests: rate(Unit::Requests, raw.requests_per_second, raw.requests_burst)?,
            samples: rate(Unit::Samples, raw.samples_per_second, raw.samples_burst)?,
            events: rate(Unit::Events, raw.events_per_second, raw.events_burst)?,
        })
    }

    /// Returns what [`KeyLimits::from_json`] reads back.
    #[must_use]
    pub fn to_json(&self) -> String {
        let [requests, samples, events] = [self.requests, self.samples, self.events].map(parts);
        to_json(&RawKeyLimits {
            requests_per_second: requests.0,
            requests_burst: requests.1,
            samples_per_second: samples.0,
            samples_burst: samples.1,
            events_per_second: events.0,
            events_burst: events.1,
        })
    }

    /// Returns these limits with `defaults` where there are none.
    #[must_use]
    pub fn or(&self, defaults: &Self) -> Self {
        Self {
            requests: self.requests.or(defaults.requests),
            samples: self.samples.or(defaults.samples),
            events: self.events.or(defaults.events),
        }
    }
}

fn read<'a, T: Deserialize<'a>>(text: &'a str) -> Result<T, LimitsError> {
    // A list would be taken for the values in order.
    if !text.trim_start().starts_with('{') {
        return Err(LimitsError::NotObject);
    }
    Ok(serde_json::from_str(text)?)
}

fn to_json(raw: &impl Serialize) -> String {
    // Structs of numbers with names as keys are always JSON; rates are finite.
    serde_json::to_string(raw).unwrap_or_default()
}

fn rate(
    what: Unit,
    per_second: Option<f64>,
    burst: Option<u64>,
) -> Result<Option<RateLimit>, LimitsError> {
    let Some(per_second) = per_second else {
        return match burst {
            None => Ok(None),
            Some(_) => Err(LimitsError::BurstAlone { what }),
        };
    };
    what.limit(per_second, burst).map(Some).map_err(|source| {
        let part = match source {
            RateLimitError::PerSecond { .. } => "per_second",
            RateLimitError::Burst { .. } => "burst",
        };
        LimitsError::Rate { key: format!("{what}_{part}"), source }
    })
}

fn parts(limit: Option<RateLimit>) -> (Option<f64>, Option<u64>) {
    (limit.map(RateLimit::per_second), limit.map(RateLimit::burst))
}

fn some(key: &'static str, maximum: Option<u64>) -> Result<Option<u64>, LimitsError> {
    if maximum == Some(0) { Err(LimitsError::Zero { key }) } else { Ok(maximum) }
}

/// What is counted against a rate.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Unit {
    /// Requests.
    Requests,
    /// Samples of metrics.
    Samples,
    /// Events.
    Events,
    /// Queries.
    Queries,
}

impl Unit {
    /// Returns the plural.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Requests => "requests",
            Self::Samples => "samples",
            Self::Events => "events",
            Self::Queries => "queries",
        }
    }

    /// Returns the limit of `per_second` on average. Without a `burst`, two seconds of requests and queries and ten
    /// seconds of samples and events may come at once.
    ///
    /// # Errors
    ///
    /// A number is out of range.
    pub fn limit(self, per_second: f64, burst: Option<u64>) -> Result<RateLimit, RateLimitError> {
        let seconds = match self {
            Self::Requests | Self::Queries => BURST_SECONDS_SINGLE,
            Self::Samples | Self::Events => BURST_SECONDS_BATCH,
        };
        #[expect(
            clippy::cast_possible_truncation,
            clippy::cast_sign_loss,
            reason = "a float is cut to the range; the rate is checked below"
        )]
        let otherwise = (per_second * seconds).ceil().max(1.0) as u64;
        RateLimit::new(per_second, burst.unwrap_or(otherwise))
    }
}

impl fmt::Display for Unit {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

/// Which limit refuses. The names are stable codes.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum RefusalReason {
    /// The rate of the client's address.
    RateAddress,
    /// A rate of the key.
    RateKey,
    /// A rate of the tenant.
    RateTenant,
    /// The tenant's bytes of the day.
    QuotaBytes,
    /// The tenant's samples of the day.
    QuotaSamples,
    /// The tenant's events of the day.
    QuotaEvents,
    /// The tenant's queries at a time.
    QueriesConcurrent,
}

impl RefusalReason {
    /// All reasons, in order.
    pub const ALL: [Self; 7] = [
        Self::RateAddress,
        Self::RateKey,
        Self::RateTenant,
        Self::QuotaBytes,
        Self::QuotaSamples,
        Self::QuotaEvents,
        Self::QueriesConcurrent,
    ];

    /// Returns the code.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::RateAddress => "rate_address",
            Self::RateKey => "rate_key",
            Self::RateTenant => "rate_tenant",
            Self::QuotaBytes => "quota_bytes",
            Self::QuotaSamples => "quota_samples",
            Self::QuotaEvents => "quota_events",
            Self::QueriesConcurrent => "queries_concurrent",
        }
    }

    const fn whom(self) -> &'static str {
        match self {
            Self::RateAddress => "this address",
            Self::RateKey => "this key",
            _ => "this tenant",
        }
    }
}

/// Why a request is not served now, or never.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refusal {
    /// Which limit it is.
    pub reason: RefusalReason,
    /// When the same may be allowed. `None`: never, because it is too much at once.
    pub retry_after: Option<Duration>,
    /// What to tell the client.
    pub message: String,
}

impl Refusal {
    /// Returns the refusal by a rate, of `cost` units.
    #[must_use]
    pub fn rate(reason: RefusalReason, unit: Unit, limit: RateLimit, exceeded: Exceeded) -> Self {
        let whom = reason.whom();
        let (retry_after, message) = match exceeded {
            Exceeded::RetryAfter(wait) => {
                let per_second = limit.per_second();
                let message =
                    format!("{whom} may send {per_second} {unit} a second; try again later");
                (Some(wait), message)
            }
            Exceeded::Forever { burst } => {
                (None, format!("{whom} may send at most {burst} {unit} at once; send less"))
            }
        };
        Self { reason, retry_after, message }
    }

    /// Returns the refusal of `amount` by a quota of the day, of which `rest` is left.
    #[must_use]
    pub fn quota(reason: RefusalReason, maximum: u64, amount: u64, rest: Duration) -> Self {
        let unit = match reason {
            RefusalReason::QuotaSamples => Unit::Samples.as_str(),
            RefusalReason::QuotaEvents => Unit::Events.as_str(),
            _ => "bytes",
        };
        let (retry_after, advice) = if amount > maximum {
            (None, "send less at once")
        } else {
            (Some(rest), "too few are left for today; the day ends at midnight UTC")
        };
        let message = format!("this tenant may send {maximum} {unit} a day; {advice}");
        Self { reason, retry_after, message }
    }

    /// Returns the refusal of one more query at a time.
    #[must_use]
    pub fn queries_concurrent(maximum: u64) -> Self {
        Self {
            reason: RefusalReason::QueriesConcurrent,
            retry_after: Some(Duration::from_secs(1)),
            message: format!("this tenant may run {maximum} queries at a time; try again later"),
        }
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn check(text: &str, expected: Result<TenantLimits, &str>) {
        let found = TenantLimits::from_json(text).map_err(|error| error.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{text}");
    }

    fn limit(per_second: f64, burst: u64) -> Option<RateLimit> {
        Some(RateLimit::new(per_second, burst).expect("a limit"))
    }

    #[test]
    fn limits_are_read_from_json() {
        check("{}", Ok(TenantLimits::default()));
        check(
            r#"{"requests_per_second": 0.5, "samples_per_second": 1000, "samples_burst": 5000,
                "series_max": 7, "events_per_day_max": null}"#,
            Ok(TenantLimits {
                requests: limit(0.5, 1),
                samples: limit(1000.0, 5000),
                series_max: Some(7),
                ..TenantLimits::default()
            }),
        );
    }

    #[test]
    fn bursts_that_are_not_said_follow_from_the_rate() {
        let text = r#"{"requests_per_second": 100, "samples_per_second": 100}"#;
        let limits = KeyLimits::from_json(text).expect("limits");
        assert_eq!(
            limits,
            KeyLimits { requests: limit(100.0, 200), samples: limit(100.0, 1000), events: None }
        );
    }

    #[test]
    fn mistakes_are_named() {
        let field = "unknown field `serie_max`, expected one of";
        let error = TenantLimits::from_json(r#"{"serie_max":1}"#).expect_err("unknown").to_string();
        assert!(error.contains(field), "{error}");
        let error = KeyLimits::from_json(r#"{"series_max":1}"#).expect_err("unknown").to_string();
        assert!(error.contains("unknown field `series_max`"), "{error}");
        for text in ["", "[]", "7"] {
            check(text, Err("limits are a JSON object"));
        }
        for text in [
            r#"{"series_max":-1}"#,
            r#"{"series_max":1,"series_max":2}"#,
            r#"{"series_max":1.5}"#,
            "{}x",
        ] {
            let error = TenantLimits::from_json(text).expect_err("no limits");
            assert!(matches!(error, LimitsError::Invalid { .. }), "{text}: {error}");
        }
        check(
            r#"{"series_max":0}"#,
            Err("limit 'series_max' is zero; leave it out for no limit, or disable the tenant"),
        );
        check(
            r#"{"queries_per_second":0}"#,
            Err(
                "invalid limit 'queries_per_second': a rate is between 0.001 and 1000000000 a second, not 0",
            ),
        );
        check(
            r#"{"events_per_second":1,"events_burst":0}"#,
            Err("invalid limit 'events_burst': a burst is between 1 and 1000000000000, not 0"),
        );
        check(r#"{"events_burst":10}"#, Err("'events_burst' needs 'events_per_second'"));
    }

    #[test]
    fn the_limits_of_a_key_go_before_those_of_all() {
        let own = KeyLimits { samples: limit(1.0, 1), ..KeyLimits::default() };
        let all = KeyLimits { samples: limit(2.0, 2), requests: limit(3.0, 3), events: None };
        assert_eq!(own.or(&all), KeyLimits { samples: limit(1.0, 1), ..all });
        let full = r#"{"requests_per_second":1,"samples_per_second":2,"events_per_second":3,"queries_per_second":4,
            "queries_concurrent_max":5,"query_samples_max":6,"series_max":7,"bytes_per_day_max":8,
            "samples_per_day_max":9,"events_per_day_max":10}"#;
        let full = TenantLimits::from_json(full).expect("limits");
        assert_eq!(TenantLimits::default().or(&full), full);
        assert_eq!(full.or(&TenantLimits::default()), full);
    }

    #[test]
    fn refusals_say_what_to_do() {
        let limit = RateLimit::new(2.5, 10).expect("a limit");
        let wait = Duration::from_millis(400);
        let refusal =
            Refusal::rate(RefusalReason::RateKey, Unit::Samples, limit, Exceeded::RetryAfter(wait));
        assert_eq!(refusal.retry_after, Some(wait));
        assert_eq!(refusal.message, "this key may send 2.5 samples a second; try again later");
        let refusal = Refusal::rate(
            RefusalReason::RateTenant,
            Unit::Events,
            limit,
            Exceeded::Forever { burst: 10 },
        );
        assert_eq!(refusal.retry_after, None);
        assert_eq!(refusal.message, "this tenant may send at most 10 events at once; send less");
    }

    proptest! {
        #[test]
        fn what_is_written_is_read_back(
            rate in proptest::option::of((0.001_f64..1e9, 1_u64..RateLimit::BURST_MAX)),
            maximum in proptest::option::of(1_u64..),
        ) {
            let rate = rate.and_then(|(per_second, burst)| limit(per_second, burst));
            let tenant = TenantLimits {
                requests: rate,
                queries: rate,
                series_max: maximum,
                bytes_per_day_max: maximum,
                ..TenantLimits::default()
            };
            prop_assert_eq!(TenantLimits::from_json(&tenant.to_json()).expect("limits"), tenant);
            let key = KeyLimits { requests: rate, samples: rate, events: None };
            prop_assert_eq!(KeyLimits::from_json(&key.to_json()).expect("limits"), key);
        }

        #[test]
        fn no_text_panics(text in "\\PC{0,40}") {
            drop(TenantLimits::from_json(&text));
        }
    }
}
