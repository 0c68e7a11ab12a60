//! What there is to see of the pulls on the node: the seam between those who look and those who report.

use std::fmt;
use std::future::Future;
use std::pin::Pin;

use report::{PullReport, Source};

mod containerd;
mod document;
mod folder;
mod look;
mod observation;
mod reference;
#[cfg(any(test, feature = "testing"))]
mod scripted;
mod tracker;

pub use containerd::{ContainerdWatcher, Pace};
pub use folder::FolderWatcher;
#[cfg(any(test, feature = "testing"))]
pub use scripted::{Script, ScriptedWatcher};

/// What one look showed.
#[derive(Clone, Debug, Default, PartialEq)]
pub struct Snapshot {
    /// The pulls that run, in the order in which they began, and those that ended and were not acknowledged yet.
    pub pulls: Vec<PullReport>,
    /// The runtime, such as `containerd 1.7.24`; empty until it is known.
    pub runtime: String,
    /// Where it was looked.
    pub source: Source,
    /// Why it could not be looked; `pulls` is then what was seen last. Empty when it could.
    pub error: String,
    /// Whether a pull runs: the next look follows soon.
    pub active: bool,
}

/// A look that is under way.
pub type Look<'a> = Pin<Box<dyn Future<Output = Snapshot> + Send + 'a>>;

/// Somebody who looks at the pulls on the node.
pub trait Watcher: Send + fmt::Debug {
    /// Waits until it is time to look, and looks. The first look is at once.
    ///
    /// It never fails: what went wrong is in [`Snapshot::error`]. Dropping the future is safe, nothing is lost.
    fn next(&mut self) -> Look<'_>;

    /// Forgets pulls that ended and whose end was delivered, by [`PullReport::id`]. Until then each snapshot has them, except
    /// when there are too many or they are too old. Others than ended ones are left alone.
    fn acknowledged(&mut self, ended: &[String]);
}
