//! What the pods and events of a cluster tell of images.

mod events;
mod failures;
mod limits;
mod naming;
mod waiting;

use std::sync::Arc;

use platform::{SimClock, Timestamp};

use super::*;

const NODE: &str = "node-1";
const DIGEST: &str = "sha256:e3b0c44298fc1c149afbf4c8996fb92427ae41e4649b934ca495991b7852b855";
const OTHER_DIGEST: &str =
    "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08";
/// When the tests begin, in seconds.
const START: i64 = 1_000_000;

/// A cluster of which nothing is known, and its time.
fn cluster() -> (Arc<SimClock>, ClusterPods) {
    let clock = SimClock::new(at(0));
    (Arc::clone(&clock), ClusterPods::new(Arc::new(clock)))
}

/// The time `seconds` after the tests begin.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis((START + seconds) * 1_000)
}

fn waits(reason: &str) -> ContainerState {
    waits_because(reason, "")
}

fn waits_because(reason: &str, message: &str) -> ContainerState {
    ContainerState::Waiting { reason: reason.into(), message: message.into() }
}

fn container(name: &str, image: &str, state: ContainerState) -> Container {
    let kind = ContainerKind::Regular;
    Container { name: name.into(), kind, image: image.into(), image_id: "".into(), state }
}

/// A pod on [`NODE`] in namespace `shop`, whose name is its identifier.
fn pod(uid: &str, containers: Vec<Container>) -> Pod {
    Pod {
        uid: uid.into(),
        static_uid: "".into(),
        namespace: "shop".into(),
        name: uid.into(),
        node: NODE.into(),
        phase: "Pending".into(),
        owner: None,
        created_at: None,
        containers,
    }
}

/// A pod whose only container, `app`, is created.
fn creating(uid: &str, image: &str) -> Pod {
    pod(uid, vec![container("app", image, waits("ContainerCreating"))])
}

/// An event about container `app` of a pod, so many seconds after the tests begin.
fn event(uid: &str, reason: ImageEventReason, seconds: i64) -> ImageEvent {
    ImageEvent {
        uid: format!("{uid}-{reason:?}").into(),
        pod_uid: uid.into(),
        namespace: "shop".into(),
        pod: uid.into(),
        node: NODE.into(),
        container: "app".into(),
        reason,
        image: None,
        message: "".into(),
        at: Some(at(seconds)),
        count: 1,
    }
}

fn names(image: &str) -> Names<'_> {
    Names { image, ..Names::default() }
}

/// Returns `pod/container` of what waits for an image.
fn who_waits(cluster: &ClusterPods, names: &Names<'_>) -> Vec<String> {
    let pods = cluster.pods_for(NODE, names);
    pods.iter().map(|one| format!("{}/{}", one.pod, one.container)).collect()
}

/// Returns the images that are asked for.
fn asked(cluster: &ClusterPods) -> Vec<String> {
    cluster.asked_for(NODE).iter().map(|asked| asked.image.to_string()).collect()
}
