//! The protobuf package `causality.v1`: binary and JSON forms of events, and what a valid event is.
//!
//! An event stays in its binary form from the request to the log: [`envelope_from_json`] writes it, [`inspect`] checks
//! it and borrows from it, [`set_string`] adds to it. Tables made from `proto/` at build time guide all of that, so that
//! a field is defined in one place. Why not with generated types: `docs/adr/0013-own-event-codec.md`.

mod kind;
mod table;

mod message;
mod number;
mod wire;

mod from_json;
mod inspect;
mod subject;
mod to_json;

pub mod requests;

pub use from_json::{JsonError, envelope_from_json};
pub use inspect::{
    APP_ID_BYTES_MAX, Event, ID_FIELD, IDEMPOTENCY_KEY_FIELD, Invalid, Limits, TIMESTAMP_MS_FIELD,
    Violation, inspect,
};
pub use kind::PayloadKind;
pub use subject::subject;
pub use to_json::{envelope_to_json, payload_to_json};
pub use wire::{Malformed, set_int64, set_string};
