//! A content store in memory, look by look.

use std::path::Path;

use platform::{SimClock, SimFs};
use report::{LayerPhase, PullPhase, PullReport};

use super::*;

struct Store {
    fs: Arc<SimFs>,
    state: State,
}

fn digest(letter: char) -> String {
    format!("sha256:{}", letter.to_string().repeat(64))
}

impl Store {
    fn new() -> Self {
        let clock: Arc<dyn Clock> = Arc::new(SimClock::new(Timestamp::from_millis(0)));
        let fs = SimFs::new();
        let seam: Arc<dyn Fs> = Arc::<SimFs>::clone(&fs);
        for folder in ["/c/ingest", "/c/blobs/sha256"] {
            seam.create_dir_all(Path::new(folder)).expect("a folder");
        }
        let watcher = FolderWatcher::new("/c".into(), "k8s.io", Pace::default(), clock, seam);
        let state = Arc::into_inner(watcher.state).expect("nobody else has it").into_inner();
        Self { fs, state }
    }

    fn put(&self, path: &str, bytes: &[u8]) {
        let path = Path::new(path);
        if self.fs.exists(path).expect("it can be asked") {
            self.fs.remove_file(path).expect("it is removed");
        }
        self.fs.create(path).expect("a file").append(bytes).expect("it is written");
    }

    /// Adds a manifest with a configuration and two layers of 100 bytes.
    fn put_manifest(&self) {
        let part = |letter| format!(r#"{{"digest":"{}","size":100}}"#, digest(letter));
        let manifest =
            format!(r#"{{"config":{},"layers":[{},{}]}}"#, part('c'), part('a'), part('b'));
        self.put_blob('d', manifest.as_bytes());
        self.put_blob('c', b"{}");
    }

    fn put_blob(&self, letter: char, bytes: &[u8]) {
        self.put(&format!("/c/blobs/sha256/{}", letter.to_string().repeat(64)), bytes);
    }

    fn write(&self, namespace: &str, letter: char, bytes: usize) {
        let folder = format!("/c/ingest/{letter}");
        self.fs.create_dir_all(Path::new(&folder)).expect("a folder");
        let reference = format!("{namespace}/7/layer-{}", digest(letter));
        self.put(&format!("{folder}/ref"), reference.as_bytes());
        self.put(&format!("{folder}/total"), b"100");
        self.put(&format!("{folder}/startedat"), b"1970-01-01T00:00:01.5Z");
        self.put(&format!("{folder}/data"), &vec![0; bytes]);
    }

    fn stop(&self, letter: char) {
        self.fs.remove_dir_all(Path::new(&format!("/c/ingest/{letter}"))).expect("it is removed");
    }

    fn look(&mut self, now: i64) -> Vec<PullReport> {
        let seen = self.state.look(Timestamp::from_millis(now));
        assert_eq!((seen.error.as_str(), seen.source), ("", Source::ContentFolder));
        seen.pulls
    }
}

#[track_caller]
fn check(pulls: &[PullReport], phase: PullPhase, layers: [(LayerPhase, i64); 2]) {
    let [pull] = pulls else { panic!("not one pull: {pulls:#?}") };
    let seen: Vec<_> = pull
        .layers
        .iter()
        .map(|layer| (layer.phase.expect("it has one"), layer.downloaded_bytes))
        .collect();
    assert_eq!((pull.phase, seen.as_slice()), (Some(phase), layers.as_slice()), "{pull:#?}");
}

#[test]
fn a_manifest_whose_layers_are_written_is_a_pull_until_none_is_missing() {
    use LayerPhase::{Cached, Done, Downloading};
    let mut store = Store::new();
    store.put_blob('a', &[0; 100]);
    assert_eq!(store.look(0), []);
    store.put_manifest();
    // Nothing is written of it yet.
    assert_eq!(store.look(1_000), []);
    store.write("k8s.io", 'b', 40);
    let pulls = store.look(2_000);
    check(&pulls, PullPhase::Downloading, [(Cached, 100), (Downloading, 40)]);
    assert_eq!(pulls[0].started_at, Some(Timestamp::from_millis(1_500)));
    assert_eq!(pulls[0].image_ref, digest('d'));
    store.stop('b');
    store.put_blob('b', &[0; 100]);
    check(&store.look(3_000), PullPhase::Completed, [(Cached, 100), (Done, 100)]);
}

#[test]
fn a_pull_of_which_nothing_is_written_any_more_failed_after_a_while() {
    use LayerPhase::{Downloading, Failed, Waiting};
    let mut store = Store::new();
    store.look(0);
    store.put_manifest();
    store.write("k8s.io", 'a', 40);
    check(&store.look(2_000), PullPhase::Downloading, [(Downloading, 40), (Waiting, 0)]);
    store.stop('a');
    let just_before = 2_000 + PAUSE_MS - 1;
    check(&store.look(just_before), PullPhase::Downloading, [(Downloading, 40), (Waiting, 0)]);
    check(&store.look(2_000 + PAUSE_MS), PullPhase::Failed, [(Failed, 40), (Waiting, 0)]);
}

#[test]
fn other_namespaces_and_half_written_ingests_are_left_out() {
    let mut store = Store::new();
    store.put_manifest();
    store.write("moby", 'a', 40);
    store.fs.create_dir_all(Path::new("/c/ingest/half")).expect("a folder");
    store.put_blob('e', b"{ not a document");
    assert_eq!(store.look(0), []);
}

#[test]
fn a_folder_that_is_not_there_is_an_error() {
    let mut store = Store::new();
    store.state.folder = "/nowhere".into();
    let seen = store.state.look(Timestamp::from_millis(0));
    assert!(seen.error.starts_with("list '/nowhere/ingest': "), "{}", seen.error);
}
