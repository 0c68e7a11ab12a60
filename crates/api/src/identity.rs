//! Who sends a request, by its credentials.

use std::borrow::Cow;
use std::sync::Arc;

use access::{Access, CredentialError, KeyGrant, Oidc, Principal, SessionGrant};
use axum::extract::Request;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderMap, HeaderName, HeaderValue, Method, header};
use platform::Timestamp;

use crate::cookie;
use crate::failure::{Failure, Kind};
use crate::serve::ConnectionInfo;

/// Carries an API key, as does `Authorization: Bearer`.
const KEY: HeaderName = HeaderName::from_static("x-api-key");
/// Carries the session's token beside the cookie.
const CSRF: HeaderName = HeaderName::from_static("x-csrf-token");

/// Marks requests to routes that take a key as the user name of HTTP Basic, for clients that know nothing else.
///
/// Elsewhere that is no credential: browsers send it by themselves, also for pages of other sites.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakesBasic;

/// Marks requests to routes that take a key in `Authorization` without the word `Bearer` before it, as Pulltrace's
/// server does.
#[derive(Clone, Copy, Debug)]
pub(crate) struct TakesBareKey;

/// How the server knows who sends a request.
#[derive(Clone, Debug)]
pub enum Identity {
    /// It does not ask: everybody is this principal.
    Open(Arc<Principal>),
    /// By an API key, a session or a client certificate.
    Keys(Ways),
}

/// The ways to be known.
#[derive(Clone, Debug)]
pub struct Ways {
    /// Keys, people and their sessions.
    pub access: Arc<Access>,
    /// The login of people at a provider.
    pub oidc: Option<Arc<Oidc>>,
}

/// Whoever sends a request, and how that is known.
#[derive(Clone, Debug)]
pub(crate) struct Known {
    pub(crate) principal: Arc<Principal>,
    pub(crate) by: Credential,
}

/// What made us believe it.
#[derive(Clone, Debug)]
pub(crate) enum Credential {
    None,
    Key(Arc<KeyGrant>),
    Session(Arc<SessionGrant>),
    Certificate,
}

impl Known {
    /// Returns the session, if it is one.
    pub(crate) const fn session(&self) -> Option<&Arc<SessionGrant>> {
        match &self.by {
            Credential::Session(session) => Some(session),
            Credential::None | Credential::Key(_) | Credential::Certificate => None,
        }
    }
}

impl Identity {
    /// Returns who sends a request.
    ///
    /// A key counts before a session, and that before the certificate of the connection. With a session, a request that may change something needs the session's token
    /// too: the browser adds the cookie by itself, also for a page that does not know the token.
    pub(crate) fn of(
        &self,
        request: &Request,
        is_encrypted: bool,
        now: Timestamp,
    ) -> Result<Known, Failure> {
        let access = match self {
            Self::Open(principal) => {
                return Ok(Known { principal: Arc::clone(principal), by: Credential::None });
            }
            Self::Keys(ways) => &ways.access,
        };
        let headers = request.headers();
        let extensions = request.extensions();
        let spellings = Spellings {
            basic: extensions.get::<TakesBasic>().is_some(),
            bare: extensions.get::<TakesBareKey>().is_some(),
        };
        if let Some(key) = key(headers, spellings)? {
            let grant = access.directory().key(&key, now).map_err(refused_key)?;
            let principal = Arc::new(grant.principal.clone());
            return Ok(Known { principal, by: Credential::Key(grant) });
        }
        if let Some(cookie) = cookie::SESSION.read(headers, is_encrypted) {
            let session = access.directory().session(cookie, now).map_err(refused_session)?;
            check_token(request.method(), headers.get(CSRF), &session)?;
            let principal = Arc::new(session.principal.clone());
            return Ok(Known { principal, by: Credential::Session(session) });
        }
        let connection = request.extensions().get::<ConnectionInfo>();
        let shown = connection.and_then(|connection| connection.certificate.as_deref());
        if let Some(name) = shown.and_then(|certificate| certificate.common_name.as_deref())
            && let Some(principal) = access.certificate(name)
        {
            return Ok(Known { principal: Arc::new(principal), by: Credential::Certificate });
        }
        let message = "send an API key as X-API-Key or Authorization: Bearer, or log in";
        Err(Failure::new(Kind::KeyMissing, message))
    }

    /// Returns who somebody is now that was known some time ago: keys are revoked, sessions end, rights change.
    pub(crate) fn again(&self, known: &Known, now: Timestamp) -> Result<Arc<Principal>, Failure> {
        let principal = &known.principal;
        let Self::Keys(ways) = self else { return Ok(Arc::clone(principal)) };
        let directory = ways.access.directory();
        match &known.by {
            // The configuration alone says what a certificate opens.
            Credential::None | Credential::Certificate => Ok(Arc::clone(principal)),
            Credential::Key(key) => {
                let grant = directory.key_again(key, now).map_err(refused_key)?;
                Ok(Arc::new(grant.principal.clone()))
            }
            Credential::Session(session) => {
                let grant = directory.session_again(session, now).map_err(refused_session)?;
                Ok(Arc::new(grant.principal.clone()))
            }
        }
    }
}

/// How `Authorization` may hold a key, beside `Bearer`.
#[derive(Clone, Copy)]
struct Spellings {
    basic: bool,
    bare: bool,
}

/// Returns the key that a request presents.
fn key(headers: &HeaderMap, spellings: Spellings) -> Result<Option<Cow<'_, str>>, Failure> {
    let invalid = |message: &str| Failure::new(Kind::KeyInvalid, message);
    let mut presented: Option<Cow<'_, str>> = None;
    let bearers = headers.get_all(header::AUTHORIZATION).iter().map(|value| {
        let value = value.to_str().ok()?;
        let Some((scheme, key)) = value.split_once(' ') else {
            return spellings.bare.then_some(Cow::Borrowed(value));
        };
        if spellings.basic && scheme.eq_ignore_ascii_case("basic") {
            return user_name(key.trim()).map(Cow::Owned);
        }
        scheme.eq_ignore_ascii_case("bearer").then(|| Cow::Borrowed(key.trim()))
    });
    let keys = headers
        .get_all(KEY)
        .iter()
        .map(|value| value.to_str().ok().map(|key| Cow::Borrowed(key.trim())));
    for key in keys.chain(bearers) {
        let key = key.ok_or_else(|| invalid("only keys as X-API-Key or Bearer are understood"))?;
        if presented.as_ref().is_some_and(|other| *other != key) {
            return Err(invalid("the request presents two different keys"));
        }
        presented = Some(key);
    }
    Ok(presented)
}

/// Returns the user name of HTTP Basic without a password.
fn user_name(encoded: &str) -> Option<String> {
    let decoded = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    decoded.strip_suffix(':').filter(|name| !name.contains(':')).map(str::to_owned)
}

fn refused_key(error: CredentialError) -> Failure {
    match error {
        CredentialError::Malformed => {
            Failure::new(Kind::KeyInvalid, "an API key has 64 lower-case hexadecimal digits")
        }
        CredentialError::Unknown => Failure::new(Kind::KeyInvalid, "this API key is unknown"),
        CredentialError::Expired => Failure::new(Kind::KeyExpired, "this API key has expired"),
        CredentialError::Revoked => Failure::new(Kind::KeyRevoked, "this API key was revoked"),
        CredentialError::TenantDisabled => {
            Failure::new(Kind::TenantDisabled, "the tenant of this API key is disabled")
        }
    }
}

fn refused_session(error: CredentialError) -> Failure {
    match error {
        CredentialError::TenantDisabled => {
            Failure::new(Kind::TenantDisabled, "the tenant of this session is disabled")
        }
        CredentialError::Malformed
        | CredentialError::Unknown
        | CredentialError::Expired
        | CredentialError::Revoked => {
            Failure::new(Kind::SessionExpired, "the session has ended, log in again")
        }
    }
}

fn check_token(
    method: &Method,
    token: Option<&HeaderValue>,
    session: &SessionGrant,
) -> Result<(), Failure> {
    let token = token.and_then(|token| token.to_str().ok());
    if method.is_safe() || token.is_some_and(|token| session.is_csrf(token)) {
        return Ok(());
    }
    let message =
        "changes with a session need the header X-CSRF-Token with the token of GET /v1/session";
    Err(Failure::new(Kind::CsrfMissing, message))
}
