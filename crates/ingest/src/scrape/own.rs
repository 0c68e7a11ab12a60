//! What this program exposes about itself, stored as if it had been scraped.

use std::fmt;
use std::sync::Arc;

use model::{AppendError, AppendMode, LabelError, Labels, SampleSink};
use platform::Clock;

use super::config::Job;
use super::target::{TargetId, TargetState, Timing};
use crate::text::ExpositionFormat;

/// Stores what this program exposes about itself. Series that are not exposed any more end, as scraped ones do.
pub struct OwnScrape {
    job: Job,
    target: TargetId,
    state: TargetState,
    clock: Arc<dyn Clock>,
    sink: Arc<dyn SampleSink>,
}

impl fmt::Debug for OwnScrape {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("OwnScrape").field("target", &self.target).finish_non_exhaustive()
    }
}

impl OwnScrape {
    /// Returns one whose series get the label `instance` and the label `job="tinyobs"`.
    ///
    /// # Errors
    ///
    /// The instance is no value for a label.
    pub fn new(
        instance: &str,
        clock: Arc<dyn Clock>,
        sink: Arc<dyn SampleSink>,
    ) -> Result<Self, LabelError> {
        let labels = Labels::from_pairs([("instance", instance), ("job", "tinyobs")])?;
        let target = TargetId { labels, url: String::new() };
        let job = Job::own("tinyobs");
        Ok(Self { job, target, state: TargetState::default(), clock, sink })
    }

    /// Stores what `expose` returns, a page in Prometheus' text format, with the time before it was made.
    ///
    /// # Errors
    ///
    /// The sink takes nothing.
    pub fn store(&mut self, expose: impl FnOnce() -> String) -> Result<(), AppendError> {
        let (start, begun) = (self.clock.now(), self.clock.monotonic());
        let page = expose();
        let duration_seconds = (self.clock.monotonic() - begun).as_secs_f64();
        let timing = Timing { start, duration_seconds };
        let fetched = Ok((&*page, ExpositionFormat::Prometheus));
        let outcome = self.state.scrape(&self.job, &self.target, timing, fetched);
        if let Some(error) = &outcome.error {
            tracing::error!(error = %error, "own metrics are malformed");
        }
        self.sink.append(&outcome.batch(), AppendMode::Partial)?;
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use model::Timestamp;
    use platform::SimClock;

    use super::*;
    use crate::testing::Kept;

    #[test]
    fn exposed_series_are_stored_with_job_and_instance() {
        let clock = SimClock::new(Timestamp::from_millis(5_000));
        let sink = Arc::new(Kept::default());
        let mut own =
            OwnScrape::new("box", Arc::new(clock), Arc::clone(&sink) as _).expect("labels");
        own.store(|| "# TYPE a_total counter\na_total{b=\"c\"} 7\n".into()).expect("stored");
        let labels = r#"instance="box", job="tinyobs""#;
        assert_eq!(sink.value_of("a_total", r#"b="c""#), Some(7.0));
        assert_eq!(sink.value_of("a_total", labels), Some(7.0));
        assert_eq!(sink.value_of("up", labels), Some(1.0));

        own.store(|| "".into()).expect("stored");
        assert!(sink.value_of("a_total", labels).is_some_and(f64::is_nan), "it has ended");
    }
}
