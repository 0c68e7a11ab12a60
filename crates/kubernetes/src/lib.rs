//! Watches the pods and the image events of Kubernetes clusters and tells [`pulls::ClusterPods`].
//!
//! It needs the verbs `list` and `watch` on the core resources `pods` and `events`, nothing else. Of the objects only what
//! concerns images is kept, and of the pods only those that wait. Without a cluster there is nothing of it, and without
//! permission pulls are followed as well, with less to tell: the cluster's [`pulls::Connection`] says why.

mod client;
mod cursor;
mod event;
mod fault;
mod follow;
mod health;
mod message;
mod pod;
mod settings;
#[cfg(test)]
mod tests;
mod watch;

pub use settings::{Access, NAMESPACES_MAX, WatchParts, WatchSettings};
pub use watch::watch;
