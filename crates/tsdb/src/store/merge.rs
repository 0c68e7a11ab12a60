//! One series out of the head, the part of it that is being written, and the blocks.

use std::sync::Arc;

use model::{Labels, SampleColumns, Series, SourceError, TimeRange, Timestamp};

use crate::head::Snapshot;

/// A series of the head at a moment.
#[derive(Debug)]
pub(super) struct HeadSeries {
    pub(super) labels: Labels,
    pub(super) samples: Snapshot,
}

impl Series for HeadSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError> {
        self.samples.read(range, columns);
        Ok(())
    }
}

/// A series with all its parts.
#[derive(Debug)]
struct MergedSeries {
    labels: Labels,
    /// Those with later writes first.
    parts: Vec<Arc<dyn Series>>,
    /// What is older is not kept any more.
    oldest: Timestamp,
}

impl Series for MergedSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError> {
        let range = TimeRange::new(range.start.max(self.oldest), range.end);
        if let [part] = self.parts.as_slice() {
            return part.read(range, columns);
        }
        let mut merged = SampleColumns::new();
        for part in self.parts.iter().rev() {
            let mut newer = SampleColumns::new();
            part.read(range, &mut newer)?;
            merged = merge(merged, newer);
        }
        columns.extend_from_slices(merged.timestamps(), merged.values());
        Ok(())
    }
}

/// Joins the series of several sources, each ascending by labels, to one list, ascending by labels.
/// Of samples at the same time those of the earlier source win.
pub(super) fn merge_sources(
    sources: Vec<Vec<Arc<dyn Series>>>,
    oldest: Timestamp,
) -> Vec<Arc<dyn Series>> {
    let mut all: Vec<Arc<dyn Series>> = sources.into_iter().flatten().collect();
    // Stable, so that the parts of a series stay in the order of their sources; quick on ascending runs.
    all.sort_by(|left, right| left.labels().cmp(right.labels()));
    let mut merged: Vec<Arc<dyn Series>> = Vec::with_capacity(all.len());
    let mut all = all.into_iter().peekable();
    while let Some(first) = all.next() {
        let labels = first.labels().clone();
        let mut parts = vec![first];
        while let Some(part) = all.next_if(|part| *part.labels() == labels) {
            parts.push(part);
        }
        merged.push(Arc::new(MergedSeries { labels, parts, oldest }));
    }
    merged
}

/// Merges two columns; of samples at the same time that of `newer` wins.
pub(crate) fn merge(mut older: SampleColumns, newer: SampleColumns) -> SampleColumns {
    let (Some(last), Some(first)) = (older.timestamps().last(), newer.timestamps().first()) else {
        return if older.is_empty() { newer } else { older };
    };
    if last < first {
        older.extend_from_slices(newer.timestamps(), newer.values());
        return older;
    }
    let mut merged = SampleColumns::new();
    let mut left = older.iter().peekable();
    for sample in newer.iter() {
        while let Some(before) = left.next_if(|before| before.timestamp < sample.timestamp) {
            merged.push(before.timestamp.as_millis(), before.value);
        }
        left.next_if(|same| same.timestamp == sample.timestamp);
        merged.push(sample.timestamp.as_millis(), sample.value);
    }
    for rest in left {
        merged.push(rest.timestamp.as_millis(), rest.value);
    }
    merged
}

#[cfg(test)]
mod tests {
    use super::*;

    fn columns(samples: &[(i64, f64)]) -> SampleColumns {
        let mut columns = SampleColumns::new();
        samples.iter().for_each(|(time, value)| columns.push(*time, *value));
        columns
    }

    fn check(older: &[(i64, f64)], newer: &[(i64, f64)], expected: &[(i64, f64)]) {
        let merged = merge(columns(older), columns(newer));
        assert_eq!(merged.iter().collect::<Vec<_>>(), columns(expected).iter().collect::<Vec<_>>());
    }

    #[test]
    fn columns_are_joined_and_the_newer_one_wins() {
        check(&[], &[(1, 1.0)], &[(1, 1.0)]);
        check(&[(1, 1.0)], &[], &[(1, 1.0)]);
        check(&[(1, 1.0)], &[(2, 2.0)], &[(1, 1.0), (2, 2.0)]);
        check(&[(2, 2.0)], &[(1, 1.0)], &[(1, 1.0), (2, 2.0)]);
        check(
            &[(1, 1.0), (3, 3.0), (5, 5.0)],
            &[(0, 9.0), (3, 9.0), (4, 9.0)],
            &[(0, 9.0), (1, 1.0), (3, 9.0), (4, 9.0), (5, 5.0)],
        );
    }
}
