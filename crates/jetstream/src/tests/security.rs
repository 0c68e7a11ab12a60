//! Who is let in, and over what.

use base64::Engine as _;
use base64::engine::general_purpose::URL_SAFE_NO_PAD;
use rcgen::{BasicConstraints, CertificateParams, IsCa, Issuer, KeyPair};
use serde_json::{Value, json};

use super::*;
use crate::settings::{Authentication, ClientCertificate, TlsSettings};
use crate::testing::NatsServer;

struct Pair {
    certificate: String,
    key: String,
}

struct Authority {
    pem: String,
    issuer: Issuer<'static, KeyPair>,
}

impl Authority {
    fn new() -> Self {
        let mut params = CertificateParams::new(Vec::<String>::new()).expect("parameters");
        params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
        let key = KeyPair::generate().expect("a key");
        let pem = params.self_signed(&key).expect("an authority").pem();
        Self { pem, issuer: Issuer::new(params, key) }
    }

    fn issue(&self, name: &str) -> Pair {
        let key = KeyPair::generate().expect("a key");
        let params = CertificateParams::new(vec![name.to_owned()]).expect("parameters");
        let certificate = params.signed_by(&key, &self.issuer).expect("a certificate").pem();
        Pair { certificate, key: key.serialize_pem() }
    }
}

/// Starts a server that wants TLS, and certificates of the authority's clients if `verify`.
#[expect(clippy::disallowed_methods, reason = "a test's own folder")]
fn with_tls(authority: &Authority, verify: bool) -> Option<NatsServer> {
    let server = authority.issue("127.0.0.1");
    NatsServer::with_configuration(|folder| {
        let write = |name: &str, content: &str| {
            let path = folder.join(name);
            std::fs::write(&path, content).expect("a file");
            path.display().to_string()
        };
        format!(
            "tls {{ cert_file: \"{}\", key_file: \"{}\", ca_file: \"{}\", verify: {verify} }}",
            write("server.pem", &server.certificate),
            write("server.key", &server.key),
            write("ca.pem", &authority.pem.clone()),
        )
    })
}

async fn is_let_in(settings: Settings) -> bool {
    let address = settings.addresses().expect("addresses").remove(0);
    eventually("the server listens", || async {
        tokio::net::TcpStream::connect((address.host(), address.port())).await.is_ok()
    })
    .await;
    let stream = connect(settings, SystemClock::new(), SystemRng::new()).await.expect("settings");
    eventually("an answer", || async {
        stream.log.stats().connected
            || stream.log.refusal().is_some_and(|reason| reason.contains("NATS: "))
    })
    .await;
    if !stream.log.stats().connected {
        return false;
    }
    // A server that does not know us closes the connection soon after it stands.
    eventually("the log is ready or refused", || async {
        let refusal = stream.log.refusal();
        refusal.is_none_or(|reason| reason.contains("no connection"))
    })
    .await;
    stream.log.append(batch(vec![event(1, None, "a")])).await.is_ok()
}

fn quick(server: &NatsServer) -> Settings {
    let mut settings = settings(&server.url());
    settings.append_timeout = Duration::from_millis(500);
    settings
}

#[tokio::test]
async fn tls_is_spoken_to_servers_of_a_trusted_authority_only() {
    let authority = Authority::new();
    let Some(server) = with_tls(&authority, false) else { return };
    let with = |authorities: String| {
        let mut settings = quick(&server);
        settings.tls = TlsSettings {
            required: true,
            authorities_pem: Some(authorities.into_bytes()),
            client: None,
        };
        settings
    };
    assert!(is_let_in(with(authority.pem.clone())).await);
    assert!(!is_let_in(with(Authority::new().pem)).await);
    // The authorities of this machine do not know it either.
    assert!(!is_let_in(quick(&server)).await);
}

#[tokio::test]
async fn a_connection_without_tls_is_refused_where_tls_is_required() {
    let Some(server) = NatsServer::start() else { return };
    let mut settings = quick(&server);
    settings.tls.required = true;
    assert!(!is_let_in(settings).await);
    assert!(is_let_in(quick(&server)).await);
}

#[tokio::test]
async fn a_client_shows_its_certificate() {
    let authority = Authority::new();
    let Some(server) = with_tls(&authority, true) else { return };
    let with = |client: Option<Pair>| {
        let mut settings = quick(&server);
        settings.tls.authorities_pem = Some(authority.pem.clone().into_bytes());
        settings.tls.client = client.map(|pair| ClientCertificate {
            chain_pem: pair.certificate.into_bytes(),
            key_pem: SecretString::from(pair.key),
        });
        settings
    };
    assert!(is_let_in(with(Some(authority.issue("tinyobs")))).await);
    assert!(!is_let_in(with(None)).await);
    assert!(!is_let_in(with(Some(Authority::new().issue("tinyobs")))).await);
}

#[tokio::test]
async fn a_token_a_password_and_a_key_let_in() {
    let secret = |text: &str| SecretString::from(text.to_owned());
    let pair = nkeys::KeyPair::new_user();
    let (key, seed) = (pair.public_key(), pair.seed().expect("a seed"));
    for (configuration, right, wrong) in [
        (
            "authorization { token: \"open\" }".to_owned(),
            Authentication::Token(secret("open")),
            Authentication::Token(secret("shut")),
        ),
        (
            "authorization { user: \"me\", password: \"open\" }".to_owned(),
            Authentication::Password { user: "me".to_owned(), password: secret("open") },
            Authentication::Password { user: "me".to_owned(), password: secret("shut") },
        ),
        (
            format!("authorization {{ users: [ {{ nkey: {key} }} ] }}"),
            Authentication::NKey(secret(&seed)),
            Authentication::None,
        ),
    ] {
        let Some(server) = NatsServer::with_configuration(|_folder| configuration) else { return };
        let with = |authentication| Settings { authentication, ..quick(&server) };
        assert!(is_let_in(with(right.clone())).await, "{right:?}");
        assert!(!is_let_in(with(wrong.clone())).await, "{wrong:?}");
    }
}

/// Returns a JSON web token as NATS writes it.
fn token(issuer: &nkeys::KeyPair, subject: &nkeys::KeyPair, nats: Value) -> String {
    let encode = |part: &Value| URL_SAFE_NO_PAD.encode(part.to_string());
    let claims = json!({
        "jti": "x", "iat": 1_700_000_000, "iss": issuer.public_key(), "sub": subject.public_key(),
        "name": "x", "nats": nats,
    });
    let signed =
        format!("{}.{}", encode(&json!({"typ": "JWT", "alg": "ed25519-nkey"})), encode(&claims));
    let signature = issuer.sign(signed.as_bytes()).expect("a signature");
    format!("{signed}.{}", URL_SAFE_NO_PAD.encode(signature))
}

#[tokio::test]
async fn a_credentials_file_lets_in() {
    let operator = nkeys::KeyPair::new_operator();
    let (account, system) = (nkeys::KeyPair::new_account(), nkeys::KeyPair::new_account());
    let limits = json!({
        "subs": -1, "data": -1, "payload": -1, "imports": -1, "exports": -1, "wildcards": true, "conn": -1,
        "leaf": -1, "mem_storage": -1, "disk_storage": -1, "streams": -1, "consumer": -1,
    });
    let of_account = json!({"type": "account", "version": 2, "limits": limits});
    let plain = json!({"subs": -1, "data": -1, "payload": -1});
    let of_system = json!({"type": "account", "version": 2, "limits": plain});
    let configuration = format!(
        "operator: \"{}\"\nsystem_account: {}\nresolver: MEMORY\nresolver_preload {{ {}: \"{}\", {}: \"{}\" }}",
        token(&operator, &operator, json!({"type": "operator", "version": 2})),
        system.public_key(),
        account.public_key(),
        token(&operator, &account, of_account),
        system.public_key(),
        token(&operator, &system, of_system),
    );
    let Some(server) = NatsServer::with_configuration(|_folder| configuration) else { return };
    let with = |issuer: &nkeys::KeyPair| {
        let user = nkeys::KeyPair::new_user();
        let of_user = json!({"type": "user", "version": 2, "subs": -1, "data": -1, "payload": -1});
        let content = format!(
            "-----BEGIN NATS USER JWT-----\n{}\n------END NATS USER JWT------\n\n\
             -----BEGIN USER NKEY SEED-----\n{}\n------END USER NKEY SEED------\n",
            token(issuer, &user, of_user),
            user.seed().expect("a seed"),
        );
        let authentication = Authentication::Credentials(SecretString::from(content));
        Settings { authentication, ..quick(&server) }
    };
    assert!(is_let_in(with(&account)).await);
    assert!(!is_let_in(with(&nkeys::KeyPair::new_account())).await);
}

#[tokio::test]
async fn a_token_in_an_address_lets_in() {
    let configuration = "authorization { token: \"open\" }".to_owned();
    let Some(server) = NatsServer::with_configuration(|_folder| configuration) else { return };
    let url = server.url().replace("nats://", "nats://open@");
    assert!(is_let_in(settings(&url)).await);
}

#[tokio::test]
async fn a_password_in_an_address_lets_in_and_is_never_said() {
    let configuration = "authorization { user: \"me\", password: \"pass/word@1\" }".to_owned();
    let Some(server) = NatsServer::with_configuration(|_folder| configuration) else { return };
    let url = |password: &str| server.url().replace("nats://", &format!("nats://me:{password}@"));
    assert!(
        is_let_in(Settings { append_timeout: PATIENCE, ..settings(&url("pass%2Fword%401")) }).await
    );
    let wrong = settings(&url("wrong-word-2"));
    assert!(!format!("{wrong:?}").contains("wrong-word"));
    let stream = connect(wrong, SystemClock::new(), SystemRng::new()).await.expect("settings");
    eventually("it is refused", || async {
        stream.log.refusal().is_some_and(|reason| reason.contains("NATS: "))
    })
    .await;
    let said = format!("{:?} {:?} {stream:?}", stream.log.refusal(), stream.log.stats());
    assert!(!said.contains("wrong-word"), "{said}");
}

#[tokio::test]
async fn settings_that_cannot_work_are_named() {
    let refused = |settings: Settings| async {
        let refused = connect(settings, SystemClock::new(), SystemRng::new()).await;
        refused.expect_err("refused").to_string()
    };
    let base = || settings("nats://127.0.0.1:1");
    assert_eq!(refused(settings(" , ")).await, "no server of NATS is named");
    let said = refused(settings("nats://ok:1,na ts://me:secret@x")).await;
    assert!(said.starts_with("address 2 ") && !said.contains("secret"), "{said}");
    let none = Settings { in_flight_max: 0, ..base() };
    assert_eq!(refused(none).await, "'in_flight_max' must be more than zero");
    let credentials = Authentication::Credentials(SecretString::from("nothing".to_owned()));
    let said = refused(Settings { authentication: credentials, ..base() }).await;
    assert_eq!(said, "the credentials hold no JWT with its key");
    let mut broken = base();
    broken.tls.client = Some(ClientCertificate {
        chain_pem: b"x".to_vec(),
        key_pem: SecretString::from("x".to_owned()),
    });
    assert_eq!(refused(broken).await, "the client key in PEM cannot be read");
}
