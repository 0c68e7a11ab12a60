use k8s_openapi::jiff;
use platform::{Clock, Timestamp};
use serde_json::json;

use super::*;

/// Returns the time so long ago, as the API writes it.
fn ago(age: Duration) -> Value {
    let now = SystemClock::new().now().as_millis();
    let age = i64::try_from(age.as_millis()).expect("a short time");
    json!(jiff::Timestamp::from_millisecond(now - age).expect("a time").to_string())
}

async fn started(namespaces: &[&str]) -> Watched {
    let server = Server::start().await;
    for index in 0..7 {
        server.put(pod("shop", &format!("p{index}"), "nginx", Some("ContainerCreating")));
        server.put(pod("bank", &format!("p{index}"), "nginx", None));
    }
    server.put(pod("bank", "q", "redis", Some("ErrImagePull")));
    Watched::start(server, namespaces, timing()).await
}

#[tokio::test]
async fn a_list_is_read_in_pages_and_then_followed() {
    let watched = started(&[]).await;
    watched.agrees().await;
    assert_eq!(watched.names().len(), 8);
    let server = &watched.server;
    assert_eq!(server.requests("list pods *").len(), 5);
    assert_eq!(server.parameter("list pods", "limit").as_deref(), Some("3"));
    let selector = server.parameter("list events", "fieldSelector").expect("a selector");
    assert!(selector.starts_with("involvedObject.kind=Pod,reason!=Scheduled,"), "{selector}");
    assert_eq!(server.parameter("watch events", "fieldSelector"), Some(selector));
    assert_eq!(server.parameter("watch pods", "allowWatchBookmarks").as_deref(), Some("true"));

    server.put(pod("shop", "new", "x", Some("ContainerCreating")));
    watched.agrees().await;
    server.put(pod("shop", "new", "x", None));
    server.delete("pods", "shop", "p3");
    watched.agrees().await;
    assert_eq!(watched.server.requests("list pods").len(), 5);
    watched.end().await;
}

#[tokio::test]
async fn pods_and_events_lead_to_images_that_are_asked_for() {
    let watched = started(&[]).await;
    watched.agrees().await;
    let server = &watched.server;
    server.put(event("shop", "p1", "Pulling", "Pulling image \"nginx\""));
    watched.asks(&["docker.io/library/nginx:latest"]).await;
    let names = Names { image: "docker.io/library/nginx:latest", ..Names::default() };
    assert_eq!(watched.pods.pods_for(NODE, &names).len(), 7);
    server.put(event("shop", "p1", "Pulled", "Successfully pulled image \"nginx\" in 2s"));
    watched.asks(&[]).await;
    // The event expires: that it is deleted says nothing of the image.
    server.delete("events", "shop", "p1.pulling");
    let mut failed = event("bank", "q", "Failed", "Failed to pull image \"redis\": not found");
    failed["lastTimestamp"] = ago(Duration::from_secs(9));
    server.put(failed);
    server.put(event("bank", "q", "Pulling", "Hole Abbild"));
    watched.asks(&["docker.io/library/redis:latest"]).await;
    assert_eq!(watched.pods.totals().unknown_messages, 1);
    let names = Names { image: "docker.io/library/redis:latest", ..Names::default() };
    let failure = watched.pods.failure_of(NODE, &names, Timestamp::MIN).expect("a failure");
    assert_eq!(&*failure.message, "Failed to pull image \"redis\": not found");
    watched.end().await;
}

#[tokio::test]
async fn namespaces_count_for_pods_and_events_alike() {
    for (namespaces, expected) in [
        (&[][..], &["docker.io/library/nginx:latest", "docker.io/library/redis:latest"][..]),
        (&[" ", ""], &["docker.io/library/nginx:latest", "docker.io/library/redis:latest"]),
        (&[" bank "], &["docker.io/library/redis:latest"]),
        (
            &["bank", "shop", "bank"],
            &["docker.io/library/nginx:latest", "docker.io/library/redis:latest"],
        ),
        (&["none"], &[]),
    ] {
        let watched = started(namespaces).await;
        let server = &watched.server;
        server.put(event("shop", "p1", "Pulling", "Pulling image \"nginx\""));
        server.put(event("bank", "q", "Pulling", "Pulling image \"redis\""));
        let mut asked = expected.to_vec();
        asked.sort_unstable();
        eventually(
            || format!("{:?}", watched.asked()),
            || {
                let mut now = watched.asked();
                now.sort();
                now == asked && watched.pods.connection() == Connection::Live
            },
        )
        .await;
        let is_all = namespaces.iter().all(|name| name.trim().is_empty());
        let of_all =
            server.requests("list pods * ").len() + server.requests("list events * ").len();
        assert_eq!(of_all > 0, is_all, "{namespaces:?}");
        let names = watched.names();
        assert!(names.iter().all(|name| {
            is_all || namespaces.iter().any(|one| name.starts_with(&format!("{}/", one.trim())))
        }));
        watched.end().await;
    }
}

#[tokio::test]
async fn without_a_cluster_there_is_nothing_and_no_error() {
    let clock = SystemClock::new();
    let pods = Arc::new(ClusterPods::new(clock.clone()));
    let parts = WatchParts { clock, rng: SimRng::new(7), pods: Arc::clone(&pods) };
    let settings =
        WatchSettings { cluster: String::new(), access: Access::Automatic, namespaces: Vec::new() };
    let (_stop, stopped) = watch::channel(false);
    watch_with(settings, parts, stopped, timing()).await;
    assert_eq!(pods.connection(), Connection::Off);
}
