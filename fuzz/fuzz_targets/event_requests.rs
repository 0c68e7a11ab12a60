//! Any bytes as a request with events: its events lie within it, and there are not too many.
#![no_main]

use libfuzzer_sys::fuzz_target;
use schema::requests::{self, Form};

fuzz_target!(|body: &[u8]| {
    for form in [Form::Json, Form::Binary] {
        if let Ok(event) = requests::single(form, body) {
            assert!(event.len() <= body.len());
        }
        if let Ok(events) = requests::batch(form, body, 10) {
            assert!((1..=10).contains(&events.len()));
            assert!(events.iter().map(|event| event.len()).sum::<usize>() <= body.len());
        }
    }
});
