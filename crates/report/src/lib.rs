//! What an agent says of the image pulls on its node: the body of `POST /api/v1/report`.
//!
//! A report is a full snapshot, never a delta. The first fields of each type are those of Pulltrace's agents, the others are
//! additions that its servers ignore; `docs/formats/pull-report.md` describes them all.

mod json;
mod phase;
mod reference;

use platform::Timestamp;

pub use json::{
    CANDIDATES_MAX, CLUSTER_BYTES_MAX, ERROR_BYTES_MAX, LAYERS_PER_PULL_MAX, LAYERS_PER_REPORT_MAX,
    NAME_BYTES_MAX, NODE_NAME_BYTES_MAX, PULLS_PER_REPORT_MAX, ReportError, SCHEMA_VERSION,
    parse_time,
};
pub use phase::{Confidence, LayerPhase, PullPhase, Source, UnknownWord};
pub use reference::{ImageReference, InvalidReference, REFERENCE_BYTES_MAX};

/// Everything that an agent knows of the pulls on its node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Report {
    /// The name of the node in its cluster; 1 to 253 bytes.
    pub node_name: String,
    /// The agent's clock when it reported; `None` where it was not said.
    pub timestamp: Option<Timestamp>,
    /// The pulls that run, and those that ended and were not acknowledged yet.
    pub pulls: Vec<PullReport>,

    /// The name of the cluster; empty where there is only one, as with Pulltrace's agents.
    pub cluster: String,
    /// The version of the agent; empty for Pulltrace's.
    pub agent_version: String,
    /// Tells one run of the agent from the next: the agent's clock when it started.
    pub agent_started: Option<Timestamp>,
    /// Counts the reports of one run of the agent, from 1; 0 where it was not said.
    pub sequence: u64,
    /// The longest time to the next report, in milliseconds; 0 where it was not said.
    pub interval_ms: u64,
    /// The runtime, such as `containerd 1.7.24`; empty where it is not known.
    pub runtime: String,
    /// Where the agent looks.
    pub source: Source,
    /// Why the agent could not look. Then `pulls` is what it saw last, not what there is now. Empty when it could.
    pub error: String,
}

/// One pull on the node.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct PullReport {
    /// The best name of the image: `docker.io/library/nginx:1.27`, without a tag where only the repository is known, a bare
    /// digest (`sha256:…`) where not even that is. From Pulltrace's agents, the reference of an ingest (`layer-sha256:…`).
    pub image_ref: String,
    /// The layers in the order of the manifest; empty until that is known.
    pub layers: Vec<LayerReport>,
    /// When it began, by the agent's clock.
    pub started_at: Option<Timestamp>,
    /// Whether the sizes of all layers are known.
    pub total_known: bool,

    /// Tells this pull from all others on the node, in particular from a later attempt: the lease. Empty from Pulltrace's agents.
    pub id: String,
    /// How far it is; `None` from Pulltrace's agents.
    pub phase: Option<PullPhase>,
    /// Why it failed, as far as the agent knows.
    pub error: String,
    /// When it ended, by the agent's clock.
    pub ended_at: Option<Timestamp>,
    /// The digest that the name leads to: of an index or a manifest. Empty until it is known.
    pub digest: String,
    /// The digest of the manifest for this platform. Empty until it is known.
    pub manifest_digest: String,
    /// How sure `image_ref` is; `None` from Pulltrace's agents.
    pub confidence: Option<Confidence>,
    /// Other names that the image may have: repositories without a tag, or whole names.
    pub candidates: Vec<String>,
    /// Whether bytes are unknown because a snapshotter fetches the layers itself: only phases are seen then.
    pub indirect: bool,
}

/// One layer of a pull.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct LayerReport {
    /// The digest; from Pulltrace's agents, the reference of the ingest (`layer-sha256:…`).
    pub digest: String,
    /// The media type; empty where it is not known.
    pub media_type: String,
    /// The compressed size in bytes; 0 where it is not known.
    pub total_bytes: i64,
    /// How much of it is there, in bytes, those before a resumption included.
    pub downloaded_bytes: i64,
    /// Whether `total_bytes` is known.
    pub total_known: bool,

    /// How far it is; `None` from Pulltrace's agents.
    pub phase: Option<LayerPhase>,
    /// How much of it an earlier attempt had left, in bytes.
    pub resumed_bytes: i64,
    /// When its download began, by the agent's clock.
    pub started_at: Option<Timestamp>,
    /// When it was downloaded, by the agent's clock.
    pub completed_at: Option<Timestamp>,
}
