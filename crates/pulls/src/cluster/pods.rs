//! The state of one cluster, as its watcher and the pulls of its nodes see it.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::RwLock;
use platform::{Clock, Timestamp};

use super::names::{Names, ResolvedName};
use super::state::State;
use super::{Connection, Container, ImageEvent, Pod, PodReference};
use crate::filter::PodFilter;
use crate::view::PullFailure;

/// The most pods of a cluster that are kept; only those with a container that waits are.
pub const PODS_MAX: usize = 50_000;
/// The most containers and image volumes of a pod that are kept.
pub const CONTAINERS_PER_POD_MAX: usize = 100;
/// The most pods whose events are kept.
pub const PODS_HEARD_OF_MAX: usize = 50_000;
/// How long an event counts, by its own time.
pub const EVENT_AGE_MAX: Duration = Duration::from_secs(3_600);
/// How long the events of a pod are kept that is not known to wait: pods and events come on different ways.
pub const EVENTS_OF_UNKNOWN_PODS_AGE_MAX: Duration = Duration::from_secs(120);

/// What is known of the pods of one cluster that wait, and of what its kubelets do with images.
///
/// Everything is in memory: the watcher of the cluster says it all again after a restart. No call blocks for longer than
/// other calls work; calls about a node cost what that node's waiting pods cost.
#[derive(Debug)]
pub struct ClusterPods {
    clock: Arc<dyn Clock>,
    /// Readers are the reports of all nodes, each second; the only writer is the cluster's watcher.
    state: RwLock<State>,
}

/// A pod with at least one container that waits for its image.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingPod {
    /// The pod.
    pub pod: Arc<Pod>,
    /// All its containers and image volumes, in the order of `pod.containers`.
    pub containers: Vec<WaitingContainer>,
}

/// What is known of the image of one container.
#[derive(Clone, Debug, PartialEq)]
pub struct WaitingContainer {
    /// Whether it waits for its image. `false` also for containers that wait for something else.
    pub awaits_image: bool,
    /// The image's normalised name; the image as the pod asks for it where that is no reference.
    pub image: Arc<str>,
    /// Since when its kubelet asks for the image, by the cluster's clock; `None` when it does not.
    pub asked_at: Option<Timestamp>,
    /// Why its kubelet could not get the image.
    pub failure: Option<PullFailure>,
}

/// An image that a kubelet asks for.
#[derive(Clone, Debug, PartialEq)]
pub struct AskedFor {
    /// The image's normalised name; the image as the pod asks for it where that is no reference.
    pub image: Arc<str>,
    /// Since when, by the cluster's clock: the earliest of all containers.
    pub since: Timestamp,
    /// The containers for which it is asked.
    pub pods: Vec<PodReference>,
}

/// Counts of one cluster.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct ClusterTotals {
    /// Pods that are kept.
    pub pods: usize,
    /// Pods whose events are kept.
    pub pods_heard_of: usize,
    /// Pods that were not kept because there were [`PODS_MAX`].
    pub pods_dropped: u64,
    /// Pods whose events were dropped because there were [`PODS_HEARD_OF_MAX`].
    pub pods_heard_of_dropped: u64,
    /// Events of kubelets whose text nobody here knows.
    pub unknown_messages: u64,
}

impl ClusterPods {
    /// Returns the state of a cluster of which nothing is known and that nobody watches.
    #[must_use]
    pub fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, state: RwLock::new(State::default()) }
    }

    /// Takes `pods` for all that there are: in `namespace`, in the whole cluster without one. Those that are not among them
    /// are gone. Pods that do not wait may be left out.
    pub fn pods_replaced(&self, namespace: Option<&str>, pods: Vec<Pod>) {
        let now = self.clock.now();
        self.state.write().pods_replaced(now, namespace, pods);
    }

    /// Takes what a pod is now, whether it waits or not.
    pub fn pod_applied(&self, pod: Pod) {
        let now = self.clock.now();
        self.state.write().pod_applied(now, pod);
    }

    /// Forgets a pod with its events.
    pub fn pod_deleted(&self, uid: &str) {
        self.state.write().pod_deleted(uid);
    }

    /// Takes an event that was made or counted up. The same one twice is the same as once, and what an older one said does not
    /// replace what a newer one did. An event that is deleted, because of its age, says nothing.
    pub fn event(&self, event: ImageEvent) {
        let now = self.clock.now();
        self.state.write().event(now, event);
    }

    /// Counts a message of a kubelet that nobody here knows.
    pub fn unknown_message(&self) {
        self.state.write().unknown_messages += 1;
    }

    /// Sets whether the cluster is followed.
    pub fn set_connection(&self, connection: Connection) {
        self.state.write().connection = connection;
    }

    /// Returns whether the cluster is followed.
    #[must_use]
    pub fn connection(&self) -> Connection {
        self.state.read().connection.clone()
    }

    /// Forgets events that are too old. To be called every few seconds.
    pub fn tick(&self) {
        let now = self.clock.now();
        if self.state.read().has_expired(now) {
            self.state.write().expire(now);
        }
    }

    /// Returns the containers on `node` that wait for an image, ordered by namespace, pod and container. A container is no
    /// longer among them once it has started.
    #[must_use]
    pub fn pods_for(&self, node: &str, names: &Names<'_>) -> Vec<PodReference> {
        self.state.read().pods_for(node, names)
    }

    /// Returns the best name of an image that is pulled on `node`, as far as the pods and events there tell.
    ///
    /// `repositories` are those that the runtime knows it under, without tag, their registry with or without its port.
    /// `digests` are those of its index and its manifest.
    #[must_use]
    pub fn resolve(
        &self,
        node: &str,
        repositories: &[&str],
        digests: &[&str],
    ) -> Option<ResolvedName> {
        self.state.read().resolve(node, repositories, digests)
    }

    /// Returns why the kubelet of `node` could not get an image, as far as it said so after `since`.
    ///
    /// Kubelets say it in events and in the status of pods. What is new counts as said when it came here, for clocks of nodes
    /// may differ; what was listed later has its own time.
    #[must_use]
    pub fn failure_of(
        &self,
        node: &str,
        names: &Names<'_>,
        since: Timestamp,
    ) -> Option<PullFailure> {
        self.state.read().failure_of(node, names, since)
    }

    /// Returns the images that the kubelet of `node` asks for, the first asked for first. Which of them it is that the runtime
    /// pulls is not said: kubelets ask before they queue.
    #[must_use]
    pub fn asked_for(&self, node: &str) -> Vec<AskedFor> {
        self.state.read().asked_for(node)
    }

    /// Returns pods that wait for an image, at most `limit`, ordered by namespace and name. Without a node in the filter it costs as much as
    /// there are waiting pods. The cluster in the filter does not matter.
    #[must_use]
    pub fn waiting(&self, filter: &PodFilter, limit: usize) -> Vec<WaitingPod> {
        self.state.read().waiting(filter, limit)
    }

    /// Returns whether a pod waits on `node`: otherwise there is nothing to ask about it.
    #[must_use]
    pub fn has_waiting(&self, node: &str) -> bool {
        self.state.read().has_waiting(node)
    }

    /// Returns the nodes with pods that wait, in order.
    #[must_use]
    pub fn nodes(&self) -> Vec<Arc<str>> {
        self.state.read().nodes()
    }

    /// Returns counts.
    #[must_use]
    pub fn totals(&self) -> ClusterTotals {
        self.state.read().totals()
    }
}

impl Pod {
    /// Returns whether it has a node and, there, a container that waits for whatever. Others are not kept.
    #[must_use]
    pub fn waits(&self) -> bool {
        !self.node.is_empty()
            && !matches!(&*self.phase, "Succeeded" | "Failed")
            && self.containers.iter().any(Container::waits)
    }
}
