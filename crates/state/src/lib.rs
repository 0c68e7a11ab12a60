//! The state database: what people configure and what must be remembered about it.
//!
//! SQLite in the data folder, or PostgreSQL; the same schema and the same statements on both. This crate runs
//! statements and migrations. What the tables mean is known to the crates that own them.

mod database;
mod error;
mod migrations;
#[cfg(any(test, feature = "testing"))]
mod testing;
#[cfg(test)]
mod tests;
mod value;

pub use database::{Database, StateUrl};
pub use error::StateError;
#[cfg(any(test, feature = "testing"))]
pub use testing::PostgresCluster;
pub use value::{Row, Statement, Value};
