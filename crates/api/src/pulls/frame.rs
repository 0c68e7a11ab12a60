//! What is sent to those who follow pulls, made once for all of them.

use bytes::Bytes;
use pulls::{Update, UpdateId, UpdateKind};
use serde::Serialize;
use utoipa::ToSchema;

use super::wire::{LayerStatus, Naming, PullStatus, Time};

/// What every client is told first: that it is connected, and after how many milliseconds to come back.
pub(super) const GREETING: Bytes = Bytes::from_static(b": connected\n\nretry: 2000\n\n");
/// Tells a client that what it knows counts no more, because everything is told anew.
pub(super) const RESYNC: Bytes = Bytes::from_static(b"event: resync\ndata: {}\n\n");

/// What happened to a pull or a layer: schema v1 of Pulltrace.
#[derive(Serialize, ToSchema)]
#[serde(rename_all = "camelCase")]
pub(super) struct PullEvent<'a> {
    /// Always `v1`.
    schema_version: &'static str,
    /// RFC 3339, by this server's clock.
    #[schema(value_type = String)]
    timestamp: Time,
    /// `pull.started`, `pull.progress`, `pull.completed`, `pull.failed`, `layer.started`, `layer.progress` or
    /// `layer.completed`.
    #[serde(rename = "type")]
    event_type: &'static str,
    node_name: &'a str,
    /// Left out of what is about a layer.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    pull: Option<PullStatus<'a>>,
    /// Left out of what is about a whole pull.
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    layer: Option<LayerStatus<'a>>,
}

/// A pull that is forgotten.
#[derive(Serialize)]
struct Removed<'a> {
    id: &'a str,
}

/// Returns the message of an update: made by whoever needs it first, and shared.
pub(super) fn of(update: &Update) -> Bytes {
    update.rendered(render).clone()
}

/// Returns what says nothing, but where the client is: whoever waits for rare updates goes on from here.
pub(super) fn beat(position: Option<UpdateId>) -> Bytes {
    match position {
        Some(position) => format!(":\nid: {position}\n\n").into(),
        None => Bytes::from_static(b":\n\n"),
    }
}

fn render(update: &Update) -> Bytes {
    let name = match event_type(update.kind) {
        Some(_) => "",
        None => "event: removed\n",
    };
    let mut frame = format!("{name}id: {}\ndata: ", update.id).into_bytes();
    let written = match event_type(update.kind) {
        Some(event_type) => serde_json::to_writer(&mut frame, &PullEvent::of(update, event_type)),
        None => serde_json::to_writer(&mut frame, &Removed { id: &update.pull.id }),
    };
    if let Err(error) = written {
        // There is nothing in it that JSON does not have.
        tracing::error!(error = %error, "update could not be written");
        return Bytes::new();
    }
    frame.extend_from_slice(b"\n\n");
    frame.into()
}

/// Returns the type of an event; `None` for what schema v1 has no event for.
const fn event_type(kind: UpdateKind) -> Option<&'static str> {
    Some(match kind {
        UpdateKind::PullStarted => "pull.started",
        UpdateKind::PullProgress => "pull.progress",
        UpdateKind::PullCompleted => "pull.completed",
        UpdateKind::PullFailed => "pull.failed",
        UpdateKind::LayerStarted => "layer.started",
        UpdateKind::LayerProgress => "layer.progress",
        UpdateKind::LayerCompleted => "layer.completed",
        UpdateKind::PullRemoved => return None,
    })
}

impl<'a> PullEvent<'a> {
    fn of(update: &'a Update, event_type: &'static str) -> Self {
        let pull = &*update.pull;
        let layer = update.layer.and_then(|index| pull.layers.get(index));
        Self {
            schema_version: "v1",
            timestamp: Time(update.at),
            event_type,
            node_name: &pull.node,
            pull: layer.is_none().then(|| PullStatus::of(pull, Naming::Original)),
            layer: layer.map(|layer| LayerStatus::of(pull, layer)),
        }
    }
}
