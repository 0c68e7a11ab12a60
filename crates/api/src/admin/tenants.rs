//! Tenants.

use std::time::Duration;

use access::{Actor, NewTenant, TenantChange, TenantLimits};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::Response;
use http::StatusCode;
use model::TenantId;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use utoipa::ToSchema;

use super::{BODY_BYTES_MAX, MANAGE, SERVER, about, object, private, time};
use crate::body::{json_of, read_json};
use crate::caller::Caller;
use crate::endpoint::{Endpoint, Verb};
use crate::failure::{Failure, NativeFailure};
use crate::parts::App;
use crate::time::parse_duration;

/// How long a new tenant's store may take to be opened before the answer says that it is made.
const OPENED_WITHIN: Duration = Duration::from_secs(5);
/// How often it is looked for.
const LOOK_EVERY: Duration = Duration::from_millis(20);

/// A tenant.
#[derive(Serialize, ToSchema)]
struct Tenant {
    /// What `X-Scope-OrgID` says.
    id: String,
    display_name: String,
    /// Whether nobody may read and write its data.
    disabled: bool,
    created_at: String,
    /// How long its metrics are kept, such as `30d`; `0s` is for ever, `null` as the server's configuration says.
    metrics_retention: Option<String>,
    limits: TenantLimitsShape,
}

/// What a tenant is allowed; what is left out is as the server's configuration says.
#[derive(Clone, Debug, Serialize, Deserialize, ToSchema)]
#[serde(transparent)]
#[schema(value_type = Object)]
pub(super) struct TenantLimitsShape(pub(super) Value);

/// Tenants.
#[derive(Serialize, ToSchema)]
struct Tenants {
    tenants: Vec<Tenant>,
}

/// A tenant to be made.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantRequest {
    /// 1 to 64 letters, digits, `_`, `-` and `.`, the first a letter or digit.
    #[schema(min_length = 1, max_length = 64, pattern = "^[A-Za-z0-9][A-Za-z0-9_.-]*$")]
    id: String,
    /// What to call it; the identifier by default.
    display_name: Option<String>,
    /// How long its metrics are kept, such as `30d`; `0` is for ever; left out as the server's configuration says.
    metrics_retention: Option<String>,
    /// `requests_per_second`, `requests_burst`, the same for `samples`, `events` and `queries`, and
    /// `queries_concurrent_max`, `query_samples_max`, `series_max`, `bytes_per_day_max`, `samples_per_day_max`,
    /// `events_per_day_max`.
    limits: Option<TenantLimitsShape>,
}

/// What to change about a tenant; what is left out stays.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct TenantChangeRequest {
    display_name: Option<String>,
    disabled: Option<bool>,
    /// How long its metrics are kept, such as `30d`; `0` is for ever, `default` as the server's configuration says.
    metrics_retention: Option<String>,
    /// All limits: what is left out in there is not limited any more.
    limits: Option<TenantLimitsShape>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/tenants", MANAGE, list).describe(
            about("List tenants")
                .details("All of them for administrators of all tenants, else the own one.")
                .answers::<Tenants>("The tenants."),
        ),
        Endpoint::new(Verb::Post, "/v1/tenants", SERVER, create).describe(
            about("Make a tenant")
                .takes::<TenantRequest>()
                .answers_with::<Tenant>(201, "The tenant; its data can be written now.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Patch, "/v1/tenants/{id}", SERVER, change).describe(
            about("Change a tenant")
                .path("id", "The tenant.")
                .takes::<TenantChangeRequest>()
                .answers::<Tenant>("The tenant.")
                .refuses(409),
        ),
    ]
}

async fn list(
    caller: Caller,
    Extension(actor): Extension<Actor>,
) -> Result<Response, NativeFailure> {
    let tenants = caller.app.access.list_tenants(&actor).await?;
    let tenants = tenants.iter().map(|tenant| Tenant::of(tenant)).collect();
    Ok(private(json_of(StatusCode::OK, &Tenants { tenants })))
}

async fn create(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: TenantRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    let new = NewTenant {
        name: asked.display_name.unwrap_or_else(|| asked.id.clone()),
        id: TenantId::new(&asked.id).map_err(|error| Failure::bad_data(error.to_string()))?,
        limits: asked.limits.map(limits).transpose()?.unwrap_or_default(),
        metrics_retention: asked.metrics_retention.as_deref().map(retention).transpose()?,
    };
    let tenant = caller.app.access.create_tenant(&actor, new).await?;
    wait_until_open(&caller.app, &tenant.id).await;
    Ok(private(json_of(StatusCode::CREATED, &Tenant::of(&tenant))))
}

async fn change(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path(id): Path<String>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let asked: TenantChangeRequest = read_json(&caller.app, request, BODY_BYTES_MAX).await?;
    let unknown = || access::AccessError::NotFound { what: "tenant", id: id.clone() };
    let id = TenantId::new(&id).map_err(|_| unknown())?;
    let change = TenantChange {
        name: asked.display_name,
        limits: asked.limits.map(limits).transpose()?,
        metrics_retention: match asked.metrics_retention.as_deref() {
            None => None,
            Some("default") => Some(None),
            Some(text) => Some(Some(retention(text)?)),
        },
        disabled: asked.disabled,
    };
    let tenant = caller.app.access.update_tenant(&actor, &id, change).await?;
    Ok(private(json_of(StatusCode::OK, &Tenant::of(&tenant))))
}

/// Waits until the store of a new tenant is there, for a while: whoever made it will write next.
async fn wait_until_open(app: &App, id: &TenantId) {
    let deadline = app.clock.monotonic().saturating_add(OPENED_WITHIN);
    while app.stores.get(id).is_none() && app.clock.monotonic() < deadline {
        app.clock.sleep_until(app.clock.monotonic().saturating_add(LOOK_EVERY)).await;
    }
}

fn limits(TenantLimitsShape(limits): TenantLimitsShape) -> Result<TenantLimits, Failure> {
    TenantLimits::from_json(&limits.to_string())
        .map_err(|error| Failure::bad_data(error.to_string()))
}

fn retention(text: &str) -> Result<Duration, Failure> {
    let millis = parse_duration(text).and_then(|millis| u64::try_from(millis).ok());
    millis.map(Duration::from_millis).ok_or_else(|| {
        Failure::bad_data(format!("invalid metrics_retention: {text:?} is no duration such as 30d"))
    })
}

impl Tenant {
    fn of(tenant: &access::Tenant) -> Self {
        Self {
            id: tenant.id.to_string(),
            display_name: tenant.name.clone(),
            disabled: tenant.disabled,
            created_at: time(tenant.created_at),
            metrics_retention: tenant.metrics_retention.map(|kept| format!("{}s", kept.as_secs())),
            limits: TenantLimitsShape(object(&tenant.limits.to_json())),
        }
    }
}
