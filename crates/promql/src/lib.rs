//! PromQL over any series source.

pub mod ast;
pub mod functions;

mod annotations;
mod engine;
mod eval;
mod lexer;
mod numeric;
mod parser;
mod printer;
mod time;
mod value;

pub use annotations::Annotations;
pub use engine::{Engine, EngineConfig, QueryError, QueryRange};
pub use parser::{DEPTH_MAX, ParseError, QUERY_BYTES_MAX, parse, parse_selector};
pub use value::{MatrixSeries, QueryOutcome, QueryValue, VectorSample};
