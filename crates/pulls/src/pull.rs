//! A running pull.

use std::sync::Arc;
use std::time::Duration;

use platform::Timestamp;
use report::{Confidence, LayerPhase, PullPhase, PullReport};

use crate::attempts::Attempts;
use crate::cluster::{ClusterPods, Connection, Names, PodReference};
use crate::layer::{Layer, apply_all, share};
use crate::original::is_digest;
use crate::rate::Rate;
use crate::settings::{CANDIDATES_MAX, IMAGE_BYTES_MAX, MESSAGE_BYTES_MAX, PullsSettings};
use crate::text::{clip, clip_again};
use crate::time::{Now, Skew};
use crate::update::UpdateKind;
use crate::view::{FailureSource, PullFailure, PullState, PullView};

/// The most percent of a pull whose size may still grow.
const PERCENT_OF_UNKNOWN_MAX: f64 = 99.0;

/// Why a pull failed that ended without an image, when nobody said more.
const ABORTED: &str = "Aborted";
/// Why a pull counts as failed that ended while the server was not there, and that its agent does not know any more.
const UNOBSERVED: &str = "Unobserved";
/// The words that agents begin their reasons with.
const AGENT_REASONS: [&str; 3] = [ABORTED, "RuntimeRestarted", "Abandoned"];

/// What a pull needs to know of the world.
#[derive(Clone, Copy)]
pub(crate) struct Site<'a> {
    pub(crate) now: Now,
    pub(crate) skew: Skew,
    pub(crate) settings: &'a PullsSettings,
    pub(crate) cluster: &'a Arc<str>,
    pub(crate) node: &'a Arc<str>,
    pub(crate) pods: &'a ClusterPods,
    /// Whether containers on the node wait for anything.
    pub(crate) waits: bool,
    pub(crate) attempts: &'a Attempts,
}

/// A running pull.
#[derive(Debug)]
pub(crate) struct Pull {
    /// The newest state as readers see it.
    pub(crate) view: Arc<PullView>,
    /// Which look of the agent last saw it.
    pub(crate) seen: u64,
    /// How it ends unless a kubelet says why before.
    pub(crate) ending: Option<Ending>,
    pub(crate) manifest_digest: Arc<str>,
    /// Whether the agent sees only bytes.
    original: bool,
    /// Whether all manifests and configurations are there that an original agent saw; `None` where it saw none.
    metadata_there: Option<bool>,
    name: Name,
    digest: Arc<str>,
    state: PullState,
    attempt: u32,
    failure: Option<PullFailure>,
    layers: Vec<Layer>,
    total_known: bool,
    indirect: bool,
    transferred: u64,
    rate: Rate,
    /// When a byte came last, or would not have been expected to.
    moved: Now,
    stalled_since: Option<Timestamp>,
    percent: f64,
    queued_at: Option<Timestamp>,
    started_at: Timestamp,
    pods: Vec<PodReference>,
    /// Those that waited last: a container may start before its agent says that the pull ended.
    waited: Vec<PodReference>,
}

/// What is known of the name of an image.
#[derive(Clone, Debug, PartialEq)]
struct Name {
    image: Arc<str>,
    confidence: Confidence,
    candidates: Vec<Arc<str>>,
}

/// How a pull ends.
#[derive(Clone, Debug)]
pub(crate) struct Ending {
    /// Why it failed; `None` when it is completed.
    pub(crate) failure: Option<PullFailure>,
    /// When it ended.
    pub(crate) at: Timestamp,
    /// Until when a kubelet is waited for.
    pub(crate) due: Duration,
    /// Whether its agent said so, rather than nothing more.
    pub(crate) told: bool,
}

/// Sums over layers.
#[derive(Clone, Copy, Debug, Default)]
struct Sums {
    total: u64,
    downloaded: u64,
    /// Bytes that are there of layers whose size is known.
    measured: u64,
    transferred: u64,
    cached: u64,
    layers_done: u32,
    layers_cached: u32,
}

impl Pull {
    /// Returns a pull of which nothing is known but that it began.
    pub(crate) fn new(
        id: Arc<str>,
        site: &Site<'_>,
        started_at: Timestamp,
        original: bool,
    ) -> Self {
        let blank = PullView {
            id,
            cluster: Arc::clone(site.cluster),
            node: Arc::clone(site.node),
            image: "".into(),
            confidence: Confidence::Unknown,
            candidates: Vec::new(),
            digest: "".into(),
            state: PullState::Resolving,
            stalled_since: None,
            failure: None,
            attempt: 1,
            total_bytes: 0,
            downloaded_bytes: 0,
            transferred_bytes: 0,
            cached_bytes: 0,
            total_known: false,
            bytes_per_second: 0.0,
            eta_seconds: None,
            percent: 0.0,
            layers: Vec::new(),
            layers_done: 0,
            layers_cached: 0,
            queued_at: None,
            started_at,
            ended_at: None,
            updated_at: site.now.wall,
            indirect: false,
            pods: Vec::new(),
        };
        Self::restored(Arc::new(blank), site.now, "".into(), original)
    }

    /// Returns a pull as it was when the server stopped.
    pub(crate) fn restored(
        view: Arc<PullView>,
        now: Now,
        manifest_digest: Arc<str>,
        original: bool,
    ) -> Self {
        Self {
            seen: 0,
            ending: None,
            manifest_digest,
            original,
            metadata_there: None,
            name: Name {
                image: Arc::clone(&view.image),
                confidence: view.confidence,
                candidates: view.candidates.clone(),
            },
            digest: Arc::clone(&view.digest),
            state: view.state,
            attempt: view.attempt,
            failure: view.failure.clone(),
            layers: view.layers.iter().cloned().map(Layer::restored).collect(),
            total_known: view.total_known,
            indirect: view.indirect,
            transferred: view.transferred_bytes,
            rate: Rate::default(),
            moved: now,
            stalled_since: None,
            percent: view.percent,
            queued_at: view.queued_at,
            started_at: view.started_at,
            pods: view.pods.clone(),
            waited: Vec::new(),
            view,
        }
    }

    /// Returns whether an original agent sees it.
    pub(crate) const fn is_original(&self) -> bool {
        self.original
    }

    /// Takes what the agent says, adds to `happened` what happened to layers, and returns whether anything changed.
    pub(crate) fn apply(
        &mut self,
        site: &Site<'_>,
        report: &PullReport,
        metadata_there: Option<bool>,
        happened: &mut Vec<(usize, UpdateKind)>,
    ) -> bool {
        let moment = (site.now, site.skew);
        let layers_max = site.settings.layers_max;
        if !report.layers.is_empty() {
            let note = |layer, kind| happened.push((layer, kind));
            let limits = (layers_max, !self.original);
            apply_all(&mut self.layers, moment, &report.layers, limits, note);
        }
        self.metadata_there = metadata_there.or(self.metadata_there);
        self.indirect = report.indirect;
        self.total_known =
            report.total_known && !self.layers.is_empty() && report.layers.len() <= layers_max;
        self.digest = clip_again(&self.digest, &report.digest, IMAGE_BYTES_MAX);
        self.manifest_digest =
            clip_again(&self.manifest_digest, &report.manifest_digest, IMAGE_BYTES_MAX);
        self.state = match report.phase {
            Some(PullPhase::Resolving) => PullState::Resolving,
            Some(PullPhase::Downloading) => PullState::Downloading,
            Some(PullPhase::Unpacking) => PullState::Unpacking,
            // How it ended is decided by who called.
            Some(PullPhase::Completed | PullPhase::Failed) => live(self.state),
            None if self.layers.is_empty() => PullState::Resolving,
            None => PullState::Downloading,
        };
        self.find_name(site, report);
        self.find_pods(site);
        self.measure(site);
        self.judge_stall(site);
        self.show(site)
    }

    /// Does what time brings, and returns whether anything changed. `quiet` says that no report came lately.
    pub(crate) fn pass(&mut self, site: &Site<'_>, quiet: bool) -> bool {
        let (stalled, pods) = (self.stalled_since, self.pods.len());
        if self.state == PullState::Unknown {
            return false;
        }
        self.judge_stall(site);
        if site.waits || pods > 0 {
            self.find_pods(site);
        }
        let is_measured = quiet && self.view.bytes_per_second > 0.0;
        if is_measured {
            self.layers.iter_mut().for_each(|layer| layer.measure(site.now));
        }
        let is_due = is_measured || stalled != self.stalled_since || self.pods != self.view.pods;
        is_due && self.show(site)
    }

    /// Marks it as one of which nobody knows how far it is, and returns whether that is new.
    pub(crate) fn lose_sight(&mut self, site: &Site<'_>) -> bool {
        let is_new = self.state != PullState::Unknown;
        self.state = PullState::Unknown;
        self.stalled_since = None;
        is_new && self.show(site)
    }

    /// Ends it: the one place where a pull gets its final state.
    pub(crate) fn end(&mut self, site: &Site<'_>, at: Timestamp, failure: Option<PullFailure>) {
        self.state = if failure.is_some() { PullState::Failed } else { PullState::Completed };
        self.failure = failure;
        self.stalled_since = None;
        if self.pods.is_empty() {
            self.pods = std::mem::take(&mut self.waited);
        }
        for layer in &mut self.layers {
            layer.view.bytes_per_second = 0.0;
        }
        if self.state == PullState::Completed {
            self.percent = 100.0;
        }
        let mut view = self.compose(site);
        view.ended_at = Some(at.max(self.started_at));
        view.updated_at = site.now.wall;
        self.view = Arc::new(view);
    }

    /// Returns why it failed, if its kubelet said so.
    pub(crate) fn kubelet_says(&self, site: &Site<'_>) -> Option<PullFailure> {
        if !site.waits {
            return None;
        }
        let digests = [&*self.digest, &*self.manifest_digest];
        let failure = site.pods.failure_of(site.node, &self.names(&digests), self.started_at)?;
        let message = clip_again(&failure.message, &failure.message, MESSAGE_BYTES_MAX);
        Some(PullFailure { message, ..failure })
    }

    /// Returns how it ended if its agent does not see it any more, and never said how.
    pub(crate) fn end_by_absence(&self, site: &Site<'_>) -> Ending {
        let is_complete = if self.layers.is_empty() {
            self.metadata_there == Some(true)
        } else {
            self.layers.iter().all(Layer::is_full)
        };
        let failure = (!is_complete).then(|| PullFailure {
            reason: if self.seen == 0 { UNOBSERVED } else { ABORTED }.into(),
            message: "it was gone before all known layers were there".into(),
            source: FailureSource::Agent,
        });
        // An original agent says that a layer is there also when its download was given up.
        let waits_for_kubelet = !is_complete || (self.original && !self.pods.is_empty());
        let completed = self.layers.iter().filter_map(|layer| layer.view.completed_at).max();
        // An original agent tells layers for a while after they are there.
        let is_late = is_complete && self.original;
        let at = completed.filter(|_| is_late).unwrap_or(site.now.wall);
        Ending { failure, at, due: self.due(site, waits_for_kubelet), told: false }
    }

    /// Returns how it ended, as its agent says.
    pub(crate) fn end_as_told(&self, site: &Site<'_>, report: &PullReport) -> Ending {
        let at = site.skew.to_server(site.now, report.ended_at).unwrap_or(site.now.wall);
        let failure = (report.phase == Some(PullPhase::Failed)).then(|| {
            let (reason, message) = reason_of(&report.error);
            PullFailure {
                reason: reason.into(),
                message: clip(message, MESSAGE_BYTES_MAX),
                source: FailureSource::Agent,
            }
        });
        // The agent sees that it ended, the kubelet was told why.
        let waits_for_kubelet = failure.as_ref().is_some_and(|failure| *failure.reason == *ABORTED);
        Ending { failure, at, due: self.due(site, waits_for_kubelet), told: true }
    }

    fn due(&self, site: &Site<'_>, waits_for_kubelet: bool) -> Duration {
        let waits = waits_for_kubelet && site.waits && site.pods.connection() == Connection::Live;
        site.now.monotonic + if waits { site.settings.reason_wait } else { Duration::ZERO }
    }

    /// Takes the surest name of what the agent says, what was known, and what pods and events tell.
    fn find_name(&mut self, site: &Site<'_>, report: &PullReport) {
        let told = self.told_name(report);
        let mut best = &told;
        if self.name.confidence < best.confidence {
            best = &self.name;
        }
        let resolved = self.resolved_name(site, &told);
        if let Some(resolved) = &resolved
            && resolved.confidence < best.confidence
        {
            best = resolved;
        }
        if *best != self.name {
            self.name = best.clone();
        }
        if self.name.image != self.view.image {
            (self.attempt, self.failure) = site.attempts.of(&self.name.image);
            self.queued_at = self.queued_at.or_else(|| self.asked_at(site));
        }
    }

    fn told_name(&self, report: &PullReport) -> Name {
        let mut image = clip_again(&self.view.image, &report.image_ref, IMAGE_BYTES_MAX);
        if image.is_empty() {
            image = Arc::clone(&self.digest);
        }
        let is_nameless = image.is_empty() || is_digest(&image);
        let by_kind = if is_nameless { Confidence::Unknown } else { Confidence::Certain };
        let candidates = report.candidates.iter().take(CANDIDATES_MAX);
        Name {
            image,
            confidence: report.confidence.unwrap_or(by_kind),
            candidates: candidates.map(|name| clip(name, IMAGE_BYTES_MAX)).collect(),
        }
    }

    fn resolved_name(&self, site: &Site<'_>, told: &Name) -> Option<Name> {
        if !site.waits || told.confidence == Confidence::Certain {
            return None;
        }
        let is_repository = told.confidence != Confidence::Unknown;
        let names = told.candidates.iter().chain(is_repository.then_some(&told.image));
        let repositories: Vec<&str> = names.map(|name| repository_of(name)).collect();
        let digests: Vec<&str> =
            [&*self.digest, &*self.manifest_digest].into_iter().filter(|d| !d.is_empty()).collect();
        let resolved = site.pods.resolve(site.node, &repositories, &digests)?;
        let candidates = resolved.candidates.into_iter().take(CANDIDATES_MAX).collect();
        Some(Name { image: resolved.name, confidence: resolved.confidence, candidates })
    }

    /// Returns since when a kubelet asks for the image.
    fn asked_at(&self, site: &Site<'_>) -> Option<Timestamp> {
        if !site.waits {
            return None;
        }
        let asked = site.pods.asked_for(site.node);
        let asked = asked.iter().find(|asked| asked.image == self.name.image)?;
        Some(asked.since.min(self.started_at))
    }

    fn find_pods(&mut self, site: &Site<'_>) {
        let digests = [&*self.digest, &*self.manifest_digest];
        let pods = if site.waits {
            site.pods.pods_for(site.node, &self.names(&digests))
        } else {
            Vec::new()
        };
        if pods.is_empty() && !self.pods.is_empty() {
            self.waited = std::mem::take(&mut self.pods);
        }
        self.pods = pods;
    }

    fn names<'a>(&'a self, digests: &'a [&'a str]) -> Names<'a> {
        Names { image: &self.name.image, candidates: &self.name.candidates, digests }
    }

    /// Brings bytes, rate and percent up to date.
    fn measure(&mut self, site: &Site<'_>) {
        let sums = self.sums();
        if self.transferred < sums.transferred {
            self.transferred = sums.transferred;
            self.moved = site.now;
        }
        self.rate.add(site.now.monotonic, self.transferred);
        let nothing_to_fetch = self.total_known && sums.total == 0;
        let percent = if nothing_to_fetch { 100.0 } else { share(sums.measured, sums.total) };
        let is_final = self.total_known && !self.original;
        let percent_max = if is_final { 100.0 } else { PERCENT_OF_UNKNOWN_MAX };
        self.percent = self.percent.max(percent.min(percent_max));
    }

    fn judge_stall(&mut self, site: &Site<'_>) {
        let awaits_bytes = self.state == PullState::Downloading
            && !self.indirect
            && self
                .layers
                .iter()
                .any(|layer| layer.view.phase == LayerPhase::Downloading && !layer.is_full());
        if !awaits_bytes {
            self.moved = site.now;
        }
        let since = site.now.monotonic.saturating_sub(self.moved.monotonic);
        let has_stalled = awaits_bytes && site.settings.stall_after <= since;
        self.stalled_since = has_stalled.then_some(self.moved.wall);
    }

    fn sums(&self) -> Sums {
        let mut sums = Sums::default();
        for Layer { view, transferred, .. } in &self.layers {
            sums.transferred = sums.transferred.saturating_add(*transferred);
            sums.layers_done += u32::from(crate::layer::is_there(view.phase));
            if view.phase == LayerPhase::Cached {
                sums.layers_cached += 1;
                sums.cached += view.total_bytes;
                continue;
            }
            sums.downloaded += view.downloaded_bytes;
            if view.total_known {
                sums.total += view.total_bytes;
                sums.measured += view.downloaded_bytes;
            }
        }
        sums
    }

    /// Shows readers how it is now, and returns whether that differs from before.
    fn show(&mut self, site: &Site<'_>) -> bool {
        let mut view = self.compose(site);
        if view == *self.view {
            return false;
        }
        view.updated_at = site.now.wall;
        self.view = Arc::new(view);
        true
    }

    fn compose(&self, site: &Site<'_>) -> PullView {
        let sums = self.sums();
        let is_live = matches!(self.state, PullState::Downloading);
        let rate = if is_live { self.rate.at(site.now.monotonic) } else { 0.0 };
        let left = sums.total.saturating_sub(sums.measured);
        let has_eta = self.total_known && rate > 0.0 && left > 0;
        PullView {
            id: Arc::clone(&self.view.id),
            cluster: Arc::clone(&self.view.cluster),
            node: Arc::clone(&self.view.node),
            image: Arc::clone(&self.name.image),
            confidence: self.name.confidence,
            candidates: self.name.candidates.clone(),
            digest: Arc::clone(&self.digest),
            state: self.state,
            stalled_since: self.stalled_since,
            failure: self.failure.clone(),
            attempt: self.attempt,
            total_bytes: sums.total,
            downloaded_bytes: sums.downloaded,
            transferred_bytes: self.transferred,
            cached_bytes: sums.cached,
            total_known: self.total_known,
            bytes_per_second: rate,
            eta_seconds: has_eta.then(|| left as f64 / rate),
            percent: self.percent,
            layers: self.layers.iter().map(|layer| layer.view.clone()).collect(),
            layers_done: sums.layers_done,
            layers_cached: sums.layers_cached,
            queued_at: self.queued_at,
            started_at: self.started_at,
            ended_at: None,
            updated_at: self.view.updated_at,
            indirect: self.indirect,
            pods: self.pods.clone(),
        }
    }
}

/// Returns the state of a pull that goes on, whatever is known of it.
const fn live(state: PullState) -> PullState {
    match state {
        PullState::Unknown => PullState::Resolving,
        state => state,
    }
}

/// Returns a name without its tag and digest.
fn repository_of(name: &str) -> &str {
    let name = name.split_once('@').map_or(name, |(name, _)| name);
    match name.rsplit_once(':') {
        Some((repository, tag)) if !tag.contains('/') => repository,
        _ => name,
    }
}
/// Returns the reason and the message of what an agent says: one of its words before a colon, or all of it.
fn reason_of(error: &str) -> (&str, &str) {
    match error.split_once(": ") {
        Some((word, message)) if AGENT_REASONS.contains(&word) => (word, message),
        _ if error.is_empty() => (ABORTED, ""),
        _ => ("PullFailed", error),
    }
}
