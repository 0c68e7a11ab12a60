//! PromQL over any series source.

pub mod ast;
pub mod functions;

mod annotations;
mod engine;
mod eval;
mod numeric;
mod time;
mod value;

pub use annotations::Annotations;
pub use engine::{Engine, EngineConfig, QueryError, QueryRange};
pub use value::{MatrixSeries, QueryOutcome, QueryValue, VectorSample};
