//! The usage of all tenants and keys.

use std::collections::BTreeMap;
use std::fmt::Debug;
use std::sync::Arc;
use std::time::Duration;

use arc_swap::ArcSwap;
use model::TenantId;
use parking_lot::Mutex;
use platform::Timestamp;

use super::{KeyUsage, TenantUsage};

/// Finds the usage of a tenant or key without a lock. Somebody who is seen for the first time costs a copy of the list.
#[derive(Debug)]
pub struct Meters {
    tenants: Registry<TenantId, TenantUsage>,
    keys: Registry<Arc<str>, KeyUsage>,
}

/// There are too many tenants.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {tenants_max} tenants already, and no more are allowed")]
pub struct MetersFull {
    /// Most tenants.
    pub tenants_max: usize,
}

impl Meters {
    /// Returns nobody's usage, with room for this many.
    #[must_use]
    pub fn new(tenants_max: usize, keys_max: usize) -> Self {
        Self { tenants: Registry::new(tenants_max), keys: Registry::new(keys_max) }
    }

    /// Returns the usage of a tenant. Only tenants that exist may be asked for.
    ///
    /// # Errors
    ///
    /// There are too many.
    pub fn tenant(&self, id: &TenantId, wall: Timestamp) -> Result<Arc<TenantUsage>, MetersFull> {
        let keep = |_: &TenantUsage| true;
        let found = self.tenants.get_or_insert(id, || TenantUsage::new(wall), keep);
        found.ok_or(MetersFull { tenants_max: self.tenants.entries_max })
    }

    /// Returns the usage of a key. Only keys that exist may be asked for.
    ///
    /// When there is no room, keys are forgotten that have everything left that they are allowed. When there is none of
    /// these, what is returned is remembered by nobody: the key is not refused for that.
    #[must_use]
    pub fn key(&self, id: &Arc<str>, monotonic: Duration) -> Arc<KeyUsage> {
        let keep = |usage: &KeyUsage| !usage.is_unused(monotonic);
        self.keys.get_or_insert(id, KeyUsage::default, keep).unwrap_or_default()
    }

    /// Returns all tenants that were asked for, in order.
    #[must_use]
    pub fn tenants(&self) -> Vec<(TenantId, Arc<TenantUsage>)> {
        let entries = self.tenants.entries.load();
        entries.iter().map(|(id, usage)| (id.clone(), Arc::clone(usage))).collect()
    }
}

#[derive(Debug)]
struct Registry<K, V> {
    entries: ArcSwap<BTreeMap<K, Arc<V>>>,
    /// Held while the list is copied and replaced.
    replacing: Mutex<()>,
    entries_max: usize,
}

impl<K: Ord + Clone + Debug, V: Debug> Registry<K, V> {
    fn new(entries_max: usize) -> Self {
        Self { entries: ArcSwap::default(), replacing: Mutex::new(()), entries_max }
    }

    /// Returns `None` when there is no room, also after those were dropped that are not to `keep`.
    fn get_or_insert(
        &self,
        key: &K,
        make: impl FnOnce() -> V,
        keep: impl Fn(&V) -> bool,
    ) -> Option<Arc<V>> {
        if let Some(found) = self.entries.load().get(key) {
            return Some(Arc::clone(found));
        }
        let _replacing = self.replacing.lock();
        let mut entries = BTreeMap::clone(&self.entries.load());
        if let Some(found) = entries.get(key) {
            return Some(Arc::clone(found));
        }
        if entries.len() >= self.entries_max {
            entries.retain(|_, value| keep(value));
        }
        if entries.len() >= self.entries_max {
            return None;
        }
        let value = Arc::new(make());
        entries.insert(key.clone(), Arc::clone(&value));
        self.entries.store(Arc::new(entries));
        Some(value)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::quota::{KeyLimits, RefusalReason, TenantLimits};
    use crate::rate::RateLimit;
    use crate::usage::{Now, Paying};

    const START: Timestamp = Timestamp::from_millis(0);

    fn tenant(name: &str) -> TenantId {
        TenantId::new(name).expect("a name")
    }

    #[test]
    fn a_tenant_has_one_usage() {
        let meters = Meters::new(2, 2);
        let [b, a] = ["b", "a"].map(|name| meters.tenant(&tenant(name), START).expect("room"));
        assert!(Arc::ptr_eq(&a, &meters.tenant(&tenant("a"), START).expect("known")));
        assert!(!Arc::ptr_eq(&a, &b));
        let full = meters.tenant(&tenant("c"), START).expect_err("no room");
        assert_eq!(full, MetersFull { tenants_max: 2 });
        let names: Vec<_> = meters.tenants().into_iter().map(|(id, _)| id).collect();
        assert_eq!(names, [tenant("a"), tenant("b")]);
    }

    #[test]
    fn keys_that_have_everything_left_make_room() {
        let meters = Meters::new(1, 2);
        let [one, two, three] = ["1", "2", "3"].map(Arc::<str>::from);
        let limit = RateLimit::new(1.0, 1).expect("a limit");
        let key_limits = Arc::new(KeyLimits { requests: Some(limit), ..KeyLimits::default() });
        let request = |key: &Arc<str>, seconds| {
            let monotonic = Duration::from_secs(seconds);
            let paying = Paying {
                tenant: meters.tenant(&tenant("a"), START).expect("room"),
                tenant_limits: Arc::new(TenantLimits::default()),
                key: Some((meters.key(key, monotonic), Arc::clone(&key_limits))),
            };
            paying.request(Now { monotonic, wall: START }).map_err(|refusal| refusal.reason)
        };
        assert_eq!(request(&one, 10), Ok(()));
        assert_eq!(request(&two, 10), Ok(()));
        assert_eq!(request(&three, 10), Ok(()), "without room nobody is refused for that");
        assert_eq!(request(&one, 10), Err(RefusalReason::RateKey));
        assert_eq!(request(&three, 11), Ok(()));
        assert_eq!(request(&three, 11), Err(RefusalReason::RateKey), "there was room");
        assert_eq!(meters.keys.entries.load().len(), 1);
    }
}
