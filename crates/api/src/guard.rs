//! What every request passes: other sites' pages are refused, panics contained, answers compressed and hardened.

use std::io::Write as _;
use std::net::IpAddr;
use std::panic::AssertUnwindSafe;

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

use crate::failure::{Failure, Kind};
use crate::routes::refuse;

/// Shorter answers are not compressed, in bytes.
const COMPRESSED_MIN: u64 = 1024;
/// Longer answers are compressed on a thread of their own, in bytes.
const COMPRESSED_INLINE_MAX: usize = 64 << 10;

/// The policy of answers that are no page: nothing may be loaded from them.
const POLICY: HeaderValue =
    HeaderValue::from_static("default-src 'none'; frame-ancestors 'none'; base-uri 'none'");

/// Wraps every route.
pub(crate) async fn guard(request: Request, next: Next) -> Response {
    let path = request.uri().path().to_owned();
    let is_head = request.method() == Method::HEAD;
    let takes_gzip = accepts_gzip(request.headers());
    let response = if is_foreign(request.headers(), request.uri()) {
        let message = "requests from pages of other sites are refused";
        refuse(&path, &Failure::new(Kind::ForeignOrigin, message))
    } else {
        let handled = AssertUnwindSafe(next.run(request)).catch_unwind().await;
        handled.unwrap_or_else(|_| {
            tracing::error!(path, "handler panicked");
            let message = "the request made the server fail; the log says more";
            refuse(&path, &Failure::new(Kind::Internal, message))
        })
    };
    let mut response = if takes_gzip && !is_head { compressed(response).await } else { response };
    harden(response.headers_mut());
    response
}

/// Returns whether a page of another site made the browser send this.
fn is_foreign(headers: &HeaderMap, uri: &Uri) -> bool {
    let Some(origin) = headers.get(header::ORIGIN) else { return false };
    let host = headers.get(header::HOST).map(HeaderValue::as_bytes);
    let host = host.or_else(|| uri.authority().map(|authority| authority.as_str().as_bytes()));
    let Some(host) = host.and_then(|host| Authority::try_from(host).ok()) else { return true };
    let origin = origin.to_str().ok().and_then(|origin| {
        let (scheme, authority) = origin.split_once("://")?;
        let default_port = match scheme {
            "http" => 80,
            "https" => 443,
            _ => return None,
        };
        Some((Authority::try_from(authority).ok()?, default_port))
    });
    let Some((origin, default_port)) = origin else { return true };
    let port = |authority: &Authority| authority.port_u16().unwrap_or(default_port);
    !origin.host().eq_ignore_ascii_case(host.host()) || port(&origin) != port(&host)
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
    parts.headers.insert(header::VARY, HeaderValue::from_static("accept-encoding"));
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

fn harden(headers: &mut HeaderMap) {
    headers.entry(header::CONTENT_SECURITY_POLICY).or_insert(POLICY);
    let fixed: [(HeaderName, &'static str); 4] = [
        (header::X_CONTENT_TYPE_OPTIONS, "nosniff"),
        (header::REFERRER_POLICY, "no-referrer"),
        (header::X_FRAME_OPTIONS, "DENY"),
        (HeaderName::from_static("cross-origin-resource-policy"), "same-origin"),
    ];
    for (name, value) in fixed {
        headers.insert(name, HeaderValue::from_static(value));
    }
}

#[cfg(test)]
mod tests {
    use axum::Router;
    use axum::middleware::from_fn;
    use axum::routing::get;
    use tower::ServiceExt as _;

    use super::*;

    #[test]
    fn only_the_own_origin_is_not_foreign() {
        for (origin, host, foreign) in [
            (None, "localhost:8080", false),
            (Some("http://localhost:8080"), "localhost:8080", false),
            (Some("http://LOCALHOST:8080"), "localhost:8080", false),
            (Some("http://example.org"), "example.org:80", false),
            (Some("https://example.org"), "example.org", false),
            (Some("http://localhost:3000"), "localhost:8080", true),
            (Some("http://evil.example"), "localhost:8080", true),
            (Some("http://localhost:8080.evil.example"), "localhost:8080", true),
            (Some("null"), "localhost:8080", true),
            (Some(""), "localhost:8080", true),
        ] {
            let mut headers = HeaderMap::new();
            headers.insert(header::HOST, HeaderValue::from_static(host));
            if let Some(origin) = origin {
                headers.insert(header::ORIGIN, HeaderValue::from_static(origin));
            }
            assert_eq!(is_foreign(&headers, &Uri::from_static("/")), foreign, "{origin:?} {host}");
        }
    }

    #[tokio::test]
    async fn a_panic_is_answered_and_the_next_request_served() {
        let router = Router::new()
            .route("/v1/boom", get(async || -> &'static str { std::panic::panic_any("boom") }))
            .route("/v1/calm", get(async || "calm"))
            .layer(from_fn(guard));
        for (path, status, expected) in [
            (
                "/v1/boom",
                500,
                "{\"error\":\"Internal Server Error\",\"code\":\"internal\",\"message\":\"the request made the server fail; \
                 the log says more\"}\n",
            ),
            ("/v1/calm", 200, "calm"),
        ] {
            let request = Request::get(path).body(Body::empty()).expect("a request");
            let response = router.clone().oneshot(request).await.expect("infallible");
            assert_eq!(response.status().as_u16(), status, "{path}");
            assert_eq!(response.headers()["x-content-type-options"], "nosniff", "{path}");
            let body = response.into_body().collect().await.expect("a body in memory");
            assert_eq!(body.to_bytes(), expected, "{path}");
        }
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
