//! Consumers of the embedded log.

use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use platform::{Clock, Fs, FsError, FsErrorKind};
use tokio::sync::{Notify, watch};

use super::core::unavailable;
use super::cursor::{Cursor, OPEN_MAX, Plan};
use crate::{
    Body, Consumer, ConsumerConfig, Delivery, FetchLimits, LogError, Offset, ReadLimits, Settlement,
};

/// How long a position may be only in memory while the consumer fetches or settles.
const FLUSH_INTERVAL: Duration = Duration::from_secs(1);

/// Longest name of a consumer, in bytes.
const NAME_BYTES_MAX: usize = 64;

/// Longest file of a cursor that is read, in bytes.
const CURSOR_BYTES_MAX: u64 = 64 << 20;

/// What follows the name of a cursor's file while it is being written.
const NEW: &str = ".new";

/// What follows the name of a cursor's file that was set aside.
const DAMAGED: &str = ".damaged";

/// Where consumers read.
pub(crate) trait Source: Send + Sync + std::fmt::Debug {
    /// As [`EventLog::read`](crate::EventLog::read), but what cannot be decoded is there too.
    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Found, LogError>>;

    /// Returns the position of the oldest entry.
    fn first(&self) -> Offset;

    /// As [`EventLog::end`](crate::EventLog::end).
    fn end(&self) -> watch::Receiver<Offset>;
}

/// What was read for a consumer.
#[derive(Debug)]
pub(crate) struct Found {
    /// In the order of their offsets.
    pub(crate) bodies: Vec<(Offset, Body)>,
    /// Behind the last of them, or behind what is missing.
    pub(crate) next: Offset,
    /// How many entries on the way are missing.
    pub(crate) missing: u64,
}

/// The consumers of a log, open or not, each with its position in a file.
///
/// The log keeps what lies behind [`Consumers::lowest`].
#[derive(Debug)]
pub(crate) struct Consumers {
    fs: Arc<dyn Fs>,
    dir: PathBuf,
    clock: Arc<dyn Clock>,
    by_name: Mutex<BTreeMap<String, Arc<Held>>>,
}

impl Consumers {
    /// Reads the positions of all consumers in `dir`, which is created if missing.
    ///
    /// A file that is damaged is set aside, and its consumer begins with the oldest entry.
    ///
    /// # Errors
    ///
    /// A file cannot be read or renamed.
    pub(crate) fn open(
        fs: Arc<dyn Fs>,
        dir: &Path,
        clock: Arc<dyn Clock>,
    ) -> Result<Self, FsError> {
        let by_name = read_all(&fs, dir)?;
        Ok(Self { fs, dir: dir.to_owned(), clock, by_name: Mutex::new(by_name) })
    }

    /// Returns the consumer that is furthest behind, and the position from which on it needs the log.
    ///
    /// It is the position on disk: what is before it is not needed after a crash either.
    pub(crate) fn lowest(&self) -> Option<(String, Offset)> {
        let by_name = self.by_name.lock();
        let floors = by_name.iter().map(|(name, held)| (name, held.durable.lock().floor));
        floors.min_by_key(|(_, floor)| *floor).map(|(name, floor)| (name.clone(), floor))
    }

    /// Returns how many entries up to `end` each consumer has not settled.
    pub(crate) fn lag(&self, end: Offset) -> BTreeMap<String, u64> {
        let by_name = self.by_name.lock();
        by_name.iter().map(|(name, held)| (name.clone(), held.cursor.lock().lag(end))).collect()
    }

    /// Returns how many entries were delivered again to each consumer since the start.
    pub(crate) fn redelivered(&self) -> BTreeMap<String, u64> {
        let by_name = self.by_name.lock();
        let counts = by_name.iter();
        counts
            .map(|(name, held)| (name.clone(), held.redelivered.load(Ordering::Relaxed)))
            .collect()
    }

    /// Opens a consumer; a new one is on disk when this returns.
    ///
    /// # Errors
    ///
    /// [`LogError::Consumer`], and [`LogError::Unavailable`] when its position cannot be written.
    pub(crate) async fn consumer(
        &self,
        config: ConsumerConfig,
        source: Arc<dyn Source>,
    ) -> Result<Box<dyn Consumer>, LogError> {
        let refuse = |reason: &str| {
            Err(LogError::Consumer { name: config.name.clone(), reason: reason.to_owned() })
        };
        if !is_name(&config.name) {
            return refuse("a name has 1 to 64 letters, digits, '_' and '-'");
        }
        let held = {
            let mut by_name = self.by_name.lock();
            let path = self.dir.join(&config.name);
            Arc::clone(by_name.entry(config.name.clone()).or_insert_with(|| {
                Arc::new(Held::new(Arc::clone(&self.fs), path, Cursor::at(source.first())))
            }))
        };
        if held.is_open.swap(true, Ordering::AcqRel) {
            return refuse("it is open already, and one of a name can be");
        }
        let end = *source.end().borrow();
        held.cursor.lock().fit(source.first(), end);
        let consumer = EmbeddedConsumer {
            held,
            source,
            clock: Arc::clone(&self.clock),
            open_max: config.in_flight_max.min(OPEN_MAX),
        };
        consumer.flush_now().await?;
        Ok(Box::new(consumer))
    }
}

/// What is known of a consumer, whether it is open or not.
#[derive(Debug)]
struct Held {
    fs: Arc<dyn Fs>,
    path: PathBuf,
    is_open: AtomicBool,
    redelivered: AtomicU64,
    // Lock order: `writing`, then one of the others; these are held for moments only.
    writing: Mutex<()>,
    cursor: Mutex<Cursor>,
    durable: Mutex<Durable>,
    /// Something happened that a fetch may wait for.
    changed: Notify,
}

/// What is on disk.
#[derive(Debug)]
struct Durable {
    floor: Offset,
    /// Which change of the cursor is on disk; `None` before the first write.
    version: Option<u64>,
    /// When it was last tried to write.
    tried_at: Option<Duration>,
}

impl Held {
    fn new(fs: Arc<dyn Fs>, path: PathBuf, cursor: Cursor) -> Self {
        let durable = Durable { floor: cursor.floor(), version: None, tried_at: None };
        Self {
            fs,
            path,
            is_open: AtomicBool::new(false),
            redelivered: AtomicU64::new(0),
            writing: Mutex::new(()),
            cursor: Mutex::new(cursor),
            durable: Mutex::new(durable),
            changed: Notify::new(),
        }
    }

    /// Writes the position unless it is on disk. Blocks.
    fn write(&self) -> Result<(), FsError> {
        let _writing = self.writing.lock();
        let (text, version, floor) = {
            let cursor = self.cursor.lock();
            if self.durable.lock().version == Some(cursor.version()) {
                return Ok(());
            }
            (cursor.encode(), cursor.version(), cursor.floor())
        };
        replace(self.fs.as_ref(), &self.path, text.as_bytes())?;
        let mut durable = self.durable.lock();
        durable.floor = floor;
        durable.version = Some(version);
        Ok(())
    }

    /// Whether the position should be written now; if so, the next time is an interval away.
    fn claim_flush(&self, now: Duration) -> bool {
        let version = self.cursor.lock().version();
        let mut durable = self.durable.lock();
        let due = durable.tried_at.is_none_or(|at| now >= at.saturating_add(FLUSH_INTERVAL));
        let claimed = due && durable.version != Some(version);
        if claimed {
            durable.tried_at = Some(now);
        }
        claimed
    }
}

#[derive(Debug)]
struct EmbeddedConsumer {
    held: Arc<Held>,
    source: Arc<dyn Source>,
    clock: Arc<dyn Clock>,
    open_max: usize,
}

impl Consumer for EmbeddedConsumer {
    fn fetch(&self, limits: FetchLimits) -> BoxFuture<'_, Result<Vec<Delivery>, LogError>> {
        Box::pin(self.fetch_within(limits))
    }

    fn settle(
        &self,
        offset: Offset,
        settlement: Settlement,
    ) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async move {
            let now = self.clock.monotonic();
            self.held.cursor.lock().settle(offset, settlement, now);
            self.held.changed.notify_one();
            self.flush_if_due().await;
            Ok(())
        })
    }

    fn flush(&self) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(self.flush_now())
    }
}

impl EmbeddedConsumer {
    async fn fetch_within(&self, limits: FetchLimits) -> Result<Vec<Delivery>, LogError> {
        let deadline = self.clock.monotonic().saturating_add(limits.wait_max);
        let mut end = self.source.end();
        loop {
            let now = self.clock.monotonic();
            let plan = self.held.cursor.lock().plan(now, limits.entries_max, self.open_max);
            let behind = *end.borrow_and_update();
            let deliveries = match plan {
                Plan::Again(offsets) => Some(self.again(&offsets, limits).await?),
                Plan::New { from, entries_max } if from < behind => {
                    self.first_time(from, FetchLimits { entries_max, ..limits }).await?
                }
                Plan::New { .. } | Plan::Full => None,
            };
            match deliveries {
                // What was read was damaged, or delivered by another fetch meanwhile.
                Some(deliveries) if deliveries.is_empty() => {}
                Some(deliveries) => return Ok(self.hand_over(deliveries).await),
                None => {
                    self.flush_if_due().await;
                    if now >= deadline {
                        return Ok(Vec::new());
                    }
                    self.wait(&mut end, deadline).await?;
                }
            }
        }
    }

    /// Reads new entries; `None` at the end of the log.
    async fn first_time(
        &self,
        from: Offset,
        limits: FetchLimits,
    ) -> Result<Option<Vec<Delivery>>, LogError> {
        let FetchLimits { entries_max, bytes_max, .. } = limits;
        let Found { bodies, next, missing } =
            self.source.read(from, ReadLimits { entries_max, bytes_max }).await?;
        if missing > 0 {
            let name = self.held.path.file_name().unwrap_or_default();
            tracing::warn!(consumer = ?name, %from, missing, "damaged events are not delivered");
        }
        if next <= from {
            return Ok(None);
        }
        let offsets: Vec<Offset> = bodies.iter().map(|(offset, _)| *offset).collect();
        if !self.held.cursor.lock().deliver_new(from, next, &offsets) {
            return Ok(Some(Vec::new()));
        }
        let delivery = |(offset, body)| Delivery { offset, attempt: 1, body };
        Ok(Some(bodies.into_iter().map(delivery).collect()))
    }

    /// Reads entries that were delivered before, one read for adjoining ones.
    async fn again(
        &self,
        offsets: &[Offset],
        limits: FetchLimits,
    ) -> Result<Vec<Delivery>, LogError> {
        let mut rest = offsets;
        let mut bytes_left = limits.bytes_max;
        let mut read = Vec::new();
        while let Some(first) = rest.first().copied()
            && (read.is_empty() || bytes_left > 0)
        {
            let adjoining = rest.iter().zip(first.0..).take_while(|(offset, at)| offset.0 == *at);
            let entries_max = adjoining.count();
            let limits = ReadLimits { entries_max, bytes_max: bytes_left };
            let found = self.source.read(first, limits).await?;
            let behind = rest.partition_point(|offset| *offset < found.next.max(first.next()));
            let (passed, further) = rest.split_at(behind);
            let mut bodies = found.bodies.into_iter().peekable();
            for offset in passed {
                while bodies.next_if(|(at, _)| at < offset).is_some() {}
                let body = bodies.next_if(|(at, _)| at == offset).map(|(_, body)| body);
                bytes_left = bytes_left.saturating_sub(body.as_ref().map_or(0, byte_len));
                read.push((*offset, body));
            }
            rest = further;
        }
        Ok(self.deliver_again(read))
    }

    fn deliver_again(&self, read: Vec<(Offset, Option<Body>)>) -> Vec<Delivery> {
        let mut cursor = self.held.cursor.lock();
        let mut deliveries = Vec::with_capacity(read.len());
        for (offset, body) in read {
            let Some(body) = body else {
                tracing::warn!(%offset, "event is damaged and not delivered again");
                cursor.settle(offset, Settlement::Done, Duration::ZERO);
                continue;
            };
            if let Some(attempt) = cursor.deliver_again(offset) {
                deliveries.push(Delivery { offset, attempt, body });
            }
        }
        self.held.redelivered.fetch_add(deliveries.len() as u64, Ordering::Relaxed);
        deliveries
    }

    /// Writes the position if that is due, so that attempts count that end in a crash; takes the deliveries back if
    /// the caller does not wait for it.
    async fn hand_over(&self, deliveries: Vec<Delivery>) -> Vec<Delivery> {
        let mut handed = Handed { held: &self.held, deliveries };
        self.flush_if_due().await;
        std::mem::take(&mut handed.deliveries)
    }

    async fn wait(
        &self,
        end: &mut watch::Receiver<Offset>,
        deadline: Duration,
    ) -> Result<(), LogError> {
        let due = self.held.cursor.lock().next_due().unwrap_or(deadline);
        tokio::select! {
            biased;
            moved = end.changed() => moved.map_err(|_| LogError::Closed),
            () = self.held.changed.notified() => Ok(()),
            () = self.clock.sleep_until(due.min(deadline)) => Ok(()),
        }
    }

    /// The position is written again later when this fails: until then more is delivered again after a crash.
    async fn flush_if_due(&self) {
        if self.held.claim_flush(self.clock.monotonic())
            && let Err(error) = self.flush_now().await
        {
            tracing::warn!(error = %error, "position of a consumer is not durable yet");
        }
    }

    async fn flush_now(&self) -> Result<(), LogError> {
        let held = Arc::clone(&self.held);
        match tokio::task::spawn_blocking(move || held.write()).await {
            Ok(written) => written.map_err(|error| unavailable(error.into())),
            Err(_) => Err(LogError::Closed),
        }
    }
}

impl Drop for EmbeddedConsumer {
    fn drop(&mut self) {
        self.held.cursor.lock().release_all();
        self.held.is_open.store(false, Ordering::Release);
    }
}

/// Deliveries on their way to the caller.
struct Handed<'a> {
    held: &'a Held,
    deliveries: Vec<Delivery>,
}

impl Drop for Handed<'_> {
    fn drop(&mut self) {
        let mut cursor = self.held.cursor.lock();
        for delivery in &self.deliveries {
            cursor.take_back(delivery.offset);
        }
    }
}

fn byte_len(body: &Body) -> usize {
    match body {
        Body::Entry(entry) => entry.envelope.len(),
        Body::Undecodable { bytes, .. } => bytes.len(),
    }
}

fn is_name(name: &str) -> bool {
    let valid = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-');
    (1..=NAME_BYTES_MAX).contains(&name.len()) && name.bytes().all(valid)
}

fn read_all(fs: &Arc<dyn Fs>, dir: &Path) -> Result<BTreeMap<String, Arc<Held>>, FsError> {
    fs.create_dir_all(dir)?;
    let mut by_name = BTreeMap::new();
    for entry in fs.list(dir)?.into_iter().filter(|entry| !entry.is_dir && is_name(&entry.name)) {
        let path = dir.join(&entry.name);
        let cursor = match Cursor::decode(&fs.read(&path, CURSOR_BYTES_MAX)?) {
            Some(cursor) => cursor,
            None => {
                set_aside(fs.as_ref(), dir, &entry.name)?;
                Cursor::default()
            }
        };
        by_name.insert(entry.name, Arc::new(Held::new(Arc::clone(fs), path, cursor)));
    }
    Ok(by_name)
}

fn set_aside(fs: &dyn Fs, dir: &Path, name: &str) -> Result<(), FsError> {
    let mut copies = 1_u32;
    let mut target = dir.join(format!("{name}{DAMAGED}"));
    while fs.exists(&target)? {
        copies = copies.saturating_add(1);
        target = dir.join(format!("{name}{DAMAGED}-{copies}"));
    }
    fs.rename(&dir.join(name), &target)?;
    fs.sync_dir(dir)?;
    tracing::error!(
        consumer = name,
        set_aside = %target.display(),
        "position of a consumer is damaged, it begins with the oldest event"
    );
    Ok(())
}

/// Puts a file with these bytes in the place of the one at `path`, atomically and durably.
fn replace(fs: &dyn Fs, path: &Path, bytes: &[u8]) -> Result<(), FsError> {
    let mut new = path.to_owned();
    new.as_mut_os_string().push(NEW);
    match fs.remove_file(&new) {
        Err(error) if error.kind != FsErrorKind::NotFound => return Err(error),
        _ => {}
    }
    let mut file = fs.create(&new)?;
    file.append(bytes)?;
    file.sync_data()?;
    fs.rename(&new, path)?;
    match path.parent() {
        Some(dir) => fs.sync_dir(dir),
        None => Ok(()),
    }
}

#[cfg(test)]
mod tests;
