//! Side-by-side benchmarks: metrics beside VictoriaMetrics and Prometheus, events beside the disk they wait for, image pulls.
//!
//! The cost of a server is its own CPU time and memory as the kernel counts them, and the blocks of its data folder.
#![expect(clippy::disallowed_methods, reason = "measures real processes on the real clock")]
#![expect(clippy::disallowed_types, reason = "measures the real disk")]
#![expect(clippy::print_stdout, reason = "the table is its output")]
#![expect(clippy::print_stderr, reason = "progress")]

mod client;
mod events;
mod load;
mod metrics;
mod peer;
mod pulls;
mod queries;
mod report;
mod workload;

use clap::Parser;

/// Measures TinyObs, and its peers beside it.
#[derive(Debug, Parser)]
enum Benchmark {
    /// The same remote write bytes into TinyObs and its peers.
    Metrics(metrics::Arguments),
    /// Events over HTTP into the durable log.
    Events(events::Arguments),
    /// Reports of image pulls, and clients that follow them.
    Pulls(pulls::Arguments),
}

fn main() -> anyhow::Result<()> {
    match Benchmark::parse() {
        Benchmark::Metrics(arguments) => metrics::run(&arguments),
        Benchmark::Events(arguments) => events::run(&arguments),
        Benchmark::Pulls(arguments) => pulls::run(&arguments),
    }
}
