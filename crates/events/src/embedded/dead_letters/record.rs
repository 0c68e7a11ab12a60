//! The bytes of what happens to dead letters, in the journal.

use std::collections::BTreeMap;

use bytes::Bytes;
use model::{TenantId, Timestamp};

use crate::{DeadLetter, DeadLetterId, DeadLetterState, NewDeadLetter, Offset};

/// The version of the layout that this program writes; see `docs/formats/dead-letters.md`.
const RECORD_VERSION: u8 = 1;

const KIND_LETTER: u8 = 1;
const KIND_DISCARDED: u8 = 2;
const KIND_REPLAYING: u8 = 3;

const FLAG_OFFSET: u8 = 1;
const FLAG_REPLAYING: u8 = 2;

/// A record of the journal; little endian, a text is its length in 4 bytes and its bytes:
///
/// | offset | bytes | content |
/// |---:|---:|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | kind: 1 letter, 2 discarded, 3 replaying |
/// | 2 | 8 | identifier; in a letter 0 when it is the sequence of this record |
///
/// Kinds 2 and 3 end here. A letter goes on:
///
/// | offset | bytes | content |
/// |---:|---:|---|
/// | 10 | 1 | flags: 1 there is an offset, 2 it is on its way back; other bits 0 |
/// | 11 | 8 | when it was given up, milliseconds since 1970 |
/// | 19 | 8 | offset, 0 when there is none |
/// | 27 | 4 | attempts |
/// | 31 | | texts: tenant, consumer, subject, error |
/// | | 4 | number of headers; for each two texts, name and value |
/// | | | the bytes of the letter, to the end of the record |
///
/// A letter with an identifier replaces the one that was stored under it before: it was given back, or moved.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Record {
    Letter(Box<Letter>),
    Discarded(DeadLetterId),
    Replaying(DeadLetterId),
}

/// A letter with its identifier unless that is the sequence of its record.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) struct Letter {
    pub(super) id: Option<DeadLetterId>,
    pub(super) at: Timestamp,
    pub(super) state: DeadLetterState,
    pub(super) letter: NewDeadLetter,
}

impl Letter {
    /// Returns the letter as its readers see it.
    pub(super) fn with_id(self, id: DeadLetterId) -> DeadLetter {
        let Self { at, state, letter, .. } = self;
        DeadLetter { id, at, state, letter }
    }
}

impl Record {
    pub(super) fn encode(&self) -> Vec<u8> {
        let mut out = vec![RECORD_VERSION];
        match self {
            Self::Letter(letter) => letter.encode(&mut out),
            Self::Discarded(id) => head(KIND_DISCARDED, *id, &mut out),
            Self::Replaying(id) => head(KIND_REPLAYING, *id, &mut out),
        }
        out
    }

    /// Reads what [`Record::encode`] wrote; `None` if it is anything else.
    pub(super) fn decode(bytes: &[u8]) -> Option<Self> {
        let mut rest = bytes;
        let [version, kind] = take(&mut rest)?;
        if version != RECORD_VERSION {
            return None;
        }
        let id = DeadLetterId(u64::from_le_bytes(take(&mut rest)?));
        match kind {
            KIND_LETTER => Some(Self::Letter(Box::new(Letter::decode(id, rest)?))),
            KIND_DISCARDED => rest.is_empty().then_some(Self::Discarded(id)),
            KIND_REPLAYING => rest.is_empty().then_some(Self::Replaying(id)),
            _ => None,
        }
    }
}

impl Letter {
    fn encode(&self, out: &mut Vec<u8>) {
        let letter = &self.letter;
        head(KIND_LETTER, self.id.unwrap_or(DeadLetterId(0)), out);
        let replaying = self.state == DeadLetterState::Replaying;
        let flag = |set: bool, flag: u8| if set { flag } else { 0 };
        out.push(flag(letter.offset.is_some(), FLAG_OFFSET) | flag(replaying, FLAG_REPLAYING));
        out.extend_from_slice(&self.at.as_millis().to_le_bytes());
        out.extend_from_slice(&letter.offset.unwrap_or_default().0.to_le_bytes());
        out.extend_from_slice(&letter.attempts.to_le_bytes());
        for value in [letter.tenant.as_str(), &letter.consumer, &letter.subject, &letter.error] {
            text(value, out);
        }
        length(letter.headers.len(), out);
        for (name, value) in &letter.headers {
            text(name, out);
            text(value, out);
        }
        out.extend_from_slice(&letter.bytes);
    }

    fn decode(id: DeadLetterId, mut rest: &[u8]) -> Option<Self> {
        let rest = &mut rest;
        let [flags] = take(rest)?;
        if flags & !(FLAG_OFFSET | FLAG_REPLAYING) != 0 {
            return None;
        }
        let at = Timestamp::from_millis(i64::from_le_bytes(take(rest)?));
        let offset = Offset(u64::from_le_bytes(take(rest)?));
        let attempts = u32::from_le_bytes(take(rest)?);
        let tenant = TenantId::new(take_text(rest)?).ok()?;
        let consumer = take_text(rest)?.to_owned();
        let subject = take_text(rest)?.to_owned();
        let error = take_text(rest)?.to_owned();
        let mut headers = BTreeMap::new();
        for _ in 0..u32::from_le_bytes(take(rest)?) {
            headers.insert(take_text(rest)?.to_owned(), take_text(rest)?.to_owned());
        }
        let replaying = flags & FLAG_REPLAYING != 0;
        Some(Self {
            id: (id.0 != 0).then_some(id),
            at,
            state: if replaying { DeadLetterState::Replaying } else { DeadLetterState::Waiting },
            letter: NewDeadLetter {
                tenant,
                consumer,
                subject,
                headers,
                offset: (flags & FLAG_OFFSET != 0).then_some(offset),
                bytes: Bytes::copy_from_slice(rest),
                error,
                attempts,
            },
        })
    }
}

fn head(kind: u8, id: DeadLetterId, out: &mut Vec<u8>) {
    out.push(kind);
    out.extend_from_slice(&id.0.to_le_bytes());
}

/// Lengths that four bytes cannot say are those of records that the journal refuses.
fn length(length: usize, out: &mut Vec<u8>) {
    out.extend_from_slice(&u32::try_from(length).unwrap_or(u32::MAX).to_le_bytes());
}

fn text(value: &str, out: &mut Vec<u8>) {
    length(value.len(), out);
    out.extend_from_slice(value.as_bytes());
}

fn take<const N: usize>(rest: &mut &[u8]) -> Option<[u8; N]> {
    let (first, behind) = rest.split_first_chunk()?;
    *rest = behind;
    Some(*first)
}

fn take_text<'a>(rest: &mut &'a [u8]) -> Option<&'a str> {
    let bytes = usize::try_from(u32::from_le_bytes(take(rest)?)).ok()?;
    let (text, behind) = rest.split_at_checked(bytes)?;
    *rest = behind;
    str::from_utf8(text).ok()
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn letter() -> impl Strategy<Value = Letter> {
        let texts = ("[a-z]{0,9}", "[a-z.]{0,9}", "\\PC{0,9}");
        let headers = proptest::collection::btree_map("[a-z]{1,4}", "\\PC{0,9}", 0..4);
        let numbers = (any::<i64>(), any::<u32>(), proptest::option::of(any::<u64>()));
        let rest = (any::<bool>(), proptest::collection::vec(any::<u8>(), 0..40));
        (0_u64..3, texts, headers, numbers, rest).prop_map(
            |(id, (consumer, subject, error), headers, (at, attempts, offset), (back, bytes))| {
                let state =
                    if back { DeadLetterState::Replaying } else { DeadLetterState::Waiting };
                Letter {
                    id: (id > 0).then_some(DeadLetterId(id)),
                    at: Timestamp::from_millis(at),
                    state,
                    letter: NewDeadLetter {
                        tenant: TenantId::default_tenant(),
                        consumer,
                        subject,
                        headers,
                        offset: offset.map(Offset),
                        bytes: bytes.into(),
                        error,
                        attempts,
                    },
                }
            },
        )
    }

    proptest! {
        #[test]
        fn a_letter_is_read_back(letter in letter()) {
            let record = Record::Letter(Box::new(letter));
            prop_assert_eq!(Record::decode(&record.encode()), Some(record));
        }

        #[test]
        fn bytes_that_are_no_record_are_refused(
            letter in letter(),
            cut in 0_usize..60,
            noise in proptest::collection::vec(any::<u8>(), 0..80),
        ) {
            Record::decode(&noise);
            let fixed = 47 + letter.letter.tenant.as_str().len();
            let bytes = Record::Letter(Box::new(letter)).encode();
            prop_assert_eq!(Record::decode(&bytes[..cut.min(fixed - 1)]), None);
        }
    }

    #[test]
    fn what_happens_to_a_letter_is_read_back_and_nothing_longer() {
        for record in [Record::Discarded(DeadLetterId(7)), Record::Replaying(DeadLetterId(9))] {
            let mut bytes = record.encode();
            assert_eq!(Record::decode(&bytes), Some(record));
            bytes.push(0);
            assert_eq!(Record::decode(&bytes), None);
        }
        assert_eq!(Record::decode(&[2, KIND_DISCARDED, 7, 0, 0, 0, 0, 0, 0, 0]), None, "version");
        assert_eq!(Record::decode(&[1, 4, 7, 0, 0, 0, 0, 0, 0, 0]), None, "kind");
    }

    #[test]
    fn a_number_of_headers_that_are_not_there_is_refused() {
        let letter = Letter {
            id: None,
            at: Timestamp::from_millis(0),
            state: DeadLetterState::Waiting,
            letter: NewDeadLetter {
                tenant: TenantId::default_tenant(),
                consumer: String::new(),
                subject: String::new(),
                headers: BTreeMap::new(),
                offset: None,
                bytes: Bytes::new(),
                error: String::new(),
                attempts: 0,
            },
        };
        let mut bytes = Record::Letter(Box::new(letter)).encode();
        let count = bytes.len() - 4;
        bytes[count..].fill(0xFF);
        assert_eq!(Record::decode(&bytes), None);
    }
}
