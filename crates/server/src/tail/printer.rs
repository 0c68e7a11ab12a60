//! How an event is shown.

use std::io::{self, BufWriter, IsTerminal as _, Stdout, Write};

use serde_json::{Map, Value};

use crate::cli::environment;
use crate::logging::escaped;

/// Fields of an envelope that are no payload.
const ENVELOPE: [&str; 7] =
    ["id", "appId", "deviceId", "timestampMs", "correlationId", "deviceContext", "idempotencyKey"];

const DIM: &str = "\x1b[2m";
const BOLD: &str = "\x1b[1m";
const PLAIN: &str = "\x1b[0m";

/// Prints events: a line each.
#[derive(Debug)]
pub(super) struct Printer<W: Write = BufWriter<Stdout>> {
    out: W,
    as_json: bool,
    in_colour: bool,
}

impl Printer {
    /// Returns what prints on standard output, in colour on a terminal unless `NO_COLOR` is set.
    pub(super) fn to_standard_output(as_json: bool) -> Self {
        let out = std::io::stdout();
        let no_colour =
            environment().into_iter().any(|(name, value)| name == "NO_COLOR" && !value.is_empty());
        let in_colour = out.is_terminal() && !no_colour;
        Self { out: BufWriter::new(out), as_json, in_colour }
    }
}

impl<W: Write> Printer<W> {
    /// Prints an event, or a gap, as the server sends them. Nothing that somebody put into an event does anything to
    /// the terminal.
    pub(super) fn print(&mut self, data: &str) -> io::Result<()> {
        if self.as_json {
            return writeln!(self.out, "{}", escaped(data));
        }
        let item: Value = serde_json::from_str(data).unwrap_or_default();
        if let Some(skipped) = item["skipped"].as_u64() {
            return writeln!(self.out, "-- {skipped} positions of the log are missing --");
        }
        let text = |name: &str| escaped(item[name].as_str().unwrap_or_default()).into_owned();
        let [dim, bold, plain] = if self.in_colour { [DIM, BOLD, PLAIN] } else { [""; 3] };
        writeln!(
            self.out,
            "{dim}{}{plain} {} {bold}{}/{}{plain} {dim}{}{plain} {}",
            text("received_at"),
            text("app"),
            text("category"),
            text("type"),
            text("device"),
            escaped(&payload(&item["event"]).to_string()),
        )
    }

    /// Shows what was printed.
    pub(super) fn flush(&mut self) -> io::Result<()> {
        self.out.flush()
    }
}

/// Returns the payload of an event.
fn payload(event: &Value) -> Value {
    let fields = event.as_object().into_iter().flatten();
    let payload = fields.into_iter().find(|(name, _)| !ENVELOPE.contains(&name.as_str()));
    payload.map_or_else(|| Value::Object(Map::new()), |(_, payload)| payload.clone())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[track_caller]
    fn check(as_json: bool, in_colour: bool, data: &str, expected: &str) {
        let mut printer = Printer { out: Vec::new(), as_json, in_colour };
        printer.print(data).expect("memory");
        assert_eq!(String::from_utf8(printer.out).expect("text"), format!("{expected}\n"));
    }

    #[test]
    fn an_event_is_a_line() {
        let data = "{\"offset\":7,\"received_at\":\"2024-11-19T07:06:40.000Z\",\"app\":\"shop\",\"category\":\"custom\",\
                    \"type\":\"a\u{9b}b\",\"device\":\"d-1\",\"event\":{\"id\":\"1\",\"appId\":\"shop\",\"customEvent\":{\
                    \"eventName\":\"a\u{9b}b\"}}}";
        let plain =
            "2024-11-19T07:06:40.000Z shop custom/a\\u009bb d-1 {\"eventName\":\"a\\u009bb\"}";
        check(false, false, data, plain);
        let coloured = "\x1b[2m2024-11-19T07:06:40.000Z\x1b[0m shop \x1b[1mcustom/a\\u009bb\x1b[0m \
                        \x1b[2md-1\x1b[0m {\"eventName\":\"a\\u009bb\"}";
        check(false, true, data, coloured);
        check(true, true, data, &data.replace('\u{9b}', "\\u009b"));
        check(false, false, "{\"skipped\":3}", "-- 3 positions of the log are missing --");
    }
}
