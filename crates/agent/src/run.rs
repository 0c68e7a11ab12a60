//! The agent while it runs: looks, reports, answers about itself, and stops in order.

use std::collections::BTreeMap;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::Arc;
use std::time::Duration;

use parking_lot::Mutex;
use platform::{Clock, Rng, SystemClock, SystemFs, SystemRng, TaskFailure, Tasks};
use report::PullPhase;
use tokio::net::TcpListener;
use tokio::sync::{mpsc, watch};

use crate::health::{Statistics, serve};
use crate::reporter::{
    Answer, AnswerKind, Client, CredentialsError, Identity, Refreshed, Reporter, TIMEOUT,
};
use crate::settings::{LookAt, Settings};
use crate::socket::SocketError;
use crate::{ContainerdWatcher, FolderWatcher, Pace, Snapshot, Watcher};

#[cfg(test)]
mod tests;

/// How often credentials are read again.
const REFRESH_INTERVAL: Duration = Duration::from_secs(30);

/// How long the last report may take, that on its way before included.
const STOP_TIME_MAX: Duration = Duration::from_secs(5);

/// Why an agent cannot work.
#[derive(Debug, thiserror::Error)]
pub enum AgentError {
    /// The token, the certificates or the key cannot be used.
    #[error(transparent)]
    Credentials(#[from] CredentialsError),
    /// The socket of containerd is not to be trusted.
    #[error(transparent)]
    Socket(#[from] SocketError),
    /// The address for questions about the agent is taken, or not one of this machine.
    #[error("listen on {address}: {source}")]
    Listen {
        /// The address.
        address: SocketAddr,
        /// Why.
        source: std::io::Error,
    },
    /// Something in the agent is broken.
    #[error(transparent)]
    Task(#[from] TaskFailure),
}

/// Works until `shutdown` says `true` or its sender is gone, on what the settings say is to be looked at; see [`run_with`].
///
/// A containerd that is not there is no error: it is waited for.
///
/// # Errors
///
/// [`AgentError`]: going on makes no sense.
pub async fn run(settings: Settings, shutdown: watch::Receiver<bool>) -> Result<(), AgentError> {
    let watcher = watcher(&settings).await?;
    run_with(settings, watcher, shutdown).await
}

async fn watcher(settings: &Settings) -> Result<Box<dyn Watcher>, AgentError> {
    let (clock, rng) = (SystemClock::new(), SystemRng::new());
    match &settings.look {
        LookAt::Containerd(containerd) => {
            let socket = containerd.socket.clone();
            // One that is not there yet is waited for; one that may not be taken never will be.
            match blocking(move || socket.find()).await {
                Err(error) if !error.is_temporary() => return Err(error.into()),
                Ok(_) | Err(_) => {}
            }
            let (containerd, pace) = (containerd.clone(), Pace::default());
            Ok(Box::new(ContainerdWatcher::new(containerd, pace, clock, rng)))
        }
        LookAt::ContentFolder { folder, namespace } => {
            // A store of many blobs costs more to look at.
            let pace = Pace { idle: Duration::from_secs(5), ..Pace::default() };
            let (folder, fs) = (folder.clone(), Arc::new(SystemFs));
            Ok(Box::new(FolderWatcher::new(folder, namespace, pace, clock, fs)))
        }
    }
}

/// Works until `shutdown` says `true` or its sender is gone; then sends a last report, which takes five seconds at most.
/// What is reported is what `watcher` sees.
///
/// A server that is not there is no error: it is tried again.
///
/// # Errors
///
/// [`AgentError`]: going on makes no sense.
pub async fn run_with(
    settings: Settings,
    watcher: Box<dyn Watcher>,
    shutdown: watch::Receiver<bool>,
) -> Result<(), AgentError> {
    for warning in settings.warnings() {
        tracing::warn!("{warning}");
    }
    let settings = Arc::new(settings);
    let opening = Arc::clone(&settings);
    let client = blocking(move || Client::open(opening, Arc::new(SystemFs))).await?;
    let (clock, rng) = (SystemClock::new(), SystemRng::new());
    work(Parts { settings, clock, rng, client, watcher }, shutdown).await
}

/// Runs what blocks on a thread of its own.
async fn blocking<T: Send + 'static>(work: impl FnOnce() -> T + Send + 'static) -> T {
    let done = tokio::task::spawn_blocking(work).await;
    // Nobody aborts it, and a panic there is as good as one here.
    done.unwrap_or_else(|error| std::panic::resume_unwind(error.into_panic()))
}

/// What an agent consists of.
pub(crate) struct Parts {
    pub(crate) settings: Arc<Settings>,
    pub(crate) clock: Arc<dyn Clock>,
    pub(crate) rng: Arc<dyn Rng>,
    pub(crate) client: Client,
    pub(crate) watcher: Box<dyn Watcher>,
}

pub(crate) async fn work(
    parts: Parts,
    mut shutdown: watch::Receiver<bool>,
) -> Result<(), AgentError> {
    let Parts { settings, clock, rng, client, watcher } = parts;
    let now = clock.monotonic();
    let statistics = Arc::new(Statistics::new(now));
    let mut tasks = Tasks::new();
    if let Some(address) = settings.listen {
        let listener = TcpListener::bind(address).await;
        let listener = listener.map_err(|source| AgentError::Listen { address, source })?;
        tasks.spawn("health", serve(listener, Arc::clone(&statistics), Arc::clone(&clock)));
    }
    let acknowledged = Arc::new(Mutex::new(Vec::new()));
    let (sender, snapshots) = mpsc::channel(1);
    tasks.spawn("watch", watch_pulls(watcher, sender, Arc::clone(&acknowledged)));
    let identity = Identity {
        node: settings.node.clone(),
        cluster: settings.cluster.clone(),
        started: clock.now(),
        interval: settings.interval,
    };
    tracing::info!(server = %settings.server, node = ?settings.node, "the agent works");
    let mut agent = Agent {
        reporter: Reporter::new(identity, rng, now),
        client,
        refresh_at: now + REFRESH_INTERVAL,
        clock,
        statistics,
        acknowledged,
        sending: None,
        told: Told::default(),
    };
    let result = agent.work(&mut shutdown, &mut tasks, snapshots).await;
    if result.is_ok() {
        agent.finish().await;
    }
    tasks.abort_all();
    while tasks.join_next().await.is_some() {}
    tracing::info!("the agent ends");
    result
}

/// Looks again and again, and tells the watcher between two looks what need not be kept any more.
async fn watch_pulls(
    mut watcher: Box<dyn Watcher>,
    snapshots: mpsc::Sender<Snapshot>,
    acknowledged: Arc<Mutex<Vec<String>>>,
) {
    loop {
        let ended = std::mem::take(&mut *acknowledged.lock());
        if !ended.is_empty() {
            watcher.acknowledged(&ended);
        }
        if snapshots.send(watcher.next().await).await.is_err() {
            return;
        }
    }
}

/// A report on its way.
type Sending = Pin<Box<dyn Future<Output = Answer> + Send>>;

struct Agent {
    reporter: Reporter,
    client: Client,
    refresh_at: Duration,
    clock: Arc<dyn Clock>,
    statistics: Arc<Statistics>,
    /// What the watcher can forget at its next look.
    acknowledged: Arc<Mutex<Vec<String>>>,
    sending: Option<Sending>,
    told: Told,
}

enum Event {
    Stop,
    Looked(Snapshot),
    Answered(Answer),
    Due,
}

impl Agent {
    async fn work(
        &mut self,
        shutdown: &mut watch::Receiver<bool>,
        tasks: &mut Tasks,
        mut snapshots: mpsc::Receiver<Snapshot>,
    ) -> Result<(), AgentError> {
        loop {
            let due = self.reporter.due();
            self.statistics.expect_report_by(
                due.map_or_else(|| self.clock.monotonic() + TIMEOUT, |due| due + TIMEOUT),
            );
            let wake = self.clock.sleep_until(due.unwrap_or_default());
            let event = tokio::select! {
                biased;
                // A sender that is gone stops the agent too.
                _stop = shutdown.wait_for(|stop| *stop) => Event::Stop,
                Some(ended) = tasks.join_next() => {
                    ended?;
                    continue;
                }
                answer = sent(&mut self.sending) => Event::Answered(answer),
                Some(snapshot) = snapshots.recv() => Event::Looked(snapshot),
                () = wake, if due.is_some() => Event::Due,
            };
            match event {
                Event::Stop => return Ok(()),
                Event::Looked(snapshot) => self.looked(snapshot),
                Event::Answered(answer) => self.answered(&answer).await,
                Event::Due => {
                    if self.clock.monotonic() >= self.refresh_at {
                        self.refresh().await;
                    }
                    self.send(TIMEOUT);
                }
            }
        }
    }

    fn looked(&mut self, snapshot: Snapshot) {
        let now = self.clock.monotonic();
        self.statistics.looked((now, self.clock.now()), &snapshot);
        self.told.looked(&snapshot);
        self.reporter.looked(now, snapshot);
    }

    fn send(&mut self, timeout: Duration) {
        let outgoing = self.reporter.send(self.clock.monotonic(), self.clock.now());
        self.statistics.sent(outgoing.json.len());
        let client = self.client.clone();
        self.sending = Some(Box::pin(async move { client.send(outgoing, timeout).await }));
    }

    async fn answered(&mut self, answer: &Answer) {
        self.sending = None;
        let kind = answer.kind();
        self.statistics.answered(self.clock.now(), kind);
        self.told.answered(answer);
        let ended = self.reporter.answered(self.clock.monotonic(), answer);
        self.acknowledged.lock().extend(ended);
        let may_be_old = matches!(kind, AnswerKind::Unauthorized | AnswerKind::Unreachable);
        if may_be_old && self.refresh().await == Refreshed::Changed {
            self.reporter.try_again(self.clock.monotonic());
        }
    }

    async fn refresh(&mut self) -> Refreshed {
        self.refresh_at = self.clock.monotonic() + REFRESH_INTERVAL;
        let mut client = self.client.clone();
        let reading = tokio::task::spawn_blocking(move || {
            let refreshed = client.refresh();
            (client, refreshed)
        });
        // The runtime ends.
        let Ok((client, refreshed)) = reading.await else { return Refreshed::Same };
        self.told.refreshed(&refreshed);
        match refreshed {
            Ok(Refreshed::Changed) => {
                self.client = client;
                Refreshed::Changed
            }
            Ok(Refreshed::Same) | Err(_) => Refreshed::Same,
        }
    }

    /// Waits for the report on its way, and sends the last one.
    async fn finish(&mut self) {
        let end = self.clock.monotonic() + STOP_TIME_MAX;
        let clock = Arc::clone(&self.clock);
        tokio::select! {
            biased;
            () = clock.sleep_until(end) => tracing::warn!("the last report was not answered in time"),
            () = self.report_last() => {}
        }
    }

    async fn report_last(&mut self) {
        if self.sending.is_some() {
            let answer = sent(&mut self.sending).await;
            self.answered(&answer).await;
        }
        self.clock.sleep_until(self.reporter.earliest(self.clock.monotonic())).await;
        self.send(STOP_TIME_MAX);
        let answer = sent(&mut self.sending).await;
        self.answered(&answer).await;
    }
}

/// Waits for the answer to the report on its way; for ever if there is none.
async fn sent(sending: &mut Option<Sending>) -> Answer {
    match sending {
        Some(sending) => sending.await,
        None => std::future::pending().await,
    }
}

/// Returns an error with its causes.
fn describe(error: &CredentialsError) -> String {
    let mut text = error.to_string();
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}

/// What the log says already: it is told of changes only.
#[derive(Debug, Default)]
struct Told {
    reports: Option<AnswerKind>,
    looks: Option<(String, String)>,
    pulls: BTreeMap<String, Option<PullPhase>>,
    credentials: Option<String>,
}

impl Told {
    fn answered(&mut self, answer: &Answer) {
        let kind = answer.kind();
        if self.reports.replace(kind) == Some(kind) {
            return;
        }
        match answer {
            Answer::Accepted { ours } => tracing::info!(tinyobs = ours, "reports are accepted"),
            Answer::Refused { status, reason, .. } => {
                tracing::warn!(kind = kind.as_str(), status, reason, "reports are not accepted");
            }
            Answer::Unreachable { reason, .. } => {
                tracing::warn!(kind = kind.as_str(), reason, "reports do not arrive");
            }
        }
    }

    fn looked(&mut self, snapshot: &Snapshot) {
        let state = (snapshot.runtime.clone(), snapshot.error.clone());
        if self.looks.as_ref() != Some(&state) {
            let Snapshot { runtime, source, error, .. } = snapshot;
            if error.is_empty() {
                tracing::info!(runtime, source = source.as_str(), "pulls are seen");
            } else {
                tracing::warn!(error, source = source.as_str(), "pulls are not seen");
            }
            self.looks = Some(state);
        }
        let mut pulls = BTreeMap::new();
        for pull in &snapshot.pulls {
            let ended = matches!(pull.phase, Some(PullPhase::Completed | PullPhase::Failed));
            let before = self.pulls.get(&pull.id);
            if before.is_none() && !ended {
                tracing::info!(id = ?pull.id, image = ?pull.image_ref, "a pull began");
            }
            if ended && before.is_some_and(|phase| *phase != pull.phase) {
                let phase = pull.phase.map(PullPhase::as_str);
                tracing::info!(id = ?pull.id, image = ?pull.image_ref, phase, "a pull ended");
            }
            pulls.insert(pull.id.clone(), pull.phase);
        }
        self.pulls = pulls;
    }

    fn refreshed(&mut self, refreshed: &Result<Refreshed, CredentialsError>) {
        let problem = refreshed.as_ref().err().map(describe);
        match (&problem, refreshed) {
            (Some(problem), _) if self.credentials.as_ref() != Some(problem) => {
                tracing::warn!(problem, "new credentials cannot be used; the old ones stay");
            }
            (None, Ok(Refreshed::Changed)) => tracing::info!("credentials were replaced"),
            _ => {}
        }
        self.credentials = problem;
    }
}
