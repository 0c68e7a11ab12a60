//! The committed inputs of the fuzz targets, each read once: those named `valid…` are taken, the others refused.

#![expect(
    clippy::disallowed_methods,
    reason = "reads committed files, with no other crate of ours"
)]

use std::path::Path;

use schema::requests::{self, Form};
use schema::{Limits, envelope_from_json, envelope_to_json, inspect};

/// Hands every input of a target to `take`, which returns whether it is taken.
#[track_caller]
fn check(target: &str, take: impl Fn(&[u8]) -> bool) {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus").join(target);
    let (mut taken, mut refused) = (0, 0);
    for entry in std::fs::read_dir(&folder).expect("the corpus is committed") {
        let path = entry.expect("a file").path();
        let name = path.file_name().expect("a name").to_string_lossy().into_owned();
        let is_taken = take(&std::fs::read(&path).expect("a small file"));
        assert_eq!(is_taken, name.starts_with("valid"), "{name}");
        *(if is_taken { &mut taken } else { &mut refused }) += 1;
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}

#[test]
fn events_in_json() {
    check("event_from_json", |body| {
        let mut binary = Vec::new();
        let is_taken = envelope_from_json(body, &mut binary).is_ok();
        if is_taken {
            let written = envelope_to_json(&binary).expect("what was just written");
            let mut again = Vec::new();
            envelope_from_json(written.as_bytes(), &mut again).expect("what was just written");
            assert_eq!(envelope_to_json(&again).as_ref(), Ok(&written));
        }
        is_taken
    });
}

#[test]
fn events_in_binary() {
    check("event_inspect", |body| inspect(body, &Limits::default()).is_ok());
    check("event_to_json", |body| envelope_to_json(body).is_ok());
}

#[test]
fn requests() {
    check("event_requests", |body| {
        [Form::Json, Form::Binary].into_iter().any(|form| {
            requests::single(form, body).is_ok() || requests::batch(form, body, 10).is_ok()
        })
    });
}
