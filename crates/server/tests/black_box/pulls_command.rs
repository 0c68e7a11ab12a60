//! Image pulls in a terminal, from what an agent reports.

use std::io::{BufRead as _, BufReader};
use std::process::{Command, Output, Stdio};

use serde_json::{Value, json};

use crate::program::{Process, TinyObs, request, wait_for};

const PROGRAM: &str = env!("CARGO_BIN_EXE_tinyobs");

/// Reports a pull that is as far as it says.
fn report(server: &TinyObs, phase: &str, downloaded: u64) {
    let report = json!({
        "nodeName": "worker-1",
        "timestamp": "2026-01-15T10:30:00Z",
        "pulls": [{
            "id": "lease-1", "imageRef": "docker.io/library/nginx:1.27", "confidence": "certain", "phase": phase,
            "startedAt": "2026-01-15T10:29:00Z", "totalKnown": true,
            "layers": [{
                "digest": format!("sha256:{}", "a".repeat(64)), "totalBytes": 4096, "downloadedBytes": downloaded,
                "totalKnown": true, "phase": if downloaded == 4096 { "done" } else { "downloading" },
            }],
        }],
    });
    let url = format!("{}/api/v1/report", server.url);
    // A node may not report twice at once.
    wait_for("the report to be taken", || {
        (request("POST", &url, &[], report.to_string().into_bytes()).0 == 200).then_some(())
    });
}

fn lines(output: &Output) -> Vec<String> {
    assert!(output.status.success(), "{}", String::from_utf8_lossy(&output.stderr));
    let text = String::from_utf8_lossy(&output.stdout);
    text.lines().map(|line| line.split_whitespace().collect::<Vec<_>>().join(" ")).collect()
}

#[test]
fn what_an_agent_reports_is_shown_in_a_terminal_and_by_the_plugin_of_kubectl() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    report(&server, "downloading", 1024);

    let pulls = |arguments: &[&str]| {
        let mut command = Command::new(PROGRAM);
        command.arg("pulls").args(arguments).env("TINYOBS_URL", &server.url);
        command.output().expect("run the program")
    };
    let headings = "IMAGE NODE STATE DONE SIZE SPEED TIME LAYERS DETAILS";
    let shown = lines(&pulls(&["--once"]));
    assert_eq!(shown[0], headings);
    assert!(
        shown[1].starts_with("nginx:1.27 worker-1 downloading 25% 1.0 KiB/4.0 KiB "),
        "{shown:?}"
    );
    assert_eq!(lines(&pulls(&["--node", "worker-2"])), [headings]);
    let json = pulls(&["--json", "--image", "NGINX"]);
    let json: Value = serde_json::from_slice(&json.stdout).expect("JSON");
    assert_eq!(json["pulls"][0]["imageRef"], "docker.io/library/nginx:1.27");
    assert_eq!(lines(&pulls(&["pods"])), ["NAMESPACE POD NODE CONTAINER IMAGE WAITS FOR"]);
    let refused = pulls(&["--state", "nonsense"]);
    assert_eq!(refused.status.code(), Some(2), "{}", String::from_utf8_lossy(&refused.stderr));

    // By another name it is a plugin.
    let plugin = data.path().join("kubectl-pulls");
    std::os::unix::fs::symlink(PROGRAM, &plugin).expect("a link");
    let nodes = Command::new(&plugin).args(["nodes", "--server", &server.url]).output();
    let nodes = lines(&nodes.expect("run the plugin"));
    assert!(nodes[1].starts_with("worker-1 - - - yes 1 "), "{nodes:?}");

    // Followed without a terminal, each step is a line.
    let mut command = Command::new(PROGRAM);
    command.args(["pulls", "--watch", "--server", &server.url]).stdout(Stdio::piped());
    let (_follower, output) = Process::start_with_output(&mut command);
    let mut steps = BufReader::new(output).lines();
    let mut next = || steps.next().expect("a step").expect("a line");
    let step = next();
    assert!(step.ends_with("Z worker-1 nginx:1.27 downloading 1.0 KiB/4.0 KiB"), "{step}");
    report(&server, "completed", 4096);
    let step = next();
    assert!(step.ends_with("Z worker-1 nginx:1.27 done 4.0 KiB"), "{step}");

    let ended = wait_for("the pull in the history", || {
        let history = lines(&pulls(&["--history", "--state", "completed", "--limit", "5"]));
        history.get(1).cloned()
    });
    assert!(ended.starts_with("nginx:1.27 worker-1 done 100% 4.0 KiB - "), "{ended}");
}
