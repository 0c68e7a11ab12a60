//! Every way in is tried: each class of routes with each credential that does not count, and each operation of the
//! OpenAPI document with none at all and with the key of each role.

use std::collections::BTreeSet;

use access::{Actor, KeyLimits, NewKey, NewTenant, NewUser, PermissionSet, Role, TenantChange};
use access::{CreatedKey, TenantLimits};
use http::Method;
use secrecy::ExposeSecret as _;

use super::*;
use crate::Ways;
use crate::limits::RequestLimits;
use crate::routes::endpoints;

const PASSWORD: &str = "correct horse";
const UNKNOWN: &str = "ab00112233445566778899aabbccddeeff00112233445566778899aabbccdde0";

/// What everybody may ask without saying who they are. A new entry needs a reason.
const PUBLIC: [&str; 15] = [
    // Probes of schedulers and load balancers, which have no key; they tell whether, not what.
    "GET /-/healthy",
    "GET /-/ready",
    "GET /health",
    "GET /healthz",
    "GET /ready",
    "GET /readyz",
    "GET /v1/health",
    "GET /v1/ready",
    // Logging in and out, and the question how.
    "GET /v1/session",
    "POST /v1/session",
    "DELETE /v1/session",
    "GET /v1/login/oidc",
    "GET /v1/login/oidc/callback",
    // The description of the API is that of the published program.
    "GET /v1/openapi.json",
    "GET /v1/reference",
];

/// One route of each class that asks who comes.
const QUERY: (Method, &str) = (Method::GET, "/v1/stats");
const WRITE: (Method, &str) = (Method::POST, "/v1/ingest");
const REPORT: (Method, &str) = (Method::POST, "/api/v1/report");
const ADMIN: (Method, &str) = (Method::GET, "/v1/keys");
const LIVE: (Method, &str) = (Method::GET, "/v1/ws");
const LOGIN: (Method, &str) = (Method::POST, "/v1/session/password");
const PROBE: (Method, &str) = (Method::GET, "/v1/health");

async fn guarded() -> Server {
    let requests = RequestLimits { address: None, logins: None, ..RequestLimits::default() };
    let limits = ApiLimits { requests: requests.into(), ..ApiLimits::default() };
    let keys = |access: &Arc<Access>, _: &Arc<SimClock>| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    };
    Server::known_by(limits, StoreConfig::default(), keys).await
}

fn blue() -> TenantId {
    TenantId::new("blue").expect("a tenant")
}

async fn add_blue(server: &Server) {
    server.open_tenant("blue");
    let new = NewTenant {
        id: blue(),
        name: "Blue".to_owned(),
        limits: TenantLimits::default(),
        metrics_retention: None,
    };
    server.access.create_tenant(&Actor::command_line(), new).await.expect("a tenant");
}

async fn disable_blue(server: &Server) {
    let change = TenantChange { disabled: Some(true), ..TenantChange::default() };
    let actor = Actor::command_line();
    server.access.update_tenant(&actor, &blue(), change).await.expect("disabled");
}

async fn key_of(server: &Server, tenant: TenantId, permissions: PermissionSet) -> CreatedKey {
    let new = NewKey {
        tenant,
        app: None,
        name: "a key".to_owned(),
        permissions,
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: Some(Timestamp::from_millis(NOW_MS + 60_000)),
    };
    server.access.create_key(&Actor::command_line(), new).await.expect("a key")
}

fn request((method, uri): &(Method, &str), headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::builder().method(method.clone()).uri(*uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::from("{}")).expect("a request")
}

async fn code(server: &Server, request: Request<Body>) -> (u16, String) {
    // Some answers go on for ever.
    let (status, headers) = server.ask(request).await;
    let code = headers.get("x-error-code").map(|code| code.to_str().expect("text").to_owned());
    (status.as_u16(), code.unwrap_or_default())
}

/// Sends a request with a key in both ways, and compares status and code.
async fn check_key(
    server: &Server,
    what: &str,
    (route, key): (&(Method, &str), &str),
    more: &[(&str, &str)],
    expected: (u16, &str),
) {
    let bearer = format!("Bearer {key}");
    for header in [("x-api-key", key), ("authorization", bearer.as_str())] {
        let headers = [&[header][..], more].concat();
        let found = code(server, request(route, &headers)).await;
        assert_eq!((found.0, found.1.as_str()), expected, "{what}: {route:?} {}", header.0);
    }
}

#[tokio::test]
async fn a_key_that_does_not_count_opens_no_class_of_routes() {
    let server = guarded().await;
    add_blue(&server).await;
    let (default, actor) = (TenantId::default_tenant(), Actor::command_line());
    let all = Role::Admin.permissions();
    let good = key_of(&server, default.clone(), all).await;
    let agent = key_of(&server, default.clone(), Role::Agent.permissions()).await;
    let revoked = key_of(&server, default, all).await;
    server.access.revoke_key(&actor, &revoked.info.id).await.expect("revoked");
    let blue_key = key_of(&server, blue(), all).await;
    disable_blue(&server).await;
    let other: &[(&str, &str)] = &[("x-scope-orgid", "blue")];
    let secret = |key: &CreatedKey| key.secret.expose_secret().to_owned();
    let upper = secret(&good).to_uppercase();

    for route in [&QUERY, &WRITE, &ADMIN, &LIVE] {
        let (status, found) = code(&server, request(route, &[])).await;
        assert_eq!((status, found.as_str()), (401, "key_missing"), "{route:?}");
        for (what, key, more, expected) in [
            ("empty", "", &[][..], (401, "key_invalid")),
            ("malformed", "secret", &[], (401, "key_invalid")),
            ("upper case", &upper, &[], (401, "key_invalid")),
            ("unknown", UNKNOWN, &[], (401, "key_invalid")),
            ("another tenant", &secret(&good), other, (403, "tenant_forbidden")),
            (
                "no name of a tenant",
                &secret(&good),
                &[("x-scope-orgid", "../x")],
                (400, "bad_data"),
            ),
            ("another scope", &secret(&agent), &[], (403, "permission_missing")),
            ("revoked", &secret(&revoked), &[], (401, "key_revoked")),
            ("of a disabled tenant", &secret(&blue_key), &[], (403, "tenant_disabled")),
        ] {
            check_key(&server, what, (route, key), more, expected).await;
        }
        let (status, found) = code(&server, request(route, &[("x-api-key", &secret(&good))])).await;
        assert!(![401, 403].contains(&status), "{route:?}: {status} {found}");
    }
    server.clock.advance(Duration::from_secs(60));
    for route in [&QUERY, &WRITE, &REPORT, &ADMIN, &LIVE] {
        let expected = (401, "key_expired");
        check_key(&server, "expired", (route, &secret(&good)), &[], expected).await;
    }
    // Who they are is not asked, or only a session counts.
    for key in ["", "secret", UNKNOWN, &secret(&good), &secret(&revoked), &secret(&blue_key)] {
        check_key(&server, "a probe", (&PROBE, key), &[], (200, "")).await;
        let (status, _) = code(&server, request(&LOGIN, &[("x-api-key", key)])).await;
        assert!([401, 403].contains(&status), "{key}: {status}");
    }
}

#[tokio::test]
async fn what_a_proxy_may_see_otherwise_is_refused() {
    let server = guarded().await;
    add_blue(&server).await;
    let root = ("x-api-key", ROOT_KEY);
    for (what, headers, expected) in [
        ("one tenant", vec![root, ("x-scope-orgid", "blue")], 200),
        ("two tenants", vec![root, ("x-scope-orgid", "default"), ("x-scope-orgid", "blue")], 400),
        ("tenants in a list", vec![root, ("x-scope-orgid", "default|blue")], 400),
        ("one host", vec![root, ("host", "obs.example")], 200),
        ("two hosts", vec![root, ("host", "obs.example"), ("host", "evil.example")], 400),
        ("two keys", vec![root, ("x-api-key", UNKNOWN)], 401),
    ] {
        let (status, found) = code(&server, request(&QUERY, &headers)).await;
        assert_eq!(status, expected, "{what}: {found}");
    }
}

/// A session's cookie and its token.
async fn log_in(server: &Server, name: &str, tenant: TenantId, role: Role) -> (String, String) {
    let new = NewUser {
        tenant,
        name: name.to_owned(),
        display_name: name.to_owned(),
        password: Some(PASSWORD.into()),
        role,
        all_tenants: false,
    };
    server.access.create_user(&Actor::command_line(), new).await.expect("a user");
    let body = serde_json::json!({ "name": name, "password": PASSWORD }).to_string();
    let mut login = post("/v1/session", &body);
    login.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
    let (status, headers, _) = server.send(login).await;
    assert_eq!(status, StatusCode::NO_CONTENT, "{name}");
    let cookie = headers["set-cookie"].to_str().expect("text");
    let cookie = cookie.split(';').next().expect("a value").to_owned();
    let asked = request(&(Method::GET, "/v1/session"), &[("cookie", &cookie)]);
    let (_, _, body) = server.send(asked).await;
    let answer: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    (cookie, answer["csrf_token"].as_str().expect("a token").to_owned())
}

#[tokio::test]
async fn a_session_that_does_not_count_opens_no_class_of_routes() {
    let server = guarded().await;
    add_blue(&server).await;
    let default = TenantId::default_tenant;
    let (ada, token) = log_in(&server, "ada", default(), Role::Admin).await;
    let (tom, tom_token) = log_in(&server, "tom", default(), Role::Agent).await;
    let (out, out_token) = log_in(&server, "out", default(), Role::Admin).await;
    let (bea, bea_token) = log_in(&server, "bea", blue(), Role::Admin).await;
    disable_blue(&server).await;
    let end = (Method::DELETE, "/v1/session");
    let ended = request(&end, &[("cookie", &out), ("x-csrf-token", &out_token)]);
    assert_eq!(code(&server, ended).await.0, 204);
    let unknown = format!("tinyobs_session={UNKNOWN}");

    for route in [&QUERY, &WRITE, &REPORT, &ADMIN, &LIVE, &LOGIN] {
        for (what, cookie, token, expected) in [
            ("malformed", "tinyobs_session=x", &token, (401, "session_expired")),
            ("unknown", &unknown, &token, (401, "session_expired")),
            ("logged out", &out, &out_token, (401, "session_expired")),
            ("of a disabled tenant", &bea, &bea_token, (403, "tenant_disabled")),
        ] {
            let request = request(route, &[("cookie", cookie), ("x-csrf-token", token)]);
            let found = code(&server, request).await;
            assert_eq!((found.0, found.1.as_str()), expected, "{what}: {route:?}");
        }
        let alone = code(&server, request(route, &[("cookie", &ada)])).await;
        let with_other = [("cookie", ada.as_str()), ("x-csrf-token", &tom_token)];
        let with_other = code(&server, request(route, &with_other)).await;
        if route.0 == Method::POST {
            assert_eq!((alone.0, alone.1.as_str()), (403, "csrf_missing"), "{route:?}");
            assert_eq!((with_other.0, with_other.1.as_str()), (403, "csrf_missing"), "{route:?}");
        } else {
            assert!(![401, 403].contains(&alone.0), "{route:?} {alone:?}");
        }
    }
    for route in [&QUERY, &WRITE, &ADMIN, &LIVE] {
        let elsewhere =
            [("cookie", ada.as_str()), ("x-csrf-token", &token), ("x-scope-orgid", "blue")];
        let found = code(&server, request(route, &elsewhere)).await;
        assert_eq!((found.0, found.1.as_str()), (403, "tenant_forbidden"), "{route:?}");
        let narrow = [("cookie", tom.as_str()), ("x-csrf-token", &tom_token)];
        let found = code(&server, request(route, &narrow)).await;
        assert_eq!((found.0, found.1.as_str()), (403, "permission_missing"), "{route:?}");
    }
    server.clock.advance(Duration::from_secs(8 * 86_400));
    for route in [&QUERY, &WRITE, &REPORT, &ADMIN, &LIVE, &LOGIN] {
        let late = [("cookie", ada.as_str()), ("x-csrf-token", &token)];
        let found = code(&server, request(route, &late)).await;
        assert_eq!((found.0, found.1.as_str()), (401, "session_expired"), "{route:?}");
    }
}

#[tokio::test]
async fn a_key_that_another_server_revokes_opens_nothing_within_a_second() {
    let server = guarded().await;
    let permissions = Role::Viewer.permissions();
    let key = key_of(&server, TenantId::default_tenant(), permissions).await;
    let stats = || request(&QUERY, &[("x-api-key", key.secret.expose_secret())]);
    assert_eq!(code(&server, stats()).await.0, 200);
    let elsewhere = access_in(server._state.path(), &server.clock).await;
    let (stop, stopped) = watch::channel(false);
    let work = async {
        elsewhere.revoke_key(&Actor::command_line(), &key.info.id).await.expect("revoked");
        server.clock.advance(Duration::from_secs(1));
        // The question to the database takes real time; were it not asked, the loop would end in vain.
        for _ in 0..100_000 {
            if code(&server, stats()).await.0 != 200 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(code(&server, stats()).await, (401, "key_revoked".to_owned()));
        stop.send(true).expect("somebody listens");
    };
    tokio::join!(biased; Arc::clone(&server.access).run(stopped), work);
}

/// Returns every operation of the served document, `{…}` in its path filled.
async fn operations(server: &Server) -> Vec<(Method, String)> {
    let (_, _, body) = server.send(get("/v1/openapi.json")).await;
    let document: serde_json::Value = serde_json::from_slice(&body).expect("JSON");
    let mut found = Vec::new();
    for (path, item) in document["paths"].as_object().expect("paths") {
        for method in item.as_object().expect("operations").keys() {
            let method = method.to_uppercase().parse::<Method>().expect("a method");
            found.push((method, filled(path)));
        }
    }
    found
}

fn filled(path: &str) -> String {
    let segments =
        path.split('/').map(|segment| if segment.starts_with('{') { "x" } else { segment });
    segments.collect::<Vec<_>>().join("/")
}

fn is_public(method: &Method, path: &str) -> bool {
    PUBLIC.contains(&format!("{method} {path}").as_str())
}

#[tokio::test]
async fn no_operation_is_open_by_accident() {
    let server = guarded().await;
    let documented = operations(&server).await;
    assert!(documented.len() > 40, "{documented:?}");
    let names: BTreeSet<_> =
        documented.iter().map(|(method, path)| format!("{method} {path}")).collect();
    let routed: BTreeSet<_> = endpoints()
        .iter()
        .flat_map(|endpoint| {
            let path = filled(endpoint.rule.path);
            endpoint.verbs.iter().map(move |verb| format!("{} {path}", verb.as_str()))
        })
        .collect();
    let hidden: Vec<_> =
        routed.difference(&names).filter(|name| !PUBLIC.contains(&name.as_str())).collect();
    assert!(hidden.is_empty(), "served, but not described: {hidden:?}");

    for (method, path) in &documented {
        let expected = if is_public(method, path) { "" } else { "key_missing" };
        let (status, found) = code(&server, request(&(method.clone(), path), &[])).await;
        let refused = status == 401 && found == "key_missing";
        assert_eq!(refused, expected == "key_missing", "{method} {path}: {status} {found}");
        if *method == Method::GET && !is_public(method, path) {
            let (status, ..) = server.send(request(&(Method::HEAD, path), &[])).await;
            assert_eq!(status.as_u16(), 401, "HEAD {path}");
        }
    }
}

#[tokio::test]
async fn methods_and_spellings_that_are_not_described_open_nothing() {
    let server = guarded().await;
    let documented = operations(&server).await;
    let methods = ["GET", "POST", "PUT", "PATCH", "DELETE", "OPTIONS", "TRACE", "PROPFIND"];
    for (_, path) in &documented {
        for method in methods {
            let method = method.parse::<Method>().expect("a method");
            if documented.iter().any(|known| *known == (method.clone(), path.clone())) {
                continue;
            }
            // Nobody asks who it is: there is nothing to be had.
            let (status, found) = code(&server, request(&(method.clone(), path), &[])).await;
            assert_eq!((status, found.as_str()), (405, "wrong_method"), "{method} {path}");
        }
    }
    for path in [
        "/v1/stats/",
        "//v1/stats",
        "/v1//stats",
        "/./v1/stats",
        "/x/../v1/stats",
        "/v1/%73tats",
        "/v1%2fstats",
        "/V1/stats",
        "/v1/stats;x=1",
        "/v1/stats%00",
        "/debug/pprof/",
    ] {
        let (status, headers, _) = server.send(get(path)).await;
        let is_page =
            headers.get("content-type").is_some_and(|kind| kind == "text/html; charset=utf-8");
        assert!([401, 404].contains(&status.as_u16()) || is_page, "{path}: {status}");
    }
}

/// What an operation needs, by its name alone: written down here a second time on purpose.
fn needed(method: &Method, path: &str) -> Need {
    let begins = |prefixes: &[&str]| prefixes.iter().any(|prefix| path.starts_with(prefix));
    let is_write = *method == Method::POST
        && ["/v1/ingest", "/v1/metrics", "/api/v1/write", "/api/v1/otlp/v1/metrics"]
            .contains(&path);
    const SENDS_EVENTS: [&str; 10] = [
        "/v1/events/ingest",
        "/v1/events/batch",
        "/v1/cloudevents",
        "/v1/track",
        "/v1/identify",
        "/v1/page",
        "/v1/screen",
        "/v1/group",
        "/v1/alias",
        "/v1/batch",
    ];
    let is_tenant_change = path.starts_with("/v1/tenants") && *method != Method::GET;
    if is_public(method, path) {
        Need::Nothing
    } else if path == "/v1/session/password" {
        Need::Session
    } else if is_tenant_change || begins(&["/v1/config", "/-/reload", "/debug/"]) {
        Need::Server
    } else if begins(&[
        "/v1/keys",
        "/v1/users",
        "/v1/tenants",
        "/v1/usage",
        "/v1/audit",
        "/api/admin/",
    ]) {
        Need::One(access::Permission::Admin)
    } else if SENDS_EVENTS.contains(&path) {
        Need::One(access::Permission::EventsWrite)
    } else if begins(&["/v1/events/schemas", "/v1/events/dead-letters"]) && *method != Method::GET {
        Need::One(access::Permission::RulesWrite)
    } else if path == "/api/v1/report" {
        Need::One(access::Permission::PullsWrite)
    } else if begins(&["/v1/pulls", "/api/v1/pulls", "/api/v1/events"]) {
        Need::One(access::Permission::PullsRead)
    } else if path.starts_with("/v1/events/") {
        Need::One(access::Permission::EventsRead)
    } else if is_write {
        Need::One(access::Permission::MetricsWrite)
    } else {
        Need::One(access::Permission::MetricsRead)
    }
}

/// What an operation needs.
#[derive(Debug, PartialEq, Eq)]
enum Need {
    Nothing,
    Session,
    One(access::Permission),
    /// An administrator of all tenants.
    Server,
}

#[tokio::test]
async fn every_operation_is_refused_exactly_to_the_roles_that_lack_its_permission() {
    let server = guarded().await;
    let documented = operations(&server).await;
    for role in Role::ALL {
        let permissions = role.permissions();
        let key = key_of(&server, TenantId::default_tenant(), permissions).await;
        for (method, path) in &documented {
            let need = needed(method, path);
            let headers = [("x-api-key", key.secret.expose_secret())];
            let (status, found) = code(&server, request(&(method.clone(), path), &headers)).await;
            let forbidden = (status, found.as_str()) == (403, "permission_missing");
            let unknown = status == 401 && found == "key_missing";
            let expected = match need {
                Need::Nothing => (false, false),
                Need::Session => (false, true),
                Need::One(permission) => (!permissions.contains(permission), false),
                Need::Server => (true, false),
            };
            let what = format!("{role}: {method} {path} needs {need:?}: {status} {found}");
            assert_eq!((forbidden, unknown), expected, "{what}");
        }
    }
}
