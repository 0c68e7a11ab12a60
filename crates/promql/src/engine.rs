//! The query engine: evaluates an expression at one time or at many.

use model::{Cancellation, Labels, SampleColumns, SeriesSource, SourceError, Timestamp};

use crate::ast::{Expr, ExprKind, ValueType};
use crate::eval::{
    Evaluator, Grid, OwnedRow, QueryTimes, duplicate_labelset, has_value, is_absent, settle,
    strip_parens, without_metric_identity,
};
use crate::value::{MatrixSeries, QueryOutcome, QueryValue, VectorSample};

/// What the engine assumes and allows.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct EngineConfig {
    /// How far back an instant selector looks for a sample, exclusive.
    pub lookback_ms: i64,
    /// Most samples that one query may read from the source or hold at once.
    pub samples_max: u64,
    /// Most steps of a range query; as in Prometheus, the first point is none.
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
    /// The times of the query make no sense, or the expression cannot be evaluated at more than one.
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
        let time = at.as_millis();
        let times = QueryTimes { start: time, end: time, step: 0 };
        let evaluator = Evaluator::new(source, &self.config, times, cancellation);
        let grid = Grid::at(time);
        let value = match expr.value_type() {
            ValueType::Scalar => {
                let value = evaluator.scalar(expr, &grid)?.first().copied().unwrap_or(f64::NAN);
                QueryValue::Scalar { timestamp: at, value }
            }
            ValueType::String => QueryValue::String { timestamp: at, value: text_of(expr) },
            ValueType::InstantVector => QueryValue::Vector(vector_at(&evaluator, expr, at)?),
            ValueType::RangeVector => QueryValue::Matrix(samples_at(&evaluator, expr, &grid)?),
        };
        Ok(self.outcome(value, evaluator, text))
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
        let grid = self.grid(range)?;
        let times = QueryTimes {
            start: range.start.as_millis(),
            end: range.end.as_millis(),
            step: range.step_ms,
        };
        let evaluator = Evaluator::new(source, &self.config, times, cancellation);
        let rows = match expr.value_type() {
            ValueType::Scalar => {
                let values = evaluator.scalar(expr, &grid)?;
                vec![OwnedRow { labels: Labels::empty(), drop_name: false, values }]
            }
            ValueType::InstantVector => settle(evaluator.collect(expr, &grid)?.0)?,
            other => {
                let found = other.as_str();
                return Err(QueryError::InvalidRange {
                    reason: format!(
                        "invalid expression type \"{found}\" for range query, must be Scalar or \
                         instant Vector"
                    ),
                });
            }
        };
        let value = QueryValue::Matrix(matrix_of(rows, &grid));
        Ok(self.outcome(value, evaluator, text))
    }

    fn outcome(&self, value: QueryValue, evaluator: Evaluator<'_>, text: &str) -> QueryOutcome {
        let (remarks, samples_read) = evaluator.finish();
        let annotations = remarks.finish(text, self.config.annotations_max);
        QueryOutcome { value, annotations, samples_read }
    }

    fn grid(&self, range: QueryRange) -> Result<Grid, QueryError> {
        let invalid = |reason: &str| QueryError::InvalidRange { reason: reason.to_owned() };
        let length = range.end.millis_since(range.start);
        if range.step_ms <= 0 {
            return Err(invalid(
                "zero or negative query resolution step widths are not accepted. Try a positive \
                 integer",
            ));
        }
        if length < 0 {
            return Err(invalid("end timestamp must not be before start time"));
        }
        let steps = usize::try_from(length / range.step_ms).unwrap_or(usize::MAX);
        let steps_max = self.config.points_per_series_max;
        if steps > steps_max {
            return Err(QueryError::InvalidRange {
                reason: format!(
                    "exceeded maximum resolution of {} points per timeseries. Try decreasing the \
                     query resolution (?step=XX)",
                    grouped(steps_max),
                ),
            });
        }
        let count = steps.saturating_add(1);
        Ok(Grid { start: range.start.as_millis(), step: range.step_ms, count })
    }
}

/// Returns a number with commas between thousands.
fn grouped(number: usize) -> String {
    let digits = number.to_string();
    let mut text = String::with_capacity(digits.len() + digits.len() / 3);
    for (index, digit) in digits.chars().enumerate() {
        if index > 0 && (digits.len() - index).is_multiple_of(3) {
            text.push(',');
        }
        text.push(digit);
    }
    text
}

fn text_of(expr: &Expr) -> String {
    match &strip_parens(expr).kind {
        ExprKind::String(text) => text.clone(),
        _ => String::new(),
    }
}

fn vector_at(
    evaluator: &Evaluator<'_>,
    expr: &Expr,
    timestamp: Timestamp,
) -> Result<Vec<VectorSample>, QueryError> {
    let grid = Grid::at(timestamp.as_millis());
    let rows = settle(evaluator.collect(expr, &grid)?.0)?;
    let sample = |row: OwnedRow| {
        let value = row.values.first().copied().filter(|value| !is_absent(*value))?;
        Some(VectorSample { labels: row.labels, timestamp, value })
    };
    Ok(rows.into_iter().filter_map(sample).collect())
}

/// Returns the samples of a range vector as they are.
fn samples_at(
    evaluator: &Evaluator<'_>,
    expr: &Expr,
    grid: &Grid,
) -> Result<Vec<MatrixSeries>, QueryError> {
    if let ExprKind::Matrix(matrix) = &strip_parens(expr).kind
        && matrix.selector.extension.is_some()
    {
        let feature = "the modifier 'anchored' or 'smoothed' without a function".to_owned();
        return Err(QueryError::Unsupported { feature });
    }
    let mut matrix = Vec::new();
    evaluator.raw_series(expr, grid, &mut |series, _| {
        evaluator.hold(series.timestamps.len())?;
        let labels = if series.drop_name {
            without_metric_identity(series.labels)
        } else {
            series.labels.clone()
        };
        let mut points = SampleColumns::new();
        points.extend_from_slices(series.timestamps, series.values);
        matrix.push(MatrixSeries { labels, points });
        Ok(())
    })?;
    matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
    if matrix.windows(2).any(|pair| pair[0].labels == pair[1].labels) {
        return Err(duplicate_labelset());
    }
    Ok(matrix)
}

fn matrix_of(rows: Vec<OwnedRow>, grid: &Grid) -> Vec<MatrixSeries> {
    let times: Vec<i64> = (0..grid.count).map(|index| grid.time(index)).collect();
    let mut matrix: Vec<MatrixSeries> = rows
        .into_iter()
        .filter(|row| has_value(&row.values))
        .map(|row| {
            let mut points = SampleColumns::new();
            // Runs of present values are copied at once: most series have a value at every step.
            let mut start = 0;
            for run in row.values.split(|value| is_absent(*value)) {
                let end = start + run.len();
                points.extend_from_slices(&times[start..end], run);
                start = end + 1;
            }
            MatrixSeries { labels: row.labels, points }
        })
        .collect();
    matrix.sort_by(|left, right| left.labels.cmp(&right.labels));
    matrix
}

#[cfg(test)]
mod tests;
