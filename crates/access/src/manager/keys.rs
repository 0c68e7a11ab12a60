//! API keys.

use std::time::Duration;

use model::TenantId;
use platform::Timestamp;
use secrecy::ExposeSecret as _;
use serde_json::json;
use state::{StateError, Statement};

use super::{Access, Area, Attempt, Rights, check_name};
use crate::audit::{NewAuditEntry, Outcome};
use crate::directory::millis;
use crate::failure::AccessError;
use crate::permission::PermissionSet;
use crate::records::{Actor, CreatedKey, KeyInfo, NewKey};
use crate::rows;
use crate::secret::{self, SecretHash};

/// Longest that a key may live on after it was replaced.
const OVERLAP_MAX: Duration = Duration::from_hours(30 * 24);

impl Access {
    /// Makes a key.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant or has not all the rights of the key; there are too many keys; a
    /// value is not allowed; the database fails.
    pub async fn create_key(&self, actor: &Actor, new: NewKey) -> Result<CreatedKey, AccessError> {
        let attempt = Attempt { action: "key.create", target: &new.name };
        self.check_admin(actor, &new.tenant, attempt).await?;
        let rights = Rights {
            permissions: new.permissions,
            all_tenants: new.all_tenants,
            app: new.app.as_deref(),
        };
        self.check_rights(actor, &new.tenant, attempt, rights).await?;
        self.check_new_key(&new)?;
        let created = self.make_key(actor, new);
        let detail = json!({
            "name": created.info.name,
            "permissions": rows::permissions_to_text(created.info.permissions),
            "all_tenants": created.info.all_tenants,
            "app": created.info.app,
            "expires_at": created.info.expires_at.map(Timestamp::as_millis),
        });
        let entry = done(&created.info, "key.create", detail);
        let statements =
            [self.room_for_key(&created.info.tenant), insert(&created), self.audited(actor, entry)];
        self.change(&statements).await.map_err(|error| self.key_error(error))?;
        Ok(created)
    }

    /// Returns the keys of a tenant, the oldest first.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant, or the database fails.
    pub async fn list_keys(
        &self,
        actor: &Actor,
        tenant: &TenantId,
    ) -> Result<Vec<KeyInfo>, AccessError> {
        let attempt = Attempt { action: "key.list", target: "" };
        self.check_admin(actor, tenant, attempt).await?;
        let rows = self.database.query(rows::KEYS_OF_TENANT, &[tenant.as_str().into()]).await?;
        rows.iter().map(rows::key).collect()
    }

    /// Returns a key.
    ///
    /// # Errors
    ///
    /// There is none that the actor manages, or the database fails.
    pub async fn get_key(&self, actor: &Actor, id: &str) -> Result<KeyInfo, AccessError> {
        let info = self.find_key(actor, id).await?;
        let attempt = Attempt { action: "key.list", target: id };
        self.check_admin(actor, &info.tenant, attempt).await?;
        Ok(info)
    }

    /// Makes a key with the same rights, and lets the old one end after `overlap`, at most 30 days; with none, at once.
    ///
    /// # Errors
    ///
    /// As [`Access::create_key`]; the key has ended or is being replaced already.
    pub async fn rotate_key(
        &self,
        actor: &Actor,
        id: &str,
        overlap: Duration,
    ) -> Result<CreatedKey, AccessError> {
        let old = self.find_key(actor, id).await?;
        let attempt = Attempt { action: "key.rotate", target: id };
        self.check_admin(actor, &old.tenant, attempt).await?;
        self.check_rights(actor, &old.tenant, attempt, rights_of(&old)).await?;
        let now = self.now();
        if overlap > OVERLAP_MAX {
            let reason = format!("at most {} s", OVERLAP_MAX.as_secs());
            return Err(AccessError::Invalid { field: "overlap", reason });
        }
        let has_ended = old.revoked_at.is_some() || old.expires_at.is_some_and(|at| at <= now);
        if has_ended || old.replaced_by.is_some() {
            return Err(not_live());
        }
        let created = self.make_key(
            actor,
            NewKey {
                tenant: old.tenant.clone(),
                app: old.app.clone(),
                name: old.name.clone(),
                permissions: old.permissions,
                all_tenants: old.all_tenants,
                limits: old.limits.clone(),
                expires_at: old.expires_at,
            },
        );
        let after_overlap = now.saturating_add_millis(millis(overlap));
        let ends_at = old.expires_at.map_or(after_overlap, |at| at.min(after_overlap));
        let detail = json!({ "replaced_by": created.info.id, "ends_at": ends_at.as_millis() });
        let replace = Statement::new(
            "UPDATE api_keys SET replaced_by = $2, expires_at = $3 \
             WHERE id = $1 AND revoked_at IS NULL AND replaced_by IS NULL",
            [id.into(), created.info.id.as_str().into(), ends_at.as_millis().into()],
        );
        let statements = [
            self.room_for_key(&old.tenant),
            replace.affecting(1),
            insert(&created),
            self.audited(actor, done(&old, "key.rotate", detail)),
        ];
        self.change(&statements).await.map_err(|error| self.key_error(error))?;
        Ok(created)
    }

    /// Ends a key. Ending one that has been revoked changes nothing.
    ///
    /// # Errors
    ///
    /// There is none that the actor manages, it may do more than they, or the database fails.
    pub async fn revoke_key(&self, actor: &Actor, id: &str) -> Result<KeyInfo, AccessError> {
        let info = self.find_key(actor, id).await?;
        let attempt = Attempt { action: "key.revoke", target: id };
        self.check_admin(actor, &info.tenant, attempt).await?;
        let rights = Rights { permissions: PermissionSet::NONE, ..rights_of(&info) };
        self.check_rights(actor, &info.tenant, attempt, rights).await?;
        if info.revoked_at.is_some() {
            return Ok(info);
        }
        let now = self.now();
        let revoke = Statement::new(
            "UPDATE api_keys SET revoked_at = $2 WHERE id = $1 AND revoked_at IS NULL",
            [id.into(), now.as_millis().into()],
        );
        let entry = done(&info, "key.revoke", json!({ "name": info.name }));
        let statements = [Area::Keys.changed(), revoke.affecting(1), self.audited(actor, entry)];
        match self.change(&statements).await {
            Ok(()) => Ok(KeyInfo { revoked_at: Some(now), ..info }),
            // Somebody else was faster.
            Err(StateError::Unmet { .. }) => self.find_key(actor, id).await,
            Err(error) => Err(error.into()),
        }
    }

    /// Returns a key, unless it is in a tenant that the actor must not know of.
    async fn find_key(&self, actor: &Actor, id: &str) -> Result<KeyInfo, AccessError> {
        let rows = self.database.query(rows::KEY, &[id.replace('\0', "").into()]).await?;
        let info = rows.first().map(rows::key).transpose()?;
        let principal = &actor.principal;
        info.filter(|info| principal.all_tenants || principal.tenant == info.tenant)
            .ok_or_else(|| AccessError::NotFound { what: "key", id: id.to_owned() })
    }

    fn check_new_key(&self, new: &NewKey) -> Result<(), AccessError> {
        check_name("name", &new.name)?;
        new.app.as_deref().map_or(Ok(()), |app| check_name("app", app))?;
        if new.permissions == PermissionSet::NONE {
            let reason = "a key allows something".to_owned();
            return Err(AccessError::Invalid { field: "permissions", reason });
        }
        if new.expires_at.is_some_and(|at| at <= self.now()) {
            let reason = "it lies in the future".to_owned();
            return Err(AccessError::Invalid { field: "expires_at", reason });
        }
        self.check_tenant_exists(&new.tenant)
    }

    fn make_key(&self, actor: &Actor, new: NewKey) -> CreatedKey {
        let info = KeyInfo {
            id: self.identifiers.next(),
            tenant: new.tenant,
            app: new.app,
            name: new.name,
            permissions: new.permissions,
            all_tenants: new.all_tenants,
            limits: new.limits,
            created_at: self.now(),
            created_by: actor.principal.to_string(),
            expires_at: new.expires_at,
            revoked_at: None,
            replaced_by: None,
            last_used_at: None,
        };
        CreatedKey { info, secret: secret::generate(&*self.rng) }
    }

    /// Returns [`Area::changed`] that changes nothing when there is no room for a key.
    fn room_for_key(&self, tenant: &TenantId) -> Statement {
        Statement::new(
            "UPDATE revision SET number = number + 1 \
             WHERE area = $1 AND (SELECT COUNT(*) FROM api_keys WHERE tenant = $2) < $3",
            [
                Area::Keys.as_str().into(),
                tenant.as_str().into(),
                self.settings.keys_per_tenant_max.cast_signed().into(),
            ],
        )
        .affecting(1)
    }

    fn key_error(&self, error: StateError) -> AccessError {
        match error {
            StateError::Unmet { statement: 0, .. } => {
                AccessError::LimitReached { what: "keys", max: self.settings.keys_per_tenant_max }
            }
            StateError::Unmet { .. } => not_live(),
            error => error.into(),
        }
    }
}

fn rights_of(info: &KeyInfo) -> Rights<'_> {
    Rights {
        permissions: info.permissions,
        all_tenants: info.all_tenants,
        app: info.app.as_deref(),
    }
}

fn not_live() -> AccessError {
    let reason = "it has ended, or is being replaced already".to_owned();
    AccessError::Invalid { field: "key", reason }
}

fn done(info: &KeyInfo, action: &'static str, detail: serde_json::Value) -> NewAuditEntry {
    NewAuditEntry {
        tenant: info.tenant.clone(),
        action,
        target: info.id.clone(),
        outcome: Outcome::Done,
        detail,
    }
}

fn insert(created: &CreatedKey) -> Statement {
    let info = &created.info;
    Statement::new(
        "INSERT INTO api_keys (id, tenant, app, name, hash, permissions, all_tenants, limits, created_at, created_by, \
         expires_at) VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11)",
        [
            info.id.as_str().into(),
            info.tenant.as_str().into(),
            info.app.as_deref().into(),
            info.name.as_str().into(),
            SecretHash::of(created.secret.expose_secret()).to_hex().into(),
            rows::permissions_to_text(info.permissions).into(),
            info.all_tenants.into(),
            info.limits.to_json().into(),
            info.created_at.as_millis().into(),
            info.created_by.as_str().into(),
            info.expires_at.map(Timestamp::as_millis).into(),
        ],
    )
    .affecting(1)
}
