use super::*;
use crate::filter::PodFilter;
use crate::settings::{IMAGE_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX};

#[test]
fn strings_are_cut() {
    let (_, cluster) = cluster();
    let long = "é".repeat(MESSAGE_BYTES_MAX);
    let state = waits_because(&long, &long);
    let one = Container {
        name: long.as_str().into(),
        image_id: long.as_str().into(),
        ..container("", &long, state)
    };
    cluster.pod_applied(Pod {
        static_uid: long.as_str().into(),
        namespace: long.as_str().into(),
        node: long.as_str().into(),
        phase: long.as_str().into(),
        owner: Some(Owner { kind: long.as_str().into(), name: long.as_str().into() }),
        ..pod(&long, vec![one])
    });
    let pods = cluster.waiting(&PodFilter::default(), 1);
    let pod = &pods[0].pod;
    let owner = pod.owner.as_ref().expect("an owner");
    let names = [
        &pod.uid,
        &pod.static_uid,
        &pod.namespace,
        &pod.name,
        &pod.node,
        &pod.phase,
        &owner.kind,
        &owner.name,
        &pod.containers[0].name,
    ];
    for name in names {
        assert_eq!(name.len(), NAME_BYTES_MAX - 1);
    }
    assert_eq!(pod.containers[0].image.len(), IMAGE_BYTES_MAX);
    assert_eq!(pod.containers[0].image_id.len(), IMAGE_BYTES_MAX);
    let ContainerState::Waiting { reason, message } = &pod.containers[0].state else {
        panic!("it waits");
    };
    assert_eq!((reason.len(), message.len()), (NAME_BYTES_MAX - 1, MESSAGE_BYTES_MAX));

    // A pod is found by its identifiers, however long they are.
    let heard = ImageEvent {
        container: long.as_str().into(),
        ..event(&long, ImageEventReason::Pulling, 0)
    };
    cluster.event(heard);
    assert_eq!(cluster.asked_for(&pod.node).len(), 1);
    cluster.pods_replaced(None, vec![Pod { uid: long.as_str().into(), ..Pod::clone(pod) }]);
    assert_eq!(cluster.asked_for(&pod.node).len(), 1);
    cluster.pod_deleted(&long);
    assert_eq!(cluster.totals(), ClusterTotals::default());
}

#[test]
fn a_pod_has_so_many_containers() {
    let (_, cluster) = cluster();
    let many = (0..=CONTAINERS_PER_POD_MAX).map(|n| container(&n.to_string(), "x", waits("")));
    cluster.pod_applied(pod("a", many.collect()));
    assert_eq!(who_waits(&cluster, &names("x")).len(), CONTAINERS_PER_POD_MAX);
    for n in 0..=CONTAINERS_PER_POD_MAX {
        let container = n.to_string().as_str().into();
        cluster.event(ImageEvent { container, ..event("a", ImageEventReason::Pulling, 0) });
    }
    assert_eq!(cluster.asked_for(NODE)[0].pods.len(), CONTAINERS_PER_POD_MAX);
}

#[test]
fn a_cluster_has_so_many_pods_that_wait() {
    let (_, cluster) = cluster();
    let pod =
        |n: usize| Pod { node: format!("n{}", n % 500).into(), ..creating(&n.to_string(), "x") };
    cluster.pods_replaced(None, (0..=PODS_MAX).map(pod).collect());
    let totals = cluster.totals();
    assert_eq!((totals.pods, totals.pods_dropped), (PODS_MAX, 1));
    // One that is known goes on to be.
    cluster.pod_applied(pod(0));
    assert_eq!(cluster.totals(), totals);
    cluster.pod_deleted("0");
    cluster.pod_applied(pod(PODS_MAX));
    assert_eq!(cluster.totals(), totals);
}

#[test]
fn the_events_of_so_many_pods_are_kept_the_newest_ones() {
    let (_, cluster) = cluster();
    for n in 0..=PODS_HEARD_OF_MAX {
        let seconds = if n == 7 { -3_500 } else { 0 };
        cluster.event(event(&n.to_string(), ImageEventReason::Pulling, seconds));
    }
    let totals = cluster.totals();
    assert_eq!((totals.pods_heard_of, totals.pods_heard_of_dropped), (PODS_HEARD_OF_MAX, 1));
    cluster.pod_applied(creating("7", "x"));
    assert!(asked(&cluster).is_empty());
    cluster.pod_applied(creating("8", "x"));
    assert_eq!(asked(&cluster).len(), 1);
}

#[test]
fn reports_and_watches_at_the_same_time_leave_what_was_said_last() {
    let (_, cluster) = cluster();
    std::thread::scope(|scope| {
        for thread in 0..4 {
            let cluster = &cluster;
            scope.spawn(move || {
                for n in 0..200 {
                    let uid = format!("{thread}-{}", n % 10);
                    cluster.event(event(&uid, ImageEventReason::Pulling, 0));
                    cluster.pod_applied(creating(&uid, "x"));
                    let waiting = who_waits(cluster, &names("x"));
                    assert!(waiting.contains(&format!("{uid}/app")));
                    if n % 3 == 0 {
                        cluster.pod_deleted(&uid);
                    }
                    cluster.tick();
                }
            });
        }
    });
    let mut expected = Vec::new();
    for thread in 0..4 {
        // The last ten steps of each thread decide.
        let kept = (190..200).filter(|n| n % 3 != 0).map(|n| format!("{thread}-{}/app", n % 10));
        expected.extend(kept);
    }
    expected.sort();
    assert_eq!(who_waits(&cluster, &names("x")), expected);
}
