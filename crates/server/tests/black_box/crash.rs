//! What was acknowledged survives `kill -9`.

use std::collections::BTreeMap;

use ingest::{Compression, LabelArena, decode_remote_write_v1, decompress};
use model::Labels;
use serde_json::Value;

use crate::peers::Prometheus;
use crate::program::{TinyObs, wait_for};
use crate::recorder::Recorder;

/// How often the program is killed under load.
const KILLS: usize = 3;

/// Acknowledged requests between two kills.
const REQUESTS_BETWEEN_KILLS: usize = 8;

/// Every acknowledged sample: labels and time to the value's bits.
type Samples = BTreeMap<(String, i64), u64>;

#[test]
fn every_sample_acknowledged_before_a_kill_is_there_after_the_restart() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("data");
    let arguments = ["--set", "collector.enabled=false"];
    let mut server = TinyObs::start(&data, &arguments);
    let recorder = Recorder::start(&server.url);
    let Some(_prometheus) = Prometheus::start(folder.path(), &recorder.url) else { return };

    for _ in 0..KILLS {
        let before = recorder.acknowledged().len();
        wait_for("acknowledged requests", || {
            (recorder.acknowledged().len() >= before + REQUESTS_BETWEEN_KILLS).then_some(())
        });
        server.kill();
        server = TinyObs::start(&data, &arguments);
        recorder.retarget(&server.url);
    }

    let acknowledged = decode(&recorder.acknowledged());
    assert!(acknowledged.len() > 1_000, "the load was real: {}", acknowledged.len());
    let stored = stored(&server, &acknowledged);
    let lost: Vec<_> =
        acknowledged.iter().filter(|(key, bits)| stored.get(*key) != Some(*bits)).take(5).collect();
    assert!(lost.is_empty(), "of {} acknowledged samples lost: {lost:?}", acknowledged.len());
}

fn decode(bodies: &[axum::body::Bytes]) -> Samples {
    let mut samples = Samples::new();
    for body in bodies {
        let body = decompress(Compression::Snappy, body, 1 << 30).expect("snappy");
        let mut arena = LabelArena::default();
        let request = decode_remote_write_v1(&body, &mut arena).expect("remote write");
        for series in request.batch.series() {
            let labels = series.key.decode().expect("labels");
            for sample in series.samples {
                // Staleness markers are stored, but no query shows them.
                if !model::is_stale(sample.value) {
                    let key = (labels.to_string(), sample.timestamp.as_millis());
                    samples.insert(key, sample.value.to_bits());
                }
            }
        }
    }
    samples
}

/// Reads back everything at the times of the given samples.
fn stored(server: &TinyObs, wanted: &Samples) -> Samples {
    let newest = wanted.keys().map(|(_, millis)| *millis).max().expect("samples");
    let time = format!("{}.{:03}", newest / 1000, newest % 1000);
    let query = [("query", r#"{__name__=~".+"}[1h]"#), ("time", time.as_str())];
    let data = server.query("/api/v1/query", &query);
    let mut samples = Samples::new();
    for series in data["result"].as_array().expect("a matrix") {
        let metric = series["metric"].as_object().expect("labels");
        let pairs =
            metric.iter().map(|(name, value)| (name.as_str(), value.as_str().unwrap_or("")));
        let labels = Labels::from_pairs(pairs).expect("labels").to_string();
        for pair in series["values"].as_array().expect("values") {
            let millis = millis_of(&pair[0]);
            let value: f64 = pair[1].as_str().expect("a text").parse().expect("a number");
            samples.insert((labels.clone(), millis), value.to_bits());
        }
    }
    samples
}

fn millis_of(seconds: &Value) -> i64 {
    let text = seconds.to_string();
    let (whole, fraction) = text.split_once('.').unwrap_or((&text, ""));
    let fraction = format!("{fraction:0<3}");
    let whole: i64 = whole.parse().expect("seconds");
    whole * 1000 + fraction.parse::<i64>().expect("milliseconds")
}
