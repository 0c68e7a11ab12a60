//! The followers: clients of the stream of updates, most of them of one node each.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context as _, ensure};
use parking_lot::Mutex;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpSocket;
use tokio::task::JoinSet;

use super::agents::Fleet;

/// What a slow follower reads at a time, and how long it waits then: less than what arrives for it.
const SLOW_BYTES: usize = 512;
const SLOW_PAUSE: Duration = Duration::from_millis(250);

/// A pull: agent, place and cycle.
type Pull = (usize, usize, usize);

/// Times from a report to a follower, in milliseconds.
#[derive(Debug, Default)]
pub(super) struct Latencies(Vec<f64>);

impl Latencies {
    /// Returns the value that so large a part of all is below.
    pub(super) fn quantile(&self, part: f64) -> f64 {
        let mut sorted = self.0.clone();
        sorted.sort_by(f64::total_cmp);
        let last = sorted.len().saturating_sub(1) as f64;
        sorted.get((last * part).round() as usize).copied().unwrap_or(f64::NAN)
    }
}

/// What the followers saw.
#[derive(Debug, Default)]
pub(super) struct Seen {
    pub(super) progress: Latencies,
    pub(super) finals: Latencies,
    /// Final states that were reported while their followers were connected.
    pub(super) expected: u64,
    pub(super) missed: u64,
}

/// Followers that are connected.
pub(super) struct Followers {
    tasks: JoinSet<anyhow::Result<()>>,
    shared: Arc<Shared>,
    /// Which agent each follows; `None` for all.
    follows: Vec<Option<usize>>,
}

struct Shared {
    fleet: Arc<Fleet>,
    measuring: AtomicBool,
    ending: AtomicBool,
    since: Mutex<Option<Instant>>,
    until: Mutex<Option<Instant>>,
    latencies: Mutex<(Latencies, Latencies)>,
    /// The ends that each follower saw.
    ended: Vec<Mutex<BTreeSet<Pull>>>,
    /// The bytes of each pull that each follower saw last: what only tells of another rate is as old as they are.
    bytes: Vec<Mutex<BTreeMap<Pull, u64>>>,
}

impl Followers {
    /// Connects all: those of one node, the first of them slow, and those of everything.
    pub(super) async fn start(
        fleet: &Arc<Fleet>,
        (one, slow, everything): (usize, usize, usize),
    ) -> anyhow::Result<Self> {
        let agents = fleet.agents();
        let follows: Vec<Option<usize>> = (0..one)
            .map(|number| Some(number * agents / one.max(1)))
            .chain(std::iter::repeat_n(None, everything))
            .collect();
        let shared = Arc::new(Shared {
            fleet: Arc::clone(fleet),
            measuring: AtomicBool::new(false),
            ending: AtomicBool::new(false),
            since: Mutex::default(),
            until: Mutex::default(),
            latencies: Mutex::default(),
            ended: follows.iter().map(|_| Mutex::default()).collect(),
            bytes: follows.iter().map(|_| Mutex::default()).collect(),
        });
        let mut tasks = JoinSet::new();
        for (number, agent) in follows.iter().copied().enumerate() {
            let shared = Arc::clone(&shared);
            tasks.spawn(async move { shared.follow(number, agent, number < slow).await });
        }
        Ok(Self { tasks, shared, follows })
    }

    /// Begins to count.
    pub(super) fn measure(&self) {
        *self.shared.since.lock() = Some(Instant::now());
        self.shared.measuring.store(true, Ordering::Relaxed);
    }

    /// Waits until every final state has arrived, or the limit has passed, and returns what was seen.
    pub(super) async fn end(mut self, fleet: &Fleet, limit: Duration) -> anyhow::Result<Seen> {
        self.shared.measuring.store(false, Ordering::Relaxed);
        let until = Instant::now();
        let since = self.shared.since.lock().context("a beginning")?;
        // From now on slow ones read as fast as they can.
        *self.shared.until.lock() = Some(until);
        let expected: Vec<Vec<Pull>> =
            self.follows.iter().map(|agent| expected(fleet, *agent, since, until)).collect();
        let missing = |shared: &Shared| -> u64 {
            let pairs = expected.iter().zip(&shared.ended);
            pairs
                .map(|(expected, seen)| {
                    let seen = seen.lock();
                    expected.iter().filter(|pull| !seen.contains(*pull)).count() as u64
                })
                .sum()
        };
        while missing(&self.shared) > 0 && until.elapsed() < limit {
            tokio::time::sleep(Duration::from_millis(200)).await;
        }
        let missed = missing(&self.shared);
        self.shared.ending.store(true, Ordering::Relaxed);
        self.tasks.abort_all();
        while let Some(ended) = self.tasks.join_next().await {
            if let Ok(ended) = ended {
                ended?;
            }
        }
        let (progress, finals) = std::mem::take(&mut *self.shared.latencies.lock());
        let expected = expected.iter().map(|pulls| pulls.len() as u64).sum();
        Ok(Seen { progress, finals, expected, missed })
    }
}

/// Returns the pulls whose end was reported in the time, of one agent or of all.
fn expected(fleet: &Fleet, agent: Option<usize>, since: Instant, until: Instant) -> Vec<Pull> {
    let agents = agent.map_or(0..fleet.agents(), |agent| agent..agent + 1);
    let places = agents.flat_map(|agent| (0..fleet.places()).map(move |place| (agent, place)));
    let pulls = places
        .flat_map(|(agent, place)| (0..fleet.cycles_max()).map(move |cycle| (agent, place, cycle)));
    pulls.filter(|pull| fleet.ended_within(*pull, since, until)).collect()
}

impl Shared {
    async fn follow(&self, number: usize, agent: Option<usize>, slow: bool) -> anyhow::Result<()> {
        let socket = TcpSocket::new_v4().context("make a socket")?;
        if slow {
            socket.set_recv_buffer_size(4_096).context("set a small buffer")?;
        }
        let address = self.fleet.address.parse().context("the server's address")?;
        let mut stream = socket.connect(address).await.context("connect a follower")?;
        let filter = agent.map(|agent| format!("?node=node-{agent}")).unwrap_or_default();
        let request = format!("GET /api/v1/events{filter} HTTP/1.1\r\nHost: bench\r\n\r\n");
        stream.write_all(request.as_bytes()).await.context("ask to follow")?;
        let mut bytes = Vec::new();
        loop {
            let is_slow = slow && self.until.lock().is_none();
            let most = if is_slow { SLOW_BYTES } else { 64 << 10 };
            let start = bytes.len();
            bytes.resize(start + most, 0);
            let read = stream.read(&mut bytes[start..]).await.context("read updates")?;
            bytes.truncate(start + read);
            if read == 0 {
                ensure!(self.ending.load(Ordering::Relaxed), "the server let a follower go");
                return Ok(());
            }
            let arrived = Instant::now();
            let mut behind = 0;
            while let Some(end) = find(&bytes[behind..], b"\n\n") {
                self.take(number, slow, &bytes[behind..behind + end], arrived);
                behind += end + 2;
            }
            bytes.drain(..behind);
            if is_slow {
                tokio::time::sleep(SLOW_PAUSE).await;
            }
        }
    }

    /// Takes one message; its first line may stand behind the size of a chunk.
    fn take(&self, number: usize, slow: bool, message: &[u8], arrived: Instant) {
        let Some(image) = text_behind(message, br#""imageRef":"registry.example/team/app-"#) else {
            return;
        };
        let mut parts = image.trim_end_matches(":1").splitn(3, '-').map(str::parse::<usize>);
        let (Some(Ok(agent)), Some(Ok(place)), Some(Ok(cycle))) =
            (parts.next(), parts.next(), parts.next())
        else {
            return;
        };
        let is_final = find(message, br#""type":"pull.completed""#).is_some()
            || find(message, br#""completedAt":"#).is_some_and(|at| {
                // Of the pull itself, not of a layer: those stand behind it.
                find(message, br#""layers":["#).is_none_or(|layers| at < layers)
            });
        if is_final {
            self.ended[number].lock().insert((agent, place, cycle));
        }
        if slow || !self.measuring.load(Ordering::Relaxed) {
            return;
        }
        let Some(downloaded) = number_behind(message, br#""downloadedBytes":"#) else { return };
        let before = self.bytes[number].lock().insert((agent, place, cycle), downloaded);
        if before == Some(downloaded) {
            return;
        }
        let Some(sent) = self.fleet.sent_at(agent, place, cycle, downloaded) else { return };
        let latency = arrived.saturating_duration_since(sent).as_secs_f64() * 1e3;
        let mut latencies = self.latencies.lock();
        let (progress, finals) = &mut *latencies;
        if is_final { finals.0.push(latency) } else { progress.0.push(latency) }
    }
}

fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    let first = *wanted.first()?;
    let mut from = 0;
    while let Some(at) = bytes[from..].iter().position(|byte| *byte == first) {
        if bytes[from + at..].starts_with(wanted) {
            return Some(from + at);
        }
        from += at + 1;
    }
    None
}

fn text_behind<'a>(message: &'a [u8], name: &[u8]) -> Option<&'a str> {
    let rest = &message[find(message, name)? + name.len()..];
    std::str::from_utf8(rest.split(|byte| *byte == b'"').next()?).ok()
}

fn number_behind(message: &[u8], name: &[u8]) -> Option<u64> {
    let rest = &message[find(message, name)? + name.len()..];
    let digits = rest.iter().take_while(|byte| byte.is_ascii_digit()).count();
    std::str::from_utf8(&rest[..digits]).ok()?.parse().ok()
}
