//! The Prometheus HTTP API.

mod names;
mod query;
mod schema;
mod status;

use access::Permission;
use axum::response::Response;
use http::StatusCode;

use crate::body::json_response;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::json::Json;
use crate::openapi::{Description, Kind};

use self::names::{label_values, labels, metadata, series};
use self::query::{format, query, query_range};
use self::schema::{
    BuildInfoAnswer, MetadataAnswer, NamesAnswer, QueryAnswer, SeriesAnswer, TextAnswer,
};
use self::status::build_info;

const READ: (Access, Class) = (Access::Needs(Permission::MetricsRead), Class::Query);

/// Returns the endpoints of the Prometheus HTTP API.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::get_or_form("/api/v1/query", READ, query).describe(
            about("Evaluate a query at one time")
                .required("query", Kind::Text, "PromQL.")
                .query("time", Kind::Text, "RFC 3339 or Unix seconds; now by default.")
                .query("timeout", Kind::Text, TIMEOUT)
                .query("limit", Kind::Integer, LIMIT)
                .answers::<QueryAnswer>("The result."),
        ),
        Endpoint::get_or_form("/api/v1/query_range", READ, query_range).describe(
            about("Evaluate a query at the steps of a range")
                .required("query", Kind::Text, "PromQL.")
                .required("start", Kind::Text, "First step, RFC 3339 or Unix seconds.")
                .required("end", Kind::Text, "Last step, inclusive.")
                .required("step", Kind::Text, "Seconds or a duration such as `15s`.")
                .query("timeout", Kind::Text, TIMEOUT)
                .query("limit", Kind::Integer, LIMIT)
                .answers::<QueryAnswer>("The result, a matrix."),
        ),
        Endpoint::get_or_form("/api/v1/series", READ, series).describe(
            span(about("List series"))
                .required("match[]", Kind::Texts, "Selectors, at most 100.")
                .answers::<SeriesAnswer>("The series that match any selector."),
        ),
        Endpoint::get_or_form("/api/v1/labels", READ, labels).describe(
            span(about("List names of labels"))
                .query("match[]", Kind::Texts, "Selectors, at most 100.")
                .answers::<NamesAnswer>("The names."),
        ),
        Endpoint::new(Verb::Get, "/api/v1/label/{name}/values", READ, label_values).describe(
            span(about("List values of a label"))
                .path("name", "The label; `U__…` for names with other characters.")
                .query("match[]", Kind::Texts, "Selectors, at most 100.")
                .answers::<NamesAnswer>("The values."),
        ),
        Endpoint::new(Verb::Get, "/api/v1/metadata", READ, metadata).describe(
            about("Tell types, help texts and units of metrics")
                .query("metric", Kind::Text, "Only this metric.")
                .query("limit", Kind::Integer, "Most metrics.")
                .query("limit_per_metric", Kind::Integer, "Accepted; there is one each.")
                .answers::<MetadataAnswer>("The descriptions by metric."),
        ),
        Endpoint::get_or_form("/api/v1/format_query", READ, format).describe(
            about("Write a query as it is usually written")
                .required("query", Kind::Text, "PromQL.")
                .answers::<TextAnswer>("The query."),
        ),
        Endpoint::new(Verb::Get, "/api/v1/status/buildinfo", READ, build_info)
            .describe(about("Tell the version").answers::<BuildInfoAnswer>("The version.")),
    ]
}

const TIMEOUT: &str = "A shorter time limit than the server's, such as `5s`.";
const LIMIT: &str = "Most series in the answer; 0 for all.";

fn about(summary: &'static str) -> Description {
    Description::new("prometheus", summary)
}

fn span(description: Description) -> Description {
    description
        .query("start", Kind::Text, "Only what has samples since then.")
        .query("end", Kind::Text, "Only what has samples until then.")
        .query("limit", Kind::Integer, LIMIT)
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
