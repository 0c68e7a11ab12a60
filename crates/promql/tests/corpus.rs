//! The committed inputs of the fuzz target, each parsed once: those named `valid…` are taken, the others refused.

use std::path::Path;

use platform::{Fs as _, SystemFs};
use promql::parse;

#[test]
fn queries() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/promql_parse");
    let disk = SystemFs::new();
    let (mut taken, mut refused) = (0, 0);
    for entry in disk.list(&folder).expect("the corpus is committed") {
        let body = disk.read(&folder.join(&entry.name), 1 << 20).expect("a small file");
        let query = String::from_utf8(body).expect("the corpus is text");
        let parsed = parse(&query);
        assert_eq!(parsed.is_ok(), entry.name.starts_with("valid"), "{}: {parsed:?}", entry.name);
        let Ok(expr) = parsed else {
            refused += 1;
            continue;
        };
        taken += 1;
        let printed = expr.to_string();
        let again = parse(&printed).unwrap_or_else(|error| panic!("{printed}: {error}"));
        assert_eq!(again.to_string(), printed);
    }
    assert!(taken > 0 && refused > 0, "{taken} taken, {refused} refused");
}
