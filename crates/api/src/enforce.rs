//! Checks, before a handler runs, whether its rule lets the request through.

use std::sync::Arc;

use access::{Actor, NewAuditEntry, Now, Outcome, Principal, QueryCharge};
use axum::extract::Request;
use axum::middleware::Next;
use axum::response::Response;
use http::HeaderMap;
use model::TenantId;
use tokio::sync::OwnedSemaphorePermit;

use crate::caller::Caller;
use crate::endpoint::{Access, Class, Family, Rule};
use crate::failure::{Failure, Kind};
use crate::identity::{Known, TakesBareKey, TakesBasic};
use crate::limits;
use crate::observe::{Notes, RequestId};
use crate::parts::{App, unknown_tenant};

/// Names another tenant than the own one, for those who may.
const TENANT_HEADER: &str = "x-scope-orgid";

/// Who sends a request to an endpoint that is open to everybody, where it is known, or to one for sessions.
#[derive(Clone, Debug)]
pub(crate) struct Visitor(pub(crate) Known);

/// What a request has until its answer begins.
struct Held {
    _place: Option<OwnedSemaphorePermit>,
    _query: Option<QueryCharge>,
}

/// Runs the handler behind `rule`, within the time of its class, or refuses.
pub(crate) async fn enforce(
    app: Arc<App>,
    rule: Rule,
    mut request: Request,
    next: Next,
) -> Response {
    let now = Now::of(app.clock.as_ref());
    let notes = request.extensions().get::<Notes>().cloned();
    if rule.family == Family::Segment {
        request.extensions_mut().insert(TakesBasic);
    }
    if rule.class == Class::Report {
        request.extensions_mut().insert(TakesBareKey);
    }
    let admitted = admit(&app, rule, &mut request, now);
    if let Some(notes) = notes {
        let caller = request.extensions().get::<Caller>();
        notes.note(rule.class, caller.map(|caller| (&caller.tenant.id, &caller.principal)));
    }
    let _held = match admitted {
        Ok(held) => held,
        Err(failure) => {
            if let Some((actor, entry)) = denial(&app, rule, &request, &failure, now)
                && let Err(error) = app.access.record(&actor, entry).await
            {
                tracing::warn!(error = %error, "refused request was not written to the audit log");
            }
            limits::discard(&app, request.into_body()).await;
            return rule.family.spell(&failure);
        }
    };
    let Some(timeout) = app.admission.timeout(rule.class) else { return next.run(request).await };
    let deadline = now.monotonic.saturating_add(timeout);
    tokio::select! {
        biased;
        response = next.run(request) => response,
        () = app.clock.sleep_until(deadline) => {
            let message = "the request took longer than it may; try again later";
            rule.family.spell(&Failure::overloaded(message))
        }
    }
}

/// Checks what can be checked before the body is read, the cheapest first, and tells the handler who asks.
fn admit(app: &Arc<App>, rule: Rule, request: &mut Request, now: Now) -> Result<Held, Failure> {
    if !matches!(rule.class, Class::Probe | Class::Report) {
        app.admission.admit_address(request, now)?;
    }
    if rule.class == Class::Login {
        app.admission.admit_login(request, now)?;
    }
    let place = app.admission.place(rule.class)?;
    if rule.access == Access::Public {
        // Whoever is not known is served all the same.
        if let Ok(known) = app.known(request) {
            request.extensions_mut().insert(Visitor(known));
        }
        return Ok(Held { _place: place, _query: None });
    }
    if rule.access == Access::Session {
        let known = app.known(request)?;
        if known.session().is_none() {
            return Err(Failure::new(Kind::KeyMissing, "this needs a session: log in"));
        }
        request.extensions_mut().insert(Visitor(known));
        return Ok(Held { _place: place, _query: None });
    }
    let caller = match caller(app, rule, request, now) {
        // Agents that may report count against no address, because thousands may be behind one proxy, and each node has
        // a limit of its own. Everybody else does, so that keys cannot be guessed at leisure.
        Err(failure) if rule.class == Class::Report => {
            app.admission.admit_address(request, now)?;
            return Err(failure);
        }
        caller => caller?,
    };
    caller.paying.request(now)?;
    let query = match rule.class {
        Class::Query => Some(caller.paying.query(now)?),
        _ => None,
    };
    if rule.class == Class::Admin {
        let actor = actor(app, request, &caller.principal);
        request.extensions_mut().insert(actor);
    }
    request.extensions_mut().insert(caller);
    Ok(Held { _place: place, _query: query })
}

/// Returns what the audit log says of somebody known who asked for what they may not do: a few times a minute for each,
/// so that nobody can fill it.
fn denial(
    app: &App,
    rule: Rule,
    request: &Request,
    failure: &Failure,
    now: Now,
) -> Option<(Actor, NewAuditEntry)> {
    if !matches!(failure.kind, Kind::PermissionMissing | Kind::TenantForbidden) {
        return None;
    }
    let known = app.known(request).ok()?;
    if !app.admission.may_audit(&known.principal, now) {
        return None;
    }
    let entry = NewAuditEntry {
        tenant: known.principal.tenant.clone(),
        action: "request.refuse",
        target: format!("{} {}", request.method(), rule.path),
        outcome: Outcome::Refused,
        detail: serde_json::json!({ "code": failure.kind.code() }),
    };
    Some((actor(app, request, &known.principal), entry))
}

/// Returns who manages something, for the audit log.
fn actor(app: &App, request: &Request, principal: &Principal) -> Actor {
    let request_id = request.extensions().get::<RequestId>();
    Actor {
        principal: principal.clone(),
        address: Some(app.admission.client(request).address),
        request_id: request_id.and_then(|RequestId(id)| id.to_str().ok()).map(Arc::from),
    }
}

/// Returns who asks, if they may.
fn caller(app: &Arc<App>, rule: Rule, request: &Request, now: Now) -> Result<Caller, Failure> {
    let known = app.known(request)?;
    authorize(&known.principal, rule.access)?;
    let id = tenant(&known.principal, request.headers())?;
    if app.access.directory().tenant(&id).is_none() {
        return Err(unknown_tenant(&id));
    }
    // Managing goes on.
    if rule.class != Class::Admin {
        check_enabled(app, &id)?;
    }
    let tenant = app.tenant(&id)?;
    let paying = app.admission.paying(&known, &tenant, now);
    let principal = Arc::clone(&known.principal);
    Ok(Caller { app: Arc::clone(app), principal, known, tenant, paying })
}

/// Checks that whoever asked may still ask for the same, for what stays open.
pub(crate) fn check_again(caller: &Caller, access: Access) -> Result<(), Failure> {
    let Caller { app, known, tenant, .. } = caller;
    let principal = app.identity.again(known, app.clock.now())?;
    authorize(&principal, access)?;
    if principal.tenant != tenant.id && !principal.all_tenants {
        return Err(Failure::new(Kind::TenantForbidden, "the tenant is another one now"));
    }
    check_enabled(app, &tenant.id)
}

/// Checks that a tenant is open. Who may act in every tenant is known by a credential of another one.
fn check_enabled(app: &App, id: &TenantId) -> Result<(), Failure> {
    if app.access.directory().tenant(id).is_some_and(|tenant| tenant.disabled) {
        return Err(Failure::new(Kind::TenantDisabled, format!("the tenant '{id}' is disabled")));
    }
    Ok(())
}

fn authorize(principal: &Principal, access: Access) -> Result<(), Failure> {
    match access {
        Access::Public | Access::Session => Ok(()),
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
fn tenant(principal: &Principal, headers: &HeaderMap) -> Result<TenantId, Failure> {
    let mut values = headers.get_all(TENANT_HEADER).iter();
    let Some(value) = values.next() else { return Ok(principal.tenant.clone()) };
    // Which of two would count, those before us may see otherwise.
    if values.next().is_some() {
        return Err(Failure::bad_data("X-Scope-OrgID must be there once"));
    }
    let named = value.to_str().ok().and_then(|name| TenantId::new(name).ok());
    let named = named.ok_or_else(|| Failure::bad_data("X-Scope-OrgID names no tenant"))?;
    if named == principal.tenant || principal.all_tenants {
        return Ok(named);
    }
    let message = "X-Scope-OrgID names another tenant than the one that the key belongs to";
    Err(Failure::new(Kind::TenantForbidden, message))
}
