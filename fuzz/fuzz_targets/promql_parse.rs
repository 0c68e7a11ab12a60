//! Any text as PromQL: what is read prints as text that reads and prints the same.
#![no_main]

use libfuzzer_sys::fuzz_target;
use promql::parse;

fuzz_target!(|query: &str| {
    let Ok(expr) = parse(query) else { return };
    let printed = expr.to_string();
    // Printing spells out what was short, so the text may outgrow the limit of its length.
    if printed.len() > promql::QUERY_BYTES_MAX {
        return;
    }
    let again = parse(&printed).unwrap_or_else(|error| panic!("{printed:?}: {error}"));
    assert_eq!(again.to_string(), printed);
});
