//! Text to tokens, each with its place.

use crate::ast::Span;
use crate::parser::ParseError;

/// Milliseconds of the units of durations, the longest first.
const DURATION_UNITS: [(&str, i64); 7] = [
    ("y", 31_536_000_000),
    ("w", 604_800_000),
    ("d", 86_400_000),
    ("h", 3_600_000),
    ("m", 60_000),
    ("s", 1_000),
    ("ms", 1),
];

/// The longest duration: 2^63 nanoseconds, about 292 years.
pub(crate) const DURATION_MILLIS_MAX: i64 = i64::MAX / 1_000_000;

/// A piece of the text.
#[derive(Clone, Debug, PartialEq)]
pub(crate) struct Token {
    pub(crate) kind: TokenKind,
    pub(crate) span: Span,
}

/// The sorts of tokens.
#[derive(Clone, Debug, PartialEq)]
pub(crate) enum TokenKind {
    /// A name, or a word with a meaning of its own; colons only outside of braces and brackets.
    Identifier(String),
    /// A text in quotes, escapes undone.
    String(String),
    Number(f64),
    /// A length of time, in milliseconds.
    Duration(i64),
    /// `( ) { } [ ] , : @` and the operators.
    Symbol(&'static str),
    End,
}

impl TokenKind {
    /// Says what it is, as Prometheus does.
    pub(crate) fn describe(&self, text: &str) -> String {
        match self {
            Self::End => "end of input".to_owned(),
            Self::Identifier(_) => format!("identifier {text:?}"),
            Self::String(_) => format!("string {text}"),
            Self::Number(_) => format!("number {text:?}"),
            Self::Duration(_) => format!("duration {text:?}"),
            Self::Symbol(symbol) => format!("{symbol:?}"),
        }
    }
}

/// Longer symbols before their prefixes.
const SYMBOLS: [&str; 27] = [
    "==", "!=", "<=", ">=", "=~", "!~", "</", ">/", "(", ")", "{", "}", "[", "]", ",", ":", "@",
    "+", "-", "*", "/", "%", "^", "=", "<", ">", "!",
];

/// Cuts a query into tokens; the last one is [`TokenKind::End`].
pub(crate) fn tokenize(query: &str) -> Result<Vec<Token>, ParseError> {
    let mut lexer = Lexer { query, position: 0, open: Vec::new(), tokens: Vec::new() };
    lexer.run()?;
    Ok(lexer.tokens)
}

struct Lexer<'a> {
    query: &'a str,
    position: usize,
    /// The parentheses, braces and brackets that are open.
    open: Vec<&'static str>,
    tokens: Vec<Token>,
}

impl<'a> Lexer<'a> {
    fn rest(&self) -> &'a str {
        self.query.get(self.position..).unwrap_or("")
    }

    fn span_from(&self, start: usize) -> Span {
        span(start, self.position)
    }

    fn error(&self, start: usize, message: impl Into<String>) -> ParseError {
        ParseError::new(self.query, span(start, self.position.max(start)), message)
    }

    fn push(&mut self, start: usize, kind: TokenKind) {
        let span = self.span_from(start);
        self.tokens.push(Token { kind, span });
    }

    fn run(&mut self) -> Result<(), ParseError> {
        loop {
            let rest = self.rest();
            let trimmed = rest.trim_start_matches([' ', '\t', '\n', '\r']);
            self.position += rest.len() - trimmed.len();
            let start = self.position;
            let Some(first) = trimmed.chars().next() else {
                return self.end();
            };
            match first {
                '#' => self.position += trimmed.find('\n').unwrap_or(trimmed.len()),
                '"' | '\'' | '`' => self.string(first)?,
                '0'..='9' => self.number()?,
                '.' if trimmed[1..].starts_with(|next: char| next.is_ascii_digit()) => {
                    self.number()?
                }
                _ if self.starts_identifier(first) => self.identifier(start),
                _ => self.symbol(first)?,
            }
        }
    }

    fn end(&mut self) -> Result<(), ParseError> {
        let start = self.position;
        match self.open.last() {
            Some(&"(") => Err(self.error(start, "unclosed left parenthesis")),
            Some(&"{") => Err(self.error(start, "unexpected end of input inside braces")),
            Some(&"[") => Err(self.error(start, "unexpected end of input in duration expression")),
            _ => {
                self.push(start, TokenKind::End);
                Ok(())
            }
        }
    }

    fn colons_are_names(&self) -> bool {
        !matches!(self.open.last(), Some(&("{" | "[")))
    }

    fn starts_identifier(&self, character: char) -> bool {
        character.is_ascii_alphabetic()
            || character == '_'
            || (character == ':' && self.colons_are_names())
    }

    fn identifier(&mut self, start: usize) {
        let colons = self.colons_are_names();
        let length = self
            .rest()
            .bytes()
            .take_while(|byte| {
                byte.is_ascii_alphanumeric() || *byte == b'_' || (*byte == b':' && colons)
            })
            .count();
        self.position += length;
        let text = self.query[start..self.position].to_owned();
        self.push(start, TokenKind::Identifier(text));
    }

    fn symbol(&mut self, first: char) -> Result<(), ParseError> {
        let start = self.position;
        let rest = self.rest();
        let symbol = SYMBOLS.into_iter().find(|symbol| rest.starts_with(symbol));
        let Some(symbol) = symbol.filter(|symbol| *symbol != "!") else {
            self.position += first.len_utf8();
            let found = self.query.get(start..).and_then(|rest| rest.chars().nth(1));
            return Err(match (first, found) {
                ('!', Some(after)) => {
                    self.error(start, format!("unexpected character after '!': {after:?}"))
                }
                _ => self.error(start, format!("unexpected character: {first:?}")),
            });
        };
        self.position += symbol.len();
        match symbol {
            "(" | "{" | "[" => self.open.push(symbol),
            ")" | "}" | "]" => {
                let opening = match symbol {
                    ")" => "(",
                    "}" => "{",
                    _ => "[",
                };
                if self.open.last() != Some(&opening) {
                    let what = match symbol {
                        ")" => "unexpected right parenthesis ')'",
                        "}" => "unexpected right brace '}'",
                        _ => "unexpected right bracket ']'",
                    };
                    return Err(self.error(start, what));
                }
                self.open.pop();
            }
            _ => {}
        }
        self.push(start, TokenKind::Symbol(symbol));
        Ok(())
    }

    fn number(&mut self) -> Result<(), ParseError> {
        let start = self.position;
        let rest = self.rest();
        if let Some((millis, length)) = duration(rest) {
            self.position += length;
            let Some(millis) = millis else {
                return Err(self.error(start, "duration out of range"));
            };
            self.push(start, TokenKind::Duration(millis));
            return Ok(());
        }
        let length = number_length(rest);
        self.position += length;
        let text = &rest[..length];
        let follows = rest[length..].chars().next();
        let bad =
            follows.is_some_and(|next| next.is_ascii_alphanumeric() || next == '_' || next == '.');
        let value = if bad { None } else { number(text) };
        let Some(value) = value else {
            let length = rest
                .bytes()
                .take_while(|byte| byte.is_ascii_alphanumeric() || b"._".contains(byte))
                .count();
            self.position = start + length;
            let text = &rest[..length];
            return Err(self.error(start, format!("bad number or duration syntax: {text:?}")));
        };
        self.push(start, TokenKind::Number(value));
        Ok(())
    }

    fn string(&mut self, quote: char) -> Result<(), ParseError> {
        let start = self.position;
        let body = &self.rest()[1..];
        let unterminated = || {
            let kind = if quote == '`' { "raw string" } else { "quoted string" };
            format!("unterminated {kind}")
        };
        let (text, length) = if quote == '`' {
            match body.find('`') {
                Some(end) => (body[..end].to_owned(), end),
                None => return Err(self.error(start, unterminated())),
            }
        } else {
            match unquote(body, quote) {
                Ok(unquoted) => unquoted,
                Err(StringError::Unterminated) => return Err(self.error(start, unterminated())),
                Err(StringError::BadEscape(at)) => {
                    return Err(self.error(start + 1 + at, "unknown escape sequence"));
                }
            }
        };
        self.position += length + 2;
        self.push(start, TokenKind::String(text));
        Ok(())
    }
}

/// Returns the span between two byte positions; queries are far shorter than 4 GiB.
pub(crate) fn span(start: usize, end: usize) -> Span {
    let clamp = |position| u32::try_from(position).unwrap_or(u32::MAX);
    Span { start: clamp(start), end: clamp(end) }
}

/// Reads `1h30m` at the start of `text`: the milliseconds, `None` when they are too many, and the length.
fn duration(text: &str) -> Option<(Option<i64>, usize)> {
    let (mut rest, mut units, mut total) = (text, &DURATION_UNITS[..], Some(0_i64));
    loop {
        let digits = rest.bytes().take_while(u8::is_ascii_digit).count();
        let letters = rest[digits..].bytes().take_while(u8::is_ascii_alphabetic).count();
        let unit = &rest[digits..digits + letters];
        if digits == 0 || letters == 0 {
            break;
        }
        let index = units.iter().position(|(name, _)| *name == unit)?;
        let count: Option<i64> = rest[..digits].parse().ok();
        total = match (total, count) {
            (Some(total), Some(count)) => {
                let sum = count.checked_mul(units[index].1).and_then(|sum| total.checked_add(sum));
                sum.filter(|sum: &i64| *sum <= DURATION_MILLIS_MAX)
            }
            _ => None,
        };
        units = &units[index + 1..];
        rest = &rest[digits + letters..];
    }
    let ends =
        !rest.starts_with(|next: char| next.is_ascii_alphanumeric() || next == '_' || next == '.');
    (rest.len() < text.len() && ends).then_some((total, text.len() - rest.len()))
}

/// Returns how many bytes at the start of `text` look like a number.
fn number_length(text: &str) -> usize {
    let bytes = text.as_bytes();
    let run = |from: usize, accept: fn(&u8) -> bool| {
        bytes.get(from..).unwrap_or(&[]).iter().take_while(|byte| accept(byte)).count()
    };
    if text.starts_with("0x") || text.starts_with("0X") {
        return 2 + run(2, |byte| byte.is_ascii_hexdigit() || *byte == b'_');
    }
    let digits: fn(&u8) -> bool = |byte| byte.is_ascii_digit() || *byte == b'_';
    let mut length = run(0, digits);
    if bytes.get(length) == Some(&b'.') {
        length += 1 + run(length + 1, digits);
    }
    if matches!(bytes.get(length), Some(b'e' | b'E')) {
        let sign = usize::from(matches!(bytes.get(length + 1), Some(b'+' | b'-')));
        let exponent = run(length + 1 + sign, digits);
        if exponent > 0 {
            length += 1 + sign + exponent;
        }
    }
    length
}

/// Returns the value of a number as Go reads it: hexadecimal, octal with a leading zero, underscores between digits.
fn number(text: &str) -> Option<f64> {
    // An underscore stands between two digits, or behind the prefix of a hexadecimal number.
    let bytes = text.as_bytes();
    let separates = |index: usize| {
        let before = index.checked_sub(1).and_then(|before| bytes.get(before));
        before.is_some_and(|byte| byte.is_ascii_hexdigit() || (index == 2 && b"xX".contains(byte)))
            && bytes.get(index + 1).is_some_and(u8::is_ascii_hexdigit)
    };
    if bytes.iter().enumerate().any(|(index, byte)| *byte == b'_' && !separates(index)) {
        return None;
    }
    let plain = text.replace('_', "");
    #[expect(clippy::cast_precision_loss, reason = "as Go converts whole numbers")]
    if let Some(digits) = plain.strip_prefix("0x").or_else(|| plain.strip_prefix("0X")) {
        return u64::from_str_radix(digits, 16).ok().map(|number| number as f64);
    }
    let is_octal = plain.len() > 1
        && plain.starts_with('0')
        && plain.bytes().all(|byte| (b'0'..=b'7').contains(&byte));
    #[expect(clippy::cast_precision_loss, reason = "as Go converts whole numbers")]
    if is_octal && let Ok(number) = u64::from_str_radix(&plain, 8) {
        return Some(number as f64);
    }
    plain.parse().ok().filter(|number: &f64| number.is_finite())
}

enum StringError {
    Unterminated,
    BadEscape(usize),
}

/// Undoes Go's escapes up to the closing quote; returns the text and the length without the quotes.
fn unquote(body: &str, quote: char) -> Result<(String, usize), StringError> {
    let mut bytes: Vec<u8> = Vec::new();
    let mut characters = body.char_indices();
    while let Some((at, character)) = characters.next() {
        match character {
            '\n' => return Err(StringError::Unterminated),
            '\\' => {
                let (_, escape) = characters.next().ok_or(StringError::Unterminated)?;
                let digits = |radix: u32, digits: &str| u32::from_str_radix(digits, radix).ok();
                let simple = match escape {
                    'a' => Some(7),
                    'b' => Some(8),
                    'f' => Some(12),
                    'n' => Some(b'\n'),
                    'r' => Some(b'\r'),
                    't' => Some(b'\t'),
                    'v' => Some(11),
                    '\\' => Some(b'\\'),
                    _ if escape == quote => u8::try_from(escape).ok(),
                    _ => None,
                };
                if let Some(byte) = simple {
                    bytes.push(byte);
                    continue;
                }
                let (skip, radix, length) = match escape {
                    'x' => (2, 16, 2),
                    'u' => (2, 16, 4),
                    'U' => (2, 16, 8),
                    '0'..='7' => (1, 8, 3),
                    _ => return Err(StringError::BadEscape(at)),
                };
                let bad = StringError::BadEscape(at);
                let Some(number) =
                    body.get(at + skip..at + skip + length).and_then(|text| digits(radix, text))
                else {
                    return Err(bad);
                };
                if escape == 'u' || escape == 'U' {
                    let Some(character) = char::from_u32(number) else { return Err(bad) };
                    bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes());
                } else {
                    let Ok(byte) = u8::try_from(number) else { return Err(bad) };
                    bytes.push(byte);
                }
                for _ in 0..length + skip - 2 {
                    characters.next();
                }
            }
            _ if character == quote => {
                // A text of ours is UTF-8; bytes that are not become the replacement character, as in JSON.
                return Ok((String::from_utf8_lossy(&bytes).into_owned(), at));
            }
            _ => bytes.extend_from_slice(character.encode_utf8(&mut [0; 4]).as_bytes()),
        }
    }
    Err(StringError::Unterminated)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn kinds(query: &str) -> Vec<TokenKind> {
        tokenize(query).expect("valid").into_iter().map(|token| token.kind).collect()
    }

    #[test]
    fn numbers_are_read_as_go_reads_them() {
        for (text, value) in [
            ("1", 1.0),
            ("1.5", 1.5),
            (".5", 0.5),
            ("5.", 5.0),
            ("1e3", 1000.0),
            ("1E-3", 0.001),
            ("0x1f", 31.0),
            ("0755", 493.0),
            ("1_000_000", 1e6),
            ("0x_1f", 31.0),
        ] {
            assert_eq!(kinds(text), [TokenKind::Number(value), TokenKind::End], "{text}");
        }
    }

    #[test]
    fn durations_have_units_in_order() {
        assert_eq!(kinds("1h30m")[0], TokenKind::Duration(5_400_000));
        assert_eq!(kinds("500ms")[0], TokenKind::Duration(500));
        assert_eq!(kinds("292y")[0], TokenKind::Duration(292 * 31_536_000_000));
        for bad in [
            "30m1h",
            "5x",
            "1.5h",
            "1__0",
            "1_",
            "1_.5",
            "1._5",
            "1e400",
            "300y",
            "9999999999999999999y",
        ] {
            assert!(tokenize(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn strings_have_gos_escapes() {
        let text = |query: &str| match kinds(query).swap_remove(0) {
            TokenKind::String(text) => text,
            other => panic!("{other:?}"),
        };
        assert_eq!(text(r#""a\n\"\x41\101\u00e9\U0001F600""#), "a\n\"AA\u{e9}\u{1F600}");
        assert_eq!(text(r"'it\'s'"), "it's");
        assert_eq!(text(r"`a\n`"), r"a\n");
        for bad in [r#""\q""#, "\"open", "'a\nb'", r#""\u12""#, "`open", r#""\400""#] {
            assert!(tokenize(bad).is_err(), "{bad}");
        }
    }

    #[test]
    fn colons_belong_to_names_but_not_in_brackets() {
        assert_eq!(kinds("a:b")[0], TokenKind::Identifier("a:b".to_owned()));
        assert_eq!(kinds("a[5m:step()]")[3], TokenKind::Symbol(":"));
    }
}
