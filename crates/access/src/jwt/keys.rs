//! Public keys, and the sets of them that a provider publishes.

use std::fmt;

use ring::signature::{self, RsaPublicKeyComponents, UnparsedPublicKey};
use serde_json::{Map, Value};

use super::json::parse_object;
use super::{KeySetError, decode, text};

/// Most keys of a set.
pub(crate) const KEYS_MAX: usize = 64;

/// Most bytes of a published set.
pub(crate) const KEY_SET_BYTES_MAX: usize = 256 * 1024;

/// A way to sign, as [RFC 7518](https://www.rfc-editor.org/rfc/rfc7518#section-3.1) names it.
///
/// Only those are here that are checked with a public key: `none` and the `HS` family cannot even be named, so that
/// no token can make us take a public key for a shared secret.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum SignatureAlgorithm {
    /// RSA with PKCS #1 v1.5 padding and SHA-256.
    Rs256,
    /// RSA with PKCS #1 v1.5 padding and SHA-384.
    Rs384,
    /// RSA with PKCS #1 v1.5 padding and SHA-512.
    Rs512,
    /// RSA with PSS padding and SHA-256.
    Ps256,
    /// ECDSA on P-256 with SHA-256.
    Es256,
    /// ECDSA on P-384 with SHA-384.
    Es384,
    /// Ed25519.
    EdDsa,
}

impl SignatureAlgorithm {
    #[cfg(test)]
    pub(crate) const ALL: [Self; 7] =
        [Self::Rs256, Self::Rs384, Self::Rs512, Self::Ps256, Self::Es256, Self::Es384, Self::EdDsa];

    /// Returns the algorithm that `alg` names, if it is one of ours. `Ed25519` is the newer name of `EdDSA` with that
    /// curve ([RFC 9864](https://www.rfc-editor.org/rfc/rfc9864)).
    #[must_use]
    pub(crate) fn from_name(alg: &str) -> Option<Self> {
        match alg {
            "RS256" => Some(Self::Rs256),
            "RS384" => Some(Self::Rs384),
            "RS512" => Some(Self::Rs512),
            "PS256" => Some(Self::Ps256),
            "ES256" => Some(Self::Es256),
            "ES384" => Some(Self::Es384),
            "EdDSA" | "Ed25519" => Some(Self::EdDsa),
            _ => None,
        }
    }
}

/// A set of public keys (JWKS, [RFC 7517](https://www.rfc-editor.org/rfc/rfc7517)).
#[derive(Clone, Debug, Default)]
pub(crate) struct KeySet {
    keys: Vec<PublicKey>,
}

impl KeySet {
    /// Parses a published set. Keys of kinds that we cannot use, or for encryption, are left out.
    ///
    /// # Errors
    ///
    /// The text is no key set, or is larger than allowed.
    pub(crate) fn parse(bytes: &[u8]) -> Result<Self, KeySetError> {
        if bytes.len() > KEY_SET_BYTES_MAX {
            return Err(KeySetError::TooLarge);
        }
        let set = parse_object(bytes).map_err(|reason| KeySetError::Malformed { reason })?;
        let Some(Value::Array(entries)) = set.get("keys") else {
            return Err(KeySetError::Malformed { reason: "'keys' is no list".to_owned() });
        };
        if entries.len() > KEYS_MAX {
            return Err(KeySetError::TooLarge);
        }
        let keys = entries.iter().filter_map(Value::as_object).filter_map(PublicKey::read);
        Ok(Self { keys: keys.collect() })
    }

    #[cfg(test)]
    pub(crate) const fn len(&self) -> usize {
        self.keys.len()
    }

    /// Iterates over the keys that may have signed with `algorithm`, and are called `kid` if the token says so.
    pub(super) fn candidates<'a>(
        &'a self,
        kid: Option<&'a str>,
        algorithm: SignatureAlgorithm,
    ) -> impl Iterator<Item = &'a PublicKey> {
        self.keys
            .iter()
            .filter(move |key| (kid.is_none() || key.id.as_deref() == kid) && key.serves(algorithm))
    }
}

/// One usable key.
#[derive(Clone)]
pub(super) struct PublicKey {
    id: Option<String>,
    /// What the publisher restricts the key to.
    algorithm: Option<SignatureAlgorithm>,
    material: Material,
}

#[derive(Clone)]
enum Material {
    Rsa {
        modulus: Vec<u8>,
        exponent: Vec<u8>,
    },
    /// An uncompressed point: 4, x, y.
    P256(Vec<u8>),
    /// An uncompressed point: 4, x, y.
    P384(Vec<u8>),
    Ed25519(Vec<u8>),
}

impl fmt::Debug for PublicKey {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("PublicKey")
            .field("id", &self.id)
            .field("algorithm", &self.algorithm)
            .finish_non_exhaustive()
    }
}

impl PublicKey {
    fn read(key: &Map<String, Value>) -> Option<Self> {
        if key.get("use").is_some_and(|usage| usage != "sig") {
            return None;
        }
        if let Some(operations) = key.get("key_ops")
            && !operations.as_array()?.iter().any(|operation| operation == "verify")
        {
            return None;
        }
        let material = match (text(key, "kty")?, key.get("crv").and_then(Value::as_str)) {
            ("RSA", _) => Material::Rsa { modulus: number(key, "n")?, exponent: number(key, "e")? },
            ("EC", Some("P-256")) => Material::P256(point(key, 32)?),
            ("EC", Some("P-384")) => Material::P384(point(key, 48)?),
            ("OKP", Some("Ed25519")) => Material::Ed25519(coordinate(key, "x", 32)?),
            _ => return None,
        };
        let algorithm = match key.get("alg") {
            Some(alg) => Some(SignatureAlgorithm::from_name(alg.as_str()?)?),
            None => None,
        };
        let id = match key.get("kid") {
            Some(id) => Some(id.as_str()?.to_owned()),
            None => None,
        };
        Some(Self { id, algorithm, material })
    }

    fn serves(&self, algorithm: SignatureAlgorithm) -> bool {
        use SignatureAlgorithm::{EdDsa, Es256, Es384, Ps256, Rs256, Rs384, Rs512};
        let fits = match self.material {
            Material::Rsa { .. } => matches!(algorithm, Rs256 | Rs384 | Rs512 | Ps256),
            Material::P256(_) => algorithm == Es256,
            Material::P384(_) => algorithm == Es384,
            Material::Ed25519(_) => algorithm == EdDsa,
        };
        fits && self.algorithm.is_none_or(|only| only == algorithm)
    }

    /// Returns whether `signature` is this key's signature of `message`.
    pub(super) fn has_signed(
        &self,
        algorithm: SignatureAlgorithm,
        message: &[u8],
        signature: &[u8],
    ) -> bool {
        let plain = |way: &'static dyn signature::VerificationAlgorithm, key: &[u8]| {
            UnparsedPublicKey::new(way, key).verify(message, signature)
        };
        let result = match (&self.material, algorithm) {
            (Material::Rsa { modulus, exponent }, _) => {
                let way = match algorithm {
                    SignatureAlgorithm::Rs256 => &signature::RSA_PKCS1_2048_8192_SHA256,
                    SignatureAlgorithm::Rs384 => &signature::RSA_PKCS1_2048_8192_SHA384,
                    SignatureAlgorithm::Rs512 => &signature::RSA_PKCS1_2048_8192_SHA512,
                    SignatureAlgorithm::Ps256 => &signature::RSA_PSS_2048_8192_SHA256,
                    _ => return false,
                };
                RsaPublicKeyComponents { n: modulus, e: exponent }.verify(way, message, signature)
            }
            (Material::P256(key), SignatureAlgorithm::Es256) => {
                plain(&signature::ECDSA_P256_SHA256_FIXED, key)
            }
            (Material::P384(key), SignatureAlgorithm::Es384) => {
                plain(&signature::ECDSA_P384_SHA384_FIXED, key)
            }
            (Material::Ed25519(key), SignatureAlgorithm::EdDsa) => plain(&signature::ED25519, key),
            _ => return false,
        };
        result.is_ok()
    }
}

/// Returns a big-endian number without leading zeros, which some publishers add and ring refuses.
fn number(key: &Map<String, Value>, name: &str) -> Option<Vec<u8>> {
    let mut bytes = decode(text(key, name)?)?;
    let zeros = bytes.iter().take_while(|byte| **byte == 0).count();
    bytes.drain(..zeros);
    (!bytes.is_empty()).then_some(bytes)
}

fn coordinate(key: &Map<String, Value>, name: &str, bytes: usize) -> Option<Vec<u8>> {
    decode(text(key, name)?).filter(|decoded| decoded.len() == bytes)
}

fn point(key: &Map<String, Value>, bytes: usize) -> Option<Vec<u8>> {
    let mut point = vec![4];
    point.extend(coordinate(key, "x", bytes)?);
    point.extend(coordinate(key, "y", bytes)?);
    Some(point)
}
