//! What the disk itself takes for a small write that is on stable storage.

use std::fs::OpenOptions;
use std::io::Write as _;
use std::path::Path;
use std::time::{Duration, Instant};

use anyhow::Context as _;

/// Writes of one probe, and their length in bytes: that of a few single events.
const WRITES: usize = 500;
const WRITE_BYTES: usize = 4096;

/// Times of appends followed by `fdatasync`.
#[derive(Clone, Debug, Default)]
pub(crate) struct SyncTimes(Vec<Duration>);

impl SyncTimes {
    /// Adds the times of another probe.
    pub(crate) fn with(mut self, other: Self) -> Self {
        self.0.extend(other.0);
        self
    }

    /// Returns the time that this share of the writes took at most.
    pub(crate) fn quantile(&self, share: f64) -> Duration {
        quantile(&mut self.0.clone(), share)
    }
}

/// Appends and syncs in a file beside the server's data.
pub(crate) fn sync_times(folder: &Path) -> anyhow::Result<SyncTimes> {
    let path = folder.join("probe");
    let mut file = OpenOptions::new().create(true).append(true).open(&path).context("probe")?;
    let bytes = [7; WRITE_BYTES];
    let mut times = Vec::with_capacity(WRITES);
    for _ in 0..WRITES {
        let started = Instant::now();
        file.write_all(&bytes).context("write the probe")?;
        file.sync_data().context("sync the probe")?;
        times.push(started.elapsed());
    }
    std::fs::remove_file(&path).context("remove the probe")?;
    Ok(SyncTimes(times))
}

/// Returns the value that this share of them does not exceed; sorts.
pub(crate) fn quantile(times: &mut [Duration], share: f64) -> Duration {
    times.sort_unstable();
    let rank = (times.len() as f64 * share).ceil() as usize;
    times.get(rank.saturating_sub(1)).copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_quantile_is_the_smallest_value_that_the_share_does_not_exceed() {
        let mut times: Vec<Duration> = (1..=100).rev().map(Duration::from_millis).collect();
        assert_eq!(quantile(&mut times, 0.5), Duration::from_millis(50));
        assert_eq!(quantile(&mut times, 0.99), Duration::from_millis(99));
        assert_eq!(quantile(&mut times, 1.0), Duration::from_millis(100));
        assert_eq!(quantile(&mut [], 0.5), Duration::ZERO);
    }
}
