//! Whoever asks too much is told when to come again, in the words of the routes that they use.

use std::pin::Pin;
use std::task::Poll;
use std::time::Duration;

use access::{
    ForwardedHeader, RateLimit, RefusalReason, TenantLimits, TrustedProxies, UsageKind, UsageReport,
};
use http_body_util::StreamBody;

use super::*;
use crate::limits::{ClassLimit, ClassLimits, LimitsInForce, RequestLimits};

fn rate(per_second: f64, burst: u64) -> Option<RateLimit> {
    Some(RateLimit::new(per_second, burst).expect("a limit"))
}

/// A server with these limits, and none other.
async fn server(requests: RequestLimits) -> Server {
    let limits = ApiLimits { requests: requests.into(), ..ApiLimits::default() };
    Server::with(limits, StoreConfig::default()).await
}

fn unlimited() -> RequestLimits {
    RequestLimits { address: None, logins: None, ..RequestLimits::default() }
}

fn tenant(tenants: TenantLimits) -> RequestLimits {
    RequestLimits { tenants: Arc::new(tenants), ..unlimited() }
}

fn from(address: &str, mut request: Request<Body>) -> Request<Body> {
    request.extensions_mut().insert(connection_from(address));
    // Where there is no login, other names than these are refused.
    request.headers_mut().insert("host", "localhost".parse().expect("a value"));
    request
}

/// Sends requests one after the other and compares their statuses.
async fn check(server: &Server, requests: Vec<Request<Body>>, expected: &[u16]) {
    let mut found = Vec::new();
    for request in requests {
        found.push(server.send(request).await.0.as_u16());
    }
    assert_eq!(found, expected);
}

fn samples(count: usize) -> String {
    let metrics: Vec<_> = (0..count)
        .map(|index| format!(r#"{{"name":"m{index}","type":"gauge","value":1}}"#))
        .collect();
    format!(r#"{{"metrics":[{}]}}"#, metrics.join(","))
}

fn report(server: &Server) -> UsageReport {
    let wall = Timestamp::from_millis(NOW_MS);
    server.meters.tenant(&TenantId::default_tenant(), wall).expect("room").report(wall)
}

fn total(server: &Server, kind: UsageKind) -> u64 {
    let total = report(server).total;
    total.iter().find(|(found, _)| *found == kind).expect("all kinds").1
}

#[tokio::test]
async fn a_client_address_has_a_rate_for_everything_but_probes() {
    let server = server(RequestLimits { address: rate(1.0, 4), ..unlimited() }).await;
    let ask = |path: &str| from("192.0.2.1", get(path));
    let paths = ["/api/v1/query?query=1", "/", "/v1/ingest", "/nothing", "/v1/stats"];
    let requests = paths.map(ask).into();
    check(&server, requests, &[200, 200, 405, 200, 429]).await;
    check(&server, vec![ask("/v1/health"), ask("/-/ready"), ask("/")], &[200, 200, 429]).await;
    check(&server, vec![from("192.0.2.2", get("/v1/stats"))], &[200]).await;
    server.clock.advance(Duration::from_secs(1));
    check(&server, vec![ask("/v1/stats"), ask("/v1/stats")], &[200, 429]).await;
}

#[tokio::test]
async fn refusals_say_when_to_come_again_in_the_words_of_the_route() {
    let server = server(RequestLimits { address: rate(0.1, 1), ..unlimited() }).await;
    check(&server, vec![from("192.0.2.1", get("/v1/stats"))], &[200]).await;
    for (method, path, expected) in [
        (
            "GET",
            "/v1/stats",
            "{\"error\":\"Too Many Requests\",\"code\":\"rate_limited\",\"message\":\"this address may send 0.1 \
             requests a second; try again later\"}\n",
        ),
        (
            "GET",
            "/api/v1/query",
            "{\"status\":\"error\",\"errorType\":\"too_many_requests\",\"error\":\"this address may send 0.1 \
             requests a second; try again later\"}",
        ),
        ("POST", "/api/v1/write", "this address may send 0.1 requests a second; try again later\n"),
    ] {
        let request = Request::builder().method(method).uri(path).body(Body::empty());
        let request = from("192.0.2.1", request.expect("a request"));
        let (status, headers, body) = server.send(request).await;
        let found = (status.as_u16(), String::from_utf8_lossy(&body));
        assert_eq!(found, (429, expected.into()), "{path}");
        assert_eq!(headers["retry-after"], "10", "{path}");
        assert_eq!(headers["x-error-code"], "rate_limited", "{path}");
        assert_eq!(headers["x-content-type-options"], "nosniff", "{path}");
    }
}

#[tokio::test]
async fn this_machine_is_exempt_where_there_is_no_login() {
    let server = server(RequestLimits { address: rate(1.0, 1), ..unlimited() }).await;
    for address in ["127.0.0.1", "::1", "::ffff:127.0.0.1"] {
        let ask = || from(address, get("/v1/stats"));
        check(&server, vec![ask(), ask(), ask()], &[200, 200, 200]).await;
    }
}

#[tokio::test]
async fn clients_behind_a_trusted_proxy_have_rates_of_their_own() {
    let proxies = TrustedProxies::new(["10.0.0.1"], ForwardedHeader::default()).expect("proxies");
    let server = server(RequestLimits { address: rate(1.0, 1), proxies, ..unlimited() }).await;
    let ask = |peer: &str, forwarded: &str| {
        let mut request = from(peer, get("/v1/stats"));
        let forwarded = forwarded.parse().expect("a value");
        request.headers_mut().insert("x-forwarded-for", forwarded);
        request
    };
    let proxied = vec![
        ask("10.0.0.1", "192.0.2.1"),
        ask("10.0.0.1", "192.0.2.2"),
        ask("10.0.0.1", "198.51.100.7, 192.0.2.1"),
    ];
    check(&server, proxied, &[200, 200, 429]).await;
    let direct = vec![ask("203.0.113.9", "192.0.2.3"), ask("203.0.113.9", "192.0.2.4")];
    check(&server, direct, &[200, 429]).await;
}

#[tokio::test]
async fn a_tenant_has_a_rate_of_samples_and_keeps_what_was_accepted() {
    let server =
        server(tenant(TenantLimits { samples: rate(1.0, 10), ..TenantLimits::default() })).await;
    let write = |count| post("/v1/ingest", &samples(count));
    check(&server, vec![write(6), write(5)], &[200, 429]).await;
    // Otherwise the next samples would replace these.
    server.clock.advance(Duration::from_millis(1));
    check(&server, vec![write(4), write(1)], &[200, 429]).await;
    assert_eq!(total(&server, UsageKind::Samples), 10);
    assert_eq!(server.store.stats().samples, 10);
    let (_, headers, body) = server.send(write(1)).await;
    assert_eq!(headers["retry-after"], "1");
    let body = String::from_utf8(body).expect("a text");
    assert!(body.contains("this tenant may send 1 samples a second"), "{body}");
    // Never allowed at once: coming again would not help.
    server.clock.advance(Duration::from_secs(100));
    let (status, headers, _) = server.send(write(11)).await;
    assert_eq!((status.as_u16(), headers.get("retry-after")), (413, None));
}

#[tokio::test]
async fn a_quota_of_the_day_ends_with_the_day() {
    let limits = TenantLimits { samples_per_day_max: Some(10), ..TenantLimits::default() };
    let server = server(tenant(limits)).await;
    let write = |count| post("/v1/ingest", &samples(count));
    check(&server, vec![write(9), write(2), write(1)], &[200, 429, 200]).await;
    let (_, headers, _) = server.send(write(1)).await;
    assert_eq!(headers["x-error-code"], "quota_exceeded");
    // 07:06:40 UTC.
    assert_eq!(headers["retry-after"], "60800");
    let refused = report(&server).refused;
    assert!(refused.contains(&(RefusalReason::QuotaSamples, 2)), "{refused:?}");
    server.clock.advance(Duration::from_secs(60_800));
    check(&server, vec![write(10)], &[200]).await;
}

#[tokio::test]
async fn a_write_that_is_not_stored_costs_nothing() {
    let limits = TenantLimits {
        samples: rate(1.0, 10),
        samples_per_day_max: Some(10),
        ..TenantLimits::default()
    };
    let server = server(tenant(limits)).await;
    let rejected =
        r#"{"metrics":[{"name":"a","type":"gauge","value":1,"timestamp":"1999-01-01T00:00:00Z"}]}"#;
    let wrong = r#"{"metrics":"#;
    check(&server, vec![post("/v1/ingest", rejected), post("/v1/ingest", wrong)], &[400, 400])
        .await;
    check(&server, vec![post("/v1/ingest", &samples(10))], &[200]).await;
    assert_eq!(total(&server, UsageKind::Samples), 10);
}

#[tokio::test]
async fn the_body_of_a_write_that_is_refused_anyway_is_not_read() {
    let server =
        server(tenant(TenantLimits { samples: rate(1.0, 10), ..TenantLimits::default() })).await;
    check(&server, vec![post("/v1/ingest", &samples(10))], &[200]).await;
    // A body that never ends: whoever waits for it waits for ever.
    let endless = || {
        let frames = futures_util::stream::repeat_with(|| {
            Ok::<_, std::io::Error>(http_body::Frame::data(bytes::Bytes::from(vec![b' '; 1 << 16])))
        });
        Body::new(StreamBody::new(frames))
    };
    for path in ["/v1/ingest", "/api/v1/write", "/v1/metrics"] {
        let request = Request::post(path)
            .header("content-type", "application/x-protobuf")
            .header("content-encoding", "snappy")
            .body(endless())
            .expect("a request");
        assert_eq!(server.send(request).await.0, 429, "{path}");
    }
}

#[tokio::test]
async fn a_tenant_has_a_rate_of_queries_that_are_counted() {
    let server =
        server(tenant(TenantLimits { queries: rate(1.0, 2), ..TenantLimits::default() })).await;
    server.ingest(r#"{"name":"up","type":"gauge","value":1}"#).await;
    let ask = || get("/api/v1/query?query=up");
    check(&server, vec![ask(), ask(), ask()], &[200, 200, 429]).await;
    assert_eq!(total(&server, UsageKind::Queries), 2);
    assert!(total(&server, UsageKind::SamplesRead) >= 2);
    assert_eq!(report(&server).queries_running, 0);
    check(&server, vec![post("/v1/ingest", &samples(1))], &[200]).await;
}

#[tokio::test]
async fn a_tenant_has_its_own_limit_of_samples_in_a_query() {
    let limits = TenantLimits { query_samples_max: Some(1), ..TenantLimits::default() };
    let server = server(tenant(limits)).await;
    server.ingest(r#"{"name":"a","type":"gauge","value":1}"#).await;
    server.ingest(r#"{"name":"b","type":"gauge","value":1}"#).await;
    let both = get("/api/v1/query?query=%7B__name__=~%22a%7Cb%22%7D");
    check(&server, vec![get("/api/v1/query?query=a"), both], &[200, 422]).await;
}

#[tokio::test]
async fn a_tenant_with_limits_of_its_own_has_these_at_once() {
    let server =
        server(tenant(TenantLimits { samples: rate(1.0, 5), ..TenantLimits::default() })).await;
    let wall = Timestamp::from_millis(NOW_MS);
    let usage = server.meters.tenant(&TenantId::default_tenant(), wall).expect("room");
    let write = |count| post("/v1/ingest", &samples(count));
    check(&server, vec![write(6)], &[413]).await;
    let own = TenantLimits { samples: rate(1.0, 6), ..TenantLimits::default() };
    usage.set_limits(Arc::new(own));
    check(&server, vec![write(6), write(1)], &[200, 429]).await;
}

#[tokio::test]
async fn limits_can_be_replaced_while_requests_are_served() {
    let in_force = LimitsInForce::from(RequestLimits { address: rate(1.0, 1), ..unlimited() });
    let limits = ApiLimits { requests: in_force.clone(), ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let ask = || from("192.0.2.1", get("/v1/stats"));
    check(&server, vec![ask(), ask()], &[200, 429]).await;
    in_force.replace(unlimited());
    check(&server, vec![ask(), ask()], &[200, 200]).await;
}

fn one_at_a_time(timeout: Duration) -> RequestLimits {
    let limit = ClassLimit { concurrent_max: 1, timeout };
    let classes = ClassLimits { write: limit, ..ClassLimits::default() };
    RequestLimits { classes, ..unlimited() }
}

/// Polls once, and returns whether it is not done.
async fn waits<F: Future>(mut future: Pin<&mut F>) -> bool {
    std::future::poll_fn(|context| Poll::Ready(future.as_mut().poll(context).is_pending())).await
}

/// A write whose body does not come.
fn silent_write() -> Request<Body> {
    let silence = futures_util::stream::pending::<Result<bytes::Bytes, std::io::Error>>();
    Request::post("/v1/ingest").body(Body::from_stream(silence)).expect("a request")
}

#[tokio::test]
async fn a_class_has_a_number_at_a_time_and_leaves_the_others_alone() {
    let server = server(one_at_a_time(Duration::from_secs(60))).await;
    let first = server.send(silent_write());
    tokio::pin!(first);
    assert!(waits(first.as_mut()).await);
    let (status, headers, _) = server.send(post("/v1/ingest", &samples(1))).await;
    assert_eq!((status.as_u16(), &headers["retry-after"]), (503, &"1".parse().expect("a value")));
    check(&server, vec![get("/v1/health"), get("/v1/stats")], &[200, 200]).await;
    server.clock.advance(Duration::from_secs(30));
    assert_eq!(first.await.0, 408, "the body took too long");
    check(&server, vec![post("/v1/ingest", &samples(1))], &[200]).await;
}

#[tokio::test]
async fn a_request_has_the_time_of_its_class() {
    let server = server(one_at_a_time(Duration::from_secs(5))).await;
    let first = server.send(silent_write());
    tokio::pin!(first);
    assert!(waits(first.as_mut()).await);
    server.clock.advance(Duration::from_secs(5));
    let (status, headers, _) = first.await;
    assert_eq!(
        (status.as_u16(), &headers["x-error-code"]),
        (503, &"unavailable".parse().expect("a value"))
    );
    check(&server, vec![post("/v1/ingest", &samples(1))], &[200]).await;
}
