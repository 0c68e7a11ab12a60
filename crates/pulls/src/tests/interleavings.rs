//! What holds whatever happens in whatever order.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use futures_util::FutureExt as _;
use platform::Clock as _;
use proptest::prelude::*;
use report::{LayerReport, PullPhase, PullReport, Report};

use super::script::{World, settings, tenant};
use crate::*;

/// Something that happens; the numbers choose of whom and what.
type Step = (u8, u8, u8);

const NODES: usize = 3;

/// An agent that never lies: bytes grow, what ended is told until it was accepted.
#[derive(Debug, Default)]
struct Agent {
    pulls: Vec<(usize, u64, PullPhase)>,
}

/// Somebody who follows, and what was told.
#[derive(Default)]
struct Follower {
    subscription: Option<Subscription>,
    position: Option<UpdateId>,
    /// By identifier: percent, and whether it ended.
    heard: BTreeMap<Arc<str>, (f64, bool)>,
}

struct Play {
    world: World,
    agents: Vec<Agent>,
    followers: Vec<Follower>,
    next_pull: usize,
    /// Ends that a flush has seen.
    durable: BTreeSet<Arc<str>>,
}

impl Play {
    async fn new() -> Self {
        let limits = PullsSettings {
            updates_kept_max: 12,
            batch_updates_max: 3,
            recent_age: Duration::from_secs(100_000),
            ..settings()
        };
        Self {
            world: World::new(limits).await,
            agents: (0..NODES).map(|_| Agent::default()).collect(),
            followers: (0..3).map(|_| Follower::default()).collect(),
            next_pull: 0,
            durable: BTreeSet::new(),
        }
    }

    async fn step(&mut self, (what, whom, how): Step) {
        match what % 12 {
            0..=5 => {
                self.change(usize::from(whom) % NODES, how);
                self.report(usize::from(whom) % NODES, how % 11 == 10, how % 3 == 0);
            }
            6 => self.world.pass(Duration::from_secs(u64::from(how % 25))),
            7 => self.flush().await,
            8 if how % 2 == 0 => {
                self.flush().await;
                self.restart().await;
            }
            8 => self.restart().await,
            9 => self.follow(usize::from(whom) % 3, how % 2 == 0),
            _ => self.read(usize::from(whom) % 3),
        }
        self.check();
    }

    fn change(&mut self, node: usize, how: u8) {
        let pulls = &mut self.agents[node].pulls;
        let running = pulls.iter_mut().filter(|pull| pull.2 == PullPhase::Downloading);
        let chosen = running.last();
        match (how % 7, chosen) {
            (0 | 1, _) | (_, None) => {
                pulls.push((self.next_pull, 0, PullPhase::Downloading));
                self.next_pull += 1;
            }
            (2 | 3, Some(pull)) => pull.1 = (pull.1 + u64::from(how)).min(100),
            (4, Some(pull)) => (pull.1, pull.2) = (100, PullPhase::Completed),
            (5, Some(pull)) => pull.2 = PullPhase::Failed,
            // It is lost sight of.
            (_, Some(_)) => drop(pulls.pop()),
        }
    }

    fn report(&mut self, node: usize, fails: bool, answer_is_lost: bool) {
        self.world.pass(Duration::from_millis(100));
        let pull = |&(id, bytes, phase): &(usize, u64, PullPhase)| PullReport {
            id: format!("pull-{id}"),
            image_ref: format!("docker.io/library/image:{}", id % 4),
            phase: Some(phase),
            total_known: true,
            layers: vec![LayerReport {
                digest: format!("sha256:{id}"),
                total_bytes: 100,
                downloaded_bytes: i64::try_from(bytes).expect("small"),
                total_known: true,
                ..LayerReport::default()
            }],
            ..PullReport::default()
        };
        let report = Report {
            node_name: format!("n{node}"),
            timestamp: Some(self.world.clock.now()),
            pulls: self.agents[node].pulls.iter().map(pull).collect(),
            error: if fails { "no socket".to_owned() } else { String::new() },
            ..Report::default()
        };
        self.world.pulls.report(&tenant(), report).expect("taken");
        if !fails && !answer_is_lost {
            self.agents[node].pulls.retain(|pull| pull.2 == PullPhase::Downloading);
        }
    }

    async fn flush(&mut self) {
        self.world.pulls.flush().await;
        let ended = self.world.live().into_iter().filter(|view| view.state.is_ended());
        self.durable.extend(ended.map(|view| Arc::clone(&view.id)));
    }

    async fn restart(&mut self) {
        self.world.clock.advance(Duration::from_millis(1));
        self.world.crash().await;
        // Progress since the last write is lost with the process, not what is durable.
        let live = self.world.live();
        for id in &self.durable {
            let view = live.iter().find(|view| view.id == *id).expect("kept");
            assert!(view.state.is_ended(), "{view:?}");
        }
        for follower in &mut self.followers {
            follower.subscription = None;
            follower.heard.clear();
        }
    }

    fn follow(&mut self, who: usize, goes_on: bool) {
        let follower = &mut self.followers[who];
        let after = follower.position.filter(|_| goes_on);
        if after.is_none() {
            // Whoever begins anew knows nothing, and has no position until something was read.
            follower.heard.clear();
            follower.position = None;
        }
        let interest = Interest { after, ..Interest::default() };
        let subscription = self.world.pulls.subscribe(&tenant(), interest).expect("room");
        follower.subscription = Some(subscription);
    }

    fn read(&mut self, who: usize) {
        let follower = &mut self.followers[who];
        let Some(subscription) = &mut follower.subscription else { return };
        while let Some(batch) = subscription.next().now_or_never() {
            for update in &batch.updates {
                hear(&mut follower.heard, update, batch.resync);
            }
            follower.position = Some(batch.position);
        }
        // Who has read everything knows what is.
        let live = self.world.live();
        for view in &live {
            let heard = follower.heard.get(&view.id);
            assert_eq!(heard, Some(&(view.percent, view.state.is_ended())), "{view:?}");
        }
    }

    fn check(&self) {
        let live = self.world.live();
        let running = live.iter().filter(|view| !view.state.is_ended()).count() as u64;
        let totals = self.world.pulls.totals();
        let Some((_, totals)) = totals.tenants.first() else { return };
        assert_eq!(totals.active, running);
        assert_eq!(totals.recent, live.len() as u64 - running);
        let by_node: u64 = totals.by_node.iter().map(|node| node.active).sum();
        assert_eq!(by_node, running);
        for view in &live {
            assert!((0.0..=100.0).contains(&view.percent), "{view:?}");
            assert_eq!(view.ended_at.is_some(), view.state.is_ended(), "{view:?}");
            assert_eq!(
                view.state == PullState::Completed,
                view.percent >= 100.0 && view.ended_at.is_some() && view.state != PullState::Failed,
                "{view:?}"
            );
        }
        let published = self.world.sink.published.lock();
        let ids: BTreeSet<&Arc<str>> = published.iter().map(|(_, view)| &view.id).collect();
        assert_eq!(ids.len(), published.len(), "each end is published once");
    }
}

fn hear(heard: &mut BTreeMap<Arc<str>, (f64, bool)>, update: &Update, again: bool) {
    let pull = &update.pull;
    let before = heard.insert(Arc::clone(&pull.id), (pull.percent, pull.state.is_ended()));
    assert_eq!(update.kind.is_final(), pull.state.is_ended());
    let Some((percent, has_ended)) = before else { return };
    assert!(percent <= pull.percent, "it goes backwards: {percent} {pull:?}");
    assert!(!has_ended || (again && pull.state.is_ended()), "after its end: {pull:?}");
}

fn play(steps: Vec<Step>) {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_time().build().expect("a runtime");
    runtime.block_on(async {
        let mut play = Play::new().await;
        for step in steps {
            play.step(step).await;
        }
        for who in 0..3 {
            play.read(who);
        }
        // Whoever is silent now is lost in the end: every pull ends.
        play.world.pass(Duration::from_secs(601));
        play.world.pulls.flush().await;
        let live = play.world.live();
        assert!(live.iter().all(|view| view.state.is_ended()));
        assert_eq!(play.world.sink.published.lock().len(), live.len());
        for who in 0..3 {
            play.read(who);
        }
    });
}

proptest! {
    #![proptest_config(ProptestConfig { cases: 12, ..ProptestConfig::default() })]

    #[test]
    fn progress_goes_forward_and_each_pull_ends_once_for_everybody(
        steps in prop::collection::vec(any::<Step>(), 1..120),
    ) {
        play(steps);
    }
}
