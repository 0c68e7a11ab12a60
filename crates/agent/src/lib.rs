//! The agent on a node: what containerd pulls, reported to a server.

mod watch;

pub use watch::{Look, Snapshot, Watcher};
#[cfg(any(test, feature = "testing"))]
pub use watch::{Script, ScriptedWatcher};
