//! Figures of all pulls, for series.

use std::sync::Arc;

use model::TenantId;
use platform::HistogramSnapshot;

use crate::cluster::{ClusterTotals, Connection};

/// Upper bounds of buckets for how long pulls take, in milliseconds: 1 s to 2 h.
pub const PULL_DURATION_BOUNDS: &[u64] = &[
    1_000, 5_000, 10_000, 30_000, 60_000, 120_000, 300_000, 600_000, 1_800_000, 3_600_000,
    7_200_000,
];

/// Most registries and namespaces, each, that are counted one by one for a tenant; the others share the name `other`.
pub const GROUPS_MAX: usize = 256;

/// Figures of all pulls. Counters begin with the program.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Totals {
    /// Those of each tenant, by name.
    pub tenants: Vec<(TenantId, TenantTotals)>,
    /// Subscribers now.
    pub subscribers: u64,
    /// The history.
    pub history: HistoryTotals,
}

/// Figures of a tenant's pulls.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct TenantTotals {
    /// Pulls that run now, those of silent agents included.
    pub active: u64,
    /// Those of them whose agent is silent.
    pub unknown: u64,
    /// Those of them that have stalled.
    pub stalled: u64,
    /// Bytes per second of all of them.
    pub bytes_per_second: f64,
    /// Pulls in memory that ended.
    pub recent: u64,
    /// Pulls that were seen for the first time.
    pub started: u64,
    /// Pulls that were completed.
    pub completed: u64,
    /// Pulls that failed, by reason.
    pub failed: Vec<(Arc<str>, u64)>,
    /// How long the completed ones took, in milliseconds.
    pub duration: HistogramSnapshot,
    /// Bytes that were taken over the network.
    pub transferred_bytes: u64,
    /// Bytes of layers that were there before.
    pub cached_bytes: u64,
    /// Reports that were taken.
    pub reports: u64,
    /// Reports that were not.
    pub reports_refused: u64,
    /// Pulls that were not followed, because as many as there may be ran already.
    pub pulls_refused: u64,
    /// Nodes that are known.
    pub nodes: u64,
    /// Nodes whose agent reports.
    pub agents_connected: u64,
    /// Subscribers that fell behind and were brought up to date from memory.
    pub resyncs: u64,
    /// The clusters, by name.
    pub clusters: Vec<ClusterFigures>,
    /// Figures by registry, by name.
    pub registries: Vec<GroupTotals>,
    /// Figures by node, by name. A node that is forgotten takes its figures with it.
    pub by_node: Vec<GroupTotals>,
    /// Figures by namespace of the pods that waited, by name. A pull counts in each of them.
    pub namespaces: Vec<GroupTotals>,
}

/// What is known of a cluster.
#[derive(Clone, Debug, PartialEq)]
pub struct ClusterFigures {
    /// Its name; empty where there is only one.
    pub name: Arc<str>,
    /// Whether it is followed.
    pub connection: Connection,
    /// Its pods and events.
    pub totals: ClusterTotals,
}

/// Figures of pulls that have something in common.
#[derive(Clone, Debug, PartialEq)]
pub struct GroupTotals {
    /// What they have in common; for a node, `cluster/node` where the cluster has a name.
    pub name: Arc<str>,
    /// Pulls that run now.
    pub active: u64,
    /// Bytes per second of all of them.
    pub bytes_per_second: f64,
    /// Pulls that were completed.
    pub completed: u64,
    /// Pulls that failed.
    pub failed: u64,
    /// Bytes that the ended ones took over the network.
    pub transferred_bytes: u64,
}

/// Figures of the history.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct HistoryTotals {
    /// Pulls that wait to be written.
    pub queued: u64,
    /// Pulls that were written.
    pub written: u64,
    /// Pulls that were not written, because too many waited.
    pub dropped: u64,
    /// Ended pulls that the sink took.
    pub published: u64,
    /// Times that the state database or the sink failed.
    pub failures: u64,
}
