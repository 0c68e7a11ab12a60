//! What the API is made of.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use access::Access;
use axum::extract::Request;
use events::{CustomSchemas, DeadLetters, EventLog, Gateway, Tails};
use model::TenantId;
use parking_lot::RwLock;
use platform::{Clock, Rng};
use promql::Engine;
use pulls::Pulls;
use tokio::sync::{Semaphore, watch};
use tsdb::Stores;

use crate::caller::Tenant;
use crate::configuration::Configuration;
use crate::cors::CrossOrigin;
use crate::failure::{Failure, Kind};
use crate::gate::Gate;
use crate::identity::{Identity, Known};
use crate::limits::{Admission, LimitsInForce};
use crate::observe::Observability;
use crate::page::Assets;
use crate::reference::Reference;
use crate::status::{Health, HealthCheck};

/// What the routes serve.
#[derive(Debug)]
pub struct ApiParts {
    /// The metrics of each tenant.
    pub stores: Stores,
    /// Where events go and come from.
    pub events: Events,
    /// The image pulls of all tenants.
    pub pulls: Arc<Pulls>,
    /// Who sends requests.
    pub identity: Identity,
    /// Which pages of other sites may send some.
    pub cross_origin: CrossOrigin,
    /// Evaluates queries.
    pub engine: Engine,
    /// The time.
    pub clock: Arc<dyn Clock>,
    /// Makes the nonces of the page's policy.
    pub rng: Arc<dyn Rng>,
    /// What belongs to the health of the program beside the stores.
    pub checks: Vec<Arc<dyn HealthCheck>>,
    /// How requests are counted, logged and traced.
    pub observability: Observability,
    /// Keys, people, tenants and the audit log.
    pub access: Arc<Access>,
    /// The configuration in force.
    pub configuration: Arc<dyn Configuration>,
    /// What is allowed.
    pub limits: ApiLimits,
    /// Whether there is no login because only this machine can ask. Then requests for host names that others may own
    /// are refused: a page from elsewhere can give its own name this machine's address and read everything.
    pub local_only: bool,
    /// Becomes true when the program stops: live connections end then.
    pub shutdown: watch::Receiver<bool>,
}

/// Where events go and come from. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Events {
    /// Takes them in.
    pub gateway: Arc<Gateway>,
    /// Keeps them.
    pub log: Arc<dyn EventLog>,
    /// Keeps what could not be processed.
    pub dead_letters: Arc<dyn DeadLetters>,
    /// What custom events have to fit.
    pub schemas: Arc<CustomSchemas>,
    /// What the log stands on: `embedded` or `nats`.
    pub engine: &'static str,
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
    /// Longest report of an agent, as sent and decompressed, in bytes.
    pub report_bytes_max: usize,
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
    /// How much anybody may ask.
    pub requests: LimitsInForce,
}

impl Default for ApiLimits {
    fn default() -> Self {
        Self {
            body_bytes_max: 5 << 20,
            write_body_bytes_max: 32 << 20,
            bodies_bytes_max: 256 << 20,
            report_bytes_max: 1 << 20,
            body_timeout: Duration::from_secs(30),
            writes_concurrent_max: 16,
            queries_concurrent_max: 8,
            queries_waiting_max: 64,
            query_timeout: Duration::from_secs(10),
            storage_bytes_max: 0,
            live_connections_max: 64,
            requests: LimitsInForce::default(),
        }
    }
}

/// The parts with what requests share.
#[derive(Debug)]
pub(crate) struct App {
    pub(crate) stores: Stores,
    pub(crate) events: Events,
    pub(crate) pulls: Arc<Pulls>,
    pub(crate) tails: Arc<Tails>,
    pub(crate) identity: Identity,
    pub(crate) cross_origin: CrossOrigin,
    pub(crate) engine: Engine,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) limits: ApiLimits,
    pub(crate) admission: Admission,
    pub(crate) shutdown: watch::Receiver<bool>,
    pub(crate) started: Duration,
    pub(crate) queries: Gate,
    pub(crate) writes: Arc<Semaphore>,
    /// One permit for each byte.
    pub(crate) bodies: Arc<Semaphore>,
    pub(crate) live: Arc<Semaphore>,
    pub(crate) assets: Assets,
    pub(crate) reference: Reference,
    pub(crate) checks: Vec<Arc<dyn HealthCheck>>,
    pub(crate) health: Health,
    pub(crate) observability: Observability,
    pub(crate) access: Arc<Access>,
    pub(crate) configuration: Arc<dyn Configuration>,
    /// Those that were asked for. Never held across an await.
    tenants: RwLock<BTreeMap<TenantId, Arc<Tenant>>>,
}

impl App {
    pub(crate) fn new(parts: ApiParts, assets: Assets, reference: Reference) -> Self {
        let ApiParts {
            stores,
            events,
            pulls,
            identity,
            cross_origin,
            engine,
            clock,
            rng,
            checks,
            observability,
            access,
            configuration,
            limits,
            local_only,
            shutdown,
        } = parts;
        Self {
            started: clock.monotonic(),
            admission: Admission::new(
                limits.requests.clone(),
                local_only,
                Arc::clone(access.meters()),
                rng.as_ref(),
            ),
            queries: Gate::new(limits.queries_concurrent_max, limits.queries_waiting_max),
            writes: Arc::new(Semaphore::new(limits.writes_concurrent_max)),
            bodies: Arc::new(Semaphore::new(limits.bodies_bytes_max.min(Semaphore::MAX_PERMITS))),
            live: Arc::new(Semaphore::new(limits.live_connections_max)),
            tenants: RwLock::default(),
            stores,
            tails: Tails::new(Arc::clone(&events.log)),
            events,
            pulls,
            identity,
            cross_origin,
            engine,
            clock,
            rng,
            limits,
            shutdown,
            assets,
            reference,
            checks,
            access,
            configuration,
            health: Health::default(),
            observability,
        }
    }

    /// Returns who sends a request.
    pub(crate) fn known(&self, request: &Request) -> Result<Known, Failure> {
        self.identity.of(request, self.admission.is_encrypted(request), self.clock.now())
    }

    /// Returns what requests of a tenant share, when this server has such a tenant.
    pub(crate) fn tenant(&self, id: &TenantId) -> Result<Arc<Tenant>, Failure> {
        if let Some(tenant) = self.tenants.read().get(id) {
            return Ok(Arc::clone(tenant));
        }
        let store =
            self.stores.get(id).ok_or_else(|| match self.access.directory().tenant(id) {
                // Senders throw away what is refused for good, and this is not.
                Some(_) => {
                    Failure::overloaded(format!("the data of tenant '{id}' is not open yet"))
                }
                None => unknown_tenant(id),
            })?;
        let usage = self.admission.usage(id, self.clock.now())?;
        let mut tenants = self.tenants.write();
        let tenant = tenants
            .entry(id.clone())
            .or_insert_with(|| Arc::new(Tenant::new(id.clone(), store, usage)));
        Ok(Arc::clone(tenant))
    }

    /// Returns the tenants whose storage is not asked for a while, ascending.
    pub(crate) fn open_breakers(&self) -> Vec<TenantId> {
        let now = self.clock.monotonic();
        let tenants = self.tenants.read();
        let open = tenants.values().filter(|tenant| tenant.breaker.is_open(now));
        open.map(|tenant| tenant.id.clone()).collect()
    }
}

pub(crate) fn unknown_tenant(id: &TenantId) -> Failure {
    Failure::new(Kind::TenantUnknown, format!("there is no tenant '{id}' here"))
}
