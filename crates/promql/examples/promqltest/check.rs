//! Comparing answers with expectations.

use model::{Labels, SampleColumns};
use promql::{MatrixSeries, QueryOutcome, QueryValue};

use crate::expectation::{Expectation, Text};
use crate::points::{Point, SeriesPoints};

/// By how much values may differ, relative to their sum.
const TOLERANCE: f64 = 1e-6;

/// Compares the answer to an instant query.
pub(crate) fn check_instant(expected: &Expectation, value: &QueryValue) -> Result<(), String> {
    match (value, &expected.text, expected.scalar) {
        (QueryValue::String { value, .. }, Some(text), _) => {
            equal(value == text, || format!("expected the text {text:?}, got {value:?}"))
        }
        (QueryValue::Scalar { value, .. }, _, Some(scalar)) => check_value(scalar, *value),
        (QueryValue::Vector(samples), None, None) => {
            let actual: Vec<(&Labels, f64)> =
                samples.iter().map(|sample| (&sample.labels, sample.value)).collect();
            check_vector(expected, &actual, expected.is_ordered)
        }
        (QueryValue::Matrix(matrix), None, None) => {
            let Some((start, step)) = expected.range_vector else {
                return Err("got a range vector".to_owned());
            };
            check_matrix(&expected.series, matrix, start, step)
        }
        _ => Err(format!("the answer is of another type: {value:?}")),
    }
}

/// Compares the answer to a range query, or a range vector.
pub(crate) fn check_matrix(
    expected: &[SeriesPoints],
    actual: &[MatrixSeries],
    start: i64,
    step: i64,
) -> Result<(), String> {
    for series in expected {
        let found = actual.iter().find(|candidate| candidate.labels == series.labels);
        let points = found.map(|found| &found.points);
        check_points(series, points, start, step)
            .map_err(|error| format!("{}: {error}", series.labels))?;
    }
    let is_expected =
        |found: &&MatrixSeries| expected.iter().any(|series| series.labels == found.labels);
    match actual.iter().find(|found| !is_expected(found)) {
        Some(unexpected) => {
            Err(format!("unexpected {} {:?}", unexpected.labels, unexpected.points.values()))
        }
        None => Ok(()),
    }
}

/// Compares one step of a range query with what is expected of an instant query.
pub(crate) fn check_step(
    expected: &Expectation,
    matrix: &[MatrixSeries],
    time_ms: i64,
) -> Result<(), String> {
    let actual: Vec<(&Labels, f64)> = matrix
        .iter()
        .filter_map(|series| Some((&series.labels, value_at(&series.points, time_ms)?)))
        .collect();
    match (expected.scalar, actual.as_slice()) {
        (Some(scalar), [(labels, value)]) if labels.is_empty() => check_value(scalar, *value),
        (Some(_), other) => Err(format!("expected a scalar, got {other:?}")),
        (None, actual) => check_vector(expected, actual, false),
    }
}

/// Compares warnings and infos.
pub(crate) fn check_annotations(
    expected: &Expectation,
    outcome: &QueryOutcome,
) -> Result<(), String> {
    let annotations = &outcome.annotations;
    check_texts(&expected.warns, expected.never_warns, &annotations.warnings)
        .map_err(|error| format!("warnings: {error}"))?;
    check_texts(&expected.informs, expected.never_informs, &annotations.infos)
        .map_err(|error| format!("infos: {error}"))
}

fn check_texts(expected: &[Text], is_never: bool, actual: &[String]) -> Result<(), String> {
    if is_never && !actual.is_empty() {
        return Err(format!("expected none, got {actual:?}"));
    }
    if !expected.is_empty() && actual.is_empty() {
        return Err("expected some, got none".to_owned());
    }
    let accepted = |text: &&String| expected.iter().any(|expected| expected.accepts(text));
    match actual.iter().find(|text| !expected.is_empty() && !accepted(text)) {
        Some(text) => Err(format!("expected {expected:?}, got {text:?}")),
        None => Ok(()),
    }
}

fn check_vector(
    expected: &Expectation,
    actual: &[(&Labels, f64)],
    is_ordered: bool,
) -> Result<(), String> {
    for (index, series) in expected.series.iter().enumerate() {
        let labels = &series.labels;
        let [Point::Value(value)] = series.points.as_slice() else {
            return Err(format!("{labels}: expected {:?}", series.points));
        };
        let position = actual.iter().position(|(candidate, _)| *candidate == labels);
        let Some(position) = position else {
            return Err(format!("{labels}: expected {value}, got nothing; all: {actual:?}"));
        };
        if is_ordered && position != index {
            return Err(format!("{labels}: expected at {index}, is at {position}"));
        }
        check_value(*value, actual[position].1).map_err(|error| format!("{labels}: {error}"))?;
    }
    let is_expected =
        |labels: &Labels| expected.series.iter().any(|series| series.labels == *labels);
    match actual.iter().find(|(labels, _)| !is_expected(labels)) {
        Some((labels, value)) => Err(format!("unexpected {labels} {value}")),
        None => Ok(()),
    }
}

fn check_points(
    expected: &SeriesPoints,
    actual: Option<&SampleColumns>,
    start: i64,
    step: i64,
) -> Result<(), String> {
    let mut count = 0;
    let mut time = start;
    for point in &expected.points {
        let value = actual.and_then(|actual| value_at(actual, time));
        match (point, value) {
            (Point::Missing, None) => {}
            (Point::Value(expected), Some(value)) => {
                check_value(*expected, value).map_err(|error| format!("at {time} ms: {error}"))?;
                count += 1;
            }
            (expected, value) => {
                return Err(format!("at {time} ms: expected {expected:?}, got {value:?}"));
            }
        }
        time += step;
    }
    let actual_count = actual.map_or(0, SampleColumns::len);
    equal(count == actual_count, || format!("expected {count} points, got {actual_count}"))
}

fn value_at(points: &SampleColumns, time_ms: i64) -> Option<f64> {
    let index = points.timestamps().binary_search(&time_ms).ok()?;
    points.values().get(index).copied()
}

fn check_value(expected: f64, actual: f64) -> Result<(), String> {
    let is_close = expected == actual
        || (expected.is_nan() && actual.is_nan())
        || (expected - actual).abs() / (expected.abs() + actual.abs()).min(f64::MAX) < TOLERANCE;
    equal(is_close, || format!("expected {expected}, got {actual}"))
}

fn equal(is_equal: bool, message: impl FnOnce() -> String) -> Result<(), String> {
    if is_equal { Ok(()) } else { Err(message()) }
}
