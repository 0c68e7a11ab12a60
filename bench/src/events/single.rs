//! Single events at a fixed rate: each has a time at which it is due, and its latency counts from then.

use std::fmt::Write as _;
use std::time::{Duration, Instant};

use anyhow::ensure;

use super::disk::{SyncTimes, quantile};
use super::shapes::{Form, Shapes};
use super::unix_ms;
use crate::peer::Peer;

/// Connections, each sending one request at a time.
const CONNECTIONS: u32 = 64;

/// What one measurement found.
pub(crate) struct Latency {
    times: Vec<Duration>,
    cpu_per_million: f64,
    took: Duration,
    pub(crate) disk: SyncTimes,
}

/// Sends single events for some time.
pub(crate) fn run(peer: &Peer, rate: u32, seconds: u32) -> anyhow::Result<Latency> {
    let idle = peer.usage()?;
    let (start_ms, count) = (unix_ms()?, rate * seconds);
    let started = Instant::now();
    let times = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|sender| scope.spawn(move || send(peer, sender, (rate, count), started, start_ms)))
            .collect();
        let mut times = Vec::new();
        for sender in senders {
            times.extend(sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??);
        }
        anyhow::Ok(times)
    })?;
    let took = started.elapsed();
    let cpu = peer.usage()?.cpu - idle.cpu;
    let cpu_per_million = cpu.as_secs_f64() / (times.len() as f64 / 1e6);
    Ok(Latency { times, cpu_per_million, took, disk: SyncTimes::default() })
}

fn send(
    peer: &Peer,
    sender: u32,
    (rate, count): (u32, u32),
    started: Instant,
    start_ms: u64,
) -> anyhow::Result<Vec<Duration>> {
    let mut connection = peer.connect()?;
    let mut shapes = Shapes::new(u64::from(sender), start_ms);
    let (mut body, mut times) = (Vec::new(), Vec::new());
    for number in (sender..count).step_by(CONNECTIONS as usize) {
        let due = started + Duration::from_secs_f64(f64::from(number) / f64::from(rate));
        body.clear();
        shapes.single(Form::Json, &mut body);
        std::thread::sleep(due.saturating_duration_since(Instant::now()));
        let (status, answer) =
            connection.request("POST", "/v1/events/ingest", Form::Json.header(), &body)?;
        times.push(due.elapsed());
        ensure!(status == 200, "answers {status}: {}", String::from_utf8_lossy(&answer));
    }
    Ok(times)
}

/// Returns the table in Markdown.
pub(crate) fn render(measured: &[Latency]) -> String {
    let mut text = String::from(
        "| requests | seconds | p50 ms | p99 ms | max ms | CPU-s per 1 M | fdatasync p50 ms | p99 ms | goal: p99 ≤ 3 × fdatasync + 2 ms |\n\
         |---|---|---|---|---|---|---|---|---|\n",
    );
    let ms = |duration: Duration| duration.as_secs_f64() * 1e3;
    for latency in measured {
        let mut times = latency.times.clone();
        let p99 = quantile(&mut times, 0.99);
        let goal = |sync: Duration| ms(sync) * 3.0 + 2.0;
        let (sync_p50, sync_p99) = (latency.disk.quantile(0.5), latency.disk.quantile(0.99));
        let _infallible = writeln!(
            text,
            "| {} | {:.1} | {:.2} | {:.2} | {:.2} | {:.1} | {:.2} | {:.2} | {:.2} by its p50, {:.2} by its p99 |",
            times.len(),
            latency.took.as_secs_f64(),
            ms(quantile(&mut times, 0.5)),
            ms(p99),
            ms(quantile(&mut times, 1.0)),
            latency.cpu_per_million,
            ms(sync_p50),
            ms(sync_p99),
            goal(sync_p50),
            goal(sync_p99),
        );
    }
    text
}
