//! Events as the original takes them: `causality.v1.EventService`, in JSON and in protobuf.

use axum::extract::Request;
use axum::response::Response;
use events::{EventResult, Refused};
use http::{HeaderMap, StatusCode, header};
use schema::requests::{self, Form};

use super::document::{BatchRequest, BatchResponse, IngestRequest, IngestResponse};
use super::failure::{refuse_event, refuse_request, written};
use super::intake::{Format, IntakeFailure, store};
use super::{SEND, about};
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Family, Verb};

const PROTOBUF: &str = "application/x-protobuf";

pub(super) fn endpoints() -> Vec<Endpoint> {
    let family = |endpoint: Endpoint| endpoint.family(Family::Events);
    vec![
        family(Endpoint::new(Verb::Post, "/v1/events/ingest", SEND, ingest)).describe(
            about("Store an event")
                .details(
                    "`causality.v1.IngestEventRequest`, in JSON or protobuf; the answer is in the same form. \
                     A repetition with the same `idempotencyKey` is answered with the first `eventId`.",
                )
                .takes::<IngestRequest>()
                .takes_media(PROTOBUF)
                .answers::<IngestResponse>("The event is on stable storage.")
                .or_media(PROTOBUF)
                .refuses(409),
        ),
        family(Endpoint::new(Verb::Post, "/v1/events/batch", SEND, batch)).describe(
            about("Store events")
                .details(
                    "`causality.v1.IngestEventBatchRequest`, in JSON or protobuf; the answer is in the same form. \
                     Each event has a result of its own: one that is rejected does not keep the others out.",
                )
                .takes::<BatchRequest>()
                .takes_media(PROTOBUF)
                .answers::<BatchResponse>("What is accepted is on stable storage.")
                .or_media(PROTOBUF),
        ),
    ]
}

async fn ingest(caller: Caller, request: Request) -> Response {
    let form = form(request.headers());
    match store(&caller, request, Single(form)).await {
        Err(failure) => refuse_request(failure, form),
        // There is exactly one.
        Ok(results) => match results.first() {
            Some(EventResult::Accepted { id, .. }) => {
                written(StatusCode::OK, form, requests::ingest_response(form, id))
            }
            Some(EventResult::Rejected(refused)) => refuse_event(refused, form),
            None => written(StatusCode::OK, form, Vec::new()),
        },
    }
}

async fn batch(caller: Caller, request: Request) -> Response {
    let form = form(request.headers());
    let events_max = caller.app.events.gateway.settings().batch_events_max;
    let results = match store(&caller, request, Batch { form, events_max }).await {
        Err(failure) => return refuse_request(failure, form),
        Ok(results) => results,
    };
    let errors: Vec<String> = results
        .iter()
        .map(|result| match result {
            EventResult::Accepted { .. } => String::new(),
            EventResult::Rejected(refused) => refused.to_string(),
        })
        .collect();
    let results: Vec<_> = results
        .iter()
        .zip(&errors)
        .map(|(result, error)| match result {
            EventResult::Accepted { id, .. } => requests::EventResult::Accepted { event_id: id },
            EventResult::Rejected(_) => requests::EventResult::Rejected { error },
        })
        .collect();
    written(StatusCode::OK, form, requests::batch_response(form, &results))
}

/// Returns the form of a request and of its answer: JSON, unless the header `Content-Type` says protobuf.
fn form(headers: &HeaderMap) -> Form {
    let value = headers.get(header::CONTENT_TYPE).and_then(|value| value.to_str().ok());
    let media_type = value.unwrap_or_default().split([' ', ';']).next().unwrap_or_default();
    let binary = [PROTOBUF, "application/octet-stream"];
    if binary.iter().any(|known| media_type.eq_ignore_ascii_case(known)) {
        Form::Binary
    } else {
        Form::Json
    }
}

/// A request with one event.
struct Single(Form);

impl Format for Single {
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure> {
        let event = requests::single(self.0, body);
        Ok(vec![event.map_err(|violation| IntakeFailure::Violations(vec![violation]))?])
    }

    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused> {
        envelope(self.0, event, scratch)
    }
}

/// A request with several events.
struct Batch {
    form: Form,
    events_max: usize,
}

impl Format for Batch {
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure> {
        let events = requests::batch(self.form, body, requests::BATCH_EVENTS_MAX)
            .map_err(|violation| IntakeFailure::Violations(vec![violation]))?;
        if events.len() > self.events_max {
            return Err(IntakeFailure::Refused("batch exceeds maximum event count"));
        }
        Ok(events)
    }

    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused> {
        envelope(self.form, event, scratch)
    }
}

fn envelope<'a>(
    form: Form,
    event: &'a [u8],
    scratch: &'a mut Vec<u8>,
) -> Result<&'a [u8], Refused> {
    match form {
        Form::Binary => Ok(event),
        Form::Json => match schema::envelope_from_json(event, scratch) {
            Ok(()) => Ok(scratch),
            Err(error) => Err(Refused::Malformed { reason: error.to_string() }),
        },
    }
}

#[cfg(test)]
mod tests {
    use http::HeaderValue;

    use super::*;

    #[test]
    fn everything_that_is_not_protobuf_is_json() {
        for (value, expected) in [
            (None, Form::Json),
            (Some("application/json"), Form::Json),
            (Some("text/plain"), Form::Json),
            (Some("application/x-protobuf"), Form::Binary),
            (Some("application/x-protobuf; v=1"), Form::Binary),
            (Some("application/octet-stream x"), Form::Binary),
            (Some("application/x-protobuffer"), Form::Json),
        ] {
            let mut headers = HeaderMap::new();
            if let Some(value) = value {
                headers.insert(header::CONTENT_TYPE, HeaderValue::from_static(value));
            }
            assert_eq!(form(&headers), expected, "{value:?}");
        }
    }
}
