//! The same data in Prometheus and in TinyObs gives the same answers.

use serde_json::Value;

use crate::peers::Prometheus;
use crate::program::{TinyObs, query, wait_for};

/// Seconds of data before the answers are compared.
const HISTORY_S: f64 = 15.0;

/// Values may differ in the last bits: sums are added up in another order.
const RELATIVE_ERROR_MAX: f64 = 1e-9;

/// Windows are whole seconds and the scrapes are a second apart, so the evaluation times lie between two scrapes:
/// Prometheus 2 counts a sample at the very start of a window, Prometheus 3 and TinyObs do not.
const INSTANT: [&str; 16] = [
    "up",
    "node_load1",
    "count(node_cpu_seconds_total)",
    "sum by (mode) (rate(node_cpu_seconds_total[10s]))",
    "topk(3, node_memory_MemAvailable_bytes)",
    r#"count by (__name__) ({__name__=~"node_memory_.+"})"#,
    r#"{__name__=~"node_memory_(MemFree|Cached|Buffers)_bytes", job!="x", instance=~".+", device!~"a.*"}"#,
    "node_memory_MemFree_bytes / on (instance) node_memory_MemTotal_bytes * 100",
    "node_cpu_seconds_total * on (instance) group_left (release) node_uname_info",
    "quantile(0.5, node_cpu_seconds_total)",
    r#"count_values("value", node_cpu_seconds_total == bool 0)"#,
    "node_memory_MemFree_bytes > 1 and node_memory_MemFree_bytes unless node_load1",
    "max_over_time(rate(node_cpu_seconds_total[5s])[10s:1s])",
    "stddev_over_time(node_memory_MemFree_bytes[8s])",
    "histogram_quantile(0.9, prometheus_http_request_duration_seconds_bucket)",
    "node_load1 offset 3s",
];

const RANGE: [&str; 8] = [
    r#"100 - (avg by (instance) (rate(node_cpu_seconds_total{mode="idle"}[5s])) * 100)"#,
    "sum(rate(node_cpu_seconds_total[5s])) by (mode)",
    "avg_over_time(node_memory_MemFree_bytes[5s])",
    "deriv(node_memory_MemFree_bytes[8s])",
    "count(node_cpu_seconds_total > 1)",
    "increase(node_network_receive_bytes_total[7s])",
    "sort_desc(sum by (device) (irate(node_network_receive_bytes_total[5s])))",
    "predict_linear(node_memory_MemFree_bytes[9s], 3600)",
];

#[test]
fn twenty_queries_give_the_same_answers_as_prometheus() {
    let folder = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(&folder.path().join("data"), &["--set", "collector.enabled=false"]);
    let Some(prometheus) = Prometheus::start(folder.path(), &server.url) else { return };

    let first = wait_for("the first scrape", || scraped_at(&prometheus.url));
    let last = wait_for("enough history", || {
        scraped_at(&prometheus.url).filter(|last| *last >= first + HISTORY_S)
    });
    // Between two scrapes, and after the last one that is compared.
    let end = last + 0.137;
    wait_for("the samples to arrive", || scraped_at(&server.url).filter(|at| *at > end));

    for expression in INSTANT {
        let form = [("query", expression), ("time", &format!("{end:.3}"))];
        compare(expression, &prometheus.url, &server.url, "/api/v1/query", &form);
    }
    for expression in RANGE {
        let start = format!("{:.3}", end - 6.0);
        let end = format!("{end:.3}");
        let form = [("query", expression), ("start", &start), ("end", &end), ("step", "1")];
        compare(expression, &prometheus.url, &server.url, "/api/v1/query_range", &form);
    }
}

/// Returns the time of the newest scrape that the server at `url` knows, in seconds.
fn scraped_at(url: &str) -> Option<f64> {
    let data = query(url, "/api/v1/query", &[("query", "timestamp(up)")]);
    data["result"][0]["value"][1].as_str()?.parse().ok()
}

fn compare(expression: &str, prometheus: &str, tinyobs: &str, path: &str, form: &[(&str, &str)]) {
    let theirs = query(prometheus, path, form);
    let ours = query(tinyobs, path, form);
    assert_eq!(theirs["resultType"], ours["resultType"], "{expression}");
    let (theirs, ours) = (sorted(&theirs), sorted(&ours));
    assert_eq!(theirs.len(), ours.len(), "{expression}: number of series\n{theirs:?}\n{ours:?}");
    for (theirs, ours) in theirs.iter().zip(&ours) {
        assert_eq!(theirs["metric"], ours["metric"], "{expression}");
        let (theirs, ours) = (points(theirs), points(ours));
        let agree = theirs.len() == ours.len()
            && theirs.iter().zip(&ours).all(|(a, b)| a.0 == b.0 && equal(a.1, b.1));
        assert!(agree, "{expression}\nPrometheus: {theirs:?}\nTinyObs:    {ours:?}");
    }
}

fn sorted(data: &Value) -> Vec<Value> {
    let mut series = data["result"].as_array().cloned().unwrap_or_default();
    series.sort_by_key(|series| series["metric"].to_string());
    series
}

fn points(series: &Value) -> Vec<(f64, f64)> {
    let pairs = match &series["values"] {
        Value::Array(pairs) => pairs.clone(),
        _ => vec![series["value"].clone()],
    };
    let number = |value: &Value| value.as_str().and_then(|text| text.parse().ok());
    pairs
        .iter()
        .map(|pair| (pair[0].as_f64().expect("a time"), number(&pair[1]).expect("a value")))
        .collect()
}

fn equal(left: f64, right: f64) -> bool {
    left == right
        || (left.is_nan() && right.is_nan())
        || (left - right).abs() <= RELATIVE_ERROR_MAX * left.abs().max(right.abs())
}
