//! Dependencies point one way, and what we link is allowed.

use std::collections::BTreeMap;
use std::process::Command;

use anyhow::{Context as _, ensure};
use serde_json::Value;

/// What each crate of ours may depend on, of ours. A new arrow is a decision: see `docs/adr`.
const ARROWS: [(&str, &[&str]); 19] = [
    ("platform", &[]),
    ("model", &["platform"]),
    ("journal", &["platform"]),
    ("tsdb", &["platform", "model", "journal"]),
    ("promql", &["platform", "model"]),
    ("ingest", &["platform", "model"]),
    ("state", &["platform", "model"]),
    ("access", &["platform", "model", "state"]),
    ("schema", &[]),
    ("events", &["platform", "model", "journal", "state", "schema"]),
    ("jetstream", &["platform", "model", "schema", "events"]),
    ("report", &["platform"]),
    ("pulls", &["platform", "model", "state", "report"]),
    ("kubernetes", &["platform", "model", "report", "pulls"]),
    // For its tests: what it reports becomes the right pulls.
    ("agent", &["platform", "model", "state", "report", "pulls"]),
    (
        "api",
        &[
            "platform", "model", "tsdb", "promql", "ingest", "state", "access", "schema", "events",
            "report", "pulls",
        ],
    ),
    (
        "server",
        &[
            "platform",
            "model",
            "journal",
            "tsdb",
            "promql",
            "ingest",
            "state",
            "access",
            "schema",
            "events",
            "jetstream",
            "report",
            "pulls",
            "kubernetes",
            // For tests against a real containerd.
            "agent",
            "api",
        ],
    ),
    ("bench", &[]),
    ("xtask", &[]),
];

pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let output = Command::new("cargo")
        .args(["metadata", "--format-version", "1", "--locked", "--filter-platform"])
        .arg("x86_64-unknown-linux-gnu")
        .output()
        .context("run cargo metadata")?;
    let complaint = String::from_utf8_lossy(&output.stderr);
    ensure!(output.status.success(), "cargo metadata: {complaint}");
    let metadata: Value = serde_json::from_slice(&output.stdout).context("read cargo metadata")?;
    let deny = std::fs::read_to_string("deny.toml").context("read deny.toml")?;
    let deny: toml::Value = toml::from_str(&deny).context("read deny.toml")?;

    let packages = metadata["packages"].as_array().context("packages")?;
    let mut findings = check_arrows(packages);
    findings.extend(check_licences(packages, &names(&deny["licenses"]["allow"], None)));
    findings.extend(check_bans(packages, &names(&deny["bans"]["deny"], Some("name"))));
    Ok(findings)
}

fn names(list: &toml::Value, key: Option<&str>) -> Vec<String> {
    let items = list.as_array().into_iter().flatten();
    items
        .filter_map(|item| key.map_or(Some(item), |key| item.get(key)))
        .filter_map(|item| item.as_str().map(str::to_owned))
        .collect()
}

fn check_arrows(packages: &[Value]) -> Vec<String> {
    let allowed: BTreeMap<&str, &[&str]> = ARROWS.into_iter().collect();
    let mut findings = Vec::new();
    for package in packages.iter().filter(|package| package["source"].is_null()) {
        let name = package["name"].as_str().unwrap_or_default();
        let Some(allowed_here) = allowed.get(name) else {
            findings.push(format!("crate '{name}' has no line in the table of allowed arrows"));
            continue;
        };
        for dependency in package["dependencies"].as_array().into_iter().flatten() {
            let target = dependency["name"].as_str().unwrap_or_default();
            // What only tests need points anywhere.
            let ours = dependency["source"].is_null() && dependency["kind"] != "dev";
            if ours && !allowed_here.contains(&target) {
                findings.push(format!("crate '{name}' may not depend on '{target}'"));
            }
        }
    }
    findings
}

fn check_licences(packages: &[Value], allowed: &[String]) -> Vec<String> {
    let mut findings = Vec::new();
    for package in packages {
        let licence = package["license"].as_str().unwrap_or_default();
        if !is_allowed(licence, allowed) {
            let name = package["name"].as_str().unwrap_or_default();
            findings.push(format!(
                "crate '{name}' has the licence '{licence}', which deny.toml does not allow"
            ));
        }
    }
    findings
}

/// Returns whether an SPDX expression can be satisfied by allowed licences: any side of `OR`, every side of `AND`.
fn is_allowed(expression: &str, allowed: &[String]) -> bool {
    let expression = expression.replace('/', " OR ").replace(['(', ')'], "");
    expression.split(" AND ").all(|part| {
        part.split(" OR ").any(|licence| allowed.iter().any(|allowed| allowed == licence.trim()))
    })
}

fn check_bans(packages: &[Value], banned: &[String]) -> Vec<String> {
    let linked = packages.iter().filter_map(|package| package["name"].as_str());
    linked
        .filter(|name| banned.iter().any(|banned| banned == name))
        .map(|name| format!("crate '{name}' is banned by deny.toml"))
        .collect()
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use super::*;

    #[test]
    fn one_side_of_or_and_every_side_of_and_must_be_allowed() {
        let allowed = ["MIT".to_owned(), "Unicode-3.0".to_owned()];
        assert!(is_allowed("MIT OR GPL-3.0", &allowed));
        assert!(is_allowed("Apache-2.0/MIT", &allowed));
        assert!(is_allowed("(MIT OR Apache-2.0) AND Unicode-3.0", &allowed));
        assert!(!is_allowed("MIT AND GPL-3.0", &allowed));
        assert!(!is_allowed("", &allowed));
    }

    #[test]
    fn an_arrow_against_the_order_is_a_finding() {
        let package = json!({
            "name": "model", "source": null,
            "dependencies": [{"name": "tsdb", "source": null, "kind": null},
                             {"name": "promql", "source": null, "kind": "dev"}],
        });
        assert_eq!(check_arrows(&[package]), ["crate 'model' may not depend on 'tsdb'"]);
    }
}
