//! People.

use access::{Actor, NewUser, Role, UserChange, UserInfo};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use secrecy::SecretString;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, MANAGE, about, private, time};
use crate::body::{json_of, read_json};
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};

/// A person.
#[derive(Serialize, ToSchema)]
struct User {
    id: String,
    /// What they log in with.
    name: String,
    display_name: String,
    /// Such as `viewer`.
    role: &'static str,
    tenant: String,
    /// Whether they may act in every tenant.
    all_tenants: bool,
    /// Whether they cannot log in.
    disabled: bool,
    has_password: bool,
    /// The OpenID Connect provider that they log in at.
    oidc_issuer: Option<String>,
    created_at: String,
    last_login_at: Option<String>,
}

/// The people of a tenant.
#[derive(Serialize, ToSchema)]
struct Users {
    users: Vec<User>,
}

/// A person to be added.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserRequest {
    /// What they log in with: 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// What to call them; the name by default.
    display_name: Option<String>,
    /// `admin`, `editor`, `viewer`, `ingest` or `agent`.
    role: String,
    /// Left out for those who get one later.
    #[schema(value_type = Option<String>, format = Password)]
    password: Option<String>,
    #[serde(default)]
    all_tenants: bool,
}

/// What to change about a person; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct UserChangeRequest {
    display_name: Option<String>,
    role: Option<String>,
    all_tenants: Option<bool>,
    disabled: Option<bool>,
}

/// A new password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordRequest {
    #[schema(format = Password)]
    password: String,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/users", MANAGE, list)
            .describe(about("List the people of the tenant").answers::<Users>("The people.")),
        Endpoint::new(Verb::Post, "/v1/users", MANAGE, create).describe(
            about("Add a person")
                .details("Nobody can give rights that they do not have.")
                .takes::<UserRequest>()
                .answers_with::<User>(201, "The person.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Patch, "/v1/users/{id}", MANAGE, change).describe(
            about("Change a person")
                .details("Their sessions have the new rights at once; those of the disabled end.")
                .path("id", "The person.")
                .takes::<UserChangeRequest>()
                .answers::<User>("The person.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Post, "/v1/users/{id}/password", MANAGE, set_password).describe(
            about("Set a person's password")
                .details("Ends their sessions.")
                .path("id", "The person.")
                .takes::<PasswordRequest>()
                .answers_nothing(204, "It is set.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Delete, "/v1/users/{id}", MANAGE, delete).describe(
            about("Remove a person")
                .details("Ends their sessions.")
                .path("id", "The person.")
                .answers_nothing(204, "They are removed.")
                .refuses(409),
        ),
    ]
}

async fn list(
    caller: Caller,
    Extension(actor): Extension<Actor>,
) -> Result<Response, NativeFailure> {
    let users = caller.app.access.list_users(&actor, Some(&caller.tenant.id)).await?;
    let users = users.into_iter().map(User::of).collect();
    Ok(private(json_of(StatusCode::OK, &Users { users })))
}

async fn create(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: UserRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    let new = NewUser {
        tenant: caller.tenant.id.clone(),
        display_name: asked.display_name.unwrap_or_else(|| asked.name.clone()),
        name: asked.name,
        password: asked.password.map(SecretString::from),
        role: role(&asked.role)?,
        all_tenants: asked.all_tenants,
    };
    let user = caller.app.access.create_user(&actor, new).await?;
    Ok(private(json_of(StatusCode::CREATED, &User::of(user))))
}

async fn change(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: UserChangeRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    check_tenant(&caller, &actor, &id).await?;
    let change = UserChange {
        display_name: asked.display_name,
        role: asked.role.as_deref().map(role).transpose()?,
        all_tenants: asked.all_tenants,
        disabled: asked.disabled,
    };
    let user = caller.app.access.update_user(&actor, &id, change).await?;
    Ok(private(json_of(StatusCode::OK, &User::of(user))))
}

async fn set_password(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: PasswordRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    check_tenant(&caller, &actor, &id).await?;
    caller.app.access.set_password(&actor, &id, &asked.password.into()).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

async fn delete(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, NativeFailure> {
    check_tenant(&caller, &actor, &id).await?;
    caller.app.access.delete_user(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Checks that somebody belongs to the tenant that the request is for.
async fn check_tenant(caller: &Caller, actor: &Actor, id: &str) -> Result<(), Failure> {
    let user = caller.app.access.get_user(actor, id).await?;
    if user.tenant == caller.tenant.id {
        return Ok(());
    }
    Err(access::AccessError::NotFound { what: "user", id: id.to_owned() }.into())
}

fn role(name: &str) -> Result<Role, Failure> {
    name.parse().map_err(|error: access::UnknownName| Failure::bad_data(error.to_string()))
}

impl User {
    fn of(info: UserInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            display_name: info.display_name,
            role: info.role.as_str(),
            tenant: info.tenant.to_string(),
            all_tenants: info.all_tenants,
            disabled: info.disabled,
            has_password: info.has_password,
            oidc_issuer: info.oidc.map(|oidc| oidc.issuer),
            created_at: time(info.created_at),
            last_login_at: info.last_login_at.map(time),
        }
    }
}
