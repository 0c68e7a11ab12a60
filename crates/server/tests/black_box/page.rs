//! The page in a real browser, served by the real program.
#![expect(clippy::disallowed_methods, reason = "looks for the page's build and keeps its pictures")]

use std::path::{Path, PathBuf};
use std::process::Command;

use crate::peers::{announce, is_installed};
use crate::program::TinyObs;

/// The key of the first administrator.
const ADMIN_KEY: &str = "5e1f0c7a9b3d48e6a2f47c81d0b95e36f1a84c2d7093be65d8f1427a0c6e93b5";

#[test]
fn a_browser_sees_live_charts_types_a_query_and_switches_the_theme() {
    browse("e2e", &[]);
}

#[test]
fn a_browser_follows_events_pauses_filters_and_decides_about_dead_letters() {
    browse("e2e:events", &[]);
}

#[test]
fn a_browser_follows_image_pulls_opens_filters_and_links_them() {
    browse("e2e:pulls", &["--set", "pulls.agents.silent_after=1s"]);
}

#[test]
fn an_administrator_logs_in_makes_a_key_revokes_it_and_sees_the_audit_log() {
    let secrets = tempfile::tempdir().expect("a folder");
    let file = secrets.path().join("key");
    std::fs::write(&file, ADMIN_KEY).expect("write the key");
    let key = format!("auth.bootstrap_admin_key_file={}", file.display());
    browse("e2e:admin", &["--set", "auth.mode=keys", "--set", &key]);
}

/// Returns whether there are a browser and a page for it; says so in one line when there are not.
pub(crate) fn can_browse() -> bool {
    let page = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../web/dist/index.html");
    let can = is_installed("chromium") && page.is_file();
    if !can {
        announce(
            "skipped: the page's test needs chromium and a built page (make web/dist/index.html)",
        );
    }
    can
}

/// Runs a script of the page against a server that was started with `arguments`.
fn browse(script: &str, arguments: &[&str]) {
    if !can_browse() {
        return;
    }
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("../..");
    let web = root.join("web");
    let artefacts: PathBuf = root.join("artefacts");
    std::fs::create_dir_all(&artefacts).expect("a folder for the pictures");
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), arguments);
    let run = Command::new("npm")
        .args(["run", "--silent", script])
        .current_dir(&web)
        .env("BASE_URL", &server.url)
        .env("ARTEFACTS", &artefacts)
        .env("ADMIN_KEY", ADMIN_KEY)
        .output()
        .expect("run npm");
    let (output, errors) =
        (String::from_utf8_lossy(&run.stdout), String::from_utf8_lossy(&run.stderr));
    assert!(run.status.success(), "{output}\n{errors}");
}
