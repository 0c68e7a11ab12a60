//! The time-series database: takes samples in, keeps them durably, finds them again by their labels.
//!
//! A log-structured merge store. The *head* holds what was received last and is covered by the journal; it is
//! cut from time to time and written as immutable *blocks*, which compaction merges. Reads see all of it as one.

mod block;
mod compaction;
mod config;
mod error;
mod hash;
mod head;
mod index;
mod pages;
mod stats;
mod store;
mod stores;
mod varint;
mod verify;
mod wal;

pub use config::StoreConfig;
pub use error::StoreError;
pub use stats::{Cardinality, Maintenance, RecoveryReport, StoreHealth, StoreStats};
pub use store::{Store, StoreActivity};
pub use stores::Stores;
pub use verify::{VerifyReport, verify};
