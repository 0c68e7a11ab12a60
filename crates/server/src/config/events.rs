//! The sections `events` and `nats`: where events are kept, and what is taken.

use std::path::PathBuf;
use std::time::Duration;

use journal::Durability;
use secrecy::SecretString;

use super::Reader;

/// Most events of one request, whatever is configured: the schema says so.
const BATCH_EVENTS_LIMIT: usize = 1_000;

/// Longest event that may be configured, in bytes: what a record of the log and a message of NATS can carry.
const EVENT_BYTES_LIMIT: usize = 8 << 20;

/// Shortest and longest window of deduplication, in milliseconds.
const WINDOW_MS: std::ops::RangeInclusive<u64> = 1_000..=48 * 3_600_000;

/// Events.
#[derive(Clone, Debug)]
pub(crate) struct EventsConfig {
    pub(crate) engine: EngineKind,
    /// How long events are kept.
    pub(crate) retention: Duration,
    /// Most bytes of events on disk.
    pub(crate) bytes_max: u64,
    pub(crate) durability: Durability,
    /// How long an idempotency key is remembered.
    pub(crate) deduplication_window: Duration,
    pub(crate) batch_events_max: usize,
    pub(crate) event_bytes_max: usize,
    /// How far behind this machine's clock an event's time may be.
    pub(crate) past_max: Duration,
    /// How far ahead of it.
    pub(crate) future_max: Duration,
    pub(crate) dead_letters_retention: Duration,
    pub(crate) dead_letters_bytes_max: u64,
    pub(crate) nats: NatsConfig,
}

/// What the log stands on.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum EngineKind {
    /// Files in the data folder.
    Embedded,
    /// NATS JetStream.
    Nats,
}

/// The connection to NATS.
#[derive(Clone, Debug)]
pub(crate) struct NatsConfig {
    /// The servers, separated by commas; may hold a password.
    pub(crate) url: Option<SecretString>,
    /// The content of a credentials file.
    pub(crate) credentials: Option<SecretString>,
    pub(crate) token: Option<SecretString>,
    pub(crate) client_name: String,
    pub(crate) timeout: Duration,
    pub(crate) tls_required: bool,
    /// PEM; empty for the system's authorities.
    pub(crate) ca_file: PathBuf,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) stream: String,
    pub(crate) dead_letters_stream: String,
    pub(crate) replicas: usize,
    pub(crate) in_memory: bool,
}

/// Reads the sections; mistakes are collected by the reader.
pub(super) fn read(reader: &mut Reader<'_>) -> EventsConfig {
    let engines = [("embedded", EngineKind::Embedded), ("nats", EngineKind::Nats)];
    let durabilities = [("fsync", Durability::Fsync), ("os", Durability::Os)];
    let mut duration = |path: &str| Duration::from_millis(reader.duration_ms(path));
    let retention = duration("events.log.retention");
    let deduplication_window = duration("events.deduplication.window");
    let past_max = duration("events.limits.past_window");
    let future_max = duration("events.limits.future_window");
    let dead_letters_retention = duration("events.dead_letters.retention");
    EventsConfig {
        engine: reader.choice("events.log.engine", &engines).unwrap_or(EngineKind::Embedded),
        retention,
        bytes_max: reader.bytes("events.log.bytes_max"),
        durability: reader
            .choice("events.log.durability", &durabilities)
            .unwrap_or(Durability::Fsync),
        deduplication_window,
        batch_events_max: reader.count("events.limits.batch_events"),
        event_bytes_max: reader.count_bytes("events.limits.event_bytes"),
        past_max,
        future_max,
        dead_letters_retention,
        dead_letters_bytes_max: reader.bytes("events.dead_letters.bytes_max"),
        nats: read_nats(reader),
    }
}

fn read_nats(reader: &mut Reader<'_>) -> NatsConfig {
    NatsConfig {
        url: reader.secret("nats.url"),
        credentials: reader.secret("nats.credentials"),
        token: reader.secret("nats.token"),
        client_name: reader.text("nats.client_name"),
        timeout: Duration::from_millis(reader.duration_ms("nats.timeout")),
        tls_required: reader.boolean("nats.tls.required"),
        ca_file: PathBuf::from(reader.text("nats.tls.ca_file")),
        certificate_file: PathBuf::from(reader.text("nats.tls.certificate_file")),
        key_file: PathBuf::from(reader.text("nats.tls.key_file")),
        stream: reader.text("nats.stream.name"),
        dead_letters_stream: reader.text("nats.stream.dead_letters_name"),
        replicas: reader.count("nats.stream.replicas"),
        in_memory: reader
            .choice("nats.stream.storage", &[("file", false), ("memory", true)])
            .unwrap_or_default(),
    }
}

impl EventsConfig {
    /// Checks what a single key cannot say.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        let window_ms = u64::try_from(self.deduplication_window.as_millis()).unwrap_or(u64::MAX);
        if !WINDOW_MS.contains(&window_ms) {
            reader.mistake("events.deduplication.window", "must be from 1s to 2d");
        }
        if self.retention < self.deduplication_window {
            let message = "must not be shorter than events.deduplication.window";
            reader.mistake("events.log.retention", message);
        }
        if !(1..=BATCH_EVENTS_LIMIT).contains(&self.batch_events_max) {
            let message = format!("must be from 1 to {BATCH_EVENTS_LIMIT}");
            reader.mistake("events.limits.batch_events", &message);
        }
        if !(1_024..=EVENT_BYTES_LIMIT).contains(&self.event_bytes_max) {
            reader.mistake("events.limits.event_bytes", "must be from 1KiB to 8MiB");
        }
        // Two segments of the log, so that there is one to remove.
        if self.bytes_max < 128 << 20 {
            reader.mistake("events.log.bytes_max", "must be at least 128MiB");
        }
        if self.dead_letters_bytes_max < 16 << 20 {
            reader.mistake("events.dead_letters.bytes_max", "must be at least 16MiB");
        }
        let zero = [
            ("events.limits.past_window", self.past_max),
            ("events.limits.future_window", self.future_max),
            ("events.dead_letters.retention", self.dead_letters_retention),
            ("nats.timeout", self.nats.timeout),
        ];
        for (path, _) in zero.iter().filter(|(_, duration)| duration.is_zero()) {
            reader.mistake(path, "must be more than 0");
        }
        self.nats.check(self.engine, reader);
    }
}

impl NatsConfig {
    fn check(&self, engine: EngineKind, reader: &mut Reader<'_>) {
        if engine == EngineKind::Nats && self.url.is_none() {
            reader.mistake("nats.url", "must name a server, such as nats://localhost:4222");
        }
        if self.credentials.is_some() && self.token.is_some() {
            reader.mistake("nats.token", "and nats.credentials are given; remove one of them");
        }
        if self.certificate_file.as_os_str().is_empty() != self.key_file.as_os_str().is_empty() {
            let message = "and nats.tls.key_file need each other";
            reader.mistake("nats.tls.certificate_file", message);
        }
        if !(1..=5).contains(&self.replicas) {
            reader.mistake("nats.stream.replicas", "must be from 1 to 5");
        }
        for (path, name) in [
            ("nats.stream.name", &self.stream),
            ("nats.stream.dead_letters_name", &self.dead_letters_stream),
        ] {
            let is_plain = |c: char| c.is_ascii_alphanumeric() || "_-".contains(c);
            if name.is_empty() || name.len() > 64 || !name.chars().all(is_plain) {
                reader.mistake(path, "must be 1 to 64 of A-Z a-z 0-9 _ -");
            }
        }
        if self.stream == self.dead_letters_stream {
            let message = "must be another one than nats.stream.name";
            reader.mistake("nats.stream.dead_letters_name", message);
        }
    }
}
