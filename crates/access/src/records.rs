//! What is kept about keys, users, sessions and tenants, and what is asked for when they are made.

use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use platform::Timestamp;
use secrecy::SecretString;

use crate::directory::SessionGrant;
use crate::permission::{PermissionSet, Role};
use crate::principal::{Principal, PrincipalKind};
use crate::quota::{KeyLimits, TenantLimits};

/// Who changes something, for the check of their rights and for the audit log.
#[derive(Clone, Debug)]
pub struct Actor {
    /// Who it is.
    pub principal: Principal,
    /// From where.
    pub address: Option<IpAddr>,
    /// In which request.
    pub request_id: Option<Arc<str>>,
}

impl Actor {
    /// Returns whoever sits at the machine: they can read and write the database anyway.
    #[must_use]
    pub fn command_line() -> Self {
        let principal = Principal { name: "command line".into(), ..Principal::anonymous() };
        Self { principal, address: None, request_id: None }
    }

    /// Returns somebody without an address, as of tests and tasks.
    #[must_use]
    pub const fn of(principal: Principal) -> Self {
        Self { principal, address: None, request_id: None }
    }

    /// Returns the user's identifier, if it is one.
    pub(crate) fn user_id(&self) -> Option<&str> {
        match &self.principal.kind {
            PrincipalKind::User { id } => Some(id),
            _ => None,
        }
    }
}

/// An API key, without the key itself: nobody knows that.
#[derive(Clone, Debug, PartialEq)]
pub struct KeyInfo {
    /// Its identifier.
    pub id: String,
    /// Whose data it reads and writes.
    pub tenant: TenantId,
    /// The application that events must belong to; `None` for any.
    pub app: Option<String>,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: PermissionSet,
    /// Whether it may act in every tenant.
    pub all_tenants: bool,
    /// How much it allows.
    pub limits: KeyLimits,
    /// When it was made.
    pub created_at: Timestamp,
    /// Who made it, as in the audit log.
    pub created_by: String,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
    /// When it was revoked.
    pub revoked_at: Option<Timestamp>,
    /// The identifier of the key that replaces it.
    pub replaced_by: Option<String>,
    /// When it was last used, to the minute.
    pub last_used_at: Option<Timestamp>,
}

/// A key to be made.
#[derive(Clone, Debug)]
pub struct NewKey {
    /// Whose data it reads and writes.
    pub tenant: TenantId,
    /// The application that events must belong to; `None` for any.
    pub app: Option<String>,
    /// What people call it.
    pub name: String,
    /// What it allows.
    pub permissions: PermissionSet,
    /// Whether it may act in every tenant.
    pub all_tenants: bool,
    /// How much it allows.
    pub limits: KeyLimits,
    /// When it ends; `None` for never.
    pub expires_at: Option<Timestamp>,
}

/// A key that was just made: the only time that it can be seen.
#[derive(Clone, Debug)]
pub struct CreatedKey {
    /// What is kept.
    pub info: KeyInfo,
    /// The key.
    pub secret: SecretString,
}

/// Who a person is at an OpenID Connect provider.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcSubject {
    /// The provider.
    pub issuer: String,
    /// The person there.
    pub subject: String,
}

/// A person.
#[derive(Clone, Debug, PartialEq)]
pub struct UserInfo {
    /// Their identifier.
    pub id: String,
    /// The tenant whose data they see.
    pub tenant: TenantId,
    /// The name that they log in with; unique, upper and lower case differ.
    pub name: String,
    /// What to call them.
    pub display_name: String,
    /// Whether they have a password.
    pub has_password: bool,
    /// Who they are elsewhere.
    pub oidc: Option<OidcSubject>,
    /// What they may do.
    pub role: Role,
    /// Whether they may act in every tenant.
    pub all_tenants: bool,
    /// Whether they cannot log in.
    pub disabled: bool,
    /// When they were added.
    pub created_at: Timestamp,
    /// When they last logged in.
    pub last_login_at: Option<Timestamp>,
}

/// A person to be added.
#[derive(Clone, Debug)]
pub struct NewUser {
    /// The tenant whose data they see.
    pub tenant: TenantId,
    /// The name that they log in with.
    pub name: String,
    /// What to call them.
    pub display_name: String,
    /// Their password; `None` for those who log in elsewhere, or get one later.
    pub password: Option<SecretString>,
    /// What they may do.
    pub role: Role,
    /// Whether they may act in every tenant.
    pub all_tenants: bool,
}

/// What to change about a person; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct UserChange {
    /// What to call them.
    pub display_name: Option<String>,
    /// What they may do.
    pub role: Option<Role>,
    /// Whether they may act in every tenant.
    pub all_tenants: Option<bool>,
    /// Whether they cannot log in.
    pub disabled: Option<bool>,
}

/// A session of a person, without its cookie.
#[derive(Clone, Debug, PartialEq)]
pub struct SessionInfo {
    /// Its identifier.
    pub id: String,
    /// Whose it is.
    pub user_id: String,
    /// When it began.
    pub created_at: Timestamp,
    /// When it ends.
    pub expires_at: Timestamp,
    /// When it was last used, to the minute.
    pub last_seen_at: Timestamp,
    /// From where it began.
    pub address: Option<String>,
}

/// A session that has just begun.
#[derive(Clone, Debug)]
pub struct LoggedIn {
    /// What it gives.
    pub session: Arc<SessionGrant>,
    /// Its cookie: the only time that it can be seen.
    pub cookie: SecretString,
}

/// A tenant to be added.
#[derive(Clone, Debug)]
pub struct NewTenant {
    /// Its identifier.
    pub id: TenantId,
    /// What people call it.
    pub name: String,
    /// What it is allowed.
    pub limits: TenantLimits,
    /// How long its metrics are kept; zero is for ever, `None` as the server's configuration says.
    pub metrics_retention: Option<Duration>,
}

/// What to change about a tenant; `None` leaves it as it is.
#[derive(Clone, Debug, Default)]
pub struct TenantChange {
    /// What people call it.
    pub name: Option<String>,
    /// What it is allowed.
    pub limits: Option<TenantLimits>,
    /// How long its metrics are kept.
    pub metrics_retention: Option<Option<Duration>>,
    /// Whether nobody may read and write its data.
    pub disabled: Option<bool>,
}
