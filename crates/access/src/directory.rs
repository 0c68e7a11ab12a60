//! What authenticates without a question to the database: who holds which key or session.

use std::collections::{BTreeMap, HashMap};
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, Ordering};
use std::time::Duration;

use arc_swap::ArcSwap;
use model::TenantId;
use platform::Timestamp;
use secrecy::{ExposeSecret as _, SecretString};

use crate::configured::ConfiguredKeys;
use crate::principal::Principal;
use crate::quota::{KeyLimits, TenantLimits};
use crate::secret::{self, SecretHash};

/// Why a credential does not count.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, thiserror::Error)]
pub enum CredentialError {
    /// It has not the form of a key or cookie.
    #[error("a key has 64 lower-case hexadecimal digits")]
    Malformed,
    /// Nobody has it.
    #[error("the credential is unknown")]
    Unknown,
    /// Its time is over.
    #[error("the credential has expired")]
    Expired,
    /// Somebody revoked it.
    #[error("the credential was revoked")]
    Revoked,
    /// The tenant that it belongs to is disabled.
    #[error("the tenant is disabled")]
    TenantDisabled,
}

/// What a key gives.
#[derive(Debug)]
pub struct KeyGrant {
    /// Who it is, and what they may do.
    pub principal: Principal,
    /// How much.
    pub limits: Arc<KeyLimits>,
    pub(crate) id: Arc<str>,
    pub(crate) expires_at: Option<Timestamp>,
    pub(crate) revoked_at: Option<Timestamp>,
    pub(crate) used: Arc<LastUse>,
}

impl KeyGrant {
    /// Returns when the key was last used, as far as this process knows.
    #[must_use]
    pub fn last_used_at(&self) -> Option<Timestamp> {
        self.used.get()
    }
}

/// What a session gives.
#[derive(Debug)]
pub struct SessionGrant {
    /// Who it is, and what they may do.
    pub principal: Principal,
    /// The session's identifier, not its cookie.
    pub id: Arc<str>,
    /// The token that requests which change something carry beside the cookie.
    pub csrf: SecretString,
    /// When the session ends, however much it is used.
    pub expires_at: Timestamp,
    pub(crate) used: Arc<LastUse>,
}

impl SessionGrant {
    /// Returns whether `presented` is the session's token. What is compared are hashes: the time tells nothing of use.
    #[must_use]
    pub fn is_csrf(&self, presented: &str) -> bool {
        SecretHash::of(presented) == SecretHash::of(self.csrf.expose_secret())
    }
}

/// A tenant, with what it is allowed.
#[derive(Clone, Debug, PartialEq)]
pub struct Tenant {
    /// Its identifier.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// What it is allowed.
    pub limits: Arc<TenantLimits>,
    /// How long its metrics are kept; zero is for ever, `None` as the server's configuration says.
    pub metrics_retention: Option<Duration>,
    /// Whether nobody may read and write its data.
    pub disabled: bool,
    /// When it was created.
    pub created_at: Timestamp,
}

/// When something was last used: in memory, and how much of it the database knows.
pub(crate) struct LastUse {
    at: AtomicI64,
    written: AtomicI64,
}

impl fmt::Debug for LastUse {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("LastUse").field(&self.get()).finish()
    }
}

impl LastUse {
    pub(crate) fn new(at: Option<Timestamp>) -> Self {
        let at = at.map_or(i64::MIN, Timestamp::as_millis);
        Self { at: AtomicI64::new(at), written: AtomicI64::new(at) }
    }

    pub(crate) fn get(&self) -> Option<Timestamp> {
        Some(self.at.load(Ordering::Relaxed))
            .filter(|at| *at != i64::MIN)
            .map(Timestamp::from_millis)
    }

    /// Notes a use.
    pub(crate) fn touch(&self, now: Timestamp) {
        self.at.fetch_max(now.as_millis(), Ordering::Relaxed);
    }

    /// Notes what the database says: another server may have seen it later.
    pub(crate) fn learn(&self, at: Option<Timestamp>) {
        if let Some(at) = at {
            self.written.fetch_max(at.as_millis(), Ordering::Relaxed);
            self.touch(at);
        }
    }

    /// Returns what the database does not know yet.
    pub(crate) fn unwritten(&self) -> Option<Timestamp> {
        let written = self.written.load(Ordering::Relaxed);
        self.get().filter(|at| at.as_millis() > written)
    }
}

pub(crate) type Keys = HashMap<SecretHash, Arc<KeyGrant>>;
pub(crate) type Sessions = HashMap<SecretHash, Arc<SessionGrant>>;
pub(crate) type Tenants = BTreeMap<TenantId, Arc<Tenant>>;

/// Who may come in. Answers from memory: a lookup takes a hash and no lock.
///
/// It follows the database within a second, whoever changed it; when the database cannot be reached, it goes on with
/// what it knows.
#[derive(Debug)]
pub struct Directory {
    keys: ArcSwap<Keys>,
    sessions: ArcSwap<Sessions>,
    tenants: ArcSwap<Tenants>,
    configured: ConfiguredKeys,
    session_idle_ms_max: i64,
}

impl Directory {
    pub(crate) fn new(configured: ConfiguredKeys, session_idle_max: Duration) -> Self {
        Self {
            keys: ArcSwap::default(),
            sessions: ArcSwap::default(),
            tenants: ArcSwap::default(),
            configured,
            session_idle_ms_max: millis(session_idle_max),
        }
    }

    /// Returns what a key gives, and notes that it was used.
    ///
    /// # Errors
    ///
    /// It gives nothing.
    pub fn key(&self, presented: &str, now: Timestamp) -> Result<Arc<KeyGrant>, CredentialError> {
        let grant = match self.configured.key(presented) {
            Some(grant) => Arc::clone(grant),
            None if !secret::is_well_formed(presented) => return Err(CredentialError::Malformed),
            None => {
                let keys = self.keys.load();
                keys.get(&SecretHash::of(presented)).cloned().ok_or(CredentialError::Unknown)?
            }
        };
        self.check_key(&grant, now)?;
        grant.used.touch(now);
        Ok(grant)
    }

    /// Returns what a key that was presented some time ago gives now. It does not count as a use; looks at all keys.
    ///
    /// # Errors
    ///
    /// It gives nothing any more.
    pub fn key_again(
        &self,
        known: &KeyGrant,
        now: Timestamp,
    ) -> Result<Arc<KeyGrant>, CredentialError> {
        let grant = match self.configured.with_id(&known.id) {
            Some(grant) => Arc::clone(grant),
            None => {
                let keys = self.keys.load();
                let found = keys.values().find(|grant| grant.id == known.id);
                Arc::clone(found.ok_or(CredentialError::Unknown)?)
            }
        };
        self.check_key(&grant, now)?;
        Ok(grant)
    }

    /// Returns what a session's cookie gives, and notes that it was used.
    ///
    /// # Errors
    ///
    /// It gives nothing.
    pub fn session(
        &self,
        cookie: &str,
        now: Timestamp,
    ) -> Result<Arc<SessionGrant>, CredentialError> {
        if !secret::is_well_formed(cookie) {
            return Err(CredentialError::Malformed);
        }
        let sessions = self.sessions.load();
        let grant = sessions.get(&SecretHash::of(cookie)).ok_or(CredentialError::Unknown)?;
        self.check_session(grant, now)?;
        grant.used.touch(now);
        Ok(Arc::clone(grant))
    }

    /// Returns what a session gives now that was shown some time ago. It does not count as a use; looks at all sessions.
    ///
    /// # Errors
    ///
    /// It gives nothing any more.
    pub fn session_again(
        &self,
        known: &SessionGrant,
        now: Timestamp,
    ) -> Result<Arc<SessionGrant>, CredentialError> {
        let sessions = self.sessions.load();
        let found = sessions.values().find(|grant| grant.id == known.id);
        let grant = found.ok_or(CredentialError::Unknown)?;
        self.check_session(grant, now)?;
        Ok(Arc::clone(grant))
    }

    /// Returns a tenant, enabled or not.
    #[must_use]
    pub fn tenant(&self, id: &TenantId) -> Option<Arc<Tenant>> {
        self.tenants.load().get(id).cloned()
    }

    /// Returns all tenants, in order.
    #[must_use]
    pub fn tenants(&self) -> Vec<Arc<Tenant>> {
        self.tenants.load().values().cloned().collect()
    }

    /// Returns whether a key of the configuration opens everything.
    #[must_use]
    pub fn has_bootstrap_key(&self) -> bool {
        self.configured.opens_everything()
    }

    fn check_key(&self, grant: &KeyGrant, now: Timestamp) -> Result<(), CredentialError> {
        if grant.revoked_at.is_some() {
            return Err(CredentialError::Revoked);
        }
        if grant.expires_at.is_some_and(|at| at <= now) {
            return Err(CredentialError::Expired);
        }
        self.check_tenant(&grant.principal)
    }

    fn check_session(&self, grant: &SessionGrant, now: Timestamp) -> Result<(), CredentialError> {
        let idle = grant.used.get().map_or(0, |seen| now.millis_since(seen));
        if grant.expires_at <= now || idle >= self.session_idle_ms_max {
            return Err(CredentialError::Expired);
        }
        self.check_tenant(&grant.principal)
    }

    /// Those who may act in every tenant are not locked out by the one that they happen to be in.
    fn check_tenant(&self, principal: &Principal) -> Result<(), CredentialError> {
        let enabled = |tenant: &Arc<Tenant>| !tenant.disabled;
        if principal.all_tenants || self.tenants.load().get(&principal.tenant).is_some_and(enabled)
        {
            Ok(())
        } else {
            Err(CredentialError::TenantDisabled)
        }
    }

    pub(crate) fn all_keys(&self) -> Arc<Keys> {
        self.keys.load_full()
    }

    pub(crate) fn all_sessions(&self) -> Arc<Sessions> {
        self.sessions.load_full()
    }

    pub(crate) fn set_keys(&self, keys: Keys) {
        self.keys.store(Arc::new(keys));
    }

    pub(crate) fn set_sessions(&self, sessions: Sessions) {
        self.sessions.store(Arc::new(sessions));
    }

    pub(crate) fn set_tenants(&self, tenants: Tenants) {
        self.tenants.store(Arc::new(tenants));
    }
}

pub(crate) fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}
