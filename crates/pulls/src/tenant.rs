//! The pulls of a tenant.

use std::collections::BTreeMap;
use std::sync::Arc;

use parking_lot::RwLock;
use platform::Clock;

use crate::cluster::ClusterPods;

/// The pulls of a tenant.
#[derive(Debug, Default)]
pub(crate) struct Tenant {
    clusters: RwLock<BTreeMap<String, Arc<ClusterPods>>>,
}

impl Tenant {
    pub(crate) fn cluster(&self, name: &str, clock: &Arc<dyn Clock>) -> Arc<ClusterPods> {
        if let Some(known) = self.clusters.read().get(name) {
            return Arc::clone(known);
        }
        let new = || Arc::new(ClusterPods::new(Arc::clone(clock)));
        Arc::clone(self.clusters.write().entry(name.to_owned()).or_insert_with(new))
    }
}
