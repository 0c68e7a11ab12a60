//! Processes under test, ended with their guard, and a small client for them.

use std::io::{BufRead as _, BufReader};
use std::net::TcpListener;
use std::path::Path;
use std::process::{Child, ChildStdout, Command, ExitStatus, Stdio};
use std::sync::Arc;
use std::time::Duration;

use platform::{Clock as _, HttpClient as _, HttpRequest, SystemClock, SystemHttpClient};
use serde_json::Value;

/// The longest that anything may take before the test gives up.
const PATIENCE: Duration = Duration::from_secs(60);

/// A process that ends with this guard.
pub(crate) struct Process {
    child: Child,
}

impl Process {
    pub(crate) fn start(command: &mut Command) -> Self {
        Self { child: command.spawn().expect("start a process") }
    }

    /// Starts it and returns also what it writes, where the command says that it is piped.
    pub(crate) fn start_with_output(command: &mut Command) -> (Self, ChildStdout) {
        let mut process = Self::start(command);
        let output = process.child.stdout.take().expect("standard output");
        (process, output)
    }

    /// Ends it as `kill -9` does.
    pub(crate) fn kill(&mut self) {
        self.child.kill().expect("kill");
        self.child.wait().expect("wait");
    }

    pub(crate) fn signal(&self, signal: &str) {
        let pid = self.child.id().to_string();
        let sent = Command::new("kill").args([signal, &pid]).status().expect("run kill");
        assert!(sent.success(), "kill {signal}");
    }

    /// Asks it to end, and waits until it has.
    pub(crate) fn terminate(mut self) -> ExitStatus {
        self.signal("-TERM");
        self.child.wait().expect("wait")
    }
}

impl Drop for Process {
    fn drop(&mut self) {
        // It may have ended already; there is nobody left to tell.
        drop(self.child.kill());
        drop(self.child.wait());
    }
}

/// A running TinyObs.
pub(crate) struct TinyObs {
    process: Process,
    pub(crate) url: String,
    /// What it said on standard output until it was ready.
    pub(crate) said: Vec<String>,
}

impl TinyObs {
    /// Starts the program over a data folder and waits until it says where it listens.
    pub(crate) fn start(data: &Path, arguments: &[&str]) -> Self {
        Self::start_in(data, arguments, [])
    }

    /// As [`TinyObs::start`], with variables of the environment.
    pub(crate) fn start_in(
        data: &Path,
        arguments: &[&str],
        environment: impl IntoIterator<Item = (String, String)>,
    ) -> Self {
        let mut command = Command::new(env!("CARGO_BIN_EXE_tinyobs"));
        command
            .arg("serve")
            .args(["--listen", "127.0.0.1:0", "--data-dir"])
            .arg(data)
            .args(arguments)
            .envs(environment)
            .stdout(Stdio::piped());
        let (process, output) = Process::start_with_output(&mut command);
        let mut lines = BufReader::new(output).lines();
        let mut said = Vec::new();
        let url = loop {
            let line = lines.next().expect("the program says where it listens").expect("a line");
            if let Some((_, url)) = line.split_once("ready: ") {
                break url.trim_end_matches('/').to_owned();
            }
            said.push(line);
        };
        Self { process, url, said }
    }

    pub(crate) fn kill(&mut self) {
        self.process.kill();
    }

    pub(crate) fn signal(&self, signal: &str) {
        self.process.signal(signal);
    }

    pub(crate) fn terminate(self) -> ExitStatus {
        self.process.terminate()
    }

    /// Returns the `data` of a successful answer to a form.
    pub(crate) fn query(&self, path: &str, form: &[(&str, &str)]) -> Value {
        query(&self.url, path, form)
    }
}

/// Returns a port that was free a moment ago.
pub(crate) fn free_port() -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").expect("a free port");
    listener.local_addr().expect("its address").port()
}

/// Posts a form to a server of the Prometheus API and returns the `data` of the answer.
pub(crate) fn query(url: &str, path: &str, form: &[(&str, &str)]) -> Value {
    let (status, body) = post_form(&format!("{url}{path}"), form);
    assert_eq!(status, 200, "{path} {form:?}: {body}");
    body["data"].clone()
}

fn post_form(url: &str, form: &[(&str, &str)]) -> (u16, Value) {
    let body = serde_urlencoded::to_string(form).expect("a form");
    let content_type = "application/x-www-form-urlencoded";
    let (status, body) = request("POST", url, &[("content-type", content_type)], body.into());
    (status, serde_json::from_slice(&body).unwrap_or(Value::Null))
}

/// Sends one request; panics when there is no answer.
pub(crate) fn request(
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> (u16, Vec<u8>) {
    try_request(method, url, headers, body).expect("an answer")
}

/// Sends one request.
pub(crate) fn try_request(
    method: &str,
    url: &str,
    headers: &[(&'static str, &str)],
    body: Vec<u8>,
) -> Result<(u16, Vec<u8>), platform::HttpError> {
    let mut map = http::HeaderMap::new();
    for (name, value) in headers {
        map.insert(*name, value.parse().expect("a header value"));
    }
    let request = HttpRequest {
        method: method.parse().expect("a method"),
        url: url.to_owned(),
        headers: map,
        body: body.into(),
        timeout: PATIENCE,
        response_bytes_max: 1 << 30,
    };
    let client = SystemHttpClient::new().expect("a client");
    let response = runtime().block_on(client.send(request))?;
    Ok((response.status.as_u16(), response.body.to_vec()))
}

/// Asks again and again until there is an answer.
pub(crate) fn wait_for<T>(what: &str, ask: impl FnMut() -> Option<T>) -> T {
    wait_at_most(PATIENCE, what, ask)
}

/// Asks again and again until there is an answer, for as long as that may take.
pub(crate) fn wait_at_most<T>(
    limit: Duration,
    what: &str,
    mut ask: impl FnMut() -> Option<T>,
) -> T {
    let clock: Arc<SystemClock> = SystemClock::new();
    let runtime = runtime();
    while clock.monotonic() < limit {
        if let Some(answer) = ask() {
            return answer;
        }
        // A pause between two questions to another process, which cannot call us back.
        let again = clock.monotonic() + Duration::from_millis(100);
        runtime.block_on(clock.sleep_until(again));
    }
    panic!("gave up waiting for {what}");
}

fn runtime() -> tokio::runtime::Runtime {
    tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime")
}
