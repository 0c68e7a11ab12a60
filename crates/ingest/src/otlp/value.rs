//! Attribute values as label values.

use std::fmt::Write as _;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;

use super::message::{AnyValue, KeyValue};

/// Returns `value` as OpenTelemetry writes it for systems that know only text: a text as it is, numbers in
/// decimal, bytes in base64, lists and maps in JSON, nothing for no value.
pub(super) fn to_text(value: &AnyValue) -> String {
    let mut text = String::new();
    if let Some(string) = &value.string_value {
        text.push_str(string);
    } else if let Some(bytes) = &value.bytes_value {
        STANDARD.encode_string(bytes, &mut text);
    } else if let Some(double) = value.double_value {
        push_double(&mut text, double);
    } else if !is_empty(value) {
        push_json(&mut text, value);
    }
    text
}

fn is_empty(value: &AnyValue) -> bool {
    *value == AnyValue::default()
}

/// Appends `value` as JSON. The decoders bound how deep it nests.
fn push_json(text: &mut String, value: &AnyValue) {
    if let Some(string) = &value.string_value {
        push_json_string(text, string);
    } else if let Some(boolean) = value.bool_value {
        text.push_str(if boolean { "true" } else { "false" });
    } else if let Some(integer) = value.int_value {
        push_display(text, integer);
    } else if let Some(double) = value.double_value {
        if double.is_finite() {
            push_double(text, double);
        } else {
            text.push_str("null");
        }
    } else if let Some(array) = &value.array_value {
        text.push('[');
        for (index, value) in array.values.iter().enumerate() {
            push_separator(text, index);
            push_json(text, value);
        }
        text.push(']');
    } else if let Some(list) = &value.kvlist_value {
        push_json_object(text, &list.values);
    } else if let Some(bytes) = &value.bytes_value {
        push_json_string(text, &STANDARD.encode(bytes));
    } else {
        text.push_str("null");
    }
}

fn push_json_object(text: &mut String, pairs: &[KeyValue]) {
    // Equal maps are to make equal labels.
    let mut pairs: Vec<&KeyValue> = pairs.iter().collect();
    pairs.sort_by(|a, b| a.key.cmp(&b.key));
    text.push('{');
    for (index, pair) in pairs.into_iter().enumerate() {
        push_separator(text, index);
        push_json_string(text, &pair.key);
        text.push(':');
        match &pair.value {
            Some(value) => push_json(text, value),
            None => text.push_str("null"),
        }
    }
    text.push('}');
}

fn push_separator(text: &mut String, index: usize) {
    if index > 0 {
        text.push(',');
    }
}

fn push_json_string(text: &mut String, string: &str) {
    push_display(text, serde_json::Value::from(string));
}

/// Appends the shortest decimal; with an exponent where JSON encoders usually have one.
fn push_double(text: &mut String, double: f64) {
    let magnitude = double.abs();
    if double.is_nan() {
        text.push_str("NaN");
    } else if double.is_infinite() {
        text.push_str(if double > 0.0 { "+Inf" } else { "-Inf" });
    } else if magnitude != 0.0 && !(1e-6..1e21).contains(&magnitude) {
        let scientific = format!("{double:e}");
        let positive = magnitude >= 1.0;
        text.push_str(&if positive { scientific.replace('e', "e+") } else { scientific });
    } else {
        push_display(text, double);
    }
}

fn push_display(text: &mut String, value: impl std::fmt::Display) {
    write!(text, "{value}").expect("a string takes everything");
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::otlp::message::{ArrayValue, KeyValueList};

    fn string(text: &str) -> AnyValue {
        AnyValue { string_value: Some(text.to_owned()), ..AnyValue::default() }
    }

    fn double(double_value: f64) -> AnyValue {
        AnyValue { double_value: Some(double_value), ..AnyValue::default() }
    }

    #[track_caller]
    fn check(value: AnyValue, expected: &str) {
        assert_eq!(to_text(&value), expected);
    }

    #[test]
    fn scalars_are_plain_text() {
        check(AnyValue::default(), "");
        check(string("a \"b\""), "a \"b\"");
        check(AnyValue { bool_value: Some(false), ..AnyValue::default() }, "false");
        check(
            AnyValue { int_value: Some(i64::MIN), ..AnyValue::default() },
            "-9223372036854775808",
        );
        check(AnyValue { bytes_value: Some(vec![0xff, 0xfe]), ..AnyValue::default() }, "//4=");
        check(double(1.0), "1");
        check(double(-0.25), "-0.25");
        check(double(1e21), "1e+21");
        check(double(1e-7), "1e-7");
        check(double(f64::NAN), "NaN");
    }

    #[test]
    fn lists_and_maps_are_json() {
        let array = AnyValue {
            array_value: Some(ArrayValue {
                values: vec![string("a\n"), double(1.5), AnyValue::default(), double(f64::NAN)],
            }),
            ..AnyValue::default()
        };
        check(array.clone(), r#"["a\n",1.5,null,null]"#);
        let pair = |key: &str, value| KeyValue { key: key.to_owned(), value };
        let bytes = AnyValue { bytes_value: Some(vec![1]), ..AnyValue::default() };
        let values = vec![pair("z", Some(array)), pair("a", None), pair("b", Some(bytes))];
        let map = AnyValue { kvlist_value: Some(KeyValueList { values }), ..AnyValue::default() };
        check(map, r#"{"a":null,"b":"AQ==","z":["a\n",1.5,null,null]}"#);
    }
}
