//! Our own scripts, and as far as they are there Prometheus' own.

use std::path::Path;

use platform::{Fs, SystemFs};

#[path = "../examples/promqltest/check.rs"]
mod check;
#[path = "../examples/promqltest/expectation.rs"]
mod expectation;
#[path = "../examples/promqltest/points.rs"]
mod points;
#[path = "../examples/promqltest/run.rs"]
mod run;
#[path = "../examples/promqltest/script.rs"]
mod script;
#[path = "../examples/promqltest/store.rs"]
mod store;

const FOLDER: &str = "../shared/conformance/promql";

/// File, evaluations that agree at least, evaluations. What is missing needs native histograms; the numbers
/// of those that agree may only grow.
const RATCHET: [(&str, usize, usize); 13] = [
    ("aggregators", 125, 160),
    ("at_modifier", 78, 78),
    ("collision", 2, 2),
    ("functions", 221, 270),
    ("histograms", 93, 185),
    ("info", 52, 53),
    ("literals", 25, 25),
    ("native_histograms", 3, 296),
    ("operators", 142, 214),
    ("range_queries", 17, 18),
    ("selectors", 31, 31),
    ("staleness", 17, 17),
    ("trig_functions", 19, 19),
];

#[test]
fn our_scripts_agree() {
    let fs = SystemFs::new();
    let files = fs.list(Path::new("tests/data")).expect("a readable folder");
    assert!(files.len() >= 7, "scripts are missing: {files:?}");
    for file in files {
        let path = Path::new("tests/data").join(&file.name);
        let report = run_file(fs.as_ref(), &path);
        assert!(report.total > 0, "{}", path.display());
        assert_eq!(failures_of(&report), "", "{}", path.display());
    }
}

#[test]
fn scripts_of_prometheus_agree_as_far_as_they_did() {
    let fs = SystemFs::new();
    // The folder lies beside the workspace, or beside a worktree's parent.
    let roots = ["../..", "../../..", "../../../.."];
    let folder = roots.iter().map(|root| Path::new(root).join(FOLDER));
    let Some(folder) = folder.into_iter().find(|folder| fs.exists(folder).unwrap_or(false)) else {
        println!("skipped: {FOLDER} is absent");
        return;
    };
    for (name, passed_min, total) in RATCHET {
        let path = folder.join(format!("{name}.test"));
        let report = run_file(fs.as_ref(), &path);
        assert_eq!(report.total, total, "{name}");
        assert!(
            report.passed >= passed_min,
            "{name}: passed {} of {total}, not {passed_min}\n{}",
            report.passed,
            failures_of(&report)
        );
    }
}

fn run_file(fs: &dyn Fs, path: &Path) -> run::Report {
    let bytes = fs.read(path, 16 << 20).expect("a readable script");
    run::run(std::str::from_utf8(&bytes).expect("UTF-8"))
}

fn failures_of(report: &run::Report) -> String {
    let lines = report
        .failures
        .iter()
        .map(|failure| format!("{}: {}: {}", failure.line, failure.query, failure.brief()));
    lines.collect::<Vec<_>>().join("\n")
}
