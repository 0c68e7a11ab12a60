//! Metrics: the same bytes into TinyObs, VictoriaMetrics and Prometheus, one after the other.

use std::path::PathBuf;
use std::time::{Duration, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail};
use clap::Args;

use crate::load::Load;
use crate::peer::{Kind, Peer, Usage};
use crate::queries::{self, Query};
use crate::report::{self, Measured, Row};
use crate::workload::Exposition;

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The program `tinyobs`.
    #[arg(long)]
    tinyobs: PathBuf,
    /// What one instance exposes, in the Prometheus text format.
    #[arg(long)]
    exposition: PathBuf,
    /// Queries: `instant EXPRESSION` or `range EXPRESSION` per line.
    #[arg(long)]
    queries: PathBuf,
    /// Rows of the table, as INSTANCESxSTEPS.
    #[arg(long, value_delimiter = ',', default_value = "20x2880,200x40,2000x8")]
    rows: Vec<Row>,
    /// Servers to measure.
    #[arg(long, value_delimiter = ',', default_value = "tinyobs,victoria-metrics,prometheus")]
    peers: Vec<Kind>,
    /// Times that each row is measured; the table shows medians and spreads.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// The seed of the values.
    #[arg(long, default_value_t = 1)]
    seed: u64,
    /// Where to write the table.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// Measures, and prints the table.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    let text = std::fs::read_to_string(&arguments.exposition)
        .with_context(|| format!("read {}", arguments.exposition.display()))?;
    let exposition = Exposition::parse(&text)?;
    let queries = std::fs::read_to_string(&arguments.queries)
        .with_context(|| format!("read {}", arguments.queries.display()))?;
    let queries = queries::parse(&queries)?;
    if arguments.peers.is_empty() || arguments.rows.is_empty() {
        bail!("nothing to measure");
    }

    let mut measured = Vec::new();
    for round in 0..arguments.rounds {
        for (index, row) in arguments.rows.iter().enumerate() {
            for kind in &arguments.peers {
                eprintln!("round {}: {} with {row}", round + 1, kind.name());
                // Queries are asked over the first row, the one with the longest history.
                let asked = if index == 0 { &queries[..] } else { &[] };
                measured.push(measure(arguments, &exposition, *kind, *row, asked)?);
            }
        }
    }
    let table = report::render(&arguments.rows, &arguments.peers, &measured, &queries);
    println!("{table}");
    if let Some(output) = &arguments.output {
        std::fs::write(output, table).with_context(|| format!("write {}", output.display()))?;
    }
    Ok(())
}

fn measure(
    arguments: &Arguments,
    exposition: &Exposition,
    kind: Kind,
    row: Row,
    asked: &[Query],
) -> anyhow::Result<Measured> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let peer = Peer::start(kind, &arguments.tinyobs, folder.path())?;
    let idle = peer.usage()?;

    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    let load = Load::new(exposition, row, arguments.seed, now);
    let samples = load.samples();
    let end = load.end();
    let started = std::time::Instant::now();
    load.send(&peer)?;
    let sending = started.elapsed();
    let sent = peer.usage()?;
    let settled = peer.settle()?;
    let disk_bytes = peer.disk_bytes()?;

    let stored = peer.count_samples(end)?;
    if stored == 0 {
        bail!("{} has no sample of the load", kind.name());
    }
    let query_seconds = queries::ask(&peer, asked, row, end)?;
    let seconds = |usage: &Usage| (usage.cpu - idle.cpu).as_secs_f64();
    Ok(Measured {
        kind,
        row,
        samples,
        cpu_seconds_sent: seconds(&sent),
        cpu_seconds_settled: seconds(&settled),
        sending: Duration::from_secs_f64(sending.as_secs_f64()),
        resident_bytes: settled.resident_bytes,
        peak_bytes: settled.peak_bytes,
        disk_bytes,
        query_seconds,
    })
}
