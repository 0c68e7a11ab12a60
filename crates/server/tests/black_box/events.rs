//! Events survive `kill -9` and a SIGTERM: each that was acknowledged is in the log once, in the order of its device.
#![expect(clippy::disallowed_methods, reason = "the address comes from a real file")]

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write as _;
use std::path::Path;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use jetstream::testing::{NatsCluster, NatsServer};
use parking_lot::{Condvar, Mutex};
use platform::{Clock as _, HttpClient as _, HttpRequest, Rng as _, SimRng, SystemClock};
use serde_json::Value;

use crate::program::TinyObs;

/// Senders at the same time, each with devices of its own.
const SENDERS: u64 = 4;
const DEVICES_PER_SENDER: u64 = 25;
/// Most events of one request.
const BATCH_MAX: u64 = 200;
/// Entries of one page when everything is read back.
const PAGE: usize = 10_000;

/// How much is sent while how often something is killed.
pub(crate) struct Plan {
    pub(crate) events: u64,
    pub(crate) kills: u64,
}

/// What senders and whoever kills share.
pub(crate) struct Load {
    plan: Plan,
    url: Mutex<String>,
    acknowledged: Mutex<u64>,
    progress: Condvar,
    /// Whether senders go on repeating what was not acknowledged.
    repeats: AtomicBool,
}

impl Load {
    pub(crate) fn new(plan: Plan, url: &str) -> Self {
        Self {
            plan,
            url: Mutex::new(url.to_owned()),
            acknowledged: Mutex::new(0),
            progress: Condvar::new(),
            repeats: AtomicBool::new(true),
        }
    }

    /// Sends to another address from now on.
    pub(crate) fn retarget(&self, url: &str) {
        url.clone_into(&mut self.url.lock());
    }

    /// Sends everything, and calls `disturb` at times that the seed chooses; returns how many events each sender has
    /// had acknowledged.
    pub(crate) fn run(&self, seed: u64, mut disturb: impl FnMut()) -> Vec<u64> {
        let share = self.plan.events / SENDERS;
        std::thread::scope(|scope| {
            let senders: Vec<_> =
                (0..SENDERS).map(|sender| scope.spawn(move || self.send(sender, share))).collect();
            let rng = SimRng::new(seed);
            let stride = self.plan.events / (self.plan.kills + 1);
            for _ in 0..self.plan.kills {
                // About a stride further on: the senders are in the middle of something.
                self.wait_for_more(stride / 2 + rng.next_u64() % stride.max(1));
                disturb();
            }
            senders.into_iter().map(|sender| sender.join().expect("a sender")).collect()
        })
    }

    /// Waits until this many further events are acknowledged, or nearly all.
    fn wait_for_more(&self, more: u64) {
        let mut acknowledged = self.acknowledged.lock();
        let wanted = (*acknowledged + more).min(self.plan.events - SENDERS * BATCH_MAX);
        while *acknowledged < wanted && self.repeats.load(Ordering::Relaxed) {
            self.progress.wait(&mut acknowledged);
        }
    }

    fn send(&self, sender: u64, share: u64) -> u64 {
        let (client, rng) = (Client::new(), SimRng::new(sender));
        let mut sent = 0;
        while sent < share {
            let count = (1 + rng.next_u64() % BATCH_MAX).min(share - sent);
            let body = batch(sender, sent..sent + count);
            while !self.is_acknowledged(&client, &body, count) {
                if !self.repeats.load(Ordering::Relaxed) {
                    return sent;
                }
                client.pause();
            }
            sent += count;
            *self.acknowledged.lock() += count;
            self.progress.notify_all();
        }
        sent
    }

    /// Sends a batch; panics when it is refused for good.
    fn is_acknowledged(&self, client: &Client, body: &str, count: u64) -> bool {
        let url = format!("{}/v1/events/batch", self.url.lock());
        match client.request("POST", &url, body) {
            Some((200, answer)) => {
                let answer: Value = serde_json::from_slice(&answer).expect("JSON");
                assert_eq!(answer["acceptedCount"], count, "{answer}");
                true
            }
            Some((503, _)) | None => false,
            Some((status, answer)) => {
                panic!("{status}: {}", String::from_utf8_lossy(&answer));
            }
        }
    }
}

fn batch(sender: u64, numbers: std::ops::Range<u64>) -> String {
    let mut body = String::from(r#"{"events":["#);
    for number in numbers.clone() {
        let comma = if number == numbers.start { "" } else { "," };
        let device = number % DEVICES_PER_SENDER;
        write!(
            body,
            r#"{comma}{{"appId":"shop","deviceId":"{sender}-{device}","idempotencyKey":"{sender}-{number}","customEvent":{{"eventName":"step","intParams":{{"n":{number}}}}}}}"#
        )
        .expect("a text");
    }
    body.push_str("]}");
    body
}

/// Reads the whole log and checks that it holds what was acknowledged, each event once and in the order of its device.
pub(crate) fn check(url: &str, acknowledged: &[u64]) {
    let client = Client::new();
    let mut keys = BTreeSet::new();
    let mut last_of_device = BTreeMap::new();
    let mut from = "earliest".to_owned();
    loop {
        let url = format!("{url}/v1/events/tail?follow=false&limit={PAGE}&from={from}");
        let (status, lines) = client.request("GET", &url, "").expect("an answer");
        assert_eq!(status, 200, "{}", String::from_utf8_lossy(&lines));
        let lines = String::from_utf8(lines).expect("text");
        let items: Vec<Value> =
            lines.lines().map(|line| serde_json::from_str(line).expect("a line of JSON")).collect();
        let Some(last) = items.last() else { break };
        from = (last["offset"].as_u64().expect("an offset") + 1).to_string();
        for item in &items {
            let event = &item["event"];
            let key = event["idempotencyKey"].as_str().expect("a key").to_owned();
            let device = event["deviceId"].as_str().expect("a device").to_owned();
            let number: u64 = event["customEvent"]["intParams"]["n"]
                .as_str()
                .and_then(|number| number.parse().ok())
                .expect("a number");
            assert!(keys.insert(key.clone()), "{key} is there twice");
            let before = last_of_device.insert(device.clone(), number);
            assert!(before < Some(number), "device {device}: {number} after {before:?}");
        }
    }
    for (sender, count) in acknowledged.iter().enumerate() {
        let lost: Vec<u64> =
            (0..*count).filter(|number| !keys.contains(&format!("{sender}-{number}"))).collect();
        assert!(lost.is_empty(), "sender {sender} lost {} of {count}: {lost:.5?}", lost.len());
    }
}

/// A client that keeps its connections.
pub(crate) struct Client {
    runtime: tokio::runtime::Runtime,
    http: platform::SystemHttpClient,
    clock: std::sync::Arc<SystemClock>,
}

impl Client {
    pub(crate) fn new() -> Self {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        Self {
            runtime: runtime.expect("a runtime"),
            http: platform::SystemHttpClient::new().expect("a client"),
            clock: SystemClock::new(),
        }
    }

    /// Sends JSON; `None` when there was no answer.
    pub(crate) fn request(&self, method: &str, url: &str, body: &str) -> Option<(u16, Vec<u8>)> {
        let mut headers = http::HeaderMap::new();
        headers.insert("content-type", "application/json".parse().expect("a header"));
        let request = HttpRequest {
            method: method.parse().expect("a method"),
            url: url.to_owned(),
            headers,
            body: body.to_owned().into(),
            timeout: Duration::from_secs(30),
            response_bytes_max: 64 << 20,
        };
        let response = self.runtime.block_on(self.http.send(request)).ok()?;
        Some((response.status.as_u16(), response.body.to_vec()))
    }

    /// Waits a moment before something is tried again.
    fn pause(&self) {
        let again = self.clock.monotonic() + Duration::from_millis(20);
        self.runtime.block_on(self.clock.sleep_until(again));
    }
}

/// Kills the program this often, and checks what the log holds.
fn survives_kills(plan: Plan, data: &Path, arguments: &[&str]) {
    let mut server = TinyObs::start(data, arguments);
    let events = plan.events;
    let load = Load::new(plan, &server.url);
    let acknowledged = load.run(7, || {
        server.kill();
        server = TinyObs::start(data, arguments);
        load.retarget(&server.url);
    });
    assert_eq!(acknowledged.iter().sum::<u64>(), events);
    check(&server.url, &acknowledged);
}

/// Writes where NATS is into a file, for an address may hold a password; returns the setting that names it.
fn nats_setting(folder: &Path, url: &str) -> String {
    let file = folder.join("nats");
    std::fs::write(&file, url).expect("write the address");
    format!("nats.url_file={}", file.display())
}

#[test]
fn killed_fifty_times_the_log_holds_each_event_once_and_in_order() {
    let data = tempfile::tempdir().expect("a folder");
    let plan = Plan { events: 100_000, kills: 50 };
    survives_kills(plan, data.path(), &["--set", "collector.enabled=false"]);
}

#[test]
fn killed_fifty_times_jetstream_holds_each_event_once_and_in_order() {
    let Some(nats) = NatsServer::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let setting = nats_setting(folder.path(), &nats.url());
    let arguments =
        ["--set", "collector.enabled=false", "--set", "events.log.engine=nats", "--set", &setting];
    let plan = Plan { events: 100_000, kills: 50 };
    survives_kills(plan, &folder.path().join("data"), &arguments);
}

#[test]
fn a_cluster_of_which_one_server_is_killed_at_a_time_holds_each_event_once_and_in_order() {
    let Some(mut cluster) = NatsCluster::start() else { return };
    let folder = tempfile::tempdir().expect("a folder");
    let setting = nats_setting(folder.path(), &cluster.urls());
    let arguments = [
        "--set",
        "collector.enabled=false",
        "--set",
        "events.log.engine=nats",
        "--set",
        "nats.stream.replicas=3",
        "--set",
        &setting,
    ];
    let server = TinyObs::start(&folder.path().join("data"), &arguments);
    let load = Load::new(Plan { events: 20_000, kills: 6 }, &server.url);
    let mut turn = 0;
    let acknowledged = load.run(7, || {
        // It comes back at once: with another one gone before it has caught up, NATS waits for that one.
        let count = cluster.nodes.len();
        cluster.nodes[turn % count].restart();
        turn += 1;
    });
    assert_eq!(acknowledged.iter().sum::<u64>(), 20_000);
    check(&server.url, &acknowledged);
}

#[test]
fn told_to_end_while_events_arrive_the_program_keeps_all_that_it_accepted() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--set", "collector.enabled=false", "--set", "server.shutdown_timeout=20s"];
    let server = TinyObs::start(data.path(), &arguments);
    let load = Load::new(Plan { events: 40_000, kills: 1 }, &server.url);
    let (mut server, ended) = (Some(server), AtomicU64::new(u64::MAX));
    let acknowledged = load.run(7, || {
        let status = server.take().expect("running").terminate();
        ended.store(u64::from(!status.success()), Ordering::Relaxed);
        load.repeats.store(false, Ordering::Relaxed);
    });
    assert_eq!(ended.load(Ordering::Relaxed), 0, "in order and in time");
    assert!(acknowledged.iter().sum::<u64>() > 0, "the load was real");
    let server = TinyObs::start(data.path(), &arguments);
    check(&server.url, &acknowledged);
}
