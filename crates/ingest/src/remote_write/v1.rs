//! Remote write 1.0: `prometheus.WriteRequest`.
//!
//! One pass, nothing allocated per series: the key of a series is the run of label fields as it lies in the body,
//! and the store looks into it only when it has not met it before.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use model::{LabelEncoding, LabelError, Labels, MetricMetadata, SeriesKey, WriteBatch};
use smallvec::SmallVec;

use crate::pairs::{self, PAIRS, Pair};
use crate::protobuf::{Malformed, Reader, Tag};
use crate::remote_write::{
    LabelArena, REQUEST_SAMPLES_MAX, RemoteWriteError, RemoteWriteRequest, RequestCounts,
    metric_type, read_sample,
};

/// The encoding of a run of fields `repeated Label labels = 1`, tags included.
const LABEL_FIELDS: LabelEncoding = LabelEncoding { id: 1, decode: decode_label_fields };

mod request {
    use super::Tag;

    pub(super) const TIMESERIES: Tag = Tag::bytes(1);
    pub(super) const METADATA: Tag = Tag::bytes(3);
    pub(super) const KNOWN: &[u32] = &[1, 3];
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
            let request = read_request(body, &mut arena.sets())?;
            Ok(request.expect("the labels of every series were gathered"))
        }
    }
}

/// Reads the request; the keys come from `gathered`, or from the body when it is empty.
///
/// Returns `None` when the labels of a series are not its first fields and nothing was gathered.
fn read_request<'a>(
    body: &'a [u8],
    gathered: &mut dyn Iterator<Item = &'a [u8]>,
) -> Result<Option<RemoteWriteRequest<'a>>, RemoteWriteError> {
    let mut batch = WriteBatch::new();
    let mut counts = RequestCounts::default();
    let mut reader = Reader::new(body);
    while let Some(tag) = reader.tag()? {
        match tag {
            request::TIMESERIES => {
                let mut message = reader.message()?;
                let run = take_label_fields(&mut message)?;
                let gathered = gathered.next().map(|bytes| SeriesKey { encoding: &PAIRS, bytes });
                let key = gathered.unwrap_or(SeriesKey { encoding: &LABEL_FIELDS, bytes: run });
                let scattered = read_series(message, key, &mut batch, &mut counts)?;
                if scattered && gathered.is_none() {
                    return Ok(None);
                }
            }
            request::METADATA => {
                let (metric, metadata) = read_metadata(reader.message()?)?;
                batch.push_metadata(metric, metadata);
                counts.metadata += 1;
            }
            _ => reader.skip_unknown(tag, request::KNOWN)?,
        }
    }
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

fn read_metadata(mut message: Reader<'_>) -> Result<(String, MetricMetadata), Malformed> {
    let mut metric = String::new();
    let mut read = MetricMetadata::default();
    while let Some(tag) = message.tag()? {
        match tag {
            metadata::TYPE => read.metric_type = metric_type(message.uint32()?),
            metadata::METRIC => message.text()?.clone_into(&mut metric),
            metadata::HELP => message.text()?.clone_into(&mut read.help),
            metadata::UNIT => message.text()?.clone_into(&mut read.unit),
            _ => message.skip_unknown(tag, metadata::KNOWN)?,
        }
    }
    Ok((metric, read))
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
