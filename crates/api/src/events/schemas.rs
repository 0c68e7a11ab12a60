//! The schemas that custom events have to fit.

use access::{AccessError, Actor, NewAuditEntry, Outcome, Permission};
use axum::Extension;
use axum::extract::{Path, Request};
use axum::response::{IntoResponse as _, Response};
use events::{CustomSchema, CustomSchemaError, SCHEMA_BYTES_MAX};
use http::StatusCode;
use serde::{Deserialize, Serialize};
use serde_json::Value;
use serde_json::value::RawValue;
use state::Statement;
use utoipa::ToSchema;

use super::about;
use crate::body::{json_of, read_json};
use crate::caller::Caller;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::failure::{Failure, Kind, NativeFailure};
use crate::time::format_rfc3339;

const READ: (Access, Class) = (Access::Needs(Permission::EventsRead), Class::Query);
const CHANGE: (Access, Class) = (Access::Needs(Permission::RulesWrite), Class::Admin);

/// What a request says beside the schema, in bytes at most.
const REST_BYTES_MAX: usize = 4 << 10;

/// A schema for the custom events of one name.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct EventSchemaRequest {
    /// The app of the events.
    app: String,
    /// Their name.
    event_name: String,
    /// `off`, `warn` (store and count what does not fit) or `enforce` (reject it).
    mode: String,
    /// A JSON Schema of draft 2020-12 for an object with all parameters of an event.
    #[schema(value_type = Object)]
    schema: Box<RawValue>,
}

/// A schema for the custom events of one name.
#[derive(Serialize, ToSchema)]
struct EventSchema {
    /// The app of the events.
    app: String,
    /// Their name.
    event_name: String,
    /// `off`, `warn` or `enforce`.
    mode: &'static str,
    #[schema(value_type = Object)]
    schema: Value,
    updated_at: String,
}

/// The schemas of a tenant.
#[derive(Serialize, ToSchema)]
struct EventSchemas {
    /// By app and event name.
    schemas: Vec<EventSchema>,
}

pub(super) fn endpoints() -> Vec<Endpoint> {
    vec![
        Endpoint::new(Verb::Get, "/v1/events/schemas", READ, list).describe(
            about("List the schemas of custom events").answers::<EventSchemas>("The schemas."),
        ),
        Endpoint::new(Verb::Post, "/v1/events/schemas", CHANGE, put).describe(
            about("Set the schema of custom events")
                .details("In place of the one for the same app and name, if there is one.")
                .takes::<EventSchemaRequest>()
                .answers::<EventSchema>("The schema; it holds from now on.")
                .refuses(409),
        ),
        Endpoint::new(Verb::Delete, "/v1/events/schemas/{app}/{event_name}", CHANGE, remove)
            .describe(
                about("Remove the schema of custom events")
                    .path("app", "The app of the events.")
                    .path("event_name", "Their name.")
                    .answers_nothing(204, "There is none any more."),
            ),
    ]
}

async fn list(caller: Caller) -> Result<Response, NativeFailure> {
    let schemas = caller.app.events.schemas.list(&caller.tenant.id).await.map_err(failure)?;
    // A key of one app sees nothing of others.
    let app = caller.principal.app.as_deref();
    let schemas = schemas.into_iter().filter(|schema| app.is_none_or(|app| app == schema.app));
    let schemas = schemas.map(EventSchema::of).collect();
    Ok(json_of(StatusCode::OK, &EventSchemas { schemas }))
}

async fn put(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let bytes_max = SCHEMA_BYTES_MAX + REST_BYTES_MAX;
    let asked: EventSchemaRequest = read_json(&caller.app, request, bytes_max).await?;
    check_app(&caller, &asked.app)?;
    let schema = CustomSchema {
        tenant: caller.tenant.id.clone(),
        app: asked.app,
        event_name: asked.event_name,
        mode: asked.mode.parse().map_err(failure)?,
        schema: asked.schema.get().to_owned(),
        updated_at: caller.app.clock.now(),
    };
    let detail = serde_json::json!({ "mode": schema.mode.as_str() });
    let target = (schema.app.as_str(), schema.event_name.as_str());
    let audit = audit(&caller, &actor, "event_schema.set", target, detail);
    caller.app.events.schemas.put(schema.clone(), audit).await.map_err(failure)?;
    Ok(json_of(StatusCode::OK, &EventSchema::of(schema)))
}

async fn remove(
    caller: Caller,
    Extension(actor): Extension<Actor>,
    Path((app, event_name)): Path<(String, String)>,
) -> Result<Response, NativeFailure> {
    check_app(&caller, &app)?;
    let target = (app.as_str(), event_name.as_str());
    let audit = audit(&caller, &actor, "event_schema.remove", target, Value::Null);
    let schemas = &caller.app.events.schemas;
    let removed = schemas.remove(&caller.tenant.id, &app, &event_name, audit).await;
    if !removed.map_err(failure)? {
        let message = format!("there is no schema for the event '{event_name}' of '{app}'");
        return Err(Failure::new(Kind::NotFound, message).into());
    }
    Ok(StatusCode::NO_CONTENT.into_response())
}

/// A key of one app changes nothing of others.
fn check_app(caller: &Caller, app: &str) -> Result<(), Failure> {
    match caller.principal.app.as_deref() {
        Some(own) if own != app => {
            let message = format!("the API key is for the app '{own}'");
            Err(Failure::new(Kind::AppForbidden, message))
        }
        _ => Ok(()),
    }
}

fn audit(
    caller: &Caller,
    actor: &Actor,
    action: &'static str,
    (app, event_name): (&str, &str),
    detail: Value,
) -> Statement {
    let entry = NewAuditEntry {
        tenant: caller.tenant.id.clone(),
        action,
        target: format!("{app}/{event_name}"),
        outcome: Outcome::Done,
        detail,
    };
    caller.app.access.audit_statement(actor, entry)
}

fn failure(error: CustomSchemaError) -> Failure {
    let kind = match error {
        CustomSchemaError::State(error) => return AccessError::State(error).into(),
        CustomSchemaError::Mode | CustomSchemaError::Name { .. } | CustomSchemaError::Text(_) => {
            Kind::BadData
        }
        CustomSchemaError::TooMany => Kind::Conflict,
        CustomSchemaError::Damaged { .. } => Kind::Internal,
    };
    Failure::new(kind, error.to_string())
}

impl EventSchema {
    fn of(schema: CustomSchema) -> Self {
        Self {
            app: schema.app,
            event_name: schema.event_name,
            mode: schema.mode.as_str(),
            schema: serde_json::from_str(&schema.schema).unwrap_or_default(),
            updated_at: format_rfc3339(schema.updated_at),
        }
    }
}
