//! A bucket for each of many keys that anybody can invent, in bounded memory.

use std::hash::{DefaultHasher, Hash, Hasher as _};
use std::time::Duration;

use parking_lot::Mutex;
use platform::Rng;

use super::{Exceeded, RateLimit, spend};

/// Buckets that share a set, and a lock.
const WAYS: usize = 8;

/// A bucket for each key, for keys that are as many as somebody likes: addresses of clients.
///
/// The table has a fixed size and is built as the cache of a processor: a key belongs to one set of eight places, and
/// one that is not there takes the place of the bucket that lacks least. Most of the time that one is full again, and
/// nothing is forgotten. When more keys are at work than there is room for, nobody is refused for that: those who spend
/// little are forgotten first, which gives each of them at most what a new key gets anyway, and those who overspend are
/// remembered. So somebody with many addresses can neither take up memory nor lock out others, and gets at most twice
/// what as many addresses are allowed.
///
/// A check locks one of many sets, for tens of nanoseconds, and never allocates. Which keys share a set depends on
/// random numbers, so nobody can choose whom to displace.
#[derive(Debug)]
pub struct KeyedLimiter<K> {
    /// As many as a power of two.
    sets: Box<[Mutex<Set<K>>]>,
    seed: [u64; 2],
}

/// Keys with the monotonic time in nanoseconds at which their bucket is full again.
#[derive(Debug)]
struct Set<K> {
    places: [Option<(K, u64)>; WAYS],
}

impl<K: Copy + Eq + Hash> KeyedLimiter<K> {
    /// Returns a table with room for `keys_max` keys, rounded up to eight times a power of two.
    ///
    /// All memory is taken now: with addresses as keys 26 bytes for each.
    #[must_use]
    pub fn new(keys_max: usize, rng: &dyn Rng) -> Self {
        let sets = keys_max.div_ceil(WAYS).next_power_of_two();
        Self {
            sets: (0..sets).map(|_| Mutex::new(Set { places: [None; WAYS] })).collect(),
            seed: [rng.next_u64(), rng.next_u64()],
        }
    }

    /// Spends `cost` of the bucket of `key` at the monotonic time `now`: all of it, or nothing. As
    /// [`Limiter::check`](super::Limiter::check).
    ///
    /// # Errors
    ///
    /// There is too little in the bucket.
    pub fn check(
        &self,
        limit: RateLimit,
        key: K,
        cost: u64,
        now: Duration,
    ) -> Result<(), Exceeded> {
        let Some(set) = self.sets.get(self.set_of(&key)) else { return Ok(()) };
        let mut set = set.lock();
        let place = set.place_of(&key);
        let known = match place {
            Some((known, full_at)) if *known == key => Some(*full_at),
            _ => None,
        };
        let (full_at, result) = spend(known.unwrap_or(0), limit, cost, now);
        // What a stranger is refused, it will be refused for ever: that takes nobody's place.
        if known.is_some() || result.is_ok() {
            *place = Some((key, full_at));
        }
        result
    }

    /// Returns the number of keys that have a place, whether their bucket is full again or not. Walks the table.
    #[must_use]
    pub fn len(&self) -> usize {
        self.sets.iter().map(|set| set.lock().places.iter().flatten().count()).sum()
    }

    /// Returns whether no key has a place.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.len() == 0
    }

    fn set_of(&self, key: &K) -> usize {
        // SipHash with the seed before the key: without knowing the seed, nobody finds keys of one set.
        let mut hasher = DefaultHasher::new();
        self.seed.hash(&mut hasher);
        key.hash(&mut hasher);
        #[expect(clippy::cast_possible_truncation, reason = "the low bits are as good as any")]
        let hash = hasher.finish() as usize;
        hash & (self.sets.len() - 1)
    }
}

impl<K: Eq> Set<K> {
    /// Returns the place of `key`, or the one that it may take: an empty one, or that whose bucket lacks least.
    fn place_of(&mut self, key: &K) -> &mut Option<(K, u64)> {
        let rank = |place: &Option<(K, u64)>| match place {
            Some((known, _)) if known == key => (0, 0),
            None => (1, 0),
            Some((_, full_at)) => (2, *full_at),
        };
        let [first, others @ ..] = &mut self.places;
        others
            .iter_mut()
            .fold(first, |best, place| if rank(place) < rank(best) { place } else { best })
    }
}

#[cfg(test)]
mod tests {
    use std::collections::BTreeMap;

    use platform::SimRng;
    use proptest::collection::vec;
    use proptest::prelude::*;

    use super::super::Limiter;
    use super::*;

    fn limiter(keys_max: usize) -> KeyedLimiter<u64> {
        KeyedLimiter::new(keys_max, &*SimRng::new(7))
    }

    fn limit() -> RateLimit {
        RateLimit::new(1.0, 10).expect("a limit")
    }

    const START: Duration = Duration::from_secs(100);

    #[test]
    fn keys_have_buckets_of_their_own() {
        let limiter = limiter(8);
        assert_eq!(limiter.check(limit(), 1, 10, START), Ok(()));
        assert!(limiter.check(limit(), 1, 1, START).is_err());
        assert_eq!(limiter.check(limit(), 2, 10, START), Ok(()));
    }

    #[test]
    fn where_there_is_no_room_the_least_spender_is_forgotten() {
        let limiter = limiter(8);
        for key in 1..=8 {
            assert_eq!(limiter.check(limit(), key, key, START), Ok(()), "{key}");
        }
        assert_eq!(limiter.check(limit(), 99, 5, START), Ok(()), "a stranger is not refused");
        assert_eq!(limiter.len(), 8);
        for key in 2..=8 {
            assert!(limiter.check(limit(), key, 11 - key, START).is_err(), "{key} is remembered");
        }
        assert_eq!(limiter.check(limit(), 1, 10, START), Ok(()), "the first is a stranger again");
    }

    #[test]
    fn a_client_is_served_while_somebody_with_many_addresses_is_at_work() {
        let limiter = limiter(64);
        let offender = u64::MAX;
        assert_eq!(limiter.check(limit(), offender, 10, START), Ok(()));
        for stranger in 0..100_000 {
            assert_eq!(limiter.check(limit(), stranger, 1, START), Ok(()), "{stranger}");
        }
        assert!(limiter.check(limit(), offender, 1, START).is_err(), "overspending is remembered");
        assert!(limiter.len() <= 64);
        let later = START + Duration::from_secs(1);
        assert_eq!(limiter.check(limit(), 100_000, 1, later), Ok(()));
    }

    #[test]
    fn room_is_rounded_up() {
        for (keys_max, sets) in [(0, 1), (1, 1), (8, 1), (9, 2), (1000, 128)] {
            assert_eq!(limiter(keys_max).sets.len(), sets, "{keys_max}");
        }
    }

    #[test]
    fn what_is_never_allowed_takes_no_place() {
        let limiter = limiter(8);
        assert_eq!(limiter.check(limit(), 1, 11, START), Err(Exceeded::Forever { burst: 10 }));
        assert!(limiter.is_empty());
    }

    proptest! {
        #[test]
        fn with_room_for_all_each_key_is_a_bucket(
            steps in vec((0_u64..8, 0_u64..12, 0_u64..3_000), 1..200),
        ) {
            let keyed = limiter(8);
            let mut single: BTreeMap<u64, Limiter> = BTreeMap::new();
            let mut now = START;
            for (key, cost, millis) in steps {
                now += Duration::from_millis(millis);
                let expected = single.entry(key).or_default().check(limit(), cost, now);
                prop_assert_eq!(keyed.check(limit(), key, cost, now), expected);
            }
        }
    }
}
