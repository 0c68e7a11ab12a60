//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn_with_state;
use axum::response::{IntoResponse as _, Response};
use axum::routing::get;

use crate::failure::{Failure, Kind};
use crate::page::Assets;
use crate::parts::{ApiParts, App};
use crate::{guard, page, prometheus};

/// Returns the routes over `parts`.
#[must_use]
pub fn router(parts: ApiParts) -> Router {
    router_with(parts, page::EMBEDDED)
}

pub(crate) fn router_with(parts: ApiParts, assets: Assets) -> Router {
    routes(Arc::new(App::new(parts, assets)))
}

fn routes(app: Arc<App>) -> Router {
    Router::new()
        .route("/api/v1/query", get(prometheus::query).post(prometheus::query))
        .route("/api/v1/query_range", get(prometheus::query_range).post(prometheus::query_range))
        .route("/api/v1/series", get(prometheus::series).post(prometheus::series))
        .route("/api/v1/labels", get(prometheus::labels).post(prometheus::labels))
        .route("/api/v1/label/{name}/values", get(prometheus::label_values))
        .route("/api/v1/metadata", get(prometheus::metadata))
        .route("/api/v1/format_query", get(prometheus::format).post(prometheus::format))
        .route("/api/v1/status/buildinfo", get(prometheus::build_info))
        .route("/-/healthy", get(prometheus::healthy))
        .route("/-/ready", get(prometheus::ready))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
        .layer(from_fn_with_state(Arc::clone(&app), guard::guard))
        .with_state(app)
}

/// Answers paths that are no route of the API: the page, or that there is nothing.
async fn elsewhere(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    let is_api = ["/api/", "/v1/", "/-/"].iter().any(|prefix| path.starts_with(prefix));
    if !is_api && let Some(response) = page::serve(&app, request.method(), path) {
        return response;
    }
    let failure = Failure::new(Kind::NotFound, format!("there is nothing at {path}"));
    refuse(path, &failure)
}

async fn wrong_method(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{} is not possible at {path}", request.method());
    refuse(path, &Failure::new(Kind::Method, message))
}

/// Returns the answer as the family of routes spells it that `path` belongs to.
pub(crate) fn refuse(path: &str, failure: &Failure) -> Response {
    if path.starts_with("/api/") { failure.prometheus() } else { failure.legacy() }.into_response()
}
