//! CloudEvents 1.0 over HTTP: binary, structured and batched.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::{EventResult, Refused};
use http::{HeaderMap, StatusCode, header};
use ring::digest::{SHA256, digest};
use serde::Serialize;
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::intake::{Format, IntakeFailure, app_of, store};
use super::mapping::{self, Parameters, invalid, read_object, take_text, write_envelope};
use super::{SEND, about};
use crate::body::json_of;
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, Kind};
use crate::time::parse_rfc3339;

const STRUCTURED: &str = "application/cloudevents+json";
const BATCHED: &str = "application/cloudevents-batch+json";
/// What the names of attributes begin with: as headers, and as parameters.
const HEADER: &str = "ce-";
const PARAMETER: &str = "ce_";
/// Longest idempotency key that is taken as it is, in bytes.
const KEY_BYTES_MAX: usize = 256;

/// What became of CloudEvents.
#[derive(Serialize, ToSchema)]
struct CloudEventsResponse {
    /// How many are on stable storage.
    accepted: usize,
    /// How many are not.
    rejected: usize,
    /// What became of each, in the order in which they were sent.
    results: Vec<CloudEventResult>,
}

/// What became of a CloudEvent.
#[derive(Serialize, ToSchema)]
struct CloudEventResult {
    index: usize,
    /// `accepted` or `rejected`.
    status: &'static str,
    /// The identifier that it was stored with.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    event_id: Option<String>,
    /// Why it was not stored.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let description = about("Store CloudEvents")
        .details(
            "Binary, structured (`application/cloudevents+json`) or batched \
             (`application/cloudevents-batch+json`). They become custom events; docs/events.md says how.",
        )
        .takes_media(STRUCTURED)
        .takes_media(BATCHED)
        .takes_media("*/*")
        .answers::<CloudEventsResponse>("What is accepted is on stable storage.")
        .refuses(409);
    vec![Endpoint::new(Verb::Post, "/v1/cloudevents", SEND, cloud_events).describe(description)]
}

async fn cloud_events(caller: Caller, request: Request) -> Response {
    let app = app_of(&caller, &request);
    let mode = match Mode::of(request.headers()) {
        Ok(mode) => mode,
        Err(failure) => return failure.native(),
    };
    let is_batch = matches!(mode, Mode::Batched);
    let events_max = caller.app.events.gateway.settings().batch_events_max;
    let results = match store(&caller, request, CloudEvents { app, mode, events_max }).await {
        Ok(results) => results,
        Err(failure) => return mapping::refuse(failure),
    };
    if !is_batch && let Some(refused) = mapping::all_refused(&results) {
        return mapping::refused_event(refused).native();
    }
    let accepted = |result: &&EventResult| matches!(result, EventResult::Accepted { .. });
    let accepted = results.iter().filter(accepted).count();
    let rejected = results.len() - accepted;
    let results = results.into_iter().enumerate().map(|(index, result)| match result {
        EventResult::Accepted { id, .. } => {
            CloudEventResult { index, status: "accepted", event_id: Some(id.into()), error: None }
        }
        EventResult::Rejected(refused) => CloudEventResult {
            index,
            status: "rejected",
            event_id: None,
            error: Some(refused.to_string()),
        },
    });
    let answer = CloudEventsResponse { accepted, rejected, results: results.collect() };
    json_of(StatusCode::OK, &answer)
}

/// How a request holds its events.
enum Mode {
    /// One: attributes are headers, the body is its data.
    Binary(Map<String, Value>),
    /// One, as JSON.
    Structured,
    /// A list of them.
    Batched,
}

impl Mode {
    fn of(headers: &HeaderMap) -> Result<Self, Failure> {
        let content_type = headers.get(header::CONTENT_TYPE);
        let content_type = content_type.and_then(|value| value.to_str().ok()).unwrap_or_default();
        let media_type = content_type.split(';').next().unwrap_or_default().trim();
        match media_type.to_ascii_lowercase().as_str() {
            STRUCTURED => return Ok(Self::Structured),
            BATCHED => return Ok(Self::Batched),
            other if other.starts_with("application/cloudevents") => {
                let message = "of CloudEvents only the JSON format is understood";
                return Err(Failure::new(Kind::UnsupportedMedia, message));
            }
            _ => {}
        }
        let mut attributes = Map::new();
        for (name, value) in headers {
            let Some(name) = name.as_str().strip_prefix(HEADER) else { continue };
            let value = value.to_str().ok().and_then(percent_decode).ok_or_else(|| {
                Failure::bad_data(format!("header ce-{name} is not percent-encoded text"))
            })?;
            if attributes.insert(name.to_owned(), value.into()).is_some() {
                return Err(Failure::bad_data(format!("header ce-{name} is there twice")));
            }
        }
        if !attributes.contains_key("specversion") {
            let message = "send CloudEvents with the headers ce-specversion, ce-id, ce-source and ce-type, \
                           or as application/cloudevents+json or application/cloudevents-batch+json";
            return Err(Failure::new(Kind::UnsupportedMedia, message));
        }
        if !content_type.is_empty() {
            attributes.insert("datacontenttype".to_owned(), content_type.into());
        }
        Ok(Self::Binary(attributes))
    }
}

/// Undoes the encoding of headers: `%` and two hexadecimal digits are a byte of UTF-8.
fn percent_decode(value: &str) -> Option<String> {
    let mut bytes = Vec::with_capacity(value.len());
    let mut rest = value.as_bytes();
    while let Some((first, tail)) = rest.split_first() {
        rest = tail;
        if *first != b'%' {
            bytes.push(*first);
            continue;
        }
        let (digits, tail) = rest.split_at_checked(2)?;
        let digit = |byte: &u8| char::from(*byte).to_digit(16);
        let [high, low] = [digit(digits.first()?)?, digit(digits.last()?)?];
        bytes.push(u8::try_from(high * 16 + low).ok()?);
        rest = tail;
    }
    String::from_utf8(bytes).ok()
}

/// How CloudEvents become envelopes.
struct CloudEvents {
    app: Arc<str>,
    mode: Mode,
    events_max: usize,
}

impl Format for CloudEvents {
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure> {
        if !matches!(self.mode, Mode::Batched) {
            return Ok(vec![body]);
        }
        let events: Vec<&RawValue> = serde_json::from_slice(body).map_err(|error| {
            Failure::bad_data(format!("the body is not a list of CloudEvents: {error}"))
        })?;
        if events.len() > self.events_max {
            let message = format!("a batch has at most {} CloudEvents", self.events_max);
            return Err(Failure::bad_data(message).into());
        }
        Ok(events.into_iter().map(|event| event.get().as_bytes()).collect())
    }

    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused> {
        let event = match &self.mode {
            Mode::Binary(attributes) => with_data(attributes.clone(), event)?,
            Mode::Structured | Mode::Batched => read_object(event)?,
        };
        write_envelope(&map(&self.app, event)?, scratch)?;
        Ok(scratch)
    }
}

/// Returns an event in binary mode as it would be in structured mode.
fn with_data(mut event: Map<String, Value>, body: &[u8]) -> Result<Map<String, Value>, Refused> {
    if body.is_empty() {
        return Ok(event);
    }
    let content_type = event.get("datacontenttype").and_then(Value::as_str).unwrap_or_default();
    let media_type = content_type.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    let is_json = ["application/json", "text/json"].contains(&media_type.as_str())
        || media_type.ends_with("+json");
    let (name, data) = match (serde_json::from_slice(body), std::str::from_utf8(body)) {
        // Without a type, it is JSON if it can be: clients leave it out.
        (Ok(data), _) if is_json || media_type.is_empty() => ("data", data),
        (Err(_), _) if is_json => {
            return Err(invalid("data", "is not JSON as its content type says"));
        }
        (_, Ok(text)) if media_type.starts_with("text/") => ("data", text.into()),
        _ => ("data_base64", STANDARD.encode(body).into()),
    };
    event.insert(name.to_owned(), data);
    Ok(event)
}

/// Returns the envelope of an event as JSON.
fn map(app: &str, mut event: Map<String, Value>) -> Result<Value, Refused> {
    let mut required =
        |name: &str| take_text(&mut event, name)?.ok_or_else(|| invalid(name, "value is required"));
    if required("specversion")? != "1.0" {
        return Err(invalid("specversion", "must be 1.0"));
    }
    let [id, source, name] = [required("id")?, required("source")?, required("type")?];
    if source.contains(char::is_whitespace) {
        return Err(invalid("source", "must be a URI reference"));
    }
    let time = take_text(&mut event, "time")?;
    let time = time.map(|time| parse_rfc3339(&time).ok_or(())).transpose();
    let time = time.map_err(|()| invalid("time", "is not a time as RFC 3339 has them"))?;
    let device = take_text(&mut event, "deviceid")?.unwrap_or_else(|| source.clone());
    let correlation = take_text(&mut event, "correlationid")?;

    let mut parameters = Parameters::default();
    match event.remove("data") {
        Some(Value::Object(fields)) => parameters.extend(fields)?,
        Some(data) => parameters.insert("data".to_owned(), data)?,
        None => {}
    }
    if let Some(data) = event.remove("data_base64") {
        parameters.insert("data_base64".to_owned(), data)?;
    }
    let key = idempotency_key(&source, &id);
    event.insert("id".to_owned(), id.into());
    event.insert("source".to_owned(), source.into());
    for (attribute, value) in event {
        parameters.insert(format!("{PARAMETER}{attribute}"), value)?;
    }
    let mut envelope = json!({
        "appId": app,
        "deviceId": device,
        "idempotencyKey": key,
        "customEvent": parameters.custom_event(&name),
    });
    if let Some(time) = time {
        envelope["timestampMs"] = time.as_millis().into();
    }
    if let Some(correlation) = correlation {
        envelope["correlationId"] = correlation.into();
    }
    Ok(envelope)
}

/// Returns what identifies an event: source and identifier together, or their hash where they are long. A source has no
/// space.
fn idempotency_key(source: &str, id: &str) -> String {
    let key = format!("{source} {id}");
    if key.len() <= KEY_BYTES_MAX {
        return key;
    }
    let hash = digest(&SHA256, key.as_bytes());
    let hex: String = hash.as_ref().iter().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256 {hex}")
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(event: Value, expected: Result<Value, &str>) {
        let Value::Object(event) = event else { panic!("an object") };
        let found = map("shop", event).map_err(|refused| refused.to_string());
        assert_eq!(found, expected.map_err(str::to_owned));
    }

    #[test]
    fn attributes_and_data_have_their_places() {
        check(
            json!({
                "specversion": "1.0", "id": "A1", "source": "/carts", "type": "cart.closed",
                "time": "2024-11-19T07:06:40Z", "subject": "c1", "comexample": 3,
                "deviceid": "d1", "correlationid": "r1", "datacontenttype": "application/json",
                "data": {"items": 2, "total": 9.5, "paid": true, "buyer": {"name": "Ada"}},
            }),
            Ok(json!({
                "appId": "shop", "deviceId": "d1", "idempotencyKey": "/carts A1",
                "timestampMs": 1_732_000_000_000_i64, "correlationId": "r1",
                "customEvent": {
                    "eventName": "cart.closed",
                    "stringParams": {
                        "buyer.name": "Ada", "ce_id": "A1", "ce_source": "/carts", "ce_subject": "c1",
                        "ce_datacontenttype": "application/json",
                    },
                    "intParams": {"items": 2, "ce_comexample": 3},
                    "floatParams": {"total": 9.5},
                    "boolParams": {"paid": true},
                },
            })),
        );
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        let with = |name: &str, value: Value| {
            let mut event = json!({"specversion": "1.0", "id": "1", "source": "s", "type": "t"});
            event[name] = value;
            event
        };
        for (event, expected) in [
            (with("specversion", json!("0.3")), "specversion: must be 1.0"),
            (with("id", json!("")), "id: value is required"),
            (with("source", json!(null)), "source: value is required"),
            (with("source", json!("a b")), "source: must be a URI reference"),
            (with("type", json!(1)), "type: must be a text"),
            (with("time", json!("yesterday")), "time: is not a time as RFC 3339 has them"),
            (with("data", json!({"ce_id": "x"})), "ce_id: is there twice"),
        ] {
            check(event, Err(expected));
        }
    }

    #[test]
    fn data_that_is_no_object_is_one_parameter() {
        for (body, content_type, expected) in [
            (&b"[1]"[..], "application/json", json!({"data": "[1]"})),
            (b"\"x\"", "text/json; charset=utf-8", json!({"data": "x"})),
            (b"hello", "text/plain", json!({"data": "hello"})),
            (b"hello", "application/octet-stream", json!({"data_base64": "aGVsbG8="})),
            (b"\xff", "text/plain", json!({"data_base64": "/w=="})),
            (b"", "application/json", json!({})),
            (b"[1]", "", json!({"data": "[1]"})),
            (b"hello", "", json!({"data_base64": "aGVsbG8="})),
        ] {
            let attributes = json!({
                "specversion": "1.0", "id": "1", "source": "s", "type": "t",
                "datacontenttype": content_type,
            });
            let Value::Object(attributes) = attributes else { panic!("an object") };
            let event = with_data(attributes, body).expect("data");
            let envelope = map("shop", event).expect("valid");
            let Value::Object(mut texts) = envelope["customEvent"]["stringParams"].clone() else {
                panic!("texts")
            };
            texts.retain(|name, _| !name.starts_with(PARAMETER));
            assert_eq!(Value::Object(texts), expected, "{content_type}");
        }
    }

    #[test]
    fn headers_are_decoded() {
        for (value, expected) in [
            ("plain", Some("plain")),
            ("Euro%20%E2%82%AC", Some("Euro \u{20ac}")),
            ("%", None),
            ("%4", None),
            ("%zz", None),
            ("%ff", None),
        ] {
            assert_eq!(percent_decode(value).as_deref(), expected, "{value}");
        }
    }

    #[test]
    fn long_keys_are_hashed() {
        assert_eq!(idempotency_key(&"s".repeat(253), "id").len(), KEY_BYTES_MAX);
        let hashed = idempotency_key(&"s".repeat(254), "id");
        assert!(hashed.starts_with("sha256 ") && hashed.len() == 71, "{hashed}");
    }
}
