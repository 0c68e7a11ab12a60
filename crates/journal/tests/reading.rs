//! Reading a journal while it is written.

use std::ops::ControlFlow;
use std::path::{Path, PathBuf};
use std::sync::Arc;

use journal::{Journal, JournalConfig, JournalError, ReadEnd, Recovery, Sequence};
use platform::{Fs, FsOperation, MeteredFs, SimClock, SimFs, Timestamp};
use proptest::prelude::*;

const DIR: &str = "/data/journal";

fn open_from(fs: &Arc<SimFs>, from: u64) -> (Journal, Recovery, Vec<u64>) {
    let config = JournalConfig { segment_bytes_max: 200, ..JournalConfig::default() };
    let mut visited = Vec::new();
    let (journal, recovery) = Journal::open_from(
        fs.clone(),
        Path::new(DIR),
        config,
        Sequence(from),
        &mut |sequence, _| visited.push(sequence.0),
    )
    .expect("open");
    (journal, recovery, visited)
}

fn open(fs: &Arc<SimFs>) -> Journal {
    open_from(fs, 0).0
}

fn body(sequence: u64) -> Vec<u8> {
    vec![
        u8::try_from(sequence % 251).expect("a byte");
        usize::try_from(sequence % 31).expect("small")
    ]
}

fn write(journal: &Journal, sequences: std::ops::RangeInclusive<u64>) {
    let bodies: Vec<Vec<u8>> = sequences.clone().map(body).collect();
    let appended = journal.append_all(bodies.iter().map(Vec::as_slice)).expect("append");
    assert_eq!(appended, Some((Sequence(*sequences.start()), Sequence(*sequences.end()))));
    journal.commit().expect("commit");
}

/// Reads up to `max` records from `from` on.
fn read(journal: &Journal, from: u64, max: usize) -> (Vec<u64>, ReadEnd) {
    let mut found = Vec::new();
    let end = journal
        .read(Sequence(from), &mut |sequence, record| {
            assert_eq!(record, body(sequence.0));
            found.push(sequence.0);
            if found.len() == max { ControlFlow::Break(()) } else { ControlFlow::Continue(()) }
        })
        .expect("read");
    (found, end)
}

fn end(next: u64, skipped: u64) -> ReadEnd {
    ReadEnd { next: Sequence(next), skipped }
}

/// Reads to the end, call by call; returns what was found and how many were missing.
fn read_all(journal: &Journal, from: u64) -> (Vec<u64>, u64) {
    let (mut found, mut from, mut skipped) = (Vec::new(), from, 0);
    for _ in 0..1_000 {
        let (mut more, end) = read(journal, from, 7);
        found.append(&mut more);
        skipped += end.skipped;
        if end.next.0 == from {
            return (found, skipped);
        }
        from = end.next.0;
    }
    panic!("reading does not end");
}

fn segments(fs: &Arc<SimFs>) -> Vec<PathBuf> {
    let entries = fs.list(Path::new(DIR)).expect("list");
    entries.iter().filter(|e| !e.is_dir).map(|e| Path::new(DIR).join(&e.name)).collect()
}

#[test]
fn records_are_read_from_any_position_on_and_up_to_what_is_durable() {
    let fs = SimFs::new();
    let journal = open(&fs);
    assert_eq!(read(&journal, 0, 9), (vec![], end(1, 0)));
    for first in [1, 11, 21] {
        write(&journal, first..=first + 9);
    }
    journal.append(b"not durable").expect("append");
    assert!(journal.segments().len() > 2);
    for from in 1..=30 {
        assert_eq!(read(&journal, from, 99), ((from..=30).collect(), end(31, 0)));
        assert_eq!(read(&journal, from, 1), (vec![from], end(from + 1, 0)));
    }
    assert_eq!(read(&journal, 31, 9), (vec![], end(31, 0)));
    assert_eq!(read(&journal, 99, 9), (vec![], end(99, 0)));
}

#[test]
fn going_on_where_a_call_ended_reads_what_is_new_and_nothing_else() {
    let clock = SimClock::new(Timestamp::from_millis(0));
    let fs = MeteredFs::new(SimFs::new(), Arc::new(clock));
    let config = JournalConfig::default();
    let (journal, _) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |_, _| {}).expect("open");
    let read_bytes = |from: u64| {
        let before = fs.stats().bytes_read();
        assert_eq!(read(&journal, from, 99).1, end(from + 1, 0));
        fs.stats().bytes_read() - before
    };
    let frame = |sequence: u64| 16 + body(sequence).len() as u64;
    let mut written = 32;
    for sequence in 1..=100 {
        write(&journal, sequence..=sequence);
        written += frame(sequence);
        assert_eq!(
            read_bytes(sequence),
            if sequence == 1 { written - 32 } else { frame(sequence) }
        );
    }
    assert_eq!(read_bytes(100), written - 32, "elsewhere it begins at an entry of the index");
}

#[test]
fn segments_are_listed_with_what_they_hold() {
    let fs = SimFs::new();
    let journal = open(&fs);
    assert_eq!((journal.segments(), journal.bytes()), (vec![], 0));
    write(&journal, 1..=10);
    journal.cut().expect("cut");
    write(&journal, 11..=12);
    journal.cut().expect("cut");
    let check = |journal: &Journal| {
        let listed: Vec<_> = journal.segments().iter().map(|s| (s.first.0, s.end.0)).collect();
        assert_eq!(listed, [(1, 10), (11, 12), (13, 12)]);
        assert_eq!(journal.bytes(), fs.allocated_bytes(Path::new(DIR)).expect("bytes"));
    };
    check(&journal);
    let journal = open(&fs);
    check(&journal);
    journal.remove_before(Sequence(11)).expect("remove");
    assert_eq!(journal.segments().len(), 2);
    assert_eq!(journal.bytes(), fs.allocated_bytes(Path::new(DIR)).expect("bytes"));
}

#[test]
fn segments_can_be_limited_to_one_commit() {
    let fs = SimFs::new();
    let config = JournalConfig { segment_bytes_max: 1, ..JournalConfig::default() };
    let (journal, _) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |_, _| {}).expect("open");
    for sequence in 1..=4 {
        write(&journal, sequence..=sequence);
        if sequence == 2 {
            journal.cut().expect("cut");
        }
    }
    assert_eq!(journal.segments().len(), 4);
    assert_eq!(read_all(&journal, 1), (vec![1, 2, 3, 4], 0));
}

#[test]
fn a_reader_behind_the_oldest_segment_goes_on_with_it() {
    let fs = SimFs::new();
    let journal = open(&fs);
    for first in [1, 11, 21] {
        write(&journal, first..=first + 9);
        journal.cut().expect("cut");
    }
    assert_eq!(read(&journal, 3, 2).0, [3, 4]);
    journal.remove_before(Sequence(21)).expect("remove");
    assert_eq!(read(&journal, 5, 2), (vec![21, 22], end(23, 0)));
}

#[test]
fn a_segment_that_cannot_be_removed_is_still_read() {
    let fs = SimFs::new();
    let journal = open(&fs);
    write(&journal, 1..=10);
    journal.cut().expect("cut");
    fs.fail_next(FsOperation::Remove, std::io::ErrorKind::Other);
    journal.remove_before(Sequence(11)).expect_err("failed");
    assert_eq!(read(&journal, 1, 2).0, [1, 2]);
    journal.remove_before(Sequence(11)).expect("remove");
    assert_eq!(read(&journal, 1, 2), (vec![], end(11, 0)));
}

#[test]
fn what_the_disk_refused_is_not_missing() {
    let fs = SimFs::new();
    let journal = open(&fs);
    write(&journal, 1..=3);
    fs.set_space(Some(fs.allocated_bytes(Path::new(DIR)).expect("used")));
    journal.append(&[0; 40]).expect("append");
    assert!(matches!(journal.commit(), Err(JournalError::Full { .. })));
    fs.set_space(None);
    journal.resume().expect("resume");
    write(&journal, 5..=6);
    assert_eq!(read_all(&journal, 1), (vec![1, 2, 3, 5, 6], 0));
    assert_eq!(read_all(&journal, 4), (vec![5, 6], 0));
    assert_eq!(read_all(&open(&fs), 1), (vec![1, 2, 3, 5, 6], 0));
}

/// Writes 1..=12 into three segments and corrupts a byte of one.
fn check_damage(segment: usize, offset: usize, missing: &[u64]) {
    for reopened in [false, true] {
        let fs = SimFs::new();
        let mut journal = open(&fs);
        for first in [1, 5, 9] {
            write(&journal, first..=first + 3);
            journal.cut().expect("cut");
        }
        fs.corrupt(&segments(&fs)[segment], offset, 0x40);
        if reopened {
            drop(journal);
            journal = open_from(&fs, u64::MAX).0;
        }
        let expected: Vec<u64> = (1..=12).filter(|sequence| !missing.contains(sequence)).collect();
        for _ in 0..2 {
            assert_eq!(read_all(&journal, 1), (expected.clone(), missing.len() as u64));
        }
        for from in &expected {
            assert_eq!(read(&journal, *from, 1).0, [*from]);
        }
    }
}

#[test]
fn damage_is_skipped_and_counted() {
    let frame = |sequence: u64| 16 + body(sequence).len();
    check_damage(0, 32 + 8, &[1]);
    check_damage(0, 32 + frame(1) + 8, &[2]);
    check_damage(1, 32 + frame(5) + frame(6) + frame(7) + 20, &[8]);
    check_damage(2, 32, &[9]);
}

#[test]
fn a_file_that_is_gone_is_skipped_and_counted() {
    let fs = SimFs::new();
    let journal = open(&fs);
    for first in [1, 5, 9] {
        write(&journal, first..=first + 3);
        journal.cut().expect("cut");
    }
    fs.remove_file(&segments(&fs)[1]).expect("remove");
    assert_eq!(read_all(&journal, 1), (vec![1, 2, 3, 4, 9, 10, 11, 12], 4));
}

#[test]
fn a_failed_read_is_an_error_and_can_be_repeated() {
    let fs = SimFs::new();
    let journal = open(&fs);
    write(&journal, 1..=3);
    fs.fail_next(FsOperation::Read, std::io::ErrorKind::Other);
    assert!(journal.read(Sequence(1), &mut |_, _| ControlFlow::Continue(())).is_err());
    assert_eq!(read_all(&journal, 1).0, [1, 2, 3]);
}

#[test]
fn opening_from_a_record_reads_headers_of_what_lies_before() {
    let fs = SimFs::new();
    let journal = open(&fs);
    for first in [1, 5, 9] {
        write(&journal, first..=first + 3);
        journal.cut().expect("cut");
    }
    write(&journal, 13..=14);
    drop(journal);
    // Would be found by whoever reads it.
    fs.corrupt(&segments(&fs)[0], 40, 0xFF);
    for (from, visited) in [(9, 9..15), (7, 7..15), (13, 13..15), (u64::MAX, 15..15)] {
        let (journal, recovery, found) = open_from(&fs, from);
        assert_eq!(found, visited.collect::<Vec<_>>(), "{from}");
        assert_eq!((recovery.last, recovery.set_aside.len()), (Sequence(14), 0), "{from}");
        assert_eq!(journal.segments().len(), 4);
    }
    assert_eq!(open_from(&fs, 4).1.set_aside.len(), 1, "read, because record 4 is in it");
    let (_, recovery, found) = open_from(&fs, u64::MAX);
    assert_eq!((recovery.set_aside.len(), found.len()), (1, 0), "reported at each opening");
}

#[test]
fn records_are_queued_all_or_none() {
    let fs = SimFs::new();
    let config = JournalConfig { record_bytes_max: 10, ..JournalConfig::default() };
    let config = JournalConfig { pending_bytes_max: 60, ..config };
    let (journal, _) =
        Journal::open(fs.clone(), Path::new(DIR), config, &mut |_, _| {}).expect("open");
    let long = [0_u8; 11];
    let refused = journal.append_all([&long[..3], &long[..], &long[..3]]);
    assert!(matches!(refused, Err(JournalError::RecordTooLarge { .. })));
    let refused = journal.append_all([&long[..5], &long[..5], &long[..5]]);
    assert!(matches!(refused, Err(JournalError::Overloaded { .. })));
    assert_eq!(journal.stats().pending_records, 0);
    assert_eq!(journal.append_all([]).expect("nothing"), None);
    let queued = journal.append_all([&long[..5], &long[..5]]).expect("queued");
    assert_eq!(queued, Some((Sequence(1), Sequence(2))), "the sequences were not used up");
    journal.commit().expect("commit");
    assert_eq!(journal.durable_sequence(), Sequence(2));
}

#[test]
fn readers_see_every_record_once_beside_writing_cutting_and_removing() {
    let fs = SimFs::new();
    let journal = open(&fs);
    write(&journal, 1..=1);
    let last = 2_000;
    std::thread::scope(|scope| {
        let readers: Vec<_> = (0..2)
            .map(|_| {
                scope.spawn(|| {
                    let (mut from, mut seen) = (1, Vec::new());
                    while from <= last {
                        let (mut more, end) = read(&journal, from, 5);
                        assert_eq!(end.skipped, 0, "what was removed is not missing");
                        seen.append(&mut more);
                        from = end.next.0;
                    }
                    assert!(seen.is_sorted_by(|a, b| a < b));
                    assert_eq!(seen.last(), Some(&last));
                })
            })
            .collect();
        for sequence in 2..=last {
            write(&journal, sequence..=sequence);
            if sequence % 100 == 0 {
                journal.cut().expect("cut");
                journal.remove_before(Sequence(sequence - 50)).expect("remove");
            }
        }
        readers.into_iter().for_each(|reader| reader.join().expect("no panic"));
    });
}

proptest! {
    #[test]
    fn reading_a_changed_segment_ends_and_invents_nothing(
        at in 0_usize..2_000, mask in 1_u8..=255, from in 1_u64..25,
    ) {
        let fs = SimFs::new();
        let config = JournalConfig::default();
        let (journal, _) =
            Journal::open(fs.clone(), Path::new(DIR), config, &mut |_, _| {}).expect("open");
        write(&journal, 1..=20);
        let path = segments(&fs).remove(0);
        let length = fs.read(&path, 1 << 20).expect("read").len();
        fs.corrupt(&path, at % length, mask);
        let (found, skipped) = read_all(&journal, from);
        prop_assert_eq!(found.len() as u64 + skipped, 20_u64.saturating_sub(from - 1));
    }
}
