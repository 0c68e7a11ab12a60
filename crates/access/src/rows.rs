//! Statements that read, and what their rows mean.

use std::sync::Arc;
use std::time::Duration;

use model::TenantId;
use platform::Timestamp;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use state::{Row, StateError};

use crate::directory::{KeyGrant, LastUse, SessionGrant, Tenant};
use crate::failure::{AccessError, RowError};
use crate::permission::{Permission, PermissionSet, Role};
use crate::principal::{Principal, PrincipalKind};
use crate::quota::{KeyLimits, TenantLimits};
use crate::records::{KeyInfo, OidcSubject, SessionInfo, UserInfo};
use crate::secret::SecretHash;

macro_rules! key_columns {
    () => {
        "id, tenant, app, name, permissions, all_tenants, limits, created_at, created_by, expires_at, revoked_at, \
         replaced_by, last_used_at, hash"
    };
}

macro_rules! user_columns {
    () => {
        "id, tenant, name, display_name, password_hash, oidc_issuer, oidc_subject, role, all_tenants, disabled, \
         created_at, last_login_at"
    };
}

pub(crate) const REVISIONS: &str = "SELECT area, number FROM revision ORDER BY area";

pub(crate) const TENANTS: &str =
    "SELECT id, name, limits, retention, disabled, created_at FROM tenants ORDER BY id";

pub(crate) const KEYS: &str = concat!("SELECT ", key_columns!(), " FROM api_keys ORDER BY id");

pub(crate) const KEYS_OF_TENANT: &str =
    concat!("SELECT ", key_columns!(), " FROM api_keys WHERE tenant = $1 ORDER BY id");

pub(crate) const KEY: &str = concat!("SELECT ", key_columns!(), " FROM api_keys WHERE id = $1");

pub(crate) const USERS: &str = concat!("SELECT ", user_columns!(), " FROM users ORDER BY name");

pub(crate) const USERS_OF_TENANT: &str =
    concat!("SELECT ", user_columns!(), " FROM users WHERE tenant = $1 ORDER BY name");

pub(crate) const USER: &str = concat!("SELECT ", user_columns!(), " FROM users WHERE id = $1");

pub(crate) const USER_BY_NAME: &str =
    concat!("SELECT ", user_columns!(), " FROM users WHERE name = $1");

pub(crate) const USER_BY_OIDC: &str =
    concat!("SELECT ", user_columns!(), " FROM users WHERE oidc_issuer = $1 AND oidc_subject = $2");

pub(crate) const SESSIONS: &str = "SELECT s.id, s.hash, s.csrf, s.expires_at, s.last_seen_at, u.id, u.name, \
     u.display_name, u.tenant, u.role, u.all_tenants \
     FROM sessions s JOIN users u ON u.id = s.user_id WHERE u.disabled = 0 ORDER BY s.id";

pub(crate) const SESSIONS_OF_USER: &str = "SELECT id, user_id, created_at, expires_at, last_seen_at, address \
     FROM sessions WHERE user_id = $1 ORDER BY id";

pub(crate) fn tenant(row: &Row) -> Result<Tenant, AccessError> {
    let id = row.text(0)?;
    let problem = |source| AccessError::Row { what: "tenant", id: id.to_owned(), source };
    let retention: RawRetention = serde_json::from_str(row.text(3)?)
        .map_err(|_| problem(RowError::Column { column: "retention" }))?;
    Ok(Tenant {
        id: TenantId::new(id).map_err(|_| problem(RowError::Column { column: "id" }))?,
        name: row.text(1)?.to_owned(),
        limits: Arc::new(
            TenantLimits::from_json(row.text(2)?).map_err(|error| problem(error.into()))?,
        ),
        metrics_retention: retention.metrics_ms.map(Duration::from_millis),
        disabled: row.boolean(4)?,
        created_at: Timestamp::from_millis(row.integer(5)?),
    })
}

/// How long a tenant's data is kept, as the state database says it.
#[derive(Default, Serialize, Deserialize)]
#[serde(default, deny_unknown_fields)]
struct RawRetention {
    #[serde(skip_serializing_if = "Option::is_none")]
    metrics_ms: Option<u64>,
}

pub(crate) fn retention_to_json(metrics: Option<Duration>) -> String {
    let metrics_ms = metrics.map(|time| u64::try_from(time.as_millis()).unwrap_or(u64::MAX));
    // A struct of one number is always JSON.
    serde_json::to_string(&RawRetention { metrics_ms }).unwrap_or_default()
}

pub(crate) fn key(row: &Row) -> Result<KeyInfo, AccessError> {
    let id = row.text(0)?;
    let problem = |source| AccessError::Row { what: "key", id: id.to_owned(), source };
    let column = |column| problem(RowError::Column { column });
    Ok(KeyInfo {
        id: id.to_owned(),
        tenant: TenantId::new(row.text(1)?).map_err(|_| column("tenant"))?,
        app: optional(row, 2)?,
        name: row.text(3)?.to_owned(),
        permissions: permissions(row.text(4)?).ok_or_else(|| column("permissions"))?,
        all_tenants: row.boolean(5)?,
        limits: KeyLimits::from_json(row.text(6)?).map_err(|error| problem(error.into()))?,
        created_at: Timestamp::from_millis(row.integer(7)?),
        created_by: row.text(8)?.to_owned(),
        expires_at: time(row, 9)?,
        revoked_at: time(row, 10)?,
        replaced_by: optional(row, 11)?,
        last_used_at: time(row, 12)?,
    })
}

/// Returns what a key gives, under its hash.
pub(crate) fn key_grant(row: &Row) -> Result<(SecretHash, KeyGrant), AccessError> {
    let info = key(row)?;
    let problem = RowError::Column { column: "hash" };
    let hash = SecretHash::from_hex(row.text(13)?).ok_or_else(|| AccessError::Row {
        what: "key",
        id: info.id.clone(),
        source: problem,
    })?;
    let id: Arc<str> = info.id.into();
    let principal = Principal {
        kind: PrincipalKind::Key { id: Arc::clone(&id) },
        name: info.name.into(),
        tenant: info.tenant,
        all_tenants: info.all_tenants,
        app: info.app.map(Into::into),
        permissions: info.permissions,
    };
    let grant = KeyGrant {
        principal,
        limits: Arc::new(info.limits),
        id,
        expires_at: info.expires_at,
        revoked_at: info.revoked_at,
        used: Arc::new(LastUse::new(info.last_used_at)),
    };
    Ok((hash, grant))
}

/// Writes permissions as the state database keeps them.
pub(crate) fn permissions_to_text(permissions: PermissionSet) -> String {
    permissions.iter().map(Permission::as_str).collect::<Vec<_>>().join(" ")
}

fn permissions(text: &str) -> Option<PermissionSet> {
    text.split_ascii_whitespace().try_fold(PermissionSet::NONE, |set, name| {
        Some(set.union(PermissionSet::of(&[name.parse().ok()?])))
    })
}

/// A person, with what is checked when they log in.
#[derive(Clone, Debug)]
pub(crate) struct UserRow {
    pub(crate) info: UserInfo,
    pub(crate) password_hash: Option<String>,
}

pub(crate) fn user(row: &Row) -> Result<UserRow, AccessError> {
    let id = row.text(0)?;
    let column = |column| AccessError::Row {
        what: "user",
        id: id.to_owned(),
        source: RowError::Column { column },
    };
    let password_hash = optional(row, 4)?;
    let oidc = match (optional(row, 5)?, optional(row, 6)?) {
        (Some(issuer), Some(subject)) => Some(OidcSubject { issuer, subject }),
        _ => None,
    };
    let info = UserInfo {
        id: id.to_owned(),
        tenant: TenantId::new(row.text(1)?).map_err(|_| column("tenant"))?,
        name: row.text(2)?.to_owned(),
        display_name: row.text(3)?.to_owned(),
        has_password: password_hash.is_some(),
        oidc,
        role: row.text(7)?.parse().map_err(|_| column("role"))?,
        all_tenants: row.boolean(8)?,
        disabled: row.boolean(9)?,
        created_at: Timestamp::from_millis(row.integer(10)?),
        last_login_at: time(row, 11)?,
    };
    Ok(UserRow { info, password_hash })
}

pub(crate) fn session(row: &Row) -> Result<SessionInfo, StateError> {
    Ok(SessionInfo {
        id: row.text(0)?.to_owned(),
        user_id: row.text(1)?.to_owned(),
        created_at: Timestamp::from_millis(row.integer(2)?),
        expires_at: Timestamp::from_millis(row.integer(3)?),
        last_seen_at: Timestamp::from_millis(row.integer(4)?),
        address: optional(row, 5)?,
    })
}

/// Returns what a session gives, under the hash of its cookie.
pub(crate) fn session_grant(row: &Row) -> Result<(SecretHash, SessionGrant), AccessError> {
    let id = row.text(0)?;
    let column = |column| AccessError::Row {
        what: "session",
        id: id.to_owned(),
        source: RowError::Column { column },
    };
    let hash = SecretHash::from_hex(row.text(1)?).ok_or_else(|| column("hash"))?;
    let person = Person {
        id: row.text(5)?,
        name: row.text(6)?,
        display_name: row.text(7)?,
        tenant: TenantId::new(row.text(8)?).map_err(|_| column("tenant"))?,
        role: row.text(9)?.parse().map_err(|_| column("role"))?,
        all_tenants: row.boolean(10)?,
    };
    let grant = SessionGrant {
        principal: person.principal(),
        id: id.into(),
        csrf: SecretString::from(row.text(2)?),
        expires_at: Timestamp::from_millis(row.integer(3)?),
        used: Arc::new(LastUse::new(time(row, 4)?)),
    };
    Ok((hash, grant))
}

/// What makes a person a principal.
#[derive(Debug)]
pub(crate) struct Person<'a> {
    pub(crate) id: &'a str,
    pub(crate) name: &'a str,
    pub(crate) display_name: &'a str,
    pub(crate) tenant: TenantId,
    pub(crate) role: Role,
    pub(crate) all_tenants: bool,
}

impl Person<'_> {
    pub(crate) fn principal(self) -> Principal {
        let name = if self.display_name.is_empty() { self.name } else { self.display_name };
        Principal {
            kind: PrincipalKind::User { id: self.id.into() },
            name: name.into(),
            tenant: self.tenant,
            all_tenants: self.all_tenants,
            app: None,
            permissions: self.role.permissions(),
        }
    }
}

fn time(row: &Row, column: usize) -> Result<Option<Timestamp>, StateError> {
    Ok(row.optional_integer(column)?.map(Timestamp::from_millis))
}

fn optional(row: &Row, column: usize) -> Result<Option<String>, StateError> {
    Ok(row.optional_text(column)?.map(str::to_owned))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn permissions_are_read_as_they_are_written_and_unknown_ones_refused() {
        for role in Role::ALL {
            let set = role.permissions();
            assert_eq!(permissions(&permissions_to_text(set)), Some(set), "{role}");
        }
        assert_eq!(permissions("admin everything"), None);
    }
}
