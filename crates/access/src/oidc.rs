//! Login at an OpenID Connect provider: authorization code flow with PKCE.
//!
//! After [OpenID Connect Core](https://openid.net/specs/openid-connect-core-1_0.html),
//! [RFC 6749](https://www.rfc-editor.org/rfc/rfc6749), [RFC 7636](https://www.rfc-editor.org/rfc/rfc7636) and the
//! advice of [RFC 9700](https://www.rfc-editor.org/rfc/rfc9700). A browser goes to the provider with a state and comes
//! back with it and a code; the code is exchanged for an ID token, whose claims become an [`Identity`] and, by the
//! configured rules, a [`Grant`]. What the provider issued is forgotten then: the session is ours.

use std::borrow::Cow;
use std::fmt;
use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use platform::{Clock, HttpClient, HttpError, Rng};
use ring::digest::{SHA256, SHA384, SHA512, digest};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};

use crate::jwt::{self, Expected, SignatureAlgorithm, Token, TokenError};

mod identity;
mod pending;
mod provider;
mod url;

pub use identity::{Grant, Identity, RoleMapping, RoleRule};
pub use url::{Issuer, ReturnPath, ReturnPathError, SecureUrl, UrlError};

use pending::{PENDING_TIMEOUT, Pending, PendingLogins};
use provider::{Client, Metadata, Provider, encode_form};

/// Most bytes of what the provider sends back through the browser.
const CALLBACK_BYTES_MAX: usize = 16 * 1024;

/// The scope without which there is no ID token.
const OPENID: &str = "openid";

/// How to log in at one provider.
#[derive(Clone)]
pub struct OidcConfig {
    /// What the login page calls it.
    pub name: String,
    /// The provider.
    pub issuer: Issuer,
    /// Our name at the provider.
    pub client_id: String,
    /// Our secret at the provider; `None` for a public client.
    pub client_secret: Option<SecretString>,
    /// Where the provider sends the browser back to, as registered there.
    pub redirect_url: SecureUrl,
    /// What to ask for beside `openid`.
    pub scopes: Vec<String>,
    /// Whether the user endpoint is asked for claims that the ID token lacks.
    pub userinfo: bool,
    /// Who may do what.
    pub roles: RoleMapping,
}

impl fmt::Debug for OidcConfig {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OidcConfig")
            .field("issuer", &self.issuer)
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// Why a login did not begin or end well.
#[derive(Debug, thiserror::Error)]
pub enum OidcError {
    /// Too many logins talk to the provider; the request may be sent again.
    #[error("too many logins are under way, try again in a second")]
    Busy,
    /// The request is not one that the login page or the provider makes.
    #[error("the login cannot go on: {reason}")]
    Request {
        /// What is wrong with it.
        reason: &'static str,
    },
    /// The login is not under way: it never began, took too long, ended before, or began in another browser.
    #[error("the login took too long or began in another browser, begin again")]
    NotPending,
    /// The provider did not let the person in, or did not accept the code.
    #[error("the login provider refused: {error}")]
    Denied {
        /// Its error code, such as `access_denied`.
        error: String,
    },
    /// The provider did not answer.
    #[error("the login provider cannot be reached: {0}")]
    Unreachable(#[from] HttpError),
    /// The provider answered something unusable.
    #[error("the login provider's {what} is not usable: {reason}")]
    Provider {
        /// What it was asked for.
        what: &'static str,
        /// What is wrong with the answer.
        reason: String,
    },
    /// The ID token is not to be believed.
    #[error("the login provider's ID token is refused: {0}")]
    Token(#[from] TokenError),
    /// The person is who they say, but no rule lets them in.
    #[error("'{}' has no role here, ask an administrator", .identity.name)]
    NoRole {
        /// The person.
        identity: Box<Identity>,
    },
}

impl OidcError {
    /// Returns whether the same request may succeed later.
    #[must_use]
    pub const fn is_retryable(&self) -> bool {
        matches!(self, Self::Busy | Self::Unreachable(_))
    }
}

/// A login that has begun.
#[derive(Debug)]
pub struct OidcStart {
    /// Where to send the browser.
    pub location: String,
    /// The cookie without which the login does not end: 43 characters of base64url.
    pub browser: SecretString,
    /// How long there is to log in.
    pub timeout: Duration,
}

/// A login that ended well.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct OidcLogin {
    /// Who it is.
    pub identity: Identity,
    /// What they may do.
    pub grant: Grant,
    /// Where the browser wanted to go.
    pub return_to: ReturnPath,
}

/// Logs people in at one provider.
#[derive(Debug)]
pub struct Oidc {
    name: String,
    client: Client,
    redirect_url: SecureUrl,
    scope: String,
    asks_userinfo: bool,
    roles: RoleMapping,
    provider: Provider,
    pending: PendingLogins,
    clock: Arc<dyn Clock>,
    rng: Arc<dyn Rng>,
}

impl Oidc {
    /// Returns the login of `config`. The provider is asked when somebody logs in, not before: it may be away while
    /// we start.
    #[must_use]
    pub fn new(
        config: OidcConfig,
        http: Arc<dyn HttpClient>,
        clock: Arc<dyn Clock>,
        rng: Arc<dyn Rng>,
    ) -> Self {
        let others = config.scopes.iter().map(String::as_str).filter(|scope| *scope != OPENID);
        let scopes: Vec<&str> = std::iter::once(OPENID).chain(others).collect();
        Self {
            name: config.name,
            client: Client { id: config.client_id, secret: config.client_secret },
            redirect_url: config.redirect_url,
            scope: scopes.join(" "),
            asks_userinfo: config.userinfo,
            roles: config.roles,
            provider: Provider::new(config.issuer, http, Arc::clone(&clock)),
            pending: PendingLogins::default(),
            clock,
            rng,
        }
    }

    /// Returns what the login page calls the provider.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Begins a login that ends at `return_to`.
    ///
    /// # Errors
    ///
    /// The provider cannot be reached or describes itself unusably.
    pub async fn begin(&self, return_to: ReturnPath) -> Result<OidcStart, OidcError> {
        let metadata = self.provider.metadata().await?;
        let now = self.clock.monotonic();
        let (pending, browser) = Pending::begin(&*self.rng, return_to, now);
        let query = encode_form(&[
            ("response_type", "code"),
            ("client_id", &self.client.id),
            ("redirect_uri", self.redirect_url.as_str()),
            ("scope", &self.scope),
            ("state", pending.state.expose_secret()),
            ("nonce", pending.nonce.expose_secret()),
            ("code_challenge", &pending.challenge()),
            ("code_challenge_method", "S256"),
        ])?;
        let endpoint = metadata.authorization.as_str();
        let joint = if endpoint.contains('?') { '&' } else { '?' };
        let location = format!("{endpoint}{joint}{query}");
        self.pending.insert(pending, now);
        Ok(OidcStart { location, browser, timeout: PENDING_TIMEOUT })
    }

    /// Ends a login with the query that the provider sent back through the browser, and the browser's cookie.
    ///
    /// Each login ends once, well or not: a second try begins anew.
    ///
    /// # Errors
    ///
    /// Anything is not as it was agreed; the person is not let in then.
    pub async fn finish(&self, query: &str, browser: Option<&str>) -> Result<OidcLogin, OidcError> {
        let callback = Callback::parse(query)?;
        let now = self.clock.monotonic();
        let pending =
            self.pending.take(&callback.state, browser, now).ok_or(OidcError::NotPending)?;
        let metadata = self.provider.metadata().await?;
        let code = callback.code(&metadata, self.provider.issuer.as_str())?;
        let (client, url) = (&self.client, &self.redirect_url);
        let tokens = self.provider.redeem(&metadata, client, url, code, &pending.verifier).await?;
        let token = self.verify(&metadata, &tokens.id_token).await?;
        check_nonce(&token, &pending)?;
        let mut claims = token.claims;
        if let Some(access_token) = &tokens.access_token {
            check_access_token(token.algorithm, &claims, access_token)?;
            if self.asks_userinfo
                && let Some(more) =
                    self.provider.userinfo(&metadata, access_token, &token.subject).await?
            {
                for (name, value) in more {
                    claims.entry(name).or_insert(value);
                }
            }
        }
        let issuer = self.provider.issuer.as_str();
        let identity = Identity::read(issuer, &token.subject, &claims, &self.roles.claim);
        match self.roles.grant(&identity).cloned() {
            Some(grant) => Ok(OidcLogin { identity, grant, return_to: pending.return_to }),
            None => Err(OidcError::NoRole { identity: Box::new(identity) }),
        }
    }

    async fn verify(&self, metadata: &Metadata, id_token: &str) -> Result<Token, OidcError> {
        let expected = Expected {
            issuer: self.provider.issuer.as_str(),
            audience: &self.client.id,
            algorithms: &metadata.algorithms,
        };
        let keys = self.provider.keys(metadata).await?;
        match jwt::verify(id_token, &keys, &expected, self.clock.now()) {
            // The provider may have changed its keys since we asked.
            Err(TokenError::UnknownKey) => {
                let newer = self.provider.newer_keys(metadata, &keys).await?;
                let keys = newer.ok_or(TokenError::UnknownKey)?;
                Ok(jwt::verify(id_token, &keys, &expected, self.clock.now())?)
            }
            result => Ok(result?),
        }
    }
}

/// What came back through the browser.
#[derive(Debug, Default)]
struct Callback<'a> {
    state: Cow<'a, str>,
    code: Option<Cow<'a, str>>,
    error: Option<Cow<'a, str>>,
    issuer: Option<Cow<'a, str>>,
}

impl<'a> Callback<'a> {
    fn parse(query: &'a str) -> Result<Self, OidcError> {
        let refuse = |reason| OidcError::Request { reason };
        if query.len() > CALLBACK_BYTES_MAX {
            return Err(refuse("the answer is too long"));
        }
        let pairs: Vec<(Cow<'a, str>, Cow<'a, str>)> =
            serde_urlencoded::from_str(query).map_err(|_| refuse("the answer cannot be read"))?;
        let mut state = None;
        let mut callback = Self::default();
        for (name, value) in pairs {
            let member = match &*name {
                "state" => &mut state,
                "code" => &mut callback.code,
                "error" => &mut callback.error,
                "iss" => &mut callback.issuer,
                _ => continue,
            };
            if member.replace(value).is_some() {
                return Err(refuse("the answer says something twice"));
            }
        }
        callback.state = state.ok_or_else(|| refuse("the answer has no state"))?;
        Ok(callback)
    }

    fn code(&self, metadata: &Metadata, issuer: &str) -> Result<&str, OidcError> {
        let is_from_issuer = match &self.issuer {
            Some(named) => named == issuer,
            None => !metadata.names_issuer,
        };
        if !is_from_issuer {
            return Err(OidcError::Request { reason: "the answer is from another provider" });
        }
        if let Some(error) = &self.error {
            return Err(OidcError::Denied { error: clean_code(error) });
        }
        let code = self.code.as_deref().filter(|code| !code.is_empty());
        code.ok_or(OidcError::Request { reason: "the answer has no code" })
    }
}

/// Returns an error code as it may be shown and logged.
fn clean_code(error: &str) -> String {
    let is_code = |text: &str| {
        text.len() <= 64 && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte == b'_')
    };
    if is_code(error) { error.to_owned() } else { "unknown error".to_owned() }
}

fn check_nonce(token: &Token, pending: &Pending) -> Result<(), TokenError> {
    if jwt::text(&token.claims, "nonce") == Some(pending.nonce.expose_secret()) {
        Ok(())
    } else {
        Err(TokenError::Claim { claim: "nonce", reason: "is not that of this login" })
    }
}

/// Checks that the access token belongs to the ID token, where that says so
/// ([OpenID Connect Core, 3.1.3.8](https://openid.net/specs/openid-connect-core-1_0.html#CodeFlowTokenValidation)).
fn check_access_token(
    algorithm: SignatureAlgorithm,
    claims: &Map<String, Value>,
    access_token: &SecretString,
) -> Result<(), TokenError> {
    let Some(hash) = claims.get("at_hash") else { return Ok(()) };
    let function = match algorithm {
        SignatureAlgorithm::Rs256 | SignatureAlgorithm::Ps256 | SignatureAlgorithm::Es256 => {
            &SHA256
        }
        SignatureAlgorithm::Rs384 | SignatureAlgorithm::Es384 => &SHA384,
        SignatureAlgorithm::Rs512 | SignatureAlgorithm::EdDsa => &SHA512,
    };
    let whole = digest(function, access_token.expose_secret().as_bytes());
    let (left, _) = whole.as_ref().split_at(whole.as_ref().len() / 2);
    if *hash == URL_SAFE_NO_PAD.encode(left) {
        Ok(())
    } else {
        Err(TokenError::Claim { claim: "at_hash", reason: "is not that of the access token" })
    }
}

#[cfg(test)]
mod tests;
