//! A certificate for development that nobody but itself vouches for.

use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{Tls, TlsError, TlsSettings};
use platform::{Clock, Fs, FsError, FsErrorKind};
use rcgen::{
    CertificateParams, DistinguishedName, DnType, ExtendedKeyUsagePurpose, KeyPair,
    KeyUsagePurpose, date_time_ymd,
};

/// How long it is valid; browsers take no more than about two years.
const VALID_DAYS: u64 = 365;
/// How long before now it is valid already, for clients whose clocks are behind.
const BACKDATED: Duration = Duration::from_secs(60 * 60);
/// A certificate with fewer whole days left is replaced at the next start.
const DAYS_LEFT_MIN: i64 = 1;
/// The host's name as Linux tells it.
const HOST_NAME_FILE: &str = "/proc/sys/kernel/hostname";
/// Longest name that a host may have, in bytes.
const HOST_NAME_BYTES_MAX: u64 = 256;

/// Where the certificate is kept.
#[derive(Debug)]
pub(super) struct Files {
    folder: PathBuf,
    pub(super) certificate: PathBuf,
    pub(super) key: PathBuf,
}

impl Files {
    pub(super) fn below(data_dir: &Path) -> Self {
        let folder = data_dir.join("tls");
        Self {
            certificate: folder.join("self-signed.pem"),
            key: folder.join("self-signed.key"),
            folder,
        }
    }
}

/// Loads the certificate that was made before; makes a new one when there is none or it is about to expire.
pub(super) fn open(
    files: &Files,
    fs: &Arc<dyn Fs>,
    clock: &Arc<dyn Clock>,
    settings: &TlsSettings,
) -> Result<Arc<Tls>, anyhow::Error> {
    let load = || Tls::open(Arc::clone(fs), Arc::clone(clock), settings.clone());
    match load() {
        Ok(tls) if tls.status().days_left >= DAYS_LEFT_MIN => return Ok(tls),
        Ok(_) => {}
        Err(TlsError::Read(error)) if error.kind == FsErrorKind::NotFound => {}
        // The halves of two certificates: the program was ended while it replaced one.
        Err(TlsError::Key { .. }) => {}
        Err(error) => return Err(error).context("load the self-signed certificate"),
    }
    make(files, fs.as_ref(), clock.as_ref()).context("make a self-signed certificate")?;
    load().context("load the self-signed certificate")
}

fn make(files: &Files, fs: &dyn Fs, clock: &dyn Clock) -> Result<(), anyhow::Error> {
    let mut names = vec!["localhost".to_owned(), "127.0.0.1".to_owned(), "::1".to_owned()];
    names.extend(host_name(fs).filter(|name| !names.contains(name)));
    let mut params = CertificateParams::new(names)?;
    let since_epoch = Duration::from_millis(u64::try_from(clock.now().as_millis())?);
    let now = date_time_ymd(1970, 1, 1) + since_epoch;
    params.not_before = now - BACKDATED;
    params.not_after = now + Duration::from_secs(VALID_DAYS * 24 * 60 * 60);
    params.distinguished_name = DistinguishedName::new();
    params.distinguished_name.push(DnType::CommonName, "TinyObs, self-signed");
    params.key_usages = vec![KeyUsagePurpose::DigitalSignature];
    params.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
    let key = KeyPair::generate()?;
    let certificate = params.self_signed(&key)?;

    fs.create_dir_all(&files.folder)?;
    replace(fs, &files.key, key.serialize_pem().as_bytes())?;
    replace(fs, &files.certificate, certificate.pem().as_bytes())?;
    fs.sync_dir(&files.folder)?;
    Ok(())
}

/// Returns the host's name, if it is one that a certificate can hold.
fn host_name(fs: &dyn Fs) -> Option<String> {
    let name = String::from_utf8(fs.read(Path::new(HOST_NAME_FILE), HOST_NAME_BYTES_MAX).ok()?);
    let name = name.ok()?.trim().to_ascii_lowercase();
    let is_name = |byte: u8| byte.is_ascii_alphanumeric() || byte == b'-' || byte == b'.';
    (!name.is_empty() && name.bytes().all(is_name)).then_some(name)
}

/// Replaces a file as a whole; only its owner may read it.
fn replace(fs: &dyn Fs, path: &Path, content: &[u8]) -> Result<(), FsError> {
    let new = path.with_extension("new");
    match fs.remove_file(&new) {
        Err(error) if error.kind != FsErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs.create_private(&new)?;
    file.append(content)?;
    file.sync_data()?;
    fs.rename(&new, path)
}

#[cfg(test)]
mod tests {
    use api::{ClientAuth, TlsVersion};
    use platform::{SimClock, SimFs, Timestamp};

    use super::*;

    const DAY: Duration = Duration::from_secs(24 * 60 * 60);

    struct Machine {
        fs: Arc<dyn Fs>,
        sim: Arc<SimClock>,
        files: Files,
    }

    impl Machine {
        fn new() -> Self {
            let sim = SimClock::new(Timestamp::from_millis(1_732_000_000_000));
            Self { fs: SimFs::new(), sim, files: Files::below(Path::new("data")) }
        }

        /// Starts the program and returns the certificate's fingerprint and days left.
        fn start(&self) -> (String, i64) {
            let settings = TlsSettings {
                certificate_file: self.files.certificate.clone(),
                key_file: self.files.key.clone(),
                minimum_version: TlsVersion::Tls12,
                client_auth: ClientAuth::None,
            };
            let clock: Arc<dyn Clock> = Arc::new(Arc::clone(&self.sim));
            let tls = open(&self.files, &self.fs, &clock, &settings).expect("a certificate");
            let status = tls.status();
            (status.fingerprint, status.days_left)
        }
    }

    #[test]
    fn the_certificate_is_kept_until_it_is_about_to_expire() {
        let machine = Machine::new();
        let (first, days_left) = machine.start();
        assert_eq!(days_left, 365);
        machine.sim.advance(364 * DAY);
        assert_eq!(machine.start(), (first.clone(), 1));
        machine.sim.advance(Duration::from_secs(1));
        let (second, days_left) = machine.start();
        assert_ne!(second, first);
        assert_eq!(days_left, 365);
    }

    #[test]
    fn a_key_without_its_certificate_is_replaced() {
        let machine = Machine::new();
        let (first, _) = machine.start();
        let other = KeyPair::generate().expect("a key").serialize_pem();
        replace(machine.fs.as_ref(), &machine.files.key, other.as_bytes()).expect("replaced");
        assert_ne!(machine.start().0, first);
    }
}
