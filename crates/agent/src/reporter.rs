//! What is reported when: a machine without clock and connection.
//!
//! Only the newest snapshot is ever sent, so nothing queues up while a server is away; what ended stays in the snapshots
//! until a server has taken it.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::time::Duration;

use platform::{Rng, Timestamp};
use report::{PullPhase, PullReport, Report};

use crate::Snapshot;

mod body;
mod client;

#[cfg(test)]
mod tests;

pub(crate) use body::{BODY_BYTES_MAX, BODY_BYTES_MIN};
pub use client::CredentialsError;
pub(crate) use client::{Client, Refreshed, TIMEOUT};

/// Shortest time between two reports. Pulltrace's server refuses a second one within 500 ms, and the first may have come
/// to it later than the second.
pub(crate) const GAP_MIN: Duration = Duration::from_millis(550);

/// How long the end of a pull is told again after it was first accepted. Our server has it in memory then and writes it
/// within a second; one that is killed in between hears of it again.
const END_TOLD_MIN: Duration = Duration::from_secs(3);

/// Longest pause after failures, unless the server asks for a longer one.
pub(crate) const PAUSE_MAX: Duration = Duration::from_secs(30);

/// The longest pause that a server can ask for.
pub(crate) const RETRY_AFTER_MAX: Duration = Duration::from_secs(5 * 60);

/// How long the first report waits for the first look.
pub(crate) const FIRST_LOOK_MAX: Duration = Duration::from_secs(5);

/// How long the agent may see nothing before its reports say so. Idle, it looks every 5 s at most.
pub(crate) const LOOK_SILENCE_MAX: Duration = Duration::from_secs(30);

/// By how much the time between two reports varies, in thousandths, so that agents that began together drift apart.
const JITTER_PERMILLE: u32 = 100;

/// Who reports.
#[derive(Clone, Debug)]
pub(crate) struct Identity {
    pub(crate) node: String,
    pub(crate) cluster: String,
    /// When this run began, by the wall clock.
    pub(crate) started: Timestamp,
    pub(crate) interval: Duration,
}

/// What became of a report.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) enum Answer {
    /// The server has it.
    Accepted {
        /// Whether it is one of ours, which reads compressed reports.
        ours: bool,
    },
    /// The server does not take it.
    Refused {
        /// The status.
        status: u16,
        /// How long the server wants to be left alone.
        retry_after: Option<Duration>,
        /// What it said.
        reason: String,
    },
    /// There was no answer, or half of one.
    Unreachable {
        /// Whether it took too long.
        timed_out: bool,
        /// What happened.
        reason: String,
    },
}

impl Answer {
    /// Returns the word under which it is counted.
    pub(crate) const fn kind(&self) -> AnswerKind {
        match self {
            Self::Accepted { .. } => AnswerKind::Accepted,
            Self::Refused { status: 401 | 403, .. } => AnswerKind::Unauthorized,
            Self::Refused { status: 429, .. } => AnswerKind::RateLimited,
            Self::Refused { status: 300..=399, .. } => AnswerKind::Redirected,
            Self::Refused { status: 500..=599, .. } => AnswerKind::Unavailable,
            Self::Refused { .. } => AnswerKind::Refused,
            Self::Unreachable { timed_out: true, .. } => AnswerKind::TimedOut,
            Self::Unreachable { timed_out: false, .. } => AnswerKind::Unreachable,
        }
    }
}

/// Kinds of answers.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum AnswerKind {
    Accepted,
    Unauthorized,
    RateLimited,
    Redirected,
    Unavailable,
    Refused,
    TimedOut,
    Unreachable,
}

impl AnswerKind {
    /// All, in order.
    pub(crate) const ALL: [Self; 8] = [
        Self::Accepted,
        Self::Unauthorized,
        Self::RateLimited,
        Self::Redirected,
        Self::Unavailable,
        Self::Refused,
        Self::TimedOut,
        Self::Unreachable,
    ];

    /// Returns the word in metrics and in the log.
    pub(crate) const fn as_str(self) -> &'static str {
        match self {
            Self::Accepted => "accepted",
            Self::Unauthorized => "unauthorized",
            Self::RateLimited => "rate_limited",
            Self::Redirected => "redirected",
            Self::Unavailable => "unavailable",
            Self::Refused => "refused",
            Self::TimedOut => "timed_out",
            Self::Unreachable => "unreachable",
        }
    }
}

/// A report on its way.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Outgoing {
    /// The JSON.
    pub(crate) json: Vec<u8>,
    /// Whether it is to be sent compressed.
    pub(crate) compress: bool,
}

/// Decides what is reported when.
#[derive(Debug)]
pub(crate) struct Reporter {
    identity: Identity,
    rng: Arc<dyn Rng>,
    newest: Snapshot,
    looked_at: Option<Duration>,
    /// When the server first accepted the end of a pull.
    accepted: BTreeMap<String, Duration>,
    /// The ended pulls that the server has, durably.
    delivered: BTreeSet<String>,
    /// What the last report said of each pull, and whether there was an error.
    told: Told,
    sent_at: Option<Duration>,
    next_at: Duration,
    on_its_way: Option<OnItsWay>,
    failures: u32,
    ours: bool,
    bytes_max: usize,
    sequence: u64,
}

#[derive(Debug, Default, PartialEq)]
struct Told {
    phases: BTreeMap<String, Option<PullPhase>>,
    error: bool,
}

#[derive(Debug)]
struct OnItsWay {
    ended: Vec<String>,
    compressed: bool,
    bytes: usize,
}

impl Reporter {
    /// Returns a reporter that has seen nothing. Its first report is due at the first look, or after [`FIRST_LOOK_MAX`]
    /// without one.
    pub(crate) fn new(identity: Identity, rng: Arc<dyn Rng>, now: Duration) -> Self {
        Self {
            identity,
            rng,
            newest: Snapshot::default(),
            looked_at: None,
            accepted: BTreeMap::new(),
            delivered: BTreeSet::new(),
            told: Told::default(),
            sent_at: None,
            next_at: now + FIRST_LOOK_MAX,
            on_its_way: None,
            failures: 0,
            ours: false,
            bytes_max: BODY_BYTES_MAX,
            sequence: 0,
        }
    }

    /// Takes what a look showed.
    pub(crate) fn looked(&mut self, now: Duration, snapshot: Snapshot) {
        self.looked_at = Some(now);
        // What the watcher has forgotten need not be remembered any more.
        self.delivered.retain(|id| snapshot.pulls.iter().any(|pull| pull.id == *id));
        self.accepted.retain(|id, _| snapshot.pulls.iter().any(|pull| pull.id == *id));
        self.newest = snapshot;
        match self.sent_at {
            None => self.next_at = self.next_at.min(now),
            Some(sent_at) if self.failures == 0 && self.has_news() => {
                self.next_at = self.next_at.min(sent_at + GAP_MIN);
            }
            Some(_) => {}
        }
    }

    /// Returns when the next report is due; `None` while one is on its way.
    pub(crate) const fn due(&self) -> Option<Duration> {
        if self.on_its_way.is_some() { None } else { Some(self.next_at) }
    }

    /// Returns the earliest time at which another report can be sent whatever happened.
    pub(crate) fn earliest(&self, now: Duration) -> Duration {
        self.sent_at.map_or(now, |sent_at| now.max(sent_at + GAP_MIN))
    }

    /// Returns the report that goes out now. Its answer must be told before the next one.
    pub(crate) fn send(&mut self, now: Duration, wall: Timestamp) -> Outgoing {
        self.sequence += 1;
        let report = self.report(now, wall);
        let looks = report.error.is_empty();
        let (json, mut ended) = body::write(report, self.bytes_max);
        if !looks {
            // What such a report says of pulls is not taken: the ends stay until the next look that succeeds.
            ended.clear();
        }
        self.told = self.to_tell();
        self.sent_at = Some(now);
        self.on_its_way = Some(OnItsWay { ended, compressed: self.ours, bytes: json.len() });
        Outgoing { json, compress: self.ours }
    }

    /// Takes the answer to the last report, and returns the ended pulls that the watcher can forget.
    pub(crate) fn answered(&mut self, now: Duration, answer: &Answer) -> Vec<String> {
        let Some(sent) = self.on_its_way.take() else { return Vec::new() };
        let sent_at = self.sent_at.unwrap_or(now);
        if let Answer::Accepted { ours } = *answer {
            self.failures = 0;
            self.ours = ours;
            self.bytes_max = BODY_BYTES_MAX;
            self.next_at = sent_at + self.jittered(self.identity.interval).max(GAP_MIN);
            if self.has_news() {
                self.next_at = sent_at + GAP_MIN;
            }
            let mut ended = sent.ended;
            ended.retain(|id| {
                let first = *self.accepted.entry(id.clone()).or_insert(now);
                // A server of Pulltrace takes what is still reported for running.
                !ours || END_TOLD_MIN <= now.saturating_sub(first)
            });
            self.delivered.extend(ended.iter().cloned());
            return ended;
        }
        if let Answer::Refused { status: 400 | 415, .. } = answer
            && sent.compressed
        {
            // The server was replaced by one that reads no compressed reports.
            self.ours = false;
            self.next_at = sent_at + GAP_MIN;
            return Vec::new();
        }
        if let Answer::Refused { status: 413, .. } = answer {
            self.bytes_max = (sent.bytes / 2).max(BODY_BYTES_MIN);
        }
        self.failures = self.failures.saturating_add(1);
        let asked = match answer {
            Answer::Refused { status: 429 | 503, retry_after, .. } => {
                retry_after.unwrap_or_default()
            }
            _ => Duration::ZERO,
        };
        self.next_at = now + self.pause().max(asked.min(RETRY_AFTER_MAX)).max(GAP_MIN);
        Vec::new()
    }

    /// Makes the next report due at once: what the server refused was replaced.
    pub(crate) fn try_again(&mut self, now: Duration) {
        self.next_at = self.earliest(now);
    }

    fn report(&self, now: Duration, wall: Timestamp) -> Report {
        let identity = &self.identity;
        let interval = identity.interval + identity.interval * JITTER_PERMILLE / 1_000;
        Report {
            node_name: identity.node.clone(),
            timestamp: Some(wall),
            pulls: self.undelivered().cloned().collect(),
            cluster: identity.cluster.clone(),
            agent_version: env!("CARGO_PKG_VERSION").to_owned(),
            agent_started: Some(identity.started),
            sequence: self.sequence,
            interval_ms: u64::try_from(interval.as_millis()).unwrap_or(u64::MAX),
            runtime: self.newest.runtime.clone(),
            source: self.newest.source,
            error: self.error(now),
        }
    }

    fn error(&self, now: Duration) -> String {
        let Some(looked_at) = self.looked_at else {
            return "the agent has seen nothing yet".to_owned();
        };
        let silence = now.saturating_sub(looked_at);
        if silence >= LOOK_SILENCE_MAX {
            return format!("the agent has seen nothing for {} s", silence.as_secs());
        }
        self.newest.error.clone()
    }

    fn undelivered(&self) -> impl Iterator<Item = &PullReport> {
        self.newest.pulls.iter().filter(|pull| !self.delivered.contains(&pull.id))
    }

    fn to_tell(&self) -> Told {
        Told {
            phases: self.undelivered().map(|pull| (pull.id.clone(), pull.phase)).collect(),
            error: !self.newest.error.is_empty(),
        }
    }

    /// Returns whether a pull began, went on to another phase or ended since the last report, or looking began or ceased
    /// to fail.
    fn has_news(&self) -> bool {
        self.told.error == self.newest.error.is_empty()
            || self.undelivered().any(|pull| self.told.phases.get(&pull.id) != Some(&pull.phase))
    }

    fn jittered(&self, time: Duration) -> Duration {
        time * (1_000 - JITTER_PERMILLE + self.below(2 * JITTER_PERMILLE + 1)) / 1_000
    }

    /// Returns the pause after so many failures: doubled each time, and anything from half of that up, so that the agents of
    /// a server that comes back do not all come at once.
    fn pause(&self) -> Duration {
        let doublings = self.failures.saturating_sub(1).min(16);
        let longest = (Duration::from_secs(1).max(self.identity.interval))
            .saturating_mul(1 << doublings)
            .min(PAUSE_MAX.max(self.identity.interval));
        longest * (500 + self.below(501)) / 1_000
    }

    fn below(&self, limit: u32) -> u32 {
        u32::try_from(self.rng.next_u64() % u64::from(limit)).unwrap_or_default()
    }
}
