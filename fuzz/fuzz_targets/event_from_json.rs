//! Any bytes as an event in JSON: what is read is written again as JSON that reads and writes the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schema::{envelope_from_json, envelope_to_json};

fuzz_target!(|body: &[u8]| {
    let mut binary = Vec::new();
    if envelope_from_json(body, &mut binary).is_err() {
        assert!(binary.is_empty());
        return;
    }
    let written = envelope_to_json(&binary).expect("what was just written");
    let mut again = Vec::new();
    envelope_from_json(written.as_bytes(), &mut again).expect("what was just written");
    assert_eq!(envelope_to_json(&again).expect("what was just written"), written);
});
