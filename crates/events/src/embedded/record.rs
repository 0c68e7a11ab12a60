//! The bytes of an event in the journal.

use model::Timestamp;

use crate::{EventKey, Lane};

/// The version of the layout that this program writes; see `docs/formats/event-log.md`.
pub(crate) const RECORD_VERSION: u8 = 1;

/// The length of what precedes the texts of a record.
pub(crate) const RECORD_HEADER_BYTES: usize = 45;

/// The longest identifier, in bytes: what its length field can say.
pub(crate) const ID_BYTES_MAX: usize = u16::MAX as usize;

const FLAG_KEY: u8 = 1;

/// An event as a record of the journal, whose sequence is the event's offset; little endian:
///
/// | offset | bytes | content |
/// |---:|---:|---|
/// | 0 | 1 | version, 1 |
/// | 1 | 1 | flags: 1 when there is a key, other bits 0 |
/// | 2 | 8 | time of arrival, milliseconds since 1970 |
/// | 10 | 8 | lane |
/// | 18 | 8 | fingerprint |
/// | 26 | 16 | key, 0 when there is none |
/// | 42 | 1 | length of the tenant's name |
/// | 43 | 2 | length of the identifier |
/// | 45 | | tenant's name, identifier, envelope |
///
/// What every reader needs stands at fixed places before what only some need; the envelope is the rest of the record.
/// The identifier is in the envelope too, but to find it there takes the schema, which the log does not know.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Record<'a> {
    pub(crate) tenant: &'a str,
    pub(crate) received_at: Timestamp,
    pub(crate) lane: Lane,
    pub(crate) key: Option<EventKey>,
    pub(crate) fingerprint: u64,
    pub(crate) id: &'a str,
    pub(crate) envelope: &'a [u8],
}

/// Why bytes are not a record.
#[derive(Clone, Copy, Debug, PartialEq, Eq, thiserror::Error)]
pub(crate) enum RecordError {
    #[error("record has version {0}, which this program does not know: use a newer one")]
    UnknownVersion(u8),
    #[error("record is shorter than its parts")]
    Short,
    #[error("record has unknown flags")]
    Flags,
    #[error("record has a text that is not UTF-8")]
    Text,
}

impl<'a> Record<'a> {
    /// Returns the length of the encoded record.
    pub(crate) fn encoded_bytes(&self) -> usize {
        [self.tenant.len(), self.id.len(), self.envelope.len()]
            .into_iter()
            .fold(RECORD_HEADER_BYTES, usize::saturating_add)
    }

    /// Appends the record to `out`; `None`, with nothing appended, if a text is longer than the layout can say.
    pub(crate) fn encode(&self, out: &mut Vec<u8>) -> Option<()> {
        let tenant_bytes = u8::try_from(self.tenant.len()).ok()?;
        let id_bytes = u16::try_from(self.id.len()).ok()?;
        out.reserve(self.encoded_bytes());
        out.extend_from_slice(&[RECORD_VERSION, if self.key.is_some() { FLAG_KEY } else { 0 }]);
        out.extend_from_slice(&self.received_at.as_millis().to_le_bytes());
        out.extend_from_slice(&self.lane.0.to_le_bytes());
        out.extend_from_slice(&self.fingerprint.to_le_bytes());
        out.extend_from_slice(&self.key.map_or(0, |key| key.0).to_le_bytes());
        out.push(tenant_bytes);
        out.extend_from_slice(&id_bytes.to_le_bytes());
        out.extend_from_slice(self.tenant.as_bytes());
        out.extend_from_slice(self.id.as_bytes());
        out.extend_from_slice(self.envelope);
        Some(())
    }

    /// Reads a record.
    pub(crate) fn decode(bytes: &'a [u8]) -> Result<Self, RecordError> {
        let (&version, rest) = bytes.split_first().ok_or(RecordError::Short)?;
        if version != RECORD_VERSION {
            return Err(RecordError::UnknownVersion(version));
        }
        let mut rest = rest;
        let [flags] = take(&mut rest)?;
        let received_at = Timestamp::from_millis(i64::from_le_bytes(take(&mut rest)?));
        let lane = Lane(u64::from_le_bytes(take(&mut rest)?));
        let fingerprint = u64::from_le_bytes(take(&mut rest)?);
        let key = u128::from_le_bytes(take(&mut rest)?);
        let [tenant_bytes] = take(&mut rest)?;
        let id_bytes = u16::from_le_bytes(take(&mut rest)?);
        let key = match flags {
            0 if key == 0 => None,
            FLAG_KEY => Some(EventKey(key)),
            _ => return Err(RecordError::Flags),
        };
        let tenant = take_text(&mut rest, usize::from(tenant_bytes))?;
        let id = take_text(&mut rest, usize::from(id_bytes))?;
        Ok(Self { tenant, received_at, lane, key, fingerprint, id, envelope: rest })
    }
}

fn take<const N: usize>(rest: &mut &[u8]) -> Result<[u8; N], RecordError> {
    let (first, behind) = rest.split_first_chunk().ok_or(RecordError::Short)?;
    *rest = behind;
    Ok(*first)
}

fn take_text<'a>(rest: &mut &'a [u8], bytes: usize) -> Result<&'a str, RecordError> {
    let (text, behind) = rest.split_at_checked(bytes).ok_or(RecordError::Short)?;
    *rest = behind;
    std::str::from_utf8(text).map_err(|_| RecordError::Text)
}

#[cfg(test)]
mod tests {
    use proptest::prelude::*;

    use super::*;

    fn record() -> Record<'static> {
        Record {
            tenant: "default",
            received_at: Timestamp::from_millis(-5),
            lane: Lane(7),
            key: Some(EventKey(0)),
            fingerprint: 9,
            id: "id",
            envelope: b"envelope",
        }
    }

    fn encoded(record: &Record<'_>) -> Vec<u8> {
        let mut bytes = Vec::new();
        record.encode(&mut bytes).expect("encoded");
        bytes
    }

    #[test]
    fn the_layout_is_the_documented_one() {
        let bytes = encoded(&record());
        let fields = bytes.split_at(RECORD_HEADER_BYTES);
        assert_eq!(fields.1, b"defaultidenvelope");
        assert_eq!(fields.0[..10], [1, 1, 251, 255, 255, 255, 255, 255, 255, 255]);
        assert_eq!((fields.0[10], fields.0[18]), (7, 9));
        assert_eq!(fields.0[42..], [7, 2, 0]);
    }

    #[test]
    fn what_is_not_a_record_is_told_apart() {
        let bytes = encoded(&record());
        let check = |at: usize, value: u8, expected| {
            let mut changed = bytes.clone();
            changed[at] = value;
            assert_eq!(Record::decode(&changed), Err(expected), "byte {at}");
        };
        check(0, 2, RecordError::UnknownVersion(2));
        check(1, 2, RecordError::Flags);
        check(43, 200, RecordError::Short);
        check(RECORD_HEADER_BYTES, 0xFF, RecordError::Text);
        let keyless_with_key = encoded(&Record { key: Some(EventKey(1)), ..record() });
        let mut changed = keyless_with_key;
        changed[1] = 0;
        assert_eq!(Record::decode(&changed), Err(RecordError::Flags));
        for length in 0..RECORD_HEADER_BYTES + 9 {
            assert_eq!(Record::decode(&bytes[..length]), Err(RecordError::Short), "{length}");
        }
    }

    #[test]
    fn a_text_longer_than_its_length_field_can_say_is_refused() {
        let longest = "x".repeat(ID_BYTES_MAX);
        assert_eq!(
            encoded(&Record { id: &longest, ..record() }).len(),
            RECORD_HEADER_BYTES + 7 + ID_BYTES_MAX + 8
        );
        let longer = longest + "x";
        assert_eq!(Record { id: &longer, ..record() }.encode(&mut Vec::new()), None);
    }

    proptest! {
        #[test]
        fn records_round_trip(
            tenant in "[a-z]{1,64}", received_at: i64, lane: u64, key: Option<u128>,
            fingerprint: u64, id in "\\PC{0,80}",
            envelope in prop::collection::vec(any::<u8>(), 0..400),
        ) {
            let record = Record {
                tenant: &tenant,
                received_at: Timestamp::from_millis(received_at),
                lane: Lane(lane),
                key: key.map(EventKey),
                fingerprint,
                id: &id,
                envelope: &envelope,
            };
            let bytes = encoded(&record);
            prop_assert_eq!(bytes.len(), record.encoded_bytes());
            prop_assert_eq!(Record::decode(&bytes), Ok(record));
        }

        #[test]
        fn any_bytes_are_read_in_order(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
            if let Ok(record) = Record::decode(&bytes) {
                prop_assert_eq!(encoded(&record), bytes);
            }
        }
    }
}
