//! Hashing with a secret, so that nobody outside can choose what collides.

use std::fmt;
use std::sync::Arc;

use platform::Rng;
use xxhash_rust::xxh3::{xxh3_64_with_secret, xxh3_128_with_secret};

/// XXH3 with a secret of the process.
#[derive(Clone)]
pub(crate) struct KeyedHash {
    secret: Arc<[u8; 192]>,
}

impl KeyedHash {
    /// Returns a hash function of its own.
    pub(crate) fn new(rng: &dyn Rng) -> Self {
        let mut secret = [0; 192];
        rng.fill(&mut secret);
        Self { secret: Arc::new(secret) }
    }

    /// Returns 64 bits.
    pub(crate) fn of(&self, bytes: &[u8]) -> u64 {
        xxh3_64_with_secret(bytes, &*self.secret)
    }

    /// Returns 128 bits that stand for the bytes in one of several encodings.
    pub(crate) fn of_encoded(&self, encoding: u8, bytes: &[u8]) -> u128 {
        const SPREAD: u128 = 0x9E37_79B9_7F4A_7C15_F39C_C060_5CED_C835;
        xxh3_128_with_secret(bytes, &*self.secret) ^ u128::from(encoding).wrapping_mul(SPREAD)
    }
}

impl fmt::Debug for KeyedHash {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("KeyedHash").finish_non_exhaustive()
    }
}
