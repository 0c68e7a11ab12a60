//! What the API is made of.

use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use platform::{Clock, Rng};
use promql::Engine;
use tokio::sync::{Semaphore, watch};
use tsdb::{Store, StoreStats};

use crate::gate::Gate;
use crate::live::Snapshot;
use crate::page::Assets;

/// What the routes serve.
#[derive(Debug)]
pub struct ApiParts {
    /// The metrics.
    pub store: Arc<Store>,
    /// Evaluates queries.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes the nonces of the page's policy.
    pub rng: Arc<dyn Rng>,
    /// What is allowed.
    pub limits: ApiLimits,
    /// Whether there is no login because only this machine can ask. Then requests for host names that others may own
    /// are refused: a page from elsewhere can give its own name this machine's address and read everything.
    pub local_only: bool,
    /// Becomes true when the program stops: live connections end then.
    pub shutdown: watch::Receiver<bool>,
}

/// What the routes allow.
#[derive(Clone, Debug)]
pub struct ApiLimits {
    /// Longest body of a request, as sent and decompressed, in bytes.
    pub body_bytes_max: usize,
    /// Longest body of a write, as sent and decompressed, in bytes.
    pub write_body_bytes_max: usize,
    /// Most bytes that the bodies of all requests may take together, until they were worked on.
    pub bodies_bytes_max: usize,
    /// How long a body may take to arrive, and then a write for its turn.
    pub body_timeout: Duration,
    /// Most writes that are worked on at a time; further ones wait.
    pub writes_concurrent_max: usize,
    /// Most queries that run at a time.
    pub queries_concurrent_max: usize,
    /// Most queries that wait for others to end; further ones are told to come again.
    pub queries_waiting_max: usize,
    /// How long a query may wait and run together. A request may ask for less.
    pub query_timeout: Duration,
    /// Most bytes on disk at which `/v1/ingest` still accepts samples; 0 for no limit.
    pub storage_bytes_max: u64,
    /// Most live connections.
    pub live_connections_max: usize,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 5 << 20,
            write_body_bytes_max: 32 << 20,
            bodies_bytes_max: 256 << 20,
            body_timeout: Duration::from_secs(30),
            writes_concurrent_max: 16,
            queries_concurrent_max: 8,
            queries_waiting_max: 64,
            query_timeout: Duration::from_secs(10),
            storage_bytes_max: 0,
            live_connections_max: 64,
        }
    }
}

/// How long sizes on disk are remembered: measuring them walks the data folder.
const STATS_KEPT: Duration = Duration::from_secs(10);

/// The parts with what requests share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) store: Arc<Store>,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) limits: ApiLimits,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) started: Duration,
    pub(crate) queries: Gate,
    pub(crate) writes: Arc<Semaphore>,
    /// One permit for each byte.
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) live: Arc<Semaphore>,
    pub(crate) snapshot: Snapshot,
    pub(crate) assets: Assets,
    /// Held while the folder is walked, so that it is walked once. Never held across an await.
    stats: Mutex<Option<(Duration, u64)>>,
}

impl App {
    pub(crate) fn new(parts: ApiParts, assets: Assets) -> Self {
        let ApiParts { store, engine, clock, rng, limits, local_only: _, shutdown } = parts;
        Self {
            started: clock.monotonic(),
            queries: Gate::new(limits.queries_concurrent_max, limits.queries_waiting_max),
            writes: Arc::new(Semaphore::new(limits.writes_concurrent_max)),
            bodies: Arc::new(Semaphore::new(limits.bodies_bytes_max.min(Semaphore::MAX_PERMITS))),
            live: Arc::new(Semaphore::new(limits.live_connections_max)),
            snapshot: Snapshot::default(),
            stats: Mutex::new(None),
            store,
            engine,
            clock,
            rng,
            limits,
            shutdown,
            assets,
        }
    }

    /// Returns the bytes on disk as they were at most ten seconds ago. Blocking.
    pub(crate) fn bytes_on_disk(&self) -> u64 {
        let now = self.clock.monotonic();
        let mut stats = self.stats.lock();
        match *stats {
            Some((at, bytes)) if now.saturating_sub(at) < STATS_KEPT => bytes,
            _ => {
                let StoreStats { bytes_on_disk, .. } = self.store.stats();
                *stats = Some((now, bytes_on_disk));
                bytes_on_disk
            }
        }
    }
}
