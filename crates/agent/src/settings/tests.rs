//! What flags and variables come to.

use clap::Parser as _;
use secrecy::ExposeSecret as _;

use super::*;

fn resolve(flags: &[&str], variables: &[(&str, &str)]) -> Result<Settings, Mistakes> {
    let flags = Flags::try_parse_from([&["tinyobs-agent"], flags].concat()).expect("known flags");
    let variables: Vec<(String, String)> =
        variables.iter().map(|(name, value)| ((*name).to_owned(), (*value).to_owned())).collect();
    Settings::resolve(&flags, &|name| {
        variables.iter().find(|(known, _)| known == name).map(|(_, value)| value.clone())
    })
}

const ENOUGH: [&str; 4] = ["--server", "http://tinyobs:8080", "--node", "worker-1"];

fn settings(flags: &[&str], variables: &[(&str, &str)]) -> Settings {
    resolve(&[&ENOUGH, flags].concat(), variables).expect("right settings")
}

fn mistakes(flags: &[&str], variables: &[(&str, &str)]) -> Vec<String> {
    resolve(&[&ENOUGH, flags].concat(), variables).expect_err("mistakes").0
}

fn socket(settings: &Settings) -> String {
    match &settings.look {
        LookAt::Containerd(ContainerdSettings { socket, namespace }) => {
            format!("{namespace} {socket:?}")
        }
        LookAt::ContentFolder { folder, .. } => folder.display().to_string(),
    }
}

#[test]
fn a_server_and_a_node_are_enough() {
    let settings = settings(&[], &[]);
    assert_eq!(settings.server.report_url(), "http://tinyobs:8080/api/v1/report");
    assert_eq!((settings.node.as_str(), settings.cluster.as_str()), ("worker-1", ""));
    assert_eq!(settings.interval, Duration::from_secs(1));
    assert!(matches!(settings.token, Token::None));
    assert_eq!(settings.listen, None);
    assert_eq!(settings.log, LogSettings { level: tracing::Level::INFO, json: false });
    assert_eq!(socket(&settings), "k8s.io SocketRules { path: None, folders: [], .. }");
    assert!(settings.warnings().is_empty());
}

#[test]
fn the_variables_of_pulltrace_do() {
    let settings = resolve(
        &[],
        &[
            ("PULLTRACE_NODE_NAME", "worker-2"),
            ("PULLTRACE_SERVER_URL", "http://pulltrace-server.pulltrace.svc.cluster.local:8080/"),
            ("PULLTRACE_CONTAINERD_SOCKET", "/run/containerd/containerd.sock"),
            ("PULLTRACE_REPORT_INTERVAL", "2s"),
            ("PULLTRACE_LOG_LEVEL", "DEBUG"),
            ("PULLTRACE_AGENT_TOKEN", "secret-token"),
        ],
    )
    .expect("as with Pulltrace");
    assert_eq!(settings.node, "worker-2");
    let url = "http://pulltrace-server.pulltrace.svc.cluster.local:8080/api/v1/report";
    assert_eq!(settings.server.report_url(), url);
    assert_eq!(settings.interval, Duration::from_secs(2));
    assert_eq!(settings.log.level, tracing::Level::DEBUG);
    assert!(socket(&settings).contains("/run/containerd/containerd.sock"));
    assert!(
        matches!(&settings.token, Token::Fixed(token) if token.expose_secret() == "secret-token")
    );
    assert!(!format!("{settings:?}").contains("secret-token"), "secrets are not shown");
}

#[test]
fn flags_come_before_our_variables_and_these_before_those_of_pulltrace() {
    let variables = [("TINYOBS_AGENT_INTERVAL", "3s"), ("PULLTRACE_REPORT_INTERVAL", "4s")];
    assert_eq!(settings(&["--interval", "2s"], &variables).interval, Duration::from_secs(2));
    assert_eq!(settings(&[], &variables).interval, Duration::from_secs(3));
    assert_eq!(settings(&[], &variables[1..]).interval, Duration::from_secs(4));
    let variables = [("TINYOBS_AGENT_INTERVAL", ""), ("PULLTRACE_REPORT_INTERVAL", "4s")];
    assert_eq!(settings(&[], &variables).interval, Duration::from_secs(4), "empty says nothing");
}

#[test]
fn everything_can_be_set_by_variables() {
    let settings = resolve(
        &[],
        &[
            ("TINYOBS_AGENT_SERVER", "https://tinyobs.example"),
            ("TINYOBS_AGENT_NODE", "worker-3"),
            ("TINYOBS_AGENT_CLUSTER", "east"),
            ("TINYOBS_AGENT_CONTAINERD_SOCKET", "/opt/c.sock"),
            ("TINYOBS_AGENT_CONTAINERD_NAMESPACE", "moby"),
            ("TINYOBS_AGENT_ALLOW_SOCKET_FOLDERS", "/opt, /srv/run"),
            ("TINYOBS_AGENT_TOKEN_FILE", "/secrets/token"),
            ("TINYOBS_AGENT_CA_FILE", "/tls/ca.pem"),
            ("TINYOBS_AGENT_CERTIFICATE_FILE", "/tls/tls.crt"),
            ("TINYOBS_AGENT_KEY_FILE", "/tls/tls.key"),
            ("TINYOBS_AGENT_LISTEN", ":9810"),
            ("TINYOBS_AGENT_LOG_FORMAT", "json"),
        ],
    )
    .expect("right");
    assert_eq!(settings.cluster, "east");
    let expected =
        r#"moby SocketRules { path: Some("/opt/c.sock"), folders: ["/opt", "/srv/run"], .. }"#;
    assert_eq!(socket(&settings), expected);
    assert!(matches!(&settings.token, Token::File(path) if path.as_os_str() == "/secrets/token"));
    assert_eq!(settings.tls.ca, Some("/tls/ca.pem".into()));
    assert_eq!(settings.tls.identity, Some(("/tls/tls.crt".into(), "/tls/tls.key".into())));
    assert_eq!(settings.listen, Some("0.0.0.0:9810".parse().expect("an address")));
    assert!(settings.log.json);
    let folder = self::settings(&[], &[("TINYOBS_AGENT_CONTENT_FOLDER", "/content")]);
    assert_eq!(socket(&folder), "/content");
}

#[test]
fn all_mistakes_are_told_together_under_the_name_that_was_used() {
    let mistakes = resolve(
        &["--interval", "soon", "--log-format", "xml", "--allow-socket-folder", "/"],
        &[
            ("PULLTRACE_SERVER_URL", "tinyobs"),
            ("PULLTRACE_LOG_LEVEL", "loud"),
            ("TINYOBS_AGENT_LISTEN", "everywhere"),
            ("TINYOBS_AGENT_INSECURE_HTTP", "perhaps"),
        ],
    )
    .expect_err("mistakes")
    .0;
    let names: Vec<&str> =
        mistakes.iter().map(|mistake| mistake.split(':').next().unwrap_or_default()).collect();
    assert_eq!(
        names,
        [
            "PULLTRACE_SERVER_URL",
            "--node",
            "--allow-socket-folder",
            "--interval",
            "TINYOBS_AGENT_LISTEN",
            "PULLTRACE_LOG_LEVEL",
            "--log-format",
            "TINYOBS_AGENT_INSECURE_HTTP",
        ]
    );
}

#[test]
fn each_mistake_says_what_to_change() {
    let check = |flags: &[&str], variables: &[(&str, &str)], expected: &str| {
        assert_eq!(mistakes(flags, variables), [expected]);
    };
    check(&["--interval", "499ms"], &[], "--interval: '499ms' is not between 500 ms and 300 s");
    check(&["--interval", "301s"], &[], "--interval: '301s' is not between 500 ms and 300 s");
    check(
        &[],
        &[("PULLTRACE_REPORT_INTERVAL", "1")],
        "PULLTRACE_REPORT_INTERVAL: '1' is no duration, such as 1s or 1m30s",
    );
    check(&["--cluster", &"c".repeat(254)], &[], "--cluster: at most 253 bytes are allowed");
    check(
        &["--content-folder", "/content", "--containerd-socket", "/run/containerd/containerd.sock"],
        &[],
        "--containerd-socket: not together with --content-folder",
    );
    check(
        &["--containerd-socket", "c.sock"],
        &[],
        "--containerd-socket: the path must be absolute",
    );
    check(
        &["--token-file", "/token"],
        &[("PULLTRACE_AGENT_TOKEN", "t")],
        "PULLTRACE_AGENT_TOKEN: not together with --token-file",
    );
    check(
        &[],
        &[("TINYOBS_AGENT_TOKEN", "a\nb")],
        "TINYOBS_AGENT_TOKEN: the token has other characters than those of ASCII that can be seen",
    );
    check(&["--key-file", "/k"], &[], "--key-file: needs --certificate-file");
    check(&["--certificate-file", "/c"], &[], "--certificate-file: needs --key-file");
    let many: Vec<&str> = (0..17).flat_map(|_| ["--allow-socket-folder", "/a"]).collect();
    check(&many, &[], "--allow-socket-folder: at most 16 folders are allowed");
}

#[test]
fn a_name_and_password_in_the_address_are_not_repeated() {
    let text = resolve(&["--server", "http://me:secret@tinyobs", "--node", "n"], &[]);
    assert!(!text.expect_err("a password").to_string().contains("secret"));
}

#[test]
fn a_token_leaves_the_cluster_encrypted_or_by_permission() {
    let token = [("TINYOBS_AGENT_TOKEN", "secret")];
    let with = |server: &str, flags: &[&str], variables: &[(&str, &str)]| {
        resolve(&[&["--node", "n", "--server", server], flags].concat(), variables)
    };
    assert!(with("http://tinyobs.ns.svc:8080", &[], &token).is_ok());
    assert!(with("https://tinyobs.example", &[], &token).is_ok());
    let refused = with("http://10.0.0.7:8080", &[], &token).expect_err("unencrypted").to_string();
    assert!(refused.contains("--insecure-http") && !refused.contains("secret"), "{refused}");
    assert!(with("http://10.0.0.7:8080", &["--insecure-http"], &token).is_ok());
    let file = with("http://10.0.0.7:8080", &["--token-file", "/t"], &[]);
    assert!(file.is_err(), "a token in a file is one too");
    let open = with("http://10.0.0.7:8080", &[], &[]).expect("nothing secret is sent");
    assert_eq!(open.warnings().len(), 1);
}

#[test]
fn tokens_are_what_a_header_can_have() {
    let check = |text: &str, expected: Result<&str, TokenError>| {
        let token = read_token(text);
        assert_eq!(
            token.as_ref().map(|token| token.expose_secret()),
            expected.as_ref().map(|t| *t)
        );
    };
    check(" token\r\n", Ok("token"));
    check("\n", Err(TokenError::Empty));
    check("a\u{7f}b", Err(TokenError::Characters));
    check("é", Err(TokenError::Characters));
    check(&"x".repeat(4_096), Ok(&"x".repeat(4_096)));
    check(&"x".repeat(4_097), Err(TokenError::TooLong));
}
