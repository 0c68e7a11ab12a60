use std::fmt::Write as _;

use proptest::prelude::*;

use super::*;

fn render(metrics: &OtlpMetrics) -> String {
    let mut text = String::new();
    let batch = metrics.batch();
    for series in batch.series() {
        let labels = series.key.decode().expect("valid labels");
        for sample in series.samples {
            let value = if model::is_stale(sample.value) {
                "stale".to_owned()
            } else {
                sample.value.to_string()
            };
            writeln!(text, "{labels} {value} @{}", sample.timestamp.as_millis()).expect("memory");
        }
    }
    for (metric, MetricMetadata { metric_type, help, unit }) in batch.metadata() {
        writeln!(text, "{metric}: {} {unit:?} {help:?}", metric_type.as_str()).expect("memory");
    }
    if metrics.rejected_data_points() > 0 {
        writeln!(text, "{}", metrics.rejection_message()).expect("memory");
    }
    text
}

/// Decodes a request in JSON, and the same in protobuf, which must mean the same.
#[track_caller]
fn check(json: &str, expected: &str) {
    let metrics = decode_otlp(OtlpFormat::Json, json.as_bytes()).expect("valid JSON");
    assert_eq!(render(&metrics).trim_end(), expected.trim_end());
    let request: message::Request = serde_json::from_str(json).expect("valid JSON");
    let body = request.encode_to_vec();
    let metrics = decode_otlp(OtlpFormat::Protobuf, &body).expect("valid protobuf");
    assert_eq!(render(&metrics).trim_end(), expected.trim_end());
}

/// Decodes metrics without a resource.
#[track_caller]
fn check_metrics(metrics: &str, expected: &str) {
    check(
        &format!(r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{metrics}]}}]}}]}}"#),
        expected,
    );
}

#[test]
fn gauges_and_sums_become_series() {
    let points = r#"{"dataPoints":[
        {"timeUnixNano":"1500000000","asInt":"7","attributes":[
            {"key":"http.method","value":{"stringValue":"GET"}},
            {"key":"ok","value":{"boolValue":true}},
            {"key":"nothing"},
            {"key":"empty","value":{"stringValue":""}}]},
        {"timeUnixNano":"2999999","asDouble":0.5}]"#;
    check_metrics(
        &format!(r#"{{"name":"my.gauge","unit":"1","description":"Help.","gauge":{points}}}}}"#),
        "{__name__=\"my_gauge_ratio\", http_method=\"GET\", ok=\"true\"} 7 @1500\n\
         {__name__=\"my_gauge_ratio\"} 0.5 @2\n\
         my_gauge_ratio: gauge \"\" \"Help.\"",
    );
    let temporality = r#""aggregationTemporality":2"#;
    check_metrics(
        &format!(
            r#"{{"name":"my.sum","unit":"By","sum":{points},{temporality},"isMonotonic":true}}}}"#
        ),
        "{__name__=\"my_sum_bytes_total\", http_method=\"GET\", ok=\"true\"} 7 @1500\n\
         {__name__=\"my_sum_bytes_total\"} 0.5 @2\n\
         my_sum_bytes_total: counter \"bytes\" \"\"",
    );
    check_metrics(
        &format!(r#"{{"name":"my.sum","sum":{points},{temporality}}}}}"#),
        "{__name__=\"my_sum\", http_method=\"GET\", ok=\"true\"} 7 @1500\n\
         {__name__=\"my_sum\"} 0.5 @2\n\
         my_sum: gauge \"\" \"\"",
    );
}

#[test]
fn histograms_become_cumulative_buckets() {
    check_metrics(
        r#"{"name":"latency","unit":"s","histogram":{"aggregationTemporality":2,"dataPoints":[
            {"timeUnixNano":"1000000","count":"10","sum":1.5,
             "bucketCounts":["1","2","7"],"explicitBounds":[0.005,1],
             "exemplars":[{"asDouble":0.1,"traceId":"0af7651916cd43dd8448eb211c80319c"}],
             "attributes":[{"key":"le","value":{"stringValue":"mine"}}]},
            {"timeUnixNano":"2000000","count":"3"}]}}"#,
        "{__name__=\"latency_seconds_sum\", le=\"mine\"} 1.5 @1\n\
         {__name__=\"latency_seconds_count\", le=\"mine\"} 10 @1\n\
         {__name__=\"latency_seconds_bucket\", le=\"0.005\"} 1 @1\n\
         {__name__=\"latency_seconds_bucket\", le=\"1\"} 3 @1\n\
         {__name__=\"latency_seconds_bucket\", le=\"+Inf\"} 10 @1\n\
         {__name__=\"latency_seconds_count\"} 3 @2\n\
         {__name__=\"latency_seconds_bucket\", le=\"+Inf\"} 3 @2\n\
         latency_seconds: histogram \"seconds\" \"\"",
    );
}

#[test]
fn summaries_become_quantiles() {
    check_metrics(
        r#"{"name":"latency","summary":{"dataPoints":[{"timeUnixNano":"1000000","count":"10",
            "sum":1.5,"quantileValues":[{"quantile":0.5,"value":1},{"quantile":1,"value":2}]}]}}"#,
        "{__name__=\"latency_sum\"} 1.5 @1\n\
         {__name__=\"latency_count\"} 10 @1\n\
         {__name__=\"latency\", quantile=\"0.5\"} 1 @1\n\
         {__name__=\"latency\", quantile=\"1\"} 2 @1\n\
         latency: summary \"\" \"\"",
    );
}

#[test]
fn a_point_without_recorded_value_ends_its_series() {
    check_metrics(
        r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1000000","flags":1}]}},
           {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
             {"timeUnixNano":"1000000","flags":1,"bucketCounts":[0,0],"explicitBounds":[1]}]}},
           {"name":"s","summary":{"dataPoints":[{"timeUnixNano":"1000000","flags":1}]}}"#,
        "{__name__=\"g\"} stale @1\n\
         {__name__=\"h_count\"} stale @1\n\
         {__name__=\"h_bucket\", le=\"1\"} stale @1\n\
         {__name__=\"h_bucket\", le=\"+Inf\"} stale @1\n\
         {__name__=\"s_sum\"} stale @1\n\
         {__name__=\"s_count\"} stale @1\n\
         g: gauge \"\" \"\"\nh: histogram \"\" \"\"\ns: summary \"\" \"\"",
    );
}

#[test]
fn what_would_be_a_wrong_number_is_refused() {
    let refused = |metric: &str, reason: &str| {
        check_metrics(metric, &format!("1 data points refused, the first of 'm': {reason}"));
    };
    let point = r#"{"timeUnixNano":"1000000","asInt":1}"#;
    refused(
        &format!(r#"{{"name":"m","sum":{{"aggregationTemporality":1,"dataPoints":[{point}]}}}}"#),
        "delta temporality is not supported, configure the sender for cumulative temporality",
    );
    refused(
        &format!(r#"{{"name":"m","sum":{{"dataPoints":[{point}]}}}}"#),
        "the aggregation temporality is not specified",
    );
    refused(
        r#"{"name":"m","histogram":{"aggregationTemporality":1,"dataPoints":[{"count":1}]}}"#,
        "delta temporality is not supported, configure the sender for cumulative temporality",
    );
    refused(
        r#"{"name":"m","exponentialHistogram":{"aggregationTemporality":2,"dataPoints":[{"count":1}]}}"#,
        "exponential histograms are not supported, configure the sender for explicit buckets",
    );
    refused(r#"{"name":"m","gauge":{"dataPoints":[{"asInt":1}]}}"#, "the data point has no time");
    refused(
        r#"{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":"1"}]}}"#,
        "the data point has no value",
    );
    refused(
        r#"{"name":"m","gauge":{"dataPoints":[{"timeUnixNano":"1","asInt":1,"attributes":[{}]}]}}"#,
        "an attribute has an empty key",
    );
    for buckets in [
        r#""bucketCounts":[1],"explicitBounds":[1]"#,
        r#""bucketCounts":[],"explicitBounds":[1]"#,
        r#""bucketCounts":[1,1,1],"explicitBounds":[1,1]"#,
        r#""bucketCounts":[1,1,1],"explicitBounds":[2,1]"#,
        r#""bucketCounts":[1,1],"explicitBounds":["NaN"]"#,
    ] {
        refused(
            &format!(
                r#"{{"name":"m","histogram":{{"aggregationTemporality":2,
                    "dataPoints":[{{"timeUnixNano":"1",{buckets}}}]}}}}"#
            ),
            "bounds and buckets of the histogram do not fit together",
        );
    }
    check_metrics(
        &format!(r#"{{"gauge":{{"dataPoints":[{point},{point}]}}}}"#),
        "2 data points refused, the first of '': the metric has no name",
    );
}

#[test]
fn points_are_counted_kept_or_not() {
    let body = r#"{"resourceMetrics":[{"scopeMetrics":[{"metrics":[
        {"name":"a","gauge":{"dataPoints":[{"timeUnixNano":1,"asInt":1,"exemplars":[{},{}]},{}]}},
        {"name":"b","exponentialHistogram":{"dataPoints":[{},{},{}]}}]}]}]}"#;
    let metrics = decode_otlp(OtlpFormat::Json, body.as_bytes()).expect("valid");
    assert_eq!(metrics.data_points(), 5);
    assert_eq!(metrics.rejected_data_points(), 4);
    assert_eq!(metrics.exemplars(), 2);
}

#[test]
fn the_resource_becomes_job_instance_and_target_info() {
    let request = |attributes: &str, points: &str| {
        format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{attributes}]}},
                "scopeMetrics":[{{"scope":{{"name":"s","version":"1"}},"metrics":[
                {{"name":"g","gauge":{{"dataPoints":[{points}]}}}}]}}]}}]}}"#
        )
    };
    let identity = r#"{"key":"service.name","value":{"stringValue":"shop"}},
        {"key":"service.namespace","value":{"stringValue":"prod"}},
        {"key":"service.instance.id","value":{"stringValue":"i1"}}"#;
    let host =
        r#"{"key":"host.name","value":{"stringValue":"h"}},{"key":"pid","value":{"intValue":"5"}}"#;
    let point = r#"{"timeUnixNano":"1000000","asInt":1,
        "attributes":[{"key":"job","value":{"stringValue":"mine"}}]}"#;
    check(
        &request(&format!("{identity},{host}"), point),
        "{__name__=\"g\", instance=\"i1\", job=\"prod/shop\"} 1 @1\n\
         {__name__=\"target_info\", host_name=\"h\", instance=\"i1\", job=\"prod/shop\", pid=\"5\"} 1 @1\n\
         g: gauge \"\" \"\"",
    );
    let no_info = "{__name__=\"g\", instance=\"i1\", job=\"prod/shop\"} 1 @1\ng: gauge \"\" \"\"";
    check(&request(identity, point), no_info);
    let nobody = "{__name__=\"g\", job=\"mine\"} 1 @1\ng: gauge \"\" \"\"";
    check(&request(host, point), nobody);
    let refused = "1 data points refused, the first of 'g': the data point has no value";
    check(&request(&format!("{identity},{host}"), r#"{"timeUnixNano":1}"#), refused);
}

#[test]
fn target_info_covers_the_time_of_its_points() {
    let request = |first_ms: i64, last_ms: i64| {
        let point = |ms: i64| format!(r#"{{"timeUnixNano":"{ms}000000","asInt":1}}"#);
        format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[
                {{"key":"service.name","value":{{"stringValue":"shop"}}}},
                {{"key":"a","value":{{"stringValue":"b"}}}}]}},
                "scopeMetrics":[{{"metrics":[{{"name":"g","gauge":{{"dataPoints":[{},{}]}}}}]}}]}}]}}"#,
            point(first_ms),
            point(last_ms)
        )
    };
    let times = |body: &str| -> Vec<i64> {
        let metrics = decode_otlp(OtlpFormat::Json, body.as_bytes()).expect("valid");
        metrics.samples.iter().skip(2).map(|sample| sample.timestamp.as_millis()).collect()
    };
    assert_eq!(times(&request(5, 5)), [5]);
    assert_eq!(times(&request(400_000, 100_000)), [100_000, 250_000, 400_000]);
    assert_eq!(times(&request(1, 150_002)), [1, 2, 150_002]);
    let years = times(&request(1, 1_700_000_000_000));
    assert_eq!(years.len(), 1_000);
    assert_eq!(years.last(), Some(&1_700_000_000_000));
    assert!(years.is_sorted());
}

#[test]
fn attributes_whose_names_become_equal_are_joined() {
    check_metrics(
        r#"{"name":"g","gauge":{"dataPoints":[{"timeUnixNano":"1000000","asInt":1,"attributes":[
            {"key":"a_b","value":{"stringValue":"2"}},{"key":"a.b","value":{"stringValue":"1"}},
            {"key":"__name__","value":{"stringValue":"other"}}]}]}}"#,
        "{__name__=\"g\", a_b=\"1;2\"} 1 @1\ng: gauge \"\" \"\"",
    );
}

#[test]
fn json_may_be_spelt_in_many_ways() {
    let expected = "{__name__=\"m_total\", a=\"1\", b=\"AQ==\", c=\"[1,null]\"} NaN @1\n\
                    m_total: counter \"\" \"\"";
    check(
        r#"{"resource_metrics":[{"resource":null,"unknown":{"deep":[1,{}]},"schemaUrl":"x",
            "scope_metrics":[{"scope":null,"metrics":[{"name":"m","unit":null,"description":null,
            "gauge":null,"metadata":[],"sum":{"aggregation_temporality":"AGGREGATION_TEMPORALITY_CUMULATIVE",
            "is_monotonic":true,"data_points":[{"start_time_unix_nano":"9","time_unix_nano":1e6,
            "as_double":"NaN","exemplars":null,"flags":"0","attributes":[
                {"key":"a","value":{"int_value":1}},
                {"key":"b","value":{"bytes_value":"AQ"}},
                {"key":"c","value":{"array_value":{"values":[{"intValue":1.0},{}]}}}]}]}}]}]}]}"#,
        expected,
    );
    let value = |value: &str| {
        format!(r#"{{"name":"g","gauge":{{"dataPoints":[{{"timeUnixNano":"1000000",{value}}}]}}}}"#)
    };
    for (spelt, expected) in [
        (r#""asInt":-9007199254740993"#, "-9007199254740992"),
        (r#""asInt":"9007199254740992""#, "9007199254740992"),
        (r#""asDouble":"-Infinity""#, "-inf"),
        (r#""asDouble":"1.5""#, "1.5"),
        (r#""asDouble":2"#, "2"),
        (r#""asDouble":-0.0"#, "-0"),
    ] {
        let expected = format!("{{__name__=\"g\"}} {expected} @1\ng: gauge \"\" \"\"");
        check_metrics(&value(spelt), &expected);
    }
    for wrong in [
        r#""asInt":1.5"#,
        r#""asInt":1e19"#,
        r#""asInt":1e300"#,
        r#""asInt":"x""#,
        r#""asInt":"9223372036854775808""#,
        r#""asDouble":"nan""#,
        r#""asDouble":[]"#,
        r#""flags":-1"#,
        r#""attributes":{}"#,
        r#""attributes":[{"key":1}]"#,
        r#""attributes":[{"key":"a","value":{"bytesValue":"*"}}]"#,
    ] {
        let body = format!(
            r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{}]}}]}}]}}"#,
            value(wrong)
        );
        let decoded = decode_otlp(OtlpFormat::Json, body.as_bytes());
        assert!(matches!(decoded, Err(OtlpError::Json(_))), "{wrong}");
    }
}

#[test]
fn values_nest_up_to_a_limit() {
    let nested = |depth: usize| {
        let value = r#"{"arrayValue":{"values":["#.repeat(depth) + "{}" + &"]}}".repeat(depth);
        format!(
            r#"{{"resourceMetrics":[{{"resource":{{"attributes":[{{"key":"a","value":{value}}}]}}}}]}}"#
        )
    };
    assert!(decode_otlp(OtlpFormat::Json, nested(30).as_bytes()).is_ok());
    let deep = decode_otlp(OtlpFormat::Json, nested(10_000).as_bytes());
    assert!(matches!(deep, Err(OtlpError::Json(_))));

    // Of protobuf, every level is one length and one tag more.
    let mut value = Vec::new();
    for field in [0x0a, 0x2a].into_iter().cycle().take(10_000) {
        let mut outer = vec![field];
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.append(&mut value);
        value = outer;
    }
    for field in [0x12, 0x0a, 0x0a, 0x0a] {
        let mut outer = vec![field];
        prost::encoding::encode_varint(value.len() as u64, &mut outer);
        outer.append(&mut value);
        value = outer;
    }
    let deep = decode_otlp(OtlpFormat::Protobuf, &value);
    assert!(matches!(deep, Err(OtlpError::Protobuf(_))));
}

#[test]
fn a_request_has_a_limit_of_elements() {
    // Nested in each other: request, resource metrics, scope metrics, metric, gauge, empty points.
    let request = |points: usize| {
        let mut body: Vec<u8> = std::iter::repeat_n([0x0a, 0], points).flatten().collect();
        for field in [0x2a, 0x12, 0x12, 0x0a] {
            let mut outer = vec![field];
            prost::encoding::encode_varint(body.len() as u64, &mut outer);
            outer.append(&mut body);
            body = outer;
        }
        body
    };
    let limit = 1 << 20;
    let metrics = decode_otlp(OtlpFormat::Protobuf, &request(limit - 4)).expect("as many");
    assert_eq!(metrics.rejected_data_points(), limit as u64 - 4);
    let error = decode_otlp(OtlpFormat::Protobuf, &request(limit - 3)).expect_err("one more");
    assert!(matches!(error, OtlpError::TooManyElements { limit: 1_048_576 }), "{error}");
    let braces = "{".repeat(limit + 1);
    let error = decode_otlp(OtlpFormat::Json, braces.as_bytes()).expect_err("too many braces");
    assert!(matches!(error, OtlpError::TooManyElements { .. }), "{error}");
}

#[test]
fn a_long_attribute_of_many_buckets_does_not_fill_the_memory() {
    let bounds: Vec<String> = (0..200).map(|bound| bound.to_string()).collect();
    let counts = vec!["0"; 201];
    let body = format!(
        r#"{{"resourceMetrics":[{{"scopeMetrics":[{{"metrics":[{{"name":"h","histogram":{{
            "aggregationTemporality":2,"dataPoints":[{{"timeUnixNano":1,
            "explicitBounds":[{}],"bucketCounts":[{}],
            "attributes":[{{"key":"a","value":{{"stringValue":"{}"}}}}]}}]}}}}]}}]}}]}}"#,
        bounds.join(","),
        counts.join(","),
        "x".repeat(1 << 20)
    );
    let error = decode_otlp(OtlpFormat::Json, body.as_bytes()).expect_err("200 MiB of labels");
    assert!(matches!(error, OtlpError::TooManyLabels { limit: LabelArena::BYTES_MAX }), "{error}");
}

#[test]
fn malformed_bodies_are_refused() {
    let json = decode_otlp(OtlpFormat::Json, b"{");
    assert!(matches!(json, Err(OtlpError::Json(_))));
    let protobuf = decode_otlp(OtlpFormat::Protobuf, &[0x0a, 9]);
    assert!(matches!(protobuf, Err(OtlpError::Protobuf(_))));
    assert!(decode_otlp(OtlpFormat::Json, b"{}").is_ok());
    assert!(decode_otlp(OtlpFormat::Protobuf, b"").is_ok());
}

#[test]
fn answers_are_spelt_as_otlp_says() {
    let json = |body: Vec<u8>| String::from_utf8(body).expect("JSON is UTF-8");
    assert_eq!(json(encode_otlp_response(OtlpFormat::Json, 0, "")), "{}");
    assert_eq!(
        json(encode_otlp_response(OtlpFormat::Json, 3, "why \"so\"")),
        r#"{"partialSuccess":{"errorMessage":"why \"so\"","rejectedDataPoints":"3"}}"#
    );
    assert_eq!(json(encode_otlp_status(OtlpFormat::Json, "no")), r#"{"message":"no"}"#);
    assert_eq!(encode_otlp_response(OtlpFormat::Protobuf, 0, ""), b"");
    let partial = [0x0a, 6, 0x08, 3, 0x12, 2, b'n', b'o'];
    assert_eq!(encode_otlp_response(OtlpFormat::Protobuf, 3, "no"), partial);
    assert_eq!(encode_otlp_status(OtlpFormat::Protobuf, "no"), [0x12, 2, b'n', b'o']);
}

#[test]
fn the_content_type_names_the_format() {
    for (value, expected) in [
        ("application/json; charset=utf-8", Some(OtlpFormat::Json)),
        ("Application/X-Protobuf", Some(OtlpFormat::Protobuf)),
        ("text/plain", None),
    ] {
        assert_eq!(OtlpFormat::from_content_type(value), expected);
    }
}

/// A request with a bit of everything.
fn sample_request() -> message::Request {
    serde_json::from_str(
        r#"{"resourceMetrics":[{"resource":{"attributes":[
            {"key":"service.name","value":{"stringValue":"s"}},
            {"key":"k","value":{"kvlistValue":{"values":[{"key":"x","value":{"arrayValue":{"values":[{"doubleValue":1}]}}}]}}}]},
        "scopeMetrics":[{"metrics":[
            {"name":"g","gauge":{"dataPoints":[{"timeUnixNano":1,"asInt":1}]}},
            {"name":"c","sum":{"aggregationTemporality":2,"dataPoints":[{"timeUnixNano":1,"asDouble":1}]}},
            {"name":"h","histogram":{"aggregationTemporality":2,"dataPoints":[
                {"timeUnixNano":1,"count":3,"sum":1,"bucketCounts":[1,2],"explicitBounds":[1]}]}},
            {"name":"s","summary":{"dataPoints":[{"timeUnixNano":1,"quantileValues":[{"quantile":1}]}]}}]}]}]}"#,
    )
    .expect("valid")
}

fn decode_and_render(format: OtlpFormat, body: &[u8]) {
    if let Ok(metrics) = decode_otlp(format, body) {
        for series in metrics.batch().series() {
            drop(series.key.decode());
        }
        drop(metrics.rejection_message());
    }
}

proptest! {
    #[test]
    fn a_changed_byte_never_panics(at in any::<proptest::sample::Index>(), byte in any::<u8>()) {
        let mut body = sample_request().encode_to_vec();
        let at = at.index(body.len());
        body[at] = byte;
        decode_and_render(OtlpFormat::Protobuf, &body);
    }

    #[test]
    fn arbitrary_bytes_never_panic(body in proptest::collection::vec(any::<u8>(), 0..128)) {
        decode_and_render(OtlpFormat::Protobuf, &body);
        decode_and_render(OtlpFormat::Json, &body);
    }

    #[test]
    fn buckets_never_fall(counts in proptest::collection::vec(any::<u64>(), 1..9)) {
        let point = message::HistogramDataPoint {
            time_unix_nano: 1,
            count: u64::MAX,
            explicit_bounds: (1..counts.len()).map(|bound| bound as f64).collect(),
            bucket_counts: counts,
            ..Default::default()
        };
        let histogram = message::Histogram {
            data_points: vec![point],
            aggregation_temporality: message::CUMULATIVE,
        };
        let metric = message::Metric {
            name: "h".to_owned(),
            histogram: Some(histogram),
            ..Default::default()
        };
        let scope_metrics = vec![message::ScopeMetrics { metrics: vec![metric] }];
        let resource_metrics = vec![message::ResourceMetrics { resource: None, scope_metrics }];
        let body = message::Request { resource_metrics }.encode_to_vec();
        let metrics = decode_otlp(OtlpFormat::Protobuf, &body).expect("valid");
        let buckets = metrics.samples.get(1..).expect("a count and at least one bucket");
        prop_assert!(buckets.is_sorted_by(|a, b| a.value <= b.value));
    }
}
