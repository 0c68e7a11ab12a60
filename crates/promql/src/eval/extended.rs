//! Windows whose edges take a value from outside: `anchored` and `smoothed`.

use super::range::WindowInput;
use super::selector::Windows;
use super::{execution, strip_parens};
use crate::ast::{Expr, ExprKind, RangeExtension};
use crate::engine::QueryError;

/// Returns how the range vector `arg` treats its edges.
///
/// # Errors
///
/// The function does not know what to do with such edges.
pub(super) fn extension_of(
    function: &str,
    arg: &Expr,
) -> Result<Option<RangeExtension>, QueryError> {
    let extension = match &strip_parens(arg).kind {
        ExprKind::Matrix(matrix) => matrix.selector.extension,
        _ => None,
    };
    let (name, allowed): (_, &[&str]) = match extension {
        None => return Ok(None),
        Some(RangeExtension::Anchored) => {
            ("anchored", &["changes", "delta", "increase", "rate", "resets"])
        }
        Some(RangeExtension::Smoothed) => ("smoothed", &["delta", "increase", "rate"]),
    };
    if allowed.contains(&function) {
        return Ok(extension);
    }
    let allowed = allowed.join(", ");
    Err(execution(format!(
        "{name} modifier can only be used with: {allowed} - not with {function}"
    )))
}

/// Returns the windows of samples that are needed: before each window, and, if smoothed, also after it.
pub(super) fn reach(windows: &Windows, extension: RangeExtension, lookback_ms: i64) -> Windows {
    let after = match extension {
        RangeExtension::Anchored => 0,
        RangeExtension::Smoothed => lookback_ms,
    };
    Windows {
        first_end: windows.first_end.saturating_add(after),
        range: windows.range.saturating_add(lookback_ms).saturating_add(after),
        ..*windows
    }
}

/// Stores the value at each time, interpolated between the samples around it; `reach` are the spans to look at.
pub(super) fn interpolated(
    timestamps: &[i64],
    values: &[f64],
    reach: &Windows,
    lookback_ms: i64,
    out: &mut [f64],
) {
    reach.for_each(timestamps, |index, low, high| {
        let time = reach.end(index).saturating_sub(lookback_ms);
        let next = low + timestamps[low..high].partition_point(|timestamp| *timestamp < time);
        if next < high && timestamps[next] == time {
            out[index] = values[next];
        } else if next > low {
            let previous = (timestamps[next - 1], values[next - 1]);
            out[index] = if next < high {
                interpolate(previous, (timestamps[next], values[next]), time, false)
            } else {
                previous.1
            };
        }
    });
}

/// Stores the change over each window from edge to edge.
pub(super) fn change<const COUNTER: bool, const PER_SECOND: bool>(
    input: &WindowInput<'_>,
    extension: RangeExtension,
    out: &mut [f64],
) {
    let is_smoothed = extension == RangeExtension::Smoothed;
    let (timestamps, values) = (input.timestamps, input.values);
    let sample = |position: usize| (timestamps[position], values[position]);
    for_each_anchored(input, extension, |index, first, after| {
        let (start, end) = (input.windows.start(index), input.windows.end(index));
        let last = if is_smoothed {
            first + timestamps[first..after - 1].partition_point(|timestamp| *timestamp < end)
        } else {
            after - 1
        };
        if timestamps[last] <= start {
            return;
        }
        let left = if is_smoothed && timestamps[first] < start {
            interpolate(sample(first), sample(first + 1), start, COUNTER)
        } else {
            values[first]
        };
        let right = if is_smoothed && last > first && timestamps[last] > end {
            interpolate(sample(last - 1), sample(last), end, COUNTER)
        } else {
            values[last]
        };
        let mut change = right - left;
        if COUNTER {
            let inner_first = if timestamps[first] <= start { first + 1 } else { first };
            let inner_after = if timestamps[last] >= end { last } else { last + 1 };
            let inner = values.get(inner_first..inner_after).unwrap_or_default();
            let mut previous = left;
            for value in inner.iter().chain(std::iter::once(&right)) {
                if *value < previous {
                    change += previous;
                }
                previous = *value;
            }
        }
        if PER_SECOND {
            change /= input.windows.range as f64 / 1000.0;
        }
        out[index] = change;
    });
}

/// Stores how often `counts` holds between neighbours, the sample before each window included.
pub(super) fn count_steps(
    input: &WindowInput<'_>,
    extension: RangeExtension,
    out: &mut [f64],
    counts: impl Fn(f64, f64) -> bool,
) {
    for_each_anchored(input, extension, |index, first, after| {
        let pairs = input.values[first..after].windows(2);
        out[index] = pairs.filter(|pair| counts(pair[0], pair[1])).count() as f64;
    });
}

/// Calls `visit` with the index of each window, the position of the last sample at or before its start, or of
/// the first one after it, and the position after its samples and those that follow it within reach.
fn for_each_anchored(
    input: &WindowInput<'_>,
    extension: RangeExtension,
    mut visit: impl FnMut(usize, usize, usize),
) {
    let timestamps = input.timestamps;
    let reach = reach(input.windows, extension, input.lookback_ms);
    reach.for_each(timestamps, |index, low, high| {
        let start = input.windows.start(index);
        let is_before = |timestamp: &i64| *timestamp <= start;
        let within = low + timestamps[low..high - 1].partition_point(is_before);
        if timestamps[high - 1] > start {
            visit(index, within.saturating_sub(1).max(low), high);
        }
    });
}

/// Returns the value at `time` on the line between two samples; a counter that fell is taken to start at 0.
fn interpolate(left: (i64, f64), right: (i64, f64), time: i64, is_counter: bool) -> f64 {
    let start = if is_counter && right.1 < left.1 { 0.0 } else { left.1 };
    start + (right.1 - start) * (time - left.0) as f64 / (right.0 - left.0) as f64
}
