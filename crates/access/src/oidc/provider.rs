//! The provider at the other end: its description, its keys, its token and user endpoints.

use std::sync::Arc;
use std::time::Duration;

use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE};
use http::{HeaderMap, HeaderValue, Method, StatusCode};
use parking_lot::Mutex;
use platform::{Clock, HttpClient, HttpRequest, HttpResponse};
use secrecy::{ExposeSecret as _, SecretString};
use serde_json::{Map, Value};
use tokio::sync::Semaphore;

use super::url::{Issuer, SecureUrl};
use super::{OidcError, clean_code};
use crate::jwt::json::parse_object;
use crate::jwt::{self, KEY_SET_BYTES_MAX, KeySet, SignatureAlgorithm};

/// How long description and keys count before they are fetched again: a key that was withdrawn ends then at last.
const FRESH_FOR: Duration = Duration::from_secs(3_600);

/// How often keys are fetched at most because a token names an unknown one: anybody can make up such a token.
const KEYS_AGAIN_AFTER: Duration = Duration::from_secs(60);

/// The time for one request to the provider.
const REQUEST_TIMEOUT: Duration = Duration::from_secs(10);

/// Most bytes of any of its answers.
const RESPONSE_BYTES_MAX: u64 = KEY_SET_BYTES_MAX as u64;

/// Most requests to the provider at the same time; further logins are refused.
const REQUESTS_CONCURRENT_MAX: usize = 32;

/// How the provider wants to be asked, from its description.
#[derive(Debug)]
pub(super) struct Metadata {
    pub(super) authorization: SecureUrl,
    token: SecureUrl,
    userinfo: Option<SecureUrl>,
    keys: SecureUrl,
    /// Those ways to sign that both sides know.
    pub(super) algorithms: Vec<SignatureAlgorithm>,
    takes_basic: bool,
    takes_post: bool,
    /// Whether the answer to the browser names the issuer ([RFC 9207](https://www.rfc-editor.org/rfc/rfc9207)).
    pub(super) names_issuer: bool,
}

impl Metadata {
    fn read(issuer: &Issuer, object: &Map<String, Value>) -> Result<Self, String> {
        if jwt::text(object, "issuer") != Some(issuer.as_str()) {
            return Err("'issuer' is not the configured issuer, to the letter".to_owned());
        }
        let optional = |name: &str| match object.get(name) {
            None | Some(Value::Null) => Ok(None),
            Some(url) => {
                let endpoint = issuer.endpoint(url.as_str().unwrap_or_default());
                endpoint.map(Some).map_err(|error| format!("'{name}' {error}"))
            }
        };
        let required = |name: &str| optional(name)?.ok_or_else(|| format!("'{name}' is missing"));
        let list = |name: &str| {
            let items = object.get(name).and_then(Value::as_array);
            items.map(|items| items.iter().filter_map(Value::as_str).collect::<Vec<_>>())
        };
        let algorithms: Vec<_> = match list("id_token_signing_alg_values_supported") {
            Some(names) => names.into_iter().filter_map(SignatureAlgorithm::from_name).collect(),
            None => vec![SignatureAlgorithm::Rs256],
        };
        if algorithms.is_empty() {
            return Err("it signs ID tokens in no way that is known here".to_owned());
        }
        let takes = list("token_endpoint_auth_methods_supported")
            .unwrap_or_else(|| vec!["client_secret_basic"]);
        Ok(Self {
            authorization: required("authorization_endpoint")?,
            token: required("token_endpoint")?,
            userinfo: optional("userinfo_endpoint")?,
            keys: required("jwks_uri")?,
            algorithms,
            takes_basic: takes.contains(&"client_secret_basic"),
            takes_post: takes.contains(&"client_secret_post"),
            names_issuer: object.get("authorization_response_iss_parameter_supported")
                == Some(&Value::Bool(true)),
        })
    }
}

/// What the code was exchanged for.
pub(super) struct Tokens {
    pub(super) id_token: String,
    pub(super) access_token: Option<SecretString>,
}

/// Ourselves, as the provider knows us.
#[derive(Debug)]
pub(super) struct Client {
    pub(super) id: String,
    /// `None` for a public client, which PKCE alone protects.
    pub(super) secret: Option<SecretString>,
}

/// A provider, and what it last said about itself.
#[derive(Debug)]
pub(super) struct Provider {
    pub(super) issuer: Issuer,
    http: Arc<dyn HttpClient>,
    clock: Arc<dyn Clock>,
    requests: Semaphore,
    cache: Mutex<Cache>,
}

#[derive(Debug, Default)]
struct Cache {
    metadata: Option<Dated<Metadata>>,
    keys: Option<Dated<KeySet>>,
    /// When keys were last fetched for an unknown one, successfully or not.
    keys_again_at: Option<Duration>,
}

#[derive(Debug)]
struct Dated<T> {
    value: Arc<T>,
    at: Duration,
}

impl<T> Dated<T> {
    fn fresh(cached: Option<&Self>, now: Duration) -> Option<Arc<T>> {
        let fresh = cached.filter(|cached| now.saturating_sub(cached.at) < FRESH_FOR);
        fresh.map(|cached| Arc::clone(&cached.value))
    }
}

impl Provider {
    pub(super) fn new(issuer: Issuer, http: Arc<dyn HttpClient>, clock: Arc<dyn Clock>) -> Self {
        let requests = Semaphore::new(REQUESTS_CONCURRENT_MAX);
        Self { issuer, http, clock, requests, cache: Mutex::default() }
    }

    /// Returns the provider's description, at most an hour old.
    pub(super) async fn metadata(&self) -> Result<Arc<Metadata>, OidcError> {
        let now = self.clock.monotonic();
        if let Some(metadata) = Dated::fresh(self.cache.lock().metadata.as_ref(), now) {
            return Ok(metadata);
        }
        let body = self.get("discovery document", self.issuer.discovery_url(), None).await?;
        let read = parse_object(&body).and_then(|object| Metadata::read(&self.issuer, &object));
        let metadata = Arc::new(
            read.map_err(|reason| OidcError::Provider { what: "discovery document", reason })?,
        );
        self.cache.lock().metadata = Some(Dated { value: Arc::clone(&metadata), at: now });
        Ok(metadata)
    }

    /// Returns the provider's keys, at most an hour old.
    pub(super) async fn keys(&self, metadata: &Metadata) -> Result<Arc<KeySet>, OidcError> {
        let now = self.clock.monotonic();
        if let Some(keys) = Dated::fresh(self.cache.lock().keys.as_ref(), now) {
            return Ok(keys);
        }
        self.fetch_keys(metadata).await
    }

    /// Returns newer keys than `known`, or `None` if it is too early to ask again.
    pub(super) async fn newer_keys(
        &self,
        metadata: &Metadata,
        known: &Arc<KeySet>,
    ) -> Result<Option<Arc<KeySet>>, OidcError> {
        let now = self.clock.monotonic();
        {
            let mut cache = self.cache.lock();
            if let Some(cached) = &cache.keys
                && !Arc::ptr_eq(&cached.value, known)
            {
                return Ok(Some(Arc::clone(&cached.value)));
            }
            let is_early = |at: Duration| now.saturating_sub(at) < KEYS_AGAIN_AFTER;
            if cache.keys_again_at.is_some_and(is_early) {
                return Ok(None);
            }
            cache.keys_again_at = Some(now);
        }
        self.fetch_keys(metadata).await.map(Some)
    }

    async fn fetch_keys(&self, metadata: &Metadata) -> Result<Arc<KeySet>, OidcError> {
        let body = self.get("key set", metadata.keys.as_str().to_owned(), None).await?;
        let keys = KeySet::parse(&body)
            .map_err(|error| OidcError::Provider { what: "key set", reason: error.to_string() })?;
        let keys = Arc::new(keys);
        let at = self.clock.monotonic();
        self.cache.lock().keys = Some(Dated { value: Arc::clone(&keys), at });
        Ok(keys)
    }

    /// Exchanges a code for tokens ([RFC 6749, 4.1.3](https://www.rfc-editor.org/rfc/rfc6749#section-4.1.3)).
    pub(super) async fn redeem(
        &self,
        metadata: &Metadata,
        client: &Client,
        redirect_url: &SecureUrl,
        code: &str,
        verifier: &SecretString,
    ) -> Result<Tokens, OidcError> {
        let mut form = vec![
            ("grant_type", "authorization_code"),
            ("code", code),
            ("redirect_uri", redirect_url.as_str()),
            ("code_verifier", verifier.expose_secret()),
        ];
        let mut headers = HeaderMap::new();
        match &client.secret {
            Some(secret) if metadata.takes_basic => {
                headers.insert(AUTHORIZATION, basic(&client.id, secret)?);
            }
            Some(secret) if metadata.takes_post => {
                form.push(("client_id", &client.id));
                form.push(("client_secret", secret.expose_secret()));
            }
            Some(_) => {
                return Err(OidcError::Provider {
                    what: "discovery document",
                    reason: "it takes no client secret, neither by client_secret_basic nor by \
                             client_secret_post"
                        .to_owned(),
                });
            }
            None => form.push(("client_id", &client.id)),
        }
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-www-form-urlencoded"));
        let body = encode_form(&form)?.into();
        let response =
            self.send(Method::POST, metadata.token.as_str().to_owned(), headers, body).await?;
        read_tokens(&response)
    }

    /// Returns what the user endpoint says of `subject`, or `None` if there is no such endpoint.
    pub(super) async fn userinfo(
        &self,
        metadata: &Metadata,
        access_token: &SecretString,
        subject: &str,
    ) -> Result<Option<Map<String, Value>>, OidcError> {
        let Some(url) = &metadata.userinfo else { return Ok(None) };
        let what = "user information";
        let refuse = |reason: &str| OidcError::Provider { what, reason: reason.to_owned() };
        let bearer = format!("Bearer {}", access_token.expose_secret());
        let bearer =
            secret_header(&bearer).ok_or_else(|| refuse("its access token is no header value"))?;
        let body = self.get(what, url.as_str().to_owned(), Some(bearer)).await?;
        let claims = parse_object(&body).map_err(|reason| refuse(&reason))?;
        // Without this check, a token of somebody else could lend their groups to this person.
        if jwt::text(&claims, "sub") != Some(subject) {
            return Err(refuse("it speaks of somebody else"));
        }
        Ok(Some(claims))
    }

    async fn get(
        &self,
        what: &'static str,
        url: String,
        authorization: Option<HeaderValue>,
    ) -> Result<Bytes, OidcError> {
        let mut headers = HeaderMap::new();
        if let Some(authorization) = authorization {
            headers.insert(AUTHORIZATION, authorization);
        }
        let response = self.send(Method::GET, url, headers, Bytes::new()).await?;
        if response.status == StatusCode::OK {
            Ok(response.body)
        } else {
            let reason = format!("the answer has status {}", response.status.as_u16());
            Err(OidcError::Provider { what, reason })
        }
    }

    /// Takes the places of all requests at once.
    #[cfg(test)]
    pub(super) fn occupy(&self) -> tokio::sync::SemaphorePermit<'_> {
        let all = REQUESTS_CONCURRENT_MAX.try_into().expect("a small number");
        self.requests.try_acquire_many(all).expect("no request is under way")
    }

    async fn send(
        &self,
        method: Method,
        url: String,
        mut headers: HeaderMap,
        body: Bytes,
    ) -> Result<HttpResponse, OidcError> {
        headers.insert(ACCEPT, HeaderValue::from_static("application/json"));
        let request = HttpRequest {
            method,
            url,
            headers,
            body,
            timeout: REQUEST_TIMEOUT,
            response_bytes_max: RESPONSE_BYTES_MAX,
        };
        let _permit = self.requests.try_acquire().map_err(|_| OidcError::Busy)?;
        Ok(self.http.send(request).await?)
    }
}

fn read_tokens(response: &HttpResponse) -> Result<Tokens, OidcError> {
    let what = "token answer";
    let refuse = |reason: String| OidcError::Provider { what, reason };
    let answer = parse_object(&response.body);
    if response.status != StatusCode::OK {
        let answer = answer.unwrap_or_default();
        return Err(match jwt::text(&answer, "error") {
            Some(error) => OidcError::Denied { error: clean_code(error) },
            None => refuse(format!("the answer has status {}", response.status.as_u16())),
        });
    }
    let answer = answer.map_err(refuse)?;
    if !jwt::text(&answer, "token_type").is_some_and(|kind| kind.eq_ignore_ascii_case("bearer")) {
        return Err(refuse("'token_type' is not Bearer".to_owned()));
    }
    let id_token = jwt::text(&answer, "id_token")
        .ok_or_else(|| refuse("'id_token' is missing; is the scope openid allowed?".to_owned()))?;
    let access_token = jwt::text(&answer, "access_token").map(SecretString::from);
    Ok(Tokens { id_token: id_token.to_owned(), access_token })
}

/// Returns the header of `client_secret_basic`: both parts are encoded as in a form before they are joined
/// ([RFC 6749, 2.3.1](https://www.rfc-editor.org/rfc/rfc6749#section-2.3.1)).
fn basic(id: &str, secret: &SecretString) -> Result<HeaderValue, OidcError> {
    let part = |text: &str| encode_form(&[("", text)]).map(|pair| pair.replacen('=', "", 1));
    let pair = format!("{}:{}", part(id)?, part(secret.expose_secret())?);
    secret_header(&format!("Basic {}", STANDARD.encode(pair)))
        .ok_or(OidcError::Request { reason: "the client secret cannot be sent" })
}

fn secret_header(text: &str) -> Option<HeaderValue> {
    let mut value = HeaderValue::from_str(text).ok()?;
    value.set_sensitive(true);
    Some(value)
}

pub(super) fn encode_form(pairs: &[(&str, &str)]) -> Result<String, OidcError> {
    serde_urlencoded::to_string(pairs)
        .map_err(|_| OidcError::Request { reason: "the request cannot be encoded" })
}
