//! What goes into the log and comes out of it.

use std::fmt;

use bytes::Bytes;
use model::{TenantId, Timestamp};
use xxhash_rust::xxh3::Xxh3;

/// A position in the log. Positions ascend in the order of acceptance but need not be contiguous.
///
/// It is also an event's sequence number: two events of one lane have positions in the order in which they were
/// accepted.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Offset(pub u64);

impl Offset {
    /// Returns the position behind this one.
    #[must_use]
    pub const fn next(self) -> Self {
        Self(self.0.saturating_add(1))
    }
}

impl fmt::Display for Offset {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        self.0.fmt(f)
    }
}

/// What an event is recognised by when a sender repeats it: a hash of tenant, app and idempotency key.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct EventKey(pub u128);

/// What keeps its order: a hash of tenant, app and device. Events of one lane are stored, and handed to a consumer, in
/// the order in which they were accepted.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub struct Lane(pub u64);

impl Lane {
    /// Returns the lane of a device of an app of a tenant. The same in all versions: consumers compare it.
    #[must_use]
    pub fn of(tenant: &TenantId, app: &str, device: &str) -> Self {
        let mut hash = Xxh3::new();
        for part in [tenant.as_str(), app, device] {
            hash.update(&(part.len() as u64).to_le_bytes());
            hash.update(part.as_bytes());
        }
        Self(hash.digest())
    }
}

/// A valid event that is not stored yet.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct NewEvent {
    /// The binary `causality.v1.EventEnvelope` with identifier, time and idempotency key set.
    pub envelope: Bytes,
    /// The identifier within the envelope.
    pub id: Box<str>,
    /// What a repetition is recognised by; `None` when the sender gave no key, so that nothing can be a repetition.
    pub key: Option<EventKey>,
    /// A hash of what the sender said, without identifier: tells a repetition from another event of the same key.
    pub fingerprint: u64,
    /// What it keeps its order with.
    pub lane: Lane,
}

/// Events of one tenant that arrived together.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Batch {
    /// Whose events they are.
    pub tenant: TenantId,
    /// When they arrived.
    pub received_at: Timestamp,
    /// In the order in which they are to be stored.
    pub events: Vec<NewEvent>,
}

/// A stored event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Entry {
    /// Where it is.
    pub offset: Offset,
    /// Whose it is.
    pub tenant: TenantId,
    /// When it arrived.
    pub received_at: Timestamp,
    /// What it keeps its order with.
    pub lane: Lane,
    /// The binary `causality.v1.EventEnvelope`.
    pub envelope: Bytes,
}
