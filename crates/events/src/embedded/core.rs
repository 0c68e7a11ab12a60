//! Storing: what is new gets an offset under one short lock; the disk is waited for outside of it.

use std::collections::{BTreeMap, VecDeque};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use journal::{Journal, JournalError, Sequence};
use model::Timestamp;
use parking_lot::Mutex;
use platform::Clock;
use tokio::sync::watch;

use crate::deduplication::{Check, Deduplication, DeduplicationError, KeyEntry, Known};
use crate::embedded::config::EmbeddedConfig;
use crate::embedded::consumers::Consumers;
use crate::embedded::record::{ID_BYTES_MAX, Record};
use crate::embedded::retention::{Held, Retention};
use crate::embedded::upkeep::Backoff;
use crate::{Batch, LogError, NewEvent, Offset, Outcome};

/// When a sender is told to come again: about when the log is maintained the next time.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(5);

/// The log behind all its handles.
#[derive(Debug)]
pub(crate) struct Core {
    // Lock order: `retention`, then `intake`, then those of the journal. `held` and `times` are taken for moments only.
    pub(crate) intake: Mutex<Intake>,
    pub(crate) journal: Journal,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) config: EmbeddedConfig,
    pub(crate) end: watch::Sender<Offset>,
    pub(crate) consumers: Consumers,
    pub(crate) retention: Mutex<Retention>,
    /// Why nothing can be stored within the bytes that the log may have.
    pub(crate) held: Mutex<Option<Held>>,
    /// When the first entry of a segment arrived, by its first sequence, as far as somebody wanted to know.
    pub(crate) times: Mutex<BTreeMap<u64, Timestamp>>,
    pub(crate) backoff: Mutex<Backoff>,
    pub(crate) counts: Counts,
}

/// What happened since the start.
#[derive(Debug, Default)]
pub(crate) struct Counts {
    pub(crate) stored: AtomicU64,
    pub(crate) duplicates: AtomicU64,
    pub(crate) conflicts: AtomicU64,
}

/// What waits for the disk, and the keys.
#[derive(Debug)]
pub(crate) struct Intake {
    pub(crate) keys: Deduplication,
    /// Batches whose durability is open, in the order of their offsets.
    waiting: VecDeque<Waiting>,
    pub(crate) events: usize,
    bytes: usize,
    /// The last offset that was given out.
    last: Offset,
}

#[derive(Debug)]
struct Waiting {
    first: Offset,
    last: Offset,
    bytes: usize,
}

impl Waiting {
    fn events(&self) -> usize {
        let more = self.last.0.saturating_sub(self.first.0);
        usize::try_from(more).unwrap_or(usize::MAX).saturating_add(1)
    }
}

/// What is going to be the outcome of an event.
#[derive(Clone, Copy, Debug)]
enum Plan {
    /// Stored, once it is durable.
    New(Offset),
    /// A repetition of what is durable.
    Known(Known),
    /// A repetition of what is not durable yet.
    Pending(Known),
}

/// A batch as records, one behind the other.
#[derive(Debug)]
struct Encoded {
    bytes: Vec<u8>,
    /// Where each record ends.
    ends: Vec<usize>,
}

impl Intake {
    pub(crate) fn new(keys: Deduplication, last: Offset) -> Self {
        Self { keys, waiting: VecDeque::new(), events: 0, bytes: 0, last }
    }
}

impl Core {
    /// See [`EventLog::append`](crate::EventLog::append).
    pub(crate) async fn append(self: Arc<Self>, batch: Batch) -> Result<Vec<Outcome>, LogError> {
        let encoded = Encoded::new(&batch, &self.config)?;
        let plans = self.queue(&batch, &encoded)?;
        drop((batch, encoded));
        self.wait(&plans).await?;
        // The thread that commits does this too; whoever is first lets the caller see what it was told.
        self.settle();
        let mut outcomes = Vec::with_capacity(plans.len());
        for plan in plans {
            outcomes.push(match plan {
                Plan::New(offset) => Outcome::Stored { offset },
                Plan::Known(known) | Plan::Pending(known) => {
                    Arc::clone(&self).repetition(known).await?
                }
            });
        }
        Ok(outcomes)
    }

    /// Confirms the keys of what became durable, forgets those of what was refused, and moves the end.
    pub(crate) fn settle(&self) {
        self.settle_locked(&mut self.intake.lock());
    }

    /// Decides about each event and queues those that are new, all of them or none.
    fn queue(&self, batch: &Batch, encoded: &Encoded) -> Result<Vec<Plan>, LogError> {
        if let Some(held) = &*self.held.lock() {
            return Err(held.error());
        }
        let mut intake = self.intake.lock();
        // What was refused before the journal went on must not be taken for pending.
        self.settle_locked(&mut intake);
        self.admit(&intake, batch.events.len(), encoded.bytes.len())?;
        let first = intake.last.next();
        let queued = self.plan(&mut intake.keys, batch, first).and_then(|plans| {
            let new = |(plan, _): &(&Plan, _)| matches!(plan, Plan::New(_));
            let records = plans.iter().zip(encoded.records()).filter(new).map(|(_, r)| r);
            let appended = self.journal.append_all(records).map_err(unavailable)?;
            Ok((plans, appended))
        });
        let (plans, appended) = match queued {
            Ok(queued) => queued,
            Err(error) => {
                intake.keys.forget(first..=Offset(u64::MAX));
                return Err(error);
            }
        };
        if let Some((sequence, last)) = appended {
            assert_eq!(sequence.0, first.0, "only this appends to the journal");
            let last = Offset(last.0);
            let waiting = Waiting { first, last, bytes: encoded.bytes.len() };
            intake.events = intake.events.saturating_add(waiting.events());
            intake.bytes = intake.bytes.saturating_add(waiting.bytes);
            intake.last = last;
            intake.waiting.push_back(waiting);
        }
        Ok(plans)
    }

    /// Refuses a batch for which there is no room beside what waits for the disk.
    fn admit(&self, intake: &Intake, events: usize, bytes: usize) -> Result<(), LogError> {
        let config = &self.config;
        let reason = if intake.events.saturating_add(events) > config.in_flight_events_max {
            format!("{} events wait for the disk", intake.events)
        } else if intake.bytes.saturating_add(bytes) > config.in_flight_bytes_max {
            format!("{} bytes wait for the disk", intake.bytes)
        } else {
            return Ok(());
        };
        Err(LogError::Overloaded { reason })
    }

    /// Says what each event is, and reserves the keys of the new ones, the first of which gets the offset `first`.
    fn plan(
        &self,
        keys: &mut Deduplication,
        batch: &Batch,
        first: Offset,
    ) -> Result<Vec<Plan>, LogError> {
        let now = keys.now();
        let mut next = first;
        let mut plans = Vec::with_capacity(batch.events.len());
        for event in &batch.events {
            let plan = plan_event(keys, event, next, now)?;
            if let Plan::New(offset) = plan {
                next = offset.next();
            }
            plans.push(plan);
        }
        Ok(plans)
    }

    /// Waits until everything that the outcomes say is durable.
    async fn wait(&self, plans: &[Plan]) -> Result<(), LogError> {
        let mut wanted: Vec<u64> = Vec::new();
        let mut last = None;
        for plan in plans {
            match plan {
                Plan::New(offset) => last = Some(offset.0),
                Plan::Pending(known) => wanted.push(known.offset.0),
                Plan::Known(_) => {}
            }
        }
        // A batch is durable as a whole, so that its last event stands for all of it.
        wanted.extend(last);
        wanted.sort_unstable();
        wanted.dedup();
        for sequence in wanted {
            self.journal.durable(Sequence(sequence)).await.map_err(unavailable)?;
        }
        Ok(())
    }

    async fn repetition(self: Arc<Self>, known: Known) -> Result<Outcome, LogError> {
        let id = match known.id.text() {
            Some(id) => id,
            None => self.clone().id_at(known.offset).await?,
        };
        let offset = known.offset;
        if known.same_content {
            self.counts.duplicates.fetch_add(1, Ordering::Relaxed);
            Ok(Outcome::Duplicate { offset, id })
        } else {
            self.counts.conflicts.fetch_add(1, Ordering::Relaxed);
            Ok(Outcome::Conflict { offset, id })
        }
    }

    fn settle_locked(&self, intake: &mut Intake) {
        let mut end = None;
        while let Some(waiting) = intake.waiting.front() {
            let Some(outcome) = self.journal.outcome(Sequence(waiting.last.0)) else { break };
            let Some(waiting) = intake.waiting.pop_front() else { break };
            if outcome.is_ok() {
                intake.keys.confirm(waiting.last);
                self.counts.stored.fetch_add(waiting.events() as u64, Ordering::Relaxed);
                end = Some(waiting.last.next());
            } else {
                intake.keys.forget(waiting.first..=waiting.last);
            }
            intake.events = intake.events.saturating_sub(waiting.events());
            intake.bytes = intake.bytes.saturating_sub(waiting.bytes);
        }
        if let Some(end) = end {
            self.end.send_replace(end);
        }
    }
}

fn plan_event(
    keys: &mut Deduplication,
    event: &NewEvent,
    offset: Offset,
    now: Timestamp,
) -> Result<Plan, LogError> {
    let Some(key) = event.key else { return Ok(Plan::New(offset)) };
    match keys.check(key, event.fingerprint, now).map_err(unknown_key)? {
        Check::Known(known) => Ok(Plan::Known(known)),
        Check::Pending(known) => Ok(Plan::Pending(known)),
        Check::Full => {
            Err(LogError::Overloaded { reason: "keys wait to be written to the disk".to_owned() })
        }
        Check::New => {
            let fingerprint = event.fingerprint;
            keys.reserve(&KeyEntry { key, fingerprint, offset, at: now, id: &event.id });
            Ok(Plan::New(offset))
        }
    }
}

impl Encoded {
    fn new(batch: &Batch, config: &EmbeddedConfig) -> Result<Self, LogError> {
        let mut encoded = Self { bytes: Vec::new(), ends: Vec::with_capacity(batch.events.len()) };
        let tenant = batch.tenant.as_str();
        for event in &batch.events {
            let (bytes, limit_bytes) = (event.envelope.len(), config.event_bytes_max);
            if bytes > limit_bytes {
                return Err(LogError::TooLarge { bytes, limit_bytes });
            }
            let record = Record {
                tenant,
                received_at: batch.received_at,
                lane: event.lane,
                key: event.key,
                fingerprint: event.fingerprint,
                id: &event.id,
                envelope: &event.envelope,
            };
            record
                .encode(&mut encoded.bytes)
                .ok_or(LogError::TooLarge { bytes: event.id.len(), limit_bytes: ID_BYTES_MAX })?;
            encoded.ends.push(encoded.bytes.len());
        }
        Ok(encoded)
    }

    fn records(&self) -> impl Iterator<Item = &[u8]> {
        let starts = std::iter::once(0).chain(self.ends.iter().copied());
        starts.zip(&self.ends).map(|(start, end)| self.bytes.get(start..*end).unwrap_or_default())
    }
}

/// Says why the journal did not do what it was asked for, in the words of the log.
pub(crate) fn unavailable(error: JournalError) -> LogError {
    match error {
        JournalError::Closed => LogError::Closed,
        JournalError::RecordTooLarge { bytes, limit_bytes } => {
            LogError::TooLarge { bytes, limit_bytes }
        }
        JournalError::Overloaded { .. } => LogError::Overloaded { reason: error.to_string() },
        JournalError::Fs(error) => LogError::Unavailable {
            reason: format!("{error}: {}", error.source),
            retry_after: RETRY_AFTER,
        },
        error => LogError::Unavailable { reason: error.to_string(), retry_after: RETRY_AFTER },
    }
}

/// Says why keys could not be looked up or kept, in the words of the log.
pub(crate) fn unknown_key(error: DeduplicationError) -> LogError {
    let reason = match &error {
        DeduplicationError::Fs(source) => format!("{error}: {source}: {}", source.source),
        DeduplicationError::Damaged { .. } => error.to_string(),
    };
    LogError::Unavailable { reason, retry_after: RETRY_AFTER }
}
