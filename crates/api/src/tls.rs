//! The server's certificate: read from files, replaced while connections go on.

use std::fmt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use platform::{Clock, Fs, FsError, Timestamp};
use rustls::crypto::{CryptoProvider, ring::default_provider};
use rustls::pki_types::pem::{self, PemObject as _};
use rustls::pki_types::{CertificateDer, PrivateKeyDer, UnixTime};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, VerifierBuilderError, WebPkiClientVerifier};
use rustls::time_provider::TimeProvider;
use rustls::{RootCertStore, ServerConfig, SupportedProtocolVersion, version};

mod certificate;

pub(crate) use certificate::client_certificate;

use certificate::Certificate;

use crate::status::HealthCheck;

/// What a client that speaks HTTP/2 names in the handshake.
pub(crate) const ALPN_HTTP2: &[u8] = b"h2";
const ALPN_HTTP1: &[u8] = b"http/1.1";

/// Most bytes of a file with certificates or a key.
const PEM_BYTES_MAX: u64 = 1 << 20;

const DAY_MS: i64 = 24 * 60 * 60 * 1000;

/// Where the certificate is and what clients must bring.
#[derive(Clone, Debug)]
pub struct TlsSettings {
    /// The server's certificate in PEM, followed by those that lead to a root.
    pub certificate_file: PathBuf,
    /// The certificate's private key in PEM.
    pub key_file: PathBuf,
    /// The oldest version that is spoken.
    pub minimum_version: TlsVersion,
    /// Whether clients show a certificate.
    pub client_auth: ClientAuth,
}

/// A version of TLS.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum TlsVersion {
    /// 1.2, of 2008.
    Tls12,
    /// 1.3, of 2018.
    Tls13,
}

/// Whether clients show a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ClientAuth {
    /// They are not asked for one.
    None,
    /// They may; one that the authorities in the file did not sign ends the handshake.
    Optional {
        /// The authorities' certificates in PEM.
        ca_file: PathBuf,
    },
    /// They must.
    Required {
        /// The authorities' certificates in PEM.
        ca_file: PathBuf,
    },
}

impl ClientAuth {
    fn ca_file(&self) -> Option<&Path> {
        match self {
            Self::None => None,
            Self::Optional { ca_file } | Self::Required { ca_file } => Some(ca_file),
        }
    }
}

/// Why a certificate cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum TlsError {
    /// A file cannot be read.
    #[error("read a file for TLS")]
    Read(#[from] FsError),
    /// A file is not PEM, or does not hold what it should.
    #[error("'{}' is not PEM with {expected}", path.display())]
    Pem {
        /// The file.
        path: PathBuf,
        /// What it should hold.
        expected: &'static str,
        /// What the decoder says.
        #[source]
        source: pem::Error,
    },
    /// A file holds no certificate.
    #[error("there is no certificate in '{}'", path.display())]
    NoCertificate {
        /// The file.
        path: PathBuf,
    },
    /// The first certificate of a file cannot be understood.
    #[error("the certificate in '{}' cannot be understood: {reason}", path.display())]
    Certificate {
        /// The file.
        path: PathBuf,
        /// What the decoder says.
        reason: String,
    },
    /// The key does not belong to the certificate, or is of a kind that is not supported.
    #[error("the certificate and the key in '{}' do not work together", path.display())]
    Key {
        /// The file of the key.
        path: PathBuf,
        /// What the library says.
        #[source]
        source: rustls::Error,
    },
    /// The authorities that sign clients' certificates cannot be used.
    #[error("the client authorities in '{}' cannot be used: {reason}", path.display())]
    ClientAuthorities {
        /// The file.
        path: PathBuf,
        /// What the library says.
        reason: String,
    },
}

/// What [`Tls::reload`] did.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Reload {
    /// The files are as they were.
    Unchanged,
    /// New connections get what the files hold now.
    Replaced,
    /// The files cannot be used; what was loaded before stays.
    Refused,
}

/// How it is with the certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct TlsStatus {
    /// The certificate's SHA-256, as 64 lower-case hexadecimal digits.
    pub fingerprint: String,
    /// From when on the certificate is valid.
    pub not_before: Timestamp,
    /// Until when the certificate is valid.
    pub not_after: Timestamp,
    /// Whole days until it expires, rounded down; negative once it has expired.
    pub days_left: i64,
    /// Why the files, as they are now, could not be loaded.
    pub reload_failure: Option<String>,
}

/// The server's certificate and how clients are checked.
///
/// Connections that are open keep what they began with; new ones get what was loaded last.
pub struct Tls {
    fs: Arc<dyn Fs>,
    clock: Arc<dyn Clock>,
    settings: TlsSettings,
    /// Never held across an await, nor while files are read.
    current: RwLock<Current>,
}

struct Current {
    config: Arc<ServerConfig>,
    certificate: Certificate,
    /// What the files held when they were read last, good or bad.
    seen: Option<Files>,
    failure: Option<String>,
}

impl fmt::Debug for Tls {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Tls").field("settings", &self.settings).finish_non_exhaustive()
    }
}

/// The SHA-256 of each file, so that no copy of the key stays in memory.
#[derive(Clone, Copy, PartialEq, Eq)]
struct Files {
    certificate: [u8; 32],
    key: [u8; 32],
    client_ca: Option<[u8; 32]>,
}

impl Tls {
    /// Loads the certificate. Blocking.
    ///
    /// # Errors
    ///
    /// The files cannot be read or do not belong together. An expired certificate is loaded, and said in the log.
    pub fn open(
        fs: Arc<dyn Fs>,
        clock: Arc<dyn Clock>,
        settings: TlsSettings,
    ) -> Result<Arc<Self>, TlsError> {
        let contents = Contents::read(fs.as_ref(), &settings)?;
        let (config, certificate) = load(&settings, &contents, &clock)?;
        announce(&certificate, clock.now(), "certificate loaded");
        let seen = Some(contents.digests());
        let current = RwLock::new(Current { config, certificate, seen, failure: None });
        Ok(Arc::new(Self { fs, clock, settings, current }))
    }

    /// Loads the files again if they have changed; what cannot be used leaves all as it is, is logged once, and shows
    /// in [`Tls::status`]. Blocking: reads the files.
    pub fn reload(&self) -> Reload {
        let contents = match Contents::read(self.fs.as_ref(), &self.settings) {
            Ok(contents) => contents,
            Err(error) => return self.refuse(None, &error.into()),
        };
        let digests = contents.digests();
        if self.current.read().seen == Some(digests) {
            return Reload::Unchanged;
        }
        match load(&self.settings, &contents, &self.clock) {
            Ok((config, certificate)) => {
                announce(&certificate, self.clock.now(), "certificate replaced");
                let seen = Some(digests);
                *self.current.write() = Current { config, certificate, seen, failure: None };
                Reload::Replaced
            }
            Err(error) => self.refuse(Some(digests), &error),
        }
    }

    fn refuse(&self, seen: Option<Files>, error: &TlsError) -> Reload {
        let reason = reason(error);
        let mut current = self.current.write();
        current.seen = seen;
        if current.failure.as_ref() == Some(&reason) {
            return Reload::Unchanged;
        }
        tracing::error!(reason, "new certificate cannot be used, the old one stays");
        current.failure = Some(reason);
        Reload::Refused
    }

    /// Returns how it is with the certificate.
    #[must_use]
    pub fn status(&self) -> TlsStatus {
        let current = self.current.read();
        let Certificate { fingerprint, not_before, not_after, .. } = current.certificate.clone();
        let days_left = not_after.millis_since(self.clock.now()).div_euclid(DAY_MS);
        let reload_failure = current.failure.clone();
        TlsStatus { fingerprint, not_before, not_after, days_left, reload_failure }
    }

    /// Returns what new connections get.
    pub(crate) fn config(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.current.read().config)
    }
}

impl HealthCheck for Tls {
    fn name(&self) -> &'static str {
        "certificate"
    }

    fn problem(&self) -> Option<String> {
        let status = self.status();
        if status.days_left < 0 {
            return Some("the TLS certificate has expired".to_owned());
        }
        let failure = status.reload_failure?;
        Some(format!("the new TLS certificate cannot be used, the old one serves: {failure}"))
    }
}

/// What the files hold.
struct Contents {
    certificate: Vec<u8>,
    key: Vec<u8>,
    client_ca: Option<Vec<u8>>,
}

impl Contents {
    fn read(fs: &dyn Fs, settings: &TlsSettings) -> Result<Self, FsError> {
        let read = |path: &Path| fs.read(path, PEM_BYTES_MAX);
        Ok(Self {
            certificate: read(&settings.certificate_file)?,
            key: read(&settings.key_file)?,
            client_ca: settings.client_auth.ca_file().map(read).transpose()?,
        })
    }

    fn digests(&self) -> Files {
        Files {
            certificate: certificate::sha256(&self.certificate),
            key: certificate::sha256(&self.key),
            client_ca: self.client_ca.as_deref().map(certificate::sha256),
        }
    }
}

fn load(
    settings: &TlsSettings,
    contents: &Contents,
    clock: &Arc<dyn Clock>,
) -> Result<(Arc<ServerConfig>, Certificate), TlsError> {
    let chain = certificates(&settings.certificate_file, &contents.certificate)?;
    let certificate = match chain.first().map(|first| Certificate::parse(first)) {
        Some(Ok(certificate)) => certificate,
        Some(Err(reason)) => {
            return Err(TlsError::Certificate { path: settings.certificate_file.clone(), reason });
        }
        None => return Err(TlsError::NoCertificate { path: settings.certificate_file.clone() }),
    };
    let path = &settings.key_file;
    let key = PrivateKeyDer::from_pem_slice(&contents.key).map_err(|source| TlsError::Pem {
        path: path.clone(),
        expected: "a private key",
        source,
    })?;
    let provider = Arc::new(default_provider());
    let time = Arc::new(ClockTime(Arc::clone(clock)));
    let versions: &[&SupportedProtocolVersion] = match settings.minimum_version {
        TlsVersion::Tls12 => &[&version::TLS12, &version::TLS13],
        TlsVersion::Tls13 => &[&version::TLS13],
    };
    let unusable = |source| TlsError::Key { path: path.clone(), source };
    let builder = ServerConfig::builder_with_details(Arc::clone(&provider), time)
        .with_protocol_versions(versions)
        .map_err(unusable)?;
    let builder = match client_verifier(settings, contents, provider)? {
        Some(verifier) => builder.with_client_cert_verifier(verifier),
        None => builder.with_no_client_auth(),
    };
    let mut config = builder.with_single_cert(chain, key).map_err(unusable)?;
    config.alpn_protocols = vec![ALPN_HTTP2.to_vec(), ALPN_HTTP1.to_vec()];
    if settings.client_auth != ClientAuth::None {
        // A resumed session would not check the client's certificate again.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    }
    Ok((Arc::new(config), certificate))
}

fn client_verifier(
    settings: &TlsSettings,
    contents: &Contents,
    provider: Arc<CryptoProvider>,
) -> Result<Option<Arc<dyn ClientCertVerifier>>, TlsError> {
    let (Some(path), Some(content)) = (settings.client_auth.ca_file(), &contents.client_ca) else {
        return Ok(None);
    };
    let refused = |reason| TlsError::ClientAuthorities { path: path.to_owned(), reason };
    let mut roots = RootCertStore::empty();
    for authority in certificates(path, content)? {
        roots.add(authority).map_err(|error| refused(error.to_string()))?;
    }
    let builder = WebPkiClientVerifier::builder_with_provider(Arc::new(roots), provider);
    let builder = match settings.client_auth {
        ClientAuth::Optional { .. } => builder.allow_unauthenticated(),
        ClientAuth::None | ClientAuth::Required { .. } => builder,
    };
    let verifier =
        builder.build().map_err(|error: VerifierBuilderError| refused(error.to_string()))?;
    Ok(Some(verifier))
}

fn certificates(path: &Path, content: &[u8]) -> Result<Vec<CertificateDer<'static>>, TlsError> {
    CertificateDer::pem_slice_iter(content)
        .collect::<Result<_, _>>()
        .map_err(|source| TlsError::Pem { path: path.to_owned(), expected: "certificates", source })
}

/// Returns an error with all its causes in one line.
fn reason(error: &TlsError) -> String {
    let mut reason = error.to_string();
    let mut source = std::error::Error::source(error);
    while let Some(cause) = source {
        reason = format!("{reason}: {cause}");
        source = cause.source();
    }
    reason
}

fn announce(certificate: &Certificate, now: Timestamp, what: &'static str) {
    let days_left = certificate.not_after.millis_since(now).div_euclid(DAY_MS);
    let fingerprint = &certificate.fingerprint;
    if days_left < 0 {
        tracing::warn!(fingerprint, days_left, "certificate has expired");
    } else if now < certificate.not_before {
        tracing::warn!(fingerprint, "certificate is not valid yet");
    } else {
        tracing::info!(fingerprint, days_left, "{what}");
    }
}

/// The time at which clients' certificates must be valid.
#[derive(Debug)]
struct ClockTime(Arc<dyn Clock>);

impl TimeProvider for ClockTime {
    fn current_time(&self) -> Option<UnixTime> {
        let millis = u64::try_from(self.0.now().as_millis()).ok()?;
        Some(UnixTime::since_unix_epoch(Duration::from_millis(millis)))
    }
}
