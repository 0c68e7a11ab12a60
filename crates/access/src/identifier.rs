//! Identifiers: UUIDs of version 7, in the order in which they were made.

use std::sync::Arc;

use parking_lot::Mutex;
use platform::{Clock, Rng};

/// Makes identifiers. Those of one maker go up, also within a millisecond and when the clock is set back.
#[derive(Debug)]
pub(crate) struct Identifiers {
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
    /// The last milliseconds, and how many identifiers they have had.
    last: Mutex<(u64, u16)>,
}

/// Identifiers of one millisecond: twelve bits.
const COUNTER_MAX: u16 = 0xFFF;

impl Identifiers {
    pub(crate) fn new(clock: Arc<dyn Clock>, rng: Arc<dyn Rng>) -> Self {
        Self { clock, rng, last: Mutex::new((0, 0)) }
    }

    /// Returns a new identifier, as in RFC 9562, section 5.7; the counter of section 6.2, method 1.
    pub(crate) fn next(&self) -> String {
        let now = self.clock.now().as_millis().max(0).cast_unsigned();
        let (millis, counter) = {
            let mut last = self.last.lock();
            *last = match *last {
                (millis, _) if millis < now => (now, 0),
                (millis, COUNTER_MAX) => (millis + 1, 0),
                (millis, counter) => (millis, counter + 1),
            };
            *last
        };
        let time = millis & 0xFFFF_FFFF_FFFF;
        let random = self.rng.next_u64();
        let variant = 0x8000 | (random >> 48 & 0x3FFF);
        let node = random & 0xFFFF_FFFF_FFFF;
        format!("{:08x}-{:04x}-7{counter:03x}-{variant:04x}-{node:012x}", time >> 16, time & 0xFFFF)
    }
}

#[cfg(test)]
mod tests {
    use std::time::Duration;

    use platform::{SimClock, SimRng, Timestamp};

    use super::*;

    #[test]
    fn identifiers_go_up_within_a_millisecond_and_when_the_clock_is_set_back() {
        let clock = SimClock::new(Timestamp::from_millis(0x0192_0000_1234));
        let maker = Identifiers::new(Arc::new(Arc::clone(&clock)), SimRng::new(1));
        let mut made: Vec<String> = (0..5_000).map(|_| maker.next()).collect();
        clock.set_now(Timestamp::from_millis(0x0191_0000_0000));
        made.push(maker.next());
        clock.set_now(Timestamp::from_millis(0x0193_0000_0000));
        clock.advance(Duration::from_millis(1));
        made.push(maker.next());
        assert!(made.is_sorted_by(|one, next| one < next));
        assert!(made[0].starts_with("01920000-1234-7000-"), "{}", made[0]);
        assert_eq!(made[0].len(), 36);
    }
}
