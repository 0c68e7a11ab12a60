//! What certificates say.

use platform::Timestamp;
use ring::digest::{SHA256, digest};
use x509_parser::prelude::{FromDer as _, X509Certificate};

use crate::serve::ClientCertificate;

/// Longest common name that is passed on, in bytes.
const COMMON_NAME_BYTES_MAX: usize = 256;

/// What we need to know of a certificate.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Certificate {
    pub(super) common_name: Option<String>,
    /// The SHA-256 of its DER, as 64 lower-case hexadecimal digits.
    pub(super) fingerprint: String,
    pub(super) not_before: Timestamp,
    pub(super) not_after: Timestamp,
}

impl Certificate {
    /// Reads a certificate in DER.
    pub(super) fn parse(der: &[u8]) -> Result<Self, String> {
        let (_, parsed) = X509Certificate::from_der(der).map_err(|error| error.to_string())?;
        let time = |seconds: i64| Timestamp::from_millis(seconds.saturating_mul(1000));
        let common_name = parsed.subject().iter_common_name().next();
        Ok(Self {
            common_name: common_name
                .and_then(|name| name.as_str().ok())
                .filter(|name| name.len() <= COMMON_NAME_BYTES_MAX)
                .map(str::to_owned),
            fingerprint: fingerprint(der),
            not_before: time(parsed.validity().not_before.timestamp()),
            not_after: time(parsed.validity().not_after.timestamp()),
        })
    }
}

/// Returns who a client is by its certificate, which has been checked.
pub(crate) fn client_certificate(der: &[u8]) -> ClientCertificate {
    match Certificate::parse(der) {
        Ok(Certificate { common_name, fingerprint, .. }) => {
            ClientCertificate { common_name, fingerprint }
        }
        // The check of the chain reads other fields; a name that cannot be read is none.
        Err(_) => ClientCertificate { common_name: None, fingerprint: fingerprint(der) },
    }
}

pub(super) fn sha256(bytes: &[u8]) -> [u8; 32] {
    let mut sum = [0; 32];
    sum.copy_from_slice(digest(&SHA256, bytes).as_ref());
    sum
}

fn fingerprint(der: &[u8]) -> String {
    sha256(der).iter().map(|byte| format!("{byte:02x}")).collect()
}
