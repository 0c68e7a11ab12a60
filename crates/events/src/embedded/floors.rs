//! What consumers still need.

use std::collections::BTreeMap;

use parking_lot::Mutex;

use crate::Offset;

/// Up to where each consumer has settled everything, durably: the log keeps what is from there on.
#[derive(Debug, Default)]
pub(crate) struct Floors {
    floors: Mutex<BTreeMap<String, Offset>>,
}

#[cfg_attr(not(test), expect(dead_code, reason = "consumers stand on it"))]
impl Floors {
    /// Notes that a consumer needs the entries from `offset` on, and none before.
    pub(crate) fn set(&self, consumer: &str, offset: Offset) {
        let mut floors = self.floors.lock();
        match floors.get_mut(consumer) {
            Some(floor) => *floor = offset,
            None => drop(floors.insert(consumer.to_owned(), offset)),
        }
    }

    /// Notes that there is no such consumer any more.
    pub(crate) fn remove(&self, consumer: &str) {
        self.floors.lock().remove(consumer);
    }

    /// Returns the consumer that is furthest behind, the first by name of several, and what it needs.
    pub(crate) fn lowest(&self) -> Option<(String, Offset)> {
        let floors = self.floors.lock();
        floors.iter().min_by_key(|(_, offset)| **offset).map(|(name, at)| (name.clone(), *at))
    }

    /// Returns every consumer and what it needs, by name.
    pub(crate) fn all(&self) -> BTreeMap<String, Offset> {
        self.floors.lock().clone()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lowest_floor_is_that_of_whoever_is_furthest_behind() {
        let floors = Floors::default();
        assert_eq!(floors.lowest(), None);
        for (name, offset) in [("sink", 7), ("rules", 3), ("audit", 3), ("sink", 2)] {
            floors.set(name, Offset(offset));
        }
        assert_eq!(floors.lowest(), Some(("sink".to_owned(), Offset(2))));
        floors.remove("sink");
        assert_eq!(floors.lowest(), Some(("audit".to_owned(), Offset(3))));
        assert_eq!(floors.all().len(), 2);
    }
}
