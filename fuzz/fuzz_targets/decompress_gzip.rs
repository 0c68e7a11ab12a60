//! Any bytes as a body compressed with Gzip: what comes out keeps to the limit.
#![no_main]

use ingest::{Compression, decompress};
use libfuzzer_sys::fuzz_target;

const BYTES_MAX: usize = 1 << 16;

fuzz_target!(|body: &[u8]| {
    if let Ok(plain) = decompress(Compression::Gzip, body, BYTES_MAX) {
        assert!(plain.len() <= BYTES_MAX);
    }
});
