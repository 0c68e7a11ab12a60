//! One schema, ready to be used.

use jsonschema::{PatternOptions, Validator};
use schema::Violation;
use serde_json::{Map, Value};

use super::SCHEMA_BYTES_MAX;

/// The only draft that is understood.
const DRAFT: &str = "https://json-schema.org/draft/2020-12/schema";
/// How deep a schema may be nested, references followed.
const DEPTH_MAX: usize = 32;
/// How many objects, lists and values a schema may have, references followed each time: what checking an event may
/// take.
const NODES_MAX: usize = 10_000;
/// As how many a part counts that is looked at for each parameter of an event, of which there can be thousands.
const NODES_PER_PARAMETER: usize = 50;
/// What is looked at for each parameter.
const PER_PARAMETER: [&str; 4] =
    ["additionalProperties", "patternProperties", "propertyNames", "unevaluatedProperties"];
/// Most regular expressions in a schema, and most memory of each, in bytes.
const PATTERNS_MAX: usize = 32;
const PATTERN_BYTES_MAX: usize = 64 << 10;
/// Most violations that are told of one event.
const VIOLATIONS_MAX: usize = 16;
/// Longest name of a parameter and longest description that a violation tells, in bytes: a schema may list long texts.
const NAME_BYTES_MAX: usize = 256;
const DESCRIPTION_BYTES_MAX: usize = 512;
/// The parameters of a custom event, by kind.
const PARAMETERS: [&str; 4] = ["string_params", "int_params", "float_params", "bool_params"];
/// Where violations are.
const FIELD: &str = "custom_event";

/// Why a text is no schema that can be kept.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum SchemaTextError {
    /// It is too long.
    #[error("is longer than {SCHEMA_BYTES_MAX} bytes")]
    TooLong,
    /// It is no JSON object.
    #[error("must be a JSON object: {reason}")]
    NotObject {
        /// What is wrong.
        reason: String,
    },
    /// It uses something that is not supported.
    #[error(
        "must not use '{keyword}' here; it is draft 2020-12, with references within itself by '#/...'"
    )]
    Keyword {
        /// What it uses.
        keyword: String,
    },
    /// A reference leads nowhere.
    #[error("refers to '{reference}', which is not in it")]
    Reference {
        /// The reference.
        reference: String,
    },
    /// Checking an event against it could take long.
    #[error(
        "is too large: at most {NODES_MAX} parts with those referred to, {DEPTH_MAX} levels and {PATTERNS_MAX} patterns; \
         a part for all parameters, as in additionalProperties, counts as {NODES_PER_PARAMETER}"
    )]
    TooComplex,
    /// It is no valid schema.
    #[error("is not valid: {reason}")]
    Invalid {
        /// What is wrong.
        reason: String,
    },
}

/// A compiled schema.
#[derive(Debug)]
pub(super) struct Compiled(Validator);

impl Compiled {
    /// Compiles a schema. It refers to nothing outside of itself, and its regular expressions take linear time.
    pub(super) fn new(text: &str) -> Result<Self, SchemaTextError> {
        if text.len() > SCHEMA_BYTES_MAX {
            return Err(SchemaTextError::TooLong);
        }
        let schema: Value = serde_json::from_str(text)
            .map_err(|error| SchemaTextError::NotObject { reason: error.to_string() })?;
        if !schema.is_object() {
            return Err(SchemaTextError::NotObject { reason: "it is another value".to_owned() });
        }
        Survey { root: &schema, nodes: 0, weight: 1, patterns: 0 }.visit(&schema, 0)?;
        let patterns = PatternOptions::regex().size_limit(PATTERN_BYTES_MAX);
        let options = jsonschema::draft202012::options().with_pattern_options(patterns).offline();
        let validator = options.build(&schema).map_err(|error| {
            let at = error.instance_path().to_string();
            SchemaTextError::Invalid { reason: format!("{error} at '{at}'") }
        })?;
        Ok(Self(validator))
    }

    /// Returns where a binary `causality.v1.CustomEvent` does not fit. What was sent is not in the descriptions.
    pub(super) fn check(&self, payload: &[u8]) -> Vec<Violation> {
        match parameters(payload) {
            Ok(parameters) => {
                let errors = self.0.iter_errors(&parameters).take(VIOLATIONS_MAX);
                let violation = |error: jsonschema::ValidationError<'_>| {
                    let path = error.instance_path().to_string().replace('/', ".");
                    Violation {
                        field: format!("{FIELD}{}", cut(path, NAME_BYTES_MAX)),
                        description: cut(error.masked().to_string(), DESCRIPTION_BYTES_MAX),
                    }
                };
                errors.map(violation).collect()
            }
            Err(violation) => vec![violation],
        }
    }
}

/// Returns all parameters of a custom event as one object.
fn parameters(payload: &[u8]) -> Result<Value, Violation> {
    let violation =
        |field: String, description: &str| Violation { field, description: description.to_owned() };
    let json = schema::payload_to_json(schema::PayloadKind::CustomEvent, payload);
    let event = json.ok().and_then(|json| serde_json::from_str::<Value>(&json).ok());
    let Some(Value::Object(mut event)) = event else {
        return Err(violation(FIELD.to_owned(), "cannot be read as a custom event"));
    };
    let mut parameters = Map::new();
    for kind in PARAMETERS {
        let Some(Value::Object(of_kind)) = event.remove(kind) else { continue };
        for (name, value) in of_kind {
            let field = format!("{FIELD}.{name}");
            if parameters.insert(name, value).is_some() {
                return Err(violation(field, "is there with values of two types"));
            }
        }
    }
    Ok(Value::Object(parameters))
}

/// Returns a text without what is beyond so many bytes.
fn cut(mut text: String, bytes_max: usize) -> String {
    if text.len() > bytes_max {
        text.truncate(text.floor_char_boundary(bytes_max));
        text.push('\u{2026}');
    }
    text
}

/// Looks at a schema before it is compiled.
struct Survey<'a> {
    root: &'a Value,
    nodes: usize,
    /// As how many a part counts at present.
    weight: usize,
    patterns: usize,
}

impl<'a> Survey<'a> {
    /// Visits a part with everything below and everything that it refers to. What refers to itself is too deep.
    fn visit(&mut self, part: &'a Value, depth: usize) -> Result<(), SchemaTextError> {
        self.nodes += self.weight;
        if depth > DEPTH_MAX || self.nodes > NODES_MAX {
            return Err(SchemaTextError::TooComplex);
        }
        match part {
            Value::Array(parts) => parts.iter().try_for_each(|part| self.visit(part, depth + 1)),
            Value::Object(fields) => {
                for (keyword, value) in fields {
                    self.keyword(keyword, value, depth)?;
                    let outer = self.weight;
                    if PER_PARAMETER.contains(&keyword.as_str()) {
                        self.weight = NODES_PER_PARAMETER;
                    }
                    self.visit(value, depth + 1)?;
                    self.weight = outer;
                }
                Ok(())
            }
            _ => Ok(()),
        }
    }

    fn keyword(
        &mut self,
        keyword: &str,
        value: &'a Value,
        depth: usize,
    ) -> Result<(), SchemaTextError> {
        match (keyword, value) {
            ("pattern", Value::String(_)) => self.patterns += 1,
            ("patternProperties", Value::Object(patterns)) => self.patterns += patterns.len(),
            // A list of permitted values may hold anything; a name of a property is an object here.
            ("$schema", Value::String(draft)) if draft.trim_end_matches('#') == DRAFT => {}
            ("$id", Value::String(_)) if depth == 0 => {}
            ("$ref", Value::String(reference)) => return self.refer(reference, depth),
            (
                "$id" | "$schema" | "$anchor" | "$dynamicAnchor" | "$dynamicRef" | "$recursiveRef"
                | "$recursiveAnchor",
                Value::String(_) | Value::Bool(_),
            )
            | ("$vocabulary", Value::Object(_)) => {
                return Err(SchemaTextError::Keyword { keyword: keyword.to_owned() });
            }
            _ => {}
        }
        if self.patterns > PATTERNS_MAX { Err(SchemaTextError::TooComplex) } else { Ok(()) }
    }

    fn refer(&mut self, reference: &str, depth: usize) -> Result<(), SchemaTextError> {
        let Some(pointer) = reference.strip_prefix('#') else {
            return Err(SchemaTextError::Keyword { keyword: format!("$ref: {reference}") });
        };
        let target = self.root.pointer(pointer).filter(|_| !pointer.contains('%'));
        let Some(target) = target else {
            return Err(SchemaTextError::Reference { reference: reference.to_owned() });
        };
        self.visit(target, depth + 1)
    }
}
