use futures_util::StreamExt as _;

use super::*;

fn message(field: u32, body: &[u8]) -> Vec<u8> {
    let mut bytes = vec![u8::try_from(field << 3 | 2).expect("a small field")];
    bytes.push(u8::try_from(body.len()).expect("a short message"));
    bytes.extend_from_slice(body);
    bytes
}

fn sample(value: f64, millis: i64) -> Vec<u8> {
    let mut bytes = vec![1 << 3 | 1];
    bytes.extend_from_slice(&value.to_le_bytes());
    bytes.push(2 << 3);
    let mut rest = millis.cast_unsigned();
    while rest >= 0x80 {
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
    bytes
}

/// A remote write 1.0 request with one series.
fn v1(name: &str, samples: &[Vec<u8>], histogram: bool) -> Vec<u8> {
    let label = [message(1, b"__name__"), message(2, name.as_bytes())].concat();
    let mut series = message(1, &label);
    for sample in samples {
        series.extend(message(2, sample));
    }
    if histogram {
        series.extend(message(4, &[]));
    }
    message(1, &series)
}

/// A remote write 2.0 request with one series.
fn v2(name: &str, samples: &[Vec<u8>]) -> Vec<u8> {
    let symbols = [message(4, b""), message(4, b"__name__"), message(4, name.as_bytes())].concat();
    let mut series = message(1, &[1, 2]);
    for sample in samples {
        series.extend(message(2, sample));
    }
    [symbols, message(5, &series)].concat()
}

const V1: &str = "application/x-protobuf";
const V2: &str = "application/x-protobuf;proto=io.prometheus.write.v2.Request";

fn remote_write(kind: &str, plain: &[u8]) -> Request<Body> {
    let packed = snap::raw::Encoder::new().compress_vec(plain).expect("small");
    packed_write(kind, "snappy", packed)
}

fn packed_write(kind: &str, encoding: &str, body: Vec<u8>) -> Request<Body> {
    Request::post("/api/v1/write")
        .header("content-type", kind)
        .header("content-encoding", encoding)
        .body(Body::from(body))
        .expect("a request")
}

#[tokio::test]
async fn remote_write_stores_what_it_acknowledges() {
    let server = Server::new().await;
    server.check(remote_write(V1, &v1("one", &[sample(1.5, NOW_MS)], false)), 204, "").await;
    let (status, headers, _) =
        server.send(remote_write(V2, &v2("two", &[sample(2.5, NOW_MS)]))).await;
    assert_eq!(status.as_u16(), 204);
    assert_eq!(headers["x-prometheus-remote-write-samples-written"], "1");
    assert_eq!(headers["x-prometheus-remote-write-histograms-written"], "0");
    server.check_contains(get("/api/v1/query?query=one"), 200, r#""1.5""#).await;
    server.check_contains(get("/api/v1/query?query=two"), 200, r#""2.5""#).await;
}

#[tokio::test]
async fn remote_write_stores_the_rest_and_says_what_it_refused() {
    let server = Server::new().await;
    let samples =
        [sample(1.0, -2_208_988_800_000), sample(2.0, NOW_MS), sample(3.0, 32_503_680_000_000)];
    let refused = "2 of 3 samples were refused, the others are stored; the first: sample too old";
    server.check_contains(remote_write(V1, &v1("a", &samples, false)), 400, refused).await;
    server.check_contains(get("/api/v1/query?query=a"), 200, r#""2""#).await;
    let histogram = v1("b", &[sample(4.0, NOW_MS)], true);
    server
        .check_contains(remote_write(V1, &histogram), 400, "1 samples of native histograms")
        .await;
    server.check_contains(get("/api/v1/query?query=b"), 200, r#""4""#).await;
}

#[tokio::test]
async fn other_bodies_are_refused() {
    let server = Server::new().await;
    let bomb = snap::raw::Encoder::new().compress_vec(&vec![0; 33 << 20]).expect("a bomb");
    for (request, status, expected) in [
        (packed_write("application/json", "snappy", Vec::new()), 415, "application/x-protobuf"),
        (packed_write(&format!("{V1};proto=other"), "snappy", Vec::new()), 415, "2.0"),
        (packed_write(V1, "identity", Vec::new()), 415, "snappy"),
        (packed_write(V1, "br", Vec::new()), 415, "Content-Encoding"),
        // The cause is told once.
        (
            packed_write(V1, "snappy", Vec::new()),
            400,
            "valid snappy: snappy: corrupt input (empty)\n",
        ),
        (packed_write(V1, "snappy", bomb), 413, "the limit is 33554432"),
        (remote_write(V1, &[0xff, 0xff]), 400, "malformed remote write request"),
        (remote_write(V1, &v2("one", &[])), 400, "version 2.0, which the Content-Type must name"),
        (remote_write(V2, &v1("one", &[], false)), 400, "version 1.0, which the Content-Type"),
        (remote_write(V2, &message(5, &message(1, &[1, 2]))), 400, "symbols"),
    ] {
        server.check_contains(request, status, expected).await;
    }
}

fn otlp(kind: &str, body: &str) -> Request<Body> {
    Request::post("/v1/metrics")
        .header("content-type", kind)
        .body(Body::from(body.to_owned()))
        .expect("a request")
}

#[tokio::test]
async fn otlp_is_stored_and_partial_success_told() {
    let server = Server::new().await;
    let body = |millis: i64| {
        format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"load","gauge":{{"dataPoints":[{{"timeUnixNano":"{millis}000000","asDouble":0.5}}]}}}}]}}]}}]}}"#
        )
    };
    server.check(otlp("application/json", &body(NOW_MS)), 200, "{}").await;
    server.check_contains(get("/api/v1/query?query=load"), 200, r#""0.5""#).await;
    let late = otlp("application/json; charset=utf-8", &body(1_000));
    server.check_contains(late, 200, r#""rejectedDataPoints":"1""#).await;
    let expected = r#"{"message":"malformed OTLP metrics request: EOF while parsing an object at line 1 column 1"}"#;
    server.check(otlp("application/json", "{"), 400, expected).await;
    server.check_contains(otlp("application/json", " []"), 400, "an object, not a list").await;
    server
        .check_contains(otlp("text/plain", "{}"), 415, r#"{"message":"OTLP needs Content-Type"#)
        .await;
    let (status, headers, _) = server.send(otlp(V1, "\u{7f}")).await;
    assert_eq!((status.as_u16(), headers["content-type"].as_bytes()), (400, V1.as_bytes()));
}

/// A remote write whose body begins and never ends.
fn endless_write(begin: &'static [u8]) -> Request<Body> {
    let begun = futures_util::stream::iter([Ok::<_, std::io::Error>(begin)]);
    let body = begun.chain(futures_util::stream::pending());
    let mut request = remote_write(V1, &[]);
    *request.body_mut() = Body::from_stream(body);
    request
}

#[tokio::test]
async fn slow_bodies_hold_up_no_other_writes() {
    let limits = ApiLimits { writes_concurrent_max: 1, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    tokio::select! {
        biased;
        _ = server.send(endless_write(b"")) => unreachable!("it never ends"),
        () = server.check(remote_write(V1, &v1("one", &[], false)), 204, "") => {}
    }
}

#[tokio::test]
async fn bodies_of_all_requests_share_a_limit() {
    let small = || remote_write(V1, &message(15, b"four"));
    let limits = ApiLimits { bodies_bytes_max: 10, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    tokio::select! {
        biased;
        _ = server.send(endless_write(b"123")) => unreachable!("it never ends"),
        () = server.check_contains(small(), 503, "take too much memory") => {}
    }
    // What the endless one took is free again.
    server.check(small(), 204, "").await;
}
