use platform::FsOperation;

use super::*;

async fn filled() -> Server {
    let server = Server::new().await;
    server
        .ingest(
            r#"{"name":"up","type":"gauge","value":1,"labels":{"job":"a"},"timestamp":"2024-11-19T07:06:30Z"},
               {"name":"up","type":"gauge","value":0.5,"labels":{"job":"b"},"timestamp":"2024-11-19T07:06:30.25Z"},
               {"name":"hits","type":"counter","value":3,"timestamp":"2024-11-19T07:06:35Z"}"#,
        )
        .await;
    server
}

#[tokio::test]
async fn prometheus_routes_answer_to_the_letter() {
    let server = filled().await;
    for (uri, expected) in [
        (
            "/api/v1/query?query=up&time=1732000000.5",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1732000000.500,"1"]},{"metric":{"__name__":"up","job":"b"},"value":[1732000000.500,"0.5"]}]}}"#,
        ),
        (
            "/api/v1/query?query=up&limit=1",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"up","job":"a"},"value":[1732000000,"1"]}]},"warnings":["results truncated due to limit"]}"#,
        ),
        (
            "/api/v1/query?query=1e30",
            r#"{"status":"success","data":{"resultType":"scalar","result":[1732000000,"1e+30"]}}"#,
        ),
        (
            "/api/v1/query?query=%22a%22",
            r#"{"status":"success","data":{"resultType":"string","result":[1732000000,"a"]}}"#,
        ),
        (
            "/api/v1/query?query=up%7Bjob%3D%22b%22%7D%5B1m%5D",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"up","job":"b"},"values":[[1731999990.250,"0.5"]]}]}}"#,
        ),
        (
            "/api/v1/query_range?query=hits&start=1731999990&end=2024-11-19T07:06:40Z&step=5s",
            r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":{"__name__":"hits"},"values":[[1731999995,"3"],[1732000000,"3"]]}]}}"#,
        ),
        (
            "/api/v1/query_range?query=absent_metric&start=0&end=1&step=1",
            r#"{"status":"success","data":{"resultType":"matrix","result":[]}}"#,
        ),
        (
            "/api/v1/series?match[]=up%7Bjob%3D%22a%22%7D&match[]=hits",
            r#"{"status":"success","data":[{"__name__":"hits"},{"__name__":"up","job":"a"}]}"#,
        ),
        ("/api/v1/series?match[]=up&start=0&end=1", r#"{"status":"success","data":[]}"#),
        ("/api/v1/labels", r#"{"status":"success","data":["__name__","job"]}"#),
        ("/api/v1/labels?match[]=hits", r#"{"status":"success","data":["__name__"]}"#),
        ("/api/v1/label/job/values", r#"{"status":"success","data":["a","b"]}"#),
        ("/api/v1/label/U__job/values", r#"{"status":"success","data":["a","b"]}"#),
        (
            "/api/v1/metadata?metric=hits",
            r#"{"status":"success","data":{"hits":[{"type":"counter","help":"","unit":""}]}}"#,
        ),
        ("/api/v1/metadata?limit=0", r#"{"status":"success","data":{}}"#),
        ("/api/v1/format_query?query=up%2B1", r#"{"status":"success","data":"up + 1"}"#),
        ("/-/healthy", "TinyObs is Healthy.\n"),
        ("/-/ready", "TinyObs is Ready.\n"),
    ] {
        server.check(get(uri), 200, expected).await;
    }
    let answer = r#"{"status":"success","data":{"resultType":"scalar","result":[1.500,"2"]}}"#;
    server.check(form("/api/v1/query", "query=1%2B1&time=1.5"), 200, answer).await;
    server.check(form("/api/v1/query?time=1.5", "query=2"), 200, answer).await;
    server.check_contains(get("/api/v1/status/buildinfo"), 200, r#""version":"0.1.0""#).await;
}

#[tokio::test]
async fn old_routes_keep_their_shapes() {
    let server = filled().await;
    for (uri, expected) in [
        (
            "/v1/query?metric=hits",
            r#"{"metrics":[{"name":"hits","type":"counter","value":3,"timestamp":"2024-11-19T07:06:35Z"}],"count":1}"#,
        ),
        ("/v1/query?metric=none", r#"{"metrics":null,"count":0}"#),
        (
            "/v1/query/range?metric=up",
            r#"{"data":[{"metric":"up","labels":{"job":"a"},"points":[{"t":1731999990000,"v":1}],"resolution":"raw"},{"metric":"up","labels":{"job":"b"},"points":[{"t":1731999990250,"v":0.5}],"resolution":"raw"}]}"#,
        ),
        ("/v1/query/range?metric=none", r#"{"data":null}"#),
        (
            "/v1/query/instant?query=hits&time=2024-11-19T07:06:40Z",
            r#"{"status":"success","data":{"resultType":"vector","result":[{"metric":{"__name__":"hits"},"values":[[1732000000,"3.000000"]]}]},"query":"hits"}"#,
        ),
        ("/v1/metrics/list", r#"{"metrics":["hits","up"],"count":2}"#),
        (
            "/v1/cardinality",
            r#"{"total_series":3,"unique_metrics":2,"max_series_metric":"up","max_series_count":2,"series_limit":1000000,"per_metric_limit":10000,"utilization_percent":0.0003}"#,
        ),
        (
            "/v1/health",
            r#"{"status":"healthy","version":"0.1.0","uptime":"0s","compaction":{"healthy":true},"checks":{"cardinality":"ok","reads":"ok","storage":"ok"}}"#,
        ),
    ] {
        server.check(get(uri), 200, &format!("{expected}\n")).await;
    }
    server.check_contains(get("/v1/stats"), 200, r#"{"TotalMetrics":3,"TotalSeries":3,"#).await;
    server.check_contains(get("/v1/storage"), 200, r#","max_bytes":0}"#).await;
    let body = r#"{"query":"sum(up)","start":"2024-11-19T07:06:31Z","end":"2024-11-19T07:06:40Z","step":"9s"}"#;
    let answer = r#"{"status":"success","data":{"resultType":"matrix","result":[{"metric":null,"values":[[1731999991,"1.500000"],[1732000000,"1.500000"]]}]},"query":"sum(up)"}"#;
    server.check(post("/v1/query/execute", body), 200, &format!("{answer}\n")).await;
}

#[tokio::test]
async fn a_full_disk_makes_health_red_and_is_told_to_writers() {
    let server = filled().await;
    server.fs.set_space(Some(0));
    let body = r#"{"metrics":[{"name":"more","value":1}]}"#;
    let (status, headers, _) = server.send(post("/v1/ingest", body)).await;
    assert_eq!(status.as_u16(), 503);
    assert!(headers.contains_key("retry-after"));
    server
        .check_contains(get("/v1/health"), 503, r#""problems":["default: store is read-only: "#)
        .await;
    server.check_contains(get("/-/ready"), 503, "the storage takes no writes").await;
}

#[tokio::test]
async fn head_is_answered_like_get_without_a_body() {
    let server = Server::new().await;
    for uri in ["/v1/health", "/health", "/ready", "/healthz", "/", "/api/v1/labels"] {
        let request = Request::head(uri).body(Body::empty()).expect("a request");
        let (status, headers, body) = server.send(request).await;
        assert_eq!((status.as_u16(), body.len()), (200, 0), "{uri}");
        assert!(headers.contains_key("content-length"), "{uri}");
    }
}

#[tokio::test]
async fn long_answers_are_compressed_for_those_who_take_it() {
    use std::io::Read as _;

    let server = Server::new().await;
    let metrics: Vec<String> =
        (0..100).map(|index| format!(r#"{{"name":"metric_number_{index}","value":1}}"#)).collect();
    server.ingest(&metrics.join(",")).await;
    let uri = "/api/v1/label/__name__/values";
    let (_, _, plain) = server.send(get(uri)).await;
    let mut request = get(uri);
    request.headers_mut().insert("accept-encoding", "gzip".parse().expect("a value"));
    let (_, headers, packed) = server.send(request).await;
    assert_eq!(headers.get("content-encoding").map(|value| value.as_bytes()), Some(&b"gzip"[..]));
    let mut unpacked = Vec::new();
    flate2::read::GzDecoder::new(&packed[..]).read_to_end(&mut unpacked).expect("gzip");
    assert_eq!(unpacked, plain);
}

#[tokio::test]
async fn a_storage_that_fails_is_left_alone_and_the_last_answer_given_as_old() {
    let config = StoreConfig { block_range_ms: 60_000, ..StoreConfig::default() };
    let server = Server::with(ApiLimits::default(), config).await;
    for minute in 0..10 {
        let at = NOW_MS / 1000 - 1_200 + 60 * minute;
        server.ingest_at("up", minute as f64, at).await;
    }
    server.clock.advance(std::time::Duration::from_secs(100));
    server.store.maintain().expect("a block");
    assert!(server.store.stats().blocks > 0, "the queries below read a block");
    let query = |time: i64| get(&format!("/api/v1/query?query=up&time={time}"));
    let then = NOW_MS / 1000 - 1_200;
    let answer = format!(
        r#"{{"status":"success","data":{{"resultType":"vector","result":[{{"metric":{{"__name__":"up"}},"value":[{then},"0"]}}]}}"#
    );
    server.check(query(then), 200, &format!("{answer}}}")).await;
    for _ in 0..3 {
        server.fs.fail_next(FsOperation::Read, std::io::ErrorKind::Other);
        let (status, headers, body) = server.send(query(then)).await;
        assert_eq!((status.as_u16(), &headers["age"]), (200, &"0".parse().expect("a value")));
        let body = String::from_utf8(body).expect("text");
        let warned = body.strip_prefix(&answer).expect("the same answer");
        assert!(warned.starts_with(r#","warnings":["the storage could not be read"#), "{warned}");
    }
    // The disk is well again, but nobody asks it yet, and nothing is known of this question.
    let unknown = get(&format!("/api/v1/query?query=sum(up)&time={then}"));
    let (status, headers, _) = server.send(unknown).await;
    assert_eq!(
        (status.as_u16(), headers["x-error-code"].as_bytes()),
        (503, &b"storage_failed"[..])
    );
    assert!(headers.contains_key("retry-after"));
    server.clock.advance(std::time::Duration::from_secs(2));
    server.check_contains(get("/v1/health"), 503, r#""reads":"failing""#).await;
    server.clock.advance(std::time::Duration::from_secs(30));
    server.check(query(then), 200, &format!("{answer}}}")).await;
    server.clock.advance(std::time::Duration::from_secs(2));
    server.check_contains(get("/v1/health"), 200, r#""reads":"ok""#).await;
}
