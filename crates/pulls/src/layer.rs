//! A layer of a running pull.

use std::sync::Arc;

use report::{LayerPhase, LayerReport};

use crate::rate::Rate;
use crate::settings::{IMAGE_BYTES_MAX, LAYER_BYTES_MAX, WORD_BYTES_MAX};
use crate::text::{clip, clip_again};
use crate::time::{Now, Skew};
use crate::update::UpdateKind;
use crate::view::LayerView;

/// A layer of a running pull.
#[derive(Debug)]
pub(crate) struct Layer {
    pub(crate) view: LayerView,
    /// Bytes that were taken over the network, those of a download that began anew included.
    pub(crate) transferred: u64,
    rate: Rate,
}

impl Layer {
    /// Returns a layer of which nothing but the digest is known.
    pub(crate) fn new(digest: &str) -> Self {
        Self {
            view: LayerView {
                digest: clip(digest, IMAGE_BYTES_MAX),
                media_type: "".into(),
                phase: LayerPhase::Waiting,
                total_bytes: 0,
                downloaded_bytes: 0,
                total_known: false,
                resumed_bytes: 0,
                bytes_per_second: 0.0,
                percent: 0.0,
                started_at: None,
                completed_at: None,
            },
            transferred: 0,
            rate: Rate::default(),
        }
    }

    /// Returns a layer as it was when the server stopped.
    pub(crate) fn restored(view: LayerView) -> Self {
        let transferred = view.downloaded_bytes.saturating_sub(view.resumed_bytes);
        Self { view, transferred, rate: Rate::default() }
    }

    /// Takes what the agent says, and returns what happened.
    pub(crate) fn apply(
        &mut self,
        now: Now,
        skew: Skew,
        report: &LayerReport,
    ) -> Option<UpdateKind> {
        let before = self.view.clone();
        let view = &mut self.view;
        view.media_type = clip_again(&view.media_type, &report.media_type, WORD_BYTES_MAX);
        view.total_bytes = positive(report.total_bytes);
        view.total_known = report.total_known;
        view.downloaded_bytes = positive(report.downloaded_bytes);
        if view.total_known {
            view.downloaded_bytes = view.downloaded_bytes.min(view.total_bytes);
        }
        view.resumed_bytes = positive(report.resumed_bytes).min(view.downloaded_bytes);
        view.phase = report.phase.unwrap_or_else(|| phase_by_bytes(view));
        if view.phase != LayerPhase::Cached {
            let more = view.downloaded_bytes.saturating_sub(before.downloaded_bytes);
            let resumed = view.resumed_bytes.saturating_sub(before.resumed_bytes);
            let transferred = more.saturating_sub(resumed);
            self.transferred = self.transferred.saturating_add(transferred);
            if view.phase != LayerPhase::Waiting && view.started_at.is_none() {
                view.started_at = skew.to_server(now, report.started_at).or(Some(now.wall));
            }
            if is_there(view.phase) && view.completed_at.is_none() {
                let completed = skew.to_server(now, report.completed_at).unwrap_or(now.wall);
                view.completed_at = Some(completed.max(view.started_at.unwrap_or(completed)));
            }
        }
        self.rate.add(now.monotonic, self.transferred);
        self.measure(now);
        self.view.percent = percent(&self.view).max(before.percent);
        self.happened(&before)
    }

    /// Brings the rate up to date.
    pub(crate) fn measure(&mut self, now: Now) {
        let is_live = self.view.phase == LayerPhase::Downloading;
        self.view.bytes_per_second = if is_live { self.rate.at(now.monotonic) } else { 0.0 };
    }

    /// Returns whether all its bytes are there, as far as that is known.
    pub(crate) fn is_full(&self) -> bool {
        is_there(self.view.phase)
            || (self.view.total_known && self.view.total_bytes <= self.view.downloaded_bytes)
    }

    fn happened(&self, before: &LayerView) -> Option<UpdateKind> {
        if is_there(self.view.phase) && !is_there(before.phase) {
            Some(UpdateKind::LayerCompleted)
        } else if self.view.started_at.is_some() && before.started_at.is_none() {
            Some(UpdateKind::LayerStarted)
        } else {
            let has_begun = self.view.started_at.is_some();
            (has_begun && self.view != *before).then_some(UpdateKind::LayerProgress)
        }
    }
}

/// Returns whether a layer is there.
pub(crate) const fn is_there(phase: LayerPhase) -> bool {
    matches!(
        phase,
        LayerPhase::Downloaded | LayerPhase::Unpacking | LayerPhase::Done | LayerPhase::Cached
    )
}

/// Returns the phase of a layer whose agent only sees bytes.
fn phase_by_bytes(view: &LayerView) -> LayerPhase {
    if view.total_known && view.total_bytes <= view.downloaded_bytes {
        LayerPhase::Downloaded
    } else {
        LayerPhase::Downloading
    }
}

fn percent(view: &LayerView) -> f64 {
    if is_there(view.phase) {
        100.0
    } else {
        share(view.downloaded_bytes, if view.total_known { view.total_bytes } else { 0 })
    }
}

/// Returns how much `part` is of `whole`, 0 to 100; 0 where there is no whole.
pub(crate) fn share(part: u64, whole: u64) -> f64 {
    if whole == 0 { 0.0 } else { (part as f64 * 100.0 / whole as f64).min(100.0) }
}

fn positive(bytes: i64) -> u64 {
    u64::try_from(bytes).unwrap_or(0).min(LAYER_BYTES_MAX)
}

/// Brings layers up to date with a report, at most `layers_max`, and returns what happened to which.
///
/// `complete` says that the report tells all layers of the image in their order; otherwise those that it does not tell are
/// kept, and new ones come last.
pub(crate) fn apply_all(
    layers: &mut Vec<Layer>,
    (now, skew): (Now, Skew),
    reports: &[LayerReport],
    (layers_max, complete): (usize, bool),
    mut happened: impl FnMut(usize, UpdateKind),
) {
    let reports = &reports[..reports.len().min(layers_max)];
    let in_place = reports.len() <= layers.len()
        && (!complete || reports.len() == layers.len())
        && layers.iter().zip(reports).all(|(layer, report)| *layer.view.digest == *report.digest);
    if !in_place {
        arrange(layers, reports, layers_max, complete);
    }
    let mut places = None;
    for (index, report) in reports.iter().enumerate() {
        let place = if in_place || complete {
            Some(index)
        } else {
            let places = places.get_or_insert_with(|| places_of(layers));
            places.get(&*clip(&report.digest, IMAGE_BYTES_MAX)).copied()
        };
        let Some(place) = place else { continue };
        let Some(layer) = layers.get_mut(place) else { continue };
        if let Some(kind) = layer.apply(now, skew, report) {
            happened(place, kind);
        }
    }
}

type Places = std::collections::BTreeMap<Arc<str>, usize>;

fn places_of(layers: &[Layer]) -> Places {
    let places = layers.iter().enumerate().rev();
    places.map(|(place, layer)| (Arc::clone(&layer.view.digest), place)).collect()
}

/// Makes a place for each layer of a report.
fn arrange(layers: &mut Vec<Layer>, reports: &[LayerReport], layers_max: usize, complete: bool) {
    let places = places_of(layers);
    if !complete {
        for report in reports {
            if layers.len() < layers_max
                && !places.contains_key(&*clip(&report.digest, IMAGE_BYTES_MAX))
            {
                layers.push(Layer::new(&report.digest));
            }
        }
        return;
    }
    let mut before: Vec<Option<Layer>> = layers.drain(..).map(Some).collect();
    layers.extend(reports.iter().map(|report| {
        let place = places.get(&*clip(&report.digest, IMAGE_BYTES_MAX));
        let known = place.and_then(|place| before.get_mut(*place)?.take());
        known.unwrap_or_else(|| Layer::new(&report.digest))
    }));
}
