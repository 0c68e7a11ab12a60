//! The event log on NATS JetStream.
//!
//! [`connect`] returns a [`JetStreamLog`] and its [`JetStreamDeadLetters`]: the traits of crate `events` on the streams,
//! subjects and consumers that the original of the events part uses, so that both can share a cluster. It returns at once
//! and connects in the background, for ever if it must; until it has, everything answers that the log is unavailable and
//! [`events::EventLog::refusal`] says why.
//!
//! What order and acknowledgements cost, and what a server of NATS has to be told for them to hold when the power fails,
//! is in `docs/adr/0015-jetstream-order-and-acks.md`.

mod connection;
mod consumer;
mod dead_letters;
mod envelope;
mod log;
mod message;
mod settings;
mod streams;
#[cfg(any(test, feature = "testing"))]
pub mod testing;
#[cfg(test)]
mod tests;

pub use dead_letters::JetStreamDeadLetters;
pub use log::{JetStream, JetStreamLog, connect};
pub use settings::{
    Authentication, ClientCertificate, DeadLetterSettings, Settings, SettingsError, Storage,
    StreamSettings, TlsSettings,
};
