//! Which path leads where.

use std::sync::Arc;

use axum::Router;
use axum::extract::{Request, State};
use axum::middleware::from_fn;
use axum::response::{IntoResponse as _, Response};
use axum::routing::{get, post};

use crate::failure::{Failure, Kind};
use crate::page::Assets;
use crate::parts::{ApiParts, App};
use crate::{guard, legacy, live, otlp, page, prometheus, remote_write};

/// Returns the routes over `parts`.
pub fn router(parts: ApiParts) -> Router {
    router_with(parts, page::EMBEDDED)
}

pub(crate) fn router_with(parts: ApiParts, assets: Assets) -> Router {
    let local_only = parts.local_only;
    let app = Arc::new(App::new(parts, assets));
    let routes = routes();
    let routes = if local_only { routes.layer(from_fn(guard::own_names)) } else { routes };
    routes.layer(from_fn(guard::guard)).with_state(app)
}

fn routes() -> Router<Arc<App>> {
    Router::new()
        .route("/api/v1/query", get(prometheus::query).post(prometheus::query))
        .route("/api/v1/query_range", get(prometheus::query_range).post(prometheus::query_range))
        .route("/api/v1/series", get(prometheus::series).post(prometheus::series))
        .route("/api/v1/labels", get(prometheus::labels).post(prometheus::labels))
        .route("/api/v1/label/{name}/values", get(prometheus::label_values))
        .route("/api/v1/metadata", get(prometheus::metadata))
        .route("/api/v1/format_query", get(prometheus::format).post(prometheus::format))
        .route("/api/v1/status/buildinfo", get(prometheus::build_info))
        .route("/api/v1/write", post(remote_write::write))
        .route("/api/v1/otlp/v1/metrics", post(otlp::metrics))
        .route("/v1/metrics", post(otlp::metrics))
        .route("/-/healthy", get(prometheus::healthy))
        .route("/-/ready", get(prometheus::ready))
        .route("/v1/ingest", post(legacy::ingest))
        .route("/v1/query", get(legacy::samples))
        .route("/v1/query/range", get(legacy::range))
        .route("/v1/query/execute", post(legacy::execute))
        .route("/v1/query/instant", get(legacy::instant).post(legacy::instant))
        .route("/v1/metrics/list", get(legacy::metrics_list))
        .route("/v1/stats", get(legacy::stats))
        .route("/v1/cardinality", get(legacy::cardinality))
        .route("/v1/storage", get(legacy::storage))
        .route("/v1/health", get(legacy::health))
        .route("/v1/ws", get(live::connect))
        .fallback(elsewhere)
        .method_not_allowed_fallback(wrong_method)
}

/// Answers paths that are no route of the API: the page, or that there is nothing.
async fn elsewhere(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    if may_be_page(path)
        && let Some(response) = page::serve(&app, request.method(), path)
    {
        return response;
    }
    let failure = Failure::new(Kind::NotFound, format!("there is nothing at {path}"));
    refuse(path, &failure)
}

/// Returns whether the page has this path; the others are mistakes, or what Prometheus has and we do not have yet.
fn may_be_page(path: &str) -> bool {
    let is_plain = |segment: &str| !["", ".", ".."].contains(&segment) && !segment.contains('%');
    let path = path.strip_prefix('/').unwrap_or(path);
    let first = path.split('/').next().unwrap_or_default();
    let is_api = ["api", "v1", "-", "metrics", "federate"].contains(&first);
    path.is_empty() || !is_api && path.split('/').all(is_plain)
}

async fn wrong_method(request: Request) -> Response {
    let path = request.uri().path();
    let message = format!("{} is not possible at {path}", request.method());
    refuse(path, &Failure::new(Kind::Method, message))
}

/// Returns the answer as the family of routes spells it that `path` belongs to.
pub(crate) fn refuse(path: &str, failure: &Failure) -> Response {
    if path == "/api" || path.starts_with("/api/") {
        failure.prometheus()
    } else {
        failure.legacy()
    }
    .into_response()
}
