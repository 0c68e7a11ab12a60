//! Keys as Causality managed them: of an application, for sending events.

use access::{Actor, KeyInfo, KeyLimits, NewKey, Permission, PermissionSet};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, MANAGE, about, keys, private, time};
use crate::body::{json_of, read_json};
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Family, Verb};
use crate::failure::{CausalityFailure, Failure};
use crate::openapi::Kind;
use crate::params::Params;

/// A key to be made. Other fields are ignored.
#[derive(Deserialize, ToSchema)]
struct AppKeyRequest {
    #[serde(default)]
    app_id: String,
    #[serde(default)]
    name: String,
}

/// A key that was just made.
#[derive(Serialize, ToSchema)]
struct NewAppKey {
    id: String,
    app_id: String,
    name: String,
    /// 64 hexadecimal digits.
    key: String,
    message: &'static str,
}

/// A key of an application.
#[derive(Serialize, ToSchema)]
struct AppKey {
    id: String,
    app_id: String,
    name: String,
    revoked: bool,
    created_at: String,
    #[serde(skip_serializing_if = "Option::is_none")]
    #[schema(nullable = false)]
    revoked_at: Option<String>,
}

/// The keys of an application.
#[derive(Serialize, ToSchema)]
struct AppKeys {
    count: usize,
    keys: Vec<AppKey>,
}

/// What became of a key.
#[derive(Serialize, ToSchema)]
struct Revoked {
    id: String,
    status: &'static str,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    let family = |endpoint: Endpoint| endpoint.family(Family::Causality);
    vec![
        family(Endpoint::new(Verb::Post, "/api/admin/keys", MANAGE, create)).describe(
            about("Make a key for sending an application's events")
                .takes::<AppKeyRequest>()
                .answers_with::<NewAppKey>(201, "The key, this once.")
                .refuses(409),
        ),
        family(Endpoint::new(Verb::Get, "/api/admin/keys", MANAGE, list)).describe(
            about("List the keys of an application")
                .required("app_id", Kind::Text, "The application.")
                .answers::<AppKeys>("The keys, the newest first, the revoked ones too."),
        ),
        family(Endpoint::new(Verb::Delete, "/api/admin/keys/{id}", MANAGE, revoke)).describe(
            about("Revoke a key of an application")
                .path("id", "The key.")
                .answers::<Revoked>("It is revoked.")
                .refuses(409),
        ),
    ]
}

async fn create(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, CausalityFailure> {
    let asked: AppKeyRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    if asked.app_id.is_empty() {
        return Err(Failure::bad_data("app_id is required").into());
    }
    // A key's name is optional there.
    let name = if asked.name.is_empty() { asked.app_id.clone() } else { asked.name };
    let new = NewKey {
        tenant: caller.tenant.id.clone(),
        app: Some(asked.app_id),
        name,
        permissions: PermissionSet::of(&[Permission::EventsWrite]),
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: None,
    };
    let created = caller.app.access.create_key(&actor, new).await?;
    let answer = NewAppKey {
        id: created.info.id,
        app_id: created.info.app.unwrap_or_default(),
        name: created.info.name,
        key: created.secret.expose_secret().to_owned(),
        message: "Store this key securely. It will not be shown again.",
    };
    Ok(private(json_of(StatusCode::CREATED, &answer)))
}

async fn list(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, CausalityFailure> {
    let params = Params::of(&caller.app, request).await?;
    let Some(app_id) = params.get("app_id") else {
        return Err(Failure::bad_data("app_id query parameter is required").into());
    };
    let keys = caller.app.access.list_keys(&actor, &caller.tenant.id).await?;
    let of_app = keys.into_iter().rev().filter(|key| key.app.as_deref() == Some(app_id));
    let keys: Vec<AppKey> = of_app.map(AppKey::of).collect();
    Ok(private(json_of(StatusCode::OK, &AppKeys { count: keys.len(), keys })))
}

async fn revoke(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, CausalityFailure> {
    keys::check_tenant(&caller, &actor, &id).await?;
    caller.app.access.revoke_key(&actor, &id).await?;
    Ok(json_of(StatusCode::OK, &Revoked { id, status: "revoked" }))
}

impl AppKey {
    fn of(info: KeyInfo) -> Self {
        Self {
            id: info.id,
            app_id: info.app.unwrap_or_default(),
            name: info.name,
            revoked: info.revoked_at.is_some(),
            created_at: time(info.created_at),
            revoked_at: info.revoked_at.map(time),
        }
    }
}
