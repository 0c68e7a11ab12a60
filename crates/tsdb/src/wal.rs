//! The journal records of the store: one for each batch.
//!
//! Layout of version 1; numbers are LEB128, signed ones in zigzag order, a text is its length and its bytes:
//!
//! ```text
//! version            1 byte: 1
//! numbering          which numbering of series the numbers belong to
//! definitions        count, then for each: series number, canonical labels as a text
//! metadata           count, then for each: metric name, type (1 byte), help, unit
//! samples            count
//!   series           for each: number - number of the sample before (signed; the first one's from 0)
//!   times            for each: time - time of the sample before (signed; the first one's from 0), in milliseconds
//!   values           for each: 8 bytes, little-endian bits
//! ```
//!
//! A series is defined before its first sample within each generation of the head, so what comes after a cut can be
//! read without what came before it. Each generation has a numbering of its own: where a part of the journal is lost,
//! a number is then unknown and never taken for another series.

use model::{LabelError, Labels, MetricMetadata, MetricType};

use crate::varint::{push_i64, push_u64, take_i64, take_u32, take_u64};

const VERSION: u8 = 1;
/// The fewest bytes that a sample takes up, against claims of more than there can be.
const SAMPLE_BYTES_MIN: usize = 10;

const TYPES: [MetricType; 8] = [
    MetricType::Unknown,
    MetricType::Counter,
    MetricType::Gauge,
    MetricType::Histogram,
    MetricType::GaugeHistogram,
    MetricType::Summary,
    MetricType::Info,
    MetricType::StateSet,
];

/// A sample of a numbered series: number, time in milliseconds, bits of the value.
pub(crate) type NumberedSample = (u32, i64, u64);

/// A record that cannot be read.
#[derive(Debug, PartialEq, thiserror::Error)]
pub(crate) enum RecordError {
    /// Another version wrote it.
    #[error("version {0} of the record is unknown; was the store written by a newer release?")]
    Version(u8),
    /// It ends within a value or claims more than it holds.
    #[error("record ends within {0}")]
    Truncated(&'static str),
    /// Something follows where it should end.
    #[error("{0} bytes follow the end of the record")]
    TooLong(usize),
    /// Labels are not valid.
    #[error("labels of a series")]
    Labels(#[from] LabelError),
    /// A text is not UTF-8.
    #[error("text is not UTF-8")]
    NotUtf8,
    /// There is no such type.
    #[error("metric type {0} is unknown")]
    MetricType(u8),
}

/// A record that was read back.
#[derive(Debug, Default, PartialEq)]
pub(crate) struct Record {
    /// Which numbering of series the numbers belong to.
    pub(crate) numbering: u64,
    /// New meanings of series numbers.
    pub(crate) definitions: Vec<(u32, Labels)>,
    /// What is known about metrics.
    pub(crate) metadata: Vec<(String, MetricMetadata)>,
    /// Samples in order of arrival.
    pub(crate) samples: Vec<NumberedSample>,
}

/// Writes a record to the end of `bytes`.
pub(crate) fn encode<'a>(
    bytes: &mut Vec<u8>,
    numbering: u64,
    definitions: impl ExactSizeIterator<Item = (u32, Labels)>,
    metadata: impl ExactSizeIterator<Item = &'a (String, MetricMetadata)>,
    samples: &[NumberedSample],
) {
    bytes.push(VERSION);
    push_u64(bytes, numbering);
    push_u64(bytes, definitions.len() as u64);
    for (series, labels) in definitions {
        push_u64(bytes, u64::from(series));
        push_text(bytes, labels.as_bytes());
    }
    push_u64(bytes, metadata.len() as u64);
    for (metric, metadata) in metadata {
        push_text(bytes, metric.as_bytes());
        let number = TYPES.iter().position(|candidate| *candidate == metadata.metric_type);
        bytes.push(number.unwrap_or_default() as u8);
        push_text(bytes, metadata.help.as_bytes());
        push_text(bytes, metadata.unit.as_bytes());
    }
    push_u64(bytes, samples.len() as u64);
    bytes.reserve(samples.len() * (SAMPLE_BYTES_MIN + 2));
    let mut before = 0;
    for (series, _, _) in samples {
        push_i64(bytes, i64::from(*series) - before);
        before = i64::from(*series);
    }
    let mut before = 0_i64;
    for (_, time, _) in samples {
        push_i64(bytes, time.wrapping_sub(before));
        before = *time;
    }
    for (_, _, bits) in samples {
        bytes.extend_from_slice(&bits.to_le_bytes());
    }
}

/// Reads a record.
///
/// # Errors
///
/// It is not a complete record of a known version. Whatever the bytes claim, memory is only taken for what they hold.
pub(crate) fn decode(bytes: &[u8]) -> Result<Record, RecordError> {
    let (version, mut rest) = bytes.split_first().ok_or(RecordError::Truncated("version"))?;
    if *version != VERSION {
        return Err(RecordError::Version(*version));
    }
    let record = Record {
        numbering: take_u64(&mut rest).ok_or(RecordError::Truncated("numbering"))?,
        definitions: take_definitions(&mut rest)?,
        metadata: take_metadata(&mut rest)?,
        samples: take_samples(&mut rest)?,
    };
    if rest.is_empty() { Ok(record) } else { Err(RecordError::TooLong(rest.len())) }
}

fn take_definitions(rest: &mut &[u8]) -> Result<Vec<(u32, Labels)>, RecordError> {
    const WHAT: RecordError = RecordError::Truncated("definitions");
    let count = take_u64(rest).ok_or(WHAT)?;
    let mut definitions = Vec::new();
    for _ in 0..count {
        let series = take_u32(rest).ok_or(WHAT)?;
        definitions.push((series, Labels::from_bytes(take_text(rest).ok_or(WHAT)?)?));
    }
    Ok(definitions)
}

fn take_metadata(rest: &mut &[u8]) -> Result<Vec<(String, MetricMetadata)>, RecordError> {
    const WHAT: RecordError = RecordError::Truncated("metadata");
    let count = take_u64(rest).ok_or(WHAT)?;
    let mut metadata = Vec::new();
    for _ in 0..count {
        let metric = take_string(rest, WHAT)?;
        let (number, tail) = rest.split_first().ok_or(WHAT)?;
        *rest = tail;
        let metric_type =
            TYPES.get(usize::from(*number)).ok_or(RecordError::MetricType(*number))?;
        let help = take_string(rest, WHAT)?;
        let unit = take_string(rest, WHAT)?;
        metadata.push((metric, MetricMetadata { metric_type: *metric_type, help, unit }));
    }
    Ok(metadata)
}

fn take_samples(rest: &mut &[u8]) -> Result<Vec<NumberedSample>, RecordError> {
    const WHAT: RecordError = RecordError::Truncated("samples");
    let count = take_u64(rest).and_then(|count| usize::try_from(count).ok()).ok_or(WHAT)?;
    if count > rest.len() / SAMPLE_BYTES_MIN {
        return Err(WHAT);
    }
    let mut samples = Vec::with_capacity(count);
    let mut series = 0_i64;
    for _ in 0..count {
        series = series.checked_add(take_i64(rest).ok_or(WHAT)?).ok_or(WHAT)?;
        samples.push((u32::try_from(series).map_err(|_| WHAT)?, 0, 0));
    }
    let mut before = 0_i64;
    for (_, time, _) in &mut samples {
        before = before.wrapping_add(take_i64(rest).ok_or(WHAT)?);
        *time = before;
    }
    for (_, _, bits) in &mut samples {
        let (value, tail) = rest.split_first_chunk().ok_or(WHAT)?;
        *bits = u64::from_le_bytes(*value);
        *rest = tail;
    }
    Ok(samples)
}

fn push_text(bytes: &mut Vec<u8>, text: &[u8]) {
    push_u64(bytes, text.len() as u64);
    bytes.extend_from_slice(text);
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = usize::try_from(take_u64(rest)?).ok()?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

fn take_string(rest: &mut &[u8], truncated: RecordError) -> Result<String, RecordError> {
    let text = take_text(rest).ok_or(truncated)?;
    String::from_utf8(text.to_vec()).map_err(|_| RecordError::NotUtf8)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encoded(record: &Record) -> Vec<u8> {
        let mut bytes = Vec::new();
        let definitions = record.definitions.iter().cloned();
        encode(&mut bytes, record.numbering, definitions, record.metadata.iter(), &record.samples);
        bytes
    }

    fn example() -> Record {
        let labels = Labels::from_pairs([("__name__", "up"), ("job", "a")]).expect("labels");
        let metadata = MetricMetadata {
            metric_type: MetricType::StateSet,
            help: "Whether it is up.".to_owned(),
            unit: String::new(),
        };
        Record {
            numbering: 3,
            definitions: vec![(7, labels)],
            metadata: vec![("up".to_owned(), metadata)],
            samples: vec![
                (7, 1_000, 1),
                (0, i64::MIN, model::STALE_NAN_BITS),
                (u32::MAX, i64::MAX, u64::MAX),
            ],
        }
    }

    #[test]
    fn every_type_has_a_number() {
        for name in
            "counter gauge histogram gaugehistogram summary info stateset unknown".split(' ')
        {
            assert!(TYPES.contains(&MetricType::from_name(name).expect("a type")));
        }
    }

    #[test]
    fn a_record_cut_off_anywhere_is_refused() {
        let bytes = encoded(&example());
        assert_eq!(decode(&bytes), Ok(example()));
        for length in 0..bytes.len() {
            assert!(decode(&bytes[..length]).is_err(), "{length} bytes");
        }
        assert_eq!(decode(&[bytes.as_slice(), &[0]].concat()), Err(RecordError::TooLong(1)));
        assert_eq!(decode(&[2, 0, 0, 0]), Err(RecordError::Version(2)));
    }

    proptest! {
        #[test]
        fn samples_round_trip(
            samples in proptest::collection::vec((any::<u32>(), any::<i64>(), any::<u64>()), 0..50)
        ) {
            let record = Record { samples, ..example() };
            prop_assert_eq!(decode(&encoded(&record)), Ok(record));
        }

        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..80)) {
            drop(decode(&bytes));
            drop(decode(&[&[VERSION], bytes.as_slice()].concat()));
        }
    }
}
