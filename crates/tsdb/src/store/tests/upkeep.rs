//! Maintenance when a part of it fails: the rest goes on, and nothing piles up.

use std::time::Duration;

use super::*;
use crate::store::blocks::BLOCKS_DIR;

fn block_files(rig: &Rig) -> Vec<PathBuf> {
    let folder = Path::new("/data/metrics").join(BLOCKS_DIR);
    let entries = rig.fs.list(&folder).expect("listed");
    entries.iter().map(|entry| folder.join(&entry.name)).collect()
}

fn cut_after_each_batch() -> StoreConfig {
    StoreConfig { journal_bytes_max: 1, ..unlimited() }
}

#[test]
fn blocks_that_the_manifest_could_not_take_in_do_not_pile_up() {
    let rig = Rig::new(cut_after_each_batch());
    rig.append(&[("a", NOW, 1.0), ("b", NOW, 2.0)]);
    rig.store.commit().expect("committed");
    let before = rig.contents();
    for _ in 0..4 {
        rig.fs.fail_next(FsOperation::Rename, std::io::ErrorKind::Other);
        assert!(rig.store.maintain().is_err());
        assert!(block_files(&rig).len() <= 1, "{:?}", block_files(&rig));
        assert_eq!(rig.contents(), before);
    }
    rig.store.maintain().expect("maintained");
    assert_eq!(block_files(&rig).len(), 1);
    assert_eq!(rig.store.health(), StoreHealth::default());
    assert_eq!(rig.contents(), before);
    assert_eq!(rig.reopened().contents(), before);
}

#[test]
fn a_disk_too_full_for_merging_blocks_takes_samples_in() {
    let rig = Rig::new(cut_after_each_batch());
    for round in 0..3 {
        rig.append(&[("a", NOW + round, 1.0)]);
        rig.store.maintain().expect("maintained");
    }
    rig.append(&[("a", NOW + 3, 1.0)]);
    rig.store.commit().expect("committed");
    // Room for another block, but not for one made of all.
    let used = rig.fs.allocated_bytes(Path::new("/")).expect("counted");
    let block = rig.fs.read(&block_files(&rig)[0], 1 << 20).expect("read").len() as u64;
    rig.fs.set_space(Some(used + 3 * block));
    assert!(rig.store.maintain().is_err());
    assert_eq!(rig.store.stats().blocks, 4);
    let health = rig.store.health();
    assert_eq!(health.read_only, None);
    rig.append(&[("a", NOW + 4, 1.0)]);
    // Not tried all the time, and said all the time.
    rig.fs.set_space(None);
    rig.clock.advance(Duration::from_secs(299));
    assert_eq!(rig.store.maintain().expect("maintained").blocks_compacted, 0);
    assert_eq!(rig.store.health().last_maintenance_error, health.last_maintenance_error);
    rig.clock.advance(Duration::from_secs(1));
    assert_eq!(rig.store.maintain().expect("maintained").blocks_compacted, 4);
    assert_eq!(rig.store.health(), StoreHealth::default());
    assert_eq!(rig.samples("a").len(), 5);
}

#[test]
fn a_damaged_block_is_named_and_the_others_are_merged_without_it() {
    let rig = Rig::new(cut_after_each_batch());
    for round in 0..3 {
        rig.append(&[("a", NOW + round, 1.0), ("b", NOW, 2.0)]);
        rig.store.maintain().expect("maintained");
    }
    rig.fs.corrupt(&block_files(&rig)[1], 9, 1);
    for round in 3..8 {
        rig.append(&[("a", NOW + round, 1.0)]);
        rig.store.maintain().expect("maintained");
    }
    let health = rig.store.health();
    assert_eq!((health.quarantined.len(), health.last_maintenance_error), (1, None));
    assert!(health.quarantined[0].contains("0000000000000002"), "{:?}", health.quarantined);
    let stats = rig.store.stats();
    assert!(stats.blocks < 8, "{} blocks", stats.blocks);
    assert!(block_files(&rig)[0].ends_with("0000000000000001"), "not past the damaged one");
}

#[test]
fn retention_goes_on_when_nothing_can_be_written_to_the_journal() {
    let day_ms = 24 * 3_600_000;
    let config = StoreConfig { retention_ms: day_ms, journal_bytes_max: 1, ..unlimited() };
    let rig = Rig::new(config);
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.maintain().expect("maintained");
    assert_eq!(rig.store.stats().blocks, 1);
    rig.append(&[("a", NOW + 1, 1.0)]);
    rig.fs.fail_next(FsOperation::SyncData, std::io::ErrorKind::Other);
    assert!(rig.store.commit().is_err());
    rig.clock.set_now(Timestamp::from_millis(NOW + day_ms + 1));
    for _ in 0..3 {
        assert!(rig.store.maintain().is_err());
        rig.clock.advance(Duration::from_secs(600));
    }
    assert_eq!(rig.store.stats().blocks, 0);
    assert!(rig.store.health().read_only.is_some());
}

#[test]
fn descriptions_alone_do_not_make_the_journal_grow_for_ever() {
    let rig = Rig::new(StoreConfig { journal_bytes_max: 10_000, ..unlimited() });
    let journal = Path::new("/data/metrics").join(JOURNAL_DIR);
    for round in 0..100 {
        let mut batch = WriteBatch::new();
        let help = round.to_string().repeat(1_000);
        let metadata =
            model::MetricMetadata { metric_type: MetricType::Gauge, help, unit: String::new() };
        batch.push_metadata("a".to_owned(), metadata);
        rig.store.append(&batch, AppendMode::Partial).expect("accepted");
        rig.store.commit().expect("committed");
        rig.store.maintain().expect("maintained");
    }
    let bytes = rig.fs.allocated_bytes(&journal).expect("counted");
    assert!(bytes < 20_000, "{bytes} bytes");
    assert_eq!(rig.store.stats().blocks, 0);
    let before = rig.store.metadata(None);
    assert_eq!(before.len(), 1);
    assert_eq!(rig.reopened().store.metadata(None), before);
}

#[test]
fn descriptions_that_a_full_disk_refused_are_written_once_there_is_space() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.store.commit().expect("committed");
    rig.fs.set_space(Some(10));
    let mut batch = WriteBatch::new();
    let metadata = model::MetricMetadata {
        metric_type: MetricType::Gauge,
        help: "help".to_owned(),
        unit: String::new(),
    };
    batch.push_metadata("a".to_owned(), metadata);
    rig.store.append(&batch, AppendMode::Partial).expect("queued");
    assert!(rig.store.commit().is_err());
    rig.fs.set_space(None);
    rig.store.maintain().expect("maintained");
    // The sender tries again.
    let receipt = rig.store.append(&batch, AppendMode::Partial).expect("queued");
    rig.store.commit().expect("committed");
    drop(receipt);
    let before = rig.store.metadata(None);
    assert_eq!(before.len(), 1);
    assert_eq!(rig.reopened().store.metadata(None), before);
}

#[test]
fn a_clock_that_is_wrong_for_a_while_deletes_nothing() {
    let day_ms = 24 * 3_600_000;
    let config = StoreConfig { retention_ms: day_ms, journal_bytes_max: 1, ..unlimited() };
    let rig = Rig::new(config);
    for round in 0..4 {
        rig.append(&[("a", NOW + round, 1.0)]);
        rig.store.maintain().expect("maintained");
    }
    let before = rig.contents();
    rig.clock.set_now(Timestamp::from_millis(NOW + 400 * day_ms));
    for _ in 0..9 {
        rig.clock.advance(Duration::from_secs(60));
        rig.store.maintain().expect("maintained");
    }
    rig.clock.set_now(Timestamp::from_millis(NOW));
    rig.store.maintain().expect("maintained");
    assert_eq!(rig.contents(), before);
    assert_eq!(rig.reopened().contents(), before);
}

#[test]
fn a_series_goes_on_after_the_clock_was_ahead() {
    let rig = Rig::new(StoreConfig::default());
    let year_ms = 365 * 24 * 3_600_000;
    rig.append(&[("a", NOW, 1.0)]);
    rig.clock.set_now(Timestamp::from_millis(NOW + year_ms));
    rig.append(&[("a", NOW + year_ms, 2.0)]);
    rig.clock.set_now(Timestamp::from_millis(NOW + 1_000));
    rig.append(&[("a", NOW + 1_000, 3.0)]);
    assert_eq!(rig.samples("a"), [(NOW, 1.0), (NOW + 1_000, 3.0), (NOW + year_ms, 2.0)]);
}
