//! Image pulls through the whole program: reported, followed, counted, kept.
#![expect(clippy::disallowed_methods, reason = "tests write the files that commands read")]

use std::path::Path;

use serde_json::{Value, json};

use crate::program::{TinyObs, request, wait_for};

/// The key of the first administrator.
const ADMIN_KEY: &str = "8b0e6d3f5a1c47f29e8d7c6b5a4f3e2d1c0b9a8f7e6d5c4b3a2f1e0d9c8b7a60";
/// Of the form that people gave Pulltrace's agents.
const TOKEN: &str = "a-token-of-Pulltrace";

/// A server that asks for keys.
struct Guarded {
    server: TinyObs,
}

impl Guarded {
    fn start(folder: &Path) -> Self {
        for (file, secret) in [("key", ADMIN_KEY), ("token", TOKEN)] {
            std::fs::write(folder.join(file), secret).expect("write a secret");
        }
        let key = format!("auth.bootstrap_admin_key_file={}", folder.join("key").display());
        let token = format!("pulls.agents.token_file={}", folder.join("token").display());
        let settings = ["--set", "auth.mode=keys", "--set", &key, "--set", &token];
        Self { server: TinyObs::start(&folder.join("data"), &settings) }
    }

    fn report(&self, authorization: &str, report: &Value) -> (u16, String) {
        let headers = [("authorization", authorization), ("content-type", "application/json")];
        let url = format!("{}/api/v1/report", self.server.url);
        let (status, body) = request("POST", &url, &headers, report.to_string().into());
        (status, String::from_utf8(body).expect("text"))
    }

    /// Reports as an agent does that was told to come again.
    fn report_until_taken(&self, report: &Value) {
        wait_for("the report to be taken", || {
            let (status, body) = self.report(&format!("Bearer {TOKEN}"), report);
            assert!(status == 200 || status == 429, "{status} {body}");
            (status == 200).then_some(())
        });
    }

    fn get(&self, path: &str) -> String {
        let url = format!("{}{path}", self.server.url);
        let (status, body) = request("GET", &url, &[("x-api-key", ADMIN_KEY)], Vec::new());
        let body = String::from_utf8(body).expect("text");
        assert_eq!(status, 200, "{path}: {body}");
        body
    }

    fn get_json(&self, path: &str) -> Value {
        serde_json::from_str(&self.get(path)).expect("JSON")
    }

    /// Returns the pulls of the log of events.
    fn events(&self) -> Vec<Value> {
        let lines = self.get("/v1/events/tail?app=tinyobs&from=earliest&follow=false");
        lines.lines().map(|line| serde_json::from_str(line).expect("JSON")).collect()
    }
}

/// What Pulltrace's agent sends: references of ingests, no name, no phase.
fn original_report(downloaded: [i64; 2]) -> Value {
    let pulls = ["a", "b"].into_iter().zip(downloaded).map(|(digit, downloaded)| {
        let reference = format!("layer-sha256:{}", digit.repeat(64));
        json!({
            "imageRef": reference,
            "layers": [{
                "digest": reference, "totalBytes": 1000, "downloadedBytes": downloaded, "totalKnown": true,
            }],
            "startedAt": "2026-02-23T21:45:20.5Z", "totalKnown": true,
        })
    });
    json!({
        "nodeName": "worker-1", "timestamp": "2026-02-23T21:45:26.123456789Z",
        "pulls": pulls.collect::<Vec<_>>(),
    })
}

#[test]
fn reports_of_an_original_agent_become_a_pull_an_event_series_and_history() {
    let folder = tempfile::tempdir().expect("a folder");
    let mut guarded = Guarded::start(folder.path());
    let report = original_report([1000, 250]);
    assert_eq!(guarded.report("Bearer wrong", &report), (401, "unauthorized\n".to_owned()));
    guarded.report_until_taken(&report);
    let pulls = guarded.get_json("/api/v1/pulls");
    let [pull] = &pulls["pulls"].as_array().expect("pulls")[..] else { panic!("{pulls}") };
    assert_eq!(pull["nodeName"], "worker-1");
    assert_eq!(pull["imageRef"], "__pulling__");
    assert_eq!((&pull["totalBytes"], &pull["downloadedBytes"]), (&json!(2000), &json!(1250)));
    assert_eq!((&pull["layerCount"], &pull["layersDone"]), (&json!(2), &json!(1)));
    let id = pull["id"].as_str().expect("an id").to_owned();

    guarded.report_until_taken(&original_report([1000, 1000]));
    guarded.report_until_taken(&json!({"nodeName": "worker-1", "pulls": null}));
    let event = wait_for("the event", || guarded.events().pop());
    assert_eq!(event["type"], "pull.completed");
    assert_eq!(event["event"]["correlationId"], id.as_str());
    assert_eq!(event["event"]["customEvent"]["intParams"]["transferred_bytes"], "2000");
    let series = |query: &str| {
        let form = serde_urlencoded::to_string([("query", query)]).expect("a form");
        let answer = guarded.get_json(&format!("/api/v1/query?{form}"));
        answer["data"]["result"][0]["value"][1].as_str().map(str::to_owned)
    };
    let completed = r#"tinyobs_node_pulls_total{node="worker-1", result="completed"}"#;
    wait_for("the series", || (series(completed)? == "1").then_some(()));
    let metrics = guarded.get("/metrics");
    for expected in ["pulltrace_pulls_total 1\n", "pulltrace_pulls_active 0\n"] {
        assert!(metrics.contains(expected), "{expected} in {metrics}");
    }

    guarded.server.kill();
    let guarded = Guarded::start(folder.path());
    let kept = guarded.get_json(&format!("/v1/pulls/{id}"));
    assert_eq!((&kept["state"], &kept["percent"]), (&json!("completed"), &json!(100.0)));
    let page = guarded.get_json("/v1/pulls?state=completed&node=worker-1");
    assert_eq!(page["pulls"][0]["id"], id.as_str());
    assert_eq!(guarded.events().len(), 1, "published once");
}
