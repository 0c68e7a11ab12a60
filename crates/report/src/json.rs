//! Reports as JSON: `docs/formats/pull-report.md`.

mod read;
mod time;
mod write;

#[cfg(test)]
mod tests;

/// The version of the format, in `schemaVersion` of what is written and in the header `X-TinyObs-Report` of the answer.
/// Pulltrace's reports have none.
pub const SCHEMA_VERSION: u32 = 2;

/// Longest name of a node, in bytes, as with Pulltrace's server. A report with a longer one is refused.
pub const NODE_NAME_BYTES_MAX: usize = 253;

/// Longest name of a cluster, in bytes. A report with a longer one is refused.
pub const CLUSTER_BYTES_MAX: usize = 253;

/// Most pulls in a report. A report with more is refused: without the others, these would seem to have ended.
pub const PULLS_PER_REPORT_MAX: usize = 1_000;

/// Most layers of a pull. A report with more is refused.
pub const LAYERS_PER_PULL_MAX: usize = 1_000;

/// Most layers of all pulls of a report together. A report with more is refused.
pub const LAYERS_PER_REPORT_MAX: usize = 20_000;

/// Longest reference, digest, media type or identifier, in bytes. What is longer is cut.
pub const NAME_BYTES_MAX: usize = 512;

/// Longest reason of a failure, in bytes. What is longer is cut.
pub const ERROR_BYTES_MAX: usize = 1_024;

/// Most candidates for the name of an image. Further ones are left out.
pub const CANDIDATES_MAX: usize = 32;

/// Reads a time in RFC 3339, as Go writes it; `None` for what is none or was never set.
#[must_use]
pub fn parse_time(text: &str) -> Option<platform::Timestamp> {
    time::read(text).flatten()
}

/// Why a report is refused.
#[derive(Debug, thiserror::Error)]
pub enum ReportError {
    /// It is not JSON, or a field has a value of another type.
    #[error("invalid report: {0}")]
    Json(#[from] serde_json::Error),
    /// The name of the node is empty or too long.
    #[error("nodeName has {bytes} bytes; it must have 1 to {NODE_NAME_BYTES_MAX}")]
    NodeName {
        /// How long it is.
        bytes: usize,
    },
    /// The name of the cluster is too long.
    #[error("cluster has more than {CLUSTER_BYTES_MAX} bytes")]
    Cluster,
    /// There are too many pulls.
    #[error("more than {PULLS_PER_REPORT_MAX} pulls in one report")]
    TooManyPulls,
    /// There are too many layers.
    #[error(
        "more than {LAYERS_PER_PULL_MAX} layers in one pull or {LAYERS_PER_REPORT_MAX} in one report"
    )]
    TooManyLayers,
}
