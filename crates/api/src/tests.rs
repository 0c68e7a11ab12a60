//! The routes against a real store on a simulated disk.

mod admin;
mod bad;
mod cross_origin;
mod dead_letters;
mod doors;
mod image_pulls;
mod intake;
mod limits;
mod live;
mod observe;
mod page;
mod reads;
mod sessions;
mod socket;
mod tail;
mod tls;
mod transport;
mod writes;

use std::borrow::Cow;
use std::net::SocketAddr;
use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use access::{Access, AccessSettings, CertificateRule, Grant, Meters, Principal, Role};
use axum::Router;
use axum::body::Body;
use events::{
    CustomSchemas, DeadLetters, DeadLettersConfig, EmbeddedConfig, EmbeddedDeadLetters,
    EmbeddedLog, Gateway, GatewaySettings,
};
use http::{HeaderMap, Request, StatusCode};
use http_body_util::BodyExt as _;
use model::{TenantId, Timestamp};
use platform::{Clock, Fs, SimClock, SimFs, SimRng, SystemFs, SystemRng, Threads};
use promql::{Engine, EngineConfig};
use pulls::{NoSink, Pulls, PullsParts, PullsSettings};
use state::{Database, StateUrl};
use tokio::sync::watch;
use tower::ServiceExt as _;
use tsdb::{Store, StoreConfig, Stores};

use crate::routes::router_with;
use crate::{
    ApiLimits, ApiParts, ApiStats, Configuration, ConnectionInfo, CpuProfile, CrossOrigin, Events,
    Exposition, Identity, MemoryReport, Observability, ProfileError, Profiler, Reloaded,
    SettingInForce, ThreadReport,
};

/// 2024-11-19T07:06:40Z.
const NOW_MS: i64 = 1_732_000_000_000;

/// What the program would say about itself.
#[derive(Debug)]
struct FixedPage;

impl Exposition for FixedPage {
    fn open_metrics(&self) -> Arc<str> {
        "up 1\n# EOF\n".into()
    }

    fn plain(&self) -> String {
        "up 1\n".to_owned()
    }
}

/// A program that does little.
#[derive(Debug)]
struct FixedProfiler;

impl Profiler for FixedProfiler {
    fn watch(&self) -> Result<Box<dyn CpuProfile>, ProfileError> {
        Err(ProfileError::Busy)
    }

    fn memory(&self) -> Result<MemoryReport, ProfileError> {
        Ok(MemoryReport { resident_bytes: 4096, ..MemoryReport::default() })
    }

    fn threads(&self) -> Result<Vec<ThreadReport>, ProfileError> {
        Ok(Vec::new())
    }
}

/// A server without a socket.
struct Server {
    router: Router,
    store: Arc<Store>,
    stores: Stores,
    events: Events,
    pulls: Arc<Pulls>,
    log: Arc<EmbeddedLog>,
    meters: Arc<Meters>,
    access: Arc<Access>,
    stats: Arc<ApiStats>,
    clock: Arc<SimClock>,
    fs: Arc<SimFs>,
    stop: watch::Sender<bool>,
    threads: Option<Threads>,
    /// Holds the state database.
    _state: tempfile::TempDir,
}

impl Server {
    async fn new() -> Self {
        Self::with(ApiLimits::default(), StoreConfig::default()).await
    }

    async fn with(limits: ApiLimits, config: StoreConfig) -> Self {
        Self::known_by(limits, config, |_, _| Identity::Open(Arc::new(Principal::anonymous())))
            .await
    }

    /// Starts a server that knows its callers as `identity` says.
    async fn known_by(
        limits: ApiLimits,
        config: StoreConfig,
        identity: impl FnOnce(&Arc<Access>, &Arc<SimClock>) -> Identity,
    ) -> Self {
        Self::opened_to(CrossOrigin::default(), limits, config, identity).await
    }

    /// Starts a server that takes requests from pages of other sites, too.
    async fn opened_to(
        cross_origin: CrossOrigin,
        limits: ApiLimits,
        config: StoreConfig,
        identity: impl FnOnce(&Arc<Access>, &Arc<SimClock>) -> Identity,
    ) -> Self {
        let fs = SimFs::new();
        let clock = SimClock::new(Timestamp::from_millis(NOW_MS));
        let (store, _) = Store::open(
            Arc::clone(&fs) as _,
            Arc::new(Arc::clone(&clock)),
            SimRng::new(1),
            Path::new("data"),
            config,
        )
        .expect("an empty disk");
        let stores = Stores::new();
        stores.add(TenantId::default_tenant(), Arc::clone(&store));
        let (stop, shutdown) = watch::channel(false);
        let state = tempfile::tempdir().expect("a folder");
        let access = access_in(state.path(), &clock).await;
        let (log, events) = events_in(&fs, state.path(), &clock).await;
        let pulls = pulls_in(state.path(), &clock).await;
        let identity = identity(&access, &clock);
        let meters = Arc::clone(access.meters());
        let stats = Arc::new(ApiStats::new());
        let router = router_with(
            ApiParts {
                stores: stores.clone(),
                events: events.clone(),
                pulls: Arc::clone(&pulls),
                local_only: matches!(identity, Identity::Open(_)),
                identity,
                cross_origin,
                access: Arc::clone(&access),
                engine: Engine::new(EngineConfig::default()),
                clock: Arc::new(Arc::clone(&clock)) as Arc<dyn Clock>,
                rng: SimRng::new(2),
                checks: Vec::new(),
                observability: Observability {
                    stats: Arc::clone(&stats),
                    exposition: Arc::new(FixedPage),
                    profiler: Arc::new(FixedProfiler),
                    metrics_public: false,
                    traces: None,
                    slow_request: Duration::from_secs(10),
                },
                configuration: Arc::new(NoConfiguration),
                limits,
                shutdown,
            },
            assets,
        );
        let mut threads = Threads::new();
        let committed = Arc::clone(&store);
        threads
            .spawn(
                "commit",
                move || {
                    while committed.wait_for_pending() {
                        // A refused commit shows in the answers.
                        drop(committed.commit());
                    }
                },
                |_| {},
            )
            .expect("a thread");
        let committed = Arc::clone(&log);
        let commit_events = move || {
            while committed.wait_for_pending() {
                drop(committed.commit_pending());
            }
        };
        threads.spawn("events", commit_events, |_| {}).expect("a thread");
        let threads = Some(threads);
        Self {
            router,
            store,
            stores,
            events,
            pulls,
            log,
            access,
            stats,
            meters,
            clock,
            fs,
            stop,
            threads,
            _state: state,
        }
    }

    /// Opens the store of another tenant. What it takes in is not committed.
    fn open_tenant(&self, name: &str) {
        let (store, _) = Store::open(
            Arc::clone(&self.fs) as _,
            Arc::new(Arc::clone(&self.clock)),
            SimRng::new(3),
            &Path::new("tenants").join(name),
            StoreConfig::default(),
        )
        .expect("an empty folder");
        self.stores.add(TenantId::new(name).expect("a name"), store);
    }

    /// Removes what the log of events need not keep.
    fn cut_log(&self) {
        self.log.maintain().expect("maintained");
    }

    /// Sends a request and returns how the answer begins.
    async fn ask(&self, mut request: Request<Body>) -> (StatusCode, HeaderMap) {
        if request.extensions().get::<ConnectionInfo>().is_none() {
            request.extensions_mut().insert(connection_from("127.0.0.1"));
        }
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        (response.status(), response.headers().clone())
    }

    async fn send(&self, mut request: Request<Body>) -> (StatusCode, HeaderMap, Vec<u8>) {
        if request.extensions().get::<ConnectionInfo>().is_none() {
            request.extensions_mut().insert(connection_from("127.0.0.1"));
        }
        let response = self.router.clone().oneshot(request).await.expect("infallible");
        let (parts, body) = response.into_parts();
        let body = body.collect().await.expect("a body in memory").to_bytes();
        (parts.status, parts.headers, body.to_vec())
    }

    /// Sends a request and compares the whole answer.
    async fn check(&self, request: Request<Body>, status: u16, expected: &str) {
        let what = format!("{} {}", request.method(), request.uri());
        let (found, _, body) = self.send(request).await;
        assert_eq!(
            (found.as_u16(), String::from_utf8_lossy(&body)),
            (status, expected.into()),
            "{what}"
        );
    }

    /// Sends a request and looks for a part of the answer.
    async fn check_contains(&self, request: Request<Body>, status: u16, expected: &str) {
        let what = format!("{} {}", request.method(), request.uri());
        let (found, _, body) = self.send(request).await;
        let body = String::from_utf8_lossy(&body).into_owned();
        assert!(found.as_u16() == status && body.contains(expected), "{what}: {found} {body}");
    }

    /// Stores samples with `/v1/ingest`.
    async fn ingest(&self, metrics: &str) {
        let body = format!(r#"{{"metrics":[{metrics}]}}"#);
        let (status, _, answer) = self.send(post("/v1/ingest", &body)).await;
        assert_eq!(status, StatusCode::OK, "{}", String::from_utf8_lossy(&answer));
    }

    /// Stores one sample at a time in seconds.
    async fn ingest_at(&self, name: &str, value: f64, seconds: i64) {
        let time = crate::time::format_rfc3339(Timestamp::from_millis(seconds * 1000));
        self.ingest(&format!(r#"{{"name":"{name}","value":{value},"timestamp":"{time}"}}"#)).await;
    }
}

/// A key that opens everything.
const ROOT_KEY: &str = "00112233445566778899aabbccddeeff00112233445566778899aabbccddee00";

/// What agents have that know no keys.
const AGENT_TOKEN: &str = "the-token-of-Pulltrace";

async fn database_in(folder: &Path, clock: &Arc<dyn Clock>) -> Database {
    let url = StateUrl::Sqlite { path: folder.join("state.sqlite") };
    let fs = SystemFs::new();
    Database::open(url, fs.as_ref(), Arc::clone(clock)).await.expect("a database")
}

async fn access_in(folder: &Path, clock: &Arc<SimClock>) -> Arc<Access> {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let database = database_in(folder, &clock).await;
    let settings = AccessSettings {
        bootstrap_key: Some(ROOT_KEY.to_owned().into()),
        agent_tokens: vec![AGENT_TOKEN.into()],
        certificates: vec![CertificateRule {
            name: "node-*".to_owned(),
            grant: Grant {
                role: Role::Agent,
                tenant: TenantId::default_tenant(),
                all_tenants: false,
            },
        }],
        tenants_max: 8,
        keys_per_tenant_max: 8,
        ..AccessSettings::default()
    };
    // Real randomness: identifiers and keys of two servers must not be the same.
    Access::open(database, clock, SystemRng::new(), settings).await.expect("a fresh database")
}

async fn events_in(
    fs: &Arc<SimFs>,
    folder: &Path,
    clock: &Arc<SimClock>,
) -> (Arc<EmbeddedLog>, Events) {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let disk = || Arc::clone(fs) as Arc<dyn Fs>;
    // Small and short, so that a test can see it end.
    let config = EmbeddedConfig {
        segment_bytes_max: 256 << 10,
        retention: Some(Duration::from_hours(1)),
        ..EmbeddedConfig::default()
    };
    let (log, _) = EmbeddedLog::open(disk(), Path::new("events"), Arc::clone(&clock), config)
        .expect("an empty disk");
    let log = Arc::new(log);
    let (dead_letters, _) = EmbeddedDeadLetters::open(
        disk(),
        Path::new("events/dead-letters"),
        Arc::clone(&clock),
        DeadLettersConfig::default(),
    )
    .expect("an empty disk");
    let dead_letters: Arc<dyn DeadLetters> = Arc::new(dead_letters);
    let database = database_in(folder, &clock).await;
    let schemas = CustomSchemas::open(database, Arc::clone(&clock)).await.expect("none");
    let gateway = Arc::new(Gateway::new(
        Arc::clone(&log) as _,
        Arc::clone(&dead_letters),
        Arc::clone(&schemas),
        clock,
        SimRng::new(4),
        GatewaySettings::default(),
    ));
    (Arc::clone(&log), Events { gateway, log, dead_letters, schemas, engine: "embedded" })
}

async fn pulls_in(folder: &Path, clock: &Arc<SimClock>) -> Arc<Pulls> {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let database = database_in(folder, &clock).await;
    // So few that a test can take the last place.
    let settings = PullsSettings { subscribers_max: 8, ..PullsSettings::default() };
    let parts = PullsParts { clock, database, settings, sink: Arc::new(NoSink) };
    Pulls::open(parts).await.expect("a fresh database")
}

/// A configuration without keys that cannot be read again.
#[derive(Debug)]
struct NoConfiguration;

impl Configuration for NoConfiguration {
    fn in_force(&self) -> Vec<SettingInForce> {
        Vec::new()
    }

    fn reload(&self) -> Result<Reloaded, String> {
        Ok(Reloaded::default())
    }
}

impl Drop for Server {
    fn drop(&mut self) {
        self.store.close();
        self.log.close();
        if let Some(threads) = self.threads.take() {
            drop(threads.join());
        }
    }
}

fn assets(path: &str) -> Option<Cow<'static, [u8]>> {
    match path {
        "index.html" => Some(b"<!doctype html><meta nonce=\"__CSP_NONCE__\">".into()),
        "assets/app-1a2b.js" => Some(b"export {}".into()),
        "icon.svg" => Some(b"<svg/>".into()),
        _ => None,
    }
}

fn connection_from(address: &str) -> ConnectionInfo {
    let peer = SocketAddr::new(address.parse().expect("an address"), 40_000);
    ConnectionInfo { peer, tls: false, certificate: None }
}

fn get(uri: &str) -> Request<Body> {
    Request::get(uri).body(Body::empty()).expect("a request")
}

fn post(uri: &str, body: &str) -> Request<Body> {
    Request::post(uri).body(Body::from(body.to_owned())).expect("a request")
}

fn form(uri: &str, body: &str) -> Request<Body> {
    Request::post(uri)
        .header("content-type", "application/x-www-form-urlencoded")
        .body(Body::from(body.to_owned()))
        .expect("a request")
}
