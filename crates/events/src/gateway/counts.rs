//! What became of events, and how many there were of each kind.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};

use model::TenantId;
use parking_lot::{Mutex, RwLock};

use xxhash_rust::xxh3::Xxh3;

use super::{EventResult, Refused};

/// Longest app or type that is counted under its own name, in bytes.
const NAME_BYTES_MAX: usize = 200;
/// Where the kinds are counted that have no counter of their own. No category is called so.
const OTHER: &str = "other";

/// What became of all events since the start: `received` is always the sum of `stored`, `duplicates` and `rejected`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct GatewayStats {
    /// Events that were answered.
    pub received: u64,
    /// Events that were stored.
    pub stored: u64,
    /// Events that had been stored before.
    pub duplicates: u64,
    /// Events that were not stored, by [reason](Refused::REASONS); all reasons are there.
    pub rejected: BTreeMap<&'static str, u64>,
    /// Events whose senders were told to come again, or that went away before the answer. Some may have been stored.
    pub unanswered: u64,
    /// Events that were stored though they do not fit the schema for them, which only warns.
    pub schema_warnings: u64,
}

/// What became of the events of one request.
#[derive(Clone, Debug, Default)]
pub(super) struct Tally {
    stored: u64,
    duplicates: u64,
    rejected: BTreeMap<&'static str, u64>,
}

impl Tally {
    pub(super) fn count(&mut self, result: &EventResult) {
        match result {
            EventResult::Accepted { duplicate: false, .. } => self.stored += 1,
            EventResult::Accepted { duplicate: true, .. } => self.duplicates += 1,
            EventResult::Rejected(refused) => {
                *self.rejected.entry(refused.reason()).or_default() += 1;
            }
        }
    }

    pub(super) fn rejected(&self) -> u64 {
        self.rejected.values().sum()
    }

    pub(super) fn without_rejected(&self) -> Self {
        Self { rejected: BTreeMap::new(), ..*self }
    }
}

/// The sums of all tallies.
#[derive(Debug, Default)]
pub(super) struct Tallies {
    /// One lock for all numbers: whoever reads them finds the sum right.
    sums: Mutex<Tally>,
    unanswered: AtomicU64,
}

impl Tallies {
    pub(super) fn add(&self, tally: Tally) {
        let mut sums = self.sums.lock();
        sums.stored += tally.stored;
        sums.duplicates += tally.duplicates;
        for (reason, count) in tally.rejected {
            *sums.rejected.entry(reason).or_default() += count;
        }
    }

    /// Counts events as unanswered when what is returned is dropped.
    pub(super) fn unanswered(&self, events: usize) -> Unanswered<'_> {
        Unanswered { count: &self.unanswered, events: events as u64 }
    }

    pub(super) fn get(&self) -> GatewayStats {
        let sums = self.sums.lock().clone();
        let received = sums.stored + sums.duplicates + sums.rejected();
        let mut rejected: BTreeMap<_, _> =
            Refused::REASONS.iter().map(|reason| (*reason, 0)).collect();
        rejected.extend(sums.rejected);
        GatewayStats {
            received,
            stored: sums.stored,
            duplicates: sums.duplicates,
            rejected,
            unanswered: self.unanswered.load(Ordering::Relaxed),
            schema_warnings: 0,
        }
    }
}

/// Events that nobody has answered for yet.
pub(super) struct Unanswered<'a> {
    count: &'a AtomicU64,
    events: u64,
}

impl Unanswered<'_> {
    /// All are answered.
    pub(super) fn none(self) {
        self.only(0);
    }

    /// Only so many are not.
    pub(super) fn only(mut self, events: u64) {
        self.events = events;
    }
}

impl Drop for Unanswered<'_> {
    fn drop(&mut self) {
        self.count.fetch_add(self.events, Ordering::Relaxed);
    }
}

/// How many events of one kind were stored since the start.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub struct KindCount {
    /// Whose they are.
    pub tenant: TenantId,
    /// Their app; `other` together with the category `other` is what has no count of its own.
    pub app: Arc<str>,
    /// Their category.
    pub category: Arc<str>,
    /// Their type.
    pub event_type: Arc<str>,
    /// How many.
    pub events: u64,
}

/// Counts the events of one kind.
#[derive(Debug)]
pub(super) struct KindCounter {
    app: Arc<str>,
    category: Arc<str>,
    event_type: Arc<str>,
    events: AtomicU64,
}

impl KindCounter {
    fn new([app, category, event_type]: [&str; 3]) -> Arc<Self> {
        Arc::new(Self {
            app: app.into(),
            category: category.into(),
            event_type: event_type.into(),
            events: AtomicU64::new(0),
        })
    }

    pub(super) fn add(&self) {
        self.events.fetch_add(1, Ordering::Relaxed);
    }
}

/// Counts events by tenant, app, category and type. Bounded for each tenant: what is new beyond is counted together.
#[derive(Debug)]
pub(super) struct KindCounts {
    kinds_max: usize,
    tenants: RwLock<BTreeMap<TenantId, Arc<TenantKinds>>>,
}

#[derive(Debug)]
struct TenantKinds {
    /// By the hash of the names: looked up with every event.
    kinds: RwLock<HashMap<u128, Arc<KindCounter>>>,
    other: Arc<KindCounter>,
}

impl KindCounts {
    pub(super) fn new(kinds_max: usize) -> Self {
        Self { kinds_max, tenants: RwLock::default() }
    }

    /// Returns what counts events of a kind.
    pub(super) fn counter(
        &self,
        tenant: &TenantId,
        app: &str,
        category: &str,
        event_type: &str,
    ) -> Arc<KindCounter> {
        let known = self.tenants.read().get(tenant).cloned();
        let of_tenant = known.unwrap_or_else(|| {
            let mut tenants = self.tenants.write();
            let kinds = tenants.entry(tenant.clone()).or_insert_with(|| {
                let other = KindCounter::new([OTHER; 3]);
                Arc::new(TenantKinds { kinds: RwLock::default(), other })
            });
            Arc::clone(kinds)
        });
        let names = [app, category, event_type];
        let key = hash(names);
        if let Some(counter) = of_tenant.kinds.read().get(&key) {
            return Arc::clone(counter);
        }
        if names.iter().any(|name| name.len() > NAME_BYTES_MAX) {
            return Arc::clone(&of_tenant.other);
        }
        let mut kinds = of_tenant.kinds.write();
        if kinds.len() >= self.kinds_max && !kinds.contains_key(&key) {
            return Arc::clone(&of_tenant.other);
        }
        Arc::clone(kinds.entry(key).or_insert_with(|| KindCounter::new(names)))
    }

    /// Returns the counts that are not zero, ascending.
    pub(super) fn get(&self) -> Vec<KindCount> {
        let tenants: Vec<_> = {
            let tenants = self.tenants.read();
            tenants.iter().map(|(tenant, kinds)| (tenant.clone(), Arc::clone(kinds))).collect()
        };
        let mut counts = Vec::new();
        for (tenant, kinds) in tenants {
            let mut counters: Vec<_> = kinds.kinds.read().values().cloned().collect();
            counters.push(Arc::clone(&kinds.other));
            counts.extend(counters.iter().map(|counter| KindCount {
                tenant: tenant.clone(),
                app: Arc::clone(&counter.app),
                category: Arc::clone(&counter.category),
                event_type: Arc::clone(&counter.event_type),
                events: counter.events.load(Ordering::Relaxed),
            }));
        }
        counts.retain(|count| count.events > 0);
        counts.sort();
        counts
    }
}

/// Returns the hash of names, each with its length: `ab`, `c` is not `a`, `bc`.
fn hash(names: [&str; 3]) -> u128 {
    let mut hash = Xxh3::new();
    for name in names {
        hash.update(&(name.len() as u64).to_le_bytes());
        hash.update(name.as_bytes());
    }
    hash.digest128()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn kinds_beyond_the_limit_are_counted_together() {
        let (counts, tenant) = (KindCounts::new(2), TenantId::default_tenant());
        let long = "x".repeat(NAME_BYTES_MAX + 1);
        for (app, event_type) in
            [("shop", "view"), ("shop", &long), ("shop", "exit"), ("shop", "new"), ("shop", "view")]
        {
            counts.counter(&tenant, app, "screen", event_type).add();
        }
        let other_tenant = TenantId::new("blue").expect("a name");
        counts.counter(&other_tenant, "shop", "screen", "new").add();
        let found: Vec<_> = counts.get();
        let found: Vec<_> = found
            .iter()
            .map(|kind| {
                format!("{} {} {} {}", kind.tenant, kind.category, kind.event_type, kind.events)
            })
            .collect();
        assert_eq!(
            found,
            [
                "blue screen new 1",
                "default other other 2",
                "default screen exit 1",
                "default screen view 2"
            ]
        );
    }

    #[test]
    fn what_is_dropped_is_unanswered() {
        let tallies = Tallies::default();
        drop(tallies.unanswered(3));
        tallies.unanswered(5).none();
        tallies.unanswered(7).only(2);
        assert_eq!(tallies.get().unanswered, 5);
    }
}
