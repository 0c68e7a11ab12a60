//! How the routes of the original event service say why they refuse.
//!
//! What the original answered before it looked at a body is JSON or text; what it said about events is written as the
//! request was.

use axum::response::{IntoResponse as _, Response};
use events::Refused;
use http::{StatusCode, header};
use schema::Violation;
use schema::requests::{self, Form};

use super::intake::IntakeFailure;
use super::mapping::refused_event;
use crate::body::json_response;
use crate::failure::{Failure, Kind};
use crate::json::Json;

/// What the field of a request is called that cannot be read at all.
const BODY: &str = "body";

/// Returns the answer to a request that was refused before or while it was read.
pub(crate) fn refuse(failure: &Failure, form: Form) -> Response {
    let response = match failure.kind {
        Kind::KeyMissing => said_in_json("missing API key", failure.status()),
        Kind::RateLimited | Kind::QuotaExceeded => {
            let headers = [(header::CONTENT_TYPE, "text/plain; charset=utf-8")];
            (failure.status(), headers, "Too Many Requests\n").into_response()
        }
        Kind::BadData | Kind::TooLarge => {
            let description = format!("failed to parse request body: {}", failure.message);
            return violations(
                failure.kind,
                form,
                &[Violation { field: BODY.to_owned(), description }],
            );
        }
        _ => match failure.status() {
            StatusCode::UNAUTHORIZED => said_in_json("invalid API key", failure.status()),
            StatusCode::FORBIDDEN => said_in_json(&failure.message, failure.status()),
            status => written(status, form, requests::error(form, &failure.message)),
        },
    };
    failure.finish(response)
}

/// Returns the answer to a request of which nothing was stored.
pub(super) fn refuse_request(failure: IntakeFailure, form: Form) -> Response {
    match failure {
        IntakeFailure::Plain(failure) => refuse(&failure, form),
        IntakeFailure::Violations(found) => violations(Kind::BadData, form, &found),
        IntakeFailure::Refused(sentence) => {
            let failure = Failure::bad_data(sentence);
            failure.finish(written(failure.status(), form, requests::error(form, sentence)))
        }
    }
}

/// Returns the answer to a request whose only event was refused.
pub(super) fn refuse_event(refused: &Refused, form: Form) -> Response {
    let failure = refused_event(refused);
    let of_event = |field: &str, description: String| {
        let field = if field.is_empty() { "event".to_owned() } else { format!("event.{field}") };
        Violation { field, description }
    };
    let found = match refused {
        Refused::Malformed { .. } => return refuse(&failure, form),
        Refused::Invalid(found) | Refused::Schema(found) => {
            found.iter().map(|one| of_event(&one.field, one.description.clone())).collect()
        }
        Refused::TooLarge { .. } => vec![of_event("", refused.to_string())],
        Refused::TooOld { .. } | Refused::TooNew { .. } => {
            vec![of_event("timestamp_ms", refused.to_string())]
        }
        Refused::Incomplete(_) | Refused::ForeignApp { .. } | Refused::Conflict { .. } => {
            let body = requests::error(form, &failure.message);
            return failure.finish(written(failure.status(), form, body));
        }
    };
    violations(failure.kind, form, &found)
}

/// Returns an answer in the form of the request.
pub(super) fn written(status: StatusCode, form: Form, body: Vec<u8>) -> Response {
    let content_type = match form {
        Form::Json => "application/json",
        Form::Binary => "application/x-protobuf",
    };
    (status, [(header::CONTENT_TYPE, content_type)], body).into_response()
}

/// Returns what the original says of bodies that are too large, too: that the request is wrong.
fn violations(kind: Kind, form: Form, found: &[Violation]) -> Response {
    let body = requests::validation_error(form, found);
    let response = written(StatusCode::BAD_REQUEST, form, body);
    Failure::new(kind, "").finish(response)
}

fn said_in_json(sentence: &str, status: StatusCode) -> Response {
    let mut json = Json::new();
    json.raw(r#"{"error":"#);
    json.string(sentence);
    json.raw("}\n");
    json_response(status, json)
}
