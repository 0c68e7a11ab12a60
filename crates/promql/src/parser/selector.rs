//! Selectors: a name, conditions in braces, or both.

use super::{METRIC_NAME, MatchOp, Matcher, ParseError, Parser, VectorSelector};
use crate::ast::Span;
use crate::lexer::{Token, TokenKind};

/// Conditions as they stand in braces.
pub(super) struct LabelMatchers {
    pub(super) matchers: Vec<Matcher>,
    /// A quoted text alone: the metric's name.
    quoted_name: Option<(String, Span)>,
}

impl Parser<'_> {
    /// Reads the braces behind a name, or alone, and checks that something is selected.
    pub(super) fn selector(&mut self, name: Option<String>) -> Result<VectorSelector, ParseError> {
        let start = match &name {
            // The name was the last token.
            Some(_) => self.tokens.get(self.position - 1).map_or(0, |token| token.span.start),
            None => self.token().span.start,
        };
        let mut selected = if self.is_symbol("{") {
            self.label_matchers()?
        } else {
            LabelMatchers { matchers: Vec::new(), quoted_name: None }
        };
        let quoted = selected.quoted_name.take();
        let name = match (name, quoted) {
            (Some(name), Some((quoted, span))) => {
                return Err(self.set_twice(&name, &quoted, span));
            }
            (name, quoted) => name.or_else(|| quoted.map(|(quoted, _)| quoted)),
        };
        let named = selected.matchers.iter().find(|matcher| matcher.name() == METRIC_NAME);
        if let (Some(name), Some(matcher)) = (&name, named) {
            return Err(self.set_twice(name, matcher.value(), self.span_from(start)));
        }
        let mut matchers = selected.matchers;
        if let Some(name) = &name {
            matchers.push(Matcher::equal(METRIC_NAME, name.clone()));
        }
        if matchers.iter().all(Matcher::matches_absent) {
            let message = "vector selector must contain at least one non-empty matcher";
            return Err(self.error(self.span_from(start), message));
        }
        Ok(VectorSelector { name, matchers, offset: None, at: None, extension: None })
    }

    fn set_twice(&self, first: &str, second: &str, span: Span) -> ParseError {
        self.error(span, format!("metric name must not be set twice: {first:?} or {second:?}"))
    }

    pub(super) fn label_matchers(&mut self) -> Result<LabelMatchers, ParseError> {
        self.expect_symbol("{", "label matching")?;
        let mut read = LabelMatchers { matchers: Vec::new(), quoted_name: None };
        while !self.take_symbol("}") {
            self.label_matcher(&mut read)?;
            if !self.take_symbol(",") && !self.is_symbol("}") {
                return Err(self.unexpected("label matching", "\",\" or \"}\""));
            }
        }
        Ok(read)
    }

    fn label_matcher(&mut self, read: &mut LabelMatchers) -> Result<(), ParseError> {
        let Token { kind, span } = self.token().clone();
        let name = match kind {
            TokenKind::Identifier(name) => name,
            TokenKind::String(text) => {
                if !matches!(self.peek_second(), TokenKind::Symbol("=" | "!=" | "=~" | "!~")) {
                    self.advance();
                    if let Some((first, _)) = &read.quoted_name {
                        return Err(self.set_twice(first, &text, span));
                    }
                    read.quoted_name = Some((text, span));
                    return Ok(());
                }
                text
            }
            _ => return Err(self.unexpected("label matching", "identifier or \"}\"")),
        };
        self.advance();
        let op = match self.peek() {
            TokenKind::Symbol("=") => MatchOp::Equal,
            TokenKind::Symbol("!=") => MatchOp::NotEqual,
            TokenKind::Symbol("=~") => MatchOp::Regex,
            TokenKind::Symbol("!~") => MatchOp::NotRegex,
            _ => return Err(self.unexpected("label matching", "label matching operator")),
        };
        self.advance();
        let TokenKind::String(value) = self.peek().clone() else {
            return Err(self.unexpected("label matching", "string"));
        };
        self.advance();
        let matcher = Matcher::new(name, op, value)
            .map_err(|error| self.error(self.span_from(span.start), error.to_string()))?;
        read.matchers.push(matcher);
        Ok(())
    }
}
