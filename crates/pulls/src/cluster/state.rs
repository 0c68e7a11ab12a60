//! The state behind [`ClusterPods`](super::ClusterPods): pods that wait, by node, and what was heard of them.

mod questions;

use std::collections::{BTreeSet, HashMap};
use std::sync::Arc;
use std::time::Duration;

use platform::Timestamp;

use super::heard::HeardOf;
use super::names::Image;
use super::pods::{
    CONTAINERS_PER_POD_MAX, ClusterTotals, EVENT_AGE_MAX, EVENTS_OF_UNKNOWN_PODS_AGE_MAX,
    PODS_HEARD_OF_MAX, PODS_MAX,
};
use super::{Connection, Container, ContainerState, ImageEvent, Owner, Pod};
use crate::settings::{IMAGE_BYTES_MAX, MESSAGE_BYTES_MAX, NAME_BYTES_MAX};

/// Pods, what was heard of them, and the ways to both.
#[derive(Debug)]
pub(super) struct State {
    pub(super) connection: Connection,
    pub(super) unknown_messages: u64,
    /// By identifier; only those that wait.
    pods: HashMap<Arc<str>, Known>,
    /// By node, the identifiers of its pods.
    nodes: HashMap<Arc<str>, BTreeSet<Arc<str>>>,
    /// From the identifiers of static pods to those that the cluster gave them.
    static_pods: HashMap<Arc<str>, Arc<str>>,
    /// By identifier of the pod, which need not be known.
    heard: HashMap<Arc<str>, HeardOf>,
    /// In the order in which they are forgotten.
    expiry: BTreeSet<(Timestamp, Arc<str>)>,
    pods_dropped: u64,
    pods_heard_of_dropped: u64,
}

/// A pod that waits.
#[derive(Debug)]
struct Known {
    pod: Arc<Pod>,
    /// One per container.
    images: Vec<Image>,
    /// One per container: since when its state is what it is, by this server's clock.
    since: Vec<Timestamp>,
}

impl Default for State {
    fn default() -> Self {
        Self {
            connection: Connection::Off,
            unknown_messages: 0,
            pods: HashMap::new(),
            nodes: HashMap::new(),
            static_pods: HashMap::new(),
            heard: HashMap::new(),
            expiry: BTreeSet::new(),
            pods_dropped: 0,
            pods_heard_of_dropped: 0,
        }
    }
}

impl State {
    pub(super) fn pods_replaced(
        &mut self,
        now: Timestamp,
        namespace: Option<&str>,
        pods: Vec<Pod>,
    ) {
        let there: BTreeSet<&str> =
            pods.iter().map(|pod| cut_str(&pod.uid, NAME_BYTES_MAX)).collect();
        let is_in = |known: &Known| namespace.is_none_or(|wanted| *known.pod.namespace == *wanted);
        let gone: Vec<Arc<str>> = self
            .pods
            .iter()
            .filter(|(uid, known)| is_in(known) && !there.contains(&***uid))
            .map(|(uid, _)| Arc::clone(uid))
            .collect();
        for uid in gone {
            self.pod_deleted(&uid);
        }
        for pod in pods {
            self.pod_applied(now, pod);
        }
    }

    pub(super) fn pod_applied(&mut self, now: Timestamp, pod: Pod) {
        if !pod.waits() {
            self.pod_deleted(&pod.uid);
            return;
        }
        let pod = Arc::new(trimmed(pod));
        let before = self.forget_pod(&pod.uid);
        if before.is_none() && PODS_MAX <= self.pods.len() {
            self.pods_dropped += 1;
            return;
        }
        let since = pod.containers.iter().map(|container| {
            before.as_ref().and_then(|before| before.since_of(container)).unwrap_or(now)
        });
        let known = Known {
            images: pod.containers.iter().map(|c| Image::new(&c.image, &c.image_id)).collect(),
            since: since.collect(),
            pod: Arc::clone(&pod),
        };
        self.nodes.entry(Arc::clone(&pod.node)).or_default().insert(Arc::clone(&pod.uid));
        self.pods.insert(Arc::clone(&pod.uid), known);
        if !pod.static_uid.is_empty() {
            self.static_pods.insert(Arc::clone(&pod.static_uid), Arc::clone(&pod.uid));
        }
        self.link_heard(now, &pod);
    }

    pub(super) fn pod_deleted(&mut self, uid: &str) {
        let uid = cut_str(uid, NAME_BYTES_MAX);
        if self.forget_pod(uid).is_some() {
            self.forget_heard(uid);
        }
    }

    pub(super) fn event(&mut self, now: Timestamp, event: ImageEvent) {
        self.expire(now);
        let at = event.at.unwrap_or(now).min(now);
        if event.pod_uid.is_empty() || EVENT_AGE_MAX.as_millis() < age(now, at).as_millis() {
            return;
        }
        let uid = cut(&event.pod_uid, NAME_BYTES_MAX);
        let uid = self.static_pods.get(&uid).map_or(uid, Arc::clone);
        if !self.heard.contains_key(&uid) && PODS_HEARD_OF_MAX <= self.heard.len() {
            self.pods_heard_of_dropped += 1;
            if let Some((_, soonest)) = self.expiry.pop_first() {
                self.heard.remove(&soonest);
            }
        }
        let is_known = self.pods.contains_key(&uid);
        let heard = self.heard.entry(Arc::clone(&uid)).or_insert_with(|| HeardOf::new(at));
        let newest = heard.apply(now, at, &event);
        let before = heard.expires_at;
        heard.expires_at = expiry(now, newest, is_known);
        let after = heard.expires_at;
        self.expiry.remove(&(before, Arc::clone(&uid)));
        self.expiry.insert((after, uid));
    }

    pub(super) fn has_expired(&self, now: Timestamp) -> bool {
        self.expiry.first().is_some_and(|(at, _)| *at <= now)
    }

    pub(super) fn expire(&mut self, now: Timestamp) {
        while self.has_expired(now) {
            if let Some((_, uid)) = self.expiry.pop_first() {
                self.heard.remove(&uid);
            }
        }
    }

    pub(super) fn totals(&self) -> ClusterTotals {
        ClusterTotals {
            pods: self.pods.len(),
            pods_heard_of: self.heard.len(),
            pods_dropped: self.pods_dropped,
            pods_heard_of_dropped: self.pods_heard_of_dropped,
            unknown_messages: self.unknown_messages,
        }
    }

    /// Makes what was heard of a pod before it was known its own.
    fn link_heard(&mut self, now: Timestamp, pod: &Pod) {
        let under_static = self.forget_heard(&pod.static_uid);
        let under_own = self.forget_heard(&pod.uid);
        let mut heard = match (under_own, under_static) {
            (Some(mut own), Some(other)) => {
                own.merge(other);
                own
            }
            (Some(one), None) | (None, Some(one)) => one,
            (None, None) => return,
        };
        heard.expires_at = expiry(now, heard.newest().unwrap_or(now), true);
        self.expiry.insert((heard.expires_at, Arc::clone(&pod.uid)));
        self.heard.insert(Arc::clone(&pod.uid), heard);
    }

    fn forget_heard(&mut self, uid: &str) -> Option<HeardOf> {
        let (uid, heard) = self.heard.remove_entry(uid)?;
        self.expiry.remove(&(heard.expires_at, uid));
        Some(heard)
    }

    /// Forgets a pod, but not what was heard of it.
    fn forget_pod(&mut self, uid: &str) -> Option<Known> {
        let known = self.pods.remove(uid)?;
        if let Some(of_node) = self.nodes.get_mut(&known.pod.node) {
            of_node.remove(uid);
            if of_node.is_empty() {
                self.nodes.remove(&known.pod.node);
            }
        }
        if self.static_pods.get(&known.pod.static_uid).is_some_and(|owner| **owner == *uid) {
            self.static_pods.remove(&known.pod.static_uid);
        }
        Some(known)
    }
}

impl Known {
    /// Returns since when `container` is as it is; `None` where it was different.
    fn since_of(&self, container: &Container) -> Option<Timestamp> {
        let same =
            |known: &&Container| known.name == container.name && known.kind == container.kind;
        let index = self.pod.containers.iter().position(|known| same(&known))?;
        let is_as_before =
            self.pod.containers.get(index).is_some_and(|known| known.state == container.state);
        if is_as_before { self.since.get(index).copied() } else { None }
    }
}

impl Container {
    /// Returns whether it has not started.
    pub(super) fn waits(&self) -> bool {
        matches!(self.state, ContainerState::Waiting { .. })
    }
}

/// Returns `text`, or as much of it as fits in `bytes_max`.
pub(super) fn cut(text: &Arc<str>, bytes_max: usize) -> Arc<str> {
    let start = cut_str(text, bytes_max);
    if start.len() < text.len() { start.into() } else { Arc::clone(text) }
}

fn cut_str(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or_default()
}

/// Returns when what was heard last at `newest` is forgotten.
fn expiry(now: Timestamp, newest: Timestamp, is_known: bool) -> Timestamp {
    let by_age = newest.saturating_add_millis(millis(EVENT_AGE_MAX));
    if is_known {
        by_age
    } else {
        by_age.min(now.saturating_add_millis(millis(EVENTS_OF_UNKNOWN_PODS_AGE_MAX)))
    }
}

fn age(now: Timestamp, at: Timestamp) -> Duration {
    Duration::from_millis(u64::try_from(now.millis_since(at)).unwrap_or(0))
}

fn millis(duration: Duration) -> i64 {
    i64::try_from(duration.as_millis()).unwrap_or(i64::MAX)
}

fn trimmed(pod: Pod) -> Pod {
    let name = |text: &Arc<str>| cut(text, NAME_BYTES_MAX);
    let mut containers = pod.containers;
    containers.truncate(CONTAINERS_PER_POD_MAX);
    containers.shrink_to_fit();
    for container in &mut containers {
        container.name = name(&container.name);
        container.image = cut(&container.image, IMAGE_BYTES_MAX);
        container.image_id = cut(&container.image_id, IMAGE_BYTES_MAX);
        if let ContainerState::Waiting { reason, message } = &mut container.state {
            *reason = name(reason);
            *message = cut(message, MESSAGE_BYTES_MAX);
        }
    }
    Pod {
        uid: name(&pod.uid),
        static_uid: name(&pod.static_uid),
        namespace: name(&pod.namespace),
        name: name(&pod.name),
        node: name(&pod.node),
        phase: name(&pod.phase),
        owner: pod.owner.map(|owner| Owner { kind: name(&owner.kind), name: name(&owner.name) }),
        created_at: pod.created_at,
        containers,
    }
}
