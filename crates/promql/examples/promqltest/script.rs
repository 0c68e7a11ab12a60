//! Scripts as lists of commands.

use model::parse_duration_ms;

use crate::expectation::{Expectation, Text};
use crate::points::{SeriesPoints, parse_series};

/// A command of a script.
#[derive(Clone, Debug)]
pub(crate) enum Command {
    Load { step_ms: i64, series: Vec<SeriesPoints>, with_histograms: bool },
    Clear,
    Evaluate(Box<Evaluation>),
}

/// A query with what is expected of it.
#[derive(Clone, Debug)]
pub(crate) struct Evaluation {
    /// From 1.
    pub(crate) line: usize,
    pub(crate) query: String,
    pub(crate) times: Times,
    pub(crate) expectation: Expectation,
}

/// When a query is evaluated, in milliseconds.
#[derive(Clone, Copy, Debug)]
pub(crate) enum Times {
    Instant(i64),
    Range { start: i64, end: i64, step: i64 },
}

/// Parses a script; a command that cannot be read is an error with its line.
pub(crate) fn parse(text: &str) -> Vec<Result<Command, (usize, String)>> {
    // A comment ends the block of lines that belong to a command, as an empty line does.
    let lines: Vec<&str> = text
        .lines()
        .map(str::trim)
        .map(|line| if line.starts_with('#') { "" } else { line })
        .collect();
    let mut commands = Vec::new();
    let mut next = 0;
    while let Some(line) = lines.get(next) {
        let number = next + 1;
        next += 1;
        if line.is_empty() {
            continue;
        }
        let end = lines[next..].iter().position(|line| line.is_empty() || is_command(line));
        let end = end.map_or(lines.len(), |length| next + length);
        let block = if *line == "clear" { &[][..] } else { &lines[next..end] };
        next += block.len();
        commands.push(parse_command(number, line, block).map_err(|error| (number, error)));
    }
    commands
}

fn is_command(line: &str) -> bool {
    let word = line.split_whitespace().next().unwrap_or_default();
    matches!(
        word,
        "clear"
            | "load"
            | "load_with_nhcb"
            | "eval"
            | "eval_fail"
            | "eval_warn"
            | "eval_info"
            | "eval_ordered"
    )
}

fn parse_command(number: usize, line: &str, block: &[&str]) -> Result<Command, String> {
    let (word, rest) = line.split_once(char::is_whitespace).unwrap_or((line, ""));
    let rest = rest.trim();
    let mut expectation = Expectation::default();
    match word {
        "clear" => return Ok(Command::Clear),
        "load" | "load_with_nhcb" => {
            let series = block.iter().map(|line| parse_series(line)).collect::<Result<_, _>>()?;
            let with_histograms = word == "load_with_nhcb";
            return Ok(Command::Load { step_ms: parse_time(rest)?, series, with_histograms });
        }
        "eval" => {}
        "eval_fail" => expectation.fails = Some(Text::Any),
        "eval_warn" => expectation.warns.push(Text::Any),
        "eval_info" => expectation.informs.push(Text::Any),
        "eval_ordered" => expectation.is_ordered = true,
        other => return Err(format!("unknown command '{other}'")),
    }
    for line in block {
        expectation.add(line)?;
    }
    let (times, query) = parse_times(rest)?;
    Ok(Command::Evaluate(Box::new(Evaluation { line: number, query, times, expectation })))
}

/// Parses `instant at 5m QUERY` or `range from 0 to 1h step 5m QUERY`.
fn parse_times(text: &str) -> Result<(Times, String), String> {
    let mut rest = text;
    let mut word = || {
        let (word, after) = rest.split_once(char::is_whitespace).unwrap_or((rest, ""));
        rest = after.trim_start();
        word
    };
    let times = match word() {
        "instant" => {
            expect_word(word(), "at")?;
            Times::Instant(parse_time(word())?)
        }
        "range" => {
            expect_word(word(), "from")?;
            let start = parse_time(word())?;
            expect_word(word(), "to")?;
            let end = parse_time(word())?;
            expect_word(word(), "step")?;
            Times::Range { start, end, step: parse_time(word())? }
        }
        other => return Err(format!("expected 'instant' or 'range', got '{other}'")),
    };
    Ok((times, rest.to_owned()))
}

fn expect_word(word: &str, expected: &str) -> Result<(), String> {
    if word == expected { Ok(()) } else { Err(format!("expected '{expected}', got '{word}'")) }
}

/// Parses a duration or a number of seconds into milliseconds.
pub(crate) fn parse_time(text: &str) -> Result<i64, String> {
    let (sign, digits) = text.strip_prefix('-').map_or((1, text), |digits| (-1, digits));
    if let Ok(seconds) = digits.parse::<f64>() {
        return Ok(sign * (seconds * 1000.0).round() as i64);
    }
    parse_duration_ms(digits)
        .and_then(|millis| i64::try_from(millis).ok())
        .map(|millis| sign * millis)
        .ok_or_else(|| format!("malformed time '{text}'"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn commands_are_separated_by_empty_lines_comments_and_each_other() {
        let script = "load 5m\n  a 1\n# remark\nclear\neval instant at 1h30m a + b\n  expect \
                      ordered\n  a 1\neval range from 0 to 10s step 100ms b\n";
        let commands: Vec<Command> =
            parse(script).into_iter().collect::<Result<_, _>>().expect("valid script");
        let [Command::Load { step_ms: 300_000, .. }, Command::Clear, first, second] =
            commands.as_slice()
        else {
            panic!("unexpected commands: {commands:?}");
        };
        let Command::Evaluate(first) = first else { panic!("{first:?}") };
        assert_eq!((first.line, first.query.as_str()), (5, "a + b"));
        assert!(matches!(first.times, Times::Instant(5_400_000)));
        assert!(first.expectation.is_ordered);
        assert_eq!(first.expectation.series.len(), 1);
        let Command::Evaluate(second) = second else { panic!("{second:?}") };
        assert!(matches!(second.times, Times::Range { start: 0, end: 10_000, step: 100 }));
    }

    #[test]
    fn malformed_commands_tell_their_line() {
        let commands = parse("\nfrobnicate\n");
        let Some(Err((line, message))) = commands.first() else { panic!("{commands:?}") };
        assert_eq!((*line, message.as_str()), (2, "unknown command 'frobnicate'"));
    }
}
