//! Pulls of a real containerd from a real registry, as a watcher sees them.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::testing::{
    ContainerdProcess, Proxy, Registry, TestImage, TestLayer, can_pull, pull_as_kubelet, until,
};
use agent::{ContainerdWatcher, FolderWatcher, Pace, Snapshot, Watcher};
use platform::{Clock as _, SystemClock, SystemFs, SystemRng};
use report::{Confidence, LayerPhase, PullPhase, PullReport, Source};

/// How long a test waits for something to be seen.
const PATIENCE: Duration = Duration::from_secs(30);
/// The size of layers that stop in the middle: containerd writes a mebibyte at a time.
const LARGE: usize = 4 << 20;
/// Where they stop.
const MIDDLE: i64 = 2 << 20;

/// A node with a registry, and somebody who watches it.
struct Node {
    containerd: ContainerdProcess,
    registry: Registry,
    proxy: Proxy,
    watcher: Box<dyn Watcher>,
    seen: Seen,
}

impl Node {
    async fn start() -> Option<Self> {
        if !can_pull() {
            return None;
        }
        let registry = Registry::start().await;
        let proxy = Proxy::start(registry.address()).await;
        let containerd = ContainerdProcess::start().await;
        let watcher = watcher(&containerd);
        let mut node = Self { containerd, registry, proxy, watcher, seen: Seen::default() };
        node.until("containerd", |snapshot| snapshot.error.is_empty()).await;
        Some(node)
    }

    async fn push(&self, repository: &str, tag: &str, layers: &[&TestLayer]) -> TestImage {
        let layers: Vec<TestLayer> = layers.iter().map(|layer| (*layer).clone()).collect();
        let image = TestImage::new(repository, tag, &layers).with_index();
        self.registry.push(&image).await;
        image
    }

    fn name(&self, image: &TestImage) -> String {
        format!("{}/{}:{}", self.proxy.address(), image.repository, image.tag)
    }

    /// Looks until something is so; nothing may ever go back meanwhile.
    async fn until(&mut self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let clock = SystemClock::new();
        loop {
            let snapshot = self.watcher.next().await;
            self.seen.check(&snapshot);
            if is_so(&snapshot) {
                return snapshot;
            }
            assert!(
                clock.monotonic() < PATIENCE,
                "it was not seen: {what}: {snapshot:#?}\n{}",
                self.containerd.log()
            );
        }
    }

    /// Looks until a pull has ended and there is one more image, or until it has ended without.
    async fn until_ended(&mut self, id: &str) -> PullReport {
        let snapshot = self.until("the end", |snapshot| is_ended(snapshot, id)).await;
        snapshot.pulls.into_iter().find(|pull| pull.id == id).expect("it is there")
    }

    /// Looks until the pull of an image stands in the middle of a layer.
    async fn until_in_the_middle(&mut self, image: &TestImage, layer: &TestLayer) -> PullReport {
        let digest = image.digest();
        let is_there = |pull: &PullReport| {
            pull.digest == digest
                && pull.ended_at.is_none()
                && pull
                    .layers
                    .iter()
                    .any(|seen| seen.digest == layer.digest && seen.downloaded_bytes == MIDDLE)
        };
        let snapshot =
            self.until("the middle", |snapshot| snapshot.pulls.iter().any(is_there)).await;
        snapshot.pulls.into_iter().find(is_there).expect("it is there")
    }
}

fn is_ended(snapshot: &Snapshot, id: &str) -> bool {
    snapshot.pulls.iter().any(|pull| pull.id == id && pull.ended_at.is_some())
}

fn pace() -> Pace {
    let (active, idle) = (Duration::from_millis(10), Duration::from_millis(50));
    Pace { active, idle, ..Pace::default() }
}

fn watcher(containerd: &ContainerdProcess) -> Box<dyn Watcher> {
    let (clock, rng) = (SystemClock::new(), SystemRng::new());
    Box::new(ContainerdWatcher::new(containerd.settings(), pace(), clock, rng))
}

/// What was seen before, to notice when something goes back.
#[derive(Default)]
struct Seen(BTreeMap<String, PullReport>);

impl Seen {
    fn check(&mut self, snapshot: &Snapshot) {
        for pull in &snapshot.pulls {
            let Some(before) = self.0.insert(pull.id.clone(), pull.clone()) else { continue };
            let what = || format!("{before:#?}\nbecame\n{pull:#?}");
            assert!(before.phase <= pull.phase, "{}", what());
            assert!(before.confidence >= pull.confidence, "{}", what());
            assert!(before.total_known <= pull.total_known, "{}", what());
            assert_eq!(before.started_at, pull.started_at, "{}", what());
            for old in &before.layers {
                let new = pull.layers.iter().find(|layer| layer.digest == old.digest);
                let new = new.unwrap_or_else(|| panic!("a layer is gone: {}", what()));
                assert_eq!(new.total_bytes, old.total_bytes, "{}", what());
                assert!(new.downloaded_bytes >= old.downloaded_bytes, "{}", what());
                assert!(new.downloaded_bytes <= new.total_bytes, "{}", what());
                let gave_up =
                    new.phase == Some(LayerPhase::Failed) || pull.phase == Some(PullPhase::Failed);
                assert!(gave_up || new.phase >= old.phase, "{}", what());
            }
        }
    }
}

/// Checks a pull that ended with an image: name, digests, order, sizes.
fn check_completed(pull: &PullReport, image: &TestImage, name: &str, phases: &[LayerPhase]) {
    assert_eq!(pull.phase, Some(PullPhase::Completed), "{pull:#?}");
    assert_eq!((pull.image_ref.as_str(), pull.confidence), (name, Some(Confidence::Certain)));
    assert_eq!((&pull.digest, &pull.manifest_digest), (&image.digest(), &image.manifest_digest()));
    assert_eq!(pull.error, "");
    assert!(pull.total_known && !pull.indirect && pull.started_at <= pull.ended_at, "{pull:#?}");
    check_layers(pull, image, phases);
    for layer in &pull.layers {
        assert_eq!(layer.downloaded_bytes, layer.total_bytes);
        assert_eq!(
            layer.completed_at.is_some(),
            layer.phase != Some(LayerPhase::Cached),
            "{layer:?}"
        );
    }
}

fn check_layers(pull: &PullReport, image: &TestImage, phases: &[LayerPhase]) {
    let seen: Vec<_> = pull
        .layers
        .iter()
        .map(|layer| (layer.digest.as_str(), layer.total_bytes, layer.phase))
        .collect();
    let size = |layer: &TestLayer| i64::try_from(layer.bytes.len()).expect("a size");
    let expected: Vec<_> = image
        .layers
        .iter()
        .zip(phases)
        .map(|(layer, phase)| (layer.digest.as_str(), size(layer), Some(*phase)))
        .collect();
    assert_eq!(seen, expected);
}

#[tokio::test(flavor = "multi_thread")]
async fn concurrent_pulls_are_told_apart_and_share_a_layer() {
    let Some(mut node) = Node::start().await else { return };
    let shared = TestLayer::new("shared", LARGE);
    let (one, two, three) = (
        TestLayer::new("one", 1 << 20),
        TestLayer::new("two", 1 << 19),
        TestLayer::new("three", 2048),
    );
    let first = node.push("team/first", "1", &[&shared, &one]).await;
    let second = node.push("team/second", "2", &[&two, &shared]).await;
    let third = node.push("other/third", "3", &[&three]).await;
    let mut pause = node.proxy.pause(&shared.digest, MIDDLE as u64);
    let mut pulls: Vec<_> = [&first, &second, &third]
        .iter()
        .map(|image| node.containerd.ctr_pull(&node.name(image)))
        .collect();
    pause.reached().await;
    let first_pull = node.until_in_the_middle(&first, &shared).await;
    let second_pull = node.until_in_the_middle(&second, &shared).await;
    assert_ne!(first_pull.id, second_pull.id);
    assert_eq!(first_pull.image_ref, "127.0.0.1/team/first");
    assert_eq!(second_pull.image_ref, "127.0.0.1/team/second");
    assert_eq!(first_pull.confidence, Some(Confidence::Repository));
    let third_digest = third.digest();
    let seen = node
        .until("the third", |seen| {
            seen.pulls.iter().any(|pull| pull.digest == third_digest && pull.ended_at.is_some())
        })
        .await;
    let third_pull =
        seen.pulls.iter().find(|pull| pull.digest == third_digest).expect("it is there");
    check_completed(third_pull, &third, &node.name(&third), &[LayerPhase::Done]);
    assert!(seen.active);

    pause.go_on();
    for pull in &mut pulls {
        assert!(pull.ended().await);
    }
    let done = [LayerPhase::Done, LayerPhase::Done];
    for (id, image) in [(first_pull.id, &first), (second_pull.id, &second)] {
        let pull = node.until_ended(&id).await;
        check_completed(&pull, image, &node.name(image), &done);
        assert!(pull.layers.iter().all(|layer| layer.resumed_bytes == 0), "{pull:#?}");
    }
    let seen = node.until("rest", |seen| !seen.active).await;
    assert_eq!(seen.pulls.len(), 3, "{seen:#?}");
    let ids: Vec<String> = seen.pulls.iter().map(|pull| pull.id.clone()).collect();
    node.watcher.acknowledged(&ids);
    assert_eq!(node.watcher.next().await.pulls, []);
}

#[tokio::test(flavor = "multi_thread")]
async fn layers_that_are_there_are_cached() {
    let Some(mut node) = Node::start().await else { return };
    let (base, old, new) = (
        TestLayer::new("base", 1 << 20),
        TestLayer::new("old", 4096),
        TestLayer::new("new", LARGE),
    );
    let before = node.push("app", "1", &[&base, &old]).await;
    let after = node.push("app", "2", &[&base, &new]).await;
    assert!(node.containerd.ctr_pull(&node.name(&before)).ended().await);
    node.until("the first pull", |seen| seen.pulls.len() == 1 && !seen.active).await;

    // The second stands in the middle of the layer that is new, so it is seen.
    let mut pause = node.proxy.pause(&new.digest, MIDDLE as u64);
    let mut pull = node.containerd.ctr_pull(&node.name(&after));
    pause.reached().await;
    let seen = node.until_in_the_middle(&after, &new).await;
    check_layers(&seen, &after, &[LayerPhase::Cached, LayerPhase::Downloading]);
    pause.go_on();
    assert!(pull.ended().await);
    let seen = node.until_ended(&seen.id).await;
    check_completed(&seen, &after, &node.name(&after), &[LayerPhase::Cached, LayerPhase::Done]);

    // Pulled again, everything is there; nothing is downloaded, and only the name is renewed.
    let requests = node.proxy.requests().len();
    let mut pause = node.proxy.pause("/manifests/", 0);
    let mut pull = node.containerd.ctr_pull(&node.name(&after));
    pause.reached().await;
    node.until("a lease", |seen| seen.active).await;
    pause.go_on();
    assert!(pull.ended().await);
    let seen = node.until("the third pull", |seen| seen.pulls.len() == 3 && !seen.active).await;
    let cached = [LayerPhase::Cached, LayerPhase::Cached];
    check_completed(&seen.pulls[2], &after, &node.name(&after), &cached);
    assert!(node.proxy.requests()[requests..].iter().all(|request| !request.contains("/blobs/")));
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_between_two_looks_is_seen_once_and_a_new_name_is_none() {
    let Some(mut node) = Node::start().await else { return };
    let layer = TestLayer::new("layer", 4096);
    let image = node.push("short", "1", &[&layer]).await;
    // Nobody looks meanwhile.
    assert!(node.containerd.ctr_pull(&node.name(&image)).ended().await);
    let seen = node.until("the pull", |seen| !seen.pulls.is_empty()).await;
    check_completed(&seen.pulls[0], &image, &node.name(&image), &[LayerPhase::Done]);

    let other = node.name(&image).replace(":1", ":other");
    let _said = node.containerd.ctr(&["images", "tag", &node.name(&image), &other]);
    let next = node.push("next", "1", &[&TestLayer::new("next", 2048)]).await;
    assert!(node.containerd.ctr_pull(&node.name(&next)).ended().await);
    let digest = next.digest();
    let seen = node
        .until("the next pull", |seen| {
            seen.pulls.iter().any(|pull| pull.digest == digest && pull.ended_at.is_some())
        })
        .await;
    assert_eq!(seen.pulls.len(), 2, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_cancelled_pull_fails() {
    let Some(mut node) = Node::start().await else { return };
    let (small, large) = (TestLayer::new("small", 4096), TestLayer::new("large", LARGE));
    let image = node.push("app", "1", &[&small, &large]).await;
    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let kubelet = tokio::task::JoinSet::from_iter([pull_as_kubelet(
        node.containerd.socket(),
        node.name(&image),
    )]);
    pause.reached().await;
    let is_still = |seen: &Snapshot| {
        seen.pulls.iter().any(|pull| {
            pull.layers.len() == 2
                && pull.layers[0].downloaded_bytes == 4096
                && pull.layers[1].downloaded_bytes == MIDDLE
        })
    };
    let first = node.until("the middle", is_still).await.pulls.remove(0);
    drop(kubelet);
    let first = node.until_ended(&first.id).await;
    assert_eq!(first.phase, Some(PullPhase::Failed), "{first:#?}");
    assert!(first.error.starts_with("Aborted: "), "{first:#?}");
    assert_eq!(first.layers[1].phase, Some(LayerPhase::Failed));
    assert_eq!(first.layers[1].downloaded_bytes, MIDDLE);
    assert_eq!(first.layers[0].downloaded_bytes, 4096);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_whose_client_was_killed_goes_on_until_its_lease_ends() {
    let Some(mut node) = Node::start().await else { return };
    let large = TestLayer::new("large", LARGE);
    let image = node.push("app", "1", &[&large]).await;
    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let mut pull = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    let seen = node.until_in_the_middle(&image, &large).await;
    pull.kill();
    let goes_on = node.watcher.next().await;
    assert_eq!(goes_on.pulls[0].phase, Some(PullPhase::Downloading));
    let _said = node.containerd.ctr(&["leases", "rm", &seen.id]);
    let seen = node.until_ended(&seen.id).await;
    assert_eq!(seen.phase, Some(PullPhase::Failed));
    check_layers(&seen, &image, &[LayerPhase::Failed]);
    assert_eq!(seen.layers[0].downloaded_bytes, MIDDLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_retry_takes_up_what_the_attempt_before_left() {
    let Some(mut node) = Node::start().await else { return };
    let (small, large) = (TestLayer::new("small", 4096), TestLayer::new("large", LARGE));
    let image = node.push("app", "1", &[&small, &large]).await;
    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let mut killed = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    let is_still = |seen: &Snapshot| {
        seen.pulls.iter().any(|pull| {
            pull.layers.len() == 2
                && pull.layers[0].phase == Some(LayerPhase::Downloaded)
                && pull.layers[1].downloaded_bytes == MIDDLE
        })
    };
    let first = node.until("the middle", is_still).await.pulls.remove(0);
    killed.kill();
    pause.go_on();
    node.proxy.clear();

    // The rest stops once more, a mebibyte later.
    let mut pause = node.proxy.pause(&large.digest, 1 << 20);
    let mut pull = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    let is_it = |pull: &PullReport| {
        pull.id != first.id
            && pull.layers.get(1).is_some_and(|layer| layer.downloaded_bytes == 3 << 20)
    };
    let seen = node.until("the retry", |seen| seen.pulls.iter().any(is_it)).await;
    let second = seen.pulls.into_iter().find(is_it).expect("it is there");
    check_layers(&second, &image, &[LayerPhase::Cached, LayerPhase::Downloading]);
    assert_eq!(second.layers[1].resumed_bytes, MIDDLE);
    pause.go_on();
    assert!(pull.ended().await);
    let second = node.until_ended(&second.id).await;
    check_completed(&second, &image, &node.name(&image), &[LayerPhase::Cached, LayerPhase::Done]);
    assert_eq!(second.layers[1].resumed_bytes, MIDDLE);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_registry_that_fails_makes_the_pull_fail() {
    let Some(mut node) = Node::start().await else { return };
    let (good, bad) = (TestLayer::new("good", LARGE), TestLayer::new("bad", 4096));
    let image = node.push("app", "1", &[&good, &bad]).await;
    // The good layer stands still, so that the pull is seen before it fails.
    let mut pause = node.proxy.pause(&good.digest, MIDDLE as u64);
    let mut refused = node.proxy.pause(&bad.digest, 0);
    let mut pull = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    refused.reached().await;
    let seen = node.until_in_the_middle(&image, &good).await;
    node.proxy.clear();
    node.proxy.answer("/blobs/", 500);
    node.proxy.cut_all();
    assert!(!pull.ended().await);
    let seen = node.until_ended(&seen.id).await;
    assert_eq!(seen.phase, Some(PullPhase::Failed), "{seen:#?}");
    assert_eq!(seen.layers[0].phase, Some(LayerPhase::Failed));
    assert_eq!(seen.layers[0].downloaded_bytes, MIDDLE);
    assert_ne!(seen.layers[1].downloaded_bytes, seen.layers[1].total_bytes);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_restart_of_containerd_ends_its_pulls() {
    let Some(mut node) = Node::start().await else { return };
    let large = TestLayer::new("large", LARGE);
    let image = node.push("app", "1", &[&large]).await;
    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let mut kubelet = tokio::task::JoinSet::from_iter([pull_as_kubelet(
        node.containerd.socket(),
        node.name(&image),
    )]);
    pause.reached().await;
    let first = node.until_in_the_middle(&image, &large).await;
    node.containerd.kill();
    assert!(kubelet.join_next().await.expect("it ran").expect("no panic").is_err());
    let seen = node.until("an error", |seen| !seen.error.is_empty()).await;
    // What was seen last is still said, and not as ended.
    assert_eq!(seen.pulls[0], first);
    pause.go_on();
    node.proxy.clear();

    node.containerd.restart().await;
    let ended = node.until_ended(&first.id).await;
    assert_eq!(ended.phase, Some(PullPhase::Failed));
    assert!(ended.error.starts_with("RuntimeRestarted: "), "{ended:#?}");
    check_layers(&ended, &image, &[LayerPhase::Failed]);
    // Its lease is still there: it does not come back.
    let leases = node.containerd.ctr(&["leases", "ls", "-q"]);
    assert!(leases.contains(&first.id), "{leases}");

    pull_as_kubelet(node.containerd.socket(), node.name(&image)).await.expect("it is pulled");
    let is_it = |pull: &PullReport| pull.id != first.id && pull.ended_at.is_some();
    let seen = node.until("the retry", |seen| seen.pulls.iter().any(is_it)).await;
    let second = seen.pulls.iter().find(|pull| is_it(pull)).expect("it is there");
    check_completed(second, &image, &node.name(&image), &[LayerPhase::Done]);
    assert_eq!(seen.pulls.len(), 2, "{seen:#?}");
}

#[tokio::test(flavor = "multi_thread")]
async fn a_watcher_that_starts_anew_sees_the_same_pull() {
    let Some(mut node) = Node::start().await else { return };
    let (small, large) = (TestLayer::new("small", 4096), TestLayer::new("large", LARGE));
    let image = node.push("app", "1", &[&small, &large]).await;
    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let socket = node.containerd.socket();
    let mut kubelet = tokio::task::JoinSet::from_iter([pull_as_kubelet(socket, node.name(&image))]);
    pause.reached().await;
    // When a layer began is known to those who saw it.
    let without_times = |mut pull: PullReport| {
        pull.layers.iter_mut().for_each(|layer| layer.started_at = None);
        pull
    };
    let is_still = |seen: &Snapshot| {
        seen.pulls.iter().any(|pull| {
            pull.layers.len() == 2
                && pull.layers[0].phase == Some(LayerPhase::Done)
                && pull.layers[1].downloaded_bytes == MIDDLE
        })
    };
    let before = node.until("the middle", is_still).await.pulls.remove(0);
    node.watcher = watcher(&node.containerd);
    let after = node.until("the middle again", is_still).await.pulls.remove(0);
    assert_eq!(without_times(after), without_times(before.clone()));
    pause.go_on();
    kubelet.join_next().await.expect("it ran").expect("no panic").expect("it is pulled");
    let ended = node.until_ended(&before.id).await;
    check_completed(&ended, &image, &node.name(&image), &[LayerPhase::Done, LayerPhase::Done]);
}

#[tokio::test(flavor = "multi_thread")]
async fn a_containerd_that_is_not_there_is_said_and_waited_for() {
    let Some(mut node) = Node::start().await else { return };
    node.containerd.kill();
    let mut watcher = watcher(&node.containerd);
    let seen = watcher.next().await;
    assert!(!seen.error.is_empty() && seen.pulls.is_empty() && !seen.active, "{seen:?}");
    node.containerd.restart().await;
    let watcher = &std::sync::Arc::new(tokio::sync::Mutex::new(watcher));
    until("it is seen", || async move {
        let seen = watcher.lock().await.next().await;
        seen.error.is_empty().then_some(seen.runtime)
    })
    .await;
}

#[tokio::test(flavor = "multi_thread")]
async fn files_alone_show_layers_and_sizes() {
    let Some(mut node) = Node::start().await else { return };
    let (base, large) = (TestLayer::new("base", 1 << 20), TestLayer::new("large", LARGE));
    let before = node.push("app", "1", &[&base]).await;
    let image = node.push("app", "2", &[&base, &large]).await;
    assert!(node.containerd.ctr_pull(&node.name(&before)).ended().await);
    let folder = node.containerd.content_folder();
    let fs = std::sync::Arc::new(SystemFs);
    node.watcher = Box::new(FolderWatcher::new(folder, "k8s.io", pace(), SystemClock::new(), fs));
    let seen = node.until("nothing", |seen| seen.source == Source::ContentFolder).await;
    assert_eq!((seen.pulls.as_slice(), seen.error.as_str()), ([].as_slice(), ""));

    let mut pause = node.proxy.pause(&large.digest, MIDDLE as u64);
    let mut pull = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    let seen = node.until_in_the_middle(&image, &large).await;
    check_layers(&seen, &image, &[LayerPhase::Cached, LayerPhase::Downloading]);
    assert_eq!(seen.image_ref, image.digest());
    assert_eq!(seen.confidence, Some(Confidence::Unknown));
    pause.go_on();
    assert!(pull.ended().await);
    let seen = node.until_ended(&seen.id).await;
    assert_eq!((seen.phase, seen.error.as_str()), (Some(PullPhase::Completed), ""));
    check_layers(&seen, &image, &[LayerPhase::Cached, LayerPhase::Done]);
    assert_eq!(seen.manifest_digest, image.manifest_digest());
}
