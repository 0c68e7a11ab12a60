//! Remarks on a query that do not make it fail.

/// Remarks in the order in which they were first made, each once.
///
/// Their texts are those of Prometheus and end with the position in the query: `… (1:6)`.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Annotations {
    /// The answer is probably not what was meant.
    pub warnings: Vec<String>,
    /// The answer is possibly not what was meant.
    pub infos: Vec<String>,
}
