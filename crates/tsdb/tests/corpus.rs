//! The inputs of the fuzz target `store_journal_record`, as a plain test.

use std::path::Path;
use std::sync::Arc;

use journal::{Journal, JournalConfig};
use model::{Cancellation, SampleColumns, SeriesSource as _, TimeRange, Timestamp};
use platform::{Fs, SimClock, SimFs, SimRng, SystemFs};
use tsdb::{Store, StoreConfig};

/// Opens a store whose journal holds `record` in a sound frame, reads everything back, and returns how many series
/// there are; `None` when the record means nothing.
fn check(record: &[u8]) -> Option<usize> {
    let fs = SimFs::new();
    let dir = Path::new("/metrics/journal");
    fs.create_dir_all(dir).expect("an empty disk takes a folder");
    let journal = Journal::open(fs.clone(), dir, JournalConfig::default(), &mut |_, _| {})
        .expect("a new journal")
        .0;
    if journal.append(record).is_err() {
        return None;
    }
    journal.commit().expect("the disk has no limit");
    journal.close();
    drop(journal);

    let clock = SimClock::new(Timestamp::from_millis(1_760_000_000_000));
    let config = StoreConfig { retention_ms: 0, ..StoreConfig::default() };
    let opened = Store::open(fs, Arc::new(clock), SimRng::new(1), Path::new("/metrics"), config);
    // A record that means nothing is damage, which is an error and no panic.
    let (store, _) = opened.ok()?;
    let never = Cancellation::never();
    let series = store.select(&[], TimeRange::ALL, &never).expect("readable");
    for series in &series {
        let mut columns = SampleColumns::new();
        series.read(TimeRange::ALL, &mut columns).expect("readable");
        assert!(columns.timestamps().is_sorted_by(|earlier, later| earlier < later));
    }
    Some(series.len())
}

#[test]
fn journal_records() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/store_journal_record");
    let disk = SystemFs::new();
    for entry in disk.list(&folder).expect("the corpus is committed") {
        check(&disk.read(&folder.join(&entry.name), 1 << 20).expect("a committed file"));
    }
}

#[test]
fn every_byte_of_a_journal_record_may_be_wrong() {
    let folder =
        Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/store_journal_record");
    let sound = SystemFs::new().read(&folder.join("two-series"), 1 << 20).expect("committed");
    assert_eq!(check(&sound), Some(2));
    for index in 0..sound.len() {
        for mask in [0x01, 0x80, 0xff] {
            let mut record = sound.clone();
            record[index] ^= mask;
            check(&record);
        }
        assert_eq!(check(&sound[..index]), None, "a record is whole or it is none: {index}");
    }
}
