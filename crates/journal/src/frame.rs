//! The bytes of a segment header and of a frame.

use crate::{RECORD_BYTES_LIMIT, Sequence};

/// The first bytes of every segment.
const MAGIC: [u8; 8] = *b"TOBSJRNL";

/// The version of the layout that this program writes; see `docs/formats/journal.md`.
pub(crate) const FORMAT_VERSION: u32 = 1;

/// The length of a segment header.
pub(crate) const HEADER_BYTES: usize = 32;

/// The length of what precedes a record's body.
pub(crate) const FRAME_HEADER_BYTES: usize = 16;

/// The header of a segment, little endian:
///
/// | offset | bytes | content |
/// |---:|---:|---|
/// | 0 | 8 | magic `TOBSJRNL` |
/// | 8 | 4 | format version, 1 |
/// | 12 | 8 | `first`: the sequence of the segment's first record |
/// | 20 | 8 | `preceding`: the last sequence of the segment before |
/// | 28 | 4 | CRC32C of bytes 0–27 |
///
/// `preceding` is `first - 1`, except after a full or failing disk: the sequences between were given out and refused.
/// The version stands before what it can change, behind the magic that makes it a version at all.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct SegmentHeader {
    pub(crate) first: Sequence,
    pub(crate) preceding: Sequence,
}

/// What the beginning of a segment is.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum HeaderCheck {
    Valid(SegmentHeader),
    UnknownVersion(u32),
    Invalid,
}

impl SegmentHeader {
    pub(crate) fn encode(self) -> [u8; HEADER_BYTES] {
        let mut bytes = [0; HEADER_BYTES];
        bytes[..8].copy_from_slice(&MAGIC);
        bytes[8..12].copy_from_slice(&FORMAT_VERSION.to_le_bytes());
        bytes[12..20].copy_from_slice(&self.first.0.to_le_bytes());
        bytes[20..28].copy_from_slice(&self.preceding.0.to_le_bytes());
        let crc = crc32c::crc32c(&bytes[..28]);
        bytes[28..].copy_from_slice(&crc.to_le_bytes());
        bytes
    }

    /// Checks the header that `bytes` begin with.
    pub(crate) fn check(bytes: &[u8]) -> HeaderCheck {
        let Some((covered, crc)) = bytes.split_at_checked(HEADER_BYTES - 4) else {
            return HeaderCheck::Invalid;
        };
        if !covered.starts_with(&MAGIC) || u32_at(crc, 0) != Some(crc32c::crc32c(covered)) {
            return HeaderCheck::Invalid;
        }
        match (u32_at(covered, 8), u64_at(covered, 12), u64_at(covered, 20)) {
            (Some(FORMAT_VERSION), Some(first), Some(preceding)) if preceding < first => {
                HeaderCheck::Valid(Self { first: Sequence(first), preceding: Sequence(preceding) })
            }
            (Some(version), ..) if version != FORMAT_VERSION => {
                HeaderCheck::UnknownVersion(version)
            }
            _ => HeaderCheck::Invalid,
        }
    }
}

/// The part of a frame before the body, little endian:
///
/// | offset | bytes | content |
/// |---:|---:|---|
/// | 0 | 4 | length of the body |
/// | 4 | 4 | CRC32C of the length, the sequence and the body, in this order |
/// | 8 | 8 | sequence |
/// | 16 | length | body |
///
/// The length is covered by the checksum, so that a damaged length is not followed to a wrong next frame.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct FrameHeader {
    pub(crate) body_bytes: usize,
    crc: u32,
    pub(crate) sequence: Sequence,
}

impl FrameHeader {
    /// Reads the frame header that `bytes` begin with; `None` if it cannot be one.
    pub(crate) fn decode(bytes: &[u8]) -> Option<Self> {
        let body_bytes = usize::try_from(u32_at(bytes, 0)?).ok()?;
        let sequence = u64_at(bytes, 8)?;
        (body_bytes <= RECORD_BYTES_LIMIT && sequence > 0).then_some(Self {
            body_bytes,
            crc: u32_at(bytes, 4)?,
            sequence: Sequence(sequence),
        })
    }

    /// Returns the length of the whole frame.
    pub(crate) fn frame_bytes(self) -> usize {
        FRAME_HEADER_BYTES + self.body_bytes
    }

    /// Returns whether `body` is the one that the checksum was made of.
    pub(crate) fn covers(self, body: &[u8]) -> bool {
        u32::try_from(body.len())
            .is_ok_and(|length| checksum(length, self.sequence, body) == self.crc)
    }
}

/// Appends a frame to `out`. A body longer than a `u32` can say is refused with `None`.
pub(crate) fn encode_frame(sequence: Sequence, body: &[u8], out: &mut Vec<u8>) -> Option<()> {
    let length = u32::try_from(body.len()).ok()?;
    out.extend_from_slice(&length.to_le_bytes());
    out.extend_from_slice(&checksum(length, sequence, body).to_le_bytes());
    out.extend_from_slice(&sequence.0.to_le_bytes());
    out.extend_from_slice(body);
    Some(())
}

fn checksum(length: u32, sequence: Sequence, body: &[u8]) -> u32 {
    let mut covered = [0; 12];
    covered[..4].copy_from_slice(&length.to_le_bytes());
    covered[4..].copy_from_slice(&sequence.0.to_le_bytes());
    crc32c::crc32c_append(crc32c::crc32c(&covered), body)
}

fn u32_at(bytes: &[u8], offset: usize) -> Option<u32> {
    Some(u32::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}

fn u64_at(bytes: &[u8], offset: usize) -> Option<u64> {
    Some(u64::from_le_bytes(*bytes.get(offset..)?.first_chunk()?))
}
