//! What pages of other sites may do, and the headers that tell browsers what no page may.

use access::Actor;

use super::*;
use crate::Ways;

const LISTED: &str = "https://dash.example";
const UNLISTED: &str = "https://evil.example";

async fn open_to(origins: &[&str], credentials: bool) -> Server {
    let origins: Vec<String> = origins.iter().map(|origin| (*origin).to_owned()).collect();
    let cross_origin = CrossOrigin::new(&origins, credentials, Duration::from_secs(600));
    let keys = |access: &Arc<Access>, _: &Arc<SimClock>| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    };
    let (limits, config) = (ApiLimits::default(), StoreConfig::default());
    Server::opened_to(cross_origin.expect("valid"), limits, config, keys).await
}

fn from(origin: &str, mut request: Request<Body>) -> Request<Body> {
    let headers = request.headers_mut();
    headers.insert("origin", origin.parse().expect("a value"));
    headers.insert("host", "localhost:8080".parse().expect("a value"));
    request
}

fn with_key(mut request: Request<Body>) -> Request<Body> {
    request.headers_mut().insert("x-api-key", ROOT_KEY.parse().expect("a value"));
    request
}

fn question(origin: &str, uri: &str, method: &str) -> Request<Body> {
    let request = Request::options(uri)
        .header("access-control-request-method", method)
        .header("access-control-request-headers", "x-api-key");
    from(origin, request.body(Body::empty()).expect("a request"))
}

/// Returns the headers of the answer that `names` lists, `-` for those that it lacks.
async fn answer(server: &Server, request: Request<Body>, names: &[&str]) -> Vec<String> {
    let (status, headers, _) = server.send(request).await;
    let value = |name: &&str| {
        let values: Vec<_> = headers.get_all(*name).iter().collect();
        let texts = values.iter().map(|value| value.to_str().expect("text"));
        if values.is_empty() { "-".to_owned() } else { texts.collect::<Vec<_>>().join(",") }
    };
    let mut found = vec![status.as_str().to_owned()];
    found.extend(names.iter().map(value));
    found
}

#[tokio::test]
async fn pages_of_other_sites_are_refused_unless_they_are_listed() {
    let read =
        ["access-control-allow-origin", "x-error-code", "access-control-expose-headers", "vary"];
    let exposed = "x-request-id, x-error-code, retry-after";
    for (origins, origin, expected) in [
        (vec![], LISTED, ["403", "-", "foreign_origin", "-", "origin"]),
        (vec![LISTED], LISTED, ["200", LISTED, "-", exposed, "origin"]),
        (vec![LISTED], UNLISTED, ["403", "-", "foreign_origin", "-", "origin"]),
        (vec![LISTED], "http://localhost:8080", ["200", "-", "-", "-", "origin"]),
        (vec!["*"], UNLISTED, ["200", "*", "-", exposed, "origin"]),
    ] {
        let server = open_to(&origins, false).await;
        let found = answer(&server, with_key(from(origin, get("/v1/stats"))), &read).await;
        assert_eq!(found, expected, "{origins:?} {origin}");
    }
}

#[tokio::test]
async fn a_listed_page_needs_a_key_as_everybody_does_and_may_read_the_refusal() {
    let server = open_to(&[LISTED], false).await;
    let read = ["access-control-allow-origin", "x-error-code"];
    for (what, request, expected) in [
        ("no key", get("/v1/stats"), ["401", LISTED, "key_missing"]),
        ("nothing there", with_key(get("/v1/nothing")), ["404", LISTED, "not_found"]),
        ("wrong method", with_key(post("/v1/stats", "")), ["405", LISTED, "wrong_method"]),
    ] {
        assert_eq!(answer(&server, from(LISTED, request), &read).await, expected, "{what}");
    }
}

#[tokio::test]
async fn a_browser_is_told_what_a_listed_page_may_send() {
    let server = open_to(&[LISTED], false).await;
    let read = [
        "access-control-allow-origin",
        "access-control-allow-methods",
        "access-control-max-age",
        "access-control-allow-credentials",
    ];
    for (what, request, expected) in [
        ("a route", question(LISTED, "/v1/ingest", "POST"), ["204", LISTED, "POST", "600", "-"]),
        (
            "a route with two methods",
            question(LISTED, "/api/v1/query", "POST"),
            ["204", LISTED, "GET, POST", "600", "-"],
        ),
        ("no route", question(LISTED, "/v1/nothing", "GET"), ["404", LISTED, "-", "-", "-"]),
        ("not listed", question(UNLISTED, "/v1/ingest", "POST"), ["403", "-", "-", "-", "-"]),
        (
            "not listed, our own name",
            question("http://localhost:8080", "/v1/ingest", "POST"),
            ["405", "-", "-", "-", "-"],
        ),
    ] {
        assert_eq!(answer(&server, request, &read).await, expected, "{what}");
    }
    let (_, headers, body) = server.send(question(LISTED, "/v1/ingest", "POST")).await;
    assert!(body.is_empty());
    let allowed = headers["access-control-allow-headers"].to_str().expect("text");
    for name in
        ["x-api-key", "x-app-id", "authorization", "content-type", "x-scope-orgid", "x-csrf-token"]
    {
        assert!(allowed.split(", ").any(|allowed| allowed == name), "{name}");
    }
    let server = open_to(&[LISTED], true).await;
    let request = question(LISTED, "/v1/ingest", "POST");
    let found = answer(&server, request, &["access-control-allow-credentials"]).await;
    assert_eq!(found, ["204", "true"]);
}

#[tokio::test]
async fn a_session_counts_from_a_listed_page_only_where_credentials_are_allowed() {
    for (credentials, status) in [(false, 401), (true, 200)] {
        let server = open_to(&[LISTED], credentials).await;
        let ada = access::NewUser {
            tenant: TenantId::default_tenant(),
            name: "ada".to_owned(),
            display_name: "Ada".to_owned(),
            password: Some("correct horse".into()),
            role: access::Role::Admin,
            all_tenants: true,
        };
        server.access.create_user(&Actor::command_line(), ada).await.expect("a user");
        let login = r#"{"name":"ada","password":"correct horse"}"#;
        let mut login = post("/v1/session", login);
        login.headers_mut().insert("content-type", "application/json".parse().expect("a value"));
        let (_, headers, _) = server.send(login).await;
        let cookie = headers["set-cookie"].to_str().expect("text");
        let cookie = cookie.split(';').next().expect("a value").to_owned();
        let mut request = from(LISTED, get("/v1/stats"));
        request.headers_mut().insert("cookie", cookie.parse().expect("a value"));
        let (found, ..) = server.send(request).await;
        assert_eq!(found.as_u16(), status, "{credentials}");
    }
}

#[tokio::test]
async fn every_answer_says_what_browsers_must_not_do() {
    let server = open_to(&[], false).await;
    let names = [
        "x-content-type-options",
        "x-frame-options",
        "referrer-policy",
        "cross-origin-resource-policy",
        "cross-origin-opener-policy",
        "cache-control",
        "strict-transport-security",
    ];
    let fixed = ["nosniff", "DENY", "no-referrer", "same-origin", "same-origin"];
    let year = "max-age=31536000";
    for (uri, encrypted, status, cache, hsts) in [
        ("/v1/health", false, "200", "no-store", "-"),
        ("/v1/stats", false, "401", "no-store", "-"),
        ("/v1/nothing", true, "404", "no-store", year),
        ("/", true, "200", "no-cache", year),
        ("/icon.svg", true, "200", "no-cache", year),
        ("/assets/app-1a2b.js", false, "200", "public, max-age=31536000, immutable", "-"),
    ] {
        let mut request = get(uri);
        let connection = ConnectionInfo { tls: encrypted, ..connection_from("127.0.0.1") };
        request.extensions_mut().insert(connection);
        let found = answer(&server, request, &names).await;
        let expected: Vec<_> = [status].into_iter().chain(fixed).chain([cache, hsts]).collect();
        assert_eq!(found, expected, "{uri}");
        let (_, headers, _) = server.send(get(uri)).await;
        let policy = headers["content-security-policy"].to_str().expect("text");
        assert!(policy.starts_with("default-src 'none'") && !policy.contains("unsafe"), "{uri}");
        let features = headers["permissions-policy"].to_str().expect("text");
        assert!(features.contains("camera=()"), "{uri}");
    }
}
