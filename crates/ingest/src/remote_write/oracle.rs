//! The messages of both versions for `prost`, to compare our decoders with.
//!
//! What we count and skip is a field of bytes here, because we do not look into it either.

use std::fmt::Write as _;

use proptest::prelude::*;

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct WriteRequest {
    #[prost(message, repeated, tag = "1")]
    pub(super) timeseries: Vec<TimeSeries>,
    #[prost(message, repeated, tag = "3")]
    pub(super) metadata: Vec<MetricMetadata>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeries {
    #[prost(message, repeated, tag = "1")]
    pub(super) labels: Vec<Label>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) exemplars: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) histograms: Vec<Vec<u8>>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct Label {
    #[prost(string, tag = "1")]
    pub(super) name: String,
    #[prost(string, tag = "2")]
    pub(super) value: String,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct Sample {
    #[prost(double, tag = "1")]
    pub(super) value: f64,
    #[prost(int64, tag = "2")]
    pub(super) timestamp: i64,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct MetricMetadata {
    #[prost(int32, tag = "1")]
    pub(super) metric_type: i32,
    #[prost(string, tag = "2")]
    pub(super) metric_family_name: String,
    #[prost(string, tag = "4")]
    pub(super) help: String,
    #[prost(string, tag = "5")]
    pub(super) unit: String,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct RequestV2 {
    #[prost(string, repeated, tag = "4")]
    pub(super) symbols: Vec<String>,
    #[prost(message, repeated, tag = "5")]
    pub(super) timeseries: Vec<TimeSeriesV2>,
}

#[derive(Clone, PartialEq, prost::Message)]
pub(super) struct TimeSeriesV2 {
    #[prost(uint32, repeated, tag = "1")]
    pub(super) labels_refs: Vec<u32>,
    #[prost(message, repeated, tag = "2")]
    pub(super) samples: Vec<Sample>,
    #[prost(bytes = "vec", repeated, tag = "3")]
    pub(super) histograms: Vec<Vec<u8>>,
    #[prost(bytes = "vec", repeated, tag = "4")]
    pub(super) exemplars: Vec<Vec<u8>>,
    #[prost(message, optional, tag = "5")]
    pub(super) metadata: Option<MetadataV2>,
    #[prost(int64, tag = "6")]
    pub(super) created_timestamp: i64,
}

#[derive(Clone, Copy, PartialEq, prost::Message)]
pub(super) struct MetadataV2 {
    #[prost(int32, tag = "1")]
    pub(super) metric_type: i32,
    #[prost(uint32, tag = "3")]
    pub(super) help_ref: u32,
    #[prost(uint32, tag = "4")]
    pub(super) unit_ref: u32,
}

/// Writes a request's series as lines of text, those without samples left out.
pub(super) fn render<'a>(series: impl Iterator<Item = (String, &'a [Sample])>) -> String {
    let mut text = String::new();
    for (labels, samples) in series.filter(|(_, samples)| !samples.is_empty()) {
        text += &labels;
        for sample in samples {
            write!(text, " {:x}@{}", sample.value.to_bits(), sample.timestamp).expect("memory");
        }
        text.push('\n');
    }
    text
}

/// Writes labels as [`render`] wants them: valid or not, the order of names does not matter.
pub(super) fn render_labels(labels: &[Label]) -> String {
    let pairs = labels.iter().map(|label| (label.name.as_str(), label.value.as_str()));
    match model::Labels::from_pairs(pairs) {
        Ok(labels) => labels.to_string(),
        Err(_) => "invalid".to_owned(),
    }
}

/// Writes a batch as [`render`] does.
pub(super) fn render_batch(batch: &model::WriteBatch<'_>) -> String {
    let series: Vec<_> = batch
        .series()
        .map(|series| {
            let labels = series.key.decode();
            let samples: Vec<_> = series
                .samples
                .iter()
                .map(|sample| Sample {
                    value: sample.value,
                    timestamp: sample.timestamp.as_millis(),
                })
                .collect();
            (labels.map_or_else(|_| "invalid".to_owned(), |labels| labels.to_string()), samples)
        })
        .collect();
    render(series.iter().map(|(labels, samples)| (labels.clone(), samples.as_slice())))
}

pub(super) fn samples() -> impl Strategy<Value = Vec<Sample>> {
    let sample = (any::<u64>(), any::<i64>())
        .prop_map(|(bits, timestamp)| Sample { value: f64::from_bits(bits), timestamp });
    proptest::collection::vec(sample, 0..4)
}

pub(super) fn skipped() -> impl Strategy<Value = Vec<Vec<u8>>> {
    proptest::collection::vec(proptest::collection::vec(any::<u8>(), 0..9), 0..3)
}
