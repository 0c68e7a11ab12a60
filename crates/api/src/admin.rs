//! Managing keys, people, tenants; usage and the audit log.
//!
//! Everything is done in the tenant that the request is for, by [`access::Access`], which checks the rights of whoever
//! asks once more and writes the audit log.

mod audit;
mod causality;
mod keys;
mod tenants;
mod usage;
mod users;

use access::PermissionSet;
use access::{Permission, Role};
use axum::response::Response;
use http::{HeaderValue, header};
use model::Timestamp;
use serde_json::Value;

use crate::endpoint::{Access, Class, Endpoint};
use crate::failure::Failure;
use crate::openapi::Description;
use crate::time::{format_rfc3339, parse_rfc3339};

/// Who may manage a tenant.
const MANAGE: (Access, Class) = (Access::Needs(Permission::Admin), Class::Admin);
/// Who may manage the server.
const SERVER: (Access, Class) = (Access::Server, Class::Admin);

/// Longest body, in bytes.
const BODY_BYTES_MAX: usize = 64 << 10;

/// Returns the endpoints of the administration.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let mut endpoints = keys::endpoints();
    endpoints.extend(users::endpoints());
    endpoints.extend(tenants::endpoints());
    endpoints.extend(usage::endpoints());
    endpoints.extend(audit::endpoints());
    endpoints.extend(causality::endpoints());
    endpoints
}

fn about(summary: &'static str) -> Description {
    Description::new("administration", summary)
}

/// Marks an answer as one that nobody may keep.
fn private(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}

fn time(time: Timestamp) -> String {
    format_rfc3339(time)
}

fn read_time(field: &str, text: &str) -> Result<Timestamp, Failure> {
    parse_rfc3339(text).ok_or_else(|| {
        Failure::bad_data(format!("invalid {field}: {text:?} is not a time as RFC 3339 has them"))
    })
}

/// Returns the permissions of a role or of a list of scopes; one of them must be given.
fn permissions(role: Option<&str>, scopes: Option<&[String]>) -> Result<PermissionSet, Failure> {
    let invalid = |error: access::UnknownName| Failure::bad_data(error.to_string());
    match (role, scopes) {
        (Some(role), None) => Ok(role.parse::<Role>().map_err(invalid)?.permissions()),
        (None, Some(scopes)) if !scopes.is_empty() => {
            let permissions = scopes.iter().map(|scope| scope.parse().map_err(invalid));
            Ok(PermissionSet::of(&permissions.collect::<Result<Vec<Permission>, Failure>>()?))
        }
        _ => Err(Failure::bad_data("say either a role or a list of permissions")),
    }
}

/// Returns what is known by its JSON text as JSON.
fn object(text: &str) -> Value {
    serde_json::from_str(text).unwrap_or(Value::Null)
}
