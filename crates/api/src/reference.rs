//! The description of the API: the OpenAPI document, and a page of it to read.

use std::fmt::Write as _;
use std::sync::Arc;

use axum::extract::State;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use http::header;

use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::openapi::{Description, Place, document};
use crate::page;
use crate::parts::App;

/// The description of the API in both forms, made once.
#[derive(Clone, Debug)]
pub(crate) struct Reference {
    json: Bytes,
    html: String,
}

impl Reference {
    /// Describes the endpoints.
    pub(crate) fn of(endpoints: &[Endpoint]) -> Self {
        Self { json: openapi_json(endpoints).into(), html: html(endpoints) }
    }
}

/// Returns the endpoints of the description itself.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let rule = (Access::Public, Class::Probe);
    vec![
        Endpoint::new(Verb::Get, "/v1/openapi.json", rule, json).describe(
            Description::new("reference", "Describe the API as OpenAPI 3.1").answers_media(
                200,
                "application/json",
                "The document.",
            ),
        ),
        Endpoint::new(Verb::Get, "/v1/reference", rule, page).describe(
            Description::new("reference", "Describe the API for people").answers_media(
                200,
                "text/html; charset=utf-8",
                "The page.",
            ),
        ),
    ]
}

/// Returns the OpenAPI document as it is committed: indented, with a newline at the end.
pub(crate) fn openapi_json(endpoints: &[Endpoint]) -> String {
    let json = document(endpoints).to_pretty_json();
    // Maps of text to values always have a form in JSON.
    json.map(|json| json + "\n").unwrap_or_default()
}

async fn json(State(app): State<Arc<App>>) -> Response {
    ([(header::CONTENT_TYPE, "application/json")], app.reference.json.clone()).into_response()
}

async fn page(State(app): State<Arc<App>>) -> Response {
    page::with_nonce(&app, &app.reference.html)
}

const STYLE: &str = "\
body{font:16px/1.5 system-ui,sans-serif;max-width:60rem;margin:2rem auto;padding:0 1rem;color:#1a1a1a;background:#fff}\
h1{font-size:1.6rem}h2{margin-top:2.5rem;border-bottom:1px solid #ddd}h3{margin:1.8rem 0 .3rem;font-size:1rem}\
code,.verb{font:600 .95rem ui-monospace,monospace}.verb{display:inline-block;min-width:4.2rem;color:#0b5cad}\
table{border-collapse:collapse;margin:.5rem 0}td,th{padding:.15rem 1rem .15rem 0;text-align:left;vertical-align:top}\
p{margin:.3rem 0}@media(prefers-color-scheme:dark){body{color:#e6e6e6;background:#16181d}h2{border-color:#333}.verb{color:#7ab8f5}}";

/// Writes the page: one heading per tag, one section per endpoint. Nothing in it comes from outside.
fn html(endpoints: &[Endpoint]) -> String {
    let mut html = format!(
        "<!doctype html><html lang=\"en\"><head><meta charset=\"utf-8\"><title>TinyObs API</title>\
         <meta name=\"viewport\" content=\"width=device-width\"><style nonce=\"{}\">{STYLE}</style></head>\
         <body><h1>TinyObs API {}</h1><p>For programs: <a href=\"/v1/openapi.json\">OpenAPI 3.1</a>.</p>",
        page::NONCE,
        env!("CARGO_PKG_VERSION"),
    );
    let mut tags: Vec<&str> = Vec::new();
    for endpoint in endpoints {
        if !tags.contains(&endpoint.description.tag) {
            tags.push(endpoint.description.tag);
        }
    }
    for tag in tags {
        push(&mut html, format_args!("<h2>{}</h2>", escape(tag)));
        for endpoint in endpoints.iter().filter(|endpoint| endpoint.description.tag == tag) {
            section(&mut html, endpoint);
        }
    }
    html.push_str("</body></html>");
    html
}

fn section(html: &mut String, endpoint: &Endpoint) {
    let Endpoint { verbs, rule, description, .. } = endpoint;
    html.push_str("<section><h3>");
    for verb in verbs {
        push(html, format_args!("<span class=\"verb\">{}</span>", verb.as_str()));
    }
    push(html, format_args!("<code>{}</code></h3>", escape(rule.path)));
    push(
        html,
        format_args!("<p>{}. {}</p>", escape(description.summary), escape(description.details)),
    );
    let needs = match rule.access {
        Access::Public => "Open to everybody.".to_owned(),
        Access::Session => "Needs a session.".to_owned(),
        Access::Needs(permission) => format!("Needs <code>{permission}</code>."),
        Access::Server => "Needs an administrator of all tenants.".to_owned(),
    };
    push(html, format_args!("<p>{needs}</p>"));
    if !description.parameters.is_empty() {
        html.push_str("<table><tr><th>Parameter</th><th></th></tr>");
        for parameter in &description.parameters {
            let required = match parameter.place {
                Place::Path
                | Place::Query { required: true }
                | Place::Header { required: true } => "",
                _ => " (optional)",
            };
            let (name, details) = (escape(parameter.name), escape(parameter.details));
            push(
                html,
                format_args!("<tr><td><code>{name}</code></td><td>{details}{required}</td></tr>"),
            );
        }
        html.push_str("</table>");
    }
    html.push_str("<table><tr><th>Answer</th><th></th></tr>");
    for answer in &description.answers {
        let (status, details) = (answer.status, escape(answer.details));
        push(html, format_args!("<tr><td><code>{status}</code></td><td>{details}</td></tr>"));
    }
    html.push_str("</table></section>");
}

fn push(html: &mut String, text: std::fmt::Arguments<'_>) {
    // Writing to a string cannot fail.
    html.write_fmt(text).unwrap_or_default();
}

fn escape(text: &str) -> String {
    text.replace('&', "&amp;").replace('<', "&lt;").replace('>', "&gt;").replace('"', "&quot;")
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use super::*;
    use crate::routes::endpoints;

    #[test]
    fn the_committed_document_is_fresh() {
        let committed = include_str!("../../../docs/openapi.json");
        assert!(
            committed == openapi_json(&endpoints()),
            "docs/openapi.json is stale: make generate"
        );
    }

    #[test]
    fn every_endpoint_says_what_it_is_for_and_what_it_answers() {
        let known: BTreeSet<&str> = crate::openapi::TAGS.iter().map(|(name, _)| *name).collect();
        for Endpoint { rule, description, .. } in endpoints() {
            let path = rule.path;
            assert!(known.contains(description.tag), "{path}: tag {:?}", description.tag);
            assert!(!description.summary.is_empty(), "{path}");
            assert!(!description.answers.is_empty(), "{path}");
            for name in path.split('{').skip(1).filter_map(|part| part.split('}').next()) {
                let name = name.trim_start_matches('*');
                let described = description
                    .parameters
                    .iter()
                    .any(|parameter| parameter.name == name && parameter.place == Place::Path);
                assert!(described, "{path}: {name}");
            }
        }
    }

    #[test]
    fn no_two_endpoints_answer_to_the_same_method_and_path() {
        let mut seen = BTreeSet::new();
        for Endpoint { rule, verbs, .. } in endpoints() {
            for verb in verbs {
                assert!(seen.insert((rule.path, verb)), "{} {}", verb.as_str(), rule.path);
            }
        }
    }

    #[test]
    fn no_two_operations_have_the_same_name() {
        let text = openapi_json(&endpoints());
        let mut names: Vec<&str> =
            text.lines().filter(|line| line.contains("\"operationId\":")).collect();
        assert!(names.len() > 30, "{names:?}");
        names.sort_unstable();
        for pair in names.windows(2) {
            assert!(pair.first() != pair.last(), "{pair:?}");
        }
    }
}
