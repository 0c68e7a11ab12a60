//! When is reported, and what.

use platform::SimRng;

use super::*;

/// A reporter with the time and what was sent last.
struct Bench {
    reporter: Reporter,
    now: Duration,
}

fn millis(millis: u64) -> Duration {
    Duration::from_millis(millis)
}

fn pull(id: &str, phase: PullPhase) -> PullReport {
    PullReport { id: id.to_owned(), phase: Some(phase), ..PullReport::default() }
}

fn refused(status: u16, retry_after: Option<u64>) -> Answer {
    let retry_after = retry_after.map(Duration::from_secs);
    Answer::Refused { status, retry_after, reason: "no".to_owned() }
}

const ACCEPTED: Answer = Answer::Accepted { ours: false };
const OURS: Answer = Answer::Accepted { ours: true };

fn unreachable() -> Answer {
    Answer::Unreachable { timed_out: false, reason: "refused".to_owned() }
}

impl Bench {
    fn new() -> Self {
        Self::with_interval(millis(1_000))
    }

    fn with_interval(interval: Duration) -> Self {
        let identity = Identity {
            node: "worker-1".to_owned(),
            cluster: "east".to_owned(),
            started: Timestamp::from_millis(1_771_883_000_000),
            interval,
        };
        let now = millis(50_000);
        Self { reporter: Reporter::new(identity, SimRng::new(1), now), now }
    }

    fn looks(&mut self, pulls: Vec<PullReport>) {
        let snapshot =
            Snapshot { pulls, runtime: "containerd 1.7.24".to_owned(), ..Snapshot::default() };
        self.reporter.looked(self.now, snapshot);
    }

    fn fails_to_look(&mut self, error: &str) {
        let snapshot = Snapshot { error: error.to_owned(), ..Snapshot::default() };
        self.reporter.looked(self.now, snapshot);
    }

    /// Returns how long it is until the next report.
    fn pause(&self) -> Duration {
        self.reporter.due().expect("nothing on its way").saturating_sub(self.now)
    }

    /// Sends the next report when it is due.
    fn sends(&mut self) -> (Report, Outgoing) {
        self.now += self.pause();
        let wall = Timestamp::from_millis(1_771_883_126_000);
        let outgoing = self.reporter.send(self.now, wall);
        assert_eq!(self.reporter.due(), None, "one at a time");
        (Report::from_json(&outgoing.json).expect("a report"), outgoing)
    }

    fn hears(&mut self, answer: &Answer) -> Vec<String> {
        self.reporter.answered(self.now, answer)
    }

    /// Sends the next report when it is due, and gets `answer` at once.
    fn reports(&mut self, answer: &Answer) -> Report {
        let (report, _) = self.sends();
        self.hears(answer);
        report
    }
}

fn ids(report: &Report) -> Vec<&str> {
    report.pulls.iter().map(|pull| pull.id.as_str()).collect()
}

#[test]
fn the_first_report_follows_the_first_look_and_says_who_reports() {
    let mut bench = Bench::new();
    bench.now += millis(30);
    bench.looks(Vec::new());
    assert_eq!(bench.pause(), Duration::ZERO);
    let report = bench.reports(&ACCEPTED);
    assert_eq!((report.node_name.as_str(), report.cluster.as_str()), ("worker-1", "east"));
    assert_eq!(report.agent_started, Some(Timestamp::from_millis(1_771_883_000_000)));
    assert_eq!(report.timestamp, Some(Timestamp::from_millis(1_771_883_126_000)));
    assert_eq!((report.sequence, report.interval_ms), (1, 1_100));
    assert_eq!(report.runtime, "containerd 1.7.24");
    assert_eq!(bench.reports(&ACCEPTED).sequence, 2);
}

#[test]
fn an_idle_agent_reports_at_its_interval_give_or_take_a_tenth() {
    let mut bench = Bench::new();
    bench.looks(Vec::new());
    let mut pauses = Vec::new();
    for _ in 0..50 {
        bench.reports(&ACCEPTED);
        assert!((900..=1_100).contains(&bench.pause().as_millis()), "{:?}", bench.pause());
        pauses.push(bench.pause());
        bench.looks(Vec::new());
        assert_eq!(pauses.last(), Some(&bench.pause()), "nothing new");
    }
    pauses.dedup();
    assert!(pauses.len() > 10, "they differ");
}

#[test]
fn no_two_reports_are_closer_than_a_server_of_pulltrace_allows() {
    let mut bench = Bench::with_interval(millis(500));
    bench.looks(Vec::new());
    for count in 0..50 {
        bench.reports(&ACCEPTED);
        let id = count.to_string();
        bench.looks(vec![pull(&id, PullPhase::Resolving)]);
        assert!(bench.pause() >= millis(550), "{:?}", bench.pause());
    }
}

#[test]
fn what_begins_or_ends_is_reported_soon() {
    let mut bench = Bench::with_interval(millis(10_000));
    let mut check = |pulls: Vec<PullReport>, soon: bool| {
        bench.now += millis(2_000);
        bench.looks(pulls);
        assert_eq!(bench.pause() == Duration::ZERO, soon, "{:?}", bench.pause());
        if soon {
            bench.reports(&ACCEPTED);
        }
    };
    check(Vec::new(), true);
    check(Vec::new(), false);
    check(vec![pull("a", PullPhase::Resolving)], true);
    check(vec![pull("a", PullPhase::Resolving)], false);
    check(vec![pull("a", PullPhase::Downloading)], true);
    check(vec![pull("a", PullPhase::Completed)], true);
    check(vec![pull("a", PullPhase::Completed)], false);
    check(Vec::new(), false);
    bench.fails_to_look("containerd is not there");
    assert_eq!(bench.pause(), Duration::ZERO);
    assert_eq!(bench.reports(&ACCEPTED).error, "containerd is not there");
    bench.now += millis(1_000);
    bench.looks(Vec::new());
    assert_eq!(bench.pause(), Duration::ZERO);
}

#[test]
fn news_that_come_while_a_report_is_on_its_way_follow_it() {
    let mut bench = Bench::with_interval(millis(10_000));
    bench.looks(Vec::new());
    let (report, _) = bench.sends();
    assert!(report.pulls.is_empty());
    bench.now += millis(100);
    bench.looks(vec![pull("a", PullPhase::Resolving)]);
    bench.now += millis(100);
    bench.hears(&ACCEPTED);
    assert_eq!(bench.pause(), GAP_MIN - millis(200));
}

#[test]
fn what_ended_is_reported_until_it_was_accepted_and_then_no_more() {
    let mut bench = Bench::new();
    bench.looks(vec![pull("a", PullPhase::Completed), pull("b", PullPhase::Downloading)]);
    for answer in [unreachable(), refused(429, None), refused(500, None)] {
        let (report, _) = bench.sends();
        assert_eq!(ids(&report), ["a", "b"]);
        assert!(bench.hears(&answer).is_empty());
    }
    bench.sends();
    assert_eq!(bench.hears(&ACCEPTED), ["a"]);
    // The watcher looks before it hears of it.
    bench.looks(vec![pull("a", PullPhase::Completed), pull("b", PullPhase::Downloading)]);
    let (report, _) = bench.sends();
    assert_eq!(ids(&report), ["b"]);
    assert!(bench.hears(&ACCEPTED).is_empty());
}

/// A server that is killed within a second of its answer has not written the end.
#[test]
fn an_end_is_told_to_a_server_of_ours_for_a_while_after_it_was_accepted() {
    let mut bench = Bench::new();
    let ended = || vec![pull("a", PullPhase::Completed)];
    bench.looks(ended());
    bench.sends();
    assert!(bench.hears(&OURS).is_empty());
    let first = bench.now;
    loop {
        bench.looks(ended());
        let (report, _) = bench.sends();
        assert_eq!(ids(&report), ["a"]);
        let forgotten = bench.hears(&OURS);
        if bench.now - first < END_TOLD_MIN {
            assert!(forgotten.is_empty(), "{:?}", bench.now - first);
        } else {
            assert_eq!(forgotten, ["a"]);
            break;
        }
    }
    bench.looks(ended());
    assert!(ids(&bench.sends().0).is_empty());
}

/// A server takes nothing but the error of such a report.
#[test]
fn an_end_is_not_delivered_with_a_report_of_a_look_that_failed() {
    let mut bench = Bench::new();
    let failed = Snapshot {
        pulls: vec![pull("a", PullPhase::Completed)],
        error: "no such socket".to_owned(),
        ..Snapshot::default()
    };
    bench.reporter.looked(bench.now, failed);
    bench.sends();
    assert!(bench.hears(&ACCEPTED).is_empty());
    bench.looks(vec![pull("a", PullPhase::Completed)]);
    bench.sends();
    assert_eq!(bench.hears(&ACCEPTED), ["a"]);
}

#[test]
fn what_ended_while_a_report_was_on_its_way_is_not_taken_for_delivered() {
    let mut bench = Bench::new();
    bench.looks(vec![pull("a", PullPhase::Downloading)]);
    bench.sends();
    bench.looks(vec![pull("a", PullPhase::Completed)]);
    assert!(bench.hears(&ACCEPTED).is_empty());
    bench.sends();
    assert_eq!(bench.hears(&ACCEPTED), ["a"]);
}

#[test]
fn only_the_newest_snapshot_is_sent_when_a_server_comes_back() {
    let mut bench = Bench::new();
    bench.looks(vec![pull("a", PullPhase::Downloading)]);
    bench.reports(&unreachable());
    for id in ["b", "c", "d"] {
        bench.looks(vec![pull(id, PullPhase::Downloading)]);
    }
    assert_eq!(ids(&bench.reports(&ACCEPTED)), ["d"]);
}

#[test]
fn failures_are_followed_by_growing_pauses_whatever_happens_on_the_node() {
    let answers = [
        unreachable(),
        Answer::Unreachable { timed_out: true, reason: "slow".to_owned() },
        refused(400, None),
        refused(401, None),
        refused(403, None),
        refused(404, None),
        refused(413, None),
        refused(429, None),
        refused(500, None),
        refused(502, None),
        refused(503, None),
        refused(302, None),
        refused(204, None),
    ];
    for answer in answers {
        let mut bench = Bench::new();
        bench.looks(Vec::new());
        for longest in [1_000, 2_000, 4_000, 8_000, 16_000, 30_000, 30_000] {
            bench.reports(&answer);
            let pause = bench.pause();
            bench.looks(vec![pull(&longest.to_string(), PullPhase::Resolving)]);
            assert_eq!(bench.pause(), pause, "news do not shorten it");
            let least = millis(longest / 2).max(GAP_MIN);
            assert!(pause >= least && pause <= millis(longest), "{answer:?}: {pause:?}");
        }
        bench.reports(&ACCEPTED);
        assert!(bench.pause() <= millis(1_100), "one success ends it");
    }
}

#[test]
fn a_server_says_how_long_it_wants_to_be_left_alone() {
    let check = |status, seconds, least: u64, most: u64| {
        let mut bench = Bench::new();
        bench.looks(Vec::new());
        bench.reports(&refused(status, Some(seconds)));
        let pause = bench.pause();
        assert!(pause >= millis(least) && pause <= millis(most), "{status} {seconds}: {pause:?}");
    };
    check(429, 20, 20_000, 20_000);
    check(503, 90, 90_000, 90_000);
    check(429, 0, 550, 1_000);
    check(429, 86_400, 300_000, 300_000);
    check(500, 90, 550, 1_000);
}

#[test]
fn reports_are_compressed_once_the_server_said_that_it_is_one_of_ours() {
    let mut bench = Bench::new();
    bench.looks(vec![pull("a", PullPhase::Completed)]);
    let sends = |bench: &mut Bench, answer: &Answer| {
        let (_, outgoing) = bench.sends();
        bench.hears(answer);
        outgoing.compress
    };
    assert!(!sends(&mut bench, &OURS));
    assert!(sends(&mut bench, &OURS));
    // It was replaced by Pulltrace's.
    assert!(sends(&mut bench, &refused(400, None)));
    assert_eq!(bench.pause(), GAP_MIN, "this is no failure");
    assert!(!sends(&mut bench, &ACCEPTED));
    assert!(!sends(&mut bench, &OURS));
    assert!(sends(&mut bench, &unreachable()));
    assert!(sends(&mut bench, &OURS), "a failure says nothing about it");
}

#[test]
fn what_is_too_large_for_a_server_is_sent_shorter() {
    let mut bench = Bench::new();
    let layer = report::LayerReport { digest: "d".repeat(500), ..Default::default() };
    let large = |id: usize| PullReport {
        layers: vec![layer.clone(); 50],
        ..pull(&id.to_string(), PullPhase::Downloading)
    };
    bench.looks((0..20).map(large).collect());
    let (_, first) = bench.sends();
    bench.hears(&refused(413, None));
    let (report, second) = bench.sends();
    assert!(second.json.len() <= first.json.len() / 2);
    assert_eq!(report.pulls.len(), 20);
    bench.hears(&ACCEPTED);
    assert_eq!(bench.sends().1.json.len(), first.json.len(), "it may have been another server");
}

#[test]
fn new_credentials_are_tried_at_once() {
    let mut bench = Bench::new();
    bench.looks(Vec::new());
    for _ in 0..5 {
        bench.reports(&refused(401, None));
    }
    bench.now += millis(100);
    bench.reporter.try_again(bench.now);
    assert_eq!(bench.pause(), GAP_MIN - millis(100));
}

#[test]
fn an_agent_that_sees_nothing_says_so() {
    let mut bench = Bench::new();
    assert_eq!(bench.pause(), FIRST_LOOK_MAX);
    assert_eq!(bench.reports(&ACCEPTED).error, "the agent has seen nothing yet");
    bench.looks(Vec::new());
    assert_eq!(bench.reports(&ACCEPTED).error, "");
    bench.now += LOOK_SILENCE_MAX;
    let report = bench.reports(&ACCEPTED);
    assert!(report.error.starts_with("the agent has seen nothing for 3"), "{}", report.error);
}

#[test]
fn every_answer_has_a_kind_that_is_listed() {
    let kinds: Vec<&str> = [
        ACCEPTED,
        refused(401, None),
        refused(429, None),
        refused(307, None),
        refused(503, None),
        refused(400, None),
        Answer::Unreachable { timed_out: true, reason: String::new() },
        unreachable(),
    ]
    .iter()
    .map(|answer| answer.kind().as_str())
    .collect();
    let all: Vec<&str> = AnswerKind::ALL.iter().map(|kind| kind.as_str()).collect();
    assert_eq!(kinds, all);
}
