//! Pulls of a real containerd from a real registry, as a watcher sees them.

use std::time::Duration;

use agent::testing::{ContainerdProcess, Proxy, Registry, TestImage, TestLayer, can_pull};
use agent::{ContainerdWatcher, Pace, Snapshot, Watcher};
use platform::{SystemClock, SystemRng};
use report::{PullPhase, PullReport};

/// How many looks a test takes before it gives up.
const LOOKS_MAX: usize = 500;

struct Node {
    containerd: ContainerdProcess,
    registry: Registry,
    proxy: Proxy,
    watcher: ContainerdWatcher,
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
        Some(Self { containerd, registry, proxy, watcher })
    }

    fn name(&self, image: &TestImage) -> String {
        format!("{}/{}:{}", self.proxy.address(), image.repository, image.tag)
    }

    async fn until(&mut self, what: &str, is_so: impl Fn(&Snapshot) -> bool) -> Snapshot {
        let mut last = Snapshot::default();
        for _look in 0..LOOKS_MAX {
            last = self.watcher.next().await;
            if is_so(&last) {
                return last;
            }
        }
        panic!("it was not seen: {what}: {last:#?}\n{}", self.containerd.log());
    }
}

fn watcher(containerd: &ContainerdProcess) -> ContainerdWatcher {
    let pace = Pace {
        active: Duration::from_millis(20),
        idle: Duration::from_millis(20),
        ..Pace::default()
    };
    ContainerdWatcher::new(containerd.settings(), pace, SystemClock::new(), SystemRng::new())
}

#[tokio::test(flavor = "multi_thread")]
async fn a_pull_is_seen_from_begin_to_end() {
    let Some(mut node) = Node::start().await else { return };
    let layers = [TestLayer::new("a", 4 << 20), TestLayer::new("b", 1 << 18)];
    let image = TestImage::new("team/app", "1.0", &layers).with_index();
    node.registry.push(&image).await;
    let mut pause = node.proxy.pause(&layers[0].digest, 2 << 20);
    let mut pull = node.containerd.ctr_pull(&node.name(&image));
    pause.reached().await;
    let seen = node.until("half of the first layer", |seen| {
        seen.pulls.first().is_some_and(|pull: &PullReport| {
            pull.layers.first().is_some_and(|layer| layer.downloaded_bytes == 2 << 20)
        })
    });
    seen.await;
    pause.go_on();
    assert!(pull.ended().await);
    let seen = node.until("the end", |seen| {
        seen.pulls.iter().any(|pull| pull.phase == Some(PullPhase::Completed))
    });
    assert_eq!(seen.await.pulls[0].image_ref, node.name(&image));
}
