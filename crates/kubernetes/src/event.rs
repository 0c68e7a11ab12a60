//! Events of the cluster, as far as they concern images.

use k8s_openapi::api::core::v1::Event;
use k8s_openapi::jiff;
use platform::Timestamp;
use pulls::ImageEvent;

use crate::message::{self, Message};

/// Which events are asked for: those about pods, without what happens most and does not concern images. A selector cannot name
/// several reasons to be asked for, only such not to be.
pub(crate) const FIELD_SELECTOR: &str = "involvedObject.kind=Pod,reason!=Scheduled,\
    reason!=FailedScheduling,reason!=Created,reason!=Started,reason!=Killing,reason!=Unhealthy";

/// An event that was read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Read {
    pub(crate) event: ImageEvent,
    /// Whether a kubelet wrote it in a form that is known.
    pub(crate) known: bool,
}

/// Returns what an event says of an image; `None` if nothing.
pub(crate) fn read(event: Event) -> Option<Read> {
    if event.involved_object.kind.as_deref() != Some("Pod") {
        return None;
    }
    let text = event.message.unwrap_or_default();
    let read = message::read(event.reason.as_deref().unwrap_or_default(), &text);
    let Message::Image { reason, image, known } = read else { return None };
    let pod = event.involved_object;
    let host = event.source.and_then(|source| source.host).filter(|host| !host.is_empty());
    let node = host.or(event.reporting_instance).unwrap_or_default();
    let series = event.series.as_ref();
    let at = [
        series.and_then(|series| series.last_observed_time.as_ref()).map(|time| time.0),
        event.last_timestamp.map(|time| time.0),
        event.event_time.map(|time| time.0),
        event.first_timestamp.map(|time| time.0),
    ];
    let count = series.and_then(|series| series.count).or(event.count);
    let container = pod.field_path.as_deref().and_then(container_of).unwrap_or_default();
    Some(Read {
        event: ImageEvent {
            uid: event.metadata.uid.unwrap_or_default().into(),
            pod_uid: pod.uid.unwrap_or_default().into(),
            namespace: pod.namespace.unwrap_or_default().into(),
            pod: pod.name.unwrap_or_default().into(),
            node: node.into(),
            container: container.into(),
            reason,
            image: image.map(Into::into),
            message: text.into(),
            at: at.into_iter().flatten().max().map(timestamp),
            count: count.and_then(|count| u32::try_from(count).ok()).unwrap_or(1),
        },
        known,
    })
}

pub(crate) fn timestamp(time: jiff::Timestamp) -> Timestamp {
    Timestamp::from_millis(time.as_millisecond())
}

/// Returns the name in `spec.containers{name}`, and in the same of other kinds of containers.
fn container_of(field_path: &str) -> Option<&str> {
    let (kind, name) = field_path.strip_suffix('}')?.split_once('{')?;
    let is_container =
        matches!(kind, "spec.containers" | "spec.initContainers" | "spec.ephemeralContainers");
    is_container.then_some(name)
}

#[cfg(test)]
mod tests {
    use pulls::ImageEventReason;
    use serde_json::{Value, json};

    use super::*;

    fn pulling(changes: &Value) -> Option<Read> {
        let mut event = json!({
            "metadata": {"uid": "e1", "name": "web.1", "namespace": "shop"},
            "involvedObject": {"kind": "Pod", "namespace": "shop", "name": "web", "uid": "p1",
                "fieldPath": "spec.containers{app}"},
            "reason": "Pulling", "message": "Pulling image \"nginx\"",
            "source": {"component": "kubelet", "host": "node-1"},
            "firstTimestamp": "2026-01-01T00:00:00Z", "lastTimestamp": "2026-01-01T00:00:05Z",
            "count": 3, "type": "Normal", "somethingNew": {"a": 1},
        });
        for (key, value) in changes.as_object().expect("an object") {
            event[key] = value.clone();
        }
        read(serde_json::from_value(event).expect("an event"))
    }

    #[test]
    fn structured_fields_tell_pod_container_node_and_time() {
        let Read { event, known } = pulling(&json!({})).expect("about an image");
        assert!(known);
        assert_eq!((&*event.uid, &*event.pod_uid), ("e1", "p1"));
        assert_eq!((&*event.namespace, &*event.pod), ("shop", "web"));
        assert_eq!((&*event.container, &*event.node), ("app", "node-1"));
        assert_eq!((event.reason, event.count), (ImageEventReason::Pulling, 3));
        assert_eq!(event.image.as_deref(), Some("nginx"));
        assert_eq!(event.at, Some(Timestamp::from_millis(1_767_225_605_000)));
    }

    #[test]
    fn newer_kubelets_name_the_node_and_the_time_elsewhere() {
        let read = pulling(&json!({
            "source": {}, "reportingComponent": "kubelet", "reportingInstance": "node-2",
            "firstTimestamp": null, "lastTimestamp": null, "count": null,
            "eventTime": "2026-01-01T00:00:00.250000Z",
            "series": {"count": 7, "lastObservedTime": "2026-01-01T00:00:09.500000Z"},
        }));
        let event = read.expect("about an image").event;
        assert_eq!((&*event.node, event.count), ("node-2", 7));
        assert_eq!(event.at, Some(Timestamp::from_millis(1_767_225_609_500)));
    }

    #[test]
    fn kinds_of_containers_have_paths_of_their_own_and_a_pod_has_none() {
        for (path, expected) in [
            (json!("spec.initContainers{init-1}"), "init-1"),
            (json!("spec.ephemeralContainers{debug}"), "debug"),
            (json!("spec.volumes{data}"), ""),
            (json!("implicitly required container POD"), ""),
            (json!(""), ""),
            (Value::Null, ""),
        ] {
            let object = json!({"kind": "Pod", "uid": "p1", "fieldPath": path});
            let event = pulling(&json!({"involvedObject": object})).expect("about an image").event;
            assert_eq!(&*event.container, expected, "{path}");
        }
    }

    #[test]
    fn events_about_other_things_are_left_out() {
        assert_eq!(pulling(&json!({"involvedObject": {"kind": "Node"}})), None);
        assert_eq!(pulling(&json!({"reason": "Created"})), None);
        assert_eq!(pulling(&json!({"reason": null})), None);
    }

    #[test]
    fn an_event_that_says_little_is_still_one() {
        let event = read(
            serde_json::from_value(json!({
                "metadata": {}, "involvedObject": {"kind": "Pod"}, "reason": "Pulling",
            }))
            .expect("an event"),
        );
        let Read { event, known } = event.expect("about an image");
        assert!(!known);
        assert_eq!((event.at, event.count, event.image), (None, 1, None));
    }
}
