//! Configuration: layers of text become one validated, immutable value.
//!
//! The committed `config.default.yaml` is the schema: a key that it lacks is unknown, and every key has a value.
//! All mistakes of all layers are reported at once, each with its path and where it came from.

use std::fmt;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::time::Duration;

use access::{CertificateRule, OidcConfig};
use api::{ClientAuth, CrossOrigin, RequestLimits, TlsVersion};
use ingest::{ScrapeConfig, ScrapeDefaults};
use platform::Fs;
use secrecy::{ExposeSecret as _, SecretString};

use crate::logging::Sampling;
use crate::traces::TracesConfig;

mod events;
mod layers;
mod limits;
mod oidc;
mod pulls;
mod units;

pub(crate) use events::{EngineKind, EventsConfig, NatsConfig};
pub(crate) use layers::{Environment, InForce, Layers, Setting};
pub(crate) use pulls::{ClusterConfig, KubernetesConfig, PullsConfig};

use layers::Reader;

/// The committed defaults.
pub(crate) const DEFAULTS: &str = include_str!("../../../config.default.yaml");

/// Most queries that may be evaluated at the same time: each has a thread.
const QUERIES_CONCURRENT_MAX: usize = 1_024;

/// The whole configuration, validated.
#[derive(Clone, Debug)]
pub(crate) struct Config {
    pub(crate) data_dir: PathBuf,
    pub(crate) server: ServerConfig,
    pub(crate) http: HttpConfig,
    /// How much anybody may ask.
    pub(crate) limits: RequestLimits,
    pub(crate) metrics: tsdb::StoreConfig,
    /// Most bytes that the data folder may take up before `/v1/ingest` refuses; 0 is no limit.
    pub(crate) storage_bytes_max: u64,
    pub(crate) events: EventsConfig,
    pub(crate) pulls: PullsConfig,
    pub(crate) query: QueryConfig,
    pub(crate) collector: CollectorConfig,
    pub(crate) scrape: ScrapeDefaults,
    pub(crate) scrape_configs: Vec<ScrapeConfig>,
    pub(crate) log: LogConfig,
    pub(crate) traces: TracesConfig,
    /// Whether `/metrics` answers everybody.
    pub(crate) metrics_public: bool,
    pub(crate) auth: AuthConfig,
    /// The PostgreSQL server of the state database; `None` for SQLite in the data folder.
    pub(crate) state_url: Option<SecretString>,
    /// Every key with its value and origin, secrets hidden.
    pub(crate) in_force: Vec<InForce>,
}

/// Where to listen and how to stop.
#[derive(Clone, Debug)]
pub(crate) struct ServerConfig {
    pub(crate) listen: SocketAddr,
    pub(crate) tls: TlsConfig,
    pub(crate) shutdown_timeout_ms: u64,
}

/// Who may come in, and how they are known.
#[derive(Clone, Debug)]
pub(crate) struct AuthConfig {
    pub(crate) mode: AuthMode,
    /// The key of the first administrator.
    pub(crate) bootstrap_admin_key: Option<SecretString>,
    /// How long a session lasts, however much it is used.
    pub(crate) session_max_ms: u64,
    /// How long a session lasts without being used.
    pub(crate) session_idle_ms: u64,
    /// Shortest password, in characters.
    pub(crate) password_length_min: usize,
    /// How long the audit log is kept.
    pub(crate) audit_retention_ms: u64,
    /// What the holders of client certificates may do.
    pub(crate) certificates: Vec<CertificateRule>,
    /// Login at an OpenID Connect provider.
    pub(crate) oidc: Option<OidcConfig>,
}

/// Encryption.
#[derive(Clone, Debug)]
pub(crate) struct TlsConfig {
    pub(crate) mode: TlsMode,
    pub(crate) certificate_file: PathBuf,
    pub(crate) key_file: PathBuf,
    pub(crate) minimum_version: TlsVersion,
    pub(crate) client_auth: ClientAuth,
}

/// Where the certificate comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum TlsMode {
    /// There is none: connections are not encrypted.
    None,
    /// From files that somebody else renews.
    Files,
    /// The program makes one that nobody else vouches for.
    SelfSigned,
}

/// Who may come in.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AuthMode {
    /// Everybody on this machine.
    Local,
    /// Everybody, said explicitly.
    None,
    /// Whoever has a key, a session or a client certificate.
    Keys,
}

/// Bounds of requests.
#[derive(Clone, Debug)]
pub(crate) struct HttpConfig {
    pub(crate) connections_max: usize,
    pub(crate) connections_per_address_max: usize,
    pub(crate) body_bytes_max: usize,
    pub(crate) write_body_bytes_max: usize,
    /// The pages of other sites that may send requests.
    pub(crate) cross_origin: CrossOrigin,
}

/// Bounds of queries.
#[derive(Clone, Copy, Debug)]
pub(crate) struct QueryConfig {
    pub(crate) timeout_ms: u64,
    pub(crate) samples_max: u64,
    pub(crate) points_per_series_max: usize,
    /// 0 is one per processor core.
    pub(crate) concurrency: usize,
    pub(crate) lookback_ms: i64,
}

/// The built-in collector.
#[derive(Clone, Copy, Debug)]
pub(crate) struct CollectorConfig {
    pub(crate) enabled: bool,
    pub(crate) interval_ms: u64,
}

/// The log's filter and shape.
#[derive(Clone, Debug)]
pub(crate) struct LogConfig {
    pub(crate) level: String,
    pub(crate) json: bool,
    pub(crate) slow_request_ms: u64,
    pub(crate) sampling: Sampling,
}

/// One mistake in the configuration.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Mistake {
    /// The key's path; empty when a whole file cannot be read.
    pub(crate) path: String,
    /// The layer that says it.
    pub(crate) origin: String,
    /// What is wrong and what would be right.
    pub(crate) message: String,
}

/// All mistakes in the configuration.
#[derive(Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) struct ConfigError(pub(crate) Vec<Mistake>);

impl fmt::Display for ConfigError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let count = self.0.len();
        write!(f, "the configuration has {count} mistake{}", if count == 1 { "" } else { "s" })?;
        for mistake in &self.0 {
            let Mistake { path, origin, message } = mistake;
            if path.is_empty() {
                write!(f, "\n  {origin}: {message}")?;
            } else {
                write!(f, "\n  {path} ({origin}): {message}")?;
            }
        }
        Ok(())
    }
}

impl Config {
    /// Returns the configuration that the layers add up to.
    ///
    /// # Errors
    ///
    /// All mistakes of all layers.
    pub(crate) fn load(layers: Layers, fs: &dyn Fs) -> Result<Self, ConfigError> {
        let mut reader = layers.merge(fs);
        let mut config = Self::read(&mut reader);
        config.check(&mut reader);
        config.in_force = reader.in_force();
        reader.finish()?;
        Ok(config)
    }

    /// Reads every key; a mistake leaves a stand-in and is collected by the reader.
    fn read(reader: &mut Reader<'_>) -> Self {
        Self {
            data_dir: PathBuf::from(reader.text("data_dir")),
            server: ServerConfig {
                listen: reader
                    .parsed("server.listen", "an address and port such as 127.0.0.1:8080")
                    .unwrap_or(SocketAddr::from(([127, 0, 0, 1], 0))),
                tls: read_tls(reader),
                shutdown_timeout_ms: reader.duration_ms("server.shutdown_timeout"),
            },
            http: HttpConfig {
                connections_max: reader.count("http.connections_max"),
                connections_per_address_max: reader.count("http.connections_per_address_max"),
                body_bytes_max: reader.count_bytes("http.body_bytes_max"),
                write_body_bytes_max: reader.count_bytes("http.write_body_bytes_max"),
                cross_origin: read_cross_origin(reader),
            },
            limits: limits::read(reader),
            metrics: read_store(reader),
            storage_bytes_max: reader.bytes("metrics.storage_bytes_max"),
            events: events::read(reader),
            pulls: pulls::read(reader),
            query: QueryConfig {
                timeout_ms: reader.duration_ms("query.timeout"),
                samples_max: reader.number("query.samples_max"),
                points_per_series_max: reader.count("query.points_per_series_max"),
                concurrency: reader.count("query.concurrency"),
                lookback_ms: reader.signed_duration_ms("query.lookback"),
            },
            collector: CollectorConfig {
                enabled: reader.boolean("collector.enabled"),
                interval_ms: reader.duration_ms("collector.interval"),
            },
            scrape: ScrapeDefaults {
                interval: Duration::from_millis(reader.duration_ms("scrape.interval")),
                timeout: Duration::from_millis(reader.duration_ms("scrape.timeout")),
                body_bytes_max: reader.bytes("scrape.body_bytes_max"),
            },
            scrape_configs: reader.list("scrape_configs"),
            log: LogConfig {
                level: reader.text("log.level"),
                json: reader
                    .choice("log.format", &[("human", false), ("json", true)])
                    .unwrap_or_default(),
                slow_request_ms: reader.duration_ms("log.slow_request"),
                sampling: Sampling {
                    lines_max: reader.number("log.sampling.lines"),
                    interval: Duration::from_millis(reader.duration_ms("log.sampling.interval")),
                },
            },
            traces: TracesConfig {
                endpoint: reader.text("tracing.otlp.endpoint"),
                headers: reader.secret("tracing.otlp.headers"),
                timeout: Duration::from_millis(reader.duration_ms("tracing.otlp.timeout")),
                sample_ratio: reader
                    .parsed("tracing.sample_ratio", "a number from 0 to 1")
                    .unwrap_or_default(),
            },
            metrics_public: reader.boolean("telemetry.metrics_public"),
            auth: read_auth(reader),
            state_url: reader.secret("state.url"),
            in_force: Vec::new(),
        }
    }

    /// Checks what a single key cannot say.
    fn check(&self, reader: &mut Reader<'_>) {
        if self.auth.mode == AuthMode::Local && !self.server.listen.ip().is_loopback() {
            reader.mistake(
                "server.listen",
                "without login only a loopback address is allowed; set auth.mode to keys, \
                 or to none if everybody who reaches this address may read and write",
            );
        }
        let shortest = access::PASSWORD_CHARS_MIN;
        if !(shortest..=access::PASSWORD_CHARS_MAX).contains(&self.auth.password_length_min) {
            let longest = access::PASSWORD_CHARS_MAX;
            let reason = format!("must be between {shortest} and {longest}");
            reader.mistake("auth.password_length_min", &reason);
        }
        let is_postgres = |url: &SecretString| {
            let url = url.expose_secret();
            url.starts_with("postgres://") || url.starts_with("postgresql://")
        };
        if self.state_url.as_ref().is_some_and(|url| !is_postgres(url)) {
            let reason = "must begin with postgres://, or be empty for SQLite in the data folder";
            reader.mistake("state.url", reason);
        }
        if self.auth.mode != AuthMode::Keys && self.auth.bootstrap_admin_key.is_some() {
            reader.mistake("auth.mode", "must be keys for a bootstrap key to open anything");
        }
        if self.auth.mode == AuthMode::Local && self.http.cross_origin.is_open() {
            let message = "would let every page that somebody on this machine looks at read and write; list the \
                           origins, or set auth.mode to keys";
            reader.mistake("http.cors.allowed_origins", message);
        }
        self.server.tls.check(reader);
        self.events.check(reader);
        self.pulls.check(reader);
        if self.auth.mode != AuthMode::Keys && !self.pulls.agent_tokens.is_empty() {
            reader.mistake("auth.mode", "must be keys for a token of agents to be asked for");
        }
        if self.auth.mode != AuthMode::Keys && self.auth.oidc.is_some() {
            reader.mistake("auth.mode", "must be keys for people to log in");
        }
        if self.auth.mode != AuthMode::Keys && !self.auth.certificates.is_empty() {
            reader.mistake("auth.mode", "must be keys for certificates to open anything");
        }
        if matches!(self.server.tls.client_auth, ClientAuth::None)
            && !self.auth.certificates.is_empty()
        {
            let message = "needs server.tls.client_auth: nobody shows a certificate otherwise";
            reader.mistake("auth.certificates", message);
        }
        for (path, value) in [
            ("http.connections_max", self.http.connections_max as u64),
            ("http.connections_per_address_max", self.http.connections_per_address_max as u64),
            ("http.body_bytes_max", self.http.body_bytes_max as u64),
            ("http.write_body_bytes_max", self.http.write_body_bytes_max as u64),
            ("auth.session.lifetime", self.auth.session_max_ms),
            ("auth.session.idle", self.auth.session_idle_ms),
            ("query.timeout", self.query.timeout_ms),
            ("query.samples_max", self.query.samples_max),
            ("query.points_per_series_max", self.query.points_per_series_max as u64),
            ("query.lookback", self.query.lookback_ms.unsigned_abs()),
            ("collector.interval", self.collector.interval_ms),
            ("metrics.block_range", self.metrics.block_range_ms.unsigned_abs()),
            ("metrics.head_bytes_max", self.metrics.head_bytes_max),
            ("tracing.otlp.timeout", self.traces.timeout.as_millis() as u64),
            ("log.slow_request", self.log.slow_request_ms),
            ("log.sampling.interval", self.log.sampling.interval.as_millis() as u64),
        ] {
            if value == 0 {
                reader.mistake(path, "must be more than 0");
            }
        }
        if !(0.0..=1.0).contains(&self.traces.sample_ratio) {
            reader.mistake("tracing.sample_ratio", "must be from 0 to 1");
        }
        let endpoint = &self.traces.endpoint;
        let is_url = ["http://", "https://"].iter().any(|scheme| endpoint.starts_with(scheme));
        if !endpoint.is_empty() && !is_url {
            reader.mistake("tracing.otlp.endpoint", "must begin with http:// or https://");
        }
        if self.query.concurrency > QUERIES_CONCURRENT_MAX {
            let reason = format!("must be at most {QUERIES_CONCURRENT_MAX}");
            reader.mistake("query.concurrency", &reason);
        }
        if self.scrape.interval.is_zero() || self.scrape.timeout.is_zero() {
            reader.mistake("scrape.interval", "and scrape.timeout must be more than 0");
        }
        if self.scrape.timeout > self.scrape.interval {
            reader.mistake("scrape.timeout", "must not be longer than scrape.interval");
        }
    }
}

fn read_auth(reader: &mut Reader<'_>) -> AuthConfig {
    let modes = [("local", AuthMode::Local), ("none", AuthMode::None), ("keys", AuthMode::Keys)];
    AuthConfig {
        mode: reader.choice("auth.mode", &modes).unwrap_or(AuthMode::Local),
        bootstrap_admin_key: reader.secret("auth.bootstrap_admin_key"),
        session_max_ms: reader.duration_ms("auth.session.lifetime"),
        session_idle_ms: reader.duration_ms("auth.session.idle"),
        password_length_min: reader.count("auth.password_length_min"),
        audit_retention_ms: reader.duration_ms("auth.audit_retention"),
        certificates: oidc::read_certificates(reader),
        oidc: oidc::read_oidc(reader),
    }
}

impl TlsConfig {
    fn check(&self, reader: &mut Reader<'_>) {
        for (path, file) in [
            ("server.tls.certificate_file", &self.certificate_file),
            ("server.tls.key_file", &self.key_file),
        ] {
            let is_named = !file.as_os_str().is_empty();
            if self.mode == TlsMode::Files && !is_named {
                reader.mistake(path, "must name a file when server.tls.mode is files");
            } else if self.mode != TlsMode::Files && is_named {
                reader.mistake(path, "is used only when server.tls.mode is files");
            }
        }
        match &self.client_auth {
            ClientAuth::Optional { .. } | ClientAuth::Required { .. }
                if self.mode == TlsMode::None =>
            {
                reader.mistake("server.tls.client_auth", "needs TLS: set server.tls.mode");
            }
            ClientAuth::Optional { ca_file } | ClientAuth::Required { ca_file }
                if ca_file.as_os_str().is_empty() =>
            {
                let message = "must name a file when clients show certificates";
                reader.mistake("server.tls.client_ca_file", message);
            }
            _ => {}
        }
    }
}

fn read_cross_origin(reader: &mut Reader<'_>) -> CrossOrigin {
    let origins: Vec<String> = reader.list("http.cors.allowed_origins");
    let credentials = reader.boolean("http.cors.allow_credentials");
    let max_age = Duration::from_millis(reader.duration_ms("http.cors.max_age"));
    CrossOrigin::new(&origins, credentials, max_age).unwrap_or_else(|error| {
        reader.mistake("http.cors.allowed_origins", &error.to_string());
        CrossOrigin::default()
    })
}

fn read_tls(reader: &mut Reader<'_>) -> TlsConfig {
    let modes =
        [("none", TlsMode::None), ("files", TlsMode::Files), ("self-signed", TlsMode::SelfSigned)];
    let versions = [("1.2", TlsVersion::Tls12), ("1.3", TlsVersion::Tls13)];
    let mut file = |path: &str| PathBuf::from(reader.text(path));
    let ca_file = file("server.tls.client_ca_file");
    let certificate_file = file("server.tls.certificate_file");
    let key_file = file("server.tls.key_file");
    let client_auth = match reader.choice(
        "server.tls.client_auth",
        &[("none", None), ("optional", Some(false)), ("required", Some(true))],
    ) {
        None | Some(None) => {
            if !ca_file.as_os_str().is_empty() {
                let message = "is used only when server.tls.client_auth is optional or required";
                reader.mistake("server.tls.client_ca_file", message);
            }
            ClientAuth::None
        }
        Some(Some(false)) => ClientAuth::Optional { ca_file },
        Some(Some(true)) => ClientAuth::Required { ca_file },
    };
    TlsConfig {
        mode: reader.choice("server.tls.mode", &modes).unwrap_or(TlsMode::None),
        certificate_file,
        key_file,
        minimum_version: reader
            .choice("server.tls.minimum_version", &versions)
            .unwrap_or(TlsVersion::Tls13),
        client_auth,
    }
}

fn read_store(reader: &mut Reader<'_>) -> tsdb::StoreConfig {
    let durability = [("fsync", journal::Durability::Fsync), ("os", journal::Durability::Os)];
    tsdb::StoreConfig {
        retention_ms: reader.signed_duration_ms("metrics.retention.raw"),
        out_of_order_window_ms: reader.signed_duration_ms("metrics.out_of_order_window"),
        future_ms_max: reader.signed_duration_ms("metrics.future_window"),
        durability: reader
            .choice("metrics.durability", &durability)
            .unwrap_or(journal::Durability::Fsync),
        head_bytes_max: reader.bytes("metrics.head_bytes_max"),
        block_range_ms: reader.signed_duration_ms("metrics.block_range"),
        series_max: reader.number("metrics.limits.series"),
        series_per_metric_max: reader.number("metrics.limits.series_per_metric"),
        labels_max: reader.count("metrics.limits.labels_per_series"),
        label_name_bytes_max: reader.count("metrics.limits.label_name_bytes"),
        label_value_bytes_max: reader.count("metrics.limits.label_value_bytes"),
        ..tsdb::StoreConfig::default()
    }
}

#[cfg(test)]
mod tests;
