//! Every payload with every field, in JSON and in binary, as senders have always written them.
//!
//! Names and numbers are spelt here by hand and come from no table of the crate: what is spelt otherwise there, a
//! sender would notice.

#[path = "golden/catalogue.rs"]
mod catalogue;

use catalogue::{Payload, Sample, camel, payloads};
use schema::requests::{self, Form};
use schema::{Invalid, Limits, PayloadKind, envelope_from_json, envelope_to_json, inspect};

const TIME: i64 = 1_738_915_200_000;

/// Returns the binary form of an event in JSON.
#[track_caller]
fn binary(json: &str) -> Vec<u8> {
    let mut out = Vec::new();
    match envelope_from_json(json.as_bytes(), &mut out) {
        Ok(()) => out,
        Err(error) => panic!("{error}: {json}"),
    }
}

/// Returns what makes an event invalid.
#[track_caller]
fn violations(envelope: &[u8]) -> Vec<String> {
    match inspect(envelope, &Limits::default()) {
        Ok(_) => Vec::new(),
        Err(Invalid::Violations(violations)) => {
            violations.iter().map(ToString::to_string).collect()
        }
        Err(other) => panic!("{other}"),
    }
}

fn fingerprint(envelope: &[u8]) -> u64 {
    inspect(envelope, &Limits::default()).expect("a valid event").fingerprint
}

/// Returns an object of fields, each with its value.
fn object(fields: impl IntoIterator<Item = (String, String)>) -> String {
    let members: Vec<_> =
        fields.into_iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
    format!("{{{}}}", members.join(","))
}

/// An event with every field of the envelope and these of a payload.
struct Event<'p> {
    payload: &'p Payload,
    fields: Vec<Sample>,
}

impl<'p> Event<'p> {
    fn new(payload: &'p Payload) -> Self {
        Self { payload, fields: payload.fields.clone() }
    }

    /// Returns it in JSON; `spell` writes a name, `value` chooses how a value is written.
    fn json(&self, spell: fn(&str) -> String, value: fn(&Sample) -> &str) -> String {
        let write = |fields: &[Sample]| {
            object(fields.iter().map(|field| (spell(&field.name), value(field).to_owned())))
        };
        let mut members = write(&catalogue::envelope());
        members.pop();
        format!("{members},\"{}\":{}}}", spell(&self.payload.name), write(&self.fields))
    }

    fn binary(&self) -> Vec<u8> {
        let mut out = catalogue::encode(&catalogue::envelope());
        catalogue::put_bytes(&mut out, self.payload.number, &catalogue::encode(&self.fields));
        out
    }
}

#[test]
fn there_are_29_payloads() {
    let payloads = payloads();
    assert_eq!(payloads.len(), 29);
    let numbers: Vec<_> = payloads.iter().map(|payload| payload.number).collect();
    let known: Vec<_> = PayloadKind::ALL.iter().map(|kind| kind.number()).collect();
    assert_eq!(numbers, known);
}

#[test]
fn a_single_request_in_json_becomes_the_binary_event() {
    for payload in payloads() {
        let event = Event::new(&payload);
        for spell in [camel, str::to_owned as fn(&str) -> String] {
            let body = format!("{{\"event\":{}}}", event.json(spell, |field| &field.input));
            let json = requests::single(Form::Json, body.as_bytes()).expect("one event");
            let mut out = Vec::new();
            envelope_from_json(json, &mut out).unwrap_or_else(|error| panic!("{error}: {body}"));
            assert_eq!(out, event.binary(), "{body}");
        }
    }
}

#[test]
fn a_batch_in_binary_is_accepted_and_read_back() {
    let payloads = payloads();
    let events: Vec<_> = payloads.iter().map(Event::new).collect();
    let mut body = Vec::new();
    for event in &events {
        catalogue::put_bytes(&mut body, 1, &event.binary());
    }
    let split = requests::batch(Form::Binary, &body, 1_000).expect("29 events");
    assert_eq!(split.len(), 29);
    for (event, bytes) in events.iter().zip(split) {
        let payload = event.payload;
        let found = inspect(bytes, &Limits::default()).expect("a valid event");
        assert_eq!(found.id, "text of id");
        assert_eq!(found.app_id, "dev-app");
        assert_eq!(found.device_id, "text of device_id");
        assert_eq!(found.timestamp_ms, TIME);
        assert_eq!(found.correlation_id, "text of correlation_id");
        assert_eq!(found.idempotency_key, "text of idempotency_key");
        assert_eq!(found.kind.number(), payload.number);
        assert_eq!(found.kind.field_name(), payload.name);
        assert_eq!(found.category(), payload.category);
        let event_type =
            if payload.category == "custom" { "text of event_name" } else { &payload.event_type };
        assert_eq!(found.event_type, event_type);
        assert_eq!(found.payload, catalogue::encode(&event.fields));

        let json = envelope_to_json(bytes).expect("a valid event");
        assert_eq!(json, event.json(camel, |field| &field.output));
        let plain = schema::payload_to_json(found.kind, found.payload).expect("a valid event");
        let fields = event.fields.iter().map(|field| (field.name.clone(), field.plain.clone()));
        assert_eq!(plain, object(fields));
    }
}

#[test]
fn what_is_written_in_json_is_read_in_json() {
    for payload in payloads() {
        let event = Event::new(&payload);
        let output = event.json(camel, |field| &field.output);
        assert_eq!(binary(&output), event.binary());
        let mut null = output.clone();
        null.pop();
        null.push_str(",\"device_context\":null}");
        assert_eq!(
            envelope_from_json(null.as_bytes(), &mut Vec::new()).map_err(|error| error.field),
            Err("device_context".to_owned()),
            "a name in its other spelling is the same name"
        );
    }
}

#[test]
fn exactly_the_required_fields_are_required() {
    for payload in payloads() {
        for index in 0..payload.fields.len() {
            let mut event = Event::new(&payload);
            let field = event.fields.remove(index);
            let expected = field.required.then(|| {
                let path = format!("{}.{}", payload.name, field.name);
                format!("{path}: value length must be at least 1 characters")
            });
            let found = violations(&event.binary());
            assert_eq!(found, Vec::from_iter(expected), "{}.{}", payload.name, field.name);
        }
    }
}

#[test]
fn no_count_is_negative() {
    for payload in payloads() {
        for index in 0..payload.fields.len() {
            let mut event = Event::new(&payload);
            let field = &mut event.fields[index];
            if !matches!(&*field.kind, "int32" | "int64") {
                continue;
            }
            field.input = "-1".to_owned();
            let path = format!("{}.{}", payload.name, field.name);
            let json = event.json(camel, |field| &field.input);
            let found = violations(&binary(&json));
            assert_eq!(found.len(), 1, "{path}");
            let expected = format!("{path}: value must be greater than or equal to 0");
            assert!(found[0].starts_with(&expected), "{}", found[0]);
        }
    }
}

#[test]
fn a_fingerprint_depends_on_what_an_event_says_alone() {
    for payload in payloads() {
        let mut event = Event::new(&payload);
        let expected = fingerprint(&event.binary());
        assert_eq!(fingerprint(&binary(&event.json(camel, |field| &field.input))), expected);

        event.fields.reverse();
        let mut shuffled = Vec::new();
        catalogue::put_bytes(&mut shuffled, payload.number, &catalogue::encode(&event.fields));
        let mut envelope = catalogue::envelope();
        envelope.reverse();
        shuffled.extend(catalogue::encode(&envelope));
        assert_eq!(fingerprint(&shuffled), expected, "{}", payload.name);

        let json = event.json(camel, |field| &field.input);
        for field in &mut event.fields {
            field.input = field.shuffled();
        }
        let shuffled = event.json(camel, |field| &field.input);
        assert_eq!(fingerprint(&binary(&shuffled)), expected, "{shuffled}");

        let id = json.replace("text of id\"", "another id\"");
        assert_ne!(id, json);
        assert_eq!(fingerprint(&binary(&id)), expected);

        let mut explicit = event.binary();
        schema::set_string(&mut explicit, 5, "");
        let mut absent = json.replace(r#""correlationId":"text of correlation_id","#, "");
        assert_eq!(fingerprint(&explicit), fingerprint(&binary(&absent)));
        absent.insert_str(1, r#""correlationId":"","#);
        assert_eq!(fingerprint(&explicit), fingerprint(&binary(&absent)));
    }
}

#[test]
fn every_change_of_a_field_changes_the_fingerprint() {
    for payload in payloads() {
        let original = Event::new(&payload);
        let mut seen = vec![fingerprint(&original.binary())];
        let mut add = |json: &str, what: &str| {
            let print = fingerprint(&binary(json));
            assert!(!seen.contains(&print), "{}.{what}", payload.name);
            seen.push(print);
        };
        for index in 0..payload.fields.len() {
            for other in payload.fields[index].others() {
                let mut event = Event::new(&payload);
                event.fields[index].input = other;
                add(&event.json(camel, |field| &field.input), &payload.fields[index].name);
            }
            let mut event = Event::new(&payload);
            if !event.fields.remove(index).required {
                add(&event.json(camel, |field| &field.input), &payload.fields[index].name);
            }
        }
        let json = original.json(camel, |field| &field.input);
        for field in catalogue::envelope() {
            for other in field.others().into_iter().filter(|_| field.name != "id") {
                let changed = json.replacen(
                    &format!("\"{}\":{}", camel(&field.name), field.input),
                    &format!("\"{}\":{other}", camel(&field.name)),
                    1,
                );
                assert_ne!(changed, json, "{}", field.name);
                add(&changed, &field.name);
            }
        }
    }
}

#[test]
fn two_kinds_of_payload_differ_even_if_they_say_the_same() {
    let print = |name: &str| {
        fingerprint(&binary(&format!(r#"{{"appId":"a","deviceId":"d","{name}":{{}}}}"#)))
    };
    let mut prints: Vec<_> = payloads()
        .iter()
        .filter(|payload| payload.fields.iter().all(|field| !field.required))
        .map(|payload| print(&payload.name))
        .collect();
    let count = prints.len();
    prints.sort_unstable();
    prints.dedup();
    assert_eq!(prints.len(), count);
}

#[test]
fn fingerprints_are_the_same_in_all_versions() {
    let event = binary(
        r#"{"appId":"shop","deviceId":"d-1","timestampMs":"1738915200000",
            "deviceContext":{"platform":"PLATFORM_IOS","isEmulator":true},
            "customEvent":{"eventName":"Sale","stringParams":{"b":"2","a":"1"},"intParams":{"n":"-5"}}}"#,
    );
    assert_eq!(fingerprint(&event), 9_571_705_934_722_876_431);
}
