//! What the history promises, on SQLite and on PostgreSQL.

use std::time::Duration;

use model::TenantId;
use platform::{Clock as _, Timestamp};
use report::{LayerReport, PullPhase, PullReport, Report};
use state::PostgresCluster;

use super::script::{World, run, settings, tenant};
use crate::*;

/// Runs each case on SQLite as a test of its own, and all on one PostgreSQL.
macro_rules! contract {
    ($($case:ident),* $(,)?) => {
        mod sqlite {
            $(
                #[tokio::test]
                async fn $case() {
                    super::$case(super::World::new(super::settings()).await).await;
                }
            )*
        }

        #[tokio::test]
        async fn postgres_keeps_the_same_contract() {
            let Some(cluster) = PostgresCluster::start() else { return };
            $(
                let database = cluster.new_database().await;
                $case(World::on(database, settings()).await).await;
            )*
        }
    };
}

contract!(
    a_pull_comes_back_as_it_was,
    pages_hold_every_pull_once_whatever_happens_between,
    filters_find_what_they_find_in_memory,
    old_and_many_rows_are_removed,
    tenants_do_not_see_each_other,
    what_failed_is_written_and_published_later,
    what_is_refused_of_one_tenant_holds_up_no_other,
);

fn pull(id: usize, node: &str) -> Report {
    let pull = PullReport {
        id: format!("pull-{id}"),
        image_ref: format!("docker.io/library/image-{}:{id}", id % 3),
        digest: format!("sha256:{id:064}"),
        phase: Some(if id % 4 == 3 { PullPhase::Failed } else { PullPhase::Completed }),
        error: if id % 4 == 3 { "no_such 100% image\\".to_owned() } else { String::new() },
        total_known: true,
        layers: vec![LayerReport {
            digest: format!("sha256:{id:064}"),
            media_type: "application/vnd.oci.image.layer.v1.tar+gzip".to_owned(),
            total_bytes: 1_000,
            downloaded_bytes: 1_000,
            total_known: true,
            ..LayerReport::default()
        }],
        ..PullReport::default()
    };
    Report { node_name: node.to_owned(), pulls: vec![pull], ..Report::default() }
}

/// Ends pulls, one each second, on four nodes.
fn end_pulls(world: &World, ids: std::ops::Range<usize>) {
    for id in ids {
        world.pulls.report(&tenant(), pull(id, &format!("n{}", id % 4))).expect("taken");
        world.pass(Duration::from_secs(1));
    }
}

fn query(limit: usize) -> PullQuery {
    PullQuery { filter: PullFilter::default(), since: None, until: None, limit, cursor: None }
}

/// Returns all pulls that fit, page by page.
async fn all(world: &World, mut query: PullQuery) -> Vec<std::sync::Arc<PullView>> {
    let mut found = Vec::new();
    loop {
        let page = world.pulls.search(&tenant(), &query).await.expect("a page");
        assert!(page.pulls.len() <= query.limit);
        found.extend(page.pulls);
        match page.next {
            Some(next) => query.cursor = Some(next),
            None => return found,
        }
    }
}

fn forget(world: &World) {
    world.clock.advance(Duration::from_secs(1_801));
    world.pulls.tick();
    assert!(world.live().iter().all(|view| !view.state.is_ended()), "memory");
}

async fn a_pull_comes_back_as_it_was(mut world: World) {
    run(
        &mut world,
        "
        cluster live
        pod n1 web app nginx:1 waiting
        agent n1
          a docker.io/library/nginx:1 downloading digest=sha256:aa x=10/100:downloading c=5/5:cached
        pass 1
        agent n1
          a docker.io/library/nginx:1 failed error=gone digest=sha256:aa x=10/100:failed c=5/5:cached
        pass 1
        agent n1
          b docker.io/library/nginx:1 completed digest=sha256:aa x=100/100:done+10 c=5/5:cached
        flush
        ",
    )
    .await;
    let before = all(&world, query(10)).await;
    assert_eq!(before.len(), 2);
    forget(&world);
    assert_eq!(all(&world, query(10)).await, before);
    let one = world.pulls.get(&tenant(), &before[0].id).await.expect("readable");
    assert_eq!(one.as_ref(), Some(&before[0]));
    for id in ["", "0", "00000000000000000000000000000000", "\0"] {
        assert_eq!(world.pulls.get(&tenant(), id).await.expect("readable"), None);
    }
}

async fn pages_hold_every_pull_once_whatever_happens_between(world: World) {
    end_pulls(&world, 0..20);
    world.pulls.flush().await;
    forget(&world);
    end_pulls(&world, 20..30);
    world.pulls.flush().await;
    let ids = |pulls: &[std::sync::Arc<PullView>]| -> Vec<String> {
        pulls.iter().map(|pull| pull.id.to_string()).collect()
    };
    let expected = ids(&all(&world, query(100)).await);
    assert_eq!(expected.len(), 30);
    for limit in [1, 3, 7, 30, 31] {
        assert_eq!(ids(&all(&world, query(limit)).await), expected, "{limit}");
    }
    // Pulls begin, end and leave memory between pages.
    let mut query = query(6);
    let mut found = Vec::new();
    for round in 0.. {
        let page = world.pulls.search(&tenant(), &query).await.expect("a page");
        found.extend(ids(&page.pulls));
        let Some(next) = page.next else { break };
        query.cursor = Some(next.to_string().parse().expect("a cursor"));
        end_pulls(&world, 100 + round * 2..102 + round * 2);
        if round == 1 {
            world.pulls.flush().await;
            forget(&world);
        }
    }
    assert_eq!(found, expected);
}

async fn filters_find_what_they_find_in_memory(mut world: World) {
    run(
        &mut world,
        "
        pod n1 web-1 app nginx:1 waiting
        pod n2 db-1 app postgres:16 waiting
        agent n1
          a docker.io/library/nginx:1 completed digest=sha256:aa x=1/1:done
        agent n2 cluster=
          b docker.io/library/postgres:16 failed error=gone x=0/1:failed
        agent n1 cluster=east
          c ghcr.io/100%_sure/app:2 completed candidate=quay.io/other x=1/1:done
        pass 1
        ",
    )
    .await;
    let filters = |set: &dyn Fn(&mut PullFilter)| {
        let mut filter = PullFilter::default();
        set(&mut filter);
        filter
    };
    let some = |text: &str| Some(text.to_owned());
    let cases: Vec<(PullFilter, usize)> = vec![
        (filters(&|_| ()), 3),
        (filters(&|f| f.cluster = some("")), 2),
        (filters(&|f| f.cluster = some("east")), 1),
        (filters(&|f| f.node = some("n1")), 2),
        (filters(&|f| f.node = some("n")), 0),
        (filters(&|f| f.image = some("NGINX")), 1),
        (filters(&|f| f.image = some("sha256:aa")), 1),
        (filters(&|f| f.image = some("other")), 1),
        (filters(&|f| f.image = some("100%_SURE")), 1),
        (filters(&|f| f.image = some("1__%")), 0),
        (filters(&|f| f.image = some("\\")), 0),
        (filters(&|f| f.image = some("\0")), 0),
        (filters(&|f| f.namespace = some("default")), 2),
        (filters(&|f| f.namespace = some("defaul")), 0),
        (filters(&|f| f.pod = some("WEB-")), 1),
        (filters(&|f| f.pod = some("default")), 0),
        (filters(&|f| f.states = vec![PullState::Failed]), 1),
        (filters(&|f| f.states = vec![PullState::Failed, PullState::Completed]), 3),
        (filters(&|f| f.states = vec![PullState::Downloading]), 0),
        (filters(&|f| (f.node, f.image) = (some("n1"), some("nginx"))), 1),
        (filters(&|f| f.id = some("x")), 0),
    ];
    for in_memory in [true, false] {
        for (filter, expected) in &cases {
            let found = all(&world, PullQuery { filter: filter.clone(), ..query(2) }).await;
            assert_eq!(found.len(), *expected, "{filter:?} {in_memory}");
        }
        let begin = world.clock.now().as_millis() - 1_000;
        let times = [(0, 1, 3), (1, 2, 0), (-5, 0, 0)];
        for (since, until, expected) in times.into_iter().filter(|_| in_memory) {
            let at = |millis| Some(Timestamp::from_millis(begin + millis));
            let query = PullQuery { since: at(since), until: at(until), ..query(2) };
            assert_eq!(all(&world, query).await.len(), expected, "{since} {until}");
        }
        world.pulls.flush().await;
        forget(&world);
    }
}

async fn old_and_many_rows_are_removed(mut world: World) {
    world.settings.history_rows_max = 5;
    world.settings.history_age = Duration::from_secs(7_200);
    world.crash().await;
    end_pulls(&world, 0..8);
    world.pulls.flush().await;
    forget(&world);
    world.pulls.flush().await;
    assert_eq!(all(&world, query(100)).await.len(), 5);
    world.clock.advance(Duration::from_secs(7_200));
    world.pulls.flush().await;
    assert_eq!(all(&world, query(100)).await.len(), 0);
}

async fn tenants_do_not_see_each_other(world: World) {
    let other = TenantId::new("other").expect("a name");
    world.pulls.report(&tenant(), pull(1, "n1")).expect("taken");
    world.pulls.report(&other, pull(1, "n1")).expect("taken");
    world.pulls.flush().await;
    let live = world.live();
    assert_eq!(live.len(), 1);
    for _ in 0..2 {
        assert_eq!(all(&world, query(10)).await.len(), 1);
        let theirs = world.pulls.get(&other, &live[0].id).await.expect("readable");
        assert_eq!(theirs, None, "the same pull has another id for them");
        forget(&world);
    }
    let published = world.sink.published.lock();
    let tenants: Vec<&str> = published.iter().map(|(tenant, _)| tenant.as_str()).collect();
    assert_eq!(tenants.len(), 2);
    assert!(tenants.contains(&"other") && tenants.contains(&"default"));
}

async fn what_failed_is_written_and_published_later(world: World) {
    *world.sink.fails.lock() = true;
    // More than one batch.
    for id in 0..700 {
        world.pulls.report(&tenant(), pull(id, &format!("n{id}"))).expect("taken");
    }
    for _ in 0..2 {
        world.pulls.flush().await;
    }
    let totals = world.pulls.totals().history;
    assert_eq!((totals.queued, totals.written, totals.published), (0, 700, 0));
    assert_eq!(totals.failures, 2);
    *world.sink.fails.lock() = false;
    world.pulls.flush().await;
    assert_eq!(world.sink.published.lock().len(), 700);
    world.database.close().await;
    world.pulls.report(&tenant(), pull(1_000, "new")).expect("taken, whatever the database does");
    world.pulls.flush().await;
    let totals = world.pulls.totals().history;
    assert_eq!((totals.queued, totals.failures), (2, 3));
}

async fn what_is_refused_of_one_tenant_holds_up_no_other(mut world: World) {
    world.settings.history_age = Duration::from_secs(7_200);
    world.crash().await;
    let other = TenantId::new("another").expect("a name");
    *world.sink.refuses.lock() = Some(other.clone());
    for id in 0..3 {
        world.pulls.report(&other, pull(id, &format!("n{id}"))).expect("taken");
    }
    world.pulls.flush().await;
    world.pulls.report(&tenant(), pull(0, "n0")).expect("taken");
    world.pulls.flush().await;
    let totals = world.pulls.totals().history;
    assert_eq!((totals.published, totals.failures), (1, 2));
    // They are kept for as long as other rows are.
    world.clock.advance(Duration::from_secs(7_100));
    *world.sink.refuses.lock() = None;
    world.pulls.flush().await;
    assert_eq!(world.pulls.totals().history.published, 4);
    *world.sink.refuses.lock() = Some(other.clone());
    world.pulls.report(&other, pull(9, "n9")).expect("taken");
    world.pulls.flush().await;
    world.clock.advance(Duration::from_secs(7_300));
    world.pulls.flush().await;
    *world.sink.refuses.lock() = None;
    world.pulls.flush().await;
    world.pulls.flush().await;
    assert_eq!(world.pulls.totals().history.published, 4, "it is too old");
}
