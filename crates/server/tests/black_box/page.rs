//! The page in a real browser, served by the real program.
#![expect(clippy::disallowed_methods, reason = "looks for the page's build and keeps its pictures")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers::{announce, is_installed};
use crate::program::TinyObs;

#[test]
fn a_browser_sees_live_charts_types_a_query_and_switches_the_theme() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let web = root.join("web");
    if !is_installed("chromium") || !web.join("dist/index.html").is_file() {
        announce(
            "skipped: the page's test needs chromium and a built page (make web/dist/index.html)",
        );
        return;
    }
    let artefacts: PathBuf = root.join("artefacts");
    std::fs::create_dir_all(&artefacts).expect("a folder for the pictures");
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &[]);
    let run = Command::new("npm")
        .args(["run", "--silent", "e2e"])
        .current_dir(&web)
        .env("BASE_URL", &server.url)
        .env("ARTEFACTS", &artefacts)
        .output()
        .expect("run npm");
    let (output, errors) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{output}\n{errors}");
}
