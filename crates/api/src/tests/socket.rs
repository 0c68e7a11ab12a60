use std::time::Duration;

use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::{TcpListener, TcpStream};

use super::*;
use crate::{ServeLimits, Transport, serve};

#[tokio::test]
async fn silent_connections_end_and_others_are_answered_until_the_end() {
    let server = Server::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let clock = Arc::clone(&server.clock);
    let limits = ServeLimits::default();
    let timeout = limits.first_byte_timeout;
    let serving = serve(
        listener,
        server.router.clone(),
        Transport::new(limits, Arc::new(Arc::clone(&clock))),
        server.stop.subscribe(),
    );
    let client = async {
        let mut silent = TcpStream::connect(address).await.expect("connect");
        let mut talking = TcpStream::connect(address).await.expect("connect");
        let request = b"GET /-/healthy HTTP/1.1\r\nhost: x\r\n\r\n";
        talking.write_all(request).await.expect("write");
        let mut answer = [0; 15];
        talking.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 200 OK");
        clock.advance(timeout + Duration::from_millis(1));
        assert_eq!(silent.read(&mut [0]).await.expect("closed"), 0);
        server.stop.send_replace(true);
        let mut rest = Vec::new();
        talking.read_to_end(&mut rest).await.expect("closed");
    };
    let (served, ()) = tokio::join!(serving, client);
    served.expect("no error");
}

#[tokio::test]
async fn a_refusal_reaches_a_client_that_is_still_sending() {
    let server = Server::new().await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let transport = Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&server.clock)));
    let stopped = server.stop.subscribe();
    let serving = serve(listener, server.router.clone(), transport, stopped);
    let client = async {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let body = vec![b' '; 48 << 20];
        let length = body.len();
        let head =
            format!("POST /v1/ingest HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        stream.write_all(head.as_bytes()).await.expect("write");
        stream.write_all(&body).await.expect("everything is taken in");
        let mut answer = [0; 12];
        stream.read_exact(&mut answer).await.expect("an answer");
        assert_eq!(&answer, b"HTTP/1.1 413");
        server.stop.send_replace(true);
    };
    let (served, ()) = tokio::join!(serving, client);
    served.expect("no error");
}

#[tokio::test]
async fn a_connection_goes_on_after_a_short_write_was_refused_unread() {
    let samples = access::RateLimit::new(0.001, 1).expect("a limit");
    let tenants = access::TenantLimits { samples: Some(samples), ..Default::default() };
    let requests = crate::RequestLimits { tenants: Arc::new(tenants), ..Default::default() };
    let limits = ApiLimits { requests: requests.into(), ..ApiLimits::default() };
    let server = Server::with(limits, StoreConfig::default()).await;
    server.ingest(r#"{"name":"a","type":"gauge","value":1}"#).await;
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let transport = Transport::new(ServeLimits::default(), Arc::new(Arc::clone(&server.clock)));
    let stopped = server.stop.subscribe();
    let serving = serve(listener, server.router.clone(), transport, stopped);
    let client = async {
        let mut stream = TcpStream::connect(address).await.expect("connect");
        let body = vec![b' '; 100 << 10];
        let length = body.len();
        let head =
            format!("POST /v1/ingest HTTP/1.1\r\nhost: x\r\ncontent-length: {length}\r\n\r\n");
        let next = "GET /-/healthy HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
        stream.write_all(head.as_bytes()).await.expect("write");
        stream.write_all(&body).await.expect("write");
        stream.write_all(next.as_bytes()).await.expect("write");
        let mut answers = Vec::new();
        stream.read_to_end(&mut answers).await.expect("both answers");
        let answers = String::from_utf8(answers).expect("texts");
        let statuses: Vec<_> =
            answers.lines().filter(|line| line.starts_with("HTTP/1.1 ")).collect();
        assert_eq!(statuses, ["HTTP/1.1 429 Too Many Requests", "HTTP/1.1 200 OK"], "{answers}");
        server.stop.send_replace(true);
    };
    let (served, ()) = tokio::join!(serving, client);
    served.expect("no error");
}
