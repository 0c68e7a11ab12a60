//! Which pages of other sites may send requests, and what browsers are told about it.
//!
//! Nothing is allowed unless it was said. A page that is not allowed is refused before any work is done, also where a
//! browser would merely hide the answer: a WebSocket, or a form that it sends without asking first.

use std::collections::BTreeMap;
use std::fmt;
use std::str::FromStr;
use std::time::Duration;

use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, header};

use crate::endpoint::Endpoint;
use crate::serve::ConnectionInfo;

/// Most origins that can be listed.
pub const ORIGINS_MAX: usize = 64;

/// What other sites' pages may send beside what every page may.
const HEADERS_ALLOWED: HeaderValue = HeaderValue::from_static(
    "authorization, content-encoding, content-type, last-event-id, traceparent, tracestate, x-api-key, \
     x-app-id, x-csrf-token, x-request-id, x-scope-orgid",
);
/// What they may read beside what every page may.
const HEADERS_EXPOSED: HeaderValue =
    HeaderValue::from_static("x-request-id, x-error-code, retry-after");

/// The origin of a page: `https://dashboards.example`, or `http://localhost:3000`.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Origin {
    is_https: bool,
    /// Lower-case.
    host: String,
    port: u16,
}

/// A text that is no origin.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error(
    "must be an origin such as https://dashboards.example or http://localhost:3000, without a path"
)]
pub struct OriginError;

impl FromStr for Origin {
    type Err = OriginError;

    fn from_str(text: &str) -> Result<Self, OriginError> {
        let (scheme, authority) = text.split_once("://").ok_or(OriginError)?;
        let is_https = match scheme.to_ascii_lowercase().as_str() {
            "http" => false,
            "https" => true,
            _ => return Err(OriginError),
        };
        if authority.contains('@') {
            return Err(OriginError);
        }
        let authority = Authority::try_from(authority).map_err(|_| OriginError)?;
        let host = authority.host().to_ascii_lowercase();
        if host.is_empty() || host.contains('*') {
            return Err(OriginError);
        }
        let port = match authority.as_str().strip_prefix(authority.host()) {
            Some("") => default_port(is_https),
            rest => {
                let port = rest.and_then(|rest| rest.strip_prefix(':')).ok_or(OriginError)?;
                port.parse().map_err(|_| OriginError)?
            }
        };
        Ok(Self { is_https, host, port })
    }
}

impl fmt::Display for Origin {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let scheme = if self.is_https { "https" } else { "http" };
        write!(f, "{scheme}://{}", self.host)?;
        if self.port == default_port(self.is_https) { Ok(()) } else { write!(f, ":{}", self.port) }
    }
}

const fn default_port(is_https: bool) -> u16 {
    if is_https { 443 } else { 80 }
}

impl Origin {
    /// Returns whether this is the origin of pages that we serve ourselves, under the host that a request names.
    ///
    /// Behind a proxy that we do not trust we do not know how browsers reach us: then either scheme may be ours.
    fn is_own(&self, host: &Authority, is_encrypted: bool) -> bool {
        let port = host.port_u16().unwrap_or(default_port(self.is_https));
        (self.is_https || !is_encrypted)
            && host.host().eq_ignore_ascii_case(&self.host)
            && port == self.port
    }
}

/// Which pages of other sites may send requests. None by default.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct CrossOrigin {
    origins: Origins,
    credentials: bool,
    max_age: Duration,
}

#[derive(Clone, Debug, PartialEq, Eq)]
enum Origins {
    Any,
    Listed(Vec<Origin>),
}

impl Default for Origins {
    fn default() -> Self {
        Self::Listed(Vec::new())
    }
}

/// Why a list of origins is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum CrossOriginError {
    /// An entry is no origin.
    #[error("'{entry}' {source}")]
    Origin {
        /// What it says.
        entry: String,
        /// What is wrong with it.
        source: OriginError,
    },
    /// There are too many.
    #[error("must list at most {ORIGINS_MAX} origins")]
    TooMany,
    /// Any page could do whatever the people can whose browser shows it.
    #[error(
        "must list the origins one by one where credentials are allowed: * would let any page act for people"
    )]
    AnyWithCredentials,
}

impl CrossOrigin {
    /// Returns what a list of origins, or `*` alone, allows. `credentials` is whether browsers may add what they know
    /// of somebody by themselves, such as cookies; `max_age` is how long they may remember what they were told.
    ///
    /// # Errors
    ///
    /// The list makes no sense, or is dangerous.
    pub fn new(
        entries: &[String],
        credentials: bool,
        max_age: Duration,
    ) -> Result<Self, CrossOriginError> {
        if entries.len() > ORIGINS_MAX {
            return Err(CrossOriginError::TooMany);
        }
        if entries.iter().any(|entry| entry == "*") {
            if credentials {
                return Err(CrossOriginError::AnyWithCredentials);
            }
            return Ok(Self { origins: Origins::Any, credentials, max_age });
        }
        let origin = |entry: &String| {
            let parsed = entry.parse();
            parsed.map_err(|source| CrossOriginError::Origin { entry: entry.clone(), source })
        };
        let listed = entries.iter().map(origin).collect::<Result<_, _>>()?;
        Ok(Self { origins: Origins::Listed(listed), credentials, max_age })
    }

    /// Returns whether pages of any site may send requests.
    #[must_use]
    pub fn is_open(&self) -> bool {
        self.origins == Origins::Any
    }

    /// Returns where a request comes from.
    pub(crate) fn sender(&self, request: &Request, is_encrypted: bool) -> Sender {
        let headers = request.headers();
        let mut origins = headers.get_all(header::ORIGIN).iter();
        let Some(value) = origins.next() else {
            return if is_silent_form(request) { Sender::Foreign } else { Sender::Own };
        };
        let origin = value.to_str().ok().and_then(|origin| origin.parse::<Origin>().ok());
        let (Some(origin), None) = (origin, origins.next()) else { return Sender::Foreign };
        let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
        let host = host.or_else(|| request.uri().authority().map(|host| host.as_str().as_bytes()));
        let host = host.and_then(|host| Authority::try_from(host).ok());
        if host.is_some_and(|host| origin.is_own(&host, is_encrypted)) {
            return Sender::Own;
        }
        match &self.origins {
            Origins::Any => Sender::Allowed(HeaderValue::from_static("*")),
            Origins::Listed(listed) if listed.contains(&origin) => Sender::Allowed(value.clone()),
            Origins::Listed(_) => Sender::Foreign,
        }
    }

    /// Takes from an allowed page's request what the browser added by itself, unless that may count.
    pub(crate) fn strip(&self, request: &mut Request) {
        if self.credentials {
            return;
        }
        request.headers_mut().remove(header::COOKIE);
        if let Some(connection) = request.extensions_mut().get_mut::<ConnectionInfo>() {
            connection.certificate = None;
        }
    }

    /// Lets an allowed page read the answer.
    pub(crate) fn open(&self, headers: &mut HeaderMap, origin: HeaderValue) {
        headers.insert(header::ACCESS_CONTROL_ALLOW_ORIGIN, origin);
        headers.insert(header::ACCESS_CONTROL_EXPOSE_HEADERS, HEADERS_EXPOSED);
        if self.credentials {
            let yes = HeaderValue::from_static("true");
            headers.insert(header::ACCESS_CONTROL_ALLOW_CREDENTIALS, yes);
        }
    }

    /// Says what an allowed page may send, when the answer is that to its question.
    pub(crate) fn answer_question(&self, status: StatusCode, headers: &mut HeaderMap) {
        if status != StatusCode::NO_CONTENT {
            return;
        }
        headers.insert(header::ACCESS_CONTROL_ALLOW_HEADERS, HEADERS_ALLOWED);
        headers.insert(header::ACCESS_CONTROL_MAX_AGE, self.max_age.as_secs().into());
    }
}

/// Where a request comes from.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Sender {
    /// No browser, or a page of ours.
    Own,
    /// A page of another site that may; with what to tell its browser.
    Allowed(HeaderValue),
    /// A page of another site.
    Foreign,
}

/// A browser's question, ahead of the request proper, whether a page may send it. Only allowed pages get this far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Preflight;

impl Preflight {
    pub(crate) fn is(request: &Request) -> bool {
        const ASKED: HeaderName = header::ACCESS_CONTROL_REQUEST_METHOD;
        request.method() == Method::OPTIONS && request.headers().contains_key(ASKED)
    }
}

/// The methods of each path.
#[derive(Clone, Debug)]
pub(crate) struct Methods(BTreeMap<&'static str, String>);

impl Methods {
    pub(crate) fn of(endpoints: &[Endpoint]) -> Self {
        let mut methods: BTreeMap<_, String> = BTreeMap::new();
        for endpoint in endpoints {
            for verb in &endpoint.verbs {
                let methods = methods.entry(endpoint.rule.path).or_default();
                methods.push_str(if methods.is_empty() { "" } else { ", " });
                methods.push_str(verb.as_str());
            }
        }
        Self(methods)
    }

    /// Answers the question whether a page may send a request to a path.
    pub(crate) fn answer(&self, path: &str) -> Response {
        let methods = self.0.get(path).cloned().unwrap_or_default();
        let headers = [(header::ACCESS_CONTROL_ALLOW_METHODS, methods)];
        (StatusCode::NO_CONTENT, headers).into_response()
    }
}

/// Returns whether a browser says that another site's page makes it change something, though it leaves out which.
fn is_silent_form(request: &Request) -> bool {
    let is_own = |site: &HeaderValue| [&b"same-origin"[..], b"none"].contains(&site.as_bytes());
    !request.method().is_safe()
        && request.headers().get("sec-fetch-site").is_some_and(|site| !is_own(site))
}

#[cfg(test)]
mod tests {
    use axum::body::Body;

    use super::*;

    fn listed(entries: &[&str]) -> CrossOrigin {
        let entries: Vec<String> = entries.iter().map(|entry| (*entry).to_owned()).collect();
        CrossOrigin::new(&entries, false, Duration::from_secs(60)).expect("valid")
    }

    fn request(method: Method, headers: &[(&'static str, &'static str)]) -> Request {
        let mut request = Request::new(Body::empty());
        *request.method_mut() = method;
        for (name, value) in headers {
            request.headers_mut().append(*name, HeaderValue::from_static(value));
        }
        request
    }

    #[test]
    fn only_the_own_origin_is_not_foreign() {
        use Sender::{Foreign, Own};
        for (origin, host, is_encrypted, expected) in [
            ("http://localhost:8080", "localhost:8080", false, Own),
            ("http://LOCALHOST:8080", "localhost:8080", false, Own),
            ("http://example.org", "example.org:80", false, Own),
            ("https://example.org", "example.org", false, Own),
            ("https://example.org", "example.org", true, Own),
            ("http://example.org", "example.org", true, Foreign),
            ("http://localhost:3000", "localhost:8080", false, Foreign),
            ("http://evil.example", "localhost:8080", false, Foreign),
            ("http://localhost:8080.evil.example", "localhost:8080", false, Foreign),
            ("http://localhost:8080@evil.example", "localhost:8080", false, Foreign),
            ("null", "localhost:8080", false, Foreign),
            ("", "localhost:8080", false, Foreign),
        ] {
            let request = request(Method::GET, &[("origin", origin), ("host", host)]);
            let found = CrossOrigin::default().sender(&request, is_encrypted);
            assert_eq!(found, expected, "{origin:?} {host} {is_encrypted}");
        }
    }

    #[test]
    fn only_listed_origins_are_allowed() {
        let cross_origin = listed(&["https://Dash.example", "http://localhost:3000"]);
        for (origin, allowed) in [
            ("https://dash.example", true),
            ("https://dash.example:443", true),
            ("http://localhost:3000", true),
            ("http://dash.example", false),
            ("https://dash.example:8443", false),
            ("https://dash.example.evil.example", false),
            ("https://evil.dash.example", false),
            ("https://dash.example/", false),
            ("null", false),
        ] {
            let request = request(Method::GET, &[("origin", origin), ("host", "obs.example")]);
            let expected = match allowed {
                true => Sender::Allowed(HeaderValue::from_static(origin)),
                false => Sender::Foreign,
            };
            assert_eq!(cross_origin.sender(&request, true), expected, "{origin}");
        }
    }

    #[test]
    fn a_request_with_two_origins_is_foreign() {
        let two = [
            ("origin", "https://dash.example"),
            ("origin", "https://evil.example"),
            ("host", "obs.example"),
        ];
        let sender = listed(&["https://dash.example"]).sender(&request(Method::GET, &two), true);
        assert_eq!(sender, Sender::Foreign);
    }

    #[test]
    fn a_change_without_an_origin_counts_as_foreign_when_the_browser_says_so() {
        for (method, site, expected) in [
            (Method::POST, "cross-site", Sender::Foreign),
            (Method::DELETE, "same-site", Sender::Foreign),
            (Method::POST, "same-origin", Sender::Own),
            (Method::POST, "none", Sender::Own),
            (Method::GET, "cross-site", Sender::Own),
        ] {
            let request = request(method.clone(), &[("sec-fetch-site", site)]);
            assert_eq!(CrossOrigin::default().sender(&request, true), expected, "{method} {site}");
        }
    }

    #[test]
    fn lists_that_are_wrong_or_dangerous_are_refused() {
        for (entries, credentials, expected) in [
            (vec!["*"], true, "must list the origins one by one"),
            (vec!["https://a.example", "*"], true, "must list the origins one by one"),
            (vec!["a.example"], false, "'a.example' must be an origin"),
            (vec!["https://a.example/"], false, "'https://a.example/' must be an origin"),
            (vec!["https://*.example"], false, "'https://*.example' must be an origin"),
            (vec!["ftp://a.example"], false, "'ftp://a.example' must be an origin"),
            (vec!["https://a@b.example"], false, "'https://a@b.example' must be an origin"),
            (vec!["https://a.example:99999"], false, "must be an origin"),
            (vec!["null"], false, "'null' must be an origin"),
            (vec!["https://a.example"; ORIGINS_MAX + 1], false, "must list at most 64"),
        ] {
            let entries: Vec<String> = entries.into_iter().map(ToOwned::to_owned).collect();
            let error = CrossOrigin::new(&entries, credentials, Duration::ZERO);
            let error = error.expect_err("a mistake").to_string();
            assert!(error.contains(expected), "{entries:?}: {error}");
        }
        assert!(listed(&["*"]).is_open() && !listed(&[]).is_open());
        assert!(
            CrossOrigin::new(&vec!["https://a.example".to_owned(); 64], true, Duration::ZERO)
                .is_ok()
        );
        assert_eq!(
            "https://A.example:443".parse::<Origin>().expect("one").to_string(),
            "https://a.example"
        );
    }
}
