//! What happens next for somebody who follows events, whatever form they get them in.

use std::sync::Arc;
use std::time::Duration;

use events::{LogError, Offset, Tail, TailBatch};
use tokio::sync::{OwnedSemaphorePermit, watch};

use super::NEEDED;
use super::parameters::{Asked, From};
use crate::caller::Caller;
use crate::enforce::check_again;
use crate::failure::Failure;
use crate::stats::{LiveConnection, LiveTransport};

/// How often a client hears that the connection lives.
const BEAT_INTERVAL: Duration = Duration::from_secs(15);
/// How often it is asked whether the credential still opens this.
const CHECK_INTERVAL: Duration = Duration::from_secs(5);
/// How long new events gather after the end was reached: many who follow do not wake with every event.
const GATHER: Duration = Duration::from_millis(50);
/// How long to wait after the log failed.
const RETRY: Duration = Duration::from_secs(1);

/// Somebody who follows events.
pub(super) struct Follower {
    caller: Caller,
    tail: Tail,
    shutdown: watch::Receiver<bool>,
    /// Where to end, for those who do not wait for more.
    until: Option<Offset>,
    /// How many events may still be returned.
    left: usize,
    next_beat: Duration,
    next_check: Duration,
    not_before: Duration,
    /// Among the live connections.
    _place: OwnedSemaphorePermit,
    _counted: LiveConnection,
}

/// What happened.
pub(super) enum Step {
    /// There are events, or there is a gap.
    Batch(TailBatch),
    /// Nothing happened for a while.
    Beat,
    /// It is over.
    End(End),
}

/// Why it is over.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum End {
    /// All that was asked for was returned.
    Done,
    /// The server stops.
    Stopping,
    /// The credential opens this no more; the code says why.
    Refused(&'static str),
    /// The log cannot be read.
    Failed,
}

impl Follower {
    /// Finds where to begin.
    pub(super) async fn begin(
        caller: Caller,
        asked: Asked,
        place: OwnedSemaphorePermit,
        transport: LiveTransport,
    ) -> Result<Self, Failure> {
        let Asked { filter, from, follow, limit } = asked;
        let app = Arc::clone(&caller.app);
        let log = &app.events.log;
        let bounds = log.bounds().await?;
        let from = match from {
            From::Latest => bounds.end,
            From::Earliest => bounds.first,
            From::At(offset) => offset,
            From::Time(time) => log.offset_at(time).await?,
        };
        let now = app.clock.monotonic();
        Ok(Self {
            tail: app.tails.follow(filter, from),
            shutdown: app.shutdown.clone(),
            until: (!follow).then_some(bounds.end),
            left: limit.unwrap_or(usize::MAX),
            next_beat: now + BEAT_INTERVAL,
            next_check: now + CHECK_INTERVAL,
            not_before: now,
            _place: place,
            _counted: LiveConnection::enter(&app.observability.stats, transport),
            caller,
        })
    }

    pub(super) const fn caller(&self) -> &Caller {
        &self.caller
    }

    /// Returns the position behind what was returned or passed over.
    pub(super) const fn position(&self) -> Offset {
        self.tail.position()
    }

    /// Waits for the next thing to happen. Cancellation safe.
    pub(super) async fn step(&mut self) -> Step {
        let clock = Arc::clone(&self.caller.app.clock);
        loop {
            let now = clock.monotonic();
            if *self.shutdown.borrow() {
                return Step::End(End::Stopping);
            }
            if now >= self.next_check {
                self.next_check = now + CHECK_INTERVAL;
                // A key may have been revoked meanwhile, or a session have ended.
                if let Err(failure) = check_again(&self.caller, NEEDED) {
                    return Step::End(End::Refused(failure.kind.code()));
                }
            }
            if now >= self.next_beat {
                self.next_beat = now + BEAT_INTERVAL;
                return Step::Beat;
            }
            let has_more = self.tail.has_more();
            let is_past = |until| !has_more || self.tail.position() >= until;
            if self.left == 0 || self.until.is_some_and(is_past) {
                return Step::End(End::Done);
            }
            let is_early = now < self.not_before;
            if is_early || !has_more {
                let due = self.next_check.min(self.next_beat);
                let due = if is_early { due.min(self.not_before) } else { due };
                let closed = tokio::select! {
                    biased;
                    _ = self.shutdown.wait_for(|stopped| *stopped) => true,
                    more = self.tail.more(), if !is_early => more.is_err(),
                    () = clock.sleep_until(due) => false,
                };
                if closed {
                    return Step::End(End::Stopping);
                }
                continue;
            }
            if let Some(step) = self.read().await {
                return step;
            }
        }
    }

    /// Reads on by a page.
    async fn read(&mut self) -> Option<Step> {
        let tenant = Arc::clone(&self.caller.tenant);
        let clock = &self.caller.app.clock;
        let begun = self.tail.position();
        let read = {
            // Those of one tenant take turns, so that they keep one processor busy at most.
            let _turn = tokio::select! {
                biased;
                _ = self.shutdown.wait_for(|stopped| *stopped) => {
                    return Some(Step::End(End::Stopping));
                }
                turn = tenant.tailing.acquire() => turn.ok()?,
            };
            self.tail.read(self.left).await
        };
        match read {
            Ok(batch) => {
                if !self.tail.has_more() {
                    self.not_before = clock.monotonic() + GATHER;
                }
                if self.tail.position() == begun {
                    // There should be more, and is not yet.
                    self.not_before = clock.monotonic() + RETRY;
                }
                if batch.is_empty() {
                    return None;
                }
                self.left -= batch.events().len();
                self.next_beat = clock.monotonic() + BEAT_INTERVAL;
                Some(Step::Batch(batch))
            }
            Err(LogError::Closed) => Some(Step::End(End::Stopping)),
            Err(error) if self.until.is_some() => {
                tracing::debug!(error = %error, "events could not be read");
                Some(Step::End(End::Failed))
            }
            Err(error) => {
                tracing::debug!(error = %error, "events could not be read; trying again");
                self.not_before = clock.monotonic() + RETRY;
                None
            }
        }
    }
}
