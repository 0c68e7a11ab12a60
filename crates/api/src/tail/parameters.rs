//! What of the events is asked for.

use events::{EventFilter, JsonPath, Offset, PATH_BYTES_MAX};
use http::HeaderValue;
use model::Timestamp;

use crate::caller::Caller;
use crate::failure::{Failure, Kind};
use crate::params::Params;
use crate::time::parse_rfc3339;

/// Events of an answer that does not follow, where nothing is said.
const LIMIT_DEFAULT: usize = 1_000;
/// Most events that may be asked for.
const LIMIT_MAX: usize = 10_000;
/// Most names of one kind: apps, categories, types, devices.
const NAMES_MAX: usize = 64;
/// From here on a number is a time: 2001-09-09 in milliseconds. A log gets there in thirty years at a thousand events
/// a millisecond.
const FIRST_TIME_MS: u64 = 1_000_000_000_000;

/// What is asked for.
#[derive(Debug)]
pub(super) struct Asked {
    pub(super) filter: EventFilter,
    pub(super) from: From,
    pub(super) follow: bool,
    /// Events after which it ends.
    pub(super) limit: Option<usize>,
}

/// Where to begin.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum From {
    Latest,
    Earliest,
    At(Offset),
    Time(Timestamp),
}

impl Asked {
    /// Reads the parameters of a request.
    pub(super) fn read(
        caller: &Caller,
        params: &Params,
        last: Option<&HeaderValue>,
    ) -> Result<Self, Failure> {
        let follow = match params.get("follow") {
            None | Some("true") => true,
            Some("false") => false,
            Some(_) => return Err(Failure::parameter("follow", "say true or false")),
        };
        let limit = match params.get("limit") {
            None => (!follow).then_some(LIMIT_DEFAULT),
            Some(text) => Some(
                text.parse()
                    .ok()
                    .filter(|limit| (1..=LIMIT_MAX).contains(limit))
                    .ok_or_else(|| Failure::parameter("limit", "say a number from 1 to 10000"))?,
            ),
        };
        let from = match (params.get("from"), last) {
            (_, Some(last)) => From::after(last)?,
            (None, None) if follow => From::Latest,
            (None, None) => From::Earliest,
            (Some(text), None) => From::parse(text)?,
        };
        Ok(Self { filter: filter(caller, params)?, from, follow, limit })
    }
}

impl From {
    fn parse(text: &str) -> Result<Self, Failure> {
        match text {
            "latest" => return Ok(Self::Latest),
            "earliest" => return Ok(Self::Earliest),
            _ => {}
        }
        if let Ok(number) = text.parse::<u64>() {
            let time = i64::try_from(number).ok().filter(|_| number >= FIRST_TIME_MS);
            let time = time.map(Timestamp::from_millis);
            return Ok(time.map_or(Self::At(Offset(number)), Self::Time));
        }
        parse_rfc3339(text).map(Self::Time).ok_or_else(|| {
            let reason =
                "say latest, earliest, an offset, or a time as RFC 3339 or in milliseconds";
            Failure::parameter("from", reason)
        })
    }

    fn after(last: &HeaderValue) -> Result<Self, Failure> {
        let offset = last.to_str().ok().and_then(|text| text.trim().parse().ok());
        offset
            .map(|offset| Self::At(Offset(offset).next()))
            .ok_or_else(|| Failure::bad_data("Last-Event-ID is the offset of an event"))
    }
}

/// Returns which events are wanted: never those of an app that the key is not for.
fn filter(caller: &Caller, params: &Params) -> Result<EventFilter, Failure> {
    let mut filter = EventFilter {
        apps: names(params, "app")?,
        categories: names(params, "category")?,
        types: names(params, "type")?,
        devices: names(params, "device")?,
        ..EventFilter::all(caller.tenant.id.clone())
    };
    if let Some(own) = caller.principal.app.as_deref() {
        if filter.apps.iter().any(|app| app != own) {
            let message = format!("this key is for the app '{own}' only");
            return Err(Failure::new(Kind::AppForbidden, message));
        }
        filter.apps = vec![own.to_owned()];
    }
    if let Some(text) = params.get("path") {
        let path = JsonPath::parse(text).map_err(|error| {
            debug_assert!(error.position <= PATH_BYTES_MAX + 1, "places lie in the path");
            Failure::parameter("path", error)
        })?;
        filter.path = Some(path);
    }
    Ok(filter)
}

/// Returns the values of a parameter that may be repeated or have several with commas.
fn names(params: &Params, name: &str) -> Result<Vec<String>, Failure> {
    let values = params.all(name).flat_map(|value| value.split(','));
    let names: Vec<String> =
        values.filter(|value| !value.is_empty()).map(str::to_owned).take(NAMES_MAX + 1).collect();
    if names.len() > NAMES_MAX {
        return Err(Failure::parameter(name, format_args!("at most {NAMES_MAX} can be named")));
    }
    Ok(names)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_beginning_is_a_place_or_a_time() {
        for (text, expected) in [
            ("latest", Some(From::Latest)),
            ("earliest", Some(From::Earliest)),
            ("0", Some(From::At(Offset(0)))),
            ("999999999999", Some(From::At(Offset(999_999_999_999)))),
            ("1000000000000", Some(From::Time(Timestamp::from_millis(1_000_000_000_000)))),
            ("18446744073709551615", Some(From::At(Offset(u64::MAX)))),
            ("2024-11-19T07:06:40Z", Some(From::Time(Timestamp::from_millis(1_732_000_000_000)))),
            ("-1", None),
            ("yesterday", None),
        ] {
            assert_eq!(From::parse(text).ok(), expected, "{text}");
        }
    }
}
