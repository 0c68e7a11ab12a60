//! Changes of counters and gauges over windows.

use super::execution;
use super::range::WindowInput;
use crate::engine::QueryError;
use crate::numeric::KahanSum;

/// Stores the change over each window, extrapolated to its edges as Prometheus does.
///
/// Extrapolation goes up to the edge when the nearest sample is about as near as samples are to each other,
/// otherwise by half their distance, and for counters never to below zero.
pub(super) fn extrapolated<const COUNTER: bool, const PER_SECOND: bool>(
    input: &WindowInput<'_>,
    out: &mut [f64],
) {
    let values = input.values;
    let timestamps = input.timestamps;
    let windows = input.windows;
    let resets = if COUNTER { reset_positions(values) } else { Vec::new() };
    let mut resets_passed = 0;
    let range_seconds = windows.range as f64 / 1000.0;
    input.for_each(|index, low, high| {
        if high - low < 2 {
            return;
        }
        let mut change = values[high - 1] - values[low];
        if COUNTER {
            while resets.get(resets_passed).is_some_and(|position| *position <= low) {
                resets_passed += 1;
            }
            for position in resets[resets_passed..].iter().take_while(|at| **at < high) {
                change += values[position - 1];
            }
        }
        let end = windows.end(index);
        let seconds = |millis: i64| millis as f64 / 1000.0;
        let mut to_start = seconds(timestamps[low] - end.saturating_sub(windows.range));
        let mut to_end = seconds(end - timestamps[high - 1]);
        let sampled = seconds(timestamps[high - 1] - timestamps[low]);
        let distance = sampled / (high - low - 1) as f64;
        let threshold = distance * 1.1;
        if to_start >= threshold {
            to_start = distance / 2.0;
        }
        if COUNTER && change > 0.0 && values[low] >= 0.0 {
            let to_zero = sampled * (values[low] / change);
            if to_zero < to_start {
                to_start = to_zero;
            }
        }
        if to_end >= threshold {
            to_end = distance / 2.0;
        }
        let mut factor = (sampled + to_start + to_end) / sampled;
        if PER_SECOND {
            factor /= range_seconds;
        }
        out[index] = change * factor;
    });
}

/// Stores the change between the last two samples of each window, for counters per second.
pub(super) fn of_last_two<const COUNTER: bool>(input: &WindowInput<'_>, out: &mut [f64]) {
    let values = input.values;
    input.for_each(|index, low, high| {
        if high - low < 2 {
            return;
        }
        let (previous, last) = (values[high - 2], values[high - 1]);
        let millis = input.timestamps[high - 1] - input.timestamps[high - 2];
        let change = if COUNTER && last < previous { last } else { last - previous };
        out[index] = if COUNTER { change / (millis as f64 / 1000.0) } else { change };
    });
}

/// Stores the slope per second of the straight line through each window.
pub(super) fn slope(input: &WindowInput<'_>, out: &mut [f64]) {
    input.for_each(|index, low, high| {
        if high - low >= 2 {
            out[index] = regression(input, low, high, input.timestamps[low]).0;
        }
    });
}

/// Stores where the straight line through each window is after as many seconds as the argument says.
pub(super) fn prediction(input: &WindowInput<'_>, out: &mut [f64]) {
    let Some(seconds) = input.scalars.first() else {
        return;
    };
    input.for_each(|index, low, high| {
        if high - low >= 2 {
            let (slope, intercept) = regression(input, low, high, input.grid.time(index));
            out[index] = slope * seconds[index] + intercept;
        }
    });
}

/// Stores the double exponentially smoothed last value of each window.
pub(super) fn smoothed(input: &WindowInput<'_>, out: &mut [f64]) -> Result<(), QueryError> {
    let [smoothing, trend] = input.scalars else {
        return Err(execution("double_exponential_smoothing needs two factors"));
    };
    let mut failure = None;
    input.for_each(|index, low, high| {
        for (name, factor) in [("smoothing", smoothing[index]), ("trend", trend[index])] {
            // NaN passes here, as it does in Prometheus.
            if factor <= 0.0 || factor >= 1.0 {
                let symbol = if name == "trend" { "tf" } else { "sf" };
                failure.get_or_insert_with(|| {
                    format!("invalid {name} factor. Expected: 0 < {symbol} < 1, got: {factor:.6}")
                });
            }
        }
        if high - low >= 2 {
            out[index] = smooth(&input.values[low..high], smoothing[index], trend[index]);
        }
    });
    failure.map_or(Ok(()), |message| Err(execution(message)))
}

fn smooth(values: &[f64], smoothing: f64, trend: f64) -> f64 {
    let mut previous = 0.0;
    let mut current = values[0];
    let mut slope = values[1] - values[0];
    for (index, value) in values.iter().enumerate().skip(1) {
        if index > 1 {
            slope = trend * (current - previous) + (1.0 - trend) * slope;
        }
        let next = smoothing * value + (1.0 - smoothing) * (current + slope);
        previous = current;
        current = next;
    }
    current
}

/// Returns the positions of the samples that are less than the one before.
fn reset_positions(values: &[f64]) -> Vec<usize> {
    let pairs = values.windows(2).enumerate();
    pairs.filter(|(_, pair)| pair[1] < pair[0]).map(|(index, _)| index + 1).collect()
}

/// Returns slope per second and value at `origin_ms` of the least-squares line through samples.
fn regression(input: &WindowInput<'_>, low: usize, high: usize, origin_ms: i64) -> (f64, f64) {
    let values = &input.values[low..high];
    let first = values[0];
    if values.iter().all(|value| *value == first) {
        return if first.is_infinite() { (f64::NAN, f64::NAN) } else { (0.0, first) };
    }
    let mut sums = [KahanSum::default(); 4];
    for (timestamp, y) in input.timestamps[low..high].iter().zip(values) {
        let x = timestamp.saturating_sub(origin_ms) as f64 / 1000.0;
        for (sum, term) in sums.iter_mut().zip([x, *y, x * y, x * x]) {
            *sum = sum.plus(term);
        }
    }
    let [x, y, xy, xx] = sums.map(KahanSum::total);
    let count = values.len() as f64;
    let covariance = xy - x * y / count;
    let variance = xx - x * x / count;
    let slope = covariance / variance;
    (slope, y / count - slope * x / count)
}
