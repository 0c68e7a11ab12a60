//! What is remembered of a key.

use hashbrown::HashTable;
use model::Timestamp;
use uuid::Uuid;

use super::{KeyEntry, KnownId};
use crate::{EventKey, Offset};

/// What is remembered of a key: 56 bytes, in memory as in files.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    /// High and low half, so that the slot needs no padding.
    key: [u64; 2],
    pub(super) fingerprint: u64,
    pub(super) offset: Offset,
    pub(super) at: Timestamp,
    /// The identifier, a UUID; zeros if it is something else, which the log knows.
    id: [u8; 16],
}

/// Bytes of a slot in a file.
pub(super) const SLOT_BYTES: usize = 56;

impl Slot {
    pub(super) fn new(entry: &KeyEntry<'_>) -> Self {
        let KeyEntry { key, fingerprint, offset, at, id } = *entry;
        Self { key: halves(key), fingerprint, offset, at, id: id_bytes(id) }
    }

    pub(super) fn key(&self) -> EventKey {
        EventKey(u128::from(self.key[0]) << 64 | u128::from(self.key[1]))
    }

    /// Returns the slot with another time.
    pub(super) fn shifted(self, millis: i64) -> Self {
        Self { at: self.at.saturating_add_millis(millis), ..self }
    }

    /// Returns the form that the slot has in a file: key, fingerprint, offset, time, identifier.
    pub(super) fn encode(&self) -> [u8; SLOT_BYTES] {
        let mut bytes = [0; SLOT_BYTES];
        let [key_low, key_high, fingerprint, offset, at, id @ ..] = bytes.as_chunks_mut::<8>().0
        else {
            return bytes;
        };
        *key_low = self.key[1].to_le_bytes();
        *key_high = self.key[0].to_le_bytes();
        *fingerprint = self.fingerprint.to_le_bytes();
        *offset = self.offset.0.to_le_bytes();
        *at = self.at.as_millis().to_le_bytes();
        id.as_flattened_mut().copy_from_slice(&self.id);
        bytes
    }

    /// Returns the slot that [`Slot::encode`] wrote.
    pub(super) fn decode(bytes: &[u8; SLOT_BYTES]) -> Self {
        let (words, _) = bytes.as_chunks::<8>();
        let word = |index: usize| words.get(index).copied().unwrap_or_default();
        let mut id = [0; 16];
        id.copy_from_slice([word(5), word(6)].as_flattened());
        Self {
            key: [u64::from_le_bytes(word(1)), u64::from_le_bytes(word(0))],
            fingerprint: u64::from_le_bytes(word(2)),
            offset: Offset(u64::from_le_bytes(word(3))),
            at: Timestamp::from_millis(i64::from_le_bytes(word(4))),
            id,
        }
    }

    pub(super) fn id(&self) -> KnownId {
        if self.id == [0; 16] { KnownId::InLog } else { KnownId::Uuid(Uuid::from_bytes(self.id)) }
    }
}

/// A table of slots, found by their keys. The keys are hashes already and are not hashed again.
#[derive(Debug, Default)]
pub(super) struct Table {
    slots: HashTable<Slot>,
}

impl Table {
    pub(super) fn len(&self) -> usize {
        self.slots.len()
    }

    pub(super) fn is_empty(&self) -> bool {
        self.slots.is_empty()
    }

    pub(super) fn get(&self, key: EventKey) -> Option<&Slot> {
        let halves = halves(key);
        self.slots.find(halves[1], |slot| slot.key == halves)
    }

    /// Puts a slot in, in place of another one of its key.
    pub(super) fn put(&mut self, slot: Slot) {
        let same = |other: &Slot| other.key == slot.key;
        match self.slots.entry(slot.key[1], same, hash) {
            hashbrown::hash_table::Entry::Occupied(mut occupied) => *occupied.get_mut() = slot,
            hashbrown::hash_table::Entry::Vacant(vacant) => {
                vacant.insert(slot);
            }
        }
    }

    pub(super) fn remove(&mut self, key: EventKey) -> Option<Slot> {
        let halves = halves(key);
        let found = self.slots.find_entry(halves[1], |slot| slot.key == halves);
        found.ok().map(|occupied| occupied.remove().0)
    }

    pub(super) fn retain(&mut self, mut keep: impl FnMut(&Slot) -> bool) {
        self.slots.retain(|slot| keep(slot));
    }

    pub(super) fn iter(&self) -> impl Iterator<Item = &Slot> {
        self.slots.iter()
    }

    /// Returns the memory that the table takes, in bytes.
    pub(super) fn memory_bytes(&self) -> usize {
        self.slots.allocation_size()
    }
}

/// Returns the high and the low half of a key.
pub(super) fn halves(key: EventKey) -> [u64; 2] {
    #[expect(clippy::cast_possible_truncation, reason = "the low half is what is wanted")]
    let low = key.0 as u64;
    [(key.0 >> 64) as u64, low]
}

fn hash(slot: &Slot) -> u64 {
    slot.key[1]
}

/// Returns the UUID that a text is the canonical form of; zeros for all other texts, and for the UUID of zeros.
fn id_bytes(id: &str) -> [u8; 16] {
    let Ok(uuid) = Uuid::try_parse(id) else { return [0; 16] };
    let mut buffer = Uuid::encode_buffer();
    let canonical = uuid.hyphenated().encode_lower(&mut buffer);
    if canonical == id { uuid.into_bytes() } else { [0; 16] }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_canonical_uuid_is_remembered_as_such() {
        let check = |text: &str, expected: Option<&str>| {
            let entry = KeyEntry {
                key: EventKey(1),
                fingerprint: 2,
                offset: Offset(3),
                at: Timestamp::from_millis(4),
                id: text,
            };
            assert_eq!(Slot::new(&entry).id().text().as_deref(), expected, "{text}");
        };
        let canonical = "0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b";
        check(canonical, Some(canonical));
        check("0190A1B2-C3D4-7E5F-8A9B-0C1D2E3F4A5B", None);
        check("0190a1b2c3d47e5f8a9b0c1d2e3f4a5b", None);
        check("{0190a1b2-c3d4-7e5f-8a9b-0c1d2e3f4a5b}", None);
        check("00000000-0000-0000-0000-000000000000", None);
        check("order-4711", None);
        check("", None);
    }

    #[test]
    fn a_slot_takes_what_a_file_gives_it() {
        assert_eq!(size_of::<Slot>(), SLOT_BYTES);
    }

    #[test]
    fn keys_that_differ_in_one_half_are_told_apart() {
        let mut table = Table::default();
        let keys = [EventKey(7), EventKey(7 << 64), EventKey(7 << 64 | 7)];
        for (number, key) in (0..).zip(keys) {
            table.put(Slot::new(&KeyEntry {
                key,
                fingerprint: number,
                offset: Offset(number),
                at: Timestamp::from_millis(0),
                id: "",
            }));
        }
        assert_eq!(table.remove(keys[0]).map(|slot| slot.fingerprint), Some(0));
        assert!(table.get(keys[0]).is_none());
        assert_eq!(
            table.get(keys[1]).map(|slot| (slot.key(), slot.fingerprint)),
            Some((keys[1], 1))
        );
        assert_eq!(table.get(keys[2]).map(|slot| slot.offset), Some(Offset(2)));
    }
}
