//! Reads templates: the part of Go's language that the chart keeps to.
//!
//! Text, `{{ … }}` with `-` on either side, comments, `if`, `else if`, `else`, `range`, `with`, `define`, `end`, variables,
//! pipelines, fields, strings, whole numbers, `true`, `false`, `nil`, and parentheses. Anything else is an error.

use std::collections::BTreeMap;

use anyhow::{Context as _, bail, ensure};
use serde_json::Value;

/// Templates by name.
pub(super) type Templates = BTreeMap<String, Vec<Node>>;

/// A piece of a template.
#[derive(Clone, Debug)]
pub(super) enum Node {
    Text(String),
    Print { line: usize, pipeline: Pipeline },
    Assign { line: usize, variable: String, declares: bool, pipeline: Pipeline },
    If { line: usize, condition: Pipeline, then: Vec<Node>, otherwise: Vec<Node> },
    With { line: usize, pipeline: Pipeline, body: Vec<Node>, otherwise: Vec<Node> },
    Range { line: usize, variables: Vec<String>, pipeline: Pipeline, body: Vec<Node> },
}

/// Commands, each of which gets the result of the one before as its last argument.
pub(super) type Pipeline = Vec<Vec<Operand>>;

#[derive(Clone, Debug)]
pub(super) enum Operand {
    /// `.a.b`, of the dot.
    Field(Vec<String>),
    /// `$name.a.b`; the name is empty for `$`.
    Variable(String, Vec<String>),
    Literal(Value),
    Function(String),
    /// `(…).a.b`
    Group(Pipeline, Vec<String>),
}

/// Reads a file. What it defines goes into `templates`; what stands outside of definitions is returned.
///
/// # Errors
///
/// It has something that the chart may not use.
pub(super) fn parse(
    file: &str,
    text: &str,
    templates: &mut Templates,
) -> anyhow::Result<Vec<Node>> {
    let pieces = split(text).with_context(|| file.to_owned())?;
    let mut parser = Parser { pieces, next: 0, templates };
    let (nodes, end) = parser.block().with_context(|| file.to_owned())?;
    ensure!(end.is_none(), "{file}: more ends than beginnings");
    Ok(nodes)
}

enum Piece {
    Text(String),
    Action { line: usize, tokens: Vec<Token> },
}

#[derive(Clone, Debug, PartialEq)]
enum Token {
    Open,
    /// `)`, and the fields that are asked of what it closes.
    Close(Vec<String>),
    Pipe,
    Comma,
    Declare,
    Set,
    Word(String),
    Field(Vec<String>),
    Variable(String, Vec<String>),
    Literal(Value),
}

fn split(text: &str) -> anyhow::Result<Vec<Piece>> {
    let mut pieces = Vec::new();
    let mut rest = text;
    let mut trims = false;
    loop {
        let begin = rest.find("{{").unwrap_or(rest.len());
        let (plain, action) = rest.split_at(begin);
        let plain = if trims { plain.trim_start() } else { plain };
        let Some(action) = action.strip_prefix("{{") else {
            pieces.push(Piece::Text(plain.to_owned()));
            return Ok(pieces);
        };
        let line = text.len() - action.len();
        let line = text.get(..line).unwrap_or_default().lines().count();
        let dashed = action.strip_prefix('-');
        let plain = if dashed.is_some() { plain.trim_end() } else { plain };
        pieces.push(Piece::Text(plain.to_owned()));
        let action = dashed.unwrap_or(action);
        let (inside, after) =
            action.split_once("}}").with_context(|| format!("line {line}: no }}}}"))?;
        trims = inside.ends_with('-');
        let inside = inside.strip_suffix('-').unwrap_or(inside).trim();
        rest = after;
        if inside.starts_with("/*") {
            ensure!(inside.ends_with("*/"), "line {line}: a comment has no end");
            continue;
        }
        let tokens = tokens(inside).with_context(|| format!("line {line}: {inside}"))?;
        pieces.push(Piece::Action { line, tokens });
    }
}

fn tokens(text: &str) -> anyhow::Result<Vec<Token>> {
    let mut found = Vec::new();
    let mut rest = text.trim_start();
    while let Some(first) = rest.chars().next() {
        let (token, after) = match first {
            '(' => (Token::Open, &rest[1..]),
            ')' => {
                let (fields, after) = fields(&rest[1..]);
                (Token::Close(fields), after)
            }
            '|' => (Token::Pipe, &rest[1..]),
            ',' => (Token::Comma, &rest[1..]),
            ':' if rest.starts_with(":=") => (Token::Declare, &rest[2..]),
            '=' => (Token::Set, &rest[1..]),
            '"' => string(rest)?,
            '.' => {
                let (fields, after) = fields(rest);
                if fields.is_empty() {
                    (Token::Field(fields), &rest[1..])
                } else {
                    (Token::Field(fields), after)
                }
            }
            '$' => {
                let (name, after) = word(&rest[1..]);
                let (fields, after) = fields(after);
                (Token::Variable(name.to_owned(), fields), after)
            }
            '0'..='9' => {
                let (digits, after) = word(rest);
                (Token::Literal(digits.parse::<i64>().context("a number")?.into()), after)
            }
            _ => {
                let (name, after) = word(rest);
                ensure!(!name.is_empty(), "'{first}' is not used here");
                let token = match name {
                    "true" => Token::Literal(true.into()),
                    "false" => Token::Literal(false.into()),
                    "nil" => Token::Literal(Value::Null),
                    _ => Token::Word(name.to_owned()),
                };
                (token, after)
            }
        };
        found.push(token);
        rest = after.trim_start();
    }
    Ok(found)
}

/// Returns a string in double quotes, which are those of JSON as far as we use them.
fn string(text: &str) -> anyhow::Result<(Token, &str)> {
    let mut values = serde_json::Deserializer::from_str(text).into_iter::<Value>();
    let value = values.next().context("a string")?.context("a string")?;
    let after = text.get(values.byte_offset()..).unwrap_or_default();
    Ok((Token::Literal(value), after))
}

fn word(text: &str) -> (&str, &str) {
    let end = text.find(|c: char| !c.is_ascii_alphanumeric() && c != '_').unwrap_or(text.len());
    text.split_at(end)
}

fn fields(mut text: &str) -> (Vec<String>, &str) {
    let mut found = Vec::new();
    while let Some(after) = text.strip_prefix('.') {
        let (name, after) = word(after);
        if name.is_empty() {
            break;
        }
        found.push(name.to_owned());
        text = after;
    }
    (found, text)
}

/// What ends a block.
enum Terminator {
    End,
    Else,
    ElseIf(usize, Vec<Token>),
}

struct Parser<'a> {
    pieces: Vec<Piece>,
    next: usize,
    templates: &'a mut Templates,
}

impl Parser<'_> {
    /// Returns the nodes up to what ends the block, and that.
    fn block(&mut self) -> anyhow::Result<(Vec<Node>, Option<Terminator>)> {
        let mut nodes = Vec::new();
        while let Some(piece) = self.pieces.get_mut(self.next) {
            self.next += 1;
            match piece {
                Piece::Text(text) => nodes.push(Node::Text(std::mem::take(text))),
                Piece::Action { line, tokens } => {
                    let (line, tokens) = (*line, std::mem::take(tokens));
                    let read = self.action(line, &tokens, &mut nodes);
                    if let Some(end) = read.with_context(|| format!("line {line}"))? {
                        return Ok((nodes, Some(end)));
                    }
                }
            }
        }
        Ok((nodes, None))
    }

    fn action(
        &mut self,
        line: usize,
        tokens: &[Token],
        nodes: &mut Vec<Node>,
    ) -> anyhow::Result<Option<Terminator>> {
        let (keyword, rest) = match tokens {
            [Token::Word(word), rest @ ..] => (word.as_str(), rest),
            _ => ("", tokens),
        };
        let node = match keyword {
            "end" => return Ok(Some(Terminator::End)),
            "else" => {
                return Ok(Some(match rest {
                    [] => Terminator::Else,
                    [Token::Word(word), rest @ ..] if word == "if" => {
                        Terminator::ElseIf(line, rest.to_vec())
                    }
                    _ => bail!("an else that is not understood"),
                }));
            }
            "define" => {
                let [Token::Literal(Value::String(name))] = rest else {
                    bail!("a name is missing")
                };
                let body = self.body(false)?.0;
                let known = self.templates.insert(name.clone(), body);
                ensure!(known.is_none(), "'{name}' is defined twice");
                return Ok(None);
            }
            "if" => self.condition(line, rest)?,
            "with" => {
                let pipeline = pipeline(rest)?;
                let (body, otherwise) = self.body(true)?;
                Node::With { line, pipeline, body, otherwise }
            }
            "range" => {
                let end = rest.iter().position(|token| *token == Token::Declare);
                let (names, rest) = match end {
                    Some(end) => (&rest[..end], &rest[end + 1..]),
                    None => (&rest[..0], rest),
                };
                let names = names.iter().filter_map(|token| match token {
                    Token::Variable(name, _) => Some(name.clone()),
                    _ => None,
                });
                let (variables, pipeline) = (names.collect(), pipeline(rest)?);
                let (body, _) = self.body(false)?;
                Node::Range { line, variables, pipeline, body }
            }
            _ => match tokens {
                [Token::Variable(name, _), how @ (Token::Declare | Token::Set), rest @ ..] => {
                    let (variable, declares) = (name.clone(), *how == Token::Declare);
                    Node::Assign { line, variable, declares, pipeline: pipeline(rest)? }
                }
                _ => Node::Print { line, pipeline: pipeline(tokens)? },
            },
        };
        nodes.push(node);
        Ok(None)
    }

    fn condition(&mut self, line: usize, tokens: &[Token]) -> anyhow::Result<Node> {
        let condition = pipeline(tokens)?;
        let (then, end) = self.block()?;
        let otherwise = match end.context("a block has no end")? {
            Terminator::End => Vec::new(),
            Terminator::Else => self.body(false)?.0,
            Terminator::ElseIf(line, tokens) => vec![self.condition(line, &tokens)?],
        };
        Ok(Node::If { line, condition, then, otherwise })
    }

    /// Returns what stands up to the end, and after an else where there may be one.
    fn body(&mut self, may_have_else: bool) -> anyhow::Result<(Vec<Node>, Vec<Node>)> {
        let (body, end) = self.block()?;
        match end.context("a block has no end")? {
            Terminator::End => Ok((body, Vec::new())),
            Terminator::Else if may_have_else => Ok((body, self.body(false)?.0)),
            Terminator::Else | Terminator::ElseIf(..) => bail!("an else that is not understood"),
        }
    }
}

fn pipeline(tokens: &[Token]) -> anyhow::Result<Pipeline> {
    let mut rest = tokens;
    let (pipeline, fields) = commands(&mut rest)?;
    ensure!(rest.is_empty() && fields.is_none(), "a parenthesis too many");
    Ok(pipeline)
}

/// Reads up to the closing parenthesis, whose fields it returns, or to the end.
fn commands(rest: &mut &[Token]) -> anyhow::Result<(Pipeline, Option<Vec<String>>)> {
    let mut commands: Pipeline = vec![Vec::new()];
    let mut closed = None;
    while let [token, after @ ..] = *rest {
        *rest = after;
        let operand = match token {
            Token::Close(fields) => {
                closed = Some(fields.clone());
                break;
            }
            Token::Pipe => {
                commands.push(Vec::new());
                continue;
            }
            Token::Open => {
                let (inside, fields) = self::commands(rest)?;
                Operand::Group(inside, fields.context("a parenthesis is not closed")?)
            }
            Token::Word(name) => Operand::Function(name.clone()),
            Token::Field(fields) => Operand::Field(fields.clone()),
            Token::Variable(name, fields) => Operand::Variable(name.clone(), fields.clone()),
            Token::Literal(value) => Operand::Literal(value.clone()),
            Token::Comma | Token::Declare | Token::Set => bail!("a sign in the wrong place"),
        };
        commands.last_mut().context("a command")?.push(operand);
    }
    ensure!(commands.iter().all(|command| !command.is_empty()), "a command is empty");
    Ok((commands, closed))
}
