//! `profile.proto`, the format of pprof: https://github.com/google/pprof/blob/main/proto/profile.proto.
//!
//! Messages of our own, because those of the profiler's crate need another version of prost.

use std::collections::BTreeMap;

use pprof::{Report, Symbol};

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Profile {
    #[prost(message, repeated, tag = "1")]
    sample_type: Vec<ValueType>,
    #[prost(message, repeated, tag = "2")]
    sample: Vec<Sample>,
    #[prost(message, repeated, tag = "4")]
    location: Vec<Location>,
    #[prost(message, repeated, tag = "5")]
    function: Vec<Function>,
    #[prost(string, repeated, tag = "6")]
    string_table: Vec<String>,
    #[prost(int64, tag = "10")]
    duration_nanos: i64,
    #[prost(message, optional, tag = "11")]
    period_type: Option<ValueType>,
    #[prost(int64, tag = "12")]
    period: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct ValueType {
    #[prost(int64, tag = "1")]
    kind: i64,
    #[prost(int64, tag = "2")]
    unit: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Sample {
    #[prost(uint64, repeated, tag = "1")]
    location_id: Vec<u64>,
    #[prost(int64, repeated, tag = "2")]
    value: Vec<i64>,
    #[prost(message, repeated, tag = "3")]
    label: Vec<Label>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Label {
    #[prost(int64, tag = "1")]
    key: i64,
    #[prost(int64, tag = "2")]
    str: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Location {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(message, repeated, tag = "4")]
    line: Vec<Line>,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Line {
    #[prost(uint64, tag = "1")]
    function_id: u64,
    #[prost(int64, tag = "2")]
    line: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
struct Function {
    #[prost(uint64, tag = "1")]
    id: u64,
    #[prost(int64, tag = "2")]
    name: i64,
    #[prost(int64, tag = "4")]
    filename: i64,
}

/// A place in the code: function, file, line.
type Place = (String, String, u32);

/// Gives numbers to texts, functions and locations.
#[derive(Debug, Default)]
pub(super) struct Encoder {
    texts: BTreeMap<String, i64>,
    functions: BTreeMap<(i64, i64), u64>,
    locations: BTreeMap<Vec<Place>, u64>,
    profile: Profile,
}

impl Encoder {
    /// Returns what was seen at `frequency` per second, the same for the same stacks.
    pub(super) fn profile(report: &Report, frequency: i32) -> Profile {
        let stacks = report.data.iter().map(|(frames, count)| {
            let stack = frames.frames.iter().map(|inlined| inlined.iter().map(place).collect());
            let count = i64::try_from(*count).unwrap_or(i64::MAX);
            ((stack.collect::<Vec<Vec<Place>>>(), frames.thread_name_or_id()), count)
        });
        let mut by_stack = BTreeMap::new();
        for (stack, count) in stacks {
            *by_stack.entry(stack).or_insert(0_i64) += count;
        }
        let nanos = i64::try_from(report.timing.duration.as_nanos()).unwrap_or(i64::MAX);
        Self::encode(by_stack, nanos, 1_000_000_000 / i64::from(frequency.max(1)))
    }

    fn encode(
        stacks: BTreeMap<(Vec<Vec<Place>>, String), i64>,
        duration_nanos: i64,
        period: i64,
    ) -> Profile {
        let mut encoder = Self::default();
        // The first text is always the empty one.
        encoder.text("");
        let samples = ValueType { kind: encoder.text("samples"), unit: encoder.text("count") };
        let cpu = ValueType { kind: encoder.text("cpu"), unit: encoder.text("nanoseconds") };
        let thread_key = encoder.text("thread");
        for ((stack, thread), count) in stacks {
            let location_id = stack.into_iter().map(|place| encoder.location(place)).collect();
            let label = vec![Label { key: thread_key, str: encoder.text(&thread) }];
            let value = vec![count, count.saturating_mul(period)];
            encoder.profile.sample.push(Sample { location_id, value, label });
        }
        Profile {
            sample_type: vec![samples, cpu.clone()],
            period_type: Some(cpu),
            period,
            duration_nanos,
            ..encoder.profile
        }
    }

    fn text(&mut self, text: &str) -> i64 {
        if let Some(number) = self.texts.get(text) {
            return *number;
        }
        let number = i64::try_from(self.texts.len()).unwrap_or(i64::MAX);
        self.texts.insert(text.to_owned(), number);
        self.profile.string_table.push(text.to_owned());
        number
    }

    fn location(&mut self, places: Vec<Place>) -> u64 {
        if let Some(id) = self.locations.get(&places) {
            return *id;
        }
        let id = self.locations.len() as u64 + 1;
        let line = places
            .iter()
            .map(|(name, file, line)| {
                let function_id = self.function(name, file);
                Line { function_id, line: i64::from(*line) }
            })
            .collect();
        self.profile.location.push(Location { id, line });
        self.locations.insert(places, id);
        id
    }

    fn function(&mut self, name: &str, file: &str) -> u64 {
        let key = (self.text(name), self.text(file));
        let next = self.functions.len() as u64 + 1;
        let id = *self.functions.entry(key).or_insert(next);
        if id == next {
            self.profile.function.push(Function { id, name: key.0, filename: key.1 });
        }
        id
    }
}

fn place(symbol: &Symbol) -> Place {
    let file = symbol.filename.as_ref().map(|file| file.to_string_lossy().into_owned());
    (symbol.name(), file.unwrap_or_default(), symbol.lineno.unwrap_or(0))
}

#[cfg(test)]
mod tests {
    use prost::Message as _;

    use super::*;

    fn at(name: &str, line: u32) -> Vec<Place> {
        vec![(name.to_owned(), "src/x.rs".to_owned(), line)]
    }

    #[test]
    fn stacks_share_functions_and_texts() {
        let stacks = BTreeMap::from([
            ((vec![at("leaf", 7), at("main", 1)], "worker".to_owned()), 3),
            ((vec![at("leaf", 8), at("main", 1)], "worker".to_owned()), 2),
        ]);
        let profile = Encoder::encode(stacks, 1_000, 10);
        let profile = Profile::decode(profile.encode_to_vec().as_slice()).expect("valid");
        assert_eq!((profile.function.len(), profile.location.len()), (2, 3));
        let values: Vec<&[i64]> = profile.sample.iter().map(|one| one.value.as_slice()).collect();
        assert_eq!(values, [[3, 30], [2, 20]]);
        let [first, second] = profile.sample.as_slice() else { panic!("{profile:?}") };
        assert_eq!(first.location_id[1], second.location_id[1], "both are called by the same line");
        assert_eq!(profile.string_table.first().map(String::as_str), Some(""));
        let text =
            |number: i64| profile.string_table[usize::try_from(number).expect("small")].as_str();
        assert_eq!((text(profile.function[0].name), text(first.label[0].str)), ("leaf", "worker"));
    }
}
