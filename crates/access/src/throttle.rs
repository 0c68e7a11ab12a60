//! Logins that fail again and again take ever longer.

use std::collections::HashMap;
use std::net::IpAddr;
use std::time::Duration;

use parking_lot::Mutex;

use crate::secret::SecretHash;

/// Attempts that may fail before the next has to wait.
const FAILURES_FREE: u32 = 5;

/// The first wait; each failure doubles it.
const DELAY_MIN: Duration = Duration::from_secs(1);

/// The longest wait.
const DELAY_MAX: Duration = Duration::from_secs(900);

/// Failures are forgotten when nothing was tried for this long.
const FORGET_AFTER: Duration = Duration::from_secs(3_600);

/// Most users and addresses that are remembered.
const ENTRIES_MAX: usize = 10_000;

/// Counts the failed logins of each user from each address.
#[derive(Debug, Default)]
pub(crate) struct Throttle {
    entries: Mutex<HashMap<ThrottleKey, Entry>>,
}

/// A user name, hashed so that its length does not matter, and an address.
pub(crate) type ThrottleKey = (SecretHash, Option<IpAddr>);

#[derive(Clone, Copy, Debug)]
struct Entry {
    failures: u32,
    last: Duration,
}

impl Entry {
    fn wait(self, now: Duration) -> Duration {
        let Some(doublings) = self.failures.checked_sub(FAILURES_FREE) else {
            return Duration::ZERO;
        };
        let delay = DELAY_MIN.saturating_mul(1 << doublings.min(16)).min(DELAY_MAX);
        (self.last + delay).saturating_sub(now)
    }
}

impl Throttle {
    /// Begins an attempt, which counts as failed until it [succeeds](Throttle::succeed): many at a time gain nothing.
    ///
    /// # Errors
    ///
    /// How long to wait.
    pub(crate) fn begin(&self, key: ThrottleKey, now: Duration) -> Result<(), Duration> {
        let mut entries = self.entries.lock();
        if !entries.contains_key(&key) && entries.len() >= ENTRIES_MAX {
            forget(&mut entries, now);
        }
        let entry = entries.entry(key).or_insert(Entry { failures: 0, last: now });
        if now.saturating_sub(entry.last) >= FORGET_AFTER {
            entry.failures = 0;
        }
        let wait = entry.wait(now);
        if !wait.is_zero() {
            return Err(wait);
        }
        *entry = Entry { failures: entry.failures.saturating_add(1), last: now };
        Ok(())
    }

    /// Forgets the failures of somebody who knows the password.
    pub(crate) fn succeed(&self, key: ThrottleKey) {
        self.entries.lock().remove(&key);
    }

    /// Takes back an attempt that was not checked.
    pub(crate) fn undo(&self, key: ThrottleKey) {
        if let Some(entry) = self.entries.lock().get_mut(&key) {
            entry.failures = entry.failures.saturating_sub(1);
        }
    }
}

/// Makes room: drops what is old, and when that is nothing, the half that was tried the longest ago.
fn forget(entries: &mut HashMap<ThrottleKey, Entry>, now: Duration) {
    entries.retain(|_, entry| now.saturating_sub(entry.last) < FORGET_AFTER);
    if entries.len() < ENTRIES_MAX {
        return;
    }
    let mut times: Vec<Duration> = entries.values().map(|entry| entry.last).collect();
    let middle = times.len() / 2;
    let median = *times.select_nth_unstable(middle).1;
    entries.retain(|_, entry| entry.last > median);
}

#[cfg(test)]
mod tests {
    use super::*;

    fn key(name: &str) -> ThrottleKey {
        (SecretHash::of(name), None)
    }

    #[test]
    fn waits_double_after_the_free_failures_and_end_with_success_or_time() {
        let throttle = Throttle::default();
        let mut now = Duration::ZERO;
        for _ in 0..FAILURES_FREE {
            assert_eq!(throttle.begin(key("ada"), now), Ok(()));
        }
        for wait in [1, 2, 4, 8, 16, 32, 64, 128, 256, 512, 900, 900] {
            let wait = Duration::from_secs(wait);
            assert_eq!(throttle.begin(key("ada"), now), Err(wait));
            assert_eq!(throttle.begin(key("bob"), Duration::ZERO), Ok(()), "another user");
            throttle.succeed(key("bob"));
            now += wait;
            assert_eq!(throttle.begin(key("ada"), now), Ok(()));
        }
        assert!(throttle.begin(key("ada"), now).is_err());
        assert_eq!(throttle.begin(key("ada"), now + FORGET_AFTER), Ok(()));
        assert_eq!(throttle.begin(key("ada"), now + FORGET_AFTER), Ok(()));
        throttle.succeed(key("ada"));
        assert!(throttle.entries.lock().is_empty());
    }

    #[test]
    fn the_number_of_entries_is_bounded() {
        let throttle = Throttle::default();
        for index in 0..=ENTRIES_MAX {
            let now = Duration::from_millis(index as u64 / 2);
            assert_eq!(throttle.begin(key(&index.to_string()), now), Ok(()));
        }
        assert!(throttle.entries.lock().len() <= ENTRIES_MAX);
        throttle.undo(key("nobody"));
    }
}
