//! Names as Prometheus' OTLP endpoint makes them by default: underscores for what is not allowed, and suffixes.
//!
//! The rules are those of the OpenTelemetry specification on Prometheus compatibility, and of Prometheus where it
//! says more.

use std::borrow::Cow;

/// What decides about the suffix of a metric's name.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Kind {
    /// A sum that only grows.
    Counter,
    /// A gauge.
    Gauge,
    /// Anything else.
    Other,
}

/// Units with a name of their own; the others stand for themselves.
const UNITS: &[(&str, &str)] = &[
    ("d", "days"),
    ("h", "hours"),
    ("min", "minutes"),
    ("s", "seconds"),
    ("ms", "milliseconds"),
    ("us", "microseconds"),
    ("ns", "nanoseconds"),
    ("By", "bytes"),
    ("KiBy", "kibibytes"),
    ("MiBy", "mebibytes"),
    ("GiBy", "gibibytes"),
    ("TiBy", "tebibytes"),
    ("kBy", "kilobytes"),
    ("KBy", "kilobytes"),
    ("MBy", "megabytes"),
    ("GBy", "gigabytes"),
    ("TBy", "terabytes"),
    ("m", "meters"),
    ("V", "volts"),
    ("A", "amperes"),
    ("J", "joules"),
    ("W", "watts"),
    ("g", "grams"),
    ("Cel", "celsius"),
    ("Hz", "hertz"),
    ("1", ""),
    ("%", "percent"),
];

/// Units behind a slash.
const PER_UNITS: &[(&str, &str)] = &[
    ("s", "second"),
    ("m", "minute"),
    ("h", "hour"),
    ("d", "day"),
    ("w", "week"),
    ("mo", "month"),
    ("y", "year"),
];

/// Returns the name of a metric; empty when nothing of it is left.
pub(super) fn metric_name(name: &str, unit: &str, kind: Kind) -> String {
    let (main, per) = unit_words(unit);
    let mut words: Vec<&str> = name.split(|letter: char| !is_metric_letter(letter)).collect();
    words.retain(|word| !word.is_empty());
    let present = |words: &[&str], word: &str| word.is_empty() || words.contains(&word);
    let (add_main, add_per) = (!present(&words, &main), !present(&words, &per));
    if add_main {
        words.push(&main);
    }
    if add_per {
        words.push(&per);
    }
    let suffix = match kind {
        Kind::Counter => Some("total"),
        Kind::Gauge if unit == "1" => Some("ratio"),
        Kind::Gauge | Kind::Other => None,
    };
    if let Some(suffix) = suffix {
        words.retain(|word| *word != suffix);
        words.push(suffix);
    }
    let name = words.join("_");
    if name.starts_with(|first: char| first.is_ascii_digit()) { format!("_{name}") } else { name }
}

/// Returns the unit as it is spelt in names: `bytes_per_second`.
pub(super) fn unit_name(unit: &str) -> String {
    let (main, per) = unit_words(unit);
    let separator = if main.is_empty() || per.is_empty() { "" } else { "_" };
    format!("{main}{separator}{per}")
}

/// Returns the name of the label of an attribute; empty when the attribute has no name.
pub(super) fn label_name(key: &str) -> Cow<'_, str> {
    let allowed = |letter: char| letter.is_ascii_alphanumeric() || letter == '_';
    let name: Cow<'_, str> = if key.chars().all(allowed) {
        key.into()
    } else {
        key.chars().map(|letter| if allowed(letter) { letter } else { '_' }).collect()
    };
    if name.starts_with(|first: char| first.is_ascii_digit()) {
        return format!("key_{name}").into();
    }
    if name.starts_with('_') && !name.starts_with("__") {
        return format!("key{name}").into();
    }
    name
}

/// Returns the words for what is before and behind the slash; units in braces are remarks.
fn unit_words(unit: &str) -> (String, String) {
    let (main, per) = unit.split_once('/').unwrap_or((unit, ""));
    let word = |unit: &str, known: &[(&'static str, &'static str)]| {
        let unit = unit.trim();
        if unit.contains(['{', '}']) {
            return String::new();
        }
        let named = known.iter().find(|(short, _)| *short == unit).map(|(_, long)| *long);
        unit_letters(named.unwrap_or(unit))
    };
    let per = word(per, PER_UNITS);
    let per = if per.is_empty() { per } else { format!("per_{per}") };
    (word(main, UNITS), per)
}

/// Joins the runs of allowed letters by single underscores.
fn unit_letters(unit: &str) -> String {
    let words: Vec<&str> = unit
        .split(|letter: char| !is_metric_letter(letter))
        .filter(|word| !word.is_empty())
        .collect();
    words.join("_")
}

const fn is_metric_letter(letter: char) -> bool {
    letter.is_ascii_alphanumeric() || letter == ':'
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn metric_names_get_units_and_suffixes() {
        use Kind::{Counter, Gauge, Other};
        for (name, unit, kind, expected) in [
            ("http.server.request.duration", "s", Other, "http_server_request_duration_seconds"),
            ("requests", "", Counter, "requests_total"),
            ("requests_total", "", Counter, "requests_total"),
            ("total.requests", "", Counter, "requests_total"),
            ("items", "1", Counter, "items_total"),
            ("cpu.usage", "1", Gauge, "cpu_usage_ratio"),
            ("cpu_usage_ratio", "1", Gauge, "cpu_usage_ratio"),
            ("active", "1", Other, "active"),
            ("active", "{connection}", Other, "active"),
            ("memory.usage", "By", Gauge, "memory_usage_bytes"),
            ("memory_bytes", "By", Gauge, "memory_bytes"),
            ("system.network.io", "By/s", Gauge, "system_network_io_bytes_per_second"),
            ("requests", "1/s", Counter, "requests_per_second_total"),
            ("speed", "m/s", Gauge, "speed_meters_per_second"),
            ("x", "By/{packet}", Gauge, "x_bytes"),
            ("x", "{packet}/s", Gauge, "x_per_second"),
            (
                "custom_metric",
                "unit@with#special/chars",
                Gauge,
                "custom_metric_unit_with_special_per_chars",
            ),
            ("metric__with__multiple", "unit__twice", Gauge, "metric_with_multiple_unit_twice"),
            ("123metric", "", Gauge, "_123metric"),
            ("a:b", "%", Gauge, "a:b_percent"),
            ("température", "Cel", Gauge, "temp_rature_celsius"),
            ("@#$%", "", Gauge, ""),
        ] {
            assert_eq!(metric_name(name, unit, kind), expected, "{name} {unit}");
        }
    }

    #[test]
    fn units_have_names() {
        for (unit, expected) in [
            ("s", "seconds"),
            ("By/s", "bytes_per_second"),
            ("1", ""),
            ("{x}", ""),
            ("1/s", "per_second"),
        ] {
            assert_eq!(unit_name(unit), expected, "{unit}");
        }
    }

    #[test]
    fn label_names_keep_what_is_allowed() {
        for (key, expected) in [
            ("http.request.method", "http_request_method"),
            ("method", "method"),
            ("a..b", "a__b"),
            ("1st", "key_1st"),
            (".hidden", "key_hidden"),
            ("__name__", "__name__"),
            ("é", "key_"),
            ("", ""),
        ] {
            assert_eq!(label_name(key), expected, "{key}");
        }
    }
}
