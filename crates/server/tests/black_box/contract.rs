//! The program keeps what its OpenAPI document says, whatever it is sent: asked by schemathesis.
#![expect(clippy::disallowed_methods, reason = "the key of the test is in a real file")]

use std::path::PathBuf;
use std::process::Command;

use crate::peers::announce;
use crate::program::TinyObs;

/// The key that opens everything.
const KEY: &str = "6f1c8a0d5b7e49328c1e7f60a2d4b59386e1f7c2d0a94b5e8f3c6d7a1b2e4f90";

/// Generated requests per operation, beside those that walk through every parameter's bounds.
const EXAMPLES: &str = "15";

/// What is not asked, with the reason.
const EXCEPTIONS: [[&str; 2]; 2] = [
    // It answers only after it has watched the program for as long as it is asked to.
    ["--exclude-path", "/debug/pprof/profile"],
    // Whether a text is PromQL, a time, a role or the name of a tenant, no schema can say: such requests are refused
    // with 400, and that is documented.
    ["--exclude-checks", "positive_data_acceptance"],
];

#[test]
fn every_answer_is_one_that_the_openapi_document_promises() {
    let Some(schemathesis) = schemathesis() else {
        announce("skipped: schemathesis is not installed (scripts/install.sh test)");
        return;
    };
    let folder = tempfile::tempdir().expect("a folder");
    let file = folder.path().join("key");
    std::fs::write(&file, KEY).expect("write the key");
    let key_file = format!("auth.bootstrap_admin_key_file={}", file.display());
    let settings = [
        "auth.mode=keys",
        &key_file,
        "collector.enabled=false",
        // What is asked is whether answers are right, not how many there are.
        "limits.address.requests_per_second=0",
        "limits.address.logins_per_second=0",
        "log.level=error",
    ];
    let arguments: Vec<&str> = settings.iter().flat_map(|setting| ["--set", setting]).collect();
    let server = TinyObs::start(&folder.path().join("data"), &arguments);
    let hooks = concat!(env!("CARGO_MANIFEST_DIR"), "/tests/black_box/contract_hooks.py");
    let output = Command::new(schemathesis)
        .arg("run")
        .arg(format!("{}/v1/openapi.json", server.url))
        .args(["--header", &format!("X-API-Key: {KEY}")])
        .args(["--checks", "all", "--phases", "examples,coverage,fuzzing"])
        .args(EXCEPTIONS.as_flattened())
        // It never ends; what it says is checked against its own schema in the tests of `api`.
        .args(["--exclude-path", "/api/v1/events"])
        .args(["--max-examples", EXAMPLES, "--seed", "1", "--generation-deterministic"])
        .args([
            "--request-timeout",
            "60",
            "--max-response-time",
            "60",
            "--continue-on-failure",
            "--no-color",
        ])
        .env("SCHEMATHESIS_HOOKS", hooks)
        // Nothing is written beside the sources.
        .env("PYTHONDONTWRITEBYTECODE", "1")
        .current_dir(folder.path())
        .output()
        .expect("run schemathesis");
    let report = String::from_utf8_lossy(&output.stdout);
    assert!(output.status.success(), "{report}{}", String::from_utf8_lossy(&output.stderr));
    let summary = report.lines().find(|line| line.contains(" generated, ")).unwrap_or_default();
    println!("contract: {}", summary.trim());
    assert!(server.terminate().success(), "the program is still well");
}

/// Returns schemathesis where `scripts/install.sh test` puts it, if it is there.
fn schemathesis() -> Option<PathBuf> {
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from);
    let home = || Some(PathBuf::from(std::env::var_os("HOME")?).join(".cache"));
    let program = cache.or_else(home)?.join("tinyobs/venv/bin/schemathesis");
    program.is_file().then_some(program)
}
