//! What other formats of events have in common when they become events of `causality.v1`.
//!
//! They are first written as JSON of the envelope, and read as that: one way in for all.

use std::collections::BTreeSet;

use axum::response::Response;
use events::{EventResult, Refused};
use schema::Violation;
use serde_json::{Map, Value, json};

use super::intake::IntakeFailure;
use crate::failure::{Failure, Kind};

/// How deep objects are flattened; what is deeper becomes text.
const DEPTH_MAX: usize = 8;

/// Most bytes of all names of an event together: that of an outer object is in each name of what is in it.
const NAMES_BYTES_MAX: usize = 1 << 20;

/// The parameters of a custom event, by kind.
#[derive(Debug, Default)]
pub(super) struct Parameters {
    names: BTreeSet<String>,
    names_bytes: usize,
    texts: Map<String, Value>,
    integers: Map<String, Value>,
    floats: Map<String, Value>,
    truths: Map<String, Value>,
}

impl Parameters {
    /// Adds all fields of an object.
    pub(super) fn extend(&mut self, fields: Map<String, Value>) -> Result<(), Refused> {
        fields.into_iter().try_for_each(|(name, value)| self.insert(name, value))
    }

    /// Adds a value by its kind: what is nested becomes `outer.inner`, lists become JSON, `null` is left out.
    pub(super) fn insert(&mut self, name: String, value: Value) -> Result<(), Refused> {
        self.insert_nested(name, value, 0)
    }

    /// Adds a text unless there is a parameter of this name.
    pub(super) fn default_text(&mut self, name: &str, text: &str) {
        if self.names.insert(name.to_owned()) {
            self.texts.insert(name.to_owned(), text.into());
        }
    }

    fn insert_nested(&mut self, name: String, value: Value, depth: usize) -> Result<(), Refused> {
        self.names_bytes = self.names_bytes.saturating_add(name.len());
        if self.names_bytes > NAMES_BYTES_MAX {
            let refused = "has names of more than 1 MiB, those of outer objects included";
            return Err(invalid("custom_event", refused));
        }
        let value = match value {
            Value::Null => return Ok(()),
            Value::Object(fields) if depth < DEPTH_MAX && !fields.is_empty() => {
                return fields.into_iter().try_for_each(|(inner, value)| {
                    self.insert_nested(format!("{name}.{inner}"), value, depth + 1)
                });
            }
            value => value,
        };
        if !self.names.insert(name.clone()) {
            return Err(invalid(&name, "is there twice"));
        }
        let kind = match &value {
            Value::Bool(_) => &mut self.truths,
            Value::Number(number) if number.is_i64() => &mut self.integers,
            Value::Number(_) => &mut self.floats,
            _ => &mut self.texts,
        };
        let value = match value {
            nested @ (Value::Object(_) | Value::Array(_)) => nested.to_string().into(),
            value => value,
        };
        kind.insert(name, value);
        Ok(())
    }

    /// Returns the custom event of this name.
    pub(super) fn custom_event(self, name: &str) -> Value {
        json!({
            "eventName": name,
            "stringParams": self.texts,
            "intParams": self.integers,
            "floatParams": self.floats,
            "boolParams": self.truths,
        })
    }

    /// Returns all parameters as texts.
    pub(super) fn into_texts(self) -> Map<String, Value> {
        let mut all = self.texts;
        let others = [self.integers, self.floats, self.truths].into_iter().flatten();
        all.extend(others.map(|(name, value)| (name, value.to_string().into())));
        all
    }
}

/// Returns the refusal of an event whose field has a wrong value.
pub(super) fn invalid(field: &str, description: &str) -> Refused {
    let (field, description) = (field.to_owned(), description.to_owned());
    Refused::Invalid(vec![Violation { field, description }])
}

/// Takes a text out of an object; empty ones count as none.
pub(super) fn take_text(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Option<String>, Refused> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(None),
        Some(Value::String(text)) => Ok(Some(text).filter(|text| !text.is_empty())),
        Some(_) => Err(invalid(name, "must be a text")),
    }
}

/// Takes an object out of an object.
pub(super) fn take_object(
    fields: &mut Map<String, Value>,
    name: &str,
) -> Result<Map<String, Value>, Refused> {
    match fields.remove(name) {
        None | Some(Value::Null) => Ok(Map::new()),
        Some(Value::Object(object)) => Ok(object),
        Some(_) => Err(invalid(name, "must be an object")),
    }
}

/// Reads an event of JSON.
pub(super) fn read_object(event: &[u8]) -> Result<Map<String, Value>, Refused> {
    match serde_json::from_slice(event) {
        Ok(Value::Object(fields)) => Ok(fields),
        Ok(_) => Err(Refused::Malformed { reason: "an event is a JSON object".to_owned() }),
        Err(error) => Err(Refused::Malformed { reason: format!("malformed event: {error}") }),
    }
}

/// Writes the envelope that `json` describes.
pub(super) fn write_envelope(json: &Value, envelope: &mut Vec<u8>) -> Result<(), Refused> {
    let malformed = |reason: String| Refused::Malformed { reason };
    let text = serde_json::to_vec(json).map_err(|error| malformed(error.to_string()))?;
    schema::envelope_from_json(&text, envelope).map_err(|error| malformed(error.to_string()))
}

/// Returns the answer to a request of which nothing was stored.
pub(super) fn refuse(failure: IntakeFailure) -> Response {
    match failure {
        IntakeFailure::Plain(failure) => failure.native(),
        IntakeFailure::Violations(violations) => {
            let told: Vec<_> = violations.iter().map(ToString::to_string).collect();
            Failure::bad_data(told.join("; ")).native()
        }
        IntakeFailure::Refused(sentence) => Failure::bad_data(sentence).native(),
    }
}

/// Returns why the only event of a request was not stored.
pub(super) fn refused_event(refused: &Refused) -> Failure {
    let kind = match refused {
        Refused::ForeignApp { .. } => Kind::AppForbidden,
        Refused::Conflict { .. } => Kind::Conflict,
        Refused::TooLarge { .. } => Kind::TooLarge,
        Refused::Malformed { .. }
        | Refused::Invalid(_)
        | Refused::Incomplete(_)
        | Refused::TooOld { .. }
        | Refused::TooNew { .. }
        | Refused::Schema(_) => Kind::BadData,
    };
    Failure::new(kind, refused.to_string())
}

/// Returns the first refusal when every event was refused.
pub(super) fn all_refused(results: &[EventResult]) -> Option<&Refused> {
    let mut refused = results.iter().map(|result| match result {
        EventResult::Rejected(refused) => Some(refused),
        EventResult::Accepted { .. } => None,
    });
    let first = refused.next().flatten();
    first.filter(|_| refused.all(|refused| refused.is_some()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(fields: Value, expected: Value) {
        let Value::Object(fields) = fields else { panic!("an object") };
        let mut parameters = Parameters::default();
        parameters.extend(fields).expect("no name twice");
        assert_eq!(parameters.custom_event("e"), expected);
    }

    #[test]
    fn values_are_told_apart_by_kind_and_nested_ones_flattened() {
        check(
            json!({
                "text": "a", "integer": -1, "large": 9_223_372_036_854_775_808_u64, "float": 1.5,
                "truth": false, "nothing": null, "list": [1, {"a": 2}], "empty": {},
                "outer": {"inner": {"deep": 1}, "text": "b"},
            }),
            json!({
                "eventName": "e",
                "stringParams": {"text": "a", "list": "[1,{\"a\":2}]", "empty": "{}", "outer.text": "b"},
                "intParams": {"integer": -1, "outer.inner.deep": 1},
                "floatParams": {"large": 9_223_372_036_854_775_808_u64, "float": 1.5},
                "boolParams": {"truth": false},
            }),
        );
    }

    #[test]
    fn a_name_that_is_there_twice_is_refused() {
        let mut parameters = Parameters::default();
        parameters.insert("a.b".to_owned(), json!(1)).expect("the first");
        let again = parameters.insert("a".to_owned(), json!({"b": "x"}));
        assert_eq!(again.expect_err("the second").to_string(), "a.b: is there twice");
    }

    #[test]
    fn a_long_name_of_an_outer_object_is_not_repeated_without_end() {
        let name = "n".repeat(NAMES_BYTES_MAX / 10 - 2);
        for value in [json!(1), Value::Null] {
            let inner: Map<String, Value> =
                (0..9).map(|n| (n.to_string(), value.clone())).collect();
            let mut parameters = Parameters::default();
            parameters.insert(name.clone(), json!(inner)).expect("as much as may be");
            let mut parameters = Parameters::default();
            let refused =
                parameters.insert(format!("{name}n"), json!(inner)).expect_err("too much");
            assert!(refused.to_string().starts_with("custom_event: has names of more than 1 MiB"));
        }
    }

    #[test]
    fn what_is_nested_too_deep_becomes_text() {
        let mut nested = json!("x");
        for _ in 0..DEPTH_MAX + 2 {
            nested = json!({ "n": nested });
        }
        let mut parameters = Parameters::default();
        parameters.insert("p".to_owned(), nested).expect("once");
        let (name, value) = parameters.texts.into_iter().next().expect("a text");
        assert_eq!((name.matches('.').count(), value), (DEPTH_MAX, json!(r#"{"n":{"n":"x"}}"#)));
    }
}
