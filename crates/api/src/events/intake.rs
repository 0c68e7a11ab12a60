//! The way of all events from a body into the log.

use std::sync::Arc;

use access::Unit;
use axum::extract::Request;
use bytes::Bytes;
use events::{EnvelopeMemory, EventResult, LogError, Prepared, Refused, Source};
use ingest::Compression;
use model::Timestamp;
use schema::Violation;
use tokio::sync::OwnedSemaphorePermit;

use crate::body;
use crate::caller::{Caller, Charge};
use crate::failure::{Failure, Kind};
use crate::{limits, write};

/// What senders are told while nothing can be stored. Why that is, which names files and servers, is in the log and in
/// health.
const UNAVAILABLE: &str = "failed to publish event: the event log is unavailable";

/// How a body holds events.
pub(super) trait Format: Send + 'static {
    /// Returns the bytes of each event in a body.
    fn split<'a>(&self, body: &'a [u8]) -> Result<Vec<&'a [u8]>, IntakeFailure>;

    /// Returns the binary envelope of an event, which may be written to `scratch`, an empty buffer.
    fn envelope<'a>(&self, event: &'a [u8], scratch: &'a mut Vec<u8>) -> Result<&'a [u8], Refused>;
}

/// Why nothing of a request was stored.
#[derive(Debug)]
pub(super) enum IntakeFailure {
    /// As everywhere.
    Plain(Failure),
    /// The request as a whole breaks rules.
    Violations(Vec<Violation>),
    /// The request cannot be served, in the original's words.
    Refused(&'static str),
}

impl From<Failure> for IntakeFailure {
    fn from(failure: Failure) -> Self {
        Self::Plain(failure)
    }
}

/// Events that were checked.
struct Checked {
    received_at: Timestamp,
    events: Vec<Result<Prepared, Refused>>,
    charge: Charge,
    /// The share of the memory for bodies that the events take until they are stored.
    _room: OwnedSemaphorePermit,
}

/// Stores the events of a request, and says of each what became of it. Returns once they are durable.
pub(super) async fn store(
    caller: &Caller,
    request: Request,
    format: impl Format,
) -> Result<Vec<EventResult>, IntakeFailure> {
    let (parts, body) = request.into_parts();
    let app = &caller.app;
    let compression = body::compression(&parts.headers)?;
    if app.events.log.refusal().is_some() {
        limits::discard(app, body).await;
        return Err(Failure::overloaded(UNAVAILABLE).into());
    }
    let bytes_max = app.limits.body_bytes_max;
    let work = move |caller: &Caller, bytes| check(caller, compression, bytes, &format);
    let checked = write::run(caller, Unit::Events, body, bytes_max, work).await?;
    let gateway = &app.events.gateway;
    let Checked { received_at, events, charge, _room } = checked;
    let results = gateway.ingest(&caller.tenant.id, received_at, events).await;
    let results = results.map_err(refused_by_log)?;
    let stored =
        |result: &&EventResult| matches!(result, EventResult::Accepted { duplicate: false, .. });
    charge.keep_events(results.iter().filter(stored).count() as u64);
    Ok(results)
}

fn check(
    caller: &Caller,
    compression: Compression,
    body: Bytes,
    format: &impl Format,
) -> Result<Checked, IntakeFailure> {
    let app = &caller.app;
    let sent_bytes = body.len();
    let body = body::unpack(compression, body, app.limits.body_bytes_max)?;
    let events = format.split(&body)?;
    let charge = caller.charge_events(events.len(), sent_bytes).map_err(|failure| {
        match failure.kind {
            // Also an empty tenant could not take so many.
            Kind::TooLarge => IntakeFailure::Violations(vec![Violation {
                field: "events".to_owned(),
                description: failure.message,
            }]),
            _ => failure.into(),
        }
    })?;
    let received_at = app.clock.now();
    let source = Source { tenant: caller.tenant.id.clone(), app: caller.principal.app.clone() };
    let mut scratch = Vec::new();
    let mut memory = EnvelopeMemory::for_request(body.len());
    let prepare = |event| {
        scratch.clear();
        let envelope = format.envelope(event, &mut scratch)?;
        app.events.gateway.prepare(&source, received_at, envelope, &mut memory)
    };
    let events: Vec<_> = events.into_iter().map(prepare).collect();
    let bytes = events.iter().flatten().map(Prepared::bytes).sum();
    let room = body::room(app, bytes)?;
    Ok(Checked { received_at, events, charge, _room: room })
}

fn refused_by_log(error: LogError) -> Failure {
    let message = format!("failed to publish event: {error}");
    match error {
        LogError::Unavailable { retry_after, .. } => {
            Failure::overloaded(UNAVAILABLE).retry_after(retry_after)
        }
        LogError::TooLarge { .. } => Failure::new(Kind::TooLarge, error.to_string()),
        LogError::Overloaded { .. }
        | LogError::Full { .. }
        | LogError::Consumer { .. }
        | LogError::Damaged { .. }
        | LogError::Closed => Failure::overloaded(message),
    }
}

/// Returns the app of events that do not say theirs: that of the key, else what the request says, else `default`.
pub(super) fn app_of(caller: &Caller, request: &Request) -> Arc<str> {
    if let Some(app) = &caller.principal.app {
        return Arc::clone(app);
    }
    let named = request.headers().get(APP_HEADER).and_then(|value| value.to_str().ok());
    if let Some(app) = named {
        return app.into();
    }
    let query = request.uri().query().unwrap_or_default();
    let named = serde_urlencoded::from_str::<Vec<(String, String)>>(query).unwrap_or_default();
    let named = named.into_iter().find(|(name, _)| name == "app");
    named.map_or_else(|| APP_DEFAULT.into(), |(_, app)| app.into())
}

/// Says which app events belong to that do not say it themselves.
const APP_HEADER: &str = "x-app-id";
/// The app of events when nobody says any.
const APP_DEFAULT: &str = "default";
