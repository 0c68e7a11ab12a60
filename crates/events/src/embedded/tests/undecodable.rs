//! What lies in the log and is no event.

use std::time::Duration;

use model::TenantId;

use super::engine::engine;
use crate::contract::Engine;
use crate::{
    Batch, Body, ConsumerConfig, FetchLimits, Lane, LogError, NewEvent, Offset, Settlement,
};

#[tokio::test]
async fn a_consumer_gets_what_cannot_be_decoded_in_its_place_also_again() -> Result<(), LogError> {
    let mut engine = engine().await;
    let event = |name: &'static str| NewEvent {
        envelope: name.into(),
        id: name.into(),
        key: None,
        fingerprint: 0,
        lane: Lane(0),
    };
    let received_at = engine.clock().now();
    let tenant = TenantId::default_tenant();
    let batch = |event| Batch { tenant: tenant.clone(), received_at, events: vec![event] };
    engine.log().append(batch(event("before"))).await?;
    engine.log.core.journal.append(b"junk").expect("append");
    engine.log.core.journal.append(&[]).expect("append");
    engine.restart().await;
    engine.log().append(batch(event("behind"))).await?;

    let consumer = engine.log().consumer(ConsumerConfig::new("sink")).await?;
    let limits = FetchLimits { entries_max: 9, bytes_max: 1 << 20, wait_max: Duration::ZERO };
    for attempt in 1..=2 {
        let deliveries = consumer.fetch(limits).await?;
        let mut seen = Vec::new();
        for delivery in deliveries {
            assert_eq!(delivery.attempt, attempt);
            let (bytes, is_event) = match delivery.body {
                Body::Entry(entry) => (entry.envelope, true),
                Body::Undecodable { bytes, error, .. } => {
                    assert!(!error.is_empty());
                    (bytes, false)
                }
            };
            seen.push((delivery.offset.0, bytes.to_vec(), is_event));
            let again = Settlement::Retry { delay: Duration::ZERO };
            consumer.settle(delivery.offset, again).await?;
        }
        let wanted = [
            (1, b"before".to_vec(), true),
            (2, b"junk".to_vec(), false),
            (3, Vec::new(), false),
            (4, b"behind".to_vec(), true),
        ];
        assert_eq!(seen, wanted);
    }
    consumer.settle(Offset(2), Settlement::Done).await
}
