//! Running a script.
//!
//! As Prometheus does, an instant evaluation is repeated as the middle of a range query, and with all its
//! selectors pinned by `@`, then also at other times.

use model::{Cancellation, Timestamp};
use promql::ast::{AtModifier, Expr, ExprKind};
use promql::{Engine, EngineConfig, QueryError, QueryOutcome, QueryRange, QueryValue, parse};

use crate::check;
use crate::script::{self, Command, Evaluation, Times};
use crate::store::{HISTOGRAM_SAMPLE, Store};

/// How a script went.
#[derive(Debug, Default)]
pub(crate) struct Report {
    pub(crate) passed: usize,
    pub(crate) total: usize,
    pub(crate) failures: Vec<Failure>,
}

/// An evaluation that differs from what is expected.
#[derive(Debug)]
pub(crate) struct Failure {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) message: String,
}

impl Failure {
    /// Returns the beginning of the message.
    pub(crate) fn brief(&self) -> &str {
        let end = self.message.char_indices().nth(160).map_or(self.message.len(), |(end, _)| end);
        &self.message[..end]
    }
}

/// Runs a script.
pub(crate) fn run(text: &str) -> Report {
    let engine = Engine::new(EngineConfig { annotations_max: 1000, ..EngineConfig::default() });
    let mut store = Store::default();
    let mut report = Report::default();
    for command in script::parse(text) {
        match command {
            Ok(Command::Clear) => store = Store::default(),
            Ok(Command::Load { step_ms, series: loaded, with_histograms }) => {
                for (index, series) in loaded.iter().enumerate() {
                    // Within one load the last line of a series counts.
                    let is_repeated =
                        loaded[index + 1..].iter().any(|later| later.labels == series.labels);
                    if is_repeated {
                        continue;
                    }
                    store.load(step_ms, series);
                    if with_histograms {
                        store.load_as_histogram(step_ms, series);
                    }
                }
            }
            Ok(Command::Evaluate(evaluation)) => {
                report.total += 1;
                match evaluate(&engine, &store, &evaluation) {
                    Ok(()) => report.passed += 1,
                    Err(message) => {
                        let Evaluation { line, query, .. } = *evaluation;
                        report.failures.push(Failure { line, query, message });
                    }
                }
            }
            Err((line, message)) => {
                report.total += 1;
                report.failures.push(Failure { line, query: "script".to_owned(), message });
            }
        }
    }
    report
}

fn evaluate(engine: &Engine, store: &Store, evaluation: &Evaluation) -> Result<(), String> {
    let expected = &evaluation.expectation;
    let expr = match parse(&evaluation.query) {
        Ok(expr) => expr,
        Err(error) => return check_failure(evaluation, &error.to_string()),
    };
    let ask = Ask { engine, store, text: &evaluation.query };
    match evaluation.times {
        Times::Range { start, end, step } => match ask.range(&expr, start, end, step) {
            Err(error) => check_query_failure(evaluation, &error),
            Ok(_) if expected.fails.is_some() => Err("expected a failure".to_owned()),
            Ok(outcome) => {
                check::check_annotations(expected, &outcome)?;
                let QueryValue::Matrix(matrix) = &outcome.value else {
                    return Err(format!("expected a matrix, got {:?}", outcome.value));
                };
                check::check_matrix(&expected.series, matrix, start, step)
            }
        },
        Times::Instant(time) => match ask.instant(&expr, time) {
            Err(error) => check_query_failure(evaluation, &error),
            Ok(_) if expected.fails.is_some() => Err("expected a failure".to_owned()),
            Ok(outcome) => {
                check::check_annotations(expected, &outcome)?;
                check::check_instant(expected, &outcome.value)?;
                repeat(&ask, evaluation, &expr, time)
            }
        },
    }
}

/// Checks that other ways to ask the same give the same.
fn repeat(ask: &Ask<'_>, evaluation: &Evaluation, expr: &Expr, time: i64) -> Result<(), String> {
    let expected = &evaluation.expectation;
    let depends_on_range =
        ["step()", "range()", "start()", "end()"].iter().any(|call| ask.text.contains(call));
    if depends_on_range || expected.text.is_some() {
        return Ok(());
    }
    let mut pinned = expr.clone();
    let is_invariant = pin(&mut pinned, time);
    let times: &[i64] =
        if is_invariant { &[time, 0, time / 5, time * 10, -time * 10] } else { &[time] };
    for at in times {
        let outcome = ask.instant(&pinned, *at).map_err(|error| format!("pinned: {error}"))?;
        check::check_instant(expected, &outcome.value)
            .map_err(|error| format!("pinned at {at} ms: {error}"))?;
    }
    if expected.range_vector.is_some() {
        return Ok(());
    }
    let outcome = ask
        .range(expr, time - 60_000, time + 60_000, 60_000)
        .map_err(|error| format!("as range query: {error}"))?;
    let QueryValue::Matrix(matrix) = &outcome.value else {
        return Err(format!("as range query: expected a matrix, got {:?}", outcome.value));
    };
    if !matrix.windows(2).all(|pair| pair[0].labels < pair[1].labels) {
        return Err("as range query: not sorted".to_owned());
    }
    check::check_step(expected, matrix, time).map_err(|error| format!("as range query: {error}"))
}

/// Pins everything that reads samples outside of subqueries to a time, and returns whether the value is then
/// the same whenever it is asked for.
fn pin(expr: &mut Expr, time: i64) -> bool {
    let at = Some(AtModifier::Timestamp(time));
    match &mut expr.kind {
        ExprKind::Number(_) | ExprKind::String(_) => true,
        ExprKind::Paren(inner) | ExprKind::Unary(_, inner) => pin(inner, time),
        ExprKind::Binary(binary) => {
            let left = pin(&mut binary.left, time);
            pin(&mut binary.right, time) && left
        }
        ExprKind::Aggregate(aggregate) => {
            let param = aggregate.param.as_mut().is_none_or(|param| pin(param, time));
            pin(&mut aggregate.expr, time) && param
        }
        ExprKind::Call(call) => {
            let depends_on_time = matches!(
                call.function.name,
                "time"
                    | "timestamp"
                    | "predict_linear"
                    | "minute"
                    | "hour"
                    | "month"
                    | "year"
                    | "day_of_month"
                    | "day_of_week"
                    | "day_of_year"
                    | "days_in_month"
            );
            // The second argument of `info` is a list of matchers, not a selector.
            let count = if call.function.name == "info" { 1 } else { call.args.len() };
            let args: Vec<bool> =
                call.args.iter_mut().take(count).map(|arg| pin(arg, time)).collect();
            !depends_on_time && args.into_iter().all(|is_invariant| is_invariant)
        }
        ExprKind::Vector(selector) => {
            selector.at = selector.at.or(at);
            true
        }
        ExprKind::Matrix(matrix) => {
            matrix.selector.at = matrix.selector.at.or(at);
            true
        }
        ExprKind::Subquery(subquery) => {
            subquery.at = subquery.at.or(at);
            true
        }
    }
}

fn check_query_failure(evaluation: &Evaluation, error: &QueryError) -> Result<(), String> {
    let message = error.to_string();
    if matches!(error, QueryError::Unsupported { .. }) || message.contains(HISTOGRAM_SAMPLE) {
        return Err(message);
    }
    check_failure(evaluation, &message)
}

fn check_failure(evaluation: &Evaluation, message: &str) -> Result<(), String> {
    match &evaluation.expectation.fails {
        Some(text) if text.accepts(message) => Ok(()),
        Some(text) => Err(format!("expected the failure {text:?}, got '{message}'")),
        None => Err(message.to_owned()),
    }
}

struct Ask<'a> {
    engine: &'a Engine,
    store: &'a Store,
    text: &'a str,
}

impl Ask<'_> {
    fn instant(&self, expr: &Expr, time: i64) -> Result<QueryOutcome, QueryError> {
        let at = Timestamp::from_millis(time);
        self.engine.query_instant(self.store, self.text, expr, at, &Cancellation::never())
    }

    fn range(
        &self,
        expr: &Expr,
        start: i64,
        end: i64,
        step_ms: i64,
    ) -> Result<QueryOutcome, QueryError> {
        let range = QueryRange {
            start: Timestamp::from_millis(start),
            end: Timestamp::from_millis(end),
            step_ms,
        };
        self.engine.query_range(self.store, self.text, expr, range, &Cancellation::never())
    }
}
