//! Remote write 2.0: `io.prometheus.write.v2.Request`.
//!
//! The labels of a series are references into one table of texts, so equal series have equal bytes only within
//! one request; the key is therefore spelt out in an arena.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use std::collections::HashSet;

use model::{METRIC_NAME, MetricMetadata, Sample, SeriesKey, WriteBatch};

use crate::pairs::PAIRS;
use crate::protobuf::{Malformed, Reader, Tag};
use crate::remote_write::{
    LabelArena, REQUEST_SAMPLES_MAX, RemoteWriteError, RemoteWriteRequest, RequestCounts,
    metric_type, read_sample,
};

mod request {
    use super::Tag;

    pub(super) const SYMBOL: Tag = Tag::bytes(4);
    pub(super) const TIMESERIES: Tag = Tag::bytes(5);
    pub(super) const KNOWN: &[u32] = &[4, 5];
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
        metadata: Vec::new(),
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
    metadata: Vec<(&'a str, MetricMetadata)>,
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
            self.push_metadata(MetadataRefs { metric_ref: labels.metric_ref, ..declared });
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
    fn push_metadata(&mut self, refs: MetadataRefs) {
        let says_nothing = MetadataRefs { metric_ref: refs.metric_ref, ..Default::default() };
        if refs == says_nothing || !self.metadata_seen.insert(refs) {
            return;
        }
        let text = |reference: u32| self.symbols.get(reference as usize).copied().unwrap_or("");
        let metric = text(refs.metric_ref);
        if metric.is_empty() {
            return;
        }
        let metadata = MetricMetadata {
            metric_type: metric_type(refs.type_number),
            help: text(refs.help_ref).to_owned(),
            unit: text(refs.unit_ref).to_owned(),
        };
        self.metadata.push((metric, metadata));
        self.counts.metadata += 1;
    }

    fn finish(self) -> RemoteWriteRequest<'a> {
        let mut batch = WriteBatch::new();
        let arena: &'a LabelArena = self.arena;
        let mut samples = self.samples.iter();
        let mut taken = 0;
        for (bytes, end) in arena.sets().zip(&self.sample_ends) {
            batch.start_series(SeriesKey { encoding: &PAIRS, bytes });
            for sample in samples.by_ref().take(end - taken) {
                batch.push_sample(*sample);
            }
            taken = *end;
        }
        for (metric, metadata) in self.metadata {
            batch.push_metadata(metric.to_owned(), metadata);
        }
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
            _ => reader.skip_unknown(tag, request::KNOWN)?,
        }
        if symbols.first().is_some_and(|first| !first.is_empty()) {
            return Err(at.malformed("first symbol is not empty"));
        }
    }
    Ok(symbols)
}
