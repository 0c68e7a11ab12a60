//! Image pulls: reports of agents become pulls with rates, estimates and ends; pods that wait are told what for; what ended is
//! kept in the state database.

mod attempts;
mod cluster;
mod counters;
mod error;
mod filter;
mod history;
mod hub;
mod identity;
mod layer;
mod lists;
mod node;
mod original;
mod pull;
mod pulls;
mod rate;
mod settings;
mod sink;
mod tenant;
mod text;
mod time;
mod totals;
mod update;
mod view;

#[cfg(test)]
mod tests;

pub use cluster::{
    AskedFor, CONTAINERS_PER_POD_MAX, ClusterPods, ClusterTotals, Connection, Container,
    ContainerKind, ContainerState, EVENT_AGE_MAX, EVENTS_OF_UNKNOWN_PODS_AGE_MAX, ImageEvent,
    ImageEventReason, Names, Owner, PODS_HEARD_OF_MAX, PODS_MAX, Pod, PodReference, ResolvedName,
    WaitingContainer, WaitingPod,
};
pub use error::{PullsError, ReportRefused, SinkError, TooManySubscribers};
pub use filter::{PodFilter, PullCursor, PullCursorError, PullFilter, PullPage, PullQuery};
pub use hub::{Batch, Subscription};
pub use lists::{
    ClusterView, ContainerView, ImageView, NodeView, PODS_LISTED_MAX, PodView, PodsView,
};
pub use pulls::{Interest, Pulls, PullsParts};
pub use settings::{
    CANDIDATES_MAX, CLUSTERS_PER_TENANT_MAX, IMAGE_BYTES_MAX, LAYER_BYTES_MAX, MESSAGE_BYTES_MAX,
    NAME_BYTES_MAX, PULL_ID_BYTES_MAX, PullsSettings, WORD_BYTES_MAX,
};
pub use sink::{NoSink, PullSink};
pub use totals::{
    ClusterFigures, GROUPS_MAX, GroupTotals, HistoryTotals, PULL_DURATION_BOUNDS, TenantTotals,
    Totals,
};
pub use update::{Update, UpdateId, UpdateIdError, UpdateKind};
pub use view::{FailureSource, LayerView, PullFailure, PullState, PullView};
