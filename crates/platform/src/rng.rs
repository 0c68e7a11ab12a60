//! Randomness: for jitter, keys of hash tables, identifiers.

use std::fmt;
use std::sync::Arc;

use parking_lot::Mutex;

/// A source of random bytes.
pub trait Rng: Send + Sync + fmt::Debug {
    /// Fills `bytes` with random data.
    fn fill(&self, bytes: &mut [u8]);

    /// Returns a uniformly distributed number.
    fn next_u64(&self) -> u64;
}

/// The operating system's cryptographically secure generator.
#[derive(Debug, Default)]
pub struct SystemRng;

impl SystemRng {
    /// Returns the operating system's generator.
    #[must_use]
    pub fn new() -> Arc<Self> {
        Arc::new(Self)
    }
}

impl Rng for SystemRng {
    /// # Panics
    ///
    /// When the kernel has no randomness to give, which no supported kernel does once booted.
    fn fill(&self, bytes: &mut [u8]) {
        let mut filled = 0;
        while filled < bytes.len() {
            match rustix::rand::getrandom(
                &mut bytes[filled..],
                rustix::rand::GetRandomFlags::empty(),
            ) {
                Ok(count) => filled += count,
                Err(rustix::io::Errno::INTR) => {}
                Err(errno) => panic!("kernel refuses random bytes: {errno}"),
            }
        }
    }

    fn next_u64(&self) -> u64 {
        let mut bytes = [0; 8];
        self.fill(&mut bytes);
        u64::from_le_bytes(bytes)
    }
}

/// A reproducible generator (SplitMix64): one seed, one sequence.
#[derive(Debug)]
pub struct SimRng {
    state: Mutex<u64>,
}

impl SimRng {
    /// Returns the generator of the sequence that belongs to `seed`.
    #[must_use]
    pub fn new(seed: u64) -> Arc<Self> {
        Arc::new(Self { state: Mutex::new(seed) })
    }

    /// Returns a number below `limit`; the bias for limits far below 2^64 does not matter to a test.
    ///
    /// # Panics
    ///
    /// When `limit` is zero.
    pub fn below(&self, limit: u64) -> u64 {
        self.next_u64() % limit
    }
}

impl Rng for SimRng {
    fn fill(&self, bytes: &mut [u8]) {
        for chunk in bytes.chunks_mut(8) {
            let word = self.next_u64().to_le_bytes();
            chunk.copy_from_slice(&word[..chunk.len()]);
        }
    }

    fn next_u64(&self) -> u64 {
        let mut state = self.state.lock();
        *state = state.wrapping_add(0x9E37_79B9_7F4A_7C15);
        let mut mixed = *state;
        mixed = (mixed ^ (mixed >> 30)).wrapping_mul(0xBF58_476D_1CE4_E5B9);
        mixed = (mixed ^ (mixed >> 27)).wrapping_mul(0x94D0_49BB_1331_11EB);
        mixed ^ (mixed >> 31)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_same_seed_gives_the_same_sequence_and_another_seed_another_one() {
        let draw = |seed| {
            let rng = SimRng::new(seed);
            (0..4).map(|_| rng.next_u64()).collect::<Vec<_>>()
        };
        assert_eq!(draw(7), draw(7));
        assert_ne!(draw(7), draw(8));
    }

    #[test]
    fn the_system_generator_does_not_repeat_itself() {
        let rng = SystemRng::new();
        assert_ne!(rng.next_u64(), rng.next_u64());
    }
}
