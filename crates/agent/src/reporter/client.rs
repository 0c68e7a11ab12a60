//! Sends reports, with credentials that are read again when they change.

use std::fmt;
use std::io::Write as _;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use flate2::Compression;
use flate2::write::GzEncoder;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use platform::{
    Fs, FsError, HttpClient, HttpError, HttpRequest, HttpResponse, SystemHttpClient, TlsTrust,
};
use secrecy::{ExposeSecret as _, SecretString};

use super::{Answer, Outgoing};
use crate::settings::{Settings, Token, TokenError, read_token};

/// The time for a whole report with its answer.
pub(crate) const TIMEOUT: Duration = Duration::from_secs(10);

/// The most that is read of an answer, in bytes.
const ANSWER_BYTES_MAX: u64 = 64 << 10;

/// The most that is told of what a server said, in characters.
const REASON_CHARS_MAX: usize = 200;

/// The longest file with certificates or keys, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// Only our servers send it.
const OURS: HeaderName = HeaderName::from_static("x-tinyobs-report");

/// Why credentials cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum CredentialsError {
    /// A file cannot be read.
    #[error(transparent)]
    File(#[from] FsError),
    /// The token is none.
    #[error("--token-file: {0}")]
    Token(#[from] TokenError),
    /// The certificates are none.
    #[error("--ca-file, --certificate-file or --key-file: {0}")]
    Tls(HttpError),
}

/// Makes the client that trusts as it should; another one in tests.
pub(crate) type Connect =
    Arc<dyn Fn(TlsTrust<'_>) -> Result<Arc<dyn HttpClient>, HttpError> + Send + Sync>;

/// Whether something came of reading the credentials again.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Refreshed {
    Same,
    Changed,
}

/// Sends reports to one server.
#[derive(Clone)]
pub(crate) struct Client {
    url: String,
    fs: Arc<dyn Fs>,
    settings: Arc<Settings>,
    connect: Connect,
    http: Arc<dyn HttpClient>,
    files: Files,
}

/// What the files hold.
#[derive(Clone, Default)]
struct Files {
    token: Option<SecretString>,
    roots: Option<Vec<u8>>,
    identity: Option<SecretString>,
}

impl Client {
    /// Returns a client with the credentials as they are now. Blocking.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`].
    pub(crate) fn open(settings: Arc<Settings>, fs: Arc<dyn Fs>) -> Result<Self, CredentialsError> {
        let connect: Connect = Arc::new(|tls| Ok(Arc::new(SystemHttpClient::with_tls(tls)?)));
        Self::open_with(settings, fs, connect)
    }

    pub(crate) fn open_with(
        settings: Arc<Settings>,
        fs: Arc<dyn Fs>,
        connect: Connect,
    ) -> Result<Self, CredentialsError> {
        let files = Files::read(&settings, fs.as_ref())?;
        let http = connect(files.trust()).map_err(CredentialsError::Tls)?;
        Ok(Self { url: settings.server.report_url(), fs, settings, connect, http, files })
    }

    /// Reads the files again. When something is wrong with them, what was read before goes on to count. Blocking.
    ///
    /// # Errors
    ///
    /// [`CredentialsError`].
    pub(crate) fn refresh(&mut self) -> Result<Refreshed, CredentialsError> {
        let files = Files::read(&self.settings, self.fs.as_ref())?;
        if files == self.files {
            return Ok(Refreshed::Same);
        }
        if !files.same_tls(&self.files) {
            self.http = (self.connect)(files.trust()).map_err(CredentialsError::Tls)?;
        }
        self.files = files;
        Ok(Refreshed::Changed)
    }

    /// Sends a report within `timeout`. Dropping the future abandons it.
    pub(crate) async fn send(&self, report: Outgoing, timeout: Duration) -> Answer {
        let mut headers = HeaderMap::new();
        headers.insert(header::CONTENT_TYPE, HeaderValue::from_static("application/json"));
        let agent = concat!("tinyobs-agent/", env!("CARGO_PKG_VERSION"));
        headers.insert(header::USER_AGENT, HeaderValue::from_static(agent));
        if let Some(token) = &self.files.token
            && let Ok(mut value) =
                HeaderValue::from_str(&format!("Bearer {}", token.expose_secret()))
        {
            value.set_sensitive(true);
            headers.insert(header::AUTHORIZATION, value);
        }
        let compressed = report.compress.then(|| gzip(&report.json)).flatten();
        if compressed.is_some() {
            headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
        }
        let request = HttpRequest {
            method: Method::POST,
            url: self.url.clone(),
            headers,
            body: compressed.unwrap_or(report.json).into(),
            timeout,
            response_bytes_max: ANSWER_BYTES_MAX,
        };
        match self.http.send(request).await {
            Ok(response) => answer(&response),
            Err(error) => Answer::Unreachable {
                timed_out: matches!(error, HttpError::Timeout { .. }),
                reason: short(&error.to_string()),
            },
        }
    }
}

impl fmt::Debug for Client {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Client").field("url", &self.url).finish_non_exhaustive()
    }
}

impl Files {
    fn read(settings: &Settings, fs: &dyn Fs) -> Result<Self, CredentialsError> {
        let token = match &settings.token {
            Token::None => None,
            Token::Fixed(token) => Some(token.clone()),
            Token::File(path) => {
                let bytes = fs.read(path, PEM_BYTES_MAX)?;
                Some(read_token(str::from_utf8(&bytes).map_err(|_| TokenError::Characters)?)?)
            }
        };
        let pem = |path: &Path| fs.read(path, PEM_BYTES_MAX);
        let roots = settings.tls.ca.as_deref().map(pem).transpose()?;
        let identity = match &settings.tls.identity {
            None => None,
            Some((certificate, key)) => {
                let both = [pem(certificate)?, b"\n".to_vec(), pem(key)?].concat();
                Some(String::from_utf8_lossy(&both).into_owned().into())
            }
        };
        Ok(Self { token, roots, identity })
    }

    fn trust(&self) -> TlsTrust<'_> {
        TlsTrust {
            roots: self.roots.as_deref(),
            identity: self.identity.as_ref().map(|pem| pem.expose_secret().as_bytes()),
        }
    }

    fn same_tls(&self, other: &Self) -> bool {
        self.roots == other.roots && same(self.identity.as_ref(), other.identity.as_ref())
    }
}

impl PartialEq for Files {
    fn eq(&self, other: &Self) -> bool {
        same(self.token.as_ref(), other.token.as_ref()) && self.same_tls(other)
    }
}

fn same(one: Option<&SecretString>, other: Option<&SecretString>) -> bool {
    one.map(|secret| secret.expose_secret()) == other.map(|secret| secret.expose_secret())
}

fn gzip(bytes: &[u8]) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
    encoder.write_all(bytes).ok()?;
    encoder.finish().ok()
}

fn answer(response: &HttpResponse) -> Answer {
    if response.status == StatusCode::OK {
        return Answer::Accepted { ours: response.headers.contains_key(OURS) };
    }
    let header = |name: HeaderName| response.headers.get(name)?.to_str().ok();
    let reason = match header(header::LOCATION) {
        Some(location) if response.status.is_redirection() => {
            format!("it redirects to {location}, which is not followed: give the right --server")
        }
        _ => String::from_utf8_lossy(&response.body).into_owned(),
    };
    let retry_after = header(header::RETRY_AFTER).and_then(|seconds| seconds.trim().parse().ok());
    Answer::Refused {
        status: response.status.as_u16(),
        retry_after: retry_after.map(Duration::from_secs),
        reason: short(&reason),
    }
}

/// Returns the beginning of a text from elsewhere, on one line.
fn short(text: &str) -> String {
    let line = text.trim().chars().map(|c| if c.is_control() { ' ' } else { c });
    line.take(REASON_CHARS_MAX).collect()
}

#[cfg(test)]
mod tests;
