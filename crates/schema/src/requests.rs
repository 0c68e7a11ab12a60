//! Requests that carry events, and the answers to them: `causality.v1.EventService`.
//!
//! A request is taken apart without looking into its events, so that each can be refused on its own.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::convert::Infallible;
use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::from_json::excerpt;
use crate::table::{
    ERROR, INGEST_EVENT_BATCH_RESPONSE, INGEST_EVENT_RESPONSE, Message, VALIDATION_ERROR,
};
use crate::to_json::{Style, message_to_json};
use crate::wire::{Reader, TWICE, WRONG_TYPE, set_int64, set_message, set_string};
use crate::{Malformed, Violation};

/// The most events that a batch may have by its definition; a server can be configured to take fewer.
pub const BATCH_EVENTS_MAX: usize = 1_000;

/// How a body is written.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Form {
    /// `application/json`.
    Json,
    /// `application/x-protobuf`.
    Binary,
}

/// Returns the event of an `IngestEventRequest`, in the form of the body. An empty body is an empty message.
///
/// # Errors
///
/// The violation that makes the whole request invalid: of `body` when it cannot be parsed, of `event` when there is
/// none.
pub fn single(form: Form, body: &[u8]) -> Result<&[u8], Violation> {
    let mut event = None;
    match form {
        Form::Json => parse(body, "event", EventSeed(&mut event)).map_err(unparsable)?,
        Form::Binary => split(body, |bytes| match event.replace(bytes) {
            None => Ok(()),
            Some(_) => Err(TWICE),
        })
        .map_err(unparsable)?,
    }
    event.ok_or_else(|| violation("event", "value is required"))
}

/// Returns the events of an `IngestEventBatchRequest`, in the form of the body and in their order. An element of the
/// list that is no object at all is returned as it is: reading it as an event fails.
///
/// # Errors
///
/// The violation that makes the whole request invalid: of `body` when it cannot be parsed, of `events` when there are
/// none or more than `events_max`.
pub fn batch(form: Form, body: &[u8], events_max: usize) -> Result<Vec<&[u8]>, Violation> {
    let mut events = Events { events_max, list: Vec::new(), is_full: false };
    match form {
        Form::Json => parse(body, "events", EventsSeed(&mut events)).map_err(unparsable)?,
        Form::Binary => split(body, |bytes| {
            events.push(bytes);
            Ok(())
        })
        .map_err(unparsable)?,
    }
    if events.is_full {
        let description = format!("value must contain no more than {events_max} item(s)");
        return Err(violation("events", description));
    }
    if events.list.is_empty() {
        return Err(violation("events", "value must contain at least 1 item(s)"));
    }
    Ok(events.list)
}

/// What became of one event of a batch.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum EventResult<'a> {
    /// It is stored.
    Accepted {
        /// The identifier that it is stored under.
        event_id: &'a str,
    },
    /// It is not.
    Rejected {
        /// Why.
        error: &'a str,
    },
}

/// Returns an `IngestEventResponse`: the event is accepted.
#[must_use]
pub fn ingest_response(form: Form, event_id: &str) -> Vec<u8> {
    let mut message = Vec::new();
    set_nonempty(&mut message, 1, event_id);
    set_nonempty(&mut message, 2, ACCEPTED);
    encode(form, &INGEST_EVENT_RESPONSE, message)
}

/// Returns an `IngestEventBatchResponse` for the events of a batch, in their order. It counts them itself.
#[must_use]
pub fn batch_response(form: Form, results: &[EventResult<'_>]) -> Vec<u8> {
    let accepted =
        results.iter().filter(|result| matches!(result, EventResult::Accepted { .. })).count();
    let mut message = Vec::with_capacity(results.len() * 64);
    set_count(&mut message, 1, accepted);
    set_count(&mut message, 2, results.len() - accepted);
    for (index, result) in results.iter().enumerate() {
        set_infallible(&mut message, 3, |message| {
            set_count(message, 1, index);
            match result {
                EventResult::Accepted { event_id } => {
                    set_nonempty(message, 2, event_id);
                    set_nonempty(message, 3, ACCEPTED);
                }
                EventResult::Rejected { error } => {
                    set_nonempty(message, 3, REJECTED);
                    set_nonempty(message, 4, error);
                }
            }
        });
    }
    encode(form, &INGEST_EVENT_BATCH_RESPONSE, message)
}

/// Returns a `sebuf.http.ValidationError`.
#[must_use]
pub fn validation_error(form: Form, violations: &[Violation]) -> Vec<u8> {
    let mut message = Vec::new();
    for violation in violations {
        set_infallible(&mut message, 1, |message| {
            set_nonempty(message, 1, &violation.field);
            set_nonempty(message, 2, &violation.description);
        });
    }
    encode(form, &VALIDATION_ERROR, message)
}

/// Returns a `sebuf.http.Error`.
#[must_use]
pub fn error(form: Form, text: &str) -> Vec<u8> {
    let mut message = Vec::new();
    set_nonempty(&mut message, 1, text);
    encode(form, &ERROR, message)
}

const ACCEPTED: &str = "accepted";
const REJECTED: &str = "rejected";

fn encode(form: Form, message: &'static Message, bytes: Vec<u8>) -> Vec<u8> {
    match form {
        Form::Binary => bytes,
        // What was just written can be read.
        Form::Json => message_to_json(message, Reader::new(&bytes), Style::Protobuf)
            .unwrap_or_default()
            .into_bytes(),
    }
}

/// Appends a text, or nothing where that means the same.
fn set_nonempty(out: &mut Vec<u8>, field_number: u32, text: &str) {
    if !text.is_empty() {
        set_string(out, field_number, text);
    }
}

/// Appends a number, or nothing where that means the same.
fn set_count(out: &mut Vec<u8>, field_number: u32, count: usize) {
    if count > 0 {
        set_int64(out, field_number, i64::try_from(count).unwrap_or(i64::MAX));
    }
}

fn set_infallible(out: &mut Vec<u8>, field_number: u32, write: impl FnOnce(&mut Vec<u8>)) {
    let Ok(()) = set_message::<Infallible>(out, field_number, |out| {
        write(out);
        Ok(())
    });
}

#[cold]
fn violation(field: &str, description: impl Into<String>) -> Violation {
    Violation { field: field.to_owned(), description: description.into() }
}

#[cold]
fn unparsable(error: impl fmt::Display) -> Violation {
    violation("body", format!("failed to parse request body: {error}"))
}

/// Hands the texts and messages of field 1 to `take`, which says what is wrong with one.
fn split<'a>(
    body: &'a [u8],
    mut take: impl FnMut(&'a [u8]) -> Result<(), &'static str>,
) -> Result<(), Malformed> {
    let mut reader = Reader::new(body);
    while let Some(field) = reader.field()? {
        if field.number == 1 {
            let event = field.message().ok_or_else(|| field.malformed(WRONG_TYPE))?;
            take(event.bytes()).map_err(|reason| field.malformed(reason))?;
        }
    }
    Ok(())
}

/// Reads a JSON object that has no other member than `name`.
fn parse<'a, S: DeserializeSeed<'a, Value = ()>>(
    body: &'a [u8],
    name: &'static str,
    seed: S,
) -> Result<(), serde_json::Error> {
    if body.is_empty() {
        return Ok(());
    }
    let mut deserializer = serde_json::Deserializer::from_slice(body);
    deserializer.deserialize_map(ObjectVisitor { name, seed: Some(seed) })?;
    deserializer.end()
}

struct ObjectVisitor<S> {
    name: &'static str,
    /// What reads the value, until it did.
    seed: Option<S>,
}

impl<'de, S: DeserializeSeed<'de, Value = ()>> Visitor<'de> for ObjectVisitor<S> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(mut self, mut map: A) -> Result<(), A::Error> {
        while map.next_key_seed(NameSeed(self.name))?.is_some() {
            let seed = self.seed.take().ok_or_else(|| A::Error::duplicate_field(self.name))?;
            map.next_value_seed(seed)?;
        }
        Ok(())
    }
}

/// Reads the one name that is allowed.
struct NameSeed(&'static str);

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    fn visit_str<E: Error>(self, name: &str) -> Result<(), E> {
        if name == self.0 {
            Ok(())
        } else {
            Err(E::custom(format_args!("unknown field '{}'", excerpt(name))))
        }
    }
}

/// Reads what follows `event`.
struct EventSeed<'e, 'de>(&'e mut Option<&'de [u8]>);

impl<'de> DeserializeSeed<'de> for EventSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let event = <Option<&RawValue>>::deserialize(deserializer)?;
        *self.0 = event.map(|event| event.get().as_bytes());
        Ok(())
    }
}

/// The events of a batch, as many as are allowed.
struct Events<'a> {
    events_max: usize,
    list: Vec<&'a [u8]>,
    /// Whether there are more.
    is_full: bool,
}

impl<'a> Events<'a> {
    fn push(&mut self, event: &'a [u8]) {
        if self.list.len() < self.events_max {
            self.list.push(event);
        } else {
            self.is_full = true;
        }
    }
}

/// Reads what follows `events`.
struct EventsSeed<'e, 'de>(&'e mut Events<'de>);

impl<'de> DeserializeSeed<'de> for EventsSeed<'_, 'de> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for EventsSeed<'_, 'de> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_none<E: Error>(self) -> Result<(), E> {
        Ok(())
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_seq(self)
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        while let Some(event) = list.next_element::<&RawValue>()? {
            self.0.push(event.get().as_bytes());
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn text(bytes: &[u8]) -> &str {
        std::str::from_utf8(bytes).expect("UTF-8")
    }

    #[track_caller]
    fn check_batch(body: &str, expected: Result<&[&str], (&str, &str)>) {
        let found = batch(Form::Json, body.as_bytes(), 3);
        let found = found.as_deref().map(|events| events.iter().map(|e| text(e)).collect());
        let found: Result<Vec<_>, _> =
            found.map_err(|violation| (&*violation.field, &*violation.description));
        assert_eq!(found, expected.map(<[_]>::to_vec), "{body}");
    }

    const NO_ITEMS: (&str, &str) = ("events", "value must contain at least 1 item(s)");
    const TOO_MANY: (&str, &str) = ("events", "value must contain no more than 3 item(s)");

    #[test]
    fn a_batch_falls_into_its_events() {
        check_batch(
            r#"{"events":[{"appId":"a"} , {"b":[1]}]}"#,
            Ok(&[r#"{"appId":"a"}"#, r#"{"b":[1]}"#]),
        );
        check_batch(r#"{"events":[{},null,3]}"#, Ok(&["{}", "null", "3"]));
        check_batch(r#"{"events":[{},{},{},{}]}"#, Err(TOO_MANY));
        for nothing in ["", "{}", r#"{"events":null}"#, r#"{"events":[]}"#] {
            check_batch(nothing, Err(NO_ITEMS));
        }
    }

    #[test]
    fn a_body_that_cannot_be_parsed_says_where() {
        for (body, expected) in [
            ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
            (r#"{"event":[]}"#, "unknown field 'event' at line 1 column 8"),
            (r#"{"events":{}}"#, "invalid type: map, expected an array at line 1 column 10"),
            (r#"{"events":[],"events":[]}"#, "duplicate field `events` at line 1 column 21"),
            (r#"{"events":[{}]}x"#, "trailing characters at line 1 column 16"),
            (r#"{"events":[{]}"#, "key must be a string at line 1 column 13"),
        ] {
            let expected = format!("failed to parse request body: {expected}");
            check_batch(body, Err(("body", &expected)));
        }
    }

    #[test]
    fn a_single_request_has_one_event() {
        let event = |body: &'static str| single(Form::Json, body.as_bytes()).map(text);
        assert_eq!(event(r#"{"event":{"appId":1}}"#), Ok(r#"{"appId":1}"#));
        for nothing in ["", "{}", r#"{"event":null}"#] {
            assert_eq!(event(nothing), Err(violation("event", "value is required")));
        }
        assert_eq!(single(Form::Binary, b""), Err(violation("event", "value is required")));
        assert_eq!(single(Form::Binary, b"\x12\x01x\x0a\x02hi"), Ok(&b"hi"[..]));
        assert_eq!(
            single(Form::Binary, b"\x0a\x01x\x0a\x01y"),
            Err(unparsable("message occurs more than once at byte 3"))
        );
    }

    #[test]
    fn a_binary_batch_is_bounded_too() {
        assert_eq!(batch(Form::Binary, b"\x0a\x01x\x0a\x00", 2), Ok(vec![&b"x"[..], b""]));
        let error = batch(Form::Binary, b"\x0a\x01x\x0a\x00", 1).expect_err("too many");
        assert_eq!(error.description, "value must contain no more than 1 item(s)");
        assert_eq!(
            batch(Form::Binary, b"\x08\x01", 1),
            Err(unparsable("field of the wrong type at byte 0"))
        );
    }

    #[test]
    fn answers_omit_defaults() {
        let json = ingest_response(Form::Json, "1");
        assert_eq!(text(&json), r#"{"eventId":"1","status":"accepted"}"#);
        assert_eq!(ingest_response(Form::Binary, "1"), b"\x0a\x011\x12\x08accepted");
        let results =
            [EventResult::Accepted { event_id: "1" }, EventResult::Rejected { error: "late" }];
        assert_eq!(
            text(&batch_response(Form::Json, &results)),
            r#"{"acceptedCount":1,"rejectedCount":1,"results":[{"eventId":"1","status":"accepted"},"#
                .to_owned()
                + r#"{"index":1,"status":"rejected","error":"late"}]}"#
        );
        assert_eq!(
            text(&batch_response(Form::Json, &results[..1])),
            r#"{"acceptedCount":1,"results":[{"eventId":"1","status":"accepted"}]}"#
        );
        let violations = [violation("event.app_id", "value is \"required\"")];
        assert_eq!(
            text(&validation_error(Form::Json, &violations)),
            r#"{"violations":[{"field":"event.app_id","description":"value is \"required\""}]}"#
        );
        assert_eq!(text(&error(Form::Json, "no")), r#"{"message":"no"}"#);
        assert_eq!(error(Form::Binary, "no"), b"\x0a\x02no");
    }
}
