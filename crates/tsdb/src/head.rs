//! The samples that were received last, in memory.

mod generation;
mod open_chunk;

pub(crate) use generation::{Applied, Generation, Snapshot};
pub(crate) use open_chunk::MIN_TIME;
