//! Events as Segment's libraries send them.

use std::sync::Arc;

use axum::extract::Request;
use axum::response::Response;
use events::{EventResult, Refused};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::value::RawValue;
use serde_json::{Map, Value, json};
use utoipa::ToSchema;

use super::intake::{Format, IntakeFailure, app_of, store};
use super::mapping::{
    self, Parameters, invalid, read_object, take_object, take_text, write_envelope,
};
use super::{SEND, about};
use crate::body::json_of;
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Family, Verb};
use crate::failure::Failure;
use crate::time::parse_rfc3339;

/// Most results that say why an event of a batch was not stored.
const ERRORS_MAX: usize = 100;

/// A message of Segment's libraries. Other fields of theirs are understood or ignored, as docs/events.md says.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what mapping reads")]
struct SegmentMessage {
    /// The same for every attempt to send the message: it is then stored once.
    #[schema(nullable = false)]
    message_id: Option<String>,
    #[schema(nullable = false)]
    anonymous_id: Option<String>,
    #[schema(nullable = false)]
    user_id: Option<String>,
    /// When it happened, as RFC 3339 has it; the time of arrival when it is left out.
    #[schema(nullable = false)]
    timestamp: Option<String>,
    /// What is tracked, for `track`.
    #[schema(nullable = false)]
    event: Option<String>,
    #[schema(value_type = Option<Object>, nullable = false)]
    properties: Option<Value>,
    #[schema(value_type = Option<Object>, nullable = false)]
    context: Option<Value>,
}

/// Several messages, each with its `type`: `track`, `identify`, `page`, `screen`, `group` or `alias`.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what Messages reads")]
struct SegmentBatch {
    batch: Vec<SegmentMessage>,
    /// What holds for each message that does not say otherwise.
    #[schema(value_type = Option<Object>, nullable = false)]
    context: Option<Value>,
}

/// What became of messages.
#[derive(Serialize, ToSchema)]
struct SegmentResponse {
    /// Always true: whatever is accepted is on stable storage.
    success: bool,
    /// The messages that were not stored: the first hundred.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    #[schema(required = false)]
    errors: Vec<SegmentError>,
}

/// A message that was not stored.
#[derive(Serialize, ToSchema)]
struct SegmentError {
    index: usize,
    error: String,
}

/// What a message is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Call {
    Track,
    Identify,
    Page,
    Screen,
    Group,
    Alias,
}

impl Call {
    const ALL: [Self; 6] =
        [Self::Track, Self::Identify, Self::Page, Self::Screen, Self::Group, Self::Alias];

    const fn as_str(self) -> &'static str {
        match self {
            Self::Track => "track",
            Self::Identify => "identify",
            Self::Page => "page",
            Self::Screen => "screen",
            Self::Group => "group",
            Self::Alias => "alias",
        }
    }

    const fn path(self) -> &'static str {
        match self {
            Self::Track => "/v1/track",
            Self::Identify => "/v1/identify",
            Self::Page => "/v1/page",
            Self::Screen => "/v1/screen",
            Self::Group => "/v1/group",
            Self::Alias => "/v1/alias",
        }
    }
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let family = |endpoint: Endpoint| endpoint.family(Family::Segment);
    let single = Call::ALL.map(|call| {
        let handler = move |caller, request| one(caller, request, call);
        family(Endpoint::new(Verb::Post, call.path(), SEND, handler)).describe(
            about("Store a message of Segment's libraries")
                .details(DETAILS)
                .takes::<SegmentMessage>()
                .answers::<SegmentResponse>("The event is on stable storage.")
                .refuses(409),
        )
    });
    let batch = family(Endpoint::new(Verb::Post, "/v1/batch", SEND, batch)).describe(
        about("Store messages of Segment's libraries")
            .details(DETAILS)
            .takes::<SegmentBatch>()
            .answers::<SegmentResponse>("What is accepted is on stable storage."),
    );
    single.into_iter().chain([batch]).collect()
}

const DETAILS: &str = "The API key may be the user name of HTTP Basic, with an empty password. docs/events.md \
                       says what becomes of each field.";

async fn one(caller: Caller, request: Request, call: Call) -> Response {
    let app = app_of(&caller, &request);
    let results = match store(&caller, request, Message { app, call }).await {
        Ok(results) => results,
        Err(failure) => return mapping::refuse(failure),
    };
    answer(&results)
}

async fn batch(caller: Caller, request: Request) -> Response {
    let app = app_of(&caller, &request);
    let events_max = caller.app.events.gateway.settings().batch_events_max;
    let results = match store(&caller, request, Messages { app, events_max }).await {
        Ok(results) => results,
        Err(failure) => return mapping::refuse(failure),
    };
    answer(&results)
}

/// The libraries look at the status alone, and throw away what is answered with 400.
fn answer(results: &[EventResult]) -> Response {
    if let Some(refused) = mapping::all_refused(results) {
        return mapping::refused_event(refused).native();
    }
    let errors = results.iter().enumerate().filter_map(|(index, result)| match result {
        EventResult::Accepted { .. } => None,
        EventResult::Rejected(refused) => Some(SegmentError { index, error: refused.to_string() }),
    });
    let answer = SegmentResponse { success: true, errors: errors.take(ERRORS_MAX).collect() };
    json_of(StatusCode::OK, &answer)
}

/// A body with one message.
struct Message {
    app: Arc<str>,
    call: Call,
}

impl Format for Message {
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure> {
        Ok(vec![body])
    }

    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused> {
        write_envelope(&map(&self.app, self.call, read_object(event)?)?, scratch)?;
        Ok(scratch)
    }
}

/// A body with several messages.
struct Messages {
    app: Arc<str>,
    events_max: usize,
}

#[derive(Deserialize)]
struct Batch<'a> {
    #[serde(borrow)]
    batch: Vec<&'a RawValue>,
}

impl Format for Messages {
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure> {
        let batch: Batch<'_> = serde_json::from_slice(body).map_err(|error| {
            Failure::bad_data(format!("the body is not a batch of messages: {error}"))
        })?;
        if !(1..=self.events_max).contains(&batch.batch.len()) {
            let message = format!("a batch has 1 to {} messages", self.events_max);
            return Err(Failure::bad_data(message).into());
        }
        Ok(batch.batch.into_iter().map(|event| event.get().as_bytes()).collect())
    }

    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused> {
        let mut message = read_object(event)?;
        let name = take_text(&mut message, "type")?.unwrap_or_default();
        let call = Call::ALL.into_iter().find(|call| call.as_str() == name);
        let call = call.ok_or_else(|| {
            invalid("type", "must be track, identify, page, screen, group or alias")
        })?;
        write_envelope(&map(&self.app, call, message)?, scratch)?;
        Ok(scratch)
    }
}

/// Returns the envelope of a message as JSON.
fn map(app: &str, call: Call, mut message: Map<String, Value>) -> Result<Value, Refused> {
    let user = take_text(&mut message, "userId")?;
    let anonymous = take_text(&mut message, "anonymousId")?;
    let device = anonymous.as_deref().or(user.as_deref());
    let device = device.ok_or_else(|| invalid("anonymousId", "this or userId is required"))?;
    let mut envelope = json!({ "appId": app, "deviceId": device });
    if let Some(key) = take_text(&mut message, "messageId")? {
        envelope["idempotencyKey"] = key.into();
    }
    if let Some(time) = take_text(&mut message, "timestamp")? {
        let time = parse_rfc3339(&time)
            .ok_or_else(|| invalid("timestamp", "is not a time as RFC 3339 has them"))?;
        envelope["timestampMs"] = time.as_millis().into();
    }
    let context = take_object(&mut message, "context")?;
    if let Some(device_context) = device_context(context) {
        envelope["deviceContext"] = device_context;
    }
    let (field, payload) = payload(call, message, user.as_deref())?;
    envelope[field] = payload;
    Ok(envelope)
}

/// Returns the payload and the name of its field.
fn payload(
    call: Call,
    mut message: Map<String, Value>,
    user: Option<&str>,
) -> Result<(&'static str, Value), Refused> {
    let mut parameters = Parameters::default();
    let name = match call {
        Call::Track => {
            parameters.extend(take_object(&mut message, "properties")?)?;
            let event = take_text(&mut message, "event")?;
            event.ok_or_else(|| invalid("event", "value is required"))?
        }
        Call::Page | Call::Screen => {
            parameters.extend(take_object(&mut message, "properties")?)?;
            if let Some(user) = user {
                parameters.default_text("user_id", user);
            }
            return Ok(("screenView", screen_view(call, message, parameters)?));
        }
        Call::Identify => {
            parameters.extend(take_object(&mut message, "traits")?)?;
            call.as_str().to_owned()
        }
        Call::Group => {
            let group = take_text(&mut message, "groupId")?;
            let group = group.ok_or_else(|| invalid("groupId", "value is required"))?;
            parameters.extend(take_object(&mut message, "traits")?)?;
            parameters.default_text("group_id", &group);
            call.as_str().to_owned()
        }
        Call::Alias => {
            let previous = take_text(&mut message, "previousId")?;
            let previous = previous.ok_or_else(|| invalid("previousId", "value is required"))?;
            parameters.default_text("previous_id", &previous);
            call.as_str().to_owned()
        }
    };
    if let Some(user) = user {
        parameters.default_text("user_id", user);
    }
    Ok(("customEvent", parameters.custom_event(&name)))
}

fn screen_view(
    call: Call,
    mut message: Map<String, Value>,
    parameters: Parameters,
) -> Result<Value, Refused> {
    let name = take_text(&mut message, "name")?;
    let category = take_text(&mut message, "category")?;
    let parameters = parameters.into_texts();
    let property = |name: &str| parameters.get(name).and_then(Value::as_str);
    let not_empty = |text: &&str| !text.is_empty();
    let otherwise = ["path", "url", "title"].into_iter().filter_map(property).find(not_empty);
    // Neither has to have a name.
    let name = name.as_deref().or(otherwise).unwrap_or(call.as_str()).to_owned();
    let previous = property("referrer").unwrap_or_default().to_owned();
    Ok(json!({
        "screenName": name,
        "screenClass": category.unwrap_or_default(),
        "previousScreen": previous,
        "params": parameters,
    }))
}

/// Returns what is known about the device; what the envelope has no field for is left out.
fn device_context(context: Map<String, Value>) -> Option<Value> {
    let context = Value::Object(context);
    let text = |pointer: &str| context.pointer(pointer).and_then(Value::as_str).unwrap_or_default();
    let pixels = |pointer: &str| {
        let number = context.pointer(pointer).and_then(Value::as_f64).unwrap_or_default();
        let is_size = (0.0..=f64::from(i32::MAX)).contains(&number);
        if is_size { number.round() } else { 0.0 }
    };
    let truth =
        |pointer: &str| context.pointer(pointer).and_then(Value::as_bool).unwrap_or_default();
    let network =
        if truth("/network/wifi") { "NETWORK_TYPE_WIFI" } else { "NETWORK_TYPE_UNSPECIFIED" };
    let known = json!({
        "platform": platform(text("/os/name"), text("/device/type"), text("/library/name")),
        "osVersion": text("/os/version"),
        "appVersion": text("/app/version"),
        "buildNumber": text("/app/build"),
        "deviceModel": text("/device/model"),
        "manufacturer": text("/device/manufacturer"),
        "screenWidth": pixels("/screen/width"),
        "screenHeight": pixels("/screen/height"),
        "locale": text("/locale"),
        "timezone": text("/timezone"),
        "networkType": network,
        "carrier": text("/network/carrier"),
        "sdkVersion": text("/library/version"),
    });
    (context != json!({})).then_some(known)
}

fn platform(os: &str, device_type: &str, library: &str) -> &'static str {
    let is = |names: &[&str], text: &str| names.iter().any(|name| text.eq_ignore_ascii_case(name));
    if is(&["ios", "ipados", "iphone os"], os) || is(&["ios"], device_type) {
        "PLATFORM_IOS"
    } else if is(&["android"], os) || is(&["android"], device_type) {
        "PLATFORM_ANDROID"
    } else if is(&["analytics.js"], library) {
        "PLATFORM_WEB"
    } else {
        "PLATFORM_UNSPECIFIED"
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(call: Call, message: Value, expected: Result<Value, &str>) {
        let Value::Object(message) = message else { panic!("an object") };
        let found = map("shop", call, message).map_err(|refused| refused.to_string());
        assert_eq!(found, expected.map_err(str::to_owned), "{call:?}");
    }

    #[test]
    fn each_call_becomes_an_event() {
        check(
            Call::Track,
            json!({
                "messageId": "m1", "anonymousId": "a1", "userId": "u1", "event": "Order Completed",
                "timestamp": "2024-11-19T07:06:40Z",
                "properties": {"total": 9.5, "items": 2, "gift": true, "coupon": null, "ship": {"to": "X"}},
            }),
            Ok(json!({
                "appId": "shop", "deviceId": "a1", "idempotencyKey": "m1",
                "timestampMs": 1_732_000_000_000_i64,
                "customEvent": {
                    "eventName": "Order Completed",
                    "stringParams": {"ship.to": "X", "user_id": "u1"},
                    "intParams": {"items": 2}, "floatParams": {"total": 9.5}, "boolParams": {"gift": true},
                },
            })),
        );
        check(
            Call::Identify,
            json!({"userId": "u1", "traits": {"plan": "pro"}}),
            Ok(json!({
                "appId": "shop", "deviceId": "u1",
                "customEvent": {
                    "eventName": "identify", "stringParams": {"plan": "pro", "user_id": "u1"},
                    "intParams": {}, "floatParams": {}, "boolParams": {},
                },
            })),
        );
        check(
            Call::Page,
            json!({
                "anonymousId": "a1", "category": "Docs",
                "properties": {"path": "/docs", "referrer": "https://example.com/", "depth": 3},
            }),
            Ok(json!({
                "appId": "shop", "deviceId": "a1",
                "screenView": {
                    "screenName": "/docs", "screenClass": "Docs",
                    "previousScreen": "https://example.com/",
                    "params": {"path": "/docs", "referrer": "https://example.com/", "depth": "3"},
                },
            })),
        );
        check(
            Call::Group,
            json!({"userId": "u1", "groupId": "g1", "traits": {}}),
            Ok(json!({
                "appId": "shop", "deviceId": "u1",
                "customEvent": {
                    "eventName": "group", "stringParams": {"group_id": "g1", "user_id": "u1"},
                    "intParams": {}, "floatParams": {}, "boolParams": {},
                },
            })),
        );
        check(
            Call::Alias,
            json!({"userId": "u1", "previousId": "a1"}),
            Ok(json!({
                "appId": "shop", "deviceId": "u1",
                "customEvent": {
                    "eventName": "alias", "stringParams": {"previous_id": "a1", "user_id": "u1"},
                    "intParams": {}, "floatParams": {}, "boolParams": {},
                },
            })),
        );
    }

    #[test]
    fn a_screen_without_a_name_is_called_by_what_is_known() {
        for (message, expected) in [
            (json!({"name": "Home", "properties": {"path": "/"}}), "Home"),
            (json!({"properties": {"path": "/p", "title": "T"}}), "/p"),
            (json!({"properties": {"path": "", "title": "T"}}), "T"),
            (json!({}), "screen"),
        ] {
            let Value::Object(mut message) = message else { panic!("an object") };
            message.insert("userId".to_owned(), "u1".into());
            let envelope = map("shop", Call::Screen, message).expect("valid");
            assert_eq!(envelope["screenView"]["screenName"], expected);
        }
    }

    #[test]
    fn what_is_missing_or_wrong_is_told() {
        for (call, message, expected) in [
            (Call::Track, json!({"event": "x"}), "anonymousId: this or userId is required"),
            (Call::Track, json!({"userId": "u"}), "event: value is required"),
            (Call::Track, json!({"userId": 1, "event": "x"}), "userId: must be a text"),
            (
                Call::Track,
                json!({"userId": "u", "event": "x", "properties": []}),
                "properties: must be an object",
            ),
            (Call::Group, json!({"userId": "u"}), "groupId: value is required"),
            (Call::Alias, json!({"userId": "u"}), "previousId: value is required"),
            (
                Call::Page,
                json!({"userId": "u", "timestamp": "now"}),
                "timestamp: is not a time as RFC 3339 has them",
            ),
        ] {
            check(call, message, Err(expected));
        }
    }

    #[test]
    fn the_context_becomes_that_of_the_device() {
        let context = json!({
            "os": {"name": "iOS", "version": "17.1"}, "app": {"version": "2.0", "build": "77"},
            "device": {"model": "iPhone16,1", "manufacturer": "Apple"},
            "screen": {"width": 390.4, "height": -1}, "locale": "de-DE", "timezone": "Europe/Berlin",
            "network": {"wifi": true, "carrier": "T"}, "library": {"name": "x", "version": "1.2"},
            "ip": "192.0.2.1",
        });
        let Value::Object(context) = context else { panic!("an object") };
        let expected = json!({
            "platform": "PLATFORM_IOS", "osVersion": "17.1", "appVersion": "2.0",
            "buildNumber": "77", "deviceModel": "iPhone16,1", "manufacturer": "Apple",
            "screenWidth": 390.0, "screenHeight": 0.0, "locale": "de-DE",
            "timezone": "Europe/Berlin", "networkType": "NETWORK_TYPE_WIFI", "carrier": "T",
            "sdkVersion": "1.2",
        });
        assert_eq!(device_context(context), Some(expected));
        assert_eq!(device_context(Map::new()), None);
        assert_eq!(platform("Mac OS X", "", "analytics.js"), "PLATFORM_WEB");
        assert_eq!(platform("Linux", "android", ""), "PLATFORM_ANDROID");
    }
}
