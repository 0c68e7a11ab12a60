//! What the program is.

use axum::response::Response;

use super::success;
use crate::json::Json;

/// Tells the version.
pub(crate) async fn build_info() -> Response {
    let mut json = Json::new();
    json.raw(r#"{"version":"#);
    json.string(env!("CARGO_PKG_VERSION"));
    json.raw(r#","revision":"","branch":"","buildUser":"","buildDate":"","goVersion":""}"#);
    success(json, &[], &[])
}
