//! Whether the program is well, in the words of each of its originals.
//!
//! *Health* tells what is degraded. *Readiness* tells whether requests should be sent here; it fails only when writes
//! or events cannot be stored. *Liveness* (`/health`, `/healthz`, `/-/healthy`) says that the program runs: restarting it does
//! not mend a full disk. All of it answers from memory, and is never refused for load.

use std::collections::BTreeMap;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use axum::Extension;
use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use parking_lot::Mutex;
use serde::Serialize;
use utoipa::ToSchema;

use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::enforce::Visitor;
use crate::failure::{Failure, PlainFailure};
use crate::openapi::Description;
use crate::parts::App;
use crate::time::{format_go_duration, format_rfc3339};

/// How long what was found is told again.
const FOUND_KEPT: Duration = Duration::from_secs(1);
/// The share of the series limit from which on a tenant is near it.
const CARDINALITY_NEAR: f64 = 0.95;

/// Something whose state belongs to the health of the program.
pub trait HealthCheck: Send + Sync + fmt::Debug {
    /// Returns the name of the check, such as `disk`.
    fn name(&self) -> &'static str;

    /// Returns what is wrong; `None` when nothing is. Called often: from memory, without blocking.
    fn problem(&self) -> Option<String>;
}

/// What the checks have found, remembered for a moment.
#[derive(Debug, Default)]
pub(crate) struct Health {
    /// Held while the checks run, so that they run once. Never held across an await.
    found: Mutex<Option<(Duration, Arc<Found>)>>,
}

/// Problems by check; a check without any is well.
#[derive(Debug, Default)]
struct Found {
    checks: BTreeMap<&'static str, Vec<String>>,
    /// Why writes are not accepted.
    read_only: Option<String>,
    /// Why events are not accepted.
    events_refused: Option<String>,
    /// Why maintenance failed the last time.
    maintenance: Option<String>,
}

impl Health {
    fn of(&self, app: &App) -> Arc<Found> {
        let now = app.clock.monotonic();
        let mut found = self.found.lock();
        match &*found {
            Some((at, found)) if now.saturating_sub(*at) < FOUND_KEPT => Arc::clone(found),
            _ => {
                let fresh = Arc::new(look(app));
                *found = Some((now, Arc::clone(&fresh)));
                fresh
            }
        }
    }
}

impl Found {
    /// Returns why requests should go elsewhere, if they should.
    fn unready(&self) -> Option<&'static str> {
        if self.read_only.is_some() {
            Some("the storage takes no writes")
        } else {
            self.events_refused.is_some().then_some("the event log takes no events")
        }
    }
}

fn look(app: &App) -> Found {
    let mut found = Found { events_refused: app.events.log.refusal(), ..Found::default() };
    let storage = found.checks.entry("storage").or_default();
    let mut near = Vec::new();
    for (tenant, store) in app.stores.all() {
        let health = store.health();
        if let Some(reason) = health.read_only {
            let problem = format!("{tenant}: store is read-only: {reason}");
            found.read_only.get_or_insert_with(|| problem.clone());
            storage.push(problem);
        }
        for file in health.quarantined {
            storage.push(format!("{tenant}: damaged file was set aside: {file}"));
        }
        if let Some(error) = health.last_maintenance_error {
            storage.push(format!("{tenant}: maintenance failed: {error}"));
            found.maintenance.get_or_insert(error);
        }
        let cardinality = store.cardinality();
        let (series, limit) = (cardinality.total_series, cardinality.series_limit);
        if limit > 0 && series as f64 >= limit as f64 * CARDINALITY_NEAR {
            near.push(format!("{tenant}: {series} of {limit} series are in use"));
        }
    }
    found.checks.insert("cardinality", near);
    let tenants = app.access.directory().tenants();
    let closed = tenants.iter().filter(|tenant| app.stores.get(&tenant.id).is_none());
    let problems = closed.map(|tenant| format!("{}: the data is not open", tenant.id));
    found.checks.entry("storage").or_default().extend(problems);
    let open = app.open_breakers();
    let breakers = open.iter().map(|tenant| format!("{tenant}: reads are refused for a while"));
    found.checks.insert("reads", breakers.collect());
    for check in &app.checks {
        found.checks.entry(check.name()).or_default().extend(check.problem());
    }
    found
}

/// How the program is.
#[derive(Serialize, ToSchema)]
struct HealthAnswer {
    /// `healthy` or `degraded`.
    status: &'static str,
    version: &'static str,
    /// Since the start, such as `1h2m3.5s`.
    uptime: String,
    compaction: Compaction,
    /// `ok` or `failing`, by check.
    checks: BTreeMap<&'static str, &'static str>,
    /// What is wrong; for those who may act in every tenant.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    problems: Vec<String>,
}

/// How the maintenance of the stores is.
#[derive(Serialize, ToSchema)]
struct Compaction {
    healthy: bool,
    /// Why the last time failed; for those who may act in every tenant.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    last_error: Option<String>,
}

/// That the program runs.
#[derive(Serialize, ToSchema)]
struct LiveAnswer {
    /// `healthy` or `degraded`.
    status: &'static str,
    /// RFC 3339, whole seconds.
    timestamp: String,
    /// `ok` or `failing`, by check.
    checks: BTreeMap<&'static str, &'static str>,
}

/// Whether requests should be sent here.
#[derive(Serialize, ToSchema)]
struct ReadyAnswer {
    ready: bool,
    /// `ready` or `not_ready`.
    status: &'static str,
    /// RFC 3339, whole seconds.
    timestamp: String,
    /// `ready` or `not_ready`, by part.
    dependencies: BTreeMap<&'static str, &'static str>,
    /// Why not.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    error: Option<&'static str>,
}

/// Returns the endpoints that tell how the program is.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let probe = (Access::Public, Class::Probe);
    let about = |summary| Description::new("status", summary);
    let ready = || {
        about("Tell whether requests should be sent here")
            .answers::<ReadyAnswer>("They should.")
            .answers_with::<ReadyAnswer>(503, "Writes or events cannot be stored.")
    };
    let plain = |summary| about(summary).answers_media(200, PLAIN, "Yes.");
    vec![
        Endpoint::new(Verb::Get, "/v1/health", probe, health).describe(
            about("Tell how the program is, check by check")
                .answers::<HealthAnswer>("Everything is well.")
                .answers_with::<HealthAnswer>(503, "Something is degraded."),
        ),
        Endpoint::new(Verb::Get, "/v1/ready", probe, ready_json).describe(ready()),
        Endpoint::new(Verb::Get, "/health", probe, live_json)
            .describe(about("Say that the program runs").answers::<LiveAnswer>("It runs.")),
        Endpoint::new(Verb::Get, "/ready", probe, ready_json).describe(ready()),
        Endpoint::new(Verb::Get, "/healthz", probe, ok)
            .family(Family::Plain)
            .describe(plain("Say that the program runs, in one word")),
        Endpoint::new(Verb::Get, "/readyz", probe, ready_ok).family(Family::Plain).describe(
            plain("Tell whether requests should be sent here, in one word").answers_media(
                503,
                PLAIN,
                "Writes or events cannot be stored.",
            ),
        ),
        Endpoint::new(Verb::Get, "/-/healthy", probe, healthy)
            .family(Family::Plain)
            .describe(plain("Say that the program runs, as Prometheus does")),
        Endpoint::new(Verb::Get, "/-/ready", probe, prometheus_ready)
            .family(Family::Plain)
            .describe(
                plain("Tell whether requests should be sent here, as Prometheus does")
                    .answers_media(503, PLAIN, "Writes or events cannot be stored."),
            ),
    ]
}

const PLAIN: &str = "text/plain; charset=utf-8";

async fn health(State(app): State<Arc<App>>, visitor: Option<Extension<Visitor>>) -> Response {
    let found = app.health.of(&app);
    let problems: Vec<&String> = found.checks.values().flatten().collect();
    let (status, word) = if problems.is_empty() {
        (StatusCode::OK, "healthy")
    } else {
        (StatusCode::SERVICE_UNAVAILABLE, "degraded")
    };
    // Reasons name tenants, files and peers: not everybody's business.
    let known = visitor.is_some_and(|Extension(Visitor(known))| known.principal.all_tenants);
    let uptime = app.clock.monotonic().saturating_sub(app.started);
    let answer = HealthAnswer {
        status: word,
        version: env!("CARGO_PKG_VERSION"),
        uptime: format_go_duration(uptime),
        compaction: Compaction {
            healthy: found.maintenance.is_none(),
            last_error: found.maintenance.clone().filter(|_| known),
        },
        checks: words(&found),
        problems: problems.into_iter().filter(|_| known).cloned().collect(),
    };
    crate::body::json_of(status, &answer)
}

async fn live_json(State(app): State<Arc<App>>) -> Response {
    let found = app.health.of(&app);
    let well = found.checks.values().all(Vec::is_empty);
    let answer = LiveAnswer {
        status: if well { "healthy" } else { "degraded" },
        timestamp: timestamp(&app),
        checks: words(&found),
    };
    crate::body::json_of(StatusCode::OK, &answer)
}

async fn ready_json(State(app): State<Arc<App>>) -> Response {
    let found = app.health.of(&app);
    let error = found.unready();
    let status = if error.is_none() { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE };
    let word = |reason: Option<&String>| if reason.is_none() { "ready" } else { "not_ready" };
    let answer = ReadyAnswer {
        ready: error.is_none(),
        status: if error.is_none() { "ready" } else { "not_ready" },
        timestamp: timestamp(&app),
        dependencies: BTreeMap::from([
            ("events", word(found.events_refused.as_ref())),
            ("storage", word(found.read_only.as_ref())),
        ]),
        error,
    };
    crate::body::json_of(status, &answer)
}

async fn ok() -> &'static str {
    "ok"
}

async fn ready_ok(State(app): State<Arc<App>>) -> Result<&'static str, PlainFailure> {
    check_ready(&app).map(|()| "ok")
}

async fn healthy() -> &'static str {
    "TinyObs is Healthy.\n"
}

async fn prometheus_ready(State(app): State<Arc<App>>) -> Result<Response, PlainFailure> {
    check_ready(&app).map(|()| "TinyObs is Ready.\n".into_response())
}

fn check_ready(app: &App) -> Result<(), PlainFailure> {
    match app.health.of(app).unready() {
        None => Ok(()),
        Some(reason) => Err(Failure::overloaded(reason).into()),
    }
}

fn words(found: &Found) -> BTreeMap<&'static str, &'static str> {
    let word = |problems: &Vec<String>| if problems.is_empty() { "ok" } else { "failing" };
    found.checks.iter().map(|(name, problems)| (*name, word(problems))).collect()
}

fn timestamp(app: &App) -> String {
    let seconds = app.clock.now().as_millis().div_euclid(1000);
    format_rfc3339(model::Timestamp::from_millis(seconds.saturating_mul(1000)))
}
