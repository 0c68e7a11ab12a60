//! Logins at a provider in memory that keeps to the standards until a test makes it not to.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use http::{HeaderMap, StatusCode};
use model::{TenantId, Timestamp};
use parking_lot::Mutex;
use platform::{HttpRequest, HttpResponse, SimClock, SimRng};
use serde_json::json;

use super::*;
use crate::jwt::tests::{NOW_SECONDS, Signer, encode, set};
use crate::permission::Role;

const ISSUER: &str = "https://login.example/realm";
const REDIRECT: &str = "https://obs.example/v1/login/oidc/callback";
const ACCESS_TOKEN: &str = "opaque-access-token";

type Form = BTreeMap<String, String>;

/// What the provider does; tests change it.
struct Conduct {
    discovery: Value,
    signer: Signer,
    kid: &'static str,
    keys: String,
    /// Laid over the claims of the ID token; `null` removes one.
    claims: Value,
    /// Laid over the answer of the token endpoint.
    answer: Value,
    userinfo: Value,
    status: StatusCode,
    is_down: bool,
    /// How it expects the client to prove itself.
    client: &'static str,
    /// Laid over what the browser brings back.
    callback: Vec<(&'static str, Option<&'static str>)>,
    /// What the client asked for when the login began.
    asked: Form,
    /// Paths that were requested.
    requests: Vec<String>,
}

#[derive(Clone)]
struct FakeProvider(Arc<Mutex<Conduct>>);

impl fmt::Debug for FakeProvider {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("FakeProvider")
    }
}

impl FakeProvider {
    fn new() -> Self {
        let signer = Signer::es256();
        let keys = set(&[signer.jwk("first")]);
        let endpoint = |path: &str| format!("{ISSUER}/{path}");
        Self(Arc::new(Mutex::new(Conduct {
            discovery: json!({
                "issuer": ISSUER,
                "authorization_endpoint": endpoint("authorize?skin=dark"),
                "token_endpoint": endpoint("token"),
                "userinfo_endpoint": endpoint("userinfo"),
                "jwks_uri": endpoint("keys"),
                "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA", "none"],
            }),
            signer,
            kid: "first",
            keys,
            claims: json!({}),
            answer: json!({}),
            userinfo: json!({"sub": "u-1", "groups": ["operators"], "iss": "https://evil.example"}),
            status: StatusCode::OK,
            is_down: false,
            client: "basic",
            callback: Vec::new(),
            asked: Form::new(),
            requests: Vec::new(),
        })))
    }

    /// Logs the person in, and returns the query that the browser brings back.
    fn authorize(&self, location: &str) -> String {
        let (endpoint, query) = location.split_once('?').expect("a query");
        assert_eq!(endpoint, format!("{ISSUER}/authorize"));
        let mut conduct = self.0.lock();
        conduct.asked = form(query);
        let mut callback =
            BTreeMap::from([("code", "c-1"), ("state", conduct.asked["state"].as_str())]);
        for (name, value) in conduct.callback.clone() {
            match value {
                Some(value) => callback.insert(name, value),
                None => callback.remove(name),
            };
        }
        serde_urlencoded::to_string(callback).expect("a query")
    }
}

impl HttpClient for FakeProvider {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        let mut conduct = self.0.lock();
        assert!(request.timeout <= Duration::from_secs(10), "every request ends");
        assert!(request.response_bytes_max <= 256 * 1024, "every answer is bounded");
        let path = request.url.strip_prefix(ISSUER).unwrap_or(&request.url).to_owned();
        conduct.requests.push(path.clone());
        let result = if conduct.is_down {
            let reason = "connection refused".to_owned();
            Err(HttpError::Connection { url: request.url, reason })
        } else {
            let (status, body) = conduct.answer(&path, &request);
            Ok(HttpResponse { status, headers: HeaderMap::new(), body: body.into() })
        };
        Box::pin(std::future::ready(result))
    }
}

impl Conduct {
    fn answer(&self, path: &str, request: &HttpRequest) -> (StatusCode, String) {
        let authorization = request.headers.get("authorization").map(|value| {
            assert!(value.is_sensitive(), "secrets are not logged");
            value.to_str().expect("a text").to_owned()
        });
        match path {
            "/.well-known/openid-configuration" => (self.status, self.discovery.to_string()),
            "/keys" => (StatusCode::OK, self.keys.clone()),
            "/token" => self.redeem(&request.body, authorization.as_deref()),
            "/userinfo" => {
                assert_eq!(authorization.as_deref(), Some("Bearer opaque-access-token"));
                (StatusCode::OK, self.userinfo.to_string())
            }
            _ => (StatusCode::NOT_FOUND, String::new()),
        }
    }

    fn redeem(&self, body: &[u8], authorization: Option<&str>) -> (StatusCode, String) {
        let sent = form(std::str::from_utf8(body).expect("a form"));
        assert_eq!(sent["grant_type"], "authorization_code");
        assert_eq!((&*sent["code"], &*sent["redirect_uri"]), ("c-1", REDIRECT));
        let challenge = encode(digest(&SHA256, sent["code_verifier"].as_bytes()).as_ref());
        assert_eq!(challenge, self.asked["code_challenge"], "the verifier fits the challenge");
        let member = |name: &str| sent.get(name).map(String::as_str);
        let proof = match (authorization, member("client_id"), member("client_secret")) {
            // tiny%3Aobs:s%2Bcret+1
            (Some("Basic dGlueSUzQW9iczpzJTJCY3JldCsx"), None, None) => "basic",
            (None, Some("tiny:obs"), Some("s+cret 1")) => "post",
            (None, Some("tiny:obs"), None) => "public",
            other => panic!("no proof that a provider takes: {other:?}"),
        };
        assert_eq!(proof, self.client);
        let mut claims = json!({
            "iss": ISSUER,
            "sub": "u-1",
            "aud": "tiny:obs",
            "exp": NOW_SECONDS + 300,
            "iat": NOW_SECONDS,
            "nonce": self.asked["nonce"],
            "preferred_username": "ada",
            "email": "ada@example.org",
            "groups": ["staff"],
            "at_hash": encode(&digest(&SHA256, ACCESS_TOKEN.as_bytes()).as_ref()[..16]),
        });
        lay_over(&mut claims, &self.claims);
        let mut answer = json!({
            "token_type": "bearer",
            "access_token": ACCESS_TOKEN,
            "id_token": self.signer.sign(self.kid, &claims),
        });
        lay_over(&mut answer, &self.answer);
        (self.status, answer.to_string())
    }
}

fn lay_over(object: &mut Value, layer: &Value) {
    let object = object.as_object_mut().expect("an object");
    for (name, value) in layer.as_object().expect("an object") {
        match value {
            Value::Null => object.remove(name),
            value => object.insert(name.clone(), value.clone()),
        };
    }
}

fn form(text: &str) -> Form {
    let pairs: Vec<(String, String)> = serde_urlencoded::from_str(text).expect("a form");
    let count = pairs.len();
    let form: Form = pairs.into_iter().collect();
    assert_eq!(form.len(), count, "nothing is sent twice");
    form
}

/// A server and a provider.
struct World {
    oidc: Oidc,
    provider: FakeProvider,
    clock: Arc<SimClock>,
}

impl World {
    fn new() -> Self {
        Self::with(|_| {})
    }

    fn with(change: impl FnOnce(&mut OidcConfig)) -> Self {
        let grant = |role, tenant: &str, all_tenants| Grant {
            role,
            tenant: TenantId::new(tenant).expect("a tenant"),
            all_tenants,
        };
        let rule = |value: &str, grant| RoleRule { value: value.to_owned(), grant };
        let mut config = OidcConfig {
            name: "Example".to_owned(),
            issuer: ISSUER.parse().expect("an issuer"),
            client_id: "tiny:obs".to_owned(),
            client_secret: Some("s+cret 1".into()),
            redirect_url: REDIRECT.parse().expect("an address"),
            scopes: vec!["openid".to_owned(), "profile".to_owned(), "groups".to_owned()],
            userinfo: false,
            roles: RoleMapping {
                claim: "groups".to_owned(),
                rules: vec![
                    rule("operators", grant(Role::Admin, "default", true)),
                    rule("staff", grant(Role::Viewer, "blue", false)),
                ],
                default: None,
            },
        };
        change(&mut config);
        let provider = FakeProvider::new();
        let clock = SimClock::new(Timestamp::from_millis(NOW_SECONDS * 1_000));
        let oidc = Oidc::new(
            config,
            Arc::new(provider.clone()),
            Arc::new(Arc::clone(&clock)),
            SimRng::new(1),
        );
        Self { oidc, provider, clock }
    }

    fn change(&self, change: impl FnOnce(&mut Conduct)) {
        change(&mut self.provider.0.lock());
    }

    async fn login(&self) -> Result<OidcLogin, OidcError> {
        let start = self.oidc.begin("/view?a=b".parse().expect("a path")).await?;
        let query = self.provider.authorize(&start.location);
        self.oidc.finish(&query, Some(start.browser.expose_secret())).await
    }

    /// Logs in, says how it ends in a word, and which paths were asked for.
    async fn outcome(&self) -> (String, Vec<String>) {
        let outcome = match self.login().await {
            Ok(login) => format!("{} {}", login.grant.role, login.grant.tenant),
            Err(error) => error.to_string(),
        };
        (outcome, std::mem::take(&mut self.provider.0.lock().requests))
    }
}

/// Logs in at a provider that behaves as `change` says.
async fn check(what: &str, change: impl FnOnce(&mut Conduct), expected: &str) {
    let world = World::new();
    world.change(change);
    let (outcome, _) = world.outcome().await;
    assert!(outcome.contains(expected), "{what}: {outcome}, expected {expected}");
}

#[tokio::test]
async fn a_person_logs_in_and_comes_back_to_where_they_were() {
    let world = World::new();
    let login = world.login().await.expect("a login");
    assert_eq!(
        login,
        OidcLogin {
            identity: Identity {
                issuer: ISSUER.to_owned(),
                subject: "u-1".to_owned(),
                name: "ada".to_owned(),
                email: Some("ada@example.org".to_owned()),
                groups: vec!["staff".to_owned()],
            },
            grant: Grant {
                role: Role::Viewer,
                tenant: TenantId::new("blue").expect("a tenant"),
                all_tenants: false,
            },
            return_to: "/view?a=b".parse().expect("a path"),
        }
    );
    let asked = world.provider.0.lock().asked.clone();
    for (name, expected) in [
        ("skin", "dark"),
        ("response_type", "code"),
        ("client_id", "tiny:obs"),
        ("redirect_uri", REDIRECT),
        ("scope", "openid profile groups"),
        ("code_challenge_method", "S256"),
    ] {
        assert_eq!(asked[name], expected, "{name}");
    }
    for name in ["state", "nonce", "code_challenge"] {
        assert_eq!(asked[name].len(), 43, "{name}");
    }
}

#[tokio::test]
async fn the_description_must_be_that_of_the_issuer_and_lead_to_encrypted_endpoints() {
    for (member, value, expected) in [
        ("issuer", json!("https://login.example/realm/"), "'issuer' is not the configured issuer"),
        ("issuer", json!("https://login.example/Realm"), "'issuer' is not the configured issuer"),
        ("issuer", Value::Null, "'issuer' is not the configured issuer"),
        ("authorization_endpoint", Value::Null, "'authorization_endpoint' is missing"),
        ("authorization_endpoint", json!("javascript:alert(1)"), "must be an absolute URL"),
        ("authorization_endpoint", json!("http://login.example/a"), "must begin with https://"),
        ("authorization_endpoint", json!("https://login.example/a#b"), "must be an absolute URL"),
        ("token_endpoint", Value::Null, "'token_endpoint' is missing"),
        ("token_endpoint", json!("http://login.example/token"), "must begin with https://"),
        ("token_endpoint", json!("http://127.0.0.1/token"), "must begin with https://"),
        ("token_endpoint", json!(["https://login.example"]), "must be an absolute URL"),
        ("jwks_uri", Value::Null, "'jwks_uri' is missing"),
        ("jwks_uri", json!("http://login.example/keys"), "must begin with https://"),
        ("userinfo_endpoint", json!("http://login.example/me"), "must begin with https://"),
        ("id_token_signing_alg_values_supported", json!(["none", "HS256"]), "signs ID tokens in"),
        ("id_token_signing_alg_values_supported", json!(["RS256"]), "algorithm is not allowed"),
        ("id_token_signing_alg_values_supported", Value::Null, "algorithm is not allowed"),
        ("token_endpoint_auth_methods_supported", json!(["private_key_jwt"]), "no client secret"),
        ("token_endpoint_auth_methods_supported", json!(["client_secret_basic"]), "viewer blue"),
        ("userinfo_endpoint", Value::Null, "viewer blue"),
        ("authorization_response_iss_parameter_supported", json!(false), "viewer blue"),
    ] {
        let change = |conduct: &mut Conduct| {
            lay_over(&mut conduct.discovery, &json!({ member: value.clone() }));
        };
        check(member, change, expected).await;
    }
    check("a list", |conduct| conduct.discovery = json!([]), "it is no JSON object").await;
    let redirect = |conduct: &mut Conduct| conduct.status = StatusCode::FOUND;
    check("a redirect", redirect, "discovery document is not usable: the answer has status 302")
        .await;
    check("nobody", |conduct| conduct.is_down = true, "cannot be reached").await;
}

#[tokio::test]
async fn a_login_must_come_back_as_it_was_agreed() {
    const NOT_PENDING: &str = "took too long or began in another browser";
    for (callback, expected) in [
        (vec![("state", None)], "the answer has no state"),
        (vec![("state", Some("other"))], NOT_PENDING),
        (vec![("state", Some(""))], NOT_PENDING),
        (vec![("code", None)], "the answer has no code"),
        (vec![("code", Some(""))], "the answer has no code"),
        (vec![("error", Some("access_denied"))], "provider refused: access_denied"),
        (vec![("error", Some("<script>"))], "provider refused: unknown error"),
        (vec![("iss", Some("https://evil.example"))], "from another provider"),
        (vec![("iss", Some("https://evil.example")), ("error", Some("x"))], "another provider"),
        (vec![("iss", Some(ISSUER))], "viewer blue"),
        (vec![("session_state", Some("x"))], "viewer blue"),
    ] {
        let what = format!("{callback:?}");
        check(&what, |conduct| conduct.callback = callback, expected).await;
    }
    let names_issuer = |conduct: &mut Conduct| {
        conduct.discovery["authorization_response_iss_parameter_supported"] = json!(true);
    };
    check("an issuer that should be named", names_issuer, "from another provider").await;

    let world = World::new();
    for query in ["state=a&state=b&code=c", "state=a&code=c&code=d", "iss=a&iss=a&state=b"] {
        let error = world.oidc.finish(query, None).await.expect_err("it is ambiguous");
        assert!(error.to_string().contains("says something twice"), "{query}: {error}");
    }
    let long = format!("state=a&code={}", "c".repeat(CALLBACK_BYTES_MAX));
    let error = world.oidc.finish(&long, None).await.expect_err("it is too long");
    assert!(error.to_string().contains("too long"), "{error}");
    assert!(world.provider.0.lock().requests.is_empty(), "the provider is not even asked");
}

#[tokio::test]
async fn a_login_ends_once_in_time_and_in_its_own_browser() {
    let world = World::new();
    let start = world.oidc.begin(ReturnPath::default()).await.expect("a login");
    let other = world.oidc.begin(ReturnPath::default()).await.expect("a login");
    let query = world.provider.authorize(&start.location);
    let browser = Some(start.browser.expose_secret());
    world.oidc.finish(&query, browser).await.expect("the first time");
    let again = world.oidc.finish(&query, browser).await.expect_err("the second time");
    assert!(matches!(again, OidcError::NotPending), "{again}");

    let query = world.provider.authorize(&other.location);
    let mixed = world.oidc.finish(&query, browser).await.expect_err("another browser");
    assert!(matches!(mixed, OidcError::NotPending), "{mixed}");

    let late = world.oidc.begin(ReturnPath::default()).await.expect("a login");
    let query = world.provider.authorize(&late.location);
    world.clock.advance(late.timeout);
    let browser = Some(late.browser.expose_secret());
    let late = world.oidc.finish(&query, browser).await.expect_err("too late");
    assert!(matches!(late, OidcError::NotPending), "{late}");
}

#[tokio::test]
async fn the_client_proves_itself_as_the_provider_wants_it() {
    for (methods, secret, client) in [
        (Value::Null, true, "basic"),
        (json!(["client_secret_post", "client_secret_basic"]), true, "basic"),
        (json!(["client_secret_post"]), true, "post"),
        (json!(["none"]), false, "public"),
        (Value::Null, false, "public"),
    ] {
        let world = World::with(|config| {
            if !secret {
                config.client_secret = None;
            }
        });
        world.change(|conduct| {
            let member = json!({ "token_endpoint_auth_methods_supported": methods });
            lay_over(&mut conduct.discovery, &member);
            conduct.client = client;
        });
        assert_eq!(world.outcome().await.0, "viewer blue", "{client}");
    }
}

#[tokio::test]
async fn the_token_answer_must_be_complete() {
    for (answer, expected) in [
        (json!({"id_token": null}), "'id_token' is missing"),
        (json!({"id_token": 7}), "'id_token' is missing"),
        (json!({"id_token": "a.b"}), "ID token is refused: the token is malformed"),
        (json!({"token_type": null}), "'token_type' is not Bearer"),
        (json!({"token_type": "mac"}), "'token_type' is not Bearer"),
        (json!({"token_type": "BEARER"}), "viewer blue"),
        (json!({"access_token": null}), "viewer blue"),
        (json!({"access_token": "another-token"}), "'at_hash' is not that of the access token"),
    ] {
        check(&answer.to_string(), |conduct| conduct.answer = answer.clone(), expected).await;
    }
    let world = World::new();
    for (answer, expected) in [
        (json!({"error": "invalid_grant"}), "provider refused: invalid_grant"),
        (json!({"error": "Bad\nLine"}), "provider refused: unknown error"),
        (json!({}), "token answer is not usable: the answer has status 400"),
    ] {
        let start = world.oidc.begin(ReturnPath::default()).await.expect("a login");
        let query = world.provider.authorize(&start.location);
        world.change(|conduct| {
            conduct.status = StatusCode::BAD_REQUEST;
            conduct.answer = answer;
        });
        let browser = Some(start.browser.expose_secret());
        let error = world.oidc.finish(&query, browser).await.expect_err("it is refused");
        assert!(error.to_string().contains(expected), "{error}, expected {expected}");
    }
}

#[tokio::test]
async fn the_id_token_must_be_of_this_provider_for_us_for_now_and_for_this_login() {
    for (claims, expected) in [
        (json!({"nonce": null}), "'nonce' is not that of this login"),
        (json!({"nonce": ""}), "'nonce' is not that of this login"),
        (json!({"nonce": "other"}), "'nonce' is not that of this login"),
        (json!({"iss": "https://evil.example"}), "'iss' is not the configured issuer"),
        (json!({"aud": "other"}), "'aud' does not contain the client"),
        (json!({"aud": ["tiny:obs", "other"]}), "'azp' is missing"),
        (json!({"azp": "other"}), "'azp' is not the client"),
        (json!({"exp": NOW_SECONDS - 60}), "'exp' has passed"),
        (json!({"iat": null}), "'iat' is missing"),
        (json!({"sub": null}), "'sub' is no text"),
        (json!({"at_hash": "AAAA"}), "'at_hash' is not that of the access token"),
        (json!({"at_hash": 1}), "'at_hash' is not that of the access token"),
        (json!({"at_hash": null}), "viewer blue"),
    ] {
        check(&claims.to_string(), |conduct| conduct.claims = claims.clone(), expected).await;
    }
    check("a stranger", |conduct| conduct.signer = Signer::es256(), "signature is wrong").await;
    check("a key set that is none", |conduct| conduct.keys = "{}".to_owned(), "key set").await;
}

#[tokio::test]
async fn an_ed25519_provider_works_too_with_its_longer_hash() {
    let world = World::new();
    world.change(|conduct| {
        conduct.signer = Signer::ed_dsa();
        conduct.keys = set(&[conduct.signer.jwk("first")]);
        let hash = digest(&SHA512, ACCESS_TOKEN.as_bytes());
        conduct.claims = json!({ "at_hash": encode(&hash.as_ref()[..32]) });
    });
    assert_eq!(world.outcome().await.0, "viewer blue");
}

#[tokio::test]
async fn new_keys_are_fetched_when_needed_but_no_more_than_once_a_minute() {
    let world = World::new();
    let first =
        ["/.well-known/openid-configuration", "/token", "/keys"].map(str::to_owned).to_vec();
    assert_eq!(world.outcome().await, ("viewer blue".to_owned(), first.clone()));
    let with_keys = vec!["/token".to_owned(), "/keys".to_owned()];
    let without = vec!["/token".to_owned()];
    assert_eq!(world.outcome().await, ("viewer blue".to_owned(), without.clone()));

    world.change(|conduct| {
        conduct.kid = "second";
        conduct.keys = set(&[conduct.signer.jwk("first"), conduct.signer.jwk("second")]);
    });
    assert_eq!(world.outcome().await, ("viewer blue".to_owned(), with_keys.clone()));

    world.change(|conduct| {
        conduct.kid = "third";
        conduct.keys = set(&[conduct.signer.jwk("third")]);
    });
    let unknown =
        "the login provider's ID token is refused: the token's key is not in the provider's key set"
            .to_owned();
    assert_eq!(world.outcome().await, (unknown.clone(), without.clone()));
    world.clock.advance(Duration::from_secs(59));
    assert_eq!(world.outcome().await, (unknown.clone(), without.clone()));
    world.clock.advance(Duration::from_secs(1));
    world.change(|conduct| conduct.claims = json!({"exp": NOW_SECONDS + 7_200}));
    assert_eq!(world.outcome().await, ("viewer blue".to_owned(), with_keys));

    // A key that was withdrawn is forgotten within the hour.
    world.change(|conduct| conduct.keys = set(&[Signer::es256().jwk("other")]));
    assert_eq!(world.outcome().await, ("viewer blue".to_owned(), without));
    world.clock.advance(Duration::from_secs(3_600));
    let (outcome, requests) = world.outcome().await;
    assert_eq!(outcome, unknown);
    assert_eq!(requests[..3], first[..]);
}

#[tokio::test]
async fn the_user_endpoint_adds_claims_of_the_same_person_and_replaces_none() {
    let with_userinfo = || World::with(|config| config.userinfo = true);
    let world = with_userinfo();
    world.change(|conduct| conduct.claims = json!({"groups": null}));
    assert_eq!(world.outcome().await.0, "admin default");

    let world = with_userinfo();
    assert_eq!(world.outcome().await.0, "viewer blue", "the signed claim counts");

    for (userinfo, expected) in [
        (json!({"sub": "u-2", "groups": ["operators"]}), "it speaks of somebody else"),
        (json!({"groups": ["operators"]}), "it speaks of somebody else"),
        (json!("a.b.c"), "it is no JSON object"),
    ] {
        let world = with_userinfo();
        world.change(|conduct| conduct.userinfo = userinfo);
        let (outcome, _) = world.outcome().await;
        assert!(outcome.contains(expected), "{outcome}, expected {expected}");
    }
    let world = with_userinfo();
    world.change(|conduct| {
        lay_over(&mut conduct.discovery, &json!({ "userinfo_endpoint": null }));
    });
    assert_eq!(world.outcome().await.0, "viewer blue");
    let world = World::new();
    let (_, requests) = world.outcome().await;
    assert!(!requests.contains(&"/userinfo".to_owned()), "it is asked only where configured");
}

#[tokio::test]
async fn who_has_no_role_is_named_and_not_let_in() {
    let world = World::new();
    world.change(|conduct| conduct.claims = json!({"groups": ["visitors"]}));
    let error = world.login().await.expect_err("no role");
    assert_eq!(error.to_string(), "'ada' has no role here, ask an administrator");
    let OidcError::NoRole { identity } = error else { panic!("another error: {error}") };
    assert_eq!(identity.subject, "u-1");
}

#[tokio::test]
async fn logins_beyond_the_allowed_requests_are_refused_and_may_come_again() {
    let world = World::new();
    let busy = world.oidc.provider.occupy();
    let error = world.oidc.begin(ReturnPath::default()).await.expect_err("no request is left");
    assert!(error.is_retryable(), "{error}");
    drop(busy);
    world.oidc.begin(ReturnPath::default()).await.expect("there is room again");
}

#[test]
fn nothing_secret_is_shown() {
    let world = World::new();
    assert!(!format!("{:?}", world.oidc).contains("s+cret"));
}
