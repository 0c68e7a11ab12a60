//! What a script expects of an evaluation.

use regex::Regex;

use crate::points::{SeriesPoints, parse_series, take_text};

/// A text that an error or annotation has to be.
#[derive(Clone, Debug)]
pub(crate) enum Text {
    Any,
    Exactly(String),
    Matching(Regex),
}

impl Text {
    /// Returns whether a text is as expected.
    pub(crate) fn accepts(&self, text: &str) -> bool {
        match self {
            Self::Any => true,
            Self::Exactly(expected) => text == expected,
            Self::Matching(regex) => regex.is_match(text),
        }
    }
}

/// All that is expected of one evaluation.
#[derive(Clone, Debug, Default)]
pub(crate) struct Expectation {
    pub(crate) fails: Option<Text>,
    pub(crate) warns: Vec<Text>,
    pub(crate) informs: Vec<Text>,
    pub(crate) never_warns: bool,
    pub(crate) never_informs: bool,
    pub(crate) is_ordered: bool,
    pub(crate) text: Option<String>,
    /// Start and step of an expected range vector, in milliseconds.
    pub(crate) range_vector: Option<(i64, i64)>,
    pub(crate) scalar: Option<f64>,
    pub(crate) series: Vec<SeriesPoints>,
}

impl Expectation {
    /// Takes in a line below an `eval`.
    pub(crate) fn add(&mut self, line: &str) -> Result<(), String> {
        if let Some(expected) = line.strip_prefix("expect ") {
            return self.add_expect(expected.trim());
        }
        if let Some(message) = line.strip_prefix("expected_fail_message ") {
            self.fails = Some(Text::Exactly(message.trim().to_owned()));
            return Ok(());
        }
        if let Some(pattern) = line.strip_prefix("expected_fail_regexp ") {
            self.fails = Some(Text::Matching(compile(pattern.trim())?));
            return Ok(());
        }
        if let Ok(value) = line.parse() {
            self.scalar = Some(value);
            return Ok(());
        }
        self.series.push(parse_series(line)?);
        Ok(())
    }

    fn add_expect(&mut self, expected: &str) -> Result<(), String> {
        let (kind, rest) = expected.split_once(char::is_whitespace).unwrap_or((expected, ""));
        let rest = rest.trim();
        match kind {
            "fail" => self.fails = Some(parse_text(rest)?),
            "warn" => self.warns.push(parse_text(rest)?),
            "info" => self.informs.push(parse_text(rest)?),
            "no_warn" => self.never_warns = true,
            "no_info" => self.never_informs = true,
            "ordered" => self.is_ordered = true,
            "string" => self.text = Some(take_text(&mut { rest })?),
            "range" => self.range_vector = Some(parse_range_vector(rest)?),
            other => return Err(format!("unknown expectation '{other}'")),
        }
        Ok(())
    }
}

fn parse_text(text: &str) -> Result<Text, String> {
    if let Some(message) = text.strip_prefix("msg:") {
        Ok(Text::Exactly(message.trim().to_owned()))
    } else if let Some(pattern) = text.strip_prefix("regex:") {
        Ok(Text::Matching(compile(pattern.trim())?))
    } else {
        Ok(Text::Any)
    }
}

fn compile(pattern: &str) -> Result<Regex, String> {
    Regex::new(pattern).map_err(|error| error.to_string())
}

/// Parses `vector from 10s to 1m step 10s`.
fn parse_range_vector(text: &str) -> Result<(i64, i64), String> {
    let words: Vec<&str> = text.split_whitespace().collect();
    match words.as_slice() {
        ["vector", "from", start, "to", _, "step", step] => {
            Ok((crate::script::parse_time(start)?, crate::script::parse_time(step)?))
        }
        _ => Err(format!("malformed range vector '{text}'")),
    }
}
