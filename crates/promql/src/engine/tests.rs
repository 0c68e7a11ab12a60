use std::sync::Arc;

use model::{
    Cancellation, Labels, Matcher, SampleColumns, Series, SeriesSource, SourceError, TimeRange,
    Timestamp, stale_nan,
};
use proptest::prelude::*;

use super::*;
use crate::ast::{
    AggregateExpr, AggregateOp, BinaryExpr, BinaryOp, CallExpr, DurationExpr, DurationKind,
    ExprKind, MatrixSelector, Span, UnaryOp, VectorSelector,
};
use crate::functions::Signature;

#[derive(Clone, Debug, Default)]
struct TestSource {
    series: Vec<TestSeries>,
}

#[derive(Clone, Debug)]
struct TestSeries {
    labels: Labels,
    samples: Vec<(i64, f64)>,
}

type TestLabels<'t> = &'t [(&'t str, &'t str)];
type TestSamples<'t> = &'t [(i64, f64)];

impl TestSource {
    fn of(series: &[(TestLabels<'_>, TestSamples<'_>)]) -> Self {
        let mut series: Vec<TestSeries> = series
            .iter()
            .map(|(labels, samples)| TestSeries {
                labels: Labels::from_pairs(labels.iter().copied()).expect("valid labels"),
                samples: samples.to_vec(),
            })
            .collect();
        series.sort_by(|left, right| left.labels.cmp(&right.labels));
        Self { series }
    }
}

impl Series for TestSeries {
    fn labels(&self) -> &Labels {
        &self.labels
    }

    fn read(&self, range: TimeRange, columns: &mut SampleColumns) -> Result<(), SourceError> {
        for (time, value) in &self.samples {
            if range.contains(Timestamp::from_millis(*time)) {
                columns.push(*time, *value);
            }
        }
        Ok(())
    }
}

impl SeriesSource for TestSource {
    fn select(
        &self,
        matchers: &[Matcher],
        _: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<Arc<dyn Series>>, SourceError> {
        let is_match = |series: &&TestSeries| {
            matchers.iter().all(|matcher| {
                matcher.matches(series.labels.get(matcher.name()).unwrap_or_default())
            })
        };
        let found = self.series.iter().filter(is_match);
        Ok(found.map(|series| Arc::new(series.clone()) as Arc<dyn Series>).collect())
    }

    fn label_names(
        &self,
        _: &[Matcher],
        _: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }

    fn label_values(
        &self,
        _: &str,
        _: &[Matcher],
        _: TimeRange,
        _: &Cancellation,
    ) -> Result<Vec<String>, SourceError> {
        Ok(Vec::new())
    }
}

fn expr(kind: ExprKind) -> Expr {
    Expr { kind, span: Span::default() }
}

fn millis(millis: i64) -> DurationExpr {
    DurationExpr { kind: DurationKind::Millis(millis), span: Span::default() }
}

fn selector(name: &str) -> VectorSelector {
    VectorSelector {
        name: Some(name.to_owned()),
        matchers: vec![Matcher::equal("__name__", name)],
        offset: None,
        at: None,
        extension: None,
    }
}

fn range_call(function: &'static str, selector: VectorSelector, range_ms: i64) -> Expr {
    let function: &'static Signature = Box::leak(Box::new(Signature {
        name: function,
        params: &[ValueType::RangeVector],
        optional: 0,
        variadic: false,
        returns: ValueType::InstantVector,
    }));
    let matrix = MatrixSelector { selector, range: millis(range_ms) };
    let args = vec![expr(ExprKind::Matrix(Box::new(matrix)))];
    expr(ExprKind::Call(Box::new(CallExpr { function, args })))
}

fn sum_by(labels: &[&str], inner: Expr) -> Expr {
    expr(ExprKind::Aggregate(Box::new(AggregateExpr {
        op: AggregateOp::Sum,
        expr: inner,
        param: None,
        without: false,
        labels: labels.iter().map(|label| (*label).to_owned()).collect(),
    })))
}

fn range(start: i64, end: i64, step_ms: i64) -> QueryRange {
    QueryRange { start: Timestamp::from_millis(start), end: Timestamp::from_millis(end), step_ms }
}

fn matrix(
    source: &TestSource,
    expr: &Expr,
    range: QueryRange,
) -> Result<Vec<MatrixSeries>, QueryError> {
    let engine = Engine::default();
    match engine.query_range(source, "", expr, range, &Cancellation::never())?.value {
        QueryValue::Matrix(matrix) => Ok(matrix),
        other => panic!("expected a matrix, got {other:?}"),
    }
}

fn points_of(series: &MatrixSeries) -> Vec<(i64, f64)> {
    series.points.iter().map(|sample| (sample.timestamp.as_millis(), sample.value)).collect()
}

#[test]
fn a_range_query_has_as_many_steps_as_allowed_and_not_one_more() {
    let query = |points_per_series_max, end| {
        let engine = Engine::new(EngineConfig { points_per_series_max, ..EngineConfig::default() });
        let range = QueryRange {
            start: Timestamp::from_millis(0),
            end: Timestamp::from_millis(end),
            step_ms: 1,
        };
        let expr = crate::parse("1").expect("a number");
        engine.query_range(&TestSource::default(), "1", &expr, range, &Cancellation::never())
    };
    for steps in [10, 11_000, 20_000] {
        let outcome = query(steps, steps as i64).expect("as many as allowed");
        let QueryValue::Matrix(series) = outcome.value else { panic!("a matrix") };
        assert_eq!(series[0].points.len(), steps + 1);
        let error = query(steps, steps as i64 + 1).expect_err("one more");
        assert!(matches!(error, QueryError::InvalidRange { .. }), "{error}");
    }
    let error = query(11_000, 11_001).expect_err("one more");
    let expected = "exceeded maximum resolution of 11,000 points per timeseries. Try decreasing the \
                    query resolution (?step=XX)";
    assert_eq!(error.to_string(), expected);
}

#[test]
fn instant_selectors_look_back_to_before_the_limit_and_stop_at_stale_markers() {
    let samples = [(0, 1.0), (10_000, stale_nan()), (20_000, 2.0)];
    let source = TestSource::of(&[(&[("__name__", "m")], &samples)]);
    let value_at = |time| {
        let answer = matrix(&source, &expr(ExprKind::Vector(selector("m"))), range(time, time, 1));
        answer.expect("valid query").first().map(|series| points_of(series)[0].1)
    };
    assert_eq!(value_at(9_999), Some(1.0));
    assert_eq!(value_at(10_000), None);
    assert_eq!(value_at(319_999), Some(2.0));
    assert_eq!(value_at(320_000), None);
    assert_eq!(value_at(-1), None);
}

#[test]
fn samples_read_are_limited() {
    let samples: Vec<(i64, f64)> = (0..100).map(|index| (index, 1.0)).collect();
    let source = TestSource::of(&[(&[("__name__", "m")], &samples)]);
    let query = range_call("sum_over_time", selector("m"), 100);
    let ask = |samples_max| {
        let engine = Engine::new(EngineConfig { samples_max, ..EngineConfig::default() });
        let at = Timestamp::from_millis(99);
        engine.query_instant(&source, "", &query, at, &Cancellation::never())
    };
    assert_eq!(ask(100).expect("within the limit").samples_read, 100);
    assert_eq!(ask(99).expect_err("too many"), QueryError::TooManySamples { limit: 99 });
}

#[test]
fn points_held_are_limited() {
    let source = TestSource::of(&[
        (&[("__name__", "m"), ("a", "1")], &[(0, 1.0)]),
        (&[("__name__", "m"), ("a", "2")], &[(0, 1.0)]),
    ]);
    let query = expr(ExprKind::Vector(selector("m")));
    let ask = |samples_max| {
        let engine = Engine::new(EngineConfig { samples_max, ..EngineConfig::default() });
        engine.query_range(&source, "", &query, range(0, 9, 1), &Cancellation::never())
    };
    assert!(ask(20).is_ok());
    assert_eq!(ask(19).expect_err("too many"), QueryError::TooManySamples { limit: 19 });
}

#[test]
fn steps_are_limited() {
    let source = TestSource::default();
    let query = expr(ExprKind::Vector(selector("m")));
    assert!(matrix(&source, &query, range(0, 10_999, 1)).is_ok());
    let refused =
        |range| matches!(matrix(&source, &query, range), Err(QueryError::InvalidRange { .. }));
    assert!(!refused(range(0, 11_000, 1)));
    assert!(refused(range(0, 11_001, 1)));
    assert!(refused(range(0, 10, 0)));
    assert!(refused(range(10, 0, 1)));
    assert!(refused(range(i64::MIN, i64::MAX, 1)));
}

#[test]
fn queries_at_the_ends_of_time_do_not_overflow() {
    let source = TestSource::of(&[(&[("__name__", "m")], &[(0, 1.0)])]);
    for time in [i64::MIN, i64::MAX] {
        let query = range_call("rate", selector("m"), i64::MAX);
        assert!(matrix(&source, &query, range(time, time, i64::MAX)).is_ok());
    }
}

#[test]
fn nesting_is_limited() {
    let source = TestSource::of(&[(&[("__name__", "m")], &[(0, 1.0)])]);
    let nested = |depth: i32| {
        (0..depth).fold(expr(ExprKind::Vector(selector("m"))), |inner, level| match level % 3 {
            0 => expr(ExprKind::Unary(UnaryOp::Minus, Box::new(inner))),
            1 => sum_by(&[], inner),
            _ => expr(ExprKind::Binary(Box::new(BinaryExpr {
                op: BinaryOp::Add,
                op_span: Span::default(),
                left: inner,
                right: expr(ExprKind::Number(1.0)),
                return_bool: false,
                matching: None,
            }))),
        })
    };
    assert!(matrix(&source, &nested(255), range(0, 1, 1)).is_ok());
    let refused = matrix(&source, &nested(256), range(0, 1, 1)).expect_err("too deep");
    assert_eq!(refused.to_string(), "expression is nested deeper than 256 levels");
}

#[test]
fn a_cancelled_query_stops() {
    let source = TestSource::of(&[(&[("__name__", "m")], &[(0, 1.0)])]);
    let cancellation = Cancellation::never();
    cancellation.cancel();
    let query = expr(ExprKind::Vector(selector("m")));
    let at = Timestamp::from_millis(0);
    let answer = Engine::default().query_instant(&source, "", &query, at, &cancellation);
    assert_eq!(answer.expect_err("cancelled"), QueryError::Cancelled);
}

#[test]
fn aggregations_group_by_labels_and_sort_the_answer() {
    let source = TestSource::of(&[
        (&[("__name__", "m"), ("g", "b"), ("i", "1")], &[(0, 1.0)]),
        (&[("__name__", "m"), ("g", "a"), ("i", "2")], &[(0, 2.0)]),
        (&[("__name__", "m"), ("g", "b"), ("i", "3")], &[(0, 4.0)]),
    ]);
    let query = sum_by(&["g"], expr(ExprKind::Vector(selector("m"))));
    let answer = matrix(&source, &query, range(0, 1, 1)).expect("valid query");
    let shown: Vec<String> = answer
        .iter()
        .map(|series| format!("{} {:?}", series.labels, series.points.values()))
        .collect();
    assert_eq!(shown, [r#"{g="a"} [2.0, 2.0]"#, r#"{g="b"} [5.0, 5.0]"#]);
}

/// Evaluates a function over one window by its definition.
fn naive(function: &str, window: &[(i64, f64)], end: i64, range: i64) -> Option<f64> {
    let values: Vec<f64> = window.iter().map(|(_, value)| *value).collect();
    let last = values.last()?;
    Some(match function {
        "sum_over_time" => values.iter().sum(),
        "count_over_time" => values.len() as f64,
        "min_over_time" => values.iter().copied().fold(f64::INFINITY, f64::min),
        "max_over_time" => values.iter().copied().fold(f64::NEG_INFINITY, f64::max),
        "last_over_time" => *last,
        "changes" => values.windows(2).filter(|pair| pair[0] != pair[1]).count() as f64,
        "resets" => values.windows(2).filter(|pair| pair[0] > pair[1]).count() as f64,
        "increase" => {
            let [(first_time, first), .., (last_time, last)] = window else {
                return None;
            };
            let lost: f64 =
                values.windows(2).filter(|pair| pair[1] < pair[0]).map(|pair| pair[0]).sum();
            let change = last - first + lost;
            let sampled = (last_time - first_time) as f64 / 1000.0;
            let gap = sampled / (window.len() - 1) as f64;
            let limited = |distance: i64| {
                let distance = distance as f64 / 1000.0;
                if distance < gap * 1.1 { distance } else { gap / 2.0 }
            };
            let mut before = limited(first_time - (end - range));
            if change > 0.0 && *first >= 0.0 {
                before = before.min(sampled * first / change);
            }
            change * (sampled + before + limited(end - last_time)) / sampled
        }
        other => panic!("no definition of {other}"),
    })
}

const FUNCTIONS: [&str; 8] = [
    "sum_over_time",
    "count_over_time",
    "min_over_time",
    "max_over_time",
    "last_over_time",
    "changes",
    "resets",
    "increase",
];

proptest! {
    #![proptest_config(ProptestConfig::with_cases(200))]

    #[test]
    fn windows_agree_with_the_definition(
        function in prop::sample::select(&FUNCTIONS[..]),
        steps in prop::collection::vec((1_i64..40, prop_oneof![
            9 => (0_u32..50).prop_map(f64::from),
            1 => Just(stale_nan()),
        ]), 0..60),
        range_ms in 1_i64..200,
        offset_ms in -100_i64..100,
        step_ms in 1_i64..50,
    ) {
        let mut time = 0;
        let mut samples = Vec::new();
        for (gap, value) in steps {
            time += gap;
            samples.push((time, value));
        }
        let source = TestSource::of(&[(&[("__name__", "m_total")], &samples)]);
        let selector = VectorSelector { offset: Some(millis(offset_ms)), ..selector("m_total") };
        let query = range_call(function, selector, range_ms);
        let answer = matrix(&source, &query, range(-50, 1000, step_ms)).expect("valid query");
        let actual = answer.first().map(points_of).unwrap_or_default();
        let mut expected = Vec::new();
        for at in (-50..=1000).step_by(usize::try_from(step_ms).expect("positive")) {
            let end = at - offset_ms;
            let window: Vec<(i64, f64)> = samples
                .iter()
                .filter(|(time, value)| {
                    *time > end - range_ms && *time <= end && !model::is_stale(*value)
                })
                .copied()
                .collect();
            expected.extend(naive(function, &window, end, range_ms).map(|value| (at, value)));
        }
        prop_assert_eq!(actual.len(), expected.len());
        for ((actual_time, actual), (time, expected)) in actual.into_iter().zip(expected) {
            prop_assert_eq!(actual_time, time);
            let difference = (actual - expected).abs();
            prop_assert!(difference <= 1e-9 * expected.abs().max(1.0), "{} {}", actual, expected);
        }
    }
}
