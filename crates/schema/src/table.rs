//! What the protobuf definitions say, as tables that guide reading, writing and validation.
//!
//! The build script makes them from `proto/`.

use crate::PayloadKind;

/// A message.
#[derive(Debug)]
pub(crate) struct Message {
    /// Ascending by number.
    pub(crate) fields: &'static [Field],
    /// Where [`slot`] puts the spellings of the names, with this multiplier: positions in `fields`.
    slots: &'static [u8],
    multiplier: u32,
}

/// A field of a message.
#[derive(Debug)]
pub(crate) struct Field {
    pub(crate) number: u32,
    /// As in the definitions: `app_id`.
    pub(crate) name: &'static str,
    /// As in JSON: `appId`.
    pub(crate) json_name: &'static str,
    pub(crate) shape: Shape,
    /// What one value is; with [`Shape::Map`], the value of an entry.
    pub(crate) kind: Kind,
    pub(crate) required: bool,
    pub(crate) in_oneof: bool,
}

/// How many values a field has.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Shape {
    Single,
    Repeated,
    /// By texts.
    Map,
}

/// What a value is, and which are valid.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Kind {
    Text(Text),
    Int32(Number),
    Int64(Number),
    Bool,
    Float,
    Double,
    Enum(&'static Enum),
    Message(&'static Message),
}

/// How long a text may be, and of what characters: `Text` in `rules.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Text {
    Ordinary,
    Id,
    Long,
    AppId,
    PlainId,
}

/// Which numbers are valid: `Number` in `rules.proto`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Number {
    Any,
    NotNegative,
    Percent,
}

/// The values of an enum.
#[derive(Debug)]
pub(crate) struct Enum {
    pub(crate) values: &'static [(&'static str, i32)],
}

impl Message {
    /// Returns the field of a number, and its position.
    #[inline]
    pub(crate) fn by_number(&self, number: u32) -> Option<(usize, &'static Field)> {
        // Most messages count their fields from 1 without a gap.
        let guess = (number as usize).wrapping_sub(1);
        match self.fields.get(guess) {
            Some(field) if field.number == number => Some((guess, field)),
            _ => {
                let index = self.fields.binary_search_by_key(&number, |field| field.number).ok()?;
                self.fields.get(index).map(|field| (index, field))
            }
        }
    }

    /// Returns the field of a name in either spelling, and its position.
    #[inline]
    pub(crate) fn by_name(&self, name: &str) -> Option<(usize, &'static Field)> {
        let slot = slot(name, self.multiplier, self.slots.len());
        let index = usize::from(*self.slots.get(slot)?);
        let field = self.fields.get(index)?;
        (name == field.json_name || name == field.name).then_some((index, field))
    }
}

impl Enum {
    /// Returns the number of a name.
    pub(crate) fn number(&self, name: &str) -> Option<i32> {
        self.values.iter().find(|(other, _)| *other == name).map(|(_, number)| *number)
    }

    /// Returns the name of a number.
    pub(crate) fn name(&self, number: i32) -> Option<&'static str> {
        self.values.iter().find(|(_, other)| *other == number).map(|(name, _)| *name)
    }
}

include!("slot.rs");
include!(concat!(env!("OUT_DIR"), "/tables.rs"));
