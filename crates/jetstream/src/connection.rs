//! The connection to NATS: made in the background, made again for ever, and what is asked over it.

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use async_nats::client::Request;
use async_nats::{Client, ConnectOptions, Event, HeaderMap, RequestErrorKind, ServerAddr};
use bytes::Bytes;
use events::LogError;
use percent_encoding::percent_decode_str;
use platform::{Clock, Rng};
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::{ClientConfig, RootCertStore};
use secrecy::ExposeSecret as _;
use serde_json::Value;
use tokio::sync::watch;
use tracing::{info, warn};

use crate::settings::{Authentication, Settings, SettingsError, TlsSettings};

/// The pause after the first attempt that failed; doubled with each, up to the configured one.
const BACKOFF_START: Duration = Duration::from_millis(100);

/// The longest pause before a question is asked again.
const AGAIN_WAIT_MAX: Duration = Duration::from_millis(500);

/// When a sender should come again after it was refused.
pub(crate) const RETRY_AFTER: Duration = Duration::from_secs(1);

/// What the connection is, for whoever waits on it.
#[derive(Clone, Debug, Default)]
pub(crate) struct State {
    /// Whether it stands.
    pub(crate) connected: bool,
    /// How often it was lost.
    pub(crate) epoch: u64,
    /// Whether the streams are as they should be.
    pub(crate) ready: bool,
    /// Whether it is being closed.
    pub(crate) closed: bool,
    /// Why it does not stand, or why the streams are not as they should be.
    pub(crate) reason: Option<Arc<str>>,
}

impl State {
    pub(crate) fn is_usable(&self) -> bool {
        self.connected && self.ready && !self.closed
    }

    pub(crate) fn refusal(&self) -> String {
        let what = match (self.closed, self.connected) {
            (true, _) => return "the connection to NATS is closed".to_owned(),
            (false, false) => "there is no connection to NATS",
            (false, true) => "the streams of NATS are not ready",
        };
        match &self.reason {
            Some(reason) => format!("{what}: {reason}"),
            None => what.to_owned(),
        }
    }
}

/// Why a request was not answered with what was asked for.
#[derive(Debug, thiserror::Error)]
pub(crate) enum ApiError {
    /// Whether it was done is not known.
    #[error("no answer from NATS: {0}")]
    NoAnswer(String),
    /// Nobody is there who could answer: no stream of the subject, or JetStream is off.
    #[error("nobody in NATS answers for '{0}': is JetStream on, and does the stream exist?")]
    NoResponders(String),
    /// It is longer than a message may be.
    #[error("a message of more than {limit_bytes} bytes")]
    TooLarge { limit_bytes: usize },
    /// JetStream refused it.
    #[error("{description} ({code})")]
    Refused { code: u64, status: u64, description: String },
}

impl ApiError {
    pub(crate) fn into_unavailable(self) -> LogError {
        LogError::Unavailable { reason: self.to_string(), retry_after: RETRY_AFTER }
    }
}

/// The connection.
#[derive(Debug)]
pub(crate) struct Connection {
    client: Client,
    state: Arc<watch::Sender<State>>,
    request_timeout: Duration,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
}

impl Connection {
    /// Begins to connect. Must be called within a tokio runtime.
    pub(crate) async fn open(
        settings: &Settings,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Result<Self, SettingsError> {
        let addresses = settings.addresses()?;
        let state = Arc::new(watch::Sender::new(State::default()));
        let names = addresses.iter().map(redacted).collect::<Vec<_>>().join(",");
        info!(servers = names, "connecting to nats");
        let options = options(settings, &addresses, Arc::clone(&state), &rng)?;
        // With retries in the background, only what cannot be resolved at all fails here, and addresses were parsed.
        let client =
            options.connect(addresses).await.map_err(|_| SettingsError::Server { place: 1 })?;
        Ok(Self { client, state, request_timeout: settings.request_timeout, clock, rng })
    }

    pub(crate) fn client(&self) -> &Client {
        &self.client
    }

    pub(crate) fn state(&self) -> State {
        self.state.borrow().clone()
    }

    pub(crate) fn watch(&self) -> watch::Receiver<State> {
        self.state.subscribe()
    }

    /// Says whether the streams are as they should be, and if not, why.
    pub(crate) fn set_ready(&self, ready: bool, reason: Option<String>) {
        self.state.send_if_modified(|state| {
            let changed = state.ready != ready || state.reason.as_deref() != reason.as_deref();
            state.ready = ready;
            state.reason = reason.map(Into::into);
            changed
        });
    }

    pub(crate) fn set_closed(&self) {
        self.state.send_modify(|state| state.closed = true);
    }

    /// Completes once events can be stored and read; returns how often the connection had been lost then.
    ///
    /// # Errors
    ///
    /// [`LogError::Closed`], or [`LogError::Unavailable`] once [`Clock::monotonic`] has reached `deadline`.
    pub(crate) async fn usable(&self, deadline: Duration) -> Result<u64, LogError> {
        let mut watch = self.watch();
        loop {
            let state = watch.borrow_and_update().clone();
            if state.closed {
                return Err(LogError::Closed);
            }
            if state.is_usable() {
                return Ok(state.epoch);
            }
            tokio::select! {
                biased;
                changed = watch.changed() => if changed.is_err() { return Err(LogError::Closed) },
                () = self.clock.sleep_until(deadline) => {
                    return Err(LogError::Unavailable {
                        reason: self.state().refusal(),
                        retry_after: RETRY_AFTER,
                    });
                }
            }
        }
    }

    /// Completes once the connection is no longer the one of `epoch`, or is closed.
    pub(crate) async fn lost(&self, epoch: u64) {
        let mut watch = self.watch();
        // The sender is a field of this.
        let _closed = watch.wait_for(|state| state.epoch != epoch || state.closed).await;
    }

    pub(crate) fn deadline(&self, timeout: Duration) -> Duration {
        self.clock.monotonic().saturating_add(timeout)
    }

    pub(crate) async fn sleep(&self, duration: Duration) {
        self.clock.sleep_until(self.deadline(duration)).await;
    }

    /// Returns how long to wait after so many failures.
    pub(crate) fn backoff(&self, failures: u32, longest: Duration) -> Duration {
        backoff(&*self.rng, failures, longest)
    }

    /// Sends a message and returns the answer. Ends at once when the connection is lost.
    pub(crate) async fn request(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<async_nats::Message, ApiError> {
        let State { connected, epoch, .. } = self.state();
        if !connected {
            // The client would keep it and send it whenever the connection stands again, when nobody waits for it any more.
            return Err(ApiError::NoAnswer("there is no connection".to_owned()));
        }
        let mut request = Request::new().payload(payload).timeout(Some(self.request_timeout));
        if !headers.is_empty() {
            request = request.headers(headers);
        }
        let answer = tokio::select! {
            biased;
            answer = self.client.send_request(subject.to_owned(), request) => answer,
            () = self.lost(epoch) => {
                return Err(ApiError::NoAnswer("the connection was lost".to_owned()));
            }
        };
        answer.map_err(|error| match error.kind() {
            RequestErrorKind::NoResponders => ApiError::NoResponders(subject.to_owned()),
            RequestErrorKind::MaxPayloadExceeded => {
                ApiError::TooLarge { limit_bytes: self.client.max_payload() }
            }
            _ => ApiError::NoAnswer(error.to_string()),
        })
    }

    /// Sends a message to a stream and returns its acknowledgement.
    pub(crate) async fn publish(
        &self,
        subject: &str,
        headers: HeaderMap,
        payload: Bytes,
    ) -> Result<Acknowledgement, ApiError> {
        let answer = self.request(subject, headers, payload).await?;
        let answer = read(&answer.payload)?;
        let Some(sequence) = answer["seq"].as_u64().filter(|sequence| *sequence > 0) else {
            // A repetition of what is still on its way to the other servers has no position yet.
            return Err(ApiError::NoAnswer("no position".to_owned()));
        };
        Ok(Acknowledgement { sequence, duplicate: answer["duplicate"].as_bool() == Some(true) })
    }

    /// Asks JetStream, as `STREAM.INFO.x`.
    ///
    /// The answer stays JSON: what the client library does not know, of newer servers, has to survive an update.
    pub(crate) async fn api(&self, subject: &str, request: &Value) -> Result<Value, ApiError> {
        let payload = if request.is_null() { Bytes::new() } else { request.to_string().into() };
        let subject = format!("$JS.API.{subject}");
        let answer = self.request(&subject, HeaderMap::new(), payload).await?;
        read(&answer.payload)
    }

    /// Asks again while there is no answer, for as long as a request may take.
    pub(crate) async fn again<T, F>(&self, ask: impl Fn() -> F) -> Result<T, ApiError>
    where
        F: Future<Output = Result<T, ApiError>>,
    {
        let deadline = self.deadline(self.request_timeout);
        let mut failures = 0_u32;
        loop {
            let error = match ask().await {
                Err(error @ (ApiError::NoAnswer(_) | ApiError::NoResponders(_))) => error,
                answer => return answer,
            };
            let wait = self.backoff(failures, AGAIN_WAIT_MAX);
            failures = failures.saturating_add(1);
            let too_late = self.clock.monotonic().saturating_add(wait) >= deadline;
            if too_late || self.state().closed {
                return Err(error);
            }
            self.sleep(wait).await;
        }
    }
}

/// Where a published message is.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Acknowledgement {
    pub(crate) sequence: u64,
    /// Whether it was there before.
    pub(crate) duplicate: bool,
}

fn read(payload: &[u8]) -> Result<Value, ApiError> {
    let answer: Value = serde_json::from_slice(payload)
        .map_err(|error| ApiError::NoAnswer(format!("not understood: {error}")))?;
    let Some(error) = answer.get("error") else {
        return Ok(answer);
    };
    Err(ApiError::Refused {
        code: error["err_code"].as_u64().unwrap_or_default(),
        status: error["code"].as_u64().unwrap_or_default(),
        description: error["description"].as_str().unwrap_or("refused").to_owned(),
    })
}

/// Returns how long to wait after so many failures: twice as long each time, up to a quarter less or more, so that those
/// who failed together do not come back together.
pub(crate) fn backoff(rng: &dyn Rng, failures: u32, longest: Duration) -> Duration {
    let doubled = BACKOFF_START.saturating_mul(1_u32.checked_shl(failures).unwrap_or(u32::MAX));
    let wait = doubled.min(longest);
    let quarter = u64::try_from(wait.as_micros() / 4).unwrap_or(u64::MAX);
    let jitter = Duration::from_micros(rng.next_u64() % quarter.saturating_mul(2).max(1));
    wait.saturating_sub(Duration::from_micros(quarter)).saturating_add(jitter)
}

fn options(
    settings: &Settings,
    addresses: &[ServerAddr],
    state: Arc<watch::Sender<State>>,
    rng: &Arc<dyn Rng>,
) -> Result<ConnectOptions, SettingsError> {
    let rng = Arc::clone(rng);
    let longest = settings.reconnect_wait_max;
    let options = ConnectOptions::new()
        .name(&settings.client_name)
        .connection_timeout(settings.connect_timeout)
        .request_timeout(Some(settings.request_timeout))
        .require_tls(settings.tls.required)
        .tls_client_config(tls(&settings.tls)?)
        .retry_on_initial_connect()
        .reconnect_delay_callback(move |failures| {
            let failures = u32::try_from(failures).unwrap_or(u32::MAX);
            backoff(&*rng, failures.saturating_sub(1), longest)
        })
        .event_callback(move |event| {
            follow(&state, &event);
            std::future::ready(())
        });
    match &settings.authentication {
        Authentication::None => Ok(with_address(options, addresses)),
        Authentication::Token(token) => Ok(options.token(token.expose_secret().to_owned())),
        Authentication::Password { user, password } => {
            Ok(options.user_and_password(user.clone(), password.expose_secret().to_owned()))
        }
        Authentication::Credentials(content) => {
            options.credentials(content.expose_secret()).map_err(SettingsError::Credentials)
        }
        Authentication::NKey(seed) => Ok(options.nkey(seed.expose_secret().to_owned())),
    }
}

/// Takes user and password, or a token, from the first address that has them; the client library does not.
fn with_address(options: ConnectOptions, addresses: &[ServerAddr]) -> ConnectOptions {
    let plain = |text: &str| percent_decode_str(text).decode_utf8_lossy().into_owned();
    let Some((address, user)) =
        addresses.iter().find_map(|address| Some((address, address.username()?)))
    else {
        return options;
    };
    match address.password() {
        Some(password) => options.user_and_password(plain(user), plain(password)),
        None => options.token(plain(user)),
    }
}

fn follow(state: &watch::Sender<State>, event: &Event) {
    match event {
        Event::Connected => {
            info!("connected to nats");
            state.send_modify(|state| {
                state.connected = true;
                state.reason = None;
            });
        }
        Event::Disconnected => {
            warn!("lost the connection to nats");
            lose(state, None);
        }
        Event::Closed => lose(state, None),
        Event::ServerError(error) => {
            warn!(%error, "nats reports an error");
            state.send_modify(|state| state.reason = Some(error.to_string().into()));
        }
        Event::ClientError(error) => {
            warn!(%error, "connection to nats failed");
            state.send_modify(|state| state.reason = Some(error.to_string().into()));
        }
        Event::SlowConsumer(_) => warn!("messages from nats were dropped, they are fetched again"),
        Event::LameDuckMode => info!("nats server is about to stop"),
        Event::Draining => {}
    }
}

fn lose(state: &watch::Sender<State>, reason: Option<Arc<str>>) {
    state.send_modify(|state| {
        state.connected = false;
        state.epoch = state.epoch.saturating_add(1);
        state.reason = reason;
    });
}

fn tls(settings: &TlsSettings) -> Result<ClientConfig, SettingsError> {
    let mut roots = RootCertStore::empty();
    match &settings.authorities_pem {
        Some(pem) => {
            for authority in certificates(pem, "certificates of authorities")? {
                roots.add(authority).map_err(SettingsError::Tls)?;
            }
        }
        None => {
            roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
        }
    }
    let builder = ClientConfig::builder_with_provider(Arc::new(default_provider()))
        .with_safe_default_protocol_versions()
        .map_err(SettingsError::Tls)?
        .with_root_certificates(roots);
    let Some(client) = &settings.client else {
        return Ok(builder.with_no_client_auth());
    };
    let chain = certificates(&client.chain_pem, "client certificate")?;
    let key = PrivateKeyDer::from_pem_slice(client.key_pem.expose_secret().as_bytes())
        .map_err(|source| SettingsError::Pem { what: "client key", source })?;
    builder.with_client_auth_cert(chain, key).map_err(SettingsError::Tls)
}

fn certificates(
    pem: &[u8],
    what: &'static str,
) -> Result<Vec<CertificateDer<'static>>, SettingsError> {
    CertificateDer::pem_slice_iter(pem)
        .collect::<Result<_, _>>()
        .map_err(|source| SettingsError::Pem { what, source })
}

/// Returns an address without user and password.
fn redacted(address: &ServerAddr) -> String {
    format!("{}://{}:{}", address.scheme(), address.host(), address.port())
}

#[cfg(test)]
mod tests {
    use platform::SimRng;

    use super::*;

    #[test]
    fn pauses_double_up_to_the_longest_and_differ() {
        let rng = SimRng::new(1);
        let longest = Duration::from_secs(5);
        for failures in [0, 1, 2, 5, 10, 31, 32, u32::MAX] {
            let expected =
                BACKOFF_START.saturating_mul(2_u32.saturating_pow(failures)).min(longest);
            for _ in 0..100 {
                let wait = backoff(&*rng, failures, longest);
                assert!(
                    wait >= expected * 3 / 4 && wait <= expected * 5 / 4,
                    "{failures} {wait:?}"
                );
            }
            assert_ne!(backoff(&*rng, failures, longest), backoff(&*rng, failures, longest));
        }
    }

    #[test]
    fn an_address_is_named_without_user_and_password() {
        let address: ServerAddr = "tls://me:secret@nats.example:4333".parse().expect("address");
        assert_eq!(redacted(&address), "tls://nats.example:4333");
    }
}
