use serde_json::json;

use super::server::{Fault, status_object};
use super::*;

fn error_line(code: u16) -> String {
    json!({"type": "ERROR", "object": status_object(code)}).to_string()
}

/// A watch of a server with pods that wait, which is followed.
async fn followed() -> Watched {
    let watched = starting(&[], timing()).await;
    watched.agrees().await;
    watched
}

/// A watch of a server with pods that wait, on which things go wrong from the start.
async fn starting(faults: &[(&str, &[Fault])], timing: Timing) -> Watched {
    let server = Server::start().await;
    for index in 0..7 {
        server.put(pod("shop", &format!("p{index}"), "nginx", Some("ContainerCreating")));
    }
    server.put(event("shop", "p1", "Pulling", "Pulling image \"nginx\""));
    for (requests, faults) in faults {
        server.fail(requests, faults);
    }
    Watched::start(server, &[], timing).await
}

/// Changes the server while nobody watches: a pod is made, one starts, one is deleted.
fn change(server: &Server) {
    server.put(pod("shop", "late", "redis", Some("ContainerCreating")));
    server.put(pod("shop", "p1", "nginx", None));
    server.delete("pods", "shop", "p2");
    server.put(event("shop", "late", "Pulling", "Pulling image \"redis\""));
}

/// Checks that all is as on the server after [`change`].
async fn is_changed(watched: &Watched) {
    watched.agrees().await;
    assert!(!watched.names().iter().any(|name| name == "shop/p1" || name == "shop/p2"));
    watched.asks(&["docker.io/library/redis:latest"]).await;
    watched.server.put(pod("shop", "last", "x", Some("ContainerCreating")));
    watched.agrees().await;
}

#[tokio::test]
async fn a_watch_that_ends_or_breaks_goes_on_where_it_was() {
    let half = "{\"type\":\"ADDED\",\"object\":{\"kind\":\"Pod\",\"metadata\":{\"name\":\"ha";
    for (says, rough) in
        [("", false), ("", true), (half, false), (half, true), ("not json\n", false)]
    {
        let watched = followed().await;
        let server = &watched.server;
        let lists = server.requests("list").len();
        server.put(pod("shop", "before", "x", Some("ContainerCreating")));
        watched.agrees().await;
        server.end_watches(says, rough);
        change(server);
        is_changed(&watched).await;
        assert_eq!(server.requests("list").len(), lists, "{says} {rough}");
        watched.end().await;
    }
}

#[tokio::test]
async fn a_bookmark_moves_the_watch_on() {
    let watched = followed().await;
    let server = &watched.server;
    server.bookmark("pods");
    server.bookmark("events");
    let pods_watched = server.requests("watch pods").len();
    // Whatever was before the bookmarks is forgotten, and it does not matter.
    eventually(
        || "watches go on".to_owned(),
        || {
            server.end_watches("", false);
            pods_watched + 2 < server.requests("watch pods").len()
        },
    )
    .await;
    let last = server.requests("watch pods").pop().expect("a watch");
    assert_eq!(last, "watch pods * 9");
    change(server);
    is_changed(&watched).await;
    watched.end().await;
}

#[tokio::test]
async fn what_the_server_forgot_is_listed_again_and_deletions_are_noticed() {
    let watched = followed().await;
    let server = &watched.server;
    let lists = server.requests("list pods").len();
    server.refuse(Some(503));
    server.end_watches("", true);
    watched.is_degraded("(503)").await;
    change(server);
    server.forget();
    server.refuse(None);
    is_changed(&watched).await;
    assert!(lists < server.requests("list pods").len());
    watched.end().await;
}

#[tokio::test]
async fn a_version_that_is_gone_is_not_asked_for_again() {
    for gone in [Fault::Status(410), Fault::Says(error_line(410))] {
        let faults = [gone.clone(), gone.clone()];
        let watched =
            starting(&[("watch pods", &faults), ("watch events", &faults)], timing()).await;
        eventually(|| "all faults".to_owned(), || watched.server.has_failed()).await;
        watched.agrees().await;
        // One list from the start, and one for each time that the version was gone.
        let lists = || {
            let pages = watched.server.requests("list pods");
            pages.iter().filter(|request| request.ends_with("* ")).count()
        };
        eventually(|| format!("{} lists for {gone:?}", lists()), || lists() == 3).await;
        change(&watched.server);
        is_changed(&watched).await;
        assert_eq!(lists(), 3, "{gone:?}");
        watched.end().await;
    }
}

#[tokio::test]
async fn a_page_that_fails_begins_the_list_anew() {
    for code in [410, 500] {
        let faults = vec![Fault::Status(code); 100_000];
        let watched = starting(&[("page pods", &faults)], timing()).await;
        let server = &watched.server;
        // The first page was read, and holds a pod that is deleted before there is a second one.
        eventually(
            || format!("{:?}", server.requests("list pods")),
            || !server.requests("list pods * 0:").is_empty(),
        )
        .await;
        server.delete("pods", "shop", "p0");
        server.mend();
        watched.agrees().await;
        watched.end().await;
    }
}

#[tokio::test]
async fn every_refusal_is_told_and_overcome() {
    for (code, reason) in [
        (403, "the verb 'watch' on 'events' in all namespaces is not allowed"),
        (401, "the server does not accept the credentials"),
        (429, "cannot watch events in all namespaces: as the test wants it (429)"),
        (500, "cannot watch events in all namespaces: as the test wants it (500)"),
        (503, "cannot watch events in all namespaces: as the test wants it (503)"),
    ] {
        // Often enough to be seen.
        let faults = vec![Fault::Status(code); 8];
        let watched = starting(&[("watch events", &faults)], timing()).await;
        watched.is_degraded(reason).await;
        eventually(|| "all faults".to_owned(), || watched.server.has_failed()).await;
        watched.agrees().await;
        change(&watched.server);
        is_changed(&watched).await;
        watched.end().await;
    }
}

#[tokio::test]
async fn permission_for_pods_alone_is_of_use() {
    let server = Server::start().await;
    server.put(pod("shop", "p1", "nginx", Some("ContainerCreating")));
    server.fail("list events", &vec![Fault::Status(403); 100_000]);
    let watched = Watched::start(server, &["shop"], timing()).await;
    let reason = "the verb 'list' on 'events' in namespace 'shop' is not allowed; grant it";
    watched.is_degraded(reason).await;
    eventually(|| format!("{:?}", watched.names()), || watched.names() == ["shop/p1"]).await;
    watched.end().await;
}

#[tokio::test]
async fn a_watch_that_says_errors_is_told_if_that_goes_on() {
    for fault in [Fault::Says(error_line(500)), Fault::Ends, Fault::Says("{}".to_owned())] {
        let timing = Timing { retry_max: Duration::from_millis(500), ..timing() };
        let faults = vec![fault; 4];
        let watched = starting(&[("watch pods", &faults)], timing).await;
        watched.is_degraded("cannot watch pods in all namespaces").await;
        watched.agrees().await;
        change(&watched.server);
        is_changed(&watched).await;
        watched.end().await;
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_not_waited_for() {
    let timing = Timing { answer_max: Duration::from_millis(100), ..timing() };
    let silence = [Fault::Silence, Fault::Silence, Fault::Silence];
    for request in ["list pods", "watch pods"] {
        let watched = starting(&[(request, &silence)], timing).await;
        watched.is_degraded("the server does not answer").await;
        change(&watched.server);
        is_changed(&watched).await;
        watched.end().await;
    }
}

#[tokio::test]
async fn a_silent_watch_is_replaced() {
    let timing = Timing {
        watch: Duration::from_millis(100),
        watch_grace: Duration::from_millis(50),
        ..timing()
    };
    let watched = starting(&[], timing).await;
    watched.agrees().await;
    let watches = watched.server.requests("watch pods").len();
    eventually(
        || "another watch".to_owned(),
        || watches + 2 < watched.server.requests("watch pods").len(),
    )
    .await;
    change(&watched.server);
    is_changed(&watched).await;
    watched.end().await;
}

#[tokio::test]
async fn a_server_that_is_not_there_is_told_and_waited_for() {
    let server = Server::start().await;
    let (folder, access) = kubeconfig("http://127.0.0.1:1", "");
    let watched = Watched::start_at(server, access, folder, &[], timing());
    watched.is_degraded("cannot list").await;
    watched.is_degraded("onnection refused").await;
    watched.end().await;
}

#[tokio::test]
async fn a_file_that_is_wrong_is_told_and_may_be_mended() {
    let server = Server::start().await;
    server.put(pod("shop", "p1", "nginx", Some("ContainerCreating")));
    let (folder, access) = kubeconfig(&format!("http://{}", server.address()), "");
    let Access::Kubeconfig { path, .. } = access else { panic!("a file") };
    let later = folder.path().join("later");
    let access = Access::Kubeconfig { path: later.clone(), context: None };
    let watched = Watched::start_at(server, access, folder, &[], timing());
    watched.is_degraded("later").await;
    #[expect(clippy::disallowed_methods, reason = "the file is read by a library")]
    std::fs::rename(path, later).expect("a file");
    watched.agrees().await;
    watched.end().await;
}

#[tokio::test]
async fn a_watch_is_stopped_while_it_waits() {
    let server = Server::start().await;
    server.refuse(Some(503));
    let timing = Timing { retry_min: Duration::from_secs(600), ..Timing::default() };
    let watched = Watched::start(server, &[], timing).await;
    watched.is_degraded("(503)").await;
    watched.end().await;
}
