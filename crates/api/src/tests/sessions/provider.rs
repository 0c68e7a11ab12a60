//! Logins at an OpenID Connect provider. What a provider may do wrong is tested beside the login itself.

use std::collections::BTreeMap;
use std::future::Future;
use std::pin::Pin;

use access::{Grant, OidcConfig, RoleMapping, RoleRule};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use parking_lot::Mutex;
use platform::{HttpClient, HttpError, HttpRequest, HttpResponse};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::{Value, json};

use super::*;

const ISSUER: &str = "https://login.example";

/// A provider at which everybody is called Grace.
#[derive(Clone)]
struct Provider(Arc<Mutex<Conduct>>);

struct Conduct {
    key: Ed25519KeyPair,
    nonce: String,
    groups: Value,
    is_down: bool,
}

impl std::fmt::Debug for Provider {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str("Provider")
    }
}

impl Provider {
    fn new() -> Self {
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let key = Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key");
        let groups = json!(["staff"]);
        Self(Arc::new(Mutex::new(Conduct { key, nonce: String::new(), groups, is_down: false })))
    }

    fn oidc(&self, clock: &Arc<SimClock>) -> Oidc {
        let grant =
            Grant { role: Role::Viewer, tenant: TenantId::default_tenant(), all_tenants: false };
        let config = OidcConfig {
            name: "Example".to_owned(),
            issuer: ISSUER.parse().expect("an issuer"),
            client_id: "tinyobs".to_owned(),
            client_secret: None,
            redirect_url: "https://obs.example/v1/login/oidc/callback".parse().expect("a URL"),
            scopes: Vec::new(),
            userinfo: false,
            roles: RoleMapping {
                claim: "groups".to_owned(),
                rules: vec![RoleRule { value: "staff".to_owned(), grant }],
                default: None,
            },
        };
        Oidc::new(config, Arc::new(self.clone()), Arc::new(Arc::clone(clock)), SimRng::new(4))
    }
}

impl HttpClient for Provider {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        let conduct = self.0.lock();
        let result = if conduct.is_down {
            Err(HttpError::Connection { url: request.url, reason: "refused".to_owned() })
        } else {
            let body = conduct.answer(&request.url).to_string().into();
            Ok(HttpResponse { status: StatusCode::OK, headers: HeaderMap::new(), body })
        };
        Box::pin(std::future::ready(result))
    }
}

impl Conduct {
    fn answer(&self, url: &str) -> Value {
        let encode = |bytes: &[u8]| URL_SAFE_NO_PAD.encode(bytes);
        match url.strip_prefix(ISSUER).expect("a URL of the provider") {
            "/.well-known/openid-configuration" => json!({
                "issuer": ISSUER,
                "authorization_endpoint": format!("{ISSUER}/authorize"),
                "token_endpoint": format!("{ISSUER}/token"),
                "jwks_uri": format!("{ISSUER}/keys"),
                "id_token_signing_alg_values_supported": ["EdDSA"],
            }),
            "/keys" => {
                let x = encode(self.key.public_key().as_ref());
                json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]})
            }
            "/token" => {
                let claims = json!({
                    "iss": ISSUER, "sub": "g-1", "aud": "tinyobs", "name": "Grace", "nonce": self.nonce,
                    "groups": self.groups, "iat": NOW_MS / 1000, "exp": NOW_MS / 1000 + 60,
                });
                let header = encode(br#"{"alg":"EdDSA"}"#);
                let message = format!("{header}.{}", encode(claims.to_string().as_bytes()));
                let signature = encode(self.key.sign(message.as_bytes()).as_ref());
                json!({"token_type": "Bearer", "id_token": format!("{message}.{signature}")})
            }
            other => panic!("nobody asks for {other}"),
        }
    }
}

/// Begins a login and returns the cookie and the address that the provider would send the browser to.
async fn begin(guarded: &Guarded, provider: &Provider, uri: &str) -> (String, String) {
    let (status, headers, body) = guarded.server.send(get(uri)).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{}", String::from_utf8_lossy(&body));
    let cookie = headers["set-cookie"].to_str().expect("a text");
    let (cookie, attributes) = cookie.split_once("; ").expect("attributes");
    assert_eq!(attributes, "Path=/; Max-Age=600; HttpOnly; SameSite=Lax");
    let location = headers["location"].to_str().expect("a text");
    let query = location.strip_prefix("https://login.example/authorize?").expect("the provider");
    let asked: BTreeMap<String, String> = serde_urlencoded::from_str(query).expect("a query");
    provider.0.lock().nonce = asked["nonce"].clone();
    (cookie.to_owned(), format!("/v1/login/oidc/callback?code=c&state={}", asked["state"]))
}

/// Comes back from the provider and returns where the browser is sent, with all headers.
async fn finish(guarded: &Guarded, cookie: &str, uri: &str) -> (String, HeaderMap) {
    let (status, headers, body) = guarded.server.send(with("cookie", cookie, get(uri))).await;
    assert_eq!(status, StatusCode::SEE_OTHER, "{}", String::from_utf8_lossy(&body));
    let cookies = headers.get_all("set-cookie").iter();
    let cleared = cookies.filter(|cookie| cookie.as_bytes().starts_with(b"tinyobs_login=; "));
    assert_eq!(cleared.count(), 1, "the cookie of the login is not needed any more");
    (headers["location"].to_str().expect("a text").to_owned(), headers)
}

async fn guarded() -> (Guarded, Provider) {
    let provider = Provider::new();
    let guarded = Guarded::with_oidc(|clock| Some(provider.oidc(clock))).await;
    (guarded, provider)
}

#[tokio::test]
async fn a_person_comes_in_by_the_provider_and_goes_to_where_they_wanted() {
    let (guarded, provider) = guarded().await;
    let ways = &look(&guarded, get("/v1/session")).await["logins"];
    assert_eq!(ways[1], json!({"kind": "oidc", "name": "Example"}));

    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc?return_to=/a%3Fb=c").await;
    let (location, headers) = finish(&guarded, &cookie, &callback).await;
    assert_eq!(location, "/a?b=c");
    let session = Session::of(&guarded, &headers).await;
    let answer = look(&guarded, session.send(get("/v1/session"))).await;
    assert_eq!(
        (&answer["caller"]["name"], &answer["caller"]["role"]),
        (&"Grace".into(), &"viewer".into())
    );
    guarded
        .check("what viewers may not", session.change(sample()), 403, "permission_missing")
        .await;
    assert_eq!(audited(&guarded).await, ["session.begin done"]);

    let (location, headers) = finish(&guarded, &cookie, &callback).await;
    assert_eq!(location, "/login?error=oidc_expired", "a login ends once");
    assert_eq!(headers.get_all("set-cookie").iter().count(), 1);
}

#[tokio::test]
async fn only_paths_of_this_server_are_returned_to() {
    let (guarded, provider) = guarded().await;
    for path in ["//evil.example", "https://evil.example", "/%5Cevil.example", "/%0d%0aa", "a"] {
        let request = get(&format!("/v1/login/oidc?return_to={path}"));
        guarded.check(path, request, 400, "bad_data").await;
    }
    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    assert_eq!(finish(&guarded, &cookie, &callback).await.0, "/");
}

#[tokio::test]
async fn a_login_that_fails_leads_back_to_the_page_with_a_code() {
    let (guarded, provider) = guarded().await;
    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    let (other, _) = begin(&guarded, &provider, "/v1/login/oidc").await;
    let stolen = finish(&guarded, &other, &callback).await;
    assert_eq!(stolen.0, "/login?error=oidc_expired", "another browser's login");
    assert_eq!(
        finish(&guarded, &cookie, "/v1/login/oidc/callback").await.0,
        "/login?error=oidc_expired"
    );

    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    let denied = callback.replace("code=c", "error=access_denied");
    assert_eq!(finish(&guarded, &cookie, &denied).await.0, "/login?error=oidc_denied");
    provider.0.lock().is_down = true;
    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    assert_eq!(finish(&guarded, &cookie, &callback).await.0, "/login?error=oidc_unavailable");
    assert_eq!(audited(&guarded).await, ["session.begin refused"]);
}

#[tokio::test]
async fn whom_the_provider_does_not_vouch_for_or_no_rule_lets_in_stays_outside() {
    let (guarded, provider) = guarded().await;
    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    provider.0.lock().groups = json!(["visitors"]);
    assert_eq!(finish(&guarded, &cookie, &callback).await.0, "/login?error=oidc_no_role");

    let (cookie, callback) = begin(&guarded, &provider, "/v1/login/oidc").await;
    provider.0.lock().nonce = "another".to_owned();
    assert_eq!(finish(&guarded, &cookie, &callback).await.0, "/login?error=oidc_failed");
    assert_eq!(audited(&guarded).await, ["session.begin refused"; 2]);
}

#[tokio::test]
async fn without_a_provider_there_is_no_such_login() {
    let guarded = Guarded::new().await;
    guarded.check("begin", get("/v1/login/oidc"), 404, "not_found").await;
    guarded.check("finish", get("/v1/login/oidc/callback?state=a"), 404, "not_found").await;
}
