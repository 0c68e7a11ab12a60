//! Prometheus remote write: what both versions share.

#[cfg(test)]
mod oracle;
mod v1;
mod v2;

use model::{MetricMetadata, MetricType, Sample, Timestamp, WriteBatch};

use crate::arena::{ArenaFull, LabelArena};
use crate::protobuf::{Malformed, Reader, Tag};

pub use v1::decode_remote_write_v1;
pub use v2::decode_remote_write_v2;

/// The most samples in one request. A sample can be two bytes on the wire, and takes sixteen in memory.
const REQUEST_SAMPLES_MAX: usize = 4 << 20;

/// The most bytes that the metadata of one request may take in memory; texts in version 2.0 can be referred to often.
const METADATA_BYTES_MAX: usize = 16 << 20;

/// A decoded request.
#[derive(Debug)]
pub struct RemoteWriteRequest<'a> {
    /// Its series with at least one sample, and its metadata.
    pub batch: WriteBatch<'a>,
    /// What it holds, stored or not.
    pub counts: RequestCounts,
}

/// How many things a request holds, whether we keep them or not.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct RequestCounts {
    /// Samples; all of them are in the batch.
    pub samples: u64,
    /// Exemplars; not kept.
    pub exemplars: u64,
    /// Samples of native histograms; not kept.
    pub histograms: u64,
    /// Entries of metadata.
    pub metadata: u64,
}

/// Why a body is not a request that we can read. The sender must not send it again.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum RemoteWriteError {
    /// The body is not protobuf, or not the right message.
    #[error("malformed remote write request: {reason} at byte {offset}")]
    Malformed {
        /// Where, in the decompressed body.
        offset: usize,
        /// What is wrong there.
        reason: &'static str,
    },
    /// A reference does not point into the table of symbols.
    #[error(
        "reference {reference} at byte {offset} is beyond the {symbols} symbols of the request"
    )]
    UnknownSymbol {
        /// Where, in the decompressed body.
        offset: usize,
        /// The reference.
        reference: u32,
        /// How many symbols there are.
        symbols: usize,
    },
    /// There are too many samples.
    #[error("more than {limit} samples in one request; send fewer at once")]
    TooManySamples {
        /// How many there may be.
        limit: usize,
    },
    /// The metadata is too large.
    #[error("the metadata of the request takes more than {limit} bytes; send less at once")]
    TooMuchMetadata {
        /// How large it may be, in bytes.
        limit: usize,
    },
    /// The label sets are too large together.
    #[error(
        "the label sets of the request take more than {limit} bytes; send fewer series at once"
    )]
    TooManyLabels {
        /// How large they may be, in bytes.
        limit: usize,
    },
}

impl From<ArenaFull> for RemoteWriteError {
    fn from(ArenaFull: ArenaFull) -> Self {
        Self::TooManyLabels { limit: LabelArena::BYTES_MAX }
    }
}

impl From<Malformed> for RemoteWriteError {
    fn from(Malformed { offset, reason }: Malformed) -> Self {
        Self::Malformed { offset, reason }
    }
}

/// The metadata of a request, of limited size.
#[derive(Debug, Default)]
struct Metadata {
    entries: Vec<(String, MetricMetadata)>,
    bytes: usize,
}

impl Metadata {
    /// Adds what is known about a metric; nothing when it has no name.
    fn push(
        &mut self,
        metric: &str,
        metric_type: MetricType,
        [help, unit]: [&str; 2],
    ) -> Result<(), RemoteWriteError> {
        if metric.is_empty() {
            return Ok(());
        }
        let entry = size_of::<(String, MetricMetadata)>();
        self.bytes += entry + metric.len() + help.len() + unit.len();
        if self.bytes > METADATA_BYTES_MAX {
            return Err(RemoteWriteError::TooMuchMetadata { limit: METADATA_BYTES_MAX });
        }
        let (help, unit) = (help.to_owned(), unit.to_owned());
        self.entries.push((metric.to_owned(), MetricMetadata { metric_type, help, unit }));
        Ok(())
    }

    fn move_to(self, batch: &mut WriteBatch<'_>) {
        for (metric, metadata) in self.entries {
            batch.push_metadata(metric, metadata);
        }
    }
}

mod sample {
    use super::Tag;

    pub(super) const VALUE: Tag = Tag::fixed64(1);
    pub(super) const TIMESTAMP: Tag = Tag::varint(2);
    pub(super) const KNOWN: &[u32] = &[1, 2];
}

/// Reads a sample; both versions spell it the same way.
#[inline]
fn read_sample(mut message: Reader<'_>) -> Result<Sample, Malformed> {
    let mut value = 0.0;
    let mut timestamp = 0;
    while let Some(tag) = message.tag()? {
        match tag {
            sample::VALUE => value = message.double()?,
            sample::TIMESTAMP => timestamp = message.int64()?,
            _ => message.skip_unknown(tag, sample::KNOWN)?,
        }
    }
    Ok(Sample::new(Timestamp::from_millis(timestamp), value))
}

/// Returns the type with this number; both versions count the same way.
const fn metric_type(number: u32) -> MetricType {
    match number {
        1 => MetricType::Counter,
        2 => MetricType::Gauge,
        3 => MetricType::Histogram,
        4 => MetricType::GaugeHistogram,
        5 => MetricType::Summary,
        6 => MetricType::Info,
        7 => MetricType::StateSet,
        _ => MetricType::Unknown,
    }
}
