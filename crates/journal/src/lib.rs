//! The durable append-only log: framed, checksummed, group-committed.
//!
//! A [`Journal`] keeps records, opaque bytes each, in the order in which they were appended, under contiguous
//! [`Sequence`] numbers, in segment files of one folder. It knows nothing of what the records mean.
//! The byte layout and the rules of recovery are in `docs/formats/journal.md`.

mod catalog;
mod config;
mod error;
mod frame;
mod journal;
mod progress;
mod reader;
mod recovery;
mod segment;
mod sequence;
mod writer;

pub use catalog::SegmentInfo;
pub use config::{Durability, JournalConfig, RECORD_BYTES_LIMIT};
pub use error::JournalError;
pub use journal::{Journal, JournalStats};
pub use reader::ReadEnd;
pub use recovery::{DamageKind, Recovery, SetAside, VerifyReport, verify};
pub use sequence::Sequence;
