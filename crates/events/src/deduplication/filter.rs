//! Which keys a file certainly does not hold.

/// Bits of the filter for each key: about one of a thousand keys that are not there seems to be.
const BITS_PER_KEY: u64 = 16;

/// Words of a block.
const WORDS: usize = 8;

/// Bytes of a block: one cache line holds all that is asked for one key.
pub(super) const FILTER_BLOCK_BYTES: usize = WORDS * 4;

/// Odd numbers that spread half a key over the eight words, as in the split block Bloom filter of Parquet
/// (<https://parquet.apache.org/docs/file-format/bloomfilter/>).
const SALTS: [u32; WORDS] = [
    0x47b6_137b,
    0x4497_4d91,
    0x8824_ad5b,
    0xa2b7_289d,
    0x7054_95c7,
    0x2df1_424b,
    0x9efc_4947,
    0x5c6b_fb31,
];

/// A split block Bloom filter over keys that are hashes already.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Filter {
    blocks: Box<[[u32; WORDS]]>,
}

impl Filter {
    /// Returns an empty filter for up to so many keys.
    pub(super) fn new(keys: u64) -> Self {
        let bits = keys.saturating_mul(BITS_PER_KEY);
        let blocks = bits.div_ceil(8 * FILTER_BLOCK_BYTES as u64).max(1);
        let blocks = usize::try_from(blocks).unwrap_or(usize::MAX);
        Self { blocks: vec![[0; WORDS]; blocks].into() }
    }

    /// Returns the filter that [`Filter::append_to`] wrote; surplus bytes are left out.
    pub(super) fn from_bytes(bytes: &[u8]) -> Self {
        let (words, _) = bytes.as_chunks::<4>();
        let (blocks, _) = words.as_chunks::<WORDS>();
        Self { blocks: blocks.iter().map(|block| block.map(u32::from_le_bytes)).collect() }
    }

    pub(super) fn append_to(&self, bytes: &mut Vec<u8>) {
        for word in self.blocks.iter().flatten() {
            bytes.extend_from_slice(&word.to_le_bytes());
        }
    }

    pub(super) fn blocks(&self) -> usize {
        self.blocks.len()
    }

    pub(super) fn insert(&mut self, key: [u64; 2]) {
        let index = self.block_of(key);
        let Some(block) = self.blocks.get_mut(index) else { return };
        for (word, mask) in block.iter_mut().zip(masks(key)) {
            *word |= mask;
        }
    }

    /// Returns false only if the key was not inserted.
    pub(super) fn may_hold(&self, key: [u64; 2]) -> bool {
        let block = self.blocks.get(self.block_of(key));
        block.is_some_and(|block| block.iter().zip(masks(key)).all(|(word, mask)| word & mask != 0))
    }

    fn block_of(&self, key: [u64; 2]) -> usize {
        let scaled = u128::from(key[0]) * self.blocks.len() as u128;
        usize::try_from(scaled >> 64).unwrap_or(usize::MAX)
    }
}

fn masks(key: [u64; 2]) -> [u32; WORDS] {
    #[expect(clippy::cast_possible_truncation, reason = "32 bits are what is wanted")]
    let half = (key[1] >> 32) as u32 ^ key[1] as u32;
    SALTS.map(|salt| 1 << (half.wrapping_mul(salt) >> 27))
}

#[cfg(test)]
mod tests {
    use platform::{Rng, SimRng};

    use super::*;

    fn keys(seed: u64, count: usize) -> Vec<[u64; 2]> {
        let rng = SimRng::new(seed);
        (0..count).map(|_| [rng.next_u64(), rng.next_u64()]).collect()
    }

    #[test]
    fn every_inserted_key_may_be_held_and_few_others() {
        let inserted = keys(1, 10_000);
        let mut filter = Filter::new(10_000);
        inserted.iter().for_each(|key| filter.insert(*key));
        let mut bytes = Vec::new();
        filter.append_to(&mut bytes);
        assert_eq!(bytes.len(), filter.blocks() * FILTER_BLOCK_BYTES);
        let read = Filter::from_bytes(&bytes);
        assert_eq!(read, filter);
        assert!(inserted.iter().all(|key| read.may_hold(*key)));
        let wrong = keys(2, 100_000).iter().filter(|key| read.may_hold(**key)).count();
        assert!((1..300).contains(&wrong), "{wrong} of 100,000");
    }

    #[test]
    fn a_filter_without_blocks_holds_nothing() {
        assert!(!Filter::from_bytes(&[]).may_hold([1, 2]));
    }
}
