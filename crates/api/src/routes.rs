//! Which path leads where.

use std::sync::Arc;

use access::Now;
use axum::Router;
use axum::extract::{MatchedPath, Request, State};
use axum::middleware::from_fn;
use axum::response::Response;

use crate::cors::{Methods, Preflight};
use crate::endpoint::{Access, Endpoint, Family};
use crate::failure::{Failure, Kind};
use crate::page::Assets;
use crate::parts::{ApiParts, App};
use crate::reference::Reference;
use crate::{
    admin, configuration, dead_letters, enforce, events, exposition, guard, legacy, live, observe,
    otlp, page, profiles, prometheus, pulls, reference, remote_write, session, status, tail,
};

/// Returns the routes over `parts`.
pub fn router(parts: ApiParts) -> Router {
    router_with(parts, page::EMBEDDED)
}

/// Returns the OpenAPI document of all routes, as text that ends with a newline.
#[must_use]
pub fn openapi_json() -> String {
    reference::openapi_json(&endpoints())
}

pub(crate) fn router_with(parts: ApiParts, assets: Assets) -> Router {
    let local_only = parts.local_only;
    let mut endpoints = endpoints();
    if parts.observability.metrics_public {
        let metrics =
            endpoints.iter_mut().filter(|endpoint| endpoint.rule.path == exposition::PATH);
        metrics.for_each(|endpoint| endpoint.rule.access = Access::Public);
    }
    let app = Arc::new(App::new(parts, assets, Reference::of(&endpoints)));
    let methods = Arc::new(Methods::of(&endpoints));
    let mut routes = Router::new();
    for Endpoint { rule, handler, .. } in endpoints {
        let guarded = Arc::clone(&app);
        let check = from_fn(move |request, next| {
            enforce::enforce(Arc::clone(&guarded), rule, request, next)
        });
        routes = routes.route(rule.path, handler.route_layer(check));
    }
    let wrong_method = move |app, path, request| {
        let methods = Arc::clone(&methods);
        async move { wrong_method(app, path, &methods, request) }
    };
    let routes = routes.fallback(elsewhere).method_not_allowed_fallback(wrong_method);
    let routes = if local_only { routes.layer(from_fn(guard::own_names)) } else { routes };
    let guarded = Arc::clone(&app);
    let guard = from_fn(move |request, next| guard::guard(Arc::clone(&guarded), request, next));
    let observed = Arc::clone(&app);
    let observe =
        from_fn(move |request, next| observe::observe(Arc::clone(&observed), request, next));
    routes.layer(guard).layer(observe).with_state(app)
}

/// Returns every endpoint: the routes, what they need, and how they are described.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = Vec::new();
    endpoints.extend(prometheus::endpoints());
    endpoints.extend(remote_write::endpoints());
    endpoints.extend(otlp::endpoints());
    endpoints.extend(legacy::endpoints());
    endpoints.extend(live::endpoints());
    endpoints.extend(tail::endpoints());
    endpoints.extend(dead_letters::endpoints());
    endpoints.extend(events::endpoints());
    endpoints.extend(pulls::endpoints());
    endpoints.extend(admin::endpoints());
    endpoints.extend(configuration::endpoints());
    endpoints.extend(session::endpoints());
    endpoints.extend(status::endpoints());
    endpoints.extend(exposition::endpoints());
    endpoints.extend(profiles::endpoints());
    endpoints.extend(reference::endpoints());
    endpoints
}

/// Answers paths that are no route of the API: the page, or that there is nothing.
async fn elsewhere(State(app): State<Arc<App>>, request: Request) -> Response {
    let path = request.uri().path();
    if let Err(failure) = app.admission.admit_address(&request, Now::of(app.clock.as_ref())) {
        return refuse(path, &failure);
    }
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

/// Answers other methods than those of a path: only a browser's question about them.
fn wrong_method(
    State(app): State<Arc<App>>,
    matched: MatchedPath,
    methods: &Methods,
    request: Request,
) -> Response {
    let path = request.uri().path();
    if let Err(failure) = app.admission.admit_address(&request, Now::of(app.clock.as_ref())) {
        return refuse(path, &failure);
    }
    if request.extensions().get::<Preflight>().is_some() {
        return methods.answer(matched.as_str());
    }
    let message = format!("{} is not possible at {path}", request.method());
    refuse(path, &Failure::new(Kind::Method, message))
}

/// Returns the answer as the family of routes spells it that `path` belongs to.
pub(crate) fn refuse(path: &str, failure: &Failure) -> Response {
    Family::of_path(path).spell(failure)
}
