//! A disk that is full, fails or is slow.

use std::io;
use std::path::Path;
use std::time::Duration;

use platform::{Fs, FsOperation, SimCrash};

use super::client::{Client, append, begin, event, numbers, small};
use super::engine::DIR;
use crate::{Batch, EventLog, LogError, LogMaintenance, Offset, Outcome};

fn stored(outcomes: &[Outcome]) -> bool {
    outcomes.iter().all(|outcome| matches!(outcome, Outcome::Stored { .. }))
}

fn is_unavailable<T>(answer: &Result<T, LogError>) -> bool {
    matches!(answer, Err(LogError::Unavailable { retry_after, .. }) if !retry_after.is_zero())
}

#[tokio::test]
async fn a_full_disk_refuses_events_while_it_lasts_and_loses_none() {
    for room in [0, 20, 90, 200] {
        let client = Client::new(small());
        let log = client.open();
        let clock = &client.clock;
        append(&log, clock, vec![event(1), event(2)]).await.expect("stored");
        let end = *log.end().borrow();
        let used = client.fs.allocated_bytes(Path::new(DIR)).expect("used");
        client.fs.set_space(Some(used + room));
        let batch = || (3..=6).map(event).collect();
        for _ in 0..3 {
            assert!(is_unavailable(&append(&log, clock, batch()).await), "{room}");
            log.maintain().ok();
        }
        assert!(is_unavailable(&append(&log, clock, batch()).await), "{room}");
        assert!(log.refusal().is_some_and(|reason| !reason.is_empty()));
        assert_eq!(*log.end().borrow(), end, "what was refused is not seen");
        assert_eq!(numbers(&log).await, [1, 2], "reading goes on");
        assert_eq!(log.stats().in_flight, 0);

        client.fs.set_space(None);
        assert!(log.maintain().expect("maintained").resumed);
        assert_eq!(log.refusal(), None);
        assert!(stored(&append(&log, clock, batch()).await.expect("stored")));
        assert_eq!(numbers(&log).await, [1, 2, 3, 4, 5, 6]);
        drop(log);
        client.fs.restart(&SimCrash::PowerLoss);
        assert_eq!(numbers(&client.open()).await, [1, 2, 3, 4, 5, 6], "{room}");
    }
}

#[tokio::test]
async fn a_failing_disk_refuses_events_until_it_is_well_and_was_left_alone_for_a_while() {
    let client = Client::new(small());
    let log = client.open();
    let clock = &client.clock;
    append(&log, clock, vec![event(1)]).await.expect("stored");
    client.fs.fail_next(FsOperation::SyncData, io::ErrorKind::Other);
    assert!(is_unavailable(&append(&log, clock, vec![event(2)]).await));
    assert!(is_unavailable(&append(&log, clock, vec![event(2)]).await));
    assert!(log.refusal().is_some());
    assert_eq!(numbers(&log).await, [1]);

    assert!(is_unavailable(&log.maintain()), "not at once");
    clock.advance(Duration::from_secs(1));
    client.fs.fail_next(FsOperation::Truncate, io::ErrorKind::Other);
    assert!(is_unavailable(&log.maintain()), "it still fails");
    clock.advance(Duration::from_secs(1));
    assert!(is_unavailable(&log.maintain()), "longer apart");
    clock.advance(Duration::from_secs(1));
    assert!(log.maintain().expect("maintained").resumed);
    assert_eq!(log.maintain().expect("maintained"), LogMaintenance::default());
    assert_eq!(log.refusal(), None);
    assert!(stored(&append(&log, clock, vec![event(2)]).await.expect("no duplicate")));
    assert_eq!(numbers(&log).await, [1, 2]);
}

#[tokio::test]
async fn a_repetition_waits_for_the_first_one_and_shares_its_fate() {
    let client = Client::new(small());
    let log = client.open();
    let batch = || Batch {
        tenant: model::TenantId::default_tenant(),
        received_at: platform::Clock::now(&client.clock),
        events: vec![event(1)],
    };
    let (mut first, mut second) = (log.append(batch()), log.append(batch()));
    begin(&mut first);
    begin(&mut second);
    client.fs.fail_next(FsOperation::Append, io::ErrorKind::Other);
    log.commit_pending().expect_err("failed");
    assert!(is_unavailable(&first.await));
    assert!(is_unavailable(&second.await));

    log.maintain().expect_err("not yet");
    client.clock.advance(Duration::from_secs(2));
    log.maintain().expect("maintained");
    let (mut first, mut second) = (log.append(batch()), log.append(batch()));
    begin(&mut first);
    begin(&mut second);
    assert_eq!(log.stats().in_flight, 1);
    log.commit_pending().expect("committed");
    let offset = match &first.await.expect("stored")[..] {
        [Outcome::Stored { offset }] => *offset,
        other => panic!("{other:?}"),
    };
    let id = event(1).id;
    assert_eq!(second.await.expect("known"), [Outcome::Duplicate { offset, id }]);
    assert_eq!(numbers(&log).await, [1]);
}

#[tokio::test]
async fn who_goes_away_leaves_nothing_open() {
    let client = Client::new(small());
    let log = client.open();
    let batch = Batch {
        tenant: model::TenantId::default_tenant(),
        received_at: platform::Clock::now(&client.clock),
        events: vec![event(1)],
    };
    let mut gone = log.append(batch);
    begin(&mut gone);
    drop(gone);
    log.commit_pending().expect("committed");
    let stats = log.stats();
    assert_eq!((stats.in_flight, stats.stored, stats.bounds.end), (0, 1, Offset(2)));
    let again = append(&log, &client.clock, vec![event(1)]).await.expect("known");
    assert!(matches!(again[..], [Outcome::Duplicate { offset: Offset(1), .. }]));
}

#[tokio::test]
async fn a_closed_log_refuses_events_and_is_still_read() {
    let client = Client::new(small());
    let log = client.open();
    append(&log, &client.clock, vec![event(1)]).await.expect("stored");
    log.close();
    let refused = append(&log, &client.clock, vec![event(2)]).await;
    assert_eq!(refused, Err(LogError::Closed));
    assert!(!log.wait_for_pending());
    assert_eq!(numbers(&log).await, [1]);
}

#[tokio::test]
async fn damage_is_skipped_counted_and_found_by_a_check() {
    let mut client = Client::new(small());
    let log = client.open();
    client.send(&log, 20).await.expect("stored");
    let log_dir = Path::new(DIR).join("log");
    let segment = log_dir.join(&client.fs.list(&log_dir).expect("list")[1].name);
    client.fs.corrupt(&segment, 60, 0xFF);
    let mut page = crate::Page::default();
    let mut skipped = 0;
    let mut entries = 0;
    while page.next < *log.end().borrow() {
        let limits = crate::ReadLimits { entries_max: 5, bytes_max: 1 << 20 };
        page = log.read(page.next, limits).await.expect("read");
        skipped += page.skipped;
        entries += page.entries.len();
    }
    assert_eq!((entries, skipped), (19, 1));
    let fs: std::sync::Arc<dyn Fs> = client.fs.clone();
    let report = crate::verify(&fs, Path::new(DIR)).expect("checked");
    assert_eq!((report.entries, report.problems.len()), (19, 1), "{report:?}");
}
