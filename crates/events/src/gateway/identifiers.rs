//! Identifiers of events: UUIDs of version 7, in the order in which they were made.

use std::sync::Arc;

use model::Timestamp;
use parking_lot::Mutex;
use platform::Rng;
use uuid::Uuid;

/// Random bytes that are fetched at once: asking the system costs more than using them.
const POOL_BYTES: usize = 1 << 10;
/// Random bytes of one identifier.
const RANDOM_BYTES: usize = 8;
/// Identifiers of one millisecond: twelve bits.
const COUNTER_MAX: u16 = 0xFFF;

/// Makes identifiers. Those of one maker go up, also within a millisecond and when the clock is set back.
#[derive(Debug)]
pub(super) struct Identifiers {
    rng: Arc<dyn Rng>,
    state: Mutex<State>,
}

struct State {
    millis: u64,
    counter: u16,
    pool: [u8; POOL_BYTES],
    used: usize,
}

impl std::fmt::Debug for State {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("State").field("millis", &self.millis).finish_non_exhaustive()
    }
}

impl Identifiers {
    pub(super) fn new(rng: Arc<dyn Rng>) -> Self {
        let state = State { millis: 0, counter: 0, pool: [0; POOL_BYTES], used: POOL_BYTES };
        Self { rng, state: Mutex::new(state) }
    }

    /// Returns a new identifier, as in RFC 9562, section 5.7; the counter of section 6.2, method 1.
    pub(super) fn next(&self, now: Timestamp) -> Box<str> {
        let now = now.as_millis().max(0).cast_unsigned();
        let (millis, counter, random) = {
            let mut state = self.state.lock();
            (state.millis, state.counter) = match (state.millis, state.counter) {
                (millis, _) if millis < now => (now, 0),
                (millis, COUNTER_MAX) => (millis + 1, 0),
                (millis, counter) => (millis, counter + 1),
            };
            (state.millis, state.counter, state.random(self.rng.as_ref()))
        };
        let time = millis & 0xFFFF_FFFF_FFFF;
        let high = time << 16 | 0x7000 | u64::from(counter);
        let low = 1 << 63 | random >> 2;
        let mut text = Uuid::encode_buffer();
        (&*Uuid::from_u64_pair(high, low).hyphenated().encode_lower(&mut text)).into()
    }
}

impl State {
    fn random(&mut self, rng: &dyn Rng) -> u64 {
        if self.used == POOL_BYTES {
            rng.fill(&mut self.pool);
            self.used = 0;
        }
        let mut bytes = [0; RANDOM_BYTES];
        bytes.copy_from_slice(&self.pool[self.used..self.used + RANDOM_BYTES]);
        self.used += RANDOM_BYTES;
        u64::from_le_bytes(bytes)
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeSet;

    use platform::SimRng;

    use super::*;

    #[test]
    fn identifiers_go_up_within_a_millisecond_and_when_the_clock_is_set_back() {
        let now = Timestamp::from_millis(0x0192_0000_1234);
        let maker = Identifiers::new(SimRng::new(1));
        let mut made: Vec<_> = (0..5_000).map(|_| maker.next(now)).collect();
        made.push(maker.next(Timestamp::from_millis(0x0191_0000_0000)));
        assert!(made.is_sorted_by(|one, next| one < next));
        assert!(made[0].starts_with("01920000-1234-7000-"), "{}", made[0]);
        let variant = made[0].as_bytes()[19];
        assert!(made[0].len() == 36 && b"89ab".contains(&variant), "{}", made[0]);
        let ends: BTreeSet<&str> = made.iter().map(|id| &id[20..]).collect();
        assert_eq!(ends.len(), made.len(), "each with randomness of its own");
    }
}
