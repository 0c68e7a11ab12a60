//! People.

use model::TenantId;
use platform::Timestamp;
use secrecy::SecretString;
use serde_json::json;
use state::{StateError, Statement};

use super::{Access, Area, Attempt, Rights, check_name};
use crate::audit::{NewAuditEntry, Outcome};
use crate::failure::{AccessError, LoginError};
use crate::password::PasswordCheck;
use crate::permission::{Permission, Role};
use crate::records::{Actor, NewUser, UserChange, UserInfo};
use crate::rows::{self, UserRow};

impl Access {
    /// Adds a person.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant or has not all the rights of the role; there are too many people, or
    /// one of that name; a value is not allowed; the database fails.
    pub async fn create_user(&self, actor: &Actor, new: NewUser) -> Result<UserInfo, AccessError> {
        let attempt = Attempt { action: "user.create", target: &new.name };
        self.check_admin(actor, &new.tenant, attempt).await?;
        let rights = rights(new.role, new.all_tenants);
        self.check_rights(actor, &new.tenant, attempt, rights).await?;
        check_name("name", &new.name)?;
        check_display_name(&new.display_name)?;
        self.check_tenant_exists(&new.tenant)?;
        let password_hash = match &new.password {
            Some(password) => Some(self.hasher.hash(password).await?),
            None => None,
        };
        let info = UserInfo {
            id: self.identifiers.next(),
            tenant: new.tenant,
            name: new.name,
            display_name: new.display_name,
            has_password: password_hash.is_some(),
            oidc: None,
            role: new.role,
            all_tenants: new.all_tenants,
            disabled: false,
            created_at: self.now(),
            last_login_at: None,
        };
        let entry = done(&info, "user.create", rights_detail(&info));
        let user = UserRow { info, password_hash };
        let statements = [self.room_for_user(), insert(&user), self.audited(actor, entry)];
        let changed = self.change(&statements).await;
        changed.map_err(|error| self.new_user_error(&user.info.name, error))?;
        Ok(user.info)
    }

    /// Returns the people of a tenant, or of all, by name.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant, or of all; the database fails.
    pub async fn list_users(
        &self,
        actor: &Actor,
        tenant: Option<&TenantId>,
    ) -> Result<Vec<UserInfo>, AccessError> {
        let attempt = Attempt { action: "user.list", target: "" };
        let asked = tenant.unwrap_or(&actor.principal.tenant);
        self.check_admin(actor, asked, attempt).await?;
        let rows = match tenant {
            None if actor.principal.all_tenants => self.database.query(rows::USERS, &[]).await?,
            _ => self.database.query(rows::USERS_OF_TENANT, &[asked.as_str().into()]).await?,
        };
        rows.iter().map(|row| rows::user(row).map(|user| user.info)).collect()
    }

    /// Returns a person: one that the actor manages, or themselves.
    ///
    /// # Errors
    ///
    /// There is none, or the database fails.
    pub async fn get_user(&self, actor: &Actor, id: &str) -> Result<UserInfo, AccessError> {
        let user = self.find_user(actor, id).await?.info;
        if actor.user_id() != Some(id) {
            let attempt = Attempt { action: "user.list", target: id };
            self.check_admin(actor, &user.tenant, attempt).await?;
        }
        Ok(user)
    }

    /// Changes a person. Their sessions follow at once; somebody who is disabled has none.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant, or has not all the rights that the person has now and afterwards;
    /// there is no such person; nobody could manage the server any more; the database fails.
    pub async fn update_user(
        &self,
        actor: &Actor,
        id: &str,
        change: UserChange,
    ) -> Result<UserInfo, AccessError> {
        let old = self.find_managed_user(actor, id, "user.update").await?.info;
        let new = UserInfo {
            display_name: change.display_name.unwrap_or_else(|| old.display_name.clone()),
            role: change.role.unwrap_or(old.role),
            all_tenants: change.all_tenants.unwrap_or(old.all_tenants),
            disabled: change.disabled.unwrap_or(old.disabled),
            ..old.clone()
        };
        let attempt = Attempt { action: "user.update", target: id };
        let rights = rights(new.role, new.all_tenants);
        self.check_rights(actor, &old.tenant, attempt, rights).await?;
        check_display_name(&new.display_name)?;
        let update = Statement::new(
            "UPDATE users SET display_name = $2, role = $3, all_tenants = $4, disabled = $5 \
             WHERE id = $1 AND role = $6 AND all_tenants = $7 AND disabled = $8",
            [
                id.into(),
                new.display_name.as_str().into(),
                new.role.as_str().into(),
                new.all_tenants.into(),
                new.disabled.into(),
                old.role.as_str().into(),
                old.all_tenants.into(),
                old.disabled.into(),
            ],
        );
        let mut detail = rights_detail(&new);
        detail["before"] = rights_detail(&old);
        let mut statements = vec![
            Area::People.changed(),
            update.affecting(1),
            self.audited(actor, done(&new, "user.update", detail)),
        ];
        if new.disabled {
            statements.push(end_sessions(id));
        }
        self.change_people(statements, &old, may_manage(&new)).await?;
        Ok(new)
    }

    /// Removes a person with their sessions. What they did stays in the audit log.
    ///
    /// # Errors
    ///
    /// As [`Access::update_user`].
    pub async fn delete_user(&self, actor: &Actor, id: &str) -> Result<(), AccessError> {
        let old = self.find_managed_user(actor, id, "user.delete").await?.info;
        let delete = Statement::new(
            "DELETE FROM users WHERE id = $1 AND role = $2 AND all_tenants = $3",
            [id.into(), old.role.as_str().into(), old.all_tenants.into()],
        );
        let entry = done(&old, "user.delete", rights_detail(&old));
        let statements =
            vec![Area::People.changed(), delete.affecting(1), self.audited(actor, entry)];
        self.change_people(statements, &old, false).await
    }

    /// Gives a person another password and ends all their sessions.
    ///
    /// # Errors
    ///
    /// The actor is no administrator of the tenant, or has not all the rights of the person; there is no such person;
    /// the password is not allowed; the database fails.
    pub async fn set_password(
        &self,
        actor: &Actor,
        id: &str,
        password: &SecretString,
    ) -> Result<(), AccessError> {
        let user = self.find_managed_user(actor, id, "user.set_password").await?;
        self.store_password(actor, &user, password, None).await
    }

    /// Gives the actor another password. Of their sessions only `session` goes on.
    ///
    /// # Errors
    ///
    /// [`LoginError::Wrong`]: the actor is no person, or `old` is not their password. Others as
    /// [`Access::set_password`] and [`Access::login`].
    pub async fn change_password(
        &self,
        actor: &Actor,
        session: &str,
        old: &SecretString,
        new: &SecretString,
    ) -> Result<(), LoginError> {
        let Some(id) = actor.user_id() else { return Err(LoginError::Wrong) };
        let user = self.find_user(actor, id).await?;
        let key = super::sessions::throttle_key(&user.info.name, actor.address);
        let found = self.check_password(key, old, user.password_hash.as_deref()).await?;
        if found == PasswordCheck::Wrong {
            return Err(LoginError::Wrong);
        }
        self.throttle.succeed(key);
        Ok(self.store_password(actor, &user, new, Some(session)).await?)
    }

    pub(super) async fn store_password(
        &self,
        actor: &Actor,
        user: &UserRow,
        password: &SecretString,
        kept_session: Option<&str>,
    ) -> Result<(), AccessError> {
        let hash = self.hasher.hash(password).await?;
        let id = user.info.id.as_str();
        // Whoever gains rights meanwhile is not taken over by somebody who may not have them.
        let update = Statement::new(
            "UPDATE users SET password_hash = $2 WHERE id = $1 AND role = $3 AND all_tenants = $4",
            [id.into(), hash.into(), user.info.role.as_str().into(), user.info.all_tenants.into()],
        );
        let end_others = Statement::new(
            "DELETE FROM sessions WHERE user_id = $1 AND id <> $2",
            [id.into(), kept_session.unwrap_or_default().into()],
        );
        let entry = done(&user.info, "user.set_password", json!({ "name": user.info.name }));
        let statements =
            [Area::People.changed(), update.affecting(1), end_others, self.audited(actor, entry)];
        self.change(&statements).await.map_err(|error| changed(id, error))
    }

    /// Makes a change after which somebody must be left who can manage the server, when there was somebody.
    async fn change_people(
        &self,
        mut statements: Vec<Statement>,
        old: &UserInfo,
        still_manages: bool,
    ) -> Result<(), AccessError> {
        let guard = statements.len();
        if may_manage(old) && !still_manages && !self.directory.has_bootstrap_key() {
            statements.push(Statement::new(SOMEBODY_LEFT, []).affecting(1));
        }
        self.change(&statements).await.map_err(|error| match error {
            StateError::Unmet { statement, .. } if statement == guard => {
                AccessError::LastAdministrator
            }
            error => changed(&old.id, error),
        })
    }

    /// Returns a person whom the actor may change.
    async fn find_managed_user(
        &self,
        actor: &Actor,
        id: &str,
        action: &'static str,
    ) -> Result<UserRow, AccessError> {
        let user = self.find_user(actor, id).await?;
        let attempt = Attempt { action, target: id };
        self.check_admin(actor, &user.info.tenant, attempt).await?;
        let rights = rights(user.info.role, user.info.all_tenants);
        self.check_rights(actor, &user.info.tenant, attempt, rights).await?;
        Ok(user)
    }

    /// Returns a person, unless they are in a tenant that the actor must not know of.
    pub(super) async fn find_user(&self, actor: &Actor, id: &str) -> Result<UserRow, AccessError> {
        let principal = &actor.principal;
        let rows = self.database.query(rows::USER, &[id.replace('\0', "").into()]).await?;
        let user = rows.first().map(rows::user).transpose()?;
        user.filter(|user| principal.all_tenants || principal.tenant == user.info.tenant)
            .filter(|_| principal.may(Permission::Admin) || actor.user_id() == Some(id))
            .ok_or_else(|| AccessError::NotFound { what: "user", id: id.to_owned() })
    }

    /// Returns [`Area::changed`] that changes nothing when there is no room for a person.
    pub(super) fn room_for_user(&self) -> Statement {
        Statement::new(
            "UPDATE revision SET number = number + 1 WHERE area = $1 AND (SELECT COUNT(*) FROM users) < $2",
            [Area::People.as_str().into(), self.settings.users_max.cast_signed().into()],
        )
        .affecting(1)
    }

    pub(super) fn new_user_error(&self, name: &str, error: StateError) -> AccessError {
        match error {
            StateError::Unmet { .. } => {
                AccessError::LimitReached { what: "users", max: self.settings.users_max }
            }
            StateError::Conflict { .. } => {
                AccessError::Exists { what: "user", id: name.to_owned() }
            }
            error => error.into(),
        }
    }
}

/// Changes one row when somebody can still manage the server.
const SOMEBODY_LEFT: &str = "UPDATE revision SET number = number WHERE area = 'people' AND EXISTS (\
     SELECT 1 FROM users WHERE role = 'admin' AND all_tenants = 1 AND disabled = 0 \
     AND (password_hash IS NOT NULL OR oidc_subject IS NOT NULL))";

/// Returns whether somebody can manage the server.
fn may_manage(user: &UserInfo) -> bool {
    let may_log_in = !user.disabled && (user.has_password || user.oidc.is_some());
    may_log_in && user.all_tenants && user.role == Role::Admin
}

fn rights(role: Role, all_tenants: bool) -> Rights<'static> {
    Rights { permissions: role.permissions(), all_tenants, app: None }
}

pub(super) fn rights_detail(user: &UserInfo) -> serde_json::Value {
    json!({
        "name": user.name,
        "role": user.role.as_str(),
        "all_tenants": user.all_tenants,
        "disabled": user.disabled,
    })
}

pub(super) fn done(
    user: &UserInfo,
    action: &'static str,
    detail: serde_json::Value,
) -> NewAuditEntry {
    NewAuditEntry {
        tenant: user.tenant.clone(),
        action,
        target: user.id.clone(),
        outcome: Outcome::Done,
        detail,
    }
}

fn changed(id: &str, error: StateError) -> AccessError {
    match error {
        StateError::Unmet { .. } => AccessError::Changed { what: "user", id: id.to_owned() },
        error => error.into(),
    }
}

fn check_display_name(name: &str) -> Result<(), AccessError> {
    if name.is_empty() { Ok(()) } else { check_name("display_name", name) }
}

pub(super) fn end_sessions(user: &str) -> Statement {
    Statement::new("DELETE FROM sessions WHERE user_id = $1", [user.into()])
}

pub(super) fn insert(user: &UserRow) -> Statement {
    let info = &user.info;
    let oidc = info.oidc.as_ref();
    Statement::new(
        "INSERT INTO users (id, tenant, name, display_name, password_hash, oidc_issuer, oidc_subject, role, \
         all_tenants, disabled, created_at, last_login_at) \
         VALUES ($1, $2, $3, $4, $5, $6, $7, $8, $9, $10, $11, $12)",
        [
            info.id.as_str().into(),
            info.tenant.as_str().into(),
            info.name.as_str().into(),
            info.display_name.as_str().into(),
            user.password_hash.as_deref().into(),
            oidc.map(|oidc| oidc.issuer.as_str()).into(),
            oidc.map(|oidc| oidc.subject.as_str()).into(),
            info.role.as_str().into(),
            info.all_tenants.into(),
            info.disabled.into(),
            info.created_at.as_millis().into(),
            info.last_login_at.map(Timestamp::as_millis).into(),
        ],
    )
    .affecting(1)
}
