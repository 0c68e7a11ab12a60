//! Pulls as they go on: server-sent events as Pulltrace sends them, with identifiers, resumption and a heartbeat.

use std::convert::Infallible;
use std::sync::Arc;
use std::time::Duration;
use std::vec;

use axum::body::Body;
use axum::extract::Request;
use axum::response::{IntoResponse as _, Response};
use bytes::Bytes;
use futures_util::stream;
use http::{HeaderName, HeaderValue, header};
use pulls::{Interest, Subscription, Update, UpdateId};
use tokio::sync::watch;

use super::{READ, filter, frame};
use crate::caller::Caller;
use crate::enforce::check_again;
use crate::failure::{Failure, PulltraceFailure};
use crate::params::Params;
use crate::stats::{LiveConnection, LiveTransport};

/// Says where a broken connection ended.
pub(super) const LAST_EVENT_ID: &str = "last-event-id";
/// How often a client hears that the connection lives.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is asked whether the credential still opens this.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// When to come again where there is no place.
const COME_BACK: Duration = Duration::from_secs(10);

/// Begins to follow pulls.
pub(super) async fn follow(caller: Caller, request: Request) -> Result<Response, PulltraceFailure> {
    let last = request.headers().get(LAST_EVENT_ID).cloned();
    let params = Params::of(&caller.app, request).await?;
    let after = last.as_ref().map(|last| last.to_str().ok()?.trim().parse().ok());
    let interest = Interest {
        filter: filter::of(&params)?,
        layers: filter::flag(&params, "layers")?,
        after: after.flatten(),
    };
    // A browser that is refused does not come back, so what another server called its messages is no mistake.
    let greeting = match after {
        Some(None) => Bytes::from([frame::GREETING, frame::RESYNC].concat()),
        None | Some(Some(_)) => frame::GREETING,
    };
    let subscription = caller
        .app
        .pulls
        .subscribe(&caller.tenant.id, interest)
        .map_err(|_| Failure::overloaded("too many connections").retry_after(COME_BACK))?;
    // A frame is made when the client has taken the one before: nothing waits here but what the subscription bounds.
    let source = Source::new(caller, subscription, greeting);
    let frames = stream::unfold(source, |mut source| async move {
        let frame = source.next().await?;
        Some((Ok::<_, Infallible>(frame), source))
    });
    let headers = [
        (header::CONTENT_TYPE, HeaderValue::from_static("text/event-stream")),
        (header::CACHE_CONTROL, HeaderValue::from_static("no-cache")),
        // Proxies that gather answers hand this one on as it comes.
        (HeaderName::from_static("x-accel-buffering"), HeaderValue::from_static("no")),
    ];
    Ok((headers, Body::from_stream(frames)).into_response())
}

/// What the body is made from.
struct Source {
    caller: Caller,
    subscription: Subscription,
    shutdown: watch::Receiver<bool>,
    /// What is sent next, before anything else.
    control: Option<Bytes>,
    /// What is sent then.
    updates: vec::IntoIter<Arc<Update>>,
    /// Where the client is once it has taken all of that.
    position: Option<UpdateId>,
    next_beat: Duration,
    next_check: Duration,
    _counted: LiveConnection,
}

impl Source {
    fn new(caller: Caller, subscription: Subscription, greeting: Bytes) -> Self {
        let app = &caller.app;
        let now = app.clock.monotonic();
        Self {
            shutdown: app.shutdown.clone(),
            control: Some(greeting),
            updates: Vec::new().into_iter(),
            position: None,
            next_beat: now + BEAT_INTERVAL,
            next_check: now + CHECK_INTERVAL,
            _counted: LiveConnection::enter(&app.observability.stats, LiveTransport::Stream),
            subscription,
            caller,
        }
    }

    /// Waits for what is sent next; `None` at the end.
    async fn next(&mut self) -> Option<Bytes> {
        let clock = Arc::clone(&self.caller.app.clock);
        loop {
            let now = clock.monotonic();
            if *self.shutdown.borrow() {
                return None;
            }
            if now >= self.next_check {
                self.next_check = now + CHECK_INTERVAL;
                // A key may have been revoked meanwhile, or a session have ended.
                check_again(&self.caller, READ).ok()?;
            }
            if let Some(control) = self.control.take() {
                return Some(control);
            }
            if let Some(update) = self.updates.next() {
                let frame = frame::of(&update);
                self.next_beat = now + BEAT_INTERVAL;
                return Some(frame);
            }
            if now >= self.next_beat {
                self.next_beat = now + BEAT_INTERVAL;
                return Some(frame::beat(self.position));
            }
            let due = self.next_check.min(self.next_beat);
            let batch = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(|stopped| *stopped) => return None,
                batch = self.subscription.next() => batch,
                () = clock.sleep_until(due) => continue,
            };
            self.control = batch.resync.then_some(frame::RESYNC);
            self.position = Some(batch.position);
            self.updates = batch.updates.into_iter();
        }
    }
}
