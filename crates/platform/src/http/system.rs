//! The real HTTP client: reqwest on rustls with the machine's trust roots.

use std::fmt;
use std::future::Future;
use std::pin::Pin;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::{Stream, StreamExt as _};
use http::{HeaderMap, StatusCode};

use super::{HttpClient, HttpError, HttpRequest, HttpResponse};

/// Whom a client trusts, and what it shows of itself, over TLS.
#[derive(Clone, Copy, Default)]
pub struct TlsTrust<'a> {
    /// Certificates that are trusted instead of the machine's, as PEM.
    pub roots: Option<&'a [u8]>,
    /// The client's certificate with its chain, and its private key, as PEM, one after the other.
    pub identity: Option<&'a [u8]>,
}

impl fmt::Debug for TlsTrust<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("TlsTrust").field("roots", &self.roots.is_some()).finish_non_exhaustive()
    }
}

/// The real client. Connections are kept and reused per host.
#[derive(Clone, Debug)]
pub struct SystemHttpClient {
    client: reqwest::Client,
}

impl SystemHttpClient {
    /// Returns a client that trusts whom the machine trusts; it opens no connection yet.
    ///
    /// # Errors
    ///
    /// The TLS stack cannot be set up.
    pub fn new() -> Result<Self, HttpError> {
        Self::with_tls(TlsTrust::default())
    }

    /// As [`SystemHttpClient::new`], with another trust.
    ///
    /// # Errors
    ///
    /// The TLS stack cannot be set up, there is no certificate among the roots, or the identity has no certificate, no
    /// key, or a key of another certificate.
    pub fn with_tls(tls: TlsTrust<'_>) -> Result<Self, HttpError> {
        // A second call finds the provider installed already: both are the same one.
        drop(rustls::crypto::ring::default_provider().install_default());
        let invalid = |error: reqwest::Error| HttpError::Invalid { reason: describe(&error) };
        let mut builder = reqwest::Client::builder()
            .redirect(reqwest::redirect::Policy::none())
            .no_proxy()
            .user_agent(concat!("tinyobs/", env!("CARGO_PKG_VERSION")));
        if let Some(roots) = tls.roots {
            let roots = reqwest::Certificate::from_pem_bundle(roots).map_err(invalid)?;
            if roots.is_empty() {
                let reason = "there is no certificate among those to trust".to_owned();
                return Err(HttpError::Invalid { reason });
            }
            builder = builder.tls_built_in_root_certs(false);
            builder = roots.into_iter().fold(builder, reqwest::ClientBuilder::add_root_certificate);
        }
        if let Some(identity) = tls.identity {
            builder = builder.identity(reqwest::Identity::from_pem(identity).map_err(invalid)?);
        }
        Ok(Self { client: builder.build().map_err(invalid)? })
    }

    /// Sends `request` and returns once the response begins. Its timeout is the longest silence: until the beginning,
    /// and then until each next piece of the body.
    ///
    /// # Errors
    ///
    /// [`HttpError`].
    pub async fn open(&self, request: HttpRequest) -> Result<HttpStream, HttpError> {
        let HttpRequest { method, url, headers, body, timeout, response_bytes_max } = request;
        let sending = self.client.request(method, &url).headers(headers).body(body).send();
        let response = match tokio::time::timeout(timeout, sending).await {
            Ok(response) => response.map_err(|error| explain(&error, &url, timeout))?,
            Err(_) => return Err(HttpError::Timeout { url, timeout }),
        };
        let (status, headers) = (response.status(), response.headers().clone());
        let pieces = Box::pin(response.bytes_stream());
        let (bytes_max, bytes) = (response_bytes_max, 0);
        Ok(HttpStream { status, headers, url, timeout, bytes_max, bytes, pieces })
    }

    async fn exchange(&self, request: HttpRequest) -> Result<HttpResponse, HttpError> {
        let HttpRequest { method, url, headers, body, timeout, response_bytes_max } = request;
        let explain = |error: reqwest::Error| explain(&error, &url, timeout);
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

/// A response whose body is read as it comes. Dropping it closes the connection.
pub struct HttpStream {
    /// The status.
    pub status: StatusCode,
    /// The headers.
    pub headers: HeaderMap,
    url: String,
    timeout: Duration,
    bytes_max: u64,
    bytes: u64,
    pieces: Pin<Box<dyn Stream<Item = reqwest::Result<Bytes>> + Send>>,
}

impl HttpStream {
    /// Returns the next piece of the body; `None` at its end. Cancellation safe.
    ///
    /// # Errors
    ///
    /// The connection broke, was silent for too long, or sent more than the request allows.
    pub async fn next(&mut self) -> Result<Option<Bytes>, HttpError> {
        let piece = match tokio::time::timeout(self.timeout, self.pieces.next()).await {
            Ok(piece) => piece,
            Err(_) => {
                return Err(HttpError::Timeout { url: self.url.clone(), timeout: self.timeout });
            }
        };
        let Some(piece) = piece else { return Ok(None) };
        let piece = piece.map_err(|error| explain(&error, &self.url, self.timeout))?;
        self.bytes = self.bytes.saturating_add(piece.len() as u64);
        if self.bytes > self.bytes_max {
            return Err(HttpError::TooLarge { url: self.url.clone(), limit: self.bytes_max });
        }
        Ok(Some(piece))
    }
}

impl fmt::Debug for HttpStream {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("HttpStream").field("status", &self.status).finish_non_exhaustive()
    }
}

fn explain(error: &reqwest::Error, url: &str, timeout: Duration) -> HttpError {
    let url = url.to_owned();
    if error.is_timeout() {
        HttpError::Timeout { url, timeout }
    } else if error.is_builder() {
        HttpError::Invalid { reason: describe(error) }
    } else {
        HttpError::Connection { url, reason: describe(error) }
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
