//! Lets hyper measure time with the clock of `platform`.

use std::future::Future;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};

use hyper::rt::{Sleep, Timer};
use hyper_util::rt::TokioTimer;
use parking_lot::Mutex;
use platform::Clock;

/// A timer of hyper that runs on a [`Clock`].
///
/// Hyper counts in instants of the machine, so the clock's zero is set to any one of them.
#[derive(Clone, Debug)]
pub(super) struct ClockTimer {
    clock: Arc<dyn Clock>,
    zero: Instant,
}

impl ClockTimer {
    pub(super) fn new(clock: Arc<dyn Clock>) -> Self {
        Self { clock, zero: TokioTimer::new().now() }
    }
}

impl Timer for ClockTimer {
    fn sleep(&self, duration: Duration) -> Pin<Box<dyn Sleep>> {
        self.sleep_until(self.now() + duration)
    }

    fn sleep_until(&self, deadline: Instant) -> Pin<Box<dyn Sleep>> {
        let deadline = deadline.saturating_duration_since(self.zero);
        Box::pin(ClockSleep(Mutex::new(self.clock.sleep_until(deadline))))
    }

    fn now(&self) -> Instant {
        self.zero + self.clock.monotonic()
    }
}

/// The mutex only makes it `Sync`, as hyper wants it; it is never locked.
struct ClockSleep(Mutex<Pin<Box<dyn Future<Output = ()> + Send>>>);

impl Future for ClockSleep {
    type Output = ();

    fn poll(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<()> {
        self.0.get_mut().as_mut().poll(cx)
    }
}

impl Sleep for ClockSleep {}
