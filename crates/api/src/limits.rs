//! How much anybody may ask: by client address, by key and tenant, and by class of routes.
//!
//! What is refused costs little: nothing of its body is kept, and of a long one nothing is read.

use std::hash::{DefaultHasher, Hash as _, Hasher as _};
use std::net::Ipv4Addr;
use std::sync::Arc;
use std::time::Duration;

use access::{
    Client, ClientKey, Exceeded, KeyLimits, KeyedLimiter, Meters, Now, Paying, PrincipalKind,
    RateLimit, Refusal, RefusalReason, Scheme, TenantLimits, TenantUsage, TrustedProxies, Unit,
};
use arc_swap::{ArcSwap, Guard};
use axum::body::Body;
use axum::extract::Request;
use http_body_util::BodyExt as _;
use model::TenantId;
use platform::{Rng, Timestamp};
use tokio::sync::{OwnedSemaphorePermit, Semaphore};

use crate::caller::Tenant;
use crate::endpoint::Class;
use crate::failure::{Failure, Kind};
use crate::identity::{Credential, Known};
use crate::parts::App;
use crate::serve::ConnectionInfo;

/// How much anybody may ask.
#[derive(Clone, Debug)]
pub struct RequestLimits {
    /// Requests of one client address; IPv6 addresses count by their first 64 bits. Probes are exempt.
    pub address: Option<RateLimit>,
    /// Logins tried from one client address.
    pub logins: Option<RateLimit>,
    /// What keys are allowed that have no limits of their own.
    pub keys: Arc<KeyLimits>,
    /// What tenants are allowed that have no limits of their own.
    pub tenants: Arc<TenantLimits>,
    /// The proxies that are believed when they say who asks.
    pub proxies: TrustedProxies,
    /// What each class of routes is allowed.
    pub classes: ClassLimits,
}

/// What each class of routes is allowed. Further requests are told to come again. Probes have no limit but that of
/// connections: they answer at once from memory, and are to answer when everything else is refused.
#[derive(Clone, Copy, Debug)]
pub struct ClassLimits {
    /// What evaluates and lists; those that are admitted then wait for their turn.
    pub query: ClassLimit,
    /// What stores; the time is for reading, for waiting for its turn and for the disk.
    pub write: ClassLimit,
    /// What agents say of their nodes; the time is for reading it.
    pub report: ClassLimit,
    /// What manages.
    pub admin: ClassLimit,
    /// What checks passwords, which is meant to be slow.
    pub login: ClassLimit,
    /// What stays open; this is for its beginning.
    pub live: ClassLimit,
}

/// What one class of routes is allowed.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ClassLimit {
    /// Most requests that are worked on at a time.
    pub concurrent_max: usize,
    /// How long it may take until the answer begins.
    pub timeout: Duration,
}

impl Default for ClassLimits {
    fn default() -> Self {
        let limit = |concurrent_max, seconds| ClassLimit {
            concurrent_max,
            timeout: Duration::from_secs(seconds),
        };
        Self {
            query: limit(256, 120),
            write: limit(512, 120),
            report: limit(2_048, 30),
            admin: limit(32, 30),
            login: limit(8, 30),
            live: limit(64, 30),
        }
    }
}

impl ClassLimits {
    const fn of(&self, class: Class) -> Option<ClassLimit> {
        match class {
            Class::Probe => None,
            Class::Query => Some(self.query),
            Class::Write => Some(self.write),
            Class::Report => Some(self.report),
            Class::Admin => Some(self.admin),
            Class::Login => Some(self.login),
            Class::Live => Some(self.live),
        }
    }
}

impl Default for RequestLimits {
    /// As `config.default.yaml`.
    fn default() -> Self {
        Self {
            address: RateLimit::new(100.0, 200).ok(),
            logins: RateLimit::new(0.2, 10).ok(),
            keys: Arc::default(),
            tenants: Arc::default(),
            proxies: TrustedProxies::default(),
            classes: ClassLimits::default(),
        }
    }
}

/// The limits in force. Clones share them, and they can be replaced while requests are served: what was spent stays
/// spent. How many requests of a class are worked on at a time is decided at the start.
#[derive(Clone, Debug)]
pub struct LimitsInForce(Arc<ArcSwap<RequestLimits>>);

impl LimitsInForce {
    /// Puts other limits in force.
    pub fn replace(&self, limits: RequestLimits) {
        self.0.store(Arc::new(limits));
    }

    /// Returns what tenants are allowed that have no limits of their own.
    #[must_use]
    pub fn tenants(&self) -> Arc<TenantLimits> {
        Arc::clone(&self.get().tenants)
    }

    fn get(&self) -> Guard<Arc<RequestLimits>> {
        self.0.load()
    }
}

impl From<RequestLimits> for LimitsInForce {
    fn from(limits: RequestLimits) -> Self {
        Self(Arc::new(ArcSwap::from_pointee(limits)))
    }
}

impl Default for LimitsInForce {
    fn default() -> Self {
        RequestLimits::default().into()
    }
}

/// Refusals of one key's or person's requests that go into the audit log: a few at once, then one a minute.
const AUDITED_PER_SECOND: f64 = 1.0 / 60.0;
const AUDITED_BURST: u64 = 5;
/// Those whose refusals are counted.
const DENIED_MAX: usize = 1_024;
/// Client addresses whose requests are counted: 850 KiB.
const ADDRESSES_MAX: usize = 32_768;
/// Longest body of a refused request that is read, and thrown away, so that the connection can go on; in bytes. With
/// longer ones the connection is closed.
const DISCARDED_BYTES_MAX: usize = 128 << 10;
/// How long such a body may take to arrive.
const DISCARD_TIMEOUT: Duration = Duration::from_secs(1);

/// Where requests are admitted, or not.
#[derive(Debug)]
pub(crate) struct Admission {
    limits: LimitsInForce,
    addresses: KeyedLimiter<ClientKey>,
    logins: KeyedLimiter<ClientKey>,
    /// By who was refused.
    denials: KeyedLimiter<u64>,
    places: Places,
    /// Whether requests of this machine are not counted.
    local_only: bool,
    meters: Arc<Meters>,
}

/// What the classes have left.
#[derive(Debug)]
struct Places {
    query: Arc<Semaphore>,
    write: Arc<Semaphore>,
    report: Arc<Semaphore>,
    admin: Arc<Semaphore>,
    login: Arc<Semaphore>,
    live: Arc<Semaphore>,
}

impl Admission {
    pub(crate) fn new(
        limits: LimitsInForce,
        local_only: bool,
        meters: Arc<Meters>,
        rng: &dyn Rng,
    ) -> Self {
        let places = |limit: ClassLimit| Arc::new(Semaphore::new(limit.concurrent_max));
        let classes = limits.get().classes;
        Self {
            addresses: KeyedLimiter::new(ADDRESSES_MAX, rng),
            logins: KeyedLimiter::new(ADDRESSES_MAX, rng),
            denials: KeyedLimiter::new(DENIED_MAX, rng),
            places: Places {
                query: places(classes.query),
                write: places(classes.write),
                report: places(classes.report),
                admin: places(classes.admin),
                login: places(classes.login),
                live: places(classes.live),
            },
            limits,
            local_only,
            meters,
        }
    }

    /// Counts a request against its client's address.
    pub(crate) fn admit_address(&self, request: &Request, now: Now) -> Result<(), Failure> {
        self.spend(&self.addresses, self.limits.get().address, request, now)
    }

    /// Counts a login against its client's address.
    pub(crate) fn admit_login(&self, request: &Request, now: Now) -> Result<(), Failure> {
        self.spend(&self.logins, self.limits.get().logins, request, now)
    }

    fn spend(
        &self,
        limiter: &KeyedLimiter<ClientKey>,
        limit: Option<RateLimit>,
        request: &Request,
        now: Now,
    ) -> Result<(), Failure> {
        let Some(limit) = limit else { return Ok(()) };
        let address = self.client(request).address;
        if self.local_only && address.is_loopback() {
            return Ok(());
        }
        let spent = limiter.check(limit, address.into(), 1, now.monotonic);
        spent.map_err(|exceeded: Exceeded| {
            Refusal::rate(RefusalReason::RateAddress, Unit::Requests, limit, exceeded).into()
        })
    }

    /// Returns who sends a request, before all proxies, as far as those are trusted.
    pub(crate) fn client<'a>(&self, request: &'a Request) -> Client<'a> {
        let connection = request.extensions().get::<ConnectionInfo>();
        // What came over no connection of ours shares one bucket: it is nobody's in particular.
        let peer = connection.map_or(Ipv4Addr::UNSPECIFIED.into(), |info| info.peer.ip());
        self.limits.get().proxies.client(peer, request.headers())
    }

    /// Returns whether the connection of whoever sends a request is encrypted: ours, or that to a trusted proxy.
    pub(crate) fn is_encrypted(&self, request: &Request) -> bool {
        let connection = request.extensions().get::<ConnectionInfo>();
        connection.is_some_and(|info| info.tls)
            || self.client(request).scheme == Some(Scheme::Https)
    }

    /// Returns whether another refusal of somebody's request goes into the audit log.
    pub(crate) fn may_audit(&self, principal: &access::Principal, now: Now) -> bool {
        let mut hasher = DefaultHasher::new();
        principal.to_string().hash(&mut hasher);
        // A rate that cannot be made would be our mistake; nothing is lost that is not in the log.
        let Ok(limit) = RateLimit::new(AUDITED_PER_SECOND, AUDITED_BURST) else { return false };
        self.denials.check(limit, hasher.finish(), 1, now.monotonic).is_ok()
    }

    /// Returns a place among the requests of a class, if the class is limited.
    pub(crate) fn place(&self, class: Class) -> Result<Option<OwnedSemaphorePermit>, Failure> {
        let places = match class {
            Class::Probe => return Ok(None),
            Class::Query => &self.places.query,
            Class::Write => &self.places.write,
            Class::Report => &self.places.report,
            Class::Admin => &self.places.admin,
            Class::Login => &self.places.login,
            Class::Live => &self.places.live,
        };
        Arc::clone(places).try_acquire_owned().map(Some).map_err(|_| {
            Failure::overloaded("too many requests of this kind are going on; try again later")
        })
    }

    /// Returns how long a request of a class may take until its answer begins, if the class is limited.
    pub(crate) fn timeout(&self, class: Class) -> Option<Duration> {
        self.limits.get().classes.of(class).map(|limit| limit.timeout)
    }

    /// Returns what a tenant that exists uses.
    pub(crate) fn usage(
        &self,
        tenant: &TenantId,
        wall: Timestamp,
    ) -> Result<Arc<TenantUsage>, Failure> {
        self.meters.tenant(tenant, wall).map_err(|full| Failure::overloaded(full.to_string()))
    }

    /// Returns who pays for a request.
    pub(crate) fn paying(&self, known: &Known, tenant: &Tenant, now: Now) -> Paying {
        let limits = self.limits.get();
        let key = match (&known.principal.kind, &known.by) {
            (PrincipalKind::Key { id }, Credential::Key(grant)) => {
                let own = Arc::new(grant.limits.or(&limits.keys));
                Some((self.meters.key(id, now.monotonic), own))
            }
            _ => None,
        };
        Paying {
            tenant: Arc::clone(&tenant.usage),
            tenant_limits: tenant.usage.limits(&limits.tenants),
            key,
        }
    }
}

impl From<Refusal> for Failure {
    fn from(Refusal { reason, retry_after, message }: Refusal) -> Self {
        let Some(retry_after) = retry_after else { return Self::new(Kind::TooLarge, message) };
        let kind = match reason {
            RefusalReason::QuotaBytes
            | RefusalReason::QuotaSamples
            | RefusalReason::QuotaEvents => Kind::QuotaExceeded,
            RefusalReason::RateAddress
            | RefusalReason::RateKey
            | RefusalReason::RateTenant
            | RefusalReason::QueriesConcurrent => Kind::RateLimited,
        };
        Self::new(kind, message).retry_after(retry_after)
    }
}

/// Makes the connection of a refused request usable for the next one: what is left of a short body is read and thrown
/// away. A longer one is left where it is, and the connection ends with the answer.
pub(crate) async fn discard(app: &App, mut body: Body) {
    let size = http_body::Body::size_hint(&body);
    if size.lower() > DISCARDED_BYTES_MAX as u64 {
        return;
    }
    let mut left = DISCARDED_BYTES_MAX;
    let all = async {
        while let Some(Ok(frame)) = body.frame().await {
            let length = frame.data_ref().map_or(0, bytes::Bytes::len);
            let Some(rest) = left.checked_sub(length) else { return };
            left = rest;
        }
    };
    let deadline = app.clock.monotonic().saturating_add(DISCARD_TIMEOUT);
    tokio::select! {
        biased;
        () = all => {}
        () = app.clock.sleep_until(deadline) => {}
    }
}
