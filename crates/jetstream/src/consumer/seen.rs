//! Which keys were delivered lately.

use std::collections::HashMap;

use xxhash_rust::xxh3::Xxh3;

/// Most keys that are remembered; at least half as many are. About 60 bytes each.
pub(super) const KEYS_MAX: usize = 200_000;

/// Recognises events that were stored twice under one key. Another event of the same key is none of these: it came when
/// the key was free again.
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
    /// Returns whether the same content with the same key was seen at another position, and remembers it.
    pub(super) fn is_repetition(
        &mut self,
        message_id: &str,
        fingerprint: Option<&str>,
        offset: u64,
    ) -> bool {
        let mut hash = Xxh3::new();
        hash.update(message_id.as_bytes());
        // No line break is in a header.
        hash.update(b"\n");
        hash.update(fingerprint.unwrap_or_default().as_bytes());
        let key = hash.digest128();
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
        assert!(!seen.is_repetition("a", None, 1));
        assert!(!seen.is_repetition("a", None, 1));
        assert!(!seen.is_repetition("b", None, 2));
        assert!(seen.is_repetition("a", None, 3));
        assert_eq!(seen.skipped, 1);
    }

    #[test]
    fn another_event_of_a_key_is_no_repetition() {
        let mut seen = Seen::default();
        assert!(!seen.is_repetition("a", Some("1"), 1));
        assert!(!seen.is_repetition("a", Some("2"), 2));
        assert!(seen.is_repetition("a", Some("1"), 3));
        assert!(seen.is_repetition("a", Some("2"), 4));
    }

    #[test]
    fn memory_is_bounded_and_the_last_half_is_remembered() {
        let mut seen = Seen::default();
        let count = KEYS_MAX as u64 * 2;
        for offset in 0..count {
            seen.is_repetition(&offset.to_string(), None, offset);
        }
        assert!(seen.young.len() + seen.old.len() <= KEYS_MAX);
        for offset in count - KEYS_MAX as u64 / 2..count {
            assert!(seen.is_repetition(&offset.to_string(), None, count), "{offset}");
        }
        assert!(!seen.is_repetition("0", None, count));
    }
}
