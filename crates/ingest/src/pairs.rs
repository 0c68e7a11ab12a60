//! Label sets as they arrive, pair by pair: the layout of [`Labels::as_bytes`] without its rules.
//!
//! For each label the length of the name, the name, the length of the value, the value; lengths are LEB128.
//! Pairs may be in any order, and invalid ones are noticed when the store decodes a key for the first time,
//! so that they cost the series and not the request.

#![warn(clippy::indexing_slicing, clippy::cast_possible_truncation)]

use model::{LabelEncoding, LabelError, Labels};
use smallvec::SmallVec;

use crate::protobuf::Reader;

/// The encoding of what [`push`] wrote.
pub(crate) const PAIRS: LabelEncoding = LabelEncoding { id: 2, decode };

/// A set rarely has more labels; more of them cost an allocation.
const INLINE_LABELS: usize = 32;

/// Name and value of a label.
pub(crate) type Pair<'a> = (&'a [u8], &'a [u8]);

/// Appends a label.
pub(crate) fn push(bytes: &mut Vec<u8>, (name, value): Pair<'_>) {
    for text in [name, value] {
        push_length(bytes, text.len());
        bytes.extend_from_slice(text);
    }
}

/// Returns the valid set of labels.
///
/// # Errors
///
/// As [`Labels::from_pairs`], or a text is not UTF-8.
pub(crate) fn to_labels<'a>(
    pairs: impl IntoIterator<Item = Pair<'a>>,
) -> Result<Labels, LabelError> {
    let mut texts: SmallVec<[(&str, &str); INLINE_LABELS]> = SmallVec::new();
    for (name, value) in pairs {
        match (std::str::from_utf8(name), std::str::from_utf8(value)) {
            (Ok(name), Ok(value)) => texts.push((name, value)),
            _ => {
                let name = String::from_utf8_lossy(name).into_owned();
                return Err(LabelError::NotUtf8 { name });
            }
        }
    }
    Labels::from_pairs(texts)
}

fn decode(bytes: &[u8]) -> Result<Labels, LabelError> {
    let mut reader = Reader::new(bytes);
    let mut pairs: SmallVec<[Pair<'_>; INLINE_LABELS]> = SmallVec::new();
    while !reader.is_empty() {
        let damaged = |_| LabelError::Damaged { reason: "length beyond the end" };
        pairs.push((reader.bytes().map_err(damaged)?, reader.bytes().map_err(damaged)?));
    }
    to_labels(pairs)
}

#[inline]
fn push_length(bytes: &mut Vec<u8>, length: usize) {
    let mut rest = length;
    while rest >= 0x80 {
        #[expect(clippy::cast_possible_truncation, reason = "the lowest seven bits are wanted")]
        bytes.push(rest as u8 | 0x80);
        rest >>= 7;
    }
    #[expect(clippy::cast_possible_truncation, reason = "less than 0x80")]
    bytes.push(rest as u8);
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn encode(pairs: &[(&str, &str)]) -> Vec<u8> {
        let mut bytes = Vec::new();
        for (name, value) in pairs {
            push(&mut bytes, (name.as_bytes(), value.as_bytes()));
        }
        bytes
    }

    #[test]
    fn order_does_not_matter() {
        let labels = Labels::from_pairs([("a", "1"), ("b", "2")]).expect("labels");
        assert_eq!(decode(&encode(&[("b", "2"), ("c", ""), ("a", "1")])), Ok(labels));
    }

    #[test]
    fn invalid_sets_are_refused() {
        let repeated = decode(&encode(&[("a", "1"), ("a", "2")]));
        assert_eq!(repeated, Err(LabelError::Duplicate { name: "a".to_owned() }));
        assert!(matches!(decode(&encode(&[("", "1")])), Err(LabelError::EmptyName { .. })));
        assert!(matches!(decode(&[1, b'a', 1, 0xff]), Err(LabelError::NotUtf8 { .. })));
        assert!(matches!(decode(&[1, b'a', 9]), Err(LabelError::Damaged { .. })));
    }

    proptest! {
        #[test]
        fn arbitrary_bytes_never_panic(bytes in proptest::collection::vec(any::<u8>(), 0..64)) {
            drop(decode(&bytes));
        }

        #[test]
        fn pairs_come_back(
            pairs in proptest::collection::btree_map("[a-z]{1,9}", ".{1,200}", 0..9)
        ) {
            let pairs: Vec<_> = pairs.iter().map(|(n, v)| (n.as_str(), v.as_str())).collect();
            let labels = Labels::from_pairs(pairs.iter().copied()).expect("unique names");
            // The canonical spelling is the sorted special case.
            prop_assert_eq!(labels.as_bytes(), encode(&pairs));
            prop_assert_eq!(decode(&encode(&pairs)), Ok(labels));
        }
    }
}
