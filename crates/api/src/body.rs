//! Reads bodies within limits, and makes those of answers.

use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse, Response};
use bytes::{Bytes, BytesMut};
use http::{HeaderMap, StatusCode, header};
use http_body_util::BodyExt as _;
use ingest::{Compression, DecompressError, decompress};
use serde::Serialize;
use serde::de::DeserializeOwned;
use tokio::sync::OwnedSemaphorePermit;

use crate::failure::{Failure, Kind};
use crate::json::Json;
use crate::parts::App;

/// Returns an answer of JSON.
pub(crate) fn json_response(status: StatusCode, json: Json) -> Response {
    (status, [(header::CONTENT_TYPE, "application/json")], json.into_bytes()).into_response()
}

/// Returns an answer of JSON with the newline that our own routes end with.
pub(crate) fn json_of(status: StatusCode, value: &impl Serialize) -> Response {
    let mut json = match serde_json::to_vec(value) {
        Ok(json) => json,
        Err(error) => {
            tracing::error!(error = %error, "answer could not be written");
            return Failure::new(Kind::Internal, "the answer could not be written").native();
        }
    };
    json.push(b'\n');
    (status, [(header::CONTENT_TYPE, "application/json")], json).into_response()
}

/// A body, with its share of the memory for bodies; given back when dropped.
#[derive(Debug)]
pub(crate) struct Received {
    pub(crate) bytes: Bytes,
    pub(crate) room: OwnedSemaphorePermit,
}

/// Reads a body of at most `bytes_max` bytes. Only what has arrived takes memory.
pub(crate) async fn read(app: &App, mut body: Body, bytes_max: usize) -> Result<Received, Failure> {
    let too_large = || {
        let message = format!("request body is longer than {bytes_max} bytes; send less at once");
        Failure::new(Kind::TooLarge, message)
    };
    let announced = http_body::Body::size_hint(&body).lower();
    if announced > bytes_max as u64 {
        return Err(too_large());
    }
    let deadline = app.clock.monotonic().saturating_add(app.limits.body_timeout);
    let mut timer = app.clock.sleep_until(deadline);
    let mut bytes = BytesMut::new();
    let mut held = room(app, 0)?;
    loop {
        let frame = tokio::select! {
            biased;
            frame = body.frame() => frame,
            () = timer.as_mut() => {
                return Err(Failure::new(Kind::Slow, "request body took too long to arrive"));
            }
        };
        let Some(frame) = frame else {
            return Ok(Received { bytes: bytes.freeze(), room: held });
        };
        let frame = frame.map_err(|error| {
            Failure::bad_data(format!("request body could not be read: {error}"))
        })?;
        let Ok(data) = frame.into_data() else { continue };
        if data.len() > bytes_max - bytes.len() {
            return Err(too_large());
        }
        held.merge(room(app, data.len())?);
        bytes.extend_from_slice(&data);
    }
}

/// Takes a share of the memory for bodies; given back when dropped.
pub(crate) fn room(app: &App, bytes: usize) -> Result<OwnedSemaphorePermit, Failure> {
    let permits = u32::try_from(bytes).unwrap_or(u32::MAX);
    Arc::clone(&app.bodies).try_acquire_many_owned(permits).map_err(|_| {
        Failure::overloaded("the bodies of all requests take too much memory; try again later")
    })
}

/// Reads a body of JSON. What is wrong with it is told without what was sent: that may be a password.
pub(crate) async fn read_json<T: DeserializeOwned>(
    app: &App,
    request: Request,
    bytes_max: usize,
) -> Result<T, Failure> {
    let (parts, body) = request.into_parts();
    // A form of another site's page can have other types only.
    let is_json = parts.headers.get(header::CONTENT_TYPE).is_some_and(|value| {
        let media_type = value.to_str().unwrap_or_default().split(';').next().unwrap_or_default();
        media_type.trim().eq_ignore_ascii_case("application/json")
    });
    if !is_json {
        let message = "the body must be JSON, with the Content-Type application/json";
        return Err(Failure::new(Kind::UnsupportedMedia, message));
    }
    let received = read(app, body, bytes_max).await?;
    // A list would be taken for the fields in order.
    if !received.bytes.trim_ascii_start().starts_with(b"{") {
        return Err(Failure::bad_data("the body must be a JSON object"));
    }
    serde_json::from_slice(&received.bytes).map_err(|error| {
        let (line, column) = (error.line(), error.column());
        Failure::bad_data(format!("the body is not of the described form at {line}:{column}"))
    })
}

/// Reads a body of JSON; without a body, everything is as by default.
pub(crate) async fn read_json_or<T: DeserializeOwned + Default>(
    app: &App,
    request: Request,
    bytes_max: usize,
) -> Result<T, Failure> {
    if http_body::Body::is_end_stream(request.body()) {
        return Ok(T::default());
    }
    read_json(app, request, bytes_max).await
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
