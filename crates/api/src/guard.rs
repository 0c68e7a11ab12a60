//! What every request passes: other sites' pages are refused, panics contained, answers compressed and hardened.

use std::io::Write as _;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;
use std::sync::Arc;

use axum::body::Body;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use bytes::Bytes;
use flate2::Compression;
use flate2::write::GzEncoder;
use futures_util::FutureExt as _;
use http::uri::Authority;
use http::{HeaderMap, HeaderName, HeaderValue, Method, StatusCode, Uri, header};
use http_body_util::BodyExt as _;

use crate::cors::{Preflight, Sender};
use crate::failure::{Failure, Kind};
use crate::parts::App;
use crate::routes::refuse;

/// Shorter answers are not compressed, in bytes.
const COMPRESSED_MIN: u64 = 1024;
/// Longer answers are compressed on a thread of their own, in bytes.
const COMPRESSED_INLINE_MAX: usize = 64 << 10;

/// The policy of answers that are no page: nothing may be loaded from them.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

/// What pages may do with the machine of whoever looks at them: nothing.
const FEATURES: HeaderValue = HeaderValue::from_static(
    "accelerometer=(), camera=(), display-capture=(), geolocation=(), gyroscope=(), magnetometer=(), \
     microphone=(), midi=(), payment=(), usb=()",
);
/// Browsers come back encrypted for a year, once they did.
const ENCRYPTED_ONLY: HeaderValue = HeaderValue::from_static("max-age=31536000");

/// Wraps every route.
pub(crate) async fn guard(app: Arc<App>, mut request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let takes_gzip = accepts_gzip(request.headers());
    let is_encrypted = app.admission.is_encrypted(&request);
    let sender = app.cross_origin.sender(&request, is_encrypted);
    let is_preflight = Preflight::is(&request);
    if let Sender::Allowed(_) = sender {
        app.cross_origin.strip(&mut request);
        if is_preflight {
            request.extensions_mut().insert(Preflight);
        }
    }
    let response = if sender == Sender::Foreign {
        let message = "requests from pages of other sites are refused; http.cors.allowed_origins lists \
                       those that are not";
        refuse(&path, &Failure::new(Kind::ForeignOrigin, message))
    } else if request.headers().get_all(header::HOST).iter().nth(1).is_some() {
        refuse(&path, &Failure::bad_data("the request is for two hosts"))
    } else {
        contained(&path, next.run(request)).await
    };
    let mut response = if takes_gzip && !is_head { compressed(response).await } else { response };
    let status = response.status();
    let headers = response.headers_mut();
    if let Sender::Allowed(origin) = sender {
        app.cross_origin.open(headers, origin);
        if is_preflight {
            app.cross_origin.answer_question(status, headers);
        }
    }
    harden(headers, is_encrypted);
    response
}

/// Answers also when the handler panics.
async fn contained(path: &str, handled: impl Future<Output = Response>) -> Response {
    AssertUnwindSafe(handled).catch_unwind().await.unwrap_or_else(|_| {
        tracing::error!(path, "handler panicked");
        let message = "the request made the server fail; the log says more";
        refuse(path, &Failure::new(Kind::Internal, message))
    })
}

/// Refuses requests for host names that somebody else may own.
pub(crate) async fn own_names(request: Request, next: Next) -> Response {
    if is_own_name(request.headers(), request.uri()) {
        return next.run(request).await;
    }
    let message = "requests for this host name are refused: without a login only localhost and addresses are \
                   answered; set auth.mode to none if everybody who reaches this server may use it";
    refuse(request.uri().path(), &Failure::new(Kind::ForeignHost, message))
}

/// Returns whether nobody elsewhere can make the host name of the request lead here: it is an address, or a name of
/// this network.
fn is_own_name(headers: &HeaderMap, uri: &Uri) -> bool {
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str().as_bytes()));
    let Some(host) = host.filter(|host| !host.is_empty()) else { return true };
    let Ok(authority) = Authority::try_from(host) else { return false };
    let host = authority.host();
    let address = host.strip_prefix('[').and_then(|host| host.strip_suffix(']')).unwrap_or(host);
    let name = host.strip_suffix('.').unwrap_or(host).to_ascii_lowercase();
    address.parse::<IpAddr>().is_ok() || !name.contains('.') || name.ends_with(".localhost")
}

fn accepts_gzip(headers: &HeaderMap) -> bool {
    let values = headers.get_all(header::ACCEPT_ENCODING).iter();
    values.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(|item| {
        let (name, weight) = item.split_once(';').unwrap_or((item, ""));
        let refused =
            weight.trim().strip_prefix("q=").and_then(|weight| weight.parse::<f32>().ok());
        name.trim().eq_ignore_ascii_case("gzip") && refused != Some(0.0)
    })
}

async fn compressed(response: Response) -> Response {
    let (mut parts, body) = response.into_parts();
    let length = http_body::Body::size_hint(&body).exact();
    let is_text = parts.headers.get(header::CONTENT_TYPE).is_some_and(|kind| {
        let kind = kind.to_str().unwrap_or_default();
        kind.starts_with("text/")
            || ["json", "javascript", "svg"].iter().any(|text| kind.contains(text))
    });
    let worthwhile = length.is_some_and(|length| length > COMPRESSED_MIN)
        && is_text
        && parts.status != StatusCode::SWITCHING_PROTOCOLS
        && !parts.headers.contains_key(header::CONTENT_ENCODING);
    if !worthwhile {
        return Response::from_parts(parts, body);
    }
    let Ok(plain) = body.collect().await.map(http_body_util::Collected::to_bytes) else {
        return Response::from_parts(parts, Body::empty());
    };
    let packed = if plain.len() <= COMPRESSED_INLINE_MAX {
        gzip(&plain)
    } else {
        let copy = plain.clone();
        tokio::task::spawn_blocking(move || gzip(&copy)).await.ok().flatten()
    };
    parts.headers.append(header::VARY, HeaderValue::from_static("accept-encoding"));
    let Some(packed) = packed else { return Response::from_parts(parts, Body::from(plain)) };
    parts.headers.remove(header::CONTENT_LENGTH);
    parts.headers.insert(header::CONTENT_ENCODING, HeaderValue::from_static("gzip"));
    Response::from_parts(parts, Body::from(packed))
}

fn gzip(plain: &Bytes) -> Option<Vec<u8>> {
    let mut encoder = GzEncoder::new(Vec::with_capacity(plain.len() / 4), Compression::fast());
    encoder.write_all(plain).ok()?;
    encoder.finish().ok()
}

fn harden(headers: &mut HeaderMap, is_encrypted: bool) {
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    // Only what says that it may be kept is kept: nearly all answers are somebody's data.
    headers.entry(header::CACHE_CONTROL).or_insert(HeaderValue::from_static("no-store"));
    headers.append(header::VARY, HeaderValue::from_static("origin"));
    headers.insert(HeaderName::from_static("permissions-policy"), FEATURES);
    if is_encrypted {
        headers.insert(header::STRICT_TRANSPORT_SECURITY, ENCRYPTED_ONLY);
    }
    let fixed: [(HeaderName, &'static str); 5] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
        (HeaderName::from_static("cross-origin-opener-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_panic_is_answered() {
        let boom = async { std::panic::panic_any("boom") };
        let response = contained("/v1/boom", boom).await;
        assert_eq!(response.status(), StatusCode::INTERNAL_SERVER_ERROR);
        let body = response.into_body().collect().await.expect("a body in memory").to_bytes();
        let expected = "{\"error\":\"Internal Server Error\",\"code\":\"internal\",\"message\":\"the \
                        request made the server fail; the log says more\"}\n";
        assert_eq!(body, expected);
    }

    #[test]
    fn names_that_others_may_own_are_not_ours() {
        for (host, own) in [
            (None, true),
            (Some(""), true),
            (Some("localhost:8080"), true),
            (Some("LOCALHOST."), true),
            (Some("tinyobs.localhost:8080"), true),
            (Some("127.0.0.1:8080"), true),
            (Some("[::1]:8080"), true),
            (Some("box"), true),
            (Some("evil.example:8080"), false),
            (Some("127.0.0.1.evil.example"), false),
            (Some("localhost.evil.example."), false),
            (Some("a b"), false),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(host) = host {
                headers.insert(header::HOST, HeaderValue::from_static(host));
            }
            assert_eq!(is_own_name(&headers, &Uri::from_static("/")), own, "{host:?}");
        }
    }

    #[test]
    fn gzip_is_used_only_for_those_who_take_it() {
        for (value, expected) in
            [("gzip", true), ("br, GZIP;q=0.5", true), ("gzip;q=0", false), ("identity", false)]
        {
            let mut headers = HeaderMap::new();
            headers.insert(header::ACCEPT_ENCODING, HeaderValue::from_static(value));
            assert_eq!(accepts_gzip(&headers), expected, "{value}");
        }
    }
}
