//! OTLP metrics over HTTP.

use access::{Permission, Unit};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{StatusCode, header};
use ingest::{Compression, OtlpError, OtlpFormat, decode_otlp, encode_otlp_response};
use model::{AppendMode, CommitSequence, SampleSink as _};
use utoipa::ToSchema;

use crate::body;
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::failure::{Failure, Kind};
use crate::openapi::Description;
use crate::stats::Protocol;
use crate::write;

/// An `ExportMetricsServiceRequest` of OTLP.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what decode_otlp reads")]
struct ExportMetricsRequest {
    #[schema(value_type = Vec<Object>, required = false)]
    resource_metrics: Option<Vec<serde_json::Value>>,
}

/// An `ExportMetricsServiceResponse` of OTLP.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what encode_otlp_response writes")]
struct ExportMetricsResponse {
    /// What could not be stored, if there was anything.
    #[schema(nullable = false)]
    partial_success: Option<PartialSuccess>,
}

/// What could not be stored.
#[derive(ToSchema)]
#[schema(rename_all = "camelCase")]
#[expect(dead_code, reason = "describes what encode_otlp_response writes")]
struct PartialSuccess {
    /// A number of samples.
    rejected_data_points: String,
    /// Why, for people.
    error_message: String,
}

/// What became of a request.
struct Stored {
    sequence: CommitSequence,
    samples: usize,
    rejected: u64,
    message: String,
}

/// Returns the endpoints of OTLP: where Prometheus has it, and where exporters look for it.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let write_rule = (Access::Needs(Permission::MetricsWrite), Class::Write);
    let description = || {
        Description::new("metrics", "Store what an OpenTelemetry exporter sends")
            .details("What could not be stored is counted in the answer's partial success.")
            .takes_media("application/x-protobuf")
            .takes::<ExportMetricsRequest>()
            .answers::<ExportMetricsResponse>("What could be stored is on stable storage.")
            .or_media("application/x-protobuf")
    };
    let otlp = |path| Endpoint::new(Verb::Post, path, write_rule, metrics).family(Family::Otlp);
    vec![
        otlp("/api/v1/otlp/v1/metrics").describe(description()),
        otlp("/v1/metrics").describe(description()),
    ]
}

/// Stores what an OpenTelemetry exporter sends.
pub(crate) async fn metrics(caller: Caller, request: Request) -> Response {
    let content_type = request.headers().get(header::CONTENT_TYPE);
    let format = content_type.and_then(|value| value.to_str().ok());
    let Some(format) = format.and_then(OtlpFormat::from_content_type) else {
        let message = "OTLP needs Content-Type: application/x-protobuf or application/json";
        return Failure::new(Kind::UnsupportedMedia, message).otlp(OtlpFormat::Json);
    };
    match store(&caller, format, request).await {
        Ok(stored) => {
            let body = encode_otlp_response(format, stored.rejected, &stored.message);
            (StatusCode::OK, [(header::CONTENT_TYPE, format.content_type())], body).into_response()
        }
        Err(failure) => failure.otlp(format),
    }
}

async fn store(caller: &Caller, format: OtlpFormat, request: Request) -> Result<Stored, Failure> {
    let (parts, body) = request.into_parts();
    let compression = body::compression(&parts.headers)?;
    let bytes_max = caller.app.limits.write_body_bytes_max;
    let work = move |caller: &Caller, bytes| append(caller, format, compression, bytes);
    let stored = write::run(caller, Unit::Samples, body, bytes_max, work).await?;
    caller.store().durable(stored.sequence).await?;
    caller.app.observability.stats.stored(Protocol::Otlp, stored.samples);
    Ok(stored)
}

fn append(
    caller: &Caller,
    format: OtlpFormat,
    compression: Compression,
    body: Bytes,
) -> Result<Stored, Failure> {
    let sent_bytes = body.len();
    let body = body::unpack(compression, body, caller.app.limits.write_body_bytes_max)?;
    let metrics = decode_otlp(format, &body).map_err(|error| {
        let kind = match &error {
            OtlpError::Protobuf(_) | OtlpError::Json(_) => Kind::BadData,
            OtlpError::TooManyElements { .. } | OtlpError::TooManyLabels { .. } => Kind::TooLarge,
        };
        Failure::new(kind, error.to_string())
    })?;
    let batch = metrics.batch();
    let charge = caller.charge(&batch, sent_bytes)?;
    let receipt = caller.store().append(&batch, AppendMode::Partial)?;
    charge.keep(&receipt);
    let mut message = metrics.rejection_message();
    if let Some(first) = receipt.rejections.examples.first() {
        if !message.is_empty() {
            message.push_str("; ");
        }
        let refused = receipt.rejections.samples;
        message.push_str(&format!("{refused} samples refused, the first: {}", first.reason));
    }
    // One data point of a histogram becomes several samples: never more are reported than were sent.
    let refused = u64::try_from(receipt.rejections.samples).unwrap_or(u64::MAX);
    let rejected =
        metrics.rejected_data_points().saturating_add(refused).min(metrics.data_points());
    Ok(Stored { sequence: receipt.sequence, samples: receipt.stored_samples, rejected, message })
}
