use std::sync::atomic::{AtomicUsize, Ordering};

use futures_util::FutureExt as _;
use futures_util::future::BoxFuture;

use super::*;
use crate::{Batch, Bounds, Consumer, ConsumerConfig, JsonPath, Lane, LogStats, Outcome, Page};

/// A log in memory that counts how often it is read.
#[derive(Debug)]
struct MemoryLog {
    entries: Mutex<Vec<Entry>>,
    first: Mutex<Offset>,
    /// What the next page says about damage.
    damaged: Mutex<u64>,
    reads: AtomicUsize,
    end: watch::Sender<Offset>,
}

impl MemoryLog {
    fn new() -> Arc<Self> {
        Arc::new(Self {
            entries: Mutex::default(),
            first: Mutex::default(),
            damaged: Mutex::default(),
            reads: AtomicUsize::new(0),
            end: watch::Sender::new(Offset(0)),
        })
    }

    fn put(&self, tenant: &str, envelope: Bytes) {
        let mut entries = self.entries.lock();
        let offset = Offset(entries.len() as u64);
        entries.push(Entry {
            offset,
            tenant: TenantId::new(tenant).expect("a name"),
            received_at: Timestamp::from_millis(1_700_000_000_000),
            lane: Lane(0),
            envelope,
        });
        self.end.send_replace(offset.next());
    }

    fn reads(&self) -> usize {
        self.reads.load(Ordering::Relaxed)
    }
}

impl EventLog for MemoryLog {
    fn append(&self, _: Batch) -> BoxFuture<'_, Result<Vec<Outcome>, LogError>> {
        unreachable!("nothing is appended")
    }

    fn bounds(&self) -> BoxFuture<'_, Result<Bounds, LogError>> {
        let bounds = self.stats().bounds;
        async move { Ok(bounds) }.boxed()
    }

    fn read(&self, from: Offset, limits: ReadLimits) -> BoxFuture<'_, Result<Page, LogError>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        let entries = self.entries.lock();
        let wanted = entries.iter().filter(|entry| entry.offset >= from);
        let entries: Vec<_> = wanted.take(limits.entries_max).cloned().collect();
        let next = entries.last().map_or(from, |last| last.offset.next());
        let skipped = std::mem::take(&mut *self.damaged.lock());
        async move { Ok(Page { entries, next, skipped }) }.boxed()
    }

    fn offset_at(&self, _: Timestamp) -> BoxFuture<'_, Result<Offset, LogError>> {
        unreachable!("nobody asks for a time")
    }

    fn end(&self) -> watch::Receiver<Offset> {
        self.end.subscribe()
    }

    fn consumer(&self, _: ConsumerConfig) -> BoxFuture<'_, Result<Box<dyn Consumer>, LogError>> {
        unreachable!("nobody consumes")
    }

    fn stats(&self) -> LogStats {
        let bounds = Bounds { first: *self.first.lock(), end: *self.end.borrow() };
        LogStats { bounds, ..LogStats::default() }
    }

    fn refusal(&self) -> Option<String> {
        None
    }
}

fn view(app: &str, device: &str, screen: &str) -> Bytes {
    let json = format!(
        r#"{{"appId":"{app}","deviceId":"{device}","screenView":{{"screenName":"{screen}"}}}}"#
    );
    let mut envelope = Vec::new();
    schema::envelope_from_json(json.as_bytes(), &mut envelope).expect("an event");
    envelope.into()
}

fn everything() -> EventFilter {
    EventFilter::all(TenantId::default_tenant())
}

fn offsets(batch: &TailBatch) -> Vec<u64> {
    batch.events().map(|event| event.offset.0).collect()
}

#[tokio::test]
async fn each_part_of_a_filter_leaves_only_what_it_names() {
    let log = MemoryLog::new();
    log.put("default", view("shop", "d-1", "Home"));
    log.put("default", view("bank", "d-1", "Home"));
    log.put("default", view("shop", "d-2", "Cart"));
    log.put("blue", view("shop", "d-1", "Home"));
    let tails = Tails::new(log);
    let names = |names: &[&str]| names.iter().map(|name| (*name).to_owned()).collect();
    let path = |text: &str| Some(JsonPath::parse(text).expect("a path"));
    let blue = EventFilter::all(TenantId::new("blue").expect("a name"));
    for (filter, expected) in [
        (everything(), vec![0, 1, 2]),
        (blue, vec![3]),
        (EventFilter { apps: names(&["bank", "news"]), ..everything() }, vec![1]),
        (EventFilter { categories: names(&["screen"]), ..everything() }, vec![0, 1, 2]),
        (EventFilter { categories: names(&["user"]), ..everything() }, vec![]),
        (EventFilter { types: names(&["view"]), ..everything() }, vec![0, 1, 2]),
        (EventFilter { types: names(&["exit"]), ..everything() }, vec![]),
        (EventFilter { devices: names(&["d-2"]), ..everything() }, vec![2]),
        (EventFilter { path: path("$[?@.screenName == 'Home']"), ..everything() }, vec![0, 1]),
        (
            EventFilter { devices: names(&["d-1"]), path: path("$.screenExit"), ..everything() },
            vec![],
        ),
    ] {
        let mut tail = tails.follow(filter.clone(), Offset(0));
        let batch = tail.read(100).await.expect("read");
        assert_eq!(offsets(&batch), expected, "{filter:?}");
        assert_eq!(tail.position(), Offset(4), "all was looked at");
    }
}

#[tokio::test]
async fn those_at_one_position_share_a_read() {
    let log = MemoryLog::new();
    let tails = Tails::new(Arc::clone(&log) as Arc<dyn EventLog>);
    let mut following: Vec<_> = (0..64).map(|_| tails.follow(everything(), Offset(0))).collect();
    for round in 1..=3 {
        log.put("default", view("shop", "d-1", "Home"));
        for tail in &mut following {
            assert_eq!(offsets(&tail.read(100).await.expect("read")), [round - 1]);
        }
        assert_eq!(log.reads() as u64, round);
    }
    assert!(following.iter_mut().all(|tail| !tail.has_more()));
    let nothing = following[0].read(100).await.expect("read");
    assert!(nothing.is_empty() && log.reads() == 3, "nothing new, nothing read");
}

#[tokio::test]
async fn what_there_is_no_room_for_comes_the_next_time() {
    let log = MemoryLog::new();
    for device in ["a", "b", "a", "b", "a"] {
        log.put("default", view("shop", device, "Home"));
    }
    let tails = Tails::new(log);
    let filter = EventFilter { devices: vec!["a".to_owned()], ..everything() };
    let mut tail = tails.follow(filter, Offset(0));
    assert_eq!(offsets(&tail.read(2).await.expect("read")), [0, 2]);
    assert_eq!(tail.position(), Offset(3));
    assert_eq!(offsets(&tail.read(2).await.expect("read")), [4]);
    assert_eq!(tail.position(), Offset(5));
}

#[tokio::test]
async fn a_gap_is_told_once_to_whom_it_concerns() {
    let log = MemoryLog::new();
    for _ in 0..4 {
        log.put("default", view("shop", "d-1", "Home"));
    }
    log.put("default", Bytes::from_static(b"\xff"));
    log.put("blue", Bytes::from_static(b"\xff"));
    let tails = Tails::new(Arc::clone(&log) as Arc<dyn EventLog>);
    let mut tail = tails.follow(everything(), Offset(1));
    *log.first.lock() = Offset(3);
    *log.damaged.lock() = 10;
    let batch = tail.read(100).await.expect("read");
    assert_eq!((offsets(&batch), batch.skipped), (vec![3], 2 + 10 + 1));
    *log.first.lock() = Offset(6);
    let batch = tail.read(100).await.expect("read");
    assert!(batch.is_empty(), "it was there already");

    let mut late = tails.follow(everything(), Offset(2));
    let batch = late.read(100).await.expect("read");
    assert_eq!((offsets(&batch), batch.skipped), (vec![], 4), "all of it is gone");
}

#[tokio::test]
async fn pages_are_bounded_and_few_are_kept() {
    let log = MemoryLog::new();
    let count = (PAGES_KEPT_MAX + 2) * PAGE_LIMITS.entries_max;
    for _ in 0..count {
        log.put("default", view("shop", "d-1", "Home"));
    }
    let tails = Tails::new(Arc::clone(&log) as Arc<dyn EventLog>);
    let mut tail = tails.follow(everything(), Offset(0));
    let mut seen = 0;
    while tail.has_more() {
        let read = tail.read(usize::MAX).await.expect("read").events().len();
        assert!(read <= PAGE_LIMITS.entries_max);
        seen += read;
    }
    assert_eq!((seen, tails.pages.lock().len()), (count, PAGES_KEPT_MAX));
}

#[tokio::test]
async fn waiting_ends_when_there_is_more_or_the_log_closes() {
    let log = MemoryLog::new();
    let tails = Tails::new(Arc::clone(&log) as Arc<dyn EventLog>);
    let mut tail = tails.follow(everything(), Offset(0));
    assert_eq!(tail.more().now_or_never(), None, "there is nothing");
    log.put("default", view("shop", "d-1", "Home"));
    assert_eq!(tail.more().now_or_never(), Some(Ok(())));
    assert!(tail.has_more());
}

#[tokio::test]
async fn an_event_has_its_json_form() {
    let log = MemoryLog::new();
    log.put("default", view("shop", "d-1", "Home"));
    let mut tail = Tails::new(log).follow(everything(), Offset(0));
    let batch = tail.read(1).await.expect("read");
    let event = batch.events().next().expect("an event");
    assert_eq!(
        event.json(),
        r#"{"appId":"shop","deviceId":"d-1","screenView":{"screenName":"Home"}}"#
    );
    assert_eq!(
        (&*event.app, event.category, &*event.event_type, &*event.device),
        ("shop", "screen", "view", "d-1")
    );
}
