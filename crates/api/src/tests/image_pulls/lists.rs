//! What is answered to those who ask once.

use super::*;

#[tokio::test]
async fn what_pulltraces_agents_report_is_answered_as_its_pages_expect_it() {
    let server = Server::new().await;
    let original = include_str!("original-report.json");
    check_schema("report", &serde_json::from_str(original).expect("JSON"));
    server.check(post(REPORT, original), 200, "").await;
    let answer = ask(&server, LIVE).await;
    check_schema("list", &answer);
    let pulls = answer["pulls"].as_array().expect("a list");
    let named = |name: &str| pulls.iter().find(|pull| pull["imageRef"] == name).expect("a pull");
    let redis = named("docker.io/library/redis:7");
    assert_eq!(redis["nodeName"], "worker-1");
    assert_eq!(redis["totalKnown"], false);
    assert_eq!(redis["layers"][0]["totalKnown"], false);
    let unresolved = named("__pulling__");
    assert_eq!(unresolved["confidence"], "unknown");
    assert_eq!(
        (&unresolved["totalBytes"], &unresolved["downloadedBytes"], &unresolved["percent"]),
        (&json!(67_108_864), &json!(33_554_432), &json!(50.0))
    );
    let layer = &unresolved["layers"][0];
    let digest = "sha256:5f70bf18a086007016e948b04aed3b82103a36bea41755b6cddfaf10ace3c6ef";
    assert_eq!(layer["digest"], digest, "without the prefix of an ingest");
    assert_eq!(layer["pullId"], unresolved["id"]);
    assert!(layer["mediaType"].is_string() && layer["bytesPerSec"].is_number());
    // Absence is the end, as with the original.
    server.clock.advance(Duration::from_secs(1));
    let idle = r#"{"nodeName":"worker-1","timestamp":"2024-11-19T07:06:41Z","pulls":null}"#;
    server.check(post(REPORT, idle), 200, "").await;
    let answer = ask(&server, LIVE).await;
    check_schema("list", &answer);
    for pull in answer["pulls"].as_array().expect("a list") {
        assert!(pull["completedAt"].is_string(), "{pull}");
    }
}

#[tokio::test]
async fn an_image_without_a_name_has_its_digest_where_pulltrace_had_no_route() {
    let server = Server::new().await;
    let digest = digest(7);
    let body = report_of("a", &[Pull::of("1", &digest)]).replace("certain", "unknown");
    server.check(post(REPORT, &body), 200, "").await;
    for (uri, expected) in [(LIVE, "__pulling__"), ("/v1/pulls", digest.as_str())] {
        assert_eq!(field(&ask(&server, uri).await, "pulls", "imageRef"), [expected], "{uri}");
    }
}

#[tokio::test]
async fn a_failed_pull_says_why_and_when() {
    let server = Server::new().await;
    report(&server, "a", &[Pull::of("1", "nginx:1").at([500, 0])]).await;
    report(&server, "a", &[Pull::of("1", "nginx:1").at([500, 0]).phase("failed")]).await;
    let answer = ask(&server, LIVE).await;
    check_schema("list", &answer);
    let pull = &answer["pulls"][0];
    assert_eq!((&pull["state"], &pull["bytesPerSec"]), (&json!("failed"), &json!(0.0)));
    assert_eq!(pull["error"], "the registry went away");
    assert_eq!(pull["failure"]["source"], "agent");
    assert!(pull["completedAt"].is_string() && pull["percent"] == json!(25.0), "{pull}");
    let id = pull["id"].as_str().expect("an id");
    assert_eq!(ask(&server, &format!("/v1/pulls/{id}")).await["error"], pull["error"]);
}

#[tokio::test]
async fn pulls_are_found_by_what_is_asked_for() {
    let server = Server::new().await;
    report(&server, "a", &[Pull::of("1", "docker.io/library/nginx:1"), Pull::of("2", "redis:7")])
        .await;
    report(
        &server,
        "b",
        &[Pull::of("1", "docker.io/library/nginx:1").at([1_000, 1_000]).phase("completed")],
    )
    .await;
    for (query, count) in [
        ("", 3),
        ("?node=a", 2),
        ("?node=A", 0),
        ("?image=NGINX", 2),
        ("?image=nginx&node=b", 1),
        ("?state=completed", 1),
        ("?state=completed,downloading", 3),
        ("?state=failed&state=completed", 1),
        ("?cluster=west", 0),
        ("?namespace=shop", 0),
        ("?pod=shop", 0),
        ("?id=x", 0),
    ] {
        for uri in [LIVE, "/v1/pulls"] {
            let answer = ask(&server, &format!("{uri}{query}")).await;
            check_schema("list", &answer);
            assert_eq!(field(&answer, "pulls", "id").len(), count, "{uri}{query}");
        }
    }
    for (query, expected) in [
        ("state=x", "invalid parameter \\\"state\\\": say one of queued, resolving"),
        ("limit=0", "invalid parameter \\\"limit\\\""),
        ("limit=1001", "invalid parameter \\\"limit\\\""),
        ("since=yesterday", "invalid parameter \\\"since\\\""),
        ("cursor=x", "invalid parameter \\\"cursor\\\""),
    ] {
        server.check_contains(get(&format!("/v1/pulls?{query}")), 400, expected).await;
    }
    server.check_contains(get("/v1/pulls/x"), 404, "there is no pull").await;
}

#[tokio::test]
async fn pages_follow_each_other_whatever_begins_meanwhile() {
    let server = Server::new().await;
    let ids: Vec<_> = (0..5).map(|id| id.to_string()).collect();
    for count in 1..=ids.len() {
        let pulls: Vec<_> = ids.iter().take(count).map(|id| Pull::of(id, "nginx:1")).collect();
        report(&server, "a", &pulls).await;
    }
    let all = field(&ask(&server, "/v1/pulls").await, "pulls", "id");
    let mut found = Vec::new();
    let mut cursor = String::new();
    for page in 0.. {
        let answer = ask(&server, &format!("/v1/pulls?limit=2{cursor}")).await;
        found.extend(field(&answer, "pulls", "id"));
        // One more on another node, newer than all of these.
        report(&server, &format!("b{page}"), &[Pull::of("1", "redis:7")]).await;
        let Some(next) = answer["nextCursor"].as_str() else { break };
        cursor = format!("&cursor={next}");
    }
    assert_eq!((found.len(), &found), (5, &all));
    let times = field(&ask(&server, "/v1/pulls").await, "pulls", "startedAt");
    let newest = &times[0];
    let since = ask(&server, &format!("/v1/pulls?since={newest}")).await;
    let until = ask(&server, &format!("/v1/pulls?until={newest}")).await;
    let sizes = [&since, &until].map(|answer| field(answer, "pulls", "id").len());
    assert_eq!((sizes[0], sizes[0] + sizes[1]), (1, times.len()));
}

#[tokio::test]
async fn nodes_and_images_are_told_of() {
    let server = Server::new().await;
    report(&server, "a", &[Pull::of("1", "nginx:1").at([1_000, 0])]).await;
    report(&server, "b", &[Pull::of("1", "nginx:1"), Pull::of("2", "redis:7")]).await;
    let nodes = ask(&server, "/v1/pulls/nodes").await;
    assert_eq!(field(&nodes, "nodes", "node"), ["a", "b"]);
    assert_eq!(field(&nodes, "nodes", "active"), ["1", "2"]);
    assert_eq!(field(&nodes, "nodes", "connected"), ["true", "true"]);
    assert_eq!(field(&nodes, "nodes", "runtime"), ["containerd 1.7.24", "containerd 1.7.24"]);
    let images = ask(&server, "/v1/pulls/images").await;
    assert_eq!(field(&images, "images", "image"), ["nginx:1", "redis:7"]);
    assert_eq!(field(&images, "images", "nodes"), ["2", "1"]);
    assert_eq!(field(&images, "images", "downloadedBytes"), ["1000", "0"]);
    let images = ask(&server, "/v1/pulls/images?image=redis").await;
    assert_eq!(field(&images, "images", "image"), ["redis:7"]);
}

#[tokio::test]
async fn nobody_sees_another_tenants_pulls() {
    let (server, [default, blue]) = guarded(ApiLimits::default()).await;
    report_as(&server, "a", &[Pull::of("1", "nginx:1")], Some(&default)).await;
    report_as(&server, "a", &[Pull::of("1", "redis:7")], Some(&blue)).await;
    for (key, other, image) in [(&default, &blue, "nginx:1"), (&blue, &default, "redis:7")] {
        for uri in [LIVE, "/v1/pulls"] {
            let answer = ask_as(&server, uri, Some(key)).await;
            assert_eq!(field(&answer, "pulls", "imageRef"), [image], "{uri}");
        }
        let answer = ask_as(&server, "/v1/pulls/images", Some(key)).await;
        assert_eq!(field(&answer, "images", "image"), [image]);
        let nodes = ask_as(&server, "/v1/pulls/nodes", Some(key)).await;
        assert_eq!(field(&nodes, "nodes", "active"), ["1"]);
        let answer = ask_as(&server, LIVE, Some(key)).await;
        let id = answer["pulls"][0]["id"].as_str().expect("an id");
        let mut stolen = get(&format!("/v1/pulls/{id}"));
        let secret = other.secret.expose_secret().parse().expect("a value");
        stolen.headers_mut().insert("x-api-key", secret);
        server.check_contains(stolen, 404, "there is no pull").await;
    }
}
