//! Turns the protobuf definitions into the tables that guide reading, writing and validation.
//!
//! Refuses what the code that follows the tables cannot do, so that a change of the definitions cannot go unnoticed.

#![expect(clippy::disallowed_methods, reason = "a build script reads its environment and writes")]

use std::collections::{BTreeMap, BTreeSet};
use std::error::Error;
use std::fmt::Write as _;
use std::path::Path;

use prost_reflect::{
    DescriptorPool, EnumDescriptor, ExtensionDescriptor, FieldDescriptor, Kind, MessageDescriptor,
};

/// What is read or written; what these contain follows.
const ROOTS: [&str; 5] = [
    "causality.v1.EventEnvelope",
    "causality.v1.IngestEventResponse",
    "causality.v1.IngestEventBatchResponse",
    "sebuf.http.ValidationError",
    "sebuf.http.Error",
];
const ENVELOPE: &str = "causality.v1.EventEnvelope";

fn main() -> Result<(), Box<dyn Error>> {
    println!("cargo:rerun-if-changed=build.rs");
    println!("cargo:rerun-if-changed=proto");
    let mut compiler = protox::Compiler::new(["proto"])?;
    compiler.include_imports(true);
    compiler.open_files(["causality/v1/service.proto", "sebuf/http/errors.proto"])?;
    let tables = Tables::new(compiler.descriptor_pool())?.generate()?;
    std::fs::write(Path::new(&std::env::var("OUT_DIR")?).join("tables.rs"), tables)?;
    Ok(())
}

/// The definitions, and the options that say what a field may hold.
struct Tables {
    pool: DescriptorPool,
    required: ExtensionDescriptor,
    text: ExtensionDescriptor,
    number: ExtensionDescriptor,
}

impl Tables {
    fn new(pool: DescriptorPool) -> Result<Self, Box<dyn Error>> {
        let option = |name: &str| {
            pool.get_extension_by_name(&format!("causality.v1.{name}"))
                .ok_or_else(|| format!("option {name} is not defined"))
        };
        let (required, text, number) = (option("required")?, option("text")?, option("number")?);
        Ok(Self { pool, required, text, number })
    }

    fn generate(&self) -> Result<String, Box<dyn Error>> {
        let mut messages = Vec::new();
        let mut enums = Vec::new();
        let mut seen = BTreeSet::new();
        for root in ROOTS {
            let root = self.pool.get_message_by_name(root).ok_or("a root is not defined")?;
            reach(root, &mut seen, &mut messages, &mut enums);
        }
        let mut out = String::new();
        for descriptor in &enums {
            write_enum(&mut out, descriptor)?;
        }
        for descriptor in &messages {
            self.write_message(&mut out, descriptor)?;
        }
        if messages.iter().any(|message| message.fields().len() > 64) {
            return Err("a message has more than the 64 fields that a set of bits can hold".into());
        }
        let common = |message: &MessageDescriptor| {
            message.fields().filter(|field| field.containing_oneof().is_none()).count()
        };
        let most = messages.iter().map(common).max().unwrap_or_default();
        writeln!(out, "/// The most fields that a message has beside those of its oneof.")?;
        writeln!(out, "pub(crate) const FIELDS_MAX: usize = {most};")?;
        self.write_payloads(&mut out)?;
        Ok(out)
    }

    fn write_message(
        &self,
        out: &mut String,
        message: &MessageDescriptor,
    ) -> Result<(), Box<dyn Error>> {
        if message.oneofs().len() > 1 {
            return Err(format!("{}: more than one oneof", message.full_name()).into());
        }
        writeln!(out, "/// `{}`.", message.full_name())?;
        writeln!(out, "pub(crate) static {}: Message = Message {{", constant(message.full_name()))?;
        writeln!(out, "    fields: &[")?;
        let mut names = BTreeMap::new();
        let mut fields: Vec<_> = message.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        if fields.iter().skip_while(|field| field.containing_oneof().is_none()).any(|field| {
            field.containing_oneof().is_none() || !matches!(field.kind(), Kind::Message(_))
        }) {
            let rule = "a oneof holds messages and has the highest numbers";
            return Err(format!("{}: {rule}", message.full_name()).into());
        }
        for (index, field) in fields.iter().enumerate() {
            let (shape, value) = if field.is_map() {
                let entry = field.kind().as_message().cloned().ok_or("a map without entries")?;
                if entry.map_entry_key_field().kind() != Kind::String {
                    return Err(format!("{}: keys must be texts", field.full_name()).into());
                }
                ("Map", entry.map_entry_value_field())
            } else if field.is_list() {
                if !matches!(field.kind(), Kind::String | Kind::Message(_)) {
                    return Err(format!("{}: repeated numbers", field.full_name()).into());
                }
                ("Repeated", field.clone())
            } else {
                ("Single", field.clone())
            };
            if field.containing_oneof().is_none() && field.supports_presence() {
                let message = matches!(field.kind(), Kind::Message(_));
                if !message {
                    return Err(format!("{}: optional scalars", field.full_name()).into());
                }
            }
            writeln!(
                out,
                "        Field {{ number: {}, name: {:?}, json_name: {:?}, shape: Shape::{shape}, \
                 kind: {}, required: {}, in_oneof: {} }},",
                field.number(),
                field.name(),
                field.json_name(),
                self.kind(field, &value)?,
                self.is_required(field),
                field.containing_oneof().is_some(),
            )?;
            for name in [field.name(), field.json_name()] {
                names.insert(name.to_owned(), u8::try_from(index)?);
            }
        }
        writeln!(out, "    ],")?;
        let (multiplier, slots) = perfect_hash(&names)
            .ok_or_else(|| format!("{}: names that hash alike", message.full_name()))?;
        writeln!(out, "    multiplier: {multiplier},")?;
        writeln!(out, "    slots: &{slots:?},")?;
        writeln!(out, "}};")?;
        Ok(())
    }

    /// Returns what one value of a field is; the options are those of the field.
    fn kind(
        &self,
        field: &FieldDescriptor,
        value: &FieldDescriptor,
    ) -> Result<String, Box<dyn Error>> {
        Ok(match value.kind() {
            Kind::String => format!("Kind::Text(Text::{})", self.choice(field, &self.text)?),
            Kind::Int32 => format!("Kind::Int32(Number::{})", self.choice(field, &self.number)?),
            Kind::Int64 => format!("Kind::Int64(Number::{})", self.choice(field, &self.number)?),
            Kind::Bool => "Kind::Bool".to_owned(),
            Kind::Float => "Kind::Float".to_owned(),
            Kind::Double => "Kind::Double".to_owned(),
            Kind::Enum(descriptor) => format!("Kind::Enum(&{})", constant(descriptor.full_name())),
            Kind::Message(descriptor) => {
                format!("Kind::Message(&{})", constant(descriptor.full_name()))
            }
            other => return Err(format!("{}: {other:?}", field.full_name()).into()),
        })
    }

    /// Returns the name in Rust of what an option says: `AppId` for `TEXT_APP_ID`.
    fn choice(
        &self,
        field: &FieldDescriptor,
        option: &ExtensionDescriptor,
    ) -> Result<String, Box<dyn Error>> {
        let options = field.options();
        let value = options.get_extension(option);
        let kind = option.kind();
        let descriptor = kind.as_enum().ok_or("the option is not an enum")?;
        let value = value
            .as_enum_number()
            .and_then(|number| descriptor.get_value(number))
            .ok_or_else(|| format!("{}: unknown option", field.full_name()))?;
        let (_, name) = value.name().split_once('_').ok_or("an option without a prefix")?;
        Ok(name
            .split('_')
            .flat_map(|word| {
                let (first, rest) = word.split_at(1);
                [first.to_owned(), rest.to_lowercase()]
            })
            .collect())
    }

    fn is_required(&self, field: &FieldDescriptor) -> bool {
        field.options().get_extension(&self.required).as_bool() == Some(true)
    }

    /// Writes the two ways between `PayloadKind` and the envelope: a payload that only one side knows does not compile.
    fn write_payloads(&self, out: &mut String) -> Result<(), Box<dyn Error>> {
        let envelope = self.pool.get_message_by_name(ENVELOPE).ok_or("no envelope")?;
        let mut fields: Vec<_> = envelope.fields().collect();
        fields.sort_by_key(FieldDescriptor::number);
        let mut to_field = String::new();
        let mut of_number = String::new();
        let mut kinds = String::new();
        for (index, field) in fields.iter().enumerate() {
            if field.containing_oneof().is_none() {
                continue;
            }
            let kind = field.kind();
            let variant = kind.as_message().ok_or("a payload that is not a message")?.name();
            writeln!(to_field, "        PayloadKind::{variant} => &ENVELOPE.fields[{index}],")?;
            writeln!(of_number, "        {} => PayloadKind::{variant},", field.number())?;
            writeln!(kinds, "    PayloadKind::{variant},")?;
        }
        write!(
            out,
            "static ENVELOPE: &Message = &{};\n\n\
             /// Every payload, by its number.\n\
             pub(crate) const PAYLOADS: &[PayloadKind] = &[\n{kinds}];\n\n\
             /// Returns the field of the envelope that holds a payload.\n\
             pub(crate) fn payload_field(kind: PayloadKind) -> &'static Field {{\n    \
             match kind {{\n{to_field}    }}\n}}\n\n\
             /// Returns the payload that a field of the envelope holds.\n\
             pub(crate) const fn payload_kind(number: u32) -> Option<PayloadKind> {{\n    \
             Some(match number {{\n{of_number}        _ => return None,\n    }})\n}}\n",
            constant(ENVELOPE),
        )?;
        Ok(())
    }
}

/// Returns a multiplier by which no two names fall into the same slot, and the slots: positions of fields, or 255.
fn perfect_hash(names: &BTreeMap<String, u8>) -> Option<(u32, Vec<u8>)> {
    (0..200_000_u32).find_map(|attempt| {
        // Odd numbers, spread over all there are.
        let multiplier = attempt.wrapping_mul(0x9e37_79b9) | 1;
        let mut slots = vec![u8::MAX; (4 * names.len()).next_power_of_two()];
        for (name, index) in names {
            let at = slot(name, multiplier, slots.len());
            let slot = slots.get_mut(at)?;
            if *slot != u8::MAX {
                return None;
            }
            *slot = *index;
        }
        Some((multiplier, slots))
    })
}

include!("src/slot.rs");

/// Collects a message and what it contains, each once.
fn reach(
    message: MessageDescriptor,
    seen: &mut BTreeSet<String>,
    messages: &mut Vec<MessageDescriptor>,
    enums: &mut Vec<EnumDescriptor>,
) {
    if !seen.insert(message.full_name().to_owned()) {
        return;
    }
    for field in message.fields() {
        let kind = match field.kind() {
            Kind::Message(entry) if field.is_map() => entry.map_entry_value_field().kind(),
            kind => kind,
        };
        match kind {
            Kind::Message(inner) => reach(inner, seen, messages, enums),
            Kind::Enum(inner) if seen.insert(inner.full_name().to_owned()) => enums.push(inner),
            _ => {}
        }
    }
    messages.push(message);
}

fn write_enum(out: &mut String, descriptor: &EnumDescriptor) -> Result<(), std::fmt::Error> {
    writeln!(out, "/// `{}`.", descriptor.full_name())?;
    writeln!(out, "static {}: Enum = Enum {{", constant(descriptor.full_name()))?;
    writeln!(out, "    values: &[")?;
    for value in descriptor.values() {
        writeln!(out, "        ({:?}, {}),", value.name(), value.number())?;
    }
    writeln!(out, "    ],")?;
    writeln!(out, "}};")
}

/// Returns the name of a static: `EVENT_ENVELOPE` for `causality.v1.EventEnvelope`.
fn constant(full_name: &str) -> String {
    let name = full_name.rsplit('.').next().unwrap_or(full_name);
    let mut constant = String::new();
    for (index, character) in name.char_indices() {
        if character.is_ascii_uppercase() && index > 0 {
            constant.push('_');
        }
        constant.push(character.to_ascii_uppercase());
    }
    constant
}
