//! People log in, change things and log out; keys open what they may.

mod provider;

use access::{
    Actor, AuditQuery, NewKey, NewTenant, NewUser, Oidc, PermissionSet, TenantChange, TenantLimits,
};
use secrecy::ExposeSecret as _;

use super::*;
use crate::{ClientCertificate, Ways};

const PASSWORD: &str = "correct horse";

/// A server that asks who comes, with one person: ada, an editor of the default tenant.
struct Guarded {
    server: Server,
}

impl Guarded {
    async fn new() -> Self {
        Self::with_oidc(|_| None).await
    }

    async fn with_oidc(oidc: impl FnOnce(&Arc<SimClock>) -> Option<Oidc>) -> Self {
        let ways = |access: &Arc<Access>, clock: &Arc<SimClock>| {
            let (access, oidc) = (Arc::clone(access), oidc(clock).map(Arc::new));
            Identity::Keys(Ways { access, oidc })
        };
        let server = Server::known_by(ApiLimits::default(), StoreConfig::default(), ways).await;
        let ada = NewUser {
            tenant: TenantId::default_tenant(),
            name: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            password: Some(PASSWORD.into()),
            role: Role::Editor,
            all_tenants: false,
        };
        server.access.create_user(&Actor::command_line(), ada).await.expect("a user");
        Self { server }
    }

    async fn log_in(&self) -> Session {
        let (status, headers, body) = self.server.send(login("ada", PASSWORD)).await;
        assert_eq!(status, StatusCode::NO_CONTENT, "{}", String::from_utf8_lossy(&body));
        Session::of(self, &headers).await
    }

    /// Sends a request and compares status and code of the refusal; `""` for none.
    async fn check(&self, what: &str, request: Request<Body>, status: u16, code: &str) {
        let (found, headers, body) = self.server.send(request).await;
        let found_code =
            headers.get("x-error-code").map_or("", |code| code.to_str().expect("text"));
        let body = String::from_utf8_lossy(&body);
        assert_eq!((found.as_u16(), found_code), (status, code), "{what}: {body}");
        assert!(!body.contains(PASSWORD), "{what}");
    }

    async fn key(&self, expires_in_ms: i64) -> (String, String) {
        let key = NewKey {
            tenant: TenantId::default_tenant(),
            app: None,
            name: "a key".to_owned(),
            permissions: PermissionSet::of(&[access::Permission::MetricsRead]),
            all_tenants: false,
            limits: access::KeyLimits::default(),
            expires_at: Some(Timestamp::from_millis(NOW_MS + expires_in_ms)),
        };
        let created =
            self.server.access.create_key(&Actor::command_line(), key).await.expect("a key");
        (created.info.id, created.secret.expose_secret().to_owned())
    }
}

/// What a browser keeps of a login.
struct Session {
    cookie: String,
    csrf: String,
}

impl Session {
    async fn of(guarded: &Guarded, headers: &HeaderMap) -> Self {
        let cookie = headers
            .get_all("set-cookie")
            .iter()
            .map(|value| value.to_str().expect("a text"))
            .find(|value| value.starts_with("tinyobs_session="))
            .expect("a session");
        let (cookie, attributes) = cookie.split_once("; ").expect("attributes");
        assert_eq!(attributes, "Path=/; Max-Age=604800; HttpOnly; SameSite=Strict");
        let cookie = cookie.to_owned();
        let answer = look(guarded, get_with(&cookie)).await;
        let csrf = answer["csrf_token"].as_str().expect("a token").to_owned();
        Self { cookie, csrf }
    }

    fn send(&self, mut request: Request<Body>) -> Request<Body> {
        let cookie = self.cookie.parse().expect("a value");
        request.headers_mut().insert("cookie", cookie);
        request
    }

    fn change(&self, request: Request<Body>) -> Request<Body> {
        with("x-csrf-token", &self.csrf, self.send(request))
    }
}

fn with(name: &'static str, value: &str, mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert(name, value.parse().expect("a value"));
    request
}

fn get_with(cookie: &str) -> Request<Body> {
    with("cookie", cookie, get("/v1/session"))
}

async fn look(guarded: &Guarded, request: Request<Body>) -> serde_json::Value {
    let (status, headers, body) = guarded.server.send(request).await;
    assert_eq!(status, StatusCode::OK);
    assert_eq!(headers["cache-control"], "no-store");
    serde_json::from_slice(&body).expect("JSON")
}

fn json(uri: &str, body: &str) -> Request<Body> {
    with("content-type", "application/json", post(uri, body))
}

fn login(name: &str, password: &str) -> Request<Body> {
    let body = serde_json::json!({ "name": name, "password": password }).to_string();
    json("/v1/session", &body)
}

fn delete(uri: &str) -> Request<Body> {
    Request::delete(uri).body(Body::empty()).expect("a request")
}

fn sample() -> Request<Body> {
    post("/v1/ingest", r#"{"metrics":[{"name":"m","type":"gauge","value":1}]}"#)
}

#[tokio::test]
async fn everybody_is_told_who_they_are_and_how_to_log_in() {
    let guarded = Guarded::new().await;
    assert_eq!(
        look(&guarded, get("/v1/session")).await,
        serde_json::json!({
            "mode": "keys", "login_needed": true, "caller": null, "csrf_token": null, "expires_at": null,
            "logins": [{"kind": "password", "name": "password"}],
        })
    );
    let session = guarded.log_in().await;
    assert_eq!(
        look(&guarded, session.send(get("/v1/session"))).await,
        serde_json::json!({
            "mode": "keys", "login_needed": false, "csrf_token": session.csrf,
            "expires_at": "2024-11-26T07:06:40Z",
            "logins": [{"kind": "password", "name": "password"}],
            "caller": {
                "kind": "user", "name": "Ada", "role": "editor", "tenant": "default", "all_tenants": false,
                "permissions": ["metrics:read", "metrics:write", "events:read", "events:write", "pulls:read",
                    "rules:write"],
            },
        })
    );
    let key = look(&guarded, with("x-api-key", ROOT_KEY, get("/v1/session"))).await;
    assert_eq!((&key["caller"]["kind"], &key["caller"]["role"]), (&"key".into(), &"admin".into()));
    assert!(key["csrf_token"].is_null());

    let open = Server::new().await;
    let (status, _, body) = open.send(get("/v1/session")).await;
    let body: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    assert_eq!((status.as_u16(), &body["mode"]), (200, &"open".into()));
    assert_eq!((&body["login_needed"], &body["logins"]), (&false.into(), &serde_json::json!([])));
    open.check_contains(login("ada", PASSWORD), 404, "there is no such login here").await;
}

#[tokio::test]
async fn a_session_opens_what_its_person_may() {
    let guarded = Guarded::new().await;
    guarded.check("nobody", get("/v1/stats"), 401, "key_missing").await;
    let session = guarded.log_in().await;
    guarded.check("ada", session.send(get("/v1/stats")), 200, "").await;
    let admin = session.send(get("/v1/config"));
    guarded.check("what ada may not", admin, 403, "permission_missing").await;
    let other = with("x-scope-orgid", "other", session.send(get("/v1/stats")));
    guarded.check("another tenant", other, 403, "tenant_forbidden").await;
    for cookie in ["tinyobs_session=", "tinyobs_session=x", &format!("tinyobs_session={ROOT_KEY}")]
    {
        let request = with("cookie", cookie, get("/v1/stats"));
        guarded.check(cookie, request, 401, "session_expired").await;
    }
    guarded.server.clock.advance(Duration::from_secs(7 * 86_400));
    guarded.check("later", session.send(get("/v1/stats")), 401, "session_expired").await;
}

#[tokio::test]
async fn a_login_must_be_right_well_formed_and_from_the_own_page() {
    let guarded = Guarded::new().await;
    let server = &guarded.server;
    let mut refused = Vec::new();
    for (name, password) in [("ada", "wrong horse"), ("bob", PASSWORD), ("", ""), ("Ada", PASSWORD)]
    {
        refused.push(server.send(login(name, password)).await);
    }
    for (status, headers, body) in &refused {
        assert_eq!(
            (status.as_u16(), &headers["x-error-code"]),
            (401, &"login_failed".parse().expect("a value"))
        );
        assert_eq!(body, &refused[0].2, "nobody learns which names there are");
        assert!(!headers.contains_key("set-cookie"));
    }
    let good = || login("ada", PASSWORD);
    for (what, request, status, code) in [
        ("a foreign page", with("origin", "https://evil.example", good()), 403, "foreign_origin"),
        ("a foreign site", with("sec-fetch-site", "cross-site", good()), 403, "foreign_origin"),
        ("a sister site", with("sec-fetch-site", "same-site", good()), 403, "foreign_origin"),
        ("a form", with("content-type", "text/plain", good()), 415, "unsupported_media"),
        ("no type", post("/v1/session", "{}"), 415, "unsupported_media"),
        ("no JSON", json("/v1/session", "name=ada"), 400, "bad_data"),
    ] {
        guarded.check(what, request, status, code).await;
    }
}

#[tokio::test]
async fn a_login_from_the_own_page_works_with_every_header_that_browsers_send() {
    let guarded = Guarded::new().await;
    for (what, request, status, code) in [
        ("too much", login("ada", &"p".repeat(9_000)), 413, "too_large"),
        (
            "too many fields",
            json("/v1/session", r#"{"name":"a","password":"b","c":1}"#),
            400,
            "bad_data",
        ),
        ("a field too few", json("/v1/session", r#"{"name":"a"}"#), 400, "bad_data"),
    ] {
        guarded.check(what, request, status, code).await;
    }
    let own = with("sec-fetch-site", "same-origin", login("ada", PASSWORD));
    let own = with("host", "obs.example", with("origin", "http://obs.example", own));
    guarded.check("the own page", own, 204, "").await;
    let typed = with("content-type", "application/json; charset=utf-8", login("ada", PASSWORD));
    guarded.check("with a charset", typed, 204, "").await;
}

#[tokio::test]
async fn logins_of_one_address_are_limited() {
    let guarded = Guarded::new().await;
    let from = |address: &str| {
        let mut request = login("nobody", "at all");
        request.extensions_mut().insert(connection_from(address));
        request
    };
    let mut statuses = Vec::new();
    for _ in 0..11 {
        statuses.push(guarded.server.send(from("192.0.2.1")).await.0.as_u16());
    }
    assert_eq!(statuses[..5], [401; 5]);
    assert!(statuses[5..].iter().all(|status| *status == 429), "{statuses:?}");
    guarded.check("from elsewhere", from("192.0.2.2"), 401, "login_failed").await;
}

#[tokio::test]
async fn a_change_with_a_session_needs_its_token() {
    let guarded = Guarded::new().await;
    let (session, other) = (guarded.log_in().await, guarded.log_in().await);
    assert_ne!(session.csrf, other.csrf);
    let send = |token: &str| with("x-csrf-token", token, session.send(sample()));
    guarded.check("without", session.send(sample()), 403, "csrf_missing").await;
    guarded.check("empty", send(""), 403, "csrf_missing").await;
    guarded.check("of another session", send(&other.csrf), 403, "csrf_missing").await;
    guarded.check("the cookie itself", send(&session.cookie), 403, "csrf_missing").await;
    guarded.check("its own", session.change(sample()), 200, "").await;
    let by_key = with("x-api-key", ROOT_KEY, session.send(sample()));
    guarded.check("a key needs none, and counts first", by_key, 200, "").await;
}

#[tokio::test]
async fn logging_out_ends_the_session_and_removes_the_cookie() {
    let guarded = Guarded::new().await;
    let (session, other) = (guarded.log_in().await, guarded.log_in().await);
    let without = session.send(delete("/v1/session"));
    guarded.check("without the token", without, 403, "csrf_missing").await;
    guarded.check("still there", session.send(get("/v1/stats")), 200, "").await;
    let (status, headers, _) = guarded.server.send(session.change(delete("/v1/session"))).await;
    assert_eq!(status, StatusCode::NO_CONTENT);
    assert_eq!(
        headers["set-cookie"],
        "tinyobs_session=; Path=/; Max-Age=0; HttpOnly; SameSite=Strict"
    );
    guarded.check("ended", session.send(get("/v1/stats")), 401, "session_expired").await;
    guarded.check("again", session.change(delete("/v1/session")), 204, "").await;
    guarded.check("nobody", delete("/v1/session"), 204, "").await;
    guarded.check("the other one", other.send(get("/v1/stats")), 200, "").await;
    let anew = other.change(login("ada", PASSWORD));
    guarded.check("a new login", anew, 204, "").await;
    guarded.check("ends the old one", other.send(get("/v1/stats")), 401, "session_expired").await;
}

#[tokio::test]
async fn people_change_their_own_password_and_their_other_sessions_end() {
    let guarded = Guarded::new().await;
    let (session, other) = (guarded.log_in().await, guarded.log_in().await);
    let change = |old: &str, new: &str| {
        let body = serde_json::json!({ "old_password": old, "new_password": new }).to_string();
        json("/v1/session/password", &body)
    };
    let good = || change(PASSWORD, "battery staple");
    for (what, request, status, code) in [
        ("nobody", good(), 401, "key_missing"),
        ("a key", with("x-api-key", ROOT_KEY, good()), 401, "key_missing"),
        ("without the token", session.send(good()), 403, "csrf_missing"),
        (
            "a wrong password",
            session.change(change("wrong", "battery staple")),
            401,
            "login_failed",
        ),
        ("a short one", session.change(change(PASSWORD, "short")), 400, "bad_data"),
        ("a good one", session.change(good()), 204, ""),
        ("the own session", session.send(get("/v1/stats")), 200, ""),
        ("the other session", other.send(get("/v1/stats")), 401, "session_expired"),
        ("the old password", login("ada", PASSWORD), 401, "login_failed"),
        ("the new password", login("ada", "battery staple"), 204, ""),
    ] {
        guarded.check(what, request, status, code).await;
    }
}

#[tokio::test]
async fn over_tls_only_the_cookie_counts_that_nobody_else_can_plant() {
    let guarded = Guarded::new().await;
    let over_tls = |mut request: Request<Body>| {
        let connection = ConnectionInfo { tls: true, ..connection_from("127.0.0.1") };
        request.extensions_mut().insert(connection);
        request
    };
    let plain = guarded.log_in().await;
    let (_, headers, _) = guarded.server.send(over_tls(login("ada", PASSWORD))).await;
    let cookie = headers["set-cookie"].to_str().expect("a text");
    assert!(cookie.starts_with("__Host-tinyobs_session="), "{cookie}");
    assert!(cookie.ends_with("; HttpOnly; SameSite=Strict; Secure"), "{cookie}");
    let cookie = cookie.split(';').next().expect("a cookie");
    let good = over_tls(with("cookie", cookie, get("/v1/stats")));
    guarded.check("the right one", good, 200, "").await;
    let planted = over_tls(plain.send(get("/v1/stats")));
    guarded.check("a planted one", planted, 401, "key_missing").await;
}

#[tokio::test]
async fn a_key_opens_what_it_may_for_as_long_as_it_holds() {
    let guarded = Guarded::new().await;
    let (_, key) = guarded.key(60_000).await;
    let (revoked_id, revoked) = guarded.key(60_000).await;
    guarded.server.access.revoke_key(&Actor::command_line(), &revoked_id).await.expect("revoked");
    let stats = |name, value: &str| with(name, value, get("/v1/stats"));
    let bearer = format!("Bearer {key}");
    for (what, request, status, code) in [
        ("in its own header", stats("x-api-key", &key), 200, ""),
        ("as a bearer", stats("authorization", &bearer), 200, ""),
        ("in another case", stats("authorization", &format!("bearer {key}")), 200, ""),
        ("twice", with("x-api-key", &key, stats("authorization", &bearer)), 200, ""),
        (
            "two keys",
            with("x-api-key", &revoked, stats("authorization", &bearer)),
            401,
            "key_invalid",
        ),
        ("as a user", stats("authorization", &format!("Basic {key}")), 401, "key_invalid"),
        ("nothing", stats("x-api-key", ""), 401, "key_invalid"),
        ("too short", stats("x-api-key", &key[1..]), 401, "key_invalid"),
        ("upper case", stats("x-api-key", &key.to_uppercase()), 401, "key_invalid"),
        ("unknown", stats("x-api-key", &"ab".repeat(32)), 401, "key_invalid"),
        ("revoked", stats("x-api-key", &revoked), 401, "key_revoked"),
        ("what it may not", with("x-api-key", &key, sample()), 403, "permission_missing"),
    ] {
        guarded.check(what, request, status, code).await;
    }
    guarded.server.clock.advance(Duration::from_secs(60));
    guarded.check("expired", stats("x-api-key", &key), 401, "key_expired").await;
}

#[tokio::test]
async fn a_certificate_opens_what_its_rule_says_after_keys_and_sessions() {
    let guarded = Guarded::new().await;
    let shown_by = |name: Option<&str>, mut request: Request<Body>| {
        let certificate = ClientCertificate {
            common_name: name.map(str::to_owned),
            fingerprint: "ab".repeat(32),
        };
        let certificate = Some(Arc::new(certificate));
        let connection = ConnectionInfo { tls: true, certificate, ..connection_from("127.0.0.1") };
        request.extensions_mut().insert(connection);
        request
    };
    let stats = || get("/v1/stats");
    for (what, request, status, code) in [
        ("a name without a rule", shown_by(Some("ops"), stats()), 401, "key_missing"),
        ("no name", shown_by(None, stats()), 401, "key_missing"),
        ("what agents may not", shown_by(Some("node-1"), stats()), 403, "permission_missing"),
        (
            "a key counts first",
            shown_by(Some("node-1"), with("x-api-key", ROOT_KEY, stats())),
            200,
            "",
        ),
    ] {
        guarded.check(what, request, status, code).await;
    }
    let caller = look(&guarded, shown_by(Some("node-1"), get("/v1/session"))).await;
    assert_eq!(
        (&caller["caller"]["kind"], &caller["caller"]["role"], &caller["caller"]["name"]),
        (&"certificate".into(), &"agent".into(), &"node-1".into())
    );
}

#[tokio::test]
async fn nobody_reads_or_writes_in_a_disabled_tenant() {
    let guarded = Guarded::new().await;
    let (access, root) = (&guarded.server.access, Actor::command_line());
    let blue = TenantId::new("blue").expect("a tenant");
    let new = NewTenant {
        id: blue.clone(),
        name: "Blue".to_owned(),
        limits: TenantLimits::default(),
        metrics_retention: None,
    };
    access.create_tenant(&root, new).await.expect("a tenant");
    let in_blue = |request| with("x-api-key", ROOT_KEY, with("x-scope-orgid", "blue", request));
    // There is no store for it here, which is found out last.
    guarded.check("enabled", in_blue(get("/v1/stats")), 503, "unavailable").await;
    let change = TenantChange { disabled: Some(true), ..TenantChange::default() };
    access.update_tenant(&root, &blue, change).await.expect("disabled");
    guarded.check("reading", in_blue(get("/v1/stats")), 403, "tenant_disabled").await;
    guarded.check("writing", in_blue(sample()), 403, "tenant_disabled").await;
    guarded.check("elsewhere", with("x-api-key", ROOT_KEY, get("/v1/stats")), 200, "").await;
}

#[tokio::test]
async fn logins_and_their_failures_are_in_the_audit_log() {
    let guarded = Guarded::new().await;
    guarded.log_in().await;
    guarded.check("wrong", login("ada", "wrong horse"), 401, "login_failed").await;
    assert_eq!(audited(&guarded).await, ["session.begin refused", "session.begin done"]);
}

/// Returns what the audit log says of logins, the latest first.
async fn audited(guarded: &Guarded) -> Vec<String> {
    let query = AuditQuery { action: Some("session.begin".to_owned()), ..AuditQuery::default() };
    let page = guarded.server.access.audit(&Actor::command_line(), &query).await.expect("a page");
    let entries = page.entries.into_iter().inspect(|entry| {
        assert_eq!(entry.address.as_deref(), Some("127.0.0.1"));
        assert!(entry.request_id.is_some());
        assert!(!format!("{entry:?}").contains(PASSWORD));
    });
    entries.map(|entry| format!("{} {}", entry.action, entry.outcome)).collect()
}
