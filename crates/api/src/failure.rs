//! Why a request is refused, and how each family of routes says so.

use std::time::Duration;

use axum::response::{IntoResponse, Response};
use events::LogError;
use http::{HeaderName, HeaderValue, StatusCode, header};
use ingest::{OtlpFormat, encode_otlp_status};
use model::{AppendError, SourceError};
use promql::QueryError;

use crate::body::json_response;
use crate::json::Json;

/// A kind of failure, with everything that is fixed about it.
///
/// The codes are part of the API: they are stable, and `docs/errors.md` lists them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    BadData,
    TooLarge,
    UnsupportedMedia,
    ForeignOrigin,
    ForeignHost,
    KeyMissing,
    KeyInvalid,
    KeyExpired,
    KeyRevoked,
    SessionExpired,
    LoginFailed,
    CsrfMissing,
    PermissionMissing,
    TenantForbidden,
    AppForbidden,
    TenantUnknown,
    TenantDisabled,
    Method,
    NotFound,
    Conflict,
    Execution,
    Canceled,
    Timeout,
    Slow,
    RateLimited,
    QuotaExceeded,
    Unavailable,
    StorageFull,
    StorageFailed,
    Internal,
}

impl Kind {
    /// Every kind, in the order of the documentation.
    pub(crate) const ALL: [Self; 30] = [
        Self::BadData,
        Self::TooLarge,
        Self::UnsupportedMedia,
        Self::ForeignOrigin,
        Self::ForeignHost,
        Self::KeyMissing,
        Self::KeyInvalid,
        Self::KeyExpired,
        Self::KeyRevoked,
        Self::SessionExpired,
        Self::LoginFailed,
        Self::CsrfMissing,
        Self::PermissionMissing,
        Self::TenantForbidden,
        Self::AppForbidden,
        Self::TenantUnknown,
        Self::TenantDisabled,
        Self::Method,
        Self::NotFound,
        Self::Conflict,
        Self::Execution,
        Self::Canceled,
        Self::Timeout,
        Self::Slow,
        Self::RateLimited,
        Self::QuotaExceeded,
        Self::Unavailable,
        Self::StorageFull,
        Self::StorageFailed,
        Self::Internal,
    ];

    /// Returns the status, the code, the type that the Prometheus API knows, and the meaning.
    const fn facts(self) -> (StatusCode, &'static str, &'static str, &'static str) {
        use StatusCode as S;
        match self {
            Self::BadData => (
                S::BAD_REQUEST,
                "bad_data",
                "bad_data",
                "The request makes no sense: a parameter, the body or a value in it is wrong.",
            ),
            Self::TooLarge => (
                S::PAYLOAD_TOO_LARGE,
                "too_large",
                "bad_data",
                "The body, or what it unpacks to, is longer than allowed, or has more parts.",
            ),
            Self::UnsupportedMedia => (
                S::UNSUPPORTED_MEDIA_TYPE,
                "unsupported_media",
                "bad_data",
                "The body is of a kind that this route does not read.",
            ),
            Self::ForeignOrigin => (
                S::FORBIDDEN,
                "foreign_origin",
                "bad_data",
                "The request comes from a page of another site.",
            ),
            Self::ForeignHost => (
                S::FORBIDDEN,
                "foreign_host",
                "bad_data",
                "The request is for a host name that somebody else may own.",
            ),
            Self::KeyMissing => (
                S::UNAUTHORIZED,
                "key_missing",
                "unauthorized",
                "The request says not who sends it: give an API key, or log in.",
            ),
            Self::KeyInvalid => {
                (S::UNAUTHORIZED, "key_invalid", "unauthorized", "There is no such API key.")
            }
            Self::KeyExpired => {
                (S::UNAUTHORIZED, "key_expired", "unauthorized", "The API key was valid once.")
            }
            Self::KeyRevoked => {
                (S::UNAUTHORIZED, "key_revoked", "unauthorized", "The API key was revoked.")
            }
            Self::SessionExpired => (
                S::UNAUTHORIZED,
                "session_expired",
                "unauthorized",
                "The session has ended: log in again.",
            ),
            Self::LoginFailed => (
                S::UNAUTHORIZED,
                "login_failed",
                "unauthorized",
                "Name and password do not belong together, or the identity provider refused.",
            ),
            Self::CsrfMissing => (
                S::FORBIDDEN,
                "csrf_missing",
                "forbidden",
                "A change with a session needs the header X-CSRF-Token with the session's token.",
            ),
            Self::PermissionMissing => (
                S::FORBIDDEN,
                "permission_missing",
                "forbidden",
                "The key or user may not do this.",
            ),
            Self::TenantForbidden => (
                S::FORBIDDEN,
                "tenant_forbidden",
                "forbidden",
                "The request is for a tenant that the key or user does not belong to.",
            ),
            Self::AppForbidden => (
                S::FORBIDDEN,
                "app_forbidden",
                "forbidden",
                "The request is about another app than the one that the key is for.",
            ),
            Self::TenantUnknown => {
                (S::NOT_FOUND, "tenant_unknown", "not_found", "There is no such tenant.")
            }
            Self::TenantDisabled => {
                (S::FORBIDDEN, "tenant_disabled", "forbidden", "The tenant is disabled.")
            }
            Self::Method => (
                S::METHOD_NOT_ALLOWED,
                "wrong_method",
                "bad_data",
                "The method does not fit the route.",
            ),
            Self::NotFound => (S::NOT_FOUND, "not_found", "not_found", "There is no such thing."),
            Self::Conflict => (
                S::CONFLICT,
                "conflict",
                "conflict",
                "The change contradicts what is there, such as a name that is taken.",
            ),
            Self::Execution => (
                S::UNPROCESSABLE_ENTITY,
                "execution",
                "execution",
                "The query is valid, but cannot be evaluated on this data or within its limits.",
            ),
            Self::Canceled => {
                (S::SERVICE_UNAVAILABLE, "canceled", "canceled", "Whoever asked went away.")
            }
            Self::Timeout => {
                (S::SERVICE_UNAVAILABLE, "timeout", "timeout", "The time limit passed.")
            }
            Self::Slow => {
                (S::REQUEST_TIMEOUT, "slow_body", "bad_data", "The body took too long to arrive.")
            }
            Self::RateLimited => (
                S::TOO_MANY_REQUESTS,
                "rate_limited",
                "too_many_requests",
                "Too many requests or samples in a short time; come again after Retry-After.",
            ),
            Self::QuotaExceeded => (
                S::TOO_MANY_REQUESTS,
                "quota_exceeded",
                "too_many_requests",
                "The tenant's quota of the day is used up; come again after Retry-After.",
            ),
            Self::Unavailable => (
                S::SERVICE_UNAVAILABLE,
                "unavailable",
                "unavailable",
                "Too much is going on, or nothing can be stored; later it may work.",
            ),
            Self::StorageFull => (
                S::INSUFFICIENT_STORAGE,
                "storage_full",
                "unavailable",
                "There is no space left for this tenant.",
            ),
            Self::StorageFailed => (
                S::SERVICE_UNAVAILABLE,
                "storage_failed",
                "internal",
                "The storage could not be read; the last good answer is given where there is one.",
            ),
            Self::Internal => (
                S::INTERNAL_SERVER_ERROR,
                "internal",
                "internal",
                "Our mistake; the log says more.",
            ),
        }
    }

    pub(crate) const fn status(self) -> StatusCode {
        self.facts().0
    }

    /// Returns the stable code.
    pub(crate) const fn code(self) -> &'static str {
        self.facts().1
    }

    const fn error_type(self) -> &'static str {
        self.facts().2
    }

    /// Returns what the code means, in a sentence.
    pub(crate) const fn meaning(self) -> &'static str {
        self.facts().3
    }
}

/// Returns the page of the documentation that lists the codes.
#[must_use]
pub fn error_codes() -> String {
    let mut page = "\
# Error codes

Every refusal has a code that does not change, in the header `X-Error-Code` and, where the body is of our own shape, in its field `code`.
The message beside it is for people and may change.
With 429 and 503, `Retry-After` says after how many seconds to come again.
This page is made from the code: `make generate`.

| code | status | meaning |
|---|---|---|
"
    .to_owned();
    for kind in Kind::ALL {
        let (code, status, meaning) = (kind.code(), kind.status().as_u16(), kind.meaning());
        page.push_str(&format!("| `{code}` | {status} | {meaning} |\n"));
    }
    page
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
    /// When to come again, if that is known better than "in a second".
    pub(crate) retry_after: Option<Duration>,
}

/// When a client may come again where nothing better is known.
const RETRY_AFTER: Duration = Duration::from_secs(1);
/// Says the code, whatever the body looks like.
pub(crate) const CODE_HEADER: HeaderName = HeaderName::from_static("x-error-code");

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into(), retry_after: None }
    }

    pub(crate) fn bad_data(message: impl Into<String>) -> Self {
        Self::new(Kind::BadData, message)
    }

    pub(crate) fn overloaded(message: impl Into<String>) -> Self {
        Self::new(Kind::Unavailable, message)
    }

    /// As Prometheus says that a parameter is wrong.
    pub(crate) fn parameter(name: &str, reason: impl std::fmt::Display) -> Self {
        Self::bad_data(format!("invalid parameter {name:?}: {reason}"))
    }

    pub(crate) const fn status(&self) -> StatusCode {
        self.kind.status()
    }

    /// Returns the answer as the Prometheus API spells it.
    pub(crate) fn prometheus(&self) -> Response {
        let mut json = Json::new();
        json.raw(r#"{"status":"error","errorType":"#);
        json.string(self.kind.error_type());
        json.raw(r#","error":"#);
        json.string(&self.message);
        json.raw("}");
        self.finish(json_response(self.status(), json))
    }

    /// Returns the answer as the routes below `/v1` spell it.
    pub(crate) fn native(&self) -> Response {
        let mut json = Json::new();
        json.raw(r#"{"error":"#);
        json.string(self.status().canonical_reason().unwrap_or("Error"));
        json.raw(r#","code":"#);
        json.string(self.kind.code());
        if !self.message.is_empty() {
            json.raw(r#","message":"#);
            json.string(&self.message);
        }
        json.raw("}\n");
        self.finish(json_response(self.status(), json))
    }

    /// Returns the answer as Causality spells it.
    pub(crate) fn causality(&self) -> Response {
        let mut json = Json::new();
        json.raw(r#"{"error":"#);
        json.string(&self.message);
        json.raw(r#","code":"#);
        json.string(self.kind.code());
        json.raw("}\n");
        self.finish(json_response(self.status(), json))
    }

    /// Returns the answer as OTLP spells it: a `google.rpc.Status` with a message.
    pub(crate) fn otlp(&self, format: OtlpFormat) -> Response {
        let body = encode_otlp_status(format, &self.message);
        let content_type = [(header::CONTENT_TYPE, format.content_type())];
        self.finish((self.status(), content_type, body).into_response())
    }

    /// Returns the answer as a line of text.
    pub(crate) fn plain(&self) -> Response {
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        self.finish((self.status(), headers, format!("{}\n", self.message)).into_response())
    }

    /// Returns the answer as Pulltrace's server spells it.
    pub(crate) fn pulltrace(&self) -> Response {
        let told = match self.kind.status() {
            StatusCode::UNAUTHORIZED => "unauthorized",
            StatusCode::METHOD_NOT_ALLOWED => "method not allowed",
            StatusCode::TOO_MANY_REQUESTS => "rate limited",
            _ => &self.message,
        };
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        self.finish((self.status(), headers, format!("{told}\n")).into_response())
    }

    /// Says later when to come again.
    pub(crate) const fn retry_after(mut self, retry_after: Duration) -> Self {
        self.retry_after = Some(retry_after);
        self
    }

    /// Adds the headers that every refusal has.
    pub(crate) fn finish(&self, mut response: Response) -> Response {
        let headers = response.headers_mut();
        headers.insert(CODE_HEADER, HeaderValue::from_static(self.kind.code()));
        let again = match self.kind {
            Kind::Unavailable
            | Kind::StorageFull
            | Kind::StorageFailed
            | Kind::RateLimited
            | Kind::QuotaExceeded => Some(self.retry_after.unwrap_or(RETRY_AFTER)),
            _ => None,
        };
        if let Some(again) = again {
            // Whole seconds, rounded up: nobody is told to come too early.
            let seconds = again.as_millis().div_ceil(1000).max(1);
            let seconds = u64::try_from(seconds).unwrap_or(u64::MAX);
            headers.insert(header::RETRY_AFTER, HeaderValue::from(seconds));
        }
        if self.status() == StatusCode::UNAUTHORIZED {
            let challenge = HeaderValue::from_static("Bearer realm=\"tinyobs\"");
            headers.insert(header::WWW_AUTHENTICATE, challenge);
        }
        response
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let kind = match &error {
            SourceError::Cancelled => Kind::Canceled,
            SourceError::Timeout => Kind::Timeout,
            SourceError::Storage { .. } => Kind::StorageFailed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<LogError> for Failure {
    fn from(error: LogError) -> Self {
        let message = error.to_string();
        match error {
            LogError::Unavailable { retry_after, .. } => {
                Self::overloaded(message).retry_after(retry_after)
            }
            LogError::TooLarge { .. } => Self::new(Kind::TooLarge, message),
            LogError::Damaged { .. } => Self::new(Kind::StorageFailed, message),
            LogError::Overloaded { .. }
            | LogError::Full { .. }
            | LogError::Consumer { .. }
            | LogError::Closed => Self::overloaded(message),
        }
    }
}

impl From<QueryError> for Failure {
    fn from(error: QueryError) -> Self {
        let kind = match &error {
            QueryError::InvalidRange { .. } => Kind::BadData,
            QueryError::Unsupported { .. }
            | QueryError::Execution { .. }
            | QueryError::TooManySamples { .. } => Kind::Execution,
            QueryError::Cancelled => Kind::Canceled,
            QueryError::Timeout => Kind::Timeout,
            QueryError::Storage { .. } => Kind::StorageFailed,
        };
        Self::new(kind, error.to_string())
    }
}

impl From<AppendError> for Failure {
    fn from(error: AppendError) -> Self {
        let kind = match &error {
            AppendError::Rejected(_) => Kind::BadData,
            AppendError::TooLarge { .. } => Kind::TooLarge,
            AppendError::ReadOnly { .. } | AppendError::Overloaded => Kind::Unavailable,
        };
        Self::new(kind, error.to_string())
    }
}

macro_rules! family {
    ($(#[$doc:meta])* $name:ident, $method:ident) => {
        $(#[$doc])*
        #[derive(Debug)]
        pub(crate) struct $name(pub(crate) Failure);

        impl<E: Into<Failure>> From<E> for $name {
            fn from(error: E) -> Self {
                Self(error.into())
            }
        }

        impl IntoResponse for $name {
            fn into_response(self) -> Response {
                self.0.$method()
            }
        }
    };
}

family!(
    /// A failure of a route of the Prometheus API.
    PrometheusFailure,
    prometheus
);
family!(
    /// A failure of a route below `/v1`.
    NativeFailure,
    native
);
family!(
    /// A failure of a route that Causality had.
    CausalityFailure,
    causality
);
family!(
    /// A failure that is told in a line of text.
    PlainFailure,
    plain
);
family!(
    /// A failure of a route that Pulltrace had.
    PulltraceFailure,
    pulltrace
);

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;

    #[test]
    fn the_committed_list_of_codes_is_fresh() {
        let committed = include_str!("../../../docs/errors.md");
        assert!(committed == error_codes(), "docs/errors.md is stale: make generate");
    }

    #[test]
    fn every_kind_has_a_code_of_its_own() {
        let codes: BTreeSet<&str> = Kind::ALL.iter().map(|kind| kind.code()).collect();
        assert_eq!(codes.len(), Kind::ALL.len());
    }

    #[test]
    fn whoever_may_come_again_is_told_when() {
        let after = |failure: &Failure| {
            let response = failure.native();
            let value = response.headers().get(header::RETRY_AFTER).cloned();
            value.map(|value| value.to_str().expect("a number").to_owned())
        };
        let limited = Failure::new(Kind::RateLimited, "too fast");
        assert_eq!(after(&limited).as_deref(), Some("1"));
        let later = limited.retry_after(Duration::from_millis(2_001));
        assert_eq!(after(&later).as_deref(), Some("3"), "never too early");
        assert_eq!(after(&Failure::bad_data("nonsense")), None);
    }
}
