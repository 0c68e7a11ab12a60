//! The program as the manifests of `deploy/` start it.
#![expect(clippy::disallowed_methods, reason = "tests prepare real files")]

use serde_json::Value;

use crate::program::{TinyObs, request};

const MANIFESTS: &str = include_str!("../../../../deploy/kubernetes/server.yaml");
const ADMIN_KEY: &str = "6a1f0e3b9c2d4857a1b2c3d4e5f60718293a4b5c6d7e8f90a1b2c3d4e5f60719";
const TOKEN: &str = "a-token-of-agents-in-a-test";

fn objects() -> Vec<Value> {
    serde_saphyr::from_multiple(MANIFESTS).expect("manifests")
}

fn of_kind<'a>(objects: &'a [Value], kind: &str) -> &'a Value {
    objects.iter().find(|object| object["kind"] == kind).unwrap_or_else(|| panic!("a {kind}"))
}

#[test]
fn the_program_runs_as_the_manifests_start_it() {
    let objects = objects();
    let container = &of_kind(&objects, "StatefulSet")["spec"]["template"]["spec"]["containers"][0];
    let folder = tempfile::tempdir().expect("a folder");
    let at = |name: &str| folder.path().join(name).display().to_string();
    std::fs::create_dir(folder.path().join("keys")).expect("a folder");
    std::fs::write(folder.path().join("keys/admin-key"), ADMIN_KEY).expect("a file");
    std::fs::write(folder.path().join("keys/agent-token"), TOKEN).expect("a file");
    let config = of_kind(&objects, "ConfigMap")["data"]["tinyobs.yaml"].as_str().expect("a file");
    std::fs::write(folder.path().join("tinyobs.yaml"), config).expect("a file");

    // What it mounts lies elsewhere here, and the port is taken by others.
    let environment = container["env"].as_array().expect("a list").iter().map(|variable| {
        let name = variable["name"].as_str().expect("a name").to_owned();
        let value = variable["value"].as_str().expect("a value");
        (name, value.replace("/etc/tinyobs/keys", &at("keys")))
    });
    let arguments = container["args"].as_array().expect("a list").iter();
    let arguments: Vec<String> = arguments
        .map(|argument| argument.as_str().expect("text"))
        .map(|argument| argument.replace("/etc/tinyobs/config", &at("")))
        .collect();
    let (serve, rest) = arguments.split_first().expect("a command");
    assert_eq!(serve, "serve");
    let rest: Vec<&str> = rest.iter().map(String::as_str).collect();
    let server = TinyObs::start_in(&folder.path().join("data"), &rest, environment);

    for probe in ["startupProbe", "livenessProbe", "readinessProbe"] {
        let path = container[probe]["httpGet"]["path"].as_str().expect("a path");
        let (status, answer) = request("GET", &format!("{}{path}", server.url), &[], Vec::new());
        assert_eq!(status, 200, "{probe}: {}", String::from_utf8_lossy(&answer));
    }
    let report = br#"{"nodeName":"worker-1","timestamp":"2026-01-15T10:30:00Z","pulls":null}"#;
    let send = |key: &str| {
        let url = format!("{}/api/v1/report", server.url);
        request("POST", &url, &[("authorization", key)], report.to_vec()).0
    };
    assert_eq!(send("Bearer another-token-of-agents"), 401);
    assert_eq!(send(&format!("Bearer {TOKEN}")), 200);
    let nodes = |key: &str| {
        let url = format!("{}/v1/pulls/nodes", server.url);
        request("GET", &url, &[("authorization", key)], Vec::new())
    };
    assert_eq!(nodes(&format!("Bearer {TOKEN}")).0, 403);
    let (status, answer) = nodes(&format!("Bearer {ADMIN_KEY}"));
    let answer: Value = serde_json::from_slice(&answer).expect("JSON");
    assert_eq!((status, &answer["nodes"][0]["node"]), (200, &"worker-1".into()));
    assert!(server.terminate().success());
}
