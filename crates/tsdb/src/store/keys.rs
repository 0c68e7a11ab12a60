//! Which series was found behind the bytes of a key: a cache, so that labels are decoded once and not once a sample.

use hashbrown::HashTable;

/// Remembers series by a keyed hash of 128 bits of how they are spelt.
///
/// The hash stands for the spelling: 96 of its bits are compared, so that with a secret key two spellings are
/// never taken for each other, even after thousands of millions of them.
#[derive(Debug, Default)]
pub(super) struct KeyCache {
    entries: HashTable<Entry>,
}

#[derive(Clone, Copy, Debug)]
struct Entry {
    hash: u64,
    check: u32,
    series: u32,
}

impl KeyCache {
    pub(super) fn find(&self, key: u128) -> Option<u32> {
        let (hash, check) = split(key);
        let found = self.entries.find(hash, |entry| entry.hash == hash && entry.check == check);
        found.map(|entry| entry.series)
    }

    /// Remembers a key that [`KeyCache::find`] did not find. Forgets all others when there are `entries_max`:
    /// a sender that spells the same series in ever new ways must not fill the memory.
    pub(super) fn insert(&mut self, key: u128, series: u32, entries_max: usize) {
        let (hash, check) = split(key);
        if self.entries.len() >= entries_max {
            self.clear();
        }
        self.entries.insert_unique(hash, Entry { hash, check, series }, |entry| entry.hash);
    }

    /// Forgets everything: the numbers of series have changed.
    pub(super) fn clear(&mut self) {
        self.entries = HashTable::new();
    }

    /// Returns the memory that is held, in bytes.
    pub(super) fn bytes(&self) -> u64 {
        self.entries.allocation_size() as u64
    }
}

fn split(key: u128) -> (u64, u32) {
    (key as u64, (key >> 96) as u32)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_cache_never_holds_more_than_its_limit() {
        let mut cache = KeyCache::default();
        for key in 0..25_u32 {
            cache.insert(u128::from(key), key, 10);
            assert_eq!(cache.find(u128::from(key)), Some(key));
            assert!(cache.entries.len() <= 10);
        }
        assert_eq!(cache.find(3), None);
        assert_eq!(cache.find(24 | 1 << 96), None);
    }
}
