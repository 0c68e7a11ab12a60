//! What other versions of containerd do, and what is missing in them.

use std::collections::BTreeMap;
use std::time::Duration;

use agent::testing::{
    FakeBlob, FakeContainerd, FakeIngest, FakeLease, FakeState, TestImage, TestLayer, until,
};
use agent::{ContainerdWatcher, Pace, Watcher};
use platform::{Clock as _, SystemClock, SystemRng, Timestamp};
use report::{Confidence, LayerPhase, PullPhase};

/// A time between two looks that no test waits for: events cut it short, or nothing does.
const NEVER: Duration = Duration::from_secs(86_400);

fn watcher(containerd: &FakeContainerd, idle: Duration) -> ContainerdWatcher {
    let pace = Pace { active: Duration::from_millis(1), idle, ..Pace::default() };
    ContainerdWatcher::new(containerd.settings(), pace, SystemClock::new(), SystemRng::new())
}

/// Returns a containerd that has begun to pull an image.
fn pulling(version: &str, image: &TestImage) -> FakeState {
    let now = SystemClock::new().now();
    let mut state = FakeState { version: version.to_owned(), ..FakeState::default() };
    let mut lease = FakeLease { created_at: now, ..FakeLease::default() };
    for (digest, blob) in image.blobs() {
        lease.resources.push(("content", digest.clone()));
        state.blobs.insert(digest, FakeBlob { created_at: now, ..blob });
    }
    state.leases.insert("lease".to_owned(), lease);
    state
}

fn write(state: &mut FakeState, kind: &str, digest: &str, offset: i64, total: i64) {
    let reference = format!("{kind}-{digest}");
    let started_at = SystemClock::new().now();
    state.ingests.insert(reference.clone(), FakeIngest { offset, total, started_at });
    let lease = state.leases.get_mut("lease").expect("it is there");
    lease.resources.push(("ingests", reference));
}

fn image() -> TestImage {
    let layers = ["a", "b", "c", "d", "e"].map(|name| TestLayer::new(name, 2048));
    TestImage::new("app", "1", &layers).with_index()
}

#[tokio::test(flavor = "multi_thread")]
async fn newer_versions_show_layers_that_wait_and_attestations() {
    let image = image();
    let mut state = pulling("2.1.4", &image);
    for (position, layer) in image.layers.iter().enumerate() {
        write(&mut state, "layer", &layer.digest, if position == 1 { 512 } else { 0 }, 2048);
    }
    write(&mut state, "attestation", &TestLayer::new("attestation", 2048).digest, 10, 20);
    let containerd = FakeContainerd::start(state);
    let seen = watcher(&containerd, NEVER).next().await;
    assert_eq!((seen.runtime.as_str(), seen.error.as_str()), ("containerd 2.1.4", ""));
    let layers: Vec<_> =
        seen.pulls[0].layers.iter().map(|layer| (layer.phase, layer.downloaded_bytes)).collect();
    let waits = (Some(LayerPhase::Waiting), 0);
    assert_eq!(layers, [waits, (Some(LayerPhase::Downloading), 512), waits, waits, waits]);
    assert_eq!(seen.pulls[0].digest, image.digest());
}

#[tokio::test(flavor = "multi_thread")]
async fn an_event_cuts_the_wait_short() {
    let image = image();
    let state = FakeState { version: "2.1.4".to_owned(), ..FakeState::default() };
    let containerd = FakeContainerd::start(state);
    let mut watcher = watcher(&containerd, NEVER);
    assert_eq!(watcher.next().await.pulls, []);
    until("it listens", || async { (containerd.listeners() > 0).then_some(()) }).await;
    containerd.change(|state| *state = pulling("2.1.4", &image));
    containerd.tell("/content/create", "");
    assert_eq!(watcher.next().await.pulls[0].phase, Some(PullPhase::Downloading));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_events_it_is_still_looked() {
    let image = image();
    let mut state = FakeState { version: "1.7.0".to_owned(), ..FakeState::default() };
    state.missing.insert("events");
    let containerd = FakeContainerd::start(state);
    let mut watcher = watcher(&containerd, Duration::from_millis(1));
    assert_eq!(watcher.next().await.pulls, []);
    containerd.change(|state| *state = pulling("1.7.0", &image));
    let seen = watcher.next().await;
    let seen = if seen.pulls.is_empty() { watcher.next().await } else { seen };
    assert_eq!((seen.pulls.len(), seen.error.as_str()), (1, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn without_names_the_end_is_known_by_the_configuration() {
    let image = image();
    let mut state = pulling("1.7.0", &image);
    state.missing.insert("images");
    state.missing.insert("snapshots");
    let containerd = FakeContainerd::start(state);
    let mut watcher = watcher(&containerd, NEVER);
    assert_eq!(watcher.next().await.pulls[0].phase, Some(PullPhase::Downloading));
    containerd.change(|state| {
        let now = SystemClock::new().now();
        for layer in &image.layers {
            state
                .blobs
                .insert(layer.digest.clone(), FakeBlob { created_at: now, ..FakeBlob::default() });
        }
        for blob in state.blobs.values_mut().filter(|blob| blob.labels.is_empty()) {
            let label = "containerd.io/gc.ref.snapshot.overlayfs".to_owned();
            (blob.labels, blob.created_at) = (BTreeMap::from([(label, String::new())]), now);
        }
        state.leases.clear();
    });
    let seen = watcher.next().await;
    assert_eq!(seen.pulls[0].phase, Some(PullPhase::Completed), "{seen:#?}");
    assert_eq!(seen.pulls[0].confidence, Some(Confidence::Unknown));
}

#[tokio::test(flavor = "multi_thread")]
async fn what_cannot_be_asked_is_an_error_and_not_an_end() {
    let image = image();
    let containerd = FakeContainerd::start(pulling("1.7.0", &image));
    let mut watcher = watcher(&containerd, NEVER);
    let before = watcher.next().await;
    assert_eq!((before.pulls.len(), before.error.as_str()), (1, ""));
    containerd.change(|state| state.failure = "disk on fire".to_owned());
    let seen = watcher.next().await;
    assert_eq!(seen.error, "list ingests: disk on fire (Unknown)");
    assert_eq!(seen.pulls, before.pulls);
    containerd.change(|state| {
        state.failure.clear();
        state.missing.insert("leases");
    });
    let seen = watcher.next().await;
    assert_eq!(seen.error, "list leases: unknown service leases (Unimplemented)");
    assert_eq!(seen.pulls, before.pulls);
    containerd.change(|state| state.missing.clear());
    let seen = watcher.next().await;
    assert_eq!((seen.pulls, seen.error.as_str()), (before.pulls, ""));
}

#[tokio::test(flavor = "multi_thread")]
async fn times_that_are_not_said_do_not_matter() {
    let image = image();
    let mut state = pulling("1.6.0", &image);
    write(&mut state, "layer", &image.layers[0].digest, 5, 0);
    for ingest in state.ingests.values_mut() {
        ingest.started_at = Timestamp::from_millis(-62_135_596_800_000);
    }
    let containerd = FakeContainerd::start(state);
    let seen = watcher(&containerd, NEVER).next().await;
    assert_eq!(seen.pulls[0].layers[0].downloaded_bytes, 5);
    assert_eq!(seen.pulls[0].layers[0].started_at, seen.pulls[0].started_at);
}
