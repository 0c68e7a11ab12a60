//! What those hear who follow.

use std::collections::{BTreeMap, BTreeSet};

use pulls::{
    Connection, Container, ContainerKind, ContainerState, Owner, Pod, PullState, UpdateKind,
};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpSocket, TcpStream};

use super::*;
use crate::{ServeLimits, Transport, serve};

/// The shortest time between two batches.
const BATCH: Duration = Duration::from_millis(100);

/// A message, or a comment.
#[derive(Clone, Debug, Default, PartialEq)]
struct Message {
    /// Empty for one without a name.
    name: String,
    id: String,
    data: Value,
}

impl Message {
    fn read(text: &str) -> Self {
        let mut message = Self::default();
        for line in text.lines().filter(|line| !line.is_empty()) {
            match line.split_once(": ") {
                Some(("event", name)) => message.name = name.to_owned(),
                Some(("id", id)) => message.id = id.to_owned(),
                Some(("data", data)) => message.data = serde_json::from_str(data).expect("JSON"),
                _ => assert!(line.starts_with(':') || line.starts_with("retry: "), "{text}"),
            }
        }
        message
    }

    fn kind(&self) -> &str {
        self.data["type"].as_str().unwrap_or_default()
    }
}

/// An answer that goes on.
struct Following<'a> {
    server: &'a Server,
    body: Body,
}

impl<'a> Following<'a> {
    /// Begins, and hears the greeting.
    async fn begin(server: &'a Server, uri: &str, headers: &[(&str, &str)]) -> Self {
        let mut request = get(uri);
        request.extensions_mut().insert(connection_from("127.0.0.1"));
        for (name, value) in headers {
            let name = http::HeaderName::try_from(*name).expect("a name");
            request.headers_mut().insert(name, value.parse().expect("a value"));
        }
        let response = server.router.clone().oneshot(request).await.expect("infallible");
        assert_eq!(response.status(), StatusCode::OK);
        assert_eq!(response.headers()["content-type"], "text/event-stream");
        assert_eq!(response.headers()["cache-control"], "no-cache");
        let mut following = Self { server, body: response.into_body() };
        let greeting = following.text().await.expect("a greeting");
        assert!(greeting.starts_with(": connected\n\nretry: 2000\n\n"), "{greeting}");
        if greeting.contains("resync") {
            assert!(greeting.ends_with("event: resync\ndata: {}\n\n"), "{greeting}");
        }
        following
    }

    /// Returns what comes next, as it was sent; `None` at the end.
    async fn text(&mut self) -> Option<String> {
        let frame = self.body.frame().await?.expect("no error").into_data().expect("data");
        Some(String::from_utf8(frame.to_vec()).expect("text"))
    }

    /// Returns the next message. Time passes until there is one, but not so much that the heartbeat is heard.
    async fn next(&mut self) -> Message {
        for _ in 0..100 {
            let text = tokio::select! {
                biased;
                text = self.text() => text.expect("a message"),
                () = tokio::task::yield_now() => {
                    self.server.clock.advance(BATCH);
                    continue;
                }
            };
            return Message::read(&text);
        }
        panic!("there is no message");
    }

    /// Waits in vain: all that there is was heard.
    async fn hears_nothing(&mut self) {
        tokio::select! {
            biased;
            text = self.text() => panic!("{text:?}"),
            () = tokio::task::yield_now() => {}
        }
    }

    /// Returns messages until one of this kind, and that.
    async fn until(&mut self, kind: &str) -> Vec<Message> {
        let mut heard = Vec::new();
        loop {
            heard.push(self.next().await);
            if heard.last().is_some_and(|message| message.kind() == kind) {
                return heard;
            }
        }
    }
}

#[tokio::test]
async fn first_comes_what_is_known_and_then_what_happens() {
    let server = Server::new().await;
    report(&server, "a", &[Pull::of("1", "nginx:1").at([500, 0])]).await;
    let mut following = Following::begin(&server, FOLLOW, &[]).await;
    let known = following.next().await;
    assert_eq!((known.kind(), known.name.as_str()), ("pull.started", ""));
    assert_eq!(known.data["pull"]["imageRef"], "nginx:1");
    let [first, second] = [Pull::of("1", "nginx:1").at([1_000, 500]), Pull::of("2", "redis:7")];
    report(&server, "a", &[first, second]).await;
    let mut kinds = BTreeMap::new();
    for _ in 0..2 {
        let message = following.next().await;
        assert!(!message.id.is_empty());
        kinds.insert(message.data["pull"]["imageRef"].to_string(), message.kind().to_owned());
    }
    let expected = [("\"nginx:1\"", "pull.progress"), ("\"redis:7\"", "pull.started")];
    let expected = expected.map(|(image, kind)| (image.to_owned(), kind.to_owned()));
    assert_eq!(kinds, BTreeMap::from(expected));
    server.stop.send_replace(true);
    assert_eq!(following.text().await, None, "the server stops");
}

#[tokio::test]
async fn every_type_of_schema_v1_is_sent_and_fits_it() {
    let schema: Value =
        serde_json::from_str(include_str!("../../../../../docs/schemas/pull-event-v1.json"))
            .expect("JSON");
    let types = schema["properties"]["type"]["enum"].as_array().expect("a list");
    let types: BTreeSet<_> = types.iter().map(|name| name.as_str().expect("text")).collect();
    // The one kind without a type is that a pull is forgotten.
    assert_eq!(types.len(), UpdateKind::ALL.len() - 1);

    let server = Server::new().await;
    let mut following = Following::begin(&server, &format!("{FOLLOW}?layers=true"), &[]).await;
    following.hears_nothing().await;
    let [good, bad] = [Pull::of("1", "nginx:1"), Pull::of("2", "redis:7")];
    let mut heard = Vec::new();
    for (pulls, last) in [
        ([good.at([100, 0]), bad], "pull.started"),
        ([good.at([500, 0]), bad.at([100, 0])], "layer.progress"),
        ([good.at([1_000, 500]), bad.at([200, 0])], "layer.completed"),
        ([good.at([1_000, 1_000]).phase("completed"), bad.phase("failed")], "pull.failed"),
    ] {
        report(&server, "a", &pulls).await;
        heard.extend(following.until(last).await);
    }
    while !heard.iter().any(|message| message.kind() == "pull.completed") {
        heard.push(following.next().await);
    }
    let found: BTreeSet<_> = heard.iter().map(Message::kind).collect();
    assert_eq!(found, types);
    let mut ids = BTreeSet::new();
    for message in &heard {
        check_schema("event", &message.data);
        ids.extend(message.data["pull"]["id"].as_str());
    }
    let layers = heard.iter().filter(|message| message.kind().starts_with("layer."));
    for message in layers {
        let layer = &message.data["layer"];
        assert!(ids.contains(layer["pullId"].as_str().expect("an id")), "{layer}");
        assert_eq!(layer["mediaType"], "application/vnd.oci.image.layer.v1.tar+gzip");
        assert!(layer["bytesPerSec"].is_number(), "{layer}");
        assert_eq!(
            message.kind() == "layer.completed",
            layer["completedAt"].is_string(),
            "{layer}"
        );
    }
}

#[tokio::test]
async fn layers_are_told_of_only_to_those_who_ask() {
    let server = Server::new().await;
    let mut following = Following::begin(&server, FOLLOW, &[]).await;
    let pull = Pull::of("1", "nginx:1");
    report(&server, "a", &[pull.at([100, 0])]).await;
    report(&server, "a", &[pull.at([1_000, 1_000]).phase("completed")]).await;
    for message in following.until("pull.completed").await {
        assert!(message.kind().starts_with("pull."), "{message:?}");
        assert_eq!(message.data.get("layer"), None);
    }
}

#[tokio::test]
async fn a_lost_connection_goes_on_behind_what_was_heard() {
    let server = Server::new().await;
    let pull = Pull::of("1", "nginx:1");
    report(&server, "b", &[Pull::of("9", "old:1")]).await;
    let mut following = Following::begin(&server, FOLLOW, &[]).await;
    following.next().await;
    report(&server, "a", &[pull]).await;
    let last = following.next().await;
    drop(following);
    report(&server, "a", &[pull.at([1_000, 1_000]).phase("completed")]).await;

    let again = [("last-event-id", last.id.as_str())];
    let mut following = Following::begin(&server, FOLLOW, &again).await;
    let missed = following.next().await;
    assert_eq!(missed.kind(), "pull.completed", "only what was missed: {missed:?}");
    drop(following);

    // What another server, or this one before it was started again, called its messages is not known here.
    for unknown in ["1-1", "4711", "x"] {
        let headers = [("last-event-id", unknown)];
        let mut following = Following::begin(&server, FOLLOW, &headers).await;
        let mut heard = Vec::new();
        while heard.len() < 2 {
            let message = following.next().await;
            if message.name != "resync" {
                heard.push(message.data["pull"]["nodeName"].to_string());
            }
        }
        heard.sort();
        assert_eq!(heard, ["\"a\"", "\"b\""], "{unknown}: all is told anew");
    }
}

#[tokio::test]
async fn who_must_forget_what_is_known_is_told_first() {
    let server = Server::new().await;
    for unknown in ["1-1", "x"] {
        let mut request = get(FOLLOW);
        request.headers_mut().insert("last-event-id", unknown.parse().expect("a value"));
        request.extensions_mut().insert(connection_from("127.0.0.1"));
        let response = server.router.clone().oneshot(request).await.expect("infallible");
        let mut body = response.into_body();
        let mut heard = String::new();
        while !heard.contains("event: resync\ndata: {}\n\n") {
            let frame = body.frame().await.expect("more").expect("no error");
            heard.push_str(std::str::from_utf8(&frame.into_data().expect("data")).expect("text"));
            assert!(!heard.contains("pull"), "{heard}");
        }
    }
}

#[tokio::test]
async fn a_heartbeat_says_where_the_client_is() {
    let server = Server::new().await;
    let mut following = Following::begin(&server, FOLLOW, &[]).await;
    report(&server, "a", &[Pull::of("1", "nginx:1")]).await;
    let last = following.next().await;
    server.clock.advance(Duration::from_secs(15));
    let beat = following.text().await.expect("a heartbeat");
    let told = Message::read(&beat);
    assert!(beat.starts_with(":\n") && told.name.is_empty() && told.data.is_null(), "{beat}");
    assert_eq!(told.id, last.id);
}

#[tokio::test]
async fn only_what_is_asked_for_is_heard() {
    let server = Server::new().await;
    for (query, expected) in [
        ("node=b", "redis:7"),
        ("image=REDIS", "redis:7"),
        ("image=nginx", "nginx:1"),
        ("state=completed", "nginx:1"),
    ] {
        let node = |name: &str| format!("{name}-{}", query.replace('=', "-"));
        let query = query.replace("node=b", &format!("node={}", node("b")));
        let mut following = Following::begin(&server, &format!("{FOLLOW}?{query}"), &[]).await;
        let done = Pull::of("1", "nginx:1").at([1_000, 1_000]).phase("completed");
        report(&server, &node("a"), &[done]).await;
        report(&server, &node("b"), &[Pull::of("1", "redis:7")]).await;
        let mut heard = following.next().await;
        // Those of the rounds before are known.
        while !heard.data["nodeName"]
            .as_str()
            .is_some_and(|name| [node("a"), node("b")].contains(&name.to_owned()))
        {
            heard = following.next().await;
        }
        assert_eq!(heard.data["pull"]["imageRef"], expected, "{query}");
    }
    for query in ["state=x", "layers=maybe"] {
        server.check_contains(get(&format!("{FOLLOW}?{query}")), 400, "invalid parameter").await;
    }
}

#[tokio::test]
async fn what_is_forgotten_is_told_of_by_name() {
    let server = Server::new().await;
    let pull = Pull::of("1", "nginx:1");
    report(&server, "a", &[pull]).await;
    report(&server, "a", &[pull.phase("completed")]).await;
    let mut following = Following::begin(&server, FOLLOW, &[]).await;
    let known = following.next().await;
    server.clock.advance(Duration::from_hours(2));
    server.pulls.tick();
    let mut removed = following.next().await;
    while removed.name.is_empty() {
        // There may have been a heartbeat.
        assert_eq!(removed.data, Value::Null);
        removed = following.next().await;
    }
    assert_eq!(
        (removed.name.as_str(), &removed.data),
        ("removed", &json!({"id": known.data["pull"]["id"]}))
    );
}

#[tokio::test]
async fn there_are_so_many_places_and_live_connections_take_none() {
    let limits = ApiLimits { live_connections_max: 0, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let mut following = Vec::new();
    for _ in 0..8 {
        following.push(Following::begin(&server, FOLLOW, &[]).await);
    }
    assert_eq!(server.stats.live_connections(), [("stream", 8), ("websocket", 0)]);
    let (status, headers, body) = server.send(get(FOLLOW)).await;
    assert_eq!((status.as_u16(), body.as_slice()), (503, &b"too many connections\n"[..]));
    assert_eq!(headers["retry-after"], "10");
    following.pop();
    drop(Following::begin(&server, FOLLOW, &[]).await);
    drop(following);
    assert_eq!(server.stats.live_connections(), [("stream", 0), ("websocket", 0)]);
}

#[tokio::test]
async fn nobody_hears_of_another_tenants_pulls_or_with_a_revoked_key() {
    let (server, [default, blue]) = guarded(ApiLimits::default()).await;
    let as_default = [("x-api-key", default.secret.expose_secret())];
    let mut following = Following::begin(&server, FOLLOW, &as_default).await;
    report_as(&server, "a", &[Pull::of("1", "redis:7")], Some(&blue)).await;
    report_as(&server, "a", &[Pull::of("1", "nginx:1")], Some(&default)).await;
    let heard = following.next().await;
    assert_eq!(heard.data["pull"]["imageRef"], "nginx:1");
    server.access.revoke_key(&Actor::command_line(), &default.info.id).await.expect("revoked");
    server.clock.advance(Duration::from_secs(5));
    assert_eq!(following.text().await, None);
}

#[tokio::test]
async fn a_pull_is_told_with_the_pods_that_wait_for_it() {
    let server = Server::new().await;
    let cluster = server.pulls.cluster(&TenantId::default_tenant(), "");
    cluster.set_connection(Connection::Live);
    let waiting =
        ContainerState::Waiting { reason: "ContainerCreating".into(), message: "".into() };
    cluster.pod_applied(Pod {
        uid: "u-1".into(),
        static_uid: "".into(),
        namespace: "shop".into(),
        name: "cart-7d4f".into(),
        node: "a".into(),
        phase: "Pending".into(),
        owner: Some(Owner { kind: "ReplicaSet".into(), name: "cart".into() }),
        created_at: None,
        containers: vec![Container {
            name: "cart".into(),
            kind: ContainerKind::Regular,
            image: "nginx:1".into(),
            image_id: "".into(),
            state: waiting,
        }],
    });
    let mut following = Following::begin(&server, &format!("{FOLLOW}?namespace=shop"), &[]).await;
    report(&server, "a", &[Pull::of("1", "docker.io/library/nginx:1").at([500, 0])]).await;
    let heard = following.next().await;
    check_schema("event", &heard.data);
    let expected = json!([{
        "namespace": "shop", "podName": "cart-7d4f", "container": "cart", "image": "nginx:1", "kind": "regular",
        "owner": {"kind": "ReplicaSet", "name": "cart"},
    }]);
    assert_eq!(heard.data["pull"]["pods"], expected);
    let pods = ask(&server, "/v1/pulls/pods?namespace=shop&pod=CART").await;
    let container = &pods["pods"][0]["containers"][0];
    assert_eq!(container["state"], PullState::Downloading.as_str());
    assert_eq!(container["pullId"], heard.data["pull"]["id"]);
    assert_eq!(container["percent"], json!(25.0));
    assert_eq!(pods["clusters"], json!([{"cluster": "", "connection": "live"}]));
    assert_eq!(ask(&server, "/v1/pulls/pods?namespace=bank").await["pods"], json!([]));
}

/// A client with a socket of its own.
struct Client {
    stream: TcpStream,
    text: String,
    finals: BTreeSet<String>,
}

impl Client {
    /// Connects. What is sent and not read waits in the server once the kernel holds `window_bytes`, and what it
    /// sends ahead.
    async fn connect(address: SocketAddr, window_bytes: u32) -> Self {
        let socket = TcpSocket::new_v4().expect("a socket");
        socket.set_recv_buffer_size(window_bytes).expect("a size");
        let mut stream = socket.connect(address).await.expect("connect");
        let request = format!("GET {FOLLOW} HTTP/1.1\r\nhost: {address}\r\n\r\n");
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut client = Self { stream, text: String::new(), finals: BTreeSet::new() };
        let mut head = Vec::new();
        while !head.ends_with(b"retry: 2000\n\n") {
            head.push(client.stream.read_u8().await.expect("a greeting"));
        }
        client
    }

    /// Reads what is there; false at the end.
    async fn read(&mut self) -> bool {
        let mut buffer = vec![0; 256 << 10];
        let length = self.stream.read(&mut buffer).await.unwrap_or(0);
        self.text.push_str(&String::from_utf8_lossy(&buffer[..length]));
        let Some(end) = self.text.rfind("\n\n") else { return length > 0 };
        let messages: String = self.text.drain(..end + 2).collect();
        // Messages in chunks: the sizes between them are lines of their own.
        for data in messages.lines().filter_map(|line| line.strip_prefix("data: ")) {
            if data.contains(r#""type":"pull.completed""#) {
                let data: Value = serde_json::from_str(data).expect("whole messages");
                let node = data["nodeName"].as_str().expect("a node").to_owned();
                assert!(self.finals.insert(node), "each end once");
            }
        }
        length > 0
    }

    /// Reads until so many pulls have ended.
    async fn read_ends(&mut self, count: usize) {
        while self.finals.len() < count {
            assert!(self.read().await, "{} of {count}", self.finals.len());
        }
    }
}

/// Nodes that pull, and reports of each before its pull ends: 8 MB, which is more than the kernel holds for a client.
const NODES: usize = 50;
const ROUNDS: u64 = 60;

/// Lets all nodes report again and again while `fast` reads; then all pulls end.
async fn pull_everywhere(server: &Server, fast: &mut Client) {
    let image = format!("registry.example/{}:1", "x".repeat(900));
    for round in 0..=ROUNDS {
        for node in 0..NODES {
            let pull = Pull::of("1", &image).at([round, round]);
            let done = pull.at([1_000, 1_000]).phase("completed");
            let body = report_of(&format!("n{node}"), &[if round < ROUNDS { pull } else { done }]);
            server.check(post(REPORT, &body), 200, "").await;
        }
        server.clock.advance(BATCH);
        if round < ROUNDS {
            fast.read().await;
        }
    }
}

#[tokio::test]
async fn slow_fast_and_lost_clients_are_served_side_by_side_and_miss_no_end() {
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
        let mut fast = Client::connect(address, 4 << 20).await;
        let mut slow = Client::connect(address, 1 << 20).await;
        let _stuck = Client::connect(address, 4 << 10).await;
        drop(Client::connect(address, 4 << 10).await);
        pull_everywhere(&server, &mut fast).await;
        fast.read_ends(NODES).await;
        // Nobody waited for this one; it reads only now.
        slow.read_ends(NODES).await;
        drop(slow);
        // Whoever takes nothing is let go, and whoever is gone with the next heartbeat.
        server.clock.advance(Duration::from_secs(31));
        for _ in 0..100_000 {
            if server.stats.live_connections()[0].1 == 1 {
                break;
            }
            tokio::task::yield_now().await;
        }
        assert_eq!(server.stats.live_connections(), [("stream", 1), ("websocket", 0)]);
        server.stop.send_replace(true);
        while fast.read().await {}
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("no error");
}
