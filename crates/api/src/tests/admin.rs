use http::Method;
use serde_json::{Value, json};

use super::*;
use crate::Ways;

async fn server() -> Server {
    let keys = |access: &Arc<Access>, _: &Arc<SimClock>| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    };
    Server::known_by(ApiLimits::default(), StoreConfig::default(), keys).await
}

/// Sends a request with a key and returns status and JSON.
async fn ask(
    server: &Server,
    key: &str,
    (method, uri): (Method, &str),
    body: Option<Value>,
) -> (u16, Value) {
    let mut request = Request::builder().method(method).uri(uri).header("x-api-key", key);
    let body = match body {
        None => Body::empty(),
        Some(json) => {
            request = request.header("content-type", "application/json");
            Body::from(json.to_string())
        }
    };
    let (status, _, body) = server.send(request.body(body).expect("a request")).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

async fn get_as(server: &Server, key: &str, uri: &str) -> (u16, Value) {
    ask(server, key, (Method::GET, uri), None).await
}

async fn post_as(server: &Server, key: &str, uri: &str, body: Value) -> (u16, Value) {
    ask(server, key, (Method::POST, uri), Some(body)).await
}

/// Makes a key and returns it with its identifier.
async fn make_key(server: &Server, by: &str, body: Value) -> (String, String) {
    let (status, answer) = post_as(server, by, "/v1/keys", body).await;
    assert_eq!(status, 201, "{answer}");
    let text = |name: &str| answer[name].as_str().expect("text").to_owned();
    (text("key"), text("id"))
}

#[tokio::test]
async fn a_key_opens_what_it_was_made_for_until_it_is_revoked() {
    let server = server().await;
    let (key, id) = make_key(&server, ROOT_KEY, json!({"name": "grafana", "role": "viewer"})).await;
    assert_eq!(get_as(&server, &key, "/api/v1/query?query=1").await.0, 200);
    assert_eq!(get_as(&server, &key, "/v1/keys").await.0, 403);

    let (_, listed) = get_as(&server, ROOT_KEY, "/v1/keys").await;
    let listed = &listed["keys"][0];
    assert_eq!((&listed["name"], &listed["id"]), (&json!("grafana"), &json!(id)));
    assert_eq!(listed["permissions"], json!(["metrics:read", "events:read", "pulls:read"]));
    assert!(listed.get("key").is_none(), "{listed}");

    let uri = format!("/v1/keys/{id}");
    assert_eq!(ask(&server, ROOT_KEY, (Method::DELETE, &uri), None).await.0, 204);
    let (status, refused) = get_as(&server, &key, "/api/v1/query?query=1").await;
    assert_eq!((status, &refused["errorType"]), (401, &json!("unauthorized")));
    assert_eq!(get_as(&server, ROOT_KEY, "/v1/keys").await.1, json!({"keys": []}));
    let (_, all) = get_as(&server, ROOT_KEY, "/v1/keys?include_revoked=true").await;
    assert!(!all["keys"][0]["revoked_at"].is_null());
}

#[tokio::test]
async fn a_replaced_key_lives_on_for_the_overlap() {
    let server = server().await;
    let (old, id) = make_key(&server, ROOT_KEY, json!({"name": "sender", "role": "ingest"})).await;
    let rotate = format!("/v1/keys/{id}/rotate");
    let (status, answer) = post_as(&server, ROOT_KEY, &rotate, json!({"overlap": "1h"})).await;
    assert_eq!(status, 201, "{answer}");
    let new = answer["key"].as_str().expect("a key");
    let write = |key: String| {
        let server = &server;
        async move {
            let body = json!({"metrics": [{"name": "up", "value": 1}]});
            post_as(server, &key, "/v1/ingest", body).await.0
        }
    };
    assert_eq!((write(old.clone()).await, write(new.to_owned()).await), (200, 200));
    server.clock.advance(Duration::from_secs(3_601));
    assert_eq!((write(old).await, write(new.to_owned()).await), (401, 200));
    let (status, _) = post_as(&server, ROOT_KEY, &rotate, json!({"overlap": "soon"})).await;
    assert_eq!(status, 400);
}

#[tokio::test]
async fn nobody_gives_more_than_they_have() {
    let server = server().await;
    let admin = json!({"name": "tenant admin", "role": "admin"});
    let (admin, _) = make_key(&server, ROOT_KEY, admin).await;
    let (narrow, _) = make_key(
        &server,
        ROOT_KEY,
        json!({"name": "narrow admin", "permissions": ["admin", "metrics:read"]}),
    )
    .await;
    for (key, uri, body, expected) in [
        (&admin, "/v1/keys", json!({"name": "a", "role": "ingest", "all_tenants": true}), 403),
        (&admin, "/v1/tenants", json!({"id": "other"}), 403),
        (&narrow, "/v1/keys", json!({"name": "b", "role": "ingest"}), 403),
        (&narrow, "/v1/keys", json!({"name": "c", "permissions": ["metrics:read"]}), 201),
        (&admin, "/v1/users", json!({"name": "eve", "role": "admin", "all_tenants": true}), 403),
        (&admin, "/v1/keys", json!({"name": "d", "role": "root"}), 400),
        (&admin, "/v1/keys", json!({"name": "d"}), 400),
        (&admin, "/v1/keys", json!({"name": "", "role": "viewer"}), 400),
        (&admin, "/v1/keys", json!({"name": "d", "role": "viewer", "limits": {"x": 1}}), 400),
        (&admin, "/v1/keys", json!({"name": "d", "role": "viewer", "colour": "red"}), 400),
    ] {
        let (status, answer) = post_as(&server, key, uri, body.clone()).await;
        assert_eq!(status, expected, "{uri} {body}: {answer}");
    }
    assert_eq!(get_as(&server, &admin, "/v1/config").await.0, 403);
    assert_eq!(post_as(&server, &admin, "/-/reload", json!({})).await.0, 403);
}

#[tokio::test]
async fn a_tenant_sees_only_its_own() {
    let server = server().await;
    // The answer waits for it.
    server.open_tenant("team-b");
    let (status, tenant) = post_as(
        &server,
        ROOT_KEY,
        "/v1/tenants",
        json!({"id": "team-b", "limits": {"series_max": 5}}),
    )
    .await;
    assert_eq!((status, &tenant["limits"]), (201, &json!({"series_max": 5})));
    let (status, answer) = ask_in(
        &server,
        "team-b",
        Method::POST,
        "/v1/keys",
        Some(json!({"name": "b", "role": "admin"})),
    )
    .await;
    assert_eq!(status, 201, "{answer}");
    let b = answer["key"].as_str().expect("a key").to_owned();
    let (_, default_id) = make_key(&server, ROOT_KEY, json!({"name": "a", "role": "viewer"})).await;

    let body = json!({"metrics": [{"name": "secret", "value": 7}]});
    assert_eq!(post_as(&server, ROOT_KEY, "/v1/ingest", body).await.0, 200);
    let (_, found) = get_as(&server, &b, "/api/v1/query?query=secret").await;
    assert_eq!(found["data"]["result"], json!([]));
    let (_, keys) = get_as(&server, &b, "/v1/keys").await;
    assert_eq!(keys["keys"].as_array().map(Vec::len), Some(1));
    let uri = format!("/v1/keys/{default_id}");
    assert_eq!(ask(&server, &b, (Method::DELETE, &uri), None).await.0, 404);
    assert_eq!(ask_in(&server, "team-b", Method::DELETE, &uri, None).await.0, 404);
    let (_, tenants) = get_as(&server, &b, "/v1/tenants").await;
    assert_eq!(tenants["tenants"].as_array().map(Vec::len), Some(1));
    let (_, audit) = get_as(&server, &b, "/v1/audit").await;
    let entries = audit["entries"].as_array().expect("entries");
    assert!(entries.iter().all(|entry| entry["tenant"] == "team-b"), "{audit}");
}

/// Sends a request of the root key for a tenant.
async fn ask_in(
    server: &Server,
    tenant: &str,
    method: Method,
    uri: &str,
    body: Option<Value>,
) -> (u16, Value) {
    let request = Request::builder()
        .method(method)
        .uri(uri)
        .header("x-api-key", ROOT_KEY)
        .header("x-scope-orgid", tenant)
        .header("content-type", "application/json");
    let body = body.map_or_else(Body::empty, |json| Body::from(json.to_string()));
    let (status, _, body) = server.send(request.body(body).expect("a request")).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or(Value::Null))
}

#[tokio::test]
async fn people_are_added_changed_and_removed() {
    let server = server().await;
    let new = json!({"name": "ann", "role": "viewer", "password": "correct horse battery"});
    let (status, ann) = post_as(&server, ROOT_KEY, "/v1/users", new.clone()).await;
    assert_eq!((status, &ann["has_password"], &ann["role"]), (201, &json!(true), &json!("viewer")));
    assert_eq!(post_as(&server, ROOT_KEY, "/v1/users", new).await.0, 409, "the name is taken");
    let short = json!({"name": "bob", "role": "viewer", "password": "short"});
    assert_eq!(post_as(&server, ROOT_KEY, "/v1/users", short).await.0, 400);
    let uri = format!("/v1/users/{}", ann["id"].as_str().expect("an identifier"));
    let change = Some(json!({"role": "editor", "display_name": "Ann"}));
    let (status, ann) = ask(&server, ROOT_KEY, (Method::PATCH, &uri), change).await;
    assert_eq!(
        (status, &ann["role"], &ann["display_name"]),
        (200, &json!("editor"), &json!("Ann"))
    );
    let password = format!("{uri}/password");
    let (status, _) =
        post_as(&server, ROOT_KEY, &password, json!({"password": "another one"})).await;
    assert_eq!(status, 204);
    assert_eq!(ask(&server, ROOT_KEY, (Method::DELETE, &uri), None).await.0, 204);
    assert_eq!(ask(&server, ROOT_KEY, (Method::DELETE, &uri), None).await.0, 404);
    assert_eq!(get_as(&server, ROOT_KEY, "/v1/users").await.1, json!({"users": []}));
    let (_, audit) = get_as(&server, ROOT_KEY, "/v1/audit?limit=2").await;
    assert_eq!(audit["entries"][0]["action"], "user.delete");
    let next = audit["next"].as_str().expect("there are more");
    let (_, rest) = get_as(&server, ROOT_KEY, &format!("/v1/audit?cursor={next}")).await;
    let actions: Vec<&str> = rest["entries"]
        .as_array()
        .expect("entries")
        .iter()
        .filter_map(|entry| entry["action"].as_str())
        .collect();
    assert_eq!(actions, ["user.update", "user.create"]);
}

#[tokio::test]
async fn usage_is_told_by_day() {
    let server = server().await;
    let body = json!({"metrics": [{"name": "up", "value": 1}, {"name": "down", "value": 1}]});
    assert_eq!(post_as(&server, ROOT_KEY, "/v1/ingest", body).await.0, 200);
    let (status, usage) = get_as(&server, ROOT_KEY, "/v1/usage?days=7").await;
    assert_eq!((status, &usage["series"]), (200, &json!(2)));
    let today = &usage["days"][0];
    assert_eq!((&today["day"], &today["samples"]), (&json!("2024-11-19"), &json!(2)));
    assert_eq!(get_as(&server, ROOT_KEY, "/v1/usage?days=0").await.0, 400);
}

#[tokio::test]
async fn causalitys_key_routes_keep_their_shapes() {
    let server = server().await;
    let (status, made) =
        post_as(&server, ROOT_KEY, "/api/admin/keys", json!({"app_id": "shop", "extra": 1})).await;
    assert_eq!((status, &made["app_id"]), (201, &json!("shop")));
    assert_eq!(made["message"], "Store this key securely. It will not be shown again.");
    let key = made["key"].as_str().expect("a key");
    assert_eq!(get_as(&server, key, "/api/v1/query?query=1").await.0, 403, "it sends events only");
    let (_, listed) = get_as(&server, ROOT_KEY, "/api/admin/keys?app_id=shop").await;
    assert_eq!((&listed["count"], &listed["keys"][0]["revoked"]), (&json!(1), &json!(false)));
    assert!(listed["keys"][0].get("revoked_at").is_none());
    let uri = format!("/api/admin/keys/{}", made["id"].as_str().expect("an identifier"));
    let (status, revoked) = ask(&server, ROOT_KEY, (Method::DELETE, &uri), None).await;
    assert_eq!((status, &revoked["status"]), (200, &json!("revoked")));
    let (status, refused) = post_as(&server, ROOT_KEY, "/api/admin/keys", json!({})).await;
    assert_eq!((status, &refused["error"]), (400, &json!("app_id is required")));
    let (status, refused) = get_as(&server, ROOT_KEY, "/api/admin/keys").await;
    assert_eq!((status, &refused["error"]), (400, &json!("app_id query parameter is required")));
    assert_eq!(ask(&server, ROOT_KEY, (Method::DELETE, "/api/admin/keys/x"), None).await.0, 404);
}

#[tokio::test]
async fn what_a_key_may_not_do_is_in_the_audit_log_a_few_times() {
    let server = server().await;
    let (key, id) = make_key(&server, ROOT_KEY, json!({"name": "nosy", "role": "ingest"})).await;
    for _ in 0..20 {
        assert_eq!(get_as(&server, &key, "/api/v1/query?query=1").await.0, 403);
    }
    let (_, audit) = get_as(&server, ROOT_KEY, "/v1/audit?action=request.refuse").await;
    let entries = audit["entries"].as_array().expect("entries");
    assert_eq!(entries.len(), 5);
    let entry = &entries[0];
    assert_eq!(entry["actor"], json!(format!("key {id}")));
    assert_eq!(entry["target"], "GET /api/v1/query");
    assert_eq!(entry["detail"], json!({"code": "permission_missing"}));
}

#[tokio::test]
async fn a_tenant_whose_data_is_not_open_yet_is_to_be_asked_again() {
    let server = server().await;
    for (name, status, code) in [("late", 404, "tenant_unknown"), ("late", 503, "unavailable")] {
        let request = Request::post("/api/v1/write")
            .header("x-api-key", ROOT_KEY)
            .header("x-scope-orgid", name)
            .body(Body::empty())
            .expect("a request");
        let (found, headers, _) = server.send(request).await;
        assert_eq!(
            (found.as_u16(), &headers["x-error-code"]),
            (status, &code.parse().expect("text"))
        );
        let new = access::NewTenant {
            id: TenantId::new(name).expect("a name"),
            name: name.to_owned(),
            limits: access::TenantLimits::default(),
            metrics_retention: None,
        };
        // The second time it is there already.
        drop(server.access.create_tenant(&access::Actor::command_line(), new).await);
    }
    server.clock.advance(Duration::from_secs(2));
    let (_, health) = get_as(&server, ROOT_KEY, "/v1/health").await;
    assert_eq!(health["problems"], json!(["late: the data is not open"]));
    let (viewer, _) = make_key(&server, ROOT_KEY, json!({"name": "v", "role": "viewer"})).await;
    let (status, health) = get_as(&server, &viewer, "/v1/health").await;
    assert_eq!((status, &health["checks"]["storage"]), (503, &json!("failing")));
    assert!(health.get("problems").is_none(), "another tenant's: {health}");
}

#[tokio::test]
async fn reading_the_configuration_again_is_in_the_audit_log() {
    let server = server().await;
    assert_eq!(post_as(&server, ROOT_KEY, "/-/reload", json!({})).await.0, 200);
    let (_, log) = get_as(&server, ROOT_KEY, "/v1/audit?action=configuration.reload").await;
    assert_eq!(log["entries"][0]["actor"], json!("key bootstrap"));
    assert_eq!(log["entries"][0]["detail"], json!({"applied": [], "needs_restart": []}));
}
