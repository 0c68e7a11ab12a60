//! The binary form, field by field: <https://protobuf.dev/programming-guides/encoding/>.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use crate::table::Kind;

pub(crate) const WRONG_TYPE: &str = "field of the wrong type";
pub(crate) const TWICE: &str = "message occurs more than once";

const VARINT: u32 = 0;
const FIXED64: u32 = 1;
const LENGTH: u32 = 2;
const FIXED32: u32 = 5;

/// Where and why bytes are not a message of the binary form.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("{reason} at byte {offset}")]
pub struct Malformed {
    /// Where, from the first byte of what was read.
    pub offset: usize,
    /// What is wrong there.
    pub reason: &'static str,
}

/// One field: its number and its value.
#[derive(Clone, Copy, Debug)]
pub(crate) struct RawField<'a> {
    pub(crate) number: u32,
    wire_type: u32,
    value: RawValue<'a>,
    /// All of it, tag included.
    pub(crate) bytes: &'a [u8],
    /// Where it begins in the whole.
    pub(crate) offset: usize,
}

#[derive(Clone, Copy, Debug)]
enum RawValue<'a> {
    Number(u64),
    Bytes(Reader<'a>),
}

/// A value of a known field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Value<'a> {
    /// A number, truth value or enum: what the varint says. A floating-point number: its bits.
    Number(u64),
    /// A text or a message.
    Bytes(Reader<'a>),
}

impl<'a> RawField<'a> {
    /// Returns the value of a field that holds `kind`.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it is spelt as something else.
    #[inline]
    pub(crate) fn value(&self, kind: &Kind) -> Result<Value<'a>, Malformed> {
        let expected = match kind {
            Kind::Text(_) | Kind::Message(_) => LENGTH,
            Kind::Int32(_) | Kind::Int64(_) | Kind::Bool | Kind::Enum(_) => VARINT,
            Kind::Float => FIXED32,
            Kind::Double => FIXED64,
        };
        if self.wire_type != expected {
            return Err(self.malformed(WRONG_TYPE));
        }
        Ok(match self.value {
            RawValue::Number(number) => Value::Number(number),
            RawValue::Bytes(bytes) => Value::Bytes(bytes),
        })
    }

    /// Returns its bytes, if it is a text or a message.
    pub(crate) const fn message(&self) -> Option<Reader<'a>> {
        match self.value {
            RawValue::Bytes(bytes) => Some(bytes),
            RawValue::Number(_) => None,
        }
    }

    /// Returns the error `reason` at this field.
    #[cold]
    pub(crate) const fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { offset: self.offset, reason }
    }
}

/// What is left of one message.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Reader<'a> {
    rest: &'a [u8],
    /// Where the message ends in the whole.
    end: usize,
}

impl<'a> Reader<'a> {
    /// Returns a reader of the whole.
    pub(crate) const fn new(bytes: &'a [u8]) -> Self {
        Self { rest: bytes, end: bytes.len() }
    }

    /// Returns the bytes that are left.
    pub(crate) const fn bytes(&self) -> &'a [u8] {
        self.rest
    }

    /// Returns what is left as a text.
    ///
    /// # Errors
    ///
    /// [`Malformed`] when it is not UTF-8.
    #[inline]
    pub(crate) fn text(&self) -> Result<&'a str, Malformed> {
        std::str::from_utf8(self.rest).map_err(|_| self.malformed("text is not UTF-8"))
    }

    /// Takes the next field; `None` at the end of the message.
    ///
    /// # Errors
    ///
    /// [`Malformed`]; also for groups, which proto3 does not have.
    #[inline(always)]
    pub(crate) fn field(&mut self) -> Result<Option<RawField<'a>>, Malformed> {
        if self.rest.is_empty() {
            return Ok(None);
        }
        let start = *self;
        let tag =
            u32::try_from(self.varint()?).map_err(|_| start.malformed("field number too large"))?;
        if tag >> 3 == 0 {
            return Err(start.malformed("field number 0"));
        }
        let value = match tag & 7 {
            VARINT => RawValue::Number(self.varint()?),
            FIXED64 => RawValue::Number(u64::from_le_bytes(self.array()?)),
            LENGTH => RawValue::Bytes(self.delimited()?),
            FIXED32 => RawValue::Number(u64::from(u32::from_le_bytes(self.array()?))),
            3 | 4 => return Err(start.malformed("groups are not supported")),
            _ => return Err(start.malformed("unknown type of field")),
        };
        let length = start.rest.len() - self.rest.len();
        Ok(Some(RawField {
            number: tag >> 3,
            wire_type: tag & 7,
            value,
            bytes: start.rest.get(..length).unwrap_or_default(),
            offset: start.offset(),
        }))
    }

    #[inline]
    fn varint(&mut self) -> Result<u64, Malformed> {
        match self.rest {
            [first, rest @ ..] if *first < 0x80 => {
                self.rest = rest;
                Ok(u64::from(*first))
            }
            _ => self.long_varint(),
        }
    }

    fn long_varint(&mut self) -> Result<u64, Malformed> {
        let mut value = 0_u64;
        for (index, byte) in self.rest.iter().take(10).enumerate() {
            // The tenth byte holds the last bit.
            if index == 9 && *byte > 1 {
                break;
            }
            value |= u64::from(byte & 0x7f) << (7 * index);
            if *byte < 0x80 {
                self.rest = self.rest.get(index + 1..).unwrap_or_default();
                return Ok(value);
            }
        }
        Err(self.malformed(if self.rest.len() < 10 { "number cut off" } else { "number too long" }))
    }

    #[inline]
    fn array<const N: usize>(&mut self) -> Result<[u8; N], Malformed> {
        let Some((bytes, rest)) = self.rest.split_first_chunk() else {
            return Err(self.malformed("number cut off"));
        };
        self.rest = rest;
        Ok(*bytes)
    }

    #[inline]
    fn delimited(&mut self) -> Result<Self, Malformed> {
        let start = *self;
        let length = self.varint()?;
        let split = usize::try_from(length).ok().and_then(|at| self.rest.split_at_checked(at));
        let Some((value, rest)) = split else {
            return Err(start.malformed("length beyond the end of the message"));
        };
        self.rest = rest;
        Ok(Self { rest: value, end: self.offset() })
    }

    const fn offset(&self) -> usize {
        self.end - self.rest.len()
    }

    #[cold]
    const fn malformed(&self, reason: &'static str) -> Malformed {
        Malformed { offset: self.offset(), reason }
    }
}

/// Appends a text to a message. Where the message has the field already, the last one counts.
pub fn set_string(out: &mut Vec<u8>, field_number: u32, value: &str) {
    put_tag(out, field_number, LENGTH);
    put_varint(out, value.len() as u64);
    out.extend_from_slice(value.as_bytes());
}

/// Appends a number of type `int64` to a message. Where the message has the field already, the last one counts.
pub fn set_int64(out: &mut Vec<u8>, field_number: u32, value: i64) {
    put_tag(out, field_number, VARINT);
    put_varint(out, value.cast_unsigned());
}

pub(crate) fn set_bool(out: &mut Vec<u8>, field_number: u32, value: bool) {
    put_tag(out, field_number, VARINT);
    out.push(u8::from(value));
}

pub(crate) fn set_float(out: &mut Vec<u8>, field_number: u32, value: f32) {
    put_tag(out, field_number, FIXED32);
    out.extend_from_slice(&value.to_le_bytes());
}

pub(crate) fn set_double(out: &mut Vec<u8>, field_number: u32, value: f64) {
    put_tag(out, field_number, FIXED64);
    out.extend_from_slice(&value.to_le_bytes());
}

/// Appends a message that `write` writes.
///
/// # Errors
///
/// That of `write`; `out` then ends in the middle of the message.
pub(crate) fn set_message<E>(
    out: &mut Vec<u8>,
    field_number: u32,
    write: impl FnOnce(&mut Vec<u8>) -> Result<(), E>,
) -> Result<(), E> {
    put_tag(out, field_number, LENGTH);
    // Most messages are shorter than 128 bytes: their length takes the one byte that is left free for it.
    let at = out.len();
    out.push(0);
    write(out)?;
    let length = out.len() - at - 1;
    if let (Ok(length @ 0..0x80), Some(byte)) = (u8::try_from(length), out.get_mut(at)) {
        *byte = length;
    } else {
        // The free byte, the message and its length become the length and the message.
        put_varint(out, length as u64);
        out.remove(at);
        if let Some(both) = out.get_mut(at..) {
            both.rotate_right(both.len() - length);
        }
    }
    Ok(())
}

#[inline]
fn put_tag(out: &mut Vec<u8>, field_number: u32, wire_type: u32) {
    put_varint(out, u64::from(field_number << 3 | wire_type));
}

#[inline]
fn put_varint(out: &mut Vec<u8>, mut value: u64) {
    while value >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "seven bits at a time")]
        out.push(value as u8 | 0x80);
        value >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    out.push(value as u8);
}
