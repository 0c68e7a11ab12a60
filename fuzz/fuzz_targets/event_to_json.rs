//! Any bytes as an event: what is written as JSON reads as the same event.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schema::{envelope_from_json, envelope_to_json};

fuzz_target!(|body: &[u8]| {
    let Ok(written) = envelope_to_json(body) else { return };
    let mut binary = Vec::new();
    envelope_from_json(written.as_bytes(), &mut binary).expect("what was just written");
    assert_eq!(envelope_to_json(&binary).expect("what was just written"), written);
});
