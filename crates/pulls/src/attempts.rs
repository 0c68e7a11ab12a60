//! Which attempt of its image a pull is.

use std::collections::BTreeMap;
use std::sync::Arc;
use std::time::Duration;

use crate::view::{PullFailure, PullView};

/// Most images of a node whose failed attempts are remembered.
const IMAGES_MAX: usize = 256;
/// How long a failed attempt is remembered.
const AGE_MAX: Duration = Duration::from_secs(3_600);

/// The attempts of a node that failed, by image, until one is completed.
#[derive(Debug, Default)]
pub(crate) struct Attempts(BTreeMap<Arc<str>, Failed>);

#[derive(Debug)]
struct Failed {
    attempt: u32,
    failure: PullFailure,
    at: Duration,
}

impl Attempts {
    /// Returns which attempt of an image would be next, and why the one before failed.
    pub(crate) fn of(&self, image: &str) -> (u32, Option<PullFailure>) {
        match self.0.get(image) {
            Some(failed) => (failed.attempt.saturating_add(1), Some(failed.failure.clone())),
            None => (1, None),
        }
    }

    /// Notes how a pull ended.
    pub(crate) fn note(&mut self, now: Duration, pull: &PullView) {
        let Some(failure) = &pull.failure else {
            self.0.remove(&pull.image);
            return;
        };
        if pull.image.is_empty() {
            return;
        }
        self.0.retain(|_, failed| now.saturating_sub(failed.at) < AGE_MAX);
        if self.0.len() == IMAGES_MAX && !self.0.contains_key(&pull.image) {
            let oldest = self.0.iter().min_by_key(|(_, failed)| failed.at);
            if let Some(oldest) = oldest.map(|(image, _)| Arc::clone(image)) {
                self.0.remove(&oldest);
            }
        }
        let failed = Failed { attempt: pull.attempt, failure: failure.clone(), at: now };
        self.0.insert(Arc::clone(&pull.image), failed);
    }
}
