//! What commands share that ask a running server.

use std::path::Path;
use std::time::Duration;

use anyhow::{Context as _, anyhow};
use bytes::Bytes;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};
use model::TenantId;
use platform::{HttpClient as _, HttpRequest, HttpStream, SystemHttpClient};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::Value;
use tokio::runtime::Runtime;

use crate::Failure;
use crate::cli::{ServerArgs, environment};
use crate::state_command::read_secret;

/// The environment variable with the API key. It cannot be a flag: everybody on the machine sees those.
pub(crate) const KEY_VARIABLE: &str = "TINYOBS_KEY";

/// The environment variable with the server's address.
pub(crate) const URL_VARIABLE: &str = "TINYOBS_URL";
/// The server's address unless somebody says another.
const URL_DEFAULT: &str = "http://127.0.0.1:8080";

/// How long to wait after a broken connection, at first and at last.
pub(crate) const BACKOFF: [Duration; 2] = [Duration::from_millis(500), Duration::from_secs(30)];

/// The longest that an answer may take.
const TIMEOUT: Duration = Duration::from_secs(120);
/// The largest answer that is read.
const RESPONSE_BYTES_MAX: u64 = 1 << 30;
/// The largest explanation of a refusal that is read.
const REFUSAL_BYTES_MAX: usize = 64 << 10;
/// The longest silence of an answer that goes on: the server says something every 15 seconds.
const SILENCE_MAX: Duration = Duration::from_secs(45);

/// A client of one server.
#[derive(Debug)]
pub(crate) struct Client {
    server: String,
    headers: HeaderMap,
    http: SystemHttpClient,
    runtime: Runtime,
}

/// A refusal by the server.
#[derive(Debug, thiserror::Error)]
#[error("server answers {}: {reason}", status.as_u16())]
pub(crate) struct Refused {
    pub(crate) status: StatusCode,
    reason: String,
}

impl From<Refused> for Failure {
    fn from(refused: Refused) -> Self {
        match refused.status {
            StatusCode::BAD_REQUEST => Self::Usage(refused.into()),
            _ => Self::Operation(refused.into()),
        }
    }
}

impl Client {
    /// Returns a client with the address and the key that are given, or else from the environment.
    ///
    /// # Errors
    ///
    /// The key cannot be read, or the HTTP client cannot be set up.
    pub(crate) fn new(args: &ServerArgs) -> Result<Self, Failure> {
        let key = key(args.key_file.as_deref())?;
        let runtime = tokio::runtime::Builder::new_current_thread()
            .enable_all()
            .build()
            .context("start the runtime")?;
        Ok(Self {
            server: url(args.url.as_deref()).trim_end_matches('/').to_owned(),
            headers: headers(key.as_ref(), args.tenant.as_ref())?,
            http: SystemHttpClient::new().context("set up the HTTP client")?,
            runtime,
        })
    }

    /// Returns what waits for the server's answers.
    pub(crate) const fn runtime(&self) -> &Runtime {
        &self.runtime
    }

    /// Asks with parameters in the address.
    ///
    /// # Errors
    ///
    /// The server cannot be reached, or refuses.
    pub(crate) fn get(&self, path: &str, parameters: &[(&str, String)]) -> Result<Bytes, Failure> {
        self.ask(Method::GET, &address(path, parameters)?, None)
    }

    /// Asks with parameters as a form.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) fn post_form(
        &self,
        path: &str,
        parameters: &[(&str, String)],
    ) -> Result<Bytes, Failure> {
        let form = serde_urlencoded::to_string(parameters).context("encode the parameters")?;
        self.ask(Method::POST, path, Some(form))
    }

    /// Sends a request without parameters.
    ///
    /// # Errors
    ///
    /// As [`Client::get`].
    pub(crate) fn send(&self, method: Method, path: &str) -> Result<Bytes, Failure> {
        self.ask(method, path, None)
    }

    fn ask(&self, method: Method, path: &str, form: Option<String>) -> Result<Bytes, Failure> {
        let mut headers = self.headers.clone();
        if form.is_some() {
            let form = HeaderValue::from_static("application/x-www-form-urlencoded");
            headers.insert(header::CONTENT_TYPE, form);
        }
        let request = HttpRequest {
            method,
            url: format!("{}{path}", self.server),
            headers,
            body: form.unwrap_or_default().into(),
            timeout: TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        let response = self.runtime.block_on(self.http.send(request)).context("ask the server")?;
        if response.status.is_success() {
            return Ok(response.body);
        }
        Err(refused(response.status, &response.body).into())
    }

    /// Begins to read an answer that goes on, in the form of server-sent events.
    ///
    /// # Errors
    ///
    /// The server cannot be reached; inside, it refuses.
    pub(crate) async fn follow(
        &self,
        path: &str,
        parameters: &[(&str, String)],
        last_id: Option<&str>,
    ) -> anyhow::Result<Result<HttpStream, Refused>> {
        let mut headers = self.headers.clone();
        headers.insert(header::ACCEPT, HeaderValue::from_static("text/event-stream"));
        if let Some(last_id) = last_id {
            let value = HeaderValue::from_str(last_id).context("name the last event")?;
            headers.insert(HeaderName::from_static("last-event-id"), value);
        }
        let request = HttpRequest {
            method: Method::GET,
            url: format!("{}{}", self.server, address(path, parameters)?),
            headers,
            body: Bytes::new(),
            timeout: SILENCE_MAX,
            response_bytes_max: u64::MAX,
        };
        let mut response = self.http.open(request).await.context("ask the server")?;
        if response.status.is_success() {
            return Ok(Ok(response));
        }
        let mut body = Vec::new();
        while body.len() < REFUSAL_BYTES_MAX
            && let Ok(Some(piece)) = response.next().await
        {
            body.extend_from_slice(&piece);
        }
        Ok(Err(refused(response.status, &body)))
    }
}

fn address(path: &str, parameters: &[(&str, String)]) -> anyhow::Result<String> {
    if parameters.is_empty() {
        return Ok(path.to_owned());
    }
    let query = serde_urlencoded::to_string(parameters).context("encode the parameters")?;
    Ok(format!("{path}?{query}"))
}

/// Returns why the server refuses: the sentence is in `message`, or in `error` where the API is an older one.
fn refused(status: StatusCode, body: &[u8]) -> Refused {
    let body: Value = serde_json::from_slice(body).unwrap_or_default();
    let sentence = body["message"].as_str().or(body["error"].as_str());
    Refused { status, reason: sentence.unwrap_or("no reason given").to_owned() }
}

/// Returns whether the same request may succeed later.
pub(crate) fn may_pass(refused: &Refused) -> bool {
    refused.status.is_server_error() || refused.status == StatusCode::TOO_MANY_REQUESTS
}

fn url(given: Option<&str>) -> String {
    let given = given.map(str::to_owned).or_else(|| variable(URL_VARIABLE));
    given.unwrap_or_else(|| URL_DEFAULT.to_owned())
}

/// Returns the key from its file, or else from the environment.
fn key(file: Option<&Path>) -> Result<Option<SecretString>, Failure> {
    if file.is_some() {
        return read_secret("key", file).map(Some);
    }
    Ok(variable(KEY_VARIABLE).map(SecretString::from))
}

fn variable(name: &str) -> Option<String> {
    let mut variables = environment().into_iter();
    variables.find(|(known, value)| known == name && !value.is_empty()).map(|(_, value)| value)
}

fn headers(key: Option<&SecretString>, tenant: Option<&TenantId>) -> Result<HeaderMap, Failure> {
    let mut headers = HeaderMap::new();
    if let Some(key) = key {
        let unusable = |_| Failure::Usage(anyhow!("the key has characters that no key has"));
        let mut value = HeaderValue::from_str(key.expose_secret()).map_err(unusable)?;
        value.set_sensitive(true);
        headers.insert(HeaderName::from_static("x-api-key"), value);
    }
    if let Some(tenant) = tenant {
        let value = HeaderValue::from_str(tenant.as_str()).context("name the tenant")?;
        headers.insert(HeaderName::from_static("x-scope-orgid"), value);
    }
    Ok(headers)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_refusal_is_told_in_the_words_of_the_server() {
        for (body, expected) in [
            (
                r#"{"error":"Bad Request","code":"bad_data","message":"no"}"#,
                "server answers 400: no",
            ),
            (r#"{"status":"error","error":"parse error"}"#, "server answers 400: parse error"),
            ("<html>", "server answers 400: no reason given"),
        ] {
            let refused = refused(StatusCode::BAD_REQUEST, body.as_bytes());
            assert_eq!(refused.to_string(), expected);
        }
    }
}
