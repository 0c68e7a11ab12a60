//! Events as a body that goes on: lines of JSON, or server-sent events.

use std::io;

use axum::body::Body;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use events::TailBatch;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};

use super::follower::{End, Follower, Step};
use super::spelling;
use crate::json::Json;

/// After how many milliseconds a browser comes back.
const RETRY_MS: u32 = 2_000;

/// How a body spells events.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Form {
    /// A JSON object on each line.
    Lines,
    /// `text/event-stream`: the identifier of an event is its offset.
    ServerSentEvents,
}

/// What the body is made from.
struct Source {
    form: Form,
    follower: Follower,
    is_begun: bool,
}

/// Returns an answer whose body is made while it is read: one page of the log at a time, and none ahead.
pub(super) fn answer(form: Form, follower: Follower) -> Response {
    let source = Source { form, follower, is_begun: false };
    let pieces = stream::try_unfold(source, |mut source| async move {
        Ok::<_, io::Error>(source.next().await?.map(|piece| (piece, source)))
    });
    let media_type = match form {
        Form::Lines => "application/x-ndjson",
        Form::ServerSentEvents => "text/event-stream",
    };
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static(media_type)),
        // Proxies that gather answers hand this one on as it comes.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    (headers, Body::from_stream(pieces)).into_response()
}

impl Source {
    async fn next(&mut self) -> io::Result<Option<Bytes>> {
        let mut json = Json::new();
        if !self.is_begun {
            self.is_begun = true;
            if self.form == Form::ServerSentEvents {
                json.display(format_args!("retry: {RETRY_MS}\n"));
                self.place(&mut json);
                return Ok(Some(json.into_bytes().into()));
            }
        }
        loop {
            match self.follower.step().await {
                Step::Batch(batch) => self.spell(&mut json, &batch),
                Step::Beat if self.form == Form::ServerSentEvents => {
                    json.raw(":\n");
                    self.place(&mut json);
                }
                // There is no line that says nothing.
                Step::Beat => continue,
                Step::End(End::Failed) => {
                    // Broken off, so that nobody takes it for the whole.
                    return Err(io::Error::other("events could not be read"));
                }
                Step::End(_) => return Ok(None),
            }
            return Ok(Some(json.into_bytes().into()));
        }
    }

    fn spell(&self, json: &mut Json, batch: &TailBatch) {
        match self.form {
            Form::Lines => {
                spelling::gap(json, batch, ["", "\n"]);
                for event in batch.events() {
                    spelling::event(json, event);
                    json.raw("\n");
                }
            }
            Form::ServerSentEvents => {
                spelling::gap(json, batch, ["data: ", "\n\n"]);
                for event in batch.events() {
                    json.display(format_args!("id: {}\ndata: ", event.offset));
                    spelling::event(json, event);
                    json.raw("\n\n");
                }
            }
        }
    }

    /// Says where the client is, without an event: whoever waits for rare ones goes on from here.
    fn place(&self, json: &mut Json) {
        if let Some(last) = self.follower.position().0.checked_sub(1) {
            json.display(format_args!("id: {last}\n"));
        }
        json.raw("\n");
    }
}
