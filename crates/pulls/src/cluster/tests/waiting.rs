use super::*;
use crate::filter::PodFilter;

#[test]
fn a_container_waits_from_its_pod_on_until_it_starts() {
    let (_, cluster) = cluster();
    let nginx = names("docker.io/library/nginx:1.27");
    assert!(who_waits(&cluster, &nginx).is_empty());
    cluster.pod_applied(creating("a", "nginx:1.27"));
    assert_eq!(who_waits(&cluster, &nginx), ["a/app"]);
    cluster.pod_applied(pod("a", vec![container("app", "nginx:1.27", ContainerState::Running)]));
    assert!(who_waits(&cluster, &nginx).is_empty());
    assert_eq!(cluster.totals(), ClusterTotals::default());
}

#[test]
fn all_reasons_count_but_those_of_a_container_that_has_its_image() {
    let check = |reason: &str, waits_for_image: bool| {
        let (_, cluster) = cluster();
        cluster.pod_applied(pod("a", vec![container("app", "x", waits(reason))]));
        assert_eq!(!who_waits(&cluster, &names("x")).is_empty(), waits_for_image, "{reason}");
        let listed = cluster.waiting(&PodFilter::default(), 10);
        assert_eq!(!listed.is_empty(), waits_for_image, "{reason}");
    };
    for reason in [
        "",
        "ContainerCreating",
        "PodInitializing",
        "ErrImagePull",
        "ImagePullBackOff",
        "InvalidImageName",
        "ErrImageNeverPull",
        "ImageInspectError",
        "RegistryUnavailable",
        "SignatureValidationFailed",
        "SomethingNew",
    ] {
        check(reason, true);
    }
    for reason in ["CrashLoopBackOff", "CreateContainerConfigError", "RunContainerError"] {
        check(reason, false);
    }
}

#[test]
fn a_container_that_crashed_waits_while_its_image_is_pulled_again() {
    let (_, cluster) = cluster();
    cluster.pod_applied(pod("a", vec![container("app", "x", waits("CrashLoopBackOff"))]));
    cluster.event(event("a", ImageEventReason::Pulling, 0));
    assert_eq!(who_waits(&cluster, &names("x")), ["a/app"]);
    cluster.event(event("a", ImageEventReason::Pulled, 0));
    assert!(who_waits(&cluster, &names("x")).is_empty());
}

#[test]
fn every_kind_of_container_waits() {
    let (_, cluster) = cluster();
    let of = |name: &str, kind| Container { kind, ..container(name, "x", waits("")) };
    cluster.pod_applied(pod(
        "a",
        vec![
            of("i", ContainerKind::Init),
            of("r", ContainerKind::Regular),
            of("e", ContainerKind::Ephemeral),
            of("v", ContainerKind::Volume),
        ],
    ));
    assert_eq!(who_waits(&cluster, &names("x")), ["a/i", "a/r", "a/e", "a/v"]);
}

#[test]
fn images_are_the_same_by_name_digest_and_what_the_runtime_found() {
    let check = |image: &str, names: &Names<'_>, same: bool| {
        let (_, cluster) = cluster();
        cluster.pod_applied(creating("a", image));
        assert_eq!(!who_waits(&cluster, names).is_empty(), same, "{image} {names:?}");
    };
    let nginx = names("docker.io/library/nginx:latest");
    check("nginx", &nginx, true);
    check("index.docker.io/nginx", &nginx, true);
    check("nginx:1", &nginx, false);
    check("ghcr.io/nginx", &nginx, false);
    // An index, the manifest of the platform, and a tag of the same image.
    let digests = [DIGEST, OTHER_DIGEST];
    let digested = Names { digests: &digests, ..nginx };
    check("nginx", &digested, true);
    check(&format!("nginx@{DIGEST}"), &digested, true);
    check(&format!("nginx:1@{OTHER_DIGEST}"), &digested, true);
    check(&format!("mirror.io/nginx@{DIGEST}"), &digested, true);
    check(&format!("nginx@{DIGEST}"), &nginx, false);
    check(&format!("nginx@{DIGEST}"), &names(DIGEST), true);
    check(&format!("nginx@{OTHER_DIGEST}"), &names(DIGEST), false);
    // What is no reference is only the same as itself.
    check("__pulling__", &names("__pulling__"), true);
    check("__pulling__", &names("__PULLING__"), false);
    check("UPPER", &names("upper"), false);
    check("", &names(""), false);
    check("nginx", &names(""), false);
    check("x:__merged__", &names("docker.io/library/x:__merged__"), true);
    // Only the repository is known.
    let repository = names("docker.io/library/nginx");
    check("nginx:1", &repository, true);
    check("redis:1", &repository, false);
    let candidates = ["docker.io/library/nginx:1".into(), "docker.io/library/nginx".into()];
    let narrowed = Names { candidates: &candidates, ..repository };
    check("nginx:1", &narrowed, true);
    check("nginx:2", &narrowed, false);
}

#[test]
fn what_the_runtime_found_behind_a_name_counts() {
    let (_, cluster) = cluster();
    let mut pod = creating("a", "nginx:1");
    pod.containers[0].image_id = format!("docker.io/library/nginx@{DIGEST}").into();
    cluster.pod_applied(pod);
    let digests = [DIGEST];
    assert_eq!(who_waits(&cluster, &Names { digests: &digests, ..Names::default() }), ["a/app"]);
}

#[test]
fn only_pods_of_the_node_wait_there() {
    let (_, cluster) = cluster();
    cluster.pod_applied(creating("a", "x"));
    cluster.pod_applied(Pod { node: "node-2".into(), ..creating("b", "x") });
    cluster.pod_applied(Pod { node: "".into(), ..creating("c", "x") });
    assert_eq!(who_waits(&cluster, &names("x")), ["a/app"]);
    assert_eq!(cluster.nodes(), ["node-1".into(), "node-2".into()]);
    cluster.pod_applied(Pod { node: "node-2".into(), ..creating("a", "x") });
    assert!(who_waits(&cluster, &names("x")).is_empty());
    assert_eq!(cluster.nodes(), ["node-2".into()]);
}

#[test]
fn a_pod_that_ended_or_was_deleted_waits_no_longer() {
    let (_, cluster) = cluster();
    for uid in ["a", "b", "c"] {
        cluster.pod_applied(creating(uid, "x"));
        cluster.event(event(uid, ImageEventReason::Pulling, 0));
    }
    cluster.pod_deleted("a");
    cluster.pod_deleted("a");
    cluster.pod_deleted("never seen");
    cluster.pod_applied(Pod { phase: "Failed".into(), ..creating("b", "x") });
    assert_eq!(who_waits(&cluster, &names("x")), ["c/app"]);
    assert_eq!(cluster.asked_for(NODE)[0].pods.len(), 1);
    assert_eq!((cluster.totals().pods, cluster.totals().pods_heard_of), (1, 1));
}

#[test]
fn a_list_replaces_the_pods_of_its_namespace_only() {
    let (_, cluster) = cluster();
    let in_other = |uid: &str| Pod { namespace: "other".into(), ..creating(uid, "x") };
    cluster.pods_replaced(None, vec![creating("a", "x"), creating("b", "x"), in_other("c")]);
    assert_eq!(who_waits(&cluster, &names("x")), ["c/app", "a/app", "b/app"]);
    cluster.pods_replaced(Some("shop"), vec![creating("b", "x"), creating("d", "x")]);
    assert_eq!(who_waits(&cluster, &names("x")), ["c/app", "b/app", "d/app"]);
    cluster.pods_replaced(Some("other"), Vec::new());
    assert_eq!(who_waits(&cluster, &names("x")), ["b/app", "d/app"]);
    cluster.pods_replaced(None, Vec::new());
    assert_eq!(cluster.totals(), ClusterTotals::default());
}

#[test]
fn waiting_pods_are_found_by_filter_in_order_and_up_to_a_limit() {
    let (_, cluster) = cluster();
    cluster.pod_applied(creating("web-2", "nginx"));
    cluster.pod_applied(creating("web-1", "redis"));
    cluster.pod_applied(Pod {
        namespace: "ops".into(),
        node: "node-2".into(),
        ..creating("agent", "nginx")
    });
    let check = |filter: PodFilter, limit: usize, expected: &[&str]| {
        let pods = cluster.waiting(&filter, limit);
        let found: Vec<&str> = pods.iter().map(|pod| &*pod.pod.name).collect();
        assert_eq!(found, expected, "{filter:?}");
    };
    let all = PodFilter::default;
    check(all(), 10, &["agent", "web-1", "web-2"]);
    check(all(), 2, &["agent", "web-1"]);
    check(all(), 0, &[]);
    check(PodFilter { namespace: Some("shop".into()), ..all() }, 10, &["web-1", "web-2"]);
    check(PodFilter { pod: Some("WEB".into()), ..all() }, 10, &["web-1", "web-2"]);
    check(PodFilter { node: Some("node-2".into()), ..all() }, 10, &["agent"]);
    check(PodFilter { image: Some("library/nginx".into()), ..all() }, 10, &["agent", "web-2"]);
}

#[test]
fn the_view_of_a_pod_tells_what_each_container_waits_for() {
    let (_, cluster) = cluster();
    cluster.pod_applied(pod(
        "a",
        vec![
            container("app", "x", waits("ContainerCreating")),
            container("run", "y", ContainerState::Running),
            container("bad", "z:1", waits_because("ErrImagePull", "not found")),
            container("crash", "w", waits("CrashLoopBackOff")),
        ],
    ));
    cluster.event(event("a", ImageEventReason::Pulling, -5));
    let pods = cluster.waiting(&PodFilter::default(), 10);
    let view: Vec<_> = pods[0]
        .containers
        .iter()
        .map(|c| {
            let failure = c.failure.as_ref().map(|failure| failure.message.to_string());
            (c.awaits_image, c.image.to_string(), c.asked_at, failure)
        })
        .collect();
    let image = |name: &str| format!("docker.io/library/{name}");
    assert_eq!(
        view,
        [
            (true, image("x:latest"), Some(at(-5)), None),
            (false, image("y:latest"), None, None),
            (true, image("z:1"), None, Some("not found".to_owned())),
            (false, image("w:latest"), None, None),
        ]
    );
}
