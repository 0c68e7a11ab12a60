//! Which series satisfy conditions on their labels.

use std::collections::{BTreeSet, HashSet};

use model::{MatchOp, Matcher};

use super::{Index, Name};
use crate::varint;

/// Reading the labels of a candidate costs about as much as this many entries of a postings list.
const LABELS_COST: usize = 16;

/// What a condition says about the pairs of its label.
enum Condition {
    /// The series has one of these pairs.
    OneOf(Vec<u32>),
    /// The series has none of these pairs.
    NoneOf(Vec<u32>),
}

impl Index {
    /// Returns the series that satisfy all conditions, ascending.
    pub(crate) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let conditions = matchers.iter().map(|matcher| self.condition(matcher));
        let mut wanted = Vec::new();
        let mut unwanted = Vec::new();
        for condition in conditions {
            match condition {
                Condition::OneOf(pairs) => wanted.push((self.postings_len(&pairs), pairs)),
                Condition::NoneOf(pairs) if pairs.is_empty() => {}
                Condition::NoneOf(pairs) => unwanted.push((self.postings_len(&pairs), pairs)),
            }
        }
        wanted.sort_by_key(|(len, _)| *len);
        let mut wanted = wanted.into_iter();
        let mut found = match wanted.next() {
            Some((_, pairs)) => self.union(&pairs),
            None => (0..self.series_count()).collect(),
        };
        for (len, pairs) in wanted {
            self.filter(&mut found, len, &pairs, true);
        }
        for (len, pairs) in unwanted {
            self.filter(&mut found, len, &pairs, false);
        }
        found
    }

    /// Returns the names of the labels of some series.
    pub(crate) fn names_of(&self, series: impl Iterator<Item = u32>) -> BTreeSet<&str> {
        let mut seen = HashSet::new();
        for pair in series.flat_map(|series| self.pairs_of(series)) {
            seen.extend(self.pairs.get(pair).map(|pair| pair.name));
        }
        seen.into_iter().filter_map(|name| Some(&*self.names.get(name as usize)?.text)).collect()
    }

    /// Returns the values of a label of some series.
    pub(crate) fn values_of(
        &self,
        name: &str,
        series: impl Iterator<Item = u32>,
    ) -> BTreeSet<&str> {
        let Some(name) = self.find_name(name) else { return BTreeSet::new() };
        let mut seen = HashSet::new();
        for series in series {
            let mut pairs = self.pairs_of(series).filter_map(|pair| self.pairs.get(pair));
            seen.extend(pairs.find(|pair| pair.name == name).map(|pair| pair.value));
        }
        seen.into_iter().map(|value| self.text(value)).collect()
    }

    /// Returns the names of all labels that a chosen series has.
    pub(crate) fn names(&self, chosen: impl Fn(u32) -> bool) -> BTreeSet<&str> {
        let chosen = |name: &&Name| name.pairs.iter().any(|pair| self.any_series(*pair, &chosen));
        self.names.iter().filter(chosen).map(|name| &*name.text).collect()
    }

    /// Returns all values of a label that a chosen series has.
    pub(crate) fn values(&self, name: &str, chosen: impl Fn(u32) -> bool) -> BTreeSet<&str> {
        let pairs = self.pairs_named(name).iter().copied();
        let pairs = pairs.filter(|pair| self.any_series(*pair, &chosen));
        pairs.filter_map(|pair| Some(self.texts_of(pair)?.1)).collect()
    }

    /// Returns the label, beside the name, with the most values among the series of a metric; the first by name
    /// of several. Looks at the first `series_max` series only.
    pub(crate) fn fastest_label(&self, metric: &str, series_max: usize) -> Option<&str> {
        let metric_name = self.find_name(model::METRIC_NAME)?;
        let postings = &self.pairs.get(self.find_pair(metric_name, metric)?)?.postings;
        let pairs: HashSet<u32> =
            postings.iter().take(series_max).flat_map(|series| self.pairs_of(series)).collect();
        let mut counts = std::collections::BTreeMap::<&str, usize>::new();
        for pair in pairs {
            let pair = self.pairs.get(pair)?;
            if pair.name != metric_name {
                *counts.entry(&self.names.get(pair.name as usize)?.text).or_default() += 1;
            }
        }
        counts.into_iter().rev().max_by_key(|(_, count)| *count).map(|(name, _)| name)
    }

    fn any_series(&self, pair: u32, chosen: &impl Fn(u32) -> bool) -> bool {
        self.pairs.get(pair).is_some_and(|pair| pair.postings.iter().any(chosen))
    }

    fn pairs_named(&self, name: &str) -> &[u32] {
        let name = self.find_name(name).and_then(|name| self.names.get(name as usize));
        name.map_or(&[], |name| &name.pairs)
    }

    fn condition(&self, matcher: &Matcher) -> Condition {
        let find = |value: &str| {
            self.find_name(matcher.name()).and_then(|name| self.find_pair(name, value))
        };
        let known = match (matcher.op(), matcher.regex()) {
            (MatchOp::Equal | MatchOp::NotEqual, _) if !matcher.value().is_empty() => {
                Some(find(matcher.value()).into_iter().collect())
            }
            (MatchOp::Regex | MatchOp::NotRegex, Some(regex)) => regex.literals().map(|literals| {
                literals.iter().filter_map(|literal| find(literal)).collect::<Vec<u32>>()
            }),
            _ => None,
        };
        let equal = matches!(matcher.op(), MatchOp::Equal | MatchOp::Regex);
        match (matcher.matches_absent(), known) {
            // Known are the pairs that the text without its negation matches, and an empty value is no pair.
            (false, Some(pairs)) if equal => Condition::OneOf(pairs),
            (true, Some(pairs)) if !equal => Condition::NoneOf(pairs),
            (true, _) => Condition::NoneOf(self.pairs_where(matcher, false)),
            (false, _) => Condition::OneOf(self.pairs_where(matcher, true)),
        }
    }

    fn pairs_where(&self, matcher: &Matcher, matches: bool) -> Vec<u32> {
        let pairs = self.pairs_named(matcher.name()).iter().copied();
        pairs
            .filter(|pair| {
                let texts = self.texts_of(*pair);
                texts.is_some_and(|(_, value)| matcher.matches(value) == matches)
            })
            .collect()
    }

    fn postings_len(&self, pairs: &[u32]) -> usize {
        pairs
            .iter()
            .filter_map(|pair| self.pairs.get(*pair))
            .map(|pair| pair.postings.len() as usize)
            .sum()
    }

    /// Returns the series that have one of the pairs of one label, ascending.
    fn union(&self, pairs: &[u32]) -> Vec<u32> {
        let mut series: Vec<u32> = Vec::with_capacity(self.postings_len(pairs));
        for pair in pairs.iter().filter_map(|pair| self.pairs.get(*pair)) {
            series.extend(pair.postings.iter());
        }
        if pairs.len() > 1 {
            series.sort_unstable();
        }
        series
    }

    /// Keeps the series that have, or have not, one of the pairs.
    fn filter(&self, found: &mut Vec<u32>, len: usize, pairs: &[u32], has: bool) {
        if found.len().saturating_mul(LABELS_COST) < len {
            let pairs: HashSet<u32> = pairs.iter().copied().collect();
            found.retain(|series| self.pairs_of(*series).any(|pair| pairs.contains(&pair)) == has);
            return;
        }
        let mut other = self.union(pairs).into_iter().peekable();
        found.retain(|series| {
            while other.next_if(|candidate| candidate < series).is_some() {}
            (other.peek() == Some(series)) == has
        });
    }

    /// Returns for each series its labels as numbers that compare as the labels do: see [`SortedLabels`].
    pub(crate) fn sort_key(&self) -> SortedLabels {
        let mut order: Vec<u32> = (0..self.pairs.len() as u32).collect();
        order.sort_unstable_by_key(|pair| self.texts_of(*pair));
        let mut rank = vec![0; order.len()];
        for (position, pair) in (0..).zip(order) {
            if let Some(slot) = rank.get_mut(pair as usize) {
                *slot = position;
            }
        }
        SortedLabels { rank, series: self.series.clone(), series_pairs: self.series_pairs.clone() }
    }
}

/// The order of the series of an index by their labels, as of a moment; usable without the index.
pub(crate) struct SortedLabels {
    rank: Vec<u32>,
    series: crate::pages::Paged<u32>,
    series_pairs: crate::pages::ByteArena,
}

impl SortedLabels {
    /// Sorts series by their labels.
    pub(crate) fn sort(&self, series: &mut [u32]) {
        series.sort_unstable_by(|left, right| self.ranks(*left).cmp(self.ranks(*right)));
    }

    fn ranks(&self, series: u32) -> impl Iterator<Item = u32> {
        let mut rest = self
            .series
            .get(series)
            .map_or([].as_slice(), |address| self.series_pairs.get(*address));
        std::iter::from_fn(move || {
            let pair = varint::take_u32(&mut rest)?;
            self.rank.get(pair as usize).copied()
        })
    }
}
