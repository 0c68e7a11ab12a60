//! A disk that takes its time.

use std::fmt;
use std::path::Path;
use std::sync::Arc;

use futures_util::future::join_all;
use model::TenantId;
use parking_lot::{Condvar, Mutex};
use platform::{Clock, DirEntry, DiskSpace, File, Fs, FsError, SimFs, Threads};

use super::client::{begin, event, numbers};
use super::engine::{DIR, clock};
use crate::{Batch, EmbeddedConfig, EmbeddedLog, EventLog, LogError, NewEvent};

/// A file system whose files are synced only while the gate is open.
#[derive(Debug)]
struct GatedFs {
    inner: Arc<SimFs>,
    gate: Arc<Gate>,
}

#[derive(Debug, Default)]
struct Gate {
    state: Mutex<GateState>,
    moved: Condvar,
}

#[derive(Debug, Default)]
struct GateState {
    closed: bool,
    waiting: bool,
}

impl Gate {
    fn set_closed(&self, closed: bool) {
        self.state.lock().closed = closed;
        self.moved.notify_all();
    }

    /// Blocks until somebody waits before the gate.
    fn wait_for_waiting(&self) {
        let mut state = self.state.lock();
        self.moved.wait_while(&mut state, |state| !state.waiting);
    }

    fn pass(&self) {
        let mut state = self.state.lock();
        state.waiting = true;
        self.moved.notify_all();
        self.moved.wait_while(&mut state, |state| state.closed);
        state.waiting = false;
    }
}

#[derive(Debug)]
struct GatedFile {
    inner: Box<dyn File>,
    gate: Arc<Gate>,
}

impl GatedFs {
    fn gated(&self, inner: Box<dyn File>) -> Box<dyn File> {
        Box::new(GatedFile { inner, gate: Arc::clone(&self.gate) })
    }
}

impl File for GatedFile {
    fn append(&mut self, bytes: &[u8]) -> Result<(), FsError> {
        self.inner.append(bytes)
    }

    fn sync_data(&mut self) -> Result<(), FsError> {
        self.gate.pass();
        self.inner.sync_data()
    }

    fn read_exact_at(&self, buffer: &mut [u8], offset: u64) -> Result<(), FsError> {
        self.inner.read_exact_at(buffer, offset)
    }

    fn byte_len(&self) -> Result<u64, FsError> {
        self.inner.byte_len()
    }

    fn truncate(&mut self, len: u64) -> Result<(), FsError> {
        self.inner.truncate(len)
    }
}

impl Fs for GatedFs {
    fn create_dir_all(&self, path: &Path) -> Result<(), FsError> {
        self.inner.create_dir_all(path)
    }

    fn create(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        Ok(self.gated(self.inner.create(path)?))
    }

    fn create_private(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        Ok(self.gated(self.inner.create_private(path)?))
    }

    fn open(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        Ok(self.gated(self.inner.open(path)?))
    }

    fn open_append(&self, path: &Path) -> Result<Box<dyn File>, FsError> {
        Ok(self.gated(self.inner.open_append(path)?))
    }

    fn read(&self, path: &Path, bytes_max: u64) -> Result<Vec<u8>, FsError> {
        self.inner.read(path, bytes_max)
    }

    fn list(&self, path: &Path) -> Result<Vec<DirEntry>, FsError> {
        self.inner.list(path)
    }

    fn exists(&self, path: &Path) -> Result<bool, FsError> {
        self.inner.exists(path)
    }

    fn rename(&self, from: &Path, to: &Path) -> Result<(), FsError> {
        self.inner.rename(from, to)
    }

    fn remove_file(&self, path: &Path) -> Result<(), FsError> {
        self.inner.remove_file(path)
    }

    fn remove_dir_all(&self, path: &Path) -> Result<(), FsError> {
        self.inner.remove_dir_all(path)
    }

    fn sync_dir(&self, path: &Path) -> Result<(), FsError> {
        self.inner.sync_dir(path)
    }

    fn allocated_bytes(&self, path: &Path) -> Result<u64, FsError> {
        self.inner.allocated_bytes(path)
    }

    fn space(&self, path: &Path) -> Result<DiskSpace, FsError> {
        self.inner.space(path)
    }

    fn lock(&self, path: &Path) -> Result<Box<dyn fmt::Debug + Send + Sync>, FsError> {
        self.inner.lock(path)
    }
}

#[tokio::test]
async fn while_the_disk_syncs_events_wait_within_the_limit_and_reading_goes_on() {
    let gate = Arc::new(Gate::default());
    let fs = Arc::new(GatedFs { inner: SimFs::new(), gate: Arc::clone(&gate) });
    let clock: Arc<dyn Clock> = Arc::new(clock());
    let config = EmbeddedConfig { in_flight_events_max: 4, ..EmbeddedConfig::default() };
    let (log, _) = EmbeddedLog::open(fs, Path::new(DIR), Arc::clone(&clock), config).expect("open");
    let log = Arc::new(log);
    let mut threads = Threads::new();
    let committing = Arc::clone(&log);
    let work = move || {
        while committing.wait_for_pending() {
            committing.commit_pending().expect("committed");
        }
    };
    threads.spawn("commit", work, |_| {}).expect("a thread");
    let append = |events: Vec<NewEvent>| {
        let tenant = TenantId::default_tenant();
        log.append(Batch { tenant, received_at: clock.now(), events })
    };
    append(vec![event(1)]).await.expect("stored");

    gate.set_closed(true);
    let mut waiting: Vec<_> = (2..=5).map(|number| append(vec![event(number)])).collect();
    waiting.iter_mut().take(1).for_each(begin);
    gate.wait_for_waiting();
    waiting.iter_mut().skip(1).for_each(begin);
    let refused = append(vec![event(6)]).await;
    assert!(matches!(refused, Err(LogError::Overloaded { .. })), "{refused:?}");
    assert_eq!((numbers(&log).await, log.stats().in_flight), (vec![1], 4));

    gate.set_closed(false);
    for answer in join_all(waiting).await {
        answer.expect("stored");
    }
    append(vec![event(6)]).await.expect("room again");
    assert_eq!(numbers(&log).await, [1, 2, 3, 4, 5, 6]);
    log.close();
    threads.join().expect("no panic");
}
