//! Tokens to a syntax tree, by precedence climbing.
//!
//! The grammar is that of Prometheus 3.14, its experimental parts included; what a query means is checked in
//! [`check`], right after it is read.

use std::fmt;

use model::{METRIC_NAME, MatchOp, Matcher};

use crate::ast::{
    AggregateExpr, AggregateOp, AtModifier, BinaryExpr, BinaryOp, CallExpr, DurationExpr, Expr,
    ExprKind, MatchCardinality, MatrixSelector, RangeExtension, Span, SubqueryExpr, UnaryOp,
    VectorMatching, VectorSelector,
};
use crate::functions::signature;
use crate::lexer::{Token, TokenKind, tokenize};

mod check;
mod duration;
mod selector;

/// The longest query, in bytes.
pub const QUERY_BYTES_MAX: usize = 100 << 10;

/// The deepest nesting of a query: far below what a thread's stack holds.
pub const DEPTH_MAX: usize = 200;

/// Where and why a query cannot be read.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ParseError {
    /// What is wrong.
    pub message: String,
    /// Where.
    pub span: Span,
    /// The line of its start, counted from 1.
    pub line: usize,
    /// The column of its start in bytes, counted from 1.
    pub column: usize,
}

impl ParseError {
    pub(crate) fn new(query: &str, span: Span, message: impl Into<String>) -> Self {
        let (line, column) = line_and_column(query, span.start);
        Self { message: message.into(), span, line, column }
    }
}

impl fmt::Display for ParseError {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}:{}: parse error: {}", self.line, self.column, self.message)
    }
}

impl std::error::Error for ParseError {}

/// Returns line and column, both from 1, of a position; columns count bytes.
pub(crate) fn line_and_column(query: &str, position: u32) -> (usize, usize) {
    let before = query.as_bytes().get(..position as usize).unwrap_or(query.as_bytes());
    let line = 1 + before.iter().filter(|byte| **byte == b'\n').count();
    let start = before.iter().rposition(|byte| *byte == b'\n').map_or(0, |newline| newline + 1);
    (line, 1 + before.len() - start)
}

/// Reads a query and checks that its parts fit together.
///
/// # Errors
///
/// The first mistake, with its place.
pub fn parse(query: &str) -> Result<Expr, ParseError> {
    if query.len() > QUERY_BYTES_MAX {
        let message = format!("query of {} bytes, the limit is {QUERY_BYTES_MAX}", query.len());
        return Err(ParseError::new(query, Span::default(), message));
    }
    let tokens = tokenize(query)?;
    let mut parser = Parser { query, tokens, position: 0, depth: 0 };
    if parser.peek() == &TokenKind::End {
        return Err(parser.error_here("no expression found in input"));
    }
    let expr = parser.expression(0)?;
    if parser.peek() != &TokenKind::End {
        return Err(parser.unexpected("", ""));
    }
    Ok(expr)
}

/// Reads a selector alone, as the parameter `match[]` has it.
///
/// # Errors
///
/// It is something else, or has a mistake.
pub fn parse_selector(query: &str) -> Result<Vec<Matcher>, ParseError> {
    let expr = parse(query)?;
    match expr.kind {
        ExprKind::Vector(VectorSelector { matchers, offset: None, at: None, .. }) => Ok(matchers),
        _ => Err(ParseError::new(query, expr.span, "expected a series selector")),
    }
}

struct Parser<'a> {
    query: &'a str,
    tokens: Vec<Token>,
    position: usize,
    depth: usize,
}

/// The precedence of unary signs: above multiplication, below powers.
const UNARY_PRECEDENCE: u8 = 6;

fn precedence(op: BinaryOp) -> u8 {
    match op {
        BinaryOp::Or => 1,
        BinaryOp::And | BinaryOp::Unless => 2,
        BinaryOp::Eq
        | BinaryOp::Ne
        | BinaryOp::Lt
        | BinaryOp::Le
        | BinaryOp::Gt
        | BinaryOp::Ge
        | BinaryOp::TrimUpper
        | BinaryOp::TrimLower => 3,
        BinaryOp::Add | BinaryOp::Sub => 4,
        BinaryOp::Mul | BinaryOp::Div | BinaryOp::Mod | BinaryOp::Atan2 => 5,
        BinaryOp::Pow => 7,
    }
}

impl Parser<'_> {
    fn token(&self) -> &Token {
        let last = self.tokens.len() - 1;
        &self.tokens[self.position.min(last)]
    }

    fn peek(&self) -> &TokenKind {
        &self.token().kind
    }

    fn peek_second(&self) -> &TokenKind {
        self.tokens.get(self.position + 1).map_or(&TokenKind::End, |token| &token.kind)
    }

    fn advance(&mut self) -> Token {
        let token = self.token().clone();
        self.position += 1;
        token
    }

    fn is_symbol(&self, symbol: &str) -> bool {
        matches!(self.peek(), TokenKind::Symbol(present) if *present == symbol)
    }

    fn take_symbol(&mut self, symbol: &str) -> bool {
        let found = self.is_symbol(symbol);
        self.position += usize::from(found);
        found
    }

    /// Returns whether the next token is this word, in any case.
    fn is_word(&self, word: &str) -> bool {
        matches!(self.peek(), TokenKind::Identifier(name) if name.eq_ignore_ascii_case(word))
    }

    fn take_word(&mut self, word: &str) -> bool {
        let found = self.is_word(word);
        self.position += usize::from(found);
        found
    }

    fn expect_symbol(&mut self, symbol: &str, context: &str) -> Result<Span, ParseError> {
        if !self.is_symbol(symbol) {
            return Err(self.unexpected(context, &format!("{symbol:?}")));
        }
        Ok(self.advance().span)
    }

    /// Returns the end of the last token that was read.
    fn end(&self) -> u32 {
        self.position
            .checked_sub(1)
            .and_then(|last| self.tokens.get(last))
            .map_or(0, |token| token.span.end)
    }

    fn span_from(&self, start: u32) -> Span {
        Span { start, end: self.end().max(start) }
    }

    fn error(&self, span: Span, message: impl Into<String>) -> ParseError {
        ParseError::new(self.query, span, message)
    }

    fn error_here(&self, message: impl Into<String>) -> ParseError {
        self.error(self.token().span, message)
    }

    fn unexpected(&self, context: &str, expected: &str) -> ParseError {
        let Token { kind, span } = self.token();
        let text = self.query.get(span.start as usize..span.end as usize).unwrap_or("");
        let mut message = format!("unexpected {}", kind.describe(text));
        if !context.is_empty() {
            message.push_str(" in ");
            message.push_str(context);
        }
        if !expected.is_empty() {
            message.push_str(", expected ");
            message.push_str(expected);
        }
        self.error(*span, message)
    }

    /// Runs `read` one level deeper.
    fn nested<T>(
        &mut self,
        read: impl FnOnce(&mut Self) -> Result<T, ParseError>,
    ) -> Result<T, ParseError> {
        if self.depth == DEPTH_MAX {
            let message = format!("query is nested more than {DEPTH_MAX} levels deep");
            return Err(self.error_here(message));
        }
        self.depth += 1;
        let result = read(self);
        self.depth -= 1;
        result
    }

    /// Reads operands and operators of at least precedence `least`.
    fn expression(&mut self, least: u8) -> Result<Expr, ParseError> {
        self.nested(|parser| {
            let mut left = parser.operand()?;
            let mut chain = 0;
            while let Some(op) = parser.binary_op() {
                if precedence(op) < least {
                    break;
                }
                // Each operator of a chain is a level of the tree, though not of this recursion.
                chain += 1;
                if parser.depth + chain > DEPTH_MAX {
                    let message = format!("query is nested more than {DEPTH_MAX} levels deep");
                    return Err(parser.error_here(message));
                }
                left = parser.binary(left, op)?;
            }
            Ok(left)
        })
    }

    fn binary_op(&self) -> Option<BinaryOp> {
        Some(match self.peek() {
            TokenKind::Symbol(symbol) => match *symbol {
                "+" => BinaryOp::Add,
                "-" => BinaryOp::Sub,
                "*" => BinaryOp::Mul,
                "/" => BinaryOp::Div,
                "%" => BinaryOp::Mod,
                "^" => BinaryOp::Pow,
                "==" => BinaryOp::Eq,
                "!=" => BinaryOp::Ne,
                "<" => BinaryOp::Lt,
                "<=" => BinaryOp::Le,
                ">" => BinaryOp::Gt,
                ">=" => BinaryOp::Ge,
                "</" => BinaryOp::TrimUpper,
                ">/" => BinaryOp::TrimLower,
                _ => return None,
            },
            TokenKind::Identifier(name) => match name.to_ascii_lowercase().as_str() {
                "and" => BinaryOp::And,
                "or" => BinaryOp::Or,
                "unless" => BinaryOp::Unless,
                "atan2" => BinaryOp::Atan2,
                _ => return None,
            },
            _ => return None,
        })
    }

    fn binary(&mut self, left: Expr, op: BinaryOp) -> Result<Expr, ParseError> {
        let op_span = self.advance().span;
        let bool_span = self.token().span;
        let return_bool = self.take_word("bool");
        if return_bool && !op.is_comparison() {
            let message = "bool modifier can only be used on comparison operators";
            return Err(self.error(bool_span, message));
        }
        let matching = self.matching(op)?;
        // The operators of the same precedence on the right belong to the tree above, but for powers.
        let least = precedence(op) + u8::from(op != BinaryOp::Pow);
        let right = self.expression(least)?;
        let span = Span { start: left.span.start, end: right.span.end };
        let binary = BinaryExpr { op, op_span, left, right, return_bool, matching: None };
        let binary = self.check_binary(binary, matching, span)?;
        Ok(Expr { kind: ExprKind::Binary(Box::new(binary)), span })
    }

    /// Reads `on`, `ignoring`, `group_left`, `group_right` and `fill`; `None` when there is none of them.
    fn matching(&mut self, op: BinaryOp) -> Result<Option<VectorMatching>, ParseError> {
        let cardinality =
            if op.is_set() { MatchCardinality::ManyToMany } else { MatchCardinality::OneToOne };
        let mut matching = VectorMatching {
            cardinality,
            on: false,
            labels: Vec::new(),
            include: Vec::new(),
            fill_left: None,
            fill_right: None,
        };
        let start = self.position;
        if self.is_word("on") || self.is_word("ignoring") {
            matching.on = self.is_word("on");
            self.advance();
            matching.labels = self.label_list("grouping opts")?;
            let group = self.token().span;
            let (left, right) = (self.is_word("group_left"), self.is_word("group_right"));
            if left || right {
                self.advance();
                if op.is_set() {
                    let message = format!("no grouping allowed for \"{}\" operation", op.as_str());
                    return Err(self.error(group, message));
                }
                matching.cardinality =
                    if left { MatchCardinality::ManyToOne } else { MatchCardinality::OneToMany };
                if self.is_symbol("(") {
                    matching.include = self.label_list("grouping opts")?;
                }
                let both = matching.include.iter().find(|label| matching.labels.contains(label));
                if let (true, Some(label)) = (matching.on, both) {
                    let message =
                        format!("label {label:?} must not occur in ON and GROUP clause at once");
                    return Err(self.error(group, message));
                }
            }
        }
        self.fill(op, &mut matching)?;
        Ok((self.position > start).then_some(matching))
    }

    fn fill(&mut self, op: BinaryOp, matching: &mut VectorMatching) -> Result<(), ParseError> {
        loop {
            let span = self.token().span;
            let follows = matches!(self.peek_second(), TokenKind::Symbol("("));
            let sides = match self.peek() {
                TokenKind::Identifier(name) if follows => {
                    match name.to_ascii_lowercase().as_str() {
                        "fill" => (true, true),
                        "fill_left" => (true, false),
                        "fill_right" => (false, true),
                        _ => return Ok(()),
                    }
                }
                _ => return Ok(()),
            };
            self.advance();
            self.expect_symbol("(", "fill modifier")?;
            let negative = self.take_symbol("-");
            if !negative {
                self.take_symbol("+");
            }
            let TokenKind::Number(value) = number_of(self.peek()) else {
                return Err(self.unexpected("fill modifier", "number"));
            };
            self.advance();
            self.expect_symbol(")", "fill modifier")?;
            if op.is_set() {
                let message = format!(
                    "filling in missing series not allowed for \"{}\" operation",
                    op.as_str()
                );
                return Err(self.error(span, message));
            }
            let value = if negative { -value } else { value };
            if sides.0 {
                matching.fill_left = Some(value);
            }
            if sides.1 {
                matching.fill_right = Some(value);
            }
        }
    }

    fn label_list(&mut self, context: &str) -> Result<Vec<String>, ParseError> {
        self.expect_symbol("(", context)?;
        let mut labels = Vec::new();
        while !self.take_symbol(")") {
            match self.advance() {
                Token { kind: TokenKind::Identifier(name), .. } if !name.contains(':') => {
                    labels.push(name)
                }
                Token { kind: TokenKind::String(name), span } => {
                    if name.is_empty() {
                        return Err(self.error(span, "label name must not be empty"));
                    }
                    labels.push(name);
                }
                _ => {
                    self.position -= 1;
                    return Err(self.unexpected(context, "label"));
                }
            }
            if !self.take_symbol(",") && !self.is_symbol(")") {
                return Err(self.unexpected(context, "\",\" or \")\""));
            }
        }
        Ok(labels)
    }

    /// Reads a sign or a primary expression with all that follows it.
    fn operand(&mut self) -> Result<Expr, ParseError> {
        let start = self.token().span.start;
        let sign = match self.peek() {
            TokenKind::Symbol("-") => Some(UnaryOp::Minus),
            TokenKind::Symbol("+") => Some(UnaryOp::Plus),
            _ => None,
        };
        if let Some(sign) = sign {
            self.advance();
            let inner = self.expression(UNARY_PRECEDENCE)?;
            let span = Span { start, end: inner.span.end };
            self.check_unary(&inner)?;
            let kind = match inner.kind {
                // A signed number is a number.
                ExprKind::Number(value) => {
                    ExprKind::Number(if sign == UnaryOp::Minus { -value } else { value })
                }
                _ => ExprKind::Unary(sign, Box::new(inner)),
            };
            return Ok(Expr { kind, span });
        }
        let primary = self.primary()?;
        self.postfix(primary)
    }

    fn primary(&mut self) -> Result<Expr, ParseError> {
        let Token { kind, span } = self.token().clone();
        let kind = match kind {
            TokenKind::Number(value) => {
                self.advance();
                ExprKind::Number(value)
            }
            #[expect(clippy::cast_precision_loss, reason = "durations of our age fit into 53 bits")]
            TokenKind::Duration(millis) => {
                self.advance();
                ExprKind::Number(millis as f64 / 1000.0)
            }
            TokenKind::String(text) => {
                self.advance();
                ExprKind::String(text)
            }
            TokenKind::Symbol("(") => {
                self.advance();
                let inner = self.expression(0)?;
                self.expect_symbol(")", "parenthesized expression")?;
                ExprKind::Paren(Box::new(inner))
            }
            TokenKind::Symbol("{") => ExprKind::Vector(self.selector(None)?),
            TokenKind::Identifier(name) => return self.named(name, span),
            _ => return Err(self.unexpected("", "")),
        };
        Ok(Expr { kind, span: self.span_from(span.start) })
    }

    /// Reads what begins with a name: an aggregation, a call, a number, or a selector.
    fn named(&mut self, name: String, span: Span) -> Result<Expr, ParseError> {
        let lower = name.to_ascii_lowercase();
        let aggregate = AggregateOp::ALL.into_iter().find(|op| op.as_str() == lower);
        let groups = |kind: &TokenKind| {
            matches!(kind, TokenKind::Identifier(word)
                if word.eq_ignore_ascii_case("by") || word.eq_ignore_ascii_case("without"))
        };
        let called = matches!(self.peek_second(), TokenKind::Symbol("("));
        if let Some(op) = aggregate
            && (called || groups(self.peek_second()))
        {
            self.advance();
            return self.aggregate(op, span);
        }
        if called && !["on", "ignoring", "by", "without", "bool"].contains(&lower.as_str()) {
            self.advance();
            return self.call(&name, span);
        }
        if let TokenKind::Number(value) = number_of(self.peek()) {
            self.advance();
            return Ok(Expr { kind: ExprKind::Number(value), span });
        }
        self.advance();
        let selector = self.selector(Some(name))?;
        Ok(Expr { kind: ExprKind::Vector(selector), span: self.span_from(span.start) })
    }

    fn aggregate(&mut self, op: AggregateOp, span: Span) -> Result<Expr, ParseError> {
        let mut grouping = self.grouping()?;
        if !self.is_symbol("(") {
            return Err(self.unexpected("aggregation", "\"(\""));
        }
        let mut args = self.arguments()?;
        if grouping.is_none() {
            grouping = self.grouping()?;
        }
        let span = self.span_from(span.start);
        let wanted = 1 + usize::from(op.takes_parameter());
        if args.len() != wanted {
            let message = format!(
                "wrong number of arguments for aggregate expression provided, expected {wanted}, got {}",
                args.len()
            );
            return Err(self.error(span, message));
        }
        let (without, labels) = grouping.unwrap_or_default();
        let expr = args
            .pop()
            .ok_or_else(|| self.error(span, "no arguments for aggregate expression provided"))?;
        let aggregate = AggregateExpr { op, expr, param: args.pop(), without, labels };
        self.check_aggregate(&aggregate)?;
        Ok(Expr { kind: ExprKind::Aggregate(Box::new(aggregate)), span })
    }

    fn grouping(&mut self) -> Result<Option<(bool, Vec<String>)>, ParseError> {
        let without = self.is_word("without");
        if !without && !self.is_word("by") {
            return Ok(None);
        }
        self.advance();
        Ok(Some((without, self.label_list("grouping opts")?)))
    }

    fn arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.expect_symbol("(", "function call")?;
        let mut args = Vec::new();
        while !self.take_symbol(")") {
            args.push(self.expression(0)?);
            if self.take_symbol(",") {
                if self.is_symbol(")") {
                    return Err(
                        self.error_here("trailing commas not allowed in function call args")
                    );
                }
            } else if !self.is_symbol(")") {
                return Err(self.unexpected("function call", "\",\" or \")\""));
            }
        }
        Ok(args)
    }

    fn call(&mut self, name: &str, span: Span) -> Result<Expr, ParseError> {
        let Some(function) = signature(name) else {
            return Err(self.error(span, format!("unknown function with name {name:?}")));
        };
        let args = if function.name == "info" { self.info_arguments()? } else { self.arguments()? };
        let span = self.span_from(span.start);
        let call = CallExpr { function, args };
        self.check_call(&call, span)?;
        Ok(Expr { kind: ExprKind::Call(Box::new(call)), span })
    }

    /// Reads the arguments of `info`, whose second one only names labels and may match everything.
    fn info_arguments(&mut self) -> Result<Vec<Expr>, ParseError> {
        self.expect_symbol("(", "function call")?;
        let mut args = vec![self.expression(0)?];
        if self.take_symbol(",") {
            let start = self.token().span.start;
            if !self.is_symbol("{") {
                let message = "expected label selectors only, got vector selector instead";
                return Err(self.error_here(message));
            }
            let selector = self.label_matchers()?;
            let kind = ExprKind::Vector(VectorSelector {
                name: None,
                matchers: selector.matchers,
                offset: None,
                at: None,
                extension: None,
            });
            args.push(Expr { kind, span: self.span_from(start) });
        }
        self.expect_symbol(")", "function call")?;
        Ok(args)
    }

    /// Reads ranges, subqueries, offsets, `@` and extensions behind an expression.
    fn postfix(&mut self, mut expr: Expr) -> Result<Expr, ParseError> {
        let mut levels = 0;
        loop {
            if self.depth + levels > DEPTH_MAX {
                let message = format!("query is nested more than {DEPTH_MAX} levels deep");
                return Err(self.error_here(message));
            }
            levels += 1;
            let start = expr.span.start;
            if self.is_symbol("[") {
                expr = self.range(expr)?;
            } else if self.is_word("offset") {
                self.advance();
                let offset = self.offset_duration()?;
                let end = self.span_from(start);
                self.set_offset(&mut expr, offset, end)?;
            } else if self.take_symbol("@") {
                let at = self.at_modifier()?;
                let end = self.span_from(start);
                self.set_at(&mut expr, at, end)?;
            } else if self.is_word("anchored") || self.is_word("smoothed") {
                let extension = if self.is_word("anchored") {
                    RangeExtension::Anchored
                } else {
                    RangeExtension::Smoothed
                };
                let word = self.advance().span;
                self.set_extension(&mut expr, extension, word)?;
            } else {
                return Ok(expr);
            }
            expr.span = self.span_from(start);
        }
    }

    fn range(&mut self, expr: Expr) -> Result<Expr, ParseError> {
        let start = expr.span.start;
        let bracket = self.advance().span;
        let range = self.duration_sum()?;
        self.check_positive(&range)?;
        if self.take_symbol(":") {
            let step = if self.is_symbol("]") { None } else { Some(self.duration_sum()?) };
            if let Some(step) = &step {
                self.check_positive(step)?;
            }
            self.expect_symbol("]", "subquery selector")?;
            self.check_subquery(&expr)?;
            let subquery = SubqueryExpr { expr, range, step, offset: None, at: None };
            let kind = ExprKind::Subquery(Box::new(subquery));
            return Ok(Expr { kind, span: self.span_from(start) });
        }
        self.expect_symbol("]", "subquery or range selector")?;
        let ExprKind::Vector(selector) = expr.kind else {
            return Err(self.error(bracket, "ranges only allowed for vector selectors"));
        };
        let misplaced = match &selector {
            VectorSelector { offset: Some(_), .. } => {
                Some("no offset modifiers allowed before range")
            }
            VectorSelector { at: Some(_), .. } => Some("no @ modifiers allowed before range"),
            VectorSelector { extension: Some(_), .. } => {
                Some("anchored and smoothed modifiers are only allowed after the range")
            }
            _ => None,
        };
        if let Some(message) = misplaced {
            return Err(self.error(bracket, message));
        }
        let kind = ExprKind::Matrix(Box::new(MatrixSelector { selector, range }));
        Ok(Expr { kind, span: self.span_from(start) })
    }

    fn at_modifier(&mut self) -> Result<AtModifier, ParseError> {
        let span = self.token().span;
        for (word, at) in [("start", AtModifier::Start), ("end", AtModifier::End)] {
            if self.is_word(word) && matches!(self.peek_second(), TokenKind::Symbol("(")) {
                self.advance();
                self.advance();
                self.expect_symbol(")", "@ modifier")?;
                return Ok(at);
            }
        }
        let negative = self.take_symbol("-");
        if !negative {
            self.take_symbol("+");
        }
        let value = match number_of(self.peek()) {
            TokenKind::Number(value) => value,
            #[expect(clippy::cast_precision_loss, reason = "durations of our age fit into 53 bits")]
            TokenKind::Duration(millis) => millis as f64 / 1000.0,
            _ => return Err(self.unexpected("@ modifier", "timestamp")),
        };
        self.advance();
        let millis = (if negative { -value } else { value } * 1000.0).round();
        #[expect(clippy::cast_possible_truncation, reason = "checked to be within the range")]
        if millis.is_finite() && millis.abs() < 9.2e18 {
            return Ok(AtModifier::Timestamp(millis as i64));
        }
        Err(self.error(span, "timestamp out of bounds for @ modifier"))
    }

    fn set_offset(
        &self,
        expr: &mut Expr,
        offset: DurationExpr,
        span: Span,
    ) -> Result<(), ParseError> {
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.offset,
            ExprKind::Matrix(matrix) => &mut matrix.selector.offset,
            ExprKind::Subquery(subquery) => &mut subquery.offset,
            _ => {
                let message = "offset modifier must be preceded by an instant vector selector or range vector \
                               selector or a subquery";
                return Err(self.error(span, message));
            }
        };
        if slot.is_some() {
            return Err(self.error(span, "offset may not be set multiple times"));
        }
        *slot = Some(offset);
        Ok(())
    }

    fn set_at(&self, expr: &mut Expr, at: AtModifier, span: Span) -> Result<(), ParseError> {
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.at,
            ExprKind::Matrix(matrix) => &mut matrix.selector.at,
            ExprKind::Subquery(subquery) => &mut subquery.at,
            _ => {
                let message = "@ modifier must be preceded by an instant vector selector or range vector selector \
                               or a subquery";
                return Err(self.error(span, message));
            }
        };
        if slot.is_some() {
            return Err(self.error(span, "@ <timestamp> may not be set multiple times"));
        }
        *slot = Some(at);
        Ok(())
    }

    fn set_extension(
        &self,
        expr: &mut Expr,
        extension: RangeExtension,
        word: Span,
    ) -> Result<(), ParseError> {
        let slot = match &mut expr.kind {
            ExprKind::Vector(selector) => &mut selector.extension,
            ExprKind::Matrix(matrix) => &mut matrix.selector.extension,
            _ => {
                let message = "anchored and smoothed modifiers must be preceded by a selector";
                return Err(self.error(word, message));
            }
        };
        if slot.is_some() {
            return Err(self.error(word, "anchored and smoothed may not be set multiple times"));
        }
        *slot = Some(extension);
        Ok(())
    }
}

/// Returns `Inf` and `NaN`, in any case, as the numbers that they are; other tokens as they are.
fn number_of(kind: &TokenKind) -> TokenKind {
    match kind {
        TokenKind::Identifier(name) if name.eq_ignore_ascii_case("inf") => {
            TokenKind::Number(f64::INFINITY)
        }
        TokenKind::Identifier(name) if name.eq_ignore_ascii_case("nan") => {
            TokenKind::Number(f64::NAN)
        }
        _ => kind.clone(),
    }
}

#[cfg(test)]
mod tests;
