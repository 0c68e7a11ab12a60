//! Reads what agents send, with the tolerance of Go's `encoding/json`, on which Pulltrace's server is built.
//!
//! No value is built in between: each field goes from the text into its place.

use std::borrow::Cow;
use std::cell::Cell;
use std::fmt;
use std::str::FromStr;

use platform::Timestamp;
use serde::de::{self, DeserializeSeed, Deserializer, MapAccess, SeqAccess, Visitor};

use super::{
    CANDIDATES_MAX, CLUSTER_BYTES_MAX, ERROR_BYTES_MAX, LAYERS_PER_PULL_MAX, LAYERS_PER_REPORT_MAX,
    NAME_BYTES_MAX, NODE_NAME_BYTES_MAX, PULLS_PER_REPORT_MAX, ReportError, time,
};
use crate::{LayerReport, PullReport, Report};

impl Report {
    /// Reads a report, O(`body`). Allocates no more than a few times the length of `body`.
    ///
    /// As with Pulltrace's server: names of fields match in any case, `null` is as good as nothing, the last of several
    /// fields of one name counts, unknown fields and what follows the first JSON value are ignored, bytes that are not UTF-8
    /// are replaced. Byte counts are integers and may be negative.
    /// Words of our own that are not known count as not said.
    ///
    /// # Errors
    ///
    /// [`ReportError`]: the report must be refused as a whole.
    pub fn from_json(body: &[u8]) -> Result<Self, ReportError> {
        let text = replace_lone_surrogates(utf8(body));
        let reading = Reading::default();
        let report = Object::<Self>::new(&reading)
            .deserialize(&mut serde_json::Deserializer::from_str(&text))
            .map_err(|error| reading.exceeded.take().unwrap_or(ReportError::Json(error)))?;
        if report.node_name.is_empty() || report.node_name.len() > NODE_NAME_BYTES_MAX {
            return Err(ReportError::NodeName { bytes: report.node_name.len() });
        }
        if report.cluster.len() > CLUSTER_BYTES_MAX {
            return Err(ReportError::Cluster);
        }
        Ok(report)
    }
}

/// What concerns the whole report while it is read.
#[derive(Default)]
struct Reading {
    layers: Cell<usize>,
    /// The limit that ended it; serde's own errors cannot carry it.
    exceeded: Cell<Option<ReportError>>,
}

impl Reading {
    fn exceed<E: de::Error>(&self, limit: ReportError) -> E {
        self.exceeded.set(Some(limit));
        E::custom("limit exceeded")
    }
}

/// Something that is an object on the wire.
trait Fields: Default + Sized {
    type Name: 'static + Copy;
    const NAMES: &'static [(&'static str, Self::Name)];

    /// Returns the field of exactly this name.
    fn exact(name: &str) -> Option<Self::Name>;

    /// Takes the value of a field.
    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        field: Self::Name,
        map: &mut A,
        reading: &Reading,
    ) -> Result<(), A::Error>;

    /// Returns the limit that a list of these exceeds when it has `count` already and another comes.
    fn limit(count: usize, reading: &Reading) -> Option<ReportError>;
}

macro_rules! fields {
    ($kind:ident { $($field:ident = $name:literal,)+ }) => {
        #[derive(Clone, Copy)]
        enum $kind { $($field,)+ }

        impl $kind {
            const ALL: &'static [(&'static str, Self)] = &[$(($name, Self::$field),)+];

            fn exact(name: &str) -> Option<Self> {
                match name { $($name => Some(Self::$field),)+ _ => None }
            }
        }
    };
}

fields! {
    ReportField {
        NodeName = "nodeName",
        Timestamp = "timestamp",
        Pulls = "pulls",
        Cluster = "cluster",
        AgentVersion = "agentVersion",
        AgentStarted = "agentStarted",
        Sequence = "sequence",
        IntervalMs = "intervalMs",
        Runtime = "runtime",
        Source = "source",
        Error = "error",
    }
}

fields! {
    PullField {
        ImageRef = "imageRef",
        Layers = "layers",
        StartedAt = "startedAt",
        TotalKnown = "totalKnown",
        Id = "id",
        Phase = "phase",
        Error = "error",
        EndedAt = "endedAt",
        Digest = "digest",
        ManifestDigest = "manifestDigest",
        Confidence = "confidence",
        Candidates = "candidates",
        Indirect = "indirect",
    }
}

fields! {
    LayerField {
        Digest = "digest",
        MediaType = "mediaType",
        TotalBytes = "totalBytes",
        DownloadedBytes = "downloadedBytes",
        TotalKnown = "totalKnown",
        Phase = "phase",
        ResumedBytes = "resumedBytes",
        StartedAt = "startedAt",
        CompletedAt = "completedAt",
    }
}

impl Fields for Report {
    type Name = ReportField;
    const NAMES: &'static [(&'static str, ReportField)] = ReportField::ALL;

    fn exact(name: &str) -> Option<ReportField> {
        ReportField::exact(name)
    }

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        field: ReportField,
        map: &mut A,
        reading: &Reading,
    ) -> Result<(), A::Error> {
        match field {
            // Room for one character too many, so that a name that is too long is refused and not cut.
            ReportField::NodeName => set(&mut self.node_name, map, Text(NODE_NAME_BYTES_MAX + 4)),
            ReportField::Timestamp => set(&mut self.timestamp, map, Time),
            ReportField::Pulls => {
                reading.layers.set(0);
                self.pulls = map.next_value_seed(List::<PullReport>::new(reading))?;
                Ok(())
            }
            ReportField::Cluster => set(&mut self.cluster, map, Text(CLUSTER_BYTES_MAX + 4)),
            ReportField::AgentVersion => set(&mut self.agent_version, map, Text(NAME_BYTES_MAX)),
            ReportField::AgentStarted => set(&mut self.agent_started, map, Time),
            ReportField::Sequence => set(&mut self.sequence, map, Count),
            ReportField::IntervalMs => set(&mut self.interval_ms, map, Count),
            ReportField::Runtime => set(&mut self.runtime, map, Text(NAME_BYTES_MAX)),
            ReportField::Source => {
                if let Some(source) = map.next_value_seed(Word::new())? {
                    self.source = source.unwrap_or_default();
                }
                Ok(())
            }
            ReportField::Error => set(&mut self.error, map, Text(ERROR_BYTES_MAX)),
        }
    }

    fn limit(_: usize, _: &Reading) -> Option<ReportError> {
        None
    }
}

impl Fields for PullReport {
    type Name = PullField;
    const NAMES: &'static [(&'static str, PullField)] = PullField::ALL;

    fn exact(name: &str) -> Option<PullField> {
        PullField::exact(name)
    }

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        field: PullField,
        map: &mut A,
        reading: &Reading,
    ) -> Result<(), A::Error> {
        match field {
            PullField::ImageRef => set(&mut self.image_ref, map, Text(NAME_BYTES_MAX)),
            PullField::Layers => {
                self.layers = map.next_value_seed(List::<LayerReport>::new(reading))?;
                Ok(())
            }
            PullField::StartedAt => set(&mut self.started_at, map, Time),
            PullField::TotalKnown => set(&mut self.total_known, map, Flag),
            PullField::Id => set(&mut self.id, map, Text(NAME_BYTES_MAX)),
            PullField::Phase => set(&mut self.phase, map, Word::new()),
            PullField::Error => set(&mut self.error, map, Text(ERROR_BYTES_MAX)),
            PullField::EndedAt => set(&mut self.ended_at, map, Time),
            PullField::Digest => set(&mut self.digest, map, Text(NAME_BYTES_MAX)),
            PullField::ManifestDigest => set(&mut self.manifest_digest, map, Text(NAME_BYTES_MAX)),
            PullField::Confidence => set(&mut self.confidence, map, Word::new()),
            PullField::Candidates => {
                self.candidates = map.next_value_seed(Candidates)?;
                Ok(())
            }
            PullField::Indirect => set(&mut self.indirect, map, Flag),
        }
    }

    fn limit(count: usize, _: &Reading) -> Option<ReportError> {
        (count >= PULLS_PER_REPORT_MAX).then_some(ReportError::TooManyPulls)
    }
}

impl Fields for LayerReport {
    type Name = LayerField;
    const NAMES: &'static [(&'static str, LayerField)] = LayerField::ALL;

    fn exact(name: &str) -> Option<LayerField> {
        LayerField::exact(name)
    }

    fn take<'de, A: MapAccess<'de>>(
        &mut self,
        field: LayerField,
        map: &mut A,
        _: &Reading,
    ) -> Result<(), A::Error> {
        match field {
            LayerField::Digest => set(&mut self.digest, map, Text(NAME_BYTES_MAX)),
            LayerField::MediaType => set(&mut self.media_type, map, Text(NAME_BYTES_MAX)),
            LayerField::TotalBytes => set(&mut self.total_bytes, map, Integer),
            LayerField::DownloadedBytes => set(&mut self.downloaded_bytes, map, Integer),
            LayerField::TotalKnown => set(&mut self.total_known, map, Flag),
            LayerField::Phase => set(&mut self.phase, map, Word::new()),
            LayerField::ResumedBytes => set(&mut self.resumed_bytes, map, Integer),
            LayerField::StartedAt => set(&mut self.started_at, map, Time),
            LayerField::CompletedAt => set(&mut self.completed_at, map, Time),
        }
    }

    fn limit(count: usize, reading: &Reading) -> Option<ReportError> {
        let all = reading.layers.replace(reading.layers.get() + 1);
        (count >= LAYERS_PER_PULL_MAX || all >= LAYERS_PER_REPORT_MAX)
            .then_some(ReportError::TooManyLayers)
    }
}

/// Sets `place` unless the value is `null`, which leaves what is there.
fn set<'de, A, S, T>(place: &mut T, map: &mut A, value: S) -> Result<(), A::Error>
where
    A: MapAccess<'de>,
    S: DeserializeSeed<'de, Value = Option<T>>,
{
    if let Some(value) = map.next_value_seed(value)? {
        *place = value;
    }
    Ok(())
}

/// Reads an object, or `null` as an empty one.
struct Object<'a, T> {
    reading: &'a Reading,
    what: std::marker::PhantomData<T>,
}

impl<'a, T> Object<'a, T> {
    const fn new(reading: &'a Reading) -> Self {
        Self { reading, what: std::marker::PhantomData }
    }
}

impl<'de, T: Fields> DeserializeSeed<'de> for Object<'_, T> {
    type Value = T;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<T, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields> Visitor<'de> for Object<'_, T> {
    type Value = T;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("an object")
    }

    fn visit_unit<E>(self) -> Result<T, E> {
        Ok(T::default())
    }

    fn visit_map<A: MapAccess<'de>>(self, mut map: A) -> Result<T, A::Error> {
        let mut object = T::default();
        while let Some(field) = map.next_key_seed(Field::<T>(std::marker::PhantomData))? {
            match field {
                Some(field) => object.take(field, &mut map, self.reading)?,
                None => {
                    map.next_value::<de::IgnoredAny>()?;
                }
            }
        }
        Ok(object)
    }
}

/// Reads a name; `None` for one that is not known.
struct Field<T>(std::marker::PhantomData<T>);

impl<'de, T: Fields> DeserializeSeed<'de> for Field<T> {
    type Value = Option<T::Name>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_str(self)
    }
}

impl<T: Fields> Visitor<'_> for Field<T> {
    type Value = Option<T::Name>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a name")
    }

    fn visit_str<E>(self, name: &str) -> Result<Self::Value, E> {
        let folded = || {
            let found = T::NAMES.iter().find(|(known, _)| equal_folded(known, name));
            found.map(|&(_, field)| field)
        };
        Ok(T::exact(name).or_else(folded))
    }
}

/// Compares as Go does: letters of ASCII in any case, and the two other characters that fold into them.
fn equal_folded(known: &str, name: &str) -> bool {
    let fold = |character| match character {
        'ſ' => 's',
        '\u{212A}' => 'k',
        _ => character.to_ascii_lowercase(),
    };
    known.chars().map(fold).eq(name.chars().map(fold))
}

/// Reads a list of objects, or `null` as an empty one.
struct List<'a, T> {
    reading: &'a Reading,
    what: std::marker::PhantomData<T>,
}

impl<'a, T> List<'a, T> {
    const fn new(reading: &'a Reading) -> Self {
        Self { reading, what: std::marker::PhantomData }
    }
}

impl<'de, T: Fields> DeserializeSeed<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Vec<T>, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de, T: Fields> Visitor<'de> for List<'_, T> {
    type Value = Vec<T>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list")
    }

    fn visit_unit<E>(self) -> Result<Vec<T>, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Vec<T>, A::Error> {
        let mut objects = Vec::new();
        while let Some(object) = list.next_element_seed(Object::<T>::new(self.reading))? {
            if let Some(limit) = T::limit(objects.len(), self.reading) {
                return Err(self.reading.exceed(limit));
            }
            objects.push(object);
        }
        Ok(objects)
    }
}

/// Reads a list of names.
struct Candidates;

impl<'de> DeserializeSeed<'de> for Candidates {
    type Value = Vec<String>;

    fn deserialize<D: Deserializer<'de>>(self, deserializer: D) -> Result<Self::Value, D::Error> {
        deserializer.deserialize_any(self)
    }
}

impl<'de> Visitor<'de> for Candidates {
    type Value = Vec<String>;

    fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("a list of names")
    }

    fn visit_unit<E>(self) -> Result<Self::Value, E> {
        Ok(Vec::new())
    }

    fn visit_seq<A: SeqAccess<'de>>(self, mut list: A) -> Result<Self::Value, A::Error> {
        let mut names = Vec::new();
        while let Some(name) = list.next_element_seed(Text(NAME_BYTES_MAX))? {
            if names.len() < CANDIDATES_MAX {
                names.push(name.unwrap_or_default());
            }
        }
        Ok(names)
    }
}

/// Implements a seed and a visitor of one scalar value; `None` is `null`.
macro_rules! scalar {
    ([$($generics:tt)*] $seed:ty => $value:ty, $expecting:literal, { $($visit:tt)* }) => {
        impl<'de, $($generics)*> DeserializeSeed<'de> for $seed {
            type Value = Option<$value>;

            fn deserialize<D: Deserializer<'de>>(self, from: D) -> Result<Self::Value, D::Error> {
                from.deserialize_any(self)
            }
        }

        impl<'de, $($generics)*> Visitor<'de> for $seed {
            type Value = Option<$value>;

            fn expecting(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                f.write_str($expecting)
            }

            fn visit_unit<E>(self) -> Result<Self::Value, E> {
                Ok(None)
            }

            $($visit)*
        }
    };
}

/// Reads a string and cuts it to so many bytes.
struct Text(usize);

scalar!([] Text => String, "a string", {
    fn visit_str<E>(self, text: &str) -> Result<Self::Value, E> {
        let cut = text.floor_char_boundary(self.0);
        Ok(Some(text.get(..cut).unwrap_or_default().to_owned()))
    }
});

/// Reads an integer of 64 bits with sign.
struct Integer;

scalar!([] Integer => i64, "an integer of 64 bits", {
    fn visit_i64<E>(self, number: i64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }

    fn visit_u64<E: de::Error>(self, number: u64) -> Result<Self::Value, E> {
        let wrong = |_| E::invalid_value(de::Unexpected::Unsigned(number), &self);
        i64::try_from(number).map(Some).map_err(wrong)
    }

    fn visit_f64<E: de::Error>(self, number: f64) -> Result<Self::Value, E> {
        negative_zero(number).ok_or_else(|| E::invalid_type(de::Unexpected::Float(number), &self))
    }
});

/// Reads an integer of 64 bits without sign.
struct Count;

scalar!([] Count => u64, "a count", {
    fn visit_u64<E>(self, number: u64) -> Result<Self::Value, E> {
        Ok(Some(number))
    }
});

/// Reads a truth value.
struct Flag;

scalar!([] Flag => bool, "true or false", {
    fn visit_bool<E>(self, flag: bool) -> Result<Self::Value, E> {
        Ok(Some(flag))
    }
});

/// Reads a time; `Some(None)` is one that was never set.
struct Time;

scalar!([] Time => Option<Timestamp>, "a time as in RFC 3339", {
    fn visit_str<E: de::Error>(self, text: &str) -> Result<Self::Value, E> {
        let wrong = || E::invalid_value(de::Unexpected::Str(text), &self);
        time::read(text).map(Some).ok_or_else(wrong)
    }
});

/// Reads one of a set of words; `Some(None)` is one that is not in it.
struct Word<T>(std::marker::PhantomData<T>);

impl<T> Word<T> {
    const fn new() -> Self {
        Self(std::marker::PhantomData)
    }
}

scalar!([T: FromStr] Word<T> => Option<T>, "a word", {
    fn visit_str<E>(self, word: &str) -> Result<Self::Value, E> {
        Ok(Some(word.parse().ok()))
    }
});

/// `-0` is an integer in Go, and a floating-point number for serde_json.
fn negative_zero(number: f64) -> Option<Option<i64>> {
    (number == 0.0 && number.is_sign_negative()).then_some(Some(0))
}

/// Returns `body` with each byte that is not UTF-8 replaced.
fn utf8(body: &[u8]) -> Cow<'_, str> {
    if let Ok(text) = std::str::from_utf8(body) {
        return Cow::Borrowed(text);
    }
    let mut text = String::with_capacity(body.len());
    for chunk in body.utf8_chunks() {
        text.push_str(chunk.valid());
        text.extend(chunk.invalid().iter().map(|_| char::REPLACEMENT_CHARACTER));
    }
    Cow::Owned(text)
}

/// Replaces escapes that are one half of a character outside the Basic Multilingual Plane, which serde_json refuses.
fn replace_lone_surrogates(text: Cow<'_, str>) -> Cow<'_, str> {
    if !text.contains('\\') {
        return text;
    }
    let mut lone = Vec::new();
    let bytes = text.as_bytes();
    let mut at = 0;
    while let Some(found) = bytes.get(at..).and_then(|rest| rest.iter().position(|&b| b == b'\\')) {
        at += found;
        match (surrogate(bytes, at), surrogate(bytes, at + 6)) {
            (Some(Half::First), Some(Half::Second)) => at += 12,
            (Some(_), _) => {
                lone.push(at);
                at += 6;
            }
            (None, _) => at += 2,
        }
    }
    if lone.is_empty() {
        return text;
    }
    let mut text = text.into_owned();
    for at in lone {
        text.replace_range(at..at + 6, "\\ufffd");
    }
    Cow::Owned(text)
}

enum Half {
    First,
    Second,
}

/// Returns which half of a character the escape at `at` is.
fn surrogate(bytes: &[u8], at: usize) -> Option<Half> {
    let [b'\\', b'u', b'd' | b'D', second, third, fourth] = bytes.get(at..at + 6)? else {
        return None;
    };
    if !third.is_ascii_hexdigit() || !fourth.is_ascii_hexdigit() {
        return None;
    }
    match second {
        b'8' | b'9' | b'a' | b'b' | b'A' | b'B' => Some(Half::First),
        b'c'..=b'f' | b'C'..=b'F' => Some(Half::Second),
        _ => None,
    }
}
