//! What is asked of the state: by the pulls of a node, and by people.

use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

use platform::Timestamp;
use report::Confidence;

use super::{Known, State};
use crate::cluster::heard::HeardOfImage;
use crate::cluster::names::{Image, Names, ResolvedName, Wanted};
use crate::cluster::pods::{AskedFor, WaitingContainer, WaitingPod};
use crate::cluster::{Container, ContainerState, PodReference};
use crate::filter::{PodFilter, contains};
use crate::view::{FailureSource, PullFailure};

/// Why a container waits that has its image.
const REASONS_AFTER_THE_IMAGE: &[&str] = &[
    "Completed",
    "CrashLoopBackOff",
    "CreateContainerConfigError",
    "CreateContainerError",
    "Error",
    "PostStartHookError",
    "PreCreateHookError",
    "PreStartHookError",
    "RunContainerError",
    "StartError",
];

/// What a status says of an image that could not be had.
const REASONS_OF_FAILURES: &[&str] = &[
    "ErrImageNeverPull",
    "ErrImagePull",
    "ImageInspectError",
    "ImagePullBackOff",
    "InvalidImageName",
    "RegistryUnavailable",
    "SignatureValidationFailed",
];

/// The reason that says that there was a failure before, not which.
const BACK_OFF: &str = "ImagePullBackOff";

/// How near a container is to its image, the nearest first.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Nearness {
    /// Its kubelet asks for the image.
    Asked,
    /// It is created.
    Creating,
    /// Other containers come first, or its kubelet waits before it tries again.
    Later,
}

/// A container that waits for its image, or for something else once it has it.
struct Place<'a> {
    known: &'a Known,
    container: &'a Container,
    image: &'a Image,
    since: Timestamp,
    heard: Option<&'a HeardOfImage>,
}

impl State {
    pub(in crate::cluster) fn pods_for(&self, node: &str, names: &Names<'_>) -> Vec<PodReference> {
        let wanted = Wanted::new(names);
        let mut references: Vec<PodReference> = self
            .places(node)
            .filter(|place| place.awaits_image() && wanted.is(place.image))
            .map(|place| place.reference())
            .collect();
        sort(&mut references);
        references
    }

    pub(in crate::cluster) fn resolve(
        &self,
        node: &str,
        repositories: &[&str],
        digests: &[&str],
    ) -> Option<ResolvedName> {
        let by_digest: BTreeSet<&Arc<str>> = self
            .places(node)
            .filter(|place| place.awaits_image() && place.image.has_digest(digests))
            .map(|place| &place.image.text)
            .collect();
        if let Some(resolved) = first_of(&by_digest, Confidence::Certain) {
            return Some(resolved);
        }
        let mut candidates: BTreeMap<Nearness, BTreeMap<&Arc<str>, &Image>> = BTreeMap::new();
        for place in self.places(node) {
            let fits = repositories.is_empty() || place.image.is_of(repositories);
            if fits
                && place.image.may_have_digest(digests)
                && let Some(nearness) = place.nearness()
            {
                candidates.entry(nearness).or_default().insert(&place.image.text, place.image);
            }
        }
        if repositories.is_empty() { sole(&candidates) } else { of(repositories, &candidates) }
    }

    pub(in crate::cluster) fn failure_of(
        &self,
        node: &str,
        names: &Names<'_>,
        since: Timestamp,
    ) -> Option<PullFailure> {
        let wanted = Wanted::new(names);
        self.places(node)
            .filter(|place| wanted.is(place.image))
            .filter_map(|place| place.failure(since))
            .max_by_key(|failure| (failure.rank, failure.at))
            .map(|failure| failure.failure)
    }

    pub(in crate::cluster) fn asked_for(&self, node: &str) -> Vec<AskedFor> {
        let mut images: BTreeMap<&Arc<str>, AskedFor> = BTreeMap::new();
        for place in self.places(node) {
            let Some(at) = place.asked_at() else { continue };
            let asked = images.entry(&place.image.text).or_insert_with(|| AskedFor {
                image: Arc::clone(&place.image.text),
                since: at,
                pods: Vec::new(),
            });
            asked.since = asked.since.min(at);
            asked.pods.push(place.reference());
        }
        let mut images: Vec<AskedFor> = images.into_values().collect();
        images.sort_by_key(|asked| asked.since);
        for asked in &mut images {
            sort(&mut asked.pods);
        }
        images
    }

    pub(in crate::cluster) fn waiting(&self, filter: &PodFilter, limit: usize) -> Vec<WaitingPod> {
        let fits = |known: &&Known| {
            let pod = &known.pod;
            filter.namespace.as_deref().is_none_or(|wanted| *pod.namespace == *wanted)
                && filter.pod.as_deref().is_none_or(|part| contains(&pod.name, part))
                && self.places_of(known).any(|place| {
                    let part = filter.image.as_deref().unwrap_or_default();
                    place.awaits_image() && contains(&place.image.text, part)
                })
        };
        let mut pods: Vec<&Known> = match filter.node.as_deref() {
            Some(node) => self.known_on(node).filter(fits).collect(),
            None => self.pods.values().filter(fits).collect(),
        };
        pods.sort_unstable_by(|a, b| {
            let (a, b) = (&a.pod, &b.pod);
            (&a.namespace, &a.name, &a.uid).cmp(&(&b.namespace, &b.name, &b.uid))
        });
        pods.truncate(limit);
        pods.into_iter()
            .map(|known| WaitingPod {
                pod: Arc::clone(&known.pod),
                containers: self.places_of(known).map(|place| place.view()).collect(),
            })
            .collect()
    }

    pub(in crate::cluster) fn has_waiting(&self, node: &str) -> bool {
        self.nodes.contains_key(node)
    }

    pub(in crate::cluster) fn nodes(&self) -> Vec<Arc<str>> {
        let mut nodes: Vec<Arc<str>> = self.nodes.keys().cloned().collect();
        nodes.sort_unstable();
        nodes
    }

    /// Returns the containers that wait on a node.
    fn places(&self, node: &str) -> impl Iterator<Item = Place<'_>> {
        self.known_on(node)
            .flat_map(|known| self.places_of(known))
            .filter(|place| place.container.waits())
    }

    fn known_on(&self, node: &str) -> impl Iterator<Item = &Known> {
        self.nodes.get(node).into_iter().flatten().filter_map(|uid| self.pods.get(uid))
    }

    fn places_of<'a>(&'a self, known: &'a Known) -> impl Iterator<Item = Place<'a>> {
        let heard = self.heard.get(&known.pod.uid);
        let containers = known.pod.containers.iter().zip(&known.images).zip(&known.since);
        containers.map(move |((container, image), since)| Place {
            known,
            container,
            image,
            since: *since,
            heard: heard.and_then(|heard| heard.of(container)),
        })
    }
}

/// A failure, with what it is compared by.
struct Ranked {
    rank: u8,
    at: Timestamp,
    failure: PullFailure,
}

impl Place<'_> {
    fn reason(&self) -> &str {
        match &self.container.state {
            ContainerState::Waiting { reason, .. } => reason,
            ContainerState::Running | ContainerState::Terminated => "",
        }
    }

    fn asked_at(&self) -> Option<Timestamp> {
        self.heard.filter(|_| self.container.waits()).and_then(HeardOfImage::asked_at)
    }

    /// Returns whether the image has to be there before it can start, and may not be.
    fn awaits_image(&self) -> bool {
        self.container.waits()
            && (self.asked_at().is_some() || !REASONS_AFTER_THE_IMAGE.contains(&self.reason()))
    }

    /// Returns how near it is to its image; `None` where it has it.
    fn nearness(&self) -> Option<Nearness> {
        if !self.awaits_image() || self.heard.is_some_and(HeardOfImage::is_there) {
            None
        } else if self.asked_at().is_some() {
            Some(Nearness::Asked)
        } else if matches!(self.reason(), "" | "ContainerCreating") {
            Some(Nearness::Creating)
        } else {
            Some(Nearness::Later)
        }
    }

    /// Returns the failure after `since` that tells most.
    fn failure(&self, since: Timestamp) -> Option<Ranked> {
        let heard = self.heard.and_then(HeardOfImage::failure).map(|heard| Ranked {
            rank: if heard.tells { 3 } else { 1 },
            at: heard.known_at,
            failure: heard.failure.clone(),
        });
        [self.failure_in_status(), heard]
            .into_iter()
            .flatten()
            .filter(|failure| since <= failure.at)
            .max_by_key(|failure| failure.rank)
    }

    fn failure_in_status(&self) -> Option<Ranked> {
        let ContainerState::Waiting { reason, message } = &self.container.state else {
            return None;
        };
        let failure = PullFailure {
            reason: Arc::clone(reason),
            message: Arc::clone(message),
            source: FailureSource::Kubelet,
        };
        let rank = match (&**reason == BACK_OFF, message.is_empty()) {
            (false, false) => 4,
            (true, false) => 2,
            (_, true) => 0,
        };
        let is_failure = REASONS_OF_FAILURES.contains(&&**reason);
        is_failure.then_some(Ranked { rank, at: self.since, failure })
    }

    fn reference(&self) -> PodReference {
        PodReference {
            namespace: Arc::clone(&self.known.pod.namespace),
            pod: Arc::clone(&self.known.pod.name),
            container: Arc::clone(&self.container.name),
            kind: self.container.kind,
            image: Arc::clone(&self.container.image),
            owner: self.known.pod.owner.clone(),
        }
    }

    fn view(&self) -> WaitingContainer {
        let awaits_image = self.awaits_image();
        WaitingContainer {
            awaits_image,
            image: Arc::clone(&self.image.text),
            asked_at: self.asked_at(),
            failure: self.failure(Timestamp::MIN).filter(|_| awaits_image).map(|f| f.failure),
        }
    }
}

/// Returns the first of `names`, the others as candidates.
fn first_of(names: &BTreeSet<&Arc<str>>, confidence: Confidence) -> Option<ResolvedName> {
    let mut names = names.iter().map(|name| Arc::clone(name));
    let name = names.next()?;
    Some(ResolvedName { name, confidence, candidates: names.collect() })
}

type Candidates<'a> = BTreeMap<Nearness, BTreeMap<&'a Arc<str>, &'a Image>>;

/// Returns the name if only one image is asked for; those that are only waited for matter where none is asked for.
fn sole(candidates: &Candidates<'_>) -> Option<ResolvedName> {
    let nearest = candidates.values().next()?;
    let (name, _) = nearest.first_key_value().filter(|_| nearest.len() == 1)?;
    let others = candidates.values().skip(1).flat_map(BTreeMap::keys);
    let others: BTreeSet<&Arc<str>> = others.copied().filter(|other| other != name).collect();
    Some(ResolvedName {
        name: Arc::clone(name),
        confidence: Confidence::Guess,
        candidates: others.into_iter().cloned().collect(),
    })
}

/// Returns the name if one image of the repositories is waited for, or if one of several is asked for; else the repository.
fn of(repositories: &[&str], candidates: &Candidates<'_>) -> Option<ResolvedName> {
    let all: BTreeMap<&Arc<str>, &Image> =
        candidates.values().flatten().map(|(name, image)| (*name, *image)).collect();
    let asked = candidates.get(&Nearness::Asked);
    let names = |but: Option<&Arc<str>>| {
        all.keys().filter(|name| Some(**name) != but).map(|name| Arc::clone(name)).collect()
    };
    for set in [Some(&all), asked].into_iter().flatten() {
        if let Some((name, _)) = set.first_key_value().filter(|_| set.len() == 1) {
            return Some(ResolvedName {
                name: Arc::clone(name),
                confidence: Confidence::Likely,
                candidates: names(Some(name)),
            });
        }
    }
    let found: BTreeSet<&str> = all.values().filter_map(|image| image.repository()).collect();
    let repository = match (found.len(), repositories) {
        (1, _) => found.first().copied()?,
        (0, [only]) => only,
        _ => return None,
    };
    Some(ResolvedName {
        name: repository.into(),
        confidence: Confidence::Repository,
        candidates: names(None),
    })
}

fn sort(references: &mut [PodReference]) {
    references.sort_by(|a, b| {
        (&a.namespace, &a.pod, a.kind, &a.container).cmp(&(
            &b.namespace,
            &b.pod,
            b.kind,
            &b.container,
        ))
    });
}
