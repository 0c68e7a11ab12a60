//! A model of what Pulltrace's server makes of a report, and what it therefore shows of ours.

use std::collections::BTreeMap;

use serde::Deserialize;

use super::full;
use crate::{LayerPhase, LayerReport, PullPhase, PullReport, Report};

/// Largest body that it reads, in bytes.
const BODY_BYTES_MAX: usize = 1 << 20;

const MERGED: &str = "__pulling__";

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct AgentReport {
    node_name: String,
    #[expect(dead_code, reason = "it must be there")]
    timestamp: String,
    pulls: Option<Vec<PullState>>,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct PullState {
    image_ref: String,
    layers: Option<Vec<LayerState>>,
    started_at: String,
    total_known: bool,
}

#[derive(Clone, Deserialize)]
#[serde(rename_all = "camelCase")]
struct LayerState {
    #[expect(dead_code, reason = "it must be there")]
    digest: String,
    total_bytes: i64,
    downloaded_bytes: i64,
    total_known: bool,
}

/// A row of its page: whether it ended, its percentage, its layers that are done and all of them.
#[derive(Debug, PartialEq)]
struct Row {
    completed: bool,
    percent: i64,
    layers_done: usize,
    layers: usize,
    total_known: bool,
}

#[derive(Default)]
struct Server {
    rows: BTreeMap<String, Row>,
}

impl Server {
    fn post(&mut self, report: &Report) {
        let body = report.to_json();
        assert!(body.len() <= BODY_BYTES_MAX);
        let report: AgentReport = serde_json::from_slice(&body).expect("as it decodes");
        let prefix = format!("{}:", report.node_name);
        let seen: Vec<PullState> = merged(report.pulls.unwrap_or_default());
        for pull in &seen {
            let key = format!("{prefix}{}", pull.image_ref);
            self.rows.insert(key, row(pull));
        }
        for (key, row) in &mut self.rows {
            let reported = seen.iter().any(|pull| *key == format!("{prefix}{}", pull.image_ref));
            if key.starts_with(&prefix) && !reported {
                (row.completed, row.percent) = (true, 100);
            }
        }
    }
}

fn merged(pulls: Vec<PullState>) -> Vec<PullState> {
    let prefixes =
        ["sha256:", "layer-sha256:", "config-sha256:", "manifest-sha256:", "index-sha256:"];
    let (digests, mut named): (Vec<_>, Vec<_>) = pulls
        .into_iter()
        .partition(|pull| prefixes.iter().any(|prefix| pull.image_ref.starts_with(prefix)));
    let layers: Vec<_> =
        digests.iter().flat_map(|pull| pull.layers.clone().unwrap_or_default()).collect();
    if !layers.is_empty() {
        named.push(PullState {
            image_ref: MERGED.to_owned(),
            layers: Some(layers),
            started_at: digests
                .iter()
                .map(|pull| pull.started_at.clone())
                .min()
                .unwrap_or_default(),
            total_known: digests.iter().all(|pull| pull.total_known),
        });
    }
    named
}

fn row(pull: &PullState) -> Row {
    let layers = pull.layers.clone().unwrap_or_default();
    let total: i64 = layers.iter().map(|layer| layer.total_bytes).sum();
    let downloaded: i64 = layers.iter().map(|layer| layer.downloaded_bytes).sum();
    Row {
        completed: false,
        percent: if total > 0 { downloaded * 100 / total } else { 0 },
        layers_done: layers
            .iter()
            .filter(|layer| layer.total_known && layer.downloaded_bytes >= layer.total_bytes)
            .count(),
        layers: layers.len(),
        total_known: pull.total_known,
    }
}

fn layer(total_bytes: i64, downloaded_bytes: i64, phase: LayerPhase) -> LayerReport {
    LayerReport {
        digest: "sha256:aa".to_owned(),
        total_bytes,
        downloaded_bytes,
        total_known: true,
        phase: Some(phase),
        ..LayerReport::default()
    }
}

fn pull(image_ref: &str, layers: Vec<LayerReport>) -> PullReport {
    PullReport {
        image_ref: image_ref.to_owned(),
        id: format!("lease of {image_ref}"),
        phase: Some(PullPhase::Downloading),
        layers,
        total_known: true,
        ..PullReport::default()
    }
}

fn report(pulls: Vec<PullReport>) -> Report {
    Report { pulls, ..full() }
}

#[test]
fn pulltraces_server_shows_each_named_image_in_a_row_of_its_own() {
    let mut server = Server::default();
    let layers =
        || vec![layer(100, 100, LayerPhase::Cached), layer(300, 100, LayerPhase::Downloading)];
    let (nginx, redis) = ("docker.io/library/nginx:1.27", "docker.io/library/redis");
    server.post(&report(vec![pull(nginx, layers()), pull(redis, Vec::new())]));

    let running =
        Row { completed: false, percent: 50, layers_done: 1, layers: 2, total_known: true };
    assert_eq!(server.rows["worker-1:docker.io/library/nginx:1.27"], running);
    let resolving =
        Row { completed: false, percent: 0, layers_done: 0, layers: 0, total_known: true };
    assert_eq!(server.rows["worker-1:docker.io/library/redis"], resolving);
    assert_eq!(server.rows.len(), 2);
}

#[test]
fn pulltraces_server_completes_what_an_idle_agent_reports_no_more() {
    let mut server = Server::default();
    server.post(&report(vec![pull("nginx", vec![layer(300, 100, LayerPhase::Downloading)])]));
    let ended = PullReport {
        phase: Some(PullPhase::Completed),
        ..pull("nginx", vec![layer(300, 300, LayerPhase::Done)])
    };
    server.post(&report(vec![ended]));
    assert!(!server.rows["worker-1:nginx"].completed, "it is still in the report");
    server.post(&report(Vec::new()));
    assert!(server.rows["worker-1:nginx"].completed);
}

#[test]
fn pulltraces_server_merges_what_has_no_name_yet() {
    let mut server = Server::default();
    let digest = format!("sha256:{}", "d".repeat(64));
    let layers = vec![layer(100, 25, LayerPhase::Downloading)];
    server.post(&report(vec![pull(&digest, layers.clone()), pull(&digest, layers)]));
    let merged =
        Row { completed: false, percent: 25, layers_done: 0, layers: 2, total_known: true };
    assert_eq!(server.rows["worker-1:__pulling__"], merged);
    assert_eq!(server.rows.len(), 1);
}
