//! What those hear who follow pulls.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;

use futures_util::FutureExt as _;
use parking_lot::Mutex;
use report::{LayerReport, PullPhase, PullReport, Report};

use super::script::{World, settings, tenant};
use crate::*;

fn pull(id: &str, phase: PullPhase, bytes: i64) -> PullReport {
    PullReport {
        id: id.to_owned(),
        image_ref: format!("docker.io/library/{id}:1"),
        phase: Some(phase),
        total_known: true,
        layers: vec![LayerReport {
            digest: "sha256:aa".to_owned(),
            total_bytes: 100,
            downloaded_bytes: bytes,
            total_known: true,
            ..LayerReport::default()
        }],
        ..PullReport::default()
    }
}

fn downloading(id: &str, bytes: i64) -> PullReport {
    pull(id, PullPhase::Downloading, bytes)
}

fn completed(id: &str) -> PullReport {
    pull(id, PullPhase::Completed, 100)
}

async fn world() -> World {
    World::new(PullsSettings {
        report_interval_min: Duration::ZERO,
        batch_interval: Duration::from_millis(100),
        ..settings()
    })
    .await
}

fn send(world: &World, node: &str, pulls: Vec<PullReport>) {
    let report = Report { node_name: node.to_owned(), pulls, ..Report::default() };
    world.pulls.report(&tenant(), report).expect("taken");
}

fn follow(world: &World, interest: Interest) -> Subscription {
    world.pulls.subscribe(&tenant(), interest).expect("room")
}

fn follow_all(world: &World) -> Subscription {
    follow(world, Interest::default())
}

/// Returns what a batch says: of each update its kind, the first word of the image, and how much is there.
fn said(batch: Option<Batch>) -> Vec<String> {
    let Some(batch) = batch else { return vec!["nothing yet".to_owned()] };
    let lines = batch.updates.iter().map(|update| {
        let pull = &update.pull;
        let image = pull.image.trim_start_matches("docker.io/library/").trim_end_matches(":1");
        let layer = if update.layer.is_some() { " layer" } else { "" };
        format!("{:?} {image} {}{layer}", update.kind, pull.downloaded_bytes)
    });
    batch.resync.then(|| "resync".to_owned()).into_iter().chain(lines).collect()
}

fn now(subscription: &mut Subscription) -> Vec<String> {
    said(subscription.next().now_or_never())
}

#[tokio::test]
async fn progress_is_told_ten_times_a_second_and_only_the_newest() {
    let world = world().await;
    let mut all = follow_all(&world);
    assert_eq!(now(&mut all), [""; 0], "nothing is there yet, and that is said at once");
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n", vec![downloading("a", 10)]);
    assert_eq!(now(&mut all), ["PullStarted a 10"], "the first comes at once");
    for bytes in 11..20 {
        send(&world, "n", vec![downloading("a", bytes), downloading("b", bytes)]);
        assert_eq!(now(&mut all), ["nothing yet"]);
        world.clock.advance(Duration::from_millis(10));
    }
    world.clock.advance(Duration::from_millis(9));
    assert_eq!(now(&mut all), ["nothing yet"]);
    world.clock.advance(Duration::from_millis(1));
    assert_eq!(now(&mut all), ["PullStarted b 11", "PullProgress a 19", "PullProgress b 19"]);
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(now(&mut all), ["nothing yet"]);
}

#[tokio::test]
async fn beginnings_and_ends_are_never_left_out() {
    let world = world().await;
    let mut all = follow_all(&world);
    now(&mut all);
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n", vec![downloading("a", 10)]);
    send(&world, "n", vec![downloading("a", 20)]);
    send(&world, "n", vec![completed("a"), downloading("b", 1)]);
    send(&world, "n", vec![]);
    assert_eq!(
        now(&mut all),
        ["PullStarted a 10", "PullCompleted a 100", "PullStarted b 1", "PullFailed b 1"]
    );
}

#[tokio::test]
async fn whoever_waits_is_woken() {
    let world = world().await;
    let of_node = Interest {
        filter: PullFilter { node: Some("n".to_owned()), ..PullFilter::default() },
        ..Interest::default()
    };
    for interest in [Interest::default(), of_node] {
        let mut subscription = follow(&world, interest);
        subscription.next().await;
        world.clock.advance(Duration::from_millis(100));
        let begin = async {
            send(&world, "other", vec![downloading("x", 10)]);
            send(&world, "n", vec![downloading("a", 10)]);
        };
        let (batch, ()) = tokio::join!(subscription.next(), begin);
        assert!(!batch.updates.is_empty());
        send(&world, "n", vec![]);
        send(&world, "other", vec![]);
    }
}

#[tokio::test]
async fn a_filter_is_held_to_and_ends_are_told_whatever_states_are_asked_for() {
    let world = world().await;
    let filter = |change: &dyn Fn(&mut PullFilter)| {
        let mut filter = PullFilter::default();
        change(&mut filter);
        follow(&world, Interest { filter, ..Interest::default() })
    };
    let mut of_node = filter(&|filter| filter.node = Some("n1".to_owned()));
    let mut of_image = filter(&|filter| filter.image = Some("LIBRARY/B".to_owned()));
    let mut of_state = filter(&|filter| filter.states = vec![PullState::Unpacking]);
    for subscription in [&mut of_node, &mut of_image, &mut of_state] {
        now(subscription);
    }
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n1", vec![downloading("a", 10)]);
    send(&world, "n2", vec![downloading("b", 10)]);
    send(&world, "n1", vec![pull("a", PullPhase::Unpacking, 100)]);
    assert_eq!(now(&mut of_node), ["PullStarted a 10", "PullProgress a 100"]);
    assert_eq!(now(&mut of_image), ["PullStarted b 10"]);
    assert_eq!(now(&mut of_state), ["PullProgress a 100"]);
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n1", vec![completed("a")]);
    send(&world, "n2", vec![completed("b")]);
    assert_eq!(now(&mut of_node), ["PullCompleted a 100"]);
    assert_eq!(now(&mut of_image), ["PullCompleted b 100"]);
    assert_eq!(now(&mut of_state), ["PullCompleted a 100", "PullCompleted b 100"]);
    let mut late = filter(&|filter| filter.states = vec![PullState::Unpacking]);
    assert_eq!(now(&mut late), [""; 0], "it was never told of them");
}

#[tokio::test]
async fn what_one_found_is_not_taken_for_what_another_asks() {
    let world = world().await;
    let of = |image: &str| {
        let filter = PullFilter { image: Some(image.to_owned()), ..PullFilter::default() };
        follow(&world, Interest { filter, ..Interest::default() })
    };
    for round in 1..10 {
        // Two who ask for the same, who leave, and one who takes their place.
        let mut even = [of("even-"), of("EVEN-")];
        even.iter_mut().for_each(|each| drop(now(each)));
        world.clock.advance(Duration::from_millis(100));
        let names = ["even", "odd"].map(|name| format!("{name}-{round}"));
        send(&world, "n", names.iter().map(|name| completed(name)).collect());
        for subscription in &mut even {
            let [name, _] = &names;
            let expected = [format!("PullStarted {name} 100"), format!("PullCompleted {name} 100")];
            assert_eq!(now(subscription), expected);
        }
        drop(even);
        let odd = now(&mut of("odd-"));
        assert!(odd.len() == round && odd.iter().all(|said| said.contains("odd")), "{odd:?}");
    }
    // More than can share.
    let mut many: Vec<Subscription> =
        (0..100).map(|number| of(&format!("library/odd-{number}:"))).collect();
    for (number, subscription) in many.iter_mut().enumerate() {
        assert_eq!(now(subscription).len(), usize::from((1..10).contains(&number)), "{number}");
    }
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n", vec![completed("odd-50"), completed("odd-99")]);
    for (number, subscription) in many.iter_mut().enumerate() {
        let expected = if [50, 99].contains(&number) { 2 } else { 1 };
        let heard = now(subscription);
        assert_eq!(heard.len(), expected, "{number}");
        assert_eq!(heard[0] == "nothing yet", expected == 1, "{number}");
    }
}

#[tokio::test]
async fn whoever_was_away_hears_what_was_missed() {
    let world = world().await;
    let mut before = follow_all(&world);
    send(&world, "n", vec![downloading("a", 10)]);
    let position = before.next().await.position;
    drop(before);
    let position: UpdateId = position.to_string().parse().expect("an id");
    send(&world, "n", vec![downloading("a", 20), downloading("b", 1)]);
    send(&world, "n", vec![downloading("a", 30), completed("b")]);
    let again = |after| now(&mut follow(&world, Interest { after, ..Interest::default() }));
    assert_eq!(
        again(Some(position)),
        ["PullStarted b 1", "PullProgress a 30", "PullCompleted b 100"]
    );
    let all = ["PullProgress a 30", "PullCompleted b 100"];
    assert_eq!(again(None), all, "who was not there gets the newest of each");
    // Ids of another run of the server, and ids that were never given.
    let resync = ["resync", all[0], all[1]];
    for id in ["1-1", &format!("{position}ff")] {
        assert_eq!(again(Some(id.parse().expect("an id"))), resync, "{id}");
    }
}

#[tokio::test]
async fn whoever_is_too_far_behind_is_brought_up_to_date() {
    let limits = PullsSettings { updates_kept_max: 8, ..settings() };
    let world = World::new(PullsSettings { report_interval_min: Duration::ZERO, ..limits }).await;
    let mut all = follow_all(&world);
    let filter = PullFilter { node: Some("n".to_owned()), ..PullFilter::default() };
    let mut of_node = follow(&world, Interest { filter, ..Interest::default() });
    send(&world, "n", vec![completed("before"), downloading("a", 10)]);
    now(&mut all);
    now(&mut of_node);
    for id in 0..4 {
        send(&world, "other", vec![completed(&format!("other{id}"))]);
    }
    // What happens elsewhere does not put behind who follows one node.
    assert_eq!(now(&mut of_node), ["nothing yet"]);
    assert_eq!(said(Some(all.next().await)).len(), 8, "just within reach");
    for id in 0..5 {
        send(&world, "n", vec![downloading("a", 10), completed(&id.to_string())]);
    }
    let ends: Vec<String> = (0..5).map(|id| format!("PullCompleted {id} 100")).collect();
    let expected = [&["resync".to_owned(), "PullStarted a 10".to_owned()][..], &ends].concat();
    assert_eq!(now(&mut all), expected);
    assert_eq!(now(&mut of_node), expected);
    assert_eq!(world.pulls.totals().tenants[0].1.resyncs, 2);
}

#[tokio::test]
async fn a_batch_holds_only_so_much_and_the_rest_comes_at_once() {
    let world = World::new(PullsSettings {
        report_interval_min: Duration::ZERO,
        batch_interval: Duration::from_millis(100),
        batch_updates_max: 2,
        updates_kept_max: 12,
        ..settings()
    })
    .await;
    let names = |range: std::ops::Range<usize>| range.map(|id| completed(&id.to_string()));
    send(&world, "n", names(0..5).collect());
    let filter = PullFilter { node: Some("n".to_owned()), ..PullFilter::default() };
    let of_node = Interest { filter, ..Interest::default() };
    for interest in [Interest::default(), of_node.clone()] {
        let mut subscription = follow(&world, interest);
        let first = subscription.next().await;
        assert_eq!(said(Some(first.clone())), ["PullCompleted 0 100", "PullCompleted 1 100"]);
        assert_eq!(now(&mut subscription), ["PullCompleted 2 100", "PullCompleted 3 100"]);
        assert_eq!(now(&mut subscription), ["PullCompleted 4 100"]);
        assert_eq!(now(&mut subscription), ["nothing yet"]);
        // Who goes away in between goes on where it was.
        let mut again = follow(&world, Interest { after: Some(first.position), ..of_node.clone() });
        let mut heard = Vec::new();
        for _ in 0..3 {
            heard.extend(now(&mut again));
        }
        assert_eq!(heard.len(), 6, "beginnings and ends of three: {heard:?}");
        assert_eq!(now(&mut again), ["nothing yet"]);
    }
    // Who falls behind while being told everything hears of every end all the same.
    let mut slow = follow(&world, Interest::default());
    let mut ends = now(&mut slow);
    for id in 5..25 {
        send(&world, "n", names(id..id + 1).collect());
        if id % 8 == 0 {
            ends.extend(now(&mut slow));
        }
    }
    loop {
        world.clock.advance(Duration::from_millis(100));
        match now(&mut slow) {
            more if more == ["nothing yet"] => break,
            more => ends.extend(more),
        }
    }
    ends.retain(|said| said.starts_with("PullCompleted"));
    let expected: Vec<String> = (0..25).map(|id| format!("PullCompleted {id} 100")).collect();
    assert_eq!(ends, expected);
}

#[tokio::test]
async fn layers_are_told_to_those_who_ask() {
    let world = world().await;
    let mut pulls = follow_all(&world);
    now(&mut pulls);
    let mut layers = follow(&world, Interest { layers: true, ..Interest::default() });
    now(&mut layers);
    world.clock.advance(Duration::from_millis(100));
    send(&world, "n", vec![downloading("a", 10)]);
    for bytes in 20..25 {
        send(&world, "n", vec![downloading("a", bytes)]);
    }
    send(&world, "n", vec![completed("a")]);
    assert_eq!(now(&mut pulls), ["PullStarted a 10", "PullCompleted a 100"]);
    assert_eq!(
        now(&mut layers),
        [
            "PullStarted a 10",
            "LayerStarted a 10 layer",
            "LayerCompleted a 100 layer",
            "PullCompleted a 100"
        ]
    );
    drop(layers);
    let mut later = follow(&world, Interest { layers: true, ..Interest::default() });
    assert_eq!(now(&mut later), ["PullCompleted a 100"], "nobody asked meanwhile");
}

#[tokio::test]
async fn every_kind_of_update_is_told() {
    let world = world().await;
    let mut all = follow(&world, Interest { layers: true, ..Interest::default() });
    let mut kinds = BTreeSet::new();
    let mut read = |world: &World| {
        world.clock.advance(Duration::from_millis(100));
        let batch = all.next().now_or_never();
        kinds.extend(batch.into_iter().flat_map(|batch| batch.updates).map(|update| update.kind));
    };
    read(&world);
    for bytes in [0, 10] {
        send(&world, "n", vec![downloading("a", bytes), downloading("b", bytes)]);
        read(&world);
    }
    send(&world, "n", vec![completed("a"), pull("b", PullPhase::Failed, 10)]);
    read(&world);
    world.pass(Duration::from_secs(1_801));
    read(&world);
    assert_eq!(kinds.into_iter().collect::<Vec<_>>(), UpdateKind::ALL);
}

#[tokio::test]
async fn an_update_is_rendered_once_for_all() {
    let world = world().await;
    send(&world, "n", vec![downloading("a", 10)]);
    let mut rendered = 0;
    for _ in 0..3 {
        for update in follow_all(&world).next().await.updates {
            let text = update.rendered(|update| {
                rendered += 1;
                update.pull.image.to_string().into()
            });
            assert_eq!(text, "docker.io/library/a:1");
        }
    }
    assert_eq!(rendered, 1);
}

#[tokio::test]
async fn a_tenant_hears_nothing_of_another() {
    let world = world().await;
    let other = model::TenantId::new("other").expect("a name");
    let mut theirs = world.pulls.subscribe(&other, Interest::default()).expect("room");
    send(&world, "n", vec![downloading("a", 10)]);
    assert_eq!(now(&mut theirs), [""; 0]);
    world.clock.advance(Duration::from_millis(100));
    assert_eq!(now(&mut theirs), ["nothing yet"]);
}

/// An agent whose reports are made one after the other and may arrive in another order.
#[derive(Default)]
struct Agent {
    sequence: u64,
    begun: usize,
    running: Vec<(usize, i64)>,
    ended: Vec<usize>,
}

impl Agent {
    /// Goes on, and returns a report; `None` once everything ended and was told.
    fn go_on(&mut self, node: usize, pulls: usize) -> Option<Report> {
        if self.begun == pulls && self.running.is_empty() && self.ended.len() > 2 * pulls {
            return None;
        }
        self.sequence += 1;
        if self.begun < pulls {
            self.running.push((self.begun, 0));
            self.begun += 1;
        }
        for (_, bytes) in &mut self.running {
            *bytes += 25;
        }
        let done = self.running.iter().filter(|(_, bytes)| *bytes > 100).map(|(id, _)| *id);
        self.ended.extend(done.collect::<Vec<_>>());
        self.running.retain(|(_, bytes)| *bytes <= 100);
        if self.begun == pulls && self.running.is_empty() {
            // The last ends are told until they have arrived for sure.
            self.ended.extend(0..pulls);
        }
        let name = |id: usize| format!("{node}-{id}");
        let running = self.running.iter().map(|(id, bytes)| downloading(&name(*id), *bytes));
        let ended: BTreeSet<usize> = self.ended.iter().copied().collect();
        let ended = ended.into_iter().map(|id| completed(&name(id)));
        Some(Report {
            node_name: node.to_string(),
            sequence: self.sequence,
            pulls: running.chain(ended).collect(),
            ..Report::default()
        })
    }
}

#[tokio::test]
async fn many_at_once_lose_nothing() {
    const NODES: usize = 6;
    const PULLS: usize = 40;
    let limits =
        PullsSettings { report_interval_min: Duration::ZERO, updates_kept_max: 256, ..settings() };
    let world = World::new(limits).await;
    let agents: Vec<Mutex<Agent>> = (0..NODES).map(|_| Mutex::default()).collect();
    let done = AtomicBool::new(false);
    let told = AtomicU64::new(0);
    std::thread::scope(|threads| {
        let reporters: Vec<_> = (0..4)
            .map(|first: usize| {
                let (agents, world) = (&agents, &world);
                threads.spawn(move || {
                    let mut busy = true;
                    while busy {
                        busy = false;
                        for step in 0..NODES {
                            let node = (first + step) % NODES;
                            let report = agents[node].lock().go_on(node, PULLS);
                            if let Some(report) = report {
                                world.pulls.report(&tenant(), report).expect("taken");
                                busy = true;
                            }
                        }
                    }
                })
            })
            .collect();
        for slow in [false, true] {
            let (world, done, told) = (&world, &done, &told);
            threads.spawn(move || {
                let mut subscription = follow_all(world);
                let mut ends: BTreeMap<Arc<str>, u32> = BTreeMap::new();
                loop {
                    let is_last = done.load(Ordering::SeqCst);
                    let batch = subscription.next().now_or_never();
                    for update in batch.iter().flat_map(|batch| &batch.updates) {
                        if update.kind.is_final() {
                            *ends.entry(Arc::clone(&update.pull.id)).or_default() += 1;
                        }
                    }
                    if is_last && batch.is_none() {
                        break;
                    }
                    for _ in 0..if slow { 1_000 } else { 1 } {
                        std::thread::yield_now();
                    }
                }
                assert_eq!(ends.len(), NODES * PULLS);
                assert!(ends.values().all(|count| *count == 1), "each end is told once");
                told.fetch_add(1, Ordering::SeqCst);
            });
        }
        let (ticking, of_world) = (&done, &world);
        threads.spawn(move || {
            while !ticking.load(Ordering::SeqCst) {
                of_world.pulls.tick();
                drop((of_world.live(), of_world.pulls.nodes(&tenant()), of_world.pulls.totals()));
                std::thread::yield_now();
            }
        });
        for reporter in reporters {
            reporter.join().expect("no panic");
        }
        done.store(true, Ordering::SeqCst);
    });
    assert_eq!(told.into_inner(), 2);
    let totals = &world.pulls.totals().tenants[0].1;
    let all = (NODES * PULLS) as u64;
    assert_eq!((totals.active, totals.started, totals.completed), (0, all, all));
    assert_eq!(totals.transferred_bytes, all * 100);
    world.pulls.flush().await;
    assert_eq!(world.sink.published.lock().len() as u64, all);
}
