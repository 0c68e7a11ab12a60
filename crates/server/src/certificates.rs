//! The server's certificate: where it comes from, and when it is read again.

use std::path::PathBuf;
use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use api::{ClientAuth, Tls, TlsSettings};
use platform::{Clock, Fs};
use tokio::signal::unix::Signal;
use tokio::sync::watch;

use crate::Failure;
use crate::config::{Config, TlsMode};

mod self_signed;

/// How often the files are looked at.
const LOOK_INTERVAL: Duration = Duration::from_secs(5);

/// Loads the certificate that the configuration asks for, if any. Blocking.
///
/// # Errors
///
/// It cannot be loaded, or made.
pub(crate) fn open(
    config: &Config,
    fs: &Arc<dyn Fs>,
    clock: &Arc<dyn Clock>,
) -> Result<Option<Arc<Tls>>, Failure> {
    let tls = &config.server.tls;
    let settings =
        |certificate_file: PathBuf, key_file: PathBuf, client_auth: ClientAuth| TlsSettings {
            certificate_file,
            key_file,
            minimum_version: tls.minimum_version,
            client_auth,
        };
    let client_auth = tls.client_auth.clone();
    match tls.mode {
        TlsMode::None => Ok(None),
        TlsMode::Files => {
            let (certificate, key) = (tls.certificate_file.clone(), tls.key_file.clone());
            let settings = settings(certificate, key, client_auth);
            let tls = Tls::open(Arc::clone(fs), Arc::clone(clock), settings);
            Ok(Some(tls.context("set up TLS with server.tls")?))
        }
        TlsMode::SelfSigned => {
            let files = self_signed::Files::below(&config.data_dir);
            let settings = settings(files.certificate.clone(), files.key.clone(), client_auth);
            self_signed::open(&files, fs, clock, &settings).map(Some).map_err(Failure::Operation)
        }
    }
}

/// Looks every few seconds, and on SIGHUP at once, whether the files have changed.
pub(crate) async fn watch(
    tls: Arc<Tls>,
    clock: Arc<dyn Clock>,
    mut hangup: Signal,
    mut shutdown: watch::Receiver<bool>,
) {
    loop {
        let again = clock.monotonic().saturating_add(LOOK_INTERVAL);
        tokio::select! {
            biased;
            _ = shutdown.wait_for(|stopped| *stopped) => return,
            _ = hangup.recv() => {}
            () = clock.sleep_until(again) => {}
        }
        let reloaded = Arc::clone(&tls);
        // What it finds is in the log and in health.
        let looked = tokio::task::spawn_blocking(move || reloaded.reload());
        if let Err(error) = looked.await {
            tracing::error!(error = %error, "reading the certificate panicked");
        }
    }
}
