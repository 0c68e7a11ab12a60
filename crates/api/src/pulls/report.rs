//! What agents say of their nodes.

use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::{HeaderName, HeaderValue, StatusCode};
use ingest::Compression;
use pulls::ReportRefused;
use report::{Report, ReportError, SCHEMA_VERSION};

use crate::body::{self, Received};
use crate::caller::Caller;
use crate::failure::{Failure, Kind, PulltraceFailure};

/// Tells an agent that it may send what Pulltrace's server does not know, up to this version.
const VERSION_HEADER: HeaderName = HeaderName::from_static("x-tinyobs-report");
/// Longest report, as sent, that is read where it arrives, in bytes: less than a millisecond. A usual one of three pulls
/// is half as long. Longer ones are read on a thread that may block.
const INLINE_BYTES_MAX: usize = 16 << 10;
/// The same of a packed report, which a usual one is packed to; it may become much longer.
const PACKED_INLINE_BYTES_MAX: usize = 2 << 10;
/// When a node that has no place may come again.
const COME_BACK: Duration = Duration::from_secs(30);

/// Takes a report. Nothing is stored: what it says is known in memory once it is answered.
pub(super) async fn take(caller: Caller, request: Request) -> Result<Response, PulltraceFailure> {
    let (parts, body) = request.into_parts();
    let compression = body::compression(&parts.headers)?;
    let bytes_max = caller.app.limits.report_bytes_max;
    let Received { bytes, room } = body::read(&caller.app, body, bytes_max).await?;
    let is_packed = compression != Compression::Identity;
    if bytes.len() <= if is_packed { PACKED_INLINE_BYTES_MAX } else { INLINE_BYTES_MAX } {
        apply(&caller, compression, bytes)?;
    } else {
        let worked = tokio::task::spawn_blocking(move || apply(&caller, compression, bytes));
        worked.await.unwrap_or_else(|error| {
            tracing::error!(error = %error, "report panicked");
            let message = "the report made the server fail; the log says more";
            Err(Failure::new(Kind::Internal, message))
        })?;
    }
    drop(room);
    let version = [(VERSION_HEADER, HeaderValue::from(SCHEMA_VERSION))];
    Ok((StatusCode::OK, version).into_response())
}

fn apply(caller: &Caller, compression: Compression, bytes: Bytes) -> Result<(), Failure> {
    let bytes = body::unpack(compression, bytes, caller.app.limits.report_bytes_max)?;
    let report = Report::from_json(&bytes)?;
    Ok(caller.app.pulls.report(&caller.tenant.id, report)?)
}

impl From<ReportError> for Failure {
    fn from(error: ReportError) -> Self {
        tracing::debug!(error = %error, "report was not read");
        match error {
            ReportError::Json(_) => Self::bad_data("invalid json"),
            ReportError::NodeName { .. } => Self::bad_data("invalid nodeName"),
            ReportError::Cluster => Self::bad_data("invalid cluster"),
            ReportError::TooManyPulls | ReportError::TooManyLayers => {
                Self::new(Kind::TooLarge, error.to_string())
            }
        }
    }
}

impl From<ReportRefused> for Failure {
    fn from(refused: ReportRefused) -> Self {
        match refused {
            ReportRefused::TooSoon { retry_after } => {
                Self::new(Kind::RateLimited, refused.to_string()).retry_after(retry_after)
            }
            // Those that are there are served first; some may go.
            ReportRefused::TooManyNodes { .. } | ReportRefused::TooManyClusters => {
                tracing::warn!(reason = %refused, "report of a new node was refused");
                Self::new(Kind::RateLimited, refused.to_string()).retry_after(COME_BACK)
            }
            ReportRefused::InvalidNode => Self::bad_data("invalid nodeName"),
            ReportRefused::InvalidCluster => Self::bad_data("invalid cluster"),
        }
    }
}
