//! Any bytes as a remote write 2.0 request: every series has samples, and its key decodes or is refused.
#![no_main]

use ingest::{LabelArena, decode_remote_write_v2};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    let mut arena = LabelArena::new();
    if let Ok(request) = decode_remote_write_v2(body, &mut arena) {
        assert_eq!(request.counts.samples, request.batch.sample_count() as u64);
        for series in request.batch.series() {
            assert!(!series.samples.is_empty());
            drop(series.key.decode());
        }
    }
});
