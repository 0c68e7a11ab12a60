//! Signed tokens (JWT, [RFC 7519](https://www.rfc-editor.org/rfc/rfc7519)) of an OpenID Connect provider.
//!
//! Only what a provider's ID token needs: the compact form, public-key signatures, keys from the provider's own set.
//! Keys and addresses of keys inside a token are never looked at. The checks follow
//! [RFC 8725](https://www.rfc-editor.org/rfc/rfc8725) and
//! [OpenID Connect Core, 3.1.3.7](https://openid.net/specs/openid-connect-core-1_0.html#IDTokenValidation).

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::Timestamp;
use serde_json::{Map, Value};

pub(crate) mod json;
mod keys;

pub(crate) use keys::KEY_SET_BYTES_MAX;
pub(crate) use keys::{KeySet, SignatureAlgorithm};

/// Most bytes of a token.
const TOKEN_BYTES_MAX: usize = 64 * 1024;

/// Most characters of the subject, as OpenID Connect has it.
const SUBJECT_CHARS_MAX: usize = 255;

/// How far the clocks of provider and server may be apart.
const LEEWAY_SECONDS: f64 = 60.0;

/// The last second of the year 9999: no honest time lies behind it.
const SECONDS_MAX: f64 = 253_402_300_799.0;

/// Why a published key set is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum KeySetError {
    /// It has too many bytes or keys.
    #[error(
        "the key set has more than {bytes} bytes or {keys} keys",
        bytes = keys::KEY_SET_BYTES_MAX,
        keys = keys::KEYS_MAX
    )]
    TooLarge,
    /// It is no key set.
    #[error("the key set cannot be read: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
}

/// Why a token is refused.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum TokenError {
    /// It is larger than any token should be.
    #[error("the token is larger than {TOKEN_BYTES_MAX} bytes")]
    TooLarge,
    /// It is no signed token.
    #[error("the token is malformed: {reason}")]
    Malformed {
        /// What is wrong with it.
        reason: String,
    },
    /// It is signed in a way that is not allowed.
    #[error("the token's algorithm is not allowed")]
    Algorithm,
    /// No key of the set fits. The set may be old: fetch it again, and try once more.
    #[error("the token's key is not in the provider's key set")]
    UnknownKey,
    /// More than one key of the set fits.
    #[error("the token does not say which of the provider's keys signed it")]
    AmbiguousKey,
    /// The signature is not that of the key.
    #[error("the token's signature is wrong")]
    Signature,
    /// A claim is missing or not what it has to be.
    #[error("the token's claim '{claim}' {reason}")]
    Claim {
        /// The claim.
        claim: &'static str,
        /// What is wrong with it.
        reason: &'static str,
    },
}

/// What a token has to say.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Expected<'a> {
    /// Who issued it, exactly.
    pub(crate) issuer: &'a str,
    /// For whom it is: our client identifier.
    pub(crate) audience: &'a str,
    /// The allowed ways to sign.
    pub(crate) algorithms: &'a [SignatureAlgorithm],
}

/// A token whose signature and registered claims are right.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    /// How it is signed.
    pub(crate) algorithm: SignatureAlgorithm,
    /// Whom it speaks of: unique and never reused at its issuer.
    pub(crate) subject: String,
    /// Everything that it says.
    pub(crate) claims: Map<String, Value>,
}

/// Checks a token completely: form, signature, and the claims `iss`, `sub`, `aud`, `azp`, `exp`, `nbf`, `iat`.
///
/// Times may be off by a minute. What is bound to one login (`nonce`, `at_hash`) is left to the caller.
///
/// # Errors
///
/// The first check that fails.
pub(crate) fn verify(
    token: &str,
    keys: &KeySet,
    expected: &Expected<'_>,
    now: Timestamp,
) -> Result<Token, TokenError> {
    let (algorithm, payload) = verify_signature(token, keys, expected.algorithms)?;
    let claims = json::parse_object(&payload).map_err(|reason| malformed("payload", &reason))?;
    check_times(&claims, now)?;
    check_parties(&claims, expected)?;
    let subject = text(&claims, "sub")
        .filter(|subject| !subject.is_empty() && subject.chars().count() <= SUBJECT_CHARS_MAX)
        .ok_or(TokenError::Claim { claim: "sub", reason: "is no text of 1 to 255 characters" })?
        .to_owned();
    Ok(Token { algorithm, subject, claims })
}

/// Checks form and signature, and returns the payload.
fn verify_signature(
    token: &str,
    keys: &KeySet,
    algorithms: &[SignatureAlgorithm],
) -> Result<(SignatureAlgorithm, Vec<u8>), TokenError> {
    if token.len() > TOKEN_BYTES_MAX {
        return Err(TokenError::TooLarge);
    }
    let mut parts = token.split('.');
    let (Some(header), Some(payload), Some(signature), None) =
        (parts.next(), parts.next(), parts.next(), parts.next())
    else {
        return Err(TokenError::Malformed { reason: "it has not three parts".to_owned() });
    };
    let message = &token[..header.len() + 1 + payload.len()];
    let part = |name: &str, text: &str| {
        decode(text).ok_or_else(|| malformed(name, "it is no unpadded base64url"))
    };
    let (header, payload, signature) =
        (part("header", header)?, part("payload", payload)?, part("signature", signature)?);

    let header = json::parse_object(&header).map_err(|reason| malformed("header", &reason))?;
    // Extensions that must be understood are not: there is none that we know.
    if header.contains_key("crit") {
        return Err(malformed("header", "'crit' is not supported"));
    }
    let algorithm = text(&header, "alg")
        .and_then(SignatureAlgorithm::from_name)
        .filter(|algorithm| algorithms.contains(algorithm))
        .ok_or(TokenError::Algorithm)?;
    let kid = match header.get("kid") {
        Some(Value::String(kid)) => Some(kid.as_str()),
        Some(_) => return Err(malformed("header", "'kid' is no text")),
        None => None,
    };
    let mut candidates = keys.candidates(kid, algorithm);
    let key = candidates.next().ok_or(TokenError::UnknownKey)?;
    if candidates.next().is_some() {
        return Err(TokenError::AmbiguousKey);
    }
    if !key.has_signed(algorithm, message.as_bytes(), &signature) {
        return Err(TokenError::Signature);
    }
    Ok((algorithm, payload))
}

fn check_times(claims: &Map<String, Value>, now: Timestamp) -> Result<(), TokenError> {
    #[expect(clippy::cast_precision_loss, reason = "exact until the year 287396")]
    let now = now.as_millis() as f64 / 1_000.0;
    let required =
        |claim| seconds(claims, claim)?.ok_or(TokenError::Claim { claim, reason: "is missing" });
    if now >= required("exp")? + LEEWAY_SECONDS {
        return Err(TokenError::Claim { claim: "exp", reason: "has passed" });
    }
    if required("iat")? > now + LEEWAY_SECONDS {
        return Err(TokenError::Claim { claim: "iat", reason: "lies in the future" });
    }
    if seconds(claims, "nbf")?.is_some_and(|not_before| not_before > now + LEEWAY_SECONDS) {
        return Err(TokenError::Claim { claim: "nbf", reason: "lies in the future" });
    }
    Ok(())
}

/// Returns a time in seconds since the epoch.
fn seconds(claims: &Map<String, Value>, claim: &'static str) -> Result<Option<f64>, TokenError> {
    let Some(value) = claims.get(claim) else { return Ok(None) };
    match value.as_f64() {
        Some(seconds) if (0.0..=SECONDS_MAX).contains(&seconds) => Ok(Some(seconds)),
        _ => Err(TokenError::Claim { claim, reason: "is no time" }),
    }
}

fn check_parties(claims: &Map<String, Value>, expected: &Expected<'_>) -> Result<(), TokenError> {
    if text(claims, "iss") != Some(expected.issuer) {
        return Err(TokenError::Claim { claim: "iss", reason: "is not the configured issuer" });
    }
    let (audiences, for_us) = match claims.get("aud") {
        Some(Value::String(audience)) => (1, audience == expected.audience),
        Some(Value::Array(audiences)) => {
            (audiences.len(), audiences.iter().any(|audience| audience == expected.audience))
        }
        _ => (0, false),
    };
    if !for_us {
        return Err(TokenError::Claim { claim: "aud", reason: "does not contain the client" });
    }
    match claims.get("azp") {
        Some(party) if party != expected.audience => {
            Err(TokenError::Claim { claim: "azp", reason: "is not the client" })
        }
        None if audiences > 1 => {
            Err(TokenError::Claim { claim: "azp", reason: "is missing beside several audiences" })
        }
        _ => Ok(()),
    }
}

fn malformed(part: &str, reason: &str) -> TokenError {
    TokenError::Malformed { reason: format!("{part}: {reason}") }
}

/// Decodes base64url without padding; what a strict encoder would not write is refused.
pub(crate) fn decode(text: &str) -> Option<Vec<u8>> {
    URL_SAFE_NO_PAD.decode(text).ok()
}

/// Returns a member that is a text.
pub(crate) fn text<'a>(object: &'a Map<String, Value>, name: &str) -> Option<&'a str> {
    object.get(name).and_then(Value::as_str)
}

#[cfg(test)]
pub(crate) mod tests;
