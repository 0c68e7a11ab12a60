//! Watches containerd: when to look, what to do while it does not answer.

use std::sync::Arc;
use std::time::Duration;

use platform::{Clock, Rng, Tasks};
use prost::Message as _;
use report::Source;
use tokio::sync::mpsc;
use tonic::Streaming;

use super::look::{look, quoted};
use super::observation::{ImageChange, Observation};
use super::tracker::Tracker;
use super::{Look, Snapshot, Watcher};
use crate::containerd::proto::events::Envelope;
use crate::containerd::proto::images::ImageEvent;
use crate::containerd::{Containerd, ContainerdError, ContainerdSettings};

/// What is heard of events: what begins, unpacks and ends pulls.
const TOPICS: [&str; 3] = [
    r#"topic~="^/images/(create|update)""#,
    r#"topic~="^/snapshot/""#,
    r#"topic=="/content/create""#,
];
/// How many events wait until the next look; containerd keeps the others.
const EVENTS_MAX: usize = 256;
/// How many names that changed are remembered until the next look.
const CHANGES_MAX: usize = 1_024;
/// The shortest and the longest wait before containerd is tried again.
const RETRY: (Duration, Duration) = (Duration::from_millis(250), Duration::from_secs(15));
/// How long an error is, in bytes.
const ERROR_BYTES_MAX: usize = 1_024;

/// When to look.
#[derive(Clone, Copy, Debug)]
pub struct Pace {
    /// The time between two looks while a pull runs.
    pub active: Duration,
    /// The time between two looks while none runs; events of containerd cut it short.
    pub idle: Duration,
    /// After how long without any change a pull is taken for over although its lease is there; six times as long while a
    /// layer is unpacked.
    pub abandoned_after: Duration,
}

impl Default for Pace {
    fn default() -> Self {
        Self {
            active: Duration::from_millis(250),
            // Containerd does not tell when a pull begins, and people watch for that. Two short calls a second are next to
            // nothing while there are no ingests to list.
            idle: Duration::from_secs(1),
            abandoned_after: Duration::from_secs(600),
        }
    }
}

/// Watches the pulls of containerd through its API.
#[derive(Debug)]
pub struct ContainerdWatcher {
    settings: ContainerdSettings,
    pace: Pace,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    tracker: Tracker,
    session: Option<Session>,
    runtime: String,
    /// When to look next, by the monotonic clock.
    due: Duration,
    failures: u32,
    /// What is to be told to the tracker with the next look that succeeds.
    changes: Vec<ImageChange>,
    restarted: bool,
}

/// What lives as long as a connection.
#[derive(Debug)]
struct Session {
    containerd: Containerd,
    /// `None` when this containerd has none.
    events: Option<mpsc::Receiver<Envelope>>,
    /// Listens to the events.
    _listener: Tasks,
}

impl ContainerdWatcher {
    /// Returns a watcher. It connects when it first looks.
    #[must_use]
    pub fn new(
        settings: ContainerdSettings,
        pace: Pace,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        Self {
            settings,
            pace,
            rng,
            tracker: Tracker::new(pace.abandoned_after),
            session: None,
            runtime: String::new(),
            due: clock.monotonic(),
            failures: 0,
            changes: Vec::new(),
            restarted: false,
            clock,
        }
    }

    /// Waits until it is time to look, or until an event says that there is something to see.
    async fn wait(&mut self) {
        let due = self.clock.sleep_until(self.due);
        let Some(session) = &mut self.session else { return due.await };
        let Some(events) = &mut session.events else { return due.await };
        tokio::select! {
            biased;
            event = events.recv() => match event {
                Some(event) => note(&mut self.changes, &event),
                None => {
                    session.events = None;
                    // Either containerd ended, or it has no events: looking tells.
                }
            },
            () = due => {}
        }
    }

    async fn look(&mut self) -> Snapshot {
        let result = self.try_look().await;
        let error = match result {
            Ok(()) => {
                self.failures = 0;
                String::new()
            }
            Err(error) => {
                // Whoever asked logs when looking begins and ceases to fail.
                tracing::debug!(%error, failures = self.failures, "cannot look at containerd");
                self.failures = self.failures.saturating_add(1);
                let mut text = error.to_string();
                text.truncate(text.floor_char_boundary(ERROR_BYTES_MAX));
                text
            }
        };
        let active = self.tracker.is_active();
        self.due = self.clock.monotonic() + self.pause(active);
        Snapshot {
            pulls: self.tracker.reports(),
            runtime: self.runtime.clone(),
            source: Source::Containerd,
            error,
            active,
        }
    }

    async fn try_look(&mut self) -> Result<(), ContainerdError> {
        if self.session.as_ref().is_some_and(|session| session.containerd.is_closed()) {
            // The other end of this socket ends only with containerd, and with it every pull.
            self.session = None;
            self.restarted = true;
        }
        if self.session.is_none() {
            self.session = Some(self.connect().await?);
        }
        let Some(session) = &mut self.session else { return Ok(()) };
        if let Some(events) = &mut session.events {
            while let Ok(event) = events.try_recv() {
                note(&mut self.changes, &event);
            }
        }
        let mut seen = Observation {
            changes: self.changes.clone(),
            restarted: self.restarted,
            ..Observation::default()
        };
        look(&session.containerd, &self.tracker, &mut seen).await?;
        self.tracker.step(self.clock.now(), &seen);
        self.changes.clear();
        self.restarted = false;
        Ok(())
    }

    async fn connect(&mut self) -> Result<Session, ContainerdError> {
        let containerd = Containerd::connect(&self.settings, Arc::clone(&self.clock)).await?;
        self.runtime = format!("containerd {}", containerd.version().await?);
        let namespace = quoted(&self.settings.namespace);
        let filters = TOPICS.map(|topic| format!("{topic},namespace=={namespace}")).to_vec();
        let (sender, events) = mpsc::channel(EVENTS_MAX);
        let mut listener = Tasks::new();
        listener.spawn("containerd-events", listen(containerd.events(filters), sender));
        tracing::info!(runtime = self.runtime, "connected to containerd");
        Ok(Session { containerd, events: Some(events), _listener: listener })
    }

    /// Returns how long to wait until the next look.
    fn pause(&self, active: bool) -> Duration {
        if self.failures > 0 {
            let (shortest, longest) = RETRY;
            let doubled =
                shortest.saturating_mul(1_u32.checked_shl(self.failures - 1).unwrap_or(u32::MAX));
            let wait = doubled.min(longest);
            // Between half of it and all of it.
            let part = u32::try_from(self.rng.next_u64() % 1_000).unwrap_or_default();
            return wait / 2 + wait / 2_000 * part;
        }
        if active { self.pace.active } else { self.pace.idle }
    }
}

impl Watcher for ContainerdWatcher {
    fn next(&mut self) -> Look<'_> {
        Box::pin(async move {
            self.wait().await;
            self.look().await
        })
    }

    fn acknowledged(&mut self, ended: &[String]) {
        self.tracker.acknowledged(ended);
    }
}

/// Passes events on until there are no more. containerd does not answer before the first event, however long that takes.
async fn listen(
    listening: impl Future<Output = Result<Streaming<Envelope>, ContainerdError>>,
    sender: mpsc::Sender<Envelope>,
) {
    let mut events = match listening.await {
        Ok(events) => events,
        Err(error) => {
            tracing::debug!(%error, "cannot listen to events of containerd");
            return;
        }
    };
    while let Ok(Some(event)) = events.message().await {
        if sender.send(event).await.is_err() {
            return;
        }
    }
}

fn note(changes: &mut Vec<ImageChange>, event: &Envelope) {
    let is_new = match event.topic.as_str() {
        "/images/create" => true,
        "/images/update" => false,
        _ => return,
    };
    let payload = event.event.as_ref().map(|event| event.value.as_slice()).unwrap_or_default();
    let Ok(ImageEvent { name }) = ImageEvent::decode(payload) else { return };
    if let Some(change) = changes.iter_mut().find(|change| change.name == name) {
        change.is_new |= is_new;
    } else if changes.len() < CHANGES_MAX {
        changes.push(ImageChange { name, is_new });
    }
}
