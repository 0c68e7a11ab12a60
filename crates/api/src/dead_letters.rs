//! What could not be processed: looking at it, trying again, giving it up; and how the log is.

use access::{Actor, NewAuditEntry, Outcome, Permission};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use events::{
    DeadLetter, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState, EventResult,
    GATEWAY,
};
use http::StatusCode;
use serde::Serialize;
use serde_json::Value;
use serde_json::value::RawValue;
use std::collections::BTreeMap;
use utoipa::ToSchema;

use crate::body::json_of;
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::failure::{Failure, Kind as FailureKind, NativeFailure};
use crate::openapi::{Description, Kind};
use crate::params::Params;
use crate::time::format_rfc3339_millis;

/// Who may look at them.
const READ: (Access, Class) = (Access::Needs(Permission::EventsRead), Class::Query);
/// Who may decide about them: whoever says what becomes of events.
const DECIDE: (Access, Class) = (Access::Needs(Permission::RulesWrite), Class::Admin);

/// Letters of a page where nothing is said.
const LETTERS: usize = 50;
/// Most letters of a page.
const LETTERS_MAX: usize = 200;
/// Most letters that are looked through for those of one app.
const SEARCHED_MAX: usize = 10 * LETTERS_MAX;

/// Something that a consumer gave up, or the gateway.
#[derive(Serialize, ToSchema)]
struct Letter {
    /// Ascending in the order of arrival.
    id: String,
    /// When it was given up, RFC 3339 with milliseconds.
    at: String,
    /// `waiting`, or `replaying` while its consumer has it again.
    state: &'static str,
    /// Who gave it up.
    consumer: String,
    /// What it would be published to, as in `events.shop.screen.view`.
    subject: String,
    headers: BTreeMap<String, String>,
    /// Where it is in the log; `null` if it is not there.
    offset: Option<u64>,
    /// How often it was tried.
    attempts: u32,
    /// Why it was given up.
    error: String,
    /// Its length.
    bytes: usize,
    /// The `causality.v1.EventEnvelope` in the JSON form of protobuf; `null` if it is none.
    #[schema(value_type = Option<Object>)]
    event: Option<Box<RawValue>>,
}

/// A dead letter with all of it.
#[derive(Serialize, ToSchema)]
struct WholeLetter {
    #[serde(flatten)]
    letter: Letter,
    /// All its bytes.
    body_base64: String,
}

/// How many dead letters a consumer has.
#[derive(Serialize, ToSchema)]
struct Depth {
    consumer: String,
    count: u64,
}

/// Some dead letters.
#[derive(Serialize, ToSchema)]
struct Letters {
    /// The newest first.
    letters: Vec<Letter>,
    /// Whether there are older ones.
    more: bool,
    /// How many there are, by consumer.
    depths: Vec<Depth>,
}

/// What became of a dead letter.
#[derive(Serialize, ToSchema)]
struct Replayed {
    /// `accepted`, `duplicate` or `rejected` for what the gateway gave up; `replaying` for what a consumer gets again.
    state: &'static str,
    /// The identifier that the event is stored with.
    event_id: Option<String>,
    /// Where it is in the log.
    offset: Option<u64>,
    /// Why it is rejected again.
    error: Option<String>,
}

/// What the log holds.
#[derive(Serialize, ToSchema)]
struct LogBounds {
    /// The oldest offset that is kept, or the end when there is none.
    first: u64,
    /// Behind the newest event.
    end: u64,
    /// Its size on disk.
    bytes: u64,
}

/// What became of events since the start of the server: `received` is the sum of those stored, duplicate and rejected.
#[derive(Serialize, ToSchema)]
struct EventCounts {
    received: u64,
    stored: u64,
    /// Those that had been stored before.
    duplicates: u64,
    /// Those that were not stored, by reason.
    rejected: BTreeMap<&'static str, u64>,
    /// Those that were not stored because another event has their idempotency key, as the log counts them.
    conflicts: u64,
    /// Those whose senders were told to come again, or went away.
    unanswered: u64,
    /// Those whose durability is waited for.
    in_flight: u64,
}

/// What is remembered to recognise repetitions.
#[derive(Serialize, ToSchema)]
struct RememberedKeys {
    count: u64,
    memory_bytes: u64,
}

/// A reader of the log.
#[derive(Serialize, ToSchema)]
struct ConsumerStatus {
    name: String,
    /// Entries that it has not settled.
    lag: u64,
    /// Entries that it got again since the start of the server.
    redelivered: u64,
}

/// How the log of events is.
#[derive(Serialize, ToSchema)]
struct EventsStatus {
    /// `embedded` or `nats`.
    engine: &'static str,
    /// Whether the connection to the log's server stands; true where there is none.
    connected: bool,
    /// Why events are not taken at present.
    refusal: Option<String>,
    log: LogBounds,
    counts: EventCounts,
    keys: RememberedKeys,
    consumers: Vec<ConsumerStatus>,
    /// Dead letters of the tenant, by consumer.
    dead_letters: Vec<Depth>,
}

pub(crate) fn endpoints() -> Vec<Endpoint> {
    let about = |summary| Description::new("events", summary);
    let one = "/v1/events/dead-letters/{id}";
    vec![
        Endpoint::new(Verb::Get, "/v1/events/dead-letters", READ, list).describe(
            about("List what could not be processed")
                .query("consumer", Kind::Text, "Of this consumer only, or of `gateway`.")
                .query("before", Kind::Integer, "Older than this one only: `id` of the last one of a page.")
                .query("limit", Kind::Integer, "Letters of this page, 1 to 200; 50 by default.")
                .answers::<Letters>("The dead letters."),
        ),
        Endpoint::new(Verb::Get, one, READ, show).describe(
            about("Show a dead letter with all its bytes")
                .path("id", "The dead letter.")
                .answers::<WholeLetter>("The dead letter.")
                .refuses(404),
        ),
        Endpoint::new(Verb::Post, "/v1/events/dead-letters/{id}/replay", DECIDE, replay).describe(
            about("Process a dead letter again")
                .details(
                    "What a consumer gave up, it gets again. What the gateway gave up is stored as an event of its own.",
                )
                .path("id", "The dead letter.")
                .answers::<Replayed>("What became of it.")
                .refuses(404),
        ),
        Endpoint::new(Verb::Delete, one, DECIDE, discard).describe(
            about("Give up a dead letter for good")
                .path("id", "The dead letter.")
                .answers_nothing(204, "It is gone.")
                .refuses(404),
        ),
        Endpoint::new(Verb::Get, "/v1/events/status", READ, status).describe(
            about("Tell how the log of events is")
                .details("All but the dead letters is about the whole server.")
                .answers::<EventsStatus>("The log, its consumers, and what became of events."),
        ),
    ]
}

async fn list(caller: Caller, request: Request) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let limit = match params.get("limit") {
        None => LETTERS,
        Some(text) => text
            .parse()
            .ok()
            .filter(|limit| (1..=LETTERS_MAX).contains(limit))
            .ok_or_else(|| Failure::parameter("limit", "say a number from 1 to 200"))?,
    };
    let before = match params.get("before") {
        None => None,
        Some(text) => Some(
            text.parse()
                .map(DeadLetterId)
                .map_err(|_| Failure::parameter("before", "say the id of a dead letter"))?,
        ),
    };
    let query = DeadLetterQuery {
        tenant: caller.tenant.id.clone(),
        consumer: params.get("consumer").map(str::to_owned),
        before,
        limit,
    };
    let page = visible(&caller, query).await?;
    let answer = Letters {
        letters: page.letters.iter().map(Letter::of).collect(),
        more: page.more,
        depths: depths(&caller),
    };
    Ok(json_of(StatusCode::OK, &answer))
}

async fn show(caller: Caller, Path(id): Path<String>) -> Result<Response, NativeFailure> {
    let letter = find(&caller, &id).await?;
    let body_base64 = STANDARD.encode(&letter.letter.bytes);
    let answer = WholeLetter { letter: Letter::of(&letter), body_base64 };
    Ok(json_of(StatusCode::OK, &answer))
}

async fn replay(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, NativeFailure> {
    let letter = find(&caller, &id).await?;
    let events = &caller.app.events;
    let answer = if letter.letter.consumer == GATEWAY {
        Replayed::of(events.gateway.replay(&caller.tenant.id, &letter).await?)
    } else if events.dead_letters.replay(caller.tenant.id.clone(), letter.id).await? {
        Replayed { state: "replaying", event_id: None, offset: None, error: None }
    } else {
        return Err(unknown(&id).into());
    };
    audit(&caller, &actor, "dead_letter.replay", &letter, Some(answer.state)).await?;
    Ok(json_of(StatusCode::OK, &answer))
}

async fn discard(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, NativeFailure> {
    let letter = find(&caller, &id).await?;
    if !caller.app.events.dead_letters.discard(caller.tenant.id.clone(), letter.id).await? {
        return Err(unknown(&id).into());
    }
    audit(&caller, &actor, "dead_letter.discard", &letter, None).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn status(caller: Caller) -> Result<Response, NativeFailure> {
    let events = &caller.app.events;
    let (log, gateway) = (events.log.stats(), events.gateway.stats());
    let redelivered = |name: &str| log.redelivered.get(name).copied().unwrap_or_default();
    let consumers = log.consumer_lag.iter().map(|(name, lag)| ConsumerStatus {
        name: name.clone(),
        lag: *lag,
        redelivered: redelivered(name),
    });
    let answer = EventsStatus {
        engine: events.engine,
        connected: log.connected,
        refusal: events.log.refusal(),
        log: LogBounds { first: log.bounds.first.0, end: log.bounds.end.0, bytes: log.bytes },
        counts: EventCounts {
            received: gateway.received,
            stored: gateway.stored,
            duplicates: gateway.duplicates,
            rejected: gateway.rejected,
            conflicts: log.conflicts,
            unanswered: gateway.unanswered,
            in_flight: log.in_flight,
        },
        keys: RememberedKeys { count: log.keys, memory_bytes: log.keys_memory_bytes },
        consumers: consumers.collect(),
        dead_letters: depths(&caller),
    };
    Ok(json_of(StatusCode::OK, &answer))
}

/// Returns a page of what the caller may see: all of the tenant, or only what a key's own app has.
async fn visible(caller: &Caller, query: DeadLetterQuery) -> Result<DeadLetterPage, Failure> {
    let kept = &caller.app.events.dead_letters;
    if caller.principal.app.is_none() {
        return Ok(kept.list(query).await?);
    }
    let mut found = DeadLetterPage::default();
    let mut next = DeadLetterQuery { limit: LETTERS_MAX, ..query.clone() };
    let mut searched = 0;
    loop {
        let page = kept.list(next.clone()).await?;
        next.before = page.letters.last().map(|letter| letter.id);
        searched += page.letters.len();
        for letter in page.letters.into_iter().filter(|letter| may_see(caller, letter)) {
            if found.letters.len() == query.limit {
                found.more = true;
                return Ok(found);
            }
            found.letters.push(letter);
        }
        if !page.more || next.before.is_none() {
            return Ok(found);
        }
        if searched >= SEARCHED_MAX {
            found.more = !found.letters.is_empty();
            return Ok(found);
        }
    }
}

/// Returns a dead letter that the caller may see.
async fn find(caller: &Caller, id: &str) -> Result<DeadLetter, Failure> {
    let number = id.parse().map_err(|_| unknown(id))?;
    let tenant = caller.tenant.id.clone();
    let letter = caller.app.events.dead_letters.get(tenant, DeadLetterId(number)).await?;
    letter.filter(|letter| may_see(caller, letter)).ok_or_else(|| unknown(id))
}

fn may_see(caller: &Caller, letter: &DeadLetter) -> bool {
    let Some(own) = caller.principal.app.as_deref() else { return true };
    if let Ok(event) = schema::inspect(&letter.letter.bytes, &schema::Limits::NONE) {
        return event.app_id == own;
    }
    // Also what is no valid event may say its app.
    let event = schema::envelope_to_json(&letter.letter.bytes).unwrap_or_default();
    let event: Value = serde_json::from_str(&event).unwrap_or_default();
    event["appId"] == own
}

/// Returns how many dead letters the tenant has; nothing for a key of one app, which may not know about the others.
fn depths(caller: &Caller) -> Vec<Depth> {
    if caller.principal.app.is_some() {
        return Vec::new();
    }
    let depths = caller.app.events.dead_letters.depths().into_iter();
    depths
        .filter(|depth| depth.tenant == caller.tenant.id)
        .map(|depth| Depth { consumer: depth.consumer, count: depth.count })
        .collect()
}

fn unknown(id: &str) -> Failure {
    Failure::new(FailureKind::NotFound, format!("there is no dead letter {id:?}"))
}

async fn audit(
    caller: &Caller,
    actor: &Actor,
    action: &'static str,
    letter: &DeadLetter,
    outcome: Option<&str>,
) -> Result<(), Failure> {
    let mut detail = serde_json::json!({
        "consumer": letter.letter.consumer,
        "subject": letter.letter.subject,
    });
    if let Some(outcome) = outcome {
        detail["state"] = Value::from(outcome);
    }
    let entry = NewAuditEntry {
        tenant: caller.tenant.id.clone(),
        action,
        target: letter.id.0.to_string(),
        outcome: Outcome::Done,
        detail,
    };
    Ok(caller.app.access.record(actor, entry).await?)
}

impl Letter {
    fn of(letter: &DeadLetter) -> Self {
        let DeadLetter { id, at, state, letter } = letter;
        let event = schema::envelope_to_json(&letter.bytes).ok();
        Self {
            id: id.0.to_string(),
            at: format_rfc3339_millis(*at),
            state: match state {
                DeadLetterState::Waiting => "waiting",
                DeadLetterState::Replaying => "replaying",
            },
            consumer: letter.consumer.clone(),
            subject: letter.subject.clone(),
            headers: letter.headers.clone(),
            offset: letter.offset.map(|offset| offset.0),
            attempts: letter.attempts,
            error: letter.error.clone(),
            bytes: letter.bytes.len(),
            event: event.and_then(|json| RawValue::from_string(json).ok()),
        }
    }
}

impl Replayed {
    fn of(result: EventResult) -> Self {
        match result {
            EventResult::Accepted { id, offset, duplicate } => Self {
                state: if duplicate { "duplicate" } else { "accepted" },
                event_id: Some(id.into()),
                offset: Some(offset.0),
                error: None,
            },
            EventResult::Rejected(refused) => Self {
                state: "rejected",
                event_id: None,
                offset: None,
                error: Some(refused.to_string()),
            },
        }
    }
}
