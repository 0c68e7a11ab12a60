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
    /// Samples of series whose labels were in a lost part of the journal.
    orphans: u64,
    /// The first record that could not be read.
    failure: Option<String>,
}

impl<'a> Replay<'a> {
    pub(super) fn new(
        state: &'a mut State,
        report: &'a mut RecoveryReport,
        start: Sequence,
    ) -> Self {
        Self { state, report, start, numbers: Numbers::default(), orphans: 0, failure: None }
    }

    /// Takes the next record. What blocks hold already is passed over.
    pub(super) fn visit(&mut self, sequence: Sequence, bytes: &[u8]) {
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
        if record.numbering != self.state.numbering {
            self.state.numbering = record.numbering;
            self.numbers = Numbers::default();
        }
        for (number, labels) in &record.definitions {
            let series = match self.state.index.find(labels) {
                Some(series) => series,
                None if self.state.index.has_room() => self.state.insert_series(labels),
                None => return Err("more series than can be kept in memory".to_owned()),
            };
            self.numbers.set(*number, series);
        }
        let mut samples = record.samples;
        let before = samples.len();
        samples.retain_mut(|(number, _, _)| {
            let series = self.numbers.get(*number);
            *number = series.unwrap_or(*number);
            series.is_some()
        });
        self.orphans += (before - samples.len()) as u64;
        self.report.samples += samples.len() as u64;
        self.state.apply(&samples);
        self.state.metadata.extend(record.metadata);
        Ok(())
    }

    /// Ends the recovery. `last` is the last sequence that the journal accounts for.
    ///
    /// # Errors
    ///
    /// A record could not be read: its position and the reason.
    pub(super) fn finish(self, last: Sequence) -> Result<(), String> {
        self.state.last_sequence = last;
        if let Some(reason) = self.failure {
            return Err(reason);
        }
        if self.orphans > 0 {
            let lost = format!("journal: {} samples whose labels are lost", self.orphans);
            self.report.quarantined.push(lost);
        }
        // When the journal numbers all series as the index does, new records can go on with its numbers.
        if self.numbers.are_those_of_the_index() {
            for series in 0..self.state.index.series_count() {
                let known = self.numbers.get(series).is_some();
                self.state.active.set_journaled(series, known);
            }
        } else {
            self.state.numbering = self.state.last_sequence.0 + 1;
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

    fn are_those_of_the_index(&self) -> bool {
        (0..).step_by(PAGE).zip(&self.pages).all(|(first, page)| {
            let mut entries = (first..).zip(page.iter().flat_map(|page| page.iter().copied()));
            entries.all(|(number, series)| series == UNKNOWN || series == number)
        })
    }

    fn get(&self, number: u32) -> Option<u32> {
        let page = self.pages.get(number as usize / PAGE)?.as_ref()?;
        page.get(number as usize % PAGE).copied().filter(|series| *series != UNKNOWN)
    }
}
