//! The query engine: evaluates an expression at one time or at many.

use model::{Cancellation, SeriesSource, SourceError, Timestamp};

use crate::ast::Expr;
use crate::value::QueryOutcome;

/// What the engine assumes and allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How far back an instant selector looks for a sample, exclusive.
    pub lookback_ms: i64,
    /// Most samples that one query may read from the source or hold at once.
    pub samples_max: u64,
    /// Most steps of a query or subquery.
    pub points_per_series_max: usize,
    /// The distance of the evaluations of a subquery that gives none.
    pub subquery_step_ms: i64,
    /// Most warnings, and most infos, that are returned; one more says how many were left out.
    pub annotations_max: usize,
}

impl Default for EngineConfig {
    /// As Prometheus.
    fn default() -> Self {
        Self {
            lookback_ms: 300_000,
            samples_max: 50_000_000,
            points_per_series_max: 11_000,
            subquery_step_ms: 60_000,
            annotations_max: 10,
        }
    }
}

/// The times of a range query: `start`, `start + step`, … up to and including `end`.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct QueryRange {
    /// The first time.
    pub start: Timestamp,
    /// No time is after this one.
    pub end: Timestamp,
    /// The distance of the times; positive.
    pub step_ms: i64,
}

/// Why a query has no answer.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum QueryError {
    /// The query is valid, but needs what this engine does not have.
    #[error("{feature} is not supported")]
    Unsupported {
        /// What it needs.
        feature: String,
    },
    /// The times of the query make no sense.
    #[error("{reason}")]
    InvalidRange {
        /// What is wrong with them.
        reason: String,
    },
    /// The expression cannot be evaluated on this data.
    #[error("{message}")]
    Execution {
        /// As Prometheus words it.
        message: String,
    },
    /// The query reads or holds too much.
    #[error(
        "query processing would load too many samples into memory in query execution, the limit is {limit}"
    )]
    TooManySamples {
        /// How much it may.
        limit: u64,
    },
    /// Whoever asked went away.
    #[error("query was cancelled")]
    Cancelled,
    /// The time limit passed.
    #[error("query timed out in expression evaluation")]
    Timeout,
    /// The data could not be read.
    #[error("{reason}")]
    Storage {
        /// What happened.
        reason: String,
    },
}

impl From<SourceError> for QueryError {
    fn from(error: SourceError) -> Self {
        match error {
            SourceError::Cancelled => Self::Cancelled,
            SourceError::Timeout => Self::Timeout,
            SourceError::Storage { .. } => Self::Storage { reason: error.to_string() },
        }
    }
}

/// Evaluates parsed queries over any series source. Holds no state between queries.
#[derive(Clone, Debug, Default)]
pub struct Engine {
    config: EngineConfig,
}

impl Engine {
    /// Returns an engine with these assumptions and limits.
    #[must_use]
    pub const fn new(config: EngineConfig) -> Self {
        Self { config }
    }

    /// Returns the assumptions and limits.
    #[must_use]
    pub const fn config(&self) -> &EngineConfig {
        &self.config
    }

    /// Evaluates `expr`, which was parsed from `text`, at one time. Blocks while the source reads.
    ///
    /// `text` serves only to say where annotations belong to.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn query_instant(
        &self,
        source: &dyn SeriesSource,
        text: &str,
        expr: &Expr,
        at: Timestamp,
        cancellation: &Cancellation,
    ) -> Result<QueryOutcome, QueryError> {
        let _ = (source, text, expr, at);
        cancellation.check()?;
        Err(QueryError::Unsupported { feature: "evaluation".to_owned() })
    }

    /// Evaluates `expr`, which was parsed from `text`, at the times of `range`. Blocks while the source reads.
    ///
    /// `text` serves only to say where annotations belong to. The answer is a matrix.
    ///
    /// # Errors
    ///
    /// See [`QueryError`].
    pub fn query_range(
        &self,
        source: &dyn SeriesSource,
        text: &str,
        expr: &Expr,
        range: QueryRange,
        cancellation: &Cancellation,
    ) -> Result<QueryOutcome, QueryError> {
        let _ = (source, text, expr, range);
        cancellation.check()?;
        Err(QueryError::Unsupported { feature: "evaluation".to_owned() })
    }
}
