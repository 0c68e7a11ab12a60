//! Another implementation of protobuf, which works from the definitions too, must read what we write and agree with
//! what we read.

use std::collections::HashMap;
use std::sync::LazyLock;

use proptest::collection::vec;
use proptest::prelude::*;
use prost_reflect::prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, SerializeOptions, Value,
};
use schema::{Limits, PayloadKind, envelope_from_json, envelope_to_json, inspect, payload_to_json};

static ENVELOPE: LazyLock<MessageDescriptor> = LazyLock::new(|| {
    let proto = concat!(env!("CARGO_MANIFEST_DIR"), "/proto");
    let mut compiler = protox::Compiler::new([proto]).expect("the folder");
    compiler.include_imports(true).open_file("causality/v1/event.proto").expect("the definitions");
    let pool = compiler.descriptor_pool();
    pool.get_message_by_name("causality.v1.EventEnvelope").expect("the envelope")
});

/// Makes messages out of bytes, so that fewer bytes make smaller ones.
struct Choices<'a> {
    bytes: &'a [u8],
    /// Whether only valid events may come of it.
    valid: bool,
}

impl Choices<'_> {
    fn next(&mut self) -> u8 {
        let Some((first, rest)) = self.bytes.split_first() else { return 0 };
        self.bytes = rest;
        *first
    }

    fn among<T: Clone>(&mut self, choices: &[T]) -> T {
        choices[usize::from(self.next()) % choices.len()].clone()
    }

    fn envelope(&mut self) -> DynamicMessage {
        let mut message = self.message(&ENVELOPE);
        let payload = self.among(PayloadKind::ALL);
        let field = ENVELOPE.get_field(payload.number()).expect("a payload");
        let Kind::Message(descriptor) = field.kind() else { panic!("a payload is a message") };
        let value = self.message(&descriptor);
        message.set_field(&field, Value::Message(value));
        message
    }

    fn message(&mut self, descriptor: &MessageDescriptor) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        for field in descriptor.fields().filter(|field| field.containing_oneof().is_none()) {
            if self.next().is_multiple_of(2) && !self.valid {
                continue;
            }
            let value = if field.is_map() {
                let Kind::Message(entry) = field.kind() else { panic!("an entry is a message") };
                let value = entry.map_entry_value_field();
                let count = self.next() % 4;
                let entries =
                    (0..count).map(|_| (MapKey::String(self.text(false)), self.value(&value)));
                Value::Map(entries.collect::<HashMap<_, _>>())
            } else if field.is_list() {
                let count = self.next() % 4;
                Value::List((0..count).map(|_| self.value(&field)).collect())
            } else {
                self.value(&field)
            };
            message.set_field(&field, value);
        }
        message
    }

    fn value(&mut self, field: &FieldDescriptor) -> Value {
        match field.kind() {
            Kind::String => Value::String(self.text(field.name() == "app_id")),
            Kind::Bool => Value::Bool(self.next() % 2 == 1),
            Kind::Int32 | Kind::Enum(_) | Kind::Int64 if self.valid => {
                let number = i32::from(self.next() % 101);
                match field.kind() {
                    Kind::Int32 => Value::I32(number),
                    Kind::Int64 => Value::I64(number.into()),
                    _ => Value::EnumNumber(number % 9),
                }
            }
            Kind::Int32 => Value::I32(self.among(&[0, 1, 127, 128, -1, i32::MAX, i32::MIN])),
            Kind::Int64 => {
                Value::I64(self.among(&[0, 1, -1, (1 << 53) + 1, 1 << 62, i64::MAX, i64::MIN]))
            }
            Kind::Enum(_) => Value::EnumNumber(self.among(&[0, 1, 2, 3, 7, 99, -1])),
            Kind::Float => {
                let values = [0.0, 0.1, -1.5, f32::MAX, f32::MIN_POSITIVE, 1e-45, f32::INFINITY];
                Value::F32(self.among(&values))
            }
            Kind::Double => {
                let values = [0.0, 0.1, -1e300, f64::MAX, 5e-324, 1e16, f64::NEG_INFINITY];
                Value::F64(self.among(&values))
            }
            Kind::Message(descriptor) => Value::Message(self.message(&descriptor)),
            other => panic!("{other:?}"),
        }
    }

    fn text(&mut self, app_id: bool) -> String {
        if app_id && self.valid {
            return self.among(&["app", "a.b"]).to_owned();
        }
        let long = "x".repeat(usize::from(self.next()));
        let texts =
            ["a", "b", "Überraschung 🎉", "\"\\/</script>&\u{2028}", &long, "", "\0\n\u{7f}"];
        let count = if self.valid { 4 } else { texts.len() };
        self.among(&texts[..count]).to_owned()
    }
}

/// Returns how the other implementation writes a message in JSON.
fn their_json(message: &DynamicMessage, options: &SerializeOptions) -> String {
    let mut out = Vec::new();
    message
        .serialize_with_options(&mut serde_json::Serializer::new(&mut out), options)
        .expect("JSON in memory");
    String::from_utf8(out).expect("UTF-8")
}

/// Returns JSON without regard to the order of members.
fn parsed(json: &str) -> serde_json::Value {
    serde_json::from_str(json).unwrap_or_else(|error| panic!("{error}: {json}"))
}

proptest! {
    #[test]
    fn both_write_the_same_json(bytes in vec(any::<u8>(), 0..200)) {
        let message = Choices { bytes: &bytes, valid: false }.envelope();
        let binary = message.encode_to_vec();
        let ours = envelope_to_json(&binary).expect("what was just encoded");
        let theirs = their_json(&message, &SerializeOptions::new());
        prop_assert_eq!(parsed(&ours), parsed(&theirs));
    }

    #[test]
    fn both_write_the_same_plain_json(bytes in vec(any::<u8>(), 0..200)) {
        let mut message = Choices { bytes: &bytes, valid: true }.envelope();
        let binary = message.encode_to_vec();
        let event = inspect(&binary, &Limits::default()).expect("a valid event");
        let ours = payload_to_json(event.kind, event.payload).expect("a valid event");
        let Some(Value::Message(payload)) = message.take_field_by_number(event.kind.number())
        else {
            panic!("the payload is set")
        };
        let options = SerializeOptions::new()
            .use_proto_field_name(true)
            .use_enum_numbers(true)
            .stringify_64_bit_integers(false);
        prop_assert_eq!(parsed(&ours), parsed(&their_json(&payload, &options)));
    }

    #[test]
    fn we_read_the_json_of_the_other(bytes in vec(any::<u8>(), 0..200), variant in 0..8_u8) {
        let message = Choices { bytes: &bytes, valid: false }.envelope();
        let options = SerializeOptions::new()
            .use_proto_field_name(variant & 1 != 0)
            .use_enum_numbers(variant & 2 != 0)
            .stringify_64_bit_integers(variant & 4 != 0)
            .skip_default_fields(variant % 3 != 0);
        let json = their_json(&message, &options);
        let mut ours = Vec::new();
        envelope_from_json(json.as_bytes(), &mut ours)
            .map_err(|error| TestCaseError::fail(format!("{error}: {json}")))?;
        let decoded = DynamicMessage::decode(ENVELOPE.clone(), &*ours).expect("what we wrote");
        let options = SerializeOptions::new();
        prop_assert_eq!(
            parsed(&their_json(&decoded, &options)),
            parsed(&their_json(&message, &options))
        );
    }

    #[test]
    fn every_way_to_write_an_event_has_the_same_fingerprint(bytes in vec(any::<u8>(), 0..200)) {
        let message = Choices { bytes: &bytes, valid: true }.envelope();
        let fingerprint = |bytes: &[u8]| {
            inspect(bytes, &Limits::default()).expect("a valid event").fingerprint
        };
        let binary = message.encode_to_vec();
        let expected = fingerprint(&binary);
        // A copy has hash maps of its own, so the order of their entries is another.
        let copy = DynamicMessage::decode(ENVELOPE.clone(), &*binary).expect("what was encoded");
        prop_assert_eq!(fingerprint(&copy.encode_to_vec()), expected);
        for skip in [true, false] {
            let options = SerializeOptions::new().skip_default_fields(skip);
            let mut ours = Vec::new();
            envelope_from_json(their_json(&message, &options).as_bytes(), &mut ours)
                .expect("what was just written");
            prop_assert_eq!(fingerprint(&ours), expected);
        }
    }

    #[test]
    fn what_we_take_the_other_takes_as_the_same(
        bytes in vec(any::<u8>(), 0..120),
        changes in vec((any::<prop::sample::Index>(), any::<u8>(), 0..3_u8), 1..4),
    ) {
        let mut binary = Choices { bytes: &bytes, valid: true }.envelope().encode_to_vec();
        for (at, byte, change) in changes {
            let at = at.index(binary.len());
            match change {
                0 => binary[at] = byte,
                1 => binary.insert(at, byte),
                _ => drop(binary.remove(at)),
            }
        }
        let ours = envelope_to_json(&binary);
        let theirs = DynamicMessage::decode(ENVELOPE.clone(), &*binary);
        if let Ok(ours) = &ours {
            let theirs = theirs.map_err(|error| TestCaseError::fail(error.to_string()))?;
            let theirs = their_json(&theirs, &SerializeOptions::new());
            prop_assert_eq!(parsed(ours), parsed(&theirs));
        }
        prop_assert_eq!(
            matches!(inspect(&binary, &Limits::default()), Err(schema::Invalid::Malformed(_))),
            ours.is_err()
        );
    }

    #[test]
    fn nothing_makes_us_panic(bytes in vec(any::<u8>(), 0..300), text in ".{0,100}") {
        drop(envelope_to_json(&bytes));
        drop(inspect(&bytes, &Limits::default()));
        drop(envelope_from_json(&bytes, &mut Vec::new()));
        drop(envelope_from_json(text.as_bytes(), &mut Vec::new()));
        for kind in PayloadKind::ALL {
            drop(payload_to_json(*kind, &bytes));
        }
    }
}
