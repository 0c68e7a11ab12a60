//! The stores of all tenants.

use std::collections::BTreeMap;
use std::sync::Arc;

use model::TenantId;
use parking_lot::RwLock;

use crate::store::Store;

/// The stores of all tenants: each has its own, so that no query can see another's data.
///
/// Whoever opens a store adds it here and drives its commits and maintenance. Cheap to clone; all clones are one.
#[derive(Clone, Debug, Default)]
pub struct Stores {
    stores: Arc<RwLock<BTreeMap<TenantId, Arc<Store>>>>,
}

impl Stores {
    /// Returns an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Returns a tenant's store.
    #[must_use]
    pub fn get(&self, tenant: &TenantId) -> Option<Arc<Store>> {
        self.stores.read().get(tenant).map(Arc::clone)
    }

    /// Returns every tenant with its store, ascending by tenant.
    #[must_use]
    pub fn all(&self) -> Vec<(TenantId, Arc<Store>)> {
        let stores = self.stores.read();
        stores.iter().map(|(tenant, store)| (tenant.clone(), Arc::clone(store))).collect()
    }

    /// Adds a tenant's store. A tenant that has one keeps it: two stores must not work on one folder.
    pub fn add(&self, tenant: TenantId, store: Arc<Store>) {
        self.stores.write().entry(tenant).or_insert(store);
    }
}
