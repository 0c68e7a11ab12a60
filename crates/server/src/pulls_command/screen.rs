//! A table on a terminal that is drawn anew in its place.

use std::io::{self, Stdout, Write};

use crate::cli::environment;

/// What a terminal is like.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) struct Size {
    pub(super) columns: usize,
    pub(super) rows: usize,
    /// Whether it shows more than ASCII.
    pub(super) is_unicode: bool,
    pub(super) in_colour: bool,
}

/// Where it is not told.
const USUAL: (usize, usize) = (80, 24);

/// A terminal, and how much of it is ours.
#[derive(Debug)]
pub(super) struct Screen<W: Write = Stdout> {
    out: W,
    is_unicode: bool,
    in_colour: bool,
    /// Lines that were drawn, from the cursor upwards.
    drawn: usize,
    /// The width at that time.
    columns: usize,
}

impl Screen {
    /// Returns that of standard output, in colour unless `NO_COLOR` is set.
    pub(super) fn new() -> Self {
        let variables = environment();
        let value = |name: &str| {
            let found = variables.iter().find(|(known, _)| known == name);
            found.map(|(_, value)| value.as_str()).filter(|value| !value.is_empty())
        };
        // The first that is set counts.
        let locale = ["LC_ALL", "LC_CTYPE", "LANG"].into_iter().find_map(value).unwrap_or_default();
        let locale = locale.to_ascii_lowercase();
        Self {
            out: io::stdout(),
            is_unicode: locale.contains("utf-8") || locale.contains("utf8"),
            in_colour: value("NO_COLOR").is_none() && value("TERM") != Some("dumb"),
            drawn: 0,
            columns: 0,
        }
    }

    /// Returns what the terminal is like now.
    pub(super) fn size(&self) -> Size {
        let told = rustix::termios::tcgetwinsize(&self.out).ok();
        let told = told.map(|size| (usize::from(size.ws_col), usize::from(size.ws_row)));
        let (columns, rows) =
            told.filter(|(columns, rows)| *columns > 0 && *rows > 0).unwrap_or(USUAL);
        Size { columns, rows, is_unicode: self.is_unicode, in_colour: self.in_colour }
    }

    /// Draws lines over those before. They are not wider than the terminal, and leave a row free.
    ///
    /// # Errors
    ///
    /// The terminal is gone.
    pub(super) fn draw(&mut self, lines: Vec<String>) -> io::Result<()> {
        let size = self.size();
        self.draw_on(lines, size)
    }
}

impl<W: Write> Screen<W> {
    fn draw_on(&mut self, lines: Vec<String>, size: Size) -> io::Result<()> {
        let Size { columns, rows, .. } = size;
        let mut text = String::new();
        if self.columns != columns && self.columns != 0 {
            // What was drawn has been folded by the terminal, nobody knows how.
            text.push_str("\x1b[2J\x1b[H");
        } else if self.drawn > 0 {
            text.push_str(&format!("\x1b[{}F\x1b[J", self.drawn));
        }
        let shown = lines.len().min(rows.saturating_sub(1).max(1));
        for line in &lines[..shown] {
            text.push_str(line);
            text.push('\n');
        }
        (self.drawn, self.columns) = (shown, columns);
        self.out.write_all(text.as_bytes())?;
        self.out.flush()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_was_drawn_is_replaced_and_a_folded_table_is_cleared() {
        let mut screen =
            Screen { out: Vec::new(), is_unicode: true, in_colour: false, drawn: 0, columns: 0 };
        let mut check = |lines: &[&str], columns: usize, rows: usize, expected: &str| {
            let size = Size { columns, rows, is_unicode: true, in_colour: false };
            screen.out.clear();
            let lines = lines.iter().map(|line| (*line).to_owned()).collect();
            screen.draw_on(lines, size).expect("memory");
            assert_eq!(String::from_utf8_lossy(&screen.out), expected);
        };
        check(&["a", "b"], 80, 24, "a\nb\n");
        check(&["c"], 80, 24, "\x1b[2F\x1b[Jc\n");
        check(&["d", "e", "f"], 80, 3, "\x1b[1F\x1b[Jd\ne\n");
        check(&["g"], 40, 24, "\x1b[2J\x1b[Hg\n");
    }
}
