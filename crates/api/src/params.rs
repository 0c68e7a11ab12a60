//! Parameters of requests: from the address and, for a form, from the body.

use std::sync::Arc;

use axum::extract::Request;
use http::{Method, header};

use crate::body;
use crate::failure::Failure;
use crate::parts::App;

/// Parameters in order; those of the body before those of the address, as Go has them.
#[derive(Debug, Default)]
pub(crate) struct Params {
    path: String,
    pairs: Vec<(String, String)>,
}

impl Params {
    /// Reads the parameters of a request.
    pub(crate) async fn of(app: &Arc<App>, request: Request) -> Result<Self, Failure> {
        let (parts, body) = request.into_parts();
        let is_form = parts
            .headers
            .get(header::CONTENT_TYPE)
            .and_then(|value| value.to_str().ok())
            .is_some_and(|value| {
                let media_type = value.split(';').next().unwrap_or_default().trim();
                media_type.eq_ignore_ascii_case("application/x-www-form-urlencoded")
            });
        let mut params = Vec::new();
        if parts.method == Method::POST && is_form {
            let compression = body::compression(&parts.headers)?;
            let received = body::read(app, body, app.limits.body_bytes_max).await?;
            let bytes = body::unpack(compression, received.bytes, app.limits.body_bytes_max)?;
            params = decode(&bytes)?;
        }
        params.extend(decode(parts.uri.query().unwrap_or_default().as_bytes())?);
        Ok(Self { path: parts.uri.path().to_owned(), pairs: params })
    }

    /// Returns the path of the request.
    pub(crate) fn path(&self) -> &str {
        &self.path
    }

    /// Iterates over all parameters, in order.
    pub(crate) fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the first value of a parameter; `None` when it is absent or empty.
    pub(crate) fn get(&self, name: &str) -> Option<&str> {
        self.all(name).next().filter(|value| !value.is_empty())
    }

    /// Iterates over all values of a parameter.
    pub(crate) fn all(&self, name: &str) -> impl Iterator<Item = &str> {
        let matching = self.pairs.iter().filter(move |(candidate, _)| candidate == name);
        matching.map(|(_, value)| value.as_str())
    }
}

fn decode(bytes: &[u8]) -> Result<Vec<(String, String)>, Failure> {
    serde_urlencoded::from_bytes(bytes)
        .map_err(|error| Failure::bad_data(format!("error parsing form values: {error}")))
}
