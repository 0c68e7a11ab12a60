//! The embedded page.

use std::borrow::Cow;
use std::sync::Arc;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use http::{HeaderValue, Method, header};
use rust_embed::RustEmbed;

use crate::parts::App;

/// Looks up a file of the page by its path without the leading slash.
pub(crate) type Assets = fn(&str) -> Option<Cow<'static, [u8]>>;

/// The page that was built into the program.
pub(crate) const EMBEDDED: Assets = |path| Dist::get(path).map(|file| file.data);

#[derive(RustEmbed)]
#[folder = "../../web/dist"]
#[allow_missing = true]
struct Dist;

/// What is served when no page was built.
const PLACEHOLDER: &str = include_str!("page/placeholder.html");
/// What stands for the nonce in the page.
pub(crate) const NONCE: &str = "__CSP_NONCE__";

/// Returns the answer to a request for a file or view of the page; `None` when there is none.
pub(crate) fn serve(app: &Arc<App>, method: &Method, path: &str) -> Option<Response> {
    if *method != Method::GET && *method != Method::HEAD {
        return None;
    }
    let name = path.trim_start_matches('/');
    let is_file = name.rsplit('/').next().is_some_and(|file| file.contains('.'));
    let mut response = if is_file && name != "index.html" {
        let data = (app.assets)(name)?;
        let cache = if name.starts_with("assets/") {
            // Their names change with their contents.
            "public, max-age=31536000, immutable"
        } else {
            "no-cache"
        };
        let headers = [(header::CONTENT_TYPE, media_type(name)), (header::CACHE_CONTROL, cache)];
        (headers, data.into_owned()).into_response()
    } else {
        index(app)
    };
    if *method == Method::HEAD {
        let length = http_body::Body::size_hint(response.body()).lower();
        response.headers_mut().insert(header::CONTENT_LENGTH, HeaderValue::from(length));
        *response.body_mut() = Body::empty();
    }
    Some(response)
}

fn index(app: &Arc<App>) -> Response {
    let page = (app.assets)("index.html");
    with_nonce(app, &page.as_deref().map_or(PLACEHOLDER.into(), String::from_utf8_lossy))
}

/// Returns the answer with a page whose inline styles carry [`NONCE`].
pub(crate) fn with_nonce(app: &Arc<App>, page: &str) -> Response {
    let mut random = [0; 16];
    app.rng.fill(&mut random);
    let nonce = STANDARD.encode(random);
    let policy = format!(
        "default-src 'none'; script-src 'self'; style-src 'self' 'nonce-{nonce}'; img-src 'self'; \
         font-src 'self'; connect-src 'self'; manifest-src 'self'; base-uri 'none'; \
         form-action 'none'; frame-ancestors 'none'"
    );
    let headers = [
        (header::CONTENT_TYPE, "text/html; charset=utf-8".to_owned()),
        (header::CACHE_CONTROL, "no-cache".to_owned()),
        (header::CONTENT_SECURITY_POLICY, policy),
    ];
    (headers, page.replace(NONCE, &nonce)).into_response()
}

fn media_type(name: &str) -> &'static str {
    match name.rsplit('.').next().unwrap_or_default() {
        "js" | "mjs" => "text/javascript; charset=utf-8",
        "css" => "text/css; charset=utf-8",
        "html" => "text/html; charset=utf-8",
        "svg" => "image/svg+xml",
        "png" => "image/png",
        "ico" => "image/x-icon",
        "json" | "map" | "webmanifest" => "application/json",
        "woff2" => "font/woff2",
        "txt" => "text/plain; charset=utf-8",
        _ => "application/octet-stream",
    }
}
