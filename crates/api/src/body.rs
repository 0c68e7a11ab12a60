//! Reads bodies within limits, and makes those of answers.

use axum::body::Body;
use axum::response::{IntoResponse, Response};
use bytes::Bytes;
use http::{HeaderMap, StatusCode, header};
use http_body_util::{BodyExt as _, LengthLimitError, Limited};
use ingest::{Compression, DecompressError, decompress};

use crate::failure::{Failure, Kind};
use crate::json::Json;
use crate::parts::App;

/// Returns an answer of JSON.
pub(crate) fn json_response(status: StatusCode, json: Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

/// Reads a body of at most `bytes_max` bytes.
pub(crate) async fn read(app: &App, body: Body, bytes_max: usize) -> Result<Bytes, Failure> {
    let too_large = || {
        let message = format!("request body is longer than {bytes_max} bytes; send less at once");
        Failure::new(Kind::TooLarge, message)
    };
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let deadline = app.clock.monotonic().saturating_add(app.limits.body_timeout);
    let collected = tokio::select! {
        biased;
        collected = Limited::new(body, bytes_max).collect() => collected,
        () = app.clock.sleep_until(deadline) => {
            return Err(Failure::new(Kind::Slow, "request body took too long to arrive"));
        }
    };
    match collected {
        Ok(body) => Ok(body.to_bytes()),
        Err(error) if error.is::<LengthLimitError>() => Err(too_large()),
        Err(error) => {
            let cause = error.source().map(ToString::to_string).unwrap_or_default();
            Err(Failure::bad_data(format!("request body could not be read: {error} {cause}")))
        }
    }
}

/// Returns what the header `Content-Encoding` says.
pub(crate) fn compression(headers: &HeaderMap) -> Result<Compression, Failure> {
    let Some(value) = headers.get(header::CONTENT_ENCODING) else {
        return Ok(Compression::Identity);
    };
    value.to_str().ok().and_then(Compression::from_content_encoding).ok_or_else(|| {
        let message = "unknown Content-Encoding; use gzip, zstd, snappy or none";
        Failure::new(Kind::UnsupportedMedia, message)
    })
}

/// Returns the decompressed body.
pub(crate) fn unpack(
    compression: Compression,
    body: Bytes,
    bytes_max: usize,
) -> Result<Bytes, Failure> {
    if compression == Compression::Identity {
        return Ok(body);
    }
    decompress(compression, &body, bytes_max).map(Bytes::from).map_err(|error| {
        let kind = match &error {
            DecompressError::TooLarge { .. } => Kind::TooLarge,
            DecompressError::Damaged { .. } => Kind::BadData,
        };
        Failure::new(kind, error.to_string())
    })
}
