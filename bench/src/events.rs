//! Events: from HTTP requests to the durable log.
//!
//! Batches are sent over two connections as fast as the server answers; single events come at a fixed rate whether it
//! answers or not, so that waiting shows in the latency. The disk's own time for a small synced write stands beside it.

mod disk;
mod shapes;
mod single;

use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::time::{Duration, Instant, SystemTime, UNIX_EPOCH};

use anyhow::{Context as _, bail, ensure};
use clap::Args;
use serde_json::Value;

use crate::peer::{Kind, Peer};
use crate::report::spread;
use shapes::{Form, Shapes};

/// Connections that batches are sent over.
const CONNECTIONS: u64 = 2;

/// How long the server has for what the last batch left to do.
const SETTLING: Duration = Duration::from_secs(5);

/// What to measure.
#[derive(Args, Debug)]
pub(crate) struct Arguments {
    /// The program `tinyobs`.
    #[arg(long)]
    tinyobs: PathBuf,
    /// Events per request.
    #[arg(long, value_delimiter = ',', default_value = "100,1000")]
    batches: Vec<u64>,
    /// Forms of the requests.
    #[arg(long, value_delimiter = ',', default_value = "json,binary")]
    forms: Vec<Form>,
    /// Events of one measurement of batches.
    #[arg(long, default_value_t = 1_000_000)]
    events: u64,
    /// Requests per second, of one event each; 0 leaves this out.
    #[arg(long, default_value_t = 2_000)]
    rate: u32,
    /// How long single events are sent, in seconds.
    #[arg(long, default_value_t = 20)]
    seconds: u32,
    /// Times that everything is measured.
    #[arg(long, default_value_t = 1)]
    rounds: u32,
    /// More arguments for the server, such as `--set=events.log.engine=nats`.
    #[arg(long)]
    server: Vec<String>,
    /// Where to write the table.
    #[arg(long)]
    output: Option<PathBuf>,
}

/// What one measurement of batches found.
struct Batched {
    form: Form,
    batch: u64,
    events_per_second: f64,
    cpu_per_million: f64,
    cpu_settled_per_million: f64,
    body_bytes: f64,
    disk_bytes: f64,
    peak_megabytes: f64,
}

/// Measures, and prints the table.
pub(crate) fn run(arguments: &Arguments) -> anyhow::Result<()> {
    if arguments.batches.iter().any(|batch| *batch == 0 || *batch > 1_000) {
        bail!("a batch has 1 to 1000 events");
    }
    let (mut batched, mut single) = (Vec::new(), Vec::new());
    for round in 1..=arguments.rounds {
        for (form, batch) in
            arguments.forms.iter().flat_map(|form| arguments.batches.iter().map(|b| (*form, *b)))
        {
            eprintln!("round {round}: batches of {batch}, {form}");
            batched.push(measure_batches(arguments, form, batch)?);
        }
        if arguments.rate > 0 {
            eprintln!("round {round}: {} single events per second", arguments.rate);
            single.push(measure_single(arguments)?);
        }
    }
    let table = render(arguments, &batched, &single);
    println!("{table}");
    if let Some(output) = &arguments.output {
        std::fs::write(output, table).with_context(|| format!("write {}", output.display()))?;
    }
    Ok(())
}

fn start(arguments: &Arguments, folder: &Path) -> anyhow::Result<Peer> {
    Peer::start_with(Kind::TinyObs, &arguments.tinyobs, folder, &arguments.server)
}

fn measure_batches(arguments: &Arguments, form: Form, batch: u64) -> anyhow::Result<Batched> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let peer = start(arguments, folder.path())?;
    let before_disk = peer.disk_bytes()?;
    let idle = peer.usage()?;
    let requests = arguments.events.div_ceil(batch * CONNECTIONS);
    let started = Instant::now();
    let sent_bytes = std::thread::scope(|scope| {
        let senders: Vec<_> = (0..CONNECTIONS)
            .map(|sender| {
                let peer = &peer;
                scope.spawn(move || send_batches(peer, form, batch, sender, requests))
            })
            .collect();
        let mut bytes = 0;
        for sender in senders {
            bytes += sender.join().map_err(|_| anyhow::anyhow!("a sender panicked"))??;
        }
        anyhow::Ok(bytes)
    })?;
    let took = started.elapsed();
    let sent = peer.usage()?;
    std::thread::sleep(SETTLING);
    let settled = peer.usage()?;
    let events = (requests * batch * CONNECTIONS) as f64;
    let millions = events / 1e6;
    Ok(Batched {
        form,
        batch,
        events_per_second: events / took.as_secs_f64(),
        cpu_per_million: (sent.cpu - idle.cpu).as_secs_f64() / millions,
        cpu_settled_per_million: (settled.cpu - idle.cpu).as_secs_f64() / millions,
        body_bytes: sent_bytes as f64 / events,
        disk_bytes: peer.disk_bytes()?.saturating_sub(before_disk) as f64 / events,
        peak_megabytes: settled.peak_bytes as f64 / 1e6,
    })
}

/// Sends batches one after the other and returns the bytes of their bodies.
fn send_batches(
    peer: &Peer,
    form: Form,
    batch: u64,
    sender: u64,
    requests: u64,
) -> anyhow::Result<u64> {
    let mut connection = peer.connect()?;
    let headers = form.header();
    let (mut body, mut bytes) = (Vec::new(), 0);
    let mut shapes = Shapes::new(sender, unix_ms()?);
    for _ in 0..requests {
        body.clear();
        shapes.batch(form, batch, &mut body);
        bytes += body.len() as u64;
        let answer = connection.post("/v1/events/batch", headers, &body)?;
        ensure!(
            form.accepted(&answer) == Some(batch),
            "not everything was accepted: {}",
            String::from_utf8_lossy(&answer).chars().take(300).collect::<String>()
        );
    }
    Ok(bytes)
}

fn unix_ms() -> anyhow::Result<u64> {
    let now = SystemTime::now().duration_since(UNIX_EPOCH).context("read the clock")?;
    u64::try_from(now.as_millis()).context("a time")
}

fn measure_single(arguments: &Arguments) -> anyhow::Result<single::Latency> {
    let folder = tempfile::tempdir().context("create a folder")?;
    let peer = start(arguments, folder.path())?;
    let before = disk::sync_times(peer.folder())?;
    let mut latency = single::run(&peer, arguments.rate, arguments.seconds)?;
    latency.disk = before.with(disk::sync_times(peer.folder())?);
    Ok(latency)
}

fn render(arguments: &Arguments, batched: &[Batched], single: &[single::Latency]) -> String {
    type Figure = (&'static str, fn(&Batched) -> f64, usize);
    const FIGURES: [Figure; 6] = [
        ("events/s", |m| m.events_per_second, 0),
        ("server CPU-s per 1 M events, until the last answer", |m| m.cpu_per_million, 2),
        ("server CPU-s per 1 M events, settled", |m| m.cpu_settled_per_million, 2),
        ("bytes of body per event", |m| m.body_bytes, 0),
        ("bytes on disk per event", |m| m.disk_bytes, 0),
        ("resident memory, peak, MB", |m| m.peak_megabytes, 0),
    ];
    let mut text = String::from("### Batches, two connections\n\n| figure |");
    let columns: Vec<(Form, u64)> = arguments
        .forms
        .iter()
        .flat_map(|form| arguments.batches.iter().map(|batch| (*form, *batch)))
        .collect();
    for (form, batch) in &columns {
        let _infallible = write!(text, " {form}, {batch} |");
    }
    let _infallible = writeln!(text, "\n{}|", "|---".repeat(columns.len() + 1));
    for (name, figure, decimals) in FIGURES {
        let _infallible = write!(text, "| {name} |");
        for (form, batch) in &columns {
            let of_column = batched.iter().filter(|m| m.form == *form && m.batch == *batch);
            let _infallible =
                write!(text, " {} |", spread(of_column.map(figure).collect(), decimals));
        }
        text.push('\n');
    }
    if !single.is_empty() {
        let _infallible = write!(
            text,
            "\n### Single events, {} per second, open loop\n\n{}",
            arguments.rate,
            single::render(single)
        );
    }
    text
}

impl Form {
    /// Returns how many events an answer says were accepted.
    fn accepted(self, answer: &[u8]) -> Option<u64> {
        match self {
            Self::Json => {
                let answer: Value = serde_json::from_slice(answer).ok()?;
                answer["acceptedCount"].as_u64()
            }
            // Field 1 comes first: a tag and a number of at most two bytes.
            Self::Binary => match answer {
                [8, low, ..] if low & 0x80 == 0 => Some(u64::from(*low)),
                [8, low, high, ..] => Some(u64::from(low & 0x7f) | u64::from(*high) << 7),
                _ => None,
            },
        }
    }
}
