//! Image pulls of a real containerd from a real registry: the agent sees them, the program tells of them, a browser
//! shows them. What is told is exact, and never goes backwards.
#![expect(clippy::disallowed_methods, reason = "starts a browser and a client of its own")]

use std::collections::BTreeMap;
use std::io::{BufRead as _, BufReader, Read as _, Write as _};
use std::net::TcpStream;
use std::path::Path;
use std::process::{Command, Stdio};
use std::thread::JoinHandle;
use std::time::Duration;

use agent::testing::{ContainerdProcess, Proxy, Registry, TestImage, TestLayer, can_pull};
use agent::{ContainerdWatcher, Flags, Pace, Settings};
use clap::Parser as _;
use platform::{SystemClock, SystemRng};
use serde_json::Value;
use tokio::runtime::Runtime;
use tokio::sync::watch;

use crate::page::can_browse;
use crate::program::{TinyObs, request, wait_for};

const NODE: &str = "worker-1";

/// A node that pulls, its agent, and the program.
struct Node {
    server: TinyObs,
    registry: Registry,
    proxy: Proxy,
    containerd: ContainerdProcess,
    stop: watch::Sender<bool>,
    runtime: Runtime,
}

impl Node {
    fn start(data: &Path) -> Option<Self> {
        if !can_pull() {
            return None;
        }
        let server = TinyObs::start(data, &[]);
        let runtime = Runtime::new().expect("a runtime");
        let (registry, proxy, containerd) = runtime.block_on(async {
            let registry = Registry::start().await;
            let proxy = Proxy::start(registry.address()).await;
            (registry, proxy, ContainerdProcess::start().await)
        });
        let (stop, stopped) = watch::channel(false);
        let flags = ["tinyobs-agent", "--server", &server.url, "--node", NODE];
        let settings = Settings::resolve(&Flags::parse_from(flags), &|_| None);
        let settings = settings.expect("settings");
        let pace = Pace::default();
        let watcher = ContainerdWatcher::new(
            containerd.settings(),
            pace,
            SystemClock::new(),
            SystemRng::new(),
        );
        runtime.spawn(async move {
            agent::run_with(settings, Box::new(watcher), stopped).await.expect("an agent");
        });
        Some(Self { server, registry, proxy, containerd, stop, runtime })
    }

    fn push(&self, image: &TestImage) -> String {
        self.runtime.block_on(self.registry.push(image));
        format!("{}/{}:{}", self.proxy.address(), image.repository, image.tag)
    }

    /// Pulls an image to its end; returns whether it is there.
    fn pull(&self, name: &str) -> bool {
        let mut pull = self.containerd.ctr_pull(name);
        self.runtime.block_on(pull.ended())
    }

    fn get(&self, path: &str) -> Value {
        let (status, body) = request("GET", &format!("{}{path}", self.server.url), &[], Vec::new());
        assert_eq!(status, 200, "{path}: {}", String::from_utf8_lossy(&body));
        serde_json::from_slice(&body).expect("JSON")
    }

    /// Waits for the newest pull of a repository to be so.
    fn wait_for(&self, repository: &str, what: &str, is_so: impl Fn(&Value) -> bool) -> Value {
        wait_for(&format!("{repository} to be {what}"), || {
            let pulls = self.get(&format!("/v1/pulls?image={repository}"));
            pulls["pulls"].as_array()?.first().filter(|pull| is_so(pull)).cloned()
        })
    }

    fn ended(&self, repository: &str, state: &str) -> Value {
        self.wait_for(repository, state, |pull| pull["state"] == state)
    }
}

impl Drop for Node {
    fn drop(&mut self) {
        self.stop.send_replace(true);
    }
}

/// Reads the stream of updates until so many pulls have ended, and fails when one goes backwards.
fn follow(url: &str, ends: usize) -> JoinHandle<()> {
    let address = url.trim_start_matches("http://").to_owned();
    let mut stream = TcpStream::connect(&address).expect("a connection");
    stream.set_read_timeout(Some(Duration::from_secs(60))).expect("a limit");
    let ask = format!("GET /api/v1/events HTTP/1.1\r\nHost: {address}\r\n\r\n");
    stream.write_all(ask.as_bytes()).expect("ask");
    std::thread::spawn(move || {
        let mut seen: BTreeMap<String, (f64, f64, bool)> = BTreeMap::new();
        for line in BufReader::new(stream).lines() {
            let line = line.expect("a line");
            let Some(data) = line.strip_prefix("data: ") else { continue };
            let event: Value = serde_json::from_str(data).expect("JSON");
            let pull = &event["pull"];
            let number = |name: &str| pull[name].as_f64().unwrap_or_default();
            let (percent, bytes) = (number("percent"), number("downloadedBytes"));
            let has_ended = pull["completedAt"].is_string();
            let id = pull["id"].as_str().expect("an id").to_owned();
            let before = seen.entry(id).or_default();
            assert!(percent >= before.0 && percent <= 100.0, "{percent} after {before:?}: {event}");
            assert!(bytes >= before.1, "{bytes} after {before:?}: {event}");
            assert!(has_ended || !before.2, "it goes on after its end: {event}");
            *before = (percent, bytes, has_ended);
            if seen.values().filter(|(.., ended)| *ended).count() == ends {
                return;
            }
        }
        panic!("the stream ended: {seen:?}");
    })
}

/// Runs the page's script, and calls `half` when it has seen the pull go on.
fn browse(node: &Node, image: &str, half: impl FnOnce()) {
    let web = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web");
    let mut script = Command::new("npm")
        .args(["run", "--silent", "e2e:pulls-real"])
        .current_dir(&web)
        .env("BASE_URL", &node.server.url)
        .env("ARTEFACTS", web.join("../artefacts"))
        .env("IMAGE", image)
        .env("PULL_NODE", NODE)
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run npm");
    let mut lines = BufReader::new(script.stdout.take().expect("its output")).lines();
    let saw_half = lines.any(|line| line.is_ok_and(|line| line == "half"));
    half();
    let rest: Vec<String> = lines.map_while(Result::ok).collect();
    let mut errors = String::new();
    let stderr = script.stderr.as_mut().expect("its errors");
    stderr.read_to_string(&mut errors).expect("its errors");
    let status = script.wait().expect("its end");
    assert!(saw_half && status.success(), "{rest:?}\n{errors}");
}

#[test]
fn pulls_of_a_real_containerd_are_told_exactly_and_shown() {
    let data = tempfile::tempdir().expect("a folder");
    let Some(node) = Node::start(data.path()) else { return };
    let following = follow(&node.server.url, 3);
    let base = TestLayer::new("base", 4 << 20);
    let app = TestLayer::new("app", 256 << 10);
    let other = TestLayer::new("other", 128 << 10);
    let first = TestImage::new("team/first", "1.0", &[base.clone(), app]);
    let second = TestImage::new("team/second", "2.0", &[base.clone(), other.clone()]);

    let mut pause = node.proxy.pause(&base.digest, 2 << 20);
    let name = node.push(&first);
    let mut pulling = node.containerd.ctr_pull(&name);
    node.runtime.block_on(pause.reached());
    let half = node.wait_for("team/first", "half there", |pull| {
        pull["state"] == "downloading" && pull["layers"][0]["downloadedBytes"] == 2 << 20
    });
    assert_eq!(half["totalBytes"], first.total_bytes(), "{half}");
    assert_eq!((&half["layerCount"], &half["totalKnown"]), (&2.into(), &true.into()), "{half}");
    assert_eq!(half["layers"][0]["digest"], base.digest.as_str(), "{half}");
    if can_browse() {
        browse(&node, &name, || pause.go_on());
    } else {
        pause.go_on();
    }
    assert!(node.runtime.block_on(pulling.ended()));
    let ended = node.ended("team/first", "completed");
    assert_eq!(
        (&ended["imageRef"], &ended["confidence"]),
        (&name.as_str().into(), &"certain".into())
    );
    assert_eq!(ended["downloadedBytes"], first.total_bytes(), "{ended}");
    assert_eq!(ended["transferredBytes"], first.total_bytes(), "{ended}");
    assert_eq!((&ended["percent"], &ended["layersDone"]), (&100.0.into(), &2.into()), "{ended}");

    assert!(node.pull(&node.push(&second)));
    let ended = node.ended("team/second", "completed");
    let size = |layer: &TestLayer| i64::try_from(layer.bytes.len()).expect("a size");
    assert_eq!(ended["cachedBytes"], size(&base), "{ended}");
    assert_eq!(ended["transferredBytes"], size(&other), "{ended}");
    assert_eq!((&ended["layersCached"], &ended["layersDone"]), (&1.into(), &2.into()), "{ended}");

    let broken = TestLayer::new("broken", 64 << 10);
    let name = node.push(&TestImage::new("team/third", "3.0", &[base, broken.clone()]));
    let mut pause = node.proxy.pause(&broken.digest, 32 << 10);
    let mut pulling = node.containerd.ctr_pull(&name);
    node.runtime.block_on(pause.reached());
    node.wait_for("team/third", "half there", |pull| pull["state"] == "downloading");
    node.proxy.clear();
    node.proxy.answer(&broken.digest, 500);
    node.proxy.cut_all();
    assert!(!node.runtime.block_on(pulling.ended()));
    let ended = node.ended("team/third", "failed");
    assert!(ended["error"].as_str().is_some_and(|error| !error.is_empty()), "{ended}");
    assert_ne!(ended["percent"], 100.0, "{ended}");
    following.join().expect("nothing went backwards");
}
