//! What is known of pulls while they are followed.

use std::collections::BTreeMap;

use model::Timestamp;

use super::answer::{Pull, PullEvent, Removed};
use super::screen::Size;
use super::table::{self, Cell, Column};
use super::words;
use crate::event_stream::StreamEvent;
use crate::logging::escaped;

/// Most pulls that are kept: further ones are not shown. Servers keep fewer.
const PULLS_MAX: usize = 100_000;

/// Pulls by identifier.
#[derive(Debug, Default)]
pub(super) struct Live {
    pulls: BTreeMap<String, Pull>,
}

/// What an event changed.
#[derive(Debug)]
pub(super) struct Change<'a> {
    pub(super) at: &'a str,
    pub(super) pull: &'a Pull,
    /// Whether it is in another state than before, and not only further.
    pub(super) is_step: bool,
}

impl Live {
    /// Takes an event of the stream. What cannot be read is left out: a newer server may say more.
    pub(super) fn take(&mut self, event: &StreamEvent) -> Option<Change<'_>> {
        let data = event.data.as_deref()?;
        match event.name.as_deref() {
            None | Some("message") => {}
            Some("resync") => {
                self.pulls.clear();
                return None;
            }
            Some("removed") => {
                let removed: Removed = serde_json::from_str(data).ok()?;
                self.pulls.remove(&removed.id);
                return None;
            }
            Some(_) => return None,
        }
        let PullEvent { timestamp, pull } = serde_json::from_str(data).ok()?;
        let pull = pull?;
        let before = self.pulls.get(&pull.id);
        if before.is_none() && self.pulls.len() >= PULLS_MAX {
            return None;
        }
        let step = |pull: &Pull| (words::state(pull), pull.image_ref.clone());
        let is_step = before.is_none_or(|before| step(before) != step(&pull));
        let id = pull.id.clone();
        self.pulls.insert(id.clone(), pull);
        let known = self.pulls.get_mut(&id)?;
        known.told_at = timestamp;
        Some(Change { at: &known.told_at, pull: known, is_step })
    }

    /// Returns a screen full: the pulls that run first, then the newest.
    pub(super) fn lines(&self, size: Size, now: Timestamp, note: Option<&str>) -> Vec<String> {
        let mut pulls: Vec<&Pull> = self.pulls.values().collect();
        sort(&mut pulls);
        let running: Vec<&&Pull> = pulls.iter().filter(|pull| !words::has_ended(pull)).collect();
        let speed: f64 = running.iter().map(|pull| pull.bytes_per_sec).sum();
        let failed = pulls.iter().filter(|pull| words::state(pull) == "failed").count();
        let mut head = format!(
            "{} running, {} ended, {failed} failed",
            running.len(),
            pulls.len() - running.len(),
        );
        if speed >= 1.0 {
            head.push_str(&format!(", {}", words::speed(speed)));
        }
        let mut lines = vec![table::cut(&head, size)];
        lines.extend(note.map(|note| table::cut(&escaped(note), size)));
        if pulls.is_empty() {
            lines.push(table::cut("no pulls are known", size));
            return lines;
        }
        // The headings, and what says that there are more.
        let room = size.rows.saturating_sub(lines.len() + 2).max(1);
        let shown = &pulls[..room.min(pulls.len())];
        let rows: Vec<_> = shown.iter().map(|pull| row(pull, now, size)).collect();
        lines.extend(table::fitting(&COLUMNS, &rows, size));
        if shown.len() < pulls.len() {
            lines.push(table::cut(&format!("and {} more", pulls.len() - shown.len()), size));
        }
        lines
    }
}

/// Puts those that run first, then the newest.
pub(super) fn sort<P: std::borrow::Borrow<Pull>>(pulls: &mut [P]) {
    pulls.sort_by(|one, other| {
        let (one, other) = (one.borrow(), other.borrow());
        let by_state = words::has_ended(one).cmp(&words::has_ended(other));
        // Times of one form sort as texts.
        by_state
            .then_with(|| other.started_at.cmp(&one.started_at))
            .then_with(|| one.id.cmp(&other.id))
    });
}

/// What is left out first where there is little room has the highest rank.
const COLUMNS: [Column; 9] = [
    Column { heading: "IMAGE", rank: 0, least: 12, grows: true, keeps_end: true },
    Column { heading: "NODE", rank: 4, least: 8, grows: true, keeps_end: false },
    Column { heading: "STATE", rank: 1, least: 11, grows: false, keeps_end: false },
    Column { heading: "PROGRESS", rank: 3, least: 12, grows: false, keeps_end: false },
    Column { heading: "DONE", rank: 2, least: 4, grows: false, keeps_end: false },
    Column { heading: "SIZE", rank: 7, least: 19, grows: true, keeps_end: false },
    Column { heading: "SPEED", rank: 5, least: 12, grows: false, keeps_end: false },
    Column { heading: "TIME", rank: 6, least: 11, grows: true, keeps_end: false },
    Column { heading: "DETAILS", rank: 8, least: 12, grows: true, keeps_end: false },
];

fn row(pull: &Pull, now: Timestamp, size: Size) -> [Cell; 9] {
    let state = words::state(pull);
    let colour = match state {
        "done" => table::GREEN,
        "failed" => table::RED,
        "stalled" | "silent" => table::YELLOW,
        _ => table::USUAL,
    };
    let bar = table::bar(pull.percent, COLUMNS[3].least, size.is_unicode);
    [
        Cell::of(words::image(pull)),
        Cell::of(words::node(pull)),
        Cell { text: state.to_owned(), colour },
        Cell { text: bar, colour },
        Cell::of(words::percent(pull)),
        Cell::of(words::size(pull)),
        Cell::of(words::speed(pull.bytes_per_sec)),
        Cell::of(words::time(pull, now)),
        Cell::of(words::details(pull)),
    ]
}

#[cfg(test)]
mod tests {
    use unicode_width::UnicodeWidthStr as _;

    use super::*;
    use crate::event_stream::EventStream;

    /// A stream as servers send it.
    const RECORDED: &str = include_str!("recorded.txt");

    fn followed() -> (Live, Vec<String>) {
        let mut live = Live::default();
        let mut lines = Vec::new();
        for event in EventStream::default().take(RECORDED.as_bytes()).expect("a stream") {
            if let Some(change) = live.take(&event)
                && change.is_step
            {
                lines.push(words::line(&change));
            }
        }
        (live, lines)
    }

    fn now() -> Timestamp {
        api::parse_rfc3339("2026-01-15T10:30:20Z").expect("a time")
    }

    #[test]
    fn each_step_is_a_line_and_progress_is_none() {
        let (_, lines) = followed();
        assert_eq!(
            lines,
            [
                "2026-01-15T10:30:00.000Z worker-1 nginx:1.27 resolving shop/web-1",
                "2026-01-15T10:30:01.000Z worker-1 nginx:1.27 downloading 8.0 MiB/64.0 MiB shop/web-1",
                "2026-01-15T10:30:02.000Z worker-2 (unnamed) downloading 1.0 KiB/4.0 MiB+",
                "2026-01-15T10:30:05.000Z worker-2 ghcr.io/日本/アプリ:v1? downloading 2.0 MiB/4.0 MiB",
                "2026-01-15T10:30:06.000Z worker-1 nginx:1.27 done 64.0 MiB shop/web-1",
                "2026-01-15T10:30:07.000Z worker-2 ghcr.io/日本/アプリ:v1? failed 2.0 MiB/4.0 MiB \
                 ErrImagePull: 403\\u001b[31m Forbidden",
                "2026-01-15T10:30:09.000Z worker-3 team/app:2 downloading 32.0 MiB/64.0 MiB",
            ]
        );
    }

    #[track_caller]
    fn check(columns: usize, rows: usize, is_unicode: bool, expected: &[&str]) {
        let size = Size { columns, rows, is_unicode, in_colour: false };
        let lines = followed().0.lines(size, now(), None);
        assert_eq!(lines, expected);
        for line in lines {
            assert!(line.width() <= columns, "{line}");
        }
    }

    #[test]
    fn what_is_known_fills_the_screen_and_no_more() {
        check(
            140,
            24,
            true,
            &[
                "1 running, 2 ended, 1 failed, 5.0 MiB/s",
                "IMAGE                    NODE      STATE        PROGRESS      DONE  SIZE                 SPEED         TIME         DETAILS",
                "team/app:2               worker-3  downloading  ██████░░░░░░  50%   32.0 MiB/64.0 MiB    5.0 MiB/s     7s left",
                "ghcr.io/日本/アプリ:v1?  worker-2  failed       ██████░░░░░░  50%   2.0 MiB/4.0 MiB      -             5s, 13s ago  ErrImagePull: 403\\u001b…",
                "nginx:1.27               worker-1  done         ████████████  100%  64.0 MiB             -             6s, 14s ago  shop/web-1",
            ],
        );
    }

    #[test]
    fn narrow_and_low_terminals_show_what_matters() {
        check(
            40,
            5,
            false,
            &[
                "1 running, 2 ended, 1 failed, 5.0 MiB/s",
                "IMAGE                  STATE        DONE",
                "team/app:2             downloading  50%",
                "...io/日本/アプリ:v1?  failed       50%",
                "and 1 more",
            ],
        );
    }

    #[test]
    fn what_is_told_anew_or_gone_is_not_kept() {
        let event = |name: &str, data: &str| StreamEvent {
            id: None,
            name: Some(name.to_owned()),
            data: Some(data.to_owned()),
        };
        let (mut live, _) = followed();
        assert_eq!(live.pulls.len(), 3);
        assert!(live.take(&event("removed", r#"{"id":"3"}"#)).is_none());
        assert_eq!(live.pulls.len(), 2);
        assert!(live.take(&event("of a newer server", "{}")).is_none());
        assert!(live.take(&event("message", "no JSON")).is_none());
        assert_eq!(live.pulls.len(), 2);
        assert!(live.take(&event("resync", "{}")).is_none());
        let size = Size { columns: 80, rows: 24, is_unicode: true, in_colour: false };
        let note = Some("lost\u{1b}[2J");
        assert_eq!(
            live.lines(size, now(), note),
            ["0 running, 0 ended, 0 failed", "lost\\u001b[2J", "no pulls are known"]
        );
    }
}
