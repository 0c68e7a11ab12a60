//! What goes on in the background: making the streams, hearing of what others stored, making room.

use std::sync::Arc;
use std::sync::atomic::Ordering;

use events::{LogError, Offset};
use tracing::{info, warn};

use super::Shared;
use crate::connection::ApiError;
use crate::dead_letters::JetStreamDeadLetters;
use crate::message::Stored;
use crate::streams::{self, ConsumerState, StreamState};

/// Of so many polls, one asks for consumers and dead letters, too.
const POLLS_PER_CENSUS: u32 = 20;

/// The stream is cut when it holds more than so many hundredths of what it may.
const CUT_ABOVE_PERCENT: u64 = 90;

/// It is cut down to so many hundredths.
const CUT_TO_PERCENT: u64 = 80;

pub(super) async fn follow(shared: Arc<Shared>, dead_letters: Arc<JetStreamDeadLetters>) {
    let _end = End(Arc::clone(&shared));
    let connection = &shared.connection;
    let mut watch = connection.watch();
    let mut failures = 0;
    let mut polls = 0_u32;
    loop {
        if watch.wait_for(|state| state.connected || state.closed).await.is_err() {
            return;
        }
        if connection.state().closed {
            return;
        }
        let outcome = if connection.state().ready {
            let census = polls.is_multiple_of(POLLS_PER_CENSUS);
            polls = polls.wrapping_add(1);
            shared.poll(census, &dead_letters).await
        } else {
            polls = 0;
            shared.prepare(&dead_letters).await
        };
        let pause = match outcome {
            Ok(()) => {
                failures = 0;
                shared.settings.poll_interval
            }
            Err(error) => {
                let pause = connection.backoff(failures, shared.settings.reconnect_wait_max);
                failures = failures.saturating_add(1);
                warn!(%error, failures, "nats does not answer as expected");
                pause
            }
        };
        tokio::select! {
            biased;
            () = shared.trim.notified() => {
                // Somebody was refused: the census makes room.
                polls = 0;
            }
            () = connection.sleep(pause) => {}
        }
    }
}

/// Says that nobody looks after the stream any more, however that came.
struct End(Arc<Shared>);

impl Drop for End {
    fn drop(&mut self) {
        let reason = "what looks after the streams has ended, start the program again";
        self.0.connection.set_ready(false, Some(reason.to_owned()));
    }
}

impl Shared {
    async fn prepare(&self, dead_letters: &JetStreamDeadLetters) -> Result<(), ApiError> {
        let prepared = async {
            streams::ensure(&self.connection, &self.settings).await?;
            let state = streams::state(&self.connection, &self.settings.stream.name).await?;
            self.learn(state);
            dead_letters.rebuild().await
        };
        match prepared.await {
            Ok(()) => {
                info!(stream = self.settings.stream.name, "the streams of nats are ready");
                self.connection.set_ready(true, None);
                Ok(())
            }
            Err(error) => {
                self.connection.set_ready(false, Some(error.to_string()));
                Err(error)
            }
        }
    }

    async fn poll(
        &self,
        census: bool,
        dead_letters: &JetStreamDeadLetters,
    ) -> Result<(), ApiError> {
        let state = streams::state(&self.connection, &self.settings.stream.name).await?;
        self.learn(state);
        if census {
            let consumers =
                streams::consumers(&self.connection, &self.settings.stream.name).await?;
            self.take_census(&state, &consumers);
            self.make_room(&state, &consumers).await;
            dead_letters.refresh().await?;
        }
        Ok(())
    }

    fn take_census(&self, state: &StreamState, consumers: &[ConsumerState]) {
        let mut known = self.known.lock();
        known.lag.clear();
        let before = std::mem::take(&mut known.read_to);
        for consumer in consumers.iter().filter(|consumer| consumer.durable) {
            known.lag.insert(consumer.name.clone(), consumer.lag);
            let unread = consumer.floor.saturating_add(1);
            if let Some(from) = expired_from(before.get(&consumer.name).copied(), unread, state) {
                warn!(
                    consumer = consumer.name,
                    from,
                    to = state.first,
                    "events became too old before a consumer had settled them"
                );
            }
            known.read_to.insert(consumer.name.clone(), unread.max(state.first));
        }
    }

    /// Removes the oldest of what every durable consumer has settled, when the stream is nearly full. A stream that is
    /// full refuses events, and none makes room by being read.
    async fn make_room(&self, state: &StreamState, consumers: &[ConsumerState]) {
        let cut = match excess_end(state) {
            Some(cut) => cut,
            None => {
                self.known.lock().blocked_by = None;
                self.full.store(false, Ordering::Relaxed);
                return;
            }
        };
        let slowest = consumers
            .iter()
            .filter(|consumer| consumer.durable)
            .min_by(|a, b| (a.floor, &a.name).cmp(&(b.floor, &b.name)));
        let read_to = slowest.map_or(state.end, |slowest| slowest.floor.saturating_add(1));
        self.known.lock().blocked_by =
            slowest.filter(|_| read_to <= state.first).map(|slowest| slowest.name.clone());
        match self.cut(cut.min(read_to)).await {
            Ok(0) => {}
            Ok(removed) => info!(removed, "removed the oldest events, the stream was nearly full"),
            Err(error) => warn!(%error, "cannot make room in the stream"),
        }
    }

    /// Removes the messages before a position, but none whose key is still needed to recognise a repetition.
    async fn cut(&self, end: u64) -> Result<u64, LogError> {
        let window = i64::try_from(self.settings.stream.duplicate_window.as_millis());
        let now = self.connection.clock.now();
        let time = now.saturating_add_millis(-window.unwrap_or(i64::MAX));
        let Offset(young) = self.offset_at(time, |message: &Stored| message.at).await?;
        let end = end.min(young);
        if end <= self.known.lock().stream.first {
            return Ok(0);
        }
        streams::purge(&self.connection, &self.settings.stream.name, end).await
    }
}

/// Returns the first position that a consumer had not settled when last asked and that is not there any more.
fn expired_from(read_to: Option<u64>, unread: u64, state: &StreamState) -> Option<u64> {
    let from = read_to?.max(unread);
    (from < state.first).then_some(from)
}

/// Returns up to where messages have to go so that the stream is no longer nearly full; `None` when it is not. All
/// messages count as equally long.
fn excess_end(state: &StreamState) -> Option<u64> {
    let percent = |percent: u64| state.bytes_max / 100 * percent;
    if state.bytes_max == 0 || state.bytes <= percent(CUT_ABOVE_PERCENT) {
        return None;
    }
    let excess = state.bytes.saturating_sub(percent(CUT_TO_PERCENT));
    let span = u128::from(state.end.saturating_sub(state.first));
    let part = span * u128::from(excess) / u128::from(state.bytes.max(1));
    let part = u64::try_from(part).unwrap_or(u64::MAX).max(1);
    Some(state.first.saturating_add(part).min(state.end))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_that_expired_unread_are_named_once() {
        let state = StreamState { first: 10, end: 20, ..StreamState::default() };
        for (read_to, unread, expected) in [
            (None, 1, None),
            (Some(4), 4, Some(4)),
            (Some(4), 6, Some(6)),
            (Some(10), 4, None),
            (Some(4), 10, None),
        ] {
            assert_eq!(expired_from(read_to, unread, &state), expected, "{read_to:?} {unread}");
        }
    }

    #[test]
    fn a_stream_is_cut_from_nine_tenths_to_eight() {
        let state = |bytes, bytes_max| StreamState {
            first: 101,
            end: 1_101,
            messages: 1_000,
            bytes,
            bytes_max,
        };
        assert_eq!(excess_end(&state(9_000, 10_000)), None);
        assert_eq!(excess_end(&state(10_000, 10_000)), Some(301));
        assert_eq!(excess_end(&state(9_001, 10_000)), Some(212));
        assert_eq!(excess_end(&state(u64::MAX, 0)), None);
        let one = StreamState { first: 7, end: 8, messages: 1, bytes: 95, bytes_max: 100 };
        assert_eq!(excess_end(&one), Some(8));
    }
}
