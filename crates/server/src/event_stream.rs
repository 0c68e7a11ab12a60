//! Reads server-sent events.

use anyhow::ensure;

/// Longest line, in bytes: an event of the longest kind in JSON, with room.
const LINE_BYTES_MAX: usize = 16 << 20;

/// What arrived so far of a `text/event-stream`, as the HTML standard has it, for what our own server sends: lines end
/// with a line feed, and each event has its data on one line.
#[derive(Debug, Default)]
pub(crate) struct EventStream {
    /// The beginning of a line.
    line: Vec<u8>,
    next: StreamEvent,
}

/// An event, or only a place.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub(crate) struct StreamEvent {
    /// Where to go on, if it says so.
    pub(crate) id: Option<String>,
    /// What kind of event it is, where it is not the usual one.
    pub(crate) name: Option<String>,
    /// What happened; `None` when it only says where.
    pub(crate) data: Option<String>,
}

impl EventStream {
    /// Takes a piece of the stream and returns the events that end in it.
    ///
    /// # Errors
    ///
    /// A line is longer than any of our server's.
    pub(crate) fn take(&mut self, mut piece: &[u8]) -> anyhow::Result<Vec<StreamEvent>> {
        let mut events = Vec::new();
        while let Some(end) = piece.iter().position(|byte| *byte == b'\n') {
            self.line.extend_from_slice(&piece[..end]);
            piece = &piece[end + 1..];
            if let Some(event) = self.end_line() {
                events.push(event);
            }
        }
        ensure!(self.line.len() + piece.len() <= LINE_BYTES_MAX, "a line has no end");
        self.line.extend_from_slice(piece);
        Ok(events)
    }

    fn end_line(&mut self) -> Option<StreamEvent> {
        let line = std::mem::take(&mut self.line);
        let line = String::from_utf8_lossy(&line);
        if line.is_empty() {
            let event = std::mem::take(&mut self.next);
            return (event != StreamEvent::default()).then_some(event);
        }
        let (name, value) = line.split_once(':').unwrap_or((&line, ""));
        let value = value.strip_prefix(' ').unwrap_or(value);
        match name {
            "id" => self.next.id = Some(value.to_owned()),
            "event" => self.next.name = Some(value.to_owned()),
            "data" => self.next.data = Some(value.to_owned()),
            _ => {}
        }
        None
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn events_end_with_an_empty_line_wherever_the_pieces_end() {
        let text = "retry: 2000\nid: 6\n\n:\nid: 7\n\nid: 8\ndata: {\"a\":\"ä: b\"}\n\nevent: gone\ndata: x\n\n\ndata: y";
        let of = |id: Option<&str>, name: Option<&str>, data: Option<&str>| StreamEvent {
            id: id.map(str::to_owned),
            name: name.map(str::to_owned),
            data: data.map(str::to_owned),
        };
        let expected = [
            of(Some("6"), None, None),
            of(Some("7"), None, None),
            of(Some("8"), None, Some("{\"a\":\"ä: b\"}")),
            of(None, Some("gone"), Some("x")),
        ];
        for length in [1, 2, 3, 7, text.len()] {
            let mut stream = EventStream::default();
            let pieces = text.as_bytes().chunks(length);
            let events: Vec<_> =
                pieces.flat_map(|piece| stream.take(piece).expect("lines")).collect();
            assert_eq!(events, expected, "{length}");
        }
    }

    #[test]
    fn a_line_without_an_end_is_given_up() {
        let mut stream = EventStream::default();
        stream.take(&vec![b'x'; LINE_BYTES_MAX]).expect("as long as a line may be");
        stream.take(b"x").expect_err("longer");
    }
}
