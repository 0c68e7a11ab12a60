//! The threads that give the store its time: one commits, one maintains.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::mpsc::{RecvTimeoutError, SyncSender, sync_channel};
use std::time::Duration;

use anyhow::Context as _;
use model::TenantId;
use platform::Threads;
use tokio::sync::mpsc;
use tsdb::{Store, Stores};

use crate::Failure;

/// How often the store looks whether there is something to maintain.
const MAINTENANCE_INTERVAL: Duration = Duration::from_secs(5);

/// Keeps a periodic thread going; dropping it ends the thread after the step under way.
#[derive(Debug)]
pub(crate) struct Stop {
    _sender: SyncSender<()>,
}

/// Starts the thread that commits a store, until it is closed.
pub(crate) fn commit(
    threads: &mut Threads,
    store: &Arc<Store>,
    fatal: &mpsc::Sender<String>,
) -> anyhow::Result<()> {
    let store = Arc::clone(store);
    threads
        .spawn("commit", move || commit_until_closed(&store), report("commit", fatal))
        .context("start the commit thread")
}

/// Starts the thread that maintains all stores.
pub(crate) fn maintain(
    threads: &mut Threads,
    stores: &Stores,
    fatal: &mpsc::Sender<String>,
) -> Result<Stop, Failure> {
    let stores = stores.clone();
    let mut failing = BTreeMap::new();
    every("maintenance", MAINTENANCE_INTERVAL, threads, fatal, move || {
        for (tenant, store) in stores.all() {
            maintain_once(&tenant, &store, failing.entry(tenant.clone()).or_default());
        }
    })
}

/// Maintains once; `failing` remembers why the last time failed.
fn maintain_once(tenant: &TenantId, store: &Store, failing: &mut Option<String>) {
    match store.maintain() {
        Ok(done) => {
            *failing = None;
            if done != tsdb::Maintenance::default() {
                tracing::info!(
                    tenant = tenant.as_str(),
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
                tracing::error!(
                    tenant = tenant.as_str(),
                    reason,
                    "metrics could not be maintained"
                );
                *failing = Some(reason);
            }
        }
    }
}

/// Commits whenever something waits, until the store is closed.
fn commit_until_closed(store: &Store) {
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

/// Runs `work` on a thread of its own.
pub(crate) fn run(
    name: &'static str,
    threads: &mut Threads,
    fatal: &mpsc::Sender<String>,
    work: impl FnOnce() + Send + 'static,
) -> Result<(), Failure> {
    threads
        .spawn(name, work, report(name, fatal))
        .with_context(|| format!("start the {name} thread"))?;
    Ok(())
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
    run(name, threads, fatal, work)?;
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
