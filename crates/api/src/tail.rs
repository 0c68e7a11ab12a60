//! Following the events as they come, and reading those that are there.
//!
//! `docs/reading-events.md` describes the three forms: JSON lines, server-sent events and WebSocket. Whoever follows reads from
//! the log at a position of their own, so nothing waits in memory for those who are slow.

mod follower;
mod parameters;
mod spelling;
mod streaming;
mod websocket;

use std::sync::Arc;

use access::Permission;
use axum::extract::ws::WebSocketUpgrade;
use axum::extract::ws::rejection::WebSocketUpgradeRejection;
use axum::extract::{Extension, Request};
use axum::response::Response;
use http::{HeaderMap, header};
use serde_json::Value;
use utoipa::ToSchema;

use self::follower::Follower;
use self::parameters::Asked;
use self::streaming::Form;
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};
use crate::openapi::{Description, Kind, Parameter, Place};
use crate::params::Params;
use crate::serve::Upgrades;
use crate::stats::LiveTransport;

/// Who may read events.
const NEEDED: Access = Access::Needs(Permission::EventsRead);
/// Says where a broken connection ended.
const LAST_EVENT_ID: &str = "last-event-id";

/// An event of the log; or, with nothing but `skipped`, a gap.
#[derive(ToSchema)]
#[expect(dead_code, reason = "describes what spelling.rs writes")]
struct TailItem {
    /// Where it is in the log: ascending, not contiguous.
    offset: u64,
    /// When it arrived, RFC 3339 with milliseconds.
    received_at: String,
    app: String,
    /// Such as `screen`.
    category: String,
    /// Such as `view`.
    #[schema(rename = "type")]
    event_type: String,
    device: String,
    /// The `causality.v1.EventEnvelope` in the JSON form of protobuf.
    #[schema(value_type = Object)]
    event: Value,
}

/// Returns the endpoint.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let description = Description::new("events", "Follow the events as they come")
        .details(
            "Answers with one JSON object for each event: a line each, a server-sent event each with \
             Accept: text/event-stream, or a message each over WebSocket. Where the log did not keep what a slow \
             client asks for, an object has nothing but `skipped`, how many positions are missing.",
        )
        .query("app", Kind::Texts, "Of these apps only; repeated or with commas.")
        .query("category", Kind::Texts, "Of these categories only, such as screen.")
        .query("type", Kind::Texts, "Of these types only, such as view.")
        .query("device", Kind::Texts, "From these devices only.")
        .query("path", Kind::Text, "A JSONPath (RFC 9535) that must lead to something in the event.")
        .query(
            "from",
            Kind::Text,
            "latest, earliest, an offset, or a time as RFC 3339 or in milliseconds since 1970; by default latest, and \
             earliest with follow=false.",
        )
        .query("follow", Kind::Boolean, "Whether to wait for more at the end; true by default.")
        .query(
            "limit",
            Kind::Integer,
            "Events after which it ends, 1 to 10000; with follow=false 1000 by default.",
        )
        .parameter(Parameter {
            name: "Last-Event-ID",
            details: "The offset of the last event that was received: goes on behind it, whatever `from` says.",
            place: Place::Header { required: false },
            kind: Kind::Integer,
        })
        .answers_items::<TailItem>("application/x-ndjson", "The events, a line each.")
        .or_media("text/event-stream")
        .answers_nothing(101, "The connection is a WebSocket now.");
    let rule = (NEEDED, Class::Live);
    vec![Endpoint::new(Verb::Get, "/v1/events/tail", rule, tail).describe(description)]
}

async fn tail(
    caller: Caller,
    upgrade: Result<WebSocketUpgrade, WebSocketUpgradeRejection>,
    upgrades: Option<Extension<Upgrades>>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let headers = request.headers().clone();
    let params = Params::of(&caller.app, request).await?;
    let asked = Asked::read(&caller, &params, headers.get(LAST_EVENT_ID))?;
    let place = Arc::clone(&caller.app.live)
        .try_acquire_owned()
        .map_err(|_| Failure::overloaded("too many live connections; try again later"))?;
    if headers.contains_key(header::UPGRADE) {
        // Whoever can upgrade came over a socket.
        let (Ok(upgrade), Some(Extension(upgrades))) = (upgrade, upgrades) else {
            let message = "an upgrade needs a WebSocket: send Upgrade: websocket, or leave it out";
            return Err(Failure::bad_data(message).into());
        };
        let follower = Follower::begin(caller, asked, place, LiveTransport::WebSocket).await?;
        return Ok(websocket::answer(upgrade, upgrades, follower));
    }
    let form = if takes_events(&headers) { Form::ServerSentEvents } else { Form::Lines };
    let follower = Follower::begin(caller, asked, place, LiveTransport::Stream).await?;
    Ok(streaming::answer(form, follower))
}

/// Returns whether the client asks for server-sent events.
fn takes_events(headers: &HeaderMap) -> bool {
    let accepted = headers.get_all(header::ACCEPT).iter();
    accepted.filter_map(|value| value.to_str().ok()).flat_map(|value| value.split(',')).any(
        |item| {
            let media_type = item.split(';').next().unwrap_or_default().trim();
            media_type.eq_ignore_ascii_case("text/event-stream")
        },
    )
}
