//! Why a request is refused, and how each family of routes says so.

use axum::response::{IntoResponse, Response};
use http::{HeaderValue, StatusCode, header};
use model::{AppendError, SourceError};
use promql::QueryError;

use crate::body::json_response;
use crate::json::Json;

/// The kinds of failures, as Prometheus names them.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    /// The request makes no sense.
    BadData,
    /// The body is too long.
    TooLarge,
    /// The body is of a kind that this route does not read.
    UnsupportedMedia,
    /// The request comes from another site's page.
    Forbidden,
    /// The method does not fit the route.
    Method,
    /// The query is valid, but cannot be evaluated on this data.
    Execution,
    /// Whoever asked went away.
    Canceled,
    /// The time limit passed.
    Timeout,
    /// Too much is going on, or nothing can be stored; later it may work.
    Unavailable,
    /// The body took too long to arrive.
    Slow,
    /// There is no space left.
    StorageFull,
    /// There is no such thing.
    NotFound,
    /// Our mistake.
    Internal,
}

impl Kind {
    const fn status(self) -> StatusCode {
        match self {
            Self::BadData => StatusCode::BAD_REQUEST,
            Self::TooLarge => StatusCode::PAYLOAD_TOO_LARGE,
            Self::UnsupportedMedia => StatusCode::UNSUPPORTED_MEDIA_TYPE,
            Self::Forbidden => StatusCode::FORBIDDEN,
            Self::Method => StatusCode::METHOD_NOT_ALLOWED,
            Self::Execution => StatusCode::UNPROCESSABLE_ENTITY,
            // Nobody reads it; the number is that of Prometheus.
            Self::Canceled | Self::Timeout | Self::Unavailable => StatusCode::SERVICE_UNAVAILABLE,
            Self::Slow => StatusCode::REQUEST_TIMEOUT,
            Self::StorageFull => StatusCode::INSUFFICIENT_STORAGE,
            Self::NotFound => StatusCode::NOT_FOUND,
            Self::Internal => StatusCode::INTERNAL_SERVER_ERROR,
        }
    }

    const fn error_type(self) -> &'static str {
        match self {
            Self::BadData
            | Self::TooLarge
            | Self::UnsupportedMedia
            | Self::Forbidden
            | Self::Method
            | Self::Slow => "bad_data",
            Self::Execution => "execution",
            Self::Canceled => "canceled",
            Self::Timeout => "timeout",
            Self::Unavailable | Self::StorageFull => "unavailable",
            Self::NotFound => "not_found",
            Self::Internal => "internal",
        }
    }
}

/// A refused request.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Failure {
    pub(crate) kind: Kind,
    pub(crate) message: String,
}

/// Seconds after which a client may come again.
const RETRY_AFTER: HeaderValue = HeaderValue::from_static("1");

impl Failure {
    pub(crate) fn new(kind: Kind, message: impl Into<String>) -> Self {
        Self { kind, message: message.into() }
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
    pub(crate) fn legacy(&self) -> Response {
        let mut json = Json::new();
        json.raw(r#"{"error":"#);
        json.string(self.status().canonical_reason().unwrap_or("Error"));
        if !self.message.is_empty() {
            json.raw(r#","message":"#);
            json.string(&self.message);
        }
        json.raw("}\n");
        self.finish(json_response(self.status(), json))
    }

    /// Returns the answer as a line of text.
    pub(crate) fn plain(&self) -> Response {
        let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
        self.finish((self.status(), headers, format!("{}\n", self.message)).into_response())
    }

    pub(crate) fn finish(&self, mut response: Response) -> Response {
        if matches!(self.kind, Kind::Unavailable | Kind::StorageFull) {
            response.headers_mut().insert(header::RETRY_AFTER, RETRY_AFTER);
        }
        response
    }
}

impl From<SourceError> for Failure {
    fn from(error: SourceError) -> Self {
        let kind = match &error {
            SourceError::Cancelled => Kind::Canceled,
            SourceError::Timeout => Kind::Timeout,
            SourceError::Storage { .. } => Kind::Internal,
        };
        Self::new(kind, error.to_string())
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
            QueryError::Storage { .. } => Kind::Internal,
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
    LegacyFailure,
    legacy
);
family!(
    /// A failure that is told in a line of text.
    PlainFailure,
    plain
);
