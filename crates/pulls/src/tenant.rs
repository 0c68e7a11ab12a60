//! The pulls of a tenant.

use std::collections::{BTreeMap, HashMap};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

use model::TenantId;
use parking_lot::{Mutex, RwLock};
use platform::Clock;
use report::Report;

use crate::cluster::ClusterPods;
use crate::counters::{Counters, Ended, name_in, registry_of};
use crate::error::ReportRefused;
use crate::history::{Entry, Queue};
use crate::hub::Hub;
use crate::identity::Whereabouts;
use crate::lists::NodeView;
use crate::node::{Node, Shared};
use crate::settings::{CLUSTERS_PER_TENANT_MAX, PullsSettings};
use crate::time::Now;
use crate::totals::{ClusterFigures, GROUPS_MAX, GroupTotals, TenantTotals};
use crate::view::{PullState, PullView};

/// The pulls of a tenant.
#[derive(Debug)]
pub(crate) struct Tenant {
    name: TenantId,
    pub(crate) hub: Arc<Hub>,
    pub(crate) subscribers: Arc<AtomicUsize>,
    counters: Counters,
    clusters: RwLock<BTreeMap<Arc<str>, Arc<Cluster>>>,
    node_count: AtomicUsize,
}

/// A cluster of a tenant.
#[derive(Debug)]
struct Cluster {
    name: Arc<str>,
    pods: Arc<ClusterPods>,
    /// Held for as long as it takes to find one. A node is locked after this is released.
    nodes: RwLock<HashMap<Arc<str>, Arc<Mutex<Node>>>>,
}

/// What all tenants share.
#[derive(Clone, Copy)]
pub(crate) struct Common<'a> {
    pub(crate) clock: &'a Arc<dyn Clock>,
    pub(crate) settings: &'a PullsSettings,
    pub(crate) queue: &'a Queue,
}

impl Tenant {
    pub(crate) fn new(name: TenantId, run: u64, settings: &PullsSettings) -> Self {
        Self {
            name,
            hub: Arc::new(Hub::new(run, settings)),
            subscribers: Arc::default(),
            counters: Counters::default(),
            clusters: RwLock::default(),
            node_count: AtomicUsize::new(0),
        }
    }

    /// Returns what is known of the pods of a cluster.
    pub(crate) fn pods(&self, common: &Common<'_>, cluster: &str) -> Arc<ClusterPods> {
        let known = self.cluster(common, cluster, usize::MAX);
        // There is no limit here, so there is a cluster.
        known.map_or_else(
            || Arc::new(ClusterPods::new(Arc::clone(common.clock))),
            |cluster| Arc::clone(&cluster.pods),
        )
    }

    /// Returns the clusters that are known, with their pods, by name.
    pub(crate) fn clusters(&self) -> Vec<(Arc<str>, Arc<ClusterPods>)> {
        let clusters = self.clusters.read();
        clusters.values().map(|each| (Arc::clone(&each.name), Arc::clone(&each.pods))).collect()
    }

    /// Takes a report.
    ///
    /// # Errors
    ///
    /// It comes too soon, or there is no room for its node.
    pub(crate) fn report(&self, common: &Common<'_>, report: Report) -> Result<(), ReportRefused> {
        let taken = self.try_report(common, report);
        let counter = match taken {
            Ok(()) => &self.counters.reports,
            Err(_) => &self.counters.reports_refused,
        };
        counter.fetch_add(1, Ordering::Relaxed);
        taken
    }

    fn try_report(&self, common: &Common<'_>, report: Report) -> Result<(), ReportRefused> {
        let cluster = self.cluster(common, &report.cluster, CLUSTERS_PER_TENANT_MAX);
        let cluster = cluster.ok_or(ReportRefused::TooManyClusters)?;
        loop {
            let now = Now::of(&**common.clock);
            let node = self.node(&cluster, &report.node_name, now, common.settings.nodes_max);
            let nodes_max = common.settings.nodes_max;
            let node = node.ok_or(ReportRefused::TooManyNodes { nodes_max })?;
            let mut node = node.lock();
            if !node.is_gone {
                // Read again: it may have taken a while to get the lock.
                let now = Now::of(&**common.clock);
                return node.report(&self.shared(common, &cluster, now), report);
            }
        }
    }

    /// Adds a pull that ran when the server stopped.
    pub(crate) fn restore(&self, common: &Common<'_>, entry: &Entry) {
        let now = Now::of(&**common.clock);
        let Some(cluster) = self.cluster(common, &entry.view.cluster, usize::MAX) else { return };
        if let Some(node) = self.node(&cluster, &entry.view.node, now, usize::MAX) {
            node.lock().restore(&self.shared(common, &cluster, now), entry);
        }
    }

    /// Adds a pull that ended before the server started.
    pub(crate) fn restore_ended(&self, common: &Common<'_>, view: Arc<PullView>) {
        let now = Now::of(&**common.clock);
        let Some(cluster) = self.cluster(common, &view.cluster, usize::MAX) else { return };
        if let Some(node) = self.node(&cluster, &view.node, now, common.settings.nodes_max) {
            node.lock().restore_ended(now, &view);
        }
        self.hub.restore_ended(view);
    }

    /// Does what time brings.
    pub(crate) fn tick(&self, common: &Common<'_>) {
        let clusters: Vec<_> = self.clusters.read().values().cloned().collect();
        for cluster in clusters {
            cluster.pods.tick();
            let nodes: Vec<_> = {
                let nodes = cluster.nodes.read();
                nodes.iter().map(|(name, node)| (Arc::clone(name), Arc::clone(node))).collect()
            };
            for (name, node) in nodes {
                let now = Now::of(&**common.clock);
                let mut node = node.lock();
                node.is_gone = node.tick(&self.shared(common, &cluster, now));
                let is_gone = node.is_gone;
                drop(node);
                if is_gone && cluster.nodes.write().remove(&name).is_some() {
                    self.node_count.fetch_sub(1, Ordering::Relaxed);
                }
            }
        }
        let now = common.clock.now();
        let age = i64::try_from(common.settings.recent_age.as_millis()).unwrap_or(i64::MAX);
        self.hub.expire(now, now.saturating_add_millis(age.saturating_neg()));
    }

    /// Returns the nodes, by cluster and name.
    pub(crate) fn nodes(&self, common: &Common<'_>) -> Vec<NodeView> {
        let now = Now::of(&**common.clock);
        let mut views = self.each_node(|node| node.view(now, common.settings));
        views.sort_by(|a, b| (&a.cluster, &a.node).cmp(&(&b.cluster, &b.node)));
        views
    }

    /// Returns figures.
    pub(crate) fn totals(&self, common: &Common<'_>) -> TenantTotals {
        let now = Now::of(&**common.clock);
        let nodes = self.each_node(|node| (node.view(now, common.settings), node.counts()));
        let counters = &self.counters;
        let read = |counter: &std::sync::atomic::AtomicU64| counter.load(Ordering::Relaxed);
        let grouped = counters.grouped.lock().clone();
        let mut totals = TenantTotals {
            recent: self.hub.ended_count() as u64,
            started: read(&counters.started),
            completed: read(&counters.completed),
            failed: grouped.reasons.into_iter().collect(),
            duration: counters.duration.snapshot(),
            transferred_bytes: read(&counters.transferred_bytes),
            cached_bytes: read(&counters.cached_bytes),
            reports: read(&counters.reports),
            reports_refused: read(&counters.reports_refused),
            pulls_refused: read(&counters.pulls_refused),
            nodes: nodes.len() as u64,
            agents_connected: nodes.iter().filter(|(node, _)| node.connected).count() as u64,
            resyncs: self.hub.resyncs(),
            clusters: self.clusters().into_iter().map(figures_of).collect(),
            ..TenantTotals::default()
        };
        let mut registries = Table::new(grouped.registries.0);
        let mut namespaces = Table::new(grouped.namespaces.0);
        for update in self.hub.running() {
            let pull = &update.pull;
            totals.active += 1;
            totals.unknown += u64::from(pull.state == PullState::Unknown);
            totals.stalled += u64::from(pull.stalled_since.is_some());
            totals.bytes_per_second += pull.bytes_per_second;
            registries.add_running(&registry_of(&pull.image), pull);
            let mut seen: Vec<&Arc<str>> = pull.pods.iter().map(|pod| &pod.namespace).collect();
            seen.sort_unstable();
            seen.dedup();
            seen.into_iter().for_each(|namespace| namespaces.add_running(namespace, pull));
        }
        totals.registries = registries.into_totals();
        totals.namespaces = namespaces.into_totals();
        totals.by_node = nodes.into_iter().map(|(node, counts)| of_node(&node, counts)).collect();
        totals.by_node.sort_by(|a, b| a.name.cmp(&b.name));
        totals
    }

    fn each_node<T>(&self, mut read: impl FnMut(&Node) -> T) -> Vec<T> {
        let clusters: Vec<_> = self.clusters.read().values().cloned().collect();
        let mut found = Vec::new();
        for cluster in clusters {
            let nodes: Vec<_> = cluster.nodes.read().values().cloned().collect();
            found.extend(nodes.iter().map(|node| read(&node.lock())));
        }
        found
    }

    fn shared<'a>(&'a self, common: &Common<'a>, cluster: &'a Cluster, now: Now) -> Shared<'a> {
        Shared {
            now,
            settings: common.settings,
            hub: &self.hub,
            counters: &self.counters,
            queue: common.queue,
            pods: &cluster.pods,
        }
    }

    /// Returns a cluster; `None` when it is new and there are `clusters_max` already.
    fn cluster(
        &self,
        common: &Common<'_>,
        name: &str,
        clusters_max: usize,
    ) -> Option<Arc<Cluster>> {
        if let Some(known) = self.clusters.read().get(name) {
            return Some(Arc::clone(known));
        }
        let mut clusters = self.clusters.write();
        if let Some(known) = clusters.get(name) {
            return Some(Arc::clone(known));
        }
        if clusters.len() >= clusters_max {
            return None;
        }
        let name: Arc<str> = name.into();
        let cluster = Arc::new(Cluster {
            name: Arc::clone(&name),
            pods: Arc::new(ClusterPods::new(Arc::clone(common.clock))),
            nodes: RwLock::default(),
        });
        clusters.insert(name, Arc::clone(&cluster));
        Some(cluster)
    }

    /// Returns a node; `None` when it is new and there are `nodes_max` already.
    fn node(
        &self,
        cluster: &Cluster,
        name: &str,
        now: Now,
        nodes_max: usize,
    ) -> Option<Arc<Mutex<Node>>> {
        if let Some(known) = cluster.nodes.read().get(name) {
            return Some(Arc::clone(known));
        }
        let mut nodes = cluster.nodes.write();
        if let Some(known) = nodes.get(name) {
            return Some(Arc::clone(known));
        }
        let one_more = |count| (count < nodes_max).then_some(count + 1);
        self.node_count.fetch_update(Ordering::Relaxed, Ordering::Relaxed, one_more).ok()?;
        let name: Arc<str> = name.into();
        let place = Whereabouts {
            tenant: self.name.clone(),
            cluster: Arc::clone(&cluster.name),
            node: Arc::clone(&name),
        };
        let node = Arc::new(Mutex::new(Node::new(place, now)));
        nodes.insert(name, Arc::clone(&node));
        Some(node)
    }
}

fn figures_of((name, pods): (Arc<str>, Arc<ClusterPods>)) -> ClusterFigures {
    ClusterFigures { name, connection: pods.connection(), totals: pods.totals() }
}

fn of_node(node: &NodeView, counts: Ended) -> GroupTotals {
    let name = match &*node.cluster {
        "" => Arc::clone(&node.node),
        cluster => format!("{cluster}/{}", node.node).into(),
    };
    GroupTotals {
        name,
        active: u64::from(node.active),
        bytes_per_second: node.bytes_per_second,
        completed: counts.completed,
        failed: counts.failed,
        transferred_bytes: counts.transferred_bytes,
    }
}

/// Figures of groups, by name.
struct Table(BTreeMap<Arc<str>, GroupTotals>);

impl Table {
    fn new(ended: BTreeMap<Arc<str>, Ended>) -> Self {
        let totals = |name: &Arc<str>, ended: Ended| GroupTotals {
            name: Arc::clone(name),
            active: 0,
            bytes_per_second: 0.0,
            completed: ended.completed,
            failed: ended.failed,
            transferred_bytes: ended.transferred_bytes,
        };
        Self(
            ended
                .into_iter()
                .map(|(name, ended)| (Arc::clone(&name), totals(&name, ended)))
                .collect(),
        )
    }

    fn add_running(&mut self, name: &Arc<str>, pull: &PullView) {
        let name = name_in(&self.0, name, GROUPS_MAX);
        let group = self.0.entry(Arc::clone(&name)).or_insert_with(|| GroupTotals {
            name,
            active: 0,
            bytes_per_second: 0.0,
            completed: 0,
            failed: 0,
            transferred_bytes: 0,
        });
        group.active += 1;
        group.bytes_per_second += pull.bytes_per_second;
    }

    fn into_totals(self) -> Vec<GroupTotals> {
        self.0.into_values().collect()
    }
}
