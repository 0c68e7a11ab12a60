//! Measures what an event costs on its way: `cargo run --release -p schema --example cost`.
//!
//! Prints nanoseconds per event of about 350 bytes of JSON, the best of some rounds and the median.

#![expect(clippy::disallowed_methods, reason = "measures real time")]
#![expect(clippy::print_stdout, reason = "prints what it measured")]

use std::hint::black_box;
use std::time::Instant;

use schema::requests::{self, Form};
use schema::{Limits, envelope_from_json, envelope_to_json, inspect};

const EVENT: &str = r#"{"appId":"dev-app","deviceId":"0194e0c2-6f1e-7c3a-9d1e-2b6d3f1a0001","timestampMs":1738915200000,"idempotencyKey":"6f1c6d0e-5a2b-4f0e-8f43-0c0f6b1a7d11","deviceContext":{"platform":"PLATFORM_IOS","osVersion":"17.0","appVersion":"1.2.3","screenWidth":1179,"screenHeight":2556,"locale":"en_US"},"screenView":{"screenName":"HomeScreen","params":{"tab":"deals","source":"push"}}}"#;

fn main() {
    let limits = Limits::default();
    let mut binary = Vec::new();
    envelope_from_json(EVENT.as_bytes(), &mut binary).expect("an event");
    let body = format!(r#"{{"events":[{}]}}"#, vec![EVENT; 1_000].join(","));
    println!("event: {} bytes of JSON, {} bytes of binary", EVENT.len(), binary.len());

    let mut out = Vec::new();
    measure("JSON to binary", 1, || {
        out.clear();
        envelope_from_json(black_box(EVENT.as_bytes()), &mut out).expect("an event");
        out.len()
    });
    measure("inspect", 1, || inspect(black_box(&binary), &limits).expect("valid").id.len());
    measure("JSON to binary, inspect", 1, || {
        out.clear();
        envelope_from_json(black_box(EVENT.as_bytes()), &mut out).expect("an event");
        inspect(&out, &limits).expect("valid").id.len()
    });
    measure("binary to JSON", 1, || envelope_to_json(black_box(&binary)).expect("valid").len());
    measure("batch of 1,000 in JSON: split", 1_000, || {
        requests::batch(Form::Json, black_box(body.as_bytes()), 1_000).expect("a batch").len()
    });
}

/// Prints what one event costs when `work` does `events` of them.
fn measure(what: &str, events: usize, mut work: impl FnMut() -> usize) {
    const ROUNDS: usize = 501;
    // Short, so that some of them are not interrupted.
    let calls = (1_000 / events).max(1);
    let mut rounds = [0.0; ROUNDS];
    for round in &mut rounds {
        let start = Instant::now();
        for _ in 0..calls {
            black_box(work());
        }
        *round = start.elapsed().as_secs_f64() * 1e9 / (calls * events) as f64;
    }
    rounds.sort_by(f64::total_cmp);
    println!("{what}: {:.0} ns at best, {:.0} ns in the middle", rounds[0], rounds[ROUNDS / 2]);
}
