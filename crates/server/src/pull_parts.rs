//! Opens the image pulls, and keeps time for them.

use std::sync::Arc;
use std::time::Duration;

use anyhow::Context as _;
use kubernetes::{Access, WatchParts, WatchSettings};
use platform::{Clock, Rng};
use pulls::{NoSink, PullSink, Pulls, PullsParts, PullsSettings};
use state::Database;
use tokio::sync::watch;

use crate::Failure;
use crate::config::{ClusterConfig, KubernetesConfig, PullsConfig};
use crate::event_log::EventParts;
use crate::pull_events::PullEvents;

/// How often silence and age are looked at, and what ended is written.
const INTERVAL: Duration = Duration::from_secs(1);

/// Opens the pulls: those that ran when the program last stopped are known again.
///
/// # Errors
///
/// The state database fails.
pub(crate) async fn open(
    config: &PullsConfig,
    clock: &Arc<dyn Clock>,
    database: Database,
    events: &EventParts,
) -> Result<Arc<Pulls>, Failure> {
    let sink: Arc<dyn PullSink> = if config.events {
        let (gateway, clock) = (Arc::clone(&events.events.gateway), Arc::clone(clock));
        Arc::new(PullEvents { gateway, clock })
    } else {
        Arc::new(NoSink)
    };
    let parts = PullsParts { clock: Arc::clone(clock), database, settings: settings(config), sink };
    Ok(Pulls::open(parts).await.context("read the image pulls")?)
}

/// Keeps time for pulls until the program stops.
pub(crate) async fn keep_time(
    pulls: Arc<Pulls>,
    clock: Arc<dyn Clock>,
    stopped: watch::Receiver<bool>,
) {
    let mut seconds = Seconds::new(clock, stopped);
    while seconds.go_on().await {
        pulls.tick();
    }
}

/// Writes what began and ended until the program stops. Apart from keeping time: a database or an event log that hangs
/// must not stop that.
pub(crate) async fn keep_history(
    pulls: Arc<Pulls>,
    clock: Arc<dyn Clock>,
    stopped: watch::Receiver<bool>,
) {
    let mut seconds = Seconds::new(clock, stopped);
    while seconds.go_on().await {
        pulls.flush().await;
    }
}

/// One second after the other, until the program stops.
struct Seconds {
    clock: Arc<dyn Clock>,
    stopped: watch::Receiver<bool>,
    next: Duration,
}

impl Seconds {
    fn new(clock: Arc<dyn Clock>, stopped: watch::Receiver<bool>) -> Self {
        let next = clock.monotonic();
        Self { clock, stopped, next }
    }

    /// Waits for the next one and returns true; false when the program stops. Those that were missed do not come later.
    async fn go_on(&mut self) -> bool {
        tokio::select! {
            biased;
            _ = self.stopped.wait_for(|stopped| *stopped) => false,
            () = self.clock.sleep_until(self.next) => {
                self.next = (self.next + INTERVAL).max(self.clock.monotonic());
                true
            }
        }
    }
}

/// Watches a cluster until the program stops, or waits for that where there is none.
pub(crate) async fn watch_cluster(
    cluster: ClusterConfig,
    pulls: Arc<Pulls>,
    (clock, rng): (Arc<dyn Clock>, Arc<dyn Rng>),
    mut stopped: watch::Receiver<bool>,
) {
    let pods = pulls.cluster(&cluster.tenant, &cluster.name);
    let access = if cluster.kubeconfig.as_os_str().is_empty() {
        Access::Automatic
    } else {
        Access::Kubeconfig { path: cluster.kubeconfig, context: cluster.context }
    };
    let settings = WatchSettings { cluster: cluster.name, access, namespaces: cluster.namespaces };
    let parts = WatchParts { clock, rng, pods };
    kubernetes::watch(settings, parts, stopped.clone()).await;
    // A sender that is gone ends the program as well.
    drop(stopped.wait_for(|stopped| *stopped).await);
}

/// Returns the clusters that are watched.
pub(crate) fn clusters(config: &PullsConfig) -> Vec<ClusterConfig> {
    let KubernetesConfig { own, own_cluster, clusters } = &config.kubernetes;
    let own = own.then(|| own_cluster.clone());
    own.into_iter().chain(clusters.iter().cloned()).collect()
}

fn settings(config: &PullsConfig) -> PullsSettings {
    PullsSettings {
        stall_after: config.stalled_after,
        agent_silent_after: config.silent_after,
        stale_after: config.lost_after,
        report_interval_min: config.limits.report_interval_min,
        active_pulls_max: config.limits.active_max,
        recent_age: config.shown,
        nodes_max: config.limits.nodes_max,
        subscribers_max: config.limits.subscribers_max,
        history_age: config.retention,
        history_rows_max: config.rows_max,
        ..PullsSettings::default()
    }
}
