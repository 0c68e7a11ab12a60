//! What requests leave behind.

use super::*;

#[tokio::test]
async fn a_request_gets_an_identifier_and_keeps_its_own() {
    let server = Server::new().await;
    let (_, headers, _) = server.send(get("/v1/health")).await;
    assert_eq!(headers["x-request-id"].len(), 36);
    for (path, status) in [("/v1/health", 200), ("/v1/nothing", 404), ("/v1/query/range", 400)] {
        let request = Request::get(path).header("x-request-id", "abc-1").body(Body::empty());
        let (found, headers, _) = server.send(request.expect("a request")).await;
        assert_eq!(
            (found.as_u16(), headers["x-request-id"].as_bytes()),
            (status, &b"abc-1"[..]),
            "{path}"
        );
    }
}

#[tokio::test]
async fn requests_are_counted_by_template_and_never_by_path() {
    let server = Server::new().await;
    server.send(get("/api/v1/label/secret/values")).await;
    server.send(get("/api/v1/nothing/secret")).await;
    server.send(get("/dashboards/secret")).await;
    server.send(Request::delete("/v1/ingest").body(Body::empty()).expect("a request")).await;
    let counts = server.stats.requests();
    let counts: Vec<_> =
        counts.iter().map(|count| (count.route, count.method, count.status)).collect();
    let expected = [
        ("/api/v1/label/{name}/values", "GET", "2xx"),
        ("/v1/ingest", "DELETE", "4xx"),
        ("none", "GET", "4xx"),
        ("page", "GET", "2xx"),
    ];
    assert_eq!(counts, expected);
    assert_eq!(server.stats.in_flight(), 0);
}

#[tokio::test]
async fn what_comes_in_is_counted_by_protocol_and_what_is_read_too() {
    let server = Server::new().await;
    server.ingest(r#"{"name":"a","value":1},{"name":"b","value":2}"#).await;
    server.send(post("/v1/ingest", "nonsense")).await;
    let json = server.stats.ingested()[0];
    assert_eq!((json.requests, json.failed, json.samples), (2, 1, 2));
    assert!(json.bytes > 40, "{json:?}");

    server.send(get("/api/v1/query?query=a")).await;
    server.send(get("/api/v1/query?query=a%2B")).await;
    let queries = server.stats.query_count();
    assert_eq!((queries.durations.count(), queries.samples_read), (2, 1));
    assert_eq!(queries.failed, [("bad_data", 1)]);
    assert_eq!((queries.running, queries.waiting), (0, 0));
}

#[tokio::test]
async fn metrics_come_in_the_format_that_is_asked_for() {
    let server = Server::new().await;
    let (_, headers, body) = server.send(get("/metrics")).await;
    assert_eq!(headers["content-type"], "text/plain; version=0.0.4; charset=utf-8");
    assert_eq!(body, b"up 1\n");
    let request = Request::get("/metrics").header("accept", "application/openmetrics-text");
    let (_, headers, body) = server.send(request.body(Body::empty()).expect("a request")).await;
    assert!(headers["content-type"].to_str().expect("text").starts_with("application/openmetrics"));
    assert_eq!(body, b"up 1\n# EOF\n");
}

#[tokio::test]
async fn profiles_are_bounded_and_taken_one_at_a_time() {
    let server = Server::new().await;
    for seconds in ["0", "61", "-1", "x"] {
        let path = format!("/debug/pprof/profile?seconds={seconds}");
        server.check_contains(get(&path), 400, "must be from 1 to 60").await;
    }
    server.check_contains(get("/debug/pprof/profile"), 503, "being taken already").await;
    server.check_contains(get("/debug/pprof/heap"), 200, "\"resident_bytes\":4096").await;
    server.check(get("/debug/pprof/threads"), 200, "{\"threads\":[]}\n").await;
}
