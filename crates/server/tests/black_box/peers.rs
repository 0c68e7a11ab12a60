//! Debian's Prometheus and node_exporter, where they are installed.
#![expect(clippy::disallowed_methods, reason = "peers are configured by real files")]

use std::path::Path;
use std::process::{Command, Stdio};

use crate::program::{Process, free_port, try_request, wait_for};

/// A Prometheus that scrapes a node_exporter every second and sends everything on.
pub(crate) struct Prometheus {
    pub(crate) url: String,
    _prometheus: Process,
    _exporter: Process,
}

impl Prometheus {
    /// Starts both; `None`, with a line that says so, when they are not installed.
    pub(crate) fn start(folder: &Path, remote_write: &str) -> Option<Self> {
        for program in ["prometheus", "prometheus-node-exporter"] {
            if !is_installed(program) {
                announce(&format!("skipped: {program} is not installed"));
                return None;
            }
        }
        let exporter_address = format!("127.0.0.1:{}", free_port());
        let exporter = Process::start(
            Command::new("prometheus-node-exporter")
                .arg(format!("--web.listen-address={exporter_address}"))
                .stderr(Stdio::null()),
        );
        let config = folder.join("prometheus.yml");
        let text = format!(
            "global: {{scrape_interval: 1s, scrape_timeout: 1s}}\n\
             scrape_configs:\n\
             - job_name: node\n  static_configs: [{{targets: ['{exporter_address}']}}]\n\
             remote_write:\n\
             - url: {remote_write}/api/v1/write\n  queue_config: {{batch_send_deadline: 1s, max_backoff: 1s}}\n"
        );
        std::fs::write(&config, text).expect("write the configuration");
        let address = format!("127.0.0.1:{}", free_port());
        let prometheus = Process::start(
            Command::new("prometheus")
                .arg(format!("--config.file={}", config.display()))
                .arg(format!("--storage.tsdb.path={}", folder.join("prometheus").display()))
                .arg(format!("--web.listen-address={address}"))
                .args(["--enable-feature=promql-at-modifier,promql-negative-offset"])
                .stderr(Stdio::null()),
        );
        let url = format!("http://{address}");
        wait_for("Prometheus to be ready", || {
            let (status, _) =
                try_request("GET", &format!("{url}/-/ready"), &[], Vec::new()).ok()?;
            (status == 200).then_some(())
        });
        Some(Self { url, _prometheus: prometheus, _exporter: exporter })
    }
}

/// Returns whether a program is on the path.
pub(crate) fn is_installed(program: &str) -> bool {
    let path = std::env::var_os("PATH").unwrap_or_default();
    std::env::split_paths(&path).any(|folder| folder.join(program).is_file())
}

/// Prints a line past the test runner's capture, so that a skipped test is seen.
pub(crate) fn announce(line: &str) {
    use std::io::Write as _;
    writeln!(std::io::stderr(), "{line}").expect("standard error");
}
