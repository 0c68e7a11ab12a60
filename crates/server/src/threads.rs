//! The threads that give the store its time: one commits, one maintains.

use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use platform::Threads;
use tokio::sync::mpsc;
use tsdb::Store;

use crate::Failure;

/// How often the store looks whether there is something to maintain.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps a periodic thread going; dropping it ends the thread after the step under way.
#[derive(Debug)]
pub(crate) struct Stop {
    _sender: SyncSender<()>,
}

/// Starts the commit thread, which ends when the store is closed, and the maintenance thread.
pub(crate) fn start(
    threads: &mut Threads,
    store: &Arc<Store>,
    fatal: &mpsc::Sender<String>,
) -> Result<Stop, Failure> {
    let committing = Arc::clone(store);
    threads
        .spawn("commit", move || commit(&committing), report("commit", fatal))
        .context("start the commit thread")?;
    let maintained = Arc::clone(store);
    let mut failing = None;
    every("maintenance", MAINTENANCE_INTERVAL, threads, fatal, move || {
        maintain(&maintained, &mut failing);
    })
}

/// Maintains once; `failing` remembers why the last time failed.
fn maintain(store: &Store, failing: &mut Option<String>) {
    match store.maintain() {
        Ok(done) => {
            *failing = None;
            if done != tsdb::Maintenance::default() {
                tracing::info!(
                    samples_flushed = done.samples_flushed,
                    blocks_written = done.blocks_written,
                    blocks_compacted = done.blocks_compacted,
                    blocks_expired = done.blocks_expired,
                    "metrics maintained"
                );
            }
        }
        Err(error) => {
            // Said when it changes: health shows it until the next success.
            let reason = format!("{:#}", anyhow::Error::new(error));
            if failing.as_ref() != Some(&reason) {
                tracing::error!(reason, "metrics could not be maintained");
                *failing = Some(reason);
            }
        }
    }
}

/// Commits whenever something waits, until the store is closed.
fn commit(store: &Store) {
    let mut failing = false;
    while store.wait_for_pending() {
        match store.commit() {
            Ok(_) => failing = false,
            Err(error) => {
                // Said once: the journal stays as it is until it can be written again.
                if !failing {
                    tracing::error!(error = %error, "writes can not be made durable");
                }
                failing = true;
            }
        }
    }
}

/// Calls `step` at once and then every `interval` on a thread of its own.
pub(crate) fn every(
    name: &'static str,
    interval: Duration,
    threads: &mut Threads,
    fatal: &mpsc::Sender<String>,
    mut step: impl FnMut() + Send + 'static,
) -> Result<Stop, Failure> {
    let (sender, receiver) = sync_channel::<()>(1);
    let work = move || {
        loop {
            step();
            if receiver.recv_timeout(interval) != Err(RecvTimeoutError::Timeout) {
                return;
            }
        }
    };
    threads
        .spawn(name, work, report(name, fatal))
        .with_context(|| format!("start the {name} thread"))?;
    Ok(Stop { _sender: sender })
}

/// Tells the main task that a thread panicked: what it left half done must not be served.
fn report(name: &'static str, fatal: &mpsc::Sender<String>) -> impl FnOnce(&str) + Send + use<> {
    let fatal = fatal.clone();
    move |message| {
        // A full queue already holds a reason to stop.
        drop(fatal.try_send(format!("thread '{name}' panicked: {message}")));
    }
}
