//! API keys.

use access::{Actor, CreatedKey, KeyInfo, KeyLimits, NewKey, Permission};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use http::StatusCode;
use secrecy::ExposeSecret as _;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use std::time::Duration;
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, MANAGE, about, object, permissions, private, read_time, time};
use crate::body::{json_of, read_json, read_json_or};
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};
use crate::openapi::Kind;
use crate::params::Params;
use crate::time::parse_duration;

/// How long a key lives on after it was replaced, where nothing is said.
const OVERLAP: Duration = Duration::from_hours(24);

/// An API key, without the key itself.
#[derive(Serialize, ToSchema)]
pub(super) struct Key {
    id: String,
    name: String,
    tenant: String,
    /// The application that events must belong to; `null` for any.
    app: Option<String>,
    /// Such as `metrics:write`.
    permissions: Vec<&'static str>,
    /// Whether `X-Scope-OrgID` may name another tenant.
    all_tenants: bool,
    limits: KeyLimitsShape,
    created_at: String,
    /// Who made it, as in the audit log.
    created_by: String,
    expires_at: Option<String>,
    revoked_at: Option<String>,
    /// The key that replaces it.
    replaced_by: Option<String>,
    /// To the minute.
    last_used_at: Option<String>,
}

/// What a key is allowed beside what its tenant is; what is left out is not limited.
#[derive(Clone, Debug, Default, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
struct KeyLimitsShape(Value);

/// A key that was just made.
#[derive(Serialize, ToSchema)]
struct NewKeyAnswer {
    #[serde(flatten)]
    info: Key,
    /// The key: 64 hexadecimal digits. It cannot be seen again.
    key: String,
}

/// The keys of a tenant.
#[derive(Serialize, ToSchema)]
struct Keys {
    keys: Vec<Key>,
}

/// A key to be made: with a role or with permissions.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct KeyRequest {
    /// 1 to 128 characters.
    #[schema(min_length = 1, max_length = 128)]
    name: String,
    /// `admin`, `editor`, `viewer`, `ingest` or `agent`.
    role: Option<String>,
    /// Such as `metrics:write`.
    permissions: Option<Vec<String>>,
    /// The application that events must belong to.
    app: Option<String>,
    /// RFC 3339.
    expires_at: Option<String>,
    #[serde(default)]
    all_tenants: bool,
    /// `requests_per_second`, `requests_burst`, and the same for `samples` and `events`.
    limits: Option<KeyLimitsShape>,
}

/// How to replace a key.
#[derive(Default, Deserialize, ToSchema)]
#[serde(default, deny_unknown_fields)]
struct RotateRequest {
    /// How long the old key lives on, such as `24h`, the default; at most 30 days.
    overlap: Option<String>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/keys", MANAGE, list).describe(
            about("List the API keys of the tenant")
                .query("include_revoked", Kind::Boolean, "Those that have ended, too.")
                .answers::<Keys>("The keys, the oldest first."),
        ),
        Endpoint::new(Verb::Post, "/v1/keys", MANAGE, create).describe(
            about("Make an API key")
                .details("Nobody can give rights that they do not have.")
                .takes::<KeyRequest>()
                .answers_with::<NewKeyAnswer>(201, "The key, this once.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Post, "/v1/keys/{id}/rotate", MANAGE, rotate).describe(
            about("Replace an API key")
                .details("The new one has the same rights; the old one lives on for the overlap.")
                .path("id", "The key.")
                .takes::<RotateRequest>()
                .answers_with::<NewKeyAnswer>(201, "The new key, this once.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Delete, "/v1/keys/{id}", MANAGE, revoke).describe(
            about("Revoke an API key")
                .details("It opens nothing any more, on all servers within a second.")
                .path("id", "The key.")
                .answers_nothing(204, "It is revoked.")
                .refuses(409),
        ),
    ]
}

async fn list(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let params = Params::of(&caller.app, request).await?;
    let include_ended = match params.get("include_revoked") {
        None | Some("false") => false,
        Some("true") => true,
        Some(_) => return Err(Failure::parameter("include_revoked", "say true or false").into()),
    };
    let now = caller.app.clock.now();
    let keys = caller.app.access.list_keys(&actor, &caller.tenant.id).await?;
    let is_alive = |key: &KeyInfo| {
        key.revoked_at.is_none() && key.expires_at.is_none_or(|expires| expires > now)
    };
    let keys = keys.into_iter().filter(|key| include_ended || is_alive(key)).map(Key::of);
    Ok(private(json_of(StatusCode::OK, &Keys { keys: keys.collect() })))
}

async fn create(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: KeyRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    let limits = match asked.limits {
        None => KeyLimits::default(),
        Some(KeyLimitsShape(limits)) => KeyLimits::from_json(&limits.to_string())
            .map_err(|error| Failure::bad_data(error.to_string()))?,
    };
    let expires_at = match &asked.expires_at {
        None => None,
        Some(text) => Some(read_time("expires_at", text)?),
    };
    let created = caller.app.access.create_key(
        &actor,
        NewKey {
            tenant: caller.tenant.id.clone(),
            app: asked.app,
            name: asked.name,
            permissions: permissions(asked.role.as_deref(), asked.permissions.as_deref())?,
            all_tenants: asked.all_tenants,
            limits,
            expires_at,
        },
    );
    Ok(shown_once(created.await?))
}

async fn rotate(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: RotateRequest = read_json_or(&caller.app, request, BODY_BYTES_MAX).await?;
    let overlap = match asked.overlap.as_deref() {
        None => OVERLAP,
        Some(text) => parse_duration(text)
            .and_then(|millis| u64::try_from(millis).ok())
            .map(Duration::from_millis)
            .ok_or_else(|| Failure::bad_data("invalid overlap: use a duration such as 24h"))?,
    };
    check_tenant(&caller, &actor, &id).await?;
    Ok(shown_once(caller.app.access.rotate_key(&actor, &id, overlap).await?))
}

async fn revoke(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
) -> Result<Response, NativeFailure> {
    check_tenant(&caller, &actor, &id).await?;
    caller.app.access.revoke_key(&actor, &id).await?;
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// Checks that a key belongs to the tenant that the request is for: whoever manages several must say which.
pub(super) async fn check_tenant(caller: &Caller, actor: &Actor, id: &str) -> Result<(), Failure> {
    let key = caller.app.access.get_key(actor, id).await?;
    if key.tenant == caller.tenant.id {
        return Ok(());
    }
    Err(access::AccessError::NotFound { what: "key", id: id.to_owned() }.into())
}

fn shown_once(created: CreatedKey) -> Response {
    let key = created.secret.expose_secret().to_owned();
    let answer = NewKeyAnswer { info: Key::of(created.info), key };
    private(json_of(StatusCode::CREATED, &answer))
}

impl Key {
    fn of(info: KeyInfo) -> Self {
        Self {
            id: info.id,
            name: info.name,
            tenant: info.tenant.to_string(),
            app: info.app,
            permissions: info.permissions.iter().map(Permission::as_str).collect(),
            all_tenants: info.all_tenants,
            limits: KeyLimitsShape(object(&info.limits.to_json())),
            created_at: time(info.created_at),
            created_by: info.created_by,
            expires_at: info.expires_at.map(time),
            revoked_at: info.revoked_at.map(time),
            replaced_by: info.replaced_by,
            last_used_at: info.last_used_at.map(time),
        }
    }
}
