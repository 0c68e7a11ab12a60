//! Image pulls: thousands of agents report each second while a thousand clients follow, slow ones among them.
//!
//! Each agent has a connection and sends a full report at its own moment of the second; each follower has one, too. Every
//! report says how many came before it, in the bytes of its pulls, so that a follower knows when what it sees was sent.

mod agents;
mod followers;

use std::fmt::Write as _;
use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use clap::Args;

use crate::peer::{Kind, Peer, Usage};
use crate::report::spread;
use agents::{Fleet, Reported};
use followers::{Followers, Seen};

/// How long the last final states may take to reach the slowest follower.
const SETTLING: Duration = Duration::from_secs(60);

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The program `tinyobs`.
    #[arg(long)]
    tinyobs: PathBuf,
    /// Agents, each reporting once a second.
    #[arg(long, default_value_t = 5_000)]
    agents: usize,
    /// Pulls that run on each node.
    #[arg(long, default_value_t = 3)]
    pulls: usize,
    /// Layers of each pull.
    #[arg(long, default_value_t = 8)]
    layers: usize,
    /// Reports from the beginning of a pull to its end.
    #[arg(long, default_value_t = 60)]
    pull_reports: usize,
    /// Clients that follow one node each.
    #[arg(long, default_value_t = 1_000)]
    followers: usize,
    /// How many of them take less than arrives.
    #[arg(long, default_value_t = 100)]
    slow: usize,
    /// Clients that follow everything.
    #[arg(long, default_value_t = 0)]
    everything: usize,
    /// How long to measure, in seconds.
    #[arg(long, default_value_t = 60)]
    seconds: u64,
    /// Times that everything is measured.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// More arguments for the server.
    #[arg(long)]
    server: Vec<String>,
    /// Where to write the table.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What one measurement found.
struct Measured {
    took: Duration,
    before: Usage,
    after: Usage,
    reported: Reported,
    seen: Seen,
}

/// Measures, and prints the table.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    ensure!(arguments.slow <= arguments.followers, "--slow is more than --followers");
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(1)
        .enable_all()
        .build()
        .context("start the runtime")?;
    let mut measured = Vec::new();
    for round in 1..=arguments.rounds {
        eprintln!("round {round}: {} agents, {} followers", arguments.agents, arguments.followers);
        measured.push(runtime.block_on(measure(arguments))?);
    }
    let table = render(arguments, &measured);
    println!("{table}");
    if let Some(output) = &arguments.output {
        std::fs::write(output, table).with_context(|| format!("write {}", output.display()))?;
    }
    let missed: u64 = measured.iter().map(|m| m.seen.missed).sum();
    ensure!(missed == 0, "{missed} final states did not reach their followers");
    Ok(())
}

async fn measure(arguments: &Arguments) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let mut server = arguments.server.clone();
    // All come from this one address.
    server.push("--set=http.connections_max=20000".to_owned());
    server.push("--set=http.connections_per_address_max=20000".to_owned());
    server.push("--set=pulls.limits.active=100000".to_owned());
    let peer = Peer::start_with(Kind::TinyObs, &arguments.tinyobs, folder.path(), &server)?;
    let fleet = Arc::new(Fleet::new(
        &peer.address,
        (arguments.agents, arguments.pulls, arguments.layers),
        arguments.pull_reports,
    ));
    let ending = Arc::new(AtomicBool::new(false));
    let reporting = fleet.start(&ending);
    // Every agent has reported, and every pull has been seen, before anything is counted.
    tokio::time::sleep(Duration::from_secs(5)).await;
    let followers =
        Followers::start(&fleet, (arguments.followers, arguments.slow, arguments.everything))
            .await?;
    tokio::time::sleep(Duration::from_secs(5)).await;
    let before = peer.usage()?;
    let started = Instant::now();
    followers.measure();
    tokio::time::sleep(Duration::from_secs(arguments.seconds)).await;
    let after = peer.usage()?;
    let took = started.elapsed();
    ending.store(true, Ordering::Relaxed);
    let reported = reporting.end().await?;
    let seen = followers.end(&fleet, SETTLING).await?;
    Ok(Measured { took, before, after, reported, seen })
}

fn render(arguments: &Arguments, measured: &[Measured]) -> String {
    type Figure = (&'static str, fn(&Measured) -> f64, usize);
    const FIGURES: [Figure; 11] = [
        ("server CPU, share of a core", |m| cores(m), 2),
        ("reports/s", |m| m.reported.reports as f64 / m.reported.took.as_secs_f64(), 0),
        ("reports that were refused or late", |m| m.reported.failed as f64, 0),
        ("server CPU per report, µs", |m| cores(m) * 1e6 * seconds_per_report(m), 1),
        ("report → SSE, progress, p50 ms", |m| m.seen.progress.quantile(0.5), 1),
        ("report → SSE, progress, p99 ms", |m| m.seen.progress.quantile(0.99), 1),
        ("report → SSE, final states, p50 ms", |m| m.seen.finals.quantile(0.5), 1),
        ("report → SSE, final states, p99 ms", |m| m.seen.finals.quantile(0.99), 1),
        ("final states expected by followers", |m| m.seen.expected as f64, 0),
        ("final states missed", |m| m.seen.missed as f64, 0),
        ("resident memory, MB", |m| m.after.resident_bytes as f64 / 1e6, 0),
    ];
    let mut text = format!(
        "### {} agents × 1 report/s × {} pulls × {} layers, {} bytes a report; {} followers, {} of them slow, and {} of everything\n\n\
         | figure | value |\n|---|---|\n",
        arguments.agents,
        arguments.pulls,
        arguments.layers,
        measured.first().map_or(0, |m| m.reported.bytes / m.reported.reports.max(1)),
        arguments.followers,
        arguments.slow,
        arguments.everything,
    );
    for (name, figure, decimals) in FIGURES {
        let values = measured.iter().map(figure).collect();
        let _infallible = writeln!(text, "| {name} | {} |", spread(values, decimals));
    }
    text
}

fn cores(measured: &Measured) -> f64 {
    (measured.after.cpu - measured.before.cpu).as_secs_f64() / measured.took.as_secs_f64()
}

fn seconds_per_report(measured: &Measured) -> f64 {
    measured.reported.took.as_secs_f64() / measured.reported.reports.max(1) as f64
}
