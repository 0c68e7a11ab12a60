//! What has become of the records that were given a sequence.

use crate::{JournalError, Sequence};

/// The most stretches of refused records that are told apart. Beyond it the two oldest are taken as one: a late
/// question about a record between them is answered "not durable" although it is, never the other way round.
const REFUSED_MAX: usize = 256;

/// What has become of the records, as their waiters see it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    durable: Sequence,
    /// Stretches that a full disk refused, first and last included, ascending.
    refused: Vec<(Sequence, Sequence)>,
    /// Why nothing more will become durable.
    ended: Option<String>,
}

impl Progress {
    pub(crate) fn new(durable: Sequence) -> Self {
        Self { durable, ..Self::default() }
    }

    pub(crate) fn durable(&self) -> Sequence {
        self.durable
    }

    pub(crate) fn advance(&mut self, durable: Sequence) {
        self.durable = durable;
    }

    pub(crate) fn end(&mut self, reason: &str) {
        self.ended.get_or_insert_with(|| reason.to_owned());
    }

    /// Notes that the records from `first` to `last` will never be durable.
    pub(crate) fn refuse(&mut self, first: Sequence, last: Sequence) {
        match self.refused.last_mut() {
            Some(before) if before.1.next() == first => before.1 = last,
            _ => self.refused.push((first, last)),
        }
        if self.refused.len() > REFUSED_MAX {
            let (oldest, _) = self.refused.remove(0);
            if let Some(next) = self.refused.first_mut() {
                next.0 = oldest;
            }
        }
    }

    /// Returns what has become of a record, or `None` while that is open.
    pub(crate) fn outcome(&self, sequence: Sequence) -> Option<Result<(), JournalError>> {
        if self.refused.iter().any(|(first, last)| (*first..=*last).contains(&sequence)) {
            let reason = "the disk was full".to_owned();
            return Some(Err(JournalError::NotDurable { sequence, reason }));
        }
        if sequence <= self.durable {
            return Some(Ok(()));
        }
        let reason = self.ended.clone()?;
        Some(Err(JournalError::NotDurable { sequence, reason }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn stretch(number: u64) -> (Sequence, Sequence) {
        (Sequence(number * 10 + 1), Sequence(number * 10 + 2))
    }

    #[test]
    fn refused_records_stay_refused_beyond_the_limit_of_stretches() {
        let mut progress = Progress::new(Sequence::ZERO);
        for number in 0..=REFUSED_MAX as u64 {
            let (first, last) = stretch(number);
            progress.refuse(first, last);
        }
        progress.advance(Sequence(1 << 20));
        assert_eq!(progress.refused.len(), REFUSED_MAX);
        for number in 0..=REFUSED_MAX as u64 {
            assert!(matches!(progress.outcome(stretch(number).1), Some(Err(_))), "{number}");
        }
        assert!(matches!(progress.outcome(Sequence(25)), Some(Ok(()))));
    }

    #[test]
    fn adjoining_stretches_are_one() {
        let mut progress = Progress::new(Sequence::ZERO);
        progress.refuse(Sequence(1), Sequence(2));
        progress.refuse(Sequence(3), Sequence(9));
        assert_eq!(progress.refused, [(Sequence(1), Sequence(9))]);
    }
}
