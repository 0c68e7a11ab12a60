use super::*;

#[tokio::test]
async fn the_page_is_served_with_a_policy_and_a_fresh_nonce() {
    let server = Server::new().await;
    let mut pages = Vec::new();
    for path in ["/", "/explore", "/index.html"] {
        let (status, headers, body) = server.send(get(path)).await;
        assert_eq!(status.as_u16(), 200, "{path}");
        let policy = headers["content-security-policy"].to_str().expect("text").to_owned();
        let page = String::from_utf8(body).expect("text");
        let nonce = page.split("nonce=\"").nth(1).and_then(|rest| rest.split('"').next());
        let nonce = nonce.expect("a nonce");
        assert!(policy.contains(&format!("'nonce-{nonce}'")), "{policy}");
        assert!(!policy.contains("unsafe"), "{policy}");
        assert_eq!(headers["cache-control"], "no-cache");
        pages.push(page);
    }
    assert_ne!(pages[0], pages[1]);
}

#[tokio::test]
async fn files_are_cached_as_their_names_allow() {
    let server = Server::new().await;
    let (_, headers, _) = server.send(get("/assets/app-1a2b.js")).await;
    assert_eq!(headers["cache-control"], "public, max-age=31536000, immutable");
    assert_eq!(headers["content-type"], "text/javascript; charset=utf-8");
    assert_eq!(headers["x-content-type-options"], "nosniff");
    let (_, headers, _) = server.send(get("/icon.svg")).await;
    assert_eq!(headers["cache-control"], "no-cache");
    server.check_contains(get("/assets/none.js"), 404, "there is nothing at").await;
    server.check_contains(get("/../../etc/passwd.txt"), 404, "there is nothing at").await;
    server.check_contains(post("/", ""), 404, "there is nothing at").await;
}

#[tokio::test]
async fn what_is_no_view_is_not_answered_with_the_page() {
    let server = Server::new().await;
    for path in
        ["/metrics/x", "/federate", "//v1/health", "/a/../b", "/%2e%2e/x", "/v1%2fhealth", "/a/"]
    {
        server.check_contains(get(path), 404, "there is nothing at").await;
    }
}

#[tokio::test]
async fn names_of_others_are_refused_without_a_login() {
    let server = Server::new().await;
    for (host, status) in [("localhost:8080", 200), ("evil.example", 403)] {
        let request = Request::get("/api/v1/query?query=1").header("host", host);
        let request = request.body(Body::empty()).expect("a request");
        server.check_contains(request, status, r#"{"status":""#).await;
    }
}
