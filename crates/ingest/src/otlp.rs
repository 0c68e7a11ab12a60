//! OTLP metrics: what OpenTelemetry sends, as Prometheus series.
//!
//! Protobuf and JSON become the same messages, and those become series as in Prometheus' own OTLP endpoint with
//! its default settings: underscores and suffixes in names, `job` and `instance` from the resource, the rest of the
//! resource in `target_info`. What would become a wrong number is refused point by point.

mod json;
mod message;
mod names;
mod size;
mod translate;
mod value;

use model::{MetricMetadata, Sample, WriteBatch};
use prost::Message as _;

use crate::arena::{ArenaFull, LabelArena};

/// The longest piece of a metric's name in a message to the sender, in characters.
const NAME_SHOWN_MAX: usize = 100;

/// How OTLP is spelt in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpFormat {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

impl OtlpFormat {
    /// Returns the format that a value of the header `Content-Type` names; `None` for any other.
    #[must_use]
    pub fn from_content_type(value: &str) -> Option<Self> {
        let media_type = value.split(';').next().unwrap_or_default().trim();
        [Self::Protobuf, Self::Json]
            .into_iter()
            .find(|format| media_type.eq_ignore_ascii_case(format.content_type()))
    }

    /// Returns the value of the header `Content-Type`.
    #[must_use]
    pub const fn content_type(self) -> &'static str {
        match self {
            Self::Protobuf => "application/x-protobuf",
            Self::Json => "application/json",
        }
    }
}

/// Why a body is not an OTLP request that we can read. The sender must not send it again.
#[derive(Debug, thiserror::Error)]
pub enum OtlpError {
    /// The body is not protobuf, or not the right message.
    #[error("malformed OTLP metrics request: {0}")]
    Protobuf(#[from] prost::DecodeError),
    /// The body is not JSON, or not the right message.
    #[error("malformed OTLP metrics request: {0}")]
    Json(#[from] serde_json::Error),
    /// There are too many data points, attributes and the like.
    #[error("more than {limit} elements in one OTLP request; send less at once")]
    TooManyElements {
        /// How many there may be.
        limit: usize,
    },
    /// The label sets are too large together.
    #[error("the label sets of the request take more than {limit} bytes; send less at once")]
    TooManyLabels {
        /// How large they may be, in bytes.
        limit: usize,
    },
}

impl From<ArenaFull> for OtlpError {
    fn from(ArenaFull: ArenaFull) -> Self {
        Self::TooManyLabels { limit: LabelArena::BYTES_MAX }
    }
}

/// A decoded request as series, and what of it could not become one.
#[derive(Debug, Default)]
pub struct OtlpMetrics {
    arena: LabelArena,
    /// One sample for each label set in the arena.
    samples: Vec<Sample>,
    metadata: Vec<(String, MetricMetadata)>,
    data_points: u64,
    exemplars: u64,
    rejected: u64,
    /// Why, one entry for each of the few reasons there are.
    reasons: Vec<Reason>,
}

#[derive(Debug)]
struct Reason {
    text: &'static str,
    metric: String,
    data_points: u64,
}

impl OtlpMetrics {
    /// Returns the series, samples and metadata.
    #[must_use]
    pub fn batch(&self) -> WriteBatch<'_> {
        let mut batch = WriteBatch::new();
        for (key, sample) in self.arena.keys().zip(&self.samples) {
            batch.push(key, *sample);
        }
        for (metric, metadata) in &self.metadata {
            batch.push_metadata(metric.clone(), metadata.clone());
        }
        batch
    }

    /// Returns how many data points the request holds, refused ones included.
    #[must_use]
    pub const fn data_points(&self) -> u64 {
        self.data_points
    }

    /// Returns how many data points were refused because they cannot become correct series.
    #[must_use]
    pub const fn rejected_data_points(&self) -> u64 {
        self.rejected
    }

    /// Returns why data points were refused; empty when none was.
    #[must_use]
    pub fn rejection_message(&self) -> String {
        let reasons: Vec<String> = self
            .reasons
            .iter()
            .map(|Reason { text, metric, data_points }| {
                format!("{data_points} data points refused, the first of '{metric}': {text}")
            })
            .collect();
        reasons.join("; ")
    }

    /// Returns how many exemplars the request holds; they are not kept.
    #[must_use]
    pub const fn exemplars(&self) -> u64 {
        self.exemplars
    }

    fn reject(&mut self, text: &'static str, metric: &str) {
        self.rejected += 1;
        if let Some(reason) = self.reasons.iter_mut().find(|reason| reason.text == text) {
            reason.data_points += 1;
        } else {
            let metric = metric.chars().take(NAME_SHOWN_MAX).collect();
            self.reasons.push(Reason { text, metric, data_points: 1 });
        }
    }
}

/// Decodes the decompressed body of an `ExportMetricsServiceRequest`.
///
/// # Errors
///
/// The body is malformed, or holds too much.
pub fn decode_otlp(format: OtlpFormat, body: &[u8]) -> Result<OtlpMetrics, OtlpError> {
    let request = match format {
        OtlpFormat::Protobuf => {
            size::check_protobuf(body)?;
            message::Request::decode(body)?
        }
        OtlpFormat::Json => {
            size::check_json(body)?;
            if body.trim_ascii_start().starts_with(b"[") {
                // A list would be taken for the fields of the message in their order.
                let error = "expected an object, not a list";
                return Err(<serde_json::Error as serde::de::Error>::custom(error).into());
            }
            serde_json::from_slice(body)?
        }
    };
    translate::translate(&request)
}

/// Returns the body of the answer to a request that was taken: an `ExportMetricsServiceResponse`.
///
/// It names a partial success when data points were refused or there is a message.
#[must_use]
pub fn encode_otlp_response(
    format: OtlpFormat,
    rejected_data_points: u64,
    message: &str,
) -> Vec<u8> {
    let rejected = i64::try_from(rejected_data_points).unwrap_or(i64::MAX);
    let partial = rejected > 0 || !message.is_empty();
    match format {
        OtlpFormat::Protobuf => {
            let partial_success = partial.then(|| message::PartialSuccess {
                rejected_data_points: rejected,
                error_message: message.to_owned(),
            });
            message::Response { partial_success }.encode_to_vec()
        }
        OtlpFormat::Json if partial => serde_json::json!({
            "partialSuccess": {
                "rejectedDataPoints": rejected.to_string(),
                "errorMessage": message,
            }
        })
        .to_string()
        .into_bytes(),
        OtlpFormat::Json => b"{}".to_vec(),
    }
}

/// Returns the body of the answer to a request that failed as a whole: a `google.rpc.Status`.
#[must_use]
pub fn encode_otlp_status(format: OtlpFormat, message: &str) -> Vec<u8> {
    match format {
        OtlpFormat::Protobuf => message::Status { message: message.to_owned() }.encode_to_vec(),
        OtlpFormat::Json => serde_json::json!({ "message": message }).to_string().into_bytes(),
    }
}

#[cfg(test)]
mod tests;
