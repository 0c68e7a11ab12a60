//! Keys and session cookies: 64 lower-case hexadecimal digits that say 32 random bytes.
//!
//! Only the SHA-256 of the text is stored. A slow hash would add nothing: there is nothing to guess. Hashes are looked
//! up by value; the time that takes tells something about a hash, from which no key follows.

use std::fmt;

use platform::Rng;
use ring::digest::{SHA256, digest};
use secrecy::SecretString;

/// Random bytes in a key or cookie.
const SECRET_BYTES: usize = 32;

/// The key of the examples of Causality's documents, which is in the database of many an installation.
const WELL_KNOWN: &str = "deadbeef";

/// The SHA-256 of a key, cookie or token.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub(crate) struct SecretHash([u8; 32]);

impl fmt::Debug for SecretHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("SecretHash(…)")
    }
}

impl SecretHash {
    /// Returns the hash of a text.
    pub(crate) fn of(text: &str) -> Self {
        let mut hash = [0; 32];
        hash.copy_from_slice(digest(&SHA256, text.as_bytes()).as_ref());
        Self(hash)
    }

    /// Returns what is stored: lower-case hexadecimal digits.
    pub(crate) fn to_hex(self) -> String {
        hex(&self.0)
    }

    /// Reads what is stored.
    pub(crate) fn from_hex(text: &str) -> Option<Self> {
        if !is_well_formed(text) {
            return None;
        }
        let digit = |byte: u8| if byte <= b'9' { byte - b'0' } else { byte - b'a' + 10 };
        let mut hash = [0; 32];
        for (byte, pair) in hash.iter_mut().zip(text.as_bytes().chunks_exact(2)) {
            if let [high, low] = pair {
                *byte = digit(*high) << 4 | digit(*low);
            }
        }
        Some(Self(hash))
    }
}

/// Returns whether a text has the form of a key.
pub(crate) fn is_well_formed(text: &str) -> bool {
    text.len() == 2 * SECRET_BYTES
        && text.bytes().all(|byte| matches!(byte, b'0'..=b'9' | b'a'..=b'f'))
}

/// Returns whether a key is one that everybody knows.
pub(crate) fn is_well_known(text: &str) -> bool {
    let repeats = |part: &str| {
        let bytes = part.len();
        text.as_bytes().chunks(bytes).all(|chunk| chunk == part.as_bytes())
    };
    repeats(WELL_KNOWN) || text.get(..1).is_some_and(repeats)
}

/// Returns a new key or cookie.
pub(crate) fn generate(rng: &dyn Rng) -> SecretString {
    let mut bytes = [0; SECRET_BYTES];
    rng.fill(&mut bytes);
    hex(&bytes).into()
}

fn hex(bytes: &[u8]) -> String {
    bytes.iter().flat_map(|byte| [byte >> 4, byte & 15]).map(digit).collect()
}

fn digit(nibble: u8) -> char {
    char::from_digit(nibble.into(), 16).unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use platform::SimRng;
    use proptest::prelude::*;
    use secrecy::ExposeSecret as _;

    use super::*;

    #[test]
    fn the_hash_is_that_of_the_text() {
        // As Causality stores the key of its examples.
        assert_eq!(
            SecretHash::of(&WELL_KNOWN.repeat(8)).to_hex(),
            "247d08f3e13938b244f5ecd8966f1778e5e72b175820f46ba86c9c039272affa"
        );
    }

    #[test]
    fn a_new_key_is_well_formed_and_another_one_each_time() {
        let rng = SimRng::new(1);
        let [one, other] = [generate(&*rng), generate(&*rng)];
        assert!(is_well_formed(one.expose_secret()));
        assert_ne!(one.expose_secret(), other.expose_secret());
    }

    #[test]
    fn form_is_checked() {
        let key = "0123456789abcdef".repeat(4);
        for (text, expected) in [
            (key.as_str(), true),
            (&key[1..], false),
            (&key.to_uppercase(), false),
            (&format!("{}g", &key[1..]), false),
            (&format!("{}é", &key[2..]), false),
            ("", false),
        ] {
            assert_eq!(is_well_formed(text), expected, "{text}");
        }
    }

    #[test]
    fn keys_that_everybody_knows_are_told() {
        for (text, expected) in [
            ("deadbeef".repeat(8), true),
            ("0".repeat(64), true),
            ("0123456789abcdef".repeat(4), false),
        ] {
            assert_eq!(is_well_known(&text), expected, "{text}");
        }
    }

    proptest! {
        #[test]
        fn what_is_stored_is_read_back(text in "\\PC{0,80}") {
            let hash = SecretHash::of(&text);
            prop_assert_eq!(SecretHash::from_hex(&hash.to_hex()), Some(hash));
            if !is_well_formed(&text) {
                prop_assert_eq!(SecretHash::from_hex(&text), None);
            }
        }
    }
}
