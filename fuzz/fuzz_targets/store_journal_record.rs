//! Any bytes as a record in a sound frame of the store's journal: opening and reading never panic.
#![no_main]

use std::path::Path;
use std::sync::Arc;

use journal::{Journal, JournalConfig};
use libfuzzer_sys::fuzz_target;
use model::{Cancellation, SampleColumns, SeriesSource as _, TimeRange, Timestamp};
use platform::{Fs, SimClock, SimFs, SimRng};
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

fuzz_target!(|record: &[u8]| {
    check(record);
});
