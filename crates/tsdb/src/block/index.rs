//! The index of a block in memory: compact, read where it lies.

use std::ops::Range;

use model::{Labels, MatchOp, Matcher};

use super::{CHUNK_SAMPLES_MAX, SECTION_COLUMNS, SECTION_PAIRS, SECTION_POSTINGS, SECTION_SERIES};
use super::{CRC_BYTES, SECTIONS};
use crate::varint;

/// One in so many series is found directly, the others by reading on from it.
const RESTART: usize = 16;

/// Where a column of times lies, and what it spans.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Column {
    pub(super) offset: u64,
    /// Bytes, the checksum included.
    pub(super) bytes: u32,
    pub(super) samples: u32,
    pub(super) oldest: i64,
    pub(super) newest: i64,
}

/// Where the values of one column lie.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct ChunkRef {
    pub(super) column: u32,
    /// Bytes, the checksum included.
    pub(super) bytes: u32,
    pub(super) offset: u64,
}

/// Texts or numbers one after another in one allocation.
#[derive(Debug, Default)]
struct Pieces {
    bytes: Vec<u8>,
    ends: Vec<u32>,
}

impl Pieces {
    fn get(&self, number: usize) -> &[u8] {
        let end = self.ends.get(number).map_or(0, |end| *end as usize);
        let before = number.checked_sub(1).and_then(|before| self.ends.get(before));
        self.bytes.get(before.map_or(0, |end| *end as usize)..end).unwrap_or_default()
    }

    fn text(&self, number: usize) -> &str {
        std::str::from_utf8(self.get(number)).unwrap_or_default()
    }

    fn close(&mut self) -> Result<(), &'static str> {
        self.ends.push(u32::try_from(self.bytes.len()).map_err(|_| "section too long")?);
        Ok(())
    }
}

/// The index of one block. Pairs are numbered ascending by name and value, series ascending by labels.
#[derive(Debug, Default)]
pub(super) struct Index {
    /// Label names, ascending, each with the number of its first pair.
    names: Vec<(String, u32)>,
    /// The value of every pair.
    values: Pieces,
    /// The series of every pair: a count and distances.
    postings: Pieces,
    columns: Vec<Column>,
    series: Vec<u8>,
    /// For every [`RESTART`]th series where it begins and where the chunk before it ended.
    restarts: Vec<(u32, u64)>,
    series_count: u32,
}

/// One series as it is in the index.
#[derive(Clone, Debug, Default)]
pub(super) struct Entry {
    pub(super) pairs: Vec<u32>,
    pub(super) chunks: Vec<ChunkRef>,
}

impl Index {
    /// Reads the unpacked sections of a file whose chunks end at `data_end`.
    pub(super) fn parse(
        sections: [Vec<u8>; SECTIONS],
        data: &Range<u64>,
    ) -> Result<Self, &'static str> {
        let mut index = Self::default();
        index.parse_pairs(&sections[SECTION_PAIRS])?;
        index.parse_columns(&sections[SECTION_COLUMNS], data)?;
        let [_, _, _, series] = &sections;
        index.check_series(series, data)?;
        index.parse_postings(&sections[SECTION_POSTINGS])?;
        let [_, _, _, series] = sections;
        index.series = series;
        debug_assert_eq!(SECTION_SERIES, 3);
        Ok(index)
    }

    fn parse_pairs(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        const CUT: &str = "label pairs are cut off";
        let mut rest = bytes;
        while !rest.is_empty() {
            let name = take_text(&mut rest).ok_or(CUT)?;
            if name.is_empty() || self.names.last().is_some_and(|(last, _)| last.as_str() >= name) {
                return Err("label names do not ascend");
            }
            let first = self.values.ends.len();
            self.names.push((name.to_owned(), u32::try_from(first).map_err(|_| CUT)?));
            let count = varint::take_u32(&mut rest).ok_or(CUT)?;
            for number in 0..count {
                let shared = varint::take_u32(&mut rest).ok_or(CUT)? as usize;
                let suffix = take_bytes(&mut rest).ok_or(CUT)?;
                let last =
                    if number == 0 { "" } else { self.values.text(first + number as usize - 1) };
                let shared = last.as_bytes().get(..shared).ok_or("shared beginning too long")?;
                let value = [shared, suffix].concat();
                let text = std::str::from_utf8(&value).map_err(|_| "label value is not UTF-8")?;
                if last >= text {
                    return Err("label values do not ascend");
                }
                self.values.bytes.extend_from_slice(&value);
                self.values.close()?;
            }
        }
        Ok(())
    }

    fn parse_columns(&mut self, bytes: &[u8], data: &Range<u64>) -> Result<(), &'static str> {
        let mut rest = bytes;
        let mut end = data.start;
        while !rest.is_empty() {
            let column = take_column(&mut rest, &mut end).ok_or("columns are cut off")?;
            if column.samples == 0
                || column.samples as usize > CHUNK_SAMPLES_MAX
                || column.oldest > column.newest
                || (column.bytes as usize) < CRC_BYTES
                || end > data.end
            {
                return Err("impossible column");
            }
            self.columns.push(column);
        }
        Ok(())
    }

    fn check_series(&mut self, bytes: &[u8], data: &Range<u64>) -> Result<(), &'static str> {
        let mut rest = bytes;
        let mut end = data.start;
        let mut entry = Entry::default();
        while !rest.is_empty() {
            if (self.series_count as usize).is_multiple_of(RESTART) {
                let start = u32::try_from(bytes.len() - rest.len()).map_err(|_| "too long")?;
                self.restarts.push((start, end));
            }
            take_entry(&mut rest, &mut end, &mut entry).ok_or("series are cut off")?;
            let pairs_exist =
                entry.pairs.last().is_none_or(|last| (*last as usize) < self.values.ends.len());
            let chunks_exist = entry.chunks.iter().all(|chunk| {
                (chunk.column as usize) < self.columns.len() && chunk.bytes as usize >= CRC_BYTES
            });
            if !pairs_exist || !chunks_exist || end > data.end {
                return Err("series refers to what is not there");
            }
            self.series_count = self.series_count.checked_add(1).ok_or("too many series")?;
        }
        Ok(())
    }

    fn parse_postings(&mut self, bytes: &[u8]) -> Result<(), &'static str> {
        const CUT: &str = "postings are cut off";
        let mut rest = bytes;
        for _ in 0..self.values.ends.len() {
            let count = varint::take_u32(&mut rest).ok_or(CUT)?;
            let start = rest;
            let mut last = None;
            for _ in 0..count {
                let distance = varint::take_u32(&mut rest).ok_or(CUT)?;
                let series = match last {
                    None => Some(distance),
                    Some(last) if distance > 0 => u32::checked_add(last, distance),
                    Some(_) => None,
                };
                last = series.filter(|series| *series < self.series_count);
                last.ok_or("postings do not ascend")?;
            }
            let used = start.len() - rest.len();
            self.postings.bytes.extend_from_slice(start.get(..used).unwrap_or_default());
            self.postings.close()?;
        }
        if rest.is_empty() { Ok(()) } else { Err("bytes after the postings") }
    }

    pub(super) fn series_count(&self) -> u32 {
        self.series_count
    }

    pub(super) fn column(&self, number: u32) -> Option<&Column> {
        self.columns.get(number as usize)
    }

    #[cfg(test)]
    pub(super) fn columns_len(&self) -> u32 {
        self.columns.len() as u32
    }

    /// Visits the entries of series, given in ascending order, until `visit` fails.
    pub(super) fn visit<E>(
        &self,
        series: impl IntoIterator<Item = u32>,
        mut visit: impl FnMut(u32, &Entry) -> Result<(), E>,
    ) -> Result<(), E> {
        let mut entry = Entry::default();
        let mut next = 0_usize;
        let (mut rest, mut end): (&[u8], u64) = (&[], 0);
        for number in series {
            let wanted = number as usize;
            let page = wanted / RESTART;
            if next == 0 || wanted < next || page * RESTART > next {
                let Some((start, chunk_end)) = self.restarts.get(page) else { break };
                rest = self.series.get(*start as usize..).unwrap_or_default();
                end = *chunk_end;
                next = page * RESTART;
            }
            while next <= wanted && take_entry(&mut rest, &mut end, &mut entry).is_some() {
                next += 1;
            }
            visit(number, &entry)?;
        }
        Ok(())
    }

    /// Returns the labels of an entry.
    pub(super) fn labels(&self, entry: &Entry, scratch: &mut Vec<u8>) -> Result<Labels, String> {
        scratch.clear();
        for pair in &entry.pairs {
            let name = self.name_of(*pair);
            let value = self.values.get(*pair as usize);
            for text in [name.as_bytes(), value] {
                varint::push_u64(scratch, text.len() as u64);
                scratch.extend_from_slice(text);
            }
        }
        Labels::from_bytes(scratch).map_err(|error| error.to_string())
    }

    fn name_of(&self, pair: u32) -> &str {
        let after = self.names.partition_point(|(_, first)| *first <= pair);
        after.checked_sub(1).and_then(|at| self.names.get(at)).map_or("", |(name, _)| name)
    }

    /// Returns the pairs of a label name.
    fn pairs_of(&self, name: &str) -> Range<usize> {
        match self.names.binary_search_by(|(candidate, _)| candidate.as_str().cmp(name)) {
            Ok(at) => {
                let end = self.names.get(at + 1).map_or(self.values.ends.len() as u32, |n| n.1);
                self.names.get(at).map_or(0, |n| n.1) as usize..end as usize
            }
            Err(_) => 0..0,
        }
    }

    fn find_value(&self, pairs: &Range<usize>, value: &str) -> Option<usize> {
        let at = self.lower_bound(pairs, value);
        (at < pairs.end && self.values.text(at) == value).then_some(at)
    }

    fn lower_bound(&self, pairs: &Range<usize>, value: &str) -> usize {
        let (mut low, mut high) = (pairs.start, pairs.end);
        while low < high {
            let middle = low + (high - low) / 2;
            if self.values.text(middle) < value { low = middle + 1 } else { high = middle }
        }
        low
    }

    /// Returns the pairs of the matcher's label that satisfy it.
    fn matching_pairs(&self, matcher: &Matcher) -> Vec<usize> {
        let pairs = self.pairs_of(matcher.name());
        if matcher.op() == MatchOp::Equal {
            return self.find_value(&pairs, matcher.value()).into_iter().collect();
        }
        if matcher.op() == MatchOp::Regex
            && let Some(regex) = matcher.regex()
        {
            if let Some(literals) = regex.literals() {
                return literals.iter().filter_map(|text| self.find_value(&pairs, text)).collect();
            }
            let start = self.lower_bound(&pairs, regex.prefix());
            return (start..pairs.end)
                .take_while(|pair| self.values.text(*pair).starts_with(regex.prefix()))
                .filter(|pair| regex.is_match(self.values.text(*pair)))
                .collect();
        }
        pairs.filter(|pair| matcher.matches(self.values.text(*pair))).collect()
    }

    fn refuted_pairs(&self, matcher: &Matcher) -> Vec<usize> {
        let pairs = self.pairs_of(matcher.name());
        if matcher.op() == MatchOp::NotEqual {
            return self.find_value(&pairs, matcher.value()).into_iter().collect();
        }
        pairs.filter(|pair| !matcher.matches(self.values.text(*pair))).collect()
    }

    fn union(&self, pairs: &[usize]) -> Vec<u32> {
        let mut series = Vec::new();
        for pair in pairs {
            let mut rest = self.postings.get(*pair);
            let mut last = 0;
            while let Some(distance) = varint::take_u32(&mut rest) {
                last += distance;
                series.push(last);
            }
        }
        if pairs.len() > 1 {
            series.sort_unstable();
        }
        series
    }

    /// Returns the series that satisfy all matchers, ascending. An absent label counts as empty.
    pub(super) fn select(&self, matchers: &[Matcher]) -> Vec<u32> {
        let (optional, required): (Vec<&Matcher>, Vec<&Matcher>) =
            matchers.iter().partition(|matcher| matcher.matches_absent());
        let mut wanted: Vec<Vec<usize>> =
            required.iter().map(|matcher| self.matching_pairs(matcher)).collect();
        let bytes = |pairs: &Vec<usize>| -> usize {
            pairs.iter().map(|pair| self.postings.get(*pair).len()).sum()
        };
        wanted.sort_by_cached_key(bytes);
        let mut found: Option<Vec<u32>> = None;
        for pairs in &wanted {
            let series = self.union(pairs);
            found = Some(match found {
                None => series,
                Some(found) => combine(found, &series, true),
            });
            if found.as_ref().is_some_and(Vec::is_empty) {
                return Vec::new();
            }
        }
        let mut found = found.unwrap_or_else(|| (0..self.series_count).collect());
        for matcher in optional {
            let refuted = self.union(&self.refuted_pairs(matcher));
            if !refuted.is_empty() {
                found = combine(found, &refuted, false);
            }
        }
        found
    }

    /// Returns all label names.
    pub(super) fn names(&self) -> impl Iterator<Item = &str> {
        self.names.iter().map(|(name, _)| name.as_str())
    }

    /// Returns all values of a label.
    pub(super) fn values(&self, name: &str) -> impl Iterator<Item = &str> {
        self.pairs_of(name).map(|pair| self.values.text(pair))
    }

    /// Returns the names of an entry's labels.
    pub(super) fn names_of(&self, entry: &Entry) -> impl Iterator<Item = &str> {
        entry.pairs.iter().map(|pair| self.name_of(*pair))
    }

    /// Returns the value of an entry's label.
    pub(super) fn value_of(&self, entry: &Entry, name: &str) -> Option<&str> {
        let pairs = self.pairs_of(name);
        let pair = entry.pairs.iter().find(|pair| pairs.contains(&(**pair as usize)))?;
        Some(self.values.text(*pair as usize))
    }

    /// Checks that the postings say the same as the series.
    pub(super) fn check_postings(&self) -> Result<(), &'static str> {
        let mut lists: Vec<&[u8]> =
            (0..self.values.ends.len()).map(|pair| self.postings.get(pair)).collect();
        let mut lasts = vec![0_u32; lists.len()];
        self.visit(0..self.series_count, |number, entry| {
            for pair in &entry.pairs {
                let list = lists.get_mut(*pair as usize).ok_or("pair out of range")?;
                let last = lasts.get_mut(*pair as usize).ok_or("pair out of range")?;
                *last += varint::take_u32(list).ok_or("a series is missing in the postings")?;
                if *last != number {
                    return Err("postings and series differ");
                }
            }
            Ok(())
        })?;
        if lists.iter().all(|rest| rest.is_empty()) {
            Ok(())
        } else {
            Err("postings have more than the series")
        }
    }
}

/// Keeps of `left` what is in `right`, or what is not. Both ascend.
fn combine(mut left: Vec<u32>, right: &[u32], keep_common: bool) -> Vec<u32> {
    let mut at = 0;
    left.retain(|series| {
        while right.get(at).is_some_and(|other| other < series) {
            at += 1;
        }
        (right.get(at) == Some(series)) == keep_common
    });
    left
}

pub(super) fn push_column(bytes: &mut Vec<u8>, column: &Column, end: &mut u64) {
    varint::push_u64(bytes, column.offset - *end);
    *end = column.offset + u64::from(column.bytes);
    varint::push_u64(bytes, u64::from(column.bytes));
    varint::push_u64(bytes, u64::from(column.samples));
    varint::push_i64(bytes, column.oldest);
    varint::push_u64(bytes, column.newest.wrapping_sub(column.oldest).cast_unsigned());
}

fn take_column(rest: &mut &[u8], end: &mut u64) -> Option<Column> {
    let offset = end.checked_add(varint::take_u64(rest)?)?;
    let bytes = varint::take_u32(rest)?;
    *end = offset.checked_add(u64::from(bytes))?;
    let samples = varint::take_u32(rest)?;
    let oldest = varint::take_i64(rest)?;
    let newest = oldest.wrapping_add(varint::take_u64(rest)?.cast_signed());
    Some(Column { offset, bytes, samples, oldest, newest })
}

pub(super) fn push_entry(bytes: &mut Vec<u8>, pairs: &[u32], chunks: &[ChunkRef], end: &mut u64) {
    varint::push_u64(bytes, pairs.len() as u64);
    let mut last = 0;
    for pair in pairs {
        varint::push_u64(bytes, u64::from(pair - last));
        last = *pair;
    }
    varint::push_u64(bytes, chunks.len() as u64);
    for chunk in chunks {
        varint::push_u64(bytes, u64::from(chunk.column));
        varint::push_u64(bytes, u64::from(chunk.bytes));
        varint::push_u64(bytes, chunk.offset - *end);
        *end = chunk.offset + u64::from(chunk.bytes);
    }
}

fn take_entry(rest: &mut &[u8], end: &mut u64, entry: &mut Entry) -> Option<()> {
    entry.pairs.clear();
    entry.chunks.clear();
    let mut last = 0_u32;
    for number in 0..varint::take_u32(rest)? {
        let distance = varint::take_u32(rest)?;
        if number > 0 && distance == 0 {
            return None;
        }
        last = last.checked_add(distance)?;
        entry.pairs.push(last);
    }
    for _ in 0..varint::take_u32(rest)? {
        let column = varint::take_u32(rest)?;
        let bytes = varint::take_u32(rest)?;
        let offset = end.checked_add(varint::take_u64(rest)?)?;
        *end = offset.checked_add(u64::from(bytes))?;
        entry.chunks.push(ChunkRef { column, bytes, offset });
    }
    Some(())
}

pub(super) fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let len = varint::take_u32(rest)? as usize;
    let (taken, tail) = rest.split_at_checked(len)?;
    *rest = tail;
    Some(taken)
}

pub(super) fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    std::str::from_utf8(take_bytes(rest)?).ok()
}
