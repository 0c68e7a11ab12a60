//! A layer of a pull.

use platform::Timestamp;
use report::{LayerPhase, LayerReport};

use super::image::ImageLayer;
use crate::watch::observation::Ingest;

/// What one look shows of a layer.
#[derive(Clone, Copy, Debug)]
pub(super) struct LayerSight<'a> {
    /// When the pull began.
    pub(super) pull_started: Timestamp,
    /// What is written of it, by this pull or by another.
    pub(super) ingest: Option<&'a Ingest>,
    /// Whether this pull writes it itself. Only one pull does at a time: others wait for it.
    pub(super) is_own: bool,
    /// Whether it did in the look before.
    pub(super) was_own: bool,
    /// How much of it was there in the look before, if it was there.
    pub(super) offset_before: Option<i64>,
    /// When its blob was made, if it is there.
    pub(super) blob: Option<Timestamp>,
    /// When its snapshot was made, where that was asked for and is there.
    pub(super) snapshot: Option<Timestamp>,
    /// Whether it is being unpacked.
    pub(super) is_unpacking: bool,
    /// Whether this pull unpacked it.
    pub(super) is_unpacked: bool,
}

#[derive(Clone, Debug, Default)]
pub(super) struct Layer {
    pub(super) digest: String,
    pub(super) chain: Option<String>,
    media_type: String,
    size: i64,
    phase: Option<LayerPhase>,
    /// When its blob was made.
    pub(super) blob: Option<Timestamp>,
    /// When its snapshot was made, if it was there when it was asked for.
    snapshot: Option<Timestamp>,
    /// Whether it was ever seen being written.
    pub(super) ever_written: bool,
    is_unpacked: bool,
    offset: i64,
    resumed: i64,
    started_at: Option<Timestamp>,
}

impl Layer {
    pub(super) fn new(known: &ImageLayer) -> Self {
        Self {
            digest: known.descriptor.digest.clone(),
            media_type: known.descriptor.media_type.clone(),
            size: known.descriptor.size,
            ..Self::default()
        }
    }

    pub(super) fn see(&mut self, sight: LayerSight<'_>) {
        self.blob = self.blob.or(sight.blob);
        self.snapshot = self.snapshot.or(sight.snapshot);
        self.is_unpacked |= sight.is_unpacked;
        // A blob that is there was made after the list of ingests, which still has it.
        if let Some(ingest) = sight.ingest.filter(|_| self.blob.is_none()) {
            self.see_written(ingest, sight);
        }
        self.phase = Some(self.phase_of(sight));
    }

    fn see_written(&mut self, ingest: &Ingest, sight: LayerSight<'_>) {
        let offset = self.clamped(ingest.offset);
        self.size = if self.size > 0 { self.size } else { ingest.total.max(0) };
        let began = ingest.started_at.unwrap_or(sight.pull_started);
        let is_taken_over = began < sight.pull_started || sight.offset_before.is_some();
        if sight.is_own && !sight.was_own && is_taken_over {
            self.resumed = self.clamped(sight.offset_before.unwrap_or(offset));
        }
        self.ever_written = true;
        self.offset = offset;
        // It was truncated: nothing is left of what there was.
        self.resumed = self.resumed.min(offset);
        if offset > 0 {
            self.started_at = self.started_at.or(Some(began.max(sight.pull_started)));
        }
    }

    fn clamped(&self, offset: i64) -> i64 {
        let offset = offset.max(0);
        if self.size > 0 { offset.min(self.size) } else { offset }
    }

    fn phase_of(&self, sight: LayerSight<'_>) -> LayerPhase {
        if self.is_cached(sight.pull_started) {
            return LayerPhase::Cached;
        }
        if self.is_unpacked || self.snapshot.is_some() {
            LayerPhase::Done
        } else if self.blob.is_some() {
            // The place to unpack to is made before the layer is downloaded.
            if sight.is_unpacking { LayerPhase::Unpacking } else { LayerPhase::Downloaded }
        } else if self.offset == 0 {
            // Newer versions make the ingests of all layers at once and write a few at a time.
            LayerPhase::Waiting
        } else if self.size > 0 && self.offset == self.size {
            LayerPhase::Committing
        } else {
            // Also when nothing is there for a moment, as while it is committed.
            LayerPhase::Downloading
        }
    }

    /// Returns whether it was there before the pull: as a blob, or unpacked.
    fn is_cached(&self, pull_started: Timestamp) -> bool {
        match self.blob {
            Some(made) => made < pull_started,
            None => !self.ever_written && self.snapshot.is_some_and(|made| made < pull_started),
        }
    }

    /// Returns whether it was unpacked without having been downloaded as far as one can see.
    pub(super) fn is_indirect(&self) -> bool {
        self.phase == Some(LayerPhase::Done) && self.blob.is_none() && !self.ever_written
    }

    /// Returns whether this pull downloaded something of it.
    pub(super) fn is_downloaded(&self, pull_started: Timestamp) -> bool {
        self.ever_written || self.blob.is_some_and(|made| made >= pull_started)
    }

    pub(super) fn offset(&self) -> i64 {
        self.offset
    }

    pub(super) fn is_there(&self) -> bool {
        use LayerPhase::{Cached, Done, Downloaded, Unpacking};
        matches!(self.phase, Some(Downloaded | Unpacking | Done | Cached))
    }

    /// Returns whether containerd works on it without anything to be seen of how far it is.
    pub(super) fn is_worked_on(&self) -> bool {
        matches!(self.phase, Some(LayerPhase::Committing | LayerPhase::Unpacking))
    }

    /// Returns how it is when its pull ended with or without an image.
    pub(super) fn end(&mut self, is_completed: bool) {
        let phase = self.phase.unwrap_or(LayerPhase::Waiting);
        self.phase = Some(match phase {
            LayerPhase::Cached => phase,
            _ if is_completed => LayerPhase::Done,
            _ if self.ever_written && self.blob.is_none() => LayerPhase::Failed,
            LayerPhase::Unpacking => LayerPhase::Downloaded,
            _ => phase,
        });
    }

    pub(super) fn report(&self) -> LayerReport {
        let phase = self.phase.unwrap_or(LayerPhase::Waiting);
        LayerReport {
            digest: self.digest.clone(),
            media_type: self.media_type.clone(),
            total_bytes: self.size,
            downloaded_bytes: if self.is_there() { self.size } else { self.offset },
            total_known: true,
            phase: Some(phase),
            resumed_bytes: self.resumed,
            started_at: self.started_at,
            completed_at: if phase == LayerPhase::Cached { None } else { self.blob },
        }
    }
}
