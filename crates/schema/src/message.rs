//! A message of the binary form, sorted by field.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use xxhash_rust::xxh3::xxh3_64;

use crate::Malformed;
use crate::table::{FIELDS_MAX, Field, Kind, Message, Shape};
use crate::wire::{RawField, Reader, TWICE, Value, WRONG_TYPE};

/// What a message says of each field.
///
/// Nothing is copied and only one level is read. A later value replaces an earlier one, as protobuf demands; the earlier
/// one is read all the same, for whoever reads the bytes after us must be able to. Two messages for one field would
/// have to be merged: no encoder writes that, so it is an error.
#[derive(Debug)]
pub(crate) struct Fields<'a> {
    message: &'static Message,
    reader: Reader<'a>,
    values: [Held<'a>; FIELDS_MAX],
    /// The member of the oneof that is set. Those are the last fields of the table; `values` ends before them.
    oneof: Option<(&'static Field, Reader<'a>)>,
    /// A hash of the fields that are not in the definitions, whatever their order; 0 if there are none.
    pub(crate) unknown: u64,
}

/// What a message says of one field.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Held<'a> {
    Absent,
    One(Value<'a>),
    /// So many values or entries.
    Many(usize),
}

impl<'a> Fields<'a> {
    /// Reads one level of a message.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    #[inline]
    pub(crate) fn read(message: &'static Message, reader: Reader<'a>) -> Result<Self, Malformed> {
        let mut fields =
            Self { message, reader, values: [Held::Absent; FIELDS_MAX], oneof: None, unknown: 0 };
        fields.fill()?;
        Ok(fields)
    }

    fn fill(&mut self) -> Result<(), Malformed> {
        let Self { message, .. } = *self;
        let fields = self;
        let mut rest = fields.reader;
        while let Some(raw) = rest.field()? {
            match message.by_number(raw.number) {
                Some((_, field)) if field.in_oneof => fields.take_member(field, &raw)?,
                Some((index, field)) => fields.take(index, field, &raw)?,
                None => fields.unknown = fields.unknown.wrapping_add(xxh3_64(raw.bytes)),
            }
        }
        Ok(())
    }

    #[inline]
    fn take(
        &mut self,
        index: usize,
        field: &'static Field,
        raw: &RawField<'a>,
    ) -> Result<(), Malformed> {
        // The build script made `values` long enough for all fields that are in no oneof.
        let Some(held) = self.values.get_mut(index) else { return Ok(()) };
        *held = match (field.shape, *held) {
            (Shape::Single, Held::One(_)) if matches!(field.kind, Kind::Message(_)) => {
                return Err(raw.malformed(TWICE));
            }
            (Shape::Single, earlier) => {
                if let Held::One(earlier) = earlier {
                    check_value(&field.kind, earlier)?;
                }
                Held::One(raw.value(&field.kind)?)
            }
            // Elements of a list are texts or messages; an entry of a map is a message.
            _ if raw.message().is_none() => return Err(raw.malformed(WRONG_TYPE)),
            (_, Held::Many(count)) => Held::Many(count + 1),
            _ => Held::Many(1),
        };
        Ok(())
    }

    fn take_member(&mut self, field: &'static Field, raw: &RawField<'a>) -> Result<(), Malformed> {
        let message = raw.message().ok_or_else(|| raw.malformed(WRONG_TYPE))?;
        match self.oneof.replace((field, message)) {
            None => Ok(()),
            Some((other, _)) if other.number == field.number => Err(raw.malformed(TWICE)),
            Some((other, message)) => check_value(&other.kind, Value::Bytes(message)),
        }
    }

    /// Returns what is said of the field of a number.
    pub(crate) fn by_number(&self, number: u32) -> Held<'a> {
        let held = self.message.by_number(number).and_then(|(index, _)| self.values.get(index));
        held.copied().unwrap_or(Held::Absent)
    }

    /// Returns every field that is in no oneof, with what is said of it, and then the member of the oneof that is set.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&'static Field, Held<'a>)> {
        let member = self.oneof.map(|(field, reader)| (field, Held::One(Value::Bytes(reader))));
        let fields = self.message.fields.iter().take_while(|field| !field.in_oneof);
        fields.zip(self.values.iter().copied()).chain(member)
    }

    /// Returns the member of the oneof that is set, and its value.
    pub(crate) const fn oneof(&self) -> Option<(&'static Field, Reader<'a>)> {
        self.oneof
    }

    /// Returns the values of a repeated field, or the entries of a map, in the order in which they were written.
    pub(crate) fn values(&self, field: &'static Field) -> impl Iterator<Item = Reader<'a>> {
        let mut rest = self.reader;
        // The message was read as a whole before: it has no errors.
        std::iter::from_fn(move || rest.field().ok().flatten())
            .filter(move |raw| raw.number == field.number)
            .filter_map(|raw| raw.message())
    }
}

/// Reads a message down to its leaves.
fn check(message: &'static Message, reader: Reader<'_>) -> Result<(), Malformed> {
    let fields = Fields::read(message, reader)?;
    for (field, held) in fields.iter() {
        match (held, field.shape) {
            (Held::Absent, _) => {}
            (Held::One(value), _) => check_value(&field.kind, value)?,
            (Held::Many(_), Shape::Map) => {
                for entry in fields.values(field) {
                    let entry = Entry::read(&field.kind, entry)?;
                    if let Some(value) = entry.value {
                        check_value(&field.kind, value)?;
                    }
                }
            }
            (Held::Many(_), _) => {
                for value in fields.values(field) {
                    check_value(&field.kind, Value::Bytes(value))?;
                }
            }
        }
    }
    Ok(())
}

fn check_value(kind: &Kind, value: Value<'_>) -> Result<(), Malformed> {
    match (kind, value) {
        (Kind::Message(message), Value::Bytes(reader)) => check(message, reader),
        (Kind::Text(_), Value::Bytes(reader)) => reader.text().map(drop),
        _ => Ok(()),
    }
}

/// An entry of a map.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Entry<'a> {
    pub(crate) key: &'a str,
    /// `None` if it was not written, which means the default.
    pub(crate) value: Option<Value<'a>>,
}

impl<'a> Entry<'a> {
    /// Reads an entry whose value is of `kind`.
    ///
    /// # Errors
    ///
    /// [`Malformed`].
    pub(crate) fn read(kind: &Kind, mut reader: Reader<'a>) -> Result<Self, Malformed> {
        let mut entry = Self { key: "", value: None };
        while let Some(raw) = reader.field()? {
            match raw.number {
                1 => match raw.message() {
                    Some(key) => entry.key = key.text()?,
                    None => return Err(raw.malformed(WRONG_TYPE)),
                },
                2 => {
                    if let Some(earlier) = entry.value.replace(raw.value(kind)?) {
                        check_value(kind, earlier)?;
                    }
                }
                _ => {}
            }
        }
        Ok(entry)
    }
}

/// Returns the entries of a map, ascending by key; of equal keys the last one, as protobuf demands.
///
/// # Errors
///
/// [`Malformed`].
pub(crate) fn entries<'a>(
    fields: &Fields<'a>,
    field: &'static Field,
    count: usize,
) -> Result<Vec<Entry<'a>>, Malformed> {
    let mut entries = Vec::with_capacity(count);
    for reader in fields.values(field) {
        entries.push(Entry::read(&field.kind, reader)?);
    }
    entries.sort_by_key(|entry| entry.key);
    let mut replaced = Ok(());
    entries.dedup_by(|later, earlier| {
        let same = later.key == earlier.key;
        if same && let Some(value) = std::mem::replace(earlier, *later).value {
            replaced = replaced.and(check_value(&field.kind, value));
        }
        same
    });
    replaced?;
    Ok(entries)
}

#[cfg(test)]
mod tests {
    use crate::{Invalid, Limits, Malformed, envelope_to_json, inspect};

    /// Reads an event and compares how JSON writes it, or what is wrong with it.
    #[track_caller]
    fn check(envelope: &[u8], expected: Result<&str, (usize, &'static str)>) {
        let expected = expected.map_err(|(offset, reason)| Malformed { offset, reason });
        let json = envelope_to_json(envelope);
        assert_eq!(json.as_deref(), expected.as_ref().copied());
        let inspected = match inspect(envelope, &Limits::default()) {
            Err(Invalid::Malformed(malformed)) => Some(malformed),
            _ => None,
        };
        assert_eq!(inspected, expected.err());
    }

    #[test]
    fn the_last_value_counts() {
        check(b"\x12\x01a\x20\x01\x12\x01b\x20\x02", Ok(r#"{"appId":"b","timestampMs":"2"}"#));
        check(b"\x12\x01a\x12\x00", Ok("{}"));
        // AppStart, then AppBackground, then AppStart again.
        check(b"\x82\x19\x02\x08\x01\x8a\x19\x00", Ok(r#"{"appBackground":{}}"#));
        check(
            b"\x82\x19\x00\x8a\x19\x00\x82\x19\x02\x08\x01",
            Ok(r#"{"appStart":{"isColdStart":true}}"#),
        );
        // An entry of a map without a value, twice the same key, and an entry with nothing.
        check(
            b"\xa2\x06\x13\x22\x03\x0a\x01a\x22\x06\x0a\x01a\x12\x01x\x22\x02\x12\x00\x22\x00",
            Ok(r#"{"screenView":{"params":{"":"","a":"x"}}}"#),
        );
    }

    #[test]
    fn unknown_fields_are_skipped() {
        check(
            b"\x40\x05\xfa\x7f\x01x\x12\x01a\xf9\x7f12345678\xfd\x7f1234",
            Ok(r#"{"appId":"a"}"#),
        );
    }

    #[test]
    fn what_is_malformed_says_where() {
        check(b"\x12\x01a\x10\x01", Err((3, "field of the wrong type")));
        check(b"\x21\x01\x01\x01\x01\x01\x01\x01\x01", Err((0, "field of the wrong type")));
        check(b"\x12\x02a", Err((1, "length beyond the end of the message")));
        check(
            b"\x12\xff\xff\xff\xff\xff\xff\xff\xff\xff\x01a",
            Err((1, "length beyond the end of the message")),
        );
        check(b"\x20", Err((1, "number cut off")));
        check(b"\x20\x80\x80\x80\x80\x80\x80\x80\x80\x80\x02", Err((1, "number too long")));
        check(b"\x12\x01\xff", Err((2, "text is not UTF-8")));
        check(b"\x0b\x0c", Err((0, "groups are not supported")));
        check(b"\x0f", Err((0, "unknown type of field")));
        check(b"\x02\x00", Err((0, "field number 0")));
        check(b"\xf9\x7f1234567", Err((2, "number cut off")));
        // A screen view whose map has a number for an entry, then one whose entry has a number for a key.
        check(b"\xa2\x06\x02\x20\x01", Err((3, "field of the wrong type")));
        check(b"\xa2\x06\x04\x22\x02\x08\x01", Err((5, "field of the wrong type")));
    }

    #[test]
    fn a_message_that_is_there_twice_is_refused() {
        check(b"\x32\x00\x32\x00", Err((2, "message occurs more than once")));
        check(b"\x82\x19\x00\x82\x19\x00", Err((3, "message occurs more than once")));
    }

    #[test]
    fn what_does_not_count_must_be_readable_too() {
        check(b"\x12\x01\xff\x12\x01a", Err((2, "text is not UTF-8")));
        check(
            b"\xa2\x06\x0b\x22\x09\x0a\x01a\x12\x01\xff\x12\x01x",
            Err((10, "text is not UTF-8")),
        );
        check(
            b"\xa2\x06\x10\x22\x06\x0a\x01a\x12\x01\xff\x22\x06\x0a\x01a\x12\x01x",
            Err((10, "text is not UTF-8")),
        );
        check(b"\xa2\x06\x03\x0a\x01\xff\x82\x19\x00", Err((5, "text is not UTF-8")));
        check(
            b"\xa2\x06\x03\x0a\x02a\x82\x19\x00",
            Err((4, "length beyond the end of the message")),
        );
        check(b"\xa2\x06\x05\x22\x03\x12\x01\xff\x82\x19\x00", Err((7, "text is not UTF-8")));
        check(b"\x8a\x13\x05\x3a\x03\x0a\x01\xff\x82\x19\x00", Err((7, "text is not UTF-8")));
    }
}
