//! The real HTTP client: reqwest on rustls with the machine's trust roots.

use std::future::Future;
use std::pin::Pin;

use bytes::{Bytes, BytesMut};
use futures_util::StreamExt as _;

use super::{HttpClient, HttpError, HttpRequest, HttpResponse};

/// The real client. Connections are kept and reused per host.
#[derive(Clone, Debug)]
pub struct SystemHttpClient {
    client: reqwest::Client,
}

impl SystemHttpClient {
    /// Returns a client; it opens no connection yet.
    ///
    /// # Errors
    ///
    /// The TLS stack cannot be set up.
    pub fn new() -> Result<Self, HttpError> {
        // A second call finds the provider installed already: both are the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let client = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tinyobs/", env!("CARGO_PKG_VERSION")))
            .build()
            .map_err(|error| HttpError::Invalid { reason: describe(&error) })?;
        Ok(Self { client })
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, headers, body, timeout, response_bytes_max } = request;
        let explain = |error: reqwest::Error| {
            if error.is_timeout() {
                HttpError::Timeout { url: url.clone(), timeout }
            } else if error.is_builder() {
                HttpError::Invalid { reason: describe(&error) }
            } else {
                HttpError::Connection { url: url.clone(), reason: describe(&error) }
            }
        };
        let response = self
            .client
            .request(method, &url)
            .headers(headers)
            .body(body)
            .timeout(timeout)
            .send()
            .await
            .map_err(explain)?;
        let (status, headers) = (response.status(), response.headers().clone());
        let mut body = BytesMut::new();
        let mut stream = response.bytes_stream();
        while let Some(piece) = stream.next().await {
            let piece: Bytes = piece.map_err(explain)?;
            if (body.len() + piece.len()) as u64 > response_bytes_max {
                return Err(HttpError::TooLarge { url: url.clone(), limit: response_bytes_max });
            }
            body.extend_from_slice(&piece);
        }
        Ok(HttpResponse { status, headers, body: body.freeze() })
    }
}

impl HttpClient for SystemHttpClient {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        Box::pin(self.exchange(request))
    }
}

/// Returns the innermost cause: the outer layers only repeat the URL.
fn describe(error: &reqwest::Error) -> String {
    let mut cause: &dyn std::error::Error = error;
    while let Some(inner) = cause.source() {
        cause = inner;
    }
    cause.to_string()
}
