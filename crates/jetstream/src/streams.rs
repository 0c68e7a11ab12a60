//! The streams: made if they are missing, widened if they are narrower than configured, never narrowed.

use async_nats::jetstream::message::StreamMessage;
use async_nats::jetstream::stream::RawMessage;
use async_nats::{HeaderMap, StatusCode};
use bytes::Bytes;
use events::LogError;
use model::Timestamp;
use serde_json::{Map, Value, json};
use tracing::{info, warn};

use crate::connection::{ApiError, Connection};
use crate::message::Stored;
use crate::settings::{Settings, Storage};

/// JetStream says that a stream does not exist.
const STREAM_NOT_FOUND: u64 = 10_059;

/// JetStream says that there is no such message.
const NO_MESSAGE: u64 = 10_037;

/// Makes both streams as configured.
pub(crate) async fn ensure(connection: &Connection, settings: &Settings) -> Result<(), ApiError> {
    ensure_one(connection, events(settings)).await?;
    ensure_one(connection, dead_letters(settings)).await
}

/// Returns the message at a position, as the leader knows it.
pub(crate) async fn message(
    connection: &Connection,
    name: &str,
    sequence: u64,
) -> Result<Option<Stored>, ApiError> {
    get(connection, name, json!({ "seq": sequence })).await
}

/// Returns the first message at a position or behind it that was published under a subject, as the leader knows it.
pub(crate) async fn next_message(
    connection: &Connection,
    name: &str,
    sequence: u64,
    filter: &str,
) -> Result<Option<Stored>, ApiError> {
    get(connection, name, json!({ "seq": sequence, "next_by_subj": filter })).await
}

async fn get(
    connection: &Connection,
    name: &str,
    request: Value,
) -> Result<Option<Stored>, ApiError> {
    let subject = format!("STREAM.MSG.GET.{name}");
    let mut answer = match connection.again(|| connection.api(&subject, &request)).await {
        Ok(answer) => answer,
        Err(ApiError::Refused { code: NO_MESSAGE, .. }) => return Ok(None),
        Err(error) => return Err(error),
    };
    let not_understood = |error: String| ApiError::NoAnswer(format!("not understood: {error}"));
    let message: RawMessage = serde_json::from_value(answer["message"].take())
        .map_err(|error| not_understood(error.to_string()))?;
    let message =
        StreamMessage::try_from(message).map_err(|error| not_understood(error.to_string()))?;
    Ok(Some(stored(message)))
}

/// Returns the message at a position, as any server that keeps a copy knows it. One that lags behind knows of none.
pub(crate) async fn message_of_any(
    connection: &Connection,
    name: &str,
    sequence: u64,
) -> Result<Option<Stored>, ApiError> {
    let subject = format!("$JS.API.DIRECT.GET.{name}");
    let request = Bytes::from(json!({ "seq": sequence }).to_string());
    let ask = || connection.request(&subject, HeaderMap::new(), request.clone());
    let answer = connection.again(ask).await?;
    match answer.status {
        None => {}
        Some(StatusCode::NOT_FOUND) => return Ok(None),
        Some(status) => return Err(ApiError::NoAnswer(status.to_string())),
    }
    let message =
        StreamMessage::try_from(answer).map_err(|error| ApiError::NoAnswer(error.to_string()))?;
    Ok(Some(stored(message)))
}

fn stored(message: StreamMessage) -> Stored {
    Stored {
        sequence: message.sequence,
        subject: message.subject.to_string(),
        headers: message.headers,
        payload: message.payload,
        at: time(message.time),
    }
}

/// Returns a time of the client library in milliseconds.
pub(crate) fn time(time: async_nats::datetime::DateTime) -> Timestamp {
    let millis = time.unix_timestamp_nanos().div_euclid(1_000_000);
    Timestamp::from_millis(i64::try_from(millis).unwrap_or(i64::MAX))
}

/// What is known of a stream.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamState {
    /// The oldest message, or behind the last one when there is none.
    pub(crate) first: u64,
    /// Behind the last message.
    pub(crate) end: u64,
    pub(crate) messages: u64,
    pub(crate) bytes: u64,
    /// The limit of bytes that is in force; 0 for none.
    pub(crate) bytes_max: u64,
}

/// Asks for the state of a stream.
pub(crate) async fn state(connection: &Connection, name: &str) -> Result<StreamState, ApiError> {
    let subject = format!("STREAM.INFO.{name}");
    let answer = connection.again(|| connection.api(&subject, &Value::Null)).await?;
    Ok(read_state(&answer))
}

/// Returns what a consumer of the stream knows; `None` when there is no such consumer.
pub(crate) async fn consumers(
    connection: &Connection,
    name: &str,
) -> Result<Vec<ConsumerState>, ApiError> {
    let mut found = Vec::new();
    loop {
        let request = json!({ "offset": found.len() });
        let answer = connection.api(&format!("CONSUMER.LIST.{name}"), &request).await?;
        let page = answer["consumers"].as_array().map(Vec::as_slice).unwrap_or_default();
        found.extend(page.iter().map(read_consumer));
        let total = answer["total"].as_u64().unwrap_or_default();
        if page.is_empty() || found.len() as u64 >= total {
            return Ok(found);
        }
    }
}

/// What a consumer has read.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct ConsumerState {
    pub(crate) name: String,
    /// Whether it outlives its connection.
    pub(crate) durable: bool,
    /// All up to here is settled.
    pub(crate) floor: u64,
    /// Entries that are delivered and not settled, and those that are not delivered.
    pub(crate) lag: u64,
}

fn read_state(answer: &Value) -> StreamState {
    let state = &answer["state"];
    let number = |name: &str| state[name].as_u64().unwrap_or_default();
    let end = number("last_seq").saturating_add(1);
    let messages = number("messages");
    let first = if messages == 0 { end } else { number("first_seq").clamp(1, end) };
    let bytes_max = answer["config"]["max_bytes"].as_i64().unwrap_or_default();
    StreamState {
        first,
        end,
        messages,
        bytes: number("bytes"),
        bytes_max: u64::try_from(bytes_max).unwrap_or_default(),
    }
}

fn read_consumer(answer: &Value) -> ConsumerState {
    let number = |value: &Value| value.as_u64().unwrap_or_default();
    ConsumerState {
        name: answer["name"].as_str().unwrap_or_default().to_owned(),
        durable: answer["config"]["durable_name"].is_string(),
        floor: number(&answer["ack_floor"]["stream_seq"]),
        lag: number(&answer["num_pending"]).saturating_add(number(&answer["num_ack_pending"])),
    }
}

async fn ensure_one(connection: &Connection, wanted: Map<String, Value>) -> Result<(), ApiError> {
    let name = wanted["name"].as_str().unwrap_or_default().to_owned();
    match connection.api(&format!("STREAM.INFO.{name}"), &Value::Null).await {
        Ok(answer) => {
            let Value::Object(existing) = &answer["config"] else {
                return Err(ApiError::NoAnswer("a stream without configuration".to_owned()));
            };
            let (merged, changes) = merge(existing, &wanted);
            for change in &changes {
                if change.applied {
                    info!(
                        stream = name,
                        setting = change.setting,
                        from = %change.existing,
                        to = %change.wanted,
                        "changing a setting of a stream"
                    );
                } else {
                    warn!(
                        stream = name,
                        setting = change.setting,
                        existing = %change.existing,
                        configured = %change.wanted,
                        "a stream keeps a setting that differs from the configured one"
                    );
                }
            }
            if changes.iter().any(|change| change.applied) {
                let subject = format!("STREAM.UPDATE.{name}");
                connection.api(&subject, &Value::Object(merged)).await?;
            }
            Ok(())
        }
        Err(ApiError::Refused { code: STREAM_NOT_FOUND, .. }) => {
            let subject = format!("STREAM.CREATE.{name}");
            connection.api(&subject, &Value::Object(wanted)).await?;
            info!(stream = name, "created a stream");
            Ok(())
        }
        Err(error) => Err(error),
    }
}

/// A setting in which a stream differs from what is configured.
#[derive(Debug, PartialEq)]
struct Change {
    setting: &'static str,
    existing: Value,
    wanted: Value,
    /// Whether the stream gets the configured one.
    applied: bool,
}

/// Returns what the stream is to be, and in what that differs from what it is or is configured to be.
///
/// What limits a stream is only ever raised, and where it is stored stays: others use the stream too, and what a smaller
/// limit would remove is gone.
fn merge(
    existing: &Map<String, Value>,
    wanted: &Map<String, Value>,
) -> (Map<String, Value>, Vec<Change>) {
    const EXACT: [&str; 2] = ["discard", "allow_direct"];
    // 0 and -1 are no limit.
    const LIMITS: [&str; 3] = ["max_bytes", "max_age", "max_msgs"];
    const LARGER: [&str; 2] = ["num_replicas", "duplicate_window"];
    const FIXED: [&str; 2] = ["storage", "retention"];
    let mut merged = existing.clone();
    let mut changes = Vec::new();
    let mut decide = |setting: &'static str, apply: &dyn Fn(&Value, &Value) -> bool| {
        let old = existing.get(setting).cloned().unwrap_or(Value::Null);
        // What is not configured is for the server to say.
        let Some(new) = wanted.get(setting).cloned() else { return };
        if old == new || (is_unlimited(&old) && is_unlimited(&new) && LIMITS.contains(&setting)) {
            return;
        }
        let applied = apply(&old, &new);
        if applied {
            merged.insert(setting.to_owned(), new.clone());
        }
        changes.push(Change { setting, existing: old, wanted: new, applied });
    };
    for setting in EXACT {
        decide(setting, &|_, _| true);
    }
    for setting in LIMITS {
        decide(setting, &|old, new| {
            !is_unlimited(old) && (is_unlimited(new) || new.as_i64() > old.as_i64())
        });
    }
    for setting in LARGER {
        decide(setting, &|old, new| new.as_i64() > old.as_i64());
    }
    for setting in FIXED {
        decide(setting, &|_, _| false);
    }
    let (subjects, added) = union(existing.get("subjects"), wanted.get("subjects"));
    if added {
        changes.push(Change {
            setting: "subjects",
            existing: existing.get("subjects").cloned().unwrap_or(Value::Null),
            wanted: subjects.clone(),
            applied: true,
        });
        merged.insert("subjects".to_owned(), subjects);
    }
    (merged, changes)
}

fn is_unlimited(limit: &Value) -> bool {
    limit.as_i64().unwrap_or_default() <= 0
}

fn union(existing: Option<&Value>, wanted: Option<&Value>) -> (Value, bool) {
    let list = |value: Option<&Value>| value.and_then(Value::as_array).cloned().unwrap_or_default();
    let mut subjects = list(existing);
    let before = subjects.len();
    for subject in list(wanted) {
        if !subjects.contains(&subject) {
            subjects.push(subject);
        }
    }
    let added = subjects.len() > before;
    (Value::Array(subjects), added)
}

fn events(settings: &Settings) -> Map<String, Value> {
    let stream = &settings.stream;
    let mut config = common(&stream.name, stream.storage, stream.replicas);
    config.insert("subjects".to_owned(), json!(stream.subjects));
    config.insert("max_age".to_owned(), json!(nanos(stream.age_max)));
    config.insert("max_bytes".to_owned(), json!(limit(stream.bytes_max)));
    config.insert("max_msgs".to_owned(), json!(-1));
    config.insert("duplicate_window".to_owned(), json!(nanos(stream.duplicate_window)));
    config
}

fn dead_letters(settings: &Settings) -> Map<String, Value> {
    let stream = &settings.dead_letters;
    let mut config = common(&stream.name, settings.stream.storage, settings.stream.replicas);
    config.insert("subjects".to_owned(), json!(["dlq.>"]));
    config.insert("max_age".to_owned(), json!(nanos(stream.age_max)));
    config.insert("max_bytes".to_owned(), json!(limit(stream.bytes_max)));
    config.insert("max_msgs".to_owned(), json!(limit(stream.letters_max)));
    config
}

fn common(name: &str, storage: Storage, replicas: usize) -> Map<String, Value> {
    let storage = match storage {
        Storage::File => "file",
        Storage::Memory => "memory",
    };
    let config = json!({
        "name": name,
        "storage": storage,
        "retention": "limits",
        // The oldest would go unread.
        "discard": "new",
        "num_replicas": replicas,
        "allow_direct": true,
    });
    match config {
        Value::Object(config) => config,
        _ => Map::new(),
    }
}

fn nanos(duration: std::time::Duration) -> i64 {
    i64::try_from(duration.as_nanos()).unwrap_or(i64::MAX)
}

fn limit(limit: u64) -> i64 {
    match i64::try_from(limit) {
        Ok(0) => -1,
        Ok(limit) => limit,
        Err(_) => i64::MAX,
    }
}

/// Removes the messages before a position.
pub(crate) async fn purge(connection: &Connection, name: &str, end: u64) -> Result<u64, LogError> {
    let request = json!({ "seq": end });
    let answer = connection
        .api(&format!("STREAM.PURGE.{name}"), &request)
        .await
        .map_err(ApiError::into_unavailable)?;
    Ok(answer["purged"].as_u64().unwrap_or_default())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(existing: Value, expected: Value, changes: &[(&str, bool)]) {
        let wanted = json!({
            "name": "E", "storage": "file", "retention": "limits", "discard": "new", "num_replicas": 3,
            "allow_direct": true, "subjects": ["events.>"], "max_age": 100, "max_bytes": 1_000, "max_msgs": -1,
            "duplicate_window": 10,
        });
        let (merged, found) =
            merge(existing.as_object().expect("an object"), wanted.as_object().expect("an object"));
        assert_eq!(Value::Object(merged), expected);
        let found: Vec<_> = found.iter().map(|change| (change.setting, change.applied)).collect();
        assert_eq!(found, changes);
    }

    #[test]
    fn narrower_settings_are_widened_and_unknown_ones_stay() {
        check(
            json!({
                "name": "E", "storage": "file", "retention": "limits", "discard": "old", "num_replicas": 1,
                "subjects": ["events.>", "other.>"], "max_age": 50, "max_bytes": 500, "max_msgs": 7,
                "duplicate_window": 2, "compression": "s2",
            }),
            json!({
                "name": "E", "storage": "file", "retention": "limits", "discard": "new", "num_replicas": 3,
                "allow_direct": true, "subjects": ["events.>", "other.>"], "max_age": 100, "max_bytes": 1_000,
                "max_msgs": -1, "duplicate_window": 10, "compression": "s2",
            }),
            &[
                ("discard", true),
                ("allow_direct", true),
                ("max_bytes", true),
                ("max_age", true),
                ("max_msgs", true),
                ("num_replicas", true),
                ("duplicate_window", true),
            ],
        );
    }

    #[test]
    fn wider_settings_and_the_kind_of_storage_stay() {
        let wider = json!({
            "name": "E", "storage": "memory", "retention": "limits", "discard": "new", "num_replicas": 5,
            "allow_direct": true, "subjects": ["events.>"], "max_age": 0, "max_bytes": 2_000, "max_msgs": 0,
            "duplicate_window": 20,
        });
        check(
            wider.clone(),
            wider,
            &[
                ("max_bytes", false),
                ("max_age", false),
                ("num_replicas", false),
                ("duplicate_window", false),
                ("storage", false),
            ],
        );
    }

    #[test]
    fn what_is_not_configured_is_no_difference() {
        let existing = json!({ "discard": "new", "duplicate_window": 120_000_000_000_i64 });
        let wanted = json!({ "discard": "new" });
        let (merged, changes) =
            merge(existing.as_object().expect("an object"), wanted.as_object().expect("an object"));
        assert_eq!((Value::Object(merged), changes), (existing, vec![]));
    }

    #[test]
    fn a_missing_subject_is_added() {
        check(
            json!({
                "name": "E", "storage": "file", "retention": "limits", "discard": "new", "num_replicas": 3,
                "allow_direct": true, "subjects": ["x"], "max_age": 100, "max_bytes": 1_000, "max_msgs": -1,
                "duplicate_window": 10,
            }),
            json!({
                "name": "E", "storage": "file", "retention": "limits", "discard": "new", "num_replicas": 3,
                "allow_direct": true, "subjects": ["x", "events.>"], "max_age": 100, "max_bytes": 1_000,
                "max_msgs": -1, "duplicate_window": 10,
            }),
            &[("subjects", true)],
        );
    }

    #[test]
    fn an_empty_stream_begins_at_its_end() {
        let answer = json!({"state": {"messages": 0, "first_seq": 0, "last_seq": 0}, "config": {}});
        assert_eq!(read_state(&answer), StreamState { first: 1, end: 1, ..StreamState::default() });
    }
}
