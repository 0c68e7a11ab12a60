//! The words of the text formats.

#![warn(clippy::indexing_slicing)]

use std::borrow::Cow;

use model::Timestamp;

use crate::text::ExpositionError;

/// The milliseconds that a floating-point number holds exactly.
const MILLIS_EXACT: std::ops::Range<f64> = -9.0e15..9.0e15;

/// A position in the text. Stops at ASCII bytes only, so that every slice is whole characters.
#[derive(Clone, Debug)]
pub(super) struct Cursor<'a> {
    text: &'a str,
    at: usize,
    line: usize,
    line_start: usize,
}

/// A name or value as it lies in the text, without its quotes.
#[derive(Clone, Copy, Debug)]
pub(super) struct Raw<'a> {
    text: &'a str,
    escaped: bool,
}

/// A piece of a series.
#[derive(Clone, Copy, Debug)]
pub(super) enum LabelPart<'a> {
    /// The metric's name.
    Metric(Raw<'a>),
    /// Name and value of a label.
    Label(Raw<'a>, Raw<'a>),
}

impl<'a> Raw<'a> {
    /// Returns the text that is meant.
    pub(super) fn unescape(self) -> Cow<'a, str> {
        if self.escaped { Cow::Owned(unescape(self.text, true)) } else { Cow::Borrowed(self.text) }
    }
}

impl<'a> Cursor<'a> {
    /// Returns the beginning of `text`.
    pub(super) const fn new(text: &'a str) -> Self {
        Self { text, at: 0, line: 1, line_start: 0 }
    }

    /// Returns the error that `expected` is not here.
    #[cold]
    pub(super) const fn expected(&self, expected: &'static str) -> ExpositionError {
        ExpositionError { line: self.line, column: self.at - self.line_start + 1, expected }
    }

    /// Returns the next byte.
    #[inline]
    pub(super) fn peek(&self) -> Option<u8> {
        self.text.as_bytes().get(self.at).copied()
    }

    /// Passes the next byte, which [`Cursor::peek`] returned and is ASCII.
    #[inline]
    pub(super) const fn bump(&mut self) {
        self.at += 1;
    }

    /// Passes spaces and tabs. Returns whether there was one.
    #[inline]
    pub(super) fn skip_blanks(&mut self) -> bool {
        !self.take_while(|byte| matches!(byte, b' ' | b'\t')).is_empty()
    }

    /// Takes everything up to the next blank or the end of the line; may be empty.
    #[inline]
    pub(super) fn word(&mut self) -> &'a str {
        self.take_while(|byte| !matches!(byte, b' ' | b'\t' | b'\n'))
    }

    /// Takes everything up to the end of the line.
    pub(super) fn rest_of_line(&mut self) -> &'a str {
        self.take_while(|byte| byte != b'\n')
    }

    /// Passes the end of the line, or of the text.
    #[inline]
    pub(super) fn line_end(&mut self) -> Result<(), ExpositionError> {
        self.skip_blanks();
        match self.peek() {
            None => Ok(()),
            Some(b'\n') => {
                self.at += 1;
                self.line += 1;
                self.line_start = self.at;
                Ok(())
            }
            Some(_) => Err(self.expected("the end of the line")),
        }
    }

    /// Takes the help text at the end of a line. Quotes are escaped in OpenMetrics.
    pub(super) fn help(&mut self, open_metrics: bool) -> Cow<'a, str> {
        let text = self.rest_of_line();
        if text.contains('\\') {
            Cow::Owned(unescape(text, open_metrics))
        } else {
            Cow::Borrowed(text)
        }
    }

    /// Takes a metric's name, quoted or not.
    pub(super) fn metric_name(&mut self) -> Result<Raw<'a>, ExpositionError> {
        if self.peek() == Some(b'"') {
            return self.quoted_name();
        }
        let name = self.bare_metric_name();
        if name.is_empty() {
            return Err(self.expected("a metric name"));
        }
        Ok(Raw { text: name, escaped: false })
    }

    /// Takes a name with labels, or labels with a name among them, and shows its parts to `visit`.
    #[inline]
    pub(super) fn series(
        &mut self,
        mut visit: impl FnMut(LabelPart<'a>),
    ) -> Result<&'a str, ExpositionError> {
        let start = self.at;
        let name = self.bare_metric_name();
        let named = !name.is_empty();
        if named {
            visit(LabelPart::Metric(Raw { text: name, escaped: false }));
        }
        let name_end = self.clone();
        self.skip_blanks();
        if self.peek() == Some(b'{') {
            self.labels(named, visit)?;
        } else if named {
            *self = name_end;
        } else {
            return Err(self.expected("a metric name, or '{'"));
        }
        Ok(self.text.get(start..self.at).unwrap_or_default())
    }

    /// Takes a number.
    #[inline]
    pub(super) fn value(&mut self) -> Result<f64, ExpositionError> {
        let at = self.clone();
        let word = self.word();
        let value = word.parse::<f64>().map_err(|_| at.expected("a number"))?;
        if value.is_nan() {
            return Ok(f64::NAN);
        }
        if value.is_infinite() && word.bytes().any(|byte| byte.is_ascii_digit()) {
            return Err(at.expected("a number that fits into 64 bits"));
        }
        Ok(value)
    }

    /// Takes a timestamp if there is one: milliseconds, or seconds in OpenMetrics.
    #[inline]
    pub(super) fn timestamp(
        &mut self,
        open_metrics: bool,
    ) -> Result<Option<Timestamp>, ExpositionError> {
        self.skip_blanks();
        let at = self.clone();
        if matches!(self.peek(), None | Some(b'\n' | b'#')) {
            return Ok(None);
        }
        if open_metrics {
            let millis =
                (self.value().map_err(|_| at.expected("a timestamp in seconds"))? * 1000.0).round();
            if !MILLIS_EXACT.contains(&millis) {
                return Err(at.expected("a timestamp in seconds"));
            }
            #[expect(clippy::cast_possible_truncation, reason = "whole, and in range")]
            return Ok(Some(Timestamp::from_millis(millis as i64)));
        }
        let millis = self.word().parse().map_err(|_| at.expected("a timestamp in milliseconds"))?;
        Ok(Some(Timestamp::from_millis(millis)))
    }

    /// Passes an exemplar. Returns whether there was one.
    #[inline]
    pub(super) fn exemplar(&mut self) -> Result<bool, ExpositionError> {
        self.skip_blanks();
        if self.peek() != Some(b'#') {
            return Ok(false);
        }
        self.bump();
        self.skip_blanks();
        if self.peek() != Some(b'{') {
            return Err(self.expected("the labels of an exemplar"));
        }
        // An exemplar has no name of its own.
        self.label_list(true, |_| ())?;
        self.skip_blanks();
        self.value()?;
        self.timestamp(true)?;
        Ok(true)
    }

    fn labels(
        &mut self,
        named: bool,
        visit: impl FnMut(LabelPart<'a>),
    ) -> Result<(), ExpositionError> {
        let start = self.clone();
        if !self.label_list(named, visit)? {
            return Err(start.expected("a metric name"));
        }
        Ok(())
    }

    /// Takes labels in braces. Returns whether a metric's name is known by then.
    fn label_list(
        &mut self,
        mut named: bool,
        mut visit: impl FnMut(LabelPart<'a>),
    ) -> Result<bool, ExpositionError> {
        self.bump();
        loop {
            self.skip_blanks();
            let at = self.clone();
            let quoted = match self.peek() {
                Some(b'}') => {
                    self.bump();
                    return Ok(named);
                }
                Some(b'"') => true,
                _ => false,
            };
            let name = if quoted { self.quoted_name()? } else { self.bare_label_name()? };
            self.skip_blanks();
            match self.peek() {
                Some(b'=') => {
                    self.bump();
                    self.skip_blanks();
                    let value = self.quoted()?;
                    visit(LabelPart::Label(name, value));
                }
                Some(b',' | b'}') if quoted && !named => {
                    named = true;
                    visit(LabelPart::Metric(name));
                }
                Some(b',' | b'}') if quoted => {
                    return Err(at.expected("a label, as the metric has a name already"));
                }
                _ => return Err(self.expected("'='")),
            }
            self.skip_blanks();
            match self.peek() {
                Some(b',') => self.bump(),
                Some(b'}') => {}
                _ => return Err(self.expected("',' or '}'")),
            }
        }
    }

    #[inline]
    fn bare_metric_name(&mut self) -> &'a str {
        if self.peek().is_some_and(|first| first.is_ascii_digit()) {
            return "";
        }
        self.take_while(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b':'))
    }

    #[inline]
    fn bare_label_name(&mut self) -> Result<Raw<'a>, ExpositionError> {
        let start = self.clone();
        let text = self.take_while(|byte| byte.is_ascii_alphanumeric() || byte == b'_');
        if text.bytes().next().is_none_or(|first| first.is_ascii_digit()) {
            return Err(start.expected("a label name, or '}'"));
        }
        Ok(Raw { text, escaped: false })
    }

    fn quoted_name(&mut self) -> Result<Raw<'a>, ExpositionError> {
        let start = self.clone();
        let name = self.quoted()?;
        if name.text.is_empty() {
            return Err(start.expected("a name that is not empty"));
        }
        Ok(name)
    }

    #[inline]
    fn quoted(&mut self) -> Result<Raw<'a>, ExpositionError> {
        if self.peek() != Some(b'"') {
            return Err(self.expected("'\"'"));
        }
        self.bump();
        let start = self.at;
        let mut escaped = false;
        loop {
            self.take_while(|byte| !matches!(byte, b'"' | b'\\' | b'\n'));
            match self.peek() {
                Some(b'"') => {
                    let text = self.text.get(start..self.at).unwrap_or_default();
                    self.bump();
                    return Ok(Raw { text, escaped });
                }
                Some(b'\\') => {
                    escaped = true;
                    self.bump();
                    // What follows is passed here only when it could end the text.
                    if matches!(self.peek(), Some(b'"' | b'\\')) {
                        self.bump();
                    }
                }
                _ => return Err(self.expected("'\"' before the end of the line")),
            }
        }
    }

    #[inline]
    fn take_while(&mut self, mut pass: impl FnMut(u8) -> bool) -> &'a str {
        let rest = self.text.as_bytes().get(self.at..).unwrap_or_default();
        let length = rest.iter().position(|byte| !pass(*byte)).unwrap_or(rest.len());
        let start = self.at;
        self.at += length;
        self.text.get(start..self.at).unwrap_or_default()
    }
}

/// Undoes `\\`, `\n` and, when `quotes` says so, `\"`; anything else stands for itself.
fn unescape(text: &str, quotes: bool) -> String {
    let mut plain = String::with_capacity(text.len());
    let mut rest = text;
    while let Some((before, after)) = rest.split_once('\\') {
        plain.push_str(before);
        let (meant, length) = match after.bytes().next() {
            Some(b'\\') => ('\\', 1),
            Some(b'n') => ('\n', 1),
            Some(b'"') if quotes => ('"', 1),
            _ => ('\\', 0),
        };
        plain.push(meant);
        rest = after.get(length..).unwrap_or_default();
    }
    plain.push_str(rest);
    plain
}
