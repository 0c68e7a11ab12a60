//! Which labels a series has, and which series have a label.

mod find;
mod postings;

use hashbrown::HashTable;
use model::{Labels, METRIC_NAME};

use crate::hash::KeyedHash;
use crate::pages::{ByteArena, Paged};
use crate::varint;
pub(crate) use find::SortedLabels;
use postings::Postings;

/// The labels of all series of the head, and the series of all labels.
///
/// Texts are kept once. A *pair* of name and value has a number and the list of its series; a series is the list of
/// its pairs. Series are numbered from 0 in order of creation and are never removed: [`Index::retained`] makes a new
/// index without those that are not needed any more.
#[derive(Debug)]
pub(crate) struct Index {
    hash: KeyedHash,
    names: Vec<Name>,
    names_by_text: HashTable<u32>,
    pairs: Paged<Pair>,
    pairs_by_text: HashTable<u32>,
    texts: ByteArena,
    /// For each series the address of its pairs.
    series: Paged<u32>,
    series_pairs: ByteArena,
    series_by_pairs: HashTable<u32>,
}

#[derive(Debug)]
struct Name {
    text: Box<str>,
    pairs: Vec<u32>,
}

#[derive(Debug)]
struct Pair {
    name: u32,
    value: u32,
    postings: Postings,
}

impl Index {
    /// Returns an empty index.
    pub(crate) fn new(hash: KeyedHash) -> Self {
        Self {
            hash,
            names: Vec::new(),
            names_by_text: HashTable::new(),
            pairs: Paged::new(),
            pairs_by_text: HashTable::new(),
            texts: ByteArena::default(),
            series: Paged::new(),
            series_pairs: ByteArena::default(),
            series_by_pairs: HashTable::new(),
        }
    }

    /// Returns an index of those series that `keep` chooses, numbered anew in the same order.
    pub(crate) fn retained(&self, mut keep: impl FnMut(u32) -> bool) -> Self {
        let mut index = Self::new(self.hash.clone());
        for series in 0..self.series_count() {
            if keep(series) {
                index.insert(&self.labels(series));
            }
        }
        index
    }

    /// Returns the number of series.
    pub(crate) fn series_count(&self) -> u32 {
        self.series.len() as u32
    }

    /// Returns whether the new series of one batch still fit.
    pub(crate) fn has_room(&self) -> bool {
        self.texts.has_room() && self.series_pairs.has_room() && self.series.len() < 1 << 31
    }

    /// Returns the memory that is held, in bytes.
    pub(crate) fn bytes(&self) -> u64 {
        let tables = self.names_by_text.allocation_size()
            + self.pairs_by_text.allocation_size()
            + self.series_by_pairs.allocation_size();
        let lists: u64 = self.pairs.iter().map(|pair| pair.postings.heap_bytes()).sum();
        let names: usize =
            self.names.iter().map(|name| name.text.len() + 4 * name.pairs.capacity()).sum();
        self.texts.bytes()
            + self.series_pairs.bytes()
            + self.series.bytes()
            + self.pairs.bytes()
            + lists
            + (tables + names) as u64
    }

    /// Returns the number of the series with these labels.
    pub(crate) fn find(&self, labels: &Labels) -> Option<u32> {
        let mut pairs = Vec::with_capacity(64);
        for (name, value) in labels {
            let pair = self.find_pair(self.find_name(name)?, value)?;
            varint::push_u64(&mut pairs, u64::from(pair));
        }
        let found = self
            .series_by_pairs
            .find(self.hash.of(&pairs), |series| self.pairs_bytes(*series) == pairs.as_slice());
        found.copied()
    }

    /// Adds a series that is not there yet, and returns its number.
    pub(crate) fn insert(&mut self, labels: &Labels) -> u32 {
        let series = self.series_count();
        let mut bytes = Vec::with_capacity(64);
        for (name, value) in labels {
            let name = self.intern_name(name);
            let pair = self.intern_pair(name, value);
            if let Some(pair) = self.pairs.get_mut(pair) {
                pair.postings.push(series);
            }
            varint::push_u64(&mut bytes, u64::from(pair));
        }
        let address = self.series_pairs.push(&bytes);
        self.series.push(address);
        let Self { hash, series: addresses, series_pairs, series_by_pairs, .. } = self;
        series_by_pairs.insert_unique(hash.of(&bytes), series, |series| {
            let address = addresses.get(*series).copied().unwrap_or_default();
            hash.of(series_pairs.get(address))
        });
        series
    }

    /// Returns the labels of a series.
    pub(crate) fn labels(&self, series: u32) -> Labels {
        let labels =
            Labels::from_pairs(self.pairs_of(series).filter_map(|pair| self.texts_of(pair)));
        labels.expect("labels were checked before the series was created")
    }

    /// Returns the number of series of a metric.
    pub(crate) fn metric_series(&self, metric: &str) -> u64 {
        let pair = self.find_name(METRIC_NAME).and_then(|name| self.find_pair(name, metric));
        let pair = pair.and_then(|pair| self.pairs.get(pair));
        pair.map_or(0, |pair| u64::from(pair.postings.len()))
    }

    /// Returns metric names with the number of their series, in no particular order.
    pub(crate) fn metrics(&self) -> impl Iterator<Item = (&str, u64)> {
        let name = self.find_name(METRIC_NAME).and_then(|name| self.names.get(name as usize));
        name.into_iter().flat_map(|name| &name.pairs).filter_map(|pair| {
            let pair = self.pairs.get(*pair)?;
            Some((self.text(pair.value), u64::from(pair.postings.len())))
        })
    }

    fn pairs_bytes(&self, series: u32) -> &[u8] {
        self.series.get(series).map_or(&[], |address| self.series_pairs.get(*address))
    }

    fn pairs_of(&self, series: u32) -> impl Iterator<Item = u32> {
        let mut rest = self.pairs_bytes(series);
        std::iter::from_fn(move || varint::take_u32(&mut rest))
    }

    fn texts_of(&self, pair: u32) -> Option<(&str, &str)> {
        let pair = self.pairs.get(pair)?;
        let name = self.names.get(pair.name as usize)?;
        Some((&name.text, self.text(pair.value)))
    }

    fn text(&self, address: u32) -> &str {
        std::str::from_utf8(self.texts.get(address)).expect("texts come from strings")
    }

    fn find_name(&self, text: &str) -> Option<u32> {
        let hash = self.hash.of(text.as_bytes());
        let found = self.names_by_text.find(hash, |name| {
            self.names.get(*name as usize).is_some_and(|name| &*name.text == text)
        });
        found.copied()
    }

    fn find_pair(&self, name: u32, value: &str) -> Option<u32> {
        let found =
            self.pairs_by_text.find(pair_hash(&self.hash, name, value.as_bytes()), |pair| {
                let pair = self.pairs.get(*pair);
                pair.is_some_and(|pair| {
                    pair.name == name && self.texts.get(pair.value) == value.as_bytes()
                })
            });
        found.copied()
    }

    fn intern_name(&mut self, text: &str) -> u32 {
        if let Some(name) = self.find_name(text) {
            return name;
        }
        let name = self.names.len() as u32;
        self.names.push(Name { text: text.into(), pairs: Vec::new() });
        let Self { hash, names, names_by_text, .. } = self;
        names_by_text.insert_unique(hash.of(text.as_bytes()), name, |name| {
            hash.of(names.get(*name as usize).map_or(&[], |name| name.text.as_bytes()))
        });
        name
    }

    fn intern_pair(&mut self, name: u32, value: &str) -> u32 {
        if let Some(pair) = self.find_pair(name, value) {
            return pair;
        }
        let pair = self.pairs.len() as u32;
        let address = self.texts.push(value.as_bytes());
        self.pairs.push(Pair { name, value: address, postings: Postings::default() });
        if let Some(name) = self.names.get_mut(name as usize) {
            name.pairs.push(pair);
        }
        let Self { hash, pairs, texts, pairs_by_text, .. } = self;
        pairs_by_text.insert_unique(pair_hash(hash, name, value.as_bytes()), pair, |pair| {
            pairs.get(*pair).map_or(0, |pair| pair_hash(hash, pair.name, texts.get(pair.value)))
        });
        pair
    }
}

fn pair_hash(hash: &KeyedHash, name: u32, value: &[u8]) -> u64 {
    hash.of(value) ^ u64::from(name).wrapping_mul(0x9E37_79B9_7F4A_7C15)
}

#[cfg(test)]
mod tests;
