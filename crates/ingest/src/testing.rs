//! What several tests of this crate need.

use model::{
    AppendError, AppendMode, AppendReceipt, CommitSequence, Durable, Labels, Rejections,
    SampleSink, WriteBatch,
};
use parking_lot::Mutex;

/// Keeps what is appended.
#[derive(Debug, Default)]
pub(crate) struct Kept(Mutex<Vec<(Labels, f64)>>);

impl Kept {
    /// Returns the newest value of a series of the metric `name` whose labels, written out, contain `label`.
    pub(crate) fn value_of(&self, name: &str, label: &str) -> Option<f64> {
        let wanted = format!("__name__={name:?}");
        let matches = |labels: &Labels| {
            let labels = labels.to_string();
            labels.contains(&wanted) && labels.contains(label)
        };
        let kept = self.0.lock();
        kept.iter().rev().find(|(labels, _)| matches(labels)).map(|(_, value)| *value)
    }
}

impl SampleSink for Kept {
    fn append(&self, batch: &WriteBatch<'_>, _: AppendMode) -> Result<AppendReceipt, AppendError> {
        for series in batch.series() {
            let labels = series.key.decode().expect("labels");
            let samples = series.samples.iter().map(|sample| (labels.clone(), sample.value));
            self.0.lock().extend(samples);
        }
        Ok(AppendReceipt {
            sequence: CommitSequence(0),
            stored_samples: batch.sample_count(),
            rejections: Rejections::default(),
        })
    }

    fn durable(&self, _: CommitSequence) -> Durable {
        Box::pin(std::future::ready(Ok(())))
    }
}
