//! Bytes per second.

use std::time::Duration;

/// Over how long rates are measured, in seconds.
const WINDOW_SECONDS: u64 = 10;
/// One for each second of the window, the present one, and the one before the window.
const SAMPLES: usize = WINDOW_SECONDS as usize + 2;

/// Bytes per second over the last ten seconds.
///
/// Of each second the last sample is kept, so the memory does not depend on how often there are samples. Adding one is
/// O(1); neither adding nor reading allocates.
#[derive(Clone, Copy, Debug, Default)]
pub(crate) struct Rate {
    /// A ring: when, in milliseconds, and how many bytes there were in all.
    samples: [(u64, u64); SAMPLES],
    newest: usize,
    len: usize,
}

impl Rate {
    /// Notes how many bytes there are in all; a smaller number than before counts as no progress.
    pub(crate) fn add(&mut self, now: Duration, bytes: u64) {
        let now = millis(now);
        if let Some((at, before)) = self.last() {
            let sample = (now.max(at), bytes.max(before));
            // The first sample is what rates are measured from: it is not replaced.
            if at / 1_000 == now / 1_000 && self.len > 1 {
                self.samples[self.newest] = sample;
                return;
            }
            self.newest = (self.newest + 1) % SAMPLES;
            self.samples[self.newest] = sample;
        } else {
            self.samples[self.newest] = (now, bytes);
        }
        self.len = (self.len + 1).min(SAMPLES);
    }

    /// Returns the rate now: without new samples it falls to 0 over the window.
    pub(crate) fn at(&self, now: Duration) -> f64 {
        let now = millis(now);
        let Some((_, bytes)) = self.last() else { return 0.0 };
        let begin = now.saturating_sub(WINDOW_SECONDS * 1_000);
        // The newest sample that is not in the window, or the oldest in it.
        let mut anchor = self.sample(0);
        for age in 0..self.len {
            anchor = self.sample(age);
            if anchor.0 <= begin {
                break;
            }
        }
        let elapsed = now.saturating_sub(anchor.0.max(begin));
        let more = bytes.saturating_sub(anchor.1);
        if elapsed == 0 { 0.0 } else { more as f64 * 1_000.0 / elapsed as f64 }
    }

    fn last(&self) -> Option<(u64, u64)> {
        (self.len > 0).then(|| self.sample(0))
    }

    /// Returns the sample that has `age` newer ones.
    fn sample(&self, age: usize) -> (u64, u64) {
        self.samples[(self.newest + SAMPLES - age) % SAMPLES]
    }
}

fn millis(time: Duration) -> u64 {
    u64::try_from(time.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests {
    use super::*;

    /// Adds samples of (milliseconds, bytes) and returns the rate at a time in milliseconds.
    fn check(samples: &[(u64, u64)], at: u64, expected: f64) {
        let mut rate = Rate::default();
        for (now, bytes) in samples {
            rate.add(Duration::from_millis(*now), *bytes);
        }
        let found = rate.at(Duration::from_millis(at));
        assert!((found - expected).abs() < 1e-6, "{samples:?} at {at}: {found}, not {expected}");
    }

    #[test]
    fn a_rate_is_what_came_over_what_passed() {
        check(&[], 5, 0.0);
        check(&[(1_000, 500)], 1_000, 0.0);
        check(&[(1_000, 500), (2_000, 1_500)], 2_000, 1_000.0);
        check(&[(1_000, 500), (1_250, 1_000)], 1_250, 2_000.0);
        check(&[(1_000, 500), (1_250, 1_000), (1_500, 1_500)], 1_500, 2_000.0);
        check(&[(0, 100), (1_000, 50)], 1_000, 0.0);
    }

    #[test]
    fn only_the_last_ten_seconds_count() {
        let steady: Vec<(u64, u64)> = (0..60).map(|s| (s * 1_000, s * 100)).collect();
        check(&steady, 59_000, 100.0);
        let faster: Vec<(u64, u64)> =
            (0_u64..40).map(|s| (s * 1_000, s * 100 + s.saturating_sub(20) * 900)).collect();
        check(&faster, 39_000, 1_000.0);
    }

    #[test]
    fn without_samples_it_falls_to_nothing() {
        let samples: Vec<(u64, u64)> = (0..=10).map(|s| (s * 1_000, s * 100)).collect();
        check(&samples, 10_000, 100.0);
        check(&samples, 15_000, 50.0);
        check(&samples, 20_000, 0.0);
        check(&samples, 2_000_000, 0.0);
    }

    #[test]
    fn many_samples_a_second_are_one() {
        let dense: Vec<(u64, u64)> = (0..3_000).map(|t| (t * 10, t * 10)).collect();
        check(&dense, 29_990, 29_990.0 / 29.99 - 0.0);
    }
}
