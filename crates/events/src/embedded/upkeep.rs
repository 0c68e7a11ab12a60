//! What the log does from time to time.

use std::time::Duration;

use journal::{Journal, JournalError};

use crate::LogError;
use crate::embedded::core::{Core, unavailable, unknown_key};

/// How long the log waits after a failure of the disk before it tries to go on.
const RESTORE_WAIT_MIN: Duration = Duration::from_secs(1);

/// The longest that it waits, after tries that failed or did not last.
const RESTORE_WAIT_MAX: Duration = Duration::from_mins(1);

/// What one call of [`EmbeddedLog::maintain`](crate::EmbeddedLog::maintain) did.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct LogMaintenance {
    /// Segments that were removed because they were too old or too much.
    pub segments_removed: u64,
    /// Whether the log takes events again after the disk was full or had failed.
    pub resumed: bool,
}

/// When to try to go on after a failure of the disk.
#[derive(Debug)]
pub(crate) struct Backoff {
    wait: Duration,
    /// When the next try is due, on the monotonic clock; `None` while nothing has failed.
    due: Option<Duration>,
    /// What was committed when the last try succeeded.
    committed_bytes: u64,
}

impl Backoff {
    pub(crate) fn new() -> Self {
        Self { wait: RESTORE_WAIT_MIN, due: None, committed_bytes: 0 }
    }

    /// Returns whether a try is due. The first one is due a while after the failure was seen.
    fn is_due(&mut self, now: Duration, committed_bytes: u64) -> bool {
        if let Some(due) = self.due {
            return now >= due;
        }
        // The last try lasted: something was stored since.
        if committed_bytes > self.committed_bytes {
            self.wait = RESTORE_WAIT_MIN;
        }
        self.due = Some(now.saturating_add(self.wait));
        false
    }

    /// Notes how a try went.
    fn tried(&mut self, now: Duration, committed_bytes: u64, succeeded: bool) {
        self.wait = self.wait.saturating_mul(2).min(RESTORE_WAIT_MAX);
        self.committed_bytes = committed_bytes;
        self.due = (!succeeded).then(|| now.saturating_add(self.wait));
    }
}

impl Core {
    /// See [`EmbeddedLog::maintain`](crate::EmbeddedLog::maintain).
    pub(crate) fn maintain(&self) -> Result<LogMaintenance, LogError> {
        let resumed = resume(&self.journal, &mut self.backoff.lock(), self.clock.monotonic());
        // What the one cannot do now must not keep the others from being done: a full disk has room again once
        // segments are removed.
        let expired = self.expire();
        let kept = self.keep_keys();
        let done =
            LogMaintenance { resumed: resumed.map_err(unavailable)?, segments_removed: expired? };
        kept.map(|()| done)
    }

    /// Writes full tables of keys as files, merges these and removes what is over, until there is nothing to do.
    fn keep_keys(&self) -> Result<(), LogError> {
        loop {
            let Some(task) = self.intake.lock().keys.next_task() else { return Ok(()) };
            let finished = task.run();
            self.intake.lock().keys.finish(finished).map_err(unknown_key)?;
        }
    }

    /// Writes all keys as files, so that the next start need not read the entries.
    pub(crate) fn write_keys(&self) -> Result<(), LogError> {
        loop {
            let Some(task) = self.intake.lock().keys.next_write() else { return Ok(()) };
            let finished = task.run();
            self.intake.lock().keys.finish(finished).map_err(unknown_key)?;
        }
    }
}

/// Lets a journal go on after a failure; returns whether it had failed and takes records now.
pub(crate) fn resume(
    journal: &Journal,
    backoff: &mut Backoff,
    now: Duration,
) -> Result<bool, JournalError> {
    if journal.poisoned().is_none() {
        return Ok(false);
    }
    let failed = match journal.resume() {
        Ok(()) => return Ok(true),
        Err(error @ JournalError::Poisoned { .. }) => error,
        Err(error) => return Err(error),
    };
    let committed = journal.stats().committed_bytes;
    if !backoff.is_due(now, committed) {
        return Err(failed);
    }
    let restored = journal.restore();
    backoff.tried(now, committed, restored.is_ok());
    restored.map(|()| true)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tries_are_further_apart_until_one_lasts() {
        let second = Duration::from_secs;
        let mut backoff = Backoff::new();
        assert!(!backoff.is_due(second(10), 0), "not at once");
        assert!(!backoff.is_due(second(10) + Duration::from_millis(999), 0));
        assert!(backoff.is_due(second(11), 0));
        backoff.tried(second(11), 0, false);
        assert!(!backoff.is_due(second(12), 0));
        assert!(backoff.is_due(second(13), 0));
        backoff.tried(second(13), 0, true);
        assert!(!backoff.is_due(second(14), 0), "failed again without a commit between");
        assert!(!backoff.is_due(second(17), 0));
        assert!(backoff.is_due(second(18), 0));
        for _ in 0..9 {
            backoff.tried(second(18), 0, false);
        }
        assert_eq!(backoff.due, Some(second(18) + RESTORE_WAIT_MAX));
        backoff.tried(second(18), 5, true);
        assert!(!backoff.is_due(second(100), 6));
        assert!(backoff.is_due(second(101), 6), "the last try had lasted");
    }
}
