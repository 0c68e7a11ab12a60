use access::{
    Actor, CreatedKey, KeyLimits, NewKey, NewTenant, Permission, PermissionSet, TenantLimits,
};
use bytes::Bytes;
use events::{Batch, Lane, NewEvent};
use secrecy::ExposeSecret as _;
use tokio::net::TcpListener;

use super::live::Client;
use super::*;
use crate::{ServeLimits, Transport, Ways, serve};

const TAIL: &str = "/v1/events/tail";

/// Stores an event: the view of a screen.
async fn put(server: &Server, tenant: &str, app: &str, device: &str, screen: &str) {
    put_many(server, tenant, [(app, device, screen)]).await;
}

async fn put_many<'a>(
    server: &Server,
    tenant: &str,
    views: impl IntoIterator<Item = (&'a str, &'a str, &'a str)>,
) {
    let events = views.into_iter().map(|(app, device, screen)| {
        let json = format!(
            r#"{{"appId":"{app}","deviceId":"{device}","screenView":{{"screenName":"{screen}"}}}}"#
        );
        let mut envelope = Vec::new();
        schema::envelope_from_json(json.as_bytes(), &mut envelope).expect("an event");
        let envelope = Bytes::from(envelope);
        NewEvent { envelope, id: "".into(), key: None, fingerprint: 0, lane: Lane(0) }
    });
    let batch = Batch {
        tenant: TenantId::new(tenant).expect("a name"),
        received_at: Timestamp::from_millis(NOW_MS),
        events: events.collect(),
    };
    server.events.log.append(batch).await.expect("stored");
}

/// Returns how an event is written.
fn item(offset: u64, app: &str, device: &str, screen: &str) -> String {
    format!(
        r#"{{"offset":{offset},"received_at":"2024-11-19T07:06:40.000Z","app":"{app}","category":"screen","type":"view","device":"{device}","event":{{"appId":"{app}","deviceId":"{device}","screenView":{{"screenName":"{screen}"}}}}}}"#
    )
}

fn lines(items: &[String]) -> String {
    items.iter().map(|item| format!("{item}\n")).collect()
}

fn with(uri: &str, headers: &[(&str, &str)]) -> Request<Body> {
    let mut request = Request::get(uri);
    for (name, value) in headers {
        request = request.header(*name, *value);
    }
    request.body(Body::empty()).expect("a request")
}

/// An answer that goes on.
struct Following(Body);

impl Following {
    async fn begin(server: &Server, mut request: Request<Body>) -> Self {
        request.extensions_mut().insert(connection_from("127.0.0.1"));
        let response = server.router.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        Self(response.into_body())
    }

    /// Returns what comes next; `None` at the end.
    async fn next(&mut self) -> Option<String> {
        let frame = self.0.frame().await?.expect("no error").into_data().expect("data");
        Some(String::from_utf8(frame.to_vec()).expect("text"))
    }

    async fn check(&mut self, expected: &str) {
        assert_eq!(self.next().await.as_deref(), Some(expected));
    }
}

#[tokio::test]
async fn what_is_there_is_read_as_lines() {
    let server = Server::new().await;
    put(&server, "default", "shop", "d-1", "Home").await;
    put(&server, "default", "bank", "d-1", "Home").await;
    put(&server, "default", "shop", "d,2", "Cart").await;
    put(&server, "blue", "shop", "d-1", "Home").await;
    let [first, second, third] = [
        item(1, "shop", "d-1", "Home"),
        item(2, "bank", "d-1", "Home"),
        item(3, "shop", "d,2", "Cart"),
    ];
    let all = [first.clone(), second.clone(), third.clone()];
    let minute_later = NOW_MS + 60_000;
    for (query, expected) in [
        ("", &all[..]),
        ("&from=earliest", &all),
        ("&from=latest", &[]),
        ("&from=2", &all[1..]),
        ("&from=99", &[]),
        ("&from=2024-11-19T07:06:40Z", &all),
        (&format!("&from={minute_later}"), &[]),
        ("&limit=2", &all[..2]),
        ("&app=bank", &all[1..2]),
        ("&app=bank,news&app=blog", &all[1..2]),
        ("&category=screen&type=view", &all),
        ("&category=user", &[]),
        ("&type=exit", &[]),
        ("&device=d-1", &all[..2]),
        ("&path=$[?@.screenName=='Cart']", &all[2..]),
    ] {
        let request = get(&format!("{TAIL}?follow=false{query}").replace('\'', "%27"));
        server.check(request, 200, &lines(expected)).await;
    }
    let after = with(&format!("{TAIL}?follow=false&from=earliest"), &[("last-event-id", "2")]);
    server.check(after, 200, &lines(&[third])).await;
    let (_, headers, _) = server.send(get(&format!("{TAIL}?follow=false"))).await;
    assert_eq!(headers["content-type"], "application/x-ndjson");
    assert_eq!(headers["cache-control"], "no-store");
}

#[tokio::test]
async fn what_makes_no_sense_is_told() {
    let server = Server::new().await;
    let names = (0..65).map(|name| name.to_string()).collect::<Vec<_>>().join(",");
    for (query, expected) in [
        ("path=$.a%5B", "invalid parameter \\\"path\\\": at "),
        ("path=screenView", "invalid parameter \\\"path\\\": at 1: this is no JSONPath"),
        ("from=yesterday", "invalid parameter \\\"from\\\""),
        ("limit=0", "invalid parameter \\\"limit\\\""),
        ("limit=10001", "invalid parameter \\\"limit\\\""),
        ("follow=maybe", "invalid parameter \\\"follow\\\""),
        (&format!("app={names}"), "invalid parameter \\\"app\\\": at most 64"),
    ] {
        server.check_contains(get(&format!("{TAIL}?{query}")), 400, expected).await;
    }
    let last = with(TAIL, &[("last-event-id", "x")]);
    server.check_contains(last, 400, "Last-Event-ID is the offset of an event").await;
    let upgrade = with(TAIL, &[("upgrade", "h2c")]);
    server.check_contains(upgrade, 400, "an upgrade needs a WebSocket").await;
}

#[tokio::test]
async fn new_events_are_sent_as_they_come_and_a_lost_connection_goes_on() {
    let server = Server::new().await;
    put(&server, "default", "shop", "d-1", "Old").await;
    let accept = ("accept", "text/event-stream");
    let mut following = Following::begin(&server, with(TAIL, &[accept])).await;
    following.check("retry: 2000\nid: 1\n\n").await;
    for (offset, screen) in [(2, "Home"), (3, "Cart")] {
        put(&server, "default", "shop", "d-1", screen).await;
        let event = item(offset, "shop", "d-1", screen);
        following.check(&format!("id: {offset}\ndata: {event}\n\n")).await;
        server.clock.advance(Duration::from_millis(50));
    }
    server.clock.advance(Duration::from_secs(15));
    following.check(":\nid: 3\n\n").await;
    drop(following);

    let again = with(TAIL, &[accept, ("last-event-id", "2")]);
    let mut following = Following::begin(&server, again).await;
    following.check("retry: 2000\nid: 2\n\n").await;
    following.check(&format!("id: 3\ndata: {}\n\n", item(3, "shop", "d-1", "Cart"))).await;
    server.stop.send_replace(true);
    assert_eq!(following.next().await, None, "the server stops");
}

#[tokio::test]
async fn lines_go_on_until_the_limit() {
    let server = Server::new().await;
    let mut following = Following::begin(&server, get(&format!("{TAIL}?limit=2"))).await;
    put(&server, "default", "shop", "d-1", "a").await;
    following.check(&lines(&[item(1, "shop", "d-1", "a")])).await;
    server.clock.advance(Duration::from_millis(50));
    put_many(&server, "default", [("shop", "d-1", "b"), ("shop", "d-1", "c")]).await;
    let line = following.next().await.expect("a line");
    assert!(line.contains(r#""offset":2,"#) && line.lines().count() == 1, "{line}");
    assert_eq!(following.next().await, None, "that was the second one");
}

#[tokio::test]
async fn a_websocket_gets_a_message_for_each_event() {
    let server = Server::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = serve(
        listener,
        server.router.clone(),
        Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&server.clock))),
        server.stop.subscribe(),
    );
    let talking = async {
        let mut client = Client::connect_to(address, TAIL, "").await;
        client.send("ignored").await;
        client.ping().await;
        let views = [("shop", "d-1", "a"), ("shop", "d-1", "b")];
        put_many(&server, "default", views).await;
        client.check(&item(1, "shop", "d-1", "a")).await;
        client.check(&item(2, "shop", "d-1", "b")).await;
        let path = format!("{TAIL}?follow=false&limit=1");
        let mut reader = Client::connect_to(address, &path, "").await;
        reader.check(&item(1, "shop", "d-1", "a")).await;
        let (kind, reason) = reader.receive().await;
        assert_eq!((kind, &reason[..2]), (8, &1000_u16.to_be_bytes()[..]), "there is no more");
        server.stop.send_replace(true);
        let (kind, reason) = client.receive().await;
        assert_eq!((kind, &reason[..2]), (8, &1001_u16.to_be_bytes()[..]));
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("no error");
}

/// Returns a server that asks for keys, and keys for two tenants and for one app.
async fn guarded(limits: ApiLimits) -> (Server, [CreatedKey; 3]) {
    let server = Server::known_by(limits, StoreConfig::default(), |access, _| {
        Identity::Keys(Ways { access: Arc::clone(access), oidc: None })
    })
    .await;
    server.open_tenant("blue");
    let new = NewTenant {
        id: TenantId::new("blue").expect("a name"),
        name: "Blue".to_owned(),
        limits: TenantLimits::default(),
        metrics_retention: None,
    };
    server.access.create_tenant(&Actor::command_line(), new).await.expect("a tenant");
    let keys = [
        key(&server, "default", None).await,
        key(&server, "blue", None).await,
        key(&server, "default", Some("shop")).await,
    ];
    (server, keys)
}

async fn key(server: &Server, tenant: &str, app: Option<&str>) -> CreatedKey {
    let new = NewKey {
        tenant: TenantId::new(tenant).expect("a name"),
        app: app.map(str::to_owned),
        name: "reader".to_owned(),
        permissions: PermissionSet::of(&[Permission::EventsRead]),
        all_tenants: false,
        limits: KeyLimits::default(),
        expires_at: None,
    };
    server.access.create_key(&Actor::command_line(), new).await.expect("a key")
}

#[tokio::test]
async fn nobody_sees_another_tenants_or_another_apps_events() {
    let (server, [all, blue, shop]) = guarded(ApiLimits::default()).await;
    put(&server, "default", "shop", "d-1", "a").await;
    put(&server, "default", "bank", "d-1", "b").await;
    put(&server, "blue", "shop", "d-1", "c").await;
    let [a, b, c] =
        [item(1, "shop", "d-1", "a"), item(2, "bank", "d-1", "b"), item(3, "shop", "d-1", "c")];
    let ask = |key: &CreatedKey, query: &str| {
        let uri = format!("{TAIL}?follow=false{query}");
        with(&uri, &[("x-api-key", key.secret.expose_secret())])
    };
    server.check(ask(&all, ""), 200, &lines(&[a.clone(), b])).await;
    server.check(ask(&blue, ""), 200, &lines(&[c])).await;
    for query in ["", "&app=shop"] {
        server.check(ask(&shop, query), 200, &lines(std::slice::from_ref(&a))).await;
    }
    server.check_contains(ask(&shop, "&app=bank"), 403, "app_forbidden").await;
    server.check_contains(ask(&shop, "&app=shop,bank"), 403, "for the app 'shop' only").await;
}

#[tokio::test]
async fn following_ends_when_the_key_is_revoked() {
    let (server, [key, ..]) = guarded(ApiLimits::default()).await;
    let secret = key.secret.expose_secret();
    let mut following = Following::begin(&server, with(TAIL, &[("x-api-key", secret)])).await;
    put(&server, "default", "shop", "d-1", "a").await;
    following.check(&lines(&[item(1, "shop", "d-1", "a")])).await;
    server.access.revoke_key(&Actor::command_line(), &key.info.id).await.expect("revoked");
    server.clock.advance(Duration::from_secs(5));
    put(&server, "default", "shop", "d-1", "b").await;
    assert_eq!(following.next().await, None);
}

#[tokio::test]
async fn those_who_follow_are_live_connections() {
    let limits = ApiLimits { live_connections_max: 1, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let following = Following::begin(&server, get(TAIL)).await;
    assert_eq!(server.stats.live_connections(), [("stream", 1), ("websocket", 0)]);
    server.check_contains(get(TAIL), 503, "too many live connections").await;
    drop(following);
    assert_eq!(server.stats.live_connections(), [("stream", 0), ("websocket", 0)]);
    server.check(get(&format!("{TAIL}?follow=false")), 200, "").await;
}

#[tokio::test]
async fn whoever_is_slow_is_told_what_the_log_did_not_keep() {
    let server = Server::new().await;
    let mut following = Following::begin(&server, get(TAIL)).await;
    // Nobody reads this answer while the log is filled, by a few segments, and cut.
    let screen = "x".repeat(1_000);
    for _ in 0..10 {
        put_many(&server, "default", (0..100).map(|_| ("shop", "d-1", screen.as_str()))).await;
    }
    // A clock that jumps ahead is believed after a while.
    for _ in 0..3 {
        server.clock.advance(Duration::from_hours(2));
        server.cut_log();
    }
    let first = server.events.log.bounds().await.expect("bounds").first.0;
    assert!(first > 500, "most of it is gone: {first}");
    // Lines say nothing where server-sent events have a heartbeat.
    let text = following.next().await.expect("a gap");
    let gap = format!("{{\"skipped\":{}}}\n", first - 1);
    assert!(text.starts_with(&gap), "{}", &text[..100]);
    let mut left = text.lines().count() as u64 - 1;
    while left < 1_000 - (first - 1) {
        server.clock.advance(Duration::from_millis(50));
        left += following.next().await.expect("the rest").lines().count() as u64;
    }
    assert_eq!(left, 1_000 - (first - 1), "each of the others once");
}
