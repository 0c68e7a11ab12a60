//! Prometheus remote write, 1.0 and 2.0.

use access::{Permission, Unit};
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, StatusCode, header};
use ingest::{
    Compression, LabelArena, RemoteWriteError, RequestCounts, decode_remote_write_v1,
    decode_remote_write_v2,
};
use model::{AppendMode, AppendReceipt, SampleSink as _};

use crate::body;
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::failure::{Failure, Kind, PlainFailure};
use crate::openapi::Description;
use crate::stats::Protocol;
use crate::write;

/// A version of the protocol.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Version {
    V1,
    V2,
}

/// What became of a request.
struct Written {
    receipt: AppendReceipt,
    counts: RequestCounts,
}

/// Returns the endpoint of remote write.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let write_rule = (Access::Needs(Permission::MetricsWrite), Class::Write);
    let description = Description::new("prometheus", "Store what remote write sends")
        .details("Versions 1.0 and 2.0, compressed with snappy.")
        .takes_media("application/x-protobuf")
        .answers_nothing(204, "Everything is on stable storage.");
    let write = Endpoint::new(Verb::Post, "/api/v1/write", write_rule, write);
    vec![write.family(Family::Plain).describe(description)]
}

/// Stores what a sender sends.
pub(crate) async fn write(caller: Caller, request: Request) -> Result<Response, PlainFailure> {
    let (parts, body) = request.into_parts();
    let version = version(&parts.headers)?;
    if body::compression(&parts.headers)? != Compression::Snappy {
        let message = "remote write needs Content-Encoding: snappy";
        return Err(Failure::new(Kind::UnsupportedMedia, message).into());
    }
    let bytes_max = caller.app.limits.write_body_bytes_max;
    let work = move |caller: &Caller, bytes| append(caller, version, bytes);
    let written = write::run(&caller, Unit::Samples, body, bytes_max, work).await?;
    caller.store().durable(written.receipt.sequence).await?;
    let stored = written.receipt.stored_samples;
    caller.app.observability.stats.stored(Protocol::RemoteWrite, stored);
    Ok(answer(version, &written))
}

/// Returns the version that the header `Content-Type` says.
fn version(headers: &HeaderMap) -> Result<Version, Failure> {
    let unsupported = || {
        let message = "remote write needs Content-Type: application/x-protobuf, with \
                       ;proto=io.prometheus.write.v2.Request for version 2.0";
        Failure::new(Kind::UnsupportedMedia, message)
    };
    let Some(value) = headers.get(header::CONTENT_TYPE) else { return Err(unsupported()) };
    let mut fields = value.to_str().map_err(|_| unsupported())?.split(';').map(str::trim);
    if !fields.next().is_some_and(|kind| kind.eq_ignore_ascii_case("application/x-protobuf")) {
        return Err(unsupported());
    }
    let proto = fields.find_map(|field| {
        let (name, value) = field.split_once('=')?;
        name.trim().eq_ignore_ascii_case("proto").then(|| value.trim().trim_matches('"'))
    });
    match proto {
        None | Some("prometheus.WriteRequest") => Ok(Version::V1),
        Some("io.prometheus.write.v2.Request") => Ok(Version::V2),
        Some(_) => Err(unsupported()),
    }
}

fn append(caller: &Caller, version: Version, body: Bytes) -> Result<Written, Failure> {
    let sent_bytes = body.len();
    let body = body::unpack(Compression::Snappy, body, caller.app.limits.write_body_bytes_max)?;
    let mut arena = LabelArena::new();
    let request = match version {
        Version::V1 => decode_remote_write_v1(&body, &mut arena),
        Version::V2 => decode_remote_write_v2(&body, &mut arena),
    }
    .map_err(|error| {
        let kind = match &error {
            RemoteWriteError::Malformed { .. } | RemoteWriteError::UnknownSymbol { .. } => {
                Kind::BadData
            }
            // All others are limits of one request.
            _ => Kind::TooLarge,
        };
        Failure::new(kind, error.to_string())
    })?;
    let charge = caller.charge(&request.batch, sent_bytes)?;
    let receipt = caller.store().append(&request.batch, AppendMode::Partial)?;
    charge.keep(&receipt);
    Ok(Written { receipt, counts: request.counts })
}

fn answer(version: Version, written: &Written) -> Response {
    let mut response = match refusals(written) {
        None => StatusCode::NO_CONTENT.into_response(),
        Some(message) => Failure::bad_data(message).plain(),
    };
    if version == Version::V2 {
        let stored = written.receipt.stored_samples;
        for (name, count) in [("samples", stored), ("histograms", 0), ("exemplars", 0)] {
            let name = format!("x-prometheus-remote-write-{name}-written");
            if let Ok(name) = HeaderName::from_bytes(name.as_bytes()) {
                response.headers_mut().insert(name, HeaderValue::from(count));
            }
        }
    }
    response
}

/// Says what was not stored; `None` when everything was.
fn refusals(Written { receipt, counts }: &Written) -> Option<String> {
    let mut sentences = Vec::new();
    if !receipt.rejections.is_empty() {
        let reasons = &receipt.rejections;
        let first = reasons.examples.first().map(|example| example.reason.to_string());
        sentences.push(format!(
            "{} of {} samples were refused, the others are stored; the first: {}",
            reasons.samples,
            counts.samples,
            first.unwrap_or_default(),
        ));
    }
    if counts.histograms > 0 {
        sentences.push(format!(
            "{} samples of native histograms were refused, they are not supported; send classic \
             histograms",
            counts.histograms,
        ));
    }
    (!sentences.is_empty()).then(|| sentences.join(". "))
}
