//! The counts of events as series in the metrics of their tenant.

use std::sync::Arc;

use events::KindCount;
use model::{Labels, METRIC_NAME, MetricType, SampleSink, TenantId, Timestamp};

use crate::tenant_series::{Family, TenantSeries};

/// The series: events that were stored, by app, category and type.
const NAME: &str = "tinyobs_events_total";

/// Stores how many events there were, one series for each app, category and type.
#[derive(Debug)]
pub(crate) struct EventSeries {
    instance: String,
    series: TenantSeries,
}

impl EventSeries {
    /// Returns the series of this program, which `instance` tells from others; nothing was counted before `now`.
    pub(crate) const fn new(instance: String, now: Timestamp) -> Self {
        Self { instance, series: TenantSeries::new(now) }
    }

    /// Stores the counts as they are `now`, where `sink` takes them.
    pub(crate) fn store(
        &mut self,
        kinds: &[KindCount],
        now: Timestamp,
        sink: impl Fn(&TenantId) -> Option<Arc<dyn SampleSink>>,
    ) {
        let mut rest = kinds;
        while let Some(first) = rest.first() {
            let of_tenant = rest.partition_point(|kind| kind.tenant == first.tenant);
            let (now_stored, later) = rest.split_at(of_tenant);
            rest = later;
            if let Some(sink) = sink(&first.tenant) {
                let family = self.family(now_stored);
                self.series.store(&first.tenant, &[family], now, sink.as_ref());
            }
        }
        self.series.end_round(now);
    }

    fn family(&self, kinds: &[KindCount]) -> Family {
        let series = kinds
            .iter()
            .filter_map(|kind| Some((labels(kind, &self.instance)?, kind.events as f64)));
        Family {
            name: NAME,
            help: "Events that were stored.",
            metric_type: MetricType::Counter,
            series: series.collect(),
        }
    }
}

/// Returns the labels of a series; `None` when something of it is no value for a label.
fn labels(kind: &KindCount, instance: &str) -> Option<Labels> {
    let labels = Labels::from_pairs([
        (METRIC_NAME, NAME),
        ("app", &*kind.app),
        ("category", &*kind.category),
        ("instance", instance),
        ("job", "tinyobs"),
        ("type", &*kind.event_type),
    ]);
    labels.inspect_err(|error| tracing::debug!(error = %error, "kind of event has no series")).ok()
}

#[cfg(test)]
mod tests {
    use model::{
        AppendError, AppendMode, AppendReceipt, CommitSequence, Durable, Rejections, WriteBatch,
    };
    use parking_lot::Mutex;

    use super::*;

    /// Keeps what it is given, or refuses it.
    #[derive(Debug, Default)]
    struct Kept {
        samples: Mutex<Vec<(String, i64, f64)>>,
        is_busy: bool,
    }

    impl SampleSink for Kept {
        fn append(
            &self,
            batch: &WriteBatch<'_>,
            _: AppendMode,
        ) -> Result<AppendReceipt, AppendError> {
            if self.is_busy {
                return Err(AppendError::Overloaded);
            }
            for series in batch.series() {
                let labels = series.key.decode().expect("labels").to_string();
                for sample in series.samples {
                    let at = sample.timestamp.as_millis();
                    self.samples.lock().push((labels.clone(), at, sample.value));
                }
            }
            let (sequence, rejections) = (CommitSequence(1), Rejections::default());
            Ok(AppendReceipt { sequence, stored_samples: batch.sample_count(), rejections })
        }

        fn durable(&self, _: CommitSequence) -> Durable {
            Box::pin(async { Ok(()) })
        }
    }

    fn kind(tenant: &str, app: &str, events: u64) -> KindCount {
        KindCount {
            tenant: TenantId::new(tenant).expect("a tenant"),
            app: app.into(),
            category: "screen".into(),
            event_type: "view".into(),
            events,
        }
    }

    fn check(kept: &Kept, expected: &[(&str, i64, f64)]) {
        let samples = std::mem::take(&mut *kept.samples.lock());
        let expected: Vec<_> = expected
            .iter()
            .map(|(app, at, value)| {
                let labels = format!(
                    r#"{{__name__="tinyobs_events_total", app="{app}", category="screen", instance="here", job="tinyobs", type="view"}}"#
                );
                (labels, *at, *value)
            })
            .collect();
        assert_eq!(samples, expected);
    }

    #[test]
    fn a_new_series_begins_with_zero_and_goes_to_the_store_of_its_tenant() {
        let (one, two) = (Arc::<Kept>::default(), Arc::<Kept>::default());
        let sink = |tenant: &TenantId| match tenant.as_str() {
            "one" => Some(Arc::clone(&one) as Arc<dyn SampleSink>),
            "two" => Some(Arc::clone(&two) as _),
            _ => None,
        };
        let at = Timestamp::from_millis;
        let mut series = EventSeries::new("here".to_owned(), at(1_000));
        let kinds =
            [kind("gone", "a", 1), kind("one", "a", 3), kind("one", "b", 4), kind("two", "a", 5)];
        series.store(&kinds, at(2_000), sink);
        check(&one, &[("a", 1_000, 0.0), ("a", 2_000, 3.0), ("b", 1_000, 0.0), ("b", 2_000, 4.0)]);
        check(&two, &[("a", 1_000, 0.0), ("a", 2_000, 5.0)]);
        series.store(&[kind("one", "a", 7)], at(3_000), sink);
        check(&one, &[("a", 3_000, 7.0)]);
    }

    #[test]
    fn what_a_store_refuses_is_new_again_the_next_time() {
        let closed = Arc::new(Kept { is_busy: true, ..Kept::default() });
        let open = Arc::<Kept>::default();
        let at = Timestamp::from_millis;
        let mut series = EventSeries::new("here".to_owned(), at(1_000));
        series.store(&[kind("one", "a", 1)], at(2_000), |_| Some(Arc::clone(&closed) as _));
        series.store(&[kind("one", "a", 2)], at(3_000), |_| Some(Arc::clone(&open) as _));
        check(&open, &[("a", 2_000, 0.0), ("a", 3_000, 2.0)]);
    }
}
