//! What Pulltrace's agents send is understood, and what ours send is understood by Pulltrace's servers.

mod original;

use platform::Timestamp;
use proptest::prelude::*;

use super::*;
use crate::{Confidence, LayerPhase, LayerReport, PullPhase, PullReport, Report, Source};

fn read(json: &str) -> Report {
    Report::from_json(json.as_bytes()).unwrap_or_else(|error| panic!("{json}: {error}"))
}

fn refused(json: impl AsRef<[u8]>) -> ReportError {
    let json = json.as_ref();
    match Report::from_json(json) {
        Err(error) => error,
        Ok(_) => panic!("accepted: {}", String::from_utf8_lossy(json)),
    }
}

fn millis(millis: i64) -> Option<Timestamp> {
    Some(Timestamp::from_millis(millis))
}

/// A report in which every field says something.
pub(super) fn full() -> Report {
    let layer = |digest: char, phase| LayerReport {
        digest: format!("sha256:{}", digest.to_string().repeat(64)),
        media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
        total_bytes: 67_108_864,
        downloaded_bytes: 33_554_432,
        total_known: true,
        phase: Some(phase),
        resumed_bytes: 1_024,
        started_at: millis(1_771_883_120_600),
        completed_at: millis(1_771_883_125_700),
    };
    let layers = vec![
        layer('a', LayerPhase::Cached),
        layer('b', LayerPhase::Downloading),
        LayerReport { digest: format!("sha256:{}", "c".repeat(64)), ..LayerReport::default() },
    ];
    let pull = PullReport {
        image_ref: "docker.io/library/nginx:1.27".to_owned(),
        layers,
        started_at: millis(1_771_883_120_500),
        total_known: true,
        id: "k8s.io/lease-1".to_owned(),
        phase: Some(PullPhase::Failed),
        error: "connection reset".to_owned(),
        ended_at: millis(1_771_883_126_000),
        digest: format!("sha256:{}", "d".repeat(64)),
        manifest_digest: format!("sha256:{}", "e".repeat(64)),
        confidence: Some(Confidence::Likely),
        candidates: vec!["docker.io/library/nginx".to_owned()],
        indirect: true,
    };
    Report {
        node_name: "worker-1".to_owned(),
        timestamp: millis(1_771_883_126_123),
        pulls: vec![pull, PullReport::default()],
        cluster: "east".to_owned(),
        agent_version: "0.1.0".to_owned(),
        agent_started: millis(1_771_800_000_000),
        sequence: 7,
        interval_ms: 1_000,
        runtime: "containerd 1.7.24".to_owned(),
        source: Source::Containerd,
        error: "containerd does not answer".to_owned(),
    }
}

#[test]
fn an_idle_agent_of_pulltrace_is_understood() {
    let report = read(include_str!("tests/original-idle.json"));
    let expected = Report {
        node_name: "worker-1".to_owned(),
        timestamp: millis(1_771_883_126_123),
        ..Report::default()
    };
    assert_eq!(report, expected);
}

#[test]
fn a_busy_agent_of_pulltrace_is_understood() {
    let report = read(include_str!("tests/original-busy.json"));
    let layer = |digest: &str, total_bytes, downloaded_bytes| LayerReport {
        digest: digest.to_owned(),
        total_bytes,
        downloaded_bytes,
        total_known: total_bytes > 0,
        ..LayerReport::default()
    };
    let pull = |image_ref: &str, layers: Vec<LayerReport>, started_at| PullReport {
        image_ref: image_ref.to_owned(),
        total_known: layers.iter().all(|layer| layer.total_known),
        layers,
        started_at,
        ..PullReport::default()
    };
    let half = "layer-sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    let open = "layer-sha256:0000000000000000000000000000000000000000000000000000000000000001";
    let config = "config-sha256:0000000000000000000000000000000000000000000000000000000000000002";
    assert_eq!(
        report.pulls,
        vec![
            pull(open, vec![layer(open, 0, 12)], millis(1_771_879_521_000)),
            pull(half, vec![layer(half, 67_108_864, 33_554_432)], millis(1_771_883_120_500)),
            pull(config, vec![layer(config, 7_017, 7_017)], None),
            pull("unpack-sha512:abc", Vec::new(), None),
        ]
    );
}

#[test]
fn the_rules_of_go_hold() {
    let check = |json: &str, expected: Report| assert_eq!(read(json), expected, "{json}");
    let node = || Report { node_name: "n".to_owned(), ..Report::default() };

    // Names in any case, with the two characters beside ASCII that fold into it.
    check(r#"{"NODENAME":"n"}"#, node());
    check(r#"{"nodename":"n","ERROR":"e"}"#, Report { error: "e".to_owned(), ..node() });
    check(
        "{\"nodeName\":\"n\",\"pull\u{17F}\":[{\"to\u{74}al\u{212A}nown\":true}]}",
        Report { pulls: vec![PullReport { total_known: true, ..PullReport::default() }], ..node() },
    );
    check(r#"{"\u006eodeName":"n"}"#, node());

    // Nothing, `null`, unknown, twice.
    check(r#"{"nodeName":"n","timestamp":null,"pulls":null,"cluster":null}"#, node());
    check(r#"{"nodeName":"n","nodeName":null}"#, node());
    check(r#"{"nodeName":"m","nodeName":"n"}"#, node());
    check(r#"{"nodeName":"n","pulls":[{},{}],"pulls":[]}"#, node());
    check(r#"{"nodeName":"n","pulls":[{}],"pulls":null}"#, node());
    check(r#"{"x":{"pulls":[1e999,"\ud800",[{}]]},"nodeName":"n","":1}"#, node());
    check(
        r#"{"nodeName":"n","pulls":[null,{"layers":[null]}]}"#,
        Report {
            pulls: vec![
                PullReport::default(),
                PullReport { layers: vec![LayerReport::default()], ..PullReport::default() },
            ],
            ..node()
        },
    );

    // The first value counts.
    check("{\"nodeName\":\"n\"} {\"nodeName\":\"m\"}", node());
    check(" \r\n\t{\"nodeName\":\"n\"}]]] trailing", node());

    // Words of ours that are not known.
    check(
        r#"{"nodeName":"n","source":"sky","pulls":[{"phase":"asleep","confidence":"no","layers":[{"phase":""}]}]}"#,
        Report {
            pulls: vec![PullReport {
                layers: vec![LayerReport::default()],
                ..PullReport::default()
            }],
            ..node()
        },
    );

    // Halves of characters.
    let named = |name: &str| Report { node_name: name.to_owned(), ..Report::default() };
    check(r#"{"nodeName":"\ud83d\ude00"}"#, named("😀"));
    check(
        r#"{"nodeName":"a\ud800b\uDC00\ud83d\ud83d\ude00"}"#,
        named("a\u{FFFD}b\u{FFFD}\u{FFFD}😀"),
    );
    check(r#"{"nodeName":"\\ud800"}"#, named(r"\ud800"));
}

#[test]
fn bytes_that_are_not_utf_8_are_replaced_one_by_one() {
    let report = Report::from_json(b"{\"nodeName\":\"a\xFF\xE2\x82z\"}\xFF").expect("as Go");
    assert_eq!(report.node_name, "a\u{FFFD}\u{FFFD}\u{FFFD}z");
}

#[test]
fn byte_counts_are_integers_of_64_bits() {
    let check = |number: &str, expected: Option<i64>| {
        let json =
            format!(r#"{{"nodeName":"n","pulls":[{{"layers":[{{"totalBytes":{number}}}]}}]}}"#);
        match expected {
            Some(expected) => assert_eq!(read(&json).pulls[0].layers[0].total_bytes, expected),
            None => assert!(matches!(refused(&json), ReportError::Json(_)), "{number}"),
        }
    };
    check("9223372036854775807", Some(i64::MAX));
    check("-9223372036854775808", Some(i64::MIN));
    check("-1", Some(-1));
    check("-0", Some(0));
    for wrong in [
        "1.0",
        "1e3",
        "0.0",
        "\"1\"",
        "9223372036854775808",
        "-9223372036854775809",
        "true",
        "[]",
        "01",
    ] {
        check(wrong, None);
    }
}

#[test]
fn what_is_not_a_report_is_refused() {
    for json in [
        "",
        " ",
        "[]",
        "3",
        "\"a\"",
        "{",
        r#"{"nodeName":"n""#,
        r#"{"nodeName":7}"#,
        r#"{"nodeName":"n","pulls":{}}"#,
        r#"{"nodeName":"n","pulls":[1]}"#,
        r#"{"nodeName":"n","timestamp":1}"#,
        r#"{"nodeName":"n","timestamp":""}"#,
        r#"{"nodeName":"n","pulls":[{"totalKnown":"true"}]}"#,
        r#"{"nodeName":"n","pulls":[{"layers":""}]}"#,
        "{\"nodeName\":\"a\nb\"}",
        "\u{FEFF}{\"nodeName\":\"n\"}",
    ] {
        assert!(matches!(refused(json), ReportError::Json(_)), "{json}");
    }
    assert!(matches!(refused("null"), ReportError::NodeName { bytes: 0 }));
    assert!(matches!(refused("{}"), ReportError::NodeName { bytes: 0 }));
    assert!(matches!(refused([0x1F, 0x8B, 0x08, 0x00]), ReportError::Json(_)));
}

#[test]
fn names_of_nodes_and_clusters_have_a_limit() {
    let named = |name: &str| format!(r#"{{"nodeName":"{name}"}}"#);
    assert_eq!(read(&named(&"n".repeat(253))).node_name.len(), 253);
    assert!(matches!(refused(named(&"n".repeat(254))), ReportError::NodeName { .. }));
    assert!(matches!(refused(named(&"😀".repeat(64))), ReportError::NodeName { bytes: 256 }));
    let cluster = |bytes| format!(r#"{{"nodeName":"n","cluster":"{}"}}"#, "c".repeat(bytes));
    assert_eq!(read(&cluster(253)).cluster.len(), 253);
    assert!(matches!(refused(cluster(254)), ReportError::Cluster));
}

#[test]
fn pulls_and_layers_have_limits() {
    let list = |item: &str, count| vec![item; count].join(",");
    let pulls = |pulls: &str| format!(r#"{{"nodeName":"n","pulls":[{pulls}]}}"#);
    let with_layers = |count| format!(r#"{{"layers":[{}]}}"#, list("{}", count));

    assert_eq!(read(&pulls(&list("{}", 1_000))).pulls.len(), 1_000);
    assert!(matches!(refused(pulls(&list("{}", 1_001))), ReportError::TooManyPulls));
    assert_eq!(read(&pulls(&with_layers(1_000))).pulls[0].layers.len(), 1_000);
    assert!(matches!(refused(pulls(&with_layers(1_001))), ReportError::TooManyLayers));
    let all = list(&with_layers(1_000), 20);
    assert_eq!(read(&pulls(&all)).pulls.len(), 20);
    assert!(matches!(
        refused(pulls(&format!("{all},{}", with_layers(1)))),
        ReportError::TooManyLayers
    ));
    // Of a list that comes twice only the last one counts.
    let json = format!(r#"{{"nodeName":"n","pulls":[{all}],"pulls":[{all}]}}"#);
    assert_eq!(read(&json).pulls.len(), 20);
}

#[test]
fn long_texts_are_cut_between_characters() {
    let pull = |field: &str, text: &str| {
        let json = format!(r#"{{"nodeName":"n","pulls":[{{"{field}":"{text}"}}]}}"#);
        read(&json).pulls.remove(0)
    };
    assert_eq!(pull("imageRef", &"x".repeat(513)).image_ref, "x".repeat(512));
    assert_eq!(pull("imageRef", &"€".repeat(171)).image_ref, "€".repeat(170));
    assert_eq!(pull("id", &"x".repeat(512)).id.len(), 512);
    assert_eq!(pull("error", &"x".repeat(1_025)).error, "x".repeat(1_024));
    let names = vec!["\"a\""; 33].join(",");
    let json = format!(r#"{{"nodeName":"n","pulls":[{{"candidates":[{names}]}}]}}"#);
    assert_eq!(read(&json).pulls[0].candidates.len(), 32);
}

#[test]
fn the_form_on_the_wire_stays() {
    let written = String::from_utf8(full().to_json()).expect("text");
    let expected = include_str!("tests/full.json");
    let value = |json: &str| serde_json::from_str::<serde_json::Value>(json).expect("JSON");
    assert_eq!(value(&written), value(expected), "{written}");
    assert_eq!(read(expected), full());
}

#[test]
fn an_idle_agent_writes_what_pulltrace_expects_and_its_version() {
    let report = Report { node_name: "n".to_owned(), ..Report::default() };
    let expected =
        r#"{"nodeName":"n","timestamp":"0001-01-01T00:00:00Z","pulls":[],"schemaVersion":2}"#;
    assert_eq!(String::from_utf8(report.to_json()).expect("text"), expected);
}

/// The published schema.
fn schema() -> serde_json::Value {
    let schema = include_str!("../../../../docs/schemas/agent-report-v1.json");
    serde_json::from_str(schema).expect("JSON")
}

thread_local! {
    static SCHEMA: jsonschema::Validator =
        jsonschema::draft7::options().offline().build(&schema()).expect("a schema");
}

fn assert_fits_the_schema(report: &Report) {
    let json = serde_json::from_slice(&report.to_json()).expect("JSON");
    SCHEMA.with(|schema| {
        let errors: Vec<String> =
            schema.iter_errors(&json).map(|error| error.to_string()).collect();
        assert!(errors.is_empty(), "{errors:?}");
    });
}

#[test]
fn the_published_schema_has_every_field_that_is_written_and_no_other() {
    assert_fits_the_schema(&full());
    let schema = schema();
    let written: serde_json::Value = serde_json::from_slice(&full().to_json()).expect("JSON");
    let check = |written: &serde_json::Value, described: &serde_json::Value| {
        let names = |object: &serde_json::Value| {
            let object = object.as_object().expect("an object");
            object.keys().cloned().collect::<std::collections::BTreeSet<_>>()
        };
        assert_eq!(names(written), names(&described["properties"]));
    };
    check(&written, &schema);
    check(&written["pulls"][0], &schema["definitions"]["pull"]);
    check(&written["pulls"][0]["layers"][0], &schema["definitions"]["layer"]);
}

proptest! {
    #![proptest_config(ProptestConfig::with_cases(32))]

    #[test]
    fn whatever_is_written_fits_the_published_schema(report in reports()) {
        assert_fits_the_schema(&report);
    }
}

#[test]
fn the_committed_corpus_is_read_without_a_panic() {
    let corpus: [(&str, &[u8]); 6] = [
        ("idle", include_bytes!("../../../../fuzz/corpus/pull_report/idle")),
        ("busy", include_bytes!("../../../../fuzz/corpus/pull_report/busy")),
        ("full", include_bytes!("../../../../fuzz/corpus/pull_report/full")),
        ("halves", include_bytes!("../../../../fuzz/corpus/pull_report/halves-of-characters")),
        ("not UTF-8", include_bytes!("../../../../fuzz/corpus/pull_report/not-utf-8")),
        ("cut off", include_bytes!("../../../../fuzz/corpus/pull_report/cut-off")),
    ];
    for (name, bytes) in corpus {
        assert_eq!(Report::from_json(bytes).is_ok(), name != "cut off", "{name}");
    }
}

fn text() -> impl Strategy<Value = String> {
    prop_oneof![Just(String::new()), "[a-z/:.@-]{1,40}", "\\PC{0,20}", any::<String>()]
}

fn time() -> impl Strategy<Value = Option<Timestamp>> {
    proptest::option::of(
        (-62_104_060_800_000_i64..=253_402_300_799_999).prop_map(Timestamp::from_millis),
    )
}

fn word<T: Clone + std::fmt::Debug + 'static>(
    all: &'static [T],
) -> impl Strategy<Value = Option<T>> {
    proptest::option::of(proptest::sample::select(all))
}

prop_compose! {
    fn layers()(
        (digest, media_type) in (text(), text()),
        (total_bytes, downloaded_bytes, resumed_bytes) in any::<(i64, i64, i64)>(),
        total_known in any::<bool>(),
        phase in word(LayerPhase::ALL),
        (started_at, completed_at) in (time(), time()),
    ) -> LayerReport {
        LayerReport {
            digest, media_type, total_bytes, downloaded_bytes, total_known, phase, resumed_bytes, started_at, completed_at,
        }
    }
}

prop_compose! {
    fn pulls()(
        (image_ref, id, error, digest, manifest_digest) in (text(), text(), text(), text(), text()),
        layers in proptest::collection::vec(layers(), 0..4),
        (started_at, ended_at) in (time(), time()),
        (total_known, indirect) in any::<(bool, bool)>(),
        phase in word(PullPhase::ALL),
        confidence in word(Confidence::ALL),
        candidates in proptest::collection::vec(text(), 0..3),
    ) -> PullReport {
        PullReport {
            image_ref, layers, started_at, total_known, id, phase, error, ended_at, digest, manifest_digest, confidence,
            candidates, indirect,
        }
    }
}

prop_compose! {
    fn reports()(
        node_name in "[a-z.-]{1,253}",
        (timestamp, agent_started) in (time(), time()),
        pulls in proptest::collection::vec(pulls(), 0..4),
        (cluster, agent_version, runtime, error) in ("[a-z]{0,9}", text(), text(), text()),
        (sequence, interval_ms) in any::<(u64, u64)>(),
        source in proptest::sample::select(Source::ALL),
    ) -> Report {
        Report {
            node_name, timestamp, pulls, cluster, agent_version, agent_started, sequence, interval_ms, runtime, source, error,
        }
    }
}

proptest! {
    #[test]
    fn what_is_written_is_read_again(report in reports()) {
        prop_assert_eq!(Report::from_json(&report.to_json()).expect("our own"), report);
    }

    #[test]
    fn nothing_makes_it_panic(bytes in proptest::collection::vec(any::<u8>(), 0..200)) {
        drop(Report::from_json(&bytes));
    }

    #[test]
    fn nothing_that_was_damaged_makes_it_panic(at in any::<prop::sample::Index>(), byte in any::<u8>()) {
        let mut json = full().to_json();
        let at = at.index(json.len());
        json[at] = byte;
        drop(Report::from_json(&json));
    }
}
