//! Storing events: side by side across lanes, one after the other within a lane.

use std::collections::{HashMap, HashSet};
use std::sync::atomic::Ordering;
use std::time::Duration;

use events::{Batch, LogError, NewEvent, Offset, Outcome};
use futures_util::StreamExt as _;
use futures_util::stream::FuturesUnordered;
use model::Timestamp;

use super::{LANE_LOCKS, Shared};
use crate::connection::{Acknowledgement, ApiError, RETRY_AFTER};
use crate::message::{self, Outgoing};

/// Bytes that are kept free in a message for headers, those of a dead letter included.
const HEADERS_BYTES_MAX: usize = 4_096;

/// The longest pause before an event is sent again.
const RETRY_WAIT_MAX: Duration = Duration::from_millis(500);

/// JetStream could not store a message, most often because the stream is full.
const STORE_FAILED: u64 = 10_077;

/// The stream, the account, or the server's disk or memory is full.
const NO_ROOM: [u64; 4] = [10_002, 10_023, 10_028, 10_047];

/// The message is longer than the stream takes.
const TOO_LONG: [u64; 2] = [10_054, 10_097];

impl Shared {
    pub(super) async fn append(&self, batch: Batch) -> Result<Vec<Outcome>, LogError> {
        let _queued = self.queue(batch.events.len())?;
        let limit_bytes = self.connection.client().max_payload().saturating_sub(HEADERS_BYTES_MAX);
        if let Some(event) = batch.events.iter().find(|event| event.envelope.len() > limit_bytes) {
            return Err(LogError::TooLarge { bytes: event.envelope.len(), limit_bytes });
        }
        let deadline = self.connection.deadline(self.settings.append_timeout);
        let (lanes, repeated) = plan(&batch.events);
        let mut outcomes = vec![None; batch.events.len()];
        let mut failure = None;
        let mut running: FuturesUnordered<_> =
            lanes.iter().map(|lane| self.append_lane(&batch, lane, deadline)).collect();
        while let Some((stored, error)) = running.next().await {
            for (index, outcome) in stored {
                outcomes[index] = Some(outcome);
            }
            failure = failure.or(error);
        }
        drop(running);
        if let Some(failure) = failure {
            return Err(failure);
        }
        // The first of each key is stored, so these are not: they have no order to keep.
        for index in repeated {
            outcomes[index] = Some(self.append_one(&batch, index, deadline).await?);
        }
        Ok(self.conclude(outcomes))
    }

    fn queue(&self, count: usize) -> Result<Queued<'_>, LogError> {
        // An empty batch counts as well: closing waits for whoever came before it.
        let count = count.max(1);
        let queued = self.queued.fetch_add(count, Ordering::SeqCst);
        let guard = Queued { shared: self, count };
        if self.closing.load(Ordering::SeqCst) {
            return Err(LogError::Closed);
        }
        if queued > 0 && queued.saturating_add(count) > self.settings.queued_max {
            return Err(LogError::Overloaded {
                reason: format!("{queued} events wait to be stored"),
            });
        }
        Ok(guard)
    }

    /// Stores the events of one lane. After a failure, the rest of the lane is not sent: it would overtake.
    async fn append_lane(
        &self,
        batch: &Batch,
        lane: &Lane,
        deadline: Duration,
    ) -> (Vec<(usize, Outcome)>, Option<LogError>) {
        let mut stored = Vec::with_capacity(lane.events.len());
        let _turn = tokio::select! {
            biased;
            turn = self.lanes[lane.lock].lock() => turn,
            () = self.connection.clock.sleep_until(deadline) => {
                let reason = "an earlier event of the same device is not stored yet".to_owned();
                return (stored, Some(LogError::Overloaded { reason }));
            }
        };
        for &index in &lane.events {
            match self.append_one(batch, index, deadline).await {
                Ok(outcome) => stored.push((index, outcome)),
                Err(error) => return (stored, Some(error)),
            }
        }
        (stored, None)
    }

    async fn append_one(
        &self,
        batch: &Batch,
        index: usize,
        deadline: Duration,
    ) -> Result<Outcome, LogError> {
        let event = &batch.events[index];
        // The same for each attempt.
        let message_id = message::message_id(event.key, &*self.connection.rng);
        let _slot = tokio::select! {
            biased;
            slot = self.in_flight.acquire() => slot.map_err(|_| LogError::Closed)?,
            () = self.connection.clock.sleep_until(deadline) => {
                let reason = format!("{} events are on their way", self.settings.in_flight_max);
                return Err(LogError::Overloaded { reason });
            }
        };
        let encode = || message::encode(&batch.tenant, batch.received_at, event, &message_id);
        let (acknowledgement, attempts) = self.publish(encode, deadline).await?;
        let offset = Offset(acknowledgement.sequence);
        if !acknowledgement.duplicate {
            return Ok(Outcome::Stored { offset });
        }
        self.compare(event, batch.received_at, offset, attempts).await
    }

    /// Sends a message until it is acknowledged or the time is over; returns how often.
    ///
    /// Whether an attempt without acknowledgement was stored does not matter: all bear the same message identifier.
    async fn publish(
        &self,
        encode: impl Fn() -> Outgoing,
        deadline: Duration,
    ) -> Result<(Acknowledgement, u32), LogError> {
        let mut attempts = 0_u32;
        loop {
            self.connection.usable(deadline).await?;
            attempts = attempts.saturating_add(1);
            let Outgoing { subject, headers, payload } = encode();
            let bytes = payload.len();
            let sent = self.connection.publish(&subject, headers, payload);
            let error = tokio::select! {
                biased;
                answer = sent => match answer {
                    Ok(acknowledgement) => {
                        self.full.store(false, Ordering::Relaxed);
                        return Ok((acknowledgement, attempts));
                    }
                    Err(error) => error,
                },
                () = self.connection.clock.sleep_until(deadline) => {
                    ApiError::NoAnswer("not acknowledged in time".to_owned())
                }
            };
            let error = self.judge(error, bytes)?;
            let wait = self.connection.backoff(attempts.saturating_sub(1), RETRY_WAIT_MAX);
            if self.connection.clock.monotonic().saturating_add(wait) >= deadline {
                return Err(error);
            }
            self.connection.sleep(wait).await;
        }
    }

    /// Says what to answer if there is no time for another attempt.
    ///
    /// # Errors
    ///
    /// When another attempt would fail as well.
    fn judge(&self, error: ApiError, bytes: usize) -> Result<LogError, LogError> {
        match error {
            ApiError::Refused { code, .. } if code == STORE_FAILED || NO_ROOM.contains(&code) => {
                self.full.store(true, Ordering::Relaxed);
                self.trim.notify_one();
                Err(self.full_error())
            }
            ApiError::Refused { code, .. } if TOO_LONG.contains(&code) => {
                Err(LogError::TooLarge { bytes, limit_bytes: bytes.saturating_sub(1) })
            }
            ApiError::TooLarge { limit_bytes } => Err(LogError::TooLarge { bytes, limit_bytes }),
            ApiError::NoResponders(_subject) => {
                // Between two leaders of a cluster nobody answers; but the stream may have been removed, too. All tenants
                // hear of it, so the subject with the app of one of them is not for them.
                let reason = format!("stream '{}' does not answer", self.settings.stream.name);
                self.connection.set_ready(false, Some(reason.clone()));
                Ok(LogError::Unavailable { reason, retry_after: RETRY_AFTER })
            }
            error => Ok(error.into_unavailable()),
        }
    }

    /// Says what became of an event whose key is in the stream already.
    async fn compare(
        &self,
        event: &NewEvent,
        received_at: Timestamp,
        offset: Offset,
        attempts: u32,
    ) -> Result<Outcome, LogError> {
        let Some(first) = self.get(offset.0).await? else {
            // Removed since; what it said is not known any more.
            return Ok(Outcome::Duplicate { offset, id: event.id.clone() });
        };
        let Ok(first) = first.identity() else {
            return Ok(Outcome::Conflict { offset, id: "".into() });
        };
        if first.fingerprint != event.fingerprint {
            return Ok(Outcome::Conflict { offset, id: first.id });
        }
        if attempts > 1 && first.id == event.id && first.received_at == received_at {
            // An earlier attempt was stored, and only its acknowledgement was lost.
            return Ok(Outcome::Stored { offset });
        }
        Ok(Outcome::Duplicate { offset, id: first.id })
    }

    fn conclude(&self, outcomes: Vec<Option<Outcome>>) -> Vec<Outcome> {
        let outcomes: Vec<Outcome> = outcomes.into_iter().flatten().collect();
        let mut end = Offset::default();
        for outcome in &outcomes {
            let (counter, offset) = match outcome {
                Outcome::Stored { offset } => (&self.counters.stored, offset),
                Outcome::Duplicate { offset, .. } => (&self.counters.duplicates, offset),
                Outcome::Conflict { offset, .. } => (&self.counters.conflicts, offset),
            };
            counter.fetch_add(1, Ordering::Relaxed);
            end = end.max(offset.next());
        }
        self.advance(end);
        outcomes
    }
}

/// Events that count as waiting until this is dropped.
struct Queued<'a> {
    shared: &'a Shared,
    count: usize,
}

impl Drop for Queued<'_> {
    fn drop(&mut self) {
        if self.shared.queued.fetch_sub(self.count, Ordering::SeqCst) == self.count {
            self.shared.drained.notify_waiters();
        }
    }
}

/// Events of a batch that go one after the other, by their places in it.
#[derive(Debug, PartialEq, Eq)]
struct Lane {
    lock: usize,
    events: Vec<usize>,
}

/// Divides a batch into lanes, in the order of their first events, and what repeats a key of the same batch.
fn plan(events: &[NewEvent]) -> (Vec<Lane>, Vec<usize>) {
    let mut lanes: Vec<Lane> = Vec::new();
    let mut by_lock = HashMap::new();
    let mut keys = HashSet::new();
    let mut repeated = Vec::new();
    for (index, event) in events.iter().enumerate() {
        if event.key.is_some_and(|key| !keys.insert(key)) {
            repeated.push(index);
            continue;
        }
        let lock = lock_of(event.lane);
        let place = *by_lock.entry(lock).or_insert_with(|| {
            lanes.push(Lane { lock, events: Vec::new() });
            lanes.len() - 1
        });
        lanes[place].events.push(index);
    }
    (lanes, repeated)
}

fn lock_of(lane: events::Lane) -> usize {
    // The remainder is below the number of locks.
    usize::try_from(lane.0 % LANE_LOCKS as u64).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use bytes::Bytes;
    use events::{EventKey, EventLog as _};
    use platform::{SimRng, SystemClock};
    use secrecy::SecretString;

    use super::*;
    use crate::settings::Settings;

    fn event(lane: u64, key: Option<u128>) -> NewEvent {
        NewEvent {
            envelope: Bytes::new(),
            id: "".into(),
            key: key.map(EventKey),
            fingerprint: 0,
            lane: events::Lane(lane),
        }
    }

    #[tokio::test]
    async fn a_refusal_that_all_tenants_hear_does_not_name_an_event() {
        let settings = Settings::new(SecretString::from("nats://127.0.0.1:1"));
        let connecting = super::super::connect(settings, SystemClock::new(), SimRng::new(1));
        let log = connecting.await.expect("settings").log;
        let nobody = ApiError::NoResponders("events.bank.custom.secret".to_owned());
        let judged = log.shared.judge(nobody, 1).expect("it is tried again").to_string();
        let refusal = log.refusal().expect("it is not connected");
        for told in [judged, refusal] {
            assert!(told.contains("'CAUSALITY_EVENTS' does not answer"), "{told}");
            assert!(!told.contains("bank"), "{told}");
        }
    }

    #[test]
    fn a_lane_keeps_its_order_and_repeated_keys_come_last() {
        let events = [
            event(2, Some(1)),
            event(1, None),
            event(2, None),
            event(1, Some(1)),
            event(2 + LANE_LOCKS as u64, Some(2)),
        ];
        let (lanes, repeated) = plan(&events);
        assert_eq!(
            lanes,
            [Lane { lock: 2, events: vec![0, 2, 4] }, Lane { lock: 1, events: vec![1] }]
        );
        assert_eq!(repeated, [3]);
    }
}
