//! One pull.

use std::collections::{BTreeMap, BTreeSet};

use platform::Timestamp;
use report::{Confidence, PullPhase, PullReport};

use super::image::Image;
use super::layer::Layer;
use super::name::{Name, Names};
use crate::watch::observation::ImageRecord;

#[derive(Clone, Debug)]
pub(super) struct Pull {
    pub(super) id: String,
    pub(super) started_at: Timestamp,
    /// When something last changed.
    pub(super) changed_at: Timestamp,
    pub(super) image: Image,
    pub(super) layers: Vec<Layer>,
    pub(super) names: Names,
    /// The name that the runtime gave to this pull.
    pub(super) sure_name: Option<String>,
    pub(super) ended: Option<Ended>,
    /// What is compared to see whether something changed.
    pub(super) sight: Sight,
}

/// How a pull ended.
#[derive(Clone, Debug, PartialEq)]
pub(super) struct Ended {
    pub(super) at: Timestamp,
    /// Why there is no image; `None` when there is one.
    pub(super) failure: Option<Failure>,
    pub(super) is_acknowledged: bool,
}

/// Why a pull ended without an image.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Failure {
    /// Its client gave up, was refused or was cancelled.
    Aborted,
    /// containerd ended.
    RuntimeRestarted,
    /// Its client seems to have gone without ending it.
    Abandoned,
}

impl Failure {
    fn as_str(self) -> &'static str {
        match self {
            Self::Aborted => "Aborted: the pull ended without an image",
            Self::RuntimeRestarted => "RuntimeRestarted: containerd ended during the pull",
            Self::Abandoned => "Abandoned: nothing happened for too long",
        }
    }
}

/// What there is of a pull, in a form that is cheap to compare.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Sight {
    pub(super) contents: usize,
    pub(super) ingests: Vec<String>,
    pub(super) snapshots: Vec<(String, String)>,
    pub(super) bytes: i64,
}

impl Pull {
    pub(super) fn new(id: String, started_at: Timestamp) -> Self {
        Self {
            id,
            started_at,
            changed_at: started_at,
            image: Image::default(),
            layers: Vec::new(),
            names: Names::default(),
            sure_name: None,
            ended: None,
            sight: Sight::default(),
        }
    }

    /// Takes over what is known of the image. What was known once stays known: blobs may vanish meanwhile.
    pub(super) fn learn(&mut self, image: Image) {
        if let Some(known) = &image.layers {
            let mut before: BTreeMap<String, Layer> =
                self.layers.drain(..).map(|layer| (layer.digest.clone(), layer)).collect();
            for known in known {
                let layer = before.remove(&known.descriptor.digest);
                let mut layer = layer.unwrap_or_else(|| Layer::new(known));
                layer.chain = layer.chain.or_else(|| known.chain.clone());
                self.layers.push(layer);
            }
            self.layers.extend(before.into_values());
        }
        let before = std::mem::replace(&mut self.image, image);
        self.image.root = self.image.root.take().or(before.root);
        if self.image.layers.is_none() {
            self.image.layers = before.layers;
            self.image.manifests = before.manifests;
            self.image.configs = before.configs;
        }
    }

    /// Returns the digests that names of this image may lead to.
    pub(super) fn targets(&self) -> BTreeSet<String> {
        self.image.root.iter().chain(&self.image.manifests).cloned().collect()
    }

    pub(super) fn is_completed(&self) -> bool {
        self.ended.as_ref().is_some_and(|ended| ended.failure.is_none())
    }

    pub(super) fn end(&mut self, at: Timestamp, failure: Option<Failure>) {
        for layer in &mut self.layers {
            layer.end(failure.is_none());
        }
        self.ended = Some(Ended { at: at.max(self.started_at), failure, is_acknowledged: false });
    }

    /// Takes the name that the runtime gave to this pull, if it did; returns it.
    pub(super) fn take_name(
        &mut self,
        is_used: impl Fn(&ImageRecord) -> bool,
    ) -> Option<ImageRecord> {
        let record = self.names.made_since(self.started_at, is_used)?.clone();
        self.sure_name = Some(record.name.clone());
        Some(record)
    }

    pub(super) fn report(&self) -> PullReport {
        let name = self.names.best(self.sure_name.as_deref(), self.image.root.as_deref());
        let Name { image, confidence, candidates } = name;
        let is_known = self.image.layers.is_some();
        let failure = self.ended.as_ref().and_then(|ended| ended.failure);
        PullReport {
            image_ref: image,
            layers: self.layers.iter().map(Layer::report).collect(),
            started_at: Some(self.started_at),
            total_known: is_known,
            id: self.id.clone(),
            phase: Some(self.phase()),
            error: failure.map(Failure::as_str).unwrap_or_default().to_owned(),
            ended_at: self.ended.as_ref().map(|ended| ended.at),
            digest: self.image.root.clone().unwrap_or_default(),
            manifest_digest: self.image.manifests.first().cloned().unwrap_or_default(),
            confidence: Some(confidence),
            candidates: if confidence == Confidence::Certain { Vec::new() } else { candidates },
            indirect: self.is_indirect(),
        }
    }

    fn phase(&self) -> PullPhase {
        match &self.ended {
            Some(Ended { failure: None, .. }) => PullPhase::Completed,
            Some(_) => PullPhase::Failed,
            None if self.image.layers.is_none() => PullPhase::Resolving,
            None if self.layers.iter().all(Layer::is_there) => PullPhase::Unpacking,
            None => PullPhase::Downloading,
        }
    }

    fn is_indirect(&self) -> bool {
        self.layers.iter().any(Layer::is_indirect)
            && !self.layers.iter().any(|layer| layer.is_downloaded(self.started_at))
    }
}
