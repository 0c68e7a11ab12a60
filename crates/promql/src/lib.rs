//! PromQL over any series source.
//!
//! [`parse`] turns a text into a tree, and an [`Engine`] evaluates the tree at one time or at many, with
//! Prometheus' semantics: experimental functions are on, `@` and negative offsets are allowed, metric names are
//! removed at the end of an evaluation. Native histograms are not supported: what needs them is
//! [`QueryError::Unsupported`].

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
