//! A person logs in at a provider, over real sockets, as a browser would take them there and back.
#![expect(clippy::disallowed_methods, reason = "tests prepare real files")]

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use axum::Router;
use axum::extract::State;
use axum::routing::{get, post};
use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use http::{HeaderMap, Method, StatusCode};
use parking_lot::Mutex;
use platform::{
    Clock as _, HttpClient as _, HttpRequest, HttpResponse, SystemClock, SystemHttpClient, Tasks,
};
use ring::digest::{SHA256, digest};
use ring::rand::SystemRandom;
use ring::signature::{Ed25519KeyPair, KeyPair as _};
use serde_json::json;

use crate::program::TinyObs;

type Form = HashMap<String, String>;

/// A provider at which everybody is called Grace, on a runtime of its own.
struct Provider {
    shared: Arc<Shared>,
    runtime: tokio::runtime::Runtime,
    _tasks: Tasks,
}

struct Shared {
    issuer: String,
    key: Ed25519KeyPair,
    /// What the login that is under way asked for.
    asked: Mutex<Form>,
}

impl Provider {
    fn start() -> Self {
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(1)
            .enable_all()
            .build()
            .expect("a runtime");
        let listener =
            runtime.block_on(tokio::net::TcpListener::bind("127.0.0.1:0")).expect("a port");
        let document = Ed25519KeyPair::generate_pkcs8(&SystemRandom::new()).expect("a key");
        let shared = Arc::new(Shared {
            issuer: format!("http://{}", listener.local_addr().expect("an address")),
            key: Ed25519KeyPair::from_pkcs8(document.as_ref()).expect("a key"),
            asked: Mutex::default(),
        });
        let router = Router::new()
            .route("/.well-known/openid-configuration", get(discovery))
            .route("/keys", get(keys))
            .route("/token", post(token))
            .with_state(Arc::clone(&shared));
        let mut tasks = Tasks::new();
        {
            let _inside = runtime.enter();
            tasks.spawn("provider", async move {
                axum::serve(listener, router).await.expect("serve");
            });
        }
        Self { shared, runtime, _tasks: tasks }
    }

    /// Sends a request without following where the answer leads.
    fn browse(&self, url: &str, cookie: &str) -> HttpResponse {
        let mut headers = HeaderMap::new();
        headers.insert("cookie", cookie.parse().expect("a value"));
        let request = HttpRequest {
            method: Method::GET,
            url: url.to_owned(),
            headers,
            body: Default::default(),
            timeout: Duration::from_secs(60),
            response_bytes_max: 1 << 20,
        };
        let client = SystemHttpClient::new().expect("a client");
        self.runtime.block_on(client.send(request)).expect("an answer")
    }
}

async fn discovery(State(shared): State<Arc<Shared>>) -> String {
    let issuer = &shared.issuer;
    json!({
        "issuer": issuer,
        "authorization_endpoint": format!("{issuer}/authorize"),
        "token_endpoint": format!("{issuer}/token"),
        "jwks_uri": format!("{issuer}/keys"),
        "id_token_signing_alg_values_supported": ["EdDSA"],
        "token_endpoint_auth_methods_supported": ["client_secret_post"],
    })
    .to_string()
}

async fn keys(State(shared): State<Arc<Shared>>) -> String {
    let x = encode(shared.key.public_key().as_ref());
    json!({"keys": [{"kty": "OKP", "crv": "Ed25519", "x": x}]}).to_string()
}

async fn token(State(shared): State<Arc<Shared>>, body: String) -> (StatusCode, String) {
    let sent: Form = serde_urlencoded::from_str(&body).expect("a form");
    let asked = shared.asked.lock().clone();
    let challenge = encode(digest(&SHA256, sent["code_verifier"].as_bytes()).as_ref());
    if sent["client_secret"] != "hush" || challenge != asked["code_challenge"] {
        return (StatusCode::BAD_REQUEST, json!({"error": "invalid_grant"}).to_string());
    }
    let now = SystemClock::new().now().as_millis() / 1_000;
    let claims = json!({
        "iss": shared.issuer, "sub": "g-1", "aud": "tinyobs", "nonce": asked["nonce"], "name": "Grace",
        "groups": ["staff"], "iat": now, "exp": now + 60,
    });
    let message =
        format!("{}.{}", encode(br#"{"alg":"EdDSA"}"#), encode(claims.to_string().as_bytes()));
    let signature = encode(shared.key.sign(message.as_bytes()).as_ref());
    let id_token = format!("{message}.{signature}");
    (StatusCode::OK, json!({"token_type": "Bearer", "id_token": id_token}).to_string())
}

fn encode(bytes: &[u8]) -> String {
    URL_SAFE_NO_PAD.encode(bytes)
}

fn location(response: &HttpResponse) -> &str {
    let body = String::from_utf8_lossy(&response.body);
    assert_eq!(response.status, StatusCode::SEE_OTHER, "{body}");
    response.headers["location"].to_str().expect("a text")
}

/// Returns a cookie as the browser sends it back.
fn cookie(response: &HttpResponse, name: &str) -> String {
    let cookies = response.headers.get_all("set-cookie").iter();
    let mut cookies = cookies.map(|cookie| cookie.to_str().expect("a text"));
    let found = cookies.find(|cookie| cookie.starts_with(name)).expect("the cookie");
    found.split(';').next().expect("a pair").to_owned()
}

#[test]
fn a_person_logs_in_at_a_provider_and_sees_what_their_group_may() {
    let provider = Provider::start();
    let data = tempfile::tempdir().expect("a folder");
    let secret = data.path().join("secret");
    std::fs::write(&secret, "hush\n").expect("a file");
    let settings = [
        "auth.mode=keys".to_owned(),
        format!("auth.oidc.issuer={}", provider.shared.issuer),
        "auth.oidc.client_id=tinyobs".to_owned(),
        format!("auth.oidc.client_secret_file={}", secret.display()),
        "auth.oidc.redirect_url=http://localhost/v1/login/oidc/callback".to_owned(),
        "auth.oidc.roles=[{value: staff, role: viewer}]".to_owned(),
        "collector.enabled=false".to_owned(),
    ];
    let arguments: Vec<&str> =
        settings.iter().flat_map(|setting| ["--set", setting.as_str()]).collect();
    let server = TinyObs::start(data.path(), &arguments);
    let stats = format!("{}/v1/stats", server.url);
    assert_eq!(provider.browse(&stats, "").status, StatusCode::UNAUTHORIZED);

    let begun = provider.browse(&format!("{}/v1/login/oidc?return_to=/explore", server.url), "");
    let (endpoint, query) = location(&begun).split_once('?').expect("a query");
    assert_eq!(endpoint, format!("{}/authorize", provider.shared.issuer));
    let asked: Form = serde_urlencoded::from_str(query).expect("a query");
    let back = format!("{}/v1/login/oidc/callback?code=c&state={}", server.url, asked["state"]);
    *provider.shared.asked.lock() = asked;

    let stranger = provider.browse(&back.replace("state=", "state=x"), "");
    assert_eq!(location(&stranger), "/login?error=oidc_expired");
    let ended = provider.browse(&back, &cookie(&begun, "tinyobs_login="));
    assert_eq!(location(&ended), "/explore");
    let session = cookie(&ended, "tinyobs_session=");
    assert_eq!(provider.browse(&stats, &session).status, StatusCode::OK);
    let admin = provider.browse(&format!("{}/v1/config", server.url), &session);
    assert_eq!(admin.status, StatusCode::FORBIDDEN);

    assert!(server.terminate().success());
    let server = TinyObs::start(data.path(), &arguments);
    let stats = format!("{}/v1/stats", server.url);
    assert_eq!(provider.browse(&stats, &session).status, StatusCode::OK, "a session outlives us");
}
