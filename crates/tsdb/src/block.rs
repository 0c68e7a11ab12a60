//! Immutable files of samples with an index by labels. The layout is in `docs/formats/block.md`.

mod codec;
mod index;
mod reader;
#[cfg(test)]
mod tests;
mod writer;

pub(crate) use reader::{Block, BlockSeries};
pub(crate) use writer::{BlockOrigin, BlockWriter};

/// The first and the last bytes of a file.
const MAGIC: [u8; 8] = *b"TOBLOCK1";
/// The length of a footer's fixed end: its length, its checksum and [`MAGIC`].
const TAIL_BYTES: usize = 16;
/// Bytes of a CRC-32C.
const CRC_BYTES: usize = 4;
/// Most samples in a chunk: what a read of a single sample has to decode.
const CHUNK_SAMPLES_MAX: usize = 1 << 15;
/// Most bytes of an unpacked section of the index.
const SECTION_BYTES_MAX: u64 = u32::MAX as u64;
/// Most bytes of a footer.
const FOOTER_BYTES_MAX: usize = 1 << 20;

/// The parts of an index, in the order in which they are in the file.
const SECTIONS: usize = 4;
const SECTION_PAIRS: usize = 0;
const SECTION_POSTINGS: usize = 1;
const SECTION_COLUMNS: usize = 2;
const SECTION_SERIES: usize = 3;

/// What a block says about itself.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct BlockMeta {
    /// The times of the oldest and the newest sample, in milliseconds.
    pub(crate) oldest: i64,
    pub(crate) newest: i64,
    pub(crate) samples: u64,
    pub(crate) series: u64,
    /// How often its samples were merged: 0 when they come from the head.
    pub(crate) level: u32,
    /// The length of the file, in bytes.
    pub(crate) bytes: u64,
    /// The position in the journal up to which it was written; only its writer knows what it means.
    pub(crate) journal: u64,
    /// The names of the blocks that were merged to it.
    pub(crate) sources: Vec<String>,
}
