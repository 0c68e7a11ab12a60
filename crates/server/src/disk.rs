//! Whether the disk has room, for the health check.

use std::path::PathBuf;
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Duration;

use api::HealthCheck;
use platform::{Clock, Fs};
use tokio::sync::watch;

/// Least free space, in bytes: a few blocks and segments of the journal.
const FREE_BYTES_MIN: u64 = 512 << 20;
/// How often the disk is asked.
const INTERVAL: Duration = Duration::from_secs(10);
/// What stands for "not asked yet".
const UNKNOWN: u64 = u64::MAX;

/// Tells when the disk of the data folder is about to be full.
#[derive(Debug)]
pub(crate) struct DiskCheck {
    fs: Arc<dyn Fs>,
    data_dir: PathBuf,
    free_bytes: AtomicU64,
}

impl DiskCheck {
    /// Returns the check; it knows nothing until it was asked to look.
    pub(crate) fn new(fs: Arc<dyn Fs>, data_dir: PathBuf) -> Arc<Self> {
        Arc::new(Self { fs, data_dir, free_bytes: AtomicU64::new(UNKNOWN) })
    }

    /// Asks the disk. Blocking.
    fn look(&self) {
        // A disk that cannot say so shows in the check of the storage.
        let free = self.fs.space(&self.data_dir).map_or(UNKNOWN, |space| space.available_bytes);
        self.free_bytes.store(free, Ordering::Relaxed);
    }
}

impl HealthCheck for DiskCheck {
    fn name(&self) -> &'static str {
        "disk"
    }

    fn problem(&self) -> Option<String> {
        let free = self.free_bytes.load(Ordering::Relaxed);
        (free < FREE_BYTES_MIN).then(|| {
            let (free, least) = (free >> 20, FREE_BYTES_MIN >> 20);
            format!("{free} MiB are free for the data folder, less than {least}")
        })
    }
}

/// Asks the disk now and then, until the program stops.
pub(crate) async fn watch(
    check: Arc<DiskCheck>,
    clock: Arc<dyn Clock>,
    mut stopped: watch::Receiver<bool>,
) {
    loop {
        let looking = Arc::clone(&check);
        if tokio::task::spawn_blocking(move || looking.look()).await.is_err() {
            tracing::warn!("disk could not be asked for its free space");
        }
        tokio::select! {
            biased;
            _ = stopped.wait_for(|stopped| *stopped) => return,
            () = clock.sleep_until(clock.monotonic() + INTERVAL) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use platform::SimFs;

    use super::*;

    #[test]
    fn little_room_is_a_problem() {
        let fs = SimFs::new();
        let check = DiskCheck::new(Arc::clone(&fs) as _, PathBuf::from("data"));
        assert_eq!(check.problem(), None, "nothing is known yet");
        fs.set_space(Some(FREE_BYTES_MIN));
        check.look();
        assert_eq!(check.problem(), None);
        fs.set_space(Some(FREE_BYTES_MIN - 1));
        check.look();
        let problem = "511 MiB are free for the data folder, less than 512";
        assert_eq!(check.problem().as_deref(), Some(problem));
    }
}
