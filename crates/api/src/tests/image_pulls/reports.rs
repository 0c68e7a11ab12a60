//! What agents send, ours and Pulltrace's.

use std::io::Write as _;

use flate2::Compression;
use flate2::write::GzEncoder;

use super::*;

/// A report of an agent of Pulltrace on an idle node.
const ORIGINAL_IDLE: &str =
    r#"{"nodeName":"worker-2","timestamp":"2026-02-23T21:45:26.123456789Z","pulls":null}"#;

/// Sends a report and compares status and body.
async fn check(server: &Server, request: Request<Body>, status: u16, body: &str) -> HeaderMap {
    let what = format!("{:?}", request.headers());
    let (found, headers, text) = server.send(request).await;
    assert_eq!((found.as_u16(), String::from_utf8_lossy(&text)), (status, body.into()), "{what}");
    headers
}

fn with(headers: &[(&str, &str)], body: impl Into<Body>) -> Request<Body> {
    let mut request = Request::post(REPORT);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(body.into()).expect("a request")
}

#[tokio::test]
async fn a_report_is_refused_in_the_order_and_the_words_of_pulltrace() {
    let (server, [key, _]) = guarded(ApiLimits::default()).await;
    let bearer = format!("Bearer {}", key.secret.expose_secret());
    let known = ("authorization", bearer.as_str());
    let long_name = format!(r#"{{"nodeName":"{}","pulls":null}}"#, "n".repeat(254));
    let too_long = " ".repeat((1 << 20) + 1);
    // 1: the method, before anything else.
    for method in ["GET", "PUT", "DELETE", "PATCH"] {
        let request = Request::builder().method(method).uri(REPORT).body(Body::empty());
        check(&server, request.expect("a request"), 405, "method not allowed\n").await;
    }
    // 2: who sends it, before the body is looked at.
    for headers in [vec![], vec![("authorization", "Bearer nobody")], vec![("authorization", "x")]]
    {
        let headers = check(&server, with(&headers, "nonsense"), 401, "unauthorized\n").await;
        assert!(headers.contains_key("x-error-code"));
    }
    // 3: its length.
    let (status, _, body) = server.send(with(&[known], too_long)).await;
    let body = String::from_utf8(body).expect("text");
    assert!(status == 413 && body.contains("longer than 1048576 bytes"), "{status} {body}");
    // 4: JSON.
    for body in ["", "nonsense", "[]", r#"{"nodeName":7}"#, r#"{"nodeName":"a","pulls":{}}"#] {
        check(&server, with(&[known], body), 400, "invalid json\n").await;
    }
    // 5: the name of the node.
    for body in ["{}", r#"{"nodeName":""}"#, &long_name] {
        check(&server, with(&[known], body.to_owned()), 400, "invalid nodeName\n").await;
    }
    // 8: accepted, and 6: too soon after that.
    let accepted = check(&server, with(&[known], ORIGINAL_IDLE), 200, "").await;
    assert_eq!(accepted["x-tinyobs-report"], "2");
    let refused = check(&server, with(&[known], ORIGINAL_IDLE), 429, "rate limited\n").await;
    assert_eq!(refused["retry-after"], "1");
    assert_eq!(refused["content-type"], "text/plain; charset=utf-8");
    assert_eq!(refused["x-content-type-options"], "nosniff");
}

#[tokio::test]
async fn a_key_may_stand_alone_for_reports_and_nowhere_else() {
    let (server, [key, _]) = guarded(ApiLimits::default()).await;
    let secret = key.secret.expose_secret();
    check(&server, with(&[("authorization", secret)], ORIGINAL_IDLE), 200, "").await;
    let mut elsewhere = get(LIVE);
    elsewhere.headers_mut().insert("authorization", secret.parse().expect("a value"));
    check(&server, elsewhere, 401, "unauthorized\n").await;
    for almost in [&secret[1..], &format!("{secret}0"), &secret.to_uppercase()] {
        let request = with(&[("authorization", almost)], ORIGINAL_IDLE);
        check(&server, request, 401, "unauthorized\n").await;
    }
}

#[tokio::test]
async fn an_agent_of_pulltrace_keeps_its_token_and_its_spelling() {
    let (server, _) = guarded(ApiLimits::default()).await;
    let bearer = format!("Bearer {AGENT_TOKEN}");
    for (node, spelt) in [AGENT_TOKEN, &bearer].into_iter().enumerate() {
        let body = format!(r#"{{"nodeName":"n{node}","pulls":null}}"#);
        check(&server, with(&[("authorization", spelt)], body), 200, "").await;
    }
    for almost in [&AGENT_TOKEN[1..], &AGENT_TOKEN.to_lowercase(), &format!("Basic {AGENT_TOKEN}")]
    {
        let request = with(&[("authorization", almost)], ORIGINAL_IDLE);
        check(&server, request, 401, "unauthorized\n").await;
    }
    let mut elsewhere = get(LIVE);
    elsewhere.headers_mut().insert("authorization", bearer.parse().expect("a value"));
    check(&server, elsewhere, 403, "this needs the permission pulls:read\n").await;
}

#[tokio::test]
async fn a_key_for_reports_opens_nothing_else_and_others_do_not_report() {
    let (server, _) = guarded(ApiLimits::default()).await;
    let agent = key(&server, "default", &[Permission::PullsWrite]).await;
    let reader = key(&server, "default", &[Permission::PullsRead]).await;
    let as_agent = [("x-api-key", agent.secret.expose_secret())];
    let as_reader = [("x-api-key", reader.secret.expose_secret())];
    check(&server, with(&as_agent, ORIGINAL_IDLE), 200, "").await;
    let body = "this needs the permission pulls:write\n";
    check(&server, with(&as_reader, ORIGINAL_IDLE), 403, body).await;
    for uri in [LIVE, FOLLOW, "/v1/pulls", "/v1/pulls/nodes", "/v1/stats"] {
        let mut request = get(uri);
        request.headers_mut().insert("x-api-key", as_agent[0].1.parse().expect("a value"));
        let (status, _) = server.ask(request).await;
        assert_eq!(status.as_u16(), 403, "{uri}");
    }
}

#[tokio::test]
async fn agents_behind_one_address_are_not_too_many_and_those_who_guess_are() {
    // By default an address may ask 200 times at once.
    let (server, [key, _]) = guarded(ApiLimits::default()).await;
    let secret = key.secret.expose_secret();
    for node in 0..500 {
        let body = format!(r#"{{"nodeName":"n{node}","pulls":null}}"#);
        check(&server, with(&[("x-api-key", secret)], body), 200, "").await;
    }
    let guess = || with(&[("authorization", "Bearer nobody")], "{}");
    for _ in 0..200 {
        check(&server, guess(), 401, "unauthorized\n").await;
    }
    check(&server, guess(), 429, "rate limited\n").await;
    let body = r#"{"nodeName":"n500","pulls":null}"#;
    check(&server, with(&[("x-api-key", secret)], body), 200, "").await;
}

#[tokio::test]
async fn a_report_may_be_packed_and_counts_as_it_is_unpacked() {
    let server = Server::new().await;
    let pack = |body: &str| {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
        encoder.write_all(body.as_bytes()).expect("memory takes every write");
        encoder.finish().expect("packed")
    };
    let packed = [("content-encoding", "gzip")];
    check(&server, with(&packed, pack(&report_of("a", &[Pull::of("1", "nginx:1")]))), 200, "")
        .await;
    assert_eq!(field(&ask(&server, LIVE).await, "pulls", "imageRef"), ["nginx:1"]);
    let bomb = pack(&" ".repeat(2 << 20));
    assert!(bomb.len() < 16 << 10, "it is short as it is sent: {}", bomb.len());
    let (status, _) = server.ask(with(&packed, bomb)).await;
    assert_eq!(status.as_u16(), 413);
    let (status, _) = server.ask(with(&packed, "no gzip")).await;
    assert_eq!(status.as_u16(), 400);
    let (status, _) = server.ask(with(&[("content-encoding", "br")], "")).await;
    assert_eq!(status.as_u16(), 415);
}

#[tokio::test]
async fn a_long_report_is_taken_as_a_short_one_is() {
    let server = Server::new().await;
    let ids: Vec<_> = (0..100).map(|id| id.to_string()).collect();
    let pulls: Vec<_> = ids.iter().map(|id| Pull::of(id, "nginx:1")).collect();
    assert!(report_of("a", &pulls).len() > 32 << 10);
    report(&server, "a", &pulls).await;
    assert_eq!(field(&ask(&server, LIVE).await, "pulls", "id").len(), 100);
    let odd = format!("{}{{", " ".repeat(64 << 10));
    check(&server, with(&[], odd), 400, "invalid json\n").await;
}
