//! The command line, from the outside.
#![expect(clippy::disallowed_methods, reason = "tests prepare and damage real files")]

use std::process::{Command, Output};

use crate::program::{TinyObs, request};

fn tinyobs(arguments: &[&str]) -> Output {
    Command::new(env!("CARGO_BIN_EXE_tinyobs")).args(arguments).output().expect("run the program")
}

fn text(bytes: &[u8]) -> String {
    String::from_utf8_lossy(bytes).into_owned()
}

#[test]
fn a_pushed_sample_is_answered_by_the_query_command_also_after_a_restart() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    let body = br#"{"metrics":[{"name":"orders","type":"gauge","value":3,"labels":{"shop":"a"}}]}"#;
    let (status, answer) =
        request("POST", &format!("{}/v1/ingest", server.url), &[], body.to_vec());
    assert_eq!((status, text(&answer).trim()), (200, r#"{"status":"success","count":1}"#));

    let output = tinyobs(&["query", "--server", &server.url, "orders"]);
    let line = text(&output.stdout);
    assert!(line.starts_with(r#"orders{shop="a"} => 3 @["#), "{line}");

    assert!(server.terminate().success());
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    let again = tinyobs(&["query", "--server", &server.url, "orders"]);
    // The time behind the value is that of the question.
    let value_of = |line: &str| line.split_once(" @").map(|(value, _)| value.to_owned());
    assert_eq!(value_of(&text(&again.stdout)), value_of(&line));
}

#[test]
fn a_bad_expression_is_a_usage_error_with_its_position() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    let output = tinyobs(&["query", "--server", &server.url, "sum("]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("1:5: parse error"), "{}", text(&output.stderr));
}

/// Sends the view of a screen under a key, and returns the status.
fn send_view(server: &TinyObs, key: &str, screen: &str) -> u16 {
    let event = format!(
        r#"{{"event":{{"appId":"shop","deviceId":"d-1","idempotencyKey":"{key}","screenView":{{"screenName":"{screen}"}}}}}}"#
    );
    let json = [("content-type", "application/json")];
    let url = format!("{}/v1/events/ingest", server.url);
    request("POST", &url, &json, event.into_bytes()).0
}

#[test]
fn what_was_sent_is_printed_by_the_tail_command_and_its_mistakes_are_usage_errors() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    for screen in ["Home", "Cart"] {
        assert_eq!(send_view(&server, screen, screen), 200);
    }
    let tail = |arguments: &[&str]| {
        tinyobs(&[&["tail", "--server", &server.url, "--from", "earliest"], arguments].concat())
    };
    // It follows until the limit.
    let output = tail(&["--limit", "2"]);
    assert!(output.status.success());
    let lines = text(&output.stdout);
    let ends: Vec<_> =
        lines.lines().filter_map(|line| Some(line.split_once(" shop ")?.1)).collect();
    assert_eq!(
        ends,
        ["screen/view d-1 {\"screenName\":\"Home\"}", "screen/view d-1 {\"screenName\":\"Cart\"}"]
    );
    let output = tail(&["--no-follow", "--json", "--path", "$.screenView[?@ == 'Cart']"]);
    let line: serde_json::Value = serde_json::from_slice(&output.stdout).expect("one line");
    assert_eq!((&line["offset"], &line["app"]), (&2.into(), &"shop".into()));

    let output = tail(&["--path", "$["]);
    assert_eq!(output.status.code(), Some(2));
    assert!(text(&output.stderr).contains("invalid parameter \"path\""), "{output:?}");
    let output = tinyobs(&["tail", "--server", "http://127.0.0.1:1"]);
    assert_eq!(output.status.code(), Some(1), "nobody is there");
}

#[test]
fn a_dead_letter_is_listed_shown_replayed_and_discarded() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    for (screen, status) in [("Home", 200), ("Cart", 409), ("Desk", 409)] {
        assert_eq!(send_view(&server, "the same key", screen), status);
    }
    let letters = |arguments: &[&str]| {
        let all = [&["dead-letters"], arguments, &["--server", &server.url]].concat();
        let output = tinyobs(&all);
        (output.status.code(), text(&output.stdout))
    };
    let (_, list) = letters(&["list", "--json"]);
    let list: serde_json::Value = serde_json::from_str(&list).expect("JSON");
    let [desk, cart] = [0, 1]
        .map(|index| list["letters"][index]["id"].as_str().expect("an identifier").to_owned());
    let (_, shown) = letters(&["show", &desk]);
    assert!(shown.contains("\"screenName\": \"Desk\""), "{shown}");
    assert_eq!(letters(&["replay", &cart]).0, Some(0));
    assert_eq!(letters(&["discard", &desk]).0, Some(0));
    assert_eq!(letters(&["discard", &desk]).0, Some(1), "it is gone");
    assert_eq!(letters(&["list"]).1.lines().count(), 1, "only the headings");
    let stored = tinyobs(&["tail", "--server", &server.url, "--no-follow"]);
    assert!(text(&stored.stdout).contains("Cart"), "the replayed one is stored");
}

#[test]
fn the_data_folder_has_one_owner_and_the_port_too() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    let folder = data.path().display().to_string();
    let second = tinyobs(&["serve", "--listen", "127.0.0.1:0", "--data-dir", &folder]);
    assert_eq!(second.status.code(), Some(1));
    assert!(text(&second.stderr).contains("lock"), "{}", text(&second.stderr));

    let other = tempfile::tempdir().expect("a folder");
    let folder = other.path().join("never-made").display().to_string();
    let address = server.url.trim_start_matches("http://");
    let third = tinyobs(&["serve", "--listen", address, "--data-dir", &folder]);
    assert_eq!(third.status.code(), Some(1));
    assert!(!other.path().join("never-made").exists(), "a taken port fails before anything starts");
}

#[test]
fn a_broken_configuration_fails_before_anything_starts() {
    let folder = tempfile::tempdir().expect("a folder");
    let data = folder.path().join("never-made");
    let data_dir = data.display().to_string();
    for settings in [
        ["--set", "query.timeout=soon", "--set", "speed=11"],
        ["--set", "server.listen=0.0.0.0:0", "--set", "auth.mode=local"],
    ] {
        let mut arguments = vec!["serve", "--listen", "127.0.0.1:0", "--data-dir", &data_dir];
        if settings.contains(&"server.listen=0.0.0.0:0") {
            arguments.drain(1..3);
        }
        arguments.extend(settings);
        let output = tinyobs(&arguments);
        assert_eq!(output.status.code(), Some(2), "{settings:?}: {}", text(&output.stderr));
        assert!(!data.exists(), "{settings:?}");
    }
}

#[test]
fn check_config_reports_all_mistakes_with_their_paths() {
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("tinyobs.yaml");
    let text_of_file = "metrics:\n  durability: maybe\nspeed: 11\n";
    std::fs::write(&file, text_of_file).expect("write the file");
    let file = file.display().to_string();
    let output = tinyobs(&["check", "config", &file]);
    assert_eq!(output.status.code(), Some(2));
    let complaint = text(&output.stderr);
    assert!(complaint.contains("2 mistakes"), "{complaint}");
    assert!(complaint.contains("metrics.durability") && complaint.contains("speed"), "{complaint}");

    std::fs::write(&file, "log:\n  level: debug\n").expect("write the file");
    assert!(tinyobs(&["check", "config", &file]).status.success());
}

#[test]
fn verify_finds_nothing_in_a_sound_folder_and_names_a_damaged_file() {
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--set", "collector.enabled=false"]);
    for value in 0..3 {
        let body = format!(r#"{{"metrics":[{{"name":"orders","value":{value}}}]}}"#);
        let (status, _) = request("POST", &format!("{}/v1/ingest", server.url), &[], body.into());
        assert_eq!(status, 200);
    }
    assert!(server.terminate().success());
    let folder = data.path().display().to_string();
    let sound = tinyobs(&["verify", "--data-dir", &folder]);
    assert_eq!(sound.status.code(), Some(0), "{}", text(&sound.stdout));

    let segment = first_segment(&data.path().join("tenants/default/metrics"));
    let mut bytes = std::fs::read(&segment).expect("read");
    let middle = bytes.len() / 2;
    bytes[middle] ^= 0x40;
    std::fs::write(&segment, bytes).expect("write");
    let damaged = tinyobs(&["verify", "--data-dir", &folder]);
    assert_eq!(damaged.status.code(), Some(3), "{}", text(&damaged.stdout));
    let name = segment.file_name().expect("a name").to_string_lossy().into_owned();
    assert!(text(&damaged.stdout).contains(&name), "{}", text(&damaged.stdout));
}

/// Returns the journal's first segment: the largest file below the folder of an idle, young store.
fn first_segment(folder: &std::path::Path) -> std::path::PathBuf {
    let mut files = Vec::new();
    let mut folders = vec![folder.to_owned()];
    while let Some(folder) = folders.pop() {
        for entry in std::fs::read_dir(folder).expect("list") {
            let path = entry.expect("an entry").path();
            if path.is_dir() { folders.push(path) } else { files.push(path) }
        }
    }
    files.into_iter().max_by_key(|file| file.metadata().map_or(0, |m| m.len())).expect("a file")
}
