use std::time::Duration;

use secrecy::ExposeSecret as _;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{ServeLimits, Transport, serve};

/// A client of a WebSocket.
pub(super) struct Client(TcpStream);

impl Client {
    async fn connect(address: std::net::SocketAddr) -> Self {
        Self::connect_with(address, "").await
    }

    async fn connect_with(address: std::net::SocketAddr, header: &str) -> Self {
        Self::connect_to(address, "/v1/ws", header).await
    }

    /// Connects to any path that a WebSocket can begin at.
    pub(super) async fn connect_to(
        address: std::net::SocketAddr,
        path: &str,
        header: &str,
    ) -> Self {
        let (stream, head) = Self::upgrade(address, path, header).await;
        assert!(head.starts_with("HTTP/1.1 101 "), "{head}");
        Self(stream)
    }

    /// Asks for a WebSocket, and returns the head of the answer.
    async fn upgrade(
        address: std::net::SocketAddr,
        path: &str,
        header: &str,
    ) -> (TcpStream, String) {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let request = format!(
            "GET {path} HTTP/1.1\r\nhost: {address}\r\norigin: http://{address}\r\n\
             connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
             sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{header}\r\n"
        );
        stream.write_all(request.as_bytes()).await.expect("write");
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(stream.read_u8().await.expect("the head of the answer"));
        }
        (stream, String::from_utf8(head).expect("the head is text"))
    }

    /// Sends a short text, masked with zeros.
    pub(super) async fn send(&mut self, text: &str) {
        let length = u8::try_from(text.len()).expect("a short text");
        assert!(length < 126);
        let frame = [&[0x81, 0x80 | length, 0, 0, 0, 0], text.as_bytes()].concat();
        self.0.write_all(&frame).await.expect("write");
    }

    /// Returns once the server has read all that was sent.
    pub(super) async fn ping(&mut self) {
        self.0.write_all(&[0x89, 0x80, 0, 0, 0, 0]).await.expect("write");
        assert_eq!(self.receive().await, (10, Vec::new()));
    }

    /// Receives the kind of a frame and what it holds.
    pub(super) async fn receive(&mut self) -> (u8, Vec<u8>) {
        let kind = self.0.read_u8().await.expect("a frame") & 0x0f;
        let length = match self.0.read_u8().await.expect("a length") {
            126 => usize::from(self.0.read_u16().await.expect("a length")),
            length => usize::from(length),
        };
        let mut content = vec![0; length];
        self.0.read_exact(&mut content).await.expect("the content");
        (kind, content)
    }

    pub(super) async fn check(&mut self, expected: &str) {
        let (kind, content) = self.receive().await;
        assert_eq!((kind, String::from_utf8_lossy(&content)), (1, expected.into()));
    }
}

#[tokio::test]
async fn all_connections_get_the_newest_samples_though_one_query_runs_at_a_time() {
    let limits =
        ApiLimits { queries_concurrent_max: 1, queries_waiting_max: 0, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    server.ingest(r#"{"name":"cpu","type":"gauge","value":1.5,"labels":{"host":"a"}}"#).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = Arc::clone(&server.clock);
    let serving = serve(
        listener,
        server.router.clone(),
        Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&clock))),
        server.stop.subscribe(),
    );
    let talking = async {
        let mut clients = Vec::new();
        for _ in 0..8 {
            let mut client = Client::connect(address).await;
            // What clients say is ignored, as the original did.
            client.send("?").await;
            client.ping().await;
            clients.push(client);
        }
        clock.advance(Duration::from_secs(5));
        for client in &mut clients {
            let update = r#"{"count":1,"metrics":[{"name":"cpu","type":"gauge","value":1.5,"labels":{"host":"a"},"timestamp":"2024-11-19T07:06:40Z"}],"timestamp":1732000005,"type":"metrics_update"}"#;
            client.check(update).await;
        }
        server.stop.send_replace(true);
        for client in &mut clients {
            let (kind, reason) = client.receive().await;
            assert_eq!((kind, &reason[..2]), (8, &1001_u16.to_be_bytes()[..]));
        }
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("no error");
}

#[tokio::test]
async fn live_connections_beyond_the_limit_are_told_to_come_again() {
    let limits = ApiLimits { live_connections_max: 1, ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let serving = serve(
        listener,
        server.router.clone(),
        Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&server.clock))),
        server.stop.subscribe(),
    );
    let talking = async {
        let client = Client::connect(address).await;
        let (_stream, head) = Client::upgrade(address, "/v1/ws", "").await;
        assert!(head.starts_with("HTTP/1.1 503 "), "{head}");
        drop(client);
        server.stop.send_replace(true);
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("no error");
}

#[tokio::test]
async fn live_updates_end_when_the_key_is_revoked() {
    let keys = |access: &Arc<Access>, _: &Arc<SimClock>| {
        Identity::Keys(crate::Ways { access: Arc::clone(access), oidc: None })
    };
    let server = Server::known_by(ApiLimits::default(), StoreConfig::default(), keys).await;
    let actor = access::Actor::command_line();
    let new = access::NewKey {
        tenant: TenantId::default_tenant(),
        app: None,
        name: "screen".to_owned(),
        permissions: Role::Viewer.permissions(),
        all_tenants: false,
        limits: access::KeyLimits::default(),
        expires_at: None,
    };
    let key = server.access.create_key(&actor, new).await.expect("a key");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = Arc::clone(&server.clock);
    let serving = serve(
        listener,
        server.router.clone(),
        Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&clock))),
        server.stop.subscribe(),
    );
    let talking = async {
        let header = format!("x-api-key: {}\r\n", key.secret.expose_secret());
        let root = format!("x-api-key: {ROOT_KEY}\r\n");
        let mut client = Client::connect_with(address, &header).await;
        let mut other = Client::connect_with(address, &root).await;
        client.ping().await;
        other.ping().await;
        server.access.revoke_key(&actor, &key.info.id).await.expect("revoked");
        clock.advance(Duration::from_secs(5));
        let (kind, reason) = client.receive().await;
        assert_eq!(
            (kind, &reason[..]),
            (8, &[&1008_u16.to_be_bytes(), &b"key_revoked"[..]].concat()[..])
        );
        other.ping().await;
        server.stop.send_replace(true);
    };
    let (served, ()) = tokio::join!(serving, talking);
    served.expect("no error");
}

#[tokio::test]
async fn live_updates_need_an_upgrade() {
    let server = Server::new().await;
    server.check_contains(get("/v1/ws"), 400, "need a WebSocket").await;
}
