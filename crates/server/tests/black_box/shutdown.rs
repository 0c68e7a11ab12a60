//! How the program ends when it is told to: in order, without losing anything, and at once when told twice.

use std::io::{Read as _, Write as _};
use std::net::TcpStream;
use std::sync::atomic::{AtomicU64, Ordering};

use crate::program::{TinyObs, query, try_request, wait_for};

/// Clients that send at the same time.
const CLIENTS: usize = 4;
/// Acknowledged requests before the program is told to end.
const REQUESTS_BEFORE: u64 = 40;

#[test]
fn told_to_end_under_load_the_program_keeps_all_that_it_accepted() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--set", "collector.enabled=false", "--set", "server.shutdown_timeout=20s"];
    let server = TinyObs::start(data.path(), &arguments);
    let accepted: Vec<AtomicU64> = (0..CLIENTS).map(|_| AtomicU64::new(0)).collect();
    let total = || accepted.iter().map(|count| count.load(Ordering::Relaxed)).sum::<u64>();
    let ended = std::thread::scope(|scope| {
        for (client, accepted) in accepted.iter().enumerate() {
            let url = format!("{}/v1/ingest", server.url);
            scope.spawn(move || {
                // Until nobody listens any more; each request is a series of its own.
                for number in 0.. {
                    let body = format!(
                        r#"{{"metrics":[{{"name":"orders","value":1,"labels":{{"client":"{client}","n":"{number}"}}}}]}}"#
                    );
                    match try_request("POST", &url, &[], body.into()) {
                        Ok((200, _)) => _ = accepted.fetch_add(1, Ordering::Relaxed),
                        // Refused or never answered: nothing was promised.
                        _ => return,
                    }
                }
            });
        }
        wait_for("the load", || (total() >= REQUESTS_BEFORE).then_some(()));
        server.terminate()
    });
    assert!(ended.success(), "in order and in time: {ended}");

    let server = TinyObs::start(data.path(), &arguments);
    for (client, accepted) in accepted.iter().enumerate() {
        let promised = accepted.load(Ordering::Relaxed);
        let expression = format!(r#"count(last_over_time(orders{{client="{client}"}}[10m]))"#);
        let answer = query(&server.url, "/api/v1/query", &[("query", &expression)]);
        let stored = answer["result"][0]["value"][1].as_str().expect("a number");
        let stored: u64 = stored.parse().expect("a number");
        assert!(stored >= promised, "client {client}: {stored} of {promised} accepted");
    }
}

#[test]
fn a_second_signal_ends_at_once_what_waits_for_a_client() {
    let data = tempfile::tempdir().expect("a folder");
    let arguments = ["--set", "collector.enabled=false", "--set", "server.shutdown_timeout=1h"];
    let server = TinyObs::start(data.path(), &arguments);
    let address = server.url.trim_start_matches("http://").to_owned();
    // A request that is under way: the first half of its body has been asked for and sent.
    let mut client = TcpStream::connect(&address).expect("connected");
    let head = "POST /v1/ingest HTTP/1.1\r\nhost: localhost\r\ncontent-type: application/json\r\n\
                content-length: 100\r\nexpect: 100-continue\r\n\r\n";
    client.write_all(head.as_bytes()).expect("sent");
    let mut answer = [0; 12];
    client.read_exact(&mut answer).expect("the program wants the body");
    assert_eq!(&answer, b"HTTP/1.1 100");
    client.write_all(b"{").expect("sent");

    server.signal("-TERM");
    wait_for("the port to close", || TcpStream::connect(&address).is_err().then_some(()));
    let ended = server.terminate();
    assert_eq!(ended.code(), Some(1), "not in order, and not by the signal itself: {ended}");
}
