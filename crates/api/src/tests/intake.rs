//! Events over the embedded log on a simulated disk.

use access::{Actor, KeyLimits, NewKey, Permission, PermissionSet, RateLimit};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::{DeadLetterQuery, Offset, ReadLimits};
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::Ways;

const INGEST: &str = "/v1/events/ingest";
const BATCH: &str = "/v1/events/batch";
const PROTOBUF: &str = "application/x-protobuf";

/// An event with a key.
fn event(key: &str, screen: &str) -> Value {
    json!({
        "appId": "shop", "deviceId": "d1", "timestampMs": NOW_MS, "idempotencyKey": key,
        "screenView": {"screenName": screen},
    })
}

fn single(event: &Value) -> Request<Body> {
    post(INGEST, &json!({ "event": event }).to_string())
}

fn batch(events: &[Value]) -> Request<Body> {
    post(BATCH, &json!({ "events": events }).to_string())
}

/// The event as a field of a binary request.
fn binary_field(event: &Value) -> Vec<u8> {
    let mut envelope = Vec::new();
    schema::envelope_from_json(event.to_string().as_bytes(), &mut envelope).expect("an event");
    let mut field = vec![1 << 3 | 2];
    let length = envelope.len();
    assert!(length < 1 << 14, "two bytes of length");
    field.extend([length as u8 & 0x7f | 0x80, (length >> 7) as u8]);
    field.extend(envelope);
    field
}

fn binary(uri: &str, body: Vec<u8>) -> Request<Body> {
    Request::post(uri).header("content-type", PROTOBUF).body(Body::from(body)).expect("a request")
}

impl Server {
    async fn answer(&self, request: Request<Body>) -> (u16, Value) {
        let (status, _, body) = self.send(request).await;
        let json = serde_json::from_slice(&body);
        let text = String::from_utf8_lossy(&body).into_owned();
        (status.as_u16(), json.unwrap_or(Value::String(text)))
    }

    /// Returns what the log holds, as JSON of the envelopes.
    async fn stored_events(&self) -> Vec<Value> {
        let limits = ReadLimits { entries_max: 10_000, bytes_max: 64 << 20 };
        let page = self.events.log.read(Offset(0), limits).await.expect("a log");
        let json = page.entries.iter().map(|entry| {
            let json = schema::envelope_to_json(&entry.envelope).expect("an event");
            serde_json::from_str(&json).expect("JSON")
        });
        json.collect()
    }

    /// Checks that everything that came was stored, repeated or refused.
    fn check_identity(&self, expected: [u64; 4]) {
        let stats = self.events.gateway.stats();
        let rejected: u64 = stats.rejected.values().sum();
        let found = [stats.received, stats.stored, stats.duplicates, rejected];
        assert_eq!(found, expected, "received, stored, duplicates, rejected: {stats:?}");
        assert_eq!(found[0], found[1..].iter().sum::<u64>());
    }
}

/// A server that asks for keys, with a key for sending events of an app, or of any.
async fn with_key(app: Option<&str>, limits: KeyLimits) -> (Server, String) {
    with_key_for(&[Permission::EventsWrite], app, limits).await
}

async fn with_key_for(
    permissions: &[Permission],
    app: Option<&str>,
    limits: KeyLimits,
) -> (Server, String) {
    let keys = |access: &Arc<Access>, _: &Arc<SimClock>| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    };
    let server = Server::known_by(ApiLimits::default(), StoreConfig::default(), keys).await;
    let new = NewKey {
        tenant: TenantId::default_tenant(),
        app: app.map(str::to_owned),
        name: "a key".to_owned(),
        permissions: PermissionSet::of(permissions),
        all_tenants: false,
        limits,
        expires_at: None,
    };
    let key = server.access.create_key(&Actor::command_line(), new).await.expect("a key");
    (server, key.secret.expose_secret().to_owned())
}

fn keyed(key: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("x-api-key", key.parse().expect("a value"));
    request
}

#[tokio::test]
async fn an_event_is_stored_and_answered_in_the_form_of_the_request() {
    let server = Server::new().await;
    let (status, answer) = server.answer(single(&event("k1", "Home"))).await;
    assert_eq!((status, &answer["status"]), (200, &json!("accepted")));
    let id = answer["eventId"].as_str().expect("an identifier").to_owned();

    let (status, headers, body) =
        server.send(binary(INGEST, binary_field(&event("k2", "Cart")))).await;
    assert_eq!(
        (status.as_u16(), &headers["content-type"]),
        (200, &PROTOBUF.parse().expect("a value"))
    );
    let expected = [&[1 << 3 | 2, 36][..], &body[2..38], &[2 << 3 | 2, 8], b"accepted"].concat();
    assert_eq!(body, expected, "event_id and status");

    let stored = server.stored_events().await;
    assert_eq!((stored.len(), &stored[0]["id"]), (2, &json!(id)));
    assert_eq!(stored[1]["screenView"]["screenName"], "Cart");
    server.check_identity([2, 2, 0, 0]);
}

#[tokio::test]
async fn an_event_without_a_time_has_that_of_its_arrival() {
    let server = Server::new().await;
    let timeless = json!({"app_id": "a", "device_id": "d", "network_change": {}});
    let (status, _) = server.answer(single(&timeless)).await;
    assert_eq!(status, 200);
    assert_eq!(server.stored_events().await[0]["timestampMs"], NOW_MS.to_string());
}

#[tokio::test]
async fn one_bad_event_keeps_no_other_out() {
    let server = Server::new().await;
    let mut nameless = event("k2", "");
    nameless["deviceId"] = json!("");
    let unknown = json!({"appId": "shop", "deviceId": "d", "colour": "red"});
    let empty = json!({"appId": "shop", "deviceId": "d"});
    let late = json!({"appId": "shop", "deviceId": "d", "timestampMs": 1, "appStart": {}});
    let events = [event("k1", "A"), nameless, unknown, Value::Null, empty, late, event("k3", "B")];
    let (status, answer) = server.answer(batch(&events)).await;
    assert_eq!(
        (status, &answer["acceptedCount"], &answer["rejectedCount"]),
        (200, &json!(2), &json!(5))
    );
    let results = answer["results"].as_array().expect("results");
    let told: Vec<_> = results
        .iter()
        .map(|result| {
            let has_id = result.get("eventId").is_some();
            let text = result.get("error").unwrap_or(&result["status"]);
            (result.get("index").cloned(), has_id, text.as_str().expect("a text"))
        })
        .collect();
    assert_eq!(told[0], (None, true, "accepted"), "defaults are left out");
    assert_eq!(told[6], (Some(json!(6)), true, "accepted"));
    for (index, expected) in [
        "device_id: value length must be at least 1 characters; \
         screen_view.screen_name: value length must be at least 1 characters",
        "colour",
        "null",
        "event_type is required (payload must not be empty)",
        "timestamp_ms is more than 90 d in the past",
    ]
    .into_iter()
    .enumerate()
    {
        let (place, has_id, text) = &told[index + 1];
        assert_eq!((place, has_id), (&Some(json!(index + 1)), &false));
        assert!(text.contains(expected), "{text}");
    }
    let names: Vec<_> = server.stored_events().await;
    let names: Vec<_> =
        names.iter().map(|event| event["screenView"]["screenName"].clone()).collect();
    assert_eq!(names, ["A", "B"]);
    server.check_identity([7, 2, 0, 5]);
}

#[tokio::test]
async fn a_repetition_is_answered_with_the_first_identifier() {
    let server = Server::new().await;
    let (_, first) = server.answer(single(&event("k", "A"))).await;
    let (status, again) = server.answer(single(&event("k", "A"))).await;
    assert_eq!((status, &again), (200, &first));
    // In protobuf, and in a batch, it is the same event.
    let binary_again =
        binary(BATCH, [binary_field(&event("k", "A")), binary_field(&event("l", "B"))].concat());
    let (_, _, body) = server.send(binary_again).await;
    let id = first["eventId"].as_str().expect("an identifier");
    assert!(body.windows(id.len()).any(|part| part == id.as_bytes()));
    assert_eq!(server.stored_events().await.len(), 2);
    server.check_identity([4, 2, 2, 0]);
}

#[tokio::test]
async fn another_event_with_the_same_key_is_refused_and_kept_as_a_dead_letter() {
    let server = Server::new().await;
    let (_, first) = server.answer(single(&event("k", "A"))).await;
    let id = first["eventId"].as_str().expect("an identifier");
    let expected = json!({"message": format!("idempotency_key belongs to another event, {id}; this one is not stored")});
    assert_eq!(server.answer(single(&event("k", "B"))).await, (409, expected.clone()));
    let (status, answer) = server.answer(batch(&[event("k", "C"), event("l", "D")])).await;
    assert_eq!((status, &answer["rejectedCount"]), (200, &json!(1)));
    assert_eq!(answer["results"][0]["error"], expected["message"]);
    let query = DeadLetterQuery {
        tenant: TenantId::default_tenant(),
        consumer: Some(events::GATEWAY.to_owned()),
        before: None,
        limit: 10,
    };
    let page = server.events.dead_letters.list(query).await.expect("dead letters");
    let errors: Vec<_> = page.letters.iter().map(|one| json!(one.letter.error)).collect();
    assert_eq!(errors, [expected["message"].clone(), expected["message"].clone()]);
    server.check_identity([4, 2, 0, 2]);
}

#[tokio::test]
async fn requests_that_are_wrong_are_refused_as_the_original_does() {
    let server = Server::new().await;
    let violation = |field: &str, description: &str| json!({"violations": [{"field": field, "description": description}]});
    let many: Vec<_> = (0..1_001).map(|_| json!({})).collect();
    let at =
        |millis: i64| json!({"appId": "a", "deviceId": "d", "timestampMs": millis, "appStart": {}});
    for (request, expected) in [
        (single(&Value::Null), violation("event", "value is required")),
        (post(INGEST, ""), violation("event", "value is required")),
        (post(INGEST, "{}"), violation("event", "value is required")),
        (
            single(&json!({"deviceId": "d", "screenView": {"screenName": "x"}})),
            violation("event.app_id", "value length must be at least 1 characters"),
        ),
        (
            single(&json!({"appId": "a", "deviceId": "d"})),
            json!({"message": "event_type is required (payload must not be empty)"}),
        ),
        (single(&at(-1)), json!({"message": "timestamp_ms is required and must be > 0"})),
        (
            single(&at(NOW_MS + 2 * 86_400_000)),
            violation("event.timestamp_ms", "timestamp_ms is more than 1 d in the future"),
        ),
        (post(BATCH, ""), violation("events", "value must contain at least 1 item(s)")),
        (batch(&[]), violation("events", "value must contain at least 1 item(s)")),
        (batch(&many), violation("events", "value must contain no more than 1000 item(s)")),
    ] {
        let what = format!("{:?}", request.body());
        assert_eq!(server.answer(request).await, (400, expected), "{what}");
    }
    for (request, expected) in [
        (post(INGEST, "{"), "EOF"),
        (post(INGEST, "[]"), "expected an object"),
        (post(INGEST, r#"{"events":[]}"#), "unknown field"),
        (single(&json!({"appId": "a", "colour": 1})), "colour"),
        (single(&json!({"appId": "a", "appStart": {}, "networkChange": {}})), ""),
        (post(BATCH, r#"{"events":{}}"#), "expected an array"),
        (binary(BATCH, vec![0xff]), ""),
        (binary(INGEST, [binary_field(&event("k", "A")), vec![0x0a]].concat()), ""),
        (packed("gzip", b"no gzip"), "body is not valid gzip"),
        (packed("gzip", &gzip(&vec![b' '; 6 << 20])), "decompressed body has"),
        (post(BATCH, &" ".repeat((5 << 20) + 1)), "longer than 5242880 bytes"),
    ] {
        let is_binary = request.headers().get("content-type").is_some_and(|kind| kind == PROTOBUF);
        let (status, headers, body) = server.send(request).await;
        let text = String::from_utf8_lossy(&body).into_owned();
        assert_eq!(status.as_u16(), 400, "{text}");
        let begin = "failed to parse request body: ";
        assert!(text.contains(begin) && text.contains(expected), "{expected}: {text}");
        let kind = if is_binary { PROTOBUF } else { "application/json" };
        assert_eq!(headers["content-type"], kind, "{text}");
    }
    // What is wrong with a binary request is told in binary: field 1, with the name and the description.
    let (_, _, body) = server.send(binary(INGEST, Vec::new())).await;
    assert_eq!(body, b"\x0a\x1a\x0a\x05event\x12\x11value is required");
    let (status, ..) = server.send(packed("br", b"x")).await;
    assert_eq!(status.as_u16(), 415);
    assert!(server.stored_events().await.is_empty());
    server.check_identity([6, 0, 0, 6]);
}

#[tokio::test]
async fn the_largest_batch_is_taken() {
    let server = Server::new().await;
    let events: Vec<_> = (0..1_000).map(|index| event(&format!("k{index}"), "A")).collect();
    let (status, answer) = server.answer(batch(&events)).await;
    assert_eq!((status, &answer["acceptedCount"]), (200, &json!(1_000)));
    let stored = server.stored_events().await;
    let keys = stored.iter().map(|event| event["idempotencyKey"].clone());
    assert!(keys.eq((0..1_000).map(|index| json!(format!("k{index}")))), "in their order");
    server.check_identity([1_000, 1_000, 0, 0]);
}

fn gzip(plain: &[u8]) -> Vec<u8> {
    use std::io::Write as _;
    let mut encoder = flate2::write::GzEncoder::new(Vec::new(), flate2::Compression::fast());
    encoder.write_all(plain).expect("memory");
    encoder.finish().expect("memory")
}

fn packed(encoding: &str, body: &[u8]) -> Request<Body> {
    Request::post(INGEST)
        .header("content-encoding", encoding)
        .body(Body::from(body.to_vec()))
        .expect("a request")
}

#[tokio::test]
async fn compressed_bodies_are_understood() {
    let server = Server::new().await;
    let body = json!({ "event": event("k", "A") }).to_string();
    let (status, answer) = server.answer(packed("gzip", &gzip(body.as_bytes()))).await;
    assert_eq!(status, 200, "{answer}");
    server.check_identity([1, 1, 0, 0]);
}

#[tokio::test]
async fn whoever_has_no_key_is_told_as_the_original_does() {
    let (server, key) = with_key(Some("shop"), KeyLimits::default()).await;
    for uri in [INGEST, BATCH] {
        server.check(post(uri, "{"), 401, "{\"error\":\"missing API key\"}\n").await;
        let unknown = keyed(&"ab".repeat(32), post(uri, "{"));
        server.check(unknown, 401, "{\"error\":\"invalid API key\"}\n").await;
    }
    let (status, _) = server.answer(keyed(&key, single(&event("k", "A")))).await;
    assert_eq!(status, 200);
}

#[tokio::test]
async fn a_key_of_one_app_sends_no_events_of_another() {
    let (server, key) = with_key(Some("other"), KeyLimits::default()).await;
    let expected = "app_id must be 'other', the app that the API key is for";
    let refused = server.answer(keyed(&key, single(&event("k", "A")))).await;
    assert_eq!(refused, (403, json!({ "message": expected })));
    let mut own = event("l", "B");
    own["appId"] = json!("other");
    let (status, answer) = server.answer(keyed(&key, batch(&[event("k", "A"), own]))).await;
    assert_eq!((status, &answer["results"][0]["error"]), (200, &json!(expected)));
    assert_eq!(answer["results"][1]["status"], "accepted");
    server.check_identity([3, 1, 0, 2]);
}

#[tokio::test]
async fn events_count_against_the_limits_of_the_key() {
    let events = RateLimit::new(1.0, 3).ok();
    let (server, key) = with_key(None, KeyLimits { events, ..KeyLimits::default() }).await;
    let send = |count: usize| {
        let events: Vec<_> = (0..count).map(|_| event("", "A")).collect();
        keyed(&key, batch(&events))
    };
    let (status, answer) = server.answer(send(4)).await;
    let description = "this key may send at most 3 events at once; send less";
    let expected = json!({"violations": [{"field": "events", "description": description}]});
    assert_eq!((status, answer), (400, expected));
    assert_eq!(server.answer(send(3)).await.0, 200);
    let (status, headers, body) = server.send(send(1)).await;
    assert_eq!((status.as_u16(), body.as_slice()), (429, &b"Too Many Requests\n"[..]));
    assert_eq!(
        (&headers["retry-after"], &headers["x-error-code"]),
        (&"1".parse().expect("a value"), &"rate_limited".parse().expect("a value"))
    );
    server.clock.advance(Duration::from_secs(1));
    assert_eq!(server.answer(send(1)).await.0, 200);
    server.check_identity([4, 4, 0, 0]);
}

fn ready() -> Request<Body> {
    Request::get("/v1/ready").body(Body::empty()).expect("a request")
}

#[tokio::test]
async fn nothing_is_acknowledged_while_the_disk_is_full() {
    let server = Server::new().await;
    assert_eq!(server.answer(single(&event("k1", "A"))).await.0, 200);
    server.fs.set_space(Some(0));
    for request in [single(&event("k2", "B")), batch(&[event("k2", "B"), event("k3", "C")])] {
        let (status, headers, body) = server.send(request).await;
        let answer: Value = serde_json::from_slice(&body).expect("JSON");
        assert_eq!(status.as_u16(), 503, "{answer}");
        assert!(headers.contains_key("retry-after"), "{answer}");
        let message = answer["message"].as_str().expect("a message");
        assert!(message.contains("event log is unavailable"), "{message}");
    }
    let (status, answer) = server.answer(ready()).await;
    assert_eq!((status, &answer["dependencies"]["events"]), (503, &json!("not_ready")), "{answer}");
    server.check_identity([1, 1, 0, 0]);
    server.fs.set_space(None);
    // As the one who maintains the log does every few seconds.
    server.log.maintain().expect("room again");
    // What was found is told for a second.
    server.clock.advance(Duration::from_secs(1));
    let (status, answer) = server.answer(ready()).await;
    assert_eq!((status, &answer["dependencies"]["events"]), (200, &json!("ready")), "{answer}");
    let (status, answer) = server.answer(batch(&[event("k2", "B"), event("k1", "A")])).await;
    assert_eq!((status, &answer["acceptedCount"]), (200, &json!(2)), "{answer}");
    server.check_identity([3, 2, 1, 0]);
}

fn cloud_event(kind: &str, body: &Value) -> Request<Body> {
    Request::post("/v1/cloudevents")
        .header("content-type", kind)
        .body(Body::from(body.to_string()))
        .expect("a request")
}

#[tokio::test]
async fn cloud_events_are_taken_in_each_mode() {
    let server = Server::new().await;
    let cart = |id: &str| json!({"specversion": "1.0", "id": id, "source": "/carts", "type": "cart.closed", "data": {"items": 2}});
    let accepted = |answer: &Value| (answer["accepted"].clone(), answer["rejected"].clone());
    let structured = cloud_event("application/cloudevents+json; charset=utf-8", &cart("1"));
    let (status, answer) = server.answer(structured).await;
    assert_eq!((status, accepted(&answer)), (200, (json!(1), json!(0))), "{answer}");
    let binary = Request::post("/v1/cloudevents?app=shop")
        .header("content-type", "application/json")
        .header("ce-specversion", "1.0")
        .header("ce-id", "1")
        .header("ce-source", "/carts")
        .header("ce-type", "cart.closed")
        .body(Body::from(r#"{"items":2}"#));
    let (status, answer) = server.answer(binary.expect("a request")).await;
    assert_eq!((status, accepted(&answer)), (200, (json!(1), json!(0))), "{answer}");
    // As the Python library sends it: no content type, microseconds in the time.
    let untyped = Request::post("/v1/cloudevents")
        .header("ce-specversion", "1.0")
        .header("ce-id", "019c6aa9-7975-4d94-886b-f2e2ffdcd57b")
        .header("ce-source", "https://example.com/event-producer")
        .header("ce-type", "com.example.sampletype1")
        .header("ce-subject", "s 1")
        .header("ce-time", "2024-11-19T07:06:39.448395+00:00")
        .body(Body::from(r#"{"message": "Hello World!", "n": 3}"#));
    let (status, answer) = server.answer(untyped.expect("a request")).await;
    assert_eq!((status, accepted(&answer)), (200, (json!(1), json!(0))), "{answer}");
    let mut wrong = cart("3");
    wrong["specversion"] = json!("0.3");
    let kind = "application/cloudevents-batch+json";
    let batched = cloud_event(kind, &json!([cart("1"), wrong.clone(), cart("2")]));
    let (status, answer) = server.answer(batched).await;
    assert_eq!((status, accepted(&answer)), (200, (json!(2), json!(1))), "{answer}");
    assert_eq!(answer["results"][1]["error"], "specversion: must be 1.0");

    for (request, status, expected) in [
        (cloud_event("application/cloudevents+json", &wrong), 400, "specversion: must be 1.0"),
        (cloud_event("application/cloudevents+json", &json!([])), 400, "an event is a JSON object"),
        (cloud_event(kind, &json!({})), 400, "not a list of CloudEvents"),
        (cloud_event(kind, &json!(vec![1; 1_001])), 400, "a batch has at most 1000 CloudEvents"),
        (cloud_event("application/cloudevents+avro", &json!({})), 415, "only the JSON format"),
        (cloud_event("application/json", &cart("4")), 415, "application/cloudevents+json"),
    ] {
        server.check_contains(request, status, expected).await;
    }
    let stored = server.stored_events().await;
    let apps: Vec<_> = stored.iter().map(|event| event["appId"].clone()).collect();
    let expected = ["default", "shop", "default", "default"];
    assert_eq!(apps, expected, "the first was repeated in the batch");
    assert_eq!(stored[0]["customEvent"]["intParams"]["items"], "2");
    assert_eq!(stored[2]["customEvent"]["intParams"]["n"], "3");
    assert_eq!(stored[2]["timestampMs"], "1731999999448");
}

#[tokio::test]
async fn the_libraries_of_segment_can_send_here() {
    let (server, key) = with_key(Some("shop"), KeyLimits::default()).await;
    let send = |uri: &str, user: &str, body: &Value| {
        Request::post(uri)
            .header("authorization", format!("Basic {}", STANDARD.encode(user)))
            .header("content-type", "application/json")
            .body(Body::from(body.to_string()))
            .expect("a request")
    };
    let user = format!("{key}:");
    let track = json!({"userId": "u", "event": "Signed Up", "messageId": "m1"});
    for _ in 0..2 {
        let answer = server.answer(send("/v1/track", &user, &track)).await;
        assert_eq!(answer, (200, json!({"success": true})));
    }
    let messages = json!({"batch": [
        {"type": "page", "anonymousId": "a", "name": "Home", "properties": {"path": "/"}},
        {"type": "video", "userId": "u"},
        {"type": "identify", "userId": "u", "traits": {"plan": "pro"}},
    ], "sentAt": "2024-11-19T07:06:40Z"});
    let (status, answer) = server.answer(send("/v1/batch", &user, &messages)).await;
    let refused = "type: must be track, identify, page, screen, group or alias";
    let expected = json!({"success": true, "errors": [{"index": 1, "error": refused}]});
    assert_eq!((status, answer), (200, expected));
    let stored = server.stored_events().await;
    let apps: Vec<_> = stored.iter().map(|event| event["appId"].clone()).collect();
    assert_eq!(apps, ["shop"; 3], "the key's app");
    server.check_identity([5, 3, 1, 1]);

    for (request, status, expected) in [
        (send("/v1/track", &user, &json!({"userId": "u"})), 400, "event: value is required"),
        (send("/v1/batch", &user, &json!({"batch": []})), 400, "a batch has 1 to 1000 messages"),
        (send("/v1/batch", &user, &json!([])), 400, "not a batch of messages"),
        (send("/v1/track", "nobody:", &track), 401, "key_invalid"),
        (send("/v1/track", &format!("{key}:secret"), &track), 401, "key_invalid"),
        (send("/v1/track", &key, &track), 401, "key_invalid"),
        // Elsewhere, that is no credential.
        (send(INGEST, &user, &json!({})), 401, "invalid API key"),
        (send("/v1/cloudevents", &user, &json!({})), 401, "key_invalid"),
    ] {
        server.check_contains(request, status, expected).await;
    }
}

#[tokio::test]
async fn a_key_of_one_app_sees_and_changes_no_schemas_of_another() {
    let permissions = [Permission::EventsRead, Permission::RulesWrite];
    let (server, key) = with_key_for(&permissions, Some("shop"), KeyLimits::default()).await;
    let set = |key: &str, app: &str| {
        let body = json!({"app": app, "event_name": "buy", "mode": "warn", "schema": {}});
        let mut request = keyed(key, post("/v1/events/schemas", &body.to_string()));
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json".parse().expect("a value"));
        request
    };
    for (key, app, status) in [(&*key, "shop", 200), (&key, "bank", 403), (ROOT_KEY, "bank", 200)] {
        let (found, answer) = server.answer(set(key, app)).await;
        assert_eq!(found, status, "{app}: {answer}");
    }
    for (key, expected) in [(&*key, json!(["shop"])), (ROOT_KEY, json!(["bank", "shop"]))] {
        let (_, answer) = server.answer(keyed(key, get("/v1/events/schemas"))).await;
        let schemas = answer["schemas"].as_array().expect("schemas").iter();
        assert_eq!(schemas.map(|schema| schema["app"].clone()).collect::<Value>(), expected);
    }
    let remove = Request::delete("/v1/events/schemas/bank/buy").body(Body::empty());
    let refused = keyed(&key, remove.expect("a request"));
    server.check_contains(refused, 403, "app_forbidden").await;
}

#[tokio::test]
async fn schemas_are_set_listed_and_removed() {
    let server = Server::new().await;
    let set = |mode: &str, schema: Value| {
        let body = json!({"app": "shop", "event_name": "buy", "mode": mode, "schema": schema});
        let mut request = post("/v1/events/schemas", &body.to_string());
        let headers = request.headers_mut();
        headers.insert("content-type", "application/json".parse().expect("a value"));
        request
    };
    let schema = json!({"properties": {"price": {"minimum": 1}}});
    let (status, answer) = server.answer(set("enforce", schema.clone())).await;
    let expected = json!({
        "app": "shop", "event_name": "buy", "mode": "enforce", "schema": schema,
        "updated_at": "2024-11-19T07:06:40Z",
    });
    assert_eq!((status, &answer), (200, &expected));
    let listed = server.answer(get("/v1/events/schemas")).await;
    assert_eq!(listed, (200, json!({ "schemas": [expected] })));

    let buy = |price: i64| json!({"appId": "shop", "deviceId": "d", "customEvent": {"eventName": "buy", "intParams": {"price": price}}});
    let description = "value is less than the minimum of 1";
    let violations =
        json!({"violations": [{"field": "event.custom_event.price", "description": description}]});
    assert_eq!(server.answer(single(&buy(0))).await, (400, violations));
    assert_eq!(server.answer(single(&buy(1))).await.0, 200);
    assert_eq!(server.answer(set("warn", schema.clone())).await.0, 200);
    assert_eq!(server.answer(single(&buy(0))).await.0, 200);
    assert_eq!(server.events.gateway.stats().schema_warnings, 1);

    for (request, status, expected) in [
        (set("strict", schema), 400, "mode must be off, warn or enforce"),
        (set("warn", json!({"type": "x"})), 400, "schema is not valid"),
        (set("warn", json!({"$ref": "http://example.com"})), 400, "must not use"),
    ] {
        server.check_contains(request, status, expected).await;
    }
    let remove = |uri: &str| Request::delete(uri).body(Body::empty()).expect("a request");
    server.check(remove("/v1/events/schemas/shop/buy"), 204, "").await;
    server.check_contains(remove("/v1/events/schemas/shop/buy"), 404, "no schema").await;
    server.check_contains(get("/v1/audit"), 200, "event_schema.remove").await;
    server.check_contains(get("/v1/audit"), 200, "shop/buy").await;
    server.check_identity([3, 2, 0, 1]);
}

/// Bodies as the libraries sent them: analytics-python 2.4.0 and @segment/analytics-node 3.1.0.
#[tokio::test]
async fn what_the_libraries_of_segment_send_is_understood() {
    let server = Server::new().await;
    // The recordings are of 2026.
    let recorded_at = Timestamp::from_millis(1_795_280_000_000);
    server.clock.set_now(recorded_at);
    for (body, expected) in [
        (
            include_str!("recorded/segment-python.json"),
            &["identify", "Signed Up", "Start", "Home", "group", "alias"][..],
        ),
        (
            include_str!("recorded/segment-node.json"),
            &["identify", "Item Viewed", "Pricing", "group", "alias"],
        ),
    ] {
        let before = server.stored_events().await.len();
        let answer = server.answer(post("/v1/batch", body)).await;
        assert_eq!(answer, (200, json!({"success": true})));
        let stored = server.stored_events().await;
        let name = |event: &Value| {
            let custom = event["customEvent"]["eventName"].as_str();
            custom.or(event["screenView"]["screenName"].as_str()).unwrap_or_default().to_owned()
        };
        let names: Vec<_> = stored.iter().skip(before).map(name).collect();
        assert_eq!(names, expected);
        // Each has its own time and key: sent again, all are repetitions.
        assert_eq!(server.answer(post("/v1/batch", body)).await.0, 200);
        assert_eq!(server.stored_events().await.len(), stored.len());
    }
    server.check_identity([22, 11, 11, 0]);
}
