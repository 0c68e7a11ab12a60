//! What has become of the records that were given a sequence.

use crate::{JournalError, Sequence};

/// The most stretches of refused records that are told apart. Beyond it the two oldest are taken as one: a late
/// question about a record between them is answered "not durable" although it is, never the other way round.
const REFUSED_MAX: usize = 256;

/// What has become of the records, as their waiters see it.
#[derive(Debug, Default)]
pub(crate) struct Progress {
    durable: Sequence,
    /// Stretches that the disk refused, ascending.
    refused: Vec<Refused>,
    /// Why nothing more will become durable.
    ended: Option<String>,
}

/// Records that will never be durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Refused {
    /// The first of them.
    first: Sequence,
    /// The last of them.
    last: Sequence,
    reason: &'static str,
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

    /// Goes on after the end: what was given out until `last` and is not durable never will be.
    pub(crate) fn begin_again(&mut self, last: Sequence) {
        if self.ended.take().is_some() {
            // What the disk refused earlier lies between: one stretch says of all of it what is true.
            let refused = self.refused.last().map_or(Sequence::ZERO, |stretch| stretch.last);
            let first = self.durable.max(refused).next();
            if first <= last {
                self.refuse(first, last, "the disk failed");
            }
        }
    }

    /// Notes that the records from `first` to `last` will never be durable.
    pub(crate) fn refuse(&mut self, first: Sequence, last: Sequence, reason: &'static str) {
        match self.refused.last_mut() {
            Some(before) if before.last.next() == first => {
                (before.last, before.reason) = (last, reason);
            }
            _ => self.refused.push(Refused { first, last, reason }),
        }
        if self.refused.len() > REFUSED_MAX {
            let oldest = self.refused.remove(0);
            if let Some(next) = self.refused.first_mut() {
                next.first = oldest.first;
            }
        }
    }

    /// Returns what has become of a record, or `None` while that is open.
    pub(crate) fn outcome(&self, sequence: Sequence) -> Option<Result<(), JournalError>> {
        let covers = |refused: &&Refused| (refused.first..=refused.last).contains(&sequence);
        if let Some(refused) = self.refused.iter().find(covers) {
            let reason = refused.reason.to_owned();
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
            progress.refuse(first, last, "the disk was full");
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
        progress.refuse(Sequence(1), Sequence(2), "full");
        progress.refuse(Sequence(3), Sequence(9), "full");
        let one = Refused { first: Sequence(1), last: Sequence(9), reason: "full" };
        assert_eq!(progress.refused, [one]);
    }

    #[test]
    fn what_begins_again_refuses_what_was_given_out_and_nothing_else() {
        let mut progress = Progress::new(Sequence(2));
        progress.refuse(Sequence(3), Sequence(4), "full");
        progress.advance(Sequence(6));
        progress.end("broken");
        progress.begin_again(Sequence(8));
        let state = |sequence| progress.outcome(Sequence(sequence)).map(|outcome| outcome.is_ok());
        assert_eq!(
            (1..=9).map(state).collect::<Vec<_>>(),
            [
                Some(true),
                Some(true),
                Some(false),
                Some(false),
                Some(true),
                Some(true),
                Some(false),
                Some(false),
                None
            ]
        );
        progress.begin_again(Sequence(9));
        assert!(progress.outcome(Sequence(9)).is_none(), "it had not ended");
    }
}
