use std::collections::BTreeMap;

use access::{Actor, AuditQuery, KeyLimits, NewKey};
use base64::Engine as _;
use bytes::Bytes;
use events::{DeadLetterId, NewDeadLetter, Offset};
use http::Method;
use secrecy::ExposeSecret as _;
use serde_json::{Value, json};

use super::*;
use crate::Ways;

const LETTERS: &str = "/v1/events/dead-letters";

fn envelope(app: &str, screen: &str) -> Bytes {
    let json = format!(
        r#"{{"id":"e-1","appId":"{app}","deviceId":"d-1","timestampMs":"1732000000000","idempotencyKey":"k-1","screenView":{{"screenName":"{screen}"}}}}"#
    );
    let mut envelope = Vec::new();
    schema::envelope_from_json(json.as_bytes(), &mut envelope).expect("an event");
    envelope.into()
}

async fn put(server: &Server, tenant: &str, consumer: &str, bytes: Bytes) -> DeadLetterId {
    let letter = NewDeadLetter {
        tenant: TenantId::new(tenant).expect("a name"),
        consumer: consumer.to_owned(),
        subject: "events.shop.screen.view".to_owned(),
        headers: BTreeMap::from([("X-Request-ID".to_owned(), "r-1".to_owned())]),
        offset: (consumer != "gateway").then_some(Offset(7)),
        bytes,
        error: "no".to_owned(),
        attempts: 3,
    };
    server.events.dead_letters.put(letter).await.expect("kept")
}

async fn json_of(server: &Server, request: Request<Body>) -> (u16, Value) {
    let (status, _, body) = server.send(request).await;
    (status.as_u16(), serde_json::from_slice(&body).unwrap_or_default())
}

fn ask(method: Method, path: &str, key: &str) -> Request<Body> {
    let request = Request::builder().method(method).uri(path).header("x-api-key", key);
    request.body(Body::empty()).expect("a request")
}

/// Returns the identifiers on a page.
async fn listed(server: &Server, query: &str, key: &str) -> Vec<String> {
    let (status, page) = json_of(server, ask(Method::GET, &format!("{LETTERS}{query}"), key)).await;
    assert_eq!(status, 200, "{page}");
    let letters = page["letters"].as_array().expect("letters");
    letters.iter().map(|letter| letter["id"].as_str().expect("text").to_owned()).collect()
}

async fn guarded() -> Server {
    Server::known_by(ApiLimits::default(), StoreConfig::default(), |access, _| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    })
    .await
}

async fn key(server: &Server, role: Role, app: Option<&str>) -> String {
    let new = NewKey {
        tenant: TenantId::default_tenant(),
        app: app.map(str::to_owned),
        name: "a key".to_owned(),
        permissions: role.permissions(),
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: None,
    };
    let created = server.access.create_key(&Actor::command_line(), new).await.expect("a key");
    created.secret.expose_secret().to_owned()
}

#[tokio::test]
async fn a_letter_is_shown_with_all_that_is_known() {
    let server = Server::new().await;
    let bytes = envelope("shop", "Home");
    let id = put(&server, "default", "warehouse", bytes.clone()).await.0;
    let broken = put(&server, "default", "gateway", Bytes::from_static(b"\xff")).await.0;
    put(&server, "blue", "gateway", bytes.clone()).await;
    let mut letter = json!({
        "id": id.to_string(), "at": "2024-11-19T07:06:40.000Z", "state": "waiting",
        "consumer": "warehouse", "subject": "events.shop.screen.view",
        "headers": { "X-Request-ID": "r-1" }, "offset": 7, "attempts": 3, "error": "no",
        "bytes": bytes.len(),
        "event": {
            "id": "e-1", "appId": "shop", "deviceId": "d-1", "timestampMs": "1732000000000",
            "idempotencyKey": "k-1", "screenView": { "screenName": "Home" },
        },
    });
    let (status, page) = json_of(&server, get(LETTERS)).await;
    assert_eq!(status, 200);
    assert_eq!(page["letters"][1], letter);
    assert_eq!(page["letters"][0]["event"], Value::Null);
    assert_eq!(page["letters"][0]["id"], broken.to_string());
    assert_eq!(page["letters"].as_array().map(Vec::len), Some(2), "no other tenant's");
    assert_eq!(page["more"], false);
    let depths =
        json!([{ "consumer": "gateway", "count": 1 }, { "consumer": "warehouse", "count": 1 }]);
    assert_eq!(page["depths"], depths);

    letter["body_base64"] = base64::engine::general_purpose::STANDARD.encode(&bytes).into();
    assert_eq!(json_of(&server, get(&format!("{LETTERS}/{id}"))).await, (200, letter));
}

#[tokio::test]
async fn letters_are_listed_page_by_page() {
    let server = Server::new().await;
    for consumer in ["gateway", "warehouse", "gateway", "warehouse"] {
        put(&server, "default", consumer, envelope("shop", "Home")).await;
    }
    let all = listed(&server, "", "").await;
    assert_eq!(all.len(), 4);
    assert_eq!(listed(&server, "?consumer=gateway", "").await, [&*all[1], &*all[3]]);
    assert_eq!(listed(&server, "?limit=3", "").await, all[..3]);
    let (_, page) = json_of(&server, get(&format!("{LETTERS}?limit=3"))).await;
    assert_eq!(page["more"], true);
    assert_eq!(listed(&server, &format!("?before={}", all[1]), "").await, all[2..]);
    for query in ["?limit=0", "?limit=201", "?before=x"] {
        server.check_contains(get(&format!("{LETTERS}{query}")), 400, "invalid parameter").await;
    }
    for id in ["x", "99999", "-1"] {
        let expected = "there is no dead letter";
        server.check_contains(get(&format!("{LETTERS}/{id}")), 404, expected).await;
    }
}

#[tokio::test]
async fn a_key_of_an_app_sees_and_decides_about_its_own_letters_only() {
    let server = guarded().await;
    let shop = put(&server, "default", "gateway", envelope("shop", "Home")).await.0.to_string();
    let bank = put(&server, "default", "gateway", envelope("bank", "Home")).await.0.to_string();
    let none = put(&server, "default", "gateway", Bytes::from_static(b"\xff")).await.0.to_string();
    let key = key(&server, Role::Editor, Some("shop")).await;
    assert_eq!(listed(&server, "", &key).await, [&*shop]);
    let (_, page) = json_of(&server, ask(Method::GET, LETTERS, &key)).await;
    assert_eq!((&page["more"], &page["depths"]), (&json!(false), &json!([])));
    for id in [&bank, &none] {
        for (method, path) in [
            (Method::GET, format!("{LETTERS}/{id}")),
            (Method::DELETE, format!("{LETTERS}/{id}")),
            (Method::POST, format!("{LETTERS}/{id}/replay")),
        ] {
            assert_eq!(json_of(&server, ask(method, &path, &key)).await.0, 404, "{path}");
        }
    }
    let path = format!("{LETTERS}/{shop}");
    assert_eq!(json_of(&server, ask(Method::DELETE, &path, &key)).await.0, 204);
    assert_eq!(listed(&server, "", ROOT_KEY).await, [none, bank]);
}

#[tokio::test]
async fn what_the_gateway_gave_up_is_stored_after_all() {
    let server = guarded().await;
    let id = put(&server, "default", "gateway", envelope("shop", "Home")).await.0;
    let broken = put(&server, "default", "gateway", Bytes::from_static(b"\xff")).await.0;
    let editor = key(&server, Role::Editor, None).await;
    let replay = |id: u64| ask(Method::POST, &format!("{LETTERS}/{id}/replay"), &editor);
    let stored = json!({ "state": "accepted", "event_id": "e-1", "offset": 1, "error": null });
    assert_eq!(json_of(&server, replay(id)).await, (200, stored));
    assert_eq!(json_of(&server, replay(id)).await.0, 404, "it is gone");
    let (status, refused) = json_of(&server, replay(broken)).await;
    assert_eq!((status, &refused["state"]), (200, &json!("rejected")));
    assert!(refused["error"].as_str().is_some_and(|error| !error.is_empty()), "{refused}");
    assert_eq!(listed(&server, "", &editor).await, [broken.to_string()], "it stays");
}

#[tokio::test]
async fn what_a_consumer_gave_up_it_gets_again() {
    let server = Server::new().await;
    let id = put(&server, "default", "warehouse", envelope("shop", "Home")).await;
    let again = json!({ "state": "replaying", "event_id": null, "offset": null, "error": null });
    let replay = post(&format!("{LETTERS}/{}/replay", id.0), "");
    assert_eq!(json_of(&server, replay).await, (200, again));
    let replaying = server.events.dead_letters.replaying("warehouse", 10).await.expect("letters");
    assert_eq!(replaying.iter().map(|letter| letter.id).collect::<Vec<_>>(), [id]);
    let (_, letter) = json_of(&server, get(&format!("{LETTERS}/{}", id.0))).await;
    assert_eq!(letter["state"], "replaying");
}

#[tokio::test]
async fn deciding_needs_the_right_to_and_is_written_down() {
    let server = guarded().await;
    let id = put(&server, "default", "gateway", envelope("shop", "Home")).await.0;
    let other = put(&server, "default", "warehouse", envelope("shop", "Home")).await.0;
    let viewer = key(&server, Role::Viewer, None).await;
    let editor = key(&server, Role::Editor, None).await;
    let [replay, discard] = [format!("{LETTERS}/{id}/replay"), format!("{LETTERS}/{other}")];
    for (method, path) in [(Method::POST, &replay), (Method::DELETE, &discard)] {
        server.check_contains(ask(method, path, &viewer), 403, "permission_missing").await;
    }
    assert_eq!(listed(&server, "", &viewer).await.len(), 2);
    for (method, path) in [(Method::POST, &replay), (Method::DELETE, &discard)] {
        server.ask(ask(method, path, &editor)).await;
    }
    assert!(listed(&server, "", &editor).await.is_empty());
    let query = AuditQuery { tenant: Some(TenantId::default_tenant()), ..AuditQuery::default() };
    let page = server.access.audit(&Actor::command_line(), &query).await.expect("the audit log");
    let found: Vec<_> = page
        .entries
        .iter()
        .filter(|entry| entry.action.starts_with("dead_letter."))
        .map(|entry| format!("{} {} {}", entry.action, entry.target, entry.outcome))
        .collect();
    assert_eq!(
        found,
        [format!("dead_letter.discard {other} done"), format!("dead_letter.replay {id} done")]
    );
}

#[tokio::test]
async fn the_log_says_how_it_is() {
    let server = Server::new().await;
    put(&server, "default", "gateway", envelope("shop", "Home")).await;
    put(&server, "blue", "gateway", envelope("shop", "Home")).await;
    let (status, found) = json_of(&server, get("/v1/events/status")).await;
    assert_eq!(status, 200);
    assert_eq!(
        (&found["engine"], &found["connected"], &found["refusal"]),
        (&json!("embedded"), &json!(true), &Value::Null)
    );
    assert_eq!((&found["log"]["first"], &found["log"]["end"]), (&json!(1), &json!(1)));
    assert_eq!(found["counts"]["received"], 0);
    assert_eq!(found["counts"]["rejected"]["conflict"], 0);
    assert_eq!(found["keys"]["count"], 0);
    assert_eq!(found["dead_letters"], json!([{ "consumer": "gateway", "count": 1 }]));
}
