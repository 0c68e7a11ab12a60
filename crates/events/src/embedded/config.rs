//! What an owner can choose.

use std::time::Duration;

use journal::Durability;

/// The limits of an [`EmbeddedLog`](crate::EmbeddedLog).
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct EmbeddedConfig {
    /// What it means that an event is durable.
    pub durability: Durability,
    /// A new segment is begun once the current one has this many bytes. Segments are removed as a whole.
    pub segment_bytes_max: u64,
    /// The longest envelope, in bytes.
    pub event_bytes_max: usize,
    /// Most events that wait for the disk. A batch of more is refused however little waits.
    pub in_flight_events_max: usize,
    /// Most bytes of events that wait for the disk. A batch of more is refused however little waits.
    pub in_flight_bytes_max: usize,
    /// How long events are kept; `None` keeps them until [`bytes_max`](Self::bytes_max) is reached.
    pub retention: Option<Duration>,
    /// Most bytes of the log on disk; `None` for as many as there is room for. Exceeded by what is in flight at most.
    pub bytes_max: Option<u64>,
    /// How long a key is remembered. Events younger than this are kept, whatever the other limits say.
    pub deduplication_window: Duration,
}

impl Default for EmbeddedConfig {
    /// Returns a log that syncs, keeps a week in segments of 64 MiB, and remembers keys for 10 minutes.
    fn default() -> Self {
        Self {
            durability: Durability::Fsync,
            segment_bytes_max: 64 << 20,
            event_bytes_max: 1 << 20,
            in_flight_events_max: 100_000,
            in_flight_bytes_max: 64 << 20,
            retention: Some(Duration::from_hours(168)),
            bytes_max: None,
            deduplication_window: Duration::from_mins(10),
        }
    }
}
