//! The values of the protobuf JSON mapping that `serde` does not read by itself.
//!
//! 64-bit integers are strings or numbers, floating-point numbers may be `"NaN"`, `"Infinity"` and `"-Infinity"`,
//! enums are names or numbers, bytes are base64 in either alphabet, and `null` means that the field is not set.

use std::fmt;

use base64::Engine as _;
use base64::alphabet;
use base64::engine::{DecodePaddingMode, GeneralPurpose, GeneralPurposeConfig};
use serde::de::{Deserialize, Deserializer, Error, Visitor};

use super::message::{CUMULATIVE, DELTA};

/// Decodes with or without padding.
const LENIENT: GeneralPurposeConfig =
    GeneralPurposeConfig::new().with_decode_padding_mode(DecodePaddingMode::Indifferent);
const STANDARD: GeneralPurpose = GeneralPurpose::new(&alphabet::STANDARD, LENIENT);
const URL_SAFE: GeneralPurpose = GeneralPurpose::new(&alphabet::URL_SAFE, LENIENT);

/// Beyond what any 64-bit integer can be.
const INTEGER_MAX: f64 = 1e20;

/// Reads a value; `null` is the default.
pub(super) fn nullable<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: Deserialize<'de> + Default,
{
    Option::deserialize(deserializer).map(Option::unwrap_or_default)
}

/// Reads an integer.
pub(super) fn integer<'de, D, T>(deserializer: D) -> Result<T, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128> + Default,
{
    optional_integer(deserializer).map(Option::unwrap_or_default)
}

/// Reads an integer that may be absent.
pub(super) fn optional_integer<'de, D, T>(deserializer: D) -> Result<Option<T>, D::Error>
where
    D: Deserializer<'de>,
    T: TryFrom<i128>,
{
    Option::<Integer>::deserialize(deserializer)?.map(narrow).transpose()
}

/// Reads integers.
pub(super) fn integers<'de, D>(deserializer: D) -> Result<Vec<u64>, D::Error>
where
    D: Deserializer<'de>,
{
    let integers: Vec<Integer> = nullable(deserializer)?;
    integers.into_iter().map(narrow).collect()
}

/// Reads a floating-point number.
pub(super) fn double<'de, D>(deserializer: D) -> Result<f64, D::Error>
where
    D: Deserializer<'de>,
{
    optional_double(deserializer).map(Option::unwrap_or_default)
}

/// Reads a floating-point number that may be absent.
pub(super) fn optional_double<'de, D>(deserializer: D) -> Result<Option<f64>, D::Error>
where
    D: Deserializer<'de>,
{
    Ok(Option::<Double>::deserialize(deserializer)?.map(|double| double.0))
}

/// Reads floating-point numbers.
pub(super) fn doubles<'de, D>(deserializer: D) -> Result<Vec<f64>, D::Error>
where
    D: Deserializer<'de>,
{
    let doubles: Vec<Double> = nullable(deserializer)?;
    Ok(doubles.into_iter().map(|double| double.0).collect())
}

/// Reads an `AggregationTemporality`; an unknown one is 0, which is not specified.
pub(super) fn temporality<'de, D>(deserializer: D) -> Result<i32, D::Error>
where
    D: Deserializer<'de>,
{
    #[derive(serde::Deserialize)]
    #[serde(untagged)]
    enum Enum {
        Number(i32),
        Name(String),
    }
    Ok(match Option::<Enum>::deserialize(deserializer)? {
        Some(Enum::Number(number)) => number,
        Some(Enum::Name(name)) if name == "AGGREGATION_TEMPORALITY_CUMULATIVE" => CUMULATIVE,
        Some(Enum::Name(name)) if name == "AGGREGATION_TEMPORALITY_DELTA" => DELTA,
        Some(Enum::Name(_)) | None => 0,
    })
}

/// Reads bytes that may be absent.
pub(super) fn optional_bytes<'de, D>(deserializer: D) -> Result<Option<Vec<u8>>, D::Error>
where
    D: Deserializer<'de>,
{
    let Some(text) = Option::<String>::deserialize(deserializer)? else {
        return Ok(None);
    };
    let engine = if text.contains(['-', '_']) { URL_SAFE } else { STANDARD };
    engine.decode(text).map(Some).map_err(|_| D::Error::custom("bytes are not base64"))
}

fn narrow<T: TryFrom<i128>, E: Error>(integer: Integer) -> Result<T, E> {
    T::try_from(integer.0).map_err(|_| E::custom("integer out of range"))
}

struct Integer(i128);

impl<'de> Deserialize<'de> for Integer {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(IntegerVisitor)
    }
}

struct IntegerVisitor;

impl Visitor<'_> for IntegerVisitor {
    type Value = Integer;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an integer, or a string that holds one")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Integer, E> {
        Ok(Integer(value.into()))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Integer, E> {
        Ok(Integer(value.into()))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Integer, E> {
        if value.fract() != 0.0 || value.abs() > INTEGER_MAX {
            return Err(E::custom("number is not an integer"));
        }
        #[expect(clippy::cast_possible_truncation, reason = "whole, and in range")]
        Ok(Integer(value as i128))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Integer, E> {
        if let Ok(value) = text.parse() {
            return Ok(Integer(value));
        }
        match text.parse() {
            Ok(value) => self.visit_f64(value),
            Err(_) => Err(E::custom("string does not hold an integer")),
        }
    }
}

struct Double(f64);

impl<'de> Deserialize<'de> for Double {
    fn deserialize<D: Deserializer<'de>>(deserializer: D) -> Result<Self, D::Error> {
        deserializer.deserialize_any(DoubleVisitor)
    }
}

struct DoubleVisitor;

impl Visitor<'_> for DoubleVisitor {
    type Value = Double;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a number, or a string that holds one")
    }

    fn visit_u64<E: Error>(self, value: u64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_i64<E: Error>(self, value: i64) -> Result<Double, E> {
        Ok(Double(value as f64))
    }

    fn visit_f64<E: Error>(self, value: f64) -> Result<Double, E> {
        Ok(Double(value))
    }

    fn visit_str<E: Error>(self, text: &str) -> Result<Double, E> {
        match text {
            "NaN" => Ok(Double(f64::NAN)),
            "Infinity" => Ok(Double(f64::INFINITY)),
            "-Infinity" => Ok(Double(f64::NEG_INFINITY)),
            _ => match text.parse::<f64>() {
                Ok(value) if value.is_finite() => Ok(Double(value)),
                _ => Err(E::custom("string does not hold a number")),
            },
        }
    }
}
