//! The agent from its looks to its reports, with simulated time and a server in memory.

use std::collections::VecDeque;
use std::path::PathBuf;

use clap::Parser as _;
use http::{HeaderMap, StatusCode, header};
use platform::{
    Fs, HttpClient, HttpError, HttpRequest, HttpResponse, SimClock, SimFs, SimRng, Timestamp,
};
use report::{PullReport, Report};

use super::*;
use crate::settings::Flags;
use crate::{Look, Script, ScriptedWatcher};

/// The longest that a test waits for what should happen at once.
const PATIENCE: Duration = Duration::from_secs(10);

/// How a server in memory answers.
#[derive(Clone, Copy, Debug)]
enum Reply {
    Status(u16),
    RetryAfter(u16, u64),
    Never,
    Gone,
}

/// A server in memory; it accepts what it has no other reply for.
#[derive(Debug, Default)]
struct Server {
    replies: Mutex<VecDeque<Reply>>,
    requests: Mutex<Vec<HttpRequest>>,
}

impl HttpClient for Server {
    fn send(
        &self,
        request: HttpRequest,
    ) -> Pin<Box<dyn Future<Output = Result<HttpResponse, HttpError>> + Send + '_>> {
        let url = request.url.clone();
        self.requests.lock().push(request);
        let reply = self.replies.lock().pop_front().unwrap_or(Reply::Status(200));
        Box::pin(async move {
            let mut headers = HeaderMap::new();
            let status = match reply {
                Reply::Status(status) => status,
                Reply::RetryAfter(status, seconds) => {
                    headers.insert(header::RETRY_AFTER, seconds.into());
                    status
                }
                Reply::Never => std::future::pending().await,
                Reply::Gone => {
                    return Err(HttpError::Connection { url, reason: "refused".to_owned() });
                }
            };
            let status = StatusCode::from_u16(status).expect("a status");
            Ok(HttpResponse { status, headers, body: Default::default() })
        })
    }
}

impl Server {
    fn reply(&self, replies: &[Reply]) {
        self.replies.lock().extend(replies);
    }

    fn reports(&self) -> Vec<Report> {
        let requests = self.requests.lock();
        requests.iter().map(|request| Report::from_json(&request.body).expect("a report")).collect()
    }

    fn tokens(&self) -> Vec<String> {
        let requests = self.requests.lock();
        let token = |request: &HttpRequest| {
            request.headers[header::AUTHORIZATION].to_str().map(str::to_owned)
        };
        requests.iter().map(|request| token(request).expect("text")).collect()
    }
}

/// An agent that runs in a task.
struct Running {
    clock: Arc<SimClock>,
    fs: Arc<SimFs>,
    server: Arc<Server>,
    script: Script,
    stop: watch::Sender<bool>,
    tasks: Tasks,
    result: Arc<Mutex<Option<Result<(), AgentError>>>>,
}

impl Running {
    fn start(flags: &[&str]) -> Self {
        let fs = SimFs::new();
        write(&fs, "first");
        let (watcher, script) = ScriptedWatcher::new();
        Self::start_with(flags, fs, Box::new(watcher), script)
    }

    fn start_with(
        flags: &[&str],
        fs: Arc<SimFs>,
        watcher: Box<dyn Watcher>,
        script: Script,
    ) -> Self {
        let flags =
            [&["tinyobs-agent", "--node", "n", "--server", "http://tinyobs"], flags].concat();
        let settings = Settings::resolve(&Flags::parse_from(flags), &|_| None).expect("right");
        let settings = Arc::new(settings);
        let server = Arc::new(Server::default());
        let http: Arc<dyn HttpClient> = Arc::<Server>::clone(&server);
        let client = Client::open_with(
            Arc::clone(&settings),
            Arc::<SimFs>::clone(&fs),
            Arc::new(move |_| Ok(Arc::clone(&http))),
        )
        .expect("credentials");
        let clock = SimClock::new(Timestamp::from_millis(1_771_883_000_000));
        let (stop, stopped) = watch::channel(false);
        let parts = Parts {
            settings,
            clock: Arc::new(Arc::clone(&clock)),
            rng: SimRng::new(1),
            client,
            watcher,
        };
        let result = Arc::new(Mutex::new(None));
        let mut tasks = Tasks::new();
        let kept = Arc::clone(&result);
        tasks.spawn("agent", async move {
            let ended = work(parts, stopped).await;
            *kept.lock() = Some(ended);
        });
        Self { clock, fs, server, script, stop, tasks, result }
    }

    fn shows(&self, pulls: &[PullReport]) {
        self.script.show(Snapshot { pulls: pulls.to_vec(), ..Snapshot::default() });
    }

    /// Waits until so many reports were sent, and returns the last one.
    async fn sends(&self, count: usize) -> Report {
        eventually(|| self.server.requests.lock().len() >= count).await;
        let mut reports = self.server.reports();
        assert_eq!(reports.len(), count);
        reports.pop().expect("a report")
    }

    /// Lets time go on in small steps until so many reports were sent.
    async fn sends_in_time(&self, count: usize, time: Duration) -> Report {
        let step = Duration::from_millis(50);
        let mut left = time;
        while self.server.requests.lock().len() < count {
            left = left.checked_sub(step).unwrap_or_else(|| panic!("no report {count} in time"));
            self.clock.advance(step);
            settle().await;
        }
        self.sends(count).await
    }

    async fn ends(mut self) -> Result<(), AgentError> {
        let ended = tokio::time::timeout(PATIENCE, self.tasks.join_next()).await;
        ended.expect("it ends").expect("a task").expect("no panic");
        self.result.lock().take().expect("a result")
    }
}

fn write(fs: &Arc<SimFs>, token: &str) {
    let path = PathBuf::from("/token");
    drop(fs.remove_file(&path));
    fs.create(&path).and_then(|mut file| file.append(token.as_bytes())).expect("written");
}

async fn eventually(mut happened: impl FnMut() -> bool) {
    let waiting = async {
        while !happened() {
            settle().await;
        }
    };
    tokio::time::timeout(PATIENCE, waiting).await.expect("it happens");
}

/// Lets everything go on that can, what blocks included.
async fn settle() {
    tokio::task::spawn_blocking(|| ()).await.expect("a thread");
    for _ in 0..20 {
        tokio::task::yield_now().await;
    }
}

fn pull(id: &str, phase: PullPhase) -> PullReport {
    PullReport { id: id.to_owned(), phase: Some(phase), ..PullReport::default() }
}

fn ids(report: &Report) -> Vec<&str> {
    report.pulls.iter().map(|pull| pull.id.as_str()).collect()
}

#[tokio::test]
async fn what_is_seen_is_reported_and_what_ended_forgotten_once_it_was_accepted() {
    let agent = Running::start(&[]);
    agent.shows(&[pull("a", PullPhase::Downloading), pull("b", PullPhase::Completed)]);
    assert_eq!(ids(&agent.sends(1).await), ["a", "b"]);
    agent.shows(&[pull("a", PullPhase::Completed), pull("b", PullPhase::Completed)]);
    assert_eq!(ids(&agent.sends_in_time(2, Duration::from_secs(1)).await), ["a"]);
    agent.shows(&[]);
    eventually(|| agent.script.acknowledged() == ["b", "a"]).await;
    let idle = agent.sends_in_time(3, Duration::from_secs(2)).await;
    assert!(idle.pulls.is_empty(), "an idle agent reports too");
}

#[tokio::test]
async fn an_end_survives_a_server_that_is_busy_slow_or_gone() {
    let agent = Running::start(&[]);
    agent.server.reply(&[Reply::RetryAfter(429, 20), Reply::Gone, Reply::Status(500)]);
    agent.shows(&[pull("a", PullPhase::Failed)]);
    agent.sends(1).await;
    settle().await;
    agent.clock.advance(Duration::from_millis(19_999));
    settle().await;
    assert_eq!(agent.server.requests.lock().len(), 1, "it waits as long as it was asked to");
    for count in 2..=4 {
        let report = agent.sends_in_time(count, Duration::from_secs(10)).await;
        assert_eq!(ids(&report), ["a"]);
        assert_eq!(report.sequence, count as u64);
        settle().await;
        agent.shows(&[pull("a", PullPhase::Failed)]);
    }
    eventually(|| agent.script.acknowledged() == ["a"]).await;
}

#[tokio::test]
async fn a_new_token_is_read_when_the_old_one_is_refused() {
    let agent = Running::start(&["--token-file", "/token"]);
    agent.server.reply(&[Reply::Status(200), Reply::Status(401), Reply::Status(401)]);
    agent.shows(&[]);
    agent.sends(1).await;
    agent.sends_in_time(2, Duration::from_secs(2)).await;
    settle().await;
    write(&agent.fs, "second");
    agent.sends_in_time(3, Duration::from_secs(2)).await;
    // That one went out before the file was read: it was read after it, and the next follows at once.
    agent.sends_in_time(4, Duration::from_millis(600)).await;
    let tokens = ["Bearer first", "Bearer first", "Bearer first", "Bearer second"];
    assert_eq!(agent.server.tokens(), tokens);
}

#[tokio::test]
async fn a_new_token_is_read_although_the_old_one_is_accepted() {
    let agent = Running::start(&["--token-file", "/token", "--interval", "10s"]);
    agent.shows(&[]);
    agent.sends(1).await;
    write(&agent.fs, "second");
    for count in 2..=5 {
        agent.sends_in_time(count, Duration::from_secs(12)).await;
    }
    assert_eq!(agent.server.tokens().last().map(String::as_str), Some("Bearer second"));
}

#[tokio::test]
async fn stopping_sends_a_last_report() {
    let agent = Running::start(&["--interval", "1m"]);
    agent.shows(&[pull("a", PullPhase::Downloading)]);
    agent.sends(1).await;
    settle().await;
    agent.stop.send(true).expect("it runs");
    agent.sends_in_time(2, Duration::from_secs(1)).await;
    agent.ends().await.expect("in order");
}

#[tokio::test]
async fn stopping_waits_for_a_server_that_does_not_answer_but_not_for_long() {
    let agent = Running::start(&[]);
    agent.server.reply(&[Reply::Never]);
    agent.shows(&[]);
    agent.sends(1).await;
    agent.stop.send(true).expect("it runs");
    settle().await;
    agent.clock.advance(STOP_TIME_MAX);
    agent.ends().await.expect("in order");
}

#[tokio::test]
async fn an_agent_whose_watcher_breaks_ends() {
    #[derive(Debug)]
    struct Broken;

    impl Watcher for Broken {
        fn next(&mut self) -> Look<'_> {
            Box::pin(async { panic!("broken") })
        }

        fn acknowledged(&mut self, _: &[String]) {}
    }

    let (_, script) = ScriptedWatcher::new();
    let agent = Running::start_with(&[], SimFs::new(), Box::new(Broken), script);
    let error = agent.ends().await.expect_err("broken");
    assert!(matches!(error, AgentError::Task(TaskFailure { name: "watch", .. })), "{error}");
}

#[tokio::test]
async fn an_agent_that_cannot_answer_about_itself_does_not_start() {
    let taken = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let address = taken.local_addr().expect("an address").to_string();
    let error = Running::start(&["--listen", &address]).ends().await.expect_err("taken");
    assert!(matches!(error, AgentError::Listen { .. }), "{error}");
}
