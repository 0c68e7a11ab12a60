//! Reading the journal back into the head.

use journal::Sequence;

use super::state::State;
use crate::RecoveryReport;
use crate::wal::{self, Record};

/// Series numbers per page of a [`Numbers`].
const PAGE: usize = 1 << 12;
const UNKNOWN: u32 = u32::MAX;

/// Applies the records of a journal to an empty head.
pub(super) struct Replay<'a> {
    state: &'a mut State,
    report: &'a mut RecoveryReport,
    /// The first record that no block holds.
    start: Sequence,
    numbers: Numbers,
    /// The first record that could not be read.
    failure: Option<String>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        state: &'a mut State,
        report: &'a mut RecoveryReport,
        start: Sequence,
    ) -> Self {
        Self { state, report, start, numbers: Numbers::default(), failure: None }
    }

    /// Takes the next record. What blocks hold already is passed over.
    pub(super) fn visit(&mut self, sequence: Sequence, bytes: &[u8]) {
        self.state.last_sequence = sequence;
        if sequence < self.start || self.failure.is_some() {
            return;
        }
        let applied = wal::decode(bytes).map_err(|error| super::chain(&error));
        if let Err(reason) = applied.and_then(|record| self.apply(record)) {
            self.failure = Some(format!("record {}: {reason}", sequence.0));
        }
        self.report.records += 1;
        self.state.journal_bytes += bytes.len() as u64;
    }

    fn apply(&mut self, record: Record) -> Result<(), String> {
        for (number, labels) in &record.definitions {
            let series = match self.state.index.find(labels) {
                Some(series) => series,
                None if self.state.index.has_room() => self.state.insert_series(labels),
                None => return Err("more series than can be kept in memory".to_owned()),
            };
            self.numbers.set(*number, series);
        }
        let mut samples = record.samples;
        for (number, _, _) in &mut samples {
            let series = self.numbers.get(*number);
            *number = series.ok_or_else(|| format!("series {number} was never defined"))?;
        }
        self.report.samples += samples.len() as u64;
        self.state.apply(&samples);
        self.state.metadata.extend(record.metadata);
        Ok(())
    }

    /// Ends the recovery.
    ///
    /// # Errors
    ///
    /// A record could not be read: its position and the reason.
    pub(super) fn finish(self) -> Result<(), String> {
        if let Some(reason) = self.failure {
            return Err(reason);
        }
        // Where the journal gives a number the same meaning as the index does, new records can go on using it.
        for series in 0..self.state.index.series_count() {
            let same = self.numbers.get(series) == Some(series);
            self.state.active.set_journaled(series, same);
        }
        self.report.series = u64::from(self.state.index.series_count());
        Ok(())
    }
}

/// What the numbers of series in the journal mean. Takes memory for the numbers that occur, not for the largest one.
#[derive(Default)]
struct Numbers {
    pages: Vec<Option<Box<[u32]>>>,
}

impl Numbers {
    fn set(&mut self, number: u32, series: u32) {
        let page = number as usize / PAGE;
        if page >= self.pages.len() {
            self.pages.resize_with(page + 1, || None);
        }
        if let Some(page) = self.pages.get_mut(page) {
            let page = page.get_or_insert_with(|| vec![UNKNOWN; PAGE].into_boxed_slice());
            page[number as usize % PAGE] = series;
        }
    }

    fn get(&self, number: u32) -> Option<u32> {
        let page = self.pages.get(number as usize / PAGE)?.as_ref()?;
        page.get(number as usize % PAGE).copied().filter(|series| *series != UNKNOWN)
    }
}
