//! What readers see of nodes, images and pods.

use std::sync::Arc;

use platform::Timestamp;
use report::Source;

use crate::cluster::{Connection, ContainerKind, Owner};
use crate::view::PullState;

/// A node whose agent reported.
#[derive(Clone, Debug, PartialEq)]
pub struct NodeView {
    /// Its cluster; empty where there is only one.
    pub cluster: Arc<str>,
    /// Its name.
    pub node: Arc<str>,
    /// The version of its agent; empty for Pulltrace's.
    pub agent_version: Arc<str>,
    /// Its runtime; empty where it is not known.
    pub runtime: Arc<str>,
    /// Where its agent looks.
    pub source: Source,
    /// Whether its agent reports.
    pub connected: bool,
    /// When it last reported; `None` when it has not since the server started.
    pub last_seen: Option<Timestamp>,
    /// Why its agent cannot look; empty when it can.
    pub error: Arc<str>,
    /// How many pulls run.
    pub active: u32,
    /// Bytes per second of all of them.
    pub bytes_per_second: f64,
    /// How far its clock is ahead of the server's, in seconds; `None` where that is not known.
    pub clock_skew_seconds: Option<f64>,
}

/// An image on all nodes, as far as its pulls are in memory.
#[derive(Clone, Debug, PartialEq)]
pub struct ImageView {
    /// Its name; a digest where it has none, empty where not even that is known.
    pub image: Arc<str>,
    /// The digest, where all pulls agree on one; else empty.
    pub digest: Arc<str>,
    /// On how many nodes it was or is pulled.
    pub nodes: u32,
    /// On how many of them its newest pull was completed.
    pub nodes_done: u32,
    /// Pulls that run.
    pub active: u32,
    /// Pulls that were completed.
    pub completed: u32,
    /// Pulls that failed.
    pub failed: u32,
    /// Bytes of the pulls that run, as far as they are known.
    pub total_bytes: u64,
    /// Bytes of them that are there.
    pub downloaded_bytes: u64,
    /// Bytes per second of all of them.
    pub bytes_per_second: f64,
    /// 0 to 100: how much of all its pulls that did not fail is there.
    pub percent: f64,
}

/// The pods that wait for images, and what is known of their clusters.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PodsView {
    /// The pods, by cluster, namespace and name.
    pub pods: Vec<PodView>,
    /// The clusters, by name.
    pub clusters: Vec<ClusterView>,
}

/// A cluster.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ClusterView {
    /// Its name; empty where there is only one.
    pub cluster: Arc<str>,
    /// Whether it is followed.
    pub connection: Connection,
}

/// A pod that waits for images.
#[derive(Clone, Debug, PartialEq)]
pub struct PodView {
    /// Its cluster; empty where there is only one.
    pub cluster: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub pod: Arc<str>,
    /// Its node; empty until it has one.
    pub node: Arc<str>,
    /// Such as `Pending`.
    pub phase: Arc<str>,
    /// Who made it.
    pub owner: Option<Owner>,
    /// When it was made, by the cluster's clock.
    pub created_at: Option<Timestamp>,
    /// What it runs.
    pub containers: Vec<ContainerView>,
}

/// A container of a pod, or a volume that is an image.
#[derive(Clone, Debug, PartialEq)]
pub struct ContainerView {
    /// Its name in the pod.
    pub container: Arc<str>,
    /// What it is.
    pub kind: ContainerKind,
    /// The image as the pod asks for it.
    pub image: Arc<str>,
    /// Why it waits, in the kubelet's word; empty where it does not or that is not said.
    pub reason: Arc<str>,
    /// What the kubelet says; may be empty.
    pub message: Arc<str>,
    /// How far its image is: `Queued` where the kubelet asked for it and no pull of it runs; `Completed` where it is there;
    /// `None` where nobody asked yet.
    pub state: Option<PullState>,
    /// The pull.
    pub pull: Option<Arc<str>>,
    /// How far the pull is, 0 to 100.
    pub percent: Option<f64>,
    /// Time left of the pull, in seconds.
    pub eta_seconds: Option<f64>,
    /// How many other pulls run on the node while this one is queued.
    pub queued_behind: Option<u32>,
}
