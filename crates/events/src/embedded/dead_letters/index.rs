//! What is in memory of each dead letter.

use std::collections::{BTreeMap, BTreeSet};
use std::ops::Bound;
use std::sync::Arc;

use journal::Sequence;
use model::{TenantId, Timestamp};

use crate::{DeadLetterDepth, DeadLetterId, DeadLetterQuery, DeadLetterState};

/// Where the letters are, by everything that somebody asks for.
#[derive(Debug, Default)]
pub(super) struct Index {
    letters: BTreeMap<DeadLetterId, Meta>,
    tenants: BTreeMap<TenantId, Tenant>,
    replaying: BTreeMap<Arc<str>, BTreeSet<DeadLetterId>>,
    depths: BTreeMap<(TenantId, Arc<str>), u64>,
    positions: BTreeMap<Sequence, DeadLetterId>,
    /// Letters that are in the journal and not durable yet.
    pending: BTreeSet<Sequence>,
    bytes: u64,
}

/// What is in memory of one letter.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Meta {
    pub(super) tenant: TenantId,
    pub(super) consumer: Arc<str>,
    pub(super) at: Timestamp,
    pub(super) state: DeadLetterState,
    /// Its record.
    pub(super) position: Sequence,
    /// The length of its record.
    pub(super) bytes: u64,
}

#[derive(Debug, Default)]
struct Tenant {
    letters: BTreeSet<DeadLetterId>,
    bytes: u64,
}

impl Index {
    pub(super) fn get(&self, id: DeadLetterId) -> Option<&Meta> {
        self.letters.get(&id)
    }

    /// Returns a letter if it is one of this tenant.
    pub(super) fn of_tenant(&self, tenant: &TenantId, id: DeadLetterId) -> Option<&Meta> {
        self.get(id).filter(|meta| meta.tenant == *tenant)
    }

    pub(super) fn len(&self) -> usize {
        self.letters.len()
    }

    /// Returns the bytes of the records of all letters.
    pub(super) fn bytes(&self) -> u64 {
        self.bytes
    }

    /// Notes a letter, in the place of the one of its identifier if there is one.
    pub(super) fn insert(&mut self, id: DeadLetterId, meta: Meta) {
        self.remove(id);
        let tenant = self.tenants.entry(meta.tenant.clone()).or_default();
        tenant.letters.insert(id);
        tenant.bytes = tenant.bytes.saturating_add(meta.bytes);
        self.bytes = self.bytes.saturating_add(meta.bytes);
        *self.depths.entry((meta.tenant.clone(), Arc::clone(&meta.consumer))).or_default() += 1;
        self.positions.insert(meta.position, id);
        if meta.state == DeadLetterState::Replaying {
            self.replaying.entry(Arc::clone(&meta.consumer)).or_default().insert(id);
        }
        self.letters.insert(id, meta);
    }

    pub(super) fn remove(&mut self, id: DeadLetterId) -> Option<Meta> {
        let meta = self.letters.remove(&id)?;
        if let Some(tenant) = self.tenants.get_mut(&meta.tenant) {
            tenant.letters.remove(&id);
            tenant.bytes = tenant.bytes.saturating_sub(meta.bytes);
            if tenant.letters.is_empty() {
                self.tenants.remove(&meta.tenant);
            }
        }
        self.bytes = self.bytes.saturating_sub(meta.bytes);
        let depth = (meta.tenant.clone(), Arc::clone(&meta.consumer));
        if let Some(count) = self.depths.get_mut(&depth) {
            *count = count.saturating_sub(1);
            if *count == 0 {
                self.depths.remove(&depth);
            }
        }
        self.positions.remove(&meta.position);
        if let Some(replaying) = self.replaying.get_mut(&meta.consumer) {
            replaying.remove(&id);
            if replaying.is_empty() {
                self.replaying.remove(&meta.consumer);
            }
        }
        Some(meta)
    }

    pub(super) fn set_replaying(&mut self, id: DeadLetterId) {
        if let Some(meta) = self.remove(id) {
            self.insert(id, Meta { state: DeadLetterState::Replaying, ..meta });
        }
    }

    /// Returns those that a query asks for, the newest first, and whether there are more.
    pub(super) fn list(&self, query: &DeadLetterQuery) -> (Vec<DeadLetterId>, bool) {
        let Some(tenant) = self.tenants.get(&query.tenant) else { return (Vec::new(), false) };
        let before = query.before.map_or(Bound::Unbounded, Bound::Excluded);
        let wanted = |id: &&DeadLetterId| {
            let consumer = self.letters.get(id).map(|meta| meta.consumer.as_ref());
            query.consumer.is_none() || consumer == query.consumer.as_deref()
        };
        let mut found = tenant.letters.range((Bound::Unbounded, before)).rev().filter(wanted);
        let ids = found.by_ref().take(query.limit).copied().collect();
        (ids, found.next().is_some())
    }

    /// Returns those that are to be processed again by a consumer, the oldest first.
    pub(super) fn replaying(&self, consumer: &str, limit: usize) -> Vec<DeadLetterId> {
        let of_consumer = self.replaying.get(consumer).into_iter().flatten();
        of_consumer.take(limit).copied().collect()
    }

    pub(super) fn depths(&self) -> Vec<DeadLetterDepth> {
        let depth = |((tenant, consumer), count): (&(TenantId, Arc<str>), &u64)| DeadLetterDepth {
            tenant: tenant.clone(),
            consumer: consumer.to_string(),
            count: *count,
        };
        self.depths.iter().map(depth).collect()
    }

    /// Returns the oldest letter of the tenant that has the most, by number.
    pub(super) fn oldest_of_most(&self) -> Option<DeadLetterId> {
        let most = self.tenants.values().max_by_key(|tenant| tenant.letters.len())?;
        most.letters.first().copied()
    }

    /// Returns the oldest letter of the tenant that has the most, by bytes.
    pub(super) fn oldest_of_largest(&self) -> Option<DeadLetterId> {
        let most = self.tenants.values().max_by_key(|tenant| tenant.bytes)?;
        most.letters.first().copied()
    }

    /// Returns the letters that were given up before `time`.
    pub(super) fn older_than(&self, time: Timestamp) -> Vec<DeadLetterId> {
        let old = self.letters.iter().filter(|(_, meta)| meta.at < time);
        old.map(|(id, _)| *id).collect()
    }

    /// Returns the letters whose records are up to `last`, in the order of the records.
    pub(super) fn up_to(&self, last: Sequence) -> Vec<DeadLetterId> {
        self.positions.range(..=last).map(|(_, id)| *id).collect()
    }

    pub(super) fn begin(&mut self, position: Sequence) {
        self.pending.insert(position);
    }

    pub(super) fn end(&mut self, position: Sequence) {
        self.pending.remove(&position);
    }

    /// Returns the first record that is needed; `None` if none is.
    pub(super) fn first_needed(&self) -> Option<Sequence> {
        let live = self.positions.keys().next();
        live.into_iter().chain(self.pending.first()).min().copied()
    }
}
