//! The functions: what they are called and what they take.

use crate::ast::ValueType;

/// The name, parameters and result of a function.
#[derive(Debug, PartialEq, Eq)]
pub struct Signature {
    /// The name.
    pub name: &'static str,
    /// The types of the parameters.
    pub params: &'static [ValueType],
    /// How many of the last parameters may be left out.
    pub optional: usize,
    /// Whether the last parameter may be repeated any number of times, zero included.
    pub variadic: bool,
    /// What it returns.
    pub returns: ValueType,
}
