//! OTLP metrics: what OpenTelemetry sends, as Prometheus series.

use model::WriteBatch;

/// How OTLP is spelt in a body.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum OtlpFormat {
    /// `application/x-protobuf`.
    Protobuf,
    /// `application/json`.
    Json,
}

/// Why a body is not an OTLP request that we can read.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub enum OtlpError {
    /// The body is not in the format, or not the right message.
    #[error("malformed OTLP metrics request: {reason}")]
    Malformed {
        /// What is wrong, and where.
        reason: String,
    },
}

/// A decoded request as series, and what of it could not become one.
#[derive(Debug, Default)]
pub struct OtlpMetrics {
    data_points: u64,
}

impl OtlpMetrics {
    /// Returns the series, samples and metadata.
    #[must_use]
    pub fn batch(&self) -> WriteBatch<'_> {
        WriteBatch::new()
    }

    /// Returns how many data points the request holds, refused ones included.
    #[must_use]
    pub fn data_points(&self) -> u64 {
        self.data_points
    }

    /// Returns how many data points were refused because they cannot become correct series.
    #[must_use]
    pub fn rejected_data_points(&self) -> u64 {
        self.data_points
    }

    /// Returns why data points were refused, in a few words; empty when none was.
    #[must_use]
    pub fn rejection_message(&self) -> &str {
        ""
    }

    /// Returns how many exemplars the request holds; they are not kept.
    #[must_use]
    pub fn exemplars(&self) -> u64 {
        0
    }
}

/// Decodes the decompressed body of an `ExportMetricsServiceRequest`.
///
/// # Errors
///
/// The body is malformed.
pub fn decode_otlp(format: OtlpFormat, body: &[u8]) -> Result<OtlpMetrics, OtlpError> {
    Err(OtlpError::Malformed { reason: format!("{format:?} of {} bytes", body.len()) })
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
    format!("{format:?}{rejected_data_points}{message}").into_bytes()
}

/// Returns the body of the answer to a request that failed as a whole: a `google.rpc.Status`.
#[must_use]
pub fn encode_otlp_status(format: OtlpFormat, message: &str) -> Vec<u8> {
    format!("{format:?}{message}").into_bytes()
}
