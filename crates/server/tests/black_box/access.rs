//! Keys and people, managed by commands beside a running server.
#![expect(clippy::disallowed_methods, reason = "tests write the files that commands read")]

use std::io::Write as _;
use std::path::Path;
use std::process::{Command, Output, Stdio};
use std::time::Duration;

use serde_json::{Value, json};

use crate::program::{TinyObs, request, wait_at_most};

/// What a running server may take to know what a command changed: it looks twice a second.
const KNOWN_WITHIN: Duration = Duration::from_secs(2);

struct Installation {
    data: tempfile::TempDir,
    server: TinyObs,
}

impl Installation {
    fn start() -> Self {
        let data = tempfile::tempdir().expect("a folder");
        let server = TinyObs::start(
            data.path(),
            &["--set", "auth.mode=keys", "--set", "collector.enabled=false"],
        );
        Self { data, server }
    }

    /// Runs a command on the state database and returns what it printed.
    fn run(&self, arguments: &[&str], input: &str) -> String {
        let output = run(self.data.path(), arguments, input);
        assert!(output.status.success(), "{arguments:?}: {}", text(&output.stderr));
        text(&output.stdout).trim_end().to_owned()
    }

    fn status(&self, path: &str, key: &str) -> u16 {
        request("GET", &format!("{}{path}", self.server.url), &[("x-api-key", key)], Vec::new()).0
    }

    fn wait_for_status(&self, path: &str, key: &str, wanted: u16) {
        wait_at_most(KNOWN_WITHIN, "the server to know", || {
            (self.status(path, key) == wanted).then_some(())
        });
    }

    fn log_in(&self, name: &str, password: &str) -> u16 {
        let body = json!({ "name": name, "password": password }).to_string();
        let headers = [("content-type", "application/json"), ("origin", self.server.url.as_str())];
        request("POST", &format!("{}/v1/session", self.server.url), &headers, body.into()).0
    }
}

fn run(data: &Path, arguments: &[&str], input: &str) -> Output {
    let mut process = Command::new(env!("CARGO_BIN_EXE_tinyobs"))
        .args(arguments)
        .arg("--data-dir")
        .arg(data)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .expect("run the program");
    // A command that refuses its arguments reads nothing.
    drop(process.stdin.take().expect("standard input").write_all(input.as_bytes()));
    process.wait_with_output().expect("its end")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

const QUERY: &str = "/api/v1/query?query=1";

#[test]
fn a_key_opens_the_running_server_until_it_is_revoked() {
    let installation = Installation::start();
    let key = installation.run(&["keys", "create", "--name", "probe", "--role", "viewer"], "");
    assert_eq!(key.len(), 64, "the key and nothing else is on standard output");
    installation.wait_for_status(QUERY, &key, 200);

    let listed: Value =
        serde_json::from_str(&installation.run(&["keys", "list", "--json"], "")).expect("JSON");
    let id = listed["keys"][0]["id"].as_str().expect("an identifier").to_owned();
    let kept = (&listed["keys"][0]["name"], &listed["keys"][0]["tenant"]);
    assert_eq!(kept, (&json!("probe"), &json!("default")));
    installation.run(&["keys", "revoke", &id], "");
    installation.wait_for_status(QUERY, &key, 401);
    assert!(!installation.run(&["keys", "list"], "").contains(&id));
    assert!(installation.run(&["keys", "list", "--all"], "").contains("revoked"));
}

#[test]
fn a_key_allows_what_it_was_made_for_and_so_does_the_one_that_replaces_it() {
    let installation = Installation::start();
    let scopes = ["--scope", "metrics:read", "--expires", "90d", "--json"];
    let create = [&["keys", "create", "--name", "reader"], &scopes[..]].concat();
    let old: Value = serde_json::from_str(&installation.run(&create, "")).expect("JSON");
    assert_eq!(old["permissions"], json!(["metrics:read"]));
    assert!(old["expires_at"].is_string(), "{old}");
    let [id, old] = ["id", "key"].map(|field| old[field].as_str().expect("a text").to_owned());
    let new = installation.run(&["keys", "rotate", &id, "--overlap", "1h"], "");
    assert_ne!(new, old);
    installation.wait_for_status(QUERY, &new, 200);
    installation.wait_for_status(QUERY, &old, 200);
    assert_eq!(installation.status("/v1/config", &new), 403);
}

#[test]
fn the_query_command_shows_the_key_that_a_file_or_the_environment_has() {
    let installation = Installation::start();
    let create = ["keys", "create", "--name", "everywhere", "--role", "viewer", "--all-tenants"];
    let key = installation.run(&create, "");
    installation.wait_for_status(QUERY, &key, 200);
    let file = installation.data.path().join("key");
    std::fs::write(&file, format!("{key}\n")).expect("write the key");
    let file = file.display().to_string();
    for (arguments, variable, expected) in [
        (vec![], "", 1),
        (vec![], key.as_str(), 0),
        (vec!["--key-file", &file], "", 0),
        (vec!["--key-file", &file, "--tenant", "default"], "", 0),
        (vec!["--key-file", &file, "--tenant", "nobody"], "", 1),
        (vec!["--key-file", "/nowhere"], key.as_str(), 2),
    ] {
        let output = Command::new(env!("CARGO_BIN_EXE_tinyobs"))
            .args(["query", "--server", &installation.server.url, "1"])
            .args(&arguments)
            .env("TINYOBS_KEY", variable)
            .output()
            .expect("run the program");
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(expected), "{arguments:?}: {complaint}");
        assert!(!complaint.contains(&key), "{complaint}");
    }
}

#[test]
fn a_person_logs_in_with_the_password_that_was_sent_last() {
    let installation = Installation::start();
    let create = ["users", "create", "--name", "ada", "--role", "viewer"];
    installation.run(&create, "first secret\n");
    assert_eq!(installation.log_in("ada", "first secret"), 204);
    installation.run(&["users", "set-password", "ada"], "second secret\n");
    assert_eq!(installation.log_in("ada", "first secret"), 401);
    assert_eq!(installation.log_in("ada", "second secret"), 204);
    let listed: Value =
        serde_json::from_str(&installation.run(&["users", "list", "--json"], "")).expect("JSON");
    assert_eq!(listed["users"][0]["name"], "ada");
    assert!(listed["users"][0]["last_login_at"].is_string());
}

#[test]
fn what_cannot_be_done_says_why_by_its_exit_code() {
    let installation = Installation::start();
    let elsewhere = tempfile::tempdir().expect("a folder");
    let (here, nowhere) = (installation.data.path(), elsewhere.path());
    for (data, arguments, input, code, said) in [
        (nowhere, vec!["keys", "list"], "", 2, "no state database"),
        (here, vec!["keys", "create", "--name", "x"], "", 2, "--role"),
        (here, vec!["keys", "create", "--name", "", "--role", "viewer"], "", 2, "name"),
        (here, vec!["keys", "create", "--name", "x", "--role", "root"], "", 2, "unknown"),
        (
            here,
            vec!["keys", "create", "--name", "x", "--role", "viewer", "--tenant", "nobody"],
            "",
            1,
            "nobody",
        ),
        (here, vec!["keys", "revoke", "no-such-key"], "", 1, "no-such-key"),
        (here, vec!["users", "create", "--name", "x", "--role", "viewer"], "", 2, "empty"),
        (here, vec!["users", "create", "--name", "x", "--role", "viewer"], "short", 2, "password"),
        (here, vec!["users", "set-password", "nobody"], "long enough", 1, "nobody"),
    ] {
        let output = run(data, &arguments, input);
        let complaint = text(&output.stderr);
        assert_eq!(output.status.code(), Some(code), "{arguments:?}: {complaint}");
        assert!(complaint.contains(said), "{arguments:?}: {complaint}");
        assert!(output.stdout.is_empty(), "{arguments:?}: {}", text(&output.stdout));
    }
    assert!(!nowhere.join("state.sqlite").exists(), "a mistyped folder stays as it is");
}
