//! Any bytes as a segment: opening never panics, and a second opening reads what the first one did.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use journal::{Journal, JournalConfig};
use libfuzzer_sys::fuzz_target;
use platform::{Fs, SimFs};

const DIR: &str = "/journal";
const SEGMENT: &str = "/journal/00000000000000000001.journal";

fn records(fs: &Arc<SimFs>) -> Option<Vec<(u64, Vec<u8>)>> {
    let mut records = Vec::new();
    let opened = Journal::open(
        fs.clone(),
        Path::new(DIR),
        JournalConfig::default(),
        &mut |sequence, body| {
            records.push((sequence.0, body.to_vec()));
        },
    );
    opened.is_ok().then_some(records)
}

fuzz_target!(|bytes: &[u8]| {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DIR)).expect("an empty disk takes a folder");
    let mut file = fs.create(Path::new(SEGMENT)).expect("an empty folder takes a file");
    file.append(bytes).expect("the disk has no limit");
    let Some(first) = records(&fs) else { return };
    assert!(first.is_sorted_by(|a, b| a.0 < b.0));
    assert_eq!(records(&fs), Some(first));
});
