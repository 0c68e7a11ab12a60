//! What the store does on its own: cutting and writing the head, merging blocks, forgetting.

use std::collections::{BTreeMap, BTreeSet};
use std::time::Duration;

use journal::Sequence;
use model::{Labels, MetricMetadata, SampleColumns, TimeRange, Timestamp};
use platform::FsErrorKind;

use super::activity::add_since;
use super::blocks;
use super::manifest::Manifest;
use super::state::{Frozen, State};
use super::{Store, chain};
use crate::index::SortedLabels;
use crate::{Maintenance, StoreError, wal};

/// The span of time that one block is aligned to, in milliseconds.
const WINDOW_MS: i64 = 24 * 3_600_000;
/// Neighbouring windows share a block until it has this many samples, so that sparse decades are few blocks.
const BLOCK_SAMPLES_MIN: u64 = 100_000;
/// The head is not cut for the time that it spans while it has fewer samples.
const CUT_SAMPLES_MIN: u64 = 100_000;
/// How long nothing has to arrive before the head is written although it is not due: a backfill is then settled.
const IDLE_CUT_AFTER: Duration = Duration::from_secs(20);
/// Samples per series from which on writing an idle head pays: fewer make a block that is mostly index.
const IDLE_CUT_SAMPLES_PER_SERIES: u64 = 60;
/// How many series are copied at a time, so that writers do not wait long.
const SERIES_PER_TURN: usize = 1_000;
/// How long merging blocks is left alone after it has failed: trying costs as much as succeeding.
const MERGE_PAUSE: Duration = Duration::from_secs(300);
/// How long the clock has to say that samples are too old before they are deleted: one that is wrong for a while
/// must not cost them.
const EXPIRY_DELAY: Duration = Duration::from_secs(600);
/// How many descriptions of metrics are in one record.
const METADATA_PER_RECORD: usize = 1_000;

/// What maintenance works on; whoever holds it is the only one who changes what the store consists of.
#[derive(Debug)]
pub(super) struct Upkeep {
    /// What the store consists of, beside its head.
    manifest: Manifest,
    /// Whether this is also what a restart would find: not after a replacement that failed halfway.
    is_in_place: bool,
    /// Whether there may be files of blocks that the manifest does not name.
    has_leftovers: bool,
    /// The names of blocks that could not be read when they were to be merged.
    pub(super) unreadable: BTreeSet<String>,
    /// Until when blocks are not merged, on the monotonic clock, and why.
    merge_failure: Option<(Duration, String)>,
    /// The earliest time that was kept, in milliseconds, and when that was, on the monotonic clock.
    kept: Option<(Duration, i64)>,
}

impl Upkeep {
    pub(super) fn new(manifest: Manifest) -> Self {
        Self {
            manifest,
            is_in_place: true,
            has_leftovers: false,
            unreadable: BTreeSet::new(),
            merge_failure: None,
            kept: None,
        }
    }

    fn publish(&mut self, store: &Store, manifest: Manifest) -> Result<(), StoreError> {
        manifest.prepare(&*store.fs, &store.dir)?;
        self.is_in_place = false;
        Manifest::put_in_place(&*store.fs, &store.dir)?;
        self.is_in_place = true;
        self.manifest = manifest;
        Ok(())
    }
}

/// What there is to report about a store's files.
#[derive(Debug)]
pub(super) struct Condition {
    pub(super) quarantined: Vec<String>,
    pub(super) last_error: Option<String>,
}

/// Does one step and remembers how it ended.
pub(super) fn run(store: &Store) -> Result<Maintenance, StoreError> {
    let mut upkeep = store.upkeep.lock();
    let upkeep = &mut *upkeep;
    let mut done = Maintenance::default();
    let step = step(store, upkeep, &mut done);
    let full = |error: &StoreError| matches!(error, StoreError::Fs(error) if error.kind == FsErrorKind::NoSpace);
    // Only the head has to be written for writes to go on; the rest can wait for space.
    let suspended = step.head.as_ref().err().filter(|error| full(error)).map(|error| chain(error));
    store.state.write().suspended = suspended;
    let result = step.head.and(step.merged).and(step.expired).and(step.swept);
    upkeep.has_leftovers |= result.is_err();
    let waiting = upkeep.merge_failure.as_ref().map(|(_, reason)| reason.clone());
    let error = result.as_ref().err().map(|error| chain(error));
    store.activity.maintained(&done, error.is_some(), store.clock.now());
    store.condition.lock().last_error = error.or(waiting);
    result.map(|()| done)
}

/// How the parts of a step ended. Each is tried, whatever became of the others: what cannot be merged must not keep
/// the head in memory, and a full disk must not keep what retention would delete.
#[derive(Debug)]
struct Step {
    head: Result<(), StoreError>,
    merged: Result<(), StoreError>,
    expired: Result<(), StoreError>,
    swept: Result<(), StoreError>,
}

fn step(store: &Store, upkeep: &mut Upkeep, done: &mut Maintenance) -> Step {
    let mut step = Step { head: Ok(()), merged: Ok(()), expired: Ok(()), swept: Ok(()) };
    // Nothing is written as long as it is open what a restart would find.
    if !upkeep.is_in_place {
        let manifest = upkeep.manifest.clone();
        step.head = upkeep.publish(store, manifest);
        if step.head.is_err() {
            return step;
        }
    }
    if upkeep.has_leftovers {
        step.swept = blocks::sweep(&*store.fs, &store.dir, &upkeep.manifest);
        upkeep.has_leftovers = step.swept.is_err();
    }
    step.expired = expire(store, upkeep, done);
    if upkeep.is_in_place {
        let begun = store.clock.monotonic();
        step.head = write_head(store, upkeep, done);
        if step.head.is_err() || done.blocks_written > 0 {
            add_since(&store.activity.flushes, begun, store.clock.monotonic());
        }
    }
    if upkeep.is_in_place && step.head.is_ok() {
        let begun = store.clock.monotonic();
        step.merged = merge(store, upkeep, done);
        if step.merged.is_err() || done.blocks_compacted > 0 {
            add_since(&store.activity.compactions, begun, store.clock.monotonic());
        }
    }
    step
}

fn write_head(
    store: &Store,
    upkeep: &mut Upkeep,
    done: &mut Maintenance,
) -> Result<(), StoreError> {
    if store.journal.poisoned().is_some() {
        resume(store)?;
    }
    if is_cut_due(store) {
        cut(store)?;
    }
    flush(store, upkeep, done)
}

/// Merges blocks, unless that has failed a short while ago.
fn merge(store: &Store, upkeep: &mut Upkeep, done: &mut Maintenance) -> Result<(), StoreError> {
    let now = store.clock.monotonic();
    if upkeep.merge_failure.as_ref().is_some_and(|(until, _)| now < *until) {
        return Ok(());
    }
    let merged = blocks::compact(store, upkeep, done);
    let failure = merged.as_ref().err().map(|error| (now + MERGE_PAUSE, chain(error)));
    upkeep.merge_failure = failure;
    merged
}

/// Lets the journal go on after the disk was full.
fn resume(store: &Store) -> Result<(), StoreError> {
    // The head has samples, series and descriptions that the journal has lost; they were never acknowledged.
    // The journal refuses everything until it is resumed, so nothing comes between.
    store.state.write().active.distrust_journal();
    store.journal.resume()?;
    journal_metadata(store)
}

fn is_cut_due(store: &Store) -> bool {
    let config = &store.config;
    let state = store.state.read();
    let active = &state.active;
    if state.frozen.is_some() {
        return false;
    }
    // Descriptions of metrics alone make it long, too.
    let is_long = state.journal_bytes >= config.journal_bytes_max;
    if active.samples == 0 {
        return is_long;
    }
    let span_max = config.block_range_ms.saturating_add(config.block_range_ms / 2);
    let spanned = active.newest.saturating_sub(active.oldest) >= span_max;
    let age = state
        .active_since
        .map_or_else(Default::default, |since| store.clock.monotonic().saturating_sub(since));
    let aged = i64::try_from(age.as_millis()).unwrap_or(i64::MAX) >= span_max;
    let quiet = state
        .appended_at
        .is_some_and(|last| store.clock.monotonic().saturating_sub(last) >= IDLE_CUT_AFTER);
    let idle = quiet
        && active.samples >= CUT_SAMPLES_MIN
        && active.samples >= active.active_series * IDLE_CUT_SAMPLES_PER_SERIES;
    aged || idle
        || spanned && active.samples >= CUT_SAMPLES_MIN
        || active.sample_bytes() >= config.head_bytes_max / 2
        || is_long
}

/// Begins a new generation of the head.
pub(super) fn cut(store: &Store) -> Result<(), StoreError> {
    // Before the lock, so that writers do not wait for the disk: the segments so far hold nothing of the new
    // generation. After it, so that the journal accounts for every sequence before `end` even after a power loss:
    // none may be given out again, because recovery passes over them once the blocks are written.
    store.journal.cut()?;
    begin_generation(&mut store.state.write());
    store.journal.cut()?;
    Ok(())
}

fn begin_generation(state: &mut State) {
    let end = state.last_sequence.next();
    let idle = u64::from(state.index.series_count()) - state.active.active_series;
    let forget =
        idle > 0 && (state.series_refused || idle * 16 >= u64::from(state.index.series_count()));
    let (next, index) = if forget {
        let active = &state.active;
        let next = active.successor(|series| active.has_samples(series));
        let index = state.index.retained(|series| active.has_samples(series));
        state.keys.clear();
        state.fastest_labels.clear();
        (next, Some(std::mem::replace(&mut state.index, index)))
    } else {
        (state.active.successor(|_| true), None)
    };
    let generation = std::mem::replace(&mut state.active, next);
    tracing::info!(samples = generation.samples, series = generation.active_series, "head cut");
    state.frozen = Some(Frozen { generation, index, end });
    state.epoch += 1;
    state.numbering = end.0;
    state.journal_bytes = 0;
    state.active_since = None;
    state.series_refused = false;
}

/// Writes the part of the head that was cut, and forgets its part of the journal.
fn flush(store: &Store, upkeep: &mut Upkeep, done: &mut Maintenance) -> Result<(), StoreError> {
    let Some((mut series, order, end)) = frozen_series(&store.state.read()) else {
        return Ok(());
    };
    let _span = tracing::info_span!(target: "trace", "flush", series = series.len()).entered();
    order.sort(&mut series);
    let mut written = Vec::new();
    for range in block_ranges(store, &series)? {
        let source = FrozenSeries { store, series: &series, next: 0, range, ready: Vec::new() };
        written.extend(blocks::write(store, end, source)?);
    }
    journal_metadata(store)?;
    done.blocks_written += written.len() as u64;
    done.samples_flushed += written.iter().map(blocks::StoredBlock::samples).sum::<u64>();
    let mut blocks = store.state.read().blocks.clone();
    blocks.extend(written);
    upkeep.publish(store, Manifest { journal: end, blocks: blocks.names() })?;
    let frozen = {
        let mut state = store.state.write();
        state.blocks = blocks;
        state.epoch += 1;
        state.frozen.take()
    };
    drop(frozen);
    store.journal.remove_before(end)?;
    Ok(())
}

/// Returns the series of the frozen part, what sorts them by labels without the lock, and where the part ends in the
/// journal.
fn frozen_series(state: &State) -> Option<(Vec<u32>, SortedLabels, Sequence)> {
    let frozen = state.frozen.as_ref()?;
    let index = frozen.index.as_ref().unwrap_or(&state.index);
    let has_samples = |series: &u32| frozen.generation.has_samples(*series);
    let series = (0..index.series_count()).filter(has_samples).collect();
    Some((series, index.sort_key(), frozen.end))
}

/// Queues all descriptions of metrics again, as the part of the journal that holds them is about to be removed.
fn journal_metadata(store: &Store) -> Result<(), StoreError> {
    {
        // Under the lock, so that no newer description is queued before an older one.
        let mut state = store.state.write();
        let all: Vec<(String, MetricMetadata)> = state
            .metadata
            .iter()
            .map(|(metric, metadata)| (metric.clone(), metadata.clone()))
            .collect();
        for part in all.chunks(METADATA_PER_RECORD) {
            let mut record = Vec::new();
            wal::encode(&mut record, state.numbering, std::iter::empty(), part.iter(), &[]);
            state.last_sequence = store.journal.append(&record)?;
            state.journal_bytes += record.len() as u64;
        }
    }
    store.journal.commit()?;
    Ok(())
}

/// Divides the time that the frozen part spans among blocks.
fn block_ranges(store: &Store, series: &[u32]) -> Result<Vec<TimeRange>, StoreError> {
    let (oldest, newest) = {
        let state = store.state.read();
        let generation = state.frozen.as_ref().map(|frozen| &frozen.generation);
        generation.map_or((0, 0), |part| (part.oldest, part.newest))
    };
    if window(oldest) == window(newest) {
        return Ok(vec![TimeRange::ALL]);
    }
    let mut samples = BTreeMap::<i64, u64>::new();
    let source = FrozenSeries { store, series, next: 0, range: TimeRange::ALL, ready: Vec::new() };
    for (_, columns) in source {
        for time in columns.timestamps() {
            *samples.entry(window(*time)).or_default() += 1;
        }
    }
    Ok(group_windows(&samples))
}

fn window(time: i64) -> i64 {
    time.div_euclid(WINDOW_MS)
}

/// Joins neighbouring windows until each group has samples enough. One that has enough of its own stays alone: a few
/// ancient samples must not make a block of today span decades.
fn group_windows(samples: &BTreeMap<i64, u64>) -> Vec<TimeRange> {
    let mut groups: Vec<(i64, i64, u64)> = Vec::new();
    for (window, count) in samples {
        match groups.last_mut() {
            Some((_, last, sum)) if *sum < BLOCK_SAMPLES_MIN && *count < BLOCK_SAMPLES_MIN => {
                *last = *window;
                *sum += count;
            }
            _ => groups.push((*window, *window, *count)),
        }
    }
    let start_of = |window: i64| window.saturating_mul(WINDOW_MS);
    let ranges = groups.into_iter().map(|(first, last, _)| {
        let end = start_of(last).saturating_add(WINDOW_MS - 1);
        TimeRange::new(Timestamp::from_millis(start_of(first)), Timestamp::from_millis(end))
    });
    ranges.collect()
}

/// The series of the frozen part with their samples within a range, ascending by labels.
pub(super) struct FrozenSeries<'a> {
    store: &'a Store,
    series: &'a [u32],
    next: usize,
    range: TimeRange,
    /// The next ones, the last first.
    ready: Vec<(Labels, SampleColumns)>,
}

impl FrozenSeries<'_> {
    /// Copies the next portion under the lock, and decompresses it without.
    fn refill(&mut self) {
        let end = (self.next + SERIES_PER_TURN).min(self.series.len());
        let portion = &self.series[self.next..end];
        self.next = end;
        let copied: Vec<_> = {
            let state = self.store.state.read();
            let Some(frozen) = &state.frozen else { return };
            let index = frozen.index.as_ref().unwrap_or(&state.index);
            let copied = frozen.generation.snapshot(portion).into_iter();
            copied.map(|(series, samples)| (index.labels(series), samples)).collect()
        };
        for (labels, samples) in copied.into_iter().rev() {
            let mut columns = SampleColumns::new();
            samples.read(self.range, &mut columns);
            if !columns.is_empty() {
                self.ready.push((labels, columns));
            }
        }
    }
}

impl Iterator for FrozenSeries<'_> {
    type Item = (Labels, SampleColumns);

    fn next(&mut self) -> Option<Self::Item> {
        while self.ready.is_empty() && self.next < self.series.len() {
            self.refill();
        }
        self.ready.pop()
    }
}

/// Deletes the blocks whose samples are all older than what has been kept for some time.
fn expire(store: &Store, upkeep: &mut Upkeep, done: &mut Maintenance) -> Result<(), StoreError> {
    let Some(oldest) = expiry_limit(store, upkeep) else { return Ok(()) };
    let blocks = store.state.read().blocks.clone();
    let (kept, expired) = blocks.split(|block| block.newest() >= oldest);
    if expired.is_empty() {
        return Ok(());
    }
    replace(store, upkeep, kept)?;
    done.blocks_expired += expired.len() as u64;
    blocks::remove(store, &expired)
}

/// Returns before which time samples are to be deleted, if the clock has said so for long enough.
fn expiry_limit(store: &Store, upkeep: &mut Upkeep) -> Option<i64> {
    let (now, oldest) = (store.clock.monotonic(), store.oldest_kept().as_millis());
    match upkeep.kept {
        Some((since, limit)) if limit <= oldest => {
            let is_sure = now.saturating_sub(since) >= EXPIRY_DELAY;
            if is_sure {
                upkeep.kept = Some((now, oldest));
            }
            is_sure.then_some(limit)
        }
        _ => {
            upkeep.kept = Some((now, oldest));
            None
        }
    }
}

/// Makes `blocks` what the store consists of, beside its head.
pub(super) fn replace(
    store: &Store,
    upkeep: &mut Upkeep,
    blocks: blocks::BlockSet,
) -> Result<(), StoreError> {
    let journal = upkeep.manifest.journal;
    upkeep.publish(store, Manifest { journal, blocks: blocks.names() })?;
    let mut state = store.state.write();
    state.blocks = blocks;
    state.epoch += 1;
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(samples: &[(i64, u64)], expected: &[(i64, i64)]) {
        let groups = group_windows(&samples.iter().copied().collect());
        let windows: Vec<(i64, i64)> = groups
            .iter()
            .map(|range| (window(range.start.as_millis()), window(range.end.as_millis())))
            .collect();
        assert_eq!(windows, expected);
    }

    #[test]
    fn thinly_populated_windows_share_a_block() {
        check(&[], &[]);
        check(&[(0, 5)], &[(0, 0)]);
        check(&[(0, 200_000), (1, 200_000)], &[(0, 0), (1, 1)]);
        check(
            &[(0, 1), (7_000, 1), (20_000, 99_998), (20_001, 1)],
            &[(0, 20_000), (20_001, 20_001)],
        );
        check(&[(-3, 100_000), (5, 3), (9, 4)], &[(-3, -3), (5, 9)]);
        check(&[(0, 1), (5, 100_000), (6, 1)], &[(0, 0), (5, 5), (6, 6)]);
    }
}
