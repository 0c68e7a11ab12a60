//! Remote write 1.0: `prometheus.WriteRequest`.
//!
//! One pass, nothing allocated per series: the key of a series is the run of label fields as it lies in the body,
//! and the store looks into it only when it has not met it before.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use model::{LabelEncoding, LabelError, Labels, SeriesKey, WriteBatch};
use smallvec::SmallVec;

use crate::arena::LabelArena;
use crate::pairs::{self, Pair};
use crate::protobuf::{Malformed, Reader, Tag};
use crate::remote_write::{
    Metadata, REQUEST_SAMPLES_MAX, RemoteWriteError, RemoteWriteRequest, RequestCounts,
    metric_type, read_sample,
};

/// The encoding of a run of fields `repeated Label labels = 1`, tags included.
const LABEL_FIELDS: LabelEncoding = LabelEncoding { id: 1, decode: decode_label_fields };

const OTHER_VERSION: &str = "field of version 2.0, which the Content-Type must name";

mod request {
    use super::Tag;

    pub(super) const TIMESERIES: Tag = Tag::bytes(1);
    pub(super) const METADATA: Tag = Tag::bytes(3);
    pub(super) const KNOWN: &[u32] = &[1, 3];
    /// What the fields of version 2.0 are. Skipping them would lose everything that the sender sent.
    pub(super) const OF_VERSION_2: &[u32] = &[4, 5];
}

mod series {
    use super::Tag;

    pub(super) const LABEL: Tag = Tag::bytes(1);
    pub(super) const SAMPLE: Tag = Tag::bytes(2);
    pub(super) const EXEMPLAR: Tag = Tag::bytes(3);
    pub(super) const HISTOGRAM: Tag = Tag::bytes(4);
    pub(super) const KNOWN: &[u32] = &[1, 2, 3, 4];
}

mod label {
    use super::Tag;

    pub(super) const NAME: Tag = Tag::bytes(1);
    pub(super) const VALUE: Tag = Tag::bytes(2);
    pub(super) const KNOWN: &[u32] = &[1, 2];
}

mod metadata {
    use super::Tag;

    pub(super) const TYPE: Tag = Tag::varint(1);
    pub(super) const METRIC: Tag = Tag::bytes(2);
    pub(super) const HELP: Tag = Tag::bytes(4);
    pub(super) const UNIT: Tag = Tag::bytes(5);
    pub(super) const KNOWN: &[u32] = &[1, 2, 4, 5];
}

/// Decodes the decompressed body of a remote write 1.0 request.
///
/// The keys borrow from `body`. Only when the labels of a series are not its first fields, which no known sender
/// does, all keys borrow from `arena`. O(bytes), and allocates only for the batch.
/// Whether labels are valid is noticed when a key is decoded.
///
/// # Errors
///
/// The body is malformed, or has too many samples.
pub fn decode_remote_write_v1<'a>(
    body: &'a [u8],
    arena: &'a mut LabelArena,
) -> Result<RemoteWriteRequest<'a>, RemoteWriteError> {
    arena.clear();
    match read_request(body, &mut std::iter::empty())? {
        Some(request) => Ok(request),
        None => {
            gather_labels(body, arena)?;
            let request = read_request(body, &mut arena.keys())?;
            Ok(request.expect("the labels of every series were gathered"))
        }
    }
}

/// Reads the request; the keys come from `gathered`, or from the body when it is empty.
///
/// Returns `None` when the labels of a series are not its first fields and nothing was gathered.
fn read_request<'a>(
    body: &'a [u8],
    gathered: &mut dyn Iterator<Item = SeriesKey<'a>>,
) -> Result<Option<RemoteWriteRequest<'a>>, RemoteWriteError> {
    let mut batch = WriteBatch::new();
    let mut counts = RequestCounts::default();
    let mut metadata = Metadata::default();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        match tag {
            request::TIMESERIES => {
                let mut message = reader.message()?;
                let run = take_label_fields(&mut message)?;
                let gathered = gathered.next();
                let key = gathered.unwrap_or(SeriesKey { encoding: &LABEL_FIELDS, bytes: run });
                let scattered = read_series(message, key, &mut batch, &mut counts)?;
                if scattered && gathered.is_none() {
                    return Ok(None);
                }
            }
            request::METADATA => {
                read_metadata(reader.message()?, &mut metadata)?;
                counts.metadata += 1;
            }
            _ if request::OF_VERSION_2.contains(&tag.field()) => {
                return Err(reader.malformed(OTHER_VERSION).into());
            }
            _ => reader.skip_unknown(tag, request::KNOWN)?,
        }
    }
    metadata.move_to(&mut batch);
    Ok(Some(RemoteWriteRequest { batch, counts }))
}

/// Takes the label fields at the beginning of a series and returns them as they lie there.
#[inline]
fn take_label_fields<'a>(message: &mut Reader<'a>) -> Result<&'a [u8], Malformed> {
    let start = message.rest();
    loop {
        let before = *message;
        if message.tag()? != Some(series::LABEL) {
            *message = before;
            let length = start.len() - message.rest().len();
            return Ok(start.get(..length).unwrap_or_default());
        }
        message.bytes()?;
    }
}

/// Reads what follows the labels of a series. Returns whether more labels follow.
#[inline]
fn read_series<'a>(
    mut message: Reader<'a>,
    key: SeriesKey<'a>,
    batch: &mut WriteBatch<'a>,
    counts: &mut RequestCounts,
) -> Result<bool, RemoteWriteError> {
    let mut started = false;
    let mut scattered = false;
    while let Some(tag) = message.tag()? {
        match tag {
            series::SAMPLE => {
                let sample = read_sample(message.message()?)?;
                if batch.sample_count() == REQUEST_SAMPLES_MAX {
                    return Err(RemoteWriteError::TooManySamples { limit: REQUEST_SAMPLES_MAX });
                }
                if !started {
                    batch.start_series(key);
                    started = true;
                }
                batch.push_sample(sample);
                counts.samples += 1;
            }
            series::LABEL => {
                message.bytes()?;
                scattered = true;
            }
            series::EXEMPLAR => {
                message.bytes()?;
                counts.exemplars += 1;
            }
            series::HISTOGRAM => {
                message.bytes()?;
                counts.histograms += 1;
            }
            _ => message.skip_unknown(tag, series::KNOWN)?,
        }
    }
    Ok(scattered)
}

fn read_metadata(mut message: Reader<'_>, known: &mut Metadata) -> Result<(), RemoteWriteError> {
    let (mut metric, mut help, mut unit) = ("", "", "");
    let mut type_number = 0;
    while let Some(tag) = message.tag()? {
        match tag {
            metadata::TYPE => type_number = message.uint32()?,
            metadata::METRIC => metric = message.text()?,
            metadata::HELP => help = message.text()?,
            metadata::UNIT => unit = message.text()?,
            _ => message.skip_unknown(tag, metadata::KNOWN)?,
        }
    }
    known.push(metric, metric_type(type_number), [help, unit])
}

/// Copies the labels of every series into `arena`, wherever within the series they lie.
fn gather_labels(body: &[u8], arena: &mut LabelArena) -> Result<(), RemoteWriteError> {
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        if tag != request::TIMESERIES {
            reader.skip_unknown(tag, &[])?;
            continue;
        }
        let mut message = reader.message()?;
        while let Some(tag) = message.tag()? {
            if tag == series::LABEL {
                arena.push(read_label(message.message()?)?)?;
            } else {
                message.skip_unknown(tag, &[])?;
            }
        }
        arena.finish_set();
    }
    Ok(())
}

fn read_label<'a>(mut message: Reader<'a>) -> Result<Pair<'a>, Malformed> {
    let (mut name, mut value): Pair<'a> = (&[], &[]);
    while let Some(tag) = message.tag()? {
        match tag {
            label::NAME => name = message.bytes()?,
            label::VALUE => value = message.bytes()?,
            _ => message.skip_unknown(tag, label::KNOWN)?,
        }
    }
    Ok((name, value))
}

fn decode_label_fields(bytes: &[u8]) -> Result<Labels, LabelError> {
    let damaged = |error: Malformed| LabelError::Damaged { reason: error.reason };
    let mut reader = Reader::new(bytes);
    let mut pairs: SmallVec<[Pair<'_>; 32]> = SmallVec::new();
    while let Some(tag) = reader.tag().map_err(damaged)? {
        if tag != series::LABEL {
            return Err(LabelError::Damaged { reason: "field that is not a label" });
        }
        let label = reader.message().and_then(read_label).map_err(damaged)?;
        pairs.push(label);
    }
    pairs::to_labels(pairs)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use model::MetricMetadata;

    use super::*;
    use crate::remote_write::METADATA_BYTES_MAX;
    use crate::remote_write::oracle::{
        Label, MetricMetadata as Described, Sample, TimeSeries, WriteRequest, render, render_batch,
        render_labels, samples, skipped,
    };

    fn label(name: &str, value: &str) -> Label {
        Label { name: name.to_owned(), value: value.to_owned() }
    }

    fn series(labels: &[(&str, &str)], samples: &[(f64, i64)]) -> TimeSeries {
        TimeSeries {
            labels: labels.iter().map(|(name, value)| label(name, value)).collect(),
            samples: samples
                .iter()
                .map(|(value, timestamp)| Sample { value: *value, timestamp: *timestamp })
                .collect(),
            ..TimeSeries::default()
        }
    }

    /// Wraps the encoding of a series, which need not be valid, in a request.
    fn request_of(series: &[u8]) -> Vec<u8> {
        let mut body = vec![0x0a, u8::try_from(series.len()).expect("small")];
        body.extend_from_slice(series);
        body
    }

    #[track_caller]
    fn check(body: &[u8], expected: Result<&str, (usize, &'static str)>) {
        let mut arena = LabelArena::new();
        let decoded = decode_remote_write_v1(body, &mut arena);
        let decoded = decoded.map(|request| render_batch(&request.batch));
        let expected = expected.map(str::to_owned);
        let malformed = |(offset, reason)| RemoteWriteError::Malformed { offset, reason };
        assert_eq!(decoded, expected.map_err(malformed));
    }

    #[test]
    fn series_and_samples_are_read_in_order() {
        let request = WriteRequest {
            timeseries: vec![
                series(&[("__name__", "up"), ("job", "a")], &[(1.0, 1000), (2.0, -5)]),
                series(&[("job", "b"), ("__name__", "up")], &[(0.0, 0)]),
            ],
            metadata: Vec::new(),
        };
        let expected = "{__name__=\"up\", job=\"a\"} 3ff0000000000000@1000 4000000000000000@-5\n\
                        {__name__=\"up\", job=\"b\"} 0@0\n";
        check(&request.encode_to_vec(), Ok(expected));
        check(&[], Ok(""));
    }

    #[test]
    fn the_body_of_the_other_version_is_not_taken_for_an_empty_one() {
        check(&[0x22, 0], Err((1, OTHER_VERSION)));
        check(&[0x2a, 0], Err((1, OTHER_VERSION)));
    }

    #[test]
    fn a_staleness_marker_keeps_its_bits() {
        let stale = series(&[("a", "1")], &[(model::stale_nan(), 1)]).encode_to_vec();
        check(&request_of(&stale), Ok("{a=\"1\"} 7ff0000000000002@1\n"));
    }

    #[test]
    fn what_is_not_kept_is_counted() {
        let mut counted = series(&[("a", "1")], &[(1.0, 1)]);
        counted.exemplars = vec![vec![1], vec![]];
        counted.histograms = vec![vec![1, 2], vec![], vec![]];
        let metadata = Described {
            metric_type: 2,
            metric_family_name: "m".to_owned(),
            help: "h".to_owned(),
            unit: "u".to_owned(),
        };
        let request = WriteRequest { timeseries: vec![counted], metadata: vec![metadata] };
        let body = request.encode_to_vec();
        let mut arena = LabelArena::new();
        let request = decode_remote_write_v1(&body, &mut arena).expect("valid");
        let counts = RequestCounts { samples: 1, exemplars: 2, histograms: 3, metadata: 1 };
        assert_eq!(request.counts, counts);
        let metadata = MetricMetadata {
            metric_type: model::MetricType::Gauge,
            help: "h".to_owned(),
            unit: "u".to_owned(),
        };
        assert_eq!(request.batch.metadata(), [("m".to_owned(), metadata)]);
    }

    #[test]
    fn unknown_fields_are_skipped_and_labels_may_lie_anywhere() {
        let one = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'1'];
        let two = [0x0a, 6, 0x12, 1, b'2', 0x0a, 1, b'b'];
        let sample = [0x12, 2, 0x10, 7];
        let unknown = [0x2d, 1, 2, 3, 4];
        let together = "{a=\"1\", b=\"2\"} 0@7\n";
        check(&request_of(&[&one[..], &two, &sample].concat()), Ok(together));
        check(&request_of(&[&one[..], &two, &unknown, &sample].concat()), Ok(together));
        check(&request_of(&[&unknown[..], &one, &two, &sample].concat()), Ok(together));
        check(&request_of(&[&one[..], &unknown, &two, &sample].concat()), Ok(together));
        check(&request_of(&[&one[..], &sample, &two].concat()), Ok(together));
        check(&request_of(&[&sample[..], &one, &two].concat()), Ok(together));
        // One such series among others.
        let ordinary = request_of(&[&two[..], &sample].concat());
        let scattered = request_of(&[&one[..], &sample, &two].concat());
        let body = [&ordinary[..], &scattered, &ordinary].concat();
        check(&body, Ok("{b=\"2\"} 0@7\n{a=\"1\", b=\"2\"} 0@7\n{b=\"2\"} 0@7\n"));
    }

    #[test]
    fn invalid_labels_cost_the_series_only() {
        let sample = [0x12, 2, 0x10, 7];
        let repeated = series(&[("a", "1"), ("a", "2")], &[(0.0, 1)]).encode_to_vec();
        let valid = request_of(&[&[0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'1'], &sample[..]].concat());
        let body = [&request_of(&repeated)[..], &valid].concat();
        check(&body, Ok("invalid 0@1\n{a=\"1\"} 0@7\n"));
        let not_utf8 = [&[0x0a, 6, 0x0a, 1, b'a', 0x12, 1, 0xff], &sample[..]].concat();
        check(&request_of(&not_utf8), Ok("invalid 0@7\n"));
        let nameless = [&[0x0a, 3, 0x12, 1, b'1'], &sample[..]].concat();
        check(&request_of(&nameless), Ok("invalid 0@7\n"));
        let damaged = [&[0x0a, 2, 0x12, 9], &sample[..]].concat();
        check(&request_of(&damaged), Ok("invalid 0@7\n"));
    }

    #[test]
    fn errors_say_where() {
        check(&[0x0a], Err((1, "number cut off")));
        check(&[0x0a, 5, 0x0a], Err((1, "length beyond the end of the message")));
        check(&[0x0a, 2, 0x0a, 9], Err((3, "length beyond the end of the message")));
        check(&[0x0a, 4, 0x12, 2, 0x09, 1], Err((5, "number cut off")));
        check(&[0x0a, 4, 0x12, 2, 0x08, 1], Err((5, "field of the wrong type")));
        check(&[0x08, 1], Err((1, "field of the wrong type")));
        check(&[0x1a, 3, 0x12, 1, 0xff], Err((3, "text is not UTF-8")));
    }

    #[test]
    fn a_request_has_a_limit_of_samples() {
        let series = |samples: usize| {
            let mut body = vec![0x0a];
            prost::encoding::encode_varint(samples as u64 * 2, &mut body);
            body.extend(std::iter::repeat_n([0x12, 0], samples).flatten());
            body
        };
        let mut arena = LabelArena::new();
        let full = series(REQUEST_SAMPLES_MAX);
        let request = decode_remote_write_v1(&full, &mut arena).expect("as many as are allowed");
        assert_eq!(request.counts.samples, REQUEST_SAMPLES_MAX as u64);
        let error = decode_remote_write_v1(&series(REQUEST_SAMPLES_MAX + 1), &mut arena)
            .expect_err("one too many");
        assert_eq!(error, RemoteWriteError::TooManySamples { limit: REQUEST_SAMPLES_MAX });
    }

    #[test]
    fn a_request_has_a_limit_of_metadata() {
        let entry = |help: usize| {
            let described = Described {
                metric_family_name: "m".to_owned(),
                help: "x".repeat(help),
                ..Described::default()
            };
            WriteRequest { timeseries: Vec::new(), metadata: vec![described] }.encode_to_vec()
        };
        let fixed = size_of::<(String, MetricMetadata)>() + 1;
        let mut arena = LabelArena::new();
        let full = entry(METADATA_BYTES_MAX - fixed);
        assert!(decode_remote_write_v1(&full, &mut arena).is_ok());
        let error = decode_remote_write_v1(&entry(METADATA_BYTES_MAX - fixed + 1), &mut arena)
            .expect_err("one byte too many");
        assert_eq!(error, RemoteWriteError::TooMuchMetadata { limit: METADATA_BYTES_MAX });
    }

    #[test]
    fn a_request_that_failed_leaves_nothing_behind() {
        let one = [0x0a, 6, 0x0a, 1, b'a', 0x12, 1, b'1'];
        let sample = [0x12, 2, 0x10, 7];
        let scattered = request_of(&[&sample[..], &one].concat());
        // The labels of the second series fail after those of the first were gathered.
        let bad = request_of(&[&sample[..], &[0x0a, 2, 0x12, 9]].concat());
        let mut arena = LabelArena::new();
        let body = [&scattered[..], &bad].concat();
        assert!(decode_remote_write_v1(&body, &mut arena).is_err());
        let request = decode_remote_write_v1(&scattered, &mut arena).expect("valid");
        assert_eq!(render_batch(&request.batch), "{a=\"1\"} 0@7\n");
    }

    fn oracle(request: &WriteRequest) -> String {
        render(
            request
                .timeseries
                .iter()
                .map(|series| (render_labels(&series.labels), series.samples.as_slice())),
        )
    }

    fn requests() -> impl Strategy<Value = WriteRequest> {
        let label = ("[a-d]{0,2}", ".{0,150}").prop_map(|(name, value)| Label { name, value });
        let labels = proptest::collection::vec(label, 0..5);
        let series = (labels, samples(), skipped(), skipped()).prop_map(
            |(labels, samples, exemplars, histograms)| TimeSeries {
                labels,
                samples,
                exemplars,
                histograms,
            },
        );
        let metadata = (any::<i32>(), ".{0,9}", ".{0,9}", ".{0,9}").prop_map(
            |(metric_type, metric_family_name, help, unit)| Described {
                metric_type,
                metric_family_name,
                help,
                unit,
            },
        );
        (proptest::collection::vec(series, 0..5), proptest::collection::vec(metadata, 0..3))
            .prop_map(|(timeseries, metadata)| WriteRequest { timeseries, metadata })
    }

    proptest! {
        #[test]
        fn valid_requests_read_as_prost_reads_them(request in requests()) {
            let body = request.encode_to_vec();
            let mut arena = LabelArena::new();
            let decoded = decode_remote_write_v1(&body, &mut arena).expect("valid");
            prop_assert_eq!(render_batch(&decoded.batch), oracle(&request));
            let series = request.timeseries.iter();
            let counts = RequestCounts {
                samples: series.clone().map(|series| series.samples.len() as u64).sum(),
                exemplars: series.clone().map(|series| series.exemplars.len() as u64).sum(),
                histograms: series.clone().map(|series| series.histograms.len() as u64).sum(),
                metadata: request.metadata.len() as u64,
            };
            prop_assert_eq!(decoded.counts, counts);
            let named = request.metadata.iter().filter(|entry| !entry.metric_family_name.is_empty());
            prop_assert_eq!(decoded.batch.metadata().len(), named.clone().count());
            for ((metric, ours), theirs) in decoded.batch.metadata().iter().zip(named) {
                prop_assert_eq!(metric, &theirs.metric_family_name);
                prop_assert_eq!(&ours.help, &theirs.help);
                prop_assert_eq!(&ours.unit, &theirs.unit);
            }
        }

        #[test]
        fn a_changed_byte_never_panics_and_prost_agrees(
            request in requests(),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut body = request.encode_to_vec();
            prop_assume!(!body.is_empty());
            let at = at.index(body.len());
            body[at] = byte;
            let mut arena = LabelArena::new();
            let ours = decode_remote_write_v1(&body, &mut arena);
            // Prost skips what version 2.0 has.
            let is_other_version = matches!(
                &ours,
                Err(RemoteWriteError::Malformed { reason: OTHER_VERSION, .. })
            );
            // We are more lenient: labels are checked later, and by series.
            let theirs = WriteRequest::decode(body.as_slice());
            if !is_other_version && let Ok(theirs) = theirs {
                let ours = ours.expect("prost takes it");
                prop_assert_eq!(render_batch(&ours.batch), oracle(&theirs));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..128)) {
            drop(decode_remote_write_v1(&body, &mut LabelArena::new()));
        }
    }
}
