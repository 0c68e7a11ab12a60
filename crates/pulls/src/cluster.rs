//! What a cluster says of its pods, as far as it concerns images.

mod heard;
mod names;
mod pods;
mod state;
#[cfg(test)]
mod tests;

use std::sync::Arc;

use platform::Timestamp;

pub use names::{Names, ResolvedName};
pub use pods::{
    AskedFor, CONTAINERS_PER_POD_MAX, ClusterPods, ClusterTotals, EVENT_AGE_MAX,
    EVENTS_OF_UNKNOWN_PODS_AGE_MAX, PODS_HEARD_OF_MAX, PODS_MAX, WaitingContainer, WaitingPod,
};

/// What asks for an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ContainerKind {
    /// A container that runs before the others.
    Init,
    /// A container.
    Regular,
    /// A container that was added to debug.
    Ephemeral,
    /// A volume that is an image.
    Volume,
}

/// How far a container is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum ContainerState {
    /// Not started.
    Waiting {
        /// Such as `ContainerCreating`, `ErrImagePull`; empty where it is not said.
        reason: Arc<str>,
        /// What people read; may be empty.
        message: Arc<str>,
    },
    /// Started: its image is there.
    Running,
    /// Ended: its image was there.
    Terminated,
}

/// A container of a pod, or a volume that is an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Container {
    /// Its name in the pod.
    pub name: Arc<str>,
    /// What it is.
    pub kind: ContainerKind,
    /// The image as the pod asks for it.
    pub image: Arc<str>,
    /// The image as the runtime found it (`repository@sha256:…`); empty until then.
    pub image_id: Arc<str>,
    /// How far it is.
    pub state: ContainerState,
}

/// Who made a pod.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Owner {
    /// Such as `ReplicaSet`.
    pub kind: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
}

/// A pod, as far as it concerns images.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Pod {
    /// Tells it from every other pod, also from one of the same name.
    pub uid: Arc<str>,
    /// The identifier that its kubelet gives it in events, where that differs: a static pod has one before the cluster
    /// knows it. Otherwise empty.
    pub static_uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub name: Arc<str>,
    /// Its node; empty until it has one.
    pub node: Arc<str>,
    /// Such as `Pending`.
    pub phase: Arc<str>,
    /// Who made it.
    pub owner: Option<Owner>,
    /// When it was made, by the cluster's clock.
    pub created_at: Option<Timestamp>,
    /// What it runs.
    pub containers: Vec<Container>,
}

/// What a kubelet did with an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum ImageEventReason {
    /// It asked for it; other pulls may come first.
    Pulling,
    /// It has it.
    Pulled,
    /// It had it already.
    AlreadyPresent,
    /// It could not get it.
    Failed,
    /// It waits before it tries again.
    BackOff,
    /// It may not pull it.
    NeverPull,
    /// It could not look at it.
    InspectFailed,
}

/// An event of a kubelet about an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ImageEvent {
    /// The event's own identifier: the same event comes again when it is counted up.
    pub uid: Arc<str>,
    /// The pod.
    pub pod_uid: Arc<str>,
    /// Its namespace.
    pub namespace: Arc<str>,
    /// Its name.
    pub pod: Arc<str>,
    /// The node; empty where it is not said.
    pub node: Arc<str>,
    /// The container's name; empty where it is not said.
    pub container: Arc<str>,
    /// What happened.
    pub reason: ImageEventReason,
    /// The image as the pod asks for it; `None` where the text does not tell.
    pub image: Option<Arc<str>>,
    /// The text.
    pub message: Arc<str>,
    /// When it last happened, by the cluster's clock.
    pub at: Option<Timestamp>,
    /// How often it happened.
    pub count: u32,
}

/// Whether a cluster is followed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Connection {
    /// Not asked for.
    Off,
    /// Not connected yet, or not any more; what is known may be old.
    Degraded {
        /// Why.
        reason: Arc<str>,
    },
    /// What is known is what is.
    Live,
}

/// A container that waits for an image.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PodReference {
    /// The pod's namespace.
    pub namespace: Arc<str>,
    /// The pod's name.
    pub pod: Arc<str>,
    /// The container's name.
    pub container: Arc<str>,
    /// What it is.
    pub kind: ContainerKind,
    /// The image as the pod asks for it.
    pub image: Arc<str>,
    /// Who made the pod.
    pub owner: Option<Owner>,
}
