//! Which keys were delivered lately.

use std::collections::HashMap;

use xxhash_rust::xxh3::xxh3_128;

/// Most keys that are remembered; at least half as many are. About 60 bytes each.
pub(super) const KEYS_MAX: usize = 200_000;

/// Recognises events that were stored twice under one key.
///
/// Not recognised is what came before this process began to read, and what lies further apart than the keys that are
/// remembered. The server's window is the first line, this is the second.
#[derive(Debug, Default)]
pub(super) struct Seen {
    young: HashMap<u128, u64>,
    old: HashMap<u128, u64>,
    /// How often a repetition was found.
    pub(super) skipped: u64,
}

impl Seen {
    /// Returns whether the key was seen at another position, and remembers it.
    pub(super) fn is_repetition(&mut self, message_id: &str, offset: u64) -> bool {
        let key = xxh3_128(message_id.as_bytes());
        if let Some(first) = self.young.get(&key).or_else(|| self.old.get(&key)) {
            let is_other = *first != offset;
            self.skipped += u64::from(is_other);
            return is_other;
        }
        if self.young.len() >= KEYS_MAX / 2 {
            self.old = std::mem::take(&mut self.young);
        }
        self.young.insert(key, offset);
        false
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_key_at_another_position_is_a_repetition_and_at_its_own_it_is_not() {
        let mut seen = Seen::default();
        assert!(!seen.is_repetition("a", 1));
        assert!(!seen.is_repetition("a", 1));
        assert!(!seen.is_repetition("b", 2));
        assert!(seen.is_repetition("a", 3));
        assert_eq!(seen.skipped, 1);
    }

    #[test]
    fn memory_is_bounded_and_the_last_half_is_remembered() {
        let mut seen = Seen::default();
        let count = KEYS_MAX as u64 * 2;
        for offset in 0..count {
            seen.is_repetition(&offset.to_string(), offset);
        }
        assert!(seen.young.len() + seen.old.len() <= KEYS_MAX);
        for offset in count - KEYS_MAX as u64 / 2..count {
            assert!(seen.is_repetition(&offset.to_string(), count), "{offset}");
        }
        assert!(!seen.is_repetition("0", count));
    }
}
