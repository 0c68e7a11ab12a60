use std::net::SocketAddr;

use axum::serve::Listener;
use rcgen::{CertifiedKey, generate_simple_self_signed};
use rustls::pki_types::{PrivateKeyDer, PrivatePkcs8KeyDer};
use tokio::net::{TcpListener, TcpStream};
use tokio_rustls::TlsAcceptor;
use tokio_rustls::server::TlsStream;

use super::*;

struct TlsListener {
    listener: TcpListener,
    acceptor: TlsAcceptor,
}

impl Listener for TlsListener {
    type Io = TlsStream<TcpStream>;
    type Addr = SocketAddr;

    async fn accept(&mut self) -> (Self::Io, Self::Addr) {
        loop {
            let (stream, address) = self.listener.accept().await.expect("a connection");
            // Who does not trust the certificate goes away.
            if let Ok(stream) = self.acceptor.accept(stream).await {
                return (stream, address);
            }
        }
    }

    fn local_addr(&self) -> std::io::Result<Self::Addr> {
        self.listener.local_addr()
    }
}

/// A server with TLS, and its certificate.
async fn server() -> (Arc<Server>, String) {
    let CertifiedKey { cert, signing_key } =
        generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let key = PrivateKeyDer::from(PrivatePkcs8KeyDer::from(signing_key.serialize_der()));
    let provider = Arc::new(rustls::crypto::ring::default_provider());
    let config = rustls::ServerConfig::builder_with_provider(provider)
        .with_safe_default_protocol_versions()
        .expect("versions")
        .with_no_client_auth()
        .with_single_cert(vec![cert.der().clone()], key)
        .expect("a certificate");
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let address = listener.local_addr().expect("an address");
    let listener = TlsListener { listener, acceptor: TlsAcceptor::from(Arc::new(config)) };
    let server = Server::start_on(address, |router| async move {
        axum::serve(listener, router).await.expect("it serves");
    });
    (server, cert.pem())
}

fn watch_of(server: &Arc<Server>, authority: &str) -> Watched {
    let url = format!("https://localhost:{}", server.address().port());
    let (folder, access) = kubeconfig(&url, authority);
    Watched::start_at(Arc::clone(server), access, folder, &[], timing())
}

#[tokio::test]
async fn a_cluster_is_followed_over_tls() {
    let (server, certificate) = server().await;
    server.put(pod("shop", "p1", "nginx", Some("ContainerCreating")));
    let watched = watch_of(&server, &base64(certificate.as_bytes()));
    watched.agrees().await;
    watched.end().await;
}

#[tokio::test]
async fn a_certificate_that_is_not_trusted_is_told() {
    let (server, _) = server().await;
    let other = generate_simple_self_signed(["localhost".to_owned()]).expect("a certificate");
    let watched = watch_of(&server, &base64(other.cert.pem().as_bytes()));
    watched.is_degraded("invalid peer certificate").await;
    watched.end().await;
}

fn base64(bytes: &[u8]) -> String {
    let json = serde_json::to_value(k8s_openapi::ByteString(bytes.to_vec())).expect("a text");
    json.as_str().expect("a text").to_owned()
}
