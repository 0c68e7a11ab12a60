//! Events: from a request to a durable log, once each, and from there to consumers.
//!
//! An [`EventLog`] keeps events in the order in which they were accepted; it is embedded in the program or on NATS
//! JetStream, and both pass the same contract tests. A [`Consumer`] reads it with a durable position of its own.
//! What cannot be processed ends in [`DeadLetters`].

mod consumer;
#[cfg(any(test, feature = "testing"))]
pub mod contract;
mod custom_schemas;
mod dead_letter;
#[expect(dead_code, reason = "its files stand on it")]
mod deduplication;
mod embedded;
mod entry;
mod filter;
mod gateway;
mod log;
mod tail;
mod workers;

pub use consumer::{Body, Consumer, ConsumerConfig, Delivery, FetchLimits, Settlement};
pub use custom_schemas::{
    CustomSchema, CustomSchemaError, CustomSchemas, SCHEMA_BYTES_MAX, SCHEMAS_PER_TENANT_MAX,
    SchemaMode, SchemaTextError, Verdict,
};
pub use dead_letter::{
    DeadLetter, DeadLetterDepth, DeadLetterId, DeadLetterPage, DeadLetterQuery, DeadLetterState,
    DeadLetters, NewDeadLetter,
};
pub use embedded::{
    DeadLettersConfig, DeadLettersMaintenance, DeadLettersOpening, DeadLettersStats,
    EmbeddedConfig, EmbeddedDeadLetters, EmbeddedLog, LogMaintenance, LogOpening, LogVerifyReport,
    OpenError, verify,
};
pub use entry::{Batch, Entry, EventKey, Lane, NewEvent, Offset};
pub use filter::{EventFilter, JsonPath, PATH_BYTES_MAX, PathError};
pub use gateway::{
    EnvelopeMemory, EventResult, GATEWAY, Gateway, GatewaySettings, GatewayStats, KindCount,
    Prepared, Refused, Source,
};
pub use log::{Bounds, EventLog, LogError, LogStats, Outcome, Page, ReadLimits};
pub use tail::{Tail, TailBatch, TailEvent, Tails};
pub use workers::{Handler, HandlerError, WorkerParts, WorkerSettings, WorkerStats, Workers};
