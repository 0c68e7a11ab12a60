//! Any bytes as an OTLP request in JSON: every key decodes or is refused, and the counts fit together.
#![no_main]

use ingest::{OtlpFormat, decode_otlp};
use libfuzzer_sys::fuzz_target;

fuzz_target!(|body: &[u8]| {
    if let Ok(metrics) = decode_otlp(OtlpFormat::Json, body) {
        assert!(metrics.rejected_data_points() <= metrics.data_points());
        assert_eq!(metrics.rejected_data_points() == 0, metrics.rejection_message().is_empty());
        for series in metrics.batch().series() {
            drop(series.key.decode());
        }
    }
});
