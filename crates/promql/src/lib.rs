//! PromQL over any series source.

pub mod ast;
pub mod functions;
