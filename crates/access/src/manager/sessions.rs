//! Logins and sessions.

use std::net::IpAddr;
use std::sync::Arc;

use model::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::json;
use state::{StateError, Statement};

use super::users::{done, end_sessions, insert, rights_detail};
use super::{Access, Area};
use crate::audit::{NewAuditEntry, Outcome};
use crate::directory::{LastUse, SessionGrant, millis};
use crate::failure::{AccessError, LoginError};
use crate::oidc::{Grant, Identity};
use crate::password::PasswordCheck;
use crate::permission::PermissionSet;
use crate::principal::Principal;
use crate::rate::RateLimit;
use crate::records::{Actor, LoggedIn, OidcSubject, SessionInfo, UserInfo};
use crate::rows::{self, Person, UserRow};
use crate::secret::{self, SecretHash};
use crate::throttle::ThrottleKey;

/// Failed logins that are noted in the audit log: each for a while, then one in ten seconds.
const FAILURES_NOTED_BURST: u64 = 100;
const FAILURES_NOTED_PER_SECOND: f64 = 0.1;

/// From where somebody logs in, and in which request.
#[derive(Clone, Debug, Default)]
pub struct LoginOrigin {
    /// The client's address.
    pub address: Option<IpAddr>,
    /// The request.
    pub request_id: Option<Arc<str>>,
}

impl Access {
    /// Logs somebody in with their name and password.
    ///
    /// The answer and about the same work are the same for a name that does not exist. After some failures of a name
    /// from an address, the next attempt has to wait ever longer.
    ///
    /// # Errors
    ///
    /// See [`LoginError`].
    pub async fn login(
        &self,
        name: &str,
        password: &SecretString,
        origin: &LoginOrigin,
    ) -> Result<LoggedIn, LoginError> {
        let key = throttle_key(name, origin.address);
        let rows =
            self.database.query(rows::USER_BY_NAME, &[name.replace('\0', "").into()]).await?;
        let user = rows.first().map(rows::user).transpose()?;
        let stored = user.as_ref().and_then(|user| user.password_hash.as_deref());
        let found = self.check_password(key, password, stored).await?;
        let user = match user {
            Some(user) if found != PasswordCheck::Wrong && self.may_log_in(&user.info) => user,
            user => {
                self.note_failure(user.as_ref().map(|user| &user.info), origin).await?;
                return Err(LoginError::Wrong);
            }
        };
        let hash = match found {
            PasswordCheck::RightButOutdated => Some(self.hasher.hash(password).await?),
            _ => user.password_hash.clone(),
        };
        // What was checked must still hold: the password may just have been changed, the user disabled.
        let update = Statement::new(
            "UPDATE users SET last_login_at = $2, password_hash = $3 \
             WHERE id = $1 AND disabled = 0 AND password_hash = $4",
            [
                user.info.id.as_str().into(),
                self.now().as_millis().into(),
                hash.into(),
                user.password_hash.into(),
            ],
        );
        let begun = vec![Area::People.changed(), update.affecting(1)];
        let logged_in = self.begin_session(&user.info, begun, "password", origin).await?;
        self.throttle.succeed(key);
        Ok(logged_in)
    }

    /// Logs somebody in whom an OpenID Connect provider vouches for, with the rights that its groups grant. They are
    /// added when they come for the first time; otherwise name and rights follow the provider.
    ///
    /// # Errors
    ///
    /// See [`LoginError`]; [`LoginError::Wrong`] when they are disabled here.
    pub async fn login_oidc(
        &self,
        identity: &Identity,
        grant: &Grant,
        origin: &LoginOrigin,
    ) -> Result<LoggedIn, LoginError> {
        self.check_tenant_exists(&grant.tenant)?;
        match self.try_login_oidc(identity, grant, origin).await {
            // Their first two logins at the same time: now they are known.
            Err(LoginError::Access(AccessError::State(StateError::Conflict { .. }))) => {
                self.try_login_oidc(identity, grant, origin).await
            }
            result => result,
        }
    }

    async fn try_login_oidc(
        &self,
        identity: &Identity,
        grant: &Grant,
        origin: &LoginOrigin,
    ) -> Result<LoggedIn, LoginError> {
        let values = [identity.issuer.as_str().into(), identity.subject.as_str().into()];
        let rows = self.database.query(rows::USER_BY_OIDC, &values).await?;
        let now = self.now();
        let known = rows.first().map(rows::user).transpose()?.map(|user| user.info);
        let (user, begun) = match known {
            Some(known) => {
                let user = UserInfo {
                    tenant: grant.tenant.clone(),
                    display_name: identity.name.clone(),
                    role: grant.role,
                    all_tenants: grant.all_tenants,
                    ..known
                };
                let update = Statement::new(
                    "UPDATE users SET last_login_at = $2, tenant = $3, display_name = $4, role = $5, all_tenants = $6 \
                     WHERE id = $1 AND disabled = 0",
                    [
                        user.id.as_str().into(),
                        now.as_millis().into(),
                        user.tenant.as_str().into(),
                        user.display_name.as_str().into(),
                        user.role.as_str().into(),
                        user.all_tenants.into(),
                    ],
                );
                (user, vec![Area::People.changed(), update.affecting(1)])
            }
            None => {
                let user = self.new_oidc_user(identity, grant).await?;
                let principal = person(&user).principal();
                let actor = actor(principal, origin);
                let entry = done(&user, "user.create", rights_detail(&user));
                let row = UserRow { info: user.clone(), password_hash: None };
                let begun = vec![self.room_for_user(), insert(&row), self.audited(&actor, entry)];
                (user, begun)
            }
        };
        if !self.may_log_in(&user) {
            self.note_failure(Some(&user), origin).await?;
            return Err(LoginError::Wrong);
        }
        self.begin_session(&user, begun, "oidc", origin).await
    }

    /// Ends a session of the actor. Ending one that is over changes nothing.
    ///
    /// # Errors
    ///
    /// The database fails.
    pub async fn logout(&self, actor: &Actor, session: &str) -> Result<(), AccessError> {
        let Some(user) = actor.user_id() else { return Ok(()) };
        self.end_session(actor, &actor.principal.tenant, session, user).await
    }

    /// Returns the sessions of a person, the oldest first: of one whom the actor manages, or their own.
    ///
    /// # Errors
    ///
    /// There is no such person, or the database fails.
    pub async fn list_sessions(
        &self,
        actor: &Actor,
        user: &str,
    ) -> Result<Vec<SessionInfo>, AccessError> {
        let user = self.get_user(actor, user).await?;
        let rows = self.database.query(rows::SESSIONS_OF_USER, &[user.id.into()]).await?;
        Ok(rows.iter().map(rows::session).collect::<Result<_, _>>()?)
    }

    /// Ends a session of a person: of one whom the actor manages, or their own.
    ///
    /// # Errors
    ///
    /// There is no such person, or the database fails.
    pub async fn revoke_session(
        &self,
        actor: &Actor,
        user: &str,
        session: &str,
    ) -> Result<(), AccessError> {
        let user = self.get_user(actor, user).await?;
        self.end_session(actor, &user.tenant, session, &user.id).await
    }

    async fn end_session(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        session: &str,
        user: &str,
    ) -> Result<(), AccessError> {
        let delete = Statement::new(
            "DELETE FROM sessions WHERE id = $1 AND user_id = $2",
            [session.replace('\0', "").into(), user.into()],
        );
        let entry = NewAuditEntry {
            tenant: tenant.clone(),
            action: "session.end",
            target: user.to_owned(),
            outcome: Outcome::Done,
            detail: json!({ "session": session }),
        };
        let statements = [Area::People.changed(), delete.affecting(1), self.audited(actor, entry)];
        match self.change(&statements).await {
            Ok(()) | Err(StateError::Unmet { .. }) => Ok(()),
            Err(error) => Err(error.into()),
        }
    }

    /// Checks a password, unless too many attempts failed. The attempt counts as failed until it is said to have
    /// succeeded.
    pub(super) async fn check_password(
        &self,
        key: ThrottleKey,
        password: &SecretString,
        stored: Option<&str>,
    ) -> Result<PasswordCheck, LoginError> {
        let begun = self.throttle.begin(key, self.clock.monotonic());
        begun.map_err(|retry_after| LoginError::TooMany { retry_after })?;
        let found = self.hasher.verify(password, stored).await;
        Ok(found.inspect_err(|_| self.throttle.undo(key))?)
    }

    fn may_log_in(&self, user: &UserInfo) -> bool {
        let tenant = self.directory.tenant(&user.tenant);
        let open = user.all_tenants || tenant.is_some_and(|tenant| !tenant.disabled);
        open && !user.disabled
    }

    /// Stores a session after what `statements` do first; no session when one of those does not change what it must.
    async fn begin_session(
        &self,
        user: &UserInfo,
        mut statements: Vec<Statement>,
        method: &'static str,
        origin: &LoginOrigin,
    ) -> Result<LoggedIn, LoginError> {
        let now = self.now();
        let cookie = secret::generate(&*self.rng);
        let session = SessionGrant {
            principal: person(user).principal(),
            id: self.identifiers.next().into(),
            csrf: secret::generate(&*self.rng),
            expires_at: now.saturating_add_millis(millis(self.settings.session_max)),
            used: Arc::new(LastUse::new(Some(now))),
        };
        let actor = actor(session.principal.clone(), origin);
        let detail = json!({ "method": method, "session": &*session.id });
        statements.extend([
            Statement::new(
                "INSERT INTO sessions (id, hash, user_id, csrf, created_at, expires_at, last_seen_at, address) \
                 VALUES ($1, $2, $3, $4, $5, $6, $7, $8)",
                [
                    (&*session.id).into(),
                    SecretHash::of(cookie.expose_secret()).to_hex().into(),
                    user.id.as_str().into(),
                    session.csrf.expose_secret().into(),
                    now.as_millis().into(),
                    session.expires_at.as_millis().into(),
                    now.as_millis().into(),
                    origin.address.map(|address| address.to_string()).into(),
                ],
            ),
            Statement::new(
                "DELETE FROM sessions WHERE user_id = $1 AND id NOT IN \
                 (SELECT id FROM sessions WHERE user_id = $1 ORDER BY created_at DESC, id DESC LIMIT $2)",
                [
                    user.id.as_str().into(),
                    self.settings.sessions_per_user_max.cast_signed().into(),
                ],
            ),
            self.audited(&actor, done(user, "session.begin", detail)),
        ]);
        match self.change(&statements).await {
            Ok(()) => Ok(LoggedIn { session: Arc::new(session), cookie }),
            // The first statement only fails when there is no room for somebody new.
            Err(StateError::Unmet { statement: 0, .. }) => {
                let max = self.settings.users_max;
                Err(AccessError::LimitReached { what: "users", max }.into())
            }
            Err(StateError::Unmet { .. }) => Err(LoginError::Wrong),
            Err(error) => Err(error.into()),
        }
    }

    /// Notes that a login failed. What was given as a name of nobody is not noted: it may be a password. Of an attack
    /// not each attempt is noted: it must not fill the disk.
    pub(super) async fn note_failure(
        &self,
        user: Option<&UserInfo>,
        origin: &LoginOrigin,
    ) -> Result<(), AccessError> {
        let limit = RateLimit::new(FAILURES_NOTED_PER_SECOND, FAILURES_NOTED_BURST);
        let now = self.clock.monotonic();
        if limit.is_ok_and(|limit| self.failures.check(limit, 1, now).is_err()) {
            tracing::debug!("one of many failed logins is not in the audit log");
            return Ok(());
        }
        let principal = Principal {
            permissions: PermissionSet::NONE,
            all_tenants: false,
            ..Principal::anonymous()
        };
        let entry = NewAuditEntry {
            tenant: user.map_or_else(TenantId::default_tenant, |user| user.tenant.clone()),
            action: "session.begin",
            target: user.map(|user| user.id.clone()).unwrap_or_default(),
            outcome: Outcome::Refused,
            detail: json!({ "name": user.map(|user| &user.name) }),
        };
        self.record(&actor(principal, origin), entry).await
    }

    /// Returns a person whom a provider describes, with a name that nobody has.
    async fn new_oidc_user(
        &self,
        identity: &Identity,
        grant: &Grant,
    ) -> Result<UserInfo, AccessError> {
        let id = self.identifiers.next();
        let name = identity.email.as_ref().unwrap_or(&identity.name).trim().to_owned();
        let taken = self.database.query(rows::USER_BY_NAME, &[name.as_str().into()]).await?;
        // The identifier is random at its end.
        let suffix = id.get(24..).unwrap_or_default();
        let name =
            if taken.is_empty() && !name.is_empty() { name } else { format!("{name} {suffix}") };
        Ok(UserInfo {
            id,
            tenant: grant.tenant.clone(),
            name: name.trim().to_owned(),
            display_name: identity.name.clone(),
            has_password: false,
            oidc: Some(OidcSubject {
                issuer: identity.issuer.clone(),
                subject: identity.subject.clone(),
            }),
            role: grant.role,
            all_tenants: grant.all_tenants,
            disabled: false,
            created_at: self.now(),
            last_login_at: Some(self.now()),
        })
    }

    /// Ends all sessions of a person: of one whom the actor manages, or their own.
    ///
    /// # Errors
    ///
    /// There is no such person, or the database fails.
    pub async fn revoke_sessions(&self, actor: &Actor, user: &str) -> Result<(), AccessError> {
        let user = self.get_user(actor, user).await?;
        let entry = done(&user, "session.end", json!({ "session": "all" }));
        let statements =
            [Area::People.changed(), end_sessions(&user.id), self.audited(actor, entry)];
        Ok(self.change(&statements).await?)
    }
}

pub(super) fn throttle_key(name: &str, address: Option<IpAddr>) -> ThrottleKey {
    (SecretHash::of(name), address)
}

fn person(user: &UserInfo) -> Person<'_> {
    Person {
        id: &user.id,
        name: &user.name,
        display_name: &user.display_name,
        tenant: user.tenant.clone(),
        role: user.role,
        all_tenants: user.all_tenants,
    }
}

fn actor(principal: Principal, origin: &LoginOrigin) -> Actor {
    Actor { principal, address: origin.address, request_id: origin.request_id.clone() }
}
