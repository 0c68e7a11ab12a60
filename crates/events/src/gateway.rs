//! What stands between a request and the log: checks, completes and counts events.

mod counts;
mod identifiers;
mod refused;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use bytes::{Bytes, BytesMut};
use futures_util::future::try_join_all;
use model::{TenantId, Timestamp};
use platform::{Clock, Rng};
use ring::digest::{Context, SHA256};
use schema::{Event, ID_FIELD, IDEMPOTENCY_KEY_FIELD, PayloadKind, TIMESTAMP_MS_FIELD};

use crate::{
    Batch, CustomSchemas, DeadLetter, DeadLetters, EventKey, EventLog, Lane, LogError,
    NewDeadLetter, NewEvent, Offset, Outcome, Verdict,
};

pub use counts::{GatewayStats, KindCount};
use counts::{KindCounter, KindCounts, Tallies, Tally};
use identifiers::Identifiers;
pub use refused::Refused;

/// Who gives up events with the key of another one, in the dead letters.
pub const GATEWAY: &str = "gateway";

/// What completing an event adds to it at most, in bytes: identifier, time and key.
const COMPLETION_BYTES_MAX: usize = 96;

/// How much memory for envelopes is fetched at once at most, in bytes: what [`BytesMut`] goes on with.
const MEMORY_PIECE_BYTES: usize = 64 << 10;

/// What the gateway lets through.
#[derive(Clone, Debug)]
pub struct GatewaySettings {
    /// Longest event as it was sent, in binary form, in bytes.
    pub event_bytes_max: usize,
    /// Most events of one request.
    pub batch_events_max: usize,
    /// How old an event may be when it arrives.
    pub past_max: Duration,
    /// How far ahead the clock of a sender may be.
    pub future_max: Duration,
    /// Most combinations of app, category and type that are counted one by one, of one tenant.
    pub kinds_per_tenant_max: usize,
    /// What the fields of an event may hold.
    pub limits: schema::Limits,
}

impl Default for GatewaySettings {
    fn default() -> Self {
        Self {
            event_bytes_max: 512 << 10,
            batch_events_max: 1_000,
            past_max: Duration::from_hours(90 * 24),
            future_max: Duration::from_hours(24),
            kinds_per_tenant_max: 1_000,
            limits: schema::Limits::default(),
        }
    }
}

/// Who sends events.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Source {
    /// Whose events they are.
    pub tenant: TenantId,
    /// The app that they must belong to; `None` for any.
    pub app: Option<Arc<str>>,
}

/// Memory that the envelopes of one request share, so that each costs no allocation of its own.
#[derive(Debug)]
pub struct EnvelopeMemory {
    envelopes: BytesMut,
    added: Vec<u8>,
}

impl EnvelopeMemory {
    /// Returns memory for a request of so many bytes; more is fetched in pieces as it is needed.
    #[must_use]
    pub fn for_request(bytes: usize) -> Self {
        let bytes = bytes.saturating_add(COMPLETION_BYTES_MAX).min(MEMORY_PIECE_BYTES);
        Self { envelopes: BytesMut::with_capacity(bytes), added: Vec::new() }
    }

    /// Returns an envelope followed by what was added to it.
    fn join(&mut self, envelope: &[u8]) -> Bytes {
        self.envelopes.extend_from_slice(envelope);
        self.envelopes.extend_from_slice(&self.added);
        self.envelopes.split().freeze()
    }
}

/// An event that may be stored.
#[derive(Debug)]
pub struct Prepared {
    event: NewEvent,
    counter: Arc<KindCounter>,
}

impl Prepared {
    /// Returns the length of the completed envelope, in bytes.
    #[must_use]
    pub fn bytes(&self) -> usize {
        self.event.envelope.len()
    }
}

/// What became of an event.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum EventResult {
    /// It is stored, durably.
    Accepted {
        /// The identifier that it was stored with.
        id: Box<str>,
        /// Where it is in the log.
        offset: Offset,
        /// Whether it had been stored before.
        duplicate: bool,
    },
    /// It is not stored.
    Rejected(Refused),
}

/// Takes events in. All requests share one.
#[derive(Debug)]
pub struct Gateway {
    log: Arc<dyn EventLog>,
    dead_letters: Arc<dyn DeadLetters>,
    schemas: Arc<CustomSchemas>,
    clock: Arc<dyn Clock>,
    identifiers: Identifiers,
    settings: GatewaySettings,
    tallies: Tallies,
    kinds: KindCounts,
}

impl Gateway {
    /// Returns a gateway to `log`.
    #[must_use]
    pub fn new(
        log: Arc<dyn EventLog>,
        dead_letters: Arc<dyn DeadLetters>,
        schemas: Arc<CustomSchemas>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
        settings: GatewaySettings,
    ) -> Self {
        Self {
            log,
            dead_letters,
            schemas,
            identifiers: Identifiers::new(rng),
            clock,
            tallies: Tallies::default(),
            kinds: KindCounts::new(settings.kinds_per_tenant_max),
            settings,
        }
    }

    /// Returns what the gateway lets through.
    #[must_use]
    pub const fn settings(&self) -> &GatewaySettings {
        &self.settings
    }

    /// Checks an event, a binary `causality.v1.EventEnvelope`, and completes it: an identifier, the time of arrival
    /// and a key where the sender gave none.
    ///
    /// Needs only the processor: microseconds, or more where a schema is registered for the custom event.
    ///
    /// # Errors
    ///
    /// The event cannot be stored, now or later. It counts once [ingested](Gateway::ingest).
    pub fn prepare(
        &self,
        source: &Source,
        received_at: Timestamp,
        envelope: &[u8],
        memory: &mut EnvelopeMemory,
    ) -> Result<Prepared, Refused> {
        let limit_bytes = self.settings.event_bytes_max;
        if envelope.len() > limit_bytes {
            return Err(Refused::TooLarge { bytes: envelope.len(), limit_bytes });
        }
        let event = schema::inspect(envelope, &self.settings.limits)?;
        if let Some(app) = source.app.as_deref()
            && app != event.app_id
        {
            return Err(Refused::ForeignApp { allowed: app.into() });
        }
        self.check_time(&event, received_at)?;
        self.check_schema(&source.tenant, &event)?;
        Ok(self.complete(&source.tenant, received_at, (envelope, &event), memory))
    }

    /// Stores events, and says of each what became of it, in the given order.
    ///
    /// Returns once those that are accepted are durable, and those with the key of another event are in the dead
    /// letters. Dropping it leaves open what was stored; such events are counted as unanswered.
    ///
    /// # Errors
    ///
    /// [`LogError`]: the sender has to repeat all of them. Some may have been stored; those with a key are then
    /// answered as duplicates.
    pub async fn ingest(
        &self,
        tenant: &TenantId,
        received_at: Timestamp,
        events: Vec<Result<Prepared, Refused>>,
    ) -> Result<Vec<EventResult>, LogError> {
        let unanswered = self.tallies.unanswered(events.len());
        let mut waiting = Vec::with_capacity(events.len());
        let mut batch = Vec::with_capacity(events.len());
        for event in events {
            waiting.push(event.map(|Prepared { event, counter }| {
                let (id, envelope) = (event.id.clone(), event.envelope.clone());
                batch.push(event);
                Waiting { id, envelope, counter }
            }));
        }
        let outcomes = match batch.len() {
            0 => Vec::new(),
            count => {
                let batch = Batch { tenant: tenant.clone(), received_at, events: batch };
                let outcomes = self.log.append(batch).await?;
                assert_eq!(outcomes.len(), count, "the log answers for each event");
                outcomes
            }
        };
        let mut tally = Tally::default();
        let mut conflicts = Vec::new();
        let mut outcomes = outcomes.into_iter();
        let results = waiting.into_iter().map(|event| {
            let accepted = event.and_then(|event| match outcomes.next() {
                Some(Outcome::Stored { offset }) => {
                    event.counter.add();
                    Ok(EventResult::Accepted { id: event.id, offset, duplicate: false })
                }
                Some(Outcome::Duplicate { offset, id }) => {
                    Ok(EventResult::Accepted { id, offset, duplicate: true })
                }
                Some(Outcome::Conflict { id, .. }) => {
                    let refused = Refused::Conflict { id };
                    conflicts.push(self.dead_letter(tenant, event.envelope, &refused));
                    Err(refused)
                }
                None => unreachable!("the log answers for each event"),
            });
            let result = accepted.unwrap_or_else(EventResult::Rejected);
            tally.count(&result);
            result
        });
        let results: Vec<_> = results.collect();
        // What is stored counts whatever happens to the dead letters.
        let kept = try_join_all(conflicts.into_iter().map(|letter| self.dead_letters.put(letter)));
        if let Err(error) = kept.await {
            self.tallies.add(tally.without_rejected());
            unanswered.only(tally.rejected());
            return Err(error);
        }
        self.tallies.add(tally);
        unanswered.none();
        Ok(results)
    }

    /// Stores an event that was given up because its key belonged to another one, and removes the dead letter.
    ///
    /// Whoever asks for it has decided that it is an event of its own: only a repetition of this replay is a duplicate
    /// of it. When it is refused, or the log fails, the dead letter stays.
    ///
    /// # Errors
    ///
    /// [`LogError`].
    pub async fn replay(
        &self,
        tenant: &TenantId,
        letter: &DeadLetter,
    ) -> Result<EventResult, LogError> {
        let received_at = self.clock.now();
        let envelope = &letter.letter.bytes;
        let prepared = match schema::inspect(envelope, &self.settings.limits) {
            Ok(event) => {
                let mut memory = EnvelopeMemory::for_request(envelope.len());
                let mut prepared =
                    self.complete(tenant, received_at, (envelope, &event), &mut memory);
                let id = letter.id.0.to_le_bytes();
                let parts = [&b"dead letter"[..], tenant.as_str().as_bytes(), &id];
                prepared.event.key = Some(event_key(&parts));
                Ok(prepared)
            }
            Err(invalid) => Err(invalid.into()),
        };
        let mut results = self.ingest(tenant, received_at, vec![prepared]).await?;
        let result = results.pop().expect("one event, one result");
        if matches!(result, EventResult::Accepted { .. }) {
            self.dead_letters.discard(tenant.clone(), letter.id).await?;
        }
        Ok(result)
    }

    /// Returns what became of all events since the start.
    #[must_use]
    pub fn stats(&self) -> GatewayStats {
        let mut stats = self.tallies.get();
        stats.schema_warnings = self.schemas.warnings();
        stats
    }

    /// Returns how many events of each kind were stored since the start, ascending.
    #[must_use]
    pub fn kinds(&self) -> Vec<KindCount> {
        self.kinds.get()
    }

    fn check_time(&self, event: &Event<'_>, received_at: Timestamp) -> Result<(), Refused> {
        // No time is the time of arrival.
        if event.timestamp_ms == 0 {
            return Ok(());
        }
        let age_ms = i128::from(received_at.as_millis()) - i128::from(event.timestamp_ms);
        let millis = |duration: Duration| i128::try_from(duration.as_millis()).unwrap_or(i128::MAX);
        if age_ms > millis(self.settings.past_max) {
            return Err(Refused::TooOld { past_max: self.settings.past_max });
        }
        if -age_ms > millis(self.settings.future_max) {
            return Err(Refused::TooNew { future_max: self.settings.future_max });
        }
        Ok(())
    }

    fn check_schema(&self, tenant: &TenantId, event: &Event<'_>) -> Result<(), Refused> {
        if event.kind != PayloadKind::CustomEvent {
            return Ok(());
        }
        match self.schemas.check(tenant, event.app_id, event.event_type, event.payload) {
            Verdict::Fits => Ok(()),
            Verdict::Refused(violations) => Err(Refused::Schema(violations)),
        }
    }

    fn complete(
        &self,
        tenant: &TenantId,
        received_at: Timestamp,
        (envelope, event): (&[u8], &Event<'_>),
        memory: &mut EnvelopeMemory,
    ) -> Prepared {
        let added = &mut memory.added;
        added.clear();
        let id: Box<str> = if event.id.is_empty() {
            let id = self.identifiers.next(received_at);
            schema::set_string(added, ID_FIELD, &id);
            id
        } else {
            event.id.into()
        };
        if event.timestamp_ms == 0 {
            schema::set_int64(added, TIMESTAMP_MS_FIELD, received_at.as_millis());
        }
        let key = if event.idempotency_key.is_empty() {
            // Consumers find one with every event. That nothing can repeat it is for the log to know.
            if event.id.is_empty() {
                schema::set_string(added, IDEMPOTENCY_KEY_FIELD, &id);
            } else {
                let own = self.identifiers.next(received_at);
                schema::set_string(added, IDEMPOTENCY_KEY_FIELD, &own);
            }
            None
        } else {
            let parts = [tenant.as_str(), event.app_id, event.idempotency_key];
            Some(event_key(&parts.map(str::as_bytes)))
        };
        let category = event.category();
        Prepared {
            event: NewEvent {
                envelope: memory.join(envelope),
                id,
                key,
                fingerprint: event.fingerprint,
                lane: Lane::of(tenant, event.app_id, event.device_id),
            },
            counter: self.kinds.counter(tenant, event.app_id, category, event.event_type),
        }
    }

    fn dead_letter(&self, tenant: &TenantId, envelope: Bytes, refused: &Refused) -> NewDeadLetter {
        let event = schema::inspect(&envelope, &self.settings.limits);
        let subject = event.map_or_else(
            |_| String::new(),
            |event| schema::subject(event.app_id, event.category(), event.event_type),
        );
        NewDeadLetter {
            tenant: tenant.clone(),
            consumer: GATEWAY.to_owned(),
            subject,
            headers: BTreeMap::new(),
            offset: None,
            bytes: envelope,
            error: refused.to_string(),
            attempts: 1,
        }
    }
}

/// What is answered once the log has answered.
struct Waiting {
    id: Box<str>,
    envelope: Bytes,
    counter: Arc<KindCounter>,
}

/// Returns the key that parts stand for. A cryptographic hash: nobody can make one of another tenant's keys taken.
fn event_key(parts: &[&[u8]]) -> EventKey {
    let mut context = Context::new(&SHA256);
    for part in parts {
        context.update(&(part.len() as u64).to_le_bytes());
        context.update(part);
    }
    let digest = context.finish();
    let bytes = digest.as_ref().first_chunk().expect("SHA-256 has 32 bytes");
    EventKey(u128::from_le_bytes(*bytes))
}
