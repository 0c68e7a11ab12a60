//! Tests on real servers of NATS.

mod consumers;
mod contract;
mod failures;
mod letters;
mod log;
mod security;

use std::future::Future;
use std::sync::Arc;
use std::time::Duration;

use bytes::Bytes;
use events::{Batch, EventKey, EventLog as _, Lane, NewEvent, Offset, Outcome, ReadLimits};
use model::{TenantId, Timestamp};
use platform::{SystemClock, SystemRng};
use secrecy::SecretString;

use crate::settings::Settings;
use crate::{JetStream, connect};

/// Longer than anything that ends takes.
const PATIENCE: Duration = Duration::from_secs(60);

const EVERYTHING: ReadLimits = ReadLimits { entries_max: 100_000, bytes_max: 1 << 30 };

fn settings(url: &str) -> Settings {
    let mut settings = Settings::new(SecretString::from(url.to_owned()));
    settings.stream.bytes_max = 1 << 28;
    settings.dead_letters.bytes_max = 1 << 24;
    settings.poll_interval = Duration::from_millis(20);
    settings.reconnect_wait_max = Duration::from_millis(200);
    settings.append_timeout = Duration::from_secs(30);
    settings
}

async fn open(settings: Settings) -> JetStream {
    let stream = connect(settings, SystemClock::new(), SystemRng::new()).await.expect("settings");
    ready(&stream).await;
    stream
}

async fn ready(stream: &JetStream) {
    eventually("the streams are ready", || async { stream.log.refusal().is_none() }).await;
}

/// Waits until a condition holds; panics when it does not within [`PATIENCE`].
async fn eventually<F: Future<Output = bool>>(what: &str, condition: impl Fn() -> F) {
    let holds = async {
        while !condition().await {
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    };
    tokio::time::timeout(PATIENCE, holds).await.unwrap_or_else(|_| panic!("never: {what}"));
}

/// An event that says `text`, of a device.
fn event(device: u64, key: Option<u128>, text: &str) -> NewEvent {
    let id = format!("{device}-{text}");
    NewEvent {
        envelope: envelope(&id, "shop", &device.to_string(), Some(1)).into(),
        id: id.into(),
        key: key.map(EventKey),
        fingerprint: xxhash_rust::xxh3::xxh3_64(text.as_bytes()),
        lane: Lane(device),
    }
}

/// A binary `causality.v1.EventEnvelope` with a time and, if there is to be a payload, a logout.
pub(crate) fn envelope(id: &str, app: &str, device: &str, payload: Option<u8>) -> Vec<u8> {
    let mut envelope = Vec::new();
    for (field, value) in [(1, id), (2, app), (3, device)] {
        envelope.push(field << 3 | 2);
        envelope.push(u8::try_from(value.len()).expect("short"));
        envelope.extend_from_slice(value.as_bytes());
    }
    envelope.extend([4 << 3, 7]);
    if payload.is_some() {
        envelope.extend([11 << 3 | 2, 0]);
    }
    envelope
}

fn batch(events: Vec<NewEvent>) -> Batch {
    Batch {
        tenant: TenantId::new("team").expect("a tenant"),
        received_at: Timestamp::from_millis(1_000),
        events,
    }
}

fn stored(outcomes: &[Outcome]) -> Vec<Offset> {
    let offset = |outcome: &Outcome| match outcome {
        Outcome::Stored { offset } => *offset,
        other => panic!("not stored: {other:?}"),
    };
    outcomes.iter().map(offset).collect()
}

/// Returns all envelopes of the log in its order.
async fn envelopes(stream: &JetStream) -> Vec<Bytes> {
    let page = stream.log.read(Offset(0), EVERYTHING).await.expect("a page");
    assert_eq!(page.skipped, 0);
    page.entries.into_iter().map(|entry| entry.envelope).collect()
}
