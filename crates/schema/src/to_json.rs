//! From binary to JSON.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use serde::Serialize;

use crate::inspect::int32;
use crate::message::{Fields, Held, entries};
use crate::table::{EVENT_ENVELOPE, Field, Kind, Message, Shape, payload_field};
use crate::wire::{Reader, Value};
use crate::{Malformed, PayloadKind};

/// Returns the JSON form of a binary `causality.v1.EventEnvelope`, as protobuf maps it: names in lowerCamelCase, enums
/// by name, `int64` as text, defaults omitted. Fields are in the order of their numbers, maps in the order of their keys.
///
/// # Errors
///
/// [`Malformed`].
pub fn envelope_to_json(envelope: &[u8]) -> Result<String, Malformed> {
    message_to_json(&EVENT_ENVELOPE, Reader::new(envelope), Style::Protobuf)
}

/// Returns a payload as rules and the warehouse see it: names as in the definitions, enums by number, `int64` as number,
/// defaults omitted.
///
/// Numbers that JSON cannot spell are texts: `"NaN"`, `"Infinity"`.
///
/// # Errors
///
/// [`Malformed`].
pub fn payload_to_json(kind: PayloadKind, payload: &[u8]) -> Result<String, Malformed> {
    match payload_field(kind).kind {
        Kind::Message(message) => message_to_json(message, Reader::new(payload), Style::Plain),
        _ => Ok("{}".to_owned()),
    }
}

/// Which of the two ways to spell things.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Style {
    /// As protobuf maps its messages to JSON.
    Protobuf,
    /// As rules and the warehouse see them.
    Plain,
}

/// Returns a message in JSON.
pub(crate) fn message_to_json(
    message: &'static Message,
    reader: Reader<'_>,
    style: Style,
) -> Result<String, Malformed> {
    let mut writer = Writer { out: Vec::with_capacity(2 * reader.bytes().len() + 64), style };
    writer.message(message, reader)?;
    // Names are ASCII, and serde_json writes UTF-8.
    Ok(String::from_utf8(writer.out).unwrap_or_default())
}

struct Writer {
    out: Vec<u8>,
    style: Style,
}

impl Writer {
    fn message(&mut self, message: &'static Message, reader: Reader<'_>) -> Result<(), Malformed> {
        let fields = Fields::read(message, reader)?;
        self.out.push(b'{');
        let mut is_first = true;
        for (field, held) in fields.iter() {
            if is_default(field, held) {
                continue;
            }
            if !std::mem::take(&mut is_first) {
                self.out.push(b',');
            }
            self.out.push(b'"');
            let name = match self.style {
                Style::Protobuf => field.json_name,
                Style::Plain => field.name,
            };
            self.out.extend_from_slice(name.as_bytes());
            self.out.extend_from_slice(b"\":");
            match held {
                Held::Absent => {}
                Held::One(value) => self.value(&field.kind, value)?,
                Held::Many(count) if field.shape == Shape::Map => {
                    self.map(&fields, field, count)?;
                }
                Held::Many(_) => self.list(&fields, field)?,
            }
        }
        self.out.push(b'}');
        Ok(())
    }

    fn list(&mut self, fields: &Fields<'_>, field: &'static Field) -> Result<(), Malformed> {
        self.out.push(b'[');
        for (index, value) in fields.values(field).enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.value(&field.kind, Value::Bytes(value))?;
        }
        self.out.push(b']');
        Ok(())
    }

    fn map(
        &mut self,
        fields: &Fields<'_>,
        field: &'static Field,
        count: usize,
    ) -> Result<(), Malformed> {
        self.out.push(b'{');
        for (index, entry) in entries(fields, field, count)?.into_iter().enumerate() {
            if index > 0 {
                self.out.push(b',');
            }
            self.json(entry.key);
            self.out.push(b':');
            let value = entry.value.unwrap_or(match field.kind {
                Kind::Text(_) | Kind::Message(_) => Value::Bytes(Reader::new(&[])),
                _ => Value::Number(0),
            });
            self.value(&field.kind, value)?;
        }
        self.out.push(b'}');
        Ok(())
    }

    fn value(&mut self, kind: &Kind, value: Value<'_>) -> Result<(), Malformed> {
        match (*kind, value) {
            (Kind::Text(_), Value::Bytes(reader)) => self.json(reader.text()?),
            (Kind::Message(message), Value::Bytes(reader)) => self.message(message, reader)?,
            (Kind::Int32(_), Value::Number(bits)) => self.json(&int32(bits)),
            (Kind::Int64(_), Value::Number(bits)) if self.style == Style::Protobuf => {
                self.out.push(b'"');
                self.json(&bits.cast_signed());
                self.out.push(b'"');
            }
            (Kind::Int64(_), Value::Number(bits)) => self.json(&bits.cast_signed()),
            (Kind::Bool, Value::Number(bits)) => self.json(&(bits != 0)),
            (Kind::Enum(names), Value::Number(bits)) => {
                match names.name(int32(bits)).filter(|_| self.style == Style::Protobuf) {
                    Some(name) => self.json(name),
                    None => self.json(&int32(bits)),
                }
            }
            (Kind::Float, Value::Number(bits)) => {
                #[expect(clippy::cast_possible_truncation, reason = "four bytes were read")]
                let value = f32::from_bits(bits as u32);
                self.float(value, value.into());
            }
            (Kind::Double, Value::Number(bits)) => {
                let value = f64::from_bits(bits);
                self.float(value, value);
            }
            // `Fields` holds bytes for texts and messages, and numbers for the rest.
            (_, Value::Bytes(_)) | (Kind::Text(_) | Kind::Message(_), Value::Number(_)) => {}
        }
        Ok(())
    }

    /// Writes a number in as many digits as its own precision needs.
    fn float(&mut self, shortest: impl Serialize, value: f64) {
        match value {
            f64::INFINITY => self.json("Infinity"),
            f64::NEG_INFINITY => self.json("-Infinity"),
            _ if value.is_nan() => self.json("NaN"),
            _ => self.json(&shortest),
        }
    }

    fn json(&mut self, value: &(impl Serialize + ?Sized)) {
        // Texts, numbers and truth values can always be written to memory.
        drop(serde_json::to_writer(&mut self.out, value));
    }
}

/// Returns whether a field means the same as if it were absent.
fn is_default(field: &Field, held: Held<'_>) -> bool {
    match (held, field.kind) {
        (Held::Absent, _) => true,
        (Held::One(Value::Bytes(reader)), Kind::Text(_)) => reader.bytes().is_empty(),
        (Held::One(Value::Number(bits)), Kind::Int32(_) | Kind::Enum(_)) => int32(bits) == 0,
        (Held::One(Value::Number(bits)), _) => bits == 0,
        _ => false,
    }
}
