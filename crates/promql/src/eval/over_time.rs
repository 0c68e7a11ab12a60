//! Statistics over windows.

use std::collections::VecDeque;

use super::range::WindowInput;
use crate::numeric::{self, KahanMean, KahanSum};

/// Stores the sum of each window.
pub(super) fn sum(input: &WindowInput<'_>, out: &mut [f64]) {
    input.over_values(out, |values| {
        let sum = values.iter().fold(KahanSum::default(), |sum, value| sum.plus(*value));
        if sum.sum.is_infinite() { sum.sum } else { sum.total() }
    });
}

/// Stores the mean of each window.
pub(super) fn mean(input: &WindowInput<'_>, out: &mut [f64]) {
    input.over_values(out, |values| {
        let mut mean = KahanMean::of(values[0]);
        for value in &values[1..] {
            mean.add(*value);
        }
        mean.mean()
    });
}

/// Stores the least value of each window; NaN only when there is nothing else.
pub(super) fn min(input: &WindowInput<'_>, out: &mut [f64]) {
    extreme(input, out, |value, other| value < other);
}

/// Stores the greatest value of each window; NaN only when there is nothing else.
pub(super) fn max(input: &WindowInput<'_>, out: &mut [f64]) {
    extreme(input, out, |value, other| value > other);
}

/// Stores the time, in seconds, of the last sample with the least value of each window.
pub(super) fn time_of_min(input: &WindowInput<'_>, out: &mut [f64]) {
    time_of_best(input, out, |value, least| value <= least);
}

/// Stores the time, in seconds, of the last sample with the greatest value of each window.
pub(super) fn time_of_max(input: &WindowInput<'_>, out: &mut [f64]) {
    time_of_best(input, out, |value, greatest| value >= greatest);
}

/// Stores the time, in seconds, of the first sample of each window.
pub(super) fn time_of_first(input: &WindowInput<'_>, out: &mut [f64]) {
    input.for_each(|index, low, _| {
        out[index] = input.timestamps[low] as f64 / 1000.0;
    });
}

/// Stores the time, in seconds, of the last sample of each window.
pub(super) fn time_of_last(input: &WindowInput<'_>, out: &mut [f64]) {
    input.for_each(|index, _, high| {
        out[index] = input.timestamps[high - 1] as f64 / 1000.0;
    });
}

/// Stores how often the value changes within each window.
pub(super) fn changes(input: &WindowInput<'_>, out: &mut [f64]) {
    count_steps(input, out, is_change);
}

/// Stores how often the value falls within each window.
pub(super) fn resets(input: &WindowInput<'_>, out: &mut [f64]) {
    count_steps(input, out, is_reset);
}

/// Returns whether two neighbours differ.
pub(super) fn is_change(previous: f64, current: f64) -> bool {
    current != previous && !(current.is_nan() && previous.is_nan())
}

/// Returns whether the value falls.
pub(super) fn is_reset(previous: f64, current: f64) -> bool {
    current < previous
}

/// Stores the quantile of each window; `quantiles` has one value per step.
pub(super) fn quantile(input: &WindowInput<'_>, quantiles: &[f64], out: &mut [f64]) {
    let mut sorted = Vec::new();
    input.for_each(|index, low, high| {
        sorted.clear();
        sorted.extend_from_slice(&input.values[low..high]);
        out[index] = numeric::quantile(quantiles[index], &mut sorted);
    });
}

/// Stores the median of the distances from the median of each window.
pub(super) fn median_deviation(input: &WindowInput<'_>, out: &mut [f64]) {
    let mut sorted = Vec::new();
    input.over_values(out, |values| {
        sorted.clear();
        sorted.extend_from_slice(values);
        let median = numeric::quantile(0.5, &mut sorted);
        for value in &mut sorted {
            *value = (*value - median).abs();
        }
        numeric::quantile(0.5, &mut sorted)
    });
}

/// Returns the variance of values.
pub(super) fn variance(values: &[f64]) -> f64 {
    let mut count = 0.0;
    let mut mean = KahanSum::default();
    let mut squares = KahanSum::default();
    for value in values {
        count += 1.0;
        let delta = value - mean.total();
        mean = mean.plus(delta / count);
        squares = squares.plus(delta * (value - mean.total()));
    }
    squares.total() / count
}

/// Keeps the values that may still win in a queue, each better than all after it, so that every sample is
/// looked at a bounded number of times however long the windows are.
fn extreme(input: &WindowInput<'_>, out: &mut [f64], is_better: impl Fn(f64, f64) -> bool) {
    let values = input.values;
    let mut queue: VecDeque<usize> = VecDeque::new();
    let mut next = 0;
    input.for_each(|index, low, high| {
        next = next.max(low);
        while next < high {
            let value = values[next];
            if !value.is_nan() {
                while queue.back().is_some_and(|last| !is_better(values[*last], value)) {
                    queue.pop_back();
                }
                queue.push_back(next);
            }
            next += 1;
        }
        while queue.front().is_some_and(|first| *first < low) {
            queue.pop_front();
        }
        out[index] = queue.front().map_or(f64::NAN, |first| values[*first]);
    });
}

fn time_of_best(
    input: &WindowInput<'_>,
    out: &mut [f64],
    is_better: impl Fn(f64, f64) -> bool + Copy,
) {
    input.for_each(|index, low, high| {
        let position = low + best(&input.values[low..high], is_better);
        out[index] = input.timestamps[position] as f64 / 1000.0;
    });
}

#[inline]
fn best(values: &[f64], is_better: impl Fn(f64, f64) -> bool) -> usize {
    let mut position = 0;
    for (index, value) in values.iter().enumerate() {
        if is_better(*value, values[position]) || values[position].is_nan() {
            position = index;
        }
    }
    position
}

/// Counts with prefix sums, so that a window costs the same however long it is.
fn count_steps(input: &WindowInput<'_>, out: &mut [f64], counts: impl Fn(f64, f64) -> bool) {
    let mut total = 0_u64;
    let mut until = Vec::with_capacity(input.values.len());
    until.push(total);
    for pair in input.values.windows(2) {
        total += u64::from(counts(pair[0], pair[1]));
        until.push(total);
    }
    input.for_each(|index, low, high| {
        out[index] = (until[high - 1] - until[low]) as f64;
    });
}
