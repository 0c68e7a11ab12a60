//! Checks, before a handler runs, whether its rule lets the request through.

use std::sync::Arc;

use access::Principal;
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::{HeaderMap, HeaderValue};
use model::TenantId;

use crate::caller::Caller;
use crate::endpoint::{Access, Rule};
use crate::failure::{Failure, Kind};
use crate::parts::App;

/// Names another tenant than the own one, for those who may.
const TENANT_HEADER: &str = "x-scope-orgid";

/// Who sends a request to an endpoint that is open to everybody, where it is known.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Arc<Principal>);

/// Runs the handler behind `rule`, or refuses.
pub(crate) async fn enforce(
    app: Arc<App>,
    rule: Rule,
    mut request: Request,
    next: Next,
) -> Response {
    match admit(&app, rule, request.headers()) {
        Ok(None) => {
            // Whoever is not known is served all the same.
            if let Ok(principal) = app.identity.of(request.headers()) {
                request.extensions_mut().insert(Visitor(principal));
            }
        }
        Ok(Some(caller)) => {
            request.extensions_mut().insert(caller);
        }
        Err(failure) => return rule.family.spell(&failure),
    }
    next.run(request).await
}

/// Returns the caller; `None` where nobody is asked who they are.
fn admit(app: &Arc<App>, rule: Rule, headers: &HeaderMap) -> Result<Option<Caller>, Failure> {
    if rule.access == Access::Public {
        return Ok(None);
    }
    let principal = app.identity.of(headers)?;
    authorize(&principal, rule.access)?;
    let id = tenant(&principal, headers.get(TENANT_HEADER))?;
    let tenant = app.tenant(&id).ok_or_else(|| {
        Failure::new(Kind::TenantUnknown, format!("there is no tenant '{id}' here"))
    })?;
    Ok(Some(Caller { app: Arc::clone(app), principal, tenant }))
}

fn authorize(principal: &Principal, access: Access) -> Result<(), Failure> {
    match access {
        Access::Public => Ok(()),
        Access::Needs(permission) if principal.may(permission) => Ok(()),
        Access::Needs(permission) => {
            let message = format!("this needs the permission {permission}");
            Err(Failure::new(Kind::PermissionMissing, message))
        }
        Access::Server => {
            let may = principal.all_tenants && principal.may(access::Permission::Admin);
            let message = "this needs an administrator of all tenants";
            may.then_some(()).ok_or_else(|| Failure::new(Kind::PermissionMissing, message))
        }
    }
}

/// Returns the tenant that a request is for.
fn tenant(principal: &Principal, header: Option<&HeaderValue>) -> Result<TenantId, Failure> {
    let Some(value) = header else { return Ok(principal.tenant.clone()) };
    let named = value.to_str().ok().and_then(|name| TenantId::new(name).ok());
    let named = named.ok_or_else(|| Failure::bad_data("X-Scope-OrgID names no tenant"))?;
    if named == principal.tenant || principal.all_tenants {
        return Ok(named);
    }
    let message = "X-Scope-OrgID names another tenant than the one that the key belongs to";
    Err(Failure::new(Kind::TenantForbidden, message))
}
