//! The configuration in force, and reading it again.

use std::fmt;
use std::sync::Arc;

use access::{Actor, NewAuditEntry, Outcome};
use axum::Extension;
use axum::extract::State;
use axum::response::Response;
use http::StatusCode;
use serde::Serialize;
use utoipa::ToSchema;

use crate::body::json_of;
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::failure::{Failure, Kind, NativeFailure};
use crate::openapi::Description;
use crate::parts::App;

/// Where the program's configuration is kept.
pub trait Configuration: Send + Sync + fmt::Debug {
    /// Returns every key with its value and origin, ascending by path.
    fn in_force(&self) -> Vec<SettingInForce>;

    /// Reads the configuration again and applies what can change. Blocking.
    ///
    /// # Errors
    ///
    /// The mistakes that keep the old one in force.
    fn reload(&self) -> Result<Reloaded, String>;
}

/// A key with its value.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, ToSchema)]
pub struct SettingInForce {
    /// The key's path, such as `metrics.retention.raw`.
    pub path: String,
    /// Its value as text; `null` for a secret, given or not.
    pub value: Option<String>,
    /// The layer that said it, such as `default`, the file's name or `environment TINYOBS_…`.
    pub origin: String,
    /// Whether a change is applied while the program runs.
    pub reloadable: bool,
}

/// What became of a changed configuration.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, ToSchema)]
pub struct Reloaded {
    /// The keys whose new values are in force.
    pub applied: Vec<String>,
    /// The keys whose new values need a restart.
    pub needs_restart: Vec<String>,
}

/// All keys.
#[derive(Serialize, ToSchema)]
struct ConfigAnswer {
    settings: Vec<SettingInForce>,
}

/// Returns the endpoints of the configuration.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let rule = (Access::Server, Class::Admin);
    vec![
        Endpoint::new(Verb::Get, "/v1/config", rule, show).describe(
            Description::new("administration", "Show the configuration in force")
                .details("Values of secrets are left out.")
                .answers::<ConfigAnswer>("Every key with its value and origin."),
        ),
        Endpoint::new(Verb::Post, "/-/reload", rule, reload).family(Family::Native).describe(
            Description::new("administration", "Read the configuration again")
                .details("What can change is applied; the rest is named. So does SIGHUP.")
                .answers::<Reloaded>("What became of each changed key.")
                .refuses(400),
        ),
    ]
}

async fn show(State(app): State<Arc<App>>) -> Response {
    json_of(StatusCode::OK, &ConfigAnswer { settings: app.configuration.in_force() })
}

async fn reload(
    State(app): State<Arc<App>>,
    Extension(actor): Extension<Actor>,
) -> Result<Response, NativeFailure> {
    let configuration = Arc::clone(&app.configuration);
    let reloaded = tokio::task::spawn_blocking(move || configuration.reload())
        .await
        .map_err(|_| Failure::new(Kind::Internal, "reading the configuration failed"))?
        .map_err(Failure::bad_data)?;
    let entry = NewAuditEntry {
        tenant: actor.principal.tenant.clone(),
        action: "configuration.reload",
        target: String::new(),
        outcome: Outcome::Done,
        detail: serde_json::json!({
            "applied": reloaded.applied,
            "needs_restart": reloaded.needs_restart,
        }),
    };
    app.access.record(&actor, entry).await.map_err(Failure::from)?;
    Ok(json_of(StatusCode::OK, &reloaded))
}
