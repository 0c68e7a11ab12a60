//! A watcher that sees what a test tells it.

use std::sync::Arc;

use parking_lot::Mutex;
use tokio::sync::mpsc;

use super::{Look, Snapshot, Watcher};

/// A watcher that sees what its [`Script`] says, each snapshot once. When there is nothing more to see, it waits.
#[derive(Debug)]
pub struct ScriptedWatcher {
    snapshots: mpsc::UnboundedReceiver<Snapshot>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

/// What a [`ScriptedWatcher`] sees, and what it was told.
#[derive(Clone, Debug)]
pub struct Script {
    snapshots: mpsc::UnboundedSender<Snapshot>,
    acknowledged: Arc<Mutex<Vec<String>>>,
}

impl ScriptedWatcher {
    /// Returns a watcher and its script, which is empty.
    #[must_use]
    pub fn new() -> (Self, Script) {
        let (sender, snapshots) = mpsc::unbounded_channel();
        let acknowledged = Arc::default();
        let script = Script { snapshots: sender, acknowledged: Arc::clone(&acknowledged) };
        (Self { snapshots, acknowledged }, script)
    }
}

impl Script {
    /// Adds what is seen next.
    pub fn show(&self, snapshot: Snapshot) {
        // Nobody looks any more: then it does not matter.
        let _gone = self.snapshots.send(snapshot);
    }

    /// Returns the pulls whose end was acknowledged so far, in order, repetitions included.
    #[must_use]
    pub fn acknowledged(&self) -> Vec<String> {
        self.acknowledged.lock().clone()
    }
}

impl Watcher for ScriptedWatcher {
    fn next(&mut self) -> Look<'_> {
        Box::pin(async move {
            match self.snapshots.recv().await {
                Some(snapshot) => snapshot,
                None => std::future::pending().await,
            }
        })
    }

    fn acknowledged(&mut self, ended: &[String]) {
        self.acknowledged.lock().extend_from_slice(ended);
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn a_script_is_seen_in_order_and_hears_what_is_acknowledged() {
        let (mut watcher, script) = ScriptedWatcher::new();
        script.show(Snapshot { runtime: "one".into(), ..Snapshot::default() });
        script.show(Snapshot { runtime: "two".into(), ..Snapshot::default() });
        assert_eq!(watcher.next().await.runtime, "one");
        assert_eq!(watcher.next().await.runtime, "two");
        watcher.acknowledged(&["a".into()]);
        watcher.acknowledged(&["b".into()]);
        assert_eq!(script.acknowledged(), ["a", "b"]);
    }
}
