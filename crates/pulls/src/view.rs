//! What readers see of a pull.

use std::fmt;
use std::str::FromStr;
use std::sync::Arc;

use platform::Timestamp;
use report::{Confidence, LayerPhase, UnknownWord};

use crate::cluster::PodReference;

/// How far a pull is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum PullState {
    /// Asked for by a kubelet, not begun by the runtime: of containers that wait, never of a pull.
    Queued,
    /// Begun; its layers are not known yet.
    Resolving,
    /// Layers are downloaded.
    Downloading,
    /// Everything is there and layers are still unpacked.
    Unpacking,
    /// The image is there.
    Completed,
    /// It ended, and the image is not there.
    Failed,
    /// Its agent is silent: it may go on, have ended, or have failed. It becomes live again when the agent comes back.
    Unknown,
}

impl PullState {
    /// All, in order.
    pub const ALL: [Self; 7] = [
        Self::Queued,
        Self::Resolving,
        Self::Downloading,
        Self::Unpacking,
        Self::Completed,
        Self::Failed,
        Self::Unknown,
    ];

    /// Returns whether it has ended.
    #[must_use]
    pub const fn is_ended(self) -> bool {
        matches!(self, Self::Completed | Self::Failed)
    }

    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Queued => "queued",
            Self::Resolving => "resolving",
            Self::Downloading => "downloading",
            Self::Unpacking => "unpacking",
            Self::Completed => "completed",
            Self::Failed => "failed",
            Self::Unknown => "unknown",
        }
    }
}

impl fmt::Display for PullState {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for PullState {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|each| each.as_str() == word);
        found.ok_or(UnknownWord)
    }
}

/// Where the reason of a failure comes from.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum FailureSource {
    /// The agent saw the pull end without an image.
    Agent,
    /// The kubelet said so, in an event or in the status of a pod.
    Kubelet,
    /// The agent was silent for too long.
    Silence,
}

impl FailureSource {
    /// All, in order.
    pub const ALL: [Self; 3] = [Self::Agent, Self::Kubelet, Self::Silence];

    /// Returns the word on the wire.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Agent => "agent",
            Self::Kubelet => "kubelet",
            Self::Silence => "silence",
        }
    }
}

impl fmt::Display for FailureSource {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.as_str())
    }
}

impl FromStr for FailureSource {
    type Err = UnknownWord;

    fn from_str(word: &str) -> Result<Self, UnknownWord> {
        let found = Self::ALL.into_iter().find(|each| each.as_str() == word);
        found.ok_or(UnknownWord)
    }
}

/// Why a pull failed.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct PullFailure {
    /// A word of a small set: `ErrImagePull`, `ImagePullBackOff`, `Aborted`, `AgentLost` and such.
    pub reason: Arc<str>,
    /// What people read; may be empty. At most 1,024 bytes.
    pub message: Arc<str>,
    /// Who said so.
    pub source: FailureSource,
}

/// A pull at one moment. Immutable: readers share it.
#[derive(Clone, Debug, PartialEq)]
pub struct PullView {
    /// Tells it from every other pull of the tenant: 32 hexadecimal digits, the same after a restart of the server.
    pub id: Arc<str>,
    /// The cluster; empty where there is only one.
    pub cluster: Arc<str>,
    /// The node.
    pub node: Arc<str>,
    /// The image's best name; a digest where it has none, empty where not even that is known.
    pub image: Arc<str>,
    /// How sure the name is.
    pub confidence: Confidence,
    /// Other names that it may have.
    pub candidates: Vec<Arc<str>>,
    /// The digest that the name leads to; empty where it is not known.
    pub digest: Arc<str>,
    /// How far it is.
    pub state: PullState,
    /// Since when no byte arrived although it downloads, when that is longer than the configured time.
    pub stalled_since: Option<Timestamp>,
    /// Why it failed; on a pull that goes on, why the attempt before it failed.
    pub failure: Option<PullFailure>,
    /// Which attempt of its image on its node this is, from 1.
    pub attempt: u32,
    /// Bytes of the layers that are not cached, as far as they are known.
    pub total_bytes: u64,
    /// Bytes of them that are there, those of an earlier attempt included.
    pub downloaded_bytes: u64,
    /// Bytes that this pull took over the network.
    pub transferred_bytes: u64,
    /// Bytes of layers that were there before.
    pub cached_bytes: u64,
    /// Whether `total_bytes` is final.
    pub total_known: bool,
    /// Bytes per second over the window of rates; 0 once it ended.
    pub bytes_per_second: f64,
    /// Time left, in seconds; `None` where it cannot be said.
    pub eta_seconds: Option<f64>,
    /// 0 to 100, never less than before.
    pub percent: f64,
    /// The layers, in the order of the manifest. Configurations, manifests and indexes are none.
    pub layers: Vec<LayerView>,
    /// How many of them are there, cached ones included.
    pub layers_done: u32,
    /// How many of them were there before.
    pub layers_cached: u32,
    /// When it was asked for, where a kubelet said so before it began.
    pub queued_at: Option<Timestamp>,
    /// When it began, by this server's clock.
    pub started_at: Timestamp,
    /// When it ended, by this server's clock.
    pub ended_at: Option<Timestamp>,
    /// When anything about it last changed, by this server's clock.
    pub updated_at: Timestamp,
    /// Whether bytes are unknown because a snapshotter fetches the layers itself.
    pub indirect: bool,
    /// The containers that wait for it; once it ended, those that waited.
    pub pods: Vec<PodReference>,
}

/// A layer at one moment.
#[derive(Clone, Debug, PartialEq)]
pub struct LayerView {
    /// The digest, without a prefix.
    pub digest: Arc<str>,
    /// The media type; empty where it is not known.
    pub media_type: Arc<str>,
    /// How far it is.
    pub phase: LayerPhase,
    /// Its compressed size; 0 where it is not known.
    pub total_bytes: u64,
    /// How much of it is there.
    pub downloaded_bytes: u64,
    /// Whether `total_bytes` is known.
    pub total_known: bool,
    /// How much of it an earlier attempt had left.
    pub resumed_bytes: u64,
    /// Bytes per second; 0 once it is there.
    pub bytes_per_second: f64,
    /// 0 to 100, never less than before.
    pub percent: f64,
    /// When its download began, by this server's clock.
    pub started_at: Option<Timestamp>,
    /// When it was there, by this server's clock.
    pub completed_at: Option<Timestamp>,
}
