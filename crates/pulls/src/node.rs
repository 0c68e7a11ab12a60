//! A node: what its agent said last, and the pulls that run there.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;

use platform::Timestamp;
use report::{PullPhase, PullReport, Report, Source};

use crate::attempts::Attempts;
use crate::cluster::ClusterPods;
use crate::counters::{Counters, Ended};
use crate::error::ReportRefused;
use crate::history::{Entry, Queue};
use crate::hub::{Change, Hub, Place};
use crate::identity::{Key, Whereabouts};
use crate::lists::NodeView;
use crate::original::pulls_of;
use crate::pull::{Ending, Pull, Site};
use crate::settings::{MESSAGE_BYTES_MAX, PULL_ID_BYTES_MAX, PullsSettings, WORD_BYTES_MAX};
use crate::text::{clip, clip_again};
use crate::time::{Now, Skew};
use crate::update::UpdateKind;
use crate::view::{FailureSource, PullFailure, PullView};

/// An agent is silent after so many of its intervals.
const INTERVALS_OF_SILENCE: u32 = 5;
/// Longest interval that an agent's word is taken for.
const INTERVAL_MAX: Duration = Duration::from_secs(300);
/// Most pulls of a node whose end is remembered, so that they do not begin again when they are told again. An agent tells
/// 1,000 at most.
const ENDED_MAX: usize = 2_048;
/// How long it is remembered. An agent tells a pull for 10 minutes at most.
const ENDED_AGE_MAX: Duration = Duration::from_secs(1_200);
/// Most pulls under the identifier of one that ended.
const AGAIN_MAX: u8 = 16;
/// Without a report for so long, rates are measured anew each second.
const QUIET: Duration = Duration::from_millis(1_500);

/// What a node shares with the others of its tenant.
#[derive(Clone, Copy)]
pub(crate) struct Shared<'a> {
    pub(crate) now: Now,
    pub(crate) settings: &'a PullsSettings,
    pub(crate) hub: &'a Hub,
    pub(crate) counters: &'a Counters,
    pub(crate) queue: &'a Queue,
    pub(crate) pods: &'a ClusterPods,
}

/// A node.
#[derive(Debug)]
pub(crate) struct Node {
    place: Whereabouts,
    agent: Agent,
    pulls: BTreeMap<Key, Followed>,
    /// Keys that were refused at the last look, for want of room.
    refused: BTreeSet<Key>,
    /// By identifier.
    ended: BTreeMap<Arc<str>, EndOf>,
    attempts: Attempts,
    counts: Ended,
    /// Counts the looks of the agent.
    look: u64,
    /// Kept between reports for its memory.
    changes: Vec<Change>,
    /// As `changes`: what happened to the layers of one pull.
    happened: Vec<(usize, UpdateKind)>,
    /// Whether it was forgotten: a report for it needs another one.
    pub(crate) is_gone: bool,
}

/// A pull and its place on the board.
#[derive(Debug)]
struct Followed {
    place: Place,
    pull: Pull,
}

/// When a pull ended, and whether its agent said so.
#[derive(Clone, Copy, Debug)]
struct EndOf {
    at: Duration,
    told: bool,
}

/// What is known of an agent.
#[derive(Debug)]
struct Agent {
    version: Arc<str>,
    runtime: Arc<str>,
    source: Source,
    error: Arc<str>,
    interval: Duration,
    started: Option<Timestamp>,
    sequence: u64,
    skew: Skew,
    /// When it reported last.
    reported: Option<Now>,
    /// When it last said what there is, rather than why it cannot look; when the server started, if it has not yet.
    looked: Duration,
    /// Whether it was silent at the last tick.
    is_silent: bool,
}

impl Node {
    pub(crate) fn new(place: Whereabouts, now: Now) -> Self {
        Self {
            place,
            agent: Agent {
                version: "".into(),
                runtime: "".into(),
                source: Source::Unstated,
                error: "".into(),
                interval: Duration::ZERO,
                started: None,
                sequence: 0,
                skew: Skew::default(),
                reported: None,
                looked: now.monotonic,
                is_silent: false,
            },
            pulls: BTreeMap::new(),
            refused: BTreeSet::new(),
            ended: BTreeMap::new(),
            attempts: Attempts::default(),
            counts: Ended::default(),
            look: 0,
            changes: Vec::new(),
            happened: Vec::new(),
            is_gone: false,
        }
    }

    /// Adds a pull that ran when the server stopped.
    pub(crate) fn restore(&mut self, shared: &Shared<'_>, entry: &Entry) {
        let original = !matches!(entry.key, Key::Identified(_));
        let view = Arc::clone(&entry.view);
        let digest = Arc::clone(&entry.manifest_digest);
        if let Some(place) = shared.hub.begin(shared.now.wall, &view) {
            let pull = Pull::restored(view, shared.now, digest, original);
            self.pulls.insert(entry.key.clone(), Followed { place, pull });
        }
    }

    /// Notes a pull that ended before the server started.
    pub(crate) fn restore_ended(&mut self, now: Now, view: &PullView) {
        self.attempts.note(now.monotonic, view);
        // Who told it is not stored. Silence is no word of an agent; other ends are told again by one that did not hear that
        // its report was taken.
        let is_silence = |failure: &PullFailure| failure.source == FailureSource::Silence;
        let told = !view.failure.as_ref().is_some_and(is_silence);
        self.forget_old_ends(now.monotonic);
        self.ended.insert(Arc::clone(&view.id), EndOf { at: now.monotonic, told });
    }

    /// Takes a report.
    ///
    /// # Errors
    ///
    /// It came too soon after the one before.
    pub(crate) fn report(
        &mut self,
        shared: &Shared<'_>,
        report: Report,
    ) -> Result<(), ReportRefused> {
        let now = shared.now;
        if let Some(last) = self.agent.reported {
            let since = now.monotonic.saturating_sub(last.monotonic);
            let interval = shared.settings.report_interval_min;
            if since < interval {
                return Err(ReportRefused::TooSoon { retry_after: interval - since });
            }
        }
        if self.agent.hear(now, &report) {
            self.look(shared, report.pulls);
        }
        Ok(())
    }

    /// Takes what the agent sees.
    fn look(&mut self, shared: &Shared<'_>, pulls: Vec<PullReport>) {
        self.look += 1;
        self.agent.looked = shared.now.monotonic;
        let refused = std::mem::take(&mut self.refused);
        let waits = shared.pods.has_waiting(&self.place.node);
        let (identified, original): (Vec<_>, Vec<_>) =
            pulls.into_iter().partition(|pull| !pull.id.is_empty());
        for pull in identified {
            if pull.id.len() <= PULL_ID_BYTES_MAX {
                let id = self.place.pull_id(&[b"agent", pull.id.as_bytes()]);
                self.see(shared, waits, &refused, Key::Identified(id), &pull, None);
            }
        }
        for seen in pulls_of(original) {
            self.see(shared, waits, &refused, seen.key, &seen.pull, seen.metadata_there);
        }
        self.end_what_is_gone(shared, waits);
        shared.hub.publish(shared.now.wall, &mut self.changes);
    }

    /// Takes what the agent sees of one pull.
    fn see(
        &mut self,
        shared: &Shared<'_>,
        waits: bool,
        refused: &BTreeSet<Key>,
        key: Key,
        report: &PullReport,
        metadata_there: Option<bool>,
    ) {
        let is_final = matches!(report.phase, Some(PullPhase::Completed | PullPhase::Failed));
        let Some(key) = self.key_of(key, is_final) else { return };
        let mut happened = std::mem::take(&mut self.happened);
        happened.clear();
        let is_new = !self.pulls.contains_key(&key);
        if is_new {
            self.begin(shared, waits, refused, &key, (report, metadata_there), &mut happened);
        }
        let Self { place, agent, pulls, attempts, changes, look, .. } = self;
        let site = site(shared, place, agent.skew, attempts, waits);
        let Some(Followed { place, pull }) = pulls.get_mut(&key) else { return };
        // Told twice in one report, or on its way to its end.
        let is_done = std::mem::replace(&mut pull.seen, *look) == *look || pull.ending.is_some();
        if is_done {
            return;
        }
        let has_changed = !is_new && pull.apply(&site, report, metadata_there, &mut happened);
        if shared.hub.layers_are_followed() {
            changes.extend(happened.iter().map(|(layer, kind)| Change {
                place: *place,
                kind: *kind,
                view: Arc::clone(&pull.view),
                layer: Some(*layer),
            }));
        }
        self.happened = happened;
        if is_final {
            pull.ending = Some(pull.end_as_told(&site, report));
            self.end_if_due(shared, waits, &key);
        } else if has_changed {
            changes.push(progress(*place, pull));
        }
    }

    /// Returns the key under which a pull is followed; `None` where its end was told already.
    ///
    /// What ended only because nobody saw it any more begins anew when it is seen again.
    fn key_of(&self, key: Key, is_final: bool) -> Option<Key> {
        let Key::Identified(first) = &key else { return Some(key) };
        let mut id = Arc::clone(first);
        for again in 1..=AGAIN_MAX {
            let key = Key::Identified(Arc::clone(&id));
            if self.pulls.contains_key(&key) {
                return Some(key);
            }
            let Some(end) = self.ended.get(&id) else {
                // What began anew has to be seen before its end counts.
                return (again == 1 || !is_final).then_some(key);
            };
            if end.told {
                return None;
            }
            id = self.place.pull_id(&[b"again", first.as_bytes(), &[again]]);
        }
        None
    }

    /// Begins to follow a pull, if there is room.
    fn begin(
        &mut self,
        shared: &Shared<'_>,
        waits: bool,
        refused: &BTreeSet<Key>,
        key: &Key,
        (report, metadata_there): (&PullReport, Option<bool>),
        happened: &mut Vec<(usize, UpdateKind)>,
    ) {
        let now = shared.now;
        // What ended makes room.
        shared.hub.publish(now.wall, &mut self.changes);
        let site = site(shared, &self.place, self.agent.skew, &self.attempts, waits);
        let started_at = site.skew.to_server(now, report.started_at).unwrap_or(now.wall);
        let original = !matches!(key, Key::Identified(_));
        let id = match key {
            Key::Identified(id) => Arc::clone(id),
            Key::Named(name) => self.original_id(name, started_at, now),
            Key::Digests => self.original_id("", started_at, now),
        };
        let mut pull = Pull::new(id, &site, started_at, original);
        pull.apply(&site, report, metadata_there, happened);
        let Some(place) = shared.hub.begin(now.wall, &pull.view) else {
            if !refused.contains(key) {
                shared.counters.pulls_refused.fetch_add(1, Ordering::Relaxed);
                tracing::warn!(
                    tenant = %self.place.tenant, node = &*self.place.node,
                    "a pull is not followed: as many run as may"
                );
            }
            self.refused.insert(key.clone());
            return;
        };
        shared.counters.started.fetch_add(1, Ordering::Relaxed);
        shared.queue.push(&self.place.tenant, entry(key, &pull));
        self.pulls.insert(key.clone(), Followed { place, pull });
    }

    /// Returns the identifier of a pull whose agent gives it none.
    fn original_id(&self, reference: &str, started_at: Timestamp, now: Now) -> Arc<str> {
        let id = |parts: &[&[u8]]| self.place.pull_id(parts);
        let started = started_at.as_millis().to_be_bytes();
        let usual = id(&[b"original", reference.as_bytes(), &started]);
        if !self.ended.contains_key(&usual) {
            return usual;
        }
        // The same reference and time again, after it was gone.
        let nanos = now.monotonic.as_nanos().to_be_bytes();
        id(&[b"original", reference.as_bytes(), &started, &nanos])
    }

    fn end_what_is_gone(&mut self, shared: &Shared<'_>, waits: bool) {
        let is_gone =
            |followed: &Followed| followed.pull.seen != self.look && followed.pull.ending.is_none();
        let gone = self.pulls.iter().filter(|(_, followed)| is_gone(followed));
        let gone: Vec<Key> = gone.map(|(key, _)| key.clone()).collect();
        for key in gone {
            let site = site(shared, &self.place, self.agent.skew, &self.attempts, waits);
            if let Some(Followed { pull, .. }) = self.pulls.get_mut(&key) {
                pull.ending = Some(pull.end_by_absence(&site));
            }
            self.end_if_due(shared, waits, &key);
        }
    }

    /// Ends a pull that is about to, once its kubelet says why, or is not waited for any longer.
    fn end_if_due(&mut self, shared: &Shared<'_>, waits: bool, key: &Key) {
        let site = site(shared, &self.place, self.agent.skew, &self.attempts, waits);
        let Some(Followed { pull, .. }) = self.pulls.get(key) else { return };
        let Some(ending) = &pull.ending else { return };
        // A kubelet is not asked about what its agent saw completed.
        let may_have_failed = ending.failure.is_some() || (pull.is_original() && !ending.told);
        let said = if may_have_failed { pull.kubelet_says(&site) } else { None };
        if said.is_some() || ending.due <= shared.now.monotonic {
            let ending = Ending { failure: said.or(ending.failure.clone()), ..ending.clone() };
            self.end(shared, waits, key, ending);
        }
    }

    /// Ends a pull: the one place where it is counted, told, stored and forgotten.
    fn end(&mut self, shared: &Shared<'_>, waits: bool, key: &Key, ending: Ending) {
        let Some(Followed { place, mut pull }) = self.pulls.remove(key) else { return };
        let site = site(shared, &self.place, self.agent.skew, &self.attempts, waits);
        pull.end(&site, ending.at, ending.failure);
        let now = shared.now.monotonic;
        let kind = match pull.view.failure {
            Some(_) => UpdateKind::PullFailed,
            None => UpdateKind::PullCompleted,
        };
        shared.counters.ended(&pull.view);
        self.counts.add(&pull.view);
        self.attempts.note(now, &pull.view);
        self.forget_old_ends(now);
        self.ended.insert(Arc::clone(&pull.view.id), EndOf { at: now, told: ending.told });
        shared.queue.push(&self.place.tenant, entry(key, &pull));
        self.changes.push(Change { place, kind, view: pull.view, layer: None });
    }

    fn forget_old_ends(&mut self, now: Duration) {
        // What nobody told may have begun anew, and goes on under another key for as long as this is known.
        self.ended.retain(|_, end| !end.told || now.saturating_sub(end.at) < ENDED_AGE_MAX);
        if self.ended.len() >= ENDED_MAX {
            let oldest = self.ended.iter().min_by_key(|(_, end)| end.at);
            if let Some(oldest) = oldest.map(|(id, _)| Arc::clone(id)) {
                self.ended.remove(&oldest);
            }
        }
    }

    /// Does what time brings, and returns whether the node can be forgotten.
    pub(crate) fn tick(&mut self, shared: &Shared<'_>) -> bool {
        let silence = shared.now.monotonic.saturating_sub(self.agent.looked);
        if self.pulls.is_empty() {
            let heard = self.agent.reported.map_or(self.agent.looked, |last| last.monotonic);
            return shared.settings.node_expiry
                <= shared.now.monotonic.saturating_sub(heard.max(self.agent.looked));
        }
        let waits = shared.pods.has_waiting(&self.place.node);
        let is_lost = shared.settings.stale_after <= silence;
        let is_silent = self.agent.silence_max(shared.settings) < silence;
        self.note_silence(is_silent, is_lost);
        let keys: Vec<Key> = self.pulls.keys().cloned().collect();
        for key in keys {
            self.pass(shared, waits, &key, (is_silent, is_lost));
        }
        shared.hub.publish(shared.now.wall, &mut self.changes);
        false
    }

    /// Logs that the agent has become silent, has come back, or is given up.
    fn note_silence(&mut self, is_silent: bool, is_lost: bool) {
        let (tenant, node, pulls) = (&self.place.tenant, &*self.place.node, self.pulls.len());
        if is_lost {
            tracing::info!(%tenant, node, pulls, "agent is lost, its pulls have failed");
        } else if is_silent && !self.agent.is_silent {
            tracing::info!(%tenant, node, pulls, "agent is silent, its pulls are unknown");
        } else if !is_silent && self.agent.is_silent {
            tracing::info!(%tenant, node, pulls, "agent reports again");
        }
        self.agent.is_silent = is_silent;
    }

    fn pass(
        &mut self,
        shared: &Shared<'_>,
        waits: bool,
        key: &Key,
        (is_silent, is_lost): (bool, bool),
    ) {
        let quiet = QUIET < shared.now.monotonic.saturating_sub(self.agent.looked);
        let site = site(shared, &self.place, self.agent.skew, &self.attempts, waits);
        let Some(Followed { place, pull }) = self.pulls.get_mut(key) else { return };
        if pull.ending.is_some() {
            self.end_if_due(shared, waits, key);
        } else if is_lost {
            let failure = PullFailure {
                reason: "AgentLost".into(),
                message: "the agent of the node does not report any more".into(),
                source: FailureSource::Silence,
            };
            let now = shared.now;
            let ending =
                Ending { failure: Some(failure), at: now.wall, due: now.monotonic, told: false };
            self.end(shared, waits, key, ending);
        } else {
            let has_changed =
                if is_silent { pull.lose_sight(&site) } else { pull.pass(&site, quiet) };
            if has_changed {
                self.changes.push(progress(*place, pull));
            }
        }
    }

    /// Returns the pulls that run.
    pub(crate) fn running(&self) -> impl Iterator<Item = &Arc<PullView>> {
        self.pulls.values().map(|followed| &followed.pull.view)
    }

    /// Returns the counts of the pulls that ended.
    pub(crate) const fn counts(&self) -> Ended {
        self.counts
    }

    /// Returns what readers see of it.
    pub(crate) fn view(&self, now: Now, settings: &PullsSettings) -> NodeView {
        let agent = &self.agent;
        let ahead = agent.skew.ahead_millis();
        NodeView {
            cluster: Arc::clone(&self.place.cluster),
            node: Arc::clone(&self.place.node),
            agent_version: Arc::clone(&agent.version),
            runtime: Arc::clone(&agent.runtime),
            source: agent.source,
            connected: agent.reported.is_some_and(|last| {
                now.monotonic.saturating_sub(last.monotonic) <= agent.silence_max(settings)
            }),
            last_seen: agent.reported.map(|last| last.wall),
            error: Arc::clone(&agent.error),
            active: u32::try_from(self.pulls.len()).unwrap_or(u32::MAX),
            bytes_per_second: self.running().map(|pull| pull.bytes_per_second).sum(),
            clock_skew_seconds: ahead.map(|millis| millis as f64 / 1_000.0),
        }
    }
}

impl Agent {
    /// Takes what a report says of the agent, and returns whether it says what pulls there are: not when the agent could not
    /// look, and not when a newer report came before.
    fn hear(&mut self, now: Now, report: &Report) -> bool {
        self.reported = Some(now);
        let is_same_run = self.started == report.agent_started;
        if is_same_run && report.sequence != 0 && report.sequence <= self.sequence {
            return false;
        }
        self.started = report.agent_started;
        self.sequence = report.sequence;
        self.skew.note(now, report.timestamp);
        self.version = clip_again(&self.version, &report.agent_version, WORD_BYTES_MAX);
        self.runtime = clip_again(&self.runtime, &report.runtime, WORD_BYTES_MAX);
        self.source = report.source;
        self.error = clip(&report.error, MESSAGE_BYTES_MAX);
        self.interval = Duration::from_millis(report.interval_ms).min(INTERVAL_MAX);
        self.error.is_empty()
    }

    /// Returns after how much silence it counts as silent.
    fn silence_max(&self, settings: &PullsSettings) -> Duration {
        settings.agent_silent_after.max(self.interval * INTERVALS_OF_SILENCE)
    }
}

fn site<'a>(
    shared: &Shared<'a>,
    place: &'a Whereabouts,
    skew: Skew,
    attempts: &'a Attempts,
    waits: bool,
) -> Site<'a> {
    Site {
        now: shared.now,
        skew,
        settings: shared.settings,
        cluster: &place.cluster,
        node: &place.node,
        pods: shared.pods,
        waits,
        attempts,
    }
}

fn progress(place: Place, pull: &Pull) -> Change {
    Change { place, kind: UpdateKind::PullProgress, view: Arc::clone(&pull.view), layer: None }
}

fn entry(key: &Key, pull: &Pull) -> Entry {
    Entry {
        key: key.clone(),
        view: Arc::clone(&pull.view),
        manifest_digest: Arc::clone(&pull.manifest_digest),
    }
}
