//! Follows one resource in one scope: lists it, watches it, and begins again after failures.

use std::fmt::Debug;
use std::future::Future;
use std::pin::pin;
use std::sync::Arc;
use std::time::Duration;

use futures_util::StreamExt;
use k8s_openapi::api::core::v1;
use kube::api::{ListParams, WatchEvent, WatchParams};
use kube::{Api, Client, Resource, ResourceExt};
use platform::{Clock, Rng};
use pulls::{ClusterPods, Pod};
use serde::de::DeserializeOwned;
use tokio::sync::watch;

use crate::cursor::{Cursor, Request};
use crate::fault::{Asked, Fault, FaultKind};
use crate::health::Health;
use crate::settings::{Timing, WatchParts};
use crate::{event, pod};

/// What is said of a server that accepts a request and does not answer.
const NO_ANSWER: &str = "the server does not answer";
/// How often a watch may break, one time after the other, until that is told.
const INTERRUPTIONS_MAX: u32 = 2;

/// What is done with a resource.
pub(crate) trait Followed: Send {
    /// The resource as the server has it.
    type Object: Resource<DynamicType = (), Scope = k8s_openapi::NamespaceResourceScope>
        + Clone
        + Debug
        + DeserializeOwned
        + Send
        + 'static;
    /// Its name in rules of access.
    const RESOURCE: &'static str;
    /// Which of them are asked for.
    const FIELD_SELECTOR: Option<&'static str>;

    /// A list begins: what an earlier one, which did not end, said does not count.
    fn begin(&mut self);
    /// Takes an object of a list.
    fn listed(&mut self, pods: &ClusterPods, object: Self::Object);
    /// The list is complete.
    fn complete(&mut self, pods: &ClusterPods, namespace: Option<&str>);
    /// Takes an object that was made or changed.
    fn applied(&mut self, pods: &ClusterPods, object: Self::Object);
    /// Takes an object that was deleted.
    fn deleted(&mut self, pods: &ClusterPods, object: Self::Object);
}

/// Pods.
#[derive(Debug, Default)]
pub(crate) struct Pods {
    /// Those of the list that wait.
    listed: Vec<Pod>,
}

/// Events.
#[derive(Debug, Default)]
pub(crate) struct Events;

impl Followed for Pods {
    type Object = v1::Pod;
    const RESOURCE: &'static str = "pods";
    // The server cannot select by what a pod waits for, and those that run have to be seen once to know that they do.
    const FIELD_SELECTOR: Option<&'static str> = None;

    fn begin(&mut self) {
        self.listed = Vec::new();
    }

    fn listed(&mut self, _: &ClusterPods, object: v1::Pod) {
        let pod = pod::read(object);
        if pod.waits() {
            self.listed.push(pod);
        }
    }

    fn complete(&mut self, pods: &ClusterPods, namespace: Option<&str>) {
        pods.pods_replaced(namespace, std::mem::take(&mut self.listed));
    }

    fn applied(&mut self, pods: &ClusterPods, object: v1::Pod) {
        pods.pod_applied(pod::read(object));
    }

    fn deleted(&mut self, pods: &ClusterPods, object: v1::Pod) {
        pods.pod_deleted(&object.uid().unwrap_or_default());
    }
}

impl Followed for Events {
    type Object = v1::Event;
    const RESOURCE: &'static str = "events";
    const FIELD_SELECTOR: Option<&'static str> = Some(event::FIELD_SELECTOR);

    fn begin(&mut self) {}

    fn listed(&mut self, pods: &ClusterPods, object: v1::Event) {
        self.applied(pods, object);
    }

    fn complete(&mut self, _: &ClusterPods, _: Option<&str>) {}

    fn applied(&mut self, pods: &ClusterPods, object: v1::Event) {
        let Some(read) = event::read(object) else { return };
        if !read.known {
            tracing::debug!(text = %read.event.message, "kubelet event has an unknown text");
            pods.unknown_message();
        }
        pods.event(read.event);
    }

    /// An event is deleted because of its age, which says nothing of images.
    fn deleted(&mut self, _: &ClusterPods, _: v1::Event) {}
}

/// One resource in one scope, and what is needed to follow it.
pub(crate) struct Follower<'a, F: Followed> {
    pub(crate) followed: F,
    pub(crate) client: Client,
    pub(crate) namespace: Option<String>,
    pub(crate) parts: &'a WatchParts,
    pub(crate) timing: Timing,
    pub(crate) health: &'a Health,
    /// Which of the watches of `health` this is.
    pub(crate) index: usize,
}

/// What follows on a request that the server has answered.
enum Next {
    /// The next request.
    AtOnce,
    /// The next request, after a wait: a watch ended that had begun.
    Later(Fault),
}

impl<F: Followed> Follower<'_, F> {
    /// Follows until `stop` is true or its sender is gone.
    pub(crate) async fn run(mut self, mut stop: watch::Receiver<bool>) {
        let api: Api<F::Object> = match &self.namespace {
            Some(namespace) => Api::namespaced(self.client.clone(), namespace),
            None => Api::all(self.client.clone()),
        };
        let mut cursor = Cursor::new();
        let mut retry = Retry::new(self.timing);
        loop {
            let outcome = tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                outcome = self.step(&api, &mut cursor, &mut retry) => outcome,
            };
            let (fault, tell) = match outcome {
                Ok(Next::AtOnce) => continue,
                // Watches break when a server restarts; only if that goes on is it worth to be told.
                Ok(Next::Later(fault)) => (fault, INTERRUPTIONS_MAX <= retry.failures),
                Err(fault) => (fault, true),
            };
            cursor.failed(fault.kind);
            if tell {
                self.health.set(self.index, Some(&fault.reason));
            }
            let wait = retry.wait(fault.kind, &*self.parts.rng);
            tracing::debug!(reason = fault.reason, ?wait, "kubernetes request is made again");
            let deadline = self.parts.clock.monotonic() + wait;
            tokio::select! {
                biased;
                _ = stop.wait_for(|stop| *stop) => return,
                () = self.parts.clock.sleep_until(deadline) => {}
            }
        }
    }

    async fn step(
        &mut self,
        api: &Api<F::Object>,
        cursor: &mut Cursor,
        retry: &mut Retry,
    ) -> Result<Next, Fault> {
        match cursor.next().clone() {
            Request::List { token } => self.list(api, token, cursor).await,
            Request::Watch { version } => self.watch(api, &version, cursor, retry).await,
        }
    }

    async fn list(
        &mut self,
        api: &Api<F::Object>,
        token: Option<String>,
        cursor: &mut Cursor,
    ) -> Result<Next, Fault> {
        if token.is_none() {
            self.followed.begin();
        }
        let params = ListParams {
            field_selector: F::FIELD_SELECTOR.map(str::to_owned),
            limit: Some(self.timing.page),
            continue_token: token,
            ..ListParams::default()
        };
        let asked = Asked::new::<F>("list", self.namespace.as_deref());
        let answer = in_time(&*self.parts.clock, self.timing.answer_max, api.list(&params)).await;
        let answer = answer.ok_or_else(|| Fault::other(&asked, NO_ANSWER))?;
        let page = answer.map_err(|error| Fault::new(&asked, &error))?;
        for object in page.items {
            self.followed.listed(&self.parts.pods, object);
        }
        let (token, version) = (page.metadata.continue_, page.metadata.resource_version);
        let was_last = token.as_deref().is_none_or(str::is_empty);
        if cursor.page_ended(token, version) {
            self.followed.complete(&self.parts.pods, self.namespace.as_deref());
        } else if was_last {
            return Err(Fault::other(&asked, "the list has no version"));
        }
        Ok(Next::AtOnce)
    }

    async fn watch(
        &mut self,
        api: &Api<F::Object>,
        version: &str,
        cursor: &mut Cursor,
        retry: &mut Retry,
    ) -> Result<Next, Fault> {
        let params = WatchParams {
            field_selector: F::FIELD_SELECTOR.map(str::to_owned),
            timeout: Some(u32::try_from(self.timing.watch.as_secs()).unwrap_or(u32::MAX)),
            bookmarks: true,
            ..WatchParams::default()
        };
        let namespace = self.namespace.clone();
        let asked = Asked::new::<F>("watch", namespace.as_deref());
        let clock = Arc::clone(&self.parts.clock);
        let begun = in_time(&*clock, self.timing.answer_max, api.watch(&params, version)).await;
        let begun = begun.ok_or_else(|| Fault::other(&asked, NO_ANSWER))?;
        let mut stream = pin!(begun.map_err(|error| Fault::new(&asked, &error))?);
        self.health.set(self.index, None);
        let began_at = clock.monotonic();
        let silence_max = self.timing.watch + self.timing.watch_grace;
        loop {
            let fault = match in_time(&*clock, silence_max, stream.next()).await {
                Some(Some(Ok(WatchEvent::Error(status)))) => Fault::of_status(&asked, &status),
                Some(Some(Ok(said))) => {
                    retry.reset();
                    self.take(said, cursor);
                    continue;
                }
                Some(Some(Err(error))) => Fault::new(&asked, &error),
                // Watches end in time. One that ends at once, again and again, must not become a storm.
                Some(None) if retry.may_begin_again(clock.monotonic() - began_at) => {
                    return Ok(Next::AtOnce);
                }
                Some(None) => Fault::other(&asked, "the server ends it at once"),
                None => Fault::other(&asked, "the server is silent"),
            };
            return Ok(Next::Later(fault));
        }
    }

    fn take(&mut self, said: WatchEvent<F::Object>, cursor: &mut Cursor) {
        match said {
            WatchEvent::Added(object) | WatchEvent::Modified(object) => {
                cursor.seen(object.meta().resource_version.as_deref());
                self.followed.applied(&self.parts.pods, object);
            }
            WatchEvent::Deleted(object) => {
                cursor.seen(object.meta().resource_version.as_deref());
                self.followed.deleted(&self.parts.pods, object);
            }
            WatchEvent::Bookmark(bookmark) => {
                cursor.seen(Some(&bookmark.metadata.resource_version));
            }
            WatchEvent::Error(_) => {}
        }
    }
}

impl<'a> Asked<'a> {
    fn new<F: Followed>(verb: &'static str, namespace: Option<&'a str>) -> Self {
        Self { verb, resource: F::RESOURCE, namespace }
    }
}

/// Waits between requests that fail, longer each time, each time by chance.
#[derive(Debug)]
struct Retry {
    timing: Timing,
    /// Since something last went well.
    failures: u32,
}

impl Retry {
    fn new(timing: Timing) -> Self {
        Self { timing, failures: 0 }
    }

    fn reset(&mut self) {
        self.failures = 0;
    }

    /// Returns whether a watch that ended without a fault lasted long enough to be followed by the next at once.
    fn may_begin_again(&mut self, lasted: Duration) -> bool {
        if self.timing.retry_min <= lasted {
            self.reset();
        }
        self.timing.retry_min <= lasted
    }

    fn wait(&mut self, kind: FaultKind, rng: &dyn Rng) -> Duration {
        let doubled = self.timing.retry_min.saturating_mul(1 << self.failures.min(16));
        let longest = doubled.min(self.timing.retry_max);
        self.failures = self.failures.saturating_add(1);
        let half = longest / 2;
        let nanos = u64::try_from(half.as_nanos()).unwrap_or(u64::MAX);
        let spread = half + Duration::from_nanos(rng.next_u64() % nanos.max(1));
        match kind {
            FaultKind::Busy { for_at_least } => {
                // All that were asked to wait come back at different times.
                for_at_least.min(self.timing.retry_asked_max) + spread
            }
            FaultKind::Gone | FaultKind::Other => spread,
        }
    }
}

/// Returns what `future` does if it does it within `max`.
async fn in_time<T>(
    clock: &dyn Clock,
    max: Duration,
    future: impl Future<Output = T>,
) -> Option<T> {
    let deadline = clock.sleep_until(clock.monotonic().saturating_add(max));
    tokio::select! {
        biased;
        output = future => Some(output),
        () = deadline => None,
    }
}

#[cfg(test)]
mod tests {
    use platform::SimRng;

    use super::*;

    #[test]
    fn waits_grow_to_a_limit_and_differ() {
        let timing = Timing::default();
        let rng = SimRng::new(7);
        let mut retry = Retry::new(timing);
        for longest in [1, 2, 4, 8, 16, 30, 30] {
            let wait = retry.wait(FaultKind::Other, &*rng);
            let longest = Duration::from_secs(longest);
            assert!(longest / 2 <= wait && wait < longest, "{wait:?} {longest:?}");
        }
        retry.failures = u32::MAX;
        assert!(retry.wait(FaultKind::Other, &*rng) < timing.retry_max);
        retry.reset();
        let [a, b] = [0, 1].map(|_| {
            retry.reset();
            retry.wait(FaultKind::Other, &*rng)
        });
        assert_ne!(a, b);
    }

    #[test]
    fn a_server_may_ask_for_a_longer_wait_but_not_for_any() {
        let timing = Timing::default();
        let rng = SimRng::new(7);
        let wait = |seconds| {
            let for_at_least = Duration::from_secs(seconds);
            Retry::new(timing).wait(FaultKind::Busy { for_at_least }, &*rng)
        };
        assert!(Duration::from_secs(10) < wait(10) && wait(10) < Duration::from_secs(11));
        assert!(wait(u64::MAX) <= timing.retry_asked_max + timing.retry_min);
    }
}
