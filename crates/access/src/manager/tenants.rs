//! Tenants.

use std::sync::Arc;

use model::TenantId;
use serde_json::json;
use state::{StateError, Statement, Value};

use super::{Access, Area, Attempt, Rights, check_name};
use crate::audit::{NewAuditEntry, Outcome};
use crate::directory::Tenant;
use crate::failure::AccessError;
use crate::permission::PermissionSet;
use crate::quota::TenantLimits;
use crate::records::{Actor, NewTenant, TenantChange};
use crate::rows;

impl Access {
    /// Adds a tenant.
    ///
    /// # Errors
    ///
    /// The actor does not administer all tenants; there are too many, or there is one of that name; the database fails.
    pub async fn create_tenant(
        &self,
        actor: &Actor,
        new: NewTenant,
    ) -> Result<Arc<Tenant>, AccessError> {
        let attempt = Attempt { action: "tenant.create", target: new.id.as_str() };
        self.check_all_tenants(actor, &new.id, attempt).await?;
        check_name("name", &new.name)?;
        let tenant = Tenant {
            id: new.id,
            name: new.name,
            limits: Arc::new(new.limits),
            metrics_retention: new.metrics_retention,
            disabled: false,
            created_at: self.now(),
        };
        let max = self.settings.tenants_max;
        let room = Statement::new(
            "UPDATE revision SET number = number + 1 WHERE area = $1 AND (SELECT COUNT(*) FROM tenants) < $2",
            [Area::Tenants.as_str().into(), max.cast_signed().into()],
        );
        let statements = [
            room.affecting(1),
            insert(&tenant, INSERT).affecting(1),
            self.audited(actor, done(&tenant, "tenant.create")),
        ];
        match self.change(&statements).await {
            Ok(()) => Ok(Arc::new(tenant)),
            Err(StateError::Unmet { .. }) => {
                Err(AccessError::LimitReached { what: "tenants", max })
            }
            Err(StateError::Conflict { .. }) => {
                Err(AccessError::Exists { what: "tenant", id: tenant.id.to_string() })
            }
            Err(error) => Err(error.into()),
        }
    }

    /// Returns the tenants that the actor manages, in order: all, or their own.
    ///
    /// # Errors
    ///
    /// The actor is no administrator.
    pub async fn list_tenants(&self, actor: &Actor) -> Result<Vec<Arc<Tenant>>, AccessError> {
        let principal = &actor.principal;
        let attempt = Attempt { action: "tenant.list", target: "" };
        self.check_admin(actor, &principal.tenant, attempt).await?;
        let mut tenants = self.directory.tenants();
        tenants.retain(|tenant| principal.all_tenants || tenant.id == principal.tenant);
        Ok(tenants)
    }

    /// Changes a tenant.
    ///
    /// # Errors
    ///
    /// The actor does not administer all tenants, or there is no such tenant; the tenant `default` is to be disabled;
    /// the database fails.
    pub async fn update_tenant(
        &self,
        actor: &Actor,
        id: &TenantId,
        change: TenantChange,
    ) -> Result<Arc<Tenant>, AccessError> {
        let attempt = Attempt { action: "tenant.update", target: id.as_str() };
        self.check_all_tenants(actor, id, attempt).await?;
        if change.disabled == Some(true) && *id == TenantId::default_tenant() {
            let reason = "the tenant 'default' is that of those who name none".to_owned();
            return Err(AccessError::Invalid { field: "disabled", reason });
        }
        change.name.as_deref().map_or(Ok(()), |name| check_name("name", name))?;
        let not_found = || AccessError::NotFound { what: "tenant", id: id.to_string() };
        // Another server may just have made it.
        self.follow().await;
        let old = self.directory.tenant(id).ok_or_else(not_found)?;
        let tenant = Tenant {
            id: id.clone(),
            name: change.name.clone().unwrap_or_else(|| old.name.clone()),
            limits: change.limits.clone().map_or_else(|| Arc::clone(&old.limits), Arc::new),
            metrics_retention: change.metrics_retention.unwrap_or(old.metrics_retention),
            disabled: change.disabled.unwrap_or(old.disabled),
            created_at: old.created_at,
        };
        // Only what is asked for is written: somebody else may be changing the rest at this moment.
        let update = Statement::new(
            "UPDATE tenants SET name = COALESCE($2, name), limits = COALESCE($3, limits), \
             retention = COALESCE($4, retention), disabled = COALESCE($5, disabled) WHERE id = $1",
            [
                id.as_str().into(),
                change.name.as_deref().into(),
                change.limits.as_ref().map(TenantLimits::to_json).as_deref().into(),
                change.metrics_retention.map(rows::retention_to_json).as_deref().into(),
                change.disabled.map_or(Value::Null, Value::from),
            ],
        );
        let entry = done(&tenant, "tenant.update");
        let statements = [Area::Tenants.changed(), update.affecting(1), self.audited(actor, entry)];
        match self.change(&statements).await {
            Ok(()) => Ok(self.directory.tenant(id).unwrap_or_else(|| Arc::new(tenant))),
            Err(StateError::Unmet { .. }) => Err(not_found()),
            Err(error) => Err(error.into()),
        }
    }

    pub(super) async fn ensure_default_tenant(&self) -> Result<(), AccessError> {
        let rows = self.database.query(rows::TENANTS, &[]).await?;
        if rows.iter().any(|row| row.text(0).is_ok_and(|id| id == TenantId::DEFAULT)) {
            return Ok(());
        }
        let tenant = Tenant {
            id: TenantId::default_tenant(),
            name: TenantId::DEFAULT.to_owned(),
            limits: Arc::new(TenantLimits::default()),
            metrics_retention: None,
            disabled: false,
            created_at: self.now(),
        };
        self.database
            .transaction(&[Area::Tenants.changed(), insert(&tenant, INSERT_IF_MISSING)])
            .await?;
        Ok(())
    }

    pub(super) fn check_tenant_exists(&self, tenant: &TenantId) -> Result<(), AccessError> {
        match self.directory.tenant(tenant) {
            Some(_) => Ok(()),
            None => Err(AccessError::NotFound { what: "tenant", id: tenant.to_string() }),
        }
    }

    async fn check_all_tenants(
        &self,
        actor: &Actor,
        tenant: &TenantId,
        attempt: Attempt<'_>,
    ) -> Result<(), AccessError> {
        self.check_admin(actor, tenant, attempt).await?;
        let rights = Rights { permissions: PermissionSet::NONE, all_tenants: true, app: None };
        self.check_rights(actor, tenant, attempt, rights).await
    }
}

const INSERT: &str = "INSERT INTO tenants (id, name, limits, retention, disabled, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6)";

/// Two servers may begin at the same time.
const INSERT_IF_MISSING: &str = "INSERT INTO tenants (id, name, limits, retention, disabled, created_at) \
     VALUES ($1, $2, $3, $4, $5, $6) ON CONFLICT (id) DO NOTHING";

fn insert(tenant: &Tenant, sql: &'static str) -> Statement {
    Statement::new(
        sql,
        [
            tenant.id.as_str().into(),
            tenant.name.as_str().into(),
            tenant.limits.to_json().into(),
            rows::retention_to_json(tenant.metrics_retention).into(),
            tenant.disabled.into(),
            tenant.created_at.as_millis().into(),
        ],
    )
}

fn done(tenant: &Tenant, action: &'static str) -> NewAuditEntry {
    let limits: serde_json::Value =
        serde_json::from_str(&tenant.limits.to_json()).unwrap_or_default();
    NewAuditEntry {
        tenant: tenant.id.clone(),
        action,
        target: tenant.id.to_string(),
        outcome: Outcome::Done,
        detail: json!({
            "name": tenant.name,
            "limits": limits,
            "metrics_retention_s": tenant.metrics_retention.map(|time| time.as_secs()),
            "disabled": tenant.disabled,
        }),
    }
}
