//! From JSON to binary, as protobuf maps one to the other: <https://protobuf.dev/programming-guides/json/>.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::fmt;

use serde::Deserialize as _;
use serde::de::{DeserializeSeed, Deserializer, Error, MapAccess, SeqAccess, Visitor};
use serde_json::value::RawValue;

use crate::number::{parse_double, parse_float, parse_integer};
use crate::table::{EVENT_ENVELOPE, Field, Kind, Message, Shape};
use crate::wire::{set_bool, set_double, set_float, set_int64, set_message, set_string};

/// Why a text is not the JSON form of an event.
#[derive(Debug, thiserror::Error)]
#[error("{}{}{source}", field, if field.is_empty() { "" } else { ": " })]
pub struct JsonError {
    /// Names of fields joined by dots, where it was found: `screen_view.params`. Empty at the top.
    pub field: String,
    /// What is wrong, with line and column.
    pub source: serde_json::Error,
}

/// Appends the binary form of a `causality.v1.EventEnvelope` in JSON to `out`.
///
/// Names may be written as in the definitions or in lowerCamelCase, enums by name or number, numbers as numbers or
/// texts; `null` means absent. Defaults are not written. Costs one pass; only texts with escapes are copied before they
/// are written.
///
/// # Errors
///
/// [`JsonError`]: no JSON, a field that is not defined, that is there twice or of another type, a name that no enum
/// has, a number that does not fit, two payloads. `out` is then as it was.
pub fn envelope_from_json(json: &[u8], out: &mut Vec<u8>) -> Result<(), JsonError> {
    let json = std::str::from_utf8(json).map_err(|error| JsonError {
        field: String::new(),
        source: serde_json::Error::custom(error),
    })?;
    let before = out.len();
    let mut writer = Writer { out, trail: Vec::new() };
    let mut deserializer = serde_json::Deserializer::from_str(json);
    let result = MessageSeed { message: &EVENT_ENVELOPE, writer: &mut writer }
        .deserialize(&mut deserializer)
        .and_then(|()| deserializer.end());
    let trail = std::mem::take(&mut writer.trail);
    result.map_err(|source| {
        out.truncate(before);
        JsonError { field: trail.into_iter().rev().collect::<Vec<_>>().join("."), source }
    })
}

/// Where the binary form goes.
struct Writer<'o> {
    out: &'o mut Vec<u8>,
    /// Once something is wrong: the names of the fields around it, the innermost first.
    trail: Vec<&'static str>,
}

impl Writer<'_> {
    /// Appends a message whose fields `write` writes.
    fn message<E>(
        &mut self,
        field_number: u32,
        write: impl FnOnce(&mut Writer<'_>) -> Result<(), E>,
    ) -> Result<(), E> {
        let trail = &mut self.trail;
        set_message(self.out, field_number, |out| {
            let mut writer = Writer { out, trail: std::mem::take(trail) };
            let result = write(&mut writer);
            *trail = writer.trail;
            result
        })
    }
}

/// Reads a message.
struct MessageSeed<'w, 'o> {
    message: &'static Message,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        deserializer.deserialize_map(self)
    }
}

impl<'de> Visitor<'de> for MessageSeed<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { message, writer } = self;
        let mut seen = 0_u64;
        let mut member = None;
        while let Some((index, field)) = map.next_key_seed(NameSeed { message })? {
            let is_set = if seen & 1 << index == 0 {
                seen |= 1 << index;
                map.next_value_seed(FieldSeed { field, writer })
            } else {
                Err(A::Error::custom("field occurs more than once"))
            };
            let is_set = is_set.inspect_err(|_| writer.trail.push(field.name))?;
            if is_set
                && field.in_oneof
                && let Some(other) = member.replace(field.name)
            {
                let text = format!("'{other}' and '{}' cannot both be set", field.name);
                return Err(A::Error::custom(text));
            }
        }
        Ok(())
    }
}

/// Reads the name of a field.
struct NameSeed {
    message: &'static Message,
}

impl<'de> DeserializeSeed<'de> for NameSeed {
    type Value = (usize, &'static Field);

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl Visitor<'_> for NameSeed {
    type Value = (usize, &'static Field);

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("the name of a field")
    }

    #[inline]
    fn visit_str<E: Error>(self, name: &str) -> Result<Self::Value, E> {
        self.message
            .by_name(name)
            .ok_or_else(|| E::custom(format_args!("unknown field '{}'", excerpt(name))))
    }
}

/// Reads what follows the name of a field; returns whether that sets the field.
struct FieldSeed<'w, 'o> {
    field: &'static Field,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for FieldSeed<'_, '_> {
    type Value = bool;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        deserializer.deserialize_option(self)
    }
}

impl<'de> Visitor<'de> for FieldSeed<'_, '_> {
    type Value = bool;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a value or null")
    }

    fn visit_none<E: Error>(self) -> Result<bool, E> {
        Ok(false)
    }

    fn visit_some<D: Deserializer<'de>>(self, deserializer: D) -> Result<bool, D::Error> {
        let Self { field, writer } = self;
        match field.shape {
            Shape::Single => {
                let seed = ValueSeed {
                    kind: &field.kind,
                    field_number: field.number,
                    defaults: false,
                    writer,
                };
                seed.deserialize(deserializer)?;
            }
            Shape::Repeated => deserializer.deserialize_seq(ListVisitor { field, writer })?,
            Shape::Map => deserializer.deserialize_map(MapVisitor { field, writer })?,
        }
        Ok(true)
    }
}

/// Reads one value.
struct ValueSeed<'w, 'o> {
    kind: &'static Kind,
    field_number: u32,
    /// Whether a value is written that means the same as none.
    defaults: bool,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for ValueSeed<'_, '_> {
    type Value = ();

    #[inline]
    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { kind, field_number, defaults, writer } = self;
        match kind {
            Kind::Text(_) => {
                deserializer.deserialize_str(TextVisitor { field_number, defaults, writer })
            }
            Kind::Message(message) => writer.message(field_number, |writer| {
                MessageSeed { message, writer }.deserialize(deserializer)
            }),
            Kind::Bool => {
                let value = bool::deserialize(deserializer)?;
                if value || defaults {
                    set_bool(writer.out, field_number, value);
                }
                Ok(())
            }
            Kind::Int32(_) | Kind::Int64(_) | Kind::Float | Kind::Double | Kind::Enum(_) => {
                // The text of a number: as a number, a large one would lose digits.
                let value = <&RawValue>::deserialize(deserializer)?.get();
                put_number(kind, value, field_number, defaults, writer.out)
                    .map_err(D::Error::custom)
            }
        }
    }
}

/// Appends the number that a JSON value spells, or says what is expected instead.
fn put_number(
    kind: &Kind,
    json: &str,
    field_number: u32,
    defaults: bool,
    out: &mut Vec<u8>,
) -> Result<(), String> {
    let unquoted;
    let (text, quoted) = match json.strip_prefix('"').and_then(|text| text.strip_suffix('"')) {
        Some(text) if text.contains('\\') => {
            unquoted = serde_json::from_str::<String>(json).map_err(|error| error.to_string())?;
            (unquoted.as_str(), true)
        }
        Some(text) => (text, true),
        None => (json, false),
    };
    let expected = |what: &str| format!("expected {what}, found {}", excerpt(json));
    match kind {
        Kind::Float => {
            let value = parse_float(text, quoted)
                .ok_or_else(|| expected("a number of single precision"))?;
            if value.to_bits() != 0 || defaults {
                set_float(out, field_number, value);
            }
        }
        Kind::Double => {
            let value = parse_double(text, quoted)
                .ok_or_else(|| expected("a number of double precision"))?;
            if value.to_bits() != 0 || defaults {
                set_double(out, field_number, value);
            }
        }
        Kind::Enum(values) => {
            let value = if quoted { values.number(text) } else { integer_32(text) };
            let value = value.ok_or_else(|| expected("a name or number of the enum"))?;
            if value != 0 || defaults {
                set_int64(out, field_number, i64::from(value));
            }
        }
        Kind::Int32(_) => {
            let value = integer_32(text).ok_or_else(|| expected("an integer of 32 bits"))?;
            if value != 0 || defaults {
                set_int64(out, field_number, i64::from(value));
            }
        }
        _ => {
            let value = parse_integer(text).ok_or_else(|| expected("an integer of 64 bits"))?;
            if value != 0 || defaults {
                set_int64(out, field_number, value);
            }
        }
    }
    Ok(())
}

fn integer_32(text: &str) -> Option<i32> {
    i32::try_from(parse_integer(text)?).ok()
}

/// Returns the beginning of what was sent, for a message.
pub(crate) fn excerpt(text: &str) -> &str {
    const BYTES_MAX: usize = 64;
    text.get(..text.floor_char_boundary(BYTES_MAX)).unwrap_or(text)
}

/// Reads a text.
struct TextVisitor<'w, 'o> {
    field_number: u32,
    defaults: bool,
    writer: &'w mut Writer<'o>,
}

impl Visitor<'_> for TextVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a text")
    }

    #[inline]
    fn visit_str<E: Error>(self, text: &str) -> Result<(), E> {
        if !text.is_empty() || self.defaults {
            set_string(self.writer.out, self.field_number, text);
        }
        Ok(())
    }
}

/// Reads a list.
struct ListVisitor<'w, 'o> {
    field: &'static Field,
    writer: &'w mut Writer<'o>,
}

impl<'de> Visitor<'de> for ListVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an array")
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<(), A::Error> {
        let Self { field, writer } = self;
        loop {
            let seed = ValueSeed {
                kind: &field.kind,
                field_number: field.number,
                defaults: true,
                writer: &mut *writer,
            };
            if list.next_element_seed(seed)?.is_none() {
                return Ok(());
            }
        }
    }
}

/// Reads a map: each entry becomes a message of key and value.
struct MapVisitor<'w, 'o> {
    field: &'static Field,
    writer: &'w mut Writer<'o>,
}

impl<'de> Visitor<'de> for MapVisitor<'_, '_> {
    type Value = ();

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<(), A::Error> {
        let Self { field, writer } = self;
        let start = writer.out.len();
        let mut count = 0_usize;
        let mut is_last = false;
        while !is_last {
            let entry = writer.out.len();
            writer.message(field.number, |writer| {
                let key = TextSeed { field_number: 1, writer: &mut *writer };
                if map.next_key_seed(key)?.is_none() {
                    is_last = true;
                    return Ok(());
                }
                map.next_value_seed(ValueSeed {
                    kind: &field.kind,
                    field_number: 2,
                    defaults: true,
                    writer,
                })
            })?;
            if is_last {
                writer.out.truncate(entry);
            } else {
                count += 1;
            }
        }
        if count > 1 && has_equal_keys(writer.out.get(start..).unwrap_or_default(), count) {
            return Err(A::Error::custom("the same key occurs more than once"));
        }
        Ok(())
    }
}

/// Returns whether two of the entries of a map, just written, have the same key.
fn has_equal_keys(entries: &[u8], count: usize) -> bool {
    let mut keys = Vec::with_capacity(count);
    let mut reader = crate::wire::Reader::new(entries);
    while let Ok(Some(entry)) = reader.field() {
        let key = entry.message().and_then(|mut entry| entry.field().ok()?);
        keys.extend(key.and_then(|key| Some(key.message()?.bytes())));
    }
    keys.sort_unstable();
    keys.windows(2).any(|pair| pair.first() == pair.last())
}

/// Reads a text that is written even if it is empty.
struct TextSeed<'w, 'o> {
    field_number: u32,
    writer: &'w mut Writer<'o>,
}

impl<'de> DeserializeSeed<'de> for TextSeed<'_, '_> {
    type Value = ();

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<(), D::Error> {
        let Self { field_number, writer } = self;
        deserializer.deserialize_str(TextVisitor { field_number, defaults: true, writer })
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::envelope_to_json;

    /// Reads an event and returns how it is written, or what is wrong with it.
    fn read(json: &[u8]) -> Result<String, String> {
        let mut out = b"before".to_vec();
        match envelope_from_json(json, &mut out) {
            Ok(()) => Ok(envelope_to_json(&out[6..]).expect("what was just written")),
            Err(error) => {
                assert_eq!(out, b"before");
                Err(error.to_string())
            }
        }
    }

    #[track_caller]
    fn check(json: &str, expected: &str) {
        assert_eq!(read(json.as_bytes()), Ok(expected.to_owned()), "{json}");
    }

    #[track_caller]
    fn check_error(json: &str, expected: &str) {
        let error = read(json.as_bytes()).expect_err(json);
        assert_eq!(error, expected, "{json}");
    }

    #[test]
    fn both_spellings_of_a_name_are_read() {
        check(r#" { "appId" : "a", "device_id" : "d" } "#, r#"{"appId":"a","deviceId":"d"}"#);
        check(
            r#"{"custom_event":{"int_params":{"a":1},"eventName":"e"}}"#,
            r#"{"customEvent":{"eventName":"e","intParams":{"a":"1"}}}"#,
        );
    }

    #[test]
    fn null_and_defaults_mean_absent() {
        check(
            r#"{"id":null,"appId":"","timestampMs":0,"deviceContext":null,"screenView":null}"#,
            "{}",
        );
        check(r#"{"screenView":null,"screenExit":{}}"#, r#"{"screenExit":{}}"#);
        check(r#"{"screenView":{"params":null}}"#, r#"{"screenView":{}}"#);
        check(r#"{"userProfileUpdate":{"fieldsUpdated":[]}}"#, r#"{"userProfileUpdate":{}}"#);
        check(
            r#"{"deviceContext":{"platform":0,"networkType":"NETWORK_TYPE_UNSPECIFIED","isEmulator":false}}"#,
            r#"{"deviceContext":{}}"#,
        );
    }

    #[test]
    fn integers_are_numbers_or_texts() {
        for number in ["1000", "\"1000\"", "1e3", "1000.0", "\"1e3\"", "\"1\\u0030\\u00300\""] {
            check(&format!(r#"{{"timestampMs":{number}}}"#), r#"{"timestampMs":"1000"}"#);
            check(
                &format!(r#"{{"addToCart":{{"quantity":{number}}}}}"#),
                r#"{"addToCart":{"quantity":1000}}"#,
            );
        }
        check(r#"{"timestampMs":9007199254740993}"#, r#"{"timestampMs":"9007199254740993"}"#);
        for number in [
            "1.5",
            "\"\"",
            "\" 1\"",
            "\"a\"",
            "true",
            "{}",
            "[1]",
            "9223372036854775808",
            "\"NaN\"",
        ] {
            let error =
                read(format!(r#"{{"timestampMs":{number}}}"#).as_bytes()).expect_err(number);
            let expected = format!("timestampMs: expected an integer of 64 bits, found {number} ");
            assert!(error.replace("timestamp_ms", "timestampMs").starts_with(&expected), "{error}");
        }
        check_error(
            r#"{"addToCart":{"quantity":2147483648}}"#,
            "add_to_cart.quantity: expected an integer of 32 bits, found 2147483648 at line 1 column 36",
        );
    }

    #[test]
    fn floating_point_numbers_are_numbers_or_texts() {
        check(
            r#"{"buttonTap":{"coordinates":{"x":"-1.5e1","y":0.1}}}"#,
            r#"{"buttonTap":{"coordinates":{"x":-15.0,"y":0.1}}}"#,
        );
        check(
            r#"{"customEvent":{"floatParams":{"a":"NaN","b":"Infinity","c":"-Infinity","d":-0.0,"e":5e-324}}}"#,
            r#"{"customEvent":{"floatParams":{"a":"NaN","b":"Infinity","c":"-Infinity","d":-0.0,"e":5e-324}}}"#,
        );
        check_error(
            r#"{"customEvent":{"floatParams":{"a":1e400}}}"#,
            "custom_event.float_params: expected a number of double precision, found 1e400 at line 1 column 41",
        );
        check_error(
            r#"{"doubleTap":{"coordinates":{"y":1e39}}}"#,
            "double_tap.coordinates.y: expected a number of single precision, found 1e39 at line 1 column 38",
        );
    }

    #[test]
    fn enums_are_names_or_numbers() {
        for ios in ["\"PLATFORM_IOS\"", "1", "1.0", "\"PLATFORM_\\u0049OS\""] {
            let json = format!(r#"{{"deviceContext":{{"platform":{ios}}}}}"#);
            check(&json, r#"{"deviceContext":{"platform":"PLATFORM_IOS"}}"#);
        }
        check(r#"{"deviceContext":{"platform":-7}}"#, r#"{"deviceContext":{"platform":-7}}"#);
        for (wrong, column) in [("\"IOS\"", 35), ("\"1\"", 33), ("true", 34)] {
            check_error(
                &format!(r#"{{"deviceContext":{{"platform":{wrong}}}}}"#),
                &format!(
                    "device_context.platform: expected a name or number of the enum, found {wrong} \
                     at line 1 column {column}"
                ),
            );
        }
    }

    #[test]
    fn what_is_not_defined_is_an_error() {
        check_error(r#"{"app":"a"}"#, "unknown field 'app' at line 1 column 6");
        check_error(r#"{"AppId":"a"}"#, "unknown field 'AppId' at line 1 column 8");
        check_error(
            r#"{"screenView":{"screenName":"a","x":1}}"#,
            "screen_view: unknown field 'x' at line 1 column 35",
        );
        check_error(
            r#"{"customEvent":{"params":{}}}"#,
            "custom_event: unknown field 'params' at line 1 column 24",
        );
    }

    #[test]
    fn what_is_there_twice_is_an_error() {
        check_error(
            r#"{"appId":"a","app_id":"a"}"#,
            "app_id: field occurs more than once at line 1 column 21",
        );
        check_error(
            r#"{"screenView":{},"screenExit":{}}"#,
            "'screen_view' and 'screen_exit' cannot both be set at line 1 column 33",
        );
        check_error(
            r#"{"customEvent":{"intParams":{"a":1,"b":2,"a":1}}}"#,
            "custom_event.int_params: the same key occurs more than once at line 1 column 47",
        );
    }

    #[test]
    fn values_of_another_type_are_errors() {
        for (json, expected) in [
            ("[]", "invalid type: sequence, expected an object at line 1 column 0"),
            ("null", "invalid type: null, expected an object at line 1 column 4"),
            (
                r#"{"appId":1}"#,
                "app_id: invalid type: integer `1`, expected a text at line 1 column 10",
            ),
            (
                r#"{"screenView":[]}"#,
                "screen_view: invalid type: sequence, expected an object at line 1 column 14",
            ),
            (
                r#"{"screenView":{"params":{"a":null}}}"#,
                "screen_view.params: invalid type: null, expected a text at line 1 column 33",
            ),
            (
                r#"{"userProfileUpdate":{"fieldsUpdated":["a",null]}}"#,
                "user_profile_update.fields_updated: invalid type: null, expected a text at line 1 column 47",
            ),
            (
                r#"{"purchaseComplete":{"items":[null]}}"#,
                "purchase_complete.items: invalid type: null, expected an object at line 1 column 34",
            ),
            (
                r#"{"customEvent":{"intParams":{"a":null}}}"#,
                "custom_event.int_params: expected an integer of 64 bits, found null at line 1 column 38",
            ),
            (
                r#"{"appStart":{"isColdStart":"true"}}"#,
                "app_start.is_cold_start: invalid type: string \"true\", expected a boolean at line 1 column 33",
            ),
        ] {
            check_error(json, expected);
        }
    }

    #[test]
    fn what_is_no_json_is_an_error() {
        for (json, expected) in [
            ("", "EOF while parsing a value at line 1 column 0"),
            (r#"{"appId":"a""#, "EOF while parsing an object at line 1 column 12"),
            (r#"{"appId":"a",}"#, "trailing comma at line 1 column 14"),
            (r#"{"appId":"a"} {}"#, "trailing characters at line 1 column 15"),
            (r#"{"appId":"\ud800"}"#, "app_id: unexpected end of hex escape at line 1 column 17"),
        ] {
            check_error(json, expected);
        }
        let error = read(b"{\"appId\":\"\xff\"}").expect_err("not UTF-8");
        assert_eq!(error, "invalid utf-8 sequence of 1 bytes from index 10");
    }

    #[test]
    fn nesting_without_end_is_an_error() {
        let deep = format!(r#"{{"timestampMs":{}1{}}}"#, "[".repeat(100_000), "]".repeat(100_000));
        assert!(read(deep.as_bytes()).is_err());
        let deep = format!(r#"{{"screenView":{}"#, r#"{"params":"#.repeat(100_000));
        assert!(read(deep.as_bytes()).is_err());
    }

    #[test]
    fn messages_of_every_length_have_the_right_length() {
        for length in [0, 1, 60, 61, 62, 125, 126, 127, 128, 16_380, 16_384, 70_000] {
            let text = "x".repeat(length);
            let json =
                format!(r#"{{"screenView":{{"screenName":"{text}y","params":{{"{text}":"z"}}}}}}"#);
            check(&json, &json);
        }
    }
}
