//! What a decoder hands to the store: many series with a few samples each, as they lie in the request.

use std::fmt;

use crate::{LabelError, Labels, MetricMetadata, Sample};

/// A way to spell a label set in bytes.
///
/// The store remembers which series it found behind the bytes of a key, so that it decodes the labels of a
/// series once and not once per sample.
/// Equal bytes must always mean equal labels; different bytes may mean equal labels too.
pub struct LabelEncoding {
    /// A number of its own for each encoding: keys of different encodings never mean each other.
    pub id: u8,
    /// Decodes a key. Called when the store meets it for the first time.
    pub decode: fn(&[u8]) -> Result<Labels, LabelError>,
}

impl LabelEncoding {
    /// The encoding of [`Labels::as_bytes`].
    pub const CANONICAL: Self = Self { id: 0, decode: Labels::from_bytes };
}

impl fmt::Debug for LabelEncoding {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("LabelEncoding").field("id", &self.id).finish_non_exhaustive()
    }
}

/// The labels of a series as they were received.
#[derive(Clone, Copy, Debug)]
pub struct SeriesKey<'a> {
    /// How they are spelt.
    pub encoding: &'static LabelEncoding,
    /// The spelling.
    pub bytes: &'a [u8],
}

impl<'a> SeriesKey<'a> {
    /// Returns the key of labels that are decoded already.
    #[must_use]
    pub fn canonical(labels: &'a Labels) -> Self {
        Self { encoding: &LabelEncoding::CANONICAL, bytes: labels.as_bytes() }
    }

    /// Returns the labels.
    ///
    /// # Errors
    ///
    /// The bytes are not a valid spelling, or spell an impossible set.
    pub fn decode(self) -> Result<Labels, LabelError> {
        (self.encoding.decode)(self.bytes)
    }
}

/// The samples of one series within a [`WriteBatch`].
#[derive(Clone, Copy, Debug)]
pub struct WriteSeries<'a> {
    /// Which series.
    pub key: SeriesKey<'a>,
    /// Its samples in the order in which they arrived.
    pub samples: &'a [Sample],
}

/// Series and samples of one request, borrowed from the request's buffer.
///
/// A series may occur several times. Reuse the batch to reuse its memory: [`WriteBatch::clear`].
#[derive(Debug, Default)]
pub struct WriteBatch<'a> {
    series: Vec<(SeriesKey<'a>, u32)>,
    samples: Vec<Sample>,
    metadata: Vec<(String, MetricMetadata)>,
}

impl<'a> WriteBatch<'a> {
    /// Returns an empty batch.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Begins a series; the samples that are pushed next belong to it.
    pub fn start_series(&mut self, key: SeriesKey<'a>) {
        let start = u32::try_from(self.samples.len()).expect("a batch has fewer than 2^32 samples");
        self.series.push((key, start));
    }

    /// Adds a sample to the series begun last.
    ///
    /// # Panics
    ///
    /// When none was begun.
    pub fn push_sample(&mut self, sample: Sample) {
        assert!(!self.series.is_empty(), "a sample belongs to a series");
        self.samples.push(sample);
    }

    /// Adds one series with one sample.
    pub fn push(&mut self, key: SeriesKey<'a>, sample: Sample) {
        self.start_series(key);
        self.samples.push(sample);
    }

    /// Says what is known about a metric name.
    pub fn push_metadata(&mut self, metric: String, metadata: MetricMetadata) {
        self.metadata.push((metric, metadata));
    }

    /// Returns what is known about metric names, in order of arrival.
    #[must_use]
    pub fn metadata(&self) -> &[(String, MetricMetadata)] {
        &self.metadata
    }

    /// Iterates over the series in order of arrival.
    pub fn series(&self) -> impl ExactSizeIterator<Item = WriteSeries<'_>> + Clone {
        self.series.iter().enumerate().map(|(index, (key, start))| {
            let end =
                self.series.get(index + 1).map_or(self.samples.len(), |(_, end)| *end as usize);
            WriteSeries { key: *key, samples: &self.samples[*start as usize..end] }
        })
    }

    /// Returns the number of series entries.
    #[must_use]
    pub fn series_count(&self) -> usize {
        self.series.len()
    }

    /// Returns the number of samples.
    #[must_use]
    pub fn sample_count(&self) -> usize {
        self.samples.len()
    }

    /// Returns whether there is nothing to store.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.samples.is_empty() && self.metadata.is_empty()
    }

    /// Empties the batch, keeping its memory.
    pub fn clear(&mut self) {
        self.series.clear();
        self.samples.clear();
        self.metadata.clear();
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::Timestamp;

    #[test]
    fn samples_belong_to_the_series_begun_before_them() {
        let first = Labels::from_pairs([("a", "1")]).expect("labels");
        let second = Labels::from_pairs([("a", "2")]).expect("labels");
        let at = |millis| Sample::new(Timestamp::from_millis(millis), 1.0);
        let mut batch = WriteBatch::new();
        batch.start_series(SeriesKey::canonical(&first));
        batch.push_sample(at(1));
        batch.push_sample(at(2));
        batch.start_series(SeriesKey::canonical(&second));
        batch.push(SeriesKey::canonical(&second), at(3));
        let lengths: Vec<usize> = batch.series().map(|series| series.samples.len()).collect();
        assert_eq!(lengths, [2, 0, 1]);
        let labels = batch.series().nth(2).map(|series| series.key.decode());
        assert_eq!(labels, Some(Ok(second.clone())));
    }
}
