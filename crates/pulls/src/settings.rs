//! What operators choose, and the limits.

use std::time::Duration;

/// Longest name of a node and of a cluster, in bytes.
pub const NAME_BYTES_MAX: usize = 253;
/// Longest identifier of a pull in a report, in bytes.
pub const PULL_ID_BYTES_MAX: usize = 512;
/// Longest name of an image and longest digest, in bytes.
pub const IMAGE_BYTES_MAX: usize = 1_024;
/// Longest media type, version and name of a runtime, in bytes.
pub const WORD_BYTES_MAX: usize = 256;
/// Longest message of a failure or of an agent's error, in bytes.
pub const MESSAGE_BYTES_MAX: usize = 1_024;
/// Most bytes of a layer, so that sums over layers have room: 1 PiB.
pub const LAYER_BYTES_MAX: u64 = 1 << 50;
/// Most other names of an image.
pub const CANDIDATES_MAX: usize = 16;
/// Most clusters of a tenant.
pub const CLUSTERS_PER_TENANT_MAX: usize = 256;

/// How pulls are followed and kept.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct PullsSettings {
    /// Without a byte for this long, a pull that downloads has stalled.
    pub stall_after: Duration,
    /// The shortest silence after which an agent's pulls are unknown; five of its intervals if that is longer.
    pub agent_silent_after: Duration,
    /// After so much silence the agent's pulls have failed.
    pub stale_after: Duration,
    /// A kubelet is waited for so long to say why a pull failed, where its cluster is followed.
    pub reason_wait: Duration,
    /// A node without a pull is forgotten after so much silence.
    pub node_expiry: Duration,
    /// The shortest time between two reports of a node.
    pub report_interval_min: Duration,
    /// Most pulls of a tenant that run at once; more are counted and not followed.
    pub active_pulls_max: usize,
    /// Most pulls of a tenant in memory that ended.
    pub recent_pulls_max: usize,
    /// How long pulls that ended stay in memory.
    pub recent_age: Duration,
    /// Most nodes of a tenant.
    pub nodes_max: usize,
    /// Most layers of a pull; more are not followed one by one.
    pub layers_max: usize,
    /// Most updates of a tenant that are kept for subscribers who read slowly. Who is further behind is brought up to date
    /// from memory.
    pub updates_kept_max: usize,
    /// Most subscribers of a tenant.
    pub subscribers_max: usize,
    /// The shortest time between two batches to a subscriber.
    pub batch_interval: Duration,
    /// Most updates of a batch; what is more comes with the next one, at once.
    pub batch_updates_max: usize,
    /// How long pulls stay in the state database.
    pub history_age: Duration,
    /// Most pulls of a tenant in the state database.
    pub history_rows_max: u64,
    /// Most pulls that wait to be written to the state database.
    pub history_queue_max: usize,
}

impl Default for PullsSettings {
    fn default() -> Self {
        Self {
            stall_after: Duration::from_secs(30),
            agent_silent_after: Duration::from_secs(15),
            stale_after: Duration::from_secs(600),
            reason_wait: Duration::from_secs(3),
            node_expiry: Duration::from_secs(3_600),
            report_interval_min: Duration::from_millis(100),
            active_pulls_max: 10_000,
            recent_pulls_max: 10_000,
            recent_age: Duration::from_secs(1_800),
            nodes_max: 16_384,
            layers_max: 256,
            updates_kept_max: 32_768,
            subscribers_max: 4_096,
            batch_interval: Duration::from_millis(100),
            batch_updates_max: 512,
            history_age: Duration::from_secs(30 * 86_400),
            history_rows_max: 1_000_000,
            history_queue_max: 50_000,
        }
    }
}
