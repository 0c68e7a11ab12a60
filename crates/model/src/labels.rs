//! Label sets: the identity of a series.

use std::cmp::Ordering;
use std::fmt;
use std::sync::{Arc, LazyLock};

/// The label that holds a metric's name.
pub const METRIC_NAME: &str = "__name__";

/// An immutable set of labels: names unique and ascending by bytes, neither names nor values empty.
///
/// An empty value means the same as an absent label, as in Prometheus, so it is not kept.
/// One allocation, shared by clones. Equality and hash are those of [`Labels::as_bytes`].
/// Layout: for each label the length of the name, the name, the length of the value, the value;
/// lengths are LEB128 numbers of at most 32 bits.
#[derive(Clone, PartialEq, Eq, Hash)]
pub struct Labels(Arc<[u8]>);

/// A label set that cannot exist.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum LabelError {
    /// A label has an empty name.
    #[error("label with an empty name and the value '{value}'")]
    EmptyName {
        /// Its value.
        value: String,
    },
    /// A label name occurs twice.
    #[error("label '{name}' occurs twice")]
    Duplicate {
        /// The name.
        name: String,
    },
    /// There is no metric name.
    #[error("series without a metric name ('__name__')")]
    NoMetricName,
    /// There are too many labels.
    #[error("series '{metric}' has {count} labels, the limit is {limit}")]
    TooMany {
        /// The metric's name.
        metric: String,
        /// How many there are.
        count: usize,
        /// How many there may be.
        limit: usize,
    },
    /// A name or value is too long.
    #[error("{part} of {bytes} bytes in label '{name}', the limit is {limit}")]
    TooLong {
        /// `name` or `value`.
        part: &'static str,
        /// The label's name, shortened.
        name: String,
        /// The length, in bytes.
        bytes: usize,
        /// The limit, in bytes.
        limit: usize,
    },
    /// A name or value is not UTF-8.
    #[error("label '{name}' is not valid UTF-8")]
    NotUtf8 {
        /// The label's name as far as it can be shown.
        name: String,
    },
    /// The name is reserved for the store.
    #[error("label '{name}' is reserved")]
    Reserved {
        /// The name.
        name: String,
    },
    /// The bytes are not the claimed encoding of labels.
    #[error("label set is damaged: {reason}")]
    Damaged {
        /// What is wrong.
        reason: &'static str,
    },
}

impl Labels {
    /// Returns the empty set. Does not allocate after the first call.
    #[must_use]
    pub fn empty() -> Self {
        static EMPTY: LazyLock<Labels> = LazyLock::new(|| Labels(Arc::from([])));
        EMPTY.clone()
    }

    /// Returns the set of `pairs`, in any order; pairs with an empty value are left out.
    ///
    /// # Errors
    ///
    /// An empty or repeated name.
    pub fn from_pairs<'a>(
        pairs: impl IntoIterator<Item = (&'a str, &'a str)>,
    ) -> Result<Self, LabelError> {
        let mut pairs: Vec<_> = pairs.into_iter().filter(|(_, value)| !value.is_empty()).collect();
        pairs.sort_unstable();
        let mut bytes = Vec::with_capacity(pairs.iter().map(|(n, v)| n.len() + v.len() + 4).sum());
        let mut last = None;
        for (name, value) in pairs {
            if name.is_empty() {
                return Err(LabelError::EmptyName { value: value.to_owned() });
            }
            if last == Some(name) {
                return Err(LabelError::Duplicate { name: name.to_owned() });
            }
            last = Some(name);
            push_pair(&mut bytes, name, value);
        }
        Ok(Self::from_canonical(bytes))
    }

    /// Returns the set whose [`Labels::as_bytes`] are `bytes`, after checking every rule.
    ///
    /// # Errors
    ///
    /// The bytes break one of them.
    pub fn from_bytes(bytes: &[u8]) -> Result<Self, LabelError> {
        let mut rest = bytes;
        let mut last: Option<&str> = None;
        while !rest.is_empty() {
            let name = take_checked(&mut rest)?;
            let value = take_checked(&mut rest)?;
            if name.is_empty() || value.is_empty() {
                return Err(LabelError::Damaged { reason: "empty name or value" });
            }
            if last.is_some_and(|last| last >= name) {
                return Err(LabelError::Damaged { reason: "names not ascending" });
            }
            last = Some(name);
        }
        Ok(Self(Arc::from(bytes)))
    }

    fn from_canonical(bytes: Vec<u8>) -> Self {
        if bytes.is_empty() { Self::empty() } else { Self(Arc::from(bytes)) }
    }

    /// Returns the canonical encoding: equal for equal sets, different for different ones.
    #[must_use]
    pub fn as_bytes(&self) -> &[u8] {
        &self.0
    }

    /// Iterates over names and values, ascending by name.
    #[must_use]
    pub fn iter(&self) -> LabelsIter<'_> {
        LabelsIter { rest: &self.0 }
    }

    /// Returns the value of a label; `None` when it is absent. O(number of labels).
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.iter().find(|(candidate, _)| *candidate == name).map(|(_, value)| value)
    }

    /// Returns the metric's name; `None` when there is none.
    #[must_use]
    pub fn metric_name(&self) -> Option<&str> {
        self.get(METRIC_NAME)
    }

    /// Returns the number of labels. O(number of labels).
    #[must_use]
    pub fn len(&self) -> usize {
        self.iter().count()
    }

    /// Returns whether there is no label.
    #[must_use]
    pub fn is_empty(&self) -> bool {
        self.0.is_empty()
    }

    /// Returns the set of those labels whose name satisfies `keep`.
    #[must_use]
    pub fn filtered(&self, mut keep: impl FnMut(&str) -> bool) -> Self {
        let mut bytes = Vec::with_capacity(self.0.len());
        for (name, value) in self.iter() {
            if keep(name) {
                push_pair(&mut bytes, name, value);
            }
        }
        if bytes.len() == self.0.len() { self.clone() } else { Self::from_canonical(bytes) }
    }

    /// Returns a builder that starts with these labels.
    #[must_use]
    pub fn to_builder(&self) -> LabelsBuilder {
        let pairs = self.iter().map(|(name, value)| (name.to_owned(), value.to_owned())).collect();
        LabelsBuilder { pairs }
    }
}

impl Ord for Labels {
    /// Compares label by label, name before value; a prefix is less. As Prometheus orders series.
    fn cmp(&self, other: &Self) -> Ordering {
        self.iter().cmp(other.iter())
    }
}

impl PartialOrd for Labels {
    fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
        Some(self.cmp(other))
    }
}

impl<'a> IntoIterator for &'a Labels {
    type Item = (&'a str, &'a str);
    type IntoIter = LabelsIter<'a>;

    fn into_iter(self) -> LabelsIter<'a> {
        self.iter()
    }
}

impl fmt::Display for Labels {
    /// Writes `{a="b", c="d"}` with the metric's name among the labels, as Prometheus does.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str("{")?;
        for (index, (name, value)) in self.iter().enumerate() {
            let separator = if index == 0 { "" } else { ", " };
            if is_legacy_label_name(name) {
                write!(f, "{separator}{name}={value:?}")?;
            } else {
                write!(f, "{separator}{name:?}={value:?}")?;
            }
        }
        f.write_str("}")
    }
}

impl fmt::Debug for Labels {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        fmt::Display::fmt(self, f)
    }
}

fn is_legacy_label_name(name: &str) -> bool {
    let mut bytes = name.bytes();
    bytes.next().is_some_and(|first| first.is_ascii_alphabetic() || first == b'_')
        && bytes.all(|byte| byte.is_ascii_alphanumeric() || byte == b'_')
}

/// Iterates over a [`Labels`].
#[derive(Clone, Debug)]
pub struct LabelsIter<'a> {
    rest: &'a [u8],
}

impl<'a> Iterator for LabelsIter<'a> {
    type Item = (&'a str, &'a str);

    fn next(&mut self) -> Option<Self::Item> {
        if self.rest.is_empty() {
            return None;
        }
        Some((take_canonical(&mut self.rest), take_canonical(&mut self.rest)))
    }
}

/// Changes to a label set.
#[derive(Clone, Debug, Default)]
pub struct LabelsBuilder {
    pairs: Vec<(String, String)>,
}

impl LabelsBuilder {
    /// Returns a builder of an empty set.
    #[must_use]
    pub fn new() -> Self {
        Self::default()
    }

    /// Sets a label; an empty value removes it.
    pub fn set(&mut self, name: &str, value: &str) -> &mut Self {
        if value.is_empty() {
            return self.remove(name);
        }
        match self.pairs.iter_mut().find(|(candidate, _)| candidate == name) {
            Some((_, present)) => value.clone_into(present),
            None => self.pairs.push((name.to_owned(), value.to_owned())),
        }
        self
    }

    /// Removes a label if it is there.
    pub fn remove(&mut self, name: &str) -> &mut Self {
        self.pairs.retain(|(candidate, _)| candidate != name);
        self
    }

    /// Returns a label's value.
    #[must_use]
    pub fn get(&self, name: &str) -> Option<&str> {
        self.pairs.iter().find(|(candidate, _)| candidate == name).map(|(_, value)| value.as_str())
    }

    /// Iterates over the labels in no particular order.
    pub fn iter(&self) -> impl Iterator<Item = (&str, &str)> {
        self.pairs.iter().map(|(name, value)| (name.as_str(), value.as_str()))
    }

    /// Returns the set.
    ///
    /// # Errors
    ///
    /// A label has an empty name.
    pub fn build(&self) -> Result<Labels, LabelError> {
        Labels::from_pairs(self.iter())
    }
}

fn push_pair(bytes: &mut Vec<u8>, name: &str, value: &str) {
    for text in [name, value] {
        push_length(bytes, text.len());
        bytes.extend_from_slice(text.as_bytes());
    }
}

fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = u32::try_from(length).unwrap_or(u32::MAX);
    while rest >= 0x80 {
        bytes.push((rest & 0x7f) as u8 | 0x80);
        rest >>= 7;
    }
    bytes.push(rest as u8);
}

fn take_length(rest: &mut &[u8]) -> Option<usize> {
    let mut length = 0_u64;
    for shift in (0..35).step_by(7) {
        let (first, tail) = rest.split_first()?;
        *rest = tail;
        length |= u64::from(first & 0x7f) << shift;
        if first & 0x80 == 0 {
            return usize::try_from(length).ok();
        }
    }
    None
}

fn take_bytes<'a>(rest: &mut &'a [u8]) -> Option<&'a [u8]> {
    let length = take_length(rest)?;
    let (text, tail) = rest.split_at_checked(length)?;
    *rest = tail;
    Some(text)
}

fn take_checked<'a>(rest: &mut &'a [u8]) -> Result<&'a str, LabelError> {
    let text = take_bytes(rest).ok_or(LabelError::Damaged { reason: "length beyond the end" })?;
    std::str::from_utf8(text).map_err(|_| LabelError::Damaged { reason: "not UTF-8" })
}

/// Reads a text that a constructor has checked.
fn take_canonical<'a>(rest: &mut &'a [u8]) -> &'a str {
    let text = take_bytes(rest).and_then(|bytes| std::str::from_utf8(bytes).ok());
    text.expect("label sets are checked when they are made")
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn labels(pairs: &[(&str, &str)]) -> Labels {
        Labels::from_pairs(pairs.iter().copied()).expect("valid labels")
    }

    #[test]
    fn order_of_arrival_and_empty_values_do_not_matter() {
        let one = labels(&[("b", "2"), ("a", "1"), ("c", "")]);
        let other = labels(&[("a", "1"), ("b", "2")]);
        assert_eq!(one, other);
        assert_eq!(one.to_string(), r#"{a="1", b="2"}"#);
    }

    #[test]
    fn an_empty_or_repeated_name_is_refused() {
        let repeated = Labels::from_pairs([("a", "1"), ("a", "1")]);
        assert_eq!(repeated, Err(LabelError::Duplicate { name: "a".to_owned() }));
        assert!(matches!(Labels::from_pairs([("", "x")]), Err(LabelError::EmptyName { .. })));
    }

    #[test]
    fn sets_compare_label_by_label() {
        assert!(labels(&[("a", "1")]) < labels(&[("a", "1"), ("b", "1")]));
        assert!(labels(&[("a", "2")]) > labels(&[("a", "1"), ("b", "1")]));
        assert!(labels(&[("aa", "1")]) > labels(&[("a", "2")]));
    }

    #[test]
    fn long_texts_survive() {
        let long = "x".repeat(70_000);
        assert_eq!(labels(&[("a", &long)]).get("a"), Some(long.as_str()));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            if let Ok(labels) = Labels::from_bytes(&bytes) {
                let again = Labels::from_pairs(&labels).expect("checked labels are valid");
                prop_assert!(again.len() == labels.len());
            }
        }

        #[test]
        fn the_encoding_round_trips(
            pairs in proptest::collection::btree_map("[a-z]{1,9}", ".{1,200}", 0..9)
        ) {
            let labels = Labels::from_pairs(pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())));
            let labels = labels.expect("unique names");
            prop_assert_eq!(&Labels::from_bytes(labels.as_bytes()).expect("canonical"), &labels);
            for (name, value) in &pairs {
                prop_assert_eq!(labels.get(name), Some(value.as_str()));
            }
        }
    }
}
