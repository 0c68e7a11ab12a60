//! What is sent: the series of one node_exporter, times many instances, with values that move as real ones do.

use anyhow::{Context as _, bail};

/// The series that one instance exposes.
#[derive(Debug)]
pub(crate) struct Exposition {
    series: Vec<Template>,
}

/// A series without the labels of its instance.
#[derive(Debug)]
struct Template {
    name: String,
    labels: Vec<(String, String)>,
    is_counter: bool,
    value: f64,
}

impl Exposition {
    /// Reads the text format as far as node_exporter uses it.
    pub(crate) fn parse(text: &str) -> anyhow::Result<Self> {
        let mut types = std::collections::HashMap::new();
        let mut series = Vec::new();
        for line in text.lines() {
            if let Some(rest) = line.strip_prefix("# TYPE ") {
                let (name, kind) = rest.split_once(' ').context("a type")?;
                types.insert(name.to_owned(), kind.to_owned());
            }
            if line.starts_with('#') || line.trim().is_empty() {
                continue;
            }
            let (identity, value) = line.rsplit_once(' ').context("a value")?;
            let (name, labels) = match identity.split_once('{') {
                Some((name, labels)) => (name, parse_labels(labels)?),
                None => (identity, Vec::new()),
            };
            let family = ["_bucket", "_count", "_sum"]
                .iter()
                .find_map(|suffix| name.strip_suffix(suffix))
                .filter(|family| types.contains_key(*family))
                .unwrap_or(name);
            let kind = types.get(family).map_or("untyped", String::as_str);
            let is_counter = kind == "counter" || family != name;
            let value = value.parse().with_context(|| format!("the value of {identity}"))?;
            series.push(Template { name: name.to_owned(), labels, is_counter, value });
        }
        if series.is_empty() {
            bail!("the exposition has no series");
        }
        Ok(Self { series })
    }

    /// Returns the number of series of one instance.
    pub(crate) fn len(&self) -> usize {
        self.series.len()
    }

    /// Returns the series of all instances, those of an instance next to each other.
    pub(crate) fn instances(&self, instances: usize, seed: u64) -> Vec<Series> {
        const REGIONS: [&str; 3] = ["eu-west-1", "us-east-1", "ap-south-1"];
        let mut series = Vec::with_capacity(instances * self.series.len());
        for instance in 0..instances {
            let address = format!("host-{instance:05}:9100");
            let region = REGIONS[instance % REGIONS.len()];
            for (index, template) in self.series.iter().enumerate() {
                let mut labels = template.labels.clone();
                labels.push(("__name__".to_owned(), template.name.clone()));
                labels.push(("instance".to_owned(), address.clone()));
                labels.push(("job".to_owned(), "node".to_owned()));
                labels.push(("region".to_owned(), region.to_owned()));
                labels.sort();
                let mut random = Random(seed ^ ((instance as u64) << 32) ^ index as u64);
                series.push(Series {
                    labels: encode_labels(&labels),
                    motion: Motion::of(template, index, &mut random),
                    value: template.value,
                    random,
                });
            }
        }
        series
    }
}

fn parse_labels(text: &str) -> anyhow::Result<Vec<(String, String)>> {
    let mut labels = Vec::new();
    let mut rest = text.strip_suffix('}').context("a closing brace")?;
    while !rest.is_empty() {
        let (name, tail) = rest.split_once("=\"").context("a label's value")?;
        let mut value = String::new();
        let mut characters = tail.char_indices();
        loop {
            match characters.next().context("a closing quote")? {
                (_, '\\') => match characters.next().context("an escape")? {
                    (_, 'n') => value.push('\n'),
                    (_, other) => value.push(other),
                },
                (end, '"') => {
                    rest = tail[end + 1..].trim_start_matches(',');
                    break;
                }
                (_, other) => value.push(other),
            }
        }
        labels.push((name.to_owned(), value));
    }
    Ok(labels)
}

/// How a series moves from step to step.
#[derive(Clone, Copy, Debug)]
enum Motion {
    Constant,
    /// Grows by a pace of its own, with a jitter of half of it either way.
    Counter {
        pace: f64,
        whole: bool,
    },
    /// Walks at random, in steps of a thousandth of its value.
    Gauge {
        whole: bool,
    },
}

impl Motion {
    fn of(template: &Template, index: usize, random: &mut Random) -> Self {
        let whole = template.value.fract() == 0.0;
        if index.is_multiple_of(3) || !template.value.is_finite() {
            return Self::Constant;
        }
        if template.is_counter {
            // From one to a thousand a second, or fractions for what counts seconds.
            let scale = 10_f64.powf(random.unit() * 3.0);
            let pace = if whole { scale * 15.0 } else { scale * 0.015 };
            return Self::Counter { pace, whole };
        }
        Self::Gauge { whole }
    }
}

/// One series of one instance.
#[derive(Debug)]
pub(crate) struct Series {
    /// The labels as the fields of a remote write 1.0 `TimeSeries`.
    pub(crate) labels: Vec<u8>,
    motion: Motion,
    value: f64,
    random: Random,
}

impl Series {
    /// Moves on by one step and returns the value.
    pub(crate) fn step(&mut self) -> f64 {
        let rounded = |value: f64, whole: bool| {
            // What is no whole number has two decimals, as times in seconds have.
            if whole { value.round() } else { (value * 100.0).round() / 100.0 }
        };
        match self.motion {
            Motion::Constant => {}
            Motion::Counter { pace, whole } => {
                let grown = self.value + pace * (0.5 + self.random.unit());
                self.value = rounded(grown, whole).max(self.value);
            }
            Motion::Gauge { whole } => {
                let step = self.value.abs().max(1.0) / 1000.0;
                self.value = rounded(self.value + step * (self.random.unit() * 2.0 - 1.0), whole);
            }
        }
        self.value
    }
}

/// SplitMix64.
#[derive(Clone, Copy, Debug)]
struct Random(u64);

impl Random {
    /// Returns a number from 0 to 1.
    fn unit(&mut self) -> f64 {
        self.0 = self.0.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = self.0;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        ((mixed ^ (mixed >> 31)) >> 11) as f64 / (1_u64 << 53) as f64
    }
}

fn encode_labels(labels: &[(String, String)]) -> Vec<u8> {
    let mut encoded = Vec::new();
    for (name, value) in labels {
        let mut label = Vec::new();
        push_bytes(&mut label, 1, name.as_bytes());
        push_bytes(&mut label, 2, value.as_bytes());
        push_bytes(&mut encoded, 1, &label);
    }
    encoded
}

/// Appends a length-delimited protobuf field.
pub(crate) fn push_bytes(buffer: &mut Vec<u8>, field: u8, bytes: &[u8]) {
    buffer.push(field << 3 | 2);
    push_varint(buffer, bytes.len() as u64);
    buffer.extend_from_slice(bytes);
}

/// Appends a protobuf number.
pub(crate) fn push_varint(buffer: &mut Vec<u8>, mut number: u64) {
    while number >= 0x80 {
        buffer.push((number & 0x7f) as u8 | 0x80);
        number >>= 7;
    }
    buffer.push(number as u8);
}

#[cfg(test)]
mod tests {
    use super::*;

    const TEXT: &str =
        "# TYPE a counter\na{x=\"1\",y=\"q\\\"z\"} 5\n# TYPE b gauge\nb 1.5\nb{x=\"2\"} 700\n";

    #[test]
    fn an_exposition_becomes_the_series_of_every_instance() {
        let exposition = Exposition::parse(TEXT).expect("valid");
        assert_eq!(exposition.len(), 3);
        assert_eq!(exposition.series[0].labels[1], ("y".to_owned(), "q\"z".to_owned()));
        assert_eq!(exposition.instances(4, 1).len(), 12);
    }

    #[test]
    fn counters_never_fall_and_a_third_never_moves() {
        let exposition = Exposition::parse(TEXT).expect("valid");
        let mut series = exposition.instances(1, 1);
        let steps = |series: &mut Series| (0..50).map(|_| series.step()).collect::<Vec<_>>();
        assert!(steps(&mut series[0]).iter().all(|value| *value == 5.0));
        let gauge = steps(&mut series[2]);
        assert!(gauge.iter().any(|value| *value != 700.0), "{gauge:?}");
    }

    #[test]
    fn the_same_seed_sends_the_same_values() {
        let exposition = Exposition::parse(TEXT).expect("valid");
        let values = |seed| {
            let mut series = exposition.instances(2, seed);
            series.iter_mut().map(Series::step).collect::<Vec<_>>()
        };
        assert_eq!(values(3), values(3));
    }
}
