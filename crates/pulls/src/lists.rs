//! What readers see of nodes, images and pods.

use std::collections::{BTreeMap, BTreeSet, HashMap};
use std::sync::Arc;

use platform::Timestamp;
use report::Source;

use crate::cluster::{
    ClusterPods, Connection, Container, ContainerKind, ContainerState, Owner, Pod, WaitingContainer,
};
use crate::filter::PodFilter;
use crate::update::Update;
use crate::view::{PullState, PullView};

/// Most pods of an answer.
pub const PODS_LISTED_MAX: usize = 5_000;

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

/// Returns the images of pulls, which come newest first, by name.
pub(crate) fn images_of(pulls: &[Arc<PullView>]) -> Vec<ImageView> {
    let mut images: BTreeMap<&str, Vec<&PullView>> = BTreeMap::new();
    for pull in pulls {
        images.entry(&pull.image).or_default().push(pull);
    }
    images.into_values().filter_map(|pulls| image_of(&pulls)).collect()
}

fn image_of(pulls: &[&PullView]) -> Option<ImageView> {
    let first = pulls.first()?;
    let digests: BTreeSet<&Arc<str>> =
        pulls.iter().map(|pull| &pull.digest).filter(|digest| !digest.is_empty()).collect();
    // The newest pull of each node; they come newest first.
    let mut nodes: BTreeMap<(&str, &str), PullState> = BTreeMap::new();
    for pull in pulls {
        nodes.entry((&pull.cluster, &pull.node)).or_insert(pull.state);
    }
    let nodes_done = nodes.values().filter(|state| **state == PullState::Completed).count();
    let count = |is: fn(&PullView) -> bool| {
        u32::try_from(pulls.iter().filter(|pull| is(pull)).count()).unwrap_or(u32::MAX)
    };
    let completed = count(|pull| pull.state == PullState::Completed);
    let failed = count(|pull| pull.state == PullState::Failed);
    let running: Vec<&&PullView> = pulls.iter().filter(|pull| !pull.state.is_ended()).collect();
    let active = u32::try_from(running.len()).unwrap_or(u32::MAX);
    let percents =
        running.iter().map(|pull| pull.percent).sum::<f64>() + f64::from(completed) * 100.0;
    let counted = f64::from(active + completed);
    Some(ImageView {
        image: Arc::clone(&first.image),
        digest: match digests.first() {
            Some(digest) if digests.len() == 1 => Arc::clone(digest),
            _ => "".into(),
        },
        nodes: u32::try_from(nodes.len()).unwrap_or(u32::MAX),
        nodes_done: u32::try_from(nodes_done).unwrap_or(u32::MAX),
        active,
        completed,
        failed,
        total_bytes: sum(running.iter().map(|pull| pull.total_bytes)),
        downloaded_bytes: sum(running.iter().map(|pull| pull.downloaded_bytes)),
        bytes_per_second: running.iter().map(|pull| pull.bytes_per_second).sum(),
        percent: if counted == 0.0 { 0.0 } else { percents / counted },
    })
}

/// Returns a sum, or the greatest number if that is less.
fn sum(numbers: impl Iterator<Item = u64>) -> u64 {
    numbers.fold(0, u64::saturating_add)
}

/// Returns the pods that wait, with the pulls that they wait for.
pub(crate) fn pods_of(
    clusters: &[(Arc<str>, Arc<ClusterPods>)],
    running: &[Arc<Update>],
    filter: &PodFilter,
) -> PodsView {
    let mut on_node: HashMap<(&str, &str), Vec<&PullView>> = HashMap::new();
    for update in running {
        let pull = &update.pull;
        on_node.entry((&pull.cluster, &pull.node)).or_default().push(pull);
    }
    let mut view = PodsView::default();
    for (name, pods) in clusters {
        if filter.cluster.as_deref().is_some_and(|asked| asked != &**name) {
            continue;
        }
        view.clusters
            .push(ClusterView { cluster: Arc::clone(name), connection: pods.connection() });
        let room = PODS_LISTED_MAX - view.pods.len();
        for waiting in pods.waiting(filter, room) {
            let pod = &waiting.pod;
            let pulls = on_node.get(&(&**name, &*pod.node)).map_or(&[][..], Vec::as_slice);
            let containers = pod.containers.iter().zip(&waiting.containers);
            view.pods.push(PodView {
                cluster: Arc::clone(name),
                namespace: Arc::clone(&pod.namespace),
                pod: Arc::clone(&pod.name),
                node: Arc::clone(&pod.node),
                phase: Arc::clone(&pod.phase),
                owner: pod.owner.clone(),
                created_at: pod.created_at,
                containers: containers
                    .map(|(container, waiting)| container_of(pod, container, waiting, pulls))
                    .collect(),
            });
        }
    }
    view
}

/// Returns what a container waits for; `pulls` are those that run on its node.
fn container_of(
    pod: &Pod,
    container: &Container,
    waiting: &WaitingContainer,
    pulls: &[&PullView],
) -> ContainerView {
    let is_for_it = |pull: &&&PullView| {
        pull.pods.iter().any(|reference| {
            reference.pod == pod.name
                && reference.namespace == pod.namespace
                && reference.container == container.name
                && reference.kind == container.kind
        })
    };
    let pull = pulls.iter().find(is_for_it).filter(|_| waiting.awaits_image);
    let is_queued = waiting.awaits_image && waiting.asked_at.is_some() && pull.is_none();
    let state = match (pull, &waiting.failure) {
        (Some(pull), _) => Some(pull.state),
        (None, _) if !waiting.awaits_image => Some(PullState::Completed),
        (None, _) if is_queued => Some(PullState::Queued),
        (None, Some(_)) => Some(PullState::Failed),
        (None, None) => None,
    };
    let (mut reason, mut message): (Arc<str>, Arc<str>) = match &container.state {
        ContainerState::Waiting { reason, message } => (Arc::clone(reason), Arc::clone(message)),
        ContainerState::Running | ContainerState::Terminated => ("".into(), "".into()),
    };
    if let Some(failure) = waiting.failure.as_ref().filter(|_| message.is_empty()) {
        (reason, message) = (Arc::clone(&failure.reason), Arc::clone(&failure.message));
    }
    ContainerView {
        container: Arc::clone(&container.name),
        kind: container.kind,
        image: Arc::clone(&container.image),
        reason,
        message,
        state,
        pull: pull.map(|pull| Arc::clone(&pull.id)),
        percent: pull.map(|pull| pull.percent),
        eta_seconds: pull.and_then(|pull| pull.eta_seconds),
        queued_behind: is_queued.then(|| u32::try_from(pulls.len()).unwrap_or(u32::MAX)),
    }
}
