//! The machine stops or fails at any operation, and every event is there once.

use std::io;
use std::sync::Arc;

use platform::{SimCrash, SimRng};

use super::client::{Client, block_on, small};

/// How many events are sent.
const EVENTS: u64 = 36;

/// Sends until everything is acknowledged or the machine has stopped; a log that does not open is opened once more.
async fn send(client: &mut Client) {
    let Ok(log) = client.try_open().or_else(|_| client.try_open()) else { return };
    if client.send(&log, EVENTS).await.is_ok() {
        log.close();
    }
}

fn operations(fault: u64) -> u64 {
    let mut client = Client::new(small());
    client.fs.fail_at(fault, io::ErrorKind::Other);
    block_on(send(&mut client));
    client.fs.operations()
}

/// Crashes at an operation, opens the log again, and sends the rest.
fn check_crash(fault: u64, at: u64, crash: &SimCrash, torn: Option<Arc<SimRng>>) {
    let context = format!("fault at {fault}, {crash:?} at {at}");
    let mut client = Client::new(small());
    client.fs.fail_at(fault, io::ErrorKind::Other);
    client.fs.crash_at(at, torn);
    block_on(async {
        send(&mut client).await;
        client.fs.restart(crash);
        let log = client.open();
        let before = client.acknowledged.clone();
        client.acknowledged.clear();
        client.send(&log, EVENTS).await.expect("the disk is well");
        for (number, offset) in &before {
            assert_eq!(client.acknowledged.get(number), Some(offset), "{context}: {number}");
        }
        client.check(&log, EVENTS, &context).await;
    });
}

#[test]
fn every_event_is_stored_once_and_in_order_whenever_the_machine_stops() {
    let all = operations(u64::MAX);
    assert!(all > 60, "{all}");
    for at in 0..all {
        check_crash(u64::MAX, at, &SimCrash::Kill, None);
        check_crash(u64::MAX, at, &SimCrash::PowerLoss, None);
        for seed in 0..3 {
            let rng = SimRng::new(seed << 32 | at);
            check_crash(u64::MAX, at, &SimCrash::Kill, Some(rng.clone()));
            check_crash(u64::MAX, at, &SimCrash::PowerLossTorn(rng.clone()), Some(rng));
        }
    }
}

#[test]
fn every_event_is_stored_once_and_in_order_whichever_operation_fails() {
    for fault in 0..operations(u64::MAX) {
        let mut client = Client::new(small());
        client.fs.fail_at(fault, io::ErrorKind::Other);
        block_on(async {
            let log = client.try_open().unwrap_or_else(|_| client.open());
            client.send(&log, EVENTS).await.expect("it goes on by itself");
            client.check(&log, EVENTS, &format!("fault at {fault}")).await;
            drop(log);
            client.fs.restart(&SimCrash::PowerLoss);
            client.check(&client.open(), EVENTS, &format!("fault at {fault}, opened again")).await;
        });
    }
}

#[test]
fn every_event_is_stored_once_and_in_order_when_an_operation_fails_and_the_machine_stops_later() {
    for fault in (0..operations(u64::MAX)).step_by(3) {
        for at in (fault + 1..operations(fault)).step_by(4) {
            let rng = SimRng::new(fault << 32 | at);
            check_crash(fault, at, &SimCrash::PowerLossTorn(rng.clone()), Some(rng));
        }
    }
}
