//! Many equal lines say no more than a few and a number.
//!
//! Messages are constant, so a place in the code is a message: places are counted, and there is a fixed number of them.

use std::collections::HashMap;
use std::fmt;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use parking_lot::Mutex;
use platform::Clock;
use tokio::sync::watch;
use tracing::callsite::Identifier;
use tracing::field::{Field, Visit};
use tracing::{Event, Level, Metadata, Subscriber};
use tracing_subscriber::layer::{Context, Filter};

use super::TRACE_TARGET;

/// The target of lines that tell of suppressed ones.
const SUMMARY_TARGET: &str = "tinyobs::log";
/// Longest part of a message that a summary repeats, in bytes.
const MESSAGE_BYTES_MAX: usize = 120;
/// The levels, the most severe first.
pub(crate) const LEVELS: [(&str, Level); 5] = [
    ("error", Level::ERROR),
    ("warn", Level::WARN),
    ("info", Level::INFO),
    ("debug", Level::DEBUG),
    ("trace", Level::TRACE),
];

/// How many equal lines are shown.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Sampling {
    /// Most lines of one message within the interval; 0 for all.
    pub(crate) lines_max: u64,
    /// The interval.
    pub(crate) interval: Duration,
}

/// Counts lines, and suppresses those of a message that come too often. Errors are always shown.
pub(crate) struct Sampler {
    sampling: Sampling,
    clock: Arc<dyn Clock>,
    shown: [AtomicU64; LEVELS.len()],
    suppressed: AtomicU64,
    /// By place in the code. Never held across an await, nor while a line is written.
    windows: Mutex<HashMap<Identifier, Window>>,
}

/// What came from one place since a moment.
#[derive(Clone, Debug)]
struct Window {
    began: Duration,
    lines: u64,
    target: &'static str,
    /// Known once a line was suppressed.
    message: String,
}

/// Lines that were not shown.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(crate) struct Suppressed {
    pub(crate) target: &'static str,
    pub(crate) message: String,
    pub(crate) suppressed: u64,
    /// All lines of the interval, the shown ones included.
    pub(crate) lines: u64,
}

impl fmt::Debug for Sampler {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Sampler").field("sampling", &self.sampling).finish_non_exhaustive()
    }
}

impl Sampler {
    pub(crate) fn new(sampling: Sampling, clock: Arc<dyn Clock>) -> Self {
        Self {
            sampling,
            clock,
            shown: Default::default(),
            suppressed: AtomicU64::new(0),
            windows: Mutex::default(),
        }
    }

    /// Returns how many lines of each level were shown.
    pub(crate) fn shown(&self) -> [(&'static str, u64); LEVELS.len()] {
        let counts = LEVELS.iter().zip(&self.shown);
        let mut named = LEVELS.map(|(name, _)| (name, 0));
        named.iter_mut().zip(counts).for_each(|(named, (_, shown))| {
            named.1 = shown.load(Ordering::Relaxed);
        });
        named
    }

    /// Returns how many lines were suppressed.
    pub(crate) fn suppressed(&self) -> u64 {
        self.suppressed.load(Ordering::Relaxed)
    }

    /// Makes a filter of it.
    pub(super) fn into_filter(self: Arc<Self>) -> SamplingFilter {
        SamplingFilter(self)
    }

    fn shows(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let shows = self.is_within_limit(event);
        if shows {
            let level = LEVELS.iter().position(|(_, level)| level == metadata.level());
            if let Some(shown) = level.and_then(|level| self.shown.get(level)) {
                shown.fetch_add(1, Ordering::Relaxed);
            }
        } else {
            self.suppressed.fetch_add(1, Ordering::Relaxed);
        }
        shows
    }

    fn is_within_limit(&self, event: &Event<'_>) -> bool {
        let metadata = event.metadata();
        let Sampling { lines_max, interval } = self.sampling;
        let is_exempt = *metadata.level() == Level::ERROR || metadata.target() == SUMMARY_TARGET;
        if is_exempt || lines_max == 0 {
            return true;
        }
        let now = self.clock.monotonic();
        let mut windows = self.windows.lock();
        let window = windows.entry(metadata.callsite()).or_insert_with(|| Window {
            began: now,
            lines: 0,
            target: metadata.target(),
            message: String::new(),
        });
        // What was suppressed is told by a summary, which then begins anew.
        if window.lines <= lines_max && now.saturating_sub(window.began) >= interval {
            *window = Window { began: now, lines: 0, ..window.clone() };
        }
        window.lines += 1;
        if window.lines == lines_max + 1 {
            let mut message = Message(String::new());
            event.record(&mut message);
            window.message = message.0;
        }
        window.lines <= lines_max
    }

    /// Returns what was suppressed in intervals that began at least `age` ago, and begins them anew.
    fn ended(&self, age: Duration) -> Vec<Suppressed> {
        let lines_max = self.sampling.lines_max;
        let now = self.clock.monotonic();
        let mut windows = self.windows.lock();
        let over = windows
            .values_mut()
            .filter(|window| window.lines > lines_max && now.saturating_sub(window.began) >= age);
        let mut ended: Vec<Suppressed> = over
            .map(|window| {
                let lines = std::mem::take(&mut window.lines);
                window.began = now;
                let suppressed = lines - lines_max;
                let message = std::mem::take(&mut window.message);
                Suppressed { target: window.target, message, suppressed, lines }
            })
            .collect();
        ended.sort_by(|left, right| {
            (left.target, &left.message).cmp(&(right.target, &right.message))
        });
        ended
    }
}

/// Tells once in the interval what was suppressed, until the program stops.
pub(crate) async fn summarize(sampler: Arc<Sampler>, mut stopped: watch::Receiver<bool>) {
    if sampler.sampling.lines_max == 0 {
        drop(stopped.wait_for(|stopped| *stopped).await);
        return;
    }
    loop {
        let again = sampler.clock.monotonic().saturating_add(sampler.sampling.interval);
        let stops = tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => true,
            () = sampler.clock.sleep_until(again) => false,
        };
        let age = if stops { Duration::ZERO } else { sampler.sampling.interval };
        for Suppressed { target, message, suppressed, lines } in sampler.ended(age) {
            tracing::info!(
                target: SUMMARY_TARGET,
                module = target,
                line = message,
                suppressed,
                of = lines,
                "log lines were suppressed"
            );
        }
        if stops {
            return;
        }
    }
}

/// Takes the message of a line.
struct Message(String);

impl Visit for Message {
    fn record_debug(&mut self, field: &Field, value: &dyn fmt::Debug) {
        if field.name() == "message" {
            self.0 = format!("{value:?}");
            let end = self.0.floor_char_boundary(MESSAGE_BYTES_MAX);
            self.0.truncate(end);
        }
    }
}

/// Lets through what a [`Sampler`] shows.
#[derive(Debug)]
pub(super) struct SamplingFilter(Arc<Sampler>);

impl<S: Subscriber> Filter<S> for SamplingFilter {
    fn enabled(&self, metadata: &Metadata<'_>, _: &Context<'_, S>) -> bool {
        metadata.target() != TRACE_TARGET
    }

    fn event_enabled(&self, event: &Event<'_>, _: &Context<'_, S>) -> bool {
        self.0.shows(event)
    }
}
