//! Any bytes as a report of an agent: what is understood is within all limits and is read again as it was written.
#![no_main]

use libfuzzer_sys::fuzz_target;
use report::{PULLS_PER_REPORT_MAX, Report};

fuzz_target!(|body: &[u8]| {
    if let Ok(report) = Report::from_json(body) {
        assert!(report.pulls.len() <= PULLS_PER_REPORT_MAX);
        assert_eq!(Report::from_json(&report.to_json()).expect("our own"), report);
    }
});
