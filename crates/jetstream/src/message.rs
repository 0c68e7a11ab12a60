//! An event as a message: what it is called, what goes with it, and back.
//!
//! The body is the binary envelope, as it always was; what only this program knows goes into headers, so that whoever
//! reads the stream without knowing of them reads events.

use std::collections::BTreeMap;

use async_nats::HeaderMap;
use async_nats::header::NATS_MESSAGE_ID;
use bytes::Bytes;
use events::{Body, Entry, EventKey, Lane, NewEvent, Offset};
use model::{TenantId, Timestamp};
use platform::Rng;

use crate::envelope::Facts;

/// What events are published to begins so.
pub(crate) const EVENTS_PREFIX: &str = "events.";

/// What consumers of events get.
pub(crate) const EVENTS_FILTER: &str = "events.>";

/// Whose event it is; the default tenant where it is missing, as in what the original gateway publishes.
pub(crate) const TENANT: &str = "Tinyobs-Tenant";

/// Sixteen hexadecimal digits: what tells a repetition from another event with the same key.
pub(crate) const FINGERPRINT: &str = "Tinyobs-Fingerprint";

/// Sixteen hexadecimal digits: what the event keeps its order with.
pub(crate) const LANE: &str = "Tinyobs-Lane";

/// Milliseconds since the epoch: when the event arrived.
pub(crate) const RECEIVED: &str = "Tinyobs-Received";

/// The event's identifier, where it is plain enough for a header.
pub(crate) const ID: &str = "Tinyobs-Id";

/// Longest identifier that goes into a header, in bytes.
const ID_BYTES_MAX: usize = 128;

/// What is published under this subject has an envelope that cannot be read.
const UNKNOWN_SUBJECT: &str = "events.unknown.unknown.unknown";

/// A message that was not sent yet.
#[derive(Clone, Debug)]
pub(crate) struct Outgoing {
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
}

/// A message as a stream holds it.
#[derive(Clone, Debug)]
pub(crate) struct Stored {
    pub(crate) sequence: u64,
    pub(crate) subject: String,
    pub(crate) headers: HeaderMap,
    pub(crate) payload: Bytes,
    /// When the stream took it.
    pub(crate) at: Timestamp,
}

/// Returns the message for an event.
pub(crate) fn encode(
    tenant: &TenantId,
    received_at: Timestamp,
    event: &NewEvent,
    message_id: &str,
) -> Outgoing {
    // Events were checked before they came here; what cannot be read all the same is a consumer's to refuse.
    let subject = Facts::read(&event.envelope)
        .map_or_else(|_| UNKNOWN_SUBJECT.to_owned(), |facts| facts.subject());
    let mut headers = HeaderMap::new();
    headers.insert(NATS_MESSAGE_ID, message_id);
    headers.insert(TENANT, tenant.as_str());
    headers.insert(FINGERPRINT, format!("{:016x}", event.fingerprint).as_str());
    headers.insert(LANE, format!("{:016x}", event.lane.0).as_str());
    headers.insert(RECEIVED, received_at.as_millis().to_string().as_str());
    if is_plain(&event.id) {
        headers.insert(ID, &*event.id);
    }
    Outgoing { subject, headers, payload: event.envelope.clone() }
}

fn is_plain(id: &str) -> bool {
    !id.is_empty() && id.len() <= ID_BYTES_MAX && id.bytes().all(|byte| byte.is_ascii_graphic())
}

/// Returns what the server recognises a repetition by. An event without key gets one of its own: when its
/// acknowledgement is lost, it is sent again, and must not be stored twice.
pub(crate) fn message_id(key: Option<EventKey>, rng: &dyn Rng) -> String {
    match key {
        Some(key) => format!("{:032x}", key.0),
        None => {
            let mut bytes = [0; 16];
            rng.fill(&mut bytes);
            format!("n{:032x}", u128::from_le_bytes(bytes))
        }
    }
}

/// What a stored message says that a repetition of its key must agree with.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Identity {
    pub(crate) id: Box<str>,
    pub(crate) fingerprint: u64,
    pub(crate) received_at: Timestamp,
}

impl Stored {
    pub(crate) fn header(&self, name: &str) -> Option<&str> {
        self.headers.get(name).map(async_nats::HeaderValue::as_str)
    }

    /// Returns what the server recognises a repetition of it by.
    pub(crate) fn message_id(&self) -> Option<&str> {
        self.headers.get(NATS_MESSAGE_ID).map(async_nats::HeaderValue::as_str)
    }

    /// Returns the identity of the event.
    ///
    /// # Errors
    ///
    /// What is wrong with the envelope.
    pub(crate) fn identity(&self) -> Result<Identity, String> {
        let received_at = self.received_at();
        let fingerprint = self.header(FINGERPRINT).and_then(read_hex);
        if let (Some(fingerprint), Some(id)) = (fingerprint, self.header(ID)) {
            return Ok(Identity { id: id.into(), fingerprint, received_at });
        }
        let facts = Facts::read(&self.payload)?;
        // Another publisher's message has no fingerprint of the sender's, but its content has one.
        let fingerprint = fingerprint.unwrap_or_else(|| facts.fingerprint());
        Ok(Identity { id: facts.id().into(), fingerprint, received_at })
    }

    /// Returns when the event arrived: at a gateway of ours, or else in the stream.
    pub(crate) fn received_at(&self) -> Timestamp {
        let header = self.header(RECEIVED).and_then(|text| text.parse().ok());
        header.map_or(self.at, Timestamp::from_millis)
    }

    /// Returns the event.
    ///
    /// # Errors
    ///
    /// What is wrong with it.
    pub(crate) fn entry(&self) -> Result<Entry, String> {
        if !self.subject.starts_with(EVENTS_PREFIX) {
            return Err("not published as an event".to_owned());
        }
        let tenant = self.tenant()?;
        let lane = match self.header(LANE) {
            // A gateway of ours checked the event before it was stored.
            Some(text) => Lane(read_hex(text).ok_or_else(|| format!("header {LANE} is no lane"))?),
            None => Facts::read(&self.payload)?.lane(&tenant),
        };
        Ok(Entry {
            offset: Offset(self.sequence),
            tenant,
            received_at: self.received_at(),
            lane,
            envelope: self.payload.clone(),
        })
    }

    /// Returns whose it is.
    ///
    /// # Errors
    ///
    /// It says so, but not in the form of a tenant's name.
    pub(crate) fn tenant(&self) -> Result<TenantId, String> {
        match self.header(TENANT) {
            Some(name) => TenantId::new(name).map_err(|error| format!("header {TENANT}: {error}")),
            None => Ok(TenantId::default_tenant()),
        }
    }

    /// Returns what a consumer gets: the event, or what else it is.
    pub(crate) fn body(&self) -> Body {
        match self.entry() {
            Ok(entry) => Body::Entry(entry),
            Err(error) => Body::Undecodable {
                subject: self.subject.clone(),
                headers: self.plain_headers(),
                bytes: self.payload.clone(),
                error,
            },
        }
    }

    /// Returns the headers that it was published with; of several of a name, the first.
    pub(crate) fn plain_headers(&self) -> BTreeMap<String, String> {
        let mut plain = BTreeMap::new();
        for (name, values) in self.headers.iter() {
            let name = name.to_string();
            if let Some(value) = values.first()
                && !DIRECT_GET_HEADERS.contains(&name.as_str())
            {
                plain.insert(name, value.as_str().to_owned());
            }
        }
        plain
    }
}

/// What the server adds when it hands a message out of a stream.
const DIRECT_GET_HEADERS: [&str; 6] = [
    "Nats-Stream",
    "Nats-Subject",
    "Nats-Sequence",
    "Nats-Time-Stamp",
    "Nats-Last-Sequence",
    "Nats-Num-Pending",
];

fn read_hex(text: &str) -> Option<u64> {
    if text.len() != 16 || !text.bytes().all(|byte| byte.is_ascii_hexdigit()) {
        return None;
    }
    u64::from_str_radix(text, 16).ok()
}

#[cfg(test)]
mod tests {
    use platform::SimRng;

    use super::*;

    fn event(key: Option<u128>) -> NewEvent {
        NewEvent {
            envelope: crate::tests::envelope("id", "shop", "d", Some(1)).into(),
            id: "id".into(),
            key: key.map(EventKey),
            fingerprint: 0xf1,
            lane: Lane(7),
        }
    }

    fn stored(key: Option<u128>) -> Stored {
        let tenant = TenantId::new("team").expect("a tenant");
        let message_id = message_id(key.map(EventKey), &*SimRng::new(1));
        let outgoing = encode(&tenant, Timestamp::from_millis(42), &event(key), &message_id);
        Stored {
            sequence: 3,
            subject: outgoing.subject,
            headers: outgoing.headers,
            payload: outgoing.payload,
            at: Timestamp::from_millis(99),
        }
    }

    #[test]
    fn an_event_comes_back_as_it_went() {
        let stored = stored(Some(0xabc));
        assert_eq!(stored.message_id(), Some("00000000000000000000000000000abc"));
        let entry = stored.entry().expect("an event");
        assert_eq!(
            entry,
            Entry {
                offset: Offset(3),
                tenant: TenantId::new("team").expect("a tenant"),
                received_at: Timestamp::from_millis(42),
                lane: Lane(7),
                envelope: event(None).envelope,
            }
        );
        let identity = stored.identity().expect("an identity");
        assert_eq!((&*identity.id, identity.fingerprint), ("id", 0xf1));
    }

    #[test]
    fn an_identifier_that_no_header_can_carry_is_read_from_the_envelope() {
        for id in ["", "a b", "a\r\nTinyobs-Tenant: other", &"x".repeat(ID_BYTES_MAX + 1)] {
            let event = NewEvent { id: id.into(), ..event(None) };
            let tenant = TenantId::default_tenant();
            let outgoing = encode(&tenant, Timestamp::from_millis(0), &event, "m");
            assert!(outgoing.headers.get(ID).is_none(), "{id:?}");
        }
        let mut stored = stored(None);
        stored.headers.insert(ID, "another");
        assert_eq!(&*stored.identity().expect("an identity").id, "another");
    }

    #[test]
    fn events_without_key_never_look_like_repetitions() {
        let rng = SimRng::new(1);
        assert_ne!(message_id(None, &*rng), message_id(None, &*rng));
    }

    #[test]
    fn another_publishers_event_is_the_default_tenants_and_came_when_the_stream_took_it() {
        let mut foreign = stored(None);
        foreign.headers = HeaderMap::new();
        let entry = foreign.entry().expect("an event");
        assert_eq!(entry.tenant, TenantId::default_tenant());
        assert_eq!(entry.received_at, Timestamp::from_millis(99));
        let facts = Facts::read(&foreign.payload).expect("facts");
        assert_eq!(entry.lane, facts.lane(&TenantId::default_tenant()));
        assert_eq!(foreign.identity().expect("an identity").fingerprint, facts.fingerprint());
    }

    #[test]
    fn what_is_no_event_is_handed_on_whole() {
        let mut alert = stored(None);
        alert.subject = "anomalies.shop.spike".to_owned();
        let Body::Undecodable { subject, headers, bytes, error } = alert.body() else {
            panic!("an event");
        };
        assert_eq!(subject, "anomalies.shop.spike");
        assert_eq!(headers.get(TENANT).map(String::as_str), Some("team"));
        assert_eq!(bytes, event(None).envelope);
        assert_eq!(error, "not published as an event");

        for (name, value) in [(TENANT, "../x"), (LANE, "7"), (LANE, "zzzzzzzzzzzzzzzz")] {
            let mut broken = stored(None);
            broken.headers.insert(name, value);
            assert!(broken.entry().expect_err("no event").contains(name));
        }
    }
}
