//! The watch against a server that speaks the protocol of the API, and breaks it.

mod faults;
mod pulls;
mod server;
mod state;
mod tls;

use std::sync::Arc;
use std::time::Duration;

use ::pulls::{ClusterPods, Connection, Names, PodFilter};
use platform::{SimRng, SystemClock, Tasks};
use serde_json::Value;
use tokio::sync::watch;

use self::server::Server;
use crate::settings::{Access, Timing, WatchParts, WatchSettings};
use crate::watch::watch_with;

const NODE: &str = "node-1";
/// How long a test waits for what must happen.
const PATIENCE: Duration = Duration::from_secs(20);

/// A watch of a server, and what it tells.
struct Watched {
    server: Arc<Server>,
    pods: Arc<ClusterPods>,
    tasks: Tasks,
    stop: watch::Sender<bool>,
    /// Has the kubeconfig file.
    _folder: tempfile::TempDir,
}

fn timing() -> Timing {
    Timing {
        retry_min: Duration::from_millis(2),
        retry_max: Duration::from_millis(20),
        page: 3,
        ..Timing::default()
    }
}

/// Returns a kubeconfig file for a server.
fn kubeconfig(url: &str, authority: &str) -> (tempfile::TempDir, Access) {
    let folder = tempfile::tempdir().expect("a folder");
    let access = kubeconfig_in(&folder, url, authority);
    (folder, access)
}

fn kubeconfig_in(folder: &tempfile::TempDir, url: &str, authority: &str) -> Access {
    let path = folder.path().join("config");
    let config = serde_json::json!({
        "apiVersion": "v1", "kind": "Config", "current-context": "c",
        "clusters": [{"name": "c", "cluster": {"server": url, "certificate-authority-data": authority}}],
        "users": [{"name": "u", "user": {"token": "secret"}}],
        "contexts": [{"name": "c", "context": {"cluster": "c", "user": "u"}}],
    });
    #[expect(clippy::disallowed_methods, reason = "the file is read by a library")]
    std::fs::write(&path, config.to_string()).expect("a file");
    Access::Kubeconfig { path, context: None }
}

impl Watched {
    async fn start(server: Arc<Server>, namespaces: &[&str], timing: Timing) -> Self {
        let url = format!("http://{}", server.address());
        let (folder, access) = kubeconfig(&url, "");
        Self::start_at(server, access, folder, namespaces, timing)
    }

    fn start_at(
        server: Arc<Server>,
        access: Access,
        folder: tempfile::TempDir,
        namespaces: &[&str],
        timing: Timing,
    ) -> Self {
        let pods = Arc::new(ClusterPods::new(SystemClock::new()));
        Self::feed(pods, server, access, folder, namespaces, timing)
    }

    fn feed(
        pods: Arc<ClusterPods>,
        server: Arc<Server>,
        access: Access,
        folder: tempfile::TempDir,
        namespaces: &[&str],
        timing: Timing,
    ) -> Self {
        let clock = SystemClock::new();
        let parts = WatchParts { clock, rng: SimRng::new(7), pods: Arc::clone(&pods) };
        let settings = WatchSettings {
            cluster: "test".to_owned(),
            access,
            namespaces: namespaces.iter().map(|name| (*name).to_owned()).collect(),
        };
        let (stop, stopped) = watch::channel(false);
        let mut tasks = Tasks::new();
        tasks.spawn("watch", watch_with(settings, parts, stopped, timing));
        Self { server, pods, tasks, stop, _folder: folder }
    }

    /// Waits until the pods that wait are those of the server, and the cluster is followed.
    async fn agrees(&self) {
        let expected = self.server.waiting();
        let what = || format!("{:?} {:?}, not {expected:?}", self.pods.connection(), self.names());
        eventually(what, || self.pods.connection() == Connection::Live && self.names() == expected)
            .await;
    }

    /// Waits until the reason why the cluster is not followed holds a text.
    async fn is_degraded(&self, text: &str) {
        let what = || format!("{:?}, not '{text}'", self.pods.connection());
        eventually(what, || {
            matches!(self.pods.connection(), Connection::Degraded { reason } if reason.contains(text))
        })
        .await;
    }

    /// Returns the names of the pods that wait.
    fn names(&self) -> Vec<String> {
        let pods = self.pods.waiting(&PodFilter::default(), usize::MAX);
        pods.iter().map(|pod| format!("{}/{}", pod.pod.namespace, pod.pod.name)).collect()
    }

    /// Returns the images that are asked for.
    fn asked(&self) -> Vec<String> {
        self.pods.asked_for(NODE).iter().map(|asked| asked.image.to_string()).collect()
    }

    async fn asks(&self, images: &[&str]) {
        eventually(|| format!("{:?}, not {images:?}", self.asked()), || self.asked() == images)
            .await;
    }

    async fn end(mut self) {
        self.stop.send(true).expect("it runs");
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("it ends when it is told to").expect("one task").expect("no panic");
    }
}

/// Waits until a condition holds.
///
/// # Panics
///
/// When it does not for too long, with what is instead.
async fn eventually(what: impl Fn() -> String, condition: impl Fn() -> bool) {
    let hopeless = tokio::time::Instant::now() + PATIENCE;
    while !condition() {
        assert!(tokio::time::Instant::now() < hopeless, "{}", what());
        tokio::time::sleep(Duration::from_millis(2)).await;
    }
}

/// A pod with container `app`, which waits for a reason, or runs when there is none.
fn pod(namespace: &str, name: &str, image: &str, waits: Option<&str>) -> Value {
    let state = match waits {
        Some(reason) => serde_json::json!({"waiting": {"reason": reason}}),
        None => serde_json::json!({"running": {}}),
    };
    serde_json::json!({
        "apiVersion": "v1", "kind": "Pod",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}")},
        "spec": {"nodeName": NODE, "containers": [{"name": "app", "image": image}]},
        "status": {"phase": "Pending", "containerStatuses": [{"name": "app", "image": image,
            "imageID": "", "ready": false, "restartCount": 0, "state": state}]},
    })
}

/// An event about container `app` of a pod, now.
fn event(namespace: &str, pod: &str, reason: &str, message: &str) -> Value {
    let name = format!("{pod}.{}", reason.to_lowercase());
    serde_json::json!({
        "apiVersion": "v1", "kind": "Event",
        "metadata": {"namespace": namespace, "name": name, "uid": format!("{namespace}-{name}")},
        "involvedObject": {"kind": "Pod", "namespace": namespace, "name": pod,
            "uid": format!("{namespace}-{pod}"), "fieldPath": "spec.containers{app}"},
        "reason": reason, "message": message, "source": {"component": "kubelet", "host": NODE},
        "count": 1,
    })
}
