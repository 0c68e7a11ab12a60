//! What can go wrong.

use std::time::Duration;

use state::StateError;

use crate::settings::{CLUSTERS_PER_TENANT_MAX, NAME_BYTES_MAX};

/// Why the history of pulls cannot be used.
#[derive(Debug, thiserror::Error)]
pub enum PullsError {
    /// The state database fails.
    #[error(transparent)]
    State(#[from] StateError),
    /// What the state database holds cannot be read.
    #[error("column '{column}' of a row of pulls is damaged")]
    Damaged {
        /// Which part of the row.
        column: &'static str,
    },
}

/// Why a report was not taken.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ReportRefused {
    /// The node's last report was accepted too short a time ago.
    #[error("reports of a node must be further apart; send the next one in {} ms", retry_after.as_millis())]
    TooSoon {
        /// How long to wait.
        retry_after: Duration,
    },
    /// The node is new, and there are as many as there may be.
    #[error("there are {nodes_max} nodes already; raise the limit of nodes")]
    TooManyNodes {
        /// The limit.
        nodes_max: usize,
    },
    /// The cluster is new, and there are as many as there may be.
    #[error("there are {CLUSTERS_PER_TENANT_MAX} clusters already")]
    TooManyClusters,
    /// The name of the node is empty, too long, or holds a NUL.
    #[error("nodeName must have 1 to {NAME_BYTES_MAX} bytes without NUL")]
    InvalidNode,
    /// The name of the cluster is too long, or holds a NUL.
    #[error("cluster must have at most {NAME_BYTES_MAX} bytes without NUL")]
    InvalidCluster,
}

/// There are as many subscribers as there may be.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
#[error("there are {subscribers_max} subscribers already; try again later")]
pub struct TooManySubscribers {
    /// The limit.
    pub subscribers_max: usize,
}

/// Why what ended could not be published; it is tried again.
#[derive(Debug, thiserror::Error)]
#[error("ended pulls cannot be published")]
pub struct SinkError(#[source] pub Box<dyn std::error::Error + Send + Sync>);
