//! Damaged blocks: found, reported, set aside, never served.

use super::*;
use crate::store::blocks::BLOCKS_DIR;
use crate::verify;

const DIR: &str = "/data/metrics";

fn rig_with_two_blocks() -> (Rig, Vec<PathBuf>) {
    let rig = Rig::new(unlimited());
    for (series, time) in [("a", NOW), ("b", NOW + 1)] {
        rig.append(&[(series, time, 1.0)]);
        rig.store.commit().expect("committed");
        rig.flush();
    }
    let folder = Path::new(DIR).join(BLOCKS_DIR);
    let entries = rig.fs.list(&folder).expect("listed");
    let paths: Vec<_> = entries.iter().map(|entry| folder.join(&entry.name)).collect();
    assert_eq!(paths.len(), 2);
    (rig, paths)
}

fn check_verify(rig: &Rig, blocks: u64, samples: u64, problem: Option<&str>) {
    let fs: Arc<dyn Fs> = Arc::clone(&rig.fs) as Arc<dyn Fs>;
    let report = verify(&fs, Path::new(DIR)).expect("verified");
    assert_eq!((report.blocks, report.samples), (blocks, samples), "{report:?}");
    assert_eq!(report.problems.len(), usize::from(problem.is_some()), "{report:?}");
    assert!(report.problems.iter().all(|line| line.contains(problem.unwrap_or_default())));
}

#[test]
fn a_damaged_chunk_is_found_by_verify_and_is_an_error_when_read() {
    let (rig, paths) = rig_with_two_blocks();
    check_verify(&rig, 2, 2, None);
    rig.fs.corrupt(&paths[0], 9, 1);
    check_verify(&rig, 1, 1, Some("byte 8"));
    let selected = rig.store.select(&[], TimeRange::ALL, &model::Cancellation::never());
    let read = |series: &Arc<dyn model::Series>| {
        series.read(TimeRange::ALL, &mut model::SampleColumns::new()).is_ok()
    };
    assert_eq!(selected.expect("selected").iter().map(read).collect::<Vec<_>>(), [false, true]);
}

#[test]
fn a_block_that_cannot_be_opened_is_put_aside_and_the_rest_is_served() {
    let (rig, paths) = rig_with_two_blocks();
    let len = rig.fs.read(&paths[0], 1 << 20).expect("read").len();
    rig.fs.corrupt(&paths[0], len - 1, 1);
    let rig = rig.reopened();
    assert_eq!(rig.report.quarantined.len(), 1, "{:?}", rig.report.quarantined);
    assert_eq!(rig.samples("b"), [(NOW + 1, 1.0)]);
    let aside = Path::new(DIR).join("quarantine").join(paths[0].file_name().expect("named"));
    assert!(rig.fs.exists(&aside).expect("examined"), "nothing of it is lost");
    check_verify(&rig, 1, 1, None);
    let rig = rig.reopened();
    assert_eq!(rig.store.health().quarantined.len(), 1, "the store is not whole yet");
    rig.fs.remove_file(&aside).expect("removed");
    assert!(rig.reopened().report.quarantined.is_empty(), "somebody has looked");
}

/// Writes three blocks, lets `damage` loose on the folder, and returns the store opened again.
fn after_damage(damage: impl FnOnce(&SimFs, &Path)) -> Rig {
    let rig = Rig::new(unlimited());
    for (day, series) in ["a", "b", "c"].into_iter().enumerate() {
        let time = NOW - 86_400_000 * i64::try_from(10 - day).expect("small");
        rig.append(&[(series, time, 1.0), ("everywhere", time, 2.0)]);
        rig.flush();
    }
    assert_eq!(rig.store.stats().blocks, 3);
    rig.append(&[("head", NOW, 3.0)]);
    rig.store.close();
    damage(&rig.fs, Path::new("/data/metrics"));
    let Rig { fs, config, store, .. } = rig;
    drop(store);
    Rig::on(fs, config)
}

#[test]
fn a_damaged_or_lost_manifest_is_made_anew() {
    let intact = after_damage(|_, _| {}).contents();
    let damaged = after_damage(|fs, dir| fs.corrupt(&dir.join("manifest"), 20, 1));
    let lost = after_damage(|fs, dir| fs.remove_file(&dir.join("manifest")).expect("removed"));
    for rig in [damaged, lost] {
        assert_eq!(rig.contents(), intact);
        assert_eq!(rig.report.quarantined.len(), 1, "{:?}", rig.report.quarantined);
        let rig = rig.reopened();
        assert_eq!(rig.contents(), intact);
        assert_eq!(rig.store.health(), StoreHealth::default());
    }
}

#[test]
fn what_is_written_after_the_journal_was_lost_is_kept() {
    let rig = Rig::new(unlimited());
    for round in 0..5 {
        rig.append(&[("a", NOW + round, 1.0)]);
        rig.store.commit().expect("committed");
    }
    rig.flush();
    rig.store.close();
    let Rig { fs, config, store, .. } = rig;
    drop(store);
    fs.remove_dir_all(&Path::new(DIR).join(JOURNAL_DIR)).expect("removed");
    let rig = Rig::on(fs, config);
    assert_eq!(rig.report.quarantined.len(), 1, "{:?}", rig.report.quarantined);
    assert_eq!(rig.samples("a").len(), 5);
    rig.append(&[("a", NOW + 5, 1.0)]);
    let rig = rig.reopened();
    assert_eq!(rig.store.health(), StoreHealth::default());
    assert_eq!(rig.samples("a").len(), 6);
}

#[test]
fn a_store_of_a_newer_version_is_refused_and_left_as_it_is() {
    let rig = Rig::new(unlimited());
    rig.append(&[("a", NOW, 1.0)]);
    rig.flush();
    rig.store.close();
    let Rig { fs, clock, config, store, .. } = rig;
    drop(store);
    let path = Path::new(DIR).join("manifest");
    let newer = "tinyobs metrics 2\nsomething else\n";
    let newer = format!("{newer}checksum {:08x}\n", crc32c::crc32c(newer.as_bytes()));
    fs.remove_file(&path).expect("removed");
    fs.create(&path).and_then(|mut file| file.append(newer.as_bytes())).expect("written");
    let operations = fs.operations();
    let refused = open(&fs, &clock, &config).err();
    assert!(matches!(refused, Some(StoreError::UnknownVersion { .. })), "{refused:?}");
    assert_eq!(fs.operations(), operations, "nothing is changed");
}
