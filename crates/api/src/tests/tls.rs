//! TLS over real sockets, with certificates made for each test.

use std::io;
use std::path::PathBuf;
use std::time::Duration;

use platform::Fs;
use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair, date_time_ymd};
use rustls::pki_types::pem::PemObject as _;
use rustls::pki_types::{CertificateDer, PrivateKeyDer, ServerName};
use rustls::{ClientConfig, RootCertStore, SupportedProtocolVersion, version};
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;
use tokio_rustls::client::TlsStream;

use super::transport::{Client2, Served, ask1, served};
use super::*;
use crate::{ClientAuth, HealthCheck as _, Reload, Tls, TlsError, TlsSettings, TlsVersion};

const BOTH: &[&SupportedProtocolVersion] = &[&version::TLS12, &version::TLS13];

/// Certificate and key in PEM.
#[derive(Clone)]
struct Pair {
    certificate: String,
    key: String,
}

/// Signs certificates that are valid from 2024-11-01 until 2024-12-01, around [`NOW_MS`].
struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new(name: &str) -> Self {
        let mut params = CertificateParams::new(Vec::new()).expect("no names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("a certificate").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Pair {
        self.issue_until(name, 12)
    }

    /// Issues a certificate that is valid until the first day of a month of 2024.
    fn issue_until(&self, name: &str, month: u8) -> Pair {
        let mut params = CertificateParams::new(["localhost".to_owned()]).expect("names");
        params.distinguished_name.push(DnType::CommonName, name);
        params.not_before = date_time_ymd(2024, 1, 1);
        params.not_after = date_time_ymd(2024, month, 1);
        let key = KeyPair::generate().expect("a key");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate");
        Pair { certificate: certificate.pem(), key: key.serialize_pem() }
    }
}

/// A machine with the files of a server.
struct Machine {
    fs: Arc<SimFs>,
    clock: Arc<SimClock>,
    authority: Authority,
}

impl Machine {
    fn new() -> Self {
        let machine = Self {
            fs: SimFs::new(),
            clock: SimClock::new(Timestamp::from_millis(NOW_MS)),
            authority: Authority::new("authority"),
        };
        machine.write("ca.pem", &machine.authority.pem);
        machine.install(&machine.authority.issue("server"));
        machine
    }

    fn install(&self, pair: &Pair) {
        self.write("server.pem", &pair.certificate);
        self.write("server.key", &pair.key);
    }

    fn write(&self, path: &str, content: &str) {
        let path = Path::new(path);
        // There may be none yet.
        drop(self.fs.remove_file(path));
        self.fs.create(path).expect("create").append(content.as_bytes()).expect("append");
    }

    fn open(
        &self,
        minimum_version: TlsVersion,
        client_auth: ClientAuth,
    ) -> Result<Arc<Tls>, TlsError> {
        let settings = TlsSettings {
            certificate_file: "server.pem".into(),
            key_file: "server.key".into(),
            minimum_version,
            client_auth,
        };
        Tls::open(Arc::clone(&self.fs) as _, Arc::new(Arc::clone(&self.clock)), settings)
    }

    fn open_plain(&self) -> Arc<Tls> {
        self.open(TlsVersion::Tls12, ClientAuth::None).expect("valid files")
    }

    async fn served(&self, tls: &Arc<Tls>, client: impl AsyncFnOnce(&Served)) {
        let configure = |transport: &mut crate::Transport| transport.tls = Some(Arc::clone(tls));
        served(Arc::clone(&self.clock), configure, client).await;
    }

    /// Returns a client that trusts the authority and offers one protocol.
    fn client(
        &self,
        versions: &[&'static SupportedProtocolVersion],
        shown: Option<&Pair>,
        protocol: &str,
    ) -> TlsConnector {
        let mut roots = RootCertStore::empty();
        let root = CertificateDer::from_pem_slice(self.authority.pem.as_bytes()).expect("PEM");
        roots.add(root).expect("a root");
        let provider = Arc::new(rustls::crypto::ring::default_provider());
        let time = Arc::new(At2024);
        let builder = ClientConfig::builder_with_details(provider, time)
            .with_protocol_versions(versions)
            .expect("versions")
            .with_root_certificates(roots);
        let mut config = match shown {
            None => builder.with_no_client_auth(),
            Some(pair) => {
                let certificate = CertificateDer::from_pem_slice(pair.certificate.as_bytes());
                let key = PrivateKeyDer::from_pem_slice(pair.key.as_bytes()).expect("PEM");
                let chain = vec![certificate.expect("PEM")];
                builder.with_client_auth_cert(chain, key).expect("a pair")
            }
        };
        config.alpn_protocols = vec![protocol.as_bytes().to_vec()];
        TlsConnector::from(Arc::new(config))
    }
}

/// Lets clients think that it is [`NOW_MS`].
#[derive(Debug)]
struct At2024;

impl rustls::time_provider::TimeProvider for At2024 {
    fn current_time(&self) -> Option<rustls::pki_types::UnixTime> {
        let now = Duration::from_millis(NOW_MS.unsigned_abs());
        Some(rustls::pki_types::UnixTime::since_unix_epoch(now))
    }
}

async fn connect(server: &Served, client: &TlsConnector) -> io::Result<TlsStream<TcpStream>> {
    let name = ServerName::try_from("localhost").expect("a name");
    client.connect(name, server.connect().await).await
}

/// Connects, asks for what the server knows of the connection, and returns that or why not.
async fn ask(server: &Served, client: &TlsConnector) -> Result<String, String> {
    let mut stream = connect(server, client).await.map_err(|error| error.to_string())?;
    let request = b"GET /info HTTP/1.1\r\nhost: x\r\nconnection: close\r\n\r\n";
    stream.write_all(request).await.map_err(|error| error.to_string())?;
    let mut answer = String::new();
    stream.read_to_string(&mut answer).await.map_err(|error| error.to_string())?;
    let (_, body) = answer.split_once("\r\n\r\n").expect("a head");
    Ok(body.to_owned())
}

#[tokio::test]
async fn versions_below_the_minimum_are_refused() {
    let machine = Machine::new();
    let (old, new): (&[_], &[_]) = (&[&version::TLS12], &[&version::TLS13]);
    for (minimum, spoken, works) in [
        (TlsVersion::Tls12, old, true),
        (TlsVersion::Tls12, new, true),
        (TlsVersion::Tls13, old, false),
        (TlsVersion::Tls13, new, true),
    ] {
        let tls = machine.open(minimum, ClientAuth::None).expect("valid files");
        machine
            .served(&tls, async |server| {
                let answer = ask(server, &machine.client(spoken, None, "http/1.1")).await;
                assert_eq!(answer.is_ok(), works, "{minimum:?} {spoken:?}: {answer:?}");
                let counts = server.stats.counts();
                let expected = (u64::from(works), u64::from(!works));
                assert_eq!((counts.tls_handshakes, counts.tls_handshakes_failed), expected);
            })
            .await;
    }
}

#[tokio::test]
async fn clients_show_certificates_as_configured() {
    let machine = Machine::new();
    let ca_file = PathBuf::from("ca.pem");
    let optional = ClientAuth::Optional { ca_file: ca_file.clone() };
    let required = ClientAuth::Required { ca_file };
    let good = machine.authority.issue("agent-7");
    let expired = machine.authority.issue_until("agent-7", 11);
    // Of the same name, but with another key.
    let foreign = Authority::new("authority").issue("agent-7");
    let (nobody, known) = ("client=None", "client=Some(Some(\"agent-7\"))");
    for (auth, shown, expected) in [
        (ClientAuth::None, None, Ok(nobody)),
        (ClientAuth::None, Some(&good), Ok(nobody)),
        (optional.clone(), None, Ok(nobody)),
        (optional.clone(), Some(&good), Ok(known)),
        (optional.clone(), Some(&expired), Err("CertificateExpired")),
        (optional, Some(&foreign), Err("DecryptError")),
        (required.clone(), None, Err("CertificateRequired")),
        (required.clone(), Some(&good), Ok(known)),
        (required.clone(), Some(&expired), Err("CertificateExpired")),
        (required, Some(&foreign), Err("DecryptError")),
    ] {
        let tls = machine.open(TlsVersion::Tls12, auth.clone()).expect("valid files");
        machine
            .served(&tls, async |server| {
                let answer = ask(server, &machine.client(BOTH, shown, "http/1.1")).await;
                match (&answer, expected) {
                    (Ok(answer), Ok(expected)) => {
                        assert_eq!(*answer, format!("127.0.0.1 tls=true {expected}"), "{auth:?}");
                    }
                    (Err(reason), Err(expected)) => {
                        assert!(reason.contains(expected), "{auth:?}: {reason}");
                    }
                    _ => panic!("{auth:?}: {answer:?} instead of {expected:?}"),
                }
            })
            .await;
    }
}

#[tokio::test]
async fn http2_is_spoken_with_those_who_ask_for_it() {
    let machine = Machine::new();
    let tls = machine.open_plain();
    machine
        .served(&tls, async |server| {
            let stream = connect(server, &machine.client(BOTH, None, "h2")).await.expect("connect");
            assert_eq!(stream.get_ref().1.alpn_protocol(), Some(&b"h2"[..]));
            let mut client = Client2::new(stream).await;
            assert_eq!(client.ask("/info").await, "127.0.0.1 tls=true client=None");
            assert_eq!(server.stats.counts().connections_http2, 1);
            let other = connect(server, &machine.client(BOTH, None, "spdy/3")).await;
            other.expect_err("no common protocol");
        })
        .await;
}

#[tokio::test]
async fn a_new_certificate_is_for_new_connections_and_a_broken_one_for_none() {
    let machine = Machine::new();
    let tls = machine.open_plain();
    machine
        .served(&tls, async |server| {
            let client = machine.client(BOTH, None, "http/1.1");
            let mut first = connect(server, &client).await.expect("connect");
            let shown = |stream: &TlsStream<TcpStream>| {
                stream.get_ref().1.peer_certificates().expect("a certificate")[0].clone()
            };
            assert_eq!(tls.reload(), Reload::Unchanged);
            machine.install(&machine.authority.issue("server"));
            assert_eq!(tls.reload(), Reload::Replaced);
            let second = connect(server, &client).await.expect("connect");
            assert_ne!(shown(&first), shown(&second));
            assert!(ask1(&mut first, "/info").await.1.contains("tls=true"), "it goes on");

            machine.write("server.key", "nonsense");
            assert_eq!(tls.reload(), Reload::Refused);
            let third = connect(server, &client).await.expect("connect");
            assert_eq!(shown(&second), shown(&third));
        })
        .await;
}

#[test]
fn what_is_wrong_with_a_certificate_is_told() {
    let machine = Machine::new();
    let tls = machine.open_plain();
    assert_eq!(tls.status().days_left, 11);
    assert_eq!(tls.problem(), None);

    let good = machine.authority.issue("server");
    for (file, content, expected) in [
        ("server.pem", "", "there is no certificate in 'server.pem'"),
        ("server.key", "", "'server.key' is not PEM with a private key"),
        ("server.key", &good.key, "the certificate and the key in 'server.key' do not work"),
    ] {
        let kept = String::from_utf8(machine.fs.read(Path::new(file), 1 << 20).expect("a file"));
        machine.write(file, content);
        assert_eq!(tls.reload(), Reload::Refused, "{expected}");
        let problem = tls.problem().expect("a problem");
        assert!(problem.contains(expected), "{problem}");
        assert_eq!(tls.reload(), Reload::Unchanged, "said once");
        assert!(tls.problem().is_some(), "and still so");
        machine.write(file, &kept.expect("text"));
        assert_eq!(tls.reload(), Reload::Replaced);
        assert_eq!(tls.problem(), None);
    }
    machine.fs.remove_file(Path::new("server.key")).expect("remove");
    assert_eq!(tls.reload(), Reload::Refused);
    machine.install(&good);
    assert_eq!(tls.reload(), Reload::Replaced);

    machine.clock.advance(Duration::from_secs(12 * 24 * 60 * 60));
    assert_eq!(tls.status().days_left, -1);
    assert_eq!(tls.problem().as_deref(), Some("the TLS certificate has expired"));
}

#[test]
fn authorities_that_are_none_are_refused_at_the_start() {
    let machine = Machine::new();
    machine.write("ca.pem", "");
    let required = ClientAuth::Required { ca_file: "ca.pem".into() };
    let error = machine.open(TlsVersion::Tls12, required).expect_err("nobody could come in");
    assert!(matches!(error, TlsError::ClientAuthorities { .. }), "{error}");
}

#[tokio::test]
async fn a_handshake_that_never_ends_is_cut_off() {
    let machine = Machine::new();
    let tls = machine.open_plain();
    machine
        .served(&tls, async |server| {
            let mut stream = server.connect().await;
            // The head of a record that promises more.
            stream.write_all(&[0x16, 3, 1, 1, 0]).await.expect("write");
            assert_eq!(server.in_time(stream.read(&mut [0])).await.expect("closed"), 0);
            assert_eq!(server.stats.counts().tls_handshakes_timed_out, 1);
        })
        .await;
}

#[tokio::test]
async fn who_speaks_plain_http_to_a_tls_port_is_told_so() {
    let machine = Machine::new();
    let tls = machine.open_plain();
    machine
        .served(&tls, async |server| {
            let mut stream = server.connect().await;
            let (status, body) = ask1(&mut stream, "/info").await;
            assert_eq!(status, "HTTP/1.1 400 Bad Request");
            assert_eq!(body, "this port speaks TLS only: ask it with https://\n");
            assert_eq!(stream.read(&mut [0]).await.expect("closed"), 0);
            assert_eq!(server.stats.counts().tls_missing, 1);
        })
        .await;
}
