//! The table.

use std::fmt::{self, Write as _};
use std::str::FromStr;
use std::time::Duration;

use crate::peer::Kind;
use crate::queries::Query;

/// The size of a load.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) struct Row {
    pub(crate) instances: usize,
    pub(crate) steps: u64,
}

impl FromStr for Row {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        let parsed = text.split_once('x').and_then(|(instances, steps)| {
            Some(Self { instances: instances.parse().ok()?, steps: steps.parse().ok()? })
        });
        match parsed {
            Some(row) if row.instances > 0 && row.steps > 0 => Ok(row),
            _ => Err(format!("'{text}' is not INSTANCESxSTEPS")),
        }
    }
}

impl fmt::Display for Row {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{} instances × {} steps", self.instances, self.steps)
    }
}

/// What one server did with one load.
#[derive(Clone, Debug)]
pub(crate) struct Measured {
    pub(crate) kind: Kind,
    pub(crate) row: Row,
    pub(crate) samples: u64,
    pub(crate) cpu_seconds_sent: f64,
    pub(crate) cpu_seconds_settled: f64,
    pub(crate) sending: Duration,
    pub(crate) resident_bytes: u64,
    pub(crate) peak_bytes: u64,
    pub(crate) disk_bytes: u64,
    pub(crate) query_seconds: Vec<f64>,
}

/// Returns the middle value, or the mean of the two in the middle; sorts.
pub(crate) fn median(values: &mut [f64]) -> f64 {
    values.sort_by(f64::total_cmp);
    let middle = |index: usize| values.get(index).copied().unwrap_or(f64::NAN);
    let half = values.len() / 2;
    if values.len() % 2 == 1 {
        middle(half)
    } else {
        f64::midpoint(middle(half.saturating_sub(1)), middle(half))
    }
}

type Figure = (&'static str, fn(&Measured) -> f64, usize);

const FIGURES: [Figure; 6] = [
    (
        "CPU-s per 1 M samples, until the last acknowledgement",
        |m| per_million(m, m.cpu_seconds_sent),
        2,
    ),
    ("CPU-s per 1 M samples, settled", |m| per_million(m, m.cpu_seconds_settled), 2),
    ("resident memory, settled, MB", |m| m.resident_bytes as f64 / 1e6, 0),
    ("resident memory, peak, MB", |m| m.peak_bytes as f64 / 1e6, 0),
    ("bytes on disk per sample, settled", |m| m.disk_bytes as f64 / m.samples as f64, 2),
    ("seconds of sending", |m| m.sending.as_secs_f64(), 1),
];

fn per_million(measured: &Measured, seconds: f64) -> f64 {
    seconds / (measured.samples as f64 / 1e6)
}

/// Returns the tables in Markdown.
pub(crate) fn render(
    rows: &[Row],
    peers: &[Kind],
    measured: &[Measured],
    queries: &[Query],
) -> String {
    let mut text = String::new();
    for row in rows {
        let of_row: Vec<&Measured> = measured.iter().filter(|m| m.row == *row).collect();
        let samples = of_row.first().map_or(0, |m| m.samples);
        let _infallible = writeln!(text, "### {row}: {:.1} M samples\n", samples as f64 / 1e6);
        header(&mut text, "figure", peers);
        for (name, figure, decimals) in FIGURES {
            let cells = peers.iter().map(|kind| {
                let values = of_row.iter().filter(|m| m.kind == *kind).map(|m| figure(m)).collect();
                spread(values, decimals)
            });
            line(&mut text, name, cells);
        }
        text.push('\n');
    }
    let first = rows.first().copied();
    let asked = |kind: Kind, index: usize| -> Vec<f64> {
        let of_kind = measured.iter().filter(|m| Some(m.row) == first && m.kind == kind);
        of_kind.filter_map(|m| m.query_seconds.get(index)).map(|seconds| seconds * 1000.0).collect()
    };
    text.push_str("### Queries, median of five, in ms\n\n");
    header(&mut text, "query", peers);
    for (index, query) in queries.iter().enumerate() {
        let kind = if query.is_range { "range" } else { "instant" };
        let name = format!("{kind} `{}`", query.expression.replace('|', "\\|"));
        line(&mut text, &name, peers.iter().map(|kind| spread(asked(*kind, index), 1)));
    }
    let sums = peers.iter().map(|kind| {
        let of_kind = measured.iter().filter(|m| Some(m.row) == first && m.kind == *kind);
        spread(of_kind.map(|m| m.query_seconds.iter().sum::<f64>() * 1000.0).collect(), 1)
    });
    line(&mut text, "**sum**", sums);
    text
}

fn header(text: &mut String, first: &str, peers: &[Kind]) {
    line(text, first, peers.iter().map(|kind| kind.name().to_owned()));
    text.push_str(&"|---".repeat(peers.len() + 1));
    text.push_str("|\n");
}

fn line(text: &mut String, first: &str, cells: impl Iterator<Item = String>) {
    let _infallible = write!(text, "| {first} |");
    for cell in cells {
        let _infallible = write!(text, " {cell} |");
    }
    text.push('\n');
}

/// Returns the median, with minimum and maximum when there are several values.
pub(crate) fn spread(mut values: Vec<f64>, decimals: usize) -> String {
    if values.is_empty() {
        return "–".to_owned();
    }
    let middle = median(&mut values);
    match (values.first(), values.last()) {
        (Some(least), Some(most)) if values.len() > 1 => {
            format!("{middle:.decimals$} ({least:.decimals$}–{most:.decimals$})")
        }
        _ => format!("{middle:.decimals$}"),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_row_is_instances_by_steps() {
        assert_eq!("20x2880".parse(), Ok(Row { instances: 20, steps: 2880 }));
        assert!("20".parse::<Row>().is_err() && "0x1".parse::<Row>().is_err());
    }

    #[test]
    fn several_values_show_their_spread() {
        assert_eq!(spread(vec![3.0, 1.0, 2.0], 1), "2.0 (1.0–3.0)");
        assert_eq!(spread(vec![1.0, 2.0], 1), "1.5 (1.0–2.0)");
        assert_eq!(spread(vec![1.26], 1), "1.3");
        assert_eq!(spread(Vec::new(), 1), "–");
    }
}
