//! Outgoing HTTP: one request, one response, one deadline.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::Bytes;
use http::{HeaderMap, StatusCode};

#[cfg(feature = "http-client")]
mod system;
#[cfg(feature = "http-client")]
pub use system::{HttpStream, SystemHttpClient, TlsTrust};

/// A request with everything that bounds it.
#[derive(Clone, Debug)]
pub struct HttpRequest {
    /// The method.
    pub method: http::Method,
    /// An absolute `http` or `https` URL.
    pub url: String,
    /// Headers beside those of the transport.
    pub headers: HeaderMap,
    /// The body; empty for none.
    pub body: Bytes,
    /// The time for everything: connecting, sending, and receiving the last byte.
    pub timeout: Duration,
    /// The most that is read of the decoded response body, in bytes.
    pub response_bytes_max: u64,
}

/// A complete response; the body is decoded from its transfer and content encoding.
#[derive(Clone, Debug)]
pub struct HttpResponse {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    /// The whole body.
    pub body: Bytes,
}

/// Why no response came.
#[derive(Debug, thiserror::Error)]
pub enum HttpError {
    /// The URL cannot be requested.
    #[error("invalid request: {reason}")]
    Invalid {
        /// What is wrong with it.
        reason: String,
    },
    /// The peer could not be reached, or the connection broke.
    #[error("request to '{url}': {reason}")]
    Connection {
        /// The URL.
        url: String,
        /// What happened.
        reason: String,
    },
    /// The deadline passed.
    #[error("no complete response from '{url}' within {timeout:?}")]
    Timeout {
        /// The URL.
        url: String,
        /// The deadline that passed.
        timeout: Duration,
    },
    /// The body is larger than allowed.
    #[error("response of '{url}' is larger than {limit} bytes")]
    TooLarge {
        /// The URL.
        url: String,
        /// The limit, in bytes.
        limit: u64,
    },
}

/// Sends requests. Redirects are not followed.
pub trait HttpClient: Send + Sync + fmt::Debug {
    /// Sends `request` and reads the whole response. Dropping the future abandons the request.
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>>;
}
