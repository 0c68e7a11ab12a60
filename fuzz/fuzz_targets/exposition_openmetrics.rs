//! Any text as an OpenMetrics exposition: what is read as a series reads the same alone.
#![no_main]

use ingest::{Entry, ExpositionFormat, parse_exposition};
use libfuzzer_sys::fuzz_target;

const FORMAT: ExpositionFormat = ExpositionFormat::OpenMetrics;

fuzz_target!(|body: &str| {
    for entry in parse_exposition(body, FORMAT).flatten() {
        let Entry::Sample(sample) = entry else { continue };
        let line = format!("{} 1\n# EOF\n", sample.series.as_str());
        match parse_exposition(&line, FORMAT).next() {
            Some(Ok(Entry::Sample(alone))) => {
                assert_eq!(alone.series.labels(), sample.series.labels());
            }
            other => panic!("{other:?} from {line:?}"),
        }
    }
});
