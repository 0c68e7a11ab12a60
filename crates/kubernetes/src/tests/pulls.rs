//! From the API of a cluster and the reports of an agent to the pods of a pull.

use ::pulls::{NoSink, PullFilter, PullState, PullView, Pulls, PullsParts, PullsSettings};
use ::state::{Database, StateUrl};
use model::TenantId;
use platform::SystemFs;
use report::{Confidence, PullPhase, PullReport, Report};

use super::*;

const NGINX: &str = "docker.io/library/nginx:latest";

struct World {
    watched: Watched,
    pulls: Arc<Pulls>,
}

impl World {
    async fn start() -> Self {
        let folder = tempfile::tempdir().expect("a folder");
        let url = StateUrl::Sqlite { path: folder.path().join("state.sqlite") };
        let clock = SystemClock::new();
        let opened = Database::open(url, &*SystemFs::new(), clock.clone()).await;
        let parts = PullsParts {
            clock: clock.clone(),
            database: opened.expect("a database"),
            settings: PullsSettings {
                report_interval_min: Duration::ZERO,
                reason_wait: PATIENCE,
                ..PullsSettings::default()
            },
            sink: Arc::new(NoSink),
        };
        let pulls = Pulls::open(parts).await.expect("pulls");
        let server = Server::start().await;
        let access = kubeconfig_in(&folder, &format!("http://{}", server.address()), "");
        let pods = pulls.cluster(&TenantId::default_tenant(), "");
        let watched = Watched::feed(pods, server, access, folder, &[], timing());
        Self { watched, pulls }
    }

    fn report(&self, phase: PullPhase) {
        let pull = PullReport {
            id: "lease".to_owned(),
            image_ref: "docker.io/library/nginx".to_owned(),
            confidence: Some(Confidence::Repository),
            phase: Some(phase),
            ..PullReport::default()
        };
        let report = Report {
            node_name: NODE.to_owned(),
            agent_version: "1".to_owned(),
            pulls: vec![pull],
            ..Report::default()
        };
        self.pulls.report(&TenantId::default_tenant(), report).expect("it is taken");
    }

    fn pull(&self) -> Option<Arc<PullView>> {
        self.pulls.live(&TenantId::default_tenant(), &PullFilter::default()).pop()
    }

    /// Reports until the pull is as it should be.
    async fn until(&self, phase: PullPhase, is_so: impl Fn(&PullView) -> bool) {
        eventually(
            || format!("{:?}", self.pull()),
            || {
                self.report(phase);
                self.pulls.tick();
                self.pull().is_some_and(|pull| is_so(&pull))
            },
        )
        .await;
    }
}

fn waiters(pull: &PullView) -> Vec<&str> {
    pull.pods.iter().map(|pod| &*pod.pod).collect()
}

#[tokio::test]
async fn pods_and_events_give_a_pull_its_name_and_its_pods() {
    let world = World::start().await;
    let server = &world.watched.server;
    server.put(pod("shop", "a", "nginx", Some("ContainerCreating")));
    server.put(pod("shop", "b", "nginx:latest", Some("PodInitializing")));
    server.put(pod("shop", "c", "nginx:1", Some("PodInitializing")));
    server.put(event("shop", "a", "Pulling", "Pulling image \"nginx\""));
    world
        .until(PullPhase::Downloading, |pull| {
            &*pull.image == NGINX
                && pull.confidence == Confidence::Likely
                && waiters(pull) == ["a", "b"]
        })
        .await;
    server.put(pod("shop", "a", "nginx", None));
    world.until(PullPhase::Downloading, |pull| waiters(pull) == ["b"]).await;
    server.delete("pods", "shop", "b");
    world.until(PullPhase::Downloading, |pull| waiters(pull).is_empty()).await;
    assert_eq!(world.pull().expect("a pull").image.as_ref(), NGINX);
    world.watched.end().await;
}

#[tokio::test]
async fn a_kubelet_says_why_a_pull_failed() {
    let world = World::start().await;
    let server = &world.watched.server;
    server.put(pod("shop", "a", "nginx", Some("ContainerCreating")));
    server.put(event("shop", "a", "Pulling", "Pulling image \"nginx\""));
    world.until(PullPhase::Downloading, |pull| waiters(pull) == ["a"]).await;
    // Only where a cluster is followed is its kubelet waited for.
    world.watched.agrees().await;
    server.put(event("shop", "a", "Failed", "Failed to pull image \"nginx\": not found"));
    world
        .until(PullPhase::Failed, |pull| {
            let failure = pull.failure.as_ref();
            pull.state == PullState::Failed
                && failure.is_some_and(|failure| {
                    &*failure.reason == "ErrImagePull"
                        && &*failure.message == "Failed to pull image \"nginx\": not found"
                })
        })
        .await;
    assert_eq!(waiters(&world.pull().expect("a pull")), ["a"]);
    world.watched.end().await;
}
