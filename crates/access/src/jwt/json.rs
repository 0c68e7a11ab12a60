//! JSON objects in which every member has one meaning.

use std::fmt;

use serde::de::{Deserialize, Deserializer, Error as _, MapAccess, SeqAccess, Visitor};
use serde_json::{Map, Value};

/// Parses an object and refuses one in which a member appears twice, at any depth.
///
/// Readers disagree on which of two members counts, so that a signed text could mean one thing to its signer and
/// another to us; [RFC 7515, section 4](https://www.rfc-editor.org/rfc/rfc7515#section-4) allows to refuse it.
/// Nesting is bounded by `serde_json`.
pub(crate) fn parse_object(bytes: &[u8]) -> Result<Map<String, Value>, String> {
    match serde_json::from_slice::<Strict>(bytes) {
        Ok(Strict(Value::Object(object))) => Ok(object),
        Ok(_) => Err("it is no JSON object".to_owned()),
        Err(error) => Err(format!("it is no valid JSON: {error}")),
    }
}

struct Strict(Value);

impl<'de> Deserialize<'de> for Strict {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(StrictVisitor).map(Self)
    }
}

struct StrictVisitor;

impl<'de> Visitor<'de> for StrictVisitor {
    type Value = Value;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a JSON value")
    }

    fn visit_unit<E>(self) -> Result<Value, E> {
        Ok(Value::Null)
    }

    fn visit_bool<E>(self, value: bool) -> Result<Value, E> {
        Ok(Value::Bool(value))
    }

    fn visit_u64<E>(self, value: u64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_i64<E>(self, value: i64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_f64<E>(self, value: f64) -> Result<Value, E> {
        Ok(value.into())
    }

    fn visit_str<E>(self, value: &str) -> Result<Value, E> {
        Ok(Value::String(value.to_owned()))
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut items: A) -> Result<Value, A::Error> {
        let mut list = Vec::new();
        while let Some(Strict(item)) = items.next_element()? {
            list.push(item);
        }
        Ok(Value::Array(list))
    }

    fn visit_map<A: MapAccess<'de>>(self, mut members: A) -> Result<Value, A::Error> {
        let mut object = Map::new();
        while let Some((name, Strict(value))) = members.next_entry::<String, Strict>()? {
            if object.contains_key(&name) {
                return Err(A::Error::custom("a member appears twice"));
            }
            object.insert(name, value);
        }
        Ok(Value::Object(object))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn objects_are_read_as_they_are_and_ambiguous_ones_refused() {
        let deep = format!("{}{}", r#"{"a":["#.repeat(200), "]}".repeat(200));
        for (text, expected) in [
            (r#"{"a":[1,-2,0.5,null,true,{"b":"c"}]}"#, Ok(())),
            ("{}", Ok(())),
            (r#"{"a":1,"a":1}"#, Err("a member appears twice")),
            (r#"{"a":1,"\u0061":2}"#, Err("a member appears twice")),
            (r#"{"x":[{"a":1,"a":2}]}"#, Err("a member appears twice")),
            ("[]", Err("it is no JSON object")),
            ("", Err("it is no valid JSON")),
            ("{} {}", Err("it is no valid JSON")),
            (r#"{"a":1e999}"#, Err("it is no valid JSON")),
            ("{\"a\":\"\u{0}\"}", Err("it is no valid JSON")),
            (deep.as_str(), Err("recursion limit")),
        ] {
            match (parse_object(text.as_bytes()), expected) {
                (Ok(object), Ok(())) => {
                    let plain: Value = serde_json::from_str(text).expect("valid JSON");
                    assert_eq!(Value::Object(object), plain, "{text}");
                }
                (Err(found), Err(part)) => assert!(found.contains(part), "{text}: {found}"),
                (found, _) => panic!("{text}: {found:?}"),
            }
        }
        parse_object(&[b'{', b'"', 0xff, b'"', b':', b'1', b'}']).expect_err("no UTF-8");
    }
}
