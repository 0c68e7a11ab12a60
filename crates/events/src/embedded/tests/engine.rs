//! A log with its thread.

use std::path::Path;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use futures_util::FutureExt;
use futures_util::future::BoxFuture;
use model::Timestamp;
use platform::{Clock, SimClock, SimFs, Threads};

use crate::contract::{DeadLetterEngine, Engine};
use crate::{
    DeadLetters, DeadLettersConfig, EmbeddedConfig, EmbeddedDeadLetters, EmbeddedLog, EventLog,
};

pub(super) const DIR: &str = "/data/events";

/// A log that commits on a thread of its own.
#[derive(Debug)]
pub(super) struct EmbeddedEngine {
    pub(super) fs: Arc<SimFs>,
    pub(super) clock: Arc<SimClock>,
    config: EmbeddedConfig,
    pub(super) log: Arc<EmbeddedLog>,
    dead_letters: Arc<EmbeddedDeadLetters>,
    threads: Threads,
}

/// Returns a new, empty log.
pub(super) async fn engine() -> EmbeddedEngine {
    EmbeddedEngine::new(EmbeddedConfig::default())
}

pub(super) fn open(fs: &Arc<SimFs>, clock: &Arc<SimClock>, config: &EmbeddedConfig) -> EmbeddedLog {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let opened = EmbeddedLog::open(fs.clone(), Path::new(DIR), clock, config.clone());
    opened.expect("open").0
}

pub(super) fn clock() -> Arc<SimClock> {
    SimClock::new(Timestamp::from_millis(1_800_000_000_000))
}

impl EmbeddedEngine {
    pub(super) fn new(config: EmbeddedConfig) -> Self {
        let (fs, clock) = (SimFs::new(), clock());
        let log = Arc::new(open(&fs, &clock, &config));
        let dead_letters = open_dead_letters(&fs, &clock);
        let threads = commit(&log);
        Self { fs, clock, config, log, dead_letters, threads }
    }

    /// Ends the log as a program does that is told to.
    pub(super) fn stop(&mut self) {
        self.log.close();
        std::mem::take(&mut self.threads).join().expect("no panic");
    }
}

impl Drop for EmbeddedEngine {
    fn drop(&mut self) {
        self.log.close();
    }
}

impl Engine for EmbeddedEngine {
    fn log(&self) -> Arc<dyn EventLog> {
        self.log.clone()
    }

    fn clock(&self) -> Arc<dyn Clock> {
        Arc::new(Arc::clone(&self.clock))
    }

    fn restart(&mut self) -> BoxFuture<'_, ()> {
        async {
            self.stop();
            self.fs.restart(&platform::SimCrash::Kill);
            self.log = Arc::new(open(&self.fs, &self.clock, &self.config));
            self.dead_letters = open_dead_letters(&self.fs, &self.clock);
            self.threads = commit(&self.log);
        }
        .boxed()
    }

    fn advance(&self, step: Duration) -> BoxFuture<'_, ()> {
        async move {
            self.clock.advance(step);
            // What is on its way to the simulated disk, on other threads, takes real time.
            tokio::time::sleep(Duration::from_millis(1)).await;
        }
        .boxed()
    }
}

impl DeadLetterEngine for EmbeddedEngine {
    fn delivers_settled_again(&self) -> bool {
        false
    }

    fn dead_letters(&self) -> Arc<dyn DeadLetters> {
        self.dead_letters.clone()
    }

    fn plant(&mut self, bytes: Bytes) -> BoxFuture<'_, ()> {
        // The log knows what it has appended itself, so it is opened again.
        self.log.core.journal.append(&bytes).expect("append");
        self.restart()
    }
}

fn open_dead_letters(fs: &Arc<SimFs>, clock: &Arc<SimClock>) -> Arc<EmbeddedDeadLetters> {
    let clock: Arc<dyn Clock> = Arc::new(Arc::clone(clock));
    let dir = Path::new(DIR).join("dead-letters");
    let opened = EmbeddedDeadLetters::open(fs.clone(), &dir, clock, DeadLettersConfig::default());
    Arc::new(opened.expect("open").0)
}

fn commit(log: &Arc<EmbeddedLog>) -> Threads {
    let log = Arc::clone(log);
    let mut threads = Threads::new();
    let work = move || {
        while log.wait_for_pending() {
            log.commit_pending().ok();
        }
    };
    threads.spawn("commit", work, |message| panic!("{message}")).expect("a thread");
    threads
}
