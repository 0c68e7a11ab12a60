//! What the program is, and whether it is well.

use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};

use super::success;
use crate::failure::{Failure, PlainFailure};
use crate::json::Json;
use crate::parts::App;

/// Tells the version.
pub(crate) async fn build_info() -> Response {
    let mut json = Json::new();
    json.raw(r#"{"version":"#);
    json.string(env!("CARGO_PKG_VERSION"));
    json.raw(r#","revision":"","branch":"","buildUser":"","buildDate":"","goVersion":""}"#);
    success(json, &[], &[])
}

/// Says that the program runs.
pub(crate) async fn healthy() -> Response {
    "TinyObs is Healthy.\n".into_response()
}

/// Says whether samples are accepted.
pub(crate) async fn ready(State(app): State<Arc<App>>) -> Result<Response, PlainFailure> {
    for (tenant, store) in app.stores.all() {
        if let Some(reason) = store.health().read_only {
            let message = format!("store of tenant '{tenant}' is read-only: {reason}");
            return Err(Failure::overloaded(message).into());
        }
    }
    Ok("TinyObs is Ready.\n".into_response())
}
