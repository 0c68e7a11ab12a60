//! Writes JSON as Prometheus spells it, straight into the bytes of the answer.

use std::io::Write as _;

use model::{Labels, SampleColumns};

/// JSON in the making. The caller sees to brackets and commas.
#[derive(Debug, Default)]
pub(crate) struct Json(Vec<u8>);

impl Json {
    pub(crate) fn new() -> Self {
        Self::default()
    }

    pub(crate) fn into_bytes(self) -> Vec<u8> {
        self.0
    }

    /// Returns whether nothing is written yet.
    pub(crate) const fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Writes what is JSON already.
    pub(crate) fn raw(&mut self, text: &str) {
        self.0.extend_from_slice(text.as_bytes());
    }

    /// Writes what was written elsewhere.
    pub(crate) fn append(&mut self, other: Self) {
        if self.0.is_empty() {
            self.0 = other.0;
        } else {
            self.0.extend_from_slice(&other.0);
        }
    }

    /// Writes `items` between `open` and `close` with commas.
    pub(crate) fn list<T>(
        &mut self,
        brackets: [&str; 2],
        items: impl IntoIterator<Item = T>,
        mut write: impl FnMut(&mut Self, T),
    ) {
        let [open, close] = brackets;
        self.raw(open);
        for (index, item) in items.into_iter().enumerate() {
            if index > 0 {
                self.raw(",");
            }
            write(self, item);
        }
        self.raw(close);
    }

    /// Writes an array of strings.
    pub(crate) fn strings<'a>(&mut self, items: impl IntoIterator<Item = &'a str>) {
        self.list(["[", "]"], items, Self::string);
    }

    /// Writes a string with its quotes.
    pub(crate) fn string(&mut self, text: &str) {
        self.0.push(b'"');
        let bytes = text.as_bytes();
        let mut written = 0;
        for (index, byte) in bytes.iter().enumerate() {
            if *byte >= 0x20 && *byte != b'"' && *byte != b'\\' {
                continue;
            }
            self.0.extend_from_slice(&bytes[written..index]);
            written = index + 1;
            match byte {
                b'"' => self.raw("\\\""),
                b'\\' => self.raw("\\\\"),
                b'\n' => self.raw("\\n"),
                b'\r' => self.raw("\\r"),
                b'\t' => self.raw("\\t"),
                other => self.display(format_args!("\\u{other:04x}")),
            }
        }
        self.0.extend_from_slice(&bytes[written..]);
        self.0.push(b'"');
    }

    /// Writes what has a plain spelling: whole numbers, truth values.
    pub(crate) fn display(&mut self, value: impl std::fmt::Display) {
        write!(self.0, "{value}").expect("memory takes every write");
    }

    /// Writes a number as text, as Prometheus does: `"1.5"`, `"NaN"`, `"+Inf"`.
    pub(crate) fn quoted_float(&mut self, value: f64) {
        self.0.push(b'"');
        if value.is_finite() {
            self.finite(value, 2);
        } else if value.is_nan() {
            self.raw("NaN");
        } else {
            self.raw(if value > 0.0 { "+Inf" } else { "-Inf" });
        }
        self.0.push(b'"');
    }

    /// Writes a number; what JSON has no number for becomes null.
    pub(crate) fn float(&mut self, value: f64) {
        if value.is_finite() { self.finite(value, 1) } else { self.raw("null") }
    }

    /// The shortest form that reads back as the same number, with an exponent where Go uses one. Go gives exponents two
    /// digits in text, and one in JSON numbers.
    fn finite(&mut self, value: f64, exponent_digits: usize) {
        let size = value.abs();
        if size == 0.0 || (1e-6..1e21).contains(&size) {
            self.display(value);
            return;
        }
        let text = format!("{value:e}");
        let (number, exponent) = text.split_once('e').unwrap_or((&text, "0"));
        let (sign, digits) = exponent.strip_prefix('-').map_or(("+", exponent), |rest| ("-", rest));
        self.display(format_args!("{number}e{sign}{digits:0>exponent_digits$}"));
    }

    /// Writes milliseconds as seconds: `1435781451.781`, and three digits after the point or none.
    pub(crate) fn seconds(&mut self, millis: i64) {
        if millis < 0 {
            self.raw("-");
        }
        let millis = millis.unsigned_abs();
        self.display(millis / 1000);
        if !millis.is_multiple_of(1000) {
            self.display(format_args!(".{:03}", millis % 1000));
        }
    }

    /// Writes a set of labels as an object.
    pub(crate) fn labels(&mut self, labels: &Labels) {
        self.list(["{", "}"], labels.iter(), |json, (name, value)| {
            json.string(name);
            json.raw(":");
            json.string(value);
        });
    }

    /// Writes `[seconds,"value"]`.
    pub(crate) fn sample(&mut self, millis: i64, value: f64) {
        self.raw("[");
        self.seconds(millis);
        self.raw(",");
        self.quoted_float(value);
        self.raw("]");
    }

    /// Writes an array of samples.
    pub(crate) fn samples(&mut self, points: &SampleColumns) {
        self.list(["[", "]"], points.iter(), |json, sample| {
            json.sample(sample.timestamp.as_millis(), sample.value);
        });
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn written(write: impl FnOnce(&mut Json)) -> String {
        let mut json = Json::new();
        write(&mut json);
        String::from_utf8(json.into_bytes()).expect("UTF-8")
    }

    #[test]
    fn numbers_are_spelt_as_go_spells_them() {
        for (value, expected) in [
            (0.0, "0"),
            (-0.0, "-0"),
            (1.0, "1"),
            (0.1 + 0.2, "0.30000000000000004"),
            (1e-6, "0.000001"),
            (9.9e-7, "9.9e-07"),
            (-1e-10, "-1e-10"),
            (1e20, "100000000000000000000"),
            (1e21, "1e+21"),
            (-1.5e300, "-1.5e+300"),
            (f64::MIN_POSITIVE, "2.2250738585072014e-308"),
            (f64::NAN, "NaN"),
            (f64::INFINITY, "+Inf"),
            (f64::NEG_INFINITY, "-Inf"),
        ] {
            assert_eq!(written(|json| json.quoted_float(value)), format!("\"{expected}\""));
        }
        for (value, expected) in [(f64::NAN, "null"), (9.9e-7, "9.9e-7"), (1e21, "1e+21")] {
            assert_eq!(written(|json| json.float(value)), expected);
        }
    }

    #[test]
    fn times_are_seconds_with_three_digits_or_none() {
        for (millis, expected) in [
            (1_435_781_451_781, "1435781451.781"),
            (1_435_781_451_780, "1435781451.780"),
            (5, "0.005"),
            (2_000, "2"),
            (-1_500, "-1.500"),
            (i64::MIN, "-9223372036854775.808"),
        ] {
            assert_eq!(written(|json| json.seconds(millis)), expected);
        }
    }

    proptest::proptest! {
        #[test]
        fn every_string_reads_back(text in "\\PC*|[\\x00-\\x7f]*") {
            let json = written(|json| json.string(&text));
            let back: String = serde_json::from_str(&json).expect("JSON");
            proptest::prop_assert_eq!(back, text);
        }

        #[test]
        fn every_number_reads_back(bits in proptest::num::u64::ANY) {
            let value = f64::from_bits(bits);
            if value.is_finite() {
                let json = written(|json| json.float(value));
                let back: f64 = json.parse().expect("a number");
                proptest::prop_assert_eq!(back.to_bits(), bits);
            }
        }
    }
}
