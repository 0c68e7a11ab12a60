//! Sessions of people: logging in by password or at a provider, looking, logging out.
//!
//! A session is a cookie that scripts cannot read. Requests that change something carry the session's token beside it,
//! which [enforcement](crate::enforce) checks. The login itself has no session yet; there the browser says where the
//! request comes from.

use std::sync::Arc;

use access::{
    AccessError, Actor, LoggedIn, LoginError, LoginOrigin, PasswordError, PermissionSet, Principal,
    PrincipalKind, Role,
};
use axum::Extension;
use axum::extract::{Request, State};
use axum::response::{IntoResponse as _, Response};
use http::{HeaderMap, HeaderValue, StatusCode, header};
use secrecy::{ExposeSecret as _, SecretString};
use serde::{Deserialize, Serialize};
use utoipa::ToSchema;

use crate::body::{self, json_of};
use crate::cookie;
use crate::endpoint::{Access, Class, Endpoint, Verb};
use crate::enforce::Visitor;
use crate::failure::{Failure, Kind, NativeFailure};
use crate::identity::{Identity, Known, Ways};
use crate::observe::RequestId;
use crate::openapi::{self, Description};
use crate::parts::App;
use crate::time::format_rfc3339;

mod provider;

/// Longest body of a login, in bytes.
const LOGIN_BYTES_MAX: usize = 8 << 10;

/// Answers about sessions are for whoever asked alone.
const NO_STORE: HeaderValue = HeaderValue::from_static("no-store");

/// Returns the endpoints of sessions.
pub(crate) fn endpoints() -> Vec<Endpoint> {
    let open = (Access::Public, Class::Login);
    vec![
        Endpoint::new(Verb::Get, "/v1/session", (Access::Public, Class::Probe), look).describe(
            Description::new("session", "Tell who asks, and how to log in")
                .details("Answers everybody, known or not.")
                .answers::<SessionAnswer>("Who asks."),
        ),
        Endpoint::new(Verb::Post, "/v1/session", open, log_in).describe(
            Description::new("session", "Log in with name and password")
                .takes::<Credentials>()
                .answers_nothing(204, "Logged in: the answer sets the session's cookie."),
        ),
        Endpoint::new(Verb::Delete, "/v1/session", (Access::Public, Class::Admin), log_out)
            .describe(
                Description::new("session", "Log out")
                    .details("Works without a session too.")
                    .answers_nothing(204, "Logged out: the answer removes the cookie."),
            ),
        Endpoint::new(
            Verb::Post,
            "/v1/session/password",
            (Access::Session, Class::Login),
            change_password,
        )
        .describe(
            Description::new("session", "Change the own password")
                .details("Ends all other sessions of the same person.")
                .takes::<PasswordChange>()
                .answers_nothing(204, "Changed."),
        ),
        Endpoint::new(Verb::Get, "/v1/login/oidc", open, provider::begin).describe(
            Description::new("session", "Begin a login at the OpenID Connect provider")
                .details("For browsers, which are sent on to the provider.")
                .query("return_to", openapi::Kind::Text, "The path to go to after the login.")
                .answers_nothing(303, "To the provider, or back to the page with an error."),
        ),
        Endpoint::new(Verb::Get, "/v1/login/oidc/callback", open, provider::finish).describe(
            Description::new("session", "End a login at the OpenID Connect provider")
                .details("The provider sends the browser here.")
                .query("code", openapi::Kind::Text, "What the login is exchanged for.")
                .query("state", openapi::Kind::Text, "Which login it is.")
                .query("error", openapi::Kind::Text, "Why the provider refuses.")
                .query("iss", openapi::Kind::Text, "Which provider it is.")
                .answers_nothing(303, "To where the browser wanted, or to the page with an error."),
        ),
    ]
}

/// Who asks, and how to log in.
#[derive(Serialize, ToSchema)]
struct SessionAnswer {
    /// `open` where nobody is asked who they are, `keys` where everybody is.
    mode: &'static str,
    /// Whether whoever asks has to log in before there is anything to see.
    login_needed: bool,
    /// The ways to log in.
    logins: Vec<LoginWay>,
    /// Who asks, where it is known.
    caller: Option<CallerAnswer>,
    /// What the header `X-CSRF-Token` of changes has to say; only with a session.
    csrf_token: Option<String>,
    /// When the session ends, however much it is used.
    expires_at: Option<String>,
}

/// A way to log in.
#[derive(Serialize, ToSchema)]
struct LoginWay {
    /// `password` or `oidc`.
    kind: &'static str,
    /// What to call it.
    name: String,
}

/// Who asks.
#[derive(Serialize, ToSchema)]
struct CallerAnswer {
    /// `anonymous`, `key`, `user` or `certificate`.
    kind: &'static str,
    name: String,
    /// The role that has just these permissions, if there is one.
    role: Option<&'static str>,
    permissions: Vec<&'static str>,
    tenant: String,
    /// Whether `X-Scope-OrgID` may name another tenant.
    all_tenants: bool,
}

/// A name and a password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct Credentials {
    name: String,
    #[schema(format = Password)]
    password: String,
}

/// A change of the own password.
#[derive(Deserialize, ToSchema)]
#[serde(deny_unknown_fields)]
struct PasswordChange {
    #[schema(format = Password)]
    old_password: String,
    #[schema(format = Password)]
    new_password: String,
}

async fn look(State(app): State<Arc<App>>, visitor: Option<Extension<Visitor>>) -> Response {
    let known = visitor.map(|Extension(Visitor(known))| known);
    let (mode, logins) = match &app.identity {
        Identity::Open(_) => ("open", Vec::new()),
        Identity::Keys(ways) => ("keys", logins(ways)),
    };
    let session = known.as_ref().and_then(Known::session);
    let answer = SessionAnswer {
        mode,
        login_needed: known.is_none(),
        logins,
        csrf_token: session.map(|session| session.csrf.expose_secret().to_owned()),
        expires_at: session.map(|session| format_rfc3339(session.expires_at)),
        caller: known.as_ref().map(caller_answer),
    };
    private(json_of(StatusCode::OK, &answer))
}

fn logins(ways: &Ways) -> Vec<LoginWay> {
    let mut logins = vec![LoginWay { kind: "password", name: "password".to_owned() }];
    if let Some(oidc) = &ways.oidc {
        logins.push(LoginWay { kind: "oidc", name: oidc.name().to_owned() });
    }
    logins
}

fn caller_answer(known: &Known) -> CallerAnswer {
    let principal = &known.principal;
    let has_role = |role: &&Role| role.permissions() == principal.permissions;
    CallerAnswer {
        kind: match &principal.kind {
            PrincipalKind::Anonymous => "anonymous",
            PrincipalKind::Key { .. } => "key",
            PrincipalKind::User { .. } => "user",
            PrincipalKind::Certificate { .. } => "certificate",
        },
        name: principal.name.to_string(),
        role: Role::ALL.iter().find(has_role).map(|role| role.as_str()),
        permissions: principal.permissions.iter().map(access::Permission::as_str).collect(),
        tenant: principal.tenant.to_string(),
        all_tenants: principal.all_tenants,
    }
}

async fn log_in(State(app): State<Arc<App>>, request: Request) -> Result<Response, NativeFailure> {
    let ways = ways(&app)?;
    check_own_page(request.headers())?;
    let from = Sender::of(&app, &request);
    let Credentials { name, password } = body::read_json(&app, request, LOGIN_BYTES_MAX).await?;
    let logged_in = ways.access.login(&name, &password.into(), &from.origin).await;
    let logged_in = logged_in.map_err(Failure::from)?;
    from.end_old_session(ways).await?;
    let mut response = private(StatusCode::NO_CONTENT.into_response());
    from.set_cookie(&app, response.headers_mut(), &logged_in)?;
    Ok(response)
}

async fn log_out(State(app): State<Arc<App>>, request: Request) -> Result<Response, NativeFailure> {
    let from = Sender::of(&app, &request);
    if let Identity::Keys(ways) = &app.identity {
        match &from.known {
            // Only the page itself ends a session, not one that merely makes the browser ask.
            Err(failure) if failure.kind == Kind::CsrfMissing => {
                return Err(failure.clone().into());
            }
            _ => from.end_old_session(ways).await?,
        }
    }
    let mut response = private(StatusCode::NO_CONTENT.into_response());
    if let Some(header) = cookie::SESSION.clear(from.is_encrypted) {
        response.headers_mut().append(header::SET_COOKIE, header);
    }
    Ok(response)
}

async fn change_password(
    State(app): State<Arc<App>>,
    request: Request,
) -> Result<Response, NativeFailure> {
    let ways = ways(&app)?;
    let from = Sender::of(&app, &request);
    let known = from.known.clone()?;
    let session = known.session().ok_or_else(no_login)?;
    let actor = from.actor(&known);
    let PasswordChange { old_password, new_password } =
        body::read_json(&app, request, LOGIN_BYTES_MAX).await?;
    let (old, new) = (SecretString::from(old_password), SecretString::from(new_password));
    let changed = ways.access.change_password(&actor, &session.id, &old, &new).await;
    changed.map_err(Failure::from)?;
    Ok(private(StatusCode::NO_CONTENT.into_response()))
}

/// Where a request about sessions comes from.
struct Sender {
    origin: LoginOrigin,
    is_encrypted: bool,
    /// Who sends it, with a session that may be about to end.
    known: Result<Known, Failure>,
}

impl Sender {
    fn of(app: &App, request: &Request) -> Self {
        let address = Some(app.admission.client(request).address);
        let request_id = request.extensions().get::<RequestId>();
        let request_id = request_id.and_then(|RequestId(id)| id.to_str().ok()).map(Arc::from);
        Self {
            origin: LoginOrigin { address, request_id },
            is_encrypted: app.admission.is_encrypted(request),
            known: app.known(request),
        }
    }

    fn actor(&self, known: &Known) -> Actor {
        Actor {
            principal: known.principal.as_ref().clone(),
            address: self.origin.address,
            request_id: self.origin.request_id.clone(),
        }
    }

    /// Returns somebody who is not known, for the audit log.
    fn nobody(&self) -> Actor {
        let principal = Principal {
            permissions: PermissionSet::NONE,
            all_tenants: false,
            ..Principal::anonymous()
        };
        let LoginOrigin { address, request_id } = self.origin.clone();
        Actor { principal, address, request_id }
    }

    /// Ends the session that the request came with, if it did: it must not outlive its cookie.
    async fn end_old_session(&self, ways: &Ways) -> Result<(), Failure> {
        if let Ok(known) = &self.known
            && let Some(session) = known.session()
        {
            ways.access.logout(&self.actor(known), &session.id).await?;
        }
        Ok(())
    }

    fn set_cookie(
        &self,
        app: &App,
        headers: &mut HeaderMap,
        logged_in: &LoggedIn,
    ) -> Result<(), Failure> {
        let rest = logged_in.session.expires_at.millis_since(app.clock.now());
        let max_age = std::time::Duration::from_millis(u64::try_from(rest).unwrap_or_default());
        let header = cookie::SESSION.set(&logged_in.cookie, max_age, self.is_encrypted);
        let header = header
            .ok_or_else(|| Failure::new(Kind::Internal, "the session has no valid cookie"))?;
        headers.append(header::SET_COOKIE, header);
        Ok(())
    }
}

fn ways(app: &App) -> Result<&Ways, Failure> {
    match &app.identity {
        Identity::Keys(ways) => Ok(ways),
        Identity::Open(_) => Err(no_login()),
    }
}

fn no_login() -> Failure {
    let message = "there is no such login here; GET /v1/session lists those that there are";
    Failure::new(Kind::NotFound, message)
}

/// Refuses a login that another site's page makes: it could log the browser in as somebody else.
///
/// Requests with a foreign `Origin` are refused everywhere. Browsers that send none say here where they come from.
fn check_own_page(headers: &HeaderMap) -> Result<(), Failure> {
    let is_own = |site: &HeaderValue| [&b"same-origin"[..], b"none"].contains(&site.as_bytes());
    if headers.get("sec-fetch-site").is_none_or(is_own) {
        return Ok(());
    }
    Err(Failure::new(Kind::ForeignOrigin, "logins from pages of other sites are refused"))
}

fn private(mut response: Response) -> Response {
    response.headers_mut().insert(header::CACHE_CONTROL, NO_STORE);
    response
}

impl From<LoginError> for Failure {
    fn from(error: LoginError) -> Self {
        match error {
            LoginError::Wrong => Self::new(Kind::LoginFailed, error.to_string()),
            LoginError::TooMany { retry_after } => {
                Self::new(Kind::RateLimited, error.to_string()).retry_after(retry_after)
            }
            LoginError::Access(error) => error.into(),
        }
    }
}

impl From<AccessError> for Failure {
    fn from(error: AccessError) -> Self {
        let kind = match &error {
            AccessError::NotFound { .. } => Kind::NotFound,
            AccessError::Forbidden { .. } => Kind::PermissionMissing,
            AccessError::Exists { .. }
            | AccessError::Changed { .. }
            | AccessError::LimitReached { .. }
            | AccessError::LastAdministrator => Kind::Conflict,
            AccessError::Invalid { .. } | AccessError::ConfiguredKey { .. } => Kind::BadData,
            AccessError::Password(error) => match error {
                PasswordError::TooShort { .. } | PasswordError::TooLong => Kind::BadData,
                PasswordError::Busy => Kind::Unavailable,
                PasswordError::StoredHash { .. } | PasswordError::Interrupted { .. } => {
                    Kind::Internal
                }
            },
            AccessError::State(error) if error.is_retryable() => Kind::Unavailable,
            AccessError::State(_) | AccessError::Row { .. } => Kind::Internal,
        };
        if kind != Kind::Internal {
            return Self::new(kind, error.to_string());
        }
        tracing::error!(error = %error, "state database could not be used as it should");
        Self::new(kind, "the state database could not be used; the log says more")
    }
}
