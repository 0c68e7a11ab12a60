//! Counts what is in a body before it is decoded.
//!
//! An empty message is two bytes in a body and some hundred in memory, so a limit of bytes alone would not bound
//! the memory.

#![warn(clippy::indexing_slicing)]

use super::OtlpError;
use crate::protobuf::{Malformed, Reader, Tag};

/// The most messages in one request: data points, attributes, metrics and what holds them.
///
/// In JSON, every brace counts; an attribute there has two.
const ELEMENTS_MAX: usize = 1 << 20;

/// How deep messages may nest; the decoder refuses what nests deeper.
const DEPTH_MAX: usize = 100;

/// A kind of message, by the fields that hold further messages.
struct Shape(&'static [(Tag, &'static Shape)]);

static LEAF: Shape = Shape(&[]);
static NUMBER_POINT: Shape = Shape(&[(Tag::bytes(7), &ATTRIBUTE)]);
static HISTOGRAM_POINT: Shape = Shape(&[(Tag::bytes(9), &ATTRIBUTE)]);
static SUMMARY_POINT: Shape = Shape(&[(Tag::bytes(6), &LEAF), (Tag::bytes(7), &ATTRIBUTE)]);
static NUMBERS: Shape = Shape(&[(Tag::bytes(1), &NUMBER_POINT)]);
static HISTOGRAM: Shape = Shape(&[(Tag::bytes(1), &HISTOGRAM_POINT)]);
static SUMMARY: Shape = Shape(&[(Tag::bytes(1), &SUMMARY_POINT)]);
static METRIC: Shape = Shape(&[
    (Tag::bytes(5), &NUMBERS),
    (Tag::bytes(7), &NUMBERS),
    (Tag::bytes(9), &HISTOGRAM),
    (Tag::bytes(11), &SUMMARY),
]);
static SCOPE_METRICS: Shape = Shape(&[(Tag::bytes(2), &METRIC)]);
static RESOURCE: Shape = Shape(&[(Tag::bytes(1), &ATTRIBUTE)]);
static RESOURCE_METRICS: Shape =
    Shape(&[(Tag::bytes(1), &RESOURCE), (Tag::bytes(2), &SCOPE_METRICS)]);
static REQUEST: Shape = Shape(&[(Tag::bytes(1), &RESOURCE_METRICS)]);

/// A key with its value, or a value: the numbers of the fields that hold more do not clash.
static ATTRIBUTE: Shape =
    Shape(&[(Tag::bytes(2), &ATTRIBUTE), (Tag::bytes(5), &LIST), (Tag::bytes(6), &LIST)]);
static LIST: Shape = Shape(&[(Tag::bytes(1), &ATTRIBUTE)]);

/// Fails when a request in protobuf holds too much. Leaves other mistakes to the decoder.
pub(super) fn check_protobuf(body: &[u8]) -> Result<(), OtlpError> {
    let mut left = ELEMENTS_MAX;
    match count(Reader::new(body), &REQUEST, DEPTH_MAX, &mut left) {
        Ok(true) | Err(_) => Ok(()),
        Ok(false) => Err(OtlpError::TooManyElements { limit: ELEMENTS_MAX }),
    }
}

/// Fails when a request in JSON holds too much.
pub(super) fn check_json(body: &[u8]) -> Result<(), OtlpError> {
    let braces = body.iter().filter(|byte| matches!(byte, b'{' | b'[')).count();
    if braces > ELEMENTS_MAX {
        return Err(OtlpError::TooManyElements { limit: ELEMENTS_MAX });
    }
    Ok(())
}

/// Takes the messages within `message` off what is left. Returns whether there was enough.
fn count(
    mut message: Reader<'_>,
    shape: &Shape,
    depth: usize,
    left: &mut usize,
) -> Result<bool, Malformed> {
    let Some(depth) = depth.checked_sub(1) else {
        return Ok(true);
    };
    while let Some(tag) = message.tag()? {
        let Some((_, inner)) = shape.0.iter().find(|(known, _)| *known == tag) else {
            message.skip_unknown(tag, &[])?;
            continue;
        };
        let Some(rest) = left.checked_sub(1) else {
            return Ok(false);
        };
        *left = rest;
        let value = message.message()?;
        if !inner.0.is_empty() && !count(value, inner, depth, left)? {
            return Ok(false);
        }
    }
    Ok(true)
}
