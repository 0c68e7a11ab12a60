//! What is bounded, at its bounds.

use model::TenantId;
use platform::Clock;

use super::client::{Client, append, begin, event};
use crate::embedded::record::{ID_BYTES_MAX, RECORD_HEADER_BYTES};
use crate::{Batch, EmbeddedConfig, EventLog, LogError, NewEvent};

fn batch(client: &Client, events: Vec<NewEvent>) -> Batch {
    let received_at = Clock::now(&client.clock);
    Batch { tenant: TenantId::default_tenant(), received_at, events }
}

/// Queues up to the limit, is refused beyond it, and has room again once the disk has taken what waited.
async fn check_in_flight(config: EmbeddedConfig) {
    let client = Client::new(config);
    let log = client.open();
    let mut waiting = log.append(batch(&client, vec![event(2), event(4)]));
    begin(&mut waiting);
    let refused = log.append(batch(&client, vec![event(6), event(8)])).await;
    assert!(matches!(refused, Err(LogError::Overloaded { .. })), "{refused:?}");
    let mut fits = log.append(batch(&client, vec![event(6)]));
    begin(&mut fits);
    assert_eq!(log.stats().in_flight, 3);
    let refused = log.append(batch(&client, vec![event(8)])).await;
    assert!(matches!(refused, Err(LogError::Overloaded { .. })), "{refused:?}");
    log.commit_pending().expect("committed");
    waiting.await.expect("stored");
    fits.await.expect("stored");
    append(&log, &client.clock, vec![event(8), event(10), event(12)]).await.expect("room again");
    assert_eq!((log.stats().in_flight, log.stats().stored), (0, 6));
}

#[tokio::test]
async fn events_in_flight_are_limited() {
    check_in_flight(EmbeddedConfig { in_flight_events_max: 3, ..EmbeddedConfig::default() }).await;
}

#[tokio::test]
async fn bytes_in_flight_are_limited() {
    let three: usize = [2, 4, 6]
        .map(|number| {
            let NewEvent { envelope, id, .. } = event(number);
            RECORD_HEADER_BYTES + TenantId::DEFAULT.len() + id.len() + envelope.len()
        })
        .iter()
        .sum();
    // Events 8, 10 and 12 together are two bytes longer.
    let in_flight_bytes_max = three + 2;
    check_in_flight(EmbeddedConfig { in_flight_bytes_max, ..EmbeddedConfig::default() }).await;
}

#[tokio::test]
async fn the_length_of_an_event_and_of_its_identifier_are_limited() {
    let client = Client::new(EmbeddedConfig { event_bytes_max: 10, ..EmbeddedConfig::default() });
    let log = client.open();
    let long = |bytes: usize| NewEvent { envelope: vec![b'1'; bytes].into(), ..event(1) };
    let refused = append(&log, &client.clock, vec![event(2), long(11)]).await;
    assert_eq!(refused, Err(LogError::TooLarge { bytes: 11, limit_bytes: 10 }));
    append(&log, &client.clock, vec![long(10)]).await.expect("exactly");
    assert_eq!(log.stats().stored, 1, "all or none");

    let named = |bytes: usize| NewEvent { id: "x".repeat(bytes).into(), key: None, ..event(1) };
    let refused = append(&log, &client.clock, vec![named(ID_BYTES_MAX + 1)]).await;
    let (bytes, limit_bytes) = (ID_BYTES_MAX + 1, ID_BYTES_MAX);
    assert_eq!(refused, Err(LogError::TooLarge { bytes, limit_bytes }));
    append(&log, &client.clock, vec![named(ID_BYTES_MAX)]).await.expect("exactly");
}
