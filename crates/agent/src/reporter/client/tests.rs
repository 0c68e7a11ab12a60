//! What goes over the wire, and what comes of each answer.

mod tls;

use std::path::PathBuf;

use parking_lot::Mutex;
use platform::SimFs;
use tokio::io::{AsyncReadExt as _, AsyncWriteExt as _};
use tokio::net::TcpListener;

use super::*;
use crate::settings::Flags;

fn settings(server: &str, flags: &[&str], variables: &[(&str, &str)]) -> Arc<Settings> {
    let flags = [&["tinyobs-agent", "--node", "n", "--server", server], flags].concat();
    let flags = <Flags as clap::Parser>::try_parse_from(flags).expect("known flags");
    let settings = Settings::resolve(&flags, &|name| {
        variables.iter().find(|(known, _)| *known == name).map(|(_, value)| (*value).to_owned())
    });
    Arc::new(settings.expect("right settings"))
}

fn plain(json: &str) -> Outgoing {
    Outgoing { json: json.into(), compress: false }
}

/// Takes one request and answers it with these bytes, or with silence; returns the answer that the agent understood and
/// the request as text.
async fn exchange(answer: Option<&str>, timeout: Duration) -> (Answer, String) {
    exchange_with(answer, timeout, plain("{}"), &[]).await
}

async fn exchange_with(
    answer: Option<&str>,
    timeout: Duration,
    report: Outgoing,
    variables: &[(&str, &str)],
) -> (Answer, String) {
    let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
    let server = format!("http://{}/", listener.local_addr().expect("an address"));
    let client = Client::open(settings(&server, &[], variables), Arc::new(platform::SystemFs))
        .expect("credentials");
    let serve = async {
        let (mut stream, _) = listener.accept().await.expect("a connection");
        let mut request = vec![0; 64 << 10];
        let mut length = 0;
        loop {
            length += stream.read(&mut request[length..]).await.expect("a request");
            let text = String::from_utf8_lossy(&request[..length]).into_owned();
            let Some((head, body)) = text.split_once("\r\n\r\n") else { continue };
            let announced = head.lines().find_map(|line| line.strip_prefix("content-length: "));
            let announced: usize = announced.expect("a length").parse().expect("a number");
            // Replaced bytes only make it longer.
            if body.len() >= announced {
                break;
            }
        }
        let request = String::from_utf8_lossy(&request[..length]).into_owned();
        match answer {
            Some(answer) => {
                stream.write_all(answer.as_bytes()).await.expect("answered");
                (request, None)
            }
            None => (request, Some(stream)),
        }
    };
    let (answer, (request, _kept)) = tokio::join!(client.send(report, timeout), serve);
    (answer, request)
}

const LONG: Duration = Duration::from_secs(10);

#[tokio::test]
async fn a_report_is_posted_as_pulltrace_expects_it() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let (answer, request) = exchange(Some(ok), LONG).await;
    assert_eq!(answer, Answer::Accepted { ours: false });
    assert!(request.starts_with("POST /api/v1/report HTTP/1.1\r\n"), "{request}");
    assert!(request.contains("\r\ncontent-type: application/json\r\n"), "{request}");
    assert!(request.contains("\r\nuser-agent: tinyobs-agent/"), "{request}");
    assert!(request.contains("\r\ncontent-length: 2\r\n"), "{request}");
    assert!(request.ends_with("\r\n\r\n{}"), "{request}");
    assert!(!request.contains("authorization"), "there is no token: {request}");
    assert!(!request.contains("content-encoding"), "{request}");
}

#[tokio::test]
async fn the_token_is_shown_to_the_server_and_to_nobody_else() {
    let ok = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n";
    let token = [("PULLTRACE_AGENT_TOKEN", "secret-token")];
    let (_, request) = exchange_with(Some(ok), LONG, plain("{}"), &token).await;
    assert!(request.contains("\r\nauthorization: Bearer secret-token\r\n"), "{request}");
    let client =
        Client::open(settings("http://localhost", &[], &token), Arc::new(platform::SystemFs))
            .expect("credentials");
    assert!(!format!("{client:?} {:?}", client.settings).contains("secret-token"));
}

#[tokio::test]
async fn a_report_is_compressed_where_that_is_understood() {
    let ok = "HTTP/1.1 200 OK\r\nX-TinyObs-Report: 2\r\nContent-Length: 0\r\n\r\n";
    let report = Outgoing { json: vec![b'a'; 10_000], compress: true };
    let (answer, request) = exchange_with(Some(ok), LONG, report, &[]).await;
    assert_eq!(answer, Answer::Accepted { ours: true });
    assert!(request.contains("\r\ncontent-encoding: gzip\r\n"), "{request}");
    assert!(request.len() < 1_000, "{}", request.len());
}

#[tokio::test]
async fn each_refusal_is_told_with_what_the_server_said() {
    let check = async |response: &str, status, seconds: Option<u64>, reason: &str| {
        let (answer, _) = exchange(Some(response), LONG).await;
        let retry_after = seconds.map(Duration::from_secs);
        let expected = Answer::Refused { status, retry_after, reason: reason.to_owned() };
        assert_eq!(answer, expected, "{response}");
    };
    check(
        "HTTP/1.1 400 Bad Request\r\nContent-Length: 13\r\n\r\ninvalid json\n",
        400,
        None,
        "invalid json",
    )
    .await;
    check(
        "HTTP/1.1 401 Unauthorized\r\nContent-Length: 13\r\n\r\nunauthorized\n",
        401,
        None,
        "unauthorized",
    )
    .await;
    check("HTTP/1.1 429 Too Many\r\nRetry-After: 7\r\nContent-Length: 0\r\n\r\n", 429, Some(7), "")
        .await;
    check(
        "HTTP/1.1 503 Busy\r\nRetry-After: Wed, 21 Oct\r\nContent-Length: 0\r\n\r\n",
        503,
        None,
        "",
    )
    .await;
    check("HTTP/1.1 500 Oh\r\nContent-Length: 5\r\n\r\na\x1b[1m", 500, None, "a [1m").await;
    check("HTTP/1.1 204 No Content\r\n\r\n", 204, None, "").await;
    let redirect =
        "HTTP/1.1 301 Moved\r\nLocation: https://elsewhere/\r\nContent-Length: 0\r\n\r\n";
    let reason =
        "it redirects to https://elsewhere/, which is not followed: give the right --server";
    check(redirect, 301, None, reason).await;
    let long = format!("HTTP/1.1 500 Oh\r\nContent-Length: 9000\r\n\r\n{}", "x".repeat(9_000));
    check(&long, 500, None, &"x".repeat(200)).await;
}

#[tokio::test]
async fn half_an_answer_is_none() {
    for half in [
        "",
        "HTTP/1.1 200",
        "HTTP/1.1 200 OK\r\nContent-Length: 10\r\n\r\nhalf",
        "no HTTP at all\r\n\r\n",
        &format!("HTTP/1.1 200 OK\r\nContent-Length: 70000\r\n\r\n{}", "x".repeat(70_000)),
    ] {
        let (answer, _) = exchange(Some(half), LONG).await;
        assert!(matches!(answer, Answer::Unreachable { timed_out: false, .. }), "{answer:?}");
    }
}

#[tokio::test]
async fn a_server_that_does_not_answer_is_waited_for_so_long_and_no_longer() {
    let (answer, _) = exchange(None, Duration::from_millis(50)).await;
    assert!(matches!(answer, Answer::Unreachable { timed_out: true, .. }), "{answer:?}");
}

#[tokio::test]
async fn a_server_that_is_not_there_is_unreachable() {
    let port = {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port");
        listener.local_addr().expect("an address").port()
    };
    for server in [format!("http://127.0.0.1:{port}"), "http://name.invalid".to_owned()] {
        let client = Client::open(settings(&server, &[], &[]), Arc::new(platform::SystemFs));
        let answer = client.expect("credentials").send(plain("{}"), LONG).await;
        assert!(matches!(answer, Answer::Unreachable { timed_out: false, .. }), "{answer:?}");
    }
}

/// Notes with which trust clients are made.
fn connect(made: &Arc<Mutex<Vec<String>>>) -> Connect {
    let made = Arc::clone(made);
    Arc::new(move |tls| {
        let text =
            |pem: Option<&[u8]>| String::from_utf8_lossy(pem.unwrap_or_default()).into_owned();
        made.lock().push(format!("{} | {}", text(tls.roots), text(tls.identity)));
        if tls.roots == Some(b"broken".as_slice()) {
            return Err(HttpError::Invalid { reason: "broken".to_owned() });
        }
        Ok(Arc::new(SystemHttpClient::new()?))
    })
}

fn write(fs: &Arc<SimFs>, path: &str, text: &str) {
    let path = PathBuf::from(path);
    drop(fs.remove_file(&path));
    fs.create(&path).and_then(|mut file| file.append(text.as_bytes())).expect("written");
}

#[test]
fn files_are_read_again_and_what_is_wrong_with_them_changes_nothing() {
    let fs = SimFs::new();
    write(&fs, "/token", "first\n");
    write(&fs, "/ca", "roots");
    write(&fs, "/crt", "certificate");
    write(&fs, "/key", "key");
    let flags = [
        "--token-file",
        "/token",
        "--ca-file",
        "/ca",
        "--certificate-file",
        "/crt",
        "--key-file",
        "/key",
    ];
    let made = Arc::new(Mutex::new(Vec::new()));
    let settings = settings("https://tinyobs.example", &flags, &[]);
    let mut client =
        Client::open_with(settings, Arc::<SimFs>::clone(&fs), connect(&made)).expect("credentials");
    let token =
        |client: &Client| client.files.token.as_ref().map(|token| token.expose_secret().to_owned());
    assert_eq!(token(&client).as_deref(), Some("first"));
    assert_eq!(*made.lock(), ["roots | certificate\nkey"]);
    assert_eq!(client.refresh().expect("right"), Refreshed::Same);

    write(&fs, "/token", "second\n");
    assert_eq!(client.refresh().expect("right"), Refreshed::Changed);
    assert_eq!(token(&client).as_deref(), Some("second"));
    assert_eq!(made.lock().len(), 1, "the connections stay");

    write(&fs, "/token", "\n");
    assert!(matches!(client.refresh(), Err(CredentialsError::Token(TokenError::Empty))));
    fs.remove_file(&PathBuf::from("/token")).expect("removed");
    assert!(matches!(client.refresh(), Err(CredentialsError::File(_))));
    write(&fs, "/token", "third");
    write(&fs, "/ca", "broken");
    assert!(matches!(client.refresh(), Err(CredentialsError::Tls(_))));
    assert_eq!(token(&client).as_deref(), Some("second"), "all or nothing");

    write(&fs, "/ca", "other roots");
    assert_eq!(client.refresh().expect("right"), Refreshed::Changed);
    assert_eq!(token(&client).as_deref(), Some("third"));
    assert_eq!(made.lock().last().map(String::as_str), Some("other roots | certificate\nkey"));
}

#[test]
fn certificates_that_are_none_are_told_with_the_flags_that_name_them() {
    let fs = SimFs::new();
    write(&fs, "/ca", "no certificate");
    let settings = settings("https://tinyobs.example", &["--ca-file", "/ca"], &[]);
    let error = Client::open(settings, fs).expect_err("no certificate").to_string();
    assert!(error.starts_with("--ca-file, "), "{error}");
}
