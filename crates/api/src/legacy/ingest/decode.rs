//! Reads the body of `/v1/ingest` with the leniency that its clients rely on.

use std::borrow::Cow;
use std::collections::BTreeMap;
use std::fmt;
use std::marker::PhantomData;

use model::Timestamp;
use serde::de::{DeserializeOwned, IgnoredAny, MapAccess, SeqAccess, Visitor};
use serde::{Deserialize, Deserializer};

use super::METRICS_MAX;
use crate::failure::Failure;
use crate::time::parse_rfc3339;

/// What clients send for "no time": 0001-01-01T00:00:00Z, in any spelling.
const NO_TIME: Timestamp = Timestamp::from_millis(-62_135_596_800_000);

/// One metric as it was sent.
#[derive(Debug, Default, PartialEq)]
pub(super) struct Decoded {
    pub(super) name: String,
    pub(super) kind: String,
    pub(super) value: f64,
    pub(super) labels: BTreeMap<String, String>,
    /// `None` means: when it arrived.
    pub(super) timestamp: Option<Timestamp>,
}

/// Reads the first JSON value of `body`; what comes behind it is ignored, and bytes that are no UTF-8 are replaced.
pub(super) fn decode(body: &[u8]) -> Result<Vec<Decoded>, Failure> {
    let text = String::from_utf8_lossy(body);
    if text.trim().is_empty() {
        return Err(Failure::bad_data("invalid JSON: EOF"));
    }
    let mut deserializer = serde_json::Deserializer::from_str(&text);
    let request = Option::<Body>::deserialize(&mut deserializer)
        .map_err(|error| Failure::bad_data(format!("invalid JSON: {error}")))?;
    let Metrics { metrics, count } = request.unwrap_or_default().metrics;
    if count > METRICS_MAX {
        return Err(Failure::bad_data("too many metrics in request (max 1000)"));
    }
    Ok(metrics)
}

/// A JSON object whose fields are known by name in any case.
trait Fields: Default {
    const WHAT: &'static str;

    /// Reads the value of the field `name`; `false` when the field is unknown, its value unread.
    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error>;
}

struct FieldsVisitor<T>(PhantomData<T>);

impl<'de, T: Fields> Visitor<'de> for FieldsVisitor<T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(T::WHAT)
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut value = T::default();
        while let Some(name) = map.next_key::<Cow<'de, str>>()? {
            if !value.read(&name.to_ascii_lowercase(), &mut map)? {
                map.next_value::<IgnoredAny>()?;
            }
        }
        Ok(value)
    }
}

/// Reads a value; null leaves what was there.
fn set<'de, T: DeserializeOwned, A: MapAccess<'de>>(
    field: &mut T,
    map: &mut A,
) -> Result<bool, A::Error> {
    if let Some(value) = map.next_value::<Option<T>>()? {
        *field = value;
    }
    Ok(true)
}

#[derive(Default)]
struct Body {
    metrics: Metrics,
}

impl Fields for Body {
    const WHAT: &'static str = "an object with \"metrics\"";

    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        if name == "metrics" { set(&mut self.metrics, map) } else { Ok(false) }
    }
}

impl<'de> Deserialize<'de> for Body {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData))
    }
}

/// The first metrics of a list, and how many there are.
#[derive(Default)]
struct Metrics {
    metrics: Vec<Decoded>,
    count: usize,
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        struct List;

        impl<'de> Visitor<'de> for List {
            type Value = Metrics;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str("a list of metrics")
            }

            fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Metrics, A::Error> {
                let mut metrics = Metrics::default();
                while let Some(metric) = list.next_element::<Option<Decoded>>()? {
                    metrics.count += 1;
                    if metrics.count <= METRICS_MAX {
                        metrics.metrics.push(metric.unwrap_or_default());
                    }
                }
                Ok(metrics)
            }
        }

        deserializer.deserialize_seq(List)
    }
}

impl Fields for Decoded {
    const WHAT: &'static str = "a metric";

    fn read<'de, A: MapAccess<'de>>(&mut self, name: &str, map: &mut A) -> Result<bool, A::Error> {
        match name {
            "name" => set(&mut self.name, map),
            "type" => set(&mut self.kind, map),
            "value" => set(&mut self.value, map),
            "labels" => {
                if let Some(labels) =
                    map.next_value::<Option<BTreeMap<String, Option<String>>>>()?
                {
                    let labels = labels.into_iter();
                    self.labels =
                        labels.map(|(key, value)| (key, value.unwrap_or_default())).collect();
                }
                Ok(true)
            }
            "timestamp" => {
                if let Some(text) = map.next_value::<Option<String>>()? {
                    self.timestamp = time::<A::Error>(&text)?;
                }
                Ok(true)
            }
            _ => Ok(false),
        }
    }
}

impl<'de> Deserialize<'de> for Decoded {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_map(FieldsVisitor(PhantomData))
    }
}

fn time<E: serde::de::Error>(text: &str) -> Result<Option<Timestamp>, E> {
    let time = parse_rfc3339(text).ok_or_else(|| {
        E::custom(format_args!("{text:?} is not a time; use RFC 3339 as in 2025-11-18T00:00:00Z"))
    })?;
    Ok(Some(time).filter(|time| *time != NO_TIME))
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    #[test]
    fn bodies_are_read_leniently() {
        let one =
            |name: &str, value: f64| Decoded { name: name.to_owned(), value, ..Decoded::default() };
        for (body, expected) in [
            ("{}", vec![]),
            ("null", vec![]),
            (r#"{"metrics":null,"more":[{}]}"#, vec![]),
            (
                r#"{"METRICS":[{"Name":"a","VALUE":1.5,"other":{"x":[1]}}]} trailing"#,
                vec![one("a", 1.5)],
            ),
            (
                r#"{"metrics":[{"name":"a","name":"b","value":null,"timestamp":null,"labels":null}]}"#,
                vec![one("b", 0.0)],
            ),
            (
                r#"{"metrics":[{"name":"a","timestamp":"0001-01-01T00:00:00Z"}]}"#,
                vec![one("a", 0.0)],
            ),
            (
                r#"{"metrics":[{"name":"a","timestamp":"0001-01-01T01:00:00.000+01:00"}]}"#,
                vec![one("a", 0.0)],
            ),
        ] {
            assert_eq!(decode(body.as_bytes()).expect(body), expected, "{body}");
        }
    }

    #[test]
    fn mistakes_are_named() {
        for (body, expected) in [
            ("", "invalid JSON: EOF"),
            ("{", "invalid JSON: EOF while parsing an object"),
            (r#"{"metrics":[{"name":5}]}"#, "invalid JSON: invalid type: integer `5`"),
            (r#"{"metrics":[{"value":1e999}]}"#, "invalid JSON: number out of range"),
            (r#"{"metrics":[{"labels":{"a":1}}]}"#, "invalid JSON: invalid type: integer `1`"),
            (
                r#"{"metrics":[{"timestamp":"yesterday"}]}"#,
                "invalid JSON: \"yesterday\" is not a time",
            ),
            ("[]", "invalid JSON: invalid type: sequence"),
        ] {
            let error = decode(body.as_bytes()).expect_err(body);
            assert!(error.message.starts_with(expected), "{body}: {}", error.message);
        }
    }

    #[test]
    fn a_thousand_metrics_are_allowed_and_one_more_is_not() {
        let body = |count: usize| format!(r#"{{"metrics":[{}]}}"#, vec!["{}"; count].join(","));
        assert_eq!(decode(body(1000).as_bytes()).map(|metrics| metrics.len()), Ok(1000));
        let error = decode(body(1001).as_bytes()).expect_err("too many");
        assert_eq!(error.message, "too many metrics in request (max 1000)");
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..200)) {
            drop(decode(&body));
        }

        #[test]
        fn arbitrary_tokens_never_panic_and_are_not_invented(
            tokens in proptest::collection::vec(
                prop::sample::select(vec![
                    "{", "}", "[", "]", ",", ":", "null", "1e999", "-0.5", "\"a\"", "\"metrics\":", "\"name\":",
                    "\"labels\":", "\"value\":", "\"timestamp\":", "\"2025-11-18T00:00:00Z\"", "\"\\ud800\"",
                ]),
                0..40,
            )
        ) {
            if let Ok(metrics) = decode(tokens.concat().as_bytes()) {
                let objects = tokens.iter().filter(|token| **token == "{").count();
                let nulls = tokens.iter().filter(|token| **token == "null").count();
                prop_assert!(metrics.len() <= objects + nulls);
            }
        }
    }
}
