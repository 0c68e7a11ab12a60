//! Pods of the cluster, as far as they concern images.

use std::collections::BTreeMap;

use k8s_openapi::api::core::v1;
use k8s_openapi::apimachinery::pkg::apis::meta::v1::ObjectMeta;
use pulls::{Container, ContainerKind, ContainerState, Owner, Pod};

use crate::event::timestamp;

/// Where the cluster keeps the identifier that a kubelet gave a static pod.
const STATIC_UID: &str = "kubernetes.io/config.mirror";
/// What a ReplicaSet appends to the name of its Deployment.
const TEMPLATE_HASH: &str = "pod-template-hash";

/// Returns the part of a pod that concerns images.
pub(crate) fn read(pod: v1::Pod) -> Pod {
    let spec = pod.spec.unwrap_or_default();
    let status = pod.status.unwrap_or_default();
    let annotations = pod.metadata.annotations.as_ref();
    let static_uid = annotations.and_then(|all| all.get(STATIC_UID)).cloned();
    let mut states: BTreeMap<String, v1::ContainerStatus> = BTreeMap::new();
    for statuses in [
        status.init_container_statuses,
        status.container_statuses,
        status.ephemeral_container_statuses,
    ] {
        states.extend(statuses.into_iter().flatten().map(|one| (one.name.clone(), one)));
    }
    let named = |kind| {
        move |(name, image): (String, Option<String>)| (kind, name, image.unwrap_or_default())
    };
    let init = spec.init_containers.into_iter().flatten().map(|one| (one.name, one.image));
    let regular = spec.containers.into_iter().map(|one| (one.name, one.image));
    let ephemeral =
        spec.ephemeral_containers.into_iter().flatten().map(|one| (one.name, one.image));
    let mut containers: Vec<Container> = init
        .map(named(ContainerKind::Init))
        .chain(regular.map(named(ContainerKind::Regular)))
        .chain(ephemeral.map(named(ContainerKind::Ephemeral)))
        .map(|(kind, name, image)| container(kind, name, image, &states))
        .collect();
    containers.extend(volumes(spec.volumes.unwrap_or_default(), &containers));
    Pod {
        owner: owner(&pod.metadata),
        created_at: pod.metadata.creation_timestamp.map(|time| timestamp(time.0)),
        uid: pod.metadata.uid.unwrap_or_default().into(),
        static_uid: static_uid.unwrap_or_default().into(),
        namespace: pod.metadata.namespace.unwrap_or_default().into(),
        name: pod.metadata.name.unwrap_or_default().into(),
        node: spec.node_name.unwrap_or_default().into(),
        phase: status.phase.unwrap_or_default().into(),
        containers,
    }
}

fn container(
    kind: ContainerKind,
    name: String,
    image: String,
    states: &BTreeMap<String, v1::ContainerStatus>,
) -> Container {
    let status = states.get(&name);
    Container {
        state: state(status),
        image_id: status.map(|status| status.image_id.as_str()).unwrap_or_default().into(),
        name: name.into(),
        kind,
        image: image.into(),
    }
}

/// Returns how far a container is. Before the kubelet says anything, and where it says nothing, it waits.
fn state(status: Option<&v1::ContainerStatus>) -> ContainerState {
    let state = status.and_then(|status| status.state.as_ref());
    if state.is_some_and(|state| state.running.is_some()) {
        return ContainerState::Running;
    }
    if state.is_some_and(|state| state.terminated.is_some()) {
        return ContainerState::Terminated;
    }
    let waiting = state.and_then(|state| state.waiting.as_ref());
    let text = |text: Option<&String>| text.map(String::as_str).unwrap_or_default().into();
    ContainerState::Waiting {
        reason: text(waiting.and_then(|waiting| waiting.reason.as_ref())),
        message: text(waiting.and_then(|waiting| waiting.message.as_ref())),
    }
}

/// Returns the volumes that are images. They have no status: they are there once a container has started.
fn volumes(volumes: Vec<v1::Volume>, containers: &[Container]) -> Vec<Container> {
    let started = |one: &Container| !matches!(one.state, ContainerState::Waiting { .. });
    let state = if containers.iter().any(started) {
        ContainerState::Running
    } else {
        ContainerState::Waiting { reason: "".into(), message: "".into() }
    };
    let images = volumes
        .into_iter()
        .filter_map(|volume| Some((volume.name, volume.image.and_then(|image| image.reference)?)));
    images
        .map(|(name, image)| Container {
            name: name.into(),
            kind: ContainerKind::Volume,
            image: image.into(),
            image_id: "".into(),
            state: state.clone(),
        })
        .collect()
}

/// Returns who made a pod: the Deployment rather than its ReplicaSet, whose name is the former's with a hash.
fn owner(metadata: &ObjectMeta) -> Option<Owner> {
    let owners = metadata.owner_references.as_ref()?;
    let owner =
        owners.iter().find(|owner| owner.controller == Some(true)).or_else(|| owners.first())?;
    let hash = metadata.labels.as_ref().and_then(|labels| labels.get(TEMPLATE_HASH));
    let deployment = hash
        .filter(|_| owner.kind == "ReplicaSet")
        .and_then(|hash| owner.name.strip_suffix(hash.as_str())?.strip_suffix('-'));
    Some(match deployment {
        Some(name) => Owner { kind: "Deployment".into(), name: name.into() },
        None => Owner { kind: owner.kind.as_str().into(), name: owner.name.as_str().into() },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::{Value, json};

    use super::*;

    fn pod(json: Value) -> Pod {
        read(serde_json::from_value(json).expect("a pod"))
    }

    fn waiting(reason: &str, message: &str) -> ContainerState {
        ContainerState::Waiting { reason: reason.into(), message: message.into() }
    }

    #[test]
    fn every_kind_of_image_is_read_with_its_state() {
        let pod = pod(json!({
            "metadata": {"name": "web-1", "namespace": "shop", "uid": "p1",
                "creationTimestamp": "2026-01-01T00:00:00Z"},
            "spec": {
                "nodeName": "node-1",
                "initContainers": [{"name": "init", "image": "i"}],
                "containers": [{"name": "a", "image": "x"}, {"name": "b", "image": "y"}, {"name": "c"}],
                "ephemeralContainers": [{"name": "debug", "image": "d"}],
                "volumes": [{"name": "data", "image": {"reference": "v", "pullPolicy": "Sometimes"}},
                    {"name": "other", "emptyDir": {}}, {"name": "none", "image": {}}],
                "somethingNew": [1],
            },
            "status": {
                "phase": "Strange",
                "initContainerStatuses": [{"name": "init", "image": "i", "imageID": "i@sha256:1",
                    "ready": true, "restartCount": 0, "state": {"terminated": {"exitCode": 0}}}],
                "containerStatuses": [
                    {"name": "a", "image": "other", "imageID": "", "ready": false, "restartCount": 0,
                        "state": {"waiting": {"reason": "ErrImagePull", "message": "not found"}}},
                    {"name": "b", "image": "y", "imageID": "y@sha256:2", "ready": true,
                        "restartCount": 0, "state": {"running": {}}}],
                "ephemeralContainerStatuses": [{"name": "debug", "image": "d", "imageID": "",
                    "ready": false, "restartCount": 0, "state": {}}],
            },
        }));
        let read: Vec<_> = pod
            .containers
            .iter()
            .map(|c| (c.kind, &*c.name, &*c.image, &*c.image_id, c.state.clone()))
            .collect();
        use ContainerKind::{Ephemeral, Init, Regular, Volume};
        assert_eq!(
            read,
            [
                (Init, "init", "i", "i@sha256:1", ContainerState::Terminated),
                (Regular, "a", "x", "", waiting("ErrImagePull", "not found")),
                (Regular, "b", "y", "y@sha256:2", ContainerState::Running),
                (Regular, "c", "", "", waiting("", "")),
                (Ephemeral, "debug", "d", "", waiting("", "")),
                (Volume, "data", "v", "", ContainerState::Running),
            ]
        );
        assert_eq!((&*pod.namespace, &*pod.name, &*pod.uid), ("shop", "web-1", "p1"));
        assert_eq!((&*pod.node, &*pod.phase), ("node-1", "Strange"));
        assert_eq!(pod.created_at.map(|at| at.as_millis()), Some(1_767_225_600_000));
    }

    #[test]
    fn a_volume_waits_until_a_container_has_started() {
        let pod = pod(json!({
            "metadata": {}, "spec": {"containers": [{"name": "a", "image": "x"}],
                "volumes": [{"name": "data", "image": {"reference": "v"}}]},
        }));
        assert_eq!(pod.containers[1].state, waiting("", ""));
    }

    #[test]
    fn a_pod_belongs_to_its_deployment() {
        let check = |metadata: Value, expected: Option<(&str, &str)>| {
            let pod = pod(json!({"metadata": metadata, "spec": {"containers": []}}));
            let owner = pod.owner.as_ref().map(|owner| (&*owner.kind, &*owner.name));
            assert_eq!(owner, expected);
        };
        let owned_by = |kind: &str, name: &str, labels: Value| {
            json!({"labels": labels, "ownerReferences": [
                {"apiVersion": "v1", "kind": "Other", "name": "first", "uid": "1"},
                {"apiVersion": "v1", "kind": kind, "name": name, "uid": "2", "controller": true}]})
        };
        let hash = json!({"pod-template-hash": "5d4f"});
        check(json!({}), None);
        check(owned_by("ReplicaSet", "web-5d4f", hash.clone()), Some(("Deployment", "web")));
        check(owned_by("ReplicaSet", "web-5d4f", json!({})), Some(("ReplicaSet", "web-5d4f")));
        check(owned_by("ReplicaSet", "web-77", hash.clone()), Some(("ReplicaSet", "web-77")));
        check(owned_by("DaemonSet", "agent-5d4f", hash), Some(("DaemonSet", "agent-5d4f")));
        check(owned_by("Job", "import", json!({})), Some(("Job", "import")));
        let uncontrolled = json!({"ownerReferences":
            [{"apiVersion": "v1", "kind": "Node", "name": "n", "uid": "1"}]});
        check(uncontrolled, Some(("Node", "n")));
    }

    #[test]
    fn a_static_pod_has_the_identifier_that_its_kubelet_gave_it() {
        let metadata = json!({"uid": "p1", "annotations": {"kubernetes.io/config.mirror": "s1"}});
        let pod = pod(json!({"metadata": metadata, "spec": {"containers": []}}));
        assert_eq!((&*pod.uid, &*pod.static_uid), ("p1", "s1"));
    }
}
