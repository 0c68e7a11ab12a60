//! A journal on a simulated disk that crashes, fills up, fails and rots.

use std::io;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{
    DamageKind, Durability, Journal, JournalConfig, JournalError, Recovery, Sequence, verify,
};
use platform::{Fs, FsOperation, SimCrash, SimFs, SimRng};
use proptest::prelude::*;

const DIR: &str = "/data/journal";

fn small() -> JournalConfig {
    JournalConfig { segment_bytes_max: 200, ..JournalConfig::default() }
}

type Records = Vec<(u64, Vec<u8>)>;

fn open_with(
    fs: &Arc<SimFs>,
    config: JournalConfig,
) -> Result<(Journal, Recovery, Records), JournalError> {
    let mut records = Vec::new();
    let (journal, recovery) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |sequence, record| {
            records.push((sequence.0, record.to_vec()));
        })?;
    Ok((journal, recovery, records))
}

fn open(fs: &Arc<SimFs>) -> (Journal, Recovery, Records) {
    open_with(fs, small()).expect("open")
}

fn body(sequence: u64) -> Vec<u8> {
    let length = usize::try_from(sequence * 7 % 41).expect("small");
    vec![u8::try_from(sequence % 251).expect("a byte"); length]
}

fn write_records(journal: &Journal, sequences: std::ops::RangeInclusive<u64>) {
    for sequence in sequences {
        assert_eq!(journal.append(&body(sequence)).expect("append"), Sequence(sequence));
    }
    journal.commit().expect("commit");
}

fn sequences(records: &Records) -> Vec<u64> {
    records.iter().map(|(sequence, _)| *sequence).collect()
}

fn segments(fs: &Arc<SimFs>) -> Vec<PathBuf> {
    let entries = fs.list(Path::new(DIR)).expect("list");
    entries.iter().filter(|e| !e.is_dir).map(|e| Path::new(DIR).join(&e.name)).collect()
}

async fn is_durable(journal: &Journal, sequence: u64) -> bool {
    journal.durable(Sequence(sequence)).await.is_ok()
}

#[derive(Default)]
struct Told {
    appended: u64,
    durable: u64,
    removed_before: u64,
}

/// A scripted run; stops at the first error, as an owner would.
fn script(fs: &Arc<SimFs>, durability: Durability, told: &mut Told) -> Result<(), JournalError> {
    let (journal, ..) = open_with(fs, JournalConfig { durability, ..small() })?;
    for round in 1..=8_u64 {
        for _ in 0..=(round % 4) {
            told.appended = journal.append(&body(told.appended + 1))?.0;
        }
        told.durable = journal.commit()?.0;
        if round % 3 == 0 {
            let first = journal.cut()?;
            told.removed_before = first.0.saturating_sub(6);
            journal.remove_before(Sequence(told.removed_before))?;
        }
    }
    journal.close();
    Ok(())
}

fn check_after_crash(
    crash: &SimCrash,
    torn: Option<Arc<SimRng>>,
    durability: Durability,
    at: u64,
) -> bool {
    let fs = SimFs::new();
    let mut told = Told::default();
    fs.crash_at(at, torn);
    let finished = script(&fs, durability, &mut told).is_ok();
    if durability == Durability::Os && !matches!(crash, SimCrash::Kill) {
        told.durable = 0;
    }
    fs.restart(crash);

    let (journal, recovery, records) = open(&fs);
    assert_eq!(recovery.set_aside, [], "crash at {at}: a crash is not damage");
    let found = sequences(&records);
    let last = found.last().copied().unwrap_or(recovery.last.0);
    assert!(last >= told.durable, "crash at {at}: {last} of {} acknowledged", told.durable);
    assert!(last <= told.appended, "crash at {at}");
    assert!(records.iter().all(|(sequence, record)| *record == body(*sequence)));
    let first = found.first().copied().unwrap_or(last + 1);
    assert!(first <= told.removed_before.max(1) || found.is_empty() && told.durable == 0);
    assert_eq!(found, (first..=last).collect::<Vec<_>>(), "crash at {at}: contiguous");

    write_records(&journal, last + 1..=last + 3);
    let (_, recovery, records) = open(&fs);
    assert_eq!(sequences(&records), (first..=last + 3).collect::<Vec<_>>());
    assert_eq!((recovery.torn_bytes, recovery.set_aside.len()), (0, 0));
    finished
}

fn check_every_crash(durability: Durability) {
    let mut at = 0;
    while !check_after_crash(&SimCrash::Kill, None, durability, at) {
        check_after_crash(&SimCrash::PowerLoss, None, durability, at);
        for seed in 0..6 {
            let rng = SimRng::new(seed << 32 | at);
            check_after_crash(&SimCrash::Kill, Some(rng.clone()), durability, at);
            let torn = SimCrash::PowerLossTorn(rng.clone());
            check_after_crash(&torn, Some(rng), durability, at);
        }
        at += 1;
    }
    assert!(at > 30, "the script has more operations than {at}");
}

#[test]
fn every_acknowledged_record_survives_a_crash_at_every_operation() {
    check_every_crash(Durability::Fsync);
}

#[test]
fn without_a_sync_per_commit_a_power_loss_leaves_a_prefix_and_no_damage() {
    check_every_crash(Durability::Os);
}

#[tokio::test]
async fn a_failed_sync_poisons_and_refuses_what_was_queued() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    write_records(&journal, 1..=2);
    let queued = journal.append(b"lost").expect("append");
    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })));

    assert!(matches!(journal.append(b"x"), Err(JournalError::Poisoned { .. })));
    assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })), "no retry");
    assert!(matches!(journal.resume(), Err(JournalError::Poisoned { .. })));
    assert!(journal.poisoned().is_some_and(|reason| reason.contains("sync")));
    assert!(is_durable(&journal, 2).await);
    assert!(!is_durable(&journal, queued.0).await);
    assert!(!journal.wait_for_pending());
}

#[test]
fn a_failed_append_or_new_segment_poisons() {
    for operation in [FsOperation::Append, FsOperation::Create, FsOperation::SyncDir] {
        let fs = SimFs::new();
        let (journal, ..) = open(&fs);
        fs.fail_next(operation, io::ErrorKind::Other);
        journal.append(b"x").expect("queued");
        assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })), "{operation:?}");
    }
}

#[tokio::test]
async fn a_full_disk_refuses_what_is_queued_and_takes_writes_again_once_resumed() {
    for room in [0, 10, 40] {
        let fs = SimFs::new();
        let (journal, ..) = open_with(&fs, JournalConfig::default()).expect("open");
        write_records(&journal, 1..=3);
        let used = fs.allocated_bytes(Path::new(DIR)).expect("used");
        fs.set_space(Some(used + room));
        for _ in 0..4 {
            journal.append(&[7; 30]).expect("queued");
        }
        assert!(matches!(journal.commit(), Err(JournalError::Full { .. })));
        assert!(matches!(journal.append(b"x"), Err(JournalError::Full { .. })));
        assert!(journal.poisoned().is_some());
        if room == 0 {
            assert!(matches!(journal.resume(), Err(JournalError::Full { .. })), "still full");
        }
        assert_eq!(fs.allocated_bytes(Path::new(DIR)).expect("used"), used, "cut back");

        fs.set_space(None);
        journal.resume().expect("resume");
        assert_eq!(journal.poisoned(), None);
        write_records(&journal, 8..=9);
        for (sequence, expected) in [(3, true), (4, false), (7, false), (8, true), (9, true)] {
            assert_eq!(is_durable(&journal, sequence).await, expected, "{sequence}");
        }
        fs.restart(&SimCrash::PowerLoss);
        let (_, recovery, records) = open(&fs);
        assert_eq!(sequences(&records), [1, 2, 3, 8, 9]);
        assert_eq!(recovery.set_aside, [], "what was refused is accounted for");
    }
}

#[test]
fn a_disk_that_cannot_be_cut_back_poisons() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    write_records(&journal, 1..=1);
    fs.set_space(Some(0));
    fs.fail_next(FsOperation::Truncate, io::ErrorKind::Other);
    journal.append(b"x").expect("queued");
    assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })));
}

/// Writes 1..=12 into several segments, flips bits, and opens again twice.
fn check_damage(segment: usize, offset: usize, missing: &[u64], kind: DamageKind) {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    for first in [1, 5, 9] {
        write_records(&journal, first..=first + 3);
        if first < 9 {
            journal.cut().expect("cut");
        }
    }
    let before = segments(&fs);
    let original = fs.read(&before[segment], 1 << 20).expect("read");
    let offset = if offset == usize::MAX { original.len() - 1 } else { offset };
    fs.corrupt(&before[segment], offset, 0x40);
    let checked =
        verify(&(fs.clone() as Arc<dyn Fs>), Path::new(DIR), &mut |_, _| {}).expect("verify");

    let expected: Vec<u64> = (1..=12).filter(|sequence| !missing.contains(sequence)).collect();
    for opening in 1..=2 {
        let (_, recovery, records) = open(&fs);
        assert_eq!(sequences(&records), expected, "opening {opening}");
        assert!(records.iter().all(|(sequence, record)| *record == body(*sequence)));
        let report = recovery.set_aside.first().expect("reported");
        assert_eq!((report.kind, recovery.set_aside.len()), (kind, 1), "{recovery:?}");
        if let Some(first) = missing.first() {
            assert_eq!(report.first_missing, Sequence(*first));
        }
        assert_eq!(recovery.torn_bytes, 0, "nothing is cut away");
        let kept = fs.read(&report.path, 1 << 20).expect("kept under its new name");
        assert_eq!(kept.len(), original.len());
        assert!(report.path.to_string_lossy().ends_with(".damaged"));
        assert_eq!(checked.damage[0].kind, kind);
    }
    let (journal, ..) = open(&fs);
    write_records(&journal, 13..=13);
    journal.cut().expect("cut");
    journal.remove_before(Sequence(14)).expect("remove");
    let (_, recovery, records) = open(&fs);
    assert_eq!((recovery.set_aside.len(), records.len()), (0, 0), "passed");
    let attic = fs.list(&Path::new(DIR).join("damaged")).expect("list");
    assert_eq!(attic.len(), 1, "never deleted");
}

#[test]
fn damage_is_set_aside_and_the_records_behind_it_still_arrive() {
    let first_body = 32 + 16;
    check_damage(0, first_body, &[1], DamageKind::Frame);
    check_damage(1, 32, &[5], DamageKind::Frame);
    check_damage(2, 32, &[9], DamageKind::Frame);
    check_damage(1, 3, &[], DamageKind::Header);
    check_damage(2, 3, &[], DamageKind::Header);
    check_damage(0, usize::MAX, &[4], DamageKind::Frame);
}

#[test]
fn a_missing_segment_is_reported() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    for sequence in 1..=3 {
        write_records(&journal, sequence..=sequence);
        journal.cut().expect("cut");
    }
    fs.remove_file(&segments(&fs)[1]).expect("remove");
    let (_, recovery, records) = open(&fs);
    assert_eq!(sequences(&records), [1, 3]);
    let report = &recovery.set_aside[0];
    assert_eq!((report.kind, report.first_missing), (DamageKind::Gap, Sequence(2)));
    assert_eq!(report.next_valid, Some(Sequence(3)));
}

#[test]
fn a_torn_tail_is_cut_and_verify_only_says_so() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    write_records(&journal, 1..=3);
    let path = segments(&fs).remove(0);
    fs.open_append(&path).expect("open").append(&[1, 2, 3]).expect("append");
    let torn = fs.read(&path, 1 << 20).expect("read");
    let report =
        verify(&(fs.clone() as Arc<dyn Fs>), Path::new(DIR), &mut |_, _| {}).expect("verify");
    assert_eq!((report.torn_bytes, report.records, report.damage.len()), (3, 3, 0));
    assert_eq!(fs.read(&path, 1 << 20).expect("read"), torn);
    let (_, recovery, _) = open(&fs);
    assert_eq!((recovery.torn_bytes, recovery.last), (3, Sequence(3)));
    assert_eq!(fs.read(&path, 1 << 20).expect("read").len(), torn.len() - 3);
}

#[test]
fn the_segment_of_a_newer_program_is_refused_untouched() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    write_records(&journal, 1..=1);
    let path = segments(&fs).remove(0);
    let mut bytes = fs.read(&path, 1 << 20).expect("read");
    bytes[8] = 2;
    let crc = crc32c::crc32c(&bytes[..28]);
    bytes[28..32].copy_from_slice(&crc.to_le_bytes());
    fs.remove_file(&path).expect("remove");
    fs.create(&path).expect("create").append(&bytes).expect("append");
    let error = open_with(&fs, small()).expect_err("refused");
    assert!(matches!(error, JournalError::UnknownVersion { version: 2, .. }));
    assert_eq!(fs.read(&path, 1 << 20).expect("read"), bytes);
}

#[test]
fn the_queue_and_the_record_are_limited() {
    let fs = SimFs::new();
    let config =
        JournalConfig { record_bytes_max: 10, pending_bytes_max: 52, ..JournalConfig::default() };
    let (journal, ..) = open_with(&fs, config).expect("open");
    assert!(matches!(journal.append(&[0; 11]), Err(JournalError::RecordTooLarge { .. })));
    journal.append(&[0; 10]).expect("fits");
    journal.append(&[0; 10]).expect("fits exactly");
    assert!(matches!(journal.append(b""), Err(JournalError::Overloaded { .. })));
    journal.commit().expect("commit");
    journal.append(b"").expect("room again");
}

#[test]
fn a_journal_counts_commits_failures_and_what_waits() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs);
    journal.commit().expect("nothing to do");
    write_records(&journal, 1..=3);
    journal.append(b"waiting").expect("append");
    let stats = journal.stats();
    assert_eq!((stats.commit_records.count(), stats.commit_records.sum), (1, 3));
    assert_eq!((stats.pending_records, stats.failures), (1, 0));
    assert!(stats.pending_bytes > 7 && stats.committed_bytes > 0, "{stats:?}");

    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    journal.commit().expect_err("the sync failed");
    let stats = journal.stats();
    assert_eq!((stats.commit_records.count(), stats.failures, stats.pending_bytes), (1, 1, 0));
}

#[test]
fn a_commit_is_one_append_and_one_sync() {
    let fs = SimFs::new();
    let (journal, ..) = open_with(&fs, JournalConfig::default()).expect("open");
    write_records(&journal, 1..=1);
    let before = fs.operations();
    write_records(&journal, 2..=40);
    assert_eq!(fs.operations() - before, 2);
}

#[tokio::test]
async fn closing_commits_wakes_waiters_and_refuses_the_rest() {
    let fs = SimFs::new();
    let config = JournalConfig { durability: Durability::Os, ..small() };
    let (journal, ..) = open_with(&fs, config).expect("open");
    let sequence = journal.append(b"last").expect("append");
    let (now, never) = (journal.durable(sequence), journal.durable(sequence.next()));
    assert!(journal.wait_for_pending());
    journal.close();
    journal.close();
    assert!(now.await.is_ok());
    assert!(matches!(never.await, Err(JournalError::NotDurable { .. })));
    assert!(matches!(journal.append(b"x"), Err(JournalError::Closed)));
    assert!(!journal.wait_for_pending());
    fs.restart(&SimCrash::PowerLoss);
    assert_eq!(open(&fs).2, [(1, b"last".to_vec())]);
}

#[test]
fn the_machine_s_own_file_system_does_as_the_simulated_one() {
    let folder = tempfile::tempdir().expect("folder");
    let dir = folder.path().join("journal");
    let fs: Arc<dyn Fs> = platform::SystemFs::new();
    let open_here = || {
        let mut records = Vec::new();
        let visit = &mut |sequence: Sequence, record: &[u8]| {
            records.push((sequence.0, record.to_vec()));
        };
        let (journal, recovery) = Journal::open(fs.clone(), &dir, small(), visit).expect("open");
        (journal, recovery, records)
    };
    let (journal, ..) = open_here();
    for first in [1, 4, 7] {
        write_records(&journal, first..=first + 2);
        journal.cut().expect("cut");
    }
    write_records(&journal, 10..=10);
    assert_eq!(journal.remove_before(Sequence(7)).expect("remove"), 2);
    drop(journal);
    let last = dir.join(format!("{:020}.journal", 10));
    fs.open_append(&last).expect("open").append(&[9; 20]).expect("append");

    let (journal, recovery, records) = open_here();
    assert_eq!(sequences(&records), [7, 8, 9, 10]);
    assert_eq!((recovery.torn_bytes, recovery.set_aside.len()), (20, 0));
    write_records(&journal, 11..=11);
    assert_eq!(sequences(&open_here().2), [7, 8, 9, 10, 11]);
}

fn segment_file(first: u64, bytes: &[u8]) -> Arc<SimFs> {
    let fs = SimFs::new();
    fs.create_dir_all(Path::new(DIR)).expect("folder");
    let path = Path::new(DIR).join(format!("{first:020}.journal"));
    fs.create(&path).expect("create").append(bytes).expect("append");
    fs
}

/// Whatever the bytes are, reading them is orderly and the second opening agrees with the first.
fn check_any_bytes(bytes: &[u8]) {
    let fs = segment_file(1, bytes);
    let Ok((journal, _, records)) = open_with(&fs, small()) else { return };
    assert!(records.is_sorted_by(|a, b| a.0 < b.0));
    drop(journal);
    let (_, recovery, again) = open(&fs);
    assert_eq!(again, records);
    assert_eq!(recovery.torn_bytes, 0);
}

#[test]
fn the_committed_corpus_is_read_without_a_panic() {
    let folder = Path::new(env!("CARGO_MANIFEST_DIR")).join("../../fuzz/corpus/journal_reader");
    let disk = platform::SystemFs::new();
    let entries = disk.list(&folder).expect("corpus");
    assert!(!entries.is_empty());
    for entry in entries {
        check_any_bytes(&disk.read(&folder.join(entry.name), 1 << 20).expect("read"));
    }
}

proptest! {
    #[test]
    fn arbitrary_bytes_never_panic(bytes in prop::collection::vec(any::<u8>(), 0..300)) {
        check_any_bytes(&bytes);
    }

    #[test]
    fn a_changed_segment_never_panics_and_never_invents_a_record(
        at in 0_usize..2_000, mask in 1_u8..=255, cut in 0_usize..2_000,
    ) {
        let fs = SimFs::new();
        let (journal, ..) = open_with(&fs, JournalConfig::default()).expect("open");
        write_records(&journal, 1..=20);
        let mut bytes = fs.read(&segments(&fs)[0], 1 << 20).expect("read");
        let length = bytes.len();
        bytes[at % length] ^= mask;
        bytes.truncate(length - cut % length);
        check_any_bytes(&bytes);
        if let Ok((_, _, records)) = open_with(&segment_file(1, &bytes), small()) {
            for (sequence, record) in records {
                prop_assert_eq!(record, body(sequence));
            }
        }
    }

    #[test]
    fn arbitrary_records_round_trip(
        records in prop::collection::vec(prop::collection::vec(any::<u8>(), 0..400), 0..20),
    ) {
        let fs = SimFs::new();
        let (journal, ..) = open(&fs);
        for (index, record) in records.iter().enumerate() {
            journal.append(record).expect("append");
            if index % 3 == 0 {
                journal.commit().expect("commit");
            }
        }
        journal.close();
        let read: Vec<Vec<u8>> = open(&fs).2.into_iter().map(|(_, record)| record).collect();
        prop_assert_eq!(read, records);
    }
}
