//! Where NATS is, who we are to it, and how its streams are to be.

use std::time::Duration;

use async_nats::ServerAddr;
use secrecy::{ExposeSecret as _, SecretString};

/// All settings.
#[derive(Clone, Debug)]
pub struct Settings {
    /// The servers, as in `nats://one:4222,tls://two:4222`. The first may hold a user with a password, or a token.
    pub servers: SecretString,
    /// What the connection is called in the server's reports.
    pub client_name: String,
    /// Who we are.
    pub authentication: Authentication,
    /// How the connection is secured.
    pub tls: TlsSettings,
    /// How long one attempt to connect may take.
    pub connect_timeout: Duration,
    /// How long the server may take to answer a request.
    pub request_timeout: Duration,
    /// How long an append may take, all its attempts together.
    pub append_timeout: Duration,
    /// The longest pause between two attempts to connect.
    pub reconnect_wait_max: Duration,
    /// Most events that wait for the server's acknowledgement.
    pub in_flight_max: usize,
    /// Most events that appends hold altogether, those that wait for their turn included.
    pub queued_max: usize,
    /// How often the state of the streams is asked for.
    pub poll_interval: Duration,
    /// The stream of events.
    pub stream: StreamSettings,
    /// The stream of dead letters.
    pub dead_letters: DeadLetterSettings,
}

impl Settings {
    /// Returns the settings that `config.default.yaml` has, for these servers.
    #[must_use]
    pub fn new(servers: SecretString) -> Self {
        Self {
            servers,
            client_name: "tinyobs".to_owned(),
            authentication: Authentication::None,
            tls: TlsSettings::default(),
            connect_timeout: Duration::from_secs(5),
            request_timeout: Duration::from_secs(5),
            append_timeout: Duration::from_secs(15),
            reconnect_wait_max: Duration::from_secs(5),
            in_flight_max: 4_096,
            queued_max: 65_536,
            poll_interval: Duration::from_millis(250),
            stream: StreamSettings::default(),
            dead_letters: DeadLetterSettings::default(),
        }
    }

    pub(crate) fn addresses(&self) -> Result<Vec<ServerAddr>, SettingsError> {
        let mut addresses = Vec::new();
        for (index, text) in self.servers.expose_secret().split(',').enumerate() {
            let text = text.trim();
            if text.is_empty() {
                continue;
            }
            // The text may hold a password, so it is named by its place.
            let address = text
                .parse()
                .map_err(|_| SettingsError::Server { place: index.saturating_add(1) })?;
            addresses.push(address);
        }
        if addresses.is_empty() {
            return Err(SettingsError::NoServer);
        }
        Ok(addresses)
    }
}

/// Who we are to the server.
#[derive(Clone, Debug)]
pub enum Authentication {
    /// Whoever the addresses say, or nobody.
    None,
    /// A token.
    Token(SecretString),
    /// A user and a password.
    Password {
        /// The user.
        user: String,
        /// The password.
        password: SecretString,
    },
    /// What a credentials file (`.creds`) holds.
    Credentials(SecretString),
    /// The seed of an NKey.
    NKey(SecretString),
}

/// How the connection is secured. A server that demands TLS gets it in any case.
#[derive(Clone, Debug, Default)]
pub struct TlsSettings {
    /// Whether to refuse a connection without TLS.
    pub required: bool,
    /// The authorities to trust, in PEM; those of the system if there is none.
    pub authorities_pem: Option<Vec<u8>>,
    /// What we show the server.
    pub client: Option<ClientCertificate>,
}

/// A certificate of ours with its key.
#[derive(Clone, Debug)]
pub struct ClientCertificate {
    /// The certificate and what leads from it to the authority, in PEM.
    pub chain_pem: Vec<u8>,
    /// Its private key, in PEM.
    pub key_pem: SecretString,
}

/// Where a stream is kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Storage {
    /// In files.
    File,
    /// In memory: gone when its servers are.
    Memory,
}

/// The stream of events.
#[derive(Clone, Debug)]
pub struct StreamSettings {
    /// Its name.
    pub name: String,
    /// What is published to it. The first one, `events.>`, is what this crate reads.
    pub subjects: Vec<String>,
    /// How long an event is kept, whether consumers have read it or not; zero for ever.
    pub age_max: Duration,
    /// Most bytes. When nine tenths are reached, the oldest of what every consumer has read goes; when all are reached,
    /// nothing is taken any more.
    pub bytes_max: u64,
    /// How many servers keep a copy.
    pub replicas: usize,
    /// Where it is kept.
    pub storage: Storage,
    /// How long an idempotency key is remembered.
    pub duplicate_window: Duration,
}

impl Default for StreamSettings {
    fn default() -> Self {
        Self {
            name: "CAUSALITY_EVENTS".to_owned(),
            subjects: ["events.>", "requests.>", "responses.>", "anomalies.>"]
                .map(str::to_owned)
                .to_vec(),
            age_max: Duration::from_secs(168 * 3_600),
            bytes_max: 10 << 30,
            replicas: 1,
            storage: Storage::File,
            duplicate_window: Duration::from_secs(600),
        }
    }
}

/// The stream of dead letters.
#[derive(Clone, Debug)]
pub struct DeadLetterSettings {
    /// Its name.
    pub name: String,
    /// How long a dead letter is kept; zero for ever.
    pub age_max: Duration,
    /// Most bytes; one letter more displaces the oldest of the tenant with the most.
    pub bytes_max: u64,
    /// Most dead letters; one more displaces another, too. About 100 bytes of memory each.
    pub letters_max: u64,
}

impl Default for DeadLetterSettings {
    fn default() -> Self {
        Self {
            name: "CAUSALITY_DLQ".to_owned(),
            age_max: Duration::from_secs(720 * 3_600),
            bytes_max: 1 << 30,
            letters_max: 100_000,
        }
    }
}

/// What is wrong with settings.
#[derive(Debug, thiserror::Error)]
pub enum SettingsError {
    /// There is no server.
    #[error("no server of NATS is named")]
    NoServer,
    /// An address is none.
    #[error("address {place} is no address of a NATS server, such as nats://localhost:4222")]
    Server {
        /// The how-maniest it is, from 1 on.
        place: usize,
    },
    /// A limit is zero.
    #[error("'{name}' must be more than zero")]
    Zero {
        /// Which one.
        name: &'static str,
    },
    /// The content of the credentials file.
    #[error("the credentials hold no JWT with its key")]
    Credentials(#[source] std::io::Error),
    /// A certificate or key.
    #[error("the {what} in PEM cannot be read")]
    Pem {
        /// Which one.
        what: &'static str,
        /// Why.
        #[source]
        source: rustls::pki_types::pem::Error,
    },
    /// Certificate and key do not fit, or the like.
    #[error("TLS cannot be set up")]
    Tls(#[source] rustls::Error),
}
