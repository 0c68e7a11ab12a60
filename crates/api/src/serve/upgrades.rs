//! Connections that became something else than HTTP, such as WebSocket.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;

use tokio::sync::mpsc;

use super::places::Place;
use super::stats::ServeStats;

/// What goes on with a connection after HTTP.
pub(super) type Upgraded = Pin<Box<dyn Future<Output = ()> + Send>>;

/// Gives work on an upgraded connection to the accept loop, which owns it from then on: it counts it among the
/// connections, and waits for it when the program stops. Found among the extensions of every request over a socket.
#[derive(Clone, Debug)]
pub(crate) struct Upgrades {
    sender: mpsc::Sender<Upgraded>,
    place: Arc<Place>,
    stats: Arc<ServeStats>,
}

impl Upgrades {
    pub(super) fn new(
        sender: mpsc::Sender<Upgraded>,
        place: Arc<Place>,
        stats: Arc<ServeStats>,
    ) -> Self {
        Self { sender, place, stats }
    }

    /// Hands `work` over. It is dropped, and the connection closed with it, once the accept loop has ended.
    pub(crate) async fn hand_over(self, work: impl Future<Output = ()> + Send + 'static) {
        let Self { sender, place, stats } = self;
        let counted = Counted::new(stats);
        let work = async move {
            let _held = (place, counted);
            work.await;
        };
        if sender.send(Box::pin(work)).await.is_err() {
            tracing::debug!("upgraded connection was closed: the server has stopped");
        }
    }
}

/// Counts an upgraded connection while it lives.
struct Counted(Arc<ServeStats>);

impl Counted {
    fn new(stats: Arc<ServeStats>) -> Self {
        stats.upgraded();
        Self(stats)
    }
}

impl Drop for Counted {
    fn drop(&mut self) {
        self.0.upgraded_closed();
    }
}
