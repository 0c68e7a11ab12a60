//! A dead letter as a message and back.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use events::{DeadLetter, DeadLetterId, DeadLetterState, NewDeadLetter, Offset};
use model::{TenantId, Timestamp};

use crate::message::{Stored, TENANT};

/// Dead letters are published under this and the subject of the event.
const PREFIX: &str = "dlq.";

/// Those on their way back under this, the consumer and the subject of the event.
const REPLAY_PREFIX: &str = "dlq.replay.";

// These five are the original's.
const ORIGINAL_SUBJECT: &str = "X-DLQ-Original-Subject";
const ORIGINAL_STREAM: &str = "X-DLQ-Original-Stream";
const ORIGINAL_CONSUMER: &str = "X-DLQ-Original-Consumer";
const ORIGINAL_SEQUENCE: &str = "X-DLQ-Original-Sequence";
const DELIVERIES: &str = "X-DLQ-Deliveries";

/// Why it was given up.
const ERROR: &str = "Tinyobs-Error";

/// How often it was tried, replays included.
const ATTEMPTS: &str = "Tinyobs-Attempts";

/// The position of its first message, once it was moved.
const LETTER: &str = "Tinyobs-Letter";

/// Milliseconds since the epoch: when it was given up first.
const AT: &str = "Tinyobs-Letter-At";

/// A header of the event whose name means something else here begins with this.
const KEPT_PREFIX: &str = "X-DLQ-Header-";

/// Names that mean something to the server or to us begin with one of these.
const RESERVED: [&str; 3] = ["nats-", "tinyobs-", "x-dlq-"];

/// Longest reason, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

/// Most bytes of the event's own headers, as the message has them; more of them are left out.
const KEPT_BYTES_MAX: usize = 2_048;

/// What a header takes beside name and value.
const HEADER_OVERHEAD_BYTES: usize = ": \r\n".len();

/// Returns what a letter is published to.
pub(super) fn subject_of(letter: &NewDeadLetter, state: DeadLetterState) -> String {
    // The header has the subject as it is; what could not be published is filed under `unknown`.
    let subject = if is_subject(&letter.subject) { &letter.subject } else { "unknown" };
    match state {
        DeadLetterState::Waiting => format!("{PREFIX}{subject}"),
        DeadLetterState::Replaying => {
            let consumer = if is_token(&letter.consumer) { &letter.consumer } else { "unknown" };
            format!("{REPLAY_PREFIX}{consumer}.{subject}")
        }
    }
}

pub(super) fn headers(
    letter: &NewDeadLetter,
    stream: &str,
    id: Option<DeadLetterId>,
    at: Timestamp,
) -> HeaderMap {
    let mut headers = HeaderMap::new();
    let mut kept = 0_usize;
    for (name, value) in &letter.headers {
        if !is_header_name(name) {
            continue;
        }
        let lower = name.to_ascii_lowercase();
        let is_reserved = RESERVED.iter().any(|reserved| lower.starts_with(reserved));
        let name = if is_reserved { format!("{KEPT_PREFIX}{name}") } else { name.clone() };
        kept = kept.saturating_add(name.len() + value.len() + HEADER_OVERHEAD_BYTES);
        if kept > KEPT_BYTES_MAX {
            break;
        }
        headers.insert(name.as_str(), plain(value, KEPT_BYTES_MAX).as_str());
    }
    let mut set = |name: &str, value: &str| headers.insert(name, value);
    set(ORIGINAL_SUBJECT, &plain(&letter.subject, ERROR_BYTES_MAX));
    set(ORIGINAL_CONSUMER, &plain(&letter.consumer, ERROR_BYTES_MAX));
    set(DELIVERIES, &letter.attempts.to_string());
    set(ATTEMPTS, &letter.attempts.to_string());
    set(TENANT, letter.tenant.as_str());
    set(ERROR, &plain(&letter.error, ERROR_BYTES_MAX));
    set(AT, &at.as_millis().to_string());
    if let Some(offset) = letter.offset {
        set(ORIGINAL_STREAM, stream);
        set(ORIGINAL_SEQUENCE, &offset.to_string());
    }
    if let Some(id) = id {
        set(LETTER, &id.0.to_string());
    }
    headers
}

pub(super) fn id(message: &Stored) -> DeadLetterId {
    let moved = message.header(LETTER).and_then(|text| text.parse().ok());
    DeadLetterId(moved.unwrap_or(message.sequence))
}

pub(super) fn tenant(message: &Stored) -> TenantId {
    // A name that is none cannot be ours.
    message.tenant().unwrap_or_else(|_| TenantId::default_tenant())
}

pub(super) fn consumer(message: &Stored) -> String {
    message.header(ORIGINAL_CONSUMER).unwrap_or_default().to_owned()
}

pub(super) fn state(message: &Stored) -> DeadLetterState {
    if message.subject.starts_with(REPLAY_PREFIX) {
        DeadLetterState::Replaying
    } else {
        DeadLetterState::Waiting
    }
}

pub(super) fn read(message: &Stored) -> DeadLetter {
    let number = |name: &str| message.header(name).and_then(|text| text.parse::<u64>().ok());
    let attempts = number(ATTEMPTS).or_else(|| number(DELIVERIES)).unwrap_or(1);
    let subject = match message.header(ORIGINAL_SUBJECT) {
        Some(subject) => subject.to_owned(),
        None => message.subject.strip_prefix(PREFIX).unwrap_or_default().to_owned(),
    };
    let at = message.header(AT).and_then(|text| text.parse().ok());
    DeadLetter {
        id: id(message),
        at: at.map_or(message.at, Timestamp::from_millis),
        state: state(message),
        letter: NewDeadLetter {
            tenant: tenant(message),
            consumer: consumer(message),
            subject,
            headers: kept_headers(message),
            offset: number(ORIGINAL_SEQUENCE).map(Offset),
            bytes: message.payload.clone(),
            error: message.header(ERROR).unwrap_or("not said by whoever gave it up").to_owned(),
            attempts: u32::try_from(attempts).unwrap_or(u32::MAX),
        },
    }
}

fn kept_headers(message: &Stored) -> BTreeMap<String, String> {
    let mut kept = BTreeMap::new();
    for (name, value) in message.plain_headers() {
        let lower = name.to_ascii_lowercase();
        if let Some(original) = name.strip_prefix(KEPT_PREFIX) {
            kept.insert(original.to_owned(), value);
        } else if !RESERVED.iter().any(|reserved| lower.starts_with(reserved)) {
            kept.insert(name, value);
        }
    }
    kept
}

/// Returns a text that a header can carry: without line breaks, and no longer than `bytes_max`.
fn plain(text: &str, bytes_max: usize) -> String {
    let mut end = text.len().min(bytes_max);
    while !text.is_char_boundary(end) {
        end -= 1;
    }
    text[..end].replace(['\r', '\n'], " ").trim().to_owned()
}

fn is_header_name(name: &str) -> bool {
    !name.is_empty() && name.bytes().all(|byte| byte.is_ascii_graphic() && byte != b':')
}

fn is_token(text: &str) -> bool {
    !text.is_empty() && !text.bytes().any(|byte| byte <= b' ' || b".*>".contains(&byte))
}

fn is_subject(text: &str) -> bool {
    text.len() <= ERROR_BYTES_MAX && text.split('.').all(is_token)
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;

    use super::*;

    fn letter() -> NewDeadLetter {
        NewDeadLetter {
            tenant: TenantId::new("team").expect("a tenant"),
            consumer: "warehouse-sink".to_owned(),
            subject: "events.shop.screen.view".to_owned(),
            headers: [("Nats-Msg-Id", "k"), ("Tinyobs-Tenant", "x"), ("trace", "t")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            offset: Some(Offset(12)),
            bytes: Bytes::from_static(b"\xff"),
            error: "no disk".to_owned(),
            attempts: 4,
        }
    }

    fn message(letter: &NewDeadLetter, state: DeadLetterState, id: Option<u64>) -> Stored {
        let at = Timestamp::from_millis(77);
        Stored {
            sequence: 9,
            subject: subject_of(letter, state),
            headers: headers(letter, "CAUSALITY_EVENTS", id.map(DeadLetterId), at),
            payload: letter.bytes.clone(),
            at: Timestamp::from_millis(99),
        }
    }

    #[test]
    fn a_letter_comes_back_as_it_was_put_with_its_own_headers() {
        let message = message(&letter(), DeadLetterState::Waiting, None);
        assert_eq!(message.subject, "dlq.events.shop.screen.view");
        assert_eq!(message.header("X-DLQ-Original-Sequence"), Some("12"));
        assert_eq!(message.header("X-DLQ-Original-Stream"), Some("CAUSALITY_EVENTS"));
        assert_eq!(message.message_id(), None);
        let expected = DeadLetter {
            id: DeadLetterId(9),
            at: Timestamp::from_millis(77),
            state: DeadLetterState::Waiting,
            letter: letter(),
        };
        assert_eq!(read(&message), expected);
    }

    #[test]
    fn a_letter_on_its_way_back_keeps_its_identifier() {
        let message = message(&letter(), DeadLetterState::Replaying, Some(3));
        assert_eq!(message.subject, "dlq.replay.warehouse-sink.events.shop.screen.view");
        let letter = read(&message);
        assert_eq!((letter.id, letter.state), (DeadLetterId(3), DeadLetterState::Replaying));
    }

    #[test]
    fn what_no_header_can_carry_does_not_break_the_message() {
        let strange = NewDeadLetter {
            subject: "events. x.*".to_owned(),
            consumer: "a.b".to_owned(),
            headers: [("a b", "1"), ("", "2"), ("ok", "x\r\nTinyobs-Tenant: y"), ("\u{e9}", "3")]
                .map(|(name, value)| (name.to_owned(), value.to_owned()))
                .into(),
            error: format!("line\n{}", "\u{e9}".repeat(ERROR_BYTES_MAX)),
            ..letter()
        };
        let message = message(&strange, DeadLetterState::Replaying, None);
        assert_eq!(message.subject, "dlq.replay.unknown.unknown");
        let read = read(&message).letter;
        assert_eq!(read.subject, strange.subject);
        assert_eq!(read.tenant, strange.tenant);
        let kept: Vec<_> = read.headers.into_iter().collect();
        assert_eq!(kept, [("ok".to_owned(), "x  Tinyobs-Tenant: y".to_owned())]);
        assert!(read.error.len() <= ERROR_BYTES_MAX && read.error.starts_with("line \u{e9}"));
    }

    #[test]
    fn headers_take_no_more_than_is_kept_free_for_them() {
        let name = |prefix: &str, number: usize| (format!("{prefix}{number}"), String::new());
        for prefix in ["h", "nats-"] {
            let largest = NewDeadLetter {
                consumer: "c".repeat(2_000),
                subject: "s".repeat(2_000),
                error: "e".repeat(2_000),
                headers: (0..2_000).map(|number| name(prefix, number)).collect(),
                ..letter()
            };
            let headers = headers(&largest, "S", Some(DeadLetterId(1)), Timestamp::from_millis(1));
            let bytes: usize = headers
                .iter()
                .map(|(name, values)| {
                    let name: &str = name.as_ref();
                    name.len() + values[0].as_str().len() + HEADER_OVERHEAD_BYTES
                })
                .sum();
            assert!(bytes < super::super::HEADERS_BYTES_MAX - 512, "{prefix}: {bytes}");
        }
    }

    #[test]
    fn a_letter_of_the_original_is_the_default_tenants() {
        let mut message = message(&letter(), DeadLetterState::Waiting, None);
        for name in [TENANT, ERROR, ATTEMPTS, AT] {
            message.headers = without(&message.headers, name);
        }
        let letter = read(&message);
        assert_eq!(letter.letter.tenant, TenantId::default_tenant());
        assert_eq!(letter.letter.attempts, 4);
        assert_eq!(letter.at, Timestamp::from_millis(99));
    }

    fn without(headers: &HeaderMap, name: &str) -> HeaderMap {
        let mut rest = HeaderMap::new();
        for (other, values) in headers.iter() {
            if other.to_string() != name {
                rest.insert(other.clone(), values[0].clone());
            }
        }
        rest
    }
}
