//! Series and their points as scripts write them.

use model::{Labels, LabelsBuilder, METRIC_NAME, stale_nan};

/// Most points that one line may stand for.
const POINTS_MAX: usize = 1_000_000;

/// A point of a series.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum Point {
    /// `_`
    Missing,
    /// A number or `stale`.
    Value(f64),
    /// `{{…}}`; its content does not matter, because the engine has no native histograms.
    Histogram,
}

/// A series with its points.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct SeriesPoints {
    pub(crate) labels: Labels,
    pub(crate) points: Vec<Point>,
}

/// Parses `name{a="b"} 1 2 3`.
pub(crate) fn parse_series(line: &str) -> Result<SeriesPoints, String> {
    let mut rest = line;
    let labels = take_labels(&mut rest)?;
    Ok(SeriesPoints { labels, points: parse_points(rest)? })
}

fn take_labels(rest: &mut &str) -> Result<Labels, String> {
    let mut builder = LabelsBuilder::new();
    let is_name = |character: char| character.is_alphanumeric() || "_:.".contains(character);
    let end = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
    builder.set(METRIC_NAME, &rest[..end]);
    *rest = &rest[end..];
    if let Some(inner) = rest.strip_prefix('{') {
        *rest = inner.trim_start();
        while !rest.starts_with('}') {
            let name = if rest.starts_with(['"', '\'', '`']) {
                take_text(rest)?
            } else {
                let end = rest.find(|character| !is_name(character)).unwrap_or(rest.len());
                let name = rest[..end].to_owned();
                *rest = &rest[end..];
                name
            };
            *rest = rest.trim_start();
            if let Some(value) = rest.strip_prefix('=') {
                *rest = value.trim_start();
                let value = take_text(rest)?;
                builder.set(&name, &value);
            } else {
                builder.set(METRIC_NAME, &name);
            }
            *rest = rest.trim_start();
            match rest.strip_prefix(',') {
                Some(after) => *rest = after.trim_start(),
                None if rest.starts_with('}') => {}
                None => return Err(format!("expected ',' or '}}' at '{rest}'")),
            }
        }
        *rest = &rest[1..];
    }
    builder.build().map_err(|error| error.to_string())
}

/// Parses a text in any of Go's quotes at the start of `rest`.
pub(crate) fn take_text(rest: &mut &str) -> Result<String, String> {
    let mut characters = rest.char_indices();
    let quote = match characters.next() {
        Some((_, quote @ ('"' | '\'' | '`'))) => quote,
        _ => return Err(format!("expected a quoted text at '{rest}'")),
    };
    let mut text = String::new();
    while let Some((index, character)) = characters.next() {
        if character == quote {
            *rest = &rest[index + 1..];
            return Ok(text);
        }
        if character != '\\' || quote == '`' {
            text.push(character);
            continue;
        }
        match characters.next().map(|(_, escaped)| escaped) {
            Some('n') => text.push('\n'),
            Some('t') => text.push('\t'),
            Some(escaped) => text.push(escaped),
            None => break,
        }
    }
    Err("unterminated text".to_owned())
}

fn parse_points(text: &str) -> Result<Vec<Point>, String> {
    let mut rest = text.trim();
    let mut points = Vec::new();
    while !rest.is_empty() {
        take_point(&mut rest, &mut points)?;
        if points.len() > POINTS_MAX {
            return Err("too many points".to_owned());
        }
        rest = rest.trim_start();
    }
    Ok(points)
}

fn take_point(rest: &mut &str, points: &mut Vec<Point>) -> Result<(), String> {
    if let Some(after) = rest.strip_prefix('_') {
        *rest = after;
        let count = take_repetition(rest)?.unwrap_or(1);
        points.extend(std::iter::repeat_n(Point::Missing, count));
        return Ok(());
    }
    if let Some(after) = rest.strip_prefix("stale") {
        *rest = after;
        let count = take_repetition(rest)?.map_or(1, |count| count + 1);
        points.extend(std::iter::repeat_n(Point::Value(stale_nan()), count));
        return Ok(());
    }
    if rest.starts_with("{{") {
        take_histogram(rest)?;
        if let Some(increment) = rest.strip_prefix(['+', '-']) {
            *rest = increment;
            take_histogram(rest)?;
        }
        let count = take_repetition(rest)?.map_or(1, |count| count + 1);
        points.extend(std::iter::repeat_n(Point::Histogram, count));
        return Ok(());
    }
    let mut value = take_number(rest)?;
    let increment = match rest.chars().next() {
        Some('+') => {
            *rest = &rest[1..];
            take_number(rest)?
        }
        Some('-') => {
            *rest = &rest[1..];
            -take_number(rest)?
        }
        _ => 0.0,
    };
    let count = take_repetition(rest)?.map_or(1, |count| count + 1);
    for _ in 0..count {
        points.push(Point::Value(value));
        value += increment;
    }
    Ok(())
}

fn take_histogram(rest: &mut &str) -> Result<(), String> {
    let end = rest.find("}}").ok_or_else(|| format!("unterminated histogram at '{rest}'"))?;
    *rest = &rest[end + 2..];
    Ok(())
}

/// Parses `x5`.
fn take_repetition(rest: &mut &str) -> Result<Option<usize>, String> {
    let Some(after) = rest.strip_prefix('x') else {
        return Ok(None);
    };
    let end = after.find(|character: char| !character.is_ascii_digit()).unwrap_or(after.len());
    let count: usize = after[..end].parse().map_err(|_| format!("bad repetition at '{rest}'"))?;
    *rest = &after[end..];
    Ok(Some(count.min(POINTS_MAX)))
}

fn take_number(rest: &mut &str) -> Result<f64, String> {
    let bytes = rest.as_bytes();
    let mut end = usize::from(matches!(bytes.first(), Some(b'+' | b'-')));
    let is_word = |at: usize, word: &str| {
        rest.get(at..at + word.len()).is_some_and(|part| part.eq_ignore_ascii_case(word))
    };
    if is_word(end, "inf") || is_word(end, "nan") {
        end += 3;
    } else {
        while let Some(byte) = bytes.get(end) {
            let is_exponent = matches!(byte, b'e' | b'E');
            if !byte.is_ascii_digit() && *byte != b'.' && !is_exponent {
                break;
            }
            end += 1;
            if is_exponent && matches!(bytes.get(end), Some(b'+' | b'-')) {
                end += 1;
            }
        }
    }
    let number = rest[..end].parse().map_err(|_| format!("expected a number at '{rest}'"))?;
    *rest = &rest[end..];
    Ok(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn values(text: &str) -> Vec<Point> {
        parse_points(text).expect("valid points")
    }

    #[test]
    fn points_are_expanded() {
        let of = |values: &[f64]| values.iter().map(|v| Point::Value(*v)).collect::<Vec<_>>();
        assert_eq!(values("0+10x2"), of(&[0.0, 10.0, 20.0]));
        assert_eq!(values("10-2x1 7"), of(&[10.0, 8.0, 7.0]));
        assert_eq!(values("-0.5x1 1e+2 .75"), of(&[-0.5, -0.5, 100.0, 0.75]));
        assert_eq!(values("_ _x2 Inf").len(), 4);
        assert_eq!(values("{{schema:0 buckets:[1 2]}}+{{sum:1}}x2 1").len(), 4);
    }

    #[test]
    fn series_are_read_in_any_notation() {
        let parsed = parse_series(r#"a:b{le="+Inf", "x.y"='\'', c=`d`} 1"#).expect("valid");
        let expected = r#"{__name__="a:b", c="d", le="+Inf", "x.y"="'"}"#;
        assert_eq!(parsed.labels.to_string(), expected);
        assert_eq!(parse_series("{} 1").expect("valid").labels, Labels::empty());
        assert!(parse_series("a{b} x").is_err());
    }
}
