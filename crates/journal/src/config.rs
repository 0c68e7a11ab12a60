//! What an owner can choose.

/// The longest record that the format allows, in bytes: what a reader is ever willing to hold in memory.
pub const RECORD_BYTES_LIMIT: usize = 64 << 20;

/// When a record counts as durable.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Durability {
    /// Once the disk has it: it survives a power loss.
    Fsync,
    /// Once the operating system has it: it survives the end of the process, but not a power loss.
    Os,
}

/// The limits of a journal.
#[derive(Clone, Copy, Debug)]
pub struct JournalConfig {
    /// A new segment is begun once the current one has this many bytes. A commit is never split, so a segment
    /// can be longer by one commit, at most `pending_bytes_max`.
    pub segment_bytes_max: u64,
    /// The longest record, in bytes; at most [`RECORD_BYTES_LIMIT`] whatever is set here.
    pub record_bytes_max: usize,
    /// The most that may be queued and not yet handed to a commit, in bytes, frame headers included.
    pub pending_bytes_max: usize,
    /// When a record counts as durable.
    pub durability: Durability,
}

impl Default for JournalConfig {
    /// Returns segments of 64 MiB, records of up to 16 MiB, a queue of 64 MiB, and [`Durability::Fsync`].
    fn default() -> Self {
        Self {
            segment_bytes_max: 64 << 20,
            record_bytes_max: 16 << 20,
            pending_bytes_max: 64 << 20,
            durability: Durability::Fsync,
        }
    }
}
