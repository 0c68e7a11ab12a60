//! `tinyobs serve`: starts the parts in order and stops them in reverse.
//!
//! Order: configuration, port, data folder, store, threads, tasks.
//! The first fatal error of any part, or a signal, ends all of them, within a time limit.

use std::io::Write as _;
use std::net::TcpListener;
use std::sync::Arc;
use std::time::Duration;

use access::Access;
use anyhow::{Context as _, anyhow};
use api::{LimitsInForce, ServeStats, Tls};
use ingest::Scraper;
use model::TenantId;
use platform::{
    Clock, Fs, FsStats, HttpClient, MeteredFs, Rng, SystemClock, SystemFs, SystemHttpClient,
    SystemRng, Tasks, Threads,
};
use pulls::Pulls;
use tokio::runtime::Runtime;
use tokio::signal::unix::{SignalKind, signal};
use tokio::sync::{mpsc, watch};
use tsdb::Store;

use crate::Failure;
use crate::cli::ServeArgs;
use crate::config::{AuthMode, Config, TlsMode};
use crate::disk::DiskCheck;
use crate::event_log::EventParts;
use crate::logging::Log;
use crate::reload::Reloader;
use crate::shutdown::Signals;
use crate::tenants::TenantStores;
use crate::traces::{Exporter, PropagatingHttpClient};
use crate::{
    certificates, disk, identity, logging, observe, pull_parts, reload, tenants, threads, traces,
    wiring,
};

/// The file that is locked while a program uses the data folder.
pub(crate) const LOCK_FILE: &str = "lock";

/// Runs `tinyobs serve …` until it is told to stop.
pub(crate) fn run(args: ServeArgs) -> Result<(), Failure> {
    let fs: Arc<dyn Fs> = SystemFs::new();
    let layers = args.clone().layers(fs.as_ref())?;
    let config = Config::load(layers, fs.as_ref()).map_err(|error| Failure::Usage(error.into()))?;
    let clock: Arc<dyn Clock> = SystemClock::new();
    let rng: Arc<dyn Rng> = SystemRng::new();
    let traces = traces::open(&config.traces, Arc::clone(&rng))?;
    let (layer, exporter) = traces.map(|traces| (traces.layer, traces.exporter)).unzip();
    let log = logging::init(&config.log, Arc::clone(&clock), layer)?;

    let listener = TcpListener::bind(config.server.listen)
        .with_context(|| format!("listen on {}", config.server.listen))?;
    let data = &config.data_dir;
    fs.create_dir_all(data).context("create the data folder")?;
    let _owner = fs.lock(&data.join(LOCK_FILE)).with_context(|| {
        format!("lock the data folder '{}', which one program at a time may use", data.display())
    })?;

    let (fatal, fatal_errors) = mpsc::channel(8);
    let mut reloader = Reloader::new(args, Arc::clone(&fs), &config);
    let changed = log.clone();
    reloader.on_change("log.level", move |config| changed.set_level(&config.log.level));
    let limits = LimitsInForce::from(config.limits.clone());
    let changed = limits.clone();
    reloader.on_change("limits.", move |config| {
        changed.replace(config.limits.clone());
        Ok(())
    });
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .enable_all()
        .thread_name("tinyobs")
        .build()
        .context("start the runtime")?;
    let doors = (fs, clock, rng);
    let parts = Parts::open(&config, &runtime, doors, (log, exporter), limits, fatal)?;
    let served = runtime.block_on(serve(&config, parts, reloader, listener, fatal_errors));
    // What still blocks after the shutdown's time limit is not waited for.
    runtime.shutdown_background();
    served
}

/// The parts that everything else stands on.
pub(crate) struct Parts {
    pub(crate) fs: Arc<dyn Fs>,
    /// What is done with the data folder.
    pub(crate) file_stats: Arc<FsStats>,
    pub(crate) log: Log,
    /// Sends traces away, if they are wanted; taken once.
    pub(crate) exporter: Option<Exporter>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    /// What encrypts connections, if anything does.
    pub(crate) tls: Option<Arc<Tls>>,
    /// What happens on the socket.
    pub(crate) serve_stats: Arc<ServeStats>,
    /// How much anybody may ask.
    pub(crate) limits: LimitsInForce,
    /// Whether the disk has room.
    pub(crate) disk: Arc<DiskCheck>,
    /// Who may come in, and what they use.
    pub(crate) access: Arc<Access>,
    pub(crate) tenants: Arc<TenantStores>,
    /// Where events go and come from.
    pub(crate) events: EventParts,
    /// The image pulls.
    pub(crate) pulls: Arc<Pulls>,
    /// The default tenant's store: what this machine says about itself goes there.
    pub(crate) store: Arc<Store>,
    /// Takes the reason why the program must end.
    pub(crate) fatal: mpsc::Sender<String>,
}

impl Parts {
    fn open(
        config: &Config,
        runtime: &Runtime,
        (fs, clock, rng): (Arc<dyn Fs>, Arc<dyn Clock>, Arc<dyn Rng>),
        (log, exporter): (Log, Option<Exporter>),
        limits: LimitsInForce,
        fatal: mpsc::Sender<String>,
    ) -> Result<Self, Failure> {
        let tls = certificates::open(config, &fs, &clock)?;
        tenants::adopt(fs.as_ref(), &config.data_dir)?;
        let metered = MeteredFs::new(Arc::clone(&fs), Arc::clone(&clock));
        let file_stats = metered.stats();
        let metered: Arc<dyn Fs> = metered;
        let tenants = TenantStores::new(
            (Arc::clone(&metered), Arc::clone(&clock), Arc::clone(&rng)),
            config.data_dir.clone(),
            config.metrics.clone(),
            fatal.clone(),
        );
        let database = identity::open_database(config, fs.as_ref(), Arc::clone(&clock));
        let database = runtime.block_on(database)?;
        let known =
            identity::open_access(config, database.clone(), Arc::clone(&clock), Arc::clone(&rng));
        let access = runtime.block_on(known)?;
        identity::open_stores(&access, &tenants);
        let store = tenants.open(&TenantId::default_tenant())?;
        let tenants = Arc::new(tenants);
        let doors = (metered, Arc::clone(&clock), Arc::clone(&rng));
        let events = EventParts::open(config, runtime, doors, database.clone())?;
        let pulls = pull_parts::open(&config.pulls, &clock, database, &events);
        let pulls = runtime.block_on(pulls)?;
        let disk = DiskCheck::new(Arc::clone(&fs), config.data_dir.clone());
        let serve_stats = Arc::default();
        Ok(Self {
            fs,
            file_stats,
            log,
            exporter,
            clock,
            rng,
            tls,
            serve_stats,
            disk,
            limits,
            access,
            tenants,
            events,
            pulls,
            store,
            fatal,
        })
    }
}

/// How a running program ends.
enum End {
    Signal(&'static str),
    Fatal(String),
}

async fn serve(
    config: &Config,
    mut parts: Parts,
    reloader: Reloader,
    listener: TcpListener,
    mut fatal_errors: mpsc::Receiver<String>,
) -> Result<(), Failure> {
    let mut signals = Signals::listen().context("listen for signals")?;
    let fatal = parts.fatal.clone();
    let (stop, stopped) = watch::channel(false);

    let mut threads = Threads::new();
    let stop_threads = threads::maintain(&mut threads, parts.tenants.stores(), &fatal)?;
    let stop_events = parts.events.start(&mut threads, &fatal)?;
    let (telemetry, observability) = observe::telemetry(config, &parts);
    let stop_collector = observe::start(config, &parts, telemetry, &mut threads, &fatal)?;
    let stop_series = observe::start_tenant_series(&parts, &mut threads, &fatal)?;

    // Goes on until everything else has ended: requests that are drained count, too.
    let mut last = Tasks::new();
    let (end_last, ended) = watch::channel(false);
    last.spawn("access", Arc::clone(&parts.access).run(ended.clone()));
    let is_tracing = parts.exporter.is_some();
    if let Some(exporter) = parts.exporter.take() {
        let http = SystemHttpClient::new().context("set up the HTTP client of traces")?;
        let exporting = exporter.run(Arc::new(http), Arc::clone(&parts.clock), ended);
        last.spawn("traces", exporting);
    }
    let mut tasks = Tasks::new();
    tasks.spawn("log", logging::summarize(parts.log.sampler(), stopped.clone()));
    let following = identity::follow_tenants(
        Arc::clone(&parts.access),
        Arc::clone(&parts.tenants),
        Arc::clone(&parts.clock),
        stopped.clone(),
    );
    tasks.spawn("tenants", following);
    tasks.spawn("schemas", Arc::clone(&parts.events.events.schemas).run(stopped.clone()));
    let (pulls, clock) = (Arc::clone(&parts.pulls), Arc::clone(&parts.clock));
    let keeping = pull_parts::keep_history(Arc::clone(&pulls), Arc::clone(&clock), stopped.clone());
    tasks.spawn("pull-history", keeping);
    tasks.spawn("pulls", pull_parts::keep_time(pulls, clock, stopped.clone()));
    for cluster in pull_parts::clusters(&config.pulls) {
        let doors = (Arc::clone(&parts.clock), Arc::clone(&parts.rng));
        let pulls = Arc::clone(&parts.pulls);
        let watching = pull_parts::watch_cluster(cluster, pulls, doors, stopped.clone());
        tasks.spawn("kubernetes", watching);
    }
    let (disk, clock) = (Arc::clone(&parts.disk), Arc::clone(&parts.clock));
    tasks.spawn("disk", disk::watch(disk, clock, stopped.clone()));
    if let Some(scraper) = scraper(config, &parts, is_tracing)? {
        tasks.spawn("scraper", scraper.run(stopped.clone()));
    }
    if let Some(tls) = &parts.tls {
        let hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
        let clock = Arc::clone(&parts.clock);
        let watching = certificates::watch(Arc::clone(tls), clock, hangup, stopped.clone());
        tasks.spawn("certificates", watching);
    }
    let reloader = Arc::new(reloader);
    let hangup = signal(SignalKind::hangup()).context("listen for SIGHUP")?;
    tasks.spawn("reload", reload::on_hangup(Arc::clone(&reloader), hangup, stopped.clone()));
    let http = wiring::Http { listener, configuration: reloader, observability };
    let address = wiring::start_http(config, &parts, http, stopped, &mut tasks, &fatal)?;
    announce(config, parts.tls.as_deref(), &address).context("say where to look")?;

    let end = tokio::select! {
        biased;
        signal = signals.next() => End::Signal(signal),
        Some(error) = fatal_errors.recv() => End::Fatal(error),
        Some(ended) = tasks.join_next() => End::Fatal(match ended {
            Ok(name) => format!("task '{name}' ended by itself"),
            Err(failure) => failure.to_string(),
        }),
    };
    match &end {
        End::Signal(signal) => tracing::info!(signal, "stopping"),
        End::Fatal(error) => tracing::error!(error, "stopping because a part failed"),
    }

    stop.send_replace(true);
    let limit = Duration::from_millis(config.server.shutdown_timeout_ms);
    let deadline = parts.clock.monotonic() + limit;
    let drained = async {
        while tasks.join_next().await.is_some() {}
        end_last.send_replace(true);
        // Reports that were drained count, too: what ended by them goes to the log while that is open.
        parts.pulls.flush().await;
        drop((stop_collector, stop_series, stop_events, stop_threads));
        let events_closed = parts.events.close(limit / 4).await;
        let tenants = parts.tenants;
        let closed = tokio::task::spawn_blocking(move || {
            // Maintenance first: it must not work on a closed store.
            threads.join()?;
            tenants.close()
        });
        // A state database or a receiver of traces that does not answer keeps no store open.
        while last.join_next().await.is_some() {}
        closed.await.map(|closed| closed.map(|()| events_closed))
    };
    let finished = tokio::select! {
        biased;
        signal = signals.next() => Err(anyhow!("second {signal}: ended at once")),
        joined = drained => match joined {
            Ok(Ok(events_closed)) => events_closed,
            Ok(Err(failures)) => {
                Err(failures.into_iter().next().map_or_else(|| anyhow!("a thread failed"), Into::into))
            }
            Err(error) => Err(error.into()),
        },
        () = parts.clock.sleep_until(deadline) => Err(anyhow!("shutdown took longer than {limit:?}")),
    };
    match (end, finished) {
        (End::Fatal(error), _) => Err(Failure::Operation(anyhow!("{error}"))),
        (End::Signal(_), finished) => finished.map_err(Failure::Operation),
    }
}

fn scraper(config: &Config, parts: &Parts, is_tracing: bool) -> Result<Option<Scraper>, Failure> {
    if config.scrape_configs.is_empty() {
        return Ok(None);
    }
    let http: Arc<dyn HttpClient> =
        Arc::new(SystemHttpClient::new().context("set up the HTTP client")?);
    let http = if is_tracing { Arc::new(PropagatingHttpClient::new(http)) } else { http };
    let scraper = Scraper::new(
        config.scrape_configs.clone(),
        &config.scrape,
        http,
        Arc::clone(&parts.fs),
        Arc::clone(&parts.clock),
        Arc::clone(&parts.store) as _,
    )
    .map_err(|error| Failure::Usage(error.into()))?;
    Ok(Some(scraper))
}

/// Says on standard output that the program is ready, and where to look.
fn announce(
    config: &Config,
    tls: Option<&Tls>,
    address: &std::net::SocketAddr,
) -> std::io::Result<()> {
    let mut out = std::io::stdout();
    if let (Some(tls), TlsMode::SelfSigned) = (tls, config.server.tls.mode) {
        writeln!(out, "The certificate is self-signed, SHA-256 {}", tls.status().fingerprint)?;
    }
    let scheme = if tls.is_some() { "https" } else { "http" };
    writeln!(out, "TinyObs is ready: {scheme}://{address}/")?;
    out.flush()?;
    match config.auth.mode {
        AuthMode::Local => {
            tracing::info!("no login: whoever is on this machine may read and write")
        }
        AuthMode::Keys => {}
        AuthMode::None if address.ip().is_loopback() => {}
        AuthMode::None => {
            tracing::warn!("no login: everybody who reaches this address may read and write");
        }
    }
    Ok(())
}
