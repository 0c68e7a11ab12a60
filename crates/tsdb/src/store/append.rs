//! Taking a batch in: first everything is decided, then it is journaled, then it is done.

use std::collections::HashMap;

use journal::{Journal, JournalError};
use model::{
    AppendError, AppendMode, AppendReceipt, CommitSequence, LabelError, Labels, METRIC_NAME,
    MetricMetadata, RejectReason, Rejection, Rejections, Sample, SeriesLimitScope, Timestamp,
    WriteBatch, WriteSeries,
};

use super::state::{REASONS, Reason, State};
use crate::StoreConfig;
use crate::head::MIN_TIME;
use crate::pages::ByteArena;
use crate::wal::{self, NumberedSample};

/// Marks the number of a series that the batch creates: the rest is its index among those.
const NEW: u32 = 1 << 31;
/// Capacity that the buffers of a batch keep for the next one, in entries.
const SCRATCH_KEPT: usize = 1 << 16;
/// How much longer a name is than what of it is quoted.
const QUOTED_CHARS_MAX: usize = 60;

/// Between which times samples are accepted, both inclusive, and in how many series.
#[derive(Clone, Copy, Debug)]
pub(super) struct Bounds {
    pub(super) oldest: Timestamp,
    pub(super) newest: Timestamp,
    pub(super) series_max: u64,
}

/// What was decided about a batch; nothing of it is done yet. Its memory is used again for the next batch.
#[derive(Debug, Default)]
pub(super) struct Scratch {
    accepted: Vec<NumberedSample>,
    new_series: Vec<Labels>,
    new_by_labels: HashMap<Labels, u32>,
    new_by_metric: HashMap<String, u64>,
    new_keys: Vec<(u128, u32)>,
    defined: Vec<u32>,
    metadata: Vec<(String, MetricMetadata)>,
    metadata_dropped: u64,
    known_samples: usize,
    rejected: [u64; REASONS.len()],
    /// Why nothing of the batch is stored.
    decisive: Option<Reason>,
    record: Vec<u8>,
}

impl Scratch {
    fn clear(&mut self) {
        if self.accepted.capacity() > SCRATCH_KEPT || self.record.capacity() > 16 * SCRATCH_KEPT {
            *self = Self::default();
            return;
        }
        self.accepted.clear();
        self.new_series.clear();
        self.new_by_labels.clear();
        self.new_by_metric.clear();
        self.new_keys.clear();
        self.defined.clear();
        self.metadata.clear();
        self.metadata_dropped = 0;
        self.known_samples = 0;
        self.rejected = [0; REASONS.len()];
        self.decisive = None;
        self.record.clear();
    }
}

/// Appends a batch to the head and queues it for the journal.
pub(super) fn append(
    state: &mut State,
    config: &StoreConfig,
    journal: &Journal,
    bounds: Bounds,
    batch: &WriteBatch<'_>,
    mode: AppendMode,
) -> Result<AppendReceipt, AppendError> {
    let mut scratch = std::mem::take(&mut state.scratch);
    scratch.clear();
    let mut admission = Admission {
        state,
        config,
        bounds,
        mode,
        scratch: &mut scratch,
        rejections: Rejections::default(),
    };
    let decided = admission.decide(batch);
    let rejections = admission.rejections;
    let appended =
        decided.and_then(|()| commit(state, config, journal, &mut scratch)).map(|stored_samples| {
            AppendReceipt {
                sequence: CommitSequence(state.last_sequence.0),
                stored_samples,
                rejections,
            }
        });
    if let Some(reason) = scratch.decisive {
        state.counters.rejected[reason as usize] += batch.sample_count() as u64;
    }
    state.scratch = scratch;
    appended
}

struct Admission<'a> {
    state: &'a mut State,
    config: &'a StoreConfig,
    bounds: Bounds,
    mode: AppendMode,
    scratch: &'a mut Scratch,
    rejections: Rejections,
}

impl Admission<'_> {
    /// Decides about every sample. Changes nothing but the cache of keys, which only learns what is true anyway.
    fn decide(&mut self, batch: &WriteBatch<'_>) -> Result<(), AppendError> {
        for (index, series) in batch.series().enumerate() {
            if series.samples.is_empty() {
                continue;
            }
            let key = self.state.hash.of_encoded(series.key.encoding.id, series.key.bytes);
            match self.state.keys.find(key) {
                Some(number) => self.admit_known(index, number, series.samples)?,
                None => self.admit_unknown(index, series, key)?,
            }
        }
        self.admit_metadata(batch.metadata());
        Ok(())
    }

    fn admit_known(
        &mut self,
        index: usize,
        number: u32,
        samples: &[Sample],
    ) -> Result<(), AppendError> {
        let newest = self.state.active.series(number).map_or(MIN_TIME, |chunk| chunk.newest);
        for sample in samples {
            let (time, bits) = (sample.timestamp.as_millis(), sample.value.to_bits());
            if self.state.active.is_known(number, time, bits) {
                self.scratch.known_samples += 1;
                continue;
            }
            self.admit_sample(index, number, newest, *sample)?;
        }
        Ok(())
    }

    fn admit_unknown(
        &mut self,
        index: usize,
        series: WriteSeries<'_>,
        key: u128,
    ) -> Result<(), AppendError> {
        let labels = series.key.decode().and_then(|labels| {
            check_labels(&labels, self.config)?;
            Ok(labels)
        });
        let labels = match labels {
            Ok(labels) => labels,
            Err(error) => {
                let samples = series.samples.len();
                return self.reject(Reason::Labels, index, samples, |_| error.into());
            }
        };
        if let Some(number) = self.state.index.find(&labels) {
            self.state.keys.insert(key, number, keys_max(self.config));
            return self.admit_known(index, number, series.samples);
        }
        let acceptable = |sample: &Sample| {
            self.bounds.oldest <= sample.timestamp && sample.timestamp <= self.bounds.newest
        };
        let number = match self.scratch.new_by_labels.get(&labels) {
            Some(number) => *number,
            None if !series.samples.iter().any(acceptable) => {
                // No series is created for samples that are all refused, so there is no number to remember.
                for sample in series.samples {
                    self.admit_sample(index, NEW, MIN_TIME, *sample)?;
                }
                return Ok(());
            }
            None => {
                if let Some(scope) = self.exceeded_limit(&labels) {
                    self.state.series_refused = true;
                    let reason = match scope {
                        SeriesLimitScope::Total => Reason::SeriesLimit,
                        SeriesLimitScope::Metric => Reason::SeriesPerMetricLimit,
                    };
                    return self.reject(reason, index, series.samples.len(), |admission| {
                        admission.series_limit(scope, &labels)
                    });
                }
                self.create(labels)
            }
        };
        self.scratch.new_keys.push((key, number));
        for sample in series.samples {
            self.admit_sample(index, number, MIN_TIME, *sample)?;
        }
        Ok(())
    }

    fn create(&mut self, labels: Labels) -> u32 {
        let number = NEW | self.scratch.new_series.len() as u32;
        if let Some(metric) = labels.metric_name() {
            *self.scratch.new_by_metric.entry(metric.to_owned()).or_default() += 1;
        }
        self.scratch.new_series.push(labels.clone());
        self.scratch.new_by_labels.insert(labels, number);
        number
    }

    fn exceeded_limit(&self, labels: &Labels) -> Option<SeriesLimitScope> {
        let metric = labels.metric_name().unwrap_or_default();
        if self.series_total() >= self.bounds.series_max || !self.state.index.has_room() {
            return Some(SeriesLimitScope::Total);
        }
        (self.series_of(metric) >= self.config.series_per_metric_max)
            .then_some(SeriesLimitScope::Metric)
    }

    fn series_total(&self) -> u64 {
        u64::from(self.state.index.series_count()) + self.scratch.new_series.len() as u64
    }

    fn series_of(&self, metric: &str) -> u64 {
        let new = self.scratch.new_by_metric.get(metric).copied().unwrap_or_default();
        self.state.index.metric_series(metric) + new
    }

    fn series_limit(&mut self, scope: SeriesLimitScope, labels: &Labels) -> RejectReason {
        let metric = labels.metric_name().unwrap_or_default().to_owned();
        let fastest_label = self.state.fastest_label(&metric).or_else(|| {
            let mut names = labels.iter().map(|(name, _)| name);
            names.find(|name| *name != METRIC_NAME).map(str::to_owned)
        });
        let (current, limit) = match scope {
            SeriesLimitScope::Total => (self.series_total(), self.bounds.series_max),
            SeriesLimitScope::Metric => {
                (self.series_of(&metric), self.config.series_per_metric_max)
            }
        };
        let fastest_label = fastest_label.unwrap_or_else(|| METRIC_NAME.to_owned());
        RejectReason::SeriesLimit { scope, metric, current, limit, fastest_label }
    }

    /// Accepts or refuses a sample that is not there yet. `newest` is the newest time of the series before the batch:
    /// within a batch any order is fine.
    fn admit_sample(
        &mut self,
        index: usize,
        number: u32,
        newest: i64,
        sample: Sample,
    ) -> Result<(), AppendError> {
        let timestamp = sample.timestamp;
        let window_ms = self.config.out_of_order_window_ms;
        if timestamp < self.bounds.oldest {
            let oldest = self.bounds.oldest;
            return self
                .reject(Reason::TooOld, index, 1, |_| RejectReason::TooOld { timestamp, oldest });
        }
        if timestamp > self.bounds.newest {
            let newest = self.bounds.newest;
            return self
                .reject(Reason::TooNew, index, 1, |_| RejectReason::TooNew { timestamp, newest });
        }
        // A series that was written while the clock was ahead must not be closed until that time has come.
        let newest = newest.min(self.bounds.newest.as_millis());
        if newest != MIN_TIME && timestamp.as_millis() < newest.saturating_sub(window_ms) {
            return self.reject(Reason::OutOfOrder, index, 1, |admission| {
                RejectReason::OutOfOrder {
                    metric: admission
                        .state
                        .index
                        .labels(number)
                        .metric_name()
                        .unwrap_or_default()
                        .to_owned(),
                    timestamp,
                    newest: Timestamp::from_millis(newest),
                    window_ms,
                }
            });
        }
        self.scratch.accepted.push((number, timestamp.as_millis(), sample.value.to_bits()));
        Ok(())
    }

    /// Refuses samples. The reason is only put in words when somebody will read it.
    fn reject(
        &mut self,
        reason: Reason,
        index: usize,
        samples: usize,
        in_words: impl FnOnce(&mut Self) -> RejectReason,
    ) -> Result<(), AppendError> {
        if self.mode == AppendMode::AllOrNothing {
            self.scratch.decisive = Some(reason);
            let reason = in_words(self);
            return Err(AppendError::Rejected(Rejection { series_index: index, reason }));
        }
        self.scratch.rejected[reason as usize] += samples as u64;
        if self.rejections.examples.len() < Rejections::EXAMPLES_MAX {
            let reason = in_words(self);
            self.rejections.push(index, samples, reason);
        } else {
            self.rejections.samples += samples;
        }
        Ok(())
    }

    fn admit_metadata(&mut self, metadata: &[(String, MetricMetadata)]) {
        let mut count = self.state.metadata.len();
        for (metric, described) in metadata {
            let text_bytes_max = self.config.metadata_text_bytes_max;
            let described = MetricMetadata {
                metric_type: described.metric_type,
                help: shortened(&described.help, text_bytes_max).to_owned(),
                unit: shortened(&described.unit, text_bytes_max).to_owned(),
            };
            let known = self.state.metadata.get(metric);
            if known == Some(&described) {
                continue;
            }
            let full = known.is_none() && count >= self.config.metadata_max;
            if full || metric.len() > self.config.label_value_bytes_max {
                self.scratch.metadata_dropped += 1;
                continue;
            }
            count += usize::from(known.is_none());
            self.scratch.metadata.push((metric.clone(), described));
        }
    }
}

/// Journals and applies what was decided, and returns how many samples were stored. Does all or nothing.
fn commit(
    state: &mut State,
    config: &StoreConfig,
    journal: &Journal,
    scratch: &mut Scratch,
) -> Result<usize, AppendError> {
    if !scratch.accepted.is_empty() || !scratch.metadata.is_empty() {
        number_series(state, scratch);
        if let Err(error) = queue(state, config, journal, scratch) {
            for series in &scratch.defined {
                state.active.set_journaled(*series, false);
            }
            return Err(error);
        }
        for labels in &scratch.new_series {
            let series = state.insert_series(labels);
            state.active.set_journaled(series, true);
        }
        let base = state.index.series_count() - scratch.new_series.len() as u32;
        for (key, number) in &scratch.new_keys {
            let new = number & !NEW;
            if (new as usize) < scratch.new_series.len() && state.keys.find(*key).is_none() {
                state.keys.insert(*key, base + new, keys_max(config));
            }
        }
        state.apply(&scratch.accepted);
        state.metadata.extend(scratch.metadata.drain(..));
    }
    for (total, new) in state.counters.rejected.iter_mut().zip(scratch.rejected) {
        *total += new;
    }
    let stored = scratch.accepted.len() + scratch.known_samples;
    state.counters.appended += stored as u64;
    state.counters.metadata_dropped += scratch.metadata_dropped;
    Ok(stored)
}

/// Gives new series their numbers and finds those that the journal of this generation does not know yet.
fn number_series(state: &mut State, scratch: &mut Scratch) {
    let base = state.index.series_count();
    for (number, _, _) in &mut scratch.accepted {
        if *number & NEW != 0 {
            *number = base + (*number & !NEW);
        } else if state.active.series(*number).is_some_and(|chunk| !chunk.journaled) {
            state.active.set_journaled(*number, true);
            scratch.defined.push(*number);
        }
    }
}

fn queue(
    state: &mut State,
    config: &StoreConfig,
    journal: &Journal,
    scratch: &mut Scratch,
) -> Result<(), AppendError> {
    let base = state.index.series_count();
    let definitions: Vec<(u32, Labels)> = scratch
        .defined
        .iter()
        .map(|series| (*series, state.index.labels(*series)))
        .chain((base..).zip(scratch.new_series.iter().cloned()))
        .collect();
    let metadata = scratch.metadata.iter();
    let (definitions, samples) = (definitions.into_iter(), &scratch.accepted);
    wal::encode(&mut scratch.record, state.numbering, definitions, metadata, samples);
    let (bytes, limit) = (scratch.record.len(), config.record_bytes_max);
    if bytes > limit {
        return Err(AppendError::TooLarge { bytes, limit });
    }
    state.last_sequence = journal.append(&scratch.record).map_err(|error| append_error(&error))?;
    state.journal_bytes += bytes as u64;
    Ok(())
}

/// Says in the words of the seam what the journal has refused.
pub(super) fn append_error(error: &JournalError) -> AppendError {
    match error {
        JournalError::Overloaded { .. } => AppendError::Overloaded,
        JournalError::RecordTooLarge { bytes, limit_bytes } => {
            AppendError::TooLarge { bytes: *bytes, limit: *limit_bytes }
        }
        _ => AppendError::ReadOnly { reason: super::chain(error) },
    }
}

fn keys_max(config: &StoreConfig) -> usize {
    usize::try_from(config.series_max.saturating_mul(2)).unwrap_or(usize::MAX).max(1_024)
}

fn check_labels(labels: &Labels, config: &StoreConfig) -> Result<(), LabelError> {
    let metric = labels.metric_name().ok_or(LabelError::NoMetricName)?;
    let (mut count, limit) = (0, config.labels_max);
    for (name, value) in labels {
        count += 1;
        let name_limit = config.label_name_bytes_max.min(ByteArena::RECORD_BYTES_MAX);
        let value_limit = config.label_value_bytes_max.min(ByteArena::RECORD_BYTES_MAX);
        let parts = [("name", name.len(), name_limit), ("value", value.len(), value_limit)];
        for (part, bytes, limit) in parts {
            if bytes > limit {
                let name = name.chars().take(QUOTED_CHARS_MAX).collect();
                return Err(LabelError::TooLong { part, name, bytes, limit });
            }
        }
    }
    if count > limit {
        return Err(LabelError::TooMany { metric: metric.to_owned(), count, limit });
    }
    Ok(())
}

/// Returns as much of a text as fits, whole characters only.
fn shortened(text: &str, bytes_max: usize) -> &str {
    text.get(..text.floor_char_boundary(bytes_max)).unwrap_or(text)
}
