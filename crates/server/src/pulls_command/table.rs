//! Tables that fit a terminal. Widths are those on the screen: some characters take two places, some none.

use unicode_width::UnicodeWidthChar as _;
use unicode_width::UnicodeWidthStr as _;

use super::screen::Size;

/// Places between two columns.
const GAP: usize = 2;

/// How terminals change the colour of what follows.
pub(super) const USUAL: &str = "";
pub(super) const GREEN: &str = "\x1b[32m";
pub(super) const RED: &str = "\x1b[31m";
pub(super) const YELLOW: &str = "\x1b[33m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// A column.
#[derive(Debug)]
pub(super) struct Column {
    pub(super) heading: &'static str,
    /// The column of the highest rank is left out first.
    pub(super) rank: usize,
    /// Its width at least, where it is shown.
    pub(super) least: usize,
    /// Whether it gets what room is left, as far as it needs it.
    pub(super) grows: bool,
    /// Whether the end of a text matters more than its beginning.
    pub(super) keeps_end: bool,
}

/// What stands in a row, without characters that move the cursor.
#[derive(Debug)]
pub(super) struct Cell {
    pub(super) text: String,
    pub(super) colour: &'static str,
}

impl Cell {
    pub(super) fn of(text: String) -> Self {
        Self { text, colour: USUAL }
    }
}

/// Returns a text that takes no more places than the terminal has in a line.
pub(super) fn cut(text: &str, size: Size) -> String {
    shortened(text, size.columns, false, dots(size))
}

/// Returns what says that something is left out.
const fn dots(size: Size) -> &'static str {
    if size.is_unicode { "…" } else { "..." }
}

/// Returns lines of at most the terminal's width: the columns for which there is room, under their headings.
pub(super) fn fitting<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    size: Size,
) -> Vec<String> {
    let widths = widths(columns, rows, size.columns);
    let line = |cells: [(&str, &str); N]| {
        let mut line = String::new();
        for ((column, width), (text, colour)) in columns.iter().zip(widths).zip(cells) {
            let Some(width) = width else { continue };
            if !line.is_empty() {
                line.push_str(&" ".repeat(GAP));
            }
            let text = shortened(text, width, column.keeps_end, dots(size));
            let pad = " ".repeat(width - text.width().min(width));
            if size.in_colour && !colour.is_empty() {
                line.push_str(&format!("{colour}{text}{PLAIN}{pad}"));
            } else {
                line.push_str(&format!("{text}{pad}"));
            }
        }
        line.trim_end().to_owned()
    };
    let headings = line(columns.each_ref().map(|column| (column.heading, BOLD)));
    let rows =
        rows.iter().map(|row| line(row.each_ref().map(|cell| (cell.text.as_str(), cell.colour))));
    std::iter::once(headings).chain(rows).collect()
}

/// Returns the width of each column, `None` for those without room.
fn widths<const N: usize>(
    columns: &[Column; N],
    rows: &[[Cell; N]],
    room: usize,
) -> [Option<usize>; N] {
    let mut widths = [None; N];
    let mut by_rank: Vec<usize> = (0..N).collect();
    by_rank.sort_by_key(|index| columns[*index].rank);
    let mut left = room;
    for index in by_rank {
        let least = columns[index].least;
        let gap = if widths.iter().any(Option::is_some) { GAP } else { 0 };
        // The most important one is there in any case.
        if gap + least > left && gap > 0 {
            break;
        }
        widths[index] = Some(least.min(room));
        left = left.saturating_sub(gap + least);
    }
    for (index, column) in columns.iter().enumerate().filter(|(_, column)| column.grows) {
        let Some(width) = &mut widths[index] else { continue };
        let cells = rows.iter().map(|row| row[index].text.width());
        let wanted = cells.max().unwrap_or(0).max(column.heading.width());
        let more = wanted.saturating_sub(*width).min(left);
        *width += more;
        left -= more;
    }
    widths
}

/// Returns lines of whole cells, as wide as they are.
pub(super) fn whole(headings: &[&str], rows: &[Vec<String>]) -> Vec<String> {
    let headings: Vec<String> = headings.iter().map(|heading| (*heading).to_owned()).collect();
    let all = || std::iter::once(&headings).chain(rows);
    let mut widths = vec![0; headings.len()];
    for row in all() {
        for (width, cell) in widths.iter_mut().zip(row) {
            *width = (*width).max(cell.width());
        }
    }
    let line = |row: &Vec<String>| {
        let cells = row.iter().zip(&widths);
        let cells =
            cells.map(|(cell, width)| format!("{cell}{}", " ".repeat(width - cell.width())));
        cells.collect::<Vec<_>>().join("  ").trim_end().to_owned()
    };
    all().map(line).collect()
}

/// Returns a bar of so many places.
pub(super) fn bar(percent: f64, places: usize, is_unicode: bool) -> String {
    let (full, empty) = if is_unicode { ("█", "░") } else { ("#", "-") };
    let share = percent.clamp(0.0, 100.0) / 100.0;
    let done = ((places as f64 * share).floor() as usize).min(places);
    full.repeat(done) + &empty.repeat(places - done)
}

fn shortened(text: &str, places: usize, keeps_end: bool, dots: &str) -> String {
    if text.width() <= places {
        return text.to_owned();
    }
    if dots.width() > places {
        return ".".repeat(places);
    }
    let room = places - dots.width();
    let mut taken = 0;
    let mut fits = |character: &char| {
        taken += character.width().unwrap_or(0);
        taken <= room
    };
    if keeps_end {
        let kept: Vec<char> = text.chars().rev().take_while(|character| fits(character)).collect();
        return dots.to_owned() + &kept.into_iter().rev().collect::<String>();
    }
    text.chars().take_while(|character| fits(character)).collect::<String>() + dots
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn texts_are_cut_to_their_places_on_the_screen() {
        for (text, places, keeps_end, expected) in [
            ("nginx:1.27", 10, false, "nginx:1.27"),
            ("nginx:1.27", 9, false, "nginx:1.…"),
            ("nginx:1.27", 9, true, "…inx:1.27"),
            // Two places each: one that does not fit whole is left out.
            ("日本語", 6, false, "日本語"),
            ("日本語", 4, false, "日…"),
            ("日本語", 5, true, "…本語"),
            ("abc", 1, false, "…"),
            ("abc", 0, false, ""),
            ("", 0, true, ""),
            // An accent of its own takes none.
            ("e\u{301}e\u{301}e\u{301}", 2, false, "e\u{301}…"),
        ] {
            let found = shortened(text, places, keeps_end, "…");
            assert_eq!(found, expected, "{text} {places}");
            assert!(found.width() <= places);
        }
    }

    #[test]
    fn a_bar_is_full_only_at_the_end() {
        for (percent, expected) in [
            (-1.0, "----"),
            (0.0, "----"),
            (26.0, "#---"),
            (99.9, "###-"),
            (100.0, "####"),
            (f64::NAN, "----"),
        ] {
            assert_eq!(bar(percent, 4, false), expected, "{percent}");
        }
        assert_eq!(bar(50.0, 4, true), "██░░");
    }

    #[test]
    fn every_width_of_a_terminal_is_kept() {
        const COLUMNS: [Column; 3] = [
            Column { heading: "A", rank: 0, least: 6, grows: true, keeps_end: false },
            Column { heading: "BB", rank: 2, least: 4, grows: false, keeps_end: false },
            Column { heading: "C", rank: 1, least: 3, grows: true, keeps_end: true },
        ];
        let rows = || {
            let texts = [["a long text", "1234", "日本語"], ["", "", ""]];
            texts.map(|row| row.map(|text| Cell { text: text.to_owned(), colour: RED }))
        };
        for columns in 0..60 {
            let size = Size { columns, rows: 10, is_unicode: true, in_colour: false };
            let lines = fitting(&COLUMNS, &rows(), size);
            assert_eq!(lines.len(), 3);
            assert!(lines.iter().all(|line| line.width() <= columns), "{columns}: {lines:?}");
            let coloured = fitting(&COLUMNS, &rows(), Size { in_colour: true, ..size });
            let plain = coloured
                .iter()
                .map(|line| line.replace(RED, "").replace(BOLD, "").replace(PLAIN, ""));
            let plain: Vec<String> = plain.map(|line| line.trim_end().to_owned()).collect();
            assert_eq!(plain, lines, "{columns}");
        }
    }

    #[test]
    fn whole_tables_stand_in_columns() {
        let rows = [vec!["日本".to_owned(), "x".to_owned()], vec!["a".to_owned(), String::new()]];
        assert_eq!(whole(&["N", "M"], &rows), ["N     M", "日本  x", "a"]);
    }
}
