//! Reports over TLS, to a server that asks for a certificate.

use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use rustls::RootCertStore;
use rustls::ServerConfig;
use rustls::crypto::ring::default_provider;
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use rustls::server::WebPkiClientVerifier;
use tokio_rustls::TlsAcceptor;

use super::*;

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

struct Pair {
    certificate: String,
    key: String,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self) -> Pair {
        let params = CertificateParams::new(["localhost".to_owned()]).expect("a name");
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }

    /// Returns what a server needs that shows `pair` and wants a certificate of this authority.
    fn acceptor(&self, pair: &Pair) -> TlsAcceptor {
        let mut roots = RootCertStore::empty();
        let own = CertificateDer::from_pem_slice(self.pem.as_bytes()).expect("a certificate");
        roots.add(own).expect("an authority");
        let provider = Arc::new(default_provider());
        let verifier =
            WebPkiClientVerifier::builder_with_provider(Arc::new(roots), Arc::clone(&provider));
        let chain = CertificateDer::from_pem_slice(pair.certificate.as_bytes()).expect("one");
        let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("a key");
        let config = ServerConfig::builder_with_provider(provider)
            .with_safe_default_protocol_versions()
            .expect("versions")
            .with_client_cert_verifier(verifier.build().expect("a verifier"))
            .with_single_cert(vec![chain], key)
            .expect("a pair");
        TlsAcceptor::from(Arc::new(config))
    }
}

/// Sends a report to a server of `server`, with these files; `None` where the file is not to be set.
async fn report(server: &Authority, ca: Option<&str>, pair: Option<&Pair>) -> Answer {
    let acceptor = server.acceptor(&server.issue());
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let port = listener.local_addr().expect("an address").port();
    let fs = SimFs::new();
    let mut flags = Vec::new();
    if let Some(ca) = ca {
        write(&fs, "/ca", ca);
        flags.extend(["--ca-file", "/ca"]);
    }
    if let Some(pair) = pair {
        write(&fs, "/crt", &pair.certificate);
        write(&fs, "/key", &pair.key);
        flags.extend(["--certificate-file", "/crt", "--key-file", "/key"]);
    }
    let settings = settings(&format!("https://localhost:{port}"), &flags, &[]);
    let client = Client::open(settings, fs).expect("credentials");
    let serve = async {
        loop {
            let (stream, _) = listener.accept().await.expect("a connection");
            let Ok(mut stream) = acceptor.accept(stream).await else { continue };
            let mut request = [0; 4_096];
            // A client that is refused reads why and goes.
            if stream.read(&mut request).await.is_ok_and(|length| length > 0) {
                let ok = b"HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n";
                stream.write_all(ok).await.expect("answered");
                stream.shutdown().await.expect("closed");
            }
        }
    };
    tokio::select! {
        answer = client.send(plain("{}"), LONG) => answer,
        () = serve => unreachable!("it serves for ever"),
    }
}

#[tokio::test]
async fn a_server_is_trusted_by_its_authority_and_trusts_the_agent_by_its_certificate() {
    let (authority, other) = (Authority::new(), Authority::new());
    let (pair, strange) = (authority.issue(), other.issue());
    let ca = Some(authority.pem.as_str());
    assert_eq!(report(&authority, ca, Some(&pair)).await, Answer::Accepted { ours: false });
    let both = format!("{}{}", other.pem, authority.pem);
    let answer = report(&authority, Some(&both), Some(&pair)).await;
    assert_eq!(answer, Answer::Accepted { ours: false }, "a bundle, as while one is replaced");
    for (ca, pair, why) in [
        (None, Some(&pair), "the machine does not trust it"),
        (Some(other.pem.as_str()), Some(&pair), "the agent trusts another authority"),
        (ca, None, "the agent shows no certificate"),
        (ca, Some(&strange), "the agent shows one of another authority"),
    ] {
        let answer = report(&authority, ca, pair).await;
        assert!(matches!(answer, Answer::Unreachable { .. }), "{why}: {answer:?}");
    }
}

#[test]
fn a_certificate_with_the_key_of_another_is_told() {
    let authority = Authority::new();
    let fs = SimFs::new();
    write(&fs, "/crt", &authority.issue().certificate);
    write(&fs, "/key", &authority.issue().key);
    let flags = ["--certificate-file", "/crt", "--key-file", "/key"];
    let error =
        Client::open(settings("https://localhost", &flags, &[]), fs).expect_err("a mismatch");
    assert!(matches!(error, CredentialsError::Tls(_)), "{error}");
}
