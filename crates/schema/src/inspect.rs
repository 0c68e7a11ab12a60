//! What an event is, and whether it is valid.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use xxhash_rust::xxh3::xxh3_64;

use crate::message::{Fields, Held, entries};
use crate::table::{EVENT_ENVELOPE, Field, Kind, Message, Number, Shape, Text, payload_field};
use crate::wire::{Reader, Value};
use crate::{Malformed, PayloadKind};

/// The most bytes of an `app_id`.
pub const APP_ID_BYTES_MAX: usize = 128;

/// The number of `id` in an envelope.
pub const ID_FIELD: u32 = 1;
const APP_ID_FIELD: u32 = 2;
const DEVICE_ID_FIELD: u32 = 3;
/// The number of `timestamp_ms` in an envelope.
pub const TIMESTAMP_MS_FIELD: u32 = 4;
const CORRELATION_ID_FIELD: u32 = 5;
/// The number of `idempotency_key` in an envelope.
pub const IDEMPOTENCY_KEY_FIELD: u32 = 7;
/// The number of `event_name` in a custom event.
const EVENT_NAME_FIELD: u32 = 1;

/// How large the parts of an event may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Limits {
    /// Bytes of an identifier, of device, event, user, product and so on, and of the name of an application's own event.
    pub id_bytes_max: usize,
    /// Bytes of any other text, of the keys and values of maps, and of the elements of lists.
    pub string_bytes_max: usize,
    /// Bytes of a text that may be long: a stack trace, the message of a crash, the text of a button.
    pub long_string_bytes_max: usize,
    /// Entries of a map.
    pub map_entries_max: usize,
    /// Elements of a list.
    pub list_items_max: usize,
}

impl Limits {
    /// No limits: for what is stored, which was checked when it came, perhaps by limits of then.
    pub const NONE: Self = Self {
        id_bytes_max: usize::MAX,
        string_bytes_max: usize::MAX,
        long_string_bytes_max: usize::MAX,
        map_entries_max: usize::MAX,
        list_items_max: usize::MAX,
    };
}

impl Default for Limits {
    fn default() -> Self {
        Self {
            id_bytes_max: 256,
            string_bytes_max: 8 * 1024,
            long_string_bytes_max: 64 * 1024,
            map_entries_max: 1_000,
            list_items_max: 1_000,
        }
    }
}

/// A valid event, borrowed from its binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct Event<'a> {
    /// Identifies it; empty if the sender left that to us.
    pub id: &'a str,
    /// The application: 1 to [`APP_ID_BYTES_MAX`] of `[A-Za-z0-9_.-]`, the first no dot.
    pub app_id: &'a str,
    /// The device: not empty, without control characters.
    pub device_id: &'a str,
    /// Milliseconds since the epoch, by the sender's clock; 0 if it did not say.
    pub timestamp_ms: i64,
    /// What it belongs to; may be empty.
    pub correlation_id: &'a str,
    /// The same for every attempt to send it; may be empty.
    pub idempotency_key: &'a str,
    /// What it tells of.
    pub kind: PayloadKind,
    /// Its name within the category: that of the kind, or for an application's own event that one's name as it is.
    pub event_type: &'a str,
    /// The binary message of the kind.
    pub payload: &'a [u8],
    /// A hash of all that the sender said, but for `id`: the same in JSON and in binary, in any order of fields and of
    /// entries of maps, whether defaults are written or not. It is stable: equal in all versions of the program.
    pub fingerprint: u64,
}

impl Event<'_> {
    /// Returns what it belongs to, as in `screen`.
    #[must_use]
    pub const fn category(&self) -> &'static str {
        self.kind.category()
    }
}

/// Why an event cannot be taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum Invalid {
    /// It is not a binary `causality.v1.EventEnvelope`.
    #[error("malformed event: {0}")]
    Malformed(#[from] Malformed),
    /// It breaks rules of the definitions: all that it breaks.
    #[error("{}", join(.0))]
    Violations(Vec<Violation>),
    /// It lacks what every event must have.
    #[error("{0}")]
    Rejected(&'static str),
}

fn join(violations: &[Violation]) -> String {
    violations.iter().map(Violation::to_string).collect::<Vec<_>>().join("; ")
}

/// A rule that an event or a request breaks.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{field}: {description}")]
pub struct Violation {
    /// Names of fields joined by dots, without positions, below the event: `screen_view.screen_name`.
    pub field: String,
    /// What is wrong.
    pub description: String,
}

/// Why an event without a payload is refused.
const NO_PAYLOAD: &str = "event_type is required (payload must not be empty)";
/// Why an event of a time before 1970 is refused.
const NO_TIME: &str = "timestamp_ms is required and must be > 0";

/// Checks a binary `causality.v1.EventEnvelope` and returns what it says, in one pass that copies nothing.
///
/// Fields that are not in the definitions are skipped. A time of 0 is left to the caller.
///
/// # Errors
///
/// [`Invalid`].
pub fn inspect<'a>(envelope: &'a [u8], limits: &Limits) -> Result<Event<'a>, Invalid> {
    let fields = Fields::read(&EVENT_ENVELOPE, Reader::new(envelope))?;
    let mut check = Check { limits, violations: Vec::new() };
    let fingerprint = check.message(&fields, None)?;
    if !check.violations.is_empty() {
        return Err(Invalid::Violations(check.violations));
    }
    let Some((kind, payload)) = fields
        .oneof()
        .and_then(|(field, payload)| Some((PayloadKind::by_number(field.number)?, payload)))
    else {
        return Err(Invalid::Rejected(NO_PAYLOAD));
    };
    let timestamp_ms = number(&fields, TIMESTAMP_MS_FIELD);
    if timestamp_ms < 0 {
        return Err(Invalid::Rejected(NO_TIME));
    }
    let event_type = match (kind.type_name(), payload_field(kind).kind) {
        (Some(name), _) => name,
        (None, Kind::Message(message)) => text(&Fields::read(message, payload)?, EVENT_NAME_FIELD)?,
        (None, _) => "",
    };
    Ok(Event {
        id: text(&fields, ID_FIELD)?,
        app_id: text(&fields, APP_ID_FIELD)?,
        device_id: text(&fields, DEVICE_ID_FIELD)?,
        timestamp_ms,
        correlation_id: text(&fields, CORRELATION_ID_FIELD)?,
        idempotency_key: text(&fields, IDEMPOTENCY_KEY_FIELD)?,
        kind,
        event_type,
        payload: payload.bytes(),
        fingerprint,
    })
}

/// Returns the text of a field, empty if it is absent.
fn text<'a>(fields: &Fields<'a>, field_number: u32) -> Result<&'a str, Malformed> {
    match fields.by_number(field_number) {
        Held::One(Value::Bytes(reader)) => reader.text(),
        _ => Ok(""),
    }
}

/// Returns the number of a field, 0 if it is absent.
fn number(fields: &Fields<'_>, field_number: u32) -> i64 {
    match fields.by_number(field_number) {
        Held::One(Value::Number(number)) => number.cast_signed(),
        _ => 0,
    }
}

/// Where in the event something is.
#[derive(Clone, Copy)]
struct Path<'p> {
    parent: Option<&'p Path<'p>>,
    name: &'static str,
}

impl Path<'_> {
    fn join(&self) -> String {
        match self.parent {
            Some(parent) => format!("{}.{}", parent.join(), self.name),
            None => self.name.to_owned(),
        }
    }
}

/// Goes through an event: checks each value against its rules and hashes it.
struct Check<'l> {
    limits: &'l Limits,
    violations: Vec<Violation>,
}

impl Check<'_> {
    /// Returns the hash of a message, which depends on what it means and not on how it is written.
    fn message(
        &mut self,
        fields: &Fields<'_>,
        parent: Option<&Path<'_>>,
    ) -> Result<u64, Malformed> {
        let mut hash = fields.unknown;
        for (field, held) in fields.iter() {
            let path = Path { parent, name: field.name };
            let value = self.field(fields, field, held, &path)?;
            if let Some(value) = value
                && !(parent.is_none() && field.number == ID_FIELD)
            {
                // A sum of hashes: the processor need not wait for one before it begins with the next.
                hash = hash.wrapping_add(fold(u64::from(field.number), value));
            }
        }
        Ok(hash)
    }

    /// Returns the hash of a field; `None` if it means the same as if it were absent.
    #[inline]
    fn field(
        &mut self,
        fields: &Fields<'_>,
        field: &'static Field,
        held: Held<'_>,
        path: &Path<'_>,
    ) -> Result<Option<u64>, Malformed> {
        let hash = match held {
            Held::Absent => None,
            Held::One(value) => {
                let hash = self.value(&field.kind, value, path)?;
                let is_default = match value {
                    Value::Number(_) => hash == 0,
                    Value::Bytes(reader) => {
                        reader.bytes().is_empty() && matches!(field.kind, Kind::Text(_))
                    }
                };
                (!is_default).then_some(hash)
            }
            Held::Many(count) if field.shape == Shape::Map => {
                Some(self.map(fields, field, count, path)?)
            }
            Held::Many(count) => Some(self.list(fields, field, count, path)?),
        };
        if hash.is_none() && field.required {
            self.report(path, "value length must be at least 1 characters".to_owned());
        }
        Ok(hash)
    }

    fn list(
        &mut self,
        fields: &Fields<'_>,
        field: &'static Field,
        count: usize,
        path: &Path<'_>,
    ) -> Result<u64, Malformed> {
        let most = self.limits.list_items_max;
        if count > most {
            self.report(path, format!("value must contain no more than {most} item(s)"));
            return Ok(0);
        }
        let mut hash = 0;
        for value in fields.values(field) {
            let value = self.value(&field.kind, Value::Bytes(value), path)?;
            hash = fold(hash, value);
        }
        Ok(hash)
    }

    fn map(
        &mut self,
        fields: &Fields<'_>,
        field: &'static Field,
        count: usize,
        path: &Path<'_>,
    ) -> Result<u64, Malformed> {
        let most = self.limits.map_entries_max;
        if count > most {
            self.report(path, format!("map must be at most {most} entries"));
            return Ok(0);
        }
        let mut hash = 0;
        for entry in entries(fields, field, count)? {
            self.text(entry.key, Text::Ordinary, path);
            hash = fold(hash, xxh3_64(entry.key.as_bytes()));
            let value = match entry.value {
                Some(value) => self.value(&field.kind, value, path)?,
                None if matches!(field.kind, Kind::Text(_)) => xxh3_64(&[]),
                None => 0,
            };
            hash = fold(hash, value);
        }
        Ok(hash)
    }

    /// Returns the hash of a value; of a number it is the number.
    #[inline]
    fn value(&mut self, kind: &Kind, value: Value<'_>, path: &Path<'_>) -> Result<u64, Malformed> {
        Ok(match (*kind, value) {
            (Kind::Text(rule), Value::Bytes(reader)) => {
                self.text(reader.text()?, rule, path);
                xxh3_64(reader.bytes())
            }
            (Kind::Message(message), Value::Bytes(reader)) => self.nested(message, reader, path)?,
            (Kind::Int32(rule), Value::Number(bits)) => {
                let number = int32(bits);
                self.number(i64::from(number), rule, path);
                i64::from(number).cast_unsigned()
            }
            (Kind::Int64(rule), Value::Number(bits)) => {
                self.number(bits.cast_signed(), rule, path);
                bits
            }
            (Kind::Enum(_), Value::Number(bits)) => i64::from(int32(bits)).cast_unsigned(),
            (Kind::Bool, Value::Number(bits)) => u64::from(bits != 0),
            (_, Value::Number(bits)) => bits,
            // `Fields` holds numbers for numbers and bytes for texts and messages.
            (_, Value::Bytes(_)) => 0,
        })
    }

    fn nested(
        &mut self,
        message: &'static Message,
        reader: Reader<'_>,
        path: &Path<'_>,
    ) -> Result<u64, Malformed> {
        let fields = Fields::read(message, reader)?;
        self.message(&fields, Some(path))
    }

    #[inline]
    fn text(&mut self, text: &str, rule: Text, path: &Path<'_>) {
        let most = match rule {
            Text::Ordinary => self.limits.string_bytes_max,
            Text::Long => self.limits.long_string_bytes_max,
            Text::Id | Text::PlainId => self.limits.id_bytes_max,
            Text::AppId => APP_ID_BYTES_MAX,
        };
        if text.len() > most {
            self.report(path, format!("value length must be at most {most} bytes"));
        }
        if rule == Text::AppId && !is_app_id(text) {
            self.report(
                path,
                "value must consist of ASCII letters, digits, '_', '.' and '-', and must not begin \
                 with '.'"
                    .to_owned(),
            );
        }
        if rule == Text::PlainId && text.chars().any(char::is_control) {
            self.report(path, "value must not contain control characters".to_owned());
        }
    }

    #[inline]
    fn number(&mut self, number: i64, rule: Number, path: &Path<'_>) {
        match rule {
            Number::NotNegative if number < 0 => {
                self.report(path, "value must be greater than or equal to 0".to_owned());
            }
            Number::Percent if !(0..=100).contains(&number) => self.report(
                path,
                "value must be greater than or equal to 0 and less than or equal to 100".to_owned(),
            ),
            _ => {}
        }
    }

    /// Adds a violation; one that several elements of a list share is reported once, since it has no position.
    #[cold]
    fn report(&mut self, path: &Path<'_>, description: String) {
        let violation = Violation { field: path.join(), description };
        if !self.violations.contains(&violation) {
            self.violations.push(violation);
        }
    }
}

/// Returns whether `text` can be part of subjects and object keys. An empty one is reported as missing, not as this.
fn is_app_id(text: &str) -> bool {
    !text.starts_with('.')
        && text
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'.' | b'-'))
}

/// Returns what a varint means where an `int32` or an enum is expected.
#[expect(clippy::cast_possible_truncation, reason = "protobuf says so")]
pub(crate) const fn int32(bits: u64) -> i32 {
    bits as i32
}

/// Returns a hash of two numbers, in this order.
#[inline]
fn fold(first: u64, second: u64) -> u64 {
    let mut bytes = [0; 16];
    let (left, right) = bytes.split_at_mut(8);
    left.copy_from_slice(&first.to_le_bytes());
    right.copy_from_slice(&second.to_le_bytes());
    xxh3_64(&bytes)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope_from_json;

    fn binary(json: &str) -> Vec<u8> {
        let mut out = Vec::new();
        envelope_from_json(json.as_bytes(), &mut out).expect(json);
        out
    }

    /// Inspects an event and returns what is wrong with it.
    #[track_caller]
    fn check(json: &str, expected: &[(&str, &str)]) {
        let violations = match inspect(&binary(json), &Limits::default()) {
            Ok(_) => Vec::new(),
            Err(Invalid::Violations(violations)) => violations,
            Err(other) => panic!("{other}"),
        };
        let violations: Vec<_> = violations
            .iter()
            .map(|violation| (violation.field.as_str(), violation.description.as_str()))
            .collect();
        assert_eq!(violations, expected, "{json}");
    }

    const TOO_SHORT: &str = "value length must be at least 1 characters";
    const NEGATIVE: &str = "value must be greater than or equal to 0";
    const NO_PERCENTAGE: &str =
        "value must be greater than or equal to 0 and less than or equal to 100";

    #[test]
    fn all_violations_are_reported_in_the_order_of_the_fields() {
        check(
            r#"{"timestampMs":1,"deviceContext":{"screenWidth":-1},"screenView":{}}"#,
            &[
                ("app_id", TOO_SHORT),
                ("device_id", TOO_SHORT),
                ("device_context.screen_width", NEGATIVE),
                ("screen_view.screen_name", TOO_SHORT),
            ],
        );
    }

    #[test]
    fn a_violation_that_elements_share_is_reported_once() {
        check(
            r#"{"appId":"a","deviceId":"d","purchaseComplete":{"orderId":"o",
               "items":[{"quantity":-1},{"quantity":1},{"quantity":-2}]}}"#,
            &[("purchase_complete.items.quantity", NEGATIVE)],
        );
    }

    #[test]
    fn percentages_have_two_ends() {
        for (level, expected) in [
            (-1, &[("battery_change.battery_level", NO_PERCENTAGE)][..]),
            (0, &[]),
            (100, &[]),
            (101, &[("battery_change.battery_level", NO_PERCENTAGE)]),
        ] {
            let json = format!(
                r#"{{"appId":"a","deviceId":"d","batteryChange":{{"batteryLevel":{level}}}}}"#
            );
            check(&json, expected);
        }
    }

    #[test]
    fn identifiers_are_safe_in_subjects_keys_and_headers() {
        const CHARACTERS: &str = "value must consist of ASCII letters, digits, '_', '.' and '-', and \
                                  must not begin with '.'";
        const CONTROL: &str = "value must not contain control characters";
        let longest = "a".repeat(128);
        for app_id in ["a", "com.example.App-1_2", "a..", "-", &longest] {
            check(&format!(r#"{{"appId":"{app_id}","deviceId":"d","appStart":{{}}}}"#), &[]);
        }
        for app_id in [".", ".a", "a b", "a/b", "*", "a>", "ä", r"\u0000"] {
            check(
                &format!(r#"{{"appId":"{app_id}","deviceId":"d","appStart":{{}}}}"#),
                &[("app_id", CHARACTERS)],
            );
        }
        check(
            &format!(r#"{{"appId":"{longest}a","deviceId":"d","appStart":{{}}}}"#),
            &[("app_id", "value length must be at most 128 bytes")],
        );
        for device_id in [r"a\nb", r"\u0000", r"\u007f", r"\u0085"] {
            check(
                &format!(r#"{{"appId":"a","deviceId":"{device_id}","appStart":{{}}}}"#),
                &[("device_id", CONTROL)],
            );
            check(
                &format!(
                    r#"{{"id":"{device_id}","appId":"a","deviceId":"d","correlationId":"{device_id}",
                       "idempotencyKey":"{device_id}","productView":{{"productId":"{device_id}"}}}}"#
                ),
                &[("id", CONTROL), ("correlation_id", CONTROL), ("idempotency_key", CONTROL)],
            );
        }
    }

    #[test]
    fn texts_have_the_length_of_their_kind() {
        for (payload, field, most) in [
            ("userLogin", "userId", 256),
            ("userLogin", "method", 8_192),
            ("buttonTap", "buttonId", 256),
            ("appCrash", "stackTrace", 65_536),
            ("appCrash", "crashMessage", 65_536),
            ("appStart", "deeplinkUrl", 8_192),
            ("customEvent", "eventName", 256),
        ] {
            for (length, is_valid) in [(most, true), (most + 1, false)] {
                let text = "x".repeat(length);
                let json =
                    format!(r#"{{"appId":"a","deviceId":"d","{payload}":{{"{field}":"{text}"}}}}"#);
                let found = inspect(&binary(&json), &Limits::default()).map(drop);
                assert_eq!(found.is_ok(), is_valid, "{payload}.{field}: {length}");
                if let Err(error) = found {
                    let expected = format!("value length must be at most {most} bytes");
                    assert!(error.to_string().ends_with(&expected), "{error}");
                }
            }
        }
    }

    #[test]
    fn parts_of_maps_and_lists_are_bounded() {
        let limits = Limits {
            string_bytes_max: 3,
            map_entries_max: 2,
            list_items_max: 2,
            ..Limits::default()
        };
        for (payload, expected) in [
            (r#""customEvent":{"eventName":"e","stringParams":{"abc":"abc","b":"d"}}"#, None),
            (
                r#""customEvent":{"eventName":"e","stringParams":{"abcd":""}}"#,
                Some("custom_event.string_params: value length must be at most 3 bytes"),
            ),
            (
                r#""customEvent":{"eventName":"e","stringParams":{"a":"abcd"}}"#,
                Some("custom_event.string_params: value length must be at most 3 bytes"),
            ),
            (
                r#""customEvent":{"eventName":"e","intParams":{"a":1,"b":2,"c":3}}"#,
                Some("custom_event.int_params: map must be at most 2 entries"),
            ),
            (r#""userProfileUpdate":{"fieldsUpdated":["abc","a"]}"#, None),
            (
                r#""userProfileUpdate":{"fieldsUpdated":["abcd","a"]}"#,
                Some("user_profile_update.fields_updated: value length must be at most 3 bytes"),
            ),
            (
                r#""userProfileUpdate":{"fieldsUpdated":["a","a","a"]}"#,
                Some(
                    "user_profile_update.fields_updated: value must contain no more than 2 item(s)",
                ),
            ),
        ] {
            let json = format!(r#"{{"appId":"a","deviceId":"d",{payload}}}"#);
            let found = inspect(&binary(&json), &limits).map(drop);
            let found = found.map_err(|error| error.to_string()).err();
            assert_eq!(found.as_deref(), expected, "{json}");
        }
    }

    #[test]
    fn what_is_added_at_the_end_counts() {
        let mut bytes = binary(r#"{"id":"i","appId":"a","deviceId":"d","appStart":{}}"#);
        crate::set_string(&mut bytes, ID_FIELD, "0194");
        crate::set_int64(&mut bytes, TIMESTAMP_MS_FIELD, i64::MAX);
        crate::set_string(&mut bytes, IDEMPOTENCY_KEY_FIELD, "k");
        let event = inspect(&bytes, &Limits::default()).expect("a valid event");
        assert_eq!((event.id, event.timestamp_ms, event.idempotency_key), ("0194", i64::MAX, "k"));
    }

    #[test]
    fn unknown_fields_count_in_any_order_in_the_fingerprint() {
        let print = |unknown: &[&[u8]]| {
            let mut bytes = binary(r#"{"appId":"a","deviceId":"d","appStart":{}}"#);
            bytes.extend(unknown.concat());
            inspect(&bytes, &Limits::default()).expect("a valid event").fingerprint
        };
        let (one, two): (&[u8], &[u8]) = (b"\x40\x01", b"\x48\x02");
        assert_eq!(print(&[one, two]), print(&[two, one]));
        assert_ne!(print(&[one]), print(&[]));
        assert_ne!(print(&[one]), print(&[two]));
    }

    #[test]
    fn what_every_event_needs_is_named() {
        let limits = Limits::default();
        let no_payload = binary(r#"{"appId":"a","deviceId":"d","timestampMs":1}"#);
        assert_eq!(inspect(&no_payload, &limits), Err(Invalid::Rejected(NO_PAYLOAD)));
        let early = binary(r#"{"appId":"a","deviceId":"d","timestampMs":-1,"appStart":{}}"#);
        assert_eq!(inspect(&early, &limits), Err(Invalid::Rejected(NO_TIME)));
    }

    #[test]
    fn an_event_is_borrowed_from_its_bytes() {
        let bytes = binary(
            r#"{"id":"i","appId":"a","deviceId":"d","timestampMs":"5","correlationId":"c",
               "idempotencyKey":"k","customEvent":{"eventName":"Sign Up.Done"}}"#,
        );
        let event = inspect(&bytes, &Limits::default()).expect("a valid event");
        assert_eq!((event.id, event.app_id, event.device_id), ("i", "a", "d"));
        assert_eq!(
            (event.timestamp_ms, event.correlation_id, event.idempotency_key),
            (5, "c", "k")
        );
        assert_eq!((event.category(), event.event_type), ("custom", "Sign Up.Done"));
        assert_eq!(event.kind, PayloadKind::CustomEvent);
        assert_eq!(event.payload, b"\x0a\x0cSign Up.Done");
    }
}
