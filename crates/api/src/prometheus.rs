//! The Prometheus HTTP API.

mod names;
mod query;
mod status;

use access::Permission;
use axum::response::Response;
use http::StatusCode;

use crate::body::json_response;
use crate::endpoint::{Access, Class, Endpoint, Family, Verb};
use crate::json::Json;

use self::names::{label_values, labels, metadata, series};
use self::query::{format, query, query_range};
use self::status::{build_info, healthy, ready};

const READ: (Access, Class) = (Access::Needs(Permission::MetricsRead), Class::Query);

/// Returns the endpoints of the Prometheus HTTP API.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let probe = (Access::Public, Class::Probe);
    vec![
        Endpoint::get_or_form("/api/v1/query", READ, query),
        Endpoint::get_or_form("/api/v1/query_range", READ, query_range),
        Endpoint::get_or_form("/api/v1/series", READ, series),
        Endpoint::get_or_form("/api/v1/labels", READ, labels),
        Endpoint::new(Verb::Get, "/api/v1/label/{name}/values", READ, label_values),
        Endpoint::new(Verb::Get, "/api/v1/metadata", READ, metadata),
        Endpoint::get_or_form("/api/v1/format_query", READ, format),
        Endpoint::new(Verb::Get, "/api/v1/status/buildinfo", READ, build_info),
        Endpoint::new(Verb::Get, "/-/healthy", probe, healthy).family(Family::Plain),
        Endpoint::new(Verb::Get, "/-/ready", probe, ready).family(Family::Plain),
    ]
}

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
