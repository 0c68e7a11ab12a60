//! Pulls as containerd shows them, look by look.

use std::sync::Arc;

use report::{Confidence, LayerPhase, PullPhase};

use super::*;
use crate::watch::document::{Descriptor, Document};
use crate::watch::observation::ImageChange;

use LayerPhase::{Cached, Committing, Done, Downloaded, Downloading, Failed, Unpacking, Waiting};

/// How long nothing may change in these tests.
const ABANDONED_AFTER: Duration = Duration::from_secs(600);

fn digest(name: &str) -> String {
    let hex: String = name.bytes().map(|byte| format!("{byte:02x}")).collect();
    format!("sha256:{hex:0<64}")
}

fn at(millis: i64) -> Timestamp {
    Timestamp::from_millis(millis)
}

/// A node in memory; whatever is asked is answered from it.
#[derive(Default)]
struct Node {
    leases: BTreeMap<&'static str, Lease>,
    ingests: BTreeMap<String, Ingest>,
    blobs: BTreeMap<String, Blob>,
    documents: BTreeMap<String, Document>,
    snapshots: BTreeMap<String, Timestamp>,
    names: BTreeMap<String, ImageRecord>,
    changes: Vec<ImageChange>,
    has_no_names: bool,
    restarted: bool,
    tracker: Option<Tracker>,
}

impl Node {
    /// Returns a node with an image of layers of 100 bytes, which an index lists beside one for another platform.
    fn with_image(name: &str, layers: &[&str]) -> Self {
        let mut node = Self::default();
        node.add_image(name, layers);
        node
    }

    fn add_image(&mut self, name: &str, layers: &[&str]) {
        let of =
            |name: &str| Descriptor { digest: digest(name), media_type: "m".into(), size: 100 };
        let named = |suffix: &str| of(&format!("{name}-{suffix}"));
        self.documents
            .insert(digest(name), Document::Index(vec![named("other"), named("manifest")]));
        let layers: Vec<Descriptor> = layers.iter().map(|layer| of(layer)).collect();
        let chains = layers.iter().map(|layer| format!("chain-{}", layer.digest)).collect();
        self.documents.insert(named("config").digest, Document::Config(chains));
        let manifest = Document::Manifest { config: named("config"), layers };
        self.documents.insert(named("manifest").digest, manifest);
    }

    /// Begins a pull whose documents are there.
    fn begin(&mut self, id: &'static str, image: &str, now: i64) {
        let lease = Lease { id: id.to_owned(), created_at: at(now), ..Lease::default() };
        self.leases.insert(id, lease);
        for document in [image.to_owned(), format!("{image}-manifest"), format!("{image}-config")] {
            let label = (super::CONTENT_LABEL.to_owned(), String::new());
            let labels = if document.ends_with("config") { [].into() } else { [label].into() };
            let blob = Blob { created_at: at(now), updated_at: at(now), labels };
            self.blobs.entry(digest(&document)).or_insert(blob);
            self.lease(id).contents.push(digest(&document));
        }
    }

    fn lease(&mut self, id: &str) -> &mut Lease {
        self.leases.get_mut(id).expect("it is there")
    }

    /// Writes so much of a layer.
    fn write(&mut self, id: &str, layer: &str, offset: i64, now: i64) {
        let reference = format!("layer-{}", digest(layer));
        let ingest = self.ingests.entry(reference.clone()).or_insert_with(|| Ingest {
            reference: reference.clone(),
            total: 100,
            started_at: Some(at(now)),
            ..Ingest::default()
        });
        (ingest.offset, ingest.updated_at) = (offset, Some(at(now)));
        let held = &mut self.lease(id).ingests;
        if !held.contains(&reference) {
            held.push(reference);
        }
    }

    fn commit(&mut self, id: &str, layer: &str, now: i64) {
        let reference = format!("layer-{}", digest(layer));
        self.ingests.remove(&reference);
        self.lease(id).ingests.retain(|held| *held != reference);
        self.lease(id).contents.push(digest(layer));
        let blob = Blob { created_at: at(now), updated_at: at(now), ..Blob::default() };
        self.blobs.insert(digest(layer), blob);
    }

    fn chain(layer: &str) -> String {
        format!("chain-{}", digest(layer))
    }

    /// Lets a name lead to an image, as at the end of a pull.
    fn name(&mut self, name: &str, image: &str, now: i64) {
        let record =
            ImageRecord { name: name.to_owned(), digest: digest(image), updated_at: at(now) };
        let is_new = self.names.insert(name.to_owned(), record).is_none();
        self.changes.push(ImageChange { name: name.to_owned(), is_new });
    }

    fn look(&mut self, now: i64) -> Vec<PullReport> {
        let mut tracker = self.tracker.take().unwrap_or_else(|| Tracker::new(ABANDONED_AFTER));
        let mut seen = Observation {
            ingests: self.ingests.values().cloned().collect(),
            leases: self.leases.values().cloned().collect(),
            changes: std::mem::take(&mut self.changes),
            restarted: std::mem::take(&mut self.restarted),
            ..Observation::default()
        };
        for _round in 0..8 {
            for question in tracker.questions(&seen) {
                self.answer(question, &mut seen);
            }
        }
        assert_eq!(tracker.questions(&seen), [], "everything was answered");
        let reports = tracker.step(at(now), &seen);
        self.tracker = Some(tracker);
        reports
    }

    fn answer(&self, question: Question, seen: &mut Observation) {
        let answers = &mut seen.answers;
        match question {
            Question::Blob(digest) => {
                answers.blobs.insert(digest.clone(), self.blobs.get(&digest).cloned());
            }
            Question::Document(digest) => {
                let is_there = self.blobs.contains_key(&digest);
                let document = self.documents.get(&digest).filter(|_| is_there).cloned();
                answers.documents.insert(digest, document.map(Arc::new));
            }
            Question::Snapshot { snapshotter, key } => {
                let made = self.snapshots.get(&key).copied().filter(|_| snapshotter == SNAPSHOTTER);
                answers.snapshots.insert((snapshotter, key), made);
            }
            Question::NamesOf(digest) => {
                let names = self.names.values().filter(|record| record.digest == digest).cloned();
                let names = (!self.has_no_names).then(|| names.collect());
                answers.names_of.insert(digest, names);
            }
            Question::Name(name) => {
                answers.names.insert(name.clone(), self.names.get(&name).cloned());
            }
        }
    }

    fn acknowledge(&mut self, ids: &[&str]) {
        let ids: Vec<String> = ids.iter().map(|id| (*id).to_owned()).collect();
        self.tracker.as_mut().expect("it looked").acknowledged(&ids);
    }
}

/// Checks the only pull: its phase, and phase and bytes of its layers.
#[track_caller]
fn check(pulls: &[PullReport], phase: PullPhase, layers: &[(LayerPhase, i64)]) {
    let [pull] = pulls else { panic!("not one pull: {pulls:#?}") };
    let seen: Vec<_> = pull
        .layers
        .iter()
        .map(|layer| (layer.phase.expect("it has one"), layer.downloaded_bytes))
        .collect();
    assert_eq!((pull.phase, seen.as_slice()), (Some(phase), layers), "{pull:#?}");
}

#[test]
fn a_pull_goes_through_its_phases() {
    let mut node = Node::with_image("app", &["a", "b"]);
    assert_eq!(node.look(0), []);
    node.begin("l", "app", 10);
    node.lease("l").contents.clear();
    node.lease("l").ingests.push(format!("index-{}", digest("app")));
    let pulls = node.look(20);
    check(&pulls, PullPhase::Resolving, &[]);
    assert_eq!((pulls[0].digest.as_str(), pulls[0].total_known), (digest("app").as_str(), false));
    assert_eq!(pulls[0].started_at, Some(at(10)));
    node.lease("l").ingests.clear();
    node.begin("l", "app", 10);
    check(&node.look(30), PullPhase::Downloading, &[(Waiting, 0), (Waiting, 0)]);
    node.write("l", "a", 0, 40);
    node.write("l", "b", 40, 40);
    check(&node.look(50), PullPhase::Downloading, &[(Waiting, 0), (Downloading, 40)]);
    node.write("l", "b", 100, 60);
    check(&node.look(60), PullPhase::Downloading, &[(Waiting, 0), (Committing, 100)]);
    node.commit("l", "a", 70);
    node.commit("l", "b", 70);
    check(&node.look(70), PullPhase::Unpacking, &[(Downloaded, 100), (Downloaded, 100)]);
    let key = format!("extract-1-x {}", Node::chain("a"));
    node.lease("l").snapshots.push((SNAPSHOTTER.into(), key));
    check(&node.look(80), PullPhase::Unpacking, &[(Unpacking, 100), (Downloaded, 100)]);
    node.lease("l").snapshots = vec![(SNAPSHOTTER.into(), Node::chain("a"))];
    check(&node.look(90), PullPhase::Unpacking, &[(Done, 100), (Downloaded, 100)]);
    node.name("r/app:1", "app", 95);
    node.leases.clear();
    let pulls = node.look(100);
    check(&pulls, PullPhase::Completed, &[(Done, 100), (Done, 100)]);
    assert_eq!((pulls[0].image_ref.as_str(), pulls[0].ended_at), ("r/app:1", Some(at(100))));
    assert_eq!(pulls[0].manifest_digest, digest("app-manifest"));
    assert_eq!(pulls[0].layers[0].completed_at, Some(at(70)));
}

#[test]
fn values_that_cannot_be_are_put_right() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    for (offset, total, expected) in [
        (-5, 100, (Waiting, 0)),
        (30, -1, (Downloading, 30)),
        (50, 7, (Downloading, 50)),
        (170, 100, (Committing, 100)),
        (i64::MAX, i64::MIN, (Committing, 100)),
    ] {
        node.write("l", "a", offset, 20);
        node.ingests.values_mut().for_each(|ingest| ingest.total = total);
        check(&node.look(30), PullPhase::Downloading, &[expected]);
    }
}

#[test]
fn what_vanishes_between_two_calls_is_held_and_what_starts_over_is_not() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    node.write("l", "a", 60, 20);
    node.look(20);
    let reference = format!("layer-{}", digest("a"));
    let ingest = node.ingests.remove(&reference).expect("it is there");
    check(&node.look(30), PullPhase::Downloading, &[(Downloading, 60)]);
    node.ingests.insert(reference, ingest);
    node.write("l", "a", 20, 40);
    check(&node.look(40), PullPhase::Downloading, &[(Downloading, 20)]);
    // Documents may vanish, too; what is known stays known.
    node.lease("l").contents.clear();
    check(&node.look(50), PullPhase::Downloading, &[(Downloading, 20)]);
}

#[test]
fn a_pull_that_ends_without_an_image_failed() {
    let mut node = Node::with_image("app", &["a", "b", "c"]);
    node.begin("l", "app", 10);
    node.commit("l", "a", 15);
    node.write("l", "b", 60, 20);
    node.look(20);
    node.leases.clear();
    // It came a little further before it ended.
    node.ingests.values_mut().for_each(|ingest| ingest.offset = 70);
    let pulls = node.look(30);
    check(&pulls, PullPhase::Failed, &[(Downloaded, 100), (Failed, 70), (Waiting, 0)]);
    assert_eq!(pulls[0].error, "Aborted: the pull ended without an image");
    // The name that it has from before does not count.
    let mut node = Node::with_image("app", &["a"]);
    node.name("r/app:1", "app", 5);
    node.begin("l", "app", 10);
    let pulls = node.look(20);
    assert_eq!(
        (pulls[0].image_ref.as_str(), pulls[0].confidence),
        ("r/app:1", Some(Confidence::Likely))
    );
    node.leases.clear();
    check(&node.look(30), PullPhase::Failed, &[(Waiting, 0)]);
}

#[test]
fn without_names_the_label_of_the_configuration_tells_the_end() {
    let check_label = |updated_at: i64, expected: PullPhase| {
        let mut node = Node::with_image("app", &["a"]);
        node.has_no_names = true;
        node.begin("l", "app", 10);
        node.commit("l", "a", 20);
        node.look(20);
        let config = node.blobs.get_mut(&digest("app-config")).expect("it is there");
        config.labels.insert(format!("{UNPACKED_LABEL}overlayfs"), "chain".into());
        config.updated_at = at(updated_at);
        node.leases.clear();
        assert_eq!(node.look(40)[0].phase, Some(expected));
    };
    check_label(30, PullPhase::Completed);
    // An earlier pull had left it.
    check_label(5, PullPhase::Failed);
}

#[test]
fn layers_that_were_there_are_cached_as_blobs_or_as_snapshots() {
    let mut node = Node::with_image("app", &["blob", "snapshot", "new"]);
    let blob = Blob { created_at: at(1), ..Blob::default() };
    node.blobs.insert(digest("blob"), blob);
    node.snapshots.insert(Node::chain("snapshot"), at(1));
    node.begin("l", "app", 10);
    check(&node.look(20), PullPhase::Downloading, &[(Cached, 100), (Cached, 100), (Waiting, 0)]);
    // It is downloaded all the same.
    node.write("l", "snapshot", 10, 30);
    let pulls = node.look(30);
    check(&pulls, PullPhase::Downloading, &[(Cached, 100), (Done, 100), (Waiting, 0)]);
}

#[test]
fn layers_that_a_snapshotter_fetches_itself_are_indirect() {
    let mut node = Node::with_image("app", &["a", "b"]);
    node.begin("l", "app", 10);
    assert!(!node.look(20)[0].indirect);
    node.lease("l").snapshots.push((SNAPSHOTTER.into(), Node::chain("a")));
    let pulls = node.look(30);
    check(&pulls, PullPhase::Downloading, &[(Done, 100), (Waiting, 0)]);
    assert!(pulls[0].indirect);
}

#[test]
fn other_leases_and_ingests_are_no_pulls() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    node.write("l", "a", 50, 20);
    node.leases.clear();
    let container = Lease {
        id: "container".into(),
        created_at: at(10),
        snapshots: vec![(SNAPSHOTTER.into(), "some-container".into())],
        ..Lease::default()
    };
    node.leases.insert("container", container);
    assert_eq!(node.look(30), []);
    assert!(!node.tracker.as_ref().is_some_and(Tracker::is_active));
    // One that holds nothing may become a pull.
    let bare = Lease { id: "bare".into(), created_at: at(10), ..Lease::default() };
    node.leases.insert("bare", bare);
    assert_eq!(node.look(40), []);
    assert!(node.tracker.as_ref().is_some_and(Tracker::is_active));
    assert_eq!(node.look(10 + BARE_MS), []);
    assert!(!node.tracker.as_ref().is_some_and(Tracker::is_active));
}

#[test]
fn a_retry_takes_up_bytes_and_a_pull_beside_it_does_not() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("one", "app", 10);
    node.write("one", "a", 60, 20);
    node.look(20);
    node.leases.clear();
    node.look(30);
    node.acknowledge(&["one"]);
    node.begin("two", "app", 40);
    node.write("two", "a", 80, 50);
    let pulls = node.look(50);
    check(&pulls, PullPhase::Downloading, &[(Downloading, 80)]);
    assert_eq!(pulls[0].layers[0].resumed_bytes, 60);
    assert_eq!(pulls[0].layers[0].started_at, Some(at(40)));
    node.write("two", "a", 80, 55);
    assert_eq!(node.look(55)[0].layers[0].resumed_bytes, 60);
    // A third one waits for the same layer.
    node.begin("three", "app", 60);
    let pulls = node.look(60);
    assert_eq!((pulls[1].id.as_str(), pulls[1].layers[0].downloaded_bytes), ("three", 80));
    assert_eq!(pulls[1].layers[0].resumed_bytes, 0);
    // It was truncated: nothing is left of it.
    node.write("two", "a", 5, 70);
    assert_eq!(node.look(70)[0].layers[0].resumed_bytes, 5);
}

#[test]
fn a_pull_without_a_client_is_given_up_and_does_not_come_back() {
    let late = 20 + 600_000;
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    node.write("l", "a", 60, 20);
    node.look(20);
    check(&node.look(late - 1), PullPhase::Downloading, &[(Downloading, 60)]);
    let pulls = node.look(late);
    check(&pulls, PullPhase::Failed, &[(Failed, 60)]);
    assert!(pulls[0].error.starts_with("Abandoned: "));
    node.acknowledge(&["l"]);
    assert_eq!(node.look(late + 1), []);

    // A watcher that starts then does not see it either.
    node.tracker = None;
    assert_eq!(node.look(late + 2), []);
    node.tracker = None;
    node.write("l", "a", 61, late);
    check(&node.look(late + 3), PullPhase::Downloading, &[(Downloading, 61)]);
}

#[test]
fn a_layer_may_be_unpacked_for_long() {
    let late = 20 + 600_000;
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    node.commit("l", "a", 20);
    let key = format!("extract-1-x {}", Node::chain("a"));
    node.lease("l").snapshots.push((SNAPSHOTTER.into(), key));
    node.look(20);
    check(&node.look(late), PullPhase::Unpacking, &[(Unpacking, 100)]);
    assert_eq!(node.look(20 + 600_000 * WORK_PATIENCE)[0].phase, Some(PullPhase::Failed));
}

#[test]
fn a_restart_ends_what_ran() {
    let mut node = Node::with_image("app", &["a", "b"]);
    node.begin("l", "app", 10);
    node.write("l", "a", 60, 20);
    node.look(20);
    node.restarted = true;
    let pulls = node.look(30);
    check(&pulls, PullPhase::Failed, &[(Failed, 60), (Waiting, 0)]);
    assert!(pulls[0].error.starts_with("RuntimeRestarted: "));
    assert_eq!(node.look(40).len(), 1, "its lease is still there");
}

#[test]
fn pulls_between_two_looks_are_known_by_their_names() {
    let mut node = Node::with_image("app", &["a", "b"]);
    let begin = |node: &mut Node, now| {
        node.begin("l", "app", now);
        node.leases.clear();
    };
    node.look(0);
    begin(&mut node, 100);
    node.blobs.insert(digest("a"), Blob { created_at: at(110), ..Blob::default() });
    node.blobs.insert(digest("b"), Blob { created_at: at(120), ..Blob::default() });
    node.name("sha256:config", "app", 131);
    node.name("r/app:1", "app", 130);
    let pulls = node.look(5_000);
    check(&pulls, PullPhase::Completed, &[(Done, 100), (Done, 100)]);
    let times = (pulls[0].started_at, pulls[0].ended_at);
    assert_eq!(times, (Some(at(110)), Some(at(131))));
    assert_eq!(
        (pulls[0].image_ref.as_str(), pulls[0].confidence),
        ("r/app:1", Some(Confidence::Certain))
    );
    node.acknowledge(&[&pulls[0].id]);

    // Pulled again: everything was there.
    node.name("r/app:1", "app", 10_000);
    let pulls = node.look(11_000);
    check(&pulls, PullPhase::Completed, &[(Cached, 100), (Cached, 100)]);
    node.acknowledge(&[&pulls[0].id]);
    // One more name is no pull, and neither is a name that the runtime gives a little later.
    node.name("r/app:2", "app", 20_000);
    node.name("r/app:1", "app", 10_500);
    assert_eq!(node.look(21_000), []);

    // The lease was seen before it held anything: it is the pull's, also right after another one.
    node.leases.insert("z", Lease { id: "z".into(), created_at: at(30_000), ..Lease::default() });
    node.look(30_010);
    node.leases.clear();
    node.name("r/app:2", "app", 30_020);
    let pulls = node.look(30_030);
    check(&pulls, PullPhase::Completed, &[(Cached, 100), (Cached, 100)]);
    assert_eq!((pulls[0].id.as_str(), pulls[0].image_ref.as_str()), ("z", "r/app:2"));
    assert_eq!(pulls[0].started_at, Some(at(30_000)));
    node.leases.insert("y", Lease { id: "y".into(), created_at: at(30_050), ..Lease::default() });
    node.look(30_060);
    node.leases.clear();
    node.name("r/app:2", "app", 30_070);
    assert_eq!(node.look(30_080).len(), 2);
}

#[test]
fn two_names_of_one_image_go_to_two_pulls() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("one", "app", 10);
    node.begin("two", "app", 20);
    node.write("one", "a", 50, 30);
    let pulls = node.look(30);
    assert_eq!(pulls.iter().map(|pull| pull.id.as_str()).collect::<Vec<_>>(), ["one", "two"]);
    node.commit("one", "a", 40);
    node.leases.remove("one");
    node.name("r/app:1", "app", 40);
    let pulls = node.look(50);
    let names = |pulls: &[PullReport]| {
        let names = pulls.iter().map(|pull| (pull.id.clone(), pull.image_ref.clone()));
        names.collect::<BTreeMap<_, _>>()
    };
    assert_eq!(names(&pulls)["one"], "r/app:1");
    node.leases.remove("two");
    node.name("r/app:2", "app", 60);
    let pulls = node.look(70);
    assert_eq!(
        (names(&pulls)["one"].as_str(), names(&pulls)["two"].as_str()),
        ("r/app:1", "r/app:2")
    );
}

#[test]
fn the_repository_is_known_before_the_name() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    let pulls = node.look(20);
    assert_eq!(
        (&pulls[0].image_ref, pulls[0].confidence),
        (&digest("app"), Some(Confidence::Unknown))
    );
    let label = "containerd.io/distribution.source.docker.io".to_owned();
    let index = node.blobs.get_mut(&digest("app")).expect("it is there");
    index.labels.insert(label, "library/app".into());
    let pulls = node.look(30);
    let name = (pulls[0].image_ref.as_str(), pulls[0].confidence);
    assert_eq!(name, ("docker.io/library/app", Some(Confidence::Repository)));
    // Some clients give the name before they unpack.
    node.name("docker.io/library/app:1", "app", 40);
    let pulls = node.look(40);
    let name = (pulls[0].image_ref.as_str(), pulls[0].confidence);
    assert_eq!(name, ("docker.io/library/app:1", Some(Confidence::Certain)));
}

#[test]
fn pulls_that_ended_are_kept_until_acknowledged_or_too_old() {
    let mut node = Node::with_image("app", &["a"]);
    node.begin("l", "app", 10);
    node.look(20);
    node.acknowledge(&["l"]);
    assert_eq!(node.look(30).len(), 1, "one that runs cannot be acknowledged");
    node.leases.clear();
    assert_eq!(node.look(40)[0].phase, Some(PullPhase::Failed));
    assert_eq!(node.look(40 + ENDED_MS - 1).len(), 1);
    assert_eq!(node.look(40 + ENDED_MS), []);
}

#[test]
fn no_more_ended_pulls_are_kept_than_the_limit() {
    let mut tracker = Tracker::new(ABANDONED_AFTER);
    for number in 0..=ENDED_MAX {
        let mut pull = Pull::new(number.to_string(), at(0));
        pull.end(at(1), None);
        tracker.keep_ended(pull);
    }
    let reports = tracker.reports();
    assert_eq!((reports.len(), reports[0].id.as_str()), (ENDED_MAX, "1"));
}

/// What may happen on a node, in any order.
#[derive(Clone, Debug)]
enum Happening {
    Begin(usize),
    Write { lease: usize, layer: usize, offset: i64 },
    Commit { lease: usize, layer: usize },
    End(usize),
    Name(usize),
    Restart,
    LoseBlob(usize),
    Wait(i64),
}

fn happening() -> impl proptest::strategy::Strategy<Value = Happening> {
    use proptest::prelude::*;
    let (one_of, layer) = (0..LEASES.len(), 0..LAYERS.len());
    prop_oneof![
        one_of.clone().prop_map(Happening::Begin),
        (one_of.clone(), layer.clone(), -10_i64..200)
            .prop_map(|(lease, layer, offset)| Happening::Write { lease, layer, offset }),
        (one_of.clone(), layer.clone())
            .prop_map(|(lease, layer)| Happening::Commit { lease, layer }),
        one_of.clone().prop_map(Happening::End),
        one_of.prop_map(Happening::Name),
        Just(Happening::Restart),
        layer.prop_map(Happening::LoseBlob),
        (0_i64..700_000).prop_map(Happening::Wait),
    ]
}

const LEASES: [&str; 3] = ["one", "two", "three"];
const IMAGES: [&str; 3] = ["app", "app", "other"];
const LAYERS: [&str; 4] = ["a", "b", "c", "d"];

fn happen(node: &mut Node, happening: Happening, now: i64) {
    let is_there = |node: &Node, lease: usize| node.leases.contains_key(LEASES[lease]);
    match happening {
        Happening::Begin(lease) if !is_there(node, lease) => {
            node.begin(LEASES[lease], IMAGES[lease], now);
        }
        Happening::Write { lease, layer, offset } if is_there(node, lease) => {
            node.write(LEASES[lease], LAYERS[layer], offset, now);
        }
        Happening::Commit { lease, layer } if is_there(node, lease) => {
            node.commit(LEASES[lease], LAYERS[layer], now);
        }
        Happening::End(lease) => {
            node.leases.remove(LEASES[lease]);
        }
        Happening::Name(lease) => node.name(&format!("r/{lease}:1"), IMAGES[lease], now),
        Happening::Restart => node.restarted = true,
        Happening::LoseBlob(layer) => {
            node.blobs.remove(&digest(LAYERS[layer]));
        }
        Happening::Begin(_) | Happening::Write { .. } | Happening::Commit { .. } => {}
        Happening::Wait(_) => {}
    }
}

/// Checks what is always so, and that what ended stays as it is.
fn check_always(
    pulls: &[PullReport],
    ended: &mut BTreeMap<(String, Option<Timestamp>), PullReport>,
) {
    for pull in pulls {
        for layer in &pull.layers {
            assert!((0..=layer.total_bytes).contains(&layer.downloaded_bytes), "{pull:#?}");
            assert!((0..=layer.downloaded_bytes).contains(&layer.resumed_bytes), "{pull:#?}");
        }
        let is_over = matches!(pull.phase, Some(PullPhase::Completed | PullPhase::Failed));
        assert_eq!(is_over, pull.ended_at.is_some());
        assert_eq!(pull.phase == Some(PullPhase::Failed), !pull.error.is_empty());
        if is_over {
            let mut known = pull.clone();
            (known.image_ref, known.confidence, known.candidates) = Default::default();
            let before = ended.insert((pull.id.clone(), pull.ended_at), known.clone());
            assert_eq!(before.unwrap_or_else(|| known.clone()), known);
        }
    }
}

proptest::proptest! {
    #![proptest_config(proptest::prelude::ProptestConfig::with_cases(96))]

    #[test]
    fn whatever_happens_pulls_are_in_order(
        happenings in proptest::collection::vec((happening(), proptest::bool::ANY), 1..60),
    ) {
        let mut node = Node::with_image("app", &LAYERS[..3]);
        node.add_image("other", &LAYERS[1..]);
        let (mut now, mut ended) = (1_000, BTreeMap::new());
        for (happening, is_looked) in happenings {
            now += if let Happening::Wait(wait) = happening { wait } else { 100 };
            happen(&mut node, happening, now);
            if is_looked {
                check_always(&node.look(now), &mut ended);
            }
        }
    }
}
