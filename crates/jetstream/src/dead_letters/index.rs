//! Which dead letters there are, in memory.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use events::{DeadLetterDepth, DeadLetterId, DeadLetterQuery, DeadLetterState};
use model::TenantId;

use super::letter;
use crate::message::Stored;
use crate::streams::StreamState;

/// All letters of the stream. The stream's limit of messages bounds it.
#[derive(Clone, Debug, Default)]
pub(super) struct Index {
    slots: BTreeMap<DeadLetterId, Slot>,
    /// What this process deleted, as far as a reading of the stream that began earlier could bring it back.
    deleted: BTreeSet<u64>,
    /// Behind the last message that was read.
    pub(super) scanned_to: u64,
}

/// Where a letter is, and what decides about it.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Slot {
    pub(super) id: DeadLetterId,
    pub(super) sequence: u64,
    pub(super) tenant: TenantId,
    pub(super) consumer: Arc<str>,
    pub(super) state: DeadLetterState,
}

impl Slot {
    pub(super) fn of(message: &Stored) -> Self {
        Self {
            id: letter::id(message),
            sequence: message.sequence,
            tenant: letter::tenant(message),
            consumer: letter::consumer(message).into(),
            state: letter::state(message),
        }
    }
}

impl Index {
    /// Adds a letter, or says where it is now; returns the position of a message that another one stands for.
    pub(super) fn add(&mut self, slot: Slot) -> Option<u64> {
        match self.slots.get(&slot.id) {
            Some(known) if known.sequence > slot.sequence => Some(slot.sequence),
            Some(known) if known.sequence == slot.sequence => None,
            known => {
                let superseded = known.map(|known| known.sequence);
                if let Some(sequence) = superseded {
                    self.deleted.insert(sequence);
                }
                self.slots.insert(slot.id, slot);
                superseded
            }
        }
    }

    pub(super) fn remove(&mut self, slot: &Slot) {
        if self.slots.get(&slot.id).is_some_and(|known| known.sequence == slot.sequence) {
            self.slots.remove(&slot.id);
            self.deleted.insert(slot.sequence);
        }
    }

    /// Takes over what a copy of this has learned from the stream.
    pub(super) fn merge(&mut self, copy: Self) {
        for slot in copy.slots.into_values() {
            if !self.deleted.contains(&slot.sequence) {
                self.add(slot);
            }
        }
        self.scanned_to = self.scanned_to.max(copy.scanned_to);
        self.deleted.clear();
    }

    /// Returns whether the stream can be as this says.
    pub(super) fn agrees_with(&self, state: &StreamState) -> bool {
        self.scanned_to >= state.end && self.slots.len() as u64 == state.messages
    }

    pub(super) fn get(&self, id: DeadLetterId) -> Option<&Slot> {
        self.slots.get(&id)
    }

    /// Returns a page of slots, the newest first, and whether there are older ones.
    pub(super) fn page(&self, query: &DeadLetterQuery) -> (Vec<Slot>, bool) {
        let before = query.before.unwrap_or(DeadLetterId(u64::MAX));
        let mut matching = self.slots.range(..before).rev().map(|(_, slot)| slot).filter(|slot| {
            slot.tenant == query.tenant
                && query.consumer.as_deref().is_none_or(|consumer| *slot.consumer == *consumer)
        });
        let page = matching.by_ref().take(query.limit).cloned().collect();
        (page, matching.next().is_some())
    }

    pub(super) fn replaying(&self, consumer: &str, limit: usize) -> Vec<Slot> {
        let waits =
            |slot: &&Slot| slot.state == DeadLetterState::Replaying && *slot.consumer == *consumer;
        self.slots.values().filter(waits).take(limit).cloned().collect()
    }

    /// Returns the oldest letter of the tenant that has the most.
    pub(super) fn oldest_of_most(&self) -> Option<Slot> {
        let mut tenants: BTreeMap<&TenantId, (usize, &Slot)> = BTreeMap::new();
        for slot in self.slots.values() {
            tenants.entry(&slot.tenant).or_insert((0, slot)).0 += 1;
        }
        let most = tenants.into_values().max_by_key(|(count, _)| *count);
        most.map(|(_, oldest)| oldest.clone())
    }

    pub(super) fn depths(&self) -> Vec<DeadLetterDepth> {
        let mut counts: BTreeMap<(&TenantId, &str), u64> = BTreeMap::new();
        for slot in self.slots.values() {
            *counts.entry((&slot.tenant, &slot.consumer)).or_default() += 1;
        }
        counts
            .into_iter()
            .map(|((tenant, consumer), count)| DeadLetterDepth {
                tenant: tenant.clone(),
                consumer: consumer.to_owned(),
                count,
            })
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn slot(id: u64, sequence: u64, tenant: &str, consumer: &str) -> Slot {
        Slot {
            id: DeadLetterId(id),
            sequence,
            tenant: TenantId::new(tenant).expect("a tenant"),
            consumer: consumer.into(),
            state: DeadLetterState::Waiting,
        }
    }

    #[test]
    fn of_two_messages_of_a_letter_the_newer_one_counts() {
        let mut index = Index::default();
        assert_eq!(index.add(slot(1, 1, "a", "c")), None);
        assert_eq!(index.add(slot(1, 5, "a", "c")), Some(1));
        assert_eq!(index.add(slot(1, 1, "a", "c")), Some(1));
        assert_eq!(index.get(DeadLetterId(1)).map(|slot| slot.sequence), Some(5));
        index.remove(&slot(1, 1, "a", "c"));
        assert!(index.get(DeadLetterId(1)).is_some());
    }

    #[test]
    fn a_reading_that_began_earlier_brings_nothing_back() {
        let mut index = Index::default();
        index.add(slot(1, 1, "a", "c"));
        let mut copy = index.clone();
        copy.add(slot(2, 2, "a", "c"));
        index.remove(&slot(1, 1, "a", "c"));
        index.merge(copy);
        assert!(index.get(DeadLetterId(1)).is_none());
        assert!(index.get(DeadLetterId(2)).is_some());
    }

    #[test]
    fn pages_are_the_newest_first_of_one_tenant() {
        let mut index = Index::default();
        for id in 1..=6 {
            let tenant = if id % 3 == 0 { "b" } else { "a" };
            index.add(slot(id, id, tenant, if id == 1 { "x" } else { "c" }));
        }
        let query = |consumer: Option<&str>, before: Option<u64>, limit| DeadLetterQuery {
            tenant: TenantId::new("a").expect("a tenant"),
            consumer: consumer.map(str::to_owned),
            before: before.map(DeadLetterId),
            limit,
        };
        let check = |query: DeadLetterQuery, expected: &[u64], more: bool| {
            let (page, found_more) = index.page(&query);
            let ids: Vec<u64> = page.iter().map(|slot| slot.id.0).collect();
            assert_eq!((ids.as_slice(), found_more), (expected, more), "{query:?}");
        };
        check(query(None, None, 2), &[5, 4], true);
        check(query(None, Some(4), 2), &[2, 1], false);
        check(query(Some("x"), None, 9), &[1], false);
        check(query(Some("y"), None, 9), &[], false);
        let depths: Vec<_> = index
            .depths()
            .into_iter()
            .map(|depth| format!("{}/{}={}", depth.tenant, depth.consumer, depth.count))
            .collect();
        assert_eq!(depths, ["a/c=3", "a/x=1", "b/c=2"]);
    }
}
