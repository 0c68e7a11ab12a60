//! Conditions on labels.

use std::fmt;

use regex::{Regex, RegexBuilder};
use regex_syntax::hir::{Hir, HirKind};

/// Most bytes that a compiled expression may take up.
const COMPILED_BYTES_MAX: usize = 1 << 20;
/// Most literal alternatives that are extracted from an expression.
const LITERALS_MAX: usize = 4096;

/// How a label's value is compared.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum MatchOp {
    /// `=`
    Equal,
    /// `!=`
    NotEqual,
    /// `=~`
    Regex,
    /// `!~`
    NotRegex,
}

impl MatchOp {
    /// Returns the operator as PromQL writes it.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Equal => "=",
            Self::NotEqual => "!=",
            Self::Regex => "=~",
            Self::NotRegex => "!~",
        }
    }
}

/// A regular expression that does not compile.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
#[error("regular expression '{pattern}': {reason}")]
pub struct RegexError {
    /// The expression.
    pub pattern: String,
    /// What is wrong with it.
    pub reason: String,
}

/// A regular expression in RE2's syntax that has to match the whole text, with `.` matching line ends too,
/// as Prometheus anchors the expressions of matchers and of relabelling.
#[derive(Clone)]
pub struct AnchoredRegex {
    pattern: String,
    regex: Regex,
    literals: Option<Vec<String>>,
    prefix: String,
}

impl AnchoredRegex {
    /// Compiles an expression.
    ///
    /// # Errors
    ///
    /// It is malformed, uses what RE2 has not, or is too large.
    pub fn new(pattern: &str) -> Result<Self, RegexError> {
        let error = |reason: String| RegexError { pattern: pattern.to_owned(), reason };
        let translated = from_re2(pattern);
        let hir = regex_syntax::ParserBuilder::new()
            .dot_matches_new_line(true)
            .build()
            .parse(&translated)
            .map_err(|source| error(last_line(&source.to_string())))?;
        let regex = RegexBuilder::new(&format!("^(?s:{translated})$"))
            .size_limit(COMPILED_BYTES_MAX)
            .build()
            .map_err(|source| error(last_line(&source.to_string())))?;
        let literals = literals_of(&hir).map(|mut literals| {
            literals.sort_unstable();
            literals.dedup();
            literals
        });
        Ok(Self { pattern: pattern.to_owned(), regex, literals, prefix: prefix_of(&hir) })
    }

    /// Returns the expression as it was written.
    #[must_use]
    pub fn as_str(&self) -> &str {
        &self.pattern
    }

    /// Returns whether all of `text` matches.
    #[must_use]
    pub fn is_match(&self, text: &str) -> bool {
        match &self.literals {
            Some(literals) => {
                literals.binary_search_by(|literal| literal.as_str().cmp(text)).is_ok()
            }
            None => text.starts_with(&self.prefix) && self.regex.is_match(text),
        }
    }

    /// Returns all texts that match, ascending, when they are few and known: `a|b|c`.
    #[must_use]
    pub fn literals(&self) -> Option<&[String]> {
        self.literals.as_deref()
    }

    /// Returns a text that everything that matches begins with; empty when there is none.
    #[must_use]
    pub fn prefix(&self) -> &str {
        &self.prefix
    }

    /// Returns `template` with `$1`, `${name}` and `$$` replaced by what the groups matched, as Go's `Expand`;
    /// `None` when `text` does not match.
    #[must_use]
    pub fn expand(&self, text: &str, template: &str) -> Option<String> {
        let captures = self.regex.captures(text)?;
        let mut expanded = String::new();
        captures.expand(template, &mut expanded);
        Some(expanded)
    }
}

impl fmt::Debug for AnchoredRegex {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_tuple("AnchoredRegex").field(&self.pattern).finish()
    }
}

impl PartialEq for AnchoredRegex {
    fn eq(&self, other: &Self) -> bool {
        self.pattern == other.pattern
    }
}

impl Eq for AnchoredRegex {}

/// A condition on one label.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Matcher {
    name: String,
    op: MatchOp,
    value: String,
    regex: Option<AnchoredRegex>,
}

impl Matcher {
    /// Returns the condition that `name` compares by `op` with `value`.
    ///
    /// # Errors
    ///
    /// The value is to be a regular expression and is none.
    pub fn new(
        name: impl Into<String>,
        op: MatchOp,
        value: impl Into<String>,
    ) -> Result<Self, RegexError> {
        let value = value.into();
        let regex = match op {
            MatchOp::Regex | MatchOp::NotRegex => Some(AnchoredRegex::new(&value)?),
            MatchOp::Equal | MatchOp::NotEqual => None,
        };
        Ok(Self { name: name.into(), op, value, regex })
    }

    /// Returns the condition `name="value"`.
    #[must_use]
    pub fn equal(name: impl Into<String>, value: impl Into<String>) -> Self {
        Self { name: name.into(), op: MatchOp::Equal, value: value.into(), regex: None }
    }

    /// Returns the label's name.
    #[must_use]
    pub fn name(&self) -> &str {
        &self.name
    }

    /// Returns the comparison.
    #[must_use]
    pub fn op(&self) -> MatchOp {
        self.op
    }

    /// Returns the value or expression that is compared with.
    #[must_use]
    pub fn value(&self) -> &str {
        &self.value
    }

    /// Returns the compiled expression of `=~` and `!~`.
    #[must_use]
    pub fn regex(&self) -> Option<&AnchoredRegex> {
        self.regex.as_ref()
    }

    /// Returns whether a label with this value, or an absent one as `""`, satisfies the condition.
    #[must_use]
    pub fn matches(&self, value: &str) -> bool {
        match (self.op, &self.regex) {
            (MatchOp::Equal, _) => self.value == value,
            (MatchOp::NotEqual, _) => self.value != value,
            (MatchOp::Regex, Some(regex)) => regex.is_match(value),
            (MatchOp::NotRegex, Some(regex)) => !regex.is_match(value),
            (MatchOp::Regex | MatchOp::NotRegex, None) => false,
        }
    }

    /// Returns whether a series without the label satisfies the condition.
    #[must_use]
    pub fn matches_absent(&self) -> bool {
        self.matches("")
    }
}

impl fmt::Display for Matcher {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}{}{:?}", self.name, self.op.as_str(), self.value)
    }
}

/// Rewrites what RE2 spells differently: `\Q…\E`, and `\z` that has the same name in both.
fn from_re2(pattern: &str) -> String {
    let mut translated = String::with_capacity(pattern.len());
    let mut rest = pattern;
    while let Some(backslash) = rest.find('\\') {
        translated.push_str(&rest[..backslash]);
        let escape = &rest[backslash..];
        if let Some(quoted) = escape.strip_prefix("\\Q") {
            let end = quoted.find("\\E").unwrap_or(quoted.len());
            translated.push_str(&regex_syntax::escape(&quoted[..end]));
            rest = quoted[end..].strip_prefix("\\E").unwrap_or("");
        } else {
            let mut characters = escape.char_indices().skip(2);
            let end = characters.next().map_or(escape.len(), |(index, _)| index);
            translated.push_str(&escape[..end]);
            rest = &escape[end..];
        }
    }
    translated.push_str(rest);
    translated
}

fn last_line(message: &str) -> String {
    let line = message.lines().rev().find(|line| !line.trim().is_empty()).unwrap_or(message);
    line.trim().trim_start_matches("error: ").to_owned()
}

/// Returns all texts that an expression matches, if they are finitely many and few.
fn literals_of(hir: &Hir) -> Option<Vec<String>> {
    match hir.kind() {
        HirKind::Empty => Some(vec![String::new()]),
        HirKind::Literal(literal) => Some(vec![String::from_utf8(literal.0.to_vec()).ok()?]),
        HirKind::Capture(capture) => literals_of(&capture.sub),
        HirKind::Alternation(alternatives) => {
            let mut all = Vec::new();
            for alternative in alternatives {
                all.extend(literals_of(alternative)?);
                if all.len() > LITERALS_MAX {
                    return None;
                }
            }
            Some(all)
        }
        HirKind::Concat(parts) => {
            let mut all = vec![String::new()];
            for part in parts {
                let tails = literals_of(part)?;
                if all.len().checked_mul(tails.len())? > LITERALS_MAX {
                    return None;
                }
                all = all
                    .iter()
                    .flat_map(|head| tails.iter().map(move |tail| format!("{head}{tail}")))
                    .collect();
            }
            Some(all)
        }
        HirKind::Class(regex_syntax::hir::Class::Unicode(class)) => {
            let mut all = Vec::new();
            for range in class.ranges() {
                for character in range.start()..=range.end() {
                    all.push(character.to_string());
                    if all.len() > 64 {
                        return None;
                    }
                }
            }
            Some(all)
        }
        _ => None,
    }
}

fn prefix_of(hir: &Hir) -> String {
    match hir.kind() {
        HirKind::Literal(literal) => String::from_utf8(literal.0.to_vec()).unwrap_or_default(),
        HirKind::Capture(capture) => prefix_of(&capture.sub),
        HirKind::Concat(parts) => {
            let mut prefix = String::new();
            for part in parts {
                match part.kind() {
                    HirKind::Literal(_) => prefix.push_str(&prefix_of(part)),
                    _ => break,
                }
            }
            prefix
        }
        _ => String::new(),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn check(pattern: &str, matching: &[&str], others: &[&str]) {
        let regex = AnchoredRegex::new(pattern).expect("a valid expression");
        for text in matching {
            assert!(regex.is_match(text), "{pattern} should match {text:?}");
        }
        for text in others {
            assert!(!regex.is_match(text), "{pattern} should not match {text:?}");
        }
    }

    #[test]
    fn expressions_match_the_whole_text() {
        check("a.c", &["abc", "a\nc"], &["xabc", "abcx"]);
        check("a|bc", &["a", "bc"], &["ac", "abc"]);
        check("", &[""], &["a"]);
        check(".*", &["", "anything\nat all"], &[]);
        check("(?i)get", &["GET", "get"], &["gets"]);
        check("node_(cpu|memory)_.+", &["node_cpu_x"], &["node_disk_x", "node_cpu_"]);
        check(r"\Qa.b\E+", &["a.b", "a.bb"], &["axb"]);
    }

    #[test]
    fn finite_expressions_know_their_texts() {
        let literals = |pattern: &str| AnchoredRegex::new(pattern).expect("valid").literals;
        let of = |texts: &[&str]| Some(texts.iter().map(|text| (*text).to_owned()).collect());
        assert_eq!(literals("b|a|b"), of(&["a", "b"]));
        assert_eq!(literals("x(1|2)y"), of(&["x1y", "x2y"]));
        assert_eq!(literals("eth[01]"), of(&["eth0", "eth1"]));
        assert_eq!(literals("a+"), None);
        assert_eq!(literals("^a$"), None);
    }

    #[test]
    fn prefixes_are_found() {
        let prefix = |pattern: &str| AnchoredRegex::new(pattern).expect("valid").prefix;
        assert_eq!(prefix("node_.+"), "node_");
        assert_eq!(prefix("(?i)node_.+"), "");
        assert_eq!(prefix("a?b"), "");
    }

    #[test]
    fn a_malformed_expression_is_an_error_with_its_reason() {
        let error = AnchoredRegex::new("a(").expect_err("unclosed");
        assert_eq!(error.to_string(), "regular expression 'a(': unclosed group");
    }

    #[test]
    fn absent_labels_count_as_empty() {
        let matcher = |op, value| Matcher::new("a", op, value).expect("valid");
        assert!(matcher(MatchOp::NotEqual, "x").matches_absent());
        assert!(matcher(MatchOp::Regex, "x|").matches_absent());
        assert!(!matcher(MatchOp::Regex, ".+").matches_absent());
        assert!(!matcher(MatchOp::NotRegex, ".*").matches_absent());
    }
}
