use ImageEventReason::{AlreadyPresent, BackOff, Failed, Pulled, Pulling};
use proptest::prelude::*;

use super::*;

#[test]
fn an_image_is_asked_for_until_the_kubelet_says_how_it_ended() {
    for end in [Pulled, AlreadyPresent, Failed, BackOff] {
        let (_, cluster) = cluster();
        cluster.pod_applied(creating("a", "x"));
        assert!(asked(&cluster).is_empty());
        cluster.event(event("a", Pulling, -9));
        assert_eq!(asked(&cluster), ["docker.io/library/x:latest"]);
        // Within the same second, the end is the newer one.
        cluster.event(event("a", end, -9));
        assert!(asked(&cluster).is_empty(), "{end:?}");
        cluster.event(event("a", Pulling, -1));
        assert_eq!(cluster.asked_for(NODE)[0].since, at(-1), "{end:?}");
    }
}

#[test]
fn images_are_asked_for_in_the_order_of_their_events() {
    let (_, cluster) = cluster();
    for (uid, image, seconds) in [("a", "x", -3), ("b", "y", -9), ("c", "x", -5)] {
        cluster.pod_applied(creating(uid, image));
        cluster.event(event(uid, Pulling, seconds));
    }
    let asked = cluster.asked_for(NODE);
    let seen: Vec<_> = asked.iter().map(|a| (&*a.image, a.since, a.pods.len())).collect();
    let y = ("docker.io/library/y:latest", at(-9), 1);
    let x = ("docker.io/library/x:latest", at(-5), 2);
    assert_eq!(seen, [y, x]);
    assert!(cluster.asked_for("node-2").is_empty());
}

#[test]
fn what_is_replayed_in_any_order_is_as_if_it_happened_now() {
    // All that is stored of an image that failed once and was there the second time.
    let events = [
        event("a", Pulling, -60),
        event("a", Failed, -58),
        event("a", BackOff, -40),
        event("a", Pulling, -30),
        event("a", Pulled, -20),
    ];
    for first in 0..events.len() {
        for second in 0..events.len() {
            let (_, cluster) = cluster();
            let mut order = events.to_vec();
            order.swap(0, first);
            order.swap(1, second);
            for event in &order {
                cluster.event(event.clone());
            }
            cluster.pod_applied(creating("a", "x"));
            assert!(asked(&cluster).is_empty(), "{order:?}");
            assert_eq!(cluster.failure_of(NODE, &names("x"), Timestamp::MIN), None, "{order:?}");
        }
    }
}

#[test]
fn an_event_may_come_before_its_pod() {
    let (_, cluster) = cluster();
    cluster.event(event("a", Pulling, -1));
    assert!(asked(&cluster).is_empty());
    cluster.pod_applied(creating("a", "x"));
    assert_eq!(asked(&cluster), ["docker.io/library/x:latest"]);
}

#[test]
fn a_static_pod_has_another_identifier_for_its_kubelet() {
    let mirror = || Pod { static_uid: "hash".into(), ..creating("a", "x") };
    let of_kubelet = |reason, seconds| event("hash", reason, seconds);
    let (_, cluster) = cluster();
    cluster.event(of_kubelet(Pulling, -2));
    cluster.pod_applied(mirror());
    assert_eq!(asked(&cluster), ["docker.io/library/x:latest"]);
    cluster.event(of_kubelet(Pulled, -1));
    assert!(asked(&cluster).is_empty());
    cluster.pod_deleted("a");
    assert_eq!(cluster.totals(), ClusterTotals::default());
}

#[test]
fn an_image_volume_is_known_by_its_image() {
    let (_, cluster) = cluster();
    let volume = Container { kind: ContainerKind::Volume, ..container("app", "v", waits("")) };
    cluster.pod_applied(pod("a", vec![container("app", "x", waits("")), volume]));
    let of = |image: &str, container: &str| ImageEvent {
        container: container.into(),
        image: Some(image.into()),
        ..event("a", Pulling, -1)
    };
    cluster.event(of("v", ""));
    assert_eq!(cluster.asked_for(NODE)[0].pods[0].kind, ContainerKind::Volume);
    cluster.event(of("x", "app"));
    assert_eq!(asked(&cluster), ["docker.io/library/v:latest", "docker.io/library/x:latest"]);
}

#[test]
fn events_expire_by_their_own_time() {
    let (clock, cluster) = cluster();
    cluster.pod_applied(creating("a", "x"));
    cluster.event(event("a", Pulling, -3_601));
    assert_eq!(cluster.totals().pods_heard_of, 0);
    cluster.event(event("a", Pulling, -3_599));
    assert_eq!(asked(&cluster).len(), 1);
    clock.advance(EVENT_AGE_MAX / 3_600);
    cluster.tick();
    assert!(asked(&cluster).is_empty());
    // One from the future is as old as one from now.
    cluster.event(event("a", Pulling, 1_000_000));
    clock.advance(EVENT_AGE_MAX);
    cluster.tick();
    assert!(asked(&cluster).is_empty());
}

#[test]
fn events_of_pods_that_do_not_wait_are_soon_forgotten() {
    let (clock, cluster) = cluster();
    cluster.event(event("a", Pulling, 0));
    clock.advance(EVENTS_OF_UNKNOWN_PODS_AGE_MAX / 2);
    cluster.tick();
    assert_eq!(cluster.totals().pods_heard_of, 1);
    clock.advance(EVENTS_OF_UNKNOWN_PODS_AGE_MAX / 2);
    cluster.tick();
    assert_eq!(cluster.totals().pods_heard_of, 0);
    cluster.pod_applied(creating("a", "x"));
    assert!(asked(&cluster).is_empty());
}

/// What may happen to three pods, each with one container.
#[derive(Clone, Debug)]
enum Step {
    Waits(u8),
    Runs(u8),
    Deleted(u8),
    Heard(u8, ImageEventReason, i64),
    Listed(Vec<u8>),
}

fn step() -> impl Strategy<Value = Step> {
    let reason = prop::sample::select(vec![Pulling, Pulled, Failed, BackOff]);
    prop_oneof![
        (0..3u8).prop_map(Step::Waits),
        (0..3u8).prop_map(Step::Runs),
        (0..3u8).prop_map(Step::Deleted),
        (0..3u8, reason, -50..0i64).prop_map(|(pod, reason, at)| Step::Heard(pod, reason, at)),
        prop::collection::vec(0..3u8, 0..3).prop_map(Step::Listed),
    ]
}

fn apply(cluster: &ClusterPods, step: &Step) {
    let uid = |pod: u8| pod.to_string();
    match step {
        Step::Waits(pod) => cluster.pod_applied(creating(&uid(*pod), "x")),
        Step::Runs(one) => {
            let running = container("app", "x", ContainerState::Running);
            cluster.pod_applied(pod(&uid(*one), vec![running]));
        }
        Step::Deleted(pod) => cluster.pod_deleted(&uid(*pod)),
        Step::Heard(pod, reason, at) => cluster.event(event(&uid(*pod), *reason, *at)),
        Step::Listed(pods) => {
            let pods = pods.iter().map(|pod| creating(&uid(*pod), "x")).collect();
            cluster.pods_replaced(None, pods);
        }
    }
}

/// Returns what waits, what is asked for, and since when what failed.
fn known(cluster: &ClusterPods) -> (Vec<String>, Vec<AskedFor>, Vec<bool>) {
    let failed = (0..30).map(|millis| {
        let since = at(0).saturating_add_millis(millis);
        cluster.failure_of(NODE, &names("x"), since).is_some()
    });
    (who_waits(cluster, &names("x")), cluster.asked_for(NODE), failed.collect())
}

proptest! {
    #[test]
    fn what_waits_is_what_was_last_said_to_wait(steps in prop::collection::vec(step(), 0..30)) {
        let (clock, cluster) = cluster();
        let mut model = std::collections::BTreeSet::new();
        for step in &steps {
            apply(&cluster, step);
            // The same a second time, as after a watch that was interrupted, changes nothing.
            let before = known(&cluster);
            clock.advance(std::time::Duration::from_millis(1));
            apply(&cluster, step);
            prop_assert_eq!(&before, &known(&cluster));
            match step {
                Step::Waits(pod) => drop(model.insert(*pod)),
                Step::Runs(pod) | Step::Deleted(pod) => drop(model.remove(pod)),
                Step::Listed(pods) => model = pods.iter().copied().collect(),
                Step::Heard(..) => {}
            }
            let expected: Vec<String> = model.iter().map(|pod| format!("{pod}/app")).collect();
            prop_assert_eq!(&before.0, &expected);
            prop_assert_eq!(cluster.totals().pods, model.len());
        }
        cluster.pods_replaced(None, Vec::new());
        prop_assert_eq!(cluster.nodes(), Vec::<Arc<str>>::new());
    }

    #[test]
    fn the_order_in_which_events_come_does_not_matter(
        events in prop::collection::vec((prop::sample::select(vec![Pulling, Pulled, Failed, BackOff]), -50..0i64), 1..8),
        seed in any::<u64>(),
    ) {
        let outcome = |events: &[(ImageEventReason, i64)]| {
            let (_, cluster) = cluster();
            cluster.pod_applied(creating("a", "x"));
            for (reason, at) in events {
                cluster.event(event("a", *reason, *at));
            }
            cluster.asked_for(NODE)
        };
        let mut shuffled = events.clone();
        let length = u64::try_from(shuffled.len()).expect("few");
        shuffled.rotate_left(usize::try_from(seed % length).expect("few"));
        shuffled.reverse();
        prop_assert_eq!(outcome(&events), outcome(&shuffled));
    }
}
