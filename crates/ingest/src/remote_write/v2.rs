//! Remote write 2.0: `io.prometheus.write.v2.Request`.
//!
//! The labels of a series are references into one table of texts, so equal series have equal bytes only within
//! one request; the key is therefore spelt out in an arena.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::HashSet;

use model::{METRIC_NAME, Sample, WriteBatch};

use crate::arena::LabelArena;
use crate::protobuf::{Malformed, Reader, Tag};
use crate::remote_write::{
    Metadata, REQUEST_SAMPLES_MAX, RemoteWriteError, RemoteWriteRequest, RequestCounts,
    metric_type, read_sample,
};

mod request {
    use super::Tag;

    pub(super) const SYMBOL: Tag = Tag::bytes(4);
    pub(super) const TIMESERIES: Tag = Tag::bytes(5);
    pub(super) const KNOWN: &[u32] = &[4, 5];
    /// What the fields of version 1.0 are. Skipping them would lose everything that the sender sent.
    pub(super) const OF_VERSION_1: &[u32] = &[1, 2, 3];
}

mod series {
    use super::Tag;

    pub(super) const LABEL_REFS: Tag = Tag::bytes(1);
    pub(super) const LABEL_REF: Tag = Tag::varint(1);
    pub(super) const SAMPLE: Tag = Tag::bytes(2);
    pub(super) const HISTOGRAM: Tag = Tag::bytes(3);
    pub(super) const EXEMPLAR: Tag = Tag::bytes(4);
    pub(super) const METADATA: Tag = Tag::bytes(5);
    pub(super) const KNOWN: &[u32] = &[1, 2, 3, 4, 5];
}

mod metadata {
    use super::Tag;

    pub(super) const TYPE: Tag = Tag::varint(1);
    pub(super) const HELP_REF: Tag = Tag::varint(3);
    pub(super) const UNIT_REF: Tag = Tag::varint(4);
    pub(super) const KNOWN: &[u32] = &[1, 3, 4];
}

/// Decodes the decompressed body of a remote write 2.0 request.
///
/// The keys borrow from `arena`. O(bytes of the body and of the label sets in full).
/// Whether a label set is valid is noticed when its key is decoded; whether references are is checked here.
///
/// # Errors
///
/// The body is malformed, a reference leads nowhere, or there is too much in one request.
pub fn decode_remote_write_v2<'a>(
    body: &'a [u8],
    arena: &'a mut LabelArena,
) -> Result<RemoteWriteRequest<'a>, RemoteWriteError> {
    arena.clear();
    let mut decoder = Decoder {
        symbols: read_symbols(body)?,
        arena,
        samples: Vec::new(),
        sample_ends: Vec::new(),
        metadata: Metadata::default(),
        metadata_seen: HashSet::new(),
        counts: RequestCounts::default(),
    };
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        match tag {
            request::TIMESERIES => decoder.read_series(reader.message()?)?,
            _ => reader.skip_unknown(tag, &[])?,
        }
    }
    Ok(decoder.finish())
}

/// Metadata as it is referred to, with the metric's name: the same for many series of a request.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, Hash)]
struct MetadataRefs {
    metric_ref: u32,
    type_number: u32,
    help_ref: u32,
    unit_ref: u32,
}

/// What was read so far. Samples go into the batch in the end, when the arena does not move any more.
struct Decoder<'a> {
    symbols: Vec<&'a str>,
    arena: &'a mut LabelArena,
    samples: Vec<Sample>,
    /// Where the samples of each label set in the arena end.
    sample_ends: Vec<usize>,
    metadata: Metadata,
    metadata_seen: HashSet<MetadataRefs>,
    counts: RequestCounts,
}

impl<'a> Decoder<'a> {
    fn read_series(&mut self, mut message: Reader<'a>) -> Result<(), RemoteWriteError> {
        let start = message;
        let mut labels = LabelRefs::default();
        let mut declared = None;
        let samples_before = self.samples.len();
        while let Some(tag) = message.tag()? {
            match tag {
                series::LABEL_REFS => {
                    let mut refs = message.message()?;
                    while !refs.is_empty() {
                        self.push_label_ref(&mut labels, &mut refs)?;
                    }
                }
                series::LABEL_REF => self.push_label_ref(&mut labels, &mut message)?,
                series::SAMPLE => {
                    let sample = read_sample(message.message()?)?;
                    if self.samples.len() == REQUEST_SAMPLES_MAX {
                        return Err(RemoteWriteError::TooManySamples {
                            limit: REQUEST_SAMPLES_MAX,
                        });
                    }
                    self.samples.push(sample);
                    self.counts.samples += 1;
                }
                series::HISTOGRAM => {
                    message.bytes()?;
                    self.counts.histograms += 1;
                }
                series::EXEMPLAR => {
                    message.bytes()?;
                    self.counts.exemplars += 1;
                }
                series::METADATA => {
                    let refs = self.read_metadata(message.message()?)?;
                    declared = Some(refs);
                }
                _ => message.skip_unknown(tag, series::KNOWN)?,
            }
        }
        if labels.name.is_some() {
            return Err(start.malformed("odd number of label references in the series").into());
        }
        if let Some(declared) = declared {
            self.push_metadata(MetadataRefs { metric_ref: labels.metric_ref, ..declared })?;
        }
        if self.samples.len() == samples_before {
            self.arena.drop_set();
        } else {
            self.arena.finish_set();
            self.sample_ends.push(self.samples.len());
        }
        Ok(())
    }

    /// Takes one reference of a label set: names and values take turns.
    #[inline]
    fn push_label_ref(
        &mut self,
        labels: &mut LabelRefs<'a>,
        refs: &mut Reader<'a>,
    ) -> Result<(), RemoteWriteError> {
        let (reference, text) = self.take_symbol(refs)?;
        match labels.name.take() {
            None => labels.name = Some(text),
            Some(name) => {
                if name == METRIC_NAME {
                    labels.metric_ref = reference;
                }
                self.arena.push((name.as_bytes(), text.as_bytes()))?;
            }
        }
        Ok(())
    }

    #[inline]
    fn take_symbol(&self, refs: &mut Reader<'a>) -> Result<(u32, &'a str), RemoteWriteError> {
        let offset = refs.offset();
        let reference = refs.uint32()?;
        match self.symbols.get(reference as usize) {
            Some(text) => Ok((reference, text)),
            None => {
                let symbols = self.symbols.len();
                Err(RemoteWriteError::UnknownSymbol { offset, reference, symbols })
            }
        }
    }

    fn read_metadata(&self, mut message: Reader<'a>) -> Result<MetadataRefs, RemoteWriteError> {
        let mut refs = MetadataRefs::default();
        while let Some(tag) = message.tag()? {
            match tag {
                metadata::TYPE => refs.type_number = message.uint32()?,
                metadata::HELP_REF => refs.help_ref = self.take_symbol(&mut message)?.0,
                metadata::UNIT_REF => refs.unit_ref = self.take_symbol(&mut message)?.0,
                _ => message.skip_unknown(tag, metadata::KNOWN)?,
            }
        }
        Ok(refs)
    }

    /// Keeps metadata that says something, once: senders repeat it for every series of a metric.
    fn push_metadata(&mut self, refs: MetadataRefs) -> Result<(), RemoteWriteError> {
        let says_nothing = MetadataRefs { metric_ref: refs.metric_ref, ..Default::default() };
        if refs == says_nothing || refs.metric_ref == 0 || !self.metadata_seen.insert(refs) {
            return Ok(());
        }
        let text = |reference: u32| self.symbols.get(reference as usize).copied().unwrap_or("");
        let texts = [text(refs.help_ref), text(refs.unit_ref)];
        self.metadata.push(text(refs.metric_ref), metric_type(refs.type_number), texts)?;
        self.counts.metadata += 1;
        Ok(())
    }

    fn finish(self) -> RemoteWriteRequest<'a> {
        let mut batch = WriteBatch::new();
        let arena: &'a LabelArena = self.arena;
        let mut samples = self.samples.iter();
        let mut taken = 0;
        for (key, end) in arena.keys().zip(&self.sample_ends) {
            batch.start_series(key);
            for sample in samples.by_ref().take(end - taken) {
                batch.push_sample(*sample);
            }
            taken = *end;
        }
        self.metadata.move_to(&mut batch);
        RemoteWriteRequest { batch, counts: self.counts }
    }
}

/// How far the references of a label set were read.
#[derive(Default)]
struct LabelRefs<'a> {
    /// A name whose value comes next.
    name: Option<&'a str>,
    /// The symbol that is the metric's name; 0, the empty text, when there is none.
    metric_ref: u32,
}

/// Returns the table of texts. It may follow the series that refer to it.
fn read_symbols(body: &[u8]) -> Result<Vec<&str>, Malformed> {
    let mut symbols = Vec::new();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        let at = reader;
        match tag {
            request::SYMBOL => symbols.push(reader.text()?),
            request::TIMESERIES => {
                reader.bytes()?;
            }
            _ if request::OF_VERSION_1.contains(&tag.field()) => {
                return Err(at.malformed("field of version 1.0, which the Content-Type must name"));
            }
            _ => reader.skip_unknown(tag, request::KNOWN)?,
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(at.malformed("first symbol is not empty"));
        }
    }
    Ok(symbols)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;
    use prost::Message as _;

    use model::MetricMetadata;

    use super::*;
    use crate::remote_write::METADATA_BYTES_MAX;
    use crate::remote_write::oracle::{
        Label, MetadataV2, RequestV2, Sample, TimeSeriesV2, render, render_batch, render_labels,
        samples, skipped,
    };

    fn request(symbols: &[&str], timeseries: Vec<TimeSeriesV2>) -> RequestV2 {
        RequestV2 { symbols: symbols.iter().map(|&symbol| symbol.to_owned()).collect(), timeseries }
    }

    fn series(labels_refs: &[u32]) -> TimeSeriesV2 {
        TimeSeriesV2 {
            labels_refs: labels_refs.to_vec(),
            samples: vec![Sample { value: 0.0, timestamp: 7 }],
            ..TimeSeriesV2::default()
        }
    }

    #[track_caller]
    fn check(body: &[u8], expected: Result<&str, RemoteWriteError>) {
        let mut arena = LabelArena::new();
        let decoded = decode_remote_write_v2(body, &mut arena);
        let decoded = decoded.map(|request| render_batch(&request.batch));
        assert_eq!(decoded, expected.map(str::to_owned));
    }

    fn malformed(offset: usize, reason: &'static str) -> RemoteWriteError {
        RemoteWriteError::Malformed { offset, reason }
    }

    #[test]
    fn references_become_labels() {
        let symbols = ["", "__name__", "up", "job", "a"];
        let request = request(&symbols, vec![series(&[1, 2, 3, 4]), series(&[1, 2])]);
        let expected = "{__name__=\"up\", job=\"a\"} 0@7\n{__name__=\"up\"} 0@7\n";
        check(&request.encode_to_vec(), Ok(expected));
        check(&[], Ok(""));
    }

    #[test]
    fn references_need_not_be_packed_nor_the_symbols_first() {
        let symbols = [0x22, 0, 0x22, 1, b'a', 0x22, 1, b'b'];
        let sample = [0x12, 2, 0x10, 7];
        let packed = [&[0x2a, 8, 0x0a, 2, 1, 2][..], &sample].concat();
        let single = [&[0x2a, 8, 0x08, 1, 0x08, 2][..], &sample].concat();
        let split = [&[0x2a, 9, 0x0a, 1, 1][..], &sample, &[0x08, 2]].concat();
        for series in [packed, single, split] {
            check(&[&symbols[..], &series].concat(), Ok("{a=\"b\"} 0@7\n"));
            check(&[&series[..], &symbols].concat(), Ok("{a=\"b\"} 0@7\n"));
        }
    }

    #[test]
    fn invalid_references_are_refused() {
        let odd = request(&["", "a"], vec![series(&[1])]).encode_to_vec();
        let reason = "odd number of label references in the series";
        check(&odd, Err(malformed(7, reason)));
        let beyond = request(&["", "a"], vec![series(&[1, 2])]).encode_to_vec();
        let error = RemoteWriteError::UnknownSymbol { offset: 10, reference: 2, symbols: 2 };
        check(&beyond, Err(error));
        let first = request(&["a", "b"], vec![series(&[0, 1])]).encode_to_vec();
        check(&first, Err(malformed(1, "first symbol is not empty")));
        let none = request(&[], vec![series(&[0, 0])]).encode_to_vec();
        let error = RemoteWriteError::UnknownSymbol { offset: 4, reference: 0, symbols: 0 };
        check(&none, Err(error));
        check(&[0x22, 1, 0xff], Err(malformed(1, "text is not UTF-8")));
    }

    #[test]
    fn the_body_of_the_other_version_is_not_taken_for_an_empty_one() {
        let reason = "field of version 1.0, which the Content-Type must name";
        check(&[0x0a, 0], Err(malformed(1, reason)));
        check(&[0x1a, 0], Err(malformed(1, reason)));
    }

    #[test]
    fn invalid_labels_cost_the_series_only() {
        let symbols = ["", "a", "b"];
        let request =
            request(&symbols, vec![series(&[1, 1, 1, 2]), series(&[0, 1]), series(&[2, 1])]);
        check(&request.encode_to_vec(), Ok("invalid 0@7\ninvalid 0@7\n{b=\"a\"} 0@7\n"));
    }

    #[test]
    fn metadata_is_kept_once_and_what_is_not_kept_is_counted() {
        let symbols = ["", "__name__", "up", "job", "a", "help", "unit"];
        let described = |metric_type, labels_refs: &[u32]| TimeSeriesV2 {
            metadata: Some(MetadataV2 { metric_type, help_ref: 5, unit_ref: 6 }),
            exemplars: vec![vec![], vec![]],
            histograms: vec![vec![]],
            ..series(labels_refs)
        };
        let silent = TimeSeriesV2 { metadata: Some(MetadataV2::default()), ..series(&[1, 2]) };
        let mut without_samples = described(1, &[1, 2, 3, 4]);
        without_samples.samples.clear();
        let request = request(&symbols, vec![described(1, &[1, 2]), without_samples, silent]);
        let body = request.encode_to_vec();
        let mut arena = LabelArena::new();
        let request = decode_remote_write_v2(&body, &mut arena).expect("valid");
        let counts = RequestCounts { samples: 2, exemplars: 4, histograms: 2, metadata: 1 };
        assert_eq!(request.counts, counts);
        let metadata = MetricMetadata {
            metric_type: model::MetricType::Counter,
            help: "help".to_owned(),
            unit: "unit".to_owned(),
        };
        assert_eq!(request.batch.metadata(), [("up".to_owned(), metadata)]);
        let expected = "{__name__=\"up\"} 0@7\n{__name__=\"up\"} 0@7\n";
        assert_eq!(render_batch(&request.batch), expected);
    }

    #[test]
    fn a_long_symbol_that_is_used_often_does_not_fill_the_memory() {
        let long = "x".repeat(1 << 20);
        let fits = request(&["", "a", &long], vec![series(&[1, 2]); 127]).encode_to_vec();
        let mut arena = LabelArena::new();
        assert!(decode_remote_write_v2(&fits, &mut arena).is_ok());
        let body = request(&["", "a", &long], vec![series(&[1, 2]); 128]).encode_to_vec();
        let error = decode_remote_write_v2(&body, &mut arena).expect_err("a little over the limit");
        assert_eq!(error, RemoteWriteError::TooManyLabels { limit: LabelArena::BYTES_MAX });
    }

    #[test]
    fn a_long_help_that_is_used_often_does_not_fill_the_memory() {
        let help = "x".repeat(1 << 20);
        let described = |metric_type| TimeSeriesV2 {
            metadata: Some(MetadataV2 { metric_type, help_ref: 3, unit_ref: 0 }),
            ..series(&[1, 2])
        };
        let symbols = ["", "__name__", "up", &help];
        let body = request(&symbols, (1..=16).map(described).collect()).encode_to_vec();
        let mut arena = LabelArena::new();
        let error = decode_remote_write_v2(&body, &mut arena).expect_err("16 MiB and a little");
        assert_eq!(error, RemoteWriteError::TooMuchMetadata { limit: METADATA_BYTES_MAX });
        let body = request(&symbols, (1..=15).map(described).collect()).encode_to_vec();
        assert!(decode_remote_write_v2(&body, &mut arena).is_ok());
    }

    #[test]
    fn a_request_that_failed_leaves_nothing_behind() {
        let symbols = ["", "a", "b"];
        let bad = request(&symbols, vec![series(&[1, 2]), series(&[1, 9])]).encode_to_vec();
        let good = request(&symbols, vec![series(&[2, 1])]).encode_to_vec();
        let mut arena = LabelArena::new();
        assert!(decode_remote_write_v2(&bad, &mut arena).is_err());
        let request = decode_remote_write_v2(&good, &mut arena).expect("valid");
        assert_eq!(render_batch(&request.batch), "{b=\"a\"} 0@7\n");
    }

    /// Returns what the request says, or `None` when it breaks a rule.
    fn oracle(request: &RequestV2) -> Option<String> {
        if request.symbols.first().is_some_and(|first| !first.is_empty()) {
            return None;
        }
        let mut rendered = Vec::new();
        for series in &request.timeseries {
            let texts: Option<Vec<&String>> = series
                .labels_refs
                .iter()
                .map(|reference| request.symbols.get(*reference as usize))
                .collect();
            let texts = texts.filter(|texts| texts.len() % 2 == 0)?;
            for reference in series.metadata.iter().flat_map(|refs| [refs.help_ref, refs.unit_ref])
            {
                // Zero is not sent.
                if reference != 0 && reference as usize >= request.symbols.len() {
                    return None;
                }
            }
            let labels: Vec<Label> = texts
                .chunks_exact(2)
                .map(|pair| Label { name: pair[0].clone(), value: pair[1].clone() })
                .collect();
            rendered.push((render_labels(&labels), series.samples.as_slice()));
        }
        Some(render(rendered.into_iter()))
    }

    fn requests() -> impl Strategy<Value = RequestV2> {
        let symbols = proptest::collection::vec(".{1,200}", 1..6).prop_map(|mut symbols| {
            symbols.insert(0, String::new());
            symbols
        });
        let metadata =
            (any::<i32>(), 0_u32..6, 0_u32..6).prop_map(|(metric_type, help_ref, unit_ref)| {
                MetadataV2 { metric_type, help_ref, unit_ref }
            });
        let series = (
            proptest::collection::vec(0_u32..6, 0..8),
            samples(),
            skipped(),
            skipped(),
            proptest::option::of(metadata),
            any::<i64>(),
        )
            .prop_map(
                |(labels_refs, samples, histograms, exemplars, metadata, created_timestamp)| {
                    TimeSeriesV2 {
                        labels_refs,
                        samples,
                        histograms,
                        exemplars,
                        metadata,
                        created_timestamp,
                    }
                },
            );
        (symbols, proptest::collection::vec(series, 0..5))
            .prop_map(|(symbols, timeseries)| RequestV2 { symbols, timeseries })
    }

    fn decoded(body: &[u8]) -> Option<String> {
        let mut arena = LabelArena::new();
        let request = decode_remote_write_v2(body, &mut arena).ok()?;
        Some(render_batch(&request.batch))
    }

    proptest! {
        #[test]
        fn requests_read_as_prost_reads_them(request in requests()) {
            prop_assert_eq!(decoded(&request.encode_to_vec()), oracle(&request));
        }

        #[test]
        fn a_changed_byte_never_panics_and_prost_agrees(
            request in requests(),
            at in any::<proptest::sample::Index>(),
            byte in any::<u8>(),
        ) {
            let mut body = request.encode_to_vec();
            let at = at.index(body.len());
            body[at] = byte;
            let ours = decoded(&body);
            // A reference that is replaced later in the message is checked by us and not by the oracle.
            if let (Ok(theirs), Some(ours)) = (RequestV2::decode(body.as_slice()), ours) {
                prop_assert_eq!(Some(ours), oracle(&theirs));
            }
        }

        #[test]
        fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..128)) {
            drop(decode_remote_write_v2(&body, &mut LabelArena::new()));
        }
    }
}
