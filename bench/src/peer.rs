//! The servers: how each is started, and what the kernel says that it costs.

use std::net::TcpListener;
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use std::str::FromStr;
use std::time::{Duration, Instant};

use anyhow::{Context as _, bail};
use serde_json::Value;

use crate::client::Connection;

/// How long a server must be idle to count as settled, and how long we wait for that.
const IDLE: Duration = Duration::from_secs(10);
/// How long a server has at least for what it only begins when nothing arrives any more.
const SETTLE_MIN: Duration = Duration::from_secs(40);
const SETTLE_MAX: Duration = Duration::from_secs(300);

/// CPU time per second below which a server counts as idle.
const IDLE_SHARE: f64 = 0.03;

/// The key of the TinyObs that asks for one.
const KEY: &str = "6f1c8a0d5b7e49328c1e7f60a2d4b59386e1f7c2d0a94b5e8f3c6d7a1b2e4f90";

/// Nobody is asked for anything.
const OPEN: [&str; 2] = ["--set=auth.mode=none", "--set=limits.address.requests_per_second=0"];

/// A key is asked for, and every limit that a write passes is counted; none is reached.
const GUARDED: [&str; 8] = [
    "--set=auth.mode=keys",
    "--set=limits.address.requests_per_second=1000000",
    "--set=limits.key.requests_per_second=1000000",
    "--set=limits.key.samples_per_second=1000000000",
    "--set=limits.tenant.requests_per_second=1000000",
    "--set=limits.tenant.samples_per_second=1000000000",
    "--set=limits.tenant.samples_per_day=1000000000000",
    "--set=limits.tenant.bytes_per_day=1000000000000",
];

/// A server that can be measured.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Kind {
    TinyObs,
    /// TinyObs as it is run for others: a key is asked for, and rates and quotas are counted but not reached.
    TinyObsKeys,
    VictoriaMetrics,
    Prometheus,
}

impl FromStr for Kind {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "tinyobs" => Ok(Self::TinyObs),
            "tinyobs-keys" => Ok(Self::TinyObsKeys),
            "victoria-metrics" => Ok(Self::VictoriaMetrics),
            "prometheus" => Ok(Self::Prometheus),
            _ => Err(format!(
                "'{text}' is none of tinyobs, tinyobs-keys, victoria-metrics, prometheus"
            )),
        }
    }
}

impl Kind {
    pub(crate) fn name(self) -> &'static str {
        match self {
            Self::TinyObs => "TinyObs",
            Self::TinyObsKeys => "TinyObs with keys",
            Self::VictoriaMetrics => "VictoriaMetrics",
            Self::Prometheus => "Prometheus",
        }
    }

    fn key(self) -> Option<&'static str> {
        (self == Self::TinyObsKeys).then_some(KEY)
    }

    pub(crate) fn write_path(self) -> &'static str {
        "/api/v1/write"
    }

    fn command(self, tinyobs: &Path, data: &Path, address: &str) -> Command {
        let data = data.display();
        let mut command = match self {
            Self::TinyObs | Self::TinyObsKeys => Command::new(tinyobs),
            Self::VictoriaMetrics => Command::new("victoria-metrics"),
            Self::Prometheus => Command::new("prometheus"),
        };
        match self {
            Self::TinyObs | Self::TinyObsKeys => command.args([
                "serve",
                &format!("--listen={address}"),
                &format!("--data-dir={data}"),
                "--set=collector.enabled=false",
                "--set=metrics.limits.series=10000000",
                "--set=metrics.limits.series_per_metric=10000000",
            ]),
            Self::VictoriaMetrics => command
                .args([format!("-httpListenAddr={address}"), format!("-storageDataPath={data}")]),
            Self::Prometheus => command.args([
                format!("--web.listen-address={address}"),
                format!("--storage.tsdb.path={data}"),
                format!("--config.file={data}/prometheus.yml"),
                "--web.enable-remote-write-receiver".to_owned(),
                "--query.timeout=5m".to_owned(),
            ]),
        };
        match self {
            Self::TinyObs => _ = command.args(OPEN),
            Self::TinyObsKeys => {
                command.env("TINYOBS_AUTH__BOOTSTRAP_ADMIN_KEY", KEY).args(GUARDED);
            }
            _ => {}
        }
        command
    }
}

/// What a process has cost so far.
#[derive(Clone, Copy, Debug)]
pub(crate) struct Usage {
    pub(crate) cpu: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) peak_bytes: u64,
}

/// A running server; ended with this guard.
#[derive(Debug)]
pub(crate) struct Peer {
    pub(crate) kind: Kind,
    pub(crate) address: String,
    child: Child,
    data: PathBuf,
}

impl Drop for Peer {
    fn drop(&mut self) {
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

impl Peer {
    /// Starts a server over an empty folder and waits until it answers.
    pub(crate) fn start(kind: Kind, tinyobs: &Path, folder: &Path) -> anyhow::Result<Self> {
        Self::start_with(kind, tinyobs, folder, &[])
    }

    /// As [`Peer::start`], with further arguments.
    pub(crate) fn start_with(
        kind: Kind,
        tinyobs: &Path,
        folder: &Path,
        arguments: &[String],
    ) -> anyhow::Result<Self> {
        let data = folder.join("data");
        std::fs::create_dir_all(&data).context("create the data folder")?;
        if kind == Kind::Prometheus {
            std::fs::write(data.join("prometheus.yml"), "").context("write a configuration")?;
        }
        let listener = TcpListener::bind("127.0.0.1:0").context("find a port")?;
        let address = listener.local_addr().context("read the port")?.to_string();
        drop(listener);
        let child = kind
            .command(tinyobs, &data, &address)
            .args(arguments)
            .stdout(Stdio::null())
            .stderr(Stdio::null())
            .spawn()
            .with_context(|| format!("start {}", kind.name()))?;
        let peer = Self { kind, address, child, data };
        let started = Instant::now();
        while peer.get("/api/v1/query?query=1").is_err() {
            if started.elapsed() > Duration::from_secs(60) {
                bail!("{} does not answer", kind.name());
            }
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(peer)
    }

    /// Opens a connection that shows the key, where one is asked for.
    pub(crate) fn connect(&self) -> anyhow::Result<Connection> {
        Connection::open(&self.address, self.kind.key())
    }

    /// Returns the `data` of the answer to a request of the Prometheus API.
    pub(crate) fn get(&self, path: &str) -> anyhow::Result<Value> {
        let (status, body) = self.connect()?.request("GET", path, "", &[])?;
        if status != 200 {
            bail!(
                "{} answers {status} to {path}: {}",
                self.kind.name(),
                String::from_utf8_lossy(&body)
            );
        }
        let answer: Value = serde_json::from_slice(&body).context("read the answer")?;
        Ok(answer["data"].clone())
    }

    /// Returns how many series have a sample at `end`, asking until the server shows them.
    pub(crate) fn count_samples(&self, end: Duration) -> anyhow::Result<u64> {
        let query = format!("/api/v1/query?query=count%28node_load1%29&time={}", end.as_secs());
        let started = Instant::now();
        loop {
            let data = self.get(&query)?;
            let count = data["result"][0]["value"][1].as_str().and_then(|text| text.parse().ok());
            match count {
                Some(count) => return Ok(count),
                None if started.elapsed() < Duration::from_secs(60) => {
                    std::thread::sleep(Duration::from_millis(500));
                }
                None => return Ok(0),
            }
        }
    }

    /// Reads what the process has cost.
    pub(crate) fn usage(&self) -> anyhow::Result<Usage> {
        let pid = self.child.id();
        let stat =
            std::fs::read_to_string(format!("/proc/{pid}/stat")).context("read its CPU time")?;
        let (_, fields) = stat.rsplit_once(')').context("fields of stat")?;
        let ticks: u64 = fields
            .split_ascii_whitespace()
            .skip(11)
            .take(2)
            .filter_map(|field| field.parse::<u64>().ok())
            .sum();
        let status =
            std::fs::read_to_string(format!("/proc/{pid}/status")).context("read its memory")?;
        let kib = |key: &str| {
            let line = status.lines().find_map(|line| line.strip_prefix(key))?;
            line.split_ascii_whitespace().next()?.parse::<u64>().ok()
        };
        Ok(Usage {
            // The kernel's interface counts in hundredths of a second.
            cpu: Duration::from_millis(ticks * 10),
            resident_bytes: kib("VmRSS:").context("resident memory")? * 1024,
            peak_bytes: kib("VmHWM:").context("peak memory")? * 1024,
        })
    }

    /// Returns where the data is.
    pub(crate) fn folder(&self) -> &Path {
        &self.data
    }

    /// Waits until the server has finished what the load left to do.
    pub(crate) fn settle(&self) -> anyhow::Result<Usage> {
        let started = Instant::now();
        loop {
            let before = self.usage()?;
            std::thread::sleep(IDLE);
            let after = self.usage()?;
            let share = (after.cpu - before.cpu).as_secs_f64() / IDLE.as_secs_f64();
            let settled = share < IDLE_SHARE && started.elapsed() >= SETTLE_MIN;
            if settled || started.elapsed() > SETTLE_MAX {
                return Ok(after);
            }
        }
    }

    /// Returns the allocated blocks of the data folder, in bytes.
    pub(crate) fn disk_bytes(&self) -> anyhow::Result<u64> {
        allocated(&self.data)
    }
}

fn allocated(path: &Path) -> anyhow::Result<u64> {
    use std::os::unix::fs::MetadataExt as _;
    let Ok(metadata) = std::fs::symlink_metadata(path) else { return Ok(0) };
    let mut bytes = metadata.blocks() * 512;
    if metadata.is_dir() {
        for entry in std::fs::read_dir(path).with_context(|| format!("list {}", path.display()))? {
            bytes += allocated(&entry.context("an entry")?.path())?;
        }
    }
    Ok(bytes)
}
