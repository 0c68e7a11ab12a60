//! Opens the log of events and what stands before and behind it, and drives what has no thread of its own.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{Events, HealthCheck};
use events::{
    CustomSchemas, DeadLetters, DeadLettersConfig, EmbeddedConfig, EmbeddedDeadLetters,
    EmbeddedLog, EventLog, Gateway, GatewaySettings,
};
use jetstream::{Authentication, ClientCertificate, JetStreamLog, Settings, Storage, TlsSettings};
use platform::{Clock, Fs, Rng, Threads};
use secrecy::SecretString;
use state::Database;
use tokio::runtime::Runtime;
use tokio::sync::mpsc;

use crate::Failure;
use crate::config::{Config, EngineKind, EventsConfig, NatsConfig};
use crate::threads::{self, Stop};

/// The folder of events within the data folder.
pub(crate) const EVENTS_FOLDER: &str = "events";
/// The folder of dead letters within that of events.
pub(crate) const DEAD_LETTERS_FOLDER: &str = "dead-letters";

/// How often the embedded log looks whether there is something to maintain. A log that the disk refused goes on that
/// soon after there is room again.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(1);

/// Longest PEM file of NATS, in bytes.
const PEM_BYTES_MAX: u64 = 1 << 20;

/// The log of events, what stands before and behind it, and what keeps it going.
#[derive(Debug)]
pub(crate) struct EventParts {
    pub(crate) events: Events,
    engine: Engine,
}

#[derive(Debug)]
enum Engine {
    Embedded { log: Arc<EmbeddedLog>, dead_letters: Arc<EmbeddedDeadLetters> },
    Nats(Arc<JetStreamLog>),
}

impl Engine {
    const fn name(&self) -> &'static str {
        match self {
            Self::Embedded { .. } => "embedded",
            Self::Nats(_) => "nats",
        }
    }
}

impl EventParts {
    /// Opens the log. Blocking: the embedded one reads what it has to know.
    ///
    /// # Errors
    ///
    /// The files or the state database cannot be read, or a setting of NATS is wrong. A server of NATS that cannot be
    /// reached is no error: it is tried again.
    pub(crate) fn open(
        config: &Config,
        runtime: &Runtime,
        (fs, clock, rng): (Arc<dyn Fs>, Arc<dyn Clock>, Arc<dyn Rng>),
        database: Database,
    ) -> Result<Self, Failure> {
        let (engine, log, dead_letters): (_, Arc<dyn EventLog>, Arc<dyn DeadLetters>) = match config
            .events
            .engine
        {
            EngineKind::Embedded => {
                let (log, letters) = open_embedded(config, &fs, &clock)?;
                let engine =
                    Engine::Embedded { log: Arc::clone(&log), dead_letters: Arc::clone(&letters) };
                (engine, log, letters)
            }
            EngineKind::Nats => {
                let settings = nats_settings(&config.events, fs.as_ref())?;
                let connecting = jetstream::connect(settings, Arc::clone(&clock), Arc::clone(&rng));
                let connected = runtime.block_on(connecting).context("set up NATS")?;
                let engine = Engine::Nats(Arc::clone(&connected.log));
                (engine, connected.log, connected.dead_letters)
            }
        };
        let schemas = runtime
            .block_on(CustomSchemas::open(database, Arc::clone(&clock)))
            .context("read the schemas of custom events")?;
        let gateway = Arc::new(Gateway::new(
            Arc::clone(&log),
            Arc::clone(&dead_letters),
            Arc::clone(&schemas),
            clock,
            rng,
            gateway_settings(&config.events),
        ));
        Ok(Self {
            events: Events { engine: engine.name(), gateway, log, dead_letters, schemas },
            engine,
        })
    }

    /// Starts the threads of the embedded log; dropping what is returned ends the periodic one.
    ///
    /// # Errors
    ///
    /// A thread cannot be started.
    pub(crate) fn start(
        &self,
        threads: &mut Threads,
        fatal: &mpsc::Sender<String>,
    ) -> Result<Option<Stop>, Failure> {
        let Engine::Embedded { log, dead_letters } = &self.engine else { return Ok(None) };
        let committing = Arc::clone(log);
        threads::run("events", threads, fatal, move || commit_until_closed(&committing))?;
        let (log, dead_letters) = (Arc::clone(log), Arc::clone(dead_letters));
        let (mut failing_log, mut failing_letters) = (None, None);
        let step = move || {
            let done = log.maintain();
            if let Some(done) = said_once("event log", done, &mut failing_log)
                && (done.resumed || done.segments_removed > 0)
            {
                let (segments_removed, resumed) = (done.segments_removed, done.resumed);
                tracing::info!(segments_removed, resumed, "event log maintained");
            }
            said_once("dead letters", dead_letters.maintain(), &mut failing_letters);
        };
        threads::every("event-maintenance", MAINTENANCE_INTERVAL, threads, fatal, step).map(Some)
    }

    /// Ends what requests wait for: what was accepted is durable when this returns, or was never acknowledged.
    pub(crate) async fn close(&self, timeout: Duration) -> anyhow::Result<()> {
        match &self.engine {
            Engine::Embedded { log, dead_letters } => {
                let (log, dead_letters) = (Arc::clone(log), Arc::clone(dead_letters));
                let closing = move || {
                    log.close();
                    dead_letters.close();
                };
                tokio::task::spawn_blocking(closing).await.context("close the event log")
            }
            Engine::Nats(log) => {
                if !log.close(timeout).await {
                    tracing::warn!("connection to NATS was closed before all answers were there");
                }
                Ok(())
            }
        }
    }
}

/// Says whether events are taken.
#[derive(Debug)]
pub(crate) struct EventsCheck(pub(crate) Events);

impl HealthCheck for EventsCheck {
    fn name(&self) -> &'static str {
        "events"
    }

    fn problem(&self) -> Option<String> {
        self.0.log.refusal().or_else(|| self.0.schemas.problem())
    }
}

fn open_embedded(
    config: &Config,
    fs: &Arc<dyn Fs>,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<EmbeddedLog>, Arc<EmbeddedDeadLetters>), Failure> {
    let folder = config.data_dir.join(EVENTS_FOLDER);
    let began = clock.monotonic();
    let (log, opening) =
        EmbeddedLog::open(Arc::clone(fs), &folder, Arc::clone(clock), log_config(&config.events))
            .with_context(|| format!("open the event log in '{}'", folder.display()))?;
    let took = clock.monotonic().saturating_sub(began);
    tracing::info!(
        segments = opening.segments,
        entries_read = opening.entries_read,
        torn_bytes = opening.torn_bytes,
        took_ms = u64::try_from(took.as_millis()).unwrap_or(u64::MAX),
        "event log opened"
    );
    for damaged in &opening.damage {
        tracing::error!(damaged, "damage in the event log was set aside, the rest is served");
    }
    let folder: PathBuf = folder.join(DEAD_LETTERS_FOLDER);
    let letters = DeadLettersConfig {
        durability: config.events.durability,
        retention: config.events.dead_letters_retention,
        bytes_max: config.events.dead_letters_bytes_max,
        ..DeadLettersConfig::default()
    };
    let (dead_letters, opening) =
        EmbeddedDeadLetters::open(Arc::clone(fs), &folder, Arc::clone(clock), letters)
            .with_context(|| format!("open the dead letters in '{}'", folder.display()))?;
    for damaged in &opening.damage {
        tracing::error!(damaged, "damage in the dead letters was set aside, the rest is served");
    }
    Ok((Arc::new(log), Arc::new(dead_letters)))
}

fn log_config(config: &EventsConfig) -> EmbeddedConfig {
    EmbeddedConfig {
        durability: config.durability,
        // What completing an event adds to it, and more.
        event_bytes_max: config.event_bytes_max.saturating_add(4_096),
        retention: (!config.retention.is_zero()).then_some(config.retention),
        bytes_max: Some(config.bytes_max),
        deduplication_window: config.deduplication_window,
        ..EmbeddedConfig::default()
    }
}

fn gateway_settings(config: &EventsConfig) -> GatewaySettings {
    GatewaySettings {
        event_bytes_max: config.event_bytes_max,
        batch_events_max: config.batch_events_max,
        past_max: config.past_max,
        future_max: config.future_max,
        ..GatewaySettings::default()
    }
}

fn nats_settings(config: &EventsConfig, fs: &dyn Fs) -> anyhow::Result<Settings> {
    let NatsConfig { url, credentials, token, .. } = &config.nats;
    let nats = &config.nats;
    let mut settings =
        Settings::new(url.clone().unwrap_or_else(|| SecretString::from(String::new())));
    settings.client_name.clone_from(&nats.client_name);
    settings.authentication = match (credentials, token) {
        (Some(credentials), _) => Authentication::Credentials(credentials.clone()),
        (None, Some(token)) => Authentication::Token(token.clone()),
        (None, None) => Authentication::None,
    };
    settings.tls = nats_tls(nats, fs)?;
    settings.connect_timeout = nats.timeout;
    settings.request_timeout = nats.timeout;
    settings.stream.name.clone_from(&nats.stream);
    settings.stream.age_max = config.retention;
    settings.stream.bytes_max = config.bytes_max;
    settings.stream.replicas = nats.replicas;
    settings.stream.storage = if nats.in_memory { Storage::Memory } else { Storage::File };
    settings.stream.duplicate_window = config.deduplication_window;
    settings.dead_letters.name.clone_from(&nats.dead_letters_stream);
    settings.dead_letters.age_max = config.dead_letters_retention;
    settings.dead_letters.bytes_max = config.dead_letters_bytes_max;
    Ok(settings)
}

fn nats_tls(nats: &NatsConfig, fs: &dyn Fs) -> anyhow::Result<TlsSettings> {
    let read = |path: &PathBuf| {
        let pem = (!path.as_os_str().is_empty()).then(|| fs.read(path, PEM_BYTES_MAX));
        pem.transpose().with_context(|| format!("read '{}'", path.display()))
    };
    let chain = read(&nats.certificate_file)?;
    let key =
        read(&nats.key_file)?.map(String::from_utf8).transpose().context("nats.tls.key_file")?;
    Ok(TlsSettings {
        required: nats.tls_required,
        authorities_pem: read(&nats.ca_file)?,
        client: chain
            .zip(key)
            .map(|(chain_pem, key)| ClientCertificate { chain_pem, key_pem: key.into() }),
    })
}

/// Commits whenever something waits, until the log is closed.
fn commit_until_closed(log: &EmbeddedLog) {
    let mut failing = None;
    while log.wait_for_pending() {
        said_once("event log", log.commit_pending(), &mut failing);
    }
}

/// Logs a failure when it is another one than the last time.
fn said_once<T, E: std::fmt::Display>(
    part: &'static str,
    done: Result<T, E>,
    failing: &mut Option<String>,
) -> Option<T> {
    match done {
        Ok(done) => {
            *failing = None;
            Some(done)
        }
        Err(error) => {
            let reason = error.to_string();
            if failing.as_ref() != Some(&reason) {
                tracing::error!(part, reason, "events can not be made durable or maintained");
                *failing = Some(reason);
            }
            None
        }
    }
}
