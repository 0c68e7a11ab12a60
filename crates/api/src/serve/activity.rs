//! What goes on on an HTTP/2 connection: whether anything is asked, whether answers are read.
//!
//! A peer can keep an HTTP/2 connection alive without asking anything, or ask and never open its window for the
//! answer. Hyper has no limit for either; here both are measured.

use std::collections::BTreeMap;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use axum::body::Body;
use bytes::Bytes;
use http_body::{Frame, SizeHint};
use parking_lot::Mutex;
use platform::Clock;

/// Most bytes of an answer that are given away at a time, so that the rest shows whether the peer reads.
const CHUNK_BYTES_MAX: usize = 64 << 10;

/// Watches one connection.
#[derive(Debug)]
pub(super) struct Activity {
    clock: Arc<dyn Clock>,
    idle_timeout: Duration,
    stall_timeout: Duration,
    /// Never held across an await.
    state: Mutex<State>,
}

#[derive(Debug)]
struct State {
    exchanges: usize,
    /// When the last exchange ended, or the connection began.
    idle_since: Duration,
    /// Since when exchanges wait for the peer to take more of the answer, by the exchange's number.
    unread_since: BTreeMap<u64, Duration>,
    next: u64,
}

/// Why a connection should end.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Verdict {
    /// Nothing is asked.
    Idle,
    /// An answer is not read.
    Stalled,
}

impl Activity {
    pub(super) fn new(
        clock: Arc<dyn Clock>,
        idle_timeout: Duration,
        stall_timeout: Duration,
    ) -> Arc<Self> {
        let idle_since = clock.monotonic();
        let state = State { exchanges: 0, idle_since, unread_since: BTreeMap::new(), next: 0 };
        Arc::new(Self { clock, idle_timeout, stall_timeout, state: Mutex::new(state) })
    }

    /// Begins an exchange: a request and its answer.
    pub(super) fn begin(self: &Arc<Self>) -> Exchange {
        let mut state = self.state.lock();
        state.exchanges += 1;
        state.next += 1;
        Exchange { activity: Arc::clone(self), number: state.next }
    }

    /// Completes once the connection should end.
    pub(super) async fn watch(&self) -> Verdict {
        loop {
            match self.look() {
                Ok(again) => self.clock.sleep_until(again).await,
                Err(verdict) => return verdict,
            }
        }
    }

    /// Returns when to look again.
    fn look(&self) -> Result<Duration, Verdict> {
        let now = self.clock.monotonic();
        let state = self.state.lock();
        // What begins after now is due after this.
        let mut again = now.saturating_add(self.idle_timeout.min(self.stall_timeout));
        if let Some(since) = state.unread_since.values().min() {
            let due = since.saturating_add(self.stall_timeout);
            if due <= now {
                return Err(Verdict::Stalled);
            }
            again = again.min(due);
        }
        if state.exchanges == 0 {
            let due = state.idle_since.saturating_add(self.idle_timeout);
            if due <= now {
                return Err(Verdict::Idle);
            }
            again = again.min(due);
        }
        Ok(again)
    }
}

/// One request and its answer; it ends when this is dropped.
#[derive(Debug)]
pub(super) struct Exchange {
    activity: Arc<Activity>,
    number: u64,
}

impl Exchange {
    /// Returns the body of the answer, watched.
    pub(super) fn answer(self, body: Body) -> Answer {
        if !http_body::Body::is_end_stream(&body) {
            self.peer_is_next();
        }
        Answer { body, rest: Bytes::new(), exchange: self }
    }

    fn peer_is_next(&self) {
        let now = self.activity.clock.monotonic();
        self.activity.state.lock().unread_since.insert(self.number, now);
    }

    fn we_are_next(&self) {
        self.activity.state.lock().unread_since.remove(&self.number);
    }
}

impl Drop for Exchange {
    fn drop(&mut self) {
        let now = self.activity.clock.monotonic();
        let mut state = self.activity.state.lock();
        state.unread_since.remove(&self.number);
        state.exchanges -= 1;
        state.idle_since = now;
    }
}

/// The body of an answer, given away in small parts so that it shows when the peer stops reading.
#[derive(Debug)]
pub(super) struct Answer {
    body: Body,
    /// What is left of the last part.
    rest: Bytes,
    exchange: Exchange,
}

impl http_body::Body for Answer {
    type Data = Bytes;
    type Error = axum::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        cx: &mut Context<'_>,
    ) -> Poll<Option<Result<Frame<Bytes>, axum::Error>>> {
        self.exchange.we_are_next();
        if self.rest.is_empty() {
            match ready!(Pin::new(&mut self.body).poll_frame(cx)) {
                Some(Ok(frame)) => match frame.into_data() {
                    Ok(data) => self.rest = data,
                    Err(trailers) => return Poll::Ready(Some(Ok(trailers))),
                },
                end => return Poll::Ready(end),
            }
        }
        let length = self.rest.len().min(CHUNK_BYTES_MAX);
        let part = self.rest.split_to(length);
        self.exchange.peer_is_next();
        Poll::Ready(Some(Ok(Frame::data(part))))
    }

    fn is_end_stream(&self) -> bool {
        self.rest.is_empty() && self.body.is_end_stream()
    }

    fn size_hint(&self) -> SizeHint {
        let mut hint = self.body.size_hint();
        let rest = self.rest.len() as u64;
        // The upper bound first: the lower one must never be above it.
        if let Some(upper) = hint.upper() {
            hint.set_upper(upper.saturating_add(rest));
        }
        hint.set_lower(hint.lower().saturating_add(rest));
        hint
    }
}
