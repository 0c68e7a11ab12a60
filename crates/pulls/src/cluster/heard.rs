//! What the events of kubelets say of the images of one pod.

use std::sync::Arc;

use platform::Timestamp;

use super::pods::CONTAINERS_PER_POD_MAX;
use super::state::cut;
use super::{Container, ContainerKind, ImageEvent, ImageEventReason};
use crate::settings::{IMAGE_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX};
use crate::view::{FailureSource, PullFailure};

/// How late an event may come that is taken for new. Clocks of nodes differ by less.
const DELAY_MAX_MS: i64 = 120_000;
/// The times of events have whole seconds.
const RESOLUTION_MS: i64 = 999;
/// Texts that repeat a reason and say nothing more.
const EMPTY_TEXT_PREFIX: &str = "Error: ";

/// What was heard of one pod.
#[derive(Debug)]
pub(super) struct HeardOf {
    /// When it is forgotten.
    pub(super) expires_at: Timestamp,
    images: Vec<HeardOfImage>,
}

/// What was heard of one of its images.
#[derive(Debug)]
pub(super) struct HeardOfImage {
    /// Empty where the event did not say it, as with image volumes.
    container: Arc<str>,
    /// As the text tells it.
    image: Option<Arc<str>>,
    /// The newest event; among those of one second the one that ends the asking.
    last: (Timestamp, ImageEventReason),
    failure: Option<HeardFailure>,
}

#[derive(Clone, Debug)]
pub(super) struct HeardFailure {
    /// When it happened, by the cluster's clock.
    at: Timestamp,
    /// When it happened at the latest, by this server's clock as far as that can be told.
    pub(super) known_at: Timestamp,
    /// Whether the text tells the cause.
    pub(super) tells: bool,
    pub(super) failure: PullFailure,
}

impl HeardOf {
    pub(super) fn new(expires_at: Timestamp) -> Self {
        Self { expires_at, images: Vec::new() }
    }

    /// Takes an event and returns when the newest one happened.
    pub(super) fn apply(&mut self, now: Timestamp, at: Timestamp, event: &ImageEvent) -> Timestamp {
        let container = cut(&event.container, NAME_BYTES_MAX);
        let image = event.image.as_ref().map(|image| cut(image, IMAGE_BYTES_MAX));
        let known = self.images.iter().position(|known| {
            known.container == container && (!container.is_empty() || known.image == image)
        });
        if let Some(index) = known {
            if let Some(known) = self.images.get_mut(index) {
                known.apply(now, at, event);
            }
        } else if self.images.len() < CONTAINERS_PER_POD_MAX {
            let last = (at, event.reason);
            let mut new = HeardOfImage { container, image, last, failure: None };
            new.apply(now, at, event);
            self.images.push(new);
        }
        self.images.iter().map(|image| image.last.0).max().unwrap_or(at)
    }

    /// Returns what was heard of the image of `container`.
    pub(super) fn of(&self, container: &Container) -> Option<&HeardOfImage> {
        self.images.iter().find(|heard| {
            if heard.container.is_empty() {
                heard.image.as_ref() == Some(&container.image)
            } else {
                container.kind != ContainerKind::Volume && heard.container == container.name
            }
        })
    }

    /// Takes what another one heard of the same pod.
    pub(super) fn merge(&mut self, other: Self) {
        for image in other.images {
            let is_known = self.images.iter().any(|known| known.container == image.container);
            if !is_known && self.images.len() < CONTAINERS_PER_POD_MAX {
                self.images.push(image);
            }
        }
    }

    /// Returns when the newest event happened.
    pub(super) fn newest(&self) -> Option<Timestamp> {
        self.images.iter().map(|image| image.last.0).max()
    }
}

impl HeardOfImage {
    /// Returns since when the kubelet asks for the image; `None` when it does not, or not any more.
    pub(super) fn asked_at(&self) -> Option<Timestamp> {
        (self.last.1 == ImageEventReason::Pulling).then_some(self.last.0)
    }

    /// Returns whether the kubelet has the image.
    pub(super) fn is_there(&self) -> bool {
        matches!(self.last.1, ImageEventReason::Pulled | ImageEventReason::AlreadyPresent)
    }

    /// Returns why the kubelet could not get it, the last time that it could not.
    pub(super) fn failure(&self) -> Option<&HeardFailure> {
        self.failure.as_ref()
    }

    fn apply(&mut self, now: Timestamp, at: Timestamp, event: &ImageEvent) {
        if self.last <= (at, event.reason) {
            self.last = (at, event.reason);
            if self.is_there() {
                self.failure = None;
            }
        }
        let Some(reason) = failure_word(event.reason) else { return };
        if self.is_there() {
            return;
        }
        let tells = event.reason != ImageEventReason::BackOff
            && !event.message.starts_with(EMPTY_TEXT_PREFIX);
        let replaces =
            self.failure.as_ref().is_none_or(|known| (known.tells, known.at) < (tells, at));
        if replaces {
            let failure = PullFailure {
                reason: reason.into(),
                message: cut(&event.message, MESSAGE_BYTES_MAX),
                source: FailureSource::Kubelet,
            };
            // A node's clock may be behind, but an event that comes now happened just now; one that is listed may be old.
            let is_new = now.millis_since(at) <= DELAY_MAX_MS;
            let known_at = if is_new { now } else { at.saturating_add_millis(RESOLUTION_MS) };
            self.failure = Some(HeardFailure { at, known_at, tells, failure });
        }
    }
}

/// Returns the word that the status of a pod has for what an event says; `None` where that is no failure.
fn failure_word(reason: ImageEventReason) -> Option<&'static str> {
    match reason {
        ImageEventReason::Pulling | ImageEventReason::Pulled | ImageEventReason::AlreadyPresent => {
            None
        }
        ImageEventReason::Failed => Some("ErrImagePull"),
        ImageEventReason::BackOff => Some("ImagePullBackOff"),
        ImageEventReason::NeverPull => Some("ErrImageNeverPull"),
        ImageEventReason::InspectFailed => Some("ImageInspectError"),
    }
}
