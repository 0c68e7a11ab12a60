//! Where a consumer is: the state, without time, files or tasks of its own.

use std::collections::{BTreeMap, BTreeSet};
use std::fmt::Write;
use std::time::Duration;

use crate::{Offset, Settlement};

/// The first line of a cursor's file.
const TITLE: &str = "tinyobs consumer 1";

/// Most entries that are open: as many as a cursor's file may name.
pub(super) const OPEN_MAX: usize = 100_000;

/// The position of a consumer: everything before `next` was delivered, and of that everything is settled but what is
/// open. Positions between entries need not be told from settled ones.
///
/// On disk it is a text of lines that end with a line feed:
///
/// ```text
/// tinyobs consumer 1
/// next 4711
/// open 4600 4649 1
/// checksum 1a2b3c4d
/// ```
///
/// `open` names the first and the last of adjoining open entries and how often each was delivered; there is one line
/// for each such run, ascending. `checksum` is the CRC-32C of all bytes before its line, in hexadecimal digits.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(super) struct Cursor {
    next: Offset,
    open: BTreeMap<Offset, Open>,
    /// The open entries that wait to be delivered again, and from when on they may.
    waiting: BTreeSet<(Duration, Offset)>,
    /// Counts changes.
    version: u64,
}

/// An entry that is not settled.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
struct Open {
    deliveries: u32,
    /// From when on it may be delivered again; `None` while somebody works on it.
    due: Option<Duration>,
}

/// What to fetch.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Plan {
    /// These are to be delivered again; ascending.
    Again(Vec<Offset>),
    /// New ones, at most so many, from there on.
    New { from: Offset, entries_max: usize },
    /// Too many are open.
    Full,
}

impl Cursor {
    pub(super) fn at(next: Offset) -> Self {
        Self { next, ..Self::default() }
    }

    /// Returns the position before which everything is settled.
    pub(super) fn floor(&self) -> Offset {
        self.open.first_key_value().map_or(self.next, |(first, _)| *first)
    }

    /// Returns how many entries up to `end` are not settled; positions between entries count as entries.
    pub(super) fn lag(&self, end: Offset) -> u64 {
        end.0.saturating_sub(self.next.0).saturating_add(self.open.len() as u64)
    }

    pub(super) fn version(&self) -> u64 {
        self.version
    }

    /// Forgets what the log does not hold any more, or never held.
    pub(super) fn fit(&mut self, first: Offset, end: Offset) {
        self.next = self.next.clamp(first, end.max(first));
        let next = self.next;
        self.open.retain(|offset, _| (first..next).contains(offset));
        self.waiting.retain(|(_, offset)| (first..next).contains(offset));
        self.version += 1;
    }

    pub(super) fn plan(&self, now: Duration, entries_max: usize, open_max: usize) -> Plan {
        let due = self.waiting.iter().take_while(|(due, _)| *due <= now);
        let mut again: Vec<Offset> = due.take(entries_max).map(|(_, offset)| *offset).collect();
        if !again.is_empty() {
            again.sort_unstable();
            return Plan::Again(again);
        }
        match open_max.saturating_sub(self.open.len()).min(entries_max) {
            0 => Plan::Full,
            entries_max => Plan::New { from: self.next, entries_max },
        }
    }

    /// Returns when the next open entry may be delivered again.
    pub(super) fn next_due(&self) -> Option<Duration> {
        self.waiting.first().map(|(due, _)| *due)
    }

    /// Notes that the new entries from `from` up to `next` are delivered; false if that is not where the cursor is.
    pub(super) fn deliver_new(&mut self, from: Offset, next: Offset, entries: &[Offset]) -> bool {
        if self.next != from {
            return false;
        }
        self.next = self.next.max(next);
        self.version += 1;
        let open = Open { deliveries: 1, due: None };
        self.open.extend(entries.iter().map(|offset| (*offset, open)));
        true
    }

    /// Notes that a waiting entry is delivered, and returns how often it was by now.
    pub(super) fn deliver_again(&mut self, offset: Offset) -> Option<u32> {
        let open = self.open.get_mut(&offset)?;
        let due = open.due.take()?;
        open.deliveries = open.deliveries.saturating_add(1);
        self.waiting.remove(&(due, offset));
        self.version += 1;
        Some(open.deliveries)
    }

    /// Takes a delivery back that did not reach the consumer: it is due at once.
    pub(super) fn take_back(&mut self, offset: Offset) {
        let Some(open) = self.open.get_mut(&offset).filter(|open| open.due.is_none()) else {
            return;
        };
        open.deliveries = open.deliveries.saturating_sub(1);
        open.due = Some(Duration::ZERO);
        self.waiting.insert((Duration::ZERO, offset));
        self.version += 1;
    }

    /// Lets everything that was delivered be delivered again.
    pub(super) fn release_all(&mut self) {
        for (offset, open) in &mut self.open {
            let due = open.due.replace(Duration::ZERO);
            self.waiting.remove(&(due.unwrap_or_default(), *offset));
            self.waiting.insert((Duration::ZERO, *offset));
        }
    }

    /// Notes what became of an entry. Nothing happens if it is not open, or waits.
    pub(super) fn settle(&mut self, offset: Offset, settlement: Settlement, now: Duration) {
        match settlement {
            Settlement::Done => {
                let Some(open) = self.open.remove(&offset) else { return };
                if let Some(due) = open.due {
                    self.waiting.remove(&(due, offset));
                }
                self.version += 1;
            }
            Settlement::Retry { delay } => {
                let open = self.open.get_mut(&offset).filter(|open| open.due.is_none());
                let Some(open) = open else { return };
                let due = now.saturating_add(delay);
                open.due = Some(due);
                self.waiting.insert((due, offset));
            }
            Settlement::InProgress => {}
        }
    }

    pub(super) fn encode(&self) -> String {
        let mut text = format!("{TITLE}\nnext {}\n", self.next);
        let mut run: Option<(Offset, Offset, u32)> = None;
        let mut write = |run: Option<(Offset, Offset, u32)>| {
            if let Some((first, last, deliveries)) = run {
                let _infallible = writeln!(text, "open {first} {last} {deliveries}");
            }
        };
        for (offset, open) in &self.open {
            run = match run {
                Some((first, last, deliveries))
                    if last.next() == *offset && deliveries == open.deliveries =>
                {
                    Some((first, *offset, deliveries))
                }
                before => {
                    write(before);
                    Some((*offset, *offset, open.deliveries))
                }
            };
        }
        write(run);
        let checksum = crc32c::crc32c(text.as_bytes());
        let _infallible = writeln!(text, "checksum {checksum:08x}");
        text
    }

    /// Reads what [`Cursor::encode`] wrote; `None` if it is anything else. Everything that is open is due.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let text = str::from_utf8(bytes).ok()?.strip_suffix('\n')?;
        let (covered, checksum) = text.rsplit_once("\nchecksum ")?;
        let checksum = u32::from_str_radix(checksum, 16).ok()?;
        let covered = bytes.get(..covered.len().checked_add(1)?)?;
        if crc32c::crc32c(covered) != checksum {
            return None;
        }
        let mut lines = str::from_utf8(covered).ok()?.lines();
        if lines.next()? != TITLE {
            return None;
        }
        let mut cursor = Self::at(Offset(lines.next()?.strip_prefix("next ")?.parse().ok()?));
        let mut behind = 0;
        for line in lines {
            let mut numbers = line.strip_prefix("open ")?.split(' ');
            let first: u64 = numbers.next()?.parse().ok()?;
            let last: u64 = numbers.next()?.parse().ok()?;
            let deliveries = numbers.next()?.parse().ok()?;
            let room = OPEN_MAX.saturating_sub(cursor.open.len()) as u64;
            let sound = behind <= first && first <= last && last < cursor.next.0;
            if !sound || last - first >= room || numbers.next().is_some() {
                return None;
            }
            behind = last.checked_add(1)?;
            let open = Open { deliveries, due: Some(Duration::ZERO) };
            cursor.open.extend((first..=last).map(|offset| (Offset(offset), open)));
            cursor.waiting.extend((first..=last).map(|offset| (Duration::ZERO, Offset(offset))));
        }
        Some(cursor)
    }
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    const NOW: Duration = Duration::from_secs(100);

    fn offsets(numbers: impl IntoIterator<Item = u64>) -> Vec<Offset> {
        numbers.into_iter().map(Offset).collect()
    }

    /// A cursor behind 10 whose entries 1 to 9 were delivered.
    fn delivered() -> Cursor {
        let mut cursor = Cursor::at(Offset(1));
        assert!(cursor.deliver_new(Offset(1), Offset(10), &offsets(1..10)));
        cursor
    }

    fn settle(cursor: &mut Cursor, numbers: impl IntoIterator<Item = u64>) {
        for offset in offsets(numbers) {
            cursor.settle(offset, Settlement::Done, NOW);
        }
    }

    #[test]
    fn the_floor_is_the_first_open_entry_whatever_is_settled_behind_it() {
        let mut cursor = delivered();
        settle(&mut cursor, [2, 9, 1, 4]);
        assert_eq!((cursor.floor(), cursor.lag(Offset(12))), (Offset(3), 7));
        settle(&mut cursor, [3, 5, 6, 7, 8]);
        assert_eq!((cursor.floor(), cursor.lag(Offset(12))), (Offset(10), 2));
    }

    #[test]
    fn what_is_to_be_retried_waits_for_its_time_and_goes_before_new_entries() {
        let mut cursor = delivered();
        let delay = Duration::from_secs(5);
        cursor.settle(Offset(7), Settlement::Retry { delay }, NOW);
        cursor.settle(Offset(3), Settlement::Retry { delay }, NOW);
        let new = Plan::New { from: Offset(10), entries_max: 4 };
        assert_eq!(cursor.plan(NOW + delay - Duration::from_nanos(1), 4, 100), new);
        assert_eq!(cursor.next_due(), Some(NOW + delay));
        assert_eq!(cursor.plan(NOW + delay, 4, 100), Plan::Again(offsets([3, 7])));
        assert_eq!(cursor.deliver_again(Offset(3)), Some(2));
        assert_eq!(cursor.deliver_again(Offset(3)), None, "it is with somebody");
        assert_eq!(cursor.plan(NOW + delay, 4, 100), Plan::Again(offsets([7])));
    }

    #[test]
    fn no_more_entries_are_open_than_allowed() {
        let mut cursor = delivered();
        assert_eq!(cursor.plan(NOW, 5, 11), Plan::New { from: Offset(10), entries_max: 2 });
        assert_eq!(cursor.plan(NOW, 5, 9), Plan::Full);
        settle(&mut cursor, [4]);
        assert_eq!(cursor.plan(NOW, 5, 9), Plan::New { from: Offset(10), entries_max: 1 });
    }

    #[test]
    fn a_delivery_that_was_taken_back_does_not_count() {
        let mut cursor = delivered();
        cursor.take_back(Offset(4));
        assert_eq!(cursor.plan(NOW, 5, 100), Plan::Again(offsets([4])));
        assert_eq!(cursor.deliver_again(Offset(4)), Some(1));
    }

    #[test]
    fn entries_that_another_fetch_delivered_are_not_delivered_again() {
        let mut cursor = delivered();
        assert!(!cursor.deliver_new(Offset(1), Offset(10), &offsets(1..10)));
    }

    #[test]
    fn what_the_log_does_not_hold_is_forgotten() {
        let mut cursor = delivered();
        cursor.release_all();
        cursor.fit(Offset(3), Offset(6));
        assert_eq!((cursor.floor(), cursor.lag(Offset(6))), (Offset(3), 3));
        assert_eq!(cursor.plan(NOW, 9, 9), Plan::Again(offsets([3, 4, 5])));
        cursor.fit(Offset(8), Offset(8));
        assert_eq!((cursor.floor(), cursor.lag(Offset(8))), (Offset(8), 0));
    }

    #[test]
    fn adjoining_entries_take_one_line() {
        let mut cursor = delivered();
        settle(&mut cursor, [5]);
        cursor.settle(Offset(8), Settlement::Retry { delay: Duration::ZERO }, NOW);
        assert_eq!(cursor.deliver_again(Offset(8)), Some(2));
        let text = cursor.encode();
        let (covered, _) = text.split_once("checksum").expect("a checksum");
        let runs = "open 1 4 1\nopen 6 7 1\nopen 8 8 2\nopen 9 9 1\n";
        assert_eq!(covered, format!("tinyobs consumer 1\nnext 10\n{runs}"));
    }

    #[test]
    fn a_file_that_was_changed_or_claims_too_much_is_refused() {
        let text = delivered().encode();
        assert!(Cursor::decode(text.as_bytes()).is_some());
        for index in 0..text.len() {
            let mut bytes = text.clone().into_bytes();
            bytes[index] ^= 2;
            assert_eq!(Cursor::decode(&bytes), None, "byte {index}");
            assert_eq!(Cursor::decode(&text.as_bytes()[..index]), None, "cut at {index}");
        }
        for body in [
            "next 9000000\nopen 0 1048576 1\n",
            "next 5\nopen 5 5 1\n",
            "next 9\nopen 4 5 1\nopen 5 6 1\n",
            "next 9\nopen 4 5 1 1\n",
            "next 9\nopen 5 4 1\n",
        ] {
            let covered = format!("{TITLE}\n{body}");
            let checksum = crc32c::crc32c(covered.as_bytes());
            let text = format!("{covered}checksum {checksum:08x}\n");
            assert_eq!(Cursor::decode(text.as_bytes()), None, "{body}");
        }
    }

    #[test]
    fn as_many_entries_as_may_be_open_are_read_back_and_no_more() {
        let text = |last| {
            let covered = format!("{TITLE}\nnext 9000000\nopen 1 {last} 1\n");
            format!("{covered}checksum {:08x}\n", crc32c::crc32c(covered.as_bytes()))
        };
        let cursor = Cursor::decode(text(OPEN_MAX).as_bytes()).expect("the limit");
        assert_eq!(cursor.plan(NOW, 1, OPEN_MAX), Plan::Again(offsets([1])));
        assert_eq!(cursor.open.len(), OPEN_MAX);
        assert_eq!(Cursor::decode(text(OPEN_MAX + 1).as_bytes()), None);
    }

    proptest! {
        #[test]
        fn a_cursor_is_read_back_with_everything_open_due(
            entries in proptest::collection::btree_set(1_u64..500, 0..60),
            done in proptest::collection::btree_set(1_u64..500, 0..60),
            retried in proptest::collection::btree_set(1_u64..500, 0..9),
        ) {
            let mut cursor = Cursor::at(Offset(1));
            let entries: Vec<u64> = entries.into_iter().collect();
            cursor.deliver_new(Offset(1), Offset(600), &offsets(entries));
            settle(&mut cursor, done);
            for offset in offsets(retried) {
                cursor.settle(offset, Settlement::Retry { delay: Duration::ZERO }, NOW);
                cursor.deliver_again(offset);
            }
            let read = Cursor::decode(cursor.encode().as_bytes()).expect("it is sound");
            cursor.release_all();
            cursor.version = 0;
            prop_assert_eq!(read, cursor);
        }
    }
}
