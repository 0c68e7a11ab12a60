//! The connection to a cluster, out of the states of all its watches.

use std::sync::Arc;

use parking_lot::Mutex;
use pulls::{ClusterPods, Connection};

/// What is said before the first answer.
const NOT_YET: &str = "not connected yet";

/// The states of the watches of one cluster.
#[derive(Debug)]
pub(crate) struct Health {
    cluster: String,
    pods: Arc<ClusterPods>,
    /// One per watch: why it does not work, `None` when it does.
    faults: Mutex<Vec<Option<Arc<str>>>>,
}

impl Health {
    /// Returns the health of a cluster with as many watches, none of which works yet.
    pub(crate) fn new(cluster: &str, pods: Arc<ClusterPods>, watches: usize) -> Self {
        let health = Self {
            cluster: cluster.to_owned(),
            pods,
            faults: Mutex::new(vec![Some(NOT_YET.into()); watches]),
        };
        health.tell();
        health
    }

    /// Takes that a watch works, or why it does not.
    pub(crate) fn set(&self, watch: usize, fault: Option<&str>) {
        {
            let mut faults = self.faults.lock();
            let Some(known) = faults.get_mut(watch) else { return };
            if known.as_deref() == fault {
                return;
            }
            *known = fault.map(Arc::from);
        }
        self.tell();
    }

    fn tell(&self) {
        let connection = {
            let faults = self.faults.lock();
            // A reason says more than that a watch has not begun.
            let mut reasons = faults.iter().flatten().filter(|reason| &***reason != NOT_YET);
            match reasons.next().or_else(|| faults.iter().flatten().next()) {
                Some(reason) => Connection::Degraded { reason: Arc::clone(reason) },
                None => Connection::Live,
            }
        };
        let before = self.pods.connection();
        if before == connection {
            return;
        }
        match &connection {
            Connection::Live => {
                tracing::info!(cluster = self.cluster, "kubernetes cluster is followed");
            }
            Connection::Degraded { reason } if &**reason != NOT_YET => {
                tracing::warn!(cluster = self.cluster, %reason, "kubernetes cluster is not followed");
            }
            Connection::Degraded { .. } | Connection::Off => {}
        }
        self.pods.set_connection(connection);
    }
}
