//! The language of the scripts.
//!
//! Each line is a command; lines that begin with `=` are what it says. [`check`] runs the commands and compares.
//!
//! - `agent NODE [key=value…]`, `original NODE`: a report with the pulls of the indented lines below, which read
//!   `ID IMAGE PHASE [key=value…] LAYER…`, and `REFERENCE [LAYER…]` for an original agent; a layer reads
//!   `DIGEST=DOWNLOADED/TOTAL[:PHASE][+RESUMED]`, its total `?` where it is not known.
//! - `pass SECONDS`: time passes, with a tick each second.
//! - `pulls`, `layers`, `nodes`, `images`, `pods`: what readers see. `updates`: what a subscriber heard since.
//!   `totals`: counters. `history`: what the state database has. `published`: what the sink was given.
//! - `flush`; `restart`: flush, and start again; `crash`: start again.
//! - `cluster live|degraded`; `pod NODE NAME CONTAINER IMAGE waiting|running|gone [reason] [message…]`;
//!   `event NODE POD CONTAINER REASON IMAGE [message…]`.

use std::fmt::Write as _;
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;
use model::TenantId;
use parking_lot::Mutex;
use platform::{Clock, SimClock, SystemClock, SystemFs, Timestamp};
use report::{LayerReport, PullReport, Report};
use state::{Database, StateUrl};
use tempfile::TempDir;

use crate::*;

/// When all scripts begin.
const BEGIN: i64 = 1_700_000_000_000;

/// Takes what ended, unless it is told to fail.
#[derive(Debug, Default)]
pub(super) struct Sink {
    pub(super) published: Mutex<Vec<(String, Arc<PullView>)>>,
    pub(super) fails: Mutex<bool>,
    /// A tenant of which it takes nothing.
    pub(super) refuses: Mutex<Option<TenantId>>,
}

impl PullSink for Sink {
    fn publish<'a>(
        &'a self,
        tenant: &'a TenantId,
        ended: &'a [Arc<PullView>],
    ) -> BoxFuture<'a, Result<(), SinkError>> {
        let done = if *self.fails.lock() || self.refuses.lock().as_ref() == Some(tenant) {
            Err(SinkError("the log is full".into()))
        } else {
            let ended = ended.iter().map(|view| (tenant.to_string(), Arc::clone(view)));
            self.published.lock().extend(ended);
            Ok(())
        };
        Box::pin(std::future::ready(done))
    }
}

/// A server with simulated time.
pub(super) struct World {
    pub(super) clock: Arc<SimClock>,
    pub(super) database: Database,
    pub(super) sink: Arc<Sink>,
    pub(super) settings: PullsSettings,
    pub(super) pulls: Arc<Pulls>,
    subscription: Option<Subscription>,
    printed: usize,
    _folder: Option<TempDir>,
}

pub(super) fn tenant() -> TenantId {
    TenantId::default_tenant()
}

impl World {
    pub(super) async fn new(settings: PullsSettings) -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = StateUrl::Sqlite { path: folder.path().join("state.sqlite") };
        let mut world = Self::on(url, settings).await;
        world._folder = Some(folder);
        world
    }

    pub(super) async fn on(url: StateUrl, settings: PullsSettings) -> Self {
        // The database waits in real time: simulated time jumps.
        let opened = Database::open(url, &*SystemFs::new(), SystemClock::new()).await;
        let database = opened.expect("a database");
        let clock = SimClock::new(Timestamp::from_millis(BEGIN));
        let sink = Arc::<Sink>::default();
        let pulls = open(&clock, &database, settings, &sink).await;
        let (subscription, printed, _folder) = (None, 0, None);
        Self { clock, database, sink, settings, pulls, subscription, printed, _folder }
    }

    /// Starts the server again.
    pub(super) async fn crash(&mut self) {
        self.subscription = None;
        self.pulls = open(&self.clock, &self.database, self.settings, &self.sink).await;
    }

    /// Lets time pass, with a tick each second.
    pub(super) fn pass(&self, time: Duration) {
        let mut left = time;
        while left > Duration::ZERO {
            let step = left.min(Duration::from_secs(1));
            self.clock.advance(step);
            self.pulls.tick();
            left -= step;
        }
    }

    pub(super) fn live(&self) -> Vec<Arc<PullView>> {
        let mut views = self.pulls.live(&tenant(), &PullFilter::default());
        views.reverse();
        views
    }

    async fn run(&mut self, command: &str, below: &[&str]) -> Vec<String> {
        let words: Vec<&str> = command.split_whitespace().collect();
        match words[0] {
            "agent" | "original" => self.report(&words, below),
            "pass" => {
                let seconds: f64 = words[1].parse().expect("seconds");
                self.pass(Duration::from_secs_f64(seconds));
                Vec::new()
            }
            "pulls" => self.live().iter().map(|view| pull_line(view)).collect(),
            "layers" => {
                self.live().iter().flat_map(|view| view.layers.iter().map(layer_line)).collect()
            }
            "nodes" => self.pulls.nodes(&tenant()).iter().map(node_line).collect(),
            "images" => {
                let images = self.pulls.images(&tenant(), &PullFilter::default());
                images.iter().map(image_line).collect()
            }
            "pods" => self.pods(),
            "updates" => self.updates(),
            "totals" => self.totals(),
            "flush" => {
                self.pulls.flush().await;
                Vec::new()
            }
            "restart" => {
                self.pulls.flush().await;
                self.crash().await;
                Vec::new()
            }
            "crash" => {
                self.crash().await;
                Vec::new()
            }
            "sink" => {
                *self.sink.fails.lock() = words[1] == "fails";
                Vec::new()
            }
            "published" => {
                let published = self.sink.published.lock();
                let lines = published[self.printed..].iter().map(|(_, view)| pull_line(view));
                let lines = lines.collect();
                self.printed = published.len();
                lines
            }
            "history" => self.history().await,
            "cluster" => {
                let connection = match words[1] {
                    "live" => Connection::Live,
                    _ => Connection::Degraded { reason: "test".into() },
                };
                self.pulls.cluster(&tenant(), "").set_connection(connection);
                Vec::new()
            }
            "pod" => self.pod(&words),
            "event" => self.event(&words),
            other => panic!("no command: {other}"),
        }
    }

    fn report(&self, words: &[&str], below: &[&str]) -> Vec<String> {
        let original = words[0] == "original";
        let mut report = Report {
            node_name: words[1].to_owned(),
            timestamp: Some(self.clock.now()),
            ..Report::default()
        };
        if !original {
            report.agent_version = "1.0".to_owned();
            report.interval_ms = 1_000;
        }
        for (key, value) in words[2..].iter().filter_map(|word| word.split_once('=')) {
            match key {
                "error" => report.error = value.to_owned(),
                "cluster" => report.cluster = value.to_owned(),
                "interval" => report.interval_ms = value.parse().expect("milliseconds"),
                "sequence" => report.sequence = value.parse().expect("a number"),
                "started" => report.agent_started = Some(at(value.parse().expect("seconds"))),
                "ahead" => {
                    let millis: i64 = value.parse::<i64>().expect("seconds") * 1_000;
                    report.timestamp = Some(self.clock.now().saturating_add_millis(millis));
                }
                other => panic!("no key: {other}"),
            }
        }
        let read = if original { original_pull } else { agent_pull };
        report.pulls = below.iter().map(|line| read(line, self.clock.now())).collect();
        match self.pulls.report(&tenant(), report) {
            Ok(()) => Vec::new(),
            Err(refused) => vec![refused.to_string()],
        }
    }

    fn updates(&mut self) -> Vec<String> {
        let pulls = Arc::clone(&self.pulls);
        let subscription = self.subscription.get_or_insert_with(|| {
            let interest = Interest { layers: true, ..Interest::default() };
            pulls.subscribe(&tenant(), interest).expect("room")
        });
        let mut lines = Vec::new();
        while let Some(batch) = subscription.next().now_or_never() {
            if batch.resync {
                lines.push("resync".to_owned());
            }
            for update in &batch.updates {
                let what = match update.layer {
                    Some(layer) => &update.pull.layers[layer].digest,
                    None => &update.pull.image,
                };
                let what = if what.is_empty() { "?" } else { what };
                lines.push(format!("{:?} {what}", update.kind));
            }
        }
        lines
    }

    fn pods(&self) -> Vec<String> {
        let view = self.pulls.pods(&tenant(), &PodFilter::default());
        let mut lines = Vec::new();
        for pod in &view.pods {
            for container in &pod.containers {
                let mut line = format!("{}/{} {}", pod.namespace, pod.pod, container.container);
                match container.state {
                    Some(state) => write!(line, " {state}").expect("a string"),
                    None => line.push_str(" -"),
                }
                if let Some(percent) = container.percent {
                    write!(line, " {percent:.0}%").expect("a string");
                }
                if let Some(behind) = container.queued_behind {
                    write!(line, " behind={behind}").expect("a string");
                }
                if !container.reason.is_empty() {
                    write!(line, " {}", container.reason).expect("a string");
                }
                lines.push(line);
            }
        }
        lines
    }

    fn totals(&self) -> Vec<String> {
        let totals = self.pulls.totals();
        let Some((_, t)) = totals.tenants.first() else { return vec!["nothing".to_owned()] };
        let failed: Vec<String> = t.failed.iter().map(|(why, n)| format!("{why}:{n}")).collect();
        let durations: u64 = t.duration.buckets.iter().sum();
        vec![
            format!(
                "active={} unknown={} stalled={} recent={} started={} completed={} failed={} \
                 durations={durations}",
                t.active,
                t.unknown,
                t.stalled,
                t.recent,
                t.started,
                t.completed,
                failed.join(","),
            ),
            format!(
                "bytes={} cached={} reports={} refused={}/{} nodes={}/{}",
                t.transferred_bytes,
                t.cached_bytes,
                t.reports,
                t.reports_refused,
                t.pulls_refused,
                t.agents_connected,
                t.nodes,
            ),
        ]
    }

    async fn history(&self) -> Vec<String> {
        let mut query = PullQuery {
            filter: PullFilter::default(),
            since: None,
            until: None,
            limit: 100,
            cursor: None,
        };
        let mut lines = Vec::new();
        loop {
            let page = self.pulls.search(&tenant(), &query).await.expect("a page");
            lines.extend(page.pulls.iter().map(|view| pull_line(view)));
            match page.next {
                Some(next) => query.cursor = Some(next),
                None => return lines,
            }
        }
    }

    fn pod(&self, words: &[&str]) -> Vec<String> {
        let pods = self.pulls.cluster(&tenant(), "");
        let [node, name, container, image, state] = words[1..6] else { panic!("{words:?}") };
        if state == "gone" {
            pods.pod_deleted(name);
            return Vec::new();
        }
        let state = match state {
            "running" => ContainerState::Running,
            _ => ContainerState::Waiting {
                reason: (*words.get(6).unwrap_or(&"ContainerCreating")).into(),
                message: words.get(7..).unwrap_or_default().join(" ").into(),
            },
        };
        pods.pod_applied(Pod {
            uid: name.into(),
            static_uid: "".into(),
            namespace: "default".into(),
            name: name.into(),
            node: node.into(),
            phase: "Pending".into(),
            owner: None,
            created_at: None,
            containers: vec![Container {
                name: container.into(),
                kind: ContainerKind::Regular,
                image: image.into(),
                image_id: "".into(),
                state,
            }],
        });
        Vec::new()
    }

    fn event(&self, words: &[&str]) -> Vec<String> {
        let [node, pod, container, reason, image] = words[1..6] else { panic!("{words:?}") };
        let reason = match reason {
            "Pulling" => ImageEventReason::Pulling,
            "Pulled" => ImageEventReason::Pulled,
            "Failed" => ImageEventReason::Failed,
            "BackOff" => ImageEventReason::BackOff,
            other => panic!("no reason: {other}"),
        };
        self.pulls.cluster(&tenant(), "").event(ImageEvent {
            uid: format!("{pod}{reason:?}").into(),
            pod_uid: pod.into(),
            namespace: "default".into(),
            pod: pod.into(),
            node: node.into(),
            container: container.into(),
            reason,
            image: Some(image.into()),
            message: words[6..].join(" ").into(),
            at: Some(self.clock.now()),
            count: 1,
        });
        Vec::new()
    }
}

async fn open(
    clock: &Arc<SimClock>,
    database: &Database,
    settings: PullsSettings,
    sink: &Arc<Sink>,
) -> Arc<Pulls> {
    let parts = PullsParts {
        clock: Arc::new(Arc::clone(clock)),
        database: database.clone(),
        settings,
        sink: Arc::clone(sink) as Arc<dyn PullSink>,
    };
    Pulls::open(parts).await.expect("readable")
}

/// Returns the time some seconds after scripts begin.
fn at(seconds: i64) -> Timestamp {
    Timestamp::from_millis(BEGIN + seconds * 1_000)
}

fn seconds(time: Timestamp) -> f64 {
    time.millis_since(at(0)) as f64 / 1_000.0
}

fn agent_pull(line: &str, now: Timestamp) -> PullReport {
    let words: Vec<&str> = line.split_whitespace().collect();
    let mut pull = PullReport {
        id: words[0].to_owned(),
        image_ref: words[1].to_owned(),
        phase: Some(words[2].parse().expect("a phase")),
        total_known: true,
        started_at: Some(now),
        ..PullReport::default()
    };
    if matches!(words[2], "completed" | "failed") {
        pull.ended_at = Some(now);
    }
    for word in &words[3..] {
        match word.split_once('=').expect("key=value") {
            ("error", value) => pull.error = value.replace('_', " "),
            ("digest", value) => pull.digest = value.to_owned(),
            ("candidate", value) => pull.candidates.push(value.to_owned()),
            ("confidence", value) => pull.confidence = Some(value.parse().expect("a word")),
            ("started", value) => pull.started_at = Some(at(value.parse().expect("seconds"))),
            ("ended", value) => pull.ended_at = Some(at(value.parse().expect("seconds"))),
            ("indirect", value) => pull.indirect = value == "true",
            ("more", value) => pull.total_known = value != "true",
            (digest, bytes) => pull.layers.push(layer(digest, bytes)),
        }
    }
    pull
}

fn original_pull(line: &str, now: Timestamp) -> PullReport {
    let mut words = line.split_whitespace();
    let reference = words.next().expect("a reference");
    let layers: Vec<LayerReport> = words
        .map(|word| match word.rsplit_once('=') {
            Some((digest, bytes)) => layer(digest, bytes),
            None => layer(reference, word),
        })
        .collect();
    PullReport {
        image_ref: reference.to_owned(),
        total_known: layers.iter().all(|layer| layer.total_known),
        layers,
        started_at: Some(now),
        ..PullReport::default()
    }
}

fn layer(digest: &str, bytes: &str) -> LayerReport {
    let (bytes, resumed) = bytes.split_once('+').unwrap_or((bytes, "0"));
    let (bytes, phase) = match bytes.split_once(':') {
        Some((bytes, phase)) => (bytes, Some(phase.parse().expect("a phase"))),
        None => (bytes, None),
    };
    let (downloaded, total) = bytes.split_once('/').expect("downloaded/total");
    LayerReport {
        digest: digest.to_owned(),
        downloaded_bytes: downloaded.parse().expect("bytes"),
        total_bytes: if total == "?" { 0 } else { total.parse().expect("bytes") },
        total_known: total != "?",
        phase,
        resumed_bytes: resumed.parse().expect("bytes"),
        ..LayerReport::default()
    }
}

/// Writes a pull as scripts expect it: what is as usual is left out.
pub(super) fn pull_line(view: &PullView) -> String {
    let mut line = match &*view.image {
        "" => "?".to_owned(),
        image => image.to_owned(),
    };
    let mut add = |part: std::fmt::Arguments<'_>| {
        line.push(' ');
        line.write_fmt(part).expect("a string");
    };
    add(format_args!("{}", view.state));
    add(format_args!("{:.1}%", view.percent));
    let open = if view.total_known { "" } else { "+" };
    add(format_args!("{}/{}{open}", view.downloaded_bytes, view.total_bytes));
    if view.transferred_bytes != view.downloaded_bytes {
        add(format_args!("transferred={}", view.transferred_bytes));
    }
    if view.cached_bytes > 0 {
        add(format_args!("cached={}", view.cached_bytes));
    }
    add(format_args!("layers={}/{}", view.layers_done, view.layers.len()));
    if view.bytes_per_second > 0.0 {
        add(format_args!("rate={:.0}", view.bytes_per_second));
    }
    if let Some(eta) = view.eta_seconds {
        add(format_args!("eta={eta:.0}"));
    }
    if let Some(since) = view.stalled_since {
        add(format_args!("stalled={}", seconds(since)));
    }
    if let Some(queued) = view.queued_at.filter(|queued| *queued < view.started_at) {
        add(format_args!("queued={}", seconds(queued)));
    }
    add(format_args!("from={}", seconds(view.started_at)));
    if let Some(ended) = view.ended_at {
        add(format_args!("to={}", seconds(ended)));
    }
    if view.confidence != report::Confidence::Certain {
        add(format_args!("{}", view.confidence));
    }
    if view.attempt > 1 {
        add(format_args!("attempt={}", view.attempt));
    }
    if let Some(PullFailure { reason, message, source }) = &view.failure {
        add(format_args!("{source}:{reason}:{message}"));
    }
    for pod in &view.pods {
        add(format_args!("pod={}/{}", pod.pod, pod.container));
    }
    line
}

fn layer_line(layer: &LayerView) -> String {
    let mut line = format!(
        "{} {} {:.0}% {}/{}",
        layer.digest, layer.phase, layer.percent, layer.downloaded_bytes, layer.total_bytes
    );
    if layer.bytes_per_second > 0.0 {
        write!(line, " rate={:.0}", layer.bytes_per_second).expect("a string");
    }
    for (word, time) in [("from", layer.started_at), ("to", layer.completed_at)] {
        if let Some(time) = time {
            write!(line, " {word}={}", seconds(time)).expect("a string");
        }
    }
    line
}

fn image_line(image: &ImageView) -> String {
    format!(
        "{} nodes={}/{} active={} completed={} failed={} {:.1}% {}/{} rate={:.0}",
        image.image,
        image.nodes_done,
        image.nodes,
        image.active,
        image.completed,
        image.failed,
        image.percent,
        image.downloaded_bytes,
        image.total_bytes,
        image.bytes_per_second,
    )
}

fn node_line(node: &NodeView) -> String {
    let connected = if node.connected { "connected" } else { "silent" };
    let mut line = format!("{} {connected} active={}", node.node, node.active);
    if !node.error.is_empty() {
        write!(line, " error={}", node.error).expect("a string");
    }
    if let Some(skew) = node.clock_skew_seconds.filter(|skew| *skew != 0.0) {
        write!(line, " ahead={skew}").expect("a string");
    }
    line
}

/// The usual settings, but that subscribers are told at once.
pub(super) fn settings() -> PullsSettings {
    PullsSettings { batch_interval: Duration::ZERO, ..PullsSettings::default() }
}

/// Runs a script with the usual settings.
pub(super) async fn check(script: &str) {
    check_with(settings(), script).await;
}

/// Runs a script.
pub(super) async fn check_with(settings: PullsSettings, script: &str) {
    let mut world = World::new(settings).await;
    run(&mut world, script).await;
}

/// Runs a script in a world.
pub(super) async fn run(world: &mut World, script: &str) {
    let lines: Vec<&str> = script.lines().filter(|line| !line.trim().is_empty()).collect();
    let indent = lines.iter().map(|line| line.len() - line.trim_start().len()).min().unwrap_or(0);
    let lines: Vec<&str> = lines.iter().map(|line| line[indent..].trim_end()).collect();
    let mut found = String::new();
    let mut rest = &lines[..];
    while let Some((command, after)) = rest.split_first() {
        let below = after.iter().take_while(|line| line.starts_with(' ')).count();
        let said = after[below..].iter().take_while(|line| line.starts_with('=')).count();
        writeln!(found, "{command}").expect("a string");
        for line in &after[..below] {
            writeln!(found, "{line}").expect("a string");
        }
        if !command.starts_with('#') {
            for line in world.run(command, &after[..below]).await {
                writeln!(found, "= {line}").expect("a string");
            }
        }
        rest = &after[below + said..];
    }
    let expected = lines.join("\n") + "\n";
    assert!(found == expected, "expected\n\n{expected}\nfound\n\n{found}");
}
