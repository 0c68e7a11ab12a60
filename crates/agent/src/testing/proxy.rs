//! A proxy between containerd and a registry that slows down, stops and fails as it is told.

use std::io;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use platform::{Clock, SystemClock, Tasks};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;

use super::http::{Head, read_head};

/// How much is passed on at once, in bytes.
const PART_BYTES: usize = 16 << 10;

/// A proxy. Dropping it ends it and every connection through it.
#[derive(Debug)]
pub struct Proxy {
    address: String,
    state: Arc<Mutex<State>>,
    _tasks: Tasks,
}

#[derive(Debug, Default)]
struct State {
    rules: Vec<Rule>,
    bytes_per_second: Option<u64>,
    requests: Vec<String>,
    /// Counts up whenever all connections are to end.
    cuts: watch::Sender<u64>,
}

#[derive(Clone, Debug)]
struct Rule {
    path: String,
    action: Action,
}

#[derive(Clone, Debug)]
enum Action {
    Pause { at: u64, reached: watch::Sender<bool>, go_on: watch::Receiver<bool> },
    Cut { at: u64 },
    Answer { status: u16 },
}

/// A place at which answers stop, until it is told to go on or dropped.
#[derive(Debug)]
pub struct Pause {
    reached: watch::Receiver<bool>,
    go_on: watch::Sender<bool>,
}

impl Pause {
    /// Waits until an answer came to the place.
    pub async fn reached(&mut self) {
        // When nobody is left who could reach it, the test's next condition says so.
        let _gone = self.reached.wait_for(|reached| *reached).await;
    }

    /// Lets the answers go on, those that come later as well.
    pub fn go_on(&self) {
        self.go_on.send_replace(true);
    }
}

impl Drop for Pause {
    fn drop(&mut self) {
        self.go_on();
    }
}

impl Proxy {
    /// Starts a proxy before whoever listens at `upstream`.
    ///
    /// # Panics
    ///
    /// When there is no port.
    pub async fn start(upstream: &str) -> Self {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await.expect("a port");
        let address = listener.local_addr().expect("an address").to_string();
        let state = Arc::<Mutex<State>>::default();
        let mut tasks = Tasks::new();
        tasks.spawn("proxy", accept(listener, upstream.to_owned(), Arc::clone(&state)));
        Self { address, state, _tasks: tasks }
    }

    /// Returns where it listens, such as `127.0.0.1:5000`: what image names begin with.
    #[must_use]
    pub fn address(&self) -> &str {
        &self.address
    }

    /// Stops answers to requests whose path contains `path` after `at` bytes of their body.
    #[must_use]
    pub fn pause(&self, path: &str, at: u64) -> Pause {
        let (reached, is_reached) = watch::channel(false);
        let (go, go_on) = watch::channel(false);
        self.rule(path, Action::Pause { at, reached, go_on });
        Pause { reached: is_reached, go_on: go }
    }

    /// Ends connections after `at` bytes of the body of answers to requests whose path contains `path`.
    pub fn cut(&self, path: &str, at: u64) {
        self.rule(path, Action::Cut { at });
    }

    /// Answers requests whose path contains `path` with a status.
    pub fn answer(&self, path: &str, status: u16) {
        self.rule(path, Action::Answer { status });
    }

    /// Ends every connection that is open now.
    pub fn cut_all(&self) {
        self.state.lock().cuts.send_modify(|cuts| *cuts += 1);
    }

    /// Limits each connection; `None` lifts the limit.
    pub fn limit(&self, bytes_per_second: Option<u64>) {
        self.state.lock().bytes_per_second = bytes_per_second;
    }

    /// Forgets all rules; what is paused stays so.
    pub fn clear(&self) {
        self.state.lock().rules.clear();
    }

    /// Returns the requests so far, such as `GET /v2/`.
    #[must_use]
    pub fn requests(&self) -> Vec<String> {
        self.state.lock().requests.clone()
    }

    fn rule(&self, path: &str, action: Action) {
        self.state.lock().rules.push(Rule { path: path.to_owned(), action });
    }
}

async fn accept(listener: TcpListener, upstream: String, state: Arc<Mutex<State>>) {
    let mut connections = Tasks::new();
    loop {
        tokio::select! {
            biased;
            Some(_ended) = connections.join_next() => {}
            accepted = listener.accept() => {
                let Ok((stream, _peer)) = accepted else { return };
                let (upstream, state) = (upstream.clone(), Arc::clone(&state));
                connections.spawn("proxied", async move {
                    let mut cuts = state.lock().cuts.subscribe();
                    cuts.mark_unchanged();
                    tokio::select! {
                        biased;
                        _cut = cuts.changed() => {}
                        // Whatever went wrong, the connection ends: that is what the peer sees.
                        _done = pass(stream, &upstream, &state) => {}
                    }
                });
            }
        }
    }
}

/// Passes one request and its answer on.
async fn pass(mut client: TcpStream, upstream: &str, state: &Mutex<State>) -> io::Result<()> {
    let Some(request) = read_head(&mut client).await? else { return Ok(()) };
    let mut words = request.first_line.split(' ');
    let (method, path) = (words.next().unwrap_or_default(), words.next().unwrap_or_default());
    let rules: Vec<Rule> = {
        let mut state = state.lock();
        state.requests.push(format!("{method} {path}"));
        state.rules.iter().filter(|rule| path.contains(&rule.path)).cloned().collect()
    };
    let refused = rules.iter().find_map(|rule| match rule.action {
        Action::Answer { status } => Some(status),
        Action::Pause { .. } | Action::Cut { .. } => None,
    });
    if let Some(status) = refused {
        let answer =
            format!("HTTP/1.1 {status} Told\r\nContent-Length: 0\r\nConnection: close\r\n\r\n");
        return client.write_all(answer.as_bytes()).await;
    }
    let mut server = TcpStream::connect(upstream).await?;
    server.write_all(&request.closing()).await?;
    server.write_all(&request.rest).await?;
    let Some(answer) = read_head(&mut server).await? else { return Ok(()) };
    pass_answer(client, server, answer, rules, state).await
}

async fn pass_answer(
    mut client: TcpStream,
    mut server: TcpStream,
    answer: Head,
    mut rules: Vec<Rule>,
    state: &Mutex<State>,
) -> io::Result<()> {
    let clock = SystemClock::new();
    let mut passed = 0_u64;
    let mut part = answer.rest.clone();
    stop(&mut rules, passed).await?;
    client.write_all(&answer.closing()).await?;
    loop {
        while !part.is_empty() {
            let room = room(&rules, passed).min(part.len() as u64);
            let now: Vec<u8> = part.drain(..usize::try_from(room).unwrap_or(usize::MAX)).collect();
            client.write_all(&now).await?;
            passed += room;
            stop(&mut rules, passed).await?;
            let limit = state.lock().bytes_per_second;
            if let Some(bytes_per_second) = limit {
                let due = Duration::from_secs_f64(passed as f64 / bytes_per_second.max(1) as f64);
                clock.sleep_until(due).await;
            }
        }
        part.resize(PART_BYTES, 0);
        let read = server.read(&mut part).await?;
        part.truncate(read);
        if read == 0 {
            return client.shutdown().await;
        }
    }
}

/// Returns how many bytes may be passed on until a rule has something to say.
fn room(rules: &[Rule], passed: u64) -> u64 {
    let places = rules.iter().filter_map(|rule| match &rule.action {
        Action::Pause { at, .. } | Action::Cut { at } => at.checked_sub(passed),
        Action::Answer { .. } => None,
    });
    places.filter(|room| *room > 0).min().unwrap_or(u64::MAX)
}

/// Does what the rules say of this place.
async fn stop(rules: &mut Vec<Rule>, passed: u64) -> io::Result<()> {
    for rule in std::mem::take(rules) {
        match rule.action {
            Action::Cut { at } if at == passed => {
                return Err(io::ErrorKind::ConnectionAborted.into());
            }
            Action::Pause { at, reached, mut go_on } if at == passed => {
                reached.send_replace(true);
                // Whoever paused is gone: go on.
                let _gone = go_on.wait_for(|go_on| *go_on).await;
            }
            action => rules.push(Rule { action, ..rule }),
        }
    }
    Ok(())
}
