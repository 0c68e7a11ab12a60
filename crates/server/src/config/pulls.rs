//! The section `pulls`: image pulls, their agents, and the clusters that are watched.

use std::path::PathBuf;
use std::time::Duration;

use kubernetes::NAMESPACES_MAX;
use model::TenantId;
use secrecy::{ExposeSecret as _, SecretString};
use serde::Deserialize;

use super::Reader;

/// Most clusters that one program watches.
const CLUSTERS_MAX: usize = 64;

/// Longest name of a cluster, in bytes.
const CLUSTER_BYTES_MAX: usize = 253;

/// Image pulls.
#[derive(Clone, Debug)]
pub(crate) struct PullsConfig {
    /// What lets agents of the default tenant report, beside keys with the role agent.
    pub(crate) agent_tokens: Vec<SecretString>,
    /// How long an agent may say nothing before its pulls are unknown; at least.
    pub(crate) silent_after: Duration,
    /// How long it may say nothing before its pulls count as failed.
    pub(crate) lost_after: Duration,
    /// How long no byte may arrive before a pull counts as stalled.
    pub(crate) stalled_after: Duration,
    /// How long a pull that ended stays among the live ones.
    pub(crate) shown: Duration,
    /// How long ended pulls are kept in the state database.
    pub(crate) retention: Duration,
    /// Most ended pulls of a tenant there.
    pub(crate) rows_max: u64,
    /// Whether pulls also become events of the log.
    pub(crate) events: bool,
    pub(crate) limits: PullsLimits,
    pub(crate) kubernetes: KubernetesConfig,
}

/// Bounds of image pulls, each for one tenant.
#[derive(Clone, Copy, Debug)]
pub(crate) struct PullsLimits {
    pub(crate) active_max: usize,
    pub(crate) nodes_max: usize,
    pub(crate) subscribers_max: usize,
    pub(crate) report_bytes_max: usize,
    pub(crate) report_interval_min: Duration,
}

/// The clusters that are watched.
#[derive(Clone, Debug)]
pub(crate) struct KubernetesConfig {
    /// Whether the cluster that the program runs in is watched, if it runs in one.
    pub(crate) own: bool,
    /// That cluster. It has no file: Kubernetes tells a program in it where it is.
    pub(crate) own_cluster: ClusterConfig,
    pub(crate) clusters: Vec<ClusterConfig>,
}

/// A cluster that is watched.
#[derive(Clone, Debug, Deserialize, PartialEq, Eq)]
#[serde(try_from = "RawCluster")]
pub(crate) struct ClusterConfig {
    /// As its agents call it.
    pub(crate) name: String,
    /// Whose pulls its pods wait for.
    pub(crate) tenant: TenantId,
    /// How it is reached; empty for the cluster that the program runs in.
    pub(crate) kubeconfig: PathBuf,
    /// A context of that file; `None` for its current one.
    pub(crate) context: Option<String>,
    /// Empty for all.
    pub(crate) namespaces: Vec<String>,
}

#[derive(Deserialize)]
#[serde(deny_unknown_fields)]
struct RawCluster {
    name: String,
    kubeconfig: PathBuf,
    #[serde(default)]
    context: Option<String>,
    #[serde(default)]
    tenant: Option<String>,
    #[serde(default)]
    namespaces: Vec<String>,
}

impl TryFrom<RawCluster> for ClusterConfig {
    type Error = String;

    fn try_from(raw: RawCluster) -> Result<Self, String> {
        let tenant = raw.tenant.as_deref().unwrap_or(TenantId::DEFAULT);
        if raw.kubeconfig.as_os_str().is_empty() {
            return Err("kubeconfig must name a file".to_owned());
        }
        Ok(Self {
            name: cluster_name(raw.name)?,
            tenant: TenantId::new(tenant).map_err(|error| format!("tenant: {error}"))?,
            kubeconfig: raw.kubeconfig,
            context: raw.context,
            namespaces: trimmed(raw.namespaces),
        })
    }
}

/// Reads the section; mistakes are collected by the reader.
pub(super) fn read(reader: &mut Reader<'_>) -> PullsConfig {
    let mut duration = |path: &str| Duration::from_millis(reader.duration_ms(path));
    let silent_after = duration("pulls.agents.silent_after");
    let lost_after = duration("pulls.agents.lost_after");
    let stalled_after = duration("pulls.stalled_after");
    let shown = duration("pulls.history.shown");
    let retention = duration("pulls.history.retention");
    let report_interval_min = duration("pulls.limits.report_interval");
    PullsConfig {
        agent_tokens: read_tokens(reader),
        silent_after,
        lost_after,
        stalled_after,
        shown,
        retention,
        rows_max: reader.number("pulls.history.pulls"),
        events: reader.boolean("pulls.events"),
        limits: PullsLimits {
            active_max: reader.count("pulls.limits.active"),
            nodes_max: reader.count("pulls.limits.nodes"),
            subscribers_max: reader.count("pulls.limits.subscribers"),
            report_bytes_max: reader.count_bytes("pulls.limits.report_bytes"),
            report_interval_min,
        },
        kubernetes: read_kubernetes(reader),
    }
}

impl PullsConfig {
    /// Checks what a single key cannot say.
    pub(super) fn check(&self, reader: &mut Reader<'_>) {
        if self.lost_after <= self.silent_after {
            let message = "must be longer than pulls.agents.silent_after";
            reader.mistake("pulls.agents.lost_after", message);
        }
        let durations = [
            ("pulls.agents.silent_after", self.silent_after),
            ("pulls.stalled_after", self.stalled_after),
        ];
        for (path, duration) in durations {
            if duration < Duration::from_secs(1) {
                reader.mistake(path, "must be at least 1s");
            }
        }
        let counts = [
            ("pulls.limits.active", self.limits.active_max),
            ("pulls.limits.nodes", self.limits.nodes_max),
            ("pulls.limits.subscribers", self.limits.subscribers_max),
        ];
        for (path, count) in counts {
            if !(1..=1_000_000).contains(&count) {
                reader.mistake(path, "must be from 1 to 1000000");
            }
        }
        if !(64 << 10..=64 << 20).contains(&self.limits.report_bytes_max) {
            reader.mistake("pulls.limits.report_bytes", "must be from 64KiB to 64MiB");
        }
        let KubernetesConfig { own, own_cluster, clusters } = &self.kubernetes;
        if !own && !own_cluster.namespaces.is_empty() {
            let message = "is used only when pulls.kubernetes.mode is auto";
            reader.mistake("pulls.kubernetes.namespaces", message);
        }
        if clusters.len() > CLUSTERS_MAX {
            let message = format!("must have at most {CLUSTERS_MAX} entries");
            reader.mistake("pulls.kubernetes.clusters", &message);
        }
        let watched = clusters.iter().chain([own_cluster]);
        if watched.into_iter().any(|cluster| cluster.namespaces.len() > NAMESPACES_MAX) {
            let message = format!("watches at most {NAMESPACES_MAX} namespaces of a cluster");
            reader.mistake("pulls.kubernetes", &message);
        }
        for (index, cluster) in clusters.iter().enumerate() {
            let earlier = clusters.iter().take(index).chain([own_cluster]);
            let is_same = |other: &ClusterConfig| {
                (&other.name, &other.tenant) == (&cluster.name, &cluster.tenant)
            };
            if earlier.into_iter().any(is_same) {
                let message = format!("names the cluster '{}' twice", cluster.name);
                reader.mistake("pulls.kubernetes.clusters", &message);
            }
        }
    }
}

/// Several tokens, one beside the next, are the old one and the new one while they are exchanged.
fn read_tokens(reader: &mut Reader<'_>) -> Vec<SecretString> {
    let Some(tokens) = reader.secret("pulls.agents.token") else { return Vec::new() };
    let tokens = tokens.expose_secret().split_ascii_whitespace();
    tokens.map(SecretString::from).collect()
}

fn read_kubernetes(reader: &mut Reader<'_>) -> KubernetesConfig {
    let modes = [("auto", true), ("off", false)];
    let tenant = reader.text("pulls.kubernetes.tenant");
    let tenant = TenantId::new(&tenant).unwrap_or_else(|error| {
        reader.mistake("pulls.kubernetes.tenant", &error.to_string());
        TenantId::default_tenant()
    });
    let name = cluster_name(reader.text("pulls.kubernetes.cluster")).unwrap_or_else(|message| {
        reader.mistake("pulls.kubernetes.cluster", &message);
        String::new()
    });
    KubernetesConfig {
        own: reader.choice("pulls.kubernetes.mode", &modes).unwrap_or_default(),
        own_cluster: ClusterConfig {
            name,
            tenant,
            kubeconfig: PathBuf::new(),
            context: None,
            namespaces: trimmed(reader.list("pulls.kubernetes.namespaces")),
        },
        clusters: reader.list("pulls.kubernetes.clusters"),
    }
}

fn cluster_name(name: String) -> Result<String, String> {
    if name.len() > CLUSTER_BYTES_MAX || name.chars().any(char::is_control) {
        return Err(format!("must have at most {CLUSTER_BYTES_MAX} bytes, no control characters"));
    }
    Ok(name)
}

fn trimmed(namespaces: Vec<String>) -> Vec<String> {
    let trimmed = namespaces.iter().map(|namespace| namespace.trim());
    trimmed.filter(|namespace| !namespace.is_empty()).map(str::to_owned).collect()
}
