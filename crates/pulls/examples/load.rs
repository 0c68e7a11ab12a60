//! What following pulls costs: 5,000 agents that each report 3 pulls of 8 layers a second, and 1,000 subscribers.
//!
//! Time is simulated, everything runs on one thread, and what is printed is how long one second of it took: the share
//! of a core that a server would need. Reading and writing JSON and sockets is not part of it.
//!
//! `cargo run --release -p pulls --example load`; with a name of what is printed as an argument, only that.

#![expect(
    clippy::print_stdout,
    clippy::unwrap_used,
    clippy::disallowed_methods,
    reason = "a program to look at, which asks the system for the time that it was given"
)]

use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use model::TenantId;
use platform::{Clock, SimClock, SystemClock, SystemFs, Timestamp};
use pulls::{Interest, NoSink, PullFilter, Pulls, PullsParts, PullsSettings, Subscription};
use report::{LayerPhase, LayerReport, PullPhase, PullReport, Report};
use state::{Database, StateUrl};

const NODES: usize = 5_000;
const PULLS: usize = 3;
const LAYERS: usize = 8;
const SUBSCRIBERS: usize = 1_000;
const SECONDS: usize = 5;

fn report(node: usize, second: usize, now: Timestamp) -> Report {
    let layer = |number: usize| LayerReport {
        digest: format!("sha256:{node:032x}{number:032x}"),
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        total_bytes: 100_000_000,
        downloaded_bytes: (second * 1_000_000 + number) as i64,
        total_known: true,
        phase: Some(LayerPhase::Downloading),
        ..LayerReport::default()
    };
    let pull = |number: usize| PullReport {
        id: format!("{node}-{number}"),
        image_ref: format!("docker.io/library/image-{}:{number}", node % 50),
        phase: Some(PullPhase::Downloading),
        total_known: true,
        started_at: Some(now),
        layers: (0..LAYERS).map(layer).collect(),
        ..PullReport::default()
    };
    Report {
        node_name: format!("node-{node}"),
        timestamp: Some(now),
        pulls: (0..PULLS).map(pull).collect(),
        agent_version: "1.0.0".to_owned(),
        interval_ms: 1_000,
        ..Report::default()
    }
}

/// What the subscriber of a number asks for.
type InterestOf = fn(usize) -> Interest;

/// What subscribers ask for, by name.
fn interests() -> Vec<(&'static str, InterestOf)> {
    fn filtered(filter: PullFilter) -> Interest {
        Interest { filter, ..Interest::default() }
    }
    vec![
        ("nobody", |_| Interest::default()),
        ("a node each", |number| {
            filtered(PullFilter { node: Some(format!("node-{number}")), ..PullFilter::default() })
        }),
        ("an image each", |number| {
            let image = Some(format!("image-{}:", number % 50));
            filtered(PullFilter { image, ..PullFilter::default() })
        }),
        ("everything", |_| Interest::default()),
    ]
}

#[tokio::main(flavor = "current_thread")]
async fn main() {
    let only = std::env::args().nth(1);
    for (name, interest) in interests() {
        if only.as_ref().is_none_or(|only| only == name) {
            measure(name, interest).await;
        }
    }
}

/// Returns how long this thread has run; what others do on the machine is not part of it.
fn processor_time() -> Duration {
    let statistics = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap();
    Duration::from_nanos(statistics.split_whitespace().next().unwrap().parse().unwrap())
}

/// Returns how much memory this process has, in KiB.
fn memory() -> usize {
    let status = std::fs::read_to_string("/proc/self/status").unwrap();
    let line = status.lines().find_map(|line| line.strip_prefix("VmRSS:")).unwrap();
    line.trim().trim_end_matches(" kB").parse().unwrap()
}

async fn measure(name: &str, interest: InterestOf) {
    let folder = tempfile::tempdir().unwrap();
    let url = StateUrl::Sqlite { path: folder.path().join("state.sqlite") };
    let database = Database::open(url, &*SystemFs::new(), SystemClock::new()).await.unwrap();
    let clock = SimClock::new(Timestamp::from_millis(1_700_000_000_000));
    let settings = PullsSettings { active_pulls_max: NODES * PULLS, ..PullsSettings::default() };
    let parts = PullsParts {
        clock: Arc::new(Arc::clone(&clock)),
        database,
        settings,
        sink: Arc::new(NoSink),
    };
    let pulls = Pulls::open(parts).await.unwrap();
    let tenant = TenantId::default_tenant();
    let count = if name == "nobody" { 0 } else { SUBSCRIBERS };
    let mut subscribers: Vec<Subscription> =
        (0..count).map(|number| pulls.subscribe(&tenant, interest(number)).unwrap()).collect();
    let memory_before = memory();
    let (mut reporting, mut reading, mut ticking, mut heard) =
        <(Duration, Duration, Duration, usize)>::default();
    for second in 0..=SECONDS {
        let is_measured = second > 0;
        let reports: Vec<Report> =
            (0..NODES).map(|node| report(node, second, Clock::now(&clock))).collect();
        let mut reports = reports.into_iter();
        for _ in 0..10 {
            clock.advance(Duration::from_millis(100));
            let begin = processor_time();
            for report in reports.by_ref().take(NODES / 10) {
                pulls.report(&tenant, report).unwrap();
            }
            let reported = processor_time();
            for subscriber in &mut subscribers {
                let batch = subscriber.next().now_or_never();
                heard += batch.map_or(0, |batch| batch.updates.len()) * usize::from(is_measured);
            }
            if is_measured {
                reporting += reported - begin;
                reading += processor_time() - reported;
            }
        }
        let begin = processor_time();
        pulls.tick();
        ticking += processor_time() - begin;
        if !is_measured {
            pulls.flush().await;
        }
    }
    let share = |time: Duration| time.as_secs_f64() * 100.0 / SECONDS as f64;
    println!(
        "{name:>14}: reports {:5.1} %, ticks {:4.1} %, subscribers {:5.1} % of a core; {} updates heard a second",
        share(reporting),
        share(ticking),
        share(reading),
        heard / SECONDS,
    );
    let more = memory().saturating_sub(memory_before);
    println!("{:>14}  {:.1} KiB a pull", "", more as f64 / (NODES * PULLS) as f64);
}
