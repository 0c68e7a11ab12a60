//! Joins the HTTP API with the parts that it serves.

use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::time::Duration;

use access::{Oidc, Principal};
use anyhow::Context as _;
use api::{
    ApiLimits, ApiParts, HealthCheck, Identity, Observability, ServeLimits, Transport, Ways,
};
use platform::{Rng, SystemHttpClient, Tasks};
use promql::{Engine, EngineConfig};
use tokio::sync::{mpsc, watch};

use crate::Failure;
use crate::config::{AuthMode, Config};
use crate::event_log::EventsCheck;
use crate::identity::StateCheck;
use crate::reload::Reloader;
use crate::serve::Parts;

/// What only the HTTP API needs.
pub(crate) struct Http {
    pub(crate) listener: TcpListener,
    pub(crate) configuration: Arc<Reloader>,
    pub(crate) observability: Observability,
}

/// Starts serving and returns the address.
///
/// # Errors
///
/// The port cannot be used within the runtime.
pub(crate) fn start_http(
    config: &Config,
    parts: &Parts,
    http: Http,
    stopped: watch::Receiver<bool>,
    tasks: &mut Tasks,
    fatal: &mpsc::Sender<String>,
) -> Result<SocketAddr, Failure> {
    let Http { listener, configuration, observability } = http;
    let address = listener.local_addr().context("read the address")?;
    listener.set_nonblocking(true).context("prepare the port")?;
    let listener =
        tokio::net::TcpListener::from_std(listener).context("hand the port to the runtime")?;
    let router = api::router(ApiParts {
        stores: parts.tenants.stores().clone(),
        events: parts.events.events.clone(),
        pulls: Arc::clone(&parts.pulls),
        identity: identity(config, parts)?,
        cross_origin: config.http.cross_origin.clone(),
        access: Arc::clone(&parts.access),
        engine: engine(config),
        clock: Arc::clone(&parts.clock),
        rng: Arc::clone(&parts.rng) as Arc<dyn Rng>,
        checks: checks(parts),
        observability,
        configuration,
        limits: limits(config, parts),
        local_only: config.auth.mode == AuthMode::Local,
        shutdown: stopped.clone(),
    });
    // Half of the time limit of the whole shutdown: threads and journal need the rest.
    let drain_timeout = Duration::from_millis(config.server.shutdown_timeout_ms / 2);
    let serve_limits = ServeLimits {
        connections_max: config.http.connections_max,
        connections_per_address_max: config.http.connections_per_address_max,
        drain_timeout,
        ..ServeLimits::default()
    };
    let transport = Transport {
        limits: serve_limits,
        clock: Arc::clone(&parts.clock),
        stats: Arc::clone(&parts.serve_stats),
        tls: parts.tls.clone(),
    };
    let serving = api::serve(listener, router, transport, stopped);
    let fatal = fatal.clone();
    tasks.spawn("http", async move {
        if let Err(error) = serving.await {
            // A full queue already holds a reason to stop.
            drop(fatal.try_send(format!("serve HTTP: {error}")));
        }
    });
    Ok(address)
}

/// Returns how it is known who sends a request.
fn identity(config: &Config, parts: &Parts) -> Result<Identity, Failure> {
    if config.auth.mode != AuthMode::Keys {
        return Ok(Identity::Open(Arc::new(Principal::anonymous())));
    }
    let oidc = match &config.auth.oidc {
        None => None,
        Some(oidc) => {
            let http = SystemHttpClient::new().context("set up the HTTP client")?;
            let clock = Arc::clone(&parts.clock);
            let rng = Arc::clone(&parts.rng);
            Some(Arc::new(Oidc::new(oidc.clone(), Arc::new(http), clock, rng)))
        }
    };
    Ok(Identity::Keys(Ways { access: Arc::clone(&parts.access), oidc }))
}

fn checks(parts: &Parts) -> Vec<Arc<dyn HealthCheck>> {
    let mut checks: Vec<Arc<dyn HealthCheck>> = vec![
        Arc::new(StateCheck(Arc::clone(&parts.access))),
        Arc::clone(&parts.disk) as _,
        Arc::new(EventsCheck(parts.events.events.clone())),
    ];
    checks.extend(parts.tls.iter().map(|tls| Arc::clone(tls) as Arc<dyn HealthCheck>));
    checks
}

fn engine(config: &Config) -> Engine {
    Engine::new(EngineConfig {
        lookback_ms: config.query.lookback_ms,
        samples_max: config.query.samples_max,
        points_per_series_max: config.query.points_per_series_max,
        ..EngineConfig::default()
    })
}

fn limits(config: &Config, parts: &Parts) -> ApiLimits {
    let defaults = ApiLimits::default();
    let longest = config.http.write_body_bytes_max.max(config.http.body_bytes_max);
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    ApiLimits {
        body_bytes_max: config.http.body_bytes_max,
        write_body_bytes_max: config.http.write_body_bytes_max,
        // A few of the longest bodies always have room.
        bodies_bytes_max: defaults.bodies_bytes_max.max(longest.saturating_mul(4)),
        report_bytes_max: config.pulls.limits.report_bytes_max,
        query_timeout: Duration::from_millis(config.query.timeout_ms),
        queries_concurrent_max: match config.query.concurrency {
            0 => cores,
            concurrency => concurrency,
        },
        storage_bytes_max: config.storage_bytes_max,
        requests: parts.limits.clone(),
        ..defaults
    }
}
