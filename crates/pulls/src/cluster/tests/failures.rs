use ImageEventReason::{BackOff, Failed, InspectFailed, NeverPull, Pulled, Pulling};

use super::*;
use crate::view::FailureSource;

const TEXT: &str = "Failed to pull image \"x\": not found";

/// Returns reason and message of the failure of image `x` since then.
fn failure(cluster: &ClusterPods, since: Timestamp) -> Option<(String, String)> {
    let failure = cluster.failure_of(NODE, &names("x"), since)?;
    assert_eq!(failure.source, FailureSource::Kubelet);
    Some((failure.reason.to_string(), failure.message.to_string()))
}

fn said(reason: &str, message: &str) -> Option<(String, String)> {
    Some((reason.to_owned(), message.to_owned()))
}

fn with_text(event: ImageEvent, text: &str) -> ImageEvent {
    ImageEvent { message: text.into(), ..event }
}

#[test]
fn the_status_of_a_pod_says_why() {
    for reason in [
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
    ] {
        let (_, cluster) = cluster();
        cluster.pod_applied(pod("a", vec![container("app", "x", waits_because(reason, "why"))]));
        assert_eq!(failure(&cluster, at(0)), said(reason, "why"));
        assert_eq!(failure(&cluster, at(1)), None);
        assert_eq!(cluster.failure_of(NODE, &names("y"), at(0)), None);
        assert_eq!(cluster.failure_of("node-2", &names("x"), at(0)), None);
    }
    for reason in ["ContainerCreating", "PodInitializing", "CrashLoopBackOff", ""] {
        let (_, cluster) = cluster();
        cluster.pod_applied(pod("a", vec![container("app", "x", waits_because(reason, "why"))]));
        assert_eq!(failure(&cluster, at(0)), None, "{reason}");
    }
}

#[test]
fn an_event_says_why_until_the_image_is_there() {
    for (reason, word) in [
        (Failed, "ErrImagePull"),
        (BackOff, "ImagePullBackOff"),
        (NeverPull, "ErrImageNeverPull"),
        (InspectFailed, "ImageInspectError"),
    ] {
        let (_, cluster) = cluster();
        cluster.pod_applied(creating("a", "x"));
        cluster.event(with_text(event("a", reason, -200), TEXT));
        assert_eq!(failure(&cluster, at(-201)), said(word, TEXT));
        // The times of events have whole seconds.
        let within = at(-200).saturating_add_millis(999);
        assert_eq!(failure(&cluster, within), said(word, TEXT));
        assert_eq!(failure(&cluster, at(-199)), None);
        cluster.event(event("a", Pulling, -3));
        assert_eq!(failure(&cluster, at(-201)), said(word, TEXT));
        cluster.event(event("a", Pulled, -2));
        assert_eq!(failure(&cluster, at(-201)), None);
    }
}

#[test]
fn a_failure_that_comes_now_happened_now_whatever_the_node_has_for_a_clock() {
    let (clock, cluster) = cluster();
    cluster.pod_applied(creating("a", "x"));
    let failed = with_text(event("a", Failed, -30), TEXT);
    cluster.event(failed.clone());
    assert_eq!(failure(&cluster, at(0)), said("ErrImagePull", TEXT));
    // That it is listed again is not new.
    clock.advance(std::time::Duration::from_secs(10));
    cluster.event(failed);
    assert_eq!(failure(&cluster, at(1)), None);
}

#[test]
fn the_most_telling_text_wins() {
    let (clock, cluster) = cluster();
    let status = |reason: &str, message: &str| {
        pod("a", vec![container("app", "x", waits_because(reason, message))])
    };
    cluster.pod_applied(creating("a", "x"));
    cluster.event(with_text(event("a", BackOff, -1), "Back-off pulling image \"x\""));
    assert_eq!(failure(&cluster, at(-9)), said("ImagePullBackOff", "Back-off pulling image \"x\""));
    cluster.pod_applied(status("ImagePullBackOff", "Back-off pulling image \"x\": not found"));
    let text = "Back-off pulling image \"x\": not found";
    assert_eq!(failure(&cluster, at(-9)), said("ImagePullBackOff", text));
    cluster.event(with_text(event("a", Failed, -2), TEXT));
    assert_eq!(failure(&cluster, at(-9)), said("ErrImagePull", TEXT));
    cluster.event(with_text(event("a", Failed, 0), "Error: ErrImagePull"));
    assert_eq!(failure(&cluster, at(-9)), said("ErrImagePull", TEXT));
    cluster.pod_applied(status("ErrImagePull", "manifest unknown"));
    assert_eq!(failure(&cluster, at(-9)), said("ErrImagePull", "manifest unknown"));
    // The same status again is not a new failure, another one is.
    clock.advance(std::time::Duration::from_secs(10));
    cluster.pod_applied(status("ErrImagePull", "manifest unknown"));
    assert_eq!(failure(&cluster, at(5)), None);
    cluster.pod_applied(status("ErrImagePull", "timeout"));
    assert_eq!(failure(&cluster, at(5)), said("ErrImagePull", "timeout"));
}
