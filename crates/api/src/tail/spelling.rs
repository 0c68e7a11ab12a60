//! How an event and a gap are written.

use events::{TailBatch, TailEvent};

use crate::json::Json;
use crate::time::format_rfc3339_millis;

/// Writes an event without a line's end.
pub(super) fn event(json: &mut Json, event: &TailEvent) {
    json.raw(r#"{"offset":"#);
    json.display(event.offset);
    json.raw(r#","received_at":"#);
    json.string(&format_rfc3339_millis(event.received_at));
    for (name, value) in [
        (r#","app":"#, &*event.app),
        (r#","category":"#, event.category),
        (r#","type":"#, &*event.event_type),
        (r#","device":"#, &*event.device),
    ] {
        json.raw(name);
        json.string(value);
    }
    json.raw(r#","event":"#);
    json.raw(event.json());
    json.raw("}");
}

/// Writes that positions are missing, if they are, between `before` and `after`. Returns whether it did.
pub(super) fn gap(json: &mut Json, batch: &TailBatch, [before, after]: [&str; 2]) {
    if batch.skipped > 0 {
        json.raw(before);
        json.raw(r#"{"skipped":"#);
        json.display(batch.skipped);
        json.raw("}");
        json.raw(after);
    }
}
