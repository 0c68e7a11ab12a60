//! Logging in at an OpenID Connect provider: the two requests that the browser makes of us.
//!
//! Both are navigations, so that what goes wrong leads back to the page, which knows the words for each code.

use std::sync::Arc;

use access::{LoginError, NewAuditEntry, Oidc, OidcError, OidcLogin, Outcome, ReturnPath};
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderValue, StatusCode, header};
use model::TenantId;

use super::{Sender, no_login, private, ways};
use crate::cookie;
use crate::failure::{Failure, Kind, NativeFailure};
use crate::identity::Ways;
use crate::params::Params;
use crate::parts::App;

/// Where the page explains why somebody is not logged in.
const LOGIN_PAGE: &str = "/login?error=";

pub(super) async fn begin(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let (_, oidc) = provider(&app)?;
    let from = Sender::of(&app, &request);
    let params = Params::of(&app, request).await?;
    let return_to = match params.get("return_to") {
        Some(path) => path.parse().map_err(|error| Failure::parameter("return_to", error))?,
        None => ReturnPath::default(),
    };
    let start = match oidc.begin(return_to).await {
        Ok(start) => start,
        Err(error) => return Ok(back_to_page(&error)),
    };
    let mut response = see_other(&start.location)?;
    let cookie = cookie::LOGIN.set(&start.browser, start.timeout, from.is_encrypted);
    let cookie =
        cookie.ok_or_else(|| Failure::new(Kind::Internal, "the login has no valid cookie"))?;
    response.headers_mut().append(header::SET_COOKIE, cookie);
    Ok(response)
}

pub(super) async fn finish(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let (ways, oidc) = provider(&app)?;
    let from = Sender::of(&app, &request);
    let browser = cookie::LOGIN.read(request.headers(), from.is_encrypted);
    let query = request.uri().query().unwrap_or_default();
    let mut response = match oidc.finish(query, browser).await {
        Ok(login) => enter(&app, ways, &from, login).await?,
        Err(error) => {
            note_refusal(ways, &from, &error).await?;
            back_to_page(&error)
        }
    };
    if let Some(cookie) = cookie::LOGIN.clear(from.is_encrypted) {
        response.headers_mut().append(header::SET_COOKIE, cookie);
    }
    Ok(response)
}

fn provider(app: &App) -> Result<(&Ways, &Oidc), Failure> {
    let ways = ways(app)?;
    Ok((ways, ways.oidc.as_deref().ok_or_else(no_login)?))
}

/// Begins a session for somebody whom the provider vouches for.
async fn enter(
    app: &App,
    ways: &Ways,
    from: &Sender,
    OidcLogin { identity, grant, return_to }: OidcLogin,
) -> Result<Response, Failure> {
    let logged_in = match ways.access.login_oidc(&identity, &grant, &from.origin).await {
        Ok(logged_in) => logged_in,
        // They are disabled here, whatever the provider says.
        Err(LoginError::Wrong) => return see_other(&format!("{LOGIN_PAGE}oidc_disabled")),
        Err(error) => return Err(error.into()),
    };
    from.end_old_session(ways).await?;
    let mut response = see_other(return_to.as_str())?;
    from.set_cookie(app, response.headers_mut(), &logged_in)?;
    Ok(response)
}

/// Notes in the audit log that somebody was not let in. What only strangers can cause is left out: it would fill up.
async fn note_refusal(ways: &Ways, from: &Sender, error: &OidcError) -> Result<(), Failure> {
    let target = match error {
        OidcError::NoRole { identity } => identity.subject.clone(),
        OidcError::Denied { .. } | OidcError::Token(_) | OidcError::Provider { .. } => {
            String::new()
        }
        OidcError::Busy
        | OidcError::Request { .. }
        | OidcError::NotPending
        | OidcError::Unreachable(_) => return Ok(()),
    };
    let entry = NewAuditEntry {
        tenant: TenantId::default_tenant(),
        action: "session.begin",
        target,
        outcome: Outcome::Refused,
        detail: serde_json::json!({ "method": "oidc", "reason": error.to_string() }),
    };
    Ok(ways.access.record(&from.nobody(), entry).await?)
}

/// Returns the answer that leads back to the page, which tells by the code what went wrong.
fn back_to_page(error: &OidcError) -> Response {
    let code = match error {
        OidcError::Busy | OidcError::Unreachable(_) => "oidc_unavailable",
        OidcError::Request { .. } | OidcError::NotPending => "oidc_expired",
        OidcError::Denied { .. } => "oidc_denied",
        OidcError::Provider { .. } | OidcError::Token(_) => "oidc_failed",
        OidcError::NoRole { .. } => "oidc_no_role",
    };
    match error {
        OidcError::Unreachable(_) | OidcError::Provider { .. } | OidcError::Token(_) => {
            tracing::warn!(code, error = %error, "login provider does not work as it should");
        }
        OidcError::Busy
        | OidcError::Request { .. }
        | OidcError::NotPending
        | OidcError::Denied { .. }
        | OidcError::NoRole { .. } => {
            tracing::debug!(code, error = %error, "login at the provider did not succeed");
        }
    }
    let location = format!("{LOGIN_PAGE}{code}");
    see_other(&location).unwrap_or_else(|failure| failure.native())
}

fn see_other(location: &str) -> Result<Response, Failure> {
    let location = HeaderValue::from_str(location)
        .map_err(|_| Failure::new(Kind::Internal, "the place to go to is no address"))?;
    let mut response = private(StatusCode::SEE_OTHER.into_response());
    response.headers_mut().insert(header::LOCATION, location);
    Ok(response)
}
