use super::*;

#[tokio::test]
async fn mistakes_in_queries_are_named_as_prometheus_names_them() {
    let server = Server::new().await;
    for (uri, status, kind, message) in [
        ("/api/v1/query?query=up(", 400, "bad_data", r#"invalid parameter \"query\": 1:"#),
        (
            "/api/v1/query?query=up&time=soon",
            400,
            "bad_data",
            r#"invalid parameter \"time\": cannot parse \"soon\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query?query=up&timeout=x",
            400,
            "bad_data",
            r#"invalid parameter \"timeout\": cannot parse \"x\" to a valid duration"#,
        ),
        ("/api/v1/query?query=up&limit=-1", 400, "bad_data", r#"invalid parameter \"limit\""#),
        (
            "/api/v1/query?query=label_replace(up,%22a%22,%22b%22,%22c%22,%22(%22)",
            422,
            "execution",
            "invalid regular expression",
        ),
        (
            "/api/v1/query_range?query=up",
            400,
            "bad_data",
            r#"invalid parameter \"start\": cannot parse \"\" to a valid timestamp"#,
        ),
        (
            "/api/v1/query_range?query=up&start=2&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"end\": end timestamp must not be before start time"#,
        ),
        (
            "/api/v1/query_range?query=up&start=1&end=2&step=0",
            400,
            "bad_data",
            r#"invalid parameter \"step\": zero or negative query resolution step widths are not accepted. Try a positive integer"#,
        ),
        (
            "/api/v1/query_range?query=up&start=0&end=11001&step=1",
            400,
            "bad_data",
            "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the query resolution (?step=XX)",
        ),
        (
            "/api/v1/query_range?query=%22a%22&start=0&end=1&step=1",
            400,
            "bad_data",
            r#"invalid parameter \"query\": invalid expression type"#,
        ),
        ("/api/v1/series", 400, "bad_data", "no match[] parameter provided"),
        (
            "/api/v1/series?match[]=%7Ba=~%22.*%22%7D",
            400,
            "bad_data",
            r#"invalid parameter \"match[]\""#,
        ),
        ("/api/v1/labels?match[]=1", 400, "bad_data", r#"invalid parameter \"match[]\""#),
        ("/api/v1/metadata?limit=x", 400, "bad_data", "limit must be a number"),
        ("/api/v1/nothing", 404, "not_found", "there is nothing at /api/v1/nothing"),
        ("/api", 404, "not_found", "there is nothing at /api"),
        ("/api/v1/write", 405, "bad_data", "GET is not possible"),
    ] {
        let start = format!(r#"{{"status":"error","errorType":"{kind}","error":""#);
        server.check_contains(get(uri), status, &start).await;
        server.check_contains(get(uri), status, message).await;
    }
}

#[tokio::test]
async fn mistakes_on_old_routes_have_their_shape_and_are_the_clients() {
    let server = Server::new().await;
    let bad = |message: &str| {
        format!(r#"{{"error":"Bad Request","code":"bad_data","message":"{message}"}}"#) + "\n"
    };
    for (uri, message) in [
        ("/v1/query?start=2&end=1", "start must be before end"),
        ("/v1/query/range", "metric parameter required"),
        ("/v1/query/range?metric=a&maxPoints=0", "maxPoints must be between 1 and 5000"),
        ("/v1/query/range?metric=a&maxPoints=x", r#"invalid maxPoints: \"x\" is not an integer"#),
        ("/v1/query/range?metric=a&start=0", "query window too large (max 90 days)"),
        ("/v1/query/range?metric=a&start=2&end=1", "end must be after start"),
        ("/v1/query/instant", "query parameter is required"),
    ] {
        server.check(get(uri), 400, &bad(message)).await;
    }
    for (body, status, message) in [
        ("", 400, "invalid JSON: "),
        ("{}", 400, "query parameter is required"),
        (r#"["up"]"#, 400, "invalid JSON: expected an object, not a list"),
        (r#"{"query":"up("}"#, 400, "query parse error: 1:"),
        (r#"{"query":"up","step":"1d"}"#, 400, "invalid step duration: "),
        (r#"{"query":"up","step":"0s"}"#, 400, "zero or negative"),
        (r#"{"query":"up","start":"x"}"#, 400, "invalid JSON: parsing time"),
    ] {
        server.check_contains(post("/v1/query/execute", body), status, message).await;
    }
    let nothing = "{\"error\":\"Not Found\",\"code\":\"not_found\",\"message\":\"there is nothing at /v1/nothing\"}\n";
    server.check(get("/v1/nothing"), 404, nothing).await;
    server.check_contains(get("/v1/ingest"), 405, "GET is not possible").await;
}

#[tokio::test]
async fn ingest_takes_all_or_nothing() {
    let server = Server::new().await;
    let long = "x".repeat(1025);
    let labels: Vec<String> = (0..21).map(|index| format!(r#""l{index}":"v""#)).collect();
    for (metric, message) in [
        (r#"{"value":1}"#.to_owned(), "metric name cannot be empty"),
        (format!(r#"{{"name":"{}"}}"#, &long[..257]), "metric name too long (max 256 chars): "),
        (
            format!(r#"{{"name":"a","labels":{{{}}}}}"#, labels.join(",")),
            r#"too many labels (max 20): metric \"a\" has 21 labels"#,
        ),
        (
            format!(r#"{{"name":"a","labels":{{"{}":""}}}}"#, &long[..257]),
            "label key too long (max 256 chars): ",
        ),
        (
            format!(r#"{{"name":"a","labels":{{"k":"{long}"}}}}"#),
            r#"label value too long (max 1024 chars): value for key \"k\" in metric \"a\""#,
        ),
        (r#"{"name":"a","labels":{"__resolution__":"5m"}}"#.to_owned(), "is reserved"),
        (r#"{"name":"a","timestamp":"1900-01-01T00:00:00Z"}"#.to_owned(), "sample too old"),
        (
            r#"{"name":"a","timestamp":"3000-01-01T00:00:00Z"}"#.to_owned(),
            "sample too far in the future",
        ),
    ] {
        let body = format!(r#"{{"metrics":[{{"name":"good","value":1}},{metric}]}}"#);
        let message = format!("invalid metric at index 1: {message}");
        let message =
            if message.contains("is reserved") { "is reserved".to_owned() } else { message };
        server.check_contains(post("/v1/ingest", &body), 400, &message).await;
    }
    server.check(get("/v1/metrics/list"), 200, "{\"metrics\":[],\"count\":0}\n").await;
    server.check(post("/v1/ingest", "{}"), 200, "{\"status\":\"success\",\"count\":0}\n").await;
}

#[tokio::test]
async fn one_series_too_many_is_told_with_the_numbers() {
    let config = StoreConfig { series_max: 1, ..StoreConfig::default() };
    let server = Server::with(ApiLimits::default(), config).await;
    server.ingest(r#"{"name":"a","labels":{"user":"1"}}"#).await;
    let body = r#"{"metrics":[{"name":"a","labels":{"user":"2"}}]}"#;
    let start = r#"{"error":"cardinality limit exceeded","current":1,"limit":1,"metric":"a","label":"user","message":"#;
    server.check_contains(post("/v1/ingest", body), 400, start).await;
    server.ingest(r#"{"name":"a","labels":{"user":"1"},"value":2}"#).await;
}

#[tokio::test]
async fn a_full_store_refuses_ingest() {
    let limits = ApiLimits { storage_bytes_max: 1, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let message = "Storage limit exceeded: ";
    server.check_contains(post("/v1/ingest", "{}"), 507, message).await;
}

#[tokio::test]
async fn bodies_over_the_limit_are_refused() {
    let limits = ApiLimits { body_bytes_max: 10, write_body_bytes_max: 10, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    for (uri, body, status) in [
        ("/v1/ingest", r#"{"a":1234}"#, 200),
        ("/v1/ingest", r#"{"a":12345}"#, 413),
        ("/v1/query/execute", r#"{"a":12345}"#, 413),
    ] {
        let (found, _, answer) = server.send(post(uri, body)).await;
        assert_eq!(found.as_u16(), status, "{uri} {body}: {}", String::from_utf8_lossy(&answer));
    }
    server.check_contains(form("/api/v1/query", "query=12345"), 413, "10 bytes").await;
}

#[tokio::test]
async fn pages_of_other_sites_are_refused() {
    let server = Server::new().await;
    for uri in ["/v1/ingest", "/api/v1/query?query=up", "/v1/ws", "/v1/stats"] {
        let mut request = get(uri);
        request.headers_mut().insert("host", "localhost:8080".parse().expect("a value"));
        request.headers_mut().insert("origin", "http://evil.example".parse().expect("a value"));
        let (status, headers, _) = server.send(request).await;
        assert_eq!(status.as_u16(), 403, "{uri}");
        assert!(!headers.contains_key("access-control-allow-origin"), "{uri}");
    }
}

#[tokio::test]
async fn more_queries_than_fit_are_told_to_come_again() {
    let limits =
        ApiLimits { queries_concurrent_max: 0, queries_waiting_max: 0, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let (status, headers, _) = server.send(get("/api/v1/query?query=up")).await;
    assert_eq!(status.as_u16(), 503);
    assert!(headers.contains_key("retry-after"));
    server.check_contains(get("/v1/health"), 200, "healthy").await;
}

#[tokio::test]
async fn a_query_without_time_left_times_out() {
    let server = Server::new().await;
    let uri = "/api/v1/query?query=up&timeout=0";
    server.check_contains(get(uri), 503, r#""errorType":"timeout""#).await;
}
