//! Renders the Helm chart without Helm: for its tests, and for the plain manifests that are made from it.
//!
//! The chart keeps to a part of Helm's language (see `template.rs` and `functions.rs`); anything else is an error here.

mod evaluate;
mod functions;
mod template;
#[cfg(test)]
mod tests;

use std::collections::BTreeMap;
use std::fs;
use std::path::Path;

use anyhow::{Context as _, bail};
use serde_json::{Map, Value, json};

use template::{Node, Templates};

const FOLDER: &str = "deploy/chart/tinyobs";
const PLAIN: &str = "deploy/kubernetes";
const NOTES: &str = "NOTES.txt";

/// What the plain manifests are made with.
const NAMESPACE: &str = "tinyobs";

/// Returns a finding for every plain manifest that is stale.
pub(crate) fn check() -> anyhow::Result<Vec<String>> {
    let fresh = plain()?;
    let mut findings = Vec::new();
    for entry in fs::read_dir(PLAIN).context(PLAIN)? {
        let name = entry?.file_name().to_string_lossy().into_owned();
        if !fresh.contains_key(&name) {
            findings.push(format!("{PLAIN}/{name} is not made from the chart: remove it"));
        }
    }
    for (name, text) in &fresh {
        let committed = fs::read_to_string(format!("{PLAIN}/{name}")).unwrap_or_default();
        if committed != *text {
            findings.push(format!("{PLAIN}/{name} is stale: make generate"));
        }
    }
    Ok(findings)
}

/// Writes the plain manifests.
pub(crate) fn write() -> anyhow::Result<()> {
    fs::create_dir_all(PLAIN).context(PLAIN)?;
    for (name, text) in plain()? {
        fs::write(format!("{PLAIN}/{name}"), text).with_context(|| format!("{PLAIN}/{name}"))?;
    }
    Ok(())
}

/// Returns the plain manifests by file name: the chart with its defaults, but for the keys, which nothing makes here.
fn plain() -> anyhow::Result<BTreeMap<String, String>> {
    let chart = Chart::load(Path::new(FOLDER))?;
    let values = json!({
        "auth": {
            "admin": {"existingSecret": "tinyobs-admin"},
            "agents": {"existingSecret": "tinyobs-agent"},
        },
    });
    let release = Release { name: "tinyobs", namespace: NAMESPACE, service: "kubectl" };
    let rendered = chart.render(&values, &release, &Map::new())?;
    let mut files = BTreeMap::from([("00-namespace.yaml".to_owned(), namespace())]);
    for (name, text) in rendered.files {
        let text = text.trim();
        if !text.is_empty() {
            let text = text.strip_prefix("---\n").unwrap_or(text);
            files.insert(name, format!("{}{text}\n", heading()));
        }
    }
    let resources: Vec<String> = files.keys().map(|name| format!("  - {name}\n")).collect();
    let kustomization = format!(
        "{}apiVersion: kustomize.config.k8s.io/v1beta1\nkind: Kustomization\nresources:\n{}",
        heading(),
        resources.concat()
    );
    files.insert("kustomization.yaml".to_owned(), kustomization);
    Ok(files)
}

fn heading() -> String {
    format!("# Made from {FOLDER}: make generate. How to use it: docs/kubernetes.md.\n")
}

fn namespace() -> String {
    format!(
        "{}apiVersion: v1\nkind: Namespace\nmetadata:\n  name: {NAMESPACE}\n  labels:\n    \
         # Agents mount a folder of their node.\n    pod-security.kubernetes.io/enforce: privileged\n",
        heading()
    )
}

/// A release of the chart, as Helm would make it.
struct Release<'a> {
    name: &'a str,
    namespace: &'a str,
    service: &'a str,
}

/// What the chart becomes.
struct Rendered {
    /// Manifests by the name of their template; several documents each, or none.
    files: BTreeMap<String, String>,
    /// What people are told.
    #[cfg_attr(not(test), expect(dead_code, reason = "only tests read what Helm tells people"))]
    notes: String,
}

/// The chart, read.
struct Chart {
    about: Value,
    values: Value,
    /// What stands outside of definitions, by file.
    files: BTreeMap<String, Vec<Node>>,
    templates: Templates,
}

impl Chart {
    fn load(folder: &Path) -> anyhow::Result<Self> {
        let mut templates = Templates::new();
        let mut files = BTreeMap::new();
        let dir = folder.join("templates");
        for entry in fs::read_dir(&dir).with_context(|| dir.display().to_string())? {
            let path = entry?.path();
            let name = path.file_name().unwrap_or_default().to_string_lossy().into_owned();
            let text = read(&path)?;
            let nodes = template::parse(&name, &text, &mut templates)?;
            // What begins with an underscore only defines.
            if !name.starts_with('_') {
                files.insert(name, nodes);
            }
        }
        let about: Value = yaml(&folder.join("Chart.yaml"))?;
        // As Helm names them.
        let about = json!({
            "Name": about["name"], "Version": about["version"], "AppVersion": about["appVersion"],
        });
        Ok(Self { about, values: yaml(&folder.join("values.yaml"))?, files, templates })
    }

    /// Renders with the chart's own values under `values`. The cluster has what `cluster` says, by kind, namespace and
    /// name.
    fn render(
        &self,
        values: &Value,
        release: &Release<'_>,
        cluster: &Map<String, Value>,
    ) -> anyhow::Result<Rendered> {
        let dot = json!({
            "Values": merged(&self.values, values),
            "Chart": self.about,
            "Release": {
                "Name": release.name, "Namespace": release.namespace, "Service": release.service,
            },
        });
        let mut files = BTreeMap::new();
        for (name, nodes) in &self.files {
            let text = evaluate::render(&self.templates, cluster, nodes, &dot);
            files.insert(name.clone(), text.with_context(|| name.clone())?);
        }
        let notes = files.remove(NOTES).context("the chart has no notes")?;
        Ok(Rendered { files, notes })
    }
}

/// Returns the values of the chart, and over them those of somebody who installs it. A null removes a value.
fn merged(under: &Value, over: &Value) -> Value {
    let (Value::Object(under), Value::Object(over)) = (under, over) else { return over.clone() };
    let mut all = under.clone();
    for (name, value) in over {
        match (all.get(name), value) {
            (_, Value::Null) => {
                all.remove(name);
            }
            (Some(below), value) => {
                let value = merged(below, value);
                all.insert(name.clone(), value);
            }
            (None, value) => {
                all.insert(name.clone(), value.clone());
            }
        }
    }
    all.into()
}

fn yaml(path: &Path) -> anyhow::Result<Value> {
    match serde_saphyr::from_str(&read(path)?) {
        Ok(value) => Ok(value),
        Err(error) => bail!("{}: {error}", path.display()),
    }
}

fn read(path: &Path) -> anyhow::Result<String> {
    fs::read_to_string(path).with_context(|| path.display().to_string())
}
