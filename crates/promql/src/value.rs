//! What a query returns.

use model::{Labels, SampleColumns, Timestamp};

use crate::annotations::Annotations;

/// The answer to a query with what was noticed on the way.
#[derive(Clone, Debug)]
pub struct QueryOutcome {
    /// The answer.
    pub value: QueryValue,
    /// Warnings and remarks for whoever asked.
    pub annotations: Annotations,
    /// How many samples were read from the source.
    pub samples_read: u64,
}

/// The answer to a query.
#[derive(Clone, Debug)]
pub enum QueryValue {
    /// One number.
    Scalar {
        /// When it holds.
        timestamp: Timestamp,
        /// The number.
        value: f64,
    },
    /// A text.
    String {
        /// When it was asked for.
        timestamp: Timestamp,
        /// The text.
        value: String,
    },
    /// One value per series. In the order of the query (`sort`, `topk`), otherwise in no promised one.
    Vector(Vec<VectorSample>),
    /// Several values per series, ascending by labels; no series is without points.
    Matrix(Vec<MatrixSeries>),
}

/// The value of a series at one time.
#[derive(Clone, Debug)]
pub struct VectorSample {
    /// The series; empty for what has no labels left.
    pub labels: Labels,
    /// The time of the evaluation, not that of the sample which it is made from.
    pub timestamp: Timestamp,
    /// The value; never the staleness marker.
    pub value: f64,
}

/// The values of a series over time.
#[derive(Clone, Debug)]
pub struct MatrixSeries {
    /// The series; empty for what has no labels left.
    pub labels: Labels,
    /// At least one point.
    pub points: SampleColumns,
}
