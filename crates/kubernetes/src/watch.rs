//! All watches of one cluster.

use std::sync::Arc;

use futures_util::future::{join, join_all};
use kube::Client;
use pulls::Connection;
use tokio::sync::watch;

use crate::client::client;
use crate::follow::{Events, Followed, Follower, Pods};
use crate::health::Health;
use crate::settings::{Timing, WatchParts, WatchSettings};

/// Watches a cluster until `stop` is true or its sender is gone, and tells `parts.pods` what it sees.
///
/// It never fails: what is wrong is told as the cluster's connection, in the log, and tried again. Where there is no cluster
/// and [`Access::Automatic`](crate::Access) allows that, it returns at once. To be run as a task of its own.
pub async fn watch(settings: WatchSettings, parts: WatchParts, stop: watch::Receiver<bool>) {
    watch_with(settings, parts, stop, Timing::default()).await;
}

pub(crate) async fn watch_with(
    settings: WatchSettings,
    parts: WatchParts,
    mut stop: watch::Receiver<bool>,
    timing: Timing,
) {
    let scopes = settings.scopes();
    let mut told = None;
    let client = loop {
        match client(&settings.access).await {
            Ok(Some(client)) => break client,
            Ok(None) => return,
            Err(reason) => {
                if told.as_ref() != Some(&reason) {
                    let cluster = &settings.cluster;
                    tracing::warn!(cluster, reason, "kubernetes cluster cannot be reached");
                    let reason = Arc::from(reason.as_str());
                    parts.pods.set_connection(Connection::Degraded { reason });
                }
                told = Some(reason);
            }
        }
        // The files may come, or be mended.
        let deadline = parts.clock.monotonic() + timing.retry_max;
        tokio::select! {
            biased;
            _ = stop.wait_for(|stop| *stop) => return,
            () = parts.clock.sleep_until(deadline) => {}
        }
    };
    let health = Health::new(&settings.cluster, Arc::clone(&parts.pods), 2 * scopes.len());
    let follow = Followers { client, parts: &parts, timing, health: &health };
    let pods = scopes.iter().enumerate().map(|(index, scope)| {
        follow.one(Pods::default(), scope.clone(), 2 * index).run(stop.clone())
    });
    let events = scopes
        .iter()
        .enumerate()
        .map(|(index, scope)| follow.one(Events, scope.clone(), 2 * index + 1).run(stop.clone()));
    join(join_all(pods), join_all(events)).await;
}

/// What all followers of a cluster share.
struct Followers<'a> {
    client: Client,
    parts: &'a WatchParts,
    timing: Timing,
    health: &'a Health,
}

impl<'a> Followers<'a> {
    fn one<F: Followed>(
        &self,
        followed: F,
        namespace: Option<String>,
        index: usize,
    ) -> Follower<'a, F> {
        Follower {
            followed,
            client: self.client.clone(),
            namespace,
            parts: self.parts,
            timing: self.timing,
            health: self.health,
            index,
        }
    }
}
