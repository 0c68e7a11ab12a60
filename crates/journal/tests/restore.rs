//! A journal that goes on by itself after its disk failed.

use std::io;
use std::path::Path;
use std::sync::Arc;

use journal::{Durability, Journal, JournalConfig, JournalError, Recovery, Sequence};
use platform::{Fs, FsOperation, SimCrash, SimFs, SimRng};

const DIR: &str = "/data/journal";

fn open(fs: &Arc<SimFs>) -> Result<(Journal, Recovery, Vec<u64>), JournalError> {
    let config = JournalConfig { segment_bytes_max: 150, ..JournalConfig::default() };
    let mut found = Vec::new();
    let (journal, recovery) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |sequence, record| {
            assert_eq!(record, body(sequence.0));
            found.push(sequence.0);
        })?;
    Ok((journal, recovery, found))
}

fn body(sequence: u64) -> Vec<u8> {
    vec![
        u8::try_from(sequence % 251).expect("a byte");
        usize::try_from(sequence % 31).expect("small")
    ]
}

/// What an owner knows: of each record whether it was acknowledged, refused for good, or neither.
#[derive(Default)]
struct Told {
    acknowledged: Vec<u64>,
    refused: Vec<u64>,
    failures: u64,
}

/// Commits what was appended; an owner that is refused restores and goes on.
fn commit(journal: &Journal, appended: &[u64], told: &mut Told) -> Result<(), JournalError> {
    match journal.commit() {
        Ok(_) => told.acknowledged.extend(appended),
        Err(JournalError::Poisoned { .. }) => {
            told.failures += 1;
            journal.restore()?;
            told.refused.extend(appended);
        }
        Err(error) => return Err(error),
    }
    Ok(())
}

fn script(fs: &Arc<SimFs>, told: &mut Told) -> Result<(), JournalError> {
    let (journal, ..) = open(fs)?;
    for round in 1..=6_u64 {
        let mut appended = Vec::new();
        for _ in 0..=(round % 3) {
            let next = journal.durable_sequence().0.max(last_of(told)) + 1 + appended.len() as u64;
            assert_eq!(journal.append(&body(next))?.0, next);
            appended.push(next);
        }
        commit(&journal, &appended, told)?;
        if round == 3
            && let Err(error) = journal.cut()
        {
            if !matches!(error, JournalError::Poisoned { .. }) {
                return Err(error);
            }
            told.failures += 1;
            journal.restore()?;
        }
    }
    Ok(())
}

fn last_of(told: &Told) -> u64 {
    told.acknowledged.iter().chain(&told.refused).copied().max().unwrap_or(0)
}

/// Fails operation `fault`, crashes at operation `crash_at`, and looks what is there then.
fn check(fault: u64, crash_at: u64, crash: &SimCrash, torn: Option<Arc<SimRng>>) {
    let fs = SimFs::new();
    let mut told = Told::default();
    fs.fail_at(fault, io::ErrorKind::Other);
    fs.crash_at(crash_at, torn);
    script(&fs, &mut told).ok();
    fs.restart(crash);
    let context = format!("fault at {fault}, crash at {crash_at}");

    let (journal, recovery, found) = open(&fs).expect("open");
    assert_eq!(recovery.set_aside, [], "{context}: neither is damage");
    assert!(found.is_sorted_by(|a, b| a < b), "{context}: {found:?}");
    for sequence in &told.acknowledged {
        assert!(found.contains(sequence), "{context}: {sequence} was acknowledged");
    }
    for sequence in &told.refused {
        assert!(!found.contains(sequence), "{context}: {sequence} was refused for good");
    }
    let next = recovery.last.0 + 1;
    assert!(next > last_of(&told) || told.acknowledged.is_empty(), "{context}: not given twice");
    assert_eq!(journal.append(&body(next)).expect("append"), Sequence(next));
    journal.commit().expect("commit");
    let (_, recovery, again) = open(&fs).expect("open");
    assert_eq!((again.last(), recovery.set_aside.len()), (Some(&next), 0), "{context}");
}

#[test]
fn after_a_failure_of_any_operation_and_a_crash_at_any_later_one_nothing_acknowledged_is_lost() {
    let operations = |fault| {
        let fs = SimFs::new();
        fs.fail_at(fault, io::ErrorKind::Other);
        // A fault while the journal is opened ends the script.
        script(&fs, &mut Told::default()).ok();
        fs.operations()
    };
    for fault in 0..operations(u64::MAX) {
        for crash_at in fault + 1..operations(fault) {
            check(fault, crash_at, &SimCrash::Kill, None);
            check(fault, crash_at, &SimCrash::PowerLoss, None);
            let rng = SimRng::new(fault << 32 | crash_at);
            check(fault, crash_at, &SimCrash::PowerLossTorn(rng.clone()), Some(rng));
        }
    }
}

#[test]
fn what_is_written_after_a_failure_of_any_operation_survives_a_power_loss() {
    let fs = SimFs::new();
    script(&fs, &mut Told::default()).expect("no fault");
    let operations = fs.operations();
    let mut failures = 0;
    for fault in 1..operations {
        let fs = SimFs::new();
        let mut told = Told::default();
        fs.fail_at(fault, io::ErrorKind::Other);
        let finished = script(&fs, &mut told);
        failures += told.failures;
        fs.restart(&SimCrash::PowerLoss);
        let (_, recovery, found) = open(&fs).expect("open");
        assert_eq!((found, recovery.set_aside.len()), (told.acknowledged, 0), "{fault}");
        assert!(finished.is_ok() || told.failures == 0, "{fault}: it went on");
    }
    assert!(failures > operations / 2, "{failures} of {operations}");
}

#[tokio::test]
async fn restoring_refuses_what_was_queued_and_takes_what_comes() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs).expect("open");
    journal.restore().expect("nothing to do");
    for sequence in 1..=2 {
        journal.append(&body(sequence)).expect("append");
    }
    journal.commit().expect("commit");
    journal.append(b"lost").expect("append");
    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    assert!(matches!(journal.commit(), Err(JournalError::Poisoned { .. })));
    let waiting = journal.durable(Sequence(3));

    for failing in [FsOperation::Open, FsOperation::Truncate, FsOperation::SyncData] {
        fs.fail_next(failing, io::ErrorKind::Other);
        assert!(matches!(journal.restore(), Err(JournalError::Poisoned { .. })), "{failing:?}");
        assert!(matches!(journal.append(b"x"), Err(JournalError::Poisoned { .. })), "{failing:?}");
    }
    fs.set_space(Some(0));
    assert!(matches!(journal.restore(), Err(JournalError::Poisoned { .. })), "no space either");
    fs.set_space(None);
    journal.restore().expect("restored");

    assert_eq!(journal.poisoned(), None);
    assert!(waiting.await.is_err(), "asked before");
    assert_eq!(journal.append(&body(4)).expect("append"), Sequence(4));
    assert!(journal.outcome(Sequence(4)).is_none());
    journal.commit().expect("commit");
    let told = |sequence| journal.outcome(Sequence(sequence)).map(|outcome| outcome.is_ok());
    assert_eq!([1, 2, 3, 4].map(told), [Some(true), Some(true), Some(false), Some(true)]);
    fs.restart(&SimCrash::PowerLoss);
    assert_eq!(open(&fs).expect("open").2, [1, 2, 4]);
}

#[test]
fn who_waits_for_records_goes_on_waiting_until_the_journal_is_closed() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs).expect("open");
    journal.append(b"").expect("append");
    assert!(journal.wait_for_pending_or_close());
    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    journal.commit().expect_err("failed");
    std::thread::scope(|scope| {
        let waiter = scope.spawn(|| journal.wait_for_pending_or_close());
        journal.restore().expect("restored");
        journal.append(b"").expect("append");
        assert!(waiter.join().expect("no panic"), "something waits again");
    });
    journal.commit().expect("commit");
    journal.append(b"").expect("append");
    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    journal.commit().expect_err("failed");
    journal.close();
    assert!(!journal.wait_for_pending_or_close());
    assert!(matches!(journal.restore(), Err(JournalError::Closed)));
}

#[test]
fn a_disk_that_is_full_again_and_again_is_not_filled_with_empty_segments() {
    let fs = SimFs::new();
    let (journal, ..) = open(&fs).expect("open");
    journal.append(&body(1)).expect("append");
    journal.commit().expect("commit");
    let header = 32;
    let used = fs.allocated_bytes(Path::new(DIR)).expect("used");
    fs.set_space(Some(used + 2 * header));
    for _ in 0..5 {
        journal.append(&[7; 60]).expect("append");
        assert!(matches!(journal.commit(), Err(JournalError::Full { .. })));
        journal.resume().expect("there is room for a header");
    }
    assert_eq!(fs.list(Path::new(DIR)).expect("list").len(), 2);
    fs.set_space(None);
    journal.append(&body(7)).expect("append");
    journal.commit().expect("commit");
    fs.restart(&SimCrash::PowerLoss);
    let (_, recovery, found) = open(&fs).expect("open");
    assert_eq!((found, recovery.set_aside.len()), (vec![1, 7], 0));
}

#[test]
fn without_a_sync_per_commit_restoring_keeps_what_was_acknowledged() {
    let fs = SimFs::new();
    let config = JournalConfig { durability: Durability::Os, ..JournalConfig::default() };
    let (journal, _) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |_, _| {}).expect("open");
    journal.append(&body(1)).expect("append");
    journal.commit().expect("commit");
    fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    assert!(matches!(journal.cut(), Err(JournalError::Poisoned { .. })));
    journal.restore().expect("restored");
    fs.restart(&SimCrash::Kill);
    assert_eq!(open(&fs).expect("open").2, [1]);
}
