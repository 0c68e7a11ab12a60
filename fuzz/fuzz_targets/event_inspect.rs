//! Any bytes as an event: one that is valid keeps what it promises, and can be written as JSON.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schema::{APP_ID_BYTES_MAX, Invalid, Limits, envelope_to_json, inspect, payload_to_json};

fuzz_target!(|body: &[u8]| match inspect(body, &Limits::default()) {
    Ok(event) => {
        assert!((1..=APP_ID_BYTES_MAX).contains(&event.app_id.len()));
        assert!(!event.device_id.is_empty());
        assert!(event.timestamp_ms >= 0);
        assert!(!event.event_type.is_empty());
        payload_to_json(event.kind, event.payload).expect("a valid event");
        envelope_to_json(body).expect("a valid event");
    }
    Err(Invalid::Violations(violations)) => assert!(!violations.is_empty()),
    Err(Invalid::Malformed(_) | Invalid::Rejected(_)) => {}
});
