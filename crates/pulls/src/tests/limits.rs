//! What holds at each limit, and beyond it.

use std::time::Duration;

use model::TenantId;
use platform::Timestamp;
use report::{LayerReport, PullPhase, PullReport, Report};

use super::script::{World, check_with, settings, tenant};
use crate::*;

fn report(node: &str, ids: impl Iterator<Item = usize>) -> Report {
    let pull = |id: usize| PullReport {
        id: format!("pull-{id}"),
        image_ref: format!("docker.io/library/image:{id}"),
        phase: Some(PullPhase::Downloading),
        ..PullReport::default()
    };
    Report { node_name: node.to_owned(), pulls: ids.map(pull).collect(), ..Report::default() }
}

#[tokio::test]
async fn only_so_many_pulls_run_and_more_are_counted_once() {
    let world = World::new(PullsSettings { active_pulls_max: 3, ..settings() }).await;
    for _ in 0..3 {
        world.pulls.report(&tenant(), report("a", 0..5)).expect("taken");
        world.pass(Duration::from_secs(1));
    }
    let totals = &world.pulls.totals().tenants[0].1;
    assert_eq!((totals.active, totals.started, totals.pulls_refused), (3, 3, 2));
    // There is room for those that were refused as soon as others end.
    world.pulls.report(&tenant(), report("a", 2..5)).expect("taken");
    world.pass(Duration::from_secs(1));
    world.pulls.report(&tenant(), report("a", 2..5)).expect("taken");
    let totals = &world.pulls.totals().tenants[0].1;
    assert_eq!((totals.active, totals.started), (3, 5));
}

#[tokio::test]
async fn ended_pulls_make_room_for_newer_ones_and_never_take_it_from_running_ones() {
    let limits = PullsSettings { active_pulls_max: 2, recent_pulls_max: 3, ..settings() };
    check_with(
        limits,
        "
        updates
        agent n1
          a one completed
          b two completed
          c three completed
        updates
        = PullStarted one
        = PullCompleted one
        = PullStarted two
        = PullCompleted two
        = PullStarted three
        = PullCompleted three
        pass 1
        agent n1
          d four resolving
          e five completed
        updates
        = PullStarted four
        = PullStarted five
        = PullCompleted five
        = PullRemoved one
        pulls
        = two completed 100.0% 0/0+ layers=0/0 from=0 to=0
        = three completed 100.0% 0/0+ layers=0/0 from=0 to=0
        = four resolving 0.0% 0/0+ layers=0/0 from=1
        = five completed 100.0% 0/0+ layers=0/0 from=1 to=1
        ",
    )
    .await;
}

#[tokio::test]
async fn only_so_many_nodes_are_known_and_the_silent_make_room() {
    let world = World::new(PullsSettings { nodes_max: 2, ..settings() }).await;
    let send = |node: &str| world.pulls.report(&tenant(), report(node, 0..0));
    assert_eq!((send("a"), send("b")), (Ok(()), Ok(())));
    let full = Err(ReportRefused::TooManyNodes { nodes_max: 2 });
    assert_eq!(send("c"), full.clone());
    // Other tenants have room of their own, and known nodes are always heard.
    let other = model::TenantId::new("other").expect("a name");
    assert_eq!(world.pulls.report(&other, report("c", 0..0)), Ok(()));
    world.pass(Duration::from_secs(3_599));
    assert_eq!((send("a"), send("c")), (Ok(()), full.clone()));
    world.pass(Duration::from_secs(1));
    assert_eq!((send("c"), send("b")), (Ok(()), full));
    assert_eq!(world.pulls.nodes(&tenant()).len(), 2);
}

#[tokio::test]
async fn a_node_with_a_pull_is_not_forgotten() {
    let limits = PullsSettings { stale_after: Duration::from_secs(7_200), ..settings() };
    let world = World::new(limits).await;
    world.pulls.report(&tenant(), report("a", 0..1)).expect("taken");
    world.pass(Duration::from_secs(7_199));
    assert_eq!(world.pulls.nodes(&tenant()).len(), 1);
    world.pass(Duration::from_secs(1));
    world.pass(Duration::from_secs(1));
    assert_eq!(world.pulls.nodes(&tenant()).len(), 0);
    assert_eq!(world.live()[0].state, PullState::Failed);
}

#[tokio::test]
async fn reports_of_a_node_are_apart() {
    let world = World::new(settings()).await;
    let send = |node: &str| world.pulls.report(&tenant(), report(node, 0..0));
    assert_eq!(send("a"), Ok(()));
    world.clock.advance(Duration::from_millis(99));
    let too_soon = ReportRefused::TooSoon { retry_after: Duration::from_millis(1) };
    assert_eq!((send("a"), send("b")), (Err(too_soon), Ok(())));
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(send("a"), Ok(()));
}

#[tokio::test]
async fn names_of_nodes_and_clusters_have_bounds() {
    let world = World::new(settings()).await;
    let send = |node: &str, cluster: &str| {
        let report = Report { cluster: cluster.to_owned(), ..report(node, 0..0) };
        world.pulls.report(&tenant(), report)
    };
    let longest = "n".repeat(NAME_BYTES_MAX);
    let longer = "n".repeat(NAME_BYTES_MAX + 1);
    for (node, cluster, expected) in [
        (longest.as_str(), longest.as_str(), Ok(())),
        ("", "", Err(ReportRefused::InvalidNode)),
        (&longer, "", Err(ReportRefused::InvalidNode)),
        ("a\0", "", Err(ReportRefused::InvalidNode)),
        ("a", &longer, Err(ReportRefused::InvalidCluster)),
        ("a", "\0", Err(ReportRefused::InvalidCluster)),
    ] {
        assert_eq!(send(node, cluster), expected, "{node} {cluster}");
    }
    for number in 1..CLUSTERS_PER_TENANT_MAX {
        assert_eq!(send("a", &number.to_string()), Ok(()));
    }
    assert_eq!(send("a", "one more"), Err(ReportRefused::TooManyClusters));
    assert_eq!(send("b", "1"), Ok(()));
}

#[tokio::test]
async fn texts_lists_and_layers_of_a_pull_have_bounds() {
    let world = World::new(PullsSettings { layers_max: 4, ..settings() }).await;
    let layer = |number: usize| LayerReport {
        digest: format!("{number}{}", "d".repeat(IMAGE_BYTES_MAX)),
        media_type: "m".repeat(WORD_BYTES_MAX + 1),
        total_bytes: 1,
        total_known: true,
        ..LayerReport::default()
    };
    let mut report = report("a", 0..2);
    report.pulls[0].image_ref = "i".repeat(IMAGE_BYTES_MAX + 1);
    report.pulls[0].candidates = vec!["c".repeat(IMAGE_BYTES_MAX + 1); CANDIDATES_MAX + 1];
    report.pulls[0].layers = (0..5).map(layer).collect();
    report.pulls[0].total_known = true;
    report.pulls[0].phase = Some(PullPhase::Failed);
    report.pulls[0].error = "e".repeat(MESSAGE_BYTES_MAX + 1);
    report.pulls[1].id = "p".repeat(PULL_ID_BYTES_MAX + 1);
    world.pulls.report(&tenant(), report).expect("taken");
    let live = world.live();
    let [pull] = &live[..] else { panic!("{live:?}") };
    assert_eq!(pull.image.len(), IMAGE_BYTES_MAX);
    assert_eq!(
        (pull.candidates.len(), pull.candidates[0].len()),
        (CANDIDATES_MAX, IMAGE_BYTES_MAX)
    );
    assert_eq!((pull.layers.len(), pull.layers[3].digest.len()), (4, IMAGE_BYTES_MAX));
    assert_eq!(pull.layers[0].media_type.len(), WORD_BYTES_MAX);
    assert!(!pull.total_known, "a layer is missing");
    assert_eq!(pull.failure.as_ref().map(|failure| failure.message.len()), Some(MESSAGE_BYTES_MAX));
}

#[tokio::test]
async fn numbers_and_times_can_be_anything() {
    let world = World::new(PullsSettings { layers_max: 1_024, ..settings() }).await;
    for (bytes, time) in [
        (i64::MAX, Timestamp::MAX),
        (i64::MIN, Timestamp::MIN),
        (i64::MAX, Timestamp::from_millis(1)),
        (0, Timestamp::MAX),
        (i64::MAX, Timestamp::MIN),
    ] {
        let layer = |number: usize| LayerReport {
            digest: number.to_string(),
            total_bytes: bytes,
            downloaded_bytes: bytes,
            resumed_bytes: bytes.wrapping_add(7),
            total_known: true,
            started_at: Some(time),
            completed_at: Some(time),
            ..LayerReport::default()
        };
        for node in 0..20 {
            let mut report = report(&node.to_string(), 0..1);
            (report.timestamp, report.interval_ms) = (Some(time), u64::MAX);
            report.pulls[0].started_at = Some(time);
            report.pulls[0].image_ref = "same".to_owned();
            report.pulls[0].layers = (0..1_024).map(layer).collect();
            world.pulls.report(&tenant(), report).expect("taken");
        }
        world.pass(Duration::from_secs(1));
    }
    let images = world.pulls.images(&tenant(), &PullFilter::default());
    assert_eq!(images[0].total_bytes, u64::MAX);
    let live = world.live();
    assert_eq!(live[0].layers[0].total_bytes, LAYER_BYTES_MAX);
    let age = platform::Clock::now(&world.clock).millis_since(live[0].started_at);
    assert!((0..=8 * 86_400_000).contains(&age), "{age}");
    for node in 0..20 {
        world.pulls.report(&tenant(), report(&node.to_string(), 0..0)).expect("taken");
    }
    assert_eq!(world.pulls.totals().tenants[0].1.active, 0);
    world.pulls.flush().await;
    assert_eq!(world.sink.published.lock().len(), 20);
}

#[tokio::test]
async fn only_so_many_subscribe() {
    let world = World::new(PullsSettings { subscribers_max: 2, ..settings() }).await;
    let subscribe = || world.pulls.subscribe(&tenant(), Interest::default());
    let first = subscribe().expect("room");
    let _second = subscribe().expect("room");
    assert_eq!(subscribe().err(), Some(TooManySubscribers { subscribers_max: 2 }));
    assert_eq!(world.pulls.totals().subscribers, 2);
    let other = TenantId::new("other").expect("a tenant");
    world.pulls.subscribe(&other, Interest::default()).expect("another tenant has its own");
    drop(first);
    subscribe().expect("room again");
}

#[tokio::test]
async fn a_database_that_is_away_costs_beginnings_before_ends() {
    let world = World::new(PullsSettings { history_queue_max: 4, ..settings() }).await;
    world.pulls.report(&tenant(), report("a", 0..3)).expect("taken");
    world.pass(Duration::from_secs(1));
    world.pulls.report(&tenant(), report("a", 0..0)).expect("taken");
    world.pass(Duration::from_secs(1));
    world.pulls.report(&tenant(), report("a", 7..8)).expect("taken");
    let totals = world.pulls.totals().history;
    assert_eq!((totals.queued, totals.dropped), (4, 3));
    world.pulls.flush().await;
    let totals = world.pulls.totals().history;
    assert_eq!((totals.queued, totals.written, totals.published), (0, 3, 3));
}
