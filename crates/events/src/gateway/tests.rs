//! The gateway over the embedded log on a simulated disk.

use std::path::Path;

use futures_util::future::BoxFuture;
use parking_lot::Mutex;
use platform::{SimClock, SimFs, SimRng, SystemFs, Threads};
use state::{Database, StateUrl, Statement};

use super::*;
use crate::{
    CustomSchema, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState,
    EmbeddedConfig, EmbeddedLog, ReadLimits, SchemaMode,
};

const NOW_MS: i64 = 1_732_000_000_000;
const DAY_MS: i64 = 86_400_000;

/// Keeps dead letters in memory, or refuses to.
#[derive(Debug, Default)]
struct Letters {
    kept: Mutex<Vec<NewDeadLetter>>,
    discarded: Mutex<Vec<DeadLetterId>>,
    fails: Mutex<bool>,
}

impl DeadLetters for Letters {
    fn put(&self, letter: NewDeadLetter) -> BoxFuture<'_, Result<DeadLetterId, LogError>> {
        Box::pin(async move {
            if *self.fails.lock() {
                return Err(LogError::Closed);
            }
            let mut kept = self.kept.lock();
            kept.push(letter);
            Ok(DeadLetterId(kept.len() as u64))
        })
    }

    fn discard(&self, _: TenantId, id: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        self.discarded.lock().push(id);
        Box::pin(async { Ok(true) })
    }

    fn list(&self, _: DeadLetterQuery) -> BoxFuture<'_, Result<DeadLetterPage, LogError>> {
        Box::pin(async { Ok(DeadLetterPage::default()) })
    }

    fn get(
        &self,
        _: TenantId,
        _: DeadLetterId,
    ) -> BoxFuture<'_, Result<Option<DeadLetter>, LogError>> {
        Box::pin(async { Ok(None) })
    }

    fn replay(&self, _: TenantId, _: DeadLetterId) -> BoxFuture<'_, Result<bool, LogError>> {
        Box::pin(async { Ok(false) })
    }

    fn replaying(&self, _: &str, _: usize) -> BoxFuture<'_, Result<Vec<DeadLetter>, LogError>> {
        Box::pin(async { Ok(Vec::new()) })
    }

    fn give_back(&self, _: DeadLetterId, _: String) -> BoxFuture<'_, Result<(), LogError>> {
        Box::pin(async { Ok(()) })
    }

    fn depths(&self) -> Vec<DeadLetterDepth> {
        Vec::new()
    }
}

struct Fixture {
    gateway: Gateway,
    log: Arc<EmbeddedLog>,
    letters: Arc<Letters>,
    schemas: Arc<CustomSchemas>,
    fs: Arc<SimFs>,
    threads: Option<Threads>,
    _state: tempfile::TempDir,
}

impl Fixture {
    async fn new(settings: GatewaySettings) -> Self {
        let (fs, sim) = (SimFs::new(), SimClock::new(Timestamp::from_millis(NOW_MS)));
        let clock: Arc<dyn Clock> = Arc::new(sim);
        let folder = Path::new("events");
        let disk = Arc::clone(&fs) as Arc<_>;
        let (log, _) =
            EmbeddedLog::open(disk, folder, Arc::clone(&clock), EmbeddedConfig::default())
                .expect("an empty disk");
        let log = Arc::new(log);
        let mut threads = Threads::new();
        let committed = Arc::clone(&log);
        let commit = move || {
            while committed.wait_for_pending() {
                // A refused commit shows in the answers.
                drop(committed.commit_pending());
            }
        };
        threads.spawn("commit", commit, |_| {}).expect("a thread");
        let state = tempfile::tempdir().expect("a folder");
        let url = StateUrl::Sqlite { path: state.path().join("state.sqlite") };
        let disk = SystemFs::new();
        let database = Database::open(url, disk.as_ref(), Arc::clone(&clock));
        let database = database.await.expect("a database");
        database.execute(TENANT, &[]).await.expect("a tenant");
        let schemas = CustomSchemas::open(database, Arc::clone(&clock)).await.expect("no schemas");
        let letters = Arc::new(Letters::default());
        let gateway = Gateway::new(
            Arc::clone(&log) as _,
            Arc::clone(&letters) as _,
            Arc::clone(&schemas),
            clock,
            SimRng::new(7),
            settings,
        );
        Self { gateway, log, letters, schemas, fs, threads: Some(threads), _state: state }
    }

    fn prepare(&self, app: Option<&str>, json: &str) -> Result<Prepared, Refused> {
        let mut envelope = Vec::new();
        schema::envelope_from_json(json.as_bytes(), &mut envelope).expect("an event");
        let source = Source { tenant: TenantId::default_tenant(), app: app.map(Arc::from) };
        let mut memory = EnvelopeMemory::for_request(envelope.len());
        self.gateway.prepare(&source, Timestamp::from_millis(NOW_MS), &envelope, &mut memory)
    }

    async fn ingest(&self, events: &[&str]) -> Result<Vec<EventResult>, LogError> {
        let events = events.iter().map(|json| self.prepare(None, json)).collect();
        let now = Timestamp::from_millis(NOW_MS);
        self.gateway.ingest(&TenantId::default_tenant(), now, events).await
    }

    /// Ingests events and returns, in words, what became of each.
    async fn check(&self, events: &[&str], expected: &[&str]) {
        let results = self.ingest(events).await.expect("a log that takes them");
        let told: Vec<_> = results
            .iter()
            .map(|result| match result {
                EventResult::Accepted { duplicate: true, id, .. } => format!("duplicate {id}"),
                EventResult::Accepted { .. } => "stored".to_owned(),
                EventResult::Rejected(refused) => refused.to_string(),
            })
            .collect();
        assert_eq!(told, expected);
        let stats = self.gateway.stats();
        let rejected: u64 = stats.rejected.values().sum();
        assert_eq!(stats.received, stats.stored + stats.duplicates + rejected, "{stats:?}");
    }

    async fn stored(&self) -> Vec<serde_json::Value> {
        let limits = ReadLimits { entries_max: 100, bytes_max: 1 << 20 };
        let page = self.log.read(Offset(0), limits).await.expect("a log");
        let json = page.entries.iter().map(|entry| {
            let json = schema::envelope_to_json(&entry.envelope).expect("an event");
            serde_json::from_str(&json).expect("JSON")
        });
        json.collect()
    }
}

impl Drop for Fixture {
    fn drop(&mut self) {
        self.log.close();
        if let Some(threads) = self.threads.take() {
            drop(threads.join());
        }
    }
}

const TENANT: &str = "INSERT INTO tenants (id, name, limits, retention, disabled, created_at) \
     VALUES ('default', 'd', '{}', '{}', 0, 0)";

const VIEW: &str = r#"{"appId":"shop","deviceId":"d","screenView":{"screenName":"Home"}}"#;

/// An event with a key and a screen.
fn keyed(key: &str, screen: &str) -> String {
    format!(
        r#"{{"id":"{screen}-1","appId":"shop","deviceId":"d","idempotencyKey":"{key}","timestampMs":{NOW_MS},"screenView":{{"screenName":"{screen}"}}}}"#
    )
}

#[tokio::test]
async fn an_event_is_completed_with_what_the_sender_left_out() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    fixture.check(&[VIEW, &keyed("k", "A")], &["stored", "stored"]).await;
    let stored = fixture.stored().await;
    let id = stored[0]["id"].as_str().expect("an identifier");
    assert_eq!(id.len(), 36);
    assert_eq!(stored[0]["idempotencyKey"], id, "a key of its own");
    assert_eq!(stored[0]["timestampMs"], NOW_MS.to_string());
    assert_eq!(stored[1]["id"], "A-1", "what the sender says stays");
    assert_eq!(stored[1]["idempotencyKey"], "k");
}

#[tokio::test]
async fn a_repetition_is_answered_with_the_first_identifier() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    fixture.check(&[&keyed("k", "A")], &["stored"]).await;
    let again = keyed("k", "A").replace("A-1", "A-2");
    fixture.check(&[&again], &["duplicate A-1"]).await;
    // Without a key, nothing is a repetition.
    fixture.check(&[VIEW, VIEW], &["stored", "stored"]).await;
    // The same key of another app is another key.
    fixture.check(&[&keyed("k", "A").replace("shop", "other")], &["stored"]).await;
    assert_eq!(fixture.stored().await.len(), 4);
    // And so is that of another tenant.
    let mut envelope = Vec::new();
    schema::envelope_from_json(keyed("k", "A").as_bytes(), &mut envelope).expect("an event");
    let source = Source { tenant: TenantId::new("blue").expect("a name"), app: None };
    let now = Timestamp::from_millis(NOW_MS);
    let mut memory = EnvelopeMemory::for_request(0);
    let theirs = fixture.gateway.prepare(&source, now, &envelope, &mut memory);
    let results = fixture.gateway.ingest(&source.tenant, now, vec![theirs]).await.expect("a log");
    assert!(matches!(results[0], EventResult::Accepted { duplicate: false, .. }), "{results:?}");
}

#[tokio::test]
async fn another_event_with_the_same_key_becomes_a_dead_letter() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    let conflict = "idempotency_key belongs to another event, A-1; this one is not stored";
    let events = [&keyed("k", "A")[..], &keyed("k", "B"), VIEW];
    fixture.check(&events, &["stored", conflict, "stored"]).await;
    let letters = fixture.letters.kept.lock().clone();
    let [letter] = &letters[..] else { panic!("one letter: {letters:?}") };
    assert_eq!((letter.consumer.as_str(), letter.attempts), (GATEWAY, 1));
    assert_eq!(
        (letter.subject.as_str(), letter.error.as_str()),
        ("events.shop.screen.view", conflict)
    );
    let stats = fixture.gateway.stats();
    assert_eq!((stats.received, stats.stored, stats.rejected["conflict"]), (3, 2, 1));

    // Replayed, it is an event of its own, once.
    let letter = DeadLetter {
        id: DeadLetterId(1),
        at: Timestamp::from_millis(NOW_MS),
        state: DeadLetterState::Waiting,
        letter: letter.clone(),
    };
    let tenant = TenantId::default_tenant();
    for expected in [false, true] {
        let result = fixture.gateway.replay(&tenant, &letter).await.expect("stored");
        let EventResult::Accepted { id, duplicate, .. } = result else { panic!("{result:?}") };
        assert_eq!((id.as_ref(), duplicate), ("B-1", expected));
    }
    assert_eq!(*fixture.letters.discarded.lock(), [DeadLetterId(1), DeadLetterId(1)]);
    assert_eq!(fixture.stored().await.len(), 3);
}

#[tokio::test]
async fn what_is_not_in_the_dead_letters_is_not_answered() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    fixture.check(&[&keyed("k", "A")], &["stored"]).await;
    *fixture.letters.fails.lock() = true;
    let refused = fixture.ingest(&[VIEW, &keyed("k", "B")]).await;
    assert_eq!(refused, Err(LogError::Closed));
    let stats = fixture.gateway.stats();
    assert_eq!((stats.received, stats.stored, stats.unanswered), (2, 2, 1));
}

#[tokio::test]
async fn nothing_is_counted_that_the_log_does_not_take() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    fixture.fs.set_space(Some(0));
    let refused = fixture.ingest(&[VIEW, VIEW]).await;
    assert!(matches!(refused, Err(LogError::Unavailable { .. })), "{refused:?}");
    let stats = fixture.gateway.stats();
    assert_eq!((stats.received, stats.unanswered), (0, 2));
    assert!(fixture.gateway.kinds().is_empty());
}

#[tokio::test]
async fn events_are_refused_with_a_reason() {
    let limit = VIEW.len();
    let settings = GatewaySettings { event_bytes_max: limit, ..GatewaySettings::default() };
    let fixture = Fixture::new(settings).await;
    let at = |millis: i64| {
        format!(r#"{{"appId":"s","deviceId":"d","timestampMs":{millis},"networkChange":{{}}}}"#)
    };
    let long = VIEW.replace("Home", &"x".repeat(limit));
    for (event, expected, reason) in [
        ("{}", "app_id: value length must be at least 1 characters", "invalid"),
        (
            r#"{"appId":"s","deviceId":"d"}"#,
            "event_type is required (payload must not be empty)",
            "invalid",
        ),
        (&at(NOW_MS - 90 * DAY_MS - 1), "timestamp_ms is more than 90 d in the past", "time"),
        (&at(NOW_MS - 90 * DAY_MS), "stored", ""),
        (&at(NOW_MS + DAY_MS), "stored", ""),
        (&at(NOW_MS + DAY_MS + 1), "timestamp_ms is more than 1 d in the future", "time"),
        (&at(i64::MAX), "timestamp_ms is more than 1 d in the future", "time"),
        (&at(-1), "timestamp_ms is required and must be > 0", "invalid"),
        (&long, "is longer than the limit of", "too_large"),
    ] {
        let before = fixture.gateway.stats();
        let results = fixture.ingest(&[event]).await.expect("a log");
        let told = match &results[0] {
            EventResult::Accepted { .. } => "stored".to_owned(),
            EventResult::Rejected(refused) => refused.to_string(),
        };
        assert!(told.contains(expected), "{event}: {told}");
        let after = fixture.gateway.stats();
        let counted =
            after.rejected.iter().filter(|(name, count)| before.rejected[*name] < **count);
        let counted: Vec<_> = counted.map(|(name, _)| *name).collect();
        assert_eq!(counted.join(" "), reason, "{event}");
    }
}

#[tokio::test]
async fn a_key_of_one_app_sends_no_events_of_another() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    assert!(fixture.prepare(Some("shop"), VIEW).is_ok());
    let refused = fixture.prepare(Some("other"), VIEW).expect_err("foreign");
    assert_eq!(refused.to_string(), "app_id must be 'other', the app that the API key is for");
    assert_eq!(refused.reason(), "app");
}

#[tokio::test]
async fn the_longest_event_is_taken_and_completed() {
    let mut envelope = Vec::new();
    schema::envelope_from_json(VIEW.as_bytes(), &mut envelope).expect("an event");
    let settings =
        GatewaySettings { event_bytes_max: envelope.len(), ..GatewaySettings::default() };
    let fixture = Fixture::new(settings).await;
    let prepared = fixture.prepare(None, VIEW).expect("not too long");
    assert!(prepared.bytes() <= envelope.len() + COMPLETION_BYTES_MAX, "{}", prepared.bytes());
    assert_eq!(prepared.event.envelope.len(), prepared.event.envelope.as_ref().len());
    let longer = VIEW.replace("Home", "Homes");
    assert_eq!(fixture.prepare(None, &longer).expect_err("too long").reason(), "too_large");
}

#[tokio::test]
async fn events_are_counted_by_kind() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    let custom = r#"{"appId":"shop","deviceId":"d","customEvent":{"eventName":"Feature Flag"}}"#;
    let again = keyed("k", "A");
    fixture.ingest(&[VIEW, custom, VIEW, &again]).await.expect("a log");
    fixture.ingest(&[&again]).await.expect("a log");
    let kinds = fixture.gateway.kinds();
    let kinds: Vec<_> = kinds
        .iter()
        .map(|kind| format!("{} {} {} {}", kind.app, kind.category, kind.event_type, kind.events))
        .collect();
    assert_eq!(kinds, ["shop custom Feature Flag 1", "shop screen view 3"]);
}

#[tokio::test]
async fn custom_events_have_to_fit_the_schema_that_is_enforced() {
    let fixture = Fixture::new(GatewaySettings::default()).await;
    let purchase = |price: &str| {
        format!(
            r#"{{"appId":"shop","deviceId":"d","customEvent":{{"eventName":"buy","intParams":{{"price":{price}}}}}}}"#
        )
    };
    let nothing = || Statement::new("UPDATE revision SET number = number", []);
    let refused = "custom_event.price: value is less than the minimum of 1";
    for (mode, expected, warnings) in [
        (SchemaMode::Off, "stored", 0),
        (SchemaMode::Warn, "stored", 1),
        (SchemaMode::Enforce, refused, 1),
    ] {
        let schema = CustomSchema {
            tenant: TenantId::default_tenant(),
            app: "shop".to_owned(),
            event_name: "buy".to_owned(),
            mode,
            schema: r#"{"properties":{"price":{"minimum":1}}}"#.to_owned(),
            updated_at: Timestamp::from_millis(NOW_MS),
        };
        fixture.schemas.put(schema, nothing()).await.expect("a schema");
        fixture.check(&[&purchase("0"), &purchase("1")], &[expected, "stored"]).await;
        assert_eq!(fixture.gateway.stats().schema_warnings, warnings, "{mode}");
    }
    let tenant = TenantId::default_tenant();
    let removed = fixture.schemas.remove(&tenant, "shop", "buy", nothing()).await;
    assert!(removed.expect("a database"));
    fixture.check(&[&purchase("0")], &["stored"]).await;
}
