//! What the server answers, as far as it is shown. Fields that are missing, or that came later, do no harm.

use serde::Deserialize;

/// Pulls.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullList {
    pub(super) pulls: Vec<Pull>,
}

/// An event of the stream.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullEvent {
    pub(super) timestamp: String,
    pub(super) pull: Option<Pull>,
}

/// What is told of a pull that is forgotten.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct Removed {
    pub(super) id: String,
}

/// A pull.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct Pull {
    pub(super) id: String,
    pub(super) cluster: String,
    pub(super) node_name: String,
    pub(super) image_ref: String,
    pub(super) digest: String,
    pub(super) confidence: String,
    pub(super) state: String,
    pub(super) stalled_since: Option<String>,
    pub(super) attempt: u32,
    pub(super) total_bytes: u64,
    pub(super) downloaded_bytes: u64,
    pub(super) total_known: bool,
    pub(super) bytes_per_sec: f64,
    pub(super) eta_seconds: Option<f64>,
    pub(super) percent: f64,
    pub(super) layer_count: u64,
    pub(super) layers_done: u64,
    pub(super) started_at: String,
    pub(super) completed_at: Option<String>,
    pub(super) error: String,
    pub(super) failure: Option<PullFailure>,
    pub(super) pods: Vec<PodName>,
    pub(super) indirect: bool,
    /// When it was told; not of the pull itself.
    #[serde(skip)]
    pub(super) told_at: String,
}

/// Why a pull, or the attempt before it, failed.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PullFailure {
    pub(super) reason: String,
    pub(super) message: String,
}

/// A container that waits for a pull.
#[derive(Clone, Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodName {
    pub(super) namespace: String,
    pub(super) pod_name: String,
}

/// Pods that wait.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct PodList {
    pub(super) pods: Vec<PodRow>,
    pub(super) clusters: Vec<ClusterRow>,
}

/// A pod that waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct PodRow {
    pub(super) cluster: String,
    pub(super) namespace: String,
    pub(super) pod_name: String,
    pub(super) node: String,
    pub(super) containers: Vec<ContainerRow>,
}

/// What of it waits.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct ContainerRow {
    pub(super) container: String,
    pub(super) kind: String,
    pub(super) image: String,
    pub(super) reason: String,
    pub(super) message: String,
    pub(super) state: Option<String>,
    pub(super) percent: Option<f64>,
    pub(super) eta_seconds: Option<f64>,
    pub(super) queued_behind: Option<u64>,
}

/// Whether a cluster is followed.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct ClusterRow {
    pub(super) cluster: String,
    pub(super) connection: String,
    pub(super) reason: Option<String>,
}

/// Nodes.
#[derive(Debug, Default, Deserialize)]
#[serde(default)]
pub(super) struct NodeList {
    pub(super) nodes: Vec<NodeRow>,
}

/// A node and its agent.
#[derive(Debug, Default, Deserialize)]
#[serde(default, rename_all = "camelCase")]
pub(super) struct NodeRow {
    pub(super) node: String,
    pub(super) cluster: String,
    pub(super) agent_version: String,
    pub(super) runtime: String,
    pub(super) source: String,
    pub(super) connected: bool,
    pub(super) last_seen: Option<String>,
    pub(super) error: String,
    pub(super) active: u64,
    pub(super) bytes_per_sec: f64,
}
