//! The Prometheus HTTP API.

mod names;
mod query;
mod status;

pub(crate) use names::{label_values, labels, metadata, series};
pub(crate) use query::{format, query, query_range};
pub(crate) use status::{build_info, healthy, ready};

use axum::response::Response;
use http::StatusCode;

use crate::body::json_response;
use crate::json::Json;

/// Returns the answer around `data`, with warnings and remarks.
fn success(data: Json, warnings: &[String], infos: &[String]) -> Response {
    let mut json = Json::new();
    json.raw(r#"{"status":"success","data":"#);
    json.append(data);
    for (name, texts) in [("warnings", warnings), ("infos", infos)] {
        if !texts.is_empty() {
            json.raw(",");
            json.string(name);
            json.raw(":");
            json.strings(texts.iter().map(String::as_str));
        }
    }
    json.raw("}");
    json_response(StatusCode::OK, json)
}
