//! Encrypted connections and HTTP/2, as curl sees them.
#![expect(clippy::disallowed_methods, reason = "writes and looks at the files of certificates")]

use std::fs;
use std::os::unix::fs::PermissionsExt as _;
use std::path::Path;
use std::process::Command;

use rcgen::{BasicConstraints, CertificateParams, DnType, IsCa, Issuer, KeyPair};

use crate::peers::{announce, is_installed};
use crate::program::{TinyObs, wait_for};

/// What curl says: its exit code, and `<status> <HTTP version> <body>`.
fn curl(arguments: &[&str]) -> (i32, String) {
    let mut command = Command::new("curl");
    command.args(["--silent", "--show-error", "--max-time", "30"]);
    command.args(["--write-out", "\n%{http_code} %{http_version}"]).args(arguments);
    let output = command.output().expect("run curl");
    let errors = String::from_utf8_lossy(&output.stderr);
    let text = String::from_utf8_lossy(&output.stdout).into_owned();
    let (body, outcome) = text.rsplit_once('\n').unwrap_or_default();
    let said = format!("{outcome} {}{}", body.trim_end(), errors.trim_end());
    (output.status.code().unwrap_or(-1), said)
}

fn check(arguments: &[&str], expected: &str) {
    assert_eq!(curl(arguments), (0, expected.to_owned()), "{arguments:?}");
}

fn has_curl() -> bool {
    let has = is_installed("curl");
    if !has {
        announce("skipped: the tests of TLS need curl");
    }
    has
}

fn localhost(url: &str) -> String {
    url.replace("127.0.0.1", "localhost")
}

/// Writes a key and a certificate for localhost, signed by the authority or by itself, as `<name>.key` and `<name>.pem`.
fn issue(folder: &Path, name: &str, authority: Option<&Issuer<'_, KeyPair>>) {
    let key = KeyPair::generate().expect("a key");
    let names = ["localhost".to_owned(), "127.0.0.1".to_owned()];
    let mut params = CertificateParams::new(names).expect("names");
    params.distinguished_name.push(DnType::CommonName, name);
    let certificate = match authority {
        Some(authority) => params.signed_by(&key, authority),
        None => params.self_signed(&key),
    };
    let certificate = certificate.expect("a certificate").pem();
    fs::write(folder.join(format!("{name}.key")), key.serialize_pem()).expect("write");
    fs::write(folder.join(format!("{name}.pem")), certificate).expect("write");
}

fn settings(folder: &Path, keys: &[(&str, &str)]) -> Vec<String> {
    let files = keys.iter().map(|(key, file)| format!("{key}={}", folder.join(file).display()));
    files.map(|setting| format!("--set=server.tls.{setting}")).collect()
}

#[test]
fn a_self_signed_certificate_is_made_once_and_serves_both_versions_of_http() {
    if !has_curl() {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &["--tls", "self-signed"]);
    let certificate = data.path().join("tls/self-signed.pem");
    let trusted = ["--cacert", certificate.to_str().expect("a path")];
    for address in [server.url.clone(), localhost(&server.url)] {
        let url = format!("{address}/-/healthy");
        let healthy = "TinyObs is Healthy.";
        check(&[&trusted[..], &[&url]].concat(), &format!("200 2 {healthy}"));
        check(&[&trusted[..], &["--http1.1", &url]].concat(), &format!("200 1.1 {healthy}"));
    }
    let plain = server.url.replace("https://", "http://");
    check(&[&plain], "400 1.1 this port speaks TLS only: ask it with https://");
    let (code, said) = curl(&[&server.url]);
    assert_eq!(code, 60, "curl does not trust it by itself: {said}");

    let key = fs::metadata(data.path().join("tls/self-signed.key")).expect("the key");
    assert_eq!(key.permissions().mode() & 0o777, 0o600);
    let said = server.said.clone();
    assert!(said.iter().any(|line| line.contains("SHA-256 ")), "{said:?}");
    assert!(server.terminate().success());
    let server = TinyObs::start(data.path(), &["--tls", "self-signed"]);
    assert_eq!(server.said, said, "the same certificate");
}

#[test]
fn a_certificate_is_replaced_while_the_program_runs_and_a_broken_one_is_not_taken() {
    if !has_curl() {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let path = |name: &str| folder.path().join(name);
    issue(folder.path(), "server", None);
    fs::copy(path("server.pem"), path("first.pem")).expect("copy");
    let files = [("certificate_file", "server.pem"), ("key_file", "server.key")];
    let settings = settings(folder.path(), &files);
    let arguments: Vec<&str> =
        ["--tls", "files"].into_iter().chain(settings.iter().map(String::as_str)).collect();
    let server = TinyObs::start(data.path(), &arguments);
    let url = format!("{}/v1/health", server.url);
    let ask = |trusted: &str| curl(&["--cacert", path(trusted).to_str().expect("a path"), &url]);
    let (code, said) = ask("first.pem");
    assert!(code == 0 && said.starts_with("200 2 "), "{said}");

    fs::write(path("server.pem"), "nonsense").expect("write");
    server.signal("-HUP");
    wait_for("the refusal", || {
        let (code, said) = ask("first.pem");
        assert_eq!(code, 0, "the old certificate serves: {said}");
        (said.starts_with("503 ") && said.contains("the old one serves")).then_some(())
    });

    issue(folder.path(), "server", None);
    server.signal("-HUP");
    wait_for("the new certificate", || {
        let (code, said) = ask("server.pem");
        (code == 0 && said.starts_with("200 ")).then_some(())
    });
    assert_eq!(ask("first.pem").0, 60, "the old one is gone");
}

#[test]
fn clients_without_a_certificate_are_turned_away_where_one_is_required() {
    if !has_curl() {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let folder = tempfile::tempdir().expect("a folder");
    let mut params = CertificateParams::new(Vec::new()).expect("no names");
    params.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    params.distinguished_name.push(DnType::CommonName, "authority");
    let key = KeyPair::generate().expect("a key");
    let authority = params.self_signed(&key).expect("an authority").pem();
    fs::write(folder.path().join("ca.pem"), authority).expect("write");
    let authority = Issuer::new(params, key);
    issue(folder.path(), "server", Some(&authority));
    issue(folder.path(), "client", Some(&authority));
    let files = [
        ("certificate_file", "server.pem"),
        ("key_file", "server.key"),
        ("client_ca_file", "ca.pem"),
    ];
    let settings = settings(folder.path(), &files);
    let fixed = [
        "--tls",
        "files",
        "--set",
        "server.tls.client_auth=required",
        "--set",
        "auth.mode=keys",
        "--set",
        "auth.certificates=[{name: client, role: viewer}]",
    ];
    let arguments: Vec<&str> =
        fixed.into_iter().chain(settings.iter().map(String::as_str)).collect();
    let server = TinyObs::start(data.path(), &arguments);
    let url = format!("{}/-/healthy", server.url);
    let path = |name: &str| folder.path().join(name).display().to_string();
    let trusted = ["--cacert".to_owned(), path("ca.pem"), url];
    let trusted: Vec<&str> = trusted.iter().map(String::as_str).collect();
    let (code, said) = curl(&trusted);
    assert!(code != 0 && said.contains("certificate required"), "{code} {said}");
    let (certificate, key) = (path("client.pem"), path("client.key"));
    let shown = ["--cert", &certificate, "--key", &key];
    check(&[&trusted[..], &shown[..]].concat(), "200 2 TinyObs is Healthy.");
    // The certificate is who it is: a viewer.
    for (path, status) in [("/v1/stats", "200 "), ("/v1/keys", "403 ")] {
        let url = format!("{}{path}", server.url);
        let (code, said) = curl(&[&trusted[..2], &[&url], &shown[..]].concat());
        assert!(code == 0 && said.starts_with(status), "{path}: {code} {said}");
    }
}

#[test]
fn http2_is_spoken_in_clear_text_by_prior_knowledge() {
    if !has_curl() {
        return;
    }
    let data = tempfile::tempdir().expect("a folder");
    let server = TinyObs::start(data.path(), &[]);
    let url = format!("{}/-/healthy", server.url);
    check(&["--http2-prior-knowledge", &url], "200 2 TinyObs is Healthy.");
    check(&[&url], "200 1.1 TinyObs is Healthy.");
}
